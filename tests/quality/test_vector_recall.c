/*
 * What the graph finds of the right answer (S0-05): floors, each for data of a fixed seed. The
 * graph is forced here where a planner would rather scan, so that it is the graph that is measured.
 */
#include "vector_data.h"

enum { K = 10, QUERIES = 100, WIDE = 512 };

struct measured {
    const struct poly_index_options *options;
    struct poly_index *index;
    const struct poly_slots *slots;
    uint32_t ef;
    enum poly_index_way way;
    int crowd;       /* of the queries; -1: of all */
    uint32_t graphs; /* out: searches that the graph has answered */
};

static double recall(struct measured *m, uint64_t seed)
{
    float query[DATA_MAX_DIMENSIONS];
    double sum = 0;

    m->graphs = 0;
    for (int i = 0; i < QUERIES; i++) {
        struct poly_index_search search = {.query = query,
                                           .end = poly_index_end(m->index),
                                           .slots = m->slots,
                                           .k = K,
                                           .ef = m->ef,
                                           .farthest = INFINITY,
                                           .way = m->way};

        data_query(m->options, &seed, m->crowd, query);
        sum += data_recall(m->index, m->options, &search);
        m->graphs += search.plan == POLY_PLAN_GRAPH || search.plan == POLY_PLAN_FILTERED_GRAPH;
    }
    return sum / QUERIES;
}

static struct poly_index *make(const struct poly_index_options *options)
{
    struct poly_index *index = NULL;

    assert_ok(poly_index_new(options, &index, &err));
    return index;
}

static struct poly_index *build(const struct poly_index_options *options, uint32_t count)
{
    struct poly_index *index = make(options);
    uint64_t random = 1;

    data_fill(index, options, &random, count);
    data_link(index);
    return index;
}

static struct poly_index_options shape(enum poly_element element, enum poly_metric metric)
{
    return (struct poly_index_options){.element = element,
                                       .metric = metric,
                                       .dimensions = 48,
                                       .m = 12,
                                       .ef_construction = 80,
                                       .graph_from = 1};
}

/* WIDE: those whose codes are short (S3-83). */
static void every_shape(void **state)
{
    static const struct {
        enum poly_element element;
        enum poly_metric metric;
        uint32_t dimensions;
        double floor;
    } shapes[] = {
        {POLY_F32, POLY_COSINE, 48, 0.97},    {POLY_F32, POLY_L2, 48, 0.97},
        {POLY_F32, POLY_INNER, 48, 0.93},     {POLY_F16, POLY_COSINE, 48, 0.97},
        {POLY_INT8, POLY_L2, 48, 0.97},       {POLY_INT8, POLY_COSINE, 48, 0.97},
        {POLY_BINARY, POLY_HAMMING, 48, 0.9}, {POLY_F32, POLY_COSINE, WIDE, 0.97},
        {POLY_F32, POLY_L2, WIDE, 0.97},      {POLY_F32, POLY_INNER, WIDE, 0.9},
        {POLY_F16, POLY_COSINE, WIDE, 0.97},  {POLY_INT8, POLY_COSINE, WIDE, 0.97},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        struct poly_index_options options = shape(shapes[i].element, shapes[i].metric);
        struct measured m = {.options = &options, .ef = 80, .way = POLY_WAY_GRAPH, .crowd = -1};

        options.dimensions = shapes[i].dimensions;
        m.index = build(&options, options.dimensions < WIDE ? 4000 : 1500);

        const double got = recall(&m, 2);

        if (got < shapes[i].floor)
            fail_msg("element %d, metric %d, %u dimensions: recall %.4f", shapes[i].element,
                     shapes[i].metric, shapes[i].dimensions, got);
        assert_int_equal(m.graphs, QUERIES);
        poly_index_free(m.index);
    }
}

/* More effort finds more. */
static void effort_helps(void **state)
{
    const struct poly_index_options options = shape(POLY_F32, POLY_COSINE);
    struct measured m = {.options = &options, .way = POLY_WAY_GRAPH, .crowd = -1};
    double last = 0;

    (void)state;
    m.index = build(&options, 6000);
    for (m.ef = 10; m.ef <= 160; m.ef *= 4) {
        const double got = recall(&m, 3);

        assert_true(got > last - 0.001);
        last = got;
    }
    assert_true(last > 0.99);
    poly_index_free(m.index);
}

