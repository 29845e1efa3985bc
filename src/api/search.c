/* Full-text search. */
#include "api/handlers.h"

static void print_hit(struct poly_buffer *out, const struct poly_hit *hit)
{
    poly_buffer_char(out, '{');
    api_put_text(out, "domain", hit->domain);
    api_put_text(out, "key", hit->key);
    api_put_integer(out, "version", hit->version);
    api_put_number(out, "score", hit->score);
    api_put_some(out, "snippet", hit->snippet);
    if (hit->highlights.count > 0) {
        api_name(out, "highlights");
        poly_json_row(out, &hit->highlights);
    }
    poly_buffer_char(out, '}');
}

static enum poly_status print_hits(struct api_context *context, const struct poly_hits *hits,
                                   bool count, struct poly_error *err)
{
    poly_buffer_char(&context->out, '{');
    api_put_integer(&context->out, "generation", hits->generation);
    if (count)
        api_put_integer(&context->out, "total", hits->total);
    api_name(&context->out, "hits");
    poly_buffer_char(&context->out, '[');
    for (size_t i = 0; i < hits->count; i++) {
        if (i > 0)
            poly_buffer_char(&context->out, ',');
        print_hit(&context->out, &hits->hits[i]);
        if (!api_answer_flush(context, false))
            break;
    }
    poly_buffer_text(&context->out, "]}\n");
    return api_answer_finish(context, err);
}

enum poly_status api_search(struct api_context *context, struct poly_error *err)
{
    struct poly_search_query query = {
        .query = api_text(context, "q"),
        .limit = (uint32_t)api_integer(context, "limit", 0),
        .offset = (uint32_t)api_integer(context, "offset", 0),
        .count = api_true(context, "count"),
        .highlight = api_true(context, "highlight"),
        .mark_open = api_text(context, "mark_open"),
        .mark_close = api_text(context, "mark_close"),
    };
    struct poly_hits hits;
    const char *where = api_text(context, "where");
    enum poly_status status = api_filters(context, &query.filters, &query.filter_count, err);

    if (status == POLY_OK && where != NULL) {
        status = poly_where_parse(context->session, poly_text(where), &query.where, err);
        if (status != POLY_OK)
            return poly_fail_in(err, status, "parameter 'where'");
    }
    if (status == POLY_OK)
        status = api_texts(context, "domain", &query.domains, err);
    if (status == POLY_OK)
        status = poly_search(context->session, &query, &hits, err);
    if (status != POLY_OK)
        return status;
    api_answer_fresh(context);
    return print_hits(context, &hits, query.count, err);
}
