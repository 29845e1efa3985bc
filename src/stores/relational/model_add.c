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
    " DO UPDATE SET of = excluded.of, vector = excluded.vector"                                    \
    " WHERE poly_model_vector.of <= excluded.of"
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

static enum poly_status keep_one(const struct poly_model_change *c, struct poly_db *db,
                                 const struct entry *entry, struct poly_model_added *added)
{
    bool bytes = c->table->typed && entry->stored.type == POLY_BYTES;
    struct poly_stmt stmt;
    uint64_t version;
    enum poly_status status = version_of(c, db, entry, &version);

    if (status != POLY_OK)
        return status;
    if (version == 0) {
        added->unknown++;
        return POLY_OK;
    }
    if (entry->version != 0 && entry->version != version) {
        added->stale++;
        return POLY_OK;
    }
    added->taken++;
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
    enum poly_status status = poly_model_hold_next(c, db, err);

    a->added = (struct poly_model_added){0};
    if (status != POLY_OK)
        return status;
    if (!c->any || (a->batch->model != NULL && strcmp(a->batch->model, c->model) != 0))
        return poly_fail(
            err, POLY_CONFLICT, "domain '%s': %s%.100s%s; begin a change of model first",
            c->domain->name, c->any ? "vectors of the model '" : "no vectors of another model",
            c->any ? c->model : " are", c->any ? "' are being collected" : " collected");
    if (c->embedded)
        return poly_fail(err, POLY_CONFLICT,
                         "domain '%s': the vectors of the model '%.100s' are made by the embedder "
                         "'%.60s', and are not given",
                         c->domain->name, c->model, c->filling.embedder);
    for (size_t i = 0; i < a->batch->count && status == POLY_OK; i++) {
        status = check_entry(a, &a->batch->vectors[i]);
        if (status == POLY_OK)
            status = keep_one(c, db, &a->entries[i], &a->added);
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

/* --- by an embedder --- */

struct keeping {
    struct poly_model_change c;
    struct poly_filling_batch *batch;
    struct entry *entries;
};

static enum poly_status read_made(struct keeping *k, size_t at)
{
    struct poly_model_change *c = &k->c;
    const struct poly_filling_vector *vector = &k->batch->list[at];
    struct entry *entry = &k->entries[at];

    *entry =
        (struct entry){.tenant = vector->tenant, .key = vector->key, .version = vector->version};
    return poly_column_store_numbers(c->table, &c->table->columns[c->column], vector->numbers,
                                     k->batch->vector->dimensions, c->arena, &entry->stored,
                                     c->err);
}

static bool is_wanted(const struct keeping *k)
{
    const struct poly_filling *filling = &k->c.filling;
    const struct poly_domain_vector *vector = k->batch->vector;

    return k->c.any && k->c.embedded && filling->runs &&
           strcmp(filling->model, vector->model) == 0 && filling->dimensions == vector->dimensions;
}

static enum poly_status keep_made(struct poly_db *db, void *arg, struct poly_error *err)
{
    struct keeping *k = arg;
    struct poly_model_change *c = &k->c;
    enum poly_status status = poly_model_hold_next(c, db, err);

    if (status == POLY_OK && !is_wanted(k))
        return poly_fail(err, POLY_CONFLICT,
                         "domain '%s': no vectors of the model '%.100s' are wanted any more",
                         c->domain->name, k->batch->vector->model);
    for (size_t i = 0; i < k->batch->count && status == POLY_OK; i++) {
        struct poly_model_added added = {0};

        status = keep_one(c, db, &k->entries[i], &added);
        if (status == POLY_OK && added.taken > 0)
            status = k->batch->kept(k->batch->arg, db, i, err);
    }
    return status == POLY_OK ? k->batch->done(k->batch->arg, db, err) : status;
}

enum poly_status poly_filling_keep(struct poly_instance *instance, struct poly_arena *arena,
                                   struct poly_filling_batch *batch, struct poly_error *err)
{
    struct keeping k = {.c = {.instance = instance,
                              .arena = arena,
                              .domain = batch->domain,
                              .declared = batch->vector,
                              .err = err},
                        .batch = batch};
    enum poly_status status = poly_model_find_table(&k.c);

    k.entries = poly_arena_array(arena, batch->count + 1, sizeof(*k.entries));
    if (k.entries == NULL)
        return poly_no_memory(err);
    batch->fits = status == POLY_OK;
    for (size_t i = 0; i < batch->count && status == POLY_OK; i++)
        status = read_made(&k, i);
    return status == POLY_OK ? poly_instance_write(instance, keep_made, &k, err) : status;
}
