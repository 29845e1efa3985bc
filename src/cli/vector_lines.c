/*
 * Vectors with what belongs to them, a record a line: JSON lines, and the text form of PostgreSQL's
 * COPY. Every line is read whole before anything of it is sent.
 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/json_floats.h"
#include "base/limits.h"
#include "cli/vector_files.h"

/* --- JSON lines: {"key": "42", "vector": [0.1, 0.2], "title": "other columns"} --- */

static enum poly_status add_members(struct cli_import *import, const json_t *json,
                                    const struct poly_floats *vector, struct poly_error *err)
{
    struct poly_buffer *row = &import->row;
    json_t *object = (json_t *)(uintptr_t)json; /* json_object_foreach() wants it so; reads only */
    const char *name;
    json_t *value;

    poly_buffer_char(row, '{');
    json_object_foreach(object, name, value)
    {
        if (strcmp(name, "key") == 0 || strcmp(name, "vector") == 0 ||
            (import->vectors->as != NULL && strcmp(name, "tenant") != 0 &&
             strcmp(name, "version") != 0))
            continue;
        if (strcmp(name, import->vectors->field) == 0 && vector != NULL)
            return cli_import_fail(import, import->line, err,
                                   "it has 'vector', and the column for it, too");
        if (row->data[row->size - 1] != '{')
            poly_buffer_char(row, ',');
        poly_json_string(row, name, strlen(name));
        poly_buffer_char(row, ':');
        poly_json_tree(row, value);
    }
    if (vector != NULL)
        cli_put_vector(row, import->vectors, vector->numbers, vector->count);
    poly_buffer_char(row, '}');
    return poly_buffer_ok(row) ? POLY_OK : poly_no_memory(err);
}

static enum poly_status make_row(struct cli_import *import, const json_t *json,
                                 const struct poly_floats_taken *taken, struct poly_error *err)
{
    const json_t *key = json_object_get(json, "key"), *vector = json_object_get(json, "vector");

    if (!json_is_object(json))
        return cli_import_fail(import, import->line, err,
                               "must be a JSON object: {\"key\": …, \"vector\": […]}");
    if (key != NULL && !json_is_string(key) && !json_is_integer(key))
        return cli_import_fail(import, import->line, err, "'key' must be a text or an integer");
    if (vector != NULL && taken->count != 1)
        return cli_import_fail(import, import->line, err,
                               "'vector' must be an array of numbers that singles can hold");
    if (json_is_string(key))
        poly_buffer_add(&import->key, json_string_value(key), json_string_length(key));
    else if (key != NULL)
        poly_buffer_printf(&import->key, "%" JSON_INTEGER_FORMAT, json_integer_value(key));
    if (!poly_buffer_ok(&import->key) || import->key.size > POLY_MAX_KEY)
        return cli_import_fail(import, import->line, err, "'key' is longer than a key can be");
    return add_members(import, json, vector == NULL ? NULL : &taken->arrays[0], err);
}

static enum poly_status read_object(struct cli_import *import, struct poly_arena *arena,
                                    struct poly_error *err)
{
    static const struct poly_floats_place place = {"vector", 1, POLY_MAX_DIMENSIONS};
    const struct poly_buffer *line = &import->source->line;
    struct poly_floats_taken taken;
    json_t *json;
    enum poly_status status = poly_json_take_floats((struct poly_text){line->data, line->size},
                                                    &place, arena, &taken, err);

    if (status != POLY_OK)
        return status;
    status = poly_json_parse(taken.text.data, taken.text.size, &json, err);
    if (status != POLY_OK)
        return poly_fail_in(err, status, "%s:%llu", import->source->name,
                            (unsigned long long)import->line);
    status = make_row(import, json, &taken, err);
    json_decref(json);
    return status;
}

static bool next_line(struct cli_import *import, bool *more, enum poly_status *status,
                      struct poly_error *err)
{
    const struct poly_buffer *line = &import->source->line;

    do {
        *status = cli_source_line(import->source, more, err);
        if (*status != POLY_OK || !*more)
            return false;
    } while (line->size == 0 || strspn(line->data, " ") == line->size);
    import->line = import->source->number;
    poly_buffer_clear(&import->row);
    poly_buffer_clear(&import->key);
    return true;
}

static enum poly_status next_object(struct cli_import *import, bool *more, struct poly_error *err)
{
    struct poly_arena *arena;
    enum poly_status status;

    if (!next_line(import, more, &status, err))
        return status;
    arena = poly_arena_new(4UL * POLY_MAX_VALUE);
    status = arena == NULL ? poly_no_memory(err) : read_object(import, arena, err);
    poly_arena_free(arena);
    return status;
}

const struct cli_format cli_format_vector_lines = {
    .name = "jsonl",
    .endings = ".jsonl|.ndjson",
    .next = next_object,
};

/* --- COPY --- */

static int octal(char c)
{
    return c >= '0' && c <= '7' ? c - '0' : -1;
}

