/*
 * polystore: parse, run the verb, say what went wrong on one line, end with
 * the exit code of the status table.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "cli/help.h"
#include "cli/options.h"
#include "cli/verbs.h"

static void print_error_json(const char *verb, const struct poly_error *error)
{
    struct poly_buffer out;
    char kind[24];

    poly_buffer_init(&out, 8192);
    api_status_kind(error->status, kind);
    poly_buffer_printf(&out, "{\"error\":\"%s\",\"verb\":", kind);
    poly_json_string(&out, verb, strlen(verb));
    poly_buffer_text(&out, ",\"message\":");
    poly_json_string(&out, error->message, strlen(error->message));
    if (error->position >= 0)
        poly_buffer_printf(&out, ",\"position\":%d", error->position);
    poly_buffer_text(&out, "}\n");
    if (poly_buffer_ok(&out))
        fputs(out.data, stderr);
    poly_buffer_release(&out);
}

/* An empty message: the verb has said it all, only the exit code counts. */
static void print_error(const struct cli *cli, struct poly_error *error)
{
    char verb[64];

    if (error->message[0] == '\0')
        return;
    cli_verb_name(cli, verb);
    if (cli->json) {
        print_error_json(verb, error);
        return;
    }
    for (char *c = error->message; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
    fprintf(stderr, "polystore: %s%s%s\n", verb, verb[0] == '\0' ? "" : ": ", error->message);
}

static enum poly_status flush(struct poly_error *err)
{
    if (fflush(stdout) == 0 && ferror(stdout) == 0)
        return POLY_OK;
    if (errno == EPIPE) /* "| head" has what it wants */
        return poly_fail(err, POLY_UNAVAILABLE, "%s", "");
    return poly_fail(err, POLY_UNAVAILABLE, "standard output cannot be written: %m");
}

static enum poly_status run(struct cli *cli, struct poly_error *err)
{
    if (cli->help || cli->verb == NULL) {
        cli_help(stdout, cli->group, cli->verb);
        return cli->help ? POLY_OK : poly_fail(err, POLY_INVALID, "%s", "");
    }
    return cli->verb->run(cli, err);
}

int main(int count, char **words)
{
    struct cli cli = {.verb = NULL};
    struct poly_error error = {.status = POLY_OK, .position = -1};

    signal(SIGPIPE, SIG_IGN);
    enum poly_status status = cli_parse(&cli, count, words, &error);

    /* Parsing may fail before it has come to --json. */
    for (int i = 1; status != POLY_OK && i < count; i++)
        cli.json = cli.json || strcmp(words[i], "--json") == 0;
    if (status == POLY_OK)
        status = run(&cli, &error);
    cli_client_close(cli.client);

    struct poly_error written = {.position = -1};

    if (flush(&written) != POLY_OK && status == POLY_OK) {
        status = written.status;
        error = written;
    }
    if (status != POLY_OK)
        print_error(&cli, &error);
    return poly_status_exit(status);
}
