/*
 * Rows of a file into a domain, through transactions of puts like anybody's.
 * A put of a row that is there already writes nothing, so an import that broke
 * off is simply run again.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "cli/import.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/send.h"
#include "cli/verbs.h"

enum { BATCH_BYTES = 1024 * 1024 };

struct job {
    struct cli *cli;
    const char *domain;
    struct cli_source source;
    struct cli_import import;
    struct cli_sender *sender;
    struct cli_batch batch;
    struct cli_progress progress;
    struct cli_sent sent;
    int64_t batch_rows;
    uint64_t read;
};

static void add_row(struct job *job)
{
    struct poly_buffer *body = &job->batch.body;

    if (job->batch.count == 0)
        poly_buffer_text(body, "{\"operations\":[");
    else
        poly_buffer_char(body, ',');
    poly_buffer_text(body, "{\"op\":\"put\",\"domain\":");
    poly_json_string(body, job->domain, strlen(job->domain));
    poly_buffer_text(body, ",\"row\":");
    poly_buffer_add(body, job->import.row.data, job->import.row.size);
    poly_buffer_char(body, '}');
    job->batch.lines[job->batch.count++] = job->import.line;
}

static enum poly_status send(struct job *job, struct poly_error *err)
{
    if (job->batch.count == 0)
        return POLY_OK;
    poly_buffer_text(&job->batch.body, "]}");
    if (!poly_buffer_ok(&job->batch.body))
        return poly_fail(err, POLY_LIMIT, "line %llu: the row is too large",
                         (unsigned long long)job->import.line);
    return cli_sender_send(job->sender, &job->batch, err);
}

static enum poly_status read_all(struct job *job, struct poly_error *err)
{
    for (;;) {
        bool more;
        enum poly_status status = job->import.format->next(&job->import, &more, err);

        if (status != POLY_OK)
            return status;
        if (cli_interrupted())
            return poly_fail(err, POLY_TIMEOUT, "interrupted");
        if (!more)
            return send(job, err);
        job->read++;
        add_row(job);
        if ((int64_t)job->batch.count >= job->batch_rows || job->batch.body.size >= BATCH_BYTES)
            status = send(job, err);
        if (status != POLY_OK)
            return status;
        cli_progress_tell(&job->progress, job->source.done, job->source.total, job->read);
    }
}

/* The message says what is in, so that nobody has to wonder. */
static enum poly_status run_job(struct job *job, struct poly_error *err)
{
    struct poly_error last = {.status = POLY_OK};
    enum poly_status status = read_all(job, err);
    enum poly_status finished = cli_sender_finish(job->sender, &job->sent, &last);

    /* What was sent came before what was read last. */
    if (finished != POLY_OK) {
        *err = last;
        status = finished;
    }
    if (status == POLY_OK)
        return status;

    char message[sizeof(err->message)];

    memcpy(message, err->message, sizeof(message));
    return poly_fail(err, status,
                     "%.300s; %" PRIu64 " rows are in, and nothing of the batch with "
                     "this line; run it again when it is mended",
                     message, job->sent.rows);
}

static void print_count(uint64_t count, const char *what)
{
    printf("%" PRIu64 " %s", count, what);
}

static void print(const struct job *job, double seconds)
{
    const struct cli_sent *sent = &job->sent;

    if (job->cli->json) {
        printf("{\"domain\":\"%s\",\"read\":%" PRIu64 ",\"changed\":%" PRIu64
               ",\"unchanged\":%" PRIu64 ",\"left_out\":%" PRIu64 ",\"seconds\":%.3f,"
               "\"token\":\"%s\"}\n",
               job->domain, sent->rows, sent->changed, sent->rows - sent->changed,
               job->import.left_out, seconds, sent->token);
        return;
    }
    printf("%s: ", job->domain);
    print_count(sent->rows, sent->rows == 1 ? "row read, " : "rows read, ");
    if (sent->changed == 0)
        printf("nothing changed");
    else
        print_count(sent->changed, "changed");
    if (sent->changed > 0 && sent->changed < sent->rows)
        printf(", %" PRIu64 " were there already", sent->rows - sent->changed);
    if (job->import.left_out > 0)
        printf(", %" PRIu64 " left out (another version stands before)", job->import.left_out);
    printf("; %.1f s\n", seconds);
}

