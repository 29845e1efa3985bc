/*
 * Ends a process at every call that changes a file, and looks at what is left.
 *
 * A workload is a list of steps. A step is one transaction whose first
 * operation appends one event to the stream "step-1", so the state on disk says
 * how many steps it holds: all that were acknowledged, none that had not begun,
 * and each of them whole.
 */
#ifndef TEST_CRASH_H
#define TEST_CRASH_H

#include <stdatomic.h>
#include <stdio.h>

#include "lab.h"
#include "vfs_fault.h"

enum { CRASH_SLOTS = 16, CRASH_WHY = 600 };

/* Shared between the process that dies and the one that looks. */
struct crash_page {
    _Atomic uint64_t begun[CRASH_SLOTS]; /* slot 0: steps; others as the workload likes */
    _Atomic uint64_t acked[CRASH_SLOTS];
};

struct crash_run {
    char data[LAB_PATH];
    const struct crash_workload *workload;
    struct crash_page *page;
    bool recovering; /* the steps have been done: open and close is all */
    struct poly_instance *instance;
    struct poly_session *session;
    struct poly_error err;
    char why[CRASH_WHY];
};

struct crash_workload {
    const char *name;
    const char *config;
    unsigned steps;
    bool from_open; /* opening is part of what is killed */
    bool unclean;   /* the folder to begin with is one that a killed process has left */
    /* In the folder to begin with. NULL: nothing. */
    enum poly_status (*seed)(struct crash_run *run);
    /* number: 1 to steps. */
    enum poly_status (*step)(struct crash_run *run, unsigned number);
    /* Instead of steps: all the work. It keeps page itself. */
    enum poly_status (*work)(struct crash_run *run);
    /* The state is that after exactly done steps. false: run->why says what is not. May be NULL. */
    bool (*check)(struct crash_run *run, uint64_t done);
};

struct crash_tally {
    uint64_t points, bad, calls;
    char first[CRASH_WHY]; /* what was wrong first */
};

/*
 * Kills at each of at most max_points calls, evenly spread over all of them, the first time at one
 * that seed chooses. plan gives the fault and the rest.
 */
void crash_sweep(const struct crash_workload *workload, const struct fault_plan *plan,
                 uint64_t max_points, struct crash_tally *tally);

/* Writes the reason, and returns false. */
bool crash_wrong(struct crash_run *run, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Documents in the index are those of the log: none more, none less, at the same versions. */
bool crash_documents_match(struct crash_run *run);

extern const struct crash_workload *const crash_workloads[]; /* NULL-terminated */

#endif
