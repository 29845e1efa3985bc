/*
 * One thread for all that may wait: it loads what was saved (embedded_open.c), links what has come
 * into the graphs, gives back what is dead, saves, buries dropped generations, and repeats a search
 * now and then. Once all is loaded nobody waits for it: answers are exact while a graph is being
 * made, and what is not saved is in the log.
 *
 * When is a save worth it? The next start reads from the log what was not saved, so a save pays
 * when that has become much; or when it is quiet, and costs nobody anything.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/status.h"
#include "stores/vector/embedded.h"

#define SECOND INT64_C(1000000)

enum {
    NAP_US = 100000, /* between two looks while there is something to do */
    NICE = 10,
    MANY = 20000,         /* changes that are worth a save of a small index … */
    SHARE = 8,            /* … and of a large one this part of it */
    CLOSE_BYTES = 1 << 28 /* an index of that size is saved whenever it is closed */
};
static const int64_t quiet = 10 * SECOND;    /* without a change */
static const int64_t longest = 600 * SECOND; /* that something is not saved */
static const int64_t retry = 5 * SECOND;     /* after a failure */
static const int64_t save_speed = 20;        /* bytes in a microsecond: a save may take
                                              * a part of the time since the last one */
static const uint64_t note_every = 100000;   /* positions without a change */

atomic_bool poly_control_hurry;

/* --- waking and sleeping --- */

void poly_vectors_stir(struct poly_vectors *self)
{
    atomic_store(&self->stirred, true);
    if (!atomic_load(&self->deep))
        return;
    pthread_mutex_lock(&self->sleeping);
    pthread_cond_signal(&self->wake);
    pthread_mutex_unlock(&self->sleeping);
}

/* until: monotonic; -1: until something stirs. */
static void rest(struct poly_vectors *self, int64_t until)
{
    struct timespec at = {until / SECOND, until % SECOND * 1000};

    pthread_mutex_lock(&self->sleeping);
    atomic_store(&self->deep, until < 0);
    while (!atomic_load(&self->stop)) {
        if (until < 0 && atomic_load(&self->stirred))
            break;
        if (until < 0)
            pthread_cond_wait(&self->wake, &self->sleeping);
        else if (pthread_cond_timedwait(&self->wake, &self->sleeping, &at) == ETIMEDOUT)
            break;
    }
    atomic_store(&self->deep, false);
    pthread_mutex_unlock(&self->sleeping);
}

/* --- one set --- */

/* How many link at a time. */
static unsigned threads(void)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);

    return processors < 4 ? 1 : (unsigned)processors / 2;
}

int64_t poly_vectors_again(void)
{
    return poly_clock_monotonic() + (poly_control_hurry ? retry / 50 : retry);
}

void poly_vectors_remember(struct poly_vectors *self, const struct poly_vector_set *set,
                           const struct poly_error *err)
{
    pthread_mutex_lock(&self->lock);
    if (err != NULL) {
        snprintf(self->trouble, sizeof(self->trouble), "domain '%.60s': %.180s", set->domain->name,
                 err->message);
        self->trouble_at = poly_clock_wall();
    } else if (strncmp(self->trouble + sizeof("domain '") - 1, set->domain->name,
                       strlen(set->domain->name)) == 0) {
        self->trouble[0] = '\0';
    }
    pthread_mutex_unlock(&self->lock);
}

static void remember(struct poly_vectors *self, struct poly_vector_set *set,
                     const struct poly_error *err)
{
    set->again_at = err == NULL ? 0 : poly_vectors_again();
    poly_vectors_remember(self, set, err);
}

static bool save(struct poly_vectors *self, struct poly_vector_generation *generation,
                 struct poly_vector_set *set, struct poly_vector_body *body)
{
    uint64_t changes = atomic_load(&body->changes);
    struct poly_error err;

    if (poly_collection_save(body->collection, &err) != POLY_OK) {
        remember(self, set, &err);
        return false;
    }
    atomic_fetch_sub(&body->changes, changes);
    set->saved_at = poly_clock_monotonic();
    poly_vectors_note(self, generation);
    return true;
}

/* How long ago must the last save be, that another one is no burden? */
static bool is_time(const struct poly_vector_set *set, const struct poly_vector_body *body,
                    uint64_t bytes, int64_t now)
{
    int64_t changed = atomic_load(&body->changed_at);
    int64_t since = now - set->saved_at;

    return since > (int64_t)bytes / save_speed && (now - changed >= quiet || since >= longest);
}

static bool is_due(struct poly_vector_set *set, struct poly_vector_body *body)
{
    uint64_t changes = atomic_load(&body->changes);
    struct poly_collection_numbers numbers;

    if (changes == 0 && !poly_collection_unsaved(body->collection))
        return false;
    if (set->again_at != 0) /* what failed is tried again before it is said to be well */
        return true;
    poly_collection_measure(body->collection, &numbers);
    if ((changes >= MANY && changes >= numbers.live / SHARE) || poly_control_hurry)
        return true;
    return is_time(set, body, numbers.index.memory_bytes + numbers.catalog_bytes,
                   poly_clock_monotonic());
}

