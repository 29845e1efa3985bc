/*
 * libcurl does the protocol. Each thread that calls takes a line of its own: a multi handle, which
 * keeps its connections, with the one easy handle that it runs. A multi handle and not
 * curl_easy_perform(), because its waiting can be woken from another thread (curl_multi_wakeup), so
 * that stopping costs no polling, and because the deadline is then ours: it also holds while a name
 * is looked up. The first free line is taken, so that as few connections as possible are in use and
 * each is warm.
 *
 * Redirects are followed here: libcurl would follow them to other hosts, with the headers. What it
 * says of a failure is used only where it knows more than we do (why a certificate is wrong).
 */
#include "net/http.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/clock.h"
#include "base/limits.h"

enum { CONNECT_MS = 2000, HOPS = 3, ORIGIN = 300, WAIT_MS = 3600000, IDLE_CONNECTIONS = 2 };

static const int64_t second = 1000000;
static const int64_t longest_retry = INT64_C(86400) * 1000000;

struct line {
    CURLM *multi;
    CURL *curl;
    bool busy;
    char reason[CURL_ERROR_SIZE];
};

struct poly_http {
    pthread_mutex_t lock; /* of the lines' multi, curl and busy */
    pthread_cond_t changed;
    atomic_bool stopped;
    char *ca;
    long connect_ms;
    struct line lines[POLY_MAX_HTTP_CALLS];
};

/* One request and its answer. */
struct call {
    struct poly_http *http;
    const struct poly_http_request *request;
    struct poly_http_answer *answer;
    struct line *line;
    struct curl_slist *headers;
    char origin[ORIGIN]; /* scheme://host:port */
    bool enough;         /* of an error's body */
};

/* --- the client --- */

static void start_curl(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static void ready(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, start_curl);
}

enum poly_status poly_http_open(const struct poly_http_options *options, struct poly_http **http,
                                struct poly_error *err)
{
    struct poly_http *made = calloc(1, sizeof(*made));
    pthread_condattr_t monotonic;

    ready();
    if (made == NULL)
        return poly_no_memory(err);
    made->connect_ms = options->connect_ms > 0 ? options->connect_ms : CONNECT_MS;
    if (options->ca_file != NULL && (made->ca = strdup(options->ca_file)) == NULL) {
        free(made);
        return poly_no_memory(err);
    }
    pthread_mutex_init(&made->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&made->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    *http = made;
    return POLY_OK;
}

void poly_http_close(struct poly_http *http)
{
    if (http == NULL)
        return;
    for (int i = 0; i < POLY_MAX_HTTP_CALLS; i++) {
        curl_easy_cleanup(http->lines[i].curl);
        curl_multi_cleanup(http->lines[i].multi);
    }
    pthread_cond_destroy(&http->changed);
    pthread_mutex_destroy(&http->lock);
    free(http->ca);
    free(http);
}

void poly_http_stop(struct poly_http *http)
{
    pthread_mutex_lock(&http->lock);
    atomic_store(&http->stopped, true);
    for (int i = 0; i < POLY_MAX_HTTP_CALLS; i++)
        if (http->lines[i].busy)
            curl_multi_wakeup(http->lines[i].multi);
    pthread_cond_broadcast(&http->changed);
    pthread_mutex_unlock(&http->lock);
}

bool poly_http_stopped(const struct poly_http *http)
{
    return atomic_load(&http->stopped);
}

/* With the lock; -1: without an end. False: the time has come. */
static bool wait_change(struct poly_http *http, int64_t until)
{
    struct timespec time = {until / second, until % second * 1000};

    if (until < 0)
        return pthread_cond_wait(&http->changed, &http->lock) == 0;
    return pthread_cond_timedwait(&http->changed, &http->lock, &time) == 0;
}

bool poly_http_pause(struct poly_http *http, int64_t until)
{
    pthread_mutex_lock(&http->lock);
    while (!poly_http_stopped(http) && poly_clock_monotonic() < until)
        wait_change(http, until);
    pthread_mutex_unlock(&http->lock);
    return !poly_http_stopped(http);
}

static enum poly_status fail_stopped(struct poly_error *err)
{
    return poly_fail(err, POLY_UNAVAILABLE, "the request was stopped");
}

/* --- lines --- */

static struct line *free_line(struct poly_http *http)
{
    for (int i = 0; i < POLY_MAX_HTTP_CALLS; i++)
        if (!http->lines[i].busy)
            return &http->lines[i];
    return NULL;
}

static bool make_line(struct line *line)
{
    if (line->multi == NULL && (line->multi = curl_multi_init()) != NULL)
        curl_multi_setopt(line->multi, CURLMOPT_MAXCONNECTS, (long)IDLE_CONNECTIONS);
    if (line->curl == NULL)
        line->curl = curl_easy_init();
    return line->multi != NULL && line->curl != NULL;
}

static enum poly_status take_line(struct call *call, struct poly_error *err)
{
    struct poly_http *http = call->http;
    int64_t deadline = call->request->deadline;
    enum poly_status status = POLY_OK;
    struct line *line;
    bool in_time = true;

