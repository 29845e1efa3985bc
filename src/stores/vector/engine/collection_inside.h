/*
 * What the files of the collection share.
 *
 * A part is an index with the catalog of its slots. There is one that serves (.part), and while a
 * compaction runs a second one that nobody else sees (.next). A search holds the part that it
 * found, so that a swap takes nothing away from it.
 *
 * Locks: gate, then state. Under gate: everything that changes .part, and the swap. Under state,
 * for moments only: which part serves, up to which slot, at which position, and who holds it. What
 * a search takes there is one state; it needs no other lock.
 */
#ifndef POLY_STORES_VECTOR_ENGINE_COLLECTION_INSIDE_H
#define POLY_STORES_VECTOR_ENGINE_COLLECTION_INSIDE_H

#include <limits.h>
#include <pthread.h>

#include "stores/vector/engine/collection.h"

struct poly_part {
    struct poly_index *index;
    struct poly_catalog *catalog;
    uint64_t originals; /* number of its file; 0: in memory */
    unsigned held;      /* under state: the collection itself, and who searches */
};

/* The second part while it is made. Of the thread that works, but for what is under gate. */
struct poly_compaction {
    uint32_t *map;    /* new slot of each old one below .carried, or POLY_NO_SLOT */
    uint32_t carried; /* old slots below it have been looked at */
    uint32_t room;    /* of map */
    bool ready;       /* under gate: publish() may swap */
    bool failed;      /* under gate: publish() could not; .err says why */
    struct poly_error err;
    int64_t again; /* poly_clock_monotonic(): none before that, the last one failed */
};

struct poly_collection {
    struct poly_index_options shape; /* .originals NULL */
    char **columns;
    size_t column_count;
    char *folder; /* NULL: in memory */

    pthread_mutex_t gate;
    void *packed;              /* room for one original */
    struct poly_value *values; /* room for those of one slot, while compacting */
    bool dirty;                /* something is not published */
    bool failed;               /* … and is half done: only revert() helps */
    struct poly_compaction compaction;

    pthread_mutex_t state;
    struct poly_part *part, *next, *retired; /* retired: replaced, to be given back */
    uint32_t end;
    uint64_t position;
    uint32_t *replaced; /* slots that die with the next publish; searches by key still need them */
    size_t replaced_count, replaced_room;

    /* of the thread that works and saves */
    uint64_t saves;                   /* number of the last one that was tried */
    uint64_t files;                   /* number of the last file of originals */
    _Atomic uint64_t saved_originals; /* what head names; 0: nothing is saved */
    _Atomic uint64_t saved;
};

/* --- parts: collection.c --- */

/* An empty one, with a file of originals of its own. */
enum poly_status poly_part_new(struct poly_collection *collection, struct poly_part **part,
                               struct poly_error *err);
void poly_part_free(struct poly_part *part); /* NULL is accepted; whoever holds it */
/* The part that serves, held, and the state to look at. part: to poly_part_release(). */
struct poly_part *poly_part_hold(struct poly_collection *collection, uint32_t *end,
                                 uint64_t *position);
void poly_part_release(struct poly_collection *collection, struct poly_part *part);

/* --- files: collection_file.c --- */

/* The shape, with the path of that file of originals in path; 0: in memory. */
enum poly_status poly_collection_shape(const struct poly_collection *collection, uint64_t number,
                                       char path[PATH_MAX], struct poly_index_options *shape,
                                       struct poly_error *err);
/* Makes the folder, and .part of what is saved there, if anything is. */
enum poly_status poly_collection_load(struct poly_collection *collection,
                                      struct poly_loading *watch, bool *damaged,
                                      struct poly_error *err);
uint64_t poly_collection_file_bytes(const struct poly_collection *collection);

/* --- compaction: collection_work.c --- */

/* Carries over what has changed, and lets the new part serve. Under gate, nothing unpublished. */
void poly_collection_swap(struct poly_collection *collection);

#endif
