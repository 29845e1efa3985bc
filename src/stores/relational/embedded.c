/*
 * Reads and writes of one record, each one prepared statement. A read fetches
 * the row and its version together (the log's index gives the position of the
 * last record of a key in one step), on one snapshot: they cannot disagree.
 *
 * A write without if_version asks nothing first: the upsert itself tells by its
 * count whether the key belongs to another tenant. The log record is written by
 * the table's trigger within the statement; the version is read back from it.
 */
#include <stdio.h>
#include <string.h>

#include "polystore/events.h"
#include "stores/relational/embedded.h"

static void bind_record(sqlite3_stmt *statement, struct poly_text tenant,
                        const struct poly_record_key *key)
{
    poly_bind_text(statement, 1, tenant);
    poly_bind_value(statement, 2, &key->value);
    poly_bind_text(statement, 3, key->text);
}

/* --- reading --- */

static enum poly_status read_row(const struct poly_table *table, sqlite3_stmt *statement,
                                 struct poly_arena *arena, struct poly_document *document,
                                 struct poly_error *err)
{
    struct poly_field *fields = poly_arena_array(arena, table->column_count, sizeof(*fields));

    if (fields == NULL)
        return poly_no_memory(err);
    for (size_t i = 0; i < table->column_count; i++) {
        enum poly_status status;

        fields[i].name = table->columns[i].name;
        status = poly_column_restore(table->columns[i].type, statement, (int)i + 1, arena,
                                     &fields[i].value, err);
        if (status == POLY_OK)
            status = poly_column_show(table, i, arena, &fields[i].value, err);
        if (status != POLY_OK)
            return status;
    }
    document->version = (uint64_t)sqlite3_column_int64(statement, 0);
    document->row = (struct poly_row){fields, table->column_count};
    return POLY_OK;
}

enum poly_status poly_embedded_get(struct poly_db *db, const struct poly_table *table,
                                   struct poly_text tenant, const struct poly_record_key *key,
                                   struct poly_arena *arena, struct poly_document *document,
                                   struct poly_error *err)
{
    sqlite3_stmt *statement = poly_db_prepare(db, poly_embedded_sql(table)->get, err);
    struct poly_document found;
    enum poly_status status;
    bool row = false;

    if (statement == NULL)
        return poly_failed(err);
    bind_record(statement, tenant, key);
    status = poly_db_row(db, statement, &row, err);
    if (status == POLY_OK && !row)
        return poly_record_none(table, key, err);
    if (status == POLY_OK)
        status = read_row(table, statement, arena, &found, err);
    sqlite3_reset(statement);
    if (status != POLY_OK)
        return status;
    found.key.data = poly_arena_copy(arena, key->text.data, key->text.size);
    found.key.size = key->text.size;
    if (found.key.data == NULL)
        return poly_no_memory(err);
    *document = found;
    return POLY_OK;
}

/* --- versions --- */

/* Position of the record's last change in the log; 0: it has none. */
static enum poly_status logged(struct poly_write *write, const struct poly_record_operation *op,
                               uint64_t *version, struct poly_error *err)
{
    sqlite3_stmt *statement =
        poly_db_prepare(write->db, poly_embedded_sql(op->table)->version, err);
    enum poly_status status;
    bool row = false;

    if (statement == NULL)
        return poly_failed(err);
    bind_record(statement, op->tenant, &op->key);
    status = poly_db_row(write->db, statement, &row, err);
    if (status == POLY_OK)
        *version = row ? (uint64_t)sqlite3_column_int64(statement, 0) : 0;
    sqlite3_reset(statement);
    return status;
}

/* Version of the record as it stands; *exists says whether it does. */
static enum poly_status current(struct poly_write *write, const struct poly_record_operation *op,
                                bool *exists, uint64_t *version, struct poly_error *err)
{
    sqlite3_stmt *statement = poly_db_prepare(write->db, poly_embedded_sql(op->table)->get, err);
    enum poly_status status;

    if (statement == NULL)
        return poly_failed(err);
    bind_record(statement, op->tenant, &op->key);
    status = poly_db_row(write->db, statement, exists, err);
    if (status == POLY_OK)
        *version = *exists ? (uint64_t)sqlite3_column_int64(statement, 0) : 0;
    sqlite3_reset(statement);
    return status;
}

