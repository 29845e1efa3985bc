/*
 * Requests as they come from the wire: "METHOD /path?query", a line break, the
 * body. Routed, checked and handled, on a library that only takes notes. What
 * must hold: no transaction stays open, an error that comes before the answer
 * leaves none, an answer of JSON is JSON.
 */
#include <jansson.h>
#include <stdlib.h>

#include "../unit/api_help.h"
#include "../unit/fake_polystore.h"
#include "base/assert.h"
#include "fuzz.h"

static void check_answer(const struct memory_sink *sink, enum poly_status status)
{
    poly_assert(fake.open_transactions == 0 && fake.open_subscriptions == 0);
    poly_assert(sink->begins == (status == POLY_OK));
    if (status != POLY_OK || sink->out.size == 0 ||
        strcmp(sink->head.content_type, "application/json") != 0)
        return;

    json_t *json = json_loadb(sink->out.data, sink->out.size, 0, NULL);

    poly_assert(json != NULL);
    json_decref(json);
}

/* The problem document for whatever the message says is JSON as well. */
static void check_problem(const struct poly_error *err, const char *target)
{
    struct poly_buffer out;

    poly_buffer_init(&out, 1024 * 1024);
    api_problem(&out, err, target);

    json_t *json = json_loadb(out.data, out.size, 0, NULL);

    poly_assert(json != NULL);
    json_decref(json);
    poly_buffer_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    struct call call = {.method = "GET", .body = ""};
    struct memory_sink sink;
    struct poly_error err = {.position = -1};

    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';

    size_t line = strcspn(text, "\n"), method = strcspn(text, " \n");

    if (line < size && method < line) {
        text[line] = text[method] = '\0';
        call.method = text;
        call.target = text + method + 1;
        call.body = text + line + 1;
        call.request.idempotency_key = call.method[0] == 'D' ? "k" : NULL;
        fake_reset();
        fake.records = fake.rows = 3;
        memory_sink_init(&sink);

        enum poly_status status = api_run(fake_session(), &call, &sink, &err);

        check_answer(&sink, status);
        if (status != POLY_OK)
            check_problem(&err, "/v1");
        memory_sink_release(&sink);
    }
    free(text);
    return 0;
}
