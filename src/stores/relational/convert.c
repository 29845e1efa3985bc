/*
 * SQLite keeps five storage classes; applications have more types. A column's
 * declared type decides how a value is kept and what it is when it comes out,
 * so that a round trip is exact: times are integers (microseconds), UUIDs text
 * in lower case, booleans 0 and 1. What does not fit is refused here with the
 * column's name, before SQLite's affinity could turn it into something else.
 * A database with types (table->typed) gets times as times.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/limits.h"
#include "core/vector.h"
#include "stores/relational/driver.h"

/* --- text --- */

/* Length of the UTF-8 sequence at s; 0: it is none. */
static size_t sequence(const unsigned char *s, size_t left)
{
    size_t size = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

    if (size == 0 || s[0] > 0xf4 || size > left)
        return 0;
    for (size_t i = 1; i < size; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    }
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return size;
}

const char *poly_text_problem(struct poly_text text)
{
    const unsigned char *s = (const unsigned char *)text.data;
    size_t i = 0;

    while (i < text.size) {
        size_t size = 1;

        if (s[i] == '\0')
            return "has a NUL character";
        if (s[i] >= 0x80)
            size = sequence(s + i, text.size - i);
        if (size == 0)
            return "is not UTF-8";
        i += size;
    }
    return NULL;
}

/* --- in --- */

struct storing {
    const struct poly_table *table;
    const struct poly_column *column;
    const struct poly_value *value;
    struct poly_arena *arena;
    struct poly_value *out;
    struct poly_error *err;
};

static enum poly_status wrong(const struct storing *s, const char *why)
{
    return poly_fail(s->err, POLY_INVALID, "domain '%s': column '%s': %s", s->table->domain->name,
                     s->column->name, why);
}

static enum poly_status mismatch(const struct storing *s)
{
    return poly_fail(s->err, POLY_INVALID, "domain '%s': column '%s' holds %s, %s was given",
                     s->table->domain->name, s->column->name, poly_type_name(s->column->type),
                     poly_type_name(s->value->type));
}

static enum poly_status store_copy(const struct storing *s, enum poly_type type,
                                   struct poly_text text)
{
    char *copy;

    if (text.size > POLY_MAX_VALUE)
        return poly_fail(s->err, POLY_LIMIT,
                         "domain '%s': column '%s': %zu bytes are over the limit of %d",
                         s->table->domain->name, s->column->name, text.size, POLY_MAX_VALUE);
    copy = poly_arena_copy(s->arena, text.data, text.size);
    if (copy == NULL)
        return poly_no_memory(s->err);
    s->out->type = type;
    s->out->text = (struct poly_text){copy, text.size};
    return POLY_OK;
}

static enum poly_status store_text(const struct storing *s)
{
    const char *why = poly_text_problem(s->value->text);

    return why != NULL ? wrong(s, why) : store_copy(s, POLY_TEXT, s->value->text);
}

static enum poly_status store_uuid(const struct storing *s)
{
    struct poly_value uuid = *s->value;
    char text[37];

    if (s->value->type == POLY_TEXT) {
        char *copy = poly_arena_copy(s->arena, s->value->text.data, s->value->text.size);

        if (copy == NULL)
            return poly_no_memory(s->err);
        if (strlen(copy) != s->value->text.size || poly_uuid_parse(copy, &uuid, NULL) != POLY_OK)
            return wrong(s, "is not a UUID such as 0190b5c2-9d1e-7cc0-8f53-0f0f5b0d8a11");
    } else if (s->value->type != POLY_UUID) {
        return mismatch(s);
    }
    poly_uuid_format(uuid.uuid, text);
    return store_copy(s, POLY_TEXT, poly_text(text));
}

static struct poly_value as_time(const struct storing *s, int64_t microseconds)
{
    return s->table->typed ? poly_time(microseconds) : poly_int(microseconds);
}

static enum poly_status store_time(const struct storing *s)
{
    int64_t microseconds;

    if (s->value->type == POLY_TIME || s->value->type == POLY_INT) {
        *s->out = as_time(s, s->value->integer);
        return POLY_OK;
    }
    if (s->value->type != POLY_TEXT)
        return mismatch(s);

