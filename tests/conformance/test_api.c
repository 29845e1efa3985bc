/* The API from end to end, in process: every operation on a real Polystore. S0-36, S3-30, S3-31 */
#include "fixture.h"

#include <jansson.h>
#include <semaphore.h>

#include "../unit/api_help.h"
#include "api/operations.h"
#include "lab.h"

static struct poly_error err;
static struct memory_sink sink;
static struct fixture place;
static bool tenants_sql;
static struct poly_session *session;

/* --- the place --- */

static const char migration[] =
    "CREATE TABLE documents(id TEXT PRIMARY KEY, title TEXT NOT NULL, body TEXT, year BIGINT,\n"
    "                       size DOUBLE PRECISION, data BLOB);\n"
    "CREATE TABLE notes(id INTEGER PRIMARY KEY, tenant_id TEXT NOT NULL, text TEXT);\n";

static const char config[] = "domains:\n"
                             "  documents:\n"
                             "    table: documents\n"
                             "    tenant: none\n"
                             "    search: {fields: [title, body], filters: [year]}\n"
                             "  notes:\n"
                             "    table: notes\n"
                             "    tenant: tenant_id\n";

static int set_up(void **state)
{
    (void)state;
    fixture_make(&place);
    fixture_migration(&place, "0001_init.sql", migration);
    tenants_sql = fixture_tenants_sql(&place);
    fixture_open(&place, config);
    session = place.admin;
    memory_sink_init(&sink);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    memory_sink_release(&sink);
    fixture_remove(&place);
    return 0;
}

/* --- asking --- */

static enum poly_status ask(struct poly_session *who, struct call call)
{
    enum poly_status status;

    memory_sink_release(&sink);
    memory_sink_init(&sink);
    status = api_run(who, &call, &sink, &err);
    poly_session_reset(who);
    return status;
}

static enum poly_status run(const char *method, const char *target, const char *body)
{
    return ask(session, (struct call){.method = method, .target = target, .body = body});
}

static json_t *answer(void)
{
    json_error_t error;
    json_t *json = json_loadb(sink.out.data, sink.out.size, 0, &error);

    if (json == NULL)
        fail_msg("no JSON (%s): %.200s", error.text, sink.out.data);
    return json;
}

static json_int_t answer_integer(const char *name)
{
    json_t *json = answer(), *member = json_object_get(json, name);
    json_int_t integer = json_integer_value(member);

    assert_true(json_is_integer(member));
    json_decref(json);
    return integer;
}

/* How many items the answer's list has. */
static size_t answer_count(const char *name)
{
    json_t *json = answer();
    size_t count = json_array_size(json_object_get(json, name));

    json_decref(json);
    return count;
}

static void assert_contains(const char *text)
{
    if (strstr(sink.out.data, text) == NULL)
        fail_msg("no %s in: %.500s", text, sink.out.data);
}

static void migrate(void)
{
    assert_ok(run("POST", "/v1/migrations", NULL));
    assert_int_equal(answer_integer("pending"), 0);
}

/* Until every store has what was written. */
static void settle(void)
{
    char why[300];

    fixture_head(&place); /* the log shows it a moment after its commit, on a server */
    if (!lab_settled(session, why, sizeof(why)))
        fail_msg("%s", why);
    poly_session_reset(session);
}

static void put(const char *key, const char *row)
{
    char target[128];

    (void)snprintf(target, sizeof(target), "/v1/records/documents/%s", key);
    assert_ok(run("PUT", target, row));
}

/* --- the tests --- */

static void test_migrations(void **state)
{
    (void)state;
    assert_ok(run("GET", "/v1/migrations", NULL));
    assert_int_equal(answer_integer("pending"), 1);
    migrate();
    migrate();
    fixture_migration(&place, "0001_init.sql", "-- edited");
    assert_fails(run("POST", "/v1/migrations", NULL), POLY_CONFLICT);
    assert_ok(run("GET", "/v1/migrations", NULL));
    assert_int_equal(answer_integer("problems"), 1);
}

