/*
 * What is known of a write when the server's answer is lost (S3-17, S0-28): the connection is cut
 * exactly between COMMIT and its answer, or before the server has seen COMMIT at all. Who writes
 * cannot tell the two apart.
 */
#include "test.h"

#include <libpq-fe.h>
#include <pthread.h>
#include <unistd.h>

#include "base/clock.h"
#include "control.h"
#include "owners/postgresql/postgresql.h"
#include "polystore.h"

static char folder[] = "/tmp/polystore-test-XXXXXX";
static struct poly_instance *instance;
static PGconn *beside;

static void order(const char *text)
{
    char said[2000];

    if (!control_order(said, sizeof(said), "%s", text))
        fail_msg("%s: %s", text, said);
}

/* A number that the server answers with, past the proxy. */
static long ask(const char *sql)
{
    PGresult *result = PQexec(beside, sql);
    long number;

    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(beside));
    number = strtol(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    return number;
}

static void wait_for(const char *sql)
{
    int64_t end = poly_clock_monotonic() + 20000000;

    while (ask(sql) == 0)
        if (poly_clock_monotonic() > end)
            fail_msg("it never came to: %s", sql);
}

/* The writes of 'late' stop in COMMIT, those of 'slow' in the append, others with a key just before
 * COMMIT, until they are let go. */
static void hold(void)
{
    PQclear(PQexec(beside, "SELECT pg_advisory_lock(7), pg_advisory_lock(8)"));
}

static void let_go(void)
{
    PQclear(PQexec(beside, "SELECT pg_advisory_unlock_all()"));
}

static void await_held(void)
{
    wait_for("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid IN (7, 8)"
             " AND NOT granted");
}

static struct poly_session *session_of(uint32_t deadline_ms)
{
    struct poly_session_options options = {.rights = POLY_RIGHTS_ALL, .deadline_ms = deadline_ms};
    struct poly_session *session;
    struct poly_error err;

    assert_ok(poly_session_open(instance, &options, &session, &err));
    return session;
}

struct writing {
    pthread_t thread;
    const char *stream, *key;
    uint32_t deadline_ms;
    bool interactive;
    enum poly_status status;
    struct poly_commit commit;
    struct poly_error err;
};

static void *write_one(void *arg)
{
    struct writing *w = arg;
    struct poly_session *session = session_of(w->deadline_ms);
    struct poly_txn_options options = {.idempotency_key = w->key, .interactive = w->interactive,
                                       .deadline_ms = 20000};
    struct poly_event event = {.type = "Happened", .data = poly_json("{\"n\":1}")};
    struct poly_txn *txn;

    w->status = poly_txn_begin(session, &options, &txn, &w->err);
    if (w->status == POLY_OK) {
        /* one statement alone would need no COMMIT */
        w->status = poly_append(txn, "order-beside", POLY_ANY, &event, 1, &w->err);
        if (w->status == POLY_OK)
            w->status = poly_append(txn, w->stream, POLY_NONE, &event, 1, &w->err);
        if (w->status == POLY_OK)
            w->status = poly_txn_commit(txn, &w->commit, &w->err);
        else
            poly_txn_abort(txn);
    }
    poly_session_close(session);
    return NULL;
}

static void begin(struct writing *w, const char *stream, const char *key)
{
    *w = (struct writing){.stream = stream, .key = key, .deadline_ms = 20000, .err.position = -1};
    hold();
    pthread_create(&w->thread, NULL, write_one, w);
}

static long events_of(const char *stream)
{
    char sql[200];

    snprintf(sql, sizeof(sql), "SELECT count(*) FROM poly.log WHERE key = '%s'", stream);
    return ask(sql);
}

/* The server is in the middle of COMMIT, which will succeed; its answer goes nowhere. */
static void lose_answer(void)
{
    await_held();
    order("postgresql-proxy reset");
    let_go();
    wait_for("SELECT (count(*) = 0)::int FROM pg_stat_activity WHERE query = 'COMMIT'"
             " AND state = 'active'");
}

