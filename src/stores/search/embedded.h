/* The embedded search engine, on the inside: SQLite FTS5, co-located or in a file of its own. */
#ifndef POLY_STORES_SEARCH_EMBEDDED_H
#define POLY_STORES_SEARCH_EMBEDDED_H

#include <pthread.h>

#include "base/sqlite.h"
#include "stores/search/driver.h"
#include "followers/extract.h"

/*
 * One domain in one generation. What it indexes, and how, was written down when
 * the generation was made, and stays: a change of the configuration takes
 * effect with the next generation. Weights are only used by reads, so they come
 * from the configuration.
 */
struct poly_search_index {
    int64_t number; /* in the names of its tables */
    const char *name;
    const char *source; /* record.domain: the domain's name, or a stream's category */
    bool stream;
    bool tenants; /* documents belong to tenants; else all have tenant number 0 */
    bool trigram;
    struct poly_extract_names names;
    const double *weights;
    /* SQL */
    const char *insert, *remove, *lengths, *put_filters, *remove_filters;
    const char *rank, *rank_filtered, *count, *mark;
};

struct poly_search_generation {
    struct poly_search_generation *next;
    uint64_t number;
    bool dropped; /* kept until close: connections hold statements by their text's address */
    struct poly_arena *arena;
    const struct poly_search_index *indexes;
    size_t index_count;
    /* SQL */
    const char *applied, *set_applied;
    const char *find_tenant, *add_tenant, *last_document;
    const char *add_document, *add_documents, *find_document, *change_document, *document;
    const char *stats, *add_stats, *total, *positions;
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
const struct poly_search_index *
poly_generation_index(const struct poly_search_generation *generation, const char *domain);

/* --- embedded_apply.c --- */

/* In the transaction that is open on db. */
enum poly_status poly_embedded_apply(struct poly_embedded *self, struct poly_db *db,
                                     const struct poly_search_generation *generation,
                                     struct poly_batch *batch, struct poly_error *err);

/* --- embedded_find.c --- */

/* On the snapshot that is open on db. */
enum poly_status poly_embedded_find(const struct poly_search_generation *generation,
                                    struct poly_db *db, const struct poly_search_request *request,
                                    struct poly_arena *arena, struct poly_hits *hits,
                                    struct poly_error *err);

#endif
