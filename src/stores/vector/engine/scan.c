/*
 * Looking at every vector that may be answered. Exact, and yet on codes: a code says how near its
 * vector can be at most (poly_code_bounds()), and only where that is nearer than the answer so far
 * is the original looked at. What may be near enough waits in a heap, so that the most promising
 * come first and rule out most of the others: bounds of short codes are far below the distances.
 */
#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "stores/vector/engine/index_inside.h"

enum {
    CLOCK_EVERY = 8,
    MANY = 4,     /* originals that are looked at together, and tell what one costs */
    TOGETHER = 8, /* originals that are asked for before the first is looked at … */
    DISTANT = 64, /* … when they come from a disk */
    FETCHED = 512 /* bytes of an original; the processor itself goes on from there */
};

/* --- the nearest so far --- */

static inline bool farther(const struct poly_near *a, const struct poly_near *b)
{
    return a->distance > b->distance || (a->distance == b->distance && a->slot > b->slot);
}

static void rise(struct poly_near *heap, uint32_t at)
{
    const struct poly_near moving = heap[at];

    while (at > 0 && farther(&moving, &heap[(at - 1) / 2])) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = moving;
}

static void sink(struct poly_near *heap, uint32_t count)
{
    const struct poly_near moving = heap[0];
    uint32_t at = 0;

    for (uint32_t child = 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && farther(&heap[child + 1], &heap[child]))
            child++;
        if (!farther(&heap[child], &moving))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moving;
}

void poly_nearest_add(struct poly_nearest *nearest, uint32_t slot, float distance)
{
    const struct poly_near near = {slot, distance};

    if (distance > nearest->limit)
        return;
    if (nearest->count < nearest->keep) {
        nearest->near[nearest->count] = near;
        rise(nearest->near, nearest->count++);
    } else if (farther(&nearest->near[0], &near)) {
        nearest->near[0] = near;
        sink(nearest->near, nearest->count);
    }
    if (nearest->count == nearest->keep)
        nearest->limit = nearest->near[0].distance;
}

static int by_distance(const void *a, const void *b)
{
    return farther(a, b) ? 1 : farther(b, a) ? -1 : 0;
}

void poly_nearest_sort(struct poly_nearest *nearest)
{
    if (nearest->count > 1)
        qsort(nearest->near, nearest->count, sizeof(*nearest->near), by_distance);
}

/* --- all that may fit, a block at a time --- */

struct cursor {
    const struct poly_slots *slots; /* NULL: all */
    uint32_t slot, end;             /* the next one */
    uint32_t at;                    /* in the list */
};

static struct cursor begin(const struct poly_index_search *search, uint32_t from)
{
    const struct poly_slots *slots = search->slots;
    struct cursor cursor = {.slots = slots, .slot = from, .end = search->end};

    if (slots == NULL || (slots->bits == NULL && slots->list == NULL)) {
        cursor.slots = NULL;
    } else if (slots->bits != NULL) {
        cursor.end = slots->bit_count < cursor.end ? slots->bit_count : cursor.end;
    } else {
        uint32_t high = slots->count;

        while (cursor.at < high) {
            const uint32_t middle = cursor.at + (high - cursor.at) / 2;

            if (slots->list[middle] < from)
                cursor.at = middle + 1;
            else
                high = middle;
        }
    }
    return cursor;
}

static uint32_t next_bits(struct cursor *cursor, uint32_t *ids)
{
    uint32_t count = 0;

    while (cursor->slot < cursor->end && count + 64 <= INDEX_BLOCK) {
        const uint32_t first = cursor->slot / 64 * 64;
        uint64_t word = cursor->slots->bits[first / 64] & UINT64_MAX << (cursor->slot % 64);

        if (cursor->end - first < 64)
            word &= (1UL << (cursor->end - first)) - 1;
        for (; word != 0; word &= word - 1)
            ids[count++] = first + (uint32_t)__builtin_ctzll(word);
        cursor->slot = cursor->end - first < 64 ? cursor->end : first + 64;
    }
    return count;
}

/* Fills ids; how many. *row: they follow each other, and ids are not filled but for the first. */
static uint32_t next_block(struct cursor *cursor, uint32_t *ids, bool *row)
{
    uint32_t count = 0;

    *row = cursor->slots == NULL;
    if (*row) {
        ids[0] = cursor->slot;
        count = cursor->end > cursor->slot ? cursor->end - cursor->slot : 0;
        count = count < INDEX_BLOCK ? count : INDEX_BLOCK;
        cursor->slot += count;
        return count;
    }
    if (cursor->slots->bits != NULL) {
        while (count == 0 && cursor->slot < cursor->end)
            count = next_bits(cursor, ids);
        return count;
    }
    while (count < INDEX_BLOCK && cursor->at < cursor->slots->count &&
           cursor->slots->list[cursor->at] < cursor->end)
        ids[count++] = cursor->slots->list[cursor->at++];
    return count;
}

static bool late(const struct poly_index_search *search, uint32_t *blocks)
{
    return search->deadline > 0 && ++*blocks % CLOCK_EVERY == 0 &&
           poly_clock_coarse() > search->deadline;
}

static enum poly_status timed_out(struct poly_error *err)
{
    return poly_fail(err, POLY_TIMEOUT, "the deadline passed while vectors were compared");
}

/* --- scans --- */

/* Of count slots, from first on or (POLY_NO_SLOT) of the context's ids, those that neither bound
 * nor state rules out begin to wait. */
