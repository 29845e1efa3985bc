/* The image of a large record: in history when the row has changed since, else in the row. */
#include <string.h>

#include "stores/relational/driver.h"

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

/* The row, if the record is its last change. */
static enum poly_status from_row(struct poly_db *db, const struct poly_table *table,
                                 const struct poly_record *record, struct poly_arena *arena,
                                 struct poly_text *json, struct poly_error *err)
{
    struct poly_record_key key;
    sqlite3_stmt *statement;
    uint64_t latest = 0;
    bool row = false;
    enum poly_status status = poly_record_key(table, record->key, arena, &key, err);

    if (status != POLY_OK)
        return status;
    statement = poly_db_prepare(db, table->sql.version, err);
    if (statement == NULL)
        return poly_failed(err);
    poly_bind_text(statement, 1, record->tenant);
    poly_bind_text(statement, 3, record->key);
    status = poly_db_row(db, statement, &row, err);
    if (status == POLY_OK && row)
        latest = (uint64_t)sqlite3_column_int64(statement, 0);
    sqlite3_reset(statement);
    if (status != POLY_OK || latest != record->position)
        return status == POLY_OK ? gone(record, err) : status;
    statement = poly_db_prepare(db, table->sql.image, err);
    if (statement == NULL)
        return poly_failed(err);
    poly_bind_value(statement, 1, &key.value);
    poly_bind_text(statement, 2, record->tenant);
    return one_text(db, statement, arena, json, err);
}

enum poly_status poly_stores_large(struct poly_instance *instance, struct poly_db *db,
                                   const struct poly_record *record, struct poly_arena *arena,
                                   struct poly_text *json, struct poly_error *err)
{
    sqlite3_stmt *statement = poly_db_prepare(db, sql_history, err);
    char *name = poly_arena_copy(arena, record->domain.data, record->domain.size);
    struct poly_text found = {NULL, 0};
    enum poly_status status;

    if (statement == NULL)
        return poly_failed(err);
    if (name == NULL)
        return poly_no_memory(err);
    sqlite3_bind_int64(statement, 1, (int64_t)record->position);
    status = one_text(db, statement, arena, &found, err);
    if (status == POLY_OK && found.data == NULL) {
        const struct poly_domain *domain = poly_instance_domain(instance, name, NULL);
        const struct poly_table *table =
            domain == NULL ? NULL
                           : poly_relational_table(poly_instance_relational(instance), domain);

        if (table == NULL || table->status != POLY_OK)
            return gone(record, err);
        status = from_row(db, table, record, arena, &found, err);
        if (status == POLY_OK && found.data == NULL)
            return gone(record, err);
    }
    if (status == POLY_OK)
        *json = found;
    return status;
}
