/* What the files of the PostgreSQL owner share. */
#ifndef POLY_OWNERS_POSTGRESQL_INSIDE_H
#define POLY_OWNERS_POSTGRESQL_INSIDE_H

#include <pthread.h>

#include "base/postgres_pool.h"
#include "base/postgres_sql.h"
#include "core/inside.h"
#include "core/owner.h"
#include "core/server.h"

/*
 * Advisory locks are pairs of numbers; ours begin with these ("poly" in ASCII and up).
 *   …57  the position below which a writing transaction draws none
 *   …58  who notifies
 *   …59  a stream, by hash: appends without an expected version take turns
 *   …60  upgrades
 *   …61  who seals the log
 *   …62  an idempotency key, by hash
 *   …64  and …65: upgrades of the schema poly_search, who applies there: followers/postgresql.h
 *   …66  who refreshes a materialised view, by hash: stores/relational/postgresql_view.c
 *   …70  how many connections a process may open: poly_pg_promise()
 */
enum {
    POLY_LOCK_POSITION = 1886350457,
    POLY_LOCK_NOTIFY,
    POLY_LOCK_STREAM,
    POLY_LOCK_UPGRADE,
    POLY_LOCK_SEAL,
    POLY_LOCK_IDEMPOTENCY
};

enum { POLY_POSTGRESQL_WORKERS = 16 };

struct poly_replicas;

struct poly_postgresql {
    struct poly_owner base;
    struct poly_replicas *replicas; /* NULL: there are none */
    struct poly_pg_target *target;
    struct poly_pg_pool *pool;
    struct poly_pg_texts *texts;
    _Atomic uint64_t commits, requests, retries;
    _Atomic uint64_t written; /* highest position that this daemon knows to be committed */
    _Atomic unsigned held;    /* interactive transactions */

    /* watch.c */
    pthread_t watch;
    bool watch_runs;
    struct poly_pg *attending; /* the watch's first connection, until it takes it */
    int watch_wake;           /* eventfd: we have written, or somebody waits */
    _Atomic bool told;        /* it was written to, and not yet looked after */
    _Atomic uint64_t awaited; /* highest position that somebody waits for */
    _Atomic bool stopping;
    pthread_mutex_t lock; /* guards what follows */
    char error[256];      /* the last one; empty */
    int64_t lost_since;   /* wall clock; 0: the watch is connected, or was a moment ago */
    void (*on_tables)(void *arg);
    void *on_tables_arg;
    struct {
        struct poly_server_status numbers; /* as the server said them last */
        uint64_t bytes;
        char warnings[600];
    } sample;
    struct {
        int backend;
        uint64_t position;
        int64_t since; /* monotonic; 0: nobody holds readers up */
        char who[160];
    } holder;

    /* upkeep.c */
    pthread_t sealer;
    bool sealer_runs;

    /* submit.c: who runs what must not wait */
    pthread_mutex_t queue_lock;
    pthread_cond_t queued;
    struct poly_request *first, **end;
    unsigned waiting, idle, workers;
    bool closing;
    pthread_t threads[POLY_POSTGRESQL_WORKERS];
};

static inline struct poly_postgresql *poly_postgresql_of(struct poly_owner *owner)
{
    return (struct poly_postgresql *)owner;
}

/* schema.c: makes or upgrades our tables, and reads who the instance is. */
enum poly_status poly_postgresql_schema(struct poly_owner *owner, struct poly_pg *pg,
                                        struct poly_error *err);

/* transaction.c */
enum poly_status poly_postgresql_run(struct poly_owner *owner, struct poly_request *request,
                                     struct poly_error *err);
enum poly_status poly_postgresql_replayed(struct poly_write *write, struct poly_error *err);
enum poly_status poly_postgresql_hold(struct poly_owner *owner, int64_t deadline,
                                      uint32_t deadline_ms, struct poly_db **db,
                                      struct poly_error *err);
enum poly_status poly_postgresql_release(struct poly_owner *owner, struct poly_db *db, bool commit,
                                         struct poly_error *err);
bool poly_postgresql_collided(struct poly_db *db);
enum poly_status poly_postgresql_pipeline(struct poly_write *write, struct poly_operation *first,
                                          size_t *number, struct poly_error *err);
