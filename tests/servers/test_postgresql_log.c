/* The log on PostgreSQL: S2-05, S3-13. Run by tests/servers/with. */
#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "control.h"
#include "lab.h"
#include "owners/postgresql/postgresql.h"
#include "polystore.h"
#include "test.h"

static char folder[] = "/tmp/polystore-test-XXXXXX";
static const char *url;

static struct poly_instance *open_at(const char *data)
{
    char config[2000], path[100];
    struct poly_options options = {.data = path, .config_text = config};
    struct poly_instance *instance;
    struct poly_error err;

    snprintf(path, sizeof(path), "%s/%s", folder, data);
    snprintf(config, sizeof(config),
             "stores: {relational: {driver: postgresql, url: '%s', pool: {connect: 1m}}}\n"
             "domains:\n  orders: {stream: order, tenant: session, search: {fields: [text]}}\n",
             url);
    assert_ok(poly_open(&options, &instance, &err));
    return instance;
}

static struct poly_session *session_of(struct poly_instance *instance, const char *tenant)
{
    struct poly_session_options options = {
        .tenant = tenant, .rights = POLY_RIGHTS_ALL, .deadline_ms = 60000};
    struct poly_session *session;
    struct poly_error err;

    assert_ok(poly_session_open(instance, &options, &session, &err));
    return session;
}

static enum poly_status append(struct poly_session *session, const char *stream, int64_t expected,
                               const char *json, struct poly_commit *commit, struct poly_error *err)
{
    struct poly_event event = {.type = "Happened", .data = poly_json(json)};
    struct poly_txn *txn;
    enum poly_status status = poly_txn_begin(session, NULL, &txn, err);

    if (status == POLY_OK)
        status = poly_append(txn, stream, expected, &event, 1, err);
    return status == POLY_OK ? poly_txn_commit(txn, commit, err) : status;
}

static void streams(void **state)
{
    struct poly_instance *instance = open_at("a"), *other = open_at("b");
    struct poly_session *one = session_of(instance, "one"), *two = session_of(other, "one");
    struct poly_stream_query query = {.stream = "order-1"};
    struct poly_records records;
    struct poly_commit commit;
    struct poly_error err;

    (void)state;
    assert_ok(append(one, "order-1", POLY_NONE, "{\"a\":1}", &commit, &err));
    assert_int_equal(commit.results[0].version, 1);
    assert_fails(append(one, "order-1", POLY_NONE, "{}", &commit, &err), POLY_CONFLICT);
    assert_non_null(strstr(err.message, "its version is 1, expected 0"));
    assert_ok(append(one, "order-1", POLY_ANY, "{\"a\":\"x\"}", &commit, &err));
    assert_ok(append(one, "order-1", 2, "{\"a\":3}", &commit, &err));
    /* at another daemon, with the token */
    assert_ok(poly_session_after(two, commit.token.text, POLY_WAIT, &err));
    assert_ok(poly_stream_read(two, &query, &records, &err));
    assert_int_equal(records.count, 3);
    assert_int_equal(records.version, 3);
    assert_string_equal(records.records[0].data.text.data, "{\"a\":1}");
    query.path = "$.a";
    query.equal = poly_str("x");
    assert_ok(poly_stream_read(two, &query, &records, &err));
    assert_int_equal(records.count, 1);
    assert_int_equal(records.records[0].version, 2);
    poly_session_close(one);
    poly_session_close(two);
    poly_close(instance);
    poly_close(other);
}

