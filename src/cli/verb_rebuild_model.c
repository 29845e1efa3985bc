/*
 * Change of model: vectors of a file are given beside those that serve, in batches, and then
 * exchanged for them. Each batch is kept when it is answered, so what broke off is run again.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/rebuild_model.h"
#include "cli/vector_files.h"
#include "cli/verbs.h"

enum { BATCH_ROWS = 1000, BATCH_BYTES = 1024 * 1024 };

struct filling {
    struct cli *cli;
    struct cli_source source, keys;
    struct cli_vector_options options;
    struct cli_import import;
    struct cli_progress progress;
    struct poly_buffer body;
    int64_t batch_rows;
    size_t count;   /* in the body */
    uint64_t first; /* … from that line on */
    uint64_t read, taken, unknown, stale;
};

/* --- one request --- */

static const char *domain_of(const struct cli *cli)
{
    return cli->arguments[1];
}

static void put_text(struct poly_buffer *body, const char *name, const char *value)
{
    if (value == NULL)
        return;
    poly_buffer_char(body, body->size > 1 ? ',' : ' ');
    poly_json_string(body, name, strlen(name));
    poly_buffer_char(body, ':');
    poly_json_string(body, value, strlen(value));
}

/* The answer, parsed; NULL: it has no body. With --json nothing is printed yet. */
static enum poly_status ask(struct cli *cli, const char *operation, const struct poly_buffer *body,
                            json_t **answer, struct poly_error *err)
{
    struct cli_request request = {.operation = operation};
    struct cli_answer got;
    enum poly_status status;

    *answer = NULL;
    if (body != NULL && !poly_buffer_ok(body))
        return poly_no_memory(err);
    request.body = body == NULL ? NULL : body->data;
    request.body_size = body == NULL ? 0 : body->size;
    cli_parameter(&request, "domain", domain_of(cli));
    if (body == NULL)
        cli_parameter(&request, "name", cli_option(cli, "name"));
    status = cli_ask(cli, &request, &got, err);
    if (status == POLY_OK && got.body.size > 0) {
        *answer = json_loadb(got.body.data, got.body.size, 0, NULL);
        if (*answer == NULL)
            status = poly_fail(err, POLY_INTERNAL, "the answer is not JSON");
    }
    poly_buffer_release(&got.body);
    return status;
}

/* dimensions 0: back. */
static enum poly_status begin(struct cli *cli, int64_t dimensions, struct poly_error *err)
{
    struct poly_buffer body;
    json_t *answer;
    enum poly_status status;

    poly_buffer_init(&body, POLY_MAX_VALUE);
    poly_buffer_char(&body, '{');
    put_text(&body, "name", cli_option(cli, "name"));
    put_text(&body, "model", cli_option(cli, "model"));
    put_text(&body, "embedder", cli_option(cli, "embedder"));
    if (body.size > 1)
        poly_buffer_char(&body, ',');
    if (dimensions == 0)
        poly_buffer_text(&body, "\"back\":true}");
    else
        poly_buffer_printf(&body, "\"dimensions\":%" PRId64 "}", dimensions);
    status = ask(cli, "models.begin", &body, &answer, err);
    poly_buffer_release(&body);
    json_decref(answer);
    return status;
}

/* --- filling --- */

static void begin_body(struct filling *f)
{
    poly_buffer_clear(&f->body);
    poly_buffer_char(&f->body, '{');
    put_text(&f->body, "name", cli_option(f->cli, "name"));
    put_text(&f->body, "model", cli_option(f->cli, "model"));
    poly_buffer_text(&f->body, ",\"vectors\":[");
    f->count = 0;
    f->first = f->import.line;
}

static const char *unit_of(const struct filling *f)
{
    return f->import.format->unit == NULL ? "line" : f->import.format->unit;
}

static enum poly_status send(struct filling *f, struct poly_error *err)
{
    json_t *answer;
    enum poly_status status;

    if (f->count == 0)
        return POLY_OK;
    poly_buffer_text(&f->body, "]}");
    status = ask(f->cli, "models.add", &f->body, &answer, err);
    f->count = 0;
    if (status != POLY_OK)
        return poly_fail_in(err, status, "%ss %" PRIu64 " to %" PRIu64, unit_of(f), f->first,
                            f->import.line);
    f->taken += (uint64_t)cli_json_integer(answer, "taken");
    f->unknown += (uint64_t)cli_json_integer(answer, "unknown");
    f->stale += (uint64_t)cli_json_integer(answer, "stale");
    json_decref(answer);
    return POLY_OK;
}

/* The row is {"vector":[…], …}; the key goes before its members. */
static enum poly_status add_row(struct filling *f, struct poly_error *err)
{
    const struct poly_buffer *key = &f->import.key, *row = &f->import.row;

