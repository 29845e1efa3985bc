/* Every change of a domain's table is one record of the log, whoever makes it. S2-01, S4-46. */
#include <libpq-fe.h>
#include <sqlite3.h>

#include "fixture.h"

static const char tables[] =
    "CREATE TABLE users(id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL, name TEXT, age INTEGER,"
    " score REAL, ok BOOLEAN, data JSON, photo BLOB);\n"
    "CREATE TABLE pets(id INTEGER PRIMARY KEY, owner TEXT REFERENCES users(id) ON DELETE "
    "CASCADE);\n"
    "CREATE TABLE words(id TEXT PRIMARY KEY, text TEXT COLLATE NOCASE, any_type);\n";

static const char tables_postgresql[] =
    "CREATE TABLE users(id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL, name TEXT, age BIGINT,"
    " score FLOAT8, ok BOOLEAN, data JSON, photo BYTEA);\n"
    "CREATE TABLE pets(id BIGINT PRIMARY KEY, owner TEXT REFERENCES users(id) ON DELETE "
    "CASCADE);\n"
    "CREATE TABLE words(id TEXT PRIMARY KEY, text TEXT COLLATE nocase, any_type JSON);\n";

static const char config[] = "domains:\n"
                             "  users: {table: users, tenant: tenant_id}\n"
                             "  pets: {table: pets, tenant: none}\n"
                             "  words: {table: words, tenant: none}\n";

