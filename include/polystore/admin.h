/*
 * Running it: status, projections, materialised views, migrations, API keys, retention. All but
 * poly_status_read need a session with ADMIN.
 */
#ifndef POLYSTORE_ADMIN_H
#define POLYSTORE_ADMIN_H

#include "polystore/log.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- status: one structure, filled in one place; everything else prints it --- */

enum poly_state {
    POLY_STATE_OK,          /* answers, and has applied everything it should have */
    POLY_STATE_BEHIND,      /* applying */
    POLY_STATE_OPENING,     /* its saved index is being read: reads wait for that */
    POLY_STATE_FILLING,     /* being built for the first time: does not answer yet */
    POLY_STATE_RETRYING,    /* the last apply failed, and will be tried again */
    POLY_STATE_STOPPED,     /* a record could not be applied: an operator must decide */
    POLY_STATE_UNREACHABLE, /* the server that keeps the log does not answer; no restart needed */
    POLY_STATE_FAILED       /* the log cannot be written any more: restart */
};
POLY_API const char *poly_state_name(enum poly_state state); /* "ok", "behind", … */

/* Connections of this process to one server. Times in microseconds. */
struct poly_pool_status {
    int64_t max, open, in_use, waiting; /* connections; callers that wait */
    int64_t taken, waited, timeouts;    /* since the start, as is what follows */
    int64_t wait, wait_max;
    int64_t connects, failures, broken;
};

struct poly_projection_status {
    struct poly_text store;  /* "search" */
    struct poly_text driver; /* "embedded" */
    bool follower;           /* false: co-located with the log */
    enum poly_state state;
    uint64_t generation;
    uint64_t previous; /* generation that can be swapped back to; 0: none */
    uint64_t building; /* generation being built beside; 0: none */
    uint64_t applied;
    uint64_t building_applied;
    uint64_t lag_records;
    int64_t lag_us; /* age of the oldest record that is not applied; 0: none */
    uint64_t error_position;
    struct poly_text error; /* why it is RETRYING or STOPPED; the last error otherwise; or empty */
    int64_t error_time;     /* 0: never */
    int64_t checked;        /* when it last applied or looked and found nothing; 0: never */
    uint64_t skipped;       /* records an operator has skipped, ever */
    uint64_t documents;     /* as counted last, where the store does not answer */
    double opened; /* share of the saved index that has been read; 1: all is there */
    const struct poly_pool_status *pool; /* to the store's server; NULL: it is embedded */
};

struct poly_view_status {
    struct poly_text name;
    enum poly_state state; /* BEHIND: older than it may be; FILLING: does not stand yet; RETRYING */
    uint64_t position;     /* it has every change up to here; 0: it does not stand, or not known */
    int64_t behind_us;     /* age of the oldest change that it has not; 0: none */
    int64_t staleness_us;  /* the bound, as declared */
    bool within;           /* it stands, and is not behind by more than that */
    uint64_t refreshes;    /* ever, its building included */
    int64_t refreshed;     /* when, the last time; 0: never */
    int64_t duration_us;   /* how long that took */
    struct poly_text error; /* why it is RETRYING; the last error otherwise; or empty */
    int64_t error_time;     /* 0: never */
};

/* A vector of a domain that an embedder makes of the records' text. */
struct poly_embedding_status {
    struct poly_text domain, name; /* of the vector; name empty: the domain's only one */
    bool next; /* it is to take that one's place: a change of model is under way */
    struct poly_text embedder, model;
    enum poly_state state; /* BEHIND: records wait; RETRYING: requests fail, see .error */
    uint64_t position;     /* of the log: what comes after it has not been looked at */
    uint64_t lag_records;
    uint64_t waiting;  /* records whose text has no vector yet */
    uint64_t refused;  /* … and will have none: see poly_vector_refused() */
    int64_t behind_us; /* age of the oldest that waits; 0: none */
    uint64_t made;     /* vectors, by this process since its start */
    uint64_t failures; /* requests that failed and texts that were refused, the same */
    bool leads;        /* this process makes them, of several on one log */
    struct poly_text error; /* why it is RETRYING */
    int64_t error_time;     /* since when; 0: it is not */
};

struct poly_subscription_status {
    struct poly_text name, tenant;
    uint64_t acknowledged, lag_records;
    bool open;
};

struct poly_domain_status {
    struct poly_text name, owner; /* "relational" or "events" */
    struct poly_text source;      /* table or stream category */
    struct poly_text tenant;      /* column, or empty */
    bool search;    /* it can be searched for words */
    size_t vectors; /* that a record has one of each of; 0: none */
    struct poly_text problem; /* missing table, triggers that no longer fit; or empty */
};

/* Of the server that keeps the log. Times in microseconds. */
struct poly_server_status {
    bool up;                   /* it can be reached, as far as is known at this moment */
    int64_t unreachable_since; /* 0: it is up */
    bool answers; /* it has said its numbers now; false: hit_ratio and what follows are older */
    struct poly_pool_status pool;
    int64_t retries;      /* transactions that ran again */
    int64_t era;          /* how often a standby has taken over since the log was made */
    int64_t readers_held; /* an open transaction holds up readers of the log: see last_error */
    /* Statements whose mean time is over 1,000 ms, and who has measured that:
     * "pg_stat_statements", of everybody; or "polystore", of this process since its start. */
    int64_t slow_statements;
    struct poly_text slow_source;
    struct poly_text warnings; /* pools and memory that do not fit; or empty */
    double hit_ratio;          /* of the server's buffers, 0 to 1; NaN: nothing was read yet */
    int64_t sampled;           /* when these numbers were taken; 0: never */
    int64_t connections, connections_max, connections_active;
    int64_t long_running; /* statements that have been running for over 1,000 ms */
    int64_t log_bytes, tables_bytes;
    int64_t replicas, replica_lag; /* that stream from it; the last one's lag */
};

