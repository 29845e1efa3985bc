/*
 * A filter's value is compared with what the record held: numbers with numbers,
 * text with text, and null with nothing, as a list of records does. Column
 * numbers are ours and values are bound, so no text of the caller becomes SQL.
 */
#include "stores/search/embedded_filter.h"

#include <string.h>

#include "base/json.h"
#include "base/limits.h"
#include "followers/filter.h"

static const char sql_path[] = "SELECT json_extract('{}', ?1)";

static enum poly_status check_path(struct poly_db *db, const struct poly_filter *filter,
                                   struct poly_error *err)
{
    sqlite3_stmt *statement = poly_db_prepare(db, sql_path, err);
    bool row;
    enum poly_status status;

    if (statement == NULL)
        return poly_embedded_why(err);
    poly_bind_text(statement, 1, poly_text(filter->path));
    status = poly_db_row(db, statement, &row, err);
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    if (status == POLY_INVALID)
        return poly_fail(err, POLY_INVALID, "filter on '%s': '%.64s' is no JSON path, '$.a.b' is",
                         filter->column, filter->path);
    return status;
}

struct check {
    struct poly_db *db;
    struct poly_error *err;
};

static enum poly_status check_one(void *arg, const struct poly_filter *filter)
{
    struct check *check = arg;
    enum poly_status status;

    if (filter->column == NULL || filter->compare > POLY_NOT_NULL)
        return poly_fail(check->err, POLY_INVALID, "search: a filter has no column or comparison");
    status = poly_filter_check_values(filter, check->err);
    return status == POLY_OK && filter->path != NULL ? check_path(check->db, filter, check->err)
                                                     : status;
}

enum poly_status poly_filter_check(struct poly_db *db, const struct poly_where *where,
                                   struct poly_error *err)
{
    struct check check = {db, err};

    return poly_where_each(where, check_one, &check, err);
}

static int column_of(const struct poly_search_index *index, const char *name)
{
    return poly_filter_place(index->names.filters, index->names.filter_count, name);
}

bool poly_filter_has(const void *index, const char *column)
{
    return column_of(index, column) >= 0;
}

/* What is compared: the column, or what stands in it at a path (its parameter comes first). */
static void print_operand(const struct poly_search_index *index, const struct poly_filter *filter,
                          int parameter, struct poly_buffer *out)
{
    int column = column_of(index, filter->column);

    if (filter->path == NULL)
        poly_buffer_printf(out, "f.f%d", column);
    else
        poly_buffer_printf(out, "CASE WHEN json_valid(f.f%d) THEN json_extract(f.f%d,?%d) END",
                           column, column, parameter);
}

/* SQLite sorts numbers before text before bytes: '>' of a number would find every text. */
static const char *class_of(const struct poly_search_index *index, const struct poly_value *value)
{
    switch (value->type) {
    case POLY_BOOL:
    case POLY_INT:
    case POLY_FLOAT:
        return " IN ('integer','real')";
    case POLY_TIME:
        return index->stream ? "='text'" : " IN ('integer','real')";
    case POLY_BYTES:
        return "='blob'";
    default:
        return "='text'";
    }
}

struct print {
    const struct poly_search_index *index;
    int next; /* parameter */
    struct poly_buffer *out;
};

static void print_in(struct print *p, const struct poly_filter *filter, int value)
{
    print_operand(p->index, filter, p->next, p->out);
    for (size_t i = 0; i < filter->value_count; i++)
        poly_buffer_printf(p->out, "%s?%d", i == 0 ? " IN (" : ",", value + (int)i);
    poly_buffer_char(p->out, ')');
}

/* Of another class: neither less nor greater. Null: null. */
static void print_order(struct print *p, const struct poly_filter *filter, int value)
{
    static const char *const operators[] = {
        [POLY_LT] = "<", [POLY_LE] = "<=", [POLY_GT] = ">", [POLY_GE] = ">="};

    poly_buffer_text(p->out, "CASE WHEN typeof(");
    print_operand(p->index, filter, p->next, p->out);
    poly_buffer_printf(p->out, ")%s THEN ", class_of(p->index, &filter->values[0]));
    if (filter->compare == POLY_PREFIX) {
        poly_buffer_text(p->out, "substr(");
        print_operand(p->index, filter, p->next, p->out);
        poly_buffer_printf(p->out, ",1,length(?%d))=?%d", value, value);
    } else {
        print_operand(p->index, filter, p->next, p->out);
        poly_buffer_printf(p->out, "%s?%d", operators[filter->compare], value);
    }
    poly_buffer_text(p->out, " WHEN ");
    print_operand(p->index, filter, p->next, p->out);
    poly_buffer_text(p->out, " IS NOT NULL THEN 0 END");
}

static enum poly_status print_one(void *arg, const struct poly_filter *filter)
{
    struct print *p = arg;
    int value = p->next + (filter->path != NULL);

    if (!poly_filter_has(p->index, filter->column)) {
        poly_buffer_text(p->out, "NULL");
        return POLY_OK;
    }
    switch (filter->compare) {
    case POLY_IN:
        print_in(p, filter, value);
        break;
    case POLY_IS_NULL:
    case POLY_NOT_NULL:
        print_operand(p->index, filter, p->next, p->out);
        poly_buffer_text(p->out, filter->compare == POLY_IS_NULL ? " IS NULL" : " IS NOT NULL");
        break;
    case POLY_EQ:
    case POLY_NE:
        print_operand(p->index, filter, p->next, p->out);
        poly_buffer_printf(p->out, "%s?%d", filter->compare == POLY_EQ ? "=" : "<>", value);
        break;
    case POLY_LT:
    case POLY_LE:
    case POLY_GT:
    case POLY_GE:
    case POLY_PREFIX:
        print_order(p, filter, value);
        break;
    }
    p->next = value + (int)filter->value_count;
    return POLY_OK;
}

void poly_filter_print(const struct poly_search_index *index, const struct poly_where *where,
                       int first, struct poly_buffer *out)
{
    struct print print = {index, first, out};

    (void)poly_where_sql(where, print_one, &print, out);
}

struct bind {
    const struct poly_search_index *index;
    int next;
    sqlite3_stmt *statement;
    struct poly_arena *arena;
};

static enum poly_status bind_one(void *arg, const struct poly_filter *filter)
{
    struct bind *b = arg;

    if (!poly_filter_has(b->index, filter->column))
        return POLY_OK;
    if (filter->path != NULL)
        poly_bind_text(b->statement, b->next++, poly_text(filter->path));
    for (size_t i = 0; i < filter->value_count; i++) {
        struct poly_value value = filter->values[i];

        /* Events are JSON, where a time is text; a table's column holds what it holds. */
        if (value.type == POLY_TIME && b->index->stream) {
            char *text = poly_arena_alloc(b->arena, 28);

            if (text == NULL)
                return POLY_NO_MEMORY;
            poly_json_time(value.integer, text);
            value = poly_str(text);
        }
        poly_bind_value(b->statement, b->next++, &value);
    }
    return POLY_OK;
}

enum poly_status poly_filter_bind(const struct poly_search_index *index,
                                  const struct poly_where *where, int first,
                                  sqlite3_stmt *statement, struct poly_arena *arena)
{
    struct bind bind = {index, first, statement, arena};
    struct poly_error ignored;

    return poly_where_each(where, bind_one, &bind, &ignored);
}
