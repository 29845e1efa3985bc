/*
 * Parameters in binary. The server says which type it wants at each place when
 * it prepares a statement, so a value is written as that type: an INT as four bytes
 * where the column is an integer, as text where it is a numeric. Scalars
 * go into places that the connection keeps, texts and bytes are passed on
 * where they lie; only arrays and jsonb (a version byte stands before it) are copied.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/limits.h"
#include "base/postgres_inside.h"

enum { AS_IT_STANDS = -2 };

/* --- the list --- */

void poly_pg_params(struct poly_pg_params *params)
{
    params->count = 0;
    params->max = POLY_PG_PARAMS;
    params->all = params->few;
}

void poly_pg_params_in(struct poly_pg_params *params, struct poly_pg_param *memory, int max)
{
    params->count = 0;
    params->max = max;
    params->all = memory;
}

/* One too many is counted, and refused when the statement is run. */
static struct poly_pg_param *next(struct poly_pg_params *params)
{
    static _Thread_local struct poly_pg_param beyond;
    struct poly_pg_param *param =
        params->count < params->max ? &params->all[params->count] : &beyond;

    params->count++;
    param->count = -1;
    return param;
}

void poly_pg_add(struct poly_pg_params *params, const struct poly_value *value)
{
    next(params)->value = *value;
}

void poly_pg_add_null(struct poly_pg_params *params)
{
    next(params)->value.type = POLY_NULL;
}

void poly_pg_add_bool(struct poly_pg_params *params, bool value)
{
    struct poly_pg_param *param = next(params);

    param->value.type = POLY_BOOL;
    param->value.boolean = value;
}

void poly_pg_add_int(struct poly_pg_params *params, int64_t value)
{
    struct poly_pg_param *param = next(params);

    param->value.type = POLY_INT;
    param->value.integer = value;
}

void poly_pg_add_float(struct poly_pg_params *params, double value)
{
    struct poly_pg_param *param = next(params);

    param->value.type = POLY_FLOAT;
    param->value.real = value;
}

static void add_text(struct poly_pg_params *params, enum poly_type type, struct poly_text text)
{
    struct poly_pg_param *param = next(params);

    param->value.type = type;
    param->value.text = text;
}

void poly_pg_add_text(struct poly_pg_params *params, struct poly_text text)
{
    add_text(params, POLY_TEXT, text);
}

void poly_pg_add_bytes(struct poly_pg_params *params, const void *data, size_t size)
{
    add_text(params, POLY_BYTES, (struct poly_text){data, size});
}

void poly_pg_add_json(struct poly_pg_params *params, struct poly_text json)
{
    add_text(params, POLY_JSON, json);
}

void poly_pg_add_time(struct poly_pg_params *params, int64_t microseconds)
{
    struct poly_pg_param *param = next(params);

    param->value.type = POLY_TIME;
    param->value.integer = microseconds;
}

void poly_pg_add_binary(struct poly_pg_params *params, const void *data, size_t size)
{
    struct poly_pg_param *param = next(params);

    param->count = AS_IT_STANDS;
    param->value.type = POLY_BYTES;
    param->value.text = (struct poly_text){data, size};
}

static void add_list(struct poly_pg_params *params, const void *list, int count,
                     enum poly_type element)
{
    struct poly_pg_param *param = next(params);

    param->list = list;
    param->count = count;
    param->element = (int)element;
}

void poly_pg_add_ints(struct poly_pg_params *params, const int64_t *values, int count)
{
    add_list(params, values, count, POLY_INT);
}

void poly_pg_add_texts(struct poly_pg_params *params, const struct poly_text *texts, int count)
{
    add_list(params, texts, count, POLY_TEXT);
}

void poly_pg_add_array(struct poly_pg_params *params, const struct poly_value *values, int count)
{
    add_list(params, values, count, POLY_NULL);
}

/* --- one value as one type --- */

/* Where its bytes are, and whether they are PostgreSQL's binary form or text that ends in NUL. */
struct piece {
    const char *data;
    size_t size;
    bool text;
};

static void put64(char *to, uint64_t value)
{
    value = __builtin_bswap64(value);
    memcpy(to, &value, sizeof(value));
}

static void put32(char *to, uint32_t value)
{
    value = __builtin_bswap32(value);
    memcpy(to, &value, sizeof(value));
}

/* False: out of memory, or (to the server's own words) not in this form. */
static bool as_text(struct poly_arena *arena, const char *text, size_t size, struct piece *piece)
{
    piece->data = poly_arena_copy(arena, text, size);
    piece->size = size;
    piece->text = true;
    return piece->data != NULL;
}

