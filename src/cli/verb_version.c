#include <stdio.h>

#include "cli/verbs.h"

static enum poly_status run(struct cli *cli, struct poly_error *err)
{
    (void)err;
    printf(cli->json ? "{\"version\":\"%s\"}\n" : "polystore %s\n", poly_version());
    return POLY_OK;
}

const struct cli_verb cli_verb_version = {
    .name = "version",
    .summary = "Print the version",
    .examples =
        (const struct cli_example[]){{"polystore version", "of this program"}, {NULL, NULL}},
    .max = 0,
    .run = run,
};
