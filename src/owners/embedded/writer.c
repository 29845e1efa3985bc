/*
 * Two batches take turns: one fills while the other is written. Each has an
 * epoch that its waiters sleep on (a futex), so that exactly those whose group
 * is done are woken, however many they are.
 *
 * Left alone, two batches would share the clients between them for good: while
 * one half is being written the other half comes back. So a batch stays open
 * while it is run, until as many have come as were just told, and the leader
 * gives the last of them a moment. That is short beside the sync it saves, and
 * is granted less and less often where it was granted in vain.
 *
 * After a sync that failed the kernel may have dropped the pages: nothing is
 * tried again, the writer is failed for good and says so to everyone. A disk
 * that is full is no such case: SQLite rolls back and the next group may do.
 */
#include "owners/embedded/writer.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/wal_vfs.h"

enum {
    FOREIGN_MAX = 20000,     /* records of others that one group takes in */
    CHECKPOINT_PAGES = 4000, /* of the WAL: 16 MiB */
    RESTART_PAGES = 16000,   /* … at which readers are waited for */
    RESTART_NAPS = 60,
    RESTART_NAP_US = 5000,
    BUSY_MS = 5000,         /* as poly_db_open() has it */
    PAUSE_FIRST_US = 50000, /* after a group that failed and that nobody waits for */
    PAUSE_MAX_US = 2000000,
    MOMENT_PART = 4, /* of what a group took: how long its clients may take to come back */
    MOMENT_MAX_US = 1000,
    EXPECTED_MAX = 24, /* more clients fill groups while others are written, without waiting */
    IN_VAIN_MAX = 64 /* groups that begin at once before another try */
};

static const char savepoint[] = "SAVEPOINT poly_request";
static const char release[] = "RELEASE poly_request";
static const char back_to[] = "ROLLBACK TO poly_request; RELEASE poly_request";

struct batch {
    struct poly_request *first, *last;
    unsigned count;
    unsigned taken; /* of them the leader has run, or runs now */
    _Atomic uint32_t epoch;
    _Atomic unsigned sleeping;
    _Atomic bool relay; /* the first who wakes up wakes the others */
};

struct poly_writer {
    struct poly_log *log;
    struct poly_db *db;
    struct poly_writer_hooks hooks;
    pthread_mutex_t lock;
    pthread_cond_t wake; /* the thread's, and those who wait to hold */
    struct batch batch[2];
    int filling;
    bool busy;     /* somebody leads or holds */
    bool kicked;   /* a group is wanted without requests */
    int64_t again; /* monotonic: such a group has failed, and is tried again then; 0: none has */
    int64_t pause;
    bool closing;
    unsigned holders;  /* waiting to hold */
    unsigned expected; /* requests of the last group and those behind it: they may come again */
    unsigned awaited;  /* length of the queue that the leader waits for; 0: it does not */
    unsigned in_vain;  /* after a moment in vain this many groups begin at once */
    unsigned at_once;  /* how many of them are still to come */
    bool granted;      /* this group has had its moment, or gets none */
    int64_t took;      /* microseconds of the last group */
    _Atomic uint32_t complete; /* changes when the queue is as long as awaited */
    int wal_pages;             /* the leader's: length of the WAL after the last commit */
    int restart_at; /* the leader's: so long a WAL is begun anew although there are readers */
    pthread_t thread;
    bool thread_runs;
    struct poly_writer_status status;
};

/* length NULL: until woken. */
static void futex_wait(_Atomic uint32_t *word, uint32_t value, const struct timespec *length)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, length, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int count)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

static void batch_init(struct batch *batch)
{
    batch->first = batch->last = NULL;
    batch->count = batch->taken = 0;
}

/* --- one group --- */

static void note_error(struct poly_writer *writer, enum poly_status status,
                       const struct poly_error *err, bool failed)
{
    pthread_mutex_lock(&writer->lock);
    if (!writer->status.failed)
        snprintf(writer->status.error, sizeof(writer->status.error), "%s: %.200s",
                 poly_status_name(status), err->message);
    writer->status.failed |= failed;
    pthread_mutex_unlock(&writer->lock);
}

