/*
 * base/postgres against a real server: values there and back, the statement cache
 * and what spoils it, pipelines, transactions and their unknown ends, streams, notifications
 * (S3-13, S3-65).
 */
#include "test.h"

#include <math.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/postgres.h"
#include "base/postgres_inside.h"
#include "control.h"

static struct poly_error err;
static struct poly_pg_target *target;
static struct poly_arena *arena;

static struct poly_pg *fresh(void)
{
    struct poly_pg *pg;

    assert_ok(poly_pg_open(target, -1, &pg, &err));
    return pg;
}

static int setup(void **state)
{
    *state = fresh();
    return 0;
}

static int teardown(void **state)
{
    poly_pg_close(*state);
    poly_arena_reset(arena);
    return 0;
}

static int64_t ask_int(struct poly_pg *pg, const char *sql)
{
    PGresult *result;
    int64_t value;

    assert_ok(poly_pg_run(pg, sql, NULL, &result, &err));
    assert_int_equal(PQntuples(result), 1);
    value = poly_pg_int(result, 0, 0);
    PQclear(result);
    return value;
}

/* --- values --- */

static struct poly_value one_value(struct poly_pg *pg, const char *sql,
                                   const struct poly_pg_params *params, bool binary)
{
    struct poly_value value;
    PGresult *result;

    assert_ok(poly_pg_run_once(pg, sql, params, &result, &err));
    assert_int_equal(PQntuples(result), 1);
    assert_int_equal(PQfformat(result, 0), binary);
    assert_ok(poly_pg_value(result, 0, 0, arena, &value, &err));
    if (value.type == POLY_TEXT || value.type == POLY_BYTES || value.type == POLY_JSON)
        value.text.data = poly_arena_copy(arena, value.text.data, value.text.size);
    PQclear(result);
    return value;
}

static void is_text(struct poly_pg *pg, const char *sql, const char *wanted)
{
    char second[300];

    for (int binary = 1; binary >= 0; binary--) {
        struct poly_value value;

        /* An array beside it makes the whole result come as text. */
        snprintf(second, sizeof(second), "%s%s", sql, binary ? "" : ", ARRAY[1]");
        value = one_value(pg, second, NULL, binary);
        assert_int_equal(value.type, POLY_TEXT);
        assert_string_equal(value.text.data, wanted);
    }
}

static void reads_numerics(void **state)
{
    static const char *const numbers[] = {
        "0",
        "1",
        "-1",
        "0.00",
        "10000",
        "99999999",
        "123456789012345678901234567890.12345",
        "0.0001",
        "-0.00012300",
        "100000000",
        "1.5",
        "-98765.4321",
        "0.99990000",
        "10000.0001",
        "1000000000000",
    };
    char sql[100];

    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
        snprintf(sql, sizeof(sql), "SELECT '%s'::numeric", numbers[i]);
        is_text(*state, sql, numbers[i]);
    }
    assert_int_equal(one_value(*state, "SELECT 'NaN'::numeric", NULL, true).type, POLY_NULL);
    assert_true(isinf(one_value(*state, "SELECT '-Infinity'::numeric", NULL, true).real));
    assert_true(isinf(one_value(*state, "SELECT 'Infinity'::numeric, ARRAY[1]", NULL, false).real));
}

static void reads_any_type(void **state)
{
    struct poly_value value;

    is_text(*state, "SELECT 'é'::varchar", "é");
    is_text(*state, "SELECT date '2026-02-28'", "2026-02-28");
    is_text(*state, "SELECT date '0044-03-15'", "0044-03-15");
    is_text(*state, "SELECT date 'infinity'", "infinity");
    is_text(*state, "SELECT timestamptz '-infinity'", "-infinity");
    is_text(*state, "SELECT '16/B374D848'::pg_lsn", "16/B374D848");
    for (int binary = 0; binary < 2; binary++) {
        char sql[120];
#define ASK(text)                                                                                  \
    (snprintf(sql, sizeof(sql), "SELECT " text "%s", binary ? "" : ", ARRAY[1]"),                  \
     one_value(*state, sql, NULL, binary))
        assert_int_equal(ASK("NULL::int").type, POLY_NULL);
        value = ASK("true");
        assert_true(value.type == POLY_BOOL && value.boolean);
        value = ASK("'-32768'::int2");
        assert_true(value.type == POLY_INT && value.integer == -32768);
        value = ASK("-5::int4");
        assert_true(value.type == POLY_INT && value.integer == -5);
        value = ASK("4294967295::oid");
        assert_true(value.type == POLY_INT && value.integer == 4294967295);
        value = ASK("'-9223372036854775808'::int8");
        assert_true(value.type == POLY_INT && value.integer == INT64_MIN);
        value = ASK("1.25::float4");
        assert_true(value.type == POLY_FLOAT && value.real == 1.25);
        value = ASK("'1e300'::float8");
        assert_true(value.type == POLY_FLOAT && value.real == 1e300);
        assert_int_equal(ASK("'NaN'::float8").type, POLY_NULL);
        value = ASK("'\\x00ff'::bytea");
        assert_true(value.type == POLY_BYTES && value.text.size == 2);
        assert_memory_equal(value.text.data, "\0\xff", 2);
        value = ASK("'{\"a\": 1}'::jsonb");
        assert_true(value.type == POLY_JSON);
        assert_string_equal(value.text.data, "{\"a\": 1}");
        value = ASK("timestamptz '1970-01-01 01:00:00.000001+01'");
        assert_true(value.type == POLY_TIME && value.integer == 1);
        value = ASK("timestamp '1999-12-31 23:59:59'");
        assert_true(value.type == POLY_TIME && value.integer == INT64_C(946684799000000));
        value = ASK("'01890a5d-ac96-774b-bcce-b302099a8057'::uuid");
        assert_true(value.type == POLY_UUID && value.uuid[0] == 1 && value.uuid[15] == 0x57);
#undef ASK
    }
    value = one_value(*state, "SELECT ARRAY[1, 2]", NULL, false);
    assert_string_equal(value.text.data, "{1,2}");
    value = one_value(*state, "SELECT interval '1 day 2 hours'", NULL, false);
    assert_string_equal(value.text.data, "1 day 02:00:00");
}

