/*
 * Tables that somebody else changes: another daemon's migration, psql, a partition that is
 * attached. S3-31, D8. Run by tests/servers/with.
 */
#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "conformance/fixture.h"
#include "core/instance.h"
#include "polystore/admin.h"
#include "stores/relational/postgresql.h"

static const char tables[] =
    "CREATE TABLE users(id TEXT PRIMARY KEY, name TEXT, age INTEGER);\n"
    "INSERT INTO users VALUES ('a', 'Ann', 1), ('b', 'Bob', 2);\n"
    "CREATE TABLE parts(id BIGINT PRIMARY KEY, text TEXT) PARTITION BY RANGE (id);\n"
    "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100);\n";
static const char config[] = "domains:\n"
                             "  users: {table: users, tenant: none}\n"
                             "  parts: {table: parts, tenant: none}\n";

/* Another daemon: an instance with a data folder of its own. */
struct daemon {
    struct poly_instance *instance;
    struct poly_session *session;
};

static struct fixture one;
static struct daemon other;

static int make(void **state)
{
    struct poly_session_options all = {.rights = POLY_RIGHTS_ALL, .principal = "other"};
    char data[120], text[2048];
    struct poly_options options = {.data = data, .config_text = text};
    struct poly_error err;

    fixture_make(&one);
    fixture_migration(&one, "0001_tables.sql", tables);
    fixture_open(&one, config);
    fixture_migrate(&one);
    snprintf(data, sizeof(data), "%s/other", one.folder);
    snprintf(text, sizeof(text), "stores: {relational: {driver: postgresql, url: '%s'}}\n%s",
             one.url, config);
    assert_ok(poly_open(&options, &other.instance, &err));
    assert_ok(poly_session_open(other.instance, &all, &other.session, &err));
    *state = &one;
    return 0;
}

/* Who looks often. */
static int setup(void **state)
{
    atomic_store(&poly_control_refresh, 50000);
    return make(state);
}

/* Nobody tells, nobody looks: the request itself finds out. */
static int setup_alone(void **state)
{
    atomic_store(&poly_control_refresh, 3600000000);
    atomic_store(&poly_control_told, false);
    return make(state);
}

static int setup_told(void **state)
{
    atomic_store(&poly_control_refresh, 3600000000);
    return make(state);
}

static int teardown(void **state)
{
    atomic_store(&poly_control_told, true);
    poly_session_close(other.session);
    poly_close(other.instance);
    fixture_remove(*state);
    return 0;
}

/* --- what there is --- */

static long number(const char *sql)
{
    PGconn *conn = PQconnectdb(one.url);
    PGresult *result = PQexec(conn, sql);
    long value;

    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(conn));
    value = strtol(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    PQfinish(conn);
    return value;
}

static void wait_for(const char *sql, long wanted)
{
    for (int i = 0; i < 12000; i++) {
        if (number(sql) == wanted)
            return;
        usleep(5000);
    }
    fail_msg("for a minute not %ld: %s", wanted, sql);
}

/* Whether psql can. */
static bool try_foreign(const char *sql)
{
    PGconn *conn = PQconnectdb(one.url);
    PGresult *result = PQexec(conn, sql);
    bool done = PQresultStatus(result) == PGRES_COMMAND_OK;

    PQclear(result);
    PQfinish(conn);
    return done;
}

static const char *problem(struct poly_session *session, const char *domain)
{
    struct poly_status_report report;
    struct poly_error err;

    assert_ok(poly_status_read(session, &report, &err));
    for (size_t i = 0; i < report.domain_count; i++) {
        if (strcmp(report.domains[i].name.data, domain) == 0)
            return report.domains[i].problem.data;
    }
    fail_msg("no domain %s", domain);
    return NULL;
}

/* At the one that has found it. */
static void wait_for_problem(const char *domain, const char *words)
{
    for (int i = 0; i < 12000; i++) {
        bool there = strstr(problem(one.admin, domain), words) != NULL ||
                     strstr(problem(other.session, domain), words) != NULL;

        poly_session_reset(one.admin);
        poly_session_reset(other.session);
        if (there)
            return;
        usleep(5000);
    }
    fail_msg("for a minute not '%s'", words);
}

#define LOGGED(domain, key)                                                                        \
    "SELECT count(*) FROM poly.log WHERE domain = '" domain "' AND key = '" key "'"

