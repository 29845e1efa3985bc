/*
 * The second wall around a tenant's SQL, on the server itself. It runs as a role
 * of its own, poly_tenant, that owns nothing and may read domains' tables only, and
 * a restrictive policy on each of them shows it the rows of one tenant. Whose those are says a
 * setting of the transaction, signed with a secret that the role cannot read
 * (poly.be, poly.tenant), so that whoever could set it would still be nobody.
 *
 * Others see no difference: where row security was off, a policy that lets everybody
 * through stands beside ours; the owner of a table is not asked at all. Before each
 * statement the whole wall is looked at: a table that the role may read, and
 * that is neither walled nor without tenants, and no tenant has SQL until that is put right.
 */
#include <stdio.h>
#include <string.h>

#include "stores/relational/postgresql.h"

static const char role_make[] =
    "DO $$BEGIN"
    " IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'poly_tenant') THEN"
    "  CREATE ROLE poly_tenant NOLOGIN; END IF;"
    " IF NOT pg_has_role(current_user, 'poly_tenant', 'MEMBER') THEN"
    "  EXECUTE format('GRANT poly_tenant TO %I', current_user); END IF;"
    " END$$;"
    "GRANT USAGE ON SCHEMA poly TO poly_tenant";

/* What makes the role no wall. */
static const char role_check[] =
    "SELECT rolsuper OR rolbypassrls OR rolcanlogin OR rolcreaterole OR rolcreatedb OR EXISTS"
    " (SELECT 1 FROM pg_auth_members WHERE member = r.oid) FROM pg_roles r"
    " WHERE rolname = 'poly_tenant'";

/* No row: there is no such role. The policy's comment is the column that it compares. */
static const char table_state[] =
    "SELECT c.relrowsecurity, EXISTS (SELECT 1 FROM pg_policy WHERE polrelid = c.oid"
    " AND polname = 'poly_open'), EXISTS (SELECT 1 FROM pg_policy p WHERE polrelid = c.oid"
    " AND polname = 'poly_wall' AND NOT polpermissive AND polroles = ARRAY[r.oid]"
    " AND obj_description(p.oid, 'pg_policy') = $2), has_table_privilege(r.oid, c.oid, 'SELECT')"
    " AND has_schema_privilege(r.oid, c.relnamespace, 'USAGE'),"
    " quote_ident((SELECT nspname FROM pg_namespace n WHERE n.oid = c.relnamespace))"
    " FROM pg_class c, pg_roles r WHERE c.oid = $1::regclass AND r.rolname = 'poly_tenant'";

/* $1 tables of tenants, $2 tables without. Materialised views have a wall of their own, as long as
 * what shows them is what we have made. Names with pg_ are kept out by the guard. */
static const char wall_check[] =
    "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname <> 'information_schema'"
    " AND n.nspname NOT LIKE 'pg\\_%' AND c.relname NOT LIKE 'pg\\_%'"
    " AND has_any_column_privilege('poly_tenant', c.oid, 'SELECT')"
    " AND has_schema_privilege('poly_tenant', n.oid, 'USAGE')"
    " AND c.oid <> ALL (SELECT to_regclass(t)::oid FROM unnest($2::text[]) AS t"
    "  WHERE to_regclass(t) IS NOT NULL)"
    " AND c.oid <> ALL (SELECT w.ev_class FROM poly.view AS v JOIN pg_rewrite w"
    "  ON w.ev_class = to_regclass(v.relation) AND md5(w.ev_action::text) = v.shown WHERE v.walled)"
    " AND NOT (c.relrowsecurity AND c.oid IN (SELECT to_regclass(t)::oid FROM unnest($1::text[])"
    "  AS t) AND EXISTS (SELECT 1 FROM pg_policy WHERE polrelid = c.oid AND polname = 'poly_wall'"
    "  AND NOT polpermissive AND polroles = ARRAY['poly_tenant'::regrole::oid])) LIMIT 1";

