/* The man page: the same tables as roff. */
#include <ctype.h>

#include "cli/help.h"

/* A line that begins with a dot would be a request; '-' would become a hyphen. */
static void roff(FILE *out, const char *text)
{
    bool first = true;

    for (; *text != '\0'; text++) {
        if (first && (*text == '.' || *text == '\''))
            fputs("\\&", out);
        first = *text == '\n';
        if (*text == '\\')
            fputs("\\e", out);
        else if (*text == '-')
            fputs("\\-", out);
        else
            fputc(*text, out);
    }
}

static void paragraphs(FILE *out, const char *text)
{
    for (; text != NULL && *text != '\0'; text++) {
        if (text[0] == '\n' && text[1] == '\n') {
            fputs("\n.PP\n", out);
            text++;
            continue;
        }
        char one[2] = {*text, '\0'};

        roff(out, one);
    }
    fputc('\n', out);
}

static void options(FILE *out, const struct cli_option *list)
{
    for (; list != NULL && list->name != NULL; list++) {
        fputs(".TP\n.B ", out);
        if (list->letter != 0)
            fprintf(out, "\\-%c, ", list->letter);
        fputs("\\-\\-", out);
        roff(out, list->name);
        if (list->value != NULL)
            fprintf(out, " \\fI%s\\fR", list->value);
        fputc('\n', out);
        roff(out, list->help);
        fputc('\n', out);
    }
}

static void verb_section(FILE *out, const struct cli_verb *group, const struct cli_verb *verb)
{
    fprintf(out, ".SS \"%s%s%s", group == NULL ? "" : group->name, group == NULL ? "" : " ",
            verb->name);
    if (verb->arguments != NULL) {
        fputc(' ', out);
        for (const char *c = verb->arguments; *c != '\0'; c++)
            fputs(*c == '"' ? "\\(dq" : (char[2]){*c, '\0'}, out);
    }
    fputs("\"\n", out);
    roff(out, verb->summary);
    fputs(".\n", out);
    if (verb->text != NULL) {
        fputs(".PP\n", out);
        paragraphs(out, verb->text);
    }
    options(out, verb->options);
    for (const struct cli_example *example = verb->examples;
         example != NULL && example->command != NULL; example++) {
        fputs(".PP\n", out);
        roff(out, example->meaning);
        fputs(":\n.PP\n.RS 4\n.nf\n", out);
        roff(out, example->command);
        fputs("\n.fi\n.RE\n", out);
    }
    for (const struct cli_verb *const *sub = verb->verbs; sub != NULL && *sub != NULL; sub++)
        verb_section(out, verb, *sub);
}

static void exit_codes(FILE *out)
{
    fputs(".SH EXIT STATUS\n", out);
    for (int i = 0; i < POLY_STATUS_COUNT; i++) {
        enum poly_status status = (enum poly_status)i;

        fprintf(out, ".TP\n.B %d\n", poly_status_exit(status));
        roff(out, poly_status_meaning(status));
        fputc('\n', out);
    }
}

void cli_help_man(FILE *out)
{
    fprintf(
        out,
        ".TH POLYSTORE 1 \"\" \"polystore %s\" \"User Commands\"\n.SH NAME\n"
        "polystore \\- one data layer over one log\n.SH SYNOPSIS\n"
        ".B polystore\n[\\fIOPTION\\fR]... \\fIVERB\\fR [\\fIARGUMENT\\fR]...\n"
        ".SH DESCRIPTION\n"
        "Works on the data folder directly when no daemon runs, and through the daemon when one\n"
        "does: the same verbs, the same answers.\n.SH OPTIONS\n",
        poly_version());
    options(out, cli_global_options);
    fputs(".SH VERBS\n", out);
    for (const struct cli_verb *const *verb = cli_verbs; *verb != NULL; verb++)
        verb_section(out, NULL, *verb);
    exit_codes(out);
    fputs(".SH ENVIRONMENT\n.TP\n.B POLYSTORE_KEY\nAPI key for the daemon\n", out);
    fputs(".SH FILES\n.TP\n.I polystore.yaml\nconfiguration\n.TP\n.I data/admin.key\n"
          "administrator's key, made by the first start of the daemon\n"
          ".SH SEE ALSO\n.BR polystored (8)\n",
          out);
}
