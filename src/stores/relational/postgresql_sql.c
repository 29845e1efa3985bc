/*
 * SQL on PostgreSQL, behind the guard. Reads run in a transaction of their own,
 * READ ONLY, through a cursor, so that a result of any size takes the memory of one
 * page; they end with ROLLBACK, whatever they were.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/limits.h"
#include "stores/relational/postgresql.h"
#include "stores/relational/postgresql_guard.h"

enum { PAGE = 500 };

static const char declare[] = "DECLARE poly_rows NO SCROLL CURSOR FOR ";
static const char fetch[] = "FETCH FORWARD 500 FROM poly_rows";

/* --- what both have --- */

static enum poly_status in_words(const char *sql, size_t shift, enum poly_status status,
                                 struct poly_error *err)
{
    int position = err->position >= (int)shift ? err->position - (int)shift : -1;

    (void)sql;
    if (status == POLY_TIMEOUT)
        return poly_fail(err, POLY_TIMEOUT, "SQL: the statement ran beyond the deadline");
    status = poly_fail_in(err, status, "SQL");
    err->position = position;
    return status;
}

static enum poly_status check_count(int wanted, size_t count, struct poly_error *err)
{
    if ((size_t)wanted == count)
        return POLY_OK;
    return poly_fail(err, POLY_INVALID,
                     "SQL: the statement has %d parameters, %zu values were given", wanted, count);
}

/* NULL: out of memory. */
static struct poly_pg_param *bind_values(struct poly_pg_params *params, struct poly_arena *arena,
                                         const struct poly_value *values, size_t count)
{
    struct poly_pg_param *memory = poly_arena_array(arena, count + 1, sizeof(*memory));

    if (memory == NULL)
        return NULL;
    poly_pg_params_in(params, memory, (int)count);
    for (size_t i = 0; i < count; i++)
        poly_pg_add(params, &values[i]);
    return memory;
}

static enum poly_status describe(struct poly_sql_rows *rows, const PGresult *result,
                                 struct poly_arena *arena, struct poly_error *err)
{
    rows->count = PQnfields(result);
    rows->fields = poly_arena_array(arena, (size_t)rows->count + 1, sizeof(*rows->fields));
    if (rows->fields == NULL)
        return poly_no_memory(err);
    for (int i = 0; i < rows->count; i++) {
        const char *name = PQfname(result, i);

        rows->fields[i].name = poly_arena_copy(arena, name, strlen(name));
        if (rows->fields[i].name == NULL)
            return poly_no_memory(err);
    }
    return POLY_OK;
}

/* *more false: the visitor wants no further row. */
static enum poly_status visit_all(struct poly_sql_rows *rows, const PGresult *result,
                                  struct poly_arena *arena, bool *more, struct poly_error *err)
{
    struct poly_row row = {rows->fields, (size_t)rows->count};

    for (int r = 0; r < PQntuples(result) && *more; r++) {
        struct poly_arena_mark mark = poly_arena_mark(arena);
        enum poly_status status = POLY_OK;

        rows->visited++;
        for (int i = 0; i < rows->count && status == POLY_OK; i++)
            status = poly_pg_value(result, r, i, arena, &rows->fields[i].value, err);
        if (status != POLY_OK)
            return status;
        if (rows->visit != NULL)
            *more = rows->visit(rows->arg, &row);
        poly_arena_rewind(arena, mark);
    }
    return POLY_OK;
}

/* --- reading --- */

static enum poly_guard_kind kind_of(const struct poly_session *session)
{
    return poly_session_tenant(session).size == 0 &&
                   (poly_session_rights(session) & POLY_RIGHT_ADMIN) != 0
               ? POLY_GUARD_ADMIN
               : POLY_GUARD_READ;
}

static enum poly_status fetch_all(struct poly_sql_reading *r, struct poly_pg *pg,
                                  struct poly_error *err)
{
    struct poly_arena *arena = poly_session_arena(r->session);
    bool more = true, described = false;
    enum poly_status status = POLY_OK;

    while (status == POLY_OK && more) {
        PGresult *result;

        status = poly_pg_run_once(pg, fetch, NULL, &result, err);
        if (status != POLY_OK)
            return status;
        if (!described)
            status = describe(&r->rows, result, arena, err);
        described = true;
        if (status == POLY_OK)
            status = visit_all(&r->rows, result, arena, &more, err);
        more = more && PQntuples(result) == PAGE;
        PQclear(result);
    }
    return status;
}

/* EXPLAIN has no cursor. */
static enum poly_status run_plain(struct poly_sql_reading *r, struct poly_pg *pg, const char *sql,
                                  const struct poly_pg_params *params, struct poly_error *err)
{
    struct poly_arena *arena = poly_session_arena(r->session);
    bool more = true;
    PGresult *result;
    enum poly_status status = poly_pg_run_once(pg, sql, params, &result, err);

    if (status != POLY_OK)
        return status;
    status = describe(&r->rows, result, arena, err);
    if (status == POLY_OK)
        status = visit_all(&r->rows, result, arena, &more, err);
    PQclear(result);
    return status;
}

static enum poly_status run_read(struct poly_sql_reading *r, struct poly_pg *pg, const char *sql,
                                 struct poly_error *err)
{
    struct poly_arena *arena = poly_session_arena(r->session);
    struct poly_pg_params params;
    const char *words = sql + strspn(sql, " \t\r\n\f\v(");
    bool plain = strncasecmp(words, "EXPLAIN", 7) == 0;
    char *text = plain ? poly_arena_copy(arena, sql, strlen(sql))
                       : poly_arena_printf(arena, "%s%s", declare, sql);
    enum poly_status status;

