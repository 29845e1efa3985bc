#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "cli/output.h"
#include "cli/verbs.h"

/* "$.city=Paris" into path and JSON text. */
static enum poly_status read_where(const struct cli *cli, struct cli_request *request,
                                   struct poly_buffer *text, struct poly_error *err)
{
    const char *where = cli_option(cli, "where");
    const char *equal = where == NULL ? NULL : strchr(where, '=');
    struct poly_error ignored;

    if (where == NULL)
        return POLY_OK;
    if (where[0] != '$' || equal == NULL)
        return poly_fail(err, POLY_INVALID, "--where '%.64s': must be like '$.city=Paris'", where);
    poly_buffer_add(text, where, (size_t)(equal - where));
    poly_buffer_char(text, '\0');

    size_t path = text->size;

    if (poly_json_check(equal + 1, strlen(equal + 1), &ignored) == POLY_OK)
        poly_buffer_text(text, equal + 1);
    else
        poly_json_string(text, equal + 1, strlen(equal + 1));
    if (!poly_buffer_ok(text))
        return poly_no_memory(err);
    cli_parameter(request, "path", text->data);
    cli_parameter(request, "equal", text->data + path);
    return POLY_OK;
}

static void print(const struct cli *cli, const json_t *answer)
{
    const json_t *records = json_object_get(answer, "records");

    for (size_t i = 0; i < json_array_size(records); i++) {
        const json_t *record = json_array_get(records, i);
        struct poly_buffer line;

        poly_buffer_init(&line, (size_t)256 * 1024 * 1024);
        poly_buffer_printf(&line, "%lld  %s  %s  ", (long long)cli_json_integer(record, "version"),
                           cli_json_string(record, "time"), cli_json_string(record, "type"));
        cli_json_text(&line, json_object_get(record, "data"));
        if (poly_buffer_ok(&line))
            cli_print_line(stdout, line.data, line.size);
        poly_buffer_release(&line);
    }
    if (cli_json_true(answer, "more") && !cli->quiet)
        fputs("polystore: there are more: --from goes on, --limit takes more\n", stderr);
}

static enum poly_status run(struct cli *cli, struct poly_error *err)
{
    struct cli_request request = {.operation = "events.read"};
    struct poly_buffer where;
    json_t *answer = NULL;
    enum poly_status status;

    poly_buffer_init(&where, 65536);
    status = read_where(cli, &request, &where, err);
    cli_parameter(&request, "stream", cli->arguments[0]);
    cli_parameter(&request, "from", cli_option(cli, "from"));
    cli_parameter(&request, "limit", cli_option(cli, "limit"));
    cli_parameter(&request, "backwards", cli_option(cli, "backwards") == NULL ? NULL : "true");
    if (status == POLY_OK)
        status = cli_ask_json(cli, &request, &answer, err);
    if (status == POLY_OK && answer != NULL && cli_json_integer(answer, "version") == 0)
        status = poly_fail(err, POLY_NOT_FOUND, "there is no stream '%s'", cli->arguments[0]);
    if (status == POLY_OK && answer != NULL)
        print(cli, answer);
    json_decref(answer);
    poly_buffer_release(&where);
    return status;
}

const struct cli_verb cli_verb_events = {
    .name = "events",
    .arguments = "STREAM",
    .summary = "Print the events of a stream",
    .options =
        (const struct cli_option[]){
            {"from", 'f', "VERSION", NULL,
             "begin here; default: the beginning (backwards: the end)"},
            {"backwards", 'b', NULL, NULL, "the newest first"},
            {"limit", 'n', "N", NULL, "at most so many; default: 1000"},
            {"where", 'w', "PATH=VALUE", NULL, "only events whose data has this: '$.city=Paris'"},
            {NULL, 0, NULL, NULL, NULL},
        },
    .examples =
        (const struct cli_example[]){
            {"polystore append order-42 OrderPlaced city=Paris && polystore events order-42",
             "write one, and read the stream"},
            {NULL, NULL},
        },
    .min = 1,
    .max = 1,
    .run = run,
};
