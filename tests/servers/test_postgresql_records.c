/* Records on PostgreSQL: what only a server has. S2-28, S3-09, S4-11. Run by tests/servers/with. */
#include <libpq-fe.h>
#include <pthread.h>
#include <unistd.h>

#include "conformance/fixture.h"
#include "polystore/events.h"

static const char tables[] =
    "CREATE TABLE notes(id TEXT PRIMARY KEY, text TEXT, n INTEGER);\n"
    "CREATE TABLE parts(tenant_id INTEGER, id BIGINT, day DATE,"
    " PRIMARY KEY (tenant_id, id)) PARTITION BY LIST (tenant_id);\n"
    "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);\n"
    "CREATE TABLE parts_rest PARTITION OF parts DEFAULT;\n"
    "CREATE TYPE mood AS ENUM ('good', 'bad');\n"
    "CREATE DOMAIN small AS INTEGER CHECK (VALUE < 10);\n"
    "CREATE TABLE types(id SERIAL PRIMARY KEY, amount NUMERIC(20, 10), day DATE, span INTERVAL,"
    " list INTEGER[], mood mood, code CHAR(5), low small, real4 REAL, wide VARCHAR(3), at "
    "TIMESTAMPTZ,"
    " j JSONB);\n"
    "CREATE TABLE touched(id TEXT PRIMARY KEY, n INTEGER);\n"
    "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN"
    " UPDATE touched SET n = 100 WHERE id = NEW.id; RETURN NULL; END$$;\n"
    "CREATE TRIGGER a_touch AFTER INSERT ON touched FOR EACH ROW EXECUTE FUNCTION touch();\n";

static const char config[] = "domains:\n"
                             "  notes: {table: notes, tenant: none}\n"
                             "  parts: {table: public.parts, tenant: tenant_id}\n"
                             "  types: {table: types, tenant: none}\n"
                             "  touched: {table: touched, tenant: none}\n";

static int setup(void **state)
{
    static struct fixture f;

    fixture_begin(&f, tables, config);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    fixture_remove(*state);
    return 0;
}

/* "p1 d2": what the log has of a domain beyond a position. */
struct seen {
    char text[4000];
    char data[1000]; /* of the last */
    size_t count;
};

static bool note(void *arg, const struct poly_record *record)
{
    struct seen *seen = arg;
    size_t used = strlen(seen->text);

    snprintf(seen->text + used, sizeof(seen->text) - used, "%s%c%.20s", used == 0 ? "" : " ",
             record->type.data[1], record->key.data);
    snprintf(seen->data, sizeof(seen->data), "%.*s", (int)record->data.text.size,
             record->data.text.data == NULL ? "" : record->data.text.data);
    seen->count++;
    return true;
}

static struct seen *seen_after(struct fixture *f, uint64_t after)
{
    static struct seen seen;
    struct poly_log_query query = {.after = after, .limit = 10000};
    struct poly_error err;
    uint64_t last;

    memset(&seen, 0, sizeof(seen));
    fixture_head(f);
    poly_session_reset(f->admin);
    assert_ok(poly_log_read(f->admin, &query, note, &seen, &last, &err));
    return &seen;
}

static void statements(void **state)
{
    struct fixture *f = *state;
    uint64_t before = fixture_head(f);

    fixture_foreign(f, "INSERT INTO notes VALUES ('a', 'x', 1), ('b', 'x', 2), ('c', 'x', 3)");
    fixture_foreign(f, "UPDATE notes SET n = n + 1 WHERE id <> 'c'");
    fixture_foreign(f, "UPDATE notes SET n = n");
    /* both arms of one statement: PostgreSQL tells of what it updated first */
    fixture_foreign(f, "INSERT INTO notes VALUES ('c', 'new', 3), ('d', 'x', 4)"
                       " ON CONFLICT (id) DO UPDATE SET text = excluded.text");
    fixture_foreign(f, "UPDATE notes SET id = 'e' WHERE id = 'd'");
    fixture_foreign(f, "DELETE FROM notes WHERE id IN ('a', 'nobody')");
    assert_string_equal(seen_after(f, before)->text, "pa pb pc pa pb pc pd dd pe da");
    before = fixture_head(f);
    fixture_foreign(f, "TRUNCATE notes");
    assert_int_equal(seen_after(f, before)->count, 3);
    before = fixture_head(f);
    fixture_foreign(f, "BEGIN; "
                       "INSERT INTO notes VALUES ('r', 'gone', 1); ROLLBACK");
    assert_int_equal(seen_after(f, before)->count, 0);
}

