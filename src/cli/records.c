/* How a write is told, and how a record of the log looks on one line. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/output.h"
#include "cli/verbs.h"

/* "notes 7: version 12"; nothing changed: "notes 7: unchanged". */
static void print_results(const char *what, const json_t *commit)
{
    const json_t *results = json_object_get(commit, "results");

    for (size_t i = 0; i < json_array_size(results); i++) {
        const json_t *result = json_array_get(results, i);
        const char *key = cli_json_string(result, "key");
        int64_t version = cli_json_integer(result, "version");
        struct poly_buffer line;

        poly_buffer_init(&line, 64 * 1024);
        poly_buffer_printf(&line, "%s%s%s: ", what, key[0] == '\0' ? "" : " ", key);
        if (cli_json_integer(result, "count") == 0)
            poly_buffer_text(&line, "unchanged");
        else if (version > 0)
            poly_buffer_printf(&line, "version %" PRId64, version);
        else
            poly_buffer_text(&line, "done");
        if (cli_json_true(commit, "replayed"))
            poly_buffer_text(&line, " (was done before: this is the first result)");
        if (poly_buffer_ok(&line))
            cli_print_line(stdout, line.data, line.size);
        poly_buffer_release(&line);
    }
}

enum poly_status cli_write(struct cli *cli, struct cli_request *request, const char *what,
                           struct poly_error *err)
{
    json_t *commit;
    enum poly_status status = cli_ask_json(cli, request, &commit, err);

    if (status == POLY_OK && commit != NULL) {
        print_results(what, commit);
        if (!cli->quiet)
            printf("token %s\n", cli_json_string(commit, "token"));
    }
    json_decref(commit);
    return status;
}

void cli_print_record(const json_t *record)
{
    struct poly_buffer line;
    const char *tenant = cli_json_string(record, "tenant");
    const char *key = cli_json_string(record, "key");

    poly_buffer_init(&line, (size_t)256 * 1024 * 1024);
    poly_buffer_printf(&line, "%" PRId64 "  %s  %s%s%s%s%s  %s  ",
                       cli_json_integer(record, "position"), cli_json_string(record, "time"),
                       tenant, tenant[0] == '\0' ? "" : "/", cli_json_string(record, "domain"),
                       key[0] == '\0' ? "" : "-", key, cli_json_string(record, "type"));
    cli_json_text(&line, json_object_get(record, "data"));
    if (poly_buffer_ok(&line))
        cli_print_line(stdout, line.data, line.size);
    poly_buffer_release(&line);
}
