/*
 * Where a request runs.
 *
 * Here: short reads, on the thread that read them. By the log's writer: staged
 * writes; the connection sleeps, no thread waits, and all that are waiting
 * share a sync. Only when there is no other request, the body is small, and
 * syncs are quick, is the write done here: it is answered sooner by two
 * switches of threads. By a worker: what may take long (SQL, large bodies,
 * streams of rows, waits for a projection, administration), and what needs a
 * server that is away, so that there are threads left to say so. On a thread of its
 * own: event streams, which last as long as their client.
 */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "server/metrics.h"
#include "server/request.h"

enum {
    LARGE_BODY = 256 * 1024, /* decoding more than this would hold up other connections */
    SMALL_BODY = 4 * 1024,   /* writing more than this would, too */
    QUICK_ROWS = 200,        /* that many are read at once, without a worker */
    QUICK_US = 2000,         /* a commit may take so long where it holds up its thread's others … */
    SLOW_TIMES = 500,        /* … or else none is made there for so many times as long */
    WHOLE = 48 * 1024        /* answers up to here are sent whole, with their length */
};

enum road { HERE, BY_WRITER, BY_WORKER, BY_ITSELF };

static bool has(const struct server_request *request, enum api_flag flag)
{
    return (request->api.operation->flags & flag) != 0;
}

/* Reads that may look at many rows, or wait for a projection. */
static bool may_be_slow(const struct server_request *request)
{
    const struct api_request *api = &request->api;

    if (has(request, API_WIDE))
        return true;
    for (size_t i = 0; i < api->parameter_count; i++) {
        const struct api_parameter *p = &api->parameters[i];
        if (strcmp(p->name, "path") == 0 ||
            (strcmp(p->name, "limit") == 0 && strtoull(p->value, NULL, 10) > QUICK_ROWS))
            return true;
    }
    return false;
}

static enum road choose(const struct server_request *request)
{
    unsigned flags = request->api.operation->flags;

    if (has(request, API_EVENTS))
        return BY_ITSELF;
    if (request->body.size > LARGE_BODY || (flags & (API_LONG | API_STREAMS)) != 0)
        return BY_WORKER;
    if ((flags & API_STAGED) != 0)
        return BY_WRITER;
    if (strcmp(request->api.operation->method, "GET") != 0 || may_be_slow(request))
        return BY_WORKER;
    if ((flags & (API_STATUS | API_OPEN)) == 0 && !poly_reachable(request->server->instance))
        return BY_WORKER;
    return HERE;
}

/* --- the answer is held whole --- */

static bool begin_whole(struct api_sink *sink, const struct api_head *head)
{
    struct server_request *request = (struct server_request *)sink;
    request->head = *head;
    request->begun = true;
    return true;
}

static bool write_whole(struct api_sink *sink, const void *bytes, size_t size)
{
    struct server_request *request = (struct server_request *)sink;
    poly_buffer_add(&request->out, bytes, size);
    return poly_buffer_ok(&request->out);
}

static bool gone_never(struct api_sink *sink)
{
    (void)sink;
    return false;
}

static const struct api_sink whole = {begin_whole, write_whole, gone_never};

static void take_back(struct server_request *request)
{
    request->begun = false;
    memset(&request->head, 0, sizeof(request->head));
    poly_buffer_clear(&request->out);
}

/* What the daemon does besides when an operation has ended. */
static void conclude(struct server_request *request, enum poly_status status)
{
    struct server *server = request->server;
    unsigned flags = request->api.operation->flags;

    if (status == POLY_OK && has(request, API_REVOKES))
        server_auth_forget(server->auth);
    if ((flags & API_READS) == 0 &&
        (status == POLY_UNAVAILABLE || status == POLY_INTERNAL || status == POLY_CORRUPT ||
         request->head.http == MHD_HTTP_SERVICE_UNAVAILABLE)) {
        atomic_store(&server->suspect, true);
        server_wake(server);
    }
    if (request->stream != NULL)
        return;
    if (!poly_buffer_ok(&request->out)) {
        take_back(request);
        poly_fail(&request->error, POLY_LIMIT, "the answer is larger than %lu MiB "
                  "(POLY_MAX_SESSION_MEMORY)", POLY_MAX_SESSION_MEMORY >> 20);
    } else if (server_request_charge(request, request->out.size) != POLY_OK) {
        take_back(request);
    }
}

