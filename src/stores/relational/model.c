/*
 * A change of model. What is collected lies beside the records, in poly_model_vector, each vector
 * with the version of the record that it was made of. Writers go on with the model that serves.
 *
 * The swap is one transaction: it exchanges the column's vectors for those beside it, and says in
 * poly_model from which position on the log's vectors are of the new model. While it runs nobody
 * else writes to the table, so that nothing of the old model comes after that position. What
 * follows the log reads both in order, and so do all daemons; none can mix them.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "core/config.h"
#include "core/instance.h"
#include "core/model.h"
#include "core/vector.h"
#include "polystore/vector.h"
#include "stores/relational/model_sql.h"

enum { KEYS = 5 /* that a refusal names */ };

static const char next_get[] = "SELECT model, dimensions, back FROM poly_model_next"
                               " WHERE domain = ?1 AND field = ?2";
static const char next_put[] =
    "INSERT INTO poly_model_next(domain, field, model, dimensions, back, time)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (domain, field)"
    " DO UPDATE SET model = ?3, dimensions = ?4, back = ?5, time = ?6";
/* And keeps it as it is until the end of the transaction. */
static const char next_touch[] = "UPDATE poly_model_next SET time = ?3"
                                 " WHERE domain = ?1 AND field = ?2";
static const char next_drop[] = "DELETE FROM poly_model_next WHERE domain = ?1 AND field = ?2";
static const char count_kept[] = "SELECT count(*) FROM poly_model_vector"
                                 " WHERE domain = ?1 AND field = ?2 AND old = 0";
static const char drop_all[] = "DELETE FROM poly_model_vector WHERE domain = ?1 AND field = ?2";
static const char drop_used[] =
    "DELETE FROM poly_model_vector WHERE domain = ?1 AND field = ?2 AND old = 0";
#define LATEST                                                                                     \
    "(SELECT l.position FROM poly_log AS l WHERE l.domain = n.domain AND l.tenant = n.tenant"      \
    " AND l.key = n.key AND l.version IS NULL ORDER BY l.position DESC LIMIT 1)"
static const char drop_stale[] = "DELETE FROM poly_model_vector AS n WHERE domain = ?1"
                                 " AND field = ?2 AND old = 0 AND of <> " LATEST;
static const char keep_old[] = "UPDATE poly_model_vector AS n SET old = 0, of = " LATEST
                               " WHERE domain = ?1 AND field = ?2 AND old = 1";
static const char latest[] = "SELECT position, type FROM poly_log WHERE domain = ?1"
                             " AND tenant = ?2 AND key = ?3 AND version IS NULL"
                             " ORDER BY position DESC LIMIT 1";
#define KEEP(vector)                                                                               \
    "INSERT INTO poly_model_vector(domain, field, old, tenant, key, of, vector)"                   \
    " VALUES (?1, ?2, 0, ?3, ?4, ?5, " vector ") ON CONFLICT (domain, field, old, tenant, key)"    \
    " DO UPDATE SET of = excluded.of, vector = excluded.vector"
static const char keep[] = KEEP("?6");
static const char keep_bytes[] = KEEP("CAST(CAST(?6 AS bytea) AS text)");
static const char last[] = "SELECT coalesce(max(position), 0) FROM poly_log";

/* --- which vector --- */

/* What all of it is about: a column, and the domain's vectors that are made of it. */
struct change {
    struct poly_session *session;
    struct poly_instance *instance;
    struct poly_arena *arena;
    const struct poly_domain *domain;
    const struct poly_domain_vector *declared, *now;
    const struct poly_table *table;
    size_t column;
    struct poly_error *err;
    /* of the next */
    bool any, back;
    const char *model;
    uint32_t dimensions;
};

static const struct poly_domain_vector *named(const struct poly_domain *domain, const char *name)
{
    if (name == NULL)
        return domain->vector_count == 1 ? &domain->vectors[0] : NULL;
    for (size_t i = 0; i < domain->vector_count; i++)
        if (strcmp(domain->vectors[i].name, name) == 0)
            return &domain->vectors[i];
    return NULL;
}

static enum poly_status find_table(struct change *c)
{
    const char *domain = c->domain->name, *field = c->declared->field;

