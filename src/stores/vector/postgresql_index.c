/*
 * HNSW indexes are made beside everything else (CREATE INDEX CONCURRENTLY), by the daemon that
 * applies, when a generation has been filled. Every daemon looks now and then whether there is one:
 * without, it asks for exact searches.
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
    READ_US = 10000000,    /* for one number */
    BUILD_US = 2000000000, /* for one index; asked again after that */
};

static const char worth[] = "SELECT count(*) FROM (SELECT FROM poly_vector.entries_%llu_%lld"
                            " WHERE embedding IS NOT NULL LIMIT %d) AS a";

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

static enum poly_status is_worth(struct poly_pg *pg, uint64_t generation,
                                 const struct poly_pgv_collection *c, bool *is,
                                 struct poly_error *err)
{
    char sql[200];
    PGresult *rows;
    enum poly_status status;

    snprintf(sql, sizeof(sql), worth, (unsigned long long)generation, (long long)c->base.number,
             WORTH);
    status = poly_pg_run_once(pg, sql, NULL, &rows, err);
    if (status != POLY_OK)
        return status;
    *is = poly_pg_int(rows, 0, 0) >= WORTH;
    PQclear(rows);
    return POLY_OK;
}

static bool filling(struct poly_pgv *self)
{
    return poly_clock_monotonic() - atomic_load(&self->filled) < QUIET_US;
}

static enum poly_status make(struct poly_pgv *self, struct poly_pg *pg, uint64_t generation,
                             const struct poly_pgv_collection *c, struct poly_error *err)
{
    bool is = false;
    enum poly_status status = is_worth(pg, generation, c, &is, err);

    if (status != POLY_OK || !is || filling(self))
        return status;
    poly_pg_deadline(pg, poly_clock_monotonic() + BUILD_US);
    status = poly_pg_exec(pg, c->drop_index, err); /* what was left half-made */
    if (status == POLY_OK)
        status = poly_pg_exec(pg, c->add_index, err);
    poly_pg_deadline(pg, poly_clock_monotonic() + READ_US);
    return status;
}

static enum poly_status look(struct poly_pgv *self, struct poly_pg *pg, uint64_t generation,
                             const struct poly_pgv_collection *c, struct poly_error *err)
{
    uint64_t valid = 0;
    enum poly_status status;

    if (!c->indexable)
        return POLY_OK;
    poly_pg_deadline(pg, poly_clock_monotonic() + READ_US);
    status = poly_follower_number(pg, c->is_indexed, &valid, err);
    if (status == POLY_OK && valid == 0 && atomic_load(&self->base.fence) != 0) {
        status = make(self, pg, generation, c, err);
        if (status == POLY_OK)
            status = poly_follower_number(pg, c->is_indexed, &valid, err);
    }
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
            status =
                look(self, pg, g->number, (const struct poly_pgv_collection *)g->sources[i], err);
        status = poly_follower_gone(&self->base, pg, g->number, status, err);
        if (status == POLY_NOT_FOUND) /* dropped meanwhile */
            status = POLY_OK;
    }
    return status;
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
