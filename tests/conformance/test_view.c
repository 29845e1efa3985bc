/*
 * Materialised views: what the query gives, when something has changed, and nothing when not.
 * Requirements S4-50, S4-51. Nothing here waits by a clock: a refresh that is to happen is waited
 * for, and that none happens is seen by forcing one and counting.
 */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stores/relational/postgresql.h"
#include "views.h"

static void refresh(struct fixture *f, const char *name)
{
    struct poly_error err;

    assert_ok(poly_view_refresh(f->admin, name, &err));
}

static void follows_changes(void **state)
{
    struct fixture *f = *state;
    struct poly_view_status view;
    struct poly_session *session;
    struct poly_error err;

    fixture_open(f, config);
    fixture_migrate(f);
    assert_string_equal(query(f->admin, per_day), "a mon 2 y | b tue 1 z | ");
    view = settled(f, "per_day");
    assert_int_equal(view.state, POLY_STATE_OK);
    assert_true(view.within);
    assert_int_equal(view.staleness_us, 100000);
    assert_true(view.refreshes > 0 && view.refreshed > 0);
    put(f, "a", 3, "tue", "w");  /* a row more */
    put(f, "a", 1, "mon", "zz"); /* one that is another */
    session = fixture_session(f, "b", POLY_RIGHTS_ALL);
    assert_ok(remove_row(session, "messages", "1", POLY_ANY, &err)); /* one less */
    poly_session_close(session);
    view = settled(f, "per_day");
    assert_string_equal(query(f->admin, per_day), "a mon 2 zz | a tue 1 w | ");
    assert_int_equal(view.position, fixture_head(f));
    settled(f, "totals");
    assert_string_equal(query(f->admin, "SELECT n FROM totals"), "3 | ");
    /* of which no column is read */
    put(f, "a", 4, "tue", "v");
    settled(f, "totals");
    assert_string_equal(query(f->admin, "SELECT n FROM totals"), "4 | ");
    settled(f, "per_day");
    /* another program's, that knows nothing of views */
    fixture_foreign(f, "INSERT INTO messages VALUES ('c', 9, 'wed', 'foreign')");
    fixture_head(f);
    settled(f, "per_day");
    assert_string_equal(query(f->admin, per_day), "a mon 2 zz | a tue 2 w | c wed 1 foreign | ");
}

/* Refreshes are counted: none without a change, none for changes of what is not read. */
static void nothing_changed(void **state)
{
    struct fixture *f = *state;
    uint64_t days, lengths;
    struct poly_error err;

    fixture_open(f, config);
    fixture_migrate(f);
    settled(f, "per_day");
    settled(f, "lengths");
    days = look(f, "per_day").refreshes;
    lengths = look(f, "lengths").refreshes;
    for (int i = 0; i < 3; i++) {
        uint64_t before = look(f, "lengths").refreshes;

        assert_ok(put_row(f->admin, "notes", "n", ROW({"text", poly_str(i % 2 ? "a" : "bb")}),
                          POLY_ANY, NULL, &err));
        settled(f, "lengths");
        assert_true(look(f, "lengths").refreshes > before);
    }
    /* The thread that has just looked after lengths has looked at per_day as often. */
    assert_int_equal(look(f, "per_day").refreshes, days);
    assert_int_equal(look(f, "per_day").position, fixture_head(f));
    lengths = look(f, "lengths").refreshes;
    put(f, "a", 5, "sun", "q");
    settled(f, "per_day");
    assert_int_equal(look(f, "lengths").refreshes, lengths);
    fixture_close(f);
    /* Neither does a start refresh anything. */
    days = 0;
    fixture_open(f, config);
    settled(f, "per_day");
    refresh(f, "totals");
    assert_int_equal(look(f, "lengths").refreshes, lengths);
    assert_string_equal(query(f->admin, "SELECT n FROM per_day WHERE day = 'sun'"), "1 | ");
    refresh(f, "lengths"); /* asked for, it happens all the same */
    assert_int_equal(look(f, "lengths").refreshes, lengths + 1);
}

