/* Options become the body of a vector search as they are: what they may say, the API decides. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/json_floats.h"
#include "base/limits.h"
#include "cli/output.h"
#include "cli/vector_files.h"
#include "cli/verbs.h"

static const size_t body_max = (size_t)4 * 1024 * 1024;

/* --- a vector that is given: --vector JSON or --file FILE --- */

static enum poly_status check_array(const char *text, size_t size, const char *what,
                                    struct poly_error *err)
{
    enum poly_status status = poly_json_check(text, size, err);

    if (status != POLY_OK)
        return poly_fail_in(err, status, "%s", what);
    if (text[strspn(text, " \t\r\n")] != '[')
        return poly_fail(err, POLY_INVALID, "%s: must be an array of numbers: [0.1, 0.2]", what);
    return POLY_OK;
}

/* The first vector of .npy and .fvecs, as the member "vector". */
static enum poly_status read_numbers(struct cli_source *source, const struct cli_format *format,
                                     struct poly_buffer *array, struct poly_error *err)
{
    struct cli_vector_options options = {.field = "vector"};
    struct cli_import import;
    bool more;
    enum poly_status status;

    cli_import_open(&import, format, source);
    import.vectors = &options;
    status = format->next(&import, &more, err);
    if (status == POLY_OK && !more)
        status = poly_fail(err, POLY_INVALID, "%s holds no vector", source->name);
    if (status == POLY_OK) { /* {"vector":[…]} */
        const char *start = strchr(import.row.data, '[');

        poly_buffer_add(array, start, strlen(start) - 1);
    }
    cli_import_close(&import);
    return status;
}

static enum poly_status read_text(struct cli_source *source, struct poly_buffer *array,
                                  struct poly_error *err)
{
    bool more = true;
    enum poly_status status = POLY_OK;

    while (status == POLY_OK && more && poly_buffer_ok(array)) {
        status = cli_source_line(source, &more, err);
        poly_buffer_add(array, source->line.data, source->line.size);
        poly_buffer_char(array, '\n');
    }
    if (status != POLY_OK)
        return status;
    if (!poly_buffer_ok(array))
        return poly_fail(err, POLY_LIMIT, "%s is larger than a vector", source->name);
    return check_array(array->data, array->size, source->name, err);
}

static enum poly_status read_file(const char *path, struct poly_buffer *array,
                                  struct poly_error *err)
{
    const struct cli_format *format = NULL;
    struct poly_error ignored;
    struct cli_source source;
    enum poly_status status = cli_source_open(&source, path, err);

    if (status != POLY_OK)
        return status;
    if (cli_format_find(cli_vector_formats, NULL, path, &format, &ignored) == POLY_OK &&
        format->unit != NULL)
        status = read_numbers(&source, format, array, err);
    else
        status = read_text(&source, array, err);
    cli_source_close(&source);
    return status;
}

/* Empty when neither was given. */
static enum poly_status read_vector(const struct cli *cli, struct poly_buffer *array,
                                    struct poly_error *err)
{
    const char *text = cli_option(cli, "vector"), *path = cli_option(cli, "file");

    if (text != NULL && path != NULL)
        return poly_fail(err, POLY_INVALID, "--vector and --file exclude each other");
    if (path != NULL)
        return read_file(path, array, err);
    if (text == NULL)
        return POLY_OK;
    poly_buffer_text(array, text);
    return check_array(text, strlen(text), "--vector", err);
}

/* --- search --- */

static void open_member(struct poly_buffer *body, const char *name)
{
    if (body->size > 0 && body->data[body->size - 1] != '{')
        poly_buffer_char(body, ',');
    poly_json_string(body, name, strlen(name));
    poly_buffer_char(body, ':');
}

static void put_text(struct poly_buffer *body, const char *name, const char *text)
{
    if (text == NULL)
        return;
    open_member(body, name);
    poly_json_string(body, text, strlen(text));
}

static void put_flag(struct poly_buffer *body, const char *name, bool truth)
{
    if (!truth)
        return;
    open_member(body, name);
    poly_buffer_text(body, "true");
}

/* An option whose value is JSON: a number, an object. */
static enum poly_status put_json(const struct cli *cli, struct poly_buffer *body, const char *name,
                                 const char *option, struct poly_error *err)
{
    const char *text = cli_option(cli, option);
    enum poly_status status = text == NULL ? POLY_OK : poly_json_check(text, strlen(text), err);

    if (status != POLY_OK)
        return poly_fail_in(err, status, "--%s", option);
    if (text != NULL) {
        open_member(body, name);
        poly_buffer_text(body, text);
    }
    return POLY_OK;
}

