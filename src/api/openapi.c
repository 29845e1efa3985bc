/*
 * The table as an OpenAPI 3.0 document, precise enough that a tool which makes
 * requests from it is refused only for reasons that the document names.
 */
#include "api/handlers.h"

#include <ctype.h>
#include <inttypes.h>

#include "api/schemas.h"
#include "base/limits.h"

static void put(struct poly_buffer *out, const char *name, const char *text)
{
    api_put_text(out, name, poly_text(text));
}

static void put_raw(struct poly_buffer *out, const char *name, const char *json)
{
    api_name(out, name);
    poly_buffer_text(out, json);
}

static void open_object(struct poly_buffer *out, const char *name)
{
    if (name != NULL)
        api_name(out, name);
    poly_buffer_char(out, '{');
}

static void close_object(struct poly_buffer *out)
{
    poly_buffer_char(out, '}');
}

static void put_reference(struct poly_buffer *out, const char *kind, const char *name)
{
    api_name(out, "$ref");
    poly_buffer_printf(out, "\"#/components/%s/%s\"", kind, name);
}

/* --- schemas --- */

/* "a|b" as ["a","b"] */
static void put_choices(struct poly_buffer *out, const char *choices)
{
    const char *comma = "";

    api_name(out, "enum");
    poly_buffer_char(out, '[');
    while (*choices != '\0') {
        size_t size = strcspn(choices, "|");

        poly_buffer_text(out, comma);
        poly_json_string(out, choices, size);
        comma = ",";
        choices += size + (choices[size] == '|');
    }
    poly_buffer_char(out, ']');
}

static void put_bounds(struct poly_buffer *out, const struct api_field *field, const char *low,
                       const char *high)
{
    if (field->min == 0 && field->max == 0)
        return;
    api_name(out, low);
    poly_buffer_printf(out, "%" PRId64, field->min);
    api_name(out, high);
    poly_buffer_printf(out, "%" PRId64, field->max);
}

static void put_items(struct poly_buffer *out, const struct api_field *field)
{
    put(out, "type", "array");
    put_bounds(out, field, "minItems", "maxItems");
    open_object(out, "items");
    if (field->kind == API_LIST) {
        put_reference(out, "schemas", field->schema->name);
    } else if (field->kind == API_TEXTS) {
        put(out, "type", "string");
        if (field->choices != NULL)
            put_choices(out, field->choices);
        else
            put_raw(out, "pattern", "\"^[^,\\\\u0000]{1,128}$\"");
    } else {
        put_reference(out, "schemas", "Value");
    }
    close_object(out);
    if ((field->flags & API_REPEATED) != 0)
        api_put_integer(out, "maxItems", API_REPEATS_MAX);
}

static void put_expected(struct poly_buffer *out)
{
    put_raw(out, "oneOf",
            "[{\"type\":\"string\",\"enum\":[\"any\",\"none\"]},"
            "{\"type\":\"integer\",\"format\":\"int64\",\"minimum\":0,"
            "\"maximum\":9223372036854775807}]");
}

static void put_type(struct poly_buffer *out, const struct api_field *field)
{
    switch (field->kind) {
    case API_TEXT:
        put(out, "type", "string");
        put_bounds(out, field, "minLength", "maxLength");
        put_raw(out, "pattern", "\"^[^\\\\u0000]*$\"");
        break;
    case API_CHOICE:
        put(out, "type", "string");
        put_choices(out, field->choices);
        break;
    case API_TIME:
        put(out, "type", "string");
        put(out, "format", "date-time");
        break;
    case API_INTEGER:
        put(out, "type", "integer");
        put(out, "format", "int64");
        put_bounds(out, field, "minimum", "maximum");
        break;
    case API_NUMBER:
        put(out, "type", "number");
        break;
    case API_BOOLEAN:
        put(out, "type", "boolean");
        break;
    case API_EXPECTED:
        put_expected(out);
        break;
    case API_MAP:
        put(out, "type", "object");
        put_raw(out, "additionalProperties", "{\"$ref\":\"#/components/schemas/Value\"}");
        break;
    case API_LIST:
    case API_TEXTS:
    case API_VALUES:
        put_items(out, field);
        break;
    case API_FLOATS:
        put(out, "type", "array");
        put_bounds(out, field, "minItems", "maxItems");
        put_raw(out, "items", "{\"type\":\"number\",\"format\":\"float\"}");
        break;
    case API_OBJECT: /* these two are references, and a reference stands alone */
    case API_VALUE:
        break;
    }
}

static void print_field(struct poly_buffer *out, const struct api_field *field)
{
    open_object(out, NULL);
    if (field->kind == API_OBJECT || field->kind == API_VALUE) {
        put_reference(out, "schemas", field->kind == API_VALUE ? "Value" : field->schema->name);
        close_object(out);
        return;
    }
    put_type(out, field);
    if (field->meaning != NULL)
        put(out, "description", field->meaning);
    if (field->fallback != NULL)
        put_raw(out, "default", field->fallback);
    if (field->example != NULL)
        put_raw(out, "example", field->example);
    close_object(out);
}