struct poly_db *poly_postgresql_read(struct poly_owner *owner, const struct poly_reading *reading,
                                     struct poly_freshness *freshness, struct poly_error *err);
struct poly_db *poly_postgresql_take(struct poly_owner *owner, struct poly_error *err);
void poly_postgresql_give(struct poly_owner *owner, struct poly_db *db);
void poly_postgresql_note(struct poly_postgresql *self, const struct poly_error *err);

/* usage.c */
enum poly_status poly_postgresql_use(struct poly_owner *owner, struct poly_usage *usages,
                                     size_t count, struct poly_error *err);

/* lease.c */
enum poly_status poly_postgresql_lease(struct poly_owner *owner, struct poly_text tenant,
                                       struct poly_text name, bool keep, struct poly_error *err);
enum poly_status poly_postgresql_leased(struct poly_owner *owner, struct poly_db *db,
                                        struct poly_text tenant, struct poly_text name,
                                        bool *leased, struct poly_error *err);

/* owner.c: on this connection, the contract's lost(); and the era, which begins with the first that
 * asks after a standby has taken over. */
enum poly_status poly_postgresql_lost(struct poly_pg *pg, const uint64_t *positions, size_t count,
                                      uint64_t *lost, struct poly_error *err);
enum poly_status poly_postgresql_era(struct poly_postgresql *self, struct poly_pg *pg,
                                     struct poly_error *err);

/* report.c */
bool poly_postgresql_reachable(struct poly_owner *owner);
enum poly_status poly_postgresql_numbers(struct poly_postgresql *self, struct poly_arena *arena,
                                         struct poly_status_report *report, struct poly_error *err);

/* submit.c */
enum poly_status poly_postgresql_submit(struct poly_owner *owner, struct poly_request *request,
                                        struct poly_error *err);
void poly_postgresql_drain(struct poly_postgresql *self);

/* upkeep.c */
enum poly_status poly_postgresql_sealer(struct poly_postgresql *self, struct poly_error *err);
void poly_postgresql_unseal(struct poly_postgresql *self);
void poly_postgresql_retain(struct poly_owner *owner);

/* replica.c */
enum poly_status poly_replicas_open(const struct poly_server *server,
                                    const struct poly_pg_options *where,
                                    const struct poly_pg_pool_options *pool,
                                    struct poly_replicas **replicas, struct poly_error *err);
void poly_replicas_close(struct poly_replicas *replicas); /* NULL is accepted */
/* The WAL up to lsn has all records up to position. */
/* A standby has taken over: places that were noted may not be in its WAL. */
void poly_replicas_forget(struct poly_replicas *replicas);
void poly_replicas_note(struct poly_replicas *replicas, uint64_t position, uint64_t lsn);
/* A connection to one that has what the reading asks for, and its pool. NULL: none has. */
struct poly_pg *poly_replicas_take(struct poly_replicas *replicas,
                                   const struct poly_reading *reading,
                                   struct poly_freshness *freshness, struct poly_pg_pool **pool);

/* watch.c */
enum poly_status poly_postgresql_watch(struct poly_postgresql *self, struct poly_error *err);
/* Makes a connection the watch's: it listens, and says how many we may open. */
enum poly_status poly_postgresql_attend(struct poly_postgresql *self, struct poly_pg *pg,
                                        struct poly_error *err);
void poly_postgresql_unwatch(struct poly_postgresql *self);
void poly_postgresql_wake(struct poly_postgresql *self);
void poly_postgresql_await(struct poly_owner *owner, uint64_t position);
/* Reads poly.horizon() on any connection; whole transactions beyond after. */
struct poly_horizon {
    uint64_t safe, last, lsn;
    int64_t writing;
    int backend;
};
enum poly_status poly_postgresql_horizon(struct poly_pg *pg, uint64_t after,
                                         struct poly_horizon *horizon, struct poly_error *err);

/* log.c */
enum poly_status poly_postgresql_scan(struct poly_db *db, struct poly_scan *scan,
                                      struct poly_error *err);
extern const char poly_postgresql_records[];
void poly_postgresql_record(struct poly_stmt *stmt, struct poly_record *record, bool *large);

#endif