/* --- another daemon's migration --- */

static void migrate(int number, const char *sql)
{
    char name[40];

    snprintf(name, sizeof(name), "%04d_step.sql", number);
    fixture_migration(&one, name, sql);
    fixture_migrate(&one);
}

static int64_t integer(struct poly_session *session, const char *key, const char *column)
{
    struct poly_document document;
    struct poly_error err;

    assert_ok(poly_get(session, "users", key, &document, &err));
    return field(&document.row, column)->integer;
}

/* At once, and whoever is asked, whether it has been told or not. */
static void migrated(void)
{
    struct poly_list_query query = {.domain = "users", .order = "level", .limit = 10};
    struct poly_session *a = one.admin, *b = other.session;
    struct poly_document document;
    struct poly_page page;
    struct poly_error err;

    migrate(2, "ALTER TABLE users ADD COLUMN level INTEGER DEFAULT 5");
    assert_int_equal(integer(b, "a", "level"), 5);
    migrate(3, "ALTER TABLE users ADD COLUMN extra INTEGER");
    assert_ok(put_row(b, "users", "c", ROW({"level", poly_int(6)}, {"extra", poly_int(7)}), 0, NULL,
                      &err));
    assert_int_equal(integer(a, "c", "extra"), 7);
    migrate(4, "ALTER TABLE users RENAME COLUMN extra TO spare");
    assert_ok(poly_list(b, &query, &page, &err));
    assert_int_equal(page.count, 3);
    assert_int_equal(field(&page.documents[2].row, "spare")->integer, 7);
    migrate(5, "ALTER TABLE users ADD COLUMN fresh INTEGER DEFAULT 1");
    query.order = "fresh";
    assert_ok(poly_list(b, &query, &page, &err));

    /* A put that knows nothing of the new column sets it back all the same. */
    migrate(6, "ALTER TABLE users ADD COLUMN last INTEGER DEFAULT 8");
    assert_ok(put_row(a, "users", "a", ROW({"last", poly_int(9)}), POLY_ANY, NULL, &err));
    assert_ok(put_row(b, "users", "a",
                      ROW({"name", poly_str("B")}, {"age", poly_int(1)}, {"level", poly_int(1)},
                          {"spare", poly_int(1)}, {"fresh", poly_int(1)}),
                      POLY_ANY, NULL, &err));
    assert_int_equal(integer(a, "a", "last"), 8);

    migrate(7, "ALTER TABLE users DROP COLUMN last; ALTER TABLE users ALTER age TYPE NUMERIC(9,2)");
    assert_ok(put_row(b, "users", "d", ROW({"age", poly_str("1.25")}), 0, NULL, &err));
    assert_ok(poly_get(a, "users", "d", &document, &err));
    assert_string_equal(field(&document.row, "age")->text.data, "1.25");
    assert_fails(put_row(b, "users", "d", ROW({"last", poly_int(1)}), POLY_ANY, NULL, &err),
                 POLY_INVALID);
    assert_message("has no column 'last'");
    assert_string_equal(problem(b, "users"), "");
}

static void told(void **state)
{
    (void)state;
    migrated();
}

static void not_told(void **state)
{
    (void)state;
    migrated();
}

/* Told, it knows before anybody asks. */
static void told_before_anybody_asks(void **state)
{
    const struct poly_relational *relational = poly_instance_relational(other.instance);
    const struct poly_schema *before = atomic_load(&relational->schema);

    (void)state;
    migrate(2, "ALTER TABLE users ADD COLUMN level INTEGER DEFAULT 5");
    for (int i = 0; i < 12000 && atomic_load(&relational->schema) == before; i++)
        usleep(5000);
    assert_ptr_not_equal(atomic_load(&relational->schema), before);
    assert_int_equal(atomic_load(&relational->schema)->tables[0]->column_count, 4);
}

/* --- while requests run --- */

struct client {
    pthread_t thread;
    int number;
    long done;
    char failure[600];
};

static _Atomic bool stop;

