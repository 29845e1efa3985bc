/*
 * Walking the hash chain: the seals in order, and beside them the records that
 * each one covers. Runs on a reader, seal by seal in snapshots of its own, so
 * a writer never waits for it.
 *
 * A record that is not there is bad, but for change records below the horizon
 * that retention has written down: those have gone with leave, and their leaf
 * stays in the chain.
 */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "core/inside.h"

static const char seals[] =
    "SELECT last, first, leaves, hash FROM poly_seal WHERE last > ?1 ORDER BY last LIMIT 1";
static const char records[] = "SELECT " POLY_LOG_COLUMNS ", salt FROM poly_log"
                              " WHERE position BETWEEN ?1 AND ?2 ORDER BY position";
static const char horizon[] = "SELECT value FROM poly_meta WHERE name = 'retained'";

struct walk {
    struct poly_session *session;
    struct poly_verification *out;
    uint8_t hash[POLY_HASH];
    uint8_t leaves[POLY_SEAL_MAX * POLY_LEAF];
    uint64_t first, last; /* of the seal */
    uint64_t retained;    /* change records up to here may be gone */
    bool gap;             /* the seal says that there are none */
    bool end;
};

static void bad(struct walk *walk, uint64_t position, const char *reason)
{
    if (walk->out->bad_position != 0)
        return;
    walk->out->bad_position = position;
    snprintf(walk->out->reason, sizeof(walk->out->reason), "%s", reason);
}

/* One seal: is it the next, and does its hash follow? */
static enum poly_status next_seal(struct walk *walk, struct poly_db *db, struct poly_error *err)
{
    sqlite3_stmt *get = poly_db_prepare(db, seals, err);
    enum poly_status status;
    uint8_t hash[POLY_HASH];
    bool row;

    if (get == NULL)
        return err->status;
    sqlite3_bind_int64(get, 1, (int64_t)walk->last);
    status = poly_db_row(db, get, &row, err);
    walk->end = !row;
    if (status != POLY_OK || !row)
        return status;

    uint64_t expected = walk->last + 1;
    size_t size = (size_t)sqlite3_column_bytes(get, 2);

    walk->last = (uint64_t)sqlite3_column_int64(get, 0);
    walk->first = (uint64_t)sqlite3_column_int64(get, 1);
    walk->gap = size == 0;
    if (walk->first != expected || walk->last < walk->first ||
        sqlite3_column_bytes(get, 3) != POLY_HASH ||
        (size > 0 && (walk->last - walk->first >= POLY_SEAL_MAX ||
                      size != (walk->last - walk->first + 1) * POLY_LEAF))) {
        bad(walk, expected, "the seal of this record is damaged or missing");
    } else {
        if (size > 0)
            memcpy(walk->leaves, sqlite3_column_blob(get, 2), size);
        memcpy(hash, sqlite3_column_blob(get, 3), POLY_HASH);
        poly_seal_next(walk->hash, walk->first, walk->last, walk->leaves, size);
        if (memcmp(hash, walk->hash, POLY_HASH) != 0)
            bad(walk, walk->first, "the hash chain breaks at the seal of this record");
    }
    sqlite3_reset(get);
    return POLY_OK;
}

static void missing(struct walk *walk, uint64_t from, uint64_t upto)
{
    static const uint8_t nothing[POLY_LEAF];

    for (uint64_t p = from; p < upto && !walk->gap; p++) {
        const uint8_t *leaf = walk->leaves + (p - walk->first) * POLY_LEAF;

        if (p > walk->retained && memcmp(leaf, nothing, POLY_LEAF) != 0)
            bad(walk, p, "the record is missing");
    }
}

