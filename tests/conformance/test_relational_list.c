/* Lists: filters, JSON paths, order, pages. Requirements S3-13, S3-30, S2-01. */
#include "fixture.h"
#include "polystore/events.h"

static const char tables[] =
    "CREATE TABLE items(id INTEGER PRIMARY KEY, tenant_id TEXT NOT NULL, name TEXT, price REAL,"
    " rank INTEGER, at TIMESTAMP, ok BOOLEAN, data JSON, title TEXT COLLATE NOCASE);\n"
    "CREATE INDEX items_rank ON items(tenant_id, rank);\n"
    "CREATE TABLE codes(code TEXT PRIMARY KEY, v ANYTHING, word TEXT, bytes TEXT);\n";

static const char tables_postgresql[] =
    "CREATE TABLE items(id BIGINT PRIMARY KEY, tenant_id TEXT NOT NULL, name TEXT, price FLOAT8,"
    " rank INTEGER, at TIMESTAMP, ok BOOLEAN, data JSON, title TEXT COLLATE nocase);\n"
    "CREATE INDEX items_rank ON items(tenant_id, rank);\n"
    "CREATE TABLE codes(code TEXT PRIMARY KEY, v TEXT, word TEXT COLLATE words,"
    " bytes TEXT COLLATE \"C\");\n";

static const char config[] = "domains:\n"
                             "  items: {table: items, tenant: tenant_id}\n"
                             "  codes: {table: codes, tenant: none}\n";

enum { ITEMS = 50 };

/* rank is null for every fifth, and equal for many: i / 7. */
static void fill(struct fixture *f, const char *tenant, int first)
{
    struct poly_session *session = fixture_session(f, tenant, 0);
    struct poly_txn *txn;
    struct poly_error err;

    assert_ok(poly_txn_begin(session, NULL, &txn, &err));
    for (int i = 0; i < ITEMS; i++) {
        char key[16], name[32], data[64];

        snprintf(key, sizeof(key), "%d", first + i);
        snprintf(name, sizeof(name), "%s %02d", i % 2 == 0 ? "even" : "odd", i);
        snprintf(data, sizeof(data), "{\"n\": %d, \"deep\": {\"a b\": [\"t%d\"]}}", i, i);
        assert_ok(poly_put(txn, "items", key,
                           ROW({"name", poly_str(name)}, {"price", poly_float(i * 0.5)},
                               {"rank", i % 5 == 0 ? poly_null() : poly_int(i / 7)},
                               {"at", poly_time(i * 1000000)}, {"ok", poly_bool(i % 3 == 0)},
                               {"data", poly_json(data)},
                               {"title", poly_str(i % 2 == 0 ? "Title" : "title")}),
                           POLY_ANY, &err));
    }
    assert_ok(poly_txn_commit(txn, NULL, &err));
    poly_session_close(session);
}

static struct poly_session *mine;

static int setup(void **state)
{
    static struct fixture f;

    fixture_make(&f);
    fixture_dialects(&f, "0001_tables", tables, tables_postgresql);
    fixture_open(&f, config);
    fixture_migrate(&f);
    fill(&f, "mine", 1000);
    fill(&f, "yours", 2000);
    mine = fixture_session(&f, "mine", 0);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    poly_session_close(mine);
    fixture_remove(*state);
    return 0;
}

static size_t count(const struct poly_filter *filters, size_t filter_count)
{
    struct poly_list_query query = {
        .domain = "items", .filters = filters, .filter_count = filter_count, .limit = 1000};
    struct poly_page page;
    struct poly_error err;

    assert_ok(poly_list(mine, &query, &page, &err));
    assert_null(page.cursor);
    return page.count;
}

static size_t one(const char *column, const char *path, enum poly_compare compare,
                  struct poly_value value)
{
    struct poly_filter filter = {column, path, compare, &value, 1};

    return count(&filter, 1);
}

