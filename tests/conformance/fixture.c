#include "fixture.h"

#include <libpq-fe.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/inside.h"
#include "differs.h"
#include "lab.h"
#include "owners/embedded/embedded.h"
#include "stores/relational/driver.h"

/* --- PostgreSQL, where POLY_TEST_OWNER says so: a database for each fixture --- */

bool fixture_on_server(void)
{
    const char *owner = getenv("POLY_TEST_OWNER");

    return owner != NULL && strcmp(owner, "postgresql") == 0;
}

/* Another program has our tables under the names that they have on SQLite. */
static const char server_names[] =
    "SET client_min_messages = warning; DO $$DECLARE t text; BEGIN"
    " FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'poly' LOOP"
    "  EXECUTE format('CREATE TEMP VIEW poly_%s AS SELECT * FROM poly.%I', t, t);"
    " END LOOP; END$$";

static PGconn *server_connect(const char *url)
{
    PGconn *conn = PQconnectdb(url);
    PGresult *result;

    if (PQstatus(conn) != CONNECTION_OK)
        fail_msg("%s", PQerrorMessage(conn));
    result = PQexec(conn, server_names);
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        fail_msg("%s", PQerrorMessage(conn));
    PQclear(result);
    return conn;
}

static bool server_try(const char *url, const char *sql, char *why, size_t size)
{
    PGconn *conn = server_connect(url);
    PGresult *result = PQexec(conn, sql);
    bool done =
        PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK;

    snprintf(why, size, "%s", done ? "" : PQerrorMessage(conn));
    PQclear(result);
    PQfinish(conn);
    return done;
}

