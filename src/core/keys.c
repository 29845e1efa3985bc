/*
 * API keys: "pk_<id>_<secret>", 8 and 24 random bytes in hex. The secret has
 * 192 bits, so one fast hash is enough: there is nothing to guess.
 */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"
#include "core/inside.h"

enum { ID = 8, SECRET = 24, ID_HEX = ID * 2, SECRET_HEX = SECRET * 2, HASH = 32 };

static const char put[] = "INSERT INTO poly_key(id, hash, label, tenant, rights, created, expires,"
                          " revoked) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0)";
static const char list[] = "SELECT id, label, tenant, rights, created, expires, revoked"
                           " FROM poly_key ORDER BY created, id LIMIT 10000";
static const char count_keys[] = "SELECT count(*) FROM poly_key";
static const char revoke[] = "UPDATE poly_key SET revoked = ?2 WHERE id = ?1 AND revoked = 0";
static const char find[] = "SELECT id, label, tenant, rights, created, expires, revoked, hash"
                           " FROM poly_key WHERE id = ?1";

struct new_key {
    char id[ID_HEX + 1];
    uint8_t hash[HASH];
    const struct poly_key_options *options;
};

static void hash_secret(const char *secret, size_t size, uint8_t hash[HASH])
{
    crypto_generichash(hash, HASH, (const uint8_t *)secret, size, NULL, 0);
}

static enum poly_status insert(struct poly_db *db, void *arg, struct poly_error *err)
{
    struct new_key *key = arg;
    struct poly_stmt stmt;
    enum poly_status status = poly_stmt_open(&stmt, db, put, err);

    if (status != POLY_OK)
        return status;
    poly_stmt_text(&stmt, 1, poly_text(key->id));
    poly_stmt_bytes(&stmt, 2, key->hash, HASH);
    poly_stmt_text(&stmt, 3, poly_text(key->options->label));
    poly_stmt_text(&stmt, 4, poly_text(key->options->tenant));
    poly_stmt_int(&stmt, 5, key->options->rights);
    poly_stmt_int(&stmt, 6, poly_clock_wall());
    poly_stmt_int(&stmt, 7, key->options->expires);
    return poly_stmt_done(&stmt, err);
}

static enum poly_status check(const struct poly_key_options *options, struct poly_error *err)
{
    if (options->rights == 0 || (options->rights & ~(unsigned)POLY_RIGHTS_ALL) != 0)
        return poly_fail(err, POLY_INVALID, "a key needs rights: read, write, sql, admin");
    if (options->tenant != NULL &&
        (options->tenant[0] == '\0' || strlen(options->tenant) > POLY_MAX_NAME))
        return poly_fail(err, POLY_INVALID, "tenant: its length must be 1 to %d bytes",
                         POLY_MAX_NAME);
    if (options->label != NULL && strlen(options->label) > POLY_MAX_NAME)
        return poly_fail(err, POLY_INVALID, "label: at most %d bytes", POLY_MAX_NAME);
    if (options->tenant != NULL && (options->rights & POLY_RIGHT_ADMIN) != 0)
        return poly_fail(err, POLY_INVALID, "an administrator's key belongs to no tenant");
    return POLY_OK;
}

enum poly_status poly_key_create(struct poly_session *session,
                                 const struct poly_key_options *options, char secret[80],
                                 struct poly_error *err)
{
    struct new_key key = {.options = options};
    uint8_t random[ID + SECRET];
    char hex[SECRET_HEX + 1];
    struct poly_error local;
    enum poly_status status;

    err = err == NULL ? &local : err;
    status = poly_session_require(session, POLY_RIGHT_ADMIN, "making a key", err);
    if (status == POLY_OK)
        status = check(options, err);
    if (status != POLY_OK)
        return status;
    poly_random(random, sizeof(random));
    sodium_bin2hex(key.id, sizeof(key.id), random, ID);
    sodium_bin2hex(hex, sizeof(hex), random + ID, SECRET);
    hash_secret(hex, SECRET_HEX, key.hash);
    status = poly_owner_run(session->instance, insert, &key, true, err);
    if (status == POLY_OK)
        snprintf(secret, 80, "pk_%s_%s", key.id, hex);
    sodium_memzero(random, sizeof(random));
    sodium_memzero(hex, sizeof(hex));
    return status;
}

static enum poly_status read_key(struct poly_arena *arena, struct poly_stmt *stmt,
                                 struct poly_key *key, struct poly_error *err)
{
    struct poly_text *texts[] = {&key->id, &key->label, &key->tenant};

    for (int i = 0; i < 3; i++) {
        struct poly_text text = poly_stmt_get_text(stmt, i);

        texts[i]->data = poly_arena_copy(arena, text.data, text.size);
        texts[i]->size = text.size;
        if (texts[i]->data == NULL)
            return poly_no_memory(err);
    }
    key->rights = (unsigned)poly_stmt_get_int(stmt, 3);
    key->created = poly_stmt_get_int(stmt, 4);
    key->expires = poly_stmt_get_int(stmt, 5);
    key->revoked = poly_stmt_get_int(stmt, 6);
    return POLY_OK;
}