    char *copy = poly_arena_copy(s->arena, s->value->text.data, s->value->text.size);

    if (copy == NULL)
        return poly_no_memory(s->err);
    if (strlen(copy) != s->value->text.size ||
        poly_json_parse_time(copy, &microseconds, NULL) != POLY_OK)
        return wrong(s, "is not a time such as 2026-11-21T03:20:00.123456Z");
    *s->out = as_time(s, microseconds);
    return POLY_OK;
}

/* Scalars become JSON texts; JSON is checked. */
static enum poly_status store_json(const struct storing *s)
{
    struct poly_error why;
    struct poly_buffer text;
    enum poly_status status;

    if (s->value->type == POLY_JSON) {
        if (poly_json_check(s->value->text.data, s->value->text.size, &why) != POLY_OK)
            return wrong(s, why.message);
        return store_copy(s, POLY_TEXT, s->value->text);
    }
    if (s->value->type == POLY_TEXT && poly_text_problem(s->value->text) != NULL)
        return wrong(s, poly_text_problem(s->value->text));
    poly_buffer_init(&text, POLY_MAX_VALUE + (size_t)1024);
    poly_json_value(&text, s->value);
    status = poly_buffer_ok(&text)
                 ? store_copy(s, POLY_TEXT, (struct poly_text){text.data, text.size})
                 : poly_no_memory(s->err);
    poly_buffer_release(&text);
    return status;
}

static enum poly_status store_float(const struct storing *s)
{
    double real = s->value->real;

    if (s->value->type == POLY_INT) {
        real = (double)s->value->integer;
        if (real >= 0x1p63 || (int64_t)real != s->value->integer)
            return wrong(s, "holds a float; the integer given would lose digits");
    } else if (s->value->type != POLY_FLOAT) {
        return mismatch(s);
    }
    if (isnan(real))
        return wrong(s, "cannot hold NaN");
    *s->out = poly_float(real);
    return POLY_OK;
}

static enum poly_status store_int(const struct storing *s)
{
    double real = s->value->real;

    if (s->value->type == POLY_INT) {
        *s->out = *s->value;
        return POLY_OK;
    }
    /* A number of JSON that is whole: 5.0 */
    if (s->value->type != POLY_FLOAT || !(fabs(real) <= 0x1p53) || trunc(real) != real)
        return mismatch(s);
    *s->out = poly_int((int64_t)real);
    return POLY_OK;
}

/* A column of a type that we do not know keeps what it is given. */
static enum poly_status store_any(const struct storing *s)
{
    switch (s->value->type) {
    case POLY_BOOL:
        *s->out = poly_int(s->value->boolean);
        return POLY_OK;
    case POLY_INT:
        return store_int(s);
    case POLY_FLOAT:
        return store_float(s);
    case POLY_TIME:
        return store_time(s);
    case POLY_BYTES:
        return store_copy(s, POLY_BYTES, s->value->text);
    case POLY_UUID:
        return store_uuid(s);
    case POLY_JSON:
        return store_json(s);
    default:
        return store_text(s);
    }
}

/* --- vectors --- */

static enum poly_status keep_buffer(const struct storing *s, enum poly_type type,
                                    struct poly_buffer *buffer)
{
    enum poly_status status =
        poly_buffer_ok(buffer) ? store_copy(s, type, (struct poly_text){buffer->data, buffer->size})
                               : poly_no_memory(s->err);

    poly_buffer_release(buffer);
    return status;
}

static enum poly_status store_numbers(const struct storing *s, const float *numbers, size_t count)
{
    bool bytes = s->column->type == POLY_BYTES || s->column->type == POLY_NULL;
    struct poly_buffer buffer;

    poly_buffer_init(&buffer, POLY_MAX_VALUE);
    for (size_t i = 0; i < count && bytes; i++) {
        uint32_t bits;

        memcpy(&bits, &numbers[i], sizeof(bits));
        bits = htole32(bits);
        poly_buffer_add(&buffer, &bits, sizeof(bits));
    }
    if (!bytes)
        poly_vector_print(&buffer, numbers, count, s->column->array ? '{' : '[',
                          s->column->array ? '}' : ']');
    return keep_buffer(s, bytes ? POLY_BYTES : POLY_TEXT, &buffer);
}

