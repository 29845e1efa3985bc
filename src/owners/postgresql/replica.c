/*
 * Reads from replicas. A token is a position; what a replica has replayed is a
 * place in the server's WAL (an LSN). The watch notes pairs of them: up to this
 * position all was in the WAL at that place. A replica that has replayed
 * the place of the first pair at or beyond the token's position has the
 * token's write and all that comes before it.
 *
 * What a replica has replayed is asked only when what it said last is not
 * enough, on the connection that is going to read.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "owners/postgresql/inside.h"

enum { PAIRS = 4096, DOWN_US = 1000000, POLL_US = 2000 };

struct pair {
    uint64_t position, lsn;
};

struct replica {
    struct poly_pg_pool *pool;
    _Atomic uint64_t replayed; /* LSN, as it said last */
    _Atomic int64_t down;      /* until then it is not tried; monotonic */
};

struct poly_replicas {
    size_t count;
    struct replica *all;
    _Atomic unsigned turn;
    uint32_t wait_ms;
    pthread_mutex_t lock; /* guards the pairs */
    struct pair pairs[PAIRS];
    size_t first, used;
};

enum poly_status poly_replicas_open(const struct poly_server *server,
                                    const struct poly_pg_options *where,
                                    const struct poly_pg_pool_options *pool,
                                    struct poly_replicas **replicas, struct poly_error *err)
{
    struct poly_replicas *self = calloc(1, sizeof(*self));
    struct poly_pg_options there = *where;
    enum poly_status status = POLY_OK;

    if (self == NULL)
        return poly_no_memory(err);
    pthread_mutex_init(&self->lock, NULL);
    self->wait_ms = server->replica_wait_ms;
    self->all = calloc(server->replica_count + 1, sizeof(*self->all));
    if (self->all == NULL)
        status = poly_no_memory(err);
    for (size_t i = 0; i < server->replica_count && status == POLY_OK; i++) {
        there.url = server->replicas[i];
        status = poly_pg_pool_open(&there, pool, NULL, NULL, &self->all[i].pool, err);
        if (status == POLY_OK)
            self->count++;
        else
            poly_fail_in(err, status, "stores.relational.replicas");
    }
    if (status == POLY_OK)
        *replicas = self;
    else
        poly_replicas_close(self);
    return status;
}

void poly_replicas_close(struct poly_replicas *replicas)
{
    if (replicas == NULL)
        return;
    for (size_t i = 0; i < replicas->count; i++)
        poly_pg_pool_close(replicas->all[i].pool);
    pthread_mutex_destroy(&replicas->lock);
    free(replicas->all);
    free(replicas);
}

/* --- positions and places --- */

void poly_replicas_note(struct poly_replicas *replicas, uint64_t position, uint64_t lsn)
{
    struct pair *last;

    pthread_mutex_lock(&replicas->lock);
    last = &replicas->pairs[(replicas->first + replicas->used + PAIRS - 1) % PAIRS];
    if (replicas->used == 0 || last->position < position) {
        if (replicas->used == PAIRS) {
            replicas->first = (replicas->first + 1) % PAIRS;
            replicas->used--;
        }
        replicas->pairs[(replicas->first + replicas->used++) % PAIRS] =
            (struct pair){position, lsn};
    }
    pthread_mutex_unlock(&replicas->lock);
}

void poly_replicas_forget(struct poly_replicas *replicas)
{
    pthread_mutex_lock(&replicas->lock);
    replicas->used = 0;
    pthread_mutex_unlock(&replicas->lock);
    for (size_t i = 0; i < replicas->count; i++)
        atomic_store(&replicas->all[i].replayed, 0);
}

