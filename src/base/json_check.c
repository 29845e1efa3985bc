/*
 * Is it JSON? A state machine with one bit for each open bracket, so that no
 * text can make it use memory or stack. It runs before jansson, which reads
 * recursively, and alone where a text is only kept.
 *
 * The grammar is RFC 8259; see json.h for what is refused beyond it.
 */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/limits.h"
#include "base/utf8.h"

#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)

struct scan {
    const char *at, *end;
    uint64_t objects; /* bit n: level n is an object, not an array */
    int depth;
    size_t tree;         /* bytes that jansson would take, about */
    const char *problem; /* NULL: none */
};

/* What one of them costs there, beside its letters. */
enum { TREE_OBJECT = 224, TREE_ARRAY = 144, TREE_STRING = 80, TREE_NAME = 112, TREE_SCALAR = 48 };

enum state { VALUE, FIRST_VALUE, NAME, FIRST_NAME, AFTER };

_Static_assert(POLY_MAX_JSON_DEPTH <= 64, "a level is one bit of a word");

static bool refuse(struct scan *scan, const char *problem)
{
    scan->problem = problem;
    return false;
}

static int peek(const struct scan *scan)
{
    return scan->at < scan->end ? (unsigned char)*scan->at : -1;
}

static void skip_space(struct scan *scan)
{
    while (scan->at < scan->end &&
           (*scan->at == ' ' || *scan->at == '\n' || *scan->at == '\t' || *scan->at == '\r'))
        scan->at++;
}

/* Four hexadecimal digits; -1: they are none. */
static int hex4(struct scan *scan)
{
    int value = 0;

    for (int i = 0; i < 4; i++) {
        int c = peek(scan);
        int digit = c >= '0' && c <= '9'                   ? c - '0'
                    : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                           : -1;

        if (c < 0 || digit < 0)
            return -1;
        value = value << 4 | digit;
        scan->at++;
    }
    return value;
}

/* After the backslash. */
static bool check_escape(struct scan *scan)
{
    int c = peek(scan), code;

    if (c > 0 && strchr("\"\\/bfnrt", c) != NULL) {
        scan->at++;
        return true;
    }
    if (c != 'u')
        return refuse(scan, "unknown escape; known are \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX");
    scan->at++;
    code = hex4(scan);
    if (code < 0)
        return refuse(scan, "\\u needs four hexadecimal digits");
    if (code == 0)
        return refuse(scan, "NUL is not allowed in a string");
    if (code < 0xd800 || code > 0xdfff)
        return true;
    if (code < 0xdc00 && scan->end - scan->at >= 6 && memcmp(scan->at, "\\u", 2) == 0) {
        scan->at += 2;
        code = hex4(scan);
        if (code >= 0xdc00 && code <= 0xdfff)
            return true;
    }
    return refuse(scan, "half of a surrogate pair");
}

/* At the opening quote. */
static bool check_string(struct scan *scan)
{
    scan->at++;
    while (scan->at < scan->end) {
        size_t run = poly_utf8_plain(scan->at, (size_t)(scan->end - scan->at));

        scan->at += run;
        if (scan->at == scan->end)
            break;

        unsigned char c = (unsigned char)*scan->at;

        if (c == '"') {
            scan->at++;
            return true;
        }
        if (c < 0x20)
            return refuse(scan, "control character in a string; write it as \\uXXXX");
        if (c == '\\') {
            scan->at++;
            if (!check_escape(scan))
                return false;
            continue;
        }
        run = poly_utf8_character(scan->at, (size_t)(scan->end - scan->at));
        if (run == 0)
            return refuse(scan, "bytes that are not UTF-8");
        scan->at += run;
    }
    return refuse(scan, "the string does not end");
}

static size_t skip_digits(struct scan *scan)
{
    const char *start = scan->at;

    while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9')
        scan->at++;
    return (size_t)(scan->at - start);
}

static bool integer_fits(const char *text, const char *end)
{
    bool negative = *text == '-';
    int64_t value = 0;

    for (text += negative; text < end; text++) {
        int digit = negative ? '0' - *text : *text - '0';

        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, digit, &value))
            return false;
    }
    return true;
}

/*
 * Is it below what a double holds? Only with 309 digits before the point is
 * that a question; then those digits decide, as they are, without a point that
 * would depend on the locale.
 */
static bool real_fits(const char *text, const char *end)
{
    enum { DIGITS = 309 };
    char digits[DIGITS + 1];
    int count = 0;
    int64_t whole = 0, exponent = 0;
    bool point = false;

    for (text += *text == '-'; text < end && (*text | 0x20) != 'e'; text++) {
        if (*text == '.') {
            point = true;
            continue;
        }
        if (count > 0 || *text != '0') {
            whole += !point;
            if (count < DIGITS)
                digits[count++] = *text;
        } else {
            whole -= point;
        }
    }
    if (count == 0)
        return true;
    for (bool negative = text < end && text[1] == '-'; text < end; text++) {
        if (*text >= '0' && *text <= '9' && llabs(exponent) < INT_MAX)
            exponent = exponent * 10 + (negative ? '0' - *text : *text - '0');
    }
    if (whole + exponent != DIGITS)
        return whole + exponent < DIGITS;
    memset(digits + count, '0', (size_t)(DIGITS - count));
    digits[DIGITS] = '\0';
    return !isinf(strtod(digits, NULL));
}

