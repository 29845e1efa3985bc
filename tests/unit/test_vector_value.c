/* Vectors as a configuration declares them and as records hold them (S3-38, S3-63). */
#include "test.h"

#include <float.h>
#include <math.h>

#include "base/limits.h"
#include "core/config.h"
#include "core/vector.h"

static struct poly_error err;
static struct poly_arena *arena;

static int setup(void **state)
{
    (void)state;
    arena = poly_arena_new(64 << 20);
    return arena == NULL;
}

static int teardown(void **state)
{
    (void)state;
    poly_arena_free(arena);
    return 0;
}

static struct poly_config *load(const char *text)
{
    struct poly_config *config = NULL;

    assert_ok(poly_config_load(NULL, text, &config, &err));
    return config;
}

/* --- the configuration --- */

static void has_defaults(void **state)
{
    struct poly_config *config = load("domains:\n"
                                      "  a: {table: a, tenant: none, vector: {field: e, "
                                      "dimensions: 3}}\n"
                                      "  b: {table: b, tenant: none}\n");
    const struct poly_domain *a = poly_config_domain(config, "a");

    (void)state;
    assert_int_equal(a->vector_count, 1);
    assert_string_equal(a->vectors[0].name, "");
    assert_string_equal(a->vectors[0].field, "e");
    assert_int_equal(a->vectors[0].dimensions, 3);
    assert_string_equal(a->vectors[0].metric, "cosine");
    assert_string_equal(a->vectors[0].element, "f32");
    assert_int_equal(a->vectors[0].m, 16);
    assert_int_equal(a->vectors[0].ef_construction, 64);
    assert_int_equal(a->vectors[0].ef, 64);
    assert_null(a->vectors[0].model);
    assert_int_equal(a->vectors[0].filter_count, 0);
    assert_int_equal(poly_config_domain(config, "b")->vector_count, 0);
    assert_string_equal(poly_config_store(config, "vector")->driver, "embedded");
    assert_false(poly_config_store(config, "vector")->follower);
    poly_config_free(config);
}

static void reads_several(void **state)
{
    struct poly_config *config =
        load("stores: {vector: {placement: follower}}\n"
             "domains:\n"
             "  a:\n"
             "    table: a\n"
             "    tenant: none\n"
             "    search: {fields: [title], filters: [lang]}\n"
             "    vectors:\n"
             "      title: {field: t, dimensions: 2, metric: l2, element: f16, m: 5,"
             " ef_construction: 7, ef: 9, model: small-1, filters: [state, author]}\n"
             "      bits: {field: b, dimensions: 16000, element: binary}\n"
             "      exact: {field: T, dimensions: 2}\n"
             "  c: {table: c, tenant: none, vector: {field: e, dimensions: 1}}\n");
    const struct poly_domain *a = poly_config_domain(config, "a");

    (void)state;
    assert_true(poly_config_store(config, "vector")->follower);
    assert_int_equal(a->search.filter_count, 1);
    assert_int_equal(a->vector_count, 3);
    assert_string_equal(a->vectors[0].name, "title");
    assert_string_equal(a->vectors[0].metric, "l2");
    assert_string_equal(a->vectors[0].element, "f16");
    assert_int_equal(a->vectors[0].m, 5);
    assert_int_equal(a->vectors[0].ef_construction, 7);
    assert_int_equal(a->vectors[0].ef, 9);
    assert_string_equal(a->vectors[0].model, "small-1");
    assert_int_equal(a->vectors[0].filter_count, 2);
    assert_string_equal(a->vectors[0].filters[1], "author");
    assert_string_equal(a->vectors[1].metric, "hamming");
    assert_int_equal(a->vectors[1].m, 16);
    assert_null(a->vectors[1].model);
    assert_int_equal(a->vectors[1].filter_count, 0);
    assert_ptr_equal(poly_vector_of(a, "t"), &a->vectors[0]);
    assert_null(poly_vector_of(a, "title"));
    assert_int_equal(poly_config_domain(config, "c")->vectors[0].ef, 64);
    poly_config_free(config);
}

