/*
 * A batch is one transaction, which begins by holding two rows: the store's,
 * so that nobody becomes the one who applies in the middle, and the
 * generation's position; and ends by moving that.
 */
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
