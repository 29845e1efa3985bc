/*
 * Waiting, with an end. libpq's own blocking calls know no deadline, so the
 * connection does not block and the waiting is ours: poll() until the answer
 * or the deadline, then a request to cancel, then a short while for its
 * answer.
 *
 * The request goes out on a thread of its own: PQcancel() connects anew, and
 * blocks for minutes where packets vanish. Whoever asked waits for that
 * thread before the connection is used again: a request that arrives late would cancel
 * the next statement.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/postgres_inside.h"

enum { GRACE_US = 1000000 }; /* for the answer to a request to cancel */

struct cancel {
    PGcancel *request;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done, left; /* left: nobody waits any more */
};

int poly_pg_left(int64_t deadline)
{
    int64_t left;

    if (deadline < 0)
        return -1;
    left = deadline - poly_clock_monotonic();
    if (left <= 0)
        return 0;
    return left > INT64_C(1000) * 1000000 ? 1000000 : (int)((left + 999) / 1000);
}

static void cancel_free(struct cancel *cancel)
{
    PQfreeCancel(cancel->request);
    pthread_cond_destroy(&cancel->changed);
    pthread_mutex_destroy(&cancel->lock);
    free(cancel);
}

static void *run_cancel(void *arg)
{
    struct cancel *cancel = arg;
    char words[256];
    bool left;

    (void)PQcancel(cancel->request, words, sizeof(words));
    pthread_mutex_lock(&cancel->lock);
    cancel->done = true;
    left = cancel->left;
    pthread_cond_signal(&cancel->changed);
    pthread_mutex_unlock(&cancel->lock);
    if (left)
        cancel_free(cancel);
    return NULL;
}

/* NULL: it cannot be asked. */
static struct cancel *cancel_begin(struct poly_pg *pg)
{
    struct cancel *cancel = calloc(1, sizeof(*cancel));
    pthread_condattr_t monotonic;
    pthread_attr_t detached;
    pthread_t thread;
    bool begun;

    if (cancel == NULL)
        return NULL;
    pthread_mutex_init(&cancel->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&cancel->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    cancel->request = PQgetCancel(pg->conn);
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    begun = cancel->request != NULL && pthread_create(&thread, &detached, run_cancel, cancel) == 0;
    pthread_attr_destroy(&detached);
    if (begun)
        return cancel;
    cancel_free(cancel);
    return NULL;
}

/* Whether the request is no longer under way. */
static bool cancel_end(struct cancel *cancel, int64_t deadline)
{
    struct timespec until = {deadline / 1000000, deadline % 1000000 * 1000};
    bool done;

    pthread_mutex_lock(&cancel->lock);
    while (!cancel->done &&
           pthread_cond_timedwait(&cancel->changed, &cancel->lock, &until) != ETIMEDOUT)
        continue;
    done = cancel->done;
    cancel->left = true;
    pthread_mutex_unlock(&cancel->lock);
    if (done)
        cancel_free(cancel);
    return done;
}

int poly_pg_patience(const struct poly_pg *pg, int64_t deadline, int *patience)
{
    int left = poly_pg_left(deadline);

    if (!pg->encrypted)
        return left;
    *patience = *patience == 0 ? 2 : *patience >= 512 ? 1024 : *patience * 2;
    return left < 0 || left > *patience ? *patience : left;
}

/* Sends and receives what can be, or waits until something can. False: the deadline passed. */
static bool move(struct poly_pg *pg, int64_t deadline, int *patience, enum poly_status *status,
                 struct poly_error *err)
{
    int unsent = PQflush(pg->conn);
    struct pollfd ready = {PQsocket(pg->conn), (short)(unsent > 0 ? POLLIN | POLLOUT : POLLIN), 0};
    int count;

    if (ready.fd < 0) {
        *status = poly_pg_fail(pg, NULL, NULL, err);
        return true;
    }
    count = poll(&ready, 1, poly_pg_patience(pg, deadline, patience));
    if (count > 0)
        *patience = 0;
    if (count == 0 ? pg->encrypted : (ready.revents & ~POLLOUT) != 0)
        if (!PQconsumeInput(pg->conn)) {
            *status = poly_pg_fail(pg, NULL, NULL, err);
            return true;
        }
    return count != 0 || poly_pg_left(deadline) != 0 || !PQisBusy(pg->conn);
}

/* Waits for a whole result, which is not there yet; *passed: the deadline came first. */
static enum poly_status wait_until(struct poly_pg *pg, int64_t deadline, bool *passed,
                                   struct poly_error *err)
{
    enum poly_status status = POLY_OK;
    int patience = 0;

