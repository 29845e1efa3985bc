/* Our side of the vector measurement: the index of the vector store, without the store. */
#include "vector_side.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/status.h"
#include "stores/vector/engine/index.h"

static struct {
    struct poly_index *index;
    const struct vector_set *set;
    uint64_t *bits; /* of the filter that was asked for last */
    uint32_t permille, fitting;
} side;

static void must(enum poly_status status, const struct poly_error *err)
{
    if (status != POLY_OK) {
        fprintf(stderr, "%s\n", err->message);
        exit(1);
    }
}

static void *room(size_t bytes)
{
    void *at = calloc(1, bytes);
    struct poly_error err;

    if (at == NULL)
        must(poly_no_memory(&err), &err);
    return at;
}

static void build(const struct vector_set *set)
{
    char originals[4096];
    struct poly_index_options options = {.element = POLY_F32,
                                         .metric = POLY_COSINE,
                                         .dimensions = set->dimensions,
                                         .m = VECTOR_M,
                                         .ef_construction = VECTOR_EF_CONSTRUCTION};
    void *original = room(poly_element_size(POLY_F32, set->dimensions));
    struct poly_error err;
    uint32_t slot, linked;

    side.set = set;
    if (set->scratch != NULL) {
        snprintf(originals, sizeof(originals), "%s/originals-%d", set->scratch, getpid());
        options.originals = originals;
    }
    must(poly_index_new(&options, &side.index, &err), &err);
    for (size_t i = 0; i < set->count; i++) {
        must(poly_vector_pack(POLY_F32, POLY_COSINE, set->base + i * set->dimensions,
                              set->dimensions, original, &err),
             &err);
        must(poly_index_append(side.index, original, &slot, &err), &err);
    }
    poly_index_publish(side.index);
    do
        must(poly_index_link(side.index, set->count, NULL, &linked, &err), &err);
    while (linked > 0);
    free(original);
}

static uint64_t bytes(void)
{
    struct poly_index_numbers numbers;

    poly_index_measure(side.index, &numbers);
    return numbers.memory_bytes;
}

/* The filter's slots: the catalog has them when the same was asked before. */
static void choose(uint32_t permille)
{
    if (side.permille == permille)
        return;
    free(side.bits);
    side.bits = room((side.set->count / 64 + 1) * sizeof(*side.bits));
    side.fitting = 0;
    side.permille = permille;
    for (uint32_t i = 0; i < side.set->count; i++)
        if (vector_fits(i, permille)) {
            side.bits[i / 64] |= UINT64_C(1) << i % 64;
            side.fitting++;
        }
}

static uint64_t search(const float *query, uint32_t ef, uint32_t permille, uint32_t *ids)
{
    struct poly_index_search search = {.query = query,
                                       .end = poly_index_end(side.index),
                                       .k = VECTOR_K,
                                       .ef = ef,
                                       .farthest = INFINITY,
                                       .exact = ef == UINT32_MAX};
    struct poly_slots slots;
    struct poly_near near[VECTOR_K];
    struct poly_error err;
    uint32_t count;

    if (permille < VECTOR_ALL) {
        choose(permille);
        slots = (struct poly_slots){
            .bits = side.bits, .bit_count = side.set->count, .count = side.fitting};
        search.slots = &slots;
    }
    must(poly_index_find(side.index, &search, near, &count, &err), &err);
    for (uint32_t i = 0; i < VECTOR_K; i++)
        ids[i] = i < count ? near[i].slot : UINT32_MAX;
    return search.visited;
}

int main(int argc, char **argv)
{
    static const struct vector_side ours = {.build = build, .bytes = bytes, .search = search};

    return vector_main(argc, argv, &ours);
}
