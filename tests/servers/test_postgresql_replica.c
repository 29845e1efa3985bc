/* Reads from a standby: S3-17. Run by tests/servers/with postgresql15,standby. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control.h"
#include "lab.h"
#include "polystore.h"
#include "test.h"

static char folder[LAB_PATH];
static const char *primary, *standby;

static struct poly_instance *open_with(const char *more)
{
    char config[3000];
    struct poly_options options = {.data = folder, .config_text = config};
    struct poly_instance *instance;
    struct poly_error err;

    snprintf(config, sizeof(config),
             "stores: {relational: {driver: postgresql, url: '%s', replicas: ['%s'], pool: "
             "{connect: 1m}%s}}\n"
             "domains:\n  orders: {stream: order, tenant: none}\n",
             primary, standby, more);
    assert_ok(poly_open(&options, &instance, &err));
    return instance;
}

static void replay(const char *what)
{
    char value[CONTROL_LINE];

    assert_true(control_order(value, sizeof(value),
                              "postgresql-standby sql SELECT pg_wal_replay_%s()", what));
}

static uint64_t version_of(struct poly_session *session, const char *token,
                           enum poly_consistency consistency)
{
    struct poly_stream_query query = {.stream = "order-1"};
    struct poly_records records;
    struct poly_error err;

    assert_ok(poly_session_after(session, token, consistency, &err));
    assert_ok(poly_stream_read(session, &query, &records, &err));
    return records.version;
}

/* The standby stands still: who asks for a write that it has not gets it from the primary. */
static void behind(void **state)
{
    struct poly_instance *instance = open_with("");
    struct poly_session *session = lab_session(instance, NULL),
                        *reader = lab_session(instance, NULL);
    struct poly_commit commit;
    struct poly_error err;

    (void)state;
    assert_ok(lab_append(session, "order-1", POLY_ANY, 1, &commit, &err));
    for (int i = 0; i < 200 && version_of(reader, NULL, POLY_STALE) != 1; i++)
        usleep(50000);
    assert_int_equal(version_of(reader, NULL, POLY_STALE), 1);
    replay("pause");
    assert_ok(lab_append(session, "order-1", POLY_ANY, 2, &commit, &err));
    assert_int_equal(version_of(reader, commit.token.text, POLY_WAIT), 2);
    assert_int_equal(version_of(reader, commit.token.text, POLY_FAIL), 2);
    assert_false(poly_session_freshness(reader).stale);
    /* … and who takes what there is is told that it is old: so it was the standby */
    assert_int_equal(version_of(reader, commit.token.text, POLY_STALE), 1);
    assert_true(poly_session_freshness(reader).stale);
    replay("resume");
    poly_session_close(session);
    poly_session_close(reader);
    poly_close(instance);
}

/* A number that the standby answers. */
static double ask(const char *sql)
{
    char value[CONTROL_LINE];

    assert_true(control_order(value, sizeof(value), "postgresql-standby sql %s", sql));
    return strtod(value, NULL);
}

static double paused; /* when; by the standby's clock */

/* When somebody asks it how far it is, and waits. */
static void *resume(void *arg)
{
    char sql[300];

    (void)arg;
    snprintf(sql, sizeof(sql),
             "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'polystore'"
             " AND query LIKE '%%pg_last_wal_replay_lsn%%'"
             " AND extract(epoch FROM query_start) > %.6f",
             paused);
    while (ask(sql) == 0)
        usleep(10000);
    replay("resume");
    return NULL;
}

/* The watch has seen it, and noted its place. */
static void await_head(struct poly_instance *instance, uint64_t position)
{
    while (poly_log_head(instance) < position)
        usleep(1000);
}

/* With a wait, it is the standby that answers, as soon as it can. */
static void waited(void **state)
{
    struct poly_instance *instance = open_with(", replica_wait: 1m");
    struct poly_session *session = lab_session(instance, NULL),
                        *reader = lab_session(instance, NULL);
    struct poly_commit commit;
    struct poly_error err;
    pthread_t thread;

    (void)state;
    assert_ok(lab_append(session, "order-1", POLY_ANY, 3, &commit, &err));
    assert_int_equal(version_of(reader, commit.token.text, POLY_WAIT), 3);
    replay("pause");
    assert_ok(lab_append(session, "order-1", POLY_ANY, 4, &commit, &err));
    await_head(instance, commit.position);
    paused = ask("SELECT extract(epoch FROM clock_timestamp())");
    pthread_create(&thread, NULL, resume, NULL);
    assert_int_equal(version_of(reader, commit.token.text, POLY_WAIT), 4);
    pthread_join(thread, NULL);
    poly_session_close(session);
    poly_session_close(reader);
    poly_close(instance);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(behind), cmocka_unit_test(waited)};
    int failed;

    primary = control_url("POSTGRESQL_URL");
    standby = control_url("POSTGRESQL_STANDBY_URL");
    if (primary == NULL || standby == NULL) {
        printf("skipped: PostgreSQL standby (POLY_TEST_POSTGRESQL_STANDBY_URL is not set)\n");
        return 77;
    }
    lab_folder_make(folder);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    lab_folder_remove(folder);
    return failed;
}