/* The server has run the last statement, and never sees COMMIT. */
static void lose_commit(void)
{
    await_held();
    order("postgresql-proxy swallow to_server");
    let_go();
    wait_for("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DELETE FROM poly.idem%'"
             " AND state = 'idle in transaction'");
    usleep(100000); /* COMMIT is on its way */
    order("postgresql-proxy reset");
    order("postgresql-proxy passes");
}

static void with_a_key_it_is_settled(void **state)
{
    struct writing w, again;

    (void)state;
    begin(&w, "late-1", "k1");
    lose_answer();
    pthread_join(w.thread, NULL);
    if (w.status != POLY_OK)
        fail_msg("%s", w.err.message);
    assert_true(w.commit.replayed); /* by us: the first one was committed */
    assert_int_equal(events_of("1"), 1);

    begin(&w, "order-2", "k2");
    lose_commit();
    pthread_join(w.thread, NULL);
    if (w.status != POLY_OK)
        fail_msg("%s", w.err.message);
    assert_false(w.commit.replayed);
    assert_int_equal(events_of("2"), 1);

    begin(&again, "order-2", "k2");
    let_go();
    pthread_join(again.thread, NULL);
    assert_int_equal(again.status, POLY_OK);
    assert_true(again.commit.replayed);
    assert_int_equal(events_of("2"), 1);
}

static void without_one_it_is_said(void **state)
{
    struct writing w;

    (void)state;
    begin(&w, "late-3", NULL);
    lose_answer();
    pthread_join(w.thread, NULL);
    assert_int_equal(w.status, POLY_UNAVAILABLE);
    assert_true(w.err.unknown);
    assert_non_null(strstr(w.err.message, "it may have been committed"));
    wait_for("SELECT count(*) FROM poly.log WHERE key = '3'");
}

static void an_interactive_one_says_it_too(void **state)
{
    struct writing w = {.stream = "late-5", .interactive = true, .deadline_ms = 20000};

    (void)state;
    hold();
    pthread_create(&w.thread, NULL, write_one, &w);
    lose_answer();
    pthread_join(w.thread, NULL);
    assert_int_equal(w.status, POLY_UNAVAILABLE);
    assert_true(w.err.unknown);
    assert_int_equal(events_of("5"), 1);
}

/* Before COMMIT was sent there is nothing that could be unknown. */
static void before_the_commit_it_is_certain(void **state)
{
    struct writing w = {.stream = "slow-6", .interactive = true, .deadline_ms = 20000};

    (void)state;
    hold();
    pthread_create(&w.thread, NULL, write_one, &w);
    await_held();
    order("postgresql-proxy reset");
    let_go();
    pthread_join(w.thread, NULL);
    assert_int_equal(w.status, POLY_UNAVAILABLE);
    assert_false(w.err.unknown);
    assert_int_equal(events_of("6"), 0);
}

/* The server is back only after the deadline: it stays unknown, with a key too, and asking again
 * with that key settles it. */
static void the_deadline_passes(void **state)
{
    struct writing w = {.stream = "late-7", .key = "k7", .deadline_ms = 2000};

    (void)state;
    hold();
    pthread_create(&w.thread, NULL, write_one, &w);
    await_held();
    order("postgresql-proxy refuse");
    order("postgresql-proxy reset");
    let_go();
    pthread_join(w.thread, NULL);
    order("postgresql-proxy passes");
    assert_true(w.status == POLY_UNAVAILABLE || w.status == POLY_TIMEOUT);
    assert_true(w.err.unknown);
    assert_non_null(strstr(w.err.message, "the same idempotency key"));
    begin(&w, "late-7", "k7");
    let_go();
    pthread_join(w.thread, NULL);
    assert_int_equal(w.status, POLY_OK);
    assert_true(w.commit.replayed);
    assert_int_equal(events_of("7"), 1);
}

/*
 * Positions that were drawn and never committed come again after a crash: a reader that had gone
 * past them would miss what gets them then.
 */
