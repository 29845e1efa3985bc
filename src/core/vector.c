/* Every write of a vector is read here, in the caller's thread: what a store that follows could not
 * take in must not get into the log. */
#include "core/vector.h"

#include <math.h>
#include <string.h>
#include <strings.h>

#include "base/json_floats.h"
#include "base/status.h"
#include "core/model.h"

const struct poly_domain_vector *poly_vector_of(const struct poly_domain *domain, const char *field)
{
    for (size_t i = 0; i < domain->vector_count; i++)
        if (strcasecmp(domain->vectors[i].field, field) == 0)
            return poly_vector_now(&domain->vectors[i]);
    return NULL;
}

bool poly_vector_made(const struct poly_domain *domain, const char *field)
{
    const struct poly_domain_vector *vector = poly_vector_of(domain, field);

    return vector != NULL && vector->embedder != NULL;
}

/* --- a list of numbers --- */

struct cursor {
    const char *at, *end;
};

static void skip_space(struct cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r'))
        c->at++;
}

static bool take_char(struct cursor *c, char wanted)
{
    skip_space(c);
    if (c->at == c->end || *c->at != wanted)
        return false;
    c->at++;
    return true;
}

static enum poly_status wrong_size(const struct poly_domain_vector *shape, size_t count,
                                   const char *more, struct poly_error *err)
{
    return poly_fail(err, POLY_INVALID, "vector '%s': %zu%s dimensions were given, it has %u",
                     shape->field, count, more, shape->dimensions);
}

static enum poly_status no_list(const struct poly_domain_vector *shape, struct poly_error *err)
{
    return poly_fail(err, POLY_INVALID,
                     "vector '%s': wants an array of %u numbers, like [0.1, -2, 3e-05]",
                     shape->field, shape->dimensions);
}

static enum poly_status read_list(const struct poly_domain_vector *shape,
                                  const struct poly_value *value, float *numbers,
                                  struct poly_error *err)
{
    struct cursor c = {value->text.data, value->text.data + value->text.size};
    bool braces = value->type == POLY_TEXT && take_char(&c, '{');
    char close = braces ? '}' : ']';
    size_t count = 0;

    if (!braces && !take_char(&c, '['))
        return no_list(shape, err);
    while (!take_char(&c, close)) {
        if (count > 0 && !take_char(&c, ','))
            return no_list(shape, err);
        if (count == shape->dimensions)
            return wrong_size(shape, count, " or more", err);
        skip_space(&c);
        if (!poly_json_read_float(&c.at, c.end, &numbers[count]))
            return poly_fail(err, POLY_INVALID, "vector '%s': number %zu is none", shape->field,
                             count + 1);
        count++;
    }
    skip_space(&c);
    if (c.at != c.end)
        return no_list(shape, err);
    return count == shape->dimensions ? POLY_OK : wrong_size(shape, count, "", err);
}

static enum poly_status read_bytes(const struct poly_domain_vector *shape, struct poly_text bytes,
                                   float *numbers, struct poly_error *err)
{
    if (bytes.size != (size_t)shape->dimensions * 4)
        return poly_fail(err, POLY_INVALID,
                         "vector '%s': %zu bytes were given; %u dimensions are %zu (little-endian "
                         "singles)",
                         shape->field, bytes.size, shape->dimensions,
                         (size_t)shape->dimensions * 4);
    for (size_t i = 0; i < shape->dimensions; i++) {
        const unsigned char *b = (const unsigned char *)bytes.data + 4 * i;
        uint32_t bits =
            (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;

        memcpy(&numbers[i], &bits, sizeof(bits));
    }
    return POLY_OK;
}

enum poly_status poly_vector_read(const struct poly_domain_vector *shape,
                                  const struct poly_value *value, struct poly_arena *arena,
                                  const float **numbers, struct poly_error *err)
{
    enum poly_status status;
    float *out;

    if (value->type == POLY_NULL) {
        *numbers = NULL;
        return POLY_OK;
    }
    if (value->type != POLY_BYTES && value->type != POLY_JSON && value->type != POLY_TEXT)
        return no_list(shape, err);
    out = poly_arena_array(arena, shape->dimensions, sizeof(*out));
    if (out == NULL)
        return poly_no_memory(err);
    status = value->type == POLY_BYTES ? read_bytes(shape, value->text, out, err)
                                       : read_list(shape, value, out, err);
    if (status == POLY_OK)
        status = poly_vector_check(shape, out, shape->dimensions, err);
    if (status == POLY_OK)
        *numbers = out;
    return status;
}

/* --- may it be? --- */

/* What of the element and the metric limits a number: looked up once a vector. */
enum rule { ANY_NUMBER, AS_F16, AS_INT8, AS_BINARY };

static enum rule rule_of(const struct poly_domain_vector *shape, bool cosine)
{
    return strcmp(shape->element, "binary") == 0 ? AS_BINARY
           : cosine                              ? ANY_NUMBER
           : strcmp(shape->element, "f16") == 0  ? AS_F16
           : strcmp(shape->element, "int8") == 0 ? AS_INT8
                                                 : ANY_NUMBER;
}

/* NULL: it may. */
static const char *number_problem(enum rule rule, float number)
{
    if (!isfinite(number))
        return "is not finite";
    if (rule == AS_F16 && fabsf(number) > 65504)
        return "is over 65504, the greatest of f16";
    if (rule == AS_INT8 && (fabsf(number) > 127 || truncf(number) != number))
        return "is no whole number of -127 to 127, as int8 wants";
    if (rule == AS_BINARY && number != 0 && number != 1)
        return "is neither 0 nor 1, as binary wants";
    return NULL;
}

enum poly_status poly_vector_check(const struct poly_domain_vector *shape, const float *numbers,
                                   size_t count, struct poly_error *err)
{
    bool cosine = strcmp(shape->metric, "cosine") == 0;
    enum rule rule = rule_of(shape, cosine);
    double square = 0;

    if (count != shape->dimensions)
        return wrong_size(shape, count, "", err);
    for (size_t i = 0; i < count; i++) {
        const char *problem = number_problem(rule, numbers[i]);

        if (problem != NULL)
            return poly_fail(err, POLY_INVALID, "vector '%s': number %zu %s", shape->field, i + 1,
                             problem);
        square += (double)numbers[i] * (double)numbers[i];
    }
    if (!cosine && sqrt(square) > POLY_MAX_VECTOR_LENGTH)
        return poly_fail(err, POLY_INVALID, "vector '%s': its length is %g; at most %g",
                         shape->field, sqrt(square), POLY_MAX_VECTOR_LENGTH);
    if (cosine && square == 0)
        return poly_fail(err, POLY_INVALID,
                         "vector '%s': all its numbers are zero, and so it has no direction, which "
                         "the metric 'cosine' compares",
                         shape->field);
    return POLY_OK;
}

enum poly_status poly_vector_check_all(const struct poly_domain *domain, const char *field,
                                       const float *numbers, size_t count, struct poly_error *err)
{
    enum poly_status status = POLY_OK;

    for (size_t i = 0; i < domain->vector_count && status == POLY_OK; i++)
        if (strcasecmp(domain->vectors[i].field, field) == 0)
            status = poly_vector_check(poly_vector_now(&domain->vectors[i]), numbers, count, err);
    return status;
}

void poly_vector_print(struct poly_buffer *buffer, const float *numbers, size_t count, char open,
                       char close)
{
    poly_buffer_char(buffer, open);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            poly_buffer_char(buffer, ',');
        poly_json_float(buffer, numbers[i]);
    }
    poly_buffer_char(buffer, close);
}
