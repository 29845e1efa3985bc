/*
 * Vectors as they come, as they are kept, and how far they are from each other.
 *
 * What is kept is checked once, here, so that the loops need not look: no NaN, no infinity, nothing
 * whose square would overflow. Sums over a vector that decide its form (its length) are in double
 * precision, for they are made once; distances are in single precision.
 */
#include "stores/vector/engine/kernel.h"

#include <math.h>
#include <string.h>

#include "base/assert.h"
#include "base/status.h"
#include "stores/vector/engine/kernel_inside.h"
#include "stores/vector/engine/kernel_loops.h"

#define INT8_MOST 127
#define HALF_INFINITY 0x7c00

size_t poly_element_size(enum poly_element element, size_t dimensions)
{
    switch (element) {
    case POLY_F32:
        return dimensions * sizeof(float);
    case POLY_F16:
        return dimensions * sizeof(uint16_t);
    case POLY_INT8:
        return dimensions;
    case POLY_BINARY:
        break;
    }
    return (dimensions + 7) / 8;
}

/* To the nearest, ties to even. At least HALF_INFINITY: out of range. */
static uint16_t half_of(double value)
{
    uint16_t sign = signbit(value) ? 0x8000 : 0;
    int exponent;
    uint32_t bits;

    value = fabs(value);
    frexp(value, &exponent);
    if (exponent > 16)
        return HALF_INFINITY;
    /* Denormals count in units of 2^-24; a unit too many is the least normal number. Above,
     * a mantissa that is rounded up to the next power of two carries into the exponent. */
    if (value < 0x1p-14)
        bits = (uint32_t)lrint(value * 0x1p24);
    else
        bits = (uint32_t)((exponent + 14) << 10) +
               (uint32_t)(lrint(ldexp(value, 11 - exponent)) - 1024);
    return (uint16_t)(bits < HALF_INFINITY ? bits | sign : HALF_INFINITY);
}

static enum poly_status measure(const float *vector, size_t dimensions, double *length,
                                double *largest, struct poly_error *err)
{
    double square = 0, most = 0;

    for (size_t i = 0; i < dimensions; i++) {
        if (!isfinite(vector[i]))
            return poly_fail(err, POLY_INVALID, "vector: number %zu is %s, not a finite number", i,
                             isnan(vector[i]) ? "NaN" : "infinite");
        square += (double)vector[i] * vector[i];
        most = fmax(most, fabs((double)vector[i]));
    }
    *length = sqrt(square);
    *largest = most;
    return POLY_OK;
}

static enum poly_status pack_bits(const float *vector, size_t dimensions, uint8_t *bits,
                                  struct poly_error *err)
{
    for (size_t i = 0; i < dimensions; i++)
        if (vector[i] != 0 && vector[i] != 1)
            return poly_fail(err, POLY_INVALID,
                             "vector: number %zu is %g; a binary vector is of 0 and 1", i,
                             (double)vector[i]);
    memset(bits, 0, (dimensions + 7) / 8);
    for (size_t i = 0; i < dimensions; i++)
        if (vector[i] != 0)
            bits[i / 8] |= (uint8_t)(1U << i % 8);
    return POLY_OK;
}

/* Each is checked before the first is written. */
static enum poly_status pack_half(const float *vector, size_t dimensions, double factor,
                                  uint16_t *original, struct poly_error *err)
{
    for (size_t i = 0; i < dimensions; i++)
        if (half_of(vector[i] * factor) == HALF_INFINITY)
            return poly_fail(err, POLY_INVALID,
                             "vector: number %zu is %g; f16 holds -65504 to 65504", i,
                             (double)vector[i]);
    for (size_t i = 0; i < dimensions; i++)
        original[i] = half_of(vector[i] * factor);
    return POLY_OK;
}

static enum poly_status pack_int8(const float *vector, size_t dimensions, double factor,
                                  int8_t *original, struct poly_error *err)
{
    for (size_t i = 0; i < dimensions; i++)
        if (fabs(rint(vector[i] * factor)) > INT8_MOST)
            return poly_fail(err, POLY_INVALID,
                             "vector: number %zu is %g; an int8 vector is of -127 to 127", i,
                             (double)vector[i]);
    for (size_t i = 0; i < dimensions; i++)
        original[i] = (int8_t)rint(vector[i] * factor);
    return POLY_OK;
}

static void pack_float(const float *vector, size_t dimensions, double length, float *original)
{
    for (size_t i = 0; i < dimensions; i++)
        original[i] = (float)(vector[i] / length);
}

enum poly_status poly_vector_pack(enum poly_element element, enum poly_metric metric,
                                  const float *vector, size_t dimensions, void *original,
                                  struct poly_error *err)
{
    bool cosine = metric == POLY_COSINE;
    double length = 0, largest = 0;
    enum poly_status status;