static enum poly_status check_version(struct poly_write *write,
                                      const struct poly_record_operation *op,
                                      struct poly_error *err)
{
    uint64_t version = 0;
    bool exists = false;
    enum poly_status status;

    if (op->if_version == POLY_ANY || !poly_control_version)
        return POLY_OK;
    if (!op->key_made && (status = current(write, op, &exists, &version, err)) != POLY_OK)
        return status;
    return poly_record_expect(op, exists, version, err);
}

/* --- writing --- */

/* "t.email, t.name" without the table's name, for messages. */
static void column_names(const char *list, char *out, size_t size)
{
    size_t used = 0;
    bool table = true;

    for (const char *c = list; *c != '\0' && used + 1 < size; c++) {
        if (table && *c == '.') {
            table = false;
            continue;
        }
        if (!table)
            out[used++] = *c;
        if (*c == ',')
            table = true;
        if (*c == ',' && used + 2 < size)
            out[used++] = ' ';
    }
    out[used] = '\0';
}

/* SQLite's words about a constraint, in ours. The message is on the connection still. */
static enum poly_status explain(struct poly_write *write, const struct poly_record_operation *op,
                                enum poly_status status, struct poly_error *err)
{
    sqlite3 *handle = poly_db_handle(write->db);
    int code = sqlite3_extended_errcode(handle);
    const char *domain = op->table->domain->name;
    const char *words = sqlite3_errmsg(handle);
    const char *list = strstr(words, "failed: ");
    char names[200];

    if ((code & 0xff) != SQLITE_CONSTRAINT) {
        if (status == POLY_INVALID) /* SQLite's SQLITE_ERROR: the table is not what it was */
            status = POLY_UNAVAILABLE;
        return poly_fail_in(err, status, "domain '%s'", domain);
    }
    column_names(list == NULL ? "" : list + 8, names, sizeof(names));
    switch (code) {
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_PRIMARYKEY:
    case SQLITE_CONSTRAINT_ROWID:
        return poly_fail(err, POLY_EXISTS, "domain '%s': there is a record with this '%s' already",
                         domain, names);
    case SQLITE_CONSTRAINT_NOTNULL:
        return poly_fail(err, POLY_INVALID, "domain '%s': column '%s' must have a value", domain,
                         names);
    case SQLITE_CONSTRAINT_FOREIGNKEY:
        return poly_fail(err, POLY_INVALID,
                         "domain '%s': a record that is referred to does not exist, or this one is "
                         "still referred to (foreign key)",
                         domain);
    case SQLITE_CONSTRAINT_DATATYPE:
    case SQLITE_CONSTRAINT_CHECK:
        return poly_fail(err, POLY_INVALID, "domain '%s': %s", domain, words);
    default:
        return poly_fail(err, POLY_INVALID, "domain '%s': %s", domain, words);
    }
}

static enum poly_status step(struct poly_write *write, const struct poly_record_operation *op,
                             sqlite3_stmt *statement, int64_t *changed, struct poly_error *err)
{
    enum poly_status status = poly_db_done(write->db, statement, err);

    if (status != POLY_OK)
        status = explain(write, op, status, err);
    else
        *changed = sqlite3_changes64(poly_db_handle(write->db));
    sqlite3_clear_bindings(statement);
    return status;
}

static void bind_values(sqlite3_stmt *statement, const struct poly_record_operation *op, int width)
{
    for (size_t i = 0; i < op->table->column_count; i++) {
        int parameter = poly_table_parameter(i, width);

        if (op->table->columns[i].generated)
            continue;
        if (width == 2)
            sqlite3_bind_int(statement, parameter - 1, op->given[i]);
        if (op->given[i])
            poly_bind_value(statement, parameter, &op->values[i]);
    }
}

/* The number that SQLite gave is the key. */
static enum poly_status made_key(struct poly_write *write, struct poly_record_operation *op,
                                 struct poly_error *err)
{
    int64_t id = sqlite3_last_insert_rowid(poly_db_handle(write->db));
    char *text = poly_arena_printf(write->arena, "%lld", (long long)id);

    if (text == NULL)
        return poly_no_memory(err);
    op->key.text = poly_text(text);
    op->key.value = poly_int(id);
    return POLY_OK;
}