static void copy_in(void **state)
{
    struct fixture *f = *state;
    uint64_t before = fixture_head(f);
    PGconn *conn = PQconnectdb(f->url);
    PGresult *result = PQexec(conn, "COPY notes FROM STDIN");

    assert_int_equal(PQresultStatus(result), PGRES_COPY_IN);
    PQclear(result);
    for (int i = 0; i < 1000; i++) {
        char line[64];
        int size = snprintf(line, sizeof(line), "copied%d\ttext\t%d\n", i, i);

        assert_int_equal(PQputCopyData(conn, line, size), 1);
    }
    assert_int_equal(PQputCopyEnd(conn, NULL), 1);
    while ((result = PQgetResult(conn)) != NULL) {
        assert_int_equal(PQresultStatus(result), PGRES_COMMAND_OK);
        PQclear(result);
    }
    PQfinish(conn);
    assert_int_equal(seen_after(f, before)->count, 1000);
    fixture_foreign(f, "UPDATE notes SET n = n + 1");
    assert_int_equal(seen_after(f, before)->count, 2000);
}

static void partitions(void **state)
{
    struct fixture *f = *state;
    struct poly_session *one = fixture_session(f, "1", 0);
    struct poly_document document;
    struct poly_error err;
    uint64_t before = fixture_head(f);

    assert_ok(put_row(one, "parts", "7", ROW({"day", poly_str("2026-01-31")}), 0, NULL, &err));
    fixture_foreign(f, "INSERT INTO parts_1 VALUES (1, 8, NULL)"); /* directly */
    fixture_foreign(f, "UPDATE parts SET day = '2026-02-01' WHERE id = 7");
    fixture_foreign(f, "UPDATE parts SET tenant_id = 2 WHERE id = 8"); /* to another partition */
    assert_string_equal(seen_after(f, before)->text, "p7 p8 p7 d8 p8");
    assert_ok(poly_get(one, "parts", "7", &document, &err));
    assert_string_equal(field(&document.row, "day")->text.data, "2026-02-01");
    assert_fails(poly_get(one, "parts", "8", &document, &err), POLY_NOT_FOUND);
    before = fixture_head(f);
    fixture_foreign(f, "TRUNCATE parts");
    assert_int_equal(seen_after(f, before)->count, 2);
    poly_session_close(one);
}

/* Triggers of others change the row again before ours see it: the last record is the last state. */
static void touched(void **state)
{
    struct fixture *f = *state;
    struct poly_document document;
    struct poly_error err;
    struct seen *seen;
    uint64_t before = fixture_head(f);

    assert_ok(put_row(f->admin, "touched", "t", ROW({"n", poly_int(1)}), 0, NULL, &err));
    seen = seen_after(f, before);
    assert_string_equal(seen->data, "{\"id\":\"t\",\"n\":100}");
    assert_ok(poly_get(f->admin, "touched", "t", &document, &err));
    assert_int_equal(field(&document.row, "n")->integer, 100);
}

static void types(void **state)
{
    struct fixture *f = *state;
    struct poly_document document;
    struct poly_result result;
    struct poly_error err;
    uint64_t before = fixture_head(f);

    assert_ok(
        put_row(f->admin, "types", NULL,
                ROW({"amount", poly_str("1234567890.0123456789")}, {"day", poly_str("2026-01-31")},
                    {"span", poly_str("1 day")}, {"list", poly_str("{1,2,NULL}")},
                    {"mood", poly_str("bad")}, {"code", poly_str("ab")}, {"low", poly_int(9)},
                    {"real4", poly_float(0.5)}, {"wide", poly_str("abc")},
                    {"at", poly_time(1763695200123456)}, {"j", poly_json("{\"b\":1,\"a\":2}")}),
                POLY_ANY, &result, &err));
    assert_string_equal(result.key.data, "1");
    assert_string_equal(seen_after(f, before)->data,
                        "{\"id\":1,\"amount\":\"1234567890.0123456789\",\"day\":\"2026-01-31\","
                        "\"span\":\"1 day\",\"list\":\"{1,2,NULL}\",\"mood\":\"bad\","
                        "\"code\":\"ab\",\"low\":9,\"real4\":0.5,\"wide\":\"abc\","
                        "\"at\":1763695200123456,\"j\":{\"a\": 2, \"b\": 1}}");
    assert_ok(poly_get(f->admin, "types", "1", &document, &err));
    assert_string_equal(field(&document.row, "amount")->text.data, "1234567890.0123456789");
    assert_string_equal(field(&document.row, "list")->text.data, "{1,2,NULL}");
    assert_string_equal(field(&document.row, "mood")->text.data, "bad");
    assert_int_equal(field(&document.row, "low")->integer, 9);
    assert_true(field(&document.row, "at")->integer == 1763695200123456);
    /* a session that prints otherwise writes the same */
    before = fixture_head(f);
    fixture_foreign(f, "SET DateStyle = 'German'; SET IntervalStyle = 'iso_8601';"
                       "SET extra_float_digits = -5; SET TimeZone = 'Asia/Tokyo';"
                       "UPDATE types SET low = 8");
    assert_non_null(
        strstr(seen_after(f, before)->data, "\"day\":\"2026-01-31\",\"span\":\"1 day\""));
    assert_non_null(strstr(seen_after(f, before)->data, "\"at\":1763695200123456"));
#define REFUSED(column, value)                                                                     \
    assert_fails(put_row(f->admin, "types", "1", ROW({column, value}), POLY_ANY, NULL, &err),      \
                 POLY_INVALID)
    REFUSED("mood", poly_str("ugly"));
    REFUSED("low", poly_int(10));
    REFUSED("wide", poly_str("abcd"));
    REFUSED("day", poly_str("soon"));
    REFUSED("amount", poly_str("x"));
    REFUSED("low", poly_int(INT64_MAX));
#undef REFUSED
}

