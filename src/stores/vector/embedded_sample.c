/*
 * How good are the answers? One search in many is kept, and the worker repeats it exactly. What is
 * compared are the distances: as many of the answers count as found as are no farther than the
 * farthest of the exact ones. What was written in between makes the answer look worse, never
 * better.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "stores/vector/embedded.h"

enum { MEMORY = 4 * 1024 * 1024, LAST = 100 };
static const int64_t patience = 10 * INT64_C(1000000);

_Atomic uint32_t poly_control_sample = POLY_SAMPLE_EVERY;

/* --- a copy of the search --- */

static bool copy_text(struct poly_arena *arena, struct poly_text *text)
{
    text->data = poly_arena_copy(arena, text->data, text->size);
    return text->data != NULL;
}

static bool copy_name(struct poly_arena *arena, const char **name)
{
    if (*name == NULL)
        return true;
    *name = poly_arena_copy(arena, *name, strlen(*name));
    return *name != NULL;
}

static const struct poly_filter *copy_filter(struct poly_arena *arena,
                                             const struct poly_filter *filter)
{
    struct poly_filter *copy = poly_arena_alloc(arena, sizeof(*copy));
    struct poly_value *values = poly_arena_array(arena, filter->value_count + 1, sizeof(*values));

    if (copy == NULL || values == NULL)
        return NULL;
    *copy = *filter;
    copy->values = values;
    for (size_t i = 0; i < filter->value_count; i++) {
        values[i] = filter->values[i];
        if ((values[i].type == POLY_TEXT || values[i].type == POLY_BYTES ||
             values[i].type == POLY_JSON) &&
            !copy_text(arena, &values[i].text))
            return NULL;
    }
    return copy_name(arena, &copy->column) && copy_name(arena, &copy->path) ? copy : NULL;
}

/* As deep as poly_where_parse() lets it be. */
static const struct poly_where *copy_where(struct poly_arena *arena, const struct poly_where *where)
{
    struct poly_where *copy = poly_arena_alloc(arena, sizeof(*copy));
    const struct poly_where **parts =
        poly_arena_array(arena, where->part_count + 1, sizeof(struct poly_where *));

    if (copy == NULL || parts == NULL)
        return NULL;
    *copy = *where;
    copy->parts = parts;
    if (where->compare != NULL) {
        copy->compare = copy_filter(arena, where->compare);
        if (copy->compare == NULL)
            return NULL;
    }
    for (size_t i = 0; i < where->part_count; i++) {
        parts[i] = copy_where(arena, where->parts[i]);
        if (parts[i] == NULL)
            return NULL;
    }
    return copy;
}

static bool copy_find(struct poly_vector_sample *sample, const struct poly_find *find,
                      uint32_t dimensions)
{
    struct poly_arena *arena = sample->arena;

    sample->find = *find;
    sample->find.exact = true;
    sample->find.vectors = false;
    if (find->vector != NULL) {
        sample->find.vector =
            (const float *)(void *)poly_arena_copy(arena, find->vector, dimensions * sizeof(float));
        if (sample->find.vector == NULL)
            return false;
    }
    if (find->owner != NULL) {
        sample->owner = *find->owner;
        sample->find.owner = &sample->owner;
        if (!copy_text(arena, &sample->owner))
            return false;
    }
    if (find->where != NULL) {
        sample->find.where = copy_where(arena, find->where);
        if (sample->find.where == NULL)
            return false;
    }
    return copy_text(arena, &sample->find.like) && copy_name(arena, &sample->find.group);
}

static bool copy_distances(struct poly_vector_sample *sample, const struct poly_finding *finding)
{
    sample->count = finding->count;
    sample->distances = poly_arena_array(sample->arena, finding->count + 1, sizeof(float));
    for (size_t i = 0; sample->distances != NULL && i < finding->count; i++)
        sample->distances[i] = finding->found[i].distance;
    return sample->distances != NULL;
}

void poly_vectors_sample(struct poly_vectors *self, const struct poly_vector_generation *generation,
                         const struct poly_vector_set *set, const struct poly_domain_vector *vector,
                         const struct poly_find *find, const struct poly_finding *finding)
{
    struct poly_vector_sample *sample = &self->sample;
    uint64_t number = atomic_fetch_add(&self->searches, 1) + 1;
    bool taken = false;

    if (number % poly_control_sample != 0 || find->exact || finding->count == 0 ||
        !atomic_compare_exchange_strong(&sample->taken, &taken, true))
        return;
    if (sample->arena == NULL)
        sample->arena = poly_arena_new(MEMORY);
    sample->generation = generation->number;
    sample->set = (size_t)(set - generation->sets);
    sample->vector = vector;
    if (sample->arena == NULL || !copy_find(sample, find, vector->dimensions) ||
        !copy_distances(sample, finding)) {
        if (sample->arena != NULL)
            poly_arena_reset(sample->arena);
        atomic_store(&sample->taken, false);
        return;
    }
    atomic_store(&sample->ready, true);
    poly_vectors_stir(self);
}

/* --- and again, exactly --- */

static double recall(const struct poly_vector_sample *sample, const struct poly_finding *exact)
{
    float farthest = exact->found[exact->count - 1].distance;
    size_t found = 0;

    while (found < sample->count && found < exact->count && sample->distances[found] <= farthest)
        found++;
    return (double)found / (double)exact->count;
}

static void add_sample(struct poly_vectors *self, struct poly_vector_set *set, double one)
{
    uint64_t weight;

    pthread_mutex_lock(&self->lock);
    set->samples++;
    weight = set->samples < LAST ? set->samples : LAST;
    set->recall += (one - set->recall) / (double)weight;
    pthread_mutex_unlock(&self->lock);
}

/* Held: the worker is not the one that reads it. */
static struct poly_vector_generation *enter(struct poly_vectors *self, uint64_t number)
{
    struct poly_vector_generation *generation;

    pthread_mutex_lock(&self->lock);
    generation = self->generations;
    while (generation != NULL && (generation->number != number || generation->dropping))
        generation = generation->next;
    if (generation != NULL)
        generation->users++;
    pthread_mutex_unlock(&self->lock);
    return generation;
}

void poly_vectors_compare(struct poly_vectors *self)
{
    struct poly_vector_sample *sample = &self->sample;
    struct poly_vector_generation *generation;
    struct poly_finding exact;
    struct poly_error ignored;

    if (!atomic_load(&sample->ready))
        return;
    generation = enter(self, sample->generation);
    if (generation != NULL) {
        struct poly_vector_set *set = &generation->sets[sample->set];
        const struct poly_domain_vector *vector;
        struct poly_vector_body *body = poly_vectors_hold(self, set, &vector);

        sample->find.state = NULL;
        sample->find.deadline = poly_clock_monotonic() + patience;
        if (vector == sample->vector &&
            poly_collection_find(body->collection, &sample->find, sample->arena, &exact,
                                 &ignored) == POLY_OK &&
            exact.count > 0)
            add_sample(self, set, recall(sample, &exact));
        poly_vectors_let(body);
        poly_vectors_leave(self, generation);
    }
    poly_arena_reset(sample->arena);
    atomic_store(&sample->ready, false);
    atomic_store(&sample->taken, false);
}
