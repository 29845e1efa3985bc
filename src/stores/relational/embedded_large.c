/* The image of a large record: in history when the row has changed since, else in the row. */
#include <string.h>

#include "stores/relational/embedded.h"

static const char sql_history[] = "SELECT data FROM main.poly_history WHERE position = ?1";

/* The statement's only column of its only row. *json.data NULL: no row. */
static enum poly_status one_text(struct poly_db *db, sqlite3_stmt *statement,
                                 struct poly_arena *arena, struct poly_text *json,
                                 struct poly_error *err)
{
    bool row = false;
    enum poly_status status = poly_db_row(db, statement, &row, err);

    if (status == POLY_OK && row) {
        struct poly_text found = poly_column_text(statement, 0);

        json->size = found.size;
        json->data = poly_arena_copy(arena, found.data, found.size);
        if (json->data == NULL)
            status = poly_no_memory(err);
    }
    sqlite3_reset(statement);
    return status;
}

static enum poly_status gone(const struct poly_record *record, struct poly_error *err)
{
    return poly_fail(
        err, POLY_NOT_FOUND, "the data of record %llu of domain '%.*s' is not kept any more",
        (unsigned long long)record->position, (int)record->domain.size, record->domain.data);
}

struct looking {
    struct poly_db *db;
    const struct poly_record *record;
    const struct poly_table *table;
    bool passing; /* the table is read for this once: its statements cannot be kept */
    struct poly_arena *arena;
    struct poly_text json;
};

static enum poly_status prepare(const struct looking *l, const char *sql, sqlite3_stmt **statement,
                                struct poly_error *err)
{
    int code;

    if (!l->passing) {
        *statement = poly_db_prepare(l->db, sql, err);
        return *statement == NULL ? poly_failed(err) : POLY_OK;
    }
    code = sqlite3_prepare_v2(poly_db_handle(l->db), sql, -1, statement, NULL);
    return code == SQLITE_OK ? POLY_OK : poly_db_fail(l->db, code, "cannot read a row", err);
}

static void done(const struct looking *l, sqlite3_stmt *statement)
{
    if (l->passing)
        sqlite3_finalize(statement);
    else if (statement != NULL)
        sqlite3_reset(statement);
}

static enum poly_status read_image(struct looking *l, const char *sql,
                                   const struct poly_record_key *key, struct poly_error *err)
{
    sqlite3_stmt *image = NULL;
    enum poly_status status = prepare(l, sql, &image, err);

    if (status != POLY_OK)
        return status;
    poly_bind_value(image, 1, &key->value);
    poly_bind_text(image, 2, l->record->tenant);
    status = one_text(l->db, image, l->arena, &l->json, err);
    done(l, image);
    return status;
}

/* The row, if the record is its last change. */
static enum poly_status from_row(struct looking *l, struct poly_error *err)
{
    struct poly_record_key key;
    struct poly_buffer sql;
    sqlite3_stmt *version = NULL;
    bool row = false, last;
    enum poly_status status = poly_record_key(l->table, l->record->key, l->arena, &key, err);

    if (status == POLY_OK)
        status = prepare(l, poly_embedded_sql(l->table)->version, &version, err);
    if (status != POLY_OK)
        return status;
    poly_bind_text(version, 1, l->record->tenant);
    poly_bind_text(version, 3, l->record->key);
    status = poly_db_row(l->db, version, &row, err);
    last = row && (uint64_t)sqlite3_column_int64(version, 0) == l->record->position;
    done(l, version);
    if (status != POLY_OK || !last)
        return status;
    if (!l->passing)
        return read_image(l, poly_embedded_sql(l->table)->image, &key, err);
    poly_buffer_init(&sql, 8 * 1024 * 1024);
    status = poly_table_image_sql(l->db, l->table, &sql, err);
    if (status == POLY_OK)
        status = read_image(l, sql.data, &key, err);
    poly_buffer_release(&sql);
    return status;
}

/*
 * The image must have the columns that the triggers gave it: a migration's own
 * transaction, a snapshot from before one, and a table that another program has
 * altered all see other columns than the schema in memory.
 */
static enum poly_status from_table(struct looking *l, struct poly_instance *instance,
                                   const struct poly_domain *domain, struct poly_error *err)
{
    struct poly_relational *relational = poly_instance_relational(instance);
    const struct poly_schema *schema = relational == NULL ? NULL : atomic_load(&relational->schema);
    struct poly_table *fresh = NULL;
    int version;
    enum poly_status status = poly_schema_version(l->db, &version, err);

    if (status != POLY_OK)
        return status;
    l->passing = schema == NULL || schema->version != version;
    if (!l->passing)
        l->table = poly_relational_table(relational, domain);
    else if ((status = poly_table_load(l->db, domain, &fresh, err)) == POLY_OK)
        l->table = fresh;
    if (status == POLY_OK && l->table != NULL && l->table->status == POLY_OK)
        status = from_row(l, err);
    poly_table_free(fresh);
    return status;
}

enum poly_status poly_stores_large(struct poly_instance *instance, struct poly_db *db,
                                   const struct poly_record *record, struct poly_arena *arena,
                                   struct poly_text *json, struct poly_error *err)
{
    struct looking l = {.db = db, .record = record, .arena = arena};
    sqlite3_stmt *statement = poly_db_prepare(db, sql_history, err);
    char *name = poly_arena_copy(arena, record->domain.data, record->domain.size);
    const struct poly_domain *domain;
    enum poly_status status;

    if (statement == NULL)
        return poly_failed(err);
    if (name == NULL)
        return poly_no_memory(err);
    sqlite3_bind_int64(statement, 1, (int64_t)record->position);
    status = one_text(db, statement, arena, &l.json, err);
    domain = poly_instance_domain(instance, name, NULL);
    if (status == POLY_OK && l.json.data == NULL && domain != NULL && domain->table != NULL)
        status = from_table(&l, instance, domain, err);
    if (status == POLY_OK && l.json.data == NULL)
        return gone(record, err);
    if (status == POLY_OK)
        *json = l.json;
    return status;
}
