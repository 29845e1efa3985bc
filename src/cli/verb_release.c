#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/adoption.h"
#include "cli/verbs.h"

static enum poly_status confirm(const struct cli *cli, const struct cli_adoption *adoption,
                                struct poly_error *err)
{
    const char *config = adoption->options.config_file;
    char answer[16] = "";

    if (cli_option(cli, "yes") != NULL)
        return POLY_OK;
    if (!isatty(STDIN_FILENO))
        return poly_fail(err, POLY_INVALID,
                         "it ends the log, with events, subscriptions and keys: say --yes");
    fprintf(stderr,
            "This takes the log out of the database of %s, with all events, subscriptions and API\n"
            "keys, and the data folder's own files. Tables and their rows stay. Go on? [y/N] ",
            config == NULL ? adoption->options.data : config);
    if (fgets(answer, sizeof(answer), stdin) != NULL &&
        (strcmp(answer, "y\n") == 0 || strcmp(answer, "yes\n") == 0))
        return POLY_OK;
    return poly_fail(err, POLY_DENIED, "not confirmed; nothing was changed");
}

static enum poly_status run(struct cli *cli, struct poly_error *err)
{
    struct cli_adoption adoption;
    struct poly_adopt_report *report;
    enum poly_status status = cli_adoption_open(cli, &adoption, err);

    if (status == POLY_OK)
        status = confirm(cli, &adoption, err);
    if (status != POLY_OK)
        return status;
    adoption.run.connected = cli_option(cli, "connected") != NULL;
    status = poly_release(&adoption.options, &adoption.run, &report, err);
    cli_progress_close(&adoption.progress);
    if (status == POLY_OK)
        status = cli_adoption_close(cli, &adoption, report, "released", err);
    if (status == POLY_OK && !cli->json && !cli->quiet)
        printf("released: the application's tables are as they were\n");
    return status;
}

const struct cli_verb cli_verb_release = {
    .name = "release",
    .summary = "Take everything of Polystore out of a database again",
    .text = "Triggers, functions, policies, the log and all that belongs to it, and the data "
            "folder's\n"
            "own files; the application's tables and rows stay as they are. Stop every daemon "
            "first. A table\n"
            "that somebody has locked is named when --wait is over: run it again.",
    .options =
        (const struct cli_option[]){
            {"yes", 'y', NULL, NULL, "do not ask"},
            {"connected", 0, NULL, NULL, "also while daemons or programs are connected"},
            {"wait", 0, "SECONDS", NULL, "for tables that are locked; default 60"},
            {NULL, 0, NULL, NULL, NULL},
        },
    .examples =
        (const struct cli_example[]){
            {"polystore release --yes", "stop following the database of polystore.yaml"},
            {NULL, NULL},
        },
    .max = 0,
    .run = run,
};
