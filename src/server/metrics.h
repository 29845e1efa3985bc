/*
 * What the daemon counts itself: requests by operation and HTTP status, how
 * long they took, and its own process. Relaxed atomics, no lock.
 */
#ifndef POLY_SERVER_METRICS_H
#define POLY_SERVER_METRICS_H

#include <stdint.h>

#include "api/operations.h"
#include "base/buffer.h"

struct server;
struct server_metrics;

struct server_metrics *server_metrics_new(void); /* NULL: out of memory */
void server_metrics_free(struct server_metrics *metrics);

/* operation NULL: no operation was found for the request. */
void server_metrics_count(struct server_metrics *metrics, const struct api_operation *operation,
                          int http, int64_t microseconds);

/* In Prometheus' text form, after what is in out. */
void server_metrics_print(struct server *server, struct poly_buffer *out);

#endif
