/*
 * Filling an index reads every document once and wants a few fields of each.
 * A tree would allocate for all of them; this walks over the text, and a string
 * without escapes is a view into it.
 */
#include "followers/extract.h"

#include <string.h>

#include "base/json.h"
#include "base/json_walk.h"

static bool plain(struct poly_text raw, bool escaped, struct poly_arena *arena,
                  struct poly_text *text)
{
    char *copy;

    *text = raw;
    if (!escaped)
        return true;
    copy = poly_arena_alloc(arena, raw.size + 1);
    if (copy == NULL)
        return false;
    text->data = copy;
    text->size = (size_t)(poly_json_unescape(raw, copy) - copy);
    return true;
}

/* --- what is indexed of a value --- */

static bool is_marker(struct poly_text name)
{
    return (name.size == 6 && memcmp(name.data, "$bytes", 6) == 0) ||
           (name.size == 6 && memcmp(name.data, "$float", 6) == 0);
}

/* A string of an object or array: a member's name, or text to index? */
static char *gather_string(struct poly_json_cursor *c, char *start, char *out)
{
    bool escaped;
    struct poly_text raw = poly_json_take_string(c, &escaped);

    poly_json_skip_space(c);
    if (poly_json_look(c) == ':') {
        c->at++;
        poly_json_skip_space(c);
        if (is_marker(raw))
            poly_json_take_value(c);
        return out;
    }
    if (out > start) {
        *out++ = ',';
        *out++ = ' ';
    }
    return poly_json_unescape(raw, out);
}

/* Every text and number inside: each has at least one byte, and gets ", " before it. */
static bool gather(struct poly_text value, struct poly_arena *arena, struct poly_text *text)
{
    struct poly_json_cursor c = poly_json_begin(value);
    char *start = poly_arena_alloc(arena, 3 * value.size + 1);
    char *out = start;

    if (start == NULL)
        return false;
    while (!poly_json_done(&c)) {
        if (poly_json_look(&c) == '"') {
            out = gather_string(&c, start, out);
        } else if (poly_json_in_scalar(poly_json_look(&c))) {
            struct poly_text scalar = poly_json_take_value(&c);

            if (!poly_json_is_number(scalar))
                continue;
            if (out > start) {
                *out++ = ',';
                *out++ = ' ';
            }
            memcpy(out, scalar.data, scalar.size);
            out += scalar.size;
        } else {
            c.at++;
        }
    }
    text->data = out > start ? start : NULL;
    text->size = (size_t)(out - start);
    return true;
}

static bool to_text(struct poly_text value, struct poly_arena *arena, struct poly_text *text)
{
    struct poly_json_cursor c = poly_json_begin(value);
    bool escaped;

    if (poly_json_look(&c) == '"') {
        struct poly_text raw = poly_json_take_string(&c, &escaped);

        return plain(raw, escaped, arena, text);
    }
    if (poly_json_look(&c) == '{' || poly_json_look(&c) == '[')
        return gather(value, arena, text);
    if (poly_json_is_number(value))
        *text = value;
    return true;
}

/* --- what is kept of a value to filter by --- */

/* Floats, bytes, arrays: seldom, so the reader of base/json may do it. */
static enum poly_status parse_filter(struct poly_text value, struct poly_arena *arena,
                                     struct poly_value *filter, struct poly_error *err)
{
    json_t *json;
    enum poly_status status = poly_json_parse(value.data, value.size, &json, err);

    if (status != POLY_OK)
        return status;
    status = poly_json_to_value(json, arena, filter, err);
    json_decref(json);
    return status;
}

static enum poly_status to_filter(struct poly_text value, struct poly_arena *arena,
                                  struct poly_value *filter, struct poly_error *err)
{
    int64_t integer;

    if (poly_json_to_integer(value, &integer)) {
        *filter = poly_int(integer);
    } else if (value.data[0] == '"') {
        struct poly_value text = poly_str("");

        if (!to_text(value, arena, &text.text))
            return poly_no_memory(err);
        *filter = text;
    } else if (value.data[0] == 't' || value.data[0] == 'f') {
        *filter = poly_bool(value.data[0] == 't');
    } else if (value.data[0] != 'n') {
        return parse_filter(value, arena, filter, err);
    }
    return POLY_OK;
}

/* --- the object --- */

static bool same(struct poly_text name, const char *other)
{
    return strlen(other) == name.size && memcmp(other, name.data, name.size) == 0;
}

static enum poly_status take_member(struct poly_text name, struct poly_text value,
                                    const struct poly_extract_names *names,
                                    struct poly_arena *arena, struct poly_text *texts,
                                    struct poly_value *filters)
{
    enum poly_status status = POLY_OK;

