/*
 * The one writer. Requests queue; whoever leads takes all that wait, runs each
 * under a savepoint of one transaction, seals the log, applies the co-located
 * projections, and commits once: one sync for all. Only this file commits.
 *
 * A caller that finds the writer idle leads its own group on its own thread,
 * so a single client pays for no thread switch. When others have queued
 * meanwhile, the writer's thread takes over and leads until the queue is
 * empty. Where several write, a group waits a moment for those who were just
 * told (writer.c). A client that writes alone is never delayed.
 */
#ifndef POLY_OWNERS_EMBEDDED_WRITER_H
#define POLY_OWNERS_EMBEDDED_WRITER_H

#include "core/owner.h"
#include "owners/embedded/log.h"

struct poly_writer;

/* What happens around the requests of a group; arg is the instance. */
struct poly_writer_hooks {
    /* After the requests, before the commit: the co-located projections. behind: call again soon,
     * there was too much for one group. */
    enum poly_status (*finish)(void *arg, struct poly_db *db, bool *behind, struct poly_error *err);
    /* After the commit: position is durable. Also after a rollback (committed false). */
    void (*published)(void *arg, uint64_t position, bool committed);
    void *arg;
};

enum poly_status poly_writer_open(struct poly_log *log, const struct poly_writer_hooks *hooks,
                                  struct poly_writer **writer, struct poly_error *err);
/* Finishes what is queued, then stops. */
void poly_writer_close(struct poly_writer *writer);

/* Runs one request and waits for its group. POLY_LIMIT: the queue is full. POLY_UNAVAILABLE: the
 * log has failed. */
enum poly_status poly_writer_run(struct poly_writer *writer, poly_write_fn *run, void *arg,
                                 bool single, struct poly_error *err);
/* The same where this caller can lead at once: its request alone, without waiting for another
 * program's lock; what else is to be done, and checkpoints, stay with the writer's thread. *tried
 * false: it cannot, and nothing was done. */
enum poly_status poly_writer_try(struct poly_writer *writer, poly_write_fn *run, void *arg,
                                 bool single, bool *tried, struct poly_error *err);
/* Queues one; request lives until done has been called. */
enum poly_status poly_writer_submit(struct poly_writer *writer, struct poly_request *request,
                                    struct poly_error *err);
/* Asks for a group although nobody writes (another program has committed). */
void poly_writer_kick(struct poly_writer *writer);

/*
 * An interactive transaction: this caller alone has the writer, from hold to
 * release. hold waits until deadline: POLY_TIMEOUT. release commits, or rolls
 * back. Between them the caller uses the connection from one thread at a time.
 */
enum poly_status poly_writer_hold(struct poly_writer *writer, int64_t deadline,
                                  struct poly_error *err);
enum poly_status poly_writer_release(struct poly_writer *writer, bool commit,
                                     struct poly_error *err);

struct poly_writer_status {
    uint64_t commits, requests;
    bool held;
    int64_t held_since; /* poly_clock_monotonic() */
    bool failed;
    bool refusing;   /* the last group with requests could not be written; the next one may */
    char error[256]; /* why it failed, or the last error of a group; or empty */
};
void poly_writer_look(struct poly_writer *writer, struct poly_writer_status *status);

#endif
