/*
 * SQL of a tenant sees its own rows and nothing else, cannot write, and cannot
 * hold the machine. Each attack of the list runs twice: against the wall, where
 * it must fail, and with the wall switched off, where it must succeed; an attack
 * that fails without the wall would prove nothing.
 */
#include "base/budget.h"
#include "fixture.h"
#include "stores/relational/driver.h"

static const char tables[] =
    "CREATE TABLE documents(id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL, title TEXT,"
    " price INTEGER, data JSON);\n"
    "CREATE INDEX documents_tenant ON documents(tenant_id);\n"
    "CREATE TABLE countries(code TEXT PRIMARY KEY, name TEXT);\n"
    "CREATE TABLE private(id TEXT PRIMARY KEY, secret TEXT);\n"
    "INSERT INTO private VALUES ('1', 'SECRET of nobody');\n"
    "CREATE VIEW all_documents AS SELECT * FROM documents;\n"
    "CREATE VIRTUAL TABLE texts USING fts5(body);\n"
    "INSERT INTO texts VALUES ('SECRET text');\n";

static const char config[] = "domains:\n"
                             "  documents: {table: documents, tenant: tenant_id}\n"
                             "  countries: {table: countries, tenant: none}\n";

static void add(struct fixture *f, const char *tenant, const char *id, const char *title)
{
    struct poly_session *session = fixture_session(f, tenant, 0);
    struct poly_error err;

    assert_ok(put_row(session, "documents", id,
                      ROW({"title", poly_str(title)}, {"price", poly_int(10)},
                          {"data", poly_json("{\"tags\":[\"x\",\"y\"]}")}),
                      POLY_ANY, NULL, &err));
    poly_session_close(session);
}

static int setup(void **state)
{
    static struct fixture f;
    struct poly_error err;

    fixture_begin(&f, tables, config);
    add(&f, "mine", "m1", "My one");
    add(&f, "mine", "m2", "My two");
    add(&f, "yours", "y1", "SECRET one");
    add(&f, "yours", "y2", "SECRET two");
    add(&f, "yours", "y3", "SECRET three");
    assert_ok(put_row(f.admin, "countries", "ch", ROW({"name", poly_str("Switzerland")}), POLY_ANY,
                      NULL, &err));
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    fixture_remove(*state);
    return 0;
}

/* --- running a statement and looking at what came back --- */

struct answer {
    int64_t rows;
    int64_t number; /* the first column of the first row, when an integer */
    bool leaked;    /* somewhere stood SECRET, or "yours" */
    char text[300];
};

static bool has(const char *text, size_t size, const char *what)
{
    return memmem(text, size, what, strlen(what)) != NULL;
}

static bool look(void *arg, const struct poly_row *row)
{
    struct answer *answer = arg;

    for (size_t i = 0; i < row->count; i++) {
        const struct poly_value *value = &row->fields[i].value;

        if (i == 0 && answer->rows == 0 && value->type == POLY_INT)
            answer->number = value->integer;
        if (value->type != POLY_TEXT && value->type != POLY_JSON && value->type != POLY_BYTES)
            continue;
        if (i == 0 && answer->rows == 0)
            snprintf(answer->text, sizeof(answer->text), "%.*s", (int)value->text.size,
                     value->text.data);
        answer->leaked |= has(value->text.data, value->text.size, "SECRET") ||
                          has(value->text.data, value->text.size, "yours");
    }
    answer->rows++;
    return true;
}

static enum poly_status ask(struct poly_session *session, const char *sql, struct answer *answer,
                            struct poly_error *err)
{
    memset(answer, 0, sizeof(*answer));
    poly_session_reset(session);
    return poly_sql_read(session, sql, NULL, 0, look, answer, err);
}

/* --- the attacks --- */

enum success {
    LEAKS,  /* another tenant's text comes back */
    COUNTS, /* the number that comes back is beyond what the tenant has (2) */
    ROWS,   /* any row comes back */
    WORKS   /* the statement runs */
};

