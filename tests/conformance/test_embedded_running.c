/*
 * What an adversary found where SQLite is the owner: its files, its locks, its disk, and other
 * programs that write to its log what no server would take.
 */
#include "docs.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <sys/stat.h>

/* --- what others have written --- */

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

static void a_damaged_event_does_not_hide_the_others(void **state)
{
    struct fixture *f = *state;
    struct poly_stream_query query = {.stream = "order-7", .path = "$.n", .equal = poly_int(5)};
    struct poly_records records;

    fixture_foreign(f, "INSERT INTO poly_log(domain, key, version, type, time, data)"
                       " VALUES ('order', '7', 1, 'Made', 'no time', '{bad')");
    assert_ok(lab_append(f->admin, "order-7", 1, 5, NULL, &err));
    assert_ok(poly_stream_read(f->admin, &query, &records, &err));
    assert_int_equal(records.count, 1);
    assert_int_equal(records.version, 2);
}

static void a_failed_put_leaves_no_mark(void **state)
{
    struct fixture *f = *state;

    assert_fails(put_row(f->admin, "docs", "1", ROW({"title", poly_null()}), POLY_ANY, NULL, &err),
                 POLY_INVALID);
    assert_int_equal(fixture_number(f, "SELECT count(*) FROM poly_writing"), 0);
    fixture_foreign(f, "INSERT INTO docs(id, title) VALUES ('2', 'second')");
    assert_int_equal(fixture_number(f, "SELECT txn FROM poly_log ORDER BY position DESC LIMIT 1"),
                     0);
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

/* --- the writer --- */

/* Whoever writes in interactive transactions only does not make the WAL grow for ever. */
static void interactive_transactions_are_checkpointed(void **state)
{
    struct fixture *f = *state;
    struct poly_txn_options options = {.interactive = true, .deadline_ms = 60000};
    struct stat info;
    char path[160];

    for (int i = 0; i < 120; i++) {
        struct poly_txn *txn;

        assert_ok(poly_txn_begin(f->admin, &options, &txn, &err));
        assert_ok(poly_txn_sql(txn,
                               "INSERT OR REPLACE INTO docs(id, title, body)"
                               " VALUES ('1', 'one', zeroblob(300000))",
                               NULL, 0, NULL, NULL, &err));
        assert_ok(poly_txn_commit(txn, NULL, &err));
        poly_session_reset(f->admin);
    }
    snprintf(path, sizeof(path), "%s-wal", f->file);
    assert_int_equal(stat(path, &info), 0);
    assert_true(info.st_size < 64 * 1024 * 1024);
}

#ifdef __SANITIZE_THREAD__
enum { WAL_WRITES = 40 }; /* a megabyte each: slow there, and only the races are of interest */
#else
enum { WAL_WRITES = 250 };
#endif

struct reading {
    struct fixture *f;
    _Atomic bool *done;
    int first; /* milliseconds */
};

static bool linger(void *arg, const struct poly_record *record)
{
    (void)arg;
    (void)record;
    nap(30);
    return false;
}

static void *read_on(void *arg)
{
    struct reading *reading = arg;
    struct poly_session *session = fixture_session(reading->f, NULL, POLY_RIGHTS_ALL);
    struct poly_log_query query = {.limit = 1};
    struct poly_error why;

    nap(reading->first);
    while (!atomic_load(reading->done)) {
        if (poly_log_read(session, &query, linger, NULL, NULL, &why) != POLY_OK)
            break;
        poly_session_reset(session);
    }
    poly_session_close(session);
    return NULL;
}

/* Reads that overlap, so that there is never none, do not make the WAL grow for ever. */
static void readers_do_not_hold_the_wal(void **state)
{
    struct fixture *f = *state;
    _Atomic bool done = false;
    struct reading readings[3];
    pthread_t threads[3];
    static char body[1000000];
    struct stat info;
    char path[160];

    memset(body, 'x', sizeof(body) - 1);
    assert_ok(put_doc(f, "0", "to be read"));
    for (int i = 0; i < 3; i++) {
        readings[i] = (struct reading){f, &done, i * 10};
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, &readings[i]), 0);
    }
    nap(50);
    for (int i = 0; i < WAL_WRITES; i++) {
        body[0] = (char)('a' + i % 26);
        assert_ok(put_row(f->admin, "docs", "1",
                          ROW({"title", poly_str("one")}, {"body", poly_str(body)}), POLY_ANY, NULL,
                          &err));
        poly_session_reset(f->admin);
    }
    atomic_store(&done, true);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    snprintf(path, sizeof(path), "%s-wal", f->file);
    assert_int_equal(stat(path, &info), 0);
    assert_true(info.st_size < 160 * 1024 * 1024);
}

