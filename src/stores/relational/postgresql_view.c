/*
 * A materialised view on PostgreSQL: poly.view_NAME, refreshed CONCURRENTLY, in a
 * transaction that also notes how far the log was complete before its snapshot was taken. Readers
 * never wait for it.
 *
 * Row level security does not reach into materialised views. What is read under the
 * view's name is therefore a plain view over it, which shows the role that
 * tenants' SQL runs as (postgresql_wall.c) the rows of the tenant that the
 * transaction is, and everybody else all rows. Where no tenant's column is declared,
 * that role has no right to read it.
 *
 * A new definition is built beside the old one, and takes its place at the end. Of
 * several daemons one refreshes at a time: a lock of the transaction says which, and
 * whoever loses its connection has lost that transaction too.
 */
#include <string.h>
#include <strings.h>

#include "core/config.h"
#include "stores/relational/postgresql.h"
#include "stores/relational/postgresql_guard.h"
#include "stores/relational/view.h"

enum { TEXT_MAX = 4 * 1024 * 1024 };

static const char sql_lock[] = "SELECT pg_try_advisory_xact_lock(1886350466, hashtext($1))";
static const char sql_local[] = "SET LOCAL client_min_messages = warning;"
                                "SET LOCAL statement_timeout = 0";
static const char sql_safe[] = "SELECT safe FROM poly.horizon()";
/* Do both stand as they were made, and may tenants read what they are to read? */
static const char sql_stands[] =
    "SELECT EXISTS (SELECT 1 FROM poly.view v JOIN pg_rewrite w"
    "  ON w.ev_class = to_regclass(v.relation) AND md5(w.ev_action::text) = v.shown"
    " WHERE v.name = $1 AND to_regclass('poly.' || quote_ident('view_' || $1)) IS NOT NULL"
    " AND (NOT v.walled OR NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'poly_tenant'"
    "  AND NOT has_table_privilege(oid, w.ev_class, 'SELECT'))))";

/* What a materialised view rests on, through views of SQL: tables, each by its partitioned one. */
#define DEPENDS(first)                                                                             \
    "WITH RECURSIVE d(name, oid) AS (" first " UNION"                                              \
    " SELECT d.name, p.refobjid FROM d JOIN pg_rewrite w ON w.ev_class = d.oid"                    \
    " JOIN pg_depend p ON p.classid = 'pg_rewrite'::regclass AND p.objid = w.oid"                  \
    " AND p.refclassid = 'pg_class'::regclass)"
static const char sql_reads[] = DEPENDS(
    "SELECT $1::text, $2::regclass::oid") " SELECT DISTINCT quote_ident(n.nspname) || '.' || "
                                          "quote_ident(c.relname)"
                                          " FROM d JOIN pg_class c ON c.oid = "
                                          "coalesce(pg_partition_root(d.oid), d.oid)"
                                          " JOIN pg_namespace n ON n.oid = c.relnamespace"
                                          " WHERE c.relkind <> 'v' AND d.oid <> $2::regclass";
static const char sql_depends[] =
    DEPENDS("SELECT name, to_regclass('poly.' || quote_ident('view_' || name))::oid FROM "
            "poly.view") " SELECT DISTINCT d.name, quote_ident(c.relname) FROM d JOIN pg_class "
                         "c ON c.oid = d.oid"
                         " WHERE c.relname <> 'view_' || d.name ORDER BY 1";
static const char sql_columns[] =
    "SELECT attname::text FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0"
    " AND NOT attisdropped ORDER BY attnum";
static const char sql_drop_shown[] =
    "SELECT format('DROP VIEW %s', v.relation) FROM poly.view v JOIN pg_rewrite w"
    " ON w.ev_class = to_regclass(v.relation) AND md5(w.ev_action::text) = v.shown"
    " WHERE v.name = $1";
