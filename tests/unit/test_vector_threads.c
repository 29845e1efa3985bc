/* One appends, kills and publishes, two link, two search, one saves, all at a time: every search
 * sees one state, and ThreadSanitizer sees no race. */
#include "index_place.h"

#include <pthread.h>

enum { COUNT = 4000, BATCH = 50, DIMENSIONS = 16 };

static struct poly_index_options options = {.element = POLY_F32,
                                            .metric = POLY_L2,
                                            .dimensions = DIMENSIONS,
                                            .m = 6,
                                            .ef_construction = 30,
                                            .graph_from = 200,
                                            .originals = originals};
static struct poly_index *shared;
static atomic_bool done;
static atomic_uint wrong, searches;

static void *link_all(void *unused)
{
    struct poly_error own;
    uint32_t linked;

    (void)unused;
    while (!atomic_load(&done))
        if (poly_index_link(shared, 20, &done, &linked, &own) != POLY_OK)
            atomic_fetch_add(&wrong, 1);
    return NULL;
}

/* Each batch kills as many as it appends, but for the first two: so from then on every state has
 * 2 * BATCH that live. */
static void *search_all(void *unused)
{
    static _Thread_local struct poly_near near[3 * BATCH];
    struct poly_error own;
    float query[DIMENSIONS] = {0.5F, 1};
    uint32_t count = 0;

    (void)unused;
    for (uint32_t i = 0; !atomic_load(&done); i++) {
        struct poly_index_search search = {.query = query,
                                           .end = poly_index_end(shared),
                                           .k = 3 * BATCH,
                                           .ef = 3 * BATCH,
                                           .farthest = INFINITY,
                                           .way = i % 2 == 0 ? POLY_WAY_GRAPH : POLY_WAY_PLANNED,
                                           .exact = i % 3 == 0};

        query[2] = (float)(i % 7);
        if (search.end < 2 * BATCH)
            continue;
        if (poly_index_find(shared, &search, near, &count, &own) != POLY_OK || count != 2 * BATCH)
            atomic_fetch_add(&wrong, 1);
        for (uint32_t j = 0; j < count; j++)
            if (!poly_index_alive(shared, near[j].slot, search.end))
                atomic_fetch_add(&wrong, 1);
        atomic_fetch_add(&searches, 1);
    }
    return NULL;
}

static void *save_all(void *unused)
{
    struct poly_index_numbers numbers;
    struct poly_error own;

    (void)unused;
    while (!atomic_load(&done)) {
        if (poly_index_save(shared, poly_index_end(shared), path, &own) != POLY_OK)
            atomic_fetch_add(&wrong, 1);
        poly_index_measure(shared, &numbers);
    }
    return NULL;
}

static void all_at_a_time(void **state)
{
    void *(*const work[])(void *) = {link_all, link_all, search_all, search_all, save_all};
    pthread_t threads[5];
    uint64_t random = 1;
    uint32_t slots[COUNT];

    (void)state;
    assert_ok(poly_index_new(&options, &shared, &err));
    for (int i = 0; i < 5; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work[i], NULL), 0);
    for (uint32_t i = 0; i < COUNT; i++) {
        slots[i] = data_append(shared, &options, &random, -1);
        if (i >= 2 * BATCH)
            assert_ok(poly_index_kill(shared, slots[i - 2 * BATCH], &err));
        if (i % BATCH != BATCH - 1)
            continue;
        poly_index_publish(shared);
        data_append(shared, &options, &random, -1);
        poly_index_revert(shared);
        usleep(1000); /* not to wait for anything: so that the others run in between */
    }
    while (atomic_load(&searches) < 20)
        usleep(1000);
    atomic_store(&done, true);
    for (int i = 0; i < 5; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&wrong), 0);

    /* what was saved last is whole */
    struct poly_index *again = NULL;

    poly_index_free(shared);
    assert_ok(poly_index_load(&options, path, NULL, &again, &err));
    poly_index_free(again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_at_a_time)};

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
