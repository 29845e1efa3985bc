/*
 * Indexes are made beside everything else (CREATE INDEX CONCURRENTLY), by the daemon that
 * applies, when a generation has been filled. Every daemon looks now and then whether there is one:
 * without, it asks for exact searches. In the records' own tables an index of the application's
 * serves as well, and ours is made only where it has made none.
 *
 * A statement may take long; when the store is closed, the server is asked to stop it, and what it
 * leaves behind is an index that is not valid, which the next one drops.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "stores/vector/postgresql.h"

enum {
    LOOK_US = 2000000,
    QUIET_US = 2000000,    /* after the last full batch: it is filled */
    WORTH = 1000,          /* vectors; fewer are scanned as fast */
    FILL = 10,             /* vectors a list: of fewer no centres can be learnt */
    READ_US = 10000000,    /* for one number */
    BUILD_US = 2000000000, /* for one index; asked again after that */
};

/* --- SQL --- */

/* i is an index of the column that pgvector can walk in the operator's order. */
static const char indexes[] =
    " FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam"
    " JOIN pg_opclass o ON o.oid = i.indclass[0] WHERE i.indrelid = %s AND i.indkey[0] = %s"
    " AND i.indpred IS NULL AND m.amname IN ('hnsw', 'ivfflat') AND o.opcname = '%s'";

static bool has_lists(const struct poly_domain_vector *shape)
{
    return shape->index != NULL && strcmp(shape->index, "ivfflat") == 0;
}

/* What the configuration says stands in the name: another one is another index. */
static const char *name_of(struct poly_arena *arena, const struct poly_domain_vector *shape,
                           const struct poly_pgv_place *place)
{
    return has_lists(shape) ? poly_arena_printf(arena, "%s_ivfflat_%u", place->prefix, shape->lists)
                            : poly_arena_printf(arena, "%s_hnsw", place->prefix);
}

static const char *options_of(struct poly_arena *arena, const struct poly_domain_vector *shape)
{
    unsigned least = 2 * shape->m;

    return has_lists(shape)
               ? poly_arena_printf(arena, "lists = %u", shape->lists)
               : poly_arena_printf(arena, "m = %u, ef_construction = %u", shape->m,
                                   shape->ef_construction < least ? least : shape->ef_construction);
}

static int worth_of(const struct poly_domain_vector *shape)
{
    int lists = has_lists(shape) ? FILL * (int)shape->lists : 0;

    return lists > WORTH ? lists : WORTH;
}

bool poly_pgv_is_worth(const struct poly_pgv_collection *collection, uint64_t vectors)
{
    return collection->indexable && vectors >= (uint64_t)worth_of(&collection->shape);
}

enum poly_status poly_pgv_index_sql(struct poly_arena *arena, struct poly_pgv_collection *c,
                                    const struct poly_pgv_place *place, struct poly_error *err)
{
    const char *name = name_of(arena, &c->shape, place), *with = options_of(arena, &c->shape);
    const char *all = poly_arena_printf(arena, indexes, place->oid, place->attribute, c->opclass);

    c->indexes = all;
    if (name == NULL || with == NULL || all == NULL)
        return poly_no_memory(err);
    c->is_indexed = poly_arena_printf(
        arena, "SELECT count(*)%s AND i.indisvalid AND (x.relname = '%s' OR x.relname !~ '^%s_')",
        all, name, place->prefix);
    c->is_worth = poly_arena_printf(
        arena, "SELECT count(*) >= %d FROM (SELECT FROM %s WHERE %s IS NOT NULL LIMIT %d) AS a",
        worth_of(&c->shape), c->from, c->embedding, worth_of(&c->shape));
    c->count = poly_arena_printf(arena, "SELECT count(%s) FROM %s", c->embedding, c->from);
    c->add_index =
        poly_arena_printf(arena, "CREATE INDEX CONCURRENTLY %s ON %s USING %s (%s %s) WITH (%s)",
                          name, place->relation, has_lists(&c->shape) ? "ivfflat" : "hnsw",
                          place->column, c->opclass, with);
    c->drop_index =
        poly_arena_printf(arena, "DROP INDEX CONCURRENTLY IF EXISTS %s.%s", place->schema, name);
    c->old_indexes =
        poly_arena_printf(arena,
                          "SELECT format('DROP INDEX CONCURRENTLY %%s', i.indexrelid::regclass)%s"
                          " AND x.relname ~ '^%s_' AND x.relname <> '%s' LIMIT 1",
                          all, place->prefix, name);
    return c->is_indexed == NULL || c->is_worth == NULL || c->count == NULL ||
                   c->add_index == NULL || c->drop_index == NULL || c->old_indexes == NULL
               ? poly_no_memory(err)
               : POLY_OK;
}

