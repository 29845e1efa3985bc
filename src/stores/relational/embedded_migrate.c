/*
 * The statements of a migration in SQLite. Before the first ALTER or DROP our
 * triggers go, because they name columns; what the file changes from there on is
 * found at its end by comparing rows with the log (trigger.c).
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "stores/relational/embedded.h"

static const char sql_mark[] =
    "INSERT OR REPLACE INTO main.poly_writing(id, txn, meta) VALUES (1, coalesce("
    "(SELECT seq FROM main.sqlite_sequence WHERE name = 'poly_log'), 0) + 1, ?1)";
static const char sql_unmark[] = "DELETE FROM main.poly_writing";

struct applying {
    struct poly_relational *relational;
    const char *text;
    bool detached;
};

/* Where the statement's first word begins. */
static const char *first_word(const char *sql)
{
    for (;;) {
        sql += strspn(sql, " \t\r\n\f;");
        if (sql[0] == '-' && sql[1] == '-') {
            sql += strcspn(sql, "\n");
        } else if (sql[0] == '/' && sql[1] == '*') {
            const char *end = strstr(sql + 2, "*/");

            sql = end == NULL ? sql + strlen(sql) : end + 2;
        } else {
            return sql;
        }
    }
}

static enum poly_status detach(struct applying *a, struct poly_db *db, struct poly_error *err)
{
    const struct poly_schema *schema = atomic_load(&a->relational->schema);
    enum poly_status status = POLY_OK;

    for (size_t i = 0; i < schema->count && status == POLY_OK; i++) {
        if (schema->tables[i] != NULL && schema->tables[i]->exists)
            status = poly_table_detach(db, schema->tables[i], err);
    }
    a->detached = true;
    return status;
}

/* Runs one statement; *sql goes on to the next. */
static enum poly_status run_statement(struct applying *a, struct poly_db *db, const char **sql,
                                      struct poly_error *err)
{
    struct poly_guard *guard = poly_embedded_relational(a->relational)->guard;
    const char *start = first_word(*sql);
    sqlite3_stmt *statement = NULL;
    enum poly_status status = POLY_OK;
    int code;

    *sql = start;
    if (*start == '\0')
        return POLY_OK;
    if (!a->detached && (strncasecmp(start, "ALTER", 5) == 0 || strncasecmp(start, "DROP", 4) == 0))
        status = detach(a, db, err);
    if (status != POLY_OK)
        return status;
    guard->refused[0] = '\0';
    guard->admin = true;
    guard->level = GUARD_MIGRATION;
    code = sqlite3_prepare_v2(poly_db_handle(db), start, -1, &statement, sql);
    while (code == SQLITE_OK || code == SQLITE_ROW)
        code = statement == NULL ? SQLITE_DONE : sqlite3_step(statement);
    guard->level = GUARD_OFF;
    if (code != SQLITE_DONE && guard->refused[0] != '\0')
        status = poly_fail(err, POLY_DENIED, "line %d: %s", poly_migrate_line(a->text, start),
                           guard->refused);
    else if (code != SQLITE_DONE) {
        char where[32];

        snprintf(where, sizeof(where), "line %d", poly_migrate_line(a->text, start));
        status = poly_db_fail(db, code, where, err);
        if (status == POLY_EXISTS)
            status = POLY_INVALID;
    }
    sqlite3_finalize(statement);
    return status;
}

enum poly_status poly_embedded_migrate_run(struct poly_relational *relational, struct poly_db *db,
                                           const char *text, struct poly_error *err)
{
    struct applying a = {.relational = relational, .text = text};
    const char *sql = text;
    enum poly_status status = poly_guard_text(sql, true, err);

    while (status == POLY_OK && *sql != '\0')
        status = run_statement(&a, db, &sql, err);
    return status;
}

enum poly_status poly_embedded_migrate_begin(struct poly_db *db, struct poly_text meta,
                                             struct poly_error *err)
{
    sqlite3_stmt *statement = poly_db_prepare(db, sql_mark, err);
    enum poly_status status;

    if (statement == NULL)
        return poly_failed(err);
    poly_bind_text(statement, 1, meta);
    status = poly_db_done(db, statement, err);
    sqlite3_clear_bindings(statement);
    return status;
}

enum poly_status poly_embedded_migrate_end(struct poly_db *db, struct poly_error *err)
{
    return poly_db_exec(db, sql_unmark, err);
}
