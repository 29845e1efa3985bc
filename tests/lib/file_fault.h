/*
 * A file system that fails when a test says so, for our own calls: a test links file_fault_dep
 * (tests/lib/meson.build), and every open, write, pwrite, fsync, fdatasync, ftruncate, rename,
 * unlink and mkdir of our code comes through here, by the linker's --wrap as in memory.h.
 *
 * Calls that change something in one folder (which has no others inside) are counted, and at the
 * k-th something happens. What a power cut would leave is kept, too: of each file what stood in it
 * when it was last synced, and the names that stood in the folder when that was.
 */
#ifndef TEST_FILE_FAULT_H
#define TEST_FILE_FAULT_H

#include <stdbool.h>
#include <stdint.h>

enum file_fault {
    FILE_COUNT, /* only counts */
    FILE_KILL,  /* the process ends before the call has had its effect */
    FILE_TORN,  /* … after half of the write; otherwise as KILL */
    FILE_FAIL,  /* the call fails: no space, or for syncs and names an input/output error */
    FILE_FULL,  /* … and so does everything after it that takes space */
    FILE_SYNCS  /* every sync fails, from there on */
};

/* What a call was, in the list that .kinds points to. */
enum file_call { FILE_NONE, FILE_OPEN, FILE_WRITE, FILE_SYNC, FILE_NAME };

struct file_plan {
    enum file_fault fault;
    uint32_t at;        /* counts from 1 */
    const char *folder; /* whose files are meant */
    /* KILL, TORN: folders that get what a power cut leaves; NULL: nobody wants to know. */
    const char *synced; /* names and contents as they were synced */
    const char *named;  /* names as they are, contents as they were synced */
    uint8_t *kinds;     /* room for .kind_room: of each call its kind; NULL: nobody asks */
    uint32_t kind_room;
    bool swallow_syncs; /* the control: a sync does nothing, and says that it went well */
};

/* Begins to count from 0. What is in the folder now is taken for synced. */
void file_fault_arm(const struct file_plan *plan);
void file_fault_disarm(void);
uint32_t file_fault_count(void); /* since it was armed */
bool file_fault_hit(void);       /* has the plan struck? */

enum { FILE_FAULT_EXIT = 87 }; /* exit code of a process that was ended so */

#endif