static const char sql_note[] =
    "UPDATE poly.view SET relation = (SELECT quote_ident(n.nspname) || '.' || "
    "quote_ident(c.relname)"
    "  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    "  WHERE c.oid = to_regclass(quote_ident($1))),"
    " shown = (SELECT md5(ev_action::text) FROM pg_rewrite"
    "  WHERE ev_class = to_regclass(quote_ident($1))), walled = $2 WHERE name = $1";
static const char sql_grant[] =
    "DO $$BEGIN IF EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'poly_tenant') THEN"
    " EXECUTE format('GRANT USAGE ON SCHEMA %%I TO poly_tenant', current_schema());"
    " GRANT SELECT ON %s TO poly_tenant; END IF; END$$";
static const char sql_taken_down[] = "UPDATE poly.view SET definition = NULL WHERE name = $1";
static const char sql_forget[] = "DELETE FROM poly.view WHERE name = $1";

/* --- small --- */

/* poly."view_NAME" */
static void add_kept(struct poly_buffer *b, const char *prefix, const char *name)
{
    poly_buffer_printf(b, "poly.\"%s%s\"", prefix, name); /* names have no quotes in them */
}

static enum poly_status exec(struct poly_pg *pg, struct poly_buffer *sql, struct poly_error *err)
{
    enum poly_status status =
        poly_buffer_ok(sql) ? poly_pg_exec(pg, sql->data, err) : poly_no_memory(err);

    poly_buffer_clear(sql);
    return status;
}

static enum poly_status ask(struct poly_pg *pg, const char *sql, const char *name, bool *yes,
                            struct poly_error *err)
{
    struct poly_pg_params params;
    PGresult *rows;
    enum poly_status status;

    poly_pg_params(&params);
    poly_pg_add_text(&params, poly_text(name));
    status = poly_pg_run(pg, sql, &params, &rows, err);
    if (status != POLY_OK)
        return status;
    *yes = poly_pg_bool(rows, 0, 0);
    PQclear(rows);
    return POLY_OK;
}

static enum poly_status tell(struct poly_pg *pg, const char *sql, const char *name,
                             struct poly_error *err)
{
    struct poly_pg_params params;

    poly_pg_params(&params);
    poly_pg_add_text(&params, poly_text(name));
    return poly_pg_done(pg, sql, &params, NULL, err);
}

static enum poly_status explain(struct poly_pg *pg, enum poly_status status, struct poly_error *err)
{
    const char *state = poly_pg_state(pg);

    if (strcmp(state, "23505") == 0 || strcmp(state, "21000") == 0)
        return poly_fail(err, POLY_INVALID,
                         "two rows of its query have the same key: name more columns under 'key'");
    return status == POLY_EXISTS ? poly_fail_in(err, POLY_INVALID, "its query") : status;
}

/* --- what it reads --- */

static enum poly_status note_table(struct poly_view_job *job, const char *name,
                                   struct poly_error *err)
{
    const struct poly_config *config = job->relational->config;

    for (size_t i = 0; i < poly_config_domains(config); i++) {
        const struct poly_table *table =
            poly_relational_table(job->relational, &config->domains[i]);

        if (table != NULL && poly_postgresql_table(table)->name != NULL &&
            strcmp(poly_postgresql_table(table)->name, name) == 0)
            return config->domains[i].made == NULL ? poly_view_reads(job, i, err)
                                                   : poly_view_none(name, true, err);
    }
    return poly_view_none(name, false, err);
}

static enum poly_status note_reads(struct poly_view_job *job, struct poly_pg *pg,
                                   const char *prefix, struct poly_error *err)
{
    struct poly_pg_params params;
    struct poly_buffer name;
    PGresult *rows;
    enum poly_status status;

    memset(job->reads, 0, sizeof(job->reads));
    poly_buffer_init(&name, 1024);
    add_kept(&name, prefix, job->config->name);
    if (!poly_buffer_ok(&name))
        return poly_no_memory(err);
    poly_pg_params(&params);
    poly_pg_add_text(&params, poly_text(job->config->name));
    poly_pg_add_text(&params, poly_text(name.data));
    status = poly_pg_run(pg, sql_reads, &params, &rows, err);
    poly_buffer_release(&name);
    if (status != POLY_OK)
        return status;
    for (int row = 0; row < PQntuples(rows) && status == POLY_OK; row++)
        status = note_table(job, poly_pg_text(rows, row, 0).data, err);
    PQclear(rows);
    return status;
}

