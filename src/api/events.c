/* Streams: append and read. */
#include "api/handlers.h"

#include "base/status.h"

/* An event's data is a JSON text, bytes, a text or nothing. */
static enum poly_status make_data(const struct api_context *context, const json_t *json,
                                  struct poly_value *data, struct poly_error *err)
{
    enum poly_status status;

    *data = poly_null();
    if (json == NULL || json_is_null(json))
        return POLY_OK;
    status = poly_json_to_value(json, context->arena, data, err);
    if (status != POLY_OK)
        return poly_fail_in(err, status, "data");
    if (data->type == POLY_JSON || data->type == POLY_TEXT || data->type == POLY_BYTES)
        return POLY_OK;

    const char *text = api_dump(context, json);

    if (text == NULL)
        return poly_no_memory(err);
    *data = poly_json(text);
    return POLY_OK;
}

enum poly_status api_make_event(const struct api_context *context, const json_t *json,
                                struct poly_event *event, struct poly_error *err)
{
    const json_t *meta = json_object_get(json, "meta");

    event->type = api_member(json, "type");
    if (meta != NULL) {
        event->meta = api_dump(context, meta);
        if (event->meta == NULL)
            return poly_no_memory(err);
    }
    return make_data(context, json_object_get(json, "data"), &event->data, err);
}

enum poly_status api_append_events(struct api_context *context, struct poly_txn *txn,
                                   const char *stream, const json_t *body, struct poly_error *err)
{
    const json_t *list = json_object_get(body, "events");
    size_t count = json_array_size(list);
    struct poly_event *events = poly_arena_array(context->arena, count, sizeof(*events));

    if (events == NULL)
        return poly_no_memory(err);
    for (size_t i = 0; i < count; i++) {
        enum poly_status status = api_make_event(context, json_array_get(list, i), &events[i], err);

        if (status != POLY_OK)
            return poly_fail_in(err, status, "events[%zu]", i);
    }
    return poly_append(txn, stream, api_expected(json_object_get(body, "expected")), events, count,
                       err);
}

enum poly_status api_stage_append(struct api_context *context, struct poly_txn *txn,
                                  struct poly_error *err)
{
    return api_append_events(context, txn, api_text(context, "stream"), context->body, err);
}

/* The parameter "equal": JSON text, so that 42 and "42" differ. */
static enum poly_status parse_equal(const struct api_context *context, struct poly_value *value,
                                    struct poly_error *err)
{
    const char *text = api_text(context, "equal");
    json_t *json;

    if ((text == NULL) != (api_text(context, "path") == NULL))
        return poly_fail(err, POLY_INVALID, "parameters 'path' and 'equal' go together");
    if (text == NULL)
        return POLY_OK;

    enum poly_status status = poly_json_parse(text, strlen(text), &json, err);

    if (status == POLY_OK) {
        status = poly_json_to_value(json, context->arena, value, err);
        json_decref(json);
    }
    return status == POLY_OK ? status : poly_fail_in(err, status, "parameter 'equal'");
}

enum poly_status api_stream_read(struct api_context *context, struct poly_error *err)
{
    struct poly_stream_query query = {
        .stream = api_text(context, "stream"),
        .from = (uint64_t)api_integer(context, "from", 0),
        .backwards = api_true(context, "backwards"),
        .limit = (uint32_t)api_integer(context, "limit", 0),
        .path = api_text(context, "path"),
        .equal = poly_null(),
    };
    struct poly_records records;
    enum poly_status status = parse_equal(context, &query.equal, err);

    if (status == POLY_OK)
        status = poly_stream_read(context->session, &query, &records, err);
    if (status != POLY_OK)
        return status;
    api_answer_fresh(context);
    poly_buffer_text(&context->out, "{");
    api_put_integer(&context->out, "version", records.version);
    api_put_bool(&context->out, "more", records.more);
    api_name(&context->out, "records");
    for (size_t i = 0; i < records.count; i++) {
        poly_buffer_text(&context->out, i == 0 ? "[" : ",");
        api_put_record(&context->out, &records.records[i]);
        if (!api_answer_flush(context, false))
            break;
    }
    poly_buffer_text(&context->out, records.count == 0 ? "[]}\n" : "]}\n");
    return api_answer_finish(context, err);
}
