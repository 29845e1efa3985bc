/*
 * A session says who is asking. Every read and write goes through one, so that
 * the tenant is never an argument that somebody forgets. One thread at a time.
 */
#ifndef POLYSTORE_SESSION_H
#define POLYSTORE_SESSION_H

#include <stdbool.h>

#include "polystore/instance.h"

#ifdef __cplusplus
extern "C" {
#endif

struct poly_session;

enum poly_right {
    POLY_RIGHT_READ = 1 << 0,
    POLY_RIGHT_WRITE = 1 << 1,
    POLY_RIGHT_SQL = 1 << 2,   /* run SQL; a tenant's SQL only reads */
    POLY_RIGHT_ADMIN = 1 << 3, /* see and do everything, for all tenants */
};
#define POLY_RIGHTS_ALL                                                                            \
    (POLY_RIGHT_READ | POLY_RIGHT_WRITE | POLY_RIGHT_SQL | POLY_RIGHT_ADMIN)

struct poly_session_options {
    const char *tenant;    /* NULL: none; domains with tenants then do not answer */
    unsigned rights;       /* enum poly_right, or'ed; 0 means READ and WRITE */
    uint32_t deadline_ms;  /* for each call; 0: 30 s */
    size_t memory_max;     /* bytes that one call's answer may take; 0: 64 MiB */
    const char *principal; /* who; kept with each transaction as "by"; NULL: nobody named */
};

/* options NULL: the defaults. POLY_INVALID: the tenant's name is empty, too long or has NUL. */
POLY_API enum poly_status poly_session_open(struct poly_instance *instance,
                                            const struct poly_session_options *options,
                                            struct poly_session **session,
                                            struct poly_error *err) POLY_MUST_USE;
/* Rolls back an interactive transaction that is still open. NULL is accepted. */
POLY_API void poly_session_close(struct poly_session *session);

/* What the session may do: enum poly_right, or'ed. */
POLY_API unsigned poly_session_rights(const struct poly_session *session);

/*
 * Takes back the memory of everything that the session has answered so far, and of transactions
 * that have not ended: none may be used afterwards. No effect while an interactive one is open.
 */
POLY_API void poly_session_reset(struct poly_session *session);

/*
 * A token is a position in the log, bound to instance, epoch and tenant: what
 * a write returns, and a read may carry to see at least that write. Opaque.
 */
struct poly_token {
    char text[48]; /* NUL-terminated; empty: no token */
};

enum poly_consistency {
    POLY_WAIT,  /* until the store has applied the token, or the deadline passes: POLY_TIMEOUT */
    POLY_FAIL,  /* at once with POLY_UNAVAILABLE when it has not */
    POLY_STALE, /* take what is there; the answer says how far it is */
};

/*
 * From here on the session's reads see at least what the token stands for. The
 * session remembers its own writes too. NULL or an empty token: forget.
 * POLY_INVALID: forged, another tenant's or instance's, of the future, or from
 * before a restore (the message says which where that can be told).
 */
POLY_API enum poly_status poly_session_after(struct poly_session *session, const char *token,
                                             enum poly_consistency consistency,
                                             struct poly_error *err) POLY_MUST_USE;

/* What the last read of this session stood on. */
struct poly_freshness {
    uint64_t applied; /* the store had applied everything up to here */
    uint64_t wanted;  /* the position of the token; 0: none */
    bool stale;       /* applied < wanted: only with POLY_STALE */
};
POLY_API struct poly_freshness poly_session_freshness(const struct poly_session *session);

#ifdef __cplusplus
}
#endif
#endif
