/*
 * What an adversary found in an instance that runs: groups that fail while nobody asks, other
 * programs that are slow, commands beside failures, processes that fork, sessions that go early.
 */
#include "fixture.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "docs.h"
#include "lab.h"
#include "vfs_fault.h"

static struct poly_error err;

static void nap(int ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000L}, NULL);
}

static enum poly_status put_doc(struct fixture *f, const char *key, const char *title)
{
    return put_row(f->admin, "docs", key, ROW({"title", poly_str(title)}), POLY_ANY, NULL, &err);
}

static void put_many(struct fixture *f, int count)
{
    char sql[256];
    uint64_t head;

    snprintf(sql, sizeof(sql),
             "INSERT INTO docs(id, title) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1"
             " FROM n WHERE i < %d) SELECT 'many-' || i, 'word ' || i FROM n",
             count);
    fixture_foreign(f, sql);
    head = (uint64_t)lab_foreign_number(f->data, "SELECT max(position) FROM poly_log");
    for (int i = 0; i < 3000 && poly_log_head(f->instance) < head; i++)
        nap(5);
}

static void assert_settled(struct fixture *f)
{
    char why[512] = "";

    if (!lab_settled(f->admin, why, sizeof(why)))
        fail_msg("%s", why);
}

static struct poly_projection_status projection(struct fixture *f)
{
    struct poly_status_report report;

    poly_session_reset(f->admin);
    assert_ok(poly_status_read(f->admin, &report, &err));
    assert_int_equal(report.projection_count, 1);
    return report.projections[0];
}

static struct poly_projection_status await_state(struct fixture *f, enum poly_state state)
{
    struct poly_projection_status now = {.state = POLY_STATE_OK};

    for (int i = 0; i < 3000; i++) {
        now = projection(f);
        if (now.state == state)
            return now;
        nap(2);
    }
    fail_msg("state %s, not %s: %s", poly_state_name(now.state), poly_state_name(state),
             now.error.data);
    return now;
}

/* A record that no index can take; its position. */
static uint64_t poison(struct fixture *f)
{
    fixture_foreign(f, "INSERT INTO poly_log(domain, key, type, time, data)"
                       " VALUES ('docs', 'poison', '$put', 1, '{bad')");
    return (uint64_t)lab_foreign_number(f->data, "SELECT max(position) FROM poly_log");
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
        assert_ok(poly_txn_sql(txn, "INSERT OR REPLACE INTO docs(id, title, body)"
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
                          ROW({"title", poly_str("one")}, {"body", poly_str(body)}), POLY_ANY,
                          NULL, &err));
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

static void *rebuild(void *arg)
{
    struct fixture *f = arg;
    struct poly_error why;

    return (void *)(intptr_t)poly_rebuild(f->admin, "search", NULL, &why);
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
    lost = (uint64_t)lab_foreign_number(f->data, "SELECT max(position) FROM poly_log");
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

/* --- projections --- */

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
    assert_int_equal(lab_foreign_number(f->data, "SELECT position FROM poly_skip"), position);
}

/* A generation that is given up leaves nothing that a later one of its number would take for its
 * own. */
static void a_generation_given_up_is_gone(void **state)
{
    struct fixture *f = *state;

    assert_ok(put_doc(f, "1", "first"));
    assert_settled(f);
    assert_ok(poly_rebuild(f->admin, "search", NULL, &err));
    assert_ok(poly_rebuild_back(f->admin, "search", &err));
    assert_int_equal(projection(f).generation, 1);
    assert_int_equal(projection(f).previous, 2);
    poison(f);
    assert_int_equal(await_state(f, POLY_STATE_STOPPED).previous, 0);
    assert_fails(poly_rebuild_back(f->admin, "search", &err), POLY_NOT_FOUND);
    assert_ok(poly_projection_skip(f->admin, "search", "no JSON", &err));
    assert_settled(f);
    fixture_close(f);

    const char *file = strstr(f->file, "polystore.db");
    sqlite3 *db;
    sqlite3_stmt *count;
    char path[160];

    snprintf(path, sizeof(path), "%s/search.db", f->data);
    assert_int_equal(sqlite3_open(access(path, F_OK) == 0 ? path : f->file, &db), SQLITE_OK);
    assert_non_null(file);
    assert_int_equal(sqlite3_prepare_v2(db,
                                        "SELECT count(*) FROM sqlite_schema"
                                        " WHERE name LIKE 'poly_search_2%'",
                                        -1, &count, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(count), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(count, 0), 0);
    sqlite3_finalize(count);
    sqlite3_close(db);
}

static void *read_status(void *arg)
{
    struct fixture *f = arg;
    struct poly_session *session = fixture_session(f, NULL, POLY_RIGHTS_ALL);
    struct poly_status_report report;
    struct poly_error why = {.position = -1};
    uint64_t generation = 0;

    while (generation < 25 && poly_status_read(session, &report, &why) == POLY_OK) {
        generation = report.projections[0].generation;
        if (report.projections[0].documents != 50 && report.projections[0].building == 0)
            why = (struct poly_error){.status = POLY_INTERNAL, .position = -1,
                                        .message = "documents are missing"};
        poly_session_reset(session);
    }
    poly_session_close(session);
    if (why.status != POLY_OK)
        fprintf(stderr, "%s\n", why.message);
    return (void *)(intptr_t)why.status;
}

/* The status is told while generations come and go. */
static void the_status_is_told_during_swaps(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[2];

    put_many(f, 50);
    assert_settled(f);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_status, f), 0);
    while (projection(f).generation < 25) {
        enum poly_status status = poly_rebuild(f->admin, "search", NULL, &err);

        assert_true(status == POLY_OK || status == POLY_UNAVAILABLE);
    }
    for (int i = 0; i < 2; i++) {
        void *status;

        assert_int_equal(pthread_join(threads[i], &status), 0);
        assert_int_equal((intptr_t)status, POLY_OK);
    }
}

