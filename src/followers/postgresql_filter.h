/* Filters as SQL over a jsonb column "d.filters" that has the values which a record held. */
#ifndef POLY_FOLLOWERS_POSTGRESQL_FILTER_H
#define POLY_FOLLOWERS_POSTGRESQL_FILTER_H

#include "base/buffer.h"
#include "base/postgres.h"
#include "polystore/relational.h"

/* A record's values to filter by, as one JSON array: each as it stands, then each text that is a
 * JSON object or array of its own, or null. */
void poly_follower_print_values(struct poly_buffer *out, const struct poly_value *values,
                                size_t count);

/* POLY_INVALID: it cannot mean anything: no column, values, path. */
enum poly_status poly_follower_filter_check(const char *store, const struct poly_filter *filter,
                                            struct poly_error *err);

struct poly_follower_filtering {
    const char *const *names; /* of the values, in their order */
    size_t name_count;
    const char *const *operands; /* SQL, as jsonb, of each name; NULL: they are in d.filters */
    bool time_as_number; /* how the records have times */
    struct poly_arena *arena;
    struct poly_pg_params *params;
};

/* Adds the condition, and its parameters (two of each comparison at the most). A column that is
 * none of the names is null. */
enum poly_status poly_follower_where_print(const struct poly_follower_filtering *filtering,
                                           const struct poly_where *where, struct poly_buffer *out,
                                           struct poly_error *err);

#endif
