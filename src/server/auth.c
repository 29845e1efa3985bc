/*
 * An identity is what a credential stands for, with its idle sessions. It is
 * found by SipHash of key and named tenant under a random key of this process:
 * neither the secrets themselves nor hashes that mean anything elsewhere stay
 * in memory, and finding one takes no time that depends on a secret.
 */
#include "server/auth.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <strings.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/status.h"

enum { HEADS = 1024, REMEMBERED_US = 900 * 1000, SESSIONS = 64, STATUS_MS = 1000 };
enum { DIGEST = crypto_shorthash_siphashx24_BYTES };

struct server_identity {
    struct server_identity *next;
    unsigned char digest[DIGEST];
    int64_t good_until; /* monotonic; then the database is asked again; 0: doubtful */
    int64_t expires;    /* wall clock; 0: never */
    unsigned users;
    bool dropped; /* not in the table any more: the last user frees it */
    unsigned rights;
    char tenant[POLY_MAX_NAME + 1];
    char key[POLY_MAX_NAME + 1];
    size_t idle;
    struct poly_session *sessions[SESSIONS];
};

struct server_auth {
    struct poly_instance *instance;
    uint32_t deadline_ms;
    unsigned char secret[crypto_shorthash_siphashx24_KEYBYTES];
    pthread_mutex_t lock;
    size_t identities, idle;
    struct server_identity *heads[HEADS];
    struct server_identity *open; /* who needs no key */
};

static void close_sessions(struct server_auth *auth, struct server_identity *identity)
{
    auth->idle -= identity->idle;
    while (identity->idle > 0)
        poly_session_close(identity->sessions[--identity->idle]);
}

struct server_auth *server_auth_new(struct poly_instance *instance, uint32_t deadline_ms)
{
    struct server_auth *auth = calloc(1, sizeof(*auth));
    struct server_identity *open = calloc(1, sizeof(*open));
    if (auth == NULL || open == NULL || sodium_init() < 0) {
        free(auth);
        free(open);
        return NULL;
    }
    open->rights = POLY_RIGHT_READ;
    auth->open = open;
    auth->instance = instance;
    auth->deadline_ms = deadline_ms;
    pthread_mutex_init(&auth->lock, NULL);
    randombytes_buf(auth->secret, sizeof(auth->secret));
    return auth;
}

static void drop(struct server_auth *auth, struct server_identity **at)
{
    struct server_identity *identity = *at;
    *at = identity->next;
    auth->identities--;
    close_sessions(auth, identity);
    identity->dropped = true;
    if (identity->users == 0)
        free(identity);
}

void server_auth_free(struct server_auth *auth)
{
    if (auth == NULL)
        return;
    for (size_t i = 0; i < HEADS; i++)
        while (auth->heads[i] != NULL)
            drop(auth, &auth->heads[i]);
    close_sessions(auth, auth->open);
    free(auth->open);
    pthread_mutex_destroy(&auth->lock);
    sodium_memzero(auth->secret, sizeof(auth->secret));
    free(auth);
}

void server_auth_forget(struct server_auth *auth)
{
    pthread_mutex_lock(&auth->lock);
    for (size_t i = 0; i < HEADS; i++)
        for (struct server_identity *d = auth->heads[i]; d != NULL; d = d->next)
            d->good_until = 0;
    pthread_mutex_unlock(&auth->lock);
}

/* --- the table: with the lock held --- */

static struct server_identity **place(struct server_auth *auth, const unsigned char *digest)
{
    struct server_identity **at = &auth->heads[(digest[0] | digest[1] << 8) % HEADS];
    while (*at != NULL && sodium_memcmp((*at)->digest, digest, DIGEST) != 0)
        at = &(*at)->next;
    return at;
}

/* Room for one more: what has run out and nobody uses goes first, then what nobody uses. */
static void make_room(struct server_auth *auth, int64_t now)
{
    for (int round = 0; round < 2 && auth->identities >= POLY_MAX_CALLERS; round++)
        for (size_t i = 0; i < HEADS; i++) {
            struct server_identity **at = &auth->heads[i];
            while (*at != NULL)
                if ((*at)->users == 0 && (round == 1 || (*at)->good_until <= now))
                    drop(auth, at);
                else
                    at = &(*at)->next;
        }
}

/* --- sessions --- */

static enum poly_status open_session(struct server_auth *auth, struct server_identity *identity,
                                     struct poly_session **session, struct poly_error *err)
{
    struct poly_session_options options = {
        .tenant = identity->tenant[0] == '\0' ? NULL : identity->tenant,
        .rights = identity->rights,
        .deadline_ms = auth->deadline_ms,
        .principal = identity->key[0] == '\0' ? NULL : identity->key,
    };
    return poly_session_open(auth->instance, &options, session, err);
}

static void leave_identity(struct server_identity *identity)
{
    if (--identity->users == 0 && identity->dropped)
        free(identity);
}

