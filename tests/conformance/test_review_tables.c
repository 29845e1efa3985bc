/*
 * What an adversary found in tables: triggers of others, conflicts that the schema resolves in its
 * own way, names and keys that nobody expects; and in the images of rows while they change.
 */
#include "fixture.h"

#include <math.h>
#include <pthread.h>
#include <time.h>

#include "core/inside.h"
#include "lab.h"
#include "owners/embedded/embedded.h"
#include "owners/postgresql/inside.h"

static struct poly_error err;

#define COMMON_TABLES                                                                              \
    "CREATE TABLE docs(id TEXT PRIMARY KEY, title TEXT, body TEXT, stamp INTEGER DEFAULT 0);\n"    \
    "CREATE TABLE ids(id UUID PRIMARY KEY, n INTEGER);\n"                                          \
    "CREATE TABLE reserved(\"select\" TEXT PRIMARY KEY, \"order\" TEXT, \"image\" TEXT,"           \
    " \"latest\" TEXT, \"l\" TEXT, \"r\" TEXT, \"h\" TEXT, \"t\" TEXT, \"position\" TEXT,"         \
    " \"domain\" TEXT, \"key\" TEXT, \"rowid\" TEXT, \"NEW\" TEXT, \"old\" TEXT,"                  \
    " \"excluded\" TEXT, \"data\" TEXT, \"version\" TEXT, \"meta\" TEXT, \"json_object\" TEXT,"    \
    " \"a\"\"b\" TEXT, \"c'd\" TEXT, \"e\\f\" TEXT, \"[g]\" TEXT, \"/*end*/\" TEXT,"               \
    " \"\xc3\xa9\" TEXT, \" \" TEXT, tenant TEXT);\n"

static const char tables[] = COMMON_TABLES "CREATE TABLE mixed(id INTEGER PRIMARY KEY, n BIGINT, v,"
                                           " w TEXT COLLATE NOCASE, x DOUBLE PRECISION);\n";
static const char tables_postgresql[] =
    COMMON_TABLES "CREATE TABLE mixed(id BIGINT PRIMARY KEY, n BIGINT, v TEXT,"
                  " w TEXT COLLATE NOCASE, x DOUBLE PRECISION);\n";

/* Of an application that was there before us. */
static const char brought[] =
    "CREATE TABLE people(id TEXT PRIMARY KEY, tenant TEXT NOT NULL,"
    " email TEXT UNIQUE ON CONFLICT REPLACE, nick TEXT UNIQUE ON CONFLICT IGNORE,"
    " phone TEXT UNIQUE ON CONFLICT ROLLBACK, name TEXT NOT NULL ON CONFLICT IGNORE DEFAULT 'x');\n"
    "CREATE TABLE picky(id TEXT PRIMARY KEY ON CONFLICT ROLLBACK, title TEXT);\n";

static const char brought_postgresql[] =
    "CREATE TABLE people(id TEXT PRIMARY KEY, tenant TEXT NOT NULL, email TEXT UNIQUE,"
    " nick TEXT UNIQUE, phone TEXT UNIQUE, name TEXT NOT NULL DEFAULT 'x');\n"
    "CREATE TABLE picky(id TEXT PRIMARY KEY, title TEXT);\n";

static const char config[] = "domains:\n"
                             "  docs: {table: docs, tenant: none, search: {fields: [title]}}\n"
                             "  people: {table: people, tenant: tenant}\n"
                             "  picky: {table: picky, tenant: none}\n"
                             "  ids: {table: ids, tenant: none}\n"
                             "  mixed: {table: mixed, tenant: none}\n"
                             "  reserved: {table: reserved, tenant: none}\n"
                             "  orders: {stream: order, search: {fields: [text], filters: [level],"
                             " language: none}}\n";

static int setup(void **state)
{
    static struct fixture f;

    fixture_make(&f);
    fixture_dialects(&f, "0001_tables", tables, tables_postgresql);
    fixture_open(&f, config);
    fixture_migrate(&f);
    fixture_foreign_dialects(&f, brought, brought_postgresql);
    fixture_close(&f);
    fixture_open(&f, config);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    fixture_remove(*state);
    return 0;
}

