/*
 * Sums of floats in whatever order the processor adds fastest: this file alone is compiled with
 * that leave (meson.build), once for each variant, with POLY_SUMS its name.
 */
#include "stores/vector/engine/kernel_loops.h"

static float dot_f32(const float *restrict a, const float *restrict b, size_t count)
{
    float sum = 0;

    for (size_t i = 0; i < count; i++)
        sum += a[i] * b[i];
    return sum;
}

static float square_f32(const float *restrict a, const float *restrict b, size_t count)
{
    float sum = 0;

    for (size_t i = 0; i < count; i++)
        sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sum;
}

static float dot_f16(const float *restrict a, const uint16_t *restrict b, size_t count,
                     float *restrict square)
{
    float sum = 0, length = 0;

    for (size_t i = 0; i < count; i++) {
        float value = poly_half_float(b[i]);

        sum += a[i] * value;
        length += value * value;
    }
    *square = length;
    return sum;
}

static float square_f16(const float *restrict a, const uint16_t *restrict b, size_t count)
{
    float sum = 0;

    for (size_t i = 0; i < count; i++) {
        float apart = a[i] - poly_half_float(b[i]);

        sum += apart * apart;
    }
    return sum;
}

static float dot_int8(const float *restrict a, const int8_t *restrict b, size_t count,
                      float *restrict square)
{
    float sum = 0;
    int32_t length = 0;

    for (size_t i = 0; i < count; i++) {
        sum += a[i] * (float)b[i];
        length += b[i] * b[i];
    }
    *square = (float)length;
    return sum;
}

static float square_int8(const float *restrict a, const int8_t *restrict b, size_t count)
{
    float sum = 0;

    for (size_t i = 0; i < count; i++)
        sum += (a[i] - (float)b[i]) * (a[i] - (float)b[i]);
    return sum;
}

extern const struct poly_sums POLY_SUMS;
const struct poly_sums POLY_SUMS = {
    .dot_f32 = dot_f32,
    .square_f32 = square_f32,
    .dot_f16 = dot_f16,
    .square_f16 = square_f16,
    .dot_int8 = dot_int8,
    .square_int8 = square_int8,
};
