/* What a vector is made of: the text of a record. */
#ifndef POLY_STORES_VECTOR_EMBEDDING_TEXT_H
#define POLY_STORES_VECTOR_EMBEDDING_TEXT_H

#include "base/arena.h"
#include "core/domain.h"
#include "polystore/log.h"
#include "stores/vector/embedding_queue.h"

struct poly_embedding_image {
    struct poly_text text; /* in the arena; empty: there is nothing to make a vector of */
    bool vector;           /* there is one, whoever made it */
    uint8_t hash[POLY_EMBEDDING_HASH];    /* of both */
    uint8_t of_text[POLY_EMBEDDING_HASH]; /* of the text alone: that of both, without a vector */
};

/* Of a change that is no deletion. What is no such object has no text and no vector. next: a vector
 * that is to come; the record's is not looked at. */
enum poly_status poly_embedding_image(const struct poly_domain_vector *vector, bool next,
                                      const struct poly_record *record, struct poly_arena *arena,
                                      struct poly_embedding_image *image, struct poly_error *err);
/* That of the record once it has this vector. */
void poly_embedding_hash(struct poly_text text, const float *numbers, size_t count,
                         uint8_t hash[POLY_EMBEDDING_HASH]);
/* Of everything in the configuration that makes another vector of the same record. */
void poly_embedding_shape(const struct poly_domain_vector *vector,
                          uint8_t shape[POLY_EMBEDDING_HASH]);

#endif