/* What goes in comes out, whatever type the column has. */
static void writes_as_the_column_wants(void **state)
{
    static const char *const casts[] = {"int2",   "int4",   "int8", "numeric",
                                        "float8", "float4", "text", "xid8"};
    struct poly_pg_params params;
    char sql[100];

    for (size_t i = 0; i < sizeof(casts) / sizeof(*casts); i++) {
        poly_pg_params(&params);
        poly_pg_add_int(&params, 12345);
        snprintf(sql, sizeof(sql), "SELECT ($1::%s)::text", casts[i]);
        assert_string_equal(one_value(*state, sql, &params, true).text.data, "12345");
    }

    static const struct {
        const char *sql, *wanted;
        struct poly_value value;
    } cases[] = {
        {"SELECT ($1::date)::text", "2026-01-31", {.type = POLY_TEXT, .text = {"2026-01-31", 10}}},
        {"SELECT ($1::numeric)::text", "1.50", {.type = POLY_TEXT, .text = {"1.50", 4}}},
        {"SELECT ($1::jsonb)::text", "[1]", {.type = POLY_JSON, .text = {"[1]", 3}}},
        {"SELECT ($1::jsonb)::text", "[2]", {.type = POLY_TEXT, .text = {"[2]", 3}}},
        {"SELECT ($1::json)::text", "[1]", {.type = POLY_JSON, .text = {"[1]", 3}}},
        {"SELECT ($1::bytea)::text", "\\x00ff", {.type = POLY_BYTES, .text = {"\0\xff", 2}}},
        {"SELECT ($1::bytea)::text", "\\x", {.type = POLY_BYTES}},
        {"SELECT ($1::text)::text", "", {.type = POLY_TEXT}},
        {"SELECT ($1::bool)::text", "true", {.type = POLY_BOOL, .boolean = true}},
        {"SELECT ($1::bool)::text", "true", {.type = POLY_INT, .integer = 1}},
        {"SELECT ($1::int4)::text", "1", {.type = POLY_BOOL, .boolean = true}},
        {"SELECT ($1::float8)::text", "0.1", {.type = POLY_FLOAT, .real = 0.1}},
        {"SELECT ($1::float8)::text", "Infinity", {.type = POLY_FLOAT, .real = INFINITY}},
        {"SELECT ($1::numeric)::text", "-Infinity", {.type = POLY_FLOAT, .real = -INFINITY}},
        {"SELECT ($1::timestamptz)::text",
         "1970-01-01 00:00:00.000001+00",
         {.type = POLY_TIME, .integer = 1}},
        {"SELECT ($1::int8)::text", "-7", {.type = POLY_TIME, .integer = -7}},
        {"SELECT ($1::text)::text",
         "1970-01-01T00:00:00.000001Z",
         {.type = POLY_TIME, .integer = 1}},
        {"SELECT ($1::uuid)::text",
         "01020304-0506-0708-090a-0b0c0d0e0f10",
         {.type = POLY_UUID, .uuid = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}}},
        {"SELECT ($1::text)::text",
         "01020304-0506-0708-090a-0b0c0d0e0f10",
         {.type = POLY_UUID, .uuid = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}}},
        {"SELECT coalesce($1::text, 'null')", "null", {.type = POLY_NULL}},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        poly_pg_params(&params);
        poly_pg_add(&params, &cases[i].value);
        assert_string_equal(one_value(*state, cases[i].sql, &params, true).text.data,
                            cases[i].wanted);
    }
}

