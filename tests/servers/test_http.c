/* net/http against a server that does what a request asks of it: tests/servers/embedder.py. S3-20
 */
#include "test.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "control.h"
#include "net/http.h"

enum { THREADS = 12, ROUNDS = 20 };

static struct poly_error err;
static struct poly_http *http;
static struct poly_http_answer answer;
static char said[CONTROL_LINE];

static int64_t in(int64_t seconds)
{
    return poly_clock_monotonic() + seconds * 1000000;
}

static const char *ask_server(const char *what)
{
    if (!control_order(said, sizeof(said), "embedder %s", what))
        fail_msg("%s: %s", what, said);
    return said;
}

static long number(const char *text)
{
    return strtol(text, NULL, 10);
}

static const char *at(const char *base, const char *path)
{
    static char url[1024];

    snprintf(url, sizeof(url), "%s%s", control_url(base), path);
    return url;
}

static enum poly_status get(const char *method, const char *path)
{
    struct poly_http_request request = {
        .method = method, .url = at("EMBEDDER_URL", path), .deadline = in(30)};

    return poly_http_call(http, &request, &answer, &err);
}

static void assert_answer(int status, const char *text)
{
    assert_int_equal(answer.status, status);
    if (answer.body.size == 0 || strstr(answer.body.data, text) == NULL)
        fail_msg("no '%s' in: %s", text, answer.body.size == 0 ? "" : answer.body.data);
}

static int set_up(void **state)
{
    struct poly_http_options options = {.ca_file = NULL};

    (void)state;
    ask_server("clear");
    poly_http_answer_init(&answer, 1 << 20);
    return poly_http_open(&options, &http, &err) == POLY_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    poly_http_answer_release(&answer);
    poly_http_close(http);
    return 0;
}

/* --- requests and answers --- */

static void methods_headers_and_bodies_arrive(void **state)
{
    static const char *const methods[] = {"POST", "PUT", "DELETE", "GET"};
    const struct poly_http_header headers[] = {
        {"Content-Type", "text/x-test"}, {"X-One", "1; two"}, {"X-Empty", ""}};
    char line[64];

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct poly_http_request request = {.method = methods[i],
                                            .url = at("EMBEDDER_URL", "/echo?a=b"),
                                            .headers = headers,
                                            .header_count = 3,
                                            .body = {"h\0llo", i == 3 ? 0 : 5},
                                            .deadline = in(30)};

        if (i == 3)
            request.body.data = NULL;
        assert_ok(poly_http_call(http, &request, &answer, &err));
        snprintf(line, sizeof(line), "\"method\": \"%s\"", methods[i]);
        assert_answer(200, line);
        assert_answer(200, "\"path\": \"/echo?a=b\"");
        assert_answer(200, "\"x-one\": \"1; two\"");
        assert_answer(200, "\"x-empty\": \"\"");
        assert_answer(200, "\"content-type\": \"text/x-test\"");
        assert_answer(200, i == 3 ? "\"body\": \"\"" : "\"body\": \"h\\u0000llo\"");
        assert_answer(200, "\"user-agent\": \"polystore/");
    }
    assert_ok(get("POST", "/echo")); /* without a body */
    assert_answer(200, "\"content-length\": \"0\"");
    assert_null(strstr(answer.body.data, "content-type"));
}

static void a_head_has_no_body(void **state)
{
    struct poly_text value;

    (void)state;
    assert_ok(get("HEAD", "/bytes?count=1000"));
    assert_int_equal(answer.status, 200);
    assert_int_equal(answer.body.size, 0);
    assert_true(poly_http_answer_header(&answer, "content-LENGTH", &value));
    assert_int_equal(value.size, 4);
    assert_memory_equal(value.data, "1000", 4);
    assert_false(poly_http_answer_header(&answer, "Content", &value));
}

static void a_status_is_an_answer(void **state)
{
    (void)state;
    assert_ok(get("GET", "/echo?status=503"));
    assert_answer(503, "\"method\": \"GET\"");
    assert_ok(get("GET", "/nowhere"));
    assert_answer(404, "nothing is at /nowhere");
}

