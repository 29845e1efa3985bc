/*
 * Batches, patience and pace around one HTTP request.
 *
 * A server refuses a batch as a whole, although it may be one text that it cannot take. A refused
 * batch is halved until the text is found, so that one text never holds up the others, and the
 * caller knows which it is.
 *
 * Requests are spaced evenly to keep a rate, instead of being let through in bursts: no minute,
 * from wherever it is counted, sees more than was allowed. The next place in that row is drawn
 * under a lock, so threads share the rate; a server's Retry-After moves the row for all of them.
 *
 * Waiting grows twofold from attempt to attempt and half of it is drawn at random: many callers
 * that failed together do not come back together.
 */
#include "stores/vector/embedder.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/random.h"
#include "base/secret.h"
#include "net/http.h"
#include "stores/vector/embedder_answer.h"

enum {
    TEXTS = 64,
    TEXTS_MAX = 2048,
    REQUEST_MS = 30000,
    RETRY_MS = 250,
    RETRY_MAX_MS = 30000,
    DOUBLINGS = 16,
    NUMBER_BYTES = 64,       /* of one number in an answer, with what a neat printer puts around */
    ANSWER_REST = 64 * 1024, /* of an answer beside the numbers */
    SECRET_ROOM = 4 * POLY_MAX_SECRET
};

static const size_t batch_bytes = (size_t)256 * 1024;
static const int64_t minute = INT64_C(60) * 1000000;

struct poly_embedder {
    struct poly_embedder_options options;
    char *url, *model, *key_env, *key_file; /* url: with /embeddings */
    struct poly_http *http;
    pthread_mutex_t lock;             /* of these: */
    int64_t next_request, next_texts; /* when the next may go */
};

/* One call of poly_embedder_embed(). */
struct call {
    struct poly_embedder *embedder;
    struct poly_arena *arena; /* of the key */
    char *key;                /* NULL: none is sent */
    char *authorization;
    int64_t deadline;
    int attempts; /* for one request; 0: until the deadline */
    struct poly_buffer body;
    struct poly_http_answer answer;
    bool refused; /* the texts were, the service is well */
};

/* --- opening --- */

static enum poly_status check(const struct poly_embedder_options *options, struct poly_error *err)
{
    if (options->url == NULL || options->model == NULL || *options->model == '\0')
        return poly_fail(err, POLY_INVALID, "the embedder needs a url and a model");
    if (strpbrk(options->url, "?#") != NULL)
        return poly_fail(err, POLY_INVALID,
                         "the embedder's url may have no query: it is what comes before "
                         "/embeddings");
    if (options->dimensions < 1 || options->dimensions > POLY_MAX_DIMENSIONS)
        return poly_fail(err, POLY_INVALID, "the embedder's dimensions are %d, not 1 to %d",
                         options->dimensions, POLY_MAX_DIMENSIONS);
    if (options->batch_texts < 0 || options->batch_texts > TEXTS_MAX)
        return poly_fail(err, POLY_INVALID, "the embedder's batch_texts are %d, not 1 to %d",
                         options->batch_texts, TEXTS_MAX);
    if (options->requests_per_minute < 0 || options->texts_per_minute < 0 ||
        options->connect_ms < 0 || options->request_ms < 0 || options->retry_ms < 0)
        return poly_fail(err, POLY_INVALID, "the embedder's rates and times are not negative");
    return poly_http_check_url(options->url, err);
}

/* How many vectors an answer can hold at most, and a minute allows. */
static int most_texts(const struct poly_embedder_options *options)
{
    int most = options->batch_texts == 0 ? TEXTS : options->batch_texts;
    int fit = (POLY_MAX_EMBEDDING_ANSWER - ANSWER_REST) / (NUMBER_BYTES * options->dimensions);

    most = most > fit ? fit : most;
    if (options->texts_per_minute > 0 && most > options->texts_per_minute)
        most = options->texts_per_minute;
    return most;
}

static bool copy(char **to, const char *text)
{
    *to = text == NULL ? NULL : strdup(text);
    return text == NULL || *to != NULL;
}

