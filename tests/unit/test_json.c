/* JSON out and in: exact numbers, exact bytes, and nothing crashes on the way. */
#include "test.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <time.h>

#include "base/json.h"
#include "base/json_walk.h"
#include "base/limits.h"
#include "base/random.h"

static struct poly_error err;

static const char *printed(struct poly_value value)
{
    static struct poly_buffer buffer;

    poly_buffer_release(&buffer);
    poly_buffer_init(&buffer, 1 << 20);
    poly_json_value(&buffer, &value);
    assert_true(poly_buffer_ok(&buffer));
    return buffer.data;
}

static struct poly_value text(const char *data, size_t size)
{
    struct poly_value value = poly_bytes(data, size);

    value.type = POLY_TEXT;
    return value;
}

static void prints_values(void **state)
{
    struct poly_value uuid = poly_null();

    (void)state;
    uuid.type = POLY_UUID;
    assert_string_equal(printed(poly_null()), "null");
    assert_string_equal(printed(poly_bool(true)), "true");
    assert_string_equal(printed(poly_bool(false)), "false");
    assert_string_equal(printed(poly_int(0)), "0");
    assert_string_equal(printed(poly_int(INT64_MAX)), "9223372036854775807");
    assert_string_equal(printed(poly_int(INT64_MIN)), "-9223372036854775808");
    assert_string_equal(printed(poly_bytes("\x00\xff\x10", 3)), "{\"$bytes\":\"00ff10\"}");
    assert_string_equal(printed(poly_bytes(NULL, 0)), "{\"$bytes\":\"\"}");
    assert_string_equal(printed(poly_json("{\"a\":\n[1,\r\n2]}")), "{\"a\": [1,  2]}");
    assert_string_equal(printed(poly_time(0)), "\"1970-01-01T00:00:00.000000Z\"");
    assert_string_equal(printed(uuid), "\"00000000-0000-0000-0000-000000000000\"");
}

static void prints_strings(void **state)
{
    (void)state;
    assert_string_equal(printed(poly_str("")), "\"\"");
    assert_string_equal(printed(poly_str("plain text, longer than a word of the machine")),
                        "\"plain text, longer than a word of the machine\"");
    assert_string_equal(printed(poly_str("a\"b\\c\n\r\t\b\f\x01\x1f\x7f")),
                        "\"a\\\"b\\\\c\\n\\r\\t\\b\\f\\u0001\\u001f\x7f\"");
    assert_string_equal(printed(text("a\0b", 3)), "\"a\\u0000b\"");
    assert_string_equal(printed(poly_str("Gr\xc3\xbc\xc3\x9f"
                                         "e \xe2\x82\xac \xf0\x9f\x98\x80!")),
                        "\"Gr\xc3\xbc\xc3\x9f"
                        "e \xe2\x82\xac \xf0\x9f\x98\x80!\"");
}

