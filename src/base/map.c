/*
 * Open addressing with linear probing; a removal moves its followers back, so
 * that there are no tombstones and a lookup never gets slower with age. Three
 * quarters full at most. The hash (SipHash) is keyed at random: stream names
 * come from outside, and nobody shall choose them so that they collide.
 */
#include "base/map.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/random.h"

enum { FIRST = 64, KEY_BYTES = 128 };

struct slot {
    char *key; /* NULL: empty */
    size_t size;
    uint64_t hash, value;
};

struct poly_map {
    struct slot *slots;
    size_t capacity; /* a power of two; 0: none yet */
    size_t count, max;
    size_t bytes; /* of the keys */
    unsigned char seed[crypto_shorthash_KEYBYTES];
};

struct poly_map *poly_map_new(size_t max)
{
    struct poly_map *map = calloc(1, sizeof(*map));

    poly_assert(max > 0);
    if (map == NULL)
        return NULL;
    map->max = max;
    poly_random(map->seed, sizeof(map->seed));
    return map;
}

void poly_map_clear(struct poly_map *map)
{
    for (size_t i = 0; i < map->capacity; i++)
        free(map->slots[i].key);
    free(map->slots);
    map->slots = NULL;
    map->capacity = map->count = map->bytes = 0;
}

void poly_map_free(struct poly_map *map)
{
    if (map == NULL)
        return;
    poly_map_clear(map);
    free(map);
}

static uint64_t hash_of(const struct poly_map *map, const void *key, size_t size)
{
    uint64_t hash;

    _Static_assert(sizeof(hash) == crypto_shorthash_BYTES, "one word");
    crypto_shorthash((unsigned char *)&hash, key, size, map->seed);
    return hash;
}

/* The slot that holds the key, or the empty one where it would go. There is always an empty one. */
static struct slot *find(const struct poly_map *map, const void *key, size_t size, uint64_t hash)
{
    size_t mask = map->capacity - 1;

    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        struct slot *slot = &map->slots[i];

        if (slot->key == NULL || (slot->hash == hash && slot->size == size &&
                                  (size == 0 || memcmp(slot->key, key, size) == 0)))
            return slot;
    }
}

bool poly_map_get(const struct poly_map *map, const void *key, size_t size, uint64_t *value)
{
    if (map->count == 0)
        return false;

    const struct slot *slot = find(map, key, size, hash_of(map, key, size));

    if (slot->key == NULL)
        return false;
    *value = slot->value;
    return true;
}

static bool grow(struct poly_map *map)
{
    size_t capacity = map->capacity == 0 ? FIRST : map->capacity * 2;
    struct poly_map bigger = {.capacity = capacity};

    bigger.slots = calloc(capacity, sizeof(*bigger.slots));
    if (bigger.slots == NULL)
        return false;
    for (size_t i = 0; i < map->capacity; i++) {
        const struct slot *slot = &map->slots[i];

        if (slot->key != NULL)
            *find(&bigger, slot->key, slot->size, slot->hash) = *slot;
    }
    free(map->slots);
    map->slots = bigger.slots;
    map->capacity = capacity;
    return true;
}

static char *copy_of(const void *key, size_t size)
{
    char *copy = size == SIZE_MAX ? NULL : malloc(size + 1);

    if (copy != NULL && size > 0)
        memcpy(copy, key, size);
    if (copy != NULL)
        copy[size] = '\0';
    return copy;
}

static bool add(struct poly_map *map, struct slot new)
{
    bool full = map->count == map->max ||
                (map->count > 0 && map->bytes + new.size > map->max * KEY_BYTES);

    if (!full && map->count >= map->capacity / 4 * 3 && !grow(map))
        return false;
    if (full) {
        poly_map_clear(map);
        if (!grow(map))
            return false;
    }
    *find(map, new.key, new.size, new.hash) = new;
    map->count++;
    map->bytes += new.size;
    return true;
}

bool poly_map_put(struct poly_map *map, const void *key, size_t size, uint64_t value)
{
    struct slot new = {.size = size, .hash = hash_of(map, key, size), .value = value};

    if (map->count > 0) {
        struct slot *slot = find(map, key, size, new.hash);

        if (slot->key != NULL) {
            slot->value = value;
            return true;
        }
    }
    new.key = copy_of(key, size);
    if (new.key != NULL && add(map, new))
        return true;
    free(new.key);
    return false;
}

/* Fills the hole with the next slot that may stand there, and so on until an empty one. */
static void close_hole(struct poly_map *map, size_t hole)
{
    size_t mask = map->capacity - 1;

    for (size_t i = (hole + 1) & mask; map->slots[i].key != NULL; i = (i + 1) & mask) {
        size_t home = map->slots[i].hash & mask;

        if (((i - home) & mask) >= ((i - hole) & mask)) {
            map->slots[hole] = map->slots[i];
            hole = i;
        }
    }
    map->slots[hole] = (struct slot){0};
}

bool poly_map_remove(struct poly_map *map, const void *key, size_t size)
{
    if (map->count == 0)
        return false;

    struct slot *slot = find(map, key, size, hash_of(map, key, size));

    if (slot->key == NULL)
        return false;
    map->bytes -= slot->size;
    free(slot->key);
    close_hole(map, (size_t)(slot - map->slots));
    map->count--;
    return true;
}

size_t poly_map_count(const struct poly_map *map)
{
    return map->count;
}

bool poly_map_next(const struct poly_map *map, size_t *cursor, struct poly_text *key,
                   uint64_t *value)
{
    while (*cursor < map->capacity) {
        const struct slot *slot = &map->slots[(*cursor)++];

        if (slot->key != NULL) {
            *key = (struct poly_text){slot->key, slot->size};
            *value = slot->value;
            return true;
        }
    }
    return false;
}
