/*
 * RFC 3339 and back, without the C library: gmtime() and timegm() know neither
 * microseconds nor offsets, and reading must refuse what only looks like a date.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"

static const int64_t second = 1000000, day = INT64_C(86400) * 1000000;
static const int64_t first = INT64_C(-62167219200) * 1000000;    /* 0000-01-01 */
static const int64_t after_last = INT64_C(253402300800) * 1000000; /* 10000-01-01 */

/* Days of the proleptic Gregorian calendar from 0000-03-01, where a leap day ends a year. */
static int64_t days_of(int year, int month, int dom)
{
    int y = month > 2 ? year : year - 1, m = month > 2 ? month - 3 : month + 9;
    int64_t leaps = y >= 0 ? y / 4 - y / 100 + y / 400 : -1;

    return (int64_t)y * 365 + leaps + (153 * m + 2) / 5 + dom - 1;
}

/* from 0000-03-01 to 1970-01-01 */
enum { EPOCH = 719468 };

static int days_in(int year, int month)
{
    static const char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    return month == 2 && leap ? 29 : days[month - 1];
}

struct date {
    int year, month, day;
};

static struct date date_of(int64_t days)
{
    struct date date = {(int)((days * 400 + 146096) / 146097) - 2, 12, 0};

    while (days_of(date.year + 1, 1, 1) <= days)
        date.year++;
    while (days_of(date.year, date.month, 1) > days)
        date.month--;
    date.day = (int)(days - days_of(date.year, date.month, 1)) + 1;
    return date;
}

static void print(char *to, int64_t number, int digits)
{
    while (digits-- > 0) {
        to[digits] = (char)('0' + number % 10);
        number /= 10;
    }
}

void poly_json_time(int64_t microseconds, char text[28])
{
    int64_t time = microseconds < first         ? first
                   : microseconds >= after_last ? after_last - 1
                                                : microseconds;
    int64_t days = time / day - (time % day < 0), rest = time - days * day;
    struct date date = date_of(days + EPOCH);

    memcpy(text, "0000-00-00T00:00:00.000000Z", 28);
    print(text, date.year, 4);
    print(text + 5, date.month, 2);
    print(text + 8, date.day, 2);
    print(text + 11, rest / second / 3600, 2);
    print(text + 14, rest / second / 60 % 60, 2);
    print(text + 17, rest / second % 60, 2);
    print(text + 20, rest % second, 6);
}

/* Reads exactly so many digits. */
static bool number(const char **text, int digits, int max, int *result)
{
    int value = 0;

    for (int i = 0; i < digits; i++) {
        char c = (*text)[i];

        if (c < '0' || c > '9')
            return false;
        value = value * 10 + (c - '0');
    }
    *text += digits;
    *result = value;
    return value <= max;
}

static bool character(const char **text, const char *any)
{
    if (**text == '\0' || strchr(any, **text) == NULL)
        return false;
    ++*text;
    return true;
}

/* Digits beyond the microsecond are dropped. */
static bool fraction(const char **text, int *microseconds)
{
    int digits = 0;

    *microseconds = 0;
    if (!character(text, "."))
        return true;
    for (; **text >= '0' && **text <= '9'; ++*text, digits++) {
        if (digits < 6)
            *microseconds = *microseconds * 10 + (**text - '0');
    }
    for (int i = digits; i < 6; i++)
        *microseconds *= 10;
    return digits > 0 && digits <= 9;
}

static bool zone(const char **text, int64_t *seconds)
{
    int hours, minutes, sign = **text == '-' ? -1 : 1;

    *seconds = 0;
    if (character(text, "Zz"))
        return true;
    if (!character(text, "+-") || !number(text, 2, 23, &hours) || !character(text, ":") ||
        !number(text, 2, 59, &minutes))
        return false;
    *seconds = sign * (hours * 3600 + minutes * 60);
    return true;
}

static bool parse(const char *text, int64_t *microseconds)
{
    int year, month, dom, hour, minute, seconds, micro;
    int64_t offset;

    if (!number(&text, 4, 9999, &year) || !character(&text, "-") ||
        !number(&text, 2, 12, &month) || !character(&text, "-") || month == 0 ||
        !number(&text, 2, days_in(year, month), &dom) || dom == 0 || !character(&text, "Tt ") ||
        !number(&text, 2, 23, &hour) || !character(&text, ":") ||
        !number(&text, 2, 59, &minute) || !character(&text, ":") ||
        !number(&text, 2, 60, &seconds) || !fraction(&text, &micro) || !zone(&text, &offset) ||
        *text != '\0')
        return false;

    int64_t time = (days_of(year, month, dom) - EPOCH) * 86400 + hour * 3600 + minute * 60 +
                   seconds - offset;

    if (time * second < first || time * second >= after_last)
        return false;
    *microseconds = time * second + micro;
    return true;
}

enum poly_status poly_json_parse_time(const char *text, int64_t *microseconds,
                                      struct poly_error *err)
{
    if (text == NULL || !parse(text, microseconds))
        return poly_fail(err, POLY_INVALID,
                         "'%.64s' is no time; it looks like 2026-11-21T03:20:00.123456Z",
                         text == NULL ? "" : text);
    return POLY_OK;
}
