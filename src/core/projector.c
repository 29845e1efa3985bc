/*
 * One way to move for all: collect a batch beyond the applied position, give
 * it to the driver, remember the position that the driver has made durable
 * with it. A co-located projection does so on the writer, inside the group's
 * transaction; a follower on a thread of its own.
 *
 * A rebuild is nothing special: a second generation with position 0 that moves
 * in the same way until it has caught up, and is then swapped in by one row.
 *
 * A record that cannot be applied stops its generation. What fails for a
 * reason that may pass (a full disk, no memory) is tried again with back-off.
 * The driver says which is which.
 */
#include "core/projector.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"

enum {
    GROUP_BATCHES = 40,    /* of the active generation in one group commit */
    POSITION_LAG = 4096,   /* of a position that moves without effect */
    BACKOFF_FIRST = 50000, /* microseconds */
    BACKOFF_MAX = 5000000,
    LEAD_EVERY = 500000 /* a leader with nothing to do says that it is there */
};

static const char save[] =
    "INSERT INTO poly_projection(store, generation, previous, building, stopped, position, reason,"
    " time, setup) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
    " ON CONFLICT (store) DO UPDATE SET generation = ?2, previous = ?3, building = ?4,"
    " stopped = ?5, position = ?6, reason = ?7, time = ?8, setup = ?9";
static const char skip_put[] = "INSERT INTO poly_skip(store, position, reason, error, by, time)"
                               " VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (store, position)"
                               " DO UPDATE SET reason = ?3, error = ?4, by = ?5, time = ?6";

enum poly_status poly_projector_save(struct poly_projection *projection, struct poly_db *db,
                                     struct poly_error *err)
{
    const struct poly_progress *work = &projection->work;
    struct poly_stmt put;
    enum poly_status status = poly_stmt_open(&put, db, save, err);

    if (status != POLY_OK)
        return status;
    poly_stmt_text(&put, 1, poly_text(projection->name));
    poly_stmt_int(&put, 2, (int64_t)work->active.number);
    poly_stmt_int(&put, 3, (int64_t)work->previous.number);
    poly_stmt_int(&put, 4, (int64_t)work->building.number);
    poly_stmt_int(&put, 5, work->stopped);
    poly_stmt_int(&put, 6, (int64_t)work->position);
    poly_stmt_text(&put, 7, poly_text(work->error));
    poly_stmt_int(&put, 8, work->error_time);
    poly_stmt_bytes(&put, 9, projection->setup, sizeof(projection->setup));
    return poly_stmt_done(&put, err);
}

/* --- applying --- */

static void remember_error(struct poly_progress *work, uint64_t position,
                           const struct poly_error *err)
{
    work->position = position;
    work->error_time = poly_clock_wall();
    snprintf(work->error, sizeof(work->error), "%.250s", err->message);
}

static bool temporary(enum poly_status status, const struct poly_batch *batch)
{
    return batch->temporary || poly_log_temporary(status);
}

/* On the writer's connection a failed batch must leave nothing behind. A follower has db, which
 * reads the log, for the next batch meanwhile. */
static enum poly_status apply(struct poly_projection *projection, struct poly_db *db,
                              uint64_t number, uint64_t upto, struct poly_batch *batch,
                              struct poly_error *err)
{
    struct poly_error ignored;
    enum poly_status status;

    if (projection->follower) {
        poly_collect_ahead(projection, db, batch, upto);
        status = projection->driver->apply(projection->store, NULL, number, batch, err);
        poly_collect_join(projection, status);
        return status;
    }
    status = poly_db_exec(db, "SAVEPOINT poly_apply", err);
    if (status != POLY_OK)
        return status;
    status = projection->driver->apply(projection->store, db, number, batch, err);
    if (!poly_db_in_transaction(db)) { /* SQLite gave the transaction up */
        batch->temporary = true;
        return status == POLY_OK ? poly_fail(err, POLY_INTERNAL, "the transaction is gone")
                                 : status;
    }
    if (status == POLY_OK)
        (void)poly_db_exec(db, "RELEASE poly_apply", &ignored);
    else if (!poly_db_back_to(db, "ROLLBACK TO poly_apply; RELEASE poly_apply"))
        batch->temporary = true;
    return status;
}

