/*
 * The live slots of an index, in the order in which a walk from its entry meets them: neighbours in
 * the graph become neighbours in memory, and what a search touches lies closer together. What the
 * graph does not know, or does not reach, follows in its old order.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "stores/vector/engine/index_inside.h"

/* order: all slots of the graph below end that can be reached, breadth first; how many. seen: a
 * byte a slot, zero. Dead ones, too: they lead to others. Ends early when it is stopped. */
static uint32_t breadth_first(const struct poly_index *index, uint32_t end, uint32_t *order,
                              uint8_t *seen, const atomic_bool *stop)
{
    const uint64_t entry = atomic_load_explicit(&index->graph.entry, memory_order_acquire);
    const uint32_t most = 2 * index->options.m;
    uint32_t count = 0;

    if (entry == ENTRY_NONE || (uint32_t)entry >= end)
        return 0;
    order[count++] = (uint32_t)entry;
    seen[(uint32_t)entry] = 1;
    for (uint32_t at = 0; at < count && !poly_is_stopped(stop); at++) {
        atomic_uint *row = poly_link_row(index, order[at], 0);

        for (uint32_t i = 0; i < most; i++) {
            const uint32_t link = atomic_load_explicit(&row[i], memory_order_relaxed);

            if (link == POLY_NO_SLOT)
                break;
            if (link >= end || seen[link])
                continue;
            seen[link] = 1;
            order[count++] = link;
        }
    }
    return count;
}

enum poly_status poly_index_copy(const struct poly_index *index, uint32_t end,
                                 struct poly_index *to, uint32_t *map, const atomic_bool *stop,
                                 struct poly_error *err)
{
    uint32_t *order = malloc((size_t)end * sizeof(*order) + 1);
    uint8_t *seen = calloc((size_t)end + 1, 1);
    enum poly_status status = POLY_OK;
    uint32_t count;

    poly_assert(to->appended == 0 && to->original_size == index->original_size);
    if (order == NULL || seen == NULL) {
        status = poly_no_memory(err);
        goto out;
    }
    count = breadth_first(index, end, order, seen, stop);
    for (uint32_t slot = 0; slot < end; slot++) {
        map[slot] = POLY_NO_SLOT;
        if (!seen[slot])
            order[count++] = slot;
    }
    for (uint32_t i = 0; i < count && status == POLY_OK; i++)
        if (poly_is_stopped(stop))
            status = poly_fail(err, POLY_UNAVAILABLE, "it was stopped");
        else if (poly_slot_alive(index, order[i], end))
            status = poly_index_append(to, poly_original_row(index, order[i]), &map[order[i]], err);
out:
    free(order);
    free(seen);
    return status;
}
