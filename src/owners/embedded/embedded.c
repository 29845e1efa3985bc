/* The owner's table for SQLite: what it says stands in log.c, scan.c and writer.c. */
#include "owners/embedded/embedded.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "core/inside.h"

static const char mark_put[] = "INSERT INTO poly_writing(id, txn, meta) VALUES (1, ?1, ?2)"
                               " ON CONFLICT (id) DO UPDATE SET txn = ?1, meta = ?2";
static const char mark_clear[] = "DELETE FROM poly_writing";

static struct poly_embedded *of(struct poly_owner *owner)
{
    return (struct poly_embedded *)owner;
}

struct poly_embedded *poly_instance_embedded(struct poly_instance *instance)
{
    return instance->owner->driver == &poly_owner_embedded ? of(instance->owner) : NULL;
}

/* --- open and close --- */

static enum poly_status finish_group(void *arg, struct poly_db *db, bool *behind,
                                     struct poly_error *err)
{
    struct poly_instance *instance = arg;
    uint64_t sealed = poly_instance_embedded(instance)->log->chain.sealed;

    return poly_projections_apply(instance, db, sealed, behind, err);
}

static void published(void *arg, uint64_t position, bool committed)
{
    struct poly_instance *instance = arg;

    poly_projections_published(instance, committed);
    if (committed)
        poly_signal_raise(&instance->head, position);
}

static void embedded_close(struct poly_owner *owner)
{
    struct poly_embedded *self = of(owner);

    poly_embedded_unwatch(self);
    poly_writer_close(self->writer);
    poly_log_close(self->log);
    poly_sqlite_close(self->file);
    free(self);
}

static enum poly_status open_all(struct poly_embedded *self, struct poly_error *err)
{
    struct poly_instance *instance = self->base.instance;
    struct poly_writer_hooks hooks = {finish_group, published, instance};
    char path[4096];
    enum poly_status status;

    if ((size_t)snprintf(path, sizeof(path), "%s/polystore.db", instance->data) >= sizeof(path))
        return poly_fail(err, POLY_INVALID, "data folder: its path is too long");
    status = poly_sqlite_open(path, POLY_DB_WRITE, NULL, NULL, &self->file, err);
    if (status == POLY_OK)
        status = poly_log_open(self->file, &self->base, &self->log, err);
    if (status == POLY_OK)
        status = poly_writer_open(self->log, &hooks, &self->writer, err);
    return status == POLY_OK ? poly_embedded_watch(self, err) : status;
}

static enum poly_status embedded_open(struct poly_instance *instance, struct poly_owner **owner,
                                      struct poly_error *err)
{
    struct poly_embedded *self = calloc(1, sizeof(*self));
    enum poly_status status;

    if (self == NULL)
        return poly_no_memory(err);
    self->base.instance = instance;
    self->base.driver = &poly_owner_embedded;
    status = open_all(self, err);
    if (status == POLY_OK)
        *owner = &self->base;
    else
        embedded_close(&self->base);
    return status;
}

static void embedded_stop(struct poly_owner *owner)
{
    poly_embedded_unwatch(of(owner));
    poly_writer_close(of(owner)->writer);
    of(owner)->writer = NULL;
}

/* --- reading and writing --- */

static struct poly_db *embedded_take(struct poly_owner *owner, struct poly_error *err)
{
    return poly_sqlite_take(of(owner)->file, err);
}

static void embedded_give(struct poly_owner *owner, struct poly_db *db)
{
    (void)poly_sqlite_give(of(owner)->file, db);
}

static struct poly_db *embedded_read(struct poly_owner *owner, const struct poly_reading *reading,
                                     struct poly_freshness *freshness, struct poly_error *err)
{
    /* Before the snapshot, which must not be older than what is said of it. */
    freshness->applied = atomic_load(&owner->durable);
    return poly_sqlite_snapshot(of(owner)->file, reading->snapshot, err);
}

static void embedded_read_end(struct poly_owner *owner, struct poly_db *db, bool snapshot)
{
    struct poly_instance *instance = owner->instance;

    (void)snapshot; /* a reader may keep it */
    if (poly_sqlite_give(of(owner)->file, db) &&
        !atomic_load_explicit(&of(owner)->snapshots, memory_order_relaxed) &&
        !atomic_exchange(&of(owner)->snapshots, true))
        poly_keeper_poke(instance);
}

static bool embedded_reached(struct poly_owner *owner, uint64_t position)
{
    return position <= atomic_load(&owner->durable);
}

static enum poly_status embedded_run(struct poly_owner *owner, struct poly_request *request,
                                     struct poly_error *err)
{
    return poly_writer_run(of(owner)->writer, request->run, request->arg, request->single, err);
}

static enum poly_status embedded_try_run(struct poly_owner *owner, struct poly_request *request,
                                         bool *tried, struct poly_error *err)
{
    return poly_writer_try(of(owner)->writer, request->run, request->arg, request->single, tried,
                           err);
}

static enum poly_status embedded_submit(struct poly_owner *owner, struct poly_request *request,
                                        struct poly_error *err)
{
    return poly_writer_submit(of(owner)->writer, request, err);
}

static enum poly_status embedded_hold(struct poly_owner *owner, int64_t deadline,
                                      uint32_t duration_ms, struct poly_db **db,
                                      struct poly_error *err)
{
    (void)duration_ms; /* the keeper interrupts it */
    *db = poly_sqlite_writer(of(owner)->file);
    return poly_writer_hold(of(owner)->writer, deadline, err);
}