/* With the lock: how a write went. Its own mistakes say nothing of the next one. */
static void note_refusal(struct poly_writer *writer, enum poly_status status)
{
    if (status == POLY_OK)
        writer->status.refusing = false;
    else if (status == POLY_UNAVAILABLE)
        writer->status.refusing = true;
}

static bool transaction_lost(struct poly_writer *writer)
{
    return !poly_db_in_transaction(writer->db);
}

/* The transaction is gone, by us or by SQLite itself: everything back to what is on disk. */
static void roll_back(struct poly_writer *writer)
{
    struct poly_error err;
    enum poly_status status;

    poly_wal_vfs_discard(poly_db_handle(writer->db));
    poly_db_roll_back(writer->db);
    if (sqlite3_get_autocommit(poly_db_handle(writer->db))) {
        status = poly_log_reload(writer->log, writer->db, &err);
    } else { /* begin() tries again */
        writer->log->stale = true;
        status = poly_no_memory(&err);
    }
    if (status != POLY_OK)
        note_error(writer, status, &err, status == POLY_CORRUPT);
    writer->hooks.published(writer->hooks.arg, 0, false);
}

static enum poly_status run_sql(struct poly_db *db, const char *sql, struct poly_error *err)
{
    sqlite3_stmt *statement = poly_db_prepare(db, sql, err);

    return statement == NULL ? err->status : poly_db_done(db, statement, err);
}

static enum poly_status run_one(struct poly_writer *writer, struct poly_request *request,
                                struct poly_error *err)
{
    uint64_t head = writer->log->head;
    struct poly_error ignored;
    enum poly_status status = request->single ? POLY_OK : run_sql(writer->db, savepoint, err);

    if (status != POLY_OK)
        return status;
    status = request->run(writer->db, request->arg, err);
    if (sqlite3_get_autocommit(poly_db_handle(writer->db)))
        return status == POLY_OK
                   ? poly_fail(err, POLY_INTERNAL, "a request has ended the transaction")
                   : status;
    if (status != POLY_OK) {
        poly_log_rewind(writer->log, head);
        if (!request->single)
            (void)poly_db_back_to(writer->db, back_to);
    } else if (!request->single) { /* one that stays open ends with the transaction */
        (void)run_sql(writer->db, release, &ignored);
    }
    return status;
}

/* Seal, co-located projections, commit. */
static enum poly_status finish(struct poly_writer *writer, struct poly_error *err)
{
    const struct poly_chain_seal seal = {.instance = writer->log->owner->instance,
                                         .db = writer->db,
                                         .head = writer->log->head,
                                         .max = FOREIGN_MAX};
    bool behind = false;
    enum poly_status status = poly_chain_seal(&writer->log->chain, &seal, err);
    sqlite3_stmt *commit;

    if (status == POLY_OK)
        status = writer->hooks.finish(writer->hooks.arg, writer->db, &behind, err);
    if (status != POLY_OK)
        return status;
    commit = poly_db_prepare(writer->db, "COMMIT", err);
    if (commit == NULL)
        return err->status;
    status = poly_db_done(writer->db, commit, err);
    if (status != POLY_OK) {
        int code = sqlite3_extended_errcode(poly_db_handle(writer->db));

        if (poly_db_broken(code))
            note_error(writer, status, err, true);
        return status;
    }
    atomic_store(&writer->log->owner->durable, writer->log->head);
    if (behind || writer->log->chain.sealed < writer->log->head) {
        pthread_mutex_lock(&writer->lock);
        writer->kicked = true;
        pthread_mutex_unlock(&writer->lock);
    }
    return POLY_OK;
}

static enum poly_status begin(struct poly_writer *writer, struct poly_error *err)
{
    sqlite3_stmt *begin = poly_db_prepare(writer->db, "BEGIN IMMEDIATE", err);
    enum poly_status status;

