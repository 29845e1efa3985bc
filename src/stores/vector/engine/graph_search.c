/*
 * The walk through the graph. What costs time here is waiting for memory: each distance is a row of
 * codes somewhere, each step a row of links. So an expansion has two passes: the first collects the
 * neighbours that have not been visited and asks for their codes, the second computes all distances
 * at once; and of whatever gets into the pool, the links are asked for at once, for it is likely to
 * be expanded soon. The first pass of an expansion comes before the second of the one before it, so
 * that memory has had that long to answer. What is expanded next is then chosen without the last
 * few distances: one candidate in a hundred is expanded that need not have been.
 *
 * The pool is an array in order, with a cursor on the first candidate that has not been expanded:
 * candidates and results in one, and no heap. What one expansion brings is put into it in one go.
 * The walk ends when all of the pool has been expanded.
 *
 * When not every slot may be answered, the pool holds those that may, and the others are a bridge:
 * where a node has few neighbours that fit, the neighbours of those that do not are looked at
 * (ACORN: Patel et al., Performant and predicate-agnostic search over vector embeddings and
 * structured data, 2024; there "ACORN-1").
 */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "stores/vector/engine/index_inside.h"

enum {
    CLOCK_EVERY = 32,
    FETCHED = 1024 /* bytes of a row; the processor itself goes on from there */
};

static inline void fetch_row(const struct poly_sight *sight, uint32_t slot)
{
    const size_t size = sight->stride < FETCHED ? sight->stride : FETCHED;

    poly_row_fetch(sight->base + slot * sight->stride, size);
}

/* As codes have them. */
static void compare_originals(const struct poly_index *index, const float *query,
                              const uint32_t *ids, uint32_t count, float *distances)
{
    const enum poly_metric metric = index->options.metric;

    for (uint32_t i = 0; i < count; i++) {
        const float distance =
            poly_vector_distance(index->options.element, metric, query,
                                 poly_original_row(index, ids[i]), index->options.dimensions);

        distances[i] = metric == POLY_L2 ? distance * distance : distance;
    }
}

void poly_graph_distances(const struct poly_index *index, const struct poly_context *context,
                          const uint32_t *ids, uint32_t count, float *distances)
{
    const struct poly_sight *sight = &context->sight;

    if (sight->look == LOOK_ORIGINALS)
        compare_originals(index, sight->query, ids, count, distances);
    else if (sight->look == LOOK_SKETCHES)
        poly_sketch_distances(&index->coder, sight->query, sight->base, ids, count, distances);
    else
        poly_code_distances(&index->coder, sight->query, sight->base, ids, count, distances);
}

static inline bool visit(struct poly_context *context, uint32_t slot)
{
    if (context->visited[slot] == context->mark)
        return false;
    context->visited[slot] = context->mark;
    return true;
}

/* Of the first count of the pool those that are not farther. Which quarter it is nobody could
 * guess, so there is no branch; and of the three that are asked none waits for the others. */
static uint32_t place_of(const struct poly_candidate *pool, uint32_t count, float distance)
{
    uint32_t place = 0, left = count;

    while (left > 3) {
        const uint32_t part = left / 4;
        const struct poly_candidate *from = pool + place;

        place += part * ((uint32_t)(from[part].distance <= distance) +
                         (uint32_t)(from[2 * part].distance <= distance) +
                         (uint32_t)(from[3 * part].distance <= distance));
        left -= 3 * part;
    }
    for (const struct poly_candidate *one = pool + place, *end = one + left; one < end; one++)
        place += one->distance <= distance;
    return place;
}

uint32_t poly_context_insert(struct poly_context *context, uint32_t slot, float distance)
{
    struct poly_candidate *pool = context->pool;
    const uint32_t place = place_of(pool, context->count, distance);

    if (context->count < context->ef)
        context->count++;
    memmove(&pool[place + 1], &pool[place], (context->count - 1 - place) * sizeof(*pool));
    pool[place] = (struct poly_candidate){distance, slot};
    return place;
}

