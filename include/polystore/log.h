/*
 * The log: one record for each change of every store, in one order.
 */
#ifndef POLYSTORE_LOG_H
#define POLYSTORE_LOG_H

#include "polystore/session.h"
#include "polystore/value.h"

#ifdef __cplusplus
extern "C" {
#endif

struct poly_record {
    uint64_t position;       /* in the log; grows, never used twice */
    uint64_t txn;            /* position of the transaction's first record; 0: a foreign writer */
    uint64_t version;        /* of the stream; of a record: its position */
    int64_t time;            /* microseconds since 1970, UTC */
    struct poly_text tenant; /* empty: none */
    struct poly_text domain; /* domain of the record, category of the stream */
    struct poly_text key;    /* key of the record, id of the stream (empty: category alone) */
    struct poly_text type;   /* event type; "$put" and "$delete" for changes of records */
    struct poly_value data;  /* JSON, BYTES or NULL. A change: the whole row as JSON object */
    struct poly_text meta;   /* JSON object or empty */
};

struct poly_log_query {
    uint64_t after; /* records beyond this position; backwards: before it (0: from the end) */
    bool backwards;
    const char *const *domains; /* NULL-terminated list; NULL: all */
    const char *const *types;   /* the same */
    const char *key;            /* with one domain; NULL: all */
    uint32_t limit;             /* 0: 1,000 */
};

/*
 * Calls visit for each record, in order, in constant memory: a record and what it points to
 * live until visit returns. visit returns false to stop early; *last is the last position that
 * was looked at, so a reader goes on from there even when the filter matched nothing.
 * A tenant's session sees its own records and those without tenant; ADMIN without tenant all.
 */
typedef bool poly_record_fn(void *arg, const struct poly_record *record);
POLY_API enum poly_status poly_log_read(struct poly_session *session,
                                        const struct poly_log_query *query, poly_record_fn *visit,
                                        void *arg, uint64_t *last,
                                        struct poly_error *err) POLY_MUST_USE;

/* Position of the last record that can be read: on a server a moment behind the last commit. 0:
 * none. */
POLY_API uint64_t poly_log_head(struct poly_instance *instance);

struct poly_verification {
    uint64_t records;      /* looked at */
    uint64_t seals;
    uint64_t sealed;       /* the chain covers everything up to here */
    uint64_t bad_position; /* 0: none */
    char hash[65];         /* head of the chain, hex */
    char reason[256];      /* why bad_position is bad */
};
/*
 * Walks the hash chain beside the writers. ADMIN. POLY_OK also when something is bad: see
 * bad_position. progress may be NULL; it returns false to stop (POLY_TIMEOUT).
 */
typedef bool poly_progress_fn(void *arg, uint64_t done, uint64_t total);
POLY_API enum poly_status poly_log_verify(struct poly_session *session, poly_progress_fn *progress,
                                          void *arg, struct poly_verification *verification,
                                          struct poly_error *err) POLY_MUST_USE;

/*
 * A subscription: first what is there, then what comes, without a gap. Named ones keep their
 * position in the database and go on from the last acknowledged record: at least once.
 * One thread at a time; poly_subscription_wake may come from any.
 */
struct poly_subscription;

struct poly_subscription_options {
    const char *name; /* NULL: not kept. One open subscription for each name (and tenant), of all
                       * daemons on one log: POLY_EXISTS. Among several, one that is not asked for
                       * its next records for 10 s may lose the name to another; it ends with
                       * POLY_EXISTS then */
    uint64_t after;   /* unnamed, or a name's first time: start beyond this position */
    const char *const *domains;
    const char *const *types;
    uint32_t batch; /* most records a call gives; 0: 256 */
};

POLY_API enum poly_status poly_subscribe(struct poly_session *session,
                                         const struct poly_subscription_options *options,
                                         struct poly_subscription **subscription,
                                         struct poly_error *err) POLY_MUST_USE;

/*
 * The next records, waiting up to wait_ms for one. count 0: none came. They live until the next
 * call on this subscription. Records come again after a restart unless acknowledged.
 */
POLY_API enum poly_status poly_subscription_next(struct poly_subscription *subscription,
                                                 uint32_t wait_ms,
                                                 const struct poly_record **records, size_t *count,
                                                 struct poly_error *err) POLY_MUST_USE;
/* Everything up to position is done with. Named ones only. Durable on POLY_OK. */
POLY_API enum poly_status poly_subscription_ack(struct poly_subscription *subscription,
                                                uint64_t position,
                                                struct poly_error *err) POLY_MUST_USE;
/*
 * The same by name, from any session that has the tenant, whether or not the subscription is open
 * and on whichever thread: how an acknowledgement comes in by another request. POLY_NOT_FOUND: no
 * subscription of that name was ever opened. POLY_INVALID: position is beyond the log's head.
 */
POLY_API enum poly_status poly_acknowledge(struct poly_session *session, const char *name,
                                           uint64_t position,
                                           struct poly_error *err) POLY_MUST_USE;
/*
 * Forgets a name and its position: opened again, it is new. It counts for POLY_MAX_NAMED no more.
 * POLY_NOT_FOUND: the tenant has none of that name. POLY_CONFLICT: it is open.
 */
POLY_API enum poly_status poly_subscription_delete(struct poly_session *session, const char *name,
                                                   struct poly_error *err) POLY_MUST_USE;
/* Ends a poly_subscription_next that waits, at once and for ever after: count 0. */
POLY_API void poly_subscription_wake(struct poly_subscription *subscription);
POLY_API void poly_subscription_close(struct poly_subscription *subscription);

#ifdef __cplusplus
}
#endif
#endif
