/* Collections: options become the body as they are; what may be said, the API decides. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/limits.h"
#include "cli/output.h"
#include "cli/verbs.h"

/* --- create --- */

static void put_text(struct poly_buffer *body, const char *name, const char *text)
{
    if (text == NULL)
        return;
    poly_buffer_printf(body, ",\"%s\":", name);
    poly_json_string(body, text, strlen(text));
}

static enum poly_status put_number(const struct cli *cli, struct poly_buffer *body,
                                   const char *name, const char *option, struct poly_error *err)
{
    int64_t number = 0;
    enum poly_status status = cli_option_number(cli, option, 1, INT32_MAX, &number, err);

    if (status == POLY_OK && number != 0)
        poly_buffer_printf(body, ",\"%s\":%lld", name, (long long)number);
    return status;
}

static void put_filters(const struct cli *cli, struct poly_buffer *body)
{
    const char *filter;
    size_t at = 0;

    poly_buffer_text(body, ",\"filters\":[");
    while ((filter = cli_option_next(cli, "filter", &at)) != NULL) {
        if (body->data[body->size - 1] != '[')
            poly_buffer_char(body, ',');
        poly_json_string(body, filter, strlen(filter));
    }
    poly_buffer_char(body, ']');
}

static enum poly_status put_body(const struct cli *cli, struct poly_buffer *body,
                                 struct poly_error *err)
{
    static const char *const numbers[][2] = {{"dimensions", "dimensions"},
                                             {"m", "m"},
                                             {"ef_construction", "ef-construction"},
                                             {"ef", "ef"}};
    static const char *const texts[] = {"metric", "element", "model"};
    enum poly_status status = POLY_OK;

    poly_buffer_text(body, "{\"name\":");
    poly_json_string(body, cli->arguments[0], strlen(cli->arguments[0]));
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        put_text(body, texts[i], cli_option(cli, texts[i]));
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]) && status == POLY_OK; i++)
        status = put_number(cli, body, numbers[i][0], numbers[i][1], err);
    put_filters(cli, body);
    if (cli_option(cli, "tenants") != NULL)
        poly_buffer_text(body, ",\"tenants\":true");
    poly_buffer_char(body, '}');
    return status == POLY_OK && !poly_buffer_ok(body) ? poly_no_memory(err) : status;
}

static enum poly_status run_create(struct cli *cli, struct poly_error *err)
{
    struct cli_request request = {.operation = "collections.create"};
    struct poly_buffer body;
    json_t *answer = NULL;
    enum poly_status status;

    poly_buffer_init(&body, 1024 * 1024);
    status = put_body(cli, &body, err);
    request.body = body.data;
    request.body_size = body.size;
    if (status == POLY_OK)
        status = cli_ask_json(cli, &request, &answer, err);
    if (status == POLY_OK && answer != NULL && !cli->quiet)
        printf("%s: %s\n", cli->arguments[0],
               json_is_true(json_object_get(answer, "made")) ? "made"
                                                             : "there already, as it is wanted");
    json_decref(answer);
    poly_buffer_release(&body);
    return status;
}

/* --- drop --- */

static enum poly_status run_drop(struct cli *cli, struct poly_error *err)
{
    struct cli_request request = {.operation = "collections.drop"};

    cli_parameter(&request, "name", cli->arguments[0]);
    return cli_ask_done(cli, &request, cli->arguments[0], "dropped", err);
}

/* --- list --- */

static enum poly_status run_list(struct cli *cli, struct poly_error *err)
{
    static const struct cli_column columns[] = {
        {"name", "NAME"},       {"dimensions", "DIMENSIONS"}, {"metric", "METRIC"},
        {"element", "ELEMENT"}, {"filters", "FILTERS"},       {"tenants", "TENANTS"},
        {"model", "MODEL"},     {NULL, NULL}};
    struct cli_request request = {.operation = "collections.list"};

    return cli_ask_list(cli, &request, "collections", columns, err);
}

/* --- the verbs --- */

const struct cli_verb cli_vector_create = {
    .name = "create",
    .arguments = "NAME",
    .summary = "Make a collection: a domain for records with a vector",
    .text = "Without polystore.yaml. Its columns are id (the key), metadata (JSON) and embedding.\n"
            "One that is there with this very definition stays as it is.",
    .options =
        (const struct cli_option[]){
            {"dimensions", 'd', "N", NULL, "how many numbers a vector has"},
            {"metric", 'm', "NAME", "cosine|inner|l2|hamming", "what near means; default: cosine"},
            {"element", 'e', "KIND", "f32|f16|int8|binary",
             "how exactly the index keeps a number; default: f32"},
            {"m", 0, "N", NULL, "links of a vector; default: 16"},
            {"ef-construction", 0, "N", NULL, "candidates while linking; default: 64"},
            {"ef", 0, "N", NULL, "candidates while searching; default: 64"},
            {"model", 0, "NAME", NULL, "that makes the vectors; a search may say it, too"},
            {"filter", 'f', "FIELD", NULL, "a field of the metadata to filter by; may come again"},
            {"tenants", 0, NULL, NULL, "each record belongs to the tenant who wrote it"},
            {NULL, 0, NULL, NULL, NULL},
        },
    .examples =
        (const struct cli_example[]){
            {"polystore vector create memories --dimensions 384 --filter team --filter day",
             "with two fields to filter by"},
            {NULL, NULL},
        },
    .min = 1,
    .max = 1,
    .run = run_create,
};

const struct cli_verb cli_vector_drop = {
    .name = "drop",
    .arguments = "NAME",
    .summary = "Drop a collection, with all its records",
    .examples =
        (const struct cli_example[]){
            {"polystore vector create scratch --dimensions 3 && polystore vector drop scratch",
             "make one, and drop it"},
            {NULL, NULL},
        },
    .min = 1,
    .max = 1,
    .run = run_drop,
};

const struct cli_verb cli_vector_list = {
    .name = "list",
    .summary = "List the collections that were made",
    .examples =
        (const struct cli_example[]){{"polystore vector list", "all of them"}, {NULL, NULL}},
    .max = 0,
    .run = run_list,
};