static void filters(void **state)
{
    struct poly_value values[3] = {poly_int(1001), poly_int(1002), poly_int(2003)};
    struct poly_filter in = {"id", NULL, POLY_IN, values, 3};
    struct poly_filter none = {"id", NULL, POLY_IN, values, 0};
    struct poly_filter null = {"rank", NULL, POLY_IS_NULL, NULL, 0};
    struct poly_filter both[2] = {{"rank", NULL, POLY_NOT_NULL, NULL, 0}, {0}};
    struct poly_value yes = poly_bool(true);

    (void)state;
    both[1] = (struct poly_filter){"ok", NULL, POLY_EQ, &yes, 1};
    assert_int_equal(count(NULL, 0), ITEMS);
    assert_int_equal(count(&in, 1), 2); /* the third is another tenant's */
    assert_int_equal(count(&none, 1), 0);
    assert_int_equal(count(&null, 1), 10);
    assert_int_equal(count(both, 2), 13);
    assert_int_equal(one("name", NULL, POLY_EQ, poly_str("odd 01")), 1);
    assert_int_equal(one("name", NULL, POLY_NE, poly_str("odd 01")), ITEMS - 1);
    assert_int_equal(one("name", NULL, POLY_PREFIX, poly_str("even")), 25);
    assert_int_equal(one("name", NULL, POLY_PREFIX, poly_str("even 1")), 5);
    assert_int_equal(one("name", NULL, POLY_PREFIX, poly_str("")), ITEMS);
    assert_int_equal(one("name", NULL, POLY_PREFIX, poly_str("%")), 0);
    assert_int_equal(one("title", NULL, POLY_PREFIX, poly_str("t")), 25); /* byte for byte */
    assert_int_equal(one("price", NULL, POLY_LT, poly_float(2.5)), 5);
    assert_int_equal(one("price", NULL, POLY_GE, poly_int(20)), 10);
    assert_int_equal(one("at", NULL, POLY_LE, poly_str("1970-01-01T00:00:09Z")), 10);
    assert_int_equal(one("at", NULL, POLY_GT, poly_time(9000000)), 40);
}

static void a_collation_compares(void **state)
{
    fixture_needs_collations(*state);
    assert_int_equal(one("title", NULL, POLY_EQ, poly_str("TITLE")), ITEMS);
}

static void paths_in_text(void **state)
{
    struct fixture *f = *state;
    struct poly_value value = poly_int(1);
    struct poly_filter filter = {"name", "$.n", POLY_EQ, &value, 1};
    struct poly_list_query query = {.domain = "items", .filters = &filter, .filter_count = 1};
    struct poly_page page;
    struct poly_error err;

    assert_ok(put_row(mine, "items", "1000", ROW({"name", poly_str("{\"n\": 1}")}), POLY_ANY, NULL,
                      &err));
    if (fixture_supports(f, "paths-in-text")) {
        assert_ok(poly_list(mine, &query, &page, &err));
        assert_int_equal(page.count, 1);
    } else {
        assert_fails(poly_list(mine, &query, &page, &err), POLY_INVALID);
        assert_message("holds no JSON");
    }
}

/* Three codes in the order of a column. */
static void ordered(struct fixture *f, const char *column, const char *wanted)
{
    struct poly_list_query query = {.domain = "codes", .order = column};
    char text[2] = "";
    struct poly_page page;
    struct poly_error err;

    for (const char *key = "aBc"; *key != '\0'; key++) {
        text[0] = *key;
        assert_ok(put_row(f->admin, "codes", text,
                          ROW({"word", poly_str(text)}, {"bytes", poly_str(text)}), POLY_ANY, NULL,
                          &err));
    }
    assert_ok(poly_list(f->admin, &query, &page, &err));
    assert_int_equal(page.count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(page.documents[i].key.data[0], wanted[i]);
        assert_ok(remove_row(f->admin, "codes", page.documents[i].key.data, POLY_ANY, &err));
    }
}

static void bytes_order(void **state)
{
    ordered(*state, "bytes", "Bac");
}

static void text_order(void **state)
{
    fixture_needs_collations(*state);
    ordered(*state, "word", fixture_differs(*state, "text-order") ? "aBc" : "Bac");
}

static void json_paths(void **state)
{
    (void)state;
    assert_int_equal(one("data", "$.n", POLY_EQ, poly_int(7)), 1);
    assert_int_equal(one("data", "$.n", POLY_LT, poly_int(7)), 7);
    assert_int_equal(one("data", "$.n", POLY_GT, poly_str("")), 0); /* numbers are no texts */
    assert_int_equal(one("data", "$.deep.\"a b\"[0]", POLY_EQ, poly_str("t7")), 1);
    assert_int_equal(one("data", "$.deep.\"a b\"[#-1]", POLY_PREFIX, poly_str("t4")), 11);
    assert_int_equal(one("data", "$.nothing", POLY_NE, poly_int(1)), 0);
}

