/* The inside of an instance, for stores. */
#ifndef POLY_CORE_INSTANCE_H
#define POLY_CORE_INSTANCE_H

#include "base/sql.h"
#include "core/domain.h"
#include "core/driver.h"
#include "core/signal.h"
#include "polystore/instance.h"
#include "polystore/value.h"

struct poly_projection;

const struct poly_config *poly_instance_config(const struct poly_instance *instance);
const struct poly_domain *poly_instance_domain(const struct poly_instance *instance,
                                               const char *name, struct poly_error *err);

/* The end of the log as far as it is complete and on disk. */
struct poly_signal *poly_instance_head(struct poly_instance *instance);

/* What the relational store keeps for the life of the instance (struct poly_relational). Set once
 * by poly_stores_start(); NULL before. */
struct poly_relational;
struct poly_relational *poly_instance_relational(struct poly_instance *instance);
void poly_instance_set_relational(struct poly_instance *instance,
                                  struct poly_relational *relational);

/* The same for vectors that are made of texts; NULL: there are none. */
struct poly_embeddings;
struct poly_embeddings *poly_instance_embeddings(struct poly_instance *instance);
void poly_instance_set_embeddings(struct poly_instance *instance,
                                  struct poly_embeddings *embeddings);

/* The projection of a store ("search"); NULL: nothing is configured for it. */
struct poly_projection *poly_instance_projection(struct poly_instance *instance, const char *store);

/* Opens the projection of a store that no domain has used so far. No effect when it is open, and at
 * the start, which opens what is used. */
enum poly_status poly_instance_use(struct poly_instance *instance, const char *store,
                                   struct poly_error *err);
/* … and may a domain be made while running, as far as that store goes? */
enum poly_status poly_instance_accepts(struct poly_instance *instance, const char *store,
                                       const struct poly_domain *domain, struct poly_error *err);

/*
 * Runs fn on the writer, in a transaction (a savepoint of the group commit),
 * and returns when that is on disk. What fn did is undone when it fails.
 */
enum poly_status poly_instance_write(struct poly_instance *instance,
                                     enum poly_status (*fn)(struct poly_db *db, void *arg,
                                                            struct poly_error *err),
                                     void *arg, struct poly_error *err);
/* The same without a transaction: what fn has run is there whatever comes after it. Run again from
 * its beginning it must have the effect of once. */
enum poly_status poly_instance_write_alone(struct poly_instance *instance,
                                           enum poly_status (*fn)(struct poly_db *db, void *arg,
                                                                  struct poly_error *err),
                                           void *arg, struct poly_error *err);

/* --- what the stores define and the core calls (stores/stores.c) --- */

/*
 * Called once, by poly_open, when the log's tables are there and the writer
 * runs (poly_instance_write works), before the projections start: reads the
 * schema, makes or repairs the triggers of the domains' tables. A table that is
 * missing or does not fit is no failure: see poly_stores_problem().
 */
enum poly_status poly_stores_start(struct poly_instance *instance, struct poly_error *err);
/* Called once, when everything else runs: begins what the stores do by themselves. */
enum poly_status poly_stores_run(struct poly_instance *instance, struct poly_error *err);
/* Ends what the stores do by themselves; the owner still answers. Also after a failed start. */
void poly_stores_halt(struct poly_instance *instance);
/* The opposite, by poly_close, after the last operation has run. Also after a failed start. */
void poly_stores_stop(struct poly_instance *instance);
/* What is wrong with a domain's table, for the status; empty: nothing. Copied into the arena. */
struct poly_arena;
enum poly_status poly_stores_problem(struct poly_instance *instance,
                                     const struct poly_domain *domain, struct poly_arena *arena,
                                     struct poly_text *problem, struct poly_error *err);
/* Were all domains known here that the database has, as db sees it? They are after it.
 * POLY_UNAVAILABLE: some are not yet. */
enum poly_status poly_stores_known(struct poly_instance *instance, struct poly_db *db, bool *known,
                                   struct poly_error *err);
/* The materialised views, for the status; db: a connection with a snapshot, or NULL: the server
 * does not answer. */
struct poly_view_status;
enum poly_status poly_stores_views(struct poly_instance *instance, struct poly_db *db,
                                   struct poly_arena *arena, const struct poly_view_status **views,
                                   size_t *count, struct poly_error *err);
/* The vectors that embedders make, likewise. */
struct poly_embedding_status;
enum poly_status poly_stores_embeddings(struct poly_instance *instance, struct poly_db *db,
                                        struct poly_arena *arena,
                                        const struct poly_embedding_status **embeddings,
                                        size_t *count, struct poly_error *err);
/*
 * The row image (JSON object) of a change record whose data in the log is the
 * integer 1: it is kept once, in poly_history or in the row itself. record
 * needs position, tenant, domain and key. db: the connection and snapshot on
 * which the record was read. POLY_NOT_FOUND: it is not kept any more.
 */
enum poly_status poly_stores_large(struct poly_instance *instance, struct poly_db *db,
                                   const struct poly_record *record, struct poly_arena *arena,
                                   struct poly_text *json, struct poly_error *err);

#endif
