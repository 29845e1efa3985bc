/* What a session's SQL may say on PostgreSQL. */
#ifndef POLY_STORES_RELATIONAL_POSTGRESQL_GUARD_H
#define POLY_STORES_RELATIONAL_POSTGRESQL_GUARD_H

#include "polystore/status.h"

enum poly_guard_kind {
    POLY_GUARD_READ,  /* a tenant's, or of a session without the right ADMIN */
    POLY_GUARD_ADMIN, /* reads, without tenant */
    POLY_GUARD_WRITE  /* in a transaction, with the right ADMIN */
};

/* POLY_INVALID, POLY_DENIED. out: the statement with ?1 as $1, in strlen(sql) + 1 bytes;
 * parameters: how many it has. */
enum poly_status poly_guard_postgresql(const char *sql, enum poly_guard_kind kind, char *out,
                                       int *parameters, struct poly_error *err);

#endif