static void test_records(void **state)
{
    struct call call = {.method = "PUT", .target = "/v1/records/documents/a%2Fb"};
    char etag[32];

    (void)state;
    migrate();
    assert_fails(run("GET", "/v1/records/documents/a%2Fb", NULL), POLY_NOT_FOUND);
    call.body = "{\"title\":\"The log\",\"year\":9223372036854775807,\"size\":0.1,"
                "\"data\":{\"$bytes\":\"00ff\"}}";
    call.request.if_none_match = "*";
    assert_ok(ask(session, call));
    assert_fails(ask(session, call), POLY_CONFLICT);
    assert_ok(run("GET", "/v1/records/documents/a%2Fb", NULL));
    assert_contains("{\"key\":\"a/b\",\"version\":");
    assert_contains("\"year\":9223372036854775807,\"size\":0.1,\"data\":{\"$bytes\":\"00ff\"}");
    (void)snprintf(etag, sizeof(etag), "\"%llu\"", (unsigned long long)sink.head.version);

    struct call patch = {.method = "PATCH", .target = call.target, .body = "{\"year\":1}"};

    patch.request.if_match = etag;
    assert_ok(ask(session, patch));
    assert_fails(ask(session, patch), POLY_CONFLICT);
    assert_ok(run("GET", "/v1/records/documents/a%2Fb", NULL));
    assert_contains("\"title\":\"The log\"");
    assert_contains("\"year\":1,");
    assert_ok(run("DELETE", "/v1/records/documents/a%2Fb", NULL));
    assert_fails(run("DELETE", "/v1/records/documents/a%2Fb", NULL), POLY_NOT_FOUND);
    assert_fails(run("GET", "/v1/records/nowhere/k", NULL), POLY_NOT_FOUND);
    assert_fails(run("PUT", "/v1/records/documents/x", "{\"colour\":1}"), POLY_INVALID);
}

static void test_lists(void **state)
{
    char key[16], row[64];
    json_t *json;

    (void)state;
    migrate();
    for (int i = 0; i < 25; i++) {
        (void)snprintf(key, sizeof(key), "k%02d", i);
        (void)snprintf(row, sizeof(row), "{\"title\":\"t\",\"year\":%d}", 2000 + i);
        put(key, row);
    }
    assert_ok(run("GET",
                  "/v1/records/documents?limit=10&order=year&descending=true&filter=[{"
                  "\"column\":\"year\",\"compare\":\"ge\",\"values\":[2010]}]",
                  NULL));
    assert_int_equal(answer_count("documents"), 10);
    json = answer();

    char target[1024];

    (void)snprintf(target, sizeof(target),
                   "/v1/records/documents?limit=10&order=year&descending=true&cursor=%s&filter=[{"
                   "\"column\":\"year\",\"compare\":\"ge\",\"values\":[2010]}]",
                   json_string_value(json_object_get(json, "cursor")));
    json_decref(json);
    assert_ok(run("GET", target, NULL));
    assert_int_equal(answer_count("documents"), 5);
    assert_null(strstr(sink.out.data, "cursor"));
}

static void test_transactions(void **state)
{
    static const char body[] =
        "{\"operations\":["
        "{\"op\":\"check\",\"domain\":\"documents\",\"key\":\"k\",\"if_version\":\"none\"},"
        "{\"op\":\"put\",\"domain\":\"documents\",\"key\":\"k\",\"row\":{\"title\":\"t\"}},"
        "{\"op\":\"append\",\"stream\":\"audit-k\",\"expected\":\"none\",\"events\":["
        "{\"type\":\"Written\",\"data\":{\"by\":\"ada\"}},{\"type\":\"Read\"}]},"
        "{\"op\":\"sql\",\"sql\":\"UPDATE documents SET year = ?1\",\"values\":[2026]}],"
        "\"correlation\":\"c1\"}";
    struct call call = {.method = "POST", .target = "/v1/transactions", .body = body};

    (void)state;
    migrate();
    call.request.idempotency_key = "once";
    assert_ok(ask(session, call));
    assert_int_equal(answer_count("results"), 4);
    assert_contains("\"replayed\":false");
    assert_ok(ask(session, call));
    assert_contains("\"replayed\":true");
    assert_int_equal(answer_count("results"), 4);
    call.body = "{\"operations\":[{\"op\":\"append\",\"stream\":\"s\",\"events\":["
                "{\"type\":\"X\"}]}]}";
    assert_int_not_equal(ask(session, call), POLY_OK);
    call.body = body;
    call.request.idempotency_key = NULL;
    assert_fails(ask(session, call), POLY_CONFLICT);
    assert_ok(run("GET", "/v1/streams/audit-k", NULL));
    assert_int_equal(answer_count("records"), 2);
    assert_int_equal(answer_integer("version"), 2);
    assert_contains("\"correlation\":\"c1\"");
    assert_ok(run("GET", "/v1/records/documents/k", NULL));
    assert_contains("\"year\":2026");
}

