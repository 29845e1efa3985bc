/* Migrations: once, in order, whole or not at all, by several at a time. Requirement S3-31. */
#include <pthread.h>

#include "fixture.h"

static const char config[] = "domains:\n"
                             "  users: {table: users, tenant: none}\n"
                             "  notes: {table: notes, tenant: none}\n";

static const char users[] = "CREATE TABLE users(id TEXT PRIMARY KEY, name TEXT, age INTEGER);\n"
                            "INSERT INTO users VALUES ('a', 'Ann', 1), ('b', 'Bob', 2);\n";

static int setup(void **state)
{
    static struct fixture f;

    fixture_make(&f);
    fixture_open(&f, config);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    fixture_remove(*state);
    return 0;
}

struct counts {
    int puts, deletes;
    char last[300], meta[100];
};

static bool note(void *arg, const struct poly_record *record)
{
    struct counts *counts = arg;

    if (record->type.data[1] == 'p')
        counts->puts++;
    else
        counts->deletes++;
    snprintf(counts->last, sizeof(counts->last), "%.*s", (int)record->data.text.size,
             record->data.text.data == NULL ? "" : record->data.text.data);
    snprintf(counts->meta, sizeof(counts->meta), "%.*s", (int)record->meta.size,
             record->meta.data == NULL ? "" : record->meta.data);
    return true;
}

static struct counts log_after(struct fixture *f, uint64_t after)
{
    struct poly_log_query query = {.after = after};
    struct counts counts = {0};
    struct poly_error err;
    uint64_t last;

    fixture_head(f);
    assert_ok(poly_log_read(f->admin, &query, note, &counts, &last, &err));
    return counts;
}

static enum poly_status up(struct fixture *f, struct poly_migrations *migrations,
                           struct poly_error *err)
{
    return poly_migrate_up(f->admin, NULL, migrations, err);
}

static void applied_once(void **state)
{
    struct fixture *f = *state;
    struct poly_migrations migrations;
    struct poly_document document;
    struct counts counts;
    struct poly_error err;

    fixture_migration(f, "0001_users.sql", users);
    if (!fixture_on_server())
        fixture_migration(f, "0001_users.postgresql.sql", "this is for another driver");
    fixture_migration(f, "README.txt", "no migration");
    assert_fails(poly_get(f->admin, "users", "a", &document, &err), POLY_UNAVAILABLE);
    assert_ok(poly_migrate_status(f->admin, NULL, &migrations, &err));
    assert_int_equal(migrations.count, 1);
    assert_int_equal(migrations.pending, 1);
    assert_false(migrations.migrations[0].applied);
    assert_ok(up(f, &migrations, &err));
    assert_int_equal(migrations.pending, 0);
    assert_true(migrations.migrations[0].time > 0);
    assert_string_equal(migrations.migrations[0].name.data, "0001_users.sql");
    assert_ok(poly_get(f->admin, "users", "a", &document, &err));
    assert_true(document.version > 0);
    counts = log_after(f, 0);
    assert_int_equal(counts.puts, 2);
    assert_string_equal(counts.meta, "{\"migration\":\"0001_users.sql\"}");
    assert_ok(up(f, &migrations, &err));
    assert_int_equal(log_after(f, 0).puts, 2);
}

