/* Arenas, buffers and statuses; and what each part of base/ and the configuration does when memory
 * runs out at any of its allocations. */
#include "test.h"

#include "base/arena.h"
#include "base/buffer.h"
#include "base/json.h"
#include "base/map.h"
#include "base/status.h"
#include "base/utf8.h"
#include "core/config.h"
#include "memory.h"
#include "polystore/settings.h"

static struct poly_error err;

/* --- arena --- */

static void arena_gives_zeroed_aligned_memory(void **state)
{
    struct poly_arena *arena = poly_arena_new(10 << 20);

    (void)state;
    assert_non_null(arena);
    for (size_t size = 0; size < 5000; size += 7) {
        char *memory = poly_arena_alloc(arena, size);

        assert_non_null(memory);
        assert_int_equal((uintptr_t)memory % 16, 0);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(memory[i], 0);
        memset(memory, 0xee, size);
        if (size % 5 == 0)
            poly_arena_reset(arena);
    }
    poly_arena_free(arena);
    poly_arena_free(NULL);
}

static void arena_keeps_to_its_maximum(void **state)
{
    struct poly_arena *arena = poly_arena_new(100000);

    (void)state;
    assert_non_null(arena);
    assert_null(poly_arena_alloc(arena, 100001));
    assert_null(poly_arena_array(arena, SIZE_MAX / 2, 3));
    assert_null(poly_arena_copy(arena, "", SIZE_MAX));
    assert_non_null(poly_arena_alloc(arena, 60000));
    assert_null(poly_arena_alloc(arena, 60000));
    assert_int_equal(poly_arena_used(arena), 60000);
    poly_arena_reset(arena);
    assert_int_equal(poly_arena_used(arena), 0);
    assert_non_null(poly_arena_array(arena, 25000, 4));
    poly_arena_free(arena);
}

static void arena_copies_and_prints(void **state)
{
    struct poly_arena *arena = poly_arena_new(1 << 20);

    (void)state;
    assert_non_null(arena);
    assert_string_equal(poly_arena_copy(arena, NULL, 0), "");
    assert_string_equal(poly_arena_copy(arena, "abcd", 3), "abc");
    assert_string_equal(poly_arena_printf(arena, "%s-%d", "x", 42), "x-42");
    poly_arena_free(arena);
}

static void arena_rewinds(void **state)
{
    struct poly_arena *arena = poly_arena_new(10 << 20);

    (void)state;
    assert_non_null(arena);

    struct poly_arena_mark empty = poly_arena_mark(arena);
    char *first = poly_arena_copy(arena, "first", 5);
    struct poly_arena_mark mark = poly_arena_mark(arena);
    char *second = poly_arena_alloc(arena, 64);

    memset(second, 1, 64);
    assert_non_null(poly_arena_alloc(arena, 3 << 20));
    poly_arena_rewind(arena, mark);
    assert_string_equal(first, "first");
    assert_ptr_equal(poly_arena_alloc(arena, 64), second);
    assert_int_equal(second[63], 0);
    poly_arena_rewind(arena, empty);
    assert_int_equal(poly_arena_used(arena), 0);
    assert_non_null(poly_arena_alloc(arena, 16));
    poly_arena_free(arena);
}

/* --- buffer --- */

static void buffer_grows(void **state)
{
    struct poly_buffer buffer;

    (void)state;
    poly_buffer_init(&buffer, 1 << 20);
    assert_null(buffer.data);
    poly_buffer_clear(&buffer);
    poly_buffer_add(&buffer, NULL, 0);
    assert_string_equal(buffer.data, "");
    for (int i = 0; i < 3000; i++) {
        poly_buffer_printf(&buffer, "%d,", i);
        poly_buffer_char(&buffer, ';');
        poly_buffer_text(&buffer, "text");
        assert_int_equal(strlen(buffer.data), buffer.size);
    }
    assert_true(poly_buffer_ok(&buffer));
    assert_memory_equal(buffer.data, "0,;text1,;text", 14);
    poly_buffer_clear(&buffer);
    assert_string_equal(buffer.data, "");
    poly_buffer_release(&buffer);
    poly_buffer_text(&buffer, "after release nothing happens");
    assert_null(buffer.data);
    poly_buffer_release(&buffer);
}

