/*
 * Values, each once, under a number: 0, 1, 2 … in the order in which they came. Values are the same
 * when they have the same type and the same bytes (1 and 1.0 are two).
 *
 * Threads: one writes. Others read the values below a number that they were told is published, and
 * may look for one.
 */
#ifndef POLY_STORES_VECTOR_ENGINE_DICTIONARY_H
#define POLY_STORES_VECTOR_ENGINE_DICTIONARY_H

#include <pthread.h>
#include <stdatomic.h>

#include "polystore/value.h"
#include "stores/vector/engine/array.h"
#include "stores/vector/engine/hashes.h"
#include "stores/vector/engine/pool.h"

/* A value in 16 bytes. */
struct poly_cell {
    uint32_t type; /* enum poly_type */
    uint32_t size; /* of text */
    union {
        int64_t integer; /* BOOL, INT, TIME */
        double real;
        const char *text; /* TEXT, BYTES, JSON, UUID: 16 bytes */
    };
};

struct poly_dictionary {
    struct poly_array cells;
    struct poly_hashes hashes;
    pthread_mutex_t lock; /* of hashes, while it changes */
    uint32_t count;
    _Atomic uint32_t published;
};

/* first: becomes number 0, published. */
enum poly_status poly_dictionary_init(struct poly_dictionary *dictionary,
                                      const struct poly_value *first, struct poly_pool *pool,
                                      struct poly_error *err);
void poly_dictionary_release(struct poly_dictionary *dictionary);

/* The number of a value; adds it when it is new, its text to the pool. POLY_LIMIT: over
 * POLY_MAX_VALUE bytes. NaN is null. */
enum poly_status poly_dictionary_add(struct poly_dictionary *dictionary,
                                     const struct poly_value *value, struct poly_pool *pool,
                                     uint32_t *number, struct poly_error *err);
/* POLY_NO_NUMBER: it is not there. Any thread; number 0 is found under its value, too. */
uint32_t poly_dictionary_find(struct poly_dictionary *dictionary, const struct poly_value *value);

void poly_dictionary_publish(struct poly_dictionary *dictionary);
/* Forgets what was added since; texts are the pool's. */
void poly_dictionary_revert(struct poly_dictionary *dictionary);

static inline const struct poly_cell *poly_dictionary_at(const struct poly_dictionary *dictionary,
                                                         uint32_t number)
{
    return (const struct poly_cell *)poly_array_at(&dictionary->cells, number);
}

void poly_cell_value(const struct poly_cell *cell, struct poly_value *value);
/* Without a copy: the value's text lives as long. */
void poly_cell_of(const struct poly_value *value, struct poly_cell *cell);

/* Of bytes, for poly_hashes. */
uint32_t poly_hash_bytes(const void *data, size_t size, uint64_t seed);

#endif