static void numbers_that_come_again(void **state)
{
    struct poly_session *session = session_of(20000);
    struct poly_event event = {.type = "Happened", .data = poly_json("{\"n\":1}")};
    struct poly_subscription_options options = {.after = 0};
    PGconn *conn = PQconnectdb(control_url("POSTGRESQL_URL"));
    struct poly_subscription *subscription;
    const struct poly_record *records;
    struct poly_commit commit;
    struct poly_error err;
    struct poly_txn *txn;
    size_t count = 0;
    uint64_t before;

    (void)state;
    while ((long)poly_log_head(instance) < ask("SELECT max(position) FROM poly.log"))
        usleep(10000);
    before = options.after = poly_log_head(instance);
    assert_ok(poly_subscribe(session, &options, &subscription, &err));
    assert_int_equal(PQstatus(conn), CONNECTION_OK);
    PQclear(PQexec(conn, "BEGIN"));
    PQclear(PQexec(conn, "INSERT INTO poly.log(domain, key, type) SELECT 'x', 'x', 'X'"
                         " FROM generate_series(1, 200)"));
    PQclear(PQexec(conn, "ROLLBACK"));
    PQfinish(conn);
    usleep(1500000); /* the watch has looked */
    assert_int_equal(poly_log_head(instance), before);
    order("postgresql kill");
    order("postgresql start");
    for (int i = 0; i < 200; i++) {
        enum poly_status status;

        assert_ok(poly_txn_begin(session, NULL, &txn, &err));
        assert_ok(poly_append(txn, "order-after", POLY_ANY, &event, 1, &err));
        status = poly_txn_commit(txn, &commit, &err);
        if (status == POLY_OK)
            break;
        usleep(50000);
    }
    assert_ok(poly_subscription_next(subscription, 20000, &records, &count, &err));
    assert_int_equal(count, 1);
    assert_int_equal(records[0].position, commit.position);
    poly_subscription_close(subscription);
    poly_session_close(session);
}

static void prepare(void)
{
    order("postgresql sql CREATE FUNCTION poly.stop_here() RETURNS trigger LANGUAGE plpgsql AS "
          "$$BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NEW; END$$");
    order("postgresql sql CREATE CONSTRAINT TRIGGER late AFTER INSERT ON poly.log DEFERRABLE "
          "INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.domain = 'late')"
          " EXECUTE FUNCTION poly.stop_here()");
    order("postgresql sql CREATE TRIGGER slow BEFORE INSERT ON poly.log FOR EACH ROW WHEN "
          "(NEW.domain = 'slow') EXECUTE FUNCTION poly.stop_here()");
    order("postgresql sql CREATE FUNCTION poly.stop_there() RETURNS trigger LANGUAGE plpgsql AS "
          "$$BEGIN IF NOT EXISTS (SELECT 1 FROM poly.log WHERE domain IN ('late', 'slow')"
          " AND txn = pg_current_xact_id()::text::bigint) THEN"
          " PERFORM pg_advisory_xact_lock(8); END IF; RETURN NULL; END$$");
    order("postgresql sql CREATE TRIGGER last BEFORE DELETE ON poly.idempotency"
          " EXECUTE FUNCTION poly.stop_there()");
}

static int setup(void **state)
{
    char config[2000], data[100];
    struct poly_options options = {.data = data, .config_text = config};
    struct poly_error err;

    (void)state;
    snprintf(data, sizeof(data), "%s/data", folder);
    snprintf(config, sizeof(config),
             "stores: {relational: {driver: postgresql, url: '%s'}}\n"
             "domains:\n  orders: {stream: order}\n  late: {stream: late}\n"
             "  slow: {stream: slow}\n",
             control_url("POSTGRESQL_PROXY_URL"));
    assert_ok(poly_open(&options, &instance, &err));
    beside = PQconnectdb(control_url("POSTGRESQL_ADMIN_URL"));
    assert_int_equal(PQstatus(beside), CONNECTION_OK);
    prepare();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    poly_close(instance);
    PQfinish(beside);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_a_key_it_is_settled), cmocka_unit_test(without_one_it_is_said),
        cmocka_unit_test(an_interactive_one_says_it_too),
        cmocka_unit_test(before_the_commit_it_is_certain), cmocka_unit_test(the_deadline_passes),
        cmocka_unit_test(numbers_that_come_again)};

    if (control_url("POSTGRESQL_PROXY_URL") == NULL || mkdtemp(folder) == NULL) {
        printf("skipped: PostgreSQL with a proxy (POLY_TEST_POSTGRESQL_PROXY_URL is not set)\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, setup, teardown);
}
