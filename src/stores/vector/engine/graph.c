/*
 * Putting slots into the graph, by several threads at a time. Each takes the next slot; those below
 * the lowest that is still worked on are linked, and searches look at no others. A node's row is
 * changed under one of a few hundred locks, which stand apart from the rows, so that readers touch
 * none.
 *
 * Everything here is computed on codes: what the rounding changes in the choice of neighbours
 * cannot be seen in the recall, and the rows of a few hundred candidates stay in the cache.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "stores/vector/engine/index_inside.h"

void poly_graph_init(struct poly_graph *graph)
{
    pthread_rwlockattr_t attributes;

    pthread_rwlockattr_init(&attributes);
    /* saving shall not wait for ever while slots come and are linked */
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&graph->gate, &attributes);
    pthread_rwlockattr_destroy(&attributes);
    pthread_mutex_init(&graph->lock, NULL);
    for (int i = 0; i < INDEX_STRIPES; i++)
        pthread_mutex_init(&graph->rows[i], NULL);
    atomic_init(&graph->linked, 0);
    atomic_init(&graph->entry, ENTRY_NONE);
}

void poly_graph_close(struct poly_graph *graph)
{
    pthread_rwlock_destroy(&graph->gate);
    pthread_mutex_destroy(&graph->lock);
    for (int i = 0; i < INDEX_STRIPES; i++)
        pthread_mutex_destroy(&graph->rows[i]);
}

/* --- whose turn a slot is --- */

static void advance(struct poly_graph *graph)
{
    uint32_t linked = graph->next;

    for (uint32_t i = 0; i < graph->claim_count; i++)
        linked = graph->claims[i] < linked ? graph->claims[i] : linked;
    atomic_store_explicit(&graph->linked, linked, memory_order_release);
}

enum claimed { NOTHING_LEFT, GOT, LOOK_AGAIN };

/* A slot below end, and from where to look for its neighbours. */
struct claim {
    uint32_t end, slot;
    uint64_t entry;
};

/* Is there a slot to take? The first of all is the entry, and has nobody to be linked to. */
static bool take_next(struct poly_index *index, struct claim *claim)
{
    struct poly_graph *graph = &index->graph;

    while (graph->next < claim->end) {
        const uint32_t next = graph->next++;

        if (!poly_slot_alive(index, next, claim->end))
            continue;
        claim->entry = atomic_load_explicit(&graph->entry, memory_order_relaxed);
        if (claim->entry == ENTRY_NONE) {
            atomic_store_explicit(&graph->entry,
                                  (uint64_t)poly_node_level(index, next) << 32 | next,
                                  memory_order_release);
            continue;
        }
        graph->claims[graph->claim_count++] = next;
        claim->slot = next;
        return true;
    }
    return false;
}

/* LOOK_AGAIN: the entry is of a later end, which others have seen meanwhile. */
static enum claimed take(struct poly_index *index, struct claim *claim)
{
    struct poly_graph *graph = &index->graph;
    enum claimed claimed = NOTHING_LEFT;
    uint64_t entry;

    pthread_mutex_lock(&graph->lock);
    entry = atomic_load_explicit(&graph->entry, memory_order_relaxed);
    if (entry != ENTRY_NONE && (uint32_t)entry >= claim->end)
        claimed = LOOK_AGAIN;
    else if (graph->claim_count < INDEX_MAX_LINKERS &&
             (graph->next > 0 || claim->end >= index->graph_from) && take_next(index, claim))
        claimed = GOT;
    advance(graph);
    pthread_mutex_unlock(&graph->lock);
    return claimed;
}

static void finish(struct poly_index *index, uint32_t slot)
{
    struct poly_graph *graph = &index->graph;
    const uint64_t level = poly_node_level(index, slot);
    uint32_t i = 0;

    pthread_mutex_lock(&graph->lock);
    while (graph->claims[i] != slot)
        i++;
    graph->claims[i] = graph->claims[--graph->claim_count];
    if (level > atomic_load_explicit(&graph->entry, memory_order_relaxed) >> 32)
        atomic_store_explicit(&graph->entry, level << 32 | slot, memory_order_release);
    advance(graph);
    pthread_mutex_unlock(&graph->lock);
}

