/*
 * Transactions. PostgreSQL groups commits by itself, so each request has a
 * connection and a transaction of its own. One that the server ends because two
 * stood in each other's way (a deadlock, a serialization failure) runs again.
 *
 * A commit whose answer is lost may have happened. Where the request has an
 * idempotency key it runs again, on another connection: it waits for the lock
 * of that key until the first transaction has ended, and then finds its result,
 * or does what that one has not done. Without a key only the caller can find
 * out, and is told so.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"
#include "owners/postgresql/inside.h"

enum {
    TRIES = 10,
    LOST = 2, /* connections of the pool may have died with a server that is back */
    UNFIT = 10,
    UNKNOWN = 4,
    PAUSE_US = 1000,
    SETTLE_US = 30000000,
    NET_US = 200000,
};

/* For one statement of ours that has no other deadline: from there on the server counts as gone. */
_Atomic int64_t poly_control_patience = 30000000;

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

/* deadline as in struct poly_request. */
static struct poly_db *take(struct poly_postgresql *self, int64_t deadline, struct poly_error *err)
{
    struct poly_pg *pg;

    if (poly_pg_pool_take(self->pool, deadline == 0 ? -1 : deadline, &pg, err) != POLY_OK)
        return NULL;
    if (deadline == 0)
        poly_pg_patient(pg, atomic_load(&poly_control_patience));
    return wrap(self, pg, self->pool, err);
}

/* The token was looked at before; this connection may be the first to a standby that took over. */
static enum poly_status kept(const struct poly_owner *owner, struct poly_pg *pg, uint64_t after,
                             struct poly_error *err)
{
    uint64_t lost = 0;
    enum poly_status status;

    if (after == 0 || poly_era(after) >= atomic_load(&owner->era))
        return POLY_OK;
    status = poly_postgresql_lost(pg, &after, 1, &lost, err);
    return status == POLY_OK && lost != 0 ? poly_token_lost(err) : status;
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
    if (db == NULL ||
        (kept(owner, pg, reading->after, err) == POLY_OK &&
         (!reading->snapshot || poly_pg_begin(pg, POLY_PG_SNAPSHOT, true, err) == POLY_OK)))
        return db;
    poly_postgresql_give(owner, db);
    return NULL;
}

struct poly_db *poly_postgresql_take(struct poly_owner *owner, struct poly_error *err)
{
    return take(poly_postgresql_of(owner), 0, err);
}

void poly_postgresql_give(struct poly_owner *owner, struct poly_db *db)
{
    if (db == NULL)
        return;
    (void)owner;
    poly_pg_pool_give(poly_pg_db_pool(db), poly_pg_of(db));
    poly_pg_db_free(db);
}

