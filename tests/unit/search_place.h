/*
 * A place for a search driver alone: the log's database, a file of its own, or
 * the server that tests/servers/with has started; records made by hand, and a
 * way to ask. Each test runs in all that are there.
 */
#ifndef POLY_TEST_SEARCH_PLACE_H
#define POLY_TEST_SEARCH_PLACE_H

#include "test.h"

#include <ftw.h>
#include <libpq-fe.h>
#include <math.h>
#include <unistd.h>

#include "base/clock.h"
#include "differs.h"
#include "followers/where.h"
#include "record.h"
#include "stores/search/embedded.h"

/* --- the configuration --- */

static const struct poly_search_field package_fields[] = {{"name", 3}, {"summary", 1}};
static const char *const package_filters[] = {"section", "size", "tags"};
static const struct poly_search_field incident_fields[] = {{"title", 1}, {"body", 1}};
static const char *const incident_filters[] = {"status"};
static const struct poly_search_field order_fields[] = {{"note", 1}, {"lines", 1}};
static const char *const order_filters[] = {"city", "at"};
static const struct poly_search_field code_fields[] = {{"text", 1}};
static const struct poly_search_field wide_fields[] = {{"a", 1}, {"b", 5}, {"c", 2},
                                                       {"d", 1}, {"e", 1}, {"f", 7}};

#define SEARCH(fields_, count, filters_, filter_total, tokenizer_, language_)                      \
    {                                                                                              \
        .fields = (fields_), .field_count = (count), .filters = (filters_),                        \
        .filter_count = (filter_total), .tokenizer = (tokenizer_), .language = (language_)         \
    }

static const struct poly_domain domains[] = {
    {.name = "packages",
     .table = "packages",
     .search = SEARCH(package_fields, 2, package_filters, 3, "words", "english")},
    {.name = "incidents",
     .table = "incidents",
     .tenant = "tenant_id",
     .search = SEARCH(incident_fields, 2, incident_filters, 1, "words", "none")},
    {.name = "orders",
     .stream = "order",
     .search = SEARCH(order_fields, 2, order_filters, 2, "words", "none")},
    {.name = "codes",
     .table = "codes",
     .search = SEARCH(code_fields, 1, NULL, 0, "trigram", "none")},
    {.name = "silent", .table = "silent"},
    {.name = "wide", .table = "wide", .search = SEARCH(wide_fields, 6, NULL, 0, "words", "none")},
};
static const struct poly_store_config stores[] = {{.name = "relational", .driver = "embedded"}};
static _Atomic size_t domain_total = 6; /* none is made while it runs */
static const struct poly_config config = {.domains = domains,
                                          .domain_count = 6,
                                          .domains_all = &domain_total,
                                          .stores = stores,
                                          .store_count = 1};

static const struct poly_driver *driver = &poly_search_embedded.base;
static struct poly_error err;

/* Does the driver under test go another way there than the embedded one? Both declare how. */
static inline bool differs(const char *name)
{
    (void)declared(driver->capabilities, name);
    return driver != &poly_search_embedded.base;
}

/* --- a place: a folder, a log file, a store --- */

struct place {
    bool follower;
    PGconn *server; /* NULL: embedded */
    char folder[64];
    struct poly_sqlite *log;
    struct poly_store *store;
    struct poly_arena *arena;
    struct poly_error err;
    uint64_t failed;
    bool temporary;
};

static inline void on_server(struct place *p, const char *sql)
{
    PGresult *result = PQexec(p->server, sql);

    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(p->server));
    PQclear(result);
}

static inline void open_place(struct place *p)
{
    static const uint8_t id[16] = {1};
    char path[128];
    struct poly_store_config store = {
        .name = "search",
        .server = {.url = getenv("POLY_TEST_POSTGRESQL_URL"), .pool_connect_ms = 10000}};
    struct poly_store_open how = {.config = &config, .store = &store, .data = p->folder, .id = id};
    bool leads = true;

    snprintf(path, sizeof(path), "%s/log.db", p->folder);
    assert_ok(poly_sqlite_open(path, POLY_DB_WRITE, NULL, NULL, &p->log, &err));
    how.follower = p->follower;
    assert_ok(driver->open(&how, &p->store, &err));
    if (driver->lead != NULL)
        assert_ok(driver->lead(p->store, false, &leads, &err));
    assert_true(leads);
}

static inline void close_place(struct place *p)
{
    driver->close(p->store);
    poly_sqlite_close(p->log);
    p->store = NULL; /* a test may fail before it is opened again */
    p->log = NULL;
}