static bool copy_options(struct poly_embedder *embedder,
                         const struct poly_embedder_options *options)
{
    static const char path[] = "/embeddings";
    size_t size = strlen(options->url);

    while (size > 0 && options->url[size - 1] == '/')
        size--;
    embedder->options = *options;
    embedder->options.batch_texts = most_texts(options);
    if (options->batch_bytes == 0)
        embedder->options.batch_bytes = batch_bytes;
    if (options->request_ms == 0)
        embedder->options.request_ms = REQUEST_MS;
    if (options->retry_ms == 0)
        embedder->options.retry_ms = RETRY_MS;
    embedder->url = malloc(size + sizeof(path));
    if (embedder->url == NULL || !copy(&embedder->model, options->model) ||
        !copy(&embedder->key_env, options->key_env) ||
        !copy(&embedder->key_file, options->key_file))
        return false;
    memcpy(embedder->url, options->url, size);
    memcpy(embedder->url + size, path, sizeof(path));
    return true;
}

static enum poly_status call_begin(struct call *call, struct poly_error *err);
static void call_end(struct call *call);

enum poly_status poly_embedder_open(const struct poly_embedder_options *options,
                                    struct poly_embedder **embedder, struct poly_error *err)
{
    struct poly_http_options http = {.ca_file = options->ca_file,
                                     .connect_ms = options->connect_ms};
    enum poly_status status = check(options, err);
    struct poly_embedder *made;

    if (status != POLY_OK)
        return status;
    made = calloc(1, sizeof(*made));
    if (made == NULL)
        return poly_no_memory(err);
    pthread_mutex_init(&made->lock, NULL);
    status =
        copy_options(made, options) ? poly_http_open(&http, &made->http, err) : poly_no_memory(err);
    if (status == POLY_OK) {
        struct call call = {.embedder = made};

        status = call_begin(&call, err);
        call_end(&call);
    }
    if (status == POLY_OK)
        *embedder = made;
    else
        poly_embedder_close(made);
    return status;
}

void poly_embedder_close(struct poly_embedder *embedder)
{
    if (embedder == NULL)
        return;
    poly_http_close(embedder->http);
    pthread_mutex_destroy(&embedder->lock);
    free(embedder->url);
    free(embedder->model);
    free(embedder->key_env);
    free(embedder->key_file);
    free(embedder);
}

void poly_embedder_stop(struct poly_embedder *embedder)
{
    poly_http_stop(embedder->http);
}

/* --- one call --- */

static size_t answer_max(const struct poly_embedder *embedder)
{
    return (size_t)embedder->options.batch_texts * (size_t)embedder->options.dimensions *
               NUMBER_BYTES +
           ANSWER_REST;
}

static enum poly_status find_key(struct call *call, struct poly_error *err)
{
    const struct poly_secret secret = {call->embedder->key_env, call->embedder->key_file, "key",
                                       "the embedder"};
    enum poly_status status;

    if (secret.env == NULL && secret.file == NULL)
        return POLY_OK;
    call->arena = poly_arena_new(SECRET_ROOM);
    if (call->arena == NULL)
        return poly_no_memory(err);
    status = poly_secret_read(&secret, call->arena, &call->key, err);
    if (status != POLY_OK)
        return status;
    call->authorization = poly_arena_printf(call->arena, "Bearer %s", call->key);
    return call->authorization == NULL ? poly_no_memory(err) : POLY_OK;
}

static enum poly_status call_begin(struct call *call, struct poly_error *err)
{
    poly_buffer_init(&call->body, 0);
    poly_http_answer_init(&call->answer, answer_max(call->embedder));
    return find_key(call, err);
}

static void call_end(struct call *call)
{
    if (call->key != NULL)
        explicit_bzero(call->key, strlen(call->key));
    if (call->authorization != NULL)
        explicit_bzero(call->authorization, strlen(call->authorization));
    poly_arena_free(call->arena);
    poly_buffer_release(&call->body);
    poly_http_answer_release(&call->answer);
}

/* --- pace --- */

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Draws a place in the row, and waits for it. */
static enum poly_status keep_pace(struct call *call, size_t texts, struct poly_error *err)
{
    struct poly_embedder *embedder = call->embedder;
    const struct poly_embedder_options *options = &embedder->options;
    int64_t now = poly_clock_monotonic(), start;
    bool in_time;

