/* BM25 over one tenant's documents, as a function inside FTS5. */
#ifndef POLY_STORES_SEARCH_EMBEDDED_RANK_H
#define POLY_STORES_SEARCH_EMBEDDED_RANK_H

#include "base/limits.h"
#include "base/sqlite.h"

/*
 * What the function needs to know of the query, bound with poly_rank_bind():
 *
 *     poly_search_rank(table, ?)     score > 0; or -1: certainly below floor
 *     poly_search_columns(table)     bit i: column i has a match
 */
struct poly_rank {
    size_t phrase_count;
    double idf[POLY_MAX_QUERY_TERMS]; /* of each phrase; 0: does not count */
    double weights[POLY_MAX_SEARCH_FIELDS];
    double average; /* words in a document; > 0 */
    double floor;   /* a score below is of no interest */
};

/* Makes both functions known to a connection; at once when they are already. */
enum poly_status poly_rank_setup(struct poly_db *db, struct poly_error *err);

/* rank must live until the statement is reset. */
void poly_rank_bind(sqlite3_stmt *statement, int index, struct poly_rank *rank);

/* log(1 + (N - n + 1/2) / (n + 1/2)): never negative, so that every match has a score above 0. */
double poly_rank_idf(uint64_t documents, uint64_t matching);

/* Has this text anything that "words" would index? Asks the tokenizer itself. */
enum poly_status poly_rank_has_words(struct poly_db *db, struct poly_text text, bool *has,
                                     struct poly_error *err);

#endif
