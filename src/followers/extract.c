/*
 * Filling an index reads every document once and wants a few fields of each.
 * A tree would allocate for all of them; this walks over the text, and a string
 * without escapes is a view into it. The text has been checked before, yet
 * every step looks at the end: nothing here can run over it.
 */
#include "followers/extract.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

struct cursor {
    const char *at, *end;
};

static bool done(const struct cursor *c)
{
    return c->at >= c->end;
}

static char look(const struct cursor *c)
{
    return done(c) ? '\0' : *c->at;
}

static void skip_space(struct cursor *c)
{
    while (!done(c) && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r'))
        c->at++;
}

/* From the opening quote to behind the closing one. The text between, escapes and all. */
static struct poly_text take_string(struct cursor *c, bool *escaped)
{
    struct poly_text text;

    *escaped = false;
    text.data = ++c->at;
    while (!done(c) && *c->at != '"') {
        if (*c->at == '\\') {
            *escaped = true;
            c->at++;
        }
        c->at++;
    }
    if (c->at > c->end)
        c->at = c->end;
    text.size = (size_t)(c->at - text.data);
    if (!done(c))
        c->at++;
    return text;
}

static bool in_scalar(char c)
{
    return c != '\0' && c != ',' && c != '}' && c != ']' && c != '"' && c != '{' && c != '[' &&
           c != ':' && c != ' ' && c != '\n' && c != '\t' && c != '\r';
}

/* One value, whole. */
static struct poly_text take_value(struct cursor *c)
{
    struct poly_text text = {c->at, 0};
    int depth = 0;

    do {
        bool escaped;
        char first = look(c);

        if (first == '"') {
            take_string(c, &escaped);
        } else if (first == '{' || first == '[') {
            depth++;
            c->at++;
        } else if (first == '}' || first == ']') {
            depth--;
            c->at++;
        } else if (in_scalar(first)) {
            while (in_scalar(look(c)))
                c->at++;
        } else if (!done(c)) {
            c->at++;
        }
    } while (depth > 0 && !done(c));
    text.size = (size_t)(c->at - text.data);
    return text;
}

/* --- strings with escapes --- */

static unsigned hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? (unsigned)(c - '0')
           : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
           : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
                                  : 0;
}

static unsigned hex4(const char *s)
{
    unsigned value = 0;

    for (int i = 0; i < 4; i++)
        value = value << 4 | hex_digit(s[i]);
    return value;
}

static char *put_utf8(char *out, unsigned c)
{
    if (c < 0x80) {
        *out++ = (char)c;
    } else if (c < 0x800) {
        *out++ = (char)(0xC0 | c >> 6);
        *out++ = (char)(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
        *out++ = (char)(0xE0 | c >> 12);
        *out++ = (char)(0x80 | (c >> 6 & 0x3F));
        *out++ = (char)(0x80 | (c & 0x3F));
    } else {
        *out++ = (char)(0xF0 | c >> 18);
        *out++ = (char)(0x80 | (c >> 12 & 0x3F));
        *out++ = (char)(0x80 | (c >> 6 & 0x3F));
        *out++ = (char)(0x80 | (c & 0x3F));
    }
    return out;
}

/* At the 'u' of \uXXXX: a pair of surrogates is one character. */
static char *unescape_unicode(const char **in, const char *end, char *out)
{
    unsigned c = end - *in >= 5 ? hex4(*in + 1) : 0xFFFD;

    *in += end - *in >= 5 ? 5 : end - *in;
    if (c >= 0xD800 && c < 0xDC00 && end - *in >= 6 && (*in)[0] == '\\' && (*in)[1] == 'u') {
        unsigned low = hex4(*in + 2);

        if (low >= 0xDC00 && low < 0xE000) {
            c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
            *in += 6;
        }
    }
    if (c == 0 || (c >= 0xD800 && c < 0xE000))
        c = 0xFFFD;
    return put_utf8(out, c);
}

/* An escape never becomes longer, so out needs no more room than in. Returns the end. */
static char *unescape(struct poly_text text, char *out)
{
    const char *in = text.data, *end = text.data + text.size;

    while (in < end) {
        if (*in != '\\' || ++in == end) {
            if (in < end)
                *out++ = *in++;
            continue;
        }
        if (*in == 'u') {
            out = unescape_unicode(&in, end, out);
            continue;
        }
        *out++ = (char)(*in == 'n'   ? '\n'
                        : *in == 't' ? '\t'
                        : *in == 'r' ? '\r'
                        : *in == 'b' ? '\b'
                        : *in == 'f' ? '\f'
                                     : *in);
        in++;
    }
    return out;
}

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
    text->size = (size_t)(unescape(raw, copy) - copy);
    return true;
}

