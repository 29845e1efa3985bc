#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "cli/verbs.h"

static enum poly_status run(struct cli *cli, struct poly_error *err)
{
    bool makes = cli_option(cli, "new") != NULL;
    struct cli_request request = {.operation = makes ? "records.create" : "records.put"};
    int first = makes ? 1 : 2;
    struct poly_buffer row;
    char etag[32];
    enum poly_status status;

    if (cli->argument_count <= first)
        return poly_fail(err, POLY_INVALID,
                         "the columns are missing: COLUMN=TEXT, COLUMN:=JSON, "
                         "a JSON object, or - for stdin");
    if (makes && cli_option(cli, "if-version") != NULL)
        return poly_fail(err, POLY_INVALID, "--new and --if-version exclude each other");
    poly_buffer_init(&row, POLY_MAX_TXN_BYTES);
    status = cli_read_row(cli->arguments + first, cli->argument_count - first, &row, err);
    cli_parameter(&request, "domain", cli->arguments[0]);
    if (!makes)
        cli_parameter(&request, "key", cli->arguments[1]);
    request.body = row.data;
    request.body_size = row.size;
    request.idempotency_key = cli_option(cli, "idempotency-key");
    if (status == POLY_OK)
        status = cli_read_if_version(cli, &request, etag, err);
    if (status == POLY_OK)
        status = cli_write(cli, &request, cli->arguments[0], err);
    poly_buffer_release(&row);
    return status;
}

const struct cli_verb cli_verb_put = {
    .name = "put",
    .arguments = "DOMAIN KEY COLUMN=TEXT…|COLUMN:=JSON…|JSON|-",
    .summary = "Write a whole record",
    .text = "Replaces the record or makes it; a column that is not given gets its default. A text\n"
            "becomes what its column holds. '-' reads a JSON object from stdin.",
    .options =
        (const struct cli_option[]){
            {"new", 'n', NULL, NULL, "no KEY is given: it stands in the row, or is made"},
            {"if-version", 0, "VERSION", NULL,
             "only if the record has this version; none: only if there is no such record"},
            {"idempotency-key", 0, "KEY", NULL, "send the same again: it takes effect once"},
            {NULL, 0, NULL, NULL, NULL},
        },
    .examples =
        (const struct cli_example[]){
            {"polystore put packages hello-local version=1.0 section=misc installed_size:=42 "
             "summary='A greeting'",
             "a record of your own"},
            {"echo '{\"version\": \"1.1\", \"section\": \"misc\"}' | polystore put packages "
             "hello-local -",
             "the columns from stdin"},
            {NULL, NULL},
        },
    .min = 1,
    .max = -1,
    .run = run,
};
