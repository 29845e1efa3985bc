/* Long work tells how far it is, ten times a second, and notices that nobody listens any more. */
#include "api/handlers.h"
#include "base/clock.h"

enum { INTERVAL_US = 100 * 1000 };

void api_progress_open(struct api_progress *progress, struct api_context *context, bool print)
{
    *progress = (struct api_progress){.context = context, .print = print};
    if (print)
        context->head.content_type = "application/x-ndjson";
}

void api_progress_line(const struct api_progress *progress, bool finished)
{
    struct poly_buffer *out = &progress->context->out;

    poly_buffer_char(out, '{');
    api_put_integer(out, "done", progress->done);
    api_put_integer(out, "total", progress->total);
    api_put_bool(out, "finished", finished);
    poly_buffer_text(out, "}\n");
}

bool api_progress_tell(void *arg, uint64_t done, uint64_t total)
{
    struct api_progress *progress = arg;
    struct api_context *context = progress->context;
    int64_t now = poly_clock_monotonic();

    progress->done = done;
    progress->total = total;
    if (now < progress->next)
        return true;
    progress->next = now + INTERVAL_US;
    if (!progress->print)
        return context->sink->gone == NULL || !context->sink->gone(context->sink);
    api_progress_line(progress, false);
    return api_answer_flush(context, true);
}