enum poly_status poly_key_list(struct poly_session *session, const struct poly_key **keys,
                               size_t *count, struct poly_error *err)
{
    struct poly_key *all = NULL;
    struct poly_error local;
    struct poly_db *db;
    struct poly_stmt stmt = {.statement = NULL};
    int64_t max = 0;
    size_t used = 0;
    enum poly_status status;
    bool row = true;

    err = err == NULL ? &local : err;
    status = poly_session_require(session, POLY_RIGHT_ADMIN, "listing keys", err);
    if (status == POLY_OK)
        status = poly_session_read_log(session, &db, err);
    if (status != POLY_OK)
        return status;
    status = poly_db_number(db, count_keys, &max, err);
    if (status == POLY_OK)
        status = poly_stmt_open(&stmt, db, list, err);
    if (status == POLY_OK) {
        all = poly_arena_array(session->arena, (size_t)max + 1, sizeof(*all));
        status = all == NULL ? poly_no_memory(err) : POLY_OK;
    }
    while (status == POLY_OK && used < (size_t)max) {
        status = poly_stmt_row(&stmt, &row, err);
        if (status != POLY_OK || !row)
            break;
        status = read_key(session->arena, &stmt, &all[used++], err);
    }
    poly_stmt_close(&stmt);
    poly_session_read_end(session);
    if (status == POLY_OK) {
        *keys = all;
        *count = used;
    }
    return status;
}

struct revocation {
    struct poly_text id;
    bool done;
};

static enum poly_status do_revoke(struct poly_db *db, void *arg, struct poly_error *err)
{
    struct revocation *revocation = arg;
    struct poly_stmt stmt;
    int64_t changes = 0;
    enum poly_status status = poly_stmt_open(&stmt, db, revoke, err);

    if (status != POLY_OK)
        return status;
    poly_stmt_text(&stmt, 1, revocation->id);
    poly_stmt_int(&stmt, 2, poly_clock_wall());
    status = poly_stmt_changes(&stmt, &changes, err);
    revocation->done = changes > 0;
    return status;
}

enum poly_status poly_key_revoke(struct poly_session *session, const char *id,
                                 struct poly_error *err)
{
    struct revocation revocation = {poly_text(id), false};
    struct poly_error local;
    enum poly_status status;

    err = err == NULL ? &local : err;
    status = poly_session_require(session, POLY_RIGHT_ADMIN, "revoking a key", err);
    if (status == POLY_OK)
        status = poly_owner_run(session->instance, do_revoke, &revocation, true, err);
    if (status == POLY_OK && !revocation.done)
        status =
            poly_fail(err, POLY_NOT_FOUND, "there is no key '%.32s' that could be revoked", id);
    return status;
}

/* The same answer, after the same work, whether the id or the secret is wrong. */
static enum poly_status judge(struct poly_arena *arena, struct poly_stmt *stmt, bool row,
                              const char *hex, struct poly_key *key, struct poly_error *err)
{
    struct poly_key found = {.rights = 0};
    uint8_t hash[HASH], kept[HASH] = {0};
    enum poly_status status = POLY_OK;
    int64_t now = poly_clock_wall();
    const void *bytes;
    size_t size;

    hash_secret(hex, SECRET_HEX, hash);
    if (row) {
        bytes = poly_stmt_get_bytes(stmt, 7, &size);
        if (size == HASH)
            memcpy(kept, bytes, HASH);
        status = read_key(arena, stmt, &found, err);
    }
    if (status != POLY_OK)
        return status;
    if (sodium_memcmp(hash, kept, HASH) != 0 || !row || found.revoked != 0 ||
        (found.expires != 0 && found.expires <= now))
        return poly_fail(err, POLY_DENIED, "the API key is unknown, revoked or expired");
    *key = found;
    return POLY_OK;
}

enum poly_status poly_key_check(struct poly_session *session, const char *secret,
                                struct poly_key *key, struct poly_error *err)
{
    struct poly_error local;
    struct poly_owner *owner = session->instance->owner;
    struct poly_db *reader;
    struct poly_stmt stmt;
    enum poly_status status;
    bool row = false;

    err = err == NULL ? &local : err;
    if (strlen(secret) != 3 + ID_HEX + 1 + SECRET_HEX || strncmp(secret, "pk_", 3) != 0 ||
        secret[3 + ID_HEX] != '_')
        return poly_fail(err, POLY_DENIED, "the API key is unknown, revoked or expired");
    reader = owner->driver->take(owner, err);
    if (reader == NULL)
        return err->status;
    status = poly_stmt_open(&stmt, reader, find, err);
    if (status == POLY_OK) {
        poly_stmt_text(&stmt, 1, (struct poly_text){secret + 3, ID_HEX});
        status = poly_stmt_row(&stmt, &row, err);
    }
    if (status == POLY_OK)
        status = judge(session->arena, &stmt, row, secret + 3 + ID_HEX + 1, key, err);
    poly_stmt_close(&stmt);
    owner->driver->give(owner, reader);
    return status;
}
