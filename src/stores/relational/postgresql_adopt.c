/*
 * Adopting and releasing a database that is in use. Tables are taken one by one,
 * each in transactions that are brief (base/postgres.h); one that is locked by somebody is come
 * back to while the others are done, until the time that was given is over, and is then named with
 * whoever has it. Every step can be done again, so that nothing needs to be remembered of one that
 * was ended.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "core/config.h"
#include "core/server.h"
#include "stores/relational/adopt.h"
#include "stores/relational/postgresql.h"

/* --- looking --- */

/* Partitions belong to their table, an extension's tables to it. Who comes first gets the plainest
 * name: what needs no schema, then what has no capitals. */
static const char sql_tables[] =
    "SELECT n.nspname::text, c.relname::text,"
    " coalesce(c.oid = to_regclass(quote_ident(c.relname)), false), CASE"
    " WHEN c.relkind = 'f' THEN 'it is a foreign table: triggers would not see every change'"
    " WHEN NOT has_schema_privilege(n.oid, 'USAGE') THEN"
    "  format('the role %s may not use schema %I', current_user, n.nspname)"
    " WHEN NOT pg_has_role(c.relowner, 'USAGE') THEN"
    "  format('it belongs to %I, and only its owner puts triggers in: GRANT %I TO %I',"
    "   o.rolname, o.rolname, current_user)"
    " WHEN c.relforcerowsecurity AND NOT (r.rolsuper OR r.rolbypassrls) THEN"
    "  'its row level security is forced on its owner, too: not all rows could be read'"
    " WHEN c.relkind = 'r' AND EXISTS (SELECT 1 FROM pg_inherits"
    "  WHERE inhparent = c.oid OR inhrelid = c.oid) THEN"
    "  'it inherits from another table, or another from it: a key may be there twice' END,"
    " CASE WHEN c.relkind = 'p' THEN (SELECT sum(greatest(p.reltuples, 0))::bigint"
    "   FROM pg_partition_tree(c.oid) t JOIN pg_class p ON p.oid = t.relid)"
    "  ELSE c.reltuples::bigint END"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " JOIN pg_roles o ON o.oid = c.relowner JOIN pg_roles r ON r.rolname = current_user"
    " WHERE c.relkind IN ('r', 'p', 'f') AND NOT c.relispartition AND c.relpersistence <> 't'"
    " AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'"
    " AND n.nspname NOT IN ('poly', 'poly_search', 'poly_vector') AND NOT EXISTS (SELECT 1 FROM "
    "pg_depend"
    "  WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')"
    " ORDER BY 3 DESC, 1, c.relname <> lower(c.relname), 2";

static const char sql_may[] =
    "SELECT to_regnamespace('poly') IS NOT NULL OR"
    " has_database_privilege(current_database(), 'CREATE'), current_user::text,"
    " current_database()::text";

static enum poly_status connect(const struct poly_pg_options *where, struct poly_pg **pg,
                                struct poly_error *err)
{
    struct poly_pg_target *target;
    enum poly_status status = poly_pg_target_new(where, &target, err);

    if (status != POLY_OK)
        return status;
    status = poly_pg_open(target, -1, pg, err);
    poly_pg_target_free(target);
    if (status == POLY_OK && poly_pg_standby(*pg)) {
        poly_pg_close(*pg);
        return poly_fail(err, POLY_INVALID, "this server is a standby: name the primary");
    }
    return status;
}

static void adopt_close(struct poly_db *db)
{
    struct poly_pg *pg = poly_pg_of(db);

    poly_pg_db_free(db);
    poly_pg_close(pg);
}

static enum poly_status adopt_open(const struct poly_adopt_options *options, struct poly_db **db,
                                   struct poly_error *err)
{
    struct poly_pg_options where = {.url = options->place,
                                    .password_env = options->password_env,
                                    .password_file = options->password_file,
                                    .application_name = "polystore adopt"};
    struct poly_pg *pg;
    enum poly_status status = connect(&where, &pg, err);

