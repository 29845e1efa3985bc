/* Conditions as JSON: what they mean, printed back, and where they say that something is wrong. */
#include "test.h"

#include "base/limits.h"
#include "memory.h"
#include "followers/where.h"

static struct poly_arena *arena;
static struct poly_error err;

static int setup(void **state)
{
    (void)state;
    arena = poly_arena_new(16 * 1024 * 1024);
    return arena == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    poly_arena_free(arena);
    return 0;
}

/* And what is printed means the same. */
static void means(const char *json, const char *printed)
{
    const struct poly_where *where = NULL;
    struct poly_buffer out;

    poly_arena_reset(arena);
    for (int i = 0; i < 2; i++) {
        poly_buffer_init(&out, 100000);
        assert_ok(poly_where_read(poly_text(i == 0 ? json : printed), arena, &where, &err));
        poly_where_print(where, &out);
        assert_true(poly_buffer_ok(&out));
        assert_string_equal(out.data, printed);
        poly_buffer_release(&out);
    }
}

static void wrong(const char *json, int position, const char *message)
{
    const struct poly_where *where = NULL;

    poly_arena_reset(arena);
    assert_fails(poly_where_read(poly_text(json), arena, &where, &err), POLY_INVALID);
    assert_string_equal(err.message, message);
    assert_int_equal(err.position, position);
    assert_null(where);
}

/* S3-44 */
static void comparisons(void **state)
{
    (void)state;
    means("{\"status\":\"open\"}", "{\"status\": {\"=\": \"open\"}}");
    means(" { \"a\" : 1 } ", "{\"a\": {\"=\": 1}}");
    means("{\"a\":-2.5e3}", "{\"a\": {\"=\": -2500.0}}");
    means("{\"a\":true}", "{\"a\": {\"=\": true}}");
    means("{\"a\":{\"=\":false}}", "{\"a\": {\"=\": false}}");
    means("{\"a\":{\"<>\":\"x\"}}", "{\"a\": {\"<>\": \"x\"}}");
    means("{\"a\":{\">=\":3}}", "{\"a\": {\">=\": 3}}");
    means("{\"a\":{\"in\":[1, \"b\" ,2.5]}}", "{\"a\": {\"in\": [1, \"b\", 2.5]}}");
    means("{\"a\":{\"prefix\":\"a\\u00e9\\\"\"}}", "{\"a\": {\"prefix\": \"a\xc3\xa9\\\"\"}}");
    means("{\"a\":{\"null\":true}}", "{\"a\": {\"null\": true}}");
    means("{\"a\":{\"null\":false}}", "{\"a\": {\"null\": false}}");
    means("{\"a\":{\"$bytes\":\"00ff\"}}", "{\"a\": {\"=\": {\"$bytes\":\"00ff\"}}}");
    means("{\"a\":{\"<\":{\"$float\":\"Infinity\"}}}",
          "{\"a\": {\"<\": {\"$float\":\"Infinity\"}}}");
    means("{\"a b\":{\"=\":\"\"}}", "{\"a b\": {\"=\": \"\"}}");
}

static void together(void **state)
{
    (void)state;
    means("{}", "{\"and\": []}");
    means("{\"or\":[]}", "{\"or\": []}");
    means("{\"a\":1,\"b\":2}", "{\"and\": [{\"a\": {\"=\": 1}}, {\"b\": {\"=\": 2}}]}");
    means("{\"a\":{\">=\":3,\"<\":9}}", "{\"and\": [{\"a\": {\">=\": 3}}, {\"a\": {\"<\": 9}}]}");
    means("{\"and\":[{\"a\":1}]}", "{\"and\": [{\"a\": {\"=\": 1}}]}");
    means("{\"or\" : [ {\"a\":1} , {\"not\":{\"b\":2}} ] }",
          "{\"or\": [{\"a\": {\"=\": 1}}, {\"not\": {\"b\": {\"=\": 2}}}]}");
    means("{\"a\":1,\"or\":[{\"b\":1,\"c\":1},{}]}",
          "{\"and\": [{\"a\": {\"=\": 1}}, {\"or\": [{\"and\": [{\"b\": {\"=\": 1}}, {\"c\": "
          "{\"=\": 1}}]}, {\"and\": []}]}]}");
    means("{\"not\":{\"a\":1,\"b\":{\"null\":true}}}",
          "{\"not\": {\"and\": [{\"a\": {\"=\": 1}}, {\"b\": {\"null\": true}}]}}");
}

