/* The slots of an index, and what a search sees of them; exact searches against brute force
 * (S0-05). */
#include "vector_data.h"

#include <stdlib.h>

#include "base/clock.h"
#include "stores/vector/engine/index_inside.h"

static struct poly_index_options shape(enum poly_element element, enum poly_metric metric,
                                       uint32_t dimensions)
{
    return (struct poly_index_options){.element = element,
                                       .metric = metric,
                                       .dimensions = dimensions,
                                       .m = 8,
                                       .ef_construction = 60,
                                       .graph_from = 100};
}

static struct poly_index *make(const struct poly_index_options *options)
{
    struct poly_index *index = NULL;

    assert_ok(poly_index_new(options, &index, &err));
    return index;
}

static struct poly_index_search ask(const struct poly_index *index, const float *query, uint32_t k)
{
    return (struct poly_index_search){
        .query = query, .end = poly_index_end(index), .k = k, .ef = 50, .farthest = INFINITY};
}

/* --- exact --- */

static void check_exact(const struct poly_index_options *options, uint32_t count)
{
    static const uint32_t ks[] = {1, 10, 100};
    struct poly_index *index = make(options);
    float query[DATA_MAX_DIMENSIONS];
    uint64_t random = options->dimensions;

    for (uint32_t i = 0; i < count; i++)
        if (i % 3 == 2) { /* equal vectors: the lower slot is first */
            uint64_t same = 7;

            data_append(index, options, &same, (int)(i % 2));
        } else {
            data_append(index, options, &random, -1);
        }
    poly_index_publish(index);
    for (uint32_t slot = 0; slot < count; slot += 5)
        assert_ok(poly_index_kill(index, slot, &err));
    poly_index_publish(index);
    for (uint32_t i = 0; i < 12; i++) {
        struct poly_index_search search = ask(index, query, ks[i % 3]);

        data_query(options, &random, i % 2 == 0 ? -1 : 0, query);
        search.exact = i >= 3;
        assert_true(data_recall(index, options, &search) == 1);
        assert_int_equal(search.plan, POLY_PLAN_EXACT);
    }
    poly_index_free(index);
}

/* Every element under every metric that it has, also with more slots than one block of a scan. */
static void exact_is_exact(void **state)
{
    (void)state;
    for (int metric = POLY_COSINE; metric <= POLY_L2; metric++)
        for (int element = POLY_F32; element <= POLY_INT8; element++) {
            const struct poly_index_options options =
                shape((enum poly_element)element, (enum poly_metric)metric, 33);

            check_exact(&options, 700);
        }
    const struct poly_index_options binary = shape(POLY_BINARY, POLY_HAMMING, 77);

    check_exact(&binary, 700);

    const struct poly_index_options one = shape(POLY_F32, POLY_L2, 1);

    check_exact(&one, 10);
}

/* With a graph, too, and with filters of both kinds, an exact search is exact. */
static void exact_beside_a_graph(void **state)
{
    const struct poly_index_options options = shape(POLY_F32, POLY_L2, 16);
    struct poly_index *index = make(&options);
    uint64_t random = 3, bits[32] = {0};
    uint32_t list[400], listed = 0;
    float query[16];

    (void)state;
    data_fill(index, &options, &random, 2000);
    data_link(index);
    for (uint32_t slot = 0; slot < 2000; slot += 1 + data_below(&random, 9)) {
        bits[slot / 64] |= 1UL << (slot % 64);
        list[listed++] = slot;
    }

    const struct poly_slots as_bits = {.bits = bits, .bit_count = 1990, .count = listed};
    const struct poly_slots as_list = {.list = list, .count = listed};
    const struct poly_slots none = {.list = list, .count = 0}, all = {0};
    const struct poly_slots *const filters[] = {NULL, &all, &as_bits, &as_list, &none};

    for (uint32_t i = 0; i < 50; i++) {
        struct poly_index_search search = ask(index, query, 20);

        data_query(&options, &random, -1, query);
        search.slots = filters[i % 5];
        search.exact = true;
        assert_true(data_recall(index, &options, &search) == 1);
        assert_int_equal(search.plan, i % 5 < 2 ? POLY_PLAN_EXACT : POLY_PLAN_FILTERED_EXACT);
    }
    poly_index_free(index);
}

static void no_farther_than_asked(void **state)
{
    const struct poly_index_options options = shape(POLY_F32, POLY_COSINE, 16);
    struct poly_index *index = make(&options);
    uint64_t random = 4;
    float query[16];

    (void)state;
    data_fill(index, &options, &random, 500);
    data_link(index);
    for (uint32_t i = 0; i < 20; i++) {
        struct poly_index_search search = ask(index, query, 100);

        data_query(&options, &random, -1, query);
        search.farthest = 0.05F * (float)i;
        search.way = i % 2 == 0 ? POLY_WAY_GRAPH : POLY_WAY_SCAN;
        search.ef = 500;
        assert_true(data_recall(index, &options, &search) > 0.9);
    }
    poly_index_free(index);
}

