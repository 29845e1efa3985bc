/*
 * Growing the hash chain (seal.c says what a leaf and a hash are). Leaves come
 * from memory where we have written the records ourselves, else from the rows.
 */
#include "core/chain.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "core/inside.h"

static const char seal_head[] = "SELECT last, hash FROM poly_seal ORDER BY last DESC LIMIT 1";
static const char seal_put[] =
    "INSERT INTO poly_seal(last, first, leaves, hash) VALUES (?1, ?2, ?3, ?4)";

bool poly_chain_init(struct poly_chain *chain)
{
    chain->capacity = 256;
    chain->leaves = malloc(chain->capacity * POLY_LEAF);
    return chain->leaves != NULL;
}

void poly_chain_release(struct poly_chain *chain)
{
    free(chain->leaves);
    chain->leaves = NULL;
}

enum poly_status poly_chain_load(struct poly_chain *chain, struct poly_db *db,
                                 struct poly_error *err)
{
    struct poly_stmt get;
    enum poly_status status = poly_stmt_open(&get, db, seal_head, err);
    const void *hash;
    size_t size;
    bool row;

    if (status == POLY_OK)
        status = poly_stmt_row(&get, &row, err);
    if (status != POLY_OK)
        return status;
    chain->sealed = 0;
    memset(chain->hash, 0, sizeof(chain->hash));
    if (row) {
        chain->sealed = (uint64_t)poly_stmt_get_int(&get, 0);
        hash = poly_stmt_get_bytes(&get, 1, &size);
        if (size == POLY_HASH)
            memcpy(chain->hash, hash, POLY_HASH);
        poly_stmt_close(&get);
    }
    chain->leafed = chain->sealed;
    return POLY_OK;
}

void poly_chain_rewind(struct poly_chain *chain, uint64_t head)
{
    poly_assert(head >= chain->sealed);
    if (chain->leafed > head)
        chain->leafed = head;
}

static bool leaves_reserve(struct poly_chain *chain)
{
    size_t count = chain->leafed - chain->sealed;
    uint8_t *more;

    if (count < chain->capacity)
        return true;
    more = realloc(chain->leaves, chain->capacity * 2 * POLY_LEAF);
    if (more == NULL)
        return false;
    chain->leaves = more;
    chain->capacity *= 2;
    return true;
}

/* Without memory for it the leaf is made later, from the row. */
void poly_chain_add(struct poly_chain *chain, const struct poly_record *record, const uint8_t *salt,
                    size_t salt_size)
{
    if (chain->leafed + 1 != record->position || !leaves_reserve(chain))
        return;
    poly_seal_leaf(record, salt, salt_size,
                   chain->leaves + (chain->leafed - chain->sealed) * POLY_LEAF);
    chain->leafed++;
}

/* Up to last: as many leaves as there are positions, or none for a gap. */
static enum poly_status seal_run(struct poly_chain *chain, struct poly_db *db, uint64_t last,
                                 size_t count, struct poly_error *err)
{
    struct poly_stmt put;
    enum poly_status status = poly_stmt_open(&put, db, seal_put, err);
    uint64_t first = chain->sealed + 1;
    uint8_t hash[POLY_HASH];

    if (status != POLY_OK)
        return status;
    memcpy(hash, chain->hash, POLY_HASH);
    poly_seal_next(hash, first, last, chain->leaves, count * POLY_LEAF);
    poly_stmt_int(&put, 1, (int64_t)last);
    poly_stmt_int(&put, 2, (int64_t)first);
    poly_stmt_bytes(&put, 3, chain->leaves, count * POLY_LEAF);
    poly_stmt_bytes(&put, 4, hash, POLY_HASH);
    status = poly_stmt_done(&put, err);
    if (status != POLY_OK)
        return status;
    if (chain->leafed < last)
        chain->leafed = last;
    memmove(chain->leaves, chain->leaves + count * POLY_LEAF, (chain->leafed - last) * POLY_LEAF);
    memcpy(chain->hash, hash, POLY_HASH);
    chain->sealed = last;
    return POLY_OK;
}

/*
 * A hole in the positions (somebody's explicit rowid; what was rolled back on a
 * server) is sealed as missing: an empty leaf for each. *gap: one that is too long for that ends at
 * the position before this one.
 */
