/* Filters of a search, as SQL with bound values over an index's filter table ("f"). */
#ifndef POLY_STORES_SEARCH_EMBEDDED_FILTER_H
#define POLY_STORES_SEARCH_EMBEDDED_FILTER_H

#include "base/sqlite.h"
#include "stores/search/embedded.h"

/* POLY_INVALID: a filter that cannot mean anything: values, path. */
enum poly_status poly_filter_check(struct poly_db *db, const struct poly_filter *filters,
                                   size_t count, struct poly_error *err);

/* Does the index keep all columns that the filters ask for? */
bool poly_filter_fits(const struct poly_search_index *index, const struct poly_filter *filters,
                      size_t count);

/* Adds " AND …" for each; parameters are numbered from first on. */
void poly_filter_print(const struct poly_search_index *index, const struct poly_filter *filters,
                       size_t count, int first, struct poly_buffer *out);
/* Binds them in the same order. times: 28 bytes for each value that is a time, in the arena. */
enum poly_status poly_filter_bind(const struct poly_search_index *index,
                                  const struct poly_filter *filters, size_t count, int first,
                                  sqlite3_stmt *statement, struct poly_arena *arena);

#endif
