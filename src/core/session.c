/*
 * A session is cheap: an arena and a few names. Readers come from the file's
 * pool for the length of one read, so a thousand idle sessions hold no
 * connection.
 */
#include "core/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "core/inside.h"

static enum poly_status copy_name(char *to, const char *from, const char *what,
                                  struct poly_error *err)
{
    if (from == NULL)
        return POLY_OK;
    if (from[0] == '\0' || strlen(from) > POLY_MAX_NAME)
        return poly_fail(err, POLY_INVALID, "%s: its length must be 1 to %d bytes", what,
                         POLY_MAX_NAME);
    memcpy(to, from, strlen(from) + 1);
    return POLY_OK;
}

enum poly_status poly_session_open(struct poly_instance *instance,
                                   const struct poly_session_options *options,
                                   struct poly_session **session, struct poly_error *err)
{
    static const struct poly_session_options defaults;
    struct poly_session *self = calloc(1, sizeof(*self));
    enum poly_status status = POLY_OK;

    if (options == NULL)
        options = &defaults;
    if (self == NULL)
        return poly_no_memory(err);
    self->instance = instance;
    self->rights = options->rights == 0 ? POLY_RIGHT_READ | POLY_RIGHT_WRITE : options->rights;
    self->deadline_ms = options->deadline_ms == 0 ? 30000 : options->deadline_ms;
    self->arena =
        poly_arena_new(options->memory_max == 0 ? POLY_MAX_SESSION_MEMORY : options->memory_max);
    if (self->arena == NULL)
        status = poly_no_memory(err);
    if (status == POLY_OK)
        status = copy_name(self->tenant, options->tenant, "tenant", err);
    if (status == POLY_OK)
        status = copy_name(self->principal, options->principal, "principal", err);
    if (status != POLY_OK) {
        poly_session_close(self);
        return status;
    }
    *session = self;
    return POLY_OK;
}

void poly_session_close(struct poly_session *session)
{
    if (session == NULL)
        return;
    poly_assert(session->reading == 0);
    poly_txn_abort(session->holding);
    poly_arena_free(session->arena);
    free(session);
}

void poly_session_reset(struct poly_session *session)
{
    if (session->holding == NULL) /* it lives there */
        poly_arena_reset(session->arena);
}

enum poly_status poly_session_after(struct poly_session *session, const char *token,
                                    enum poly_consistency consistency, struct poly_error *err)
{
    uint64_t after = 0;

    if (token != NULL && token[0] != '\0') {
        enum poly_status status =
            poly_token_read(session->instance, poly_session_tenant(session), token, &after, err);

        if (status != POLY_OK)
            return status;
    }
    session->after = after;
    session->consistency = consistency;
    return POLY_OK;
}

struct poly_freshness poly_session_freshness(const struct poly_session *session)
{
    return session->freshness;
}

/* --- for stores --- */

struct poly_arena *poly_session_arena(struct poly_session *session)
{
    return session->arena;
}

struct poly_instance *poly_session_instance(struct poly_session *session)
{
    return session->instance;
}

struct poly_text poly_session_tenant(const struct poly_session *session)
{
    return poly_text(session->tenant);
}

unsigned poly_session_rights(const struct poly_session *session)
{
    return session->rights;
}

uint32_t poly_session_deadline_ms(const struct poly_session *session)
{
    return session->deadline_ms;
}

static const char *right_name(unsigned right)
{
    switch (right) {
    case POLY_RIGHT_READ:
        return "read";
    case POLY_RIGHT_WRITE:
        return "write";
    case POLY_RIGHT_SQL:
        return "sql";
    default:
        return "admin";
    }
}

enum poly_status poly_session_require(struct poly_session *session, unsigned right,
                                      const char *what, struct poly_error *err)
{
    if ((session->rights & (right | POLY_RIGHT_ADMIN)) != 0)
        return POLY_OK;
    return poly_fail(err, POLY_DENIED, "%s needs the right '%s'", what, right_name(right));
}

uint64_t poly_session_wanted(const struct poly_session *session)
{
    return session->after;
}

enum poly_status poly_session_wall(struct poly_session *session, const struct poly_domain *domain,
                                   struct poly_text *tenant, struct poly_error *err)
{
    if (domain->tenant == NULL) {
        *tenant = poly_text("");
        return POLY_OK;
    }
    if (session->tenant[0] == '\0')
        return poly_fail(err, POLY_DENIED, "domain '%s' belongs to tenants: this session has none",
                         domain->name);
    *tenant = poly_session_tenant(session);
    return POLY_OK;
}

static enum poly_status read_begin(struct poly_session *session, bool with_snapshot, bool primary,
                                   struct poly_error *err)
{
    struct poly_owner *owner = session->instance->owner;
    struct poly_reading reading = {.snapshot = with_snapshot,
                                   .primary = primary,
                                   .after = session->after,
                                   .consistency = session->consistency,
                                   .deadline = poly_clock_monotonic() +
                                               (int64_t)session->deadline_ms * 1000};

    session->freshness = (struct poly_freshness){.wanted = session->after};
    session->snapshot = with_snapshot;
    session->reader = owner->driver->read(owner, &reading, &session->freshness, err);
    return session->reader == NULL ? err->status : POLY_OK;
}

static enum poly_status read_start(struct poly_session *session, bool with_snapshot, bool primary,
                                   struct poly_db **db, struct poly_error *err)
{
    enum poly_status status = poly_session_require(session, POLY_RIGHT_READ, "reading", err);

    if (status == POLY_OK && session->reading == 0)
        status = read_begin(session, with_snapshot, primary, err);
    if (status != POLY_OK)
        return status;
    poly_assert(session->snapshot || !with_snapshot);
    session->reading++;
    *db = session->reader;
    return POLY_OK;
}

enum poly_status poly_session_read(struct poly_session *session, struct poly_db **db,
                                   struct poly_error *err)
{
    return read_start(session, true, false, db, err);
}

enum poly_status poly_session_read_one(struct poly_session *session, struct poly_db **db,
                                       struct poly_error *err)
{
    return read_start(session, false, false, db, err);
}

enum poly_status poly_session_read_log(struct poly_session *session, struct poly_db **db,
                                       struct poly_error *err)
{
    return read_start(session, true, true, db, err);
}

void poly_session_read_end(struct poly_session *session)
{
    struct poly_owner *owner = session->instance->owner;

    poly_assert(session->reading > 0);
    if (--session->reading > 0)
        return;
    owner->driver->read_end(owner, session->reader, session->snapshot);
    session->reader = NULL;
}
