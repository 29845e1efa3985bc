/*
 * What the files of the index share: its arrays, and the memory of one search. Nobody else includes
 * this.
 *
 * Slots are rows of flat arrays, by number, without a pointer between them:
 *
 *   codes      .stride bytes     what graph and scans compare
 *   sketches   .sketch bytes     the same, shorter; where the coder has none the array is empty
 *   links      2m words          neighbours on the lowest level, ended by POLY_NO_SLOT
 *   upper_of   a word            where in upper the node's higher levels are; 0: it has none
 *   upper      words             for each such node its level, then m links a level
 *   dead_from  a word            the published end from which the slot is dead
 *   dead_bits  a bit             dead from some end on: spares the look at dead_from
 *   originals  .original_size    in memory, or a mapped file that is written with pwrite()
 *
 * Links are read while others write them, as relaxed atomic words: every mixture of two states of a
 * row is a row of slots whose codes have been published. A search looks at slots below .linked
 * (read with acquire) only, linking at slots below .end, so whatever it reaches is there.
 */
#ifndef POLY_STORES_VECTOR_ENGINE_INDEX_INSIDE_H
#define POLY_STORES_VECTOR_ENGINE_INDEX_INSIDE_H

#include <pthread.h>

#include "base/status.h"
#include "stores/vector/engine/index.h"

enum {
    INDEX_STRIPES = 256,     /* locks of link rows */
    INDEX_MAX_LEVEL = 12,    /* of a node */
    INDEX_MAX_M = 100,       /* links of a node on a level, but for the lowest */
    INDEX_MAX_LINKERS = 64,  /* threads that link at a time */
    INDEX_BLOCK = 256,       /* slots that a scan compares at a time */
    INDEX_LATER = 1024,      /* … and that wait for their originals */
    INDEX_IDLE_CONTEXTS = 16 /* kept for the next search */
};

#define INDEX_MAX_SLOTS 0x7fffffffU /* the highest bit marks what a search has expanded */

/* An array that grows without moving: address space is reserved, memory comes with its growth. */
struct poly_room {
    uint8_t *base;
    size_t reserved, committed; /* bytes */
};

enum poly_status poly_room_reserve(struct poly_room *room, size_t bytes, struct poly_error *err);
/* The first bytes can be written; new ones are zero. POLY_NO_MEMORY: as it was. */
enum poly_status poly_room_commit(struct poly_room *room, size_t bytes, struct poly_error *err);
void poly_room_release(struct poly_room *room);

enum { INDEX_SHARES = 12 }; /* half, a quarter, an eighth … of the slots fit */

/* Costs as they were measured, in nanoseconds; a lost update is no harm. */
struct poly_costs {
    _Atomic float scan;               /* of a vector, of many in a row */
    _Atomic float pick;               /* of a vector, of those that a filter names */
    _Atomic float walk[INDEX_SHARES]; /* of a candidate that is kept (ef), by what share fits */
    _Atomic float original;           /* of looking at one, wherever it is */
};

struct poly_graph {
    pthread_mutex_t lock; /* of claims, and of what follows from them */
    uint32_t next;        /* the next slot that somebody links */
    uint32_t claims[INDEX_MAX_LINKERS];
    uint32_t claim_count;
    atomic_uint linked;     /* slots below are linked */
    _Atomic uint64_t entry; /* level << 32 | slot; ENTRY_NONE */
    pthread_rwlock_t gate;  /* linking shared, saving alone */
    pthread_mutex_t rows[INDEX_STRIPES];
};

#define ENTRY_NONE UINT64_MAX

struct poly_context;

struct poly_index {
    struct poly_index_options options;
    struct poly_coder coder;
    size_t original_size;
    uint32_t capacity, graph_from;
    struct poly_room codes, sketches, links, upper_of, upper, dead_from, dead_bits, originals;
    int fd; /* of the originals; -1: they are in memory */
    atomic_uint end, dead, upper_published;
    /* the writer's */
    uint32_t appended, upper_words;
    uint32_t *kills;
    uint32_t kill_count, kill_room;
    /* originals: slots below are on disk, for certain; a sync has failed since. Of whoever saves */
    uint32_t synced;
    bool doubtful;
    atomic_bool lost; /* some are not what they were */
    /* of full blocks of originals, made when they are saved */
    uint64_t *sums;
    size_t sum_count;

    struct poly_graph graph;
    struct poly_costs costs;
    pthread_mutex_t context_lock;
    struct poly_context *contexts; /* idle ones */
    uint32_t context_count;
};

static inline uint8_t *poly_code_row(const struct poly_index *index, uint32_t slot)
{
    return index->codes.base + (size_t)slot * index->coder.stride;
}