    c->table = poly_relational_table(poly_instance_relational(c->instance), c->domain);
    if (c->table == NULL)
        return poly_fail(c->err, POLY_INVALID,
                         "domain '%s' is a stream: what was appended never changes, and its "
                         "vectors neither",
                         domain);
    if (c->table->status != POLY_OK)
        return poly_fail(c->err, c->table->status, "domain '%s': %s", domain, c->table->problem);
    c->column = poly_table_find(c->table, field);
    if (c->column == c->table->column_count)
        return poly_fail(c->err, POLY_INVALID, "domain '%s' has no column '%s'", domain, field);
    return POLY_OK;
}

static enum poly_status find(struct change *c, struct poly_session *session, const char *domain,
                             const char *name, struct poly_error *err)
{
    enum poly_status status =
        poly_session_require(session, POLY_RIGHT_ADMIN, "a change of model", err);

    *c = (struct change){.session = session,
                         .instance = poly_session_instance(session),
                         .arena = poly_session_arena(session),
                         .err = err};
    if (status != POLY_OK)
        return status;
    if (domain == NULL)
        return poly_fail(err, POLY_INVALID, "no domain was named");
    c->domain = poly_instance_domain(c->instance, domain, err);
    if (c->domain == NULL)
        return err->status;
    if (c->domain->made != NULL)
        return poly_fail(err, POLY_UNSUPPORTED,
                         "'%s' is a collection, whose model does not change: make another one, and "
                         "put the records with their new vectors there",
                         domain);
    c->declared = named(c->domain, name);
    if (c->declared == NULL)
        return poly_fail(err, POLY_INVALID,
                         c->domain->vector_count == 0 ? "domain '%s': has no vectors"
                         : name == NULL ? "domain '%s': has several vectors; name one of them"
                                        : "domain '%s': has no vector '%.60s'",
                         domain, name);
    c->now = poly_vector_now(c->declared);
    return find_table(c);
}

/* --- SQL --- */

static enum poly_status open_stmt(const struct change *c, struct poly_db *db, const char *sql,
                                  struct poly_stmt *stmt)
{
    enum poly_status status = poly_stmt_open(stmt, db, sql, c->err);

    if (status != POLY_OK)
        return status;
    poly_stmt_text(stmt, 1, poly_text(c->domain->name));
    poly_stmt_text(stmt, 2, poly_text(c->table->columns[c->column].name));
    return POLY_OK;
}

static enum poly_status run_stmt(const struct change *c, struct poly_db *db, const char *sql,
                                 uint64_t *changes)
{
    struct poly_stmt stmt;
    int64_t changed = 0;
    enum poly_status status = open_stmt(c, db, sql, &stmt);

    if (status == POLY_OK)
        status = poly_stmt_changes(&stmt, &changed, c->err);
    if (changes != NULL)
        *changes = (uint64_t)changed;
    return status;
}

static enum poly_status read_two(const struct change *c, struct poly_db *db, const char *sql,
                                 uint64_t *one, uint64_t *two)
{
    struct poly_stmt stmt;
    bool row = false;
    enum poly_status status = open_stmt(c, db, sql, &stmt);

    if (status == POLY_OK)
        status = poly_stmt_row(&stmt, &row, c->err);
    if (status != POLY_OK || !row)
        return status;
    *one = (uint64_t)poly_stmt_get_int(&stmt, 0);
    if (two != NULL)
        *two = (uint64_t)poly_stmt_get_int(&stmt, 1);
    poly_stmt_close(&stmt);
    return POLY_OK;
}

static enum poly_status read_next(struct change *c, struct poly_db *db)
{
    struct poly_stmt stmt;
    struct poly_text model;
    enum poly_status status = open_stmt(c, db, next_get, &stmt);

    c->any = false;
    if (status == POLY_OK)
        status = poly_stmt_row(&stmt, &c->any, c->err);
    if (status != POLY_OK || !c->any)
        return status;
    model = poly_stmt_get_text(&stmt, 0);
    c->model = poly_arena_copy(c->arena, model.data, model.size);
    c->dimensions = (uint32_t)poly_stmt_get_int(&stmt, 1);
    c->back = poly_stmt_get_int(&stmt, 2) != 0;
    poly_stmt_close(&stmt);
    return c->model == NULL ? poly_no_memory(c->err) : POLY_OK;
}