static void test_streams(void **state)
{
    (void)state;
    assert_ok(
        run("POST", "/v1/streams/order-1",
            "{\"expected\":\"none\",\"events\":[{\"type\":\"A\",\"data\":{\"city\":\"Paris\"}},"
            "{\"type\":\"B\",\"data\":{\"city\":\"Rome\"},\"meta\":{\"x\":1}},"
            "{\"type\":\"C\",\"data\":\"text\"},{\"type\":\"D\",\"data\":42}]}"));
    assert_fails(
        run("POST", "/v1/streams/order-1", "{\"expected\":2,\"events\":[{\"type\":\"E\"}]}"),
        POLY_CONFLICT);
    assert_fails(run("POST", "/v1/streams/order-1", "{\"events\":[{\"type\":\"$put\"}]}"),
                 POLY_INVALID);
    assert_ok(run("GET", "/v1/streams/order-1?backwards=true&limit=1", NULL));
    assert_contains("\"type\":\"D\",\"data\":42");
    assert_contains("\"more\":true");
    assert_ok(run("GET", "/v1/streams/order-1?path=$.city&equal=%22Rome%22", NULL));
    assert_int_equal(answer_count("records"), 1);
    assert_contains(",\"x\":1}}");
    assert_ok(run("GET", "/v1/streams/order-2", NULL));
    assert_int_equal(answer_integer("version"), 0);
}

static void test_sql(void **state)
{
    (void)state;
    migrate();
    put("k", "{\"title\":\"t\"}");
    assert_ok(
        run("POST", "/v1/sql",
            "{\"sql\":\"SELECT id, CAST(?1 AS bigint) AS n FROM documents\",\"values\":[7]}"));
    assert_string_equal(sink.out.data, "{\"rows\":[{\"id\":\"k\",\"n\":7}]}\n");
    assert_ok(run("POST", "/v1/sql", "{\"sql\":\"SELECT ?1 AS n FROM documents\",\"values\":[7]}"));
    assert_string_equal(sink.out.data, fixture_differs(&place, "parameters-that-stand-alone")
                                           ? "{\"rows\":[{\"n\":\"7\"}]}\n"
                                           : "{\"rows\":[{\"n\":7}]}\n");
    assert_ok(run("POST", "/v1/sql?format=ndjson",
                  "{\"sql\":\"WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c "
                  "WHERE n < 50000) SELECT n FROM c\"}"));
    assert_true(sink.largest < 32 * 1024);
    assert_contains("{\"n\":50000}\n");
    assert_int_not_equal(run("POST", "/v1/sql", "{\"sql\":\"DELETE FROM documents\"}"), POLY_OK);
    assert_fails(run("POST", "/v1/sql", "{\"sql\":\"SELEC\"}"), POLY_INVALID);
}

static size_t count_lines(void)
{
    size_t lines = 0;

    for (size_t i = 0; i < sink.out.size; i++)
        lines += sink.out.data[i] == '\n';
    return lines;
}

