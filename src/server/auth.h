/*
 * Who is asking: from "Authorization: Bearer pk_…" to an open session of the
 * key's tenant and rights. Thread-safe.
 *
 * A key that was found good is remembered by a keyed hash for 0.9 s; so
 * long may a key that was revoked elsewhere still be taken (revoked through
 * this daemon: not at all). Sessions are kept open for the next request.
 */
#ifndef POLY_SERVER_AUTH_H
#define POLY_SERVER_AUTH_H

#include <stdbool.h>

#include "polystore.h"

struct server_auth;

/* Of one request: the session is this request's alone until server_auth_leave(). */
struct server_caller {
    struct server_identity *identity;
    struct poly_session *session;
    const char *tenant; /* empty: none */
    const char *key;    /* id of the API key; empty: none was asked for */
};

/* deadline_ms: of every session. NULL: out of memory. */
struct server_auth *server_auth_new(struct poly_instance *instance, uint32_t deadline_ms);
/* Closes all sessions; nobody may be in. NULL is accepted. */
void server_auth_free(struct server_auth *auth);

struct server_credentials {
    const char *authorization; /* the header's value, or NULL */
    const char *tenant; /* Polystore-Tenant, or NULL; only an ADMIN key without one may name it */
    /* For the status: while the database cannot be asked, a key that it has found good before, and
     * that is still remembered, is good. */
    bool status;
};

/* *unknown: there is no good key (401 rather than 403). POLY_DENIED, or why the key could not be
 * looked up. */
enum poly_status server_auth_enter(struct server_auth *auth,
                                   const struct server_credentials *credentials,
                                   struct server_caller *caller, bool *unknown,
                                   struct poly_error *err);
/* For operations that need no key: reads, no tenant. */
enum poly_status server_auth_enter_open(struct server_auth *auth, struct server_caller *caller,
                                        struct poly_error *err);
/* keep false: the session has grown large, do not keep it. No effect on a zeroed caller. */
void server_auth_leave(struct server_auth *auth, struct server_caller *caller, bool keep);

/* Keys have changed: ask the database again. */
void server_auth_forget(struct server_auth *auth);

#endif