/* Checked as all of the domain's vectors of that field want it. A text column, or one of JSON,
 * keeps the digits that were given. */
static enum poly_status store_vector(const struct storing *s)
{
    const struct poly_domain *domain = s->table->domain;
    const struct poly_domain_vector *shape = poly_vector_of(domain, s->column->name);
    enum poly_type type = s->column->type;
    const float *numbers = NULL;
    enum poly_status status;

    if (type != POLY_NULL && type != POLY_BYTES && type != POLY_JSON && type != POLY_TEXT)
        return poly_fail(s->err, POLY_INVALID, "domain '%s': column '%s' holds %s, and no vector",
                         domain->name, s->column->name, poly_type_name(type));
    status = poly_vector_read(shape, s->value, s->arena, &numbers, s->err);
    if (status == POLY_OK)
        status = poly_vector_check_all(domain, s->column->name, numbers, shape->dimensions, s->err);
    if (status != POLY_OK)
        return poly_fail_in(s->err, status, "domain '%s'", domain->name);
    if (type == POLY_JSON && s->value->type == POLY_JSON)
        return store_json(s);
    if (type == POLY_TEXT && !s->column->array && s->value->type != POLY_BYTES &&
        poly_text_problem(s->value->text) == NULL)
        return store_copy(s, POLY_TEXT, s->value->text);
    return store_numbers(s, numbers, shape->dimensions);
}

enum poly_status poly_column_store_numbers(const struct poly_table *table,
                                           const struct poly_column *column, const float *numbers,
                                           size_t count, struct poly_arena *arena,
                                           struct poly_value *stored, struct poly_error *err)
{
    const struct storing s = {table, column, NULL, arena, stored, err};
    enum poly_type type = column->type;

    if (type != POLY_NULL && type != POLY_BYTES && type != POLY_JSON && type != POLY_TEXT)
        return poly_fail(err, POLY_INVALID, "domain '%s': column '%s' holds %s, and no vector",
                         table->domain->name, column->name, poly_type_name(type));
    return store_numbers(&s, numbers, count);
}

enum poly_status poly_column_show(const struct poly_table *table, size_t column,
                                  struct poly_arena *arena, struct poly_value *value,
                                  struct poly_error *err)
{
    const struct poly_domain_vector *shape =
        table->domain->vector_count == 0
            ? NULL
            : poly_vector_of(table->domain, table->columns[column].name);
    const struct storing s = {table, &table->columns[column], value, arena, value, err};
    const float *numbers = NULL;
    struct poly_buffer text;
    enum poly_status status;

    if (shape == NULL || (value->type != POLY_BYTES && value->type != POLY_TEXT))
        return POLY_OK;
    status = poly_vector_read(shape, value, arena, &numbers, err);
    if (status != POLY_OK || numbers == NULL)
        return status == POLY_INVALID ? POLY_OK : status;
    poly_buffer_init(&text, POLY_MAX_VALUE);
    poly_vector_print(&text, numbers, shape->dimensions, '[', ']');
    return keep_buffer(&s, POLY_JSON, &text);
}

/*
 * Command lines, CSV and query strings have texts only: one that is exactly a
 * number or a boolean stands for it where the column holds that.
 */
static bool typed_text(enum poly_type type, struct poly_text text, struct poly_value *typed)
{
    char copy[64], *end = copy;

    if (text.size == 0 || text.size >= sizeof(copy) ||
        strchr("-0123456789tf", text.data[0]) == NULL)
        return false;
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    errno = 0;
    if (type == POLY_INT) {
        *typed = poly_int(strtoll(copy, &end, 10));
    } else if (type == POLY_FLOAT && strpbrk(copy, "xX") == NULL) {
        *typed = poly_float(strtod(copy, &end));
    } else if (type == POLY_BOOL) {
        *typed = poly_bool(copy[0] == 't');
        return strcmp(copy, "true") == 0 || strcmp(copy, "false") == 0;
    }
    return errno == 0 && end == copy + text.size;
}

