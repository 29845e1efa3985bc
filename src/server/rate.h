/*
 * How often a tenant may ask: a token bucket for each, holding a second's
 * worth; with other daemons on the same database one for all of them. Thread-safe.
 */
#ifndef POLY_SERVER_RATE_H
#define POLY_SERVER_RATE_H

#include <stdint.h>

#include "polystore.h"

struct server_log;
struct server_rate;

/* per_second 0: no limit. NULL: out of memory, or of threads. */
struct server_rate *server_rate_new(uint32_t per_second, struct poly_instance *instance,
                                    struct server_log *log);
void server_rate_free(struct server_rate *rate); /* NULL is accepted */

/* Takes one. POLY_LIMIT with *retry_s (seconds, at least 1) when there is none left. now:
 * monotonic microseconds. tenant empty: those without a tenant share one bucket. */
enum poly_status server_rate_take(struct server_rate *rate, const char *tenant, int64_t now,
                                  uint32_t *retry_s, struct poly_error *err);

#endif
