/* SQLite alone: its one writer, and those who must not wait for it. */
#include "core_place.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <unistd.h>

#include "owners/embedded/embedded.h"

static enum poly_status append(struct poly_txn *txn, const char *stream, int64_t expected,
                               const char *json)
{
    struct poly_event event = {.type = "Placed", .data = poly_json(json)};

    return poly_append(txn, stream, expected, &event, 1, &err);
}

static struct poly_txn *begin(struct poly_session *session)
{
    struct poly_txn *txn = NULL;

    assert_ok(poly_txn_begin(session, NULL, &txn, &err));
    return txn;
}

static struct poly_txn *begin_interactive(struct poly_session *session)
{
    struct poly_txn_options options = {.interactive = true};
    struct poly_txn *txn = NULL;

    assert_ok(poly_txn_begin(session, &options, &txn, &err));
    return txn;
}

/* As whoever serves many does it; the writer's thread may have something to do now and then. */
static enum poly_status commit_by_trying(struct poly_txn *txn, struct poly_commit *commit)
{
    bool tried = false;
    enum poly_status status = POLY_OK;

    for (int i = 0; i < 5000 && !tried; i++) {
        status = poly_txn_try_commit(txn, &tried, commit, &err);
        if (!tried)
            usleep(1000);
    }
    assert_true(tried);
    return status;
}

static const char foreign_event[] = "INSERT INTO poly_log(domain, key, version, type, time, data)"
                                    " VALUES ('order', ?1, 1, 'Foreign', 1, '{}')";

static void run(sqlite3 *db, const char *sql)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
}

/* … nor for another program that holds the database; and what that one leaves to be sealed is
 * for those who may wait. */
static void trying_never_waits_for_another_program(void **state)
{
    struct place *p = *state;
    char why[200];
    sqlite3 *other;
    sqlite3_stmt *insert;

    assert_int_equal(sqlite3_open(p->f.file, &other), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(other, foreign_event, -1, &insert, NULL), SQLITE_OK);
    for (int i = 0; i < 20; i++) {
        struct poly_txn *txn = begin(p->acme);
        bool tried = true;

        assert_ok(append(txn, "visit-1", i, "{}"));
        assert_ok(lab_append(p->session, "order-0", POLY_ANY, 1, NULL, &err));
        sqlite3_busy_timeout(other, 5000);
        run(other, "BEGIN IMMEDIATE");
        assert_ok(poly_txn_try_commit(txn, &tried, NULL, &err));
        assert_false(tried);
        sqlite3_bind_int(insert, 1, i + 1);
        assert_int_equal(sqlite3_step(insert), SQLITE_DONE);
        sqlite3_reset(insert);
        run(other, "COMMIT");
        assert_ok(commit_by_trying(txn, NULL));
        assert_int_equal(lab_stream_version(p->acme, "visit-1"), i + 1);
    }
    sqlite3_finalize(insert);
    sqlite3_close(other);
    assert_int_equal(lab_verify(p->session, why, sizeof(why)), 0);
    assert_int_equal(lab_stream_version(p->session, "order-20"), 1);
}

struct late {
    struct poly_request request;
    struct poly_writer *writer;
    pthread_t ran_on;
    _Atomic bool done;
};

static enum poly_status run_late(struct poly_db *db, void *arg, struct poly_error *error)
{
    struct late *late = arg;

    (void)db;
    (void)error;
    late->ran_on = pthread_self();
    return POLY_OK;
}

static void done_late(void *arg, enum poly_status status, const struct poly_error *error)
{
    struct late *late = arg;

    (void)error;
    assert_int_equal(status, POLY_OK);
    atomic_store(&late->done, true);
}

static enum poly_status submit_late(struct poly_db *db, void *arg, struct poly_error *error)
{
    struct late *late = arg;

    (void)db;
    atomic_store(&late->done, false);
    late->request = (struct poly_request){.run = run_late, .arg = late, .done = done_late};
    return poly_writer_submit(late->writer, &late->request, error);
}

static void await_late(const struct late *late)
{
    while (!atomic_load(&late->done))
        usleep(1000);
}

/* … nor do what others want meanwhile. */
static void trying_takes_in_nobody(void **state)
{
    struct place *p = *state;
    struct poly_txn *holder = begin_interactive(p->session);
    struct late late[4];
    bool tried = false;

    for (int i = 0; i < 4; i++) { /* a group of four, that many may come again */
        late[i].writer = poly_instance_embedded(p->instance)->writer;
        assert_ok(submit_late(NULL, &late[i], &err));
    }
    assert_ok(poly_txn_commit(holder, NULL, &err));
    for (int i = 0; i < 4; i++)
        await_late(&late[i]);
    while (!tried)
        assert_ok(poly_writer_try(late[0].writer, submit_late, &late[0], true, &tried, &err));
    await_late(&late[0]);
    assert_false(pthread_equal(late[0].ran_on, pthread_self()));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACED(trying_never_waits_for_another_program),
        PLACED(trying_takes_in_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