    if (writer->status.failed)
        return poly_fail(err, POLY_UNAVAILABLE, "the log cannot be written any more (%s): restart",
                         writer->status.error);
    if (begin == NULL)
        return err->status;
    if (!sqlite3_get_autocommit(poly_db_handle(writer->db))) { /* no memory to roll the last back */
        poly_wal_vfs_discard(poly_db_handle(writer->db));
        poly_db_roll_back(writer->db);
        if (!sqlite3_get_autocommit(poly_db_handle(writer->db)))
            return poly_no_memory(err);
    }
    status = poly_db_done(writer->db, begin, err);
    if (status == POLY_OK)
        status = poly_log_begin(writer->log, writer->db, err);
    return status;
}

static void fail_all(struct batch *batch, enum poly_status status, const struct poly_error *err)
{
    for (struct poly_request *r = batch->first; r != NULL; r = r->next) {
        if (r->status == POLY_OK) {
            r->status = status;
            r->error = *err;
        }
    }
}

/* With the lock: until all who are expected have come, or for a moment. */
static void grant_moment(struct poly_writer *writer, const struct batch *batch)
{
    int64_t moment = writer->took / MOMENT_PART;
    struct timespec length = {.tv_nsec = (moment < MOMENT_MAX_US ? moment : MOMENT_MAX_US) * 1000};
    uint32_t word = atomic_load(&writer->complete);

    if (writer->at_once > 0) {
        writer->at_once--;
        return;
    }
    writer->awaited = writer->expected;
    pthread_mutex_unlock(&writer->lock);
    futex_wait(&writer->complete, word, &length);
    pthread_mutex_lock(&writer->lock);
    writer->awaited = 0;
    if (batch->count >= writer->expected)
        writer->in_vain = 0;
    else if (writer->in_vain < IN_VAIN_MAX)
        writer->in_vain = 2 * writer->in_vain + 1;
    writer->at_once = writer->in_vain;
}

/* From here on requests queue in the other batch. */
static void close_batch(struct poly_writer *writer, const struct batch *batch)
{
    if (&writer->batch[writer->filling] != batch)
        return;
    writer->filling = !writer->filling;
    poly_assert(writer->batch[writer->filling].first == NULL);
}

/* Takes what has queued since the last time; *last of this batch is the last that is to be run.
 * false: it was nothing, or it is the end of the batch, which is closed. */
static bool take(struct poly_writer *writer, struct batch *batch, struct poly_request **last)
{
    bool open;

    pthread_mutex_lock(&writer->lock);
    if (batch->count == batch->taken && batch->count > 0 && batch->count < writer->expected &&
        !writer->granted && writer->holders == 0) {
        writer->granted = true;
        grant_moment(writer, batch);
    }
    open = batch->count > batch->taken && batch->count < writer->expected;
    if (!open)
        close_batch(writer, batch);
    batch->taken = batch->count;
    *last = batch->last;
    pthread_mutex_unlock(&writer->lock);
    return open;
}

/* Runs every request; those that fail alone are marked, the others go on. */
static enum poly_status run_all(struct poly_writer *writer, struct batch *batch,
                                struct poly_error *err)
{
    struct poly_request *done = NULL, *last;
    bool open;

    do {
        open = take(writer, batch, &last);
        while (done != last) {
            struct poly_request *r = done == NULL ? batch->first : done->next;

            r->status = run_one(writer, r, &r->error);
            if (transaction_lost(writer)) {
                *err = r->error;
                return poly_log_temporary(r->status)
                           ? r->status
                           : poly_fail(err, POLY_UNAVAILABLE,
                                       "another request made the database roll back; try again");
            }
            done = r;
        }
    } while (open);
    return POLY_OK;
}

static void complete(struct batch *batch)
{
    struct poly_request *next;

    for (struct poly_request *r = batch->first; r != NULL; r = next) {
        next = r->next; /* done may free it */
        if (r->done != NULL)
            r->done(r->arg, r->status, &r->error);
    }
}

