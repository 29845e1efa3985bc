/*
 * The printer. Every answer of the daemon goes through here, so runs of plain
 * bytes are copied whole, numbers take the short way where it is exact, and
 * nothing depends on the locale. jansson only reads.
 */
#include "base/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

static const char hex[] = "0123456789abcdef";

static void escape(struct poly_buffer *buffer, unsigned char c)
{
    static const char letters[32] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};

    if (c == '"' || c == '\\' || letters[c & 31] != 0) {
        char text[2] = {'\\', c >= ' ' ? (char)c : letters[c]};

        poly_buffer_add(buffer, text, sizeof(text));
    } else {
        char text[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};

        poly_buffer_add(buffer, text, sizeof(text));
    }
}

/* Length of what can be printed as it is. */
static size_t unescaped(const char *data, size_t size)
{
    size_t run = 0, length;

    do {
        run += poly_utf8_plain(data + run, size - run);
        length = run < size && (unsigned char)data[run] >= 0x80
                     ? poly_utf8_character(data + run, size - run)
                     : 0;
        run += length;
    } while (length > 0);
    return run;
}

void poly_json_string(struct poly_buffer *buffer, const char *data, size_t size)
{
    poly_buffer_char(buffer, '"');
    while (size > 0) {
        size_t run = unescaped(data, size);

        poly_buffer_add(buffer, data, run);
        data += run;
        size -= run;
        if (size == 0)
            break;
        if ((unsigned char)*data >= 0x80)
            poly_buffer_add(buffer, "\xef\xbf\xbd", 3);
        else
            escape(buffer, (unsigned char)*data);
        data++;
        size--;
    }
    poly_buffer_char(buffer, '"');
}

