/*
 * What the keeper does for SQLite: another program has written to the
 * database's WAL (inotify), it is time for retention or to give memory back, or
 * waiting readers have kept snapshots, which would hold up other programs'
 * checkpoints.
 *
 * Our own commits write to the WAL too. The keeper then looks once, and sleeps
 * for a tenth of a second whatever comes, so a busy writer costs ten looks a
 * second and a foreign commit is seen within that time. It looks on like that
 * until the WAL was quiet for a while: another program syncs between its last
 * write, which we are told of, and the commit, which we are not.
 *
 * What has to wait for the writer is done by a helper: the writer may be held
 * by the very transaction that the keeper is to end.
 */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/clock.h"
#include "core/inside.h"
#include "owners/embedded/embedded.h"

enum {
    REST_US = 100000,
    POLL_US = 500000,   /* without inotify */
    QUIET_US = 5000000, /* without a write: memory is given back */
    SNAPSHOT_US = 1000000,
    RETENTION_US = 600000000
};

/* Times are monotonic; -1: never. */
struct poly_embedded_watch {
    int fd; /* inotify; -1: not to be had, a timer serves */
    int64_t retention, snapshots;
    int64_t memory; /* until then the WAL is looked at unasked */
    int64_t rest;   /* until then it is not */
    struct {
        struct poly_embedded *owner;
        pthread_t thread;
        bool runs; /* to be joined */
        bool retention, memory;
        _Atomic bool busy;
    } helper;
};

static const char head_get[] = "SELECT seq FROM sqlite_sequence WHERE name = 'poly_log'";

/* Has somebody else moved the log's end? */
static bool moved(struct poly_owner *owner)
{
    struct poly_error err;
    struct poly_db *reader = owner->driver->take(owner, &err);
    int64_t head = 0;

    if (reader == NULL || poly_db_number(reader, head_get, &head, &err) != POLY_OK)
        head = 0;
    owner->driver->give(owner, reader);
    return (uint64_t)head > atomic_load(&owner->durable);
}

static void drain(int fd)
{
    char bytes[4096];

    while (read(fd, bytes, sizeof(bytes)) > 0) {
    }
}

/* The writer's page cache is worth its memory only while somebody writes. */
static enum poly_status release(struct poly_db *db, void *arg, struct poly_error *err)
{
    (void)arg;
    (void)err;
    sqlite3_db_release_memory(poly_db_handle(db));
    return POLY_OK;
}

static void give_memory_back(struct poly_embedded *embedded)
{
    struct poly_error ignored;

    (void)poly_writer_run(embedded->writer, release, NULL, true, &ignored);
    poly_sqlite_trim(embedded->file);
    malloc_trim(0);
}

static void *help(void *arg)
{
    struct poly_embedded_watch *watch = arg;

    if (watch->helper.retention)
        poly_embedded_retain(&watch->helper.owner->base);
    if (watch->helper.memory)
        give_memory_back(watch->helper.owner);
    atomic_store(&watch->helper.busy, false);
    return NULL;
}

static void join(struct poly_embedded_watch *watch)
{
    if (watch->helper.runs)
        pthread_join(watch->helper.thread, NULL);
    watch->helper.runs = false;
}

/* Without a thread it is left for the next time. */
static void start(struct poly_embedded_watch *watch)
{
    join(watch);
    atomic_store(&watch->helper.busy, true);
    watch->helper.runs = pthread_create(&watch->helper.thread, NULL, help, watch) == 0;
    if (watch->helper.runs)
        pthread_setname_np(watch->helper.thread, "poly-helper");
    else
        atomic_store(&watch->helper.busy, false);
}

static void look(struct poly_embedded *self, bool written, int64_t now)
{
    struct poly_embedded_watch *watch = self->watch;

    if (watch->fd >= 0) {
        if (written) {
            drain(watch->fd);
            watch->memory = now + QUIET_US;
        }
        watch->rest = now + REST_US;
    }
    if (written)
        poly_sqlite_settle(self->file);
    if (moved(&self->base))
        poly_writer_kick(self->writer);
}

static void end_snapshots(struct poly_embedded *self, int64_t now)
{
    struct poly_embedded_watch *watch = self->watch;

    if (!atomic_load(&self->snapshots))
        return;
    if (watch->snapshots < 0) {
        watch->snapshots = now + SNAPSHOT_US;
    } else if (now >= watch->snapshots) {
        watch->snapshots = -1;
        atomic_store(&self->snapshots, false);
        poly_sqlite_settle(self->file);
    }
}

static void work(struct poly_embedded_watch *watch, int64_t now)
{
    bool retention = now >= watch->retention;
    bool memory = watch->memory >= 0 && now >= watch->memory;

    if (!retention && !memory)
        return;
    if (retention)
        watch->retention = now + RETENTION_US;
    if (atomic_load(&watch->helper.busy)) { /* what it does not do now is due again later */
        watch->memory = memory ? now + QUIET_US : watch->memory;
        return;
    }
    if (memory)
        watch->memory = -1;
    watch->helper.retention = retention;
    watch->helper.memory = memory;
    start(watch);
}

void poly_embedded_tend(struct poly_owner *owner, bool readable, struct poly_tending *next)
{
    struct poly_embedded *self = (struct poly_embedded *)owner;
    struct poly_embedded_watch *watch = self->watch;
    int64_t now = poly_clock_monotonic();

    if (watch->rest <= now && (readable || watch->fd < 0 || watch->memory >= 0))
        look(self, readable, now);
    work(watch, now);
    end_snapshots(self, now);
    next->fd = watch->rest > now ? -1 : watch->fd;
    next->until = poly_clock_sooner(watch->retention, watch->memory);
    next->until = poly_clock_sooner(next->until, watch->snapshots);
    if (watch->rest > now)
        next->until = poly_clock_sooner(next->until, watch->rest);
    else if (watch->fd < 0)
        next->until = poly_clock_sooner(next->until, now + POLL_US);
    else if (watch->memory >= 0)
        next->until = now;
}

enum poly_status poly_embedded_watch(struct poly_embedded *self, struct poly_error *err)
{
    struct poly_embedded_watch *watch = calloc(1, sizeof(*watch));
    char path[4096];

    if (watch == NULL)
        return poly_no_memory(err);
    self->watch = watch;
    watch->helper.owner = self;
    watch->retention = poly_clock_monotonic() + RETENTION_US;
    watch->snapshots = watch->memory = -1;
    snprintf(path, sizeof(path), "%s-wal", poly_sqlite_path(self->file));
    watch->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (watch->fd >= 0 && inotify_add_watch(watch->fd, path, IN_MODIFY) < 0) {
        close(watch->fd);
        watch->fd = -1;
    }
    return POLY_OK;
}

void poly_embedded_unwatch(struct poly_embedded *self)
{
    if (self->watch == NULL)
        return;
    join(self->watch);
    if (self->watch->fd >= 0)
        close(self->watch->fd);
    free(self->watch);
    self->watch = NULL;
}
