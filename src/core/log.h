/*
 * The log in SQLite: its tables, appending, reading, sealing.
 *
 * Everything that writes runs on the writer's connection, inside the group's
 * transaction (core/writer.h), one thread at a time. Readers use connections
 * of their own.
 *
 *   poly_log       one record a row; position is the rowid
 *   poly_seal      the hash chain: one row for each run of records
 *   poly_writing   whose transaction is running, for the triggers on domain tables
 *   poly_history   row images that the log still needs and the row no longer holds
 *   poly_meta      instance, epoch, secret, format
 */
#ifndef POLY_CORE_LOG_H
#define POLY_CORE_LOG_H

#include <stdatomic.h>

#include "base/map.h"
#include "base/sqlite.h"
#include "core/chain.h"
#include "polystore/log.h"

struct poly_log {
    struct poly_sqlite *file;
    struct poly_owner *owner; /* whose log it is */

    /* Of the writer: */
    uint64_t head;            /* last position, in the open transaction */
    struct poly_chain chain;
    bool stale;               /* a reload failed: the next group begins with one */
    int64_t data_version;     /* of our last look: another means a foreign commit */
    struct poly_map *streams; /* tenant, stream → version; a cache */
};

struct poly_owner;

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

struct poly_scan {
    struct poly_instance *instance;
    const struct poly_log_query *query; /* checked */
    bool all_tenants;
    struct poly_text tenant; /* else: this one's records, and those of no tenant */
    uint64_t upto;           /* no record beyond; 0: no bound */
    uint32_t limit;
    struct poly_arena *arena; /* for large images; rewound after each record */
    poly_record_fn *wants;    /* asked before a large image is fetched; NULL: all are wanted */
    poly_record_fn *visit;
    void *arg;
    uint64_t last;   /* out: last position looked at; untouched when there was none */
    bool more;       /* out: stopped at the limit */
    bool stopped;    /* out: the visitor wanted no further one */
    uint64_t failed; /* out: position of the record whose data cannot be had; 0: none */
};
/* The owner's scan. In the order of the query. POLY_NOT_FOUND and others with failed: that record's
 * data is not kept any more; what came before it was visited. */
enum poly_status poly_log_scan(struct poly_db *db, struct poly_scan *scan, struct poly_error *err);
/* In SQLite. */
enum poly_status poly_log_scan_embedded(struct poly_db *db, struct poly_scan *scan,
                                        struct poly_error *err);

/* A row of SELECT POLY_LOG_COLUMNS … into a record of views. *large: data is kept elsewhere. */
#define POLY_LOG_COLUMNS "position, txn, tenant, domain, key, version, type, time, data, meta"
void poly_log_row(sqlite3_stmt *statement, struct poly_record *record, bool *large);
/* The same, on a database that base/sql.h has open. */
void poly_log_record(struct poly_stmt *stmt, struct poly_record *record, bool *large);

/* With all that it points to, into the arena. false: out of memory. */
bool poly_record_copy(struct poly_arena *arena, const struct poly_record *from,
                      struct poly_record *to);

/* Leaf of one record, and the chain's next hash: the canonical form stands in seal.c. */
void poly_seal_leaf(const struct poly_record *record, const uint8_t *salt, size_t salt_size,
                    uint8_t leaf[POLY_LEAF]);
void poly_seal_next(uint8_t hash[POLY_HASH], uint64_t first, uint64_t last, const uint8_t *leaves,
                    size_t size);
/* Could reading succeed another time, unchanged? Else what was to be read is not there. */
bool poly_log_temporary(enum poly_status status);

#endif
