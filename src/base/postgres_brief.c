/*
 * Transactions that hold up nobody for long. A lock on a table that is waited for
 * holds up everybody who comes after, as one that is held does, so both have one end:
 * what is not committed by then is rolled back, and tried again by the caller after a pause in
 * which others go on.
 *
 * Locks are waited for less than the server's deadlock_timeout (1 s where nobody changed it): of
 * two that wait for each other, it is us who give up, and never a writer who is ended.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/postgres_inside.h"

enum { WHOLE_US = 900000, PAUSE_NS = 300000000 };

/* The commit waits for no standby with the lock in its hand: what is committed after it, and waits
 * for one, takes it along. */
static const char begin_brief[] = "SET LOCAL lock_timeout = '500ms';"
                                  "SET LOCAL synchronous_commit = 'local';"
                                  "SET LOCAL client_min_messages = 'warning'";

/* Oldest first. $2: those that only read are in the way, too. */
static const char holders[] =
    "SELECT CASE WHEN l.pid IS NULL THEN 'a prepared transaction' ELSE"
    " format('backend %s (%s%s%s%s)', l.pid, coalesce(nullif(a.application_name, ''),"
    "  a.backend_type, 'unknown'), ' of ' || a.usename, ', ' || a.state,"
    "  ', for ' || extract(epoch FROM clock_timestamp() - a.xact_start)::bigint || ' s') END"
    " FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid"
    " WHERE l.locktype = 'relation' AND l.granted AND l.relation = to_regclass($1)::oid"
    " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND l.pid IS DISTINCT FROM pg_backend_pid()"
    " AND ($2 OR l.mode NOT IN ('AccessShareLock', 'RowShareLock'))"
    " ORDER BY a.xact_start LIMIT 1";

enum poly_status poly_pg_brief(struct poly_pg *pg, poly_pg_work *work, void *arg,
                               struct poly_error *err)
{
    int64_t deadline = pg->deadline, each = pg->each;
    enum poly_status status;

    poly_pg_deadline(pg, poly_clock_monotonic() + WHOLE_US);
    status = poly_pg_begin(pg, POLY_PG_COMMITTED, false, err);
    if (status == POLY_OK)
        status = poly_pg_exec(pg, begin_brief, err);
    if (status == POLY_OK)
        status = work(pg, arg, err);
    pg->deadline = deadline;
    pg->each = each;
    if (status == POLY_OK)
        status = poly_pg_commit(pg, err);
    if (status != POLY_OK)
        poly_pg_roll_back(pg);
    return status;
}

bool poly_pg_delayed(const struct poly_pg *pg, enum poly_status status)
{
    const char *state = poly_pg_state(pg);

    return !poly_pg_lost(pg) &&
           (status == POLY_TIMEOUT || strcmp(state, "55P03") == 0 || strcmp(state, "40P01") == 0);
}

void poly_pg_pause(void)
{
    const struct timespec pause = {0, PAUSE_NS};

    nanosleep(&pause, NULL);
}

enum poly_status poly_pg_holder(struct poly_pg *pg, const char *relation, bool readers, char *who,
                                size_t size)
{
    struct poly_pg_params params;
    struct poly_error ignored;
    PGresult *rows;
    enum poly_status status;

    poly_pg_params(&params);
    poly_pg_add_text(&params, poly_text(relation));
    poly_pg_add_bool(&params, readers);
    status = poly_pg_run(pg, holders, &params, &rows, &ignored);
    if (status != POLY_OK)
        return status;
    snprintf(who, size, "%s", PQntuples(rows) == 0 ? "" : poly_pg_text(rows, 0, 0).data);
    PQclear(rows);
    return POLY_OK;
}