static bool number_as_text(struct poly_arena *arena, const struct poly_value *value,
                           struct piece *piece)
{
    char text[40];

    if (value->type != POLY_FLOAT)
        snprintf(text, sizeof(text), "%" PRId64, value->integer);
    else if (isinf(value->real))
        snprintf(text, sizeof(text), "%sInfinity", value->real < 0 ? "-" : "");
    else
        snprintf(text, sizeof(text), "%.17g", value->real);
    return as_text(arena, text, strlen(text), piece);
}

static bool is_text(Oid type)
{
    return type == PG_TEXT || type == PG_VARCHAR || type == PG_BPCHAR || type == PG_NAME ||
           type == PG_JSON || type == PG_UNKNOWN;
}

static void fixed64(char small[16], uint64_t bits, struct piece *piece)
{
    put64(small, bits);
    *piece = (struct piece){small, 8, false};
}

static void real64(char small[16], double real, struct piece *piece)
{
    uint64_t bits;

    memcpy(&bits, &real, sizeof(bits));
    fixed64(small, bits, piece);
}

static bool encode_int(const struct poly_value *value, Oid type, char small[16],
                       struct poly_arena *arena, struct piece *piece)
{
    int64_t number = value->integer;

    if (type == PG_INT8 || type == PG_XID8) {
        fixed64(small, (uint64_t)number, piece);
        return true;
    }
    if (type == PG_INT4 && number == (int32_t)number) {
        put32(small, (uint32_t)number);
        *piece = (struct piece){small, 4, false};
        return true;
    }
    if (type == PG_FLOAT8 && number >= -(INT64_C(1) << 53) && number <= INT64_C(1) << 53) {
        real64(small, (double)number, piece);
        return true;
    }
    return number_as_text(arena, value, piece);
}

static bool encode_float(const struct poly_value *value, Oid type, char small[16],
                         struct poly_arena *arena, struct piece *piece)
{
    if (type != PG_FLOAT8)
        return number_as_text(arena, value, piece);
    real64(small, value->real, piece);
    return true;
}

static bool encode_bool(const struct poly_value *value, Oid type, char small[16],
                        struct poly_arena *arena, struct piece *piece)
{
    struct poly_value number = poly_int(value->boolean);

    if (type == PG_BOOL) {
        small[0] = (char)value->boolean;
        *piece = (struct piece){small, 1, false};
        return true;
    }
    if (is_text(type))
        return as_text(arena, value->boolean ? "true" : "false", value->boolean ? 4 : 5, piece);
    return encode_int(&number, type, small, arena, piece);
}

static bool encode_text(const struct poly_value *value, Oid type, struct poly_arena *arena,
                        struct piece *piece)
{
    const char *data = value->text.data == NULL ? "" : value->text.data;

    *piece = (struct piece){data, value->text.size, false};
    if (is_text(type) || type == PG_BYTEA)
        return true;
    if (type == PG_JSONB) {
        char *copy = poly_arena_alloc(arena, value->text.size + 1);

        if (copy == NULL)
            return false;
        copy[0] = 1;
        memcpy(copy + 1, data, value->text.size);
        *piece = (struct piece){copy, value->text.size + 1, false};
        return true;
    }
    return as_text(arena, data, value->text.size, piece);
}

static bool encode_bytes(const struct poly_value *value, Oid type, struct poly_arena *arena,
                         struct piece *piece)
{
    static const char hex[] = "0123456789abcdef";
    const unsigned char *data = (const unsigned char *)value->text.data;
    size_t size = value->text.size;
    char *text;

    if (type == PG_BYTEA || (type == PG_UUID && size == 16)) {
        *piece = (struct piece){size == 0 ? "" : value->text.data, size, false};
        return true;
    }
    /* As PostgreSQL writes bytes; a type that has no use for that refuses it. */
    text = poly_arena_alloc(arena, 2 * size + 3);
    if (text == NULL)
        return false;
    memcpy(text, "\\x", 2);
    for (size_t i = 0; i < size; i++) {
        text[2 + 2 * i] = hex[data[i] >> 4];
        text[3 + 2 * i] = hex[data[i] & 15];
    }
    *piece = (struct piece){text, 2 * size + 2, true};
    return true;
}

static bool encode_time(const struct poly_value *value, Oid type, char small[16],
                        struct poly_arena *arena, struct piece *piece)
{
    char text[28];
    int64_t since;

