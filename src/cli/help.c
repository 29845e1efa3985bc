/* Text and Markdown. */
#include "cli/help.h"

#include <string.h>

static void print_option(FILE *out, const struct cli_option *option)
{
    char name[80];
    int size = snprintf(name, sizeof(name), "%c%c%s --%s%s%s", option->letter == 0 ? ' ' : '-',
                        option->letter == 0 ? ' ' : option->letter, option->letter == 0 ? " " : ",",
                        option->name, option->value == NULL ? "" : " ",
                        option->value == NULL ? "" : option->value);

    fprintf(out, "  %-28s%s%s\n", name, size > 27 ? "\n                              " : "",
            option->help);
}

static void print_options(FILE *out, const char *title, const struct cli_option *options)
{
    if (options == NULL || options->name == NULL)
        return;
    fprintf(out, "\n%s:\n", title);
    for (; options->name != NULL; options++)
        print_option(out, options);
}

static void print_verbs(FILE *out, const struct cli_verb *const *verbs)
{
    for (; *verbs != NULL; verbs++)
        fprintf(out, "  %-12s %s\n", (*verbs)->name, (*verbs)->summary);
}

static void print_usage(FILE *out, const struct cli_verb *group, const struct cli_verb *verb)
{
    fprintf(out, "polystore %s%s%s%s%s%s", group == NULL ? "" : group->name,
            group == NULL ? "" : " ", verb->name, verb->verbs == NULL ? " [OPTION]…" : " VERB",
            verb->arguments == NULL ? "" : " ", verb->arguments == NULL ? "" : verb->arguments);
}

static void print_overview(FILE *out)
{
    fputs("Usage: polystore [OPTION]… VERB [ARGUMENT]…\n\n"
          "One data layer over one log. Works on the data folder when no daemon runs, through the\n"
          "daemon when one does.\n\nVerbs:\n",
          out);
    print_verbs(out, cli_verbs);
    print_options(out, "Options of every verb", cli_global_options);
    fputs("\n'polystore VERB --help' says more, with examples.\n", out);
}

void cli_help(FILE *out, const struct cli_verb *group, const struct cli_verb *verb)
{
    if (verb == NULL) {
        print_overview(out);
        return;
    }
    fputs("Usage: ", out);
    print_usage(out, group, verb);
    fprintf(out, "\n\n%s.\n", verb->summary);
    if (verb->text != NULL)
        fprintf(out, "\n%s\n", verb->text);
    if (verb->verbs != NULL) {
        fputs("\nVerbs:\n", out);
        print_verbs(out, verb->verbs);
    }
    print_options(out, "Options", verb->options);
    if (verb->examples != NULL && verb->examples->command != NULL)
        fputs("\nExamples:\n", out);
    for (const struct cli_example *example = verb->examples;
         example != NULL && example->command != NULL; example++)
        fprintf(out, "  # %s\n  %s\n", example->meaning, example->command);
    fputs("\n'polystore --help' lists the options of every verb.\n", out);
}

/* --- Markdown --- */

static void markdown_options(FILE *out, const struct cli_option *options)
{
    if (options == NULL || options->name == NULL)
        return;
    fputs("| option | meaning |\n|---|---|\n", out);
    for (; options->name != NULL; options++) {
        fputs("| `", out);
        if (options->letter != 0)
            fprintf(out, "-%c`, `", options->letter);
        fprintf(out, "--%s%s%s` | %s |\n", options->name, options->value == NULL ? "" : " ",
                options->value == NULL ? "" : options->value, options->help);
    }
    fputc('\n', out);
}

static void markdown_verb(FILE *out, const struct cli_verb *group, const struct cli_verb *verb)
{
    fprintf(out, "## polystore %s%s%s\n\n    ", group == NULL ? "" : group->name,
            group == NULL ? "" : " ", verb->name);
    print_usage(out, group, verb);
    fprintf(out, "\n\n%s.\n\n", verb->summary);
    if (verb->text != NULL)
        fprintf(out, "%s\n\n", verb->text);
    markdown_options(out, verb->options);
    for (const struct cli_example *example = verb->examples;
         example != NULL && example->command != NULL; example++)
        fprintf(out, "%s    # %s\n    %s\n%s", example == verb->examples ? "" : "\n",
                example->meaning, example->command, example[1].command == NULL ? "\n" : "");
    for (const struct cli_verb *const *sub = verb->verbs; sub != NULL && *sub != NULL; sub++)
        markdown_verb(out, verb, *sub);
}

void cli_help_markdown(FILE *out)
{
    fputs("# The command line\n\n"
          "<!-- Printed by 'polystore help --markdown'; a test compares them. -->\n\n"
          "`polystore` works on the data folder directly when no daemon runs, and through the "
          "daemon when\n"
          "one does: the same verbs, the same answers. The examples work where `./run` has loaded "
          "the\n"
          "package index. Exit codes are those of [errors](errors.md).\n\n"
          "## Options of every verb\n\n",
          out);
    markdown_options(out, cli_global_options);
    for (const struct cli_verb *const *verb = cli_verbs; *verb != NULL; verb++)
        markdown_verb(out, NULL, *verb);
}
