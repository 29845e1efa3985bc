/*
 * A number that only grows, and threads that wait for it to grow: the head of
 * the log, the applied position of a projection. Raising it costs one system
 * call only when somebody waits.
 */
#ifndef POLY_CORE_SIGNAL_H
#define POLY_CORE_SIGNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct poly_signal {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    _Atomic uint64_t value;
    _Atomic unsigned waiting;
    _Atomic unsigned poked; /* grows with every poke: waiters look at their own condition again */
};

void poly_signal_init(struct poly_signal *signal);
void poly_signal_destroy(struct poly_signal *signal);
void poly_signal_raise(struct poly_signal *signal, uint64_t value); /* lower values: no effect */
/* Wakes everyone although the value has not changed. */
void poly_signal_poke(struct poly_signal *signal);
/* Read it before you look at your own condition, and pass it to the wait: a poke in between is
 * then not missed. */
static inline unsigned poly_signal_seen(struct poly_signal *signal)
{
    return atomic_load(&signal->poked);
}
/* Until value >= wanted, a poke after seen, or the deadline (poly_clock_monotonic(); -1: for ever).
 * Returns whether value >= wanted. */
bool poly_signal_wait(struct poly_signal *signal, uint64_t wanted, int64_t deadline, unsigned seen);

#endif
