/*
 * A collection of vectors against a model that looks at everything: S0-05 (nearest neighbours),
 * S3-42 (limit, threshold), S3-44 (filters before the nearest are chosen), S3-47 (threshold and
 * order).
 */
#include "test.h"

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lab.h"
#include "vector_model.h"

static struct poly_error err;
static char why[400];

static const struct model_shape small = {.element = POLY_F32,
                                         .metric = POLY_COSINE,
                                         .dimensions = 16,
                                         .keys = 400,
                                         .owners = 5,
                                         .clusters = 12};

#define assert_agrees(model, searches)                                                             \
    do {                                                                                           \
        if (!model_agrees(model, searches, why, sizeof(why)))                                      \
            fail_msg("%s", why);                                                                   \
    } while (0)

#define assert_search(model, find, condition)                                                      \
    do {                                                                                           \
        if (!model_search(model, find, condition, why, sizeof(why)))                               \
            fail_msg("%s", why);                                                                   \
    } while (0)

static void put_all(struct model *m, uint32_t from, uint32_t to)
{
    for (uint32_t key = from; key < to; key++)
        assert_ok(model_put(m, key, &err));
}

/* Until nothing is left to do, with changes in between when there are any to be made. */
static unsigned work(struct model *m)
{
    bool more = true;
    unsigned turns = 0;

    for (; more; turns++)
        assert_ok(poly_collection_work(m->collection, 2, NULL, &more, &err));
    return turns;
}

static struct poly_collection_numbers measure(const struct model *m)
{
    struct poly_collection_numbers numbers;

    poly_collection_measure(m->collection, &numbers);
    return numbers;
}

static size_t find_count(struct model *m, struct poly_find *find)
{
    struct poly_arena *arena = poly_arena_new(64 << 20);
    struct poly_finding finding;

    assert_ok(poly_collection_find(m->collection, find, arena, &finding, &err));
    poly_arena_free(arena);
    return finding.count;
}

/* --- one state --- */

/* What is put is found from publish() on, and never when it is reverted; the old one till then. */
static void what_is_published_is_found(void **state)
{
    float vector[16];
    struct poly_find find = {.vector = vector, .limit = 500, .farthest = INFINITY};
    struct model m;

    (void)state;
    model_open(&m, &small, NULL);
    model_vector(&m, 1, vector);
    assert_int_equal(find_count(&m, &find), 0);
    put_all(&m, 0, 30);
    assert_int_equal(find_count(&m, &find), 0);
    model_publish(&m);
    assert_agrees(&m, 30);
    put_all(&m, 10, 50);
    for (uint32_t key = 0; key < 20; key += 3)
        assert_ok(model_remove(&m, key, &err));
    put_all(&m, 3, 8);
    assert_agrees(&m, 30);
    model_revert(&m);
    assert_agrees(&m, 30);
    put_all(&m, 10, 50);
    for (uint32_t key = 0; key < 20; key += 3)
        assert_ok(model_remove(&m, key, &err));
    assert_ok(model_remove(&m, 399, &err)); /* not there */
    model_publish(&m);
    assert_agrees(&m, 30);
    for (uint32_t key = 0; key < 50; key++)
        assert_ok(model_remove(&m, key, &err));
    model_publish(&m);
    assert_int_equal(find_count(&m, &find), 0);
    model_close(&m);
}

