/*
 * Requests against the table: parameters and JSON bodies are refused here, by
 * name, so that a handler sees only what it can work with.
 */
#include <errno.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "api/context.h"
#include "api/schemas.h"
#include "base/limits.h"

enum { KNOWN_MAX = 240 };

/* "a, b and c"-like list of names for a message. */
static void list_names(const struct api_field *fields, bool local, char known[KNOWN_MAX])
{
    size_t used = 0;

    known[0] = '\0';
    for (; fields != NULL && fields->name != NULL && used < KNOWN_MAX; fields++)
        if (local || (fields->flags & API_LOCAL) == 0)
            used += (size_t)snprintf(known + used, KNOWN_MAX - used, "%s%s", used == 0 ? "" : ", ",
                                     fields->name);
    if (used == 0)
        (void)snprintf(known, KNOWN_MAX, "(none)");
}

static bool is_choice(const char *choices, const char *value)
{
    size_t size = strlen(value);

    for (const char *c = choices; size > 0 && c != NULL; c = strchr(c, '|')) {
        c += *c == '|';
        if (strncmp(c, value, size) == 0 && (c[size] == '|' || c[size] == '\0'))
            return strchr(value, '|') == NULL;
    }
    return false;
}

/* --- parameters --- */

static const struct api_field *find_field(const struct api_field *fields, const char *name)
{
    for (; fields != NULL && fields->name != NULL; fields++)
        if (strcmp(fields->name, name) == 0)
            return fields;
    return NULL;
}

static bool parse_integer(const char *text, int64_t *integer)
{
    char *end;
    const char *digits = text + (text[0] == '-');

    if (digits[0] < '0' || digits[0] > '9' || strlen(digits) > 19)
        return false;
    errno = 0;
    *integer = strtoll(text, &end, 10);
    return *end == '\0' && errno == 0;
}

static enum poly_status check_size(const struct api_field *field, size_t size,
                                   struct poly_error *err)
{
    if (field->max == 0 || (size >= (size_t)field->min && size <= (size_t)field->max))
        return POLY_OK;
    return poly_fail(err, POLY_INVALID,
                     "'%s' has %zu bytes; %" PRId64 " to %" PRId64 " are allowed", field->name,
                     size, field->min, field->max);
}

static enum poly_status check_integer(const struct api_field *field, int64_t integer,
                                      struct poly_error *err)
{
    if ((field->min == 0 && field->max == 0) || (integer >= field->min && integer <= field->max))
        return POLY_OK;
    return poly_fail(err, POLY_INVALID,
                     "'%s' is %" PRId64 "; %" PRId64 " to %" PRId64 " is allowed", field->name,
                     integer, field->min, field->max);
}

static enum poly_status check_parameter(const struct api_field *field, const char *value,
                                        struct poly_error *err)
{
    int64_t integer;

    switch (field->kind) {
    case API_INTEGER:
        if (!parse_integer(value, &integer))
            return poly_fail(err, POLY_INVALID, "'%s' is not a whole number", field->name);
        return check_integer(field, integer, err);
    case API_BOOLEAN:
        if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
            return poly_fail(err, POLY_INVALID, "'%s' is neither true nor false", field->name);
        return POLY_OK;
    case API_CHOICE:
        if (!is_choice(field->choices, value))
            return poly_fail(err, POLY_INVALID, "'%s' is none of %s", field->name, field->choices);
        return POLY_OK;
    case API_TEXT:
        return check_size(field, strlen(value), err);
    default: /* lists and JSON: whoever reads them checks them */
        return POLY_OK;
    }
}

/* How often the parameter at this index has come already, against how often it may. */
static enum poly_status check_repeats(const struct api_request *request, size_t index,
                                      const struct api_field *field, struct poly_error *err)
{
    size_t most = (field->flags & API_REPEATED) != 0 ? API_REPEATS_MAX : 1, before = 0;

    for (size_t i = 0; i < index; i++)
        before += strcmp(request->parameters[i].name, field->name) == 0;
    if (before < most)
        return POLY_OK;
    if (most == 1)
        return poly_fail(err, POLY_INVALID, "parameter '%s' is given twice", field->name);
    return poly_fail(err, POLY_INVALID, "parameter '%s' is given more than %zu times", field->name,
                     most);
}

