/*
 * The road to a daemon: one libcurl handle, so that connections stay open
 * between requests. Method and path come from the table of operations.
 */
#include "cli/client.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/operations.h"
#include "base/status.h"
#include "cli/cli.h"

enum { CONNECT_S = 10, ERROR_MAX = 64 * 1024 };

static const size_t url_max = (size_t)1024 * 1024;

struct cli_remote {
    CURL *curl;
    char *url, *key, *tenant, *ca;
    bool pinned;
    char reason[CURL_ERROR_SIZE];
};

/* One exchange. */
struct exchange {
    struct cli_remote *remote;
    const struct cli_request *request;
    struct cli_answer *answer;
    struct poly_buffer url, problem;
    struct curl_slist *headers;
    bool no_memory, stopped;
};

static char *copy(const char *text)
{
    return text == NULL ? NULL : strdup(text);
}

void cli_remote_close(struct cli_remote *remote)
{
    if (remote == NULL)
        return;
    curl_easy_cleanup(remote->curl);
    free(remote->url);
    free(remote->key);
    free(remote->tenant);
    free(remote->ca);
    free(remote);
}

static void start_curl(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

enum poly_status cli_remote_open(const struct cli_target *target, struct cli_remote **remote,
                                 struct poly_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct cli_remote *made;

    if (strncmp(target->url, "http://", 7) != 0 && strncmp(target->url, "https://", 8) != 0)
        return poly_fail(err, POLY_INVALID, "server '%s': must begin with http:// or https://",
                         target->url);
    pthread_once(&once, start_curl);
    made = calloc(1, sizeof(*made));
    if (made == NULL)
        return poly_no_memory(err);
    made->curl = curl_easy_init();
    made->url = copy(target->url);
    made->key = copy(target->key);
    made->tenant = copy(target->tenant);
    made->ca = copy(target->ca);
    made->pinned = target->pinned;
    if (made->curl == NULL || made->url == NULL || (made->key == NULL) != (target->key == NULL) ||
        (made->tenant == NULL) != (target->tenant == NULL) ||
        (made->ca == NULL) != (target->ca == NULL)) {
        cli_remote_close(made);
        return poly_no_memory(err);
    }
    for (size_t size = strlen(made->url); size > 0 && made->url[size - 1] == '/'; size--)
        made->url[size - 1] = '\0';
    *remote = made;
    return POLY_OK;
}

enum poly_status cli_remote_clone(const struct cli_remote *remote, struct cli_remote **clone,
                                  struct poly_error *err)
{
    struct cli_target target = {remote->url, remote->key, remote->tenant, remote->ca,
                                remote->pinned};

    return cli_remote_open(&target, clone, err);
}

/* --- the request --- */

static void add_encoded(struct poly_buffer *url, const char *text)
{
    static const char plain[] = "-._~";

    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
            strchr(plain, c) != NULL)
            poly_buffer_char(url, (char)c);
        else
            poly_buffer_printf(url, "%%%02X", c);
    }
}

static const char *parameter(const struct cli_request *request, const char *name, size_t size)
{
    for (size_t i = 0; i < request->parameter_count; i++)
        if (strncmp(request->parameters[i].name, name, size) == 0 &&
            request->parameters[i].name[size] == '\0')
            return request->parameters[i].value;
    return "";
}

static bool in_path(const struct api_operation *operation, const char *name)
{
    const struct api_field *field = operation->parameters;

    for (; field != NULL && field->name != NULL; field++)
        if (strcmp(field->name, name) == 0)
            return (field->flags & API_IN_PATH) != 0;
    return false;
}

/* "/v1/records/{domain}/{key}" and the rest as query. */
static void add_url(struct exchange *exchange, const struct api_operation *operation)
{
    const struct cli_request *request = exchange->request;
    struct poly_buffer *url = &exchange->url;
    char separator = '?';

    poly_buffer_text(url, exchange->remote->url);
    for (const char *at = operation->path; *at != '\0'; at++) {
        if (*at != '{') {
            poly_buffer_char(url, *at);
            continue;
        }
        size_t size = strcspn(at, "}");

        add_encoded(url, parameter(request, at + 1, size - 1));
        at += size;
    }
    for (size_t i = 0; i < request->parameter_count; i++) {
        if (in_path(operation, request->parameters[i].name))
            continue;
        poly_buffer_char(url, separator);
        add_encoded(url, request->parameters[i].name);
        poly_buffer_char(url, '=');
        add_encoded(url, request->parameters[i].value);
        separator = '&';
    }
}

static void add_header(struct exchange *exchange, const char *name, const char *value)
{
    struct poly_buffer line;

    if (value == NULL)
        return;
    poly_buffer_init(&line, 8192);
    poly_buffer_text(&line, name);
    poly_buffer_text(&line, ": ");
    /* A line break would be another header. */
    for (; *value != '\0'; value++)
        poly_buffer_char(&line, (unsigned char)*value < 0x20 ? ' ' : *value);

    struct curl_slist *list =
        poly_buffer_ok(&line) ? curl_slist_append(exchange->headers, line.data) : NULL;

    if (list == NULL)
        exchange->no_memory = true;
    else
        exchange->headers = list;
    poly_buffer_release(&line);
}

