/* Taking fields out of JSON without a tree finds what the reader with a tree finds. */
#include <string.h>

#include "base/assert.h"
#include "base/json.h"
#include "fuzz.h"
#include "followers/extract.h"

static const char *const fields[] = {"a", "title"};
static const char *const filters[] = {"a", "n"};
static const struct poly_extract_names names = {
    .fields = fields, .field_count = 2, .filters = filters, .filter_count = 2};

static void check_text(const json_t *value, struct poly_text text)
{
    if (json_is_string(value)) {
        poly_assert(text.data != NULL && text.size == json_string_length(value));
        poly_assert(memcmp(text.data, json_string_value(value), text.size) == 0);
    } else if (value == NULL || json_is_boolean(value) || json_is_null(value)) {
        poly_assert(text.data == NULL);
    } else if (json_is_number(value)) {
        poly_assert(text.size > 0);
    }
}

static void check_filter(const json_t *value, const struct poly_value *filter)
{
    if (value == NULL || json_is_null(value))
        poly_assert(filter->type == POLY_NULL);
    else if (json_is_integer(value))
        poly_assert(filter->type == POLY_INT && filter->integer == json_integer_value(value));
    else if (json_is_boolean(value))
        poly_assert(filter->type == POLY_BOOL && filter->boolean == json_is_true(value));
    else if (json_is_string(value))
        poly_assert(filter->type == POLY_TEXT && filter->text.size == json_string_length(value));
    else if (json_is_real(value))
        poly_assert(filter->type == POLY_FLOAT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct poly_text json = {(const char *)data, size};
    struct poly_arena *arena = poly_arena_new(64 << 20);
    struct poly_text texts[2];
    struct poly_value values[2];
    struct poly_error err;
    json_t *tree = NULL;
    enum poly_status status;

    poly_assert(arena != NULL);
    /* Even what is no JSON at all is walked over without leaving its bytes. */
    status = poly_extract(json, &names, arena, texts, values, &err);
    if (poly_json_parse(json.data, size, &tree, &err) == POLY_OK && status == POLY_OK) {
        for (size_t i = 0; i < 2; i++) {
            check_text(json_object_get(tree, fields[i]), texts[i]);
            check_filter(json_object_get(tree, filters[i]), &values[i]);
        }
    }
    json_decref(tree);
    poly_arena_free(arena);
    return 0;
}
