/* The PostgreSQL owner, for the stores' drivers that live in its database. */
#ifndef POLY_OWNERS_POSTGRESQL_POSTGRESQL_H
#define POLY_OWNERS_POSTGRESQL_POSTGRESQL_H

#include "base/postgres_sql.h"
#include "core/owner.h"

struct poly_postgresql;

/*
 * SQL: the table that the configuration calls so. It is taken as it is spelled, without or with its
 * schema; else as SQL would read it.
 */
#define POLY_POSTGRESQL_NAMED(name)                                                                \
    "coalesce(to_regclass(quote_ident(" name ")),"                                                 \
    " CASE WHEN " name " ~ '^[A-Za-z_][A-Za-z0-9_$]*(\\.[A-Za-z_][A-Za-z0-9_$]*)?$' THEN"          \
    " coalesce(to_regclass(quote_ident(split_part(" name ", '.', 1)) || '.' ||"                    \
    "  quote_ident(split_part(" name ", '.', 2))), to_regclass(" name ")) END)"

/* Rows of these columns of poly.log, as records of views into the result. */
#define POLY_POSTGRESQL_COLUMNS                                                                    \
    "position, txn, tenant, domain, key, version, type, time, data, meta, salt, bytes"
void poly_postgresql_row(const PGresult *rows, int row, struct poly_record *record);

extern const struct poly_owner_driver poly_owner_postgresql;

/* Control: tests switch the mechanism off to see that they would notice. false: readers go up to
 * the highest position drawn, whoever is still writing. */
extern _Atomic bool poly_control_horizon;

/* Without an instance: makes or upgrades our tables; and takes a schema of ours out, in the open
 * transaction: POLY_CONFLICT when something that is not ours stands on it. */
enum poly_status poly_postgresql_make(struct poly_pg *pg, struct poly_error *err);
enum poly_status poly_postgresql_unmake(struct poly_pg *pg, void *schema, struct poly_error *err);

/* fn is called when another daemon may have changed a table, on the thread that hears of it: it
 * must not wait. NULL: no more, from the return on. */
void poly_postgresql_on_tables(struct poly_postgresql *self, void (*fn)(void *arg), void *arg);
/* In a transaction: tells all of that when it commits. */
extern const char poly_postgresql_tell_tables[];

/* NULL: another database is the owner. */
struct poly_postgresql *poly_instance_postgresql(struct poly_instance *instance);

/* Microseconds that a statement without a deadline waits for its answer. */
extern _Atomic int64_t poly_control_patience;

#endif
