/*
 * The public functions: who may, which table, is the row valid. Everything that
 * can be refused is refused here, in the caller's thread; what goes to the
 * writer only binds and steps.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/limits.h"
#include "core/model.h"
#include "core/vector.h"
#include "polystore/events.h"
#include "stores/relational/driver.h"

/* --- which table, whose rows --- */

static struct poly_relational *relational_of(struct poly_session *session)
{
    return poly_instance_relational(poly_session_instance(session));
}

static enum poly_status dropped(const struct poly_domain *domain, struct poly_error *err)
{
    return poly_fail(err, POLY_NOT_FOUND, "the collection '%s' was dropped", domain->name);
}

/* What was read of the domain's table may be old: it is looked at again. */
static const struct poly_table *look_again(struct poly_relational *relational,
                                           const struct poly_domain *domain)
{
    if (relational->driver->refresh != NULL)
        relational->driver->refresh(relational);
    return poly_relational_table(relational, domain);
}

bool poly_relational_moved(struct poly_session *session, const struct poly_table *table,
                           enum poly_status status)
{
    if (table == NULL || (status != POLY_INVALID && status != POLY_UNAVAILABLE))
        return false;
    return poly_relational_table(relational_of(session), table->domain) != table ||
           look_again(relational_of(session), table->domain) != table;
}

enum poly_status poly_relational_find(struct poly_session *session, const char *name,
                                      const struct poly_table **table, struct poly_text *tenant,
                                      struct poly_error *err)
{
    struct poly_instance *instance = poly_session_instance(session);
    const struct poly_domain *domain;
    const struct poly_table *found;
    enum poly_status status;

    if (name == NULL)
        return poly_fail(err, POLY_INVALID, "no domain was named");
    domain = poly_instance_domain(instance, name, err);
    if (domain == NULL)
        return poly_failed(err);
    found = poly_relational_table(poly_instance_relational(instance), domain);
    if (found == NULL && domain->stream == NULL)
        return dropped(domain, err);
    if (found == NULL)
        return poly_fail(err, POLY_INVALID,
                         "domain '%s' belongs to the event log (stream '%s'), it has no records",
                         name, domain->stream);
    status = poly_session_wall(session, domain, tenant, err);
    if (status != POLY_OK)
        return status;
    if (found->status != POLY_OK)
        found = look_again(relational_of(session), domain);
    if (found == NULL)
        return dropped(domain, err);
    if (found->status != POLY_OK)
        return poly_fail(err, found->status, "domain '%s': %s", name, found->problem);
    status = domain->tenant == NULL ? POLY_OK : poly_record_tenant(found, *tenant, err);
    if (status == POLY_OK)
        *table = found;
    return status;
}

/* --- reads --- */

static const struct poly_relational_driver *driver_of(struct poly_session *session)
{
    return relational_of(session)->driver;
}

struct getting {
    const struct poly_table *table;
    struct poly_text tenant;
    struct poly_record_key key;
    struct poly_arena *arena;
    struct poly_document *document;
};

static enum poly_status prepare_get(struct poly_session *session, const char *domain,
                                    const char *key, struct getting *get, struct poly_error *err)
{
    enum poly_status status = poly_session_require(session, POLY_RIGHT_READ, "reading", err);

    get->arena = poly_session_arena(session);
    if (status == POLY_OK)
        status = poly_relational_find(session, domain, &get->table, &get->tenant, err);
    if (status == POLY_OK)
        status = poly_record_key(get->table, poly_text(key), get->arena, &get->key, err);
    return status;
}

static enum poly_status get_once(struct poly_session *session, const char *domain, const char *key,
                                 struct getting *get, struct poly_error *err)
{
    struct poly_db *db;
    enum poly_status status = prepare_get(session, domain, key, get, err);

    if (status == POLY_OK)
        status = poly_session_read_one(session, &db, err);
    if (status != POLY_OK)
        return status;
    status = driver_of(session)->get(db, get->table, get->tenant, &get->key, get->arena,
                                     get->document, err);
    poly_session_read_end(session);
    return status;
}

