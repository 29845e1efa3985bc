/*
 * A standby that takes over may lack what a follower has applied already: it was
 * acknowledged by a primary that is gone, and is in nobody's log any more. The
 * log's era shows that a standby has taken over. Then each document is looked at
 * once: the record of its last change must be in the log. Where all are, nothing
 * that shows is lost, and the follower goes on. Else it is built anew from the log; so is one
 * whose driver cannot tell what made its documents.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "core/projector.h"

enum { PAGE = 50000, MOMENT_NS = 5000000 };

/* *gone: a position that the log has lost; 0: none. */
static enum poly_status look(struct poly_projection *projection, uint64_t number,
                             uint64_t *positions, uint64_t *gone, struct poly_error *err)
{
    struct poly_owner *owner = projection->instance->owner;
    enum poly_status status = POLY_OK;
    uint64_t after = 0;
    size_t count = 1;

    *gone = 0;
    while (status == POLY_OK && count > 0 && *gone == 0) {
        status = projection->driver->positions(projection->store, number, after, positions, PAGE,
                                               &count, err);
        if (status == POLY_OK && count > 0) {
            after = positions[count - 1];
            status = owner->driver->lost(owner, positions, count, gone, err);
        }
    }
    return status;
}

/* The record that is named where nobody knows which. */
static uint64_t any(const struct poly_projection *projection,
                    const struct poly_generation *generation)
{
    return projection->driver->positions == NULL ? generation->applied : 0;
}

static enum poly_status look_at_all(struct poly_projection *projection, uint64_t era,
                                    uint64_t *gone, struct poly_error *err)
{
    const struct poly_progress *work = &projection->work;
    const struct poly_generation *all[] = {&work->active, &work->previous, &work->building};
    uint64_t *positions = malloc(PAGE * sizeof(*positions));
    enum poly_status status = positions == NULL ? poly_no_memory(err) : POLY_OK;

    *gone = 0;
    for (size_t i = 0; i < 3 && status == POLY_OK && *gone == 0; i++) {
        if (all[i]->number == 0 || all[i]->applied == 0 || poly_era(all[i]->applied) >= era)
            continue;
        *gone = any(projection, all[i]);
        if (*gone == 0)
            status = look(projection, all[i]->number, positions, gone, err);
    }
    free(positions);
    return status;
}

/* Nobody reads them any more, and nobody begins to. */
static void withdraw(struct poly_projection *projection)
{
    const struct poly_progress *work = &projection->work;
    struct timespec moment = {0, MOMENT_NS};
    bool read = true;

    pthread_mutex_lock(&projection->lock);
    projection->live.active = (struct poly_generation){0};
    pthread_mutex_unlock(&projection->lock);
    while (read && !atomic_load(&projection->instance->closing)) {
        pthread_mutex_lock(&projection->lock);
        read = poly_projector_reads(projection, work->active.number) ||
               poly_projector_reads(projection, work->previous.number) ||
               poly_projector_reads(projection, work->building.number);
        pthread_mutex_unlock(&projection->lock);
        if (read)
            nanosleep(&moment, NULL);
    }
}

static enum poly_status begin_anew(struct poly_projection *projection, struct poly_error *err)
{
    enum poly_status status;

    withdraw(projection);
    status = poly_projection_recover(projection, err);
    if (status != POLY_OK)
        return status;
    projection->work.error_time = poly_clock_wall();
    snprintf(projection->work.error, sizeof(projection->work.error),
             "a standby took over that %s received record %llu, among others: all that was "
             "indexed is built anew from the log",
             projection->driver->positions == NULL ? "may not have" : "had not",
             (unsigned long long)projection->lost);
    projection->lost = 0;
    return POLY_OK;
}

enum poly_status poly_projector_history(struct poly_projection *projection, struct poly_error *err)
{
    struct poly_owner *owner = projection->instance->owner;
    uint64_t era = atomic_load(&owner->era);
    enum poly_status status = POLY_OK;

    if (projection->era >= era || owner->driver->lost == NULL)
        return POLY_OK;
    if (projection->lost == 0)
        status = look_at_all(projection, era, &projection->lost, err);
    if (status == POLY_OK && projection->lost != 0)
        status = begin_anew(projection, err);
    if (status == POLY_OK)
        projection->era = era;
    return status;
}
