/*
 * One set of vectors of one shape, and the nearest of them: an append-only array of slots with
 * codes (in memory) and originals (in a mapped file), and an HNSW graph over the slots that have
 * been linked. What is appended can be found at once: the tail that no graph knows yet is scanned.
 * A replaced vector is a new slot; the old one dies, and is given back by writing the live ones
 * into a new index (poly_index_copy).
 *
 * Source: Malkov, Yashunin: Efficient and robust approximate nearest neighbor search using
 * hierarchical navigable small world graphs (2016).
 *
 * Threads: one at a time appends, kills, publishes, reverts (the caller sees to it). Any number
 * search and link at the same time as that. Nothing of SQL, tenants or logs here.
 */
#ifndef POLY_STORES_VECTOR_ENGINE_INDEX_H
#define POLY_STORES_VECTOR_ENGINE_INDEX_H

#include <stdatomic.h>

#include "stores/vector/engine/kernel.h"

struct poly_index;

struct poly_index_options {
    enum poly_element element;
    enum poly_metric metric;
    uint32_t dimensions;      /* 1 to 16,000 */
    uint32_t m;               /* links of a node, 2 to 100; twice as many on the lowest level */
    uint32_t ef_construction; /* 4 to 1,000 */
    uint32_t graph_from;      /* slots from which on a graph is built; 0: a default */
    const char *originals;    /* path of the file that originals are kept in; NULL: in memory */
};

#define POLY_NO_SLOT UINT32_MAX

/* Empties the originals' file, or makes it. POLY_INVALID: a shape that cannot be; POLY_UNAVAILABLE:
 * the file cannot be made. */
enum poly_status poly_index_new(const struct poly_index_options *options, struct poly_index **index,
                                struct poly_error *err);
void poly_index_free(struct poly_index *index); /* NULL is accepted */

/* --- writing --- */

/* original: as poly_vector_pack() gives it. The slot is found by searches once published. Slots
 * ascend, with gaps (see poly_index_publish()). POLY_NO_MEMORY, POLY_UNAVAILABLE (the originals'
 * file, a full disk): nothing has changed. POLY_LIMIT: the index is full; a copy without the dead
 * ones may have room. */
enum poly_status poly_index_append(struct poly_index *index, const void *original, uint32_t *slot,
                                   struct poly_error *err);
/* A slot is not found any more once that is published. Killing a dead one has no effect. */
enum poly_status poly_index_kill(struct poly_index *index, uint32_t slot, struct poly_error *err);
/* When there were kills only, a slot that is never alive is used up: so the end moves, and searches
 * that have read it before keep the state that they have begun with. */
void poly_index_publish(struct poly_index *index);
/* Takes back what was appended and killed since the last publish. */
void poly_index_revert(struct poly_index *index);

/* Slots below it are published. A search looks at one state: of slots below end, those that had not
 * died when end was read. What is told of a slot holds for published ones. */
uint32_t poly_index_end(const struct poly_index *index);
bool poly_index_alive(const struct poly_index *index, uint32_t slot, uint32_t end);
const void *poly_index_original(const struct poly_index *index, uint32_t slot);

/* What takes long looks at it now and then; NULL: it is never stopped. */
static inline bool poly_is_stopped(const atomic_bool *stop)
{
    return stop != NULL && atomic_load_explicit(stop, memory_order_relaxed);
}

/*
 * Links up to max published slots that are not in the graph yet, in order; returns how many there
 * were. Several threads may call it at a time; each works on slots of its own. Small indexes need
 * no graph: nothing is linked while an exact scan is as fast. *stop is looked at between
 * slots; NULL: never stops. POLY_NO_MEMORY: the rest is linked by the next call.
 */
enum poly_status poly_index_link(struct poly_index *index, uint32_t max, const atomic_bool *stop,
                                 uint32_t *linked, struct poly_error *err);

/* All live slots of one index, in the order in which a search walks its graph (so that
 * neighbours lie beside each other), appended to an empty one of the same shape; the caller
 * publishes them. map[i]: new slot of the old slot i, or POLY_NO_SLOT; end entries. *stop is looked
 * at between slots, as above: POLY_UNAVAILABLE. After an error the other index is of no use. */
