/*
 * Columns. libpq asks for all columns of a result in binary or for none, so a
 * statement whose every column has a binary form that is read here comes in
 * binary; one with any other type (arrays, ranges, intervals, enumerations …)
 * comes as text as a whole, and is read as text. The readers look at each
 * column's format, so callers need not know.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/postgres_inside.h"

bool poly_pg_readable(Oid type)
{
    switch (type) {
    case PG_BOOL:
    case PG_BYTEA:
    case PG_CHAR:
    case PG_NAME:
    case PG_INT8:
    case PG_INT2:
    case PG_INT4:
    case PG_TEXT:
    case PG_OID:
    case PG_JSON:
    case PG_FLOAT4:
    case PG_FLOAT8:
    case PG_UNKNOWN:
    case PG_BPCHAR:
    case PG_VARCHAR:
    case PG_DATE:
    case PG_TIMESTAMP:
    case PG_TIMESTAMPTZ:
    case PG_NUMERIC:
    case PG_VOID:
    case PG_UUID:
    case PG_LSN:
    case PG_JSONB:
    case PG_XID8:
        return true;
    default:
        return false;
    }
}

bool poly_pg_all_readable(const PGresult *described)
{
    int count = PQnfields(described);

    for (int i = 0; i < count; i++)
        if (!poly_pg_readable(PQftype(described, i)))
            return false;
    return true;
}

/* All columns or none: nothing else can be asked for. */
static bool is_binary(const PGresult *result)
{
    return PQbinaryTuples(result) != 0;
}

/* --- readers of one type --- */

int64_t poly_pg_int(const PGresult *result, int row, int column)
{
    const char *data = PQgetvalue(result, row, column);

    if (data == NULL)
        return 0;
    if (!is_binary(result))
        return *data == 't' ? 1 : strtoll(data, NULL, 10);
    switch (PQgetlength(result, row, column)) {
    case 8:
        return (int64_t)poly_pg_get64(data);
    case 4:
        return PQftype(result, column) == PG_OID ? (int64_t)poly_pg_get32(data)
                                                 : (int32_t)poly_pg_get32(data);
    case 2:
        return (int16_t)poly_pg_get16(data);
    case 1:
        return *data;
    default:
        return 0;
    }
}

static double real32(const char *data)
{
    uint32_t bits = poly_pg_get32(data);
    float real;

    memcpy(&real, &bits, sizeof(real));
    return (double)real;
}

static double real64(const char *data)
{
    uint64_t bits = poly_pg_get64(data);
    double real;

    memcpy(&real, &bits, sizeof(real));
    return real;
}

double poly_pg_float(const PGresult *result, int row, int column)
{
    const char *data = PQgetvalue(result, row, column);

    if (data == NULL)
        return 0;
    if (!is_binary(result))
        return strtod(data, NULL);
    switch (PQgetlength(result, row, column)) {
    case 8:
        return real64(data);
    case 4:
        return real32(data);
    default:
        return 0;
    }
}

bool poly_pg_bool(const PGresult *result, int row, int column)
{
    return poly_pg_int(result, row, column) != 0;
}

struct poly_text poly_pg_text(const PGresult *result, int row, int column)
{
    const char *data = PQgetvalue(result, row, column);
    struct poly_text text = {data, (size_t)PQgetlength(result, row, column)};

    if (data == NULL)
        return (struct poly_text){"", 0};
    if (*data == 1 && PQftype(result, column) == PG_JSONB && is_binary(result)) {
        text.data++; /* its version */
        text.size--;
    }
    return text;
}

struct poly_text poly_pg_bytes(const PGresult *result, int row, int column)
{
    const char *data = PQgetvalue(result, row, column);

    return (struct poly_text){data == NULL ? "" : data,
                              data == NULL ? 0 : (size_t)PQgetlength(result, row, column)};
}

/* --- times --- */

static int64_t from_epoch(int64_t since)
{
    int64_t time;

    return __builtin_add_overflow(since, PG_EPOCH, &time) ? INT64_MAX : time;
}

/* The text of a timestamp is ISO with a space where RFC 3339 has a T. */
static bool parse_time(const char *data, int64_t *time)
{
    char text[64];
    size_t size = strlen(data);

    if (size < 11 || size > sizeof(text) - 5)
        return false;
    memcpy(text, data, size + 1);
    if (text[10] == ' ')
        text[10] = 'T';

    char *zone = strpbrk(text + 11, "+-");

    if (zone == NULL)
        memcpy(text + size, "Z", 2);
    else if (strlen(zone) == 3)
        memcpy(text + size, ":00", 4);
    return poly_json_parse_time(text, time, NULL) == POLY_OK;
}

int64_t poly_pg_time(const PGresult *result, int row, int column)
{
    const char *data = PQgetvalue(result, row, column);
    int64_t time = 0;

    if (data == NULL)
        return 0;
    if (!is_binary(result))
        return parse_time(data, &time) ? time : 0;
    return PQgetlength(result, row, column) == 8 ? from_epoch((int64_t)poly_pg_get64(data)) : 0;
}