    if (text == NULL || bind_values(&params, arena, r->values, r->value_count) == NULL)
        return poly_no_memory(err);
    if (plain) {
        status = run_plain(r, pg, text, &params, err);
    } else {
        PGresult *result;

        status = poly_pg_run_once(pg, text, &params, &result, err);
        if (status == POLY_OK) {
            PQclear(result);
            status = fetch_all(r, pg, err);
        }
    }
    return status == POLY_OK ? status : in_words(sql, plain ? 0 : sizeof(declare) - 1, status, err);
}

enum poly_status poly_postgresql_sql_read(struct poly_sql_reading *r, struct poly_error *err)
{
    struct poly_owner *owner = poly_instance_owner(poly_session_instance(r->session));
    struct poly_arena *arena = poly_session_arena(r->session);
    char *sql = poly_arena_alloc(arena, strlen(r->sql) + 1);
    int64_t deadline =
        poly_clock_monotonic() + (int64_t)poly_session_deadline_ms(r->session) * 1000;
    struct poly_text tenant = poly_session_tenant(r->session);
    struct poly_db *db;
    int wanted;
    enum poly_status status;

    if (sql == NULL)
        return poly_no_memory(err);
    status = poly_guard_postgresql(r->sql, kind_of(r->session), sql, &wanted, err);
    if (status == POLY_OK)
        status = check_count(wanted, r->value_count, err);
    if (status != POLY_OK)
        return status;
    db = owner->driver->take(owner, err);
    if (db == NULL)
        return poly_failed(err);
    poly_pg_deadline(poly_pg_of(db), deadline);
    status = poly_pg_begin(poly_pg_of(db), POLY_PG_SNAPSHOT, true, err);
    if (status == POLY_OK && kind_of(r->session) != POLY_GUARD_ADMIN)
        status =
            poly_postgresql_wall_enter(poly_instance_relational(poly_session_instance(r->session)),
                                       poly_pg_of(db), tenant, arena, err);
    if (status == POLY_OK)
        status = run_read(r, poly_pg_of(db), sql, err);
    poly_pg_deadline(poly_pg_of(db), -1);
    poly_pg_roll_back(poly_pg_of(db));
    owner->driver->give(owner, db);
    return status;
}

/* --- in a transaction --- */

/* The role of the wall only reads, and ours would read everything. */
enum poly_status poly_postgresql_sql_check(const char *sql, bool admin, struct poly_error *err)
{
    size_t size = strlen(sql) + 1;

    if (!admin)
        return poly_fail(err, POLY_DENIED,
                         "SQL in a transaction needs the right ADMIN on PostgreSQL");

    struct poly_arena *arena = poly_arena_new(size + 65536);
    char *out = arena == NULL ? NULL : poly_arena_alloc(arena, size);
    int wanted;
    enum poly_status status = out == NULL
                                  ? poly_no_memory(err)
                                  : poly_guard_postgresql(sql, POLY_GUARD_WRITE, out, &wanted, err);

    poly_arena_free(arena);
    return status;
}

/* Position of the last record that this transaction has written. */
static const char sql_last[] =
    "SELECT CASE WHEN EXISTS (SELECT 1 FROM poly.log WHERE position = last AND"
    " txn = pg_current_xact_id_if_assigned()::text::bigint) THEN last ELSE 0 END FROM"
    " (SELECT currval('poly.log_position') AS last WHERE"
    "  current_setting('poly.begun', true) = pg_current_xact_id_if_assigned()::text) AS l";

static enum poly_status take_position(struct poly_write *write, struct poly_pg *pg,
                                      struct poly_error *err)
{
    PGresult *result;
    enum poly_status status = poly_pg_run(pg, sql_last, NULL, &result, err);

    if (status != POLY_OK)
        return status;
    if (PQntuples(result) > 0 && (uint64_t)poly_pg_int(result, 0, 0) > write->position)
        write->position = (uint64_t)poly_pg_int(result, 0, 0);
    PQclear(result);
    return POLY_OK;
}

static enum poly_status run_statement(struct poly_sql_operation *op, struct poly_write *write,
                                      const char *sql, struct poly_error *err)
{
    struct poly_pg *pg = poly_pg_of(write->db);
    struct poly_pg_params params;
    bool more = true;
    PGresult *result;
    enum poly_status status;

    if (bind_values(&params, write->arena, op->values, op->value_count) == NULL)
        return poly_no_memory(err);
    status = poly_pg_run_once(pg, sql, &params, &result, err);
    if (status != POLY_OK)
        return in_words(sql, 0, status, err);
    status = describe(&op->rows, result, write->arena, err);
    if (status == POLY_OK)
        status = visit_all(&op->rows, result, write->arena, &more, err);
    op->base.result = (struct poly_result){.key = poly_text(""), .count = poly_pg_changed(result)};
    PQclear(result);
    return status == POLY_OK ? take_position(write, pg, err) : status;
}

enum poly_status poly_postgresql_sql_run(struct poly_sql_operation *op, struct poly_write *write,
                                         struct poly_error *err)
{
    char *sql = poly_arena_alloc(write->arena, strlen(op->sql) + 1);
    int64_t deadline = poly_clock_monotonic() + (int64_t)op->deadline_ms * 1000;
    int wanted;
    enum poly_status status;

    if (sql == NULL)
        return poly_no_memory(err);
    op->rows.visited = 0;
    status = poly_guard_postgresql(op->sql, POLY_GUARD_WRITE, sql, &wanted, err);
    if (status == POLY_OK)
        status = check_count(wanted, op->value_count, err);
    if (status == POLY_OK)
        status = poly_write_mark(write, err);
    if (status != POLY_OK)
        return status;
    poly_pg_deadline(poly_pg_of(write->db), deadline);
    status = run_statement(op, write, sql, err);
    poly_pg_deadline(poly_pg_of(write->db), -1);
    return status;
}