    if (type == PG_INT8) {
        fixed64(small, (uint64_t)value->integer, piece);
        return true;
    }
    if ((type == PG_TIMESTAMPTZ || type == PG_TIMESTAMP) &&
        !__builtin_sub_overflow(value->integer, PG_EPOCH, &since)) {
        fixed64(small, (uint64_t)since, piece);
        return true;
    }
    poly_json_time(value->integer, text);
    return as_text(arena, text, strlen(text), piece);
}

static bool encode_uuid(const struct poly_value *value, Oid type, struct poly_arena *arena,
                        struct piece *piece)
{
    char text[37];

    if (type == PG_UUID || type == PG_BYTEA) {
        *piece = (struct piece){(const char *)value->uuid, 16, false};
        return true;
    }
    poly_uuid_format(value->uuid, text);
    return as_text(arena, text, 36, piece);
}

/* False: out of memory. NULL is the caller's. */
static bool encode(const struct poly_value *value, Oid type, char small[16],
                   struct poly_arena *arena, struct piece *piece)
{
    switch (value->type) {
    case POLY_BOOL:
        return encode_bool(value, type, small, arena, piece);
    case POLY_INT:
        return encode_int(value, type, small, arena, piece);
    case POLY_FLOAT:
        return encode_float(value, type, small, arena, piece);
    case POLY_TIME:
        return encode_time(value, type, small, arena, piece);
    case POLY_UUID:
        return encode_uuid(value, type, arena, piece);
    case POLY_BYTES:
        return encode_bytes(value, type, arena, piece);
    default:
        return encode_text(value, type, arena, piece);
    }
}

/* --- arrays --- */

static Oid element_of(Oid array)
{
    static const Oid pairs[][2] = {
        {1000, PG_BOOL},   {1001, PG_BYTEA},     {1007, PG_INT4},        {1009, PG_TEXT},
        {1014, PG_BPCHAR}, {1015, PG_VARCHAR},   {1016, PG_INT8},        {1022, PG_FLOAT8},
        {199, PG_JSON},    {1115, PG_TIMESTAMP}, {1185, PG_TIMESTAMPTZ}, {2951, PG_UUID},
        {3807, PG_JSONB},  {1003, PG_NAME},      {271, PG_XID8},
    };

    for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++)
        if (pairs[i][0] == array)
            return pairs[i][1];
    return 0;
}

static struct poly_value element_at(const struct poly_pg_param *param, int index)
{
    struct poly_value value;

    if (param->element == POLY_NULL)
        return ((const struct poly_value *)param->list)[index];
    if (param->element == POLY_INT)
        return poly_int(((const int64_t *)param->list)[index]);
    value.type = POLY_TEXT;
    value.text = ((const struct poly_text *)param->list)[index];
    return value;
}

struct array {
    struct poly_buffer bytes;
    bool nulls, wrong; /* wrong: an element has no binary form of that type */
};

static bool add_element(struct array *array, const struct poly_value *value, Oid type,
                        struct poly_arena *arena)
{
    struct piece piece;
    char small[16], size[4];

    if (value->type == POLY_NULL) {
        array->nulls = true;
        put32(size, UINT32_MAX);
        poly_buffer_add(&array->bytes, size, 4);
        return true;
    }
    if (!encode(value, type, small, arena, &piece))
        return false;
    if (piece.text && !is_text(type)) {
        array->wrong = true;
        return true;
    }
    put32(size, (uint32_t)piece.size);
    poly_buffer_add(&array->bytes, size, 4);
    poly_buffer_add(&array->bytes, piece.data, piece.size);
    return true;
}

static void array_header(char header[20], Oid element, int count)
{
    put32(header, count == 0 ? 0 : 1); /* dimensions */
    put32(header + 4, 0);              /* has NULLs: set at the end */
    put32(header + 8, element);
    put32(header + 12, (uint32_t)count);
    put32(header + 16, 1);
}

static enum poly_status encode_array(const struct poly_pg_param *param, Oid type,
                                     struct poly_arena *arena, struct piece *piece,
                                     struct poly_error *err)
{
    struct array array = {0};
    Oid element = element_of(type);
    char header[20];
    bool memory = true;

