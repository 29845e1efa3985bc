/*
 * Vectors of the next model, kept beside the records: each with the version of the record that it
 * was made of, and as the column would hold it.
 */
#include <string.h>
#include <strings.h>

#include "base/limits.h"
#include "core/instance.h"
#include "core/vector.h"
#include "stores/relational/model.h"

static const char latest[] = "SELECT position, type FROM poly_log WHERE domain = ?1"
                             " AND tenant = ?2 AND key = ?3 AND version IS NULL"
                             " ORDER BY position DESC LIMIT 1";
#define KEEP(vector)                                                                               \
    "INSERT INTO poly_model_vector(domain, field, old, tenant, key, of, vector)"                   \
    " VALUES (?1, ?2, 0, ?3, ?4, ?5, " vector ") ON CONFLICT (domain, field, old, tenant, key)"    \
    " DO UPDATE SET of = excluded.of, vector = excluded.vector"
static const char keep[] = KEEP("?6");
static const char keep_bytes[] = KEEP("CAST(CAST(?6 AS bytea) AS text)");

struct entry {
    struct poly_text tenant, key;
    struct poly_value stored;
    uint64_t version;
};

struct adding {
    struct poly_model_change c;
    const struct poly_model_batch *batch;
    struct entry *entries;
    struct poly_model_added added;
};

static enum poly_status read_entry(struct adding *a, size_t at)
{
    struct poly_model_change *c = &a->c;
    const struct poly_model_vector *vector = &a->batch->vectors[at];
    struct entry *entry = &a->entries[at];
    struct poly_record_key key;
    enum poly_status status;

    entry->version = vector->version;
    if (c->domain->tenant != NULL)
        entry->tenant =
            vector->tenant == NULL ? poly_session_tenant(c->session) : poly_text(vector->tenant);
    else if (vector->tenant != NULL)
        return poly_fail(c->err, POLY_INVALID, "domain '%s' has no tenants", c->domain->name);
    if (c->domain->tenant != NULL && entry->tenant.size == 0)
        return poly_fail(c->err, POLY_INVALID, "domain '%s' belongs to tenants: say whose vector",
                         c->domain->name);
    if (vector->key == NULL)
        return poly_fail(c->err, POLY_INVALID, "a vector is given for no key");
    status = poly_record_key(c->table, poly_text(vector->key), c->arena, &key, c->err);
    if (status != POLY_OK)
        return status;
    entry->key = key.text;
    return poly_column_store_numbers(c->table, &c->table->columns[c->column], vector->vector,
                                     vector->dimensions, c->arena, &entry->stored, c->err);
}

/* All vectors that are made of the column have to accept it. */
static enum poly_status check_entry(const struct adding *a, const struct poly_model_vector *vector)
{
    const struct poly_model_change *c = &a->c;

    for (size_t i = 0; i < c->domain->vector_count; i++) {
        struct poly_domain_vector shape = c->domain->vectors[i];
        enum poly_status status;

        if (strcasecmp(shape.field, c->declared->field) != 0)
            continue;
        shape.dimensions = c->dimensions;
        status = poly_vector_check(&shape, vector->vector, vector->dimensions, c->err);
        if (status != POLY_OK)
            return poly_fail_in(c->err, status, "key '%.200s'", vector->key);
    }
    return POLY_OK;
}

static enum poly_status version_of(const struct poly_model_change *c, struct poly_db *db,
                                   const struct entry *entry, uint64_t *version)
{
    struct poly_stmt stmt;
    struct poly_text type;
    bool row = false;
    enum poly_status status = poly_stmt_open(&stmt, db, latest, c->err);

    *version = 0;
    if (status != POLY_OK)
        return status;
    poly_stmt_text(&stmt, 1, poly_text(c->domain->name));
    poly_stmt_text(&stmt, 2, entry->tenant.data == NULL ? poly_text("") : entry->tenant);
    poly_stmt_text(&stmt, 3, entry->key);
    status = poly_stmt_row(&stmt, &row, c->err);
    if (status != POLY_OK || !row)
        return status;
    type = poly_stmt_get_text(&stmt, 1);
    if (type.size != sizeof("$delete") - 1 || memcmp(type.data, "$delete", type.size) != 0)
        *version = (uint64_t)poly_stmt_get_int(&stmt, 0);
    poly_stmt_close(&stmt);
    return POLY_OK;
}

static enum poly_status keep_one(struct adding *a, struct poly_db *db, const struct entry *entry)
{
    const struct poly_model_change *c = &a->c;
    bool bytes = c->table->typed && entry->stored.type == POLY_BYTES;
    struct poly_stmt stmt;
    uint64_t version;
    enum poly_status status = version_of(c, db, entry, &version);

    if (status != POLY_OK)
        return status;
    if (version == 0) {
        a->added.unknown++;
        return POLY_OK;
    }
    if (entry->version != 0 && entry->version != version) {
        a->added.stale++;
        return POLY_OK;
    }
    a->added.taken++;
    status = poly_model_open(c, db, bytes ? keep_bytes : keep, &stmt);
    if (status != POLY_OK)
        return status;
    poly_stmt_text(&stmt, 3, entry->tenant.data == NULL ? poly_text("") : entry->tenant);
    poly_stmt_text(&stmt, 4, entry->key);
    poly_stmt_int(&stmt, 5, (int64_t)version);
    poly_stmt_value(&stmt, 6, &entry->stored);
    return poly_stmt_done(&stmt, c->err);
}

static enum poly_status add(struct poly_db *db, void *arg, struct poly_error *err)
{
    struct adding *a = arg;
    struct poly_model_change *c = &a->c;
    enum poly_status status;

    c->err = err;
    a->added = (struct poly_model_added){0};
    status = poly_model_hold_next(c, db);
    if (status != POLY_OK)
        return status;
    if (!c->any || (a->batch->model != NULL && strcmp(a->batch->model, c->model) != 0))
        return poly_fail(
            err, POLY_CONFLICT, "domain '%s': %s%.100s%s; begin a change of model first",
            c->domain->name, c->any ? "vectors of the model '" : "no vectors of another model",
            c->any ? c->model : " are", c->any ? "' are being collected" : " collected");
    for (size_t i = 0; i < a->batch->count && status == POLY_OK; i++) {
        status = check_entry(a, &a->batch->vectors[i]);
        if (status == POLY_OK)
            status = keep_one(a, db, &a->entries[i]);
    }
    return status;
}

enum poly_status poly_model_add(struct poly_session *session, const char *domain, const char *name,
                                const struct poly_model_batch *batch,
                                struct poly_model_added *added, struct poly_error *err)
{
    struct poly_error local;
    struct adding a = {.batch = batch};
    enum poly_status status;

    err = err == NULL ? &local : err;
    status = poly_model_find(&a.c, session, domain, name, err);
    if (status != POLY_OK)
        return status;
    a.entries = poly_arena_array(a.c.arena, batch->count + 1, sizeof(*a.entries));
    if (a.entries == NULL)
        return poly_no_memory(err);
    for (size_t i = 0; i < batch->count && status == POLY_OK; i++)
        status = read_entry(&a, i);
    if (status == POLY_OK)
        status = poly_instance_write(a.c.instance, add, &a, err);
    if (status == POLY_OK)
        *added = a.added;
    return status;
}
