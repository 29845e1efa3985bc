/*
 * The side of pgvector: one connection, a prepared statement, vectors sent in binary. The server is
 * of tests/servers/with. It works in another process, so the clock on the wall counts.
 */
#include "vector_side.h"

#include <arpa/inet.h>
#include <libpq-fe.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What makes it as fast as it can be without losing anything; one process builds, as with all. */
static const char SETUP[] =
    "CREATE EXTENSION IF NOT EXISTS vector; SET synchronous_commit = off;"
    "SET maintenance_work_mem = '1GB'; SET max_parallel_maintenance_workers = 0;"
    "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET jit = off;"
    "DROP TABLE IF EXISTS v; CREATE TABLE v(id int4, e vector(%u))";
static const char INDEX[] = "CREATE INDEX ON v USING hnsw (e vector_ip_ops)"
                            " WITH (m = %d, ef_construction = %d)";
static const char *const NEAREST = "SELECT id FROM v ORDER BY e <#> $1::vector LIMIT 10";

static PGconn *connection;
static const struct vector_set *vectors;
static uint32_t width;

static PGresult *must(PGresult *result, ExecStatusType wanted)
{
    if (PQresultStatus(result) != wanted) {
        fprintf(stderr, "pgvector: %s\n", PQerrorMessage(connection));
        exit(1);
    }
    return result;
}

static void run(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void run(const char *format, ...)
{
    char text[1024];
    va_list values;

    va_start(values, format);
    vsnprintf(text, sizeof(text), format, values);
    va_end(values);
    PQclear(must(PQexec(connection, text), PGRES_COMMAND_OK));
}

/* int16 dimensions, int16 zero, floats; all big-endian. Returns its bytes. */
static size_t binary(const float *vector, char *at)
{
    uint16_t head[2] = {htons((uint16_t)vectors->dimensions), 0};

    memcpy(at, head, sizeof(head));
    for (uint32_t i = 0; i < vectors->dimensions; i++) {
        uint32_t bits;

        memcpy(&bits, &vector[i], sizeof(bits));
        bits = htonl(bits);
        memcpy(at + sizeof(head) + i * sizeof(bits), &bits, sizeof(bits));
    }
    return sizeof(head) + vectors->dimensions * sizeof(float);
}

static void put(const char *bytes, size_t count)
{
    if (PQputCopyData(connection, bytes, (int)count) != 1) {
        fprintf(stderr, "pgvector: %s\n", PQerrorMessage(connection));
        exit(1);
    }
}

static void copy(void)
{
    static const char head[] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0";
    char row[32 + 65536];

    PQclear(must(PQexec(connection, "COPY v FROM STDIN (FORMAT binary)"), PGRES_COPY_IN));
    put(head, 19);
    for (uint32_t i = 0; i < vectors->count; i++) {
        uint32_t numbers[2] = {htonl(4), htonl(i)}, size;
        uint16_t fields = htons(2);
        size_t bytes = binary(vectors->base + (size_t)i * vectors->dimensions, row + 14);

        size = htonl((uint32_t)bytes);
        memcpy(row, &fields, 2);
        memcpy(row + 2, numbers, 8);
        memcpy(row + 10, &size, 4);
        put(row, 14 + bytes);
    }
    put("\377\377", 2);
    if (PQputCopyEnd(connection, NULL) != 1)
        exit(1);
    PQclear(must(PQgetResult(connection), PGRES_COMMAND_OK));
    while (PQgetResult(connection) != NULL)
        ;
}

static void quiet(void *nothing, const char *message)
{
    (void)nothing;
    (void)message;
}

static void build(const struct vector_set *set)
{
    vectors = set;
    connection = PQconnectdb(getenv("POLY_TEST_POSTGRESQL_ADMIN_URL"));
    PQsetNoticeProcessor(connection, quiet, NULL);
    run(SETUP, set->dimensions);
    copy();
    run(INDEX, VECTOR_M, VECTOR_EF_CONSTRUCTION);
    run("VACUUM ANALYZE v");
    PQclear(must(PQprepare(connection, "nearest", NEAREST, 0, NULL), PGRES_COMMAND_OK));
}

static uint64_t bytes(void)
{
    PGresult *result = must(PQexec(connection, "SELECT pg_indexes_size('v')"), PGRES_TUPLES_OK);
    uint64_t size = strtoull(PQgetvalue(result, 0, 0), NULL, 10);

    PQclear(result);
    return size;
}

/* Without filters. */
static uint64_t search(const float *query, uint32_t ef, uint32_t permille, uint32_t *ids)
{
    char vector[65536];
    const char *values[] = {vector};
    const int formats[] = {1}, lengths[] = {(int)binary(query, vector)};
    PGresult *result;
    int count;

    (void)permille;
    if (ef != width)
        run("SET hnsw.ef_search = %u", ef);
    width = ef;
    result = must(PQexecPrepared(connection, "nearest", 1, values, lengths, formats, 1),
                  PGRES_TUPLES_OK);
    count = PQntuples(result);
    for (int i = 0; i < VECTOR_K; i++) {
        uint32_t id = UINT32_MAX;

        if (i < count) {
            memcpy(&id, PQgetvalue(result, i, 0), sizeof(id));
            id = ntohl(id);
        }
        ids[i] = id;
    }
    PQclear(result);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct vector_side side = {
        .remote = true, .build = build, .bytes = bytes, .search = search};

    return vector_main(argc, argv, &side);
}