/* --- here --- */

static enum MHD_Result run_here(struct server_request *request)
{
    struct server *server = request->server;
    enum poly_status status;

    request->sink = whole;
    if (has(request, API_READY) && atomic_load(&server->stopping)) {
        poly_fail(&request->error, POLY_UNAVAILABLE, "the daemon is shutting down");
        return server_request_answer(request);
    }
    status = api_call(request->caller.session, &request->api, &request->sink, &request->error);
    if (status == POLY_OK && has(request, API_METRICS))
        server_metrics_print(server, &request->out);
    conclude(request, status);
    return server_request_answer(request);
}

/* --- by the log's writer --- */

static void resume(struct server_request *request)
{
    struct MHD_Connection *mhd = request->mhd;
    atomic_store(&request->phase, SERVER_READY);
    MHD_resume_connection(mhd);
}

static void reply(struct server_request *request, enum poly_status status,
                  const struct poly_commit *commit)
{
    if (status == POLY_OK)
        status = api_commit_reply(request->api.operation, &request->sink, commit, &request->error);
    conclude(request, status);
}

static void committed(void *arg, enum poly_status status, const struct poly_commit *commit,
                      const struct poly_error *err)
{
    struct server_request *request = arg;

    if (status != POLY_OK)
        request->error = *err;
    reply(request, status, commit);
    resume(request);
}

/* False: others are served meanwhile, or would have to wait too long. */
static bool commit_here(struct server_request *request, struct poly_txn *txn)
{
    struct server *server = request->server;
    int64_t began = poly_clock_monotonic(), ended;
    struct poly_commit commit;
    enum poly_status status;
    bool tried;

    if (atomic_load(&server->in_flight) > 1 || request->body.size > SMALL_BODY ||
        began < atomic_load(&server->slow_until))
        return false;
    status = poly_txn_try_commit(txn, &tried, &commit, &request->error);
    if (!tried)
        return false;
    ended = poly_clock_monotonic();
    if (ended - began > QUICK_US)
        atomic_store(&server->slow_until, ended + SLOW_TIMES * (ended - began));
    reply(request, status, &commit);
    return true;
}

static enum MHD_Result submit(struct server_request *request, struct poly_txn *txn)
{
    struct poly_error error;
    enum poly_status status;

    atomic_store(&request->phase, SERVER_RUNNING);
    MHD_suspend_connection(request->mhd);
    status = poly_txn_submit(txn, committed, request, &error);
    if (status != POLY_OK) {
        request->error = error;
        request->retry_s = 1;
        conclude(request, status);
        resume(request);
    }
    return MHD_YES;
}

static enum MHD_Result run_by_writer(struct server_request *request)
{
    struct poly_txn *txn;
    enum poly_status status;

    request->sink = whole;
    status = api_stage(request->caller.session, &request->api, &txn, &request->error);
    if (status != POLY_OK || commit_here(request, txn))
        return server_request_answer(request);
    return submit(request, txn);
}

/* --- by a worker --- */

/* From here on the connection sends while the worker goes on. */
static bool start_stream(struct server_request *request)
{
    struct MHD_Connection *mhd = request->mhd;
    struct server_stream *stream = server_stream_new(mhd);

    if (stream == NULL)
        request->unsent = POLY_NO_MEMORY;
    else if (!has(request, API_EVENTS) && !server_workers_send(request->server->workers))
        request->unsent = POLY_LIMIT;
    if (request->unsent != POLY_OK) {
        server_stream_free(stream);
        return false;
    }
    request->stream = stream;
    atomic_store(&request->phase, SERVER_STREAMING);
    MHD_resume_connection(mhd);
    bool taken = server_stream_write(stream, request->out.data, request->out.size);
    poly_buffer_clear(&request->out);
    return taken;
}