static void assert_intact(struct fixture *f)
{
    char why[512];
    uint64_t bad = lab_verify(f->admin, why, sizeof(why));

    if (bad != 0)
        fail_msg("record %llu: %s", (unsigned long long)bad, why);
}

static enum poly_status put_doc(struct fixture *f, const char *key, const char *title)
{
    return put_row(f->admin, "docs", key, ROW({"title", poly_str(title)}), POLY_ANY, NULL, &err);
}

/* Rows of the table whose last record in the log says something else. */
static int64_t disagree(struct fixture *f, const char *column)
{
    char sql[600];

    snprintf(
        sql, sizeof(sql),
        fixture_on_server()
            ? "SELECT count(*) FROM docs WHERE (SELECT data ->> '%s' FROM poly_log WHERE domain"
              " = 'docs' AND key = docs.id AND version IS NULL ORDER BY position DESC LIMIT 1)"
              " IS DISTINCT FROM %s::text"
            : "SELECT count(*) FROM docs WHERE (SELECT data ->> '%s' FROM poly_log WHERE domain"
              " = 'docs' AND key = docs.id AND version IS NULL ORDER BY position DESC LIMIT 1)"
              " IS NOT %s",
        column, column);
    return fixture_number(f, sql);
}

/* --- triggers of others --- */

static const char stamp[] =
    "CREATE TRIGGER stamp_new AFTER INSERT ON docs BEGIN"
    " UPDATE docs SET stamp = stamp + 1 WHERE id = NEW.id; END;\n"
    "CREATE TRIGGER stamp_changed AFTER UPDATE OF title ON docs BEGIN"
    " UPDATE docs SET stamp = stamp + 1 WHERE id = NEW.id; END;\n";

static const char stamp_postgresql[] =
    "CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN"
    " UPDATE docs SET stamp = stamp + 1 WHERE id = NEW.id; RETURN NULL; END$$;\n"
    "CREATE TRIGGER stamp_new AFTER INSERT ON docs FOR EACH ROW EXECUTE FUNCTION stamp();\n"
    "CREATE TRIGGER stamp_changed AFTER UPDATE OF title ON docs FOR EACH ROW"
    " EXECUTE FUNCTION stamp();\n";

static void write_and_compare(struct fixture *f)
{
    assert_ok(put_doc(f, "1", "first"));
    assert_ok(put_doc(f, "1", "changed"));
    fixture_foreign(f, "INSERT INTO docs(id, title) VALUES ('2', 'second');"
                       "UPDATE docs SET title = 'other' WHERE id = '2'");
    assert_ok(put_doc(f, "3", "third"));
    assert_int_equal(fixture_number(f, "SELECT count(*) FROM docs WHERE stamp > 0"), 3);
    assert_int_equal(disagree(f, "stamp"), 0);
    assert_int_equal(disagree(f, "title"), 0);
    assert_intact(f);
}

/* The last record of a row is the row, also where a trigger of the application changes it. */
static void a_trigger_of_a_migration_is_followed(void **state)
{
    struct fixture *f = *state;

    fixture_dialects(f, "0002_stamp", stamp, stamp_postgresql);
    fixture_migrate(f);
    write_and_compare(f);
}

static void a_trigger_of_another_program_is_followed(void **state)
{
    struct fixture *f = *state;

    fixture_foreign_dialects(f, stamp, stamp_postgresql);
    fixture_close(f);
    fixture_open(f, config);
    write_and_compare(f);
}

/* --- conflicts --- */

static enum poly_status put_person(struct poly_session *session, const char *key,
                                   const char *column, struct poly_value value)
{
    return put_row(session, "people", key, ROW({column, value}), POLY_ANY, NULL, &err);
}

/* What the schema would do about a conflict (remove the other row, roll all back, say nothing) is
 * not done: it may be another tenant's, and others share the transaction. */
