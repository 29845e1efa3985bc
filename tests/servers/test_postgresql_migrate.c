/* Migrations that are no transaction: S3-31, S3-61, S3-62. Run by tests/servers/with. */
#include <libpq-fe.h>
#include <pthread.h>
#include <unistd.h>

#include "conformance/fixture.h"
#include "stores/relational/postgresql.h"

static const char config[] = "domains:\n  chats: {table: chats, tenant: none}\n";
static const char chats[] = "CREATE TABLE chats(id TEXT PRIMARY KEY, user_id INTEGER, n INTEGER);\n"
                            "CREATE TYPE mood AS ENUM ('good');\n"
                            "INSERT INTO chats SELECT 'c' || i, i % 10, i"
                            " FROM generate_series(1, 1000) AS i;\n";
static const char build[] = "-- Who is looked up.\n-- polystore: no transaction\n"
                            "ALTER TYPE mood ADD VALUE IF NOT EXISTS 'bad';\n"
                            "CREATE INDEX CONCURRENTLY IF NOT EXISTS by_user ON chats(user_id);\n"
                            "SET maintenance_work_mem = '8MB';\n"
                            "ANALYZE chats;\n";

static int setup(void **state)
{
    static struct fixture f;

    fixture_begin(&f, chats, config);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    fixture_remove(*state);
    return 0;
}

/* --- another program --- */

static PGconn *stranger(struct fixture *f, const char *sql)
{
    PGconn *conn = PQconnectdb(f->url);

    assert_int_equal(PQstatus(conn), CONNECTION_OK);
    PQclear(PQexec(conn, sql));
    assert_int_equal(PQtransactionStatus(conn), PQTRANS_INTRANS);
    return conn;
}

static long number(struct fixture *f, const char *sql)
{
    PGconn *conn = PQconnectdb(f->url);
    PGresult *result = PQexec(conn, sql);
    long value;

    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(conn));
    value = PQntuples(result) == 0 ? 0 : strtol(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    PQfinish(conn);
    return value;
}

/* What the query gives, as soon as that is not 0. */
static long wait_for(struct fixture *f, const char *sql)
{
    for (int i = 0; i < 30000; i++) {
        long value = number(f, sql);

        if (value != 0)
            return value;
        usleep(2000);
    }
    fail_msg("for a minute nothing: %s", sql);
    return 0;
}

#define OURS "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
static const char held_up[] = "SELECT pid " OURS " AND query LIKE 'CREATE INDEX CONCURRENTLY%'"
                              " AND wait_event_type = 'Lock'";
static const char rebuild_held_up[] = "SELECT pid " OURS " AND query LIKE 'REINDEX%'"
                                      " AND wait_event_type = 'Lock'";
static const char valid[] = "SELECT count(*) FROM pg_index WHERE indisvalid"
                            " AND indexrelid = to_regclass('by_user')";
static const char invalid[] = "SELECT count(*) FROM pg_index WHERE NOT indisvalid";
static const char snapshot[] = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM chats LIMIT 1";

/* --- a runner --- */

struct runner {
    pthread_t thread;
    struct fixture *f;
    enum poly_status status;
    struct poly_error err;
};

static void *run(void *arg)
{
    struct runner *runner = arg;
    struct poly_session *session = fixture_session(runner->f, NULL, POLY_RIGHTS_ALL);
    struct poly_migrations migrations;

    runner->status = poly_migrate_up(session, NULL, &migrations, &runner->err);
    poly_session_close(session);
    return NULL;
}

static void start(struct runner *runner, struct fixture *f)
{
    *runner = (struct runner){.f = f};
    assert_int_equal(pthread_create(&runner->thread, NULL, run, runner), 0);
}

static enum poly_status end(struct runner *runner)
{
    pthread_join(runner->thread, NULL);
    return runner->status;
}

/* A writer commits while an old snapshot holds the build up; what a cancelled one has left is
 * built anew. */