/* The connection for apply(), and its transaction: the projector's part. */
static inline struct poly_db *begin(struct place *p)
{
    if (p->follower)
        return NULL;
    assert_ok(poly_db_exec(poly_sqlite_writer(p->log), "BEGIN IMMEDIATE", &err));
    return poly_sqlite_writer(p->log);
}

static inline void end(struct place *p, const char *how)
{
    if (!p->follower)
        assert_ok(poly_db_exec(poly_sqlite_writer(p->log), how, &err));
}

static inline void prepare(struct place *p, uint64_t generation)
{
    struct poly_db *db = begin(p);

    assert_ok(driver->prepare(p->store, db, generation, &err));
    end(p, "COMMIT");
}

static inline int setup(void **state, bool follower, const char *server)
{
    struct place *p = calloc(1, sizeof(*p));

    p->follower = follower;
    if (server != NULL) {
        driver = &poly_search_postgresql.base;
        p->server = PQconnectdb(server);
        on_server(p, "SET client_min_messages = warning");
        on_server(p, "DROP SCHEMA IF EXISTS poly_search CASCADE");
    }
    snprintf(p->folder, sizeof(p->folder), "/tmp/poly-search-XXXXXX");
    if (mkdtemp(p->folder) == NULL)
        return -1;
    p->arena = poly_arena_new(64 * 1024 * 1024);
    open_place(p);
    prepare(p, 1);
    *state = p;
    return 0;
}

static inline int setup_colocated(void **state)
{
    return setup(state, false, NULL);
}

static inline int setup_follower(void **state)
{
    return setup(state, true, NULL);
}

static inline int setup_server(void **state)
{
    return setup(state, true, getenv("POLY_TEST_POSTGRESQL_URL"));
}