static int committed_pages(void *arg, sqlite3 *db, const char *name, int pages)
{
    struct poly_writer *writer = arg;

    (void)db;
    (void)name;
    writer->wal_pages = pages;
    return SQLITE_OK;
}

/* Nobody commits meanwhile, so a snapshot that is kept would be read again and again. */
static int wait_for_readers(void *arg, int times)
{
    struct poly_writer *writer = arg;

    if (times >= RESTART_NAPS)
        return 0;
    poly_sqlite_settle(writer->log->file);
    usleep(RESTART_NAP_US);
    return 1;
}

/*
 * The WAL's pages into the database, after the waiters have been told. Ours, and not SQLite's
 * automatic one, because that one hides a failed sync: the next one might succeed over pages that
 * the kernel has dropped, and the WAL would then be overwritten.
 */
static void checkpoint(struct poly_writer *writer)
{
    sqlite3 *handle = poly_db_handle(writer->db);
    struct poly_error err;
    int code, pages = 0;

    poly_sqlite_settle(writer->log->file);
    code = sqlite3_wal_checkpoint_v2(handle, NULL, SQLITE_CHECKPOINT_PASSIVE, &pages, NULL);
    /* SQLite begins a WAL anew when nobody reads from it. Where readers overlap there is always
     * one: those who come now find all in the database, and the others are waited for. */
    if (code == SQLITE_OK && pages >= writer->restart_at) {
        poly_sqlite_settle(writer->log->file);
        sqlite3_busy_handler(handle, wait_for_readers, writer);
        code = sqlite3_wal_checkpoint_v2(handle, NULL, SQLITE_CHECKPOINT_RESTART, NULL, NULL);
        sqlite3_busy_timeout(handle, BUSY_MS);
        writer->restart_at = code == SQLITE_OK ? RESTART_PAGES : pages + RESTART_PAGES / 2;
    }
    writer->wal_pages = 0;
    if (code == SQLITE_OK || code == SQLITE_BUSY)
        return;
    poly_db_fail(writer->db, code, "checkpoint", &err);
    note_error(writer, err.status, &err, poly_db_broken(code));
}

/* One group, without the lock. begun: its transaction is open. POLY_OK: it was committed. */
static enum poly_status lead(struct poly_writer *writer, struct batch *batch, bool begun)
{
    struct poly_error err = {.position = -1};
    enum poly_status status = begun ? POLY_OK : begin(writer, &err);

    if (status == POLY_OK)
        status = run_all(writer, batch, &err);
    if (status == POLY_OK)
        status = finish(writer, &err);
    if (status != POLY_OK) {
        note_error(writer, status, &err, false);
        pthread_mutex_lock(&writer->lock);
        close_batch(writer, batch);
        pthread_mutex_unlock(&writer->lock);
        fail_all(batch, status, &err);
        roll_back(writer);
    } else {
        writer->hooks.published(writer->hooks.arg, writer->log->head, true);
    }
    complete(batch);
    return status;
}

/* With the lock. A group that was wanted without requests has nobody who would ask again: a full
 * disk or another program's lock must not make us forget it. */
static void try_again(struct poly_writer *writer)
{
    if (writer->status.failed)
        return;
    writer->pause = writer->pause == 0 ? PAUSE_FIRST_US : writer->pause * 2;
    if (writer->pause > PAUSE_MAX_US)
        writer->pause = PAUSE_MAX_US;
    writer->again = poly_clock_monotonic() + writer->pause;
}

/*
 * Called with the lock; leads one group; returns with the lock. brief: the batch is closed, its
 * transaction begun, and whoever leads has other things to do: it waits for nobody, and leaves
 * what else is wanted, and a checkpoint, to the writer's thread.
 */
