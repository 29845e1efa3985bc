/* What the measuring programs share: time, the event, and giving up with a reason. */
#ifndef POLY_BENCH_COMMON_H
#define POLY_BENCH_COMMON_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BENCH_DIE(...)                                                                             \
    do {                                                                                           \
        fprintf(stderr, "bench: " __VA_ARGS__);                                                    \
        fputc('\n', stderr);                                                                       \
        exit(1);                                                                                   \
    } while (0)

/* POLY_OK, or the end with the message of the local `struct poly_error err`. */
#define BENCH_OK(call)                                                                             \
    do {                                                                                           \
        if ((call) != POLY_OK)                                                                     \
            BENCH_DIE("%s: %s", #call, err.message);                                               \
    } while (0)

static inline double bench_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

enum { BENCH_EVENT = 201 }; /* bytes of the event's JSON, and a NUL */

static inline void bench_sleep_until(double when)
{
    struct timespec at = {.tv_sec = (time_t)when,
                          .tv_nsec = (long)((when - (double)(time_t)when) * 1e9)};

    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

static inline int bench_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Sorts the samples, in seconds; prints the rate, and median and 99th of a hundred in µs. */
static inline void bench_print_samples(double rate, double *samples, size_t count)
{
    if (count < 100)
        BENCH_DIE("only %zu samples", count);
    qsort(samples, count, sizeof(*samples), bench_compare);
    printf("%.0f %.0f %.0f\n", rate, samples[count / 2] * 1e6, samples[count * 99 / 100] * 1e6);
}

/* 200 bytes of JSON, different for each client and number. */
static inline void bench_event(char text[BENCH_EVENT], unsigned client, unsigned long number)
{
    int size = snprintf(text, BENCH_EVENT, "{\"client\": %u, \"number\": %lu, \"text\": \"",
                        client, number);

    for (; size < BENCH_EVENT - 3; size++)
        text[size] = (char)('a' + (number + (unsigned long)size) % 26);
    text[size++] = '"';
    text[size++] = '}';
    text[size] = '\0';
}

#endif