/* A thousand changes are not a thousand refreshes, and the last one is covered. */
static void bursts(void **state)
{
    struct fixture *f = *state;
    uint64_t before;
    int64_t began;

    fixture_open(f, config);
    fixture_migrate(f);
    settled(f, "per_day");
    before = look(f, "per_day").refreshes;
    began = look(f, "per_day").refreshed;
    for (int i = 0; i < 1000; i++)
        put(f, "z", i, "fri", "burst");
    struct poly_view_status view = settled(f, "per_day");

    assert_string_equal(query(f->admin, "SELECT n FROM per_day WHERE tenant = 'z'"), "1000 | ");
    /* At most one each half bound, of the time that it took. */
    assert_true(view.refreshes - before <= (uint64_t)(view.refreshed - began) / 50000 + 2);
    assert_true(view.refreshes > before);
}

static void needs_tenants(void)
{
    if (tenants_sql)
        return;
    printf("skipped: SQL of tenants (the server is somebody else's)\n");
    skip();
}

static void tenants(void **state)
{
    needs_tenants();
    struct fixture *f = *state;
    struct poly_session *session, *none;

    fixture_open(f, config);
    fixture_migrate(f);
    session = fixture_session(f, "a", POLY_RIGHT_READ | POLY_RIGHT_SQL);
    assert_string_equal(query(session, per_day), "a mon 2 y | ");
    assert_string_equal(query(session, "SELECT count(*) AS n FROM per_day WHERE tenant = 'b'"),
                        "0 | ");
    assert_string_equal(query(session, "SELECT p.tenant FROM per_day p, messages m"
                                       " WHERE m.day = p.day ORDER BY 1"),
                        "a | a | ");
    /* No tenant declared: for nobody who has one. */
    assert_non_null(strstr(query(session, "SELECT * FROM totals"), "totals"));
    assert_non_null(strstr(query(session, "SELECT * FROM lengths"), "lengths"));
    assert_non_null(strstr(query(session, "SELECT count(*) FROM totals"), "totals"));
    put(f, "a", 3, "tue", "w");
    settled(f, "per_day");
    assert_string_equal(query(session, per_day), "a mon 2 y | a tue 1 w | ");
    poly_session_close(session);
    none = fixture_session(f, NULL, POLY_RIGHT_READ | POLY_RIGHT_SQL);
    assert_null(strstr(query(none, per_day), "y |"));
    assert_non_null(strstr(query(none, "SELECT * FROM totals"), "totals"));
    if (fixture_supports(f, "views-without-tenants"))
        assert_string_equal(query(none, "SELECT id, size FROM lengths"), "n 4 | ");
    else
        assert_non_null(strstr(query(none, "SELECT id, size FROM lengths"), "lengths"));
    poly_session_close(none);
}

/* What would show a tenant the rows of another, and does once the wall is down. */
static const char *const attacks[] = {
    "SELECT last FROM per_day",
    "SELECT last FROM per_day WHERE tenant = 'b' OR 1 = 1",
    "SELECT max(last) FROM per_day",
    "SELECT last FROM (SELECT * FROM per_day) AS x",
    "WITH x AS (SELECT * FROM per_day) SELECT last FROM x",
    "SELECT a.last FROM notes LEFT JOIN per_day AS a ON true",
    "SELECT (SELECT max(last) FROM per_day)",
    "SELECT last FROM per_day UNION SELECT last FROM per_day",
};
static const char *const attacks_embedded[] = {
    "SELECT last FROM main.per_day",
    "WITH per_day AS (SELECT * FROM main.per_day) SELECT last FROM per_day",
    "WITH per_day(last) AS (SELECT last FROM main.per_day) SELECT * FROM temp.per_day, per_day",
};
static const char *const attacks_server[] = {
    "SELECT last FROM public.per_day",
    "SELECT last FROM poly.view_per_day",
    "SELECT last FROM \"poly\".\"view_per_day\"",
};

/* Rows of 'b' have 'z'. */
static int seen(struct poly_session *session, const char *const *list, size_t count)
{
    int found = 0;

    for (size_t i = 0; i < count; i++)
        found += strstr(query(session, list[i]), "z |") != NULL;
    return found;
}

#define SEEN(session, list) seen(session, list, sizeof(list) / sizeof((list)[0]))

