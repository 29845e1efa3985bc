/*
 * What an adversary found in the log, the writer and the projections: other programs that write
 * what nobody expects, requests that fail half way, transactions that are forgotten.
 */
#include "docs.h"

#include "base/arena.h"
#include "base/limits.h"
#include "core/session.h"

/* --- other programs --- */

/* S4-46: a value of any size that the database takes goes through the log. */
static void an_image_larger_than_a_value_goes_through(void **state)
{
    struct fixture *f = *state;
    struct poly_subscription_options options = {.name = NULL};
    struct poly_subscription *subscription;
    const struct poly_record *records;
    size_t count;

    assert_ok(poly_subscribe(f->admin, &options, &subscription, &err));
    fixture_foreign_dialects(f, "INSERT INTO docs VALUES ('big', 'whale', zeroblob(40000000))",
                             "INSERT INTO docs VALUES ('big', 'whale', repeat('0', 80000000))");
    assert_ok(put_doc(f, "2", "second"));
    assert_settled(f);
    assert_ok(poly_subscription_next(subscription, 1000, &records, &count, &err));
    assert_true(count >= 1 && records[0].data.text.size > 80000000);
    poly_subscription_close(subscription);
}

static void positions_are_positive(void **state)
{
    struct fixture *f = *state;
    char why[512];

    assert_false(fixture_foreign_try(f,
                                     "INSERT INTO poly_log(position, domain, key, type, time, data)"
                                     " VALUES (-5, 'order', '7', 'Made', 1, '{}')",
                                     why, sizeof(why)));
    assert_false(fixture_foreign_try(f,
                                     "INSERT INTO poly_log(position, domain, key, type, time, data)"
                                     " VALUES (9223372036854775807, 'order', '7', 'Made', 1, '{}')",
                                     why, sizeof(why)));
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
    fixture_foreign_dialects(
        f, "INSERT INTO docs(id, title, body) VALUES ('2', 'second', hex(zeroblob(3000)))",
        "INSERT INTO docs(id, title, body) VALUES ('2', 'second', repeat('0', 6000))");
    assert_settled(f);
    assert_intact(f);
}

/* --- requests that fail --- */

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
    options.after = fixture_head(f) + 1;
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

#define FOLLOWER(test) {#test " (follower)", test, setup_following, teardown, NULL}
#define BOTH(test) cmocka_unit_test_setup_teardown(test, setup, teardown), FOLLOWER(test)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        BOTH(an_image_larger_than_a_value_goes_through),
        cmocka_unit_test_setup_teardown(positions_are_positive, setup, teardown),
        cmocka_unit_test_setup_teardown(a_column_added_by_others_changes_no_record, setup,
                                        teardown),
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
