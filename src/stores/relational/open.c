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
#include "stores/relational/model_sql.h"
#include "stores/relational/view.h"

const struct poly_table *poly_relational_table(struct poly_relational *relational,
                                               const struct poly_domain *domain)
{
    const struct poly_schema *schema =
        atomic_load_explicit(&relational->schema, memory_order_acquire);
    size_t i = (size_t)(domain - relational->config->domains);

    return schema != NULL && i < schema->count ? schema->tables[i] : NULL;
}

static bool same_shape(const struct poly_table *a, const struct poly_table *b)
{
    return a->signature != NULL && strcmp(a->signature, b->signature) == 0;
}

static enum poly_status sync_table(const struct poly_relational_driver *driver, struct poly_db *db,
                                   struct poly_table **slot, struct poly_error *err)
{
    struct poly_table *old = *slot, *table;
    enum poly_status status = driver->load(db, (*slot)->domain, &table, err);

    if (status != POLY_OK)
        return status;
    if (same_shape(old, table)) {
        poly_table_free(table);
        table = old;
    }
    *slot = table;
    if (table->problem == NULL || table->status == POLY_OK)
        return driver->repair(db, table, false, err);
    if (!table->exists && old->exists)
        return driver->gone(db, old, err);
    return POLY_OK;
}

