/*
 * What a search engine does beyond core/driver.h: it answers. The query is a
 * tree (query.h), so no engine's own query language shows through; the tenant
 * of every domain is in the request, so none can be forgotten.
 */
#ifndef POLY_STORES_SEARCH_DRIVER_H
#define POLY_STORES_SEARCH_DRIVER_H

#include "core/driver.h"
#include "core/projection.h"
#include "polystore/search.h"
#include "stores/search/query.h"

/* A domain to look in, and whose documents there. */
struct poly_search_scope {
    const struct poly_domain *domain; /* with search.field_count > 0 */
    struct poly_text tenant;          /* empty for a domain without tenants */
};

struct poly_search_request {
    const struct poly_query *query;
    const struct poly_search_scope *scopes; /* sorted by the domain's name, each once */
    size_t scope_count;
    const struct poly_where *where; /* NULL: none */
    uint32_t limit, offset; /* limit > 0 */
    bool highlight;
    struct poly_text mark_open, mark_close;
    int64_t deadline; /* poly_clock_monotonic() */
};

struct poly_search_driver {
    struct poly_driver base;

    /*
     * Any number of threads. All answers come from projected->generation. hits
     * (with .total, always) and all that it points to is in the arena.
     * POLY_INVALID: a field, filter or word that none of the domains can have;
     * POLY_TIMEOUT: the deadline; POLY_UNAVAILABLE: the generation was built
     * without one of the domains.
     */
    enum poly_status (*search)(const struct poly_projected *projected,
                               const struct poly_search_request *request, struct poly_arena *arena,
                               struct poly_hits *hits, struct poly_error *err);
};

extern const struct poly_search_driver poly_search_embedded;   /* SQLite FTS5 */
extern const struct poly_search_driver poly_search_postgresql; /* tsvector, GIN */

#endif
