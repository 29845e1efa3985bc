/*
 * Words, split by Polystore and not by the server: the tokenizers of FTS5, so
 * that a query finds the same documents on either engine, whatever the
 * server's locale, and without an extension of it. PostgreSQL gets finished
 * tsvectors and tsqueries.
 */
#ifndef POLY_STORES_SEARCH_POSTGRESQL_WORDS_H
#define POLY_STORES_SEARCH_POSTGRESQL_WORDS_H

#include "base/arena.h"
#include "base/buffer.h"
#include "base/status.h"

enum poly_words_kind {
    POLY_WORDS_PLAIN,   /* words, without case and accents */
    POLY_WORDS_ENGLISH, /* their stems */
    POLY_WORDS_TRIGRAM, /* any three characters in a row */
    POLY_WORDS_KINDS
};

struct poly_words;

/* Shared by threads. */
enum poly_status poly_words_open(struct poly_words **words, struct poly_error *err);
void poly_words_close(struct poly_words *words); /* NULL is accepted */

/* Called for each word: how it is indexed, and where it stands in the text. false ends it. */
typedef bool poly_word_fn(void *arg, struct poly_text word, size_t start, size_t end);
/* prefix: the last word is the beginning of one. document: else a query. */
enum poly_status poly_words_split(struct poly_words *words, enum poly_words_kind kind,
                                  bool document, struct poly_text text, poly_word_fn *visit,
                                  void *arg, struct poly_error *err);

/* --- a document's tsvector, as text --- */

/*
 * One field after the other. PostgreSQL keeps a mebibyte of words, and places up
 * to 16,383: of a document that has more, the words behind are found alone, but
 * not in phrases; and what does not fit at all is not found.
 */
struct poly_vector {
    struct poly_words *splitter;
    enum poly_words_kind kind;
    struct poly_buffer *out;
    uint32_t words; /* how many, in all fields */
    size_t bytes;   /* that they take in the tsvector */
    uint32_t position;
    /* of the field that is being added */
    unsigned place;
    char letter;
    bool shared;
};

/* A word that stands for the document's domain and tenant: no word of a text is like it. */
void poly_vector_scope(struct poly_vector *vector, int64_t domain, struct poly_text tenant);
/* letter: its weight, A to D. shared: another field has it too, so that words are also kept under
 * the field's place. */
enum poly_status poly_vector_add(struct poly_vector *vector, unsigned place, char letter,
                                 bool shared, struct poly_text text, struct poly_error *err);

/* --- a query's words --- */

struct poly_lexemes {
    const struct poly_text *list;
    size_t count;
};

enum poly_status poly_words_query(struct poly_words *words, enum poly_words_kind kind,
                                  struct poly_text text, struct poly_arena *arena,
                                  struct poly_lexemes *lexemes, struct poly_error *err);

/* 'word', quoted for a tsquery or tsvector; under a field's place when that is not negative. */
void poly_words_quote(struct poly_buffer *out, int place, struct poly_text word);
void poly_words_quote_scope(struct poly_buffer *out, int64_t domain, struct poly_text tenant);

#endif
