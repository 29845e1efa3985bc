/*
 * How a search goes: a scan of what may be answered, or the graph. Neither is better as such: at
 * one vector in a hundred a scan of the matches is a hundred times faster, at one in two the graph.
 * What decides is what each has cost on this machine with these vectors so far (struct poly_costs):
 * every search that is made tells, and the cheaper one by that is made next. The first guesses are
 * of the size of things as they were measured, so that there is something to begin with.
 */
#include <math.h>

#include "base/assert.h"
#include "stores/vector/engine/index_inside.h"

enum {
    VISITS = 20,    /* distances for each candidate that is kept, as a first guess */
    USUAL_EF = 100, /* … when nobody says how many */
    SEEDS = 8,      /* slots that fit from which a filtered walk begins, beside the entry */
    FEW_DEAD = 32,  /* one in so many: a walk goes through them, and leaves them out at the end */
    AHEAD = 6,      /* originals that are asked for before they are compared */
    SKETCHED = 4,   /* for each that is asked for so many are kept: then sketches lead there, too */
    UNSURE = 3,     /* errors within which one may be nearer than another */
    COARSE = 3,     /* … and that the pool spans at least, but for its nearest part, … */
    POOL_PART = 6,
    POOL_LEAST = 16, /* … when it has so many */
    LEARN = 16,      /* of what one search tells, this part is believed */
    FEW_FITTING = 6  /* a share less than one in 64: a walk has too few bridges to the right ones */
};

/* --- costs --- */

static float get(const _Atomic float *cost)
{
    return atomic_load_explicit(cost, memory_order_relaxed);
}

static void set(_Atomic float *cost, float value)
{
    atomic_store_explicit(cost, value, memory_order_relaxed);
}

void poly_costs_init(struct poly_index *index)
{
    const float row = (float)index->coder.stride;

    set(&index->costs.scan, 1 + row / 32);
    set(&index->costs.pick, 4 + row / 16);
    for (int i = 0; i < INDEX_SHARES; i++)
        set(&index->costs.walk[i], VISITS * (15 + row / 16) * (1 + (float)i));
    poly_originals_init(index);
}

/* Twice as many as where a walk of usual effort costs what a scan does: a scan is exact, too. Of
 * the first guesses, so that it does not depend on the machine's mood. */
uint32_t poly_costs_graph_from(const struct poly_index *index)
{
    return (uint32_t)(2 * USUAL_EF * get(&index->costs.walk[0]) / get(&index->costs.scan));
}

/* One search that took long, for somebody else had the processor, shall not count for much. */
void poly_costs_learn(_Atomic float *cost, float seen)
{
    const float known = get(cost);

    if (seen > 4 * known)
        seen = 4 * known;
    set(cost, known + (seen - known) / LEARN);
}

/* --- what is asked --- */

struct plan {
    struct poly_index *index;
    struct poly_index_search *search;
    struct poly_context *context;
    uint32_t limit;   /* slots from here on are not in the graph, … */
    uint32_t linked;  /* … and may be answered without it: the limit, or the search's end */
    uint32_t ef;      /* candidates that are kept */
    uint32_t matches; /* at most so many can be answered */
    bool filtered;
    uint32_t share; /* 0: all of the slots match, at most; 1: at most half … */
};

static void look(struct plan *plan, struct poly_index *index, struct poly_index_search *search)
{
    const struct poly_slots *slots = search->slots;
    const uint32_t dead = atomic_load_explicit(&index->dead, memory_order_relaxed);
    const uint32_t live = search->end > dead ? search->end - dead : 0;

    *plan = (struct plan){.index = index, .search = search, .matches = live};
    plan->filtered = slots != NULL && (slots->bits != NULL || slots->list != NULL);
    if (plan->filtered && slots->count < live)
        plan->matches = slots->count;
    plan->limit = atomic_load_explicit(&index->graph.linked, memory_order_acquire);
    plan->linked = plan->limit < search->end ? plan->limit : search->end;
    plan->ef = search->ef > search->k ? search->ef : search->k;
    while (plan->share + 1 < INDEX_SHARES &&
           (uint64_t)plan->matches << (plan->share + 1) <= search->end)
        plan->share++;
}