/* What no client asked for is done again, too: here, the next step of a rebuild. */
static void a_rebuild_goes_on_after_a_failed_group(void **state)
{
    struct fixture *f = *state;
    struct poly_rebuild_options start = {.start_only = true};
    uint64_t applied;

    put_many(f, 10000);
    assert_settled(f);
    assert_ok(poly_rebuild(f->admin, "search", &start, &err));
    fault_arm(&(struct fault_plan){
        .fault = FAULT_FULL, .at = 1, .once = true, .only = "polystore.db-wal"});
    for (int i = 0; i < 500 && !fault_hit(); i++)
        nap(2);
    assert_true(fault_hit());
    applied = projection(f).building_applied;
    for (int i = 0; i < 300 && projection(f).building != 0; i++) {
        if (projection(f).building_applied > applied)
            return;
        nap(10);
    }
    assert_int_equal(projection(f).building, 0);
}

/* Whoever waits for a rebuild is told when the log fails meanwhile. */
static void a_rebuild_does_not_wait_for_a_failed_log(void **state)
{
    struct fixture *f = *state;
    struct poly_session *other;
    struct poly_status_report report;
    struct timespec until;
    pthread_t thread;
    void *status = NULL;

    put_many(f, 10000);
    assert_settled(f);
    other = fixture_session(f, NULL, POLY_RIGHTS_ALL);
    assert_int_equal(pthread_create(&thread, NULL, rebuild, f), 0);
    do {
        poly_session_reset(other);
        assert_ok(poly_status_read(other, &report, &err));
    } while (report.projections[0].building == 0 && report.projections[0].generation == 1);
    assert_int_not_equal(report.projections[0].building, 0);
    fault_arm(&(struct fault_plan){.fault = FAULT_SYNC, .at = 1, .only = "polystore.db-wal"});
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    assert_int_equal(pthread_timedjoin_np(thread, &status, &until), 0);
    assert_int_equal((intptr_t)status, POLY_UNAVAILABLE);
    poly_session_close(other);
}

/* --- other programs --- */

/* The head of the log, after at most so many milliseconds. */
static uint64_t head_within(struct fixture *f, uint64_t wanted, int ms)
{
    for (int i = 0; i < ms / 10 && poly_log_head(f->instance) < wanted; i++)
        nap(10);
    return poly_log_head(f->instance);
}

/* The disk of another program takes its time between the write of the WAL and the commit. */
static void a_slow_commit_of_others_is_seen(void **state)
{
    struct fixture *f = *state;
    uint64_t head;
    sqlite3 *db;

    assert_ok(put_doc(f, "1", "first"));
    assert_settled(f);
    head = poly_log_head(f->instance);
    nap(300);
    assert_int_equal(sqlite3_open_v2(f->file, &db, SQLITE_OPEN_READWRITE, "slow"), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(db, "PRAGMA synchronous=FULL; INSERT INTO docs(id, title) VALUES ('2', 'two')",
                     NULL, NULL, NULL),
        SQLITE_OK);
    assert_int_equal(head_within(f, head + 1, 3000), head + 1);
    sqlite3_close(db);
}

/* Somebody holds the lock while we want to take in what was committed before, and then leaves
 * without a trace. */
