/*
 * Callers combine: whoever comes while a lane is free leads at once. Who comes
 * later queues; the leader that ends hands its lane to the first of the queue,
 * which takes all that waits as one pipeline. So
 * the length of a pipeline follows the load, and there is no thread and no
 * timer.
 *
 * A pipeline is one transaction, and the first failure ends it. Reads can be done again, so
 * whatever has no answer then is asked once more by its own caller alone: each gets its own error,
 * its own deadline, and never its neighbour's.
 */
#include "base/postgres_share.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/assert.h"

enum { LANES = 2, TOGETHER = 64 };

struct request {
    const char *sql;
    const struct poly_pg_params *params;
    int64_t deadline;
    PGresult *result; /* NULL when called: lead, or ask alone */
    bool leads, queued;
    _Atomic bool answered; /* what the caller of this one wrote is seen; set before it is called */
    sem_t called;
    struct request *next;
};

struct poly_pg_share {
    struct poly_pg_pool *pool;
    pthread_mutex_t lock;
    struct request *first, **end;
    int lanes, busy; /* somebody queues only when all lanes are busy */
};

enum poly_status poly_pg_share_new(struct poly_pg_pool *pool, int lanes,
                                   struct poly_pg_share **share, struct poly_error *err)
{
    struct poly_pg_share *self = calloc(1, sizeof(*self));

    if (self == NULL)
        return poly_no_memory(err);
    pthread_mutex_init(&self->lock, NULL);
    self->pool = pool;
    self->lanes = lanes > 0 ? lanes : LANES;
    self->end = &self->first;
    *share = self;
    return POLY_OK;
}

void poly_pg_share_free(struct poly_pg_share *share)
{
    if (share == NULL)
        return;
    poly_assert(share->busy == 0 && share->first == NULL);
    pthread_mutex_destroy(&share->lock);
    free(share);
}

/* On a connection of its own. */
static enum poly_status run_alone(struct poly_pg_share *share, const struct request *request,
                                  PGresult **result, struct poly_error *err)
{
    struct poly_pg *pg;
    enum poly_status status = poly_pg_pool_take(share->pool, request->deadline, &pg, err);

    if (status != POLY_OK)
        return status;
    status = poly_pg_run(pg, request->sql, request->params, result, err);
    poly_pg_pool_give(share->pool, pg);
    return status;
}

/* --- the queue, under the lock --- */

static void enqueue(struct poly_pg_share *share, struct request *request)
{
    request->queued = true;
    *share->end = request;
    share->end = &request->next;
}

/* The first of the queue, at most so many, as a list of their own. */
static struct request *dequeue(struct poly_pg_share *share, int most)
{
    struct request *batch = share->first, **at = &share->first;

    for (int i = 0; i < most && *at != NULL; i++) {
        (*at)->queued = false;
        at = &(*at)->next;
    }
    share->first = *at;
    *at = NULL;
    if (share->first == NULL)
        share->end = &share->first;
    return share->first == batch ? NULL : batch;
}

static void leave_queue(struct poly_pg_share *share, const struct request *request)
{
    struct request **at = &share->first;

    while (*at != request)
        at = &(*at)->next;
    *at = request->next;
    if (*at == NULL)
        share->end = at;
}

/* The lane goes to whoever waits first, or becomes free. Afterwards that one is called. */
static struct request *pass_lane(struct poly_pg_share *share)
{
    struct request *next = dequeue(share, 1);

    if (next == NULL)
        share->busy--;
    else
        next->leads = true;
    return next;
}

/* --- leading --- */

static int64_t earliest(const struct request *batch)
{
    int64_t deadline = -1;

    for (; batch != NULL; batch = batch->next)
        if (batch->deadline >= 0 && (deadline < 0 || batch->deadline < deadline))
            deadline = batch->deadline;
    return deadline;
}

