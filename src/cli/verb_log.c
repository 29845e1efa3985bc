#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "cli/follow.h"
#include "cli/lines.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/source.h"
#include "cli/verbs.h"

enum { PIECE_BYTES = 1024 * 1024, PIECE_LINES = 1000 };

/* --- tail --- */

static void print_backwards(const json_t *records, bool json)
{
    for (size_t i = json_array_size(records); i > 0; i--) {
        const json_t *record = json_array_get(records, i - 1);
        char *text = json ? json_dumps(record, JSON_COMPACT) : NULL;

        if (text != NULL)
            printf("%s\n", text);
        else if (!json)
            cli_print_record(record);
        free(text);
    }
}

/* Prints the last ones, oldest first. *last: position of the newest that was looked at. */
static enum poly_status print_last(struct cli *cli, int64_t *last, struct poly_error *err)
{
    struct cli_request request = {.operation = "log.read"};
    struct cli_answer answer;
    const char *limit = cli_option(cli, "limit");
    json_t *json;
    enum poly_status status;

    cli_parameter(&request, "limit", limit == NULL ? "20" : limit);
    cli_parameter(&request, "backwards", "true");
    cli_repeat(cli, "domain", &request, "domain");
    cli_repeat(cli, "type", &request, "type");
    status = cli_ask(cli, &request, &answer, err);
    if (status == POLY_OK) {
        json = json_loadb(answer.body.data, answer.body.size, 0, NULL);
        const json_t *records = json_object_get(json, "records");

        if (json == NULL)
            status = poly_fail(err, POLY_INTERNAL, "the answer is not JSON");
        print_backwards(records, cli->json);
        if (json_array_size(records) > 0)
            *last = cli_json_integer(json_array_get(records, 0), "position");
        json_decref(json);
    }
    poly_buffer_release(&answer.body);
    return status;
}

static enum poly_status run_tail(struct cli *cli, struct poly_error *err)
{
    struct cli_follow follow = {.name = NULL};
    char after[24];
    int64_t last = 0, limit = 20;
    enum poly_status status = cli_option_number(cli, "limit", 1, POLY_MAX_PAGE, &limit, err);

    if (status == POLY_OK)
        status = print_last(cli, &last, err);
    if (status != POLY_OK || cli_option(cli, "follow") == NULL)
        return status;
    fflush(stdout);
    snprintf(after, sizeof(after), "%" PRId64, last);
    follow.after = after;
    return cli_follow(cli, &follow, err);
}

/* --- verify --- */

static enum poly_status run_verify(struct cli *cli, struct poly_error *err)
{
    struct cli_request request = {.operation = "log.verify"};
    json_t *found = NULL;
    enum poly_status status;

    cli_parameter(&request, "progress", "true");
    status = cli_ask_lines(cli, &request, "verify", &found, err);
    if (status != POLY_OK)
        return status;
    if (!cli_json_true(found, "ok"))
        status =
            poly_fail(err, POLY_CORRUPT, "position %" PRId64 " is bad: %s",
                      cli_json_integer(found, "bad_position"), cli_json_string(found, "reason"));
    else if (!cli->json)
        printf("%" PRId64 " records and %" PRId64 " seals are as they were written; sealed up to "
               "%" PRId64 "\nhash %s\n",
               cli_json_integer(found, "records"), cli_json_integer(found, "seals"),
               cli_json_integer(found, "sealed"), cli_json_string(found, "hash"));
    json_decref(found);
    return status;
}

/* --- export --- */

struct output {
    FILE *file;
    struct cli_progress progress;
    uint64_t bytes, lines;
};

static bool write_piece(void *arg, const void *bytes, size_t size)
{
    struct output *output = arg;
    const char *text = bytes;

    output->bytes += size;
    for (size_t i = 0; i < size; i++)
        output->lines += text[i] == '\n' ? 1 : 0;
    cli_progress_tell(&output->progress, 0, 0, output->lines);
    if (output->file == stdout)
        return cli_print_json(NULL, bytes, size);
    return fwrite(bytes, 1, size, output->file) == size;
}