/*
 * One batch into one generation. *failed: position of a record that will never
 * go in (what came before it has gone in). Other failures are returned.
 */
static enum poly_status step(struct poly_projection *projection, struct poly_db *db,
                             struct poly_generation *generation, uint64_t upto, uint64_t *failed,
                             struct poly_error *err)
{
    struct poly_batch batch;
    enum poly_status status = poly_collect(projection, db, generation->applied, upto, &batch, err);

    *failed = 0;
    if (status != POLY_OK && batch.failed != 0) {
        generation->applied = batch.failed - 1;
        *failed = batch.failed;
        return POLY_OK;
    }
    if (status != POLY_OK)
        return status;
    batch.after = generation->stored;
    if (batch.count > 0 || batch.last - generation->stored >= POSITION_LAG) {
        status = apply(projection, db, generation->number, upto, &batch, err);
        if (status == POLY_OK)
            generation->stored = batch.last;
    }
    if (status == POLY_OK) {
        generation->applied = batch.last;
        return POLY_OK;
    }
    if (temporary(status, &batch))
        return status;
    *failed = batch.failed != 0 ? batch.failed
              : batch.count > 0 ? batch.records[0].position
                                : generation->applied + 1;
    if (*failed > generation->applied + 1) {
        struct poly_error reason = *err;
        uint64_t again;

        status = step(projection, db, generation, *failed - 1, &again, err);
        if (status != POLY_OK)
            return status;
        if (again != 0)
            *failed = again;
        else
            *err = reason;
    }
    return POLY_OK;
}

/* Its data is still being read, or lost. */
static bool opens(const struct poly_projection *projection,
                  const struct poly_generation *generation)
{
    return poly_projection_opening(projection, generation->number) != POLY_OPEN;
}

static bool caught_up(const struct poly_projection *projection, uint64_t head)
{
    const struct poly_progress *work = &projection->work;

    return work->building.number != 0 && !work->building_stopped &&
           work->building.applied >= head && !opens(projection, &work->building);
}

static void swap(struct poly_progress *work)
{
    work->previous = work->active;
    work->active = work->building;
    work->building = (struct poly_generation){0};
    work->stopped = false;
    work->position = 0;
}

static bool previous_read(struct poly_projection *projection)
{
    bool read;

    pthread_mutex_lock(&projection->lock);
    read = poly_projector_reads(projection, projection->work.previous.number);
    pthread_mutex_unlock(&projection->lock);
    return read;
}

static enum poly_status check_unread(struct poly_projection *projection, struct poly_error *err)
{
    return projection->work.previous.number == 0 || !previous_read(projection)
               ? POLY_OK
               : poly_fail(err, POLY_UNAVAILABLE,
                           "the generation before is still being read; try again");
}

static enum poly_status drop_previous(struct poly_projection *projection, struct poly_db *db,
                                      struct poly_error *err)
{
    struct poly_progress *work = &projection->work;
    enum poly_status status;

    if (work->previous.number == 0)
        return POLY_OK;
    status = projection->driver->drop(projection->store, projection->follower ? NULL : db,
                                      work->previous.number, err);
    if (status == POLY_OK) {
        work->previous = (struct poly_generation){0};
        work->previous_stopped = false;
    }
    return status;
}

/* Leaves nothing behind: a later one may get its number. What cannot be dropped now is dropped
 * another time. */
static enum poly_status give_up_previous(struct poly_projection *projection, struct poly_db *db,
                                         struct poly_error *err)
{
    struct poly_error ignored;
    enum poly_status status;

    if (!projection->work.previous_stopped || previous_read(projection))
        return POLY_OK;
    if (projection->follower) {
        (void)!drop_previous(projection, NULL, &ignored);
        return POLY_OK;
    }
    status = poly_db_exec(db, "SAVEPOINT poly_drop", err);
    if (status != POLY_OK)
        return status;
    status = drop_previous(projection, db, err);
    if (status == POLY_OK)
        return poly_db_exec(db, "RELEASE poly_drop", err);
    return poly_db_back_to(db, "ROLLBACK TO poly_drop; RELEASE poly_drop") ? POLY_OK : status;
}