    pthread_mutex_lock(&http->lock);
    while ((line = free_line(http)) == NULL && in_time && !poly_http_stopped(http))
        in_time = wait_change(http, deadline);
    if (poly_http_stopped(http))
        status = fail_stopped(err);
    else if (line == NULL)
        status =
            poly_fail(err, POLY_TIMEOUT, "%d requests to '%s' are under way, none ended in time",
                      POLY_MAX_HTTP_CALLS, call->origin);
    else if (!make_line(line))
        status = poly_no_memory(err);
    if (status == POLY_OK) {
        line->busy = true;
        call->line = line;
    }
    pthread_mutex_unlock(&http->lock);
    return status;
}

static void give_line(struct call *call)
{
    curl_easy_reset(call->line->curl); /* nothing of this request stays, the connections do */
    pthread_mutex_lock(&call->http->lock);
    call->line->busy = false;
    pthread_cond_broadcast(&call->http->changed);
    pthread_mutex_unlock(&call->http->lock);
}

/* --- the address --- */

/* The part of an address, or NULL. */
static char *part_of(CURLU *address, CURLUPart part, unsigned flags)
{
    char *text = NULL;

    return curl_url_get(address, part, &text, flags) == CURLUE_OK ? text : NULL;
}

/* The text of the address is never quoted: it may be the one thing that holds a secret. */
static enum poly_status find_origin(const char *url, char origin[ORIGIN], struct poly_error *err)
{
    CURLU *address = curl_url();
    CURLUcode code =
        address == NULL ? CURLUE_OUT_OF_MEMORY : curl_url_set(address, CURLUPART_URL, url, 0);
    char *scheme = NULL, *host = NULL, *port = NULL, *user = NULL, *password = NULL;
    bool good = false;

    if (code == CURLUE_OK) {
        scheme = part_of(address, CURLUPART_SCHEME, 0);
        host = part_of(address, CURLUPART_HOST, 0);
        port = part_of(address, CURLUPART_PORT, CURLU_DEFAULT_PORT);
        user = part_of(address, CURLUPART_USER, 0);
        password = part_of(address, CURLUPART_PASSWORD, 0);
        good = scheme != NULL && host != NULL && port != NULL && user == NULL && password == NULL &&
               (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0) &&
               snprintf(origin, ORIGIN, "%s://%s:%s", scheme, host, port) < ORIGIN;
    }
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_free(user);
    curl_free(password);
    curl_url_cleanup(address);
    if (code == CURLUE_OUT_OF_MEMORY)
        return poly_no_memory(err);
    if (!good)
        return poly_fail(err, POLY_INVALID,
                         "the address of the server must look like https://host:port/path, without "
                         "user and password");
    return POLY_OK;
}

enum poly_status poly_http_check_url(const char *url, struct poly_error *err)
{
    char origin[ORIGIN];

    ready();
    return find_origin(url, origin, err);
}

/* --- the request --- */

static bool has_control(const char *text)
{
    for (; *text != '\0'; text++)
        if (((unsigned char)*text < ' ' && *text != '\t') || *text == 127)
            return true;
    return false;
}

static enum poly_status add_header(struct call *call, const char *name, const char *value,
                                   struct poly_error *err)
{
    size_t size = strlen(name) + strlen(value) + 3;
    struct curl_slist *list = NULL;
    char *line;

