/*
 * SQL of sessions. Outside of transactions it reads, on a connection of the
 * wall's that shows what the session may see. In a transaction it runs on the
 * writer, under guard, and a tenant's session is refused: what a tenant may
 * write goes through records, where the tenant's column is set for it.
 *
 * Values come out by the declared type of the column they come from, as records
 * do; what is computed, by its own storage class.
 */
#include <stdio.h>
#include <string.h>

#include "base/budget.h"
#include "base/clock.h"
#include "base/limits.h"
#include "stores/relational/driver.h"

enum { STEPS = 500 /* of SQLite's machine between two looks at the clock */ };

/* --- what both have --- */

static enum poly_status check_call(const char *sql, const struct poly_value *values, size_t count,
                                   struct poly_error *err)
{
    if (sql == NULL || strlen(sql) > POLY_MAX_SQL)
        return poly_fail(err, sql == NULL ? POLY_INVALID : POLY_LIMIT,
                         "SQL: a statement has 1 to %d bytes", POLY_MAX_SQL);
    if (count > POLY_MAX_SQL_VALUES)
        return poly_fail(err, POLY_LIMIT, "SQL: %zu values, the limit is %d", count,
                         POLY_MAX_SQL_VALUES);
    for (size_t i = 0; i < count; i++) {
        enum poly_type type = values[i].type;
        const char *why =
            type == POLY_TEXT || type == POLY_JSON ? poly_text_problem(values[i].text) : NULL;

        if (why != NULL)
            return poly_fail(err, POLY_INVALID, "SQL: value ?%zu %s", i + 1, why);
    }
    return POLY_OK;
}

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

struct rows {
    struct poly_field *fields;
    enum poly_type *types;
    int count;
    poly_row_fn *visit;
    void *arg;
    int64_t visited;
};

