/*
 * What a condition's value is depends on what it meets: "2026-11-21T03:20:00Z" is a text among
 * texts and a number among times. So each value of the condition is prepared once for each kind of
 * value that it can meet, and a decision is one search among prepared values of one kind.
 *
 * SQLite decides the same for lists and full text; its rules of comparison are followed to the
 * letter (integers and doubles exactly, 1 = 1.0, true = 1), and a test compares the two.
 */
#include "stores/vector/engine/matcher.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/json_walk.h"
#include "base/limits.h"
#include "base/status.h"
#include "followers/filter.h"
#include "polystore/vector.h"

/* Kinds of values that can be met. */
enum kind { NUMBER, TIME, TEXT, UUID, BYTES, KINDS };

enum { TIME_TEXT = 28, UUID_TEXT = 37 };

/* What is compared: a number, or bytes. */
struct operand {
    bool real;
    uint32_t size;
    union {
        int64_t integer;
        double number;
        const char *text;
    };
};

struct operands {
    struct operand *list; /* ascending */
    size_t count;
};

struct poly_matcher {
    const struct poly_filter *filter;
    struct operands operands[KINDS];
    struct operand *all;
    char *texts; /* what had to be written for it */
    char *scratch;
    size_t scratch_size;
    bool failed;
};

/* --- comparing --- */

/* Exactly, where a double cannot hold the integer. */
static int compare_mixed(int64_t integer, double real)
{
    int64_t whole;

    if (real < -9223372036854775808.0)
        return 1;
    if (real >= 9223372036854775808.0)
        return -1;
    whole = (int64_t)real;
    if (integer != whole)
        return integer < whole ? -1 : 1;
    return (double)whole < real ? -1 : (double)whole > real;
}

static int compare_numbers(const struct operand *a, const struct operand *b)
{
    if (a->real && b->real)
        return a->number < b->number ? -1 : a->number > b->number;
    if (a->real)
        return -compare_mixed(b->integer, a->number);
    if (b->real)
        return compare_mixed(a->integer, b->number);
    return a->integer < b->integer ? -1 : a->integer > b->integer;
}

static int compare_texts(const struct operand *a, const struct operand *b)
{
    uint32_t least = a->size < b->size ? a->size : b->size;
    int order = least == 0 ? 0 : memcmp(a->text, b->text, least);

    return order != 0 ? order : a->size < b->size ? -1 : a->size > b->size;
}

static int compare(enum kind kind, const struct operand *a, const struct operand *b)
{
    return kind <= TIME ? compare_numbers(a, b) : compare_texts(a, b);
}

static int order_numbers(const void *a, const void *b)
{
    return compare_numbers(a, b);
}

static int order_texts(const void *a, const void *b)
{
    return compare_texts(a, b);
}

/* --- making ready --- */

static enum poly_status wrong(const struct poly_filter *filter, const char *why,
                              struct poly_error *err)
{
    return poly_fail(err, POLY_INVALID, "filter on '%.64s': %s", filter->column, why);
}

enum poly_status poly_filter_sound(const struct poly_filter *filter, struct poly_error *err)
{
    enum poly_status status;

    if (filter->column == NULL || filter->compare > POLY_NOT_NULL)
        return poly_fail(err, POLY_INVALID, "a filter has no column or comparison");
    if (filter->values == NULL && filter->value_count > 0)
        return wrong(filter, "has no values", err);
    status = poly_filter_check_values(filter, err);
    if (status != POLY_OK)
        return status;
    if (filter->path != NULL && !poly_json_path_valid(filter->path))
        return poly_fail(err, POLY_INVALID,
                         "filter on '%.64s': '%.64s' is no JSON path, '$.a.b' is", filter->column,
                         filter->path);
    for (size_t i = 0; i < filter->value_count; i++) {
        const struct poly_value *value = &filter->values[i];

        if (value->type > POLY_UUID || (value->type == POLY_FLOAT && isnan(value->real)))
            return wrong(filter, "a value is none", err);
        if ((value->type == POLY_TEXT || value->type == POLY_BYTES || value->type == POLY_JSON) &&
            value->text.size > POLY_MAX_VALUE)
            return poly_fail(err, POLY_LIMIT, "filter on '%.64s': a value of %zu bytes",
                             filter->column, value->text.size);
    }
    return POLY_OK;
}

static void add(struct operands *to, struct operand operand)
{
    to->list[to->count++] = operand;
}

