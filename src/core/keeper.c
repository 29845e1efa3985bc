/*
 * One thread that sleeps until there is a reason: an interactive transaction
 * passes its deadline, or the owner has asked for its turn (its table's tend):
 * to look whether another program has written, to retire old changes, to give
 * memory back. Idle it costs nothing.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "core/inside.h"

enum { AGAIN_US = 10000 }; /* a transaction past its deadline is still running a statement */

static void drain(int fd)
{
    uint64_t count;
    ssize_t got = read(fd, &count, sizeof(count));

    (void)got;
}

static int timeout_ms(int64_t now, int64_t until)
{
    int64_t ms = until < 0 ? -1 : (until - now + 999) / 1000;

    if (until >= 0 && ms < 0)
        ms = 0;
    return ms > 3600000 ? 3600000 : (int)ms;
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
    struct poly_owner *owner = instance->owner;
    struct poly_tending next = {.fd = -1, .until = -1};
    bool readable = false;

    while (!atomic_load(&instance->closing)) {
        if (owner->driver->tend != NULL)
            owner->driver->tend(owner, readable, &next);
        poly_txn_expire(instance, poly_clock_monotonic());

        int64_t now = poly_clock_monotonic();
        int64_t until = poly_clock_sooner(next.until, deadline(instance, now));
        struct pollfd fds[2] = {{.fd = instance->keeper_wake, .events = POLLIN},
                                {.fd = next.fd, .events = POLLIN}};

        poll(fds, 2, timeout_ms(now, until));
        if ((fds[0].revents & POLLIN) != 0)
            drain(instance->keeper_wake);
        readable = (fds[1].revents & POLLIN) != 0;
    }
    /* Somebody may wait for a transaction that was forgotten. */
    poly_txn_expire(instance, INT64_MAX);
    return NULL;
}

enum poly_status poly_keeper_start(struct poly_instance *instance, struct poly_error *err)
{
    instance->keeper_wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (instance->keeper_wake < 0)
        return poly_fail(err, POLY_UNAVAILABLE, "cannot make an eventfd: %s", strerror(errno));
    if (pthread_create(&instance->keeper, NULL, keep, instance) != 0)
        return poly_fail(err, POLY_UNAVAILABLE, "cannot start the keeper's thread");
    instance->keeper_runs = true;
    pthread_setname_np(instance->keeper, "poly-keeper");
    return POLY_OK;
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
    instance->keeper_wake = -1;
}