static const struct attack {
    const char *sql;
    enum success success;
} attacks[] = {
    {"SELECT * FROM main.documents", LEAKS},
    {"SELECT * FROM MAIN.Documents", LEAKS},
    {"SELECT * FROM \"main\".\"documents\"", LEAKS},
    {"SELECT count(*) FROM main.documents", COUNTS},
    {"SELECT count(*) FROM documents", COUNTS},
    {"SELECT rowid FROM main.documents ORDER BY rowid DESC", COUNTS},
    {"WITH documents AS (SELECT * FROM main.documents) SELECT * FROM documents", LEAKS},
    {"WITH documents(a) AS (SELECT title FROM main.documents) SELECT a FROM documents", LEAKS},
    {"WITH d AS (SELECT * FROM main.documents) SELECT * FROM d", LEAKS},
    {"WITH RECURSIVE documents AS (SELECT * FROM main.documents UNION ALL SELECT * FROM documents"
     " WHERE 0) SELECT * FROM documents",
     LEAKS},
    {"WITH documents AS MATERIALIZED (SELECT * FROM main.documents) SELECT count(*) FROM documents",
     COUNTS},
    {"SELECT * FROM (SELECT * FROM main.documents) AS documents", LEAKS},
    {"SELECT (SELECT group_concat(title) FROM main.documents)", LEAKS},
    {"SELECT title FROM documents UNION ALL SELECT title FROM main.documents", LEAKS},
    {"SELECT 1 FROM documents WHERE EXISTS (SELECT 1 FROM main.documents WHERE tenant_id = "
     "'yours')",
     ROWS},
    {"SELECT d.title FROM documents AS m JOIN main.documents AS d", LEAKS},
    {"SELECT title FROM documents WHERE tenant_id = 'yours' OR 1 = 1", LEAKS},
    {"SELECT title FROM documents INDEXED BY documents_tenant", LEAKS},
    {"SELECT max(title) OVER () FROM documents", LEAKS},
    {"SELECT * FROM all_documents", LEAKS},
    {"SELECT count(*) FROM all_documents", COUNTS},
    {"SELECT * FROM private", LEAKS},
    {"SELECT count(*) FROM private", ROWS},
    {"SELECT * FROM poly_log", LEAKS},
    {"SELECT count(*) FROM poly_log", COUNTS},
    {"SELECT data FROM main.poly_log WHERE domain = 'documents'", LEAKS},
    {"SELECT max(position) FROM poly_log", COUNTS},
    {"SELECT * FROM poly_key", WORKS},
    {"SELECT value FROM poly_meta", ROWS},
    {"SELECT count(*) FROM poly_meta", ROWS},
    {"SELECT seq FROM sqlite_sequence", ROWS},
    {"SELECT * FROM texts", LEAKS},
    {"SELECT * FROM texts WHERE texts MATCH 'secret'", LEAKS},
    {"SELECT c0 FROM texts_content", LEAKS},
    {"SELECT block FROM texts_data", ROWS},
    {"SELECT sql FROM sqlite_master", ROWS},
    {"SELECT count(*) FROM sqlite_schema", ROWS},
    {"SELECT sql FROM sqlite_temp_master", WORKS},
    {"SELECT name FROM temp.sqlite_schema", WORKS},
    {"SELECT * FROM pragma_table_info('documents')", ROWS},
    {"SELECT count(*) FROM pragma_table_info('documents')", ROWS},
    {"SELECT * FROM pragma_database_list", ROWS},
    {"SELECT * FROM pragma_function_list", ROWS},
    {"SELECT count(*) FROM dbstat", ROWS},
    {"SELECT * FROM sqlite_stmt", WORKS},
    {"PRAGMA database_list", ROWS},
    {"PRAGMA table_list", ROWS},
    {"EXPLAIN SELECT * FROM documents", ROWS},
    {"EXPLAIN QUERY PLAN SELECT * FROM documents", ROWS},
    {"SELECT load_extension('nothing') WHERE 0", WORKS},
    {"SELECT sqlite_source_id()", ROWS},
    {"SELECT sqlite_compileoption_get(1)", ROWS},
    {"SELECT fts3_tokenizer('simple') WHERE 0", WORKS},
    {"VALUES ((SELECT title FROM main.documents WHERE id = 'y1'))", LEAKS},
    {"SELECT m.title FROM documents AS d NATURAL JOIN main.documents AS m", LEAKS},
    {"SELECT json_group_array(title) FILTER (WHERE 1) FROM main . documents", LEAKS},
    {"SELECT title FROM main.[documents] GROUP BY 1 HAVING count(*) > 0 ORDER BY 1 DESC", LEAKS},
    {"SELECT lag(title, 1) OVER (ORDER BY id DESC) FROM `main`.`documents`", LEAKS},
    {"SELECT (SELECT title FROM main.documents AS i WHERE i.price = o.price AND i.tenant_id <>"
     " o.tenant_id) FROM documents AS o",
     LEAKS},
    {"SELECT oid FROM main.documents WHERE _rowid_ > 2", COUNTS},
    {"SELECT * FROM documents WHERE (SELECT count(*) FROM main.documents) > 2", ROWS},
    {"SELECT CASE WHEN EXISTS (SELECT 1 FROM main.private) THEN 3 END", COUNTS},
    {"WITH a AS (SELECT * FROM b), b AS (SELECT title FROM main.documents) SELECT * FROM a", LEAKS},
    {"SELECT 'y1' IN (SELECT id FROM main.documents)", ROWS},
    {"SELECT 1 WHERE (1, 'x') NOT IN main.private", ROWS},
    {"SELECT j.value FROM main.documents AS d, json_each(json_array(d.title)) AS j", LEAKS},
    {"SELECT total_changes()", ROWS},
    {"SELECT last_insert_rowid()", ROWS},
};

