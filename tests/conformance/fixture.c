#include "fixture.h"

#include <ftw.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include "owners/embedded/embedded.h"
#include "core/instance.h"

void fixture_make(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
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
    char text[8192];

    snprintf(text, sizeof(text), "migrations: %s\n%s", f->migrations, config);
    options.config_text = text;
    assert_ok(poly_open(&options, &f->instance, &err));
    assert_ok(poly_session_open(f->instance, &all, &f->admin, &err));
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

    assert_int_equal(sqlite3_open(f->file, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("foreign: %s: %s", sql, message);
    sqlite3_close(db);
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