/* A filter of every selectivity: k come back whenever k match (data_recall() looks), whether the
 * matches lie anywhere, or all far from the query (S3-44). */
static void filter(uint32_t dimensions, uint32_t count)
{
    static const uint32_t every[] = {1000, 100, 20, 10, 2};
    enum { MOST = 10000 };
    struct poly_index_options options = shape(POLY_F32, POLY_COSINE);
    static uint64_t bits[MOST / 64 + 1];
    static uint32_t list[MOST];
    struct measured m = {.options = &options, .ef = 64, .crowd = -1};
    uint64_t random = 5;

    options.dimensions = dimensions;
    m.index = build(&options, count);
    for (size_t i = 0; i < sizeof(every) / sizeof(every[0]); i++) {
        struct poly_slots slots = {.bits = bits, .bit_count = count};

        memset(bits, 0, sizeof(bits));
        for (uint32_t slot = 0; slot < count; slot++)
            if (data_below(&random, every[i]) == 0) {
                bits[slot / 64] |= 1UL << (slot % 64);
                list[slots.count++] = slot;
            }
        m.slots = &slots;
        for (m.way = POLY_WAY_PLANNED; m.way <= POLY_WAY_GRAPH; m.way++) {
            const double got = recall(&m, 6);

            if (got < (m.way == POLY_WAY_GRAPH && every[i] > 20 ? 0 : 0.95))
                fail_msg("1 in %u, way %d: recall %.4f", every[i], m.way, got);
            assert_true(m.way != POLY_WAY_GRAPH || every[i] > 20 || m.graphs == QUERIES);
            assert_true(m.way != POLY_WAY_SCAN || (m.graphs == 0 && got == 1));
        }
        slots = (struct poly_slots){.list = list, .count = slots.count};
        for (m.way = POLY_WAY_PLANNED; m.way <= POLY_WAY_GRAPH; m.way++)
            assert_true(recall(&m, 6) >= (m.way == POLY_WAY_GRAPH && every[i] > 20 ? 0 : 0.95));
    }
    poly_index_free(m.index);
}

static void filtered(void **state)
{
    (void)state;
    filter(48, 10000);
    filter(WIDE, 3000);
}

/* Crowd by crowd: slot i belongs to crowd i % CROWDS. */
static void filtered_by_where_they_lie(void **state)
{
    enum { COUNT = 8000, CROWDS = 8, ALLOWED = 1 };
    const struct poly_index_options options = shape(POLY_F32, POLY_L2);
    static uint64_t bits[COUNT / 64 + 1];
    struct poly_slots slots = {.bits = bits, .bit_count = COUNT};
    struct measured m = {.options = &options, .ef = 64, .index = make(&options), .slots = &slots};
    uint64_t random = 7;

    (void)state;
    memset(bits, 0, sizeof(bits));
    for (uint32_t slot = 0; slot < COUNT; slot++) {
        const uint32_t crowd = slot % CROWDS;

        data_append(m.index, &options, &random, (int)crowd);
        if (crowd < ALLOWED) {
            bits[slot / 64] |= 1UL << (slot % 64);
            slots.count++;
        }
    }
    poly_index_publish(m.index);
    data_link(m.index);
    for (m.way = POLY_WAY_PLANNED; m.way <= POLY_WAY_GRAPH; m.way++) {
        double found;

        m.crowd = CROWDS - 1; /* no match is near */
        found = recall(&m, 8);
        assert_true(found >= (m.graphs > 0 ? 0.9 : 0.99)); /* planned: as the clock has it */
        assert_true(m.way != POLY_WAY_GRAPH || m.graphs > QUERIES / 2); /* not by scans instead */
        m.crowd = 0; /* all that is near matches */
        found = recall(&m, 9);
        assert_true(found >= (m.graphs > 0 ? 0.95 : 0.99));
    }
    poly_index_free(m.index);
}