static void writes_arrays(void **state)
{
    static const char sql[] =
        "SELECT string_agg(n || coalesce(t, '-') || coalesce(j::text, '.') || "
        "coalesce(encode(b, 'hex'), '_'), '|') FROM unnest($1::bigint[], "
        "$2::text[], $3::jsonb[], $4::bytea[]) AS u(n, t, j, b)";
    const int64_t numbers[] = {1, -2, INT64_MAX};
    const struct poly_text texts[] = {{"a", 1}, {"é\"{},", 6}, {"", 0}};
    const struct poly_value documents[] = {poly_json("[1]"), poly_null(), poly_json("{}")};
    const struct poly_value bytes[] = {poly_bytes("\0", 1), poly_bytes("", 0), poly_null()};
    struct poly_pg_params params;
    PGresult *result;

    poly_pg_params(&params);
    poly_pg_add_ints(&params, numbers, 3);
    poly_pg_add_texts(&params, texts, 3);
    poly_pg_add_array(&params, documents, 3);
    poly_pg_add_array(&params, bytes, 3);
    assert_ok(poly_pg_run(*state, sql, &params, &result, &err));
    assert_string_equal(poly_pg_text(result, 0, 0).data,
                        "1a[1]00|-2é\"{},.|9223372036854775807{}_");
    PQclear(result);
    poly_pg_params(&params);
    for (int i = 0; i < 4; i++)
        poly_pg_add_ints(&params, NULL, 0);
    assert_ok(poly_pg_run(*state, sql, &params, &result, &err));
    assert_true(poly_pg_null(result, 0, 0));
    PQclear(result);
    poly_pg_params(&params);
    poly_pg_add_ints(&params, numbers, 3);
    assert_fails(poly_pg_run(*state, "SELECT $1::int", &params, &result, &err), POLY_UNSUPPORTED);
    assert_fails(poly_pg_run(*state, "SELECT $1::numeric[]", &params, &result, &err),
                 POLY_UNSUPPORTED);
}

static void refuses_what_does_not_fit(void **state)
{
    struct poly_pg_params params;
    struct poly_value nul = {.type = POLY_TEXT, .text = {"1\0002", 3}};
    PGresult *result;

    poly_pg_params(&params);
    assert_fails(poly_pg_run(*state, "SELECT $1::int", &params, &result, &err), POLY_INVALID);
    assert_message("takes 1 parameters, not 0");
    poly_pg_add(&params, &nul);
    assert_fails(poly_pg_run(*state, "SELECT $1::date", &params, &result, &err), POLY_INVALID);
    assert_message("NUL");
    poly_pg_params(&params);
    poly_pg_add_int(&params, INT64_C(5000000000));
    assert_fails(poly_pg_run(*state, "SELECT $1::int4", &params, &result, &err), POLY_INVALID);
    assert_string_equal(poly_pg_state(*state), "22003");
    for (int i = 0; i < POLY_PG_PARAMS; i++)
        poly_pg_add_int(&params, i);
    assert_fails(poly_pg_run(*state, "SELECT $1::int", &params, &result, &err), POLY_INVALID);
    assert_int_equal(ask_int(*state, "SELECT 1"), 1);
}

static void takes_many_parameters(void **state)
{
    enum { MANY = 1000 };
    static struct poly_pg_param memory[MANY];
    static char sql[MANY * 12];
    struct poly_pg_params params;
    PGresult *result;
    size_t size = (size_t)snprintf(sql, sizeof(sql), "SELECT 0::bigint");

    poly_pg_params_in(&params, memory, MANY);
    for (int i = 0; i < MANY; i++) {
        poly_pg_add_int(&params, i);
        size += (size_t)snprintf(sql + size, sizeof(sql) - size, "+$%d", i + 1);
    }
    assert_ok(poly_pg_run_once(*state, sql, &params, &result, &err));
    assert_int_equal(poly_pg_int(result, 0, 0), MANY * (MANY - 1) / 2);
    PQclear(result);
}

/* --- statements --- */

