/*
 * Threads for requests that may take long: they grow with the work up to
 * POLY_MAX_WORKERS and leave after 30 idle seconds, so that a daemon at rest
 * has none. Event streams wait for as long as their client stays and would use
 * these up; each gets a thread of its own instead, POLY_MAX_STREAMS at most.
 * An answer that is sent while it is made lasts as long as its client likes
 * too: its worker leaves the others, and a new one may take its place.
 */
#ifndef POLY_SERVER_WORKER_H
#define POLY_SERVER_WORKER_H

#include <stdbool.h>
#include <stddef.h>

#include "polystore.h"

struct server_workers;

/* Embedded in what it is about; touched by the workers until run is called. */
struct server_job {
    struct server_job *next;
    void (*run)(struct server_job *job);
};

struct server_workers *server_workers_new(void); /* NULL: out of memory */
/* Waits until all that was accepted has run. NULL is accepted. */
void server_workers_free(struct server_workers *workers);

/* POLY_LIMIT: POLY_MAX_WORK wait already. */
enum poly_status server_workers_submit(struct server_workers *workers, struct server_job *job,
                                       struct poly_error *err);
/* On a thread of its own. POLY_LIMIT: there are POLY_MAX_STREAMS. */
enum poly_status server_workers_stream(struct server_workers *workers, struct server_job *job,
                                       struct poly_error *err);

/* From within a job, once: it will wait for its client. False: POLY_MAX_SENDERS do already. */
bool server_workers_send(struct server_workers *workers);

struct server_worker_counts {
    size_t threads, waiting, streams, senders;
};
struct server_worker_counts server_workers_count(struct server_workers *workers);

#endif
