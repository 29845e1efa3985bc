/*
 * From libmicrohttpd's view of a request to an api_request. Headers are walked
 * once; values are not copied: they live in the connection's pool until the
 * answer has been sent.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/random.h"
#include "base/utf8.h"
#include "server/rate.h"
#include "server/request.h"

static bool refuse(struct server_request *request, int http, const char *kind)
{
    request->refused = http;
    request->kind = kind;
    return false;
}

/* --- headers --- */

static bool is(const char *name, size_t size, const char *known, size_t known_size)
{
    return size == known_size && strncasecmp(name, known, size) == 0;
}

/* How long the body is must be said once, in one way: proxies in front may read another of them. */
static void read_length(struct server_headers *headers, const char *value)
{
    char *end;
    if (headers->length_given || headers->chunked)
        headers->malformed = true;
    headers->length_given = true;
    errno = 0;
    headers->content_length = strtoull(value, &end, 10);
    if (errno != 0 || *end != '\0' || value[0] < '0' || value[0] > '9')
        headers->malformed = true;
}

static void read_coding(struct server_headers *headers, const char *value)
{
    if (headers->length_given || headers->chunked || strcasecmp(value, "chunked") != 0)
        headers->malformed = true;
    headers->chunked = true;
}

static bool is_name(const char *name, size_t size)
{
    static const bool allowed[256] = {
        ['A' ... 'Z'] = true, ['a' ... 'z'] = true, ['0' ... '9'] = true, ['!'] = true,
        ['#' ... '\''] = true, ['*'] = true, ['+'] = true, ['-'] = true, ['.'] = true,
        ['^' ... '`'] = true, ['|'] = true, ['~'] = true};

    for (size_t i = 0; i < size; i++)
        if (!allowed[(unsigned char)name[i]])
            return false;
    return size > 0;
}

/* What decides who asks for what comes once. */
static void read_once(struct server_headers *headers, const char **place, const char *value)
{
    if (*place != NULL || !poly_utf8_valid(value, strlen(value)))
        headers->malformed = true;
    *place = value;
}

static enum MHD_Result read_header(void *arg, enum MHD_ValueKind kind, const char *name,
                                   size_t size, const char *value, size_t value_size)
{
    struct server_request *request = arg;
    struct server_headers *headers = &request->headers;
    struct api_request *api = &request->api;

    (void)kind;
    headers->size += size + value_size + 4;
    if (value == NULL || strlen(value) != value_size || !is_name(name, size)) {
        headers->malformed = true;
        return MHD_NO;
    }
#define IS(known) is(name, size, known, sizeof(known) - 1)
    if (IS("Authorization"))
        read_once(headers, &headers->authorization, value);
    else if (IS("Polystore-Token"))
        read_once(headers, &api->token, value);
    else if (IS("Polystore-Consistency"))
        read_once(headers, &api->consistency, value);
    else if (IS("Polystore-Tenant"))
        read_once(headers, &headers->tenant, value);
    else if (IS("Polystore-Request-Id"))
        read_once(headers, &headers->request_id, value);
    else if (IS("Idempotency-Key"))
        read_once(headers, &api->idempotency_key, value);
    else if (IS("If-Match"))
        read_once(headers, &api->if_match, value);
    else if (IS("If-None-Match"))
        read_once(headers, &api->if_none_match, value);
    else if (IS("Last-Event-ID"))
        read_once(headers, &api->last_event_id, value);
    else if (IS("Content-Length"))
        read_length(headers, value);
    else if (IS("Transfer-Encoding"))
        read_coding(headers, value);
    else if (IS("Host"))
        read_once(headers, &headers->host, value);
#undef IS
    return MHD_YES;
}

static bool is_id(const char *text)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                  "0123456789-_.:";
    size_t size = strspn(text, allowed);
    return size > 0 && size <= POLY_MAX_REQUEST_ID && text[size] == '\0';
}

/* The client's own where it has one; else "<this process>-<number>". */
static void name_request(struct server_request *request)
{
    static const char hex[] = "0123456789abcdef";
    static _Atomic uint64_t process, count;
    uint64_t p = atomic_load_explicit(&process, memory_order_relaxed);
    uint64_t n = atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);

    if (request->headers.request_id != NULL && is_id(request->headers.request_id)) {
        request->api.correlation = request->headers.request_id;
        memcpy(request->id, request->headers.request_id, strlen(request->headers.request_id) + 1);
        return;
    }
    while (p == 0) {
        uint64_t fresh, none = 0;
        poly_random(&fresh, sizeof(fresh));
        atomic_compare_exchange_strong(&process, &none, fresh | 1);
        p = atomic_load(&process);
    }
    for (int i = 0; i < 8; i++)
        request->id[i] = hex[p >> (4 * i + 8) & 15];
    request->id[8] = '-';
    for (int i = 0; i < 10; i++)
        request->id[9 + i] = hex[n >> (36 - 4 * i) & 15];
    request->id[19] = '\0';
}

static bool check_headers(struct server_request *request)
{
    const struct server_headers *headers = &request->headers;

    if (headers->malformed) {
        poly_fail(&request->error, POLY_INVALID, "a header is malformed, or comes again");
        return refuse(request, MHD_HTTP_BAD_REQUEST, "malformed-header");
    }
    if (headers->size + request->uri.size - strlen(request->path) > POLY_MAX_HTTP_HEADER) {
        poly_fail(&request->error, POLY_LIMIT, "the headers are larger than %d bytes "
                  "(POLY_MAX_HTTP_HEADER)", POLY_MAX_HTTP_HEADER);
        return refuse(request, MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE, "headers-too-large");
    }
    if (headers->content_length > request->server->settings.body_max) {
        poly_fail(&request->error, POLY_LIMIT, "the body is larger than %zu KiB (limits.body)",
                  request->server->settings.body_max >> 10);
        return refuse(request, MHD_HTTP_CONTENT_TOO_LARGE, "body-too-large");
    }
    return true;
}