static struct operand text_operand(const char *text, size_t size)
{
    return (struct operand){.text = text, .size = (uint32_t)size};
}

/* A text meets texts; among times and UUIDs it is what it says, if it says one. */
static void prepare_text(struct poly_matcher *m, struct poly_text text, char *room)
{
    struct operand plain = text_operand(text.data, text.size);
    char copy[64];
    struct poly_value uuid;
    int64_t time;

    add(&m->operands[TEXT], plain);
    if (text.size < sizeof(copy) && text.size > 0) {
        memcpy(copy, text.data, text.size);
        copy[text.size] = '\0';
        if (poly_json_parse_time(copy, &time, NULL) == POLY_OK)
            add(&m->operands[TIME], (struct operand){.integer = time});
        if (text.size == UUID_TEXT - 1 && poly_uuid_parse(copy, &uuid, NULL) == POLY_OK) {
            poly_uuid_format(uuid.uuid, room);
            plain.text = room;
        }
    }
    add(&m->operands[UUID], plain);
}

/* room: UUID_TEXT bytes for what has to be written. */
static void prepare(struct poly_matcher *m, const struct poly_value *value, char *room)
{
    struct operand operand = {.real = false};

    switch (value->type) {
    case POLY_NULL:
        return; /* refused before */
    case POLY_BOOL:
    case POLY_INT:
    case POLY_TIME:
    case POLY_FLOAT:
        operand.real = value->type == POLY_FLOAT;
        operand.integer = value->type == POLY_BOOL ? value->boolean : value->integer;
        add(&m->operands[NUMBER], operand);
        add(&m->operands[TIME], operand);
        if (value->type == POLY_TIME) { /* as it stands in JSON */
            poly_json_time(value->integer, room);
            add(&m->operands[TEXT], text_operand(room, strlen(room)));
        }
        break;
    case POLY_TEXT:
        prepare_text(m, value->text, room);
        break;
    case POLY_JSON:
        add(&m->operands[TEXT], text_operand(value->text.data, value->text.size));
        break;
    case POLY_UUID:
        poly_uuid_format(value->uuid, room);
        add(&m->operands[TEXT], text_operand(room, UUID_TEXT - 1));
        add(&m->operands[UUID], text_operand(room, UUID_TEXT - 1));
        break;
    case POLY_BYTES:
        add(&m->operands[BYTES], text_operand(value->text.data, value->text.size));
        break;
    }
}

enum poly_status poly_matcher_new(const struct poly_filter *filter, struct poly_matcher **matcher,
                                  struct poly_error *err)
{
    enum poly_status status = poly_filter_sound(filter, err);
    size_t count = filter->value_count;
    struct poly_matcher *m;

    if (status != POLY_OK)
        return status;
    m = calloc(1, sizeof(*m));
    if (m == NULL)
        return poly_no_memory(err);
    m->filter = filter;
    m->all = calloc(KINDS * (count + 1), sizeof(*m->all));
    m->texts = malloc(UUID_TEXT * (count + 1));
    if (m->all == NULL || m->texts == NULL) {
        poly_matcher_free(m);
        return poly_no_memory(err);
    }
    for (size_t k = 0; k < KINDS; k++)
        m->operands[k].list = m->all + k * (count + 1);
    for (size_t i = 0; i < count; i++)
        prepare(m, &filter->values[i], m->texts + UUID_TEXT * i);
    for (size_t k = 0; k < KINDS; k++)
        qsort(m->operands[k].list, m->operands[k].count, sizeof(*m->all),
              k <= TIME ? order_numbers : order_texts);
    *matcher = m;
    return POLY_OK;
}

void poly_matcher_free(struct poly_matcher *m)
{
    if (m == NULL)
        return;
    free(m->all);
    free(m->texts);
    free(m->scratch);
    free(m);
}

bool poly_matcher_failed(const struct poly_matcher *m)
{
    return m->failed;
}

/* --- what stands at a path --- */

static char *scratch(struct poly_matcher *m, size_t size)
{
    if (size >= m->scratch_size) {
        char *more = realloc(m->scratch, size + 64);

        if (more == NULL) {
            m->failed = true;
            return NULL;
        }
        m->scratch = more;
        m->scratch_size = size + 64;
    }
    return m->scratch;
}