    if (element == 0)
        return poly_fail(err, POLY_UNSUPPORTED,
                         "it is a list, and the statement wants another type there; cast it: "
                         "$1::bigint[], $1::text[]");
    poly_buffer_init(&array.bytes, POLY_MAX_TXN_BYTES * 2UL);
    array_header(header, element, param->count);
    poly_buffer_add(&array.bytes, header, param->count == 0 ? 12 : 20);
    for (int i = 0; memory && i < param->count; i++) {
        struct poly_value value = element_at(param, i);

        memory = add_element(&array, &value, element, arena);
    }
    memory = memory && poly_buffer_ok(&array.bytes);
    if (memory && array.nulls)
        put32(array.bytes.data + 4, 1);
    if (memory) {
        piece->data = poly_arena_copy(arena, array.bytes.data, array.bytes.size);
        piece->size = array.bytes.size;
        piece->text = false;
    }
    memory = memory && piece->data != NULL;
    poly_buffer_release(&array.bytes);
    if (array.wrong)
        return poly_fail(err, POLY_INVALID, "an element of the list does not fit its type");
    return memory ? POLY_OK : poly_no_memory(err);
}

/* --- all of a call --- */

static bool make_room(struct poly_pg_encoded *to, int count)
{
    int room = to->room == 0 ? POLY_PG_PARAMS : to->room;

    if (count <= to->room)
        return true;
    while (room < count)
        room *= 2;
    poly_pg_encoded_release(
        &(struct poly_pg_encoded){to->values, to->lengths, to->formats, to->small, NULL, 0});
    to->values = calloc((size_t)room, sizeof(*to->values));
    to->lengths = calloc((size_t)room, sizeof(*to->lengths));
    to->formats = calloc((size_t)room, sizeof(*to->formats));
    to->small = calloc((size_t)room, sizeof(*to->small));
    to->room = room;
    if (to->values != NULL && to->lengths != NULL && to->formats != NULL && to->small != NULL)
        return true;
    to->room = 0;
    return false;
}

void poly_pg_encoded_release(struct poly_pg_encoded *encoded)
{
    free(encoded->values);
    free(encoded->lengths);
    free(encoded->formats);
    free(encoded->small);
    poly_arena_free(encoded->arena);
}

static enum poly_status encode_param(struct poly_pg_encoded *to, const struct poly_pg_param *param,
                                     Oid type, int index, struct poly_error *err)
{
    struct piece piece = {NULL, 0, false};
    enum poly_status status = POLY_OK;

    if (param->count >= 0)
        status = encode_array(param, type, to->arena, &piece, err);
    else if (param->count == AS_IT_STANDS)
        piece = (struct piece){param->value.text.data, param->value.text.size, false};
    else if (param->value.type != POLY_NULL &&
             !encode(&param->value, type, to->small[index], to->arena, &piece))
        status = poly_no_memory(err);
    if (status != POLY_OK)
        return status;
    if (piece.size > POLY_MAX_TXN_BYTES * 2UL)
        return poly_fail(err, POLY_LIMIT, "it is too large");
    if (piece.text && memchr(piece.data, '\0', piece.size) != NULL)
        return poly_fail(err, POLY_INVALID, "a text must not hold NUL");
    to->values[index] = piece.data;
    to->lengths[index] = (int)piece.size;
    to->formats[index] = !piece.text;
    return POLY_OK;
}

/* What is asked for most, by the shortest way: how many bigints the list begins with. */
static int encode_keys(struct poly_pg_encoded *to, const struct poly_pg_params *params,
                       const Oid *types, int count)
{
    const struct poly_pg_param *param = params->all;
    int i = 0;

    for (; i < count && param->count < 0 && param->value.type == POLY_INT && types[i] == PG_INT8;
         i++, param++) {
        put64(to->small[i], (uint64_t)param->value.integer);
        to->values[i] = to->small[i];
        to->lengths[i] = 8;
        to->formats[i] = 1;
    }
    return i;
}

enum poly_status poly_pg_encode(struct poly_pg_encoded *to, const struct poly_pg_params *params,
                                const Oid *types, int count, struct poly_error *err)
{
    int given = params == NULL ? 0 : params->count, first;
    enum poly_status status = POLY_OK;

    if (given != count)
        return poly_fail(err, POLY_INVALID, "the statement takes %d parameters, not %d", count,
                         given);
    if (given == 0)
        return POLY_OK;
    if (given > params->max)
        return poly_fail(err, POLY_LIMIT, "%d parameters, at most %d", given, params->max);
    if (!make_room(to, count))
        return poly_no_memory(err);
    first = encode_keys(to, params, types, count);
    if (first < count)
        poly_arena_reset(to->arena);
    for (int i = first; status == POLY_OK && i < count; i++) {
        status = encode_param(to, &params->all[i], types[i], i, err);
        if (status != POLY_OK)
            poly_fail_in(err, status, "parameter %d of a statement", i + 1);
    }
    return status;
}