static void test_log(void **state)
{
    char *export;

    (void)state;
    migrate();
    put("k", "{\"title\":\"t\"}");
    assert_ok(run("POST", "/v1/streams/order-1",
                  "{\"events\":[{\"type\":\"A\",\"data\":{\"x\":1}},{\"type\":\"B\"}]}"));
    fixture_head(&place);
    assert_ok(run("GET", "/v1/log?domain=order&type=A", NULL));
    assert_int_equal(answer_count("records"), 1);
    assert_ok(run("GET", "/v1/log?domain=documents&key=k", NULL));
    assert_contains("\"type\":\"$put\"");
    assert_ok(run("GET", "/v1/log/export", NULL));
    assert_int_equal(count_lines(), 3);
    export = strdup(sink.out.data);
    assert_non_null(export);
    assert_ok(run("POST", "/v1/log/import", export));
    free(export);
    assert_int_equal(answer_integer("events"), 2);
    assert_int_equal(answer_integer("skipped"), 1);
    assert_ok(run("GET", "/v1/streams/order-1", NULL));
    assert_int_equal(answer_integer("version"), 4);
    assert_ok(run("POST", "/v1/log/verify", NULL));
    assert_contains("{\"ok\":true,");
}

/* One row of another program, or of a bad disk, spoils no answer. S2-12 */
static void test_log_that_is_no_json(void **state)
{
    static const char *const targets[] = {"/v1/log", "/v1/streams/order-1"};
    static const char bad[] =
        "INSERT INTO poly_log(domain, key, version, type, time, data, meta, txn)"
        " VALUES ('order', '1', 1, 'A', 1, '{\"x\":', 'x', -1)";
    char why[300];
    bool refused;

    (void)state;
    migrate();
    refused = fixture_differs(&place, "data-that-is-no-json");
    assert_int_equal(fixture_foreign_try(&place, bad, why, sizeof(why)), !refused);
    fixture_foreign_dialects(
        &place,
        "INSERT INTO poly_log(domain, key, version, type, time, data, meta, txn)"
        " VALUES ('order', '1', 2, 'A', 2, CAST(x'22ff22' AS TEXT), '', 0),"
        " ('order', '1', 3, 'A', 3, '{\"x\":1}', NULL, 0)",
        "INSERT INTO poly_log(domain, key, version, type, time, data, meta, txn)"
        " VALUES ('order', '1', 1, 'A', 1, 'null', 'x', -1), ('order', '1', 2, 'A', 2, NULL, '', "
        "0),"
        " ('order', '1', 3, 'A', 3, '{\"x\":1}', NULL, 0)");
    fixture_head(&place);
    for (size_t i = 0; i < sizeof(targets) / sizeof(*targets); i++) {
        assert_ok(run("GET", targets[i], NULL));
        assert_int_equal(answer_count("records"), 3);
        assert_contains("\"txn\":-1,");
        assert_contains("\"meta\":\"x\"");
        assert_contains("\"data\":{\"x\":1}");
        if (!refused)
            assert_contains("\"data\":\"{\\\"x\\\":\",\"meta\":\"x\"");
    }
}

static void test_search(void **state)
{
    struct call call = {.method = "GET", .target = "/v1/search?q=log&count=true&highlight=true"};
    char token[48];

    (void)state;
    migrate();
    put("k", "{\"title\":\"The log\",\"body\":\"one order\",\"year\":2026}");
    memcpy(token, sink.head.token, sizeof(token));
    assert_true(token[0] != '\0');
    call.request.token = token;
    assert_ok(ask(session, call));
    assert_int_equal(answer_count("hits"), 1);
    assert_int_equal(answer_integer("total"), 1);
    assert_contains("<b>log</b>");
    assert_false(sink.head.stale);
    call.request.token = "forged";
    assert_fails(ask(session, call), POLY_INVALID);
    assert_fails(run("GET", "/v1/search?q=%22open", NULL), POLY_INVALID);
    assert_true(err.position >= 0);
    assert_ok(run("GET",
                  "/v1/search?q=log&domain=documents&filter=[{\"column\":\"year\","
                  "\"compare\":\"lt\",\"values\":[2000]}]",
                  NULL));
    assert_int_equal(answer_count("hits"), 0);
}