static inline int remove_one(const char *path, const struct stat *info, int flag, struct FTW *ftw)
{
    (void)info;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static inline int teardown(void **state)
{
    struct place *p = *state;

    close_place(p);
    poly_arena_free(p->arena);
    PQfinish(p->server);
    nftw(p->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(p);
    return 0;
}

/* --- records --- */

static inline struct poly_record event(uint64_t position, const char *category, const char *id,
                                       uint64_t version, const char *json)
{
    struct poly_record r = record(position, "", category, id, json);

    r.type = poly_text("OrderPlaced");
    r.version = version;
    return r;
}

static inline enum poly_status apply_to(struct place *p, uint64_t generation,
                                        const struct poly_record *records, size_t count,
                                        uint64_t last)
{
    struct poly_batch batch = {.records = records, .count = count, .last = last};
    struct poly_db *db = begin(p);
    enum poly_status status = driver->apply(p->store, db, generation, &batch, &err);

    end(p, status == POLY_OK ? "COMMIT" : "ROLLBACK");
    p->failed = batch.failed;
    p->temporary = batch.temporary;
    return status;
}

static inline void put(struct place *p, uint64_t position, const char *tenant, const char *domain,
                       const char *key, const char *json)
{
    struct poly_record r = record(position, tenant, domain, key, json);

    assert_ok(apply_to(p, 1, &r, 1, position));
}

static inline struct poly_db *reader(struct place *p)
{
    struct poly_db *db = NULL;

    if (!p->follower) {
        db = poly_sqlite_take(p->log, &err);
        assert_ok(poly_db_exec(db, "BEGIN", &err));
    }
    return db;
}

static inline void give_back(struct place *p, struct poly_db *db)
{
    if (db == NULL)
        return;
    assert_ok(poly_db_exec(db, "COMMIT", &err));
    poly_sqlite_give(p->log, db);
}

static inline uint64_t applied(struct place *p, uint64_t generation)
{
    uint64_t position = 12345;
    struct poly_db *db = reader(p);

    assert_ok(driver->applied(p->store, db, generation, &position, &err));
    give_back(p, db);
    return position;
}

static inline uint64_t count(struct place *p, uint64_t generation)
{
    uint64_t documents = 12345;
    struct poly_db *db = reader(p);

    assert_ok(driver->count(p->store, db, generation, &documents, &err));
    give_back(p, db);
    return documents;
}

/* The writer of the file that the index is in, to look or meddle behind the driver's back. */
static inline struct poly_db *inside(struct place *p)
{
    struct poly_embedded *self = (struct poly_embedded *)p->store;

    return poly_sqlite_writer(p->follower ? self->file : p->log);
}

/* Behind the driver's back, in the words of the engine that it is on. */
static inline void meddle(struct place *p, const char *sqlite, const char *postgresql)
{
    if (p->server != NULL)
        on_server(p, postgresql);
    else
        assert_ok(poly_db_exec(inside(p), sqlite, &err));
}

static inline int64_t server_number(struct place *p, const char *sql)
{
    PGresult *result = PQexec(p->server, sql);
    int64_t n;

    if (PQntuples(result) != 1)
        fail_msg("%s: %s", sql, PQerrorMessage(p->server));
    n = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    return n;
}

static inline int64_t number(struct place *p, const char *sql, const char *postgresql)
{
    sqlite3_stmt *statement;
    int64_t n;

    if (p->server != NULL)
        return server_number(p, postgresql);
    assert_int_equal(sqlite3_prepare_v2(poly_db_handle(inside(p)), sql, -1, &statement, NULL), 0);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    n = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return n;
}

/* --- asking --- */

struct ask {
    const char *query;
    const char *tenant;
    const char *domains[6]; /* in order of their names */
    const struct poly_filter *filters;
    size_t filter_count;
    uint32_t limit, offset;
    uint64_t generation;
    bool highlight;
    int64_t deadline;
};

static inline const struct poly_domain *domain_named(const char *name)
{
    for (size_t i = 0; i < config.domain_count; i++)
        if (strcmp(domains[i].name, name) == 0)
            return &domains[i];
    fail_msg("no domain %s", name);
    return NULL;
}

static inline enum poly_status ask(struct place *p, const struct ask *a, struct poly_hits *hits)
{
    struct poly_search_scope scopes[6];
    struct poly_query *query;
    struct poly_projected projected = {.store = p->store,
                                       .generation = a->generation == 0 ? 1 : a->generation};
    struct poly_search_request request = {.scopes = scopes,
                                          .limit = a->limit == 0 ? 10 : a->limit,
                                          .offset = a->offset,
                                          .highlight = a->highlight,
                                          .mark_open = poly_text("["),
                                          .mark_close = poly_text("]"),
                                          .deadline = a->deadline != 0 ? a->deadline : INT64_MAX};
    enum poly_status status;

    poly_arena_reset(p->arena);
    status = poly_where_beside(NULL, a->filters, a->filter_count, p->arena, &request.where, &err);
    if (status != POLY_OK)
        return status;
    for (size_t i = 0; a->domains[i] != NULL; i++) {
        scopes[i].domain = domain_named(a->domains[i]);
        scopes[i].tenant = poly_text(scopes[i].domain->tenant == NULL ? "" : a->tenant);
        request.scope_count++;
    }
    status = poly_query_parse(a->query, p->arena, &query, &err);
    if (status != POLY_OK)
        return status;
    request.query = query;
    projected.db = reader(p);
    if (p->server != NULL && a->deadline == 0)
        request.deadline = poly_clock_monotonic() + 60000000;
    status = ((const struct poly_search_driver *)driver)
                 ->search(&projected, &request, p->arena, hits, &err);
    give_back(p, projected.db);
    return status;
}

/* "domain/key domain/key (total)" */
static inline void finds(struct place *p, struct ask a, const char *expected)
{
    struct poly_hits hits;
    char text[4096] = "";
    size_t size = 0;

    assert_ok(ask(p, &a, &hits));
    for (size_t i = 0; i < hits.count; i++) {
        size += (size_t)snprintf(text + size, sizeof(text) - size, "%s/%s ",
                                 hits.hits[i].domain.data, hits.hits[i].key.data);
        assert_true(hits.hits[i].score > 0);
    }
    snprintf(text + size, sizeof(text) - size, "(%llu)", (unsigned long long)hits.total);
    assert_string_equal(text, expected);
    assert_int_equal(hits.generation, a.generation == 0 ? 1 : a.generation);
}

static inline void refuses(struct place *p, struct ask a, enum poly_status status, int position,
                           const char *message)
{
    struct poly_hits hits;

    assert_fails(ask(p, &a, &hits), status);
    assert_string_equal(err.message, message);
    assert_int_equal(err.position, position);
}

#define PACKAGES(text) ((struct ask){.query = (text), .domains = {"packages"}})
#define INCIDENTS(who, text)                                                                       \
    ((struct ask){.query = (text), .tenant = (who), .domains = {"incidents"}})

#define SERVER(test)                                                                               \
    {                                                                                              \
        "postgresql." #test, test, setup_server, teardown, NULL                                    \
    }
#define BOTH(test)                                                                                 \
    {"colocated." #test, test, setup_colocated, teardown, NULL},                                   \
    {                                                                                              \
        "follower." #test, test, setup_follower, teardown, NULL                                    \
    }

#endif