/* Without the spaces between: as json_extract() gives an object or array. */
static void compact(struct poly_matcher *m, struct poly_text json, struct poly_cell *cell)
{
    struct poly_json_cursor c = poly_json_begin(json);
    char *start = scratch(m, json.size), *out = start;

    if (start == NULL)
        return;
    for (poly_json_skip_space(&c); !poly_json_done(&c); poly_json_skip_space(&c)) {
        const char *from = c.at;
        bool escaped;

        if (*c.at == '"')
            poly_json_take_string(&c, &escaped);
        else
            c.at++;
        memcpy(out, from, (size_t)(c.at - from));
        out += c.at - from;
    }
    *cell = (struct poly_cell){.type = POLY_TEXT, .text = start, .size = (uint32_t)(out - start)};
}

static void read_string(struct poly_matcher *m, struct poly_text json, struct poly_cell *cell)
{
    struct poly_json_cursor c = poly_json_begin(json);
    bool escaped;
    struct poly_text raw = poly_json_take_string(&c, &escaped);

    if (escaped) {
        char *plain = scratch(m, raw.size);

        if (plain == NULL)
            return;
        raw.size = (size_t)(poly_json_unescape(raw, plain) - plain);
        raw.data = plain;
    }
    *cell = (struct poly_cell){.type = POLY_TEXT, .text = raw.data, .size = (uint32_t)raw.size};
}

static void read_real(struct poly_matcher *m, struct poly_text json, struct poly_cell *cell)
{
    char *copy = scratch(m, json.size + 1);

    if (copy == NULL)
        return;
    memcpy(copy, json.data, json.size);
    copy[json.size] = '\0';
    *cell = (struct poly_cell){.type = POLY_FLOAT, .real = strtod(copy, NULL)};
}

/* cell: text that may be JSON. Becomes what stands at the path; null: nothing. */
static void extract(struct poly_matcher *m, const struct poly_cell *from, struct poly_cell *cell)
{
    struct poly_text json = {from->text, from->size}, value;
    int64_t integer;

    *cell = (struct poly_cell){.type = POLY_NULL};
    if (poly_json_check(json.data, json.size, NULL) != POLY_OK ||
        !poly_json_path_find(json, m->filter->path, &value))
        return;
    if (value.data[0] == '"')
        read_string(m, value, cell);
    else if (value.data[0] == '{' || value.data[0] == '[')
        compact(m, value, cell);
    else if (value.data[0] == 't' || value.data[0] == 'f')
        *cell = (struct poly_cell){.type = POLY_BOOL, .integer = value.data[0] == 't'};
    else if (poly_json_to_integer(value, &integer))
        *cell = (struct poly_cell){.type = POLY_INT, .integer = integer};
    else if (poly_json_is_number(value))
        read_real(m, value, cell);
}

static void at_path(struct poly_matcher *m, const struct poly_cell *from, struct poly_cell *cell)
{
    if (from->type == POLY_TEXT || from->type == POLY_JSON)
        extract(m, from, cell);
    else if (m->filter->path[1] == '\0' && (from->type == POLY_INT || from->type == POLY_FLOAT))
        *cell = *from; /* a number is JSON, too */
    else
        *cell = (struct poly_cell){.type = POLY_NULL};
}

/* --- what is equal --- */

/* The integer that a number is. */
static bool as_integer(const struct operand *number, int64_t *integer)
{
    *integer = number->integer;
    if (!number->real)
        return true;
    if (!(number->number >= -9223372036854775808.0 && number->number < 9223372036854775808.0))
        return false;
    *integer = (int64_t)number->number;
    return (double)*integer == number->number;
}

static void each_number(const struct operand *number, poly_value_fn *each, void *arg)
{
    struct poly_value value = poly_float(number->number);
    int64_t integer;

    if (as_integer(number, &integer)) {
        value = poly_int(integer);
        each(arg, &value);
        value = poly_bool(integer == 1);
        if (integer == 0 || integer == 1)
            each(arg, &value);
        value = poly_float((double)integer);
        if (compare_mixed(integer, value.real) != 0)
            return;
    }
    each(arg, &value);
    value = poly_float(-0.0);
    if (!number->real ? number->integer == 0 : number->number == 0)
        each(arg, &value);
    value = poly_float(0.0);
    if (!number->real ? number->integer == 0 : number->number == 0)
        each(arg, &value);
}

