/*
 * One thread and one road for each lane. While one batch waits for its sync,
 * the next is decoded by the other side and the one after it is read here.
 */
#include "cli/send.h"

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "cli/output.h"

enum { LANES_MAX = 4 };

struct lane {
    struct cli_sender *sender;
    struct cli_client *client;
    pthread_t thread;
    bool running, busy;
    struct cli_batch batch;
};

struct cli_sender {
    pthread_mutex_t lock;
    pthread_cond_t given, taken; /* a lane got a batch or must end; a lane is free */
    bool stopping;
    int count;
    struct lane lanes[LANES_MAX];
    struct cli_sent sent;
    struct poly_error error; /* of the first batch that failed */
};

/* Which line is meant by "operations[17]: …" or "operation 18 of 1000 (put): …"? */
static void say_line(const struct cli_batch *batch, struct poly_error *err)
{
    const char *unit = batch->unit == NULL ? "line" : batch->unit;
    char message[sizeof(err->message)];
    const char *text;
    unsigned long number = 0;
    size_t index = SIZE_MAX;
    char *end;

    memcpy(message, err->message, sizeof(message));
    text = message;
    if (strncmp(text, "operations[", 11) == 0) {
        index = strtoul(text + 11, &end, 10);
        text = strncmp(end, "]: ", 3) == 0 ? end + 3 : text;
    } else if (strncmp(text, "operation ", 10) == 0) {
        number = strtoul(text + 10, &end, 10);
        index = number == 0 ? SIZE_MAX : number - 1;
        text = strstr(end, "): ") == NULL ? text : strstr(end, "): ") + 3;
    } else if (batch->count == 1) {
        index = 0;
    }
    if (index < batch->count)
        poly_fail(err, err->status, "%s %llu: %.400s", unit,
                  (unsigned long long)batch->lines[index], text);
    else
        poly_fail(err, err->status, "%ss %llu to %llu: %.400s", unit,
                  (unsigned long long)batch->lines[0],
                  (unsigned long long)batch->lines[batch->count - 1], message);
}

static void count_results(struct cli_sent *sent, const json_t *commit)
{
    const json_t *results = json_object_get(commit, "results");
    uint64_t position = (uint64_t)cli_json_integer(commit, "position");

    sent->rows += json_array_size(results);
    for (size_t i = 0; i < json_array_size(results); i++)
        sent->changed += cli_json_integer(json_array_get(results, i), "count") > 0 ? 1 : 0;
    if (position < sent->position || (position == 0 && sent->token[0] != '\0'))
        return;
    sent->position = position;
    snprintf(sent->token, sizeof(sent->token), "%s", cli_json_string(commit, "token"));
}

static enum poly_status send_batch(struct lane *lane, json_t **commit, struct poly_error *err)
{
    struct cli_request request = {
        .operation = "transactions.commit",
        .body = lane->batch.body.data,
        .body_size = lane->batch.body.size,
    };
    struct cli_answer answer;
    enum poly_status status = cli_client_call(lane->client, &request, &answer, err);

    *commit = NULL;
    if (status == POLY_OK && !cli_interrupted()) {
        *commit =
            json_loadb(answer.body.data == NULL ? "" : answer.body.data, answer.body.size, 0, NULL);
        if (*commit == NULL)
            status = poly_fail(err, POLY_INTERNAL, "the answer to a transaction is not JSON");
    } else if (status != POLY_OK) {
        say_line(&lane->batch, err);
    }
    poly_buffer_release(&answer.body);
    return status;
}

static void *run(void *arg)
{
    struct lane *lane = arg;
    struct cli_sender *sender = lane->sender;

    pthread_mutex_lock(&sender->lock);
    for (;;) {
        struct poly_error error = {.position = -1};
        enum poly_status status = POLY_OK;
        json_t *commit = NULL;
        bool skip;

        while (!lane->busy && !sender->stopping)
            pthread_cond_wait(&sender->given, &sender->lock);
        if (!lane->busy)
            break;
        skip = sender->error.status != POLY_OK;
        pthread_mutex_unlock(&sender->lock);
        if (!skip)
            status = send_batch(lane, &commit, &error);
        pthread_mutex_lock(&sender->lock);
        if (commit != NULL)
            count_results(&sender->sent, commit);
        json_decref(commit);
        if (status != POLY_OK && sender->error.status == POLY_OK)
            sender->error = error;
        lane->busy = false;
        pthread_cond_broadcast(&sender->taken);
    }
    pthread_mutex_unlock(&sender->lock);
    return NULL;
}

