/*
 * What the server says of itself, for the status. Asked on the pool like any
 * read; while the server is known to be away nobody is asked, and what it said last
 * is told with its time. The numbers of the pool are ours, and always there.
 *
 * Statements that are slow on average are told by pg_stat_statements where that is
 * loaded, for then they are everybody's; else by what this daemon's own have taken.
 */
#include <math.h>

#include "base/clock.h"
#include "owners/postgresql/inside.h"

enum { ANSWER_US = 1000000 };

/* The columns of other roles' connections and replicas are null without pg_monitor. The last one is
 * the schema of pg_stat_statements, where that is loaded and made here. */
static const char numbers[] =
    "SELECT (SELECT count(*) FROM pg_stat_activity WHERE datid IS NOT NULL),"
    " current_setting('max_connections')::bigint,"
    " (SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND datid IS NOT NULL),"
    " (SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND datid IS NOT NULL"
    "  AND clock_timestamp() - query_start > interval '1 second'),"
    " (SELECT blks_hit::float8 / nullif(blks_hit + blks_read, 0) FROM pg_stat_database"
    "  WHERE datname = current_database()),"
    " pg_database_size(current_database()), pg_total_relation_size('poly.log'),"
    " (SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class"
    "  WHERE relkind IN ('r', 'm') AND relnamespace NOT IN (SELECT oid FROM pg_namespace"
    "   WHERE nspname IN ('poly', 'pg_catalog', 'information_schema', 'pg_toast'))),"
    " (SELECT count(*) FROM pg_stat_replication),"
    " (SELECT coalesce(max(extract(epoch FROM replay_lag) * 1000000), 0)::bigint"
    "  FROM pg_stat_replication),"
    " (SELECT quote_ident(nspname) FROM pg_extension AS e JOIN pg_namespace AS n"
    "  ON n.oid = e.extnamespace WHERE extname = 'pg_stat_statements'"
    "  AND current_setting('pg_stat_statements.max', true) IS NOT NULL)";
static const char slow[] =
    "SELECT count(*) FROM %s.pg_stat_statements WHERE mean_exec_time > 1000"
    " AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())";

bool poly_postgresql_reachable(struct poly_owner *owner)
{
    struct poly_postgresql *self = poly_postgresql_of(owner);
    bool reachable;

    pthread_mutex_lock(&self->lock);
    reachable = self->lost_since == 0;
    pthread_mutex_unlock(&self->lock);
    return reachable;
}

/* Where it is not to be had (its library is not loaded, this role may not), ours are told. */
static void ask_slow(struct poly_pg *pg, struct poly_text schema, struct poly_server_status *out)
{
    char text[sizeof(slow) + 2 * 64 + 2];
    struct poly_error ignored;
    PGresult *row;

    if (schema.size == 0 || schema.size > 2 * 64 + 2)
        return;
    snprintf(text, sizeof(text), slow, schema.data);
    if (poly_pg_run_once(pg, text, NULL, &row, &ignored) != POLY_OK)
        return;
    out->slow_statements = poly_pg_int(row, 0, 0);
    out->slow_source = poly_text("pg_stat_statements");
    PQclear(row);
}

/* What does not fit now that all are there who are there. */
static void ask_capacity(struct poly_pg *pg, char *warnings, size_t size)
{
    struct poly_pg_capacity capacity;
    struct poly_error ignored;

    if (poly_pg_capacity(pg, &capacity, &ignored) == POLY_OK)
        (void)poly_pg_capacity_warnings(&capacity, capacity.promised, 0, warnings, size);
}

static bool ask(struct poly_pg *pg, struct poly_server_status *out, uint64_t *bytes)
{
    struct poly_error ignored;
    PGresult *row;

    if (poly_pg_run(pg, numbers, NULL, &row, &ignored) != POLY_OK)
        return false;
    *out = (struct poly_server_status){
        .sampled = poly_clock_wall(),
        .connections = poly_pg_int(row, 0, 0),
        .connections_max = poly_pg_int(row, 0, 1),
        .connections_active = poly_pg_int(row, 0, 2),
        .long_running = poly_pg_int(row, 0, 3),
        .hit_ratio = poly_pg_null(row, 0, 4) ? NAN : poly_pg_float(row, 0, 4),
        .log_bytes = poly_pg_int(row, 0, 6),
        .tables_bytes = poly_pg_int(row, 0, 7),
        .replicas = poly_pg_int(row, 0, 8),
        .replica_lag = poly_pg_int(row, 0, 9),
    };
    *bytes = (uint64_t)poly_pg_int(row, 0, 5);
    ask_slow(pg, poly_pg_text(row, 0, 10), out);
    PQclear(row);
    return true;
}

/* Into the sample. false: the server has not said anything now. */
static bool sample(struct poly_postgresql *self)
{
    int64_t deadline = poly_clock_monotonic() + ANSWER_US;
    struct poly_server_status said;
    struct poly_error ignored;
    char warnings[sizeof(self->sample.warnings)] = "";
    uint64_t bytes;
    struct poly_pg *pg;
    bool answers;

    if (!poly_postgresql_reachable(&self->base) ||
        poly_pg_pool_take(self->pool, deadline, &pg, &ignored) != POLY_OK)
        return false;
    answers = ask(pg, &said, &bytes);
    if (answers)
        ask_capacity(pg, warnings, sizeof(warnings));
    poly_pg_pool_give(self->pool, pg);
    if (!answers) {
        poly_postgresql_wake(self); /* who watches is to look, too */
        return false;
    }
    pthread_mutex_lock(&self->lock);
    self->sample.numbers = said;
    self->sample.bytes = bytes;
    memcpy(self->sample.warnings, warnings, sizeof(warnings));
    pthread_mutex_unlock(&self->lock);
    return true;
}

enum poly_status poly_postgresql_numbers(struct poly_postgresql *self, struct poly_arena *arena,
                                         struct poly_status_report *report, struct poly_error *err)
{
    struct poly_server_status *out = poly_arena_alloc(arena, sizeof(*out));
    struct poly_pg_pool_numbers pool;
    bool answers = sample(self);
    const char *warnings;

    poly_pg_pool_numbers(self->pool, &pool);
    pthread_mutex_lock(&self->lock);
    warnings = poly_arena_copy(arena, self->sample.warnings, strlen(self->sample.warnings));
    if (out != NULL)
        *out = self->sample.numbers;
    report->database_bytes = self->sample.bytes;
    pthread_mutex_unlock(&self->lock);
    if (out == NULL || warnings == NULL)
        return poly_no_memory(err);
    if (out->sampled == 0)
        out->hit_ratio = NAN;
    if (out->slow_source.size == 0) {
        out->slow_statements = pool.slow;
        out->slow_source = poly_text("polystore");
    }
    out->answers = answers;
    out->warnings = poly_text(warnings);
    out->pool = poly_server_pool_status(&pool);
    out->retries = (int64_t)atomic_load(&self->retries);
    out->era = (int64_t)atomic_load(&self->base.era);
    /* Looked at last: what has just been noticed is to be told. */
    pthread_mutex_lock(&self->lock);
    out->unreachable_since = self->lost_since;
    out->up = self->lost_since == 0;
    if (self->holder.since != 0)
        out->readers_held = poly_clock_monotonic() - self->holder.since;
    pthread_mutex_unlock(&self->lock);
    report->server = out;
    return POLY_OK;
}