/* A writer with no right on schema poly, and one who would put a schema of its own before ours. */
static void strangers(void **state)
{
    struct fixture *f = *state;
    uint64_t before = fixture_head(f);
    PGconn *conn = PQconnectdb(f->admin_url);
    char sql[600], role[40];
    PGresult *result;

    snprintf(role, sizeof(role), "poly_test_role_%d", (int)getpid());
    snprintf(sql, sizeof(sql), "CREATE ROLE %s", role);
    PQclear(PQexec(conn, sql));
    PQfinish(conn);
    snprintf(sql, sizeof(sql),
             "GRANT INSERT ON notes TO %s; CREATE SCHEMA theirs AUTHORIZATION CURRENT_USER", role);
    fixture_foreign(f, sql);
    conn = PQconnectdb(f->admin_url);
    snprintf(sql, sizeof(sql), "host=%s port=%s dbname=%s user=%s password=%s", PQhost(conn),
             PQport(conn), f->database, PQuser(conn), PQpass(conn));
    PQfinish(conn);
    conn = PQconnectdb(sql);
    assert_int_equal(PQstatus(conn), CONNECTION_OK);
    snprintf(sql, sizeof(sql),
             "SET ROLE %s; SET search_path = pg_temp, public;"
             "CREATE TEMP TABLE log(domain text); INSERT INTO notes VALUES ('stranger', 'x', 1)",
             role);
    result = PQexec(conn, sql);
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        fail_msg("%s", PQerrorMessage(conn));
    PQclear(result);
    result = PQexec(conn, "SELECT count(*) FROM poly.log");
    assert_int_equal(PQresultStatus(result), PGRES_FATAL_ERROR);
    PQclear(result);
    assert_string_equal(seen_after(f, before)->text, "pstranger");
    snprintf(sql, sizeof(sql), "RESET ROLE; DROP OWNED BY %s; DROP ROLE %s", role, role);
    PQclear(PQexec(conn, sql));
    PQfinish(conn);
}

/* --- adoption: writers wait for no longer than a second --- */

static void *hold_table(void *arg)
{
    struct fixture *f = arg;

    fixture_foreign(f, "BEGIN; LOCK TABLE held IN ROW EXCLUSIVE MODE; SELECT pg_sleep(3); COMMIT");
    return NULL;
}

static void adoption(void **state)
{
    struct fixture *f = *state;
    struct seen *seen;
    pthread_t holder;
    uint64_t before;

    fixture_foreign(f, "CREATE TABLE held(id INTEGER PRIMARY KEY, t TEXT);"
                       "INSERT INTO held SELECT i, 'row ' || i FROM generate_series(1, 1234) AS i");
    before = fixture_head(f);
    fixture_close(f);
    pthread_create(&holder, NULL, hold_table, f);
    usleep(300000);
    fixture_open(f, "domains:\n  held: {table: held, tenant: none}\n");
    pthread_join(holder, NULL);
    seen = seen_after(f, before);
    assert_int_equal(seen->count, 1234);
    fixture_foreign(f, "ALTER TABLE held DROP COLUMN t, ADD COLUMN u TEXT DEFAULT 'new'");
    fixture_close(f);
    fixture_open(f, "domains:\n  held: {table: held, tenant: none}\n");
    assert_int_equal(seen_after(f, before)->count, 2468);
    fixture_foreign(f, "UPDATE held SET u = u; UPDATE held SET u = 'x' WHERE id = 1");
    assert_string_equal(seen_after(f, before)->data, "{\"id\":1,\"u\":\"x\"}");
    fixture_close(f);
    fixture_open(f, config);
}