/* --- one index --- */

static void remember(struct poly_pgv *self, const char *why)
{
    pthread_mutex_lock(&self->mutex);
    if (strcmp(self->trouble, why) != 0) {
        snprintf(self->trouble, sizeof(self->trouble), "%.250s", why);
        self->since = poly_clock_wall();
    }
    pthread_mutex_unlock(&self->mutex);
}

static bool filling(struct poly_pgv *self)
{
    return poly_clock_monotonic() - atomic_load(&self->filled) < QUIET_US;
}

static enum poly_status make(struct poly_pgv *self, struct poly_pg *pg,
                             const struct poly_pgv_collection *c, struct poly_error *err)
{
    uint64_t worth = 0;
    enum poly_status status = poly_follower_number(pg, c->is_worth, &worth, err);

    if (status != POLY_OK || worth == 0 || filling(self))
        return status;
    poly_pg_deadline(pg, poly_clock_monotonic() + BUILD_US);
    status = poly_pg_exec(pg, c->drop_index, err); /* what was left half-made */
    if (status == POLY_OK)
        status = poly_pg_exec(pg, c->add_index, err);
    poly_pg_deadline(pg, poly_clock_monotonic() + READ_US);
    return status;
}

/* Those of ours that the configuration does not ask for any more. */
static enum poly_status drop_old(struct poly_pg *pg, const struct poly_pgv_collection *c,
                                 struct poly_error *err)
{
    enum poly_status status = POLY_OK;
    bool more = true;

    while (status == POLY_OK && more) {
        PGresult *rows;

        status = poly_pg_run(pg, c->old_indexes, NULL, &rows, err);
        if (status != POLY_OK)
            return status;
        more = PQntuples(rows) > 0;
        poly_pg_deadline(pg, poly_clock_monotonic() + BUILD_US);
        if (more)
            status = poly_pg_exec(pg, poly_pg_text(rows, 0, 0).data, err);
        poly_pg_deadline(pg, poly_clock_monotonic() + READ_US);
        PQclear(rows);
    }
    return status;
}

static enum poly_status look(struct poly_pgv *self, struct poly_pg *pg,
                             const struct poly_pgv_collection *c, struct poly_error *err)
{
    bool ours = atomic_load(&self->base.fence) != 0;
    uint64_t valid = 0;
    enum poly_status status;

    if (!c->indexable || c->is_indexed == NULL)
        return POLY_OK;
    poly_pg_deadline(pg, poly_clock_monotonic() + READ_US);
    status = poly_follower_number(pg, c->is_indexed, &valid, err);
    if (status == POLY_OK && valid == 0 && ours && c->add_index != NULL) {
        status = make(self, pg, c, err);
        if (status == POLY_OK)
            status = poly_follower_number(pg, c->is_indexed, &valid, err);
    }
    if (status == POLY_OK && valid != 0 && ours)
        status = drop_old(pg, c, err);
    if (status == POLY_OK)
        atomic_store(c->indexed, valid != 0);
    return status;
}

/* --- all of them --- */

static bool stops(struct poly_pgv *self)
{
    bool stop;

    pthread_mutex_lock(&self->mutex);
    stop = self->stop;
    pthread_mutex_unlock(&self->mutex);
    return stop;
}

/* A generation lives as long as the store; one that has been dropped is left alone. */
static const struct poly_follower_generation *
next_generation(struct poly_pgv *self, const struct poly_follower_generation *after)
{
    const struct poly_follower_generation *g;

    pthread_mutex_lock(&self->base.lock);
    g = after == NULL ? self->base.generations : after->next;
    while (g != NULL && g->dropped)
        g = g->next;
    pthread_mutex_unlock(&self->base.lock);
    return g;
}

