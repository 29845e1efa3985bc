/*
 * The owner: the database that has the log and the records, as core/ knows it.
 * Whoever opens, reads, commits or watches it stands behind this table; SQL that
 * is the same on both engines goes through base/sql.h and is written once.
 *
 *   owners/embedded     SQLite, one writer, group commit
 *   owners/postgresql   a server, a pool of connections, many daemons beside each other
 */
#ifndef POLY_CORE_OWNER_H
#define POLY_CORE_OWNER_H

#include <stdatomic.h>

#include "base/sql.h"
#include "core/capability.h"
#include "core/log.h"
#include "core/operation.h"
#include "polystore/admin.h"
#include "polystore/instance.h"
#include "polystore/session.h"

struct poly_instance;
struct poly_owner;
struct poly_owner_driver;

struct poly_owner *poly_instance_owner(struct poly_instance *instance);

/* A driver embeds it in its own struct, first. */
struct poly_owner {
    const struct poly_owner_driver *driver;
    struct poly_instance *instance;
    uint8_t id[16];     /* made once, with the database */
    uint8_t secret[32]; /* keys the tokens */
    uint32_t epoch;     /* changes with every restore */
    /* Last position below which nothing will appear any more, and which is on disk. */
    _Atomic uint64_t durable;
    _Atomic uint64_t era; /* of the log now: see poly_era() */
};

/* Runs inside a transaction of the owner's. May run again from its beginning, when the database
 * asks for that (a deadlock). */
typedef enum poly_status poly_write_fn(struct poly_db *db, void *arg, struct poly_error *err);
/* Runs after the commit (or failure); must not block. */
typedef void poly_written_fn(void *arg, enum poly_status status, const struct poly_error *err);

struct poly_request {
    struct poly_request *next;
    poly_write_fn *run;
    poly_written_fn *done; /* NULL: somebody waits in run() */
    void *arg;
    bool single; /* one statement at most: needs no savepoint */
    /* Run twice it has the effect of once: where the answer to a commit is lost, it may run again
     * to find out what happened. */
    bool repeatable;
    /* Monotonic, for a server to answer; 0: each call has the driver's own time; -1: none. */
    int64_t deadline;
    enum poly_status status;
    struct poly_error error;
};

struct poly_reading {
    bool snapshot;  /* else one statement is all that will be read */
    bool primary;   /* never from a replica */
    uint64_t after; /* the position that must be seen; 0: none */
    enum poly_consistency consistency;
    int64_t deadline; /* monotonic */
};

struct poly_tending {
    int fd;        /* -1: none */
    int64_t until; /* monotonic; -1: never */
};

struct poly_owner_driver {
    const char *name; /* as in the configuration: "embedded" */
    const struct poly_capability *capabilities;

    /* Makes or upgrades our tables, and reads who the instance is. The configuration and the data
     * folder are there. */
    enum poly_status (*open)(struct poly_instance *instance, struct poly_owner **owner,
                             struct poly_error *err);
    /* Finishes what is queued; after it nothing is written. */
    void (*stop)(struct poly_owner *owner);
    void (*close)(struct poly_owner *owner);

    /* --- reading --- */

    /* A connection for this caller alone, until it is given back. NULL: err. Thread-safe. */
    struct poly_db *(*take)(struct poly_owner *owner, struct poly_error *err);
    void (*give)(struct poly_owner *owner, struct poly_db *db); /* NULL is accepted */
    /* The same for what a session reads; says how fresh it is. */
    struct poly_db *(*read)(struct poly_owner *owner, const struct poly_reading *reading,
                            struct poly_freshness *freshness, struct poly_error *err);
    void (*read_end)(struct poly_owner *owner, struct poly_db *db, bool snapshot);
    /* Could that position exist? A token of a later one is refused. */
    bool (*reached)(struct poly_owner *owner, uint64_t position);
    /* Somebody waits until the log is complete up to there. NULL: that is always known at once. */
    void (*await)(struct poly_owner *owner, uint64_t position);

    /* --- writing --- */

    /* In a transaction; returns when that is on disk. POLY_LIMIT: too much waits. err->unknown: it
     * may have been committed. */
    enum poly_status (*run)(struct poly_owner *owner, struct poly_request *request,
                            struct poly_error *err);
    /* The same where nobody else is writing, other programs included; *tried false: somebody is, or
     * has left work to be done, and nothing was done. NULL: it cannot be known. */
    enum poly_status (*try_run)(struct poly_owner *owner, struct poly_request *request, bool *tried,
                                struct poly_error *err);
    /* The same as run, without waiting: done is called, from whichever thread. */
    enum poly_status (*submit)(struct poly_owner *owner, struct poly_request *request,
                               struct poly_error *err);
    /* An interactive transaction, on *db until release, which must come within duration_ms. Waits
     * for its turn until deadline: POLY_TIMEOUT. */
    enum poly_status (*hold)(struct poly_owner *owner, int64_t deadline, uint32_t duration_ms,
                             struct poly_db **db, struct poly_error *err);
    enum poly_status (*release)(struct poly_owner *owner, struct poly_db *db, bool commit,
                                struct poly_error *err);
    /* Has what just failed in an interactive transaction failed because of another one, so that
     * it has to begin again? NULL: never. */
    bool (*collided)(struct poly_db *db);
    /* Co-located projections are to move although nobody writes. */
    void (*kick)(struct poly_owner *owner);

