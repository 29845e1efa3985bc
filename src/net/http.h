/*
 * An HTTP client for the servers that stores talk to (embedders, object stores, engines that speak
 * HTTP): one request at a time on the caller's thread, under its deadline, and several threads may
 * call at a time. Connections stay open for the next request. TLS is always verified; a proxy is
 * never used, whatever the environment says.
 */
#ifndef POLY_NET_HTTP_H
#define POLY_NET_HTTP_H

#include "base/buffer.h"
#include "base/status.h"
#include "polystore/value.h"

struct poly_http;

struct poly_http_options {
    const char *ca_file; /* PEM; NULL: the authorities that the system trusts */
    int connect_ms;      /* to connect, TLS included; 0: 2,000 */
};

/* The options are copied. POLY_NO_MEMORY. */
enum poly_status poly_http_open(const struct poly_http_options *options, struct poly_http **http,
                                struct poly_error *err);
/* No thread is in a call any more. NULL is accepted. */
void poly_http_close(struct poly_http *http);

/* From any thread: what is under way fails at once with POLY_UNAVAILABLE, and so does every later
 * call. */
void poly_http_stop(struct poly_http *http);
bool poly_http_stopped(const struct poly_http *http);
/* Sleeps until then (poly_clock_monotonic()). False: it was stopped. */
bool poly_http_pause(struct poly_http *http, int64_t until);

/* Does it look like http://host:port/path or https://…, with no user or password in it? Those would
 * end up in messages. POLY_INVALID, POLY_NO_MEMORY. */
enum poly_status poly_http_check_url(const char *url, struct poly_error *err);

struct poly_http_header {
    const char *name, *value;
};

struct poly_http_request {
    const char *method; /* "GET", "HEAD", "POST", "PUT", "DELETE", … */
    const char *url;
    const struct poly_http_header *headers;
    size_t header_count;
    struct poly_text body; /* data NULL: none */
    int64_t deadline;      /* of poly_clock_monotonic(); -1: none */
};

struct poly_http_answer {
    int status;
    struct poly_buffer headers; /* "Name: value\r\n" … */
    struct poly_buffer body;
};

/* max: bytes of the body that are accepted. An answer may be filled again and again. */
void poly_http_answer_init(struct poly_http_answer *answer, size_t max);
void poly_http_answer_release(struct poly_http_answer *answer);

/*
 * Sends it and reads the whole answer. POLY_OK whatever status the server gave: that is in the
 * answer, and of the body of an error (400 and more) the first POLY_MAX_HTTP_ERROR bytes. When a
 * connection that was kept turns out to be closed before anything came of an answer, the request is
 * sent once more, on a new one: to the server that is the same as a request that comes twice.
 *
 * A redirect within the same scheme, host and port is followed, where the method stays what it is
 * (307 and 308; the others for GET and HEAD); any other is an error, so that what is in the headers
 * goes nowhere else.
 *
 * POLY_UNAVAILABLE: no connection, or it was lost, or stopped. POLY_TIMEOUT: the deadline passed.
 * POLY_LIMIT: the answer is too large. POLY_DENIED: the server's
 * certificate is not accepted. POLY_UNSUPPORTED: a redirect elsewhere, or no HTTP. POLY_INVALID:
 * the address or a header. POLY_NO_MEMORY. On an error the answer's content means nothing.
 */
enum poly_status poly_http_call(struct poly_http *http, const struct poly_http_request *request,
                                struct poly_http_answer *answer, struct poly_error *err);

/* The value of a header of the answer, without space around it; false: it has none. */
bool poly_http_answer_header(const struct poly_http_answer *answer, const char *name,
                             struct poly_text *value);
/* What Retry-After asks for, in microseconds from now, a day at most; -1: nothing. */
int64_t poly_http_retry_after(const struct poly_http_answer *answer);

#endif