static enum poly_status look_at_all(struct poly_pgv *self, struct poly_pg *pg,
                                    struct poly_error *err)
{
    const struct poly_follower_generation *g = next_generation(self, NULL);
    enum poly_status status = POLY_OK;

    for (; g != NULL && status == POLY_OK; g = next_generation(self, g)) {
        for (size_t i = 0; i < g->source_count && status == POLY_OK && !stops(self); i++)
            status = look(self, pg, (const struct poly_pgv_collection *)g->sources[i], err);
        status = poly_follower_gone(&self->base, pg, g->number, status, err);
        if (status == POLY_NOT_FOUND) /* dropped meanwhile */
            status = POLY_OK;
    }
    return status;
}

/* The records' own. What keeps one from being searched is trouble, but that it is not there yet. */
static enum poly_status look_at_tables(struct poly_pgv *self, struct poly_pg *pg,
                                       struct poly_error *err)
{
    const struct poly_follower_generation *g = NULL;
    const struct poly_pgv_table *first = NULL;
    enum poly_status status = poly_pgv_tables(self, pg, true, &g, err);

    for (size_t i = 0; status == POLY_OK && i < g->source_count && !stops(self); i++) {
        const struct poly_pgv_collection *c = (const struct poly_pgv_collection *)g->sources[i];

        if (c->table->problem == NULL)
            status = look(self, pg, c, err);
        else if (c->table->status == POLY_UNSUPPORTED && first == NULL)
            first = c->table;
    }
    return status != POLY_OK || first == NULL ? status
                                              : poly_fail(err, first->status, "%s", first->problem);
}

static bool lend(struct poly_pgv *self, struct poly_pg *pg)
{
    pthread_mutex_lock(&self->mutex);
    self->working = self->stop ? NULL : pg;
    pthread_mutex_unlock(&self->mutex);
    return self->working != NULL;
}

static void take_back(struct poly_pgv *self)
{
    pthread_mutex_lock(&self->mutex);
    self->working = NULL;
    pthread_mutex_unlock(&self->mutex);
}

/* On a connection of its own: the pool's are for those who wait. */
static void turn(struct poly_pgv *self)
{
    struct poly_error err = {.message = ""};
    struct poly_pg *pg;
    enum poly_status status =
        poly_pg_open(self->base.target, poly_clock_monotonic() + READ_US, &pg, &err);

    if (status == POLY_OK) {
        if (lend(self, pg))
            status = look_at_all(self, pg, &err);
        if (status == POLY_OK && self->in_tables && !stops(self))
            status = look_at_tables(self, pg, &err);
        take_back(self);
        poly_pg_close(pg);
    }
    if (!stops(self))
        remember(self, status == POLY_OK ? "" : err.message);
}

static void *keep(void *arg)
{
    struct poly_pgv *self = arg;

    pthread_mutex_lock(&self->mutex);
    while (!self->stop) {
        struct timespec until;

        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += LOOK_US / 1000000;
        pthread_cond_timedwait(&self->wake, &self->mutex, &until);
        if (self->stop)
            break;
        pthread_mutex_unlock(&self->mutex);
        turn(self);
        pthread_mutex_lock(&self->mutex);
    }
    pthread_mutex_unlock(&self->mutex);
    return NULL;
}

enum poly_status poly_pgv_keep(struct poly_pgv *self, struct poly_error *err)
{
    if (pthread_create(&self->thread, NULL, keep, self) != 0)
        return poly_fail(err, POLY_NO_MEMORY, "vector: cannot start a thread");
    self->thread_runs = true;
    return POLY_OK;
}

void poly_pgv_keep_stop(struct poly_pgv *self)
{
    PGcancel *cancel = NULL;
    char why[64];

    if (!self->thread_runs)
        return;
    pthread_mutex_lock(&self->mutex);
    self->stop = true;
    if (self->working != NULL)
        cancel = PQgetCancel(poly_pg_handle(self->working));
    pthread_cond_signal(&self->wake);
    if (cancel != NULL) /* under the lock: the connection stays until then */
        (void)PQcancel(cancel, why, sizeof(why));
    pthread_mutex_unlock(&self->mutex);
    PQfreeCancel(cancel);
    pthread_join(self->thread, NULL);
    self->thread_runs = false;
}
