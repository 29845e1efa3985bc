/* What the files of core/ know of each other, and nobody else does. */
#ifndef POLY_CORE_INSIDE_H
#define POLY_CORE_INSIDE_H

#include "base/limits.h"
#include "core/chain.h"
#include "core/config.h"
#include "core/driver.h"
#include "core/instance.h"
#include "core/log.h"
#include "core/model.h"
#include "core/operation.h"
#include "core/owner.h"
#include "core/projection.h"
#include "core/session.h"
#include "core/signal.h"
#include "polystore.h"

struct poly_instance {
    struct poly_config *config;
    char *data;
    int lock_fd;   /* of <data>/lock, with the lock on it */
    char node[33]; /* one of many beside each other: its name, from <data>/node; else empty */
    struct poly_owner *owner;
    struct poly_signal head; /* last durable position */
    struct poly_relational *relational;
    struct poly_models *models;
    struct poly_projection **projections; /* has room for one of each store */
    _Atomic size_t projection_count;
    pthread_mutex_t opening; /* of a projection while all is running */
    struct poly_embeddings *embeddings;
    int64_t started;
    _Atomic uint64_t replays;
    _Atomic uint64_t sealed; /* as the status has read it last */

    pthread_mutex_t lock; /* guards what follows */
    struct poly_subscription *subscriptions;
    unsigned subscription_count;
    struct poly_txn *held; /* interactive transactions */

    /* The keeper: ends transactions at their deadline, and gives the owner its turns. */
    pthread_t keeper;
    bool keeper_runs;
    int keeper_wake; /* eventfd */
    _Atomic bool closing;
};

struct poly_session {
    struct poly_instance *instance;
    struct poly_arena *arena;
    char tenant[POLY_MAX_NAME + 1];
    char principal[POLY_MAX_NAME + 1];
    unsigned rights;
    uint32_t deadline_ms;
    uint64_t after;
    enum poly_consistency consistency;
    struct poly_freshness freshness;
    struct poly_db *reader; /* while a read is open */
    unsigned reading;
    bool snapshot;            /* the reader has one open */
    struct poly_txn *holding; /* interactive transaction that has not been ended */
};

/* In a transaction of the owner's; returns when it is on disk. */
static inline enum poly_status poly_owner_run(struct poly_instance *instance, poly_write_fn *run,
                                              void *arg, bool single, struct poly_error *err)
{
    struct poly_request request = {.run = run, .arg = arg, .single = single};

    return instance->owner->driver->run(instance->owner, &request, err);
}

/* keeper.c */
enum poly_status poly_keeper_start(struct poly_instance *instance, struct poly_error *err);
void poly_keeper_stop(struct poly_instance *instance);
/* A deadline has changed. */
void poly_keeper_poke(struct poly_instance *instance);

/* txn.c: called by the keeper. Nearest deadline of an interactive transaction (monotonic), or -1.
 */
int64_t poly_txn_deadline(struct poly_instance *instance);
/* Rolls those back whose deadline has passed. */
void poly_txn_expire(struct poly_instance *instance, int64_t now);

/* token.c */
void poly_token_make(const struct poly_instance *instance, struct poly_text tenant,
                     uint64_t position, struct poly_token *token);
enum poly_status poly_token_read(const struct poly_instance *instance, struct poly_text tenant,
                                 const char *text, uint64_t *position, struct poly_error *err);
/* POLY_CONFLICT: the log has lost what that position stood for. */
enum poly_status poly_token_kept(struct poly_owner *owner, uint64_t position,
                                 struct poly_error *err);
enum poly_status poly_token_lost(struct poly_error *err);

/* projection.c */
enum poly_status poly_projections_open(struct poly_instance *instance, struct poly_error *err);
/* Stops the threads; free when the writer is gone. */
void poly_projections_close(struct poly_instance *instance);
void poly_projections_free(struct poly_instance *instance);
/* The writer's hooks. */
enum poly_status poly_projections_apply(struct poly_instance *instance, struct poly_db *db,
                                        uint64_t head, bool *behind, struct poly_error *err);
void poly_projections_published(struct poly_instance *instance, bool committed);
/* What models a vector has comes with the log: a store that depends on it answers from now on only
 * when it has applied up to that position. */
void poly_projections_reach(struct poly_instance *instance, uint64_t position);
/* Position that every generation of every projection has applied. */
uint64_t poly_projections_floor(struct poly_instance *instance);

/* read.c */
enum poly_status poly_log_check(const struct poly_log_query *query, struct poly_error *err);
/* What of the log a session may see. */
void poly_log_scope(struct poly_session *session, struct poly_scan *scan);

/* subscription.c */
enum poly_status poly_subscriptions_report(struct poly_session *session,
                                           struct poly_status_report *report,
                                           struct poly_error *err);

#endif
