/*
 * How a projection moves: batches of the log into generations of a store.
 * Private to projection.c (which opens, fences and reports) and projector.c
 * (which applies).
 *
 * All that moves is in struct poly_progress. The projector works on a copy and
 * publishes it when its transaction has committed, so that nobody ever sees a
 * position that a rollback takes back.
 */
#ifndef POLY_CORE_PROJECTOR_H
#define POLY_CORE_PROJECTOR_H

#include "core/inside.h"

struct poly_generation {
    uint64_t number;  /* 0: none */
    uint64_t applied; /* everything up to here */
    uint64_t stored;  /* the applied position that the store has on disk */
};

struct poly_progress {
    struct poly_generation active, previous, building;
    bool stopped;      /* of the active generation: an operator must decide */
    uint64_t position; /* of the record that could not be applied; 0: none */
    bool building_stopped;
    bool previous_stopped; /* given up: dropped when nobody reads it any more */
    char error[256];       /* the last one */
    int64_t error_time;
    uint64_t skipped; /* records left out by an operator, ever */
};

enum poly_command {
    POLY_COMMAND_NONE,
    POLY_COMMAND_RETRY,
    POLY_COMMAND_SKIP,
    POLY_COMMAND_REBUILD,
    POLY_COMMAND_BACK,
    POLY_COMMAND_REPLACE /* what the store has lost; nobody asks for it, or waits */
};

/* The batch after the present one, read while that is applied. */
struct poly_ahead {
    pthread_t thread;
    bool runs;  /* the thread has all that follows, but era and turns */
    bool ready; /* the batch is there, and nobody has taken it */
    struct poly_db *db;
    uint64_t after, upto;
    uint64_t era;   /* that the projection knew of */
    unsigned turns; /* of the projector, since it was read */
    struct poly_batch batch;
    enum poly_status status;
};

struct poly_projection {
    struct poly_instance *instance;
    const struct poly_driver *driver;
    char name[64]; /* of its row in poly_projection */
    const struct poly_store_config *config;
    struct poly_store *store;
    bool follower;
    bool leads;        /* a store that daemons share: we apply */
    bool reload;       /* … and are to look first what the store has */
    int64_t asked;     /* since when a command waits for that; monotonic, 0: none does */
    uint64_t era;      /* of the log, for which what we hold was looked at */
    uint64_t lost;     /* … and this record is in the log no more: all is built anew; 0: none */
    _Atomic uint64_t least; /* no read before it is applied: the end of the log at the start, where
                             * the store has to catch up, and of what is committed until it has;
                             * a change of model */
    atomic_bool opened; /* the generation that serves is there, and stays so */
    uint8_t setup[32]; /* digest of what shapes the store: another one means: build anew */

    struct poly_progress work;  /* the projector's own */
    struct poly_arena *records; /* of a batch */
    struct poly_arena *scratch; /* while collecting one */
    struct poly_arena *next;    /* the records of the batch that is read ahead */
    struct poly_ahead ahead;
    uint64_t *skips;            /* positions to leave out: work.skipped of them */

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t commanded;
    struct poly_progress live; /* published */
    bool closing;              /* nobody is there any more who would apply */
    bool retrying;
    int64_t checked;
    struct {
        uint64_t number;
        unsigned count;
    } readers[4];
    enum poly_command command; /* asked for; taken by the projector */
    const char *reason, *by;   /* of a skip */
    bool command_running;
    bool command_done;
    enum poly_status command_status;
    struct poly_error command_error;

    struct poly_signal applied; /* of the active generation */
    _Atomic uint64_t documents; /* as counted last */
    pthread_t thread;           /* a follower's */
    bool thread_runs;
};

/* projection.c. Makes a generation that is new, whatever lies there of that number: a log that was
 * put back knows nothing of it, and gives its number again. db as for the driver. */
enum poly_status poly_projection_begin(struct poly_projection *projection, struct poly_db *db,
                                       uint64_t number, struct poly_error *err);
/* What of a store is there, and which generation serves. recover: and makes what is missing, or
 * begins anew; for who applies. */
enum poly_status poly_projection_recover(struct poly_projection *projection,
                                         struct poly_error *err);
enum poly_status poly_projection_observe(struct poly_projection *projection,
                                         struct poly_error *err);

