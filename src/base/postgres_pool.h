/*
 * Connections that many threads share, one at a time each. Never more than max
 * are open; who waits is served in the order of coming; a connection that broke is
 * replaced by whoever needs one next, so the pool heals by itself when the
 * server is back.
 */
#ifndef POLY_BASE_POSTGRES_POOL_H
#define POLY_BASE_POSTGRES_POOL_H

#include "base/postgres.h"

struct poly_pg_pool;

/* 0 is the default of each. */
struct poly_pg_pool_options {
    int max;        /* 20 */
    int min;        /* kept open when nobody needs them; 2; -1: none */
    int idle_ms;    /* unused for so long, those above min are closed; 30000 */
    int acquire_ms; /* longest wait for one of max to become free; 60000 */
};

struct poly_pg_pool_numbers {
    int max, open, idle, in_use, connecting, waiting;
    uint64_t taken;  /* in all */
    uint64_t waited; /* of these, had to wait */
    uint64_t wait_us, wait_us_max;
    uint64_t timeouts;           /* gave up waiting */
    uint64_t connects, failures; /* connections made, and not made */
    uint64_t broken;             /* were dropped, because they were lost or unclean */
    int slow;                    /* statements whose mean time here is over 1,000 ms */
};

/* Runs on each new connection; may be NULL. */
typedef enum poly_status poly_pg_setup(struct poly_pg *pg, void *arg, struct poly_error *err);

/* Does not connect: a pool can be made before its server is there. A thread of its own keeps min
 * connections, and closes idle ones. */
enum poly_status poly_pg_pool_open(const struct poly_pg_options *where,
                                   const struct poly_pg_pool_options *options, poly_pg_setup *setup,
                                   void *arg, struct poly_pg_pool **pool, struct poly_error *err);
/* NULL is accepted; all connections must have been given back. */
void poly_pg_pool_close(struct poly_pg_pool *pool);

/*
 * A connection for this caller alone, in no transaction, with this deadline (monotonic,
 * microseconds; -1: none). POLY_TIMEOUT: none became free in time. Whatever
 * keeps the server from being reached is POLY_UNAVAILABLE, a wrong password too. Thread-safe.
 */
enum poly_status poly_pg_pool_take(struct poly_pg_pool *pool, int64_t deadline, struct poly_pg **pg,
                                   struct poly_error *err);
/* Rolls back what was left open. NULL is accepted. Thread-safe. */
void poly_pg_pool_give(struct poly_pg_pool *pool, struct poly_pg *pg);
/* Somebody else's statements ran on it: the session is reset before another one gets it. */
void poly_pg_taint(struct poly_pg *pg);

void poly_pg_pool_numbers(struct poly_pg_pool *pool, struct poly_pg_pool_numbers *numbers);

#endif