static const char become[] = "SELECT poly.be($1)";
static const char become_nobody[] = "SELECT set_config('poly.tenant', 'nobody', true)";

/* --- the role --- */

enum poly_status poly_postgresql_wall_open(struct poly_postgresql_relational *self,
                                           struct poly_pg *pg, struct poly_error *err)
{
    PGresult *rows;
    enum poly_status status = poly_pg_begin(pg, POLY_PG_COMMITTED, false, err);

    if (status == POLY_OK)
        status = poly_pg_exec(pg, role_make, err);
    if (status == POLY_OK)
        status = poly_pg_commit(pg, err);
    poly_pg_roll_back(pg);
    if (poly_pg_lost(pg))
        return status;
    if (status == POLY_OK)
        status = poly_pg_run(pg, role_check, NULL, &rows, err);
    if (status != POLY_OK) {
        snprintf(self->no_wall, sizeof(self->no_wall),
                 "its role may not make the role poly_tenant (%.100s): CREATE ROLE poly_tenant; "
                 "GRANT poly_tenant TO it",
                 err->message);
        return POLY_OK;
    }
    if (PQntuples(rows) != 1 || poly_pg_bool(rows, 0, 0))
        snprintf(self->no_wall, sizeof(self->no_wall),
                 "the role poly_tenant may log in, or more than a role without rights");
    PQclear(rows);
    return POLY_OK;
}

/* --- a table --- */

/* The condition of the policy, as PostgreSQL prints it back. */
static void add_condition(struct poly_buffer *b, const struct poly_postgresql_table *table)
{
    const char *type = table->tenant_sql;

    poly_buffer_text(b, "(");
    poly_sql_name(b, table->tenant_name);
    poly_buffer_printf(b, " = (SELECT poly.tenant())::%s)", type);
}

static void add_wall(struct poly_buffer *b, const struct poly_postgresql_table *table, bool secured,
                     bool open, const char *schema)
{
    poly_buffer_printf(b, "GRANT USAGE ON SCHEMA %s TO poly_tenant;", schema);
    poly_buffer_printf(b, "GRANT SELECT ON %s TO poly_tenant;", table->name);
    if (table->tenant_sql == NULL)
        return;
    if (!open)
        poly_buffer_printf(b, "CREATE POLICY poly_open ON %s TO %s USING (true) WITH CHECK (true);",
                           table->name, secured ? "poly_tenant" : "PUBLIC");
    poly_buffer_printf(b, "DROP POLICY IF EXISTS poly_wall ON %s;", table->name);
    poly_buffer_printf(b, "CREATE POLICY poly_wall ON %s AS RESTRICTIVE TO poly_tenant USING ",
                       table->name);
    add_condition(b, table);
    poly_buffer_printf(b, ";COMMENT ON POLICY poly_wall ON %s IS ", table->name);
    poly_sql_text(b, table->tenant_name);
    poly_buffer_printf(b, ";ALTER TABLE %s ENABLE ROW LEVEL SECURITY", table->name);
}

static enum poly_status make_wall(struct poly_pg *pg, void *sql, struct poly_error *err)
{
    return poly_pg_exec(pg, sql, err);
}

static enum poly_status try_wall(struct poly_pg *pg, char *sql, struct poly_error *err)
{
    struct poly_error ignored;
    enum poly_status status = poly_pg_exec(pg, "SAVEPOINT poly_wall", err);

    if (status != POLY_OK)
        return status;
    status = make_wall(pg, sql, &ignored);
    return poly_pg_exec(
        pg, status == POLY_OK ? "RELEASE poly_wall" : "ROLLBACK TO poly_wall; RELEASE poly_wall",
        err);
}

enum poly_status poly_postgresql_wall_table(struct poly_pg *pg,
                                            const struct poly_postgresql_table *table,
                                            struct poly_postgresql_effort *effort,
                                            struct poly_error *err)
{
    const char *tenant = table->tenant_sql == NULL ? "" : table->tenant_name;
    struct poly_pg_params params;
    struct poly_buffer sql;
    PGresult *rows;
    enum poly_status status;