/* Many operations are one transaction and one pipeline: all or nothing. */
static void batches(void **state)
{
    enum { MANY = 500 };
    struct poly_instance *instance = open_at("a");
    struct poly_session *session = session_of(instance, "batch");
    struct poly_event event = {.type = "Happened", .data = poly_json("{}")};
    struct poly_txn_options once = {.idempotency_key = "once"};
    struct poly_commit commit, again;
    struct poly_records records;
    struct poly_stream_query query = {.stream = "order-batch-7"};
    struct poly_txn *txn;
    struct poly_error err;
    char name[40];

    (void)state;
    for (int round = 0; round < 2; round++) {
        assert_ok(poly_txn_begin(session, NULL, &txn, &err));
        for (int i = 0; i < MANY; i++) {
            snprintf(name, sizeof(name), "order-batch-%d", i);
            assert_ok(poly_append(txn, name, round, &event, 1, &err));
        }
        assert_ok(poly_txn_commit(txn, &commit, &err));
        assert_int_equal(commit.count, MANY);
        assert_int_equal(commit.results[MANY - 1].version, round + 1);
    }
    /* the last of them fails, and none has happened */
    assert_ok(poly_txn_begin(session, NULL, &txn, &err));
    assert_ok(poly_append(txn, "order-batch-7", POLY_ANY, &event, 1, &err));
    assert_ok(poly_append(txn, "order-batch-8", 17, &event, 1, &err));
    assert_fails(poly_txn_commit(txn, &commit, &err), POLY_CONFLICT);
    assert_non_null(strstr(err.message, "operation 2 of 2"));
    assert_ok(poly_stream_read(session, &query, &records, &err));
    assert_int_equal(records.version, 2);
    /* with a key, the first answer comes again */
    for (int i = 0; i < 2; i++) {
        assert_ok(poly_txn_begin(session, &once, &txn, &err));
        assert_ok(poly_append(txn, "order-batch-9", POLY_ANY, &event, 1, &err));
        assert_ok(poly_txn_commit(txn, i == 0 ? &commit : &again, &err));
    }
    assert_int_equal(commit.position, again.position);
    assert_true(again.replayed);
    assert_int_equal(again.results[0].version, 3);
    poly_session_close(session);
    poly_close(instance);
}

/* Interactive ones run beside each other, each until its deadline. */
static void interactive(void **state)
{
    struct poly_instance *instance = open_at("a");
    struct poly_session *one = session_of(instance, "int"), *two = session_of(instance, "int");
    struct poly_txn_options options = {.interactive = true};
    struct poly_txn_options brief = {.interactive = true, .deadline_ms = 2000};
    enum poly_status status = POLY_OK;
    struct poly_event event = {.type = "Happened", .data = poly_json("{}")};
    struct poly_stream_query query = {.stream = "order-b"};
    struct poly_records records;
    struct poly_commit commit;
    struct poly_txn *a, *b;
    struct poly_error err;

    (void)state;
    assert_ok(poly_txn_begin(one, &options, &a, &err));
    assert_ok(poly_txn_begin(two, &brief, &b, &err));
    assert_ok(poly_append(a, "order-a", POLY_ANY, &event, 1, &err));
    assert_fails(poly_append(a, "order-a", 5, &event, 1, &err), POLY_CONFLICT);
    assert_ok(poly_append(b, "order-b", POLY_ANY, &event, 1, &err));
    assert_ok(poly_txn_commit(a, &commit, &err));
    assert_int_equal(commit.results[0].version, 1);
    for (int i = 0; i < 600 && status == POLY_OK; i++) {
        usleep(100000);
        status = poly_append(b, "order-b", POLY_ANY, &event, 1, &err);
    }
    assert_int_equal(status, POLY_TIMEOUT);
    assert_fails(poly_txn_commit(b, &commit, &err), POLY_TIMEOUT);
    assert_ok(poly_stream_read(two, &query, &records, &err));
    assert_int_equal(records.count, 0);
    poly_session_close(one);
    poly_session_close(two);
    poly_close(instance);
}

static size_t found(struct poly_session *session, const char *word, const struct poly_commit *after)
{
    struct poly_search_query query = {.query = word};
    struct poly_hits hits;
    struct poly_error err;

    if (after != NULL)
        assert_ok(poly_session_after(session, after->token.text, POLY_WAIT, &err));
    assert_ok(poly_search(session, &query, &hits, &err));
    return hits.count;
}

static void settle(struct poly_instance *instance)
{
    struct poly_session *session = session_of(instance, NULL);
    struct poly_status_report report;
    struct poly_error err;
    int64_t deadline = poly_clock_monotonic() + 20000000;

    do {
        usleep(20000);
        assert_ok(poly_status_read(session, &report, &err));
    } while (report.state != POLY_STATE_OK && poly_clock_monotonic() < deadline);
    assert_int_equal(report.state, POLY_STATE_OK);
    poly_session_close(session);
}

