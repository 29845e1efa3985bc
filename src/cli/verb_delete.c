#include <stdio.h>

#include "cli/verbs.h"

static enum poly_status run(struct cli *cli, struct poly_error *err)
{
    struct cli_request request = {
        .operation = "records.delete",
        .idempotency_key = cli_option(cli, "idempotency-key"),
    };
    char etag[32];
    enum poly_status status = cli_read_if_version(cli, &request, etag, err);

    cli_parameter(&request, "domain", cli->arguments[0]);
    cli_parameter(&request, "key", cli->arguments[1]);
    return status == POLY_OK ? cli_write(cli, &request, cli->arguments[0], err) : status;
}

const struct cli_verb cli_verb_delete = {
    .name = "delete",
    .arguments = "DOMAIN KEY",
    .summary = "Delete a record",
    .options =
        (const struct cli_option[]){
            {"if-version", 0, "VERSION", NULL, "only if the record has this version"},
            {"idempotency-key", 0, "KEY", NULL, "send the same again: it takes effect once"},
            {NULL, 0, NULL, NULL, NULL},
        },
    .examples =
        (const struct cli_example[]){
            {"polystore delete packages bash", "it is gone from the table and from the search"},
            {NULL, NULL},
        },
    .min = 2,
    .max = 2,
    .run = run,
};