    pthread_mutex_lock(&embedder->lock);
    start = later(now, later(embedder->next_request, embedder->next_texts));
    in_time = call->deadline < 0 || start <= call->deadline;
    if (in_time && options->requests_per_minute > 0)
        embedder->next_request = start + minute / options->requests_per_minute;
    if (in_time && options->texts_per_minute > 0)
        embedder->next_texts = start + (int64_t)texts * minute / options->texts_per_minute;
    pthread_mutex_unlock(&embedder->lock);
    if (!in_time)
        return poly_fail(err, POLY_TIMEOUT,
                         "the rate that is set, or that the server asked for, lets no request go "
                         "before the deadline");
    if (start > now && !poly_http_pause(embedder->http, start))
        return poly_fail(err, POLY_UNAVAILABLE, "the request was stopped");
    return POLY_OK;
}

/* Nobody asks before then. */
static void hold(struct poly_embedder *embedder, int64_t until)
{
    pthread_mutex_lock(&embedder->lock);
    embedder->next_request = later(embedder->next_request, until);
    pthread_mutex_unlock(&embedder->lock);
}

/* Waits before the next attempt. False: none is left, there is no time for one, or it was stopped.
 */
static bool wait_again(struct call *call, int attempt)
{
    struct poly_embedder *embedder = call->embedder;
    int64_t most = (int64_t)embedder->options.retry_ms
                   << (attempt < DOUBLINGS ? attempt : DOUBLINGS);
    int64_t asked = poly_http_retry_after(&call->answer), wait, until;
    uint32_t drawn;

    most = (most > RETRY_MAX_MS ? RETRY_MAX_MS : most) * 1000;
    poly_random(&drawn, sizeof(drawn));
    wait = most / 2 + drawn % (most / 2 + 1);
    wait = asked > 0 ? later(asked + drawn % 100000, wait) : wait;
    until = poly_clock_monotonic() + wait;
    if (asked > 0)
        hold(embedder, until);
    if ((call->deadline >= 0 && until >= call->deadline) || attempt + 1 == call->attempts)
        return false;
    return poly_http_pause(embedder->http, until);
}

/* --- one request --- */

static enum poly_status print_body(struct call *call, const struct poly_text *texts, size_t count,
                                   struct poly_error *err)
{
    const struct poly_embedder *embedder = call->embedder;
    struct poly_buffer *body = &call->body;
    size_t bytes = strlen(embedder->model);

    for (size_t i = 0; i < count; i++)
        bytes += texts[i].size;
    body->max = 6 * bytes + 4 * count + 1024; /* \u0000 for a byte */
    poly_buffer_clear(body);
    poly_buffer_text(body, "{\"model\":");
    poly_json_string(body, embedder->model, strlen(embedder->model));
    poly_buffer_text(body, ",\"input\":[");
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            poly_buffer_char(body, ',');
        poly_json_string(body, texts[i].data, texts[i].size);
    }
    poly_buffer_printf(body, "],\"encoding_format\":\"%s\"",
                       embedder->options.base64 ? "base64" : "float");
    if (embedder->options.shorten)
        poly_buffer_printf(body, ",\"dimensions\":%d", embedder->options.dimensions);
    poly_buffer_char(body, '}');
    return poly_buffer_ok(body) ? POLY_OK : poly_no_memory(err);
}

static enum poly_status of_http(int status)
{
    if (status == 408 || status == 425 || status == 429 || status >= 500)
        return POLY_UNAVAILABLE;
    if (status == 400 || status == 413 || status == 422)
        return POLY_INVALID;
    if (status == 401 || status == 403)
        return POLY_DENIED;
    return status == 404 ? POLY_NOT_FOUND : POLY_UNSUPPORTED;
}

static enum poly_status take_answer(struct call *call, const struct poly_embeddings *room,
                                    struct poly_error *err)
{
    const struct poly_buffer *body = &call->answer.body;
    struct poly_text text = {body->size == 0 ? "" : body->data, body->size};
    char problem[POLY_EMBEDDER_PROBLEM];
    enum poly_status status;

    if (call->answer.status == 200)
        return poly_embeddings_read(text, room, err);
    status = of_http(call->answer.status);
    call->refused = status == POLY_INVALID;
    poly_embedder_problem(text, call->key, problem);
    return poly_fail(err, status, "HTTP %d%s%s", call->answer.status, *problem == '\0' ? "" : ": ",
                     problem);
}

