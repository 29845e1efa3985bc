/* What the server tells by itself (notifications), and about itself (position, sizes). */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>

#include "base/postgres_inside.h"

static const char position_sql[] =
    "SELECT r, coalesce((CASE WHEN r THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END"
    " - '0/0'::pg_lsn)::bigint, 0) FROM pg_is_in_recovery() AS r";
static const char capacity_sql[] =
    "SELECT current_setting('max_connections')::bigint,"
    " current_setting('superuser_reserved_connections')::bigint"
    " + coalesce(current_setting('reserved_connections', true)::bigint, 0),"
    " (SELECT count(*) FROM pg_stat_activity WHERE datid IS NOT NULL),"
    " pg_size_bytes(current_setting('work_mem')),"
    " pg_size_bytes(current_setting('shared_buffers')),"
    " pg_size_bytes(current_setting('effective_cache_size')),"
    " current_setting('hash_mem_multiplier')::double precision,"
    " (SELECT coalesce(sum(objid::bigint), 0)::bigint FROM pg_locks WHERE locktype = 'advisory'"
    "  AND classid = 1886350470 AND objsubid = 2 AND granted)";
/* Numbered as the locks of owners/postgresql are. */
static const char promise_sql[] = "SELECT pg_advisory_lock_shared(1886350470, $1)";

/* --- notifications --- */

enum poly_status poly_pg_listen(struct poly_pg *pg, const char *channel, struct poly_error *err)
{
    char *name = PQescapeIdentifier(pg->conn, channel, strlen(channel));
    char text[256];
    int size;

    if (name == NULL)
        return poly_fail(err, POLY_INVALID, "the channel '%.64s' is no valid text", channel);
    size = snprintf(text, sizeof(text), "LISTEN %s", name);
    PQfreemem(name);
    if (size >= (int)sizeof(text))
        return poly_fail(err, POLY_INVALID, "the channel '%.64s' is too long", channel);
    return poly_pg_exec(pg, text, err);
}

static bool take_notice(struct poly_pg *pg, struct poly_pg_notice *notice)
{
    PGnotify *told = PQnotifies(pg->conn);

    if (told == NULL)
        return false;
    PQfreemem(pg->notice);
    pg->notice = told;
    *notice = (struct poly_pg_notice){told->relname, told->extra, told->be_pid};
    return true;
}

enum poly_status poly_pg_wait(struct poly_pg *pg, int wake_fd, int64_t deadline,
                              enum poly_pg_event *event, struct poly_pg_notice *notice,
                              struct poly_error *err)
{
    int patience = 0;

    pg->deciding = false;
    if (pg->lost)
        return poly_pg_lose(pg, POLY_UNAVAILABLE, "it was lost before", err);
    while (!take_notice(pg, notice)) {
        struct pollfd ready[2] = {{PQsocket(pg->conn), POLLIN, 0}, {wake_fd, POLLIN, 0}};
        int wait = poly_pg_patience(pg, deadline, &patience);
        int count = poll(ready, wake_fd < 0 ? 1 : 2, wait);

        if (count > 0 ? ready[0].revents != 0 : pg->encrypted && poly_pg_left(deadline) != 0) {
            patience = count > 0 ? 0 : patience;
            if (PQsocket(pg->conn) < 0 || !PQconsumeInput(pg->conn))
                return poly_pg_fail(pg, NULL, NULL, err);
            continue;
        }
        if (count > 0) {
            *event = POLY_PG_WOKEN;
            return POLY_OK;
        }
        if (poly_pg_left(deadline) == 0) {
            *event = POLY_PG_DEADLINE;
            return POLY_OK;
        }
    }
    *event = POLY_PG_NOTIFIED;
    return POLY_OK;
}

/* --- about itself --- */

enum poly_status poly_pg_position(struct poly_pg *pg, bool *standby, uint64_t *lsn,
                                  struct poly_error *err)
{
    PGresult *result;
    enum poly_status status = poly_pg_run(pg, position_sql, NULL, &result, err);

    if (status != POLY_OK)
        return status;
    *standby = poly_pg_bool(result, 0, 0);
    *lsn = (uint64_t)poly_pg_int(result, 0, 1);
    PQclear(result);
    return POLY_OK;
}

enum poly_status poly_pg_promise(struct poly_pg *pg, uint32_t connections, struct poly_error *err)
{
    struct poly_pg_params params;

    poly_pg_params(&params);
    poly_pg_add_int(&params, connections);
    return poly_pg_done(pg, promise_sql, &params, NULL, err);
}

enum poly_status poly_pg_capacity(struct poly_pg *pg, struct poly_pg_capacity *capacity,
                                  struct poly_error *err)
{
    PGresult *result;
    enum poly_status status = poly_pg_run(pg, capacity_sql, NULL, &result, err);

    if (status != POLY_OK)
        return status;
    *capacity = (struct poly_pg_capacity){
        .max_connections = poly_pg_int(result, 0, 0),
        .reserved = poly_pg_int(result, 0, 1),
        .in_use = poly_pg_int(result, 0, 2),
        .work_mem = poly_pg_int(result, 0, 3),
        .shared_buffers = poly_pg_int(result, 0, 4),
        .effective_cache = poly_pg_int(result, 0, 5),
        .hash_multiplier = poly_pg_float(result, 0, 6),
        .promised = poly_pg_int(result, 0, 7),
    };
    PQclear(result);
    return POLY_OK;
}

static double mebibytes(int64_t bytes)
{
    return (double)bytes / (1024 * 1024);
}

int poly_pg_capacity_warnings(const struct poly_pg_capacity *capacity, int64_t connections,
                              int64_t memory, char *text, size_t size)
{
    int64_t allowed = capacity->max_connections - capacity->reserved;
    double worst = (double)capacity->work_mem * (double)capacity->max_connections;
    int64_t against = memory > 0 ? memory : capacity->effective_cache;
    int count = 0, used = 0;

    text[0] = '\0';
    if (connections > allowed) {
        used = snprintf(text, size,
                        "the pools of all daemons may open %" PRId64 " connections, and the server "
                        "allows %" PRId64 " (max_connections %" PRId64 ", %" PRId64
                        " of them reserved): lower 'pool.max', or raise max_connections",
                        connections, allowed, capacity->max_connections, capacity->reserved);
        count++;
    }
    if (worst > (double)against && used >= 0 && (size_t)used < size) {
        snprintf(text + used, size - (size_t)used,
                 "%s%" PRId64 " connections with work_mem %.0f MiB may take %.0f MiB for one sort "
                 "each, more than the %.0f MiB of %s: lower work_mem or max_connections",
                 count > 0 ? "; " : "", capacity->max_connections, mebibytes(capacity->work_mem),
                 worst / (1024 * 1024), mebibytes(against),
                 memory > 0 ? "the server's memory" : "effective_cache_size");
        count++;
    }
    return count;
}
