#include <stdio.h>

#include "base/limits.h"
#include "cli/verbs.h"

static enum poly_status run(struct cli *cli, struct poly_error *err)
{
    struct cli_request request = {.operation = "records.patch"};
    struct poly_buffer row;
    char etag[32];
    enum poly_status status;

    poly_buffer_init(&row, POLY_MAX_TXN_BYTES);
    status = cli_read_row(cli->arguments + 2, cli->argument_count - 2, &row, err);
    cli_parameter(&request, "domain", cli->arguments[0]);
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

const struct cli_verb cli_verb_patch = {
    .name = "patch",
    .arguments = "DOMAIN KEY COLUMN=TEXT…|COLUMN:=JSON…|JSON|-",
    .summary = "Change columns of a record",
    .options =
        (const struct cli_option[]){
            {"if-version", 0, "VERSION", NULL, "only if the record has this version"},
            {"idempotency-key", 0, "KEY", NULL, "send the same again: it takes effect once"},
            {NULL, 0, NULL, NULL, NULL},
        },
    .examples =
        (const struct cli_example[]){
            {"polystore patch packages bash summary='The shell'", "one column; the others stay"},
            {NULL, NULL},
        },
    .min = 3,
    .max = -1,
    .run = run,
};
