/*
 * From records to vectors, in two passes over a batch: first every record that concerns a
 * collection is read and checked, so that a bad one is found before anything is changed; then the
 * collections take them in. What they have taken in is not seen before it is published.
 */
#include <string.h>

#include "base/clock.h"
#include "base/status.h"
#include "followers/document.h"
#include "stores/vector/embedded.h"
#include "stores/vector/record.h"

struct change {
    struct poly_vector_set *set;
    const struct poly_record *record;
    struct poly_text key;
    const float *numbers; /* NULL: the record has no vector, or is gone */
    const struct poly_value *values;
};

struct work {
    struct poly_batch *batch;
    struct poly_arena *arena;
    struct change *changes;
    size_t count;
    struct poly_error *err;
};

/* --- pass 1: what is to be done --- */

static bool concerns(const struct poly_vector_set *set, const struct poly_record *record)
{
    const struct poly_domain *domain = set->domain;
    bool stream = domain->stream != NULL;

    return record->position > set->position && record->position >= set->vector->since &&
           poly_domain_has(domain, record->position) &&
           poly_document_concerns(stream ? domain->stream : domain->name, stream, record);
}

static enum poly_status read_change(struct work *w, struct change *change)
{
    const struct poly_vector_set *set = change->set;
    struct poly_vector_entry entry;
    enum poly_status status = poly_document_key(change->record, set->domain->stream != NULL,
                                                w->arena, &change->key, w->err);

    if (status == POLY_OK)
        status = poly_vector_take(set->vector, set->names, w->batch, change->record, w->arena,
                                  &entry, w->err);
    if (status == POLY_OK) {
        change->numbers = entry.numbers;
        change->values = entry.values;
    }
    return status;
}

static enum poly_status collect(struct work *w, struct poly_vector_generation *generation)
{
    size_t room = 0;

    for (size_t i = 0; i < w->batch->count; i++)
        for (size_t s = 0; s < generation->set_count; s++)
            room += concerns(&generation->sets[s], &w->batch->records[i]);
    w->changes = poly_arena_array(w->arena, room + 1, sizeof(*w->changes));
    if (w->changes == NULL)
        return poly_no_memory(w->err);
    for (size_t i = 0; i < w->batch->count && w->count < room; i++) {
        const struct poly_record *record = &w->batch->records[i];
        bool checked = false;

        for (size_t s = 0; s < generation->set_count; s++) {
            struct change *change = &w->changes[w->count];
            enum poly_status status = POLY_OK;

            if (!concerns(&generation->sets[s], record))
                continue;
            *change = (struct change){.set = &generation->sets[s], .record = record};
            w->count++;
            if (!checked)
                status = poly_document_check("vector", w->batch, record, w->err);
            checked = true;
            if (status == POLY_OK)
                status = read_change(w, change);
            if (status != POLY_OK)
                return status;
        }
    }
    return POLY_OK;
}

/* --- pass 2 --- */

static enum poly_status take_in(struct work *w, const struct change *change)
{
    const struct poly_record *record = change->record;
    struct poly_vector_set *set = change->set;
    bool tenants = set->domain->tenant != NULL;
    const struct poly_catalog_entry entry = {.owner = tenants ? record->tenant
                                                              : (struct poly_text){"", 0},
                                             .key = change->key,
                                             .version = record->version,
                                             .position = record->position,
                                             .values = change->values};

    set->pending++;
    if (change->numbers == NULL)
        return poly_collection_remove(set->body->collection, entry.owner, entry.key, w->err);
    return poly_collection_put(set->body->collection, &entry, change->numbers, w->err);
}

static enum poly_status take_in_all(struct work *w)
{
    for (size_t i = 0; i < w->count; i++) {
        enum poly_status status = take_in(w, &w->changes[i]);

        /* Records before it have been taken in, and come again. */
        if (status == POLY_INVALID || status == POLY_LIMIT)
            return poly_document_poison("vector", w->batch, w->changes[i].record, status, w->err);
        if (status != POLY_OK)
            return status;
    }
    return POLY_OK;
}

enum poly_status poly_vectors_apply(struct poly_vectors *self,
                                    struct poly_vector_generation *generation,
                                    struct poly_batch *batch, struct poly_error *err)
{
    struct poly_error own;
    struct work w = {.batch = batch, .arena = self->arena, .err = err == NULL ? &own : err};
    enum poly_status status = POLY_OK;

    batch->failed = 0;
    if (!atomic_load(&generation->loaded)) {
        batch->temporary = true;
        return poly_fail(w.err, POLY_UNAVAILABLE, "vector: generation %llu is being read",
                         (unsigned long long)generation->number);
    }
    if (batch->last <= generation->applied)
        return POLY_OK;
    status = poly_vectors_grow(self, generation, w.err);
    for (size_t i = 0; i < generation->set_count && status == POLY_OK; i++)
        status = poly_vectors_follow_model(self, generation, &generation->sets[i], w.err);
    if (status == POLY_OK)
        status = collect(&w, generation);
    if (status == POLY_OK)
        status = take_in_all(&w);
    poly_arena_reset(self->arena);
    batch->temporary = status != POLY_OK && batch->failed == 0;
    if (status == POLY_OK)
        generation->applied = batch->last;
    return status;
}

/* --- what is seen of it --- */

void poly_vectors_publish(struct poly_vectors *self, struct poly_vector_generation *generation)
{
    int64_t now = poly_clock_monotonic();
    bool any = false;

    if (generation->applied == atomic_load(&generation->published))
        return;
    pthread_rwlock_wrlock(&self->turn);
    for (size_t i = 0; i < generation->set_count; i++) {
        struct poly_vector_set *set = &generation->sets[i];

        if (set->position < generation->applied)
            set->position = generation->applied;
        if (set->pending == 0)
            continue;
        poly_collection_publish(set->body->collection, set->position);
        atomic_store(&set->body->changed_at, now);
        atomic_fetch_add(&set->body->changes, set->pending);
        set->pending = 0;
        any = true;
    }
    atomic_store(&generation->published, generation->applied);
    pthread_rwlock_unlock(&self->turn);
    if (any)
        poly_vectors_stir(self);
}

void poly_vectors_revert(struct poly_vector_generation *generation)
{
    generation->applied = atomic_load(&generation->published);
    for (size_t i = 0; i < generation->set_count; i++) {
        struct poly_vector_set *set = &generation->sets[i];

        if (set->pending > 0)
            poly_collection_revert(set->body->collection);
        set->pending = 0;
    }
}
