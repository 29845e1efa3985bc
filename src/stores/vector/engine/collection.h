/*
 * An index and the catalog of its slots, as one thing: put, remove, find, keep on disk. A search
 * sees the state of one publish(), in vectors, keys and filter values alike.
 *
 * On disk a folder: "originals", and for each save N "index.N" and "catalog.N"; "head" names N and
 * the position, and is renamed into place last, so that a crash leaves the save before. What comes
 * after the position is not there after a restart: whoever feeds the collection has it and gives it
 * again.
 *
 * When a fifth of the slots is dead, the collection writes the live ones into a new index beside
 * the old one (compaction), which answers until then. Memory meanwhile: codes, links and catalog of
 * both.
 *
 * Threads: one at a time puts, removes, publishes, reverts. Any number find. One works and saves.
 */
#ifndef POLY_STORES_VECTOR_ENGINE_COLLECTION_H
#define POLY_STORES_VECTOR_ENGINE_COLLECTION_H

#include "stores/vector/engine/catalog.h"
#include "stores/vector/engine/section.h"

struct poly_collection;

struct poly_collection_options {
    struct poly_index_options index; /* .originals is not looked at */
    const char *const *columns;      /* that one may filter by */
    size_t column_count;
    const char *folder; /* made when missing, its parent is there; NULL: in memory only */
    struct poly_loading *watch; /* of what is saved, while it opens; NULL: nobody looks */
};

/* *position: of the save that was found; 0: none, or it was damaged (and was thrown away, *damaged
 * says so): the collection is empty. POLY_UNAVAILABLE: the folder cannot be read or made, or it was
 * to stop: nothing has changed. */
enum poly_status poly_collection_open(const struct poly_collection_options *options,
                                      struct poly_collection **collection, uint64_t *position,
                                      bool *damaged, struct poly_error *err);

/* What opening would find, as far as its first pages and lengths say, in a moment; nothing is
 * changed. Opening may still find it damaged. */
struct poly_collection_saved {
    uint64_t position; /* 0: nothing is saved, or it is damaged */
    uint64_t bytes;    /* that opening will read */
    bool damaged;
};
enum poly_status poly_collection_peek(const struct poly_collection_options *options,
                                      struct poly_collection_saved *saved, struct poly_error *err);

void poly_collection_close(
    struct poly_collection *collection); /* NULL is accepted; saves nothing */
/* Removes what poly_collection_open() has made. No effect when it is not there. */
enum poly_status poly_collection_destroy(const char *folder, struct poly_error *err);

/* Replaces what the key has. vector: of the options' dimensions; refused as poly_vector_pack()
 * says, with no effect. After any other error put, remove and publish are refused until revert. */
enum poly_status poly_collection_put(struct poly_collection *collection,
                                     const struct poly_catalog_entry *entry, const float *vector,
                                     struct poly_error *err);
/* No effect when the key is not there. Errors: as of put. */
enum poly_status poly_collection_remove(struct poly_collection *collection, struct poly_text owner,
                                        struct poly_text key, struct poly_error *err);
/* position: everything up to there is in. Not after an error: that is a bug of the caller. */
void poly_collection_publish(struct poly_collection *collection, uint64_t position);
void poly_collection_revert(struct poly_collection *collection);

/* A state that was published, for several searches that are to see the same. */
struct poly_part;
struct poly_collection_state {
    struct poly_part *part;
    uint32_t end;
};
/* What is published now stays as it is for whoever holds it. Release it soon: it keeps memory. Any
 * thread. */
void poly_collection_hold(struct poly_collection *collection, struct poly_collection_state *state);
void poly_collection_release(struct poly_collection *collection,
                             struct poly_collection_state *state);

struct poly_find {
    const struct poly_collection_state *state; /* NULL: what is published now */
    const float *vector;           /* or NULL: of like */
    struct poly_text like;         /* key, of the owner; itself left out */
    const struct poly_text *owner; /* NULL: of all */
    const struct poly_where *where;
    uint32_t limit; /* with offset at most 11,000 */
    uint32_t offset;
    float farthest; /* INFINITY: no bound */
    uint32_t ef;    /* 0: a default by k */
    bool exact;
    enum poly_index_way way; /* as in index.h: for tests and measurements */
    bool vectors;            /* give them back */
    const char *group;       /* column; NULL: none */
    uint32_t group_limit;
    int64_t deadline; /* poly_clock_monotonic(); 0: none */
};

struct poly_found {
    struct poly_text owner, key;
    uint64_t version;
    float distance;
    const float *vector; /* NULL when not asked for */
};

struct poly_finding {
    const struct poly_found *found; /* nearest first, equal ones by key */
    size_t count;
    enum poly_index_plan plan;
    uint64_t candidates, visited;
};

/* The answer is in the arena. POLY_NOT_FOUND: no vector under like. Other errors as in index.h and
 * catalog.h. */
enum poly_status poly_collection_find(struct poly_collection *collection,
                                      const struct poly_find *find, struct poly_arena *arena,
                                      struct poly_finding *finding, struct poly_error *err);

/*
 * Does what there is to do in the background, until nothing is or *stop: links, compacts.
 * *more: there is more (it stops after a part of a second, so that the caller can look around).
 * threads: how many link at a time. The end of a compaction may wait for the next publish, which
 * takes some milliseconds longer then; there is more after it. An error leaves the collection as it
 * was; a compaction that failed is tried again after a minute.
 */
enum poly_status poly_collection_work(struct poly_collection *collection, unsigned threads,
                                      const atomic_bool *stop, bool *more, struct poly_error *err);

/*
 * Makes the published state durable, with its position. No effect when that is saved, or the
 * position is 0. POLY_UNAVAILABLE: the disk is full, or fails; the save before is still good, and a
 * later one may work. Files that are not needed any more go with a save: it is worth one after a
 * compaction, too, as poly_collection_unsaved() says.
 */
enum poly_status poly_collection_save(struct poly_collection *collection, struct poly_error *err);
/* Would a save write anything? Any thread. */
bool poly_collection_unsaved(struct poly_collection *collection);
/* Position of the last save; any thread. */
uint64_t poly_collection_saved(const struct poly_collection *collection);

struct poly_collection_numbers {
    struct poly_index_numbers index;
    uint64_t live;
    uint64_t position, saved;
    uint64_t catalog_bytes, file_bytes;
    bool compacting; /* memory and bytes count both parts */
};
void poly_collection_measure(struct poly_collection *collection,
                             struct poly_collection_numbers *numbers);

#endif
