/*
 * The vector driver on a PostgreSQL with pgvector, alone: records are made here, and searches are
 * asked of its table of calls. What there is depends on the release of pgvector.
 */
#ifndef POLY_TESTS_SERVERS_VECTOR_DRIVER_H
#define POLY_TESTS_SERVERS_VECTOR_DRIVER_H

#include "../vector_data.h"

#include <libpq-fe.h>
#include <unistd.h>

#include "base/clock.h"
#include "differs.h"
#include "record.h"
#include "stores/vector/postgresql.h"

enum { DIMENSIONS = 12, BATCH = 400 };

static const char *const filters[] = {"state", "size", "meta"};

#define VECTOR(name_, element_, metric_)                                                           \
    {                                                                                              \
        .name = (name_), .field = "embedding", .dimensions = DIMENSIONS, .metric = (metric_),      \
        .element = (element_), .m = 16, .ef_construction = 64, .ef = 64, .filters = filters,       \
        .filter_count = 3                                                                          \
    }

static const struct poly_domain_vector note_vectors[] = {VECTOR("", "f32", "cosine")};
static struct poly_domain_vector many_vectors[] = {
    VECTOR("f32-l2", "f32", "l2"),         VECTOR("f32-inner", "f32", "inner"),
    VECTOR("f16-cosine", "f16", "cosine"), VECTOR("f16-l2", "f16", "l2"),
    VECTOR("int8-l2", "int8", "l2"),       VECTOR("int8-cosine", "int8", "cosine"),
};
static struct poly_domain_vector list_vectors[] = {{.name = "",
                                                    .field = "embedding",
                                                    .dimensions = DIMENSIONS,
                                                    .metric = "l2",
                                                    .element = "f16",
                                                    .index = "ivfflat",
                                                    .lists = 20,
                                                    .probes = 6,
                                                    .m = 16,
                                                    .ef_construction = 64,
                                                    .filters = filters,
                                                    .filter_count = 3}};
static struct poly_domain_vector bit_vectors[] = {VECTOR("", "binary", "hamming")};
static const struct poly_domain domains[] = {
    {.name = "notes", .table = "notes", .vectors = note_vectors, .vector_count = 1},
    {.name = "mine",
     .table = "mine",
     .tenant = "tenant_id",
     .vectors = note_vectors,
     .vector_count = 1},
    {.name = "many", .table = "many", .vectors = many_vectors, .vector_count = 6},
    {.name = "bits", .table = "bits", .vectors = bit_vectors, .vector_count = 1},
    {.name = "events", .stream = "event", .vectors = note_vectors, .vector_count = 1},
    {.name = "listed", .table = "listed", .vectors = list_vectors, .vector_count = 1},
    {.name = "silent", .table = "silent"},
};
static const struct poly_store_config stores[] = {{.name = "relational", .driver = "embedded"}};
static _Atomic size_t all = 7; /* none is made while it runs */
static struct poly_config config = {
    .domains = domains, .domain_count = 7, .domains_all = &all, .stores = stores, .store_count = 1};

static const struct poly_driver *driver = &poly_vector_postgresql.base;

static int minor; /* of pgvector: 0.minor */

struct place {
    PGconn *server;
    struct poly_store *store;
    struct poly_arena *arena;
    uint64_t failed;
    bool temporary;
};

/* --- the place --- */

static void on_server(PGconn *server, const char *sql)
{
    PGresult *result = PQexec(server, sql);

    if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(server));
    PQclear(result);
}

static int64_t number(struct place *p, const char *sql)
{
    PGresult *result = PQexec(p->server, sql);
    int64_t n;

    if (PQntuples(result) != 1)
        fail_msg("%s: %s", sql, PQerrorMessage(p->server));
    n = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    return n;
}

static enum poly_status open_as(struct poly_store **store, uint8_t who)
{
    const uint8_t id[16] = {who};
    struct poly_store_config where = {
        .name = "vector",
        .server = {.url = getenv("POLY_TEST_POSTGRESQL_URL"), .pool_connect_ms = 10000}};
    struct poly_store_open how = {.config = &config, .store = &where, .follower = true, .id = id};

    return driver->open(&how, store, &err);
}

static void lead(struct place *p)
{
    bool leads = false;

    assert_ok(driver->lead(p->store, true, &leads, &err));
    assert_true(leads);
}

static void extension(const char *sql)
{
    PGconn *admin = PQconnectdb(getenv("POLY_TEST_POSTGRESQL_ADMIN_URL"));

    on_server(admin, "SET client_min_messages = warning");
    on_server(admin, sql);
    PQfinish(admin);
}

static int setup(void **state)
{
    struct place *p = calloc(1, sizeof(*p));

    extension("CREATE EXTENSION IF NOT EXISTS vector");
    p->server = PQconnectdb(getenv("POLY_TEST_POSTGRESQL_URL"));
    on_server(p->server, "SET client_min_messages = warning");
    on_server(p->server, "DROP SCHEMA IF EXISTS poly_vector CASCADE");
    p->arena = poly_arena_new(256 * 1024 * 1024);
    assert_ok(open_as(&p->store, 1));
    lead(p);
    assert_ok(driver->prepare(p->store, NULL, 1, &err));
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;

    driver->close(p->store);
    poly_arena_free(p->arena);
    PQfinish(p->server);
    free(p);
    return 0;
}