    if (status != POLY_OK)
        return status;
    *db = poly_pg_db_new(pg, NULL, NULL);
    if (*db == NULL) {
        poly_pg_close(pg);
        return poly_no_memory(err);
    }
    /* One state of the catalogue, and nothing that could change it. */
    status = poly_pg_begin(pg, POLY_PG_SNAPSHOT, true, err);
    if (status != POLY_OK)
        adopt_close(*db);
    return status;
}

static enum poly_status look_at_rights(struct poly_pg *pg, struct poly_adopt_survey *survey,
                                       struct poly_error *err)
{
    PGresult *rows;
    enum poly_status status = poly_pg_run(pg, sql_may, NULL, &rows, err);

    if (status != POLY_OK)
        return status;
    if (!poly_pg_bool(rows, 0, 0))
        survey->note = poly_arena_printf(
            survey->arena,
            "the role '%s' may not make schema 'poly': GRANT CREATE ON DATABASE \"%s\" TO \"%s\"",
            poly_pg_text(rows, 0, 1).data, poly_pg_text(rows, 0, 2).data,
            poly_pg_text(rows, 0, 1).data);
    PQclear(rows);
    return POLY_OK;
}

static enum poly_status adopt_list(struct poly_db *db, struct poly_adopt_survey *survey,
                                   struct poly_error *err)
{
    struct poly_pg *pg = poly_pg_of(db);
    PGresult *rows;
    enum poly_status status = look_at_rights(pg, survey, err);

    if (status == POLY_OK)
        status = poly_pg_run(pg, sql_tables, NULL, &rows, err);
    if (status != POLY_OK)
        return status;
    for (int row = 0; row < PQntuples(rows) && status == POLY_OK; row++) {
        struct poly_adopt_found *found = poly_adopt_add(survey, poly_pg_text(rows, row, 0).data,
                                                        poly_pg_text(rows, row, 1).data);

        if (found == NULL) {
            status = poly_no_memory(err);
            break;
        }
        found->plain = poly_pg_bool(rows, row, 2);
        if (!poly_pg_null(rows, row, 3))
            found->reason = poly_arena_printf(survey->arena, "%s", poly_pg_text(rows, row, 3).data);
        found->rows = poly_pg_int(rows, row, 4);
    }
    PQclear(rows);
    return status;
}

/* A password is nothing for a file that everybody reads: user:password@host without it. */
static enum poly_status add_url(const char *url, struct poly_buffer *yaml, struct poly_error *err)
{
    const char *host = strstr(url, "://"), *colon = NULL, *at = NULL;
    char *bare;

    if (strstr(url, "password=") != NULL)
        return poly_fail(err, POLY_INVALID,
                         "the password does not belong into the url: --password-env or "
                         "--password-file");
    if (host != NULL) {
        at = memrchr(host + 3, '@', strcspn(host + 3, "/?"));
        colon = at == NULL ? NULL : memchr(host + 3, ':', (size_t)(at - host - 3));
    }
    if (asprintf(&bare, "%.*s%s", colon == NULL ? (int)strlen(url) : (int)(colon - url), url,
                 colon == NULL ? "" : at) < 0)
        return poly_no_memory(err);
    poly_adopt_quote(yaml, bare, strlen(bare));
    free(bare);
    if (colon != NULL)
        poly_buffer_text(yaml,
                         "\n    # the password: password_env: VARIABLE, or password_file: FILE");
    return POLY_OK;
}

static enum poly_status where(const struct poly_adopt_options *options, struct poly_buffer *yaml,
                              struct poly_error *err)
{
    const char *file = options->password_file;
    enum poly_status status;

    poly_buffer_text(yaml, "data: data\nstores:\n  relational:\n    driver: postgresql\n    url: ");
    status = add_url(options->place, yaml, err);
    if (status == POLY_OK && options->password_env != NULL)
        poly_buffer_printf(yaml, "\n    password_env: %s", options->password_env);
    if (status == POLY_OK && file != NULL) {
        poly_buffer_text(yaml, "\n    password_file: ");
        poly_adopt_quote(yaml, file, strlen(file));
    }
    poly_buffer_text(yaml, "\n");
    return status;
}