static enum poly_status describe(struct rows *rows, sqlite3_stmt *statement,
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

static enum poly_status step_all(struct rows *rows, struct poly_db *db, sqlite3_stmt *statement,
                                 struct poly_error *err)
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

struct reading {
    struct poly_session *session;
    const char *sql;
    const struct poly_value *values;
    size_t value_count;
    struct rows rows;
};

static enum poly_status run_read(struct reading *r, struct poly_wall *wall, struct poly_error *err)
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

/* A tenant whose name a tenant's column cannot hold exactly might meet another's rows. */
static enum poly_status check_tenant(struct poly_relational *relational,
                                     const struct poly_session *session, struct poly_error *err)
{
    const struct poly_schema *schema = atomic_load(&relational->schema);
    struct poly_text tenant = poly_session_tenant(session);
    enum poly_status status = POLY_OK;

    for (size_t i = 0; i < schema->count && tenant.size > 0 && status == POLY_OK; i++) {
        const struct poly_table *table = schema->tables[i];

        if (table != NULL && table->status == POLY_OK && table->domain->tenant != NULL)
            status = poly_record_tenant(table, tenant, err);
    }
    return status;
}

static enum poly_status read_behind_wall(struct reading *r, struct poly_error *err)
{
    struct poly_relational *relational =
        poly_instance_relational(poly_session_instance(r->session));
    struct poly_wall *wall;
    struct poly_db *db;
    enum poly_status status = poly_session_require(r->session, POLY_RIGHT_SQL, "SQL", err);

    if (status == POLY_OK)
        status = check_tenant(relational, r->session, err);
    /* The fence: what follows sees at least what the session's token stands for. */
    if (status == POLY_OK)
        status = poly_session_read(r->session, &db, err);
    if (status != POLY_OK)
        return status;
    poly_session_read_end(r->session);
    status = poly_wall_take(relational, kind_of(r->session), poly_session_tenant(r->session), &wall,
                            err);
    if (status != POLY_OK)
        return status;
    status = run_read(r, wall, err);
    poly_wall_give(relational, wall);
    return status;
}

enum poly_status poly_sql_read(struct poly_session *session, const char *sql,
                               const struct poly_value *values, size_t value_count,
                               poly_row_fn *visit, void *arg, struct poly_error *err)
{
    struct reading r = {.session = session,
                        .sql = sql,
                        .values = values,
                        .value_count = value_count,
                        .rows = {.visit = visit, .arg = arg}};
    struct poly_error local;
    enum poly_status status;

    err = err == NULL ? &local : err;
    status = check_call(sql, values, value_count, err);
    return status == POLY_OK ? read_behind_wall(&r, err) : status;
}

/* --- in a transaction --- */

struct sql_operation {
    struct poly_operation base;
    const char *sql;
    struct poly_value *values;
    size_t value_count;
    bool admin;
    uint32_t deadline_ms;
    int64_t deadline;
    struct rows rows;
};

static int expired(void *arg)
{
    const struct sql_operation *op = arg;

    return poly_clock_monotonic() > op->deadline;
}

static enum poly_status run_guarded(struct sql_operation *op, struct poly_write *write,
                                    sqlite3_stmt **statement, struct poly_error *err)
{
    struct poly_relational *relational = poly_instance_relational(write->instance);
    struct poly_guard *guard = relational->guard;
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

static enum poly_status run(struct poly_operation *operation, struct poly_write *write,
                            struct poly_error *err)
{
    struct sql_operation *op = (struct sql_operation *)operation;
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

static const struct poly_operation_type sql_type = {.name = "sql", .run = run};

static enum poly_status copy_values(struct sql_operation *op, const struct poly_value *values,
                                    struct poly_arena *arena, struct poly_error *err)
{
    op->values = poly_arena_array(arena, op->value_count + 1, sizeof(*op->values));
    if (op->values == NULL)
        return poly_no_memory(err);
    for (size_t i = 0; i < op->value_count; i++) {
        struct poly_value *value = &op->values[i];

        *value = values[i];
        if (value->type != POLY_TEXT && value->type != POLY_BYTES && value->type != POLY_JSON)
            continue;
        value->text.data = poly_arena_copy(arena, values[i].text.data, values[i].text.size);
        if (value->text.data == NULL)
            return poly_no_memory(err);
    }
    return POLY_OK;
}

static enum poly_status may_write(struct poly_session *session, struct poly_error *err)
{
    enum poly_status status = poly_session_require(session, POLY_RIGHT_SQL, "SQL", err);

    if (status == POLY_OK)
        status = poly_session_require(session, POLY_RIGHT_WRITE, "SQL in a transaction", err);
    if (status == POLY_OK && poly_session_tenant(session).size > 0)
        return poly_fail(err, POLY_DENIED,
                         "SQL in a transaction could leave the tenant's rows: a session with a "
                         "tenant writes records (put, patch, delete)");
    return status;
}

enum poly_status poly_txn_sql(struct poly_txn *txn, const char *sql,
                              const struct poly_value *values, size_t value_count,
                              poly_row_fn *visit, void *arg, struct poly_error *err)
{
    struct poly_session *session = poly_txn_session(txn);
    struct poly_arena *arena = poly_txn_arena(txn);
    struct sql_operation *op = poly_arena_alloc(arena, sizeof(*op));
    struct poly_error local;
    enum poly_status status;

    err = err == NULL ? &local : err;
    if (op == NULL)
        return poly_no_memory(err);
    status = may_write(session, err);
    if (status == POLY_OK)
        status = check_call(sql, values, value_count, err);
    if (status != POLY_OK)
        return status;
    if (visit != NULL && !poly_txn_interactive(txn))
        return poly_fail(err, POLY_INVALID,
                         "SQL: a batch transaction runs at its commit and returns no rows; begin "
                         "an interactive one");
    op->base.type = &sql_type;
    op->admin = (poly_session_rights(session) & POLY_RIGHT_ADMIN) != 0;
    op->deadline_ms = poly_session_deadline_ms(session);
    op->rows.visit = visit;
    op->rows.arg = arg;
    op->value_count = value_count;
    op->sql = poly_arena_copy(arena, sql, strlen(sql));
    status = op->sql == NULL ? poly_no_memory(err) : poly_guard_text(sql, op->admin, err);
    if (status == POLY_OK)
        status = copy_values(op, values, arena, err);
    if (status != POLY_OK)
        return status;
    poly_txn_digest(txn, sql, strlen(sql) + 1);
    for (size_t i = 0; i < value_count; i++)
        poly_txn_digest_value(txn, &values[i]);
    return poly_txn_add(txn, &op->base, err);
}
