#include "fixture.h"

#include <ftw.h>
#include <libpq-fe.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "owners/embedded/embedded.h"
#include "core/instance.h"

/* --- PostgreSQL, where POLY_TEST_OWNER says so: a database for each fixture --- */

bool fixture_on_server(void)
{
    const char *owner = getenv("POLY_TEST_OWNER");

    return owner != NULL && strcmp(owner, "postgresql") == 0;
}

void fixture_skip_on_server(const char *difference)
{
    if (!fixture_on_server())
        return;
    printf("skipped: %s (a declared difference: docs/drivers.md)\n", difference);
    skip();
}

static void server_run(const char *url, const char *sql)
{
    PGconn *conn = PQconnectdb(url);
    PGresult *result;

    if (PQstatus(conn) != CONNECTION_OK)
        fail_msg("%s", PQerrorMessage(conn));
    PQclear(PQexec(conn, "SET client_min_messages = warning"));
    result = PQexec(conn, sql);
    if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(conn));
    PQclear(result);
    PQfinish(conn);
}

/* The address with another database, as pairs of names and values; *user: who that is. */
static void server_url(const char *variable, const char *database, char *out, size_t size,
                       char *user, size_t user_size)
{
    const char *url = getenv(variable);
    PQconninfoOption *options = PQconninfoParse(url == NULL ? "" : url, NULL);
    size_t used = 0;

    assert_non_null(options);
    for (PQconninfoOption *o = options; o->keyword != NULL; o++) {
        bool named = strcmp(o->keyword, "dbname") == 0;

        if (o->val == NULL && !named)
            continue;
        if (user != NULL && strcmp(o->keyword, "user") == 0)
            snprintf(user, user_size, "%s", o->val);
        used += (size_t)snprintf(out + used, size - used, "%s=%s ", o->keyword,
                                 named && database != NULL ? database : o->val);
    }
    PQconninfoFree(options);
}

/* What the tests' SQL takes from SQLite, under the names it has there. */
static const char server_words[] =
    "CREATE DOMAIN blob AS bytea;"
    "CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);";

static void server_make(struct fixture *f)
{
    static int number;
    char sql[300], user[64] = "";

    snprintf(f->database, sizeof(f->database), "poly_test_%d_%d", (int)getpid(), ++number);
    server_url("POLY_TEST_POSTGRESQL_URL", f->database, f->url, sizeof(f->url), user, sizeof(user));
    server_url("POLY_TEST_POSTGRESQL_ADMIN_URL", NULL, f->admin_url, sizeof(f->admin_url), NULL, 0);
    snprintf(sql, sizeof(sql), "CREATE DATABASE %s OWNER %s TEMPLATE template0", f->database, user);
    server_run(f->admin_url, sql);
    server_run(f->url, server_words);
}

static void server_remove(struct fixture *f)
{
    char sql[300];

    snprintf(sql, sizeof(sql), "DROP DATABASE IF EXISTS %s WITH (FORCE)", f->database);
    server_run(f->admin_url, sql);
}

/* The configuration with where the server is. */
static void server_config(const struct fixture *f, const char *config, char *out, size_t size)
{
    const char *stores = strstr(config, "stores: {");
    int before = stores == NULL ? 0 : (int)(stores - config + 9);

    snprintf(out, size, "%.*s%srelational: {driver: postgresql, url: '%s'}%s%s", before, config,
             stores == NULL ? "stores: {" : "", f->url, stores == NULL ? "}\n" : ", ",
             config + before);
}

/* --- both --- */

