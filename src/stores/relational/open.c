/*
 * The schema is read once and swapped whole: a reader takes the pointer and
 * never a lock. What was read before is kept until the close, because
 * statements are cached under the addresses of its texts, and a session may
 * still hold a row's column names; that is a few kilobytes for a migration.
 * A table that has not changed is not replaced at all.
 */
#include <stdlib.h>
#include <string.h>

#include "core/config.h"
#include "owners/embedded/embedded.h"
#include "stores/relational/driver.h"
#include "stores/relational/view.h"

const struct poly_table *poly_relational_table(struct poly_relational *relational,
                                               const struct poly_domain *domain)
{
    const struct poly_schema *schema =
        atomic_load_explicit(&relational->schema, memory_order_acquire);
    size_t i = (size_t)(domain - relational->config->domains);

    return schema != NULL && i < schema->count ? schema->tables[i] : NULL;
}

static enum poly_status sync_table(const struct poly_relational_driver *driver, struct poly_db *db,
                                   bool start, struct poly_table **slot, struct poly_error *err)
{
    struct poly_table *old = *slot, *table;
    enum poly_status status = driver->load(db, (*slot)->domain, &table, err);

    if (status != POLY_OK)
        return status;
    if (old->signature != NULL && strcmp(old->signature, table->signature) == 0) {
        poly_table_free(table);
        table = old;
    }
    *slot = table;
    if (table->problem == NULL || table->status == POLY_OK)
        return driver->repair(db, table, start, err);
    if (!table->exists && old->exists && !start)
        return driver->gone(db, old, err);
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
    status = relational->driver->tidy(relational, db, err);
    for (size_t i = 0; i < count && status == POLY_OK; i++) {
        if (next->tables[i] != NULL)
            status = sync_table(relational->driver, db, start, &next->tables[i], err);
    }
    int version = 0;

    if (status == POLY_OK)
        status = relational->driver->version(db, &version, err);
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

enum poly_status poly_relational_open(struct poly_instance *instance,
                                      struct poly_relational **relational, struct poly_error *err)
{
    const struct poly_relational_driver *driver = poly_instance_embedded(instance) != NULL
                                                      ? &poly_relational_embedded
                                                      : &poly_relational_postgresql;
    struct poly_relational *self = calloc(1, driver->size);
    struct poly_error local;
    enum poly_status status;

    err = err == NULL ? &local : err;
    if (self == NULL)
        return poly_no_memory(err);
    self->driver = driver;
    self->instance = instance;
    self->config = poly_instance_config(instance);
    pthread_mutex_init(&self->lock, NULL);
    *relational = self;
    status = poly_views_tidy(self, err);
    if (status == POLY_OK)
        status = driver->open(self, err);
    return status == POLY_OK ? poly_views_open(self, err) : status;
}

void poly_relational_close(struct poly_relational *relational)
{
    if (relational == NULL)
        return;
    poly_views_free(relational);
    relational->driver->close(relational);
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
    free(relational);
}
