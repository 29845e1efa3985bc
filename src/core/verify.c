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
    struct poly_stmt get;
    enum poly_status status = poly_stmt_open(&get, db, seals, err);
    uint8_t own[POLY_HASH];
    bool row;

    if (status != POLY_OK)
        return status;
    poly_stmt_int(&get, 1, (int64_t)walk->last);
    status = poly_stmt_row(&get, &row, err);
    walk->end = !row;
    if (status != POLY_OK || !row)
        return status;

    uint64_t expected = walk->last + 1;
    size_t size, hash_size;
    const void *leaves = poly_stmt_get_bytes(&get, 2, &size);
    const void *hash = poly_stmt_get_bytes(&get, 3, &hash_size);

    walk->last = (uint64_t)poly_stmt_get_int(&get, 0);
    walk->first = (uint64_t)poly_stmt_get_int(&get, 1);
    walk->gap = size == 0;
    if (walk->first != expected || walk->last < walk->first || hash_size != POLY_HASH ||
        (size > 0 && (walk->last - walk->first >= POLY_SEAL_MAX ||
                      size != (walk->last - walk->first + 1) * POLY_LEAF))) {
        bad(walk, expected, "the seal of this record is damaged or missing");
    } else {
        if (size > 0)
            memcpy(walk->leaves, leaves, size);
        memcpy(own, hash, POLY_HASH);
        poly_seal_next(walk->hash, walk->first, walk->last, walk->leaves, size);
        if (memcmp(own, walk->hash, POLY_HASH) != 0)
            bad(walk, walk->first, "the hash chain breaks at the seal of this record");
    }
    poly_stmt_close(&get);
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

static enum poly_status check_record(struct walk *walk, struct poly_stmt *get, uint64_t *position,
                                     struct poly_error *err)
{
    struct poly_arena *arena = walk->session->arena;
    struct poly_arena_mark mark = poly_arena_mark(arena);
    struct poly_record record;
    uint8_t leaf[POLY_LEAF];
    enum poly_status status = POLY_OK;
    const void *salt;
    size_t size;
    bool large;

    walk->session->instance->owner->driver->record(get, &record, &large);
    *position = record.position;
    if (walk->gap) {
        bad(walk, record.position, "the record was added after its place was sealed as empty");
        return POLY_OK;
    }
    if (large) {
        status = poly_stores_large(walk->session->instance, get->db, &record, arena,
                                   &record.data.text, err);
        record.data.type = POLY_JSON;
        if (status != POLY_OK && !poly_log_temporary(status)) {
            bad(walk, record.position, "its large value is kept nowhere");
            return POLY_OK;
        }
    }
    if (status == POLY_OK) {
        salt = poly_stmt_get_bytes(get, POLY_RECORD_SALT, &size);
        poly_seal_leaf(&record, salt, size, leaf);
        if (memcmp(leaf, walk->leaves + (record.position - walk->first) * POLY_LEAF, POLY_LEAF) !=
            0)
            bad(walk, record.position, "the record was changed after it was written");
    }
    poly_arena_rewind(arena, mark);
    return status;
}

static enum poly_status check_records(struct walk *walk, struct poly_db *db, struct poly_error *err)
{
    const struct poly_owner_driver *owner = walk->session->instance->owner->driver;
    uint64_t expected = walk->first, position;
    struct poly_stmt get;
    enum poly_status status = poly_stmt_open(&get, db, owner->records, err);
    bool row = true;

    if (status != POLY_OK)
        return status;
    poly_stmt_int(&get, 1, (int64_t)walk->first);
    poly_stmt_int(&get, 2, (int64_t)walk->last);
    poly_stmt_int(&get, 3, INT64_MAX);
    while (walk->out->bad_position == 0) {
        status = poly_stmt_row(&get, &row, err);
        if (status != POLY_OK || !row)
            break;
        status = check_record(walk, &get, &position, err);
        if (status != POLY_OK)
            break;
        missing(walk, expected, position);
        expected = position + 1;
        walk->out->records++;
    }
    poly_stmt_close(&get);
    if (status == POLY_OK && walk->out->bad_position == 0)
        missing(walk, expected, walk->last + 1);
    return status;
}

static enum poly_status one_seal(struct walk *walk, struct poly_error *err)
{
    struct poly_db *db;
    int64_t retained = 0;
    enum poly_status status = poly_session_read_log(walk->session, &db, err);

    if (status != POLY_OK)
        return status;
    status = poly_db_number(db, walk->session->instance->owner->driver->retained, &retained, err);
    walk->retained = (uint64_t)retained;
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
    uint64_t sealed = atomic_load(&session->instance->owner->durable);
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
