/*
 * The road to PostgreSQL, base/postgres, against bare libpq with the same statements, parameters
 * and results in binary on both sides.
 *
 *   bench-postgresql call ours|libpq CALLERS SECONDS URL    calls a second, µs of our CPU for each
 *   bench-postgresql read ours|libpq SECONDS URL           rows a second, µs of our CPU for each
 *
 * One caller has one connection; several share the
 * lanes of a pool with its defaults. Reading is in
 * single-row mode on both sides.
 */
#include <libpq-fe.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "base/postgres_share.h"
#include "common.h"

enum { RECORDS = 10000 };

static const char prepare_text[] =
    "SET client_min_messages = warning;"
    "CREATE TABLE IF NOT EXISTS bench_record(id bigint PRIMARY KEY, at timestamptz NOT NULL,"
    " note text NOT NULL);"
    "INSERT INTO bench_record SELECT n, now(), 'kept beside the window, away from the sun ' || n"
    " FROM generate_series(1, 10000) AS n ON CONFLICT DO NOTHING;"
    "CREATE TABLE IF NOT EXISTS bench_log(position bigint PRIMARY KEY, domain text, key text,"
    " version bigint, at timestamptz, data bytea);"
    "INSERT INTO bench_log SELECT n, 'items', 'item-' || n, 1, now(),"
    " convert_to(repeat('x', 200), 'UTF8') FROM generate_series(1, 200000) AS n"
    " ON CONFLICT DO NOTHING;";
static const char select_one[] = "SELECT id, at, note FROM bench_record WHERE id = $1::bigint";
static const char select_log[] =
    "SELECT position, domain, key, version, at, data FROM bench_log ORDER BY position";

static atomic_bool over;
static _Atomic int64_t sink; /* so that nothing is left out for being unused */

static double cpu_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* --- calls --- */

struct caller {
    const char *url;
    struct poly_pg_share *share;
    struct poly_pg *pg;
    PGconn *conn;
    unsigned number;
    unsigned long done;
};

static void call_ours(struct caller *caller)
{
    struct poly_pg_params params;
    struct poly_error err;
    PGresult *result;

    poly_pg_params(&params);
    poly_pg_add_int(&params, (int64_t)(caller->done * 7919 % RECORDS + 1));
    if (caller->pg != NULL)
        BENCH_OK(poly_pg_run(caller->pg, select_one, &params, &result, &err));
    else
        BENCH_OK(poly_pg_share_run(caller->share, select_one, &params, -1, &result, &err));
    atomic_store_explicit(&sink,
                          poly_pg_int(result, 0, 0) + poly_pg_time(result, 0, 1) +
                              (int64_t)poly_pg_text(result, 0, 2).size,
                          memory_order_relaxed);
    PQclear(result);
}

static int64_t number_at(const PGresult *result, int column)
{
    uint64_t number;

    memcpy(&number, PQgetvalue(result, 0, column), sizeof(number));
    return (int64_t)__builtin_bswap64(number);
}

static void call_libpq(struct caller *caller)
{
    static const int size = 8, binary = 1;
    uint64_t id = __builtin_bswap64(caller->done * 7919 % RECORDS + 1);
    const char *value = (const char *)&id;
    PGresult *result = PQexecPrepared(caller->conn, "one", 1, &value, &size, &binary, 1);

    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        BENCH_DIE("libpq: %s", PQerrorMessage(caller->conn));
    atomic_store_explicit(&sink,
                          number_at(result, 0) + number_at(result, 1) + PQgetlength(result, 0, 2),
                          memory_order_relaxed);
    PQclear(result);
}

static void *run(void *arg)
{
    struct caller *caller = arg;

    while (!atomic_load_explicit(&over, memory_order_relaxed)) {
        if (caller->conn != NULL)
            call_libpq(caller);
        else
            call_ours(caller);
        caller->done++;
    }
    return NULL;
}

static PGconn *connect_bare(const char *url)
{
    PGconn *conn = PQconnectdb(url);

    if (PQstatus(conn) != CONNECTION_OK)
        BENCH_DIE("libpq: %s", PQerrorMessage(conn));
    return conn;
}

static void prepare_bare(struct caller *caller)
{
    static const Oid bigint = 20;

    caller->conn = connect_bare(caller->url);
    PQclear(PQprepare(caller->conn, "one", select_one, 1, &bigint));
}

static void open_caller(struct caller *caller, bool ours, unsigned count)
{
    struct poly_pg_options where = {.url = caller->url};
    struct poly_pg_target *target;
    struct poly_error err;

    if (!ours) {
        prepare_bare(caller);
    } else if (count == 1) {
        BENCH_OK(poly_pg_target_new(&where, &target, &err));
        BENCH_OK(poly_pg_open(target, -1, &caller->pg, &err));
        poly_pg_target_free(target);
    }
}