static enum poly_status run_export(struct cli *cli, struct poly_error *err)
{
    const char *path = cli->argument_count == 0 ? "-" : cli->arguments[0];
    struct output output = {.file = stdout};
    struct cli_request request = {
        .operation = "log.export", .receive = write_piece, .arg = &output};
    struct cli_answer answer;
    enum poly_status status;

    if (strcmp(path, "-") != 0)
        output.file = fopen(path, "wxe");
    if (output.file == NULL)
        return poly_fail(err, POLY_EXISTS, "'%s' cannot be made: %m", path);
    cli_progress_open(&output.progress, "export", cli->quiet);
    cli_parameter(&request, "after", cli_option(cli, "from"));
    cli_repeat(cli, "domain", &request, "domain");
    cli_repeat(cli, "type", &request, "type");
    status = cli_ask(cli, &request, &answer, err);
    cli_progress_close(&output.progress);
    bool lost = output.file != stdout && (ferror(output.file) != 0);

    if (output.file != stdout)
        lost = fclose(output.file) != 0 || lost;
    if (lost)
        status = poly_fail(err, POLY_UNAVAILABLE, "'%s' cannot be written: %m", path);
    if (status != POLY_OK && output.file != stdout)
        remove(path);
    if (status == POLY_OK && output.file != stdout && cli->json)
        printf("{\"records\":%" PRIu64 ",\"bytes\":%" PRIu64 "}\n", output.lines, output.bytes);
    else if (status == POLY_OK && output.file != stdout)
        printf("%s: %" PRIu64 " records\n", path, output.lines);
    poly_buffer_release(&answer.body);
    return status;
}

/* --- import --- */

struct import {
    struct cli *cli;
    struct cli_source source;
    struct poly_buffer piece;
    uint64_t lines, first_line, pieces; /* of the piece; of the file */
    int64_t events, skipped;
    char token[48];
};

static void count_answer(struct import *import, const struct cli_answer *answer)
{
    json_t *json =
        json_loadb(answer->body.data == NULL ? "" : answer->body.data, answer->body.size, 0, NULL);
    const char *token = cli_json_string(json, "token");

    import->events += cli_json_integer(json, "events");
    import->skipped += cli_json_integer(json, "skipped");
    if (token[0] != '\0')
        snprintf(import->token, sizeof(import->token), "%s", token);
    json_decref(json);
}

static enum poly_status send_piece(struct import *import, struct poly_error *err)
{
    const char *given = cli_option(import->cli, "idempotency-key");
    struct cli_request request = {
        .operation = "log.import",
        .body = import->piece.data,
        .body_size = import->piece.size,
    };
    struct cli_answer answer;
    char key[512];
    enum poly_status status;

    if (import->lines == 0)
        return POLY_OK;
    if (given != NULL) {
        snprintf(key, sizeof(key), "%.400s/%" PRIu64, given, ++import->pieces);
        request.idempotency_key = key;
    }
    status = cli_ask(import->cli, &request, &answer, err);
    if (status == POLY_OK)
        count_answer(import, &answer);
    else
        poly_fail_in(err, status, "%s, from line %" PRIu64 " on", import->source.name,
                     import->first_line);
    poly_buffer_release(&answer.body);
    poly_buffer_clear(&import->piece);
    import->lines = 0;
    return status;
}

static enum poly_status send_all(struct import *import, struct cli_progress *progress,
                                 struct poly_error *err)
{
    for (;;) {
        bool more;
        enum poly_status status = cli_source_line(&import->source, &more, err);

        if (status != POLY_OK)
            return status;
        if (!more)
            return send_piece(import, err);
        if (import->lines++ == 0)
            import->first_line = import->source.number;
        poly_buffer_add(&import->piece, import->source.line.data, import->source.line.size);
        poly_buffer_char(&import->piece, '\n');
        if (!poly_buffer_ok(&import->piece))
            return poly_no_memory(err);
        if (import->lines >= PIECE_LINES || import->piece.size >= PIECE_BYTES)
            status = send_piece(import, err);
        if (status != POLY_OK)
            return status;
        cli_progress_tell(progress, import->source.done, import->source.total,
                          import->source.number);
    }
}