/* --- records --- */

static enum poly_status apply(struct place *p, const struct poly_record *records, size_t count,
                              uint64_t last)
{
    struct poly_batch batch = {.records = records, .count = count, .last = last};
    enum poly_status status = driver->apply(p->store, NULL, 1, &batch, &err);

    p->failed = batch.failed;
    p->temporary = batch.temporary;
    return status;
}

static void put(struct place *p, uint64_t position, const char *tenant, const char *domain,
                const char *key, const char *json)
{
    struct poly_record r = record(position, tenant, domain, key, json);

    assert_ok(apply(p, &r, 1, position));
}

static const char *json_of(struct place *p, const float *vector, const char *more)
{
    char text[1024];
    size_t used = (size_t)snprintf(text, sizeof(text), "{%s%s\"embedding\":[", more,
                                   more[0] == '\0' ? "" : ",");

    for (int i = 0; i < DIMENSIONS; i++)
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%.9g", i == 0 ? "" : ",",
                                 (double)vector[i]);
    snprintf(text + used, sizeof(text) - used, "]}");
    return poly_arena_copy(p->arena, text, strlen(text));
}

/* --- asking --- */

static struct poly_vector_request request(const char *domain, const float *vector, uint32_t limit)
{
    struct poly_vector_request r = {.vector = vector,
                                    .limit = limit,
                                    .farthest = (double)INFINITY,
                                    .ef = 64,
                                    .deadline = poly_clock_monotonic() + 60000000};

    for (size_t i = 0; i < config.domain_count; i++)
        if (strcmp(domains[i].name, domain) == 0)
            r.scope =
                (struct poly_vector_scope){.domain = &domains[i], .vector = &domains[i].vectors[0]};
    return r;
}

static enum poly_status ask(struct place *p, const struct poly_vector_request *r,
                            struct poly_matches *matches)
{
    struct poly_projected projected = {.store = p->store, .generation = 1};

    *matches = (struct poly_matches){.matches = NULL};
    return poly_vector_postgresql.search(&projected, r, p->arena, matches, &err);
}

/* Keys in order, "a b c". */
static void finds(struct place *p, const struct poly_vector_request *r, const char *expected)
{
    struct poly_matches matches;
    char text[512] = "";
    size_t used = 0;

    assert_ok(ask(p, r, &matches));
    for (size_t i = 0; i < matches.count; i++)
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%.*s", i == 0 ? "" : " ",
                                 (int)matches.matches[i].key.size, matches.matches[i].key.data);
    assert_string_equal(text, expected);
}

static const float axes[4][DIMENSIONS] = {{1}, {0, 1}, {0, 0, 1}, {1, 0.1F}};

/* --- kinds of vectors --- */

struct shape {
    const char *domain;
    size_t vector;
    struct poly_index_options options;
};

static struct shape shapes[] = {
    {"notes", 0, {.element = POLY_F32, .metric = POLY_COSINE, .dimensions = DIMENSIONS}},
    {"many", 0, {.element = POLY_F32, .metric = POLY_L2, .dimensions = DIMENSIONS}},
    {"many", 1, {.element = POLY_F32, .metric = POLY_INNER, .dimensions = DIMENSIONS}},
    {"many", 2, {.element = POLY_F16, .metric = POLY_COSINE, .dimensions = DIMENSIONS}},
    {"many", 3, {.element = POLY_F16, .metric = POLY_L2, .dimensions = DIMENSIONS}},
    {"many", 4, {.element = POLY_INT8, .metric = POLY_L2, .dimensions = DIMENSIONS}},
    {"many", 5, {.element = POLY_INT8, .metric = POLY_COSINE, .dimensions = DIMENSIONS}},
    {"bits", 0, {.element = POLY_BINARY, .metric = POLY_HAMMING, .dimensions = DIMENSIONS}},
};

/* What pgvector there is, and our vectors without what it lacks. */
static int look(void **state)
{
    PGconn *admin = PQconnectdb(getenv("POLY_TEST_POSTGRESQL_ADMIN_URL"));
    PGresult *result = PQexec(admin, "SELECT split_part(default_version, '.', 2) FROM"
                                     " pg_available_extensions WHERE name = 'vector'");

    (void)state;
    assert_int_equal(PQntuples(result), 1);
    minor = (int)strtol(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    PQfinish(admin);
    if (minor >= 7)
        return 0;
    many_vectors[2].element = many_vectors[3].element = "f32";
    list_vectors[0].element = "f32";
    bit_vectors[0].element = "f32";
    bit_vectors[0].metric = "l2";
    for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
        struct poly_index_options *o = &shapes[i].options;

        o->metric = o->element == POLY_BINARY ? POLY_L2 : o->metric;
        o->element = o->element == POLY_INT8 ? POLY_INT8 : POLY_F32;
    }
    return 0;
}

#endif