static bool same_words(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* Is there nothing about the table that the old one does not say? */
static enum poly_status is_known(const struct poly_relational_driver *driver, struct poly_db *db,
                                 const struct poly_table *old, const struct poly_table *table,
                                 bool *known, struct poly_error *err)
{
    *known = false;
    if (!same_shape(old, table))
        return POLY_OK;
    *known = table->problem != NULL;
    return *known || old->status != POLY_OK ? POLY_OK : driver->standing(db, table, known, err);
}

/* Triggers and log; *again: the table is not any more what it was when it was loaded. */
static enum poly_status repair(const struct poly_relational_driver *driver, struct poly_db *db,
                               struct poly_table *table, bool *again, struct poly_error *err)
{
    struct poly_table *now;
    enum poly_status status =
        table->problem == NULL ? driver->repair(db, table, true, err) : POLY_OK;

    *again = false;
    if (status != POLY_OK || table->status == POLY_OK || !table->exists)
        return status;
    status = driver->load(db, table->domain, &now, err);
    if (status != POLY_OK)
        return status;
    *again = !same_shape(table, now);
    poly_table_free(now);
    return POLY_OK;
}

/* While others read the old one, and may change the table: what is found out is noted in a new one,
 * and that is kept if there is anything new to say. */
static enum poly_status sync_alone(const struct poly_relational_driver *driver, struct poly_db *db,
                                   struct poly_table **slot, struct poly_error *err)
{
    struct poly_table *old = *slot, *table = NULL;
    bool known = false, again = false;
    enum poly_status status;

    do {
        poly_table_free(table);
        table = NULL;
        status = driver->load(db, old->domain, &table, err);
        if (status == POLY_OK)
            status = is_known(driver, db, old, table, &known, err);
        if (status == POLY_OK && !known)
            status = repair(driver, db, table, &again, err);
    } while (status == POLY_OK && !known && again);
    if (status != POLY_OK || known ||
        (same_shape(old, table) && old->status == table->status &&
         same_words(old->problem, table->problem)))
        poly_table_free(table);
    else
        *slot = table;
    return status;
}

/* A copy of the current schema; in place of what it does not know, tables that nobody knows yet.
 * standing: which of the domains that were made are there, from the first of them. */
static struct poly_schema *copy_schema(struct poly_relational *relational,
                                       struct poly_table *unknown, const bool *standing,
                                       size_t count)
{
    const struct poly_config *config = relational->config;
    const struct poly_schema *old = atomic_load(&relational->schema);
    struct poly_schema *schema = calloc(1, sizeof(*schema) + count * sizeof(schema->tables[0]));

    if (schema == NULL)
        return NULL;
    schema->count = count;
    schema->base = old;
    for (size_t i = 0; i < count; i++) {
        const struct poly_table *before = old == NULL || i >= old->count ? NULL : old->tables[i];

        unknown[i].domain = &config->domains[i];
        if (unknown[i].domain->table != NULL &&
            (i < config->domain_count || standing[i - config->domain_count]))
            schema->tables[i] = before == NULL ? &unknown[i] : old->tables[i];
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

/* What the database had before is as well known as it was. */
static enum poly_status set_version(const struct poly_relational_driver *driver, struct poly_db *db,
                                    const struct poly_sync_only *only, struct poly_schema *schema,
                                    struct poly_error *err)
{
    int version = 0;
    enum poly_status status = driver->version(db, &version, err);

    if (only != NULL && schema->base != NULL && schema->base->version != only->before)
        version = schema->base->version;
    schema->version = version;
    return status;
}

static bool is_read(const struct poly_sync_only *only, const struct poly_schema *schema,
                    const struct poly_table *unknown, size_t i)
{
    return schema->tables[i] != NULL && (only == NULL || schema->tables[i] == &unknown[i] ||
                                         (i < only->count && only->changed[i]));
}

enum poly_status poly_relational_sync(struct poly_relational *relational, struct poly_db *db,
                                      enum poly_sync sync, const struct poly_sync_only *only,
                                      struct poly_schema **schema, struct poly_error *err)
{
    const struct poly_relational_driver *driver = relational->driver;
    bool standing[POLY_MAX_COLLECTIONS_MADE] = {false};
    enum poly_status status = poly_collections_read(relational, db, standing, err);
    size_t count = poly_config_domains(relational->config);
    struct poly_table *unknown = status == POLY_OK ? calloc(count + 1, sizeof(*unknown)) : NULL;
    struct poly_schema *next =
        unknown == NULL ? NULL : copy_schema(relational, unknown, standing, count);

    if (next == NULL) {
        free(unknown);
        return status == POLY_OK ? poly_no_memory(err) : status;
    }
    next->number = atomic_fetch_add(&relational->read, 1) + 1;
    if (sync != POLY_SYNC_AGAIN && only == NULL)
        status = driver->tidy(relational, db, err);
    for (size_t i = 0; i < count && status == POLY_OK; i++) {
        if (is_read(only, next, unknown, i))
            status = sync == POLY_SYNC_MIGRATION ? sync_table(driver, db, &next->tables[i], err)
                                                 : sync_alone(driver, db, &next->tables[i], err);
    }
    if (status == POLY_OK)
        status = set_version(driver, db, only, next, err);
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

/* A domain that was made may be used as long as its table is in the schema. */
static void go_live(const struct poly_relational *relational, const struct poly_schema *schema)
{
    for (size_t i = relational->config->domain_count; i < schema->count; i++) {
        struct poly_made *made = relational->config->domains[i].made;

        if (schema->tables[i] != NULL)
            atomic_store(&made->state, POLY_MADE_LIVE);
        else if (atomic_load(&made->state) == POLY_MADE_LIVE)
            atomic_store(&made->state, POLY_MADE_DROPPED);
    }
}

/* With the lock. Two migrations may come here in the other order than they were committed. */
static void publish(struct poly_relational *relational, struct poly_schema *schema)
{
    struct poly_schema *old = atomic_load(&relational->schema);
    bool same = old != NULL && old->count == schema->count;

    for (size_t i = 0; i < schema->count && same; i++)
        same = schema->tables[i] == old->tables[i];
    if (same) {
        old->version = schema->version;
        free(schema);
    } else {
        keep(relational, schema);
        if (old == NULL || old->number < schema->number) {
            atomic_store_explicit(&relational->schema, schema, memory_order_release);
            go_live(relational, schema);
        }
    }
}

void poly_relational_swap(struct poly_relational *relational, struct poly_schema *schema)
{
    pthread_mutex_lock(&relational->lock);
    publish(relational, schema);
    pthread_mutex_unlock(&relational->lock);
}

bool poly_relational_offer(struct poly_relational *relational, struct poly_schema *schema)
{
    bool newest;

    pthread_mutex_lock(&relational->lock);
    newest = schema->base == atomic_load(&relational->schema);
    if (newest)
        publish(relational, schema);
    pthread_mutex_unlock(&relational->lock);
    if (!newest)
        poly_relational_drop(relational, schema);
    return newest;
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
    poly_model_sql_free(relational);
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
