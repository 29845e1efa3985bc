/*
 * The search driver on PostgreSQL: opening, generations, positions. It follows
 * the log like any other, whoever owns that; several daemons share it.
 */
#include "stores/search/postgresql.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"
#include "core/config.h"
#include "core/server.h"
#include "stores/search/document.h"

enum {
    APPLY_MEMORY = 256 * 1024 * 1024,
    APPLY_US = 60000000, /* for one batch, or a table that is made */
    READ_US = 10000000,  /* for one number */
    COUNT_US = 1000000,  /* for one that the status shows */
};

/* Who is stopped in the middle of a transaction holds others up no longer than this. How many
 * documents have a word decides how they are best found: each search is planned for its own. */
static const char session[] = "SET idle_in_transaction_session_timeout = '10s';"
                              "SET plan_cache_mode = force_custom_plan";

static const char applied_of[] = "SELECT applied FROM poly_search.generation WHERE number = $1"
                                 " AND to_regclass('poly_search.documents_' || number) IS NOT NULL"
                                 " AND to_regclass('poly_search.stats_' || number) IS NOT NULL";

/* --- open and close --- */

static void close_store(struct poly_store *store)
{
    struct poly_ts *self = poly_ts_of(store);

    if (self == NULL)
        return;
    poly_ts_resign(self);
    poly_pg_pool_close(self->pool);
    poly_pg_target_free(self->target);
    poly_words_close(self->words);
    poly_ts_generations_free(self);
    poly_arena_free(self->arena);
    pthread_mutex_destroy(&self->applying);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

static enum poly_status set_up(struct poly_pg *pg, void *arg, struct poly_error *err)
{
    (void)arg;
    return poly_pg_exec(pg, session, err);
}

static enum poly_status connect_store(struct poly_ts *self, const struct poly_server *server,
                                      struct poly_error *err)
{
    struct poly_pg_options where = poly_server_options(server);
    struct poly_pg_pool_options pool = poly_server_pool(server);
    struct poly_pg *pg;
    enum poly_status status = poly_pg_target_new(&where, &self->target, err);

    self->connections = server->pool_max + 1;

    if (status == POLY_OK)
        status = poly_pg_open(self->target, -1, &pg, err);
    if (status != POLY_OK)
        return status;
    status = poly_ts_schema(self, pg, err);
    poly_pg_close(pg);
    return status == POLY_OK ? poly_pg_pool_open(&where, &pool, set_up, NULL, &self->pool, err)
                             : status;
}

static void name_store(struct poly_ts *self)
{
    uint8_t random[16];

    poly_random(random, sizeof(random));
    for (size_t i = 0; i < sizeof(random); i++) {
        self->name[2 * i] = "0123456789abcdef"[random[i] >> 4];
        self->name[2 * i + 1] = "0123456789abcdef"[random[i] & 15];
    }
}

static enum poly_status open_store(const struct poly_store_open *how, struct poly_store **store,
                                   struct poly_error *err)
{
    struct poly_ts *self = calloc(1, sizeof(*self));
    enum poly_status status;

    if (self == NULL)
        return poly_no_memory(err);
    self->store.driver = &poly_search_postgresql.base;
    self->config = how->config;
    memcpy(self->instance, how->id, sizeof(self->instance));
    self->time_as_number =
        strcmp(poly_config_store(how->config, "relational")->driver, "embedded") == 0;
    name_store(self);
    pthread_mutex_init(&self->applying, NULL);
    pthread_mutex_init(&self->lock, NULL);
    self->arena = poly_arena_new(APPLY_MEMORY);
    status = self->arena == NULL ? poly_no_memory(err) : poly_words_open(&self->words, err);
    if (status == POLY_OK)
        status = connect_store(self, &how->store->server, err);
    if (status == POLY_OK)
        *store = &self->store;
    else
        close_store(&self->store);
    return status;
}

static bool wants(struct poly_store *store, struct poly_text domain)
{
    return poly_document_wants(poly_ts_of(store)->config, domain);
}

/* --- the calls --- */

typedef enum poly_status change_fn(struct poly_ts *self, struct poly_pg *pg, uint64_t number,
                                   struct poly_error *err);

/* In a transaction of its own. */
static enum poly_status change(struct poly_store *store, change_fn *run, uint64_t number,
                               struct poly_error *err)
{
    struct poly_ts *self = poly_ts_of(store);
    struct poly_pg *pg;
    enum poly_status status =
        poly_pg_pool_take(self->pool, poly_clock_monotonic() + APPLY_US, &pg, err);

    if (status != POLY_OK)
        return status;
    status = poly_pg_begin(pg, POLY_PG_COMMITTED, false, err);
    if (status == POLY_OK)
        status = run(self, pg, number, err);
    if (status == POLY_OK)
        status = poly_pg_commit(pg, err);
    poly_pg_pool_give(self->pool, pg);
    return status;
}

static enum poly_status prepare(struct poly_store *store, struct poly_db *db, uint64_t generation,
                                struct poly_error *err)
{
    (void)db;
    return change(store, poly_ts_make, generation, err);
}

static enum poly_status drop(struct poly_store *store, struct poly_db *db, uint64_t generation,
                             struct poly_error *err)
{
    (void)db;
    return change(store, poly_ts_drop, generation, err);
}

static enum poly_status apply_once(struct poly_ts *self, uint64_t number, struct poly_batch *batch,
                                   struct poly_error *err)
{
    const struct poly_ts_generation *generation;
    struct poly_pg *pg;
    enum poly_status status =
        poly_pg_pool_take(self->pool, poly_clock_monotonic() + APPLY_US, &pg, err);

    if (status != POLY_OK)
        return status;
    status = poly_ts_find_generation(self, pg, number, &generation, err);
    if (status == POLY_OK)
        status = poly_ts_apply(self, generation, pg, batch, err);
    poly_pg_pool_give(self->pool, pg);
    poly_arena_reset(self->arena);
    return status;
}

static bool temporary(enum poly_status status)
{
    return status == POLY_UNAVAILABLE || status == POLY_NO_MEMORY || status == POLY_TIMEOUT ||
           status == POLY_CONFLICT || status == POLY_NOT_FOUND;
}

/* The server refused the batch, and does not say for which record: one after the other. */
static enum poly_status apply_each(struct poly_ts *self, uint64_t number, struct poly_batch *batch,
                                   struct poly_error *err)
{
    enum poly_status status = POLY_OK;

    for (size_t i = 0; i < batch->count && status == POLY_OK; i++) {
        struct poly_batch one = {.records = &batch->records[i],
                                 .count = 1,
                                 .after = batch->after,
                                 .last = batch->records[i].position};

        status = apply_once(self, number, &one, err);
        if (status != POLY_OK && !temporary(status))
            batch->failed = batch->records[i].position;
    }
    return status;
}

static enum poly_status apply(struct poly_store *store, struct poly_db *db, uint64_t generation,
                              struct poly_batch *batch, struct poly_error *err)
{
    struct poly_ts *self = poly_ts_of(store);
    enum poly_status status;

    (void)db;
    batch->failed = 0;
    batch->temporary = false;
    pthread_mutex_lock(&self->applying);
    status = apply_once(self, generation, batch, err);
    if (status != POLY_OK && batch->failed == 0 && batch->count > 1 && !temporary(status))
        status = apply_each(self, generation, batch, err);
    pthread_mutex_unlock(&self->applying);
    if (batch->failed == 0)
        batch->temporary = temporary(status);
    return status;
}

/* One number that a statement gives. */
static enum poly_status number_of(struct poly_pg *pg, const char *sql, uint64_t generation,
                                  uint64_t *number, bool *row, struct poly_error *err)
{
    struct poly_pg_params params;
    PGresult *rows;
    enum poly_status status;

    poly_pg_params(&params);
    if (generation > 0)
        poly_pg_add_int(&params, (int64_t)generation);
    status = poly_pg_run(pg, sql, &params, &rows, err);
    if (status != POLY_OK)
        return status;
    *row = PQntuples(rows) > 0;
    if (*row)
        *number = (uint64_t)poly_pg_int(rows, 0, 0);
    PQclear(rows);
    return POLY_OK;
}

static enum poly_status applied(struct poly_store *store, struct poly_db *db, uint64_t generation,
                                uint64_t *position, struct poly_error *err)
{
    struct poly_ts *self = poly_ts_of(store);
    struct poly_pg *pg;
    bool row = false;
    enum poly_status status =
        poly_pg_pool_take(self->pool, poly_clock_monotonic() + READ_US, &pg, err);

    (void)db;
    if (status != POLY_OK)
        return status;
    status = number_of(pg, applied_of, generation, position, &row, err);
    poly_pg_pool_give(self->pool, pg);
    if (status == POLY_OK && !row)
        return poly_fail(err, POLY_NOT_FOUND, "search: there is no generation %llu",
                         (unsigned long long)generation);
    return status;
}

static enum poly_status count(struct poly_store *store, struct poly_db *db, uint64_t generation,
                              uint64_t *documents, struct poly_error *err)
{
    const struct poly_ts_generation *g;
    struct poly_ts *self = poly_ts_of(store);
    struct poly_pg *pg;
    bool row = false;
    enum poly_status status =
        poly_pg_pool_take(self->pool, poly_clock_monotonic() + COUNT_US, &pg, err);

    (void)db;
    if (status != POLY_OK)
        return status;
    status = poly_ts_find_generation(self, pg, generation, &g, err);
    if (status == POLY_OK)
        status = number_of(pg, g->count, 0, documents, &row, err);
    poly_pg_pool_give(self->pool, pg);
    return status;
}

static enum poly_status positions(struct poly_store *store, uint64_t generation, uint64_t after,
                                  uint64_t *list, size_t max, size_t *count, struct poly_error *err)
{
    const struct poly_ts_generation *g;
    struct poly_ts *self = poly_ts_of(store);
    struct poly_pg_params params;
    PGresult *rows;
    struct poly_pg *pg;
    enum poly_status status =
        poly_pg_pool_take(self->pool, poly_clock_monotonic() + APPLY_US, &pg, err);

    if (status != POLY_OK)
        return status;
    poly_pg_params(&params);
    poly_pg_add_int(&params, (int64_t)after);
    poly_pg_add_int(&params, (int64_t)max);
    status = poly_ts_find_generation(self, pg, generation, &g, err);
    if (status == POLY_OK)
        status = poly_pg_run(pg, g->positions, &params, &rows, err);
    if (status == POLY_OK) {
        *count = (size_t)PQntuples(rows);
        for (size_t i = 0; i < *count; i++)
            list[i] = (uint64_t)poly_pg_int(rows, (int)i, 0);
        PQclear(rows);
    }
    poly_pg_pool_give(self->pool, pg);
    return status;
}

static void pool(struct poly_store *store, struct poly_pool_status *status)
{
    struct poly_pg_pool_numbers numbers;

    poly_pg_pool_numbers(poly_ts_of(store)->pool, &numbers);
    *status = poly_server_pool_status(&numbers);
}

static enum poly_status search(const struct poly_projected *projected,
                               const struct poly_search_request *request, struct poly_arena *arena,
                               struct poly_hits *hits, struct poly_error *err)
{
    struct poly_ts *self = poly_ts_of(projected->store);
    const struct poly_ts_generation *generation;
    struct poly_pg *pg;
    enum poly_status status = poly_pg_pool_take(self->pool, request->deadline, &pg, err);

    if (status == POLY_OK) {
        status = poly_ts_find_generation(self, pg, projected->generation, &generation, err);
        if (status == POLY_OK)
            status = poly_ts_find(self, generation, pg, request, arena, hits, err);
        poly_pg_pool_give(self->pool, pg);
    }
    if (status == POLY_TIMEOUT && poly_clock_monotonic() >= request->deadline)
        return poly_fail(err, POLY_TIMEOUT, "search: the deadline passed");
    if (status == POLY_NOT_FOUND) /* dropped by whoever applies */
        return poly_fail(err, POLY_UNAVAILABLE, "search: the index is being changed; try again");
    return status;
}

static const struct poly_capability capabilities[] = {
    {"co-located", false, "it follows the log, wherever that is"},
    {"rank", true, "`ts_rank` against the document's length"},
    {"long-documents", true, "phrases in about the first 16,300 words"},
    {"snippet", true, "the 24 words with the most different terms"},
    {"paths-of-filters", true, "names, quoted names and places from the beginning"},
    {NULL, false, NULL},
};

const struct poly_search_driver poly_search_postgresql = {
    .base = {.store = "search",
             .name = "postgresql",
             .capabilities = capabilities,
             .open = open_store,
             .close = close_store,
             .lead = poly_ts_lead,
             .wants = wants,
             .prepare = prepare,
             .drop = drop,
             .applied = applied,
             .apply = apply,
             .count = count,
             .positions = positions,
             .pool = pool},
    .search = search,
};
