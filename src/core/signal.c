#include "core/signal.h"

#include <errno.h>
#include <time.h>

void poly_signal_init(struct poly_signal *signal)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&signal->lock, NULL);
    pthread_cond_init(&signal->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    atomic_init(&signal->value, 0);
    atomic_init(&signal->waiting, 0);
    atomic_init(&signal->poked, 0);
}

void poly_signal_destroy(struct poly_signal *signal)
{
    pthread_cond_destroy(&signal->changed);
    pthread_mutex_destroy(&signal->lock);
}

void poly_signal_raise(struct poly_signal *signal, uint64_t value)
{
    if (atomic_load(&signal->value) >= value)
        return;
    /* A waiter announces itself before it looks at the value: one of the two sees the other. */
    atomic_store(&signal->value, value);
    if (atomic_load(&signal->waiting) == 0)
        return;
    pthread_mutex_lock(&signal->lock);
    pthread_cond_broadcast(&signal->changed);
    pthread_mutex_unlock(&signal->lock);
}

void poly_signal_poke(struct poly_signal *signal)
{
    pthread_mutex_lock(&signal->lock);
    atomic_fetch_add(&signal->poked, 1);
    pthread_cond_broadcast(&signal->changed);
    pthread_mutex_unlock(&signal->lock);
}

bool poly_signal_wait(struct poly_signal *signal, uint64_t wanted, int64_t deadline, unsigned seen)
{
    struct timespec until = {deadline / 1000000, deadline % 1000000 * 1000};
    int code = 0;

    if (atomic_load(&signal->value) >= wanted)
        return true;
    pthread_mutex_lock(&signal->lock);
    atomic_fetch_add(&signal->waiting, 1);
    while (atomic_load(&signal->value) < wanted && atomic_load(&signal->poked) == seen &&
           code != ETIMEDOUT) {
        if (deadline < 0)
            code = pthread_cond_wait(&signal->changed, &signal->lock);
        else
            code = pthread_cond_timedwait(&signal->changed, &signal->lock, &until);
    }
    atomic_fetch_sub(&signal->waiting, 1);
    pthread_mutex_unlock(&signal->lock);
    return atomic_load(&signal->value) >= wanted;
}
