/*
 * The vector driver on PostgreSQL: one of the stores that follow the log into a database there
 * (followers/postgresql.h), and what it alone has.
 */
#include "stores/vector/postgresql.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "core/config.h"
#include "stores/vector/record.h"

enum { READ_US = 60000000, COUNT_US = 1000000 }; /* for the statistics; for the status */

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
    poly_pgv_tables_free(self);
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
    self->in_tables = how->store->in_tables;
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

/* What is searched for one domain: a generation, or the records' own tables. look: whether those
 * have changed. */
static enum poly_status find_in(const struct poly_projected *projected,
                                const struct poly_vector_scope *scope, bool look,
                                struct poly_pg *pg, const struct poly_follower_generation **g,
                                struct poly_error *err)
{
    struct poly_pgv *self = of(projected->store);
    enum poly_status status;

    if (poly_config_in_table(self->base.config, scope->domain, scope->vector))
        return poly_pgv_tables(self, pg, look, g, err);
    status = poly_follower_find(&self->base, pg, projected->generation, g, err);
    if (status == POLY_NOT_FOUND) /* dropped by whoever applies */
        return poly_fail(err, POLY_UNAVAILABLE, "vector: the index is being changed; try again");
    return status;
}

static enum poly_status take(struct poly_pgv *self, int64_t deadline, struct poly_pg **pg,
                             struct poly_error *err)
{
    return explain(poly_pg_pool_take(self->base.pool, deadline, pg, err), deadline, err);
}

/* What is asked together, on one connection. */
struct asked {
    const struct poly_projected *projected;
    const struct poly_vector_request *requests;
    size_t count;
    struct poly_arena *arena;
    struct poly_matches *matches;
    size_t *failed;
    struct poly_pg *pg;
    bool look; /* whether the records' own tables have changed */
};

/* What is known of the generation was read before a model was changed, by whoever applies; or of
 * the records' own tables, before somebody changed those. The next time it is read anew. */
static bool is_outdated(struct asked *a, enum poly_status status)
{
    struct poly_pgv *self = of(a->projected->store);
    const struct poly_vector_scope *scope = &a->requests[*a->failed].scope;
    const struct poly_follower_generation *g;
    const struct poly_pgv_collection *c;
    bool old = poly_pg_unfit(a->pg);
    struct poly_error ignored;

    if (status == POLY_OK || poly_pg_lost(a->pg))
        return false;
    if (poly_config_in_table(self->base.config, scope->domain, scope->vector)) {
        a->look = old || status == POLY_UNSUPPORTED || status == POLY_UNAVAILABLE;
        return a->look;
    }
    old = strcmp(poly_pg_state(a->pg), "42P01") == 0;
    if (!old && find_in(a->projected, scope, false, a->pg, &g, &ignored) == POLY_OK) {
        c = poly_pgv_collection(g, scope->domain, scope->vector);
        old = c != NULL && c->shape.change < scope->vector->change;
    }
    if (old)
        poly_follower_forget(&self->base, a->projected->generation);
    return old;
}

static enum poly_status find_all(const struct asked *a, struct poly_error *err)
{
    struct poly_pgv *self = of(a->projected->store);
    enum poly_status status = POLY_OK;

    for (size_t i = 0; i < a->count && status == POLY_OK; i++) {
        const struct poly_follower_generation *g;

        *a->failed = i;
        status = find_in(a->projected, &a->requests[i].scope, a->look, a->pg, &g, err);
        if (status == POLY_OK)
            status = poly_pgv_find(self, g, a->pg, &a->requests[i], a->arena, &a->matches[i], err);
    }
    return status;
}

/* One snapshot for all of several. */
static enum poly_status find_together(const struct asked *a, struct poly_error *err)
{
    enum poly_status status = poly_pg_begin(a->pg, POLY_PG_SNAPSHOT, true, err);

    if (status == POLY_OK)
        status = find_all(a, err);
    return status == POLY_OK ? poly_pg_commit(a->pg, err) : status;
}

static enum poly_status ask_once(struct asked *a, bool *again, struct poly_error *err)
{
    struct poly_pgv *self = of(a->projected->store);
    int64_t deadline = a->requests[0].deadline;
    bool together = a->count > 1;
    enum poly_status status = take(self, deadline, &a->pg, err);

