/* PostgreSQL's SQL, word by word: as its own scanner reads it with standard_conforming_strings on.
 */
#ifndef POLY_STORES_RELATIONAL_POSTGRESQL_WORD_H
#define POLY_STORES_RELATIONAL_POSTGRESQL_WORD_H

#include <stdbool.h>
#include <stddef.h>

enum poly_word_kind {
    POLY_WORD_END,
    POLY_WORD_PLAIN,  /* a keyword or a name without quotes */
    POLY_WORD_NAME,   /* "a name" */
    POLY_WORD_TEXT,   /* 'a', E'a', B'1', X'1', $tag$a$tag$ */
    POLY_WORD_NUMBER, /* also $1 */
    POLY_WORD_SIGN,   /* one character */
    POLY_WORD_BROKEN  /* a quote or comment without an end, or U&: nothing follows */
};

/* A view of the text. */
struct poly_word {
    enum poly_word_kind kind;
    const char *at;
    size_t size;
};

void poly_word_first(struct poly_word *token, const char *sql);
void poly_word_next(struct poly_word *token);
/* Is it that word, in whatever case? Not when it stands in quotes. */
bool poly_word_is(const struct poly_word *token, const char *word);

#endif