static bool succeeded(const struct attack *attack, enum poly_status status,
                      const struct answer *answer)
{
    if (status != POLY_OK)
        return false;
    switch (attack->success) {
    case LEAKS:
        return answer->leaked;
    case COUNTS:
        return answer->number > 2;
    case ROWS:
        return answer->rows > 0;
    default:
        return true;
    }
}

static void attack_all(struct fixture *f, bool expected)
{
    struct poly_session *session = fixture_session(f, "mine", POLY_RIGHT_READ | POLY_RIGHT_SQL);
    size_t count = sizeof(attacks) / sizeof(attacks[0]);

    assert_true(count >= 30);
    for (size_t i = 0; i < count; i++) {
        struct answer answer;
        struct poly_error err = {.position = -1};
        enum poly_status status = ask(session, attacks[i].sql, &answer, &err);

        if (succeeded(&attacks[i], status, &answer) != expected)
            fail_msg("%s the wall: %s: %s %s", expected ? "without" : "with", attacks[i].sql,
                     poly_status_name(status), err.message);
        if (!expected && strstr(err.message, "poly_") != NULL &&
            strstr(attacks[i].sql, "poly_") == NULL)
            fail_msg("a hidden name shows: %s: %s", attacks[i].sql, err.message);
    }
    poly_session_close(session);
}

static void with_wall(void **state)
{
    attack_all(*state, false);
}

/* Control: every attack is one. */
static void without_wall(void **state)
{
    poly_control_wall = false;
    attack_all(*state, true);
    poly_control_wall = true;
}

/* Statements that write or leave the file, each refused; the data are untouched. */
static void writes(void **state)
{
    static const char *const statements[] = {
        "INSERT INTO documents VALUES ('x', 'mine', 'x', 1, NULL)",
        "INSERT INTO main.documents VALUES ('x', 'yours', 'x', 1, NULL)",
        "UPDATE documents SET title = 'x'",
        "UPDATE main.documents SET tenant_id = 'mine'",
        "DELETE FROM main.documents",
        "REPLACE INTO main.documents VALUES ('y1', 'mine', 'x', 1, NULL)",
        "CREATE TABLE t(a)",
        "CREATE TEMP TABLE t(a)",
        "CREATE TEMP VIEW v AS SELECT * FROM main.documents",
        "CREATE TEMP TRIGGER t AFTER INSERT ON main.documents BEGIN SELECT 1; END",
        "DROP VIEW temp.documents",
        "DROP TABLE main.documents",
        "ALTER TABLE documents RENAME TO d",
        "ATTACH ':memory:' AS a",
        "DETACH main",
        "VACUUM",
        "VACUUM INTO '/tmp/polystore-stolen.db'",
        "PRAGMA query_only = OFF",
        "PRAGMA writable_schema = ON",
        "BEGIN",
        "COMMIT",
        "SAVEPOINT s",
        "REINDEX",
        "ANALYZE",
        "SELECT 1; SELECT * FROM main.documents",
        "",
        "-- nothing",
    };
    struct fixture *f = *state;
    struct poly_session *session = fixture_session(f, "mine", POLY_RIGHTS_ALL & ~POLY_RIGHT_ADMIN);
    struct answer answer;
    struct poly_error err;

    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
        enum poly_status status = ask(session, statements[i], &answer, &err);

        if (status != POLY_DENIED && status != POLY_INVALID)
            fail_msg("%s: %s", statements[i], poly_status_name(status));
    }
    assert_ok(ask(session, "SELECT count(*) FROM documents", &answer, &err));
    assert_int_equal(answer.number, 2);
    /* through a transaction a tenant's SQL does not go at all */
    assert_fails(run_sql(session, "UPDATE documents SET title = 'x'", &err), POLY_DENIED);
    assert_message("put, patch, delete");
    poly_session_close(session);
}