/* --- what is indexed of a value --- */

static bool is_marker(struct poly_text name)
{
    return (name.size == 6 && memcmp(name.data, "$bytes", 6) == 0) ||
           (name.size == 6 && memcmp(name.data, "$float", 6) == 0);
}

static bool is_number(struct poly_text value)
{
    return value.size > 0 &&
           (value.data[0] == '-' || (value.data[0] >= '0' && value.data[0] <= '9'));
}

/* A string of an object or array: a member's name, or text to index? */
static char *gather_string(struct cursor *c, char *start, char *out)
{
    bool escaped;
    struct poly_text raw = take_string(c, &escaped);

    skip_space(c);
    if (look(c) == ':') {
        c->at++;
        skip_space(c);
        if (is_marker(raw))
            take_value(c);
        return out;
    }
    if (out > start) {
        *out++ = ',';
        *out++ = ' ';
    }
    return unescape(raw, out);
}

/* Every text and number inside: each has at least one byte, and gets ", " before it. */
static bool gather(struct poly_text value, struct poly_arena *arena, struct poly_text *text)
{
    struct cursor c = {value.data, value.data + value.size};
    char *start = poly_arena_alloc(arena, 3 * value.size + 1);
    char *out = start;

    if (start == NULL)
        return false;
    while (!done(&c)) {
        if (look(&c) == '"') {
            out = gather_string(&c, start, out);
        } else if (in_scalar(look(&c))) {
            struct poly_text scalar = take_value(&c);

            if (!is_number(scalar))
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
    struct cursor c = {value.data, value.data + value.size};
    bool escaped;

    if (look(&c) == '"') {
        struct poly_text raw = take_string(&c, &escaped);

        return plain(raw, escaped, arena, text);
    }
    if (look(&c) == '{' || look(&c) == '[')
        return gather(value, arena, text);
    if (is_number(value))
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

static bool to_integer(struct poly_text value, int64_t *integer)
{
    char digits[24];
    char *end;

    if (!is_number(value) || value.size >= sizeof(digits))
        return false;
    memcpy(digits, value.data, value.size);
    digits[value.size] = '\0';
    errno = 0;
    *integer = strtoll(digits, &end, 10);
    return errno == 0 && *end == '\0';
}

static enum poly_status to_filter(struct poly_text value, struct poly_arena *arena,
                                  struct poly_value *filter, struct poly_error *err)
{
    int64_t integer;

    if (to_integer(value, &integer)) {
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
static enum poly_status next_member(struct cursor *c, struct poly_arena *arena,
                                    struct poly_text *name, struct poly_text *value, bool *more,
                                    struct poly_error *err)
{
    struct poly_text raw;
    bool escaped;

    skip_space(c);
    if (look(c) == ',') {
        c->at++;
        skip_space(c);
    }
    *more = look(c) == '"';
    if (!*more)
        return POLY_OK;
    raw = take_string(c, &escaped);
    if (!plain(raw, escaped, arena, name))
        return poly_no_memory(err);
    for (skip_space(c); look(c) == ':' || look(c) == ' '; skip_space(c))
        c->at++;
    *value = take_value(c);
    return POLY_OK;
}

/* Of an object: the cursor is behind its brace. */
static bool in_object(struct cursor *c)
{
    skip_space(c);
    if (look(c) != '{')
        return false;
    c->at++;
    return true;
}

enum poly_status poly_extract(struct poly_text json, const struct poly_extract_names *names,
                              struct poly_arena *arena, struct poly_text *texts,
                              struct poly_value *filters, struct poly_error *err)
{
    struct cursor c = {json.data, json.data + json.size};
    bool more = in_object(&c);

    memset(texts, 0, names->field_count * sizeof(*texts));
    memset(filters, 0, names->filter_count * sizeof(*filters));
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
    struct cursor c = {json.data, json.data + json.size};
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
    for (size_t i = 0; i + 1 < hex.size - 1; i += 2)
        bytes[i / 2] = (char)(hex_digit(hex.data[1 + i]) << 4 | hex_digit(hex.data[2 + i]));
    *value = poly_bytes(bytes, (hex.size - 2) / 2);
    return true;
}

enum poly_status poly_extract_one(struct poly_text json, const char *wanted,
                                  struct poly_arena *arena, struct poly_value *value,
                                  struct poly_error *err)
{
    struct cursor c = {json.data, json.data + json.size};
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