static void a_connection_serves_many_requests(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++)
        assert_ok(get("GET", "/echo"));
    assert_string_equal(ask_server("requests"), "20");
    assert_string_equal(ask_server("connections"), "1");
}

/* --- bounds --- */

static void a_large_answer_is_a_limit(void **state)
{
    (void)state;
    assert_ok(get("GET", "/bytes?count=1048576"));
    assert_int_equal(answer.body.size, 1 << 20);
    assert_fails(get("GET", "/bytes?count=1048577"), POLY_LIMIT);
    assert_message("more than 1048576 bytes");
    assert_fails(get("GET", "/headers"), POLY_LIMIT);
    assert_message("of headers");
    assert_ok(get("GET", "/bytes?status=500&count=100000000")); /* what it says is enough */
    assert_int_equal(answer.status, 500);
    assert_int_equal(answer.body.size, POLY_MAX_HTTP_ERROR);
    assert_ok(get("GET", "/echo"));
}

static void headers_cannot_be_smuggled(void **state)
{
    static const struct poly_http_header wrong[] = {
        {"X-One", "1\r\nX-Two: 2"}, {"X\nOne", "1"}, {"X: One", "1"}, {"", "1"}};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct poly_http_request request = {.method = "GET",
                                            .url = at("EMBEDDER_URL", "/echo"),
                                            .headers = &wrong[i],
                                            .header_count = 1,
                                            .deadline = in(30)};

        assert_fails(poly_http_call(http, &request, &answer, &err), POLY_INVALID);
    }
    assert_string_equal(ask_server("requests"), "0");
}

static void addresses_are_checked(void **state)
{
    static const char *const wrong[] = {
        "",          "localhost",           "ftp://localhost/", "file:///etc/passwd",
        "http://",   "http://me:secret@h/", "http://me@h/",     "http://h:99999/",
        "gopher://h"};

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        struct poly_http_request request = {.method = "GET", .url = wrong[i], .deadline = in(30)};

        assert_fails(poly_http_check_url(wrong[i], &err), POLY_INVALID);
        assert_fails(poly_http_call(http, &request, &answer, &err), POLY_INVALID);
        assert_null(strstr(err.message, "secret"));
    }
    assert_ok(poly_http_check_url("https://[::1]:8080/v1", &err));
}

/* --- redirects --- */

static void only_the_same_host_is_followed(void **state)
{
    char path[512];

    (void)state;
    assert_ok(get("GET", "/redirect?code=302&to=/echo"));
    assert_answer(200, "\"path\": \"/echo\"");
    assert_ok(get("POST", "/redirect?code=307&to=/echo"));
    assert_answer(200, "\"method\": \"POST\"");
    assert_fails(get("POST", "/redirect?code=302&to=/echo"), POLY_UNSUPPORTED);
    assert_fails(get("GET", "/redirect?code=307&to=ftp://localhost/echo"), POLY_UNSUPPORTED);
    snprintf(path, sizeof(path), "/redirect?code=307&to=%s/echo", control_url("EMBEDDER_TLS_URL"));
    ask_server("clear");
    assert_fails(get("GET", path), POLY_UNSUPPORTED);
    assert_message("name that server");
    assert_string_equal(ask_server("requests"), "1");
}

static void redirects_end(void **state)
{
    (void)state;
    /* Each round takes off one shell of its address. */
    assert_ok(get("GET", "/redirect?code=307&to=/redirect?code=307%26to=/echo"));
    assert_fails(get("GET", "/redirect?code=307&to=/redirect?code=307%26to=/redirect?code=307%2526"
                            "to=/redirect?code=307%252526to=/echo"),
                 POLY_UNSUPPORTED);
    assert_message("more than 3 times");
}

/* --- failures --- */

static void nobody_there_is_unavailable(void **state)
{
    struct poly_http_request request = {
        .method = "GET", .url = "http://127.0.0.1:1/", .deadline = in(30)};

    (void)state;
    assert_fails(poly_http_call(http, &request, &answer, &err), POLY_UNAVAILABLE);
    assert_message("no connection to 'http://127.0.0.1:1': Connection refused");
    request.url = "http://nowhere.invalid/";
    assert_fails(poly_http_call(http, &request, &answer, &err), POLY_UNAVAILABLE);
    assert_message("nowhere.invalid");
}

