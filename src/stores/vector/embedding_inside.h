/* What the files of the embeddings know of each other, and nobody else does. */
#ifndef POLY_STORES_VECTOR_EMBEDDING_INSIDE_H
#define POLY_STORES_VECTOR_EMBEDDING_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/owner.h"
#include "stores/vector/embedder.h"
#include "stores/vector/embedding.h"
#include "stores/vector/embedding_queue.h"

/* One vector of one domain. */
struct poly_embedding {
    struct poly_embeddings *all;
    const struct poly_domain *domain;
    const struct poly_domain_vector *vector;
    struct poly_embedding_name name;
    struct poly_embedder *embedder; /* one of the instance's; several may share it */
    size_t batch;
    uint8_t shape[POLY_EMBEDDING_HASH];
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

struct poly_embeddings {
    struct poly_instance *instance;
    _Atomic bool closing;
    pthread_mutex_t lock;
    pthread_cond_t woken;
    pthread_t keeper; /* of the leases */
    bool keeper_runs;
    struct poly_embedder **embedders; /* as many as there are vectors, or fewer: then NULL */
    size_t count;
    struct poly_embedding list[];
};

/* In a transaction of the owner's. fn may run twice. */
enum poly_status poly_embedding_write(struct poly_embedding *self, poly_write_fn *fn, void *arg,
                                      struct poly_error *err);

/* --- embedding_follow.c --- */

/* From where the database says; from the log's beginning when the vectors are made differently. */
enum poly_status poly_embedding_resume(struct poly_embedding *self, struct poly_error *err);
/* Up to the log's end: what the embedder has to do is written down. */
enum poly_status poly_embedding_follow(struct poly_embedding *self, struct poly_error *err);
/* Writes down how far that is, if it is not. */
enum poly_status poly_embedding_save(struct poly_embedding *self, struct poly_error *err);

/* --- embedding_make.c --- */

/* One batch. *worked: there was something to do and it is done, so there may be more. */
enum poly_status poly_embedding_make(struct poly_embedding *self, bool *worked,
                                     struct poly_error *err);

#endif
