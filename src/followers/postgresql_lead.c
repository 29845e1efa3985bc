/*
 * Of the daemons on one database one applies at a time. It has a session's
 * advisory lock on a connection of its own, so that a daemon that dies is
 * followed at once; and it says every second that it is there, so that one that
 * was stopped, or cut off, is followed after LOST_MS: its connection is ended.
 *
 * Whoever gets the lock raises the fence. apply() holds the fence's row while it
 * writes and looks whether the number is still its own: one that wakes up after
 * it was followed writes nothing.
 *
 * A command (rebuild, skip …) may come to any daemon. It is run by the one that
 * applies: the other says that it wants to be it, and is let.
 */
#include "base/clock.h"
#include "followers/postgresql.h"

enum { LOOK_US = 500000, WAIT_US = 2000000 };

void poly_follower_resign(struct poly_follower *self)
{
    atomic_store(&self->fence, 0);
    poly_pg_close(self->leader); /* and with it goes the lock */
    self->leader = NULL;
}

/* A first row's first column, if there is one. */
static enum poly_status ask(struct poly_follower *self, enum poly_follower_sql sql, int64_t number,
                            bool *row, int64_t *value, struct poly_error *err)
{
    struct poly_pg_params params;
    PGresult *result;
    enum poly_status status;

    poly_pg_params(&params);
    if (number > 0)
        poly_pg_add_int(&params, number);
    poly_pg_add_text(&params, poly_text(self->name));
    status = poly_pg_run(self->leader, self->sql[sql], &params, &result, err);
    if (status != POLY_OK)
        return status;
    *row = PQntuples(result) > 0;
    *value = *row ? poly_pg_int(result, 0, 0) : 0;
    PQclear(result);
    return POLY_OK;
}

static enum poly_status keep(struct poly_follower *self, struct poly_error *err)
{
    int64_t wanted = 0;
    bool row = false;
    enum poly_status status =
        ask(self, POLY_FOLLOWER_STILL, atomic_load(&self->fence), &row, &wanted, err);

    if (status != POLY_OK || !row || wanted != 0)
        poly_follower_resign(self);
    return status;
}

static enum poly_status take_over(struct poly_follower *self, bool wanted, struct poly_error *err)
{
    int64_t got = 0, fence = 0;
    bool row = false;
    enum poly_status status = POLY_OK;

    if (wanted)
        status = ask(self, POLY_FOLLOWER_WANT, 0, &row, &got, err);
    if (status == POLY_OK)
        status = poly_pg_done(self->leader, self->sql[POLY_FOLLOWER_END_LOST], NULL, NULL, err);
    if (status == POLY_OK)
        status = ask(self, POLY_FOLLOWER_TRY, 0, &row, &got, err);
    if (status == POLY_OK && got != 0)
        status = ask(self, POLY_FOLLOWER_TAKE, 0, &row, &fence, err);
    if (status == POLY_OK)
        atomic_store(&self->fence, fence);
    return status;
}

static enum poly_status promise(struct poly_follower *self, int64_t deadline,
                                struct poly_error *err)
{
    poly_pg_deadline(self->leader, deadline);
    return poly_pg_promise(self->leader, self->connections, err);
}

enum poly_status poly_follower_lead(struct poly_store *store, bool wanted, bool *leads,
                                    struct poly_error *err)
{
    struct poly_follower *self = poly_follower_of(store);
    int64_t now = poly_clock_monotonic();
    enum poly_status status = POLY_OK;

    *leads = atomic_load(&self->fence) != 0;
    if (now - self->looked < LOOK_US && (*leads || !wanted))
        return POLY_OK;
    if (self->leader != NULL && poly_pg_lost(self->leader))
        poly_follower_resign(self);
    if (self->leader == NULL) {
        status = poly_pg_open(self->target, now + WAIT_US, &self->leader, err);
        if (status == POLY_OK)
            status = promise(self, now + WAIT_US, err);
    }
    if (status == POLY_OK) {
        poly_pg_deadline(self->leader, now + WAIT_US);
        status = atomic_load(&self->fence) != 0 ? keep(self, err) : take_over(self, wanted, err);
    }
    self->looked = now;
    if (status != POLY_OK)
        poly_follower_resign(self);
    *leads = atomic_load(&self->fence) != 0;
    return status;
}
