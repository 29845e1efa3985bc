/*
 * Each mechanism once with it and once without: the second run must go wrong,
 * or the first proves nothing. SQLite's authorizer turns a statement of ours
 * into one that does nothing, so the library needs no switch for it. What
 * syncs are for is shown in test_crash.c, the hash chain in
 * conformance/test_log.c.
 */
#include "test.h"

#include <sqlite3.h>
#include <unistd.h>

#include "owners/embedded/embedded.h"
#include "core/instance.h"
#include "lab.h"
#include "vfs_fault.h"

static struct poly_error err;

static const char follower[] =
    "stores: {search: {driver: embedded, placement: follower}}\n"
    "domains: {step: {stream: step, search: {fields: [text]}}}\n";

struct place {
    char data[LAB_PATH];
    struct poly_instance *instance;
    struct poly_session *session;
};

static int setup(void **state)
{
    struct place *p = calloc(1, sizeof(*p));

    if (p == NULL)
        return -1;
    fault_disarm();
    lab_folder_make(p->data);
    p->instance = lab_open(p->data, follower);
    p->session = lab_session(p->instance, NULL);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;

    fault_disarm();
    poly_session_close(p->session);
    poly_close(p->instance);
    lab_folder_remove(p->data);
    free(p);
    return 0;
}

static sqlite3 *writer_of(struct place *p)
{
    return poly_db_handle(poly_sqlite_writer(poly_instance_embedded(p->instance)->file));
}

/* --- savepoints --- */

static int without_savepoints(void *arg, int action, const char *a, const char *b, const char *c,
                              const char *d)
{
    (void)arg, (void)a, (void)b, (void)c, (void)d;
    return action == SQLITE_SAVEPOINT ? SQLITE_IGNORE : SQLITE_OK;
}

static enum poly_status two_streams(struct place *p, int64_t expected)
{
    struct poly_event event = {.type = "Placed", .data = poly_json("{}")};
    struct poly_txn *txn;

    assert_ok(poly_txn_begin(p->session, NULL, &txn, &err));
    assert_ok(poly_append(txn, "other-1", POLY_ANY, &event, 1, &err));
    assert_ok(poly_append(txn, "other-2", expected, &event, 1, &err));
    return poly_txn_commit(txn, NULL, &err);
}

/* S3-13: a transaction that fails in the middle leaves nothing. */
static void savepoints_undo_a_failed_request(void **state)
{
    struct place *p = *state;

    assert_fails(two_streams(p, 77), POLY_CONFLICT);
    assert_int_equal(lab_stream_version(p->session, "other-1"), 0);

    sqlite3_set_authorizer(writer_of(p), without_savepoints, NULL);
    assert_fails(two_streams(p, 77), POLY_CONFLICT);
    sqlite3_set_authorizer(writer_of(p), NULL, NULL);
    assert_ok(lab_append(p->session, "other-3", POLY_ANY, 1, NULL, &err));
    assert_int_equal(lab_stream_version(p->session, "other-1"), 1); /* half of it stayed */
}

/* --- versions that another program has changed --- */

static int without_data_version(void *arg, int action, const char *a, const char *b, const char *c,
                                const char *d)
{
    (void)arg, (void)b, (void)c, (void)d;
    return action == SQLITE_PRAGMA && strcmp(a, "data_version") == 0 ? SQLITE_IGNORE : SQLITE_OK;
}

static void foreign_event(struct place *p, int version)
{
    char sql[200], why[200];

    snprintf(sql, sizeof(sql),
             "INSERT INTO poly_log(domain, key, version, type, time)"
             " VALUES ('other', '1', %d, 'Foreign', 1)",
             version);
    assert_int_equal(lab_foreign_sql(p->data, sql, why, sizeof(why)), 0);
}

/* S2-10: the cache of versions is dropped when somebody else has committed; and the unique index
 * stands behind it. */
