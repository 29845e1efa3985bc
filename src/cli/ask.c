/* From a verb to the client: the global options become the place and the token. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "cli/cli.h"
#include "cli/output.h"

enum poly_status cli_connect(struct cli *cli, struct poly_error *err)
{
    struct cli_place place = {
        .config = cli_option(cli, "config"),
        .data = cli_option(cli, "data"),
        .server = cli_option(cli, "server"),
        .key_file = cli_option(cli, "key-file"),
        .ca = cli_option(cli, "ca"),
        .tenant = cli_option(cli, "tenant"),
    };

    /* An API key of a tenant is made by an administrator, who has none. */
    if (cli->group != NULL && strcmp(cli->group->name, "key") == 0)
        place.tenant = NULL;
    return cli->client != NULL ? POLY_OK : cli_client_open(&place, &cli->client, err);
}

enum poly_status cli_ask(struct cli *cli, struct cli_request *request, struct cli_answer *answer,
                         struct poly_error *err)
{
    enum poly_status status = cli_connect(cli, err);

    if (status != POLY_OK) {
        *answer = (struct cli_answer){.version = 0};
        poly_buffer_init(&answer->body, 0);
        return status;
    }
    request->token = cli_option(cli, "token");
    request->consistency = cli_option(cli, "consistency");
    status = cli_client_call(cli->client, request, answer, err);
    if (status == POLY_OK && answer->stale && !cli->quiet)
        fputs("polystore: this answer is older than the token asked for\n", stderr);
    return status;
}

enum poly_status cli_ask_json(struct cli *cli, struct cli_request *request, json_t **json,
                              struct poly_error *err)
{
    struct cli_answer answer;
    json_error_t wrong;
    enum poly_status status;

    *json = NULL;
    if (cli->json)
        request->receive = cli_print_json;
    status = cli_ask(cli, request, &answer, err);
    if (status == POLY_OK && !cli->json && answer.body.size > 0) {
        *json = json_loadb(answer.body.data, answer.body.size, JSON_DECODE_ANY, &wrong);
        if (*json == NULL)
            status = poly_fail(err, POLY_INTERNAL, "the answer is not JSON: %s", wrong.text);
    }
    poly_buffer_release(&answer.body);
    return status;
}

enum poly_status cli_ask_done(struct cli *cli, struct cli_request *request, const char *what,
                              const char *said, struct poly_error *err)
{
    struct cli_answer answer;
    enum poly_status status = cli_ask(cli, request, &answer, err);

    poly_buffer_release(&answer.body);
    if (status == POLY_OK && !cli->json && !cli->quiet)
        printf("%s: %s\n", what, said);
    return status;
}

enum poly_status cli_ask_list(struct cli *cli, struct cli_request *request, const char *list,
                              const struct cli_column *columns, struct poly_error *err)
{
    json_t *answer = NULL;
    enum poly_status status = cli_ask_json(cli, request, &answer, err);

    if (status == POLY_OK && answer != NULL)
        status = cli_print_list(json_object_get(answer, list), columns, err);
    json_decref(answer);
    return status;
}

enum poly_status cli_print_list(const json_t *rows, const struct cli_column *columns,
                                struct poly_error *err)
{
    struct cli_table *table = cli_table_new();
    enum poly_status status;

    for (const struct cli_column *c = columns; c->member != NULL; c++)
        cli_table_column(table, c->head);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        for (const struct cli_column *c = columns; c->member != NULL; c++) {
            const json_t *value = json_object_get(json_array_get(rows, i), c->member);

            if (json_is_integer(value))
                cli_table_number(table, json_integer_value(value));
            else if (value != NULL)
                cli_table_json(table, value);
            else
                cli_table_text(table, "");
        }
    }
    status = cli_table_print(table, stdout, err);
    cli_table_free(table);
    return status;
}
