/* Linear probing, three quarters full at most; what is removed is closed up, so there are no
 * tombstones to walk over. */
#include "stores/vector/engine/hashes.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

enum { LEAST = 16 };

bool poly_hashes_fits(const struct poly_hashes *h, size_t count)
{
    return h->places != NULL && count <= (h->mask + 1) / 4 * 3;
}

bool poly_hashes_grown(const struct poly_hashes *h, size_t count, struct poly_hashes *grown)
{
    size_t room = LEAST;

    while (room / 4 * 3 < count)
        room *= 2;
    grown->places = malloc(room * sizeof(*grown->places));
    if (grown->places == NULL)
        return false;
    memset(grown->places, 0xff, room * sizeof(*grown->places));
    grown->mask = room - 1;
    grown->count = 0;
    for (size_t i = 0; h->places != NULL && i <= h->mask; i++)
        if (h->places[i].number != POLY_NO_NUMBER)
            poly_hashes_add(grown, h->places[i].hash, h->places[i].number);
    return true;
}

void poly_hashes_release(struct poly_hashes *h)
{
    free(h->places);
    *h = (struct poly_hashes){0};
}

void poly_hashes_clear(struct poly_hashes *h)
{
    if (h->places != NULL && h->count > 0)
        memset(h->places, 0xff, (h->mask + 1) * sizeof(*h->places));
    h->count = 0;
}

uint32_t poly_hashes_next(const struct poly_hashes *h, uint32_t hash, size_t *cursor)
{
    if (h->places == NULL)
        return POLY_NO_NUMBER;
    for (;;) {
        const struct poly_hash_place *place = &h->places[(*cursor)++ & h->mask];

        if (place->number == POLY_NO_NUMBER || place->hash == hash)
            return place->number;
    }
}

void poly_hashes_add(struct poly_hashes *h, uint32_t hash, uint32_t number)
{
    size_t at = hash & h->mask;

    poly_assert(h->count < h->mask);
    while (h->places[at].number != POLY_NO_NUMBER)
        at = (at + 1) & h->mask;
    h->places[at] = (struct poly_hash_place){hash, number};
    h->count++;
}

/* Whoever stands behind the hole, and would be found from before it, moves into it. */
static void close_up(struct poly_hashes *h, size_t hole)
{
    size_t at = hole;

    for (;;) {
        at = (at + 1) & h->mask;
        if (h->places[at].number == POLY_NO_NUMBER)
            break;
        if (((at - h->places[at].hash) & h->mask) < ((at - hole) & h->mask))
            continue;
        h->places[hole] = h->places[at];
        hole = at;
    }
    h->places[hole].number = POLY_NO_NUMBER;
}

void poly_hashes_change(struct poly_hashes *h, uint32_t hash, uint32_t from, uint32_t to)
{
    size_t at = hash & h->mask;

    while (h->places[at].number != from) {
        poly_assert(h->places[at].number != POLY_NO_NUMBER);
        at = (at + 1) & h->mask;
    }
    h->places[at].number = to;
    if (to != POLY_NO_NUMBER)
        return;
    close_up(h, at);
    h->count--;
}