    *again = false;
    *a->failed = 0;
    if (status != POLY_OK)
        return status;
    status = together ? find_together(a, err) : find_all(a, err);
    *again = is_outdated(a, status);
    if (together)
        poly_pg_roll_back(a->pg);
    if (together && status != POLY_OK)
        poly_pg_set_note(a->pg, 0); /* a setting may have been rolled back */
    poly_pg_pool_give(self->base.pool, a->pg);
    return explain(status, deadline, err);
}

static enum poly_status ask(struct asked *a, struct poly_error *err)
{
    bool again;
    enum poly_status status = ask_once(a, &again, err);

    return again ? ask_once(a, &again, err) : status;
}

static enum poly_status search(const struct poly_projected *projected,
                               const struct poly_vector_request *request, struct poly_arena *arena,
                               struct poly_matches *matches, struct poly_error *err)
{
    size_t failed;
    struct asked a = {.projected = projected,
                      .requests = request,
                      .count = 1,
                      .arena = arena,
                      .matches = matches,
                      .failed = &failed};

    return ask(&a, err);
}

static enum poly_status search_all(const struct poly_projected *projected,
                                   const struct poly_vector_request *requests, size_t count,
                                   struct poly_arena *arena, struct poly_matches *matches,
                                   size_t *failed, struct poly_error *err)
{
    struct asked a = {.projected = projected,
                      .requests = requests,
                      .count = count,
                      .arena = arena,
                      .matches = matches,
                      .failed = failed};

    return ask(&a, err);
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
    stats->unlinked =
        !atomic_load(c->indexed) && poly_pgv_is_worth(c, stats->vectors) ? stats->vectors : 0;
    stats->searches = atomic_load(c->searches);
    stats->recall = (double)NAN;
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
    enum poly_status status =
        poly_pg_pool_take(self->pool, poly_clock_monotonic() + READ_US, &pg, err);

    if (status != POLY_OK)
        return status;
    status = find_in(projected, scope, false, pg, &g, err);
    if (status == POLY_OK)
        status = poly_pgv_look(of(projected->store), pg, scope, &g, &c, err);
    if (status == POLY_OK && c != NULL && c->measure != NULL)
        status = measure(pg, c, stats, err);
    poly_pg_pool_give(self->pool, pg);
    if (status == POLY_OK)
        status =
            poly_follower_applied(projected->store, NULL, projected->generation, &applied, err);
    if (status == POLY_OK)
        stats->saved_position = applied;
    return status;
}

/* In the records' own tables: as many as there are. */
static enum poly_status count_tables(struct poly_pgv *self, struct poly_pg *pg, uint64_t *count,
                                     struct poly_error *err)
{
    const struct poly_follower_generation *g;
    enum poly_status status = poly_pgv_tables(self, pg, false, &g, err);

    for (size_t i = 0; status == POLY_OK && i < g->source_count; i++) {
        const struct poly_pgv_collection *c = (const struct poly_pgv_collection *)g->sources[i];
        uint64_t one = 0;

        if (c->count != NULL)
            status = poly_follower_number(pg, c->count, &one, err);
        *count += one;
    }
    return status;
}

static enum poly_status count_of(struct poly_store *store, struct poly_db *db, uint64_t generation,
                                 uint64_t *count, struct poly_error *err)
{
    struct poly_pgv *self = of(store);
    struct poly_pg *pg;
    enum poly_status status = poly_follower_count(store, db, generation, count, err);

    if (status != POLY_OK || !self->in_tables)
        return status;
    status = poly_pg_pool_take(self->base.pool, poly_clock_monotonic() + COUNT_US, &pg, err);
    if (status != POLY_OK)
        return status;
    status = count_tables(self, pg, count, err);
    poly_pg_pool_give(self->base.pool, pg);
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
    {"co-located", true,
     "where so configured the records' own tables are searched; else it follows the log"},
    {"large-dimensions", true,
     "an index for at most 2,000 dimensions of `f32` and `int8`, 4,000 of `f16`; beyond, searches "
     "are exact scans"},
    {"sampled", false, "no search is asked again to know how many of the nearest it found"},
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
             .accepts = poly_pgv_accepts,
             .shape = poly_vector_shape,
             .prepare = poly_follower_prepare,
             .drop = poly_follower_drop,
             .applied = poly_follower_applied,
             .apply = poly_follower_apply,
             .trouble = trouble,
             .count = count_of,
             .positions = poly_follower_positions,
             .pool = poly_follower_pool},
    .search = search,
    .search_all = search_all,
    .stats = stats_of,
};
