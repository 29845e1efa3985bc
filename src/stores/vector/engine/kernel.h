/*
 * Distances, and the codes that they are computed on.
 *
 * The loops are plain C, compiled several times, each for other processors (kernel_loops.h). Every
 * variant gives the same distances of codes, to the last bit; those of originals differ in the
 * order of addition only.
 */
#ifndef POLY_STORES_VECTOR_ENGINE_KERNEL_H
#define POLY_STORES_VECTOR_ENGINE_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "polystore/status.h"
#include "polystore/vector.h"

enum poly_element { POLY_F32, POLY_F16, POLY_INT8, POLY_BINARY };

/* Of a vector that is not compared by its direction alone: longer ones would not leave the range of
 * single precision room for their squares. */
#define POLY_VECTOR_LENGTH_MAX 1e18

/* Bytes of one original: 4, 2, 1 a dimension; binary: a bit a dimension, whole bytes. */
size_t poly_element_size(enum poly_element element, size_t dimensions);

/*
 * Checks a vector and brings it into the form in which originals are kept: cosine vectors of length
 * 1; f16 and int8 rounded (int8: values of -127 to 127 as they stand, others are refused; under
 * cosine, scaled by the vector's largest value). POLY_INVALID: NaN or infinity (named with its
 * place), a zero vector under cosine, binary with other values than 0 and 1, beyond f16's range
 * (65504) or POLY_VECTOR_LENGTH_MAX, hamming of anything but binary, binary under another metric.
 */
enum poly_status poly_vector_pack(enum poly_element element, enum poly_metric metric,
                                  const float *vector, size_t dimensions, void *original,
                                  struct poly_error *err);
/* Cosine: of length 1, whatever the element. original: aligned as its element wants it, here and
 * below. */
void poly_vector_unpack(enum poly_element element, enum poly_metric metric, const void *original,
                        size_t dimensions, float *vector);

/* The distance of poly_vector.h between a query (unpacked: what poly_vector_unpack gives of its
 * packed form) and an original. Never NaN. */
float poly_vector_distance(enum poly_element element, enum poly_metric metric, const float *query,
                           const void *original, size_t dimensions);

/*
 * Codes: what graph and scans compare. One row for each vector, of .stride bytes, a multiple of 32:
 * when the first begins at a multiple of 64, each touches as few cache lines as can be.
 *
 * A row is a byte a dimension (the value in steps of 1/127 of that vector's largest, plus 128) and
 * three floats at its end: the step, the square of the length of what the code stands for, and how
 * far that is from the vector. Queries are signed bytes in steps of their own, so that VNNI
 * multiplies them with the unsigned codes; what the 128 adds is one constant a query. Each vector
 * has its own step, so nothing is trained on data that may change later, no value is cut off, and
 * int8 originals are coded exactly. Binary: the bits, as they are.
 *
 * From 512 to 4,096 dimensions codes of f32 and f16 are short: half a byte for each dimension of
 * the vector after a random rotation, the first half of them in the bytes' low halves, the others
 * in the high ones. They stand for (2 * half - 15) * step; the square at the end is that of the
 * vector's length, for what was lost is at right angles to it (coder_short.c).
 */
struct poly_coder {
    enum poly_element element;
    enum poly_metric metric;
    uint32_t dimensions;
    uint32_t stride; /* bytes of a code */
    uint32_t sketch; /* bytes of a sketch; 0: there are none of such codes */
    uint32_t turned; /* dimensions after the rotation, an even number; 0: codes are not short */
};

/* dimensions: 1 to 16,000. */
void poly_coder_init(struct poly_coder *coder, enum poly_element element, enum poly_metric metric,
                     uint32_t dimensions);
/* code: aligned to 4. Fills the whole row. */
void poly_coder_encode(const struct poly_coder *coder, const void *original, uint8_t *code);

/* A query in the form that the code kernels want. buffer: poly_coder_query_size() bytes, aligned
 * to 64. */
size_t poly_coder_query_size(const struct poly_coder *coder);
void poly_coder_query(const struct poly_coder *coder, const float *query, void *buffer);
/* The same of what a code stands for: cheap, for comparing one code with many. */
void poly_coder_query_code(const struct poly_coder *coder, const uint8_t *code, void *buffer);

/*
 * Approximate distance: orders as the true one does, less the rounding; of short codes it may be
 * less than any true one can be. Cosine and inner: as in
 * polystore/vector.h; L2: its square; hamming: exact.
 */
float poly_code_distance(const struct poly_coder *coder, const void *query, const uint8_t *code);
/* Of many: codes at base + slots[i] * stride (slots NULL: 0, 1, 2 …); prefetches by itself. */
void poly_code_distances(const struct poly_coder *coder, const void *query, const uint8_t *base,
                         const uint32_t *slots, size_t count, float *distances);
/* Of many, of what poly_vector_distance() gives for their originals (so L2: not its square) a value
 * that it is certainly not below. Not of a query by poly_coder_query_code(), for that has forgotten
 * its vector. A little dearer than the distance. */
void poly_code_bounds(const struct poly_coder *coder, const void *query, const uint8_t *base,
                      const uint32_t *slots, size_t count, float *bounds);
/* What such a distance is likely to be wrong by (a standard deviation) for what short codes, and
 * the query, have lost; of others 0. query: by poly_coder_query(). */
float poly_code_error(const struct poly_coder *coder, const void *query, const uint8_t *code,
                      float distance);

/*
 * Sketches: of each dimension the upper half of its code, two in a byte. What they say of a
 * distance is wrong by a hundredth under cosine: enough to find the way to the nearest. There are
 * some where they fit into one cache line and codes do not, from 53 to 104 dimensions: what is
 * wider gains a tenth by them, and would take half as much memory again. A row is made of the
 * code's alone, so nobody needs to save it.
 */
void poly_sketch_encode(const struct poly_coder *coder, const uint8_t *code, uint8_t *sketch);
/* A query by poly_coder_query(), for sketches. buffer: poly_sketch_query_size() bytes, aligned to
 * 64. */
size_t poly_sketch_query_size(const struct poly_coder *coder);
void poly_sketch_query(const struct poly_coder *coder, const void *query, void *buffer);
/* As those of codes, coarser. */
void poly_sketch_distances(const struct poly_coder *coder, const void *query, const uint8_t *base,
                           const uint32_t *slots, size_t count, float *distances);

#endif
