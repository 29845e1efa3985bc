/*
 * The writer looks for a value without a lock, for nobody else changes anything; it takes the lock
 * to add one. A larger table is filled beside the old one and exchanged under the lock, so a reader
 * waits for a store, not for a copy.
 */
#include "stores/vector/engine/dictionary.h"

#include <math.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/limits.h"
#include "base/status.h"

uint32_t poly_hash_bytes(const void *data, size_t size, uint64_t seed)
{
    return (uint32_t)XXH3_64bits_withSeed(data, size, seed);
}

void poly_cell_of(const struct poly_value *value, struct poly_cell *cell)
{
    *cell = (struct poly_cell){.type = value->type};
    switch (value->type) {
    case POLY_NULL:
        break;
    case POLY_BOOL:
        cell->integer = value->boolean;
        break;
    case POLY_INT:
    case POLY_TIME:
        cell->integer = value->integer;
        break;
    case POLY_FLOAT:
        if (isnan(value->real)) /* as SQLite keeps it */
            cell->type = POLY_NULL;
        else
            cell->real = value->real;
        break;
    case POLY_TEXT:
    case POLY_BYTES:
    case POLY_JSON:
        cell->text = value->text.data;
        cell->size = (uint32_t)value->text.size;
        break;
    case POLY_UUID:
        cell->text = (const char *)value->uuid;
        cell->size = sizeof(value->uuid);
        break;
    }
}

static bool has_text(const struct poly_cell *cell)
{
    return cell->type == POLY_TEXT || cell->type == POLY_BYTES || cell->type == POLY_JSON ||
           cell->type == POLY_UUID;
}

void poly_cell_value(const struct poly_cell *cell, struct poly_value *value)
{
    *value = poly_null();
    value->type = (enum poly_type)cell->type;
    if (cell->type == POLY_UUID)
        memcpy(value->uuid, cell->text, sizeof(value->uuid));
    else if (has_text(cell))
        value->text = (struct poly_text){cell->text, cell->size};
    else if (cell->type == POLY_BOOL)
        value->boolean = cell->integer != 0;
    else
        value->integer = cell->integer; /* FLOAT: the same eight bytes */
}

static uint32_t hash_of(const struct poly_cell *cell)
{
    return has_text(cell) ? poly_hash_bytes(cell->text, cell->size, cell->type)
                          : poly_hash_bytes(&cell->integer, sizeof(cell->integer), cell->type);
}

static bool same(const struct poly_cell *a, const struct poly_cell *b)
{
    if (a->type != b->type || a->size != b->size)
        return false;
    return has_text(a) ? a->size == 0 || memcmp(a->text, b->text, a->size) == 0
                       : a->integer == b->integer;
}

static uint32_t find(const struct poly_dictionary *d, const struct poly_cell *cell, uint32_t hash)
{
    size_t cursor = hash;
    uint32_t number;

    while ((number = poly_hashes_next(&d->hashes, hash, &cursor)) != POLY_NO_NUMBER)
        if (same(poly_dictionary_at(d, number), cell))
            break;
    return number;
}

uint32_t poly_dictionary_find(struct poly_dictionary *d, const struct poly_value *value)
{
    struct poly_cell cell;
    uint32_t hash, number;

    poly_cell_of(value, &cell);
    hash = hash_of(&cell);
    pthread_mutex_lock(&d->lock);
    number = find(d, &cell, hash);
    pthread_mutex_unlock(&d->lock);
    return number;
}

/* For one more. */
static enum poly_status make_room(struct poly_dictionary *d, struct poly_error *err)
{
    struct poly_hashes grown, old = d->hashes;

    if (d->count == POLY_NO_NUMBER - 1)
        return poly_fail(err, POLY_LIMIT, "too many different values");
    if (!poly_array_reserve(&d->cells, d->count + 1))
        return poly_no_memory(err);
    if (poly_hashes_fits(&d->hashes, d->count + (size_t)1))
        return POLY_OK;
    if (!poly_hashes_grown(&d->hashes, d->count + (size_t)1, &grown))
        return poly_no_memory(err);
    pthread_mutex_lock(&d->lock);
    d->hashes = grown;
    pthread_mutex_unlock(&d->lock);
    poly_hashes_release(&old);
    return POLY_OK;
}

enum poly_status poly_dictionary_add(struct poly_dictionary *d, const struct poly_value *value,
                                     struct poly_pool *pool, uint32_t *number,
                                     struct poly_error *err)
{
    struct poly_cell cell;
    enum poly_status status;
    uint32_t hash;

    poly_cell_of(value, &cell);
    if (has_text(&cell) && cell.type != POLY_UUID && value->text.size > POLY_MAX_VALUE)
        return poly_fail(err, POLY_LIMIT, "a value of %zu bytes; at most %d are kept",
                         value->text.size, POLY_MAX_VALUE);
    hash = hash_of(&cell);
    *number = find(d, &cell, hash);
    if (*number != POLY_NO_NUMBER)
        return POLY_OK;
    status = make_room(d, err);
    if (status != POLY_OK)
        return status;
    if (has_text(&cell)) {
        cell.text = poly_pool_add(pool, cell.text, cell.size);
        if (cell.text == NULL)
            return poly_no_memory(err);
    }
    *(struct poly_cell *)poly_array_at(&d->cells, d->count) = cell;
    *number = d->count++;
    pthread_mutex_lock(&d->lock);
    poly_hashes_add(&d->hashes, hash, *number);
    pthread_mutex_unlock(&d->lock);
    return POLY_OK;
}

enum poly_status poly_dictionary_init(struct poly_dictionary *d, const struct poly_value *first,
                                      struct poly_pool *pool, struct poly_error *err)
{
    uint32_t number;
    enum poly_status status;

    d->cells.width = sizeof(struct poly_cell);
    pthread_mutex_init(&d->lock, NULL);
    status = poly_dictionary_add(d, first, pool, &number, err);
    poly_dictionary_publish(d);
    return status;
}

void poly_dictionary_release(struct poly_dictionary *d)
{
    if (d->cells.width == 0)
        return;
    poly_array_release(&d->cells);
    poly_hashes_release(&d->hashes);
    pthread_mutex_destroy(&d->lock);
}

void poly_dictionary_publish(struct poly_dictionary *d)
{
    atomic_store_explicit(&d->published, d->count, memory_order_release);
}

void poly_dictionary_revert(struct poly_dictionary *d)
{
    uint32_t published = atomic_load_explicit(&d->published, memory_order_relaxed);

    while (d->count > published) {
        uint32_t hash = hash_of(poly_dictionary_at(d, d->count - 1));

        pthread_mutex_lock(&d->lock);
        poly_hashes_change(&d->hashes, hash, d->count - 1, POLY_NO_NUMBER);
        pthread_mutex_unlock(&d->lock);
        d->count--;
    }
}
