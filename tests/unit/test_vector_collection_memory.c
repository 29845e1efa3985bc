/*
 * A collection of vectors when memory ends, at every allocation in turn: an error that says so, no
 * effect, nothing lost, and index and catalog in step: what went wrong can be done again.
 */
#include "test.h"

#include <math.h>

#include "lab.h"
#include "memory.h"
#include "vector_model.h"

static struct poly_error err;
static char why[400];

static const struct model_shape shape = {
    .element = POLY_F16, .metric = POLY_COSINE, .dimensions = 6, .keys = 300, .owners = 3};

/* Only a lack of memory may be the reason, and only when there was one. */
static bool well(enum poly_status status)
{
    if (status == POLY_OK)
        return true;
    assert_int_equal(status, POLY_NO_MEMORY);
    assert_true(memory_failed());
    return false;
}

static void must_agree(struct model *m)
{
    if (!model_agrees(m, 3, why, sizeof(why)))
        fail_msg("%s", why);
}

/* Ends the run that memory_fail_at() has begun; was it hit? */
static bool disarm(void)
{
    bool hit = memory_failed();

    memory_fail_at(0, false);
    return hit;
}

/* A step that fails is taken back as a whole, and goes well the next time. */
static void changes(void **state)
{
    bool hit = true;

    (void)state;
    for (unsigned long nth = 1; hit; nth++) {
        struct model m;
        enum poly_status status;

        model_open(&m, &shape, NULL);
        assert_ok(model_step(&m, 20, &err));
        memory_fail_at(nth, false);
        status = model_step(&m, 150, &err);
        well(status);
        hit = disarm();
        if (status != POLY_OK) {
            model_revert(&m);
            must_agree(&m);
            assert_ok(model_step(&m, 150, &err));
        }
        must_agree(&m);
        model_close(&m);
        assert_true(hit || nth > 10);
    }
}

/* After a change that was half done nothing is taken until all is taken back. */
static void a_half_done_change_blocks_others(void **state)
{
    unsigned refused = 0;

    (void)state;
    for (unsigned long nth = 1; nth < 40; nth++) {
        struct model m;

        model_open(&m, &shape, NULL);
        assert_ok(model_step(&m, 20, &err));
        memory_fail_at(nth, false);
        if (model_step(&m, 150, &err) != POLY_OK) {
            disarm();
            refused++;
            assert_fails(model_put(&m, 1, &err), POLY_UNAVAILABLE);
            assert_message("revert");
            assert_fails(model_remove(&m, 2, &err), POLY_UNAVAILABLE);
            model_revert(&m);
            assert_ok(model_put(&m, 1, &err));
        }
        disarm();
        model_close(&m);
    }
    assert_true(refused > 0);
}

static void saving(void **state)
{
    char folder[LAB_PATH];
    struct model m;
    bool hit = true;

    (void)state;
    lab_folder_make(folder);
    model_open(&m, &shape, folder);
    assert_ok(model_step(&m, 200, &err));
    for (unsigned long nth = 1; hit; nth++) {
        bool saved;

        memory_fail_at(nth, false);
        saved = well(poly_collection_save(m.collection, &err));
        hit = disarm();
        assert_int_equal(poly_collection_unsaved(m.collection), !saved);
        if (saved)
            assert_ok(model_step(&m, 5, &err)); /* so that the next one has something to do */
        assert_true(hit || nth > 1);
    }
    model_close(&m);
    lab_folder_remove(folder);
}

/* A folder that cannot be opened for lack of memory is not a damaged one. */
static void opening(void **state)
{
    char folder[LAB_PATH];
    struct model m, again;
    uint64_t position;
    bool damaged, hit = true;

    (void)state;
    lab_folder_make(folder);
    model_open(&m, &shape, folder);
    assert_ok(model_step(&m, 200, &err));
    assert_ok(poly_collection_save(m.collection, &err));
    poly_collection_close(m.collection);
    m.collection = NULL;
    for (unsigned long nth = 1; hit; nth++) {
        bool open;

        model_copy(&again, &m);
        memory_fail_at(nth, false);
        open = well(model_reopen(&again, folder, &position, &damaged, &err));
        hit = disarm();
        assert_true(hit || nth > 5);
        if (open) {
            assert_false(damaged);
            assert_int_equal(position, m.position);
            must_agree(&again);
        }
        model_close(&again);
    }
    model_close(&m);
    lab_folder_remove(folder);
}

/* One that fails leaves the old part serving. */
static void compacting(void **state)
{
    bool hit = true;

    (void)state;
    for (unsigned long nth = 1; hit; nth++) {
        struct poly_collection_numbers numbers;
        struct model m;
        bool more = true;

        model_open(&m, &shape, NULL);
        for (int i = 0; i < 9; i++)
            assert_ok(model_step(&m, 100, &err));
        memory_fail_at(nth, false);
        while (more && well(poly_collection_work(m.collection, 1, NULL, &more, &err)))
            ;
        hit = disarm();
        assert_true(hit || nth > 5);
        poly_collection_measure(m.collection, &numbers);
        assert_false(numbers.compacting);
        assert_true(hit || numbers.index.dead == 0);
        must_agree(&m);
        assert_ok(model_step(&m, 50, &err));
        must_agree(&m);
        model_close(&m);
    }
}

static void searches(void **state)
{
    char key[MODEL_TEXT], owner_text[MODEL_TEXT];
    struct model_condition condition = {.rank = true, .rank_below = 700};
    struct poly_find find = {
        .limit = 9, .farthest = INFINITY, .vectors = true, .group = "kind", .group_limit = 1};
    struct poly_finding finding;
    struct poly_text owner;
    struct model m;
    bool hit = true;

    (void)state;
    model_open(&m, &shape, NULL);
    assert_ok(model_step(&m, 500, &err));
    owner = model_owner(&m, 4, owner_text);
    find.owner = &owner;
    find.like = model_key(4, key);
    for (unsigned long nth = 1; hit; nth++) {
        struct poly_arena *arena = poly_arena_new(1 << 20);

        condition.rank_below--; /* one that nobody has kept yet */
        find.where = model_where(&condition);
        memory_fail_at(nth, false);
        well(poly_collection_find(m.collection, &find, arena, &finding, &err));
        hit = disarm();
        assert_true(hit || nth > 3);
        poly_arena_free(arena);
    }
    must_agree(&m);
    model_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changes),    cmocka_unit_test(a_half_done_change_blocks_others),
        cmocka_unit_test(saving),     cmocka_unit_test(opening),
        cmocka_unit_test(compacting), cmocka_unit_test(searches),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