static void server_run(const char *url, const char *sql)
{
    char why[500];

    if (!server_try(url, sql, why, sizeof(why)))
        fail_msg("%s: %s", sql, why);
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

/* What the tests' SQL takes from SQLite, under the names it has there; and a collation of words. A
 * server that was built without ICU has stand-ins: fixture_needs_collations(). */
static const char server_words[] =
    "CREATE DOMAIN blob AS bytea;"
    "DO $$BEGIN"
    " CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);"
    " CREATE COLLATION words (provider = icu, locale = 'en');"
    "EXCEPTION WHEN feature_not_supported THEN"
    " CREATE COLLATION nocase (provider = libc, locale = 'C');"
    " CREATE COLLATION words (provider = libc, locale = 'C');"
    "END$$";

static void server_make(struct fixture *f)
{
    static int number;
    char sql[300], there[1024];

    snprintf(f->database, sizeof(f->database), "poly_test_%d_%d", (int)getpid(), ++number);
    server_url("POLY_TEST_POSTGRESQL_URL", f->database, f->url, sizeof(f->url), f->user,
               sizeof(f->user));
    server_url("POLY_TEST_POSTGRESQL_ADMIN_URL", NULL, f->admin_url, sizeof(f->admin_url), NULL, 0);
    snprintf(sql, sizeof(sql), "CREATE DATABASE %s OWNER %s TEMPLATE template0", f->database,
             f->user);
    server_run(f->admin_url, sql);
    server_run(f->url, server_words);
    if (getenv("POLY_TEST_PGVECTOR") != NULL) {
        server_url("POLY_TEST_POSTGRESQL_ADMIN_URL", f->database, there, sizeof(there), NULL, 0);
        server_run(there, "CREATE EXTENSION vector");
    }
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

enum poly_status fixture_try_open(struct fixture *f, const char *config,
                                  struct poly_instance **instance, struct poly_error *err)
{
    struct poly_options options = {.data = f->data};
    char text[8192], with_server[8192];

    if (fixture_on_server()) {
        server_config(f, config, with_server, sizeof(with_server));
        config = with_server;
    }
    snprintf(text, sizeof(text), "migrations: %.90s\n%.8000s", f->migrations, config);
    options.config_text = text;
    return poly_open(&options, instance, err);
}

void fixture_open(struct fixture *f, const char *config)
{
    struct poly_session_options all = {.rights = POLY_RIGHTS_ALL, .principal = "test"};
    struct poly_error err;

    assert_ok(fixture_try_open(f, config, &f->instance, &err));
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

void fixture_begin(struct fixture *f, const char *sql, const char *config)
{
    fixture_make(f);
    fixture_migration(f, "0001_tables.sql", sql);
    fixture_open(f, config);
    fixture_migrate(f);
}

void fixture_remove(struct fixture *f)
{
    if (f->instance != NULL)
        fixture_close(f);
    if (fixture_on_server())
        server_remove(f);
    lab_folder_remove(f->folder);
}

struct poly_session *fixture_session(struct fixture *f, const char *tenant, unsigned rights)
{
    struct poly_session_options options = {.tenant = tenant, .rights = rights};
    struct poly_session *session;
    struct poly_error err;

    assert_ok(poly_session_open(f->instance, &options, &session, &err));
    return session;
}

void fixture_end(struct poly_session **session)
{
    poly_session_close(*session);
    *session = NULL;
}

/* --- another program --- */

static sqlite3 *embedded_open(const struct fixture *f)
{
    sqlite3 *db;

    assert_int_equal(sqlite3_open_v2(f->file, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    return db;
}

bool fixture_foreign_try(struct fixture *f, const char *sql, char *why, size_t size)
{
    sqlite3 *db;
    char *message = NULL;
    bool done;

    if (fixture_on_server())
        return server_try(f->url, sql, why, size);
    db = embedded_open(f);
    done = sqlite3_exec(db, sql, NULL, NULL, &message) == SQLITE_OK;
    snprintf(why, size, "%s", message == NULL ? "" : message);
    sqlite3_free(message);
    sqlite3_close(db);
    return done;
}

void fixture_foreign(struct fixture *f, const char *sql)
{
    char why[500];

    if (!fixture_foreign_try(f, sql, why, sizeof(why)))
        fail_msg("foreign: %s: %s", sql, why);
}

void fixture_foreign_dialects(struct fixture *f, const char *sql, const char *postgresql)
{
    fixture_foreign(f, fixture_on_server() ? postgresql : sql);
}

static int64_t server_number(const struct fixture *f, const char *sql)
{
    PGconn *conn = server_connect(f->url);
    PGresult *result = PQexec(conn, sql);
    int64_t number = -1;

    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(conn));
    if (PQntuples(result) > 0)
        number = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    PQfinish(conn);
    return number;
}

int64_t fixture_number(struct fixture *f, const char *sql)
{
    int64_t number = -1;
    sqlite3_stmt *statement;
    sqlite3 *db;

    if (fixture_on_server())
        return server_number(f, sql);
    db = embedded_open(f);
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    if (sqlite3_step(statement) == SQLITE_ROW)
        number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return number;
}

void fixture_keep(struct fixture *f)
{
    char sql[300];

    if (fixture_on_server()) {
        snprintf(sql, sizeof(sql), "CREATE DATABASE %s_kept OWNER %s TEMPLATE %s", f->database,
                 f->user, f->database);
        server_run(f->admin_url, sql);
    } else {
        snprintf(f->kept, sizeof(f->kept), "%s/kept", f->folder);
        lab_folder_copy(f->data, f->kept);
    }
}

void fixture_go_back(struct fixture *f)
{
    char sql[300];

    if (fixture_on_server()) {
        server_remove(f);
        snprintf(sql, sizeof(sql), "ALTER DATABASE %s_kept RENAME TO %s", f->database, f->database);
        server_run(f->admin_url, sql);
    } else {
        lab_folder_copy(f->kept, f->data);
    }
}

bool fixture_tenants_sql(struct fixture *f)
{
    const char *server = getenv("POLY_TEST_POSTGRESQL_SERVER");
    char sql[300];

    if (!fixture_on_server())
        return true;
    if (server == NULL || strcmp(server, "given") == 0)
        return false;
    snprintf(sql, sizeof(sql),
             "DO $$BEGIN IF to_regrole('poly_tenant') IS NULL THEN CREATE ROLE poly_tenant NOLOGIN;"
             " GRANT poly_tenant TO %s; END IF; END$$",
             f->user);
    server_run(f->admin_url, sql);
    return true;
}

bool fixture_has_collations(struct fixture *f)
{
    return !fixture_on_server() ||
           fixture_number(f, "SELECT count(*) FROM pg_collation WHERE collname = 'words'"
                             " AND collprovider = 'i'") > 0;
}

void fixture_needs_collations(struct fixture *f)
{
    if (fixture_has_collations(f))
        return;
    printf("skipped: collations (the server was built without ICU)\n");
    skip();
}

/* --- what the drivers declare --- */

static const struct poly_capability *with_name(const struct fixture *f, const char *name)
{
    const struct poly_store_config *search = poly_config_store(f->instance->config, "search");
    const struct poly_capability *lists[3] = {
        f->instance->owner->driver->capabilities,
        poly_instance_relational(f->instance)->driver->capabilities,
    };

    for (size_t i = 0; poly_drivers[i] != NULL && search != NULL; i++) {
        if (strcmp(poly_drivers[i]->name, search->driver) == 0)
            lists[2] = poly_drivers[i]->capabilities;
    }
    for (size_t i = 0; i < 3; i++) {
        if (lists[i] != NULL && poly_capability(lists[i], name) != NULL)
            return lists[i];
    }
    return lists[0];
}

bool fixture_supports(struct fixture *f, const char *name)
{
    return declared(with_name(f, name), name);
}

void fixture_needs(struct fixture *f, const char *name)
{
    if (fixture_supports(f, name))
        return;
    printf("skipped: %s (not supported: docs/capabilities.md)\n", name);
    skip();
}

bool fixture_differs(struct fixture *f, const char *name)
{
    (void)fixture_supports(f, name);
    return fixture_on_server();
}

uint64_t fixture_head(struct fixture *f)
{
    uint64_t last = (uint64_t)fixture_number(f, "SELECT coalesce(max(position), 0) FROM poly_log");

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