static void a_lock_of_others_delays_and_loses_nothing(void **state)
{
    struct fixture *f = *state;
    uint64_t head;
    sqlite3 *db;

    assert_ok(put_doc(f, "1", "first"));
    assert_settled(f);
    head = poly_log_head(f->instance);
    nap(300);
    assert_int_equal(sqlite3_open(f->file, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db,
                                  "INSERT INTO docs(id, title) VALUES ('2', 'two');"
                                  "BEGIN IMMEDIATE",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    nap(6000); /* longer than the writer waits for the lock */
    assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(head_within(f, head + 1, 7000), head + 1);
    sqlite3_close(db);
}

/* A subscription gives all before a record whose data is kept nowhere, and then says which. */
static void a_subscription_comes_to_what_is_lost(void **state)
{
    struct fixture *f = *state;
    struct poly_subscription_options options = {.name = "mine"};
    struct poly_subscription *subscription;
    const struct poly_record *records;
    uint64_t lost;
    size_t count;

    assert_ok(poly_subscribe(f->admin, &options, &subscription, &err));
    assert_ok(put_doc(f, "1", "first"));
    fixture_foreign(f, "INSERT INTO poly_log(domain, key, type, time, data)"
                       " VALUES ('others', 'nowhere', '$put', 1, 1)");
    lost = (uint64_t)fixture_number(f, "SELECT max(position) FROM poly_log");
    assert_ok(put_doc(f, "2", "second"));
    assert_ok(poly_subscription_next(subscription, 1000, &records, &count, &err));
    assert_int_equal(count, 1);
    assert_string_equal(records[0].key.data, "1");
    assert_fails(poly_subscription_next(subscription, 1000, &records, &count, &err),
                 POLY_NOT_FOUND);
    assert_message("record 2");
    assert_ok(poly_subscription_ack(subscription, lost, &err));
    poly_subscription_close(subscription);
    assert_ok(poly_subscribe(f->admin, &options, &subscription, &err));
    assert_ok(poly_subscription_next(subscription, 1000, &records, &count, &err));
    assert_int_equal(count, 1);
    assert_string_equal(records[0].key.data, "2");
    poly_subscription_close(subscription);
}

/* Why it has stopped, and where, stays, whatever else goes wrong meanwhile. */
static void a_stop_keeps_its_position(void **state)
{
    struct fixture *f = *state;
    struct poly_rebuild_options start = {.start_only = true};
    uint64_t position;

    put_many(f, 10000);
    assert_settled(f);
    position = poison(f);
    assert_int_equal(await_state(f, POLY_STATE_STOPPED).error_position, position);
    assert_ok(poly_rebuild(f->admin, "search", &start, &err));
    fault_arm(&(struct fault_plan){.fault = FAULT_FULL, .at = 1, .only = "search.db-wal"});
    for (int i = 0; i < 200 && !fault_hit(); i++)
        nap(5);
    assert_true(fault_hit());
    for (int i = 0; i < 20; i++) {
        assert_int_equal(projection(f).state, POLY_STATE_STOPPED);
        assert_int_equal(projection(f).error_position, position);
        nap(5);
    }
    fault_disarm();
    assert_ok(poly_projection_skip(f->admin, "search", "no JSON", &err));
    assert_settled(f);
    assert_int_equal(projection(f).skipped, 1);
    assert_int_equal(fixture_number(f, "SELECT position FROM poly_skip"), position);
}

/* --- a disk that takes its time --- */

static sqlite3_vfs slow_vfs;
static sqlite3_io_methods slow_methods;
static const sqlite3_io_methods *usual_methods;

static int slow_sync(sqlite3_file *file, int flags)
{
    nap(700);
    return usual_methods->xSync(file, flags);
}

static int slow_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out)
{
    sqlite3_vfs *usual = vfs->pAppData;
    int code = usual->xOpen(usual, name, file, flags, out);

    if (code != SQLITE_OK || (flags & SQLITE_OPEN_WAL) == 0)
        return code;
    usual_methods = file->pMethods;
    slow_methods = *usual_methods;
    slow_methods.xSync = slow_sync;
    file->pMethods = &slow_methods;
    return code;
}

static void slow_install(void)
{
    sqlite3_vfs *usual = sqlite3_vfs_find("unix");

    slow_vfs = *usual;
    slow_vfs.zName = "slow";
    slow_vfs.pAppData = usual;
    slow_vfs.pNext = NULL;
    slow_vfs.xOpen = slow_open;
    sqlite3_vfs_register(&slow_vfs, 0);
}

#define FOLLOWER(test)                                                                             \
    {                                                                                              \
#test " (follower)", test, setup_following, teardown, NULL                                 \
    }
#define HERE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define BOTH(test) HERE(test), FOLLOWER(test)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        BOTH(a_record_without_its_data_stops_nobody_else),
        BOTH(data_that_nobody_wants_is_not_missed),
        BOTH(a_hole_in_the_positions_is_sealed_at_once),
        BOTH(commands_are_answered_by_a_failed_log),
        HERE(a_damaged_event_does_not_hide_the_others),
        HERE(a_failed_put_leaves_no_mark),
        HERE(interactive_transactions_are_checkpointed),
        HERE(readers_do_not_hold_the_wal),
        HERE(a_rebuild_goes_on_after_a_failed_group),
        HERE(a_rebuild_does_not_wait_for_a_failed_log),
        HERE(a_slow_commit_of_others_is_seen),
        HERE(a_lock_of_others_delays_and_loses_nothing),
        HERE(a_subscription_comes_to_what_is_lost),
        FOLLOWER(a_stop_keeps_its_position),
    };

    if (argc > 1) /* one of them, by its name */
        cmocka_set_test_filter(argv[1]);
    fault_install();
    slow_install();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
