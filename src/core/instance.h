/* The inside of an instance, for stores. */
#ifndef POLY_CORE_INSTANCE_H
#define POLY_CORE_INSTANCE_H

#include "base/sqlite.h"
#include "core/domain.h"
#include "core/driver.h"
#include "polystore/instance.h"
#include "polystore/value.h"

struct poly_projection;

const struct poly_config *poly_instance_config(const struct poly_instance *instance);
struct poly_sqlite *poly_instance_file(struct poly_instance *instance); /* the log's database */
const struct poly_domain *poly_instance_domain(const struct poly_instance *instance,
                                               const char *name, struct poly_error *err);

/* What a store keeps for the life of the instance (the relational store: its schema). Set once,
 * by the store's start() in stores/stores.c. */
void *poly_instance_relational(struct poly_instance *instance);

/* The projection of a store ("search"); NULL: nothing is configured for it. */
struct poly_projection *poly_instance_projection(struct poly_instance *instance,
                                                 const char *store);

/*
 * Runs fn on the writer, in a transaction (a savepoint of the group commit),
 * and returns when that is on disk. What fn did is undone when it fails.
 */
enum poly_status poly_instance_write(struct poly_instance *instance,
                                     enum poly_status (*fn)(struct poly_db *db, void *arg,
                                                            struct poly_error *err),
                                     void *arg, struct poly_error *err);

#endif