static void a_lost_connection_is_unavailable(void **state)
{
    struct poly_http_request request = {.method = "POST",
                                        .url = at("EMBEDDER_URL", "/v1/embeddings"),
                                        .body = poly_text("{\"model\":\"test-model\",\"input\":["
                                                          "\"a\"]}"),
                                        .deadline = in(30)};

    (void)state;
    ask_server("fault cut 1");
    assert_fails(poly_http_call(http, &request, &answer, &err), POLY_UNAVAILABLE);
    assert_message("was lost before its answer was whole");
    ask_server("fault half 1");
    assert_fails(poly_http_call(http, &request, &answer, &err), POLY_UNAVAILABLE);
    assert_message("was lost before its answer was whole");
    assert_ok(poly_http_call(http, &request, &answer, &err));
    assert_answer(200, "\"embedding\"");
}

static void the_deadline_holds(void **state)
{
    struct poly_http_request request = {.method = "POST",
                                        .url = at("EMBEDDER_URL", "/v1/embeddings"),
                                        .body = poly_text("{\"model\":\"test-model\",\"input\":["
                                                          "\"a\"]}"),
                                        .deadline = poly_clock_monotonic() + 100000};

    (void)state;
    ask_server("fault slow 1 600");
    assert_fails(poly_http_call(http, &request, &answer, &err), POLY_TIMEOUT);
    request.deadline = 0; /* long ago */
    assert_fails(poly_http_call(http, &request, &answer, &err), POLY_TIMEOUT);
}

/* Takes connections into its queue and never says a word. */
static int silent_server(char *url, size_t size)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(server, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(server, 8), 0);
    assert_int_equal(getsockname(server, (struct sockaddr *)&address, &length), 0);
    snprintf(url, size, "https://127.0.0.1:%d/", ntohs(address.sin_port));
    return server;
}

static void connecting_has_its_own_time(void **state)
{
    struct poly_http_options options = {.connect_ms = 50};
    struct poly_http *quick;
    char url[64];
    int server = silent_server(url, sizeof(url));
    struct poly_http_request request = {.method = "GET", .url = url, .deadline = in(600)};

    (void)state;
    assert_ok(poly_http_open(&options, &quick, &err));
    assert_fails(poly_http_call(quick, &request, &answer, &err), POLY_UNAVAILABLE);
    assert_message("within 50 ms");
    poly_http_close(quick);
    close(server);
}

/* --- TLS --- */

static enum poly_status get_tls(const char *base, const char *ca)
{
    struct poly_http_options options = {.ca_file = ca};
    struct poly_http_request request = {
        .method = "GET", .url = at(base, "/echo"), .deadline = in(30)};
    struct poly_http *own;
    enum poly_status status;

    assert_ok(poly_http_open(&options, &own, &err));
    status = poly_http_call(own, &request, &answer, &err);
    poly_http_close(own);
    return status;
}

static void certificates_are_verified(void **state)
{
    (void)state;
    assert_ok(get_tls("EMBEDDER_TLS_URL", control_url("EMBEDDER_CA")));
    assert_answer(200, "\"path\": \"/echo\"");
    assert_fails(get_tls("EMBEDDER_TLS_URL", control_url("EMBEDDER_OTHER_CA")), POLY_DENIED);
    assert_message("is not accepted");
    assert_fails(get_tls("EMBEDDER_TLS_URL", NULL), POLY_DENIED);
    assert_fails(get_tls("EMBEDDER_WRONG_NAME_URL", control_url("EMBEDDER_CA")), POLY_DENIED);
    assert_message("localhost");
    assert_fails(get_tls("EMBEDDER_TLS_URL", "/nowhere.pem"), POLY_INVALID);
    assert_message("/nowhere.pem");
}

/* --- threads --- */

struct caller {
    pthread_t thread;
    struct poly_http *http;
    const char *url, *body;
    enum poly_status status;
};

static void *call_once(void *arg)
{
    struct caller *caller = arg;
    struct poly_http_request request = {.method = "POST",
                                        .url = caller->url,
                                        .body = poly_text(caller->body),
                                        .deadline = in(3600)};
    struct poly_http_answer own;

    poly_http_answer_init(&own, 1 << 20);
    caller->status = poly_http_call(caller->http, &request, &own, NULL);
    poly_http_answer_release(&own);
    return NULL;
}

