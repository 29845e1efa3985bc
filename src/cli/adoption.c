#include "cli/adoption.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/output.h"

enum { WAIT_S = 60, WAIT_MAX_S = 86400 };

enum poly_status cli_adoption_here(const struct cli *cli, struct poly_error *err)
{
    if (cli_option(cli, "server") == NULL)
        return POLY_OK;
    return poly_fail(err, POLY_INVALID,
                     "it works on the database itself, not through a daemon: leave --server out");
}

static bool tell(void *arg, const char *table, uint64_t done, uint64_t total)
{
    struct cli_adoption *adoption = arg;

    if (adoption->progress.what != NULL) {
        snprintf(adoption->table, sizeof(adoption->table), "%.150s", table);
        adoption->progress.what = adoption->table;
    }
    cli_progress_tell(&adoption->progress, done, total, done);
    return !cli_interrupted();
}

enum poly_status cli_adoption_open(struct cli *cli, struct cli_adoption *adoption,
                                   struct poly_error *err)
{
    int64_t wait = WAIT_S;
    enum poly_status status = cli_adoption_here(cli, err);

    *adoption = (struct cli_adoption){.table = ""};
    if (status == POLY_OK)
        status = cli_option_number(cli, "wait", 0, WAIT_MAX_S, &wait, err);
    if (status != POLY_OK)
        return status;
    *adoption = (struct cli_adoption){
        .options = {.config_file = cli_option(cli, "config"), .data = cli_option(cli, "data")},
        .run = {.wait_ms = (uint32_t)wait * 1000, .progress = tell, .arg = adoption},
    };
    if (adoption->options.config_file == NULL && access("polystore.yaml", F_OK) == 0)
        adoption->options.config_file = "polystore.yaml";
    if (adoption->options.config_file == NULL && adoption->options.data == NULL)
        return poly_fail(err, POLY_NOT_FOUND,
                         "there is no polystore.yaml here: say which with --config");
    cli_catch_interrupts();
    cli_progress_open(&adoption->progress, "", cli->quiet);
    return POLY_OK;
}

static enum poly_status print_json(const struct poly_adopt_report *report, struct poly_error *err)
{
    json_t *tables = json_array(), *notes = json_array(), *all;
    char kind[24], *text;

    for (size_t i = 0; i < report->count; i++) {
        const struct poly_adopt_item *item = &report->items[i];

        api_status_kind(item->status, kind);
        json_array_append_new(
            tables, json_pack("{s:s, s:s, s:s, s:s, s:I, s:I}", "table", item->table.data, "domain",
                              item->domain.data, "status", item->status == POLY_OK ? "ok" : kind,
                              "problem", item->problem.data, "rows", (json_int_t)item->rows,
                              "logged", (json_int_t)item->written));
    }
    for (size_t i = 0; i < report->note_count; i++)
        json_array_append_new(notes, json_string(report->notes[i].data));
    all = json_pack("{s:o, s:I, s:o}", "tables", tables, "problems", (json_int_t)report->problems,
                    "notes", notes);
    text = all == NULL ? NULL : json_dumps(all, JSON_COMPACT);
    json_decref(all);
    if (text == NULL)
        return poly_no_memory(err);
    puts(text);
    free(text);
    return POLY_OK;
}

static enum poly_status print_table(const struct poly_adopt_report *report, const char *what,
                                    struct poly_error *err)
{
    struct cli_table *table = cli_table_new();
    bool domains = report->count > 0 && report->items[0].domain.size > 0;
    enum poly_status status = POLY_OK;

    cli_table_column(table, "TABLE");
    if (domains)
        cli_table_column(table, "DOMAIN");
    cli_table_column(table, "STATE");
    if (domains)
        cli_table_column(table, "LOGGED");
    cli_table_column(table, "PROBLEM");
    for (size_t i = 0; i < report->count; i++) {
        const struct poly_adopt_item *item = &report->items[i];

        cli_table_text(table, item->table.data);
        if (domains)
            cli_table_text(table, item->domain.data);
        cli_table_text(table, item->status == POLY_OK        ? what
                              : item->status == POLY_TIMEOUT ? "locked"
                                                             : "no");
        if (domains && item->written >= 0)
            cli_table_number(table, item->written);
        else if (domains)
            cli_table_text(table, "");
        cli_table_text(table, item->problem.data);
    }
    cli_table_whole(table);
    if (report->count > 0)
        status = cli_table_print(table, stdout, err);
    cli_table_free(table);
    for (size_t i = 0; i < report->note_count; i++)
        fprintf(stderr, "polystore: %s\n", report->notes[i].data);
    return status;
}

enum poly_status cli_adoption_close(struct cli *cli, struct cli_adoption *adoption,
                                    struct poly_adopt_report *report, const char *what,
                                    struct poly_error *err)
{
    size_t problems = report->problems, count = report->count;
    enum poly_status worst = POLY_UNAVAILABLE, status;

    cli_progress_close(&adoption->progress);
    for (size_t i = 0; i < count; i++) {
        if (report->items[i].status != POLY_OK) {
            worst = report->items[i].status;
            break;
        }
    }
    status = cli->json ? print_json(report, err) : print_table(report, what, err);
    poly_adopt_report_free(report);
    if (status != POLY_OK || problems == 0)
        return status;
    if (cli_interrupted())
        return poly_fail(err, POLY_TIMEOUT, "interrupted; run it again, and it goes on");
    return poly_fail(err, worst, "%zu of %zu tables are not %s: see why, and run it again",
                     problems, count, what);
}
