/*
 * The reader. jansson builds the tree, after poly_json_measure() has made sure
 * that it is shallow and not much larger than its text, and that every number
 * is kept as it was written.
 */
#include <math.h>
#include <string.h>

#include "base/json.h"
#include "base/json_walk.h"
#include "base/limits.h"

enum poly_status poly_json_parse(const char *text, size_t size, json_t **json,
                                 struct poly_error *err)
{
    size_t bytes;
    enum poly_status status = poly_json_measure(text, size, &bytes, err);
    json_error_t error;

    if (status != POLY_OK)
        return status;
    if (bytes > POLY_MAX_JSON_TREE)
        return poly_fail(err, POLY_LIMIT,
                         "JSON: so many values would take %zu MiB of memory, the limit is %d "
                         "(POLY_MAX_JSON_TREE); send less at a time",
                         bytes >> 20, POLY_MAX_JSON_TREE >> 20);

    json_t *tree = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);

    if (tree == NULL && json_error_code(&error) == json_error_duplicate_key)
        return poly_json_fail(err, text, (size_t)error.position,
                              "the name stands twice in this object");
    if (tree == NULL) /* what it refuses was refused above; it seldom says that memory is short */
        return poly_no_memory(err);
    *json = tree;
    return POLY_OK;
}

static enum poly_status read_text(const json_t *json, struct poly_arena *arena,
                                  struct poly_value *value, struct poly_error *err)
{
    const char *text = json_string_value(json);
    size_t size = json_string_length(json);

    if (memchr(text, '\0', size) != NULL)
        return poly_fail(err, POLY_INVALID, "NUL is not allowed in a string");
    value->type = POLY_TEXT;
    value->text = (struct poly_text){poly_arena_copy(arena, text, size), size};
    return value->text.data == NULL ? poly_no_memory(err) : POLY_OK;
}

static enum poly_status read_bytes(const json_t *json, struct poly_arena *arena,
                                   struct poly_value *value, struct poly_error *err)
{
    static const char wrong[] = "'$bytes' takes a string of two hexadecimal digits for each byte";
    const char *text = json_string_value(json);
    size_t size = json_string_length(json) / 2;
    char *bytes;

    if (text == NULL)
        return poly_fail(err, POLY_INVALID, "%s", wrong);
    bytes = poly_arena_copy(arena, text, size);
    if (bytes == NULL)
        return poly_no_memory(err);
    if (!poly_json_unhex((struct poly_text){text, json_string_length(json)}, bytes))
        return poly_fail(err, POLY_INVALID, "%s", wrong);
    *value = poly_bytes(bytes, size);
    return POLY_OK;
}

static enum poly_status read_float(const json_t *json, struct poly_value *value,
                                   struct poly_error *err)
{
    const char *text = json_is_string(json) ? json_string_value(json) : "";

    if (strcmp(text, "Infinity") != 0 && strcmp(text, "-Infinity") != 0)
        return poly_fail(err, POLY_INVALID, "'$float' takes \"Infinity\" or \"-Infinity\"");
    *value = poly_float(*text == '-' ? -INFINITY : INFINITY);
    return POLY_OK;
}

static enum poly_status read_tree(const json_t *json, struct poly_arena *arena,
                                  struct poly_value *value, struct poly_error *err)
{
    struct poly_buffer buffer;
    enum poly_status status = POLY_OK;

    poly_buffer_init(&buffer, POLY_MAX_VALUE);
    poly_json_tree(&buffer, json);
    value->type = POLY_JSON;
    value->text.size = buffer.size;
    value->text.data =
        poly_buffer_ok(&buffer) ? poly_arena_copy(arena, buffer.data, buffer.size) : NULL;
    if (buffer.over)
        status = poly_fail(err, POLY_LIMIT, "JSON is larger than %d bytes", POLY_MAX_VALUE);
    else if (value->text.data == NULL)
        status = poly_no_memory(err);
    poly_buffer_release(&buffer);
    return status;
}

static enum poly_status read_object(const json_t *json, struct poly_arena *arena,
                                    struct poly_value *value, struct poly_error *err)
{
    const json_t *member;

    if (json_object_size(json) != 1)
        return read_tree(json, arena, value, err);
    member = json_object_get(json, "$bytes");
    if (member != NULL)
        return read_bytes(member, arena, value, err);
    member = json_object_get(json, "$float");
    if (member != NULL)
        return read_float(member, value, err);
    return read_tree(json, arena, value, err);
}

enum poly_status poly_json_to_value(const json_t *json, struct poly_arena *arena,
                                    struct poly_value *value, struct poly_error *err)
{
    struct poly_value result = poly_null();
    enum poly_status status = POLY_OK;

    switch (json_typeof(json)) {
    case JSON_NULL:
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        result = poly_bool(json_is_true(json));
        break;
    case JSON_INTEGER:
        result = poly_int(json_integer_value(json));
        break;
    case JSON_REAL:
        result = poly_float(json_real_value(json));
        break;
    case JSON_STRING:
        status = read_text(json, arena, &result, err);
        break;
    case JSON_OBJECT:
        status = read_object(json, arena, &result, err);
        break;
    case JSON_ARRAY:
        status = read_tree(json, arena, &result, err);
        break;
    }
    if (status == POLY_OK)
        *value = result;
    return status;
}

enum poly_status poly_json_to_row(const json_t *json, struct poly_arena *arena,
                                  struct poly_row *row, struct poly_error *err)
{
    json_t *object = (json_t *)(uintptr_t)json; /* json_object_iter() wants it so; reads only */
    size_t count = json_object_size(json);
    struct poly_field *field, *fields;

    if (!json_is_object(json))
        return poly_fail(err, POLY_INVALID, "a JSON object is expected");
    fields = field = poly_arena_array(arena, count, sizeof(*fields));
    if (fields == NULL)
        return poly_no_memory(err);
    for (void *i = json_object_iter(object); i != NULL; i = json_object_iter_next(object, i)) {
        const char *name = json_object_iter_key(i);
        enum poly_status status =
            poly_json_to_value(json_object_iter_value(i), arena, &field->value, err);

        if (status != POLY_OK)
            return poly_fail_in(err, status, "'%.128s'", name);
        field->name = poly_arena_copy(arena, name, strlen(name));
        if (field->name == NULL)
            return poly_no_memory(err);
        field++;
    }
    *row = (struct poly_row){fields, count};
    return POLY_OK;
}
