#include <inttypes.h>
#include <stdio.h>

#include "cli/output.h"
#include "cli/verbs.h"

static enum poly_status print(const json_t *answer, struct poly_error *err)
{
    const json_t *list = json_object_get(answer, "migrations");
    struct cli_table *table = cli_table_new();
    enum poly_status status = POLY_OK;

    cli_table_column(table, "MIGRATION");
    cli_table_column(table, "STATE");
    cli_table_column(table, "TIME");
    cli_table_column(table, "PROBLEM");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);

        cli_table_text(table, cli_json_string(one, "name"));
        cli_table_text(table, cli_json_true(one, "applied") ? "applied" : "pending");
        cli_table_text(table, cli_json_string(one, "time"));
        cli_table_text(table, cli_json_string(one, "problem"));
    }
    if (json_array_size(list) == 0)
        printf("no migrations\n");
    else
        status = cli_table_print(table, stdout, err);
    cli_table_free(table);
    return status;
}

static enum poly_status ask(struct cli *cli, const char *operation, bool verify,
                            struct poly_error *err)
{
    struct cli_request request = {.operation = operation};
    struct cli_answer answer;
    json_t *json = NULL;
    enum poly_status status;

    cli_parameter(&request, "folder", cli_option(cli, "folder"));
    status = cli_ask(cli, &request, &answer, err);
    if (status == POLY_OK)
        json = json_loadb(answer.body.data, answer.body.size, 0, NULL);
    if (status == POLY_OK && cli->json)
        cli_print_json(NULL, answer.body.data, answer.body.size);
    else if (status == POLY_OK)
        status = print(json, err);
    int64_t problems = cli_json_integer(json, "problems");

    if (status == POLY_OK && verify && problems > 0)
        status = poly_fail(err, POLY_CONFLICT,
                           "%" PRId64 " of the migrations do not fit what was applied", problems);
    json_decref(json);
    poly_buffer_release(&answer.body);
    return status;
}

static enum poly_status run_up(struct cli *cli, struct poly_error *err)
{
    return ask(cli, "migrations.up", false, err);
}

static enum poly_status run_status(struct cli *cli, struct poly_error *err)
{
    return ask(cli, "migrations.list", false, err);
}

static enum poly_status run_verify(struct cli *cli, struct poly_error *err)
{
    return ask(cli, "migrations.list", true, err);
}

static const struct cli_option options[] = {
    {"folder", 'f', "FOLDER", NULL,
     "with the files NNNN_name.sql; default: as the configuration says. Not through a daemon"},
    {NULL, 0, NULL, NULL, NULL},
};

static const struct cli_verb up = {
    .name = "up",
    .summary = "Apply the migrations that are pending",
    .text = "Each file in a transaction of its own. When a file that was applied has been edited "
            "or is\n"
            "missing, nothing is done.",
    .options = options,
    .examples =
        (const struct cli_example[]){{"polystore migrate up", "bring the tables up to date"},
                                     {NULL, NULL}},
    .max = 0,
    .run = run_up,
};

static const struct cli_verb list = {
    .name = "status",
    .summary = "List the migrations",
    .options = options,
    .examples = (const struct cli_example[]){{"polystore migrate status", "applied and pending"},
                                             {NULL, NULL}},
    .max = 0,
    .run = run_status,
};

static const struct cli_verb verify = {
    .name = "verify",
    .summary = "Compare the applied migrations with their files",
    .text = "The exit code is 5 when a file was edited after it was applied, or is missing.",
    .options = options,
    .examples = (const struct cli_example[]){{"polystore migrate verify", "for a build server"},
                                             {NULL, NULL}},
    .max = 0,
    .run = run_verify,
};

const struct cli_verb cli_verb_migrate = {
    .name = "migrate",
    .summary = "Bring the tables up to date",
    .text = "Migrations are plain SQL files NNNN_name.sql, applied in order, once.",
    .examples = (const struct cli_example[]){{"polystore migrate up", "apply what is pending"},
                                             {NULL, NULL}},
    .verbs = (const struct cli_verb *const[]){&up, &list, &verify, NULL},
};