    if (key->size == 0)
        return cli_import_fail(&f->import, f->import.line, err, "it has no key");
    if (f->count == 0)
        begin_body(f);
    else
        poly_buffer_char(&f->body, ',');
    poly_buffer_text(&f->body, "{\"key\":");
    poly_json_string(&f->body, key->data, key->size);
    if (row->size > 2)
        poly_buffer_char(&f->body, ',');
    poly_buffer_add(&f->body, row->data + 1, row->size - 1);
    f->count++;
    f->read++;
    return POLY_OK;
}

static enum poly_status fill(struct filling *f, struct poly_error *err)
{
    for (;;) {
        bool more;
        enum poly_status status = f->import.format->next(&f->import, &more, err);

        if (status != POLY_OK)
            return status;
        if (cli_interrupted())
            return poly_fail(err, POLY_TIMEOUT, "interrupted");
        if (!more)
            return send(f, err);
        status = add_row(f, err);
        if (status == POLY_OK &&
            ((int64_t)f->count >= f->batch_rows || f->body.size >= BATCH_BYTES))
            status = send(f, err);
        if (status != POLY_OK)
            return status;
        cli_progress_tell(&f->progress, f->source.done, f->source.total, f->read);
    }
}

static enum poly_status open_filling(struct filling *f, const char *path, struct poly_error *err)
{
    struct cli *cli = f->cli;
    const char *keys = cli_option(cli, "keys"), *field = cli_option(cli, "field");
    const struct cli_format *format;
    enum poly_status status =
        cli_format_find(cli_vector_formats, cli_option(cli, "format"), path, &format, err);

    f->batch_rows = BATCH_ROWS;
    if (status == POLY_OK)
        status = cli_option_number(cli, "batch", 1, BATCH_ROWS, &f->batch_rows, err);
    if (status == POLY_OK && format == &cli_format_copy &&
        (cli_option(cli, "columns") == NULL || cli_option(cli, "key") == NULL))
        status = poly_fail(err, POLY_INVALID,
                           "copy needs --columns, the names of its columns, and --key, which of "
                           "them is the record's key");
    if (status == POLY_OK && keys != NULL)
        status = cli_source_open(&f->keys, keys, err);
    if (status == POLY_OK)
        status = cli_source_open(&f->source, path, err);
    if (status != POLY_OK)
        return status;
    f->options = (struct cli_vector_options){
        .field = format != &cli_format_copy ? "vector"
                 : field == NULL            ? "embedding"
                                            : field,
        .as = "vector",
        .prefix = cli_option(cli, "key-prefix"),
        .keys = keys == NULL ? NULL : &f->keys,
        .columns = cli_option(cli, "columns"),
        .key = cli_option(cli, "key"),
    };
    cli_import_open(&f->import, format, &f->source);
    f->import.vectors = &f->options;
    return POLY_OK;
}

static enum poly_status fill_from(struct filling *f, const char *path, struct poly_error *err)
{
    enum poly_status status;

    poly_buffer_init(&f->body, POLY_MAX_TXN_BYTES);
    status = open_filling(f, path, err);
    if (status == POLY_OK) {
        cli_catch_interrupts();
        cli_progress_open(&f->progress, "vectors", f->cli->quiet);
        status = fill(f, err);
        cli_progress_close(&f->progress);
    }
    if (f->import.source != NULL)
        cli_import_close(&f->import);
    cli_source_close(&f->source);
    cli_source_close(&f->keys);
    poly_buffer_release(&f->body);
    if (status != POLY_OK && f->taken > 0)
        return poly_fail_in(err, status, "%" PRIu64 " vectors are kept; run it again", f->taken);
    return status;
}

/* --- the end --- */

enum poly_status cli_rebuild_swap(struct cli *cli, bool back, json_t **answer,
                                  struct poly_error *err)
{
    struct poly_buffer body;
    enum poly_status status;

    poly_buffer_init(&body, POLY_MAX_VALUE);
    poly_buffer_char(&body, '{');
    put_text(&body, "name", cli_option(cli, "name"));
    poly_buffer_printf(&body, "%s\"back\":%s,\"drop_missing\":%s,\"skip_refused\":%s}",
                       body.size > 1 ? "," : "", back ? "true" : "false",
                       cli_option(cli, "drop-missing") != NULL ? "true" : "false",
                       cli_option(cli, "skip-refused") != NULL ? "true" : "false");
    status = ask(cli, "models.swap", &body, answer, err);
    poly_buffer_release(&body);
    return status;
}

