/*
 * The daemon, put together once in main.c and handed to every part. The parts
 * know each other through this header only; each has its own contract in its
 * own header.
 *
 * Threads: main waits for signals; two threads of libmicrohttpd read requests,
 * run what is short, and send answers; workers run what may take long; one
 * thread watches the clocks of connections; one writes the log.
 */
#ifndef POLY_SERVER_SERVER_H
#define POLY_SERVER_SERVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/status.h"
#include "polystore.h"

struct server_auth;
struct server_log;
struct server_metrics;
struct server_rate;
struct server_tls;
struct server_watch;
struct server_workers;
struct MHD_Daemon;

struct server_settings {
    uint32_t connections_max;
    size_t body_max;             /* bytes */
    uint32_t request_timeout_ms; /* for a body to arrive, and for each call of the library */
    uint32_t rows_max;           /* largest "limit" that may be asked for; 0: the library's own */
    uint32_t rate_per_tenant;    /* requests a second; 0: no limit */
};

struct server {
    struct poly_instance *instance;
    struct server_settings settings;
    struct MHD_Daemon *http;
    struct server_auth *auth;
    struct server_log *log;
    struct server_metrics *metrics;
    struct server_rate *rate;
    struct server_tls *tls; /* NULL: plain HTTP */
    struct server_watch *watch;
    struct server_workers *workers;
    int wake;                /* eventfd: main looks at the flags below */
    atomic_bool stopping;    /* no new work; streams end */
    atomic_bool suspect;     /* a write failed as it would if the log had: main finds out */
    _Atomic int64_t slow_until; /* monotonic; until then nothing is committed on polling threads */
    atomic_uint in_flight;   /* requests from their headers to the end of their answer */
    atomic_uint connections;
    atomic_size_t bytes;     /* of bodies and answers held */
};

/* Makes main look: after stopping, suspect or in_flight changed. Async-signal-safe. */
void server_wake(struct server *server);

#endif
