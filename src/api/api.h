/*
 * The table of operations: what can be asked of Polystore from outside, once.
 * The daemon routes HTTP by it, the command line calls it directly or over
 * HTTP, and OpenAPI, rights, metrics names and docs/http.md are printed from
 * it (operations.def). Handlers use the public library only.
 */
#ifndef POLY_API_API_H
#define POLY_API_API_H

#include <stdbool.h>

#include "polystore.h"

struct api_operation; /* name, method, path, rights, parameters: see operations.h */

struct api_parameter {
    const char *name;  /* of the path or the query: "domain", "limit" */
    const char *value; /* decoded; never NULL */
};

struct api_request {
    const struct api_operation *operation;
    const struct api_parameter *parameters;
    size_t parameter_count;
    const char *body; /* JSON, JSON lines or bytes, as the operation says; NULL: none */
    size_t body_size;
    const char *token;           /* NULL: none */
    const char *consistency;     /* "wait" (default), "fail", "stale" */
    const char *idempotency_key; /* NULL: none */
    const char *if_match;        /* ETag, with or without quotes; NULL: none */
    const char *last_event_id;   /* subscriptions: position to go on from; NULL: none */
};

/*
 * Where the answer goes. begin is called once, before the first write; a
 * handler that fails before it has begun has written nothing, and the error
 * becomes a problem document. write returns false when the other side is gone
 * or slow beyond the limit: the handler then stops.
 */
struct api_head {
    int http;                 /* 200, 201, 204 … */
    const char *content_type; /* "application/json", "application/x-ndjson", … */
    char token[48];           /* empty: none */
    uint64_t version;         /* ETag; 0: none */
    bool stale;               /* the answer is older than the token asked for */
    uint64_t applied;         /* position that the answer stands on; 0: not said */
};
struct api_sink {
    bool (*begin)(struct api_sink *sink, const struct api_head *head);
    bool (*write)(struct api_sink *sink, const void *bytes, size_t size);
    bool (*gone)(struct api_sink *sink); /* is the other side gone? for long waits */
};

/* By its name ("records.get"); NULL: there is none. */
const struct api_operation *api_find(const char *name);
/* By method and path; fills up to max path parameters. *other_method: the path exists, with
 * another method. NULL: none. The values point into storage of the caller's path copy. */
const struct api_operation *api_route(const char *method, char *path,
                                      struct api_parameter *parameters, size_t max, size_t *count,
                                      bool *other_method);

/*
 * Runs an operation. Checks rights, parameters and body by the table first.
 * The session's arena is used; the caller resets it afterwards.
 */
enum poly_status api_call(struct poly_session *session, const struct api_request *request,
                          struct api_sink *sink, struct poly_error *err);

/* RFC 9457 problem document for an error. */
struct poly_buffer;
void api_problem(struct poly_buffer *out, const struct poly_error *error, const char *instance);

/* The OpenAPI 3.0 document. */
void api_openapi(struct poly_buffer *out, const char *server);

#endif