static enum poly_status put_next(const struct change *c, struct poly_db *db, const char *model,
                                 uint32_t dimensions, bool back)
{
    struct poly_stmt stmt;
    enum poly_status status = open_stmt(c, db, next_put, &stmt);

    if (status != POLY_OK)
        return status;
    poly_stmt_text(&stmt, 3, poly_text(model));
    poly_stmt_int(&stmt, 4, dimensions);
    poly_stmt_int(&stmt, 5, back);
    poly_stmt_int(&stmt, 6, poly_clock_wall());
    return poly_stmt_done(&stmt, c->err);
}

/* Reads it, and nobody else changes it before the transaction ends. */
static enum poly_status hold_next(struct change *c, struct poly_db *db)
{
    struct poly_stmt stmt;
    enum poly_status status = open_stmt(c, db, next_touch, &stmt);

    if (status != POLY_OK)
        return status;
    poly_stmt_int(&stmt, 3, poly_clock_wall());
    status = poly_stmt_done(&stmt, c->err);
    return status == POLY_OK ? read_next(c, db) : status;
}

/* --- begin, abandon --- */

struct beginning {
    struct change c;
    const char *model;
    uint32_t dimensions;
};

static enum poly_status begin(struct poly_db *db, void *arg, struct poly_error *err)
{
    struct beginning *b = arg;
    struct change *c = &b->c;
    enum poly_status status;

    c->err = err;
    status = hold_next(c, db);
    if (status != POLY_OK)
        return status;
    if (c->any && !c->back && strcmp(c->model, b->model) == 0 && c->dimensions == b->dimensions)
        return POLY_OK;
    if (c->any && !c->back)
        return poly_fail(err, POLY_CONFLICT,
                         "domain '%s': vectors of the model '%.100s' with %u dimensions are being "
                         "collected; swap them in, or abandon them, before '%.100s' with %u",
                         c->domain->name, c->model, c->dimensions, b->model, b->dimensions);
    status = run_stmt(c, db, drop_all, NULL);
    return status == POLY_OK ? put_next(c, db, b->model, b->dimensions, false) : status;
}

enum poly_status poly_model_begin(struct poly_session *session, const char *domain,
                                  const char *name, const char *model, size_t dimensions,
                                  struct poly_error *err)
{
    struct poly_error local;
    struct beginning b = {.model = model, .dimensions = (uint32_t)dimensions};
    enum poly_status status;

    err = err == NULL ? &local : err;
    status = find(&b.c, session, domain, name, err);
    if (status != POLY_OK)
        return status;
    if (model == NULL || *model == '\0' || strlen(model) > POLY_MAX_NAME)
        return poly_fail(err, POLY_INVALID, "the name of a model has 1 to %d bytes", POLY_MAX_NAME);
    if (dimensions == 0 || dimensions > POLY_MAX_DIMENSIONS)
        return poly_fail(err, POLY_INVALID, "a vector has 1 to %d dimensions, not %zu",
                         POLY_MAX_DIMENSIONS, dimensions);
    if (b.c.now->model != NULL && strcmp(b.c.now->model, model) == 0)
        return poly_fail(err, POLY_INVALID,
                         "domain '%s': its vectors are of the model '%s' already", domain, model);
    return poly_instance_write(b.c.instance, begin, &b, err);
}

static enum poly_status abandon(struct poly_db *db, void *arg, struct poly_error *err)
{
    struct change *c = arg;
    enum poly_status status;

    c->err = err;
    status = hold_next(c, db);
    if (status != POLY_OK)
        return status;
    if (!c->any)
        return poly_fail(err, POLY_NOT_FOUND, "domain '%s': no vectors of another model are kept",
                         c->domain->name);
    status = run_stmt(c, db, drop_all, NULL);
    return status == POLY_OK ? run_stmt(c, db, next_drop, NULL) : status;
}

