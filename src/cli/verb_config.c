#include <stdio.h>
#include <unistd.h>

#include "base/json.h"
#include "cli/verbs.h"

static enum poly_status run_check(struct cli *cli, struct poly_error *err)
{
    const char *file = cli->argument_count > 0 ? cli->arguments[0] : cli_option(cli, "config");
    struct poly_options options = {.config_file = file, .data = cli_option(cli, "data")};
    struct poly_settings *settings;
    enum poly_status status;

    if (file == NULL)
        options.config_file = file = "polystore.yaml";
    if (access(file, F_OK) != 0)
        return poly_fail(err, POLY_NOT_FOUND,
                         "configuration '%s' is not there; "
                         "'polystore init' writes one",
                         file);
    status = poly_settings_load(&options, &settings, err);
    if (status != POLY_OK)
        return status;
    if (cli->json)
        printf("{\"ok\":true,\"domains\":%zu}\n", settings->domain_count);
    else
        printf("%s: right, %zu domain%s, data in %s\n", file, settings->domain_count,
               settings->domain_count == 1 ? "" : "s", settings->data);
    poly_settings_free(settings);
    return POLY_OK;
}

static enum poly_status run_reference(struct cli *cli, struct poly_error *err)
{
    (void)cli;
    (void)err;
    poly_settings_print_reference(stdout);
    return POLY_OK;
}

static const struct cli_verb check = {
    .name = "check",
    .arguments = "[FILE]",
    .summary = "Say whether a configuration is right",
    .text = "What is wrong is named with its line, and what would be right.",
    .examples = (const struct cli_example[]){{"polystore config check", "polystore.yaml here"},
                                             {NULL, NULL}},
    .max = 1,
    .run = run_check,
};

static const struct cli_verb reference = {
    .name = "reference",
    .summary = "Print every option of the configuration, as Markdown",
    .examples = (const struct cli_example[]){{"polystore config reference", "types and defaults"},
                                             {NULL, NULL}},
    .max = 0,
    .run = run_reference,
};

const struct cli_verb cli_verb_config = {
    .name = "config",
    .summary = "Check the configuration, or print its reference",
    .examples =
        (const struct cli_example[]){{"polystore config check", "is it right?"}, {NULL, NULL}},
    .verbs = (const struct cli_verb *const[]){&check, &reference, NULL},
};