static int hexadecimal(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Up to so many digits at *at; false: there is none. */
static bool read_code(const char **at, const char *end, int digits, int (*digit)(char), int base,
                      char *code)
{
    const char *start = *at;
    int value = 0;

    for (; digits > 0 && *at < end && digit(**at) >= 0; digits--)
        value = value * base + digit(*(*at)++);
    *code = (char)(value & 255);
    return *at > start;
}

/* After a backslash. */
static char unescape(const char **at, const char *end)
{
    static const char letters[] = "bfnrtv", meant[] = "\b\f\n\r\t\v";
    const char *letter = memchr(letters, **at, sizeof(letters) - 1), *after = *at + 1;
    char code;

    if (letter != NULL) {
        ++*at;
        return meant[letter - letters];
    }
    if (read_code(at, end, 3, octal, 8, &code))
        return code;
    if (**at == 'x' && read_code(&after, end, 2, hexadecimal, 16, &code)) {
        *at = after;
        return code;
    }
    return *(*at)++;
}

/* The field at *at up to a tab, without its escapes; *at: at the tab or the end. */
static void read_field(const char **at, const char *end, struct poly_buffer *field, bool *null)
{
    const char *start = *at;

    poly_buffer_clear(field);
    poly_buffer_text(field, "");
    while (*at < end && **at != '\t') {
        if (*(*at)++ != '\\' || *at == end)
            poly_buffer_add(field, *at - 1, 1);
        else
            poly_buffer_char(field, unescape(at, end));
    }
    *null = *at - start == 2 && memcmp(start, "\\N", 2) == 0;
}

/* "[1,2.5]" as pgvector prints it. */
static bool read_vector(const struct poly_buffer *field, float *numbers, size_t *count)
{
    const char *at = field->data, *end = field->data + field->size;

    *count = 0;
    if (field->size < 2 || *at++ != '[' || end[-1] != ']')
        return false;
    for (end--; *count < POLY_MAX_DIMENSIONS; at++) {
        while (at < end && *at == ' ')
            at++;
        if (!poly_json_read_float(&at, end, &numbers[(*count)++]))
            return false;
        if (at == end)
            return true;
        if (*at != ',')
            return false;
    }
    return false;
}

static void put_name(struct poly_buffer *row, const char *name, size_t size)
{
    if (row->data[row->size - 1] != '{')
        poly_buffer_char(row, ',');
    poly_json_string(row, name, size);
    poly_buffer_char(row, ':');
}

static bool is_name(const char *name, size_t size, const char *wanted)
{
    return wanted != NULL && strlen(wanted) == size && memcmp(name, wanted, size) == 0;
}

/* One value of the row, or its key. */
static enum poly_status add_field(struct cli_import *import, struct poly_text name,
                                  const struct poly_buffer *field, bool null,
                                  struct poly_error *err)
{
    static float numbers[POLY_MAX_DIMENSIONS];
    const struct cli_vector_options *options = import->vectors;
    size_t count;

    if (is_name(name.data, name.size, options->key)) {
        if (null || field->size == 0 || field->size > POLY_MAX_KEY)
            return cli_import_fail(import, import->line, err, "the key is null, empty or too long");
        poly_buffer_add(&import->key, field->data, field->size);
    }
    if (!null && is_name(name.data, name.size, options->field)) {
        if (!read_vector(field, numbers, &count))
            return cli_import_fail(import, import->line, err,
                                   "the vector is none: [0.1,0.2,0.3] is one");
        cli_put_vector(&import->row, options, numbers, count);
        return POLY_OK;
    }
    if (options->as != NULL)
        return POLY_OK;
    put_name(&import->row, name.data, name.size);
    if (null)
        poly_buffer_text(&import->row, "null");
    else
        poly_json_string(&import->row, field->data, field->size);
    return POLY_OK;
}

static enum poly_status add_fields(struct cli_import *import, struct poly_buffer *field,
                                   struct poly_error *err)
{
    const struct poly_buffer *line = &import->source->line;
    const char *at = line->data, *end = at + line->size, *columns = import->vectors->columns;
    enum poly_status status = POLY_OK;
    bool null;

    poly_buffer_char(&import->row, '{');
    for (bool last = false; !last && status == POLY_OK; at++) {
        size_t size = columns == NULL ? 0 : strcspn(columns, ",");

        if (size == 0)
            return cli_import_fail(import, import->line, err,
                                   "it has more fields than --columns has names");
        read_field(&at, end, field, &null);
        if (!poly_buffer_ok(field))
            return poly_no_memory(err);
        status = add_field(import, (struct poly_text){columns, size}, field, null, err);
        columns = columns[size] == '\0' ? NULL : columns + size + 1;
        last = at == end;
    }
    poly_buffer_char(&import->row, '}');
    if (status == POLY_OK && columns != NULL)
        return cli_import_fail(import, import->line, err,
                               "it has fewer fields than --columns has names");
    return status == POLY_OK && !poly_buffer_ok(&import->row) ? poly_no_memory(err) : status;
}

static enum poly_status next_copy(struct cli_import *import, bool *more, struct poly_error *err)
{
    const struct poly_buffer *line = &import->source->line;
    struct poly_buffer field;
    enum poly_status status;

    if (!next_line(import, more, &status, err))
        return status;
    if (line->size == 2 && memcmp(line->data, "\\.", 2) == 0) { /* psql's end of the data */
        *more = false;
        return POLY_OK;
    }
    poly_buffer_init(&field, POLY_MAX_VALUE);
    status = add_fields(import, &field, err);
    poly_buffer_release(&field);
    return status;
}

const struct cli_format cli_format_copy = {
    .name = "copy",
    .endings = ".copy|.tsv",
    .next = next_copy,
};