/* Exactly the maximum fits, by any of the ways to add. */
static void buffer_keeps_to_its_maximum(void **state)
{
    struct poly_buffer buffer;

    (void)state;
    for (int way = 0; way < 3; way++) {
        poly_buffer_init(&buffer, 10);
        poly_buffer_text(&buffer, "123456789");
        poly_buffer_char(&buffer, 'a');
        assert_true(poly_buffer_ok(&buffer));
        assert_string_equal(buffer.data, "123456789a");
        if (way == 0)
            poly_buffer_char(&buffer, 'b');
        else if (way == 1)
            poly_buffer_printf(&buffer, "%s", "b");
        else
            poly_buffer_add(&buffer, "b", SIZE_MAX);
        assert_false(poly_buffer_ok(&buffer));
        assert_true(buffer.over);
        poly_buffer_add(&buffer, NULL, 0);
        assert_string_equal(buffer.data, "123456789a");
        poly_buffer_clear(&buffer);
        poly_buffer_text(&buffer, "again");
        assert_true(poly_buffer_ok(&buffer));
        poly_buffer_release(&buffer);
    }
}

/* --- status --- */

static void statuses_have_a_table(void **state)
{
    (void)state;
    assert_string_equal(poly_status_name(POLY_OK), "OK");
    assert_string_equal(poly_status_name(POLY_STATUS_COUNT), "UNKNOWN");
    assert_string_equal(poly_status_name((enum poly_status)-1), "UNKNOWN");
    assert_int_equal(poly_status_http(POLY_NOT_FOUND), 404);
    assert_int_equal(poly_status_http(POLY_STATUS_COUNT), 500);
    assert_int_equal(poly_status_exit(POLY_INVALID), 2);
    assert_int_equal(poly_status_exit(POLY_STATUS_COUNT), 1);
    for (unsigned i = 0; i < POLY_STATUS_COUNT; i++) {
        assert_true(*poly_status_meaning(i) != '\0');
        for (unsigned j = 0; j < i; j++)
            assert_int_not_equal(poly_status_exit(i), poly_status_exit(j));
    }
}

static void errors_are_filled_and_cut(void **state)
{
    char *long_text = malloc(2000);

    (void)state;
    assert_non_null(long_text);
    memset(long_text, 'x', 1999);
    long_text[1999] = '\0';
    assert_int_equal(poly_fail(&err, POLY_LIMIT, "%d is too much", 7), POLY_LIMIT);
    assert_string_equal(err.message, "7 is too much");
    assert_int_equal(err.status, POLY_LIMIT);
    assert_int_equal(err.position, -1);
    assert_int_equal(poly_fail_at(&err, POLY_INVALID, 5, "bad"), POLY_INVALID);
    assert_int_equal(err.position, 5);
    assert_int_equal(poly_fail_in(&err, POLY_INVALID, "operation %d", 3), POLY_INVALID);
    assert_string_equal(err.message, "operation 3: bad");
    assert_int_equal(err.position, 5);
    poly_fail(&err, POLY_INTERNAL, "%s", long_text);
    assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
    poly_fail_in(&err, POLY_INTERNAL, "%s", long_text);
    assert_int_equal(strlen(err.message), sizeof(err.message) - 1);
    assert_int_equal(poly_fail(NULL, POLY_DENIED, "nobody listens"), POLY_DENIED);
    assert_int_equal(poly_fail_in(NULL, POLY_DENIED, "nobody"), POLY_DENIED);
    free(long_text);
}

