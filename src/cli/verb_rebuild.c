#include <stdio.h>

#include "cli/lines.h"
#include "cli/verbs.h"

static enum poly_status back(struct cli *cli, struct poly_error *err)
{
    struct cli_request request = {.operation = "projections.back"};
    struct cli_answer answer;
    enum poly_status status;

    cli_parameter(&request, "store", cli->arguments[0]);
    status = cli_ask(cli, &request, &answer, err);
    poly_buffer_release(&answer.body);
    if (status == POLY_OK && !cli->json)
        printf("%s: back to the generation before\n", cli->arguments[0]);
    return status;
}

static enum poly_status run(struct cli *cli, struct poly_error *err)
{
    struct cli_request request = {.operation = "projections.rebuild"};
    bool wait = cli_option(cli, "no-wait") == NULL;
    json_t *last = NULL;
    enum poly_status status;

    if (cli_option(cli, "back") != NULL)
        return back(cli, err);
    cli_parameter(&request, "store", cli->arguments[0]);
    cli_parameter(&request, "wait", wait ? "true" : NULL);
    status = cli_ask_lines(cli, &request, "rebuild", &last, err);
    if (status == POLY_OK && !cli->json && wait)
        printf("%s: rebuilt, and swapped\n", cli->arguments[0]);
    else if (status == POLY_OK && !cli->json)
        printf("%s: being rebuilt; 'polystore status' says how far it is\n", cli->arguments[0]);
    json_decref(last);
    return status;
}

const struct cli_verb cli_verb_rebuild = {
    .name = "rebuild",
    .arguments = "STORE",
    .summary = "Build a store again from the log, beside the one that serves",
    .text = "The new generation is swapped in when it has applied everything; the one before is "
            "kept up to\n"
            "date, so that --back can take it. A rebuild that was interrupted goes on.",
    .options =
        (const struct cli_option[]){
            {"back", 'b', NULL, NULL, "swap back to the generation before"},
            {"no-wait", 0, NULL, NULL, "only start it; it goes on inside of the daemon"},
            {NULL, 0, NULL, NULL, NULL},
        },
    .examples =
        (const struct cli_example[]){
            {"polystore rebuild search", "build the search index again while it answers"},
            {NULL, NULL},
        },
    .min = 1,
    .max = 1,
    .run = run,
};
