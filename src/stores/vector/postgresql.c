/*
 * The vector driver on PostgreSQL: one of the stores that follow the log into a database there
 * (followers/postgresql.h), and what it alone has.
 */
#include "stores/vector/postgresql.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "stores/vector/record.h"

enum { READ_US = 60000000 }; /* for what the statistics ask */

static struct poly_pgv *of(struct poly_store *store)
{
    return (struct poly_pgv *)store;
}

static void close_store(struct poly_store *store)
{
    struct poly_pgv *self = of(store);

    if (self == NULL)
        return;
    poly_pgv_keep_stop(self);
    poly_follower_close(&self->base);
    pthread_mutex_destroy(&self->mutex);
    pthread_cond_destroy(&self->wake);
    free(self);
}

static void init(struct poly_pgv *self)
{
    pthread_condattr_t attributes;

    pthread_mutex_init(&self->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&self->wake, &attributes);
    pthread_condattr_destroy(&attributes);
}

static enum poly_status open_store(const struct poly_store_open *how, struct poly_store **store,
                                   struct poly_error *err)
{
    struct poly_pgv *self = calloc(1, sizeof(*self));
    enum poly_status status;

    if (self == NULL)
        return poly_no_memory(err);
    init(self);
    status = poly_follower_open(&self->base, &poly_pgv_kind, how, err);
    if (status == POLY_OK)
        status = poly_pgv_extension(self, err);
    if (status == POLY_OK)
        status = poly_pgv_keep(self, err);
    if (status == POLY_OK)
        *store = &self->base.store;
    else
        close_store(&self->base.store);
    return status;
}

static bool wants(struct poly_store *store, struct poly_text domain)
{
    return poly_vector_wants(of(store)->base.config, domain);
}

/* What is wrong, for who asked. */
static enum poly_status explain(enum poly_status status, int64_t deadline, struct poly_error *err)
{
    if (status == POLY_TIMEOUT && poly_clock_monotonic() >= deadline)
        return poly_fail(err, POLY_TIMEOUT, "vector: the deadline passed");
    return status;
}

/* The connection that a search runs on, and what it looks in. */
static enum poly_status take(const struct poly_projected *projected, int64_t deadline,
                             struct poly_pg **pg, const struct poly_follower_generation **g,
                             struct poly_error *err)
{
    enum poly_status status = poly_follower_read(poly_follower_of(projected->store),
                                                 projected->generation, deadline, pg, g, err);

    if (status == POLY_NOT_FOUND) /* dropped by whoever applies */
        return poly_fail(err, POLY_UNAVAILABLE, "vector: the index is being changed; try again");
    return explain(status, deadline, err);
}

/* What is known of the generation was read before a model was changed, by whoever applies. */
static bool outdated(const struct poly_follower_generation *g, const struct poly_pg *pg,
                     const struct poly_vector_request *requests, size_t count)
{
    bool old = strcmp(poly_pg_state(pg), "42P01") == 0;

    for (size_t i = 0; i < count && !old; i++) {
        const struct poly_pgv_collection *c =
            poly_pgv_collection(g, requests[i].scope.domain, requests[i].scope.vector);

        old = c != NULL && c->shape.change < requests[i].scope.vector->change;
    }
    return old;
}

/* What is asked together. */
struct asked {
    const struct poly_projected *projected;
    const struct poly_vector_request *requests;
    size_t count;
    struct poly_arena *arena;
    struct poly_matches *matches;
    size_t *failed;
};

static enum poly_status find_all(const struct asked *a, const struct poly_follower_generation *g,
                                 struct poly_pg *pg, struct poly_error *err)
{
    enum poly_status status = POLY_OK;

    for (size_t i = 0; i < a->count && status == POLY_OK; i++) {
        *a->failed = i;
        status = poly_pgv_find(of(a->projected->store), g, pg, &a->requests[i], a->arena,
                               &a->matches[i], err);
    }
    return status;
}

/* One snapshot for all of several. */
static enum poly_status find_together(const struct asked *a,
                                      const struct poly_follower_generation *g, struct poly_pg *pg,
                                      struct poly_error *err)
{
    enum poly_status status = poly_pg_begin(pg, POLY_PG_SNAPSHOT, true, err);

    if (status == POLY_OK)
        status = find_all(a, g, pg, err);
    return status == POLY_OK ? poly_pg_commit(pg, err) : status;
}

static enum poly_status ask_once(const struct asked *a, bool together, bool *again,
                                 struct poly_error *err)
{
    struct poly_pgv *self = of(a->projected->store);
    const struct poly_follower_generation *g;
    struct poly_pg *pg;
    enum poly_status status;

