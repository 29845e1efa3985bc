/* Handlers alone, on a library that only writes down how it was called. S0-36, S3-30 */
#include "api_place.h"

#include <jansson.h>

static void assert_answer(const char *wanted)
{
    assert_string_equal(sink.out.data, wanted);
}

static void refuse(const char *method, const char *target, const char *body, const char *message)
{
    assert_fails(run(method, target, body), POLY_INVALID);
    assert_message(message);
    assert_int_equal(sink.begins, 0);
    assert_string_equal(fake.calls, "");
}

/* --- what is refused before the library is asked --- */

static void test_parameters(void **state)
{
    (void)state;
    refuse("GET", "/v1/records/d?limt=3", NULL,
           "unknown parameter 'limt'; known are: domain, filter");
    refuse("GET", "/v1/records/d?limit=0", NULL, "'limit' is 0; 1 to 10000");
    refuse("GET", "/v1/records/d?limit=x", NULL, "not a whole number");
    refuse("GET", "/v1/records/d?limit=", NULL, "not a whole number");
    refuse("GET", "/v1/records/d?limit=+3", NULL, "not a whole number");
    refuse("GET", "/v1/log?after=9223372036854775808", NULL, "not a whole number");
    refuse("GET", "/v1/log?after=-1", NULL, "'after' is -1");
    refuse("GET", "/v1/records/d?limit=1&limit=2", NULL, "given twice");
    refuse("GET", "/v1/records/d?descending=yes", NULL, "neither true nor false");
    refuse("GET", "/v1/log?format=xml", NULL, "none of json|ndjson");
    refuse("GET", "/v1/search", NULL, "parameter 'q' is missing");
    refuse("GET", "/v1/search?q=", NULL, "0 bytes");
    refuse("GET", "/v1/log?key=3", NULL, "exactly one 'domain'");
    refuse("GET", "/v1/log?domain=,", NULL, "empty");
    refuse("GET",
           "/v1/log?type=1&type=2&type=3&type=4&type=5&type=6&type=7&type=8&type=9&type=10&"
           "type=11&type=12&type=13&type=14&type=15&type=16&type=17",
           NULL, "more than 16 times");
    refuse("GET", "/v1/streams/s?path=$.a", NULL, "go together");
    refuse("GET", "/v1/streams/s?path=$.a&equal=x", NULL, "parameter 'equal'");
    refuse("GET", "/v1/migrations?folder=/etc", NULL, "unknown parameter 'folder'");
    refuse("GET", "/v1/status", "{}", "takes no body");
}

static void test_filters(void **state)
{
    (void)state;
    refuse("GET", "/v1/records/d?filter=x", NULL, "parameter 'filter'");
    refuse("GET", "/v1/records/d?filter={}", NULL, "must be an array");
    refuse("GET", "/v1/records/d?filter=[3]", NULL, "[0]: must be an object");
    refuse("GET", "/v1/records/d?filter=[{\"values\":[]}]", NULL, "'column' is missing");
    refuse("GET", "/v1/records/d?filter=[{\"column\":\"a\",\"compare\":\"like\"}]", NULL,
           "'compare' is none of");
    assert_ok(run("GET",
                  "/v1/records/d?limit=5&filter=[{\"column\":\"a\",\"values\":[1]},"
                  "{\"column\":\"b\",\"compare\":\"in\",\"values\":[\"x\",9223372036854775807]},"
                  "{\"column\":\"c\",\"compare\":\"not_null\"}]",
                  NULL));
    assert_string_equal(fake.calls, "list d limit=5 a#0#1:1 b#6#2:'x':9223372036854775807 c#9#0;");
    assert_answer("{\"documents\":[],\"cursor\":\"more\"}\n");
}