    /* --- inside a transaction --- */

    /* Until its end no other transaction goes on that claims the same idempotency key. */
    enum poly_status (*claim)(struct poly_write *write, struct poly_text tenant,
                              struct poly_text key, struct poly_error *err);
    /* What the transaction found under its key was committed before, and is about to be answered
     * again: it must be as safe as the transaction's own writes. NULL: it is. */
    enum poly_status (*replayed)(struct poly_write *write, struct poly_error *err);
    /* Before its first operation: what the triggers and records need to know of it. */
    void (*began)(struct poly_write *write);
    /* Tells the triggers whose transaction it is; once for each transaction. */
    enum poly_status (*mark)(struct poly_write *write, struct poly_error *err);
    /* Before the commit of a transaction that was marked. */
    enum poly_status (*unmark)(struct poly_write *write, struct poly_error *err);
    /* After each operation: write->position is that of the last record. */
    enum poly_status (*wrote)(struct poly_write *write, struct poly_error *err);
    /*
     * Runs the operations, all of which can be queued, as one pipeline that is a transaction by
     * itself; *number is that of the one that failed, from 1. NULL: they run one by one.
     */
    enum poly_status (*pipeline)(struct poly_write *write, struct poly_operation *first,
                                 size_t *number, struct poly_error *err);
    /* Operations were rolled back. rewind: the last one only, and the transaction goes on. */
    void (*undone)(struct poly_write *write, bool rewind);

    /* --- names that one of many instances has --- */

    /* keep: it is ours for POLY_LEASE_MS from now on, then anybody's; asked again, it is renewed.
     * POLY_EXISTS: another has it. Else: it is given back. NULL: there are no others. */
    enum poly_status (*lease)(struct poly_owner *owner, struct poly_text tenant,
                              struct poly_text name, bool keep, struct poly_error *err);
    /* Has another one it? NULL as well. */
    enum poly_status (*leased)(struct poly_owner *owner, struct poly_db *db,
                               struct poly_text tenant, struct poly_text name, bool *leased,
                               struct poly_error *err);

    /* What all instances use together: see poly_usage_add(). NULL: there are no others. */
    enum poly_status (*use)(struct poly_owner *owner, struct poly_usage *usages, size_t count,
                            struct poly_error *err);

    /* --- the log --- */

    /* The first of these positions, of eras before, that is in the log no more; 0: none. NULL:
     * nothing is ever lost. */
    enum poly_status (*lost)(struct poly_owner *owner, const uint64_t *positions, size_t count,
                             uint64_t *lost, struct poly_error *err);

    enum poly_status (*scan)(struct poly_db *db, struct poly_scan *scan, struct poly_error *err);
    /* SELECT of ?3 records at most, of positions ?1 to ?2, in order; their salt is the column
     * POLY_RECORD_SALT. */
    const char *records;
    const char *retained; /* SELECT of the position up to which changes may have been retired */
    void (*record)(struct poly_stmt *stmt, struct poly_record *record, bool *large);

    /* --- upkeep --- */

    /* POLY_UNAVAILABLE: nothing can be written any more, until a restart. */
    enum poly_status (*usable)(struct poly_owner *owner, struct poly_error *err);
    /* Can it be reached, as far as is known? Must not wait. NULL: always. */
    bool (*reachable)(struct poly_owner *owner);

    /* Fills what it knows of itself: state, last error, sizes, who holds up readers. */
    enum poly_status (*report)(struct poly_owner *owner, struct poly_arena *arena,
                               struct poly_status_report *report, struct poly_error *err);
    /* Called by the keeper at its start, when next->fd is readable, at next->until, and now and
     * then in between; says when next. Must not wait. NULL: it needs nothing. */
    void (*tend)(struct poly_owner *owner, bool readable, struct poly_tending *next);
};

enum { POLY_RECORD_SALT = 10, POLY_LEASE_MS = 10000 };

static inline void poly_owner_await(struct poly_owner *owner, uint64_t position)
{
    if (owner->driver->await != NULL && position > atomic_load(&owner->durable))
        owner->driver->await(owner, position);
}

extern const struct poly_owner_driver poly_owner_embedded;
/* All, NULL at the end: owners/owners.c. */
extern const struct poly_owner_driver *const poly_owners[];

#endif
