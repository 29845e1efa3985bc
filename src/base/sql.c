#include "base/sql.h"

#include "base/assert.h"

enum poly_status poly_db_exec(struct poly_db *db, const char *sql, struct poly_error *err)
{
    return db->engine->exec(db, sql, err);
}

void poly_db_roll_back(struct poly_db *db)
{
    db->engine->roll_back(db);
}

bool poly_db_back_to(struct poly_db *db, const char *sql)
{
    struct poly_error ignored;

    if (poly_db_in_transaction(db) && poly_db_exec(db, sql, &ignored) != POLY_OK)
        poly_db_roll_back(db);
    return poly_db_in_transaction(db);
}

bool poly_db_in_transaction(const struct poly_db *db)
{
    return db->engine->in_transaction(db);
}

void poly_db_interrupt(struct poly_db *db)
{
    db->engine->interrupt(db);
}

enum poly_status poly_stmt_open(struct poly_stmt *stmt, struct poly_db *db, const char *sql,
                                struct poly_error *err)
{
    *stmt = (struct poly_stmt){db, NULL};
    return db->engine->open(stmt, sql, err);
}

void poly_stmt_int(struct poly_stmt *stmt, int index, int64_t value)
{
    struct poly_value bound = poly_int(value);

    stmt->db->engine->bind(stmt, index, &bound);
}

void poly_stmt_text(struct poly_stmt *stmt, int index, struct poly_text text)
{
    struct poly_value bound = {.type = POLY_TEXT, .text = text};

    stmt->db->engine->bind(stmt, index, &bound);
}

void poly_stmt_bytes(struct poly_stmt *stmt, int index, const void *bytes, size_t size)
{
    struct poly_value bound = {.type = POLY_BYTES, .text = {bytes, size}};

    stmt->db->engine->bind(stmt, index, &bound);
}

void poly_stmt_value(struct poly_stmt *stmt, int index, const struct poly_value *value)
{
    stmt->db->engine->bind(stmt, index, value);
}

enum poly_status poly_stmt_row(struct poly_stmt *stmt, bool *row, struct poly_error *err)
{
    enum poly_status status = stmt->db->engine->row(stmt, row, err);

    if (status != POLY_OK || !*row)
        poly_stmt_close(stmt);
    return status;
}

enum poly_status poly_stmt_done(struct poly_stmt *stmt, struct poly_error *err)
{
    int64_t changes;

    return poly_stmt_changes(stmt, &changes, err);
}

enum poly_status poly_stmt_changes(struct poly_stmt *stmt, int64_t *changes, struct poly_error *err)
{
    const struct poly_sql_engine *engine = stmt->db->engine;
    enum poly_status status = POLY_OK;
    bool row = true;

    while (status == POLY_OK && row)
        status = engine->row(stmt, &row, err);
    if (status == POLY_OK)
        *changes = engine->changes(stmt);
    poly_stmt_close(stmt);
    return status;
}

int64_t poly_stmt_get_int(struct poly_stmt *stmt, int column)
{
    struct poly_value value = stmt->db->engine->column(stmt, column);

    switch (value.type) {
    case POLY_INT:
    case POLY_TIME:
        return value.integer;
    case POLY_BOOL:
        return value.boolean;
    default:
        return 0;
    }
}

struct poly_text poly_stmt_get_text(struct poly_stmt *stmt, int column)
{
    struct poly_value value = stmt->db->engine->column(stmt, column);

    if (value.type == POLY_TEXT || value.type == POLY_JSON || value.type == POLY_BYTES)
        return value.text;
    return (struct poly_text){"", 0};
}

const void *poly_stmt_get_bytes(struct poly_stmt *stmt, int column, size_t *size)
{
    struct poly_text text = poly_stmt_get_text(stmt, column);

    *size = text.size;
    return text.data;
}

struct poly_value poly_stmt_get(struct poly_stmt *stmt, int column)
{
    return stmt->db->engine->column(stmt, column);
}

void poly_stmt_close(struct poly_stmt *stmt)
{
    if (stmt->statement == NULL)
        return;
    stmt->db->engine->close(stmt);
    stmt->statement = NULL;
}

enum poly_status poly_db_run(struct poly_db *db, const char *sql, struct poly_error *err)
{
    struct poly_stmt stmt;
    enum poly_status status = poly_stmt_open(&stmt, db, sql, err);

    return status == POLY_OK ? poly_stmt_done(&stmt, err) : status;
}

enum poly_status poly_db_number(struct poly_db *db, const char *sql, int64_t *number,
                                struct poly_error *err)
{
    struct poly_stmt stmt;
    enum poly_status status = poly_stmt_open(&stmt, db, sql, err);
    bool row;

    if (status == POLY_OK)
        status = poly_stmt_row(&stmt, &row, err);
    if (status != POLY_OK)
        return status;
    *number = row ? poly_stmt_get_int(&stmt, 0) : 0;
    poly_stmt_close(&stmt);
    return POLY_OK;
}