static bool ask(struct client *client, struct poly_session *session, long n)
{
    struct poly_list_query query = {.domain = "users", .limit = 5};
    struct poly_document document;
    struct poly_page page;
    struct poly_error err;
    enum poly_status status;
    char key[32];

    snprintf(key, sizeof(key), "k%d", client->number);
    status = put_row(session, "users", key, ROW({"name", poly_str("x")}, {"age", poly_int(n)}),
                     POLY_ANY, NULL, &err);
    if (status == POLY_OK)
        status = poly_get(session, "users", key, &document, &err);
    if (status == POLY_OK && field(&document.row, "age")->integer != n)
        status = poly_fail(&err, POLY_INTERNAL, "not what was written");
    if (status == POLY_OK)
        status = poly_list(session, &query, &page, &err);
    if (status != POLY_OK)
        snprintf(client->failure, sizeof(client->failure), "%s: %s", poly_status_name(status),
                 err.message);
    return status == POLY_OK;
}

static void *work(void *arg)
{
    struct client *client = arg;
    struct poly_session_options all = {.rights = POLY_RIGHTS_ALL};
    struct poly_session *session;
    struct poly_error err;

    if (poly_session_open(other.instance, &all, &session, &err) != POLY_OK)
        return NULL;
    while (!atomic_load(&stop) && ask(client, session, client->done)) {
        client->done++;
        poly_session_reset(session);
    }
    poly_session_close(session);
    return NULL;
}

static void under_load(void **state)
{
    struct client clients[3];

    (void)state;
    atomic_store(&stop, false);
    for (int i = 0; i < 3; i++) {
        clients[i] = (struct client){.number = i};
        assert_int_equal(pthread_create(&clients[i].thread, NULL, work, &clients[i]), 0);
    }
    for (int i = 0; i < 8; i++) {
        char sql[200];

        snprintf(sql, sizeof(sql), "ALTER TABLE users ADD COLUMN c%d INTEGER DEFAULT %d;%s", i, i,
                 i % 2 == 0 ? ""
                            : "ALTER TABLE users DROP COLUMN c0;"
                              "ALTER TABLE users ADD COLUMN c0 TEXT");
        migrate(2 + i, sql);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 3; i++) {
        pthread_join(clients[i].thread, NULL);
        assert_string_equal(clients[i].failure, "");
        assert_true(clients[i].done > 0);
    }
    assert_string_equal(problem(other.session, "users"), "");
}

/* --- by psql --- */

static void altered(void **state)
{
    struct poly_session *sessions[] = {one.admin, other.session};
    struct poly_document document;
    struct poly_error err;

    (void)state;
    fixture_foreign(&one, "ALTER TABLE users ADD COLUMN level INTEGER");
    for (int i = 0; i < 2; i++) {
        assert_ok(put_row(sessions[i], "users", i == 0 ? "x" : "y", ROW({"level", poly_int(4)}), 0,
                          NULL, &err));
        assert_ok(poly_get(sessions[i], "users", "x", &document, &err));
        assert_int_equal(field(&document.row, "level")->integer, 4);
    }
    fixture_head(&one);
    assert_int_equal(number("SELECT count(*) FROM poly.log WHERE domain = 'users' AND key IN"
                            " ('x', 'y') AND data->>'level' = '4'"),
                     2);
    assert_non_null(strstr(problem(one.admin, "users"), "did not fit table 'users'"));

    fixture_foreign(&one, "ALTER TABLE users DROP COLUMN age");
    assert_false(try_foreign("INSERT INTO users(id) VALUES ('psql')"));
    assert_ok(put_row(one.admin, "users", "z", ROW({"level", poly_int(1)}), 0, NULL, &err));
    assert_true(try_foreign("INSERT INTO users(id) VALUES ('psql')"));
    assert_int_equal(number(LOGGED("users", "psql")), 1);
    assert_ok(poly_get(other.session, "users", "z", &document, &err));
    assert_int_equal(document.row.count, 3);
}

/* Nobody asks: it is noticed all the same. */
static void a_column_dropped(void **state)
{
    (void)state;
    fixture_foreign(&one, "ALTER TABLE users DROP COLUMN age");
    for (int i = 0; i < 12000 && !try_foreign("INSERT INTO users(id) VALUES ('psql')"); i++)
        usleep(5000);
    assert_int_equal(number(LOGGED("users", "psql")), 1);
    wait_for_problem("users", "did not fit table 'users'");
}

