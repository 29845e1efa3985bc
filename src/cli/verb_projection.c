#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "cli/verbs.h"

static enum poly_status ask(struct cli *cli, struct cli_request *request, const char *done,
                            struct poly_error *err)
{
    struct cli_answer answer;
    enum poly_status status;

    cli_parameter(request, "store", cli->arguments[0]);
    status = cli_ask(cli, request, &answer, err);
    poly_buffer_release(&answer.body);
    if (status == POLY_OK && !cli->json)
        printf("%s: %s\n", cli->arguments[0], done);
    return status;
}

static enum poly_status run_retry(struct cli *cli, struct poly_error *err)
{
    struct cli_request request = {.operation = "projections.retry"};

    return ask(cli, &request, "tries again", err);
}

static enum poly_status run_skip(struct cli *cli, struct poly_error *err)
{
    struct cli_request request = {.operation = "projections.skip"};
    const char *reason = cli_option(cli, "reason");
    struct poly_buffer body;
    enum poly_status status;

    if (reason == NULL || reason[0] == '\0')
        return poly_fail(err, POLY_INVALID,
                         "--reason TEXT is missing: it is kept, for whoever asks "
                         "why the record is not there");
    poly_buffer_init(&body, 65536);
    poly_buffer_text(&body, "{\"reason\":");
    poly_json_string(&body, reason, strlen(reason));
    poly_buffer_char(&body, '}');
    request.body = body.data;
    request.body_size = body.size;
    status = poly_buffer_ok(&body) ? ask(cli, &request, "the record is left out", err)
                                   : poly_fail(err, POLY_LIMIT, "--reason is too long");
    poly_buffer_release(&body);
    return status;
}

static const struct cli_verb retry = {
    .name = "retry",
    .arguments = "STORE",
    .summary = "Try the record again at which a projection has stopped",
    .examples =
        (const struct cli_example[]){
            {"polystore projection retry search", "after the cause was removed"}, {NULL, NULL}},
    .min = 1,
    .max = 1,
    .run = run_retry,
};

static const struct cli_verb skip = {
    .name = "skip",
    .arguments = "STORE",
    .summary = "Leave out the record at which a projection has stopped",
    .options = (const struct cli_option[]){{"reason", 'r', "TEXT", NULL, "why; kept for ever"},
                                           {NULL, 0, NULL, NULL, NULL}},
    .examples = (const struct cli_example[]){{"polystore projection skip search --reason "
                                              "'bad import of 3 May'",
                                              "the others go on"},
                                             {NULL, NULL}},
    .min = 1,
    .max = 1,
    .run = run_skip,
};

const struct cli_verb cli_verb_projection = {
    .name = "projection",
    .summary = "Decide about a projection that has stopped",
    .text = "'polystore status' shows the position and the reason.",
    .examples = (const struct cli_example[]){{"polystore projection retry search", "try it again"},
                                             {NULL, NULL}},
    .verbs = (const struct cli_verb *const[]){&retry, &skip, NULL},
};
