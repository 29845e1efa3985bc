/* What a collection is defined by. */
#ifndef POLY_STORES_RELATIONAL_COLLECTION_H
#define POLY_STORES_RELATIONAL_COLLECTION_H

#include "base/arena.h"
#include "core/domain.h"
#include "polystore/vector.h"

/* What poly_collection has of it: the text of a configuration with that one domain, the same for
 * whatever means the same; in the arena. *config: with that domain; free it. POLY_INVALID names
 * what is wrong. */
struct poly_config;
enum poly_status poly_collection_define(const struct poly_vector_collection *given,
                                        struct poly_arena *arena, const char **definition,
                                        struct poly_config **config, struct poly_error *err);
/* The definition of the domain as it is after changes of its models. */
enum poly_status poly_collection_redefine(const struct poly_domain *domain,
                                          struct poly_arena *arena, const char **definition,
                                          struct poly_error *err);
/* All of a collection's options, as its domain has them now. */
enum poly_status poly_collection_describe(const struct poly_domain *domain,
                                          struct poly_arena *arena,
                                          struct poly_vector_collection *options,
                                          struct poly_error *err);

#endif