static void a_conflict_is_never_resolved_by_itself(void **state)
{
    struct fixture *f = *state;
    struct poly_session *a = fixture_session(f, "a", 0), *b = fixture_session(f, "b", 0);
    struct poly_document document;

    assert_ok(put_row(a, "people", "1",
                      ROW({"email", poly_str("e")}, {"nick", poly_str("n")},
                          {"phone", poly_str("p")}),
                      POLY_ANY, NULL, &err));
    assert_ok(put_person(b, "2", "email", poly_str("other")));
    assert_fails(put_person(b, "3", "email", poly_str("e")), POLY_EXISTS);
    assert_fails(put_person(b, "3", "nick", poly_str("n")), POLY_EXISTS);
    assert_fails(put_person(b, "3", "phone", poly_str("p")), POLY_EXISTS);
    assert_fails(put_person(b, "3", "name", poly_null()), POLY_INVALID);
    assert_fails(put_person(b, "2", "email", poly_str("e")), POLY_EXISTS);
    assert_fails(put_person(b, "2", "phone", poly_str("p")), POLY_EXISTS);

    struct poly_txn *txn;

    assert_ok(poly_txn_begin(b, NULL, &txn, &err));
    assert_ok(poly_patch(txn, "people", "2", ROW({"email", poly_str("e")}), POLY_ANY, &err));
    assert_fails(poly_txn_commit(txn, NULL, &err), POLY_EXISTS);
    assert_ok(poly_txn_begin(b, NULL, &txn, &err));
    assert_ok(poly_patch(txn, "people", "2", ROW({"phone", poly_str("p")}), POLY_ANY, &err));
    assert_fails(poly_txn_commit(txn, NULL, &err), POLY_EXISTS);
    assert_ok(poly_get(a, "people", "1", &document, &err));
    assert_ok(put_row(f->admin, "picky", "1", ROW({"title", poly_str("a")}), POLY_ANY, NULL, &err));
    assert_ok(put_row(f->admin, "picky", "1", ROW({"title", poly_str("b")}), POLY_ANY, NULL, &err));
    poly_session_close(a);
    poly_session_close(b);
}

/* --- names and keys --- */

static void any_column_name_will_do(void **state)
{
    struct fixture *f = *state;
    struct poly_list_query query = {.domain = "reserved", .order = "order"};
    struct poly_document document;
    struct poly_page page;
    struct poly_filter filter = {
        .column = "a\"b", .compare = POLY_EQ, .values = &(struct poly_value){.type = POLY_NULL}};
    struct poly_value equal = poly_str("quoted");
    uint64_t version;

    assert_ok(put_row(f->admin, "reserved", "k",
                      ROW({"order", poly_str("o")}, {"a\"b", poly_str("quoted")},
                          {"c'd", poly_str("'")}, {"e\\f", poly_str("\\")},
                          {"/*end*/", poly_str("/*image*/")}, {"NEW", poly_str("NEW.\"x\"")}),
                      POLY_ANY, NULL, &err));
    assert_ok(poly_get(f->admin, "reserved", "k", &document, &err));
    assert_int_equal(document.row.count, 27);
    version = document.version;
    assert_string_equal(field(&document.row, "e\\f")->text.data, "\\");
    fixture_foreign_dialects(
        f, "UPDATE reserved SET \"e\\f\" = 'changed', \"rowid\" = hex(zeroblob(4000))",
        "UPDATE reserved SET \"e\\f\" = 'changed', \"rowid\" = repeat('0', 8000)");
    fixture_foreign(f, "UPDATE reserved SET \"old\" = 'new'");
    filter.values = &equal;
    filter.value_count = 1;
    query.filters = &filter;
    query.filter_count = 1;
    assert_ok(poly_list(f->admin, &query, &page, &err));
    assert_int_equal(page.count, 1);
    assert_true(page.documents[0].version > version);
    assert_intact(f);
    fixture_close(f);
    fixture_open(f, config);
    fixture_foreign(f, "ALTER TABLE reserved ADD COLUMN \"one \"\" more\" TEXT DEFAULT 'd'");
    fixture_close(f);
    fixture_open(f, config);
    assert_intact(f);
    assert_int_equal(fixture_number(f, "SELECT count(*) FROM poly_log WHERE domain = 'reserved'"),
                     4);
}

/* How many fields the images in the log have. */
static int64_t image_fields(struct fixture *f, const char *where)
{
    char sql[300];

    snprintf(sql, sizeof(sql), "SELECT count(*) FROM poly_log AS l, %s(l.data) AS e %s",
             fixture_on_server() ? "json_each_text" : "json_each", where);
    return fixture_number(f, sql);
}

