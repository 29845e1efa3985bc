/*
 * Two threads with an epoll each. A connection stays with its thread; while
 * somebody else works on its request it is suspended, and costs nothing.
 */
#include "server/http.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/request.h"
#include "server/tls.h"

enum { THREADS = 2 };

/* An answer before the body has come makes libmicrohttpd close the connection: without a body, one
 * waits for the call that comes after. */
static enum MHD_Result begin(struct server_request *request, struct MHD_Connection *mhd,
                             const char *method)
{
    struct server_connection *connection = request->connection;
    bool read;

    request->mhd = mhd;
    request->counted = true;
    atomic_fetch_add(&request->server->in_flight, 1);
    read = server_request_read(request, method);
    if (!read && (request->headers.content_length > 0 || request->headers.chunked ||
                  request->headers.malformed))
        return server_request_answer(request);
    request->rejected = !read;
    server_watch_within(&connection->watched, request->server->settings.request_timeout_ms);
    atomic_store(&request->phase, SERVER_BODY);
    return MHD_YES;
}

/* Too large a body is read to its end, so that the client gets to see why, up to twice the size. */
static enum MHD_Result take_body(struct server_request *request, const char *data, size_t *size)
{
    size_t max = request->server->settings.body_max;
    size_t n = *size;

    *size = 0;
    request->sent += n; /* how much came, until there is an answer */
    if (request->sent > 2 * max)
        return MHD_NO;
    if (request->rejected)
        return MHD_YES;
    if (request->sent > max) {
        request->rejected = true;
        request->refused = MHD_HTTP_CONTENT_TOO_LARGE;
        request->kind = "body-too-large";
        poly_fail(&request->error, POLY_LIMIT, "the body is larger than %zu KiB (limits.body)",
                  max >> 10);
        poly_buffer_clear(&request->body);
        return MHD_YES;
    }
    if (server_request_charge(request, n) != POLY_OK) {
        request->rejected = true;
        return MHD_YES;
    }
    poly_buffer_add(&request->body, data, n);
    return MHD_YES;
}

static enum MHD_Result end_body(struct server_request *request)
{
    request->sent = 0;
    if (request->rejected)
        return server_request_answer(request);
    if (!poly_buffer_ok(&request->body)) {
        poly_no_memory(&request->error);
        return server_request_answer(request);
    }
    return server_request_run(request);
}

static enum MHD_Result handle(void *arg, struct MHD_Connection *mhd, const char *url,
                              const char *method, const char *version, const char *data,
                              size_t *size, void **context)
{
    struct server_request *request = *context;

    (void)arg;
    (void)url;
    (void)version;
    if (request == NULL)
        return MHD_NO;
    switch (atomic_load(&request->phase)) {
    case SERVER_NEW:
        return begin(request, mhd, method);
    case SERVER_BODY:
        return *size > 0 ? take_body(request, data, size) : end_body(request);
    case SERVER_READY:
        return server_request_answer(request);
    case SERVER_STREAMING:
        return server_request_stream(request);
    case SERVER_RUNNING:
        return MHD_YES;
    default:
        return MHD_NO;
    }
}

/* --- the life of connections and requests --- */

static struct server_connection *connection_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info == NULL ? NULL : info->socket_context;
}

/* A client gets no more time for its headers than for a whole request. */
static int64_t header_timeout(const struct server *server)
{
    int64_t most = server->settings.request_timeout_ms;
    return most < POLY_HEADER_TIMEOUT_MS ? most : POLY_HEADER_TIMEOUT_MS;
}

/*
 * The path must be seen before libmicrohttpd decodes it: a key may hold a "/" as %2F. The query is
 * taken away from it: it would take it apart a second time, and a client whose query has many
 * parts would get no answer at all before its timeout. uri is in the connection's own memory.
 */
