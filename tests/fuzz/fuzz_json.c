/* The JSON reader: whatever is accepted prints as JSON that reads back as the same; the check and
 * the reader agree on all but duplicate names. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/json.h"
#include "fuzz.h"

/* jansson turns what is too small for a double into 0, so texts, not trees, are compared. */
static void round_trip(const json_t *json)
{
    struct poly_buffer once, twice;
    struct poly_error err;
    json_t *again;

    poly_buffer_init(&once, 64 << 20);
    poly_buffer_init(&twice, 64 << 20);
    poly_json_tree(&once, json);
    poly_assert(poly_buffer_ok(&once));
    poly_assert(poly_json_parse(once.data, once.size, &again, &err) == POLY_OK);
    poly_json_tree(&twice, again);
    poly_assert(once.size == twice.size && memcmp(once.data, twice.data, once.size) == 0);
    json_decref(again);
    poly_buffer_release(&once);
    poly_buffer_release(&twice);
}

static void to_values(const json_t *json)
{
    struct poly_arena *arena = poly_arena_new(64 << 20);
    struct poly_buffer buffer;
    struct poly_value value;
    struct poly_row row;

    poly_assert(arena != NULL);
    poly_buffer_init(&buffer, 64 << 20);
    if (poly_json_to_value(json, arena, &value, NULL) == POLY_OK)
        poly_json_value(&buffer, &value);
    if (poly_json_to_row(json, arena, &row, NULL) == POLY_OK)
        poly_json_row(&buffer, &row);
    poly_assert(poly_buffer_ok(&buffer));
    poly_buffer_release(&buffer);
    poly_arena_free(arena);
}

/* Any bytes as a string are JSON. */
static void as_string(const char *text, size_t size)
{
    struct poly_buffer buffer;
    struct poly_error err;

    poly_buffer_init(&buffer, 64 << 20);
    poly_json_string(&buffer, text, size);
    if (memchr(text, '\0', size) == NULL)
        poly_assert(poly_json_check(buffer.data, buffer.size, &err) == POLY_OK);
    poly_buffer_release(&buffer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct poly_error err = {.position = 0};
    json_t *json = NULL;
    enum poly_status check = poly_json_check((const char *)data, size, &err);
    enum poly_status parse = poly_json_parse((const char *)data, size, &json, &err);

    poly_assert(check == POLY_OK || parse == check);
    poly_assert(parse == POLY_OK || (err.position >= 0 && (size_t)err.position <= size));
    if (check == POLY_OK && parse != POLY_OK)
        poly_assert(strstr(err.message, "twice") != NULL);
    if (parse == POLY_OK) {
        round_trip(json);
        to_values(json);
        json_decref(json);
    }
    as_string((const char *)data, size);

    char *text = malloc(size + 1);
    int64_t time;

    poly_assert(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    if (poly_json_parse_time(text, &time, &err) == POLY_OK) {
        char printed[28];
        int64_t again;

        poly_json_time(time, printed);
        poly_assert(poly_json_parse_time(printed, &again, &err) == POLY_OK && again == time);
    }
    free(text);
    return 0;
}
