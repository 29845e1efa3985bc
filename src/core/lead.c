/*
 * A store that several daemons share: one applies, the others look how far it
 * is, so that their reads can wait for a token. Who it is, is the driver's
 * business; here a daemon that becomes it looks first what the store has, and
 * one that has failed does so again: the server may have gone back, or another
 * daemon may have done something in between.
 */
#include "base/clock.h"
#include "core/projector.h"

enum {                       /* microseconds */
       RETRY_EVERY = 500000, /* nobody knows who applies */
       LOOK_EVERY = 100000,  /* how far is the other? */
       LOOK_WAITED = 5000,   /* … when somebody waits for it */
       LOOK_WANTED = 50000,  /* … when it is to stop, because of a command here */
       LEAD_WAIT = 10000000  /* longest wait for that */
};

/* Somebody has asked for a command here: it is to be this daemon that applies. */
static bool wants_lead(struct poly_projection *projection)
{
    static const struct poly_error late = {
        .status = POLY_UNAVAILABLE,
        .position = -1,
        .message = "another daemon applies, and does not answer; try again"};
    int64_t now = poly_clock_monotonic();
    bool wanted;

    pthread_mutex_lock(&projection->lock);
    wanted = projection->command != POLY_COMMAND_NONE;
    pthread_mutex_unlock(&projection->lock);
    if (!wanted || projection->leads) {
        projection->asked = 0;
    } else if (projection->asked == 0) {
        projection->asked = now;
    } else if (now - projection->asked > LEAD_WAIT) {
        projection->asked = 0;
        poly_projector_take(projection);
        poly_projector_finish(projection, POLY_UNAVAILABLE, &late);
    }
    return wanted;
}

/* Whoever comes to apply, or has failed to, first looks what the store has. */
static enum poly_status settle(struct poly_projection *projection, struct poly_error *err)
{
    bool led = projection->leads, wanted = wants_lead(projection);
    enum poly_status status =
        projection->driver->lead(projection->store, wanted, &projection->leads, err);

    if (status != POLY_OK)
        return status;
    if (!projection->leads)
        return poly_projection_observe(projection, err);
    return led && !projection->reload ? POLY_OK : poly_projection_recover(projection, err);
}

/* May this daemon apply now? Else it has waited a while. */
bool poly_projector_lead(struct poly_projection *projection, unsigned seen)
{
    struct poly_progress before = projection->work;
    struct poly_error err = {.position = -1};
    enum poly_status status;
    int64_t wait;

    if (projection->driver->lead == NULL)
        return true;
    status = settle(projection, &err);
    if (status == POLY_OK && projection->leads)
        return true;
    if (status != POLY_OK)
        projection->reload = true;
    poly_projector_follow(projection, status, &err);
    if (poly_projector_worse(&before, &projection->work))
        poly_signal_poke(&projection->applied);
    wait = status != POLY_OK                               ? RETRY_EVERY
           : atomic_load(&projection->applied.waiting) > 0 ? LOOK_WAITED
           : projection->asked != 0                        ? LOOK_WANTED
                                                           : LOOK_EVERY;
    poly_signal_wait(&projection->instance->head, UINT64_MAX, poly_clock_monotonic() + wait, seen);
    return false;
}
