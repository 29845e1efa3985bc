/*
 * Vectors: the records whose embedding is nearest to one that is given.
 *
 * A domain says in polystore.yaml which of its columns holds a vector, and of how many dimensions.
 * The vector is written with its record (a column's value is a JSON array of numbers, or bytes:
 * little-endian IEEE 754 singles) and follows the log like every other store, so a search that
 * carries the write's token, and on the embedded default every search after its acknowledgement,
 * sees it.
 *
 * Filters and tenant apply before the k nearest are chosen: k come back whenever k match.
 */
#ifndef POLYSTORE_VECTOR_H
#define POLYSTORE_VECTOR_H

#include "polystore/relational.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * How near two vectors are. Answers come in order of distance, the least first.
 *
 *             distance             similarity
 *   COSINE    1 - cos(a, b)        1 - distance, -1 to 1
 *   INNER     -(a . b)             a . b
 *   L2        |a - b|              1 / (1 + distance), 0 to 1
 *   HAMMING   bits that differ     1 - distance / dimensions; of binary vectors only
 */
enum poly_metric { POLY_COSINE, POLY_INNER, POLY_L2, POLY_HAMMING };

enum poly_fusion {
    POLY_FUSION_RANK,    /* reciprocal rank fusion: sum of weight / (60 + rank) */
    POLY_FUSION_WEIGHTED /* weight * (score scaled to 0..1 over the candidates) */
};

/* With full text: the domain must be searchable. */
struct poly_hybrid {
    const char *query; /* as for poly_search(); NULL: vectors only */
    enum poly_fusion fusion;
    double weight; /* of the vector's side, 0 to 1; the text's has the rest; 0 with .query: 0.5 */
};

struct poly_vector_query {
    const char *const *domains; /* NULL-terminated; each with a vector of that shape */
    const char *name;           /* which of a record's vectors; NULL: its only one */
    const float *vector;        /* exactly one of vector, like, text */
    size_t dimensions;
    const char *text; /* near what its vector is, made by the domain's embedder */
    const char *like; /* key of a record (of the first domain) whose vector is meant; it is itself
                       * left out of the answer */
    const char
        *model; /* that made vector; NULL: not said. Another than the domain's: POLY_INVALID */
    const struct poly_where *where; /* NULL: none */
    uint32_t limit;                 /* 0: 10; at most 1,000 */
    uint32_t offset;                /* at most 10,000 */
    bool has_threshold;
    double threshold;     /* least similarity of an answer */
    uint32_t ef;          /* candidates kept while searching; 0: the domain's; at most 10,000 */
    bool exact;           /* look at every vector that matches */
    bool vectors;         /* give the vectors back, too */
    bool rows;            /* … and the records themselves */
    const char *group;    /* a filter column: at most .group_limit answers for each of its values */
    uint32_t group_limit; /* 0: 1 */
    struct poly_hybrid hybrid;
};

struct poly_match {
    struct poly_text domain;
    struct poly_text key;
    uint64_t version; /* of the record whose vector it is */
    double distance;  /* NaN: found by its text only */
    double similarity;
    double score;        /* what the answer is ordered by, higher is better: the similarity; hybrid:
                          * of the fusion */
    const float *vector; /* with .vectors, else NULL; cosine: of length 1 */
    struct poly_row row; /* with .rows; empty when the record has gone since */
};

struct poly_matches {
    const struct poly_match *matches;
    size_t count;
    uint64_t generation; /* every match is from this one */
    size_t dimensions;   /* of the vectors */
    /* how it was found, over all domains */
    const char *plan;    /* "exact", "graph", "filtered exact", "filtered graph"; "mixed" */
    uint64_t candidates; /* records that filter and tenant let through; 0: not counted */
    uint64_t visited;    /* distances computed */
};

/*
 * Nearest first, equal ones by domain and key. POLY_INVALID: a domain without such a vector, wrong
 * dimensions, NaN or infinity, a zero vector under cosine, a filter that is none of the domain's.
 * POLY_NOT_FOUND: .like names no record with a vector. POLY_UNAVAILABLE: the index is stopped or
 * being filled, and no stale answer was asked for with a token; or the embedder gives .text no
 * vector.
 */
POLY_API enum poly_status poly_vector_search(struct poly_session *session,
                                             const struct poly_vector_query *query,
                                             struct poly_matches *matches,
                                             struct poly_error *err) POLY_MUST_USE;

/* Several at once, in order; all must hold the same snapshot of the index. At most 256. */
POLY_API enum poly_status poly_vector_search_all(struct poly_session *session,
                                                 const struct poly_vector_query *queries,
                                                 size_t count, struct poly_matches *matches,
                                                 struct poly_error *err) POLY_MUST_USE;

