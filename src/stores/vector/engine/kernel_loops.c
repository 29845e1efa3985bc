/*
 * Plain loops that the compiler turns into vector instructions: sums of integers in any order, and
 * (by options of this file alone) sums of floats too. This file is compiled once for each variant,
 * with POLY_LOOPS its name; nothing here may be called before the processor has been asked.
 *
 * The product of unsigned and signed bytes is written so that gcc makes VNNI's vpdpbusd of it,
 * which multiplies 64 pairs at a time. Rows are read to their end, the query being zero there: no
 * tail needs a loop of its own.
 */
#include "stores/vector/engine/kernel_loops.h"

#include <string.h>

#define AHEAD 6        /* rows that are fetched before they are needed */
#define LINE 64        /* bytes of a cache line */
#define LINES_AHEAD 16 /* of one row; the processor itself fetches what follows */

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

static inline int32_t dot_row(const uint8_t *restrict code, const int8_t *restrict query,
                              size_t count)
{
    int32_t sum = 0;

    count &= ~(size_t)31;
    for (size_t i = 0; i < count; i++)
        sum += code[i] * query[i];
    return sum;
}

static int32_t dot_codes(const uint8_t *code, const int8_t *query, size_t count)
{
    return dot_row(code, query, count);
}

static inline uint32_t differ_row(const uint8_t *restrict a, const uint8_t *restrict b,
                                  size_t count)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < count / 8; i++) {
        uint64_t one, two;

        memcpy(&one, a + 8 * i, 8);
        memcpy(&two, b + 8 * i, 8);
        sum += (uint32_t)__builtin_popcountll(one ^ two);
    }
    for (size_t i = count / 8 * 8; i < count; i++)
        sum += (uint32_t)__builtin_popcount(a[i] ^ b[i]);
    return sum;
}

static uint32_t differ(const uint8_t *a, const uint8_t *b, size_t count)
{
    return differ_row(a, b, count);
}

static inline const uint8_t *row_at(const struct poly_code_rows *rows, size_t i)
{
    return rows->base + (rows->slots != NULL ? rows->slots[i] : i) * rows->stride;
}

static inline void fetch(const uint8_t *row, size_t stride)
{
    size_t lines = stride < LINES_AHEAD * LINE ? stride : LINES_AHEAD * LINE;

    for (size_t at = 0; at < lines; at += LINE)
        __builtin_prefetch(row + at, 0, 3);
    /* The row may end in one line more than it fills. */
    __builtin_prefetch(row + lines - 1, 0, 3);
}

static inline float finish(const struct poly_code_query *query, const uint8_t *row, size_t stride,
                           int32_t product)
{
    struct poly_code_tail tail;

    memcpy(&tail, row + stride - sizeof(tail), sizeof(tail));
    return query->base + query->by_product * tail.step * (float)(product - query->shift) +
           query->by_square * tail.square;
}

static void scan_codes(const struct poly_code_query *query, const struct poly_code_rows *rows,
                       size_t count, float *restrict distances)
{
    size_t stride = rows->stride, ahead = count < AHEAD ? count : AHEAD;

    for (size_t i = 0; i < ahead; i++)
        fetch(row_at(rows, i), stride);
    for (size_t i = 0; i < count; i++) {
        const uint8_t *row = row_at(rows, i);

        if (i + AHEAD < count)
            fetch(row_at(rows, i + AHEAD), stride);
        distances[i] = finish(query, row, stride, dot_row(row, query->values, stride));
    }
}

static void scan_bits(const struct poly_code_query *query, const struct poly_code_rows *rows,
                      size_t count, float *restrict distances)
{
    size_t stride = rows->stride, ahead = count < AHEAD ? count : AHEAD;

    for (size_t i = 0; i < ahead; i++)
        fetch(row_at(rows, i), stride);
    for (size_t i = 0; i < count; i++) {
        const uint8_t *row = row_at(rows, i);

        if (i + AHEAD < count)
            fetch(row_at(rows, i + AHEAD), stride);
        distances[i] = (float)differ_row(row, (const uint8_t *)query->values, stride);
    }
}

#define NAME_OF(name) #name
#define NAME(name) NAME_OF(name)

extern const struct poly_loops POLY_LOOPS;
const struct poly_loops POLY_LOOPS = {
    .name = NAME(POLY_LOOPS),
    .dot_f32 = dot_f32,
    .square_f32 = square_f32,
    .dot_f16 = dot_f16,
    .square_f16 = square_f16,
    .dot_int8 = dot_int8,
    .square_int8 = square_int8,
    .dot_codes = dot_codes,
    .differ = differ,
    .scan_codes = scan_codes,
    .scan_bits = scan_bits,
};
