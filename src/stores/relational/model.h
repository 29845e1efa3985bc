/* A change of model, on the inside: what its files share. */
#ifndef POLY_STORES_RELATIONAL_MODEL_H
#define POLY_STORES_RELATIONAL_MODEL_H

#include "core/filling.h"
#include "polystore/vector.h"
#include "stores/relational/model_sql.h"

/* What all of it is about: a column, and the domain's vectors that are made of it. */
struct poly_model_change {
    struct poly_session *session;
    struct poly_instance *instance;
    struct poly_arena *arena;
    const struct poly_domain *domain;
    const struct poly_domain_vector *declared, *now;
    const struct poly_table *table;
    size_t column;
    struct poly_error *err;
    /* of the next */
    bool any, back;
    const char *model;
    uint32_t dimensions;
    bool embedded; /* an embedder has to do with it: */
    struct poly_filling filling;
};

/* name: as in a search. POLY_DENIED without ADMIN. */
enum poly_status poly_model_find(struct poly_model_change *change, struct poly_session *session,
                                 const char *domain, const char *name, struct poly_error *err);

/* Its column of the table, once domain and declared are known. */
enum poly_status poly_model_find_table(struct poly_model_change *change);

/* A statement whose ?1 and ?2 are domain and column. */
enum poly_status poly_model_open(const struct poly_model_change *change, struct poly_db *db,
                                 const char *sql, struct poly_stmt *stmt);
/* Runs it to its end; changes NULL: nobody asks. */
enum poly_status poly_model_run(const struct poly_model_change *change, struct poly_db *db,
                                const char *sql, uint64_t *changes);
/* The numbers of its first row; two NULL: there is one column. */
enum poly_status poly_model_read(const struct poly_model_change *change, struct poly_db *db,
                                 const char *sql, uint64_t *one, uint64_t *two);

/* Of a next that an embedder makes: records without its vector, and which of them it refused. */
enum poly_status poly_model_lacking(const struct poly_model_change *change, struct poly_db *db,
                                    const struct poly_model_sql *sql, uint64_t *lacking,
                                    uint64_t *refused);

/* Fills what is said of the next; and so that nobody else changes it before the transaction ends,
 * whose errors err gets. */
enum poly_status poly_model_next(struct poly_model_change *change, struct poly_db *db);
enum poly_status poly_model_hold_next(struct poly_model_change *change, struct poly_db *db,
                                      struct poly_error *err);
enum poly_status poly_model_put_next(const struct poly_model_change *change, struct poly_db *db,
                                     const char *model, uint32_t dimensions, bool back);

#endif