/* --- doing: a list of tables, until all are done or time is over --- */

struct doing {
    struct poly_adopt_job *job;
    struct poly_pg *pg;
    int64_t until;
    bool stopped;
    struct poly_adopt_item *item; /* that is being done */
    /* Does one; POLY_TIMEOUT: could not have it now. */
    enum poly_status (*one)(struct doing *doing, size_t index,
                            struct poly_postgresql_effort *effort, struct poly_error *err);
    struct poly_table **tables; /* adopting: by item */
    const PGresult *rows;       /* releasing: by item */
};

static bool tell(void *arg, uint64_t done, uint64_t total)
{
    struct doing *doing = arg;

    doing->stopped = doing->stopped || !poly_adopt_tell(doing->job, doing->item, done, total);
    return !doing->stopped;
}

/* first: one try of each step; later there is nothing else to do than to wait. */
static enum poly_status do_one(struct doing *doing, size_t index, bool first,
                               struct poly_error *err)
{
    enum { LINGER_US = 2000000 };
    int64_t now = poly_clock_monotonic();
    struct poly_postgresql_effort effort = {
        .until = first ? now : now + LINGER_US, .tell = tell, .arg = doing};
    struct poly_adopt_item *item = &doing->job->items[index];
    struct poly_error why = {.status = POLY_OK};
    enum poly_status status;

    if (effort.until > doing->until)
        effort.until = doing->until;
    doing->item = item;
    if (!tell(doing, 0, 0))
        return POLY_OK;
    status = doing->one(doing, index, &effort, &why);
    item->rows = effort.rows + (item->rows < 0 ? 0 : item->rows);
    item->written = effort.written + (item->written < 0 ? 0 : item->written);
    poly_adopt_done(doing->job, item, status, status == POLY_OK ? NULL : why.message);
    if (poly_pg_in_transaction(doing->pg))
        poly_pg_roll_back(doing->pg);
    if (poly_pg_lost(doing->pg) || status == POLY_NO_MEMORY)
        return poly_fail(err, status, "%s", why.message);
    return POLY_OK;
}

static enum poly_status do_all(struct doing *doing, struct poly_error *err)
{
    enum poly_status status = POLY_OK;
    bool left = true;

    doing->until = poly_clock_monotonic() + (int64_t)doing->job->run->wait_ms * 1000;
    for (int round = 0; left && status == POLY_OK && !doing->stopped; round++) {
        left = false;
        for (size_t i = 0; i < doing->job->count && status == POLY_OK && !doing->stopped; i++) {
            if (round > 0 && doing->job->items[i].status != POLY_TIMEOUT)
                continue;
            status = do_one(doing, i, round == 0, err);
            left = left || doing->job->items[i].status == POLY_TIMEOUT;
        }
        left = left && poly_clock_monotonic() < doing->until;
        if (left)
            poly_pg_pause();
    }
    return status;
}

/* --- adopting --- */

static enum poly_status adopt_one(struct doing *doing, size_t index,
                                  struct poly_postgresql_effort *effort, struct poly_error *err)
{
    struct poly_table *table = doing->tables[index];

    if (table->problem != NULL)
        return poly_fail(err, table->status, "%s", table->problem);
    return poly_postgresql_follow(doing->pg, table, effort, err);
}

static enum poly_status load_all(struct doing *doing, struct poly_error *err)
{
    const struct poly_config *config = doing->job->config;
    struct poly_db *db = poly_pg_db_new(doing->pg, NULL, NULL);
    enum poly_status status = db == NULL ? poly_no_memory(err) : POLY_OK;

