/*
 * Are the triggers those that would be made today? At start, and at the end of each
 * migration, they are made anew where not, and the log is brought up to the rows.
 *
 * Making triggers locks the table against writers for a moment; at start that is
 * given up after a second and tried again. Rows that were there before are then
 * logged a page at a time, each under a lock of its rows alone: a writer who comes
 * between has written a record of its own, and the page's is what it left. Only
 * what was deleted while there were no triggers is looked for under the lock.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/limits.h"
#include "stores/relational/postgresql.h"

enum { TRIES = 60, PAUSE_NS = 200000000 };

/* Source of the function, and on how many of the table and its partitions the trigger stands. */
static const char sql_stored[] =
    "SELECT p.prosrc, count(t.oid) FILTER (WHERE t.tgenabled = 'A'),"
    " (SELECT count(*) FROM pg_class c WHERE c.oid = $2::regclass OR c.oid IN"
    "  (SELECT relid FROM pg_partition_tree($2::regclass)))"
    " FROM pg_proc p LEFT JOIN pg_trigger t ON t.tgfoid = p.oid AND (t.tgrelid = $2::regclass OR"
    "  t.tgrelid IN (SELECT relid FROM pg_partition_tree($2::regclass)))"
    " WHERE p.pronamespace = 'poly'::regnamespace AND p.proname = $1 GROUP BY p.oid, p.prosrc";

static const char sql_known[] =
    "SELECT EXISTS (SELECT 1 FROM poly.log WHERE domain = $1 AND version IS NULL)";

/* Ours, on tables where no domain wants them. */
static const char sql_stale[] =
    "WITH wanted AS (SELECT name, coalesce(to_regclass(quote_ident(rel)), CASE WHEN rel"
    "  ~ '^[A-Za-z_][A-Za-z0-9_$]*(\\.[A-Za-z_][A-Za-z0-9_$]*)?$' THEN to_regclass(rel) END)"
    "  AS rel FROM unnest($1::text[], $2::text[]) AS e(name, rel))"
    "SELECT DISTINCT format('DROP TRIGGER IF EXISTS %I ON %s', t.tgname, t.tgrelid::regclass)"
    " FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_class c ON c.oid = t.tgrelid"
    " WHERE p.pronamespace = 'poly'::regnamespace AND c.relnamespace <> 'poly'::regnamespace"
    " AND NOT t.tgisinternal AND NOT EXISTS (SELECT 1 FROM wanted AS e WHERE t.tgname = e.name"
    "  AND e.rel IN (t.tgrelid, pg_partition_root(t.tgrelid)))";

/* --- what stands in the database --- */

static enum poly_status fit_one(struct poly_pg *pg, const struct poly_postgresql_table *self,
                                int event, bool *fit, int *present, struct poly_error *err)
{
    char name[POLY_TRIGGER_BYTES];
    struct poly_pg_params params;
    PGresult *rows;
    enum poly_status status;

    poly_postgresql_trigger(name, "", self->base.domain->name, event);
    poly_pg_params(&params);
    poly_pg_add_text(&params, poly_text(name));
    poly_pg_add_text(&params, poly_text(self->name));
    status = poly_pg_run(pg, sql_stored, &params, &rows, err);
    if (status != POLY_OK)
        return status;
    if (PQntuples(rows) == 1) {
        int64_t standing = poly_pg_int(rows, 0, 1), wanted = poly_pg_int(rows, 0, 2);

        *present += standing > 0;
        *fit = *fit && standing == wanted &&
               strcmp(poly_pg_text(rows, 0, 0).data, self->bodies[event]) == 0;
    } else {
        *fit = false;
    }
    PQclear(rows);
    return POLY_OK;
}

static enum poly_status fits(struct poly_pg *pg, const struct poly_postgresql_table *self,
                             bool *fit, int *present, struct poly_error *err)
{
    enum poly_status status = POLY_OK;

    *fit = true;
    *present = 0;
    for (int event = 0; event < POLY_TRIGGER_EVENTS && status == POLY_OK; event++)
        status = fit_one(pg, self, event, fit, present, err);
    return status;
}

static enum poly_status is_known(struct poly_pg *pg, const struct poly_postgresql_table *self,
                                 bool *known, struct poly_error *err)
{
    struct poly_pg_params params;
    PGresult *rows;
    enum poly_status status;

    poly_pg_params(&params);
    poly_pg_add_text(&params, poly_text(self->base.domain->name));
    status = poly_pg_run(pg, sql_known, &params, &rows, err);
    if (status != POLY_OK)
        return status;
    *known = poly_pg_bool(rows, 0, 0);
    PQclear(rows);
    return POLY_OK;
}

/* The triggers, and what was deleted without them. */
static enum poly_status attach(struct poly_pg *pg, const struct poly_postgresql_table *self,
                               bool known, int64_t *written, struct poly_error *err)
{
    enum poly_status status = poly_postgresql_attach(pg, self, err);

    return status == POLY_OK && known ? poly_pg_done(pg, self->log_gone, NULL, written, err)
                                      : status;
}