static void the_wall_holds(void **state)
{
    needs_tenants();
    struct fixture *f = *state;
    struct poly_session *session;

    fixture_open(f, config);
    fixture_migrate(f);
    session = fixture_session(f, "a", POLY_RIGHT_READ | POLY_RIGHT_SQL);
    assert_int_equal(SEEN(session, attacks), 0);
    assert_int_equal(SEEN(session, attacks_embedded), 0);
    assert_int_equal(SEEN(session, attacks_server), 0);
    /* Controls: they are attacks. */
    atomic_store(fixture_on_server() ? &poly_control_role : &poly_control_wall, false);
    assert_int_equal(SEEN(session, attacks), sizeof(attacks) / sizeof(attacks[0]));
    assert_true(fixture_on_server() ? SEEN(session, attacks_server) > 0
                                    : SEEN(session, attacks_embedded) > 0);
    atomic_store(fixture_on_server() ? &poly_control_role : &poly_control_wall, true);
    assert_int_equal(SEEN(session, attacks), 0);
    poly_session_close(session);
}

/* Views are Polystore's to write, and its name is not to be taken. */
static void nobody_else_writes(void **state)
{
    struct fixture *f = *state;
    struct poly_error err;

    fixture_open(f, config);
    fixture_migrate(f);
    assert_true(run_sql(f->admin, "DELETE FROM per_day", &err) != POLY_OK);
    assert_message("view");
    assert_true(run_sql(f->admin, "UPDATE lengths SET size = 1", &err) != POLY_OK);
    assert_message("view");
    if (!fixture_on_server()) {
        struct poly_migrations migrations;

        /* What another program has done there, the next refresh undoes. */
        fixture_foreign(f, "UPDATE per_day SET n = 99; DELETE FROM per_day WHERE tenant = 'b';"
                           "INSERT INTO per_day VALUES ('x', 'y', 1, 'z')");
        refresh(f, "per_day");
        fixture_migration(f, "0002_x.sql", "DROP TABLE per_day");
        assert_fails(poly_migrate_up(f->admin, NULL, &migrations, &err), POLY_DENIED);
        assert_message("changed in the configuration");
    }
    assert_string_equal(query(f->admin, per_day), "a mon 2 y | b tue 1 z | ");
}

/* Another definition: built anew. None: dropped, and only what is ours. */
static void definitions(void **state)
{
    struct fixture *f = *state;

    fixture_open(f, config);
    fixture_migrate(f);
    fixture_close(f);
    fixture_open(f, DOMAINS "views:\n"
                            "  per_day: {query: 'SELECT tenant, day, 7 AS seven FROM messages"
                            " GROUP BY tenant, day', key: [tenant, day]}\n");
    refresh(f, "per_day");
    assert_string_equal(query(f->admin, "SELECT * FROM per_day ORDER BY 1"),
                        "a mon 7 | b tue 7 | ");
    assert_non_null(strstr(query(f->admin, "SELECT * FROM lengths"), "lengths"));
    fixture_close(f);
    fixture_open(f, DOMAINS);
    assert_non_null(strstr(query(f->admin, "SELECT * FROM per_day"), "per_day"));
    assert_string_equal(query(f->admin, "SELECT count(*) AS n FROM notes"), "1 | ");
    fixture_foreign(f, "CREATE TABLE per_day(a INTEGER); INSERT INTO per_day VALUES (5)");
    fixture_close(f);
    /* Somebody else's table stays as it is, and the status says so. */
    fixture_open(f, config);
    struct poly_error err;

    assert_true(poly_view_refresh(f->admin, "per_day", &err) != POLY_OK);
    assert_int_equal(look(f, "per_day").state, POLY_STATE_RETRYING);
    assert_non_null(strstr(look(f, "per_day").error.data, "has not made"));
    assert_string_equal(query(f->admin, "SELECT a FROM per_day"), "5 | ");
}

static const struct {
    const char *view, *message;
} broken[] = {
    {"query: SELECT nowhere FROM messages, key: [nowhere]", "nowhere"},
    {"query: 'SELECT day, count(*) AS n FROM messages GROUP BY day', key: [dya]",
     "has no column 'dya', which 'key' names"},
    {"query: 'SELECT day, body FROM messages', key: [day]", "the same key"},
    {"query: 'SELECT day, count(*) AS n FROM messages GROUP BY day', key: [day], tenant: tenant",
     "has no column 'tenant', which 'tenant' names"},
    {"query: 'SELECT 1 AS n, 2 AS N', key: [n]", "n"},
    {"query: 'SELECT id, body FROM messages, others', key: [id]", "others"},
    {"query: 'SELECT name FROM loose', key: [name]", "loose', which is no domain's table"},
    {"query: 'SELECT count(*) AS n FROM loose', key: [n]", "loose', which is no domain's table"},
    {"query: 'SELECT id FROM poly_log', key: [id]", "poly"},
    {"query: 'WITH x AS (DELETE FROM notes RETURNING id) SELECT id FROM x', key: [id]", ""},
    {"query: 'SELECT id, ?1 AS x FROM notes', key: [id]", "parameters"},
    {"query: 'SELECT text, id FROM nulls', key: [text]", "null"},
};