static void maps_errors(void **state)
{
    static const struct {
        const char *sql;
        enum poly_status status;
    } cases[] = {
        {"INSERT INTO wrong VALUES (1)", POLY_EXISTS},
        {"INSERT INTO wrong VALUES (NULL)", POLY_INVALID},
        {"INSERT INTO wrong VALUES (-1)", POLY_INVALID},
        {"SELECT nothing", POLY_INVALID},
        {"CREATE TABLE pg_catalog.mine(a int)", POLY_DENIED},
        {"SELECT 1/0", POLY_INVALID},
        {"LISTEN", POLY_INVALID},
        {"SELECT pg_read_file('/etc/passwd')", POLY_DENIED},
    };
    PGresult *result;

    assert_ok(poly_pg_exec(*state,
                           "CREATE TEMP TABLE wrong(a int PRIMARY KEY CHECK (a > 0));"
                           "INSERT INTO wrong VALUES (1)",
                           &err));
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        enum poly_status status = poly_pg_run(*state, cases[i].sql, NULL, &result, &err);

        if (status == POLY_OK) { /* the role is a superuser: it may */
            PQclear(result);
            assert_int_equal(cases[i].status, POLY_DENIED);
            continue;
        }
        if (status != cases[i].status)
            fail_msg("%s: %s", cases[i].sql, err.message);
        assert_false(poly_pg_lost(*state));
    }
    assert_fails(poly_pg_run_once(*state, "SELECT 'é', nothing", NULL, &result, &err),
                 POLY_INVALID);
    assert_int_equal(err.position, 13);
    assert_fails(poly_pg_run_once(*state, "COPY (SELECT 1) TO STDOUT", NULL, &result, &err),
                 POLY_UNSUPPORTED);
}

static void forgets_and_prepares_again(void **state)
{
    static const char sql[] = "SELECT 42::bigint", all[] = "SELECT * FROM changing";
    struct poly_pg *pg = *state;
    PGresult *result;

    assert_int_equal(ask_int(pg, sql), 42);
    assert_int_equal(ask_int(pg, sql), 42);
    assert_int_equal(ask_int(pg, "SELECT count(*) FROM pg_prepared_statements"
                                 " WHERE statement = 'SELECT 42::bigint'"),
                     1);
    assert_ok(poly_pg_exec(pg, "DISCARD ALL", &err));
    assert_int_equal(ask_int(pg, sql), 42);

    assert_ok(poly_pg_exec(pg, "CREATE TEMP TABLE changing AS SELECT 1::bigint AS a", &err));
    assert_int_equal(ask_int(pg, all), 1);
    assert_ok(poly_pg_exec(pg, "ALTER TABLE changing ADD b text DEFAULT 'x'", &err));
    assert_ok(poly_pg_run(pg, all, NULL, &result, &err));
    assert_int_equal(PQnfields(result), 2);
    PQclear(result);

    /* Inside of a transaction it cannot be run again; the next try goes well. */
    assert_ok(poly_pg_exec(pg, "DEALLOCATE ALL", &err));
    assert_ok(poly_pg_exec(pg, "BEGIN", &err));
    assert_fails(poly_pg_run(pg, sql, NULL, &result, &err), POLY_UNAVAILABLE);
    assert_true(poly_pg_temporary(pg));
    poly_pg_roll_back(pg);
    assert_int_equal(ask_int(pg, sql), 42);
    assert_int_equal(ask_int(pg, all), 1);
    assert_ok(poly_pg_exec(pg, "ALTER TABLE changing ADD c int", &err));
    assert_ok(poly_pg_queue(pg, all, NULL, &err));
    assert_fails(poly_pg_next(pg, &result, &err), POLY_UNAVAILABLE);
    assert_true(poly_pg_temporary(pg));
    assert_ok(poly_pg_run(pg, all, NULL, &result, &err));
    assert_int_equal(PQnfields(result), 3);
    PQclear(result);
}

/* The server does not keep more statements than the cache does. */
static void gives_up_old_statements(void **state)
{
    enum { TEXTS = 3000 };
    static char texts[TEXTS][24];

    for (int i = 0; i < TEXTS; i++) {
        snprintf(texts[i], sizeof(texts[i]), "SELECT %d", i);
        assert_int_equal(ask_int(*state, texts[i]), i);
    }
    assert_in_range(ask_int(*state, "SELECT count(*) FROM pg_prepared_statements"), 100, 2048);
    for (int i = TEXTS - 1; i >= 0; i--)
        assert_int_equal(ask_int(*state, texts[i]), i);
}

static void resets_a_session(void **state)
{
    struct poly_pg *pg = *state;

    assert_int_equal(ask_int(pg, "SELECT 1"), 1);
    assert_ok(poly_pg_exec(pg,
                           "SET TimeZone = 'Asia/Tokyo'; CREATE TEMP TABLE rest(a int);"
                           "SELECT pg_advisory_lock(77)",
                           &err));
    assert_ok(poly_pg_reset(pg, &err));
    assert_string_equal(PQparameterStatus(poly_pg_handle(pg), "TimeZone"), "UTC");
    assert_int_equal(ask_int(pg, "SELECT (to_regclass('rest') IS NULL)::int"), 1);
    assert_int_equal(ask_int(pg, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
                                 " AND pid = pg_backend_pid()"),
                     0);
    assert_in_range(ask_int(pg, "SELECT count(*) FROM pg_prepared_statements"), 4, 4);
}

