/*
 * The loops of the kernels, in one variant for each kind of processor: the same source compiled
 * with other options (meson.build), so that the compiler uses what that processor has. The best one
 * that this machine can run is chosen once; tests run all of them.
 */
#ifndef POLY_STORES_VECTOR_ENGINE_KERNEL_LOOPS_H
#define POLY_STORES_VECTOR_ENGINE_KERNEL_LOOPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "polystore/vector.h"

/* A query against many codes: signed bytes, zero from the dimensions on to the end of the row, so
 * that it does not matter what is in the row there. Aligned to 64. */
struct poly_code_query {
    float base;       /* distance = base + product of the values * step of the row * … */
    float by_product; /* … this + square of the row * … */
    float by_square;  /* … this */
    int32_t unit;     /* what a unit of a code counts in the product … */
    int32_t shift;    /* … and what its zero adds to that */
    float step;
    float square;   /* of the length of what the query's code stands for */
    float length;   /* of the query itself, not less */
    float residual; /* not less than the distance between the two */
    float rounding; /* what a float sum over the dimensions may be wrong by, relatively */
    enum poly_metric metric;
    float reserved[5];
    int8_t values[]; /* of the row's size; binary: bits; of halves: low ones, then high ones */
};

/* At the end of a row. */
struct poly_code_tail {
    float step;     /* of one unit of a code */
    float square;   /* of the length of what the code stands for; short: of the vector's */
    float residual; /* not less than the distance between that and the vector */
};

/* What half a byte of a sketch stands for, in half steps of the code that it is of: the middle of
 * the sixteen codes that begin with it, less the 128. */
#define POLY_SKETCH_STEP 32
#define POLY_SKETCH_ZERO 241

struct poly_code_rows {
    const uint8_t *base;
    const uint32_t *slots; /* NULL: 0, 1, 2 … */
    size_t stride;         /* a multiple of 32 */
    bool halves;           /* two dimensions a byte: sketches, short codes */
};

/* Short codes are of at most so many dimensions. */
#define POLY_SHORT_MOST 4096

/* Rounds of a turn: an even number. */
static inline uint32_t poly_turn_rounds(uint32_t count)
{
    const uint32_t bits = 32 - (uint32_t)__builtin_clz(count - 1);

    return (bits + 1) / 2 * 2 + 4;
}

/* kernel_sums.c */
struct poly_sums {
    float (*dot_f32)(const float *a, const float *b, size_t count);
    float (*square_f32)(const float *a, const float *b, size_t count); /* of the distance */
    /* square: of the second vector's length */
    float (*dot_f16)(const float *a, const uint16_t *b, size_t count, float *square);
    float (*square_f16)(const float *a, const uint16_t *b, size_t count);
    float (*dot_int8)(const float *a, const int8_t *b, size_t count, float *square);
    float (*square_int8)(const float *a, const int8_t *b, size_t count);
};

/* kernel_scan.c */
struct poly_loops {
    const char *name;
    const struct poly_sums *sums;
    /* Turns a vector in a way that depends on nothing but count, which is even: see
     * kernel_scan.c. */
    void (*turn)(float *vector, uint32_t count);
    /* Exact; count: a multiple of 32. */
    int32_t (*dot_codes)(const uint8_t *code, const int8_t *query, size_t count);
    uint32_t (*differ)(const uint8_t *a, const uint8_t *b, size_t count); /* bits */
    /* distances[i] of row i */
    void (*scan_codes)(const struct poly_code_query *query, const struct poly_code_rows *rows,
                       size_t count, float *distances);
    /* Not above the true distance, of vectors: for bounds that exclude. Not of sketches. */
    void (*scan_bounds)(const struct poly_code_query *query, const struct poly_code_rows *rows,
                        size_t count, float *bounds);
    void (*scan_bits)(const struct poly_code_query *query, const struct poly_code_rows *rows,
                      size_t count, float *distances);
};

/* The variants that this machine can run, the plainest first; *count of them. */
const struct poly_loops *const *poly_loops_list(size_t *count);
/* The one that is used: the last of them. */
const struct poly_loops *poly_loops_now(void);
/* For tests: use another one of the list. NULL: the best again. */
void poly_loops_use(const struct poly_loops *loops);

/* Half precision (IEEE 754 binary16), finite values only. */
static inline float poly_half_float(uint16_t half)
{
    /* The exponent is moved by a multiplication, which is right for denormals too, and has no
     * branch that would keep a loop from being vectorised. */
    union {
        uint32_t bits;
        float value;
    } magnitude = {(uint32_t)(half & 0x7fff) << 13}, sign = {(uint32_t)(half & 0x8000) << 16};

    magnitude.value *= 0x1p112f;
    magnitude.bits |= sign.bits;
    return magnitude.value;
}

#endif