static enum poly_status check_required(const struct api_request *request, struct poly_error *err)
{
    const struct api_field *field = request->operation->parameters;

    for (; field != NULL && field->name != NULL; field++) {
        bool found = (field->flags & (API_REQUIRED | API_IN_PATH)) == 0;

        for (size_t i = 0; i < request->parameter_count && !found; i++)
            found = strcmp(request->parameters[i].name, field->name) == 0;
        if (!found)
            return poly_fail(err, POLY_INVALID, "parameter '%s' is missing: %s", field->name,
                             field->meaning);
    }
    return POLY_OK;
}

enum poly_status api_check_parameters(const struct api_request *request, struct poly_error *err)
{
    const struct api_field *fields = request->operation->parameters;

    for (size_t i = 0; i < request->parameter_count; i++) {
        const struct api_parameter *parameter = &request->parameters[i];
        const struct api_field *field = find_field(fields, parameter->name);
        char known[KNOWN_MAX];

        if (field == NULL || ((field->flags & API_LOCAL) != 0 && !request->local)) {
            list_names(fields, request->local, known);
            return poly_fail(err, POLY_INVALID, "unknown parameter '%.64s'; known are: %s",
                             parameter->name, known);
        }

        enum poly_status status = check_repeats(request, i, field, err);

        if (status != POLY_OK)
            return status;
        status = check_parameter(field, parameter->value, err);
        if (status != POLY_OK)
            return poly_fail_in(err, status, "parameter");
    }
    return check_required(request, err);
}

const char *api_text(const struct api_context *context, const char *name)
{
    const struct api_request *request = context->request;

    for (size_t i = 0; i < request->parameter_count; i++)
        if (strcmp(request->parameters[i].name, name) == 0)
            return request->parameters[i].value;
    return NULL;
}

int64_t api_integer(const struct api_context *context, const char *name, int64_t otherwise)
{
    const char *text = api_text(context, name);
    int64_t integer;

    return text != NULL && parse_integer(text, &integer) ? integer : otherwise;
}

bool api_true(const struct api_context *context, const char *name)
{
    const char *text = api_text(context, name);

    return text != NULL && strcmp(text, "true") == 0;
}

/* How many texts a comma list holds. */
static size_t count_items(const char *list)
{
    size_t count = 1;

    for (; *list != '\0'; list++)
        count += *list == ',';
    return count;
}

static enum poly_status split(const struct api_context *context, const char *list,
                              const char **texts, size_t *used, struct poly_error *err)
{
    for (bool last = false; !last;) {
        size_t size = strcspn(list, ",");

        if (size > 0) {
            texts[*used] = poly_arena_copy(context->arena, list, size);
            if (texts[(*used)++] == NULL)
                return poly_no_memory(err);
        }
        last = list[size] == '\0';
        list += size + !last;
    }
    return POLY_OK;
}

enum poly_status api_texts(const struct api_context *context, const char *name,
                           const char *const **texts, struct poly_error *err)
{
    const struct api_request *request = context->request;
    size_t count = 0, used = 0;

    for (size_t i = 0; i < request->parameter_count; i++)
        if (strcmp(request->parameters[i].name, name) == 0)
            count += count_items(request->parameters[i].value);
    if (count == 0) {
        *texts = NULL;
        return POLY_OK;
    }
    if (count > POLY_MAX_DOMAINS)
        return poly_fail(err, POLY_LIMIT, "parameter '%s': more than %d", name, POLY_MAX_DOMAINS);

    const char **list = poly_arena_array(context->arena, count + 1, sizeof(*list));

    if (list == NULL)
        return poly_no_memory(err);
    for (size_t i = 0; i < request->parameter_count; i++) {
        enum poly_status status = POLY_OK;

        if (strcmp(request->parameters[i].name, name) == 0)
            status = split(context, request->parameters[i].value, list, &used, err);
        if (status != POLY_OK)
            return status;
    }
    if (used == 0)
        return poly_fail(err, POLY_INVALID, "parameter '%s' is empty", name);
    *texts = list;
    return POLY_OK;
}