struct poly_vector_stats {
    struct poly_text domain, name, model;
    size_t dimensions;
    enum poly_metric metric;
    const char *element; /* "f32", "f16", "int8", "binary" */
    uint32_t m, ef_construction, ef;
    uint64_t vectors; /* that can be found */
    uint64_t dead;    /* replaced or deleted, not yet given back */
    uint64_t linked;  /* in the graph, dead ones too; none where so few are as quickly scanned */
    uint64_t unlinked; /* wait to be linked, and are scanned until then */
    uint64_t memory_bytes, file_bytes;
    uint64_t saved_position;    /* of the log: what the saved index holds; 0: none is saved */
    uint64_t searches, visited; /* since the start */
    double recall; /* of the last live samples against exact, at their k; NaN: none yet */
    uint64_t samples;
};

/* Those of the domains that the session may see. A tenant's session: POLY_DENIED without ADMIN,
 * for the counts are of all tenants. */
POLY_API enum poly_status poly_vector_stats(struct poly_session *session,
                                            const struct poly_vector_stats **stats, size_t *count,
                                            struct poly_error *err) POLY_MUST_USE;

/*
 * Change of model. The vectors of another model are collected beside those that serve, and then
 * exchanged for them in one transaction: before its commit every search is answered from the old
 * ones, after it from the new ones, never from both. The old ones are then what is kept beside, so
 * that a swap back is the same step. For records of tables; all this needs the right ADMIN.
 */

/* One vector of a domain. */
struct poly_model_status {
    struct poly_text domain, name;
    struct poly_text model; /* that its vectors are of; empty: not said */
    size_t dimensions;
    struct poly_text embedder; /* that makes them; empty: none does */
    uint64_t changes;          /* of model, ever */
    struct poly_text named;    /* by the configuration; empty: none */
    size_t named_dimensions;
    /* What is collected beside it. */
    struct poly_text next; /* of that model; empty: nothing is */
    size_t next_dimensions;
    bool back;                      /* they are those of before the last swap */
    struct poly_text next_embedder; /* that makes them; empty: they are given */
    bool fills;                     /* … and does so now */
    /* Counted only where a domain is named, for all of its rows are looked at. */
    bool counted;
    uint64_t filled;  /* vectors of the next */
    uint64_t missing; /* records with a vector that lack one of the next */
    uint64_t refused; /* … because the embedder refuses their text */
    uint64_t stale;   /* … or have one of another version than they are now */
};

/* domain NULL: of all, without counts. */
POLY_API enum poly_status poly_model_status(struct poly_session *session, const char *domain,
                                            const struct poly_model_status **list, size_t *count,
                                            struct poly_error *err) POLY_MUST_USE;

struct poly_model_plan {
    const char *model;
    size_t dimensions;
    const char *embedder; /* of the configuration; NULL: that which makes the vectors now, if one */
    bool back; /* only: what is kept to go back to gets what came since, from its embedder */
};

/*
 * Vectors of that model are collected from now on; begun already, it goes on. What was kept to go
 * back to goes. name: as in a search. Where an embedder makes the vectors it makes those, too, of
 * every text, in the background and over restarts; the status has how far it is. POLY_CONFLICT:
 * another model's are being collected. POLY_INVALID: it is the model already; there is no such
 * embedder; the vectors are of a stream, which never changes. POLY_NOT_FOUND: no way back.
 */
POLY_API enum poly_status poly_model_plan(struct poly_session *session, const char *domain,
                                          const char *name, const struct poly_model_plan *plan,
                                          struct poly_error *err) POLY_MUST_USE;
/* The same, by the embedder of the present ones or by hand. */
POLY_API enum poly_status poly_model_begin(struct poly_session *session, const char *domain,
                                           const char *name, const char *model, size_t dimensions,
                                           struct poly_error *err) POLY_MUST_USE;

struct poly_model_vector {
    const char *tenant; /* NULL: the session's */
    const char *key;
    uint64_t version; /* of the record that it was made of; 0: as it is now */
    const float *vector;
    size_t dimensions;
};

struct poly_model_batch {
    const char *model; /* that they are of: that which is collected, else POLY_CONFLICT; NULL: it */
    const struct poly_model_vector *vectors;
    size_t count;
};

struct poly_model_added {
    size_t taken;
    size_t unknown; /* there is no such record */
    size_t stale;   /* it has another version */
};

/* Replaces what there is for the key. All or none: POLY_INVALID names the key whose vector cannot
 * be one. */
POLY_API enum poly_status poly_model_add(struct poly_session *session, const char *domain,
                                         const char *name, const struct poly_model_batch *batch,
                                         struct poly_model_added *added,
                                         struct poly_error *err) POLY_MUST_USE;

struct poly_model_swap {
    bool back;         /* to those of before the last swap; POLY_NOT_FOUND: there are none */
    bool drop_missing; /* what has no vector, or one of another version, gets null */
    bool skip_refused; /* what has none because the embedder refuses its text does */
};

struct poly_model_swapped {
    struct poly_text model;
    size_t dimensions;
    uint64_t changed;  /* records that have a vector of the model */
    uint64_t dropped;  /* … and those that have none any more */
    uint64_t position; /* of the last record of the log */
};

/* POLY_CONFLICT: records lack a vector, or were changed since, or their text is refused; the
 * message has how many, and the first of their keys. POLY_UNAVAILABLE: the embedder has not made
 * all yet. Nothing has happened then. */
