/* What the files of the embeddings know of each other, and nobody else does. */
#ifndef POLY_STORES_VECTOR_EMBEDDING_INSIDE_H
#define POLY_STORES_VECTOR_EMBEDDING_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/filling.h"
#include "core/owner.h"
#include "stores/vector/embedder.h"
#include "stores/vector/embedding.h"
#include "stores/vector/embedding_queue.h"

/* One vector of one domain: that which serves, or that which is to take its place when its model is
 * changed. The thread of the latter is begun by that of the former, when it is first needed, and
 * does nothing while none is to come. */
struct poly_embedding {
    struct poly_embeddings *all;
    const struct poly_domain *domain;
    const struct poly_domain_vector *declared;
    struct poly_embedding *serving; /* of one to come: that which serves. NULL: it serves itself */
    struct poly_embedding *next;    /* the other way round */
    char queue[POLY_FILLING_NAME];
    struct poly_embedding_name name; /* … in the queue */
    pthread_t thread;
    bool runs;
    _Atomic bool leads;        /* no other daemon does it */
    int64_t leased;            /* the keeper's: when that was said last */
    _Atomic bool nudged;       /* somebody wants it to be tried now */
    _Atomic uint64_t looked;   /* position, for the status; it is written after … */
    _Atomic uint64_t saved;    /* what of it the database knows */
    _Atomic uint64_t made;     /* since the start: vectors */
    _Atomic uint64_t failures; /* … requests that failed, and texts that were refused */

    /* the thread's own */
    const struct poly_domain_vector *vector; /* as it makes it; NULL: it makes none */
    struct poly_domain_vector *target;       /* … of one to come, with its texts */
    const char *column;                      /* … and how the table spells its field */
    struct poly_embedder *embedder;          /* one of the instance's; several may share it */
    size_t batch;
    uint8_t shape[POLY_EMBEDDING_HASH];
    struct poly_arena *arena, *scratch;
    float *vectors;     /* room for a batch */
    bool begun;         /* position is what the log's database says */
    uint64_t position;  /* looked at */
    int64_t save_again; /* monotonic: not before, where others want to know */
    bool alone;         /* the last request failed: the next one has one text */
    int64_t again;      /* monotonic: nothing is sent before */
    int64_t pause;
    char error[POLY_EMBEDDING_ERROR]; /* as the database knows it; empty: none */
};

/* What is asked by one model of one server. All of the instance, until its end. */
struct poly_embedder_open;

struct poly_embeddings {
    struct poly_instance *instance;
    _Atomic bool closing;
    pthread_mutex_t lock; /* of opened, too */
    pthread_cond_t woken;
    pthread_t keeper; /* of the leases */
    bool keeper_runs;
    struct poly_embedder_open *opened;
    size_t count; /* that serve; as many are to come, behind them */
    struct poly_embedding list[];
};

static inline bool poly_embedding_leads(const struct poly_embedding *self)
{
    return atomic_load(self->serving == NULL ? &self->leads : &self->serving->leads);
}

/* The embedder of a shape; of those that ask the same server for the same it is the same, so that
 * they keep one rate. Any thread. POLY_INVALID: polystore.yaml has none of that name. */
enum poly_status poly_embeddings_embedder(struct poly_embeddings *all,
                                          const struct poly_domain_vector *vector,
                                          struct poly_embedder **embedder, struct poly_error *err);

/* --- embedding_target.c --- */

/* What it makes by now; after a change of model from the database's position on, again. */
enum poly_status poly_embedding_aim(struct poly_embedding *self, struct poly_error *err);
/* Is another vector to take the place of this one, made by an embedder? *pause: microseconds in
 * which this one is to let it come first. */
bool poly_embedding_has_next(struct poly_embedding *self, int64_t *pause);

/* In a transaction of the owner's. fn may run twice. */
enum poly_status poly_embedding_write(struct poly_embedding *self, poly_write_fn *fn, void *arg,
                                      struct poly_error *err);

/* --- embedding_follow.c --- */

/* From where the database says; from the log's beginning when the vectors are made differently. */
enum poly_status poly_embedding_resume(struct poly_embedding *self, struct poly_error *err);
/* Up to the log's end: what the embedder has to do is written down. */
enum poly_status poly_embedding_follow(struct poly_embedding *self, struct poly_error *err);
/* In a transaction: of this record nothing is to be known; a vector to come goes, too. */
enum poly_status poly_embedding_remove(const struct poly_embedding *self, struct poly_db *db,
                                       const struct poly_embedding_row *row,
                                       struct poly_error *err);
/* Writes down how far that is, if it is not. */
enum poly_status poly_embedding_save(struct poly_embedding *self, struct poly_error *err);

/* --- embedding_make.c --- */

/* One batch. *worked: there was something to do and it is done, so there may be more. */
enum poly_status poly_embedding_make(struct poly_embedding *self, bool *worked,
                                     struct poly_error *err);

#endif
