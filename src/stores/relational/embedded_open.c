/* Start and stop of the embedded driver, and its triggers: are they those that would be made
 * today? */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/config.h"
#include "owners/embedded/embedded.h"
#include "stores/relational/embedded.h"
#include "stores/relational/view.h"

static const char sql_has_records[] =
    "SELECT EXISTS(SELECT 1 FROM main.poly_log WHERE domain = ?1 AND version IS NULL)";

static const char sql_our_triggers[] =
    "SELECT name, tbl_name FROM main.sqlite_schema WHERE type = 'trigger'"
    " AND substr(name, 1, 5) = 'poly_' AND substr(tbl_name, 1, 5) <> 'poly_'";

/* --- triggers of domains that are no more --- */

static bool expected(const struct poly_config *config, const char *trigger, const char *table)
{
    static const char *const events[] = {"insert", "update", "delete"};
    char name[POLY_TRIGGER_NAME];

    for (size_t i = 0; i < poly_config_domains(config); i++) {
        const struct poly_domain *domain = &config->domains[i];

        if (domain->table == NULL || strcasecmp(domain->table, table) != 0)
            continue;
        for (int event = 0; event < 3; event++) {
            snprintf(name, sizeof(name), "poly_%s_%s", domain->name, events[event]);
            if (strcmp(name, trigger) == 0)
                return true;
        }
    }
    return false;
}

/* A domain that left the configuration leaves its triggers; they would go on writing. */
static enum poly_status drop_stale(struct poly_relational *relational, struct poly_db *db,
                                   struct poly_error *err)
{
    sqlite3_stmt *statement = poly_db_prepare(db, sql_our_triggers, err);
    struct poly_buffer sql;
    enum poly_status status = POLY_OK;
    bool row = true;

    if (statement == NULL)
        return poly_failed(err);
    poly_buffer_init(&sql, 1024 * 1024);
    while (status == POLY_OK && row) {
        status = poly_db_row(db, statement, &row, err);
        if (status != POLY_OK || !row)
            break;

        const char *name = poly_column_text(statement, 0).data;

        if (expected(relational->config, name, poly_column_text(statement, 1).data))
            continue;
        poly_buffer_text(&sql, "DROP TRIGGER main.");
        poly_sql_name(&sql, name);
        poly_buffer_text(&sql, ";");
    }
    sqlite3_reset(statement);
    if (status == POLY_OK && !poly_buffer_ok(&sql))
        status = poly_no_memory(err);
    if (status == POLY_OK && sql.size > 0)
        status = poly_db_exec(db, sql.data, err);
    poly_buffer_release(&sql);
    return status;
}

/* --- reading and repairing --- */

static enum poly_status has_records(struct poly_db *db, const struct poly_domain *domain, bool *yes,
                                    struct poly_error *err)
{
    sqlite3_stmt *statement = poly_db_prepare(db, sql_has_records, err);
    enum poly_status status;
    bool row = false;

    if (statement == NULL)
        return poly_failed(err);
    poly_bind_text(statement, 1, poly_text(domain->name));
    status = poly_db_row(db, statement, &row, err);
    if (status == POLY_OK)
        *yes = row && sqlite3_column_int(statement, 0) != 0;
    sqlite3_reset(statement);
    return status;
}

static enum poly_status repair(struct poly_db *db, struct poly_table *table, bool start,
                               struct poly_error *err)
{
    const char *name = table->domain->table;
    bool fit = false, known = false;
    int present = 0;
    int64_t written = 0;
    enum poly_status status = poly_table_triggers_fit(db, table, &fit, &present, err);

    if (status != POLY_OK || fit)
        return status;
    status = has_records(db, table->domain, &known, err);
    if (status == POLY_OK)
        status = poly_table_detach(db, table, err);
    if (status == POLY_OK)
        status = poly_table_attach(db, table, &written, err);
    if (status != POLY_OK || !start || (present == 0 && !known))
        return status;
    table->problem = poly_arena_printf(
        table->arena,
        "the triggers %s table '%s' when Polystore started; they were made anew, and %lld changes "
        "that the log had missed were written to it",
        present == 0 ? "were missing on" : "did not fit", name, (long long)written);
    return table->problem == NULL ? poly_no_memory(err) : POLY_OK;
}

/*
 * Rows that cannot be logged (no tenant, no key) make the domain unusable, not
 * the instance: what was done for this table is undone.
 */
static enum poly_status repair_or_note(struct poly_db *db, struct poly_table *table, bool start,
                                       struct poly_error *err)
{
    enum poly_status status = poly_db_exec(db, "SAVEPOINT poly_table", err);
    struct poly_error why;

    if (status != POLY_OK)
        return status;
    why = (struct poly_error){.status = POLY_OK};
    status = repair(db, table, start, &why);
    if (status == POLY_OK)
        return poly_db_exec(db, "RELEASE poly_table", err);
    if (!poly_db_back_to(db, "ROLLBACK TO poly_table; RELEASE poly_table") || !start ||
        (status != POLY_INVALID && status != POLY_EXISTS))
        return poly_fail(err, status, "%s", why.message);
    table->status = POLY_UNAVAILABLE;
    table->problem = poly_arena_printf(table->arena, "%s", why.message);
    return table->problem == NULL ? poly_no_memory(err) : POLY_OK;
}