/*
 * One batch for each generation that is behind. *moved: there may be more.
 * The previous generation is kept up to date so that it can be swapped back;
 * when it cannot be, it is given up: it is a convenience.
 */
static enum poly_status step_all(struct poly_projection *projection, struct poly_db *db,
                                 uint64_t head, bool *moved, struct poly_error *err)
{
    struct poly_progress *work = &projection->work;
    struct poly_generation *generations[] = {&work->active, &work->previous, &work->building};
    bool *stops[] = {&work->stopped, &work->previous_stopped, &work->building_stopped};

    *moved = false;
    for (size_t i = 0; i < 3; i++) {
        struct poly_generation *generation = generations[i];
        uint64_t failed;
        enum poly_status status;

        if (generation->number == 0 || generation->applied >= head || *stops[i] ||
            opens(projection, generation))
            continue;
        status = step(projection, db, generation, head, &failed, err);
        if (status != POLY_OK)
            return status;
        *moved = true;
        if (failed == 0)
            continue;
        *stops[i] = true;
        if (generation != &work->previous)
            remember_error(work, failed, err);
    }
    return give_up_previous(projection, db, err);
}

/* --- commands: on the writer, in its transaction --- */

/* The new one is made before the other goes: where it cannot be, there still is one to go back
 * to. */
static enum poly_status do_rebuild(struct poly_projection *projection, struct poly_db *db,
                                   struct poly_error *err)
{
    struct poly_progress *work = &projection->work;
    uint64_t number = poly_projection_next(work);
    enum poly_status status;

    work->building_stopped = false;
    if (work->building.number != 0)
        return POLY_OK;
    status = check_unread(projection, err);
    if (status == POLY_OK)
        status = poly_projection_begin(projection, projection->follower ? NULL : db, number, err);
    if (status == POLY_OK)
        status = drop_previous(projection, db, err);
    if (status == POLY_OK)
        work->building = (struct poly_generation){.number = number};
    return status;
}

static enum poly_status do_back(struct poly_projection *projection, struct poly_db *db,
                                struct poly_error *err)
{
    struct poly_progress *work = &projection->work;
    struct poly_generation active = work->active;
    uint64_t stored;
    enum poly_status status;

    if (work->previous.number == 0 || work->previous_stopped)
        return poly_fail(err, POLY_NOT_FOUND, "%s: there is no generation to go back to",
                         projection->driver->store);
    if (opens(projection, &active) || opens(projection, &work->previous))
        return poly_fail(err, POLY_UNAVAILABLE, "%s: the saved index is being read; try again",
                         projection->driver->store);
    if (work->previous.applied < active.applied)
        return poly_fail(err, POLY_CONFLICT, "%s: the generation before is not up to date",
                         projection->driver->store);
    /* A follower drops it in a transaction of its own: it may be gone although we have a row. */
    status = projection->driver->applied(projection->store, projection->follower ? NULL : db,
                                         work->previous.number, &stored, err);
    if (status != POLY_OK)
        return status;
    work->active = work->previous;
    work->previous = active;
    work->stopped = false;
    return POLY_OK;
}

static enum poly_status do_retry(struct poly_projection *projection, struct poly_error *err)
{
    struct poly_progress *work = &projection->work;

    if (!work->stopped && !work->building_stopped)
        return poly_fail(err, POLY_CONFLICT, "%s: the projection has not stopped",
                         projection->driver->store);
    work->stopped = work->building_stopped = false;
    work->position = 0;
    return POLY_OK;
}

static enum poly_status do_skip(struct poly_projection *projection, struct poly_db *db,
                                struct poly_error *err)
{
    struct poly_progress *work = &projection->work;
    uint64_t position = work->position;
    struct poly_stmt put;
    uint64_t *more;
    enum poly_status status = do_retry(projection, err);

