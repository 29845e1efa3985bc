/*
 * Answers. Bodies are not copied: they stay in the request's buffer until
 * libmicrohttpd is done with them, which is before the request is used again.
 */
#include <stdio.h>
#include <string.h>

#include "server/request.h"

static void add(struct MHD_Response *response, const char *name, const char *value)
{
    (void)MHD_add_response_header(response, name, value); /* without memory: one header less */
}

static void add_number(struct MHD_Response *response, const char *name, const char *quote,
                       uint64_t number)
{
    char text[32], *at = text + sizeof(text) - 1;
    *at = '\0';
    if (quote[0] != '\0')
        *--at = quote[0];
    do {
        *--at = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    if (quote[0] != '\0')
        *--at = quote[0];
    add(response, name, at);
}

static void add_headers(struct server_request *request, struct MHD_Response *response)
{
    const struct api_head *head = &request->head;

    if (head->content_type != NULL)
        add(response, "Content-Type", head->content_type);
    add(response, "Polystore-Request-Id", request->id);
    if (head->token[0] != '\0')
        add(response, "Polystore-Token", head->token);
    if (head->version != 0)
        add_number(response, "ETag", "\"", head->version);
    if (head->applied != 0)
        add_number(response, "Polystore-Applied", "", head->applied);
    if (head->stale)
        add(response, "Polystore-Stale", "true");
    if (request->retry_s != 0)
        add_number(response, "Retry-After", "", request->retry_s);
    if (request->refused == MHD_HTTP_METHOD_NOT_ALLOWED)
        add(response, "Allow", request->allow);
    if (request->refused == MHD_HTTP_UNAUTHORIZED)
        add(response, "WWW-Authenticate", "Bearer realm=\"polystore\"");
    if (request->headers.malformed ||
        atomic_load_explicit(&request->server->stopping, memory_order_relaxed))
        add(response, "Connection", "close");
}

/* A refusal or error becomes the answer. */
static void print_problem(struct server_request *request)
{
    const struct poly_error *error = &request->error;

    poly_buffer_clear(&request->out);
    memset(&request->head, 0, sizeof(request->head));
    request->head.content_type = "application/problem+json";
    if (request->refused != 0) {
        request->head.http = request->refused;
        api_problem_http(&request->out, request->refused, request->kind, error->message,
                         request->path);
    } else {
        request->head.http = poly_status_http(error->status);
        api_problem(&request->out, error, request->path);
    }
    if (request->retry_s == 0 &&
        (error->status == POLY_UNAVAILABLE || error->status == POLY_LIMIT) && request->refused == 0)
        request->retry_s = 1;
}

static enum MHD_Result queue(struct server_request *request, struct MHD_Response *response)
{
    enum MHD_Result queued;

    if (response == NULL)
        return MHD_NO;
    add_headers(request, response);
    request->http = request->head.http;
    atomic_store(&request->phase, SERVER_ANSWERED);
    queued = MHD_queue_response(request->mhd, (unsigned)request->http, response);
    MHD_destroy_response(response);
    return queued;
}

enum MHD_Result server_request_answer(struct server_request *request)
{
    struct server_watched *watched = &request->connection->watched;
    static char nothing[1];
    size_t size;

    if (!request->begun)
        print_problem(request);
    size = request->out.size;
    request->sent = size;
    atomic_store(&watched->asleep, false);
    /* A client must take at least 64 KiB a second. */
    server_watch_within(watched, POLY_STALL_TIMEOUT_MS + (int64_t)(size >> 6));
    return queue(request, MHD_create_response_from_buffer(size, size == 0 ? nothing
                                                                          : request->out.data,
                                                          MHD_RESPMEM_PERSISTENT));
}

static ssize_t read_stream(void *arg, uint64_t position, char *bytes, size_t max)
{
    struct server_request *request = arg;
    ssize_t n = server_stream_read(request->stream, position, bytes, max);
    if (n > 0)
        request->sent += (uint64_t)n;
    return n;
}

enum MHD_Result server_request_stream(struct server_request *request)
{
    enum { BLOCK = 16 * 1024 };
    return queue(request, MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, read_stream,
                                                            request, NULL));
}
