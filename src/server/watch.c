/*
 * libmicrohttpd's own timeout starts anew with each byte, does not look at
 * suspended connections at all, and misses a half-close that came together with
 * a request: hence this. shutdown() is all that is done to a socket here; its
 * owner sees the end of it and cleans up.
 */
#include "server/watch.h"

#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"

struct server_watch {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool stopping;
    struct server_watched *first;
};

static bool has_left(int socket)
{
    struct pollfd p = {.fd = socket, .events = POLLRDHUP};
    return poll(&p, 1, 0) == 1 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

/* Nothing of another request has come that could still be answered. */
static bool is_silent(int socket)
{
    int bytes = 0;
    return ioctl(socket, FIONREAD, &bytes) == 0 && bytes == 0;
}

static void look_at(struct server_watched *watched, int64_t now)
{
    int64_t deadline = atomic_load(&watched->deadline);
    if (deadline != 0 && deadline < now) {
        atomic_store(&watched->deadline, 0);
        atomic_store(&watched->left, true);
        shutdown(watched->socket, SHUT_RDWR);
    } else if (atomic_load(&watched->asleep) && has_left(watched->socket)) {
        atomic_store(&watched->left, true);
    } else if (atomic_load(&watched->idle) && has_left(watched->socket) &&
               is_silent(watched->socket)) {
        shutdown(watched->socket, SHUT_RDWR);
    }
}

static void *watch_all(void *arg)
{
    struct server_watch *watch = arg;

    pthread_mutex_lock(&watch->lock);
    while (!watch->stopping) {
        struct timespec until;
        if (watch->first == NULL) {
            pthread_cond_wait(&watch->wake, &watch->lock);
            continue;
        }
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += 1;
        pthread_cond_timedwait(&watch->wake, &watch->lock, &until);
        int64_t now = poly_clock_monotonic();
        for (struct server_watched *w = watch->first; w != NULL; w = w->next)
            look_at(w, now);
    }
    pthread_mutex_unlock(&watch->lock);
    return NULL;
}

struct server_watch *server_watch_new(void)
{
    struct server_watch *watch = calloc(1, sizeof(*watch));
    if (watch == NULL)
        return NULL;
    pthread_mutex_init(&watch->lock, NULL);
    pthread_cond_init(&watch->wake, NULL);
    if (pthread_create(&watch->thread, NULL, watch_all, watch) != 0) {
        free(watch);
        return NULL;
    }
    return watch;
}

void server_watch_free(struct server_watch *watch)
{
    if (watch == NULL)
        return;
    pthread_mutex_lock(&watch->lock);
    watch->stopping = true;
    pthread_cond_signal(&watch->wake);
    pthread_mutex_unlock(&watch->lock);
    pthread_join(watch->thread, NULL);
    pthread_cond_destroy(&watch->wake);
    pthread_mutex_destroy(&watch->lock);
    free(watch);
}

void server_watch_add(struct server_watch *watch, struct server_watched *watched)
{
    pthread_mutex_lock(&watch->lock);
    watched->next = watch->first;
    watched->at = &watch->first;
    if (watch->first != NULL)
        watch->first->at = &watched->next;
    else
        pthread_cond_signal(&watch->wake);
    watch->first = watched;
    pthread_mutex_unlock(&watch->lock);
}

void server_watch_remove(struct server_watch *watch, struct server_watched *watched)
{
    pthread_mutex_lock(&watch->lock);
    *watched->at = watched->next;
    if (watched->next != NULL)
        watched->next->at = watched->at;
    pthread_mutex_unlock(&watch->lock);
}

void server_watch_within(struct server_watched *watched, int64_t ms)
{
    atomic_store_explicit(&watched->deadline, poly_clock_coarse() + ms * 1000,
                          memory_order_relaxed);
}
