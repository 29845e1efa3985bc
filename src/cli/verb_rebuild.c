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

    if (cli->argument_count > 1)
        return cli_rebuild_model(cli, err);
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
    .arguments = "STORE [DOMAIN]",
    .summary = "Build a store again from the log, beside the one that serves",
    .text =
        "The new generation is swapped in when it has applied everything; the one before is "
        "kept up to\n"
        "date, so that --back can take it. A rebuild that was interrupted goes on.\n"
        "\n"
        "With a domain it is a change of the model that makes its vectors: those of the new one "
        "come\n"
        "from a file, as 'polystore vector import' reads it (its columns but key, vector, "
        "version and\n"
        "tenant are left out), are kept beside those that serve, and swapped in, in one "
        "transaction,\n"
        "when every record has one. Where an embedder makes the vectors, it makes those of the "
        "new model\n"
        "of every text, while this waits. What broke off is run again.",
    .options =
        (const struct cli_option[]){
            {"back", 'b', NULL, NULL, "swap back to the generation before"},
            {"no-wait", 0, NULL, NULL, "only start it; it goes on inside of the daemon"},
            {"model", 'm', "NAME", NULL, "vector: the model whose vectors are to serve"},
            {"dimensions", 0, "N", NULL, "… and how many numbers they have"},
            {"embedder", 'e', "NAME", NULL,
             "… that makes them; default: that which makes the present ones"},
            {"name", 0, "NAME", NULL, "which of the domain's vectors; default: its only one"},
            {"from", 'f', "FILE|-", NULL, "give vectors of the model"},
            {"no-swap", 0, NULL, NULL, "only keep them; or have them made, and do not wait"},
            {"drop-missing", 0, NULL, NULL, "swap: what has no new vector has none then"},
            {"skip-refused", 0, NULL, NULL, "swap: nor has what the embedder refuses"},
            {"abandon", 0, NULL, NULL, "throw away what is kept beside the domain's vectors"},
            {"format", 'F', "FORMAT", "fvecs|npy|jsonl|copy", "default: by the file's name"},
            {"keys", 'k', "FILE", NULL, "fvecs, npy: a key a line"},
            {"key-prefix", 0, "TEXT", NULL, "fvecs, npy: put before each key"},
            {"columns", 0, "NAMES", NULL, "copy: id,content,embedding"},
            {"key", 0, "COLUMN", NULL, "copy: which of them is the record's key"},
            {"field", 0, "COLUMN", NULL, "copy: column of the vectors; default: embedding"},
            {"batch", 0, "ROWS", NULL, "vectors in a transaction, 1 to 1000; default: 1000"},
            {NULL, 0, NULL, NULL, NULL},
        },
    .examples =
        (const struct cli_example[]){
            {"polystore rebuild search", "build the search index again while it answers"},
            {NULL, NULL},
        },
    .min = 1,
    .max = 2,
    .run = run,
};
