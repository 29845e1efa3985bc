/*
 * Transactions. PostgreSQL groups commits by itself, so each request has a
 * connection and a transaction of its own. One that the server ends because two
 * stood in each other's way (a deadlock, a serialization failure) runs again.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"
#include "owners/postgresql/inside.h"

enum { TRIES = 10, PAUSE_US = 1000 };

void poly_postgresql_note(struct poly_postgresql *self, const struct poly_error *err)
{
    pthread_mutex_lock(&self->lock);
    snprintf(self->error, sizeof(self->error), "%s: %.200s", poly_status_name(err->status),
             err->message);
    pthread_mutex_unlock(&self->lock);
}

static struct poly_db *wrap(struct poly_postgresql *self, struct poly_pg *pg,
                            struct poly_pg_pool *pool, struct poly_error *err)
{
    struct poly_db *db = poly_pg_db_new(pg, self->texts, pool);

    if (db == NULL) {
        poly_no_memory(err);
        poly_pg_pool_give(pool, pg);
    }
    return db;
}

static struct poly_db *take(struct poly_postgresql *self, int64_t deadline, struct poly_error *err)
{
    struct poly_pg *pg;

    if (poly_pg_pool_take(self->pool, deadline, &pg, err) != POLY_OK)
        return NULL;
    return wrap(self, pg, self->pool, err);
}

struct poly_db *poly_postgresql_read(struct poly_owner *owner, const struct poly_reading *reading,
                                     struct poly_freshness *freshness, struct poly_error *err)
{
    struct poly_postgresql *self = poly_postgresql_of(owner);
    struct poly_pg_pool *pool = self->pool;
    struct poly_pg *pg = NULL;
    struct poly_db *db;

    /* The primary has all that was ever acknowledged. */
    freshness->applied = atomic_load(&owner->durable);
    if (freshness->applied < reading->after)
        freshness->applied = reading->after;
    if (self->replicas != NULL && !reading->primary)
        pg = poly_replicas_take(self->replicas, reading, freshness, &pool);
    if (pg == NULL && poly_pg_pool_take(pool, reading->deadline, &pg, err) != POLY_OK)
        return NULL;
    db = wrap(self, pg, pool, err);
    if (db == NULL || !reading->snapshot ||
        poly_pg_begin(pg, POLY_PG_SNAPSHOT, true, err) == POLY_OK)
        return db;
    poly_postgresql_give(owner, db);
    return NULL;
}

struct poly_db *poly_postgresql_take(struct poly_owner *owner, struct poly_error *err)
{
    return take(poly_postgresql_of(owner), -1, err);
}

void poly_postgresql_give(struct poly_owner *owner, struct poly_db *db)
{
    if (db == NULL)
        return;
    (void)owner;
    poly_pg_pool_give(poly_pg_db_pool(db), poly_pg_of(db));
    poly_pg_db_free(db);
}

/* Is it worth running again from its beginning? Only where the server has said that nothing of it
 * was committed. */
static bool again(const struct poly_pg *pg)
{
    const char *state = poly_pg_state(pg);

    return !poly_pg_unknown(pg) && (strcmp(state, "40001") == 0 || strcmp(state, "40P01") == 0);
}

static void pause_for(int attempt)
{
    uint16_t random;
    struct timespec time;

    poly_random(&random, sizeof(random));
    time = (struct timespec){0, (long)(PAUSE_US << (attempt < 6 ? attempt : 6)) * 1000 / 65536 *
                                    random};
    nanosleep(&time, NULL);
}

static enum poly_status once(struct poly_db *db, poly_write_fn *run, void *arg, bool single,
                             struct poly_error *err)
{
    struct poly_pg *pg = poly_pg_of(db);
    enum poly_status status = single ? POLY_OK : poly_pg_begin(pg, POLY_PG_COMMITTED, false, err);

    if (status == POLY_OK)
        status = run(db, arg, err);
    if (status == POLY_OK && !single)
        status = poly_pg_commit(pg, err);
    return status;
}

