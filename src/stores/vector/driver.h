/*
 * What a vector engine does beyond core/driver.h: it answers. A collection is one vector of one
 * domain: (domain, name). The tenant of each is in the request, so none can be forgotten.
 */
#ifndef POLY_STORES_VECTOR_DRIVER_H
#define POLY_STORES_VECTOR_DRIVER_H

#include "core/driver.h"
#include "core/projection.h"
#include "polystore/vector.h"

/* Where to look, and whose records. */
struct poly_vector_scope {
    const struct poly_domain *domain;
    const struct poly_domain_vector *vector; /* one of the domain's */
    struct poly_text tenant;                 /* empty for a domain without tenants, or for all */
    bool all_tenants;
};

struct poly_vector_request {
    struct poly_vector_scope scope;
    const float *vector;   /* checked: the scope's dimensions, finite; NULL: that of like */
    struct poly_text like; /* key; data NULL: none */
    const struct poly_where *where; /* NULL: none */
    uint32_t limit, offset;         /* limit > 0 */
    double farthest;                /* greatest distance; INFINITY: no bound */
    uint32_t ef;                    /* > 0 */
    bool exact, vectors;
    const char *group; /* NULL: none */
    uint32_t group_limit;
    int64_t deadline; /* poly_clock_monotonic() */
};

struct poly_vector_driver {
    struct poly_driver base;

    /* Any number of threads. matches, nearest first, with .distance, and all that it points to is
     * in the arena; domain, similarity, score and row are filled by the store. POLY_NOT_FOUND:
     * .like names no record with a vector. */
    enum poly_status (*search)(const struct poly_projected *projected,
                               const struct poly_vector_request *request, struct poly_arena *arena,
                               struct poly_matches *matches, struct poly_error *err);
    /* The same for several, on one state; *failed is the number of the request that err is about.
     * NULL: they are asked one by one. */
    enum poly_status (*search_all)(const struct poly_projected *projected,
                                   const struct poly_vector_request *requests, size_t count,
                                   struct poly_arena *arena, struct poly_matches *matches,
                                   size_t *failed, struct poly_error *err);
    /* Fills all but domain, name, model and the shape. */
    enum poly_status (*stats)(const struct poly_projected *projected,
                              const struct poly_vector_scope *scope,
                              struct poly_vector_stats *stats, struct poly_error *err);
};

/* What the configuration calls it. */
enum poly_metric poly_vector_metric(const struct poly_domain_vector *vector);
double poly_vector_similarity(const struct poly_domain_vector *vector, double distance);

extern const struct poly_vector_driver poly_vector_embedded;   /* own engine: HNSW, exact scans */
extern const struct poly_vector_driver poly_vector_postgresql; /* pgvector */

#endif