static bool begin_worker(struct api_sink *sink, const struct api_head *head)
{
    struct server_request *request = (struct server_request *)sink;
    begin_whole(sink, head);
    return !has(request, API_EVENTS) || start_stream(request);
}

static bool write_worker(struct api_sink *sink, const void *bytes, size_t size)
{
    struct server_request *request = (struct server_request *)sink;

    if (request->stream == NULL && !write_whole(sink, bytes, size))
        return false;
    if (request->stream == NULL)
        return request->out.size <= WHOLE || start_stream(request);
    if (server_stream_write(request->stream, bytes, size))
        return true;
    atomic_store(&request->connection->watched.deadline, 1); /* it reads nothing: cut it off */
    return false;
}

static bool gone_worker(struct api_sink *sink)
{
    struct server_request *request = (struct server_request *)sink;
    return atomic_load(&request->connection->watched.left) ||
           (has(request, API_EVENTS) && atomic_load(&request->server->stopping)) ||
           (request->stream != NULL && server_stream_gone(request->stream));
}

/* Nothing has been sent yet, so it can still be a problem. */
static void say_unsent(struct server_request *request)
{
    take_back(request);
    if (request->unsent == POLY_NO_MEMORY)
        poly_no_memory(&request->error);
    else
        poly_fail(&request->error, POLY_LIMIT, "%d long answers are being sent already "
                  "(POLY_MAX_SENDERS); try again", POLY_MAX_SENDERS);
}

static void run_job(struct server_job *job)
{
    struct server_request *request =
        (struct server_request *)((char *)job - offsetof(struct server_request, job));
    struct MHD_Connection *mhd = request->mhd;
    struct server_stream *stream;

    request->sink = (struct api_sink){begin_worker, write_worker, gone_worker};
    enum poly_status status =
        api_call(request->caller.session, &request->api, &request->sink, &request->error);
    if (request->body.size > LARGE_BODY)
        (void)malloc_trim(0); /* many small values leave much behind */
    conclude(request, status);
    stream = request->stream;
    if (stream != NULL) {
        server_watch_within(&request->connection->watched, 2 * POLY_STALL_TIMEOUT_MS);
        server_stream_end(stream, true);
        server_request_release(request);
        return;
    }
    if (request->unsent != POLY_OK)
        say_unsent(request);
    atomic_store(&request->phase, SERVER_READY);
    server_request_release(request);
    MHD_resume_connection(mhd);
}

static enum MHD_Result run_elsewhere(struct server_request *request, bool by_itself)
{
    struct server_workers *workers = request->server->workers;
    enum poly_status status = server_request_own(request);
    struct poly_error error;

    if (status != POLY_OK)
        return server_request_answer(request);
    request->job.run = run_job;
    server_request_hold(request);
    atomic_store(&request->phase, SERVER_RUNNING);
    atomic_store(&request->connection->watched.asleep, true);
    MHD_suspend_connection(request->mhd);
    status = by_itself ? server_workers_stream(workers, &request->job, &error)
                       : server_workers_submit(workers, &request->job, &error);
    if (status != POLY_OK) {
        request->error = error;
        request->retry_s = 1;
        server_request_release(request);
        resume(request);
    }
    return MHD_YES;
}

enum MHD_Result server_request_run(struct server_request *request)
{
    request->api.body = request->body.size == 0 ? NULL : request->body.data;
    request->api.body_size = request->body.size;
    atomic_store(&request->connection->watched.deadline, 0);
    switch (choose(request)) {
    case BY_WRITER:
        return run_by_writer(request);
    case BY_WORKER:
        return run_elsewhere(request, false);
    case BY_ITSELF:
        return run_elsewhere(request, true);
    default:
        return run_here(request);
    }
}