static void interrupted(void **state)
{
    struct fixture *f = *state;
    PGconn *old = stranger(f, snapshot);
    struct poly_migrations migrations;
    struct poly_document document;
    struct poly_error err;
    struct runner runner;
    char sql[100];
    long pid;

    fixture_migration(f, "0002_by_user.sql", build);
    start(&runner, f);
    pid = wait_for(f, held_up);
    assert_ok(put_row(f->admin, "chats", "new", ROW({"user_id", poly_int(3)}), 0, NULL, &err));
    assert_ok(poly_get(f->admin, "chats", "new", &document, &err));
    assert_int_equal(number(f, invalid), 1);
    snprintf(sql, sizeof(sql), "SELECT pg_cancel_backend(%ld)::int", pid);
    assert_int_equal(number(f, sql), 1);
    assert_int_equal(end(&runner), POLY_TIMEOUT);
    assert_non_null(strstr(runner.err.message, "migration '0002_by_user.sql': line 4:"));
    assert_int_equal(number(f, invalid), 1);
    assert_ok(poly_migrate_status(f->admin, NULL, &migrations, &err));
    assert_int_equal(migrations.pending, 1);

    PQfinish(old);
    fixture_migrate(f);
    assert_int_equal(number(f, invalid), 0);
    assert_int_equal(number(f, valid), 1);
    assert_int_equal(number(f, "SELECT count(*) FROM pg_enum"), 2);
    assert_ok(poly_migrate_status(f->admin, NULL, &migrations, &err));
    assert_int_equal(migrations.pending + migrations.problems, 0);
    assert_int_equal(number(f, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
                               " AND classid = 1886350460"),
                     0);
}

/* A runner that loses its connection in the middle goes on by itself. */
static void connection_lost(void **state)
{
    struct fixture *f = *state;
    PGconn *old = stranger(f, snapshot);
    struct runner runner;
    char sql[100];

    fixture_migration(f, "0002_by_user.sql", build);
    start(&runner, f);
    snprintf(sql, sizeof(sql), "SELECT pg_terminate_backend(%ld)::int", wait_for(f, held_up));
    assert_int_equal(number(f, sql), 1);
    wait_for(f, "SELECT count(*) " OURS " AND query LIKE 'DROP INDEX CONCURRENTLY%'"
                " AND wait_event_type = 'Lock'");
    PQfinish(old);
    if (end(&runner) != POLY_OK)
        fail_msg("%s", runner.err.message);
    assert_int_equal(number(f, invalid), 0);
    assert_int_equal(number(f, valid), 1);
}

/* What REINDEX leaves has another name. */
static void rebuilt(void **state)
{
    struct fixture *f = *state;
    struct runner runner;
    PGconn *old;
    char sql[100];

    fixture_migration(f, "0002_by_user.sql", build);
    fixture_migrate(f);
    fixture_migration(f, "0003_anew.sql",
                      "-- polystore: no transaction\n"
                      "REINDEX INDEX CONCURRENTLY by_user;\n"
                      "REINDEX TABLE CONCURRENTLY public.\"chats\"; VACUUM chats;\n"
                      "DROP INDEX CONCURRENTLY IF EXISTS nothing");
    old = stranger(f, snapshot);
    start(&runner, f);
    snprintf(sql, sizeof(sql), "SELECT pg_cancel_backend(%ld)::int", wait_for(f, rebuild_held_up));
    assert_int_equal(number(f, sql), 1);
    assert_int_equal(end(&runner), POLY_TIMEOUT);
    assert_int_equal(number(f, invalid), 1);
    PQfinish(old);
    fixture_migrate(f);
    assert_int_equal(number(f, invalid), 0);
    assert_int_equal(number(f, "SELECT count(*) FROM pg_class WHERE relname ~ '_cc(new|old)'"), 0);
    assert_int_equal(number(f, valid), 1);
}

/* An index that somebody else is building is not taken for one that was left. */
static void built_by_another(void **state)
{
    struct fixture *f = *state;
    PGconn *old = stranger(f, snapshot), *other = PQconnectdb(f->url);
    struct runner runner;
    PGresult *result;

    assert_int_equal(PQsendQuery(other, "CREATE INDEX CONCURRENTLY by_user ON chats(user_id)"), 1);
    wait_for(f, held_up);
    fixture_migration(f, "0002_by_user.sql", build);
    start(&runner, f);
    wait_for(f, "SELECT count(*) " OURS " AND query LIKE 'LOCK TABLE%'"
                " AND wait_event_type = 'Lock'");
    PQfinish(old);
    if (end(&runner) != POLY_OK)
        fail_msg("%s", runner.err.message);
    result = PQgetResult(other);
    assert_int_equal(PQresultStatus(result), PGRES_COMMAND_OK);
    PQclear(result);
    PQfinish(other);
    assert_int_equal(number(f, valid), 1);
}

/* The second runner waits. A build waits for all who have an older snapshot; who waits with one
 * for what the builder has, waits for ever, and the server ends one of the two. */