    if (status != POLY_OK)
        return status;
    more = realloc(projection->skips, (work->skipped + 1) * sizeof(*more));
    if (more == NULL)
        return poly_no_memory(err);
    projection->skips = more;
    status = poly_stmt_open(&put, db, skip_put, err);
    if (status != POLY_OK)
        return status;
    poly_stmt_text(&put, 1, poly_text(projection->name));
    poly_stmt_int(&put, 2, (int64_t)position);
    poly_stmt_text(&put, 3, poly_text(projection->reason));
    poly_stmt_text(&put, 4, poly_text(work->error));
    poly_stmt_text(&put, 5, poly_text(projection->by));
    poly_stmt_int(&put, 6, poly_clock_wall());
    status = poly_stmt_done(&put, err);
    if (status == POLY_OK)
        projection->skips[work->skipped++] = position;
    return status;
}

static enum poly_status run_command(struct poly_projection *projection, struct poly_db *db,
                                    enum poly_command command, struct poly_error *err)
{
    enum poly_status status = POLY_OK;

    switch (command) {
    case POLY_COMMAND_NONE:
        return POLY_OK;
    case POLY_COMMAND_RETRY:
        status = do_retry(projection, err);
        break;
    case POLY_COMMAND_SKIP:
        status = do_skip(projection, db, err);
        break;
    case POLY_COMMAND_REBUILD:
        status = do_rebuild(projection, db, err);
        break;
    case POLY_COMMAND_BACK:
        status = do_back(projection, db, err);
        break;
    case POLY_COMMAND_REPLACE:
        status = poly_projection_replace(projection, projection->follower ? NULL : db, err);
        break;
    }
    if (status == POLY_OK)
        status = poly_projector_save(projection, db, err);
    return status;
}

enum poly_command poly_projector_take(struct poly_projection *projection)
{
    enum poly_command command;

    pthread_mutex_lock(&projection->lock);
    command = projection->command;
    projection->command = POLY_COMMAND_NONE;
    projection->command_running = command != POLY_COMMAND_NONE;
    pthread_mutex_unlock(&projection->lock);
    return command;
}

void poly_projector_finish(struct poly_projection *projection, enum poly_status status,
                           const struct poly_error *err)
{
    pthread_mutex_lock(&projection->lock);
    projection->command_running = false;
    projection->command_done = true;
    projection->command_status = status;
    projection->command_error = *err;
    pthread_cond_broadcast(&projection->commanded);
    pthread_mutex_unlock(&projection->lock);
}

static enum poly_status nothing(struct poly_db *db, void *arg, struct poly_error *err)
{
    (void)db;
    (void)arg;
    (void)err;
    return POLY_OK;
}

/* A group of the writer takes the command. Where there was none, it is taken back. */
static enum poly_status ask_writer(struct poly_projection *projection, struct poly_error *err)
{
    enum poly_status status = poly_owner_run(projection->instance, nothing, NULL, true, err);

    if (status == POLY_OK)
        return POLY_OK;
    pthread_mutex_lock(&projection->lock);
    if (projection->command == POLY_COMMAND_NONE)
        status = POLY_OK; /* it was taken, and is answered */
    projection->command = POLY_COMMAND_NONE;
    pthread_cond_broadcast(&projection->commanded);
    pthread_mutex_unlock(&projection->lock);
    return status;
}

enum poly_status poly_projector_command(struct poly_projection *projection,
                                        enum poly_command command, const char *reason,
                                        const char *by, struct poly_error *err)
{
    enum poly_status status = POLY_OK;

    pthread_mutex_lock(&projection->lock);
    while (projection->command != POLY_COMMAND_NONE || projection->command_running ||
           projection->command_done)
        pthread_cond_wait(&projection->commanded, &projection->lock);
    projection->command = command;
    projection->reason = reason;
    projection->by = by;
    pthread_mutex_unlock(&projection->lock);
    if (projection->follower)
        poly_signal_poke(&projection->instance->head);
    else
        status = ask_writer(projection, err);
    if (status != POLY_OK)
        return status;
    pthread_mutex_lock(&projection->lock);
    while (!projection->command_done)
        pthread_cond_wait(&projection->commanded, &projection->lock);
    projection->command_done = false;
    status = projection->command_status;
    if (status != POLY_OK)
        *err = projection->command_error;
    pthread_cond_broadcast(&projection->commanded);
    pthread_mutex_unlock(&projection->lock);
    return status;
}

