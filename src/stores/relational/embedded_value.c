/*
 * Values out of SQLite's columns: the declared type decides what a value is
 * when it comes out. What other programs have put into a column against its type is
 * handed out as what it is.
 */
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "stores/relational/embedded.h"

/* "2026-11-21 03:45:50" is what CURRENT_TIMESTAMP writes. */
static bool sql_time(struct poly_text text, int64_t *microseconds)
{
    char copy[40];

    if (text.size < 19 || text.size > 30 || text.data[10] != ' ')
        return false;
    memcpy(copy, text.data, text.size);
    copy[10] = 'T';
    copy[text.size] = 'Z';
    copy[text.size + 1] = '\0';
    return poly_json_parse_time(copy, microseconds, NULL) == POLY_OK;
}

static void as_time(struct poly_value *value)
{
    int64_t microseconds;

    if (value->type == POLY_INT)
        value->type = POLY_TIME;
    else if (value->type == POLY_TEXT &&
             (sql_time(value->text, &microseconds) ||
              poly_json_parse_time(value->text.data, &microseconds, NULL) == POLY_OK))
        *value = poly_time(microseconds);
}

static void as_uuid(struct poly_value *value)
{
    struct poly_value uuid;

    if (value->type == POLY_TEXT && value->text.size == 36 &&
        poly_uuid_parse(value->text.data, &uuid, NULL) == POLY_OK)
        *value = uuid;
}

/* Numbers stand in a JSON column as numbers (its affinity is numeric): SQLite's text of them. */
static void as_json(sqlite3_stmt *statement, int index, struct poly_value *value)
{
    if (value->type == POLY_TEXT) {
        if (poly_json_check(value->text.data, value->text.size, NULL) == POLY_OK)
            value->type = POLY_JSON;
    } else if (value->type == POLY_INT || (value->type == POLY_FLOAT && isfinite(value->real))) {
        value->type = POLY_JSON;
        value->text = poly_column_text(statement, index);
    }
}

enum poly_status poly_column_restore(enum poly_type type, sqlite3_stmt *statement, int index,
                                     struct poly_arena *arena, struct poly_value *value,
                                     struct poly_error *err)
{
    *value = poly_column_value(statement, index);
    if (value->type == POLY_NULL)
        return POLY_OK;
    if (type == POLY_BOOL) {
        if (value->type == POLY_INT && (value->integer == 0 || value->integer == 1))
            *value = poly_bool(value->integer == 1);
    } else if (type == POLY_FLOAT) {
        if (value->type == POLY_INT)
            *value = poly_float((double)value->integer);
    } else if (type == POLY_TIME) {
        as_time(value);
    } else if (type == POLY_UUID) {
        as_uuid(value);
    } else if (type == POLY_JSON) {
        as_json(statement, index, value);
    }
    if (arena == NULL ||
        (value->type != POLY_TEXT && value->type != POLY_BYTES && value->type != POLY_JSON))
        return POLY_OK;
    value->text.data = poly_arena_copy(arena, value->text.data, value->text.size);
    return value->text.data == NULL ? poly_no_memory(err) : POLY_OK;
}
