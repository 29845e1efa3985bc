/*
 * What the server says of itself, for the status. Asked on the pool like any
 * read; a server that does not answer soon leaves the numbers of the pool,
 * which are ours.
 */
#include "base/clock.h"
#include "owners/postgresql/inside.h"

enum { ANSWER_US = 2000000 };

/* The columns of other roles' connections and replicas are null without pg_monitor. An empty
 * database has read nothing, and missed nothing. */
static const char numbers[] =
    "SELECT (SELECT count(*) FROM pg_stat_activity WHERE datid IS NOT NULL),"
    " current_setting('max_connections')::bigint,"
    " (SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND datid IS NOT NULL),"
    " (SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND datid IS NOT NULL"
    "  AND clock_timestamp() - query_start > interval '1 second'),"
    " coalesce((SELECT blks_hit::float8 / nullif(blks_hit + blks_read, 0) FROM pg_stat_database"
    "  WHERE datname = current_database()), 1),"
    " pg_database_size(current_database()), pg_total_relation_size('poly.log'),"
    " (SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class"
    "  WHERE relkind IN ('r', 'm') AND relnamespace NOT IN (SELECT oid FROM pg_namespace"
    "   WHERE nspname IN ('poly', 'pg_catalog', 'information_schema', 'pg_toast'))),"
    " (SELECT count(*) FROM pg_stat_replication),"
    " (SELECT coalesce(max(extract(epoch FROM replay_lag) * 1000000), 0)::bigint"
    "  FROM pg_stat_replication)";

static void take_pool(struct poly_postgresql *self, struct poly_server_status *out)
{
    struct poly_pg_pool_numbers pool;

    poly_pg_pool_numbers(self->pool, &pool);
    out->pool_max = pool.max;
    out->pool_open = pool.open;
    out->pool_in_use = pool.in_use;
    out->pool_waiting = pool.waiting;
    out->pool_taken = (int64_t)pool.taken;
    out->pool_waited = (int64_t)pool.waited;
    out->pool_timeouts = (int64_t)pool.timeouts;
    out->pool_connects = (int64_t)pool.connects;
    out->pool_failures = (int64_t)pool.failures;
    out->pool_broken = (int64_t)pool.broken;
    out->pool_wait = (int64_t)pool.wait_us;
    out->pool_wait_max = (int64_t)pool.wait_us_max;
    out->retries = (int64_t)atomic_load(&self->retries);
}

static void take_server(struct poly_pg *pg, struct poly_server_status *out, uint64_t *bytes)
{
    struct poly_error ignored;
    PGresult *row;

    poly_pg_deadline(pg, poly_clock_monotonic() + ANSWER_US);
    if (poly_pg_run(pg, numbers, NULL, &row, &ignored) != POLY_OK)
        return;
    out->connections = poly_pg_int(row, 0, 0);
    out->connections_max = poly_pg_int(row, 0, 1);
    out->connections_active = poly_pg_int(row, 0, 2);
    out->slow_statements = poly_pg_int(row, 0, 3);
    out->hit_ratio = poly_pg_float(row, 0, 4);
    *bytes = (uint64_t)poly_pg_int(row, 0, 5);
    out->log_bytes = poly_pg_int(row, 0, 6);
    out->tables_bytes = poly_pg_int(row, 0, 7);
    out->replicas = poly_pg_int(row, 0, 8);
    out->replica_lag = poly_pg_int(row, 0, 9);
    out->answers = true;
    PQclear(row);
}

enum poly_status poly_postgresql_numbers(struct poly_postgresql *self, struct poly_arena *arena,
                                         struct poly_status_report *report, struct poly_error *err)
{
    struct poly_server_status *out = poly_arena_alloc(arena, sizeof(*out));
    struct poly_error ignored;
    struct poly_pg *pg;

    if (out == NULL)
        return poly_no_memory(err);
    *out = (struct poly_server_status){.warnings = poly_text(self->warnings)};
    take_pool(self, out);
    if (poly_pg_pool_take(self->pool, poly_clock_monotonic() + ANSWER_US, &pg, &ignored) ==
        POLY_OK) {
        take_server(pg, out, &report->database_bytes);
        poly_pg_pool_give(self->pool, pg);
    }
    pthread_mutex_lock(&self->lock);
    if (self->holder.since != 0)
        out->readers_held = poly_clock_monotonic() - self->holder.since;
    pthread_mutex_unlock(&self->lock);
    report->server = out;
    return POLY_OK;
}
