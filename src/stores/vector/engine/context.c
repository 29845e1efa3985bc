/*
 * The memory of one search. Taken from a pool, for what is large in it (a byte for each slot: has
 * this search been there?) shall not be cleared each time: each search has a number of its own, and
 * only when the numbers of a byte have been used up is it set to zero. The pool keeps a few: as
 * many as search at a time on most machines.
 */
#include <stdlib.h>
#include <string.h>

#include "stores/vector/engine/index_inside.h"

enum { LINE = 64 };

static void *lines(size_t size)
{
    const size_t whole = (size + LINE - 1) / LINE * LINE;
    uint8_t *memory = malloc(whole + LINE);

    /* malloc() and an alignment by hand: what malloc() gave stands before */
    if (memory == NULL)
        return NULL;

    uint8_t *aligned = memory + LINE - (uintptr_t)memory % LINE;

    ((void **)aligned)[-1] = memory;
    return aligned;
}

static void lines_free(void *aligned)
{
    if (aligned != NULL)
        free(((void **)aligned)[-1]);
}

void poly_context_free(struct poly_context *context)
{
    if (context == NULL)
        return;
    free(context->visited);
    lines_free(context->query);
    lines_free(context->sketch);
    free(context->pool);
    free(context->ids);
    free(context->distances);
    free(context->before);
    free(context->coming);
    free(context->wanted);
    free(context->places);
    free(context->later);
    lines_free(context->other);
    free(context->near);
    free(context->picked);
    free(context->bits);
    free(context);
}

static struct poly_context *make(const struct poly_index *index)
{
    struct poly_context *context = calloc(1, sizeof(*context));
    const uint32_t m = index->options.m;

    if (context == NULL)
        return NULL;
    /* an expansion in two steps can bring a row for each link of a row */
    context->id_room = 4 * m > INDEX_BLOCK ? 4 * m : INDEX_BLOCK;
    context->query = lines(poly_coder_query_size(&index->coder));
    if (index->coder.sketch > 0)
        context->sketch = lines(poly_sketch_query_size(&index->coder));
    context->ids = malloc(context->id_room * sizeof(*context->ids));
    context->distances = malloc(context->id_room * sizeof(*context->distances));
    context->before = malloc(context->id_room * sizeof(*context->before));
    context->coming = malloc(context->id_room * sizeof(*context->coming));
    context->wanted = malloc(context->id_room * sizeof(*context->wanted));
    context->places = malloc(context->id_room * sizeof(*context->places));
    context->later = malloc(INDEX_LATER * sizeof(*context->later));
    context->other = lines(poly_coder_query_size(&index->coder));
    context->near = malloc((2 * m + 1) * sizeof(*context->near));
    context->picked = malloc((2 * m + 1) * sizeof(*context->picked));
    if (context->query == NULL || context->ids == NULL || context->distances == NULL ||
        context->before == NULL || context->coming == NULL || context->wanted == NULL ||
        context->places == NULL || context->later == NULL || context->other == NULL ||
        context->near == NULL || context->picked == NULL ||
        (index->coder.sketch > 0 && context->sketch == NULL)) {
        poly_context_free(context);
        return NULL;
    }
    return context;
}

enum poly_status poly_context_fit(struct poly_context *context, uint32_t slots, uint32_t ef,
                                  struct poly_error *err)
{
    if (slots > context->visited_room) {
        const uint32_t room = slots + slots / 8 + 1024;
        uint8_t *visited = calloc(room, 1);

        if (visited == NULL)
            return poly_no_memory(err);
        free(context->visited);
        context->visited = visited;
        context->visited_room = room;
        context->mark = 0;
    }
    if (ef + 1 > context->pool_room) {
        struct poly_candidate *pool = realloc(context->pool, (ef + 1) * sizeof(*pool));

        if (pool == NULL)
            return poly_no_memory(err);
        context->pool = pool;
        context->pool_room = ef + 1;
    }
    return POLY_OK;
}

enum poly_status poly_context_take(struct poly_index *index, uint32_t slots, uint32_t ef,
                                   struct poly_context **context, struct poly_error *err)
{
    struct poly_context *taken;
    enum poly_status status;

    pthread_mutex_lock(&index->context_lock);
    taken = index->contexts;
    if (taken != NULL) {
        index->contexts = taken->next;
        index->context_count--;
    }
    pthread_mutex_unlock(&index->context_lock);
    if (taken == NULL)
        taken = make(index);
    if (taken == NULL)
        return poly_no_memory(err);
    status = poly_context_fit(taken, slots, ef, err);
    if (status != POLY_OK) {
        poly_context_free(taken);
        return status;
    }
    taken->visits = 0;
    poly_context_look(taken, index, LOOK_CODES);
    *context = taken;
    return POLY_OK;
}

void poly_context_look(struct poly_context *context, const struct poly_index *index,
                       enum poly_look look)
{
    const struct poly_sight sights[] = {
        {index->codes.base, context->query, index->coder.stride, look},
        {index->sketches.base, context->sketch, index->coder.sketch, look},
        {index->originals.base, context->vector, index->original_size, look}};

    context->sight = sights[look];
}

void poly_context_give(struct poly_index *index, struct poly_context *context)
{
    pthread_mutex_lock(&index->context_lock);
    if (index->context_count < INDEX_IDLE_CONTEXTS) {
        context->next = index->contexts;
        index->contexts = context;
        index->context_count++;
        context = NULL;
    }
    pthread_mutex_unlock(&index->context_lock);
    poly_context_free(context);
}

bool poly_context_bits(struct poly_context *context, uint32_t slots)
{
    const uint32_t words = slots / 64 + 1;

    if (words > context->bit_room) {
        uint64_t *bits = realloc(context->bits, words * sizeof(*bits));

        if (bits == NULL)
            return false;
        context->bits = bits;
        context->bit_room = words;
    }
    memset(context->bits, 0, words * sizeof(*context->bits));
    return true;
}

void poly_context_clear(struct poly_context *context, uint32_t ef)
{
    context->count = 0;
    context->ef = ef;
    if (++context->mark == 0) {
        memset(context->visited, 0, context->visited_room);
        context->mark = 1;
    }
}
