#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "cli/output.h"
#include "cli/verbs.h"

static enum poly_status print(const struct cli *cli, const json_t *answer, struct poly_error *err)
{
    const json_t *hits = json_object_get(answer, "hits");
    struct cli_table *table = cli_table_new();

    cli_table_column(table, "SCORE");
    cli_table_column(table, "DOMAIN");
    cli_table_column(table, "KEY");
    cli_table_column(table, "SNIPPET");
    for (size_t i = 0; i < json_array_size(hits); i++) {
        const json_t *hit = json_array_get(hits, i);
        char score[32];
        int size = snprintf(score, sizeof(score), "%.2f",
                            json_number_value(json_object_get(hit, "score")));

        cli_table_bytes(table, score, (size_t)size);
        cli_table_text(table, cli_json_string(hit, "domain"));
        cli_table_text(table, cli_json_string(hit, "key"));
        cli_table_text(table, cli_json_string(hit, "snippet"));
    }
    enum poly_status status = cli_table_print(table, stdout, err);

    cli_table_free(table);
    if (status == POLY_OK && cli_option(cli, "count") != NULL)
        printf("%" PRId64 " in all\n", cli_json_integer(answer, "total"));
    return status;
}

static enum poly_status run(struct cli *cli, struct poly_error *err)
{
    struct cli_request request = {.operation = "search.query"};
    struct poly_buffer filters, query;
    json_t *answer = NULL;
    enum poly_status status;

    poly_buffer_init(&filters, POLY_MAX_SQL);
    poly_buffer_init(&query, (size_t)64 * 1024);
    for (int i = 0; i < cli->argument_count; i++) {
        poly_buffer_text(&query, i == 0 ? "" : " ");
        poly_buffer_text(&query, cli->arguments[i]);
    }
    status = cli_read_filters(cli, true, &filters, err);
    if (status == POLY_OK && !poly_buffer_ok(&query))
        status = poly_fail(err, POLY_LIMIT, "the query is longer than %d bytes", POLY_MAX_QUERY);
    cli_parameter(&request, "q", query.data);
    cli_repeat(cli, "domain", &request, "domain");
    cli_parameter(&request, "filter", filters.data);
    cli_parameter(&request, "where", cli_option(cli, "condition"));
    cli_parameter(&request, "limit", cli_option(cli, "limit"));
    cli_parameter(&request, "offset", cli_option(cli, "offset"));
    cli_parameter(&request, "count", cli_option(cli, "count") == NULL ? NULL : "true");
    if (!cli->json || cli_option(cli, "highlight") != NULL)
        cli_parameter(&request, "highlight", "true");
    if (!cli->json) {
        cli_parameter(&request, "mark_open", "[");
        cli_parameter(&request, "mark_close", "]");
    }
    if (status == POLY_OK)
        status = cli_ask_json(cli, &request, &answer, err);
    if (status == POLY_OK && answer != NULL)
        status = print(cli, answer, err);
    json_decref(answer);
    poly_buffer_release(&filters);
    poly_buffer_release(&query);
    return status;
}

const struct cli_verb cli_verb_search = {
    .name = "search",
    .arguments = "QUERY…",
    .summary = "Search the text of records and events",
    .text = "Words must all match. \"a phrase\", prefix*, -not, OR, (groups), field:word. Several "
            "arguments\n"
            "are one query; after -- one may begin with '-'.",
    .options =
        (const struct cli_option[]){
            {"domain", 'D', "NAME", NULL, "in this domain only; may come again"},
            {"where", 'w', "FILTER", NULL,
             "as in 'polystore list', on the fields that may be filtered"},
            {"condition", 0, "JSON", NULL,
             "one with 'or' and 'not' on these fields, as in 'polystore vector search'"},
            {"limit", 'n', "N", NULL, "at most so many; default: 10"},
            {"offset", 0, "N", NULL, "leave out the first N"},
            {"count", 'C', NULL, NULL, "count all that match"},
            {"highlight", 'H', NULL, NULL, "with --json: mark what matches"},
            {NULL, 0, NULL, NULL, NULL},
        },
    .examples =
        (const struct cli_example[]){
            {"polystore search 'shell -windows' --limit 5",
             "words that must and must not be there"},
            {"polystore search '\"text editor\" OR edit*' --where section=editors --count",
             "a phrase, a prefix, a filter"},
            {NULL, NULL},
        },
    .min = 1,
    .max = -1,
    .run = run,
};