/* --- what is asked for, and by whom --- */

static bool find_operation(struct server_request *request, char *path)
{
    struct api_request *api = &request->api;
    const char *method = strcmp(request->method, "HEAD") == 0 ? "GET" : request->method;
    bool other_method = false;

    api->operation = api_route(method, path, request->parameters, API_PARAMETERS_MAX,
                               &api->parameter_count, &other_method);
    api->parameters = request->parameters;
    if (api->operation != NULL)
        return true;
    if (!other_method) {
        poly_fail(&request->error, POLY_NOT_FOUND, "there is no '%.200s'; GET /openapi.json has "
                  "what there is", request->path);
        return false;
    }
    api_allowed(request->path, request->allow, sizeof(request->allow));
    poly_fail(&request->error, POLY_INVALID, "'%.200s' does not take %.16s, but %s", request->path,
              request->method, request->allow);
    return refuse(request, MHD_HTTP_METHOD_NOT_ALLOWED, "method-not-allowed");
}

static bool find_caller(struct server_request *request)
{
    const struct server_headers *headers = &request->headers;
    const struct api_operation *operation = request->api.operation;
    struct server *server = request->server;
    struct server_credentials credentials = {
        .authorization = headers->authorization,
        .tenant = headers->tenant,
        .status = operation != NULL && (operation->flags & API_STATUS) != 0,
    };
    bool unknown = false;
    enum poly_status status;

    status = server_auth_enter(server->auth, &credentials, &request->caller, &unknown,
                               &request->error);
    if (status == POLY_OK)
        return true;
    return unknown ? refuse(request, MHD_HTTP_UNAUTHORIZED, "unauthorized") : false;
}

static bool check_parameters(struct server_request *request, char *query)
{
    struct api_request *api = &request->api;
    uint32_t rows_max = request->server->settings.rows_max;

    if (api_query(query, request->parameters, API_PARAMETERS_MAX, &api->parameter_count,
                  &request->error) != POLY_OK)
        return false;
    for (size_t i = 0; i < api->parameter_count && rows_max > 0; i++)
        if (strcmp(api->parameters[i].name, "limit") == 0 && api->parameters[i].value[0] != '-' &&
            strtoull(api->parameters[i].value, NULL, 10) > rows_max) {
            poly_fail(&request->error, POLY_LIMIT, "limit %.20s: at most %u rows (limits.rows)",
                      api->parameters[i].value, rows_max);
            return false;
        }
    return true;
}

static bool admit(struct server_request *request)
{
    struct server *server = request->server;

    if (atomic_load_explicit(&server->stopping, memory_order_relaxed)) {
        request->retry_s = 1;
        poly_fail(&request->error, POLY_UNAVAILABLE, "the daemon is shutting down");
        return false;
    }
    return server_rate_take(server->rate, request->caller.tenant, request->started,
                            &request->retry_s, &request->error) == POLY_OK;
}

bool server_request_read(struct server_request *request, const char *method)
{
    struct api_request *api = &request->api;
    char *path, *query;
    bool found;

    request->method = method;
    request->started = poly_clock_monotonic();
    MHD_get_connection_values_n(request->mhd, MHD_HEADER_KIND, read_header, request);
    name_request(request);
    if (!poly_buffer_ok(&request->uri) || request->uri.size == 0) {
        poly_no_memory(&request->error);
        return false;
    }
    request->path = request->uri.data;
    path = request->uri.data + strlen(request->uri.data) + 1;
    query = path + strlen(path) + 1;
    api->instance = request->path;
    if (!check_headers(request))
        return false;
    found = find_operation(request, path);
    if (found && (api->operation->flags & API_OPEN) != 0)
        return server_auth_enter_open(request->server->auth, &request->caller, &request->error) ==
                   POLY_OK &&
               check_parameters(request, query);
    /* Who has no key does not get to know what there is. */
    struct poly_error kept = request->error;
    int refused = request->refused;
    request->refused = 0;
    if (!find_caller(request))
        return false;
    request->error = kept;
    request->refused = refused;
    return found && admit(request) && check_parameters(request, query);
}

/* --- for workers --- */

static size_t keep(struct server_request *request, const char *value)
{
    size_t at = request->own.size;
    if (value != NULL)
        poly_buffer_add(&request->own, value, strlen(value) + 1);
    return at;
}

static void point(struct server_request *request, const char **value, size_t at)
{
    if (*value != NULL)
        *value = request->own.data + at;
}

enum poly_status server_request_own(struct server_request *request)
{
    struct api_request *api = &request->api;
    const char **const values[] = {&api->token,         &api->consistency,   &api->idempotency_key,
                                   &api->if_match,      &api->if_none_match, &api->last_event_id,
                                   &api->correlation,   &request->method};
    enum { COUNT = sizeof(values) / sizeof(values[0]) };
    size_t at[COUNT];

    for (size_t i = 0; i < COUNT; i++)
        at[i] = keep(request, *values[i]);
    if (!poly_buffer_ok(&request->own))
        return poly_no_memory(&request->error);
    for (size_t i = 0; i < COUNT; i++)
        point(request, values[i], at[i]);
    return POLY_OK;
}
