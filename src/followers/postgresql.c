/*
 * Opening, and the calls that are the same for every store on PostgreSQL: each
 * takes a connection from the pool, finds the generation, and asks.
 */
#include "followers/postgresql.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"
#include "core/config.h"
#include "core/server.h"

enum {
    APPLY_MEMORY = 256 * 1024 * 1024,
    TEXTS_MAX = 1024 * 1024,
    APPLY_US = 60000000, /* for one batch, or a table that is made */
    READ_US = 10000000,  /* for one number */
    COUNT_US = 1000000,  /* for one that the status shows */
};

/* --- open and close --- */

void poly_follower_close(struct poly_follower *self)
{
    struct poly_follower_generation *generation = self->generations;

    if (self->kind == NULL) /* was never opened */
        return;
    poly_follower_resign(self);
    poly_pg_pool_close(self->pool);
    poly_pg_target_free(self->target);
    while (generation != NULL) {
        struct poly_follower_generation *next = generation->next;

        poly_arena_free(generation->arena);
        generation = next;
    }
    poly_arena_free(self->arena);
    poly_arena_free(self->texts);
    pthread_mutex_destroy(&self->applying);
    pthread_mutex_destroy(&self->lock);
}

/* Who is stopped in the middle of a transaction holds others up no longer than this. */
static enum poly_status set_up(struct poly_pg *pg, void *arg, struct poly_error *err)
{
    const struct poly_follower_kind *kind = arg;
    enum poly_status status =
        poly_pg_exec(pg, "SET idle_in_transaction_session_timeout = '10s'", err);

    return status == POLY_OK && kind->session != NULL ? poly_pg_exec(pg, kind->session, err)
                                                      : status;
}

static enum poly_status connect_store(struct poly_follower *self, const struct poly_server *server,
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
    status = poly_follower_schema(self, pg, err);
    poly_pg_close(pg);
    return status == POLY_OK
               ? poly_pg_pool_open(&where, &pool, set_up, (void *)self->kind, &self->pool, err)
               : status;
}

static void name_store(struct poly_follower *self)
{
    uint8_t random[16];

    poly_random(random, sizeof(random));
    for (size_t i = 0; i < sizeof(random); i++) {
        self->name[2 * i] = "0123456789abcdef"[random[i] >> 4];
        self->name[2 * i + 1] = "0123456789abcdef"[random[i] & 15];
    }
}

enum poly_status poly_follower_open(struct poly_follower *self,
                                    const struct poly_follower_kind *kind,
                                    const struct poly_store_open *how, struct poly_error *err)
{
    self->kind = kind;
    self->store.driver = kind->driver;
    self->config = how->config;
    self->time_as_number =
        strcmp(poly_config_store(how->config, "relational")->driver, "embedded") == 0;
    memcpy(self->instance, how->id, sizeof(self->instance));
    name_store(self);
    pthread_mutex_init(&self->applying, NULL);
    pthread_mutex_init(&self->lock, NULL);
    self->arena = poly_arena_new(APPLY_MEMORY);
    self->texts = poly_arena_new(TEXTS_MAX);
    if (self->arena == NULL || self->texts == NULL)
        return poly_no_memory(err);
    return connect_store(self, &how->store->server, err);
}

/* --- the calls --- */

typedef enum poly_status change_fn(struct poly_follower *self, struct poly_pg *pg, uint64_t number,
                                   struct poly_error *err);

/* In a transaction of its own. */
static enum poly_status change(struct poly_store *store, change_fn *run, uint64_t number,
                               struct poly_error *err)
{
    struct poly_follower *self = poly_follower_of(store);
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

enum poly_status poly_follower_prepare(struct poly_store *store, struct poly_db *db,
                                       uint64_t generation, struct poly_error *err)
{
    (void)db;
    return change(store, poly_follower_make, generation, err);
}

enum poly_status poly_follower_drop(struct poly_store *store, struct poly_db *db,
                                    uint64_t generation, struct poly_error *err)
{
    (void)db;
    return change(store, poly_follower_remove, generation, err);
}

enum poly_status poly_follower_read(struct poly_follower *self, uint64_t number, int64_t deadline,
                                    struct poly_pg **pg,
                                    const struct poly_follower_generation **generation,
                                    struct poly_error *err)
{
    struct poly_pg *taken;
    enum poly_status status = poly_pg_pool_take(self->pool, deadline, &taken, err);

    if (status != POLY_OK)
        return status;
    status = poly_follower_find(self, taken, number, generation, err);
    if (status == POLY_OK)
        *pg = taken;
    else
        poly_pg_pool_give(self->pool, taken);
    return status;
}

static enum poly_status apply_once(struct poly_follower *self, uint64_t number,
                                   struct poly_batch *batch, struct poly_error *err)
{
    const struct poly_follower_generation *generation;
    struct poly_pg *pg;
    enum poly_status status =
        poly_follower_read(self, number, poly_clock_monotonic() + APPLY_US, &pg, &generation, err);