/* --- co-located: on the writer --- */

bool poly_projector_worse(const struct poly_progress *before, const struct poly_progress *after)
{
    return before->stopped != after->stopped || before->active.number != after->active.number ||
           before->previous.number != after->previous.number ||
           before->building.number != after->building.number ||
           before->building_stopped != after->building_stopped;
}

/* A command that fails is undone alone, and does not take the group with it. *failed: how it
 * ended. */
static enum poly_status run_alone(struct poly_projection *projection, struct poly_db *db,
                                  enum poly_command command, struct poly_error *failed,
                                  struct poly_error *err)
{
    struct poly_progress before = projection->work;
    enum poly_status status = poly_db_exec(db, "SAVEPOINT poly_command", err);

    *failed = (struct poly_error){.position = -1};
    if (status != POLY_OK)
        return status;
    failed->status = run_command(projection, db, command, failed);
    if (failed->status == POLY_OK)
        return poly_db_exec(db, "RELEASE poly_command", err);
    projection->work = before;
    if (projection->driver->settle != NULL) /* nothing was applied yet in this transaction */
        projection->driver->settle(projection->store, false);
    if (poly_db_back_to(db, "ROLLBACK TO poly_command; RELEASE poly_command"))
        return POLY_OK;
    *err = *failed;
    return failed->status;
}

static enum poly_status group_command(struct poly_projection *projection, struct poly_db *db,
                                      struct poly_error *err)
{
    enum poly_command command = poly_projector_take(projection);
    enum poly_status status;

    if (command == POLY_COMMAND_NONE)
        return POLY_OK;
    status = run_alone(projection, db, command, &projection->command_error, err);
    projection->command_status = projection->command_error.status;
    return status;
}

/* What cannot be replaced now is tried again when the store says so. */
static enum poly_status group_replace(struct poly_projection *projection, struct poly_db *db,
                                      struct poly_error *err)
{
    struct poly_error failed;
    enum poly_status status;

    if (!poly_projection_has_lost(projection))
        return POLY_OK;
    status = run_alone(projection, db, POLY_COMMAND_REPLACE, &failed, err);
    if (status == POLY_OK && failed.status != POLY_OK)
        remember_error(&projection->work, 0, &failed);
    return status;
}

/* Is there something that this group has not got to? What was read last of all at the start catches
 * up last, too, and nobody may write any more. */
static bool is_behind(const struct poly_projection *projection, uint64_t sealed)
{
    const struct poly_progress *work = &projection->work;

    if (work->building.number != 0 && !work->building_stopped &&
        !opens(projection, &work->building))
        return true;
    if (work->previous.number != 0 && !work->previous_stopped && work->previous.applied < sealed &&
        !opens(projection, &work->previous))
        return true;
    return work->active.number != 0 && !work->stopped && work->active.applied < sealed &&
           !opens(projection, &work->active);
}

enum poly_status poly_projector_group(struct poly_projection *projection, struct poly_db *db,
                                      uint64_t sealed, bool *behind, struct poly_error *err)
{
    struct poly_progress before = projection->work;
    bool moved = true;
    enum poly_status status;

    if (projection->driver->models && poly_models_pending(projection->instance)) {
        *behind = true;
        return POLY_OK;
    }
    status = group_command(projection, db, err);
    if (projection->command_running) /* to undo what fails is to undo all that was dropped */
        *behind |= poly_projection_has_lost(projection);
    else if (status == POLY_OK)
        status = group_replace(projection, db, err);

    for (int i = 0; status == POLY_OK && moved && i < GROUP_BATCHES; i++) {
        status = step_all(projection, db, sealed, &moved, err);
        /* Building shares the groups with the writers: a bite at a time. */
        if (projection->work.active.applied >= sealed || projection->work.active.number == 0 ||
            opens(projection, &projection->work.active))
            break;
    }
    if (status == POLY_OK && caught_up(projection, sealed))
        swap(&projection->work);
    if (status == POLY_OK && poly_projector_worse(&before, &projection->work))
        status = poly_projector_save(projection, db, err);
    *behind |= is_behind(projection, sealed);
    return status;
}

