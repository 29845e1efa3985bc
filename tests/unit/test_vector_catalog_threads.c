/*
 * One writes, several ask: every answer is of the slots below the end that was asked for, whatever
 * the writer appends, publishes and takes back meanwhile. What a slot holds follows from its
 * number, so readers know what they must find.
 */
#include "test.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include "stores/vector/engine/catalog.h"

enum { SLOTS = 12000, BATCH = 100, READERS = 3, STATUSES = 7, OWNERS = 40, GAP = 97 };

static const char *const columns[] = {"status", "number", "twice"};

static struct poly_catalog *catalog;
static _Atomic uint32_t published;
static atomic_bool done;
static char folder[] = "/tmp/poly-catalog-XXXXXX";

/* cmocka's are for the test's own thread. */
#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x)) {                                                                                \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static bool is_gap(uint32_t slot)
{
    return slot % GAP == GAP - 1;
}

/* One is rare, one has half of all. */
static uint32_t owner_of(uint32_t slot)
{
    return slot % 2 == 0 ? 0 : slot % OWNERS;
}

static void append(uint32_t slot, const char *status, uint32_t owner)
{
    char name[16], key[16];
    const struct poly_value values[] = {poly_str(status), poly_int(slot), poly_int(slot / 2)};
    struct poly_catalog_entry entry = {.version = slot, .position = slot, .values = values};

    snprintf(name, sizeof(name), "owner%u", owner);
    snprintf(key, sizeof(key), "k%u", slot % 5000);
    entry.owner = poly_text(name);
    entry.key = poly_text(key);
    CHECK(poly_catalog_append(catalog, slot, &entry, NULL) == POLY_OK);
}

static void write_batch(uint32_t from, uint32_t to)
{
    char status[16];

    for (uint32_t slot = from; slot < to; slot++) { /* taken back, with names of its own */
        snprintf(status, sizeof(status), "gone%u", slot);
        append(slot, status, OWNERS + slot);
    }
    poly_catalog_revert(catalog);
    for (uint32_t slot = from; slot < to; slot++) {
        if (is_gap(slot))
            continue;
        snprintf(status, sizeof(status), "s%u", slot % STATUSES);
        append(slot, status, owner_of(slot));
        if (slot % 50 == 0)
            CHECK(poly_catalog_remove(catalog, poly_text("owner0"), poly_text("k0"), NULL) ==
                  POLY_OK);
    }
    poly_catalog_publish(catalog);
    atomic_store_explicit(&published, to, memory_order_release);
}

static void *write_all(void *arg)
{
    for (uint32_t slot = 0; slot < SLOTS; slot += BATCH)
        write_batch(slot, slot + BATCH);
    atomic_store(&done, true);
    return arg;
}

/* --- readers --- */

static void check(const struct poly_slots *slots, uint32_t end, uint32_t status, int64_t below,
                  uint32_t owner)
{
    uint32_t count = 0, at = 0;

    for (uint32_t slot = 0; slot < end; slot++) {
        bool wanted = !is_gap(slot) && slot % STATUSES == status && slot < below &&
                      (owner == OWNERS || owner_of(slot) == owner);
        bool found = slots->bits != NULL
                         ? slot < slots->bit_count && (slots->bits[slot / 64] >> (slot % 64) & 1)
                         : at < slots->count && slots->list[at] == slot;

        CHECK(found == wanted);
        at += found;
        count += found;
    }
    CHECK(slots->count == count);
}

