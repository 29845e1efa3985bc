/* Blocks become larger with the pool, up to a megabyte: a small one wastes little, a large one asks
 * the system seldom. */
#include "stores/vector/engine/pool.h"

#include <stdlib.h>
#include <string.h>

enum { LEAST = 4096, MOST = 1 << 20 };

struct poly_pool_block {
    struct poly_pool_block *before;
    size_t size; /* of data */
    char data[];
};

const char *poly_pool_add(struct poly_pool *pool, const void *data, size_t size)
{
    struct poly_pool_block *block = pool->last;
    char *copy;

    if (size == 0)
        return "";
    if (block == NULL || block->size - pool->used < size) {
        size_t room = pool->bytes < LEAST ? LEAST : pool->bytes < MOST ? pool->bytes : MOST;

        room = room < size ? size : room;
        block = malloc(sizeof(*block) + room);
        if (block == NULL)
            return NULL;
        block->before = pool->last;
        block->size = room;
        pool->last = block;
        pool->used = 0;
        pool->bytes += room + sizeof(*block);
    }
    copy = block->data + pool->used;
    memcpy(copy, data, size);
    pool->used += size;
    return copy;
}

void poly_pool_rewind(struct poly_pool *pool, const struct poly_pool *mark)
{
    while (pool->last != mark->last) {
        struct poly_pool_block *gone = pool->last;

        pool->last = gone->before;
        free(gone);
    }
    *pool = *mark;
}

void poly_pool_release(struct poly_pool *pool)
{
    const struct poly_pool empty = {0};

    poly_pool_rewind(pool, &empty);
}
