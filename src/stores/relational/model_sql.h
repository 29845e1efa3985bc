/* SQL of a change of model: the vectors of a column are exchanged for those that are kept beside
 * it, in poly_model_vector. See model.c. */
#ifndef POLY_STORES_RELATIONAL_MODEL_SQL_H
#define POLY_STORES_RELATIONAL_MODEL_SQL_H

#include "stores/relational/driver.h"

/* ?1 the domain, ?2 the column. Texts live as long as the instance. */
struct poly_model_sql {
    struct poly_model_sql *next;
    struct poly_arena *arena; /* has this, too */
    const struct poly_table *table;
    size_t column;
    const char *lock;  /* keeps others from writing to the table; NULL: there are none */
    const char *wrong; /* count, and how many of them have one of another version */
    const char *which; /* their keys, ?3 at most */
    /* Of one that an embedder makes: records without a new vector, and how many of them it refused,
     * by ?3, the name of its queue; and their keys: ?4 1 refused, 0 not, ?5 at most. */
    const char *lacking, *lack;
    const char *stash; /* what the column has, beside it: old = 1 */
    const char *same;  /* what would not change, null: else the log would not have it */
    const char *take;  /* the column gets what is kept; null, where that is nothing */
};

/* Made once for each column. */
enum poly_status poly_model_sql(struct poly_relational *relational, const struct poly_table *table,
                                size_t column, const struct poly_model_sql **sql,
                                struct poly_error *err);
void poly_model_sql_free(struct poly_relational *relational);

#endif
