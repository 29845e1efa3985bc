/* What is printed from the table: OpenAPI, problem documents, docs/http.md. */
#include "../test.h"

#include <ctype.h>
#include <jansson.h>

#include "api/operations.h"
#include "api/schemas.h"
#include "base/buffer.h"
#include "base/status.h"

static json_t *document(void)
{
    struct poly_buffer out;
    json_error_t error;

    poly_buffer_init(&out, 16 * 1024 * 1024);
    api_openapi(&out, "https://example.org");
    assert_true(poly_buffer_ok(&out));

    json_t *json = json_loadb(out.data, out.size, JSON_REJECT_DUPLICATES, &error);

    if (json == NULL)
        fail_msg("%s at %d: %.80s", error.text, error.position, out.data + error.position);
    poly_buffer_release(&out);
    return json;
}

/* "#/components/schemas/Row" leads somewhere. */
static void check_reference(const json_t *root, const char *reference)
{
    char part[64];
    const char *at = reference;

    assert_int_equal(strncmp(at, "#/", 2), 0);
    at += 2;
    while (root != NULL && *at != '\0') {
        size_t size = strcspn(at, "/");

        (void)snprintf(part, sizeof(part), "%.*s", (int)size, at);
        root = json_object_get(root, part);
        at += size + (at[size] == '/');
    }
    if (root == NULL)
        fail_msg("%s leads nowhere", reference);
}

static void check_references(const json_t *root, json_t *json)
{
    const char *name;
    json_t *member;
    size_t i;

    if (json_is_string(json_object_get(json, "$ref")))
        check_reference(root, json_string_value(json_object_get(json, "$ref")));
    json_object_foreach(json, name, member) check_references(root, member);
    json_array_foreach(json, i, member) check_references(root, member);
}

static void check_operation(const json_t *paths, const struct api_operation *operation)
{
    char method[8] = "", status[8];

    for (size_t i = 0; operation->method[i] != '\0'; i++)
        method[i] = (char)tolower((unsigned char)operation->method[i]);

    const json_t *entry = json_object_get(json_object_get(paths, operation->path), method);

    assert_string_equal(json_string_value(json_object_get(entry, "operationId")), operation->name);
    (void)snprintf(status, sizeof(status), "%d", operation->success);
    assert_non_null(json_object_get(json_object_get(entry, "responses"), status));
    assert_non_null(json_object_get(json_object_get(entry, "responses"), "400"));
    assert_int_equal(json_object_get(entry, "requestBody") != NULL, operation->body != NULL);
    for (int s = POLY_OK + 1; s < POLY_STATUS_COUNT; s++) {
        (void)snprintf(status, sizeof(status), "%d", poly_status_http((enum poly_status)s));
        if ((operation->errors & 1U << s) != 0)
            assert_non_null(json_object_get(json_object_get(entry, "responses"), status));
    }
}

static void test_openapi(void **state)
{
    json_t *json = document();
    size_t count = 0;
    const char *path;
    json_t *methods;

    (void)state;
    check_references(json, json);
    for (const struct api_operation *o = api_operations; o->name != NULL; o++, count++)
        check_operation(json_object_get(json, "paths"), o);
    json_object_foreach(json_object_get(json, "paths"), path, methods) count -=
        json_object_size(methods);
    assert_int_equal(count, 0);
    json_decref(json);
}

/* An operation is either staged or run, and what is in a path is in its parameters. */
static void test_table(void **state)
{
    (void)state;
    for (const struct api_operation *o = api_operations; o->name != NULL; o++) {
        size_t in_path = 0, braces = 0;

        assert_int_equal((o->flags & API_STAGED) != 0, o->stage != NULL);
        assert_int_equal(o->stage == NULL, o->run != NULL);
        assert_non_null(o->summary);
        assert_non_null(o->description);
        assert_int_equal(o->rights == 0, (o->flags & API_OPEN) != 0);
        assert_int_equal(
            o->answer_type != NULL && strcmp(o->answer_type, "text/event-stream") == 0,
            (o->flags & API_EVENTS) != 0);
        for (const struct api_field *f = o->parameters; f != NULL && f->name != NULL; f++) {
            assert_non_null(f->meaning);
            in_path += (f->flags & API_IN_PATH) != 0;
        }
        for (const char *c = o->path; *c != '\0'; c++)
            braces += *c == '{';
        assert_int_equal(in_path, braces);
    }
}

static void test_schemas(void **state)
{
    static const char *const names[] = {
#define NAME(symbol, name) name,
        API_SCHEMAS(NAME)
#undef NAME
    };

    (void)state;
    for (size_t i = 0; api_schemas[i] != NULL; i++) {
        assert_string_equal(api_schemas[i]->name, names[i]);
        assert_non_null(api_schemas[i]->meaning);
        if (api_schemas[i]->example != NULL) {
            json_t *json = json_loads(api_schemas[i]->example, 0, NULL);

            assert_non_null(json);
            json_decref(json);
        }
    }
}

static void test_problems_escape(void **state)
{
    struct poly_error err;
    struct poly_buffer out;

    (void)state;
    poly_buffer_init(&out, 65536);
    (void)poly_fail_at(&err, POLY_NOT_FOUND, 7, "no \"\\\n\x01\xff '%s'", "</script>");
    api_problem(&out, &err, "/v1/a\"b");

    json_t *json = json_loadb(out.data, out.size, 0, NULL);

    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "type")),
                        "urn:polystore:error:not-found");
    assert_int_equal(json_integer_value(json_object_get(json, "status")), 404);
    assert_int_equal(json_integer_value(json_object_get(json, "position")), 7);
    assert_string_equal(json_string_value(json_object_get(json, "detail")),
                        "no \"\\\n\x01\xef\xbf\xbd '</script>'");
    assert_string_equal(json_string_value(json_object_get(json, "instance")), "/v1/a\"b");
    json_decref(json);
    poly_buffer_clear(&out);
    api_problem_http(&out, 405, "method-not-allowed", "only GET", NULL);
    json = json_loadb(out.data, out.size, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(json, "status")), 405);
    json_decref(json);
    poly_buffer_release(&out);
}

static void test_reference(void **state)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    (void)state;
    api_print_reference(out);
    fclose(out);
    for (const struct api_operation *o = api_operations; o->name != NULL; o++)
        assert_non_null(strstr(text, o->path));
    for (size_t i = 0; api_schemas[i] != NULL; i++)
        assert_non_null(strstr(text, api_schemas[i]->meaning + 1));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_openapi),   cmocka_unit_test(test_table),
        cmocka_unit_test(test_schemas),   cmocka_unit_test(test_problems_escape),
        cmocka_unit_test(test_reference),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