/* Place in the WAL that has all up to that position. false: the watch is not there yet. */
static bool place_of(struct poly_replicas *replicas, uint64_t position, uint64_t *lsn)
{
    size_t low = 0, high;
    bool found;

    pthread_mutex_lock(&replicas->lock);
    for (high = replicas->used; low < high;) {
        size_t middle = (low + high) / 2;

        if (replicas->pairs[(replicas->first + middle) % PAIRS].position >= position)
            high = middle;
        else
            low = middle + 1;
    }
    found = low < replicas->used;
    if (found)
        *lsn = replicas->pairs[(replicas->first + low) % PAIRS].lsn;
    pthread_mutex_unlock(&replicas->lock);
    return found;
}

/* The highest position that surely is in the WAL up to that place; 0: none is known. */
static uint64_t position_at(struct poly_replicas *replicas, uint64_t lsn)
{
    uint64_t position = 0;

    pthread_mutex_lock(&replicas->lock);
    for (size_t i = replicas->used; i > 0 && position == 0; i--) {
        const struct pair *pair = &replicas->pairs[(replicas->first + i - 1) % PAIRS];

        if (pair->lsn <= lsn)
            position = pair->position;
    }
    pthread_mutex_unlock(&replicas->lock);
    return position;
}

/* --- choosing --- */

static enum poly_status ask(struct replica *replica, struct poly_pg *pg, struct poly_error *err)
{
    uint64_t lsn = 0;
    bool standby;
    enum poly_status status = poly_pg_position(pg, &standby, &lsn, err);

    if (status == POLY_OK && lsn > atomic_load(&replica->replayed))
        atomic_store(&replica->replayed, lsn);
    return status;
}

/* Until it has replayed the place, or the time is over. */
static enum poly_status catch_up(struct replica *replica, struct poly_pg *pg, uint64_t lsn,
                                 int64_t until, struct poly_error *err)
{
    struct timespec pause = {0, POLL_US * 1000L};
    enum poly_status status = POLY_OK;

    while (status == POLY_OK && atomic_load(&replica->replayed) < lsn) {
        status = ask(replica, pg, err);
        if (atomic_load(&replica->replayed) >= lsn || poly_clock_monotonic() >= until)
            break;
        nanosleep(&pause, NULL);
    }
    return status;
}

static struct poly_pg *try_one(struct poly_replicas *replicas, struct replica *replica,
                               const struct poly_reading *reading, bool any)
{
    int64_t now = poly_clock_monotonic(), until = now + (int64_t)replicas->wait_ms * 1000;
    uint64_t lsn = 0;
    struct poly_error ignored;
    struct poly_pg *pg;
    enum poly_status status;

    if (atomic_load(&replica->down) > now || (!any && !place_of(replicas, reading->after, &lsn)))
        return NULL;
    status = poly_pg_pool_take(replica->pool, reading->deadline, &pg, &ignored);
    if (status != POLY_OK) {
        atomic_store(&replica->down, now + DOWN_US);
        return NULL;
    }
    if (reading->consistency == POLY_FAIL) /* now or not at all */
        until = now;
    status = any && atomic_load(&replica->replayed) > 0
                 ? POLY_OK
                 : catch_up(replica, pg, lsn, until, &ignored);
    if (status == POLY_OK && (any || atomic_load(&replica->replayed) >= lsn))
        return pg;
    poly_pg_pool_give(replica->pool, pg);
    return NULL;
}

struct poly_pg *poly_replicas_take(struct poly_replicas *replicas,
                                   const struct poly_reading *reading,
                                   struct poly_freshness *freshness, struct poly_pg_pool **pool)
{
    bool any = reading->after == 0 || reading->consistency == POLY_STALE;
    unsigned turn = atomic_fetch_add(&replicas->turn, 1);

    for (size_t i = 0; i < replicas->count; i++) {
        struct replica *replica = &replicas->all[(turn + i) % replicas->count];
        struct poly_pg *pg = try_one(replicas, replica, reading, any);

        if (pg == NULL)
            continue;
        *pool = replica->pool;
        freshness->applied = position_at(replicas, atomic_load(&replica->replayed));
        if (!any && freshness->applied < reading->after)
            freshness->applied = reading->after;
        freshness->stale = freshness->applied < reading->after;
        return pg;
    }
    return NULL;
}