/* What cannot run says why, does not stop the start, and recovers when it can. */
static void failures(void **state)
{
    struct fixture *f = *state;
    struct poly_error err;
    char text[1000];

    fixture_migration(
        f, "0002_loose.sql",
        "CREATE TABLE loose(name TEXT); CREATE TABLE nulls(id TEXT PRIMARY KEY, text TEXT);"
        "INSERT INTO nulls VALUES ('a', 'b'), ('c', NULL)");
    fixture_open(f, DOMAINS "  nulls: {table: nulls, tenant: none}\n");
    fixture_migrate(f);
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        fixture_close(f);
        snprintf(text, sizeof(text),
                 DOMAINS "  nulls: {table: nulls, tenant: none}\nviews:\n  broken: {%s}\n",
                 broken[i].view);
        fixture_open(f, text);
        assert_true(poly_view_refresh(f->admin, "broken", &err) != POLY_OK);
        assert_message(broken[i].message);
        assert_int_equal(look(f, "broken").state, POLY_STATE_RETRYING);
        assert_false(look(f, "broken").within);
        assert_string_equal(look(f, "broken").error.data, err.message);
    }
    assert_string_equal(query(f->admin, "SELECT count(*) AS n FROM notes"), "1 | ");
    assert_fails(poly_view_refresh(f->admin, "absent", &err), POLY_NOT_FOUND);
    /* The last one: its rows are put right. */
    fixture_foreign(f, "UPDATE nulls SET text = 'd' WHERE text IS NULL");
    fixture_head(f);
    refresh(f, "broken");
    assert_string_equal(query(f->admin, "SELECT text FROM broken ORDER BY 1"), "b | d | ");
    assert_int_equal(settled(f, "broken").state, POLY_STATE_OK);
}

/* A key that is not unique any more: the old rows stay, whole, and the status is not silent. */
static void stays_whole(void **state)
{
    struct fixture *f = *state;
    struct poly_error err;

    fixture_open(f, DOMAINS "views:\n"
                            "  days: {query: 'SELECT day, body FROM messages', key: [day],"
                            " staleness: 10ms}\n");
    fixture_migration(f, "0002_one.sql", "DELETE FROM messages WHERE id = 2");
    fixture_migrate(f);
    assert_string_equal(query(f->admin, "SELECT day, body FROM days ORDER BY 1"),
                        "mon x | tue z | ");
    put(f, "a", 7, "mon", "again");
    put(f, "a", 8, "thu", "other");
    assert_true(poly_view_refresh(f->admin, "days", &err) != POLY_OK);
    assert_message("same key");
    assert_int_equal(look(f, "days").state, POLY_STATE_RETRYING);
    assert_string_equal(query(f->admin, "SELECT day, body FROM days ORDER BY 1"),
                        "mon x | tue z | ");
    put(f, "a", 7, "fri", "again");
    refresh(f, "days");
    assert_string_equal(query(f->admin, "SELECT day FROM days ORDER BY 1"),
                        "fri | mon | thu | tue | ");
}

