/* See api_help.h. */
#include "api_help.h"

#include <stdio.h>

#include "base/status.h"

static bool take_head(struct api_sink *base, const struct api_head *head)
{
    struct memory_sink *sink = (struct memory_sink *)base;

    sink->begins++;
    sink->head = *head;
    return true;
}

static bool take_bytes(struct api_sink *base, const void *bytes, size_t size)
{
    struct memory_sink *sink = (struct memory_sink *)base;

    sink->writes++;
    if (size > sink->largest)
        sink->largest = size;
    poly_buffer_add(&sink->out, bytes, size);
    return sink->room == 0 || sink->out.size < sink->room;
}

void memory_sink_init(struct memory_sink *sink)
{
    memset(sink, 0, sizeof(*sink));
    sink->sink.begin = take_head;
    sink->sink.write = take_bytes;
    poly_buffer_init(&sink->out, 256UL * 1024 * 1024);
    poly_buffer_text(&sink->out, "");
}

void memory_sink_release(struct memory_sink *sink)
{
    poly_buffer_release(&sink->out);
}

enum poly_status api_run(struct poly_session *session, const struct call *call,
                         struct memory_sink *sink, struct poly_error *err)
{
    struct api_request request = call->request;
    struct api_parameter parameters[API_PARAMETERS_MAX];
    char target[8192];
    size_t count = 0;
    bool other_method;
    enum poly_status status = POLY_OK;

    (void)snprintf(target, sizeof(target), "%s", call->target);

    char *query = strchr(target, '?');

    if (query != NULL)
        *query++ = '\0';
    request.operation =
        api_route(call->method, target, parameters, API_PARAMETERS_MAX, &count, &other_method);
    if (request.operation == NULL)
        return poly_fail(err, POLY_UNSUPPORTED, "no route for %s %s", call->method, call->target);
    if (query != NULL)
        status = api_query(query, parameters, API_PARAMETERS_MAX, &count, err);
    if (status != POLY_OK)
        return status;
    request.parameters = parameters;
    request.parameter_count = count;
    request.body = call->body;
    request.body_size = call->body == NULL ? 0 : strlen(call->body);
    return api_call(session, &request, &sink->sink, err);
}