static enum poly_status put_hybrid(const struct cli *cli, struct poly_buffer *body,
                                   struct poly_error *err)
{
    const char *query = cli_option(cli, "hybrid");
    enum poly_status status;

    if (query == NULL && cli_option(cli, "fusion") == NULL && cli_option(cli, "weight") == NULL)
        return POLY_OK;
    open_member(body, "hybrid");
    poly_buffer_char(body, '{');
    put_text(body, "query", query);
    put_text(body, "fusion", cli_option(cli, "fusion"));
    status = put_json(cli, body, "weight", "weight", err);
    poly_buffer_char(body, '}');
    return status;
}

static enum poly_status put_body(const struct cli *cli, struct poly_buffer *body,
                                 struct poly_error *err)
{
    static const char *const numbers[][2] = {{"where", "where"},   {"limit", "limit"},
                                             {"offset", "offset"}, {"threshold", "threshold"},
                                             {"ef", "ef"},         {"group_limit", "group-limit"}};
    static const char *const texts[] = {"name", "like", "text", "model", "group"};
    static const char *const flags[] = {"exact", "vectors", "explain"};
    enum poly_status status = POLY_OK;

    poly_buffer_text(body, "{\"domains\":[");
    for (int i = 0; i < cli->argument_count; i++) {
        poly_buffer_text(body, i == 0 ? "" : ",");
        poly_json_string(body, cli->arguments[i], strlen(cli->arguments[i]));
    }
    poly_buffer_char(body, ']');
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        put_text(body, texts[i], cli_option(cli, texts[i]));
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++)
        put_flag(body, flags[i], cli_option(cli, flags[i]) != NULL);
    put_flag(body, "rows", cli_option(cli, "rows") != NULL || cli_option(cli, "show") != NULL);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]) && status == POLY_OK; i++)
        status = put_json(cli, body, numbers[i][0], numbers[i][1], err);
    if (status == POLY_OK)
        status = put_hybrid(cli, body, err);
    return status;
}

static void put_number(struct cli_table *table, const json_t *match, const char *name)
{
    const json_t *number = json_object_get(match, name);
    char text[32] = "";

    if (number != NULL)
        snprintf(text, sizeof(text), "%.4f", json_number_value(number));
    cli_table_text(table, text);
}

static void put_shown(const struct cli *cli, struct cli_table *table, const json_t *row)
{
    const char *column;
    size_t at = 0;

    while ((column = cli_option_next(cli, "show", &at)) != NULL) {
        const json_t *value = json_object_get(row, column);

        if (value == NULL)
            cli_table_text(table, "");
        else
            cli_table_json(table, value);
    }
    if (cli_option(cli, "rows") != NULL && row != NULL)
        cli_table_json(table, row);
    else if (cli_option(cli, "rows") != NULL)
        cli_table_text(table, "");
}

static enum poly_status print_matches(const struct cli *cli, const json_t *answer,
                                      struct poly_error *err)
{
    const json_t *matches = json_object_get(answer, "matches");
    bool hybrid = cli_option(cli, "hybrid") != NULL, vectors = cli_option(cli, "vectors") != NULL;
    struct cli_table *table = cli_table_new();
    const char *column;
    size_t at = 0;

    if (hybrid)
        cli_table_column(table, "SCORE");
    cli_table_column(table, "SIMILARITY");
    cli_table_column(table, "DOMAIN");
    cli_table_column(table, "KEY");
    while ((column = cli_option_next(cli, "show", &at)) != NULL)
        cli_table_column(table, column);
    if (cli_option(cli, "rows") != NULL)
        cli_table_column(table, "ROW");
    if (vectors)
        cli_table_column(table, "VECTOR");
    for (size_t i = 0; i < json_array_size(matches); i++) {
        const json_t *match = json_array_get(matches, i);
        const json_t *vector = json_object_get(match, "vector");

        if (hybrid)
            put_number(table, match, "score");
        put_number(table, match, "similarity");
        cli_table_text(table, cli_json_string(match, "domain"));
        cli_table_text(table, cli_json_string(match, "key"));
        put_shown(cli, table, json_object_get(match, "row"));
        if (vectors && vector != NULL)
            cli_table_json(table, vector);
        else if (vectors)
            cli_table_text(table, "");
    }
    enum poly_status status = cli_table_print(table, stdout, err);

