/* What an embedder answers, read without a tree of its numbers. */
#ifndef POLY_STORES_VECTOR_EMBEDDER_ANSWER_H
#define POLY_STORES_VECTOR_EMBEDDER_ANSWER_H

#include "base/status.h"
#include "polystore/value.h"

/* Room for the vectors of one answer: number i of vector v at v * dimensions + i. */
struct poly_embeddings {
    float *vectors;
    size_t count, dimensions; /* at least 1 */
};

/*
 * {"data": [{"index": 0, "embedding": [0.1, …]}, …], …} in any order of the indexes; an embedding
 * may also be a string: base64 of little-endian singles. Each vector comes exactly once, whole and
 * finite. POLY_UNSUPPORTED: it is something else, and the message says what. The room's content
 * then means nothing.
 */
enum poly_status poly_embeddings_read(struct poly_text json, const struct poly_embeddings *room,
                                      struct poly_error *err);

enum { POLY_EMBEDDER_PROBLEM = 201 };

/*
 * What a server says with an error, on one line of at most 200 bytes: {"error": {"message": …}} and
 * forms like it, else the text as it stands. Pieces of the secret (NULL: there is none), as servers
 * quote a wrong key, become "***".
 */
void poly_embedder_problem(struct poly_text body, const char *secret,
                           char problem[POLY_EMBEDDER_PROBLEM]);

#endif
