/* A script for bash in which the words of the tables stand as they are: no call on each tab. */
#include <stdio.h>
#include <string.h>

#include "cli/verbs.h"

static void print_names(const struct cli_verb *const *verbs)
{
    for (const struct cli_verb *const *verb = verbs; *verb != NULL; verb++)
        printf("%s%s", verb == verbs ? "" : " ", (*verb)->name);
}

static void print_options(const struct cli_option *options)
{
    for (; options != NULL && options->name != NULL; options++)
        printf(" --%s", options->name);
}

/* "status") words="…";; */
static void print_case(const char *group, const struct cli_verb *verb)
{
    printf("    '%s%s%s') words=\"", group, group[0] == '\0' ? "" : " ", verb->name);
    if (verb->verbs != NULL)
        print_names(verb->verbs);
    print_options(verb->options);
    printf("\";;\n");
    for (const struct cli_verb *const *sub = verb->verbs; sub != NULL && *sub != NULL; sub++)
        print_case(verb->name, *sub);
}

/* "--config|-c|…": what takes the word after it */
static void print_valued(const struct cli_option *options)
{
    for (bool first = true; options->name != NULL; options++) {
        if (options->value == NULL)
            continue;
        printf("%s--%s", first ? "" : "|", options->name);
        if (options->letter != 0)
            printf("|-%c", options->letter);
        first = false;
    }
}

static void print_choice(const struct cli_option *option)
{
    printf("    --%s) ", option->name);
    if (option->choices != NULL) {
        printf("COMPREPLY=($(compgen -W '");
        for (const char *c = option->choices; *c != '\0'; c++)
            putchar(*c == '|' ? ' ' : *c);
        printf("' -- \"$word\"));");
    } else if (strcmp(option->value, "FILE") == 0 || strcmp(option->value, "FOLDER") == 0) {
        printf("COMPREPLY=($(compgen -f -- \"$word\"));");
    }
    printf(" return;;\n");
}

static void print_choices(const struct cli_option *options)
{
    for (; options->name != NULL; options++)
        if (options->value != NULL)
            print_choice(options);
}

static enum poly_status run(struct cli *cli, struct poly_error *err)
{
    if (strcmp(cli->arguments[0], "bash") != 0)
        return poly_fail(err, POLY_UNSUPPORTED,
                         "there is no completion for '%.32s'; there is: bash", cli->arguments[0]);
    printf(
        "# bash completion for polystore\n"
        "_polystore() {\n"
        "  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} verb= words= i\n"
        "  COMPREPLY=()\n"
        "  case $before in\n");
    print_choices(cli_global_options);
    for (const struct cli_verb *const *verb = cli_verbs; *verb != NULL; verb++)
        for (const struct cli_option *o = (*verb)->options; o != NULL && o->name != NULL; o++)
            if (o->choices != NULL)
                print_choice(o);
    printf("  esac\n"
           "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
           "    case ${COMP_WORDS[i]} in\n"
           "    ");
    print_valued(cli_global_options);
    printf(") ((i++)) ;;\n"
           "    -*) ;;\n"
           "    *) case \"$verb\" in\n"
           "       '') verb=${COMP_WORDS[i]};;\n"
           "       ");
    bool first = true;

    for (const struct cli_verb *const *verb = cli_verbs; *verb != NULL; verb++)
        if ((*verb)->verbs != NULL) {
            printf("%s%s", first ? "" : "|", (*verb)->name);
            first = false;
        }
    printf(") verb=\"$verb ${COMP_WORDS[i]}\";;\n"
           "       esac;;\n"
           "    esac\n"
           "  done\n"
           "  case $verb in\n"
           "    '') words=\"");
    print_names(cli_verbs);
    printf("\";;\n");
    for (const struct cli_verb *const *verb = cli_verbs; *verb != NULL; verb++)
        print_case("", *verb);
    printf("  esac\n"
           "  words=\"$words");
    print_options(cli_global_options);
    printf("\"\n"
           "  COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
           "  if [[ $word != -* && ${#COMPREPLY[@]} -eq 0 ]]; then\n"
           "    COMPREPLY=($(compgen -f -- \"$word\"))\n"
           "  fi\n"
           "}\n"
           "complete -o filenames -F _polystore polystore\n");
    return POLY_OK;
}

const struct cli_verb cli_verb_completion = {
    .name = "completion",
    .arguments = "bash",
    .summary = "Print the completion script for a shell",
    .examples =
        (const struct cli_example[]){{"eval \"$(polystore completion bash)\"", "for this shell"},
                                     {NULL, NULL}},
    .min = 1,
    .max = 1,
    .run = run,
};
