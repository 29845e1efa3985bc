/*
 * SQL in SQLite. Outside of transactions it reads, on a connection of the
 * wall's that shows what the session may see. In a transaction it runs on the
 * writer, under guard.
 *
 * Values come out by the declared type of the column they come from, as records
 * do; what is computed, by its own storage class.
 */
#include <stdio.h>
#include <string.h>

#include "base/budget.h"
#include "base/clock.h"
#include "base/limits.h"
#include "stores/relational/embedded.h"

enum { STEPS = 500 /* of SQLite's machine between two looks at the clock */ };

/* --- what both have --- */

static bool blank(const char *sql)
{
    return sql[strspn(sql, " \t\r\n\f;")] == '\0';
}

/* One statement. *refused: the authorizer's reason, or empty. */
static enum poly_status prepare(struct poly_db *db, const char *sql, const char *refused,
                                sqlite3_stmt **statement, struct poly_error *err)
{
    sqlite3 *handle = poly_db_handle(db);
    const char *tail;
    int code = sqlite3_prepare_v2(handle, sql, -1, statement, &tail);

    if (code != SQLITE_OK && refused[0] != '\0')
        return poly_fail(err, POLY_DENIED, "SQL: %s", refused);
    if ((code & 0xff) == SQLITE_ERROR)
        return poly_fail_at(err, POLY_INVALID, sqlite3_error_offset(handle), "SQL: %s",
                            sqlite3_errmsg(handle));
    if (code != SQLITE_OK)
        return poly_db_fail(db, code, "SQL", err);
    if (*statement == NULL)
        return poly_fail(err, POLY_INVALID, "SQL: there is no statement");
    if (!blank(tail)) {
        sqlite3_finalize(*statement);
        *statement = NULL;
        return poly_fail_at(err, POLY_INVALID, (int)(tail - sql),
                            "SQL: one statement for each call; there is more after it");
    }
    return POLY_OK;
}

static enum poly_status bind_values(sqlite3_stmt *statement, const struct poly_value *values,
                                    size_t count, struct poly_error *err)
{
    int wanted = sqlite3_bind_parameter_count(statement);

    if ((size_t)wanted != count)
        return poly_fail(err, POLY_INVALID,
                         "SQL: the statement has %d parameters, %zu values were "
                         "given",
                         wanted, count);
    for (size_t i = 0; i < count; i++)
        poly_bind_value(statement, (int)i + 1, &values[i]);
    return POLY_OK;
}

static enum poly_status too_late(struct poly_error *err)
{
    return poly_fail(err, POLY_TIMEOUT, "SQL: the statement ran beyond the deadline");
}

/* The end of a budget; a statement that has overdrawn it is told so. */
static enum poly_status within_budget(enum poly_status status, struct poly_error *err)
{
    enum poly_status why = poly_budget_end();

    if (status == POLY_OK || why == POLY_OK)
        return status;
    if (why == POLY_TIMEOUT)
        return too_late(err);
    return poly_fail(err, POLY_LIMIT,
                     "SQL: the statement needs more than %lu MiB of memory (POLY_MAX_SQL_MEMORY)",
                     POLY_MAX_SQL_MEMORY >> 20);
}

static enum poly_status describe(struct poly_sql_rows *rows, sqlite3_stmt *statement,
                                 struct poly_arena *arena, struct poly_error *err)
{
    rows->count = sqlite3_column_count(statement);
    rows->fields = poly_arena_array(arena, (size_t)rows->count + 1, sizeof(*rows->fields));
    rows->types = poly_arena_array(arena, (size_t)rows->count + 1, sizeof(*rows->types));
    if (rows->fields == NULL || rows->types == NULL)
        return poly_no_memory(err);
    for (int i = 0; i < rows->count; i++) {
        const char *name = sqlite3_column_name(statement, i);

        rows->types[i] = poly_type_declared(sqlite3_column_decltype(statement, i));
        rows->fields[i].name = name == NULL ? NULL : poly_arena_copy(arena, name, strlen(name));
        if (rows->fields[i].name == NULL)
            return poly_no_memory(err);
    }
    return POLY_OK;
}

static enum poly_status step_all(struct poly_sql_rows *rows, struct poly_db *db,
                                 sqlite3_stmt *statement, struct poly_error *err)
{
    struct poly_row row = {rows->fields, (size_t)rows->count};
    enum poly_status status = POLY_OK;

    for (;;) {
        int code = sqlite3_step(statement);

        if (code == SQLITE_DONE)
            return POLY_OK;
        if ((code & 0xff) == SQLITE_INTERRUPT)
            return too_late(err);
        if (code != SQLITE_ROW)
            return poly_db_fail(db, code, "SQL", err);
        rows->visited++;
        for (int i = 0; i < rows->count && status == POLY_OK; i++)
            status = poly_column_restore(rows->types[i], statement, i, NULL, &rows->fields[i].value,
                                         err);
        if (status != POLY_OK || (rows->visit != NULL && !rows->visit(rows->arg, &row)))
            return status;
    }
}

