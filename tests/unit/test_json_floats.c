/* Vectors in JSON: every single comes back as itself, and nothing but numbers is taken. S3-39 */
#include "test.h"

#include <float.h>
#include <locale.h>
#include <math.h>

#include "base/json.h"
#include "base/json_floats.h"
#include "base/random.h"

static struct poly_error err;

static void assert_reads(const char *text, float wanted)
{
    const char *at = text;
    float number;

    assert_true(poly_json_read_float(&at, text + strlen(text), &number));
    assert_int_equal(*at, '\0');
    assert_memory_equal(&number, &wanted, sizeof(number));
}

static void reads_what_strtof_reads(void **state)
{
    static const char *const texts[] = {"0.1",
                                        "1e-45",
                                        "3.4028235e38",
                                        "16777217",
                                        "0.5e0",
                                        "1.00000005960464477539062",
                                        "1.00000005960464477539063",
                                        "0.000000000000000000000000000000000000011754944",
                                        "123456789012345678901234567890",
                                        "1E+2",
                                        "7.038531e-26",
                                        "0.0e99999999999999999999",
                                        "4.9e-324",
                                        "1e-99999999999"};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_reads(texts[i], strtof(texts[i], NULL));
    assert_reads("-0", -0.0F);
    assert_reads("0", 0.0F);
}

static void refuses_what_is_no_number(void **state)
{
    static const char *const texts[] = {"",    "-",           "+1",   ".5",
                                        "1.",  "01",          "1e",   "1e+",
                                        "nan", "inf",         "1e39", "-1e9999999999999",
                                        "0x1", "3.4028236e38"};
    float number = 7;

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        const char *at = texts[i];

        if (poly_json_read_float(&at, at + strlen(at), &number) && *at == '\0')
            fail_msg("'%s' is a number", texts[i]);
    }
}

static void assert_round_trip(float number)
{
    struct poly_buffer out;

    poly_buffer_init(&out, 64);
    poly_json_float(&out, number);
    assert_true(out.size <= 16);
    assert_ok(poly_json_check(out.data, out.size, &err));
    assert_reads(out.data, number);
    poly_buffer_release(&out);
}

static void any_single_comes_back(void **state)
{
    (void)state;
    for (int i = 0; i < 300000; i++) {
        uint32_t bits;
        float number;

        poly_random(&bits, sizeof(bits));
        memcpy(&number, &bits, sizeof(number));
        if (isfinite(number))
            assert_round_trip(number);
        assert_round_trip((float)(bits % 2000001) / 1e6F - 1);
    }
    assert_round_trip(FLT_MAX);
    assert_round_trip(FLT_TRUE_MIN);
    assert_round_trip(-0.0F);
}

static void assert_prints(float number, const char *wanted)
{
    struct poly_buffer out;

    poly_buffer_init(&out, 64);
    poly_json_float(&out, number);
    assert_string_equal(out.data, wanted);
    poly_buffer_release(&out);
}

static void prints_few_digits(void **state)
{
    (void)state;
    assert_prints(0.1F, "0.1");
    assert_prints(-0.25F, "-0.25");
    assert_prints(1, "1");
    assert_prints(120, "120");
    assert_prints(0, "0");
    assert_prints(0.0001234F, "0.0001234");
    assert_prints(1e-12F, "1e-12");
    assert_prints(1.5e20F, "1.5e20");
    assert_prints(1.5e30F, "1.49999995e+30");
    assert_prints(16777216, "16777216");
    assert_prints(0.123456789F, "0.12345679");
    assert_prints(NAN, "null");
    assert_prints(-INFINITY, "null");
}

/* "vector" of the outermost object, at most three numbers. */
static void assert_takes(const char *text, int depth, const char *rest, const char *numbers)
{
    struct poly_floats_place place = {"vector", depth, 3};
    struct poly_arena *arena = poly_arena_new(1 << 20);
    struct poly_floats_taken taken;
    struct poly_buffer out;

    assert_non_null(arena);
    poly_buffer_init(&out, 4096);
    poly_buffer_text(&out, "");
    assert_ok(poly_json_take_floats(poly_text(text), &place, arena, &taken, &err));
    assert_int_equal(taken.text.size, strlen(rest));
    assert_memory_equal(taken.text.data, rest, taken.text.size);
    for (size_t i = 0; i < taken.count; i++)
        poly_json_floats(&out, taken.arrays[i].numbers, taken.arrays[i].count);
    assert_string_equal(out.data == NULL ? "" : out.data, numbers);
    poly_buffer_release(&out);
    poly_arena_free(arena);
}

static void assert_leaves(const char *text)
{
    assert_takes(text, 1, text, "");
}

static void takes_arrays_of_numbers_only(void **state)
{
    (void)state;
    assert_takes("{\"a\":1,\"vector\" : [ 1 ,\n-2.5e1] ,\"b\":\"x\"}", 1,
                 "{\"a\":1,\"vector\" : [0] ,\"b\":\"x\"}", "[1,-25]");
    assert_takes("{\"l\":[{\"vector\":[1]},{\"vector\":[2,3]}]}", 3,
                 "{\"l\":[{\"vector\":[0]},{\"vector\":[1]}]}", "[1][2,3]");
    assert_takes("{\"vector\":[7]", 1, "{\"vector\":[0]", "[7]"); /* who reads the rest says so */
    assert_leaves("{\"vector\":[]}");
    assert_leaves("{\"vector\":[1,2,3,4]}");
    assert_leaves("{\"vector\":[1,\"x\"]}");
    assert_leaves("{\"vector\":[1,[2]]}");
    assert_leaves("{\"vector\":[1,]}");
    assert_leaves("{\"vector\":[1 2]}");
    assert_leaves("{\"vector\":[1e39]}");
    assert_leaves("{\"vector\":[1");
    assert_leaves("{\"vector\":3}");
    assert_leaves("{\"where\":{\"vector\":[1]}}");
    assert_leaves("[\"vector\",[1]]");
    assert_leaves("{\"a\":\"\\\",\\\"vector\\\":[1]\"}");
    assert_leaves("{\"Vector\":[1],\"vector2\":[1]}");
    assert_leaves("{\"vector");
    assert_leaves("{\"vector\\");
    assert_leaves("");
}

/* [0] must not be mistaken for an array that was taken. */
static void takes_nothing_beside_an_escaped_name(void **state)
{
    (void)state;
    assert_leaves("{\"vector\":[5],\"v\\u0065ctor\":[0]}");
    assert_leaves("{\"v\\u0065ctor\":[0],\"vector\":[5]}");
    assert_takes("{\"vector\":[5],\"a\":\"\\u0065\"}", 1, "{\"vector\":[0],\"a\":\"\\u0065\"}",
                 "[5]");
}

static void is_independent_of_the_locale(void **state)
{
    static const char *const locales[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "ps_AF"};

    (void)state;
    for (size_t i = 0; i < 3 && setlocale(LC_NUMERIC, locales[i]) == NULL; i++)
        continue; /* where there is none, it is as it was */
    assert_reads("1.00000005960464477539063", 1.00000012F);
    assert_prints(1e-40F, "9.99994610e-41");
    setlocale(LC_NUMERIC, "C");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_strtof_reads),
        cmocka_unit_test(refuses_what_is_no_number),
        cmocka_unit_test(any_single_comes_back),
        cmocka_unit_test(prints_few_digits),
        cmocka_unit_test(takes_arrays_of_numbers_only),
        cmocka_unit_test(takes_nothing_beside_an_escaped_name),
        cmocka_unit_test(is_independent_of_the_locale),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
