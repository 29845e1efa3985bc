/*
 * Opening, changing, publishing. A search takes part and end together, as the last publish left
 * them, when index and catalog had both been published: so there is an entry for every slot that it
 * can find.
 *
 * A change touches index and catalog, and either may run out of memory. A change that was half done
 * marks the collection: nothing more is taken until revert(), which takes back the whole batch in
 * both. So slots of the two can never come apart, and no change needs a way back of its own.
 */
#include "stores/vector/engine/collection_inside.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/status.h"

/* --- parts --- */

void poly_part_free(struct poly_part *part)
{
    if (part == NULL)
        return;
    poly_index_free(part->index);
    poly_catalog_free(part->catalog);
    free(part);
}

enum poly_status poly_part_new(struct poly_collection *c, struct poly_part **made,
                               struct poly_error *err)
{
    struct poly_part *part = calloc(1, sizeof(*part));
    struct poly_index_options shape;
    enum poly_status status;
    char path[PATH_MAX];

    if (part == NULL)
        return poly_no_memory(err);
    part->held = 1;
    part->originals = c->folder == NULL ? 0 : ++c->files;
    status = poly_collection_shape(c, part->originals, path, &shape, err);
    if (status == POLY_OK)
        status = poly_index_new(&shape, &part->index, err);
    if (status == POLY_OK)
        status =
            poly_catalog_new((const char *const *)c->columns, c->column_count, &part->catalog, err);
    if (status == POLY_OK)
        *made = part;
    else
        poly_part_free(part);
    return status;
}

struct poly_part *poly_part_hold(struct poly_collection *c, uint32_t *end, uint64_t *position)
{
    struct poly_part *part;

    pthread_mutex_lock(&c->state);
    part = c->part;
    part->held++;
    *end = c->end;
    *position = c->position;
    pthread_mutex_unlock(&c->state);
    return part;
}

void poly_collection_hold(struct poly_collection *c, struct poly_collection_state *state)
{
    uint64_t position;

    state->part = poly_part_hold(c, &state->end, &position);
}

void poly_collection_release(struct poly_collection *c, struct poly_collection_state *state)
{
    poly_part_release(c, state->part);
    state->part = NULL;
}

void poly_part_release(struct poly_collection *c, struct poly_part *part)
{
    bool last;

    if (part == NULL)
        return;
    pthread_mutex_lock(&c->state);
    last = --part->held == 0;
    pthread_mutex_unlock(&c->state);
    if (last)
        poly_part_free(part);
}

/* --- open, close --- */

static enum poly_status copy_columns(struct poly_collection *c, const char *const *columns,
                                     size_t count, struct poly_error *err)
{
    c->columns = calloc(count + 1, sizeof(*c->columns));
    c->values = calloc(count + 1, sizeof(*c->values));
    if (c->columns == NULL || c->values == NULL)
        return poly_no_memory(err);
    for (; c->column_count < count; c->column_count++) {
        c->columns[c->column_count] = strdup(columns[c->column_count]);
        if (c->columns[c->column_count] == NULL)
            return poly_no_memory(err);
    }
    return POLY_OK;
}

static enum poly_status take_options(struct poly_collection *c,
                                     const struct poly_collection_options *options,
                                     struct poly_error *err)
{
    c->shape = options->index;
    c->shape.originals = NULL;
    c->packed = malloc(poly_element_size(c->shape.element, c->shape.dimensions));
    c->folder = options->folder == NULL ? NULL : strdup(options->folder);
    if (c->packed == NULL || (options->folder != NULL && c->folder == NULL))
        return poly_no_memory(err);
    return copy_columns(c, options->columns, options->column_count, err);
}

enum poly_status poly_collection_open(const struct poly_collection_options *options,
                                      struct poly_collection **collection, uint64_t *position,
                                      bool *damaged, struct poly_error *err)
{
    struct poly_collection *c = calloc(1, sizeof(*c));
    enum poly_status status;
    bool bad = false;

    if (c == NULL)
        return poly_no_memory(err);
    pthread_mutex_init(&c->gate, NULL);
    pthread_mutex_init(&c->state, NULL);
    status = take_options(c, options, err);
    if (status == POLY_OK && c->folder != NULL)
        status = poly_collection_load(c, options->watch, &bad, err);
    if (status == POLY_OK && c->part == NULL)
        status = poly_part_new(c, &c->part, err);
    if (status != POLY_OK) {
        poly_collection_close(c);
        return status;
    }
    c->end = poly_index_end(c->part->index);
    *position = c->position;
    *damaged = bad;
    *collection = c;
    return POLY_OK;
}

void poly_collection_close(struct poly_collection *c)
{
    if (c == NULL)
        return;
    poly_part_free(c->part);
    poly_part_free(c->next);
    poly_part_free(c->retired);
    free(c->compaction.map);
    free(c->replaced);
    for (size_t i = 0; i < c->column_count; i++)
        free(c->columns[i]);
    free(c->columns);
    free(c->values);
    free(c->packed);
    free(c->folder);
    pthread_mutex_destroy(&c->gate);
    pthread_mutex_destroy(&c->state);
    free(c);
}

/* --- changes --- */

static enum poly_status refuse(struct poly_error *err)
{
    return poly_fail(err, POLY_UNAVAILABLE,
                     "vector collection: a change has failed half-way; revert first");
}

