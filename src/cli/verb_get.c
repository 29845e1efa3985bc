#include <inttypes.h>
#include <stdio.h>

#include "cli/output.h"
#include "cli/verbs.h"

static enum poly_status print(const json_t *document, struct poly_error *err)
{
    struct cli_table *table = cli_table_new();
    const char *name;
    json_t *value;

    cli_table_whole(table);
    cli_table_column(table, "COLUMN");
    cli_table_column(table, "VALUE");
    json_object_foreach(json_object_get(document, "row"), name, value)
    {
        cli_table_text(table, name);
        if (json_is_number(value)) {
            char text[64];
            int size = json_is_integer(value)
                           ? snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT,
                                      json_integer_value(value))
                           : snprintf(text, sizeof(text), "%.17g", json_real_value(value));

            cli_table_bytes(table, text, (size_t)size);
        } else {
            cli_table_json(table, value);
        }
    }
    enum poly_status status = cli_table_print(table, stdout, err);

    cli_table_free(table);
    if (status == POLY_OK)
        printf("version %" PRId64 "\n", cli_json_integer(document, "version"));
    return status;
}

static enum poly_status run(struct cli *cli, struct poly_error *err)
{
    struct cli_request request = {.operation = "records.get"};
    json_t *document;
    enum poly_status status;

    cli_parameter(&request, "domain", cli->arguments[0]);
    cli_parameter(&request, "key", cli->arguments[1]);
    status = cli_ask_json(cli, &request, &document, err);
    if (status == POLY_OK && document != NULL)
        status = print(document, err);
    json_decref(document);
    return status;
}

const struct cli_verb cli_verb_get = {
    .name = "get",
    .arguments = "DOMAIN KEY",
    .summary = "Print a record",
    .examples =
        (const struct cli_example[]){
            {"polystore get packages bash", "a record by its key"},
            {"polystore get packages bash --json", "the same as JSON, with its version"},
            {NULL, NULL},
        },
    .min = 2,
    .max = 2,
    .run = run,
};
