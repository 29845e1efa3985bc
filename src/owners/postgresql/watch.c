/*
 * How far the log can be read: one thread, one connection of its own that
 * listens. Told of a writer (by the server, or by our own commits), it reads
 * the horizon; as long as somebody is still writing it looks again soon, and a
 * transaction that takes long is looked at less and less often. Only when
 * nobody writes does it sleep, and then until it is told. The net below that is
 * a look every few seconds.
 *
 * A look costs the server about as much as a write does. So the first word is
 * looked after at once, and what is told after that waits a moment and is looked
 * after together, unless somebody waits for a position that is not complete yet.
 */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "owners/postgresql/inside.h"
#include "owners/postgresql/postgresql.h"

enum {
    SOON_US = 1000,
    GAP_US = 5000,        /* from look to look that nobody waits for, … */
    GAP_MAX_US = 10000,   /* … and the longest: a server that is slow to answer has much to do, */
    GAP_LOOKS = 20,       /* … and we take so much less of it: one part in so many */
    LATER_US = 50000,     /* longest pause while somebody writes */
    NET_US = 1000000,     /* when nobody does: see schema.c on notifications */
    STALLED_US = 1000000, /* from here on the status names who holds readers up */
    BACKOFF_FIRST = 50000,
    BACKOFF_MAX = 2000000
};

/* The place in the WAL is read after the horizon was: it has all that is below that. */
static const char horizon_get[] = "SELECT safe, last, writing, backend, lsn"
                                  " FROM poly.horizon($1), LATERAL (SELECT CASE"
                                  " WHEN safe IS NULL OR pg_is_in_recovery() THEN NULL"
                                  " ELSE pg_current_wal_insert_lsn() - '0/0'::pg_lsn END::bigint"
                                  " AS lsn) AS wal";
/* The horizon is looked for by the same few statements, many times a second, each of which touches
 * a few rows: planning them anew for each look took as long as all else. A plan for any numbers
 * thinks of thousands of rows, and nothing may be prepared for so many. */
static const char settings[] = "SET plan_cache_mode = 'force_generic_plan';"
                               "SET max_parallel_workers_per_gather = 0;"
                               "SET jit = off;"
                               "SET enable_hashagg = off";
static const char holder_get[] =
    "SELECT format('%s %s, %s, since %s', application_name, client_addr, state,"
    " date_trunc('second', xact_start))"
    " FROM pg_stat_activity WHERE pid = $1";

enum poly_status poly_postgresql_horizon(struct poly_pg *pg, uint64_t after,
                                         struct poly_horizon *horizon, struct poly_error *err)
{
    struct poly_pg_params params;
    PGresult *result;
    enum poly_status status;

    poly_pg_params(&params);
    poly_pg_add_int(&params, (int64_t)after);
    status = poly_pg_run(pg, horizon_get, &params, &result, err);
    if (status != POLY_OK)
        return status;
    horizon->safe = (uint64_t)poly_pg_int(result, 0, 0);
    horizon->last = (uint64_t)poly_pg_int(result, 0, 1);
    horizon->writing = poly_pg_int(result, 0, 2);
    horizon->backend = (int)poly_pg_int(result, 0, 3);
    horizon->lsn = (uint64_t)poly_pg_int(result, 0, 4);
    PQclear(result);
    return POLY_OK;
}

_Atomic bool poly_control_horizon = true;

static void drain(int fd)
{
    uint64_t count;
    ssize_t got = read(fd, &count, sizeof(count));

    (void)got;
}

void poly_postgresql_wake(struct poly_postgresql *self)
{
    uint64_t one = 1;
    ssize_t written;

    if (atomic_exchange(&self->told, true))
        return;
    written = write(self->watch_wake, &one, sizeof(one));
    (void)written; /* a full counter wakes as well */
}

void poly_postgresql_await(struct poly_owner *owner, uint64_t position)
{
    struct poly_postgresql *self = poly_postgresql_of(owner);
    uint64_t highest = atomic_load(&self->awaited);

    while (highest < position && !atomic_compare_exchange_weak(&self->awaited, &highest, position))
        continue;
    atomic_store(&self->told, false); /* it may be resting although it was told */
    poly_postgresql_wake(self);
}

static bool awaited(const struct poly_postgresql *self)
{
    return atomic_load(&self->awaited) > atomic_load(&self->base.durable);
}

/* --- who holds readers up --- */