static enum poly_status run_import(struct cli *cli, struct poly_error *err)
{
    struct import import = {.cli = cli};
    struct cli_progress progress;
    enum poly_status status = cli_source_open(&import.source, cli->arguments[0], err);

    if (status != POLY_OK)
        return status;
    poly_buffer_init(&import.piece, (size_t)2 * POLY_MAX_VALUE);
    cli_progress_open(&progress, "import", cli->quiet);
    status = send_all(&import, &progress, err);
    cli_progress_close(&progress);
    if (status == POLY_OK && cli->json)
        printf("{\"events\":%" PRId64 ",\"skipped\":%" PRId64 ",\"token\":\"%s\"}\n", import.events,
               import.skipped, import.token);
    else if (status == POLY_OK)
        printf("%" PRId64 " events appended, %" PRId64 " changes of records skipped\n",
               import.events, import.skipped);
    poly_buffer_release(&import.piece);
    cli_source_close(&import.source);
    return status;
}

/* --- the tables --- */

static const struct cli_verb tail = {
    .name = "tail",
    .summary = "Print the last records of the log",
    .options =
        (const struct cli_option[]){
            {"limit", 'n', "N", NULL, "so many; default: 20"},
            {"follow", 'f', NULL, NULL, "then print what comes, until Ctrl-C"},
            {"domain", 'D', "NAME", NULL, "of this domain or category only; may come again"},
            {"type", 'T', "TYPE", NULL, "of this event type only; may come again"},
            {NULL, 0, NULL, NULL, NULL},
        },
    .examples =
        (const struct cli_example[]){{"polystore log tail -n 5", "the last five"}, {NULL, NULL}},
    .max = 0,
    .run = run_tail,
};

static const struct cli_verb verify = {
    .name = "verify",
    .summary = "Walk the hash chain over the whole log",
    .text = "The exit code is 12 when something was changed underneath; the first bad position is "
            "named.",
    .examples = (const struct cli_example[]){{"polystore log verify", "is it as it was written?"},
                                             {NULL, NULL}},
    .max = 0,
    .run = run_verify,
};

static const struct cli_verb export = {
    .name = "export",
    .arguments = "[FILE|-]",
    .summary = "Write the log as JSON lines",
    .options =
        (const struct cli_option[]){
            {"from", 'f', "POSITION", NULL, "only what comes after this position"},
            {"domain", 'D', "NAME", NULL, "of this domain or category only; may come again"},
            {"type", 'T', "TYPE", NULL, "of this event type only; may come again"},
            {NULL, 0, NULL, NULL, NULL},
        },
    .examples =
        (const struct cli_example[]){
            {"polystore log export --domain order | gzip > orders.jsonl.gz",
             "the events of one category"},
            {NULL, NULL},
        },
    .max = 1,
    .run = run_export,
};

static const struct cli_verb import = {
    .name = "import",
    .arguments = "FILE|-",
    .summary = "Append the events of an export",
    .text = "Lines of JSON with \"stream\" (or \"domain\" and \"key\"), \"type\", \"data\", "
            "\"meta\", in\n"
            "transactions of up to 1,000. Changes of records are skipped and counted.",
    .options =
        (const struct cli_option[]){
            {"idempotency-key", 0, "KEY", NULL,
             "send the same again after a failure: nothing is appended twice"},
            {NULL, 0, NULL, NULL, NULL},
        },
    .examples =
        (const struct cli_example[]){
            {"echo '{\"stream\": \"order-7\", \"type\": \"OrderPlaced\", \"data\": {\"total\": "
             "5}}' | "
             "polystore log import -",
             "one line"},
            {NULL, NULL},
        },
    .min = 1,
    .max = 1,
    .run = run_import,
};

const struct cli_verb cli_verb_log = {
    .name = "log",
    .summary = "Print, verify, export and import the log",
    .examples =
        (const struct cli_example[]){{"polystore log tail", "what happened last"}, {NULL, NULL}},
    .verbs = (const struct cli_verb *const[]){&tail, &verify, &export, &import, NULL},
};