/* Searching by key goes to what is published while its record is replaced or removed. */
static void like_sees_what_is_published(void **state)
{
    char key_text[MODEL_TEXT], owner_text[MODEL_TEXT];
    struct poly_find find = {.limit = 20, .farthest = INFINITY, .exact = true};
    struct poly_arena *arena = poly_arena_new(1 << 20);
    struct poly_finding finding;
    struct poly_text owner;
    struct model m;

    (void)state;
    model_open(&m, &small, NULL);
    owner = model_owner(&m, 7, owner_text);
    find.like = model_key(7, key_text);
    find.owner = &owner;
    put_all(&m, 0, 100);
    assert_fails(poly_collection_find(m.collection, &find, arena, &finding, &err), POLY_NOT_FOUND);
    assert_message("key-000007");
    model_publish(&m);
    for (int i = 0; i < 3; i++) {
        assert_search(&m, &find, NULL);
        assert_ok(model_put(&m, 7, &err));
        assert_search(&m, &find, NULL);
        assert_ok(model_remove(&m, 7, &err));
        assert_search(&m, &find, NULL);
        assert_ok(model_put(&m, 7, &err));
        assert_search(&m, &find, NULL);
        i == 1 ? model_revert(&m) : model_publish(&m);
    }
    assert_ok(model_remove(&m, 7, &err));
    model_publish(&m);
    assert_fails(poly_collection_find(m.collection, &find, arena, &finding, &err), POLY_NOT_FOUND);
    poly_arena_free(arena);
    model_close(&m);
}

/* What somebody holds stays as it was, through changes and through a compaction. */
static void a_held_state_stays(void **state)
{
    struct poly_collection_state held;
    struct model_shape shape = small;
    float vector[16];
    char key_text[MODEL_TEXT];
    struct poly_find near = {.vector = vector, .limit = 30, .farthest = INFINITY};
    struct poly_find like = {.limit = 30, .farthest = INFINITY};
    struct model_condition condition = {.rank = true, .rank_below = 300};
    struct model m, then;

    (void)state;
    shape.keys = 1000;
    shape.owners = 1;
    model_open(&m, &shape, NULL);
    model_vector(&m, 9, vector);
    like.like = model_key(5, key_text);
    put_all(&m, 0, 900);
    model_publish(&m);
    poly_collection_hold(m.collection, &held);
    model_copy(&then, &m);
    then.collection = m.collection;
    near.state = like.state = &held;
    for (int i = 0; i < 3; i++) {
        assert_search(&then, &near, i == 1 ? &condition : NULL);
        assert_search(&then, &like, NULL);
        put_all(&m, 0, 600);
        assert_ok(model_remove(&m, 5, &err));
        model_publish(&m);
        if (i == 1)
            work(&m);
        assert_agrees(&m, 10);
    }
    assert_in_range(measure(&m).index.slots, 899, 1700);
    assert_search(&then, &near, &condition);
    assert_search(&then, &like, NULL);
    poly_collection_release(m.collection, &held);
    then.collection = NULL;
    model_close(&then);
    model_close(&m);
}

/* --- everything at once --- */

static void walk(const struct model_shape *shape, unsigned steps)
{
    struct model m;

    model_open(&m, shape, NULL);
    for (unsigned i = 0; i < steps; i++) {
        uint64_t r = model_random(&m);
        uint32_t key = (uint32_t)(r / 64 % shape->keys);

        if (r % 64 < 40)
            assert_ok(model_put(&m, key, &err));
        else if (r % 64 < 52)
            assert_ok(model_remove(&m, key, &err));
        else if (r % 64 < 60)
            model_publish(&m);
        else if (r % 64 < 62)
            model_revert(&m);
        else
            work(&m);
        if (i % 50 == 0)
            assert_agrees(&m, 4);
    }
    model_close(&m);
}

static void agrees_with_the_model(void **state)
{
    static const struct {
        enum poly_element element;
        enum poly_metric metric;
        bool whole;
    } kinds[] = {{POLY_F32, POLY_COSINE, false},  {POLY_F32, POLY_L2, true},
                 {POLY_F16, POLY_L2, false},      {POLY_INT8, POLY_INNER, true},
                 {POLY_INT8, POLY_COSINE, false}, {POLY_BINARY, POLY_HAMMING, true}};

    (void)state;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        struct model_shape shape = small;

        shape.element = kinds[i].element;
        shape.metric = kinds[i].metric;
        shape.whole = kinds[i].whole;
        shape.clusters = shape.whole ? 0 : 12;
        walk(&shape, 400);
        shape.owners = 1;
        shape.dimensions = 3;
        walk(&shape, 200);
    }
}

