/*
 * One thread that sleeps until there is a reason: another program has written
 * to the database's WAL (inotify), an interactive transaction passes its
 * deadline, it is time for retention or to give memory back, or waiting readers
 * have kept snapshots, which would hold up other programs' checkpoints. Idle it
 * costs nothing.
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
#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "core/embedded.h"
#include "core/inside.h"

enum {
    REST_US = 100000,
    POLL_US = 500000,   /* without inotify */
    QUIET_US = 5000000, /* without a write: memory is given back */
    AGAIN_US = 10000,   /* a transaction past its deadline is still running a statement */
    SNAPSHOT_US = 1000000,
    RETENTION_US = 600000000
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

static int timeout_ms(int64_t now, int64_t until)
{
    int64_t ms = until < 0 ? -1 : (until - now + 999) / 1000;

    if (until >= 0 && ms < 0)
        ms = 0;
    return ms > 3600000 ? 3600000 : (int)ms;
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < 0 || (b >= 0 && b < a) ? b : a;
}

/* The writer's page cache is worth its memory only while somebody writes. */
static enum poly_status release(struct poly_db *db, void *arg, struct poly_error *err)
{
    (void)arg;
    (void)err;
    sqlite3_db_release_memory(poly_db_handle(db));
    return POLY_OK;
}

static void give_memory_back(struct poly_instance *instance)
{
    struct poly_embedded *embedded = poly_instance_embedded(instance);
    struct poly_error ignored;

    (void)poly_writer_run(embedded->writer, release, NULL, true, &ignored);
    poly_sqlite_trim(embedded->file);
    malloc_trim(0);
}

/* When there is something to do; monotonic, -1: never. */
struct times {
    int64_t retention, snapshots;
    int64_t memory; /* until then the WAL is looked at unasked */
    int64_t rest;   /* until then it is not */
};

struct helper {
    struct poly_instance *instance;
    pthread_t thread;
    bool runs; /* to be joined */
    bool retention, memory;
    _Atomic bool busy;
};

static void *help(void *arg)
{
    struct helper *helper = arg;

    if (helper->retention)
        helper->instance->owner->driver->retain(helper->instance->owner);
    if (helper->memory)
        give_memory_back(helper->instance);
    atomic_store(&helper->busy, false);
    return NULL;
}

static void join(struct helper *helper)
{
    if (helper->runs)
        pthread_join(helper->thread, NULL);
    helper->runs = false;
}

/* Without a thread it is left for the next time. */
static void start(struct helper *helper)
{
    join(helper);
    atomic_store(&helper->busy, true);
    helper->runs = pthread_create(&helper->thread, NULL, help, helper) == 0;
    if (helper->runs)
        pthread_setname_np(helper->thread, "poly-helper");
    else
        atomic_store(&helper->busy, false);
}

static void look(struct poly_instance *instance, struct times *times, bool written, int64_t now)
{
    if (instance->keeper_watch >= 0) {
        if (written) {
            drain(instance->keeper_watch);
            times->memory = now + QUIET_US;
        }
        times->rest = now + REST_US;
    }
    if (written && instance->owner->driver->settle != NULL)
        instance->owner->driver->settle(instance->owner);
    if (moved(instance->owner))
        instance->owner->driver->kick(instance->owner);
}

static void end_snapshots(struct poly_instance *instance, struct times *times, int64_t now)
{
    if (!atomic_load(&instance->snapshots))
        return;
    if (times->snapshots < 0) {
        times->snapshots = now + SNAPSHOT_US;
    } else if (now >= times->snapshots) {
        times->snapshots = -1;
        atomic_store(&instance->snapshots, false);
        instance->owner->driver->settle(instance->owner);
    }
}

