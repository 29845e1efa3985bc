/* The map, against a plain array that is searched from end to end. */
#include "test.h"

#include "base/map.h"
#include "base/random.h"

static void put_get_remove(void **state)
{
    struct poly_map *map = poly_map_new(100);
    uint64_t value = 5;

    (void)state;
    assert_non_null(map);
    assert_false(poly_map_get(map, "a", 1, &value));
    assert_false(poly_map_remove(map, "a", 1));
    assert_int_equal(value, 5);
    assert_true(poly_map_put(map, "a", 1, 1));
    assert_true(poly_map_put(map, "a\0b", 3, 2));
    assert_true(poly_map_put(map, NULL, 0, 3));
    assert_int_equal(poly_map_count(map), 3);
    assert_true(poly_map_get(map, "a", 1, &value) && value == 1);
    assert_true(poly_map_get(map, "a\0b", 3, &value) && value == 2);
    assert_true(poly_map_get(map, "", 0, &value) && value == 3);
    assert_true(poly_map_put(map, "a", 1, UINT64_MAX));
    assert_true(poly_map_get(map, "a", 1, &value) && value == UINT64_MAX);
    assert_true(poly_map_remove(map, "a", 1));
    assert_false(poly_map_get(map, "a", 1, &value));
    assert_int_equal(poly_map_count(map), 2);
    poly_map_clear(map);
    assert_int_equal(poly_map_count(map), 0);
    assert_false(poly_map_get(map, "", 0, &value));
    poly_map_free(map);
    poly_map_free(NULL);
}

enum { KEYS = 500, STEPS = 200000 };

/* Nothing is lost or invented over many random steps. */
static void agrees_with_an_array(void **state)
{
    struct poly_map *map = poly_map_new(KEYS);
    uint64_t values[KEYS], value;
    bool there[KEYS] = {false};
    uint32_t random;
    char key[16];
    size_t count = 0;

    (void)state;
    assert_non_null(map);
    for (int step = 0; step < STEPS; step++) {
        poly_random(&random, sizeof(random));

        size_t i = random % KEYS, size = (size_t)snprintf(key, sizeof(key), "order-%zu", i);

        if (random >> 28 < 6) {
            assert_true(poly_map_put(map, key, size, random));
            count += !there[i];
            there[i] = true;
            values[i] = random;
        } else if (random >> 28 < 11) {
            assert_int_equal(poly_map_remove(map, key, size), there[i]);
            count -= there[i];
            there[i] = false;
        } else {
            assert_int_equal(poly_map_get(map, key, size, &value), there[i]);
            assert_true(!there[i] || value == values[i]);
        }
        assert_int_equal(poly_map_count(map), count);
    }
    poly_map_free(map);
}

static void empties_itself_when_full(void **state)
{
    struct poly_map *map = poly_map_new(48);
    uint64_t value;

    (void)state;
    assert_non_null(map);
    for (uint64_t i = 0; i < 48; i++)
        assert_true(poly_map_put(map, &i, sizeof(i), i));
    assert_int_equal(poly_map_count(map), 48);
    value = 0;
    assert_true(poly_map_put(map, &value, sizeof(value), 7)); /* no new key: nothing is forgotten */
    assert_int_equal(poly_map_count(map), 48);
    value = 1000;
    assert_true(poly_map_put(map, &value, sizeof(value), 8));
    assert_int_equal(poly_map_count(map), 1);
    assert_true(poly_map_get(map, &value, sizeof(value), &value) && value == 8);
    poly_map_free(map);
}

static void visits_each_once(void **state)
{
    struct poly_map *map = poly_map_new(10000);
    struct poly_text key;
    uint64_t value, sum = 0;
    size_t cursor = 0, count = 0;

    (void)state;
    assert_non_null(map);
    assert_false(poly_map_next(map, &cursor, &key, &value));
    for (uint64_t i = 0; i < 5000; i++)
        assert_true(poly_map_put(map, &i, sizeof(i), i));
    while (poly_map_next(map, &cursor, &key, &value)) {
        uint64_t i;

        assert_int_equal(key.size, sizeof(i));
        memcpy(&i, key.data, sizeof(i));
        assert_int_equal(i, value);
        sum += value;
        count++;
    }
    assert_int_equal(count, 5000);
    assert_int_equal(sum, 5000 * 4999 / 2);
    poly_map_free(map);
}

/* Long keys fill it sooner: whoever picks the names does not pick how much memory they take. */
static void long_keys_are_fewer(void **state)
{
    struct poly_map *map = poly_map_new(100);
    char key[1280];

    (void)state;
    assert_non_null(map);
    memset(key, 'k', sizeof(key));
    for (int i = 0; i < 1000; i++) {
        memcpy(key, &i, sizeof(i));
        assert_true(poly_map_put(map, key, sizeof(key), 1));
        assert_true(poly_map_count(map) <= 10);
        assert_true(i % 3 == 1 || poly_map_remove(map, key, sizeof(key)));
    }
    poly_map_free(map);
    map = poly_map_new(1);
    assert_true(poly_map_put(map, key, sizeof(key), 1));
    assert_true(poly_map_put(map, "a", 1, 2));
    assert_int_equal(poly_map_count(map), 1);
    poly_map_free(map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_keys_are_fewer),
        cmocka_unit_test(put_get_remove),
        cmocka_unit_test(agrees_with_an_array),
        cmocka_unit_test(empties_itself_when_full),
        cmocka_unit_test(visits_each_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