    /* A line break would be another header. */
    if (*name == '\0' || has_control(name) || strchr(name, ':') != NULL || has_control(value))
        return poly_fail(err, POLY_INVALID, "the header '%.64s' holds what no header may hold",
                         name);
    line = malloc(size);
    if (line != NULL) {
        snprintf(line, size, *value == '\0' ? "%s;" : "%s: %s", name, value);
        list = curl_slist_append(call->headers, line);
        explicit_bzero(line, size);
        free(line);
    }
    if (list == NULL)
        return poly_no_memory(err);
    call->headers = list;
    return POLY_OK;
}

/* Takes away one that libcurl would add of its own accord. */
static enum poly_status drop_header(struct call *call, const char *line, struct poly_error *err)
{
    struct curl_slist *list = curl_slist_append(call->headers, line);

    if (list == NULL)
        return poly_no_memory(err);
    call->headers = list;
    return POLY_OK;
}

static enum poly_status add_headers(struct call *call, struct poly_error *err)
{
    const struct poly_http_request *request = call->request;
    enum poly_status status = drop_header(call, "Expect:", err);
    bool typed = false;

    for (size_t i = 0; i < request->header_count && status == POLY_OK; i++) {
        status = add_header(call, request->headers[i].name, request->headers[i].value, err);
        typed = typed || strcasecmp(request->headers[i].name, "Content-Type") == 0;
    }
    if (status == POLY_OK && !typed)
        status = drop_header(call, "Content-Type:", err);
    return status;
}

/* They may hold a secret. */
static void free_headers(struct curl_slist *headers)
{
    for (struct curl_slist *one = headers; one != NULL; one = one->next)
        explicit_bzero(one->data, strlen(one->data));
    curl_slist_free_all(headers);
}

/* --- the answer --- */

void poly_http_answer_init(struct poly_http_answer *answer, size_t max)
{
    answer->status = 0;
    poly_buffer_init(&answer->headers, POLY_MAX_HTTP_HEADERS);
    poly_buffer_init(&answer->body, max);
}

void poly_http_answer_release(struct poly_http_answer *answer)
{
    poly_buffer_release(&answer->headers);
    poly_buffer_release(&answer->body);
}

static size_t take_header(char *bytes, size_t one, size_t size, void *arg)
{
    struct call *call = arg;

    (void)one;
    /* Those of the last answer count: "100 Continue" may have come first. */
    if (size >= 5 && memcmp(bytes, "HTTP/", 5) == 0)
        poly_buffer_clear(&call->answer->headers);
    poly_buffer_add(&call->answer->headers, bytes, size);
    return poly_buffer_ok(&call->answer->headers) ? size : 0;
}

static size_t take_body(char *bytes, size_t one, size_t size, void *arg)
{
    struct call *call = arg;
    struct poly_buffer *body = &call->answer->body;
    size_t max = body->max < POLY_MAX_HTTP_ERROR ? body->max : POLY_MAX_HTTP_ERROR;
    long status = 0;

    (void)one;
    curl_easy_getinfo(call->line->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status >= 400 && size > max - body->size) {
        poly_buffer_add(body, bytes, max - body->size);
        call->enough = poly_buffer_ok(body);
        return 0;
    }
    poly_buffer_add(body, bytes, size);
    return poly_buffer_ok(body) ? size : 0;
}

bool poly_http_answer_header(const struct poly_http_answer *answer, const char *name,
                             struct poly_text *value)
{
    size_t length = strlen(name);
    const char *at = answer->headers.data, *end, *stop;

