/*
 * Each record is printed and flushed before it is acknowledged, on a second
 * road, once for every piece that arrived and at the end: a record whose print was lost
 * comes again.
 */
#include "cli/follow.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/events.h"
#include "cli/output.h"
#include "cli/verbs.h"

struct reader {
    struct cli *cli;
    const struct cli_follow *follow;
    struct cli_events events;
    struct cli_client *acknowledger;
    int64_t printed, acknowledged;
    enum poly_status status;
    struct poly_error *err;
};

static bool print_record(void *arg, const char *event, const char *data, size_t size)
{
    struct reader *reader = arg;

    if (strcmp(event, "error") == 0) {
        reader->status = cli_problem(data, size, 500, reader->err);
        return false;
    }
    json_t *record = json_loadb(data, size, 0, NULL);

    if (record == NULL)
        return true;
    if (reader->cli->json) {
        cli_print_json(NULL, data, size);
        putchar('\n');
    } else {
        cli_print_record(record);
    }
    reader->printed = cli_json_integer(record, "position");
    json_decref(record);
    return true;
}

static enum poly_status acknowledge(struct reader *reader)
{
    struct cli_request request = {.operation = "subscriptions.ack"};
    struct cli_answer answer;
    char body[64];

    if (reader->acknowledger == NULL || reader->printed == reader->acknowledged)
        return POLY_OK;
    request.body_size =
        (size_t)snprintf(body, sizeof(body), "{\"position\":%" PRId64 "}", reader->printed);
    request.body = body;
    cli_parameter(&request, "name", reader->follow->name);
    enum poly_status status = cli_client_call(reader->acknowledger, &request, &answer, reader->err);

    poly_buffer_release(&answer.body);
    reader->acknowledged = reader->printed;
    return status;
}

static bool receive(void *arg, const void *bytes, size_t size)
{
    struct reader *reader = arg;

    if (!cli_events_feed(&reader->events, bytes, size) || fflush(stdout) != 0)
        return false;
    if (reader->status == POLY_OK)
        reader->status = acknowledge(reader);
    return reader->status == POLY_OK && !cli_interrupted();
}

enum poly_status cli_follow(struct cli *cli, const struct cli_follow *follow,
                            struct poly_error *err)
{
    struct reader reader = {.cli = cli, .follow = follow, .err = err};
    struct cli_request request = {
        .operation = follow->name == NULL ? "subscriptions.follow" : "subscriptions.events",
        .receive = receive,
        .arg = &reader,
    };
    struct cli_answer answer;
    enum poly_status status = cli_connect(cli, err);

    if (status == POLY_OK && follow->acknowledge)
        status = cli_client_clone(cli->client, &reader.acknowledger, err);
    if (status != POLY_OK)
        return status;
    cli_catch_interrupts();
    cli_events_open(&reader.events, print_record, &reader);
    cli_parameter(&request, "name", follow->name);
    cli_parameter(&request, "after", follow->after);
    cli_parameter(&request, "limit", cli_option(cli, "limit"));
    cli_repeat(cli, "domain", &request, "domain");
    cli_repeat(cli, "type", &request, "type");
    status = cli_client_call(cli->client, &request, &answer, err);
    if (reader.status != POLY_OK)
        status = reader.status;
    poly_buffer_release(&answer.body);
    cli_events_close(&reader.events);
    cli_client_close(reader.acknowledger);
    return status;
}