enum poly_status poly_model_abandon(struct poly_session *session, const char *domain,
                                    const char *name, struct poly_error *err)
{
    struct poly_error local;
    struct change c;
    enum poly_status status;

    err = err == NULL ? &local : err;
    status = find(&c, session, domain, name, err);
    return status == POLY_OK ? poly_instance_write(c.instance, abandon, &c, err) : status;
}

/* --- add --- */

struct entry {
    struct poly_text tenant, key;
    struct poly_value stored;
    uint64_t version;
};

struct adding {
    struct change c;
    const struct poly_model_batch *batch;
    struct entry *entries;
    struct poly_model_added added;
};

static enum poly_status read_entry(struct adding *a, size_t at)
{
    struct change *c = &a->c;
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
    const struct change *c = &a->c;

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

static enum poly_status version_of(const struct change *c, struct poly_db *db,
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
    const struct change *c = &a->c;
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
    status = open_stmt(c, db, bytes ? keep_bytes : keep, &stmt);
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
    struct change *c = &a->c;
    enum poly_status status;

    c->err = err;
    a->added = (struct poly_model_added){0};
    status = hold_next(c, db);
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
    status = find(&a.c, session, domain, name, err);
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

/* --- swap --- */

struct swapping {
    struct change c;
    const struct poly_model_swap *how;
    const struct poly_model_sql *sql;
    struct poly_text meta;
    struct poly_model_swapped swapped;
};

static enum poly_status refuse(const struct swapping *s, struct poly_db *db, uint64_t wrong,
                               uint64_t stale)
{
    const struct change *c = &s->c;
    struct poly_stmt stmt;
    char keys[400] = "";
    size_t used = 0;
    bool row = true;
    enum poly_status status = open_stmt(c, db, s->sql->which, &stmt);

    if (status != POLY_OK)
        return status;
    poly_stmt_int(&stmt, 3, KEYS);
    while ((status = poly_stmt_row(&stmt, &row, c->err)) == POLY_OK && row) {
        struct poly_text key = poly_stmt_get_text(&stmt, 0);

        used +=
            (size_t)snprintf(keys + used, sizeof(keys) - used, "%s'%.*s'", used == 0 ? "" : ", ",
                             (int)(key.size > 60 ? 60 : key.size), key.data);
    }
    if (status != POLY_OK)
        return status;
    return poly_fail(
        c->err, POLY_CONFLICT,
        "domain '%s': %llu records have no vector of the model '%.100s', and %llu were "
        "changed since theirs was given: %s%s; give them one, or let them have none "
        "(drop_missing)",
        c->domain->name, (unsigned long long)(wrong - stale), c->model, (unsigned long long)stale,
        keys, wrong > KEYS ? " …" : "");
}

static enum poly_status check_swap(const struct swapping *s)
{
    const struct change *c = &s->c;

    if (c->any && c->back == s->how->back)
        return POLY_OK;
    if (s->how->back)
        return poly_fail(c->err, POLY_NOT_FOUND, "domain '%s': there is no model to go back to",
                         c->domain->name);
    return poly_fail(c->err, POLY_NOT_FOUND,
                     "domain '%s': no vectors of another model have been collected",
                     c->domain->name);
}

/* Of all vectors that are made of the column. */
static enum poly_status note(struct swapping *s, struct poly_db *db, uint64_t since)
{
    const struct change *c = &s->c;
    enum poly_status status = POLY_OK;

    for (size_t i = 0; i < c->domain->vector_count && status == POLY_OK; i++) {
        const struct poly_domain_vector *now = poly_vector_now(&c->domain->vectors[i]);

        struct poly_domain_vector after = *now;

        if (strcasecmp(now->field, c->declared->field) != 0)
            continue;
        after.change++;
        after.model = c->model;
        after.dimensions = c->dimensions;
        after.since = since;
        after.upto = s->swapped.position;
        status = poly_models_add(db, c->domain->name, now, &after, c->err);
    }
    return status;
}

static enum poly_status exchange(struct swapping *s, struct poly_db *db)
{
    struct change *c = &s->c;
    const char *const steps[] = {drop_stale, s->sql->stash, s->sql->same};
    enum poly_status status = POLY_OK;

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && status == POLY_OK; i++)
        status = run_stmt(c, db, steps[i], NULL);
    if (status == POLY_OK)
        status = run_stmt(c, db, s->sql->take, NULL);
    if (status == POLY_OK)
        status = run_stmt(c, db, drop_used, &s->swapped.changed);
    if (status == POLY_OK)
        status = run_stmt(c, db, keep_old, NULL);
    return status;
}

static enum poly_status swap_all(struct swapping *s, struct poly_db *db)
{
    struct change *c = &s->c;
    uint64_t wrong = 0, stale = 0;
    int64_t since = 0, upto = 0;
    enum poly_status status = hold_next(c, db);

