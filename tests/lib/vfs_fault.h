/*
 * A disk that fails when a test says so: an SQLite VFS around the default one.
 *
 * Counts every call that changes a file (write, sync, truncate, delete; shared
 * memory is left out, it is rebuilt) and does something at the k-th. What was
 * written since the last sync of a file is remembered with what stood there
 * before, so that a power cut can take it back: all of it, or some of it, torn
 * at sectors, which is what a disk with a cache does.
 */
#ifndef TEST_VFS_FAULT_H
#define TEST_VFS_FAULT_H

#include <stdbool.h>
#include <stdint.h>

enum fault {
    FAULT_NONE,
    FAULT_COUNT,    /* only counts */
    FAULT_KILL,     /* the process ends before the call has had its effect */
    FAULT_TORN,     /* … after half of the write */
    FAULT_POWER,    /* … and nothing stays that was not synced */
    FAULT_SHUFFLED, /* … and some of it stays, at random */
    FAULT_FULL,     /* writes: no space */
    FAULT_WRITE,    /* writes: input/output error */
    FAULT_SYNC,     /* syncs: input/output error, and the pages are lost to a power cut */
};

struct fault_plan {
    enum fault fault;
    uint64_t at;        /* counts from 1; FULL and WRITE count writes, SYNC syncs, others all */
    bool once;          /* FULL, WRITE, SYNC: only the k-th; false: from the k-th on */
    bool swallow_syncs; /* the control: a sync that does nothing, and says it went well */
    const char *only;   /* only files whose name contains this; NULL: all */
    uint64_t seed;      /* of FAULT_SHUFFLED */
};

/* The default VFS from now on. Call once, before anything is opened. */
void fault_install(void);

/* Begins to count from zero. Syncs never reach the disk: tests do not need that. */
void fault_arm(const struct fault_plan *plan);
void fault_disarm(void);
uint64_t fault_count(void); /* calls of the armed kind since fault_arm() */
bool fault_hit(void);       /* has the plan struck? */

/* Exit code of a process that a fault has ended. */
enum { FAULT_EXIT = 86 };

#endif
