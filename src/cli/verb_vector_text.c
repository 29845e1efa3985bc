/* Texts that an embedder refuses: which they are, and trying them again. */
#include <inttypes.h>
#include <stdio.h>

#include "base/json.h"
#include "cli/output.h"
#include "cli/verbs.h"

static void add_parameters(const struct cli *cli, struct cli_request *request)
{
    cli_parameter(request, "domain", cli->arguments[0]);
    if (cli_option(cli, "name") != NULL)
        cli_parameter(request, "name", cli_option(cli, "name"));
}

static enum poly_status refused(struct cli *cli, struct poly_error *err)
{
    static const char *const columns[] = {"tenant", "key", "version", "time", "error"};
    static const char *const heads[] = {"TENANT", "KEY", "VERSION", "TIME", "ERROR"};
    enum { COLUMNS = sizeof(columns) / sizeof(columns[0]) };
    struct cli_request request = {.operation = "embeddings.refused"};
    json_t *answer = NULL;
    enum poly_status status;
    const json_t *list;
    struct cli_table *table;

    add_parameters(cli, &request);
    if (cli_option(cli, "next") != NULL)
        cli_parameter(&request, "next", "true");
    cli_parameter(&request, "limit", cli_option(cli, "limit"));
    cli_parameter(&request, "cursor", cli_option(cli, "cursor"));
    status = cli_ask_json(cli, &request, &answer, err);
    if (status != POLY_OK || answer == NULL)
        return status;
    list = json_object_get(answer, "refused");
    table = cli_table_new();
    for (size_t i = 0; i < COLUMNS; i++)
        cli_table_column(table, heads[i]);
    for (size_t i = 0; i < json_array_size(list) * COLUMNS; i++) {
        const json_t *one = json_array_get(list, i / COLUMNS);
        const char *name = columns[i % COLUMNS];

        if (json_is_integer(json_object_get(one, name)))
            cli_table_number(table, cli_json_integer(one, name));
        else
            cli_table_text(table, cli_json_string(one, name));
    }
    status = cli_table_print(table, stdout, err);
    cli_table_free(table);
    if (status == POLY_OK && *cli_json_string(answer, "cursor") != '\0' && !cli->quiet)
        fprintf(stderr, "polystore: there are more: --cursor '%s'\n",
                cli_json_string(answer, "cursor"));
    json_decref(answer);
    return status;
}

static enum poly_status retry(struct cli *cli, struct poly_error *err)
{
    struct cli_request request = {.operation = "embeddings.retry"};
    json_t *answer = NULL;
    enum poly_status status;

    add_parameters(cli, &request);
    status = cli_ask_json(cli, &request, &answer, err);
    if (status != POLY_OK || answer == NULL)
        return status;
    printf("%s: %" PRId64 " records wait for the embedder again\n", cli->arguments[0],
           cli_json_integer(answer, "waiting"));
    json_decref(answer);
    return POLY_OK;
}

#define NAME                                                                                       \
    {                                                                                              \
        "name", 0, "NAME", NULL, "which vector, where an embedder makes several"                   \
    }
#define END                                                                                        \
    {                                                                                              \
        NULL, 0, NULL, NULL, NULL                                                                  \
    }

const struct cli_verb cli_verb_vector_refused = {
    .name = "refused",
    .arguments = "DOMAIN",
    .summary = "Show the records whose text the embedder refuses",
    .text = "They have no vector until the text is changed, or tried again with\n"
            "'polystore vector retry'. 'polystore status' counts them.",
    .options =
        (const struct cli_option[]){
            NAME,
            {"next", 0, NULL, NULL, "by the embedder of the next model, while that is made"},
            {"limit", 'n', "N", NULL, "at most so many, 1 to 1000; default: 100"},
            {"cursor", 0, "CURSOR", NULL, "go on after the page before"},
            END,
        },
    .examples =
        (const struct cli_example[]){{"polystore vector refused notes", "and why"}, {NULL, NULL}},
    .min = 1,
    .max = 1,
    .run = refused,
};

const struct cli_verb cli_verb_vector_retry = {
    .name = "retry",
    .arguments = "DOMAIN",
    .summary = "Have the embedder try refused texts again",
    .text = "Also ends the pause after a request that failed.",
    .options = (const struct cli_option[]){NAME, END},
    .examples =
        (const struct cli_example[]){
            {"polystore vector retry notes", "after its server takes longer texts"}, {NULL, NULL}},
    .min = 1,
    .max = 1,
    .run = retry,
};
