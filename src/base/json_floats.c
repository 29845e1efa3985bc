/*
 * Reading: most numbers have at most 19 digits and a small exponent. Such a number is a whole one
 * times or divided by an exact power of ten, as a double wrong by less than two of its last bits;
 * the single nearest to it is the right one unless it lies that near to the middle between two
 * singles. The rest goes to strtof(). Writing tries six to nine digits in the same way and reads
 * them back: what is printed is never another number.
 */
#include "base/json_floats.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXACT_POWER = 22, DIGITS_MAX = 19, DIGITS_LEAST = 6, DIGITS_MOST = 9, SLOW_MAX = 400 };

static const double powers[EXACT_POWER + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                               1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                               1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* --- reading --- */

/* A number as it was written: whole * 10^exponent. */
struct decimal {
    bool negative, cut; /* cut: digits were left out */
    uint64_t whole;
    int digits;
    int64_t exponent;
};

static const char *read_digits(const char *at, const char *end, bool fraction,
                               struct decimal *decimal)
{
    for (; at < end && *at >= '0' && *at <= '9'; at++) {
        if (decimal->digits < DIGITS_MAX) {
            decimal->whole = decimal->whole * 10 + (uint64_t)(*at - '0');
            decimal->digits += decimal->whole > 0;
            decimal->exponent -= fraction;
        } else {
            decimal->cut = decimal->cut || *at != '0';
            decimal->exponent += !fraction;
        }
    }
    return at;
}

static const char *read_exponent(const char *at, const char *end, struct decimal *decimal)
{
    bool negative = at < end && *at == '-';
    const char *digits = at + (at < end && (*at == '-' || *at == '+'));
    int64_t exponent = 0;

    for (at = digits; at < end && *at >= '0' && *at <= '9'; at++)
        exponent = exponent < 100000 ? exponent * 10 + (*at - '0') : exponent;
    decimal->exponent += negative ? -exponent : exponent;
    return at == digits ? NULL : at;
}

/* Behind the number; NULL: malformed. */
static const char *read_decimal(const char *at, const char *end, struct decimal *decimal)
{
    const char *start;

    *decimal = (struct decimal){.negative = at < end && *at == '-'};
    start = at += decimal->negative;
    at = read_digits(at, end, false, decimal);
    if (at == start || (*start == '0' && at > start + 1))
        return NULL;
    if (at < end && *at == '.') {
        start = at + 1;
        at = read_digits(start, end, true, decimal);
        if (at == start)
            return NULL;
    }
    if (at < end && (*at == 'e' || *at == 'E'))
        at = read_exponent(at + 1, end, decimal);
    return at;
}

/* The double is off by a little: does every one that near round to the same single? */
static bool is_sure(double value)
{
    uint64_t bits, low;

    memcpy(&bits, &value, sizeof(bits));
    low = bits & ((UINT64_C(1) << 29) - 1); /* what a single has not */
    return value >= (double)FLT_MIN && value <= (double)FLT_MAX &&
           (low < (UINT64_C(1) << 28) - 4 || low > (UINT64_C(1) << 28) + 4);
}

static bool slow(const char *text, const char *end, float *number)
{
    static _Atomic(locale_t) point; /* as the C locale has it, whatever the process has */
    char copy[SLOW_MAX + 1], *whole = copy;
    size_t size = (size_t)(end - text);
    locale_t c = point;

    if (c == NULL) {
        c = newlocale(LC_ALL_MASK, "C", NULL); /* glibc's own, of which there is one */
        point = c;
    }
    if (size > SLOW_MAX && (whole = malloc(size + 1)) == NULL)
        return false;
    memcpy(whole, text, size);
    whole[size] = '\0';
    *number = c == NULL ? INFINITY : strtof_l(whole, NULL, c);
    if (whole != copy)
        free(whole);
    return !isinf(*number);
}

bool poly_json_read_float(const char **at, const char *end, float *number)
{
    struct decimal decimal;
    const char *stop = read_decimal(*at, end, &decimal);

    if (stop == NULL)
        return false;
    if (decimal.whole == 0 && !decimal.cut) {
        *number = decimal.negative ? -0.0F : 0.0F;
        *at = stop;
        return true;
    }

    double value = (double)decimal.whole;
    bool fits = !decimal.cut && llabs(decimal.exponent) <= EXACT_POWER;

    if (fits && decimal.exponent < 0)
        value /= powers[-decimal.exponent];
    else if (fits)
        value *= powers[decimal.exponent];
    if (fits && is_sure(value))
        *number = (float)(decimal.negative ? -value : value);
    else if (!slow(*at, stop, number))
        return false;
    *at = stop;
    return true;
}

/* --- writing --- */

/* whole times 10^exponent, without zeros at the end. */
static int format(uint64_t whole, int exponent, char text[32])
{
    char room[20], *digits = room + sizeof(room);
    int count, size = 0, point;

    for (; whole > 0 && whole % 10 == 0; whole /= 10)
        exponent++;
    for (; whole > 0; whole /= 10)
        *--digits = (char)('0' + whole % 10);
    count = (int)(room + sizeof(room) - digits);
    point = count + exponent; /* digits before the point */
    if (point > 9 || point < -4) {
        text[size++] = digits[0];
        if (count > 1)
            text[size++] = '.';
        memcpy(text + size, digits + 1, (size_t)(count - 1));
        return size + count - 1 + snprintf(text + size + count - 1, 8, "e%d", point - 1);
    }
    if (point <= 0) {
        memcpy(text, "0.0000", (size_t)(2 - point));
        size = 2 - point;
    }
    for (int i = 0; i < count || i < point; i++) {
        if (i == point && point > 0)
            text[size++] = '.';
        text[size++] = i < count ? digits[i] : '0';
    }
    return size;
}

static bool reads_back(const char *text, int size, float number)
{
    const char *at = text;
    float back;

    return poly_json_read_float(&at, text + size, &back) && back == number;
}

/* Into 32 bytes; 0: it has to be done the slow way. */
static int shortest(float number, char text[32])
{
    int high = (int)floor(log10((double)number));

    for (int digits = DIGITS_LEAST; digits <= DIGITS_MOST; digits++) {
        int shift = digits - 1 - high;
        double value = number;

        if (abs(shift) > EXACT_POWER)
            return 0;
        value = shift < 0 ? value / powers[-shift] : value * powers[shift];

        int size = format((uint64_t)llround(value), -shift, text);

        if (reads_back(text, size, number))
            return size;
    }
    return 0;
}

void poly_json_float(struct poly_buffer *buffer, float number)
{
    char text[40];
    int size;

    if (isnan(number) || isinf(number)) {
        poly_buffer_add(buffer, "null", 4);
        return;
    }
    if (signbit(number))
        poly_buffer_char(buffer, '-');
    number = fabsf(number);
    size = number == 0.0F ? snprintf(text, sizeof(text), "0") : shortest(number, text);
    if (size == 0) {
        size = snprintf(text, sizeof(text), "%.8e", (double)number);
        for (int i = 0; i < size; i++) /* whatever the locale has for a point, it is one byte */
            text[i] = (text[i] >= '0' && text[i] <= '9') || strchr("+-e", text[i]) != NULL ? text[i]
                                                                                           : '.';
    }
    poly_buffer_add(buffer, text, (size_t)size);
}

void poly_json_floats(struct poly_buffer *buffer, const float *numbers, size_t count)
{
    poly_buffer_char(buffer, '[');
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            poly_buffer_char(buffer, ',');
        poly_json_float(buffer, numbers[i]);
    }
    poly_buffer_char(buffer, ']');
}

