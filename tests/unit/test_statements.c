/* The cache of prepared statements: bounded, and never from under somebody's hands. */
#include "test.h"

#include "base/sqlite.h"

enum { TEXTS = 6000 };

static struct poly_error err;
static char texts[TEXTS][32];

static int64_t value_of(struct poly_db *db, sqlite3_stmt *statement)
{
    bool row = false;

    assert_ok(poly_db_row(db, statement, &row, &err));
    assert_true(row);
    return sqlite3_column_int64(statement, 0);
}

static unsigned held(struct poly_db *db)
{
    unsigned count = 0;

    for (sqlite3_stmt *s = sqlite3_next_stmt(poly_db_handle(db), NULL); s != NULL;
         s = sqlite3_next_stmt(poly_db_handle(db), s))
        count++;
    return count;
}

static void more_texts_than_the_cache_holds(void **state)
{
    struct poly_db *db = NULL;
    sqlite3_stmt *running;

    (void)state;
    assert_ok(poly_db_open(":memory:", POLY_DB_DERIVED, &db, &err));
    running = poly_db_prepare(db, "SELECT 1 UNION ALL SELECT 2", &err);
    assert_int_equal(value_of(db, running), 1);
    snprintf(texts[0], sizeof(texts[0]), "SELECT 0");
    for (int i = 1; i < TEXTS; i++) {
        sqlite3_stmt *first, *second;

        snprintf(texts[i], sizeof(texts[i]), "SELECT %d", i);
        first = poly_db_prepare(db, texts[i], &err);
        second = poly_db_prepare(db, texts[i / 2], &err);
        assert_non_null(first);
        assert_non_null(second);
        assert_int_equal(value_of(db, first), i);
        assert_int_equal(value_of(db, second), i / 2);
        sqlite3_reset(first);
        sqlite3_reset(second);
        assert_true(held(db) <= 2048 + 1);
    }
    /* One that is running is not given up, however long ago it began. */
    assert_int_equal(value_of(db, running), 2);
    sqlite3_reset(running);
    assert_int_equal(value_of(db, poly_db_prepare(db, texts[0], &err)), 0);
    poly_db_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(more_texts_than_the_cache_holds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