/* Where the two differ, both have the same number; each driver passes the other's over. */
static void dialects(void **state)
{
    struct fixture *f = *state;
    struct poly_migrations migrations;
    struct poly_document document;
    struct poly_error err;

    fixture_migration(f, "0001_users.embedded.sql",
                      "CREATE TABLE users(id TEXT PRIMARY KEY, embedded TEXT);");
    fixture_migration(f, "0001_users.postgresql.sql",
                      "CREATE TABLE users(id TEXT PRIMARY KEY, postgresql TEXT);");
    fixture_migration(f,
                      fixture_on_server() ? "0002_other.embedded.sql" : "0002_other.postgresql.sql",
                      "this is for another driver");
    assert_ok(up(f, &migrations, &err));
    assert_int_equal(migrations.count, 1);
    assert_string_equal(migrations.migrations[0].name.data, "0001_users.sql");
    assert_ok(put_row(f->admin, "users", "a", ROW({"id", poly_str("a")}), 0, NULL, &err));
    assert_ok(poly_get(f->admin, "users", "a", &document, &err));
    assert_string_equal(document.row.fields[1].name,
                        fixture_on_server() ? "postgresql" : "embedded");
    if (fixture_on_server())
        return;
    fixture_migration(f, "0003_index.sql",
                      "-- polystore: no transaction\nCREATE INDEX i ON users(embedded);");
    assert_fails(up(f, &migrations, &err), POLY_UNSUPPORTED);
    assert_message("NAME.embedded.sql");
}

/* A file that fails leaves nothing behind, and the one before it stays. */
static void failing(void **state)
{
    struct fixture *f = *state;
    struct poly_migrations migrations;
    struct poly_document document;
    struct poly_error err;
    uint64_t head;

    fixture_migration(f, "0001_users.sql", users);
    fixture_migration(f, "0002_bad.sql",
                      "CREATE TABLE notes(id TEXT PRIMARY KEY, text TEXT);\n"
                      "INSERT INTO notes VALUES ('n', 'x');\n"
                      "ALTER TABLE users ADD COLUMN extra TEXT;\n"
                      "UPDATE users SET name = 'changed';\n"
                      "\n-- here\nINSERT INTO nowhere VALUES (1);\n");
    assert_fails(up(f, &migrations, &err), POLY_INVALID);
    assert_message("migration '0002_bad.sql': line 7:");
    assert_message("nowhere");
    assert_ok(poly_migrate_status(f->admin, NULL, &migrations, &err));
    assert_int_equal(migrations.pending, 1);
    assert_ok(poly_get(f->admin, "users", "a", &document, &err));
    assert_string_equal(document.row.fields[1].value.text.data, "Ann");
    assert_int_equal(document.row.count, 3);
    assert_fails(poly_get(f->admin, "notes", "n", &document, &err), POLY_UNAVAILABLE);
    head = fixture_head(f);
    assert_ok(put_row(f->admin, "users", "c", ROW({"name", poly_str("C")}), 0, NULL, &err));
    assert_int_equal(log_after(f, head).puts, 1); /* the triggers are back */
    fixture_migration(f, "0002_bad.sql", "CREATE TABLE notes(id TEXT PRIMARY KEY, text TEXT);\n");
    assert_ok(up(f, &migrations, &err));
    assert_ok(put_row(f->admin, "notes", "n", ROW({"text", poly_str("x")}), 0, NULL, &err));
}

static void refused_before_anything(struct fixture *f, const char *words)
{
    struct poly_migrations migrations;
    struct poly_error err;

    fixture_migration(f, "0009_new.sql", "CREATE TABLE fresh(a);\n");
    assert_fails(up(f, &migrations, &err), POLY_CONFLICT);
    assert_message(words);
    assert_ok(poly_migrate_status(f->admin, NULL, &migrations, &err));
    assert_int_equal(migrations.problems, 1);
    for (size_t i = 0; i < migrations.count; i++) {
        if (strcmp(migrations.migrations[i].name.data, "0009_new.sql") == 0)
            assert_false(migrations.migrations[i].applied);
    }
    fixture_forget(f, "0009_new.sql");
}