void poly_projector_publish(struct poly_projection *projection, bool committed)
{
    static const struct poly_error lost = {.status = POLY_UNAVAILABLE,
                                           .position = -1,
                                           .message = "the transaction was rolled back; try again"};
    bool command, another;

    if (projection->driver->settle != NULL)
        projection->driver->settle(projection->store, committed);
    if (committed) /* before one that begins to serve can be asked */
        poly_projection_ask_for_rest(projection);
    pthread_mutex_lock(&projection->lock);
    another = committed && projection->live.active.number != projection->work.active.number;
    if (committed) {
        projection->live = projection->work;
        projection->checked = poly_clock_wall();
    } else {
        projection->work = projection->live;
    }
    command = projection->command_running;
    pthread_mutex_unlock(&projection->lock);
    if (command && committed)
        poly_projector_finish(projection, projection->command_status, &projection->command_error);
    else if (command)
        poly_projector_finish(projection, POLY_UNAVAILABLE, &lost);
    poly_signal_raise(&projection->applied, projection->work.active.applied);
    if (command || another || projection->work.stopped)
        poly_signal_poke(&projection->applied);
}

/* --- following: a thread --- */

static enum poly_status save_now(struct poly_db *db, void *arg, struct poly_error *err)
{
    return poly_projector_save(arg, db, err);
}

struct follower_command {
    struct poly_projection *projection;
    enum poly_command command;
};

static enum poly_status command_now(struct poly_db *db, void *arg, struct poly_error *err)
{
    struct follower_command *command = arg;

    return run_command(command->projection, db, command->command, err);
}

static void follow_command(struct poly_projection *projection)
{
    struct poly_progress before = projection->work;
    struct follower_command command = {projection, poly_projector_take(projection)};
    struct poly_error err = {.position = -1};
    enum poly_status status;

    if (command.command == POLY_COMMAND_NONE)
        return;
    poly_collect_forget(projection);
    status = poly_owner_run(projection->instance, command_now, &command, false, &err);
    if (status != POLY_OK)
        projection->work = before;
    pthread_mutex_lock(&projection->lock);
    projection->live = projection->work;
    pthread_mutex_unlock(&projection->lock);
    poly_projector_finish(projection, status, &err);
    poly_signal_poke(&projection->applied);
}

static enum poly_status follow_replace(struct poly_projection *projection, struct poly_error *err)
{
    struct poly_progress before = projection->work;
    struct follower_command command = {projection, POLY_COMMAND_REPLACE};
    enum poly_status status;

    if (!poly_projection_has_lost(projection))
        return POLY_OK;
    poly_collect_forget(projection);
    status = poly_owner_run(projection->instance, command_now, &command, false, err);
    if (status != POLY_OK)
        projection->work = before;
    return status;
}

static enum poly_status follow_step(struct poly_projection *projection, uint64_t head, bool *moved,
                                    struct poly_error *err)
{
    struct poly_owner *owner = projection->instance->owner;
    struct poly_progress before = projection->work;
    struct poly_db *reader = owner->driver->take(owner, err);
    enum poly_status status;

    *moved = false;
    if (reader == NULL)
        return err->status;
    poly_collect_turn(projection);
    status = step_all(projection, reader, head, moved, err);
    owner->driver->give(owner, reader);
    if (status == POLY_OK && caught_up(projection, head) &&
        (projection->work.stopped || projection->work.active.applied >= head ||
         projection->work.active.number == 0 || opens(projection, &projection->work.active)))
        swap(&projection->work);
    if (status == POLY_OK && poly_projector_worse(&before, &projection->work)) {
        status = poly_owner_run(projection->instance, save_now, projection, false, err);
        if (status != POLY_OK)
            projection->work = before;
    }
    return status;
}