static void lead_one(struct poly_writer *writer, struct batch *batch, bool brief)
{
    bool owed = !brief && (writer->kicked || writer->again != 0);
    int64_t start = poly_clock_monotonic();
    enum poly_status status;

    writer->kicked &= brief;
    writer->granted = brief;
    pthread_mutex_unlock(&writer->lock);
    status = lead(writer, batch, brief);
    pthread_mutex_lock(&writer->lock);
    writer->status.commits += status == POLY_OK;
    writer->status.requests += batch->count;
    writer->expected = batch->count + writer->batch[writer->filling].count;
    if (status != POLY_OK || writer->expected > EXPECTED_MAX)
        writer->expected = 0;
    writer->took = poly_clock_monotonic() - start;
    if (batch->count > 0)
        note_refusal(writer, status);
    if (status == POLY_OK)
        writer->again = writer->pause = 0;
    else if (owed)
        try_again(writer);
    batch_init(batch);
    atomic_fetch_add(&batch->epoch, 1);
    if (atomic_load(&batch->sleeping) > 0) {
        atomic_store(&batch->relay, true);
        futex_wake(&batch->epoch, 1);
    }
    if (writer->wal_pages >= CHECKPOINT_PAGES && brief) {
        writer->kicked = true;
    } else if (writer->wal_pages >= CHECKPOINT_PAGES) {
        pthread_mutex_unlock(&writer->lock);
        checkpoint(writer);
        pthread_mutex_lock(&writer->lock);
    }
}

static bool wanted(const struct poly_writer *writer)
{
    return writer->batch[writer->filling].first != NULL || writer->kicked;
}

/* Called with the lock by whoever has finished leading or holding. */
static void step_down(struct poly_writer *writer)
{
    writer->busy = false;
    if (wanted(writer) || writer->again != 0 || writer->holders > 0)
        pthread_cond_broadcast(&writer->wake);
}

/* Closing, and nobody waits: what a projection still has to do can be done after the next start. */
static bool finished(const struct poly_writer *writer)
{
    return writer->closing && writer->batch[writer->filling].first == NULL;
}

/* With the lock: until there may be something to do. */
static void idle(struct poly_writer *writer)
{
    struct timespec until = {writer->again / 1000000, writer->again % 1000000 * 1000};

    if (writer->again == 0) {
        pthread_cond_wait(&writer->wake, &writer->lock);
    } else if (pthread_cond_timedwait(&writer->wake, &writer->lock, &until) == ETIMEDOUT &&
               writer->again != 0) {
        writer->again = 0;
        writer->kicked = true;
    }
}

static void *thread_main(void *arg)
{
    struct poly_writer *writer = arg;

    pthread_mutex_lock(&writer->lock);
    for (;;) {
        while (!writer->busy && wanted(writer) && !finished(writer)) {
            writer->busy = true;
            lead_one(writer, &writer->batch[writer->filling], false);
            writer->busy = false;
            if (writer->holders > 0) {
                pthread_cond_broadcast(&writer->wake);
                break;
            }
        }
        if (finished(writer) && !writer->busy)
            break;
        idle(writer);
    }
    pthread_mutex_unlock(&writer->lock);
    return NULL;
}

/* --- open and close --- */

enum poly_status poly_writer_open(struct poly_log *log, const struct poly_writer_hooks *hooks,
                                  struct poly_writer **writer, struct poly_error *err)
{
    struct poly_writer *self = calloc(1, sizeof(*self));
    pthread_condattr_t attributes;