static void test_bodies(void **state)
{
    (void)state;
    refuse("POST", "/v1/transactions", NULL, "needs a JSON body");
    refuse("POST", "/v1/transactions", "{", "body");
    refuse("POST", "/v1/transactions", "[]", "must be an object");
    refuse("POST", "/v1/transactions", "{}", "'operations' is missing");
    refuse("POST", "/v1/transactions", "{\"operations\":[]}", "0 items");
    refuse("POST", "/v1/transactions", "{\"operations\":[{\"op\":\"drop\"}]}",
           "operations[0]: 'op' must be one of: put, patch, delete, check, append, sql");
    refuse("POST", "/v1/transactions", "{\"operations\":[{\"op\":\"put\",\"domain\":\"d\"}]}",
           "'row' is missing");
    refuse("POST", "/v1/transactions",
           "{\"operations\":[{\"op\":\"delete\",\"domain\":\"d\",\"key\":\"k\",\"row\":{}}]}",
           "unknown member 'row'; known are: op, domain, key, if_version");
    refuse("POST", "/v1/streams/s", "{\"events\":[{\"typ\":\"x\"}]}", "events[0]: unknown member");
    refuse("POST", "/v1/streams/s", "{\"events\":[{\"type\":\"x\"}],\"expected\":-1}",
           "'expected' must be");
    refuse("POST", "/v1/streams/s", "{\"events\":[{\"type\":\"x\"}],\"expected\":\"some\"}",
           "'expected' must be");
    refuse("POST", "/v1/streams/s", "{\"events\":[{\"type\":\"x\",\"meta\":[]}]}",
           "'meta' must be an object");
    refuse("POST", "/v1/keys", "{\"rights\":[\"root\"]}", "item 0 is none of");
    refuse("POST", "/v1/keys", "{\"rights\":[\"read\"],\"expires\":\"soon\"}", "'expires'");
    refuse("POST", "/v1/subscriptions/s/ack", "{\"position\":1.5}", "a whole number");
    refuse("PUT", "/v1/records/d/k", "[1]", "must be an object");
}

static void test_rights(void **state)
{
    (void)state;
    fake.rights = POLY_RIGHT_READ;
    assert_fails(run("PUT", "/v1/records/d/k", "not even JSON"), POLY_DENIED);
    assert_message("needs the right 'write'");
    assert_fails(run("POST", "/v1/sql", "{\"sql\":\"SELECT 1\"}"), POLY_DENIED);
    assert_fails(run("GET", "/v1/keys", NULL), POLY_DENIED);
    assert_string_equal(fake.calls, "");
    assert_ok(run("GET", "/v1/records/d/k", NULL));
    fake.rights = 0;
    assert_ok(run("GET", "/live", NULL));
    assert_fails(run("GET", "/metrics", NULL), POLY_DENIED);
    fake.rights = POLY_RIGHT_ADMIN;
    assert_ok(run("GET", "/v1/records/d/k", NULL));
}

static enum poly_status run_with(const char *method, const char *target, const char *body,
                                 struct api_request request)
{
    struct call call = {.method = method, .target = target, .body = body, .request = request};

    fake.calls[0] = '\0';
    memory_sink_release(&sink);
    memory_sink_init(&sink);
    return api_run(fake_session(), &call, &sink, &err);
}

static void test_headers(void **state)
{
    struct api_request token = {.token = "t1", .consistency = "stale"};

    (void)state;
    fake.freshness = (struct poly_freshness){.applied = 5, .wanted = 7, .stale = true};
    assert_ok(run_with("GET", "/v1/records/d/k", NULL, token));
    assert_string_equal(fake.calls, "after t1 2;get d/k;");
    assert_true(sink.head.stale);
    assert_int_equal(sink.head.applied, 5);
    token.consistency = "maybe";
    assert_fails(run_with("GET", "/v1/records/d/k", NULL, token), POLY_INVALID);
    assert_fails(run_with("GET", "/v1/status", NULL, (struct api_request){.if_match = "1"}),
                 POLY_INVALID);
    assert_fails(run_with("GET", "/v1/status", NULL, (struct api_request){.idempotency_key = "1"}),
                 POLY_INVALID);
}

/* --- records and their ETags --- */

static void test_etags(void **state)
{
    (void)state;
    assert_ok(run_with("GET", "/v1/records/d/k", NULL, (struct api_request){.if_none_match = "3"}));
    assert_int_equal(sink.head.http, 200);
    assert_int_equal(sink.head.version, 17);
    assert_answer("{\"key\":\"k\",\"version\":17,\"row\":{\"a\":1}}\n");
    assert_ok(
        run_with("GET", "/v1/records/d/k", NULL, (struct api_request){.if_none_match = "\"17\""}));
    assert_int_equal(sink.head.http, 304);
    assert_answer("");
    assert_fails(
        run_with("GET", "/v1/records/d/k", NULL, (struct api_request){.if_match = "\"3\""}),
        POLY_CONFLICT);
    assert_ok(run_with("PUT", "/v1/records/d/k", "{\"a\":1}",
                       (struct api_request){.if_match = "\"17\"", .idempotency_key = "i"}));
    assert_string_equal(fake.calls, "begin key=i;put d/k v=17 {a=1};commit;");
    assert_int_equal(sink.head.version, 17);
    assert_string_equal(sink.head.token, "t17");
    assert_answer("{\"token\":\"t17\",\"position\":17,\"replayed\":false,"
                  "\"results\":[{\"key\":\"k\",\"version\":17,\"count\":1}]}\n");
    assert_ok(run_with("PUT", "/v1/records/d/k", "{}", (struct api_request){.if_none_match = "*"}));
    assert_string_equal(fake.calls, "begin;put d/k v=0 {};commit;");
    assert_ok(run_with("DELETE", "/v1/records/d/k", NULL, (struct api_request){.if_match = "*"}));
    assert_string_equal(fake.calls, "begin;delete d/k v=-1;commit;");
    assert_ok(run_with("POST", "/v1/records/d", "{\"a\":null}", (struct api_request){0}));
    assert_string_equal(fake.calls, "begin;put d/(none) v=0 {a=null};commit;");
    assert_int_equal(sink.head.http, 201);
}