void poly_projector_follow(struct poly_projection *projection, enum poly_status status,
                           const struct poly_error *err)
{
    bool stopped = projection->work.stopped, another;

    pthread_mutex_lock(&projection->lock);
    another = projection->live.active.number != projection->work.active.number;
    if (status == POLY_OK)
        projection->checked = poly_clock_wall();
    else if (!stopped && !projection->work.building_stopped) /* where it stopped is not forgotten */
        remember_error(&projection->work, 0, err);
    projection->retrying = status != POLY_OK;
    projection->live = projection->work;
    pthread_mutex_unlock(&projection->lock);
    poly_signal_raise(&projection->applied, projection->work.active.applied);
    if (stopped || another)
        poly_signal_poke(&projection->applied);
}

static bool idle(const struct poly_projection *projection, uint64_t head)
{
    const struct poly_progress *work = &projection->work;

    return (work->active.number == 0 || work->stopped || work->active.applied >= head ||
            opens(projection, &work->active)) &&
           (work->previous.number == 0 || work->previous_stopped ||
            work->previous.applied >= head || opens(projection, &work->previous)) &&
           (work->building.number == 0 || work->building_stopped ||
            opens(projection, &work->building));
}

/* Until there is more to apply, or to lead. */
static void rest(struct poly_projection *projection, uint64_t head, unsigned seen)
{
    bool shared = projection->driver->lead != NULL;

    poly_signal_wait(&projection->instance->head, head + 1,
                     shared ? poly_clock_monotonic() + LEAD_EVERY : -1, seen);
}

/* Another daemon may have changed one, before what head says. */
static enum poly_status look_at_models(struct poly_projection *projection, struct poly_error *err)
{
    struct poly_instance *instance = projection->instance;

    if (!projection->driver->models)
        return POLY_OK;
    if (!poly_models_known(instance))
        return poly_fail(err, POLY_UNAVAILABLE, "%s: a change of model cannot be read",
                         projection->driver->store);
    return instance->node[0] == '\0' ? POLY_OK : poly_models_look(instance, err);
}

void *poly_projector_thread(void *arg)
{
    struct poly_projection *projection = arg;
    struct poly_instance *instance = projection->instance;
    int64_t backoff = 0;
    uint64_t looked = 0;

    for (;;) {
        unsigned seen = poly_signal_seen(&instance->head);
        uint64_t head = atomic_load(&instance->head.value);
        struct poly_error err = {.position = -1};
        enum poly_status status;
        bool moved;

        if (atomic_load(&instance->closing)) /* after seen: closing pokes once */
            break;
        if (!poly_projector_lead(projection, seen)) {
            poly_collect_forget(projection);
            continue;
        }
        follow_command(projection);
        status = poly_projector_history(projection, &err);
        if (status == POLY_OK && head != looked)
            status = look_at_models(projection, &err);
        looked = status == POLY_OK ? head : looked;
        if (status == POLY_OK)
            status = follow_replace(projection, &err);
        if (status == POLY_OK)
            status = follow_step(projection, head, &moved, &err);
        poly_projector_follow(projection, status, &err);
        projection->reload = status != POLY_OK;
        looked = status == POLY_OK ? looked : 0;
        if (status != POLY_OK) {
            poly_collect_forget(projection);
            backoff = backoff == 0 ? BACKOFF_FIRST : backoff * 2;
            backoff = backoff > BACKOFF_MAX ? BACKOFF_MAX : backoff;
            poly_signal_wait(&instance->head, UINT64_MAX, poly_clock_monotonic() + backoff, seen);
        } else {
            backoff = 0;
            if (idle(projection, head))
                rest(projection, head, seen);
        }
    }
    /* Nobody may be left waiting for a command that will not run. */
    poly_projector_take(projection);
    poly_projector_finish(projection, POLY_UNAVAILABLE,
                          &(struct poly_error){.status = POLY_UNAVAILABLE,
                                               .position = -1,
                                               .message = "the instance is being closed"});
    return NULL;
}