/* Results come into the requests, up to the first failure. */
static void serve_together(struct poly_pg *pg, struct request *batch)
{
    enum poly_status status = POLY_OK;

    for (struct request *one = batch; status == POLY_OK && one != NULL; one = one->next)
        status = poly_pg_queue(pg, one->sql, one->params, NULL);
    for (struct request *one = batch; status == POLY_OK && one != NULL; one = one->next)
        status = poly_pg_next(pg, &one->result, NULL);
}

static void serve(struct poly_pg_share *share, struct request *batch)
{
    struct poly_pg *pg;

    if (poly_pg_pool_take(share->pool, earliest(batch), &pg, NULL) != POLY_OK)
        return;
    serve_together(pg, batch);
    poly_pg_pool_give(share->pool, pg);
}

/* It goes its way with its request: nothing of it is looked at afterwards. */
static void call(struct request *request)
{
    atomic_store_explicit(&request->answered, true, memory_order_release);
    sem_post(&request->called);
}

static void call_all(struct request *followers)
{
    struct request *next;

    for (; followers != NULL; followers = next) {
        next = followers->next;
        call(followers);
    }
}

static enum poly_status lead(struct poly_pg_share *share, struct request *leader, PGresult **result,
                             struct poly_error *err)
{
    enum poly_status status = POLY_OK;
    struct request *next;
    bool alone;

    pthread_mutex_lock(&share->lock);
    leader->next = dequeue(share, TOGETHER - 1);
    pthread_mutex_unlock(&share->lock);
    alone = leader->next == NULL;
    if (alone)
        status = run_alone(share, leader, result, err);
    else
        serve(share, leader);
    pthread_mutex_lock(&share->lock);
    next = pass_lane(share);
    pthread_mutex_unlock(&share->lock);
    if (next != NULL)
        call(next);
    if (alone)
        return status;
    call_all(leader->next);
    if (leader->result == NULL)
        return run_alone(share, leader, result, err);
    *result = leader->result;
    return POLY_OK;
}

/* --- following --- */

/* False: the deadline passed while it was queued, and it has left the queue. */
static bool wait_for_call(struct poly_pg_share *share, struct request *request)
{
    struct timespec until = {request->deadline / 1000000, request->deadline % 1000000 * 1000};
    int code = -1;
    bool left;

    while (code != 0) {
        code = request->deadline < 0 ? sem_wait(&request->called)
                                     : sem_clockwait(&request->called, CLOCK_MONOTONIC, &until);
        if (code != 0 && errno == ETIMEDOUT)
            break;
    }
    if (code == 0)
        return true;
    pthread_mutex_lock(&share->lock);
    left = request->queued;
    if (left)
        leave_queue(share, request);
    pthread_mutex_unlock(&share->lock);
    if (left)
        return false;
    /* A leader has it, or it leads: the call is under way. */
    while (sem_wait(&request->called) != 0)
        continue;
    return true;
}

static enum poly_status follow(struct poly_pg_share *share, struct request *request,
                               PGresult **result, struct poly_error *err)
{
    if (!wait_for_call(share, request))
        return poly_fail(err, POLY_TIMEOUT, "the deadline passed");
    poly_assert(atomic_load_explicit(&request->answered, memory_order_acquire));
    if (request->leads)
        return lead(share, request, result, err);
    if (request->result == NULL)
        return run_alone(share, request, result, err);
    *result = request->result;
    return POLY_OK;
}

enum poly_status poly_pg_share_run(struct poly_pg_share *share, const char *sql,
                                   const struct poly_pg_params *params, int64_t deadline,
                                   PGresult **result, struct poly_error *err)
{
    struct request request = {.sql = sql, .params = params, .deadline = deadline};
    enum poly_status status;
    bool leads;

    sem_init(&request.called, 0, 0);
    pthread_mutex_lock(&share->lock);
    leads = share->busy < share->lanes;
    if (leads)
        share->busy++;
    else
        enqueue(share, &request);
    pthread_mutex_unlock(&share->lock);
    status = leads ? lead(share, &request, result, err) : follow(share, &request, result, err);
    sem_destroy(&request.called);
    return status;
}
