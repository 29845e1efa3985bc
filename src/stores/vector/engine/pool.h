/*
 * Bytes that are kept as long as the pool, packed one behind the other (no alignment), and never
 * move. What was added since a mark can be taken back.
 */
#ifndef POLY_STORES_VECTOR_ENGINE_POOL_H
#define POLY_STORES_VECTOR_ENGINE_POOL_H

#include <stddef.h>

struct poly_pool_block;

struct poly_pool {
    struct poly_pool_block *last;
    size_t used;  /* of the last block */
    size_t bytes; /* taken from the system */
};

/* A copy; NULL: out of memory. size 0 gives an address, too. */
const char *poly_pool_add(struct poly_pool *pool, const void *data, size_t size);
/* Back to what the pool was (a copy of the struct is the mark). */
void poly_pool_rewind(struct poly_pool *pool, const struct poly_pool *mark);
void poly_pool_release(struct poly_pool *pool);

#endif