/* A third is dead, all of one crowd among it: still k, and the right ones. */
static void among_the_dead(void **state)
{
    const struct poly_index_options options = shape(POLY_F32, POLY_COSINE);
    struct measured m = {
        .options = &options, .ef = 64, .way = POLY_WAY_GRAPH, .crowd = -1, .index = make(&options)};
    uint64_t random = 10;

    (void)state;
    for (uint32_t slot = 0; slot < 6000; slot++)
        data_append(m.index, &options, &random, (int)(slot % DATA_CENTRES));
    poly_index_publish(m.index);
    data_link(m.index);
    for (uint32_t slot = 0; slot < 6000; slot++)
        if (slot % DATA_CENTRES == 4)
            assert_ok(poly_index_kill(m.index, slot, &err));
    poly_index_publish(m.index);
    m.crowd = 4;
    m.ef = 128; /* the nearest that live are far, and lie in many crowds */
    assert_true(recall(&m, 11) >= 0.9);
    m.ef = 64;
    for (uint32_t slot = 0; slot < 6000; slot++)
        if (slot % 3 == 0)
            assert_ok(poly_index_kill(m.index, slot, &err));
    poly_index_publish(m.index);
    m.crowd = -1;
    assert_true(recall(&m, 12) >= 0.96);
    poly_index_free(m.index);
}

static void compact(struct poly_index **index, const struct poly_index_options *options,
                    uint32_t *slots, uint32_t count)
{
    const uint32_t end = poly_index_end(*index);
    struct poly_index *to = make(options);
    uint32_t *map = malloc(end * sizeof(*map));

    assert_non_null(map);
    assert_ok(poly_index_copy(*index, end, to, map, NULL, &err));
    poly_index_publish(to);
    for (uint32_t i = 0; i < count; i++)
        slots[i] = map[slots[i]];
    free(map);
    poly_index_free(*index);
    *index = to;
    data_link(to);
}

/* All of the data replaced ten times, a part at a time, given back when a fifth is dead: as good as
 * if it had been built at once. */
static void replace_ten_times(uint32_t dimensions, uint32_t count)
{
    enum { MOST = 3000, PARTS = 20, TIMES = 10 };
    const uint32_t part = count / PARTS;
    struct poly_index_options options = shape(POLY_F32, POLY_COSINE);
    struct measured churned = {.options = &options, .ef = 48, .way = POLY_WAY_GRAPH, .crowd = -1};
    struct measured fresh = churned;
    static uint32_t slots[MOST];
    uint64_t random = 13, again;
    uint32_t compacted = 0;

    options.dimensions = dimensions;
    churned.index = build(&options, count);
    for (uint32_t i = 0; i < count; i++)
        slots[i] = i;
    again = random;
    for (uint32_t at = 0; at < TIMES * count; at++) {
        const uint32_t i = at % count;
        struct poly_index_numbers numbers;

        if (i == 0)
            again = random; /* of the last time, all anew */
        assert_ok(poly_index_kill(churned.index, slots[i], &err));
        slots[i] = data_append(churned.index, &options, &random, -1);
        if (i % part != part - 1)
            continue;
        poly_index_publish(churned.index);
        data_link(churned.index);
        poly_index_measure(churned.index, &numbers);
        if (numbers.dead > numbers.slots / 5) {
            compact(&churned.index, &options, slots, count);
            compacted++;
        }
    }
    assert_true(compacted > TIMES);
    fresh.index = make(&options);
    data_fill(fresh.index, &options, &again, count);
    data_link(fresh.index);

    const double after = recall(&churned, 14), before = recall(&fresh, 14);

    if (after < before - 0.005 || before < 0.95)
        fail_msg("recall %.4f, and %.4f of a fresh build", after, before);
    poly_index_free(churned.index);
    poly_index_free(fresh.index);
}

static void replaced_ten_times(void **state)
{
    (void)state;
    replace_ten_times(48, 3000);
    replace_ten_times(WIDE, 800);
}

/* A vector near one of a few centres. */
static void in_a_crowd(const struct poly_index_options *options, uint64_t *random, float width,
                       float *original)
{
    float vector[DATA_MAX_DIMENSIONS];
    uint64_t centre = data_below(random, 12);

    for (uint32_t i = 0; i < options->dimensions; i++)
        vector[i] = data_normal(&centre) + width * data_normal(random);
    data_pack(options, vector, original);
}