static inline uint8_t *poly_sketch_row(const struct poly_index *index, uint32_t slot)
{
    return index->sketches.base + (size_t)slot * index->coder.sketch;
}

static inline const uint8_t *poly_original_row(const struct poly_index *index, uint32_t slot)
{
    return index->originals.base + (size_t)slot * index->original_size;
}

/* Links of a node on a level: m words, 2m on the lowest. The node must have that level. */
static inline atomic_uint *poly_link_row(const struct poly_index *index, uint32_t slot,
                                         uint32_t level)
{
    const uint32_t m = index->options.m;

    if (level == 0)
        return (atomic_uint *)index->links.base + (size_t)slot * 2 * m;

    const uint32_t at = ((const uint32_t *)index->upper_of.base)[slot];

    return (atomic_uint *)index->upper.base + at + 1 + (size_t)(level - 1) * m;
}

static inline uint32_t poly_node_level(const struct poly_index *index, uint32_t slot)
{
    const uint32_t at = ((const uint32_t *)index->upper_of.base)[slot];

    return at == 0 ? 0 : ((const uint32_t *)index->upper.base)[at];
}

static inline bool poly_slot_alive(const struct poly_index *index, uint32_t slot, uint32_t end)
{
    const atomic_uint *dead_from = (const atomic_uint *)index->dead_from.base;

    return atomic_load_explicit(&dead_from[slot], memory_order_relaxed) > end;
}

/* May be answered in that state. */
static inline bool poly_slot_fits(const struct poly_index *index, const struct poly_slots *slots,
                                  uint32_t slot, uint32_t end)
{
    const _Atomic uint64_t *dead = (const _Atomic uint64_t *)index->dead_bits.base;

    if (slot >= end ||
        (slots != NULL && slots->bits != NULL &&
         (slot >= slots->bit_count || (slots->bits[slot / 64] >> (slot % 64) & 1) == 0)))
        return false;
    return (atomic_load_explicit(&dead[slot / 64], memory_order_relaxed) >> (slot % 64) & 1) == 0 ||
           poly_slot_alive(index, slot, end);
}

/* The arrays of an index without slots, and what a load fills (index.c). options are checked. */
enum poly_status poly_index_make(const struct poly_index_options *options, bool fresh,
                                 struct poly_index **index, struct poly_error *err);
enum poly_status poly_original_write(const struct poly_index *index, uint32_t slot,
                                     const void *original, struct poly_error *err);
/* Memory for so many slots and words of upper. */
enum poly_status poly_index_commit(struct poly_index *index, uint32_t slots, size_t upper_words,
                                   struct poly_error *err);

/* --- the memory of one search (context.c) --- */

struct poly_candidate {
    float distance;
    uint32_t slot; /* | EXPANDED */
};

#define EXPANDED 0x80000000U

/* What a walk compares. */
enum poly_look { LOOK_CODES, LOOK_SKETCHES, LOOK_ORIGINALS };

struct poly_sight {
    const uint8_t *base;
    const void *query;
    size_t stride;
    enum poly_look look;
};

struct poly_context {
    struct poly_context *next;
    uint8_t *visited; /* a byte a slot: of the search whose .mark it is */
    uint32_t visited_room;
    uint8_t mark;
    const float *vector;         /* of the search */
    void *query;                 /* for codes */
    void *sketch;                /* … for sketches; NULL: the index has none */
    struct poly_sight sight;     /* codes, but for walks that say otherwise */
    struct poly_candidate *pool; /* ascending; of the level that is searched */
    uint32_t pool_room, count, ef;
    uint32_t *ids; /* of one expansion, or one block of a scan */
    float *distances;
    uint32_t *before; /* as ids, of the expansion before */
    /* what the pool wants of it, as it comes and in order, and the places in the pool */
    struct poly_candidate *coming, *wanted;
    uint32_t *places;
    uint32_t id_room;        /* of each of these */
    struct poly_near *later; /* of a scan: a heap, with bounds of the other sign */
    uint32_t waiting;        /* in it */
    /* when linking: another node's query, candidates and links */
    void *other;
    struct poly_candidate *near;
    uint32_t *picked;
    uint64_t *bits; /* of a list that is asked as bits */
    uint32_t bit_room;
    uint64_t visits;
};

/* ids, visited for that many slots; a pool of ef. POLY_NO_MEMORY */
enum poly_status poly_context_take(struct poly_index *index, uint32_t slots, uint32_t ef,
                                   struct poly_context **context, struct poly_error *err);