/* Every invalid byte becomes U+FFFD, and what follows is not swallowed. */
static void replaces_invalid_utf8(void **state)
{
    (void)state;
    assert_string_equal(printed(poly_str("a\xff"
                                         "b\xc3")),
                        "\"a\xef\xbf\xbd"
                        "b\xef\xbf\xbd\"");
    assert_string_equal(printed(poly_str("\xc0\xaf")), "\"\xef\xbf\xbd\xef\xbf\xbd\"");
    assert_string_equal(printed(poly_str("\xed\xa0\x80")), /* a surrogate */
                        "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
    assert_string_equal(printed(poly_str("\xe2\x82\"")), "\"\xef\xbf\xbd\xef\xbf\xbd\\\"\"");
}

static void prints_numbers(void **state)
{
    (void)state;
    assert_string_equal(printed(poly_float(1)), "1.0");
    assert_string_equal(printed(poly_float(-1)), "-1.0");
    assert_string_equal(printed(poly_float(0)), "0.0");
    assert_string_equal(printed(poly_float(-0.0)), "-0.0");
    assert_string_equal(printed(poly_float(0.1)), "0.1");
    assert_string_equal(printed(poly_float(1e15)), "1e+15");
    assert_string_equal(printed(poly_float(123456789012345)), "123456789012345.0");
    assert_string_equal(printed(poly_float(1.0 / 3)), "0.3333333333333333");
    assert_string_equal(printed(poly_float(DBL_MAX)), "1.7976931348623157e+308");
    assert_string_equal(printed(poly_float(5e-324)), "4.94065645841247e-324");
    assert_string_equal(printed(poly_float(INFINITY)), "{\"$float\":\"Infinity\"}");
    assert_string_equal(printed(poly_float(-INFINITY)), "{\"$float\":\"-Infinity\"}");
    assert_string_equal(printed(poly_float(NAN)), "null");
}

static struct poly_value read_back(const char *json, size_t size, struct poly_arena *arena)
{
    struct poly_value value = poly_null();
    json_t *tree;

    assert_ok(poly_json_parse(json, size, &tree, &err));
    assert_ok(poly_json_to_value(tree, arena, &value, &err));
    json_decref(tree);
    return value;
}

/* Any double comes back bit for bit, in any locale. */
static void doubles_round_trip(void **state)
{
    struct poly_arena *arena = poly_arena_new(1 << 20);

    (void)state;
    assert_non_null(arena);
    for (int i = 0; i < 20000; i++) {
        double number;

        poly_random(&number, sizeof(number));
        if (isnan(number))
            continue;

        const char *json = printed(poly_float(number));
        struct poly_value value = read_back(json, strlen(json), arena);

        assert_int_equal(value.type, POLY_FLOAT);
        assert_memory_equal(&value.real, &number, sizeof(number));
        poly_arena_reset(arena);
    }
    poly_arena_free(arena);
}

static void does_not_depend_on_the_locale(void **state)
{
    static const char *const locales[] = {"de_DE.UTF-8", "de_DE", "fr_FR.UTF-8"};
    struct poly_arena *arena = poly_arena_new(1 << 20);

    (void)state;
    assert_non_null(arena);
    for (size_t i = 0; i < 3; i++) {
        if (setlocale(LC_NUMERIC, locales[i]) == NULL)
            continue;
        assert_string_equal(printed(poly_float(0.5)), "0.5");
        assert_true(read_back("2.25", 4, arena).real == 2.25);
    }
    setlocale(LC_NUMERIC, "C");
    poly_arena_free(arena);
}

static void any_bytes_print_as_json(void **state)
{
    struct poly_arena *arena = poly_arena_new(1 << 20);
    char bytes[64];

    (void)state;
    assert_non_null(arena);
    for (int i = 0; i < 5000; i++) {
        poly_random(bytes, sizeof(bytes));
        for (size_t j = 0; j < sizeof(bytes); j++)
            bytes[j] = bytes[j] == 0 ? 1 : bytes[j];

        size_t size = (size_t)i % sizeof(bytes);
        const char *json = printed(text(bytes, size));

        assert_int_equal(read_back(json, strlen(json), arena).type, POLY_TEXT);
        json = printed(poly_bytes(bytes, size));

        struct poly_value value = read_back(json, strlen(json), arena);

        assert_int_equal(value.type, POLY_BYTES);
        assert_int_equal(value.text.size, size);
        assert_memory_equal(value.text.data, bytes, size);
        poly_arena_reset(arena);
    }
    poly_arena_free(arena);
}

struct bad {
    const char *text;
    const char *problem;
};

static const struct bad bads[] = {
    {"", "empty"},
    {"   ", "line 1, column 4: the text ends too early"},
    {"{", "a name in double quotes"},
    {"[1,]", "line 1, column 4: a value is expected"},
    {"{\"a\":1,}", "a name in double quotes"},
    {"{\"a\" 1}", "':' is expected"},
    {"{a:1}", "a name in double quotes"},
    {"[1 2]", "',' or ']'"},
    {"{\"a\":1]", "',' or '}'"},
    {"[1}", "',' or ']'"},
    {"1 1", "there is more"},
    {"\xef\xbb\xbf{}", "a value is expected"},
    {"nul", "a value is expected"},
    {"True", "a value is expected"},
    {"NaN", "a value is expected"},
    {"-", "malformed"},
    {"01", "there is more"},
    {"1.", "malformed"},
    {".5", "a value is expected"},
    {"1e", "malformed"},
    {"+1", "a value is expected"},
    {"9223372036854775808", "64 bits"},
    {"-9223372036854775809", "64 bits"},
    {"1e309", "double"},
    {"[\n\n  -1.8e308]", "line 3, column 3: the number does not fit a double"},
    {"1e99999999999999999999", "double"},
    {"\"abc", "does not end"},
    {"\"a\nb\"", "control character"},
    {"\"\\u0000\"", "NUL"},
    {"{\"\\u0000\":1}", "NUL"},
    {"\"\\x\"", "unknown escape"},
    {"\"\\u12g4\"", "hexadecimal"},
    {"\"\\ud800\"", "surrogate"},
    {"\"\\ud800\\u0041\"", "surrogate"},
    {"\"\\udc00\"", "surrogate"},
    {"\"\xff\"", "not UTF-8"},
    {"\"\xc3\"", "not UTF-8"},
};

static void refuses(void **state)
{
    json_t *json = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof(bads) / sizeof(*bads); i++) {
        assert_fails(poly_json_check(bads[i].text, strlen(bads[i].text), &err), POLY_INVALID);
        assert_message(bads[i].problem);
        assert_true(err.position >= 0);
        assert_fails(poly_json_parse(bads[i].text, strlen(bads[i].text), &json, &err),
                     POLY_INVALID);
        assert_message(bads[i].problem);
    }
    assert_fails(poly_json_check("1\0", 2, &err), POLY_INVALID);
    assert_fails(poly_json_check("\"a\0b\"", 5, &err), POLY_INVALID);
    assert_null(json);
}