/* --- neighbours --- */

/* Strikes out of rest what is nearer to the one just taken than to the node; how many are left. */
static uint32_t keep_apart(const struct poly_index *index, struct poly_context *context,
                           uint32_t taken, struct poly_candidate *rest, uint32_t count)
{
    uint32_t kept = 0;

    poly_coder_query_code(&index->coder, poly_code_row(index, taken), context->other);
    for (uint32_t from = 0; from < count; from += INDEX_BLOCK) {
        const uint32_t part = count - from < INDEX_BLOCK ? count - from : INDEX_BLOCK;

        for (uint32_t i = 0; i < part; i++)
            context->ids[i] = rest[from + i].slot & ~EXPANDED;
        poly_code_distances(&index->coder, context->other, index->codes.base, context->ids, part,
                            context->distances);
        for (uint32_t i = 0; i < part; i++) {
            const struct poly_candidate one = rest[from + i];

            rest[kept] = one;
            kept += context->distances[i] >= one.distance;
        }
    }
    return kept;
}

/* Of candidates, nearest first, those that are nearer to the node than to one that has been taken:
 * links in all directions rather than many into one crowd. Into context->picked; the candidates are
 * used up: each that is taken strikes out others, so that it is compared with those that are left
 * in one go, and not one by one with those before it. */
static uint32_t pick(const struct poly_index *index, struct poly_context *context,
                     struct poly_candidate *candidates, uint32_t count, uint32_t most)
{
    uint32_t picked = 0;

    while (count > 0) {
        const uint32_t taken = candidates[0].slot & ~EXPANDED;

        context->picked[picked++] = taken;
        if (picked == most)
            break;
        candidates++;
        count = keep_apart(index, context, taken, candidates, count - 1);
    }
    return picked;
}

static int by_distance(const void *a, const void *b)
{
    const struct poly_candidate *left = a, *right = b;

    if (left->distance != right->distance)
        return left->distance < right->distance ? -1 : 1;
    return left->slot < right->slot ? -1 : left->slot > right->slot;
}

static void write_row(atomic_uint *row, uint32_t most, const uint32_t *links, uint32_t count)
{
    for (uint32_t i = 0; i < most; i++)
        atomic_store_explicit(&row[i], i < count ? links[i] : POLY_NO_SLOT, memory_order_relaxed);
}

/* The row of slot is full: the best of it and of one more. */
static void prune(const struct poly_index *index, struct poly_context *context, uint32_t slot,
                  uint32_t more, uint32_t level)
{
    const uint32_t most = level == 0 ? 2 * index->options.m : index->options.m;
    atomic_uint *row = poly_link_row(index, slot, level);
    uint32_t *ids = context->ids;

    for (uint32_t i = 0; i < most; i++)
        ids[i] = atomic_load_explicit(&row[i], memory_order_relaxed);
    ids[most] = more;
    poly_coder_query_code(&index->coder, poly_code_row(index, slot), context->other);
    poly_code_distances(&index->coder, context->other, index->codes.base, ids, most + 1,
                        context->distances);
    for (uint32_t i = 0; i <= most; i++)
        context->near[i] = (struct poly_candidate){context->distances[i], ids[i]};
    qsort(context->near, most + 1, sizeof(*context->near), by_distance);

    const uint32_t count = pick(index, context, context->near, most + 1, most);

    write_row(row, most, context->picked, count);
}

/* more becomes a neighbour of slot. */
static void add_link(struct poly_index *index, struct poly_context *context, uint32_t slot,
                     uint32_t more, uint32_t level)
{
    const uint32_t most = level == 0 ? 2 * index->options.m : index->options.m;
    atomic_uint *row = poly_link_row(index, slot, level);
    uint32_t at = 0, link = POLY_NO_SLOT;

    pthread_mutex_lock(poly_row_lock(&index->graph, slot));
    for (; at < most; at++) {
        link = atomic_load_explicit(&row[at], memory_order_relaxed);
        if (link == POLY_NO_SLOT || link == more)
            break;
    }
    if (at == most)
        prune(index, context, slot, more, level);
    else if (link != more)
        atomic_store_explicit(&row[at], more, memory_order_relaxed);
    pthread_mutex_unlock(poly_row_lock(&index->graph, slot));
}