/* --- any type --- */

struct cell {
    const char *data;
    size_t size;
    struct poly_arena *arena;
    struct poly_value *value;
};

static bool copied(const struct cell *cell, const char *text, size_t size)
{
    cell->value->type = POLY_TEXT;
    cell->value->text.data = poly_arena_copy(cell->arena, text, size);
    cell->value->text.size = size;
    return cell->value->text.data != NULL;
}

static bool view(const struct cell *cell, enum poly_type type)
{
    cell->value->type = type;
    cell->value->text = (struct poly_text){cell->data, cell->size};
    return true;
}

static bool whole(const struct cell *cell, int64_t number)
{
    *cell->value = poly_int(number);
    return true;
}

static bool real(const struct cell *cell, double number)
{
    *cell->value = isnan(number) ? poly_null() : poly_float(number);
    return true;
}

static bool moment(const struct cell *cell, int64_t since)
{
    if (since == INT64_MAX || since == INT64_MIN)
        return copied(cell, since < 0 ? "-infinity" : "infinity", since < 0 ? 9 : 8);
    *cell->value = poly_time(from_epoch(since));
    return true;
}

static bool date(const struct cell *cell, int32_t days)
{
    char text[28];
    int64_t time;

    if (days == INT32_MAX || days == INT32_MIN)
        return copied(cell, days < 0 ? "-infinity" : "infinity", days < 0 ? 9 : 8);
    time = PG_EPOCH + days * INT64_C(86400000000);
    poly_json_time(time, text);
    return copied(cell, text, 10);
}

static bool unique(const struct cell *cell)
{
    cell->value->type = POLY_UUID;
    memcpy(cell->value->uuid, cell->data, 16);
    return true;
}

enum {
    DIGITS = 4,
    NEGATIVE = 0x4000,
    NAN_SIGN = 0xc000,
    PLUS_INFINITY = 0xd000,
    MINUS_INFINITY = 0xf000
};

/* The digits of a numeric: groups of four, the first of which counts weight groups before the
 * point. */
static size_t print_groups(const char *groups, int count, int weight, int scale, char *to)
{
    size_t size = 0;
    char text[8];

    for (int i = 0; i <= weight; i++) {
        int group = i < count ? poly_pg_get16(groups + 2 * i) : 0;

        size += (size_t)snprintf(to + size, 8, size == 0 ? "%d" : "%04d", group % 10000);
    }
    if (weight < 0)
        to[size++] = '0';
    if (scale == 0)
        return size;
    to[size++] = '.';
    for (int i = weight + 1; scale > 0; i++, scale -= DIGITS) {
        int group = i >= 0 && i < count ? poly_pg_get16(groups + 2 * i) : 0;
        int some = scale < DIGITS ? scale : DIGITS;

        snprintf(text, sizeof(text), "%04d", group % 10000);
        memcpy(to + size, text, (size_t)some);
        size += (size_t)some;
    }
    return size;
}

static bool numeric(const struct cell *cell)
{
    int count, weight, sign, scale;
    char *text;
    size_t size;

    if (cell->size < 8)
        return view(cell, POLY_BYTES);
    count = poly_pg_get16(cell->data);
    weight = (int16_t)poly_pg_get16(cell->data + 2);
    sign = poly_pg_get16(cell->data + 4);
    scale = poly_pg_get16(cell->data + 6);
    if (sign == NAN_SIGN) {
        *cell->value = poly_null();
        return true;
    }
    if (sign == PLUS_INFINITY || sign == MINUS_INFINITY)
        return real(cell, sign == PLUS_INFINITY ? INFINITY : -INFINITY);
    if (cell->size < 8 + 2 * (size_t)count)
        return view(cell, POLY_BYTES);
    text = poly_arena_alloc(cell->arena,
                            (size_t)(weight < 0 ? 0 : weight + 1) * DIGITS + (size_t)scale + 16);
    if (text == NULL)
        return false;
    size = sign == NEGATIVE ? 1 : 0;
    text[0] = '-';
    size += print_groups(cell->data + 8, count, weight, scale, text + size);
    text[size] = '\0';
    cell->value->type = POLY_TEXT;
    cell->value->text = (struct poly_text){text, size};
    return true;
}

static bool position(const struct cell *cell)
{
    char text[24];
    uint64_t lsn = poly_pg_get64(cell->data);
    int size =
        snprintf(text, sizeof(text), "%" PRIX32 "/%" PRIX32, (uint32_t)(lsn >> 32), (uint32_t)lsn);

    return copied(cell, text, (size_t)size);
}