    poly_pg_params(&params);
    poly_pg_add_text(&params, poly_text(table->name));
    poly_pg_add_text(&params, poly_text(tenant));
    status = poly_pg_run(pg, table_state, &params, &rows, err);
    if (status != POLY_OK)
        return status;
    poly_buffer_init(&sql, 65536);
    if (PQntuples(rows) == 1 &&
        !(poly_pg_bool(rows, 0, 3) &&
          (table->tenant_sql == NULL ||
           (poly_pg_bool(rows, 0, 0) && poly_pg_bool(rows, 0, 1) && poly_pg_bool(rows, 0, 2)))))
        add_wall(&sql, table, poly_pg_bool(rows, 0, 0), poly_pg_bool(rows, 0, 1),
                 poly_pg_text(rows, 0, 4).data);
    PQclear(rows);
    if (!poly_buffer_ok(&sql))
        status = poly_no_memory(err);
    else if (sql.size > 0)
        status = effort == NULL ? try_wall(pg, sql.data, err)
                                : poly_postgresql_insist(pg, make_wall, sql.data, table->name, true,
                                                         effort, err);
    poly_buffer_release(&sql);
    return status;
}

/* --- before a statement of who may not read everything --- */

_Atomic bool poly_control_role = true;

static enum poly_status check_wall(const struct poly_schema *schema, struct poly_pg *pg,
                                   struct poly_arena *arena, struct poly_error *err)
{
    struct poly_text *names = poly_arena_array(arena, schema->count * 2 + 1, sizeof(*names));
    struct poly_text *open = names + schema->count;
    struct poly_pg_params params;
    int walled = 0, without = 0;
    PGresult *rows;
    enum poly_status status;

    if (names == NULL)
        return poly_no_memory(err);
    for (size_t i = 0; i < schema->count; i++) {
        const struct poly_table *table = schema->tables[i];

        if (table == NULL || table->status != POLY_OK)
            continue;
        if (table->domain->tenant != NULL)
            names[walled++] = poly_text(poly_postgresql_table(table)->name);
        else
            open[without++] = poly_text(poly_postgresql_table(table)->name);
    }
    poly_pg_params(&params);
    poly_pg_add_texts(&params, names, walled);
    poly_pg_add_texts(&params, open, without);
    status = poly_pg_run(pg, wall_check, &params, &rows, err);
    if (status != POLY_OK)
        return status;
    if (PQntuples(rows) > 0)
        status = poly_fail(err, POLY_UNAVAILABLE,
                           "SQL: the role poly_tenant may read '%s', which is no domain's table or "
                           "has lost its policy: revoke that (also from PUBLIC), or start again",
                           poly_pg_text(rows, 0, 0).data);
    PQclear(rows);
    return status;
}

enum poly_status poly_postgresql_wall_enter(struct poly_relational *relational, struct poly_pg *pg,
                                            struct poly_text tenant, struct poly_arena *arena,
                                            struct poly_error *err)
{
    const struct poly_postgresql_relational *self =
        (const struct poly_postgresql_relational *)relational;
    struct poly_pg_params params;
    enum poly_status status;

    if (self->no_wall[0] != '\0')
        return poly_fail(
            err, POLY_UNSUPPORTED,
            "SQL: a session with a tenant, or without the right ADMIN, has none, for %s",
            self->no_wall);
    status = check_wall(atomic_load(&relational->schema), pg, arena, err);
    if (status != POLY_OK)
        return status;
    poly_pg_params(&params);
    poly_pg_add_text(&params, tenant);
    status = tenant.size > 0 ? poly_pg_done(pg, become, &params, NULL, err)
                             : poly_pg_done(pg, become_nobody, NULL, NULL, err);
    if (status == POLY_OK && poly_control_role)
        status = poly_pg_exec(pg, "SET LOCAL ROLE poly_tenant", err);
    return status;
}