static void drift(void **state)
{
    struct fixture *f = *state;
    struct poly_migrations migrations;
    struct poly_error err;

    fixture_migration(f, "0002_users.sql", users);
    fixture_migrate(f);
    fixture_migration(f, "0002_users.sql", "-- edited\n");
    refused_before_anything(f, "edited after it was applied");
    fixture_forget(f, "0002_users.sql");
    refused_before_anything(f, "the file is missing");
    fixture_migration(f, "0002_users.sql", users);
    fixture_migration(f, "0001_late.sql", "CREATE TABLE late(a TEXT);");
    refused_before_anything(f, "not beyond");
    fixture_forget(f, "0001_late.sql");
    fixture_migration(f, "0003_a.sql", "CREATE TABLE a(a TEXT);");
    fixture_migration(f, "0003_b.sql", "CREATE TABLE b(a TEXT);");
    refused_before_anything(f, "another file's too");
    fixture_forget(f, "0003_b.sql");
    fixture_migration(f, "seed.sql", "SELECT 1");
    assert_fails(up(f, &migrations, &err), POLY_INVALID);
    assert_message("0001_what_it_does.sql");
    fixture_forget(f, "seed.sql");
    assert_ok(up(f, &migrations, &err));
    assert_fails(poly_migrate_up(f->admin, "/nowhere/at/all", &migrations, &err), POLY_INVALID);
}

static void not_allowed(void **state)
{
    static const char *const files[] = {
        "BEGIN; CREATE TABLE x(a); COMMIT;",
        "CREATE TABLE x(a); COMMIT;",
        "SAVEPOINT s; CREATE TABLE x(a);",
        "PRAGMA foreign_keys = OFF;",
        "ATTACH ':memory:' AS other;",
        "CREATE TABLE poly_mine(a);",
        "DROP TABLE poly_log;",
        "DELETE FROM poly_log;",
        "INSERT INTO poly_log(domain, key, type, time) VALUES ('users', 'x', '$put', 0);",
        "UPDATE poly_meta SET value = 1;",
        "CREATE TRIGGER poly_evil AFTER INSERT ON users BEGIN SELECT 1; END;",
        "CREATE TRIGGER t AFTER INSERT ON poly_log BEGIN SELECT 1; END;",
        "CREATE TABLE x(a UNIQUE ON CONFLICT ROLLBACK);",
        "CREATE TEMP TABLE x(a);",
        "SELECT load_extension('x');",
    };
    struct fixture *f = *state;
    struct poly_session *reader = fixture_session(f, NULL, POLY_RIGHT_READ | POLY_RIGHT_WRITE);
    struct poly_migrations migrations;
    struct poly_error err;

    fixture_migration(f, "0001_users.sql", users);
    fixture_migrate(f);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        enum poly_status status;

        fixture_migration(f, "0002_x.sql", files[i]);
        status = up(f, &migrations, &err);
        if (status != POLY_DENIED && status != POLY_INVALID)
            fail_msg("%s: %s", files[i], poly_status_name(status));
    }
    assert_ok(poly_migrate_status(f->admin, NULL, &migrations, &err));
    assert_int_equal(migrations.pending, 1);
    assert_fails(poly_migrate_up(reader, NULL, &migrations, &err), POLY_DENIED);
    poly_session_close(reader);
}