/* --- states --- */

static uint32_t found(struct poly_index *index, uint32_t end, const float *query,
                      enum poly_index_way way)
{
    struct poly_index_search search = {
        .query = query, .end = end, .k = 1000, .ef = 1000, .farthest = INFINITY, .way = way};
    struct poly_near near[1000];
    uint32_t count = 0;

    assert_ok(poly_index_find(index, &search, near, &count, &err));
    for (uint32_t i = 0; i < count; i++)
        assert_true(poly_index_alive(index, near[i].slot, end));
    return count;
}

static void a_search_sees_one_state(void **state)
{
    const struct poly_index_options options = shape(POLY_F32, POLY_COSINE, 8);
    struct poly_index *index = make(&options);
    uint64_t random = 5;
    float query[8];

    (void)state;
    data_query(&options, &random, -1, query);
    assert_int_equal(found(index, poly_index_end(index), query, POLY_WAY_PLANNED), 0);
    for (uint32_t i = 0; i < 300; i++)
        data_append(index, &options, &random, -1);
    assert_int_equal(poly_index_end(index), 0);
    poly_index_publish(index);

    const uint32_t first = poly_index_end(index);

    assert_int_equal(first, 300);
    for (uint32_t slot = 0; slot < 100; slot++)
        assert_ok(poly_index_kill(index, slot, &err));
    assert_ok(poly_index_kill(index, 5, &err)); /* twice */
    assert_int_equal(found(index, first, query, POLY_WAY_SCAN), 300);
    poly_index_publish(index); /* deaths only: the end moves all the same */

    const uint32_t second = poly_index_end(index);

    assert_true(second > first);
    for (enum poly_index_way way = POLY_WAY_PLANNED; way <= POLY_WAY_GRAPH; way++) {
        assert_int_equal(found(index, first, query, way), 300);
        assert_int_equal(found(index, second, query, way), 200);
        data_link(index);
    }
    assert_true(poly_index_alive(index, 5, first));
    assert_false(poly_index_alive(index, 5, second));
    assert_false(poly_index_alive(index, second, UINT32_MAX));

    const uint32_t both = data_append(index, &options, &random, -1);

    assert_true(both >= second);
    assert_ok(poly_index_kill(index, both, &err)); /* comes and goes in one batch */
    assert_ok(poly_index_kill(index, 200, &err));
    poly_index_publish(index);
    assert_int_equal(found(index, poly_index_end(index), query, POLY_WAY_SCAN), 199);
    assert_int_equal(found(index, second, query, POLY_WAY_SCAN), 200);
    poly_index_publish(index); /* nothing new: nothing moves */
    assert_int_equal(poly_index_end(index), both + 1);

    struct poly_index_numbers numbers;

    poly_index_measure(index, &numbers);
    assert_int_equal(numbers.slots, both + 1);
    assert_int_equal(numbers.slots - numbers.dead, 199);
    poly_index_free(index);
}

static void revert_takes_back(void **state)
{
    const struct poly_index_options options = shape(POLY_F32, POLY_L2, 8);
    struct poly_index *index = make(&options), *other = make(&options);
    uint64_t random = 6, same = 6, thrown = 99;
    float query[8];

    (void)state;
    for (uint32_t round = 0; round < 5; round++) {
        for (uint32_t i = 0; i < 70; i++) {
            data_append(index, &options, &thrown, -1);
            if (round > 0)
                assert_ok(poly_index_kill(index, i, &err));
        }
        poly_index_revert(index);
        data_fill(index, &options, &random, 70);
        data_fill(other, &options, &same, 70);
        data_link(index);
        data_link(other);
    }
    data_same_numbers(index, other);
    assert_int_equal(poly_index_end(index), 350);
    for (uint32_t i = 0; i < 50; i++) {
        struct poly_index_search search = ask(index, query, 10);
        struct poly_near here[10], there[10];
        uint32_t count = 0, count_there = 0;

        data_query(&options, &random, -1, query);
        search.way = POLY_WAY_GRAPH;
        assert_ok(poly_index_find(index, &search, here, &count, &err));
        assert_ok(poly_index_find(other, &search, there, &count_there, &err));
        assert_int_equal(count, 10);
        assert_int_equal(count_there, 10);
        for (uint32_t j = 0; j < 10; j++) {
            assert_int_equal(here[j].slot, there[j].slot);
            assert_true(here[j].distance == there[j].distance);
        }
    }
    poly_index_free(index);
    poly_index_free(other);
}