enum poly_status poly_postgresql_run(struct poly_owner *owner, poly_write_fn *run, void *arg,
                                     bool single, struct poly_error *err)
{
    struct poly_postgresql *self = poly_postgresql_of(owner);
    enum poly_status status = POLY_OK;
    bool repeat = true;

    for (int attempt = 0; repeat && attempt < TRIES; attempt++) {
        struct poly_db *db = take(self, -1, err);

        if (db == NULL)
            return err->status;
        status = once(db, run, arg, single, err);
        repeat = status != POLY_OK && again(poly_pg_of(db));
        if (status == POLY_UNAVAILABLE)
            poly_postgresql_note(self, err);
        poly_postgresql_give(owner, db); /* rolls back what failed */
        if (repeat) {
            atomic_fetch_add(&self->retries, 1);
            pause_for(attempt);
        }
    }
    atomic_fetch_add(&self->requests, 1);
    if (status == POLY_OK) {
        atomic_fetch_add(&self->commits, 1);
        poly_postgresql_wake(self);
    }
    return status;
}

static const char meta_set[] = "SELECT set_config('poly.meta', $1, true)";

static enum poly_status queue_all(struct poly_write *write, struct poly_operation *first,
                                  size_t *number, struct poly_error *err)
{
    struct poly_pg_params params;
    enum poly_status status = POLY_OK;

    *number = 0;
    if (write->meta.size > 0) {
        poly_pg_params(&params);
        poly_pg_add_text(&params, write->meta);
        status = poly_pg_queue(poly_pg_of(write->db), meta_set, &params, err);
    }
    for (struct poly_operation *o = first; o != NULL && status == POLY_OK; o = o->next) {
        ++*number;
        status = o->type->queue(o, write, err);
    }
    return status;
}

static enum poly_status take_all(struct poly_write *write, struct poly_operation *first,
                                 size_t *number, struct poly_error *err)
{
    enum poly_status status = POLY_OK;
    PGresult *result;

    *number = 0;
    if (write->meta.size > 0) {
        status = poly_pg_next(poly_pg_of(write->db), &result, err);
        if (status == POLY_OK)
            PQclear(result);
    }
    for (struct poly_operation *o = first; o != NULL && status == POLY_OK; o = o->next) {
        ++*number;
        status = o->type->take(o, write, err);
    }
    return status;
}

enum poly_status poly_postgresql_pipeline(struct poly_write *write, struct poly_operation *first,
                                          size_t *number, struct poly_error *err)
{
    struct poly_pg *pg = poly_pg_of(write->db);
    enum poly_status status;

    write->marked = true; /* it is queued */
    status = queue_all(write, first, number, err);
    if (status == POLY_OK)
        status = take_all(write, first, number, err);
    if (status != POLY_OK)
        poly_pg_drop(pg);
    return status;
}

/* Serializable, as one that holds the embedded writer is. */
enum poly_status poly_postgresql_hold(struct poly_owner *owner, int64_t deadline,
                                      uint32_t deadline_ms, struct poly_db **db,
                                      struct poly_error *err)
{
    struct poly_postgresql *self = poly_postgresql_of(owner);
    enum poly_status status;

    *db = take(self, deadline, err);
    if (*db == NULL)
        return err->status;
    poly_pg_deadline(poly_pg_of(*db), poly_clock_monotonic() + (int64_t)deadline_ms * 1000);
    status = poly_pg_begin(poly_pg_of(*db), POLY_PG_SERIALIZABLE, false, err);
    if (status == POLY_OK)
        atomic_fetch_add(&self->held, 1);
    else
        poly_postgresql_give(owner, *db);
    return status;
}

enum poly_status poly_postgresql_release(struct poly_owner *owner, struct poly_db *db, bool commit,
                                         struct poly_error *err)
{
    struct poly_postgresql *self = poly_postgresql_of(owner);
    struct poly_pg *pg = poly_pg_of(db);
    enum poly_status status = POLY_OK;

    if (commit && !poly_pg_in_transaction(pg))
        status = poly_fail(err, POLY_UNAVAILABLE, "the transaction was rolled back");
    else if (commit)
        status = poly_pg_commit(pg, err);
    if (status != POLY_OK && again(pg))
        status = poly_fail(err, POLY_CONFLICT,
                           "another transaction has changed what this one has read; begin again");
    poly_postgresql_give(owner, db);
    atomic_fetch_sub(&self->held, 1);
    atomic_fetch_add(&self->requests, 1);
    if (commit && status == POLY_OK) {
        atomic_fetch_add(&self->commits, 1);
        poly_postgresql_wake(self);
    }
    return status;
}