    doing->tables =
        poly_arena_array(doing->job->arena, config->domain_count + 1, sizeof(*doing->tables));
    if (doing->tables == NULL)
        status = poly_no_memory(err);
    for (size_t i = 0; i < config->domain_count && status == POLY_OK; i++) {
        const struct poly_domain *domain = &config->domains[i];

        if (domain->table == NULL)
            continue;
        if (poly_adopt_item(doing->job, domain->name, domain->table) == NULL)
            status = poly_no_memory(err);
        else
            status = poly_postgresql_load(db, domain, &doing->tables[doing->job->count - 1], err);
    }
    poly_pg_db_free(db);
    return status;
}

static bool has_tenants(const struct poly_config *config)
{
    for (size_t i = 0; i < config->domain_count; i++) {
        if (config->domains[i].table != NULL && config->domains[i].tenant != NULL)
            return true;
    }
    return false;
}

static enum poly_status prepare(struct doing *doing, struct poly_error *err)
{
    struct poly_postgresql_relational relational = {.base.config = doing->job->config};
    struct poly_db *db = poly_pg_db_new(doing->pg, NULL, NULL);
    struct poly_error why;
    enum poly_status status =
        db == NULL ? poly_no_memory(err) : poly_postgresql_make(doing->pg, err);

    if (status == POLY_OK && has_tenants(doing->job->config))
        status = poly_postgresql_wall_open(&relational, doing->pg, err);
    if (relational.no_wall[0] != '\0')
        poly_adopt_note(doing->job, "tenants will have no SQL: %s", relational.no_wall);
    /* What a domain left that is no longer there. */
    if (status == POLY_OK && poly_postgresql_tidy(&relational.base, db, &why) != POLY_OK)
        poly_adopt_note(doing->job, "triggers of a former domain are still there: %s", why.message);
    poly_pg_db_free(db);
    return status;
}

static enum poly_status open_job(struct poly_adopt_job *job, const char *name, struct poly_pg **pg,
                                 struct poly_error *err)
{
    struct poly_pg_options where =
        poly_server_options(&poly_config_store(job->config, "relational")->server);

    where.application_name = name;
    return connect(&where, pg, err);
}

static enum poly_status apply(struct poly_adopt_job *job, struct poly_error *err)
{
    struct doing doing = {.job = job, .one = adopt_one};
    enum poly_status status = open_job(job, "polystore adopt", &doing.pg, err);

    if (status != POLY_OK)
        return status;
    status = prepare(&doing, err);
    if (status == POLY_OK)
        status = load_all(&doing, err);
    if (status == POLY_OK)
        status = do_all(&doing, err);
    for (size_t i = 0; i < job->count; i++)
        poly_table_free(doing.tables[i]);
    poly_pg_close(doing.pg);
    return status;
}

/* --- releasing --- */

/* Indexes of vectors that we made on the table c: stores/vector/postgresql_table.c names them. */
#define INDEXES                                                                                    \
    " FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid WHERE i.indrelid = c.oid"            \
    " AND x.relname ~ '^poly_vector_[0-9]+_[0-9]+_(hnsw|ivfflat_[0-9]+)$'"

/* What of ours stands on tables: the relation, and the statements that take it away. Row level
 * security is switched off where it was us who switched it on, for policies of ours only. */
