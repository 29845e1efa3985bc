/*
 * Subscriptions as server-sent events: one event for each record, its id the
 * position, its data the record. A comment goes out every 15 s, so that a dead
 * connection is noticed from both ends. The wait is cut into short ones, only
 * to see whether the other side is still there.
 */
#include "api/handlers.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/status.h"

enum { WAIT_MS = 1000, WOKEN_US = 50 * 1000, HEARTBEAT_US = 15 * 1000 * 1000 };

static enum poly_status start_after(const struct api_context *context, uint64_t *after,
                                    struct poly_error *err)
{
    const char *id = context->request->last_event_id;
    char *end;

    *after = (uint64_t)api_integer(context, "after", 0);
    if (id == NULL || id[0] == '\0')
        return POLY_OK;
    if (id[0] < '0' || id[0] > '9' || strlen(id) > 19)
        return poly_fail(err, POLY_INVALID, "Last-Event-ID '%.32s' is not a position", id);
    *after = strtoull(id, &end, 10);
    if (*end != '\0' || *after > INT64_MAX)
        return poly_fail(err, POLY_INVALID, "Last-Event-ID '%.32s' is not a position", id);
    return POLY_OK;
}

static void print_event(struct poly_buffer *out, const struct poly_record *record)
{
    poly_buffer_printf(out, "id: %" PRIu64 "\ndata: ", record->position);
    api_put_record(out, record);
    poly_buffer_text(out, "\n\n");
}

/* How a stream that has begun ends when it goes wrong. */
static enum poly_status print_error(struct api_context *context, struct poly_error *err)
{
    if (!context->begun)
        return err->status;
    poly_buffer_text(&context->out, "event: error\ndata: ");
    api_problem(&context->out, err, context->request->instance);
    poly_buffer_text(&context->out, "\n\n");
    api_answer_flush(context, true);
    return err->status;
}

struct follower {
    struct api_context *context;
    struct poly_subscription *subscription;
    uint64_t left;  /* records before the end; UINT64_MAX: no end */
    int64_t silent; /* monotonic: since when nothing was sent */
};

static bool send_records(struct follower *follower, const struct poly_record *records, size_t count)
{
    for (size_t i = 0; i < count && follower->left > 0; i++, follower->left--) {
        print_event(&follower->context->out, &records[i]);
        if (!api_answer_flush(follower->context, false))
            return false;
    }
    follower->silent = poly_clock_monotonic();
    return api_answer_flush(follower->context, true);
}

/* False: the other side is gone. */
static bool keep_alive(struct follower *follower)
{
    struct api_sink *sink = follower->context->sink;
    int64_t now = poly_clock_monotonic();

    if (sink->gone != NULL && sink->gone(sink))
        return false;
    if (now - follower->silent < HEARTBEAT_US)
        return true;
    follower->silent = now;
    poly_buffer_text(&follower->context->out, ":\n\n");
    return api_answer_flush(follower->context, true);
}

static enum poly_status follow(struct follower *follower, struct poly_error *err)
{
    bool going = send_records(follower, NULL, 0);

    while (going && follower->left > 0) {
        const struct poly_record *records;
        size_t count;
        int64_t before = poly_clock_monotonic();
        enum poly_status status =
            poly_subscription_next(follower->subscription, WAIT_MS, &records, &count, err);

        if (status != POLY_OK)
            return print_error(follower->context, err);
        if (count > 0)
            going = send_records(follower, records, count);
        else
            /* Nothing, at once: the instance is closing. */
            going = poly_clock_monotonic() - before > WOKEN_US && keep_alive(follower);
    }
    return POLY_OK;
}

enum poly_status api_subscription_events(struct api_context *context, struct poly_error *err)
{
    struct poly_subscription_options options = {.name = api_text(context, "name")};
    struct follower follower = {
        .context = context,
        .left = (uint64_t)api_integer(context, "limit", 0),
        .silent = poly_clock_monotonic(),
    };
    enum poly_status status = start_after(context, &options.after, err);

    if (follower.left == 0)
        follower.left = UINT64_MAX;
    if (status == POLY_OK)
        status = api_texts(context, "domain", &options.domains, err);
    if (status == POLY_OK)
        status = api_texts(context, "type", &options.types, err);
    if (status == POLY_OK)
        status = poly_subscribe(context->session, &options, &follower.subscription, err);
    if (status != POLY_OK)
        return status;
    status = follow(&follower, err);
    poly_subscription_close(follower.subscription);
    return status;
}

enum poly_status api_subscription_ack(struct api_context *context, struct poly_error *err)
{
    json_int_t position = json_integer_value(json_object_get(context->body, "position"));
    enum poly_status status =
        poly_acknowledge(context->session, api_text(context, "name"), (uint64_t)position, err);

    return status == POLY_OK ? api_answer_finish(context, err) : status;
}

enum poly_status api_subscription_delete(struct api_context *context, struct poly_error *err)
{
    enum poly_status status =
        poly_subscription_delete(context->session, api_text(context, "name"), err);

    return status == POLY_OK ? api_answer_finish(context, err) : status;
}