static void print_integer(struct poly_buffer *buffer, int64_t integer)
{
    uint64_t rest = integer < 0 ? -(uint64_t)integer : (uint64_t)integer;
    char text[20], *start = text + sizeof(text);

    do {
        *--start = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (integer < 0)
        *--start = '-';
    poly_buffer_add(buffer, start, (size_t)(text + sizeof(text) - start));
}

/* A point for whatever the locale has there, and ".0" when it would read back as an integer. */
static size_t normalise(char *text)
{
    char *to = text;
    bool real = false;

    for (const char *from = text; *from != '\0'; from++) {
        bool number = (*from >= '0' && *from <= '9') || strchr("+-e", *from) != NULL;

        if (number || to == text || to[-1] != '.')
            *to++ = number ? *from : '.';
        real = real || !number || *from == 'e';
    }
    if (!real) {
        *to++ = '.';
        *to++ = '0';
    }
    return (size_t)(to - text);
}

static const char *infinity_name(double number)
{
    return number > 0 ? "{\"$float\":\"Infinity\"}" : "{\"$float\":\"-Infinity\"}";
}

/*
 * Prices and measures: a whole number of ten-thousandths. Such a quotient of two whole numbers is
 * the double nearest to its decimal, so the digits read back, and printf need not be asked.
 */
static bool print_decimal(struct poly_buffer *buffer, double number)
{
    double scaled = number * 1e4;
    int64_t whole;
    char digits[4];
    int count = 4;

    if (fabs(scaled) >= 1e15 || fabs(number) < 1e-4)
        return false;
    whole = (int64_t)(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
    if ((double)whole / 1e4 != number)
        return false;
    if (whole < 0) {
        poly_buffer_char(buffer, '-');
        whole = -whole;
    }
    print_integer(buffer, whole / 10000);
    whole %= 10000;
    for (int i = 3; i >= 0; i--, whole /= 10)
        digits[i] = (char)('0' + whole % 10);
    while (count > 1 && digits[count - 1] == '0')
        count--;
    poly_buffer_char(buffer, '.');
    poly_buffer_add(buffer, digits, (size_t)count);
    return true;
}

void poly_json_number(struct poly_buffer *buffer, double number)
{
    char text[48];

    if (isnan(number)) {
        poly_buffer_text(buffer, "null");
    } else if (isinf(number)) {
        poly_buffer_text(buffer, infinity_name(number));
    } else if (fabs(number) < 1e15 && (double)(int64_t)number == number &&
               !(number == 0 && signbit(number))) {
        print_integer(buffer, (int64_t)number);
        poly_buffer_add(buffer, ".0", 2);
    } else if (!print_decimal(buffer, number)) {
        for (int digits = 15; digits <= 17; digits++) {
            snprintf(text, sizeof(text), "%.*g", digits, number);
            if (strtod(text, NULL) == number)
                break;
        }
        poly_buffer_add(buffer, text, normalise(text));
    }
}

static void print_bytes(struct poly_buffer *buffer, struct poly_text bytes)
{
    char chunk[512];

    poly_buffer_text(buffer, "{\"$bytes\":\"");
    while (bytes.size > 0) {
        size_t count = bytes.size < sizeof(chunk) / 2 ? bytes.size : sizeof(chunk) / 2;

        for (size_t i = 0; i < count; i++) {
            unsigned char c = (unsigned char)bytes.data[i];

            chunk[2 * i] = hex[c >> 4];
            chunk[2 * i + 1] = hex[c & 15];
        }
        poly_buffer_add(buffer, chunk, 2 * count);
        bytes.data += count;
        bytes.size -= count;
    }
    poly_buffer_text(buffer, "\"}");
}

/* On one line, for JSON lines and event streams: a line end in JSON is always mere space. */
static void print_json(struct poly_buffer *buffer, struct poly_text json)
{
    if (json.size == 0)
        poly_buffer_text(buffer, "null");
    while (json.size > 0) {
        size_t run = 0;

        while (run < json.size && json.data[run] != '\n' && json.data[run] != '\r')
            run++;
        poly_buffer_add(buffer, json.data, run);
        if (run == json.size)
            break;
        poly_buffer_char(buffer, ' ');
        json.data += run + 1;
        json.size -= run + 1;
    }
}

static void print_quoted(struct poly_buffer *buffer, const char *text)
{
    poly_buffer_char(buffer, '"');
    poly_buffer_text(buffer, text);
    poly_buffer_char(buffer, '"');
}

void poly_json_value(struct poly_buffer *buffer, const struct poly_value *value)
{
    char text[40];

    switch (value->type) {
    case POLY_NULL:
        poly_buffer_add(buffer, "null", 4);
        break;
    case POLY_BOOL:
        poly_buffer_text(buffer, value->boolean ? "true" : "false");
        break;
    case POLY_INT:
        print_integer(buffer, value->integer);
        break;
    case POLY_FLOAT:
        poly_json_number(buffer, value->real);
        break;
    case POLY_TEXT:
        poly_json_string(buffer, value->text.data, value->text.size);
        break;
    case POLY_BYTES:
        print_bytes(buffer, value->text);
        break;
    case POLY_JSON:
        print_json(buffer, value->text);
        break;
    case POLY_TIME:
        poly_json_time(value->integer, text);
        print_quoted(buffer, text);
        break;
    case POLY_UUID:
        poly_uuid_format(value->uuid, text);
        print_quoted(buffer, text);
        break;
    }
}

void poly_json_row(struct poly_buffer *buffer, const struct poly_row *row)
{
    poly_buffer_char(buffer, '{');
    for (size_t i = 0; i < row->count; i++) {
        const struct poly_field *field = &row->fields[i];

        if (i > 0)
            poly_buffer_char(buffer, ',');
        poly_json_string(buffer, field->name, strlen(field->name));
        poly_buffer_char(buffer, ':');
        poly_json_value(buffer, &field->value);
    }
    poly_buffer_char(buffer, '}');
}

static void print_object(struct poly_buffer *buffer, const json_t *json)
{
    json_t *object = (json_t *)(uintptr_t)json; /* json_object_iter() wants it so; reads only */
    const char *between = "{";

    if (json_object_size(json) == 0)
        poly_buffer_char(buffer, '{');
    for (void *i = json_object_iter(object); i != NULL; i = json_object_iter_next(object, i)) {
        const char *name = json_object_iter_key(i);

        poly_buffer_text(buffer, between);
        poly_json_string(buffer, name, strlen(name));
        poly_buffer_char(buffer, ':');
        poly_json_tree(buffer, json_object_iter_value(i));
        between = ",";
    }
    poly_buffer_char(buffer, '}');
}

void poly_json_tree(struct poly_buffer *buffer, const json_t *json)
{
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        print_object(buffer, json);
        break;
    case JSON_ARRAY:
        poly_buffer_char(buffer, '[');
        for (size_t i = 0; i < json_array_size(json); i++) {
            if (i > 0)
                poly_buffer_char(buffer, ',');
            poly_json_tree(buffer, json_array_get(json, i));
        }
        poly_buffer_char(buffer, ']');
        break;
    case JSON_STRING:
        poly_json_string(buffer, json_string_value(json), json_string_length(json));
        break;
    case JSON_INTEGER:
        print_integer(buffer, json_integer_value(json));
        break;
    case JSON_REAL:
        poly_json_number(buffer, json_real_value(json));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        poly_buffer_text(buffer, json_is_true(json) ? "true" : "false");
        break;
    case JSON_NULL:
        poly_buffer_text(buffer, "null");
        break;
    }
}