/* --- bodies --- */

static enum poly_status wrong(const struct api_field *field, const char *what,
                              struct poly_error *err)
{
    return poly_fail(err, POLY_INVALID, "'%s' must be %s", field->name, what);
}

static enum poly_status check_texts(const json_t *json, const struct api_field *field,
                                    struct poly_error *err)
{
    size_t i;
    json_t *item;

    json_array_foreach(json, i, item)
    {
        size_t size = json_string_length(item);

        if (field->choices == NULL && (size == 0 || size > POLY_MAX_NAME))
            return poly_fail(err, POLY_INVALID, "'%s': item %zu must be a text of 1 to %d bytes",
                             field->name, i, POLY_MAX_NAME);
        if (field->choices != NULL &&
            (!json_is_string(item) || !is_choice(field->choices, json_string_value(item))))
            return poly_fail(err, POLY_INVALID, "'%s': item %zu is none of %s", field->name, i,
                             field->choices);
    }
    return POLY_OK;
}

static enum poly_status check_floats(const json_t *json, const struct api_field *field,
                                     struct poly_error *err)
{
    size_t i;
    json_t *item;

    json_array_foreach(json, i, item)
    {
        if (!json_is_number(item))
            return poly_fail(err, POLY_INVALID, "'%s': item %zu is not a number", field->name, i);
        if (fabs(json_number_value(item)) > (double)FLT_MAX)
            return poly_fail(err, POLY_INVALID,
                             "'%s': item %zu is larger than a single can hold", field->name, i);
    }
    return POLY_OK;
}

static enum poly_status check_list(const json_t *json, const struct api_field *field,
                                   struct poly_error *err)
{
    size_t count = json_array_size(json), i;
    json_t *item;

    if (!json_is_array(json))
        return wrong(field, "an array", err);
    if (field->max != 0 && (count < (size_t)field->min || count > (size_t)field->max))
        return poly_fail(err, count > (size_t)field->max ? POLY_LIMIT : POLY_INVALID,
                         "'%s' has %zu items; %" PRId64 " to %" PRId64 " are allowed", field->name,
                         count, field->min, field->max);
    if (field->kind == API_TEXTS)
        return check_texts(json, field, err);
    if (field->kind == API_FLOATS)
        return check_floats(json, field, err);
    if (field->kind == API_VALUES)
        return POLY_OK;
    json_array_foreach(json, i, item)
    {
        enum poly_status status = api_check_object(item, field->schema, err);

        if (status != POLY_OK)
            return poly_fail_in(err, status, "%s[%zu]", field->name, i);
    }
    return POLY_OK;
}

static enum poly_status check_string(const json_t *json, const struct api_field *field,
                                     struct poly_error *err)
{
    int64_t time;

    if (!json_is_string(json))
        return wrong(field, "a text", err);
    if (field->kind == API_CHOICE && !is_choice(field->choices, json_string_value(json)))
        return poly_fail(err, POLY_INVALID, "'%s' is none of %s", field->name, field->choices);
    if (field->kind == API_TIME) {
        enum poly_status status = poly_json_parse_time(json_string_value(json), &time, err);

        return status == POLY_OK ? status : poly_fail_in(err, status, "'%s'", field->name);
    }
    return check_size(field, json_string_length(json), err);
}

static bool is_expected(const json_t *json)
{
    if (json_is_integer(json))
        return json_integer_value(json) >= 0;
    return json_is_string(json) && is_choice("any|none", json_string_value(json));
}

static enum poly_status check_member(const json_t *json, const struct api_field *field,
                                     struct poly_error *err)
{
    enum poly_status status;