/* A batch is one transaction: what fails in it undoes all of it. */
static void batches(void **state)
{
    struct fixture *f = *state;
    struct poly_document document;
    struct poly_commit commit;
    struct poly_txn *txn;
    struct poly_error err;

    assert_ok(poly_txn_begin(f->admin, NULL, &txn, &err));
    for (int i = 0; i < 100; i++) {
        char key[16];

        snprintf(key, sizeof(key), "b%d", i);
        assert_ok(poly_put(txn, "notes", key, ROW({"n", poly_int(i)}), 0, &err));
    }
    assert_ok(poly_txn_commit(txn, &commit, &err));
    assert_int_equal(commit.count, 100);
    assert_ok(poly_txn_begin(f->admin, NULL, &txn, &err));
    assert_ok(poly_put(txn, "notes", "c1", ROW({"n", poly_int(1)}), 0, &err));
    assert_ok(poly_delete(txn, "notes", "nobody", POLY_ANY, &err));
    assert_ok(poly_put(txn, "notes", "c2", ROW({"n", poly_int(1)}), 0, &err));
    assert_fails(poly_txn_commit(txn, NULL, &err), POLY_NOT_FOUND);
    assert_message("operation 2 of 3");
    assert_fails(poly_get(f->admin, "notes", "c1", &document, &err), POLY_NOT_FOUND);
    assert_fails(poly_get(f->admin, "notes", "c2", &document, &err), POLY_NOT_FOUND);
}

static bool first_int(void *arg, const struct poly_row *row)
{
    *(int64_t *)arg += row->fields[0].value.integer;
    return true;
}

static void sql(void **state)
{
    static const char *const refused[] = {
        "SELECT value FROM poly.meta",
        "SELECT value FROM \"poly\".meta",
        "SELECT * FROM pg_authid",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT \"pg_read_file\"('/etc/passwd')",
        "SELECT pg_catalog.pg_sleep(1)",
        "SELECT set_config('a.b', 'c', false)",
        "SELECT lo_import('/etc/passwd')",
        "SELECT U&\"\\0070oly\" FROM notes",
        "COPY notes TO PROGRAM 'true'",
        "SELECT 1; DROP TABLE notes",
        "SELECT * INTO taken FROM notes",
        "WITH x AS (DELETE FROM notes RETURNING 1) SELECT * FROM x",
        "SET ROLE postgres",
        "DO $$BEGIN END$$",
        "SELECT E'\\'' || (SELECT 1)",
        "DECLARE c CURSOR FOR SELECT 1",
        "SELECT currval('poly.log_position')",
        "SELECT query_to_xml('SELECT 1', true, true, '')",
    };
    struct fixture *f = *state;
    struct poly_session *tenant = fixture_session(f, "1", POLY_RIGHTS_ALL);
    struct poly_value five = poly_int(5);
    struct poly_error err;
    int64_t sum = 0;

    fixture_foreign(f, "TRUNCATE notes; INSERT INTO notes SELECT 'n' || i, 'x', i"
                       " FROM generate_series(1, 2000) AS i");
    assert_ok(poly_sql_read(f->admin, "SELECT n FROM notes WHERE n > ?1 -- ?2;", &five, 1,
                            first_int, &sum, &err));
    assert_int_equal(sum, 2000 * 2001 / 2 - 15);
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        enum poly_status status =
            poly_sql_read(f->admin, refused[i], NULL, 0, first_int, &sum, &err);

        if (status != POLY_DENIED && status != POLY_INVALID && status != POLY_UNSUPPORTED)
            fail_msg("%s: %s", refused[i], poly_status_name(status));
    }
    assert_fails(poly_sql_read(tenant, "SELECT 1", NULL, 0, first_int, &sum, &err),
                 POLY_UNSUPPORTED);
    assert_ok(run_sql(f->admin, "UPDATE notes SET n = 0 WHERE id = 'n1'", &err));
    assert_fails(run_sql(f->admin, "DELETE FROM poly.log", &err), POLY_DENIED);
    poly_session_close(tenant);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statements), cmocka_unit_test(copy_in), cmocka_unit_test(partitions),
        cmocka_unit_test(touched),    cmocka_unit_test(types),   cmocka_unit_test(strangers),
        cmocka_unit_test(adoption),   cmocka_unit_test(batches), cmocka_unit_test(sql),
    };

    if (!fixture_on_server()) {
        printf("skipped: PostgreSQL (POLY_TEST_OWNER is not postgresql)\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, setup, teardown);
}