enum poly_status poly_get(struct poly_session *session, const char *domain, const char *key,
                          struct poly_document *document, struct poly_error *err)
{
    struct getting get = {.document = document};
    struct poly_error local;
    enum poly_status status = POLY_OK;

    err = err == NULL ? &local : err;
    for (int i = 0; i < POLY_RELATIONAL_TRIES; i++) {
        status = get_once(session, domain, key, &get, err);
        if (!poly_relational_moved(session, get.table, status))
            break;
    }
    return status;
}

static enum poly_status get_in_txn(void *arg, struct poly_write *write, struct poly_error *err)
{
    struct getting *get = arg;

    return poly_instance_relational(write->instance)
        ->driver->get(write->db, get->table, get->tenant, &get->key, get->arena, get->document,
                      err);
}

enum poly_status poly_txn_get(struct poly_txn *txn, const char *domain, const char *key,
                              struct poly_document *document, struct poly_error *err)
{
    struct getting get = {.document = document};
    struct poly_error local;
    enum poly_status status;

    err = err == NULL ? &local : err;
    if (!poly_txn_interactive(txn))
        return poly_fail(err, POLY_INVALID,
                         "a batch transaction runs at its commit and cannot read; begin an "
                         "interactive one, or read from the session");
    status = prepare_get(poly_txn_session(txn), domain, key, &get, err);
    return status == POLY_OK ? poly_txn_run(txn, get_in_txn, &get, err) : status;
}

/* --- for the drivers: what an operation finds --- */

_Atomic bool poly_control_version = true;

enum poly_status poly_record_none(const struct poly_table *table, const struct poly_record_key *key,
                                  struct poly_error *err)
{
    return poly_fail(err, POLY_NOT_FOUND, "domain '%s' has no record '%.*s'", table->domain->name,
                     (int)key->text.size, key->text.data);
}

/* A missing one counts as version 0. */
enum poly_status poly_record_expect(const struct poly_record_operation *op, bool exists,
                                    uint64_t version, struct poly_error *err)
{
    const char *domain = op->table->domain->name;
    int size = (int)op->key.text.size;
    const char *key = op->key.text.data;

    if (!exists && (op->verb == POLY_VERB_PATCH || op->verb == POLY_VERB_DELETE))
        return poly_record_none(op->table, &op->key, err);
    if (exists ? op->if_version > 0 && version == (uint64_t)op->if_version : op->if_version == 0)
        return POLY_OK;
    if (!exists)
        return poly_fail(err, POLY_CONFLICT,
                         "domain '%s' has no record '%.*s', version %lld was "
                         "expected",
                         domain, size, key, (long long)op->if_version);
    if (op->if_version == 0)
        return poly_fail(err, POLY_CONFLICT,
                         "domain '%s': record '%.*s' exists (version %llu), "
                         "none was expected",
                         domain, size, key, (unsigned long long)version);
    return poly_fail(err, POLY_CONFLICT,
                     "domain '%s': record '%.*s' has version %llu, %lld was "
                     "expected",
                     domain, size, key, (unsigned long long)version, (long long)op->if_version);
}

enum poly_status poly_record_other_model(const struct poly_record_operation *op,
                                         struct poly_error *err)
{
    return poly_fail(
        err, POLY_CONFLICT,
        "domain '%s': the model of its vectors%s was changed meanwhile; write those of "
        "the new one",
        op->table->domain->name,
        op->table->domain->made == NULL ? "" : ", or the collection itself,");
}

enum poly_status poly_record_models(const struct poly_record_operation *op,
                                    struct poly_instance *instance, struct poly_error *err)
{
    if (!op->vectors ||
        (op->models == poly_models_of(op->table->domain) && !poly_models_pending(instance)))
        return POLY_OK;
    return poly_record_other_model(op, err);
}

/* --- writes --- */

