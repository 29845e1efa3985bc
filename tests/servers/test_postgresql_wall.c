/* SQL of a tenant on PostgreSQL sees its own rows and nothing else. S0-22, S4-36. Run by `with`. */
#include <libpq-fe.h>

#include "conformance/fixture.h"
#include "stores/relational/postgresql.h"

static const char tables[] =
    "CREATE TABLE notes(id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL, text TEXT);\n"
    "CREATE TABLE numbers(tenant_id INTEGER NOT NULL, id INTEGER NOT NULL, n INTEGER,"
    " PRIMARY KEY (tenant_id, id));\n"
    "CREATE TABLE countries(id TEXT PRIMARY KEY, name TEXT);\n"
    "CREATE TABLE secret(id TEXT PRIMARY KEY, word TEXT);\n"
    "INSERT INTO secret VALUES ('1', 'hidden');\n"
    "CREATE VIEW all_notes AS SELECT * FROM notes;\n"
    "INSERT INTO notes VALUES ('1', '1', 'mine'), ('2', '2', 'hidden'), ('3', '1', 'mine');\n"
    "INSERT INTO numbers VALUES (1, 1, 7), (2, 1, 1000);\n"
    "INSERT INTO countries VALUES ('ch', 'Switzerland');\n";

static const char config[] = "domains:\n"
                             "  notes: {table: notes, tenant: tenant_id}\n"
                             "  numbers: {table: numbers, tenant: tenant_id}\n"
                             "  countries: {table: countries, tenant: none}\n";

static void admin_sql(const struct fixture *f, const char *sql)
{
    PGconn *conn = PQconnectdb(f->admin_url);
    PGresult *result = PQexec(conn, sql);

    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(conn));
    PQclear(result);
    PQfinish(conn);
}

static int setup(void **state)
{
    static struct fixture f;
    char sql[200];
    PGconn *conn;

    fixture_make(&f);
    fixture_migration(&f, "0001_tables.sql", tables);
    conn = PQconnectdb(f.url);
    snprintf(sql, sizeof(sql), "CREATE ROLE poly_tenant NOLOGIN; GRANT poly_tenant TO %s",
             PQuser(conn));
    PQfinish(conn);
    admin_sql(&f, sql);
    fixture_open(&f, config);
    fixture_migrate(&f);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    fixture_remove(*state);
    admin_sql(*state, "DROP ROLE poly_tenant");
    return 0;
}

struct found {
    char text[2000];
};

static bool note(void *arg, const struct poly_row *row)
{
    struct found *found = arg;
    size_t used = strlen(found->text);
    const struct poly_value *value = &row->fields[0].value;

    if (value->type == POLY_INT)
        snprintf(found->text + used, sizeof(found->text) - used, "%lld ",
                 (long long)value->integer);
    else if (value->type == POLY_TEXT || value->type == POLY_JSON)
        snprintf(found->text + used, sizeof(found->text) - used, "%.*s ", (int)value->text.size,
                 value->text.data);
    return true;
}

static const char *ask(struct poly_session *session, const char *sql, enum poly_status *status,
                       struct poly_error *err)
{
    static struct found found;

    found.text[0] = '\0';
    *status = poly_sql_read(session, sql, NULL, 0, note, &found, err);
    return found.text;
}

static void own_rows(void **state)
{
    struct fixture *f = *state;
    struct poly_session *one = fixture_session(f, "1", POLY_RIGHTS_ALL);
    struct poly_session *two = fixture_session(f, "2", POLY_RIGHTS_ALL);
    enum poly_status status;
    struct poly_error err = {0};

    assert_string_equal(ask(one, "SELECT text FROM notes ORDER BY id", &status, &err),
                        "mine mine ");
    assert_string_equal(ask(two, "SELECT text FROM notes", &status, &err), "hidden ");
    assert_string_equal(ask(one, "SELECT sum(n) FROM numbers", &status, &err), "7 ");
    assert_string_equal(
        ask(one, "SELECT c.name FROM countries c, notes n WHERE n.id = '1'", &status, &err),
        "Switzerland ");
    assert_string_equal(
        ask(one, "WITH x AS (SELECT * FROM notes) SELECT count(*) FROM x", &status, &err), "2 ");
    /* ours is not touched by it */
    assert_string_equal(ask(f->admin, "SELECT count(*) FROM notes", &status, &err), "3 ");
    assert_ok(put_row(one, "notes", "4", ROW({"text", poly_str("mine")}), 0, NULL, &err));
    assert_ok(remove_row(one, "notes", "4", POLY_ANY, &err));
    poly_session_close(one);
    poly_session_close(two);
}