POLY_API enum poly_status poly_model_swap(struct poly_session *session, const char *domain,
                                          const char *name, const struct poly_model_swap *how,
                                          struct poly_model_swapped *swapped,
                                          struct poly_error *err) POLY_MUST_USE;

/* What is kept beside is thrown away, also what one could go back to. */
POLY_API enum poly_status poly_model_abandon(struct poly_session *session, const char *domain,
                                             const char *name,
                                             struct poly_error *err) POLY_MUST_USE;

/*
 * A collection is a domain that is made while running, for records with vectors: afterwards it is
 * written, read and searched by its name like a domain of polystore.yaml. Its columns are "id" (the
 * key), "metadata" (JSON; null when there is none), and "embedding", or where its vectors have
 * names, those.
 */

/* One of several vectors of a record. */
struct poly_collection_vector {
    const char *name; /* small letters, digits and '_', at most 48 bytes; and of its column */
    uint32_t dimensions;
    const char *metric;  /* "cosine", "inner", "l2" or "hamming"; NULL: as in polystore.yaml … */
    const char *element; /* "f32", "f16", "int8" or "binary"; NULL, and for the next three 0 */
    uint32_t m, ef_construction, ef;
    const char *model; /* that makes the vectors; NULL: not said */
};

/* A field of the metadata that holds text. */
struct poly_collection_text {
    const char *field;
    double weight; /* of a word in it, 0.001 to 1000; 0: 1 */
};

struct poly_vector_collection {
    const char *name; /* small letters, digits and '_', at most 48 bytes */
    /* Its only vector, as above … */
    uint32_t dimensions;
    const char *metric;
    const char *element;
    uint32_t m, ef_construction, ef;
    const char *model;
    const char *const *filters; /* fields of the metadata that a search may filter by; or NULL */
    size_t filter_count;
    bool tenants; /* each record belongs to the tenant who wrote it; else all is everybody's */
    /* … or instead of all that those of this list, at most 16; NULL: one. */
    const struct poly_collection_vector *vectors;
    size_t vector_count;
    /* What is searched for words, by poly_search() and hybrid searches; NULL: nothing. */
    const struct poly_collection_text *texts;
    size_t text_count;
    const char *tokenizer; /* "words" or "trigram"; NULL: as in polystore.yaml … */
    const char *language;  /* "english" or "none"; NULL */
};

/*
 * Needs ADMIN. On disk when it returns. *made false (NULL is accepted): it was there with this very
 * definition. POLY_CONFLICT: something else has the name. POLY_INVALID names what is wrong with the
 * definition. POLY_LIMIT: there are 256.
 */
POLY_API enum poly_status poly_vector_create(struct poly_session *session,
                                             const struct poly_vector_collection *options,
                                             bool *made, struct poly_error *err) POLY_MUST_USE;
/* With all its records, which the log says were deleted. Needs ADMIN. POLY_NOT_FOUND;
 * POLY_CONFLICT: a domain of polystore.yaml. */
POLY_API enum poly_status poly_vector_drop(struct poly_session *session, const char *name,
                                           struct poly_error *err) POLY_MUST_USE;

/* In the order in which they were made, all of their options filled in. Needs READ. */
POLY_API enum poly_status poly_vector_collections(struct poly_session *session,
                                                  const struct poly_vector_collection **list,
                                                  size_t *count,
                                                  struct poly_error *err) POLY_MUST_USE;
/*
 * A domain may name an embedder, a server that makes vectors of texts: then the vector of a record
 * is made of its text, soon after the commit, and is written into the record as its next version.
 * How far that is stands in the status. A text that cannot be embedded stays without a vector until
 * it is changed, or somebody says that it should be tried again.
 */
struct poly_vector_refusal {
    struct poly_text tenant, key;
    uint64_t version; /* of the record */
    int64_t time;     /* when; microseconds since 1970 */
    struct poly_text error;
};

struct poly_refused_query {
    const char *domain;
    const char *name;   /* which of its vectors; NULL: the first that an embedder makes */
    bool next;          /* texts that the embedder of the next model refuses, while that is made */
    uint32_t limit;     /* 0: 100; at most 1,000 */
    const char *cursor; /* from the page before; NULL: the first page */
};

struct poly_refused_page {
    const struct poly_vector_refusal *refusals; /* by tenant and key */
    size_t count;
    const char *cursor; /* for the next page; NULL: this was the last */
};

/* ADMIN. POLY_NOT_FOUND: no embedder makes it. */
POLY_API enum poly_status poly_vector_refused(struct poly_session *session,
                                              const struct poly_refused_query *query,
                                              struct poly_refused_page *page,
                                              struct poly_error *err) POLY_MUST_USE;
/* All that were refused wait again, *count of them, also of a model to come, and a pause after a
 * failure ends. ADMIN. */
POLY_API enum poly_status poly_vector_retry(struct poly_session *session, const char *domain,
                                            const char *name, uint64_t *count,
                                            struct poly_error *err) POLY_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