/* With the lock held; gives it back. */
static enum poly_status take_session(struct server_auth *auth, struct server_identity *identity,
                                     struct server_caller *caller, struct poly_error *err)
{
    struct poly_session *session = NULL;
    enum poly_status status = POLY_OK;

    identity->users++;
    if (identity->idle > 0) {
        session = identity->sessions[--identity->idle];
        auth->idle--;
    }
    pthread_mutex_unlock(&auth->lock);
    if (session == NULL)
        status = open_session(auth, identity, &session, err);
    if (status != POLY_OK) {
        pthread_mutex_lock(&auth->lock);
        leave_identity(identity);
        pthread_mutex_unlock(&auth->lock);
        return status;
    }
    *caller = (struct server_caller){identity, session, identity->tenant, identity->key};
    return POLY_OK;
}

enum poly_status server_auth_enter_open(struct server_auth *auth, struct server_caller *caller,
                                        struct poly_error *err)
{
    pthread_mutex_lock(&auth->lock);
    return take_session(auth, auth->open, caller, err);
}

void server_auth_leave(struct server_auth *auth, struct server_caller *caller, bool keep)
{
    struct server_identity *identity = caller->identity;
    struct poly_session *session = caller->session;

    if (identity == NULL)
        return;
    poly_session_reset(session);
    if (poly_session_after(session, NULL, POLY_WAIT, NULL) != POLY_OK) /* nobody else's token */
        keep = false;
    pthread_mutex_lock(&auth->lock);
    if (keep && !identity->dropped && identity->idle < SESSIONS &&
        auth->idle < POLY_MAX_IDLE_SESSIONS) {
        identity->sessions[identity->idle++] = session;
        auth->idle++;
        session = NULL;
    }
    leave_identity(identity);
    pthread_mutex_unlock(&auth->lock);
    poly_session_close(session);
    *caller = (struct server_caller){0};
}

/* --- credentials --- */

/* NULL: there is none of ours. */
static const char *bearer(const char *authorization)
{
    static const char scheme[] = "Bearer ";
    if (authorization == NULL || strlen(authorization) > POLY_MAX_CREDENTIAL ||
        strncasecmp(authorization, scheme, sizeof(scheme) - 1) != 0)
        return NULL;
    authorization += sizeof(scheme) - 1;
    while (*authorization == ' ')
        authorization++;
    return strncmp(authorization, "pk_", 3) == 0 ? authorization : NULL;
}

static void digest_of(const struct server_auth *auth, const char *secret, const char *tenant,
                      unsigned char digest[DIGEST])
{
    char text[POLY_MAX_CREDENTIAL + POLY_MAX_NAME + 2];
    size_t size = strlen(secret) + 1;
    memcpy(text, secret, size);
    if (tenant != NULL) {
        size_t n = strlen(tenant);
        memcpy(text + size, tenant, n);
        size += n;
    }
    crypto_shorthash_siphashx24(digest, (const unsigned char *)text, size, auth->secret);
    sodium_memzero(text, size);
}

static enum poly_status fill(struct server_identity *identity, const struct poly_key *key,
                             const char *tenant, struct poly_error *err)
{
    size_t size = key->tenant.size;
    const char *name = key->tenant.data;

    if (tenant != NULL) {
        bool own = size == strlen(tenant) && memcmp(name, tenant, size) == 0;
        if (!own && (size > 0 || (key->rights & POLY_RIGHT_ADMIN) == 0))
            return poly_fail(err, POLY_DENIED, "Polystore-Tenant '%s': the API key is not an "
                             "administrator's without tenant, and may not name one", tenant);
        name = tenant;
        size = strlen(tenant);
    }
    if (size > POLY_MAX_NAME || key->id.size > POLY_MAX_NAME || key->rights == 0)
        return poly_fail(err, POLY_DENIED, "the API key gives no rights");
    if (size > 0)
        memcpy(identity->tenant, name, size);
    memcpy(identity->key, key->id.data, key->id.size);
    identity->rights = key->rights;
    identity->expires = key->expires;
    identity->good_until = poly_clock_monotonic() + REMEMBERED_US;
    if (key->expires != 0) {
        int64_t left = key->expires - poly_clock_wall();
        if (left < REMEMBERED_US)
            identity->good_until += left - REMEMBERED_US;
    }
    return POLY_OK;
}

/* Whose key it is, by the database. *found: an identity of the caller's, not in the table yet. */
static enum poly_status check(struct poly_session *asker, const char *secret, const char *tenant,
                              struct server_identity **found, bool *unknown, struct poly_error *err)
{
    struct poly_key key;
    struct server_identity *identity = calloc(1, sizeof(*identity));
    enum poly_status status = poly_key_check(asker, secret, &key, err);

    *unknown = status == POLY_DENIED;
    if (status == POLY_OK && identity == NULL)
        status = poly_no_memory(err);
    if (status == POLY_OK)
        status = fill(identity, &key, tenant, err);
    if (status == POLY_OK)
        *found = identity;
    else
        free(identity);
    return status;
}