/* How many bytes a value of that type has; 0: any number. */
static size_t size_of(Oid type)
{
    switch (type) {
    case PG_BOOL:
        return 1;
    case PG_INT2:
        return 2;
    case PG_INT4:
    case PG_OID:
    case PG_FLOAT4:
    case PG_DATE:
        return 4;
    case PG_INT8:
    case PG_XID8:
    case PG_FLOAT8:
    case PG_TIMESTAMP:
    case PG_TIMESTAMPTZ:
    case PG_LSN:
        return 8;
    case PG_UUID:
        return 16;
    default:
        return 0;
    }
}

static bool read_binary(const struct cell *cell, Oid type)
{
    switch (type) {
    case PG_BOOL:
        *cell->value = poly_bool(*cell->data != 0);
        return true;
    case PG_INT2:
        return whole(cell, (int16_t)poly_pg_get16(cell->data));
    case PG_INT4:
        return whole(cell, (int32_t)poly_pg_get32(cell->data));
    case PG_OID:
        return whole(cell, poly_pg_get32(cell->data));
    case PG_INT8:
    case PG_XID8:
        return whole(cell, (int64_t)poly_pg_get64(cell->data));
    case PG_FLOAT4:
        return real(cell, real32(cell->data));
    case PG_FLOAT8:
        return real(cell, real64(cell->data));
    case PG_TIMESTAMP:
    case PG_TIMESTAMPTZ:
        return moment(cell, (int64_t)poly_pg_get64(cell->data));
    case PG_DATE:
        return date(cell, (int32_t)poly_pg_get32(cell->data));
    case PG_UUID:
        return unique(cell);
    case PG_NUMERIC:
        return numeric(cell);
    case PG_LSN:
        return position(cell);
    case PG_BYTEA:
        return view(cell, POLY_BYTES);
    case PG_JSON:
    case PG_JSONB:
        return view(cell, POLY_JSON);
    default:
        return view(cell, POLY_TEXT);
    }
}

static bool read_hex(const struct cell *cell)
{
    size_t size = cell->size < 2 ? 0 : (cell->size - 2) / 2;
    char *bytes = poly_arena_alloc(cell->arena, size + 1);

    if (bytes == NULL)
        return false;
    for (size_t i = 0; i < size; i++) {
        char digits[3] = {cell->data[2 + 2 * i], cell->data[3 + 2 * i], '\0'};

        bytes[i] = (char)strtoul(digits, NULL, 16);
    }
    cell->value->type = POLY_BYTES;
    cell->value->text = (struct poly_text){bytes, size};
    return true;
}

static bool read_text(const struct cell *cell, Oid type)
{
    int64_t time;

    switch (type) {
    case PG_BOOL:
        *cell->value = poly_bool(*cell->data == 't');
        return true;
    case PG_INT2:
    case PG_INT4:
    case PG_OID:
    case PG_INT8:
    case PG_XID8:
        return whole(cell, strtoll(cell->data, NULL, 10));
    case PG_FLOAT4:
        return real(cell, (double)strtof(cell->data, NULL));
    case PG_FLOAT8:
        return real(cell, strtod(cell->data, NULL));
    case PG_NUMERIC:
        if (strstr(cell->data, "Inf") != NULL || strcmp(cell->data, "NaN") == 0)
            return real(cell, strtod(cell->data, NULL));
        return view(cell, POLY_TEXT);
    case PG_TIMESTAMP:
    case PG_TIMESTAMPTZ:
        if (!parse_time(cell->data, &time))
            return view(cell, POLY_TEXT);
        *cell->value = poly_time(time);
        return true;
    case PG_UUID:
        return poly_uuid_parse(cell->data, cell->value, NULL) == POLY_OK || view(cell, POLY_TEXT);
    case PG_BYTEA:
        return read_hex(cell);
    case PG_JSON:
    case PG_JSONB:
        return view(cell, POLY_JSON);
    default:
        return view(cell, POLY_TEXT);
    }
}

enum poly_status poly_pg_value(const PGresult *result, int row, int column,
                               struct poly_arena *arena, struct poly_value *value,
                               struct poly_error *err)
{
    Oid type = PQftype(result, column);
    struct cell cell = {PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column),
                        arena, value};
    bool done;

    if (cell.data == NULL || PQgetisnull(result, row, column) || type == PG_VOID) {
        *value = poly_null();
        return POLY_OK;
    }
    if (!is_binary(result)) {
        done = read_text(&cell, type);
    } else {
        if (size_of(type) != 0 && size_of(type) != cell.size)
            return poly_fail(err, POLY_CORRUPT, "PostgreSQL sent %zu bytes for '%s', not %zu",
                             cell.size, PQfname(result, column), size_of(type));
        if (type == PG_JSONB && cell.size > 0) {
            cell.data++; /* its version */
            cell.size--;
        }
        done = read_binary(&cell, type);
    }
    return done ? POLY_OK : poly_no_memory(err);
}

int64_t poly_pg_changed(PGresult *result)
{
    return strtoll(PQcmdTuples(result), NULL, 10);
}
