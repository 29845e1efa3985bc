/*
 * What must not wait is handed to threads: as many as are needed, and never
 * more than connections are worth having, for each transaction keeps one.
 */
#include "base/limits.h"
#include "owners/postgresql/inside.h"

static struct poly_request *next(struct poly_postgresql *self)
{
    struct poly_request *request;

    self->idle++;
    while (self->first == NULL && !self->closing)
        pthread_cond_wait(&self->queued, &self->queue_lock);
    self->idle--;
    request = self->first;
    if (request != NULL) {
        self->first = request->next;
        self->waiting--;
        if (self->first == NULL)
            self->end = &self->first;
    }
    return request;
}

static void *work(void *arg)
{
    struct poly_postgresql *self = arg;
    struct poly_request *request;

    pthread_mutex_lock(&self->queue_lock);
    while ((request = next(self)) != NULL) {
        poly_written_fn *done = request->done;
        struct poly_error err = {.position = -1};
        enum poly_status status;

        pthread_mutex_unlock(&self->queue_lock);
        status = poly_postgresql_run(&self->base, request, &err);
        done(request->arg, status, &err);
        pthread_mutex_lock(&self->queue_lock);
    }
    pthread_mutex_unlock(&self->queue_lock);
    return NULL;
}

/* With the lock. Without a thread more, those that are there go on. */
static bool staffed(struct poly_postgresql *self)
{
    if (self->idle >= self->waiting || self->workers == POLY_POSTGRESQL_WORKERS)
        return self->workers > 0;
    if (pthread_create(&self->threads[self->workers], NULL, work, self) == 0) {
        pthread_setname_np(self->threads[self->workers], "poly-write");
        self->workers++;
    }
    return self->workers > 0;
}

enum poly_status poly_postgresql_submit(struct poly_owner *owner, struct poly_request *request,
                                        struct poly_error *err)
{
    struct poly_postgresql *self = poly_postgresql_of(owner);
    enum poly_status status = POLY_OK;

    pthread_mutex_lock(&self->queue_lock);
    if (self->waiting >= POLY_MAX_QUEUE) {
        status =
            poly_fail(err, POLY_LIMIT, "%d transactions are waiting for a connection; try again",
                      POLY_MAX_QUEUE);
    } else {
        self->waiting++;
        if (!staffed(self)) {
            self->waiting--;
            status = poly_fail(err, POLY_UNAVAILABLE, "cannot start a thread");
        }
    }
    if (status == POLY_OK) {
        request->next = NULL;
        *self->end = request;
        self->end = &request->next;
        pthread_cond_signal(&self->queued);
    }
    pthread_mutex_unlock(&self->queue_lock);
    return status;
}

void poly_postgresql_drain(struct poly_postgresql *self)
{
    pthread_mutex_lock(&self->queue_lock);
    self->closing = true;
    pthread_cond_broadcast(&self->queued);
    pthread_mutex_unlock(&self->queue_lock);
    for (unsigned i = 0; i < self->workers; i++)
        pthread_join(self->threads[i], NULL);
    self->workers = 0;
}