/* The same of one that has been taken, as slots come. POLY_NO_MEMORY: as it was. */
enum poly_status poly_context_fit(struct poly_context *context, uint32_t slots, uint32_t ef,
                                  struct poly_error *err);
/* What walks compare from now on. */
void poly_context_look(struct poly_context *context, const struct poly_index *index,
                       enum poly_look look);
void poly_context_give(struct poly_index *index, struct poly_context *context);
void poly_context_free(struct poly_context *context); /* NULL is accepted */

/* --- the graph (graph.c, graph_search.c) --- */

struct poly_walk {
    uint32_t limit;                 /* slots from here on are not looked at */
    uint32_t end;                   /* the state that is searched */
    const struct poly_slots *slots; /* as bits; NULL: all */
    bool choosy;                    /* not every slot may be answered */
    int64_t deadline;               /* 0: none */
};

void poly_graph_init(struct poly_graph *graph);
void poly_graph_close(struct poly_graph *graph);

static inline pthread_mutex_t *poly_row_lock(struct poly_graph *graph, uint32_t slot)
{
    return &graph->rows[slot % INDEX_STRIPES];
}

/* As .sight has them. */
void poly_graph_distances(const struct poly_index *index, const struct poly_context *context,
                          const uint32_t *ids, uint32_t count, float *distances);
/* From the entry down to just above a level, one nearest each: the slot to go on from. */
uint32_t poly_graph_descend(const struct poly_index *index, struct poly_context *context,
                            uint64_t entry, uint32_t level, uint32_t limit);
/* Leaves the context->ef nearest of a level in the pool. Starts from what is in there, which is
 * marked as visited. false: the deadline passed. */
bool poly_graph_walk(const struct poly_index *index, struct poly_context *context,
                     const struct poly_walk *walk, uint32_t level);
/* .bits for that many slots, all zero. false: out of memory. */
bool poly_context_bits(struct poly_context *context, uint32_t slots);

/* Asks for memory that will be read soon. */
static inline void poly_row_fetch(const void *row, size_t size)
{
    for (size_t at = 0; at < size; at += 64)
        __builtin_prefetch((const uint8_t *)row + at);
}

/* A new search: nothing is visited, the pool is empty. */
void poly_context_clear(struct poly_context *context, uint32_t ef);
/* Puts a slot where it belongs in the pool, which has wanted its distance; its place. */
uint32_t poly_context_insert(struct poly_context *context, uint32_t slot, float distance);

static inline bool poly_context_wanted(const struct poly_context *context, float distance)
{
    return context->count < context->ef || distance < context->pool[context->count - 1].distance;
}

/* --- what things cost (plan.c) --- */

void poly_costs_init(struct poly_index *index);
/* Something has cost so much. */
void poly_costs_learn(_Atomic float *cost, float seen);
/* Slots from which on a graph is likely to be worth building. */
uint32_t poly_costs_graph_from(const struct poly_index *index);

/* --- originals on disk (disk.c) --- */

int64_t poly_costs_now(void); /* nanoseconds */
void poly_originals_init(struct poly_index *index);
/* They come from the disk, it seems: whoever will look at several asks for all of them first. */
bool poly_originals_slow(const struct poly_index *index);
void poly_originals_ask(const struct poly_index *index, uint32_t slot);
/* Makes those below end durable. POLY_UNAVAILABLE: the system's reason; or some are lost. */
enum poly_status poly_originals_sync(struct poly_index *index, uint32_t end,
                                     struct poly_error *err);
enum poly_status poly_originals_lost(struct poly_error *err);
/* So many were looked at since then. */
void poly_originals_seen(struct poly_index *index, uint32_t count, int64_t start);

/* --- scans (scan.c) --- */

/* The nearest of all that are offered: a heap, the farthest on top. */
struct poly_nearest {
    struct poly_near *near; /* room of .keep */
    uint32_t keep, count;
    float limit; /* farther ones are not wanted */
};

void poly_nearest_add(struct poly_nearest *nearest, uint32_t slot, float distance);
/* Ascending, equal ones by slot; it is a heap no more. */
void poly_nearest_sort(struct poly_nearest *nearest);

/* Offers the slots from .. end that fit by their originals; from 0 on: the exact answer.
 * POLY_TIMEOUT */
enum poly_status poly_scan_exact(struct poly_index *index, struct poly_context *context,
                                 const struct poly_index_search *search, uint32_t from,
                                 struct poly_nearest *nearest, struct poly_error *err);
/* The same to the pool, by their codes. */
enum poly_status poly_scan_tail(const struct poly_index *index, struct poly_context *context,
                                const struct poly_index_search *search, uint32_t from,
                                struct poly_error *err);

#endif