static enum poly_status put(struct poly_write *write, struct poly_record_operation *op,
                            int64_t *changed, struct poly_error *err)
{
    const struct poly_table *table = op->table;
    sqlite3_stmt *statement = poly_db_prepare(
        write->db, op->all ? poly_embedded_sql(table)->put_all : poly_embedded_sql(table)->put_some,
        err);
    enum poly_status status;

    if (statement == NULL)
        return poly_failed(err);
    poly_bind_text(statement, 1, op->tenant);
    bind_values(statement, op, op->all ? 1 : 2);
    status = step(write, op, statement, changed, err);
    if (status == POLY_OK && *changed == 0)
        /* Another tenant has the key. In the words of any other collision. */
        return poly_fail(err, POLY_EXISTS, "domain '%s': there is a record with this '%s' already",
                         table->domain->name, table->columns[table->key].name);
    if (status == POLY_OK && op->key_made)
        status = made_key(write, op, err);
    return status;
}

static enum poly_status patch(struct poly_write *write, struct poly_record_operation *op,
                              int64_t *changed, struct poly_error *err)
{
    sqlite3_stmt *statement = poly_db_prepare(write->db, poly_embedded_sql(op->table)->patch, err);
    enum poly_status status;

    if (statement == NULL)
        return poly_failed(err);
    poly_bind_text(statement, 1, op->tenant);
    poly_bind_value(statement, 2, &op->key.value);
    bind_values(statement, op, 2);
    status = step(write, op, statement, changed, err);
    return status == POLY_OK && *changed == 0 ? poly_record_none(op->table, &op->key, err) : status;
}

static enum poly_status removed(struct poly_write *write, struct poly_record_operation *op,
                                int64_t *changed, struct poly_error *err)
{
    sqlite3_stmt *statement = poly_db_prepare(write->db, poly_embedded_sql(op->table)->remove, err);
    enum poly_status status;

    if (statement == NULL)
        return poly_failed(err);
    poly_bind_text(statement, 1, op->tenant);
    poly_bind_value(statement, 2, &op->key.value);
    status = step(write, op, statement, changed, err);
    return status == POLY_OK && *changed == 0 ? poly_record_none(op->table, &op->key, err) : status;
}

static enum poly_status change(struct poly_write *write, struct poly_record_operation *op,
                               int64_t *changed, struct poly_error *err)
{
    enum poly_status status = poly_write_mark(write, err);

    if (status != POLY_OK)
        return status;
    switch (op->verb) {
    case POLY_VERB_PUT:
        return put(write, op, changed, err);
    case POLY_VERB_PATCH:
        return patch(write, op, changed, err);
    default:
        return removed(write, op, changed, err);
    }
}

static enum poly_status run(struct poly_operation *operation, struct poly_write *write,
                            struct poly_error *err)
{
    struct poly_record_operation *op = (struct poly_record_operation *)operation;
    int64_t changed = 0;
    uint64_t version = 0;
    bool exists;
    enum poly_status status = poly_record_table(op, write, err);

    if (status == POLY_OK)
        status = poly_record_models(op, write->instance, err);
    if (status != POLY_OK)
        return status;
    status = check_version(write, op, err);
    if (status == POLY_OK && op->verb == POLY_VERB_CHECK)
        status = current(write, op, &exists, &version, err);
    else if (status == POLY_OK)
        status = change(write, op, &changed, err);
    if (status == POLY_OK && (op->verb == POLY_VERB_PUT || op->verb == POLY_VERB_PATCH))
        status = logged(write, op, &version, err);
    if (status != POLY_OK)
        return status;
    /* The row was there as it is: no trigger fired, the log has nothing new of it. */
    if (op->verb != POLY_VERB_DELETE && version < write->txn)
        changed = 0;
    operation->result.version = version;
    operation->result.count = changed;
    operation->result.key.size = op->key.text.size;
    operation->result.key.data =
        poly_arena_copy(write->arena, op->key.text.data, op->key.text.size);
    return operation->result.key.data == NULL ? poly_no_memory(err) : POLY_OK;
}

/* Never without a savepoint: a change is a mark, the statement, and what is read back after it. */
const struct poly_operation_type poly_embedded_types[4] = {
    {.name = "put", .run = run},
    {.name = "patch", .run = run},
    {.name = "delete", .run = run},
    {.name = "check", .single = true, .run = run}};