static void two_runners(struct fixture *f, const char *waits, long deadlocks)
{
    PGconn *writer = stranger(f, "BEGIN; INSERT INTO chats VALUES ('open', 1, 1)");
    struct runner one, other;

    fixture_migration(f, "0002_by_user.sql", build);
    start(&one, f);
    wait_for(f, held_up);
    start(&other, f);
    wait_for(f, waits);
    PQclear(PQexec(writer, "COMMIT"));
    PQfinish(writer);
    if (end(&one) != POLY_OK || end(&other) != POLY_OK)
        fail_msg("%s %s", one.err.message, other.err.message);
    assert_int_equal(number(f, invalid), 0);
    assert_int_equal(number(f, valid), 1);
    if (deadlocks > 0)
        wait_for(f, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()");
    else
        assert_int_equal(number(f, "SELECT deadlocks FROM pg_stat_database"
                                   " WHERE datname = current_database()"),
                         0);
}

static void runners(void **state)
{
    two_runners(*state, "SELECT count(*) " OURS " AND query LIKE '%pg_try_advisory_lock%'", 0);
}

static void runners_without_turns(void **state)
{
    atomic_store(&poly_control_turn, false);
    two_runners(*state,
                "SELECT count(*) " OURS " AND query LIKE '%pg_advisory_lock%'"
                " AND wait_event_type = 'Lock'",
                1);
    atomic_store(&poly_control_turn, true);
}

static void refused(struct fixture *f, const char *sql, enum poly_status status, const char *words)
{
    struct poly_migrations migrations;
    struct poly_error err;

    fixture_migration(f, "0002_x.sql", sql);
    assert_int_equal(poly_migrate_up(f->admin, NULL, &migrations, &err), status);
    assert_message(words);
    assert_int_equal(number(f, "SELECT count(*) FROM chats"), 1000);
    assert_int_equal(number(f, "SELECT count(*) FROM pg_indexes WHERE indexname LIKE 'x%'"), 0);
}

/* Nothing of a file runs that has a statement which does not belong there. */
static void refusals(void **state)
{
    static const char *const no[] = {
        "DELETE FROM chats",
        "CREATE INDEX x2 ON chats(n)",
        "CREATE INDEX CONCURRENTLY x2 ON chats(n)",
        "CREATE INDEX CONCURRENTLY ON chats(n)",
        "DROP INDEX CONCURRENTLY by_user",
        "DROP INDEX IF EXISTS by_user",
        "REINDEX TABLE chats",
        "ALTER TYPE mood ADD VALUE 'worse'",
        "ALTER TABLE chats ADD COLUMN x2 INTEGER",
        "DROP TRIGGER poly_chats_insert ON chats",
        "SET session_replication_role = replica",
        "SELECT 1",
        "DO $$BEGIN DELETE FROM chats; END$$",
        "COMMIT",
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
        char sql[300];

        snprintf(sql, sizeof(sql),
                 "-- polystore: no transaction\n"
                 "CREATE INDEX CONCURRENTLY IF NOT EXISTS x1 ON chats(n);\n%s;",
                 no[i]);
        refused(f, sql, POLY_DENIED, "line 3: in a file that is no transaction");
    }
    refused(f, "-- polystore: no transaction\nVACUUM 'x", POLY_INVALID, "no end");
    refused(f, "-- polystore: no transacton\nSELECT 1;", POLY_INVALID,
            "'no transacton' is nothing");
    refused(f, "CREATE INDEX CONCURRENTLY x1 ON chats(n);", POLY_INVALID,
            "begins with '-- polystore: no transaction'");
    refused(f, "-- polystore: no transaction\nANALYZE nowhere;", POLY_INVALID, "line 2:");
}

/* A unique index that the rows do not allow: said, and built as soon as they do. */
static void not_unique(void **state)
{
    struct fixture *f = *state;

    refused(f,
            "-- polystore: no transaction\n"
            "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS \"Only\" ON ONLY chats(user_id)",
            POLY_INVALID, "line 2:");
    assert_int_equal(number(f, invalid), 1);
    fixture_foreign(f, "UPDATE chats SET user_id = n");
    fixture_migrate(f);
    assert_int_equal(number(f, invalid), 0);
    assert_int_equal(number(f, "SELECT count(*) FROM pg_indexes WHERE indexname = 'Only'"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(interrupted, setup, teardown),
        cmocka_unit_test_setup_teardown(connection_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(rebuilt, setup, teardown),
        cmocka_unit_test_setup_teardown(built_by_another, setup, teardown),
        cmocka_unit_test_setup_teardown(runners, setup, teardown),
        cmocka_unit_test_setup_teardown(runners_without_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(not_unique, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
