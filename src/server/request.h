/*
 * One request and its connection, from the first header to the last byte of
 * the answer. The phases, and who may touch the request in each:
 *
 *   NEW        nothing has been read but the request line         the connection
 *   BODY       the body is arriving                               the connection
 *   RUNNING    somebody works on it, the connection is suspended  the worker or the log's writer
 *   READY      the answer is complete, in out                     the connection
 *   STREAMING  the answer goes through the stream                 both, through the stream
 *   ANSWERED   handed to libmicrohttpd                            the connection
 *
 * A connection keeps its request for the next one, with the buffers: serving
 * a small request on a connection that stays open allocates nothing here.
 */
#ifndef POLY_SERVER_REQUEST_H
#define POLY_SERVER_REQUEST_H

#include <microhttpd.h>

#include "api/operations.h"
#include "base/buffer.h"
#include "server/auth.h"
#include "server/server.h"
#include "server/stream.h"
#include "server/watch.h"
#include "server/worker.h"

enum server_phase {
    SERVER_NEW,
    SERVER_BODY,
    SERVER_RUNNING,
    SERVER_READY,
    SERVER_STREAMING,
    SERVER_ANSWERED
};

struct server_connection {
    struct server_watched watched;
    struct server *server;
    struct server_request *request; /* NULL: the last one outlives its connection's interest */
    atomic_uint references;         /* the open socket's, and each request's */
};

struct server_headers {
    const char *authorization, *tenant, *request_id, *host;
    uint64_t content_length;
    bool length_given, chunked;
    bool malformed; /* where the next request begins is not sure: the connection ends */
    size_t size;
};

struct server_request {
    struct api_sink sink; /* first: what handlers get */
    struct server_job job;
    struct server *server;
    struct server_connection *connection;
    struct MHD_Connection *mhd;
    atomic_uint references; /* the connection's, and the worker's */
    atomic_int phase;

    struct poly_buffer uri; /* path, NUL, the path again to be decoded, NUL, query, NUL */
    struct poly_buffer own; /* headers, copied for a worker */
    const char *path, *method;
    struct api_request api;
    struct api_parameter parameters[API_PARAMETERS_MAX];
    struct server_headers headers;
    struct server_caller caller;
    struct poly_buffer body;
    size_t charged; /* of server->bytes */
    bool counted;   /* in server->in_flight */
    bool rejected;  /* error says why; the answer waits for the end of the body */

    struct api_head head;
    bool begun;
    enum poly_status unsent; /* why the answer cannot be sent while it is made; POLY_OK: it can */
    struct poly_buffer out;
    struct server_stream *stream;
    struct poly_error error;
    int refused;         /* HTTP status of a refusal that is none of ours (401, 405 …); 0: none */
    const char *kind;    /* of that refusal */
    uint32_t retry_s;    /* Retry-After; 0: none */
    char allow[48];      /* Allow, for 405 */

    int http; /* what was answered */
    uint64_t sent;
    int64_t started; /* monotonic */
    char id[POLY_MAX_REQUEST_ID + 1];
};

/* request.c: life */
struct server_request *server_request_new(struct server_connection *connection);
void server_request_hold(struct server_request *request);
/* Gives a reference back; the last one frees. */
void server_request_release(struct server_request *request);
/* The connection is done with it: log, count, and make it new. */
void server_request_finish(struct server_request *request, bool complete);
/* Counts n more bytes against POLY_MAX_SERVER_BYTES. */
enum poly_status server_request_charge(struct server_request *request, size_t n);
void server_connection_release(struct server_connection *connection);

/* headers.c: what the client says. False: request->error and ->refused say why not. */
bool server_request_read(struct server_request *request, const char *method);
/* Copies what a worker needs of the headers, which otherwise end with the connection. */
enum poly_status server_request_own(struct server_request *request);

/* road.c: runs it, here or elsewhere */
enum MHD_Result server_request_run(struct server_request *request);

/* answer.c: queues the answer in out, or the problem in error */
enum MHD_Result server_request_answer(struct server_request *request);
enum MHD_Result server_request_stream(struct server_request *request);

#endif