    if (answer->headers.size == 0)
        return false;
    end = at + answer->headers.size;
    for (; at < end; at = stop + 1) {
        stop = memchr(at, '\n', (size_t)(end - at));
        stop = stop == NULL ? end : stop;
        if ((size_t)(stop - at) <= length || at[length] != ':' ||
            strncasecmp(at, name, length) != 0)
            continue;

        const char *from = at + length + 1, *to = stop;

        while (from < to && (*from == ' ' || *from == '\t'))
            from++;
        while (to > from && (to[-1] == ' ' || to[-1] == '\t' || to[-1] == '\r'))
            to--;
        *value = (struct poly_text){from, (size_t)(to - from)};
        return true;
    }
    return false;
}

int64_t poly_http_retry_after(const struct poly_http_answer *answer)
{
    struct poly_text value;
    char text[64];
    int64_t seconds;

    if (!poly_http_answer_header(answer, "Retry-After", &value) || value.size == 0 ||
        value.size >= sizeof(text))
        return -1;
    memcpy(text, value.data, value.size);
    text[value.size] = '\0';
    if (strspn(text, "0123456789") == value.size) {
        seconds = value.size > 9 ? longest_retry / second : strtol(text, NULL, 10);
    } else {
        time_t then = curl_getdate(text, NULL);

        if (then < 0)
            return -1;
        seconds = then - time(NULL);
    }
    seconds = seconds < 0 ? 0 : seconds;
    return seconds > longest_retry / second ? longest_retry : seconds * second;
}

/* --- running --- */

static void set_up(struct call *call)
{
    CURL *curl = call->line->curl;
    const struct poly_http_request *request = call->request;

    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L); /* no waiting for a name that is looked up */
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, call->http->connect_ms);
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L);
    if (call->http->ca != NULL)
        curl_easy_setopt(curl, CURLOPT_CAINFO, call->http->ca);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "polystore/" POLY_VERSION);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, call->line->reason);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, call->headers);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, call);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, call);
    if (strcmp(request->method, "HEAD") == 0)
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    if (request->body.data != NULL || strcmp(request->method, "POST") == 0) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.size);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS,
                         request->body.data == NULL ? "" : request->body.data);
    }
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
}

/* Milliseconds to the deadline, rounded up, or to the next look at it; 0: it has passed. */
static int time_left(const struct call *call)
{
    int64_t left;

    if (call->request->deadline < 0)
        return WAIT_MS;
    left = call->request->deadline - poly_clock_monotonic();
    if (left <= 0)
        return 0;
    return left > (int64_t)WAIT_MS * 1000 ? WAIT_MS : (int)((left + 999) / 1000);
}

/* CURLE_OK and not *ended: the deadline passed, or it was stopped. */
static CURLcode run(struct call *call, bool *ended)
{
    CURLM *multi = call->line->multi;
    CURLMcode code = curl_multi_add_handle(multi, call->line->curl);
    CURLcode result = CURLE_OK;
    CURLMsg *message;
    int running = 1, left;

    while (code == CURLM_OK) {
        code = curl_multi_perform(multi, &running);
        left = time_left(call);
        if (code != CURLM_OK || running == 0 || left == 0 || poly_http_stopped(call->http))
            break;
        code = curl_multi_poll(multi, NULL, 0, left, NULL);
    }
    *ended = code != CURLM_OK;
    if (code != CURLM_OK)
        result = code == CURLM_OUT_OF_MEMORY ? CURLE_OUT_OF_MEMORY : CURLE_FAILED_INIT;
    while ((message = curl_multi_info_read(multi, &running)) != NULL)
        if (message->msg == CURLMSG_DONE) {
            result = message->data.result;
            *ended = true;
        }
    curl_multi_remove_handle(multi, call->line->curl);
    return result;
}

/* --- failures, in our words --- */

static enum poly_status fail_answer(const struct call *call, struct poly_error *err)
{
    const struct poly_buffer *headers = &call->answer->headers, *body = &call->answer->body;

    if (headers->failed && headers->over)
        return poly_fail(err, POLY_LIMIT, "'%s' answered with more than %zu bytes of headers",
                         call->origin, headers->max);
    if (body->failed && body->over)
        return poly_fail(err, POLY_LIMIT, "'%s' answered with more than %zu bytes", call->origin,
                         body->max);
    return poly_no_memory(err);
}

static enum poly_status fail_connect(const struct call *call, struct poly_error *err)
{
    long number = 0;

    curl_easy_getinfo(call->line->curl, CURLINFO_OS_ERRNO, &number);
    return poly_fail(err, POLY_UNAVAILABLE, "no connection to '%s': %s", call->origin,
                     number == 0 ? "nobody answers" : strerror((int)number));
}

static enum poly_status fail(const struct call *call, CURLcode code, struct poly_error *err)
{
    const char *reason =
        call->line->reason[0] == '\0' ? curl_easy_strerror(code) : call->line->reason;

