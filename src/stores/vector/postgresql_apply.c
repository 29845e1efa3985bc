/*
 * A batch becomes one pipeline: a statement for each record's last change, its vector in binary,
 * then the position and COMMIT.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "followers/document.h"
#include "followers/postgresql_filter.h"
#include "stores/vector/postgresql.h"
#include "stores/vector/record.h"

enum { FULL_BATCH = 256 };

struct change {
    const struct poly_pgv_collection *collection;
    const struct poly_record *record;
    struct poly_text owner, key;
    size_t sequence;
};

struct work {
    struct poly_pgv *self;
    const struct poly_pgv_generation *generation;
    struct poly_pg *pg;
    struct poly_batch *batch;
    struct poly_arena *arena;
    struct change *changes;
    size_t count;
    struct poly_error *err;
};

/* --- which records --- */

static enum poly_status collect_one(struct work *w, const struct poly_record *record)
{
    const struct poly_pgv_generation *g = w->generation;
    enum poly_status status = POLY_OK;
    bool checked = false;

    for (size_t i = 0; i < g->collection_count && status == POLY_OK; i++) {
        const struct poly_pgv_collection *c = &g->collections[i];
        struct change *change = &w->changes[w->count];

        if (!poly_document_concerns(c->source, c->stream, record))
            continue;
        if (!checked)
            status = poly_document_check("vector", w->batch, record, w->err);
        checked = true;
        *change = (struct change){.collection = c, .record = record, .sequence = w->count};
        change->owner = c->tenants ? record->tenant : poly_text("");
        if (status == POLY_OK)
            status = poly_document_key(record, c->stream, w->arena, &change->key, w->err);
        w->count++;
    }
    return status;
}

static enum poly_status collect(struct work *w, uint64_t applied)
{
    size_t room = w->batch->count * w->generation->collection_count;
    enum poly_status status = POLY_OK;

    w->changes = poly_arena_array(w->arena, room + 1, sizeof(*w->changes));
    if (w->changes == NULL)
        return poly_no_memory(w->err);
    for (size_t i = 0; i < w->batch->count && status == POLY_OK; i++)
        if (w->batch->records[i].position > applied)
            status = collect_one(w, &w->batch->records[i]);
    return status;
}

static int compare_text(struct poly_text a, struct poly_text b)
{
    size_t size = a.size < b.size ? a.size : b.size;
    int order = size == 0 ? 0 : memcmp(a.data, b.data, size);

    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static int same_entry(const struct change *a, const struct change *b)
{
    int order = compare_text(a->owner, b->owner);

    if (a->collection->number != b->collection->number)
        return a->collection->number < b->collection->number ? -1 : 1;
    return order != 0 ? order : compare_text(a->key, b->key);
}

static int by_entry(const void *left, const void *right)
{
    const struct change *a = left, *b = right;
    int order = same_entry(a, b);

    return order != 0 ? order : (a->sequence > b->sequence) - (a->sequence < b->sequence);
}

/* The last of each; in the order of the key, so that rows are always locked in the same. */
static void keep_last(struct work *w)
{
    size_t kept = 0;

    qsort(w->changes, w->count, sizeof(*w->changes), by_entry);
    for (size_t i = 0; i < w->count; i++)
        if (i + 1 == w->count || same_entry(&w->changes[i], &w->changes[i + 1]) != 0)
            w->changes[kept++] = w->changes[i];
    w->count = kept;
}

/* --- what is sent of them --- */

static enum poly_status print_values(struct work *w, const struct poly_value *values, size_t count,
                                     struct poly_text *json)
{
    struct poly_buffer out;

    poly_buffer_init(&out, 2UL * POLY_MAX_VALUE);
    poly_follower_print_values(&out, values, count);
    json->size = out.size;
    json->data = poly_buffer_ok(&out) ? poly_arena_copy(w->arena, out.data, out.size) : NULL;
    poly_buffer_release(&out);
    return json->data == NULL ? poly_no_memory(w->err) : POLY_OK;
}

static enum poly_status queue_change(struct work *w, const struct change *change)
{
    const struct poly_pgv_collection *c = change->collection;
    struct poly_text values = {NULL, 0}, vector = {NULL, 0};
    struct poly_vector_entry entry;
    struct poly_pg_params params;
    enum poly_status status =
        poly_vector_take(&c->shape, c->names, w->batch, change->record, w->arena, &entry, w->err);

    if (status == POLY_OK && entry.numbers != NULL)
        status = poly_pgv_encode(c, entry.numbers, w->arena, &vector, w->err);
    if (status == POLY_OK && poly_document_has_json(change->record))
        status = print_values(w, entry.values, c->shape.filter_count, &values);
    if (status != POLY_OK)
        return status;
    poly_pg_params(&params);
    poly_pg_add_text(&params, change->owner);
    poly_pg_add_text(&params, change->key);
    poly_pg_add_int(&params, (int64_t)change->record->position);
    poly_pg_add_int(&params, (int64_t)change->record->version);
    if (values.data != NULL)
        poly_pg_add_json(&params, values);
    else
        poly_pg_add_null(&params);
    if (vector.data != NULL)
        poly_pg_add_binary(&params, vector.data, vector.size);
    else
        poly_pg_add_null(&params);
    return poly_pg_queue(w->pg, c->put, &params, w->err);
}

static enum poly_status queue_all(struct work *w)
{
    enum poly_status status = POLY_OK;

    for (size_t i = 0; i < w->count && status == POLY_OK; i++) {
        struct poly_arena_mark mark = poly_arena_mark(w->arena);

        status = queue_change(w, &w->changes[i]);
        poly_arena_rewind(w->arena, mark);
    }
    return status;
}

/* --- all of it --- */

enum poly_status poly_pgv_apply(struct poly_follower *self,
                                const struct poly_follower_generation *generation,
                                struct poly_pg *pg, struct poly_batch *batch,
                                struct poly_error *err)
{
    struct poly_error own;
    struct work w = {.self = (struct poly_pgv *)self,
                     .generation = (const struct poly_pgv_generation *)generation,
                     .pg = pg,
                     .batch = batch,
                     .arena = self->arena,
                     .err = err == NULL ? &own : err};
    uint64_t applied = 0;
    enum poly_status status =
        poly_follower_begin(self, pg, generation->number, batch, &applied, w.err);

    if (status != POLY_OK || batch->last <= applied)
        return status;
    status = collect(&w, applied);
    keep_last(&w);
    if (batch->count >= FULL_BATCH)
        atomic_store(&w.self->filled, poly_clock_monotonic());
    if (status == POLY_OK)
        status = queue_all(&w);
    return status == POLY_OK ? poly_follower_finish(self, pg, generation->number, batch, w.err)
                             : status;
}
