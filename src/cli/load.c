/* One thread reads and decodes; the batches are on their way meanwhile (send.h). */
#include "cli/load.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "cli/output.h"

enum { BATCH_BYTES = 1024 * 1024 };

static const char *unit_of(const struct cli_load *load)
{
    const char *unit = load->import.format->unit;

    return unit == NULL ? "line" : unit;
}

static void add_row(struct cli_load *load)
{
    struct poly_buffer *body = &load->batch.body;

    if (load->batch.count > 0) {
        poly_buffer_char(body, ',');
    } else {
        poly_buffer_char(body, '{');
        if (load->model != NULL) {
            poly_buffer_text(body, "\"model\":");
            poly_json_string(body, load->model, strlen(load->model));
            poly_buffer_char(body, ',');
        }
        poly_buffer_text(body, "\"operations\":[");
    }
    poly_buffer_text(body, load->patch ? "{\"op\":\"patch\"" : "{\"op\":\"put\"");
    poly_buffer_text(body, ",\"domain\":");
    poly_json_string(body, load->domain, strlen(load->domain));
    if (load->import.key.size > 0) {
        poly_buffer_text(body, ",\"key\":");
        poly_json_string(body, load->import.key.data, load->import.key.size);
    }
    poly_buffer_text(body, ",\"row\":");
    poly_buffer_add(body, load->import.row.data, load->import.row.size);
    poly_buffer_char(body, '}');
    load->batch.lines[load->batch.count++] = load->import.line;
}

static enum poly_status send(struct cli_load *load, struct poly_error *err)
{
    if (load->batch.count == 0)
        return POLY_OK;
    poly_buffer_text(&load->batch.body, "]}");
    if (!poly_buffer_ok(&load->batch.body))
        return poly_fail(err, POLY_LIMIT, "%s %llu: the row is too large", unit_of(load),
                         (unsigned long long)load->import.line);
    return cli_sender_send(load->sender, &load->batch, err);
}

static enum poly_status read_all(struct cli_load *load, struct poly_error *err)
{
    for (;;) {
        bool more;
        enum poly_status status = load->import.format->next(&load->import, &more, err);

        if (status != POLY_OK)
            return status;
        if (cli_interrupted())
            return poly_fail(err, POLY_TIMEOUT, "interrupted");
        if (!more)
            return send(load, err);
        load->read++;
        add_row(load);
        if ((int64_t)load->batch.count >= load->batch_rows || load->batch.body.size >= BATCH_BYTES)
            status = send(load, err);
        if (status != POLY_OK)
            return status;
        cli_progress_tell(&load->progress, load->source.done, load->source.total, load->read);
    }
}

/* The message says what is in, so that nobody has to wonder. */
static enum poly_status run_load(struct cli_load *load, struct poly_error *err)
{
    struct poly_error last = {.status = POLY_OK};
    enum poly_status status = read_all(load, err);
    enum poly_status finished = cli_sender_finish(load->sender, &load->sent, &last);

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
                     "this %s; run it again when it is mended",
                     message, load->sent.rows, unit_of(load));
}

static void print_count(uint64_t count, const char *what)
{
    printf("%" PRIu64 " %s", count, what);
}

static void print(const struct cli_load *load, double seconds)
{
    const struct cli_sent *sent = &load->sent;

    if (load->cli->json) {
        printf("{\"domain\":\"%s\",\"read\":%" PRIu64 ",\"changed\":%" PRIu64
               ",\"unchanged\":%" PRIu64 ",\"left_out\":%" PRIu64 ",\"seconds\":%.3f,"
               "\"token\":\"%s\"}\n",
               load->domain, sent->rows, sent->changed, sent->rows - sent->changed,
               load->import.left_out, seconds, sent->token);
        return;
    }
    printf("%s: ", load->domain);
    print_count(sent->rows, sent->rows == 1 ? "row read, " : "rows read, ");
    if (sent->changed == 0)
        printf("nothing changed");
    else
        print_count(sent->changed, "changed");
    if (sent->changed > 0 && sent->changed < sent->rows)
        printf(", %" PRIu64 " were there already", sent->rows - sent->changed);
    if (load->import.left_out > 0)
        printf(", %" PRIu64 " left out (another version stands before)", load->import.left_out);
    printf("; %.1f s\n", seconds);
}

enum poly_status cli_load_open(struct cli_load *load, struct cli *cli, const char *path,
                               const struct cli_format *format, struct poly_error *err)
{
    enum poly_status status;

    load->cli = cli;
    load->domain = cli->arguments[0];
    load->batch_rows = CLI_BATCH_ROWS;
    load->batch.unit = format->unit;
    poly_buffer_init(&load->batch.body, POLY_MAX_TXN_BYTES);
    status = cli_option_number(cli, "batch", 1, CLI_BATCH_ROWS, &load->batch_rows, err);
    if (status == POLY_OK)
        status = cli_source_open(&load->source, path, err);
    if (status != POLY_OK)
        return status;
    cli_import_open(&load->import, format, &load->source);
    status = cli_connect(cli, err);
    return status == POLY_OK
               ? cli_sender_open(cli->client, format->unique ? 2 : 1, &load->sender, err)
               : status;
}

enum poly_status cli_load_run(struct cli_load *load, struct poly_error *err)
{
    int64_t started = poly_clock_monotonic();
    enum poly_status status;

    cli_catch_interrupts();
    cli_progress_open(&load->progress, "import", load->cli->quiet);
    status = run_load(load, err);
    cli_progress_close(&load->progress);
    if (status == POLY_OK && (!load->cli->quiet || load->cli->json))
        print(load, (double)(poly_clock_monotonic() - started) / 1e6);
    return status;
}

void cli_load_close(struct cli_load *load)
{
    cli_sender_close(load->sender);
    if (load->import.source != NULL)
        cli_import_close(&load->import);
    cli_source_close(&load->source);
    poly_buffer_release(&load->batch.body);
}