static void utf8_is_strict(void **state)
{
    static const char *const good[] = {"", "plain", "\xc2\x80", "\xe0\xa0\x80", "\xed\x9f\xbf",
                                       "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x80", "\xc1\xbf", "\xc2", "\xc2 ", "\xe0\x9f\xbf",
                                      "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80", "\xff", "12345678\xff", "\xe2\x82"};

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
        assert_true(poly_utf8_valid(good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_false(poly_utf8_valid(bad[i], strlen(bad[i])));
    assert_false(poly_utf8_valid("a\0b", 3));
}

/* --- memory runs out --- */

static void arena_without_memory(void **state)
{
    struct memory_walk walk = {0};

    (void)state;
    while (memory_next(&walk)) {
        struct poly_arena *arena = poly_arena_new(10 << 20);
        bool good = arena != NULL && poly_arena_copy(arena, "first", 5) != NULL &&
                    poly_arena_alloc(arena, 1 << 20) != NULL &&
                    poly_arena_printf(arena, "%s", "text") != NULL;

        assert_int_equal(good, !memory_failed());
        assert_true(arena == NULL || poly_arena_alloc(arena, 100) != NULL);
        poly_arena_free(arena);
    }
    assert_int_equal(walk.nth, 5); /* the last run, with none failing */
}

static void buffer_without_memory(void **state)
{
    struct memory_walk walk = {0};
    struct poly_buffer buffer;

    (void)state;
    while (memory_next(&walk)) {
        poly_buffer_init(&buffer, 1 << 20);
        for (int i = 0; i < 100; i++)
            poly_buffer_printf(&buffer, "%d and some text", i);
        assert_int_equal(poly_buffer_ok(&buffer), !memory_failed());
        assert_false(buffer.over);
        assert_true(buffer.data == NULL || strlen(buffer.data) == buffer.size);
        poly_buffer_release(&buffer);
    }
    assert_true(walk.nth > 3);
}

static void map_without_memory(void **state)
{
    struct memory_walk walk = {0};

    (void)state;
    while (memory_next(&walk)) {
        struct poly_map *map = poly_map_new(150);
        uint64_t value;

        for (uint64_t i = 0; map != NULL && i < 200; i++) {
            if (poly_map_put(map, &i, sizeof(i), i))
                assert_true(poly_map_get(map, &i, sizeof(i), &value) && value == i);
            else
                assert_false(poly_map_get(map, &i, sizeof(i), &value));
        }
        assert_true(map != NULL || memory_failed());
        poly_map_free(map);
    }
    assert_true(walk.nth > 200);
}

static void json_without_memory(void **state)
{
    static const char text[] =
        "{\"a\":{\"b\":[1,2.5,\"x\"]},\"c\":\"text\",\"d\":{\"$bytes\":\"00\"}}";
    struct memory_walk walk = {0};

    (void)state;
    while (memory_next(&walk)) {
        struct poly_arena *arena = poly_arena_new(1 << 20);
        enum poly_status status = POLY_NO_MEMORY;
        struct poly_row row;
        json_t *json = NULL;

        if (arena != NULL)
            status = poly_json_parse(text, strlen(text), &json, &err);
        if (status == POLY_OK)
            status = poly_json_to_row(json, arena, &row, &err);
        assert_int_equal(status, memory_failed() ? POLY_NO_MEMORY : POLY_OK);
        assert_true(status != POLY_OK || row.count == 3);
        json_decref(json);
        poly_arena_free(arena);
    }
    assert_true(walk.nth > 10);
}

static void configuration_without_memory(void **state)
{
    static const char text[] = "data: ./x\ndomains:\n  a: {table: t, tenant: none, "
                               "search: {fields: {x: 1.5}, filters: [y]}}\n  b: {stream: s}\n";
    struct poly_options options = {.config_text = text, .data = "/data"};
    struct memory_walk walk = {0};

    (void)state;
    while (memory_next(&walk)) {
        struct poly_settings *settings = NULL;
        enum poly_status status = poly_settings_load(&options, &settings, &err);

        assert_int_equal(status, memory_failed() ? POLY_NO_MEMORY : POLY_OK);
        assert_int_equal(settings != NULL, status == POLY_OK);
        poly_settings_free(settings);
    }
    assert_true(walk.nth > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_gives_zeroed_aligned_memory),
        cmocka_unit_test(arena_keeps_to_its_maximum),
        cmocka_unit_test(arena_copies_and_prints),
        cmocka_unit_test(arena_rewinds),
        cmocka_unit_test(buffer_grows),
        cmocka_unit_test(buffer_keeps_to_its_maximum),
        cmocka_unit_test(statuses_have_a_table),
        cmocka_unit_test(errors_are_filled_and_cut),
        cmocka_unit_test(utf8_is_strict),
        cmocka_unit_test(arena_without_memory),
        cmocka_unit_test(buffer_without_memory),
        cmocka_unit_test(map_without_memory),
        cmocka_unit_test(json_without_memory),
        cmocka_unit_test(configuration_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