/* --- start and stop --- */

struct starting {
    struct poly_relational *relational;
    struct poly_schema *schema;
};

static enum poly_status start(struct poly_db *db, void *arg, struct poly_error *err)
{
    struct starting *s = arg;

    poly_guard_install(poly_embedded_relational(s->relational)->guard, db);
    return poly_relational_sync(s->relational, db, POLY_SYNC_START, NULL, &s->schema, err);
}

static enum poly_status embedded_open(struct poly_relational *relational, struct poly_error *err)
{
    struct poly_embedded_relational *self = poly_embedded_relational(relational);
    struct starting s = {.relational = relational};
    enum poly_status status;

    self->guard = calloc(1, sizeof(*self->guard));
    if (self->guard == NULL)
        return poly_no_memory(err);
    self->guard->relational = relational;
    status = poly_instance_write(relational->instance, start, &s, err);
    if (status != POLY_OK) {
        poly_relational_drop(relational, s.schema);
        return status;
    }
    poly_relational_swap(relational, s.schema);
    return POLY_OK;
}

static void embedded_close(struct poly_relational *relational)
{
    struct poly_embedded_relational *self = poly_embedded_relational(relational);

    if (self->guard != NULL)
        sqlite3_set_authorizer(
            poly_db_handle(poly_sqlite_writer(poly_instance_embedded(relational->instance)->file)),
            NULL, NULL);
    while (self->idle != NULL) {
        struct poly_wall *next = self->idle->next;

        poly_wall_free(self->idle);
        self->idle = next;
    }
    free(self->guard);
}

static const struct poly_capability capabilities[] = {
    {"columns-without-a-type", true, "keep what they are given"},
    {"text-order", true, "byte by byte, or the column's collation"},
    {"paths-in-text", true, "a filter with a path looks into JSON in a text column, too"},
    {"large-values", true, "a row over 4 KiB is kept once, in the table or `poly_history`"},
    {"two-changes-in-a-migration", true, "a row that a file changes and reshapes has one record"},
    {"view-across-a-migration", true, "one whose query no longer runs keeps its rows"},
    {"parameters-that-stand-alone", true, "have the type of their value in SQL"},
    {"views-without-tenants", true, "are read without `ADMIN` where they read `tenant: none` only"},
    {"sql-that-writes", true, "without `ADMIN` into domains with `tenant: none`"},
    {NULL, false, NULL},
};

const struct poly_relational_driver poly_relational_embedded = {
    .name = "embedded",
    .capabilities = capabilities,
    .size = sizeof(struct poly_embedded_relational),
    .types = poly_embedded_types,
    .open = embedded_open,
    .close = embedded_close,
    .load = poly_table_load,
    .repair = repair_or_note,
    .gone = poly_table_gone,
    .tidy = drop_stale,
    .version = poly_schema_version,
    .get = poly_embedded_get,
    .list = poly_embedded_list,
    .sql_read = poly_embedded_sql_read,
    .sql_check = poly_guard_text,
    .sql_run = poly_embedded_sql_run,
    .create_migration =
        "CREATE TABLE IF NOT EXISTS poly_migration(name TEXT PRIMARY KEY, checksum BLOB NOT NULL,"
        " time INTEGER NOT NULL) WITHOUT ROWID",
    .has_migration =
        "SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = 'poly_migration'",
    .create_collections =
        "CREATE TABLE IF NOT EXISTS poly_collection(name TEXT PRIMARY KEY, since INTEGER NOT NULL,"
        " definition TEXT NOT NULL) WITHOUT ROWID",
    .has_collections =
        "SELECT 1 FROM main.sqlite_schema WHERE type = 'table' AND name = 'poly_collection'",
    .log_end = "SELECT coalesce((SELECT seq FROM main.sqlite_sequence WHERE name = 'poly_log'), 0)",
    .log_dropped =
        "INSERT INTO main.poly_log(domain, key, type, txn, meta, time)"
        " SELECT c.name, c.name, '$delete', w.txn, w.meta, " POLY_EMBEDDED_NOW
        " FROM main.poly_collection AS c JOIN main.poly_writing AS w ON w.id = 1 WHERE c.name = ?1"
        " AND NOT EXISTS (SELECT 1 FROM main.sqlite_sequence AS s WHERE s.name = 'poly_log'"
        " AND s.seq > c.since)",
    .collection_columns = "id TEXT NOT NULL, metadata JSON",
    .collection_vector = "BLOB",
    .collection_tenant = "tenant TEXT NOT NULL",
    .migrate_begin = poly_embedded_migrate_begin,
    .migrate_run = poly_embedded_migrate_run,
    .migrate_end = poly_embedded_migrate_end,
    .view = &poly_view_embedded,
};