/* --- k come back --- */

static uint32_t matching(const struct model *m, const struct model_condition *condition)
{
    uint32_t count = 0;

    for (uint32_t key = 0; key < m->shape.keys; key++)
        count += model_fits(m, &m->published[key], condition);
    return count;
}

/* With any search, exact or not: as many as match, k at most, and never one that does not. */
static void k_come_back(struct model *m, uint32_t k)
{
    static const int64_t below[] = {1, 3, 10, 100, 500, 1000};
    struct poly_arena *arena = poly_arena_new(64 << 20);
    float *query = calloc(m->shape.dimensions, sizeof(*query));
    struct poly_finding finding;

    for (size_t i = 0; i < sizeof(below) / sizeof(*below); i++) {
        struct model_condition condition = {.rank = true, .rank_below = below[i]};
        struct poly_find find = {
            .vector = query, .limit = k, .farthest = INFINITY, .where = model_where(&condition)};
        uint32_t there = matching(m, &condition);

        model_vector(m, model_random(m), query);
        assert_ok(poly_collection_find(m->collection, &find, arena, &finding, &err));
        assert_int_equal(finding.count, there < k ? there : k);
        for (size_t n = 0; n < finding.count; n++) {
            const struct model_record *record =
                &m->published[model_key_number(finding.found[n].key)];

            assert_int_equal(finding.found[n].version, record->version);
            assert_true(model_fits(m, record, &condition));
            assert_true(n == 0 || finding.found[n - 1].distance <= finding.found[n].distance);
        }
        poly_arena_reset(arena);
    }
    free(query);
    poly_arena_free(arena);
}

static void k_come_back_whenever_k_match(void **state)
{
    struct model_shape shape = small;
    struct model m;
    bool more = true;

    (void)state;
    shape.keys = 20000;
    model_open(&m, &shape, NULL);
    put_all(&m, 0, shape.keys);
    model_publish(&m);
    for (unsigned turn = 0; more && turn < 3; turn++) { /* while it is being linked */
        k_come_back(&m, 10);
        assert_ok(poly_collection_work(m.collection, 2, NULL, &more, &err));
    }
    work(&m);
    k_come_back(&m, 10);
    k_come_back(&m, 100);
    for (uint32_t key = 0; key < shape.keys; key++) /* most die, and near ones at that */
        if (key % 10 != 0)
            assert_ok(model_remove(&m, key, &err));
    model_publish(&m);
    k_come_back(&m, 10);
    put_all(&m, 0, shape.keys / 2);
    model_publish(&m);
    for (more = true; more;) { /* while it is being written anew */
        assert_ok(poly_collection_work(m.collection, 1, NULL, &more, &err));
        k_come_back(&m, 10);
    }
    assert_true(measure(&m).index.dead < 100);
    k_come_back(&m, 1000);
    model_close(&m);
}

/* --- order --- */

/* Hundreds are equally far, and more than one page has: each comes once, by key. */
static void pages_fit_together(void **state)
{
    struct model_shape shape = small;
    struct poly_find find = {.limit = 7, .farthest = INFINITY};
    float vector[16];
    struct model m;

    (void)state;
    shape.keys = 2000;
    shape.owners = 1;
    model_open(&m, &shape, NULL);
    for (uint32_t i = 0; i < 2000; i++) /* in an order that is not that of the keys */
        assert_ok(model_put_seed(&m, i * 7 % 2000, 100 + i % 3, &err));
    model_publish(&m);
    model_vector(&m, 101, vector);
    find.vector = vector;
    for (; find.offset < 2000; find.offset += 7)
        assert_search(&m, &find, NULL);
    find.limit = 1000;
    find.offset = 900;
    assert_search(&m, &find, NULL);
    model_close(&m);
}

