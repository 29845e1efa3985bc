#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "cli/output.h"
#include "cli/verbs.h"

static void print_heading(struct cli_table *table, const json_t *row)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)row, name, value) cli_table_column(table, name);
}

static enum poly_status print(const struct cli *cli, const json_t *page, struct poly_error *err)
{
    const json_t *documents = json_object_get(page, "documents");
    const char *cursor = cli_json_string(page, "cursor");
    struct cli_table *table = cli_table_new();

    for (size_t i = 0; i < json_array_size(documents); i++) {
        json_t *row = json_object_get(json_array_get(documents, i), "row");
        const char *name;
        json_t *value;

        if (i == 0)
            print_heading(table, row);
        json_object_foreach(row, name, value) cli_table_json(table, value);
    }
    enum poly_status status = cli_table_print(table, stdout, err);

    cli_table_free(table);
    if (status == POLY_OK && cursor[0] != '\0' && !cli->quiet)
        fprintf(stderr, "polystore: there are more: --cursor '%s'\n", cursor);
    return status;
}

static enum poly_status run(struct cli *cli, struct poly_error *err)
{
    struct cli_request request = {.operation = "records.list"};
    struct poly_buffer filters;
    json_t *page = NULL;
    enum poly_status status;

    poly_buffer_init(&filters, POLY_MAX_SQL);
    status = cli_read_filters(cli, false, &filters, err);
    cli_parameter(&request, "domain", cli->arguments[0]);
    cli_parameter(&request, "filter", filters.data);
    cli_parameter(&request, "order", cli_option(cli, "order"));
    cli_parameter(&request, "descending", cli_option(cli, "descending") == NULL ? NULL : "true");
    cli_parameter(&request, "limit", cli_option(cli, "limit"));
    cli_parameter(&request, "cursor", cli_option(cli, "cursor"));
    if (status == POLY_OK)
        status = cli_ask_json(cli, &request, &page, err);
    if (status == POLY_OK && page != NULL)
        status = print(cli, page, err);
    json_decref(page);
    poly_buffer_release(&filters);
    return status;
}

const struct cli_verb cli_verb_list = {
    .name = "list",
    .arguments = "DOMAIN",
    .summary = "List records",
    .text =
        "A --where is COLUMN, a sign, VALUE: = != < <= > >= and ^= for a prefix; or 'COLUMN in "
        "A,B',\n"
        "'COLUMN is null', 'COLUMN is not null'. Inside of a JSON column: 'COLUMN$.path=VALUE'.\n"
        "Several must all hold.",
    .options =
        (const struct cli_option[]){
            {"where", 'w', "FILTER", NULL, "only records for which this holds; may come again"},
            {"order", 'o', "COLUMN", NULL, "by this column; default: the key"},
            {"descending", 'r', NULL, NULL, "the largest first"},
            {"limit", 'n', "N", NULL, "at most so many; default: 100"},
            {"cursor", 0, "CURSOR", NULL, "go on after the page before"},
            {NULL, 0, NULL, NULL, NULL},
        },
    .examples =
        (const struct cli_example[]){
            {"polystore list packages --where section=shells --order installed_size --descending "
             "--limit 5",
             "the five largest shells"},
            {"polystore list packages --where 'name^=bash' --where 'installed_size>=100' --json",
             "a prefix and a comparison"},
            {NULL, NULL},
        },
    .min = 1,
    .max = 1,
    .run = run,
};