static void refused(void **state)
{
    static const char *const paths[] = {
        "n", "$n", "$.", "$..a", "$[x]", "$.\"a", "$[1", "$.a') OR 1=1 --\"", "", "$[#1]"};
    struct poly_value value = poly_int(1), null = poly_null(), many[1001];
    struct poly_filter filter = {"data", NULL, POLY_EQ, &value, 1};
    struct poly_list_query query = {.domain = "items", .filters = &filter, .filter_count = 1};
    struct poly_page page;
    struct poly_error err;

    (void)state;
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        filter.path = paths[i];
        if (poly_list(mine, &query, &page, &err) != POLY_INVALID)
            fail_msg("path %s", paths[i]);
    }
    filter = (struct poly_filter){"price\" OR 1=1 --", NULL, POLY_EQ, &value, 1};
    assert_fails(poly_list(mine, &query, &page, &err), POLY_INVALID);
    assert_message("it has id, name");
    filter = (struct poly_filter){"tenant_id", NULL, POLY_EQ, &value, 1};
    assert_fails(poly_list(mine, &query, &page, &err), POLY_INVALID);
    filter = (struct poly_filter){"rank", NULL, POLY_EQ, &null, 1};
    assert_fails(poly_list(mine, &query, &page, &err), POLY_INVALID);
    assert_message("IS_NULL");
    filter = (struct poly_filter){"rank", NULL, POLY_LT, &value, 0};
    assert_fails(poly_list(mine, &query, &page, &err), POLY_INVALID);
    filter = (struct poly_filter){"rank", NULL, (enum poly_compare)99, &value, 1};
    assert_fails(poly_list(mine, &query, &page, &err), POLY_INVALID);
    filter = (struct poly_filter){"name", NULL, POLY_EQ, &value, 1};
    assert_fails(poly_list(mine, &query, &page, &err), POLY_INVALID);
    for (size_t i = 0; i < 1001; i++)
        many[i] = poly_int((int64_t)i);
    filter = (struct poly_filter){"rank", NULL, POLY_IN, many, 1001};
    assert_fails(poly_list(mine, &query, &page, &err), POLY_LIMIT);
    filter.value_count = 1000;
    assert_ok(poly_list(mine, &query, &page, &err));
    query = (struct poly_list_query){.domain = "items", .limit = 10001};
    assert_fails(poly_list(mine, &query, &page, &err), POLY_LIMIT);
    query = (struct poly_list_query){.domain = "items", .order = "id; DROP TABLE items"};
    assert_fails(poly_list(mine, &query, &page, &err), POLY_INVALID);
}

/* Every row once, in order, whatever the order's nulls and equals, up and down. */
static void walk(const char *order, bool descending, uint32_t limit)
{
    struct poly_list_query query = {
        .domain = "items", .order = order, .descending = descending, .limit = limit};
    char seen[ITEMS] = {0}, cursor[4096];
    int64_t last_rank = descending ? INT64_MAX : INT64_MIN;
    size_t total = 0;

    for (;;) {
        struct poly_page page;
        struct poly_error err;

        assert_ok(poly_list(mine, &query, &page, &err));
        for (size_t i = 0; i < page.count; i++) {
            int key = (int)strtol(page.documents[i].key.data, NULL, 10) - 1000;
            const struct poly_value *rank = field(&page.documents[i].row, "rank");
            int64_t number = rank->type == POLY_NULL ? -1 : rank->integer;

            assert_true(key >= 0 && key < ITEMS && !seen[key]);
            assert_true(page.documents[i].version > 0);
            seen[key] = 1;
            if (order != NULL && strcmp(order, "rank") == 0) {
                assert_true(descending ? number <= last_rank : number >= last_rank);
                last_rank = number;
            }
        }
        total += page.count;
        if (page.cursor == NULL)
            break;
        assert_int_equal(page.count, limit);
        snprintf(cursor, sizeof(cursor), "%s", page.cursor);
        poly_session_reset(mine);
        query.cursor = cursor;
    }
    assert_int_equal(total, ITEMS);
}

static void pages(void **state)
{
    static const char *const orders[] = {NULL, "id",    "name", "price", "rank",
                                         "at", "title", "ok",   "data"};

    (void)state;
    for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
        for (uint32_t limit = 1; limit < 60; limit += 8) {
            walk(orders[i], false, limit);
            walk(orders[i], true, limit);
        }
    }
}

