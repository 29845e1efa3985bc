/*
 * The embedded vector engine, on the inside: who has which collection, in memory and on disk.
 *
 * <data>/vector/instance            whose folder it is
 * <data>/vector/N-MADE/             generation N; MADE tells it from an earlier one of that number
 * <data>/vector/N-MADE/dropped      it is about to go
 * <data>/vector/N-MADE/positions    how far what its collections have saved reaches
 * <data>/vector/N-MADE/DOMAIN[.NAME][@CHANGE]/  a collection (engine/collection.h); CHANGE: after
 *                                   so many changes of its model
 * <data>/vector/N-MADE/DOMAIN+SINCE/  … of a domain that was made when the log ended there
 */
#ifndef POLY_STORES_VECTOR_EMBEDDED_H
#define POLY_STORES_VECTOR_EMBEDDED_H

#include <pthread.h>
#include <stdatomic.h>

#include "stores/vector/driver.h"
#include "stores/vector/engine/collection.h"

/* A collection that whoever uses it keeps: another one may take its place meanwhile. */
struct poly_vector_body {
    struct poly_collection *collection;
    char *folder;
    _Atomic unsigned users; /* the set, and whoever holds it */
    bool destroy;           /* the last user removes its folder; set while it is the set's */
    _Atomic uint64_t changes;   /* published, and not saved */
    _Atomic int64_t changed_at; /* the last one; monotonic */
};

/*
 * One vector of one domain, in one generation. A change of its model gives it another body and
 * shape, both at a time: under turn of the store, by whoever applies, who alone may look at them
 * without holding it.
 */
struct poly_vector_set {
    const struct poly_domain *domain;
    const struct poly_domain_vector *declared; /* by the configuration */
    const struct poly_domain_vector *vector;   /* of the body */
    const char **names; /* the vector's filters, then its field */
    struct poly_vector_body *body; /* NULL until it is open */
    uint64_t found, bytes;         /* at the start: position of what is saved, and how much it is */
    uint64_t position;          /* everything up to there is published; the writer's */
    uint64_t pending;           /* changes that are not; the writer's */
    int64_t saved_at;           /* the worker's */
    int64_t again_at;           /* after a failure; the worker's */
    _Atomic uint64_t searches, visited;
    /* live samples: sums over the last of them; under the store's lock */
    uint64_t samples;
    double recall;
};

/*
 * What the start finds is asked for, and then loaded, or lost. Until it is loaded its sets have no
 * bodies, nobody applies or searches there, and its list of sets does not grow.
 */
struct poly_vector_generation {
    struct poly_vector_generation *next;
    uint64_t number;
    char *folder;
    uint64_t asked;             /* it is to be loaded, in this order; 0: not; under lock */
    atomic_bool loaded;         /* its collections are open */
    atomic_bool lost;           /* one of them is damaged … */
    char why[256];              /* … and why; set before */
    struct poly_loading loading;
    uint64_t bytes;             /* that loading reads */
    int64_t again_at;           /* after a failure; the worker's */
    bool dropping;              /* dropped in a transaction that has not ended */
    unsigned users;             /* the list, and whoever works on it */
    bool destroy;               /* the last user removes its folder */
    uint64_t applied;           /* by apply(); the writer's */
    _Atomic uint64_t published; /* of that, what is to be seen */
    uint64_t noted;             /* what its file of positions says */
    struct poly_vector_set *sets; /* have room for those of all collections */
    _Atomic size_t set_count;     /* grows, under the store's lock */
    _Atomic size_t domains;       /* of the configuration, that have theirs */
};

/* A search that is to be repeated exactly, to see what it has missed. */
struct poly_vector_sample {
    atomic_bool taken; /* by the search that fills it, until the worker has looked at it */
    atomic_bool ready;
    uint64_t generation;
    size_t set;
    const struct poly_domain_vector *vector; /* the set's, then */
    struct poly_arena *arena;
    struct poly_find find;
    struct poly_text owner;
    float *distances;
    size_t count;
};

struct poly_vectors {
    struct poly_store store; /* first: a poly_store is one of these */
    const struct poly_config *config;
    struct poly_projection *projection; /* whose store this is */
    bool follower;
    char *folder;
    struct poly_arena *arena; /* of apply(), which one does at a time */

    pthread_mutex_t lock; /* guards the list, and users of what is in it */
    struct poly_vector_generation *generations;
    struct poly_vector_generation *graves; /* nobody's any more; the worker buries them */
    uint64_t asked;                        /* how many were */

    pthread_rwlock_t turn; /* write: publishing; read: taking hold of a state of several sets */

    /* embedded_work.c */
    pthread_t worker;
    bool works;
    atomic_bool stop;
    atomic_bool stirred; /* there may be something to do */
    atomic_bool deep;    /* the worker sleeps until it is woken */
    pthread_mutex_t sleeping;
    pthread_cond_t wake;
    char trouble[256]; /* under lock */
    int64_t trouble_at;
    _Atomic uint64_t searches;
    struct poly_vector_sample sample;
};

static inline struct poly_vectors *poly_vectors_of(struct poly_store *store)
{
    return (struct poly_vectors *)store;
}

/* --- embedded_generation.c --- */