void fixture_make(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    if (fixture_on_server())
        server_make(f);
    snprintf(f->folder, sizeof(f->folder), "/tmp/polystore-test-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->migrations, sizeof(f->migrations), "%s/migrations", f->folder);
    snprintf(f->data, sizeof(f->data), "%s/data", f->folder);
    assert_int_equal(mkdir(f->migrations, 0700), 0);
}

void fixture_migration(struct fixture *f, const char *name, const char *sql)
{
    char path[256];
    FILE *out;

    snprintf(path, sizeof(path), "%s/%s", f->migrations, name);
    out = fopen(path, "w");
    assert_non_null(out);
    fputs(sql, out);
    fclose(out);
}

void fixture_dialects(struct fixture *f, const char *name, const char *sql, const char *postgresql)
{
    char full[120];

    snprintf(full, sizeof(full), "%s.sql", name);
    fixture_migration(f, full, sql);
    snprintf(full, sizeof(full), "%s.postgresql.sql", name);
    fixture_migration(f, full, postgresql);
}

void fixture_forget(struct fixture *f, const char *name)
{
    char path[256];

    snprintf(path, sizeof(path), "%s/%s", f->migrations, name);
    assert_int_equal(unlink(path), 0);
}

void fixture_open(struct fixture *f, const char *config)
{
    struct poly_session_options all = {.rights = POLY_RIGHTS_ALL, .principal = "test"};
    struct poly_options options = {.data = f->data};
    struct poly_error err;
    char text[8192], with_server[8192];

    if (fixture_on_server()) {
        server_config(f, config, with_server, sizeof(with_server));
        config = with_server;
    }
    snprintf(text, sizeof(text), "migrations: %.90s\n%.8000s", f->migrations, config);
    options.config_text = text;
    assert_ok(poly_open(&options, &f->instance, &err));
    assert_ok(poly_session_open(f->instance, &all, &f->admin, &err));
    if (!fixture_on_server())
        snprintf(f->file, sizeof(f->file), "%s",
                 poly_sqlite_path(poly_instance_embedded(f->instance)->file));
}

void fixture_close(struct fixture *f)
{
    poly_session_close(f->admin);
    poly_close(f->instance);
    f->admin = NULL;
    f->instance = NULL;
}

void fixture_migrate(struct fixture *f)
{
    struct poly_migrations migrations;
    struct poly_error err;

    assert_ok(poly_migrate_up(f->admin, NULL, &migrations, &err));
}

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *ftw)
{
    (void)about;
    (void)kind;
    (void)ftw;
    return remove(path);
}

void fixture_remove(struct fixture *f)
{
    if (f->instance != NULL)
        fixture_close(f);
    if (fixture_on_server())
        server_remove(f);
    nftw(f->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

struct poly_session *fixture_session(struct fixture *f, const char *tenant, unsigned rights)
{
    struct poly_session_options options = {.tenant = tenant, .rights = rights};
    struct poly_session *session;
    struct poly_error err;

    assert_ok(poly_session_open(f->instance, &options, &session, &err));
    return session;
}

void fixture_foreign(struct fixture *f, const char *sql)
{
    sqlite3 *db;
    char *message = NULL;

    if (fixture_on_server()) {
        server_run(f->url, sql);
        return;
    }
    assert_int_equal(sqlite3_open(f->file, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("foreign: %s: %s", sql, message);
    sqlite3_close(db);
}

void fixture_foreign_dialects(struct fixture *f, const char *sql, const char *postgresql)
{
    fixture_foreign(f, fixture_on_server() ? postgresql : sql);
}

static uint64_t server_last(const struct fixture *f)
{
    PGconn *conn = PQconnectdb(f->url);
    PGresult *result = PQexec(conn, "SELECT coalesce(max(position), 0) FROM poly.log");
    uint64_t last = strtoull(PQgetvalue(result, 0, 0), NULL, 10);

    assert_int_equal(PQntuples(result), 1);
    PQclear(result);
    PQfinish(conn);
    return last;
}

uint64_t fixture_head(struct fixture *f)
{
    uint64_t last = fixture_on_server() ? server_last(f) : 0;

    while (poly_log_head(f->instance) < last)
        usleep(1000);
    return poly_log_head(f->instance);
}

static enum poly_status finish(struct poly_txn *txn, enum poly_status status,
                               struct poly_result *result, struct poly_error *err)
{
    struct poly_commit commit;

    if (status != POLY_OK) {
        poly_txn_abort(txn);
        return status;
    }
    status = poly_txn_commit(txn, &commit, err);
    if (status == POLY_OK && result != NULL)
        *result = commit.results[0];
    return status;
}

enum poly_status put_row(struct poly_session *session, const char *domain, const char *key,
                         const struct poly_row *row, int64_t if_version, struct poly_result *result,
                         struct poly_error *err)
{
    struct poly_txn *txn;

    assert_int_equal(poly_txn_begin(session, NULL, &txn, err), POLY_OK);
    return finish(txn, poly_put(txn, domain, key, row, if_version, err), result, err);
}

enum poly_status remove_row(struct poly_session *session, const char *domain, const char *key,
                            int64_t if_version, struct poly_error *err)
{
    struct poly_txn *txn;

    assert_int_equal(poly_txn_begin(session, NULL, &txn, err), POLY_OK);
    return finish(txn, poly_delete(txn, domain, key, if_version, err), NULL, err);
}

enum poly_status run_sql(struct poly_session *session, const char *sql, struct poly_error *err)
{
    struct poly_txn *txn;

    assert_int_equal(poly_txn_begin(session, NULL, &txn, err), POLY_OK);
    return finish(txn, poly_txn_sql(txn, sql, NULL, 0, NULL, NULL, err), NULL, err);
}

const struct poly_value *field(const struct poly_row *row, const char *name)
{
    for (size_t i = 0; i < row->count; i++) {
        if (strcmp(row->fields[i].name, name) == 0)
            return &row->fields[i].value;
    }
    fail_msg("no field '%s'", name);
    return NULL;
}