static const char sql_ours[] =
    "SELECT c.oid::regclass::text, concat_ws(';',"
    " (SELECT string_agg(format('DROP TRIGGER %I ON %s', t.tgname, c.oid::regclass), ';')"
    "  FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid WHERE t.tgrelid = c.oid"
    "  AND NOT t.tgisinternal AND t.tgparentid = 0"
    "  AND p.pronamespace = to_regnamespace('poly')),"
    " CASE WHEN c.relrowsecurity AND EXISTS (SELECT 1 FROM pg_policy WHERE polrelid = c.oid"
    "   AND polname = 'poly_open' AND polroles = '{0}') AND NOT EXISTS (SELECT 1 FROM pg_policy"
    "   WHERE polrelid = c.oid AND polname NOT IN ('poly_open', 'poly_wall'))"
    "  THEN format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', c.oid::regclass) END,"
    " (SELECT string_agg(format('DROP POLICY %I ON %s', polname, c.oid::regclass), ';')"
    "  FROM pg_policy WHERE polrelid = c.oid AND polname IN ('poly_open', 'poly_wall')),"
    " CASE WHEN EXISTS (SELECT 1 FROM aclexplode(c.relacl) WHERE grantee ="
    "   (SELECT oid FROM pg_roles WHERE rolname = 'poly_tenant'))"
    "  THEN format('REVOKE ALL ON %s FROM poly_tenant', c.oid::regclass) END,"
    " (SELECT string_agg(format('DROP INDEX %s', i.indexrelid::regclass), ';')" INDEXES
    ")) AS steps"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('poly', 'poly_search', "
    "'poly_vector')"
    " AND (EXISTS (SELECT 1 FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid"
    "   WHERE t.tgrelid = c.oid AND NOT t.tgisinternal"
    "   AND p.pronamespace = to_regnamespace('poly'))"
    "  OR EXISTS (SELECT 1 FROM pg_policy WHERE polrelid = c.oid"
    "   AND polname IN ('poly_open', 'poly_wall'))"
    "  OR EXISTS (SELECT 1 FROM aclexplode(c.relacl) WHERE grantee ="
    "   (SELECT oid FROM pg_roles WHERE rolname = 'poly_tenant'))"
    "  OR EXISTS (SELECT 1" INDEXES "))"
    " ORDER BY c.oid";

static const char sql_schemas[] =
    "SELECT coalesce(string_agg(format('REVOKE ALL ON SCHEMA %I FROM poly_tenant', nspname), ';'),"
    " '') FROM pg_namespace WHERE nspname NOT IN ('poly', 'poly_search', 'poly_vector') AND EXISTS"
    " (SELECT 1 FROM aclexplode(nspacl) WHERE grantee ="
    "  (SELECT oid FROM pg_roles WHERE rolname = 'poly_tenant'))";

/* A connection may have been given another name by its url; the lock is poly_pg_promise()'s. */
static const char sql_connected[] =
    "SELECT format('backend %s (%s, %s)', pid, application_name,"
    " coalesce(host(client_addr), 'local')) FROM pg_stat_activity AS a"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    " AND (application_name = 'polystore' OR EXISTS (SELECT 1 FROM pg_locks AS l"
    "  WHERE l.pid = a.pid AND l.locktype = 'advisory' AND l.classid = 1886350470))"
    " ORDER BY backend_start LIMIT 1";

static const char sql_role[] = "SELECT 1 FROM pg_roles WHERE rolname = 'poly_tenant'";

static enum poly_status check_connected(struct doing *doing, struct poly_error *err)
{
    PGresult *rows;
    enum poly_status status;

    if (doing->job->run->connected)
        return POLY_OK;
    status = poly_pg_run(doing->pg, sql_connected, NULL, &rows, err);
    if (status != POLY_OK)
        return status;
    if (PQntuples(rows) > 0)
        status = poly_fail(err, POLY_UNAVAILABLE,
                           "a daemon or program is connected with the database: %s; stop it first",
                           poly_pg_text(rows, 0, 0).data);
    PQclear(rows);
    return status;
}

static enum poly_status run_text(struct poly_pg *pg, void *sql, struct poly_error *err)
{
    return poly_pg_exec(pg, sql, err);
}

static enum poly_status release_one(struct doing *doing, size_t index,
                                    struct poly_postgresql_effort *effort, struct poly_error *err)
{
    return poly_postgresql_insist(doing->pg, run_text, PQgetvalue(doing->rows, (int)index, 1),
                                  doing->job->items[index].table.data, true, effort, err);
}

static enum poly_status release_tables(struct doing *doing, struct poly_error *err)
{
    PGresult *rows;
    enum poly_status status = poly_pg_run(doing->pg, sql_ours, NULL, &rows, err);

    if (status != POLY_OK)
        return status;
    for (int row = 0; row < PQntuples(rows) && status == POLY_OK; row++) {
        if (poly_adopt_item(doing->job, NULL, poly_pg_text(rows, row, 0).data) == NULL)
            status = poly_no_memory(err);
    }
    doing->rows = rows;
    if (status == POLY_OK)
        status = do_all(doing, err);
    PQclear(rows);
    return status;
}

static bool all_done(const struct poly_adopt_job *job)
{
    for (size_t i = 0; i < job->count; i++) {
        if (job->items[i].status != POLY_OK)
            return false;
    }
    return true;
}

/* Of the whole server: another database of it may have the same role. */
static enum poly_status release_role(struct doing *doing, struct poly_error *err)
{
    struct poly_error why;
    PGresult *rows;
    bool there;
    enum poly_status status = poly_pg_run(doing->pg, sql_role, NULL, &rows, err);

    if (status != POLY_OK)
        return status;
    there = PQntuples(rows) > 0;
    PQclear(rows);
    if (!there || poly_pg_exec(doing->pg, "DROP ROLE poly_tenant", &why) == POLY_OK)
        return POLY_OK;
    if (strcmp(poly_pg_state(doing->pg), "2BP01") == 0)
        poly_adopt_note(doing->job, "the role poly_tenant stays: it is used elsewhere (%.200s)",
                        poly_pg_detail(doing->pg));
    else
        poly_adopt_note(doing->job, "the role poly_tenant stays: %s", why.message);
    return POLY_OK;
}

static enum poly_status release_schema(struct poly_pg *pg, char *schema, int64_t until,
                                       struct poly_error *err)
{
    char relation[32];
    struct poly_postgresql_effort effort = {.until = until};

    snprintf(relation, sizeof(relation), "%s.%s", schema,
             strcmp(schema, "poly") == 0 ? "log" : "store");
    return poly_postgresql_insist(pg, poly_postgresql_unmake, schema, relation, true, &effort, err);
}

/* What a store has on a server, wherever that is. */
static enum poly_status release_store(struct doing *doing, const char *store, char *schema,
                                      struct poly_error *err)
{
    const struct poly_store_config *config = poly_config_store(doing->job->config, store);
    struct poly_pg_options where = poly_server_options(&config->server);
    struct poly_pg *pg;
    enum poly_status status;

    if (strcmp(config->driver, "postgresql") != 0)
        return POLY_OK;
    where.application_name = "polystore release";
    status = connect(&where, &pg, err);
    if (status != POLY_OK)
        return status;
    status = release_schema(pg, schema, doing->until, err);
    poly_pg_close(pg);
    return status;
}

static enum poly_status release_rest(struct doing *doing, struct poly_error *err)
{
    char schema[] = "poly", search[] = "poly_search", vector[] = "poly_vector";
    PGresult *rows;
    enum poly_status status = poly_pg_run(doing->pg, sql_schemas, NULL, &rows, err);

    if (status != POLY_OK)
        return status;
    if (poly_pg_text(rows, 0, 0).size > 0)
        status = poly_pg_exec(doing->pg, poly_pg_text(rows, 0, 0).data, err);
    PQclear(rows);
    if (status == POLY_OK)
        status = release_store(doing, "search", search, err);
    if (status == POLY_OK)
        status = release_store(doing, "vector", vector, err);
    if (status == POLY_OK)
        status = release_schema(doing->pg, schema, doing->until, err);
    return status == POLY_OK ? release_role(doing, err) : status;
}

static enum poly_status release(struct poly_adopt_job *job, struct poly_error *err)
{
    struct doing doing = {.job = job, .one = release_one};
    enum poly_status status = open_job(job, "polystore release", &doing.pg, err);

    if (status != POLY_OK)
        return status;
    status = check_connected(&doing, err);
    if (status == POLY_OK)
        status = release_tables(&doing, err);
    if (status == POLY_OK && all_done(job) && !doing.stopped)
        status = release_rest(&doing, err);
    poly_pg_close(doing.pg);
    return status;
}

const struct poly_adopt_driver poly_adopt_postgresql = {
    .driver = &poly_relational_postgresql,
    .open = adopt_open,
    .close = adopt_close,
    .list = adopt_list,
    .where = where,
    .apply = apply,
    .release = release,
};
