/*
 * What the driver adds to the server's own work: poly_vector_search() in the records' own table,
 * and libpq alone with the statement that the server has just had from us, prepared, its parameters
 * in binary, on the same table with the same settings.
 *
 *   bench-vector-pgvector FOLDER     the server is of tests/servers/with
 *
 * On standard input lines of SECONDS; answers with searches a second, ours and libpq's.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <libpq-fe.h>
#include <string.h>

#include "common.h"
#include "polystore.h"

enum {
    DIMENSIONS = 100,
    ROWS = 20000,
    QUERIES = 500,
    TURN = 100, /* queries */
    CENTRES = 200,
    LIMIT = 10,
    EF = 64
};

static const char table[] =
    "CREATE EXTENSION vector; CREATE TABLE items(id int PRIMARY KEY, embedding vector(100));"
    "ALTER TABLE items ALTER COLUMN embedding SET STORAGE PLAIN";
static const char *const indexed[] = {
    "SET maintenance_work_mem = '512MB'",
    ("CREATE INDEX items_embedding ON items USING hnsw (embedding vector_cosine_ops)"
     " WITH (m = 16, ef_construction = 64)"),
    "VACUUM ANALYZE items", "CHECKPOINT"};
static const char config[] = "stores: {relational: {driver: postgresql, url: '%s'},"
                             " vector: {driver: postgresql, placement: colocated}}\n"
                             "domains:\n  items: {table: items, tenant: none, vector: {field: "
                             "embedding, dimensions: 100}}\n";
/* As the driver has them. */
static const char *const settings[] = {"SET hnsw.ef_search = 64",
                                       "SET plan_cache_mode = force_generic_plan",
                                       "SET hnsw.iterative_scan = strict_order"};
static const char asked[] = "SELECT query FROM pg_stat_activity WHERE datname = current_database()"
                            " AND query LIKE 'SELECT key,%<=>%' ORDER BY query_start DESC LIMIT 1";

static float queries[QUERIES][DIMENSIONS];
static struct poly_instance *instance;
static struct poly_session *session;
static PGconn *peer;
static unsigned long next;

static double number(void)
{
    static uint64_t state = 20240229;

    state = state * 6364136223846793005U + 1442695040888963407U;
    return (double)(state >> 40) / (1 << 24) - 0.5;
}

/* Near one of some centres: what is evenly spread has no near and far. */
static void make(float vector[DIMENSIONS])
{
    static float centres[CENTRES][DIMENSIONS];
    size_t centre;

    if (centres[0][0] == 0)
        for (int i = 0; i < CENTRES * DIMENSIONS; i++)
            centres[i / DIMENSIONS][i % DIMENSIONS] = (float)number();
    centre = (size_t)((number() + 0.5) * CENTRES);
    for (int i = 0; i < DIMENSIONS; i++)
        vector[i] = centres[centre][i] + 0.5F * (float)number();
}

static void run(const char *sql)
{
    PGresult *result = PQexec(peer, sql);

    if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
        BENCH_DIE("%s", PQerrorMessage(peer));
    PQclear(result);
}

static void fill(void)
{
    char line[32 * DIMENSIONS];
    float vector[DIMENSIONS];
    PGresult *result;

    run(table);
    result = PQexec(peer, "COPY items FROM STDIN");
    PQclear(result);
    for (int row = 0; row < ROWS; row++) {
        size_t used = (size_t)snprintf(line, sizeof(line), "%d\t[", row);

        make(vector);
        for (int i = 0; i < DIMENSIONS; i++)
            used += (size_t)snprintf(line + used, sizeof(line) - used, "%s%.9g", i == 0 ? "" : ",",
                                     (double)vector[i]);
        used += (size_t)snprintf(line + used, sizeof(line) - used, "]\n");
        if (PQputCopyData(peer, line, (int)used) != 1)
            BENCH_DIE("%s", PQerrorMessage(peer));
    }
    if (PQputCopyEnd(peer, NULL) != 1)
        BENCH_DIE("%s", PQerrorMessage(peer));
    while ((result = PQgetResult(peer)) != NULL)
        PQclear(result);
    for (size_t i = 0; i < sizeof(indexed) / sizeof(*indexed); i++)
        run(indexed[i]);
    for (int i = 0; i < QUERIES; i++)
        make(queries[i]);
}

static size_t search_ours(const float *vector, char key[16])
{
    static const char *const domains[] = {"items", NULL};
    struct poly_vector_query query = {
        .domains = domains, .vector = vector, .dimensions = DIMENSIONS, .limit = LIMIT, .ef = EF};
    struct poly_matches matches;
    struct poly_error err;
    size_t count;

    BENCH_OK(poly_vector_search(session, &query, &matches, &err));
    if (strcmp(matches.plan, "graph") != 0)
        return 0;
    snprintf(key, 16, "%s", matches.matches[0].key.data);
    count = matches.count;
    poly_session_reset(session);
    return count;
}

