/*
 * Numbers by the hash of what they number: the caller keeps the things and compares them. Open
 * addressing, eight bytes a place; a hash may stand there several times, a number once.
 *
 * Growing makes a second table beside the first, so that whoever shares one with readers holds its
 * lock only while the two are exchanged.
 */
#ifndef POLY_STORES_VECTOR_ENGINE_HASHES_H
#define POLY_STORES_VECTOR_ENGINE_HASHES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POLY_NO_NUMBER UINT32_MAX

struct poly_hash_place {
    uint32_t hash, number; /* POLY_NO_NUMBER: free */
};

struct poly_hashes {
    struct poly_hash_place *places; /* NULL: nothing was ever in it */
    size_t mask;
    size_t count;
};

/* Has it room for so many in all? */
bool poly_hashes_fits(const struct poly_hashes *hashes, size_t count);
/* The same content with room for count, at least. false: out of memory. */
bool poly_hashes_grown(const struct poly_hashes *hashes, size_t count, struct poly_hashes *grown);
void poly_hashes_release(struct poly_hashes *hashes);

/* All numbers of a hash: for (cursor = hash; (n = poly_hashes_next(h, hash, &cursor)) !=
 * POLY_NO_NUMBER;) */
uint32_t poly_hashes_next(const struct poly_hashes *hashes, uint32_t hash, size_t *cursor);

/* Asks for memory that will be looked at soon. */
static inline void poly_hashes_fetch(const struct poly_hashes *hashes, uint32_t hash)
{
    __builtin_prefetch(&hashes->places[hash & hashes->mask], 1);
}

/* Adds; there is room. */
void poly_hashes_add(struct poly_hashes *hashes, uint32_t hash, uint32_t number);
/* Of a number that is there; to POLY_NO_NUMBER: removes it. */
void poly_hashes_change(struct poly_hashes *hashes, uint32_t hash, uint32_t from, uint32_t to);
void poly_hashes_clear(struct poly_hashes *hashes); /* keeps the memory */

#endif