    *again = false;
    *a->failed = 0;
    status = take(a->projected, a->requests[0].deadline, &pg, &g, err);
    if (status != POLY_OK)
        return status;
    status = together ? find_together(a, g, pg, err) : find_all(a, g, pg, err);
    *again = status != POLY_OK && outdated(g, pg, a->requests, a->count);
    if (*again)
        poly_follower_forget(&self->base, g->number);
    if (together)
        poly_pg_roll_back(pg);
    if (together && status != POLY_OK)
        poly_pg_set_note(pg, 0); /* a setting may have been rolled back */
    poly_pg_pool_give(self->base.pool, pg);
    return explain(status, a->requests[0].deadline, err);
}

static enum poly_status ask(const struct asked *a, bool together, struct poly_error *err)
{
    bool again;
    enum poly_status status = ask_once(a, together, &again, err);

    return again ? ask_once(a, together, &again, err) : status;
}

static enum poly_status search(const struct poly_projected *projected,
                               const struct poly_vector_request *request, struct poly_arena *arena,
                               struct poly_matches *matches, struct poly_error *err)
{
    size_t failed;
    const struct asked a = {projected, request, 1, arena, matches, &failed};

    return ask(&a, false, err);
}

static enum poly_status search_all(const struct poly_projected *projected,
                                   const struct poly_vector_request *requests, size_t count,
                                   struct poly_arena *arena, struct poly_matches *matches,
                                   size_t *failed, struct poly_error *err)
{
    const struct asked a = {projected, requests, count, arena, matches, failed};

    return ask(&a, true, err);
}

/* What the server can say of it: sizes of the table and the index, and how many there are. */
static enum poly_status measure(struct poly_pg *pg, const struct poly_pgv_collection *c,
                                struct poly_vector_stats *stats, struct poly_error *err)
{
    PGresult *rows;
    enum poly_status status = poly_pg_run(pg, c->measure, NULL, &rows, err);

    if (status != POLY_OK)
        return status;
    stats->vectors = (uint64_t)poly_pg_int(rows, 0, 0);
    stats->file_bytes = (uint64_t)poly_pg_int(rows, 0, 1);
    stats->dead = (uint64_t)poly_pg_int(rows, 0, 2);
    stats->linked = atomic_load(c->indexed) ? stats->vectors : 0;
    PQclear(rows);
    return POLY_OK;
}

static enum poly_status stats_of(const struct poly_projected *projected,
                                 const struct poly_vector_scope *scope,
                                 struct poly_vector_stats *stats, struct poly_error *err)
{
    struct poly_follower *self = poly_follower_of(projected->store);
    const struct poly_follower_generation *g;
    const struct poly_pgv_collection *c;
    struct poly_pg *pg;
    uint64_t applied = 0;
    enum poly_status status = poly_follower_read(self, projected->generation,
                                                 poly_clock_monotonic() + READ_US, &pg, &g, err);

    if (status != POLY_OK)
        return status;
    status = poly_pgv_look(of(projected->store), pg, scope, &g, &c, err);
    if (status == POLY_OK && c != NULL)
        status = measure(pg, c, stats, err);
    poly_pg_pool_give(self->pool, pg);
    if (status == POLY_OK)
        status =
            poly_follower_applied(projected->store, NULL, projected->generation, &applied, err);
    if (status == POLY_OK)
        stats->saved_position = applied;
    return status;
}

static void trouble(struct poly_store *store, char text[256], int64_t *since)
{
    struct poly_pgv *self = of(store);

    pthread_mutex_lock(&self->mutex);
    memcpy(text, self->trouble, sizeof(self->trouble));
    *since = self->since;
    pthread_mutex_unlock(&self->mutex);
}

static const struct poly_capability capabilities[] = {
    {"co-located", false, "it follows the log, wherever that is"},
    {"large-dimensions", true,
     "an index for at most 2,000 dimensions of `f32` and `int8`, 4,000 of `f16`; beyond, searches "
     "are exact scans"},
    {"visited", false, "the server does not say how many distances it computes"},
    {NULL, false, NULL},
};

const struct poly_vector_driver poly_vector_postgresql = {
    .base = {.store = "vector",
             .name = "postgresql",
             .capabilities = capabilities,
             .open = open_store,
             .close = close_store,
             .models = true,
             .lead = poly_follower_lead,
             .wants = wants,
             .shape = poly_vector_shape,
             .prepare = poly_follower_prepare,
             .drop = poly_follower_drop,
             .applied = poly_follower_applied,
             .apply = poly_follower_apply,
             .trouble = trouble,
             .count = poly_follower_count,
             .positions = poly_follower_positions,
             .pool = poly_follower_pool},
    .search = search,
    .search_all = search_all,
    .stats = stats_of,
};
