/*
 * A catalog's file that is not as it was written, one that is, but whose numbers cannot be, and
 * memory that runs out: an error each time, never a crash, and nothing is lost.
 */
#include "test.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory.h"
#include "stores/vector/engine/catalog_inside.h"
#include "stores/vector/engine/section.h"
#include "vector_data.h"

static const char *const columns[] = {"status", "size", "any"};
enum {
    KIND = 0x746163 /* as catalog_file.c has it */,
    COLUMNS = 3,
    SLOTS = 400,
    SECTIONS = 6,
    PLACES = 1000
};

static char folder[64];
static char path[96], other[96];

static int make_folder(void **state)
{
    (void)state;
    if (!data_folder(folder, sizeof(folder)))
        return -1;
    snprintf(path, sizeof(path), "%s/catalog", folder);
    snprintf(other, sizeof(other), "%s/other", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    unlink(other);
    return rmdir(folder);
}

static enum poly_status append(struct poly_catalog *c, uint32_t slot)
{
    char key[32], status[32], owner[32];
    struct poly_value values[COLUMNS] = {poly_null(), poly_int(slot), poly_float(slot / 4.0)};
    struct poly_catalog_entry entry = {.version = slot, .position = slot, .values = values};

    snprintf(key, sizeof(key), "key %u", slot % 300);
    snprintf(status, sizeof(status), "status %u", slot % 17);
    snprintf(owner, sizeof(owner), "owner %u", slot % 5);
    values[0] = poly_str(status);
    if (slot % 4 == 0)
        values[2] = poly_json("{\"a\":[1, \"\\u0041\", 2.5]}");
    if (slot % 4 == 1)
        values[2] = (struct poly_value){.type = POLY_UUID, .uuid = {(uint8_t)slot}};
    entry.owner = poly_text(owner);
    entry.key = poly_text(key);
    return poly_catalog_append(c, slot, &entry, &err);
}

static enum poly_status fill(struct poly_catalog *c, uint32_t from, uint32_t count)
{
    enum poly_status status = POLY_OK;

    for (uint32_t i = 0; i < count && status == POLY_OK; i++)
        if (i % 90 != 89)
            status = append(c, from + i);
    return status;
}

static struct poly_catalog *sample(void)
{
    struct poly_catalog *c = NULL;

    assert_ok(poly_catalog_new(columns, COLUMNS, &c, &err));
    assert_ok(fill(c, 0, SLOTS));
    poly_catalog_publish(c);
    return c;
}

/* The last of each key. */
static bool alive(const void *arg, uint32_t slot)
{
    (void)arg;
    return slot >= SLOTS - 300 && slot % 90 != 89;
}

static enum poly_status load(struct poly_catalog **c)
{
    const struct poly_catalog_file file = {path, columns, COLUMNS, NULL};

    return poly_catalog_read(&file, alive, NULL, c, &err);
}

static void save_sample(void)
{
    struct poly_catalog *c = sample();

    assert_ok(poly_catalog_save(c, SLOTS, path, &err));
    poly_catalog_free(c);
}

static uint64_t random_below(uint64_t below)
{
    static uint64_t seed = 88172645463325252u;

    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % below;
}

static void flip(int fd, off_t at)
{
    unsigned char byte;

    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte = (unsigned char)(byte ^ 1u << (at % 8));
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
}

static void flipped_and_cut(void **state)
{
    struct poly_catalog *c = NULL;
    struct stat st;
    int fd;

    (void)state;
    save_sample();
    fd = open(path, O_RDWR);
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    for (off_t i = 0; i < POLY_SECTION_PAGE + PLACES; i++) {
        off_t at = i < POLY_SECTION_PAGE ? i : (off_t)random_below((uint64_t)st.st_size);

        flip(fd, at);
        assert_fails(load(&c), POLY_CORRUPT);
        flip(fd, at);
    }
    assert_ok(load(&c));
    poly_catalog_free(c);
    for (int i = PLACES; i > 0; i--) {
        assert_int_equal(ftruncate(fd, st.st_size * (i - 1) / PLACES), 0);
        assert_fails(load(&c), POLY_CORRUPT);
    }
    close(fd);
}

/* The same sections with right checksums, one of them changed. */
static void rewrite(uint32_t changed, size_t at, uint32_t number, size_t shorter)
{
    struct poly_sections *sections;
    struct poly_section_writer *w;

    assert_ok(poly_sections_open(other, KIND, NULL, &sections, &err));
    assert_ok(poly_section_create(path, KIND, &w, &err));
    for (uint32_t i = 1; i <= SECTIONS; i++) {
        void *data;
        size_t size;

        assert_ok(poly_sections_get(sections, i, &data, &size, &err));
        if (i == changed && at + sizeof(number) <= size)
            memcpy((char *)data + at, &number, sizeof(number));
        if (i == changed)
            size -= shorter < size ? shorter : size;
        assert_ok(poly_section_begin(w, i, &err));
        assert_ok(poly_section_write(w, data, size, &err));
    }
    assert_ok(poly_section_finish(w, &err));
    poly_sections_close(sections);
}

static size_t section_size(uint32_t number)
{
    struct poly_sections *sections;
    void *data;
    size_t size;

    assert_ok(poly_sections_open(other, KIND, NULL, &sections, &err));
    assert_ok(poly_sections_get(sections, number, &data, &size, &err));
    poly_sections_close(sections);
    return size;
}

/* What was loaded can be used: every slot looked at, every condition asked. */
static void use(struct poly_catalog *c)
{
    const struct poly_value value = poly_str("status 3");
    const struct poly_filter filters[] = {{"status", NULL, POLY_EQ, &value, 1},
                                          {"any", "$.a[1]", POLY_NE, &value, 1}};
    struct poly_catalog_entry entry;
    struct poly_value got;
    struct poly_slots slots;
    size_t seen = 0;

    for (uint32_t slot = 0; slot < c->count; slot++) {
        poly_catalog_entry(c, slot, &entry);
        seen += entry.key.size + entry.owner.size + poly_catalog_slot(c, entry.owner, entry.key);
        for (size_t i = 0; i < COLUMNS; i++)
            poly_catalog_value(c, slot, i, &got);
    }
    assert_true(seen > 0);
    for (size_t i = 0; i < 2; i++) {
        const struct poly_where where = {.kind = POLY_WHERE_COMPARE, .compare = &filters[i]};

        assert_ok(poly_catalog_select(c, NULL, &where, UINT32_MAX, &slots, &err));
        poly_catalog_release(c, &slots);
    }
    assert_ok(fill(c, c->count, 20));
    poly_catalog_publish(c);
}

/* Checksums fit, numbers do not: refused, or another catalog that is sound. */
static void numbers_that_cannot_be(void **state)
{
    static const uint32_t numbers[] = {
        0,          1,          2,         255,        4096,
        INT32_MAX,  1u << 31,   1u << 24,  UINT32_MAX, UINT32_MAX - 1,
        0x00010000, 0x01000001, SLOTS * 2, SLOTS + 1};
    uint32_t refused = 0, taken = 0;

    (void)state;
    save_sample();
    assert_int_equal(rename(path, other), 0);
    for (uint32_t section = 1; section <= SECTIONS; section++) {
        size_t size = section_size(section);

        for (int i = 0; i < 90; i++) {
            struct poly_catalog *c = NULL;
            size_t at = i < 40 ? (size_t)i * 4 : (size_t)random_below(size);
            enum poly_status status;

            rewrite(section, at, numbers[random_below(sizeof(numbers) / sizeof(*numbers))],
                    i % 5 == 4 ? 1 + (size_t)random_below(40) : 0);
            status = load(&c);
            refused += status == POLY_CORRUPT;
            taken += status == POLY_OK;
            if (status != POLY_OK && status != POLY_CORRUPT)
                fail_msg("%s: %s", poly_status_name(status), err.message);
            if (status == POLY_OK)
                use(c);
            poly_catalog_free(c);
        }
    }
    assert_true(refused > 200 && taken > 20);
}

/* Puts four other bytes where a section has the first such text. */
static void replace(uint32_t section, const char *text, const char *by)
{
    struct poly_sections *sections;
    uint32_t bytes;
    void *data;
    char *found;
    size_t size, at;

    assert_ok(poly_sections_open(other, KIND, NULL, &sections, &err));
    assert_ok(poly_sections_get(sections, section, &data, &size, &err));
    found = memmem(data, size, text, strlen(text));
    assert_non_null(found);
    at = (size_t)(found - (char *)data) + strlen(text) - sizeof(bytes);
    poly_sections_close(sections);
    memcpy(&bytes, by + strlen(by) - sizeof(bytes), sizeof(bytes));
    rewrite(section, at, bytes, 0);
}

static void what_stands_there_twice(void **state)
{
    struct poly_catalog *c = NULL;

    (void)state;
    save_sample();
    assert_int_equal(rename(path, other), 0);
    replace(6, "status 3", "status 2");
    assert_fails(load(&c), POLY_CORRUPT);
    assert_message("a value stands there twice");
    replace(4, "key 111", "key 101");
    assert_fails(load(&c), POLY_CORRUPT);
    assert_message("two slots have one key");
    replace(2, "owner 3", "owner 2");
    assert_fails(load(&c), POLY_CORRUPT);
    replace(1, "status", "staius");
    assert_fails(load(&c), POLY_CORRUPT);
    assert_message("other columns");
}

/* --- memory --- */

static uint32_t count_of(struct poly_catalog *c, const struct poly_where *where)
{
    struct poly_slots slots;
    uint32_t count;

    assert_ok(poly_catalog_select(c, NULL, where, UINT32_MAX, &slots, &err));
    count = slots.count;
    poly_catalog_release(c, &slots);
    return count;
}

static void writing_without_memory(void **state)
{
    unsigned long nth = 0;
    bool failed = true;

    (void)state;
    while (failed) {
        struct poly_catalog *c = NULL;
        enum poly_status status;
        uint32_t before = 0;

        memory_fail_at(++nth, false);
        status = poly_catalog_new(columns, COLUMNS, &c, &err);

        for (uint32_t batch = 0; batch < 3 && status == POLY_OK; batch++) {
            status = fill(c, batch * 200, 200);
            if (status == POLY_OK)
                status = poly_catalog_remove(c, poly_text("owner 1"), poly_text("key 1"), &err);
            if (status == POLY_OK)
                poly_catalog_publish(c);
            before = status == POLY_OK ? c->count : before;
        }
        failed = memory_failed();
        memory_fail_at(0, false);
        assert_int_equal(status, failed ? POLY_NO_MEMORY : POLY_OK);
        if (c != NULL && status != POLY_OK) { /* as if it had never been; and then it goes */
            poly_catalog_revert(c);
            assert_int_equal(c->count, before);
            assert_ok(fill(c, before, 200));
            poly_catalog_publish(c);
            use(c);
        }
        poly_catalog_free(c);
    }
    assert_true(nth > 30);
}

static void selecting_without_memory(void **state)
{
    const struct poly_value value = poly_str("A"), more = poly_str("status 3");
    const struct poly_filter filters[] = {{"any", "$.a[1]", POLY_EQ, &value, 1},
                                          {"status", NULL, POLY_NE, &more, 1},
                                          {"any", "$.a", POLY_NOT_NULL, NULL, 0}};
    const struct poly_where leaves[] = {{POLY_WHERE_COMPARE, &filters[0], NULL, 0},
                                        {POLY_WHERE_COMPARE, &filters[1], NULL, 0},
                                        {POLY_WHERE_COMPARE, &filters[2], NULL, 0}};
    const struct poly_where *parts[] = {&leaves[0], &leaves[1], &leaves[2]};
    const struct poly_where where = {POLY_WHERE_OR, NULL, parts, 3};
    struct poly_catalog *c = sample();
    uint32_t wanted = count_of(c, &where);
    unsigned long nth = 0;
    bool failed = true;

    (void)state;
    poly_catalog_free(c);
    while (failed) {
        struct poly_slots slots = {.count = 0};
        enum poly_status status;

        c = sample();
        memory_fail_at(++nth, false);
        status = poly_catalog_select(c, NULL, &where, SLOTS / 2, &slots, &err);
        if (status == POLY_OK)
            poly_catalog_release(c, &slots);
        if (status == POLY_OK)
            status = poly_catalog_select(c, NULL, &where, SLOTS, &slots, &err);
        failed = memory_failed();
        memory_fail_at(0, false);
        assert_int_equal(status, failed ? POLY_NO_MEMORY : POLY_OK);
        if (status == POLY_OK)
            poly_catalog_release(c, &slots);
        assert_int_equal(count_of(c, &where), wanted); /* nothing half done is kept */
        poly_catalog_free(c);
    }
    assert_true(nth > 10);
}

static void saving_and_copying_without_memory(void **state)
{
    struct poly_catalog *c = sample();
    struct memory_walk walk = {0};
    uint32_t map[SLOTS], live = 0;

    (void)state;
    for (uint32_t i = 0; i < SLOTS; i++)
        map[i] = alive(NULL, i) ? live++ : POLY_NO_SLOT;
    while (memory_next(&walk)) {
        struct poly_catalog *loaded = NULL, *copy = NULL;
        enum poly_status status = poly_catalog_save(c, SLOTS, path, &err);

        if (status == POLY_OK)
            status = load(&loaded);
        if (status == POLY_OK)
            status = poly_catalog_new(columns, COLUMNS, &copy, &err);
        if (status == POLY_OK)
            status = poly_catalog_copy(loaded, map, SLOTS, copy, NULL, &err);
        assert_int_equal(status, memory_failed() ? POLY_NO_MEMORY : POLY_OK);
        if (status == POLY_OK)
            assert_int_equal(copy->count, live);
        poly_catalog_free(loaded);
        poly_catalog_free(copy);
    }
    poly_catalog_free(c);
    assert_true(walk.nth > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flipped_and_cut),
        cmocka_unit_test(numbers_that_cannot_be),
        cmocka_unit_test(what_stands_there_twice),
        cmocka_unit_test(writing_without_memory),
        cmocka_unit_test(selecting_without_memory),
        cmocka_unit_test(saving_and_copying_without_memory),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