static void refuses_configuration(void **state)
{
    static const struct {
        const char *vector, *message;
    } wrong[] = {
        {"vector: {dimensions: 3}", "vector needs 'field'"},
        {"vector: {field: e}", "vector needs 'dimensions'"},
        {"vector: {field: e, dimensions: 0}", "too little; at least 1"},
        {"vector: {field: e, dimensions: 16001}", "too much; at most 16000"},
        {"vector: {field: e, dimensions: 3, m: 1}", "too little; at least 2"},
        {"vector: {field: e, dimensions: 3, m: 101}", "too much; at most 100"},
        {"vector: {field: e, dimensions: 3, ef_construction: 3}", "too little; at least 4"},
        {"vector: {field: e, dimensions: 3, ef: 10001}", "too much; at most 10000"},
        {"vector: {field: e, dimensions: 3, metric: near}", "unknown metric 'near'"},
        {"vector: {field: e, dimensions: 3, element: f64}", "unknown element 'f64'"},
        {"vector: {field: e, dimensions: 3, metric: hamming}", "is of the element 'binary'"},
        {"vector: {field: e, dimensions: 3, metric: l2, element: binary}", "goes with the metric"},
        {"vector: {field: 'e f', dimensions: 3}", "no name of a field"},
        {"vector: {field: e, dimension: 3}", "did you mean 'dimensions'?"},
        {"vector: {field: e, dimensions: 3, filters: [a, A]}", "stands here twice"},
        {"vector: 3", "wants a mapping of options"},
        {"vectors: [e]", "wants names, each with its options"},
        {"vectors: {A: {field: e, dimensions: 3}}", "no name of a vector"},
        {"vectors: {a: {field: e}}", "vector needs 'dimensions'"},
        {"vectors: {a: {field: e, dimensions: 3}, b: {field: E, dimensions: 4}}",
         "the field 'E' has 3 dimensions in 'a'"},
        {"vector: {field: e, dimensions: 3}, vectors: {a: {field: e, dimensions: 3}}",
         "has both 'vector' and 'vectors'"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        struct poly_config *config = NULL;
        char text[600];

        snprintf(text, sizeof(text), "domains: {a: {table: a, tenant: none, %s}}", wrong[i].vector);
        assert_fails(poly_config_load(NULL, text, &config, &err), POLY_INVALID);
        if (strstr(err.message, wrong[i].message) == NULL)
            fail_msg("%s: %s", wrong[i].vector, err.message);
    }
}

static void bounds_their_number(void **state)
{
    char text[4000] = "domains: {a: {table: a, tenant: none, vectors: {";
    struct poly_config *config = NULL;

    (void)state;
    for (int i = 0; i <= POLY_MAX_VECTORS; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text),
                 "%sv%d: {field: e, dimensions: 3}", i == 0 ? "" : ", ", i);
    strncat(text, "}}}", sizeof(text) - strlen(text) - 1);
    assert_fails(poly_config_load(NULL, text, &config, &err), POLY_INVALID);
    assert_non_null(strstr(err.message, "17 vectors; 16 are the most"));
}

/* --- values --- */

static struct poly_domain_vector shape(uint32_t dimensions)
{
    return (struct poly_domain_vector){
        .name = "", .field = "e", .dimensions = dimensions, .metric = "cosine", .element = "f32"};
}

static void reads_as(struct poly_value value, const float *expected, uint32_t count)
{
    struct poly_domain_vector of = shape(count);
    const float *numbers = NULL;

    assert_ok(poly_vector_read(&of, &value, arena, &numbers, &err));
    for (uint32_t i = 0; i < count; i++)
        if (numbers[i] != expected[i])
            fail_msg("%.*s: number %u is %.9g", (int)value.text.size, value.text.data, i + 1,
                     (double)numbers[i]);
}

static void reads_values(void **state)
{
    const float three[] = {1, -2.5F, 0.1F};
    const unsigned char bytes[] = {0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc0, 0xcd, 0xcc, 0xcc, 0x3d};
    struct poly_domain_vector of = shape(3);
    const float *numbers = three;
    struct poly_value null = poly_null();

    (void)state;
    reads_as(poly_bytes(bytes, sizeof(bytes)), three, 3);
    reads_as(poly_json("[1,-2.5,0.1]"), three, 3);
    reads_as(poly_json(" [ 1.0 ,\n-25e-1 ,\t1E-1 ] "), three, 3);
    assert_ok(poly_vector_read(&of, &null, arena, &numbers, &err));
    assert_null(numbers);
    reads_as(poly_str("{1,-2.5,0.1}"), three, 3);
    reads_as(poly_str("[1,-2.5,0.10000000000000000000001]"), three, 3);
    reads_as(poly_json("[3.4028234663852886e38, 1e-45, 1e-400]"),
             (const float[]){FLT_MAX, 1e-45F, 0}, 3);
    reads_as(poly_json("[123456789012345678901234567890, 0e999999, 16777217]"),
             (const float[]){123456789012345678901234567890.0F, 0, 16777216}, 3);
}