/* What a slot shall be linked to, by level. */
struct links {
    uint32_t count[INDEX_MAX_LEVEL + 1];
    uint32_t slots[INDEX_MAX_LEVEL + 1][INDEX_MAX_M];
};

/* From the top down, a level beginning where the one above has led; nobody sees anything of it. */
static void choose_links(const struct poly_index *index, struct poly_context *context,
                         const struct claim *claim, uint32_t level, struct links *links)
{
    const uint32_t slot = claim->slot;
    const struct poly_walk walk = {.limit = claim->end, .end = claim->end};
    uint32_t at;

    poly_coder_query_code(&index->coder, poly_code_row(index, slot), context->query);
    poly_context_clear(context, 1);
    at = poly_graph_descend(index, context, claim->entry, level, claim->end);
    for (;; level--) {
        poly_context_clear(context, index->options.ef_construction);
        context->visited[at] = context->mark;
        poly_context_insert(
            context, at,
            poly_code_distance(&index->coder, context->query, poly_code_row(index, at)));
        poly_graph_walk(index, context, &walk, level);
        at = context->pool[0].slot & ~EXPANDED;
        links->count[level] = pick(index, context, context->pool, context->count, index->options.m);
        memcpy(links->slots[level], context->picked, links->count[level] * sizeof(uint32_t));
        if (level == 0)
            return;
    }
}

/*
 * Links are made from the bottom up, and those of the slot before those to it: whoever finds it on
 * a level can go on from there on all levels below. Otherwise, while its thread waits for a
 * processor, others would be linked to it alone, and with each other: an island that most searches
 * do not reach.
 */
static void link_slot(struct poly_index *index, struct poly_context *context,
                      const struct claim *claim)
{
    const uint32_t own = poly_node_level(index, claim->slot);
    const uint32_t top = (uint32_t)(claim->entry >> 32), levels = own < top ? own : top;
    struct links links;

    choose_links(index, context, claim, levels, &links);
    for (uint32_t level = 0; level <= levels; level++)
        write_row(poly_link_row(index, claim->slot, level),
                  level == 0 ? 2 * index->options.m : index->options.m, links.slots[level],
                  links.count[level]);
    for (uint32_t level = 0; level <= levels; level++)
        for (uint32_t i = 0; i < links.count[level]; i++)
            add_link(index, context, links.slots[level][i], claim->slot, level);
}

static enum claimed link_next(struct poly_index *index, struct poly_context *context, uint32_t end)
{
    struct claim claim = {.end = end};
    enum claimed claimed;

    pthread_rwlock_rdlock(&index->graph.gate);
    claimed = take(index, &claim);
    if (claimed == GOT) {
        link_slot(index, context, &claim);
        finish(index, claim.slot);
    }
    pthread_rwlock_unlock(&index->graph.gate);
    return claimed;
}

enum poly_status poly_index_link(struct poly_index *index, uint32_t max, const atomic_bool *stop,
                                 uint32_t *linked, struct poly_error *err)
{
    const uint32_t ef = index->options.ef_construction;
    struct poly_context *context;
    enum claimed claimed = GOT;
    uint32_t count = 0;
    enum poly_status status = poly_context_take(index, 0, ef, &context, err);

    if (status != POLY_OK)
        return status;
    while (status == POLY_OK && claimed != NOTHING_LEFT && count < max && !poly_is_stopped(stop)) {
        const uint32_t end = poly_index_end(index);

        status = poly_context_fit(context, end, ef, err);
        if (status == POLY_OK) {
            claimed = link_next(index, context, end);
            count += claimed == GOT;
        }
    }
    poly_context_give(index, context);
    if (status == POLY_OK)
        *linked = count;
    return status;
}