static enum poly_status embedded_release(struct poly_owner *owner, struct poly_db *db, bool commit,
                                         struct poly_error *err)
{
    (void)db;
    return poly_writer_release(of(owner)->writer, commit, err);
}

static void embedded_kick(struct poly_owner *owner)
{
    poly_writer_kick(of(owner)->writer);
}

/* --- inside a transaction --- */

static struct poly_log *log_of(struct poly_write *write)
{
    return of(write->instance->owner)->log;
}

/* There is one writer. */
static enum poly_status embedded_claim(struct poly_write *write, struct poly_text tenant,
                                       struct poly_text key, struct poly_error *err)
{
    (void)write;
    (void)tenant;
    (void)key;
    (void)err;
    return POLY_OK;
}

static void embedded_began(struct poly_write *write)
{
    write->head = log_of(write)->head;
    write->txn = write->head + 1;
}

static enum poly_status embedded_mark(struct poly_write *write, struct poly_error *err)
{
    struct poly_stmt put;
    enum poly_status status = poly_stmt_open(&put, write->db, mark_put, err);

    if (status != POLY_OK)
        return status;
    poly_stmt_int(&put, 1, (int64_t)write->txn);
    if (write->meta.size > 0)
        poly_stmt_text(&put, 2, write->meta);
    return poly_stmt_done(&put, err);
}

static enum poly_status embedded_unmark(struct poly_write *write, struct poly_error *err)
{
    return poly_db_run(write->db, mark_clear, err);
}

static enum poly_status embedded_wrote(struct poly_write *write, struct poly_error *err)
{
    struct poly_log *log = log_of(write);
    enum poly_status status = write->marked ? poly_log_refresh(log, write->db, err) : POLY_OK;

    if (status == POLY_OK && log->head >= write->txn)
        write->position = log->head;
    if (status == POLY_OK)
        write->head = log->head;
    return status;
}

/* The cache of stream versions may hold what a rollback has taken back. */
static void embedded_undone(struct poly_write *write, bool rewind)
{
    poly_map_clear(log_of(write)->streams);
    if (rewind)
        poly_log_rewind(log_of(write), write->head);
}

/* --- status --- */

static enum poly_status embedded_usable(struct poly_owner *owner, struct poly_error *err)
{
    struct poly_writer_status writer;

    poly_writer_look(of(owner)->writer, &writer);
    if (!writer.failed)
        return POLY_OK;
    return poly_fail(err, POLY_UNAVAILABLE, "the log cannot be written any more (%.200s): restart",
                     writer.error);
}

static uint64_t file_size(const char *path, const char *suffix)
{
    char name[4096];
    struct stat info;

    snprintf(name, sizeof(name), "%s%s", path, suffix);
    return stat(name, &info) == 0 ? (uint64_t)info.st_size : 0;
}

static enum poly_status embedded_report(struct poly_owner *owner, struct poly_arena *arena,
                                        struct poly_status_report *report, struct poly_error *err)
{
    struct poly_writer_status writer;
    char *error;

    poly_writer_look(of(owner)->writer, &writer);
    report->state = writer.failed     ? POLY_STATE_FAILED
                    : writer.refusing ? POLY_STATE_RETRYING
                                      : POLY_STATE_OK;
    report->writes_refused = writer.refusing || writer.failed;
    report->commits = writer.commits;
    report->requests = writer.requests;
    report->writer_held = writer.held;
    report->writer_held_us = writer.held ? poly_clock_monotonic() - writer.held_since : 0;
    report->database_bytes = file_size(poly_sqlite_path(of(owner)->file), "");
    report->wal_bytes = file_size(poly_sqlite_path(of(owner)->file), "-wal");
    error = poly_arena_copy(arena, writer.error, strlen(writer.error));
    if (error == NULL)
        return poly_no_memory(err);
    report->last_error = poly_text(error);
    return POLY_OK;
}

static const struct poly_capability capabilities[] = {
    {"positions-have-gaps", true, "positions follow each other"},
    {"chosen-positions", true, "another program may choose one, also beyond the end of the log"},
    {"transaction-number", true,
     "records of one transaction have the position of its first as `txn`; 0: another program"},
    {"data-that-is-no-json", true,
     "another program can write it, and text that is no UTF-8; what follows stops there, visibly"},
    {"interactive-transactions", true, "one at a time: it holds the writer"},
    {"commit-that-never-waits", true, "where nobody else is writing"},
    {"sealed-after-the-commit", true, "sealed in the transaction that writes"},
    {NULL, false, NULL},
};

const struct poly_owner_driver poly_owner_embedded = {
    .name = "embedded",
    .capabilities = capabilities,
    .open = embedded_open,
    .stop = embedded_stop,
    .close = embedded_close,
    .take = embedded_take,
    .give = embedded_give,
    .read = embedded_read,
    .read_end = embedded_read_end,
    .reached = embedded_reached,
    .run = embedded_run,
    .try_run = embedded_try_run,
    .submit = embedded_submit,
    .hold = embedded_hold,
    .release = embedded_release,
    .kick = embedded_kick,
    .claim = embedded_claim,
    .began = embedded_began,
    .mark = embedded_mark,
    .unmark = embedded_unmark,
    .wrote = embedded_wrote,
    .undone = embedded_undone,
    .scan = poly_log_scan_embedded,
    .records = "SELECT " POLY_LOG_COLUMNS ", salt FROM poly_log"
               " WHERE position BETWEEN ?1 AND ?2 ORDER BY position LIMIT ?3",
    .retained = "SELECT value FROM poly_meta WHERE name = 'retained'",
    .record = poly_log_record,
    .usable = embedded_usable,
    .report = embedded_report,
    .tend = poly_embedded_tend,
};
