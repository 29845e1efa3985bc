/*
 * The first result of a request that carried an idempotency key, kept in the
 * transaction that made it, and replayed while it is young enough.
 */
#ifndef POLY_CORE_IDEMPOTENCY_H
#define POLY_CORE_IDEMPOTENCY_H

#include "base/sql.h"
#include "polystore/txn.h"

struct poly_idempotent {
    struct poly_text tenant, key;
    uint8_t digest[32]; /* of all that the request asks */
    uint64_t position;
    struct poly_result *results;
    size_t count;
};

/*
 * Fills position and results when the key is known and younger than
 * seconds. POLY_CONFLICT: known, with another digest.
 */
enum poly_status poly_idempotency_find(struct poly_db *db, struct poly_idempotent *entry,
                                       int64_t seconds, struct poly_arena *arena, bool *known,
                                       struct poly_error *err);
/* Keeps it, and removes a few that are older than seconds. */
enum poly_status poly_idempotency_keep(struct poly_db *db, const struct poly_idempotent *entry,
                                       int64_t seconds, struct poly_error *err);

#endif