static void test_bad_etags(void **state)
{
    static const char *const etags[] = {
        "", "\"\"", "W/\"17\"", "\"17", "17a", "0", "-1", "99999999999999999999", "\"1\", \"2\"",
        "*"};

    (void)state;
    for (size_t i = 0; i < sizeof(etags) / sizeof(etags[0]); i++)
        assert_fails(
            run_with("PUT", "/v1/records/d/k", "{}", (struct api_request){.if_match = etags[i]}),
            POLY_INVALID);
    assert_fails(
        run_with("PATCH", "/v1/records/d/k", "{}", (struct api_request){.if_none_match = "*"}),
        POLY_INVALID);
    assert_fails(run_with("PUT", "/v1/records/d/k", "{}",
                          (struct api_request){.if_none_match = "*", .if_match = "3"}),
                 POLY_INVALID);
}

/* --- transactions --- */

static void test_transaction(void **state)
{
    (void)state;
    assert_ok(run("POST", "/v1/transactions",
                  "{\"operations\":["
                  "{\"op\":\"put\",\"domain\":\"d\",\"row\":{\"a\":9223372036854775807,\"b\":1.5}},"
                  "{\"op\":\"patch\",\"domain\":\"d\",\"key\":\"k\",\"row\":{\"j\":{\"x\":[1]}},"
                  "\"if_version\":4},"
                  "{\"op\":\"delete\",\"domain\":\"d\",\"key\":\"k\"},"
                  "{\"op\":\"check\",\"domain\":\"d\",\"key\":\"k\",\"if_version\":\"none\"},"
                  "{\"op\":\"append\",\"stream\":\"s-1\",\"expected\":\"none\",\"events\":["
                  "{\"type\":\"A\",\"data\":{\"x\":1},\"meta\":{\"m\":1}},{\"type\":\"B\"},"
                  "{\"type\":\"C\",\"data\":\"t\"},{\"type\":\"D\",\"data\":{\"$bytes\":\"00ff\"}},"
                  "{\"type\":\"E\",\"data\":42}]},"
                  "{\"op\":\"sql\",\"sql\":\"DELETE\",\"values\":[true,null]}"
                  "],\"correlation\":\"c\"}"));
    assert_string_equal(fake.calls,
                        "begin correlation=c;put d/(none) v=-1 {a=9223372036854775807,b=1.5};"
                        "patch d/k v=4 {j=json:{\"x\":[1]}};delete d/k v=-1;check d/k v=0;"
                        "append s-1 v=0 A:json:{\"x\":1} meta={\"m\":1} B:null C:'t' D:bytes:2 "
                        "E:json:42;sql DELETE true null;commit;");
}

static void test_failures_abort(void **state)
{
    static const char body[] =
        "{\"operations\":[{\"op\":\"check\",\"domain\":\"d\",\"key\":\"k\",\"if_version\":1},"
        "{\"op\":\"put\",\"domain\":\"d\",\"row\":{}}]}";

    (void)state;
    fake.fail_at = "put";
    fake.fail_with = POLY_LIMIT;
    assert_fails(run("POST", "/v1/transactions", body), POLY_LIMIT);
    assert_message("operations[1]: the fake");
    assert_non_null(strstr(fake.calls, "abort;"));
    fake.fail_at = "commit";
    fake.fail_with = POLY_CONFLICT;
    assert_fails(run("POST", "/v1/transactions", body), POLY_CONFLICT);
    fake.fail_at = "begin";
    assert_fails(run("POST", "/v1/transactions", body), POLY_CONFLICT);
    assert_int_equal(sink.begins, 0);
}

