/*
 * Filters over d.filters, a JSON array of what the record held: numbers are
 * compared with numbers, text with text by its bytes, and null with nothing, as
 * on SQLite. Places are ours and values are parameters, so no text of the caller
 * becomes SQL.
 */
#include "followers/postgresql_filter.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/limits.h"
#include "followers/filter.h"
#include "followers/where.h"

enum { PATH_MAX_STEPS = 64 };

/* --- what is kept --- */

/* A number beyond all doubles stands for an infinity, which JSON has not. */
static void print_float(struct poly_buffer *out, double number)
{
    if (isinf(number))
        poly_buffer_text(out, number > 0 ? "1e400" : "-1e400");
    else
        poly_json_number(out, number);
}

static void print_scalar(struct poly_buffer *out, const struct poly_value *value,
                         bool time_as_number)
{
    if (value->type == POLY_BOOL)
        poly_buffer_char(out, value->boolean ? '1' : '0');
    else if (value->type == POLY_FLOAT)
        print_float(out, value->real);
    else if (value->type == POLY_TIME && time_as_number)
        poly_buffer_printf(out, "%lld", (long long)value->integer);
    else
        poly_json_value(out, value);
}

/* Text that holds JSON can be asked by a path: a column of JSON is text on SQLite. */
static bool is_container(const struct poly_value *value)
{
    return value->type == POLY_TEXT && value->text.size > 0 &&
           (value->text.data[0] == '{' || value->text.data[0] == '[') &&
           poly_json_check(value->text.data, value->text.size, NULL) == POLY_OK;
}

void poly_follower_print_values(struct poly_buffer *out, const struct poly_value *values,
                                size_t count)
{
    poly_buffer_char(out, '[');
    for (size_t i = 0; i < 2 * count; i++) {
        if (i > 0)
            poly_buffer_char(out, ',');
        if (i < count)
            print_scalar(out, &values[i], true);
        else if (is_container(&values[i - count]))
            poly_buffer_add(out, values[i - count].text.data, values[i - count].text.size);
        else
            poly_buffer_text(out, "null");
    }
    poly_buffer_char(out, ']');
}

/* --- paths: $.a."b c"[0] --- */

static bool take_name(const char **at, struct poly_text *step)
{
    bool quoted = **at == '"';

    *at += quoted;
    step->data = *at;
    step->size = quoted ? strcspn(*at, "\"") : strcspn(*at, ".[");
    *at += step->size;
    if (quoted && **at != '"')
        return false;
    *at += quoted;
    return quoted || step->size > 0;
}

static bool take_place(const char **at, struct poly_text *step)
{
    step->data = *at;
    step->size = strspn(*at, "0123456789");
    *at += step->size;
    return step->size > 0 && step->size < 10 && *(*at)++ == ']';
}

static bool read_path(const char *path, struct poly_text *steps, size_t *count)
{
    *count = 0;
    if (*path++ != '$')
        return false;
    while (*path != '\0') {
        char sign = *path++;

        if (*count == PATH_MAX_STEPS || (sign != '.' && sign != '[') ||
            !(sign == '.' ? take_name(&path, &steps[*count]) : take_place(&path, &steps[*count])))
            return false;
        (*count)++;
    }
    return true;
}

enum poly_status poly_follower_filter_check(const char *store, const struct poly_filter *filter,
                                            struct poly_error *err)
{
    struct poly_text steps[PATH_MAX_STEPS];
    size_t step_count;
    enum poly_status status;

    if (filter->column == NULL || filter->compare > POLY_NOT_NULL)
        return poly_fail(err, POLY_INVALID, "%s: a filter has no column or comparison", store);
    status = poly_filter_check_values(filter, err);
    if (status == POLY_OK && filter->path != NULL && !read_path(filter->path, steps, &step_count))
        return poly_fail(err, POLY_INVALID, "filter on '%s': '%.64s' is no JSON path, '$.a.b' is",
                         filter->column, filter->path);
    return status;
}

/* --- SQL --- */

struct printer {
    const struct poly_follower_filtering *in;
    const struct poly_filter *filter;
    struct poly_buffer *out;
    const char *operand;
};

/* What is compared, as jsonb; SQL's null where there is none. */
static bool make_operand(struct printer *p)
{
    int place = poly_filter_place(p->in->names, p->in->name_count, p->filter->column);
    struct poly_text *steps;
    size_t count;

    if (p->filter->path == NULL) {
        p->operand =
            p->in->operands == NULL
                ? poly_arena_printf(p->in->arena, "nullif(d.filters->%d, 'null')", place)
                : poly_arena_printf(p->in->arena, "nullif(%s, 'null')", p->in->operands[place]);
        return p->operand != NULL;
    }
    steps = poly_arena_array(p->in->arena, PATH_MAX_STEPS, sizeof(*steps));
    if (steps == NULL || !read_path(p->filter->path, steps, &count))
        return false;
    poly_pg_add_texts(p->in->params, steps, (int)count);
    if (p->in->operands != NULL) {
        p->operand = poly_arena_printf(p->in->arena, "nullif((%s) #> $%d::text[], 'null')",
                                       p->in->operands[place], p->in->params->count);
        return p->operand != NULL;
    }
    p->operand = poly_arena_printf(
        p->in->arena,
        "nullif(coalesce(nullif(d.filters->%d, 'null'), d.filters->%d) #> $%d::text[], 'null')",
        place + (int)p->in->name_count, place, p->in->params->count);
    return p->operand != NULL;
}

