#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/limits.h"
#include "cli/verbs.h"

static const size_t body_max = POLY_MAX_TXN_BYTES;

static enum poly_status add_event(const struct cli *cli, struct poly_buffer *body,
                                  struct poly_error *err)
{
    const char *meta = cli_option(cli, "meta"), *type = cli->arguments[1];
    struct poly_buffer data;
    enum poly_status status = POLY_OK;

    poly_buffer_init(&data, body_max);
    if (cli->argument_count == 3 && strcmp(cli->arguments[2], "-") != 0 &&
        poly_json_check(cli->arguments[2], strlen(cli->arguments[2]), err) == POLY_OK)
        poly_buffer_text(&data, cli->arguments[2]);
    else if (cli->argument_count > 2)
        status = cli_read_row(cli->arguments + 2, cli->argument_count - 2, &data, err);
    if (status == POLY_OK && meta != NULL)
        status = poly_json_check(meta, strlen(meta), err);
    if (status != POLY_OK && meta != NULL)
        poly_fail_in(err, status, "--meta");
    poly_buffer_text(body, "{\"type\":");
    poly_json_string(body, type, strlen(type));
    if (data.size > 0) {
        poly_buffer_text(body, ",\"data\":");
        poly_buffer_add(body, data.data, data.size);
    }
    if (meta != NULL) {
        poly_buffer_text(body, ",\"meta\":");
        poly_buffer_text(body, meta);
    }
    poly_buffer_char(body, '}');
    poly_buffer_release(&data);
    return status;
}

static void add_option(const struct cli *cli, const char *name, struct poly_buffer *body)
{
    const char *value = cli_option(cli, name);

    if (value == NULL)
        return;
    poly_buffer_printf(body, ",\"%s\":", name);
    if (strspn(value, "0123456789") == strlen(value) && strcmp(name, "expected") == 0)
        poly_buffer_text(body, value);
    else
        poly_json_string(body, value, strlen(value));
}

static enum poly_status run(struct cli *cli, struct poly_error *err)
{
    struct cli_request request = {
        .operation = "events.append",
        .idempotency_key = cli_option(cli, "idempotency-key"),
    };
    struct poly_buffer body;
    enum poly_status status;

    poly_buffer_init(&body, body_max);
    poly_buffer_text(&body, "{\"events\":[");
    status = add_event(cli, &body, err);
    poly_buffer_char(&body, ']');
    add_option(cli, "expected", &body);
    add_option(cli, "correlation", &body);
    add_option(cli, "causation", &body);
    poly_buffer_char(&body, '}');
    if (status == POLY_OK && !poly_buffer_ok(&body))
        status = poly_fail(err, POLY_LIMIT, "the event is too large");
    cli_parameter(&request, "stream", cli->arguments[0]);
    request.body = body.data;
    request.body_size = body.size;
    if (status == POLY_OK)
        status = cli_write(cli, &request, "stream", err);
    poly_buffer_release(&body);
    return status;
}

const struct cli_verb cli_verb_append = {
    .name = "append",
    .arguments = "STREAM TYPE [NAME=TEXT…|NAME:=JSON…|JSON|-]",
    .summary = "Append an event to a stream",
    .text = "The data of the event is JSON, or an object of NAMEs; '-' reads a JSON object from "
            "stdin.\n"
            "Many events at once: 'polystore log import'.",
    .options =
        (const struct cli_option[]){
            {"expected", 'e', "VERSION", NULL,
             "only if the stream has this version; none: only if there is no such stream"},
            {"meta", 'm', "JSON", NULL, "about the event, not of it"},
            {"correlation", 0, "TEXT", NULL, "kept with the event: what it belongs to"},
            {"causation", 0, "TEXT", NULL, "kept with the event: what led to it"},
            {"idempotency-key", 0, "KEY", NULL, "send the same again: it takes effect once"},
            {NULL, 0, NULL, NULL, NULL},
        },
    .examples =
        (const struct cli_example[]){
            {"polystore append order-42 OrderPlaced city=Paris total:=1299", "a fact"},
            {"polystore append order-43 OrderPlaced '{\"city\": \"Oslo\"}' --expected none",
             "only as the first of its stream"},
            {NULL, NULL},
        },
    .min = 2,
    .max = -1,
    .run = run,
};