static void names(void **state)
{
    const struct poly_where *where;

    (void)state;
    means("{\"meta.$.a.b\":1}", "{\"meta.$.a.b\": {\"=\": 1}}");
    means("{\"meta.$\":1}", "{\"meta.$\": {\"=\": 1}}");
    means("{\"a.b.$.\\\"c d\\\"[0]\":1}", "{\"a.b.$.\\\"c d\\\"[0]\": {\"=\": 1}}");
    means("{\"field\":{\"and\":1}}", "{\"field\": {\"and\": {\"=\": 1}}}");
    means("{\"field\":{\"field\":{\"<\":1}}}", "{\"field\": {\"field\": {\"<\": 1}}}");
    means("{\"field\":{\"a.$b\":1,\"c\":2}}",
          "{\"and\": [{\"field\": {\"a.$b\": {\"=\": 1}}}, {\"c\": {\"=\": 2}}]}");
    means("{\"and.$.x\":1}", "{\"and.$.x\": {\"=\": 1}}");
    assert_ok(poly_where_read(poly_text("{\"m\\u0065ta.$.a\":1}"), arena, &where, &err));
    assert_string_equal(where->compare->column, "meta");
    assert_string_equal(where->compare->path, "$.a");
    assert_ok(poly_where_read(poly_text("{\"field\":{\"a.$.b\":1}}"), arena, &where, &err));
    assert_string_equal(where->compare->column, "a.$.b");
    assert_null(where->compare->path);
}

static void mistakes(void **state)
{
    (void)state;
    wrong("", 0, "condition: JSON, line 1, column 1: the text is empty");
    wrong("{\"a\":}", 5, "condition: JSON, line 1, column 6: a value is expected here");
    wrong(" []", 1, "condition: no object at 1; a condition is one, like {\"status\": \"open\"}");
    wrong("{\"a\":null}", 5, "condition: null equals nothing at 5; write {\"null\": true}");
    wrong("{\"a\":[1]}", 5, "condition: a list is no value at 5; write {\"in\": […]}");
    wrong("{\"a\":{}}", 5, "condition: an object without an operator at 5; write {\"=\": …}");
    wrong("{\"a\": {\"=>\": 1}}", 7,
          "condition: '=>' at 7 is no operator; one of = <> < <= > >= in prefix null is");
    wrong("{\"a\":{\"in\":1}}", 11, "condition: 'in' takes a list at 11");
    wrong("{\"a\":{\"in\":[]}}", 11, "condition: 'in' of an empty list at 11");
    wrong("{\"a\":{\"in\":[1,null]}}", 14,
          "condition: null equals nothing at 14; write {\"null\": true}");
    wrong("{\"a\":{\"prefix\":1}}", 15, "condition: a prefix is text at 15");
    wrong("{\"a\":{\"null\":1}}", 13, "condition: 'null' takes true or false at 13");
    wrong("{\"a\":{\"=\":{\"b\":1}}}", 10,
          "condition: this object is no value at 10; a value is text, a number, true, false, "
          "{\"$bytes\": \"…\"} or {\"$float\": \"Infinity\"}");
    wrong("{\"a\":{\"$bytes\":\"0\"}}", 5,
          "condition: this object is no value at 5; a value is text, a number, true, false, "
          "{\"$bytes\": \"…\"} or {\"$float\": \"Infinity\"}");
    wrong("{\"and\":{}}", 7,
          "condition: 'and' and 'or' take a list of conditions at 7; a field of that name is "
          "written {\"field\": {…}}");
    wrong("{\"or\":[1]}", 7,
          "condition: no object at 7; a condition is one, like {\"status\": \"open\"}");
    wrong("{\"not\":\"x\"}", 7,
          "condition: no object at 7; a condition is one, like {\"status\": \"open\"}");
    wrong("{\"field\":1}", 9,
          "condition: 'field' takes an object at 9; a field of that name is written {\"field\": "
          "{\"field\": …}}");
    wrong("{\"a.$b\":1}", 1,
          "condition: '$b' at 1 is no JSON path, '$.a.b' is; a column of such a name is written "
          "{\"field\": {…}}");
    wrong("{\"\":1}", 1, "condition: an empty name at 1");
    wrong("{\"a\":1} x", 8, "condition: JSON, line 1, column 9: there is more after the value");
}

