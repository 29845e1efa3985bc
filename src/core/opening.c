/*
 * A store that reads what it has saved while everything else goes on: a start is as long as looking
 * whether it is there, and what is committed meanwhile waits in the log.
 *
 * A generation is OPENING, then OPEN for as long as it lives, or LOST. While it is opening the
 * projector passes it over: its applied position stays what the store said at the start. When it is
 * open the projector gives it the log from there on, some batches in each group of the writer (or
 * on the follower's thread), and when nothing is left every group applies what it commits, as
 * always. So there is no second road, and no moment of handing over: catching up and being applied
 * in the commit are one loop, by one thread, in log order.
 *
 * Reads wait until it is open, and then until it has what was committed at the start; of what was
 * committed since, each commit that it was not given raises that bound before it is acknowledged.
 *
 * One that is lost has never answered anybody. It is replaced as a start would have done it, in a
 * group of the writer.
 */
#include <stdio.h>

#include "base/clock.h"
#include "core/projector.h"

/* --- generations --- */

enum poly_opening poly_projection_opening(const struct poly_projection *projection, uint64_t number)
{
    const struct poly_driver *driver = projection->driver;

    return number == 0 || driver->opening == NULL
               ? POLY_OPEN
               : driver->opening(projection->store, number, NULL, NULL);
}

bool poly_projection_has_lost(struct poly_projection *projection)
{
    const struct poly_progress *work = &projection->work;

    return poly_projection_opening(projection, work->active.number) == POLY_LOST ||
           poly_projection_opening(projection, work->building.number) == POLY_LOST ||
           (!work->previous_stopped &&
            poly_projection_opening(projection, work->previous.number) == POLY_LOST);
}

static void remember(struct poly_progress *work, const struct poly_error *err)
{
    work->error_time = poly_clock_wall();
    snprintf(work->error, sizeof(work->error), "%.250s", err->message);
}

static bool is_lost(struct poly_projection *projection, uint64_t number)
{
    struct poly_error why = {.position = -1};

    if (poly_projection_opening(projection, number) != POLY_LOST)
        return false;
    (void)projection->driver->opening(projection->store, number, NULL, &why);
    remember(&projection->work, &why);
    return true;
}

enum poly_status poly_projection_replace(struct poly_projection *projection, struct poly_db *db,
                                         struct poly_error *err)
{
    struct poly_progress *work = &projection->work;
    uint64_t number = poly_projection_next(work), old = work->building.number;
    enum poly_status status = POLY_OK;

    /* Nobody reads any of them: what serves was never there, and what is beside it follows that. */
    if (is_lost(projection, work->active.number))
        return poly_projection_start_over(projection, db, err);
    if (is_lost(projection, work->previous.number))
        work->previous_stopped = true;
    if (!is_lost(projection, old))
        return POLY_OK;
    status = poly_projection_begin(projection, db, number, err);
    if (status == POLY_OK)
        status = projection->driver->drop(projection->store, db, old, err);
    if (status == POLY_OK)
        work->building = (struct poly_generation){.number = number};
    return status;
}

bool poly_projection_opens(struct poly_projection *projection, double *share)
{
    const struct poly_driver *driver = projection->driver;
    uint64_t number = projection->live.active.number;

    if (number == 0 || driver->opening == NULL || atomic_load(&projection->opened))
        return false;
    if (driver->opening(projection->store, number, share, NULL) != POLY_OPEN)
        return true;
    atomic_store(&projection->opened, true);
    return false;
}

void poly_projection_stir(struct poly_projection *projection)
{
    struct poly_instance *instance = projection->instance;

    pthread_mutex_lock(&projection->lock);
    if (!projection->closing && projection->follower)
        poly_signal_poke(&instance->head);
    else if (!projection->closing)
        instance->owner->driver->kick(instance->owner);
    pthread_mutex_unlock(&projection->lock);
    poly_signal_poke(&projection->applied);
}

/* --- reads --- */

void poly_projection_least(struct poly_projection *projection, uint64_t position)
{
    uint64_t known = atomic_load(&projection->least);

    while (known < position &&
           !atomic_compare_exchange_weak(&projection->least, &known, position)) {
    }
}

/*
 * What is kept in memory is not applied with the commit while it is being read, or catches up. What
 * has been acknowledged is seen all the same: reads wait for it. Once it has caught up, every
 * commit applies it, and this asks for nothing new.
 */
void poly_projection_ask_for_rest(struct poly_projection *projection)
{
    uint64_t head = atomic_load(&projection->instance->owner->durable);
    const struct poly_generation *active = &projection->work.active;

    if (projection->driver->saved != NULL && active->number != 0 && active->applied < head)
        poly_projection_least(projection, head);
}

/* Whoever takes an older answer, too, takes none that lacks nearly everything. */
enum poly_status poly_projection_say_opening(const struct poly_projection *projection, double share,
                                             struct poly_error *err)
{
    char trouble[256] = "";
    int64_t since;

    if (projection->driver->trouble != NULL)
        projection->driver->trouble(projection->store, trouble, &since);
    return poly_fail(err, POLY_TIMEOUT, "%s: the saved index is being read (%d %%)%s%s",
                     projection->driver->store, (int)(share * 100), *trouble == '\0' ? "" : ": ",
                     trouble);
}