static bool by_graph(const struct plan *plan)
{
    const struct poly_costs *costs = &plan->index->costs;
    const struct poly_index_search *search = plan->search;

    if (search->exact || plan->linked == 0 || search->way == POLY_WAY_SCAN)
        return false;
    if (search->way == POLY_WAY_GRAPH)
        return true;
    if (plan->matches <= plan->ef || plan->share >= FEW_FITTING)
        return false;

    const float scan = (float)plan->matches * get(plan->filtered ? &costs->pick : &costs->scan);
    const float tail = (float)(search->end - plan->linked) * get(&costs->scan);
    const float walk = (float)plan->ef * get(&costs->walk[plan->share]) + tail;

    return walk < scan;
}

/* --- the graph --- */

static enum poly_status out_of_time(struct poly_error *err)
{
    return poly_fail(err, POLY_TIMEOUT, "the deadline passed while the graph was searched");
}

/* Bits of a list, for a walk asks them of slots in any order. */
static enum poly_status as_bits(const struct plan *plan, struct poly_slots *slots,
                                struct poly_error *err)
{
    struct poly_context *context = plan->context;

    *slots = *plan->search->slots;
    if (slots->bits != NULL)
        return POLY_OK;
    if (!poly_context_bits(context, plan->search->end))
        return poly_no_memory(err);
    for (uint32_t i = 0; i < slots->count && slots->list[i] < plan->search->end; i++)
        context->bits[slots->list[i] / 64] |= 1UL << (slots->list[i] % 64);
    slots->bits = context->bits;
    slots->bit_count = plan->search->end;
    return POLY_OK;
}

static void put(const struct plan *plan, uint32_t slot)
{
    struct poly_context *context = plan->context;
    float distance;

    poly_graph_distances(plan->index, context, &slot, 1, &distance);
    if (context->visited[slot] == context->mark || !poly_context_wanted(context, distance))
        return;
    context->visited[slot] = context->mark;
    poly_context_insert(context, slot, distance);
}

/* The first slot of from .. end that fits; end: none. */
static uint32_t first_fitting(const struct plan *plan, const struct poly_slots *slots,
                              uint32_t from, uint32_t end)
{
    while (from < end && !poly_slot_fits(plan->index, slots, from, plan->search->end)) {
        const bool none = slots != NULL && from < slots->bit_count && slots->bits[from / 64] == 0;

        from = none ? (from | 63) + 1 : from + 1;
    }
    return from < end ? from : end;
}

/* Slots that fit, from all over the index: where the entry leads there may be none. */
static void put_seeds(const struct plan *plan, const struct poly_slots *slots)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        const uint32_t from = (uint32_t)(plan->linked * seed / SEEDS);
        const uint32_t end = (uint32_t)(plan->linked * (seed + 1) / SEEDS);
        const uint32_t slot = first_fitting(plan, slots, from, end);

        if (slot < end)
            put(plan, slot);
    }
}

/* Takes what may not be answered out of the pool. */
static void keep_fitting(const struct plan *plan, const struct poly_slots *slots)
{
    struct poly_context *context = plan->context;
    uint32_t kept = 0;

    for (uint32_t i = 0; i < context->count; i++) {
        struct poly_candidate candidate = context->pool[i];

        candidate.slot &= ~EXPANDED;
        if (poly_slot_fits(plan->index, slots, candidate.slot, plan->search->end))
            context->pool[kept++] = candidate;
    }
    context->count = kept;
}

/* Leaves the nearest that fit in the pool, by what the context looks at. */
static enum poly_status walk(const struct plan *plan, bool choosy, struct poly_error *err)
{
    const struct poly_index *index = plan->index;
    const struct poly_index_search *search = plan->search;
    struct poly_slots slots;
    struct poly_walk walk = {
        .limit = plan->limit, .end = search->end, .choosy = choosy, .deadline = search->deadline};
    const uint64_t entry = atomic_load_explicit(&index->graph.entry, memory_order_acquire);
    uint32_t at;

    if (plan->filtered) {
        const enum poly_status status = as_bits(plan, &slots, err);

        if (status != POLY_OK)
            return status;
        walk.slots = &slots;
    }
    poly_context_clear(plan->context, 1);
    at = poly_graph_descend(index, plan->context, entry, 0, plan->limit);
    poly_context_clear(plan->context, plan->ef);
    if (at < plan->limit) /* else it is the entry, which others have just linked */
        put(plan, at);
    if (choosy || plan->context->count == 0)
        put_seeds(plan, walk.slots);
    if (!poly_graph_walk(index, plan->context, &walk, 0))
        return out_of_time(err);
    keep_fitting(plan, walk.slots);
    return POLY_OK;
}

