/* Filters of a search, as SQL with bound values over an index's filter table ("f"). */
#ifndef POLY_STORES_SEARCH_EMBEDDED_FILTER_H
#define POLY_STORES_SEARCH_EMBEDDED_FILTER_H

#include "base/sqlite.h"
#include "followers/where.h"
#include "stores/search/embedded.h"

/* POLY_INVALID: a comparison that cannot mean anything: column, values, path. */
enum poly_status poly_filter_check(struct poly_db *db, const struct poly_where *where,
                                   struct poly_error *err);

/* Does the index keep that column? A poly_where_can_hold() asks. */
bool poly_filter_has(const void *index, const char *column);

/* Adds the condition; parameters are numbered from first on. What is not in the index is null. */
void poly_filter_print(const struct poly_search_index *index, const struct poly_where *where,
                       int first, struct poly_buffer *out);
/* Binds them in the same order. Times of events are texts in the arena. */
enum poly_status poly_filter_bind(const struct poly_search_index *index,
                                  const struct poly_where *where, int first,
                                  sqlite3_stmt *statement, struct poly_arena *arena);

#endif