/* --- pipelines --- */

static void pipelines(void **state)
{
    static const char insert[] = "INSERT INTO piped VALUES ($1::bigint)";
    static const char count[] = "SELECT count(*) FROM piped", bad[] = "SELECT 1 / $1::bigint";
    struct poly_pg *pg = *state;
    struct poly_pg_params params;
    PGresult *result;

    assert_ok(poly_pg_exec(pg, "CREATE TEMP TABLE piped(a bigint PRIMARY KEY)", &err));
    /* Twice: new to the connection, and known. */
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 5; i++) {
            poly_pg_params(&params);
            poly_pg_add_int(&params, round * 5 + i);
            assert_ok(poly_pg_queue(pg, insert, &params, &err));
        }
        assert_ok(poly_pg_queue(pg, count, NULL, &err));
        assert_int_equal(poly_pg_queued(pg), 6);
        for (int i = 0; i < 6; i++) {
            assert_ok(poly_pg_next(pg, &result, &err));
            assert_int_equal(i < 5 ? poly_pg_changed(result) : poly_pg_int(result, 0, 0),
                             i < 5 ? 1 : round * 5 + 5);
            PQclear(result);
        }
        assert_int_equal(poly_pg_queued(pg), 0);
        assert_int_equal(ask_int(pg, count), round * 5 + 5);
    }
    /* The third fails: nothing of it has happened, and the connection is as good as before. */
    for (int known = 0; known < 2; known++) {
        enum poly_status status = POLY_OK;

        for (int i = 0; i < 5 && status == POLY_OK; i++) {
            poly_pg_params(&params);
            poly_pg_add_int(&params, i == 2 ? 0 : 100 + i);
            status = poly_pg_queue(pg, i == 2 ? bad : insert, &params, &err);
        }
        for (int i = 0; i < 5 && status == POLY_OK; i++) {
            status = poly_pg_next(pg, &result, &err);
            if (status == POLY_OK)
                PQclear(result);
        }
        assert_int_equal(status, POLY_INVALID);
        assert_message("division by zero");
        assert_int_equal(poly_pg_failed_at(pg), 2);
        assert_int_equal(ask_int(pg, count), 10);
    }
}

static void a_new_statement_fails_in_a_pipeline(void **state)
{
    static const char one[] = "SELECT 1::bigint", other[] = "SELECT 2::bigint";
    static const char third[] = "SELECT 3::bigint", fourth[] = "SELECT 4::bigint";
    static const char wrong[] = "SELECT nonsense", divide[] = "SELECT 1 / $1::bigint";
    struct poly_pg *pg = *state;
    struct poly_pg_params params;
    PGresult *result;

    assert_ok(poly_pg_queue(pg, one, NULL, &err));
    assert_fails(poly_pg_queue(pg, wrong, NULL, &err), POLY_INVALID);
    assert_int_equal(poly_pg_failed_at(pg), 1);
    assert_message("nonsense");
    assert_int_equal(ask_int(pg, one), 1);
    /* One before it has failed, which shows when the new one is prepared. */
    poly_pg_params(&params);
    poly_pg_add_int(&params, 0);
    assert_ok(poly_pg_queue(pg, one, NULL, &err));
    assert_ok(poly_pg_queue(pg, divide, &params, &err));
    assert_fails(poly_pg_queue(pg, fourth, NULL, &err), POLY_INVALID);
    assert_message("division by zero");
    assert_int_equal(poly_pg_failed_at(pg), 1);
    /* Results that came early are given out in order. */
    assert_ok(poly_pg_queue(pg, one, NULL, &err));
    assert_ok(poly_pg_queue(pg, other, NULL, &err));
    assert_ok(poly_pg_queue(pg, third, NULL, &err));
    for (int i = 0; i < 3; i++) {
        assert_ok(poly_pg_next(pg, &result, &err));
        assert_int_equal(poly_pg_int(result, 0, 0), i + 1);
        PQclear(result);
    }
    assert_ok(poly_pg_queue(pg, one, NULL, &err));
    assert_ok(poly_pg_queue(pg, one, NULL, &err));
    poly_pg_drop(pg);
    assert_int_equal(ask_int(pg, one), 1);
}

/* A pipeline is all or nothing, also when it is we who refuse a part of it. */
static void what_cannot_be_queued_takes_all_along(void **state)
{
    static const char insert[] = "INSERT INTO whole VALUES ($1)";
    struct poly_pg *beside = *state;

    assert_ok(poly_pg_exec(beside, "CREATE TABLE whole(a int)", &err));
    for (int forsaken = 0; forsaken < 2; forsaken++) {
        struct poly_pg *pg = fresh();
        struct poly_pg_params params;

        poly_pg_params(&params);
        poly_pg_add_int(&params, 1);
        assert_ok(poly_pg_queue(pg, insert, &params, &err));
        poly_pg_params(&params); /* one too few */
        if (forsaken)
            poly_pg_forsake(pg);
        else
            assert_true(poly_pg_queue(pg, insert, &params, &err) != POLY_OK);
        poly_pg_close(pg);
        assert_int_equal(ask_int(beside, "SELECT count(*) FROM whole"), 0);
    }
    assert_ok(poly_pg_exec(beside, "DROP TABLE whole", &err));
}

