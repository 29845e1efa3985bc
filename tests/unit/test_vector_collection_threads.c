/*
 * A collection of vectors with everything at once: one writes, some search, one works and saves.
 * Every search must see one state, that of a publish, in vectors, keys, filter values and deaths
 * alike (S3-44), whatever is being linked, written anew or saved. ThreadSanitizer runs it, too.
 */
#include "test.h"

#include <math.h>
#include <pthread.h>

#include "lab.h"
#include "vector_model.h"

enum {
    GROUPS = 40,  /* of keys that are always changed together, and have one version */
    MEMBERS = 8,  /* keys of a group; the last is there in every other version only */
    ROUNDS = 120, /* of all groups */
    FINDERS = 2,
    DIMENSIONS = 8
};

static char folder[LAB_PATH];
static struct poly_collection *collection;
static atomic_bool done;
static _Atomic uint64_t published; /* rounds */
static atomic_uint searches, failures;
static char why[400];

/* The first one is told. */
static void __attribute__((format(printf, 1, 2))) fails(const char *format, ...)
{
    va_list list;

    if (atomic_fetch_add(&failures, 1) > 0)
        return;
    va_start(list, format);
    vsnprintf(why, sizeof(why), format, list);
    va_end(list);
}

/* The same for all members at one version, so that the group is what is nearest to it. */
static void vector_of(uint64_t group, uint64_t version, float vector[DIMENSIONS])
{
    for (uint64_t i = 0; i < DIMENSIONS; i++)
        vector[i] = (float)((group * 31 + i * i * 7 + group * i) % 23) + 1;
    vector[0] += (float)(version % 16) / 16;
}

static enum poly_status put(uint64_t group, uint64_t member, uint64_t version,
                            struct poly_error *err)
{
    char key[32], owner[32];
    struct poly_value value = poly_int((int64_t)version);
    struct poly_catalog_entry entry = {.version = version, .position = version, .values = &value};
    float vector[DIMENSIONS];

    snprintf(key, sizeof(key), "m%u", (unsigned)member);
    snprintf(owner, sizeof(owner), "g%u", (unsigned)group);
    entry.owner = poly_text(owner);
    entry.key = poly_text(key);
    vector_of(group, version, vector);
    if (member == MEMBERS - 1 && version % 2 == 0)
        return poly_collection_remove(collection, entry.owner, entry.key, err);
    return poly_collection_put(collection, &entry, vector, err);
}

/* Every third round is taken back, and made again. */
static void *write_all(void *arg)
{
    struct poly_error err;
    enum poly_status status = POLY_OK;

    (void)arg;
    for (uint64_t round = 1; round <= ROUNDS && status == POLY_OK; round++) {
        for (int again = round % 3 == 0; again >= 0 && status == POLY_OK; again--) {
            for (uint64_t i = 0; i < GROUPS * MEMBERS && status == POLY_OK; i++)
                status = put(i % GROUPS, i / GROUPS, round, &err);
            if (again > 0)
                poly_collection_revert(collection);
        }
        if (status == POLY_OK)
            poly_collection_publish(collection, round);
        atomic_store(&published, round);
    }
    if (status != POLY_OK)
        fails("a change has failed: %u", (unsigned)status);
    atomic_store(&done, true);
    return NULL;
}

static void check(const struct poly_finding *finding, uint64_t least, bool filtered)
{
    uint64_t version;

    atomic_fetch_add(&searches, 1);
    if (finding->count == 0) {
        if (least > 0 && !filtered)
            fails("nothing is found after round %u", (unsigned)least);
        return;
    }
    version = finding->found[0].version;
    if (version < least)
        fails("round %u is seen after %u", (unsigned)version, (unsigned)least);
    if (finding->count != (version % 2 == 0 ? MEMBERS - 1 : MEMBERS))
        fails("%u of a group in round %u", (unsigned)finding->count, (unsigned)version);
    for (size_t i = 0; i < finding->count; i++) {
        const struct poly_found *found = &finding->found[i];

        if (found->version != version || found->key.data[1] != (char)('0' + i))
            fails("round %u beside %u", (unsigned)found->version, (unsigned)version);
    }
}