enum poly_status poly_index_copy(const struct poly_index *index, uint32_t end,
                                 struct poly_index *to, uint32_t *map, const atomic_bool *stop,
                                 struct poly_error *err);

/* --- searching --- */

/* Which slots may be answered. All NULL: all that live. */
struct poly_slots {
    const uint64_t *bits; /* bit i: slot i; slots from .bit_count on are out … */
    uint32_t bit_count;
    const uint32_t *list; /* … or these, ascending */
    uint32_t count;       /* of list, or of bits set: an upper bound of what can match */
};

enum poly_index_plan {
    POLY_PLAN_EXACT,
    POLY_PLAN_GRAPH,
    POLY_PLAN_FILTERED_EXACT,
    POLY_PLAN_FILTERED_GRAPH
};

/* How a search is to go; tests and measurements choose, others let the planner do it. */
enum poly_index_way { POLY_WAY_PLANNED, POLY_WAY_SCAN, POLY_WAY_GRAPH };

struct poly_index_search {
    const float *query;             /* as poly_vector_unpack() gives it of the packed query */
    uint32_t end;                   /* of poly_index_end() */
    const struct poly_slots *slots; /* NULL: all */
    uint32_t k;                     /* 1 to 11,000 */
    uint32_t ef;                    /* at least k is used */
    float farthest;                 /* no slot of a greater distance; INFINITY: no bound */
    bool exact;
    enum poly_index_way way; /* without .exact */
    int64_t deadline;        /* poly_clock_monotonic(); 0: none */
    /* out */
    enum poly_index_plan plan;
    uint64_t visited; /* distances computed */
};

struct poly_near {
    uint32_t slot;
    float distance; /* true, of the original */
};

/*
 * The k nearest, nearest first, equal ones by slot; *count: how many, k whenever k match. room of
 * k. The plan is chosen by what it is measured to cost: an exact scan of the slots that match, or
 * the graph; a graph search that finds fewer than k is followed by a scan. Codes choose candidates,
 * originals decide among them; an exact search looks at all originals that its codes cannot rule
 * out. POLY_TIMEOUT: the deadline. POLY_UNAVAILABLE: a save has found originals lost.
 */
enum poly_status poly_index_find(struct poly_index *index, struct poly_index_search *search,
                                 struct poly_near *near, uint32_t *count, struct poly_error *err);

struct poly_index_numbers {
    uint32_t slots, dead, linked;
    uint32_t unlinked;     /* to be linked yet: none while so few are best scanned */
    uint64_t memory_bytes; /* codes, links, and what belongs to them */
    uint64_t original_bytes;
};
void poly_index_measure(const struct poly_index *index, struct poly_index_numbers *numbers);

/* --- files --- */

/*
 * Writes the state at end (of poly_index_end(), slots that have died later alive), all but the
 * originals, to a new file at path (section.h), and makes that and the originals durable.
 * Appending, killing and searching go on; linking waits. Checksums of the originals are among it.
 * POLY_INVALID: the originals are in memory; POLY_UNAVAILABLE: the system's reason.
 */
enum poly_status poly_index_save(struct poly_index *index, uint32_t end, const char *path,
                                 struct poly_error *err);
/*
 * As it was saved; options as it was made. Reads all of it, the originals too, and leaves those
 * where they are. What their file has beyond is cut off. POLY_CORRUPT: any byte is not as it was
 * written, or the shape is another. Never trusts a length, slot or link of the file.
 * POLY_NOT_FOUND: a file is not there; POLY_UNAVAILABLE: the system's reason, or it was to stop.
 */
struct poly_loading;
/* Looks in a moment whether it is all there: the shape, and lengths. *bytes: that loading reads.
 * Errors as of loading. */
enum poly_status poly_index_peek(const struct poly_index_options *options, const char *path,
                                 uint64_t *bytes, struct poly_error *err);
enum poly_status poly_index_load(const struct poly_index_options *options, const char *path,
                                 struct poly_loading *watch, struct poly_index **index,
                                 struct poly_error *err);

#endif