/* How many candidates are looked at exactly. */
static uint32_t reranked(const struct plan *plan)
{
    const uint32_t least = plan->search->k + plan->search->k / 4 + 10;

    return plan->ef / 8 > least ? plan->ef / 8 : least;
}

/* Of the pool, which is in the order of sketches, leaves the best by their codes, in the order of
 * these. false: sketches are too coarse here, for many of the best came from the far half. */
static bool refine(const struct plan *plan)
{
    struct poly_context *context = plan->context;
    struct poly_candidate *pool = context->pool;
    const uint32_t all = context->count, k = plan->search->k;
    uint32_t far = 0;

    poly_context_look(context, plan->index, LOOK_CODES);
    context->count = 0;
    context->ef = reranked(plan) < plan->ef ? reranked(plan) : plan->ef;
    for (uint32_t from = 0; from < all; from += INDEX_BLOCK) {
        const uint32_t count = all - from < INDEX_BLOCK ? all - from : INDEX_BLOCK;

        for (uint32_t i = 0; i < count; i++)
            context->ids[i] = pool[from + i].slot;
        poly_graph_distances(plan->index, context, context->ids, count, context->distances);
        for (uint32_t i = 0; i < count; i++)
            if (poly_context_wanted(context, context->distances[i]))
                poly_context_insert(context, context->ids[i] | (from + i < all / 2 ? 0 : EXPANDED),
                                    context->distances[i]);
    }
    context->ef = plan->ef;
    for (uint32_t i = 0; i < context->count; i++) {
        far += i < k && (pool[i].slot & EXPANDED) != 0;
        pool[i].slot &= ~EXPANDED;
    }
    return all < SKETCHED * k || far <= k / 8;
}

/* What the distance of a candidate is likely to be wrong by. */
static float error_of(const struct plan *plan, const struct poly_candidate *candidate)
{
    return poly_code_error(&plan->index->coder, plan->context->query,
                           poly_code_row(plan->index, candidate->slot), candidate->distance);
}

/* Are all of the pool as near as its codes can tell? Then those that are nearest need not be in it,
 * and the walk is better done by originals, unless each of these comes from a disk. */
static bool coarse(const struct plan *plan)
{
    const struct poly_candidate *pool = plan->context->pool;
    const uint32_t count = plan->context->count;

    return plan->index->coder.turned > 0 && count >= POOL_LEAST &&
           !poly_originals_slow(plan->index) &&
           pool[count - 1].distance - pool[count / POOL_PART].distance <
               COARSE * error_of(plan, &pool[count / POOL_PART]);
}

/* The true distances of the first candidates of the pool. */
static void rerank(const struct plan *plan, struct poly_nearest *nearest)
{
    struct poly_index *index = plan->index;
    const struct poly_index_search *search = plan->search;
    const struct poly_candidate *pool = plan->context->pool;
    const int64_t start = poly_costs_now();
    uint32_t count = reranked(plan);

    if (search->k <= plan->context->count) {
        const float far =
            pool[search->k - 1].distance + UNSURE * error_of(plan, &pool[search->k - 1]);

        while (count < plan->context->count && pool[count].distance < far)
            count++;
    }
    count = count < plan->context->count ? count : plan->context->count;
    if (poly_originals_slow(index))
        for (uint32_t i = 0; i < count; i++)
            poly_originals_ask(index, pool[i].slot);
    for (uint32_t i = 0; i < count + AHEAD; i++) {
        if (i < count)
            poly_row_fetch(poly_original_row(index, pool[i].slot), index->original_size);
        if (i < AHEAD)
            continue;

        const uint32_t slot = pool[i - AHEAD].slot;

        poly_nearest_add(nearest, slot,
                         poly_vector_distance(index->options.element, index->options.metric,
                                              search->query, poly_original_row(index, slot),
                                              index->options.dimensions));
    }
    poly_originals_seen(index, count, start);
}

/* Of what the walk has found and what is not in the graph yet. Where codes cannot tell vectors
 * apart they would put any of the latter before the former. *enough: k were found. */
static enum poly_status choose(const struct plan *plan, struct poly_nearest *nearest, bool *enough,
                               struct poly_error *err)
{
    const struct poly_index_search *search = plan->search;
    const bool originals = plan->context->sight.look == LOOK_ORIGINALS;
    enum poly_status status = POLY_OK;

