/* Memory that runs out at any point of a call: the right error, no leak, usable afterwards. */
#include "fixture.h"
#include "memory.h"
#include "polystore/events.h"

static const char tables[] = "CREATE TABLE items(id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL,"
                             " name TEXT, at TIMESTAMP, data JSON, big TEXT);\n";

static const char config[] = "domains:\n  items: {table: items, tenant: tenant_id}\n";

static bool tenants_sql;

static int setup(void **state)
{
    static struct fixture f;

    fixture_make(&f);
    tenants_sql = fixture_tenants_sql(&f);
    fixture_migration(&f, "0001_tables.sql", tables);
    fixture_open(&f, config);
    fixture_migrate(&f);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    fixture_remove(*state);
    return 0;
}

static bool count_row(void *arg, const struct poly_row *row)
{
    *(int *)arg += row->count > 0;
    return true;
}

/* Each scenario ends with what it did undone or repeated, so that it can run again. */

static enum poly_status scenario_put(struct poly_session *session, struct poly_error *err)
{
    static char big[6000];
    struct poly_txn *txn;
    enum poly_status status = poly_txn_begin(session, NULL, &txn, err);

    if (status != POLY_OK)
        return status;
    memset(big, 'b', sizeof(big) - 1);
    status = poly_put(txn, "items", "k",
                      ROW({"name", poly_str("n")}, {"at", poly_str("2026-11-21T00:00:00Z")},
                          {"data", poly_str("x")}, {"big", poly_str(big)}),
                      POLY_ANY, err);
    if (status == POLY_OK)
        status = poly_patch(txn, "items", "k", ROW({"name", poly_str("m")}), POLY_ANY, err);
    if (status == POLY_OK)
        return poly_txn_commit(txn, NULL, err);
    poly_txn_abort(txn);
    return status;
}

static enum poly_status scenario_get(struct poly_session *session, struct poly_error *err)
{
    struct poly_document document;

    return poly_get(session, "items", "k", &document, err);
}

static enum poly_status scenario_list(struct poly_session *session, struct poly_error *err)
{
    struct poly_value value = poly_str("m");
    struct poly_filter filter = {"name", NULL, POLY_PREFIX, &value, 1};
    struct poly_list_query query = {
        .domain = "items", .filters = &filter, .filter_count = 1, .limit = 1, .order = "name"};
    struct poly_page page;

    return poly_list(session, &query, &page, err);
}

static enum poly_status scenario_sql(struct poly_session *session, struct poly_error *err)
{
    int rows = 0;

    return poly_sql_read(session, "SELECT id, name FROM items", NULL, 0, count_row, &rows, err);
}

static enum poly_status scenario_log(struct poly_session *session, struct poly_error *err)
{
    struct poly_document document;
    enum poly_status status = poly_get(session, "items", "nobody", &document, err);

    return status == POLY_NOT_FOUND ? POLY_OK : status;
}

static void walk(struct fixture *f,
                 enum poly_status (*scenario)(struct poly_session *session, struct poly_error *err))
{
    struct poly_session *session =
        fixture_session(f, "t", POLY_RIGHT_READ | POLY_RIGHT_WRITE | POLY_RIGHT_SQL);
    struct memory_walk points = {0};
    struct poly_error err;
    unsigned failed = 0;

    while (memory_next(&points)) {
        enum poly_status status = scenario(session, &err);
        bool hit = memory_failed();

        if (status != POLY_OK) {
            assert_true(hit);
            if (status != POLY_NO_MEMORY && status != POLY_LIMIT)
                fail_msg("%s: %s", poly_status_name(status), err.message);
            failed++;
        }
        poly_session_reset(session);
    }
    assert_true(failed > 0);
    poly_session_close(session);
    session = fixture_session(f, "t", POLY_RIGHT_READ | POLY_RIGHT_WRITE | POLY_RIGHT_SQL);
    assert_ok(scenario(session, &err));
    poly_session_close(session);
}

static void puts_and_patches(void **state)
{
    walk(*state, scenario_put);
}

static void reads(void **state)
{
    struct fixture *f = *state;

    walk(f, scenario_get);
    walk(f, scenario_list);
    if (tenants_sql)
        walk(f, scenario_sql);
    walk(f, scenario_log);
}

static void migrations(void **state)
{
    struct fixture *f = *state;
    struct memory_walk points = {0};
    struct poly_migrations list;
    struct poly_error err;
    int number = 2;
    char name[32], sql[100];

    snprintf(name, sizeof(name), "%04d_x.sql", number);
    snprintf(sql, sizeof(sql), "ALTER TABLE items ADD COLUMN c%d TEXT DEFAULT 'x';", number);
    fixture_migration(f, name, sql);
    while (memory_next(&points)) {
        enum poly_status status = poly_migrate_up(f->admin, NULL, &list, &err);
        bool hit = memory_failed();

        if (status != POLY_OK) {
            assert_true(hit);
            if (status != POLY_NO_MEMORY)
                fail_msg("%s: %s", poly_status_name(status), err.message);
        } else if (hit) { /* applied in spite of it: the next one */
            number++;
            snprintf(name, sizeof(name), "%04d_x.sql", number);
            snprintf(sql, sizeof(sql), "ALTER TABLE items ADD COLUMN c%d TEXT DEFAULT 'x';",
                     number);
            fixture_migration(f, name, sql);
        }
        poly_session_reset(f->admin);
    }
    assert_ok(poly_migrate_up(f->admin, NULL, &list, &err));
    assert_int_equal(list.pending, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(puts_and_patches),
        cmocka_unit_test(reads),
        cmocka_unit_test(migrations),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
