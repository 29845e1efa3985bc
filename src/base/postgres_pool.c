/*
 * Why callers connect, not a thread of the pool: who finds no idle connection
 * and a free place connects there itself, within its own deadline, so that a
 * slow server holds up nobody else. A place is counted before the connecting
 * begins; that is why max holds under any race.
 *
 * Why waiters are handed what they wait for: a connection given back goes to the first in
 * the queue and never past it to whoever comes at that moment.
 *
 * The last one given back is taken first, so that under little load the others
 * grow old and are closed.
 */
#include "base/postgres_pool.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/postgres_inside.h"

enum {
    MAX = 20,
    MIN = 2,
    IDLE_MS = 30000,
    ACQUIRE_MS = 60000,
    FRESH_US = 100000,    /* given back so lately: not looked at again */
    CLEAN_US = 1000000,   /* for cleaning up a connection that is given back */
    SUSPECT_US = 1000000, /* after one was found broken, all are looked at */
    RETRY_US = 1000000,   /* the keeper's pause after it could not connect */
    SLOW_US = 1000000,
    SETUP_US = 5000000, /* of a connection that nobody waits for */
};

struct waiter {
    pthread_cond_t changed;
    struct poly_pg *pg; /* handed over … */
    bool place;         /* … or a place to connect in … */
    bool failed;        /* … or there is no server: failure says why */
    struct poly_error failure;
    struct waiter *next, *before;
};

struct poly_pg_pool {
    struct poly_pg_target *target;
    struct poly_pg_times *times;
    poly_pg_setup *setup;
    void *arg;
    int max, min;
    int64_t idle_us, acquire_us;
    _Atomic int64_t suspect_until;
    pthread_mutex_t lock;
    struct poly_pg *idle; /* the last one given back first */
    struct waiter *first, *last;
    struct poly_pg_pool_numbers numbers;
    pthread_t keeper;
    pthread_cond_t due;
    int64_t sleeps_until; /* -1: until it is called */
    bool stops;
};