static void put_required(struct poly_buffer *out, const struct api_schema *schema)
{
    const char *comma = "";
    bool any = false;

    for (const struct api_field *f = schema->fields; f->name != NULL; f++)
        any = any || (f->flags & API_REQUIRED) != 0;
    if (!any)
        return;
    api_name(out, "required");
    poly_buffer_char(out, '[');
    for (const struct api_field *f = schema->fields; f->name != NULL; f++) {
        if ((f->flags & API_REQUIRED) == 0)
            continue;
        poly_buffer_printf(out, "%s\"%s\"", comma, f->name);
        comma = ",";
    }
    poly_buffer_char(out, ']');
}

static void put_variants(struct poly_buffer *out, const struct api_schema *schema)
{
    const char *comma = "";

    api_name(out, "oneOf");
    poly_buffer_char(out, '[');
    for (const struct api_schema *const *v = schema->variants; *v != NULL; v++) {
        poly_buffer_printf(out, "%s{\"$ref\":\"#/components/schemas/%s\"}", comma, (*v)->name);
        comma = ",";
    }
    poly_buffer_char(out, ']');
    open_object(out, "discriminator");
    put(out, "propertyName", schema->variants[0]->fields[0].name);
    open_object(out, "mapping");
    for (const struct api_schema *const *v = schema->variants; *v != NULL; v++) {
        api_name(out, (*v)->fields[0].choices);
        poly_buffer_printf(out, "\"#/components/schemas/%s\"", (*v)->name);
    }
    close_object(out);
    close_object(out);
}

static void put_members(struct poly_buffer *out, const struct api_schema *schema)
{
    put(out, "type", "object");
    if (schema->fields != NULL) {
        open_object(out, "properties");
        for (const struct api_field *f = schema->fields; f->name != NULL; f++) {
            api_name(out, f->name);
            print_field(out, f);
        }
        close_object(out);
        put_required(out, schema);
    }
    put_raw(out, "additionalProperties",
            !schema->open            ? "false"
            : schema->fields == NULL ? "{\"$ref\":\"#/components/schemas/Value\"}"
                                     : "true");
}

static void put_schemas(struct poly_buffer *out)
{
    open_object(out, "schemas");
    put_raw(out, "Value",
            "{\"nullable\":true,\"description\":\"Any JSON value. Bytes are {\\\"$bytes\\\": "
            "\\\"<hex>\\\"}, infinities {\\\"$float\\\": \\\"Infinity\\\"}; times are RFC 3339 "
            "text, UUIDs text.\"}");
    for (const struct api_schema *const *s = api_schemas; *s != NULL; s++) {
        open_object(out, (*s)->name);
        put(out, "description", (*s)->meaning);
        if ((*s)->variants != NULL)
            put_variants(out, *s);
        else
            put_members(out, *s);
        if ((*s)->example != NULL)
            put_raw(out, "example", (*s)->example);
        close_object(out);
    }
    close_object(out);
}

/* --- parameters --- */

static void print_parameter(struct poly_buffer *out, const struct api_field *field)
{
    bool in_path = (field->flags & API_IN_PATH) != 0;

    open_object(out, NULL);
    put(out, "name", field->name);
    put(out, "in", in_path ? "path" : "query");
    api_put_bool(out, "required", in_path || (field->flags & API_REQUIRED) != 0);
    put(out, "description", field->meaning);
    if ((field->flags & API_AS_JSON) != 0) {
        open_object(out, "content");
        open_object(out, "application/json");
    }
    api_name(out, "schema");
    print_field(out, field);
    if ((field->flags & API_AS_JSON) != 0) {
        close_object(out);
        close_object(out);
    }
    close_object(out);
}