/* Neighbours of a slot on a level that have not been visited, into context->ids; how many. Whether
 * one has been is as good as chance, so nothing branches on it. */
static uint32_t gather(const struct poly_index *index, struct poly_context *context, uint32_t slot,
                       uint32_t level, uint32_t limit)
{
    const uint32_t most = level == 0 ? 2 * index->options.m : index->options.m;
    const uint8_t mark = context->mark;
    uint8_t *visited = context->visited;
    uint32_t *ids = context->ids, count = 0;
    atomic_uint *row = poly_link_row(index, slot, level);

    for (uint32_t i = 0; i < most; i++) {
        const uint32_t link = atomic_load_explicit(&row[i], memory_order_relaxed);

        if (link == POLY_NO_SLOT)
            break;
        if (link >= limit)
            continue;
        ids[count] = link;
        count += visited[link] != mark;
        visited[link] = mark;
    }
    for (uint32_t i = 0; i < count; i++)
        fetch_row(&context->sight, ids[i]);
    return count;
}

/* The neighbours of one that does not fit, of which those that fit are taken, up to a number. */
static uint32_t gather_beyond(const struct poly_index *index, struct poly_context *context,
                              const struct poly_walk *walk, uint32_t slot, uint32_t count)
{
    const uint32_t most = 2 * index->options.m, enough = 2 * most;
    atomic_uint *row = poly_link_row(index, slot, 0);

    for (uint32_t i = 0; i < most && count < enough; i++) {
        const uint32_t link = atomic_load_explicit(&row[i], memory_order_relaxed);

        if (link == POLY_NO_SLOT)
            break;
        if (link >= walk->limit || context->visited[link] == context->mark ||
            !poly_slot_fits(index, walk->slots, link, walk->end))
            continue;
        context->visited[link] = context->mark;
        fetch_row(&context->sight, link);
        context->ids[count++] = link;
    }
    return count;
}

/* As gather() on the lowest level, for a walk that may not answer everything. */
static uint32_t gather_fitting(const struct poly_index *index, struct poly_context *context,
                               const struct poly_walk *walk, uint32_t slot)
{
    const uint32_t most = 2 * index->options.m;
    atomic_uint *row = poly_link_row(index, slot, 0);
    uint32_t bridges[200], bridge_count = 0, count = 0, fitting = 0, i;

    for (i = 0; i < most; i++) {
        const uint32_t link = atomic_load_explicit(&row[i], memory_order_relaxed);

        if (link == POLY_NO_SLOT)
            break;
        if (link >= walk->limit)
            continue;

        const bool fits = poly_slot_fits(index, walk->slots, link, walk->end);

        fitting += fits;
        if (!visit(context, link))
            continue;
        if (!fits) {
            bridges[bridge_count++] = link;
            continue;
        }
        fetch_row(&context->sight, link);
        context->ids[count++] = link;
    }
    if (fitting * 2 >= i)
        return count;
    for (uint32_t b = 0; b < bridge_count; b++)
        poly_row_fetch(poly_link_row(index, bridges[b], 0), most * sizeof(uint32_t));
    for (uint32_t b = 0; b < bridge_count; b++)
        count = gather_beyond(index, context, walk, bridges[b], count);
    return count;
}

/* Of ids, with their distances, what the pool wants: into context->coming; how many. */
static uint32_t pick_wanted(struct poly_context *context, const uint32_t *ids, uint32_t count)
{
    const float *distances = context->distances;
    const float limit =
        context->count < context->ef ? INFINITY : context->pool[context->count - 1].distance;
    struct poly_candidate *coming = context->coming;
    uint32_t picked = 0;

    for (uint32_t i = 0; i < count; i++) {
        coming[picked] = (struct poly_candidate){distances[i], ids[i]};
        picked += distances[i] < limit;
    }
    return picked;
}

/* The first count of context->coming into context->wanted, ascending. There are a handful: to count
 * for each those before it is more comparisons than a sort needs, but none of them is a branch. */