static void triggers_gone(void **state)
{
    static const char *const sql[] = {
        "DROP TRIGGER poly_users_insert ON users; INSERT INTO users VALUES ('t0', 'x', 1)",
        "ALTER TABLE users DISABLE TRIGGER poly_users_insert;"
        "INSERT INTO users VALUES ('t1', 'x', 1)",
        "ALTER TABLE users DISABLE TRIGGER ALL; DELETE FROM users WHERE id = 't0';"
        "UPDATE users SET name = 'later' WHERE id = 't1'",
        "DROP TRIGGER poly_users_insert ON users; DROP TRIGGER poly_users_update ON users;"
        "DROP TRIGGER poly_users_delete ON users; DROP TRIGGER poly_users_truncate ON users;"
        "INSERT INTO users VALUES ('t3', 'x', 1)",
    };
    static const char *const seen[] = {
        LOGGED("users", "t0"),
        LOGGED("users", "t1"),
        LOGGED("users", "t0") " AND type = '$delete'",
        LOGGED("users", "t3"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof(sql) / sizeof(sql[0]); i++) {
        fixture_foreign(&one, sql[i]);
        wait_for(seen[i], 1);
        wait_for("SELECT count(*) FROM pg_trigger WHERE tgrelid = 'users'::regclass"
                 " AND tgname LIKE 'poly\\_%' AND tgenabled = 'A'",
                 4);
    }
    assert_int_equal(number(LOGGED("users", "t1")), 2);
    wait_for_problem("users", "changes that the log had missed were written to it");
    assert_int_equal(number(LOGGED("users", "a")), 1); /* of what it had, nothing again */
}

static void a_partition_attached(void **state)
{
    (void)state;
    fixture_foreign(&one,
                    "CREATE TABLE parts_2(LIKE parts INCLUDING ALL);"
                    "INSERT INTO parts_2 VALUES (101, 'before');"
                    "ALTER TABLE parts ATTACH PARTITION parts_2 FOR VALUES FROM (100) TO (200)");
    wait_for(LOGGED("parts", "101"), 1);
    wait_for("SELECT count(*) FROM pg_trigger WHERE tgrelid = 'parts_2'::regclass"
             " AND tgname LIKE 'poly\\_%' AND tgenabled = 'A'",
             4);
    fixture_foreign(&one, "INSERT INTO parts_2 VALUES (102, 'directly')");
    assert_int_equal(number(LOGGED("parts", "102")), 1);
}

static void a_table_made_again(void **state)
{
    struct poly_document document;
    struct poly_error err;

    (void)state;
    fixture_foreign(&one, "DROP TABLE users");
    assert_fails(poly_get(other.session, "users", "a", &document, &err), POLY_UNAVAILABLE);
    assert_message("does not exist");
    wait_for_problem("users", "does not exist");
    fixture_foreign(&one, "CREATE TABLE users(id TEXT PRIMARY KEY, other TEXT)");
    assert_ok(put_row(other.session, "users", "a", ROW({"other", poly_str("x")}), 0, NULL, &err));
    assert_ok(poly_get(one.admin, "users", "a", &document, &err));
    assert_string_equal(field(&document.row, "other")->text.data, "x");
}

/* Somebody has the table for long: it is put right as soon as he lets go. */
static void a_table_held(void **state)
{
    PGconn *holder = PQconnectdb(one.url);
    struct poly_error err;

    (void)state;
    PQclear(PQexec(holder, "BEGIN; INSERT INTO users VALUES ('held', 'x', 1)"));
    assert_int_equal(PQtransactionStatus(holder), PQTRANS_INTRANS);
    fixture_foreign(&one, "ALTER TABLE parts ADD COLUMN level INTEGER");
    assert_ok(put_row(other.session, "parts", "5", ROW({"level", poly_int(1)}), 0, NULL, &err));
    PQclear(PQexec(holder, "COMMIT"));
    PQfinish(holder);
    fixture_foreign(&one, "ALTER TABLE users DROP COLUMN age");
    assert_ok(put_row(other.session, "users", "new", ROW({"name", poly_str("x")}), 0, NULL, &err));
}

/* --- collections --- */

static bool has_applied(uint64_t position)
{
    struct poly_status_report report;
    struct poly_error err;
    bool done = false;

    assert_ok(poly_status_read(other.session, &report, &err));
    for (size_t i = 0; i < report.projection_count; i++)
        done = done || (strcmp(report.projections[i].store.data, "vector") == 0 &&
                        report.projections[i].applied >= position);
    poly_session_reset(other.session);
    return done;
}

/* And the other one's follower has met that record. */
static void make_notes(const char *metric, const char *key)
{
    const struct poly_vector_collection notes = {
        .name = "notes", .dimensions = 2, .metric = metric};
    struct poly_result result;
    struct poly_error err;

    assert_ok(poly_vector_create(one.admin, &notes, NULL, &err));
    assert_ok(put_row(one.admin, "notes", key, ROW({"embedding", poly_json("[1, 0]")}), POLY_ANY,
                      &result, &err));
    for (int i = 0; i < 12000 && !has_applied(result.version); i++)
        usleep(5000);
    assert_true(has_applied(result.version));
}

static void finds(const char *key)
{
    static const float east[] = {1, 0};
    static const char *const notes[] = {"notes", NULL};
    const struct poly_vector_query query = {.domains = notes, .vector = east, .dimensions = 2};
    struct poly_matches matches;
    struct poly_error err;

    assert_ok(poly_vector_search(other.session, &query, &matches, &err));
    assert_int_equal(matches.count, 1);
    assert_string_equal(matches.matches[0].key.data, key);
    poly_session_reset(other.session);
}

/* Whoever follows the log meets records of a later one of a name before he has heard of it, or of
 * the end of the one before: they are not that one's. */
static void a_name_used_again(void **state)
{
    const struct poly_vector_collection first = {.name = "first", .dimensions = 2};
    struct poly_relational *relational = poly_instance_relational(other.instance);
    struct poly_error err;

    (void)state; /* the first one opens the store */
    assert_ok(poly_vector_create(one.admin, &first, NULL, &err));
    poly_postgresql_refresh(relational);
    make_notes("l2", "a");
    poly_postgresql_refresh(relational);
    finds("a");
    assert_ok(poly_vector_drop(one.admin, "notes", &err));
    make_notes("inner", "b");
    poly_postgresql_refresh(relational);
    finds("b");
    assert_ok(poly_vector_drop(one.admin, "notes", &err));
    poly_postgresql_refresh(relational);
    make_notes("l2", "c");
    poly_postgresql_refresh(relational);
    finds("c");
}

/* A vector that was checked by the definition of one before would stop whoever follows the log. */
static void a_vector_for_the_one_before(void **state)
{
    struct poly_vector_collection notes = {.name = "notes", .dimensions = 2};
    struct poly_relational *relational = poly_instance_relational(other.instance);
    struct poly_session *s = other.session;
    struct poly_error err;

    (void)state;
    assert_ok(poly_vector_create(one.admin, &notes, NULL, &err));
    poly_postgresql_refresh(relational);
    assert_ok(
        put_row(s, "notes", "a", ROW({"embedding", poly_json("[1, 0]")}), POLY_ANY, NULL, &err));
    assert_ok(poly_vector_drop(one.admin, "notes", &err));
    notes.dimensions = 3;
    assert_ok(poly_vector_create(one.admin, &notes, NULL, &err));
    assert_fails(
        put_row(s, "notes", "b", ROW({"embedding", poly_json("[1, 0]")}), POLY_ANY, NULL, &err),
        POLY_CONFLICT);
    poly_postgresql_refresh(relational);
    assert_ok(
        put_row(s, "notes", "b", ROW({"embedding", poly_json("[1, 0, 0]")}), POLY_ANY, NULL, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(told, setup_told, teardown),
        cmocka_unit_test_setup_teardown(not_told, setup_alone, teardown),
        cmocka_unit_test_setup_teardown(told_before_anybody_asks, setup_told, teardown),
        cmocka_unit_test_setup_teardown(under_load, setup_told, teardown),
        cmocka_unit_test_setup_teardown(altered, setup_alone, teardown),
        cmocka_unit_test_setup_teardown(a_column_dropped, setup, teardown),
        cmocka_unit_test_setup_teardown(triggers_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_partition_attached, setup, teardown),
        cmocka_unit_test_setup_teardown(a_table_made_again, setup, teardown),
        cmocka_unit_test_setup_teardown(a_table_held, setup, teardown),
        cmocka_unit_test_setup_teardown(a_name_used_again, setup_alone, teardown),
        cmocka_unit_test_setup_teardown(a_vector_for_the_one_before, setup_alone, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
