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

enum poly_status poly_filter_check(struct poly_db *db, const struct poly_filter *filters,
                                   size_t count, struct poly_error *err)
{
    enum poly_status status = POLY_OK;

    if (count > POLY_MAX_FILTERS)
        return poly_fail(err, POLY_LIMIT, "search: more than %d filters", POLY_MAX_FILTERS);
    for (size_t i = 0; i < count && status == POLY_OK; i++) {
        if (filters[i].column == NULL || filters[i].compare > POLY_NOT_NULL)
            return poly_fail(err, POLY_INVALID, "search: filter %zu has no column or comparison",
                             i + 1);
        status = poly_filter_check_values(&filters[i], err);
        if (status == POLY_OK && filters[i].path != NULL)
            status = check_path(db, &filters[i], err);
    }
    return status;
}

static int column_of(const struct poly_search_index *index, const char *name)
{
    return poly_filter_place(index->names.filters, index->names.filter_count, name);
}

bool poly_filter_fits(const struct poly_search_index *index, const struct poly_filter *filters,
                      size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (column_of(index, filters[i].column) < 0)
            return false;
    return true;
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
static void print_class(const struct poly_search_index *index, const struct poly_filter *filter,
                        int parameter, struct poly_buffer *out)
{
    const char *class = "='text'";

    switch (filter->values[0].type) {
    case POLY_BOOL:
    case POLY_INT:
    case POLY_FLOAT:
        class = " IN ('integer','real')";
        break;
    case POLY_TIME:
        class = index->stream ? class : " IN ('integer','real')";
        break;
    case POLY_BYTES:
        class = "='blob'";
        break;
    default:
        break;
    }
    poly_buffer_text(out, " AND typeof(");
    print_operand(index, filter, parameter, out);
    poly_buffer_printf(out, ")%s", class);
}

static void print_one(const struct poly_search_index *index, const struct poly_filter *filter,
                      int parameter, struct poly_buffer *out)
{
    static const char *const operators[] = {[POLY_EQ] = "=",  [POLY_NE] = "<>", [POLY_LT] = "<",
                                            [POLY_LE] = "<=", [POLY_GT] = ">",  [POLY_GE] = ">="};
    int value = parameter + (filter->path != NULL);

    poly_buffer_text(out, " AND (");
    if (filter->compare == POLY_PREFIX)
        poly_buffer_text(out, "substr(");
    print_operand(index, filter, parameter, out);
    switch (filter->compare) {
    case POLY_IN:
        for (size_t i = 0; i < filter->value_count; i++)
            poly_buffer_printf(out, "%s?%d", i == 0 ? " IN (" : ",", value + (int)i);
        poly_buffer_char(out, ')');
        break;
    case POLY_PREFIX:
        poly_buffer_printf(out, ",1,length(?%d))=?%d", value, value);
        break;
    case POLY_IS_NULL:
        poly_buffer_text(out, " IS NULL");
        break;
    case POLY_NOT_NULL:
        poly_buffer_text(out, " IS NOT NULL");
        break;
    case POLY_EQ:
    case POLY_NE:
    case POLY_LT:
    case POLY_LE:
    case POLY_GT:
    case POLY_GE:
        poly_buffer_printf(out, "%s?%d", operators[filter->compare], value);
        break;
    }
    if (filter->compare >= POLY_LT && filter->compare <= POLY_PREFIX && filter->compare != POLY_IN)
        print_class(index, filter, parameter, out);
    poly_buffer_char(out, ')');
}

void poly_filter_print(const struct poly_search_index *index, const struct poly_filter *filters,
                       size_t count, int first, struct poly_buffer *out)
{
    for (size_t i = 0; i < count; i++) {
        print_one(index, &filters[i], first, out);
        first += (int)filters[i].value_count + (filters[i].path != NULL);
    }
}

enum poly_status poly_filter_bind(const struct poly_search_index *index,
                                  const struct poly_filter *filters, size_t count, int first,
                                  sqlite3_stmt *statement, struct poly_arena *arena)
{
    for (size_t i = 0; i < count; i++) {
        if (filters[i].path != NULL)
            poly_bind_text(statement, first++, poly_text(filters[i].path));
        for (size_t j = 0; j < filters[i].value_count; j++) {
            struct poly_value value = filters[i].values[j];

            /* Events are JSON, where a time is text; a table's column holds what it holds. */
            if (value.type == POLY_TIME && index->stream) {
                char *text = poly_arena_alloc(arena, 28);

                if (text == NULL)
                    return POLY_NO_MEMORY;
                poly_json_time(value.integer, text);
                value = poly_str(text);
            }
            poly_bind_value(statement, first++, &value);
        }
    }
    return POLY_OK;
}