struct operator {
    struct fixture *f;
    unsigned seed;
    pthread_t thread;
};

static void *operate(void *arg)
{
    struct operator*self = arg;
    struct poly_session *session = fixture_session(self->f, NULL, POLY_RIGHTS_ALL);
    struct poly_rebuild_options start = {.start_only = true};
    struct poly_error why;

    for (int i = 0; i < 60; i++) {
        enum poly_status ignored = POLY_OK;

        switch (rand_r(&self->seed) % 6) {
        case 0:
            ignored = poly_rebuild(session, "search", NULL, &why);
            break;
        case 1:
            ignored = poly_rebuild(session, "search", &start, &why);
            break;
        case 2:
            ignored = poly_rebuild_back(session, "search", &why);
            break;
        case 3:
            ignored = poly_projection_retry(session, "search", &why);
            break;
        case 4:
            ignored = poly_projection_skip(session, "search", "an operator's", &why);
            break;
        default: {
            struct poly_search_query query = {.query = "word"};
            struct poly_hits hits;

            ignored = poly_search(session, &query, &hits, &why);
            poly_session_reset(session);
            if (ignored != POLY_OK && ignored != POLY_UNAVAILABLE)
                return (void *)1;
            break;
        }
        }
        (void)ignored;
    }
    poly_session_close(session);
    return NULL;
}

/* Whatever operators do at the same time, beside writers and bad records: all is answered, and all
 * that can be found is found. */
static void many_operators_break_nothing(void **state)
{
    struct fixture *f = *state;
    struct poly_search_query query = {.query = "word", .count = true};
    struct operator operators[4];
    struct poly_hits hits;
    char key[32];

    put_many(f, 500);
    assert_settled(f);
    for (unsigned i = 0; i < 4; i++) {
        operators[i] = (struct operator){.f = f, .seed = i + 1};
        assert_int_equal(pthread_create(&operators[i].thread, NULL, operate, &operators[i]), 0);
    }
    for (int i = 0; i < 60; i++) {
        snprintf(key, sizeof(key), "new-%d", i);
        assert_ok(put_doc(f, key, "word of this"));
        if (i % 20 == 10)
            poison(f);
        nap(2);
    }
    for (size_t i = 0; i < 4; i++) {
        void *bad;

        assert_int_equal(pthread_join(operators[i].thread, &bad), 0);
        assert_null(bad);
    }
    for (int i = 0; i < 2000; i++) {
        struct poly_projection_status now = projection(f);

        if (now.state == POLY_STATE_OK && now.building == 0)
            break;
        (void)!poly_projection_skip(f->admin, "search", "at last", &err);
        nap(2);
    }
    assert_settled(f);
    assert_ok(poly_search(f->admin, &query, &hits, &err));
    assert_int_equal(hits.total, 560);
}

/* --- processes and sessions --- */

/* A child that was forked and lives on does not keep the folder. */
static void a_forked_child_does_not_keep_the_folder(void **state)
{
    struct fixture *f = *state;
    int pipes[2];
    pid_t child;
    char byte;

    assert_int_equal(pipe(pipes), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(pipes[1]);
        _exit(read(pipes[0], &byte, 1) == 0 ? 0 : 1);
    }
    close(pipes[0]);
    fixture_close(f);
    fixture_open(f, colocated);
    assert_ok(put_doc(f, "1", "first"));
    close(pipes[1]);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

/* A session that goes takes its interactive transaction with it. */
static void a_closed_session_holds_nothing(void **state)
{
    struct fixture *f = *state;
    struct poly_session *session = fixture_session(f, NULL, POLY_RIGHTS_ALL);
    struct poly_txn_options options = {.interactive = true, .deadline_ms = 600000};
    struct poly_txn *txn;

    assert_ok(poly_txn_begin(session, &options, &txn, &err));
    assert_ok(poly_put(txn, "docs", "1", ROW({"title", poly_str("never")}), POLY_ANY, &err));
    poly_session_close(session);
    assert_ok(put_doc(f, "2", "second"));
    assert_int_equal(lab_foreign_number(f->data, "SELECT count(*) FROM docs"), 1);
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

#define FOLLOWER(test) {#test " (follower)", test, setup_following, teardown, NULL}
#define HERE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define BOTH(test) HERE(test), FOLLOWER(test)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        HERE(interactive_transactions_are_checkpointed),
        HERE(readers_do_not_hold_the_wal),
        HERE(a_rebuild_goes_on_after_a_failed_group),
        HERE(a_rebuild_does_not_wait_for_a_failed_log),
        HERE(a_slow_commit_of_others_is_seen),
        HERE(a_lock_of_others_delays_and_loses_nothing),
        HERE(a_subscription_comes_to_what_is_lost),
        FOLLOWER(a_stop_keeps_its_position),
        BOTH(a_generation_given_up_is_gone),
        BOTH(many_operators_break_nothing),
        BOTH(the_status_is_told_during_swaps),
        HERE(a_forked_child_does_not_keep_the_folder),
        HERE(a_closed_session_holds_nothing),
    };

    if (argc > 1) /* one of them, by its name */
        cmocka_set_test_filter(argv[1]);
    fault_install();
    slow_install();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
