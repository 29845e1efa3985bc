/*
 * A batch becomes one pipeline: a statement for each record's last change, its vector in binary,
 * then the position and COMMIT.
 */
#include "base/clock.h"
#include "base/limits.h"
#include "followers/document.h"
#include "followers/postgresql_filter.h"
#include "stores/vector/postgresql.h"
#include "stores/vector/record.h"

enum { FULL_BATCH = 256 };

struct work {
    struct poly_pg *pg;
    struct poly_batch *batch;
    struct poly_arena *arena;
    struct poly_follower_change *changes;
    size_t count;
    struct poly_error *err;
};

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

static enum poly_status queue_change(struct work *w, const struct poly_follower_change *change)
{
    const struct poly_pgv_collection *c = (const struct poly_pgv_collection *)change->source;
    struct poly_text values = {NULL, 0}, vector = {NULL, 0};
    struct poly_vector_entry entry;
    struct poly_pg_params params;
    enum poly_status status;

    if (change->record->position < c->since) /* of a model before */
        return POLY_OK;
    status =
        poly_vector_take(&c->shape, c->names, w->batch, change->record, w->arena, &entry, w->err);

    if (status == POLY_OK && entry.numbers != NULL)
        status = poly_pgv_encode(c, entry.numbers, w->arena, &vector, w->err);
    if (status == POLY_OK && poly_document_has_json(change->record))
        status = print_values(w, entry.values, c->shape.filter_count, &values);
    if (status != POLY_OK)
        return status;
    poly_pg_params(&params);
    poly_pg_add_text(&params, change->tenant);
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
    struct work w = {
        .pg = pg, .batch = batch, .arena = self->arena, .err = err == NULL ? &own : err};
    uint64_t applied = 0, number = generation->number;
    bool changed = true;
    enum poly_status status = POLY_OK;

    while (changed) {
        status = poly_follower_begin(self, pg, number, batch, &applied, w.err);
        if (status == POLY_OK && batch->last > applied)
            status = poly_pgv_follow_models(self, generation, pg, &changed, w.err);
        else
            changed = false;
        if (status == POLY_OK && changed) {
            status = poly_pg_commit(pg, w.err);
            poly_follower_forget(self, number);
            if (status == POLY_OK)
                status = poly_follower_find(self, pg, number, &generation, w.err);
        }
        if (status != POLY_OK || batch->last <= applied)
            return status;
    }
    status = poly_follower_changes(self, generation, batch, applied, &w.changes, &w.count, w.err);
    if (batch->count >= FULL_BATCH)
        atomic_store(&((struct poly_pgv *)self)->filled, poly_clock_monotonic());
    if (status == POLY_OK)
        status = queue_all(&w);
    return status == POLY_OK ? poly_follower_finish(self, pg, generation->number, batch, w.err)
                             : status;
}
