/* The embedded search engine, on the inside: SQLite FTS5, co-located or in a file of its own. */
#ifndef POLY_STORES_SEARCH_EMBEDDED_H
#define POLY_STORES_SEARCH_EMBEDDED_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/limits.h"
#include "base/sqlite.h"
#include "followers/extract.h"
#include "stores/search/driver.h"

/*
 * One domain in one generation. What it indexes, and how, was written down when
 * the generation was made, and stays: a change of the configuration takes
 * effect with the next generation. Weights are only used by reads, so they come
 * from the configuration.
 */
struct poly_search_index {
    int64_t number;                 /* in the names of its tables; 0: it has none yet */
    bool is_made;                   /* of a domain that was made while running … */
    const struct poly_domain *made; /* … this one; NULL: it was dropped before the start */
    bool taken_out;                 /* of who applies */
    const char *name;               /* of the domain */
    const char *label;              /* … in the generation */
    const char *source; /* record.domain: the domain's name, or a stream's category */
    bool stream;
    bool tenants; /* documents belong to tenants; else all have tenant number 0 */
    bool trigram;
    struct poly_extract_names names;
    const double *weights;
    /* SQL */
    const char *insert, *remove, *texts, *lengths, *put_filters, *remove_filters;
    const char *rank, *rank_filtered, *count, *mark;
};

struct poly_search_generation {
    struct poly_search_generation *next;
    uint64_t number;
    bool dropped; /* kept until close: connections hold statements by their text's address */
    struct poly_arena *arena;
    struct poly_search_index *indexes[POLY_MAX_DOMAINS + POLY_MAX_COLLECTIONS_MADE];
    _Atomic size_t index_count; /* grows, under the store's lock */
    /* SQL */
    const char *applied, *set_applied;
    const char *find_tenant, *add_tenant, *last_document;
    const char *add_document, *add_documents, *find_document, *change_document, *document;
    const char *stats, *add_stats, *total, *positions, *find_domain;
};

struct poly_embedded {
    struct poly_store store; /* first: a poly_store is one of these */
    const struct poly_config *config;
    struct poly_sqlite *file; /* following: its own file; NULL: co-located */
    pthread_mutex_t writing;  /* following: who has file's writer; both: who has arena */
    struct poly_arena *arena; /* of apply() */
    pthread_mutex_t lock;     /* guards generations */
    struct poly_search_generation *generations;
};

/* Rows of add_documents, and the parameters of each. */
enum { POLY_SEARCH_ROWS = 32, POLY_SEARCH_COLUMNS = 7 };

/* A document's number: its tenant's documents are one range, so the tenant is a native constraint
 * of FTS5, which holds before anything is matched. */
#define POLY_DOCUMENT_BITS 40
#define POLY_MAX_TENANT_NUMBER (INT64_C(1) << (62 - POLY_DOCUMENT_BITS))

/* After a NULL from poly_db_prepare(). */
static inline enum poly_status poly_embedded_why(const struct poly_error *err)
{
    return err == NULL ? POLY_UNAVAILABLE : err->status;
}

/* --- embedded_generation.c --- */

/* Makes the tables of a generation from the configuration; no effect when there. */
enum poly_status poly_generation_make(struct poly_embedded *self, struct poly_db *db,
                                      uint64_t number, struct poly_error *err);
enum poly_status poly_generation_drop(struct poly_embedded *self, struct poly_db *db,
                                      uint64_t number, struct poly_error *err);
/* As it was made; any thread. It lives as long as the store. POLY_NOT_FOUND: there is none. */
enum poly_status poly_generation_find(struct poly_embedded *self, struct poly_db *db,
                                      uint64_t number,
                                      const struct poly_search_generation **generation,
                                      struct poly_error *err);
/* Of a declared domain; NULL: it was built without it. */
const struct poly_search_index *
poly_generation_index(const struct poly_search_generation *generation, const char *domain);

/* For embedded_made.c. With the store's lock: what is known of a made domain that has that number
 * in the database; 0: of one that has none. */
enum poly_status poly_generation_add(struct poly_search_generation *generation,
                                     const struct poly_domain *domain, int64_t number,
                                     const struct poly_search_index **index,
                                     struct poly_error *err);
/* In the transaction that is open on db: its tables, under a number of its own. */
enum poly_status poly_generation_take_up(const struct poly_search_generation *generation,
                                         struct poly_db *db, const struct poly_domain *domain,
                                         const char *name, int64_t *number, struct poly_error *err);
/* … and what take_up() and all that was applied since have made. No effect when it is not there. */
enum poly_status poly_generation_take_out(const struct poly_search_generation *generation,
                                          struct poly_db *db, const struct poly_search_index *index,
                                          struct poly_error *err);

/* --- embedded_made.c --- */

/* Is it the name of a made domain in a generation? *domain NULL: one that is not there any more. */
bool poly_generation_is_made(const char *name, const struct poly_config *config,
                             const struct poly_domain **domain);
/* On the snapshot of db. (*index)->number 0: nothing of it has been applied. */
enum poly_status poly_generation_made(struct poly_embedded *self,
                                      const struct poly_search_generation *generation,
                                      struct poly_db *db, const struct poly_domain *domain,
                                      const struct poly_search_index **index,
                                      struct poly_error *err);
/* Those that the records of a batch are of, in self's arena. */
struct poly_search_met {
    const struct poly_search_index **list;
    size_t count;
};
/* In the transaction that is open on db: takes up what is new of them, and out what was dropped. */
enum poly_status poly_generation_meet(struct poly_embedded *self,
                                      const struct poly_search_generation *generation,
                                      struct poly_db *db, const struct poly_batch *batch,
                                      struct poly_search_met *met, struct poly_error *err);

/* --- embedded_apply.c --- */

/* In the transaction that is open on db. */
enum poly_status poly_embedded_apply(struct poly_embedded *self, struct poly_db *db,
                                     const struct poly_search_generation *generation,
                                     struct poly_batch *batch, struct poly_error *err);

/* --- embedded_find.c --- */

/* On the snapshot that is open on db. */
enum poly_status poly_embedded_find(struct poly_embedded *self,
                                    const struct poly_search_generation *generation,
                                    struct poly_db *db, const struct poly_search_request *request,
                                    struct poly_arena *arena, struct poly_hits *hits,
                                    struct poly_error *err);

#endif
