/* Records: round trips, versions, tenants, constraints. Requirements S2-01, S4-36. */
#include <math.h>

#include "fixture.h"
#include "stores/relational/driver.h"

static const char tables[] =
    "CREATE TABLE things(id TEXT PRIMARY KEY, i INTEGER, f REAL, b BOOLEAN, t TEXT, y BLOB,"
    " j JSON, at TIMESTAMP, u UUID, made TIMESTAMP DEFAULT CURRENT_TIMESTAMP,"
    " n INTEGER DEFAULT 7, twice INTEGER GENERATED ALWAYS AS (n * 2) VIRTUAL);\n"
    "CREATE TABLE counters(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE CHECK (name <> ''));\n"
    "CREATE TABLE ids(id UUID PRIMARY KEY, name TEXT) WITHOUT ROWID;\n"
    "CREATE TABLE noc_incidents(id TEXT PRIMARY KEY, tenant_id TEXT NOT NULL, title TEXT,"
    " status TEXT, created_at TIMESTAMP);\n"
    "CREATE TABLE notes(tenant_id INTEGER NOT NULL, id TEXT NOT NULL, text TEXT,"
    " PRIMARY KEY (tenant_id, id));\n"
    "CREATE TABLE pairs(a TEXT, b TEXT, PRIMARY KEY (a, b));\n"
    "CREATE VIEW seen AS SELECT * FROM things;\n"
    "CREATE TABLE loud(id TEXT PRIMARY KEY COLLATE NOCASE);\n"
    "CREATE TABLE children(id TEXT PRIMARY KEY, parent TEXT REFERENCES things(id) ON DELETE "
    "CASCADE);\n"
    "CREATE TABLE odd(\"the key\" TEXT PRIMARY KEY, \"a \"\"col'umn\" TEXT);\n";

static const char config[] = "domains:\n"
                             "  things: {table: things, tenant: none}\n"
                             "  counters: {table: counters, tenant: none}\n"
                             "  ids: {table: ids, tenant: none}\n"
                             "  incidents: {table: noc_incidents, tenant: tenant_id}\n"
                             "  notes: {table: notes, tenant: tenant_id}\n"
                             "  pairs: {table: pairs, tenant: none}\n"
                             "  seen: {table: seen, tenant: none}\n"
                             "  loud: {table: loud, tenant: none}\n"
                             "  missing: {table: not_there, tenant: none}\n"
                             "  children: {table: children, tenant: none}\n"
                             "  odd: {table: odd, tenant: none}\n"
                             "  orders: {stream: order}\n";

