/* Ids, random bytes and clocks. */
#include "test.h"

#include <pthread.h>

#include "base/clock.h"
#include "base/random.h"
#include "polystore/value.h"

enum { MANY = 20000, THREADS = 4 };

static uint64_t time_part(const struct poly_value *value)
{
    uint64_t part = 0;

    for (int i = 0; i < 8; i++)
        part = part << 8 | value->uuid[i];
    return part;
}

static void uuid_has_version_variant_and_time(void **state)
{
    int64_t before = poly_clock_wall() / 1000;
    struct poly_value value = poly_uuid_new();

    (void)state;
    assert_int_equal(value.type, POLY_UUID);
    assert_int_equal(value.uuid[6] >> 4, 7);
    assert_int_equal(value.uuid[8] >> 6, 2);
    assert_in_range(time_part(&value) >> 16, (uint64_t)before, (uint64_t)before + 1000);
}

static void uuids_grow(void **state)
{
    struct poly_value old = poly_uuid_new();

    (void)state;
    for (int i = 0; i < MANY; i++) {
        struct poly_value new = poly_uuid_new();

        if (i == MANY / 2)
            poly_clock_shift(-3600 * INT64_C(1000000));
        assert_true(memcmp(old.uuid, new.uuid, 16) < 0);
        old = new;
    }
    poly_clock_shift(0);
}

static void *make_many(void *arg)
{
    uint64_t *parts = arg;

    for (int i = 0; i < MANY; i++) {
        struct poly_value value = poly_uuid_new();

        parts[i] = time_part(&value);
    }
    return NULL;
}

static int compare(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return *x < *y ? -1 : *x > *y;
}

static void uuids_of_threads_differ(void **state)
{
    uint64_t *parts = calloc(THREADS * MANY, sizeof(*parts));
    pthread_t threads[THREADS];

    (void)state;
    assert_non_null(parts);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, make_many, parts + i * MANY), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    qsort(parts, THREADS * MANY, sizeof(*parts), compare);
    for (int i = 1; i < THREADS * MANY; i++)
        assert_true(parts[i - 1] != parts[i]);
    free(parts);
}

static void uuid_round_trip(void **state)
{
    struct poly_value value = poly_uuid_new(), again;
    struct poly_error err;
    char text[37];

    (void)state;
    poly_uuid_format(value.uuid, text);
    assert_int_equal(strlen(text), 36);
    assert_ok(poly_uuid_parse(text, &again, &err));
    assert_memory_equal(value.uuid, again.uuid, 16);
    assert_ok(poly_uuid_parse("01890A5D-AC96-774B-BCCE-B302099A8057", &again, &err));
    poly_uuid_format(again.uuid, text);
    assert_string_equal(text, "01890a5d-ac96-774b-bcce-b302099a8057");
}

static void uuid_refuses(void **state)
{
    static const char *const bad[] = {"", "0", "01890a5d-ac96-774b-bcce-b302099a805",
                                      "01890a5d-ac96-774b-bcce-b302099a80577",
                                      "01890a5dac96774bbcceb302099a8057",
                                      "01890a5d-ac96-774b-bcce-b302099a805g",
                                      "{1890a5d-ac96-774b-bcce-b302099a8057"};
    struct poly_value value = poly_int(7);
    struct poly_error err;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_fails(poly_uuid_parse(bad[i], &value, &err), POLY_INVALID);
    assert_fails(poly_uuid_parse(NULL, &value, &err), POLY_INVALID);
    assert_int_equal(value.integer, 7);
}

/* No byte stays zero over many draws, and two draws differ, whatever the size. */
static void random_fills_everything(void **state)
{
    static const size_t sizes[] = {1, 16, 1024, 1025, 4096, 10000};
    unsigned char *bytes = malloc(10000), *seen = malloc(10000);

    (void)state;
    assert_true(bytes != NULL && seen != NULL);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        memset(seen, 0, 10000);
        for (int round = 0; round < 20; round++) {
            poly_random(bytes, sizes[i]);
            for (size_t j = 0; j < sizes[i]; j++)
                seen[j] |= bytes[j];
        }
        for (size_t j = 0; j < sizes[i]; j++)
            assert_true(seen[j] != 0);
    }
    poly_random(bytes, 16);
    poly_random(bytes + 16, 16);
    assert_memory_not_equal(bytes, bytes + 16, 16);
    free(bytes);
    free(seen);
}

static void clocks(void **state)
{
    int64_t start = poly_clock_monotonic(), wall = poly_clock_wall();

    (void)state;
    assert_true(wall > INT64_C(1600000000) * 1000000);
    assert_true(poly_clock_monotonic() >= start);
    poly_clock_shift(INT64_C(86400) * 1000000);
    assert_true(poly_clock_wall() - wall >= INT64_C(86400) * 1000000);
    assert_true(poly_clock_monotonic() - start < INT64_C(86400) * 1000000);
    poly_clock_shift(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uuid_has_version_variant_and_time),
        cmocka_unit_test(uuids_grow),
        cmocka_unit_test(uuids_of_threads_differ),
        cmocka_unit_test(uuid_round_trip),
        cmocka_unit_test(uuid_refuses),
        cmocka_unit_test(random_fills_everything),
        cmocka_unit_test(clocks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