static void describe(struct poly_postgresql *self, struct poly_pg *pg,
                     const struct poly_horizon *horizon)
{
    struct poly_pg_params params;
    struct poly_error ignored;
    PGresult *result;

    poly_pg_params(&params);
    poly_pg_add_int(&params, horizon->backend);
    if (poly_pg_run(pg, holder_get, &params, &result, &ignored) != POLY_OK)
        return;
    pthread_mutex_lock(&self->lock);
    if (PQntuples(result) > 0)
        snprintf(self->holder.who, sizeof(self->holder.who), "%s", poly_pg_text(result, 0, 0).data);
    pthread_mutex_unlock(&self->lock);
    PQclear(result);
}

/* The same position for long means that one transaction stays open. */
static void look_at_holder(struct poly_postgresql *self, struct poly_pg *pg,
                           const struct poly_horizon *horizon)
{
    int64_t now = poly_clock_monotonic();
    bool name;

    pthread_mutex_lock(&self->lock);
    if (horizon->writing == 0) {
        self->holder.since = 0;
    } else if (self->holder.since == 0 || self->holder.backend != horizon->backend ||
               self->holder.position != horizon->safe) {
        self->holder.backend = horizon->backend;
        self->holder.position = horizon->safe;
        self->holder.since = now;
        self->holder.who[0] = '\0';
    }
    name = self->holder.since != 0 && now - self->holder.since > STALLED_US &&
           self->holder.who[0] == '\0';
    pthread_mutex_unlock(&self->lock);
    if (name)
        describe(self, pg, horizon);
}

/* --- who changes tables --- */

const char poly_postgresql_tell_tables[] = "SELECT pg_notify('poly', 'tables')";

void poly_postgresql_on_tables(struct poly_postgresql *self, void (*fn)(void *arg), void *arg)
{
    pthread_mutex_lock(&self->lock);
    self->on_tables = fn;
    self->on_tables_arg = arg;
    pthread_mutex_unlock(&self->lock);
}

static void tell_of_tables(struct poly_postgresql *self)
{
    pthread_mutex_lock(&self->lock);
    if (self->on_tables != NULL)
        self->on_tables(self->on_tables_arg);
    pthread_mutex_unlock(&self->lock);
}

/* --- the thread --- */

static enum poly_status look(struct poly_postgresql *self, struct poly_pg *pg, int64_t *pause,
                             struct poly_error *err)
{
    struct poly_horizon horizon;
    enum poly_status status =
        poly_postgresql_horizon(pg, atomic_load(&self->base.durable), &horizon, err);

    if (status != POLY_OK)
        return status;
    if (!atomic_load(&poly_control_horizon))
        horizon.safe = horizon.last;
    if (self->replicas != NULL && horizon.lsn != 0)
        poly_replicas_note(self->replicas, horizon.safe, horizon.lsn);
    if (horizon.safe > atomic_load(&self->base.durable)) {
        atomic_store(&self->base.durable, horizon.safe);
        poly_signal_raise(&self->base.instance->head, horizon.safe);
        *pause = SOON_US;
    }
    look_at_holder(self, pg, &horizon);
    if (horizon.writing == 0)
        *pause = NET_US;
    else
        *pause = *pause == NET_US || *pause * 2 < SOON_US ? SOON_US
                 : *pause * 2 > LATER_US                  ? LATER_US
                                                          : *pause * 2;
    return POLY_OK;
}

/* Until there is a reason to look again, and not before soonest unless somebody waits. */
static enum poly_status rest(struct poly_postgresql *self, struct poly_pg *pg, int64_t pause,
                             int64_t soonest, struct poly_error *err)
{
    int64_t until = poly_clock_monotonic() + pause;
    enum poly_status status = POLY_OK;
    bool over = false;

    while (!over && status == POLY_OK) {
        enum poly_pg_event event = POLY_PG_DEADLINE;
        struct poly_pg_notice notice;

        if (until < soonest && !awaited(self))
            until = soonest;
        status = poly_pg_wait(pg, self->watch_wake, until, &event, &notice, err);
        if (status == POLY_OK && event == POLY_PG_WOKEN)
            drain(self->watch_wake);
        else if (status == POLY_OK && event == POLY_PG_NOTIFIED &&
                 strcmp(notice.payload, "tables") == 0)
            tell_of_tables(self);
        over = event == POLY_PG_DEADLINE || awaited(self) || atomic_load(&self->stopping) ||
               poly_clock_monotonic() >= soonest;
        until = soonest;
    }
    return status;
}

/* From the look that took so long. */
static int64_t gap(int64_t took)
{
    int64_t us = took * GAP_LOOKS;

    return us < GAP_US ? GAP_US : us > GAP_MAX_US ? GAP_MAX_US : us;
}

