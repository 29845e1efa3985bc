/* SQL that reads, row by row: an answer of any size takes constant memory. */
#include "api/handlers.h"

struct rows {
    struct api_context *context;
    uint64_t count;
    bool lines;
};

static bool print_row(void *arg, const struct poly_row *row)
{
    struct rows *rows = arg;
    struct poly_buffer *out = &rows->context->out;

    if (rows->count++ == 0)
        api_answer_fresh(rows->context);
    else if (!rows->lines)
        poly_buffer_char(out, ',');

    size_t from = out->size;

    poly_json_row(out, row);
    if (rows->lines && poly_buffer_ok(out)) {
        api_one_line(out, from);
        poly_buffer_char(out, '\n');
    }
    return api_answer_flush(rows->context, false);
}

enum poly_status api_sql_read(struct api_context *context, struct poly_error *err)
{
    const char *format = api_text(context, "format");
    struct rows rows = {.context = context, .lines = format != NULL && format[0] == 'n'};
    const struct poly_value *values;
    size_t count;
    enum poly_status status =
        api_values(context, json_object_get(context->body, "values"), &values, &count, err);

    if (status != POLY_OK)
        return status;
    if (rows.lines)
        context->head.content_type = "application/x-ndjson";
    else
        poly_buffer_text(&context->out, "{\"rows\":[");
    status = poly_sql_read(context->session, api_member(context->body, "sql"), values, count,
                           print_row, &rows, err);
    if (status != POLY_OK)
        return api_answer_fail(context, rows.lines ? NULL : "]", err);
    if (!rows.lines)
        poly_buffer_text(&context->out, "]}\n");
    return api_answer_finish(context, err);
}
