/* What is known of each slot: keys and their slots, what is taken back, files, and what readers see
 * while somebody writes. */
#include "test.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "memory.h"
#include "stores/vector/engine/catalog_inside.h"
#include "stores/vector/engine/section.h"

static const char *const columns[] = {"status", "size"};
enum { COLUMNS = 2 };

static struct poly_error err;
static char folder[] = "/tmp/poly-catalog-XXXXXX";
static char path[64];

static int make_folder(void **state)
{
    (void)state;
    snprintf(path, sizeof(path), "%s/catalog", mkdtemp(folder) == NULL ? "/" : folder);
    return path[1] == '/' ? -1 : 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static struct poly_catalog *fresh(void)
{
    struct poly_catalog *catalog = NULL;

    assert_ok(poly_catalog_new(columns, COLUMNS, &catalog, &err));
    return catalog;
}

static enum poly_status append(struct poly_catalog *c, uint32_t slot, const char *owner,
                               const char *key, const char *status)
{
    const struct poly_value values[COLUMNS] = {status == NULL ? poly_null() : poly_str(status),
                                               poly_int(slot)};
    const struct poly_catalog_entry entry = {poly_text(owner), poly_text(key), slot + 100,
                                             slot + 200, values};

    return poly_catalog_append(c, slot, &entry, &err);
}

static uint32_t slot_of(const struct poly_catalog *c, const char *owner, const char *key)
{
    return poly_catalog_slot(c, poly_text(owner), poly_text(key));
}

static void assert_text(struct poly_text text, const char *wanted)
{
    assert_int_equal(text.size, strlen(wanted));
    assert_memory_equal(text.data, wanted, text.size);
}

static struct poly_value one_value;
static struct poly_filter one_filter;
static struct poly_where one_where;

static const struct poly_where *equals(const char *column, struct poly_value value)
{
    one_value = value;
    one_filter = (struct poly_filter){column, NULL, POLY_EQ, &one_value, 1};
    one_where = (struct poly_where){.kind = POLY_WHERE_COMPARE, .compare = &one_filter};
    return &one_where;
}

/* How many fit, by looking at each. */
static uint32_t count_fitting(const struct poly_slots *slots, uint32_t end)
{
    uint32_t count = 0;

    if (slots->bits == NULL && slots->list == NULL)
        return slots->count;
    for (uint32_t i = 0; slots->bits != NULL && i < slots->bit_count && i < end; i++)
        count += (uint32_t)(slots->bits[i / 64] >> (i % 64) & 1);
    for (uint32_t i = 0; slots->list != NULL && i < slots->count; i++)
        count += slots->list[i] < end && (i == 0 || slots->list[i] > slots->list[i - 1]);
    return count;
}

static uint32_t selected(struct poly_catalog *c, const char *owner, const struct poly_where *where,
                         uint32_t end)
{
    const struct poly_text name = poly_text(owner);
    struct poly_slots slots;
    uint32_t count;

    assert_ok(poly_catalog_select(c, owner == NULL ? NULL : &name, where, end, &slots, &err));
    count = count_fitting(&slots, end);
    assert_int_equal(count, slots.count);
    poly_catalog_release(c, &slots);
    return count;
}

/* S3-44, S1-21 */
static void keys_and_entries(void **state)
{
    struct poly_catalog *c = fresh();
    struct poly_catalog_entry entry;
    struct poly_value value;

    (void)state;
    assert_ok(append(c, 0, "", "a", "open"));
    assert_ok(append(c, 1, "t", "a", NULL));
    assert_ok(append(c, 2, "t", "", "open"));
    assert_int_equal(slot_of(c, "", "a"), 0);
    assert_int_equal(slot_of(c, "t", "a"), 1);
    assert_int_equal(slot_of(c, "t", ""), 2);
    assert_int_equal(slot_of(c, "u", "a"), POLY_NO_SLOT);
    assert_int_equal(slot_of(c, "t", "b"), POLY_NO_SLOT);
    poly_catalog_publish(c);
    assert_ok(append(c, 3, "t", "a", "closed"));
    assert_int_equal(slot_of(c, "t", "a"), 3);
    assert_ok(poly_catalog_remove(c, poly_text("t"), poly_text("a"), &err));
    assert_int_equal(slot_of(c, "t", "a"), POLY_NO_SLOT);
    assert_ok(poly_catalog_remove(c, poly_text("t"), poly_text("a"), &err));
    assert_ok(append(c, 5, "t", "a", "closed"));
    poly_catalog_publish(c);
    assert_int_equal(slot_of(c, "t", "a"), 5);
    assert_ok(poly_catalog_remove(c, poly_text(""), poly_text("a"), &err));
    poly_catalog_publish(c);
    assert_int_equal(slot_of(c, "", "a"), POLY_NO_SLOT);

    poly_catalog_entry(c, 5, &entry);
    assert_text(entry.owner, "t");
    assert_text(entry.key, "a");
    assert_int_equal(entry.version, 105);
    assert_int_equal(entry.position, 205);
    assert_null(entry.values);
    poly_catalog_value(c, 5, 0, &value);
    assert_int_equal(value.type, POLY_TEXT);
    assert_text(value.text, "closed");
    poly_catalog_value(c, 1, 0, &value);
    assert_int_equal(value.type, POLY_NULL);
    poly_catalog_free(c);
}

/* What was appended, replaced, removed since the last publish has never been. */
static void taken_back(void **state)
{
    struct poly_catalog *c = fresh();
    uint64_t memory;
    char key[16];

    (void)state;
    assert_ok(append(c, 0, "t", "a", "open"));
    assert_ok(append(c, 1, "t", "b", "open"));
    poly_catalog_publish(c);
    memory = poly_catalog_memory(c);
    for (int round = 0; round < 100; round++) {
        for (uint32_t i = 0; i < 300; i++) {
            snprintf(key, sizeof(key), "k%u", i);
            assert_ok(append(c, 2 + i + (i > 50), i % 2 == 0 ? "t" : "new", key, key));
        }
        assert_ok(append(c, 400, "t", "a", "closed"));
        assert_ok(poly_catalog_remove(c, poly_text("t"), poly_text("b"), &err));
        assert_int_equal(slot_of(c, "t", "a"), 400);
        assert_int_equal(slot_of(c, "t", "b"), POLY_NO_SLOT);
        assert_int_equal(slot_of(c, "new", "k7"), 9);
        poly_catalog_revert(c);
        assert_int_equal(slot_of(c, "t", "a"), 0);
        assert_int_equal(slot_of(c, "t", "b"), 1);
        assert_int_equal(slot_of(c, "new", "k7"), POLY_NO_SLOT);
    }
    poly_catalog_publish(c);
    assert_true(poly_catalog_memory(c) < memory + 64 * 1024);
    assert_int_equal(selected(c, "t", NULL, 1000), 2);
    assert_int_equal(selected(c, "new", NULL, 1000), 0);
    assert_int_equal(selected(c, NULL, equals("status", poly_str("k6")), 1000), 0);
    assert_ok(append(c, 2, "other", "x", "open"));
    poly_catalog_publish(c);
    assert_int_equal(selected(c, "other", NULL, 1000), 1);
    assert_int_equal(selected(c, NULL, equals("status", poly_str("open")), 1000), 3);
    poly_catalog_free(c);
}

/* A reader keeps what it was given, whatever comes. */
static void answers_do_not_change(void **state)
{
    enum { MANY = 5000 };
    struct poly_catalog *c = fresh();
    const struct poly_text owner = poly_text("t");
    struct poly_slots first[2], all;
    char key[16];

    (void)state;
    for (uint32_t i = 0; i < MANY; i++) {
        snprintf(key, sizeof(key), "%u", i);
        assert_ok(append(c, i, i % 100 == 0 ? "t" : "u", key, i % 3 == 0 ? "x" : "y"));
        if (i != 900)
            continue;
        poly_catalog_publish(c);
        assert_ok(poly_catalog_select(c, &owner, NULL, 801, &first[0], &err));
        assert_ok(
            poly_catalog_select(c, NULL, equals("status", poly_str("x")), 901, &first[1], &err));
    }
    assert_int_equal(selected(c, "t", NULL, MANY), 10);
    poly_catalog_publish(c);
    assert_int_equal(selected(c, "t", NULL, MANY), 50);
    assert_int_equal(selected(c, NULL, equals("status", poly_str("x")), MANY), 1667);
    assert_int_equal(selected(c, NULL, equals("status", poly_str("x")), 10), 4);
    assert_int_equal(first[0].count, 9);
    assert_int_equal(count_fitting(&first[0], MANY), 9);
    assert_int_equal(first[1].count, 301);
    assert_int_equal(count_fitting(&first[1], MANY), 301);
    poly_catalog_release(c, &first[0]);
    poly_catalog_release(c, &first[1]);
    assert_ok(poly_catalog_select(c, NULL, NULL, 7, &all, &err));
    assert_true(all.bits == NULL && all.list == NULL && all.count == 7);
    poly_catalog_release(c, &all);
    poly_catalog_free(c);
}

/* More conditions than are kept: each is right, and memory stays bounded. */
static void conditions_come_and_go(void **state)
{
    enum { MANY = 3000 };
    struct poly_catalog *c = fresh();
    char key[16];

    (void)state;
    for (uint32_t i = 0; i < MANY; i++) {
        snprintf(key, sizeof(key), "%u", i);
        assert_ok(append(c, i, "", key, i % 2 == 0 ? "x" : "y"));
    }
    poly_catalog_publish(c);
    for (uint32_t i = 0; i < MANY; i++)
        assert_int_equal(selected(c, NULL, equals("size", poly_int(i)), MANY), 1);
    assert_true(poly_kept_bytes(c->kept) < POLY_MAX_KEPT_FILTERS * 1024);
    assert_true(poly_kept_bytes(c->kept) > POLY_MAX_KEPT_FILTERS * sizeof(struct poly_kept_set));
    poly_catalog_free(c);
}

static void refuses(struct poly_catalog *c, const struct poly_where *where, enum poly_status status,
                    const char *message)
{
    struct poly_slots slots;

    assert_fails(poly_catalog_select(c, NULL, where, 10, &slots, &err), status);
    assert_message(message);
}

static void refused(void **state)
{
    struct poly_catalog *c = fresh();
    struct poly_where wheres[40], none = {.kind = POLY_WHERE_NOT};
    const struct poly_where *parts[40];
    struct poly_filter filter = {"status", "a.b", POLY_EQ, &one_value, 1};
    struct poly_value big = poly_str("x");
    struct poly_catalog_entry entry = {.values = (struct poly_value[]){big, big}};

    (void)state;
    refuses(c, equals("colour", poly_int(1)), POLY_INVALID, "'colour'");
    refuses(c, equals("status", poly_null()), POLY_INVALID, "null");
    equals("status", poly_int(1));
    one_filter.path = filter.path;
    refuses(c, &one_where, POLY_INVALID, "'a.b' is no JSON path");
    refuses(c, &none, POLY_INVALID, "'not'");
    for (size_t i = 0; i < 40; i++)
        parts[i] = equals("status", poly_int(1));
    wheres[0] = (struct poly_where){.kind = POLY_WHERE_OR, .parts = parts, .part_count = 40};
    refuses(c, &wheres[0], POLY_LIMIT, "32");
    for (size_t i = 0; i < 40; i++) {
        wheres[i] =
            (struct poly_where){.kind = POLY_WHERE_NOT, .parts = &parts[i + 1], .part_count = 1};
        parts[i] = &wheres[i];
    }
    refuses(c, &wheres[0], POLY_LIMIT, "levels");
    entry.key = (struct poly_text){"x", POLY_MAX_VALUE + 1};
    assert_fails(poly_catalog_append(c, 0, &entry, &err), POLY_LIMIT);
    poly_catalog_revert(c);
    poly_catalog_free(c);
}

/* --- copies and files --- */

static struct poly_catalog *sample(uint32_t count)
{
    struct poly_catalog *c = fresh();
    char key[16], status[16];

    for (uint32_t i = 0; i < count; i++) {
        snprintf(key, sizeof(key), "k%u", i % (count - count / 4));
        snprintf(status, sizeof(status), "s%u", i % 17);
        assert_ok(append(c, i + i / 50, i % 5 == 0 ? "five" : "", key, status));
    }
    poly_catalog_publish(c);
    return c;
}

static void same_slot(const struct poly_catalog *a, uint32_t i, const struct poly_catalog *b,
                      uint32_t j)
{
    struct poly_catalog_entry one, other;
    struct poly_value x, y;

    poly_catalog_entry(a, i, &one);
    poly_catalog_entry(b, j, &other);
    assert_int_equal(one.owner.size, other.owner.size);
    assert_memory_equal(one.owner.data, other.owner.data, one.owner.size);
    assert_int_equal(one.key.size, other.key.size);
    assert_memory_equal(one.key.data, other.key.data, one.key.size);
    assert_int_equal(one.version, other.version);
    assert_int_equal(one.position, other.position);
    for (size_t column = 0; column < COLUMNS; column++) {
        poly_catalog_value(a, i, column, &x);
        poly_catalog_value(b, j, column, &y);
        assert_int_equal(x.type, y.type);
        if (x.type == POLY_INT)
            assert_int_equal(x.integer, y.integer);
        else if (x.type == POLY_TEXT)
            assert_memory_equal(x.text.data, y.text.data, y.text.size);
    }
}

static void copies(void **state)
{
    enum { COUNT = 1000 };
    struct poly_catalog *c = sample(COUNT), *to = fresh();
    const atomic_bool stop = true;
    uint32_t end = c->count, live = 0, map[COUNT + COUNT / 50];

    (void)state;
    for (uint32_t i = end; i-- > 0;) { /* the other way round, one status only */
        struct poly_catalog_entry entry;
        struct poly_value value;

        map[i] = POLY_NO_SLOT;
        poly_catalog_entry(c, i, &entry);
        poly_catalog_value(c, i, 0, &value);
        if (poly_catalog_slot(c, entry.owner, entry.key) == i && value.text.size == 2 &&
            value.text.data[1] == '3')
            map[i] = live++;
    }
    assert_true(live > 20);
    assert_fails(poly_catalog_copy(c, map, end, to, &stop, &err), POLY_UNAVAILABLE);
    assert_int_equal(to->count, 0);
    assert_ok(poly_catalog_copy(c, map, end, to, NULL, &err));
    poly_catalog_publish(to);
    assert_int_equal(to->count, live);
    for (uint32_t i = 0; i < end; i++)
        if (map[i] != POLY_NO_SLOT)
            same_slot(c, i, to, map[i]);
    assert_int_equal(to->columns[0].values.count, 2); /* null, and the one */
    assert_int_equal(selected(to, NULL, equals("status", poly_str("s3")), live), live);
    poly_catalog_free(c);
    poly_catalog_free(to);
}

static bool alive_in(const void *arg, uint32_t slot)
{
    const struct poly_catalog *c = arg;
    struct poly_catalog_entry entry;

    poly_catalog_entry(c, slot, &entry);
    return poly_catalog_slot(c, entry.owner, entry.key) == slot;
}

static enum poly_status load(const struct poly_catalog *of, struct poly_catalog **catalog)
{
    const struct poly_catalog_file file = {path, columns, COLUMNS, NULL};

    return poly_catalog_read(&file, alive_in, of, catalog, &err);
}

static void saved_and_loaded(void **state)
{
    enum { COUNT = 1000 };
    static const char *const others[] = {"status", "sizes"};
    struct poly_catalog *c = sample(COUNT), *loaded = NULL;
    uint32_t end = c->count;

    (void)state;
    assert_ok(append(c, end + 3, "later", "later", "later"));
    assert_ok(poly_catalog_save(c, end + 2, path, &err));
    poly_catalog_revert(c);
    assert_ok(load(c, &loaded));
    assert_int_equal(loaded->count, end);
    for (uint32_t i = 0; i < end; i++) {
        struct poly_catalog_entry entry;

        same_slot(c, i, loaded, i);
        poly_catalog_entry(c, i, &entry);
        assert_int_equal(poly_catalog_slot(loaded, entry.owner, entry.key),
                         poly_catalog_slot(c, entry.owner, entry.key));
    }
    assert_int_equal(selected(loaded, "five", equals("status", poly_str("s3")), end),
                     selected(c, "five", equals("status", poly_str("s3")), end));
    assert_int_equal(selected(loaded, "five", NULL, end), COUNT / 5);
    assert_int_equal(slot_of(loaded, "later", "later"), POLY_NO_SLOT);
    assert_ok(append(loaded, end + 1, "later", "k", "later"));
    poly_catalog_publish(loaded);
    assert_int_equal(selected(loaded, "later", NULL, end + 2), 1);
    poly_catalog_free(loaded);
    assert_fails(poly_catalog_read(&(struct poly_catalog_file){path, others, COLUMNS, NULL},
                                   alive_in, c, &loaded, &err),
                 POLY_CORRUPT);
    assert_fails(poly_catalog_read(&(struct poly_catalog_file){path, columns, 1, NULL}, alive_in, c,
                                   &loaded, &err),
                 POLY_CORRUPT);
    assert_ok(poly_catalog_save(c, 0, path, &err));
    assert_ok(load(c, &loaded));
    assert_int_equal(loaded->count, 0);
    poly_catalog_free(loaded);
    poly_catalog_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_and_entries),
        cmocka_unit_test(taken_back),
        cmocka_unit_test(answers_do_not_change),
        cmocka_unit_test(conditions_come_and_go),
        cmocka_unit_test(refused),
        cmocka_unit_test(copies),
        cmocka_unit_test(saved_and_loaded),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