static enum poly_status open_lane(struct cli_sender *sender, struct cli_client *client,
                                  struct poly_error *err)
{
    struct lane *lane = &sender->lanes[sender->count];
    enum poly_status status = cli_client_clone(client, &lane->client, err);

    if (status != POLY_OK)
        return status;
    sender->count++;
    lane->sender = sender;
    poly_buffer_init(&lane->batch.body, POLY_MAX_TXN_BYTES);
    if (pthread_create(&lane->thread, NULL, run, lane) != 0)
        return poly_fail(err, POLY_NO_MEMORY, "no thread can be started");
    lane->running = true;
    return POLY_OK;
}

enum poly_status cli_sender_open(struct cli_client *client, int lanes, struct cli_sender **sender,
                                 struct poly_error *err)
{
    struct cli_sender *made = calloc(1, sizeof(*made));
    enum poly_status status = POLY_OK;

    if (made == NULL)
        return poly_no_memory(err);
    pthread_mutex_init(&made->lock, NULL);
    pthread_cond_init(&made->given, NULL);
    pthread_cond_init(&made->taken, NULL);
    for (int i = 0; i < lanes && i < LANES_MAX && status == POLY_OK; i++)
        status = open_lane(made, client, err);
    if (status == POLY_OK)
        *sender = made;
    else
        cli_sender_close(made);
    return status;
}

static struct lane *free_lane(struct cli_sender *sender)
{
    for (int i = 0; i < sender->count; i++)
        if (!sender->lanes[i].busy)
            return &sender->lanes[i];
    return NULL;
}

enum poly_status cli_sender_send(struct cli_sender *sender, struct cli_batch *batch,
                                 struct poly_error *err)
{
    struct lane *lane;
    enum poly_status status;

    pthread_mutex_lock(&sender->lock);
    while ((lane = free_lane(sender)) == NULL)
        pthread_cond_wait(&sender->taken, &sender->lock);
    status = sender->error.status;
    if (status != POLY_OK) {
        *err = sender->error;
    } else {
        struct poly_buffer empty = lane->batch.body;

        lane->batch = *batch;
        poly_buffer_clear(&empty);
        batch->body = empty;
        batch->count = 0;
        lane->busy = true;
        pthread_cond_broadcast(&sender->given);
    }
    pthread_mutex_unlock(&sender->lock);
    return status;
}

enum poly_status cli_sender_finish(struct cli_sender *sender, struct cli_sent *sent,
                                   struct poly_error *err)
{
    enum poly_status status;

    pthread_mutex_lock(&sender->lock);
    for (int i = 0; i < sender->count; i++)
        while (sender->lanes[i].busy)
            pthread_cond_wait(&sender->taken, &sender->lock);
    *sent = sender->sent;
    status = sender->error.status;
    if (status != POLY_OK)
        *err = sender->error;
    pthread_mutex_unlock(&sender->lock);
    return status;
}

void cli_sender_close(struct cli_sender *sender)
{
    if (sender == NULL)
        return;
    pthread_mutex_lock(&sender->lock);
    sender->stopping = true;
    pthread_cond_broadcast(&sender->given);
    pthread_mutex_unlock(&sender->lock);
    for (int i = 0; i < sender->count; i++) {
        if (sender->lanes[i].running)
            pthread_join(sender->lanes[i].thread, NULL);
        cli_client_close(sender->lanes[i].client);
        poly_buffer_release(&sender->lanes[i].batch.body);
    }
    pthread_cond_destroy(&sender->given);
    pthread_cond_destroy(&sender->taken);
    pthread_mutex_destroy(&sender->lock);
    free(sender);
}
