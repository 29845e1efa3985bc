/* Collections: options become the body as they are; what may be said, the API decides. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/limits.h"
#include "cli/output.h"
#include "cli/verbs.h"

enum { BODY_MAX = 1024 * 1024 };

/* --- create --- */

static void put_text(struct poly_buffer *body, const char *name, const char *text)
{
    if (text == NULL)
        return;
    poly_buffer_printf(body, ",\"%s\":", name);
    poly_json_string(body, text, strlen(text));
}

/* Which numbers there may be, the API says. */
static enum poly_status put_number(const struct cli *cli, struct poly_buffer *body,
                                   const char *name, const char *option, struct poly_error *err)
{
    int64_t number = 0;
    enum poly_status status = cli_option_number(cli, option, 0, INT32_MAX, &number, err);

    if (status == POLY_OK && cli_option(cli, option) != NULL)
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

/* "title=4,body": names, and weights of some. */
static enum poly_status put_fields(const char *list, struct poly_buffer *fields,
                                   struct poly_buffer *weights, struct poly_error *err)
{
    for (const char *at = list;; at++) {
        size_t size = strcspn(at, ","), name = strcspn(at, ",=");
        char *end = NULL;

        if (name == 0)
            return poly_fail(err, POLY_INVALID, "--text '%.64s': a field has no name", list);
        poly_buffer_text(fields, fields->size == 0 ? "" : ",");
        poly_json_string(fields, at, name);
        if (name < size) {
            double weight = strtod(at + name + 1, &end);

            if (end != at + size || !(weight > 0) || weight > 1e9)
                return poly_fail(err, POLY_INVALID,
                                 "--text '%.64s': a weight is a number above 0, as in title=4",
                                 list);
            poly_buffer_text(weights, weights->size == 0 ? "" : ",");
            poly_json_string(weights, at, name);
            poly_buffer_printf(weights, ":%.9g", weight);
        }
        at += size;
        if (*at == '\0')
            return POLY_OK;
    }
}

static enum poly_status put_searched(const struct cli *cli, struct poly_buffer *body,
                                     struct poly_error *err)
{
    struct poly_buffer fields, weights;
    enum poly_status status = POLY_OK;
    const char *list;
    size_t at = 0;

    poly_buffer_init(&fields, BODY_MAX);
    poly_buffer_init(&weights, BODY_MAX);
    while (status == POLY_OK && (list = cli_option_next(cli, "text", &at)) != NULL)
        status = put_fields(list, &fields, &weights, err);
    if (fields.size > 0)
        poly_buffer_printf(body, ",\"text\":[%s]", fields.data);
    if (weights.size > 0)
        poly_buffer_printf(body, ",\"weights\":{%s}", weights.data);
    body->failed = body->failed || !poly_buffer_ok(&fields) || !poly_buffer_ok(&weights);
    poly_buffer_release(&fields);
    poly_buffer_release(&weights);
    return status;
}

/* One of a vector's options, "m=32". */
static enum poly_status put_option(struct poly_buffer *body, const char *vector, const char *option,
                                   size_t size, struct poly_error *err)
{
    static const char *const names[] = {"metric", "element",         "model", "m",
                                        "ef",     "ef_construction", NULL};
    enum { TEXTS = 3 };
    size_t name = strcspn(option, "=,"), i = 0;
    char *end;
    long long number;

    while (names[i] != NULL && (strlen(names[i]) != name || memcmp(names[i], option, name) != 0))
        i++;
    if (names[i] == NULL || name >= size)
        return poly_fail(err, POLY_INVALID,
                         "--vector '%.64s': '%.*s' is none of metric=, element=, model=, m=, "
                         "ef_construction=, ef=",
                         vector, (int)(size > 64 ? 64 : size), option);
    poly_buffer_printf(body, ",\"%s\":", names[i]);
    if (i < TEXTS) {
        poly_json_string(body, option + name + 1, size - name - 1);
        return POLY_OK;
    }
    number = strtoll(option + name + 1, &end, 10);
    if (end != option + size || size == name + 1 || number < 0 || number > INT32_MAX)
        return poly_fail(err, POLY_INVALID, "--vector '%.64s': %s is a number", vector, names[i]);
    poly_buffer_printf(body, "%lld", number);
    return POLY_OK;
}

/* "title:384,metric=l2" */
static enum poly_status put_vector(struct poly_buffer *body, const char *vector,
                                   struct poly_error *err)
{
    size_t name = strcspn(vector, ":,");
    const char *at = vector + name;
    char *end = NULL;
    long long dimensions = *at == ':' ? strtoll(at + 1, &end, 10) : -1;
    enum poly_status status = POLY_OK;

    if (name == 0 || dimensions < 0 || dimensions > INT32_MAX || end == at + 1 ||
        (*end != ',' && *end != '\0'))
        return poly_fail(err, POLY_INVALID,
                         "--vector '%.64s': write NAME:DIMENSIONS, and options behind commas, as "
                         "in title:384,metric=l2",
                         vector);
    poly_buffer_text(body, "{\"name\":");
    poly_json_string(body, vector, name);
    poly_buffer_printf(body, ",\"dimensions\":%lld", dimensions);
    for (at = end; *at == ',' && status == POLY_OK;) {
        size_t size = strcspn(at + 1, ",");

        status = put_option(body, vector, at + 1, size, err);
        at += 1 + size;
    }
    poly_buffer_char(body, '}');
    return status;
}

static enum poly_status put_vectors(const struct cli *cli, struct poly_buffer *body,
                                    struct poly_error *err)
{
    enum poly_status status = POLY_OK;
    const char *vector, *between = ",\"vectors\":[";
    size_t at = 0;

    while (status == POLY_OK && (vector = cli_option_next(cli, "vector", &at)) != NULL) {
        poly_buffer_text(body, between);
        status = put_vector(body, vector, err);
        between = ",";
    }
    poly_buffer_text(body, between[1] == '\0' ? "]" : "");
    return status;
}

static enum poly_status put_body(const struct cli *cli, struct poly_buffer *body,
                                 struct poly_error *err)
{
    static const char *const numbers[][2] = {{"dimensions", "dimensions"},
                                             {"m", "m"},
                                             {"ef_construction", "ef-construction"},
                                             {"ef", "ef"}};
    static const char *const texts[] = {"metric", "element", "model", "tokenizer", "language"};
    enum poly_status status = POLY_OK;

    poly_buffer_text(body, "{\"name\":");
    poly_json_string(body, cli->arguments[0], strlen(cli->arguments[0]));
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        put_text(body, texts[i], cli_option(cli, texts[i]));
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]) && status == POLY_OK; i++)
        status = put_number(cli, body, numbers[i][0], numbers[i][1], err);
    if (status == POLY_OK)
        status = put_vectors(cli, body, err);
    if (status == POLY_OK)
        status = put_searched(cli, body, err);
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

    poly_buffer_init(&body, BODY_MAX);
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