/* Changes of a table's shape: triggers follow, the log has what changed and nothing else. */
static void reshaped(void **state)
{
    struct fixture *f = *state;
    static char big[5001];
    struct poly_verification verification;
    struct poly_document document;
    struct counts counts;
    struct poly_error err;
    uint64_t head;

    memset(big, 'b', 5000);
    fixture_migration(f, "0001_users.sql", users);
    fixture_migrate(f);
    assert_ok(put_row(f->admin, "users", "big", ROW({"name", poly_str(big)}), 0, NULL, &err));

    head = fixture_head(f);
    fixture_migration(f, "0002_null.sql", "ALTER TABLE users ADD COLUMN extra TEXT;");
    fixture_migrate(f);
    assert_int_equal(log_after(f, head).puts, 0); /* null everywhere: no change */
    fixture_migration(f, "0003_value.sql",
                      "ALTER TABLE users ADD COLUMN level INTEGER DEFAULT 5;\n"
                      "UPDATE users SET extra = 'x' WHERE id = 'a';");
    fixture_migrate(f);
    counts = log_after(f, head);
    assert_int_equal(counts.puts, 3);
    assert_ok(put_row(f->admin, "users", "c", ROW({"name", poly_str("C")}, {"level", poly_int(6)}),
                      0, NULL, &err));
    assert_string_equal(log_after(f, head + 3).last,
                        "{\"id\":\"c\",\"name\":\"C\",\"age\":null,\"extra\":null,\"level\":6}");

    head = fixture_head(f);
    fixture_migration(f, "0004_drop.sql",
                      "ALTER TABLE users DROP COLUMN age;\n"
                      "ALTER TABLE users RENAME COLUMN name TO title;");
    fixture_migrate(f);
    assert_int_equal(log_after(f, head).puts, 4);
    assert_ok(poly_get(f->admin, "users", "a", &document, &err));
    assert_string_equal(document.row.fields[1].name, "title");

    /* the table rebuilt, rows the same: nothing to say */
    head = fixture_head(f);
    fixture_migration(f, "0005_rebuild.sql",
                      "CREATE TABLE users_new(id TEXT PRIMARY KEY, title TEXT, extra TEXT,"
                      " level INTEGER NOT NULL);\n"
                      "INSERT INTO users_new SELECT id, title, extra, level FROM users;\n"
                      "DROP TABLE users;\n"
                      "ALTER TABLE users_new RENAME TO users;\n"
                      "DELETE FROM users WHERE id = 'b';");
    fixture_migrate(f);
    counts = log_after(f, head);
    assert_int_equal(counts.puts, 0);
    assert_int_equal(counts.deletes, 1);
    assert_ok(put_row(f->admin, "users", "big", ROW({"level", poly_int(1)}), POLY_ANY, NULL, &err));
    assert_ok(poly_log_verify(f->admin, NULL, NULL, &verification, &err));
    if (verification.bad_position != 0)
        fail_msg("%llu: %s", (unsigned long long)verification.bad_position, verification.reason);
}

/* A row that is changed in the same file, where the file's text does not show that its table is
 * reshaped. */
static void changed_and_reshaped(void **state)
{
    struct fixture *f = *state;
    uint64_t head;

    fixture_migration(f, "0001_users.sql", users);
    fixture_migrate(f);
    head = fixture_head(f);
    fixture_dialects(f, "0002_both",
                     "ALTER TABLE users ADD COLUMN level INTEGER DEFAULT 5;"
                     "UPDATE users SET name = 'Zoe' WHERE id = 'a';",
                     "DO $$BEGIN EXECUTE 'ALTER TABLE users ADD COLUMN level INTEGER DEFAULT 5';"
                     " END$$;"
                     "UPDATE users SET name = 'Zoe' WHERE id = 'a';");
    fixture_migrate(f);
    assert_int_equal(log_after(f, head).puts,
                     fixture_differs(f, "two-changes-in-a-migration") ? 3 : 2);
}

/* What was staged before a migration is committed on the table as it is after it. */
static void staged_before(void **state)
{
    struct fixture *f = *state;
    struct poly_document document;
    struct poly_txn *txn;
    struct poly_error err;

    fixture_migration(f, "0001_users.sql", users);
    fixture_migrate(f);
    assert_ok(poly_txn_begin(f->admin, NULL, &txn, &err));
    assert_ok(poly_put(txn, "users", "a", ROW({"name", poly_str("New")}, {"age", poly_int(7)}),
                       POLY_ANY, &err));
    assert_ok(poly_patch(txn, "users", "b", ROW({"age", poly_int(8)}), POLY_ANY, &err));
    fixture_migration(f, "0002_more.sql",
                      "ALTER TABLE users ADD COLUMN level INTEGER DEFAULT 5;\n"
                      "UPDATE users SET level = 6;\n"
                      "ALTER TABLE users RENAME COLUMN name TO title;\n"
                      "ALTER TABLE users ADD COLUMN name TEXT;");
    fixture_migrate(f);
    assert_ok(poly_txn_commit(txn, NULL, &err));
    assert_ok(poly_get(f->admin, "users", "a", &document, &err));
    assert_string_equal(field(&document.row, "name")->text.data, "New");
    assert_int_equal(field(&document.row, "title")->type, POLY_NULL);
    assert_int_equal(field(&document.row, "age")->integer, 7);
    assert_int_equal(field(&document.row, "level")->integer, 5);
    assert_ok(poly_get(f->admin, "users", "b", &document, &err));
    assert_int_equal(field(&document.row, "age")->integer, 8);
    assert_int_equal(field(&document.row, "level")->integer, 6);

    assert_ok(poly_txn_begin(f->admin, NULL, &txn, &err));
    assert_ok(poly_put(txn, "users", "a", ROW({"age", poly_int(9)}), POLY_ANY, &err));
    fixture_migration(f, "0003_less.sql", "ALTER TABLE users DROP COLUMN age;");
    fixture_migrate(f);
    assert_fails(poly_txn_commit(txn, NULL, &err), POLY_INVALID);
    assert_message("has no column 'age'");
}