/* Where a page ended: of the two columns of the primary key, or one. */
struct place {
    struct poly_buffer text;
    bool set;
};

static void add_place(struct poly_pg_params *params, const struct place *place)
{
    if (place->set)
        poly_pg_add_text(params, (struct poly_text){place->text.data, place->text.size});
    else
        poly_pg_add_null(params);
}

static void move(struct place *place, const PGresult *rows, int column)
{
    struct poly_text text = poly_pg_text(rows, 0, column);

    poly_buffer_clear(&place->text);
    poly_buffer_add(&place->text, text.data, text.size);
    poly_buffer_char(&place->text, '\0');
    place->text.size -= poly_buffer_ok(&place->text);
    place->set = !poly_pg_null(rows, 0, column);
}

static enum poly_status log_page(struct poly_pg *pg, const struct poly_postgresql_table *self,
                                 struct place at[2], int64_t *written, bool *more,
                                 struct poly_error *err)
{
    struct poly_pg_params params;
    PGresult *rows;
    enum poly_status status;

    poly_pg_params(&params);
    add_place(&params, &at[0]);
    add_place(&params, &at[1]);
    status = poly_pg_run(pg, self->log_rows, &params, &rows, err);
    if (status != POLY_OK)
        return status;
    *more = PQntuples(rows) == 1 && poly_pg_int(rows, 0, 1) == POLY_TRIGGER_PAGE;
    if (PQntuples(rows) == 1) {
        *written += poly_pg_int(rows, 0, 0);
        move(&at[0], rows, 2);
        move(&at[1], rows, 3);
    }
    PQclear(rows);
    if (!poly_buffer_ok(&at[0].text) || !poly_buffer_ok(&at[1].text))
        return poly_no_memory(err);
    return POLY_OK;
}

/* All rows; alone: each page in a transaction of its own. */
static enum poly_status log_rows(struct poly_pg *pg, const struct poly_postgresql_table *self,
                                 bool alone, int64_t *written, struct poly_error *err)
{
    struct place at[2] = {{.set = false}, {.set = false}};
    enum poly_status status = POLY_OK;
    bool more = true;

    poly_buffer_init(&at[0].text, POLY_MAX_VALUE);
    poly_buffer_init(&at[1].text, POLY_MAX_VALUE);
    while (status == POLY_OK && more) {
        if (alone)
            status = poly_pg_begin(pg, POLY_PG_COMMITTED, false, err);
        if (status == POLY_OK)
            status = log_page(pg, self, at, written, &more, err);
        if (status == POLY_OK && alone)
            status = poly_pg_commit(pg, err);
    }
    poly_buffer_release(&at[0].text);
    poly_buffer_release(&at[1].text);
    return status;
}

static enum poly_status explain(struct poly_pg *pg, const struct poly_postgresql_table *self,
                                enum poly_status status, struct poly_error *err)
{
    const struct poly_domain *domain = self->base.domain;

    if (strcmp(poly_pg_state(pg), "23502") == 0 && strcmp(poly_pg_column(pg), "tenant") == 0)
        return poly_fail(
            err, POLY_INVALID,
            "table '%s' has rows whose '%s' is empty: give each its tenant, then start "
            "again",
            domain->table, domain->tenant);
    return poly_fail_in(err, status, "domain '%s': triggers of table '%s'", domain->name,
                        domain->table);
}

/* --- at start: in transactions of its own --- */

static enum poly_status attach_once(struct poly_pg *pg, const struct poly_postgresql_table *self,
                                    bool known, int64_t *written, struct poly_error *err)
{
    enum poly_status status = poly_pg_begin(pg, POLY_PG_COMMITTED, false, err);

    /* One daemon at a time; the lock that is waited for no longer than a second is the table's. */
    if (status == POLY_OK)
        status = poly_pg_exec(pg,
                              "SELECT pg_advisory_xact_lock(1886350460, 1);"
                              "SET LOCAL lock_timeout = '1s'",
                              err);
    if (status == POLY_OK)
        status = attach(pg, self, known, written, err);
    if (status == POLY_OK)
        status = poly_pg_commit(pg, err);
    return status;
}

static enum poly_status attach_alone(struct poly_pg *pg, const struct poly_postgresql_table *self,
                                     bool known, int64_t *written, struct poly_error *err)
{
    const struct timespec pause = {0, PAUSE_NS};
    enum poly_status status = POLY_UNAVAILABLE;

    for (int i = 0; i < TRIES; i++) {
        status = attach_once(pg, self, known, written, err);
        if (status == POLY_OK || strcmp(poly_pg_state(pg), "55P03") != 0)
            break;
        poly_pg_roll_back(pg);
        nanosleep(&pause, NULL);
    }
    if (status == POLY_OK)
        return log_rows(pg, self, true, written, err);
    return status;
}