/* The same beyond the columns that json_object() takes at once. */
static void any_name_will_do_in_a_wide_table(void **state)
{
    struct fixture *f = *state;
    static char sql[16000];
    size_t used = (size_t)snprintf(sql, sizeof(sql), "CREATE TABLE wide(id TEXT PRIMARY KEY");

    for (int i = 1; i < 70; i++)
        used += (size_t)snprintf(sql + used, sizeof(sql) - used, ", c%d TEXT", i);
    snprintf(sql + used, sizeof(sql) - used,
             ", \"a\"\"b\" TEXT, \"e\\f\" TEXT, \"[g]\" TEXT, \"h.i\" TEXT, \"\xc3\xa9\" TEXT)");
    fixture_foreign(f, sql);
    fixture_close(f);
    fixture_open(f, "domains:\n  wide: {table: wide, tenant: none}\n");
    assert_ok(put_row(f->admin, "wide", "w",
                      ROW({"a\"b", poly_str("1")}, {"e\\f", poly_str("2")}, {"[g]", poly_str("3")},
                          {"h.i", poly_str("4")}, {"\xc3\xa9", poly_str("5")}),
                      POLY_ANY, NULL, &err));
    assert_int_equal(image_fields(f, "WHERE e.value IN ('1','2','3','4','5')"), 5);
    assert_int_equal(image_fields(f, "WHERE e.key = 'a\"b' OR e.key = 'e\\f' OR e.key = '[g]'"), 3);
    assert_int_equal(image_fields(f, ""), 75);
    fixture_close(f);
    fixture_open(f, config);
}

/* Another program has written UUIDs in capitals, and an empty key: a list still shows all. */
static void a_list_pages_over_keys_of_others(void **state)
{
    struct fixture *f = *state;
    struct poly_list_query query = {.domain = "ids", .limit = 3};
    size_t seen = 0;

    fixture_foreign_dialects(
        f,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
        " WHERE i < 20) INSERT INTO ids SELECT printf("
        "'%08X-9D1E-7CC0-8F53-0F0F5B0D8A%02X', 2863311530 + i, i), i % 3 FROM n;"
        "INSERT INTO ids SELECT lower(id), n FROM ids;"
        "INSERT INTO ids VALUES ('', 0)",
        "INSERT INTO ids SELECT upper(gen_random_uuid()::text)::uuid, i % 3"
        " FROM generate_series(1, 41) AS i");
    for (int order = 0; order < 4; order++) {
        query.order = order < 2 ? NULL : "n";
        query.descending = order % 2 == 1;
        query.cursor = NULL;
        seen = 0;
        do {
            struct poly_page page;

            assert_ok(poly_list(f->admin, &query, &page, &err));
            seen += page.count;
            query.cursor = page.cursor;
        } while (query.cursor != NULL && seen < 100);
        assert_int_equal(seen, 41);
    }
}

/* --- values --- */

static void numbers(struct fixture *f, bool untyped)
{
    const char *any_int = untyped ? "v" : "n", *any_real = untyped ? "v" : "x";
    static const int64_t integers[] = {0, -1, INT64_MAX, INT64_MIN, 9007199254740993};
    static const double reals[] = {
        0.1 + 0.2, 5e-324,    1.7976931348623157e308, -1e-300, 1e15, 1e22, 9007199254740993.0,
        INFINITY,  -INFINITY, 123456789.123456789};
    struct poly_document document;
    char key[32];

    for (size_t i = 0; i < sizeof(integers) / sizeof(integers[0]); i++) {
        snprintf(key, sizeof(key), "%lld", (long long)integers[i]);
        assert_ok(put_row(f->admin, "mixed", key, ROW({any_int, poly_int(integers[i])}), POLY_ANY,
                          NULL, &err));
        assert_ok(poly_get(f->admin, "mixed", key, &document, &err));
        assert_true(field(&document.row, any_int)->integer == integers[i]);
        assert_true(field(&document.row, "id")->integer == integers[i]);
    }
    for (size_t i = 0; i < sizeof(reals) / sizeof(reals[0]); i++) {
        assert_ok(put_row(f->admin, "mixed", "7", ROW({any_real, poly_float(reals[i])}), POLY_ANY,
                          NULL, &err));
        assert_ok(poly_get(f->admin, "mixed", "7", &document, &err));
        assert_true(field(&document.row, any_real)->real == reals[i]);
    }
    assert_int_equal(
        fixture_number(f, fixture_on_server()
                              ? "SELECT count(*) FROM poly_log, mixed WHERE domain = 'mixed'"
                                " AND key = id::text AND id <> 7 AND (data->>'n')::bigint = n"
                          : untyped ? "SELECT count(*) FROM poly_log, mixed WHERE domain ="
                                      " 'mixed' AND key = id AND id <> 7 AND data->>'v' IS v"
                                    : "SELECT count(*) FROM poly_log, mixed WHERE domain ="
                                      " 'mixed' AND key = id AND id <> 7 AND data->>'n' IS n"),
        5);
}

