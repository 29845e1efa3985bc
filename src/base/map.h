/*
 * Bytes to a number, in constant time: a cache in memory of what is slower to
 * ask elsewhere. When it is full it forgets everything and starts again, so
 * what it does not know may still exist.
 *
 * Not thread-safe. Keys are copied.
 */
#ifndef POLY_BASE_MAP_H
#define POLY_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "polystore/value.h"

struct poly_map;

/* max: most entries, > 0; their keys take at most 128 times as many bytes together. Takes memory
 * as it grows. NULL: out of memory. */
struct poly_map *poly_map_new(size_t max);
void poly_map_free(struct poly_map *map); /* NULL is accepted */

/* *value is untouched when the key is not there. */
bool poly_map_get(const struct poly_map *map, const void *key, size_t size, uint64_t *value);
/* Adds or replaces. Adding to a full map empties it first. false: out of memory. */
bool poly_map_put(struct poly_map *map, const void *key, size_t size, uint64_t value);
/* false: it was not there. */
bool poly_map_remove(struct poly_map *map, const void *key, size_t size);
void poly_map_clear(struct poly_map *map); /* gives the memory back */
size_t poly_map_count(const struct poly_map *map);

/*
 * Each entry once, in no order: *cursor starts at 0; false at the end. The key
 * lives until the map changes; nothing may be put or removed in between.
 */
bool poly_map_next(const struct poly_map *map, size_t *cursor, struct poly_text *key,
                   uint64_t *value);

#endif
