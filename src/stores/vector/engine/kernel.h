/*
 * Distances, and the codes that they are computed on: plain loops, compiled for several processors
 * at once (target_clones). Every variant gives the same integers for the same codes; floating
 * point sums differ in their order of addition only.
 */
#ifndef POLY_STORES_VECTOR_ENGINE_KERNEL_H
#define POLY_STORES_VECTOR_ENGINE_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "polystore/status.h"
#include "polystore/vector.h"

enum poly_element { POLY_F32, POLY_F16, POLY_INT8, POLY_BINARY };

/* Bytes of one original: 4, 2, 1 a dimension; binary: a bit a dimension, whole bytes. */
size_t poly_element_size(enum poly_element element, size_t dimensions);

/*
 * Checks a vector and brings it into the form in which originals are kept: cosine vectors of length
 * 1; f16 and int8 rounded (int8: values of -127 to 127 as they stand, others are refused; under
 * cosine, scaled by the vector's largest value). POLY_INVALID: NaN or infinity (named with its
 * place), a zero vector under cosine, binary with other values than 0 and 1.
 */
enum poly_status poly_vector_pack(enum poly_element element, enum poly_metric metric,
                                  const float *vector, size_t dimensions, void *original,
                                  struct poly_error *err);
void poly_vector_unpack(enum poly_element element, enum poly_metric metric, const void *original,
                        size_t dimensions, float *vector);

/* The distance of poly_vector.h between a query (unpacked: what poly_vector_unpack gives of its
 * packed form) and an original. */
float poly_vector_distance(enum poly_element element, enum poly_metric metric, const float *query,
                           const void *original, size_t dimensions);

/*
 * Codes: what graph and scans compare. One row for each vector, of .stride bytes (a multiple of 32,
 * or of 64 from 64 on, so that a row touches as few cache lines as can be), padded with what does
 * not change a distance; the last bytes may hold a norm. A coder is fixed for the life of an index:
 * it is trained once on a sample, and saved with it.
 *
 * Source of the technique: scalar quantisation to 8 bits with a clipped range (the 99.95th
 * percentile of |x|), the query as signed, the codes as unsigned bytes, so that VNNI multiplies
 * them; what is left of the query's sum is one constant a query. From POLY_ROTATE_DIMENSIONS on,
 * codes may be fewer bits after a random rotation.
 */
struct poly_coder {
    enum poly_element element;
    enum poly_metric metric;
    uint32_t dimensions;
    uint32_t stride; /* bytes of a code */
    float scale;     /* of one step */
    uint64_t seed;   /* of the rotation; 0: none */
};

/* sample: count originals, one after the other; count 0: a range that fits vectors of length 1. */
void poly_coder_train(struct poly_coder *coder, const void *sample, size_t count);
void poly_coder_encode(const struct poly_coder *coder, const void *original, uint8_t *code);

/* A query in the form that the code kernels want. buffer: poly_coder_query_size() bytes, aligned
 * to 64. */
size_t poly_coder_query_size(const struct poly_coder *coder);
void poly_coder_query(const struct poly_coder *coder, const float *query, void *buffer);

/* Approximate distance: orders as the true one does, less the rounding. */
float poly_code_distance(const struct poly_coder *coder, const void *query, const uint8_t *code);
/* Of many: codes at base + slots[i] * stride (slots NULL: 0, 1, 2 …); prefetches by itself. */
void poly_code_distances(const struct poly_coder *coder, const void *query, const uint8_t *base,
                         const uint32_t *slots, size_t count, float *distances);
/* Between two codes, while the graph is built. */
float poly_code_between(const struct poly_coder *coder, const uint8_t *a, const uint8_t *b);

#endif
