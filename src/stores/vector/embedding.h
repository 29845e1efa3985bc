/*
 * Vectors that are made of the records' own text. Each vector of a domain that names an embedder
 * has a thread that follows the log: what has text and no vector of just that text is written down
 * as waiting, is sent to the embedder in batches, and the vectors are written into the records as
 * anybody else would write them.
 *
 * Of several daemons on one log one does so at a time.
 */
#ifndef POLY_STORES_VECTOR_EMBEDDING_H
#define POLY_STORES_VECTOR_EMBEDDING_H

#include "core/instance.h"
#include "polystore/admin.h"

struct poly_embeddings;

/* All of the configuration; *embeddings NULL: there are none. POLY_INVALID names what is wrong with
 * one, or its key. Nothing is sent, and no thread runs yet. */
enum poly_status poly_embeddings_open(struct poly_instance *instance,
                                      struct poly_embeddings **embeddings, struct poly_error *err);
/* When the instance can be written to. POLY_INVALID: the vectors that there are were made by
 * another model. NULL is accepted, here and below. */
enum poly_status poly_embeddings_start(struct poly_embeddings *embeddings, struct poly_error *err);
/* Does not wait for a server: what it was asked is let go, and asked again after the next start. */
void poly_embeddings_stop(struct poly_embeddings *embeddings);
void poly_embeddings_close(struct poly_embeddings *embeddings);

/* Vectors of texts that somebody looks for, by what makes the vectors that are looked at: count
 * times its dimensions. POLY_INVALID: the server refuses a text, or it makes no vector that can be
 * searched with. Whatever else it is: POLY_UNAVAILABLE, in the words of the embedder. */
struct poly_vector_scope;
enum poly_status poly_embeddings_ask(struct poly_embeddings *embeddings,
                                     const struct poly_vector_scope *scope,
                                     const struct poly_text *texts, size_t count, int64_t deadline,
                                     float *vectors, struct poly_error *err);

/* For the status; db: a connection with a snapshot, or NULL: the server does not answer. */
enum poly_status poly_embeddings_report(struct poly_embeddings *embeddings, struct poly_db *db,
                                        struct poly_arena *arena,
                                        const struct poly_embedding_status **list, size_t *count,
                                        struct poly_error *err);

#endif