    for (size_t i = 0; i < names->field_count; i++)
        if (same(name, names->fields[i]) && !to_text(value, arena, &texts[i]))
            return POLY_NO_MEMORY;
    for (size_t i = 0; i < names->filter_count && status == POLY_OK; i++)
        if (same(name, names->filters[i]))
            status = to_filter(value, arena, &filters[i], NULL);
    return status;
}

/* The cursor stands before a member, or at the end of the object. *more: there was one. */
static enum poly_status next_member(struct poly_json_cursor *c, struct poly_arena *arena,
                                    struct poly_text *name, struct poly_text *value, bool *more,
                                    struct poly_error *err)
{
    struct poly_text raw;
    bool escaped;

    *more = poly_json_take_member(c, &raw, &escaped, value);
    return !*more || plain(raw, escaped, arena, name) ? POLY_OK : poly_no_memory(err);
}

/* Of an object: the cursor is behind its brace. */
static bool in_object(struct poly_json_cursor *c)
{
    poly_json_skip_space(c);
    if (poly_json_look(c) != '{')
        return false;
    c->at++;
    poly_json_skip_space(c);
    return true;
}

enum poly_status poly_extract(struct poly_text json, const struct poly_extract_names *names,
                              struct poly_arena *arena, struct poly_text *texts,
                              struct poly_value *filters, struct poly_error *err)
{
    struct poly_value inner = poly_json("");
    struct poly_json_cursor c;
    bool more;

    if (names->field_count > 0)
        memset(texts, 0, names->field_count * sizeof(*texts));
    if (names->filter_count > 0)
        memset(filters, 0, names->filter_count * sizeof(*filters));
    if (names->in != NULL && names->field_count + names->filter_count > 0) {
        enum poly_status status = poly_extract_one(json, names->in, arena, &inner, err);

        if (status != POLY_OK)
            return status;
        json = inner.type == POLY_JSON ? inner.text : poly_text("");
    }
    c = poly_json_begin(json);
    more = in_object(&c);
    while (more) {
        struct poly_text name, value;
        enum poly_status status = next_member(&c, arena, &name, &value, &more, err);

        if (status != POLY_OK)
            return status;
        if (!more || value.size == 0)
            continue;
        status = take_member(name, value, names, arena, texts, filters);
        if (status == POLY_NO_MEMORY)
            return poly_no_memory(err);
        if (status != POLY_OK)
            return poly_fail(err, status, "field '%.*s': its value cannot be kept to filter by",
                             (int)(name.size > 64 ? 64 : name.size), name.data);
    }
    return POLY_OK;
}

/* {"$bytes": "<hex>"} */
static bool take_bytes(struct poly_text json, struct poly_arena *arena, struct poly_value *value,
                       bool *memory)
{
    struct poly_json_cursor c = poly_json_begin(json);
    struct poly_text name = {"", 0}, hex = {"", 0};
    bool more = in_object(&c);
    char *bytes;

    if (!more || next_member(&c, arena, &name, &hex, &more, NULL) != POLY_OK || !more ||
        !same(name, "$bytes") || hex.size < 2 || hex.data[0] != '"')
        return false;
    bytes = poly_arena_alloc(arena, hex.size / 2);
    *memory = bytes != NULL;
    if (bytes == NULL)
        return false;
    *value = poly_bytes(bytes, (hex.size - 2) / 2);
    return poly_json_unhex((struct poly_text){hex.data + 1, hex.size - 2}, bytes);
}

enum poly_status poly_extract_one(struct poly_text json, const char *wanted,
                                  struct poly_arena *arena, struct poly_value *value,
                                  struct poly_error *err)
{
    struct poly_json_cursor c = poly_json_begin(json);
    struct poly_text found = {NULL, 0};
    bool more = in_object(&c), memory = true;

    *value = poly_null();
    while (more) {
        struct poly_text name, text;
        enum poly_status status = next_member(&c, arena, &name, &text, &more, err);

        if (status != POLY_OK)
            return status;
        if (more && text.size > 0 && same(name, wanted))
            found = text;
    }
    if (found.data == NULL || found.data[0] == 'n' || take_bytes(found, arena, value, &memory))
        return POLY_OK;
    if (memory && found.data[0] == '"') {
        *value = poly_str("");
        memory = to_text(found, arena, &value->text);
    } else if (memory) {
        *value = poly_json("");
        value->text = found;
    }
    return memory ? POLY_OK : poly_no_memory(err);
}
