/*
 * What an adversary found in the log, the writer and the projections: other programs that write
 * what nobody expects, requests that fail half way, transactions that are forgotten.
 */
#include "fixture.h"

#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/limits.h"
#include "core/session.h"
#include "docs.h"
#include "lab.h"
#include "vfs_fault.h"

static struct poly_error err;

static enum poly_status put_doc(struct fixture *f, const char *key, const char *title)
{
    return put_row(f->admin, "docs", key, ROW({"title", poly_str(title)}), POLY_ANY, NULL, &err);
}

static void assert_settled(struct fixture *f)
{
    char why[512] = "";

    if (!lab_settled(f->admin, why, sizeof(why)))
        fail_msg("%s", why);
}

static void assert_intact(struct fixture *f)
{
    char why[512];
    uint64_t bad = lab_verify(f->admin, why, sizeof(why));

    if (bad != 0)
        fail_msg("record %llu: %s", (unsigned long long)bad, why);
}

/* Until the state of the only projection is this; the report as it was then. */
static struct poly_projection_status await_state(struct fixture *f, enum poly_state state)
{
    struct poly_status_report report;

    for (int i = 0; i < 3000; i++) {
        assert_ok(poly_status_read(f->admin, &report, &err));
        assert_int_equal(report.projection_count, 1);
        if (report.projections[0].state == state)
            return report.projections[0];
        nanosleep(&(struct timespec){0, 2000000}, NULL);
    }
    fail_msg("state %s, not %s: %s", poly_state_name(report.projections[0].state),
             poly_state_name(state), report.projections[0].error.data);
    return report.projections[0];
}

/* --- other programs --- */

/* A record whose data is kept nowhere stops what needs it, and nothing else. */
static void a_record_without_its_data_stops_nobody_else(void **state)
{
    struct fixture *f = *state;
    struct poly_projection_status projection;
    char why[512];

    assert_ok(put_doc(f, "1", "first"));
    fixture_foreign(f, "INSERT INTO poly_log(domain, key, type, time, data)"
                       " VALUES ('docs', 'nowhere', '$put', 1, 1)");
    assert_ok(put_doc(f, "2", "second"));
    assert_ok(lab_append(f->admin, "order-1", POLY_ANY, 1, NULL, &err));
    projection = await_state(f, POLY_STATE_STOPPED);
    assert_int_equal(projection.error_position, 2);
    assert_int_equal(projection.applied, 1);
    assert_non_null(strstr(projection.error.data, "record 2"));
    assert_int_equal(lab_verify(f->admin, why, sizeof(why)), 2);
    assert_ok(poly_projection_skip(f->admin, "search", "somebody's mistake", &err));
    assert_settled(f);
}

/* The same of a domain that is not searched: the index does not need it. */
static void data_that_nobody_wants_is_not_missed(void **state)
{
    struct fixture *f = *state;

    fixture_foreign(f, "INSERT INTO poly_log(domain, key, type, time, data)"
                       " VALUES ('others', 'nowhere', '$put', 1, 1)");
    assert_ok(put_doc(f, "2", "second"));
    assert_settled(f);
}

/* S4-46: a value of any size that SQLite takes goes through the log. */
static void an_image_larger_than_a_value_goes_through(void **state)
{
    struct fixture *f = *state;
    struct poly_subscription_options options = {.name = NULL};
    struct poly_subscription *subscription;
    const struct poly_record *records;
    size_t count;

    assert_ok(poly_subscribe(f->admin, &options, &subscription, &err));
    fixture_foreign(f, "INSERT INTO docs VALUES ('big', 'whale', zeroblob(40000000))");
    assert_ok(put_doc(f, "2", "second"));
    assert_settled(f);
    assert_ok(poly_subscription_next(subscription, 1000, &records, &count, &err));
    assert_true(count >= 1 && records[0].data.text.size > 80000000);
    poly_subscription_close(subscription);
}