    switch (field->kind) {
    case API_TEXT:
    case API_CHOICE:
    case API_TIME:
        return check_string(json, field, err);
    case API_INTEGER:
        if (!json_is_integer(json))
            return wrong(field, "a whole number", err);
        return check_integer(field, json_integer_value(json), err);
    case API_NUMBER:
        return json_is_number(json) ? POLY_OK : wrong(field, "a number", err);
    case API_BOOLEAN:
        return json_is_boolean(json) ? POLY_OK : wrong(field, "true or false", err);
    case API_EXPECTED:
        return is_expected(json) ? POLY_OK : wrong(field, "\"any\", \"none\" or a version", err);
    case API_VALUE:
        return POLY_OK;
    case API_MAP:
        return json_is_object(json) ? POLY_OK : wrong(field, "an object", err);
    case API_OBJECT:
        status = api_check_object(json, field->schema, err);
        return status == POLY_OK ? status : poly_fail_in(err, status, "%s", field->name);
    case API_LIST:
    case API_TEXTS:
    case API_VALUES:
    case API_FLOATS:
        return check_list(json, field, err);
    }
    return poly_fail(err, POLY_INTERNAL, "'%s' has no kind", field->name);
}

/* Which of several objects it is; the first field of each says so. */
static enum poly_status pick_variant(const json_t *json, const struct api_schema *schema,
                                     const struct api_schema **variant, struct poly_error *err)
{
    const char *name = schema->variants[0]->fields[0].name;
    const char *value = json_string_value(json_object_get(json, name));
    char known[KNOWN_MAX];
    size_t used = 0;

    for (const struct api_schema *const *v = schema->variants; *v != NULL; v++) {
        const char *word = (*v)->fields[0].choices;

        if (value != NULL && strcmp(word, value) == 0) {
            *variant = *v;
            return POLY_OK;
        }
        if (used < sizeof(known))
            used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s",
                                     used == 0 ? "" : ", ", word);
    }
    return poly_fail(err, POLY_INVALID, "'%s' must be one of: %s", name, known);
}

static enum poly_status check_names(const json_t *json, const struct api_schema *schema,
                                    struct poly_error *err)
{
    const char *name;
    json_t *member;

    json_object_foreach((json_t *)(uintptr_t)json, name, member)
    {
        char known[KNOWN_MAX];

        if (find_field(schema->fields, name) != NULL)
            continue;
        list_names(schema->fields, true, known);
        return poly_fail(err, POLY_INVALID, "unknown member '%.64s'; known are: %s", name, known);
    }
    return POLY_OK;
}

enum poly_status api_check_object(const json_t *json, const struct api_schema *schema,
                                  struct poly_error *err)
{
    enum poly_status status = POLY_OK;

    if (!json_is_object(json))
        return poly_fail(err, POLY_INVALID, "must be an object (%s)", schema->meaning);
    if (schema->variants != NULL)
        status = pick_variant(json, schema, &schema, err);
    if (status == POLY_OK && !schema->open)
        status = check_names(json, schema, err);
    if (status != POLY_OK)
        return status;
    for (const struct api_field *f = schema->fields; f != NULL && f->name != NULL; f++) {
        const json_t *member = json_object_get(json, f->name);

        if (member == NULL && (f->flags & API_REQUIRED) == 0)
            continue;
        if (member == NULL)
            return poly_fail(err, POLY_INVALID, "'%s' is missing: %s", f->name, f->meaning);
        status = check_member(member, f, err);
        if (status != POLY_OK)
            return status;
    }
    return POLY_OK;
}