/* Each daemon's index is its own, and is there again when it was thrown away. */
static void followers(void **state)
{
    struct poly_instance *a = open_at("a"), *b = open_at("b");
    struct poly_session *one = session_of(a, "search"), *two = session_of(b, "search");
    struct poly_commit commit;
    struct poly_error err;
    char path[100];

    (void)state;
    settle(a);
    settle(b);
    assert_ok(append(one, "order-s1", POLY_ANY, "{\"text\":\"a walrus\"}", &commit, &err));
    assert_int_equal(found(one, "walrus", &commit), 1);
    assert_int_equal(found(two, "walrus", &commit), 1);
    poly_session_close(two);
    poly_close(b);
    assert_ok(append(one, "order-s2", POLY_ANY, "{\"text\":\"another walrus\"}", &commit, &err));
    b = open_at("b"); /* goes on where it was */
    two = session_of(b, "search");
    assert_int_equal(found(two, "walrus", &commit), 2);
    poly_session_close(two);
    poly_close(b);
    snprintf(path, sizeof(path), "%s/b", folder);
    lab_folder_remove(path);
    b = open_at("b");
    two = session_of(b, "search");
    settle(b);
    assert_int_equal(found(two, "walrus", &commit), 2);
    poly_session_close(one);
    poly_session_close(two);
    poly_close(a);
    poly_close(b);
}

static void foreign(const char *sql)
{
    PGconn *conn = PQconnectdb(url);
    PGresult *result = PQexec(conn, sql);

    if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(conn));
    PQclear(result);
    PQfinish(conn);
}

/* What the core keeps beside the log: names of subscriptions, keys, the chain, settings. */
static void beside(void **state)
{
    struct poly_instance *instance = open_at("a"), *other = open_at("b");
    struct poly_session *admin = session_of(instance, NULL), *there = session_of(other, NULL);
    struct poly_session *one = session_of(instance, "beside");
    struct poly_subscription_options options = {.name = "mine"};
    struct poly_subscription *subscription;
    const struct poly_record *records;
    struct poly_key_options key = {.label = "l", .tenant = "beside", .rights = POLY_RIGHT_READ};
    struct poly_key checked;
    const struct poly_key *keys;
    struct poly_verification verification;
    struct poly_status_report report;
    struct poly_commit commit;
    struct poly_error err;
    char secret[80];
    size_t count;

    (void)state;
    assert_ok(append(one, "order-x", POLY_ANY, "{}", &commit, &err));
    assert_ok(poly_subscribe(one, &options, &subscription, &err));
    assert_ok(poly_subscription_next(subscription, 5000, &records, &count, &err));
    assert_int_equal(count, 1);
    assert_ok(poly_subscription_ack(subscription, records[0].position, &err));
    poly_subscription_close(subscription);
    assert_ok(poly_subscribe(one, &options, &subscription, &err));
    assert_ok(poly_subscription_next(subscription, 50, &records, &count, &err));
    assert_int_equal(count, 0);
    assert_ok(poly_status_read(one, &report, &err));
    assert_int_equal(report.subscription_count, 1);
    poly_subscription_close(subscription);
    assert_ok(poly_subscription_delete(one, "mine", &err));
    assert_ok(poly_key_create(admin, &key, secret, &err));
    assert_ok(poly_key_check(there, secret, &checked, &err));
    assert_string_equal(checked.tenant.data, "beside");
    assert_ok(poly_key_list(admin, &keys, &count, &err));
    assert_ok(poly_key_revoke(there, keys[count - 1].id.data, &err));
    assert_fails(poly_key_check(admin, secret, &checked, &err), POLY_DENIED);
    do {
        usleep(50000);
        assert_ok(poly_log_verify(admin, NULL, NULL, &verification, &err));
        assert_int_equal(verification.bad_position, 0);
    } while (verification.sealed < commit.position);
    foreign("ALTER TABLE poly.log DISABLE TRIGGER log_refuse;"
            "UPDATE poly.log SET key = 'forged' WHERE key = 'x' AND tenant = 'beside';"
            "ALTER TABLE poly.log ENABLE ALWAYS TRIGGER log_refuse");
    assert_ok(poly_log_verify(admin, NULL, NULL, &verification, &err));
    assert_int_equal(verification.bad_position, commit.position);
    assert_string_equal(verification.reason, "the record was changed after it was written");
    poly_session_close(admin);
    poly_session_close(there);
    poly_session_close(one);
    poly_close(instance);
    poly_close(other);
}

/* --- whole transactions --- */

static PGconn *stranger(void)
{
    PGconn *conn = PQconnectdb(url);

    assert_int_equal(PQstatus(conn), CONNECTION_OK);
    return conn;
}

static void say(PGconn *conn, const char *sql)
{
    PGresult *result = PQexec(conn, sql);

    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(conn));
    PQclear(result);
}

#define WRITE(key)                                                                                 \
    "INSERT INTO poly.log(tenant, domain, key, type, data)"                                        \
    " VALUES ('one', 'whole', '" key "', 'T', '{}')"