static void print(const struct filling *f, const json_t *swapped)
{
    struct cli *cli = f->cli;

    if (cli->json) {
        printf("{\"domain\":\"%s\",\"read\":%" PRIu64 ",\"taken\":%" PRIu64 ",\"unknown\":%" PRIu64
               ",\"stale\":%" PRIu64 ",\"swapped\":",
               domain_of(cli), f->read, f->taken, f->unknown, f->stale);
        if (swapped == NULL)
            printf("null");
        else
            json_dumpf(swapped, stdout, JSON_COMPACT);
        printf("}\n");
        return;
    }
    if (f->read > 0)
        printf("%s: %" PRIu64 " vectors kept; %" PRIu64 " of no record, %" PRIu64
               " of another version, left out\n",
               domain_of(cli), f->taken, f->unknown, f->stale);
    if (swapped == NULL)
        return;
    printf("%s: %" PRId64 " records have vectors of '%s' now, of %" PRId64 " dimensions",
           domain_of(cli), cli_json_integer(swapped, "changed"), cli_json_string(swapped, "model"),
           cli_json_integer(swapped, "dimensions"));
    if (cli_json_integer(swapped, "dropped") > 0)
        printf("; %" PRId64 " have none any more", cli_json_integer(swapped, "dropped"));
    printf("\n");
}

static enum poly_status abandon(struct cli *cli, struct poly_error *err)
{
    json_t *answer;
    enum poly_status status = ask(cli, "models.abandon", NULL, &answer, err);

    json_decref(answer);
    if (status == POLY_OK && !cli->json)
        printf("%s: what was kept beside its vectors is gone\n", domain_of(cli));
    return status;
}

static enum poly_status check(const struct cli *cli, int64_t *dimensions, struct poly_error *err)
{
    bool back = cli_option(cli, "back") != NULL, gone = cli_option(cli, "abandon") != NULL;
    bool model = cli_option(cli, "model") != NULL, by = cli_option(cli, "embedder") != NULL;

    if (strcmp(cli->arguments[0], "vector") != 0)
        return poly_fail(err, POLY_INVALID, "only 'vector' is rebuilt for one domain");
    if (back + gone + model != 1)
        return poly_fail(err, POLY_INVALID,
                         "with a domain one of --model, --back and --abandon is wanted");
    if (model && cli_option(cli, "dimensions") == NULL)
        return poly_fail(err, POLY_INVALID,
                         "--model needs --dimensions: how many numbers its vectors have");
    if (by && (!model || cli_option(cli, "from") != NULL))
        return poly_fail(err, POLY_INVALID,
                         "--embedder makes the vectors of --model, without "
                         "--from");
    return model ? cli_option_number(cli, "dimensions", 1, POLY_MAX_DIMENSIONS, dimensions, err)
                 : POLY_OK;
}

/* Where an embedder makes the vectors. */
static enum poly_status embed(struct filling *f, bool back, int64_t dimensions, json_t **swapped,
                              struct poly_error *err)
{
    struct cli *cli = f->cli;
    enum poly_status status;

    if (cli_option(cli, "from") != NULL)
        return poly_fail(err, POLY_INVALID,
                         "domain '%s': an embedder makes its vectors; leave --from out, and "
                         "it makes those of the new model, too",
                         domain_of(cli));
    if (!back && cli_option(cli, "drop-missing") != NULL)
        return poly_fail(err, POLY_INVALID,
                         "domain '%s': an embedder makes its vectors, and --drop-missing would not "
                         "wait for them; leave it out (--skip-refused lets those have none that "
                         "the embedder refuses)",
                         domain_of(cli));
    status = begin(cli, back ? 0 : dimensions, err);
    if (status != POLY_OK)
        return status;
    if (cli_option(cli, "no-swap") == NULL)
        return cli_rebuild_watch(cli, back, swapped, err);
    if (!cli->json)
        printf("%s: the vectors are being made; 'polystore status' says how far it is\n",
               domain_of(cli));
    return POLY_OK;
}

static enum poly_status give(struct filling *f, bool back, int64_t dimensions, json_t **swapped,
                             struct poly_error *err)
{
    struct cli *cli = f->cli;
    const char *path = cli_option(cli, "from");
    enum poly_status status = back ? POLY_OK : begin(cli, dimensions, err);

    if (status == POLY_OK && path != NULL && !back)
        status = fill_from(f, path, err);
    if (status == POLY_OK && cli_option(cli, "no-swap") == NULL)
        status = cli_rebuild_swap(cli, back, swapped, err);
    return status;
}

enum poly_status cli_rebuild_model(struct cli *cli, struct poly_error *err)
{
    static struct filling f;
    bool back = cli_option(cli, "back") != NULL, embedded = false;
    int64_t dimensions = 0;
    json_t *swapped = NULL;
    enum poly_status status = check(cli, &dimensions, err);

    f.cli = cli;
    if (status == POLY_OK && cli_option(cli, "abandon") != NULL)
        return abandon(cli, err);
    if (status == POLY_OK)
        status = cli_rebuild_is_embedded(cli, back, &embedded, err);
    if (status == POLY_OK)
        status = embedded || cli_option(cli, "embedder") != NULL
                     ? embed(&f, back, dimensions, &swapped, err)
                     : give(&f, back, dimensions, &swapped, err);
    if (status == POLY_OK)
        print(&f, swapped);
    json_decref(swapped);
    return status;
}
