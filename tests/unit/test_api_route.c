/* From method, path and query to an operation and its parameters. S0-36 */
#include "../test.h"

#include "api/operations.h"
#include "base/buffer.h"

static const struct api_operation *route(const char *method, const char *path,
                                         struct api_parameter parameters[4], size_t *count)
{
    static char copy[4096];
    bool other_method;

    (void)snprintf(copy, sizeof(copy), "%s", path);
    *count = 0;
    return api_route(method, copy, parameters, 4, count, &other_method);
}

static void expect(const char *method, const char *path, const char *name)
{
    struct api_parameter parameters[4];
    size_t count;
    const struct api_operation *operation = route(method, path, parameters, &count);

    if (name == NULL && operation != NULL)
        fail_msg("%s %s is %s, not nothing", method, path, operation->name);
    else if (name != NULL && (operation == NULL || strcmp(operation->name, name) != 0))
        fail_msg("%s %s is %s, not %s", method, path, operation == NULL ? "-" : operation->name,
                 name);
}

static void test_every_operation_is_found(void **state)
{
    (void)state;
    for (const struct api_operation *o = api_operations; o->name != NULL; o++) {
        expect(o->method, o->path, o->name); /* "{key}" is a fine key */
        assert_ptr_equal(api_find(o->name), o);
        assert_true(strcspn(o->path, "{") > API_SHARED);
    }
    assert_null(api_find("records.explode"));
}

static void test_values_are_decoded(void **state)
{
    struct api_parameter p[4];
    size_t count;

    (void)state;
    assert_non_null(route("GET", "/v1/records/docs/a%2Fb%20c+d%c3%a9", p, &count));
    assert_int_equal(count, 2);
    assert_string_equal(p[0].name, "domain");
    assert_string_equal(p[0].value, "docs");
    assert_string_equal(p[1].name, "key");
    assert_string_equal(p[1].value, "a/b c+d\xc3\xa9");
    assert_non_null(route("GET", "/v1/subscriptions/m%2E/events", p, &count));
    assert_string_equal(p[0].value, "m.");
    assert_non_null(route("GET", "/v1/records/docs/%2e%2e", p, &count));
    assert_string_equal(p[1].value, "..");
}

static void test_what_matches_nothing(void **state)
{
    static const char *const paths[] = {
        "",
        "/",
        "//",
        "/v1",
        "/v1/",
        "/v1/records",
        "/v1/records/",
        "/v1/records//key",
        "/v1/records/docs/",
        "/v1/records/docs/k/",
        "/v1/records/docs/k/more",
        "/v1/records/docs/..",
        "/v1/records/./k",
        "/v1/../v1/status",
        "/v1%2Fstatus",
        "/V1/status",
        "v1/status",
        "/v1/records/docs/%",
        "/v1/records/docs/%4",
        "/v1/records/docs/%zz",
        "/v1/records/docs/%00",
        "/v1/records/docs/a%00b",
        "/v1/records/docs/%ff",
        "/v1/records/docs/%c0%80",
        "/v1/records/docs/%ed%a0%80",
        "/v1/records/docs/%f4%90%80%80",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        expect("GET", paths[i], NULL);
}

static void test_other_methods(void **state)
{
    struct api_parameter p[4];
    char path[] = "/v1/records/docs/k", methods[64];
    size_t count;
    bool other;

    (void)state;
    assert_null(api_route("POST", path, p, 4, &count, &other));
    assert_true(other);
    assert_null(api_route("get", path, p, 4, &count, &other));
    assert_true(other);
    api_allowed(path, methods, sizeof(methods));
    assert_string_equal(methods, "GET, PUT, PATCH, DELETE");
    api_allowed("/nowhere", methods, sizeof(methods));
    assert_string_equal(methods, "");
    char nowhere[] = "/nowhere";

    assert_null(api_route("GET", nowhere, p, 4, &count, &other));
    assert_false(other);
}

static void test_words_win_over_parameters(void **state)
{
    (void)state;
    expect("GET", "/v1/log/export", "log.export");
    expect("GET", "/v1/subscribe", "subscriptions.follow");
    expect("POST", "/v1/streams/order-42", "events.append");
}

static enum poly_status query(const char *text, struct api_parameter *p, size_t max, size_t *count,
                              struct poly_error *err)
{
    static char copy[1024];

    (void)snprintf(copy, sizeof(copy), "%s", text);
    *count = 0;
    return api_query(copy, p, max, count, err);
}

static void test_queries(void **state)
{
    struct api_parameter p[4];
    struct poly_error err;
    size_t count;

    (void)state;
    assert_ok(query("a=1&b=x%20y+z&&c&d=%3D=&", p, 4, &count, &err));
    assert_int_equal(count, 4);
    assert_string_equal(p[0].value, "1");
    assert_string_equal(p[1].value, "x y z");
    assert_string_equal(p[2].name, "c");
    assert_string_equal(p[2].value, "");
    assert_string_equal(p[3].value, "==");
    assert_ok(query("", p, 4, &count, &err));
    assert_int_equal(count, 0);
    assert_fails(query("a=1&b=2&c=3", p, 2, &count, &err), POLY_LIMIT);
    assert_fails(query("a=%00", p, 4, &count, &err), POLY_INVALID);
    assert_fails(query("a=%", p, 4, &count, &err), POLY_INVALID);
    assert_fails(query("%ff=1", p, 4, &count, &err), POLY_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_operation_is_found),  cmocka_unit_test(test_values_are_decoded),
        cmocka_unit_test(test_what_matches_nothing),      cmocka_unit_test(test_other_methods),
        cmocka_unit_test(test_words_win_over_parameters), cmocka_unit_test(test_queries),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