static enum poly_status follow(struct poly_postgresql *self, struct poly_pg *pg,
                               struct poly_error *err)
{
    int64_t pause = SOON_US;
    enum poly_status status = POLY_OK;

    while (status == POLY_OK && !atomic_load(&self->stopping)) {
        int64_t begun = poly_clock_monotonic();

        atomic_store(&self->told, false);
        poly_pg_deadline(pg, begun + NET_US);
        status = look(self, pg, &pause, err);
        if (status == POLY_OK)
            status = rest(self, pg, pause, begun + gap(poly_clock_monotonic() - begun), err);
    }
    return status;
}

enum poly_status poly_postgresql_attend(struct poly_postgresql *self, struct poly_pg *pg,
                                        struct poly_error *err)
{
    const struct poly_server *server =
        &poly_config_store(self->base.instance->config, "relational")->server;
    enum poly_status status;

    poly_pg_deadline(pg, poly_clock_monotonic() + NET_US);
    status = poly_pg_exec(pg, settings, err);
    if (status == POLY_OK)
        status = poly_pg_listen(pg, "poly", err);
    if (status == POLY_OK)
        status = poly_pg_promise(pg, server->pool_max + 1, err);
    return status == POLY_OK ? poly_postgresql_era(self, pg, err) : status;
}

/* The first one was made at the start. */
static enum poly_status connect_watch(struct poly_postgresql *self, struct poly_pg **pg,
                                      struct poly_error *err)
{
    enum poly_status status;

    *pg = self->attending;
    self->attending = NULL;
    if (*pg != NULL)
        return POLY_OK;
    status = poly_pg_open(self->target, -1, pg, err);
    if (status == POLY_OK)
        status = poly_postgresql_attend(self, *pg, err);
    if (status != POLY_OK)
        poly_pg_close(*pg);
    return status;
}

static enum poly_status connect_and_follow(struct poly_postgresql *self, bool *connected,
                                           struct poly_error *err)
{
    struct poly_pg *pg = NULL;
    enum poly_status status = connect_watch(self, &pg, err);

    if (status == POLY_OK) {
        *connected = true;
        pthread_mutex_lock(&self->lock);
        self->lost_since = 0;
        pthread_mutex_unlock(&self->lock);
        tell_of_tables(self); /* whoever has told of them meanwhile was not heard */
        status = follow(self, pg, err);
        poly_pg_close(pg);
    }
    return status;
}

static void sleep_unless_stopped(struct poly_postgresql *self, int64_t us)
{
    for (int64_t slept = 0; slept < us && !atomic_load(&self->stopping); slept += SOON_US * 10) {
        struct timespec time = {0, SOON_US * 10 * 1000L};

        nanosleep(&time, NULL);
    }
}

static void *watch(void *arg)
{
    struct poly_postgresql *self = arg;
    int64_t backoff = BACKOFF_FIRST;

    while (!atomic_load(&self->stopping)) {
        struct poly_error err = {.position = -1};
        bool connected = false;

        if (connect_and_follow(self, &connected, &err) == POLY_OK)
            continue;
        poly_postgresql_note(self, &err);
        /* One connection that was lost says nothing; one that cannot be made, or is silent, does.
         */
        pthread_mutex_lock(&self->lock);
        if (self->lost_since == 0 && (!connected || err.status == POLY_TIMEOUT))
            self->lost_since = poly_clock_wall();
        pthread_mutex_unlock(&self->lock);
        if (connected)
            backoff = BACKOFF_FIRST;
        sleep_unless_stopped(self, backoff);
        backoff = backoff * 2 > BACKOFF_MAX ? BACKOFF_MAX : backoff * 2;
    }
    return NULL;
}

enum poly_status poly_postgresql_watch(struct poly_postgresql *self, struct poly_error *err)
{
    self->watch_wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (self->watch_wake < 0)
        return poly_fail(err, POLY_UNAVAILABLE, "cannot make an eventfd: %s", strerror(errno));
    if (pthread_create(&self->watch, NULL, watch, self) != 0)
        return poly_fail(err, POLY_UNAVAILABLE, "cannot start the watching thread");
    self->watch_runs = true;
    pthread_setname_np(self->watch, "poly-watch");
    return POLY_OK;
}

void poly_postgresql_unwatch(struct poly_postgresql *self)
{
    atomic_store(&self->stopping, true);
    if (self->watch_runs) {
        poly_postgresql_wake(self);
        pthread_join(self->watch, NULL);
    }
    self->watch_runs = false;
    if (self->watch_wake >= 0)
        close(self->watch_wake);
    self->watch_wake = -1;
}
