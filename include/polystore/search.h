/*
 * Full-text search over the fields that polystore.yaml names for a domain.
 *
 * The query language: words (all must match), "a phrase", prefix*, -not,
 * OR, AND, (groups), field:word. docs/search.md has the grammar.
 */
#ifndef POLYSTORE_SEARCH_H
#define POLYSTORE_SEARCH_H

#include "polystore/relational.h"

#ifdef __cplusplus
extern "C" {
#endif

struct poly_search_query {
    const char *query;
    const char *const *domains;        /* NULL-terminated; NULL: every searchable one */
    const struct poly_filter *filters; /* on fields that the domain lists under search: filters */
    size_t filter_count;
    const struct poly_where *where; /* must hold besides them, on the same fields; NULL: none */
    uint32_t limit;  /* 0: 10; at most 1,000 */
    uint32_t offset; /* at most 10,000 */
    bool count;      /* also count all matches */
    bool highlight;  /* fill highlight and snippet */
    const char *mark_open; /* NULL: "<b>" and "</b>"; HTML in the text is not escaped */
    const char *mark_close;
};

struct poly_hit {
    struct poly_text domain;
    struct poly_text key;
    uint64_t version;           /* of the record or stream that was indexed */
    double score;               /* BM25, higher is better */
    struct poly_text snippet;   /* about 24 words around the best place */
    struct poly_row highlights; /* the matching fields, marked */
};

struct poly_hits {
    const struct poly_hit *hits;
    size_t count;
    uint64_t total;      /* with .count; else 0 */
    uint64_t generation; /* of the index; every hit is from this one */
};

/*
 * Best hits first, equal ones by domain and key. POLY_INVALID: the query, err->position is the
 * offset in it. POLY_UNAVAILABLE: the index is stopped or being filled, and no stale answer was
 * asked for with a token. Other tenants' documents are neither matched, counted nor ranked.
 */
POLY_API enum poly_status poly_search(struct poly_session *session,
                                      const struct poly_search_query *query, struct poly_hits *hits,
                                      struct poly_error *err) POLY_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