/* --- looking --- */

static enum poly_status check_text(struct poly_view_job *job, struct poly_error *err)
{
    size_t size = strlen(job->query) + 1;
    struct poly_arena *arena = poly_arena_new(size + 65536);
    char *out = arena == NULL ? NULL : poly_arena_alloc(arena, size);
    int parameters = 0;
    enum poly_status status =
        out == NULL ? poly_no_memory(err)
                    : poly_guard_postgresql(job->query, POLY_GUARD_READ, out, &parameters, err);

    poly_arena_free(arena);
    if (status == POLY_OK && parameters > 0)
        return poly_fail(err, POLY_INVALID, "its query cannot have parameters");
    return status == POLY_OK ? POLY_OK : poly_fail_in(err, status, "its query");
}

static enum poly_status look(struct poly_view_job *job, struct poly_db *db, struct poly_error *err)
{
    struct poly_view_row row;
    bool stands = false;
    enum poly_status status = poly_view_load(db, job, &row, err);

    if (status == POLY_OK)
        status = ask(poly_pg_of(db), sql_stands, job->config->name, &stands, err);
    if (status != POLY_OK)
        return status;
    job->fits = row.there && row.same && stands;
    job->foreign = row.there && !row.same && !row.none;
    return job->fits ? note_reads(job, poly_pg_of(db), "view_", err) : POLY_OK;
}

/* Whether its query runs is known when it is built. */
static enum poly_status check(struct poly_view_job *job, struct poly_error *err)
{
    struct poly_owner *owner = poly_instance_owner(job->relational->instance);
    enum poly_status status = check_text(job, err);
    struct poly_db *db;

    poly_view_define(job, "");
    if (status != POLY_OK)
        return status;
    db = owner->driver->take(owner, err);
    if (db == NULL)
        return poly_failed(err);
    status = look(job, db, err);
    owner->driver->give(owner, db);
    return status;
}

/* --- building --- */

struct columns {
    const char *names[POLY_MAX_COLUMNS + 1];
    size_t count;
    PGresult *rows; /* has the names */
};

static enum poly_status read_columns(const struct poly_view_job *job, struct poly_pg *pg,
                                     const char *prefix, struct columns *columns,
                                     struct poly_error *err)
{
    struct poly_pg_params params;
    struct poly_buffer name;
    enum poly_status status;

    *columns = (struct columns){.count = 0};
    poly_buffer_init(&name, 1024);
    add_kept(&name, prefix, job->config->name);
    poly_pg_params(&params);
    poly_pg_add_text(&params, (struct poly_text){name.data, name.size});
    status = poly_buffer_ok(&name) ? poly_pg_run(pg, sql_columns, &params, &columns->rows, err)
                                   : poly_no_memory(err);
    poly_buffer_release(&name);
    if (status != POLY_OK)
        return status;
    columns->count = (size_t)PQntuples(columns->rows);
    for (size_t i = 0; i < columns->count && i <= POLY_MAX_COLUMNS; i++)
        columns->names[i] = poly_pg_text(columns->rows, (int)i, 0).data;
    return poly_view_columns(job, columns->names, columns->count, err);
}

/* A null would be no key: two of them are not the same row to PostgreSQL. */
static enum poly_status refuse_nulls(const struct poly_view_job *job, struct poly_pg *pg,
                                     const char *prefix, const struct columns *columns,
                                     struct poly_error *err)
{
    const char *before = " WHERE ";
    struct poly_buffer sql;
    bool found = false;
    PGresult *rows;
    enum poly_status status;

