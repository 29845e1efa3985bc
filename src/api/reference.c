/* The table as docs/http.md. */
#include "api/handlers.h"

#include <ctype.h>
#include <inttypes.h>

#include "api/schemas.h"

static const char introduction[] =
    "# HTTP\n"
    "\n"
    "<!-- Printed from src/api/operations.c: do not edit. build/docs/print http > docs/http.md "
    "-->\n"
    "\n"
    "The daemon speaks HTTP/1.1 with JSON. This page and `/openapi.json` are printed from the\n"
    "table that serves the requests.\n"
    "\n"
    "## What holds everywhere\n"
    "\n"
    "**Who asks.** `Authorization: Bearer pk_…` with an API key (`polystore key create`). A key\n"
    "belongs to one tenant or to none and has some of the rights read, write, sql, admin; admin\n"
    "has all. An administrator's key without tenant may name one in `" API_HEADER_TENANT "`.\n"
    "`/live`, `/ready` and `/openapi.json` need no key.\n"
    "\n"
    "**Reading your own writes.** A write answers with a token, in the body and in\n"
    "`" API_HEADER_TOKEN "`. Send it with a read, and the read sees at least that write, in\n"
    "whichever store it asks. `" API_HEADER_CONSISTENCY "` says what happens when the store is\n"
    "not that far: `wait` (default) until the deadline, then 504; `fail` at once with 503;\n"
    "`stale` takes what is there, and the answer says `" API_HEADER_STALE ": true`.\n"
    "`" API_HEADER_APPLIED "` is the position that an answer stands on.\n"
    "\n"
    "**Sending twice.** With `Idempotency-Key` the first result of a write is kept (24 h unless\n"
    "configured otherwise) and given again, with `\"replayed\": true`. The same key with another\n"
    "body is an error.\n"
    "\n"
    "**Versions.** The ETag of a record is its version: the position of its last change in the\n"
    "log. `If-Match: \"17\"` writes only if it is still that one, `If-None-Match: *` only if\n"
    "there is none; otherwise 412, and nothing has happened.\n"
    "\n"
    "**Values.** Integers are exact over all 64 bits. Bytes are `{\"$bytes\": \"<hex>\"}`, an\n"
    "infinity is `{\"$float\": \"Infinity\"}`, times are RFC 3339 text in UTC, UUIDs are text.\n"
    "Unknown parameters and unknown members of a body are refused by name. A slash inside a key\n"
    "is sent as `%2F`.\n"
    "\n"
    "**Errors** are problem documents (RFC 9457, `application/problem+json`):\n"
    "\n"
    "```json\n"
    "{\"type\":\"urn:polystore:error:not-found\",\"title\":\"there is no such thing, or it is not "
    "yours\",\n"
    " \"status\":404,\"detail\":\"record 'documents/42' does not exist\",\"instance\":"
    "\"/v1/records/documents/42\"}\n"
    "```\n"
    "\n"
    "`position` is there when the error is at a place in a text that was sent, such as a query.\n"
    "`outcome` is `unknown` when a write may have taken effect, and is not there otherwise.\n"
    "\n";

static const char more[] =
    "\n"
    "Also: 401 no key or a wrong one; 405 another method; 408, 413, 414, 431 limits.\n"
    "\n"
    "**Long answers** come in pieces and are never held whole. One that goes wrong after its\n"
    "first 16 KiB cannot change its status any more: JSON lines then end with a line\n"
    "`{\"error\": <problem>}`, a JSON object with a member `error`, server-sent events with an\n"
    "event named `error`. Look for it.\n"
    "\n"
    "**Transactions** over HTTP are batches: one request, any number of operations, preconditions\n"
    "by `check`, `if_version` and `expected`. Interactive transactions, which hold the writer\n"
    "between requests, are not offered over HTTP yet; the library has them.\n"
    "\n";

static void print_statuses(FILE *out)
{
    fputs("| HTTP | type | meaning |\n|---|---|---|\n", out);
    for (int status = POLY_OK + 1; status < POLY_STATUS_COUNT; status++) {
        char kind[24];

        api_status_kind((enum poly_status)status, kind);
        fprintf(out, "| %d | `%s` | %s |\n", poly_status_http((enum poly_status)status), kind,
                poly_status_meaning((enum poly_status)status));
    }
}

/* A bar would end the cell of a table. */
static void print_cell(FILE *out, const char *text)
{
    for (; *text != '\0'; text++)
        fprintf(out, *text == '|' ? "\\%c" : "%c", *text);
}

/* A link to the heading of a schema; anchors are lower case. */
static void print_link(const struct api_schema *schema, FILE *out)
{
    fprintf(out, "[%s](#", schema->name);
    for (const char *c = schema->name; *c != '\0'; c++)
        fputc(tolower((unsigned char)*c), out);
    fputc(')', out);
}

static void print_bounds(const struct api_field *field, const char *unit, FILE *out)
{
    if (field->max == INT64_MAX)
        fprintf(out, ", from %" PRId64, field->min);
    else if (field->max != 0)
        fprintf(out, ", %" PRId64 " to %" PRId64 "%s", field->min, field->max, unit);
}