static void refuses_duplicates(void **state)
{
    static const char twice[] = "{\"a\":1,\n\"a\":2}";
    json_t *json = NULL;

    (void)state;
    assert_fails(poly_json_parse(twice, strlen(twice), &json, &err), POLY_INVALID);
    assert_message("line 2");
    assert_message("twice");
    assert_null(json);
}

static void accepts(void **state)
{
    static const char *const good[] = {
        "0", "-0", "-0.0", " [ ] ", "{}", "[[],{}]", "\"\"", "1E+2", "9223372036854775807",
        "-9223372036854775808", "1.7976931348623157e308", "1e-400", "0e999999999999999999999",
        "0.000000000000000000000000000000000000000000000000000000001e300",
        "17976931348623157000000000000000000000000000000000000000000000000000000000000000"
        "00000000000000000000000000000000000000000000000000000000000000000000000000000000"
        "00000000000000000000000000000000000000000000000000000000000000000000000000000000"
        "000000000000000000000000000000000000000000000000000000000000000000000.5",
        "{\"a\":[true,false,null,{\"b\":\"\\ud83d\\ude00\\n\"}]}\r\n"};
    json_t *json;

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        assert_ok(poly_json_check(good[i], strlen(good[i]), &err));
        assert_ok(poly_json_parse(good[i], strlen(good[i]), &json, &err));
        json_decref(json);
    }
}

static void bounds_the_depth(void **state)
{
    size_t deep = 1000000;
    char *brackets = malloc(deep);
    json_t *json;

    (void)state;
    assert_non_null(brackets);
    memset(brackets, '[', deep);
    assert_fails(poly_json_check(brackets, deep, &err), POLY_INVALID);
    assert_message("64 levels");
    assert_int_equal(err.position, POLY_MAX_JSON_DEPTH);
    memset(brackets + POLY_MAX_JSON_DEPTH, ']', POLY_MAX_JSON_DEPTH);
    assert_ok(poly_json_parse(brackets, 2 * POLY_MAX_JSON_DEPTH, &json, &err));
    json_decref(json);
    for (size_t i = 0; i + 5 < deep; i += 5)
        memcpy(brackets + i, "{\"\":[", 5);
    assert_fails(poly_json_parse(brackets, deep, &json, &err), POLY_INVALID);
    free(brackets);
}

static void reads_rows(void **state)
{
    static const char object[] =
        "{\"z\":1,\"a\":-9007199254740993,\"f\":1.0,\"t\":\"x\",\"n\":null,\"b\":true,"
        "\"bytes\":{\"$bytes\":\"00fF\"},\"inf\":{\"$float\":\"-Infinity\"},"
        "\"o\":{\"$bytes\":\"00\",\"more\":[1,2.5,\"\\n\",false,{}]},\"l\":[]}";
    struct poly_arena *arena = poly_arena_new(1 << 20);
    struct poly_buffer buffer;
    struct poly_row row;
    json_t *json;

    (void)state;
    assert_non_null(arena);
    assert_ok(poly_json_parse(object, strlen(object), &json, &err));
    assert_ok(poly_json_to_row(json, arena, &row, &err));
    json_decref(json);
    assert_int_equal(row.count, 10);
    assert_string_equal(row.fields[0].name, "z");
    assert_int_equal(row.fields[1].value.integer, INT64_C(-9007199254740993));
    assert_int_equal(row.fields[2].value.type, POLY_FLOAT);
    assert_string_equal(row.fields[3].value.text.data, "x");
    assert_memory_equal(row.fields[6].value.text.data, "\0\xff", 2);
    assert_int_equal(row.fields[7].value.type, POLY_FLOAT);
    assert_int_equal(row.fields[8].value.type, POLY_JSON);
    poly_buffer_init(&buffer, 10000);
    poly_json_row(&buffer, &row);
    assert_string_equal(
        buffer.data,
        "{\"z\":1,\"a\":-9007199254740993,\"f\":1.0,\"t\":\"x\",\"n\":null,\"b\":true,"
        "\"bytes\":{\"$bytes\":\"00ff\"},\"inf\":{\"$float\":\"-Infinity\"},"
        "\"o\":{\"$bytes\":\"00\",\"more\":[1,2.5,\"\\n\",false,{}]},\"l\":[]}");
    poly_buffer_release(&buffer);
    poly_arena_free(arena);
}