static enum poly_status note_repair(struct poly_table *table, int present, int64_t written,
                                    struct poly_error *err)
{
    table->problem = poly_arena_printf(
        table->arena,
        "the triggers %s table '%s' when Polystore started; they were made anew, and %lld changes "
        "that the log had missed were written to it",
        present == 0 ? "were missing on" : "did not fit", table->domain->table, (long long)written);
    return table->problem == NULL ? poly_no_memory(err) : POLY_OK;
}

/* A table that cannot have triggers, or has rows that cannot be logged, makes its domain unusable,
 * not the instance. */
static enum poly_status note_failure(struct poly_pg *pg, struct poly_table *table,
                                     enum poly_status status, struct poly_error *err)
{
    status = explain(pg, poly_postgresql_table(table), status, err);
    poly_pg_roll_back(pg);
    if (poly_pg_lost(pg) || status == POLY_NO_MEMORY)
        return status;
    table->status = POLY_UNAVAILABLE;
    table->problem = poly_arena_printf(table->arena, "%s", err->message);
    return table->problem == NULL ? poly_no_memory(err) : POLY_OK;
}

static enum poly_status repair(struct poly_db *db, struct poly_table *table, bool start,
                               struct poly_error *err)
{
    const struct poly_postgresql_table *self = poly_postgresql_table(table);
    struct poly_pg *pg = poly_pg_of(db);
    bool fit = false, known = false;
    int64_t written = 0;
    int present = 0;
    enum poly_status status = fits(pg, self, &fit, &present, err);

    if (status != POLY_OK || fit)
        return status;
    status = is_known(pg, self, &known, err);
    if (status != POLY_OK)
        return status;
    if (start) {
        status = attach_alone(pg, self, known, &written, err);
        if (status != POLY_OK)
            return note_failure(pg, table, status, err);
        return present == 0 && !known ? POLY_OK : note_repair(table, present, written, err);
    }
    status = attach(pg, self, known, &written, err);
    if (status == POLY_OK)
        status = log_rows(pg, self, false, &written, err);
    return status == POLY_OK ? POLY_OK : explain(pg, self, status, err);
}

enum poly_status poly_postgresql_repair(struct poly_db *db, struct poly_table *table, bool start,
                                        struct poly_error *err)
{
    enum poly_status status = repair(db, table, start, err);

    if (status != POLY_OK || table->status != POLY_OK)
        return status;
    return poly_postgresql_wall_table(poly_pg_of(db), poly_postgresql_table(table), start, err);
}

/* --- tables that no domain names any more --- */

static enum poly_status drop_all(struct poly_pg *pg, const PGresult *rows, struct poly_error *err)
{
    bool alone = !poly_pg_in_transaction(pg);
    enum poly_status status = POLY_OK;

    for (int row = 0; row < PQntuples(rows) && status == POLY_OK; row++) {
        if (alone)
            status = poly_pg_begin(pg, POLY_PG_COMMITTED, false, err);
        if (status == POLY_OK && alone)
            status = poly_pg_exec(pg, "SET LOCAL lock_timeout = '1s'", err);
        if (status == POLY_OK)
            status = poly_pg_exec(pg, poly_pg_text(rows, row, 0).data, err);
        if (status == POLY_OK && alone)
            status = poly_pg_commit(pg, err);
    }
    if (alone && status != POLY_OK)
        poly_pg_roll_back(pg);
    return status;
}

enum poly_status poly_postgresql_tidy(struct poly_relational *relational, struct poly_db *db,
                                      struct poly_error *err)
{
    const struct poly_config *config = relational->config;
    struct poly_arena *arena = poly_arena_new(16 * 1024 * 1024);
    struct poly_text *names =
        arena == NULL ? NULL
                      : poly_arena_array(arena, config->domain_count * POLY_TRIGGER_EVENTS * 2 + 1,
                                         sizeof(*names));
    struct poly_text *tables = names + config->domain_count * POLY_TRIGGER_EVENTS;
    struct poly_pg_params params;
    enum poly_status status = names == NULL ? poly_no_memory(err) : POLY_OK;
    int count = 0;
    PGresult *rows;

    for (size_t i = 0; i < config->domain_count * POLY_TRIGGER_EVENTS && status == POLY_OK; i++) {
        const struct poly_domain *domain = &config->domains[i / POLY_TRIGGER_EVENTS];
        char name[POLY_TRIGGER_BYTES];

        if (domain->table == NULL)
            continue;
        poly_postgresql_trigger(name, "poly_", domain->name, (int)(i % POLY_TRIGGER_EVENTS));
        names[count] = poly_text(poly_arena_copy(arena, name, strlen(name)));
        tables[count++] = poly_text(domain->table);
        if (names[count - 1].data == NULL)
            status = poly_no_memory(err);
    }
    if (status == POLY_OK) {
        poly_pg_params(&params);
        poly_pg_add_texts(&params, names, count);
        poly_pg_add_texts(&params, tables, count);
        status = poly_pg_run(poly_pg_of(db), sql_stale, &params, &rows, err);
    }
    if (status == POLY_OK) {
        status = drop_all(poly_pg_of(db), rows, err);
        PQclear(rows);
    }
    poly_arena_free(arena);
    return status;
}