static void a_hole_in_the_positions_is_sealed_at_once(void **state)
{
    struct fixture *f = *state;

    assert_ok(put_doc(f, "1", "first"));
    fixture_foreign(f, "INSERT INTO poly_log(position, domain, key, version, type, time, data)"
                       " VALUES (9000, 'order', '7', 1, 'Made', 1, '{}')");
    fixture_foreign(f, "INSERT INTO poly_log(position, domain, key, version, type, time, data)"
                       " VALUES (1000000000000, 'order', '7', 2, 'Made', 1, '{}')");
    assert_ok(put_doc(f, "2", "second"));
    assert_settled(f);
    assert_intact(f);
    assert_int_equal(lab_stream_version(f->admin, "order-7"), 2);
    fixture_foreign(f, "INSERT INTO poly_log(position, domain, key, version, type, time, data)"
                       " VALUES (500000, 'order', '7', 3, 'Made', 1, '{}')");

    char why[512];

    assert_int_equal(lab_verify(f->admin, why, sizeof(why)), 500000);
}

static void positions_are_positive(void **state)
{
    struct fixture *f = *state;
    char why[512];

    assert_int_not_equal(
        lab_foreign_sql(f->data, "INSERT INTO poly_log(position, domain, key, type, time, data)"
                                 " VALUES (-5, 'order', '7', 'Made', 1, '{}')",
                        why, sizeof(why)),
        0);
    assert_int_not_equal(
        lab_foreign_sql(f->data, "INSERT INTO poly_log(position, domain, key, type, time, data)"
                                 " VALUES (9223372036854775807, 'order', '7', 'Made', 1, '{}')",
                        why, sizeof(why)),
        0);
}

/* The image is that of the columns at the time of the change, while the table is altered too. */
static void a_column_added_by_others_changes_no_record(void **state)
{
    struct fixture *f = *state;
    char body[6000];

    memset(body, 'x', sizeof(body) - 1);
    body[sizeof(body) - 1] = '\0';
    assert_ok(put_row(f->admin, "docs", "1",
                      ROW({"title", poly_str("first")}, {"body", poly_str(body)}), POLY_ANY, NULL,
                      &err));
    assert_intact(f);
    fixture_foreign(f, "ALTER TABLE docs ADD COLUMN extra TEXT DEFAULT 'new'");
    assert_intact(f);
    fixture_foreign(f, "INSERT INTO docs(id, title, body) VALUES ('2', 'second',"
                       " hex(zeroblob(3000)))");
    assert_settled(f);
    assert_intact(f);
}

static void a_damaged_event_does_not_hide_the_others(void **state)
{
    struct fixture *f = *state;
    struct poly_stream_query query = {
        .stream = "order-7", .path = "$.n", .equal = poly_int(5)};
    struct poly_records records;

    fixture_foreign(f, "INSERT INTO poly_log(domain, key, version, type, time, data)"
                       " VALUES ('order', '7', 1, 'Made', 'no time', '{bad')");
    assert_ok(lab_append(f->admin, "order-7", 1, 5, NULL, &err));
    assert_ok(poly_stream_read(f->admin, &query, &records, &err));
    assert_int_equal(records.count, 1);
    assert_int_equal(records.version, 2);
}

/* --- requests that fail --- */

static void a_failed_put_leaves_no_mark(void **state)
{
    struct fixture *f = *state;

    assert_fails(put_row(f->admin, "docs", "1", ROW({"title", poly_null()}), POLY_ANY, NULL, &err),
                 POLY_INVALID);
    assert_int_equal(lab_foreign_number(f->data, "SELECT count(*) FROM poly_writing"), 0);
    fixture_foreign(f, "INSERT INTO docs(id, title) VALUES ('2', 'second')");
    assert_int_equal(
        lab_foreign_number(f->data, "SELECT txn FROM poly_log ORDER BY position DESC LIMIT 1"), 0);
}

/* No memory for the result, after the row was written: nothing has happened. */
static void a_put_without_room_for_its_result_is_undone(void **state)
{
    struct fixture *f = *state;
    struct poly_session_options small = {.rights = POLY_RIGHTS_ALL, .memory_max = 65536};
    struct poly_document document;
    struct poly_session *session;
    struct poly_txn *txn;

    assert_ok(poly_session_open(f->instance, &small, &session, &err));
    assert_ok(poly_txn_begin(session, NULL, &txn, &err));
    assert_ok(poly_put(txn, "docs", "1", ROW({"title", poly_str("first")}), POLY_ANY, &err));
    while (poly_arena_alloc(poly_session_arena(session), 1) != NULL) {
    }
    assert_fails(poly_txn_commit(txn, NULL, &err), POLY_NO_MEMORY);
    assert_fails(poly_get(f->admin, "docs", "1", &document, &err), POLY_NOT_FOUND);
    poly_session_close(session);
}

