/* The index when memory runs out, at each of its allocations in turn: it says so, has lost nothing,
 * and goes on when there is memory again. */
#include "index_place.h"

#include "memory.h"

enum { COUNT = 300 };

static struct poly_index_options options = {.element = POLY_F32,
                                            .metric = POLY_L2,
                                            .dimensions = 9,
                                            .m = 3,
                                            .ef_construction = 20,
                                            .graph_from = 1};

static enum poly_status append_all(struct poly_index *index, uint32_t from, uint32_t to)
{
    enum poly_status status = POLY_OK;
    float vector[9] = {0};
    uint32_t slot;

    for (uint32_t i = from; i < to && status == POLY_OK; i++) {
        vector[i % 9] = (float)i;
        status = poly_index_append(index, vector, &slot, &err);
    }
    return status;
}

static uint32_t ask(struct poly_index *index, enum poly_index_way way, enum poly_status *status)
{
    static const float query[9] = {3, 4, 5};
    static const uint32_t list[] = {3, 50, 51, 52, 200, 299};
    const struct poly_slots slots = {.list = list, .count = 6};
    struct poly_index_search search = {.query = query,
                                       .end = poly_index_end(index),
                                       .k = 4,
                                       .ef = 20,
                                       .farthest = INFINITY,
                                       .way = way,
                                       .slots = &slots};
    struct poly_near near[4];
    uint32_t count = 0;

    *status = poly_index_find(index, &search, near, &count, &err);
    return count;
}

/* All that an index does; on the way it is killed and reverted. */
static enum poly_status run(struct poly_index *index)
{
    uint32_t linked;
    enum poly_status status = append_all(index, 0, COUNT);

    if (status != POLY_OK)
        return status;
    poly_index_publish(index);
    for (uint32_t slot = 0; slot < 100 && status == POLY_OK; slot++)
        status = poly_index_kill(index, 100 + slot, &err);
    if (status == POLY_OK)
        poly_index_publish(index);
    do
        status = status == POLY_OK ? poly_index_link(index, 1000, NULL, &linked, &err) : status;
    while (status == POLY_OK && linked > 0);
    for (enum poly_index_way way = POLY_WAY_PLANNED; way <= POLY_WAY_GRAPH; way++)
        if (status == POLY_OK && ask(index, way, &status) != 4 && status == POLY_OK)
            fail_msg("fewer than 4");
    if (status == POLY_OK && options.originals != NULL)
        status = poly_index_save(index, poly_index_end(index), path, &err);
    return status;
}

/* Having been refused memory somewhere, it goes on from where it is. */
static void goes_on(struct poly_index *index)
{
    enum poly_status status;

    poly_index_revert(index);
    if (poly_index_end(index) == 0) {
        assert_ok(run(index));
        return;
    }
    data_link(index);
    assert_int_equal(ask(index, POLY_WAY_GRAPH, &status), 4);
    assert_int_equal(status, POLY_OK);
    if (options.originals != NULL)
        assert_ok(poly_index_save(index, poly_index_end(index), path, &err));
}

/* At the nth allocation, and from there on; false: there are not so many. */
static bool make_link_find_save(unsigned long nth, bool persistent)
{
    struct poly_index *index = NULL;
    enum poly_status status;
    bool failed;

    memory_fail_at(nth, persistent);
    status = poly_index_new(&options, &index, &err);
    if (status == POLY_OK)
        status = run(index);
    failed = memory_failed();
    memory_fail_at(0, false);
    /* less address space than was wanted is no error */
    assert_true(status == POLY_OK || (failed && status == POLY_NO_MEMORY));
    if (index != NULL && failed && status != POLY_OK)
        goes_on(index);
    poly_index_free(index);
    return failed;
}

static void every_allocation(void **state)
{
    static const char *const files[] = {NULL, originals};

    (void)state;
    for (int i = 0; i < 4; i++) {
        unsigned long nth = 1;

        options.originals = files[i / 2];
        while (make_link_find_save(nth, i % 2 == 1))
            nth++;
        assert_true(nth > 20);
    }
}

static bool load_once(unsigned long nth, bool persistent)
{
    struct poly_index *index = NULL;
    enum poly_status status;
    bool failed;

    memory_fail_at(nth, persistent);
    status = poly_index_load(&options, path, NULL, &index, &err);
    failed = memory_failed();
    memory_fail_at(0, false);
    assert_true(status == POLY_OK || (failed && status == POLY_NO_MEMORY));
    assert_true((index != NULL) == (status == POLY_OK));
    if (index != NULL)
        assert_int_equal(ask(index, POLY_WAY_GRAPH, &status), 4);
    poly_index_free(index);
    return failed;
}

static void every_allocation_of_a_load(void **state)
{
    struct poly_index *index = NULL;

    (void)state;
    options.originals = originals;
    assert_ok(poly_index_new(&options, &index, &err));
    assert_ok(run(index));
    poly_index_free(index);
    for (int i = 0; i < 2; i++) {
        unsigned long nth = 1;

        while (load_once(nth, i == 1))
            nth++;
        assert_true(nth > 10);
    }
    assert_ok(poly_index_load(&options, path, NULL, &index, &err));
    poly_index_free(index);
}

/* A copy that fails leaves the old one as it was. */
static void every_allocation_of_a_copy(void **state)
{
    struct poly_index *index = NULL, *to;
    unsigned long nth = 0;
    bool failed = true;

    (void)state;
    options.originals = NULL;
    assert_ok(poly_index_new(&options, &index, &err));
    assert_ok(run(index));
    while (failed) {
        const uint32_t end = poly_index_end(index);
        uint32_t map[COUNT + 1];
        enum poly_status status;

        assert_ok(poly_index_new(&options, &to, &err));
        memory_fail_at(++nth, false);
        status = poly_index_copy(index, end, to, map, NULL, &err);
        failed = memory_failed();
        memory_fail_at(0, false);
        assert_int_equal(status, failed ? POLY_NO_MEMORY : POLY_OK);
        poly_index_free(to);
        assert_int_equal(ask(index, POLY_WAY_GRAPH, &status), 4);
    }
    assert_true(nth > 5);
    poly_index_free(index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation),
        cmocka_unit_test(every_allocation_of_a_load),
        cmocka_unit_test(every_allocation_of_a_copy),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