struct writing {
    struct poly_txn *txn;
    const char *domain;
    const char *key; /* NULL: in the row, or made */
    const struct poly_row *row;
    int64_t if_version;
    struct poly_record_operation *op;
};

static enum poly_status unknown_column(const struct poly_table *table, const char *name,
                                       struct poly_error *err)
{
    char known[300];

    if (table->domain->tenant != NULL && strcasecmp(name, table->domain->tenant) == 0)
        return poly_fail(err, POLY_INVALID,
                         "domain '%s': column '%s' is the tenant's; the session sets it",
                         table->domain->name, name);
    poly_table_columns(table, known, sizeof(known));
    return poly_fail(err, POLY_INVALID, "domain '%s' has no column '%.64s'; it has %s",
                     table->domain->name, name, known);
}

/* The fields of the row, each at its column, as stored. */
static enum poly_status take_row(struct poly_record_operation *op, const struct poly_row *row,
                                 struct poly_arena *arena, struct poly_error *err)
{
    const struct poly_table *table = op->table;
    enum poly_status status = POLY_OK;

    op->values = poly_arena_array(arena, table->column_count, sizeof(*op->values));
    op->given = poly_arena_array(arena, table->column_count, sizeof(*op->given));
    if (op->values == NULL || op->given == NULL)
        return poly_no_memory(err);
    for (size_t i = 0; i < row->count && status == POLY_OK; i++) {
        const struct poly_field *field = &row->fields[i];
        size_t at = poly_table_find(table, field->name);

        if (at == table->column_count)
            return unknown_column(table, field->name, err);
        if (table->columns[at].generated)
            return poly_fail(err, POLY_INVALID, "domain '%s': column '%s' is generated by SQL",
                             table->domain->name, field->name);
        if (op->given[at])
            return poly_fail(err, POLY_INVALID, "domain '%s': column '%s' is given twice",
                             table->domain->name, field->name);
        op->given[at] = true;
        status = poly_column_store(table, &table->columns[at], &field->value, arena,
                                   &op->values[at], err);
    }
    return status;
}

static enum poly_status make_key(struct poly_record_operation *op, struct poly_arena *arena,
                                 struct poly_error *err)
{
    const struct poly_table *table = op->table;
    const struct poly_column *column = &table->columns[table->key];
    struct poly_value uuid = poly_uuid_new();
    char text[37];

    if (op->verb == POLY_VERB_PUT && column->type == POLY_UUID) {
        poly_uuid_format(uuid.uuid, text);
        return poly_record_key(table, poly_text(text), arena, &op->key, err);
    }
    if (op->verb == POLY_VERB_PUT && table->key_made) {
        op->key_made = true;
        op->key.value = poly_null();
        op->key.text = poly_text("(new)");
        return POLY_OK;
    }
    return poly_fail(err, POLY_INVALID, "domain '%s': the key ('%s') is missing",
                     table->domain->name, column->name);
}

/* The key is given apart, or stands in the row, or both in agreement, or is made. */
static enum poly_status take_key(const struct writing *w, struct poly_arena *arena,
                                 struct poly_error *err)
{
    struct poly_record_operation *op = w->op;
    const struct poly_table *table = op->table;
    struct poly_value *in_row =
        op->given != NULL && op->given[table->key] ? &op->values[table->key] : NULL;
    struct poly_text given = poly_text(w->key);
    enum poly_status status;

    if (in_row != NULL && in_row->type == POLY_NULL)
        in_row = NULL;
    if (w->key == NULL && in_row != NULL) {
        given = in_row->text;
        if (in_row->type == POLY_INT)
            given = poly_text(poly_arena_printf(arena, "%lld", (long long)in_row->integer));
        if (given.data == NULL)
            return poly_no_memory(err);
    }
    if (w->key == NULL && in_row == NULL)
        return make_key(op, arena, err);
    given.data = poly_arena_copy(arena, given.data, given.size);
    if (given.data == NULL)
        return poly_no_memory(err);
    status = poly_record_key(table, given, arena, &op->key, err);
    if (status != POLY_OK || in_row == NULL)
        return status;
    if (in_row->type == POLY_INT
            ? in_row->integer != op->key.value.integer
            : in_row->text.size != op->key.text.size ||
                  memcmp(in_row->text.data, op->key.text.data, op->key.text.size) != 0)
        return poly_fail(err, POLY_INVALID,
                         "domain '%s': column '%s' in the row is not the key '%.200s'",
                         table->domain->name, table->columns[table->key].name, w->key);
    return POLY_OK;
}