/* The value as JSON, as documents have it. */
static bool json_of(struct printer *p, const struct poly_value *value, struct poly_text *json)
{
    struct poly_buffer text;

    poly_buffer_init(&text, 4 * POLY_MAX_VALUE);
    print_scalar(&text, value, p->in->time_as_number);
    json->data = poly_buffer_ok(&text) ? poly_arena_copy(p->in->arena, text.data, text.size) : NULL;
    json->size = text.size;
    poly_buffer_release(&text);
    return json->data != NULL;
}

static bool print_equal(struct printer *p)
{
    size_t count = p->filter->value_count;
    struct poly_text *list = poly_arena_array(p->in->arena, count + 1, sizeof(*list));

    for (size_t i = 0; i < count; i++)
        if (list == NULL || !json_of(p, &p->filter->values[i], &list[i]))
            return false;
    poly_pg_add_texts(p->in->params, list, (int)count);
    poly_buffer_printf(p->out, "%s %s ($%d::text[]::jsonb[])", p->operand,
                       p->filter->compare == POLY_NE ? "<> ALL" : "= ANY", p->in->params->count);
    return true;
}

/* A number sorts before no text: what is of another class is neither less nor greater. */
static bool print_order(struct printer *p)
{
    static const char *const operators[] = {
        [POLY_LT] = "<", [POLY_LE] = "<=", [POLY_GT] = ">", [POLY_GE] = ">="};
    const struct poly_value *value = &p->filter->values[0];
    bool number = value->type == POLY_BOOL || value->type == POLY_INT ||
                  value->type == POLY_FLOAT || (value->type == POLY_TIME && p->in->time_as_number);
    bool bytes = value->type == POLY_BYTES;
    struct poly_text json;

    if (!json_of(p, value, &json))
        return false;
    poly_pg_add_text(p->in->params, json);
    if (number)
        poly_buffer_printf(p->out,
                           "CASE WHEN jsonb_typeof(%s) = 'number' THEN (%s)::numeric %s"
                           " $%d::text::numeric WHEN %s IS NOT NULL THEN false END",
                           p->operand, p->operand, operators[p->filter->compare],
                           p->in->params->count, p->operand);
    else
        poly_buffer_printf(p->out,
                           "CASE WHEN jsonb_typeof(%s) = '%s' THEN (%s #>> '%s') COLLATE"
                           " \"C\" %s (($%d::text::jsonb) #>> '%s')"
                           " WHEN %s IS NOT NULL THEN false END",
                           p->operand, bytes ? "object" : "string", p->operand,
                           bytes ? "{$bytes}" : "{}", operators[p->filter->compare],
                           p->in->params->count, bytes ? "{$bytes}" : "{}", p->operand);
    return true;
}

static bool print_one(struct printer *p)
{
    if (!make_operand(p))
        return false;
    switch (p->filter->compare) {
    case POLY_EQ:
    case POLY_NE:
    case POLY_IN:
        return print_equal(p);
    case POLY_PREFIX:
        poly_pg_add_text(p->in->params, p->filter->values[0].text);
        poly_buffer_printf(p->out, "jsonb_typeof(%s) = 'string' AND starts_with(%s #>> '{}', $%d)",
                           p->operand, p->operand, p->in->params->count);
        return true;
    case POLY_IS_NULL:
        poly_buffer_printf(p->out, "%s IS NULL", p->operand);
        return true;
    case POLY_NOT_NULL:
        poly_buffer_printf(p->out, "%s IS NOT NULL", p->operand);
        return true;
    case POLY_LT:
    case POLY_LE:
    case POLY_GT:
    case POLY_GE:
        return print_order(p);
    }
    return true;
}

static enum poly_status print_filter(void *arg, const struct poly_filter *filter)
{
    struct printer *p = arg;

    p->filter = filter;
    if (poly_filter_place(p->in->names, p->in->name_count, filter->column) >= 0)
        return print_one(p) ? POLY_OK : POLY_NO_MEMORY;
    poly_buffer_text(p->out, "NULL");
    return POLY_OK;
}

enum poly_status poly_follower_where_print(const struct poly_follower_filtering *filtering,
                                           const struct poly_where *where, struct poly_buffer *out,
                                           struct poly_error *err)
{
    struct printer p = {filtering, NULL, out, NULL};

    return poly_where_sql(where, print_filter, &p, out) == POLY_OK ? POLY_OK : poly_no_memory(err);
}