/* Of so many; objects with nothing between are inside each other. */
static enum poly_status repeated(const char *before, const char *what, int count,
                                 const char *between, const char *after)
{
    const struct poly_where *where;
    struct poly_buffer json;
    enum poly_status status;

    poly_arena_reset(arena);
    poly_buffer_init(&json, 4 * 1024 * 1024);
    poly_buffer_text(&json, before);
    for (int i = 0; i < count; i++) {
        poly_buffer_text(&json, i == 0 ? "" : between);
        poly_buffer_text(&json, what);
    }
    poly_buffer_text(&json, after);
    for (int i = 0; i < count && what[0] == '{' && between[0] == '\0'; i++)
        poly_buffer_char(&json, '}');
    assert_true(poly_buffer_ok(&json));
    status = poly_where_read((struct poly_text){json.data, json.size}, arena, &where, &err);
    assert_true(status == POLY_OK || (err.position > 0 && (size_t)err.position <= json.size));
    poly_buffer_release(&json);
    return status;
}

static void limits(void **state)
{
    (void)state;
    assert_ok(repeated("{\"or\":[", "{\"a\":1}", POLY_MAX_FILTERS, ",", "]}"));
    assert_fails(repeated("{\"or\":[", "{\"a\":1}", POLY_MAX_FILTERS + 1, ",", "]}"), POLY_INVALID);
    assert_message("together");
    assert_fails(
        repeated("{\"or\":[", "{\"a\":{\"<\":1,\">\":2}}", POLY_MAX_FILTERS / 2 + 1, ",", "]}"),
        POLY_INVALID);
    assert_message("more than 32 comparisons");
    assert_fails(repeated("{", "\"a\":1", POLY_MAX_FILTERS + 1, ",", "}"), POLY_INVALID);
    assert_ok(repeated("{\"a\":{\"in\":[", "1", POLY_MAX_IN, ",", "]}}"));
    assert_fails(repeated("{\"a\":{\"in\":[", "1", POLY_MAX_IN + 1, ",", "]}}"), POLY_INVALID);
    assert_message("1000 values");
    assert_ok(repeated("", "{\"not\":", POLY_MAX_QUERY_DEPTH, "", "{\"a\":1}"));
    assert_fails(repeated("", "{\"not\":", POLY_MAX_QUERY_DEPTH + 1, "", "{\"a\":1}"),
                 POLY_INVALID);
    assert_message("more than 16 levels");
    assert_fails(repeated("{\"and\":[", "{\"or\":[{},{},{},{},{},{}]}", 20, ",", "]}"),
                 POLY_INVALID);
    assert_message("more than 128 parts");
    assert_fails(repeated("{\"a\":\"", "0123456789abcdef", POLY_MAX_WHERE / 16, "", "\"}"),
                 POLY_INVALID);
    assert_message("longer than");
}

static void out_of_memory(void **state)
{
    static const char json[] =
        "{\"a\":{\"in\":[1.5,\"x\\n\",{\"$bytes\":\"00\"}]},\"not\":{\"or\":[{\"b.$.c\":1}]}}";
    struct memory_walk walk = {0};

    (void)state;
    while (memory_next(&walk)) {
        const struct poly_where *where;
        struct poly_arena *own = poly_arena_new(1 << 20);
        enum poly_status status = POLY_NO_MEMORY;

        if (own != NULL)
            status = poly_where_read(poly_text(json), own, &where, &err);
        assert_int_equal(status, memory_failed() ? POLY_NO_MEMORY : POLY_OK);
        poly_arena_free(own);
    }
    for (size_t room = 0; room < 4096; room += 16) { /* an arena that is full */
        struct poly_arena *own = poly_arena_new(room);
        const struct poly_where *where = NULL;
        enum poly_status status;

        assert_non_null(own);
        status = poly_where_read(poly_text(json), own, &where, &err);
        assert_true(status == (where == NULL ? POLY_NO_MEMORY : POLY_OK));
        poly_arena_free(own);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comparisons), cmocka_unit_test(together), cmocka_unit_test(names),
        cmocka_unit_test(mistakes),    cmocka_unit_test(limits),   cmocka_unit_test(out_of_memory),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