static int setup(void **state)
{
    static struct fixture f;

    fixture_make(&f);
    fixture_dialects(&f, "0001_tables", tables, tables_postgresql);
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

/* --- what the log has --- */

struct change {
    uint64_t position, txn;
    char tenant[32], domain[32], key[64], type[16], data[400], meta[200];
    size_t data_size;
};
struct changes {
    struct change list[64];
    size_t count;
};

static void copy(char *out, size_t size, struct poly_text text)
{
    snprintf(out, size, "%.*s", (int)text.size, text.data == NULL ? "" : text.data);
}

static bool note(void *arg, const struct poly_record *record)
{
    struct changes *changes = arg;
    struct change *change = &changes->list[changes->count++];

    assert_true(changes->count < 64);
    memset(change, 0, sizeof(*change));
    change->position = record->position;
    change->txn = record->txn;
    copy(change->tenant, sizeof(change->tenant), record->tenant);
    copy(change->domain, sizeof(change->domain), record->domain);
    copy(change->key, sizeof(change->key), record->key);
    copy(change->type, sizeof(change->type), record->type);
    copy(change->meta, sizeof(change->meta), record->meta);
    if (record->data.type == POLY_JSON) {
        copy(change->data, sizeof(change->data), record->data.text);
        change->data_size = record->data.text.size;
    }
    return true;
}

/* Records beyond a position. Foreign ones are visible to readers at once. */
static struct changes *changes_after(struct fixture *f, uint64_t after)
{
    static struct changes changes;
    struct poly_log_query query = {.after = after};
    struct poly_error err;
    uint64_t last;

    changes.count = 0;
    fixture_head(f);
    poly_session_reset(f->admin);
    assert_ok(poly_log_read(f->admin, &query, note, &changes, &last, &err));
    return &changes;
}

/* Position of the last record, foreign ones included. */
static uint64_t head(struct fixture *f)
{
    struct poly_log_query query = {.backwards = true, .limit = 1};
    static struct changes changes;
    struct poly_error err;
    uint64_t last;

    changes.count = 0;
    fixture_head(f);
    assert_ok(poly_log_read(f->admin, &query, note, &changes, &last, &err));
    return changes.count == 0 ? 0 : changes.list[0].position;
}

static void own_writes(void **state)
{
    struct fixture *f = *state;
    struct poly_session *session = fixture_session(f, "acme", 0);
    uint64_t before = head(f);
    struct poly_result result;
    struct changes *changes;
    struct poly_error err;

    assert_ok(put_row(session, "users", "u1",
                      ROW({"name", poly_str("Ann")}, {"age", poly_int(INT64_MAX)},
                          {"score", poly_float(0.1 + 0.2)}, {"ok", poly_bool(false)},
                          {"data", poly_json("{\"a\":[1,{\"b\":null}]}")},
                          {"photo", poly_bytes("\x00\xff", 2)}),
                      POLY_ANY, &result, &err));
    assert_ok(remove_row(session, "users", "u1", POLY_ANY, &err));
    changes = changes_after(f, before);
    assert_int_equal(changes->count, 2);
    assert_string_equal(changes->list[0].type, "$put");
    assert_string_equal(changes->list[0].tenant, "acme");
    assert_string_equal(changes->list[0].key, "u1");
    assert_int_equal(changes->list[0].position, result.version);
    if (!fixture_differs(f, "transaction-number"))
        assert_int_equal(changes->list[0].txn, result.version);
    assert_string_equal(changes->list[0].data,
                        "{\"id\":\"u1\",\"name\":\"Ann\",\"age\":9223372036854775807,"
                        "\"score\":0.30000000000000004,\"ok\":false,"
                        "\"data\":{\"a\":[1,{\"b\":null}]},\"photo\":{\"$bytes\":\"00ff\"}}");
    assert_string_equal(changes->list[1].type, "$delete");
    assert_string_equal(changes->list[1].data, "");
    poly_session_close(session);
}

/* Another program's connection: no function of ours, and each change is there all the same. */
static void foreign_writes(void **state)
{
    struct fixture *f = *state;
    struct poly_session *session = fixture_session(f, "acme", 0);
    struct poly_document document;
    struct changes *changes;
    struct poly_error err;
    uint64_t before = head(f);

    fixture_foreign_dialects(
        f,
        "BEGIN;"
        "INSERT INTO users(id, tenant_id, name, score, ok) VALUES"
        " ('f1', 'acme', 'Foreign', 9e999, 1), ('f2', 'acme', 'Gone', -9e999, 7);"
        "UPDATE users SET name = 'Foreign' WHERE id = 'f1';" /* no change */
        "UPDATE users SET id = 'f3' WHERE id = 'f2';"
        "UPDATE users SET tenant_id = 'other' WHERE id = 'f3';"
        "INSERT INTO pets(id, owner) VALUES (1, 'f1'), (2, 'f1');"
        "PRAGMA recursive_triggers=ON;"
        "INSERT OR REPLACE INTO words VALUES ('w', 'Text', 1);"
        "UPDATE words SET text = 'text';"  /* equal by its collation only */
        "UPDATE words SET any_type = 1.0;" /* another type */
        "COMMIT;",
        "BEGIN;"
        "INSERT INTO users(id, tenant_id, name, score, ok) VALUES ('f1', 'acme',"
        " 'Foreign', 'Infinity', true), ('f2', 'acme', 'Gone', '-Infinity', NULL);"
        "UPDATE users SET name = 'Foreign' WHERE id = 'f1';"
        "UPDATE users SET id = 'f3' WHERE id = 'f2';"
        "UPDATE users SET tenant_id = 'other' WHERE id = 'f3';"
        "INSERT INTO pets(id, owner) VALUES (1, 'f1'), (2, 'f1');"
        "INSERT INTO words VALUES ('w', 'Text', '1');"
        "UPDATE words SET text = 'text';"
        "UPDATE words SET any_type = '1.0';"
        "COMMIT;");
    changes = changes_after(f, before);
    assert_int_equal(changes->count, 11);
    assert_string_equal(changes->list[0].data,
                        "{\"id\":\"f1\",\"name\":\"Foreign\",\"age\":null,"
                        "\"score\":{\"$float\":\"Infinity\"},\"ok\":true,\"data\":null,"
                        "\"photo\":null}");
    if (!fixture_differs(f, "transaction-number"))
        assert_int_equal(changes->list[0].txn, 0);
    assert_string_equal(changes->list[0].meta, "");
    assert_string_equal(changes->list[2].type, "$delete");
    assert_string_equal(changes->list[2].key, "f2");
    assert_string_equal(changes->list[3].key, "f3");
    assert_string_equal(changes->list[4].type, "$delete");
    assert_string_equal(changes->list[4].tenant, "acme");
    assert_string_equal(changes->list[5].tenant, "other");
    assert_string_equal(changes->list[9].data, "{\"id\":\"w\",\"text\":\"text\",\"any_type\":1}");
    assert_string_equal(changes->list[10].data,
                        "{\"id\":\"w\",\"text\":\"text\",\"any_type\":1.0}");
    assert_ok(poly_get(session, "users", "f1", &document, &err));
    assert_int_equal(document.version, changes->list[0].position);

    before = head(f);
    fixture_foreign_dialects(f, "PRAGMA foreign_keys=ON; DELETE FROM users WHERE id = 'f1'",
                             "DELETE FROM users WHERE id = 'f1'");
    changes = changes_after(f, before);
    assert_int_equal(changes->count, 3); /* the cascade's too */
    poly_session_close(session);
}

static void foreign_refused(struct fixture *f, const char *sql, const char *column)
{
    PGconn *conn = PQconnectdb(f->url);
    PGresult *result = PQexec(conn, sql);

    assert_int_equal(PQresultStatus(result), PGRES_FATAL_ERROR);
    assert_string_equal(PQresultErrorField(result, PG_DIAG_SQLSTATE), "23502");
    assert_string_equal(PQresultErrorField(result, PG_DIAG_COLUMN_NAME), column);
    PQclear(result);
    PQfinish(conn);
}

/* A foreign write that cannot be logged for somebody is refused. */
static void foreign_without_tenant(void **state)
{
    struct fixture *f = *state;
    sqlite3 *db;

    if (fixture_on_server()) {
        foreign_refused(f, "INSERT INTO users(id, tenant_id) VALUES ('x', '')", "tenant");
        foreign_refused(f, "INSERT INTO words VALUES (NULL, 'x', '1')", "id");
        return;
    }

    assert_int_equal(sqlite3_open(f->file, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    assert_int_equal(
        sqlite3_exec(db, "INSERT INTO users(id, tenant_id) VALUES ('x', '')", NULL, NULL, NULL),
        SQLITE_CONSTRAINT);
    assert_string_equal(sqlite3_errmsg(db), "tenant must not be empty");
    assert_int_equal(sqlite3_exec(db, "INSERT INTO words VALUES (NULL, 'x', 1)", NULL, NULL, NULL),
                     SQLITE_CONSTRAINT);
    assert_string_equal(sqlite3_errmsg(db), "key must not be null");
    sqlite3_close(db);
}

/* A random walk by us and by a foreign program: as many records as changes, and the last record
 * of each key is the row. */
static void walk(void **state)
{
    struct fixture *f = *state;
    uint64_t before = head(f), seed = 42;
    struct poly_error err;
    struct changes *changes;
    int expected = 0;
    int there[4] = {0};

    fixture_foreign(f, "DELETE FROM words");
    before = head(f);
    for (int i = 0; i < 40; i++) {
        char sql[200], key[2] = {0};
        int k, verb;

        seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
        k = (int)(seed >> 33) % 4;
        verb = (int)(seed >> 40) % 4;
        key[0] = (char)('a' + k);
        if (verb == 0 && there[k]) {
            assert_ok(remove_row(f->admin, "words", key, POLY_ANY, &err));
            there[k] = 0;
        } else if (verb == 1) {
            snprintf(sql, sizeof(sql),
                     "INSERT INTO words VALUES ('%s', 'f%d', '%d') ON CONFLICT(id) DO UPDATE SET"
                     " text = excluded.text",
                     key, i, i);
            fixture_foreign(f, sql);
            there[k] = 1;
        } else if (verb == 2 && there[k]) {
            snprintf(sql, sizeof(sql), "DELETE FROM words WHERE id = '%s'", key);
            fixture_foreign(f, sql);
            there[k] = 0;
        } else {
            char text[16];

            snprintf(text, sizeof(text), "o%d", i);
            assert_ok(put_row(f->admin, "words", key, ROW({"text", poly_str(text)}), POLY_ANY, NULL,
                              &err));
            there[k] = 1;
        }
        expected++;
    }
    changes = changes_after(f, before);
    assert_int_equal(changes->count, expected);
    for (int k = 0; k < 4; k++) {
        const struct change *last = NULL;
        struct poly_document document;
        char key[2] = {(char)('a' + k), 0};

        for (size_t i = 0; i < changes->count; i++) {
            if (strcmp(changes->list[i].key, key) == 0)
                last = &changes->list[i];
        }
        if (last == NULL)
            continue;
        assert_string_equal(last->type, there[k] ? "$put" : "$delete");
        if (there[k]) {
            assert_ok(poly_get(f->admin, "words", key, &document, &err));
            assert_int_equal(document.version, last->position);
        }
    }
}

/* Over 4 KiB: kept once, in the row; what is overwritten goes to history. */
static void large(void **state)
{
    struct fixture *f = *state;
    static char big[6001], bigger[9001];
    struct poly_verification verification;
    struct changes *changes;
    struct poly_error err;
    uint64_t before = head(f);

    memset(big, 'x', 6000);
    memset(bigger, 'y', 9000);
    assert_ok(put_row(f->admin, "words", "L", ROW({"text", poly_str(big)}), 0, NULL, &err));
    changes = changes_after(f, before);
    assert_int_equal(changes->count, 1);
    assert_true(changes->list[0].data_size > 6000);
    assert_ok(
        put_row(f->admin, "words", "L", ROW({"text", poly_str(bigger)}), POLY_ANY, NULL, &err));
    fixture_foreign(f, "DELETE FROM words WHERE id = 'L'");
    assert_ok(put_row(f->admin, "words", "L", ROW({"text", poly_str("small")}), 0, NULL, &err));
    changes = changes_after(f, before);
    assert_int_equal(changes->count, 4);
    assert_true(changes->list[0].data_size > 6000 && changes->list[0].data_size < 6100);
    assert_true(strncmp(changes->list[0].data, "{\"id\":\"L\",\"text\":\"xxx", 20) == 0);
    assert_true(changes->list[1].data_size > 9000);
    assert_string_equal(changes->list[2].type, "$delete");
    assert_ok(poly_log_verify(f->admin, NULL, NULL, &verification, &err));
    assert_int_equal(verification.bad_position, 0);
}

static bool first_int(void *arg, const struct poly_row *row)
{
    *(int64_t *)arg = row->fields[0].value.integer;
    return true;
}

static int64_t query_int(struct fixture *f, const char *sql)
{
    struct poly_error err;
    int64_t count = -1;

    assert_ok(poly_sql_read(f->admin, sql, NULL, 0, first_int, &count, &err));
    return count;
}

static int64_t server_int(struct fixture *f, const char *sql)
{
    PGconn *conn = PQconnectdb(f->url);
    PGresult *result = PQexec(conn, sql);
    int64_t number = PQntuples(result) == 1 ? strtoll(PQgetvalue(result, 0, 0), NULL, 10) : -1;

    PQclear(result);
    PQfinish(conn);
    return number;
}

static struct poly_text problem(struct fixture *f, const char *domain)
{
    struct poly_status_report report;
    struct poly_error err;

    assert_ok(poly_status_read(f->admin, &report, &err));
    for (size_t i = 0; i < report.domain_count; i++) {
        if (strcmp(report.domains[i].name.data, domain) == 0)
            return report.domains[i].problem;
    }
    fail_msg("no domain '%s'", domain);
    return poly_text("");
}

/* Somebody drops or outdates the triggers while nobody looks: noticed at start, repaired, said. */
static void drift(void **state)
{
    struct fixture *f = *state;
    static char big[5001];
    struct poly_verification verification;
    struct changes *changes;
    struct poly_error err;
    uint64_t before;
    int gone;

    memset(big, 'z', 5000);
    assert_ok(put_row(f->admin, "words", "d1", ROW({"text", poly_str("one")}), 0, NULL, &err));
    assert_ok(put_row(f->admin, "words", "d2", ROW({"text", poly_str("two")}), 0, NULL, &err));
    assert_ok(put_row(f->admin, "words", "d3", ROW({"text", poly_str(big)}), 0, NULL, &err));
    before = head(f);
    fixture_close(f);
    fixture_foreign_dialects(f, "DROP TRIGGER poly_words_delete; DROP TRIGGER poly_words_update;",
                             "DROP TRIGGER poly_words_delete ON words;"
                             "DROP TRIGGER poly_words_update ON words;");
    fixture_foreign(f, "DELETE FROM words WHERE id = 'd1';"
                       "UPDATE words SET text = 'changed' WHERE id = 'd2';"
                       "ALTER TABLE words ADD COLUMN extra TEXT;");
    fixture_open(f, config);
    changes = changes_after(f, before);
    assert_int_equal(changes->count, 2);
    gone = strcmp(changes->list[0].key, "d1") == 0 ? 0 : 1; /* in which order is the driver's */
    assert_non_null(strstr(changes->list[1 - gone].data, "changed"));
    assert_non_null(strstr(changes->list[1 - gone].data, "\"extra\":null"));
    assert_string_equal(changes->list[gone].key, "d1");
    assert_string_equal(changes->list[gone].type, "$delete");
    assert_non_null(strstr(problem(f, "words").data, "made anew, and 2 changes"));
    assert_ok(poly_log_verify(f->admin, NULL, NULL, &verification, &err));
    assert_int_equal(verification.bad_position, 0);
    fixture_close(f);
    fixture_open(f, config); /* all is well again */
    assert_int_equal(problem(f, "words").size, 0);
    assert_int_equal(changes_after(f, before)->count, 2);
}

/* A table full of rows that becomes a domain: each is in the log. One that leaves: no trigger. */
static void adopted(void **state)
{
    struct fixture *f = *state;
    uint64_t before;

    fixture_foreign(f,
                    "CREATE TABLE old(id INTEGER PRIMARY KEY, t TEXT);"
                    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30)"
                    " INSERT INTO old SELECT i, 'row ' || i FROM n");
    before = head(f);
    fixture_close(f);
    fixture_open(f, "domains:\n  old: {table: old, tenant: none}\n");
    assert_int_equal(changes_after(f, before)->count, 30);
    assert_int_equal(problem(f, "old").size, 0);
    assert_int_equal(
        fixture_on_server()
            ? server_int(f, "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'poly!_%' ESCAPE '!'"
                            " AND tgrelid IN ('users'::regclass, 'words'::regclass,"
                            " 'pets'::regclass)")
            : query_int(f, "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'"
                           " AND name LIKE 'poly!_%' ESCAPE '!' AND tbl_name IN"
                           " ('users', 'words', 'pets')"),
        0);
    fixture_close(f);
    fixture_open(f, config);
}

/* Rows of nobody: the domain says so, the others work. */
static void adopted_without_tenant(void **state)
{
    struct fixture *f = *state;
    struct poly_session *session;
    struct poly_document document;
    struct poly_error err;

    fixture_foreign(f, "CREATE TABLE loose(id TEXT PRIMARY KEY, tenant_id TEXT);"
                       "INSERT INTO loose VALUES ('1', 'a'), ('2', NULL)");
    fixture_close(f);
    fixture_open(f, "domains:\n  loose: {table: loose, tenant: tenant_id}\n"
                    "  words: {table: words, tenant: none}\n");
    session = fixture_session(f, "a", 0);
    assert_fails(poly_get(session, "loose", "1", &document, &err), POLY_UNAVAILABLE);
    assert_message("'tenant_id' is empty");
    assert_ok(poly_get(f->admin, "words", "d2", &document, &err));
    poly_session_close(session);
    fixture_close(f);
    fixture_open(f, config);
}

/* More columns than json_object takes. */
static void wide(void **state)
{
    struct fixture *f = *state;
    static char sql[16000], update[200];
    struct poly_document document;
    struct changes *changes;
    struct poly_error err;
    size_t used;
    uint64_t before;

    used = (size_t)snprintf(sql, sizeof(sql), "CREATE TABLE wide(id TEXT PRIMARY KEY");
    for (int i = 1; i < 200; i++)
        used += (size_t)snprintf(sql + used, sizeof(sql) - used, ", c%d JSON", i);
    snprintf(sql + used, sizeof(sql) - used, ")");
    fixture_foreign(f, sql);
    fixture_close(f);
    fixture_open(f, "domains:\n  wide: {table: wide, tenant: none}\n");
    before = head(f);
    assert_ok(put_row(f->admin, "wide", "w",
                      ROW({"c59", poly_json("{\"x\":{}}")}, {"c119", poly_json("[{}]")},
                          {"c199", poly_json("\"last\"")}),
                      POLY_ANY, NULL, &err));
    assert_ok(poly_get(f->admin, "wide", "w", &document, &err));
    assert_int_equal(document.row.count, 200);
    snprintf(update, sizeof(update), "UPDATE wide SET c150 = '%s' WHERE id = 'w'",
             fixture_on_server() ? "\"x\"" : "x");
    fixture_foreign(f, update);
    changes = changes_after(f, before);
    assert_int_equal(changes->count, 2);
    if (fixture_on_server())
        assert_int_equal(server_int(f, "SELECT (data #>> '{c59,x}' = '{}' AND data ->> 'c199' ="
                                       " 'last' AND data ->> 'c119' = '[{}]' AND (SELECT count(*)"
                                       " FROM json_object_keys(data)) = 200)::int"
                                       " FROM poly.log ORDER BY position DESC LIMIT 1"),
                         1);
    else
        assert_int_equal(
            query_int(f, "SELECT json_valid(data) AND json_extract(data, '$.c59.x') = '{}'"
                         " AND json_extract(data, '$.c199') = 'last'"
                         " AND json_extract(data, '$.c119') = '[{}]'"
                         " AND (SELECT count(*) FROM json_each(data)) = 200"
                         " FROM poly_log ORDER BY position DESC LIMIT 1"),
            1);
    fixture_close(f);
    fixture_open(f, config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_writes),
        cmocka_unit_test(foreign_writes),
        cmocka_unit_test(foreign_without_tenant),
        cmocka_unit_test(walk),
        cmocka_unit_test(large),
        cmocka_unit_test(drift),
        cmocka_unit_test(adopted),
        cmocka_unit_test(adopted_without_tenant),
        cmocka_unit_test(wide),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