static void search(uint64_t number, struct poly_arena *arena)
{
    uint64_t group = number * 7 % GROUPS, least = atomic_load(&published);
    char owner_text[32];
    float query[DIMENSIONS];
    struct poly_text owner;
    struct poly_value value = poly_int((int64_t)least);
    struct poly_filter filter = {
        .column = "round", .compare = POLY_EQ, .values = &value, .value_count = 1};
    struct poly_where where = {.kind = POLY_WHERE_COMPARE, .compare = &filter};
    bool filtered = number % 3 == 0;
    struct poly_find find = {.vector = query,
                             .owner = &owner,
                             .where = filtered ? &where : NULL,
                             .limit = MEMBERS + 2,
                             .farthest = INFINITY,
                             .exact = number % 5 == 0};
    struct poly_finding finding;
    struct poly_error err;
    enum poly_status status;

    snprintf(owner_text, sizeof(owner_text), "g%u", (unsigned)group);
    owner = poly_text(owner_text);
    vector_of(group, 0, query);
    if (number % 4 == 1) { /* by a key that is always there; the rest of its group is found */
        find.vector = NULL;
        find.like = poly_text("m0");
    }
    status = poly_collection_find(collection, &find, arena, &finding, &err);
    if (status != POLY_OK && !(status == POLY_NOT_FOUND && least == 0))
        fails("a search has failed: %u", (unsigned)status);
    if (status == POLY_OK && find.vector != NULL)
        check(&finding, least, filtered);
    if (status == POLY_OK && find.vector == NULL && !filtered && finding.count < MEMBERS - 2)
        fails("%u beside it in round %u or later", (unsigned)finding.count, (unsigned)least);
}

static void *search_all(void *arg)
{
    struct poly_arena *arena = poly_arena_new(16 << 20);

    for (uint64_t number = (uintptr_t)arg; !atomic_load(&done); number += FINDERS) {
        search(number, arena);
        poly_arena_reset(arena);
    }
    poly_arena_free(arena);
    return NULL;
}

/* Also what is written while it works for the last time. */
static void *work_all(void *arg)
{
    struct poly_error err;
    bool more = true, last = false;

    (void)arg;
    while (!last || more) {
        struct poly_collection_numbers numbers;

        last = atomic_load(&done);
        if (poly_collection_work(collection, 2, NULL, &more, &err) != POLY_OK ||
            poly_collection_save(collection, &err) != POLY_OK)
            fails("work has failed: %u", (unsigned)err.status);
        poly_collection_measure(collection, &numbers);
        if (numbers.saved > numbers.position)
            fails("%u is saved, %u published", (unsigned)numbers.saved, (unsigned)numbers.position);
    }
    return NULL;
}

static void every_search_sees_one_state(void **state)
{
    static const char *const columns[] = {"round"};
    struct poly_collection_options options = {
        .index = {.metric = POLY_L2,
                  .dimensions = DIMENSIONS,
                  .m = 8,
                  .ef_construction = 32,
                  .graph_from = 64}, /* so that there is something to link */
        .columns = columns,
        .column_count = 1,
        .folder = folder};
    pthread_t threads[FINDERS + 2];
    struct poly_collection_numbers numbers;
    struct poly_error err;
    uint64_t position;
    bool damaged;

    (void)state;
    lab_folder_make(folder);
    assert_ok(poly_collection_open(&options, &collection, &position, &damaged, &err));
    assert_int_equal(pthread_create(&threads[0], NULL, write_all, NULL), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, work_all, NULL), 0);
    for (uintptr_t i = 0; i < FINDERS; i++)
        assert_int_equal(pthread_create(&threads[2 + i], NULL, search_all, (void *)i), 0);
    for (int i = 0; i < FINDERS + 2; i++)
        pthread_join(threads[i], NULL);
    if (atomic_load(&failures) > 0)
        fail_msg("%u times: %s", atomic_load(&failures), why);
    assert_true(atomic_load(&searches) > 10);
    assert_ok(poly_collection_save(collection, &err));
    poly_collection_measure(collection, &numbers);
    assert_int_equal(numbers.live, GROUPS * (MEMBERS - 1));
    assert_true(numbers.index.dead < 1000); /* of 40,000 */
    assert_int_equal(numbers.saved, ROUNDS);
    poly_collection_close(collection);
    assert_ok(poly_collection_open(&options, &collection, &position, &damaged, &err));
    assert_int_equal(position, ROUNDS);
    assert_false(damaged);
    struct poly_arena *arena = poly_arena_new(16 << 20);

    for (uint64_t number = 0; number < 2 * GROUPS; number++)
        search(number, arena);
    if (atomic_load(&failures) > 0)
        fail_msg("opened again: %s", why);
    poly_arena_free(arena);
    poly_collection_close(collection);
    lab_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_search_sees_one_state)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