static enum poly_status look_up(struct server_auth *auth, const char *secret, const char *tenant,
                                struct server_identity **found, bool *unknown,
                                struct poly_error *err)
{
    struct server_caller asker = {0};

    enum poly_status status = server_auth_enter_open(auth, &asker, err);
    if (status != POLY_OK)
        return status;
    status = check(asker.session, secret, tenant, found, unknown, err);
    server_auth_leave(auth, &asker, true);
    return status;
}

/* For the status: nobody waits for a database that is away. */
static enum poly_status look_up_soon(struct server_auth *auth, const char *secret,
                                     const char *tenant, struct server_identity **found,
                                     bool *unknown, struct poly_error *err)
{
    struct poly_session_options options = {.rights = POLY_RIGHT_READ, .deadline_ms = STATUS_MS};
    struct poly_session *asker;

    enum poly_status status = poly_session_open(auth->instance, &options, &asker, err);
    if (status != POLY_OK)
        return status;
    status = check(asker, secret, tenant, found, unknown, err);
    poly_session_close(asker);
    return status;
}

static bool same(const struct server_identity *a, const struct server_identity *b)
{
    return a->rights == b->rights && strcmp(a->tenant, b->tenant) == 0 &&
           strcmp(a->key, b->key) == 0;
}

/* With the lock held. The one that is in the table afterwards; NULL: the table is full. */
static struct server_identity *insert(struct server_auth *auth, struct server_identity *fresh)
{
    struct server_identity **at = place(auth, fresh->digest);
    if (*at != NULL && same(*at, fresh)) {
        (*at)->good_until = fresh->good_until;
        free(fresh);
        return *at;
    }
    if (*at != NULL)
        drop(auth, at);
    make_room(auth, poly_clock_monotonic());
    if (auth->identities >= POLY_MAX_CALLERS) {
        free(fresh);
        return NULL;
    }
    at = place(auth, fresh->digest);
    fresh->next = *at;
    *at = fresh;
    auth->identities++;
    return fresh;
}

/* It was good when the database could be asked last; it is not known to be so no more. */
static bool was_good(const struct server_identity *identity)
{
    return identity != NULL && identity->good_until != 0 &&
           (identity->expires == 0 || poly_clock_wall() < identity->expires);
}

/* With the lock held; gives it back. What the database has said of a key that was remembered. */
static enum poly_status take_remembered(struct server_auth *auth, const unsigned char *digest,
                                        bool may, enum poly_status status,
                                        struct server_caller *caller, struct poly_error *err)
{
    struct server_identity **at = place(auth, digest);

    if (status == POLY_DENIED && *at != NULL)
        drop(auth, at);
    else if (may && (status == POLY_UNAVAILABLE || status == POLY_TIMEOUT) && was_good(*at))
        return take_session(auth, *at, caller, err);
    pthread_mutex_unlock(&auth->lock);
    return status;
}

enum poly_status server_auth_enter(struct server_auth *auth,
                                   const struct server_credentials *credentials,
                                   struct server_caller *caller, bool *unknown,
                                   struct poly_error *err)
{
    const char *secret = bearer(credentials->authorization), *tenant = credentials->tenant;
    struct server_identity *identity, *fresh = NULL;
    unsigned char digest[DIGEST];

    *unknown = secret == NULL;
    if (secret == NULL)
        return poly_fail(err, POLY_DENIED, "there is no API key: send it as "
                         "'Authorization: Bearer pk_...'");
    if (tenant != NULL && (tenant[0] == '\0' || strlen(tenant) > POLY_MAX_NAME))
        return poly_fail(err, POLY_INVALID, "Polystore-Tenant: a name has 1 to %d bytes",
                         POLY_MAX_NAME);
    digest_of(auth, secret, tenant, digest);
    pthread_mutex_lock(&auth->lock);
    identity = *place(auth, digest);
    if (identity != NULL && poly_clock_coarse() < identity->good_until)
        return take_session(auth, identity, caller, err);
    bool soon = credentials->status && was_good(identity);
    pthread_mutex_unlock(&auth->lock);

    /* The threads that read requests must not all wait for a server that is known to be away. */
    enum poly_status status =
        !poly_reachable(auth->instance)
            ? poly_fail(err, POLY_UNAVAILABLE, "API keys cannot be looked up: the server that "
                        "keeps the log cannot be reached")
        : soon ? look_up_soon(auth, secret, tenant, &fresh, unknown, err)
               : look_up(auth, secret, tenant, &fresh, unknown, err);
    if (status != POLY_OK) {
        pthread_mutex_lock(&auth->lock);
        return take_remembered(auth, digest, soon, status, caller, err);
    }
    memcpy(fresh->digest, digest, DIGEST);
    pthread_mutex_lock(&auth->lock);
    identity = insert(auth, fresh);
    if (identity != NULL)
        return take_session(auth, identity, caller, err);
    pthread_mutex_unlock(&auth->lock);
    return poly_fail(err, POLY_LIMIT, "%d API keys are in use at this moment (POLY_MAX_CALLERS)",
                     POLY_MAX_CALLERS);
}
