/*
 * SQL of sessions: who may, and with what. Outside of transactions it reads
 * what the session may see. In a transaction a tenant's session is refused: what
 * a tenant may write goes through records, where the tenant's column is set for
 * it.
 */
#include <string.h>

#include "base/limits.h"
#include "stores/relational/sql.h"

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

/* --- reading --- */

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

static enum poly_status run_read(struct poly_sql_reading *r, struct poly_error *err)
{
    struct poly_relational *relational =
        poly_instance_relational(poly_session_instance(r->session));
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
    return relational->driver->sql_read(r, err);
}

enum poly_status poly_sql_read(struct poly_session *session, const char *sql,
                               const struct poly_value *values, size_t value_count,
                               poly_row_fn *visit, void *arg, struct poly_error *err)
{
    struct poly_sql_reading r = {.session = session,
                                 .sql = sql,
                                 .values = values,
                                 .value_count = value_count,
                                 .rows = {.visit = visit, .arg = arg}};
    struct poly_error local;
    enum poly_status status;

    err = err == NULL ? &local : err;
    status = check_call(sql, values, value_count, err);
    return status == POLY_OK ? run_read(&r, err) : status;
}

/* --- in a transaction --- */

static enum poly_status run(struct poly_operation *operation, struct poly_write *write,
                            struct poly_error *err)
{
    return poly_instance_relational(write->instance)
        ->driver->sql_run((struct poly_sql_operation *)operation, write, err);
}

static const struct poly_operation_type sql_type = {.name = "sql", .run = run};

static enum poly_status copy_values(struct poly_sql_operation *op, const struct poly_value *values,
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
    struct poly_sql_operation *op = poly_arena_alloc(arena, sizeof(*op));
    const struct poly_relational_driver *driver =
        poly_instance_relational(poly_session_instance(session))->driver;
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
    status = op->sql == NULL ? poly_no_memory(err) : driver->sql_check(sql, op->admin, err);
    if (status == POLY_OK)
        status = copy_values(op, values, arena, err);
    if (status != POLY_OK)
        return status;
    poly_txn_digest(txn, sql, strlen(sql) + 1);
    for (size_t i = 0; i < value_count; i++)
        poly_txn_digest_value(txn, &values[i]);
    return poly_txn_add(txn, &op->base, err);
}