static void each_of(enum kind kind, const struct operand *operand, poly_value_fn *each, void *arg)
{
    struct poly_value value = {.type = POLY_TEXT};
    char copy[UUID_TEXT];

    if (kind == NUMBER) {
        each_number(operand, each, arg);
        return;
    }
    if (kind == TIME) {
        if (as_integer(operand, &value.integer)) {
            value.type = POLY_TIME;
            each(arg, &value);
        }
        return;
    }
    if (kind == UUID) {
        if (operand->size != UUID_TEXT - 1)
            return;
        memcpy(copy, operand->text, UUID_TEXT - 1);
        copy[UUID_TEXT - 1] = '\0';
        if (poly_uuid_parse(copy, &value, NULL) == POLY_OK)
            each(arg, &value);
        return;
    }
    value.type = kind == BYTES ? POLY_BYTES : POLY_TEXT;
    value.text = (struct poly_text){operand->text, operand->size};
    each(arg, &value);
    if (kind == TEXT) {
        value.type = POLY_JSON;
        each(arg, &value);
    }
}

bool poly_matcher_is_equal(const struct poly_matcher *m)
{
    return m->filter->path == NULL &&
           (m->filter->compare == POLY_EQ || m->filter->compare == POLY_IN);
}

void poly_matcher_equals(const struct poly_matcher *m, poly_value_fn *each, void *arg)
{
    for (enum kind kind = 0; kind < KINDS; kind++)
        for (size_t i = 0; i < m->operands[kind].count; i++)
            each_of(kind, &m->operands[kind].list[i], each, arg);
}

/* --- deciding --- */

static enum kind kind_of(const struct poly_cell *cell)
{
    static const enum kind kinds[] = {
        [POLY_BOOL] = NUMBER, [POLY_INT] = NUMBER, [POLY_FLOAT] = NUMBER, [POLY_TIME] = TIME,
        [POLY_TEXT] = TEXT,   [POLY_JSON] = TEXT,  [POLY_UUID] = UUID,    [POLY_BYTES] = BYTES};

    return kinds[cell->type];
}

/* room: for a UUID as text. */
static struct operand operand_of(const struct poly_cell *cell, enum kind kind, char *room)
{
    struct operand operand = {.real = cell->type == POLY_FLOAT, .size = cell->size};

    if (kind <= TIME) {
        operand.integer = cell->integer; /* or the double's eight bytes */
    } else if (kind == UUID) {
        poly_uuid_format((const uint8_t *)cell->text, room);
        operand = text_operand(room, UUID_TEXT - 1);
    } else {
        operand.text = cell->text;
    }
    return operand;
}

static bool among(const struct operands *operands, enum kind kind, const struct operand *value)
{
    size_t low = 0, high = operands->count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = compare(kind, value, &operands->list[middle]);

        if (order == 0)
            return true;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return false;
}

static bool decide_prefix(const struct poly_matcher *m, enum kind kind, const struct operand *value)
{
    const struct poly_text prefix = m->filter->values[0].text;

    return (kind == TEXT || kind == UUID) && value->size >= prefix.size &&
           (prefix.size == 0 || memcmp(value->text, prefix.data, prefix.size) == 0);
}

static bool decide(const struct poly_matcher *m, enum kind kind, const struct operand *value)
{
    const struct operands *operands = &m->operands[kind];
    int order;

    switch (m->filter->compare) {
    case POLY_EQ:
    case POLY_IN:
        return among(operands, kind, value);
    case POLY_NE:
        return !among(operands, kind, value);
    case POLY_PREFIX:
        return decide_prefix(m, kind, value);
    default:
        break;
    }
    if (operands->count == 0) /* of another kind */
        return false;
    order = compare(kind, value, &operands->list[0]);
    switch (m->filter->compare) {
    case POLY_LT:
        return order < 0;
    case POLY_LE:
        return order <= 0;
    case POLY_GT:
        return order > 0;
    default:
        return order >= 0;
    }
}

enum poly_truth poly_matcher_decide(struct poly_matcher *m, const struct poly_cell *cell)
{
    struct poly_cell found;
    struct operand value;
    char room[UUID_TEXT];
    enum kind kind;

    if (m->filter->path != NULL && cell->type != POLY_NULL) {
        at_path(m, cell, &found);
        cell = &found;
    }
    if (m->filter->compare == POLY_IS_NULL || m->filter->compare == POLY_NOT_NULL)
        return (cell->type == POLY_NULL) == (m->filter->compare == POLY_IS_NULL) ? POLY_TRUE
                                                                                 : POLY_FALSE;
    if (cell->type == POLY_NULL)
        return POLY_UNKNOWN;
    kind = kind_of(cell);
    value = operand_of(cell, kind, room);
    return decide(m, kind, &value) ? POLY_TRUE : POLY_FALSE;
}