/* Which folders are there; removes those that were dropped, and all of another instance. */
enum poly_status poly_vectors_scan(struct poly_vectors *self, const uint8_t id[16],
                                   struct poly_error *err);
/* NULL: there is none. It stays as long as nobody drops it. */
struct poly_vector_generation *poly_vectors_find(struct poly_vectors *self, uint64_t number);
/* Sets of the domains that were made since it was looked at last; any thread. */
enum poly_status poly_vectors_grow(struct poly_vectors *self,
                                   struct poly_vector_generation *generation,
                                   struct poly_error *err);
/* How far its collections reach as they were saved; the worker loads them. POLY_NOT_FOUND: some are
 * missing or damaged, as far as a look says. */
enum poly_status poly_vectors_ask(struct poly_vectors *self,
                                  struct poly_vector_generation *generation,
                                  struct poly_error *err);
/* A set's collection. *saved, *damaged: as of poly_collection_open(). watch NULL: nobody looks. */
enum poly_status poly_vectors_open_set(const struct poly_vector_generation *generation,
                                       struct poly_vector_set *set, struct poly_loading *watch,
                                       uint64_t *saved, bool *damaged, struct poly_error *err);
/* Removes what is in its folder, and no set's. */
void poly_vectors_sweep(const struct poly_vector_generation *generation);
/* A new, empty one. */
enum poly_status poly_vectors_make(struct poly_vectors *self, uint64_t number,
                                   struct poly_vector_generation **generation,
                                   struct poly_error *err);
/* Marks its folder, so that the next start does not find it, or takes the mark off again. */
enum poly_status poly_vectors_mark(struct poly_vector_generation *generation, bool dropped,
                                   struct poly_error *err);
/* Takes it out of the list; the worker buries it. */
void poly_vectors_forget(struct poly_vectors *self, struct poly_vector_generation *generation);
/* Down by one user; the last one closes and frees it. */
void poly_vectors_leave(struct poly_vectors *self, struct poly_vector_generation *generation);
/* Writes down up to where the log has nothing that is not in what was saved. */
void poly_vectors_note(struct poly_vectors *self, struct poly_vector_generation *generation);
/* Position up to which a set is on disk. */
uint64_t poly_vectors_saved(struct poly_vectors *self,
                            const struct poly_vector_generation *generation,
                            struct poly_vector_set *set);
/* The set's body, until it is let go; and its shape. Any thread. */
struct poly_vector_body *poly_vectors_hold(struct poly_vectors *self, struct poly_vector_set *set,
                                           const struct poly_domain_vector **shape);
void poly_vectors_let(struct poly_vector_body *body);
/* For who applies: where the model was changed, the set begins anew, with what the log has of it
 * since then. */
enum poly_status poly_vectors_follow_model(struct poly_vectors *self,
                                           struct poly_vector_generation *generation,
                                           struct poly_vector_set *set, struct poly_error *err);

/* --- embedded_open.c --- */

/* Loads what was asked for, in that order. *later: something is to be tried again. */
void poly_vectors_load(struct poly_vectors *self, bool *later);
/* Ends it soon. */
void poly_vectors_stop_loading(struct poly_vectors *self);
/* As core/driver.h says. */
enum poly_opening poly_vectors_opening(struct poly_store *store, uint64_t number, double *share,
                                       struct poly_error *why);

/* --- embedded_apply.c --- */

enum poly_status poly_vectors_apply(struct poly_vectors *self,
                                    struct poly_vector_generation *generation,
                                    struct poly_batch *batch, struct poly_error *err);
/* What was applied is to be seen from now on; or is taken back. */
void poly_vectors_publish(struct poly_vectors *self, struct poly_vector_generation *generation);
void poly_vectors_revert(struct poly_vector_generation *generation);

/* --- embedded_work.c --- */

enum poly_status poly_vectors_start(struct poly_vectors *self, struct poly_error *err);
/* Ends the thread, and saves what is worth it. */
void poly_vectors_stop(struct poly_vectors *self);
/* There may be something to do. */
void poly_vectors_stir(struct poly_vectors *self);
/* What the set's last work came to; err NULL: it went well. */
void poly_vectors_remember(struct poly_vectors *self, const struct poly_vector_set *set,
                           const struct poly_error *err);
/* When to try again what has failed now; monotonic. */
int64_t poly_vectors_again(void);

/* --- embedded_sample.c --- */

/* Keeps one search in POLY_SAMPLE_EVERY for the worker. */
enum { POLY_SAMPLE_EVERY = 1000 };
void poly_vectors_sample(struct poly_vectors *self, const struct poly_vector_generation *generation,
                         const struct poly_vector_set *set, const struct poly_domain_vector *vector,
                         const struct poly_find *find, const struct poly_finding *finding);
/* Repeats the one that was kept. */
void poly_vectors_compare(struct poly_vectors *self);

/* Controls: tests switch a mechanism off, or hurry it, to see that they would notice. */
extern _Atomic uint32_t poly_control_sample; /* one search in so many */
extern atomic_bool poly_control_hurry;      /* true: saves whatever there is to save */
extern atomic_bool poly_control_settle;      /* false: what is applied is seen before the commit */

#endif