/* --- reading --- */

static enum poly_status run_read(struct poly_sql_reading *r, struct poly_wall *wall,
                                 struct poly_error *err)
{
    sqlite3_stmt *statement = NULL;
    enum poly_status status;

    wall->deadline = poly_clock_monotonic() + (int64_t)poly_session_deadline_ms(r->session) * 1000;
    if (wall->closed)
        poly_budget_begin(POLY_MAX_SQL_MEMORY, wall->deadline);
    status = prepare(wall->db, r->sql, wall->refused, &statement, err);
    if (status == POLY_OK && wall->closed && wall->kind != POLY_WALL_ADMIN &&
        sqlite3_stmt_isexplain(statement) != 0)
        status = poly_fail(err, POLY_DENIED, "SQL: EXPLAIN needs the right ADMIN");
    if (status == POLY_OK && !sqlite3_stmt_readonly(statement))
        status = poly_fail(err, POLY_DENIED,
                           "SQL: outside of a transaction it only reads; write in one");
    if (status == POLY_OK)
        status = bind_values(statement, r->values, r->value_count, err);
    if (status == POLY_OK)
        status = describe(&r->rows, statement, poly_session_arena(r->session), err);
    if (status == POLY_OK)
        status = step_all(&r->rows, wall->db, statement, err);
    sqlite3_finalize(statement);
    status = within_budget(status, err);
    if (status != POLY_OK)
        poly_wall_clean(wall, err);
    return status;
}

static enum poly_wall_kind kind_of(const struct poly_session *session)
{
    if (poly_session_tenant(session).size > 0)
        return POLY_WALL_TENANT;
    return (poly_session_rights(session) & POLY_RIGHT_ADMIN) != 0 ? POLY_WALL_ADMIN
                                                                  : POLY_WALL_OPEN;
}

enum poly_status poly_embedded_sql_read(struct poly_sql_reading *r, struct poly_error *err)
{
    struct poly_relational *relational =
        poly_instance_relational(poly_session_instance(r->session));
    struct poly_wall *wall;
    enum poly_status status = poly_wall_take(relational, kind_of(r->session),
                                             poly_session_tenant(r->session), &wall, err);

    if (status != POLY_OK)
        return status;
    status = run_read(r, wall, err);
    poly_wall_give(relational, wall);
    return status;
}

/* --- in a transaction --- */

static int expired(void *arg)
{
    const struct poly_sql_operation *op = arg;

    return poly_clock_monotonic() > op->deadline;
}

static enum poly_status run_guarded(struct poly_sql_operation *op, struct poly_write *write,
                                    sqlite3_stmt **statement, struct poly_error *err)
{
    struct poly_relational *relational = poly_instance_relational(write->instance);
    struct poly_guard *guard = poly_embedded_relational(relational)->guard;
    enum poly_status status;

    guard->refused[0] = '\0';
    guard->admin = op->admin;
    guard->schema = atomic_load(&relational->schema);
    guard->level = GUARD_SQL;
    status = prepare(write->db, op->sql, guard->refused, statement, err);
    guard->level = GUARD_OFF;
    if (status == POLY_OK)
        status = bind_values(*statement, op->values, op->value_count, err);
    if (status == POLY_OK && !sqlite3_stmt_readonly(*statement))
        status = poly_write_mark(write, err);
    if (status == POLY_OK)
        status = describe(&op->rows, *statement, write->arena, err);
    if (status != POLY_OK)
        return status;
    guard->level = GUARD_SQL;
    sqlite3_progress_handler(poly_db_handle(write->db), STEPS, expired, op);
    status = step_all(&op->rows, write->db, *statement, err);
    sqlite3_progress_handler(poly_db_handle(write->db), 0, NULL, NULL);
    guard->level = GUARD_OFF;
    return status;
}

enum poly_status poly_embedded_sql_run(struct poly_sql_operation *op, struct poly_write *write,
                                       struct poly_error *err)
{
    struct poly_operation *operation = &op->base;
    sqlite3_stmt *statement = NULL;
    enum poly_status status;

    op->rows.visited = 0;
    op->deadline = poly_clock_monotonic() + (int64_t)op->deadline_ms * 1000;
    if (!op->admin) /* whose statements may change a table of any size */
        poly_budget_begin(POLY_MAX_SQL_MEMORY, op->deadline);
    status = run_guarded(op, write, &statement, err);
    if (status == POLY_OK) {
        operation->result.key = poly_text("");
        operation->result.version = 0;
        operation->result.count = sqlite3_stmt_readonly(statement)
                                      ? op->rows.visited
                                      : sqlite3_changes64(poly_db_handle(write->db));
    }
    sqlite3_finalize(statement);
    return within_budget(status, err);
}