static const char *const attacks[] = {
    "SELECT word FROM secret",
    "SELECT word FROM public.secret",
    "SELECT \"word\" FROM \"secret\"",
    "SELECT text FROM all_notes",
    "TABLE secret",
    "(SELECT word FROM secret)",
    "SELECT text FROM notes UNION ALL SELECT word FROM secret",
    "SELECT (SELECT word FROM secret)",
    "SELECT value FROM poly.meta",
    "SELECT data FROM poly.log",
    "SELECT poly.tenant()",
    "SELECT poly.be('2')",
    "SELECT set_config('poly.tenant', 'x:2', true)",
    "SELECT current_setting('poly.tenant')",
    "SELECT text FROM notes; SET ROLE postgres",
    "SET LOCAL ROLE NONE",
    "RESET ROLE",
    "SET row_security = off",
    "SELECT query_to_xml('SELECT word FROM secret', true, true, '')",
    "SELECT table_to_xml('notes', true, true, '')",
    "SELECT database_to_xml(true, true, '')",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT lo_get(1)",
    "SELECT rolname FROM pg_roles",
    "SELECT relname FROM pg_catalog.pg_class",
    "SELECT table_name FROM information_schema.tables",
    "SELECT most_common_vals FROM pg_stats",
    "SELECT 'secret'::regclass",
    "SELECT CAST('secret' AS regclass)",
    "SELECT U&\"s\\0065cret\" FROM notes",
    "SELECT E'\\'; RESET ROLE; --'",
    "SELECT $a$ $a$; RESET ROLE",
    "COPY notes TO STDOUT",
    "EXPLAIN SELECT * FROM notes",
    "EXPLAIN ANALYZE SELECT * FROM notes",
    "DO $$BEGIN RESET ROLE; END$$",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE TEMP TABLE t AS SELECT * FROM secret",
    "SELECT * INTO TEMP t FROM notes",
    "INSERT INTO notes VALUES ('9', '2', 'x')",
    "WITH x AS (UPDATE notes SET tenant_id = '1' RETURNING text) SELECT text FROM x",
    "DELETE FROM notes",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "FETCH ALL FROM poly_rows",
    "CLOSE poly_rows",
    "COMMIT",
    "LOCK TABLE notes",
    "LISTEN poly",
    "SELECT dblink('', 'SELECT 1')",
    "SELECT text FROM notes WHERE pg_sleep(10) IS NULL",
    "SELECT text FROM notes /* /* */ ; RESET ROLE */ */",
};

/* How many attacks saw what they must not see. */
static int run_attacks(struct fixture *f, const char *tenant, int *answered)
{
    struct poly_session *one = fixture_session(
        f, tenant, tenant == NULL ? POLY_RIGHTS_ALL & ~POLY_RIGHT_ADMIN : POLY_RIGHTS_ALL);
    int seen = 0;

    *answered = 0;
    for (size_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++) {
        struct poly_error err;
        enum poly_status status;
        const char *text = ask(one, attacks[i], &status, &err);

        seen += strstr(text, "hidden") != NULL;
        if (status != POLY_OK)
            continue;
        printf("answered: %s: %s\n", attacks[i], text);
        ++*answered;
    }
    poly_session_close(one);
    return seen;
}

static void attacked(void **state)
{
    int answered;

    assert_int_equal(run_attacks(*state, "1", &answered), 0);
    assert_int_equal(answered, 0);
}

/* Without tenant and without ADMIN, the same wall, and nobody's rows behind it. */
static void nobody(void **state)
{
    struct poly_session *none = fixture_session(*state, NULL, POLY_RIGHTS_ALL & ~POLY_RIGHT_ADMIN);
    enum poly_status status;
    struct poly_error err = {0};
    int answered;

    assert_int_equal(run_attacks(*state, NULL, &answered), 0);
    assert_string_equal(ask(none, "SELECT name FROM countries", &status, &err), "Switzerland ");
    ask(none, "SELECT text FROM notes", &status, &err);
    assert_int_equal(status, POLY_DENIED);
    assert_message("a session without tenant reads nothing that has tenants");
    ask(none, "SELECT count(*) FROM numbers", &status, &err);
    assert_int_equal(status, POLY_DENIED);
    poly_session_close(none);
}

/* Control: without the role the list above would see what is hidden. */
static void attacked_without_wall(void **state)
{
    int answered;

    atomic_store(&poly_control_role, false);
    assert_true(run_attacks(*state, "1", &answered) > 0);
    assert_true(run_attacks(*state, NULL, &answered) > 0);
    atomic_store(&poly_control_role, true);
}

/* A wall with a hole is no wall: nobody has SQL until it is closed. */
static void holes(void **state)
{
    static const char *const pairs[][2] = {
        {"GRANT SELECT ON secret TO PUBLIC", "REVOKE SELECT ON secret FROM PUBLIC"},
        {"GRANT SELECT (word) ON secret TO poly_tenant",
         "REVOKE SELECT (word) ON secret FROM poly_tenant"},
        {"ALTER TABLE notes DISABLE ROW LEVEL SECURITY",
         "ALTER TABLE notes ENABLE ROW LEVEL SECURITY"},
    };
    struct fixture *f = *state;
    struct poly_session *one = fixture_session(f, "1", POLY_RIGHTS_ALL);
    enum poly_status status;
    struct poly_error err = {0};

    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        fixture_foreign(f, pairs[i][0]);
        ask(one, "SELECT text FROM notes", &status, &err);
        assert_int_equal(status, POLY_UNAVAILABLE);
        fixture_foreign(f, pairs[i][1]);
        assert_string_equal(ask(one, "SELECT text FROM notes", &status, &err), "mine mine ");
    }
    fixture_foreign(f, "DROP POLICY poly_wall ON notes");
    ask(one, "SELECT text FROM notes", &status, &err);
    assert_int_equal(status, POLY_UNAVAILABLE);
    poly_session_close(one);
    fixture_close(f);
    fixture_open(f, config); /* put right at start */
    one = fixture_session(f, "1", POLY_RIGHTS_ALL);
    assert_string_equal(ask(one, "SELECT text FROM notes", &status, &err), "mine mine ");
    poly_session_close(one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_rows), cmocka_unit_test(attacked),
        cmocka_unit_test(nobody),   cmocka_unit_test(attacked_without_wall),
        cmocka_unit_test(holes),
    };

    if (!fixture_on_server()) {
        printf("skipped: PostgreSQL (POLY_TEST_OWNER is not postgresql)\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, setup, teardown);
}
