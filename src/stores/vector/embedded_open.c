/*
 * Opening what was saved, beside everything else. The start has looked whether it is there and how
 * far it reaches; here it is read whole and compared with its checksums, before any of it answers.
 *
 * It is one thread that loads, and the generation is not anybody else's until .loaded or .lost says
 * so: the projector passes it over, and reads wait (core/opening.c). A drop, and closing, stop it
 * at the next part that is read.
 */
#include <stdio.h>

#include "base/clock.h"
#include "base/status.h"
#include "stores/vector/embedded.h"

/* The next one that was asked for, held. What a drop has stopped that was rolled back begins again
 * here, and not while it still is stopping. */
static struct poly_vector_generation *next_asked(struct poly_vectors *self, bool *later)
{
    struct poly_vector_generation *next = NULL;
    int64_t now = poly_clock_monotonic();

    pthread_mutex_lock(&self->lock);
    for (struct poly_vector_generation *g = atomic_load(&self->stop) ? NULL : self->generations;
         g != NULL; g = g->next) {
        if (g->asked == 0 || g->dropping || atomic_load(&g->loaded))
            continue;
        if (g->again_at > now)
            *later = true;
        else if (next == NULL || g->asked < next->asked)
            next = g;
    }
    if (next != NULL) {
        next->users++;
        atomic_store(&next->loading.stop, false);
    }
    pthread_mutex_unlock(&self->lock);
    return next;
}

/* What was looked at must be what is there. */
static enum poly_status load_set(struct poly_vector_generation *generation,
                                 struct poly_vector_set *set, struct poly_error *err)
{
    uint64_t saved = 0;
    bool damaged = false;
    enum poly_status status =
        poly_vectors_open_set(generation, set, &generation->loading, &saved, &damaged, err);

    if (status != POLY_OK || (!damaged && saved == set->found))
        return status;
    poly_vectors_let(set->body);
    set->body = NULL;
    return poly_fail(err, POLY_NOT_FOUND, "vector: the saved index of domain '%.100s' was damaged",
                     set->domain->name);
}

/* Those that are open already stay so: something else has failed. *failed: the one that has. */
static enum poly_status load_sets(struct poly_vectors *self,
                                  struct poly_vector_generation *generation,
                                  struct poly_vector_set **failed, struct poly_error *err)
{
    enum poly_status status = POLY_OK;
    uint64_t done = 0;

    for (size_t i = 0; i < generation->set_count && status == POLY_OK; i++) {
        struct poly_vector_set *set = &generation->sets[i];

        *failed = set;
        atomic_store(&generation->loading.done, done);
        if (set->body == NULL && atomic_load(&self->stop))
            return poly_fail(err, POLY_UNAVAILABLE, "vector: it is being closed");
        if (set->body == NULL)
            status = load_set(generation, set, err);
        done += set->bytes;
    }
    return status;
}

static void load(struct poly_vectors *self, struct poly_vector_generation *generation)
{
    struct poly_vector_set *failed = NULL;
    struct poly_error err = {.position = -1};
    enum poly_status status = load_sets(self, generation, &failed, &err);

    if (status == POLY_OK) {
        for (size_t i = 0; i < generation->set_count; i++)
            poly_vectors_remember(self, &generation->sets[i], NULL);
        poly_vectors_sweep(generation);
        atomic_store(&generation->loaded, true);
    } else if (status == POLY_NOT_FOUND) {
        snprintf(generation->why, sizeof(generation->why), "%.250s", err.message);
        atomic_store(&generation->lost, true);
    } else {
        if (atomic_load(&generation->loading.stop) || atomic_load(&self->stop))
            return;
        poly_vectors_remember(self, failed, &err);
    }
    generation->again_at = poly_vectors_again();
    poly_projection_stir(self->projection);
}

/* One that is lost stays so until it is dropped; where that has failed, it is asked for again. */
void poly_vectors_load(struct poly_vectors *self, bool *later)
{
    struct poly_vector_generation *generation;

    while (!atomic_load(&self->stop) && (generation = next_asked(self, later)) != NULL) {
        if (atomic_load(&generation->lost)) {
            generation->again_at = poly_vectors_again();
            poly_projection_stir(self->projection);
        } else {
            load(self, generation);
        }
        poly_vectors_leave(self, generation);
    }
}

void poly_vectors_stop_loading(struct poly_vectors *self)
{
    pthread_mutex_lock(&self->lock);
    for (struct poly_vector_generation *g = self->generations; g != NULL; g = g->next)
        atomic_store(&g->loading.stop, true);
    pthread_mutex_unlock(&self->lock);
}

static double share_of(const struct poly_vector_generation *generation)
{
    uint64_t done = atomic_load(&generation->loading.done);

    if (generation->bytes == 0)
        return 0;
    return done < generation->bytes ? (double)done / (double)generation->bytes : 1;
}

enum poly_opening poly_vectors_opening(struct poly_store *store, uint64_t number, double *share,
                                       struct poly_error *why)
{
    struct poly_vectors *self = poly_vectors_of(store);
    const struct poly_vector_generation *g;
    enum poly_opening opening = POLY_OPENING;
    double done = 0;

    pthread_mutex_lock(&self->lock);
    g = self->generations;
    while (g != NULL && (g->number != number || g->dropping))
        g = g->next;
    if (g == NULL || atomic_load(&g->lost)) {
        opening = POLY_LOST;
        if (why != NULL && g != NULL)
            (void)!poly_fail(why, POLY_NOT_FOUND, "%s", g->why);
        else if (why != NULL)
            (void)!poly_fail(why, POLY_NOT_FOUND, "vector: generation %llu is not there",
                             (unsigned long long)number);
    } else if (atomic_load(&g->loaded)) {
        opening = POLY_OPEN;
    } else {
        done = share_of(g);
    }
    pthread_mutex_unlock(&self->lock);
    if (share != NULL)
        *share = opening == POLY_OPEN ? 1 : done;
    return opening;
}
