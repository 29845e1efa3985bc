/*
 * How long statements take, as their callers see it: calls and time of each
 * text, over all connections of a pool. For servers that do not keep
 * such a table themselves.
 *
 * The table has a fixed size. A text has four places, and where all are taken it
 * drives out the one that has cost least: what is slow stays. Several threads
 * count without a lock, so a number may be a call off when two meet in a place.
 */
#include <stdlib.h>

#include "base/postgres_inside.h"

enum { PLACES = 1024, NEAR = 4 };

struct place {
    _Atomic uint64_t text; /* hash; 0: empty */
    _Atomic uint64_t calls, us;
};

struct poly_pg_times {
    struct place places[PLACES];
};

struct poly_pg_times *poly_pg_times_new(void)
{
    return calloc(1, sizeof(struct poly_pg_times));
}

void poly_pg_times_free(struct poly_pg_times *times)
{
    free(times);
}

uint64_t poly_pg_text_hash(const char *sql)
{
    uint64_t hash = 0xcbf29ce484222325ULL; /* FNV-1a */

    for (; *sql != '\0'; sql++)
        hash = (hash ^ (uint8_t)*sql) * 0x100000001b3ULL;
    return hash == 0 ? 1 : hash;
}

static uint64_t get(_Atomic uint64_t *number)
{
    return atomic_load_explicit(number, memory_order_relaxed);
}

static void put(_Atomic uint64_t *number, uint64_t value)
{
    atomic_store_explicit(number, value, memory_order_relaxed);
}

static struct place *place_of(struct poly_pg_times *times, uint64_t text)
{
    struct place *near = &times->places[text % (PLACES - NEAR + 1)], *least = near;

    for (int i = 0; i < NEAR; i++) {
        uint64_t there = get(&near[i].text);

        if (there == text)
            return &near[i];
        if (there == 0 && atomic_compare_exchange_strong(&near[i].text, &there, text))
            return &near[i];
        if (get(&near[i].us) < get(&least->us))
            least = &near[i];
    }
    put(&least->text, text);
    put(&least->calls, 0);
    put(&least->us, 0);
    return least;
}

void poly_pg_times_add(struct poly_pg_times *times, uint64_t text, int64_t us)
{
    struct place *place;

    if (text == 0)
        return;
    place = place_of(times, text);
    atomic_fetch_add_explicit(&place->calls, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&place->us, (uint64_t)us, memory_order_relaxed);
}

int poly_pg_times_over(struct poly_pg_times *times, int64_t mean_us)
{
    int count = 0;

    for (size_t i = 0; i < PLACES; i++) {
        uint64_t calls = get(&times->places[i].calls);

        count += calls > 0 && get(&times->places[i].us) / calls > (uint64_t)mean_us;
    }
    return count;
}
