/* Vectors that embedders make of the records' text: how far that is, and what they refuse. */
#include "api/handlers.h"
#include "base/json.h"

static double seconds(int64_t microseconds)
{
    return (double)microseconds / 1e6;
}

/* --- the status --- */

static void print_one(struct poly_buffer *out, const struct poly_embedding_status *e)
{
    poly_buffer_char(out, '{');
    api_put_text(out, "domain", e->domain);
    api_put_text(out, "name", e->name);
    api_put_bool(out, "next", e->next);
    api_put_text(out, "embedder", e->embedder);
    api_put_text(out, "model", e->model);
    api_put_text(out, "state", poly_text(poly_state_name(e->state)));
    api_put_integer(out, "position", e->position);
    api_put_integer(out, "lag_records", e->lag_records);
    api_put_integer(out, "waiting", e->waiting);
    api_put_integer(out, "refused", e->refused);
    api_put_number(out, "behind_seconds", seconds(e->behind_us));
    api_put_integer(out, "made", e->made);
    api_put_integer(out, "failures", e->failures);
    api_put_bool(out, "leads", e->leads);
    api_put_some(out, "error", e->error);
    api_put_time(out, "error_time", e->error_time);
    poly_buffer_char(out, '}');
}

void api_embeddings_print(struct poly_buffer *out, const struct poly_status_report *report)
{
    api_name(out, "embeddings");
    poly_buffer_char(out, '[');
    for (size_t i = 0; i < report->embedding_count; i++) {
        poly_buffer_text(out, i == 0 ? "" : ",");
        print_one(out, &report->embeddings[i]);
    }
    poly_buffer_char(out, ']');
}

/* --- metrics --- */

static const struct {
    const char *name, *type, *help;
} metrics[] = {
    {"waiting", "gauge", "Records whose text has no vector yet."},
    {"refused", "gauge", "Records whose text cannot be embedded."},
    {"lag_records", "gauge", "Records of the log that were not looked at."},
    {"behind_seconds", "gauge", "Age of the oldest record that waits."},
    {"failing", "gauge", "1 when the last request failed."},
    {"leads", "gauge", "1 when this daemon makes them."},
    {"vectors_total", "counter", "Vectors that this daemon had made."},
    {"failures_total", "counter", "Requests that failed and texts that were refused."},
};

void api_embeddings_metrics(struct poly_buffer *out, const struct poly_status_report *report)
{
    for (size_t m = 0; m < sizeof(metrics) / sizeof(metrics[0]); m++) {
        const char *name = metrics[m].name;

        if (report->embedding_count > 0)
            poly_buffer_printf(out,
                               "# HELP polystore_embedder_%s %s\n# TYPE polystore_embedder_%s %s\n",
                               name, metrics[m].help, name, metrics[m].type);
        for (size_t i = 0; i < report->embedding_count; i++) {
            const struct poly_embedding_status *e = &report->embeddings[i];
            const double values[] = {(double)e->waiting,
                                     (double)e->refused,
                                     (double)e->lag_records,
                                     seconds(e->behind_us),
                                     e->state == POLY_STATE_RETRYING,
                                     e->leads,
                                     (double)e->made,
                                     (double)e->failures};

            poly_buffer_printf(out, "polystore_embedder_%s{", name);
            api_put_label(out, "domain", e->domain);
            poly_buffer_char(out, ',');
            api_put_label(out, "name", e->name);
            poly_buffer_text(out, e->next ? ",next=\"1\"} " : "} ");
            poly_json_number(out, values[m]);
            poly_buffer_char(out, '\n');
        }
    }
}

/* --- what was refused --- */

/* The name of the vector; NULL: it was not given. */
static const char *name_of(const struct api_context *context)
{
    const char *name = api_text(context, "name");

    return name == NULL || *name == '\0' ? NULL : name;
}

enum poly_status api_embedding_refused(struct api_context *context, struct poly_error *err)
{
    const struct poly_refused_query query = {.domain = api_text(context, "domain"),
                                             .name = name_of(context),
                                             .next = api_true(context, "next"),
                                             .limit = (uint32_t)api_integer(context, "limit", 0),
                                             .cursor = api_text(context, "cursor")};
    struct poly_refused_page page;
    struct poly_buffer *out = &context->out;
    enum poly_status status = poly_vector_refused(context->session, &query, &page, err);

    if (status != POLY_OK)
        return status;
    poly_buffer_text(out, "{\"refused\":[");
    for (size_t i = 0; i < page.count; i++) {
        const struct poly_vector_refusal *one = &page.refusals[i];

        poly_buffer_text(out, i == 0 ? "{" : ",{");
        api_put_some(out, "tenant", one->tenant);
        api_put_text(out, "key", one->key);
        api_put_integer(out, "version", one->version);
        api_put_time(out, "time", one->time);
        api_put_text(out, "error", one->error);
        poly_buffer_char(out, '}');
    }
    poly_buffer_char(out, ']');
    if (page.cursor != NULL)
        api_put_text(out, "cursor", poly_text(page.cursor));
    poly_buffer_text(out, "}\n");
    return api_answer_finish(context, err);
}

enum poly_status api_embedding_retry(struct api_context *context, struct poly_error *err)
{
    uint64_t count;
    enum poly_status status = poly_vector_retry(context->session, api_text(context, "domain"),
                                                name_of(context), &count, err);

    if (status != POLY_OK)
        return status;
    poly_buffer_char(&context->out, '{');
    api_put_integer(&context->out, "waiting", count);
    poly_buffer_text(&context->out, "}\n");
    return api_answer_finish(context, err);
}
