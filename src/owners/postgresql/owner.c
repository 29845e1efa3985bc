/* The owner's table for PostgreSQL, and its life from open to close. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "core/server.h"
#include "owners/postgresql/inside.h"
#include "owners/postgresql/postgresql.h"

/* --- eras --- */

static const char era_get[] = "SELECT poly.turn()";
static const char lost_get[] =
    "SELECT coalesce(min(p), 0)::bigint FROM unnest($1::bigint[]) AS p"
    " WHERE NOT EXISTS (SELECT FROM poly.log WHERE position = p)"
    " AND p > coalesce((SELECT number FROM poly.meta WHERE name = 'retained'), 0)";

enum poly_status poly_postgresql_era(struct poly_postgresql *self, struct poly_pg *pg,
                                     struct poly_error *err)
{
    uint64_t known = atomic_load(&self->base.era), era;
    PGresult *result;
    enum poly_status status = poly_pg_run(pg, era_get, NULL, &result, err);

    if (status != POLY_OK)
        return status;
    era = (uint64_t)poly_pg_int(result, 0, 0);
    PQclear(result);
    while (known < era && !atomic_compare_exchange_weak(&self->base.era, &known, era))
        continue;
    if (known >= era)
        return POLY_OK;
    if (self->replicas != NULL)
        poly_replicas_forget(self->replicas);
    poly_signal_poke(&self->base.instance->head); /* who follows is to look at what it has */
    return POLY_OK;
}

/* Each connection of the pool may be the first one to a server that has taken over. */
static enum poly_status greet(struct poly_pg *pg, void *self, struct poly_error *err)
{
    return poly_postgresql_era(self, pg, err);
}

enum poly_status poly_postgresql_lost(struct poly_pg *pg, const uint64_t *positions, size_t count,
                                      uint64_t *lost, struct poly_error *err)
{
    struct poly_pg_params params;
    PGresult *result;
    enum poly_status status;

    poly_pg_params(&params);
    poly_pg_add_ints(&params, (const int64_t *)positions, (int)count);
    status = poly_pg_run(pg, lost_get, &params, &result, err);
    if (status != POLY_OK)
        return status;
    *lost = (uint64_t)poly_pg_int(result, 0, 0);
    PQclear(result);
    return POLY_OK;
}

static enum poly_status postgresql_lost(struct poly_owner *owner, const uint64_t *positions,
                                        size_t count, uint64_t *lost, struct poly_error *err)
{
    struct poly_db *db = poly_postgresql_take(owner, err);
    enum poly_status status;

    if (db == NULL)
        return err->status;
    status = poly_postgresql_lost(poly_pg_of(db), positions, count, lost, err);
    poly_postgresql_give(owner, db);
    return status;
}

/* --- open and close --- */

static const char sealed_get[] = "SELECT coalesce(max(last), 0)::bigint FROM poly.seal";

