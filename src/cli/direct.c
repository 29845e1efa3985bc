/* The road without a daemon: the library in this process, and the table of operations. */
#include "cli/client.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/status.h"
#include "cli/cli.h"

struct cli_direct {
    struct poly_instance *instance;
    bool owns; /* the instance */
    struct poly_session_options options;
    char *tenant;
    struct poly_session *session;
};

struct collector {
    struct api_sink sink; /* first: a sink is cast back to its collector */
    const struct cli_request *request;
    struct cli_answer *answer;
    int http;
    bool stopped;
};

static bool collect_begin(struct api_sink *sink, const struct api_head *head)
{
    struct collector *collector = (struct collector *)sink;

    memcpy(collector->answer->token, head->token, sizeof(collector->answer->token));
    collector->answer->version = head->version;
    collector->answer->stale = head->stale;
    collector->http = head->http;
    return true;
}

static bool collect_write(struct api_sink *sink, const void *bytes, size_t size)
{
    struct collector *collector = (struct collector *)sink;

    if (!collector->stopped)
        collector->stopped = !cli_answer_add(collector->request, collector->answer, bytes, size);
    return !collector->stopped;
}

static bool collect_gone(struct api_sink *sink)
{
    return ((struct collector *)sink)->stopped || cli_interrupted();
}

static enum poly_status open_session(struct cli_direct *direct, struct poly_error *err)
{
    direct->options.tenant = direct->tenant;
    return poly_session_open(direct->instance, &direct->options, &direct->session, err);
}

static enum poly_status make(const struct poly_session_options *session, struct cli_direct **direct,
                             struct poly_error *err)
{
    struct cli_direct *made = calloc(1, sizeof(*made));

    if (made == NULL)
        return poly_no_memory(err);
    made->options = *session;
    made->tenant = session->tenant == NULL ? NULL : strdup(session->tenant);
    if (session->tenant != NULL && made->tenant == NULL) {
        free(made);
        return poly_no_memory(err);
    }
    *direct = made;
    return POLY_OK;
}

enum poly_status cli_direct_open(const struct poly_options *options,
                                 const struct poly_session_options *session,
                                 struct cli_direct **direct, struct poly_error *err)
{
    struct cli_direct *made = NULL;
    enum poly_status status = make(session, &made, err);

    if (status != POLY_OK)
        return status;
    status = poly_open(options, &made->instance, err);
    made->owns = status == POLY_OK;
    if (status == POLY_OK)
        status = open_session(made, err);
    if (status == POLY_OK)
        *direct = made;
    else
        cli_direct_close(made);
    return status;
}

enum poly_status cli_direct_clone(struct cli_direct *direct, struct cli_direct **clone,
                                  struct poly_error *err)
{
    struct cli_direct *made = NULL;
    enum poly_status status = make(&direct->options, &made, err);

    if (status != POLY_OK)
        return status;
    made->instance = direct->instance;
    status = open_session(made, err);
    if (status == POLY_OK)
        *clone = made;
    else
        cli_direct_close(made);
    return status;
}

void cli_direct_close(struct cli_direct *direct)
{
    if (direct == NULL)
        return;
    poly_session_close(direct->session);
    if (direct->owns)
        poly_close(direct->instance);
    free(direct->tenant);
    free(direct);
}

static bool is_opening(struct poly_session *session)
{
    struct poly_status_report report;
    struct poly_error ignored;
    bool opening = false;

    if (poly_status_read(session, &report, &ignored) == POLY_OK)
        for (size_t i = 0; i < report.projection_count; i++)
            opening |= report.projections[i].state == POLY_STATE_OPENING;
    poly_session_reset(session);
    return opening;
}

/* A daemon's caller may come again; this process would begin anew. So what asks vectors waits
 * as long as reading what is saved of them takes. */
static void wait_for_vectors(struct cli_direct *direct, const char *operation)
{
    static const char vectors[] = "vectors."; /* searches, and what is known of their indexes */
    const struct timespec moment = {0, 5000000};

    if (!direct->owns || strncmp(operation, vectors, sizeof(vectors) - 1) != 0)
        return;
    while (!cli_interrupted() && is_opening(direct->session))
        nanosleep(&moment, NULL);
}

enum poly_status cli_direct_call(struct cli_direct *direct, const struct cli_request *request,
                                 struct cli_answer *answer, struct poly_error *err)
{
    struct collector collector = {
        .sink = {.begin = collect_begin, .write = collect_write, .gone = collect_gone},
        .request = request,
        .answer = answer,
    };
    struct api_request call = {
        .operation = api_find(request->operation),
        .parameters = request->parameters,
        .parameter_count = request->parameter_count,
        .body = request->body,
        .body_size = request->body_size,
        .token = request->token,
        .consistency = request->consistency,
        .idempotency_key = request->idempotency_key,
        .if_match = request->if_match,
        .if_none_match = request->if_none_match,
        .last_event_id = request->last_event_id,
        .local = true,
    };
    enum poly_status status;

    if (call.operation == NULL)
        return poly_fail(err, POLY_INTERNAL, "there is no operation '%s'", request->operation);
    wait_for_vectors(direct, request->operation);
    status = api_call(direct->session, &call, &collector.sink, err);
    poly_session_reset(direct->session);
    if (!poly_buffer_ok(&answer->body))
        return poly_fail(err, POLY_LIMIT, "the answer is larger than memory allows; ask for pages");
    return collector.stopped ? POLY_OK : status; /* it was us who wanted no more */
}
