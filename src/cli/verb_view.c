#include <stdio.h>

#include "base/json.h"
#include "cli/verbs.h"

static enum poly_status run(struct cli *cli, struct poly_error *err)
{
    struct cli_request request = {.operation = "views.refresh"};
    struct cli_answer answer;
    enum poly_status status;

    cli_parameter(&request, "view", cli->arguments[0]);
    status = cli_ask(cli, &request, &answer, err);
    poly_buffer_release(&answer.body);
    if (status == POLY_OK && !cli->json)
        printf("%s: refreshed\n", cli->arguments[0]);
    return status;
}

static const struct cli_verb refresh = {
    .name = "refresh",
    .arguments = "VIEW",
    .summary = "Refresh a materialised view now",
    .text = "Whether something has changed or not. After it, what was committed before is in the "
            "view.",
    .examples =
        (const struct cli_example[]){
            {"polystore view refresh sections", "and wait until it is done"}, {NULL, NULL}},
    .min = 1,
    .max = 1,
    .run = run,
};

const struct cli_verb cli_verb_view = {
    .name = "view",
    .summary = "Refresh a materialised view",
    .text = "They are declared in polystore.yaml and refresh themselves. 'polystore status' shows "
            "how fresh they are.",
    .examples = (const struct cli_example[]){{"polystore view refresh sections", "now"},
                                             {NULL, NULL}},
    .verbs = (const struct cli_verb *const[]){&refresh, NULL},
};
