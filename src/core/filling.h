/*
 * A change of model whose vectors an embedder makes. The relational store begins and swaps it
 * (stores/relational/model.h), the embeddings fill it (stores/vector/embedding.h): what both have
 * to know is here.
 *
 *   poly_model_filling   a row beside that of poly_model_next: what makes those vectors, and
 * whether it does now. Kept to go back to, they rest until somebody wants that.
 *
 * The queue of the next vectors is that of the present ones (stores/vector/embedding_queue.h) under
 * another name, and the swap exchanges the names: what was made, waits or was refused goes on where
 * it was.
 */
#ifndef POLY_CORE_FILLING_H
#define POLY_CORE_FILLING_H

#include "base/arena.h"
#include "base/limits.h"
#include "base/sql.h"
#include "core/domain.h"

struct poly_instance;

/* Texts in the arena. */
struct poly_filling {
    const char *embedder, *model;
    const char *field; /* as the table spells it */
    uint32_t dimensions;
    bool runs; /* its vectors are being made; false: they are kept to go back to */
    /* Wall clock: until then the present model makes none, for a swap waits for the last ones of
     * the next, and would wait for ever while others write. */
    int64_t pause;
};

/* known false: no embedder has to do with what is kept beside the vector. */
enum poly_status poly_filling_get(struct poly_db *db, const char *domain, const char *name,
                                  struct poly_arena *arena, struct poly_filling *filling,
                                  bool *known, struct poly_error *err);

/* Room for a name in the queue. */
enum { POLY_FILLING_NAME = POLY_MAX_NAME + 16 };
/* That of the vectors to come. */
void poly_filling_name(const struct poly_domain_vector *vector, char name[POLY_FILLING_NAME]);

/* --- in a transaction --- */

/* Until its end nobody swaps: false, when the vector is of another change than this shape. */
enum poly_status poly_filling_hold(struct poly_db *db, const char *domain,
                                   const struct poly_domain_vector *shape, bool *held,
                                   struct poly_error *err);
enum poly_status poly_filling_put(struct poly_db *db, const char *domain, const char *name,
                                  const struct poly_filling *filling, struct poly_error *err);
enum poly_status poly_filling_pause(struct poly_db *db, const char *domain, const char *name,
                                    int64_t until, struct poly_error *err);
/* With its queue. */
enum poly_status poly_filling_drop(struct poly_db *db, const char *domain,
                                   const struct poly_domain_vector *vector, struct poly_error *err);
/* In the swap: the queue of the next is that of the present now, and the other way round. */
enum poly_status poly_filling_exchange(struct poly_db *db, const char *domain,
                                       const struct poly_domain_vector *vector,
                                       struct poly_error *err);

/* --- between the stores --- */

/* Can this embedder be asked, as far as its configuration goes (the embeddings know)? POLY_INVALID,
 * POLY_UNAVAILABLE: there is none, or not its key. */
enum poly_status poly_filling_check(struct poly_instance *instance,
                                    const struct poly_domain_vector *vector,
                                    struct poly_error *err);

/* A vector of the next model; the version is that of the record that its text is of. */
struct poly_filling_vector {
    struct poly_text tenant, key;
    uint64_t version;
    const float *numbers;
};

struct poly_filling_batch {
    const struct poly_domain *domain;
    const struct poly_domain_vector *vector; /* the next */
    const struct poly_filling_vector *list;
    size_t count;
    /* In the transaction: of each that was kept; of what has another version by now it is not. */
    enum poly_status (*kept)(void *arg, struct poly_db *db, size_t which, struct poly_error *err);
    /* … and at its end. */
    enum poly_status (*done)(void *arg, struct poly_db *db, struct poly_error *err);
    void *arg;
    bool fits; /* out: the table is as it should be; what failed is a vector or the transaction */
};

/* Keeps vectors beside the records (the relational store does). POLY_CONFLICT: it is not these that
 * are collected, any more. */
enum poly_status poly_filling_keep(struct poly_instance *instance, struct poly_arena *arena,
                                   struct poly_filling_batch *batch, struct poly_error *err);
/* Of a record without text: there is none. In a transaction. */
enum poly_status poly_filling_remove(struct poly_db *db, const char *domain, const char *field,
                                     const struct poly_filling_vector *vector,
                                     struct poly_error *err);

#endif