static void condition_init(pthread_cond_t *condition)
{
    pthread_condattr_t monotonic;

    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

/* False: the deadline passed. */
static bool condition_wait(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t deadline)
{
    struct timespec until = {deadline / 1000000, deadline % 1000000 * 1000};

    if (deadline < 0) {
        pthread_cond_wait(condition, lock);
        return true;
    }
    return pthread_cond_timedwait(condition, lock, &until) != ETIMEDOUT;
}

/* --- the queue; all under the lock --- */

static void enqueue(struct poly_pg_pool *pool, struct waiter *waiter)
{
    waiter->next = NULL;
    waiter->before = pool->last;
    if (pool->last == NULL)
        pool->first = waiter;
    else
        pool->last->next = waiter;
    pool->last = waiter;
    pool->numbers.waiting++;
}

static void dequeue(struct poly_pg_pool *pool, struct waiter *waiter)
{
    if (waiter->before == NULL)
        pool->first = waiter->next;
    else
        waiter->before->next = waiter->next;
    if (waiter->next == NULL)
        pool->last = waiter->before;
    else
        waiter->next->before = waiter->before;
    pool->numbers.waiting--;
}

static struct waiter *first_waiter(struct poly_pg_pool *pool)
{
    struct waiter *waiter = pool->first;

    if (waiter != NULL) {
        dequeue(pool, waiter);
        pthread_cond_signal(&waiter->changed);
    }
    return waiter;
}

/* Calls the keeper, if it would sleep past that time. */
static void call_keeper(struct poly_pg_pool *pool, int64_t at)
{
    if (pool->sleeps_until < 0 || at < pool->sleeps_until)
        pthread_cond_signal(&pool->due);
}

/* A place became free: the first waiter connects in it. */
static void free_place(struct poly_pg_pool *pool)
{
    struct waiter *waiter = first_waiter(pool);

    if (waiter != NULL) {
        waiter->place = true;
        return;
    }
    pool->numbers.open--;
    if (pool->numbers.open < pool->min)
        call_keeper(pool, 0);
}

/* There was no connection to be had, and there is none: nobody needs to wait for his turn to
 * find out. */
static void fail_waiters(struct poly_pg_pool *pool, const struct poly_error *failure)
{
    struct waiter *waiter;

    while ((waiter = first_waiter(pool)) != NULL) {
        waiter->failed = true;
        waiter->failure = *failure;
    }
}

static void put_idle(struct poly_pg_pool *pool, struct poly_pg *pg)
{
    struct waiter *waiter = first_waiter(pool);

    if (waiter != NULL) {
        waiter->pg = pg;
        return;
    }
    pg->idle_since = poly_clock_monotonic();
    pg->next = pool->idle;
    pool->idle = pg;
    pool->numbers.idle++;
    if (pool->numbers.open > pool->min)
        call_keeper(pool, pg->idle_since + pool->idle_us);
}

/* --- one connection --- */

static bool fits(const struct poly_pg_pool *pool, const struct poly_pg *pg)
{
    const char *attrs = poly_pg_target_attrs(pool->target);

    if (attrs == NULL)
        return true;
    if (strcmp(attrs, "primary") == 0 || strcmp(attrs, "read-write") == 0)
        return !poly_pg_standby(pg);
    return strcmp(attrs, "standby") != 0 || poly_pg_standby(pg);
}

/* What an idle connection has received is a parting word, or its end, or a notice. */
static bool healthy(struct poly_pg_pool *pool, struct poly_pg *pg)
{
    struct pollfd ready = {PQsocket(pg->conn), POLLIN, 0};
    int tries = 8;

    int64_t now = poly_clock_monotonic();

    if (poly_pg_lost(pg))
        return false;
    if (now - pg->idle_since < FRESH_US && now > atomic_load(&pool->suspect_until))
        return true;
    while (poll(&ready, 1, 0) > 0)
        if (!PQconsumeInput(pg->conn) || PQisBusy(pg->conn) || --tries == 0)
            return false;
    return !poly_pg_lost(pg) && fits(pool, pg);
}

/* Leaves nothing of its last user on it. */
static bool clean(struct poly_pg *pg)
{
    poly_pg_deadline(pg, poly_clock_monotonic() + CLEAN_US);
    poly_pg_roll_back(pg);
    if (pg->tainted && !poly_pg_lost(pg) && poly_pg_reset(pg, NULL) != POLY_OK)
        return false;
    return !poly_pg_lost(pg) && PQtransactionStatus(pg->conn) == PQTRANS_IDLE;
}

void poly_pg_taint(struct poly_pg *pg)
{
    pg->tainted = true;
}

/* In a place that is ours already, and is given up on failure. */
static enum poly_status connect_in_place(struct poly_pg_pool *pool, int64_t deadline,
                                         struct poly_pg **pg, struct poly_error *err)
{
    struct poly_error why;
    struct poly_pg *made = NULL;
    enum poly_status status = poly_pg_open(pool->target, deadline, &made, &why);

    if (status == POLY_OK && pool->setup != NULL) {
        made->deadline = deadline >= 0 ? deadline : poly_clock_monotonic() + SETUP_US;
        status = pool->setup(made, pool->arg, &why);
    }
    if (status != POLY_OK) {
        poly_pg_close(made);
        /* To those who need a connection it is all one; and whose own time is over, learns that. */
        if (status != POLY_NO_MEMORY)
            why.status = status = poly_pg_left(deadline) == 0 ? POLY_TIMEOUT : POLY_UNAVAILABLE;
        if (err != NULL)
            *err = why;
    }
    pthread_mutex_lock(&pool->lock);
    pool->numbers.connecting--;
    pool->numbers.connects += status == POLY_OK;
    pool->numbers.failures += status != POLY_OK;
    if (status != POLY_OK) {
        if (status != POLY_TIMEOUT && pool->numbers.open - pool->numbers.connecting <= 1)
            fail_waiters(pool, &why);
        free_place(pool);
    }
    pthread_mutex_unlock(&pool->lock);
    if (status == POLY_OK) {
        made->times = pool->times;
        *pg = made;
    }
    return status;
}

/* --- taking and giving --- */

/* Under the lock. *pg stays NULL: a place to connect in. */
static enum poly_status wait_in_queue(struct poly_pg_pool *pool, int64_t deadline,
                                      struct poly_pg **pg, struct poly_error *err)
{
    struct poly_pg_pool_numbers *numbers = &pool->numbers;
    int64_t begun = poly_clock_monotonic();
    struct waiter self = {0};
    bool passed = false;
    uint64_t waited;

    condition_init(&self.changed);
    enqueue(pool, &self);
    while (self.pg == NULL && !self.place && !self.failed && !passed)
        passed = !condition_wait(&self.changed, &pool->lock, deadline);
    pthread_cond_destroy(&self.changed);
    waited = (uint64_t)(poly_clock_monotonic() - begun);
    numbers->waited++;
    numbers->wait_us += waited;
    if (waited > numbers->wait_us_max)
        numbers->wait_us_max = waited;
    if (self.failed) {
        if (err != NULL)
            *err = self.failure;
        return self.failure.status;
    }
    *pg = self.pg;
    if (self.pg != NULL || self.place)
        return POLY_OK;
    dequeue(pool, &self);
    numbers->timeouts++;
    return poly_fail(err, POLY_TIMEOUT,
                     "none of the pool's %d connections to PostgreSQL became free in time",
                     pool->max);
}

/* Under the lock: a connection, or (NULL) a place to connect in. */
static enum poly_status claim(struct poly_pg_pool *pool, int64_t deadline, struct poly_pg **pg,
                              struct poly_error *err)
{
    *pg = NULL;
    pool->numbers.taken++;
    if (pool->idle != NULL) {
        *pg = pool->idle;
        pool->idle = (*pg)->next;
        pool->numbers.idle--;
        return POLY_OK;
    }
    if (pool->numbers.open < pool->max) {
        pool->numbers.open++;
        return POLY_OK;
    }
    return wait_in_queue(pool, deadline, pg, err);
}

enum poly_status poly_pg_pool_take(struct poly_pg_pool *pool, int64_t deadline, struct poly_pg **pg,
                                   struct poly_error *err)
{
    int64_t latest = poly_clock_monotonic() + pool->acquire_us;
    struct poly_pg *found, *bad = NULL;
    enum poly_status status;

    if (deadline >= 0 && deadline < latest)
        latest = deadline;
    pthread_mutex_lock(&pool->lock);
    status = claim(pool, latest, &found, err);
    if (status == POLY_OK && found == NULL)
        pool->numbers.connecting++;
    pthread_mutex_unlock(&pool->lock);
    if (status != POLY_OK)
        return status;
    if (found != NULL && !healthy(pool, found)) {
        bad = found;
        found = NULL;
        pthread_mutex_lock(&pool->lock);
        pool->numbers.broken++;
        pool->numbers.connecting++;
        pthread_mutex_unlock(&pool->lock);
        poly_pg_close(bad);
    }
    if (found == NULL)
        status = connect_in_place(pool, deadline, &found, err);
    if (status != POLY_OK)
        return status;
    poly_pg_deadline(found, deadline);
    *pg = found;
    return POLY_OK;
}

void poly_pg_pool_give(struct poly_pg_pool *pool, struct poly_pg *pg)
{
    bool keep;

    if (pg == NULL)
        return;
    keep = clean(pg);
    if (!keep)
        atomic_store(&pool->suspect_until, poly_clock_monotonic() + SUSPECT_US);
    pthread_mutex_lock(&pool->lock);
    if (keep) {
        put_idle(pool, pg);
    } else {
        pool->numbers.broken++;
        free_place(pool);
    }
    pthread_mutex_unlock(&pool->lock);
    if (!keep)
        poly_pg_close(pg);
}

void poly_pg_pool_numbers(struct poly_pg_pool *pool, struct poly_pg_pool_numbers *numbers)
{
    pthread_mutex_lock(&pool->lock);
    *numbers = pool->numbers;
    pthread_mutex_unlock(&pool->lock);
    numbers->max = pool->max;
    numbers->slow = poly_pg_times_over(pool->times, SLOW_US);
    numbers->in_use = numbers->open - numbers->idle - numbers->connecting;
}

/* --- the keeper --- */

/* Takes what is old out of the list; *next is when the next one will be. */
static struct poly_pg *take_old(struct poly_pg_pool *pool, int64_t now, int64_t *next)
{
    struct poly_pg **at = &pool->idle, *old = NULL;

    *next = -1;
    while (*at != NULL) {
        struct poly_pg *pg = *at;
        int64_t due = pg->idle_since + pool->idle_us;

        if (pool->numbers.open > pool->min && due <= now) {
            *at = pg->next;
            pg->next = old;
            old = pg;
            pool->numbers.idle--;
            pool->numbers.open--;
            continue;
        }
        if (pool->numbers.open > pool->min && (*next < 0 || due < *next))
            *next = due;
        at = &pg->next;
    }
    return old;
}

static void close_all(struct poly_pg *list)
{
    struct poly_pg *next;

    for (; list != NULL; list = next) {
        next = list->next;
        poly_pg_close(list);
    }
}

/* One connection more; under the lock, which is left while connecting. */
static bool fill_up(struct poly_pg_pool *pool)
{
    struct poly_pg *pg;
    bool made;

    pool->numbers.open++;
    pool->numbers.connecting++;
    pthread_mutex_unlock(&pool->lock);
    made = connect_in_place(pool, -1, &pg, NULL) == POLY_OK;
    pthread_mutex_lock(&pool->lock);
    if (made)
        put_idle(pool, pg);
    return made;
}

static void *keep(void *arg)
{
    struct poly_pg_pool *pool = arg;
    int64_t next, again = 0; /* not before that */

    pthread_mutex_lock(&pool->lock);
    while (!pool->stops) {
        int64_t now = poly_clock_monotonic();
        struct poly_pg *old = take_old(pool, now, &next);

        if (old != NULL) {
            pthread_mutex_unlock(&pool->lock);
            close_all(old);
            pthread_mutex_lock(&pool->lock);
            continue;
        }
        if (pool->numbers.open < pool->min && now >= again) {
            if (!fill_up(pool))
                again = poly_clock_monotonic() + RETRY_US;
            continue;
        }
        if (pool->numbers.open < pool->min && (next < 0 || again < next))
            next = again;
        pool->sleeps_until = next;
        condition_wait(&pool->due, &pool->lock, next);
        pool->sleeps_until = 0;
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* --- the pool --- */

static int or_default(int given, int otherwise)
{
    return given > 0 ? given : otherwise;
}

static void set_options(struct poly_pg_pool *pool, const struct poly_pg_pool_options *options)
{
    static const struct poly_pg_pool_options none;

    if (options == NULL)
        options = &none;
    pool->max = or_default(options->max, MAX);
    pool->min = options->min < 0 ? 0 : or_default(options->min, MIN);
    if (pool->min > pool->max)
        pool->min = pool->max;
    pool->idle_us = INT64_C(1000) * or_default(options->idle_ms, IDLE_MS);
    pool->acquire_us = INT64_C(1000) * or_default(options->acquire_ms, ACQUIRE_MS);
}

enum poly_status poly_pg_pool_open(const struct poly_pg_options *where,
                                   const struct poly_pg_pool_options *options, poly_pg_setup *setup,
                                   void *arg, struct poly_pg_pool **pool, struct poly_error *err)
{
    struct poly_pg_pool *self = calloc(1, sizeof(*self));
    enum poly_status status;

    if (self == NULL)
        return poly_no_memory(err);
    self->times = poly_pg_times_new();
    status =
        self->times == NULL ? poly_no_memory(err) : poly_pg_target_new(where, &self->target, err);
    if (status != POLY_OK) {
        poly_pg_times_free(self->times);
        free(self);
        return status;
    }
    set_options(self, options);
    self->setup = setup;
    self->arg = arg;
    pthread_mutex_init(&self->lock, NULL);
    condition_init(&self->due);
    if (pthread_create(&self->keeper, NULL, keep, self) != 0) {
        poly_pg_target_free(self->target);
        poly_pg_times_free(self->times);
        pthread_cond_destroy(&self->due);
        pthread_mutex_destroy(&self->lock);
        free(self);
        return poly_fail(err, POLY_NO_MEMORY, "no thread for the pool of connections");
    }
    *pool = self;
    return POLY_OK;
}

void poly_pg_pool_close(struct poly_pg_pool *pool)
{
    if (pool == NULL)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->stops = true;
    pthread_cond_signal(&pool->due);
    pthread_mutex_unlock(&pool->lock);
    pthread_join(pool->keeper, NULL);
    poly_assert(pool->numbers.open == pool->numbers.idle && pool->first == NULL);
    close_all(pool->idle);
    poly_pg_target_free(pool->target);
    poly_pg_times_free(pool->times);
    pthread_cond_destroy(&pool->due);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}
