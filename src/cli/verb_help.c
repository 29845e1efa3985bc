#include <stdio.h>
#include <string.h>

#include "cli/help.h"
#include "cli/verbs.h"

static const struct cli_verb *find(const struct cli_verb *const *verbs, const char *name)
{
    for (; verbs != NULL && *verbs != NULL; verbs++)
        if (strcmp((*verbs)->name, name) == 0)
            return *verbs;
    return NULL;
}

static enum poly_status run(struct cli *cli, struct poly_error *err)
{
    const struct cli_verb *verb = NULL, *group = NULL;

    for (int i = 0; i < cli->argument_count; i++) {
        group = verb;
        verb = find(group == NULL ? cli_verbs : group->verbs, cli->arguments[i]);
        if (verb == NULL)
            return poly_fail(err, POLY_INVALID, "there is no verb '%.64s'", cli->arguments[i]);
    }
    if (cli_option(cli, "markdown") != NULL)
        cli_help_markdown(stdout);
    else if (cli_option(cli, "man") != NULL)
        cli_help_man(stdout);
    else
        cli_help(stdout, group, verb);
    return POLY_OK;
}

const struct cli_verb cli_verb_help = {
    .name = "help",
    .arguments = "[VERB [VERB]]",
    .summary = "Print help",
    .options =
        (const struct cli_option[]){
            {"markdown", 0, NULL, NULL, "all of it, as docs/cli.md"},
            {"man", 0, NULL, NULL, "all of it, as a man page"},
            {NULL, 0, NULL, NULL, NULL},
        },
    .examples =
        (const struct cli_example[]){{"polystore help log verify", "of one verb"}, {NULL, NULL}},
    .max = 2,
    .run = run,
};
