/*
 * Why one table for events and for changes of records: one order needs one
 * counter, and a reader that follows everything reads one B-tree. Positions
 * are AUTOINCREMENT rowids, so a number is never used twice.
 *
 * Versions of streams are decided from a cache in memory. Another process may
 * commit behind our back; PRAGMA data_version says so at the start of every
 * group, and the cache is then dropped.
 */

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/random.h"
#include "core/instance.h"
#include "core/owner.h"
#include "owners/embedded/log.h"

enum { FORMAT = 1, STREAMS_CACHED = 200000 };

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS poly_meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS poly_log("
    " position INTEGER PRIMARY KEY AUTOINCREMENT"
    "  CHECK (position > 0 AND position < 4611686018427387904),"
    " txn INTEGER NOT NULL DEFAULT 0,"
    " tenant TEXT NOT NULL DEFAULT '',"
    " domain TEXT NOT NULL,"
    " key TEXT NOT NULL,"
    " version INTEGER,"
    " type TEXT NOT NULL,"
    " time INTEGER NOT NULL,"
    " data,"
    " meta TEXT,"
    " salt BLOB NOT NULL DEFAULT (randomblob(16)));"
    /* The key first: it tells most rows apart, so that a search compares one column. */
    "CREATE UNIQUE INDEX IF NOT EXISTS poly_log_key ON poly_log(key, domain, tenant, version);"
    "CREATE INDEX IF NOT EXISTS poly_log_domain ON poly_log(domain);"
    "CREATE INDEX IF NOT EXISTS poly_log_type ON poly_log(type);"
    "CREATE TRIGGER IF NOT EXISTS poly_log_update BEFORE UPDATE ON poly_log BEGIN"
    " SELECT RAISE(ABORT, 'the log is append-only'); END;"
    "CREATE TRIGGER IF NOT EXISTS poly_log_delete BEFORE DELETE ON poly_log BEGIN"
    " SELECT RAISE(ABORT, 'the log is append-only'); END;"
    "CREATE TABLE IF NOT EXISTS poly_seal("
    " last INTEGER PRIMARY KEY, first INTEGER NOT NULL, leaves BLOB NOT NULL, hash BLOB NOT NULL);"
    "CREATE TABLE IF NOT EXISTS poly_writing("
    " id INTEGER PRIMARY KEY CHECK (id = 1), txn INTEGER NOT NULL, meta TEXT);"
    "CREATE TABLE IF NOT EXISTS poly_history(position INTEGER PRIMARY KEY, data TEXT NOT NULL);"
    "CREATE TABLE IF NOT EXISTS poly_idempotency("
    " tenant TEXT NOT NULL, key TEXT NOT NULL, digest BLOB NOT NULL, result BLOB NOT NULL,"
    " time INTEGER NOT NULL, PRIMARY KEY (tenant, key)) WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS poly_idempotency_time ON poly_idempotency(time);"
    "CREATE TABLE IF NOT EXISTS poly_subscription("
    " tenant TEXT NOT NULL, name TEXT NOT NULL, position INTEGER NOT NULL,"
    " PRIMARY KEY (tenant, name)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS poly_projection("
    " store TEXT PRIMARY KEY, generation INTEGER NOT NULL, previous INTEGER NOT NULL DEFAULT 0,"
    " building INTEGER NOT NULL DEFAULT 0, stopped INTEGER NOT NULL DEFAULT 0,"
    " position INTEGER NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '',"
    " time INTEGER NOT NULL DEFAULT 0, setup BLOB NOT NULL DEFAULT x'');"
    "CREATE TABLE IF NOT EXISTS poly_skip("
    " store TEXT NOT NULL, position INTEGER NOT NULL, reason TEXT NOT NULL, error TEXT NOT NULL,"
    " by TEXT NOT NULL, time INTEGER NOT NULL, PRIMARY KEY (store, position)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS poly_view("
    " name TEXT PRIMARY KEY, definition BLOB, position INTEGER NOT NULL,"
    " refreshes INTEGER NOT NULL, time INTEGER NOT NULL, duration INTEGER NOT NULL) WITHOUT ROWID;"
    /* model.h; and what a change of model is filled with: stores/relational/model.c */
    "CREATE TABLE IF NOT EXISTS poly_model("
    " domain TEXT NOT NULL, name TEXT NOT NULL, change INTEGER NOT NULL, model TEXT NOT NULL,"
    " dimensions INTEGER NOT NULL, since INTEGER NOT NULL, upto INTEGER NOT NULL,"
    " PRIMARY KEY (domain, name, change)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS poly_model_next("
    " domain TEXT NOT NULL, field TEXT NOT NULL, model TEXT NOT NULL, dimensions INTEGER NOT NULL,"
    " back INTEGER NOT NULL, time INTEGER NOT NULL, PRIMARY KEY (domain, field)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS poly_model_vector("
    " domain TEXT NOT NULL, field TEXT NOT NULL, old INTEGER NOT NULL, tenant TEXT NOT NULL,"
    " key TEXT NOT NULL, of INTEGER NOT NULL, vector,"
    " PRIMARY KEY (domain, field, old, tenant, key));"
    /* What an embedder has to do with either: core/filling.h, core/model.h. */
    "CREATE TABLE IF NOT EXISTS poly_model_filling("
    " domain TEXT NOT NULL, name TEXT NOT NULL, field TEXT NOT NULL, embedder TEXT NOT NULL,"
    " model TEXT NOT NULL, dimensions INTEGER NOT NULL, runs INTEGER NOT NULL,"
    " pause INTEGER NOT NULL, PRIMARY KEY (domain, name)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS poly_model_embedder("
    " domain TEXT NOT NULL, name TEXT NOT NULL, change INTEGER NOT NULL, embedder TEXT NOT NULL,"
    " PRIMARY KEY (domain, name, change)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS poly_embedding("
    " domain TEXT NOT NULL, name TEXT NOT NULL, tenant TEXT NOT NULL, key TEXT NOT NULL,"
    " state INTEGER NOT NULL, position INTEGER NOT NULL, hash BLOB NOT NULL,"
    " attempts INTEGER NOT NULL, since INTEGER NOT NULL, error TEXT NOT NULL,"
    " PRIMARY KEY (domain, name, tenant, key)) WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS poly_embedding_open ON poly_embedding(domain, name, state,"
    " attempts, position) WHERE state > 0;"
    "CREATE TABLE IF NOT EXISTS poly_embedding_state("
    " domain TEXT NOT NULL, name TEXT NOT NULL, shape BLOB NOT NULL, position INTEGER NOT NULL,"
    " error TEXT NOT NULL, time INTEGER NOT NULL, model TEXT NOT NULL,"
    " dimensions INTEGER NOT NULL, PRIMARY KEY (domain, name)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS poly_key("
    " id TEXT PRIMARY KEY, hash BLOB NOT NULL, label TEXT NOT NULL, tenant TEXT NOT NULL,"
    " rights INTEGER NOT NULL, created INTEGER NOT NULL, expires INTEGER NOT NULL,"
    " revoked INTEGER NOT NULL) WITHOUT ROWID;";

static const char meta_get[] = "SELECT value FROM poly_meta WHERE name = ?1";
static const char meta_put[] = "INSERT INTO poly_meta(name, value) VALUES (?1, ?2)";
static const char head_get[] = "SELECT seq FROM sqlite_sequence WHERE name = 'poly_log'";
static const char version_get[] = "PRAGMA data_version";
static const char append[] =
    "INSERT INTO poly_log(txn, tenant, domain, key, version, type, time, data, meta, salt)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
static const char stream_version[] =
    "SELECT max(version) FROM poly_log WHERE domain = ?1 AND tenant = ?2 AND key = ?3";

/* --- opening --- */

static enum poly_status meta_bytes(struct poly_db *db, const char *name, void *bytes, size_t size,
                                   struct poly_error *err)
{
    sqlite3_stmt *get = poly_db_prepare(db, meta_get, err);
    sqlite3_stmt *put;
    enum poly_status status;
    bool row;

    if (get == NULL)
        return err->status;
    poly_bind_text(get, 1, poly_text(name));
    status = poly_db_row(db, get, &row, err);
    if (status != POLY_OK)
        return status;
    if (row) {
        const void *value = sqlite3_column_blob(get, 0);
        bool fits = value != NULL && (size_t)sqlite3_column_bytes(get, 0) == size;

        if (fits)
            memcpy(bytes, value, size);
        sqlite3_reset(get);
        return fits ? POLY_OK : poly_fail(err, POLY_CORRUPT, "poly_meta: '%s' is damaged", name);
    }
    put = poly_db_prepare(db, meta_put, err);
    if (put == NULL)
        return err->status;
    poly_bind_text(put, 1, poly_text(name));
    sqlite3_bind_blob(put, 2, bytes, (int)size, SQLITE_STATIC);
    return poly_db_done(db, put, err);
}

static enum poly_status meta_format(struct poly_db *db, struct poly_error *err)
{
    uint8_t format[1] = {FORMAT};
    enum poly_status status = meta_bytes(db, "format", format, sizeof(format), err);

    if (status == POLY_OK && format[0] > FORMAT)
        status = poly_fail(err, POLY_CORRUPT,
                           "the database has format %d, this program knows up to %d: use a newer "
                           "program",
                           format[0], FORMAT);
    return status;
}

static enum poly_status setup(struct poly_owner *owner, struct poly_db *db, struct poly_error *err)
{
    uint8_t epoch[4] = {1, 0, 0, 0};
    enum poly_status status = poly_db_exec(db, "BEGIN IMMEDIATE", err);

    if (status != POLY_OK)
        return status;
    poly_random(owner->id, sizeof(owner->id));
    poly_random(owner->secret, sizeof(owner->secret));
    status = poly_db_exec(db, schema, err);
    if (status == POLY_OK)
        status = meta_format(db, err);
    if (status == POLY_OK)
        status = meta_bytes(db, "instance", owner->id, sizeof(owner->id), err);
    if (status == POLY_OK)
        status = meta_bytes(db, "secret", owner->secret, sizeof(owner->secret), err);
    if (status == POLY_OK)
        status = meta_bytes(db, "epoch", epoch, sizeof(epoch), err);
    owner->epoch = (uint32_t)epoch[0] | (uint32_t)epoch[1] << 8 | (uint32_t)epoch[2] << 16 |
                   (uint32_t)epoch[3] << 24;
    /* A mark that another program left behind would give its name to foreign writes. */
    if (status == POLY_OK)
        status = poly_db_exec(db, "DELETE FROM poly_writing; COMMIT", err);
    if (status != POLY_OK)
        poly_db_roll_back(db);
    return status;
}

enum poly_status poly_log_open(struct poly_sqlite *file, struct poly_owner *owner,
                               struct poly_log **log, struct poly_error *err)
{
    struct poly_log *self = calloc(1, sizeof(*self));
    struct poly_db *db = poly_sqlite_writer(file);
    enum poly_status status;

    if (self == NULL)
        return poly_no_memory(err);
    self->file = file;
    self->owner = owner;
    self->streams = poly_map_new(STREAMS_CACHED);
    if (self->streams == NULL || !poly_chain_init(&self->chain))
        status = poly_no_memory(err);
    else
        status = setup(owner, db, err);
    if (status == POLY_OK)
        status = poly_log_reload(self, db, err);
    if (status != POLY_OK) {
        poly_log_close(self);
        return status;
    }
    atomic_store(&owner->durable, self->head);
    *log = self;
    return POLY_OK;
}

void poly_log_close(struct poly_log *log)
{
    if (log == NULL)
        return;
    poly_map_free(log->streams);
    poly_chain_release(&log->chain);
    free(log);
}

/* --- the writer's view --- */

static enum poly_status get_number(struct poly_db *db, const char *sql, int64_t *number,
                                   struct poly_error *err)
{
    sqlite3_stmt *get = poly_db_prepare(db, sql, err);
    enum poly_status status;
    bool row;

    if (get == NULL)
        return err->status;
    status = poly_db_row(db, get, &row, err);
    if (status != POLY_OK)
        return status;
    *number = row ? sqlite3_column_int64(get, 0) : 0;
    sqlite3_reset(get);
    return POLY_OK;
}

enum poly_status poly_log_refresh(struct poly_log *log, struct poly_db *db, struct poly_error *err)
{
    int64_t head = 0;
    enum poly_status status = get_number(db, head_get, &head, err);

    if (status == POLY_OK)
        log->head = (uint64_t)head;
    return status;
}

void poly_log_rewind(struct poly_log *log, uint64_t head)
{
    log->head = head;
    poly_chain_rewind(&log->chain, head);
}

enum poly_status poly_log_reload(struct poly_log *log, struct poly_db *db, struct poly_error *err)
{
    enum poly_status status;

    log->stale = true;
    poly_map_clear(log->streams);
    status = poly_chain_load(&log->chain, db, err);
    if (status == POLY_OK)
        status = poly_log_refresh(log, db, err);
    if (status == POLY_OK && log->head < log->chain.sealed)
        status = poly_fail(err, POLY_CORRUPT,
                           "the log ends at %llu, but was sealed up to %llu: records are missing",
                           (unsigned long long)log->head, (unsigned long long)log->chain.sealed);
    log->stale = status != POLY_OK;
    return status;
}

enum poly_status poly_log_begin(struct poly_log *log, struct poly_db *db, struct poly_error *err)
{
    int64_t version = 0;
    enum poly_status status = get_number(db, version_get, &version, err);

    if (status == POLY_OK && log->stale)
        status = poly_log_reload(log, db, err);
    if (status != POLY_OK || version == log->data_version)
        return status;
    log->data_version = version;
    poly_map_clear(log->streams);
    return poly_log_refresh(log, db, err);
}

/* --- appending --- */

static void bind_entry(sqlite3_stmt *put, const struct poly_log_entry *entry, int64_t time,
                       const uint8_t *salt)
{
    sqlite3_bind_int64(put, 1, (int64_t)entry->txn);
    poly_bind_text(put, 2, entry->tenant);
    poly_bind_text(put, 3, entry->domain);
    poly_bind_text(put, 4, entry->key);
    if (entry->version > 0)
        sqlite3_bind_int64(put, 5, (int64_t)entry->version);
    poly_bind_text(put, 6, entry->type);
    sqlite3_bind_int64(put, 7, time);
    poly_bind_value(put, 8, entry->data);
    if (entry->meta.size > 0)
        poly_bind_text(put, 9, entry->meta);
    sqlite3_bind_blob(put, 10, salt, POLY_SALT, SQLITE_STATIC);
}

enum poly_status poly_log_append(struct poly_log *log, struct poly_db *db,
                                 const struct poly_log_entry *entry, uint64_t *position,
                                 struct poly_error *err)
{
    sqlite3_stmt *put = poly_db_prepare(db, append, err);
    int64_t now = poly_clock_wall();
    uint8_t salt[POLY_SALT];
    enum poly_status status;

    if (put == NULL)
        return err->status;
    poly_random(salt, sizeof(salt));
    bind_entry(put, entry, now, salt);
    status = poly_db_done(db, put, err);
    sqlite3_clear_bindings(put);
    if (status != POLY_OK)
        return status;
    log->head = (uint64_t)sqlite3_last_insert_rowid(poly_db_handle(db));

    struct poly_record record = {.position = log->head,
                                 .txn = entry->txn,
                                 .version = entry->version > 0 ? entry->version : log->head,
                                 .time = now,
                                 .tenant = entry->tenant,
                                 .domain = entry->domain,
                                 .key = entry->key,
                                 .type = entry->type,
                                 .data = *entry->data,
                                 .meta = entry->meta};

    poly_chain_add(&log->chain, &record, salt, sizeof(salt));
    *position = log->head;
    return POLY_OK;
}

/* --- streams --- */

/* tenant NUL domain NUL key: none of them has a NUL. */
static size_t stream_name(char *name, struct poly_text tenant, struct poly_text domain,
                          struct poly_text key)
{
    size_t size = 0;

    memcpy(name, tenant.data, tenant.size);
    size += tenant.size;
    name[size++] = '\0';
    memcpy(name + size, domain.data, domain.size);
    size += domain.size;
    name[size++] = '\0';
    memcpy(name + size, key.data, key.size);
    return size + key.size;
}

enum { STREAM_NAME = POLY_MAX_NAME + POLY_MAX_KEY + POLY_MAX_KEY + 8 };

enum poly_status poly_log_stream_version(struct poly_log *log, struct poly_db *db,
                                         struct poly_text tenant, struct poly_text domain,
                                         struct poly_text key, uint64_t *version,
                                         struct poly_error *err)
{
    char name[STREAM_NAME];
    size_t size = stream_name(name, tenant, domain, key);
    sqlite3_stmt *get;
    enum poly_status status;
    bool row;

    if (poly_map_get(log->streams, name, size, version))
        return POLY_OK;
    get = poly_db_prepare(db, stream_version, err);
    if (get == NULL)
        return err->status;
    poly_bind_text(get, 1, domain);
    poly_bind_text(get, 2, tenant);
    poly_bind_text(get, 3, key);
    status = poly_db_row(db, get, &row, err);
    if (status != POLY_OK)
        return status;
    *version = row ? (uint64_t)sqlite3_column_int64(get, 0) : 0;
    sqlite3_reset(get);
    sqlite3_clear_bindings(get);
    return POLY_OK;
}

void poly_log_stream_set(struct poly_log *log, struct poly_text tenant, struct poly_text domain,
                         struct poly_text key, uint64_t version)
{
    char name[STREAM_NAME];
    size_t size = stream_name(name, tenant, domain, key);

    /* An entry that cannot be kept must not stay at its old value. */
    if (!poly_map_put(log->streams, name, size, version))
        poly_map_remove(log->streams, name, size);
}

void poly_log_stream_forget(struct poly_log *log, struct poly_text tenant, struct poly_text domain,
                            struct poly_text key)
{
    char name[STREAM_NAME];

    poly_map_remove(log->streams, name, stream_name(name, tenant, domain, key));
}