static void *call_often(void *arg)
{
    struct caller *caller = arg;

    for (int i = 0; i < ROUNDS && caller->status == POLY_OK; i++)
        call_once(caller);
    return NULL;
}

/* More of them than requests may be under way. */
static void threads_share_connections(void **state)
{
    static char url[1024];
    struct caller callers[THREADS];

    (void)state;
    snprintf(url, sizeof(url), "%s", at("EMBEDDER_URL", "/echo"));
    for (int i = 0; i < THREADS; i++) {
        callers[i] = (struct caller){.http = http, .url = url, .body = "x"};
        assert_int_equal(pthread_create(&callers[i].thread, NULL, call_often, &callers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(callers[i].thread, NULL);
        assert_int_equal(callers[i].status, POLY_OK);
    }
    assert_int_equal(number(ask_server("requests")), THREADS * ROUNDS);
    assert_true(number(ask_server("connections")) <= POLY_MAX_HTTP_CALLS);
}

/* Those that are answered slowly, and those that wait for a place, end at once. */
static void stopping_ends_what_is_under_way(void **state)
{
    static char url[1024];
    struct caller callers[THREADS];

    (void)state;
    snprintf(url, sizeof(url), "%s", at("EMBEDDER_URL", "/v1/embeddings"));
    ask_server("fault slow 100 600");
    for (int i = 0; i < THREADS; i++) {
        callers[i] = (struct caller){
            .http = http, .url = url, .body = "{\"model\":\"test-model\",\"input\":[\"a\"]}"};
        assert_int_equal(pthread_create(&callers[i].thread, NULL, call_once, &callers[i]), 0);
    }
    while (number(ask_server("requests")) < POLY_MAX_HTTP_CALLS)
        usleep(1000);
    poly_http_stop(http);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(callers[i].thread, NULL);
        assert_int_equal(callers[i].status, POLY_UNAVAILABLE);
    }
    assert_fails(get("GET", "/echo"), POLY_UNAVAILABLE);
    assert_message("stopped");
    assert_false(poly_http_pause(http, in(600)));
    assert_true(poly_http_stopped(http));
}

/* --- Retry-After --- */

static int64_t retry_after(const char *headers)
{
    poly_buffer_clear(&answer.headers);
    poly_buffer_text(&answer.headers, headers);
    return poly_http_retry_after(&answer);
}

static void retry_after_is_read(void **state)
{
    (void)state;
    assert_int_equal(retry_after("HTTP/1.1 429 Said\r\nretry-after:  7 \r\n\r\n"), 7000000);
    assert_int_equal(retry_after("Retry-After: 0\r\n"), 0);
    assert_int_equal(retry_after("Retry-After: 999999999999999\r\n"), INT64_C(86400) * 1000000);
    assert_int_equal(retry_after("Retry-After: Fri, 31 Dec 2010 23:59:59 GMT\r\n"), 0);
    assert_int_equal(retry_after("Retry-After: Fri, 31 Dec 2999 23:59:59 GMT\r\n"),
                     INT64_C(86400) * 1000000);
    assert_int_equal(retry_after("Retry-After: soon\r\n"), -1);
    assert_int_equal(retry_after("Retry-After:\r\n"), -1);
    assert_int_equal(retry_after("X: 1\r\n"), -1);
    assert_int_equal(retry_after(""), -1);
}

int main(void)
{
#define each(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        each(methods_headers_and_bodies_arrive),
        each(a_head_has_no_body),
        each(a_status_is_an_answer),
        each(a_connection_serves_many_requests),
        each(a_large_answer_is_a_limit),
        each(headers_cannot_be_smuggled),
        each(addresses_are_checked),
        each(only_the_same_host_is_followed),
        each(redirects_end),
        each(nobody_there_is_unavailable),
        each(a_lost_connection_is_unavailable),
        each(the_deadline_holds),
        each(connecting_has_its_own_time),
        each(certificates_are_verified),
        each(threads_share_connections),
        each(stopping_ends_what_is_under_way),
        each(retry_after_is_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