static bool check_number(struct scan *scan)
{
    static const char malformed[] = "malformed number";
    const char *start = scan->at;
    bool real = false;

    if (peek(scan) == '-')
        scan->at++;
    if (peek(scan) == '0')
        scan->at++;
    else if (skip_digits(scan) == 0)
        return refuse(scan, malformed);
    if (peek(scan) == '.') {
        real = true;
        scan->at++;
        if (skip_digits(scan) == 0)
            return refuse(scan, malformed);
    }
    if (peek(scan) == 'e' || peek(scan) == 'E') {
        real = true;
        scan->at++;
        if (peek(scan) == '-' || peek(scan) == '+')
            scan->at++;
        if (skip_digits(scan) == 0)
            return refuse(scan, malformed);
    }
    if (real ? real_fits(start, scan->at) : integer_fits(start, scan->at))
        return true;
    scan->at = start;
    return refuse(scan, real ? "the number does not fit a double"
                             : "the integer does not fit 64 bits; send it as a string");
}

static bool check_word(struct scan *scan)
{
    static const char *const words[] = {"true", "false", "null"};

    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        size_t size = strlen(words[i]);

        if ((size_t)(scan->end - scan->at) >= size && memcmp(scan->at, words[i], size) == 0) {
            scan->at += size;
            return true;
        }
    }
    return refuse(scan, peek(scan) < 0 ? "the text ends too early" : "a value is expected here");
}

static bool open_level(struct scan *scan, bool object)
{
    if (scan->depth == POLY_MAX_JSON_DEPTH)
        return refuse(scan, "nested too deep; " TEXT(POLY_MAX_JSON_DEPTH) " levels are the most");

    uint64_t bit = UINT64_C(1) << scan->depth++;

    scan->objects = object ? scan->objects | bit : scan->objects & ~bit;
    scan->at++;
    return true;
}

static bool in_object(const struct scan *scan)
{
    return scan->objects >> (scan->depth - 1) & 1;
}

static bool check_value(struct scan *scan, enum state *state)
{
    int c = peek(scan);

    *state = AFTER;
    scan->tree += c == '{' ? TREE_OBJECT : c == '[' ? TREE_ARRAY : TREE_SCALAR;
    if (c == '{' || c == '[') {
        *state = c == '{' ? FIRST_NAME : FIRST_VALUE;
        return open_level(scan, c == '{');
    }
    if (c == '"') {
        const char *start = scan->at;
        bool good = check_string(scan);

        scan->tree += TREE_STRING - TREE_SCALAR + (size_t)(scan->at - start);
        return good;
    }
    return c == '-' || (c >= '0' && c <= '9') ? check_number(scan) : check_word(scan);
}

static bool check_name(struct scan *scan, enum state *state)
{
    const char *start = scan->at;

    *state = VALUE;
    if (peek(scan) != '"')
        return refuse(scan, "a name in double quotes is expected here");
    if (!check_string(scan))
        return false;
    scan->tree += TREE_NAME + (size_t)(scan->at - start);
    skip_space(scan);
    if (peek(scan) != ':')
        return refuse(scan, "':' is expected here");
    scan->at++;
    return true;
}

/* After a value inside brackets: the closing one, or a comma. */
static bool check_after(struct scan *scan, enum state *state)
{
    bool object = in_object(scan);

    if (peek(scan) == (object ? '}' : ']')) {
        scan->depth--;
        *state = AFTER;
    } else if (peek(scan) == ',') {
        *state = object ? NAME : VALUE;
    } else {
        return refuse(scan, object ? "',' or '}' is expected here" : "',' or ']' is expected here");
    }
    scan->at++;
    return true;
}

static bool check_text(struct scan *scan)
{
    enum state state = VALUE;
    bool good = true;

    do {
        skip_space(scan);
        if ((state == FIRST_NAME && peek(scan) == '}') ||
            (state == FIRST_VALUE && peek(scan) == ']'))
            state = AFTER;
        if (state == AFTER)
            good = check_after(scan, &state);
        else if (state == NAME || state == FIRST_NAME)
            good = check_name(scan, &state);
        else
            good = check_value(scan, &state);
    } while (good && (state != AFTER || scan->depth > 0));
    if (!good)
        return false;
    skip_space(scan);
    return scan->at == scan->end || refuse(scan, "there is more after the value");
}

enum poly_status poly_json_fail(struct poly_error *err, const char *text, size_t offset,
                                const char *problem)
{
    int line = 1, column = 1;

    for (size_t i = 0; i < offset; i++) {
        line += text[i] == '\n';
        column = text[i] == '\n' ? 1 : column + (((unsigned char)text[i] & 0xc0) != 0x80);
    }
    return poly_fail_at(err, POLY_INVALID, (int)offset, "JSON, line %d, column %d: %s", line,
                        column, problem);
}

enum poly_status poly_json_measure(const char *text, size_t size, size_t *tree,
                                   struct poly_error *err)
{
    if (size > INT_MAX)
        return poly_fail(err, POLY_LIMIT, "JSON: %zu bytes are too many", size);
    if (size == 0)
        return poly_json_fail(err, "", 0, "the text is empty");

    struct scan scan = {.at = text, .end = text + size};

    if (!check_text(&scan))
        return poly_json_fail(err, text, (size_t)(scan.at - text), scan.problem);
    *tree = scan.tree;
    return POLY_OK;
}

enum poly_status poly_json_check(const char *text, size_t size, struct poly_error *err)
{
    size_t tree;

    return poly_json_measure(text, size, &tree, err);
}