/* The graph has grown far beyond the end that a search has read, its entry, too. */
static void an_old_end_in_a_large_graph(void **state)
{
    const struct poly_index_options options = shape(POLY_F32, POLY_L2, 8);
    struct poly_index *index = make(&options);
    uint64_t random = 12;
    float query[8];

    (void)state;
    data_fill(index, &options, &random, 300);
    data_link(index);
    data_fill(index, &options, &random, 9000);
    data_link(index);
    for (uint32_t i = 0; i < 40; i++) {
        struct poly_index_search search = ask(index, query, 10);

        data_query(&options, &random, -1, query);
        search.end = 300;
        search.way = POLY_WAY_GRAPH;
        assert_true(data_recall(index, &options, &search) >= 0.6);
    }
    poly_index_free(index);
}

/* The tail that no graph knows is found at once, and nothing is linked while there are few. */
static void tail_is_found(void **state)
{
    const struct poly_index_options options = shape(POLY_F32, POLY_L2, 12);
    struct poly_index *index = make(&options);
    struct poly_index_numbers numbers;
    atomic_bool stop = true;
    uint64_t random = 8;
    uint32_t linked = 7;
    float query[12];

    (void)state;
    data_fill(index, &options, &random, 99);
    assert_ok(poly_index_link(index, 1000, NULL, &linked, &err));
    assert_int_equal(linked, 0);
    poly_index_measure(index, &numbers);
    assert_int_equal(numbers.unlinked, 0); /* nothing waits */
    data_fill(index, &options, &random, 901);
    assert_ok(poly_index_link(index, 1000, &stop, &linked, &err));
    assert_int_equal(linked, 0);
    while (poly_index_measure(index, &numbers), numbers.linked < 1000) {
        assert_int_equal(numbers.unlinked, 1000 - numbers.linked);
        assert_ok(poly_index_link(index, 97, NULL, &linked, &err));
        assert_true(linked <= 97);
        for (uint32_t i = 0; i < 5; i++) {
            struct poly_index_search search = ask(index, query, 10);

            data_query(&options, &random, -1, query);
            search.way = POLY_WAY_GRAPH;
            search.ef = 100;
            assert_true(data_recall(index, &options, &search) >= 0.9);
            assert_int_equal(search.plan, POLY_PLAN_GRAPH);
        }
    }
    assert_int_equal(numbers.unlinked, 0);
    poly_index_free(index);
}

/* A copy has what lives, in another order; the map says where. */
static void copy_keeps_the_living(void **state)
{
    const struct poly_index_options options = shape(POLY_F16, POLY_COSINE, 12);
    struct poly_index *index = make(&options), *to = make(&options);
    uint64_t random = 9;
    uint32_t map[1501], moved = 0;
    char seen[1501] = {0};
    const atomic_bool stop = true;

    (void)state;
    data_fill(index, &options, &random, 1500);
    data_link(index);
    for (uint32_t slot = 0; slot < 1500; slot += 3)
        assert_ok(poly_index_kill(index, slot, &err));
    poly_index_publish(index);

    const uint32_t end = poly_index_end(index);

    assert_fails(poly_index_copy(index, end, to, map, &stop, &err), POLY_UNAVAILABLE);
    poly_index_publish(to);
    assert_int_equal(poly_index_end(to), 0); /* none of them was looked at */
    assert_ok(poly_index_copy(index, end, to, map, NULL, &err));
    poly_index_publish(to);
    assert_int_equal(poly_index_end(to), 1000);
    for (uint32_t slot = 0; slot < end; slot++) {
        assert_int_equal(map[slot] != POLY_NO_SLOT, poly_index_alive(index, slot, end));
        if (map[slot] == POLY_NO_SLOT)
            continue;
        assert_true(map[slot] < 1000 && !seen[map[slot]]);
        seen[map[slot]] = 1;
        moved += map[slot] != slot;
        assert_memory_equal(poly_index_original(to, map[slot]), poly_index_original(index, slot),
                            poly_element_size(POLY_F16, 12));
    }
    assert_true(moved > 900);
    poly_index_free(index);
    poly_index_free(to);
}

/* --- links --- */

static int nearest_first(const void *a, const void *b)
{
    const struct poly_candidate *left = a, *right = b;

    if (left->distance != right->distance)
        return left->distance < right->distance ? -1 : 1;
    return left->slot < right->slot ? -1 : left->slot > right->slot;
}

/* Codes of a node against the first count slots. */
static void distances_of(const struct poly_index *index, uint32_t node, uint32_t count,
                         float *distances)
{
    static _Alignas(64) uint8_t query[1024];

    assert_true(poly_coder_query_size(&index->coder) <= sizeof(query));
    poly_coder_query_code(&index->coder, poly_code_row(index, node), query);
    poly_code_distances(&index->coder, query, index->codes.base, NULL, count, distances);
}

