/*
 * Requests are counted by references because a worker may still be busy with
 * one whose client has left.
 */
#include "server/request.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "server/log.h"
#include "server/metrics.h"

enum { KEEP = 16 * 1024 }; /* buffers beyond this are not kept for the next request */

struct server_request *server_request_new(struct server_connection *connection)
{
    struct server_request *request = calloc(1, sizeof(*request));
    if (request == NULL)
        return NULL;
    request->server = connection->server;
    request->connection = connection;
    atomic_fetch_add(&connection->references, 1);
    atomic_init(&request->references, 1);
    poly_buffer_init(&request->uri, 4 * POLY_MAX_HTTP_POOL);
    poly_buffer_init(&request->own, 4 * POLY_MAX_HTTP_POOL);
    poly_buffer_init(&request->body, request->server->settings.body_max);
    poly_buffer_init(&request->out, POLY_MAX_SESSION_MEMORY);
    return request;
}

void server_connection_release(struct server_connection *connection)
{
    if (atomic_fetch_sub(&connection->references, 1) == 1)
        free(connection);
}

void server_request_hold(struct server_request *request)
{
    atomic_fetch_add(&request->references, 1);
}

/* Nobody works on it any more: what it held of the server goes back. */
static void settle(struct server_request *request)
{
    struct server *server = request->server;
    server_auth_leave(server->auth, &request->caller,
                      request->body.capacity <= KEEP && request->out.capacity <= 4 * KEEP);
    atomic_fetch_sub_explicit(&server->bytes, request->charged, memory_order_relaxed);
    request->charged = 0;
    if (request->counted && atomic_fetch_sub(&server->in_flight, 1) == 1 &&
        atomic_load(&server->stopping))
        server_wake(server);
    request->counted = false;
}

void server_request_release(struct server_request *request)
{
    if (atomic_fetch_sub(&request->references, 1) != 1)
        return;
    settle(request);
    poly_buffer_release(&request->uri);
    poly_buffer_release(&request->own);
    poly_buffer_release(&request->body);
    poly_buffer_release(&request->out);
    server_stream_free(request->stream);
    server_connection_release(request->connection);
    free(request);
}

enum poly_status server_request_charge(struct server_request *request, size_t n)
{
    struct server *server = request->server;
    size_t held = atomic_fetch_add_explicit(&server->bytes, n, memory_order_relaxed);
    request->charged += n;
    if (held + n <= POLY_MAX_SERVER_BYTES)
        return POLY_OK;
    request->retry_s = 1;
    return poly_fail(&request->error, POLY_LIMIT,
                     "requests under way hold %lu MiB already (POLY_MAX_SERVER_BYTES); try again",
                     POLY_MAX_SERVER_BYTES >> 20);
}

static void write_log(struct server_request *request, int64_t microseconds, bool complete)
{
    const struct api_operation *operation = request->api.operation;
    struct server_line line;

    server_line_start(&line, request->http >= 500 ? SERVER_WARN : SERVER_INFO, "request");
    server_line_text(&line, "method", request->method == NULL ? "" : request->method);
    server_line_text(&line, "operation", operation == NULL ? "none" : operation->name);
    server_line_number(&line, "status", (uint64_t)request->http);
    server_line_number(&line, "us", (uint64_t)microseconds);
    server_line_number(&line, "bytes", request->sent);
    server_line_text(&line, "request", request->id);
    server_line_text(&line, "key", request->caller.key == NULL ? "" : request->caller.key);
    server_line_text(&line, "tenant", request->caller.tenant == NULL ? "" : request->caller.tenant);
    if (!complete)
        server_line_text(&line, "end", "cut");
    server_line_text(&line, "path", request->path == NULL ? "" : request->path);
    if (request->http >= 500)
        server_line_text(&line, "error", request->error.message);
    server_log_add(request->server->log, &line);
}

static void keep_small(struct poly_buffer *buffer)
{
    size_t max = buffer->max;
    if (buffer->capacity <= KEEP) {
        poly_buffer_clear(buffer);
    } else {
        poly_buffer_release(buffer);
        poly_buffer_init(buffer, max);
    }
}

static void make_new(struct server_request *request)
{
    settle(request);
    keep_small(&request->uri);
    keep_small(&request->own);
    keep_small(&request->body);
    keep_small(&request->out);
    server_stream_free(request->stream);
    request->stream = NULL;
    request->mhd = NULL;
    request->path = request->method = request->kind = NULL;
    memset(&request->api, 0, sizeof(request->api));
    memset(&request->headers, 0, sizeof(request->headers));
    memset(&request->head, 0, sizeof(request->head));
    request->begun = request->rejected = false;
    request->error.status = POLY_OK;
    request->error.message[0] = '\0';
    request->error.position = -1;
    request->unsent = POLY_OK;
    request->refused = 0;
    request->retry_s = 0;
    request->allow[0] = '\0';
    request->http = 0;
    request->sent = 0;
    request->id[0] = '\0';
    atomic_store(&request->phase, SERVER_NEW);
}

void server_request_finish(struct server_request *request, bool complete)
{
    struct server_connection *connection = request->connection;
    int phase = atomic_load(&request->phase);

    server_watch_within(&connection->watched, POLY_IDLE_TIMEOUT_MS);
    atomic_store(&connection->watched.asleep, false);
    atomic_store(&connection->watched.idle, true);
    if (phase != SERVER_NEW) {
        int64_t us = poly_clock_monotonic() - request->started;
        server_metrics_count(request->server->metrics, request->api.operation, request->http, us);
        write_log(request, us, complete);
    }
    if (request->stream != NULL)
        server_stream_abandon(request->stream);
    if (atomic_fetch_sub(&request->references, 1) == 1) {
        atomic_store(&request->references, 1);
        make_new(request);
    } else {
        connection->request = NULL; /* the worker frees it */
    }
}
