/*
 * An answer is held back until 16 KiB of it are there. A small one can thus
 * still turn into a problem document, and a large one takes constant memory.
 */
#include "api/context.h"

#include <inttypes.h>
#include <string.h>

enum { PIECE = 16 * 1024 };

void api_answer_fresh(struct api_context *context)
{
    struct poly_freshness freshness = poly_session_freshness(context->session);

    context->head.applied = freshness.applied;
    context->head.stale = freshness.stale;
}

static bool send(struct api_context *context)
{
    struct api_sink *sink = context->sink;

    if (!context->begun && !sink->begin(sink, &context->head))
        return false;
    context->begun = true;
    return context->out.size == 0 || sink->write(sink, context->out.data, context->out.size);
}

bool api_answer_flush(struct api_context *context, bool now)
{
    if (context->stopped || !poly_buffer_ok(&context->out))
        return false;
    if (!now && context->out.size < PIECE)
        return true;
    if (!send(context))
        context->stopped = true;
    poly_buffer_clear(&context->out);
    return !context->stopped;
}

enum poly_status api_answer_finish(struct api_context *context, struct poly_error *err)
{
    if (!poly_buffer_ok(&context->out))
        return poly_no_memory(err);
    if (!api_answer_flush(context, true))
        return poly_fail(err, POLY_TIMEOUT, "the caller went away before the answer's end");
    return POLY_OK;
}

enum poly_status api_answer_fail(struct api_context *context, const char *before,
                                 struct poly_error *err)
{
    if (!context->begun)
        return err->status;
    poly_buffer_clear(&context->out);
    poly_buffer_text(&context->out, before == NULL ? "{" : before);
    poly_buffer_text(&context->out, before == NULL ? "\"error\":" : ",\"error\":");
    api_problem(&context->out, err, context->request->instance);
    poly_buffer_text(&context->out, "}\n");
    api_answer_flush(context, true);
    return err->status;
}

void api_one_line(struct poly_buffer *out, size_t from)
{
    for (size_t i = from; i < out->size; i++)
        if (out->data[i] == '\n' || out->data[i] == '\r')
            out->data[i] = ' ';
}

void api_name(struct poly_buffer *out, const char *name)
{
    if (out->size > 0 && out->data[out->size - 1] != '{')
        poly_buffer_char(out, ',');
    poly_buffer_char(out, '"');
    poly_buffer_text(out, name);
    poly_buffer_text(out, "\":");
}

void api_put_text(struct poly_buffer *out, const char *name, struct poly_text text)
{
    api_name(out, name);
    poly_json_string(out, text.data == NULL ? "" : text.data, text.size);
}

void api_put_integer(struct poly_buffer *out, const char *name, uint64_t integer)
{
    struct poly_value value = poly_int((int64_t)integer);

    api_name(out, name);
    if (integer <= INT64_MAX)
        poly_json_value(out, &value);
    else
        poly_buffer_printf(out, "%" PRIu64, integer);
}

void api_put_number(struct poly_buffer *out, const char *name, double number)
{
    api_name(out, name);
    poly_json_number(out, number);
}

void api_put_bool(struct poly_buffer *out, const char *name, bool truth)
{
    api_name(out, name);
    poly_buffer_text(out, truth ? "true" : "false");
}

void api_put_some(struct poly_buffer *out, const char *name, struct poly_text text)
{
    if (text.size > 0)
        api_put_text(out, name, text);
}

void api_put_time(struct poly_buffer *out, const char *name, int64_t microseconds)
{
    char text[28];

    if (microseconds == 0)
        return;
    poly_json_time(microseconds, text);
    api_put_text(out, name, poly_text(text));
}

const char *const api_right_names[] = {"read", "write", "sql", "admin", NULL};

void api_put_rights(struct poly_buffer *out, const char *name, unsigned rights)
{
    const char *comma = "";

    api_name(out, name);
    poly_buffer_char(out, '[');
    for (unsigned i = 0; api_right_names[i] != NULL; i++) {
        if ((rights & 1U << i) == 0)
            continue;
        poly_buffer_printf(out, "%s\"%s\"", comma, api_right_names[i]);
        comma = ",";
    }
    poly_buffer_char(out, ']');
}

/* What another program wrote into the log may be anything; as a string it harms no answer. */
static void put_json(struct poly_buffer *out, struct poly_text text)
{
    struct poly_error ignored;

    if (poly_json_check(text.data, text.size, &ignored) == POLY_OK)
        poly_buffer_add(out, text.data, text.size);
    else
        poly_json_string(out, text.data, text.size);
}

/* As it stands in the file: what JSON's readers take ends at 64 bits with a sign. */
static void put_column(struct poly_buffer *out, const char *name, uint64_t number)
{
    api_name(out, name);
    poly_buffer_printf(out, "%" PRId64, (int64_t)number);
}

void api_put_record(struct poly_buffer *out, const struct poly_record *record)
{
    size_t from = out->size;
    char time[28];

    poly_json_time(record->time, time);
    poly_buffer_char(out, '{');
    put_column(out, "position", record->position);
    put_column(out, "txn", record->txn);
    put_column(out, "version", record->version);
    api_put_text(out, "time", poly_text(time));
    api_put_some(out, "tenant", record->tenant);
    api_put_text(out, "domain", record->domain);
    api_put_text(out, "key", record->key);
    api_put_text(out, "type", record->type);
    api_name(out, "data");
    if (record->data.type == POLY_JSON)
        put_json(out, record->data.text);
    else
        poly_json_value(out, &record->data);
    if (record->meta.size > 0) {
        api_name(out, "meta");
        put_json(out, record->meta);
    }
    poly_buffer_char(out, '}');
    if (poly_buffer_ok(out))
        api_one_line(out, from);
}

void api_put_document(struct poly_buffer *out, const struct poly_document *document)
{
    poly_buffer_char(out, '{');
    api_put_text(out, "key", document->key);
    api_put_integer(out, "version", document->version);
    api_name(out, "row");
    poly_json_row(out, &document->row);
    poly_buffer_char(out, '}');
}
