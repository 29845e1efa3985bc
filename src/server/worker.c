/*
 * One queue, one lock. Threads are detached and counted; the last one to leave
 * says so, and closing waits for that.
 */
#include "server/worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "base/limits.h"
#include "base/status.h"

enum { IDLE_S = 30 };

struct server_workers {
    pthread_mutex_t lock;
    pthread_cond_t work, left;
    struct server_job *first, **last;
    size_t waiting, threads, idle, streams, senders;
    bool stopping;
};

struct stream_start {
    struct server_workers *workers;
    struct server_job *job;
};

static _Thread_local bool sending; /* this worker is counted as a sender, and as no worker */

struct server_workers *server_workers_new(void)
{
    struct server_workers *workers = calloc(1, sizeof(*workers));
    if (workers == NULL)
        return NULL;
    pthread_mutex_init(&workers->lock, NULL);
    pthread_cond_init(&workers->work, NULL);
    pthread_cond_init(&workers->left, NULL);
    workers->last = &workers->first;
    return workers;
}

void server_workers_free(struct server_workers *workers)
{
    if (workers == NULL)
        return;
    pthread_mutex_lock(&workers->lock);
    workers->stopping = true;
    pthread_cond_broadcast(&workers->work);
    while (workers->threads > 0 || workers->streams > 0 || workers->senders > 0)
        pthread_cond_wait(&workers->left, &workers->lock);
    pthread_mutex_unlock(&workers->lock);
    pthread_cond_destroy(&workers->work);
    pthread_cond_destroy(&workers->left);
    pthread_mutex_destroy(&workers->lock);
    free(workers);
}

/* NULL: it is time to leave. */
static struct server_job *next_job(struct server_workers *workers)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += IDLE_S;
    workers->idle++;
    while (workers->first == NULL && !workers->stopping)
        if (pthread_cond_timedwait(&workers->work, &workers->lock, &until) == ETIMEDOUT)
            break;
    workers->idle--;
    struct server_job *job = workers->first;
    if (job == NULL)
        return NULL;
    workers->first = job->next;
    if (workers->first == NULL)
        workers->last = &workers->first;
    workers->waiting--;
    return job;
}

/* With the lock held. False: others have taken the place of a worker that was sending. */
static bool come_back(struct server_workers *workers)
{
    if (!sending)
        return true;
    sending = false;
    workers->senders--;
    if (workers->threads >= POLY_MAX_WORKERS)
        return false;
    workers->threads++;
    return true;
}

static void *work(void *arg)
{
    struct server_workers *workers = arg;
    struct server_job *job;
    bool member = true;

    pthread_mutex_lock(&workers->lock);
    while (member && (job = next_job(workers)) != NULL) {
        pthread_mutex_unlock(&workers->lock);
        job->run(job);
        pthread_mutex_lock(&workers->lock);
        member = come_back(workers);
    }
    if (member)
        workers->threads--;
    pthread_cond_broadcast(&workers->left);
    pthread_mutex_unlock(&workers->lock);
    return NULL;
}

static void *stream(void *arg)
{
    struct stream_start start = *(struct stream_start *)arg;
    free(arg);
    start.job->run(start.job);
    pthread_mutex_lock(&start.workers->lock);
    start.workers->streams--;
    pthread_cond_broadcast(&start.workers->left);
    pthread_mutex_unlock(&start.workers->lock);
    return NULL;
}

static bool start_thread(void *(*run)(void *arg), void *arg)
{
    pthread_t thread;
    pthread_attr_t attr;
    bool started;

    if (pthread_attr_init(&attr) != 0)
        return false;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, 1024 * 1024);
    started = pthread_create(&thread, &attr, run, arg) == 0;
    pthread_attr_destroy(&attr);
    return started;
}

enum poly_status server_workers_submit(struct server_workers *workers, struct server_job *job,
                                       struct poly_error *err)
{
    enum poly_status status = POLY_OK;

    pthread_mutex_lock(&workers->lock);
    if (workers->waiting >= POLY_MAX_WORK) {
        status = poly_fail(err, POLY_LIMIT,
                           "%d long requests wait already (POLY_MAX_WORK); try again",
                           POLY_MAX_WORK);
        goto out;
    }
    if (workers->idle <= workers->waiting && workers->threads < POLY_MAX_WORKERS) {
        if (start_thread(work, workers))
            workers->threads++;
        else if (workers->threads == 0)
            status = poly_fail(err, POLY_NO_MEMORY, "no thread can be started");
    }
    if (status == POLY_OK) {
        job->next = NULL;
        *workers->last = job;
        workers->last = &job->next;
        workers->waiting++;
        pthread_cond_signal(&workers->work);
    }
out:
    pthread_mutex_unlock(&workers->lock);
    return status;
}

bool server_workers_send(struct server_workers *workers)
{
    bool room;

    pthread_mutex_lock(&workers->lock);
    room = workers->senders < POLY_MAX_SENDERS;
    if (room) {
        sending = true;
        workers->senders++;
        workers->threads--;
        if (workers->waiting > workers->idle && start_thread(work, workers))
            workers->threads++;
    }
    pthread_mutex_unlock(&workers->lock);
    return room;
}

enum poly_status server_workers_stream(struct server_workers *workers, struct server_job *job,
                                       struct poly_error *err)
{
    struct stream_start *start = malloc(sizeof(*start));
    enum poly_status status = POLY_OK;

    if (start == NULL)
        return poly_no_memory(err);
    start->workers = workers;
    start->job = job;
    pthread_mutex_lock(&workers->lock);
    if (workers->streams >= POLY_MAX_STREAMS)
        status = poly_fail(err, POLY_LIMIT, "%d event streams are open already (POLY_MAX_STREAMS)",
                           POLY_MAX_STREAMS);
    else if (!start_thread(stream, start))
        status = poly_fail(err, POLY_NO_MEMORY, "no thread can be started");
    else
        workers->streams++;
    pthread_mutex_unlock(&workers->lock);
    if (status != POLY_OK)
        free(start);
    return status;
}

struct server_worker_counts server_workers_count(struct server_workers *workers)
{
    struct server_worker_counts counts;
    pthread_mutex_lock(&workers->lock);
    counts.threads = workers->threads;
    counts.waiting = workers->waiting;
    counts.streams = workers->streams;
    counts.senders = workers->senders;
    pthread_mutex_unlock(&workers->lock);
    return counts;
}
