/*
 * Who has a named subscription open, of many daemons: a row that its reader
 * renews, and that anybody may take who finds it run out. Not an advisory lock:
 * that would need a connection for as long as somebody reads. The server's
 * clock is the only one that counts. The row is not logged: after a crash of the server
 * nobody has anything, and the readers that are still there take it again.
 */
#include "owners/postgresql/inside.h"

static const char take[] =
    "INSERT INTO poly.lease AS l(tenant, name, holder, ends)"
    " VALUES (?1, ?2, ?3, clock_timestamp() + ?4 * interval '1 millisecond')"
    " ON CONFLICT (tenant, name) DO UPDATE SET holder = excluded.holder, ends = excluded.ends"
    " WHERE l.holder = excluded.holder OR l.ends < clock_timestamp()";
static const char give[] =
    "DELETE FROM poly.lease WHERE tenant = ?1 AND name = ?2 AND holder = ?3";
static const char look[] = "SELECT 1 FROM poly.lease WHERE tenant = ?1 AND name = ?2"
                           " AND holder <> ?3 AND ends >= clock_timestamp()";

struct lease {
    struct poly_owner *owner;
    const char *sql;
    struct poly_text tenant, name;
    int64_t changes;
};

static enum poly_status change(struct poly_db *db, void *arg, struct poly_error *err)
{
    struct lease *lease = arg;
    struct poly_stmt stmt;
    enum poly_status status = poly_stmt_open(&stmt, db, lease->sql, err);

    if (status != POLY_OK)
        return status;
    poly_stmt_text(&stmt, 1, lease->tenant);
    poly_stmt_text(&stmt, 2, lease->name);
    poly_stmt_text(&stmt, 3, poly_text(lease->owner->instance->node));
    if (lease->sql == take)
        poly_stmt_int(&stmt, 4, POLY_LEASE_MS);
    return poly_stmt_changes(&stmt, &lease->changes, err);
}

enum poly_status poly_postgresql_lease(struct poly_owner *owner, struct poly_text tenant,
                                       struct poly_text name, bool keep, struct poly_error *err)
{
    struct lease lease = {owner, keep ? take : give, tenant, name, 0};
    enum poly_status status = poly_owner_run(owner->instance, change, &lease, true, err);

    if (status != POLY_OK || !keep || lease.changes > 0)
        return status;
    return poly_fail(err, POLY_EXISTS, "subscription '%.128s' is open at another daemon",
                     name.data);
}

enum poly_status poly_postgresql_leased(struct poly_owner *owner, struct poly_db *db,
                                        struct poly_text tenant, struct poly_text name,
                                        bool *leased, struct poly_error *err)
{
    struct poly_stmt stmt;
    enum poly_status status = poly_stmt_open(&stmt, db, look, err);

    if (status != POLY_OK)
        return status;
    poly_stmt_text(&stmt, 1, tenant);
    poly_stmt_text(&stmt, 2, name);
    poly_stmt_text(&stmt, 3, poly_text(owner->instance->node));
    status = poly_stmt_row(&stmt, leased, err);
    if (status == POLY_OK && *leased)
        poly_stmt_close(&stmt);
    return status;
}