/* --- taking arrays out of a text --- */

struct taking {
    const struct poly_floats_place *place;
    struct poly_arena *arena;
    struct poly_buffer rest;
    const char *kept; /* up to here it was copied, or left out */
    struct poly_floats *arrays;
    size_t count, room;
    bool no_memory;
};

static const char *skip_space(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r'))
        at++;
    return at;
}

/* Behind the string at its opening quote, or the end. *escaped: it has a backslash. */
static const char *skip_string(const char *at, const char *end, bool *escaped)
{
    *escaped = false;
    for (at++; at < end && *at != '"'; at++)
        if (*at == '\\' && at + 1 < end) {
            *escaped = true;
            at++;
        }
    return at < end ? at + 1 : end;
}

/* How many numbers at most: there is a comma between two. */
static size_t count_items(const char *at, const char *stop)
{
    size_t count = 1;

    for (; at < stop; at++)
        count += *at == ',';
    return count;
}

static bool read_numbers(const char *at, const char *stop, float *numbers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        at = skip_space(at, stop);
        if (!poly_json_read_float(&at, stop, &numbers[i]))
            return false;
        at = skip_space(at, stop);
        if (i + 1 < count && (at == stop || *at++ != ','))
            return false;
    }
    return at == stop;
}

static bool add_array(struct taking *taking, const float *numbers, size_t count)
{
    if (taking->count == taking->room) {
        size_t room = taking->room == 0 ? 1 : 4 * taking->room;
        struct poly_floats *more = poly_arena_array(taking->arena, room, sizeof(*more));

        if (more == NULL)
            return false;
        if (taking->count > 0)
            memcpy(more, taking->arrays, taking->count * sizeof(*more));
        taking->arrays = more;
        taking->room = room;
    }
    taking->arrays[taking->count++] = (struct poly_floats){numbers, count};
    return true;
}

