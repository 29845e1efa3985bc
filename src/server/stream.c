/*
 * One lock. The connection is suspended while that lock is held, so that the
 * worker cannot resume it before it sleeps.
 */
#include "server/stream.h"

#include <errno.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/limits.h"

struct server_stream {
    struct MHD_Connection *connection;
    pthread_mutex_t lock;
    pthread_cond_t room;
    size_t start, used;
    bool asleep; /* the connection is suspended */
    bool gone, ended, broken;
    char ring[POLY_MAX_STREAM_BUFFER];
};

struct server_stream *server_stream_new(struct MHD_Connection *connection)
{
    struct server_stream *stream = malloc(sizeof(*stream));
    pthread_condattr_t attr;
    if (stream == NULL)
        return NULL;
    memset(stream, 0, offsetof(struct server_stream, ring));
    stream->connection = connection;
    pthread_mutex_init(&stream->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&stream->room, &attr);
    pthread_condattr_destroy(&attr);
    return stream;
}

void server_stream_free(struct server_stream *stream)
{
    if (stream == NULL)
        return;
    pthread_cond_destroy(&stream->room);
    pthread_mutex_destroy(&stream->lock);
    free(stream);
}

/* --- with the lock held --- */

static size_t put(struct server_stream *stream, const char *bytes, size_t size)
{
    size_t room = sizeof(stream->ring) - stream->used;
    size_t end = (stream->start + stream->used) % sizeof(stream->ring);
    size_t n = size < room ? size : room;
    size_t first = n < sizeof(stream->ring) - end ? n : sizeof(stream->ring) - end;
    memcpy(stream->ring + end, bytes, first);
    memcpy(stream->ring, bytes + first, n - first);
    stream->used += n;
    return n;
}

static size_t take(struct server_stream *stream, char *bytes, size_t max)
{
    size_t n = stream->used < max ? stream->used : max;
    size_t first = sizeof(stream->ring) - stream->start;
    if (first > n)
        first = n;
    memcpy(bytes, stream->ring + stream->start, first);
    memcpy(bytes + first, stream->ring, n - first);
    stream->start = (stream->start + n) % sizeof(stream->ring);
    stream->used -= n;
    return n;
}

static void rouse(struct server_stream *stream)
{
    if (stream->asleep) {
        stream->asleep = false;
        MHD_resume_connection(stream->connection);
    }
}

static bool wait_for_room(struct server_stream *stream)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += POLY_STALL_TIMEOUT_MS / 1000;
    while (stream->used == sizeof(stream->ring) && !stream->gone)
        if (pthread_cond_timedwait(&stream->room, &stream->lock, &until) == ETIMEDOUT)
            return false;
    return !stream->gone;
}

/* --- the worker --- */

bool server_stream_write(struct server_stream *stream, const void *bytes, size_t size)
{
    const char *at = bytes;
    bool taken;

    pthread_mutex_lock(&stream->lock);
    taken = !stream->gone;
    while (taken && size > 0) {
        size_t n = put(stream, at, size);
        at += n;
        size -= n;
        rouse(stream);
        if (size > 0)
            taken = wait_for_room(stream);
    }
    pthread_mutex_unlock(&stream->lock);
    return taken;
}

bool server_stream_gone(struct server_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    bool gone = stream->gone;
    pthread_mutex_unlock(&stream->lock);
    return gone;
}

void server_stream_end(struct server_stream *stream, bool whole)
{
    pthread_mutex_lock(&stream->lock);
    stream->ended = true;
    stream->broken = !whole;
    rouse(stream);
    pthread_mutex_unlock(&stream->lock);
}

/* --- the connection --- */

ssize_t server_stream_read(void *arg, uint64_t position, char *bytes, size_t max)
{
    struct server_stream *stream = arg;
    ssize_t n = 0;

    (void)position;
    pthread_mutex_lock(&stream->lock);
    if (stream->used > 0) {
        n = (ssize_t)take(stream, bytes, max);
        pthread_cond_signal(&stream->room);
    } else if (stream->ended) {
        n = stream->broken ? MHD_CONTENT_READER_END_WITH_ERROR : MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        stream->asleep = true;
        MHD_suspend_connection(stream->connection);
    }
    pthread_mutex_unlock(&stream->lock);
    return n;
}

void server_stream_abandon(struct server_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    stream->gone = true;
    pthread_cond_signal(&stream->room);
    pthread_mutex_unlock(&stream->lock);
}