static void place_key(struct poly_record_operation *op)
{
    if (op->values == NULL)
        return;
    op->given[op->table->key] = true;
    op->values[op->table->key] = op->key.value;
    op->all = true;
    for (size_t i = 0; i < op->table->column_count; i++)
        op->all = op->all && (op->given[i] || op->table->columns[i].generated);
}

/* What was given, with the names that the columns had. */
static enum poly_status given_row(const struct poly_record_operation *op, struct poly_arena *arena,
                                  struct poly_row *row, struct poly_error *err)
{
    const struct poly_table *table = op->table;
    struct poly_field *fields = poly_arena_array(arena, table->column_count, sizeof(*fields));

    if (fields == NULL)
        return poly_no_memory(err);
    *row = (struct poly_row){fields, 0};
    for (size_t i = 0; i < table->column_count; i++) {
        if (op->given[i] && i != table->key)
            fields[row->count++] = (struct poly_field){table->columns[i].name, op->values[i]};
    }
    return POLY_OK;
}

enum poly_status poly_record_table(struct poly_record_operation *op, struct poly_write *write,
                                   struct poly_error *err)
{
    const struct poly_table *now =
        poly_relational_table(poly_instance_relational(write->instance), op->table->domain);
    struct poly_row row = {NULL, 0};
    enum poly_status status = POLY_OK;

    if (now == op->table)
        return POLY_OK;
    if (now == NULL)
        return dropped(op->table->domain, err);
    if (now->status != POLY_OK)
        return poly_fail(err, now->status, "domain '%s': %s", now->domain->name, now->problem);
    if (op->values != NULL)
        status = given_row(op, write->arena, &row, err);
    op->table = now;
    if (status == POLY_OK && op->values != NULL)
        status = take_row(op, &row, write->arena, err);
    if (status == POLY_OK && !op->key_made)
        status = poly_record_key(now, op->key.text, write->arena, &op->key, err);
    else if (status == POLY_OK && !now->key_made)
        status = poly_fail(err, POLY_INVALID, "domain '%s': the key ('%s') is missing",
                           now->domain->name, now->columns[now->key].name);
    if (status == POLY_OK)
        place_key(op);
    return status;
}

static void digest(const struct writing *w)
{
    const char *name = w->op->base.type->name;

    poly_txn_digest(w->txn, name, strlen(name) + 1);
    poly_txn_digest(w->txn, w->domain, strlen(w->domain) + 1);
    if (w->key != NULL)
        poly_txn_digest(w->txn, w->key, strlen(w->key) + 1);
    poly_txn_digest(w->txn, &w->if_version, sizeof(w->if_version));
    for (size_t i = 0; w->row != NULL && i < w->row->count; i++) {
        poly_txn_digest(w->txn, w->row->fields[i].name, strlen(w->row->fields[i].name) + 1);
        poly_txn_digest_value(w->txn, &w->row->fields[i].value);
    }
}

/* Of which model a vector is that somebody writes, only he can say. */
static enum poly_status check_models(const struct writing *w, struct poly_error *err)
{
    const struct poly_domain *domain = w->op->table->domain;
    const char *model = poly_txn_model(w->txn);