static void add_headers(struct exchange *exchange, const struct api_operation *operation)
{
    const struct cli_request *request = exchange->request;
    char bearer[300];

    if (exchange->remote->key != NULL) {
        snprintf(bearer, sizeof(bearer), "Bearer %s", exchange->remote->key);
        add_header(exchange, "Authorization", bearer);
    }
    add_header(exchange, "Polystore-Tenant", exchange->remote->tenant);
    add_header(exchange, "Polystore-Token", request->token);
    add_header(exchange, "Polystore-Consistency", request->consistency);
    add_header(exchange, "Idempotency-Key", request->idempotency_key);
    add_header(exchange, "If-Match", request->if_match);
    add_header(exchange, "If-None-Match", request->if_none_match);
    add_header(exchange, "Last-Event-ID", request->last_event_id);
    if (request->body != NULL)
        add_header(exchange, "Content-Type",
                   (operation->flags & API_LINES) != 0 ? "application/x-ndjson"
                                                       : "application/json");
    add_header(exchange, "Expect", "");
}

/* --- the answer --- */

static long http_of(struct exchange *exchange)
{
    long http = 0;

    curl_easy_getinfo(exchange->remote->curl, CURLINFO_RESPONSE_CODE, &http);
    return http;
}

static size_t take_bytes(char *bytes, size_t one, size_t size, void *arg)
{
    struct exchange *exchange = arg;

    (void)one;
    if (http_of(exchange) >= 400) {
        poly_buffer_add(&exchange->problem, bytes, size);
        return size;
    }
    if (cli_answer_add(exchange->request, exchange->answer, bytes, size))
        return size;
    exchange->stopped = true;
    return 0;
}

/* The value of a header line; NULL: it is another header. */
static const char *value_of(char *line, size_t size, const char *name, char *value, size_t room)
{
    size_t length = strlen(name), used = 0;

    if (size <= length || strncasecmp(line, name, length) != 0 || line[length] != ':')
        return NULL;
    for (size_t i = length + 1; i < size && used + 1 < room; i++)
        if ((unsigned char)line[i] > ' ' && line[i] != '"')
            value[used++] = line[i];
    value[used] = '\0';
    return value;
}

static size_t take_header(char *line, size_t one, size_t size, void *arg)
{
    struct exchange *exchange = arg;
    char value[48];

    (void)one;
    if (value_of(line, size, "Polystore-Token", value, sizeof(value)) != NULL)
        memcpy(exchange->answer->token, value, sizeof(value));
    else if (value_of(line, size, "Polystore-Stale", value, sizeof(value)) != NULL)
        exchange->answer->stale = strcmp(value, "true") == 0;
    else if (value_of(line, size, "ETag", value, sizeof(value)) != NULL)
        exchange->answer->version = strtoull(value, NULL, 10);
    return size;
}

static int watch(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    struct exchange *exchange = arg;

    (void)a, (void)b, (void)c, (void)d;
    if (cli_interrupted())
        exchange->stopped = true;
    return exchange->stopped ? 1 : 0;
}

static void set_up(struct exchange *exchange, const struct api_operation *operation)
{
    CURL *curl = exchange->remote->curl;
    const struct cli_request *request = exchange->request;

    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, exchange->url.data);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, operation->method);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, exchange->headers);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, exchange->remote->reason);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, exchange);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, exchange);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, watch);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, exchange);
    if (exchange->remote->ca != NULL)
        curl_easy_setopt(curl, CURLOPT_CAINFO, exchange->remote->ca);
    if (exchange->remote->pinned)
        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
    if (request->body != NULL || strcmp(operation->method, "POST") == 0) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_size);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body == NULL ? "" : request->body);
    }
}

static enum poly_status finish(struct exchange *exchange, CURLcode code, struct poly_error *err)
{
    const char *url = exchange->remote->url;
    long http = http_of(exchange);

    if (!poly_buffer_ok(&exchange->answer->body))
        return poly_fail(err, POLY_LIMIT, "the answer is larger than memory allows; ask for pages");
    if (exchange->stopped)
        return POLY_OK;
    if (code == CURLE_OPERATION_TIMEDOUT)
        return poly_fail(err, POLY_TIMEOUT, "server '%s': no answer in time", url);
    if (code != CURLE_OK)
        return poly_fail(err, POLY_UNAVAILABLE, "server '%s': %s", url,
                         exchange->remote->reason[0] == '\0' ? curl_easy_strerror(code)
                                                             : exchange->remote->reason);
    if (http < 400)
        return POLY_OK;
    return cli_problem(exchange->problem.data, exchange->problem.size, (int)http, err);
}

enum poly_status cli_remote_call(struct cli_remote *remote, const struct cli_request *request,
                                 struct cli_answer *answer, struct poly_error *err)
{
    const struct api_operation *operation = api_find(request->operation);
    struct exchange exchange = {.remote = remote, .request = request, .answer = answer};
    enum poly_status status;

    if (operation == NULL)
        return poly_fail(err, POLY_INTERNAL, "there is no operation '%s'", request->operation);
    poly_buffer_init(&exchange.url, url_max);
    poly_buffer_init(&exchange.problem, ERROR_MAX);
    add_url(&exchange, operation);
    add_headers(&exchange, operation);
    if (exchange.no_memory || !poly_buffer_ok(&exchange.url)) {
        status = poly_no_memory(err);
    } else {
        remote->reason[0] = '\0';
        set_up(&exchange, operation);
        status = finish(&exchange, curl_easy_perform(remote->curl), err);
    }
    curl_slist_free_all(exchange.headers);
    poly_buffer_release(&exchange.url);
    poly_buffer_release(&exchange.problem);
    return status;
}