/* More than may be asked for at a time are equally far: then, too, pages agree with each other. */
static void a_page_of_many_equals_is_one_of_a_row(void **state)
{
    struct model_shape shape = small;
    struct poly_find find = {.farthest = INFINITY, .exact = true};
    struct poly_arena *arena = poly_arena_new(64 << 20);
    struct poly_finding all, page;
    float vector[16];
    struct model m;

    (void)state;
    shape.keys = 12000;
    model_open(&m, &shape, NULL);
    for (uint32_t key = 0; key < shape.keys; key++)
        assert_ok(model_put_seed(&m, key, 5, &err));
    model_publish(&m);
    model_vector(&m, 6, vector);
    find.vector = vector;
    find.limit = 11000;
    assert_ok(poly_collection_find(m.collection, &find, arena, &all, &err));
    assert_int_equal(all.count, 11000);
    for (find.limit = 100; find.offset < 10900; find.offset += 1090) {
        assert_ok(poly_collection_find(m.collection, &find, arena, &page, &err));
        assert_int_equal(page.count, 100);
        for (size_t i = 0; i < page.count; i++)
            assert_int_equal(page.found[i].version, all.found[find.offset + i].version);
    }
    poly_arena_free(arena);
    model_close(&m);
}

/* Without itself, as many as were asked for, up to the most that may be. */
static void like_leaves_itself_out(void **state)
{
    static const uint32_t limits[] = {1, 10, 10998, 10999, 11000};
    struct model_shape shape = small;
    struct poly_find find = {.farthest = INFINITY};
    char text[MODEL_TEXT];
    struct model m;

    (void)state;
    shape.keys = 11500;
    shape.owners = 1;
    shape.dimensions = 4;
    model_open(&m, &shape, NULL);
    put_all(&m, 0, shape.keys);
    model_publish(&m);
    find.like = model_key(77, text);
    for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++) {
        find.limit = limits[i];
        assert_search(&m, &find, NULL);
    }
    find.limit = 1000;
    find.offset = 10000;
    assert_search(&m, &find, NULL);
    model_close(&m);
}

/* --- groups --- */

static void groups_are_filled_however_one_sided(void **state)
{
    struct model_shape shape = small;
    struct poly_find find = {.limit = 10, .farthest = INFINITY, .group = "kind", .group_limit = 1};
    float vector[16];
    struct model m;

    (void)state;
    shape.keys = 14000;
    shape.owners = 1;
    model_open(&m, &shape, NULL);
    for (uint32_t key = 0; key < shape.keys; key++) {
        bool odd_one = key >= 13900;

        if (!odd_one) /* version decides the kind: all of one, but for the last */
            m.version += 9 - (m.version + 9) % 10;
        assert_ok(model_put_seed(&m, key, odd_one ? 1000000 + key : 5, &err));
    }
    model_publish(&m);
    model_vector(&m, 5, vector);
    find.vector = vector;
    for (find.group_limit = 1; find.group_limit < 4; find.group_limit++)
        assert_search(&m, &find, NULL);
    find.limit = 25; /* fewer than that can be had */
    find.group_limit = 2;
    assert_search(&m, &find, NULL);
    find.offset = 12;
    assert_search(&m, &find, NULL);
    model_close(&m);
}

/* --- refusals --- */