static void measure_calls(bool ours, unsigned count, unsigned seconds, const char *url)
{
    struct caller *callers = calloc(count, sizeof(*callers));
    pthread_t *threads = calloc(count, sizeof(*threads));
    struct poly_pg_options where = {.url = url};
    struct timespec length = {.tv_sec = seconds};
    struct poly_pg_share *share = NULL;
    struct poly_pg_pool *pool = NULL;
    struct poly_error err;
    unsigned long done = 0;
    double begun, cpu;

    if (callers == NULL || threads == NULL)
        BENCH_DIE("out of memory");
    if (ours && count > 1) {
        BENCH_OK(poly_pg_pool_open(&where, NULL, NULL, NULL, &pool, &err));
        BENCH_OK(poly_pg_share_new(pool, 0, &share, &err));
    }
    for (unsigned i = 0; i < count; i++) {
        callers[i] = (struct caller){.url = url, .share = share, .number = i, .done = i * 1000};
        open_caller(&callers[i], ours, count);
    }
    begun = bench_now();
    cpu = cpu_now();
    for (unsigned i = 0; i < count; i++)
        if (pthread_create(&threads[i], NULL, run, &callers[i]) != 0)
            BENCH_DIE("no thread");
    nanosleep(&length, NULL);
    atomic_store(&over, true);
    for (unsigned i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
        done += callers[i].done - i * 1000;
    }
    cpu = cpu_now() - cpu;
    printf("%.0f %.3f\n", (double)done / (bench_now() - begun), cpu * 1e6 / (double)done);
    for (unsigned i = 0; i < count; i++) {
        poly_pg_close(callers[i].pg);
        PQfinish(callers[i].conn);
    }
    poly_pg_share_free(share);
    poly_pg_pool_close(pool);
    free(callers);
    free(threads);
}

/* --- reading all of a log --- */

static long read_ours(struct poly_pg *pg)
{
    struct poly_pg_stream *stream;
    struct poly_error err;
    const PGresult *row;
    long count = 0;
    int64_t sum = 0;

    BENCH_OK(poly_pg_stream_open(pg, select_log, NULL, &stream, &err));
    while (true) {
        BENCH_OK(poly_pg_stream_next(stream, &row, &err));
        if (row == NULL)
            break;
        sum += poly_pg_int(row, 0, 0) + (int64_t)poly_pg_bytes(row, 0, 5).size;
        count++;
    }
    poly_pg_stream_close(stream);
    atomic_store(&sink, sum);
    return count;
}

static long read_libpq(PGconn *conn)
{
    PGresult *result;
    long count = 0;
    int64_t sum = 0;

    if (!PQsendQueryParams(conn, select_log, 0, NULL, NULL, NULL, NULL, 1) ||
        !PQsetSingleRowMode(conn))
        BENCH_DIE("libpq: %s", PQerrorMessage(conn));
    while ((result = PQgetResult(conn)) != NULL) {
        if (PQresultStatus(result) == PGRES_SINGLE_TUPLE) {
            sum += number_at(result, 0) + PQgetlength(result, 0, 5);
            count++;
        }
        PQclear(result);
    }
    atomic_store(&sink, sum);
    return count;
}

static void measure_reads(bool ours, unsigned seconds, const char *url)
{
    struct caller caller = {.url = url};
    double begun, cpu;
    long rows = 0;

    open_caller(&caller, ours, 1);
    begun = bench_now();
    cpu = cpu_now();
    while (bench_now() - begun < seconds)
        rows += ours ? read_ours(caller.pg) : read_libpq(caller.conn);
    cpu = cpu_now() - cpu;
    printf("%.0f %.3f\n", (double)rows / (bench_now() - begun), cpu * 1e6 / (double)rows);
    poly_pg_close(caller.pg);
    PQfinish(caller.conn);
}

static void prepare(const char *url)
{
    PGconn *conn = connect_bare(url);
    PGresult *result = PQexec(conn, prepare_text);

    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        BENCH_DIE("libpq: %s", PQerrorMessage(conn));
    PQclear(result);
    PQfinish(conn);
}

int main(int argc, char **argv)
{
    bool calls = argc == 6 && strcmp(argv[1], "call") == 0;
    bool reads = argc == 5 && strcmp(argv[1], "read") == 0;
    unsigned count = calls ? (unsigned)strtoul(argv[3], NULL, 10) : 1;

    if ((!calls && !reads) || count == 0)
        BENCH_DIE("bench-postgresql call ours|libpq CALLERS SECONDS URL, or "
                  "read ours|libpq SECONDS URL");
    prepare(argv[argc - 1]);
    if (calls)
        measure_calls(strcmp(argv[2], "ours") == 0, count, (unsigned)strtoul(argv[4], NULL, 10),
                      argv[5]);
    else
        measure_reads(strcmp(argv[2], "ours") == 0, (unsigned)strtoul(argv[3], NULL, 10), argv[4]);
    return 0;
}
