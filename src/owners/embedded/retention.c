/*
 * Change records that are older than log.change_retention go, but for the last
 * one of each key: it is the record's version and its image, and without it a
 * follower could not be filled from the log. Event streams are never touched.
 *
 * The append-only trigger stands in the way on purpose; it is taken down and
 * put back inside one transaction of the writer, and the horizon is written
 * down so that the hash chain knows what has gone with leave.
 */
#include "base/clock.h"
#include "core/inside.h"
#include "owners/embedded/embedded.h"

enum { BITE = 5000 };

static const char open_gate[] = "DROP TRIGGER IF EXISTS poly_log_delete";
static const char shut_gate[] = "CREATE TRIGGER poly_log_delete BEFORE DELETE ON poly_log BEGIN"
                                " SELECT RAISE(ABORT, 'the log is append-only'); END";
static const char choose[] =
    "CREATE TEMP TABLE poly_retired AS SELECT position FROM poly_log AS old"
    " WHERE type IN ('$put', '$delete') AND time < ?1 AND position <= ?2 AND EXISTS"
    " (SELECT 1 FROM poly_log AS new WHERE new.domain = old.domain AND new.tenant = old.tenant"
    " AND new.key = old.key AND new.version IS NULL AND new.position > old.position) LIMIT ?3";
static const char remove_records[] =
    "DELETE FROM poly_log WHERE position IN (SELECT position FROM temp.poly_retired)";
static const char remove_history[] =
    "DELETE FROM poly_history WHERE position IN (SELECT position FROM temp.poly_retired)";
static const char count_chosen[] = "SELECT count(*), max(position) FROM temp.poly_retired";
static const char set_horizon[] = "INSERT INTO poly_meta(name, value) VALUES ('retained', ?1)"
                                  " ON CONFLICT (name) DO UPDATE SET value = max(value, ?1)";

struct bite {
    struct poly_instance *instance;
    int64_t older; /* than this time */
    uint64_t upto; /* every follower has applied this far */
    int64_t removed;
};

static enum poly_status run_bound(struct poly_db *db, const char *sql, const int64_t *numbers,
                                  int count, struct poly_error *err)
{
    sqlite3_stmt *statement;
    enum poly_status status;
    int code = sqlite3_prepare_v2(poly_db_handle(db), sql, -1, &statement, NULL);

    if (code != SQLITE_OK)
        return poly_db_fail(db, code, "retention", err);
    for (int i = 0; i < count; i++)
        sqlite3_bind_int64(statement, i + 1, numbers[i]);
    status = poly_db_done(db, statement, err);
    sqlite3_finalize(statement);
    return status;
}

static enum poly_status chosen(struct poly_db *db, int64_t *count, int64_t *last,
                               struct poly_error *err)
{
    sqlite3_stmt *statement;
    enum poly_status status;
    bool row;
    int code = sqlite3_prepare_v2(poly_db_handle(db), count_chosen, -1, &statement, NULL);

    if (code != SQLITE_OK)
        return poly_db_fail(db, code, "retention", err);
    status = poly_db_row(db, statement, &row, err);
    if (status == POLY_OK && row) {
        *count = sqlite3_column_int64(statement, 0);
        *last = sqlite3_column_int64(statement, 1);
    }
    sqlite3_finalize(statement);
    return status;
}

static enum poly_status remove_some(struct poly_db *db, void *arg, struct poly_error *err)
{
    struct bite *bite = arg;
    int64_t numbers[3] = {bite->older, (int64_t)bite->upto, BITE};
    int64_t last = 0;
    enum poly_status status = run_bound(db, choose, numbers, 3, err);

    if (status != POLY_OK)
        return status;
    status = chosen(db, &bite->removed, &last, err);
    if (status == POLY_OK && bite->removed > 0) {
        status = run_bound(db, set_horizon, &last, 1, err);
        if (status == POLY_OK)
            status = run_bound(db, open_gate, NULL, 0, err);
        if (status == POLY_OK)
            status = run_bound(db, remove_records, NULL, 0, err);
        if (status == POLY_OK)
            status = run_bound(db, remove_history, NULL, 0, err);
        if (status == POLY_OK)
            status = run_bound(db, shut_gate, NULL, 0, err);
    }
    if (status == POLY_OK)
        status = run_bound(db, "DROP TABLE temp.poly_retired", NULL, 0, err);
    return status;
}

void poly_embedded_retain(struct poly_owner *owner)
{
    struct poly_instance *instance = owner->instance;
    struct bite bite = {.instance = instance};
    struct poly_error err;
    enum poly_status status = POLY_OK;

    if (instance->config->change_retention_s <= 0)
        return;
    bite.older = poly_clock_wall() - instance->config->change_retention_s * 1000000;
    do {
        bite.upto = poly_projections_floor(instance);
        bite.removed = 0;
        status = poly_owner_run(instance, remove_some, &bite, false, &err);
    } while (status == POLY_OK && bite.removed == BITE && !atomic_load(&instance->closing));
}
