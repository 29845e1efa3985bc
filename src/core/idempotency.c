#include "core/idempotency.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/limits.h"

static const char get[] =
    "SELECT digest, result, time FROM poly_idempotency WHERE tenant = ?1 AND key = ?2";
static const char put[] =
    "INSERT INTO poly_idempotency(tenant, key, digest, result, time) VALUES (?1, ?2, ?3, ?4, ?5)"
    " ON CONFLICT (tenant, key) DO UPDATE SET digest = ?3, result = ?4, time = ?5";
/* Two out for each one in: what is old goes away without a job of its own. */
static const char purge[] =
    "DELETE FROM poly_idempotency WHERE (tenant, key) IN (SELECT tenant, key FROM poly_idempotency"
    " WHERE time < ?1 ORDER BY time LIMIT 2)";

/* position, count, then for each result: version, count, key size, key. Numbers: 8 bytes. */
static void encode(struct poly_buffer *buffer, const struct poly_idempotent *entry)
{
    uint64_t head[2] = {entry->position, entry->count};

    poly_buffer_add(buffer, head, sizeof(head));
    for (size_t i = 0; i < entry->count; i++) {
        const struct poly_result *result = &entry->results[i];
        uint64_t numbers[3] = {result->version, (uint64_t)result->count, result->key.size};

        poly_buffer_add(buffer, numbers, sizeof(numbers));
        poly_buffer_add(buffer, result->key.data, result->key.size);
    }
}

static bool take(const char **bytes, size_t *size, void *into, size_t wanted)
{
    if (*size < wanted)
        return false;
    if (wanted > 0)
        memcpy(into, *bytes, wanted);
    *bytes += wanted;
    *size -= wanted;
    return true;
}

static bool decode_result(const char **bytes, size_t *size, struct poly_arena *arena,
                          struct poly_result *result)
{
    uint64_t numbers[3];

    if (!take(bytes, size, numbers, sizeof(numbers)) || numbers[2] > *size)
        return false;
    result->version = numbers[0];
    result->count = (int64_t)numbers[1];
    result->key.data = poly_arena_copy(arena, *bytes, numbers[2]);
    result->key.size = numbers[2];
    *bytes += numbers[2];
    *size -= numbers[2];
    return result->key.data != NULL;
}

static enum poly_status decode(const char *bytes, size_t size, struct poly_arena *arena,
                               struct poly_idempotent *entry, struct poly_error *err)
{
    uint64_t head[2];

    if (!take(&bytes, &size, head, sizeof(head)) || head[1] > POLY_MAX_OPERATIONS)
        return poly_fail(err, POLY_CORRUPT, "poly_idempotency: a stored result is damaged");
    entry->position = head[0];
    entry->count = head[1];
    entry->results = poly_arena_array(arena, entry->count, sizeof(*entry->results));
    if (entry->results == NULL)
        return poly_no_memory(err);
    for (size_t i = 0; i < entry->count; i++) {
        if (!decode_result(&bytes, &size, arena, &entry->results[i]))
            return poly_fail(err, POLY_CORRUPT, "poly_idempotency: a stored result is damaged");
    }
    return POLY_OK;
}

enum poly_status poly_idempotency_find(struct poly_db *db, struct poly_idempotent *entry,
                                       int64_t seconds, struct poly_arena *arena, bool *known,
                                       struct poly_error *err)
{
    struct poly_stmt stmt;
    enum poly_status status = poly_stmt_open(&stmt, db, get, err);
    const void *bytes;
    size_t size;
    bool row;

    if (status != POLY_OK)
        return status;
    poly_stmt_text(&stmt, 1, entry->tenant);
    poly_stmt_text(&stmt, 2, entry->key);
    status = poly_stmt_row(&stmt, &row, err);
    *known = false;
    if (status != POLY_OK || !row)
        return status;
    if (poly_stmt_get_int(&stmt, 2) + seconds * 1000000 > poly_clock_wall()) {
        *known = true;
        bytes = poly_stmt_get_bytes(&stmt, 0, &size);
        if (size != sizeof(entry->digest) || memcmp(bytes, entry->digest, size) != 0)
            status =
                poly_fail(err, POLY_CONFLICT,
                          "idempotency key '%.64s' was used for another request", entry->key.data);
        else {
            bytes = poly_stmt_get_bytes(&stmt, 1, &size);
            status = decode(bytes, size, arena, entry, err);
        }
    }
    poly_stmt_close(&stmt);
    return status;
}

static enum poly_status remove_old(struct poly_db *db, int64_t seconds, struct poly_error *err)
{
    struct poly_stmt stmt;
    enum poly_status status = poly_stmt_open(&stmt, db, purge, err);

    if (status != POLY_OK)
        return status;
    poly_stmt_int(&stmt, 1, poly_clock_wall() - seconds * 1000000);
    return poly_stmt_done(&stmt, err);
}

enum poly_status poly_idempotency_keep(struct poly_db *db, const struct poly_idempotent *entry,
                                       int64_t seconds, struct poly_error *err)
{
    struct poly_stmt stmt;
    enum poly_status status = poly_stmt_open(&stmt, db, put, err);
    struct poly_buffer buffer;

    if (status != POLY_OK)
        return status;
    poly_buffer_init(&buffer, POLY_MAX_TXN_BYTES);
    encode(&buffer, entry);
    if (!poly_buffer_ok(&buffer)) {
        poly_stmt_close(&stmt);
        poly_buffer_release(&buffer);
        return poly_no_memory(err);
    }
    poly_stmt_text(&stmt, 1, entry->tenant);
    poly_stmt_text(&stmt, 2, entry->key);
    poly_stmt_bytes(&stmt, 3, entry->digest, sizeof(entry->digest));
    poly_stmt_bytes(&stmt, 4, buffer.data, buffer.size);
    poly_stmt_int(&stmt, 5, poly_clock_wall());
    status = poly_stmt_done(&stmt, err);
    poly_buffer_release(&buffer);
    return status == POLY_OK ? remove_old(db, seconds, err) : status;
}
