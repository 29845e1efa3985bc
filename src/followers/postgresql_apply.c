/*
 * A batch is one transaction, which begins by holding two rows: the store's,
 * so that nobody becomes the one who applies in the middle, and the
 * generation's position; and ends by moving that.
 */
#include <stdlib.h>
#include <string.h>

#include "followers/document.h"
#include "followers/postgresql.h"

static enum poly_status check_held(struct poly_follower *self, uint64_t number,
                                   const PGresult *fence, const PGresult *position,
                                   uint64_t *applied, struct poly_error *err)
{
    int64_t ours = atomic_load(&self->fence);

    if (PQntuples(fence) == 0 || poly_pg_int(fence, 0, 0) != ours || ours == 0)
        return poly_fail(err, POLY_UNAVAILABLE, "%s: another daemon has taken over",
                         self->kind->driver->store);
    if (PQntuples(position) == 0)
        return poly_fail(err, POLY_NOT_FOUND, "%s: there is no generation %llu",
                         self->kind->driver->store, (unsigned long long)number);
    *applied = (uint64_t)poly_pg_int(position, 0, 0);
    return POLY_OK;
}

enum poly_status poly_follower_begin(struct poly_follower *self, struct poly_pg *pg,
                                     uint64_t number, const struct poly_batch *batch,
                                     uint64_t *applied, struct poly_error *err)
{
    PGresult *results[3] = {NULL};
    struct poly_pg_params params;
    enum poly_status status =
        poly_pg_queue(pg, poly_pg_begin_text(POLY_PG_COMMITTED, false), NULL, err);

    poly_pg_params(&params);
    poly_pg_add_int(&params, (int64_t)number);
    if (status == POLY_OK)
        status = poly_pg_queue(pg, self->sql[POLY_FOLLOWER_HOLD], NULL, err);
    if (status == POLY_OK)
        status = poly_pg_queue(pg, self->sql[POLY_FOLLOWER_HOLD_POSITION], &params, err);
    for (int i = 0; i < 3 && status == POLY_OK; i++)
        status = poly_pg_next(pg, &results[i], err);
    if (status == POLY_OK)
        status = check_held(self, number, results[1], results[2], applied, err);
    for (int i = 0; i < 3; i++)
        PQclear(results[i]);
    if (status == POLY_OK && batch->after > *applied)
        status = poly_fail(err, POLY_UNAVAILABLE, "%s: the server has gone back from %llu to %llu",
                           self->kind->driver->store, (unsigned long long)batch->after,
                           (unsigned long long)*applied);
    return status;
}

enum poly_status poly_follower_finish(struct poly_follower *self, struct poly_pg *pg,
                                      uint64_t number, const struct poly_batch *batch,
                                      struct poly_error *err)
{
    struct poly_pg_params params;
    enum poly_status status;

    poly_pg_params(&params);
    poly_pg_add_int(&params, (int64_t)number);
    poly_pg_add_int(&params, (int64_t)batch->last);
    status = poly_pg_queue(pg, self->sql[POLY_FOLLOWER_SET_APPLIED], &params, err);
    if (status == POLY_OK)
        status = poly_pg_queue_commit(pg, err);
    while (status == POLY_OK && poly_pg_queued(pg) > 0) {
        PGresult *result = NULL;

        status = poly_pg_next(pg, &result, err);
        PQclear(result);
    }
    return status;
}

/* --- what a batch changes --- */

static bool concerns(const struct poly_follower_source *source, const struct poly_record *record)
{
    return record->position > source->since && record->position <= source->until &&
           poly_document_concerns(source->source, source->stream, record);
}

static enum poly_status add_changes(struct poly_follower *self,
                                    const struct poly_follower_generation *generation,
                                    struct poly_batch *batch, const struct poly_record *record,
                                    struct poly_follower_change *changes, size_t *count,
                                    struct poly_error *err)
{
    enum poly_status status = POLY_OK;
    bool checked = false;

    for (size_t i = 0; i < generation->source_count && status == POLY_OK; i++) {
        const struct poly_follower_source *source = generation->sources[i];
        struct poly_follower_change *change = &changes[*count];

        if (!concerns(source, record))
            continue;
        if (!checked)
            status = poly_document_check(self->kind->driver->store, batch, record, err);
        checked = true;
        *change =
            (struct poly_follower_change){.source = source, .record = record, .sequence = *count};
        change->tenant = source->tenants ? record->tenant : poly_text("");
        if (status == POLY_OK)
            status = poly_document_key(record, source->stream, self->arena, &change->key, err);
        ++*count;
    }
    return status;
}

static int compare_text(struct poly_text a, struct poly_text b)
{
    size_t size = a.size < b.size ? a.size : b.size;
    int order = size == 0 ? 0 : memcmp(a.data, b.data, size);

    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static int same_entry(const struct poly_follower_change *a, const struct poly_follower_change *b)
{
    int order = compare_text(a->tenant, b->tenant);

    if (a->source->number != b->source->number)
        return a->source->number < b->source->number ? -1 : 1;
    return order != 0 ? order : compare_text(a->key, b->key);
}

static int by_entry(const void *left, const void *right)
{
    const struct poly_follower_change *a = left, *b = right;
    int order = same_entry(a, b);

    if (order == 0 && a->record->position != b->record->position)
        return a->record->position < b->record->position ? -1 : 1;
    return order != 0 ? order : (a->sequence > b->sequence) - (a->sequence < b->sequence);
}

enum poly_status poly_follower_changes(struct poly_follower *self,
                                       const struct poly_follower_generation *generation,
                                       struct poly_batch *batch, uint64_t applied,
                                       struct poly_follower_change **changes, size_t *count,
                                       struct poly_error *err)
{
    struct poly_follower_change *list;
    size_t room = 0, found = 0, kept = 0;
    enum poly_status status;

    for (size_t i = 0; i < batch->count; i++)
        for (size_t s = 0; s < generation->source_count; s++)
            room += concerns(generation->sources[s], &batch->records[i]);
    list = poly_arena_array(self->arena, room + 1, sizeof(*list));
    status = list == NULL ? poly_no_memory(err) : POLY_OK;
    for (size_t i = 0; i < batch->count && status == POLY_OK; i++)
        if (batch->records[i].position > applied)
            status = add_changes(self, generation, batch, &batch->records[i], list, &found, err);
    if (status != POLY_OK)
        return status;
    qsort(list, found, sizeof(*list), by_entry);
    for (size_t i = 0; i < found; i++)
        if (i + 1 == found || same_entry(&list[i], &list[i + 1]) != 0)
            list[kept++] = list[i];
    *changes = list;
    *count = kept;
    return POLY_OK;
}
