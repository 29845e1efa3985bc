/* PostgreSQL behind base/sql.h. */
#ifndef POLY_BASE_POSTGRES_SQL_H
#define POLY_BASE_POSTGRES_SQL_H

#include "base/postgres.h"
#include "base/sql.h"

/* Texts of base/sql.h as PostgreSQL reads them; shared by the threads of an owner, so that a text
 * has one address on all connections. */
struct poly_pg_texts;
struct poly_pg_texts *poly_pg_texts_new(void); /* NULL: out of memory */
void poly_pg_texts_free(struct poly_pg_texts *texts);

/*
 * ?1 becomes $1, poly_log becomes poly.log; texts in quotes stay. Translated once for each
 * address. NULL: out of memory.
 */
const char *poly_pg_text_of(struct poly_pg_texts *texts, const char *sql);

struct poly_pg_pool;

/* A connection of base/sql.h on pg, which stays the caller's; pool (may be NULL) is remembered for
 * giving it back. NULL: out of memory. */
struct poly_db *poly_pg_db_new(struct poly_pg *pg, struct poly_pg_texts *texts,
                               struct poly_pg_pool *pool);
struct poly_pg_pool *poly_pg_db_pool(const struct poly_db *db);
void poly_pg_db_free(struct poly_db *db); /* NULL is accepted */
struct poly_pg *poly_pg_of(const struct poly_db *db);

/* The result and row that a statement stands on, for what base/sql.h does not read. */
const PGresult *poly_pg_stmt_result(const struct poly_stmt *stmt, int *row);

#endif