    poly_buffer_init(&sql, TEXT_MAX);
    poly_buffer_text(&sql, "SELECT EXISTS (SELECT 1 FROM ");
    add_kept(&sql, prefix, job->config->name);
    for (size_t i = 0; i < columns->count; i++) {
        if (!poly_view_in_key(job->config, columns->names[i]))
            continue;
        poly_buffer_text(&sql, before);
        poly_sql_name(&sql, columns->names[i]);
        poly_buffer_text(&sql, " IS NULL");
        before = " OR ";
    }
    poly_buffer_text(&sql, ")");
    status = poly_buffer_ok(&sql) ? poly_pg_run_once(pg, sql.data, NULL, &rows, err)
                                  : poly_no_memory(err);
    poly_buffer_release(&sql);
    if (status != POLY_OK)
        return status;
    found = poly_pg_bool(rows, 0, 0);
    PQclear(rows);
    if (found)
        return poly_fail(err, POLY_INVALID,
                         "a row of its query has null in a column of its key: leave such rows "
                         "out, or use coalesce()");
    return POLY_OK;
}

static enum poly_status make_key(const struct poly_view_job *job, struct poly_pg *pg,
                                 const struct columns *columns, struct poly_buffer *sql,
                                 struct poly_error *err)
{
    const char *before = "(";

    poly_buffer_text(sql, "CREATE UNIQUE INDEX ON ");
    add_kept(sql, "building_", job->config->name);
    for (size_t i = 0; i < columns->count; i++) {
        if (!poly_view_in_key(job->config, columns->names[i]))
            continue;
        poly_buffer_text(sql, before);
        poly_sql_name(sql, columns->names[i]);
        before = ", ";
    }
    poly_buffer_text(sql, ")");
    enum poly_status status = exec(pg, sql, err);

    return status == POLY_OK ? refuse_nulls(job, pg, "building_", columns, err)
                             : explain(pg, status, err);
}

/* What is read under its name. The tenant is compared byte for byte, whatever the column's
 * collation and type. */
static void add_shown(struct poly_buffer *sql, const struct poly_view_job *job,
                      const struct columns *columns)
{
    const char *tenant = job->config->tenant;

    poly_buffer_text(sql, "CREATE VIEW ");
    poly_sql_name(sql, job->config->name);
    poly_buffer_text(sql, " WITH (security_barrier) AS SELECT * FROM ");
    add_kept(sql, "view_", job->config->name);
    for (size_t i = 0; i < columns->count && tenant != NULL; i++) {
        if (strcasecmp(columns->names[i], tenant) != 0)
            continue;
        poly_buffer_text(sql, " WHERE current_user <> 'poly_tenant' OR ");
        poly_sql_name(sql, columns->names[i]);
        poly_buffer_text(sql, "::text COLLATE \"C\" = (SELECT poly.tenant());");
        tenant = NULL;
    }
    poly_buffer_text(sql, ";");
}

/* Drops what stands: what is read only when nobody has put something else there. */
static enum poly_status drop_standing(struct poly_pg *pg, const char *name, struct poly_error *err)
{
    struct poly_pg_params params;
    struct poly_buffer sql;
    PGresult *rows;
    enum poly_status status;

    poly_pg_params(&params);
    poly_pg_add_text(&params, poly_text(name));
    status = poly_pg_run(pg, sql_drop_shown, &params, &rows, err);
    if (status != POLY_OK)
        return status;
    poly_buffer_init(&sql, TEXT_MAX);
    if (PQntuples(rows) == 1)
        poly_buffer_printf(&sql, "%s;", poly_pg_text(rows, 0, 0).data);
    PQclear(rows);
    poly_buffer_text(&sql, "DROP MATERIALIZED VIEW IF EXISTS ");
    add_kept(&sql, "view_", name);
    status = exec(pg, &sql, err);
    poly_buffer_release(&sql);
    return status;
}