    if (self == NULL)
        return poly_no_memory(err);
    self->log = log;
    self->db = poly_sqlite_writer(log->file);
    self->hooks = *hooks;
    self->restart_at = RESTART_PAGES;
    sqlite3_wal_hook(poly_db_handle(self->db), committed_pages, self);
    batch_init(&self->batch[0]);
    batch_init(&self->batch[1]);
    pthread_mutex_init(&self->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&self->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    if (pthread_create(&self->thread, NULL, thread_main, self) != 0) {
        poly_writer_close(self);
        return poly_fail(err, POLY_UNAVAILABLE, "cannot start the writer's thread");
    }
    self->thread_runs = true;
    pthread_setname_np(self->thread, "poly-writer");
    *writer = self;
    return POLY_OK;
}

void poly_writer_close(struct poly_writer *writer)
{
    if (writer == NULL)
        return;
    if (writer->thread_runs) {
        pthread_mutex_lock(&writer->lock);
        writer->closing = true;
        pthread_cond_broadcast(&writer->wake);
        pthread_mutex_unlock(&writer->lock);
        pthread_join(writer->thread, NULL);
    }
    pthread_cond_destroy(&writer->wake);
    pthread_mutex_destroy(&writer->lock);
    free(writer);
}

/* --- requests --- */

static void put(struct batch *batch, struct poly_request *request)
{
    request->next = NULL;
    request->status = POLY_OK;
    if (batch->last == NULL)
        batch->first = request;
    else
        batch->last->next = request;
    batch->last = request;
    batch->count++;
}

/* With the lock. NULL: refused, err filled. */
static struct batch *enqueue(struct poly_writer *writer, struct poly_request *request,
                             struct poly_error *err)
{
    struct batch *batch = &writer->batch[writer->filling];

    if (writer->status.failed) {
        poly_fail(err, POLY_UNAVAILABLE, "the log cannot be written any more (%s): restart",
                  writer->status.error);
        return NULL;
    }
    if (batch->count - batch->taken >= POLY_MAX_QUEUE) {
        poly_fail(err, POLY_LIMIT, "%d transactions are waiting for the writer; try again",
                  POLY_MAX_QUEUE);
        return NULL;
    }
    put(batch, request);
    if (batch->count == writer->awaited) {
        atomic_fetch_add(&writer->complete, 1);
        futex_wake(&writer->complete, 1);
    }
    return batch;
}

static void await(struct poly_writer *writer, struct batch *batch, uint32_t epoch)
{
    atomic_fetch_add(&batch->sleeping, 1);
    pthread_mutex_unlock(&writer->lock);
    while (atomic_load(&batch->epoch) == epoch)
        futex_wait(&batch->epoch, epoch, NULL);
    atomic_fetch_sub(&batch->sleeping, 1);
    /* Waking many takes long; the writer has better things to do. */
    if (atomic_exchange(&batch->relay, false))
        futex_wake(&batch->epoch, INT_MAX);
}

static enum poly_status answer(const struct poly_request *request, struct poly_error *err)
{
    if (request->status != POLY_OK)
        *err = request->error;
    return request->status;
}

enum poly_status poly_writer_run(struct poly_writer *writer, poly_write_fn *run, void *arg,
                                 bool single, struct poly_error *err)
{
    struct poly_request request = {.run = run, .arg = arg, .single = single};
    struct batch *batch;

    pthread_mutex_lock(&writer->lock);
    batch = enqueue(writer, &request, err);
    if (batch == NULL) {
        pthread_mutex_unlock(&writer->lock);
        return err->status;
    }
    if (!writer->busy && writer->holders == 0) {
        writer->busy = true;
        lead_one(writer, batch, false);
        step_down(writer);
        pthread_mutex_unlock(&writer->lock);
    } else {
        await(writer, batch, atomic_load(&batch->epoch));
    }
    return answer(&request, err);
}

/* --- a request of a caller who must not wait --- */

/* False: another program holds the database's lock, or has left work for a group: more than the
 * caller's own would have to be done. What does not work says so to a group that may wait. */
static bool begin_at_once(struct poly_writer *writer)
{
    sqlite3 *handle = poly_db_handle(writer->db);
    struct poly_error ignored;
    enum poly_status status;

    sqlite3_busy_timeout(handle, 0);
    status = begin(writer, &ignored);
    sqlite3_busy_timeout(handle, BUSY_MS);
    if (status == POLY_OK && writer->log->chain.sealed == writer->log->head)
        return true;
    if (!sqlite3_get_autocommit(handle))
        roll_back(writer);
    return false;
}

/* Its group is closed before it begins: it takes in nobody, and what queues meanwhile is the
 * writer's thread's. */
enum poly_status poly_writer_try(struct poly_writer *writer, poly_write_fn *run, void *arg,
                                 bool single, bool *tried, struct poly_error *err)
{
    struct poly_request request = {.run = run, .arg = arg, .single = single};
    struct batch *batch;

    pthread_mutex_lock(&writer->lock);
    *tried = !writer->busy && writer->holders == 0 && !wanted(writer) && writer->again == 0;
    if (*tried) {
        batch = &writer->batch[writer->filling];
        writer->busy = true;
        close_batch(writer, batch);
        pthread_mutex_unlock(&writer->lock);
        *tried = begin_at_once(writer);
        pthread_mutex_lock(&writer->lock);
        if (*tried) {
            put(batch, &request);
            lead_one(writer, batch, true);
        }
        step_down(writer);
    }
    pthread_mutex_unlock(&writer->lock);
    return answer(&request, err);
}

enum poly_status poly_writer_submit(struct poly_writer *writer, struct poly_request *request,
                                    struct poly_error *err)
{
    struct batch *batch;