    *passed = false;
    do
        *passed = !move(pg, deadline, &patience, &status, err);
    while (status == POLY_OK && !*passed && PQisBusy(pg->conn));
    return status;
}

/* After the deadline. */
static enum poly_status give_up(struct poly_pg *pg, struct poly_error *err)
{
    int64_t grace = poly_clock_monotonic() + GRACE_US;
    struct cancel *cancel = cancel_begin(pg);
    enum poly_status status = POLY_OK;
    bool passed = true, ended;

    pg->cancelled = true;
    if (cancel != NULL) {
        status = wait_until(pg, grace, &passed, err);
        ended = cancel_end(cancel, grace);
        passed = passed || !ended;
    }
    if (status != POLY_OK || !passed)
        return status;
    return poly_pg_lose(pg, POLY_TIMEOUT, "the deadline passed, and it did not stop when asked to",
                        err);
}

enum poly_status poly_pg_ready(struct poly_pg *pg, struct poly_error *err)
{
    enum poly_status status;
    bool passed;

    if (pg->lost)
        return poly_pg_lose(pg, POLY_UNAVAILABLE, "it was lost before", err);
    if (!PQisBusy(pg->conn))
        return POLY_OK;
    /* Once cancelled, what is still to come (the end of a pipeline) comes within the grace. */
    status = wait_until(pg, pg->cancelled ? poly_clock_monotonic() + GRACE_US : pg->deadline,
                        &passed, err);
    if (status != POLY_OK || !passed)
        return status;
    if (pg->cancelled)
        return poly_pg_lose(pg, POLY_TIMEOUT, "it stopped answering", err);
    return give_up(pg, err);
}

void poly_pg_stop(struct poly_pg *pg)
{
    int64_t grace = poly_clock_monotonic() + GRACE_US;
    struct cancel *cancel = pg->lost ? NULL : cancel_begin(pg);
    PGresult *rest = NULL;

    if (cancel == NULL) {
        pg->lost = true;
        return;
    }
    pg->cancelled = true;
    do {
        PQclear(rest);
        rest = poly_pg_ready(pg, NULL) == POLY_OK ? PQgetResult(pg->conn) : NULL;
    } while (rest != NULL);
    if (!cancel_end(cancel, grace))
        pg->lost = true;
}

static bool good(const PGresult *result)
{
    switch (PQresultStatus(result)) {
    case PGRES_EMPTY_QUERY:
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
    case PGRES_SINGLE_TUPLE:
    case PGRES_PIPELINE_SYNC:
        return true;
    default:
        return false;
    }
}

static bool is_copy(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);

    return status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH;
}

enum poly_status poly_pg_confirmed(struct poly_pg *pg, struct poly_error *err)
{
    if (!pg->unsynced)
        return POLY_OK;
    pg->unknown = pg->temporary = true;
    return poly_fail(err, pg->cancelled ? POLY_TIMEOUT : POLY_UNAVAILABLE,
                     "PostgreSQL committed, and no standby has confirmed it in time");
}

enum poly_status poly_pg_check(struct poly_pg *pg, PGresult *result, const char *sql,
                               struct poly_error *err)
{
    enum poly_status status;

    if (result != NULL && good(result)) {
        status = poly_pg_confirmed(pg, err);
        if (status != POLY_OK)
            PQclear(result);
        return status;
    }
    if (is_copy(result)) {
        pg->lost = true;
        status = poly_fail(err, POLY_UNSUPPORTED,
                           "COPY to or from the client cannot be run as a statement");
    } else {
        status = poly_pg_fail(pg, result, sql, err);
    }
    PQclear(result);
    return status;
}

/* Whether libpq has nothing more to give. It says so by its own state, without a look at what the
 * server has sent: PQgetResult() would say it, too, and parse once more. */
static bool at_end(const struct poly_pg *pg)
{
    PGTransactionStatusType state = PQtransactionStatus(pg->conn);

    return state != PQTRANS_ACTIVE && state != PQTRANS_UNKNOWN;
}

enum poly_status poly_pg_answer(struct poly_pg *pg, PGresult **result, struct poly_error *err)
{
    PGresult *kept = NULL, *one;

    while (kept == NULL || !is_copy(kept)) {
        enum poly_status status = poly_pg_ready(pg, err);

        if (status != POLY_OK) {
            PQclear(kept);
            return status;
        }
        if (kept != NULL && at_end(pg))
            break;
        one = PQgetResult(pg->conn);
        if (one == NULL)
            break;
        if (kept == NULL) {
            kept = one;
        } else if (good(kept)) {
            PQclear(kept);
            kept = one;
        } else {
            PQclear(one);
        }
    }
    if (kept == NULL)
        return poly_pg_fail(pg, NULL, NULL, err);
    *result = kept;
    return POLY_OK;
}