/* The table gone: every record is deleted. */
static void dropped(void **state)
{
    struct fixture *f = *state;
    struct poly_document document;
    struct poly_error err;
    uint64_t head;

    fixture_migration(f, "0001_users.sql", users);
    fixture_migrate(f);
    head = fixture_head(f);
    fixture_migration(f, "0002_gone.sql", "DROP TABLE users;");
    fixture_migrate(f);
    assert_int_equal(log_after(f, head).deletes, 2);
    assert_fails(poly_get(f->admin, "users", "a", &document, &err), POLY_UNAVAILABLE);
}

/* --- two runners at once, while others write --- */

struct runner {
    pthread_t thread;
    struct fixture *f;
    enum poly_status status;
    struct poly_error err;
};

static void *run(void *arg)
{
    struct runner *runner = arg;
    struct poly_session_options all = {.rights = POLY_RIGHTS_ALL};
    struct poly_migrations migrations;
    struct poly_session *session;

    runner->status = poly_session_open(runner->f->instance, &all, &session, &runner->err);
    if (runner->status != POLY_OK)
        return NULL;
    runner->status = poly_migrate_up(session, NULL, &migrations, &runner->err);
    if (runner->status == POLY_OK && migrations.pending != 0)
        runner->status = POLY_INTERNAL;
    poly_session_close(session);
    return NULL;
}

static void together(void **state)
{
    struct fixture *f = *state;
    struct runner runners[4];
    struct poly_document document;
    struct poly_error err;

    fixture_migration(f, "0001_users.sql", users);
    for (int i = 2; i < 12; i++) {
        char name[32], sql[100];

        snprintf(name, sizeof(name), "%04d_step.sql", i);
        snprintf(sql, sizeof(sql), "ALTER TABLE users ADD COLUMN c%d INTEGER DEFAULT %d;", i, i);
        fixture_migration(f, name, sql);
    }
    for (size_t i = 0; i < 4; i++) {
        runners[i].f = f;
        assert_int_equal(pthread_create(&runners[i].thread, NULL, run, &runners[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(runners[i].thread, NULL);
        if (runners[i].status != POLY_OK)
            fail_msg("%s: %s", poly_status_name(runners[i].status), runners[i].err.message);
    }
    assert_ok(poly_get(f->admin, "users", "a", &document, &err));
    assert_int_equal(document.row.count, 13);
    assert_ok(put_row(f->admin, "users", "z", ROW({"c11", poly_int(1)}), 0, NULL, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(applied_once, setup, teardown),
        cmocka_unit_test_setup_teardown(dialects, setup, teardown),
        cmocka_unit_test_setup_teardown(failing, setup, teardown),
        cmocka_unit_test_setup_teardown(drift, setup, teardown),
        cmocka_unit_test_setup_teardown(not_allowed, setup, teardown),
        cmocka_unit_test_setup_teardown(reshaped, setup, teardown),
        cmocka_unit_test_setup_teardown(changed_and_reshaped, setup, teardown),
        cmocka_unit_test_setup_teardown(staged_before, setup, teardown),
        cmocka_unit_test_setup_teardown(dropped, setup, teardown),
        cmocka_unit_test_setup_teardown(together, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