static void test_subscriptions(void **state)
{
    (void)state;
    assert_ok(run("POST", "/v1/streams/order-1",
                  "{\"events\":[{\"type\":\"A\"},{\"type\":\"B\"},{\"type\":\"A\"}]}"));
    assert_ok(run("GET", "/v1/subscribe?type=A&limit=2", NULL));
    assert_string_equal(sink.head.content_type, "text/event-stream");
    assert_int_equal(strncmp(sink.out.data, "id: 1\ndata: {\"position\":1,", 26), 0);
    assert_contains("\n\nid: 3\ndata: ");
    assert_fails(run("POST", "/v1/subscriptions/mailer/ack", "{\"position\":1}"), POLY_NOT_FOUND);
    assert_ok(run("GET", "/v1/subscriptions/mailer/events?limit=2", NULL));
    assert_contains("id: 1\n");
    assert_ok(run("POST", "/v1/subscriptions/mailer/ack", "{\"position\":1}"));
    assert_ok(run("GET", "/v1/subscriptions/mailer/events?limit=1", NULL));
    assert_int_equal(strncmp(sink.out.data, "id: 2\n", 6), 0);
    assert_fails(run("POST", "/v1/subscriptions/mailer/ack", "{\"position\":99}"), POLY_INVALID);
    assert_ok(run("DELETE", "/v1/subscriptions/mailer", NULL));
    assert_fails(run("DELETE", "/v1/subscriptions/mailer", NULL), POLY_NOT_FOUND);
    assert_ok(run("GET", "/v1/subscriptions/mailer/events?limit=1", NULL));
    assert_int_equal(strncmp(sink.out.data, "id: 1\n", 6), 0);
}

static void test_keys(void **state)
{
    json_t *json;
    char target[64], secret[80];
    struct poly_key key;

    (void)state;
    assert_ok(run("POST", "/v1/keys",
                  "{\"label\":\"shop\",\"tenant\":\"acme\",\"rights\":[\"read\"],"
                  "\"expires\":\"2100-01-01T00:00:00Z\"}"));
    json = answer();
    (void)snprintf(target, sizeof(target), "/v1/keys/%s",
                   json_string_value(json_object_get(json, "id")));
    (void)snprintf(secret, sizeof(secret), "%s",
                   json_string_value(json_object_get(json, "secret")));
    json_decref(json);
    assert_ok(poly_key_check(session, secret, &key, &err));
    assert_int_equal(key.rights, POLY_RIGHT_READ);
    assert_ok(run("GET", "/v1/keys", NULL));
    assert_contains("\"label\":\"shop\",\"tenant\":\"acme\",\"rights\":[\"read\"]");
    assert_null(strstr(sink.out.data, secret));
    assert_ok(run("DELETE", target, NULL));
    assert_fails(poly_key_check(session, secret, &key, &err), POLY_DENIED);
    assert_fails(run("DELETE", "/v1/keys/nobody", NULL), POLY_NOT_FOUND);
}

static void test_status(void **state)
{
    (void)state;
    migrate();
    put("k", "{\"title\":\"t\"}");
    settle();
    assert_ok(run("GET", "/v1/status", NULL));
    assert_contains("\"state\":\"ok\"");
    assert_int_equal(answer_integer("head"), 1);
    assert_int_equal(answer_count("domains"), 2);
    assert_ok(run("GET", "/ready", NULL));
    assert_int_equal(sink.head.http, 200);
    assert_ok(run("GET", "/metrics", NULL));
    assert_contains("polystore_log_head_position 1");
    assert_contains("polystore_projection_state{store=\"search\",state=\"ok\"} 1\n");
    assert_ok(run("GET", "/openapi.json", NULL));
    json_decref(answer());
}

static void test_projections(void **state)
{
    (void)state;
    migrate();
    put("k", "{\"title\":\"t\"}");
    settle(); /* a rebuild has what the log shows when it begins */
    assert_fails(run("POST", "/v1/projections/search/retry", NULL), POLY_CONFLICT);
    assert_fails(run("POST", "/v1/projections/search/skip", "{\"reason\":\"x\"}"), POLY_CONFLICT);
    assert_fails(run("POST", "/v1/projections/nothing/retry", NULL), POLY_NOT_FOUND);
    assert_ok(run("POST", "/v1/projections/search/rebuild?wait=true", NULL));
    assert_contains("\"finished\":true}\n");
    assert_ok(run("GET", "/v1/search?q=t", NULL));
    assert_int_equal(answer_count("hits"), 1);
    assert_ok(run("POST", "/v1/projections/search/back", NULL));
    assert_ok(run("GET", "/v1/search?q=t", NULL));
    assert_int_equal(answer_count("hits"), 1);
}

