/*
 * The table of operations: what can be asked of Polystore from outside, once.
 * The daemon routes HTTP by it, the command line calls it directly or over
 * HTTP, and OpenAPI, rights, metrics names and docs/http.md are printed from
 * it (operations.c). Handlers use the public library only.
 */
#ifndef POLY_API_API_H
#define POLY_API_API_H

#include <stdbool.h>
#include <stdio.h>

#include "polystore.h"

struct api_operation; /* name, method, path, rights, flags, parameters: see operations.h */
struct poly_buffer;

/* Most parameters of a request, path and query together. */
enum { API_PARAMETERS_MAX = 64 };

struct api_parameter {
    const char *name;  /* of the path or the query: "domain", "limit" */
    const char *value; /* decoded; never NULL */
};

struct api_request {
    const struct api_operation *operation;
    const struct api_parameter *parameters; /* a name may come again where the table says so */
    size_t parameter_count;
    const char *body; /* JSON, JSON lines or bytes, as the operation says; NULL: none */
    size_t body_size;
    const char *token;           /* NULL: none */
    const char *consistency;     /* "wait" (default), "fail", "stale" */
    const char *idempotency_key; /* NULL: none */
    const char *if_match;        /* ETag, with or without quotes; NULL: none */
    const char *if_none_match;   /* "*" for writes, an ETag for reads; NULL: none */
    const char *last_event_id;   /* subscriptions: position to go on from; NULL: none */
    const char *correlation;     /* of a write whose body names none; NULL: none */
    const char *instance;        /* path that was asked for, for problem documents; NULL: none */
    bool local;                  /* our own command line on this machine: may name folders */
};

/*
 * Where the answer goes. begin is called once, before the first write; a
 * handler that fails before it has begun has written nothing, and the error
 * becomes a problem document. write returns false when the other side is gone
 * or slow beyond the limit: the handler then stops.
 */
struct api_head {
    int http;                 /* 200, 201, 204, 304, 503 … */
    const char *content_type; /* "application/json", "application/x-ndjson", … */
    char token[48];           /* empty: none */
    uint64_t version;         /* ETag; 0: none */
    bool stale;               /* the answer is older than the token asked for */
    uint64_t applied;         /* position that the answer stands on; 0: not said */
    bool streams;             /* more pieces may come: do not wait for the end */
};
struct api_sink {
    bool (*begin)(struct api_sink *sink, const struct api_head *head);
    bool (*write)(struct api_sink *sink, const void *bytes, size_t size);
    bool (*gone)(struct api_sink *sink); /* is the other side gone? for long waits; may be NULL */
};

/* How the fields of a request and of a head are called in HTTP, beside the standard ones
 * (Idempotency-Key, If-Match, If-None-Match, ETag, Last-Event-ID). */
#define API_HEADER_TOKEN "Polystore-Token"             /* request and answer */
#define API_HEADER_CONSISTENCY "Polystore-Consistency" /* request: wait, fail, stale */
#define API_HEADER_TENANT "Polystore-Tenant"           /* request, administrators only */
#define API_HEADER_APPLIED "Polystore-Applied"         /* answer: position */
#define API_HEADER_STALE "Polystore-Stale"             /* answer: "true", or not there */

/* By its name ("records.get"); NULL: there is none. */
const struct api_operation *api_find(const char *name);
/*
 * By method and path (as on the wire: still percent-encoded, without the query); fills up to max
 * path parameters. *other_method: the path exists, with another method. NULL: none. path is
 * decoded in place, and the values point into it.
 */
const struct api_operation *api_route(const char *method, char *path,
                                      struct api_parameter *parameters, size_t max, size_t *count,
                                      bool *other_method);
/* The methods of a path, for the Allow header, into a text like "GET, PUT"; path as above, kept. */
void api_allowed(const char *path, char *methods, size_t size);
/* The query of a URL ("a=1&b=x%20y"; no '?') into parameters, after the *count that are there.
 * Decoded in place. POLY_INVALID: not UTF-8, a NUL, a broken escape. POLY_LIMIT: too many. */
enum poly_status api_query(char *query, struct api_parameter *parameters, size_t max, size_t *count,
                           struct poly_error *err);

/*
 * Runs an operation. Checks rights, parameters and body by the table first.
 * The session's arena is used, and long exports and imports reset it on the way: nothing of the
 * request may lie in it. The caller resets it afterwards. An error after begin is told in
 * band by the handler, and is returned for the caller's log only.
 */
enum poly_status api_call(struct poly_session *session, const struct api_request *request,
                          struct api_sink *sink, struct poly_error *err);

/*
 * The two halves of api_call for operations with API_STAGED, so that a server can
 * poly_txn_submit() in between and need no thread that waits. Nothing of the request is used after
 * api_stage. api_commit_reply uses neither session nor request: it may run where done runs.
 */
enum poly_status api_stage(struct poly_session *session, const struct api_request *request,
                           struct poly_txn **txn, struct poly_error *err);
enum poly_status api_commit_reply(const struct api_operation *operation, struct api_sink *sink,
                                  const struct poly_commit *commit, struct poly_error *err);

/* RFC 9457 problem document for an error; instance (a path) may be NULL. */
void api_problem(struct poly_buffer *out, const struct poly_error *error, const char *instance);
/* The same for what has no status of ours: 401, 405, 413 … kind: "method-not-allowed". */
void api_problem_http(struct poly_buffer *out, int http, const char *kind, const char *detail,
                      const char *instance);

/* The OpenAPI 3.0 document. server: base URL; NULL: "/". */
void api_openapi(struct poly_buffer *out, const char *server);

/* The library's part of the metrics, in Prometheus' text form. */
enum poly_status api_metrics(struct poly_session *session, struct poly_buffer *out,
                             struct poly_error *err);

/* docs/http.md. */
void api_print_reference(FILE *out);

/* "not-found": a status as problem documents, metrics and --json print it. Into 24 bytes. */
void api_status_kind(enum poly_status status, char kind[24]);

#endif
