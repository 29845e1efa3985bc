/*
 * What a collection finds of the right answer (S0-05) by its graph, after a life: floors for data
 * of a fixed seed. Records are replaced by key, in any order, with everything done in the
 * background that a store would have done.
 */
#include "test.h"

#include <sched.h>

#include "lab.h"
#include "vector_model.h"

enum { KEYS = 3000, TIMES = 10, PART = 250, QUERIES = 100, MANY = 48 };

static struct poly_error err;

static const struct model_shape shape = {.element = POLY_F32,
                                         .metric = POLY_COSINE,
                                         .dimensions = 32,
                                         .m = 12,
                                         .ef_construction = 64,
                                         .graph_from = 1,
                                         .keys = KEYS,
                                         .owners = 1,
                                         .clusters = 40};

static unsigned threads = 2;

static void work(struct model *m)
{
    bool more = true;

    while (more)
        assert_ok(poly_collection_work(m->collection, threads, NULL, &more, &err));
}

/* Every key once, in an order that differs from one time to the next. */
static void replace_all(struct model *m, unsigned time)
{
    for (uint32_t i = 0; i < KEYS; i++) {
        assert_ok(model_put(m, (i * 7 + time * 1013) % KEYS, &err));
        if (i % PART == PART - 1) {
            model_publish(m);
            work(m);
        }
    }
}

/* The same content, as if it had always been so. */
static void build_fresh(struct model *fresh, const struct model *old)
{
    model_open(fresh, &shape, NULL);
    for (uint32_t key = 0; key < KEYS; key++) {
        fresh->version = old->published[key].version - 1;
        assert_ok(model_put_seed(fresh, key, old->published[key].seed, &err));
    }
    model_publish(fresh);
    work(fresh);
}

static double recall(struct model *m, struct model_condition *condition, enum poly_index_way way)
{
    struct model_recall how = {
        .queries = QUERIES, .k = 10, .ef = 64, .way = way, .condition = condition};

    return model_recall(m, &how);
}

static void replaced_ten_times_it_is_as_good_as_new(void **state)
{
    struct poly_collection_numbers numbers;
    struct model m, fresh;
    double now, then;

    (void)state;
    model_open(&m, &shape, NULL);
    for (unsigned time = 0; time <= TIMES; time++)
        replace_all(&m, time);
    build_fresh(&fresh, &m);
    poly_collection_measure(m.collection, &numbers);
    assert_int_equal(numbers.live, KEYS);
    assert_true(numbers.index.dead <= numbers.index.slots / 5);
    assert_int_equal(numbers.index.linked, numbers.index.slots);
    now = recall(&m, NULL, POLY_WAY_GRAPH);
    then = recall(&fresh, NULL, POLY_WAY_GRAPH);
    if (now < then - 0.005 || then < 0.95)
        fail_msg("recall %.4f, and %.4f of a fresh build", now, then);
    model_close(&m);
    model_close(&fresh);
}

/* Many threads on one processor: most of them stand still at any time, each in the middle of
 * linking a slot. What the others link meanwhile must not end up on an island. */
static void threads_that_stand_still_lose_nothing(void **state)
{
    struct model_shape few = shape; /* of links, for then more slots are on several levels */
    cpu_set_t before, one;
    struct model m;

    (void)state;
    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
    assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
    threads = MANY;
    few.m = 6;
    model_open(&m, &few, NULL);
    for (unsigned time = 0; time < 8; time++) {
        double now;

        replace_all(&m, time);
        now = recall(&m, NULL, POLY_WAY_GRAPH);
        if (now < 0.99)
            fail_msg("recall %.4f after %u times", now, time);
    }
    model_close(&m);
    threads = 2;
    assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
}

/* Filters of 0.1 to 50 in a hundred (S3-44), as the planner goes about them and through the graph.
 */
static void filters_keep_their_recall(void **state)
{
    static const int64_t below[] = {1, 10, 50, 200, 500};
    struct model m;

    (void)state;
    model_open(&m, &shape, NULL);
    replace_all(&m, 0);
    replace_all(&m, 1);
    for (size_t i = 0; i < sizeof(below) / sizeof(*below); i++) {
        struct model_condition condition = {.rank = true, .rank_below = below[i]};
        double planned = recall(&m, &condition, POLY_WAY_PLANNED);
        double graph = below[i] < 50 ? 1 : recall(&m, &condition, POLY_WAY_GRAPH);

        if (planned < 0.95 || graph < 0.93)
            fail_msg("rank < %d: recall %.4f as planned, %.4f by the graph", (int)below[i], planned,
                     graph);
    }
    model_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replaced_ten_times_it_is_as_good_as_new),
        cmocka_unit_test(threads_that_stand_still_lose_nothing),
        cmocka_unit_test(filters_keep_their_recall),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