static void sift(const struct poly_index *index, struct poly_context *context, uint32_t end,
                 float limit, uint32_t first, uint32_t count)
{
    const float *bounds = context->distances;
    struct poly_near *later = context->later;
    uint32_t near = 0;

    for (uint32_t i = 0; i < count; i++) /* of many at a time: mostly none is */
        near += bounds[i] <= limit;
    for (uint32_t i = 0; near > 0 && i < count; i++) {
        if (!(bounds[i] <= limit))
            continue;

        const uint32_t slot = first != POLY_NO_SLOT ? first + i : context->ids[i];

        if (!poly_slot_fits(index, NULL, slot, end))
            continue;
        later[context->waiting] = (struct poly_near){slot, -bounds[i]};
        rise(later, context->waiting++);
    }
}

/* Compares the first count of the context's ids by their originals, unless what has been found
 * meanwhile rules them out. */
static void compare(struct poly_index *index, const struct poly_context *context,
                    const struct poly_index_search *search, uint32_t count,
                    struct poly_nearest *nearest)
{
    const bool many = index->fd >= 0 && count >= MANY;
    const int64_t start = many ? poly_costs_now() : 0;
    uint32_t looked = 0;

    if (many && poly_originals_slow(index))
        for (uint32_t i = 0; i < count; i++)
            poly_originals_ask(index, context->ids[i]);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t slot = context->ids[i];

        if (!(context->distances[i] <= nearest->limit))
            continue;
        poly_nearest_add(nearest, slot,
                         poly_vector_distance(index->options.element, index->options.metric,
                                              search->query, poly_original_row(index, slot),
                                              index->options.dimensions));
        looked++;
    }
    if (many)
        poly_originals_seen(index, looked, start);
}

/* The least bounds of what waits, up to a number and while they are within the limit, into ids,
 * with the bounds; their originals, which lie anywhere, are asked for. */
static uint32_t take(const struct poly_index *index, struct poly_context *context, float limit,
                     uint32_t most)
{
    const size_t fetched = index->original_size < FETCHED ? index->original_size : FETCHED;
    struct poly_near *later = context->later;
    uint32_t count = 0;

    while (count < most && context->waiting > 0 && -later[0].distance <= limit) {
        context->ids[count] = later[0].slot;
        context->distances[count] = -later[0].distance;
        poly_row_fetch(poly_original_row(index, context->ids[count++]), fetched);
        later[0] = later[--context->waiting];
        sink(later, context->waiting);
    }
    return count;
}

/* Compares what waits, up to a number. */
static void settle(struct poly_index *index, struct poly_context *context,
                   const struct poly_index_search *search, uint32_t most,
                   struct poly_nearest *nearest)
{
    const uint32_t together = poly_originals_slow(index) ? DISTANT : TOGETHER;

    while (most > 0 && context->waiting > 0) {
        const uint32_t count =
            take(index, context, nearest->limit, most < together ? most : together);

        if (count == 0) /* nor is any other within the limit */
            context->waiting = 0;
        compare(index, context, search, count, nearest);
        most -= count;
    }
}

enum poly_status poly_scan_exact(struct poly_index *index, struct poly_context *context,
                                 const struct poly_index_search *search, uint32_t from,
                                 struct poly_nearest *nearest, struct poly_error *err)
{
    struct cursor cursor = begin(search, from);
    uint32_t count, blocks = 0, scanned = 0, best = INDEX_BLOCK;
    bool row;

    context->waiting = 0;
    while ((count = next_block(&cursor, context->ids, &row)) > 0) {
        const uint32_t first = context->ids[0];

        poly_code_bounds(&index->coder, context->query,
                         row ? poly_code_row(index, first) : index->codes.base,
                         row ? NULL : context->ids, count, context->distances);
        context->visits += count;
        sift(index, context, search->end, nearest->limit, row ? first : POLY_NO_SLOT, count);
        scanned += count;
        if (context->waiting > INDEX_LATER - INDEX_BLOCK) {
            settle(index, context, search, UINT32_MAX, nearest);
        } else if (scanned >= best) { /* the limit is of half of what has been scanned, at least */
            settle(index, context, search, nearest->keep, nearest);
            best = 2 * scanned;
        }
        if (late(search, &blocks))
            return timed_out(err);
    }
    settle(index, context, search, UINT32_MAX, nearest);
    return POLY_OK;
}

enum poly_status poly_scan_tail(const struct poly_index *index, struct poly_context *context,
                                const struct poly_index_search *search, uint32_t from,
                                struct poly_error *err)
{
    struct cursor cursor = begin(search, from);
    uint32_t count, blocks = 0;
    bool row;

    while ((count = next_block(&cursor, context->ids, &row)) > 0) {
        const uint32_t first = context->ids[0];

        poly_code_distances(&index->coder, context->query,
                            row ? poly_code_row(index, first) : index->codes.base,
                            row ? NULL : context->ids, count, context->distances);
        context->visits += count;
        for (uint32_t i = 0; i < count; i++) {
            const uint32_t slot = row ? first + i : context->ids[i];

            if (poly_context_wanted(context, context->distances[i]) &&
                poly_slot_fits(index, NULL, slot, search->end))
                poly_context_insert(context, slot, context->distances[i]);
        }
        if (late(search, &blocks))
            return timed_out(err);
    }
    return POLY_OK;
}
