/* SQL of a session: what sql.c has checked, and the drivers run. */
#ifndef POLY_STORES_RELATIONAL_SQL_H
#define POLY_STORES_RELATIONAL_SQL_H

#include "stores/relational/driver.h"

struct poly_sql_rows {
    struct poly_field *fields;
    enum poly_type *types;
    int count;
    poly_row_fn *visit;
    void *arg;
    int64_t visited;
};

/* Outside of transactions. */
struct poly_sql_reading {
    struct poly_session *session;
    const char *sql;
    const struct poly_value *values;
    size_t value_count;
    struct poly_sql_rows rows;
};

/* In a transaction; a session without a tenant. */
struct poly_sql_operation {
    struct poly_operation base;
    const char *sql;
    struct poly_value *values;
    size_t value_count;
    bool admin;
    uint32_t deadline_ms;
    int64_t deadline;
    struct poly_sql_rows rows;
};

#endif