    if (status == POLY_OK)
        status = check_swap(s);
    if (status == POLY_OK && s->sql->lock != NULL)
        status = poly_db_exec(db, s->sql->lock, c->err);
    if (status == POLY_OK)
        status = read_two(c, db, s->sql->wrong, &wrong, &stale);
    if (status == POLY_OK && wrong > 0 && !s->how->drop_missing)
        status = refuse(s, db, wrong, stale);
    if (status == POLY_OK)
        status = poly_db_number(db, last, &since, c->err);
    if (status == POLY_OK)
        status = exchange(s, db);
    if (status == POLY_OK)
        status = poly_db_number(db, last, &upto, c->err);
    s->swapped.position = (uint64_t)upto;
    s->swapped.dropped = wrong;
    s->swapped.model = poly_text(c->model);
    s->swapped.dimensions = c->dimensions;
    if (status == POLY_OK)
        status = note(s, db, (uint64_t)since + 1);
    return status == POLY_OK ? put_next(c, db, c->now->model == NULL ? "" : c->now->model,
                                        c->now->dimensions, true)
                             : status;
}

static enum poly_status swap(struct poly_db *db, void *arg, struct poly_error *err)
{
    struct swapping *s = arg;
    const struct poly_relational_driver *driver = poly_instance_relational(s->c.instance)->driver;
    enum poly_status status;

    s->c.err = err;
    status = driver->migrate_begin(db, s->meta, err);
    if (status == POLY_OK)
        status = swap_all(s, db);
    if (status == POLY_OK)
        status = driver->migrate_end(db, err);
    if (status == POLY_OK && poly_db_engine(db) == POLY_SQLITE)
        poly_models_begin(s->c.instance);
    return status;
}

static enum poly_status make_meta(struct swapping *s, const char *model)
{
    struct poly_buffer meta;

    poly_buffer_init(&meta, POLY_MAX_META);
    poly_buffer_text(&meta, "{\"model\":");
    poly_json_string(&meta, model, strlen(model));
    poly_buffer_text(&meta, "}");
    s->meta.size = meta.size;
    s->meta.data = poly_buffer_ok(&meta) ? poly_arena_copy(s->c.arena, meta.data, meta.size) : NULL;
    poly_buffer_release(&meta);
    return s->meta.data == NULL ? poly_no_memory(s->c.err) : POLY_OK;
}

/* What it is now is known before the answer; where others write too, it has to be looked at. */
static enum poly_status look_before(struct change *c, const char *domain, const char *name)
{
    enum poly_status status = poly_models_look(c->instance, c->err);
    struct poly_db *db;

    if (status == POLY_OK)
        status = find(c, c->session, domain, name, c->err);
    if (status != POLY_OK)
        return status;
    status = poly_session_read_log(c->session, &db, c->err);
    if (status != POLY_OK)
        return status;
    status = read_next(c, db);
    poly_session_read_end(c->session);
    return status;
}

enum poly_status poly_model_swap(struct poly_session *session, const char *domain, const char *name,
                                 const struct poly_model_swap *how,
                                 struct poly_model_swapped *swapped, struct poly_error *err)
{
    static const struct poly_model_swap defaults;
    struct poly_error local, ignored;
    struct swapping s = {.how = how == NULL ? &defaults : how};
    enum poly_status status;

