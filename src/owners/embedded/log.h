/*
 * The log in SQLite: its tables, appending, reading.
 *
 * Everything that writes runs on the writer's connection, inside the group's
 * transaction (writer.h), one thread at a time. Readers use connections
 * of their own.
 *
 *   poly_log       one record a row; position is the rowid
 *   poly_seal      the hash chain: one row for each run of records
 *   poly_writing   whose transaction is running, for the triggers on domain tables
 *   poly_history   row images that the log still needs and the row no longer holds
 *   poly_meta      instance, epoch, secret, format
 */
#ifndef POLY_OWNERS_EMBEDDED_LOG_H
#define POLY_OWNERS_EMBEDDED_LOG_H

#include "base/map.h"
#include "base/sqlite.h"
#include "core/chain.h"
#include "core/log.h"

struct poly_owner;

struct poly_log {
    struct poly_sqlite *file;
    struct poly_owner *owner; /* whose log it is */

    /* Of the writer: */
    uint64_t head; /* last position, in the open transaction */
    struct poly_chain chain;
    bool stale;               /* a reload failed: the next group begins with one */
    int64_t data_version;     /* of our last look: another means a foreign commit */
    struct poly_map *streams; /* tenant, stream → version; a cache */
};

/* Makes or upgrades the tables. POLY_CORRUPT: a newer format, both named. */
enum poly_status poly_log_open(struct poly_sqlite *file, struct poly_owner *owner,
                               struct poly_log **log, struct poly_error *err);
void poly_log_close(struct poly_log *log);

/* --- on the writer --- */

/* At the start of a group: notices what others have committed. */
enum poly_status poly_log_begin(struct poly_log *log, struct poly_db *db, struct poly_error *err);

/* Adds one record; position, salt and leaf are made here. version 0: NULL, the position. */
struct poly_log_entry {
    uint64_t txn, version;
    struct poly_text tenant, domain, key, type, meta;
    const struct poly_value *data; /* JSON, BYTES or NULL */
};
enum poly_status poly_log_append(struct poly_log *log, struct poly_db *db,
                                 const struct poly_log_entry *entry, uint64_t *position,
                                 struct poly_error *err);

/* After statements that ran triggers: head is what the database says. */
enum poly_status poly_log_refresh(struct poly_log *log, struct poly_db *db, struct poly_error *err);
/* After a savepoint was rolled back: head as it was before. */
void poly_log_rewind(struct poly_log *log, uint64_t head);
/* After the whole transaction was rolled back: everything as on disk. */
enum poly_status poly_log_reload(struct poly_log *log, struct poly_db *db, struct poly_error *err);

/* Version of a stream, from memory or the log. 0: there is none. */
enum poly_status poly_log_stream_version(struct poly_log *log, struct poly_db *db,
                                         struct poly_text tenant, struct poly_text domain,
                                         struct poly_text key, uint64_t *version,
                                         struct poly_error *err);
void poly_log_stream_set(struct poly_log *log, struct poly_text tenant, struct poly_text domain,
                         struct poly_text key, uint64_t version);
void poly_log_stream_forget(struct poly_log *log, struct poly_text tenant, struct poly_text domain,
                            struct poly_text key);

/* --- on any connection --- */

/* poly_log_scan() in SQLite. */
enum poly_status poly_log_scan_embedded(struct poly_db *db, struct poly_scan *scan,
                                        struct poly_error *err);

/* A row of SELECT POLY_LOG_COLUMNS … into a record of views. *large: data is kept elsewhere. */
#define POLY_LOG_COLUMNS "position, txn, tenant, domain, key, version, type, time, data, meta"
void poly_log_row(sqlite3_stmt *statement, struct poly_record *record, bool *large);
/* The same, on a database that base/sql.h has open. */
void poly_log_record(struct poly_stmt *stmt, struct poly_record *record, bool *large);

#endif
