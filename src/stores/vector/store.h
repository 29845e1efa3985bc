/* What the files of the store share, whichever engine answers. */
#ifndef POLY_STORES_VECTOR_STORE_H
#define POLY_STORES_VECTOR_STORE_H

#include "core/session.h"
#include "stores/vector/driver.h"

/* One query, as it was checked. */
struct poly_vector_lookup {
    struct poly_session *session;
    struct poly_arena *arena;
    const struct poly_vector_query *query;
    int64_t deadline;
    struct poly_vector_scope *scopes; /* of its domains */
    const struct poly_where **wheres; /* the condition, as each of them means it */
    size_t count;
    uint32_t limit;      /* of the answer; the offset is the query's */
    const float *vector; /* of the query, its text, or the record that it names, where needed */
    struct poly_error *err;
};

/* --- check.c --- */

/* Everything that can be refused before anybody is asked. */
enum poly_status poly_vector_examine(struct poly_vector_lookup *lookup);

/* --- text.c --- */

/* Does its domains' embedder make vectors, all alike? */
enum poly_status poly_vector_check_text(const struct poly_vector_lookup *lookup);
/* The vectors of all texts among the lookups, which were examined. *failed: which one it is. */
enum poly_status poly_vector_embed(struct poly_vector_lookup *lookups, size_t count,
                                   size_t *failed);

/* --- hybrid.c --- */

static inline bool poly_vector_is_hybrid(const struct poly_vector_query *query)
{
    return query->hybrid.query != NULL;
}

/* How many candidates each side gives. */
uint32_t poly_vector_depth(const struct poly_vector_lookup *lookup);
/* May this query be a hybrid one? */
enum poly_status poly_vector_check_hybrid(const struct poly_vector_lookup *lookup);
/* matches, of the vectors' side, become the answer of both. */
enum poly_status poly_vector_fuse(struct poly_vector_lookup *lookup, struct poly_matches *matches);

/* --- rows.c --- */

/* The record that a match is about. POLY_NOT_FOUND: it is gone. */
enum poly_status poly_vector_row(struct poly_session *session, const struct poly_domain *domain,
                                 struct poly_text key, struct poly_row *row,
                                 struct poly_error *err);

#endif