/* The slot dies with the next publish; until then searches by its key go to it. */
static enum poly_status note_replaced(struct poly_collection *c, uint32_t slot,
                                      struct poly_error *err)
{
    enum poly_status status = POLY_OK;

    pthread_mutex_lock(&c->state);
    if (c->replaced_count == c->replaced_room) {
        size_t room = c->replaced_room == 0 ? 64 : c->replaced_room * 2;
        uint32_t *more = realloc(c->replaced, room * sizeof(*more));

        if (more == NULL) {
            status = poly_no_memory(err);
        } else {
            c->replaced = more;
            c->replaced_room = room;
        }
    }
    if (status == POLY_OK)
        c->replaced[c->replaced_count++] = slot;
    pthread_mutex_unlock(&c->state);
    return status;
}

static enum poly_status kill_key(struct poly_collection *c, struct poly_text owner,
                                 struct poly_text key, bool *there, struct poly_error *err)
{
    uint32_t slot = poly_catalog_slot(c->part->catalog, owner, key);
    enum poly_status status;

    *there = slot != POLY_NO_SLOT;
    if (!*there)
        return POLY_OK;
    status = note_replaced(c, slot, err);
    if (status != POLY_OK)
        return status;
    c->dirty = true;
    return poly_index_kill(c->part->index, slot, err);
}

static enum poly_status append(struct poly_collection *c, const struct poly_catalog_entry *entry,
                               struct poly_error *err)
{
    enum poly_status status;
    uint32_t slot;

    c->dirty = true;
    status = poly_index_append(c->part->index, c->packed, &slot, err);
    if (status == POLY_OK)
        status = poly_catalog_append(c->part->catalog, slot, entry, err);
    return status;
}

enum poly_status poly_collection_put(struct poly_collection *c,
                                     const struct poly_catalog_entry *entry, const float *vector,
                                     struct poly_error *err)
{
    enum poly_status status;
    bool there;

    pthread_mutex_lock(&c->gate);
    status = c->failed ? refuse(err)
                       : poly_vector_pack(c->shape.element, c->shape.metric, vector,
                                          c->shape.dimensions, c->packed, err);
    if (status == POLY_OK)
        status = kill_key(c, entry->owner, entry->key, &there, err);
    if (status == POLY_OK)
        status = append(c, entry, err);
    c->failed = c->failed || (status != POLY_OK && status != POLY_INVALID);
    pthread_mutex_unlock(&c->gate);
    return status;
}

enum poly_status poly_collection_remove(struct poly_collection *c, struct poly_text owner,
                                        struct poly_text key, struct poly_error *err)
{
    enum poly_status status;
    bool there = false;

    pthread_mutex_lock(&c->gate);
    status = c->failed ? refuse(err) : kill_key(c, owner, key, &there, err);
    if (status == POLY_OK && there)
        status = poly_catalog_remove(c->part->catalog, owner, key, err);
    c->failed = c->failed || status != POLY_OK;
    pthread_mutex_unlock(&c->gate);
    return status;
}

void poly_collection_publish(struct poly_collection *c, uint64_t position)
{
    pthread_mutex_lock(&c->gate);
    poly_assert(!c->failed);
    pthread_mutex_lock(&c->state);
    if (c->dirty) {
        poly_catalog_publish(c->part->catalog);
        poly_index_publish(c->part->index);
        c->end = poly_index_end(c->part->index);
        c->replaced_count = 0;
    }
    c->position = position;
    pthread_mutex_unlock(&c->state);
    c->dirty = false;
    if (c->compaction.ready)
        poly_collection_swap(c);
    pthread_mutex_unlock(&c->gate);
}

void poly_collection_revert(struct poly_collection *c)
{
    pthread_mutex_lock(&c->gate);
    if (c->dirty) {
        poly_index_revert(c->part->index);
        poly_catalog_revert(c->part->catalog);
    }
    pthread_mutex_lock(&c->state);
    c->replaced_count = 0;
    pthread_mutex_unlock(&c->state);
    c->dirty = c->failed = false;
    if (c->compaction.ready)
        poly_collection_swap(c);
    pthread_mutex_unlock(&c->gate);
}

/* --- numbers --- */

void poly_collection_measure(struct poly_collection *c, struct poly_collection_numbers *numbers)
{
    struct poly_index_numbers beside = {0};
    struct poly_part *next;
    struct poly_part *part;
    uint32_t end;

    memset(numbers, 0, sizeof(*numbers));
    part = poly_part_hold(c, &end, &numbers->position);
    pthread_mutex_lock(&c->state);
    next = c->next;
    if (next != NULL)
        next->held++;
    pthread_mutex_unlock(&c->state);
    poly_index_measure(part->index, &numbers->index);
    numbers->catalog_bytes = poly_catalog_memory(part->catalog);
    numbers->live = numbers->index.slots - numbers->index.dead;
    numbers->compacting = next != NULL;
    if (next != NULL) {
        poly_index_measure(next->index, &beside);
        numbers->index.memory_bytes += beside.memory_bytes;
        numbers->index.original_bytes += beside.original_bytes;
        numbers->catalog_bytes += poly_catalog_memory(next->catalog);
    }
    poly_part_release(c, next);
    poly_part_release(c, part);
    numbers->saved = atomic_load(&c->saved);
    numbers->file_bytes = poly_collection_file_bytes(c);
}

uint64_t poly_collection_saved(const struct poly_collection *c)
{
    return atomic_load(&c->saved);
}
