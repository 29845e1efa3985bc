/* The nearest of a vector by looking at all: the truth that others are judged by. */
#ifndef POLY_BENCH_VECTOR_NEAREST_H
#define POLY_BENCH_VECTOR_NEAREST_H

#include <math.h>

#include "vector_side.h"

struct vector_nearest {
    float best[VECTOR_K];   /* inner products, the greatest first */
    uint32_t ids[VECTOR_K]; /* UINT32_MAX: none yet */
};

/* Lanes of their own, so that it need not be told that the order of a sum does not matter. */
static inline float vector_product(const float *a, const float *b, size_t count)
{
    enum { LANES = 32 };
    float lanes[LANES] = {0}, sum = 0;
    size_t i = 0;

    for (; i + LANES <= count; i += LANES)
        for (size_t j = 0; j < LANES; j++)
            lanes[j] += a[i + j] * b[i + j];
    for (; i < count; i++)
        sum += a[i] * b[i];
    for (size_t j = 0; j < LANES; j++)
        sum += lanes[j];
    return sum;
}

static inline void vector_nearest_begin(struct vector_nearest *nearest)
{
    for (size_t i = 0; i < VECTOR_K; i++) {
        nearest->best[i] = -INFINITY;
        nearest->ids[i] = UINT32_MAX;
    }
}

static inline void vector_nearest_add(struct vector_nearest *nearest, const float *query,
                                      const float *vector, size_t dimensions, uint32_t id)
{
    float near = vector_product(query, vector, dimensions);
    size_t at = VECTOR_K;

    for (; at > 0 && near > nearest->best[at - 1]; at--)
        if (at < VECTOR_K) {
            nearest->best[at] = nearest->best[at - 1];
            nearest->ids[at] = nearest->ids[at - 1];
        }
    if (at < VECTOR_K) {
        nearest->best[at] = near;
        nearest->ids[at] = id;
    }
}

#endif