    switch (code) {
    case CURLE_OUT_OF_MEMORY:
        return poly_no_memory(err);
    case CURLE_WRITE_ERROR:
        return fail_answer(call, err);
    case CURLE_COULDNT_RESOLVE_HOST:
        return poly_fail(err, POLY_UNAVAILABLE, "no address is known for the host of '%s'",
                         call->origin);
    case CURLE_COULDNT_CONNECT:
        return fail_connect(call, err);
    case CURLE_OPERATION_TIMEDOUT:
        return poly_fail(err, POLY_UNAVAILABLE, "no connection to '%s' within %ld ms", call->origin,
                         call->http->connect_ms);
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
        return poly_fail(err, POLY_UNAVAILABLE,
                         "the connection to '%s' was lost before its answer was whole",
                         call->origin);
    case CURLE_PEER_FAILED_VERIFICATION:
        return poly_fail(err, POLY_DENIED, "the certificate of '%s' is not accepted: %s",
                         call->origin, reason);
    case CURLE_SSL_CACERT_BADFILE:
        return poly_fail(err, POLY_INVALID, "no certificates can be read from '%s'",
                         call->http->ca == NULL ? "the system's file" : call->http->ca);
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_BAD_CONTENT_ENCODING:
        return poly_fail(err, POLY_UNSUPPORTED, "'%s' does not answer in HTTP", call->origin);
    default:
        return poly_fail(err, POLY_UNAVAILABLE, "'%s': %s", call->origin, reason);
    }
}

/* One exchange, without following anything. */
static enum poly_status exchange(struct call *call, struct poly_error *err)
{
    long status = 0;
    bool ended;
    CURLcode code;

    poly_buffer_clear(&call->answer->headers);
    poly_buffer_clear(&call->answer->body);
    call->line->reason[0] = '\0';
    code = run(call, &ended);
    if (!ended && poly_http_stopped(call->http))
        return fail_stopped(err);
    if (!ended)
        return poly_fail(err, POLY_TIMEOUT, "'%s' did not answer in time", call->origin);
    if (code != CURLE_OK && !(code == CURLE_WRITE_ERROR && call->enough))
        return fail(call, code, err);
    curl_easy_getinfo(call->line->curl, CURLINFO_RESPONSE_CODE, &status);
    call->answer->status = (int)status;
    return POLY_OK;
}

/* --- redirects --- */

static bool is_redirect(const struct call *call)
{
    int status = call->answer->status;

    return (status >= 301 && status <= 303) || status == 307 || status == 308;
}

/* Would the method stay the same? */
static bool may_follow(const struct call *call)
{
    const char *method = call->request->method;

    return call->answer->status >= 307 || strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
}

static enum poly_status follow(struct call *call, struct poly_error *err)
{
    char origin[ORIGIN];
    const char *url = NULL;

    curl_easy_getinfo(call->line->curl, CURLINFO_REDIRECT_URL, &url);
    if (url == NULL || !may_follow(call) || find_origin(url, origin, NULL) != POLY_OK)
        return poly_fail(err, POLY_UNSUPPORTED,
                         "'%s' answers a %s with a redirect (HTTP %d), which is not followed",
                         call->origin, call->request->method, call->answer->status);
    if (strcmp(origin, call->origin) != 0)
        return poly_fail(err, POLY_UNSUPPORTED,
                         "'%s' redirects to '%s', which is not followed; name that server",
                         call->origin, origin);
    if (curl_easy_setopt(call->line->curl, CURLOPT_URL, url) != CURLE_OK)
        return poly_no_memory(err);
    return POLY_OK;
}

static enum poly_status exchange_all(struct call *call, struct poly_error *err)
{
    enum poly_status status;

    set_up(call);
    if (curl_easy_setopt(call->line->curl, CURLOPT_URL, call->request->url) != CURLE_OK)
        return poly_no_memory(err);
    status = exchange(call, err);
    for (int hops = 0; status == POLY_OK && is_redirect(call); hops++) {
        if (hops == HOPS)
            return poly_fail(err, POLY_UNSUPPORTED, "'%s' redirects more than %d times",
                             call->origin, HOPS);
        status = follow(call, err);
        if (status == POLY_OK)
            status = exchange(call, err);
    }
    return status;
}

enum poly_status poly_http_call(struct poly_http *http, const struct poly_http_request *request,
                                struct poly_http_answer *answer, struct poly_error *err)
{
    struct call call = {.http = http, .request = request, .answer = answer};
    enum poly_status status = find_origin(request->url, call.origin, err);

    if (status == POLY_OK)
        status = add_headers(&call, err);
    if (status == POLY_OK)
        status = take_line(&call, err);
    if (status == POLY_OK) {
        status = exchange_all(&call, err);
        give_line(&call);
    }
    free_headers(call.headers);
    return status;
}
