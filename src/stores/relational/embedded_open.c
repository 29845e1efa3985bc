/*
 * The schema is read once and swapped whole: a reader takes the pointer and
 * never a lock. What was read before is kept until the close, because
 * statements are cached under the addresses of its texts, and a session may
 * still hold a row's column names; that is a few kilobytes for a migration.
 * A table that has not changed is not replaced at all.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/config.h"
#include "core/embedded.h"
#include "stores/relational/driver.h"

static const char sql_has_records[] =
    "SELECT EXISTS(SELECT 1 FROM main.poly_log WHERE domain = ?1 AND version IS NULL)";

static const char sql_our_triggers[] =
    "SELECT name, tbl_name FROM main.sqlite_schema WHERE type = 'trigger'"
    " AND substr(name, 1, 5) = 'poly_' AND substr(tbl_name, 1, 5) <> 'poly_'";

const struct poly_table *poly_relational_table(struct poly_relational *relational,
                                               const struct poly_domain *domain)
{
    const struct poly_schema *schema =
        atomic_load_explicit(&relational->schema, memory_order_acquire);
    size_t i = (size_t)(domain - relational->config->domains);

    return schema != NULL && i < schema->count ? schema->tables[i] : NULL;
}

/* --- triggers of domains that are no more --- */

static bool expected(const struct poly_config *config, const char *trigger, const char *table)
{
    static const char *const events[] = {"insert", "update", "delete"};
    char name[POLY_TRIGGER_NAME];

    for (size_t i = 0; i < config->domain_count; i++) {
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

static enum poly_status sync_table(struct poly_db *db, bool start, struct poly_table **slot,
                                   struct poly_error *err)
{
    struct poly_table *old = *slot, *table;
    enum poly_status status = poly_table_load(db, (*slot)->domain, &table, err);

    if (status != POLY_OK)
        return status;
    if (old->signature != NULL && strcmp(old->signature, table->signature) == 0) {
        poly_table_free(table);
        table = old;
    }
    *slot = table;
    if (table->problem == NULL || table->status == POLY_OK)
        return repair_or_note(db, table, start, err);
    if (!table->exists && old->exists && !start)
        return poly_table_gone(db, old, err);
    return POLY_OK;
}

/* A copy of the current schema; before the first one, tables that nobody knows yet. */
static struct poly_schema *copy_schema(struct poly_relational *relational,
                                       struct poly_table *unknown)
{
    const struct poly_schema *old = atomic_load(&relational->schema);
    size_t count = relational->config->domain_count;
    struct poly_schema *schema = calloc(1, sizeof(*schema) + count * sizeof(schema->tables[0]));

    if (schema == NULL)
        return NULL;
    schema->count = count;
    for (size_t i = 0; i < count; i++) {
        unknown[i].domain = &relational->config->domains[i];
        if (unknown[i].domain->table != NULL)
            schema->tables[i] = old == NULL ? &unknown[i] : old->tables[i];
    }
    return schema;
}

/* Takes out what sync_table has not come to. */
static void forget(struct poly_schema *schema, const struct poly_table *unknown)
{
    for (size_t i = 0; i < schema->count; i++) {
        if (schema->tables[i] == &unknown[i])
            schema->tables[i] = NULL;
    }
}

enum poly_status poly_relational_sync(struct poly_relational *relational, struct poly_db *db,
                                      bool start, struct poly_schema **schema,
                                      struct poly_error *err)
{
    size_t count = relational->config->domain_count;
    struct poly_table *unknown = calloc(count + 1, sizeof(*unknown));
    struct poly_schema *next = unknown == NULL ? NULL : copy_schema(relational, unknown);
    enum poly_status status;

    if (next == NULL) {
        free(unknown);
        return poly_no_memory(err);
    }
    next->number = ++relational->read;
    status = drop_stale(relational, db, err);
    for (size_t i = 0; i < count && status == POLY_OK; i++) {
        if (next->tables[i] != NULL)
            status = sync_table(db, start, &next->tables[i], err);
    }
    int version = 0;

    if (status == POLY_OK)
        status = poly_schema_version(db, &version, err);
    next->version = version;
    forget(next, unknown);
    free(unknown);
    if (status == POLY_OK)
        *schema = next;
    else
        poly_relational_drop(relational, next);
    return status;
}

void poly_relational_drop(struct poly_relational *relational, struct poly_schema *schema)
{
    (void)relational;
    if (schema == NULL)
        return;
    for (size_t i = 0; i < schema->count; i++) {
        if (schema->tables[i] != NULL && !schema->tables[i]->published)
            poly_table_free(schema->tables[i]);
    }
    free(schema);
}

/* With the lock. */
static void keep(struct poly_relational *relational, struct poly_schema *schema)
{
    for (size_t i = 0; i < schema->count; i++) {
        struct poly_table *table = schema->tables[i];

        if (table == NULL || table->published)
            continue;
        table->published = true;
        table->next = relational->tables;
        relational->tables = table;
    }
    schema->next = relational->schemas;
    relational->schemas = schema;
}

/* Two migrations may come here in the other order than they were committed. */
void poly_relational_swap(struct poly_relational *relational, struct poly_schema *schema)
{
    struct poly_schema *old;
    bool same;

    pthread_mutex_lock(&relational->lock);
    old = atomic_load(&relational->schema);
    same = old != NULL;
    for (size_t i = 0; i < schema->count && same; i++)
        same = schema->tables[i] == old->tables[i];
    if (same) {
        old->version = schema->version;
        free(schema);
    } else {
        keep(relational, schema);
        if (old == NULL || old->number < schema->number)
            atomic_store_explicit(&relational->schema, schema, memory_order_release);
    }
    pthread_mutex_unlock(&relational->lock);
}

/* --- start and stop --- */

struct starting {
    struct poly_relational *relational;
    struct poly_schema *schema;
};

static enum poly_status start(struct poly_db *db, void *arg, struct poly_error *err)
{
    struct starting *s = arg;

    poly_guard_install(s->relational->guard, db);
    return poly_relational_sync(s->relational, db, true, &s->schema, err);
}

enum poly_status poly_relational_open(struct poly_instance *instance,
                                      struct poly_relational **relational, struct poly_error *err)
{
    struct poly_relational *self = calloc(1, sizeof(*self));
    struct starting s = {.relational = self};
    struct poly_error local;
    enum poly_status status;

    if (self == NULL)
        return poly_no_memory(err);
    err = err == NULL ? &local : err;
    self->instance = instance;
    self->config = poly_instance_config(instance);
    pthread_mutex_init(&self->lock, NULL);
    *relational = self;
    self->guard = calloc(1, sizeof(*self->guard));
    if (self->guard == NULL)
        return poly_no_memory(err);
    status = poly_instance_write(instance, start, &s, err);
    if (status != POLY_OK) {
        poly_relational_drop(self, s.schema);
        return status;
    }
    poly_relational_swap(self, s.schema);
    return POLY_OK;
}

void poly_relational_close(struct poly_relational *relational)
{
    if (relational == NULL)
        return;
    if (relational->guard != NULL)
        sqlite3_set_authorizer(
            poly_db_handle(poly_sqlite_writer(poly_instance_embedded(relational->instance)->file)),
            NULL, NULL);
    while (relational->idle != NULL) {
        struct poly_wall *next = relational->idle->next;

        poly_wall_free(relational->idle);
        relational->idle = next;
    }
    while (relational->schemas != NULL) {
        struct poly_schema *next = relational->schemas->next;

        free(relational->schemas);
        relational->schemas = next;
    }
    while (relational->tables != NULL) {
        struct poly_table *next = relational->tables->next;

        poly_table_free(relational->tables);
        relational->tables = next;
    }
    pthread_mutex_destroy(&relational->lock);
    free(relational->guard);
    free(relational);
}