/* A cursor is good for its own query only. */
static void cursors(void **state)
{
    struct fixture *f = *state;
    struct poly_session *yours = fixture_session(f, "yours", 0);
    struct poly_value value = poly_int(1);
    struct poly_filter filter = {"rank", NULL, POLY_GE, &value, 1};
    struct poly_list_query query = {.domain = "items", .order = "rank", .limit = 5};
    struct poly_page page;
    struct poly_error err;
    char cursor[4096];

    assert_ok(poly_list(mine, &query, &page, &err));
    snprintf(cursor, sizeof(cursor), "%s", page.cursor);
    query.cursor = cursor;
    assert_fails(poly_list(yours, &query, &page, &err), POLY_INVALID);
    query.descending = true;
    assert_fails(poly_list(mine, &query, &page, &err), POLY_INVALID);
    query.descending = false;
    query.filters = &filter;
    query.filter_count = 1;
    assert_fails(poly_list(mine, &query, &page, &err), POLY_INVALID);
    query.filter_count = 0;
    query.limit = 7; /* another size of page is the same query */
    assert_ok(poly_list(mine, &query, &page, &err));
    for (size_t i = 0; cursor[i] != '\0'; i++) { /* damaged ones are refused or harmless */
        char kept = cursor[i];

        cursor[i] = kept == 'A' ? 'B' : 'A';
        if (poly_list(mine, &query, &page, &err) == POLY_OK)
            assert_true(page.count <= ITEMS);
        cursor[i] = '\0';
        (void)!poly_list(mine, &query, &page, &err);
        cursor[i] = kept;
        poly_session_reset(mine);
    }
    query.cursor = "%%%";
    assert_fails(poly_list(mine, &query, &page, &err), POLY_INVALID);
    poly_session_close(yours);
}

/* A page over the session's memory, and a search of rows over its time, say so. */
static void bounds(void **state)
{
    struct fixture *f = *state;
    struct poly_session_options small = {.tenant = "mine", .memory_max = 16 * 1024};
    struct poly_session_options brief = {.tenant = "mine", .deadline_ms = 1};
    struct poly_value value = poly_str("x");
    struct poly_filter filter = {"data", "$.n", POLY_EQ, &value, 1};
    struct poly_list_query query = {.domain = "items", .limit = ITEMS};
    enum poly_status status = POLY_OK;
    struct poly_session *session;
    struct poly_page page;
    struct poly_error err;

    assert_ok(poly_session_open(f->instance, &small, &session, &err));
    assert_fails(poly_list(session, &query, &page, &err), POLY_LIMIT);
    assert_message("fewer records");
    poly_session_close(session);

    fixture_foreign(f, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i <"
                       " 20000) INSERT INTO items(id, tenant_id, data)"
                       " SELECT 100000 + i, 'mine', '{\"n\": 1}' FROM n");
    query.filters = &filter;
    query.filter_count = 1;
    assert_ok(poly_session_open(f->instance, &brief, &session, &err));
    for (int i = 0; i < 100 && status == POLY_OK; i++)
        status = poly_list(session, &query, &page, &err);
    assert_int_equal(status, POLY_TIMEOUT);
    poly_session_close(session);
}

/* A column of no known type keeps what it is given, and numbers do not meet texts. */
static void any_type(void **state)
{
    struct fixture *f = *state;
    struct poly_value zero = poly_int(0), a = poly_str("a");
    struct poly_filter filter = {"v", NULL, POLY_GE, &zero, 1};
    struct poly_list_query query = {.domain = "codes", .filters = &filter, .filter_count = 1};
    struct poly_page page;
    struct poly_error err;

    fixture_needs(f, "columns-without-a-type");
    assert_ok(put_row(f->admin, "codes", "1", ROW({"v", poly_int(5)}), POLY_ANY, NULL, &err));
    assert_ok(put_row(f->admin, "codes", "2", ROW({"v", poly_str("text")}), POLY_ANY, NULL, &err));
    assert_ok(
        put_row(f->admin, "codes", "3", ROW({"v", poly_bytes("b", 1)}), POLY_ANY, NULL, &err));
    assert_ok(poly_list(f->admin, &query, &page, &err));
    assert_int_equal(page.count, 1);
    filter.values = &a;
    assert_ok(poly_list(f->admin, &query, &page, &err));
    assert_int_equal(page.count, 1);
    query.filter_count = 0;
    query.order = "v";
    query.limit = 1;
    for (int i = 0; i < 3; i++) {
        assert_ok(poly_list(f->admin, &query, &page, &err));
        assert_int_equal(page.documents[0].key.data[0], '1' + i);
        query.cursor = page.cursor;
    }
    assert_null(query.cursor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filters),       cmocka_unit_test(a_collation_compares),
        cmocka_unit_test(json_paths),    cmocka_unit_test(refused),
        cmocka_unit_test(pages),         cmocka_unit_test(cursors),
        cmocka_unit_test(bytes_order),   cmocka_unit_test(text_order),
        cmocka_unit_test(any_type),      cmocka_unit_test(bounds),
        cmocka_unit_test(paths_in_text),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
