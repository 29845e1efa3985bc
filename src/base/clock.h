/* Time, in one place, so that tests can turn it. */
#ifndef POLY_BASE_CLOCK_H
#define POLY_BASE_CLOCK_H

#include <stdint.h>

int64_t poly_clock_wall(void);      /* microseconds since 1970, UTC */
int64_t poly_clock_monotonic(void); /* microseconds since some start; for deadlines */
int64_t poly_clock_coarse(void);    /* the monotonic one, up to 10 ms late and much cheaper */

/* Tests: added to what poly_clock_wall() says; replaces an earlier shift. */
void poly_clock_shift(int64_t microseconds);

/* The earlier of two times; -1: never. */
static inline int64_t poly_clock_sooner(int64_t a, int64_t b)
{
    return a < 0 || (b >= 0 && b < a) ? b : a;
}

#endif