/* The new one takes the place of the old one; only here does anybody wait for it. */
static enum poly_status put_in_place(const struct poly_view_job *job, struct poly_pg *pg,
                                     const struct columns *columns, struct poly_buffer *sql,
                                     struct poly_error *err)
{
    enum poly_status status = poly_pg_exec(pg, "SET LOCAL lock_timeout = '2s'", err);

    if (status == POLY_OK)
        status = drop_standing(pg, job->config->name, err);
    poly_buffer_text(sql, "ALTER MATERIALIZED VIEW ");
    add_kept(sql, "building_", job->config->name);
    poly_buffer_printf(sql, " RENAME TO \"view_%s\";", job->config->name);
    add_shown(sql, job, columns);
    if (status != POLY_OK) {
        poly_buffer_clear(sql);
        return status;
    }
    status = exec(pg, sql, err);
    if (status != POLY_OK && strcmp(poly_pg_state(pg), "42P07") == 0)
        return poly_fail(err, POLY_EXISTS,
                         "the database has something named '%s' already, which Polystore has not "
                         "made: drop it, or name the view otherwise",
                         job->config->name);
    if (status == POLY_OK && job->config->tenant != NULL) {
        struct poly_buffer name;

        poly_buffer_init(&name, 1024);
        poly_sql_name(&name, job->config->name);
        if (poly_buffer_ok(&name))
            poly_buffer_printf(sql, sql_grant, name.data);
        poly_buffer_release(&name);
        status = exec(pg, sql, err);
    }
    return status;
}

static enum poly_status note_shown(const struct poly_view_job *job, struct poly_pg *pg,
                                   struct poly_error *err)
{
    struct poly_pg_params params;

    poly_pg_params(&params);
    poly_pg_add_text(&params, poly_text(job->config->name));
    poly_pg_add_bool(&params, job->config->tenant != NULL);
    return poly_pg_done(pg, sql_note, &params, NULL, err);
}

static enum poly_status make(struct poly_view_job *job, struct poly_pg *pg, struct poly_buffer *sql,
                             struct poly_error *err)
{
    struct columns columns = {.count = 0};
    enum poly_status status;

    poly_buffer_text(sql, "DROP MATERIALIZED VIEW IF EXISTS ");
    add_kept(sql, "building_", job->config->name);
    status = exec(pg, sql, err);
    poly_buffer_text(sql, "CREATE MATERIALIZED VIEW ");
    add_kept(sql, "building_", job->config->name);
    poly_buffer_printf(sql, " AS %.*s", (int)(POLY_MAX_SQL), job->query);
    if (status == POLY_OK) {
        status = exec(pg, sql, err);
        if (status != POLY_OK)
            return poly_fail_in(err, status, "its query");
    }
    if (status == POLY_OK)
        status = note_reads(job, pg, "building_", err);
    if (status == POLY_OK)
        status = read_columns(job, pg, "building_", &columns, err);
    if (status == POLY_OK)
        status = make_key(job, pg, &columns, sql, err);
    if (status == POLY_OK)
        status = put_in_place(job, pg, &columns, sql, err);
    PQclear(columns.rows);
    return status;
}

static enum poly_status build(struct poly_view_job *job, struct poly_db *db, uint64_t position,
                              struct poly_error *err)
{
    struct poly_buffer sql;
    enum poly_status status;

    poly_buffer_init(&sql, TEXT_MAX);
    status = make(job, poly_pg_of(db), &sql, err);
    poly_buffer_release(&sql);
    if (status == POLY_OK)
        status = poly_view_note(db, job, position, err);
    return status == POLY_OK ? note_shown(job, poly_pg_of(db), err) : status;
}

/* --- refreshing --- */

static enum poly_status refresh(struct poly_view_job *job, struct poly_db *db, uint64_t position,
                                struct poly_error *err)
{
    struct poly_pg *pg = poly_pg_of(db);
    struct columns columns = {.count = 0};
    struct poly_buffer sql;
    enum poly_status status;

