/*
 * SQLite, as every embedded store uses it: connections with our pragmas, a
 * cache of prepared statements, errors in our words, and one file with its
 * writer and a pool of snapshot readers.
 */
#ifndef POLY_BASE_SQLITE_H
#define POLY_BASE_SQLITE_H

#include <sqlite3.h>
#include <stdbool.h>

#include "base/arena.h"
#include "base/sql.h"
#include "base/status.h"

/* --- one connection: one thread at a time --- */

enum poly_db_mode {
    POLY_DB_WRITE,   /* WAL, synchronous FULL: a commit is on disk */
    POLY_DB_DERIVED, /* WAL, synchronous NORMAL: for what can be built again from the log */
    POLY_DB_READ,    /* query_only */
};

enum poly_status poly_db_open(const char *path, enum poly_db_mode mode, struct poly_db **db,
                              struct poly_error *err);
void poly_db_close(struct poly_db *db); /* NULL is accepted */
sqlite3 *poly_db_handle(struct poly_db *db);

/*
 * A prepared statement, cached under the POINTER sql: the text must stay as it
 * is as long as the connection lives (literals, texts that a driver built at
 * open). Reset and unbound, ready for use. NULL with err filled.
 */
sqlite3_stmt *poly_db_prepare(struct poly_db *db, const char *sql, struct poly_error *err);

/* Steps a statement that gives no rows, and resets it. */
enum poly_status poly_db_done(struct poly_db *db, sqlite3_stmt *statement, struct poly_error *err);

/* Steps: *row says whether there is one. At the end, or on failure, it is reset. */
enum poly_status poly_db_row(struct poly_db *db, sqlite3_stmt *statement, bool *row,
                             struct poly_error *err);

/* "what: SQLite's words", with the status that the extended result code means. */
enum poly_status poly_db_fail(struct poly_db *db, int code, const char *what,
                              struct poly_error *err);
/* Full disk, busy, out of memory, read-only: worth another try, unchanged. */
bool poly_db_temporary(int code);
/* A step failed for a reason that makes the file untrustworthy (I/O error, corruption). */
bool poly_db_broken(int code);

/* Binds and columns. Texts that are bound must live until the statement is reset. */
void poly_bind_text(sqlite3_stmt *statement, int index, struct poly_text text);
void poly_bind_value(sqlite3_stmt *statement, int index, const struct poly_value *value);
struct poly_text poly_column_text(sqlite3_stmt *statement, int column); /* until the next step */
/* By the value's own storage class: INT, FLOAT, TEXT, BYTES, NULL; a view until the next step. */
struct poly_value poly_column_value(sqlite3_stmt *statement, int column);

/* --- one file: its writer and its readers --- */

struct poly_sqlite;

/* What is set on each new connection (functions, tokenizers); may be NULL. */
typedef enum poly_status poly_sqlite_setup(struct poly_db *db, void *arg, struct poly_error *err);

enum poly_status poly_sqlite_open(const char *path, enum poly_db_mode writer,
                                  poly_sqlite_setup *setup, void *arg, struct poly_sqlite **file,
                                  struct poly_error *err);
void poly_sqlite_close(struct poly_sqlite *file); /* NULL is accepted; no reader may be out */
const char *poly_sqlite_path(const struct poly_sqlite *file);
struct poly_db *poly_sqlite_writer(struct poly_sqlite *file);

/* A reader, for this caller alone, until it is given back. Thread-safe. */
struct poly_db *poly_sqlite_take(struct poly_sqlite *file, struct poly_error *err);
/*
 * One with a snapshot, or, where it is not needed, one for a single statement. A reader keeps its
 * snapshot when it is given back, and hands it out again as long as nobody has committed anything:
 * a read then neither locks nor unlocks the file.
 */
struct poly_db *poly_sqlite_snapshot(struct poly_sqlite *file, bool needed, struct poly_error *err);
/* True: it waits with its snapshot, for poly_sqlite_settle() to end that after a while. */
bool poly_sqlite_give(struct poly_sqlite *file, struct poly_db *reader);
/* Ends the snapshots that waiting readers have kept, which hold up checkpoints; those that are
 * being read end with their read. Thread-safe. */
void poly_sqlite_settle(struct poly_sqlite *file);
/* Closes the readers that wait for use. Thread-safe. */
void poly_sqlite_trim(struct poly_sqlite *file);

#endif