static void numbers_come_back_bit_for_bit(void **state)
{
    numbers(*state, false);
}

static void numbers_without_a_type_do_too(void **state)
{
    fixture_needs(*state, "columns-without-a-type");
    numbers(*state, true);
}

/* NULLs, equal values, all storage classes and a collation: every order, every page size. */
static void every_order_pages_over_every_row(void **state)
{
    static const char *const orders[] = {"v", "w", "x", "id"};
    struct fixture *f = *state;
    struct poly_list_query query = {.domain = "mixed"};

    fixture_foreign_dialects(
        f,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
        " WHERE i < 60) INSERT INTO mixed(id, v, w, x) SELECT i,"
        " CASE i % 6 WHEN 0 THEN NULL WHEN 1 THEN i % 4 WHEN 2 THEN (i % 4) + 0.5"
        " WHEN 3 THEN 't' || (i % 5) WHEN 4 THEN CAST('t' || (i % 5) AS BLOB)"
        " ELSE '' END,"
        " CASE i % 4 WHEN 0 THEN NULL WHEN 1 THEN 'a' WHEN 2 THEN 'A' ELSE 'b' END,"
        " CASE i % 3 WHEN 0 THEN NULL ELSE i / 7.0 END FROM n",
        "INSERT INTO mixed(id, v, w, x) SELECT i,"
        " CASE i % 6 WHEN 0 THEN NULL WHEN 3 THEN 't' || (i % 5) WHEN 4 THEN 'T' || (i % 5)"
        " ELSE '' END,"
        " CASE i % 4 WHEN 0 THEN NULL WHEN 1 THEN 'a' WHEN 2 THEN 'A' ELSE 'b' END,"
        " CASE i % 3 WHEN 0 THEN NULL ELSE i / 7.0 END FROM generate_series(1, 60) AS i");
    for (int i = 0; i < 4 * 2 * 4; i++) {
        bool known[61] = {false};
        size_t seen = 0;

        query.order = orders[i % 4];
        query.descending = i / 4 % 2 == 1;
        query.limit = (uint32_t)(1 + i / 8 * 3);
        query.cursor = NULL;
        do {
            struct poly_page page;

            assert_ok(poly_list(f->admin, &query, &page, &err));
            for (size_t d = 0; d < page.count; d++) {
                int64_t id = field(&page.documents[d].row, "id")->integer;

                assert_false(known[id]);
                known[id] = true;
                seen++;
            }
            query.cursor = page.cursor;
        } while (query.cursor != NULL);
        assert_int_equal(seen, 60);
        poly_session_reset(f->admin);
    }
}

/* --- images that are kept once --- */

struct churn {
    struct fixture *f;
    _Atomic bool done;
    _Atomic int wrong;
};

static void letter_body(char *body, size_t size, int n)
{
    memset(body, 'a' + n % 26, size - 1);
    body[size - 1] = '\0';
}

static bool check_image(void *arg, const struct poly_record *record)
{
    struct churn *churn = arg;
    const char *title, *body;

    if (record->type.data[1] != 'p')
        return true;
    title = strstr(record->data.text.data, "\"title\":\"");
    body = strstr(record->data.text.data, "\"body\":\"");
    if (title == NULL || body == NULL || title[9] != body[8] || record->data.text.size < 5000)
        atomic_fetch_add(&churn->wrong, 1);
    return true;
}

