/* What the files of materialised views share with each other, and with nobody else. */
#ifndef POLY_STORES_RELATIONAL_VIEW_INSIDE_H
#define POLY_STORES_RELATIONAL_VIEW_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include "stores/relational/view.h"

/* One of the configuration. */
struct poly_view {
    struct poly_view_job job;
    struct poly_views *all;

    /* The thread's. */
    bool settled;    /* it has stood as it is declared here */
    bool checked;    /* it can run, as far as is known */
    bool seen;       /* it has been looked at */
    uint64_t based;  /* its position then */
    uint64_t looked; /* up to here there is no change that the view has not */
    int64_t noticed; /* when the oldest one that it has not was; monotonic, 0: there is none */
    int64_t again;   /* not before; monotonic */
    int64_t pause;   /* after the next failure */

    _Atomic bool standing; /* what is declared stands, and may be read */
    _Atomic bool open;     /* it reads nothing that has tenants */

    /* With the lock. */
    uint64_t asked, answered; /* refreshes that somebody waits for */
    bool migrated;            /* everything about it may have changed */
    enum poly_status answer;
    struct poly_error answer_error;
    bool failing;
    char error[496];
    int64_t error_time;
    bool reads[POLY_MAX_DOMAINS]; /* of the job, for the status */
};

struct poly_views {
    struct poly_relational *relational;
    int64_t look_every;
    atomic_uint version;
    atomic_bool closing;

    pthread_mutex_t lock;
    pthread_cond_t woken;    /* the thread: somebody asks */
    pthread_cond_t answered; /* who asked */
    struct poly_db *running; /* what a close interrupts */

    pthread_t thread;
    bool thread_runs;
    size_t count;
    struct poly_view views[];
};

#endif