static enum poly_status prepare(struct job *job, struct poly_error *err)
{
    struct cli *cli = job->cli;
    const char *separator = cli_option(cli, "separator");
    const struct cli_format *format;
    enum poly_status status =
        cli_format_find(cli_option(cli, "format"), cli->arguments[1], &format, err);

    if (status == POLY_OK)
        status = cli_option_number(cli, "batch", 1, CLI_BATCH_ROWS, &job->batch_rows, err);
    if (status != POLY_OK)
        return status;
    if (separator != NULL && strcmp(separator, "\\t") == 0)
        separator = "\t";
    if (separator != NULL && (separator[0] == '\0' || separator[1] != '\0' || *separator == '"'))
        return poly_fail(err, POLY_INVALID, "--separator '%s': must be one character", separator);
    status = cli_source_open(&job->source, cli->arguments[1], err);
    if (status != POLY_OK)
        return status;
    cli_import_open(&job->import, format, &job->source);
    if (separator != NULL)
        job->import.separator = *separator;
    status = cli_connect(cli, err);
    return status == POLY_OK
               ? cli_sender_open(cli->client, format->unique ? 2 : 1, &job->sender, err)
               : status;
}

static enum poly_status run(struct cli *cli, struct poly_error *err)
{
    static struct job job; /* large: a batch has a line number for each row */
    int64_t started = poly_clock_monotonic();
    enum poly_status status;

    job = (struct job){.cli = cli, .domain = cli->arguments[0], .batch_rows = CLI_BATCH_ROWS};
    poly_buffer_init(&job.batch.body, POLY_MAX_TXN_BYTES);
    status = prepare(&job, err);
    if (status == POLY_OK) {
        cli_catch_interrupts();
        cli_progress_open(&job.progress, "import", cli->quiet);
        status = run_job(&job, err);
        cli_progress_close(&job.progress);
    }
    if (status == POLY_OK && (!cli->quiet || cli->json))
        print(&job, (double)(poly_clock_monotonic() - started) / 1e6);
    cli_sender_close(job.sender);
    if (job.import.source != NULL)
        cli_import_close(&job.import);
    cli_source_close(&job.source);
    poly_buffer_release(&job.batch.body);
    return status;
}

const struct cli_verb cli_verb_import = {
    .name = "import",
    .arguments = "DOMAIN FILE|-",
    .summary = "Load the rows of a file into a domain",
    .text =
        "csv: the first line names the columns; an empty field without quotes is null. jsonl: an "
        "object\n"
        "a line. debian: a package index, as 'apt-cache dumpavail' prints it; of several versions "
        "of a\n"
        "package the first one counts. '-' reads stdin.\n"
        "\n"
        "Rows are put in transactions. A bad line ends the import: its batch takes no effect, "
        "those\n"
        "before have. A row that is there already changes nothing, so run it again after mending.",
    .options =
        (const struct cli_option[]){
            {"format", 'f', "FORMAT", "csv|jsonl|debian",
             "csv, jsonl or debian; default: by the "
             "file's name"},
            {"separator", 0, "CHARACTER", NULL, "of csv; default: a comma; \\t is a tab"},
            {"batch", 0, "ROWS", NULL, "rows in a transaction, 1 to 1000; default: 1000"},
            {NULL, 0, NULL, NULL, NULL},
        },
    .examples =
        (const struct cli_example[]){
            {"apt-cache dumpavail | polystore import packages --format debian -",
             "this machine's package index"},
            {"printf 'name,version,section\\nmy-tool,1.0,misc\\n' | polystore import packages "
             "--format csv -",
             "a row of CSV"},
            {NULL, NULL},
        },
    .min = 2,
    .max = 2,
    .run = run,
};