enum poly_status poly_column_store(const struct poly_table *table, const struct poly_column *column,
                                   const struct poly_value *value, struct poly_arena *arena,
                                   struct poly_value *stored, struct poly_error *err)
{
    struct storing s = {table, column, value, arena, stored, err};
    struct poly_value typed;

    *stored = poly_null();
    if (value->type == POLY_NULL)
        return POLY_OK;
    if (poly_vector_of(table->domain, column->name) != NULL)
        return store_vector(&s);
    if (value->type == POLY_TEXT && typed_text(column->type, value->text, &typed))
        s.value = value = &typed;
    switch (column->type) {
    case POLY_BOOL:
        if (value->type != POLY_BOOL)
            return mismatch(&s);
        *stored = poly_int(value->boolean);
        return POLY_OK;
    case POLY_INT:
        return store_int(&s);
    case POLY_FLOAT:
        return store_float(&s);
    case POLY_TEXT:
        if (value->type == POLY_UUID)
            return store_uuid(&s);
        return value->type == POLY_TEXT ? store_text(&s) : mismatch(&s);
    case POLY_BYTES:
        return value->type == POLY_BYTES ? store_copy(&s, POLY_BYTES, value->text) : mismatch(&s);
    case POLY_JSON:
        return value->type == POLY_BYTES ? mismatch(&s) : store_json(&s);
    case POLY_TIME:
        return store_time(&s);
    case POLY_UUID:
        return store_uuid(&s);
    default:
        return store_any(&s);
    }
}

/* --- keys and tenants --- */

/* As SQLite prints it: two texts are never one key. */
static bool canonical_integer(struct poly_text text, int64_t *integer)
{
    char copy[24], again[24];

    if (text.size == 0 || text.size > 20)
        return false;
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    *integer = strtoll(copy, NULL, 10);
    snprintf(again, sizeof(again), "%lld", (long long)*integer);
    return strlen(copy) == text.size && strcmp(copy, again) == 0;
}

enum poly_status poly_record_key(const struct poly_table *table, struct poly_text text,
                                 struct poly_arena *arena, struct poly_record_key *key,
                                 struct poly_error *err)
{
    const struct poly_column *column = &table->columns[table->key];
    const struct storing s = {table, column, NULL, arena, &key->value, err};

    if (text.size == 0 || text.size > POLY_MAX_KEY)
        return wrong(&s, text.size == 0 ? "a key is not empty" : "the key is too long");
    key->value = poly_null();
    if (column->type == POLY_INT) {
        int64_t integer;

        if (!canonical_integer(text, &integer))
            return wrong(&s, "the key is not an integer such as 42");
        key->value = poly_int(integer);
        key->text = text;
        return POLY_OK;
    }

    struct poly_value given = poly_str("");

    given.text = text;

    enum poly_status status = poly_column_store(table, column, &given, arena, &key->value, err);

    if (status == POLY_OK)
        key->text = key->value.text;
    return status;
}

enum poly_status poly_record_tenant(const struct poly_table *table, struct poly_text tenant,
                                    struct poly_error *err)
{
    struct poly_value uuid;
    int64_t integer;
    char text[37];
    bool fits = true;

    if (table->tenant_type == POLY_INT) {
        fits = canonical_integer(tenant, &integer);
    } else if (table->tenant_type == POLY_UUID) {
        fits = tenant.size == 36 && poly_uuid_parse(tenant.data, &uuid, NULL) == POLY_OK;
        if (fits) {
            poly_uuid_format(uuid.uuid, text);
            fits = memcmp(text, tenant.data, 36) == 0;
        }
    }
    if (fits)
        return POLY_OK;
    return poly_fail(err, POLY_DENIED, "domain '%s': tenant '%.*s' is not %s, as column '%s' needs",
                     table->domain->name, (int)tenant.size, tenant.data,
                     poly_type_name(table->tenant_type), table->domain->tenant);
}