static void what_cannot_be_is_refused(void **state)
{
    struct poly_arena *arena = poly_arena_new(1 << 20);
    struct poly_value values[3] = {poly_null(), poly_null(), poly_null()};
    struct poly_catalog_entry entry = {
        .owner = poly_text(""), .key = poly_text("a"), .version = 1, .values = values};
    float vector[16] = {0};
    struct poly_find find = {.vector = vector, .limit = 1, .farthest = INFINITY};
    struct poly_finding finding;
    struct model m;

    (void)state;
    model_open(&m, &small, NULL);
    put_all(&m, 0, 10);
    assert_fails(poly_collection_put(m.collection, &entry, vector, &err), POLY_INVALID);
    assert_fails(poly_collection_find(m.collection, &find, arena, &finding, &err), POLY_INVALID);
    vector[0] = NAN;
    assert_fails(poly_collection_put(m.collection, &entry, vector, &err), POLY_INVALID);
    model_publish(&m); /* what was refused has changed nothing, and takes nothing with it */
    assert_agrees(&m, 20);
    vector[0] = 1;
    find.group = "colour";
    find.group_limit = 1;
    assert_fails(poly_collection_find(m.collection, &find, arena, &finding, &err), POLY_INVALID);
    assert_message("colour");
    poly_arena_free(arena);
    model_close(&m);
}

/* --- compaction --- */

static void churn(struct model *m, unsigned changes)
{
    for (unsigned i = 0; i < changes; i++) {
        uint64_t r = model_random(m);
        uint32_t key = (uint32_t)(r / 64 % m->shape.keys);

        if (r % 64 < 48)
            assert_ok(model_put(m, key, &err));
        else
            assert_ok(model_remove(m, key, &err));
        if (r % 64 % 7 == 0)
            r % 64 == 49 ? model_revert(m) : model_publish(m);
    }
}

/* Changes go on, published or not, at every turn of a compaction: nothing is lost or comes back. */
static void compaction_carries_changes_over(void **state)
{
    struct model_shape shape = small;
    struct model m;
    unsigned compactions = 0;

    (void)state;
    shape.keys = 3000;
    model_open(&m, &shape, NULL);
    put_all(&m, 0, shape.keys);
    model_publish(&m);
    for (unsigned turn = 0; turn < 40; turn++) {
        uint32_t slots = measure(&m).index.slots;
        bool more;

        assert_ok(poly_collection_work(m.collection, 2, NULL, &more, &err));
        churn(&m, 300);
        assert_agrees(&m, 10);
        if (turn % 3 == 0)
            model_publish(&m);
        compactions += measure(&m).index.slots < slots;
    }
    assert_true(compactions > 1);
    model_publish(&m);
    work(&m);
    assert_int_equal(measure(&m).live, model_count(&m));
    assert_agrees(&m, 50);
    model_close(&m);
}

/* The writer is in the middle of something whenever the new part is ready: its publish swaps. */
static void a_busy_writer_swaps_itself(void **state)
{
    struct model_shape shape = small;
    struct model m;

    (void)state;
    shape.keys = 3000;
    model_open(&m, &shape, NULL);
    put_all(&m, 0, 3000);
    model_publish(&m);
    put_all(&m, 0, 2000);
    model_publish(&m);
    assert_ok(model_put(&m, 1, &err));
    work(&m); /* … as far as can be */
    assert_true(measure(&m).compacting);
    assert_ok(model_put(&m, 3, &err));
    assert_ok(model_remove(&m, 2999, &err));
    assert_agrees(&m, 5);
    model_publish(&m);
    assert_false(measure(&m).compacting);
    assert_in_range(measure(&m).index.slots, 2999, 3003);
    assert_agrees(&m, 50);
    churn(&m, 500);
    model_revert(&m);
    work(&m);
    assert_agrees(&m, 20);
    model_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_published_is_found),
        cmocka_unit_test(like_sees_what_is_published),
        cmocka_unit_test(a_held_state_stays),
        cmocka_unit_test(agrees_with_the_model),
        cmocka_unit_test(k_come_back_whenever_k_match),
        cmocka_unit_test(pages_fit_together),
        cmocka_unit_test(a_page_of_many_equals_is_one_of_a_row),
        cmocka_unit_test(like_leaves_itself_out),
        cmocka_unit_test(groups_are_filled_however_one_sided),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(compaction_carries_changes_over),
        cmocka_unit_test(a_busy_writer_swaps_itself),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