static enum poly_status check_record(struct walk *walk, struct poly_db *db, sqlite3_stmt *get,
                                     uint64_t *position, struct poly_error *err)
{
    struct poly_arena *arena = walk->session->arena;
    struct poly_arena_mark mark = poly_arena_mark(arena);
    struct poly_record record;
    uint8_t leaf[POLY_LEAF];
    enum poly_status status = POLY_OK;
    bool large;

    poly_log_row(get, &record, &large);
    *position = record.position;
    if (walk->gap) {
        bad(walk, record.position, "the record was added after its place was sealed as empty");
        return POLY_OK;
    }
    if (large) {
        status =
            poly_stores_large(walk->session->instance, db, &record, arena, &record.data.text, err);
        record.data.type = POLY_JSON;
        if (status != POLY_OK && !poly_log_temporary(status)) {
            bad(walk, record.position, "its large value is kept nowhere");
            return POLY_OK;
        }
    }
    if (status == POLY_OK) {
        poly_seal_leaf(&record, sqlite3_column_blob(get, 10), (size_t)sqlite3_column_bytes(get, 10),
                       leaf);
        if (memcmp(leaf, walk->leaves + (record.position - walk->first) * POLY_LEAF, POLY_LEAF) !=
            0)
            bad(walk, record.position, "the record was changed after it was written");
    }
    poly_arena_rewind(arena, mark);
    return status;
}

static enum poly_status check_records(struct walk *walk, struct poly_db *db, struct poly_error *err)
{
    sqlite3_stmt *get = poly_db_prepare(db, records, err);
    uint64_t expected = walk->first, position;
    enum poly_status status = POLY_OK;
    bool row = true;

    if (get == NULL)
        return err->status;
    sqlite3_bind_int64(get, 1, (int64_t)walk->first);
    sqlite3_bind_int64(get, 2, (int64_t)walk->last);
    while (walk->out->bad_position == 0) {
        status = poly_db_row(db, get, &row, err);
        if (status != POLY_OK || !row)
            break;
        status = check_record(walk, db, get, &position, err);
        if (status != POLY_OK)
            break;
        missing(walk, expected, position);
        expected = position + 1;
        walk->out->records++;
    }
    sqlite3_reset(get);
    if (status == POLY_OK && walk->out->bad_position == 0)
        missing(walk, expected, walk->last + 1);
    return status;
}

static enum poly_status read_horizon(struct walk *walk, struct poly_db *db, struct poly_error *err)
{
    sqlite3_stmt *get = poly_db_prepare(db, horizon, err);
    enum poly_status status;
    bool row;

    if (get == NULL)
        return err->status;
    status = poly_db_row(db, get, &row, err);
    if (status == POLY_OK && row) {
        walk->retained = (uint64_t)sqlite3_column_int64(get, 0);
        sqlite3_reset(get);
    }
    return status;
}

static enum poly_status one_seal(struct walk *walk, struct poly_error *err)
{
    struct poly_db *db;
    enum poly_status status = poly_session_read(walk->session, &db, err);

    if (status != POLY_OK)
        return status;
    status = read_horizon(walk, db, err);
    if (status == POLY_OK)
        status = next_seal(walk, db, err);
    if (status == POLY_OK && !walk->end && walk->out->bad_position == 0) {
        status = check_records(walk, db, err);
        walk->out->seals++;
        walk->out->sealed = walk->last;
    }
    poly_session_read_end(walk->session);
    return status;
}

enum poly_status poly_log_verify(struct poly_session *session, poly_progress_fn *progress,
                                 void *arg, struct poly_verification *verification,
                                 struct poly_error *err)
{
    struct poly_verification out = {.records = 0};
    struct walk *walk;
    struct poly_error local;
    uint64_t sealed = atomic_load(&session->instance->log->durable);
    enum poly_status status;

    err = err == NULL ? &local : err;
    status = poly_session_require(session, POLY_RIGHT_ADMIN, "verifying the log", err);
    if (status != POLY_OK)
        return status;
    walk = poly_arena_alloc(session->arena, sizeof(*walk));
    if (walk == NULL)
        return poly_no_memory(err);
    walk->session = session;
    walk->out = &out;
    while (status == POLY_OK && !walk->end && out.bad_position == 0) {
        status = one_seal(walk, err);
        if (status == POLY_OK && progress != NULL && !progress(arg, out.sealed, sealed))
            status = poly_fail(err, POLY_TIMEOUT, "verification was stopped at %llu",
                               (unsigned long long)out.sealed);
    }
    if (status != POLY_OK)
        return status;
    sodium_bin2hex(out.hash, sizeof(out.hash), walk->hash, POLY_HASH);
    *verification = out;
    return POLY_OK;
}