static void text_is_as_long_as_its_json(void **state)
{
    struct fixture *f = *state;
    size_t size = POLY_MAX_VALUE / 4;
    char *text = malloc(size);
    struct poly_event event = {.type = "Said", .data = {.type = POLY_TEXT}};
    struct poly_txn *txn;

    assert_non_null(text);
    memset(text, '\x01', size);
    event.data.text = (struct poly_text){text, size};
    assert_ok(poly_txn_begin(f->admin, NULL, &txn, &err));
    assert_fails(poly_append(txn, "order-1", POLY_ANY, &event, 1, &err), POLY_LIMIT);
    poly_txn_abort(txn);
    free(text);
}

static void a_subscription_does_not_begin_beyond_the_log(void **state)
{
    struct fixture *f = *state;
    struct poly_subscription_options options = {.after = UINT64_MAX};
    struct poly_subscription *subscription;

    assert_fails(poly_subscribe(f->admin, &options, &subscription, &err), POLY_INVALID);
    options.name = "mine";
    options.after = poly_log_head(f->instance) + 1;
    assert_fails(poly_subscribe(f->admin, &options, &subscription, &err), POLY_INVALID);
}

/* --- waiting --- */

/* The keeper ends it, whatever else it has to do at that time. */
static void a_forgotten_transaction_ends_when_all_is_quiet(void **state)
{
    struct fixture *f = *state;
    struct poly_txn_options options = {.interactive = true, .deadline_ms = 6000};
    struct poly_status_report report;
    struct poly_txn *txn;
    bool held = true;

    assert_ok(put_doc(f, "1", "first"));
    assert_ok(poly_txn_begin(f->admin, &options, &txn, &err));
    for (int i = 0; i < 160 && held; i++) {
        nanosleep(&(struct timespec){0, 50000000}, NULL);
        assert_ok(poly_status_read(f->admin, &report, &err));
        held = report.writer_held;
    }
    assert_false(held);
    assert_fails(poly_txn_commit(txn, NULL, &err), POLY_TIMEOUT);
    assert_ok(put_doc(f, "2", "second"));
}

static void *rebuild(void *arg)
{
    struct fixture *f = arg;
    struct poly_error why;

    return (void *)(intptr_t)poly_rebuild(f->admin, "search", NULL, &why);
}

/* A command to a projection is answered although the log can no longer be written. */
static void commands_are_answered_by_a_failed_log(void **state)
{
    struct fixture *f = *state;
    struct timespec until;
    pthread_t thread;
    void *status = NULL;

    assert_ok(put_doc(f, "1", "first"));
    assert_settled(f);
    fault_arm(&(struct fault_plan){.fault = FAULT_SYNC, .at = 1, .only = "polystore.db-wal"});
    assert_int_not_equal(put_doc(f, "2", "second"), POLY_OK);
    assert_int_equal(pthread_create(&thread, NULL, rebuild, f), 0);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 10;
    assert_int_equal(pthread_timedjoin_np(thread, &status, &until), 0);
    assert_int_equal((intptr_t)status, POLY_UNAVAILABLE);
}

#define FOLLOWER(test) {#test " (follower)", test, setup_following, teardown, NULL}
#define BOTH(test) cmocka_unit_test_setup_teardown(test, setup, teardown), FOLLOWER(test)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        BOTH(a_record_without_its_data_stops_nobody_else),
        BOTH(data_that_nobody_wants_is_not_missed),
        BOTH(an_image_larger_than_a_value_goes_through),
        BOTH(a_hole_in_the_positions_is_sealed_at_once),
        BOTH(commands_are_answered_by_a_failed_log),
        cmocka_unit_test_setup_teardown(positions_are_positive, setup, teardown),
        cmocka_unit_test_setup_teardown(a_column_added_by_others_changes_no_record, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_damaged_event_does_not_hide_the_others, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_put_leaves_no_mark, setup, teardown),
        cmocka_unit_test_setup_teardown(a_put_without_room_for_its_result_is_undone, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(text_is_as_long_as_its_json, setup, teardown),
        cmocka_unit_test_setup_teardown(a_subscription_does_not_begin_beyond_the_log, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_forgotten_transaction_ends_when_all_is_quiet, setup,
                                        teardown),
    };

    if (argc > 1) /* one of them, by its name */
        cmocka_set_test_filter(argv[1]);
    fault_install();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