static void refuses_values(void **state)
{
    static const struct {
        const char *text, *message;
    } wrong[] = {
        {"[1,2]", "2 dimensions were given, it has 3"},
        {"[]", "0 dimensions were given, it has 3"},
        {"[1,2,3,4]", "3 or more dimensions were given, it has 3"},
        {"[1,2,x]", "number 3 is none"},
        {"[1,null,3]", "number 2 is none"},
        {"[1,\"2\",3]", "number 2 is none"},
        {"[1,[2],3]", "number 2 is none"},
        {"[1,NaN,3]", "number 2 is none"},
        {"[1,0x2,3]", "wants an array of 3 numbers"},
        {"[1,2.,3]", "number 2 is none"},
        {"[1,2e,3]", "number 2 is none"},
        {"[1,-,3]", "number 2 is none"},
        {"[1,2,1e39]", "number 3 is none"},
        {"[1,2,1e9999999]", "number 3 is none"},
        {"[1 2 3]", "wants an array of 3 numbers"},
        {"[1,2,3", "wants an array of 3 numbers"},
        {"[1,2,3}", "wants an array of 3 numbers"},
        {"[1,2,3] 4", "wants an array of 3 numbers"},
        {"{\"a\": 1}", "wants an array of 3 numbers"},
        {"{1,2,3}", "wants an array of 3 numbers"},
        {"1", "wants an array of 3 numbers"},
        {"", "wants an array of 3 numbers"},
    };
    struct poly_domain_vector of = shape(3);
    const float *numbers;
    struct poly_value value;

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        value = poly_json(wrong[i].text);
        assert_fails(poly_vector_read(&of, &value, arena, &numbers, &err), POLY_INVALID);
        if (strstr(err.message, wrong[i].message) == NULL)
            fail_msg("%s: %s", wrong[i].text, err.message);
    }
    value = poly_int(3);
    assert_fails(poly_vector_read(&of, &value, arena, &numbers, &err), POLY_INVALID);
    value = poly_bytes("\0\0\x80\x3f", 4);
    assert_fails(poly_vector_read(&of, &value, arena, &numbers, &err), POLY_INVALID);
    assert_non_null(strstr(err.message, "4 bytes were given; 3 dimensions are 12"));
    value = poly_bytes("\0\0\xc0\x7f\0\0\x80\x3f\0\0\x80\x7f", 12); /* NaN, 1, infinity */
    assert_fails(poly_vector_read(&of, &value, arena, &numbers, &err), POLY_INVALID);
    assert_non_null(strstr(err.message, "number 1 is not finite"));
}

static void checks(const char *metric, const char *element, const char *text, const char *message)
{
    struct poly_domain_vector of = shape(2);
    struct poly_value value = poly_json(text);
    const float *numbers;

    of.metric = metric;
    of.element = element;
    if (message == NULL) {
        assert_ok(poly_vector_read(&of, &value, arena, &numbers, &err));
        return;
    }
    assert_fails(poly_vector_read(&of, &value, arena, &numbers, &err), POLY_INVALID);
    if (strstr(err.message, message) == NULL)
        fail_msg("%s %s %s: %s", metric, element, text, err.message);
}

static void checks_what_metric_and_element_want(void **state)
{
    (void)state;
    checks("cosine", "f32", "[0, -0.0]", "all its numbers are zero");
    checks("cosine", "f32", "[0, 1e-45]", NULL);
    checks("l2", "f32", "[0, 0]", NULL);
    checks("cosine", "f32", "[3e38, 1]", NULL);
    checks("l2", "f32", "[1e16, 1]", NULL);
    checks("l2", "f32", "[3e38, 1]", "its length is");
    checks("inner", "f16", "[65504, -65504]", NULL);
    checks("inner", "f16", "[1, -65505]", "number 2 is over 65504");
    checks("cosine", "f16", "[1, -65505]", NULL);
    checks("l2", "int8", "[127, -127]", NULL);
    checks("l2", "int8", "[128, 1]", "number 1 is no whole number");
    checks("l2", "int8", "[1, 0.5]", "number 2 is no whole number");
    checks("cosine", "int8", "[300, 0.5]", NULL);
    checks("hamming", "binary", "[1, 0]", NULL);
    checks("hamming", "binary", "[1, 2]", "number 2 is neither 0 nor 1");
}

static void prints_back(void **state)
{
    struct poly_domain_vector of = shape(1);
    uint32_t bits = 1;

    (void)state;
    for (int i = 0; i < 200000; i++, bits = bits * 1664525 + 1013904223) {
        struct poly_buffer text;
        struct poly_value value = poly_json("");
        const float *numbers;
        float number;

        memcpy(&number, &bits, sizeof(bits));
        if (!isfinite(number) || number == 0)
            continue;
        poly_buffer_init(&text, 1000);
        poly_vector_print(&text, &number, 1, '[', ']');
        value.text = (struct poly_text){text.data, text.size};
        assert_ok(poly_vector_read(&of, &value, arena, &numbers, &err));
        if (memcmp(numbers, &number, sizeof(number)) != 0)
            fail_msg("%.9g is %s", (double)number, text.data);
        poly_buffer_release(&text);
        poly_arena_reset(arena);
    }
}

static void prints_short(void **state)
{
    const float numbers[] = {0.1F, -2, 3e-05F, 16777216, 1.0F / 3};
    struct poly_buffer text;

    (void)state;
    poly_buffer_init(&text, 1000);
    poly_vector_print(&text, numbers, 5, '{', '}');
    assert_true(poly_buffer_ok(&text));
    assert_string_equal(text.data, "{0.1,-2,0.00003,16777216,0.33333334}");
    poly_buffer_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(has_defaults),
        cmocka_unit_test(reads_several),
        cmocka_unit_test(refuses_configuration),
        cmocka_unit_test(bounds_their_number),
        cmocka_unit_test(reads_values),
        cmocka_unit_test(refuses_values),
        cmocka_unit_test(checks_what_metric_and_element_want),
        cmocka_unit_test(prints_back),
        cmocka_unit_test(prints_short),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