/* A query that would go on is ended at the deadline; memory is bounded. */
static void greed(void **state)
{
    struct fixture *f = *state;
    struct poly_session_options options = {
        .tenant = "mine", .rights = POLY_RIGHT_READ | POLY_RIGHT_SQL, .deadline_ms = 200};
    struct poly_session_options patient = {
        .tenant = "mine", .rights = POLY_RIGHT_READ | POLY_RIGHT_SQL, .deadline_ms = 60000};
    static const char endless[] =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000)"
        " SELECT count(*) FROM n AS a, (SELECT 1) AS b WHERE a.i % 7 = b.\"1\"";
    static const char *const large[] = {
        "SELECT zeroblob(1000000000)",
        "SELECT length(printf('%900000000d', 1))",
        "SELECT length(replace(hex(zeroblob(8000000)), '00', hex(zeroblob(100))))",
        ("SELECT length(group_concat(hex(zeroblob(1000000)))) FROM (WITH RECURSIVE n(i) AS"
         " (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100) SELECT i FROM n)"),
        "SELECT trim(title, hex(zeroblob(1000))) FROM documents",
        /* doubles in size with each table expression, before it runs */
        ("WITH a AS (SELECT 1 x), b AS (SELECT 1 FROM a, a), c AS (SELECT 1 FROM b, b), d AS"
         " (SELECT 1 FROM c, c), e AS (SELECT 1 FROM d, d), f AS (SELECT 1 FROM e, e), g AS"
         " (SELECT 1 FROM f, f), h AS (SELECT 1 FROM g, g), i AS (SELECT 1 FROM h, h), j AS"
         " (SELECT 1 FROM i, i), k AS (SELECT 1 FROM j, j), l AS (SELECT 1 FROM k, k, k, k), m AS"
         " (SELECT 1 FROM l, l, l, l), n AS (SELECT 1 FROM m, m, m, m) SELECT 1 FROM n, n, n, n"),
        ("SELECT replace(hex(zeroblob(8000000)), '0', 'a') LIKE '%aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab'"
         " || replace(hex(zeroblob(60)), '0', 'a')"),
    };
    struct poly_session *session;
    struct poly_session *slow;
    struct answer answer;
    struct poly_error err;

    assert_ok(poly_session_open(f->instance, &options, &session, &err));
    for (size_t i = 0; i < sizeof(large) / sizeof(large[0]); i++) {
        enum poly_status status = ask(session, large[i], &answer, &err);

        /* printf() over the limit is null */
        if (status != POLY_LIMIT && status != POLY_INVALID && status != POLY_TIMEOUT &&
            (status != POLY_OK || answer.number != 0))
            fail_msg("%s: %s", large[i], poly_status_name(status));
    }
    /* texts of equal letters: linear here, hours in SQLite's own functions; a sanitizer's build is
     * slow, so that only the hours are ruled out */
    assert_ok(poly_session_open(f->instance, &patient, &slow, &err));
    assert_ok(ask(slow,
                  "SELECT instr(replace(hex(zeroblob(1000000)), '0', 'a'),"
                  " replace(hex(zeroblob(500000)), '0', 'a') || 'b')",
                  &answer, &err));
    poly_session_close(slow);
    assert_fails(ask(session,
                     "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
                     " SELECT count(*) FROM n",
                     &answer, &err),
                 POLY_TIMEOUT);
    assert_fails(ask(session, endless, &answer, &err), POLY_TIMEOUT);
    assert_ok(ask(session, "SELECT count(*) FROM documents", &answer, &err));
    poly_control_wall = false; /* control: without the wall it runs on */
    assert_ok(ask(session, endless, &answer, &err));
    assert_ok(ask(session, "SELECT length(printf('%100000000d', 1))", &answer, &err));
    assert_int_equal(answer.number, 100000000);
    poly_control_wall = true;
    poly_session_close(session);
}