static void refuses_rows(void **state)
{
    static const struct bad rows[] = {
        {"[]", "object is expected"},
        {"1", "object is expected"},
        {"{\"a\":{\"$bytes\":\"0\"}}", "'a': '$bytes'"},
        {"{\"a\":{\"$bytes\":\"0g\"}}", "'a': '$bytes'"},
        {"{\"a\":{\"$bytes\":1}}", "'a': '$bytes'"},
        {"{\"a\":{\"$float\":\"NaN\"}}", "'a': '$float'"},
        {"{\"a\":{\"$float\":1}}", "'a': '$float'"},
    };
    struct poly_arena *arena = poly_arena_new(1 << 20), *tiny = poly_arena_new(16);
    struct poly_row row = {NULL, 77};
    json_t *json;

    (void)state;
    assert_true(arena != NULL && tiny != NULL);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        assert_ok(poly_json_parse(rows[i].text, strlen(rows[i].text), &json, &err));
        assert_fails(poly_json_to_row(json, arena, &row, &err), POLY_INVALID);
        assert_message(rows[i].problem);
        json_decref(json);
    }
    assert_ok(poly_json_parse("{\"a\":1}", 7, &json, &err));
    assert_fails(poly_json_to_row(json, tiny, &row, &err), POLY_NO_MEMORY);
    json_decref(json);
    assert_int_equal(row.count, 77);
    poly_arena_free(arena);
    poly_arena_free(tiny);
}

static void times(void **state)
{
    static const struct {
        const char *text;
        int64_t time;
        const char *again; /* NULL: the same */
    } good[] = {
        {"1970-01-01T00:00:00.000000Z", 0, NULL},
        {"1969-12-31T23:59:59.999999Z", -1, NULL},
        {"2026-11-21T03:20:00.123456Z", INT64_C(1795231200123456), NULL},
        {"2000-02-29T12:00:00Z", INT64_C(951825600000000), "2000-02-29T12:00:00.000000Z"},
        {"0000-01-01T00:00:00.000000Z", INT64_C(-62167219200000000), NULL},
        {"9999-12-31T23:59:59.999999Z", INT64_C(253402300799999999), NULL},
        {"2026-11-21 04:20:00.1234567+01:00", INT64_C(1795231200123456),
         "2026-11-21T03:20:00.123456Z"},
        {"2026-11-20t22:20:00.12-05:00", INT64_C(1795231200120000), "2026-11-21T03:20:00.120000Z"},
        {"2016-12-31T23:59:60Z", INT64_C(1483228800000000), "2017-01-01T00:00:00.000000Z"},
    };
    char printed_time[28];
    int64_t time;

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        assert_ok(poly_json_parse_time(good[i].text, &time, &err));
        assert_int_equal(time, good[i].time);
        poly_json_time(time, printed_time);
        assert_string_equal(printed_time, good[i].again == NULL ? good[i].text : good[i].again);
    }
    poly_json_time(INT64_MIN, printed_time);
    assert_string_equal(printed_time, "0000-01-01T00:00:00.000000Z");
    poly_json_time(INT64_MAX, printed_time);
    assert_string_equal(printed_time, "9999-12-31T23:59:59.999999Z");
}