static void print_kind(const struct api_field *field, FILE *out)
{
    static const char *const names[] = {
        [API_TEXT] = "text",
        [API_INTEGER] = "integer",
        [API_NUMBER] = "number",
        [API_BOOLEAN] = "true or false",
        [API_CHOICE] = "",
        [API_TIME] = "time",
        [API_EXPECTED] = "\"any\", \"none\" or a version",
        [API_VALUE] = "JSON value",
        [API_MAP] = "object",
        [API_OBJECT] = "",
        [API_LIST] = "list of ",
        [API_TEXTS] = "list of ",
        [API_VALUES] = "list of JSON values",
        [API_FLOATS] = "list of numbers",
    };

    fputs(names[field->kind], out);
    if (field->schema != NULL)
        print_link(field->schema, out);
    if (field->kind == API_TEXTS && field->choices == NULL)
        fputs("texts", out);
    if (field->choices != NULL)
        print_cell(out, field->choices);
    print_bounds(field, field->kind == API_TEXT ? " bytes" : "", out);
    if ((field->flags & API_AS_JSON) != 0)
        fputs(", as JSON", out);
    if (field->fallback != NULL)
        fprintf(out, "; default `%s`", field->fallback);
}

static void print_fields(const struct api_field *fields, FILE *out)
{
    fputs("| name | type | meaning |\n|---|---|---|\n", out);
    for (; fields->name != NULL; fields++) {
        if ((fields->flags & API_LOCAL) != 0)
            continue;
        fprintf(out, "| `%s`%s | ", fields->name,
                (fields->flags & API_REQUIRED) != 0 ? " (required)" : "");
        print_kind(fields, out);
        fputs(" | ", out);
        print_cell(out, fields->meaning);
        fputs(" |\n", out);
    }
}

static bool has_public(const struct api_field *fields)
{
    for (; fields != NULL && fields->name != NULL; fields++)
        if ((fields->flags & API_LOCAL) == 0)
            return true;
    return false;
}

static void print_notes(const struct api_operation *operation, FILE *out)
{
    const char *comma = "";

    fputs("Rights: ", out);
    for (unsigned i = 0; api_right_names[i] != NULL; i++) {
        if ((operation->rights & 1U << i) == 0)
            continue;
        fprintf(out, "%s%s", comma, api_right_names[i]);
        comma = ", ";
    }
    if (operation->rights == 0)
        fputs((operation->flags & API_OPEN) != 0 ? "none, and no key" : "none", out);
    if ((operation->flags & API_IDEMPOTENT) != 0)
        fputs(". Takes `Idempotency-Key`", out);
    if ((operation->flags & API_CONDITIONAL) != 0)
        fputs(". Takes `If-Match` and `If-None-Match`", out);
    if ((operation->flags & API_READS) != 0)
        fputs(". Takes a token", out);
    fputs(".\n\n", out);
}

static void print_operation(const struct api_operation *operation, FILE *out)
{
    fprintf(out, "### %s `%s`\n\n**%s** (`%s`). %s\n\n", operation->method, operation->path,
            operation->summary, operation->name, operation->description);
    print_notes(operation, out);
    if (has_public(operation->parameters)) {
        print_fields(operation->parameters, out);
        fputc('\n', out);
    }
    if (operation->body != NULL) {
        fputs((operation->flags & API_LINES) != 0 ? "Body: JSON lines of " : "Body: ", out);
        print_link(operation->body, out);
        fputs(". ", out);
    }
    fprintf(out, "Answer: %d", operation->success);
    if (operation->answer != NULL) {
        fputs(" with ", out);
        print_link(operation->answer, out);
    }
    if (operation->answer_type != NULL)
        fprintf(out, " as `%s`", operation->answer_type);
    fputs(".\n\n", out);
}

static void print_schema(const struct api_schema *schema, FILE *out)
{
    fprintf(out, "### %s\n\n%c%s.\n\n", schema->name, schema->meaning[0] - 'a' + 'A',
            schema->meaning + 1);
    if (schema->variants != NULL) {
        fputs("One of:", out);
        for (const struct api_schema *const *v = schema->variants; *v != NULL; v++) {
            fputc(' ', out);
            print_link(*v, out);
        }
        fputs(", told apart by `op`.\n\n", out);
    }
    if (schema->fields != NULL) {
        print_fields(schema->fields, out);
        fputc('\n', out);
    }
    if (schema->example != NULL)
        fprintf(out, "```json\n%s\n```\n\n", schema->example);
}

void api_print_reference(FILE *out)
{
    fputs(introduction, out);
    print_statuses(out);
    fputs(more, out);
    fputs("## Operations\n\n", out);
    for (const struct api_operation *o = api_operations; o->name != NULL; o++)
        print_operation(o, out);
    fputs("## Objects\n\n", out);
    for (const struct api_schema *const *s = api_schemas; *s != NULL; s++)
        print_schema(*s, out);
}