    cli_table_free(table);
    if (status == POLY_OK && cli_option(cli, "explain") != NULL)
        printf("plan: %s; candidates %" PRId64 ", visited %" PRId64 "\n",
               cli_json_string(answer, "plan"), cli_json_integer(answer, "candidates"),
               cli_json_integer(answer, "visited"));
    return status;
}

static enum poly_status search(struct cli *cli, struct poly_error *err)
{
    struct cli_request request = {.operation = "vectors.search"};
    struct poly_buffer body, array;
    json_t *answer = NULL;
    enum poly_status status;

    poly_buffer_init(&body, body_max);
    poly_buffer_init(&array, body_max / 4);
    status = read_vector(cli, &array, err);
    if (status == POLY_OK)
        status = put_body(cli, &body, err);
    if (status == POLY_OK && array.size > 0) {
        open_member(&body, "vector");
        poly_buffer_add(&body, array.data, array.size);
    }
    poly_buffer_char(&body, '}');
    if (status == POLY_OK && !poly_buffer_ok(&body))
        status = poly_fail(err, POLY_LIMIT, "the search is longer than %zu bytes", body_max);
    request.body = body.data;
    request.body_size = body.size;
    if (status == POLY_OK)
        status = cli_ask_json(cli, &request, &answer, err);
    if (status == POLY_OK && answer != NULL)
        status = print_matches(cli, answer, err);
    json_decref(answer);
    poly_buffer_release(&body);
    poly_buffer_release(&array);
    return status;
}

/* --- add --- */

static enum poly_status read_floats(const struct poly_buffer *array, struct poly_arena *arena,
                                    struct poly_floats *floats, struct poly_error *err)
{
    static const struct poly_floats_place place = {"v", 1, POLY_MAX_DIMENSIONS};
    char *text = poly_arena_printf(arena, "{\"v\":%s}", array->data);
    struct poly_floats_taken taken;
    enum poly_status status = POLY_OK;

    if (text == NULL)
        return poly_no_memory(err);
    status = poly_json_take_floats(poly_text(text), &place, arena, &taken, err);
    if (status == POLY_OK && taken.count != 1)
        return poly_fail(err, POLY_INVALID,
                         "the vector must be an array of 1 to %d numbers that singles can hold",
                         POLY_MAX_DIMENSIONS);
    if (status == POLY_OK)
        *floats = taken.arrays[0];
    return status;
}

static enum poly_status make_row(const struct cli *cli, struct poly_buffer *row,
                                 struct poly_error *err)
{
    const char *field = cli_option(cli, "field");
    struct cli_vector_options options = {
        .field = field == NULL ? "embedding" : field,
        .bytes = false, /* so that a wrong length is told as one of numbers */
    };
    struct poly_arena *arena = poly_arena_new(4 * body_max);
    struct poly_buffer array;
    struct poly_floats floats = {NULL, 0};
    enum poly_status status = arena == NULL ? poly_no_memory(err) : POLY_OK;

    poly_buffer_init(&array, body_max / 4);
    if (status == POLY_OK)
        status = read_vector(cli, &array, err);
    if (status == POLY_OK && array.size == 0)
        status = poly_fail(err, POLY_INVALID, "--vector JSON or --file FILE is missing");
    if (status == POLY_OK)
        status = read_floats(&array, arena, &floats, err);
    if (status == POLY_OK) {
        poly_buffer_char(row, '{');
        cli_put_vector(row, &options, floats.numbers, floats.count);
        status = put_json(cli, row, "metadata", "metadata", err);
        poly_buffer_char(row, '}');
    }
    poly_buffer_release(&array);
    poly_arena_free(arena);
    return status == POLY_OK && !poly_buffer_ok(row) ? poly_no_memory(err) : status;
}

static enum poly_status add(struct cli *cli, struct poly_error *err)
{
    bool put = cli_option(cli, "put") != NULL;
    struct cli_request request = {.operation = put ? "records.put" : "records.patch"};
    struct poly_buffer row;
    char etag[32];
    enum poly_status status;

    poly_buffer_init(&row, body_max);
    cli_parameter(&request, "domain", cli->arguments[0]);
    cli_parameter(&request, "key", cli->arguments[1]);
    status = make_row(cli, &row, err);
    if (status == POLY_OK)
        status = cli_read_if_version(cli, &request, etag, err);
    request.body = row.data;
    request.body_size = row.size;
    if (status == POLY_OK)
        status = cli_write(cli, &request, cli->arguments[0], err);
    poly_buffer_release(&row);
    return status;
}

/* --- stats, models --- */