/* What a tenant's SQL is for works. */
static void honest(void **state)
{
    struct fixture *f = *state;
    struct poly_session *session = fixture_session(f, "mine", POLY_RIGHT_READ | POLY_RIGHT_SQL);
    struct poly_session *yours = fixture_session(f, "yours", POLY_RIGHT_READ | POLY_RIGHT_SQL);
    struct poly_value value = poly_str("My two");
    struct answer answer;
    struct poly_error err;

    assert_ok(ask(session, "SELECT title FROM documents ORDER BY id DESC", &answer, &err));
    assert_int_equal(answer.rows, 2);
    assert_string_equal(answer.text, "My two");
    assert_ok(ask(session, "SELECT sum(price) FROM documents", &answer, &err));
    assert_int_equal(answer.number, 20);
    assert_ok(
        ask(session, "WITH d AS (SELECT * FROM documents) SELECT count(*) FROM d", &answer, &err));
    assert_int_equal(answer.number, 2);
    assert_ok(ask(session, "SELECT count(*) FROM documents, json_each(documents.data, '$.tags')",
                  &answer, &err));
    assert_int_equal(answer.number, 4);
    assert_ok(ask(session, "SELECT d.title, c.name FROM documents AS d JOIN countries AS c",
                  &answer, &err));
    assert_int_equal(answer.rows, 2);
    assert_ok(
        ask(session, "SELECT data ->> '$.tags[0]', upper(title) FROM documents", &answer, &err));
    assert_ok(ask(session,
                  "SELECT replace('aXbX', 'X', 'yy') || instr('zürich', 'r')"
                  " || trim('  é  ') || trim('xxüxx', 'x') || ltrim('xax', 'x')"
                  " || rtrim('xax', 'x')",
                  &answer, &err));
    assert_string_equal(answer.text, "ayybyy3éüaxxa");
    assert_ok(ask(session,
                  "SELECT ('Zürich' LIKE 'zÜ%') || ('Zürich' LIKE 'z_RI%') || ('a%b' LIKE 'a\\%b'"
                  " ESCAPE '\\') || ('axb' LIKE 'a\\%b' ESCAPE '\\') || ('abc' GLOB 'a[b-d]*') ||"
                  " ('abc' GLOB 'A*') || coalesce(NULL LIKE 'a', 'n') ||"
                  " coalesce('a' LIKE NULL, 'n')",
                  &answer, &err));
    assert_string_equal(answer.text, "011010nn");
    memset(&answer, 0, sizeof(answer));
    assert_ok(poly_sql_read(session, "SELECT id FROM documents WHERE title = ?1", &value, 1, look,
                            &answer, &err));
    assert_string_equal(answer.text, "m2");
    assert_ok(ask(yours, "SELECT count(*) FROM documents", &answer, &err));
    assert_int_equal(answer.number, 3);
    assert_fails(ask(session, "SELECT nothing FROM documents", &answer, &err), POLY_INVALID);
    assert_message("nothing");
    assert_null(strstr(err.message, "poly_"));
    assert_int_equal(err.position, 7);
    poly_session_close(session);
    poly_session_close(yours);
}

