/* Readers that keep their snapshot from one read to the next: never older than the last commit of
 * anybody, and in nobody's way for long. S2-21 */
#include "test.h"

#include <unistd.h>

#include "base/sqlite.h"

static struct poly_error err;
static const char count[] = "SELECT count(*) FROM item";

struct place {
    char path[64];
    struct poly_sqlite *file;
    sqlite3 *other; /* another program's connection */
};

static void run(sqlite3 *db, const char *sql)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
}

static int setup(void **state)
{
    struct place *p = calloc(1, sizeof(*p));
    int fd;

    assert_non_null(p);
    (void)snprintf(p->path, sizeof(p->path), "/tmp/polystore-snapshots-XXXXXX");
    fd = mkstemp(p->path);
    assert_true(fd >= 0);
    close(fd);
    assert_ok(poly_sqlite_open(p->path, POLY_DB_WRITE, NULL, NULL, &p->file, &err));
    assert_ok(poly_db_exec(poly_sqlite_writer(p->file), "CREATE TABLE item(n)", &err));
    assert_int_equal(sqlite3_open(p->path, &p->other), SQLITE_OK);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;

    sqlite3_close(p->other);
    poly_sqlite_close(p->file);
    unlink(p->path);
    free(p);
    return 0;
}

static int64_t items(struct poly_db *db)
{
    sqlite3_stmt *statement = poly_db_prepare(db, count, &err);
    bool row = false;
    int64_t n;

    assert_non_null(statement);
    assert_ok(poly_db_row(db, statement, &row, &err));
    assert_true(row);
    n = sqlite3_column_int64(statement, 0);
    sqlite3_reset(statement);
    return n;
}

static int64_t items_read(struct place *p, bool needed)
{
    struct poly_db *reader = poly_sqlite_snapshot(p->file, needed, &err);
    int64_t n;

    assert_non_null(reader);
    n = items(reader);
    (void)poly_sqlite_give(p->file, reader);
    return n;
}

/* Does a waiting reader have a snapshot open? */
static bool kept(struct place *p)
{
    struct poly_db *reader = poly_sqlite_snapshot(p->file, false, &err);
    bool open;

    assert_non_null(reader);
    open = sqlite3_txn_state(poly_db_handle(reader), "main") == SQLITE_TXN_READ;
    (void)poly_sqlite_give(p->file, reader);
    return open;
}

static void every_commit_is_seen(void **state)
{
    struct place *p = *state;
    int64_t n = 0;

    for (int i = 0; i < 50; i++) {
        bool needed = i % 2 == 0;

        for (int again = 0; again < 3; again++)
            assert_int_equal(items_read(p, needed), n);
        assert_true(kept(p));
        run(i % 3 == 0 ? p->other : poly_db_handle(poly_sqlite_writer(p->file)),
            "INSERT INTO item VALUES (1)");
        assert_int_equal(items_read(p, needed), ++n);
    }
    run(p->other, "CREATE TABLE more(n); DELETE FROM item");
    assert_int_equal(items_read(p, true), 0);
    run(p->other, "PRAGMA wal_checkpoint(PASSIVE)");
    assert_int_equal(items_read(p, false), 0);
}

static void a_snapshot_does_not_move_while_it_is_read(void **state)
{
    struct place *p = *state;
    struct poly_db *reader;

    assert_int_equal(items_read(p, true), 0);
    reader = poly_sqlite_snapshot(p->file, true, &err);
    assert_non_null(reader);
    assert_int_equal(items(reader), 0);
    run(p->other, "INSERT INTO item VALUES (1)");
    assert_int_equal(items(reader), 0);
    assert_false(poly_sqlite_give(p->file, reader));
    assert_int_equal(items_read(p, true), 1);
}

/* One that was not read to its end, too, ends with the read that it belongs to. */
static void a_statement_left_running_keeps_nothing_old(void **state)
{
    struct place *p = *state;
    struct poly_db *reader;
    sqlite3_stmt *left;
    bool row;

    run(p->other, "INSERT INTO item VALUES (1), (2)");
    assert_int_equal(items_read(p, true), 2);
    reader = poly_sqlite_snapshot(p->file, true, &err);
    assert_non_null(reader);
    left = poly_db_prepare(reader, "SELECT n FROM item", &err);
    assert_ok(poly_db_row(reader, left, &row, &err));
    (void)poly_sqlite_give(p->file, reader);
    run(p->other, "INSERT INTO item VALUES (3)");
    assert_int_equal(items_read(p, true), 3);
    assert_int_equal(items_read(p, false), 3);
}

static void a_plain_reader_has_none(void **state)
{
    struct place *p = *state;
    struct poly_db *reader;

    assert_int_equal(items_read(p, true), 0);
    assert_true(kept(p));
    reader = poly_sqlite_take(p->file, &err);
    assert_non_null(reader);
    assert_int_equal(sqlite3_txn_state(poly_db_handle(reader), "main"), SQLITE_TXN_NONE);
    assert_int_equal(items(reader), 0);
    run(p->other, "INSERT INTO item VALUES (1)");
    assert_int_equal(items(reader), 1);
    assert_false(poly_sqlite_give(p->file, reader));
}

static int busy(struct place *p)
{
    sqlite3_stmt *statement;
    int answer;

    assert_int_equal(sqlite3_prepare_v2(p->other, "PRAGMA wal_checkpoint(TRUNCATE)", -1, &statement,
                                        NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    answer = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    return answer;
}

static void settled_they_hold_up_no_checkpoint(void **state)
{
    struct place *p = *state;

    run(p->other, "INSERT INTO item VALUES (1)");
    assert_int_equal(items_read(p, true), 1);
    assert_true(kept(p));
    assert_int_equal(busy(p), 1); /* the control: a kept one does */
    poly_sqlite_settle(p->file);
    assert_int_equal(busy(p), 0);
    assert_int_equal(items_read(p, true), 1);
    poly_sqlite_trim(p->file);
    assert_int_equal(busy(p), 0);
}

#define PLACED(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACED(every_commit_is_seen),
        PLACED(a_snapshot_does_not_move_while_it_is_read),
        PLACED(a_statement_left_running_keeps_nothing_old),
        PLACED(a_plain_reader_has_none),
        PLACED(settled_they_hold_up_no_checkpoint),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