/* --- transactions --- */

static void commits_and_rolls_back(void **state)
{
    static const char insert[] = "INSERT INTO done VALUES (1)";
    struct poly_pg *pg = *state;
    PGresult *result;

    assert_ok(poly_pg_exec(pg, "CREATE TEMP TABLE done(a int)", &err));
    assert_ok(poly_pg_begin(pg, POLY_PG_COMMITTED, false, &err));
    assert_ok(poly_pg_done(pg, insert, NULL, NULL, &err));
    assert_true(poly_pg_in_transaction(pg));
    poly_pg_roll_back(pg);
    assert_false(poly_pg_in_transaction(pg));
    assert_int_equal(ask_int(pg, "SELECT count(*) FROM done"), 0);
    assert_ok(poly_pg_begin(pg, POLY_PG_SERIALIZABLE, false, &err));
    assert_ok(poly_pg_done(pg, insert, NULL, NULL, &err));
    assert_ok(poly_pg_commit(pg, &err));
    assert_int_equal(ask_int(pg, "SELECT count(*) FROM done"), 1);

    assert_ok(poly_pg_begin(pg, POLY_PG_SNAPSHOT, false, &err));
    assert_fails(poly_pg_run(pg, "SELECT 1/0", NULL, &result, &err), POLY_INVALID);
    assert_fails(poly_pg_commit(pg, &err), POLY_CONFLICT);
    assert_false(poly_pg_unknown(pg));
    assert_false(poly_pg_in_transaction(pg));

    assert_ok(poly_pg_begin(pg, POLY_PG_SNAPSHOT, true, &err));
    assert_fails(poly_pg_done(pg, "CREATE TABLE never(a int)", NULL, NULL, &err), POLY_UNAVAILABLE);
    poly_pg_roll_back(pg);
    assert_string_equal(poly_pg_state(pg), "25006");

    /* All in one round trip. */
    assert_ok(poly_pg_queue(pg, poly_pg_begin_text(POLY_PG_COMMITTED, false), NULL, &err));
    assert_ok(poly_pg_queue(pg, insert, NULL, &err));
    assert_ok(poly_pg_queue_commit(pg, &err));
    for (int i = 0; i < 3; i++) {
        assert_ok(poly_pg_next(pg, &result, &err));
        PQclear(result);
    }
    assert_int_equal(ask_int(pg, "SELECT count(*) FROM done"), 2);
}

static void says_when_an_end_is_unknown(void **state)
{
    struct poly_pg *pg = *state, *other = fresh();
    char kill[80];
    PGresult *result;

    snprintf(kill, sizeof(kill), "SELECT pg_terminate_backend(%d)",
             PQbackendPID(poly_pg_handle(pg)));
    /* Inside of a transaction nothing can have been committed. */
    assert_ok(poly_pg_begin(pg, POLY_PG_COMMITTED, false, &err));
    assert_ok(poly_pg_exec(other, kill, &err));
    assert_fails(poly_pg_run(pg, "SELECT 1", NULL, &result, &err), POLY_UNAVAILABLE);
    assert_true(poly_pg_lost(pg));
    assert_false(poly_pg_unknown(pg));
    assert_fails(poly_pg_commit(pg, &err), POLY_UNAVAILABLE);
    assert_message("lost");
    poly_pg_close(pg);
    *state = pg = fresh();
    snprintf(kill, sizeof(kill), "SELECT pg_terminate_backend(%d)",
             PQbackendPID(poly_pg_handle(pg)));
    assert_ok(poly_pg_begin(pg, POLY_PG_COMMITTED, false, &err));
    assert_ok(poly_pg_exec(other, kill, &err));
    assert_fails(poly_pg_commit(pg, &err), POLY_UNAVAILABLE);
    assert_true(poly_pg_unknown(pg));
    assert_message("not known");
    poly_pg_close(pg);
    *state = pg = fresh();
    snprintf(kill, sizeof(kill), "SELECT pg_terminate_backend(%d)",
             PQbackendPID(poly_pg_handle(pg)));
    assert_int_equal(ask_int(pg, "SELECT 5"), 5);
    assert_ok(poly_pg_queue(pg, "SELECT 5", NULL, &err));
    assert_ok(poly_pg_exec(other, kill, &err));
    assert_fails(poly_pg_next(pg, &result, &err), POLY_UNAVAILABLE);
    assert_true(poly_pg_unknown(pg));
    assert_int_equal(poly_pg_failed_at(pg), 0);
    poly_pg_close(other);
}