/* Without tenant: domains without tenants. With ADMIN: everything but secrets. */
static void others(void **state)
{
    struct fixture *f = *state;
    struct poly_session *open = fixture_session(f, NULL, POLY_RIGHTS_ALL & ~POLY_RIGHT_ADMIN);
    struct poly_session *unable = fixture_session(f, NULL, POLY_RIGHT_READ);
    struct answer answer;
    struct poly_error err;

    assert_ok(ask(open, "SELECT name FROM countries", &answer, &err));
    assert_fails(ask(open, "SELECT * FROM documents", &answer, &err), POLY_DENIED);
    assert_fails(ask(open, "SELECT count(*) FROM documents", &answer, &err), POLY_DENIED);
    assert_fails(ask(open, "SELECT * FROM poly_log", &answer, &err), POLY_DENIED);
    assert_fails(ask(unable, "SELECT name FROM countries", &answer, &err), POLY_DENIED);
    assert_ok(run_sql(open, "UPDATE countries SET name = 'Suisse'", &err));
    assert_fails(run_sql(open, "UPDATE documents SET title = 'x'", &err), POLY_DENIED);
    assert_fails(run_sql(open, "UPDATE countries SET name = (SELECT secret FROM private)", &err),
                 POLY_DENIED);
    assert_fails(run_sql(open,
                         "WITH poly_x AS (SELECT data FROM poly_log) UPDATE countries SET name ="
                         " (SELECT data FROM poly_x)",
                         &err),
                 POLY_DENIED);
    assert_ok(ask(f->admin, "SELECT count(*) FROM documents", &answer, &err));
    assert_int_equal(answer.number, 5);
    assert_ok(ask(f->admin, "SELECT count(*) FROM poly_log", &answer, &err));
    assert_ok(ask(f->admin, "EXPLAIN QUERY PLAN SELECT * FROM documents", &answer, &err));
    assert_fails(ask(f->admin, "SELECT * FROM poly_key", &answer, &err), POLY_DENIED);
    assert_fails(ask(f->admin, "SELECT count(*) FROM poly_meta", &answer, &err), POLY_DENIED);
    assert_fails(ask(f->admin, "SELECT * FROM pragma_database_list", &answer, &err), POLY_DENIED);
    assert_fails(ask(f->admin, "DELETE FROM documents", &answer, &err), POLY_DENIED);
    poly_session_close(open);
    poly_session_close(unable);
}

/* SQL in a transaction: what is refused even to an administrator, and what is not. */
static void guarded(void **state)
{
    static const char *const refused[] = {
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT s",
        "RELEASE s",
        "ATTACH ':memory:' AS a",
        "PRAGMA foreign_keys = OFF",
        "VACUUM",
        "CREATE TABLE t(a)",
        "DROP TABLE countries",
        "INSERT INTO poly_log(domain, key, type, time) VALUES ('a', 'b', 'c', 0)",
        "DELETE FROM poly_seal",
        "UPDATE poly_meta SET value = 1",
        "SELECT * FROM poly_key",
        "INSERT OR ROLLBACK INTO countries VALUES ('ch', 'x')",
        "INSERT OR /* */ rollback INTO countries VALUES ('ch', 'x')",
        "DROP TRIGGER poly_countries_insert",
        "SELECT load_extension('x')",
        "INSERT INTO sqlite_sequence VALUES ('a', 1)",
    };
    struct fixture *f = *state;
    struct poly_txn_options interactive = {.interactive = true};
    struct poly_value values[] = {poly_str("at"), poly_str("Österreich; ROLLBACK")};
    struct poly_commit commit;
    struct answer answer;
    struct poly_txn *txn;
    struct poly_error err;

    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        enum poly_status status = run_sql(f->admin, refused[i], &err);

        if (status != POLY_DENIED && status != POLY_INVALID)
            fail_msg("%s: %s", refused[i], poly_status_name(status));
    }
    assert_fails(run_sql(f->admin, "SELECT 1; SELECT 2", &err), POLY_INVALID);
    assert_ok(poly_txn_begin(f->admin, &interactive, &txn, &err));
    assert_ok(
        poly_txn_sql(txn, "INSERT INTO countries VALUES (?1, ?2)", values, 2, NULL, NULL, &err));
    memset(&answer, 0, sizeof(answer));
    assert_ok(poly_txn_sql(txn, "SELECT name FROM countries WHERE code = 'at'", NULL, 0, look,
                           &answer, &err));
    assert_string_equal(answer.text, "Österreich; ROLLBACK");
    assert_ok(poly_txn_sql(txn, "DELETE FROM countries WHERE code = 'at' AND name <> 'ROLLBACK'",
                           NULL, 0, NULL, NULL, &err));
    assert_ok(poly_txn_commit(txn, &commit, &err));
    assert_int_equal(commit.results[0].count, 1);
    assert_true(commit.position > 0); /* the triggers have written the log */
}

int main(void)
{
    assert_true(poly_budget_install());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(honest),  cmocka_unit_test(with_wall), cmocka_unit_test(without_wall),
        cmocka_unit_test(writes),  cmocka_unit_test(greed),     cmocka_unit_test(others),
        cmocka_unit_test(guarded),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