    pthread_mutex_lock(&writer->lock);
    batch = enqueue(writer, request, err);
    if (batch != NULL && !writer->busy)
        pthread_cond_broadcast(&writer->wake);
    pthread_mutex_unlock(&writer->lock);
    return batch == NULL ? err->status : POLY_OK;
}

void poly_writer_kick(struct poly_writer *writer)
{
    pthread_mutex_lock(&writer->lock);
    writer->kicked = true;
    if (!writer->busy)
        pthread_cond_broadcast(&writer->wake);
    pthread_mutex_unlock(&writer->lock);
}

/* --- holding --- */

static bool wait_idle(struct poly_writer *writer, int64_t deadline)
{
    struct timespec until = {deadline / 1000000, deadline % 1000000 * 1000};
    int code = 0;

    writer->holders++;
    while (writer->busy && code != ETIMEDOUT)
        code = pthread_cond_timedwait(&writer->wake, &writer->lock, &until);
    writer->holders--;
    return !writer->busy;
}

enum poly_status poly_writer_hold(struct poly_writer *writer, int64_t deadline,
                                  struct poly_error *err)
{
    enum poly_status status;

    pthread_mutex_lock(&writer->lock);
    if (!wait_idle(writer, deadline)) {
        pthread_cond_broadcast(&writer->wake);
        pthread_mutex_unlock(&writer->lock);
        return poly_fail(err, POLY_TIMEOUT, "another transaction holds the writer");
    }
    writer->busy = true;
    writer->status.held = true;
    writer->status.held_since = poly_clock_monotonic();
    pthread_mutex_unlock(&writer->lock);

    status = begin(writer, err);
    if (status != POLY_OK) {
        struct poly_error ignored;

        (void)poly_writer_release(writer, false, &ignored);
    }
    return status;
}

enum poly_status poly_writer_release(struct poly_writer *writer, bool commit,
                                     struct poly_error *err)
{
    enum poly_status status = POLY_OK;
    bool lost = transaction_lost(writer);

    if (commit && lost)
        status = poly_fail(err, POLY_UNAVAILABLE, "the transaction was rolled back");
    else if (commit)
        status = finish(writer, err);
    if (commit && status == POLY_OK) {
        writer->hooks.published(writer->hooks.arg, writer->log->head, true);
        if (writer->wal_pages >= CHECKPOINT_PAGES)
            checkpoint(writer);
    } else {
        if (status != POLY_OK)
            note_error(writer, status, err, false);
        roll_back(writer);
    }
    pthread_mutex_lock(&writer->lock);
    writer->status.held = false;
    writer->status.commits += commit && status == POLY_OK;
    if (commit && !lost)
        note_refusal(writer, status);
    writer->status.requests++;
    step_down(writer);
    pthread_mutex_unlock(&writer->lock);
    return status;
}

void poly_writer_look(struct poly_writer *writer, struct poly_writer_status *status)
{
    pthread_mutex_lock(&writer->lock);
    *status = writer->status;
    pthread_mutex_unlock(&writer->lock);
}