/* --- answers in pieces --- */

static void test_large_answers_take_constant_memory(void **state)
{
    (void)state;
    fake.rows = 20000;
    fake.row_bytes = 1000;
    assert_ok(run("POST", "/v1/sql", "{\"sql\":\"SELECT\"}"));
    assert_true(sink.out.size > 20000000);
    assert_true(sink.largest < 32 * 1024);

    json_t *json = json_loadb(sink.out.data, sink.out.size, 0, NULL);

    assert_int_equal(json_array_size(json_object_get(json, "rows")), 20000);
    json_decref(json);
}

static void test_readers_that_go_away(void **state)
{
    struct call call = {.method = "GET", .target = "/v1/log/export"};

    (void)state;
    fake.records = 100000;
    sink.room = 50000;
    assert_int_equal(api_run(fake_session(), &call, &sink, &err), POLY_TIMEOUT);
    assert_true(sink.out.size < 80000);
}

static void test_failures_in_band(void **state)
{
    (void)state;
    fake.rows = 100;
    fake.row_bytes = 1000;
    fake.broken_at = 10; /* 10 KB: nothing is out */
    assert_fails(run("POST", "/v1/sql", "{\"sql\":\"SELECT\"}"), POLY_CORRUPT);
    assert_int_equal(sink.begins, 0);
    fake.broken_at = 90;
    assert_fails(run("POST", "/v1/sql", "{\"sql\":\"SELECT\"}"), POLY_CORRUPT);
    assert_int_equal(sink.begins, 1);

    json_t *json = json_loadb(sink.out.data, sink.out.size, 0, NULL);

    assert_string_equal(
        json_string_value(json_object_get(json_object_get(json, "error"), "detail")),
        "row 90 is \"broken\"");
    json_decref(json);
    assert_fails(run("POST", "/v1/sql?format=ndjson", "{\"sql\":\"SELECT\"}"), POLY_CORRUPT);
    assert_string_equal(sink.head.content_type, "application/x-ndjson");
    assert_non_null(
        strstr(sink.out.data, "\n{\"error\":{\"type\":\"urn:polystore:error:corrupt\""));
}

static void test_log(void **state)
{
    (void)state;
    fake.records = 2;
    assert_ok(run("GET", "/v1/log?limit=1&after=1&domain=a,b&domain=c&type=T", NULL));
    assert_string_equal(fake.calls, "log 1 a T;");
    assert_answer("{\"records\":[{\"position\":2,\"txn\":2,\"version\":1,"
                  "\"time\":\"1970-01-01T00:00:00.000000Z\",\"domain\":\"order\",\"key\":\"42\","
                  "\"type\":\"Placed\",\"data\":{\"a\": 1},\"meta\":{\"by\":\"x\"}}],"
                  "\"last\":2}\n");
    assert_ok(run("GET", "/v1/log?format=ndjson", NULL));
    assert_int_equal(sink.out.data[sink.out.size - 1], '\n');
    fake.records = 25000;
    assert_ok(run("GET", "/v1/log/export", NULL));

    size_t lines = 0;

    for (size_t i = 0; i < sink.out.size; i++)
        lines += sink.out.data[i] == '\n';
    assert_int_equal(lines, 25000);
    assert_ok(run("POST", "/v1/log/verify?progress=true", NULL));
    assert_non_null(
        strstr(sink.out.data, "{\"done\":1,\"total\":2,\"finished\":false}\n{\"ok\":true"));
}

static void test_stream(void **state)
{
    (void)state;
    assert_ok(run("GET", "/v1/streams/order-42?from=3&path=$.city&equal=%22Paris%22", NULL));
    assert_string_equal(fake.calls, "stream order-42 from=3 'Paris';");
    assert_non_null(
        strstr(sink.out.data, "{\"version\":1,\"more\":false,\"records\":[{\"position\""));
}