static void ask(uint32_t round)
{
    uint32_t end = atomic_load_explicit(&published, memory_order_acquire);
    uint32_t status = round % STATUSES, owner = round % 3 == 0 ? OWNERS : round % 5;
    int64_t below = round % 4 == 0 ? SLOTS / 2 : SLOTS;
    struct poly_value values[2] = {poly_str("s0"), poly_int(below)};
    char text[16], name[16];
    const struct poly_filter filters[] = {{"status", NULL, POLY_EQ, &values[0], 1},
                                          {"number", NULL, POLY_LT, &values[1], 1}};
    const struct poly_where leaves[] = {{POLY_WHERE_COMPARE, &filters[0], NULL, 0},
                                        {POLY_WHERE_COMPARE, &filters[1], NULL, 0}};
    const struct poly_where *parts[] = {&leaves[0], &leaves[1]};
    const struct poly_where where = {POLY_WHERE_AND, NULL, parts, 2};
    struct poly_slots slots;
    struct poly_text of;

    if (end == 0)
        return;
    end -= round % 2 == 0 ? 0 : end / 3;
    snprintf(text, sizeof(text), "s%u", status);
    values[0] = poly_str(text);
    snprintf(name, sizeof(name), "owner%u", owner);
    of = poly_text(name);
    CHECK(poly_catalog_select(catalog, owner == OWNERS ? NULL : &of, &where, end, &slots, NULL) ==
          POLY_OK);
    check(&slots, end, status, below, owner);
    sched_yield(); /* what is held does not change */
    check(&slots, end, status, below, owner);
    poly_catalog_release(catalog, &slots);
}

/* Owners and values that come and go without ever being published are nobody's. */
static void ask_for_what_is_gone(uint32_t round)
{
    uint32_t end = atomic_load_explicit(&published, memory_order_acquire);
    struct poly_slots slots;
    char name[16];
    struct poly_text of;

    snprintf(name, sizeof(name), "owner%u", OWNERS + end + round % BATCH);
    of = poly_text(name);
    CHECK(poly_catalog_select(catalog, &of, NULL, end, &slots, NULL) == POLY_OK);
    CHECK(slots.list != NULL && slots.count == 0);
    poly_catalog_release(catalog, &slots);
}

static void look_up(uint32_t round)
{
    uint32_t end = atomic_load_explicit(&published, memory_order_acquire), slot;
    struct poly_catalog_entry entry;
    struct poly_value value;
    char key[16], name[16];

    snprintf(key, sizeof(key), "k%u", round % 5000);
    snprintf(name, sizeof(name), "owner%u", owner_of(round % 5000));
    slot = poly_catalog_slot(catalog, poly_text(name), poly_text(key));
    if (slot == POLY_NO_SLOT || slot >= end)
        return;
    poly_catalog_entry(catalog, slot, &entry);
    CHECK(entry.key.size == strlen(key) && memcmp(entry.key.data, key, entry.key.size) == 0);
    CHECK(entry.version == slot);
    poly_catalog_value(catalog, slot, 2, &value);
    CHECK(value.integer == slot / 2);
    CHECK(poly_catalog_memory(catalog) > 0);
}

static void *read_all(void *arg)
{
    uint32_t round = (uint32_t)(uintptr_t)arg;

    while (!atomic_load(&done)) {
        ask(round);
        ask_for_what_is_gone(round);
        look_up(round);
        round += 5;
    }
    for (uint32_t i = 0; i < 60; i++)
        ask(round + i);
    return NULL;
}

static void *save_all(void *arg)
{
    char path[64];

    snprintf(path, sizeof(path), "%s/saved", folder);
    while (!atomic_load(&done))
        CHECK(poly_catalog_save(catalog, atomic_load(&published), path, NULL) == POLY_OK);
    CHECK(unlink(path) == 0);
    return arg;
}

/* S3-44, S1-21 */
static void one_writes_and_several_ask(void **state)
{
    struct poly_error err;
    pthread_t writer, saver, readers[READERS];

    (void)state;
    assert_non_null(mkdtemp(folder));
    assert_ok(poly_catalog_new(columns, 3, &catalog, &err));
    assert_int_equal(pthread_create(&saver, NULL, save_all, NULL), 0);
    for (uintptr_t i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, read_all, (void *)i), 0);
    assert_int_equal(pthread_create(&writer, NULL, write_all, NULL), 0);
    pthread_join(writer, NULL);
    pthread_join(saver, NULL);
    for (size_t i = 0; i < READERS; i++)
        pthread_join(readers[i], NULL);
    poly_catalog_free(catalog);
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_writes_and_several_ask),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