/* Two stood in each other's way, and the server has ended this one: nothing of it is there. */
bool poly_postgresql_collided(struct poly_db *db)
{
    const struct poly_pg *pg = poly_pg_of(db);
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

/* *unknown: the server was told to commit, and its answer did not come. */
static enum poly_status once(struct poly_db *db, struct poly_request *request, bool *unknown,
                             struct poly_error *err)
{
    struct poly_pg *pg = poly_pg_of(db);
    enum poly_status status = POLY_OK;

    *unknown = false;
    if (!request->single)
        status = poly_pg_begin(pg, POLY_PG_COMMITTED, false, err);
    if (status == POLY_OK) {
        status = request->run(db, request->arg, err);
        *unknown = status != POLY_OK && request->single && poly_pg_unknown(pg);
    }
    if (status == POLY_OK && !request->single) {
        status = poly_pg_commit(pg, err);
        *unknown = status != POLY_OK && poly_pg_unknown(pg);
    }
    return status;
}

/* One run on a connection, and what to make of its end. */
struct attempt {
    int number, lost;   /* of the run; runs that lost their connection */
    int unfit;          /* runs whose statements were made for tables as they had been */
    bool unknown;       /* one of the runs may have been committed */
    int64_t settle_by;  /* until then that is to be found out */
};

/* An answer of the statements themselves: they came to see what a run before has left. */
static bool is_answer(enum poly_status status)
{
    return status == POLY_OK || status == POLY_CONFLICT || status == POLY_EXISTS ||
           status == POLY_NOT_FOUND || status == POLY_INVALID || status == POLY_DENIED ||
           status == POLY_UNSUPPORTED;
}

/* Is it worth running again from its beginning? */
static bool again(struct attempt *attempt, const struct poly_request *request, struct poly_db *db,
                  enum poly_status status)
{
    if (attempt->unknown) /* the key of the request shows whether it was committed */
        return request->repeatable && status == POLY_UNAVAILABLE &&
               poly_clock_monotonic() < attempt->settle_by;
    if (db == NULL)
        return false;
    if (poly_postgresql_collided(db))
        return attempt->number < TRIES;
    if (status == POLY_UNAVAILABLE && poly_pg_unfit(poly_pg_of(db)))
        return attempt->unfit++ < UNFIT;
    /* The connection had died before: what the server has seen of it was rolled back. */
    return status == POLY_UNAVAILABLE && poly_pg_lost(poly_pg_of(db)) && attempt->lost++ < LOST;
}

static enum poly_status run_once(struct poly_postgresql *self, struct poly_request *request,
                                 struct attempt *attempt, bool *repeat, struct poly_error *err)
{
    struct poly_db *db = take(self, request->deadline, err);
    enum poly_status status = db == NULL ? err->status : POLY_OK;
    bool unknown = false;

    if (db != NULL)
        status = once(db, request, &unknown, err);
    if (status == POLY_UNAVAILABLE)
        poly_postgresql_note(self, err);
    if (unknown)
        attempt->unknown = true;
    else if (db != NULL && is_answer(status))
        attempt->unknown = false;
    *repeat = status != POLY_OK && again(attempt, request, db, status);
    poly_postgresql_give(&self->base, db); /* rolls back what failed */
    return status;
}

/* Whoever asks again with the same key is answered by what is there by then. */
static void tell_unknown(const struct poly_request *request, struct poly_error *err)
{
    if (err == NULL)
        return;
    poly_fail_in(err, err->status, "%s",
                 request->repeatable
                     ? "it may have been committed: send it again with the same idempotency key"
                     : "it may have been committed: look before you send it again (an idempotency "
                       "key would settle it)");
    err->unknown = true;
}

enum poly_status poly_postgresql_run(struct poly_owner *owner, struct poly_request *request,
                                     struct poly_error *err)
{
    struct poly_postgresql *self = poly_postgresql_of(owner);
    struct attempt attempt = {.settle_by = request->deadline > 0
                                               ? request->deadline
                                               : poly_clock_monotonic() + SETTLE_US};
    enum poly_status status;
    bool repeat;

    do {
        status = run_once(self, request, &attempt, &repeat, err);
        if (repeat) {
            atomic_fetch_add(&self->retries, 1);
            pause_for(attempt.unknown ? attempt.number + UNKNOWN : attempt.number);
        }
        attempt.number++;
    } while (repeat);
    if (status != POLY_OK && attempt.unknown)
        tell_unknown(request, err);
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
        poly_pg_forsake(pg);
    return status;
}

static const char written[] = "SELECT pg_logical_emit_message(true, 'poly', '')";

/*
 * A commit whose answer was lost is seen by others before a standby has confirmed it, and reading
 * waits for no standby. A transaction that writes does, and what was committed before it is
 * confirmed with it.
 */
enum poly_status poly_postgresql_replayed(struct poly_write *write, struct poly_error *err)
{
    return poly_db_run(write->db, written, err);
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
    /* At its deadline the keeper ends it; this is for a server that does not hear of that. */
    poly_pg_deadline(poly_pg_of(*db),
                     poly_clock_monotonic() + (int64_t)deadline_ms * 1000 + NET_US);
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
    if (status != POLY_OK && poly_postgresql_collided(db))
        status = poly_fail(err, POLY_CONFLICT,
                           "another transaction has changed what this one has read; begin again");
    else if (status != POLY_OK && poly_pg_unknown(pg))
        tell_unknown(&(struct poly_request){.repeatable = false}, err);
    poly_postgresql_give(owner, db);
    atomic_fetch_sub(&self->held, 1);
    atomic_fetch_add(&self->requests, 1);
    if (commit && status == POLY_OK) {
        atomic_fetch_add(&self->commits, 1);
        poly_postgresql_wake(self);
    }
    return status;
}
