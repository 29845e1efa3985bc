/*
 * SQL on the database that owns the log, whichever it is: one text and one set
 * of calls for SQLite (base/sqlite.h) and PostgreSQL (base/postgres.h). What is
 * small and the same on both is written once with this; hot paths and dialects
 * use the engine's own header.
 *
 * Texts are written with ?1, ?2 … and name our tables poly_NAME. PostgreSQL
 * gets them as $1, $2 … and poly.NAME.
 */
#ifndef POLY_BASE_SQL_H
#define POLY_BASE_SQL_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/status.h"
#include "polystore/value.h"

enum poly_engine { POLY_SQLITE, POLY_POSTGRESQL };

/* A connection, for one thread at a time. An engine embeds it in its own struct, first. */
struct poly_db {
    const struct poly_sql_engine *engine;
};

/* One run of a prepared statement. On the stack of whoever asks. */
struct poly_stmt {
    struct poly_db *db;
    void *statement; /* the engine's; NULL: closed */
};

struct poly_sql_engine {
    enum poly_engine kind;
    enum poly_status (*exec)(struct poly_db *db, const char *sql, struct poly_error *err);
    void (*roll_back)(struct poly_db *db);
    bool (*in_transaction)(const struct poly_db *db);
    void (*interrupt)(struct poly_db *db);
    enum poly_status (*open)(struct poly_stmt *stmt, const char *sql, struct poly_error *err);
    void (*bind)(struct poly_stmt *stmt, int index, const struct poly_value *value);
    enum poly_status (*row)(struct poly_stmt *stmt, bool *row, struct poly_error *err);
    int64_t (*changes)(struct poly_stmt *stmt);
    struct poly_value (*column)(struct poly_stmt *stmt, int column);
    void (*close)(struct poly_stmt *stmt);
};

static inline enum poly_engine poly_db_engine(const struct poly_db *db)
{
    return db->engine->kind;
}

/* Runs one or several statements without parameters or results, as they stand. */
enum poly_status poly_db_exec(struct poly_db *db, const char *sql, struct poly_error *err);
/* Rolls the transaction back, if there is one. Without any memory it may stay; then try again. */
void poly_db_roll_back(struct poly_db *db);
/*
 * Undoes what was done since a savepoint: sql is "ROLLBACK TO name; RELEASE name". When there is no
 * memory even for that, the whole transaction is rolled back, or is lost until it can be: never
 * may half of it be committed. True: the transaction is still there.
 */
bool poly_db_back_to(struct poly_db *db, const char *sql);
/* Is there a transaction, and may it be committed? */
bool poly_db_in_transaction(const struct poly_db *db);
/* From another thread: the statement that runs fails with POLY_TIMEOUT. */
void poly_db_interrupt(struct poly_db *db);

/*
 * Prepared once and cached under the POINTER sql: the text must stay as it is
 * as long as the connection lives. On failure there is nothing to close.
 */
enum poly_status poly_stmt_open(struct poly_stmt *stmt, struct poly_db *db, const char *sql,
                                struct poly_error *err);
/* Parameters, from 1; those that are not given are null. What they point to lives until close. */
void poly_stmt_int(struct poly_stmt *stmt, int index, int64_t value);
void poly_stmt_text(struct poly_stmt *stmt, int index, struct poly_text text);
void poly_stmt_bytes(struct poly_stmt *stmt, int index, const void *bytes, size_t size);
void poly_stmt_value(struct poly_stmt *stmt, int index, const struct poly_value *value);

/* *row says whether there is one. At the end, or on failure, it is closed. */
enum poly_status poly_stmt_row(struct poly_stmt *stmt, bool *row, struct poly_error *err);
/* Runs it to its end; closed whatever happens. */
enum poly_status poly_stmt_done(struct poly_stmt *stmt, struct poly_error *err);
/* The same; *changes: rows that were inserted, updated or deleted. */
enum poly_status poly_stmt_changes(struct poly_stmt *stmt, int64_t *changes,
                                   struct poly_error *err);
/* Columns, from 0, of the row; views until the next row. Null: 0, an empty text, no bytes. */
int64_t poly_stmt_get_int(struct poly_stmt *stmt, int column);
struct poly_text poly_stmt_get_text(struct poly_stmt *stmt, int column);
const void *poly_stmt_get_bytes(struct poly_stmt *stmt, int column, size_t *size);
struct poly_value poly_stmt_get(struct poly_stmt *stmt, int column);
/* No effect when closed. */
void poly_stmt_close(struct poly_stmt *stmt);

/* One statement without parameters, prepared. */
enum poly_status poly_db_run(struct poly_db *db, const char *sql, struct poly_error *err);
/* One number; 0 when there is no row. */
enum poly_status poly_db_number(struct poly_db *db, const char *sql, int64_t *number,
                                struct poly_error *err);

#endif