static enum poly_status stats(struct cli *cli, struct poly_error *err)
{
    static const struct cli_column columns[] = {
        {"domain", "DOMAIN"},     {"name", "NAME"},
        {"metric", "METRIC"},     {"dimensions", "DIMENSIONS"},
        {"element", "ELEMENT"},   {"vectors", "VECTORS"},
        {"dead", "DEAD"},         {"linked", "LINKED"},
        {"unlinked", "UNLINKED"}, {"memory_bytes", "MEMORY"},
        {"file_bytes", "FILES"},  {"searches", "SEARCHES"},
        {"recall", "RECALL"},     {NULL, NULL}};
    struct cli_request request = {.operation = "vectors.stats"};

    return cli_ask_list(cli, &request, "indexes", columns, err);
}

static enum poly_status models(struct cli *cli, struct poly_error *err)
{
    static const struct cli_column columns[] = {{"domain", "DOMAIN"},
                                                {"name", "NAME"},
                                                {"model", "MODEL"},
                                                {"dimensions", "DIMENSIONS"},
                                                {"changes", "CHANGES"},
                                                {"next", "NEXT"},
                                                {"next_dimensions", "DIMENSIONS"},
                                                {"next_embedder", "EMBEDDER"},
                                                {"back", "BACK"},
                                                {"filled", "FILLED"},
                                                {"missing", "MISSING"},
                                                {"stale", "STALE"},
                                                {"refused", "REFUSED"},
                                                {NULL, NULL}};
    struct cli_request request = {.operation = "models.list"};

    if (cli->argument_count > 0)
        cli_parameter(&request, "domain", cli->arguments[0]);
    return cli_ask_list(cli, &request, "models", columns, err);
}

/* --- the verbs --- */

#define VECTOR                                                                                     \
    {"vector", 'v', "JSON", NULL, "the vector: [0.1, -0.2, …]"},                                   \
    {                                                                                              \
        "file", 'f', "FILE", NULL,                                                                 \
            "file with it: a JSON array, or the first of .npy or .fvecs; -: stdin"                 \
    }
#define FIELD                                                                                      \
    {                                                                                              \
        "field", 0, "COLUMN", NULL, "column of the vectors; default: embedding"                    \
    }
#define END                                                                                        \
    {                                                                                              \
        NULL, 0, NULL, NULL, NULL                                                                  \
    }

static const struct cli_verb verb_search = {
    .name = "search",
    .arguments = "DOMAIN…",
    .summary = "Find the records whose vectors are nearest",
    .text = "To a vector, to that of a record, or to that of a text, which the domain's embedder\n"
            "makes. Conditions are JSON, on the domain's vector\n"
            "filters: {\"section\": \"net\", \"size\": {\"<\": 100}}.",
    .options =
        (const struct cli_option[]){
            {"like", 'l', "KEY", NULL, "near the vector of this record"},
            {"text", 0, "TEXT", NULL, "near the vector of this text"},
            VECTOR,
            {"where", 'w', "JSON", NULL, "a condition"},
            {"limit", 'n', "N", NULL, "at most so many; default: 10"},
            {"offset", 0, "N", NULL, "leave out the first N"},
            {"threshold", 0, "SIMILARITY", NULL, "leave out what is less similar"},
            {"hybrid", 'H', "QUERY", NULL, "words that count, too"},
            {"fusion", 0, "HOW", "rank|weighted", "how the two orders become one; default: rank"},
            {"weight", 0, "WEIGHT", NULL, "of the vector's side, above 0 to 1; default: 0.5"},
            {"group", 0, "COLUMN", NULL, "only some of each value of this column"},
            {"group-limit", 0, "N", NULL, "how many; default: 1"},
            {"exact", 0, NULL, NULL, "look at every vector"},
            {"ef", 0, "N", NULL, "candidates kept while searching"},
            {"name", 0, "NAME", NULL, "which vector, where records have several"},
            {"model", 0, "NAME", NULL, "that made the vector; checked"},
            {"show", 0, "COLUMN", NULL, "show this column of the records; may come again"},
            {"rows", 0, NULL, NULL, "show the records"},
            {"vectors", 0, NULL, NULL, "show the vectors"},
            {"explain", 'x', NULL, NULL, "say how it was found"},
            END,
        },
    .examples =
        (const struct cli_example[]){
            {"polystore vector search packages --like bash --limit 5 --show summary",
             "what is like this package"},
            {"polystore vector search packages --like bash --where '{\"section\": \"shells\"}' "
             "--exact --explain",
             "a condition, and how it was found"},
            {"polystore vector search packages --like bash --hybrid 'command line'",
             "words count, too"},
            {NULL, NULL},
        },
    .min = 1,
    .max = -1,
    .run = search,
};