    if ((element == POLY_BINARY) != (metric == POLY_HAMMING))
        return poly_fail(err, POLY_INVALID,
                         "vector: binary vectors, and no others, have the metric 'hamming'");
    status = measure(vector, dimensions, &length, &largest, err);
    if (status != POLY_OK)
        return status;
    if (cosine && length == 0)
        return poly_fail(err, POLY_INVALID,
                         "vector: all numbers are 0; under cosine it must have a direction");
    if (!cosine && length > POLY_VECTOR_LENGTH_MAX)
        return poly_fail(err, POLY_INVALID, "vector: its length is %g; at most %g", length,
                         POLY_VECTOR_LENGTH_MAX);
    switch (element) {
    case POLY_F32:
        pack_float(vector, dimensions, cosine ? length : 1, original);
        return POLY_OK;
    case POLY_F16:
        return pack_half(vector, dimensions, cosine ? 1 / length : 1, original, err);
    case POLY_INT8:
        return pack_int8(vector, dimensions, cosine ? INT8_MOST / largest : 1, original, err);
    case POLY_BINARY:
        break;
    }
    return pack_bits(vector, dimensions, original, err);
}

void poly_vector_source(struct poly_vector_source *source, enum poly_element element,
                        enum poly_metric metric, const void *original, size_t dimensions)
{
    double square = 0;

    source->element = element;
    source->original = original;
    source->factor = 1;
    if (metric != POLY_COSINE || element == POLY_F32)
        return;
    for (size_t i = 0; i < dimensions; i++) {
        double value = element == POLY_F16
                           ? (double)poly_half_float(((const uint16_t *)original)[i])
                           : ((const int8_t *)original)[i];

        square += value * value;
    }
    source->factor = square > 0 ? 1 / sqrt(square) : 0;
}

void poly_vector_part(const struct poly_vector_source *source, size_t from, size_t count,
                      float *part)
{
    for (size_t i = 0; i < count; i++) {
        size_t at = from + i;

        switch (source->element) {
        case POLY_F32:
            part[i] = ((const float *)source->original)[at];
            break;
        case POLY_F16:
            part[i] = (float)((double)poly_half_float(((const uint16_t *)source->original)[at]) *
                              source->factor);
            break;
        case POLY_INT8:
            part[i] = (float)(((const int8_t *)source->original)[at] * source->factor);
            break;
        case POLY_BINARY:
            part[i] = (float)(((const uint8_t *)source->original)[at / 8] >> at % 8 & 1);
            break;
        }
    }
}

void poly_vector_unpack(enum poly_element element, enum poly_metric metric, const void *original,
                        size_t dimensions, float *vector)
{
    struct poly_vector_source source;

    poly_vector_source(&source, element, metric, original, dimensions);
    poly_vector_part(&source, 0, dimensions, vector);
}

static float differing(const float *query, const uint8_t *bits, size_t dimensions)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < dimensions; i++)
        sum += (uint32_t)(query[i] != 0) ^ (uint32_t)(bits[i / 8] >> i % 8 & 1);
    return (float)sum;
}

/* square: of the original's length, where it need not be 1. */
static float product(enum poly_element element, const float *query, const void *original,
                     size_t dimensions, float *square)
{
    const struct poly_sums *sums = poly_loops_now()->sums;

    *square = 1;
    if (element == POLY_F32)
        return sums->dot_f32(query, original, dimensions);
    if (element == POLY_F16)
        return sums->dot_f16(query, original, dimensions, square);
    return sums->dot_int8(query, original, dimensions, square);
}

static float apart(enum poly_element element, const float *query, const void *original,
                   size_t dimensions)
{
    const struct poly_sums *sums = poly_loops_now()->sums;

    if (element == POLY_F32)
        return sums->square_f32(query, original, dimensions);
    if (element == POLY_F16)
        return sums->square_f16(query, original, dimensions);
    return sums->square_int8(query, original, dimensions);
}

float poly_vector_distance(enum poly_element element, enum poly_metric metric, const float *query,
                           const void *original, size_t dimensions)
{
    float dot, square;

    poly_assert((element == POLY_BINARY) == (metric == POLY_HAMMING));
    switch (metric) {
    case POLY_COSINE:
        dot = product(element, query, original, dimensions, &square);
        dot = square > 0 ? dot / sqrtf(square) : 0;
        return 1 - fminf(fmaxf(dot, -1), 1);
    case POLY_INNER:
        return -product(element, query, original, dimensions, &square);
    case POLY_L2:
        return sqrtf(apart(element, query, original, dimensions));
    case POLY_HAMMING:
        break;
    }
    return differing(query, original, dimensions);
}