static int setup(void **state)
{
    static struct fixture f;

    fixture_make(&f);
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

static void round_trip(void **state)
{
    struct fixture *f = *state;
    struct poly_value uuid = poly_uuid_new();
    const struct poly_row *row =
        ROW({"i", poly_int(INT64_MIN)}, {"f", poly_float(0.1 + 0.2)}, {"b", poly_bool(true)},
            {"t", poly_str("zürich €𝄞 \"x\"")}, {"y", poly_bytes("a\0b\xff", 4)},
            {"j", poly_json("{\"a\": [1, null, 2.50]}")}, {"at", poly_time(1763695200123456)},
            {"u", uuid});
    struct poly_document document;
    struct poly_result result;
    struct poly_error err;

    assert_ok(put_row(f->admin, "things", "one", row, POLY_ANY, &result, &err));
    assert_true(result.version > 0);
    assert_ok(poly_get(f->admin, "things", "one", &document, &err));
    assert_int_equal(document.version, result.version);
    assert_memory_equal(document.key.data, "one", 4);
    assert_int_equal(document.row.count, 12);
    assert_true(field(&document.row, "i")->integer == INT64_MIN);
    assert_true(field(&document.row, "f")->real == 0.1 + 0.2);
    assert_int_equal(field(&document.row, "b")->type, POLY_BOOL);
    assert_true(field(&document.row, "b")->boolean);
    assert_string_equal(field(&document.row, "t")->text.data, "zürich €𝄞 \"x\"");
    assert_int_equal(field(&document.row, "y")->text.size, 4);
    assert_memory_equal(field(&document.row, "y")->text.data, "a\0b\xff", 4);
    assert_int_equal(field(&document.row, "j")->type, POLY_JSON);
    assert_string_equal(field(&document.row, "j")->text.data, "{\"a\": [1, null, 2.50]}");
    assert_int_equal(field(&document.row, "at")->type, POLY_TIME);
    assert_true(field(&document.row, "at")->integer == 1763695200123456);
    assert_int_equal(field(&document.row, "u")->type, POLY_UUID);
    assert_memory_equal(field(&document.row, "u")->uuid, uuid.uuid, 16);
    /* left out: the default; CURRENT_TIMESTAMP's text is a time all the same */
    assert_int_equal(field(&document.row, "made")->type, POLY_TIME);
    assert_int_equal(field(&document.row, "n")->integer, 7);
    assert_int_equal(field(&document.row, "twice")->integer, 14);
}

static void extremes(void **state)
{
    struct fixture *f = *state;
    static const double reals[] = {INFINITY, -INFINITY,           5e-324,  1.7976931348623157e308,
                                   0.0,      123456789.123456789, -1.0 / 3};
    struct poly_document document;
    struct poly_error err;

    for (size_t i = 0; i < sizeof(reals) / sizeof(reals[0]); i++) {
        assert_ok(put_row(f->admin, "things", "x",
                          ROW({"f", poly_float(reals[i])}, {"i", poly_int(INT64_MAX)},
                              {"t", poly_str("")}, {"y", poly_bytes("", 0)}, {"at", poly_time(-1)}),
                          POLY_ANY, NULL, &err));
        assert_ok(poly_get(f->admin, "things", "x", &document, &err));
        assert_true(field(&document.row, "f")->real == reals[i]);
        assert_true(field(&document.row, "i")->integer == INT64_MAX);
        assert_int_equal(field(&document.row, "t")->type, POLY_TEXT);
        assert_int_equal(field(&document.row, "t")->text.size, 0);
        assert_int_equal(field(&document.row, "y")->type, POLY_BYTES);
        assert_int_equal(field(&document.row, "y")->text.size, 0);
        assert_true(field(&document.row, "at")->integer == -1);
        assert_int_equal(field(&document.row, "j")->type, POLY_NULL);
    }
    /* what JSON edges hand in: texts for times and UUIDs, scalars for JSON */
    assert_ok(put_row(f->admin, "things", "x",
                      ROW({"at", poly_str("2026-11-21T03:20:00.123456Z")},
                          {"u", poly_str("0190B5C2-9D1E-7CC0-8F53-0F0F5B0D8A11")},
                          {"j", poly_str("a \"text\"")}, {"f", poly_int(5)}, {"i", poly_float(6)}),
                      POLY_ANY, NULL, &err));
    assert_ok(poly_get(f->admin, "things", "x", &document, &err));
    assert_true(field(&document.row, "at")->integer == 1795231200123456);
    assert_int_equal(field(&document.row, "u")->type, POLY_UUID);
    assert_string_equal(field(&document.row, "j")->text.data, "\"a \\\"text\\\"\"");
    assert_true(field(&document.row, "f")->real == 5);
    assert_true(field(&document.row, "i")->integer == 6);
    /* what has no types, such as CSV, hands in: texts for numbers and booleans */
    assert_ok(put_row(f->admin, "things", "x",
                      ROW({"i", poly_str("-9223372036854775808")}, {"f", poly_str("-1.5e3")},
                          {"b", poly_str("true")}),
                      POLY_ANY, NULL, &err));
    assert_ok(poly_get(f->admin, "things", "x", &document, &err));
    assert_true(field(&document.row, "i")->integer == INT64_MIN);
    assert_true(field(&document.row, "f")->real == -1500);
    assert_true(field(&document.row, "b")->boolean);
}

static void wrong_values(void **state)
{
    struct fixture *f = *state;
    struct poly_value nul = poly_str("a");
    struct poly_error err;

    nul.text = (struct poly_text){"a\0b", 3};
#define REFUSED(column, value, words)                                                              \
    do {                                                                                           \
        assert_fails(put_row(f->admin, "things", "w", ROW({column, value}), POLY_ANY, NULL, &err), \
                     POLY_INVALID);                                                                \
        assert_message(words);                                                                     \
    } while (0)
    REFUSED("i", poly_str("5x"), "column 'i' holds an integer, text was given");
    REFUSED("i", poly_str(" 5"), "'i'");
    REFUSED("i", poly_str(""), "'i'");
    REFUSED("i", poly_str("0x5"), "'i'");
    REFUSED("i", poly_str("9223372036854775808"), "'i'");
    REFUSED("f", poly_str("0x5"), "'f'");
    REFUSED("f", poly_str("nan"), "'f'");
    REFUSED("f", poly_str("1e999"), "'f'");
    REFUSED("b", poly_str("truth"), "'b'");
    REFUSED("i", poly_float(1.5), "'i'");
    REFUSED("f", poly_str("x"), "'f'");
    REFUSED("f", poly_int(INT64_MAX), "lose digits");
    REFUSED("f", poly_float(NAN), "NaN");
    REFUSED("b", poly_int(1), "'b'");
    REFUSED("t", poly_int(1), "'t'");
    REFUSED("t", nul, "NUL");
    REFUSED("t", poly_str("\xff"), "UTF-8");
    REFUSED("t", poly_str("\xed\xa0\x80"), "UTF-8");
    REFUSED("y", poly_str("x"), "'y'");
    REFUSED("j", poly_json("{"), "'j'");
    REFUSED("at", poly_str("yesterday"), "2026");
    REFUSED("u", poly_str("12"), "UUID");
    REFUSED("twice", poly_int(1), "generated");
    REFUSED("nothing", poly_int(1), "it has id, i, f, b");
#undef REFUSED
    assert_fails(put_row(f->admin, "things", "w", ROW({"id", poly_str("v")}), POLY_ANY, NULL, &err),
                 POLY_INVALID);
    assert_fails(put_row(f->admin, "things", NULL, ROW({"i", poly_int(1)}), POLY_ANY, NULL, &err),
                 POLY_INVALID);
    assert_message("key");
    assert_fails(put_row(f->admin, "nowhere", "w", ROW({"i", poly_int(1)}), POLY_ANY, NULL, &err),
                 POLY_NOT_FOUND);
    assert_fails(put_row(f->admin, "orders", "w", ROW({"i", poly_int(1)}), POLY_ANY, NULL, &err),
                 POLY_INVALID);
    assert_message("event log");
}

static void keys(void **state)
{
    struct fixture *f = *state;
    struct poly_document document;
    struct poly_result result;
    struct poly_error err;
    char key[64];

    assert_ok(
        put_row(f->admin, "counters", NULL, ROW({"name", poly_str("a")}), POLY_ANY, &result, &err));
    assert_string_equal(result.key.data, "1");
    assert_ok(
        put_row(f->admin, "counters", "-7", ROW({"name", poly_str("b")}), POLY_ANY, &result, &err));
    assert_ok(poly_get(f->admin, "counters", "-7", &document, &err));
    assert_int_equal(document.version, result.version);
    assert_fails(poly_get(f->admin, "counters", "07", &document, &err), POLY_INVALID);
    assert_fails(poly_get(f->admin, "counters", "", &document, &err), POLY_INVALID);
    assert_ok(put_row(f->admin, "ids", NULL, ROW({"name", poly_str("a")}), 0, &result, &err));
    assert_int_equal(result.key.size, 36);
    assert_int_equal(result.key.data[14], '7');
    snprintf(key, sizeof(key), "%s", result.key.data);
    for (char *c = key; *c != '\0'; c++)
        *c = (char)(*c >= 'a' && *c <= 'f' ? *c - 32 : *c);
    assert_ok(poly_get(f->admin, "ids", key, &document, &err));
    assert_fails(poly_get(f->admin, "ids", "x", &document, &err), POLY_INVALID);
    assert_ok(
        put_row(f->admin, "odd", "k'\"", ROW({"a \"col'umn", poly_str("v")}), 0, &result, &err));
    assert_ok(poly_get(f->admin, "odd", "k'\"", &document, &err));
    assert_string_equal(field(&document.row, "a \"col'umn")->text.data, "v");
}

/* A wrong expectation is a conflict, and nothing happens. */
static void versions(void **state)
{
    struct fixture *f = *state;
    struct poly_document document;
    struct poly_result first, second;
    struct poly_txn *txn;
    struct poly_error err;

    assert_ok(put_row(f->admin, "things", "v", ROW({"i", poly_int(1)}), 0, &first, &err));
    assert_fails(put_row(f->admin, "things", "v", ROW({"i", poly_int(2)}), 0, NULL, &err),
                 POLY_CONFLICT);
    assert_fails(put_row(f->admin, "things", "v", ROW({"i", poly_int(2)}),
                         (int64_t)first.version + 1, NULL, &err),
                 POLY_CONFLICT);
    assert_ok(put_row(f->admin, "things", "v", ROW({"i", poly_int(2)}), (int64_t)first.version,
                      &second, &err));
    assert_true(second.version > first.version);
    assert_fails(remove_row(f->admin, "things", "v", (int64_t)first.version, &err), POLY_CONFLICT);
    assert_ok(poly_get(f->admin, "things", "v", &document, &err));
    assert_int_equal(field(&document.row, "i")->integer, 2);

    assert_ok(poly_txn_begin(f->admin, NULL, &txn, &err));
    assert_ok(poly_check(txn, "things", "v", (int64_t)first.version, &err));
    assert_ok(poly_patch(txn, "things", "v", ROW({"t", poly_str("no")}), POLY_ANY, &err));
    assert_fails(poly_txn_commit(txn, NULL, &err), POLY_CONFLICT);
    assert_ok(poly_txn_begin(f->admin, NULL, &txn, &err));
    assert_ok(poly_check(txn, "things", "v", (int64_t)second.version, &err));
    assert_ok(poly_check(txn, "things", "absent", 0, &err));
    assert_ok(poly_patch(txn, "things", "v", ROW({"t", poly_str("yes")}), POLY_ANY, &err));
    assert_ok(poly_txn_commit(txn, NULL, &err));
    assert_ok(poly_get(f->admin, "things", "v", &document, &err));
    assert_string_equal(field(&document.row, "t")->text.data, "yes");
    assert_int_equal(field(&document.row, "i")->integer, 2);

    assert_ok(remove_row(f->admin, "things", "v", (int64_t)document.version, &err));
    assert_fails(poly_get(f->admin, "things", "v", &document, &err), POLY_NOT_FOUND);
    assert_fails(remove_row(f->admin, "things", "v", POLY_ANY, &err), POLY_NOT_FOUND);
    assert_fails(put_row(f->admin, "things", "v", ROW({"i", poly_int(3)}), (int64_t)second.version,
                         NULL, &err),
                 POLY_CONFLICT);
    assert_ok(put_row(f->admin, "things", "v", ROW({"i", poly_int(3)}), 0, NULL, &err));
}

/* Control: with the check switched off a stale write goes through, and the test above would see. */
static void versions_unchecked(void **state)
{
    struct fixture *f = *state;
    struct poly_result first;
    struct poly_error err;

    assert_ok(put_row(f->admin, "things", "c", ROW({"i", poly_int(1)}), 0, &first, &err));
    poly_control_version = false;
    assert_ok(put_row(f->admin, "things", "c", ROW({"i", poly_int(2)}), (int64_t)first.version + 9,
                      NULL, &err));
    poly_control_version = true;
    assert_fails(put_row(f->admin, "things", "c", ROW({"i", poly_int(3)}),
                         (int64_t)first.version + 9, NULL, &err),
                 POLY_CONFLICT);
}

/* Writers of one record who each say which version they saw: none is lost. */
struct counter {
    pthread_t thread;
    struct fixture *f;
    int conflicts;
    bool failed;
};

static void *count_up(void *arg)
{
    struct counter *counter = arg;
    struct poly_session *session = fixture_session(counter->f, NULL, 0);
    struct poly_document document;
    struct poly_error err;

    for (int done = 0; done < 50 && !counter->failed;) {
        enum poly_status status = poly_get(session, "things", "sum", &document, &err);
        int64_t next = status == POLY_OK ? field(&document.row, "i")->integer + 1 : 0;

        if (status == POLY_OK)
            status = put_row(session, "things", "sum", ROW({"i", poly_int(next)}),
                             (int64_t)document.version, NULL, &err);
        done += status == POLY_OK;
        counter->conflicts += status == POLY_CONFLICT;
        counter->failed = status != POLY_OK && status != POLY_CONFLICT;
        poly_session_reset(session);
    }
    poly_session_close(session);
    return NULL;
}

static void many_writers(void **state)
{
    struct fixture *f = *state;
    struct counter counters[4] = {0};
    struct poly_document document;
    struct poly_error err;

    assert_ok(put_row(f->admin, "things", "sum", ROW({"i", poly_int(0)}), 0, NULL, &err));
    for (size_t i = 0; i < 4; i++) {
        counters[i].f = f;
        assert_int_equal(pthread_create(&counters[i].thread, NULL, count_up, &counters[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(counters[i].thread, NULL);
        assert_false(counters[i].failed);
    }
    assert_ok(poly_get(f->admin, "things", "sum", &document, &err));
    assert_int_equal(field(&document.row, "i")->integer, 200);
}

/* A put of what is there already is no change: the version stays. */
static void unchanged(void **state)
{
    struct fixture *f = *state;
    struct poly_result first, second;
    struct poly_error err;
    uint64_t head;

    assert_ok(put_row(f->admin, "counters", "5", ROW({"name", poly_str("same")}), POLY_ANY, &first,
                      &err));
    head = poly_log_head(f->instance);
    assert_ok(put_row(f->admin, "counters", "5", ROW({"name", poly_str("same")}), POLY_ANY, &second,
                      &err));
    assert_int_equal(first.version, second.version);
    assert_int_equal(poly_log_head(f->instance), head);
}

static void constraints(void **state)
{
    struct fixture *f = *state;
    struct poly_error err;

    assert_ok(
        put_row(f->admin, "counters", "20", ROW({"name", poly_str("u")}), POLY_ANY, NULL, &err));
    assert_fails(
        put_row(f->admin, "counters", "21", ROW({"name", poly_str("u")}), POLY_ANY, NULL, &err),
        POLY_EXISTS);
    assert_message("'name'");
    assert_fails(
        put_row(f->admin, "counters", "22", ROW({"name", poly_null()}), POLY_ANY, NULL, &err),
        POLY_INVALID);
    assert_message("column 'name' must have a value");
    assert_fails(
        put_row(f->admin, "counters", "22", ROW({"name", poly_str("")}), POLY_ANY, NULL, &err),
        POLY_INVALID);
    assert_fails(
        put_row(f->admin, "children", "c", ROW({"parent", poly_str("none")}), POLY_ANY, NULL, &err),
        POLY_INVALID);
    assert_message("foreign key");
}

/* Tables that do not fit say so, in words, and the others work. */
static void unfit(void **state)
{
    struct fixture *f = *state;
    struct poly_status_report report;
    struct poly_document document;
    struct poly_error err;
    int problems = 0;

    assert_fails(poly_get(f->admin, "pairs", "a", &document, &err), POLY_UNSUPPORTED);
    assert_message("2 columns");
    assert_fails(poly_get(f->admin, "seen", "a", &document, &err), POLY_UNSUPPORTED);
    assert_message("view");
    assert_fails(poly_get(f->admin, "loud", "a", &document, &err), POLY_UNSUPPORTED);
    assert_message("COLLATE BINARY");
    assert_fails(poly_get(f->admin, "missing", "a", &document, &err), POLY_UNAVAILABLE);
    assert_message("polystore migrate up");
    assert_ok(poly_status_read(f->admin, &report, &err));
    for (size_t i = 0; i < report.domain_count; i++)
        problems += report.domains[i].problem.size > 0;
    assert_int_equal(problems, 4);
}

/* S4-36: another tenant's record is not there, however it is asked for. */
static void tenants(void **state)
{
    struct fixture *f = *state;
    struct poly_session *a = fixture_session(f, "a", 0), *b = fixture_session(f, "b", 0);
    struct poly_session *none = fixture_session(f, NULL, 0);
    struct poly_document document;
    struct poly_result result;
    struct poly_txn *txn;
    struct poly_error err;

    assert_ok(
        put_row(a, "incidents", "1", ROW({"title", poly_str("down")}), POLY_ANY, &result, &err));
    assert_ok(poly_get(a, "incidents", "1", &document, &err));
    assert_int_equal(document.row.count, 4); /* not the tenant's column */
    assert_fails(poly_get(b, "incidents", "1", &document, &err), POLY_NOT_FOUND);
    assert_fails(poly_get(none, "incidents", "1", &document, &err), POLY_DENIED);
    assert_fails(remove_row(b, "incidents", "1", POLY_ANY, &err), POLY_NOT_FOUND);
    assert_fails(remove_row(b, "incidents", "1", (int64_t)result.version, &err), POLY_NOT_FOUND);
    assert_ok(poly_txn_begin(b, NULL, &txn, &err));
    assert_ok(poly_patch(txn, "incidents", "1", ROW({"title", poly_str("mine")}), POLY_ANY, &err));
    assert_fails(poly_txn_commit(txn, NULL, &err), POLY_NOT_FOUND);
    assert_fails(
        put_row(b, "incidents", "1", ROW({"title", poly_str("mine")}), POLY_ANY, NULL, &err),
        POLY_EXISTS);
    assert_fails(put_row(b, "incidents", "1", ROW({"title", poly_str("mine")}), 0, NULL, &err),
                 POLY_EXISTS);
    assert_fails(
        put_row(a, "incidents", "2", ROW({"tenant_id", poly_str("b")}), POLY_ANY, NULL, &err),
        POLY_INVALID);
    assert_ok(poly_get(a, "incidents", "1", &document, &err));
    assert_string_equal(field(&document.row, "title")->text.data, "down");
    poly_session_close(a);
    poly_session_close(b);
    poly_session_close(none);
}

/* The tenant in the key: the same key for each. A number's other spellings are nobody. */
static void tenants_in_key(void **state)
{
    struct fixture *f = *state;
    struct poly_session *a = fixture_session(f, "7", 0), *b = fixture_session(f, "8", 0);
    struct poly_session *odd = fixture_session(f, "07", 0);
    struct poly_document document;
    struct poly_error err;

    assert_ok(put_row(a, "notes", "n", ROW({"text", poly_str("of 7")}), 0, NULL, &err));
    assert_ok(put_row(b, "notes", "n", ROW({"text", poly_str("of 8")}), 0, NULL, &err));
    assert_ok(put_row(b, "notes", "n", ROW({"text", poly_str("of 8!")}), POLY_ANY, NULL, &err));
    assert_ok(poly_get(a, "notes", "n", &document, &err));
    assert_string_equal(field(&document.row, "text")->text.data, "of 7");
    assert_fails(poly_get(odd, "notes", "n", &document, &err), POLY_DENIED);
    assert_ok(remove_row(a, "notes", "n", POLY_ANY, &err));
    assert_ok(poly_get(b, "notes", "n", &document, &err));
    poly_session_close(a);
    poly_session_close(b);
    poly_session_close(odd);
}

/* An interactive transaction sees its own writes; others do not. */
static void inside(void **state)
{
    struct fixture *f = *state;
    struct poly_txn_options options = {.interactive = true};
    struct poly_session *other = fixture_session(f, NULL, 0);
    struct poly_document document;
    struct poly_txn *txn;
    struct poly_error err;

    assert_ok(poly_txn_begin(f->admin, &options, &txn, &err));
    assert_ok(poly_put(txn, "counters", "40", ROW({"name", poly_str("in")}), POLY_ANY, &err));
    assert_ok(poly_txn_get(txn, "counters", "40", &document, &err));
    assert_true(document.version > 0);
    assert_fails(poly_get(other, "counters", "40", &document, &err), POLY_NOT_FOUND);
    poly_txn_abort(txn);
    assert_fails(poly_get(other, "counters", "40", &document, &err), POLY_NOT_FOUND);
    assert_ok(poly_txn_begin(f->admin, NULL, &txn, &err));
    assert_fails(poly_txn_get(txn, "counters", "40", &document, &err), POLY_INVALID);
    poly_txn_abort(txn);
    poly_session_close(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),   cmocka_unit_test(extremes),
        cmocka_unit_test(wrong_values), cmocka_unit_test(keys),
        cmocka_unit_test(versions),     cmocka_unit_test(unchanged),
        cmocka_unit_test(constraints),  cmocka_unit_test(unfit),
        cmocka_unit_test(tenants),      cmocka_unit_test(tenants_in_key),
        cmocka_unit_test(inside),         cmocka_unit_test(versions_unchecked),
        cmocka_unit_test(many_writers),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