static void *read_log(void *arg)
{
    struct churn *churn = arg;
    struct poly_session *session = fixture_session(churn->f, NULL, POLY_RIGHTS_ALL);
    struct poly_error why;

    while (!atomic_load(&churn->done)) {
        struct poly_log_query query = {.limit = 500};
        uint64_t last = 0;

        for (int i = 0; i < 20; i++) {
            query.after = last;
            if (poly_log_read(session, &query, check_image, churn, &last, &why) != POLY_OK) {
                fprintf(stderr, "%s\n", why.message);
                atomic_fetch_add(&churn->wrong, 1);
                break;
            }
            if (last == query.after)
                break;
        }
        poly_session_reset(session);
    }
    poly_session_close(session);
    return NULL;
}

static void *retire(void *arg)
{
    struct churn *churn = arg;

    while (!atomic_load(&churn->done)) {
        if (fixture_on_server())
            poly_postgresql_retain(churn->f->instance->owner);
        else
            poly_embedded_retain(churn->f->instance->owner);
        nanosleep(&(struct timespec){0, 50000000}, NULL);
    }
    return NULL;
}

/* While rows change, go and come back, and retention runs, every record that is read has the image
 * of its time; and the log is whole. */
static void an_image_is_that_of_its_time(void **state)
{
    struct fixture *f = *state;
    struct churn churn = {.f = f};
    pthread_t threads[3];
    static char body[6000];
    char key[32], title[2] = "a", why[512];

    f->instance->config->change_retention_s = 1;
    assert_int_equal(pthread_create(&threads[0], NULL, read_log, &churn), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, read_log, &churn), 0);
    assert_int_equal(pthread_create(&threads[2], NULL, retire, &churn), 0);
    for (int i = 0; i < 700; i++) {
        letter_body(body, sizeof(body), i);
        title[0] = (char)('a' + i % 26);
        snprintf(key, sizeof(key), "%d", i % 7);
        if (i % 11 == 10)
            (void)!remove_row(f->admin, "docs", key, POLY_ANY, &err);
        else
            assert_ok(put_row(f->admin, "docs", key,
                              ROW({"title", poly_str(title)}, {"body", poly_str(body)}), POLY_ANY,
                              NULL, &err));
        if (i % 100 == 0)
            poly_session_reset(f->admin);
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    atomic_store(&churn.done, true);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&churn.wrong), 0);
    assert_true(lab_settled(f->admin, why, sizeof(why)));
    assert_intact(f);
    assert_ok(poly_rebuild(f->admin, "search", NULL, &err));
    if (!fixture_differs(f, "large-values"))
        assert_int_equal(fixture_number(f, "SELECT count(*) FROM poly_history WHERE position"
                                           " NOT IN (SELECT position FROM poly_log)"),
                         0);
    else
        assert_int_equal(fixture_number(f, "SELECT count(*) FROM pg_class WHERE relname ="
                                           " 'poly_history' OR relname = 'history'"),
                         0);
}

/* --- idempotency --- */

struct asker {
    struct fixture *f;
    pthread_t thread;
    uint64_t position;
    bool replayed;
};

static void *ask(void *arg)
{
    struct asker *asker = arg;
    struct poly_session *session = fixture_session(asker->f, NULL, 0);
    struct poly_txn_options options = {.idempotency_key = "once"};
    struct poly_event event = {.type = "Placed", .data = poly_json("{\"n\":1}")};
    struct poly_commit commit = {.position = 0};
    struct poly_error why;
    struct poly_txn *txn;

    if (poly_txn_begin(session, &options, &txn, &why) == POLY_OK &&
        poly_append(txn, "order-1", POLY_ANY, &event, 1, &why) == POLY_OK &&
        poly_txn_commit(txn, &commit, &why) == POLY_OK) {
        asker->position = commit.position;
        asker->replayed = commit.replayed;
    }
    poly_session_close(session);
    return NULL;
}

