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

/* --- projections --- */

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

    sqlite3 *db;
    sqlite3_stmt *count;
    char path[160];

    snprintf(path, sizeof(path), "%s/search.db", f->data);
    assert_int_equal(sqlite3_open(access(path, F_OK) == 0 ? path : f->file, &db), SQLITE_OK);
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
    assert_int_equal(fixture_number(f, "SELECT count(*) FROM docs"), 1);
}

#define FOLLOWER(test) {#test " (follower)", test, setup_following, teardown, NULL}
#define HERE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define BOTH(test) HERE(test), FOLLOWER(test)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        BOTH(a_generation_given_up_is_gone),   BOTH(many_operators_break_nothing),
        BOTH(the_status_is_told_during_swaps), HERE(a_forked_child_does_not_keep_the_folder),
        HERE(a_closed_session_holds_nothing),
    };

    if (argc > 1) /* one of them, by its name */
        cmocka_set_test_filter(argv[1]);
    fault_install();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