static void postgresql_close(struct poly_owner *owner)
{
    struct poly_postgresql *self = poly_postgresql_of(owner);

    poly_postgresql_unseal(self);
    poly_postgresql_unwatch(self);
    poly_pg_close(self->attending);
    poly_pg_pool_close(self->pool);
    poly_replicas_close(self->replicas);
    poly_pg_target_free(self->target);
    poly_pg_texts_free(self->texts);
    pthread_cond_destroy(&self->queued);
    pthread_mutex_destroy(&self->queue_lock);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

/* How far the log goes. What was sealed is read first: another daemon may be sealing. */
static enum poly_status read_end(struct poly_pg *pg, struct poly_horizon *horizon,
                                 struct poly_error *err)
{
    PGresult *result;
    uint64_t sealed;
    enum poly_status status = poly_pg_run(pg, sealed_get, NULL, &result, err);

    if (status != POLY_OK)
        return status;
    sealed = (uint64_t)poly_pg_int(result, 0, 0);
    PQclear(result);
    status = poly_postgresql_horizon(pg, 0, horizon, err);
    if (status != POLY_OK || horizon->last >= sealed)
        return status;
    return poly_fail(err, POLY_CORRUPT,
                     "the log ends at %llu, but was sealed up to %llu: records are missing",
                     (unsigned long long)horizon->last, (unsigned long long)sealed);
}

/* The tables, on a connection that is no pool's: an upgrade may take longer than one would wait.
 * It goes on as the watch's. */
static enum poly_status prepare(struct poly_postgresql *self, struct poly_error *err)
{
    struct poly_horizon horizon = {.safe = 0};
    struct poly_pg *pg;
    enum poly_status status = poly_pg_open(self->target, -1, &pg, err);

    if (status != POLY_OK)
        return status;
    status = poly_postgresql_schema(&self->base, pg, err);
    if (status == POLY_OK)
        status = poly_postgresql_attend(self, pg, err);
    if (status == POLY_OK)
        status = read_end(pg, &horizon, err);
    atomic_store(&self->base.durable, horizon.safe);
    if (status == POLY_OK)
        self->attending = pg;
    else
        poly_pg_close(pg);
    return status;
}

static enum poly_status open_all(struct poly_postgresql *self, struct poly_error *err)
{
    const struct poly_server *server =
        &poly_config_store(self->base.instance->config, "relational")->server;
    struct poly_pg_options where = poly_server_options(server);
    struct poly_pg_pool_options pool = poly_server_pool(server);
    enum poly_status status;

    self->texts = poly_pg_texts_new();
    if (self->texts == NULL)
        return poly_no_memory(err);
    status = poly_pg_target_new(&where, &self->target, err);
    if (status == POLY_OK)
        status = prepare(self, err);
    if (status == POLY_OK)
        status = poly_pg_pool_open(&where, &pool, greet, self, &self->pool, err);
    if (status == POLY_OK && server->replica_count > 0)
        status = poly_replicas_open(server, &where, &pool, &self->replicas, err);
    if (status == POLY_OK)
        status = poly_postgresql_watch(self, err);
    return status == POLY_OK ? poly_postgresql_sealer(self, err) : status;
}

static enum poly_status postgresql_open(struct poly_instance *instance, struct poly_owner **owner,
                                        struct poly_error *err)
{
    struct poly_postgresql *self = calloc(1, sizeof(*self));
    enum poly_status status;

    if (self == NULL)
        return poly_no_memory(err);
    self->base.instance = instance;
    self->base.driver = &poly_owner_postgresql;
    self->watch_wake = -1;
    self->end = &self->first;
    pthread_mutex_init(&self->lock, NULL);
    pthread_mutex_init(&self->queue_lock, NULL);
    pthread_cond_init(&self->queued, NULL);
    status = open_all(self, err);
    if (status == POLY_OK)
        *owner = &self->base;
    else
        postgresql_close(&self->base);
    return status;
}

static void postgresql_stop(struct poly_owner *owner)
{
    poly_postgresql_drain(poly_postgresql_of(owner));
    poly_postgresql_unseal(poly_postgresql_of(owner));
    poly_postgresql_unwatch(poly_postgresql_of(owner));
}

struct poly_postgresql *poly_instance_postgresql(struct poly_instance *instance)
{
    return instance->owner->driver == &poly_owner_postgresql ? poly_postgresql_of(instance->owner)
                                                             : NULL;
}

/* --- reading --- */

static void postgresql_read_end(struct poly_owner *owner, struct poly_db *db, bool snapshot)
{
    struct poly_error ignored;

    if (snapshot)
        (void)poly_pg_commit(poly_pg_of(db), &ignored);
    poly_postgresql_give(owner, db);
}

/* Another daemon may have answered with a position that we have not heard of. */
static bool postgresql_reached(struct poly_owner *owner, uint64_t position)
{
    struct poly_horizon horizon = {.last = 0};
    struct poly_error ignored;
    struct poly_db *db;

    if (position <= atomic_load(&owner->durable))
        return true;
    db = poly_postgresql_take(owner, &ignored);
    if (db == NULL)
        return true; /* whatever is asked next says why nothing can be had */
    if (poly_postgresql_horizon(poly_pg_of(db), position, &horizon, &ignored) != POLY_OK)
        horizon.last = UINT64_MAX;
    poly_postgresql_give(owner, db);
    return position <= horizon.last;
}

static void postgresql_kick(struct poly_owner *owner)
{
    poly_postgresql_wake(poly_postgresql_of(owner));
}

/* --- inside a transaction --- */

static const char meta_set[] = "SELECT set_config('poly.meta', ?1, true)";

static void postgresql_began(struct poly_write *write)
{
    write->txn = 0; /* the server's own number: its tables know it */
}

static enum poly_status postgresql_mark(struct poly_write *write, struct poly_error *err)
{
    struct poly_stmt set;
    enum poly_status status;

    if (write->meta.size == 0)
        return POLY_OK;
    status = poly_stmt_open(&set, write->db, meta_set, err);
    if (status != POLY_OK)
        return status;
    poly_stmt_text(&set, 1, write->meta);
    return poly_stmt_done(&set, err);
}

static enum poly_status postgresql_unmark(struct poly_write *write, struct poly_error *err)
{
    (void)write; /* the setting ends with the transaction */
    (void)err;
    return POLY_OK;
}

static enum poly_status postgresql_wrote(struct poly_write *write, struct poly_error *err)
{
    (void)write; /* the operation has said its position */
    (void)err;
    return POLY_OK;
}

static void postgresql_undone(struct poly_write *write, bool rewind)
{
    (void)write;
    (void)rewind;
}

static const char claim[] =
    "SELECT pg_advisory_xact_lock(1886350462, hashtext(?1 || chr(1) || ?2))";

/* Two requests with one idempotency key: the second waits, and finds what the first has left. */
static enum poly_status postgresql_claim(struct poly_write *write, struct poly_text tenant,
                                         struct poly_text key, struct poly_error *err)
{
    struct poly_stmt lock;
    enum poly_status status = poly_stmt_open(&lock, write->db, claim, err);

    if (status != POLY_OK)
        return status;
    poly_stmt_text(&lock, 1, tenant);
    poly_stmt_text(&lock, 2, key);
    return poly_stmt_done(&lock, err);
}

/* --- upkeep --- */

static enum poly_status postgresql_usable(struct poly_owner *owner, struct poly_error *err)
{
    (void)owner; /* a server that is gone may come back */
    (void)err;
    return POLY_OK;
}

static enum poly_status postgresql_report(struct poly_owner *owner, struct poly_arena *arena,
                                          struct poly_status_report *report, struct poly_error *err)
{
    struct poly_postgresql *self = poly_postgresql_of(owner);
    enum poly_status status = poly_postgresql_numbers(self, arena, report, err);
    const char *text;
    bool up;

    if (status != POLY_OK)
        return status;
    up = report->server->up;
    report->state = up ? POLY_STATE_OK : POLY_STATE_UNREACHABLE;
    report->writes_refused = !up;
    pthread_mutex_lock(&self->lock);
    if (up && self->holder.since != 0 && self->holder.who[0] != '\0')
        text = poly_arena_printf(arena, "readers wait at %llu for backend %d (%s)",
                                 (unsigned long long)self->holder.position, self->holder.backend,
                                 self->holder.who);
    else
        text = poly_arena_copy(arena, self->error, strlen(self->error));
    pthread_mutex_unlock(&self->lock);
    if (text == NULL)
        return poly_no_memory(err);
    report->last_error = poly_text(text);
    report->commits = atomic_load(&self->commits);
    report->requests = atomic_load(&self->requests);
    report->writer_held = atomic_load(&self->held) > 0;
    return POLY_OK;
}

static const struct poly_capability capabilities[] = {
    {"positions-have-gaps", true, "what is rolled back leaves a gap"},
    {"chosen-positions", true,
     "drawn from a sequence; one that was chosen beyond it fails the write that draws it, once"},
    {"transaction-number", true, "the server's transaction number"},
    {"data-that-is-no-json", true, "the server refuses both"},
    {"interactive-transactions", true, "beside each other, `SERIALIZABLE`"},
    {"commit-that-never-waits", false,
     "whether others write cannot be known; the caller is told to wait or to submit"},
    {"sealed-after-the-commit", true,
     "sealed a moment after the commit, many transactions together"},
    {NULL, false, NULL},
};

const struct poly_owner_driver poly_owner_postgresql = {
    .name = "postgresql",
    .capabilities = capabilities,
    .open = postgresql_open,
    .stop = postgresql_stop,
    .close = postgresql_close,
    .take = poly_postgresql_take,
    .give = poly_postgresql_give,
    .read = poly_postgresql_read,
    .read_end = postgresql_read_end,
    .reached = postgresql_reached,
    .await = poly_postgresql_await,
    .run = poly_postgresql_run,
    .submit = poly_postgresql_submit,
    .hold = poly_postgresql_hold,
    .release = poly_postgresql_release,
    .collided = poly_postgresql_collided,
    .kick = postgresql_kick,
    .began = postgresql_began,
    .mark = postgresql_mark,
    .unmark = postgresql_unmark,
    .wrote = postgresql_wrote,
    .pipeline = poly_postgresql_pipeline,
    .undone = postgresql_undone,
    .claim = postgresql_claim,
    .lease = poly_postgresql_lease,
    .leased = poly_postgresql_leased,
    .use = poly_postgresql_use,
    .replayed = poly_postgresql_replayed,
    .lost = postgresql_lost,
    .scan = poly_postgresql_scan,
    .records = poly_postgresql_records,
    .retained = "SELECT number FROM poly_meta WHERE name = 'retained'",
    .record = poly_postgresql_record,
    .usable = postgresql_usable,
    .reachable = poly_postgresql_reachable,
    .report = postgresql_report,
};