static void stops_at_a_deadline(void **state)
{
    struct poly_pg *pg = *state;
    PGresult *result;

    poly_pg_deadline(pg, poly_clock_monotonic() + 100000);
    assert_fails(poly_pg_run(pg, "SELECT pg_sleep(60)", NULL, &result, &err), POLY_TIMEOUT);
    assert_false(poly_pg_lost(pg));
    assert_fails(poly_pg_run(pg, "SELECT 1", NULL, &result, &err), POLY_TIMEOUT);
    poly_pg_deadline(pg, -1);
    assert_int_equal(ask_int(pg, "SELECT 1"), 1);
    assert_ok(poly_pg_begin(pg, POLY_PG_COMMITTED, false, &err));
    assert_ok(poly_pg_queue(pg, "SELECT 1", NULL, &err));
    assert_ok(poly_pg_queue(pg, "SELECT pg_sleep(61)", NULL, &err));
    assert_ok(poly_pg_queue(pg, "SELECT 1", NULL, &err));
    poly_pg_deadline(pg, poly_clock_monotonic() + 100000);
    assert_ok(poly_pg_next(pg, &result, &err));
    PQclear(result);
    assert_fails(poly_pg_next(pg, &result, &err), POLY_TIMEOUT);
    assert_int_equal(poly_pg_failed_at(pg), 1);
    poly_pg_roll_back(pg);
    assert_false(poly_pg_lost(pg));
    poly_pg_deadline(pg, -1);
    assert_int_equal(ask_int(pg, "SELECT 1"), 1);
}

/* --- streams --- */

static void streams(void **state)
{
    static const char sql[] =
        "SELECT n::bigint, repeat('x', 50) FROM generate_series(1, $1::int) n";
    static const int lengths[] = {0, 1, 2, 25000};
    struct poly_pg *pg = *state;

    for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
        struct poly_pg_stream *stream;
        struct poly_pg_params params;
        const PGresult *row;

        poly_pg_params(&params);
        poly_pg_add_int(&params, lengths[i]);
        assert_ok(poly_pg_stream_open(pg, sql, &params, &stream, &err));
        for (int n = 1; n <= lengths[i]; n++) {
            assert_ok(poly_pg_stream_next(stream, &row, &err));
            assert_non_null(row);
            assert_int_equal(poly_pg_int(row, 0, 0), n);
        }
        for (int again = 0; again < 2; again++) {
            assert_ok(poly_pg_stream_next(stream, &row, &err));
            assert_null(row);
        }
        poly_pg_stream_close(stream);
        assert_int_equal(ask_int(pg, "SELECT 1"), 1);
    }
}

static void a_stream_ends_early(void **state)
{
    static const char endless[] = "SELECT generate_series(1, 1000000000)";
    static const char fails[] = "SELECT 1 / (500 - n) FROM generate_series(1, 1000) n";
    struct poly_pg *pg = *state;
    struct poly_pg_stream *stream;
    enum poly_status status = POLY_OK;
    const PGresult *row;
    int count = 0;

    assert_ok(poly_pg_stream_open(pg, fails, NULL, &stream, &err));
    while (status == POLY_OK && count < 1000) {
        status = poly_pg_stream_next(stream, &row, &err);
        count += status == POLY_OK;
    }
    assert_int_equal(status, POLY_INVALID);
    assert_int_equal(count, 499);
    poly_pg_stream_close(stream);
    assert_int_equal(ask_int(pg, "SELECT 1"), 1);
    /* By the caller, … */
    assert_ok(poly_pg_stream_open(pg, endless, NULL, &stream, &err));
    assert_ok(poly_pg_stream_next(stream, &row, &err));
    poly_pg_stream_close(stream);
    assert_false(poly_pg_lost(pg));
    assert_int_equal(ask_int(pg, "SELECT 1"), 1);
    assert_ok(poly_pg_begin(pg, POLY_PG_SNAPSHOT, true, &err));
    assert_ok(poly_pg_stream_open(pg, endless, NULL, &stream, &err));
    poly_pg_stream_close(stream);
    poly_pg_roll_back(pg);
    /* … by its deadline, … */
    poly_pg_deadline(pg, poly_clock_monotonic() + 50000);
    assert_ok(poly_pg_stream_open(pg, endless, NULL, &stream, &err));
    do
        status = poly_pg_stream_next(stream, &row, &err);
    while (status == POLY_OK);
    assert_int_equal(status, POLY_TIMEOUT);
    poly_pg_stream_close(stream);
    poly_pg_deadline(pg, -1);
    assert_int_equal(ask_int(pg, "SELECT 1"), 1);
    /* … and before its beginning. */
    assert_fails(poly_pg_stream_open(pg, "SELECT nothing", NULL, &stream, &err), POLY_INVALID);
    assert_ok(poly_pg_exec(pg, "DEALLOCATE ALL", &err));
    assert_ok(poly_pg_stream_open(pg, endless, NULL, &stream, &err));
    assert_ok(poly_pg_stream_next(stream, &row, &err));
    assert_int_equal(poly_pg_int(row, 0, 0), 1);
    poly_pg_stream_close(stream);
}