static void a_key_of_many_threads_has_one_effect(void **state)
{
    struct fixture *f = *state;
    struct asker askers[8];
    int first = 0;

    for (int i = 0; i < 8; i++) {
        askers[i] = (struct asker){.f = f};
        assert_int_equal(pthread_create(&askers[i].thread, NULL, ask, &askers[i]), 0);
    }
    for (int i = 0; i < 8; i++) {
        pthread_join(askers[i].thread, NULL);
        assert_int_not_equal(askers[i].position, 0);
        assert_int_equal(askers[i].position, askers[0].position);
        first += !askers[i].replayed;
    }
    assert_int_equal(first, 1);
    assert_int_equal(lab_stream_version(f->admin, "order-1"), 1);
}

/* --- search --- */

static void say(struct fixture *f, const char *json)
{
    struct poly_event event = {.type = "Said", .data = poly_json(json)};
    struct poly_txn *txn;

    assert_ok(poly_txn_begin(f->admin, NULL, &txn, &err));
    assert_ok(poly_append(txn, "order-1", POLY_ANY, &event, 1, &err));
    assert_ok(poly_txn_commit(txn, NULL, &err));
}

static size_t found(struct fixture *f, const char *text, enum poly_compare compare,
                    struct poly_value value)
{
    struct poly_filter filter = {
        .column = "level", .compare = compare, .values = &value, .value_count = 1};
    struct poly_search_query query = {.query = text, .filters = &filter, .filter_count = 1};
    struct poly_hits hits;

    assert_ok(poly_search(f->admin, &query, &hits, &err));
    return hits.count;
}

/* As in lists: a number is not less than a text, and a prefix is one of a text. */
static void filters_of_a_search_are_those_of_a_list(void **state)
{
    struct fixture *f = *state;

    say(f, "{\"text\": \"word\", \"level\": 3}");
    say(f, "{\"text\": \"word\", \"level\": \"high\"}");
    say(f, "{\"text\": \"word\", \"level\": \"30\"}");
    say(f, "{\"text\": \"word\"}");
    assert_int_equal(found(f, "word", POLY_GT, poly_int(1)), 1);
    assert_int_equal(found(f, "word", POLY_LT, poly_str("z")), 2);
    assert_int_equal(found(f, "word", POLY_LE, poly_str("30")), 1);
    assert_int_equal(found(f, "word", POLY_PREFIX, poly_str("3")), 1);
    assert_int_equal(found(f, "word", POLY_EQ, poly_str("3")), 0);
}

/* As deep as the limit allows, in the shape that needs most of the engine's stack. */
static void a_query_of_the_greatest_depth_is_answered(void **state)
{
    static const char *const levels[] = {"x OR word (", "x OR word -(", "word -(", "x OR (",
                                         "x OR word w* -x -("};
    struct fixture *f = *state;
    struct poly_search_query query = {.limit = 5};
    struct poly_hits hits;

    say(f, "{\"text\": \"word\"}");
    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        int groups = i == 4 ? 15 : 16; /* more would be too many words */
        size_t used = 0;
        char text[2000];

        for (int depth = 0; depth < groups; depth++)
            used += (size_t)snprintf(text + used, sizeof(text) - used, "%s", levels[i]);
        used += (size_t)snprintf(text + used, sizeof(text) - used, "word");
        for (int depth = 0; depth < groups; depth++)
            text[used++] = ')';
        text[used] = '\0';
        query.query = text;
        assert_ok(poly_search(f->admin, &query, &hits, &err));
    }
}

#define HERE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        HERE(a_trigger_of_a_migration_is_followed),
        HERE(a_trigger_of_another_program_is_followed),
        HERE(a_conflict_is_never_resolved_by_itself),
        HERE(any_column_name_will_do),
        HERE(any_name_will_do_in_a_wide_table),
        HERE(a_list_pages_over_keys_of_others),
        HERE(numbers_come_back_bit_for_bit),
        HERE(numbers_without_a_type_do_too),
        HERE(every_order_pages_over_every_row),
        HERE(an_image_is_that_of_its_time),
        HERE(filters_of_a_search_are_those_of_a_list),
        HERE(a_query_of_the_greatest_depth_is_answered),
        HERE(a_key_of_many_threads_has_one_effect),
    };

    if (argc > 1) /* one of them, by its name */
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
