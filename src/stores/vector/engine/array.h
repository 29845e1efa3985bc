/*
 * An array that grows and never moves: segments, each as long as all before it together. One
 * thread reserves and writes; others read what they were told is there, without a lock.
 */
#ifndef POLY_STORES_VECTOR_ENGINE_ARRAY_H
#define POLY_STORES_VECTOR_ENGINE_ARRAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { POLY_ARRAY_FIRST_BITS = 9, POLY_ARRAY_SEGMENTS = 32 - POLY_ARRAY_FIRST_BITS + 1 };

struct poly_array {
    size_t width; /* bytes of an element; set once */
    char *segments[POLY_ARRAY_SEGMENTS];
};

/* Segment s begins at index 0, 512, 1,024, 2,048 … and so is half of all up to its end. */
static inline unsigned poly_array_segment(uint32_t index)
{
    return index >> POLY_ARRAY_FIRST_BITS == 0
               ? 0
               : 32u - POLY_ARRAY_FIRST_BITS - (unsigned)__builtin_clz(index);
}

static inline uint32_t poly_array_begin(unsigned segment)
{
    return segment == 0 ? 0 : UINT32_C(1) << (segment + POLY_ARRAY_FIRST_BITS - 1);
}

static inline void *poly_array_at(const struct poly_array *array, uint32_t index)
{
    unsigned segment = poly_array_segment(index);

    return array->segments[segment] + (index - poly_array_begin(segment)) * array->width;
}

/* How many elements from index on, at most up to end, lie one after the other. */
static inline uint32_t poly_array_run(uint32_t index, uint32_t end)
{
    unsigned segment = poly_array_segment(index);
    uint64_t next = segment + 1 == POLY_ARRAY_SEGMENTS ? UINT64_C(1) << 32
                                                       : (uint64_t)poly_array_begin(segment + 1);

    return (next < end ? (uint32_t)next : end) - index;
}

/* Room for elements 0 to count - 1, zeroed. false: out of memory. */
bool poly_array_reserve(struct poly_array *array, uint32_t count);
void poly_array_release(struct poly_array *array);

#endif