const char *api_member(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

int64_t api_expected(const json_t *json)
{
    if (json_is_integer(json))
        return json_integer_value(json);
    return json != NULL && strcmp(json_string_value(json), "none") == 0 ? POLY_NONE : POLY_ANY;
}

enum poly_status api_values(const struct api_context *context, const json_t *array,
                            const struct poly_value **values, size_t *count, struct poly_error *err)
{
    size_t size = json_array_size(array);
    struct poly_value *list = poly_arena_array(context->arena, size + 1, sizeof(*list));

    if (list == NULL)
        return poly_no_memory(err);
    for (size_t i = 0; i < size; i++) {
        enum poly_status status =
            poly_json_to_value(json_array_get(array, i), context->arena, &list[i], err);

        if (status != POLY_OK)
            return poly_fail_in(err, status, "values[%zu]", i);
    }
    *values = list;
    *count = size;
    return POLY_OK;
}

enum poly_status api_floats(const struct api_context *context, const json_t *array,
                            struct poly_floats *floats, struct poly_error *err)
{
    size_t count = json_array_size(array);
    const json_t *first = json_array_get(array, 0);
    float *numbers;

    if (count == 1 && json_is_integer(first) && context->taken.arrays != NULL) {
        size_t index = (size_t)json_integer_value(first);

        if (index >= context->taken.count)
            return poly_fail(err, POLY_INTERNAL, "there is no array %zu", index);
        *floats = context->taken.arrays[index];
        return POLY_OK;
    }
    numbers = poly_arena_array(context->arena, count + 1, sizeof(*numbers));
    if (numbers == NULL)
        return poly_no_memory(err);
    for (size_t i = 0; i < count; i++)
        numbers[i] = (float)json_number_value(json_array_get(array, i));
    *floats = (struct poly_floats){numbers, count};
    return POLY_OK;
}

const char *api_dump(const struct api_context *context, const json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
    const char *copy = text == NULL ? NULL : poly_arena_copy(context->arena, text, strlen(text));

    free(text);
    return copy;
}

/* --- filters --- */

static enum poly_compare parse_compare(const char *word)
{
    const char *list = API_COMPARISONS;
    int index = 0;

    for (size_t size = word == NULL ? 0 : strlen(word); size > 0; index++) {
        if (strncmp(list, word, size) == 0 && (list[size] == '|' || list[size] == '\0'))
            return (enum poly_compare)index;
        list = strchr(list, '|') + 1;
    }
    return POLY_EQ;
}

static enum poly_status make_filter(const struct api_context *context, const json_t *json,
                                    struct poly_filter *filter, struct poly_error *err)
{
    const char *column = api_member(json, "column"), *path = api_member(json, "path");

    filter->column = poly_arena_copy(context->arena, column, strlen(column));
    if (path != NULL)
        filter->path = poly_arena_copy(context->arena, path, strlen(path));
    if (filter->column == NULL || (path != NULL && filter->path == NULL))
        return poly_no_memory(err);
    filter->compare = parse_compare(api_member(json, "compare"));
    return api_values(context, json_object_get(json, "values"), &filter->values,
                      &filter->value_count, err);
}

static enum poly_status make_filters(const struct api_context *context, const json_t *json,
                                     const struct poly_filter **filters, size_t *count,
                                     struct poly_error *err)
{
    size_t size = json_array_size(json);

    if (!json_is_array(json))
        return poly_fail(err, POLY_INVALID, "must be an array of {column, compare, values}");
    if (size > POLY_MAX_FILTERS)
        return poly_fail(err, POLY_LIMIT, "%zu filters; at most %d are allowed", size,
                         POLY_MAX_FILTERS);

    struct poly_filter *list = poly_arena_array(context->arena, size + 1, sizeof(*list));

    if (list == NULL)
        return poly_no_memory(err);
    for (size_t i = 0; i < size; i++) {
        const json_t *item = json_array_get(json, i);
        enum poly_status status = api_check_object(item, &api_schema_filter, err);

        if (status == POLY_OK)
            status = make_filter(context, item, &list[i], err);
        if (status != POLY_OK)
            return poly_fail_in(err, status, "[%zu]", i);
    }
    *filters = list;
    *count = size;
    return POLY_OK;
}

enum poly_status api_filters(const struct api_context *context, const struct poly_filter **filters,
                             size_t *count, struct poly_error *err)
{
    const char *text = api_text(context, "filter");
    json_t *json;

    *filters = NULL;
    *count = 0;
    if (text == NULL)
        return POLY_OK;

    enum poly_status status = poly_json_parse(text, strlen(text), &json, err);

    if (status == POLY_OK) {
        status = make_filters(context, json, filters, count, err);
        json_decref(json);
    }
    return status == POLY_OK ? status : poly_fail_in(err, status, "parameter 'filter'");
}