static void test_import(void **state)
{
    (void)state;
    assert_ok(run_with("POST", "/v1/log/import",
                       "{\"domain\":\"order\",\"key\":\"1\",\"type\":\"A\",\"data\":{\"x\":1}}\n"
                       "\r\n{\"domain\":\"d\",\"key\":\"k\",\"type\":\"$put\",\"position\":7}\n"
                       "{\"stream\":\"order\",\"type\":\"B\",\"meta\":{\"m\":1}}",
                       (struct api_request){.idempotency_key = "i"}));
    assert_string_equal(fake.calls, "begin key=i/1;append order-1 v=-1 A:json:{\"x\":1};"
                                    "append order v=-1 B:null meta={\"m\":1};commit;");
    assert_answer("{\"events\":2,\"skipped\":1,\"transactions\":1,\"token\":\"t17\","
                  "\"position\":17}\n");
    assert_ok(run_with("POST", "/v1/log/import", NULL, (struct api_request){0}));
    assert_string_equal(fake.calls, "");
    assert_fails(run("POST", "/v1/log/import", "{\"type\":\"A\"}\n"), POLY_INVALID);
    assert_message("line 1");
    assert_fails(run("POST", "/v1/log/import", "{\"stream\":\"s\",\"type\":\"A\"}\nx\n"),
                 POLY_INVALID);
    assert_message("line 2 (the events of lines 1 to 0 are imported)");
}

static void test_import_in_batches(void **state)
{
    static char body[120000];
    size_t used = 0;

    (void)state;
    for (int i = 0; i < 2500; i++)
        used += (size_t)snprintf(body + used, sizeof(body) - used,
                                 "{\"stream\":\"s\",\"type\":\"A\"}\n");
    assert_ok(run("POST", "/v1/log/import", body));
    assert_non_null(strstr(sink.out.data, "{\"events\":2500,\"skipped\":0,\"transactions\":3,"));
}

/* --- subscriptions --- */

static void test_events(void **state)
{
    (void)state;
    fake.records = 3;
    assert_ok(run_with("GET", "/v1/subscribe?domain=order", NULL,
                       (struct api_request){.last_event_id = "1"}));
    assert_string_equal(fake.calls, "subscribe (none) after=1;");
    assert_string_equal(sink.head.content_type, "text/event-stream");
    assert_int_equal(strncmp(sink.out.data, "id: 2\ndata: {\"position\":2,", 26), 0);
    assert_non_null(strstr(sink.out.data, "}\n\nid: 3\ndata: {"));
    assert_ok(run("GET", "/v1/subscriptions/mailer/events?limit=1", NULL));
    assert_null(strstr(sink.out.data, "id: 2"));
    fake.broken_at = 2;
    assert_fails(run("GET", "/v1/subscribe", NULL), POLY_CORRUPT);
    assert_non_null(strstr(sink.out.data, "\n\nevent: error\ndata: {\"type\":\"urn:polystore"));
    assert_fails(run_with("GET", "/v1/subscribe", NULL, (struct api_request){.last_event_id = "x"}),
                 POLY_INVALID);
    assert_ok(run_with("POST", "/v1/subscriptions/mailer/ack", "{\"position\":9}",
                       (struct api_request){0}));
    assert_string_equal(fake.calls, "ack mailer 9;");
    assert_int_equal(sink.head.http, 204);
    assert_ok(run_with("DELETE", "/v1/subscriptions/mailer", NULL, (struct api_request){0}));
    assert_string_equal(fake.calls, "forget mailer;");
    assert_int_equal(sink.head.http, 204);
}

/* --- the rest --- */

static void test_search(void **state)
{
    (void)state;
    assert_ok(run("GET", "/v1/search?q=a+b&domain=x,y&count=true", NULL));
    assert_string_equal(fake.calls, "search a b x y;");
    assert_answer("{\"generation\":1,\"total\":1,\"hits\":[{\"domain\":\"d\",\"key\":\"k\","
                  "\"version\":3,\"score\":1.5,\"snippet\":\"<b>a</b>\"}]}\n");
    assert_fails(run("GET", "/v1/search?q=%22", NULL), POLY_INVALID);
    assert_int_equal(err.position, 0);
}