struct poly_status_report {
    enum poly_state state; /* the worst of what follows */
    struct poly_text instance, version, data;
    uint64_t epoch, head, sealed;
    int64_t started, now;
    uint64_t database_bytes, wal_bytes;
    uint64_t commits, requests, replays; /* since the start */
    bool writer_held;                    /* by an interactive transaction … */
    int64_t writer_held_us;              /* … for so long */
    /* The last ones were: the disk is full, the log has failed, or its server cannot be reached. */
    bool writes_refused;
    struct poly_text last_error;         /* of the log; or empty */
    const struct poly_projection_status *projections;
    size_t projection_count;
    const struct poly_subscription_status *subscriptions;
    size_t subscription_count;
    const struct poly_domain_status *domains;
    size_t domain_count;
    struct poly_server_status *server; /* NULL: the log is embedded */
    const struct poly_view_status *views;
    size_t view_count;
    const struct poly_embedding_status *embeddings;
    size_t embedding_count;
};

/* Never fails for what it reports: that is in the report. */
POLY_API enum poly_status poly_status_read(struct poly_session *session,
                                           struct poly_status_report *report,
                                           struct poly_error *err) POLY_MUST_USE;

/* --- projections --- */

/* Try the record again where a projection has stopped. POLY_CONFLICT: it is not stopped. */
POLY_API enum poly_status poly_projection_retry(struct poly_session *session, const char *store,
                                                struct poly_error *err) POLY_MUST_USE;
/* Leave that record out; the reason is kept. */
POLY_API enum poly_status poly_projection_skip(struct poly_session *session, const char *store,
                                               const char *reason,
                                               struct poly_error *err) POLY_MUST_USE;
struct poly_rebuild_options {
    poly_progress_fn *progress; /* may be NULL */
    void *arg;
    bool start_only; /* do not wait for it; it goes on in the background */
};
/* Builds a new generation beside the one that serves, then swaps. Going on with an unfinished one
 * if there is one. */
POLY_API enum poly_status poly_rebuild(struct poly_session *session, const char *store,
                                       const struct poly_rebuild_options *options,
                                       struct poly_error *err) POLY_MUST_USE;
/* Back to the generation before, which was kept up to date. POLY_NOT_FOUND: there is none. */
POLY_API enum poly_status poly_rebuild_back(struct poly_session *session, const char *store,
                                            struct poly_error *err) POLY_MUST_USE;

/* --- materialised views --- */

/* Refreshes it, whether something has changed or not, and waits: after it, what was committed
 * before the call is in it. POLY_TIMEOUT: not by the session's deadline, and it goes on. */
POLY_API enum poly_status poly_view_refresh(struct poly_session *session, const char *name,
                                            struct poly_error *err) POLY_MUST_USE;

/* --- migrations: plain SQL files NNNN_name.sql, applied in order, once --- */

struct poly_migration {
    struct poly_text name; /* "0001_init.sql" */
    bool applied;
    int64_t time;             /* when; 0: not yet */
    struct poly_text problem; /* "edited after it was applied", "file is missing"; or empty */
};
struct poly_migrations {
    const struct poly_migration *migrations;
    size_t count;
    size_t pending, problems;
};
/* folder NULL: the one that the configuration names (POLY_INVALID: it names none). */
POLY_API enum poly_status poly_migrate_status(struct poly_session *session, const char *folder,
                                              struct poly_migrations *migrations,
                                              struct poly_error *err) POLY_MUST_USE;
/* Applies what is pending: each file in a transaction of its own. A file that fails leaves nothing
 * behind. An edited or missing one is refused before anything: POLY_CONFLICT. */
POLY_API enum poly_status poly_migrate_up(struct poly_session *session, const char *folder,
                                          struct poly_migrations *migrations,
                                          struct poly_error *err) POLY_MUST_USE;

/* --- API keys: "pk_<id>_<secret>", only a hash is stored --- */

struct poly_key {
    struct poly_text id, label, tenant; /* tenant empty: none */
    unsigned rights;
    int64_t created, expires, revoked; /* 0: never */
};
struct poly_key_options {
    const char *label;  /* NULL: none */
    const char *tenant; /* NULL: none */
    unsigned rights;
    int64_t expires; /* microseconds since 1970; 0: never */
};
/* secret: the whole key, shown this once. */
POLY_API enum poly_status poly_key_create(struct poly_session *session,
                                          const struct poly_key_options *options,
                                          char secret[80], struct poly_error *err) POLY_MUST_USE;
POLY_API enum poly_status poly_key_list(struct poly_session *session, const struct poly_key **keys,
                                        size_t *count, struct poly_error *err) POLY_MUST_USE;
POLY_API enum poly_status poly_key_revoke(struct poly_session *session, const char *id,
                                          struct poly_error *err) POLY_MUST_USE;
/* Whose key is it? POLY_DENIED: unknown, revoked, expired. In constant time. Any session. */
POLY_API enum poly_status poly_key_check(struct poly_session *session, const char *secret,
                                         struct poly_key *key,
                                         struct poly_error *err) POLY_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