/* Neighbours as Malkov and Yashunin choose them (algorithm 4), of all slots before the node, each
 * compared with those that have been taken, one by one. */
static uint32_t textbook(const struct poly_index *index, uint32_t node, uint32_t *links)
{
    static float distances[400], between[100][400];
    static struct poly_candidate all[400];
    uint32_t count = 0;

    distances_of(index, node, node, distances);
    for (uint32_t i = 0; i < node; i++)
        all[i] = (struct poly_candidate){distances[i], i};
    qsort(all, node, sizeof(*all), nearest_first);
    for (uint32_t i = 0; i < node && count < index->options.m; i++) {
        bool good = true;

        for (uint32_t j = 0; j < count; j++)
            good = good && between[j][all[i].slot] >= all[i].distance;
        if (!good)
            continue;
        distances_of(index, all[i].slot, node, between[count]);
        links[count++] = all[i].slot;
    }
    return count;
}

/* A new node has the links that the textbook's loop over all others would give it: with a pool that
 * holds all of them, exactly these, nearest first. */
static void links_go_in_all_directions(void **state)
{
    struct poly_index_options options = shape(POLY_F32, POLY_L2, 16);
    uint32_t links[100], most = 0, least = 100;
    uint64_t random = 12;
    struct poly_index *index;

    (void)state;
    options.ef_construction = 400;
    index = make(&options);
    data_fill(index, &options, &random, 300);
    data_link(index);
    for (uint32_t node = 300; node < 380; node++) {
        const uint32_t count = textbook(index, data_append(index, &options, &random, -1), links);
        atomic_uint *row = poly_link_row(index, node, 0);

        poly_index_publish(index);
        data_link(index);
        for (uint32_t i = 0; i < count; i++)
            assert_int_equal(row[i], links[i]);
        assert_int_equal(row[count], POLY_NO_SLOT);
        most = count > most ? count : most;
        least = count < least ? count : least;
    }
    assert_int_equal(most, options.m); /* what the number of links ends, … */
    assert_true(least < options.m);    /* … and what the others that are left end */
    poly_index_free(index);
}

/* --- what is refused --- */

static void wrong_shapes(void **state)
{
    struct poly_index *index = NULL;
    struct poly_index_options options = shape(POLY_F32, POLY_L2, 0);

    (void)state;
    assert_fails(poly_index_new(&options, &index, &err), POLY_INVALID);
    assert_message("0 dimensions; 1 to 16000");
    options.dimensions = 16001;
    assert_fails(poly_index_new(&options, &index, &err), POLY_INVALID);
    options.dimensions = 4;
    options.m = 1;
    assert_fails(poly_index_new(&options, &index, &err), POLY_INVALID);
    assert_message("m is 1; 2 to 100");
    options.m = 16;
    options.ef_construction = 1001;
    assert_fails(poly_index_new(&options, &index, &err), POLY_INVALID);
    assert_message("ef_construction is 1001; 4 to 1000");
    options.ef_construction = 100;
    options.originals = "/dev/null/nowhere";
    assert_fails(poly_index_new(&options, &index, &err), POLY_UNAVAILABLE);
    assert_message("/dev/null/nowhere");
    assert_null(index);
    poly_index_free(NULL);
}

static void deadlines_are_kept(void **state)
{
    const struct poly_index_options options = shape(POLY_F32, POLY_L2, 8);
    struct poly_index *index = make(&options);
    struct poly_near near[500];
    uint64_t random = 10;
    uint32_t count;
    float query[8];

    (void)state;
    data_fill(index, &options, &random, 5000);
    data_link(index);
    data_query(&options, &random, -1, query);
    for (enum poly_index_way way = POLY_WAY_SCAN; way <= POLY_WAY_GRAPH; way++) {
        struct poly_index_search search = ask(index, query, 500);

        search.way = way;
        search.deadline = poly_clock_monotonic() - 1000000;
        assert_fails(poly_index_find(index, &search, near, &count, &err), POLY_TIMEOUT);
        search.deadline = poly_clock_monotonic() + 60000000;
        assert_ok(poly_index_find(index, &search, near, &count, &err));
    }
    poly_index_free(index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_is_exact),
        cmocka_unit_test(exact_beside_a_graph),
        cmocka_unit_test(no_farther_than_asked),
        cmocka_unit_test(a_search_sees_one_state),
        cmocka_unit_test(revert_takes_back),
        cmocka_unit_test(tail_is_found),
        cmocka_unit_test(an_old_end_in_a_large_graph),
        cmocka_unit_test(copy_keeps_the_living),
        cmocka_unit_test(links_go_in_all_directions),
        cmocka_unit_test(wrong_shapes),
        cmocka_unit_test(deadlines_are_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