/* A migration changes what a view reads: it follows, or says why not. */
static void migrations(void **state)
{
    struct fixture *f = *state;
    struct poly_view_status view;

    fixture_open(f, config);
    fixture_migrate(f);
    fixture_dialects(f, "0002_type",
                     "ALTER TABLE messages ADD COLUMN extra TEXT;"
                     "ALTER TABLE notes RENAME COLUMN text TO texts;"
                     "ALTER TABLE notes RENAME COLUMN texts TO text",
                     "ALTER TABLE messages ALTER COLUMN day TYPE varchar(20);"
                     "ALTER TABLE notes DROP COLUMN text; ALTER TABLE notes ADD COLUMN text text;"
                     "UPDATE notes SET text = 'four'");
    fixture_migrate(f);
    assert_string_equal(query(f->admin, per_day), "a mon 2 y | b tue 1 z | ");
    assert_string_equal(query(f->admin, "SELECT id, size FROM lengths"), "n 4 | ");
    fixture_migration(f, "0003_gone.sql", "ALTER TABLE messages DROP COLUMN body");
    fixture_migrate(f);
    view = look(f, "per_day");
    assert_int_equal(view.state, POLY_STATE_RETRYING);
    assert_non_null(strstr(view.error.data, "body"));
    if (fixture_differs(f, "view-across-a-migration"))
        assert_non_null(strstr(query(f->admin, per_day), "per_day"));
    else
        assert_string_equal(query(f->admin, per_day), "a mon 2 y | b tue 1 z | ");
    assert_int_equal(settled(f, "totals").state, POLY_STATE_OK);
    fixture_migration(f, "0004_back.sql", "ALTER TABLE messages ADD COLUMN body TEXT");
    fixture_migrate(f);
    assert_int_equal(settled(f, "per_day").state, POLY_STATE_OK);
    assert_string_equal(query(f->admin, "SELECT tenant, n FROM per_day ORDER BY 1"),
                        "a 2 | b 1 | ");
}

/* Through a view of the application's own. */
static void through_sql_views(void **state)
{
    struct fixture *f = *state;
    struct poly_error err;

    fixture_migration(f, "0002_view.sql",
                      "CREATE VIEW shorts AS SELECT id, text FROM notes WHERE length(text) < 5");
    fixture_open(f, DOMAINS
                 "views:\n"
                 "  s: {query: 'SELECT id, text FROM shorts', key: [id], staleness: 10ms}\n");
    fixture_migrate(f);
    assert_string_equal(query(f->admin, "SELECT id, text FROM s"), "n four | ");
    assert_ok(
        put_row(f->admin, "notes", "m", ROW({"text", poly_str("abc")}), POLY_ANY, NULL, &err));
    settled(f, "s");
    assert_string_equal(query(f->admin, "SELECT id, text FROM s ORDER BY 1"), "m abc | n four | ");
}

/* Writes and refreshes, with a byte into out for each, until it is killed. */
static void child(struct fixture *f, int round, int out)
{
    struct poly_error err;

    fixture_open(f, config);
    for (int i = 0;; i++) {
        char day[20];

        snprintf(day, sizeof(day), "d%d", i % 7);
        put(f, i % 2 == 0 ? "k" : "l", round * 100000 + i, day, "killed");
        if (i % 3 == 0 && poly_view_refresh(f->admin, "per_day", &err) != POLY_OK)
            _exit(1);
        if (write(out, "x", 1) != 1)
            _exit(1);
    }
}

/* kill -9, wherever it is: nothing is half applied, and what was written is in the view later. */
static void killed(void **state)
{
    struct fixture *f = *state;
    int rounds = getenv("POLY_TEST_LONG") != NULL ? 100 : 6;

    fixture_open(f, config);
    fixture_migrate(f);
    for (int round = 1; round <= rounds; round++) {
        int pair[2], code;
        char byte;
        pid_t pid;

        fixture_close(f);
        assert_int_equal(pipe(pair), 0);
        pid = fork();
        if (pid == 0)
            child(f, round, pair[1]);
        for (int i = 0; i < 5 + round * 3; i++)
            assert_int_equal(read(pair[0], &byte, 1), 1);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &code, 0), pid);
        assert_true(WIFSIGNALED(code));
        close(pair[0]);
        close(pair[1]);
        fixture_open(f, config);
        fixture_head(f);
        settled(f, "per_day");
        assert_exact(f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(follows_changes, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_changed, setup, teardown),
        cmocka_unit_test_setup_teardown(bursts, setup, teardown),
        cmocka_unit_test_setup_teardown(tenants, setup, teardown),
        cmocka_unit_test_setup_teardown(the_wall_holds, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_else_writes, setup, teardown),
        cmocka_unit_test_setup_teardown(definitions, setup, teardown),
        cmocka_unit_test_setup_teardown(failures, setup, teardown),
        cmocka_unit_test_setup_teardown(stays_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(migrations, setup, teardown),
        cmocka_unit_test_setup_teardown(through_sql_views, setup, teardown),
        cmocka_unit_test_setup_teardown(killed, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
