#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/limits.h"
#include "cli/output.h"
#include "cli/verbs.h"

static enum poly_status print_rows(const json_t *answer, struct poly_error *err)
{
    const json_t *rows = json_object_get(answer, "rows");
    struct cli_table *table = cli_table_new();
    const char *name;
    json_t *value;

    json_object_foreach(json_array_get(rows, 0), name, value) cli_table_column(table, name);
    for (size_t i = 0; i < json_array_size(rows); i++)
        json_object_foreach(json_array_get(rows, i), name, value) cli_table_json(table, value);
    enum poly_status status = cli_table_print(table, stdout, err);

    cli_table_free(table);
    return status;
}

/* "sql": …, "values": […] */
static enum poly_status add_statement(const struct cli *cli, struct poly_buffer *body,
                                      struct poly_error *err)
{
    struct poly_buffer text;
    enum poly_status status = POLY_OK;

    poly_buffer_init(&text, POLY_MAX_SQL);
    if (strcmp(cli->arguments[0], "-") == 0)
        status = cli_read_stdin(&text, err);
    else
        poly_buffer_text(&text, cli->arguments[0]);
    poly_buffer_text(body, "\"sql\":");
    poly_json_string(body, text.data == NULL ? "" : text.data, text.size);
    poly_buffer_text(body, ",\"values\":[");
    for (int i = 1; i < cli->argument_count && status == POLY_OK; i++) {
        const char *value = cli->arguments[i];
        size_t size = strlen(value);
        struct poly_error ignored;

        if (i > 1)
            poly_buffer_char(body, ',');
        if (poly_json_check(value, size, &ignored) == POLY_OK)
            poly_buffer_add(body, value, size);
        else
            poly_json_string(body, value, size);
    }
    poly_buffer_char(body, ']');
    poly_buffer_release(&text);
    return status;
}

static enum poly_status run(struct cli *cli, struct poly_error *err)
{
    bool writes = cli_option(cli, "write") != NULL;
    struct cli_request request = {.operation = writes ? "transactions.commit" : "sql.read"};
    struct poly_buffer body;
    json_t *answer = NULL;
    enum poly_status status;

    poly_buffer_init(&body, (size_t)8 * POLY_MAX_SQL);
    poly_buffer_text(&body, writes ? "{\"operations\":[{\"op\":\"sql\"," : "{");
    status = add_statement(cli, &body, err);
    poly_buffer_text(&body, writes ? "}]}" : "}");
    if (status == POLY_OK && !poly_buffer_ok(&body))
        status = poly_fail(err, POLY_LIMIT, "the statement is longer than %d bytes", POLY_MAX_SQL);
    request.body = body.data;
    request.body_size = body.size;
    if (status == POLY_OK)
        status = cli_ask_json(cli, &request, &answer, err);
    if (answer != NULL && writes) {
        int64_t rows =
            cli_json_integer(json_array_get(json_object_get(answer, "results"), 0), "count");

        printf("%" PRId64 " row%s changed\n", rows, rows == 1 ? "" : "s");
    } else if (answer != NULL) {
        status = print_rows(answer, err);
    }
    json_decref(answer);
    poly_buffer_release(&body);
    return status;
}

const struct cli_verb cli_verb_sql = {
    .name = "sql",
    .arguments = "STATEMENT|- [VALUE…]",
    .summary = "Run SQL",
    .text = "One statement that reads, on a snapshot; with --write one that writes, as a "
            "transaction of\n"
            "its own. VALUEs are those of ?1, ?2, …: JSON where they are JSON, text otherwise. '-' "
            "reads\n"
            "the statement from stdin.",
    .options =
        (const struct cli_option[]){
            {"write", 'w', NULL, NULL, "the statement writes"},
            {NULL, 0, NULL, NULL, NULL},
        },
    .examples =
        (const struct cli_example[]){
            {"polystore sql 'SELECT section, count(*) AS n FROM packages GROUP BY section ORDER BY "
             "n "
             "DESC LIMIT 5'",
             "the largest sections"},
            {"polystore sql 'SELECT name FROM packages WHERE installed_size > ?1' 500000",
             "with a value"},
            {"polystore sql --write 'UPDATE packages SET section = ?1 WHERE section = ?2' shell "
             "shells",
             "a change of many rows: each is in the log"},
            {NULL, NULL},
        },
    .min = 1,
    .max = -1,
    .run = run,
};