static void work(struct helper *helper, struct times *times, int64_t now)
{
    poly_txn_expire(helper->instance, now);
    if (atomic_load(&helper->busy)) { /* what it does not do now is due again later */
        times->retention = now >= times->retention ? now + RETENTION_US : times->retention;
        times->memory = times->memory >= 0 && now >= times->memory ? now + QUIET_US : times->memory;
        return;
    }
    helper->retention = now >= times->retention;
    helper->memory = times->memory >= 0 && now >= times->memory;
    if (helper->retention)
        times->retention = now + RETENTION_US;
    if (helper->memory)
        times->memory = -1;
    if (helper->retention || helper->memory)
        start(helper);
}

/* The next deadline of an interactive transaction, or when to look again at one that is past it. */
static int64_t deadline(struct poly_instance *instance, int64_t now)
{
    int64_t at = poly_txn_deadline(instance);

    return at >= 0 && at <= now ? now + AGAIN_US : at;
}

static void *keep(void *arg)
{
    struct poly_instance *instance = arg;
    struct times times = {poly_clock_monotonic() + RETENTION_US, -1, -1, 0};
    struct helper helper = {.instance = instance};
    bool watches = poly_instance_embedded(instance) != NULL; /* a server's owner does so itself */

    while (!atomic_load(&instance->closing)) {
        struct pollfd fds[2] = {{.fd = instance->keeper_wake, .events = POLLIN},
                                {.fd = instance->keeper_watch, .events = POLLIN}};
        int64_t now = poly_clock_monotonic();

        end_snapshots(instance, &times, now);

        int64_t until = sooner(sooner(times.retention, times.memory), deadline(instance, now));
        until = sooner(until, times.snapshots);
        bool resting = times.rest > now, written;

        if (resting) {
            until = sooner(until, times.rest);
            fds[1].fd = -1;
        } else if (watches && instance->keeper_watch < 0) {
            until = sooner(until, now + POLL_US);
        } else if (times.memory >= 0) {
            until = now;
        }
        poll(fds, 2, timeout_ms(now, until));
        now = poly_clock_monotonic();
        if ((fds[0].revents & POLLIN) != 0)
            drain(instance->keeper_wake);
        written = (fds[1].revents & POLLIN) != 0;
        if (watches && !resting && (written || instance->keeper_watch < 0 || times.memory >= 0))
            look(instance, &times, written, now);
        work(&helper, &times, now);
    }
    /* The helper may wait for a transaction that somebody has forgotten. */
    poly_txn_expire(instance, INT64_MAX);
    join(&helper);
    return NULL;
}

static enum poly_status start_thread(struct poly_instance *instance, struct poly_error *err)
{
    if (pthread_create(&instance->keeper, NULL, keep, instance) != 0)
        return poly_fail(err, POLY_UNAVAILABLE, "cannot start the keeper's thread");
    instance->keeper_runs = true;
    pthread_setname_np(instance->keeper, "poly-keeper");
    return POLY_OK;
}

enum poly_status poly_keeper_start(struct poly_instance *instance, struct poly_error *err)
{
    char path[4096];

    instance->keeper_wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (instance->keeper_wake < 0)
        return poly_fail(err, POLY_UNAVAILABLE, "cannot make an eventfd: %s", strerror(errno));
    if (poly_instance_embedded(instance) == NULL)
        return start_thread(instance, err);
    snprintf(path, sizeof(path), "%s-wal",
             poly_sqlite_path(poly_instance_embedded(instance)->file));
    instance->keeper_watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (instance->keeper_watch >= 0 &&
        inotify_add_watch(instance->keeper_watch, path, IN_MODIFY) < 0) {
        close(instance->keeper_watch);
        instance->keeper_watch = -1;
    }
    return start_thread(instance, err);
}

void poly_keeper_poke(struct poly_instance *instance)
{
    uint64_t one = 1;
    ssize_t written = write(instance->keeper_wake, &one, sizeof(one));

    (void)written; /* a full counter wakes as well */
}

void poly_keeper_stop(struct poly_instance *instance)
{
    if (instance->keeper_runs) {
        poly_keeper_poke(instance);
        pthread_join(instance->keeper, NULL);
    }
    if (instance->keeper_wake >= 0)
        close(instance->keeper_wake);
    if (instance->keeper_watch >= 0)
        close(instance->keeper_watch);
}
