/*
 * Models of vectors. The configuration names the model of a vector and its dimensions; a change of
 * model, which is a transaction of the log's owner, overrides that from one position of the log on:
 * the log's vectors before that position are of the model before, those from there on are of the
 * new one. So whoever follows the log knows of each vector what made it.
 *
 * poly_model has the changes of each vector in order, the first row being what the configuration
 * said before the first of them. In memory a vector of the configuration, or of a collection, has a
 * family: the shape that it has now. Shapes live as long as the instance.
 */
#ifndef POLY_CORE_MODEL_H
#define POLY_CORE_MODEL_H

#include <stdatomic.h>

#include "base/sql.h"
#include "core/domain.h"

struct poly_instance;
struct poly_models;

struct poly_vector_family {
    _Atomic(const struct poly_domain_vector *) now; /* NULL: as declared */
    /* What it was before the first change. NULL: there was none. */
    _Atomic(const struct poly_domain_vector *) first;
    uint64_t seen; /* by which look; under its lock */
};

/* Its shape now. Any thread. */
static inline const struct poly_domain_vector *
poly_vector_now(const struct poly_domain_vector *vector)
{
    const struct poly_domain_vector *now =
        vector->family == NULL ? NULL : atomic_load(&vector->family->now);

    return now == NULL ? vector : now;
}

/* A number that changes whenever the model of one of the domain's vectors does. */
uint64_t poly_models_of(const struct poly_domain *domain);

/* At the start. POLY_INVALID: the configuration names a model that a vector has never had. */
enum poly_status poly_models_open(struct poly_instance *instance, struct poly_error *err);
void poly_models_close(struct poly_instance *instance);
/* When the stores are there: how far they have to be. */
void poly_models_reach(struct poly_instance *instance);

/*
 * Looks what has been committed, and makes it what vectors are; searches then wait until what
 * follows the log has taken in what the change wrote. No effect where nothing is new. Any thread.
 */
enum poly_status poly_models_look(struct poly_instance *instance, struct poly_error *err);

/*
 * Where this process has the only writer. In the transaction of a change: until it has ended,
 * co-located stores take nothing in, for only then do they know what a vector is. settle: after
 * the end, before anybody hears of it.
 */
void poly_models_begin(struct poly_instance *instance);
bool poly_models_pending(struct poly_instance *instance);
/* It is not known what vectors are: looks, and says whether it is. */
bool poly_models_known(struct poly_instance *instance);
void poly_models_settle(struct poly_instance *instance);

/* In the transaction of a change: one row more. before: the shape that ends; the first time it is
 * kept, too. Fails where another change came between. */
enum poly_status poly_models_add(struct poly_db *db, const char *domain,
                                 const struct poly_domain_vector *before,
                                 const struct poly_domain_vector *after, struct poly_error *err);

#endif