/* *soon: there is more to do; *later: only time has to pass. */
static void tend(struct poly_vectors *self, struct poly_vector_generation *generation,
                 struct poly_vector_set *set, struct poly_vector_body *body, bool *soon,
                 bool *later)
{
    struct poly_error err;
    bool more = false;

    if (set->again_at > poly_clock_monotonic()) {
        *later = true;
        return;
    }
    if (poly_collection_work(body->collection, threads(), &self->stop, &more, &err) != POLY_OK) {
        remember(self, set, &err);
        *later = true;
        return;
    }
    if (atomic_load(&self->stop))
        return;
    if (is_due(set, body) && !save(self, generation, set, body)) {
        *later = true;
        return;
    }
    if (set->again_at != 0)
        remember(self, set, NULL);
    *soon |= more;
    *later |= atomic_load(&body->changes) > 0 || poly_collection_unsaved(body->collection);
}

/* --- all of them --- */

/* The next one of the list after that one (NULL: the first), held. */
static struct poly_vector_generation *next_one(struct poly_vectors *self,
                                               struct poly_vector_generation *last)
{
    struct poly_vector_generation *next;

    pthread_mutex_lock(&self->lock);
    next = self->generations;
    if (last != NULL) {
        while (next != NULL && next != last)
            next = next->next;
        next = next == NULL ? NULL : next->next;
    }
    while (next != NULL && (!next->loaded || next->dropping))
        next = next->next;
    if (next != NULL)
        next->users++;
    pthread_mutex_unlock(&self->lock);
    if (last != NULL)
        poly_vectors_leave(self, last);
    return next;
}

static void bury(struct poly_vectors *self)
{
    struct poly_vector_generation *grave, *next;

    pthread_mutex_lock(&self->lock);
    grave = self->graves;
    self->graves = NULL;
    pthread_mutex_unlock(&self->lock);
    for (; grave != NULL; grave = next) {
        next = grave->next;
        poly_vectors_leave(self, grave);
    }
}

/* Loading is what others wait for; linking and saving are not. */
static void be_nice(void)
{
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE);
}

static void tend_all(struct poly_vectors *self, bool *soon, bool *later)
{
    struct poly_vector_generation *generation = next_one(self, NULL);

    if (generation != NULL) /* from here on nobody waits for this thread */
        be_nice();
    for (; generation != NULL; generation = next_one(self, generation)) {
        for (size_t i = 0; i < generation->set_count && !atomic_load(&self->stop); i++) {
            const struct poly_domain_vector *ignored;
            struct poly_vector_body *body = poly_vectors_hold(self, &generation->sets[i], &ignored);

            tend(self, generation, &generation->sets[i], body, soon, later);
            poly_vectors_let(body);
        }
        if (atomic_load(&generation->published) - generation->noted >= note_every)
            poly_vectors_note(self, generation);
    }
}

static int64_t nap(void)
{
    return poly_control_hurry ? NAP_US / 50 : NAP_US;
}

static void *work(void *arg)
{
    struct poly_vectors *self = arg;

    while (!atomic_load(&self->stop)) {
        bool soon = false, later = false;

        atomic_store(&self->stirred, false);
        bury(self);
        poly_vectors_load(self, &later);
        tend_all(self, &soon, &later);
        poly_vectors_compare(self);
        if (!soon)
            rest(self, later ? poly_clock_monotonic() + nap() : -1);
    }
    return NULL;
}

enum poly_status poly_vectors_start(struct poly_vectors *self, struct poly_error *err)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&self->sleeping, NULL);
    pthread_cond_init(&self->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    if (pthread_create(&self->worker, NULL, work, self) != 0)
        return poly_fail(err, POLY_UNAVAILABLE, "vector: cannot start its thread");
    self->works = true;
    pthread_setname_np(self->worker, "poly-vector");
    return POLY_OK;
}

/* --- the end --- */

/* What is left to the log costs the next start its reading, and its linking. */
static void save_last(struct poly_vectors *self, struct poly_vector_generation *generation)
{
    for (size_t i = 0; i < generation->set_count; i++) {
        struct poly_vector_set *set = &generation->sets[i];
        struct poly_collection_numbers numbers;
        uint64_t changes = atomic_load(&set->body->changes);

        if (changes == 0 && !poly_collection_unsaved(set->body->collection))
            continue;
        poly_collection_measure(set->body->collection, &numbers);
        if (numbers.index.memory_bytes + numbers.catalog_bytes <= CLOSE_BYTES ||
            changes >= numbers.live / SHARE)
            save(self, generation, set, set->body);
    }
    poly_vectors_note(self, generation);
}

void poly_vectors_stop(struct poly_vectors *self)
{
    struct poly_vector_generation *generation;

    if (!self->works)
        return;
    atomic_store(&self->stop, true);
    poly_vectors_stop_loading(self);
    pthread_mutex_lock(&self->sleeping);
    pthread_cond_signal(&self->wake);
    pthread_mutex_unlock(&self->sleeping);
    pthread_join(self->worker, NULL);
    self->works = false;
    bury(self);
    for (generation = self->generations; generation != NULL; generation = generation->next)
        if (generation->loaded && !generation->dropping)
            save_last(self, generation);
    pthread_cond_destroy(&self->wake);
    pthread_mutex_destroy(&self->sleeping);
}