/* Headers, each with the flag of the operations that take it. */
static const struct {
    unsigned flag;
    const char *name; /* in components/parameters */
    const char *json;
} headers[] = {
    {API_READS, "Token",
     "{\"name\":\"" API_HEADER_TOKEN "\",\"in\":\"header\",\"description\":\"from a write: see at "
     "least that\",\"schema\":{\"type\":\"string\"}}"},
    {API_READS, "Consistency",
     "{\"name\":\"" API_HEADER_CONSISTENCY "\",\"in\":\"header\",\"description\":\"when the store "
     "has not applied the token: wait until the deadline, fail at once, or take what is there\","
     "\"schema\":{\"type\":\"string\",\"enum\":[\"wait\",\"fail\",\"stale\"],"
     "\"default\":\"wait\"}}"},
    {API_IDEMPOTENT, "IdempotencyKey",
     "{\"name\":\"Idempotency-Key\",\"in\":\"header\",\"description\":\"the first answer is given "
     "again to the same request\",\"schema\":{\"type\":\"string\",\"minLength\":1,"
     "\"maxLength\":1024}}"},
    {API_CONDITIONAL, "IfMatch",
     "{\"name\":\"If-Match\",\"in\":\"header\",\"description\":\"ETag that the record must have\","
     "\"schema\":{\"type\":\"string\"}}"},
    {API_CONDITIONAL, "IfNoneMatch",
     "{\"name\":\"If-None-Match\",\"in\":\"header\",\"description\":\"put: * only if there is no "
     "such record; get: 304 when it still has this ETag\",\"schema\":{\"type\":\"string\"}}"},
};
enum { HEADERS = sizeof(headers) / sizeof(headers[0]) };

static void put_parameters(struct poly_buffer *out, const struct api_operation *operation)
{
    const char *comma = "";

    api_name(out, "parameters");
    poly_buffer_char(out, '[');
    for (const struct api_field *f = operation->parameters; f != NULL && f->name != NULL; f++) {
        if ((f->flags & API_LOCAL) != 0)
            continue;
        poly_buffer_text(out, comma);
        print_parameter(out, f);
        comma = ",";
    }
    for (size_t i = 0; i < HEADERS; i++) {
        if ((operation->flags & headers[i].flag) == 0)
            continue;
        poly_buffer_printf(out, "%s{\"$ref\":\"#/components/parameters/%s\"}", comma,
                           headers[i].name);
        comma = ",";
    }
    poly_buffer_char(out, ']');
}

/* --- answers --- */

/* What anything may answer. 401, 408, 413, 414 and 431 are the server's own. */
#define ALWAYS                                                                                     \
    (1U << POLY_INVALID | 1U << POLY_LIMIT | 1U << POLY_TIMEOUT | 1U << POLY_UNAVAILABLE |         \
     1U << POLY_NO_MEMORY | 1U << POLY_INTERNAL | 1U << POLY_UNSUPPORTED)

static void put_problems(struct poly_buffer *out, const struct api_operation *operation)
{
    unsigned errors = operation->errors | ALWAYS;

    if ((operation->flags & API_OPEN) == 0) {
        errors |= 1U << POLY_DENIED;
        put_raw(out, "401", "{\"$ref\":\"#/components/responses/Problem\"}");
    }
    for (int status = POLY_OK + 1; status < POLY_STATUS_COUNT; status++) {
        char http[12];

        /* CORRUPT and INTERNAL are both 500. */
        if ((errors & 1U << status) == 0 || status == POLY_CORRUPT)
            continue;
        if (operation->run == api_ready && status == POLY_UNAVAILABLE)
            continue;
        (void)snprintf(http, sizeof(http), "%d", poly_status_http((enum poly_status)status));
        put_raw(out, http, "{\"$ref\":\"#/components/responses/Problem\"}");
    }
    put_raw(out, "default", "{\"$ref\":\"#/components/responses/Problem\"}");
}

static void put_content(struct poly_buffer *out, const char *type, const struct api_schema *schema)
{
    open_object(out, type);
    open_object(out, "schema");
    if (schema == NULL)
        put(out, "type", strcmp(type, "application/json") == 0 ? "object" : "string");
    else
        put_reference(out, "schemas", schema->name);
    close_object(out);
    close_object(out);
}

static bool has_parameter(const struct api_operation *operation, const char *name)
{
    for (const struct api_field *f = operation->parameters; f != NULL && f->name != NULL; f++)
        if (strcmp(f->name, name) == 0)
            return true;
    return false;
}

static void put_answer_headers(struct poly_buffer *out, const struct api_operation *operation)
{
    static const char text[] = "{\"schema\":{\"type\":\"string\"}}";

    if ((operation->flags & (API_STAGED | API_READS | API_CONDITIONAL)) == 0)
        return;
    open_object(out, "headers");
    if ((operation->flags & API_STAGED) != 0)
        put_raw(out, API_HEADER_TOKEN, text);
    if ((operation->flags & API_CONDITIONAL) != 0)
        put_raw(out, "ETag", text);
    if ((operation->flags & API_READS) != 0) {
        put_raw(out, API_HEADER_APPLIED, "{\"schema\":{\"type\":\"integer\"}}");
        put_raw(out, API_HEADER_STALE, text);
    }
    close_object(out);
}