    if (status != POLY_OK)
        return status;
    status = poly_follower_grow(self, pg, &generation, err);
    if (status == POLY_OK)
        status = self->kind->apply(self, generation, pg, batch, err);
    status = poly_follower_gone(self, pg, number, status, err);
    if (poly_pg_queued(pg) > 0)
        poly_pg_drop(pg);
    poly_pg_roll_back(pg);
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
static enum poly_status apply_each(struct poly_follower *self, uint64_t number,
                                   struct poly_batch *batch, struct poly_error *err)
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

enum poly_status poly_follower_apply(struct poly_store *store, struct poly_db *db,
                                     uint64_t generation, struct poly_batch *batch,
                                     struct poly_error *err)
{
    struct poly_follower *self = poly_follower_of(store);
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

enum poly_status poly_follower_number(struct poly_pg *pg, const char *sql, uint64_t *number,
                                      struct poly_error *err)
{
    PGresult *rows;
    enum poly_status status = poly_pg_run(pg, sql, NULL, &rows, err);

    if (status != POLY_OK)
        return status;
    *number = PQntuples(rows) > 0 ? (uint64_t)poly_pg_int(rows, 0, 0) : 0;
    PQclear(rows);
    return POLY_OK;
}

enum poly_status poly_follower_count(struct poly_store *store, struct poly_db *db,
                                     uint64_t generation, uint64_t *count, struct poly_error *err)
{
    struct poly_follower *self = poly_follower_of(store);
    const struct poly_follower_generation *g;
    struct poly_pg *pg;
    enum poly_status status =
        poly_follower_read(self, generation, poly_clock_monotonic() + COUNT_US, &pg, &g, err);

    (void)db;
    if (status != POLY_OK)
        return status;
    status = poly_follower_number(pg, g->count, count, err);
    poly_pg_pool_give(self->pool, pg);
    return status;
}

enum poly_status poly_follower_positions(struct poly_store *store, uint64_t generation,
                                         uint64_t after, uint64_t *list, size_t max, size_t *count,
                                         struct poly_error *err)
{
    struct poly_follower *self = poly_follower_of(store);
    const struct poly_follower_generation *g;
    struct poly_pg_params params;
    struct poly_pg *pg;
    PGresult *rows;
    enum poly_status status =
        poly_follower_read(self, generation, poly_clock_monotonic() + APPLY_US, &pg, &g, err);

    if (status != POLY_OK)
        return status;
    poly_pg_params(&params);
    poly_pg_add_int(&params, (int64_t)after);
    poly_pg_add_int(&params, (int64_t)max);
    status = poly_pg_run(pg, g->positions, &params, &rows, err);
    if (status == POLY_OK) {
        *count = (size_t)PQntuples(rows) < max ? (size_t)PQntuples(rows) : max;
        for (size_t i = 0; i < *count; i++)
            list[i] = (uint64_t)poly_pg_int(rows, (int)i, 0);
        PQclear(rows);
    }
    poly_pg_pool_give(self->pool, pg);
    return status;
}

enum poly_status poly_follower_applied(struct poly_store *store, struct poly_db *db,
                                       uint64_t generation, uint64_t *position,
                                       struct poly_error *err)
{
    struct poly_follower *self = poly_follower_of(store);
    struct poly_pg_params params;
    struct poly_pg *pg;
    PGresult *rows;
    bool row = false;
    enum poly_status status =
        poly_pg_pool_take(self->pool, poly_clock_monotonic() + READ_US, &pg, err);

    (void)db;
    if (status != POLY_OK)
        return status;
    poly_pg_params(&params);
    poly_pg_add_int(&params, (int64_t)generation);
    status = poly_pg_run(pg, self->sql[POLY_FOLLOWER_APPLIED], &params, &rows, err);
    if (status == POLY_OK) {
        row = PQntuples(rows) > 0;
        if (row)
            *position = (uint64_t)poly_pg_int(rows, 0, 0);
        PQclear(rows);
    }
    poly_pg_pool_give(self->pool, pg);
    if (status == POLY_OK && !row)
        return poly_fail(err, POLY_NOT_FOUND, "%s: there is no generation %llu",
                         self->kind->driver->store, (unsigned long long)generation);
    return status;
}

void poly_follower_pool(struct poly_store *store, struct poly_pool_status *status)
{
    struct poly_pg_pool_numbers numbers;

    poly_pg_pool_numbers(poly_follower_of(store)->pool, &numbers);
    *status = poly_server_pool_status(&numbers);
}
