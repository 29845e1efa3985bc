/*
 * The walk that filling an index, and looking at a path in a column, have in common: forward only,
 * one value after the other, strings as they stand until somebody asks what they mean.
 */
#include "base/json_walk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"

void poly_json_skip_space(struct poly_json_cursor *c)
{
    while (!poly_json_done(c) &&
           (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r'))
        c->at++;
}

struct poly_text poly_json_take_string(struct poly_json_cursor *c, bool *escaped)
{
    struct poly_text text = {++c->at, 0};
    size_t left = poly_json_done(c) ? 0 : (size_t)(c->end - c->at);
    const char *quote = memchr(c->at, '"', left);

    /* Most have no escapes, and some are long: a vector's bytes for instance. */
    *escaped = false;
    if (quote != NULL && memchr(c->at, '\\', (size_t)(quote - c->at)) == NULL)
        c->at = quote;
    while (!poly_json_done(c) && *c->at != '"') {
        if (*c->at == '\\') {
            *escaped = true;
            c->at++;
        }
        c->at++;
    }
    if (c->at > c->end)
        c->at = c->end;
    text.size = (size_t)(c->at - text.data);
    if (!poly_json_done(c))
        c->at++;
    return text;
}

bool poly_json_in_scalar(char c)
{
    return c != '\0' && c != ',' && c != '}' && c != ']' && c != '"' && c != '{' && c != '[' &&
           c != ':' && c != ' ' && c != '\n' && c != '\t' && c != '\r';
}

struct poly_text poly_json_take_value(struct poly_json_cursor *c)
{
    struct poly_text text = {c->at, 0};
    int depth = 0;

    do {
        bool escaped;
        char first = poly_json_look(c);

        if (first == '"') {
            poly_json_take_string(c, &escaped);
        } else if (first == '{' || first == '[') {
            depth++;
            c->at++;
        } else if (first == '}' || first == ']') {
            depth--;
            c->at++;
        } else if (poly_json_in_scalar(first)) {
            while (poly_json_in_scalar(poly_json_look(c)))
                c->at++;
        } else if (!poly_json_done(c)) {
            c->at++;
        }
    } while (depth > 0 && !poly_json_done(c));
    text.size = (size_t)(c->at - text.data);
    return text;
}

/* --- strings with escapes --- */

/* One more than the digit: all that are none are 0. */
static const uint8_t hexadecimal[256] = {
    ['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
    ['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16};

static unsigned digit(char c)
{
    return hexadecimal[(unsigned char)c] - 1U;
}

bool poly_json_unhex(struct poly_text hex, char *out)
{
    unsigned all = 0;

    for (size_t i = 0; i + 1 < hex.size; i += 2) {
        unsigned byte = digit(hex.data[i]) << 4 | digit(hex.data[i + 1]);

        all |= byte;
        out[i / 2] = (char)byte;
    }
    return hex.size % 2 == 0 && all <= 0xFF;
}

static unsigned hex4(const char *s)
{
    unsigned value = 0;

    for (int i = 0; i < 4; i++)
        value = value << 4 | (digit(s[i]) & 15);
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

char *poly_json_unescape(struct poly_text text, char *out)
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

bool poly_json_is_number(struct poly_text value)
{
    return value.size > 0 &&
           (value.data[0] == '-' || (value.data[0] >= '0' && value.data[0] <= '9'));
}

bool poly_json_to_integer(struct poly_text value, int64_t *integer)
{
    char digits[24];
    char *end;

    if (!poly_json_is_number(value) || value.size >= sizeof(digits))
        return false;
    memcpy(digits, value.data, value.size);
    digits[value.size] = '\0';
    errno = 0;
    *integer = strtoll(digits, &end, 10);
    return errno == 0 && *end == '\0';
}

bool poly_json_take_member(struct poly_json_cursor *c, struct poly_text *name, bool *escaped,
                           struct poly_text *value)
{
    if (poly_json_look(c) != '"')
        return false;
    *name = poly_json_take_string(c, escaped);
    for (poly_json_skip_space(c); poly_json_look(c) == ':'; poly_json_skip_space(c))
        c->at++;
    *value = poly_json_take_value(c);
    poly_json_skip_space(c);
    if (poly_json_look(c) == ',')
        c->at++;
    poly_json_skip_space(c);
    return true;
}

/* --- paths --- */

/* [3] or [#-1]: its length; 0: it is neither. */
static size_t index_length(const char *p)
{
    const char *digits = strncmp(p + 1, "#-", 2) == 0 ? p + 3 : p + 1;
    size_t span = strspn(digits, "0123456789");

    if (span == 0 || span > 9 || digits[span] != ']')
        return 0;
    return (size_t)(digits - p) + span + 1;
}

/* The step at p, and what it names (of .name and ."name"). Returns its length; 0: it is none. */
static size_t step(const char *p, struct poly_text *name)
{
    size_t span;

    if (p[0] == '[')
        return index_length(p);
    if (p[0] != '.')
        return 0;
    if (p[1] == '"') {
        span = strcspn(p + 2, "\"");
        *name = (struct poly_text){p + 2, span};
        return span == 0 || p[2 + span] != '"' ? 0 : span + 3;
    }
    span = strcspn(p + 1, ".[\"");
    *name = (struct poly_text){p + 1, span};
    return span == 0 ? 0 : span + 1;
}

bool poly_json_path_valid(const char *path)
{
    struct poly_text name;
    size_t length;

    if (path[0] != '$' || strnlen(path, POLY_MAX_PATH + 1) > POLY_MAX_PATH)
        return false;
    for (const char *p = path + 1; *p != '\0'; p += length) {
        length = step(p, &name);
        if (length == 0)
            return false;
    }
    return true;
}

static bool same(struct poly_text raw, bool escaped, struct poly_text name)
{
    char plain[6 * POLY_MAX_PATH];

    if (escaped) { /* an escape has at most six characters for each byte that it means */
        if (raw.size > sizeof(plain))
            return false;
        raw.size = (size_t)(poly_json_unescape(raw, plain) - plain);
        raw.data = plain;
    }
    return raw.size == name.size && memcmp(raw.data, name.data, name.size) == 0;
}

static bool find_member(struct poly_text *value, struct poly_text wanted)
{
    struct poly_json_cursor c = poly_json_begin(*value);
    struct poly_text name;
    bool escaped;

    if (poly_json_look(&c) != '{')
        return false;
    c.at++;
    poly_json_skip_space(&c);
    while (poly_json_take_member(&c, &name, &escaped, value))
        if (same(name, escaped, wanted))
            return true;
    return false;
}

/* The element of that number, or how many there are. */
static size_t walk_elements(struct poly_text array, size_t wanted, struct poly_text *element)
{
    struct poly_json_cursor c = poly_json_begin(array);
    size_t count = 0;

    c.at++;
    for (poly_json_skip_space(&c); !poly_json_done(&c) && *c.at != ']'; poly_json_skip_space(&c)) {
        *element = poly_json_take_value(&c);
        if (count++ == wanted)
            break;
        poly_json_skip_space(&c);
        if (poly_json_look(&c) == ',')
            c.at++;
    }
    return count;
}

static bool find_element(struct poly_text *value, const char *p)
{
    struct poly_text array = *value;
    bool from_end = p[1] == '#';
    size_t number = strtoul(from_end ? p + 3 : p + 1, NULL, 10);

    if (array.size == 0 || array.data[0] != '[')
        return false;
    if (from_end) {
        size_t count = walk_elements(array, SIZE_MAX, value);

        if (number == 0 || number > count)
            return false;
        number = count - number;
    }
    return walk_elements(array, number, value) == number + 1;
}

bool poly_json_path_find(struct poly_text json, const char *path, struct poly_text *value)
{
    struct poly_json_cursor c = poly_json_begin(json);
    struct poly_text at, name;
    size_t length;

    poly_json_skip_space(&c);
    at = poly_json_take_value(&c);
    for (const char *p = path + 1; *p != '\0'; p += length) {
        length = step(p, &name);
        if (length == 0 || !(p[0] == '[' ? find_element(&at, p) : find_member(&at, name)))
            return false;
    }
    *value = at;
    return at.size > 0;
}