static uint64_t ask_number(const char *sql)
{
    PGconn *conn = stranger();
    PGresult *result = PQexec(conn, sql);
    uint64_t number;

    assert_int_equal(PQresultStatus(result), PGRES_TUPLES_OK);
    number = strtoull(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    PQfinish(conn);
    return number;
}

/*
 * Two write at a time, so that the lock of the one stands between the records of the other: as long
 * as the first is open, nothing of the second is seen, and then all of it at once.
 */
static void whole_transactions(void **state)
{
    struct poly_instance *instance = open_at("a");
    struct poly_session *session = session_of(instance, "one");
    struct poly_subscription_options options = {
        .after = ask_number("SELECT max(position) FROM poly.log")};
    struct poly_subscription *subscription;
    const struct poly_record *records;
    PGconn *mixed = stranger(), *open = stranger();
    struct poly_error err;
    char sql[100];
    size_t count;

    (void)state;
    assert_ok(poly_subscribe(session, &options, &subscription, &err));
    say(mixed, "BEGIN;" WRITE("mixed-1"));
    say(open, "BEGIN;" WRITE("open-1"));
    say(mixed, WRITE("mixed-2") ";COMMIT");
    /* Without a place to go on from, the horizon cuts it in two: what this is a test of. */
    assert_int_equal(ask_number("SELECT safe FROM poly.horizon()"), options.after + 1);
    snprintf(sql, sizeof(sql), "SELECT safe FROM poly.horizon(%llu)",
             (unsigned long long)options.after);
    assert_int_equal(ask_number(sql), options.after);
    assert_ok(poly_subscription_next(subscription, 300, &records, &count, &err));
    assert_int_equal(count, 0);
    say(open, WRITE("open-2") ";COMMIT");
    assert_ok(poly_subscription_next(subscription, 60000, &records, &count, &err));
    assert_int_equal(count, 4);
    assert_string_equal(records[0].key.data, "mixed-1");
    assert_string_equal(records[3].key.data, "open-2");
    PQfinish(mixed);
    PQfinish(open);
    poly_subscription_close(subscription);
    poly_session_close(session);
    poly_close(instance);
}

/* Transactions that overlap without end do not stop the log. */
static void never_whole(void **state)
{
    struct poly_instance *instance = open_at("a");
    struct poly_session *session = session_of(instance, "one");
    uint64_t begun = ask_number("SELECT max(position) FROM poly.log"), safe;
    PGconn *chain[2] = {stranger(), stranger()};
    char sql[100];

    (void)state;
    say(chain[0], "BEGIN;" WRITE("chain"));
    for (int i = 1; i <= 30; i++) {
        say(chain[i % 2], "BEGIN;" WRITE("chain"));
        for (int row = 0; row < 50; row++)
            say(chain[i % 2], WRITE("link"));
        say(chain[(i + 1) % 2], WRITE("end") ";COMMIT");
    }
    snprintf(sql, sizeof(sql), "SELECT safe FROM poly.horizon(%llu)", (unsigned long long)begun);
    safe = ask_number(sql);
    assert_true(safe > begun + 1000);
    say(chain[0], "COMMIT");
    assert_int_equal(ask_number(sql), ask_number("SELECT max(position) FROM poly.log"));
    PQfinish(chain[0]);
    PQfinish(chain[1]);
    poly_session_close(session);
    poly_close(instance);
}

/* --- order --- */

enum { WRITERS = 64, FOLLOWERS = 8 };

static int each = 40; /* transactions of a writer */
static _Atomic uint64_t committed;

/* Strangers, each with a connection of its own: waits before the commit, rolls some back. */
static void *write_some(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    PGconn *conn = PQconnectdb(url);
    char sql[300];

    assert_int_equal(PQstatus(conn), CONNECTION_OK);
    for (int i = 0; i < each; i++) {
        int rows = 1 + rand_r(&seed) % 5;
        bool abort = rand_r(&seed) % 5 == 0;

        PQclear(PQexec(conn, "BEGIN"));
        for (int r = 0; r < rows; r++) {
            snprintf(sql, sizeof(sql),
                     "INSERT INTO poly.log(tenant, domain, key, type, data) VALUES"
                     " ('one', 'foreign', '%u-%d-%d', 'T', '{}')",
                     (unsigned)(uintptr_t)arg, i, r);
            PGresult *result = PQexec(conn, sql);

            assert_int_equal(PQresultStatus(result), PGRES_COMMAND_OK);
            PQclear(result);
            if (rand_r(&seed) % 4 == 0)
                usleep((useconds_t)(rand_r(&seed) % 3000));
        }
        PQclear(PQexec(conn, abort ? "ROLLBACK" : "COMMIT"));
        if (!abort)
            atomic_fetch_add(&committed, (uint64_t)rows);
    }
    PQfinish(conn);
    return NULL;
}

struct follower {
    struct poly_instance *instance;
    _Atomic uint64_t seen;
    _Atomic bool ended; /* the last record has come */
    int64_t deadline;
    uint64_t after, last;
    bool disorder;
};

static void *follow(void *arg)
{
    struct follower *f = arg;
    struct poly_session *session = session_of(f->instance, NULL);
    const char *domains[] = {"foreign", NULL};
    struct poly_subscription_options options = {.domains = domains, .after = f->after};
    struct poly_subscription *subscription;
    struct poly_error err;

    assert_ok(poly_subscribe(session, &options, &subscription, &err));
    while (!atomic_load(&f->ended) && poly_clock_monotonic() < f->deadline) {
        const struct poly_record *records;
        size_t count;

        assert_ok(poly_subscription_next(subscription, 200, &records, &count, &err));
        for (size_t i = 0; i < count; i++) {
            bool end = strcmp(records[i].type.data, "End") == 0;

            f->disorder |= records[i].position <= f->last;
            f->last = records[i].position;
            atomic_fetch_add(&f->seen, !end);
            atomic_store(&f->ended, end);
        }
    }
    poly_subscription_close(subscription);
    poly_session_close(session);
    return NULL;
}

/* Runs writers and followers; how many followers have seen anything else than what was committed,
 * each once and in order. */
static int run_order(int64_t patience_us)
{
    struct poly_instance *instance = open_at("a");
    int wrong = 0;
    struct follower followers[FOLLOWERS];
    pthread_t writers[WRITERS], readers[FOLLOWERS];

    atomic_store(&committed, 0);
    memset(followers, 0, sizeof(followers));
    for (size_t i = 0; i < FOLLOWERS; i++) {
        followers[i].instance = instance;
        followers[i].after = poly_log_head(instance);
        followers[i].deadline = poly_clock_monotonic() + patience_us;
        pthread_create(&readers[i], NULL, follow, &followers[i]);
    }
    for (size_t i = 0; i < WRITERS; i++)
        pthread_create(&writers[i], NULL, write_some, (void *)(uintptr_t)(i + 1));
    for (size_t i = 0; i < WRITERS; i++)
        pthread_join(writers[i], NULL);
    /* All that was committed, and all that comes twice, comes before it. */
    foreign("INSERT INTO poly.log(tenant, domain, key, type, data) VALUES"
            " ('one', 'foreign', 'end', 'End', '{}')");
    for (size_t i = 0; i < FOLLOWERS; i++) {
        pthread_join(readers[i], NULL);
        wrong += followers[i].seen != atomic_load(&committed) || followers[i].disorder ||
                 !followers[i].ended;
    }
    poly_close(instance);
    return wrong;
}

static void order(void **state)
{
    (void)state;
    assert_int_equal(run_order(60000000), 0);
    if (getenv("POLY_TEST_LONG") != NULL)
        assert_true(atomic_load(&committed) >= 1000000);
    printf("%llu records in order, once each, at %d followers\n",
           (unsigned long long)atomic_load(&committed), FOLLOWERS);
}

static void order_control(void **state)
{
    (void)state;
    each = 40;
    atomic_store(&poly_control_horizon, false);
    assert_true(run_order(1000000) > 0);
    atomic_store(&poly_control_horizon, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams),      cmocka_unit_test(batches),
        cmocka_unit_test(interactive),  cmocka_unit_test(followers),
        cmocka_unit_test(beside),       cmocka_unit_test(whole_transactions),
        cmocka_unit_test(never_whole),  cmocka_unit_test(order),
        cmocka_unit_test(order_control)};

    url = control_url("POSTGRESQL_URL");
    if (url == NULL || mkdtemp(folder) == NULL) {
        printf("skipped: PostgreSQL (POLY_TEST_POSTGRESQL_URL is not set)\n");
        return 77;
    }
    if (getenv("POLY_TEST_LONG") != NULL)
        each = 6600; /* a million records that are committed, beside those that are not */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