static size_t search_peer(const float *vector, char key[16])
{
    char bytes[4 + 4 * DIMENSIONS];
    uint16_t head[2] = {htons(DIMENSIONS), 0};
    int64_t limit = (int64_t)htobe64(LIMIT), zero = 0;
    /* the vector; the domain, for versions; of its vector, the name and how often its model was
     * changed; limit and offset */
    const char *values[] = {bytes,
                            "items",
                            "items",
                            "",
                            (const char *)&zero,
                            (const char *)&limit,
                            (const char *)&zero};
    const int lengths[] = {sizeof(bytes), 5, 5, 0, 8, 8, 8};
    const int formats[] = {1, 1, 1, 1, 1, 1, 1};
    PGresult *result;
    size_t count;

    memcpy(bytes, head, sizeof(head));
    for (int i = 0; i < DIMENSIONS; i++) {
        uint32_t bits;

        memcpy(&bits, &vector[i], sizeof(bits));
        bits = htonl(bits);
        memcpy(bytes + 4 + 4 * i, &bits, sizeof(bits));
    }
    result = PQexecPrepared(peer, "nearest", sizeof(values) / sizeof(*values), values, lengths,
                            formats, 1);
    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        BENCH_DIE("%s", PQerrorMessage(peer));
    count = (size_t)PQntuples(result);
    snprintf(key, 16, "%s", PQgetvalue(result, 0, 0));
    PQclear(result);
    return count;
}

/* Both give the same. */
static void prepare(void)
{
    char ours[16], theirs[16];
    PGresult *result;

    for (int tries = 0; search_ours(queries[0], ours) != LIMIT; tries++) {
        if (tries == 100)
            BENCH_DIE("the index is not used");
        bench_sleep_until(bench_now() + 0.1);
    }
    for (size_t i = 0; i < sizeof(settings) / sizeof(*settings); i++)
        run(settings[i]);
    result = PQexec(peer, asked);
    if (PQntuples(result) != 1)
        BENCH_DIE("the server does not say what it was asked: %s", PQerrorMessage(peer));
    PQclear(PQprepare(peer, "nearest", PQgetvalue(result, 0, 0), 0, NULL));
    PQclear(result);
    for (int i = 0; i < QUERIES; i++)
        if (search_ours(queries[i], ours) != LIMIT || search_peer(queries[i], theirs) != LIMIT ||
            strcmp(ours, theirs) != 0)
            BENCH_DIE("query %d: '%s' is not '%s'", i, ours, theirs);
}

/* Where a server's process happens to lie makes one connection some percent slower than the next of
 * the same kind, for as long as it lives: each round has new ones. */
static void begin(const struct poly_options *options, const char *url)
{
    struct poly_session_options all = {.rights = POLY_RIGHTS_ALL, .principal = "bench"};
    static bool ours_first;
    struct poly_error err;

    ours_first = !ours_first;
    if (!ours_first)
        peer = PQconnectdb(url);
    BENCH_OK(poly_open(options, &instance, &err));
    BENCH_OK(poly_session_open(instance, &all, &session, &err));
    if (ours_first) {
        char ignored[16];

        (void)search_ours(queries[0], ignored);
        peer = PQconnectdb(url);
    }
    prepare();
}

static void end(void)
{
    poly_session_close(session);
    poly_close(instance);
    PQfinish(peer);
}

/* So many searches of one side; how long they took. */
static double turn_of(size_t (*search)(const float *, char *))
{
    double begin = bench_now();
    char key[16];

    for (int i = 0; i < TURN; i++)
        if (search(queries[next++ % QUERIES], key) != LIMIT)
            BENCH_DIE("a search found too few");
    return bench_now() - begin;
}

/* In turns so short that what the machine does besides falls on both. Searches in a second. */
static void measure(double seconds)
{
    double ours = 0, peers = 0;
    int turns = 0;

    for (; ours + peers < seconds; turns += 2) {
        ours += turn_of(search_ours);
        peers += turn_of(search_peer);
        peers += turn_of(search_peer);
        ours += turn_of(search_ours);
    }
    printf("%.1f %.1f\n", turns * TURN / ours, turns * TURN / peers);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    const char *url = getenv("POLY_TEST_POSTGRESQL_ADMIN_URL");
    struct poly_options options = {.data = argc > 1 ? argv[1] : NULL};
    char text[2000];
    double seconds;

    if (argc != 2 || url == NULL)
        BENCH_DIE("usage: bench-vector-pgvector FOLDER, with a server");
    peer = PQconnectdb(url);
    fill();
    PQfinish(peer);
    snprintf(text, sizeof(text), config, url);
    options.config_text = text;
    printf("%d\n", ROWS);
    fflush(stdout);
    while (scanf("%lf", &seconds) == 1) {
        begin(&options, url);
        measure(seconds);
        end();
    }
    return 0;
}