/* Against the C library, for every 5th day of 1900 to 2200. */
static void times_agree_with_the_c_library(void **state)
{
    (void)state;
    for (time_t time = -2208988800; time < 7258118400; time += 5 * 86400 + 3601) {
        char mine[28], theirs[40];
        struct tm tm;
        int64_t again;

        poly_json_time((int64_t)time * 1000000 + 42, mine);
        assert_non_null(gmtime_r(&time, &tm));
        strftime(theirs, sizeof(theirs), "%Y-%m-%dT%H:%M:%S.000042Z", &tm);
        assert_string_equal(mine, theirs);
        assert_ok(poly_json_parse_time(mine, &again, &err));
        assert_int_equal(again, (int64_t)time * 1000000 + 42);
    }
}

static void refuses_times(void **state)
{
    static const char *const bad[] = {
        "",
        "2026",
        "2026-11-21",
        "2026-11-21T03:20:00",
        "2026-11-21T03:20Z",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:61Z",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00.1234567890Z",
        "2026-01-01T00:00:00+0100",
        "2026-01-01T00:00:00+24:00",
        "2026-01-01T00:00:00ZZ",
        "0000-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "-026-01-01T00:00:00Z",
    };
    int64_t time = 7;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_fails(poly_json_parse_time(bad[i], &time, &err), POLY_INVALID);
    assert_int_equal(time, 7);
}

/* What stands at a path, as it stands there; NULL: nothing does. */
static void stands(const char *json, const char *path, const char *wanted)
{
    struct poly_text value = {NULL, 0};

    assert_true(poly_json_path_valid(path));
    assert_int_equal(poly_json_path_find(poly_text(json), path, &value), wanted != NULL);
    if (wanted == NULL)
        return;
    assert_int_equal(value.size, strlen(wanted));
    assert_memory_equal(value.data, wanted, value.size);
}

/* S3-13 */
static void paths(void **state)
{
    static const char *const wrong[] = {"",     "a",      "$a",    "$.",           "$.\"a", "$[",
                                        "$[]",  "$[a]",   "$[-1]", "$[#]",         "$[#-]", "$.a.",
                                        "$..a", "$.\"\"", "$[1",   "$[1234567890]"};
    char longest[POLY_MAX_PATH + 2];

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
        assert_false(poly_json_path_valid(wrong[i]));
    memset(longest, 'a', sizeof(longest));
    memcpy(longest, "$.", 2);
    longest[POLY_MAX_PATH + 1] = '\0';
    assert_false(poly_json_path_valid(longest));
    longest[POLY_MAX_PATH] = '\0';
    assert_true(poly_json_path_valid(longest));

    stands(" {\"a\" : { \"b\":[1, {\"c\":\"x\"} , 2.5e1]}}", "$.a.b[1].c", "\"x\"");
    stands("{\"a\":{\"b\":[1,2,3]}}", "$.a.b[#-1]", "3");
    stands("{\"a\":{\"b\":[1,2,3]}}", "$.a.b[#-3]", "1");
    stands("{\"a\":{\"b\":[1,2,3]}}", "$.a.b[#-4]", NULL);
    stands("{\"a\":{\"b\":[1,2,3]}}", "$.a.b[3]", NULL);
    stands("{\"a\":{\"b\":[ ]}}", "$.a.b[0]", NULL);
    stands("{\"a\":1}", "$", "{\"a\":1}");
    stands(" 12 ", "$", "12");
    stands("12", "$.a", NULL);
    stands("[1]", "$.a", NULL);
    stands("{\"0\":1}", "$[0]", NULL);
    stands("{\"a.b\":1,\"a\":{\"b\":2}}", "$.\"a.b\"", "1");
    stands("{\"x\":1,\"\\u0061\\n\":2}", "$.a\n", "2");
    stands("{\"a\\\"b\":1,\"c\":2}", "$.c", "2");
    stands("{\"a\":1,\"a\":2}", "$.a", "1");
    stands("{}", "$.a", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths),
        cmocka_unit_test(prints_values),
        cmocka_unit_test(prints_strings),
        cmocka_unit_test(replaces_invalid_utf8),
        cmocka_unit_test(prints_numbers),
        cmocka_unit_test(doubles_round_trip),
        cmocka_unit_test(does_not_depend_on_the_locale),
        cmocka_unit_test(any_bytes_print_as_json),
        cmocka_unit_test(refuses),
        cmocka_unit_test(refuses_duplicates),
        cmocka_unit_test(accepts),
        cmocka_unit_test(bounds_the_depth),
        cmocka_unit_test(reads_rows),
        cmocka_unit_test(refuses_rows),
        cmocka_unit_test(times),
        cmocka_unit_test(times_agree_with_the_c_library),
        cmocka_unit_test(refuses_times),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
