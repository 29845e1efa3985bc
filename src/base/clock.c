/* The wall clock may jump and be shifted; whoever measures uses the monotonic one. */
#include "base/clock.h"

#include <stdatomic.h>
#include <time.h>

static _Atomic int64_t shift;

static int64_t now(clockid_t clock)
{
    struct timespec time;

    clock_gettime(clock, &time);
    return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

int64_t poly_clock_wall(void)
{
    return now(CLOCK_REALTIME) + atomic_load_explicit(&shift, memory_order_relaxed);
}

int64_t poly_clock_monotonic(void)
{
    return now(CLOCK_MONOTONIC);
}

int64_t poly_clock_coarse(void)
{
    return now(CLOCK_MONOTONIC_COARSE);
}

void poly_clock_shift(int64_t microseconds)
{
    atomic_store(&shift, microseconds);
}