static void test_tenants(void **state)
{
    struct poly_session *acme =
        fixture_session(&place, "acme", POLY_RIGHTS_ALL & ~POLY_RIGHT_ADMIN);
    struct poly_session *other =
        fixture_session(&place, "other", POLY_RIGHTS_ALL & ~POLY_RIGHT_ADMIN);

    (void)state;
    migrate();
    assert_ok(ask(acme, (struct call){.method = "PUT",
                                      .target = "/v1/records/notes/1",
                                      .body = "{\"text\":\"secret\"}"}));
    assert_ok(ask(acme, (struct call){.method = "GET", .target = "/v1/records/notes/1"}));
    assert_fails(ask(other, (struct call){.method = "GET", .target = "/v1/records/notes/1"}),
                 POLY_NOT_FOUND);
    if (tenants_sql) {
        assert_ok(ask(other, (struct call){.method = "POST",
                                           .target = "/v1/sql",
                                           .body = "{\"sql\":\"SELECT * FROM notes\"}"}));
        assert_int_equal(answer_count("rows"), 0);
    }
    assert_ok(ask(other, (struct call){.method = "GET", .target = "/v1/log"}));
    assert_int_equal(answer_count("records"), 0);
    assert_fails(run("GET", "/v1/records/notes/1", NULL), POLY_DENIED);
    assert_fails(ask(other, (struct call){.method = "GET", .target = "/v1/keys"}), POLY_DENIED);
    poly_session_close(acme);
    poly_session_close(other);
}

/* --- the two halves of a write, as the daemon uses them --- */

struct submitted {
    sem_t done;
    enum poly_status status;
    const struct api_operation *operation;
};

static void reply(void *arg, enum poly_status status, const struct poly_commit *commit,
                  const struct poly_error *error)
{
    struct submitted *submitted = arg;
    struct poly_error local;

    (void)error;
    submitted->status = status;
    if (status == POLY_OK)
        submitted->status = api_commit_reply(submitted->operation, &sink.sink, commit, &local);
    sem_post(&submitted->done);
}

static void test_submitting(void **state)
{
    struct api_parameter parameter = {"stream", "order-1"};
    struct api_request request = {
        .operation = api_find("events.append"), .parameters = &parameter, .parameter_count = 1};
    char body[] = "{\"events\":[{\"type\":\"A\",\"data\":{\"x\":1}}]}";
    struct submitted submitted = {.operation = request.operation};
    struct poly_txn *txn;

    (void)state;
    sem_init(&submitted.done, 0, 0);
    request.body = body;
    request.body_size = strlen(body);
    assert_ok(api_stage(session, &request, &txn, &err));
    memset(body, 'x', sizeof(body)); /* nothing of the request is used any more */
    assert_ok(poly_txn_submit(txn, reply, &submitted, &err));
    sem_wait(&submitted.done);
    sem_destroy(&submitted.done);
    assert_int_equal(submitted.status, POLY_OK);
    assert_int_equal(answer_integer("position"), 1);
    assert_true(sink.head.token[0] != '\0');
    poly_session_reset(session);
    assert_ok(run("GET", "/v1/streams/order-1", NULL));
    assert_contains("\"data\":{\"x\":1}");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_migrations),    TEST(test_records),    TEST(test_lists),  TEST(test_transactions),
        TEST(test_streams),       TEST(test_sql),        TEST(test_log),
        TEST(test_log_that_is_no_json),                      TEST(test_search),
        TEST(test_subscriptions), TEST(test_keys),       TEST(test_status), TEST(test_projections),
        TEST(test_tenants),       TEST(test_submitting),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
