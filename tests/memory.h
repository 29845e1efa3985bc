/*
 * Allocations that fail on command. A test links memory_dep (tests/meson.build): every malloc,
 * calloc, realloc, strdup, mmap and mprotect of our own code then comes through here, and jansson's
 * too. Sanitizers still see each one, so what is lost on the way shows as a leak.
 *
 * Allocations of all threads are counted as one row; arm and disarm from one thread.
 */
#ifndef POLY_TEST_MEMORY_H
#define POLY_TEST_MEMORY_H

#include <stdbool.h>

/* The next nth allocation fails (1: the very next), and so does every one after it when
 * persistent. 0: none does. */
void memory_fail_at(unsigned long nth, bool persistent);
/* Has one failed since? */
bool memory_failed(void);
/* SQLite's allocations count too. Call it before SQLite is used for the first time. */
void memory_include_sqlite(void);

/*
 * struct memory_walk walk = {0}; while (memory_next(&walk)) { … }: runs the block
 * again and again, with the 1st, 2nd, 3rd … allocation failing, until a run makes
 * none fail. Inside, memory_failed() says whether this run was hit.
 */
struct memory_walk {
    unsigned long nth;
};
bool memory_next(struct memory_walk *walk);

#endif