static enum poly_status leaf_read(struct poly_chain *chain, struct poly_instance *instance,
                                  struct poly_stmt *get, struct poly_arena *arena, uint64_t *gap,
                                  struct poly_error *err)
{
    static const uint8_t nothing[POLY_LEAF];
    struct poly_record record;
    const void *salt;
    size_t size;
    bool large;

    instance->owner->driver->record(get, &record, &large);
    if (record.position - chain->leafed > POLY_SEAL_MAX) {
        *gap = record.position - 1;
        return POLY_OK;
    }
    while (chain->leafed + 1 < record.position) {
        if (!leaves_reserve(chain))
            return poly_no_memory(err);
        memcpy(chain->leaves + (chain->leafed++ - chain->sealed) * POLY_LEAF, nothing, POLY_LEAF);
        if (chain->leafed - chain->sealed >= POLY_SEAL_MAX)
            return POLY_OK;
    }
    if (large) {
        enum poly_status status =
            poly_stores_large(instance, get->db, &record, arena, &record.data.text, err);

        if (status != POLY_OK && poly_log_temporary(status))
            return status;
        /* Kept nowhere: sealed without, and verifying the log will say so. */
        record.data.type = status == POLY_OK ? POLY_JSON : POLY_NULL;
    }
    if (!leaves_reserve(chain))
        return poly_no_memory(err);
    salt = poly_stmt_get_bytes(get, POLY_RECORD_SALT, &size);
    poly_chain_add(chain, &record, salt, size);
    return POLY_OK;
}

/* Leaves for records that triggers or other programs have written. */
static enum poly_status leaves_read(struct poly_chain *chain, const struct poly_chain_seal *seal,
                                    uint64_t max, uint64_t *gap, struct poly_error *err)
{
    struct poly_arena *arena = poly_arena_new(2 * POLY_MAX_IMAGE);
    struct poly_stmt get = {.statement = NULL};
    enum poly_status status;
    bool row = true;

    if (arena == NULL)
        return poly_no_memory(err);
    status = poly_stmt_open(&get, seal->db, seal->instance->owner->driver->records, err);
    if (status == POLY_OK) {
        poly_stmt_int(&get, 1, (int64_t)chain->leafed + 1);
        poly_stmt_int(&get, 2, (int64_t)seal->head);
        poly_stmt_int(&get, 3, (int64_t)max);
    }
    while (status == POLY_OK) {
        status = poly_stmt_row(&get, &row, err);
        if (status != POLY_OK || !row)
            break;
        status = leaf_read(chain, seal->instance, &get, arena, gap, err);
        if (chain->leafed - chain->sealed >= max || *gap != 0)
            break;
        poly_arena_reset(arena);
    }
    poly_stmt_close(&get);
    poly_arena_free(arena);
    return status;
}

enum poly_status poly_chain_seal(struct poly_chain *chain, const struct poly_chain_seal *seal,
                                 struct poly_error *err)
{
    enum poly_status status = POLY_OK;
    uint64_t until =
        seal->head - chain->sealed > seal->max ? chain->sealed + seal->max : seal->head;

    while (status == POLY_OK && chain->sealed < until) {
        uint64_t count = until - chain->sealed, gap = 0;

        if (count > POLY_SEAL_MAX)
            count = POLY_SEAL_MAX;
        if (chain->leafed - chain->sealed < count) {
            uint64_t before = chain->leafed;

            status = leaves_read(chain, seal, count, &gap, err);
            if (status == POLY_OK && chain->leafed == before && gap == 0 && seal->sparse)
                return POLY_OK;
            if (status == POLY_OK && chain->leafed == before && gap == 0)
                return poly_fail(err, POLY_CORRUPT, "record %llu is missing from the log",
                                 (unsigned long long)chain->leafed + 1);
        }
        if (chain->leafed - chain->sealed < count)
            count = chain->leafed - chain->sealed;
        if (status == POLY_OK && count > 0)
            status = seal_run(chain, seal->db, chain->sealed + count, count, err);
        if (status == POLY_OK && gap != 0)
            status = seal_run(chain, seal->db, gap, 0, err);
    }
    return status;
}
