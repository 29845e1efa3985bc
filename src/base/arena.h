/*
 * Region memory: everything that one request needs is taken from one arena and
 * given back at once, so that no error path has anything to free.
 *
 * Not thread-safe: an arena belongs to whoever runs the request.
 */
#ifndef POLY_BASE_ARENA_H
#define POLY_BASE_ARENA_H

#include <stddef.h>

#include "polystore/value.h"

struct poly_arena;

/* max: most bytes that may be taken between two resets. NULL: out of memory. */
struct poly_arena *poly_arena_new(size_t max);
void poly_arena_free(struct poly_arena *arena); /* NULL is accepted */

/* Keeps one block, so that a small request costs no malloc. */
void poly_arena_reset(struct poly_arena *arena);

/* Aligned to 16 bytes; zeroed. NULL: over max, or out of memory. */
void *poly_arena_alloc(struct poly_arena *arena, size_t size) __attribute__((malloc));
/* count * size, checked for overflow. */
void *poly_arena_array(struct poly_arena *arena, size_t count, size_t size);
/* A copy that ends in NUL. data NULL with size 0 gives an empty text. NULL: as above. */
char *poly_arena_copy(struct poly_arena *arena, const void *data, size_t size);
char *poly_arena_printf(struct poly_arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Bytes taken since the last reset. */
size_t poly_arena_used(const struct poly_arena *arena);

/* A mark, and back to it: what was taken since is taken back. */
struct poly_arena_mark {
    void *block;
    size_t used, total;
};
struct poly_arena_mark poly_arena_mark(const struct poly_arena *arena);
void poly_arena_rewind(struct poly_arena *arena, struct poly_arena_mark mark);

#endif