    for (size_t i = 0; i < w->op->table->column_count && domain->vector_count > 0; i++) {
        const struct poly_domain_vector *vector;

        if (!w->op->given[i] || w->op->values[i].type == POLY_NULL)
            continue;
        vector = poly_vector_of(domain, w->op->table->columns[i].name);
        if (vector == NULL)
            continue;
        w->op->vectors = true;
        if (model != NULL && vector->model != NULL && strcmp(model, vector->model) != 0)
            return poly_fail(err, POLY_INVALID,
                             "domain '%s': its vectors are of the model '%.100s', those that are "
                             "written of '%.100s'",
                             domain->name, vector->model, model);
    }
    return POLY_OK;
}

static enum poly_status stage_once(struct writing *w, enum poly_record_verb verb,
                                   struct poly_error *err)
{
    struct poly_session *session = poly_txn_session(w->txn);
    struct poly_arena *arena = poly_txn_arena(w->txn);
    struct poly_record_operation *op = poly_arena_alloc(arena, sizeof(*op));
    enum poly_status status;

    if (op == NULL)
        return poly_no_memory(err);
    if (w->if_version < POLY_ANY)
        return poly_fail(err, POLY_INVALID, "domain '%s': if_version %lld is no version",
                         w->domain == NULL ? "" : w->domain, (long long)w->if_version);
    w->op = op;
    op->verb = verb;
    op->if_version = w->if_version;
    op->base.type = &driver_of(session)->types[verb];
    status = poly_session_require(session, POLY_RIGHT_WRITE, op->base.type->name, err);
    if (status == POLY_OK)
        status = poly_relational_find(session, w->domain, &op->table, &op->tenant, err);
    if (status == POLY_OK && w->row != NULL) {
        op->models = poly_models_of(op->table->domain); /* before they are looked at */
        status = take_row(op, w->row, arena, err);
        if (status == POLY_OK)
            status = check_models(w, err);
    }
    if (status == POLY_OK)
        status = take_key(w, arena, err);
    if (status != POLY_OK)
        return status;
    op->tenant.data = poly_arena_copy(arena, op->tenant.data, op->tenant.size);
    if (op->tenant.data == NULL)
        return poly_no_memory(err);
    place_key(op);
    return POLY_OK;
}

static enum poly_status stage(struct writing *w, enum poly_record_verb verb, struct poly_error *err)
{
    enum poly_status status = stage_once(w, verb, err);

    if (w->op != NULL && poly_relational_moved(poly_txn_session(w->txn), w->op->table, status))
        status = stage_once(w, verb, err);
    if (status != POLY_OK)
        return status;
    digest(w);
    return poly_txn_add(w->txn, &w->op->base, err);
}

enum poly_status poly_put(struct poly_txn *txn, const char *domain, const char *key,
                          const struct poly_row *row, int64_t if_version, struct poly_error *err)
{
    struct writing w = {
        .txn = txn, .domain = domain, .key = key, .row = row, .if_version = if_version};
    struct poly_error local;

    return stage(&w, POLY_VERB_PUT, err == NULL ? &local : err);
}

enum poly_status poly_patch(struct poly_txn *txn, const char *domain, const char *key,
                            const struct poly_row *row, int64_t if_version, struct poly_error *err)
{
    struct writing w = {
        .txn = txn, .domain = domain, .key = key, .row = row, .if_version = if_version};
    struct poly_error local;

    return stage(&w, POLY_VERB_PATCH, err == NULL ? &local : err);
}

enum poly_status poly_delete(struct poly_txn *txn, const char *domain, const char *key,
                             int64_t if_version, struct poly_error *err)
{
    struct writing w = {.txn = txn, .domain = domain, .key = key, .if_version = if_version};
    struct poly_error local;

    return stage(&w, POLY_VERB_DELETE, err == NULL ? &local : err);
}

enum poly_status poly_check(struct poly_txn *txn, const char *domain, const char *key,
                            int64_t if_version, struct poly_error *err)
{
    struct writing w = {.txn = txn, .domain = domain, .key = key, .if_version = if_version};
    struct poly_error local;

    return stage(&w, POLY_VERB_CHECK, err == NULL ? &local : err);
}