static void put_in_order(struct poly_context *context, uint32_t count)
{
    const struct poly_candidate *coming = context->coming;

    for (uint32_t i = 0; i < count; i++) {
        const float distance = coming[i].distance;
        uint32_t before = 0;

        for (uint32_t j = 0; j < i; j++)
            before += coming[j].distance <= distance;
        for (uint32_t j = i + 1; j < count; j++)
            before += coming[j].distance < distance;
        context->wanted[before] = coming[i];
    }
}

/* Puts count of context->wanted into the pool; the place of the first, or at when that is before.
 * Each of the pool is moved once at most. */
static uint32_t merge(struct poly_context *context, uint32_t count, uint32_t at)
{
    const struct poly_candidate *wanted = context->wanted;
    struct poly_candidate *pool = context->pool;
    uint32_t *places = context->places, end;

    for (uint32_t i = 0; i < count; i++)
        places[i] = place_of(pool, context->count, wanted[i].distance) + i;
    while (count > 0 && places[count - 1] >= context->ef)
        count--;
    if (count == 0)
        return at;
    context->count = context->count + count < context->ef ? context->count + count : context->ef;
    end = context->count - count; /* of those that stay */
    for (uint32_t i = count; i-- > 0;) {
        const uint32_t from = places[i] - i;

        if (end > from)
            memmove(&pool[places[i] + 1], &pool[from], (end - from) * sizeof(*pool));
        pool[places[i]] = wanted[i];
        end = from;
    }
    return places[0] < at ? places[0] : at;
}

/* Puts what has been gathered into the pool; the place of the nearest, or at when that is before.
 */
static uint32_t take_in(const struct poly_index *index, struct poly_context *context,
                        uint32_t level, const uint32_t *ids, uint32_t count, uint32_t at)
{
    const size_t row = (level == 0 ? 2 : 1) * index->options.m * sizeof(uint32_t);
    uint32_t wanted;

    poly_graph_distances(index, context, ids, count, context->distances);
    context->visits += count;
    wanted = pick_wanted(context, ids, count);
    put_in_order(context, wanted);
    for (uint32_t i = 0; i < wanted; i++)
        poly_row_fetch(poly_link_row(index, context->wanted[i].slot, level), row);
    return merge(context, wanted, at);
}

bool poly_graph_walk(const struct poly_index *index, struct poly_context *context,
                     const struct poly_walk *walk, uint32_t level)
{
    uint32_t at = 0, steps = 0, waiting = 0; /* of those gathered before, in context->before */

    for (;;) {
        uint32_t *ids = context->ids, count = 0;

        while (at < context->count && (context->pool[at].slot & EXPANDED))
            at++;
        if (at == context->count && waiting == 0)
            return true;
        if (at < context->count) {
            const uint32_t slot = context->pool[at].slot;

            context->pool[at].slot |= EXPANDED;
            count = walk->choosy ? gather_fitting(index, context, walk, slot)
                                 : gather(index, context, slot, level, walk->limit);
        }
        at = take_in(index, context, level, context->before, waiting, at);
        context->ids = context->before;
        context->before = ids;
        waiting = count;
        if (walk->deadline > 0 && ++steps % CLOCK_EVERY == 0 &&
            poly_clock_coarse() > walk->deadline)
            return false;
    }
}

uint32_t poly_graph_descend(const struct poly_index *index, struct poly_context *context,
                            uint64_t entry, uint32_t level, uint32_t limit)
{
    uint32_t at = (uint32_t)entry;
    float nearest;

    poly_graph_distances(index, context, &at, 1, &nearest);
    for (uint32_t high = (uint32_t)(entry >> 32); high > level; high--) {
        for (bool moved = true; moved;) {
            const uint32_t count = gather(index, context, at, high, limit);

            moved = false;
            poly_graph_distances(index, context, context->ids, count, context->distances);
            context->visits += count;
            for (uint32_t i = 0; i < count; i++)
                if (context->distances[i] < nearest) {
                    nearest = context->distances[i];
                    at = context->ids[i];
                    moved = true;
                }
        }
    }
    return at;
}
