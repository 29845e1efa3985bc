/*
 * A search's condition as SQL. In our own tables the record's values are one jsonb, compared as
 * followers/postgresql_filter.h says. In the records' own table a column of a plain type is
 * compared as it stands, so that an index on it serves; of any other, or with a value of another
 * kind, its jsonb is, and the answer is the same.
 */
#include <string.h>

#include "base/json.h"
#include "base/limits.h"
#include "followers/filter.h"
#include "followers/postgresql_filter.h"
#include "followers/where.h"
#include "stores/vector/postgresql.h"

/* --- may it be asked? --- */

struct check {
    const struct poly_pgv_collection *collection;
    struct poly_error *err;
};

static enum poly_status check_compare(void *arg, const struct poly_filter *filter)
{
    const struct check *check = arg;
    const struct poly_pgv_collection *c = check->collection;
    enum poly_status status = poly_follower_filter_check("vector", filter, check->err);

    if (status != POLY_OK)
        return status;
    return poly_filter_place(c->names, c->shape.filter_count, filter->column) >= 0
               ? POLY_OK
               : poly_fail(check->err, POLY_INVALID,
                           "filter on '%.60s': domain '%s' does not list it under vector: filters",
                           filter->column, c->base.name);
}

enum poly_status poly_pgv_where_check(const struct poly_pgv_collection *collection,
                                      const struct poly_where *where, struct poly_error *err)
{
    struct check check = {collection, err};

    return poly_where_each(where, check_compare, &check, err);
}

/* --- the condition --- */

struct print {
    const struct poly_pgv_collection *collection;
    struct poly_arena *arena;
    struct poly_pg_params *params;
    struct poly_buffer *out;
    struct poly_error *err;
};

static bool is_one_of(const char *type, const char *const *types)
{
    while (*types != NULL && strcmp(type, *types) != 0)
        types++;
    return *types != NULL;
}

/* A text that is meant as what the column holds: a time, a UUID in whatever case. */
static struct poly_value meant(struct poly_arena *arena, const char *type,
                               const struct poly_value *value)
{
    struct poly_value other;
    const char *text;

    if (value->type == POLY_INT && strncmp(type, "timestamp", 9) == 0) {
        other = *value;
        other.type = POLY_TIME;
        return other;
    }
    if (value->type != POLY_TEXT || value->text.size > 63)
        return *value;
    text = poly_arena_copy(arena, value->text.data, value->text.size);
    if (text == NULL || strlen(text) != value->text.size)
        return *value;
    if (strcmp(type, "uuid") == 0 && poly_uuid_parse(text, &other, NULL) == POLY_OK)
        return other;
    if (strncmp(type, "timestamp", 9) == 0 &&
        poly_json_parse_time(text, &other.integer, NULL) == POLY_OK) {
        other.type = POLY_TIME;
        return other;
    }
    return *value;
}

/* The type of SQL that column and value are compared in as they stand; NULL: in none. */
static const char *compared_as(const char *type, enum poly_type value)
{
    static const char *const whole[] = {"int2", "int4", "int8", NULL};
    static const char *const text[] = {"text", "varchar", NULL};

    if (is_one_of(type, whole) && value == POLY_INT)
        return "bigint";
    if (is_one_of(type, text) && value == POLY_TEXT)
        return "text";
    if (strcmp(type, "uuid") == 0 && value == POLY_UUID)
        return "uuid";
    if (strcmp(type, "timestamptz") == 0 && value == POLY_TIME)
        return "timestamptz";
    return NULL;
}

static const char *const operators[] = {
    [POLY_EQ] = "=",  [POLY_NE] = "<>", [POLY_LT] = "<",
    [POLY_LE] = "<=", [POLY_GT] = ">",  [POLY_GE] = ">=",
};

static void print_values(struct print *p, const struct poly_pgv_column *column,
                         const struct poly_filter *filter, const char *as)
{
    bool ordered = filter->compare >= POLY_LT && filter->compare <= POLY_GE;

    if (filter->compare == POLY_IN) {
        poly_pg_add_array(p->params, filter->values, (int)filter->value_count);
        poly_buffer_printf(p->out, "%s = ANY ($%d::%s[])", column->sql, p->params->count, as);
        return;
    }
    poly_pg_add(p->params, &filter->values[0]);
    poly_buffer_printf(p->out, "%s%s %s $%d::%s", column->sql,
                       ordered && strcmp(as, "text") == 0 ? " COLLATE \"C\"" : "",
                       operators[filter->compare], p->params->count, as);
}

/* false: it has to be compared as jsonb. filter's values are as they are meant. */
static bool print_as_it_stands(struct print *p, const struct poly_pgv_column *column,
                               const struct poly_filter *filter)
{
    const char *as = NULL;

    if (filter->path != NULL || filter->compare == POLY_PREFIX)
        return false;
    if (filter->compare == POLY_IS_NULL || filter->compare == POLY_NOT_NULL) {
        /* of these there is a value that counts as null: NaN, JSON's null */
        if (compared_as(column->type, POLY_INT) == NULL &&
            compared_as(column->type, POLY_TEXT) == NULL &&
            compared_as(column->type, POLY_UUID) == NULL)
            return false;
        poly_buffer_printf(p->out, "%s IS %sNULL", column->sql,
                           filter->compare == POLY_IS_NULL ? "" : "NOT ");
        return true;
    }
    for (size_t i = 0; i < filter->value_count; i++) {
        as = compared_as(column->type, filter->values[i].type);
        if (as == NULL)
            return false;
    }
    if (as == NULL)
        return false;
    print_values(p, column, filter, as);
    return true;
}

static enum poly_status print_as_json(const struct print *p, const struct poly_filter *filter)
{
    const struct poly_pgv_collection *c = p->collection;
    struct poly_follower_filtering filtering = {.names = c->names,
                                                .name_count = c->shape.filter_count,
                                                .operands = c->table->operands,
                                                .time_as_number = true,
                                                .arena = p->arena,
                                                .params = p->params};
    const struct poly_where where = {.kind = POLY_WHERE_COMPARE, .compare = filter};

    return poly_follower_where_print(&filtering, &where, p->out, p->err);
}

/* On the records' own table. */
static enum poly_status print_compare(void *arg, const struct poly_filter *filter)
{
    struct print *p = arg;
    const struct poly_pgv_collection *c = p->collection;
    const struct poly_pgv_column *column =
        &c->table->columns[poly_filter_place(c->names, c->shape.filter_count, filter->column)];
    struct poly_filter as_meant = *filter;
    struct poly_value *values =
        poly_arena_array(p->arena, filter->value_count + 1, sizeof(*values));

    if (values == NULL)
        return poly_no_memory(p->err);
    for (size_t i = 0; i < filter->value_count; i++)
        values[i] = filter->path == NULL ? meant(p->arena, column->type, &filter->values[i])
                                         : filter->values[i];
    as_meant.values = values;
    return print_as_it_stands(p, column, &as_meant) ? POLY_OK : print_as_json(p, &as_meant);
}

enum poly_status poly_pgv_where_print(const struct poly_pgv_collection *collection,
                                      const struct poly_where *where,
                                      const struct poly_follower_filtering *filtering,
                                      struct poly_buffer *out, struct poly_error *err)
{
    struct print p = {collection, filtering->arena, filtering->params, out, err};

    return collection->table == NULL ? poly_follower_where_print(filtering, where, out, err)
                                     : poly_where_sql(where, print_compare, &p, out);
}