    poly_buffer_init(&sql, TEXT_MAX);
    poly_buffer_text(&sql, "REFRESH MATERIALIZED VIEW CONCURRENTLY ");
    add_kept(&sql, "view_", job->config->name);
    status = exec(pg, &sql, err);
    poly_buffer_release(&sql);
    if (status != POLY_OK)
        return explain(pg, status, err);
    status = read_columns(job, pg, "view_", &columns, err);
    if (status == POLY_OK)
        status = refuse_nulls(job, pg, "view_", &columns, err);
    PQclear(columns.rows);
    return status == POLY_OK ? poly_view_note(db, job, position, err) : status;
}

/* With the lock: what is to be done may have been done by another daemon. */
static enum poly_status do_it(struct poly_view_job *job, struct poly_db *db, struct poly_error *err)
{
    struct poly_view_row row;
    struct poly_view_change change = {.position = 0};
    int64_t safe = 0;
    /* Everything up to there is committed, and so in every later snapshot. */
    enum poly_status status = poly_db_number(db, sql_safe, &safe, err);

    if (status == POLY_OK)
        status = look(job, db, err);
    if (status == POLY_OK && !job->fits)
        return build(job, db, (uint64_t)safe, err);
    if (status == POLY_OK)
        status = poly_view_load(db, job, &row, err);
    if (status == POLY_OK && !job->force)
        change = (struct poly_view_change){.after = row.position, .upto = (uint64_t)safe};
    if (status == POLY_OK && !job->force)
        status = poly_view_changed(db, job->relational->config, job->reads, &change, err);
    if (status != POLY_OK || (change.position == 0 && !job->force))
        return status;
    return refresh(job, db, (uint64_t)safe, err);
}

/* May run again from its beginning. */
static enum poly_status work(struct poly_db *db, void *arg, struct poly_error *err)
{
    struct poly_view_job *job = arg;
    bool locked = false;
    enum poly_status status = poly_pg_exec(poly_pg_of(db), sql_local, err);

    if (status == POLY_OK)
        status = ask(poly_pg_of(db), sql_lock, job->config->name, &locked, err);
    job->busy = !locked;
    if (status != POLY_OK || job->busy)
        return status;
    poly_view_running(job, db);
    status = do_it(job, db, err);
    poly_view_running(job, NULL);
    return status;
}

static enum poly_status run(struct poly_view_job *job, struct poly_error *err)
{
    return poly_instance_write(job->relational->instance, work, job, err);
}

/* --- taking it down --- */

static enum poly_status drop(struct poly_db *db, const char *name, struct poly_error *err)
{
    struct poly_pg *pg = poly_pg_of(db);
    enum poly_status status = poly_pg_exec(pg, sql_local, err);

    if (status == POLY_OK)
        status = drop_standing(pg, name, err);
    return status == POLY_OK ? tell(pg, sql_forget, name, err) : status;
}

enum poly_status poly_postgresql_view_detach(struct poly_pg *pg, const char *text,
                                             struct poly_error *err)
{
    PGresult *rows;
    enum poly_status status = poly_pg_run(pg, sql_depends, NULL, &rows, err);
    const char *last = "";

    if (status != POLY_OK)
        return status;
    for (int row = 0; row < PQntuples(rows) && status == POLY_OK; row++) {
        const char *name = poly_pg_text(rows, row, 0).data;

        if (strcmp(name, last) == 0 ||
            !poly_postgresql_mentions(text, poly_pg_text(rows, row, 1).data))
            continue;
        last = name;
        status = drop_standing(pg, name, err);
        if (status == POLY_OK)
            status = tell(pg, sql_taken_down, name, err);
        if (status != POLY_OK)
            poly_fail_in(err, status, "view '%s', which reads what the file changes", name);
    }
    PQclear(rows);
    return status;
}

const struct poly_view_driver poly_view_postgresql = {.check = check, .run = run, .drop = drop};
