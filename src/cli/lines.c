#include "cli/lines.h"

#include <stdio.h>
#include <string.h>

#include "cli/output.h"
#include "cli/progress.h"

struct reader {
    struct poly_buffer line;
    struct cli_progress progress;
    json_t *last;
};

static void take_line(struct reader *reader)
{
    json_t *json =
        reader->line.size == 0 ? NULL : json_loadb(reader->line.data, reader->line.size, 0, NULL);

    poly_buffer_clear(&reader->line);
    if (json == NULL)
        return;
    json_decref(reader->last);
    reader->last = json;
    if (json_object_get(json, "done") != NULL)
        cli_progress_tell(&reader->progress, (uint64_t)cli_json_integer(json, "done"),
                          (uint64_t)cli_json_integer(json, "total"),
                          (uint64_t)cli_json_integer(json, "done"));
}

static bool receive(void *arg, const void *bytes, size_t size)
{
    struct reader *reader = arg;
    const char *at = bytes, *end = at + size;

    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));

        poly_buffer_add(&reader->line, at, (size_t)((stop == NULL ? end : stop) - at));
        if (stop == NULL)
            break;
        take_line(reader);
        at = stop + 1;
    }
    return poly_buffer_ok(&reader->line);
}

enum poly_status cli_ask_lines(struct cli *cli, struct cli_request *request, const char *what,
                               json_t **last, struct poly_error *err)
{
    struct reader reader = {.last = NULL};
    struct cli_answer answer;
    enum poly_status status;

    poly_buffer_init(&reader.line, (size_t)1024 * 1024);
    cli_progress_open(&reader.progress, what, cli->quiet);
    request->receive = receive;
    request->arg = &reader;
    status = cli_ask(cli, request, &answer, err);
    take_line(&reader);
    cli_progress_close(&reader.progress);
    if (status == POLY_OK && cli->json && reader.last != NULL) {
        char *text = json_dumps(reader.last, JSON_COMPACT);

        if (text != NULL)
            printf("%s\n", text);
        free(text);
    }
    if (status == POLY_OK)
        *last = reader.last;
    else
        json_decref(reader.last);
    poly_buffer_release(&reader.line);
    poly_buffer_release(&answer.body);
    return status;
}
