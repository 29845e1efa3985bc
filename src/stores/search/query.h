/*
 * The query language: words, "phrases", prefix*, -not, OR, AND, (groups),
 * field:word. Text → tree → an FTS5 expression, in which every byte of the
 * user's stands inside double quotes. docs/search.md has the grammar.
 */
#ifndef POLY_STORES_SEARCH_QUERY_H
#define POLY_STORES_SEARCH_QUERY_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/status.h"
#include "followers/extract.h"

enum poly_query_type {
    POLY_QUERY_TERM, /* a word or a phrase */
    POLY_QUERY_AND,  /* all children, and none of the negated ones */
    POLY_QUERY_OR
};

struct poly_query_node {
    enum poly_query_type type;
    bool negated; /* a child of AND: must not match */
    int position; /* byte offset in the query */
    struct poly_query_node *children, *next;
    /* POLY_QUERY_TERM */
    struct poly_text text;
    const char *field; /* NULL: any */
    int field_position;
    bool prefix;
    bool excluded; /* below a negation: does not count for the rank */
    size_t index;  /* in poly_query.terms */
};

struct poly_query {
    const struct poly_query_node *root;
    const struct poly_query_node *const *terms; /* in the order of the text */
    size_t term_count;
};

/*
 * POLY_INVALID: err->position is the byte offset of what is wrong, and the
 * message says it in words. POLY_LIMIT never: a query over a maximum is
 * POLY_INVALID at the place where it went over. Everything is in the arena.
 */
enum poly_status poly_query_parse(const char *text, struct poly_arena *arena,
                                  struct poly_query **query, struct poly_error *err);

/* What an engine says of a term that none of the domains can have: POLY_INVALID, at its place. No
 * such field (domain: one of them), or nothing in it that the index could hold. */
enum poly_status poly_query_no_field(const struct poly_query_node *term, const char *domain,
                                     bool several, struct poly_error *err);
enum poly_status poly_query_no_word(const struct poly_query_node *term, bool trigram,
                                    struct poly_error *err);

/* Where a term may match in one index. */
#define POLY_QUERY_ANY (-1)     /* in every column */
#define POLY_QUERY_NOWHERE (-2) /* the index lacks its field, or cannot hold such a word */
/* Of a term's field (NULL: any), in an index of these names. */
int poly_query_column(const struct poly_extract_names *names, const char *field);

/* Can it match anything at all? */
bool poly_query_alive(const struct poly_query_node *node, const int *columns);

/*
 * Prints the FTS5 expression for an index whose columns are named c0, c1 …
 * columns[i]: the column of term i, or one of the above. order[n] becomes the
 * index of the n-th phrase of the expression (FTS5 counts them in this order);
 * it has room for all terms. Returns the number of phrases; 0: nothing can
 * match, and nothing was printed.
 */
size_t poly_query_print(const struct poly_query *query, const int *columns, struct poly_buffer *out,
                        size_t *order);
/* The expression for one term alone. */
void poly_query_print_term(const struct poly_query_node *term, int column, struct poly_buffer *out);

#endif
