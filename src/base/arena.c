/*
 * Blocks in a list, the newest first. A block is twice the one before, up to a
 * bound, so that few mallocs serve a large request and a small one wastes
 * little. Reset frees all but the oldest.
 */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"

enum { BLOCK_FIRST = 8 * 1024, BLOCK_MAX = 1024 * 1024, ALIGN = 16 };

struct block {
    struct block *older;
    size_t size, used;
    _Alignas(ALIGN) char bytes[];
};

struct poly_arena {
    struct block *newest;
    size_t max, total;
};

struct poly_arena *poly_arena_new(size_t max)
{
    struct poly_arena *arena = calloc(1, sizeof(*arena));

    if (arena != NULL)
        arena->max = max;
    return arena;
}

static void free_blocks(struct poly_arena *arena, const struct block *keep)
{
    while (arena->newest != keep) {
        struct block *older = arena->newest->older;

        free(arena->newest);
        arena->newest = older;
    }
}

void poly_arena_free(struct poly_arena *arena)
{
    if (arena == NULL)
        return;
    free_blocks(arena, NULL);
    free(arena);
}

void poly_arena_reset(struct poly_arena *arena)
{
    struct block *oldest = arena->newest;

    while (oldest != NULL && oldest->older != NULL)
        oldest = oldest->older;
    free_blocks(arena, oldest);
    if (oldest != NULL && oldest->size > BLOCK_MAX)
        free_blocks(arena, NULL);
    else if (oldest != NULL)
        oldest->used = 0;
    arena->total = 0;
}

static struct block *grow(struct poly_arena *arena, size_t size)
{
    size_t next = arena->newest == NULL ? BLOCK_FIRST : arena->newest->size * 2;

    if (next > BLOCK_MAX)
        next = BLOCK_MAX;
    if (next < size)
        next = size;

    struct block *block = malloc(sizeof(*block) + next);

    if (block == NULL)
        return NULL;
    *block = (struct block){.older = arena->newest, .size = next};
    arena->newest = block;
    return block;
}

void *poly_arena_alloc(struct poly_arena *arena, size_t size)
{
    struct block *block = arena->newest;

    if (size > arena->max || arena->total > arena->max - size)
        return NULL;
    size = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (block == NULL || block->size - block->used < size) {
        block = grow(arena, size);
        if (block == NULL)
            return NULL;
    }

    void *memory = block->bytes + block->used;

    block->used += size;
    arena->total += size;
    return memset(memory, 0, size);
}

void *poly_arena_array(struct poly_arena *arena, size_t count, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    return poly_arena_alloc(arena, bytes);
}

char *poly_arena_copy(struct poly_arena *arena, const void *data, size_t size)
{
    char *copy = size == SIZE_MAX ? NULL : poly_arena_alloc(arena, size + 1);

    if (copy != NULL && size > 0)
        memcpy(copy, data, size);
    return copy;
}

char *poly_arena_printf(struct poly_arena *arena, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    int size = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    poly_assert(size >= 0);

    char *text = poly_arena_alloc(arena, (size_t)size + 1);

    if (text != NULL) {
        va_start(arguments, format);
        vsnprintf(text, (size_t)size + 1, format, arguments);
        va_end(arguments);
    }
    return text;
}

size_t poly_arena_used(const struct poly_arena *arena)
{
    return arena->total;
}

struct poly_arena_mark poly_arena_mark(const struct poly_arena *arena)
{
    struct poly_arena_mark mark = {arena->newest, arena->newest == NULL ? 0 : arena->newest->used,
                                   arena->total};
    return mark;
}

void poly_arena_rewind(struct poly_arena *arena, struct poly_arena_mark mark)
{
    free_blocks(arena, mark.block);
    if (arena->newest != NULL)
        arena->newest->used = mark.used;
    arena->total = mark.total;
}