static void put_success(struct poly_buffer *out, const struct api_operation *operation)
{
    const char *type = operation->answer_type == NULL ? "application/json" : operation->answer_type;
    bool lines = strcmp(type, "application/json") != 0;
    char http[12];

    (void)snprintf(http, sizeof(http), "%d", operation->success);
    open_object(out, http);
    put(out, "description", operation->summary);
    put_answer_headers(out, operation);
    if (operation->success != 204) {
        open_object(out, "content");
        /* A schema describes one line or event; the whole of them is text. */
        put_content(out, type, lines ? NULL : operation->answer);
        if (has_parameter(operation, "format") || has_parameter(operation, "progress"))
            put_content(out, "application/x-ndjson", NULL);
        close_object(out);
    }
    close_object(out);
    if (operation->run == api_record_get)
        put_raw(out, "304", "{\"description\":\"It still has this ETag\"}");
    if (operation->run == api_projection_rebuild)
        put_raw(out, "202", "{\"description\":\"It goes on in the background\"}");
    if (operation->run == api_ready)
        put_raw(out, "503",
                "{\"description\":\"Not ready\",\"content\":{\"application/json\":{\"schema\":"
                "{\"$ref\":\"#/components/schemas/Ready\"}},\"application/problem+json\":"
                "{\"schema\":{\"$ref\":\"#/components/schemas/Problem\"}}}}");
}

/* --- operations --- */

static void put_body(struct poly_buffer *out, const struct api_operation *operation)
{
    bool lines = (operation->flags & API_LINES) != 0;

    if (operation->body == NULL)
        return;
    open_object(out, "requestBody");
    api_put_bool(out, "required", !lines);
    if (lines)
        api_name(out, "description"),
            poly_buffer_printf(out, "\"JSON lines, each of %s\"", operation->body->name);
    open_object(out, "content");
    put_content(out, lines ? "application/x-ndjson" : "application/json",
                lines ? NULL : operation->body);
    close_object(out);
    close_object(out);
}

static void put_operation(struct poly_buffer *out, const struct api_operation *operation)
{
    char method[8] = "", tag[32] = "";

    for (size_t i = 0; operation->method[i] != '\0' && i < sizeof(method) - 1; i++)
        method[i] = (char)tolower((unsigned char)operation->method[i]);
    memcpy(tag, operation->name, strcspn(operation->name, "."));
    open_object(out, method);
    put(out, "operationId", operation->name);
    api_name(out, "tags");
    poly_buffer_printf(out, "[\"%s\"]", tag);
    put(out, "summary", operation->summary);
    put(out, "description", operation->description);
    if ((operation->flags & API_OPEN) != 0)
        put_raw(out, "security", "[]");
    api_put_rights(out, "x-rights", operation->rights);
    put_parameters(out, operation);
    put_body(out, operation);
    open_object(out, "responses");
    put_success(out, operation);
    put_problems(out, operation);
    close_object(out);
    close_object(out);
}

static bool seen_before(const struct api_operation *operation)
{
    for (const struct api_operation *o = api_operations; o != operation; o++)
        if (strcmp(o->path, operation->path) == 0)
            return true;
    return false;
}

static void put_paths(struct poly_buffer *out)
{
    open_object(out, "paths");
    for (const struct api_operation *o = api_operations; o->name != NULL; o++) {
        if (seen_before(o))
            continue;
        open_object(out, o->path);
        for (const struct api_operation *same = o; same->name != NULL; same++)
            if (strcmp(same->path, o->path) == 0)
                put_operation(out, same);
        close_object(out);
    }
    close_object(out);
}

static void put_components(struct poly_buffer *out)
{
    open_object(out, "components");
    put_raw(out, "securitySchemes",
            "{\"bearer\":{\"type\":\"http\",\"scheme\":\"bearer\",\"description\":\"an API key: "
            "pk_<id>_<secret>\"}}");
    put_raw(out, "responses",
            "{\"Problem\":{\"description\":\"It did not work: see status and detail\","
            "\"content\":{\"application/problem+json\":{\"schema\":"
            "{\"$ref\":\"#/components/schemas/Problem\"}}}}}");
    open_object(out, "parameters");
    for (size_t i = 0; i < HEADERS; i++)
        put_raw(out, headers[i].name, headers[i].json);
    close_object(out);
    put_schemas(out);
    close_object(out);
}

void api_openapi(struct poly_buffer *out, const char *server)
{
    open_object(out, NULL);
    put(out, "openapi", "3.0.3");
    open_object(out, "info");
    put(out, "title", "Polystore");
    put(out, "description", "One data layer over one log: records, events, search.");
    put(out, "version", poly_version());
    put_raw(out, "license", "{\"name\":\"Apache-2.0\"}");
    close_object(out);
    api_name(out, "servers");
    poly_buffer_char(out, '[');
    open_object(out, NULL);
    put(out, "url", server == NULL ? "/" : server);
    close_object(out);
    poly_buffer_char(out, ']');
    put_raw(out, "security", "[{\"bearer\":[]}]");
    put_paths(out);
    put_components(out);
    close_object(out);
    poly_buffer_char(out, '\n');
}