/* A line for each vector of one that has several. */
static void add_lines(json_t *lines, const json_t *collection)
{
    const json_t *vectors = json_object_get(collection, "vectors"), *vector;
    size_t i;

    if (vectors == NULL)
        json_array_append_new(lines, json_copy((json_t *)collection));
    json_array_foreach(vectors, i, vector)
    {
        json_t *line = json_copy((json_t *)collection);

        json_object_update_missing(line, (json_t *)vector);
        json_object_set(line, "vector", json_object_get(vector, "name"));
        json_array_append_new(lines, line);
    }
}

static enum poly_status run_list(struct cli *cli, struct poly_error *err)
{
    static const struct cli_column columns[] = {{"name", "NAME"},
                                                {"vector", "VECTOR"},
                                                {"dimensions", "DIMENSIONS"},
                                                {"metric", "METRIC"},
                                                {"element", "ELEMENT"},
                                                {"filters", "FILTERS"},
                                                {"tenants", "TENANTS"},
                                                {"model", "MODEL"},
                                                {"text", "TEXT"},
                                                {NULL, NULL}};
    struct cli_request request = {.operation = "collections.list"};
    const json_t *collection;
    json_t *answer = NULL, *lines = json_array();
    enum poly_status status = cli_ask_json(cli, &request, &answer, err);
    size_t i;

    json_array_foreach(json_object_get(answer, "collections"), i, collection)
        add_lines(lines, collection);
    if (status == POLY_OK && answer != NULL)
        status = cli_print_list(lines, columns, err);
    json_decref(lines);
    json_decref(answer);
    return status;
}

/* --- the verbs --- */

const struct cli_verb cli_vector_create = {
    .name = "create",
    .arguments = "NAME",
    .summary = "Make a collection: a domain for records with vectors",
    .text = "Without polystore.yaml. Its columns are id (the key), metadata (JSON) and embedding;\n"
            "with --vector, which may come again, those of the vectors have their names:\n"
            "NAME:DIMENSIONS[,metric=…][,element=…][,m=…][,ef_construction=…][,ef=…][,model=…].\n"
            "One that is there with this very definition stays as it is.",
    .options =
        (const struct cli_option[]){
            {"dimensions", 0, "N", NULL, "how many numbers a vector has"},
            {"metric", 'm', "NAME", "cosine|inner|l2|hamming", "what near means; default: cosine"},
            {"element", 'e', "KIND", "f32|f16|int8|binary",
             "how exactly the index keeps a number; default: f32"},
            {"m", 0, "N", NULL, "links of a vector; default: 16"},
            {"ef-construction", 0, "N", NULL, "candidates while linking; default: 64"},
            {"ef", 0, "N", NULL, "candidates while searching; default: 64"},
            {"model", 0, "NAME", NULL, "that makes the vectors; a search may say it, too"},
            {"filter", 'f', "FIELD", NULL, "a field of the metadata to filter by; may come again"},
            {"vector", 'v', "NAME:N", NULL, "one of several vectors, instead of all above"},
            {"text", 0, "FIELDS", NULL,
             "fields of the metadata that are searched for words: title=4,body"},
            {"tokenizer", 0, "NAME", "words|trigram", "of that text; default: words"},
            {"language", 0, "NAME", "english|none", "… whose word endings do not matter"},
            {"tenants", 0, NULL, NULL, "each record belongs to the tenant who wrote it"},
            {NULL, 0, NULL, NULL, NULL},
        },
    .examples =
        (const struct cli_example[]){
            {"polystore vector create memories --dimensions 384 --filter team --filter day",
             "with two fields to filter by"},
            {"polystore vector create articles --dimensions 384 --text title=4,body",
             "found by their words, too: polystore search, and vector search --hybrid"},
            {"polystore vector create pictures --vector caption:384 --vector image:512,metric=l2",
             "two vectors for each record"},
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
