/* What the files of the kernel share: an original read in parts, as floats. */
#ifndef POLY_STORES_VECTOR_ENGINE_KERNEL_INSIDE_H
#define POLY_STORES_VECTOR_ENGINE_KERNEL_INSIDE_H

#include "stores/vector/engine/kernel.h"

struct poly_vector_source {
    enum poly_element element;
    const void *original;
    double factor; /* that gives it the length 1, where its element cannot keep that */
};

void poly_vector_source(struct poly_vector_source *source, enum poly_element element,
                        enum poly_metric metric, const void *original, size_t dimensions);
/* count values from that place on, as poly_vector_unpack() gives them. */
void poly_vector_part(const struct poly_vector_source *source, size_t from, size_t count,
                      float *part);

/* --- codes (coder.c) --- */

/* What a vector is rounded to, and what that takes from it. */
struct poly_rounding {
    double step, square, lost, whole; /* lengths, squared: code in steps, lost, the vector */
    int32_t sum;                      /* of the signed code */
};

/* In steps of 1/127 of the largest value. */
struct poly_rounding poly_code_round(const struct poly_vector_source *source, size_t dimensions,
                                     int8_t *values);
/* Not below the value. */
float poly_code_upwards(double value);

/* --- short codes (coder_short.c) --- */

struct poly_code_query;

void poly_short_encode(const struct poly_coder *coder, const struct poly_vector_source *source,
                       uint8_t *code);
/* All but the weights. */
void poly_short_query(const struct poly_coder *coder, const float *query,
                      struct poly_code_query *coded);
void poly_short_query_code(const struct poly_coder *coder, const uint8_t *code,
                           struct poly_code_query *coded);

#endif