static void *begin_uri(void *arg, const char *uri, struct MHD_Connection *mhd)
{
    struct server_connection *connection = connection_of(mhd);
    struct server_request *request;
    const char *query = strchr(uri, '?');
    size_t path = query == NULL ? strlen(uri) : (size_t)(query - uri);

    (void)arg;
    if (connection == NULL)
        return NULL;
    if (connection->request == NULL)
        connection->request = server_request_new(connection);
    request = connection->request;
    if (request == NULL)
        return NULL;
    server_watch_within(&connection->watched, header_timeout(connection->server));
    atomic_store(&connection->watched.idle, false);
    poly_buffer_add(&request->uri, uri, path);
    poly_buffer_add(&request->uri, "", 1);
    poly_buffer_add(&request->uri, uri, path);
    poly_buffer_add(&request->uri, "", 1);
    poly_buffer_add(&request->uri, query == NULL ? "" : query + 1,
                    query == NULL ? 1 : strlen(query));
    if (query != NULL)
        ((char *)(uintptr_t)query)[1] = '\0';
    return request;
}

static void end_request(void *arg, struct MHD_Connection *mhd, void **context,
                        enum MHD_RequestTerminationCode code)
{
    struct server_request *request = *context;

    (void)arg;
    (void)mhd;
    *context = NULL;
    if (request != NULL)
        server_request_finish(request, code == MHD_REQUEST_TERMINATED_COMPLETED_OK);
}

static void open_connection(struct server *server, struct MHD_Connection *mhd, void **context)
{
    struct server_connection *connection = calloc(1, sizeof(*connection));
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);

    *context = connection;
    if (connection == NULL || info == NULL)
        return; /* its first request is answered by closing it */
    connection->server = server;
    connection->watched.socket = info->connect_fd;
    atomic_init(&connection->references, 1);
    server_watch_within(&connection->watched, header_timeout(server));
    server_watch_add(server->watch, &connection->watched);
    atomic_fetch_add(&server->connections, 1);
}

static void close_connection(struct server *server, struct server_connection *connection)
{
    atomic_fetch_sub(&server->connections, 1);
    server_watch_remove(server->watch, &connection->watched);
    if (connection->request != NULL)
        server_request_release(connection->request);
    server_connection_release(connection);
}

static void notice(void *arg, struct MHD_Connection *mhd, void **context,
                   enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        open_connection(arg, mhd, context);
    else if (*context != NULL)
        close_connection(arg, *context);
}

/* What is decoded, we decode. */
static size_t leave_encoded(void *arg, struct MHD_Connection *mhd, char *text)
{
    (void)arg;
    (void)mhd;
    return strlen(text);
}

/* --- start and stop --- */

enum poly_status server_http_start(struct server *server, int socket, struct poly_error *err)
{
    const struct server_settings *settings = &server->settings;
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC;
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)(uintptr_t)server_tls_pick},
        {MHD_OPTION_END, 0, NULL}};

    if (server->tls == NULL)
        tls[0] = tls[1];
    else
        flags |= MHD_USE_TLS;
    server->http = MHD_start_daemon(
        flags, 0, NULL, NULL, handle, server, MHD_OPTION_LISTEN_SOCKET, socket,
        MHD_OPTION_THREAD_POOL_SIZE, (unsigned)THREADS, MHD_OPTION_CONNECTION_LIMIT,
        settings->connections_max, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        (unsigned)POLY_MAX_PER_ADDRESS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)POLY_MAX_HTTP_POOL, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)(2 * POLY_IDLE_TIMEOUT_MS / 1000), MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_NOTIFY_COMPLETED, end_request, server, MHD_OPTION_NOTIFY_CONNECTION, notice,
        server, MHD_OPTION_URI_LOG_CALLBACK, begin_uri, server, MHD_OPTION_UNESCAPE_CALLBACK,
        leave_encoded, server, MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
    if (server->http != NULL)
        return POLY_OK;
    return poly_fail(err, POLY_UNAVAILABLE, "HTTP cannot start: %s", strerror(errno));
}

void server_http_quiesce(struct server *server)
{
    (void)MHD_quiesce_daemon(server->http);
}

void server_http_stop(struct server *server)
{
    if (server->http != NULL)
        MHD_stop_daemon(server->http);
    server->http = NULL;
}