/* --- notifications --- */

static void waits_for_notifications(void **state)
{
    struct poly_pg *pg = *state, *other = fresh();
    struct poly_pg_notice notice;
    enum poly_pg_event event;
    int wake[2];
    char kill[80];

    assert_int_equal(pipe(wake), 0);
    assert_ok(poly_pg_listen(pg, "poly \"log\"", &err));
    assert_ok(poly_pg_wait(pg, wake[0], poly_clock_monotonic() + 1000, &event, &notice, &err));
    assert_int_equal(event, POLY_PG_DEADLINE);
    assert_ok(poly_pg_exec(other, "NOTIFY \"poly \"\"log\"\"\", '42'", &err));
    assert_ok(poly_pg_wait(pg, wake[0], -1, &event, &notice, &err));
    assert_int_equal(event, POLY_PG_NOTIFIED);
    assert_string_equal(notice.channel, "poly \"log\"");
    assert_string_equal(notice.payload, "42");
    assert_int_equal(notice.backend, PQbackendPID(poly_pg_handle(other)));
    assert_int_equal(write(wake[1], "x", 1), 1);
    assert_ok(poly_pg_wait(pg, wake[0], -1, &event, &notice, &err));
    assert_int_equal(event, POLY_PG_WOKEN);
    snprintf(kill, sizeof(kill), "SELECT pg_terminate_backend(%d)",
             PQbackendPID(poly_pg_handle(pg)));
    assert_ok(poly_pg_exec(other, kill, &err));
    assert_fails(poly_pg_wait(pg, -1, -1, &event, &notice, &err), POLY_UNAVAILABLE);
    assert_true(poly_pg_lost(pg));
    close(wake[0]);
    close(wake[1]);
    poly_pg_close(other);
}

static void knows_the_server(void **state)
{
    struct poly_pg_capacity capacity;
    bool standby = true;
    uint64_t lsn = 0;

    assert_ok(poly_pg_position(*state, &standby, &lsn, &err));
    assert_false(standby);
    assert_true(lsn > 0);
    assert_false(poly_pg_standby(*state));
    assert_ok(poly_pg_capacity(*state, &capacity, &err));
    assert_true(capacity.max_connections > capacity.reserved && capacity.reserved > 0);
    assert_true(capacity.in_use >= 1 && capacity.work_mem >= 65536);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_numerics, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_any_type, setup, teardown),
        cmocka_unit_test_setup_teardown(writes_as_the_column_wants, setup, teardown),
        cmocka_unit_test_setup_teardown(writes_arrays, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_what_does_not_fit, setup, teardown),
        cmocka_unit_test_setup_teardown(takes_many_parameters, setup, teardown),
        cmocka_unit_test_setup_teardown(maps_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(forgets_and_prepares_again, setup, teardown),
        cmocka_unit_test_setup_teardown(gives_up_old_statements, setup, teardown),
        cmocka_unit_test_setup_teardown(resets_a_session, setup, teardown),
        cmocka_unit_test_setup_teardown(pipelines, setup, teardown),
        cmocka_unit_test_setup_teardown(a_new_statement_fails_in_a_pipeline, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_queued_takes_all_along, setup, teardown),
        cmocka_unit_test_setup_teardown(commits_and_rolls_back, setup, teardown),
        cmocka_unit_test_setup_teardown(says_when_an_end_is_unknown, setup, teardown),
        cmocka_unit_test_setup_teardown(stops_at_a_deadline, setup, teardown),
        cmocka_unit_test_setup_teardown(streams, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stream_ends_early, setup, teardown),
        cmocka_unit_test_setup_teardown(waits_for_notifications, setup, teardown),
        cmocka_unit_test_setup_teardown(knows_the_server, setup, teardown),
    };
    struct poly_pg_options options = {.url = control_url("POSTGRESQL_URL")};
    int failed;

    if (options.url == NULL) {
        printf("skipped: postgresql (POLY_TEST_POSTGRESQL_URL names no server)\n");
        return 77;
    }
    arena = poly_arena_new(1 << 20);
    if (arena == NULL || poly_pg_target_new(&options, &target, &err) != POLY_OK)
        return 1;
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    poly_pg_target_free(target);
    poly_arena_free(arena);
    return failed;
}