/* At an opening bracket: behind the array when it was taken, or where it was. */
static const char *take_array(struct taking *taking, const char *at, const char *end)
{
    const char *stop = memchr(at, ']', (size_t)(end - at));
    size_t count = stop == NULL ? 0 : count_items(at, stop);
    struct poly_arena_mark mark = poly_arena_mark(taking->arena);
    float *numbers;

    if (count == 0 || count > taking->place->max)
        return at;
    numbers = poly_arena_array(taking->arena, count, sizeof(*numbers));
    if (numbers == NULL) {
        taking->no_memory = true;
        return at;
    }
    if (!read_numbers(at + 1, stop, numbers, count)) {
        poly_arena_rewind(taking->arena, mark);
        return at;
    }
    poly_buffer_add(&taking->rest, taking->kept, (size_t)(at - taking->kept));
    poly_buffer_printf(&taking->rest, "[%zu]", taking->count);
    taking->kept = stop + 1;
    taking->no_memory = !add_array(taking, numbers, count);
    return stop + 1;
}

/* At a string: behind it, or behind the array that is its value. *escaped: a name that might be
 * the one that is meant, written in another way. */
static const char *take_member(struct taking *taking, const char *at, const char *end, int depth,
                               bool *escaped)
{
    const char *name = at + 1, *value;
    size_t size;

    at = skip_string(at, end, escaped);
    value = depth == taking->place->depth ? skip_space(at, end) : end;
    if (value == end || *value != ':') {
        *escaped = false;
        return at;
    }
    size = (size_t)(at - name) - 1;
    if (size != strlen(taking->place->name) || memcmp(name, taking->place->name, size) != 0)
        return at;
    value = skip_space(value + 1, end);
    return value < end && *value == '[' ? take_array(taking, value, end) : at;
}

/* False: an escaped name; nothing may be taken. */
static bool take_all(struct taking *taking, const char *at, const char *end)
{
    bool escaped = false;

    for (int depth = 0; at < end && !escaped && !taking->no_memory;) {
        if (*at == '"') {
            at = take_member(taking, at, end, depth, &escaped);
            continue;
        }
        depth += (*at == '{' || *at == '[') - (*at == '}' || *at == ']');
        at++;
    }
    return !escaped;
}

enum poly_status poly_json_take_floats(struct poly_text text, const struct poly_floats_place *place,
                                       struct poly_arena *arena, struct poly_floats_taken *taken,
                                       struct poly_error *err)
{
    struct taking taking = {.place = place, .arena = arena, .kept = text.data};
    const char *end = text.data + text.size;
    const char *copy = NULL;
    bool all;

    *taken = (struct poly_floats_taken){.text = text};
    poly_buffer_init(&taking.rest, 3 * text.size + 64); /* [9999] for [1] */
    all = take_all(&taking, text.data, end);
    if (all && taking.count > 0) {
        poly_buffer_add(&taking.rest, taking.kept, (size_t)(end - taking.kept));
        copy = poly_buffer_ok(&taking.rest)
                   ? poly_arena_copy(arena, taking.rest.data, taking.rest.size)
                   : NULL;
        taking.no_memory = taking.no_memory || copy == NULL;
    }
    if (copy != NULL)
        *taken = (struct poly_floats_taken){{copy, taking.rest.size}, taking.arrays, taking.count};
    poly_buffer_release(&taking.rest);
    return taking.no_memory ? poly_no_memory(err) : POLY_OK;
}