static const struct cli_verb verb_add = {
    .name = "add",
    .arguments = "DOMAIN KEY",
    .summary = "Give a record its vector",
    .text = "The record is there already, and its other columns stay; with --put it may be new.",
    .options =
        (const struct cli_option[]){
            VECTOR,
            FIELD,
            {"put", 'p', NULL, NULL, "put the record whole: what it had before goes"},
            {"metadata", 'm', "JSON", NULL, "the column metadata, which a collection has"},
            {"if-version", 0, "VERSION", NULL, "only if the record has this version"},
            END,
        },
    .examples =
        (const struct cli_example[]){
            {"polystore vector add packages ed --vector \"[$(seq -s, 100)]\"",
             "whatever made its 100 numbers"},
            {"polystore vector create notes --dimensions 2 && polystore vector add notes n1 --put "
             "--vector '[1, 2]' --metadata '{\"team\": \"core\"}'",
             "a new record of a collection"},
            {NULL, NULL},
        },
    .min = 2,
    .max = 2,
    .run = add,
};

static const struct cli_verb verb_import = {
    .name = "import",
    .arguments = "DOMAIN FILE|-",
    .summary = "Load the vectors of a file into a domain",
    .text =
        "fvecs, npy (f2, f4, f8): vectors only; keys stand in a file of their own, or are numbers\n"
        "from 0. jsonl: {\"key\": …, \"vector\": […], other columns} a line. copy: what "
        "PostgreSQL's\n"
        "COPY writes of a table with a pgvector column.\n"
        "\n"
        "Records are put, or with --patch changed, in transactions. What is wrong ends the "
        "import:\n"
        "its batch takes no effect, those before have. Run it again after mending: what is there\n"
        "already changes nothing.",
    .options =
        (const struct cli_option[]){
            {"format", 'F', "FORMAT", "fvecs|npy|jsonl|copy", "default: by the file's name"},
            FIELD,
            {"patch", 'p', NULL, NULL, "the records are there: change their vectors only"},
            {"model", 0, "NAME", NULL, "that made the vectors; checked"},
            {"keys", 'k', "FILE", NULL, "fvecs, npy: a key a line"},
            {"key-prefix", 0, "TEXT", NULL, "fvecs, npy: put before each key"},
            {"columns", 0, "NAMES", NULL, "copy: id,content,embedding"},
            {"key", 0, "COLUMN", NULL, "copy: which of them is the record's key"},
            {"batch", 0, "ROWS", NULL, "rows in a transaction, 1 to 1000; default: 1000"},
            END,
        },
    .examples =
        (const struct cli_example[]){
            {"echo \"{\\\"key\\\": \\\"ed\\\", \\\"vector\\\": [$(seq -s, 100)]}\" | polystore "
             "vector import packages --patch --format jsonl -",
             "JSON lines of keys and vectors"},
            {NULL, NULL},
        },
    .min = 2,
    .max = 2,
    .run = cli_vector_import,
};

static const struct cli_verb verb_stats = {
    .name = "stats",
    .summary = "How large the vector indexes are, and how good",
    .examples =
        (const struct cli_example[]){{"polystore vector stats", "of every domain"}, {NULL, NULL}},
    .min = 0,
    .max = 0,
    .run = stats,
};

static const struct cli_verb verb_models = {
    .name = "models",
    .arguments = "[DOMAIN]",
    .summary = "Which models vectors are of, and what is kept beside them",
    .text = "Of one domain also how many vectors are kept, and how many records lack one. See "
            "'polystore\n"
            "rebuild'.",
    .examples =
        (const struct cli_example[]){{"polystore vector models", "of every domain"}, {NULL, NULL}},
    .min = 0,
    .max = 1,
    .run = models,
};

const struct cli_verb cli_verb_vector = {
    .name = "vector",
    .summary = "Find records by their vectors, and load vectors",
    .text =
        "A domain's vectors are declared in polystore.yaml, or 'polystore vector create' makes a\n"
        "collection. 'polystore rebuild vector' builds their index again.",
    .examples =
        (const struct cli_example[]){
            {"polystore vector search packages --like bash", "the nearest"}, {NULL, NULL}},
    .verbs = (const struct cli_verb *const[]){&verb_search, &verb_add, &verb_import, &verb_stats,
                                              &verb_models, &cli_vector_create, &cli_vector_drop,
                                              &cli_vector_list, &cli_verb_vector_refused,
                                              &cli_verb_vector_retry, NULL},
};