/* A number that none of them has. */
uint64_t poly_projection_next(const struct poly_progress *work);
/* All generations go, and a new one is filled. */
enum poly_status poly_projection_start_over(struct poly_projection *projection, struct poly_db *db,
                                            struct poly_error *err);

/* opening.c */

/* Generations that the store has lost are given up, and what serves is filled again. db as for the
 * driver. No effect where none is lost. */
enum poly_status poly_projection_replace(struct poly_projection *projection, struct poly_db *db,
                                         struct poly_error *err);
bool poly_projection_has_lost(struct poly_projection *projection);
/* Of one of its generations; number 0 is there. */
enum poly_opening poly_projection_opening(const struct poly_projection *projection,
                                          uint64_t number);
/* With the lock: is what serves not there yet? *share: as the driver says; NULL is accepted. */
bool poly_projection_opens(struct poly_projection *projection, double *share);
/* … and what is said of that. */
enum poly_status poly_projection_say_opening(const struct poly_projection *projection,
                                             double share, struct poly_error *err);
/* No read before that is applied. */
void poly_projection_least(struct poly_projection *projection, uint64_t position);
/* After a commit that a co-located store was not given. */
void poly_projection_ask_for_rest(struct poly_projection *projection);

/* history.c: after a standby has taken over, does the log still have what we hold? Else begins
 * anew. */
enum poly_status poly_projector_history(struct poly_projection *projection, struct poly_error *err);

/* lead.c: may this daemon apply now? Else it has waited a while. seen: of the head's signal. */
bool poly_projector_lead(struct poly_projection *projection, unsigned seen);

/* collect.c */

/* Records in (after, upto] that the store wants, until there are enough; batch->last says how far
 * it looked. They live until the next call. One whose data is not to be had ends the batch before
 * it; where it is the first of interest, this fails, and batch->failed names it. */
enum poly_status poly_collect(struct poly_projection *projection, struct poly_db *db,
                              uint64_t after, uint64_t upto, struct poly_batch *batch,
                              struct poly_error *err);
/* A thread has db from here to the join, and reads what follows the batch, where there is more.
 * Until then nothing of the projection may change but what apply() changes in the store. */
void poly_collect_ahead(struct poly_projection *projection, struct poly_db *db,
                        const struct poly_batch *batch, uint64_t upto);
void poly_collect_join(struct poly_projection *projection, enum poly_status applied);
/* What was read ahead is not to be used any more; not between ahead and join. */
void poly_collect_forget(struct poly_projection *projection);
/* A round of the projector begins: what none has taken for a whole one is forgotten. */
void poly_collect_turn(struct poly_projection *projection);

/* projector.c */

/* On the writer, before a commit: a co-located projection takes in what is sealed. */
enum poly_status poly_projector_group(struct poly_projection *projection, struct poly_db *db,
                                      uint64_t sealed, bool *behind, struct poly_error *err);
/* After the commit or rollback of that group. */
void poly_projector_publish(struct poly_projection *projection, bool committed);
void *poly_projector_thread(void *projection);
/* Asks for a command and waits for it. */
enum poly_status poly_projector_command(struct poly_projection *projection,
                                        enum poly_command command, const char *reason,
                                        const char *by, struct poly_error *err);
/* The command that somebody waits for, if any; and its end. */
enum poly_command poly_projector_take(struct poly_projection *projection);
void poly_projector_finish(struct poly_projection *projection, enum poly_status status,
                           const struct poly_error *err);
/* Publishes the work of a follower, and why there is none. */
void poly_projector_follow(struct poly_projection *projection, enum poly_status status,
                           const struct poly_error *err);
/* Has more changed than positions? */
bool poly_projector_worse(const struct poly_progress *before, const struct poly_progress *after);
/* Its row in poly_projection, on the writer. */
enum poly_status poly_projector_save(struct poly_projection *projection, struct poly_db *db,
                                     struct poly_error *err);
/* With the lock: who reads a generation, so that it is not dropped. enter: false, there are readers
 * of too many others. */
bool poly_projector_reads(struct poly_projection *projection, uint64_t number);
bool poly_projector_enter(struct poly_projection *projection, uint64_t number);
void poly_projector_leave(struct poly_projection *projection, uint64_t number);

#endif