static void versions_are_looked_up_again(void **state)
{
    struct place *p = *state;
    char why[200];

    assert_ok(lab_append(p->session, "other-1", POLY_NONE, 1, NULL, &err));
    foreign_event(p, 2);
    assert_fails(lab_append(p->session, "other-1", 1, 2, NULL, &err), POLY_CONFLICT);
    assert_ok(lab_append(p->session, "other-1", 2, 3, NULL, &err));

    sqlite3_set_authorizer(writer_of(p), without_data_version, NULL);
    assert_ok(lab_append(p->session, "other-1", 3, 4, NULL, &err));
    foreign_event(p, 5);
    assert_int_not_equal(lab_append(p->session, "other-1", 4, 5, NULL, &err), POLY_OK);
    assert_int_equal(
        lab_foreign_sql(p->data, "DROP INDEX poly_log_key", why, sizeof(why)), 0);
    assert_ok(lab_append(p->session, "other-1", POLY_ANY, 6, NULL, &err));
    foreign_event(p, 7);
    assert_ok(lab_append(p->session, "other-1", 6, 7, NULL, &err)); /* two events of version 7 */
    sqlite3_set_authorizer(writer_of(p), NULL, NULL);
    assert_int_equal(lab_foreign_number(p->data, "SELECT count(*) FROM poly_log WHERE key = '1'"
                                                 " AND domain = 'other' AND version = 7"),
                     2);
}

/* --- the fence --- */

static size_t found(struct place *p, enum poly_consistency how, const struct poly_token *token)
{
    struct poly_search_query query = {.query = "counted", .count = true};
    struct poly_hits hits;

    assert_ok(poly_session_after(p->session, token->text, how, &err));
    if (poly_search(p->session, &query, &hits, &err) != POLY_OK)
        return SIZE_MAX;
    return hits.count;
}

/* S4-57: a read with a token sees the write, or says that it cannot. Without the fence it misses
 * it; asked for as stale, it says so. */
static void the_fence_keeps_old_answers_back(void **state)
{
    struct place *p = *state;
    struct poly_commit commit;
    char why[300];

    assert_ok(lab_append(p->session, "step-1", POLY_ANY, 1, &commit, &err));
    assert_int_equal(found(p, POLY_WAIT, &commit.token), 1);
    fault_arm(&(struct fault_plan){.fault = FAULT_FULL, .at = 1, .only = "search"});
    assert_ok(lab_append(p->session, "step-1", POLY_ANY, 2, &commit, &err));

    assert_int_equal(found(p, POLY_FAIL, &commit.token), SIZE_MAX);
    assert_int_equal(err.status, POLY_UNAVAILABLE);
    assert_int_equal(found(p, POLY_STALE, &commit.token), 1);
    assert_true(poly_session_freshness(p->session).stale);
    assert_int_equal(poly_session_freshness(p->session).wanted, commit.position);
    assert_true(poly_session_freshness(p->session).applied < commit.position);
    assert_int_equal(found(p, POLY_WAIT, &(struct poly_token){""}), 1); /* no token, no fence */
    fault_disarm();
    assert_int_equal(found(p, POLY_WAIT, &commit.token), 2);
    assert_false(poly_session_freshness(p->session).stale);
    if (!lab_settled(p->session, why, sizeof(why)))
        fail_msg("%s", why);
}

/* --- an interactive transaction that SQLite has rolled back --- */

static void nothing_runs_after_a_lost_transaction(void **state)
{
    struct place *p = *state;
    struct poly_txn_options options = {.interactive = true};
    struct poly_event event = {.type = "Placed", .data = poly_json("{}")};
    struct poly_txn *txn;

    assert_ok(poly_txn_begin(p->session, &options, &txn, &err));
    assert_ok(poly_append(txn, "other-1", POLY_ANY, &event, 1, &err));
    assert_int_equal(sqlite3_exec(writer_of(p), "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    assert_fails(poly_append(txn, "other-1", POLY_ANY, &event, 1, &err), POLY_UNAVAILABLE);
    assert_message("rolled back");
    assert_fails(poly_txn_commit(txn, NULL, &err), POLY_UNAVAILABLE);
    assert_int_equal(lab_stream_version(p->session, "other-1"), 0);
    assert_ok(lab_append(p->session, "other-1", POLY_NONE, 1, NULL, &err));
}

#define PLACED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACED(savepoints_undo_a_failed_request),
        PLACED(versions_are_looked_up_again),
        PLACED(the_fence_keeps_old_answers_back),
        PLACED(nothing_runs_after_a_lost_transaction),
    };

    fault_install();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