/* What is found in narrow crowds, of which the last ones are not in the graph yet. */
static double crowds_recall(enum poly_metric metric, uint32_t dimensions, float width,
                            uint32_t unlinked)
{
    struct poly_index_options options = shape(POLY_F32, metric);
    float original[DATA_MAX_DIMENSIONS], query[DATA_MAX_DIMENSIONS];
    struct poly_index *index;
    uint64_t random = 21;
    uint32_t slot;
    double sum = 0;

    options.dimensions = dimensions;
    index = make(&options);
    for (uint32_t count = 1; count <= 6000; count++) {
        in_a_crowd(&options, &random, width, original);
        assert_ok(poly_index_append(index, original, &slot, &err));
        if (count == 6000 - unlinked) {
            poly_index_publish(index);
            data_link(index);
        }
    }
    poly_index_publish(index);
    for (uint32_t asked = 0; asked < QUERIES; asked++) {
        struct poly_index_search search = {.query = query,
                                           .end = poly_index_end(index),
                                           .k = K,
                                           .ef = 64,
                                           .farthest = INFINITY,
                                           .way = POLY_WAY_GRAPH};

        in_a_crowd(&options, &random, width, original);
        poly_vector_unpack(options.element, options.metric, original, options.dimensions, query);
        sum += data_recall(index, &options, &search);
    }
    poly_index_free(index);
    return sum / QUERIES;
}

/* Where crowds are so narrow that sketches cannot tell their members apart a search finds that out
 * and looks at codes: these alone find 0.86, sketches alone 0.32. In wide ones sketches are enough
 * (S0-05). Short codes cannot tell them apart either, and a search then looks at originals; without
 * that it finds 0.25. In the narrowest the query's own rounding is most of what is wrong: a search
 * that does not count it finds 0.37 and 0.33. */
static void narrow_crowds(void **state)
{
    static const struct {
        enum poly_metric metric;
        uint32_t dimensions;
        float width;
        double floor;
    } crowds[] = {
        {POLY_COSINE, 100, 0.6F, 0.97},    {POLY_L2, 100, 0.6F, 0.97},
        {POLY_COSINE, 100, 0.02F, 0.82},   {POLY_L2, 100, 0.02F, 0.82},
        {POLY_COSINE, WIDE, 0.6F, 0.96},   {POLY_L2, WIDE, 0.6F, 0.96},
        {POLY_COSINE, WIDE, 0.02F, 0.78},  {POLY_L2, WIDE, 0.02F, 0.78},
        {POLY_COSINE, WIDE, 0.005F, 0.62}, {POLY_L2, WIDE, 0.005F, 0.62},
        {POLY_COSINE, WIDE, 0.002F, 0.42}, {POLY_L2, WIDE, 0.002F, 0.42},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(crowds) / sizeof(crowds[0]); i++) {
        const double got =
            crowds_recall(crowds[i].metric, crowds[i].dimensions, crowds[i].width, 0);

        if (got < crowds[i].floor)
            fail_msg("metric %d, %u dimensions, width %g: recall %.4f", crowds[i].metric,
                     crowds[i].dimensions, (double)crowds[i].width, got);
    }
}

/* Those that are not in the graph yet, by their codes, would take the places of what the walk has
 * found by originals: 0.78 and 0.64. */
static void narrow_crowds_go_on(void **state)
{
    (void)state;
    assert_true(crowds_recall(POLY_COSINE, WIDE, 0.02F, 1000) >= 0.84);
    assert_true(crowds_recall(POLY_L2, WIDE, 0.005F, 1000) >= 0.75);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shape),
        cmocka_unit_test(effort_helps),
        cmocka_unit_test(filtered),
        cmocka_unit_test(filtered_by_where_they_lie),
        cmocka_unit_test(among_the_dead),
        cmocka_unit_test(narrow_crowds),
        cmocka_unit_test(narrow_crowds_go_on),
        cmocka_unit_test(replaced_ten_times),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
