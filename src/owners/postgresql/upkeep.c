/*
 * What one daemon at a time does for all: it seals the log, and retires old
 * changes. Whoever gets the lock does it; who loses its connection meanwhile has
 * lost its transaction with it, so two can never both have done it.
 *
 * Sealing follows the horizon by a moment, in a thread of its own: a commit
 * waits for it no more than it waits for a follower.
 */
#include <time.h>

#include "base/clock.h"
#include "owners/postgresql/inside.h"

enum {
    SEAL_EVERY_MS = 250,
    SEAL_MAX = 20000, /* records of one transaction */
    BITE = 5000,      /* retired in one transaction */
    RETENTION_US = 600000000
};

static const char seal_lock[] = "SELECT pg_try_advisory_xact_lock(1886350461, 0)";
static const char retain_lock[] = "SELECT pg_try_advisory_xact_lock(1886350461, 1)";
static const char retaining[] = "SET LOCAL poly.retaining = 'on'";
/* The last change of a key stays: it is the record's version, and a new follower needs it. */
static const char retire[] =
    "WITH old AS (SELECT position FROM poly_log AS o WHERE version IS NULL AND time < ?1"
    "  AND position <= (SELECT coalesce(max(last), 0) FROM poly_seal)"
    "  AND EXISTS (SELECT 1 FROM poly_log AS n WHERE n.version IS NULL AND n.key = o.key"
    "   AND n.domain = o.domain AND n.tenant = o.tenant AND n.position > o.position)"
    "  ORDER BY position LIMIT ?2),"
    " gone AS (DELETE FROM poly_log WHERE position IN (SELECT position FROM old)"
    "  RETURNING position),"
    " horizon AS (INSERT INTO poly_meta(name, number) SELECT 'retained', max(position) FROM gone"
    "  HAVING count(*) > 0 ON CONFLICT (name) DO UPDATE"
    "  SET number = greatest(meta.number, excluded.number))"
    " SELECT count(*) FROM gone";

/* --- retention --- */

static bool stopping(struct poly_postgresql *self)
{
    return atomic_load(&self->stopping) || atomic_load(&self->base.instance->closing);
}

struct retiring {
    int64_t older; /* than this time */
    int64_t count;
};

static enum poly_status retire_some(struct poly_db *db, void *arg, struct poly_error *err)
{
    struct retiring *retiring = arg;
    struct poly_stmt stmt;
    int64_t locked = 0;
    bool row;
    enum poly_status status = poly_db_number(db, retain_lock, &locked, err);

    retiring->count = 0;
    if (status == POLY_OK && locked != 0)
        status = poly_db_exec(db, retaining, err);
    if (status != POLY_OK || locked == 0)
        return status;
    status = poly_stmt_open(&stmt, db, retire, err);
    if (status != POLY_OK)
        return status;
    poly_stmt_int(&stmt, 1, retiring->older);
    poly_stmt_int(&stmt, 2, BITE);
    status = poly_stmt_row(&stmt, &row, err);
    if (status == POLY_OK && row) {
        retiring->count = poly_stmt_get_int(&stmt, 0);
        poly_stmt_close(&stmt);
    }
    return status;
}

void poly_postgresql_retain(struct poly_owner *owner)
{
    struct poly_postgresql *self = poly_postgresql_of(owner);
    int64_t seconds = owner->instance->config->change_retention_s;
    struct retiring retiring = {.older = poly_clock_wall() - seconds * 1000000};
    struct poly_error err;

    if (seconds <= 0)
        return;
    do {
        if (poly_owner_run(owner->instance, retire_some, &retiring, false, &err) != POLY_OK) {
            poly_postgresql_note(self, &err);
            return;
        }
    } while (retiring.count == BITE && !stopping(self));
}

/* --- sealing --- */

struct sealing {
    struct poly_postgresql *self;
    struct poly_chain chain;
    uint64_t head;
    bool ours;         /* the lock */
    int64_t retention; /* when it is due */
};

static enum poly_status seal(struct poly_db *db, void *arg, struct poly_error *err)
{
    struct sealing *sealing = arg;
    struct poly_chain_seal how = {.instance = sealing->self->base.instance,
                                  .db = db,
                                  .head = sealing->head,
                                  .max = SEAL_MAX,
                                  .sparse = true};
    int64_t locked = 0;
    enum poly_status status = poly_db_number(db, seal_lock, &locked, err);

    sealing->ours = locked != 0;
    if (status != POLY_OK || !sealing->ours)
        return status;
    status = poly_chain_load(&sealing->chain, db, err);
    return status == POLY_OK ? poly_chain_seal(&sealing->chain, &how, err) : status;
}

/* Waits for records beyond what was sealed last, then a moment more: many at once cost less. */
static bool wait_for_more(struct sealing *sealing, uint64_t sealed)
{
    struct poly_signal *head = &sealing->self->base.instance->head;
    struct timespec moment = {0, SEAL_EVERY_MS * 1000000L};

    while (!stopping(sealing->self)) {
        unsigned seen = poly_signal_seen(head);

        if (stopping(sealing->self))
            return false;
        if (poly_clock_monotonic() >= sealing->retention) {
            poly_postgresql_retain(&sealing->self->base);
            sealing->retention = poly_clock_monotonic() + RETENTION_US;
        }
        if (poly_signal_wait(head, sealed + 1, sealing->retention, seen))
            break;
    }
    if (stopping(sealing->self))
        return false;
    nanosleep(&moment, NULL);
    sealing->head = atomic_load(&sealing->self->base.durable);
    return !stopping(sealing->self);
}

static void *seal_thread(void *arg)
{
    struct sealing sealing = {.self = arg, .retention = poly_clock_monotonic() + RETENTION_US};
    uint64_t looked = 0; /* what is below needs no look: holes at the end are not sealed */

    if (!poly_chain_init(&sealing.chain))
        return NULL;
    while (wait_for_more(&sealing, looked)) {
        uint64_t before = sealing.chain.sealed;
        struct poly_error err;
        enum poly_status status =
            poly_owner_run(sealing.self->base.instance, seal, &sealing, false, &err);

        if (status != POLY_OK)
            poly_postgresql_note(sealing.self, &err);
        else if (!sealing.ours || sealing.chain.sealed == before ||
                 sealing.chain.sealed >= sealing.head)
            looked = sealing.head;
    }
    poly_chain_release(&sealing.chain);
    return NULL;
}

enum poly_status poly_postgresql_sealer(struct poly_postgresql *self, struct poly_error *err)
{
    if (pthread_create(&self->sealer, NULL, seal_thread, self) != 0)
        return poly_fail(err, POLY_UNAVAILABLE, "cannot start the sealing thread");
    self->sealer_runs = true;
    pthread_setname_np(self->sealer, "poly-seal");
    return POLY_OK;
}

void poly_postgresql_unseal(struct poly_postgresql *self)
{
    if (!self->sealer_runs)
        return;
    atomic_store(&self->stopping, true);
    poly_signal_poke(&self->base.instance->head);
    pthread_join(self->sealer, NULL);
    self->sealer_runs = false;
}
