/*
 * Change of model, where an embedder makes the vectors: the daemon has it make those of the new
 * model, and goes on whoever watches. Watched to its end, they are swapped in. Whether all are
 * there only the swap can say, for others go on writing: it is tried again until it says so.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/rebuild_model.h"

enum {
    LOOK_MS = 200,
    SWAP_EVERY = 1000000, /* microseconds: while others write, and some always wait */
    SWAP_LATER = 5000000, /* … after an attempt that took long */
    PATIENCE = 5000000,   /* … or when it is no further than so long ago */
    NEARLY = 1000         /* records that wait, and may be made when the swap comes */
};

struct watching {
    struct cli *cli;
    struct cli_progress progress;
    uint64_t most, left; /* records that waited, and that wait or were not looked at */
    uint64_t least;      /* … of the latter, so far */
    int64_t least_since; /* monotonic */
    int64_t again;       /* monotonic: not swapped before */
    char error[400];     /* that was told */
};

static const json_t *find(const struct cli *cli, const json_t *list, bool next)
{
    const char *name = cli_option(cli, "name");

    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);

        if (strcmp(cli_json_string(one, "domain"), cli->arguments[1]) == 0 &&
            (name == NULL || strcmp(cli_json_string(one, "name"), name) == 0) &&
            (!next || json_is_true(json_object_get(one, "next"))))
            return one;
    }
    return NULL;
}

static enum poly_status read_answer(struct cli *cli, const char *operation, json_t **answer,
                                    struct poly_error *err)
{
    struct cli_request request = {.operation = operation};
    struct cli_answer got;
    enum poly_status status = cli_ask(cli, &request, &got, err);

    *answer = NULL;
    if (status == POLY_OK)
        *answer = json_loadb(got.body.data, got.body.size, 0, NULL);
    poly_buffer_release(&got.body);
    return status == POLY_OK && *answer == NULL
               ? poly_fail(err, POLY_INTERNAL, "the answer is not JSON")
               : status;
}

enum poly_status cli_rebuild_is_embedded(struct cli *cli, bool back, bool *embedded,
                                         struct poly_error *err)
{
    json_t *answer;
    enum poly_status status = read_answer(cli, "models.list", &answer, err);
    const json_t *one = find(cli, json_object_get(answer, "models"), false);

    if (status == POLY_OK)
        *embedded =
            one != NULL && *cli_json_string(one, back ? "next_embedder" : "embedder") != '\0';
    json_decref(answer);
    return status;
}

/* What fails is told once, for it is tried again as long as it takes. */
static void tell_error(struct watching *w, const char *error)
{
    if (*error == '\0' || strcmp(error, w->error) == 0)
        return;
    snprintf(w->error, sizeof(w->error), "%s", error);
    fprintf(stderr, "%s%s; it is tried again\n", w->progress.shown ? "\r\033[K" : "", w->error);
}

/* What only the log's server knows is not in the report while that is away. */
static bool is_complete(const json_t *report)
{
    const json_t *server = json_object_get(report, "server");

    return server == NULL || cli_json_true(server, "answers");
}

static enum poly_status look(struct watching *w, struct poly_error *err)
{
    json_t *answer;
    enum poly_status status = read_answer(w->cli, "status.read", &answer, err);
    const json_t *one = find(w->cli, json_object_get(answer, "embeddings"), true);

    if (status == POLY_OK && one == NULL && is_complete(answer))
        status = poly_fail(err, POLY_CONFLICT,
                           "domain '%s': somebody has swapped or abandoned them meanwhile",
                           w->cli->arguments[1]);
    else if (status == POLY_OK && one == NULL)
        tell_error(w, cli_json_string(answer, "last_error"));
    else if (status == POLY_OK) {
        uint64_t waiting = (uint64_t)cli_json_integer(one, "waiting");

        w->left = waiting + (uint64_t)cli_json_integer(one, "lag_records");
        w->most = waiting > w->most ? waiting : w->most;
        tell_error(w, cli_json_string(one, "error"));
        cli_progress_tell(&w->progress, w->most - waiting, w->most, w->most - waiting);
    }
    json_decref(answer);
    return status;
}

/* Is it worth an attempt? Also when more comes than can be made: what counts are the records that
 * have a vector of the present model, and they get fewer. */
static bool may_swap(struct watching *w)
{
    int64_t now = poly_clock_monotonic();

    if (w->left < w->least) {
        w->least = w->left;
        w->least_since = now;
    }
    return w->left == 0 ||
           ((w->left <= NEARLY || now - w->least_since > PATIENCE) && now >= w->again);
}

static enum poly_status try_swap(struct watching *w, bool back, json_t **swapped,
                                 struct poly_error *err)
{
    int64_t start = poly_clock_monotonic(), end, pause;
    enum poly_status status = cli_rebuild_swap(w->cli, back, swapped, err);

    end = poly_clock_monotonic();
    pause = 10 * (end - start);
    w->again = end + (pause < SWAP_EVERY ? SWAP_EVERY : pause > SWAP_LATER ? SWAP_LATER : pause);
    return status;
}

static void nap(void)
{
    const struct timespec while_it_works = {0, LOOK_MS * 1000000L};

    nanosleep(&while_it_works, NULL);
}

static enum poly_status watch(struct watching *w, bool back, json_t **swapped,
                              struct poly_error *err)
{
    for (;;) {
        enum poly_status status = look(w, err);

        if (status != POLY_OK)
            return status;
        if (may_swap(w)) {
            status = try_swap(w, back, swapped, err);
            if (status != POLY_UNAVAILABLE)
                return status;
        }
        if (cli_interrupted())
            return poly_fail(err, POLY_TIMEOUT,
                             "interrupted; the vectors go on being made, run it again to wait for "
                             "them");
        nap();
    }
}

enum poly_status cli_rebuild_watch(struct cli *cli, bool back, json_t **swapped,
                                   struct poly_error *err)
{
    struct watching w = {.cli = cli, .least = UINT64_MAX};
    enum poly_status status;

    cli_catch_interrupts();
    cli_progress_open(&w.progress, "vectors", cli->quiet);
    status = watch(&w, back, swapped, err);
    cli_progress_close(&w.progress);
    return status;
}
