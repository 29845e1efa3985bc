/*
 * Short reads of many callers on few connections: what is asked while a
 * connection is busy goes out together as one pipeline, so that under load a
 * read costs a fraction of a round trip. Alone, a caller waits for nobody.
 */
#ifndef POLY_BASE_POSTGRES_SHARE_H
#define POLY_BASE_POSTGRES_SHARE_H

#include "base/postgres_pool.h"

struct poly_pg_share;

/* On the connections of that pool; at most lanes at a time (0: 2). */
enum poly_status poly_pg_share_new(struct poly_pg_pool *pool, int lanes,
                                   struct poly_pg_share **share, struct poly_error *err);
void poly_pg_share_free(struct poly_pg_share *share); /* NULL is accepted; nobody may be inside */

/*
 * As poly_pg_run, on some connection outside of a transaction, for a statement that only reads
 * and is short: it holds up those that share its pipeline. Several pipelined reads may see the
 * same snapshot or different ones. The deadline is monotonic, microseconds; -1: none.
 * Thread-safe. The statement's text must live as long as the pool.
 */
enum poly_status poly_pg_share_run(struct poly_pg_share *share, const char *sql,
                                   const struct poly_pg_params *params, int64_t deadline,
                                   PGresult **result, struct poly_error *err);

#endif