    if (!originals)
        status = poly_scan_tail(plan->index, plan->context, search, plan->linked, err);
    *enough = status == POLY_OK && plan->context->count >= search->k;
    if (*enough)
        rerank(plan, nearest);
    if (*enough && originals)
        status = poly_scan_exact(plan->index, plan->context, search, plan->linked, nearest, err);
    return status;
}

static enum poly_status find_graph(const struct plan *plan, struct poly_nearest *nearest,
                                   bool *enough, struct poly_error *err)
{
    const struct poly_index_search *search = plan->search;
    const uint32_t dead = atomic_load_explicit(&plan->index->dead, memory_order_relaxed);
    const bool choosy =
        plan->filtered || dead + plan->limit - plan->linked > search->end / FEW_DEAD;
    const int64_t start = poly_costs_now();
    const bool sketches = plan->index->coder.sketch > 0 && plan->ef >= SKETCHED * search->k;
    enum poly_status status;

    if (sketches)
        poly_sketch_query(&plan->index->coder, plan->context->query, plan->context->sketch);
    poly_context_look(plan->context, plan->index, sketches ? LOOK_SKETCHES : LOOK_CODES);
    status = walk(plan, choosy, err);
    if (status == POLY_OK && sketches && !refine(plan))
        status = walk(plan, choosy, err);
    if (status == POLY_OK && coarse(plan)) {
        poly_context_look(plan->context, plan->index, LOOK_ORIGINALS);
        status = walk(plan, choosy, err);
    }
    if (status == POLY_OK && plan->context->count < search->k && !choosy)
        status = walk(plan, true, err);
    if (status != POLY_OK)
        return status;
    if (plan->search->way == POLY_WAY_PLANNED)
        poly_costs_learn(&plan->index->costs.walk[plan->share],
                         (float)(poly_costs_now() - start) / (float)plan->ef);
    return choose(plan, nearest, enough, err);
}

/* --- scans --- */

static enum poly_status find_exact(const struct plan *plan, struct poly_nearest *nearest,
                                   struct poly_error *err)
{
    struct poly_costs *costs = &plan->index->costs;
    const uint64_t before = plan->context->visits;
    const int64_t start = poly_costs_now();
    const enum poly_status status =
        poly_scan_exact(plan->index, plan->context, plan->search, 0, nearest, err);
    const uint64_t visits = plan->context->visits - before;

    if (status == POLY_OK && visits > INDEX_BLOCK)
        poly_costs_learn(plan->filtered ? &costs->pick : &costs->scan,
                         (float)(poly_costs_now() - start) / (float)visits);
    return status;
}

static enum poly_status find(const struct plan *plan, struct poly_near *near, uint32_t *count,
                             struct poly_error *err)
{
    struct poly_index_search *search = plan->search;
    struct poly_nearest nearest = {.near = near, .keep = search->k, .limit = search->farthest};
    const bool graph = by_graph(plan);
    enum poly_status status = POLY_OK;
    bool enough = false;

    plan->context->vector = search->query;
    poly_coder_query(&plan->index->coder, search->query, plan->context->query);
    if (graph)
        status = find_graph(plan, &nearest, &enough, err);
    if (status == POLY_OK && !enough)
        status = find_exact(plan, &nearest, err);
    if (status != POLY_OK)
        return status;
    poly_nearest_sort(&nearest);
    search->visited = plan->context->visits;
    search->plan = plan->filtered ? (enough ? POLY_PLAN_FILTERED_GRAPH : POLY_PLAN_FILTERED_EXACT)
                                  : (enough ? POLY_PLAN_GRAPH : POLY_PLAN_EXACT);
    *count = nearest.count;
    return POLY_OK;
}

enum poly_status poly_index_find(struct poly_index *index, struct poly_index_search *search,
                                 struct poly_near *near, uint32_t *count, struct poly_error *err)
{
    struct plan plan;
    enum poly_status status;

    poly_assert(search->k > 0 && search->end <= poly_index_end(index));
    if (atomic_load_explicit(&index->lost, memory_order_relaxed))
        return poly_originals_lost(err);
    look(&plan, index, search);
    status = poly_context_take(index, plan.limit, plan.ef, &plan.context, err);
    if (status != POLY_OK)
        return status;
    status = find(&plan, near, count, err);
    poly_context_give(index, plan.context);
    return status;
}