static void test_status(void **state)
{
    (void)state;
    assert_ok(run("GET", "/v1/status", NULL));

    json_t *json = json_loadb(sink.out.data, sink.out.size, 0, NULL);

    assert_string_equal(json_string_value(json_object_get(json, "state")), "ok");
    json_decref(json);
    assert_ok(run("GET", "/ready", NULL));
    assert_int_equal(sink.head.http, 200);
    fake.state = POLY_STATE_STOPPED;
    assert_ok(run("GET", "/ready", NULL));
    assert_int_equal(sink.head.http, 503);
    assert_answer("{\"ready\":false,\"writes_refused\":false,\"state\":\"stopped\","
                  "\"reason\":\"the log: stopped\"}\n");
    fake.state = POLY_STATE_RETRYING; /* a full disk */
    assert_ok(run("GET", "/ready", NULL));
    assert_int_equal(sink.head.http, 200);
    assert_answer("{\"ready\":true,\"writes_refused\":true,\"state\":\"retrying\"}\n");
    fake.state = POLY_STATE_STOPPED;
    assert_ok(run("GET", "/metrics", NULL));
    assert_non_null(strstr(sink.out.data, "polystore_state{state=\"stopped\"} 1\n"));
    assert_non_null(
        strstr(sink.out.data,
               "polystore_projection_lag_seconds{store=\"search\",driver=\"embedded\"} 1.5\n"));
    assert_non_null(
        strstr(sink.out.data, "polystore_view_behind_seconds{view=\"totals\"} 0.25\n"));
    assert_non_null(strstr(sink.out.data, "polystore_view_within{view=\"totals\"} 1.0\n"));
    assert_non_null(
        strstr(sink.out.data, "polystore_view_state{view=\"totals\",state=\"ok\"} 1\n"));
    assert_non_null(
        strstr(sink.out.data, "polystore_embedder_waiting{domain=\"d\",name=\"\"} 4.0\n"));
    assert_non_null(
        strstr(sink.out.data, "polystore_embedder_failing{domain=\"d\",name=\"\"} 1.0\n"));
    assert_non_null(strstr(sink.out.data, "{name=\"a\\\"b\\\\c\\n\",tenant=\"\"} 2.0\n"));
}

static void test_admin(void **state)
{
    (void)state;
    assert_ok(run_with("POST", "/v1/projections/search/retry", NULL, (struct api_request){0}));
    assert_string_equal(fake.calls, "retry search;");
    assert_int_equal(sink.head.http, 204);
    assert_ok(run_with("POST", "/v1/projections/search/skip", "{\"reason\":\"bad\"}",
                       (struct api_request){0}));
    assert_string_equal(fake.calls, "skip search bad;");
    assert_ok(run_with("POST", "/v1/views/totals/refresh", NULL, (struct api_request){0}));
    assert_string_equal(fake.calls, "refresh totals;");
    assert_int_equal(sink.head.http, 204);
    assert_ok(run_with("GET", "/v1/embeddings/d", NULL, (struct api_request){0}));
    assert_string_equal(fake.calls, "refused d - 0 0 -;");
    assert_answer("{\"refused\":[{\"tenant\":\"t\",\"key\":\"7\",\"version\":12,"
                  "\"time\":\"1970-01-01T00:00:00.000001Z\",\"error\":\"too long\"}]}\n");
    assert_ok(run_with("POST", "/v1/embeddings/d/retry?name=body", NULL, (struct api_request){0}));
    assert_string_equal(fake.calls, "again d body;");
    assert_answer("{\"waiting\":3}\n");
    assert_ok(run("POST", "/v1/projections/search/rebuild", NULL));
    assert_int_equal(sink.head.http, 202);
    assert_ok(run("POST", "/v1/projections/search/rebuild?wait=true", NULL));
    assert_answer("{\"done\":5,\"total\":10,\"finished\":false}\n"
                  "{\"done\":5,\"total\":10,\"finished\":true}\n");
    assert_ok(run_with("POST", "/v1/keys", "{\"label\":\"l\",\"rights\":[\"write\",\"read\"]}",
                       (struct api_request){0}));
    assert_string_equal(fake.calls, "key_create l (null) 3;");
    assert_answer("{\"id\":\"id1\",\"label\":\"l\",\"rights\":[\"read\",\"write\"],"
                  "\"secret\":\"pk_id1_secret\"}\n");
    assert_ok(run("GET", "/v1/keys", NULL));
    assert_ok(run("DELETE", "/v1/keys/id1", NULL));
    assert_ok(run_with("POST", "/v1/migrations", NULL, (struct api_request){0}));
    assert_string_equal(fake.calls, "up;migrate_status (configured);");
    assert_ok(
        run_with("GET", "/v1/migrations?folder=m", NULL, (struct api_request){.local = true}));
    assert_string_equal(fake.calls, "migrate_status m;");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_parameters),
        TEST(test_filters),
        TEST(test_bodies),
        TEST(test_rights),
        TEST(test_headers),
        TEST(test_etags),
        TEST(test_bad_etags),
        TEST(test_transaction),
        TEST(test_failures_abort),
        TEST(test_large_answers_take_constant_memory),
        TEST(test_readers_that_go_away),
        TEST(test_failures_in_band),
        TEST(test_log),
        TEST(test_stream),
        TEST(test_import),
        TEST(test_import_in_batches),
        TEST(test_events),
        TEST(test_search),
        TEST(test_status),
        TEST(test_admin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