    err = err == NULL ? &local : err;
    status = find(&s.c, session, domain, name, err);
    if (status == POLY_OK)
        status = look_before(&s.c, domain, name);
    if (status == POLY_OK)
        status = check_swap(&s);
    if (status == POLY_OK)
        status = make_meta(&s, s.c.model);
    if (status == POLY_OK)
        status = poly_model_sql(poly_instance_relational(s.c.instance), s.c.table, s.c.column,
                                &s.sql, err);
    if (status == POLY_OK)
        status = poly_instance_write(s.c.instance, swap, &s, err);
    if (status != POLY_OK)
        return poly_fail_in(err, status, "change of model");
    *swapped = s.swapped;
    (void)!poly_models_look(s.c.instance, &ignored); /* else whoever follows the log does */
    return POLY_OK;
}

/* --- how it is --- */

static enum poly_status fill_next(struct change *c, struct poly_db *db,
                                  struct poly_model_status *one, bool counts)
{
    const struct poly_model_sql *sql;
    uint64_t wrong = 0;
    enum poly_status status = read_next(c, db);

    if (status != POLY_OK || !c->any)
        return status;
    one->next = poly_text(c->model);
    one->next_dimensions = c->dimensions;
    one->back = c->back;
    one->counted = counts;
    if (!counts)
        return POLY_OK;
    status = read_two(c, db, count_kept, &one->filled, NULL);
    if (status == POLY_OK)
        status = poly_model_sql(poly_instance_relational(c->instance), c->table, c->column, &sql,
                                c->err);
    if (status == POLY_OK)
        status = read_two(c, db, sql->wrong, &wrong, &one->stale);
    one->missing = wrong - one->stale;
    return status;
}

struct looking {
    struct poly_session *session;
    struct poly_db *db;
    bool counts; /* takes a look at every row */
    struct poly_error *err;
};

static enum poly_status fill_one(const struct looking *l, const struct poly_domain *domain,
                                 const struct poly_domain_vector *vector,
                                 struct poly_model_status *one)
{
    const struct poly_domain_vector *now = poly_vector_now(vector);
    const char *name = domain->vector_count == 1 ? NULL : vector->name;
    struct change c;

    *one = (struct poly_model_status){
        .domain = poly_text(domain->name),
        .name = poly_text(vector->name),
        .model = poly_text(now->model == NULL ? "" : now->model),
        .dimensions = now->dimensions,
        .changes = now->change,
        .named = poly_text(vector->model == NULL ? "" : vector->model),
        .named_dimensions = vector->dimensions,
        .next = {"", 0},
    };
    /* Of a stream, or a table that does not fit, nothing is collected. */
    return domain->table == NULL || find(&c, l->session, domain->name, name, l->err) != POLY_OK
               ? POLY_OK
               : fill_next(&c, l->db, one, l->counts);
}

enum poly_status poly_model_status(struct poly_session *session, const char *domain,
                                   const struct poly_model_status **list, size_t *count,
                                   struct poly_error *err)
{
    const struct poly_config *config = poly_instance_config(poly_session_instance(session));
    struct poly_model_status *all;
    struct poly_error local;
    struct looking l = {.session = session, .counts = domain != NULL};
    size_t room = 0, filled = 0;
    enum poly_status status;

    err = err == NULL ? &local : err;
    status = poly_session_require(session, POLY_RIGHT_ADMIN, "models of vectors", err);
    if (status == POLY_OK && domain != NULL &&
        poly_instance_domain(poly_session_instance(session), domain, err) == NULL)
        status = err->status;
    if (status != POLY_OK)
        return status;
    for (size_t i = 0; i < config->domain_count; i++)
        room += config->domains[i].vector_count;
    all = poly_arena_array(poly_session_arena(session), room + 1, sizeof(*all));
    if (all == NULL)
        return poly_no_memory(err);
    l.err = err;
    status = poly_session_read_log(session, &l.db, err);
    if (status != POLY_OK)
        return status;
    for (size_t i = 0; i < config->domain_count && status == POLY_OK; i++) {
        const struct poly_domain *d = &config->domains[i];

        for (size_t v = 0; v < d->vector_count && status == POLY_OK; v++)
            if (domain == NULL || strcmp(domain, d->name) == 0)
                status = fill_one(&l, d, &d->vectors[v], &all[filled++]);
    }
    poly_session_read_end(session);
    *list = all;
    *count = filled;
    return status;
}
