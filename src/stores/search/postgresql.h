/* The search engine on PostgreSQL, on the inside: schema poly_search, a table for each generation.
 */
#ifndef POLY_STORES_SEARCH_POSTGRESQL_H
#define POLY_STORES_SEARCH_POSTGRESQL_H

#include "base/limits.h"
#include "followers/extract.h"
#include "followers/postgresql.h"
#include "stores/search/driver.h"
#include "stores/search/postgresql_words.h"

/* One domain in one generation, as it was when the generation was made. */
struct poly_ts_index {
    struct poly_follower_source base; /* first */
    enum poly_words_kind kind;
    struct poly_extract_names names;
    const char *letters;                 /* of each field: its weight, A to D */
    bool shared[POLY_MAX_SEARCH_FIELDS]; /* another field has the same letter */
    double weights[4];                   /* of the letters, by the configuration of today */
};

struct poly_ts_generation {
    struct poly_follower_generation base; /* first */
    const char *put;                      /* SQL */
};

struct poly_ts {
    struct poly_follower base; /* first: a poly_store is one of these */
    struct poly_words *words;
};

/* --- postgresql_generation.c --- */

extern const struct poly_follower_kind poly_ts_kind;

/* May be made in the arena. POLY_UNAVAILABLE: the generation was built without the domain. */
enum poly_status poly_ts_index(const struct poly_ts_generation *generation,
                               const struct poly_domain *domain, struct poly_arena *arena,
                               const struct poly_ts_index **index, struct poly_error *err);

/* --- postgresql_apply.c --- */

/* The kind's apply(). */
enum poly_status poly_ts_apply(struct poly_follower *self,
                               const struct poly_follower_generation *generation,
                               struct poly_pg *pg, struct poly_batch *batch,
                               struct poly_error *err);

/* --- postgresql_find.c --- */

enum poly_status poly_ts_find(struct poly_ts *self, const struct poly_ts_generation *generation,
                              struct poly_pg *pg, const struct poly_search_request *request,
                              struct poly_arena *arena, struct poly_hits *hits,
                              struct poly_error *err);

/* --- postgresql_mark.c --- */

struct poly_ts_marking {
    struct poly_words *words;
    const struct poly_ts_index *index;
    const struct poly_search_request *request;
    const struct poly_lexemes *terms; /* of each term of the query, in the index's kind */
    const int *columns;               /* where each may match */
    struct poly_arena *arena;
};

/* Marks what matches in a document's fields (data NULL: none), and fills snippet and highlights. */
enum poly_status poly_ts_mark(const struct poly_ts_marking *how, const struct poly_text *fields,
                              struct poly_hit *hit, struct poly_error *err);

#endif