static enum poly_status ask(struct call *call, const struct poly_embeddings *room,
                            struct poly_error *err)
{
    const struct poly_http_header headers[] = {{"Content-Type", "application/json"},
                                               {"Accept", "application/json"},
                                               {"Authorization", call->authorization}};
    int64_t end = poly_clock_monotonic() + (int64_t)call->embedder->options.request_ms * 1000;
    struct poly_http_request request = {.method = "POST",
                                        .url = call->embedder->url,
                                        .headers = headers,
                                        .header_count = call->authorization == NULL ? 2 : 3,
                                        .body = {call->body.data, call->body.size},
                                        .deadline = poly_clock_sooner(call->deadline, end)};
    enum poly_status status;

    poly_buffer_clear(&call->answer.headers); /* no Retry-After of an earlier attempt */
    status = poly_http_call(call->embedder->http, &request, &call->answer, err);
    return status == POLY_OK ? take_answer(call, room, err) : status;
}

/* --- batches --- */

static enum poly_status embed_batch(struct call *call, const struct poly_text *texts,
                                    const struct poly_embeddings *room, struct poly_error *err)
{
    struct poly_error now = {.position = -1}, cause = now;
    enum poly_status status = print_body(call, texts, room->count, &cause);
    bool again = status == POLY_OK;

    call->refused = false;
    for (int attempt = 0; again; attempt++) {
        status = keep_pace(call, room->count, &now);
        if (status == POLY_OK)
            status = ask(call, room, &now);
        if (status != POLY_TIMEOUT || attempt == 0) /* else the one before says more */
            cause = now;
        again = (status == POLY_UNAVAILABLE || status == POLY_TIMEOUT) && wait_again(call, attempt);
    }
    if (status == POLY_OK)
        return POLY_OK;
    if (err != NULL)
        *err = cause;
    return poly_fail_in(err, cause.status, "embedder '%s'", call->embedder->url);
}

/* How many of the texts go together. */
static size_t batch_of(const struct poly_embedder *embedder, const struct poly_text *texts,
                       size_t count)
{
    size_t taken = 1, bytes = texts[0].size;

    while (taken < count && texts[taken].size <= embedder->options.batch_bytes &&
           bytes <= embedder->options.batch_bytes - texts[taken].size)
        bytes += texts[taken++].size;
    return taken;
}

static enum poly_status embed_all(struct call *call, const struct poly_text *texts, size_t count,
                                  float *vectors, size_t *done, struct poly_error *err)
{
    struct poly_embedder *embedder = call->embedder;
    size_t most = (size_t)embedder->options.batch_texts, limit = most;
    enum poly_status status = POLY_OK;

    while (status == POLY_OK && *done < count) {
        size_t left = count - *done;
        struct poly_embeddings room = {
            .vectors = vectors + *done * (size_t)embedder->options.dimensions,
            .count = batch_of(embedder, texts + *done, left < limit ? left : limit),
            .dimensions = (size_t)embedder->options.dimensions};

        status = embed_batch(call, texts + *done, &room, err);
        if (status == POLY_OK) {
            *done += room.count;
            limit = most;
        } else if (call->refused && room.count > 1) {
            limit = room.count / 2; /* which of them is it? */
            status = POLY_OK;
        }
    }
    return status;
}

enum poly_status poly_embedder_try(struct poly_embedder *embedder,
                                   const struct poly_embedder_patience *patience,
                                   const struct poly_text *texts, size_t count, float *vectors,
                                   size_t *done, struct poly_error *err)
{
    struct call call = {
        .embedder = embedder, .deadline = patience->deadline, .attempts = patience->attempts};
    enum poly_status status = call_begin(&call, err);

    *done = 0;
    if (status != POLY_OK)
        poly_fail_in(err, status, "embedder '%s'", embedder->url);
    else
        status = embed_all(&call, texts, count, vectors, done, err);
    if (status == POLY_INVALID && !call.refused) { /* the key is wrong, and no text */
        status = POLY_DENIED;
        if (err != NULL)
            err->status = POLY_DENIED;
    }
    call_end(&call);
    return status;
}

enum poly_status poly_embedder_embed(struct poly_embedder *embedder, const struct poly_text *texts,
                                     size_t count, int64_t deadline, float *vectors, size_t *done,
                                     struct poly_error *err)
{
    const struct poly_embedder_patience patience = {deadline, 0};

    return poly_embedder_try(embedder, &patience, texts, count, vectors, done, err);
}
