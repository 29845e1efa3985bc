#include <stdio.h>

#include "cli/verbs.h"

static enum poly_status run_delete(struct cli *cli, struct poly_error *err)
{
    struct cli_request request = {.operation = "subscriptions.delete"};

    cli_parameter(&request, "name", cli->arguments[0]);
    return cli_ask_done(cli, &request, cli->arguments[0], "forgotten", err);
}

static const struct cli_verb delete_verb = {
    .name = "delete",
    .arguments = "NAME",
    .summary = "Forget a subscription and its position",
    .text = "Not while it is followed. 'polystore subscribe --name' makes it anew.",
    .examples = (const struct cli_example[]){{"polystore subscription delete mailer",
                                              "it is behind for ever, and nobody reads it"},
                                             {NULL, NULL}},
    .min = 1,
    .max = 1,
    .run = run_delete,
};

const struct cli_verb cli_verb_subscription = {
    .name = "subscription",
    .summary = "Look after subscriptions that keep their position",
    .text = "'polystore status' lists them; 'polystore subscribe --name' makes and follows them.",
    .examples = (const struct cli_example[]){{"polystore subscription delete mailer", "forget it"},
                                             {NULL, NULL}},
    .verbs = (const struct cli_verb *const[]){&delete_verb, NULL},
};
