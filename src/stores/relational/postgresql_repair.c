/*
 * Are the triggers those that would be made today? At start, and at the end of each
 * migration, they are made anew where not, and the log is brought up to the rows.
 *
 * Making triggers locks the table against writers for a moment: a table at a time,
 * each of its partitions for itself, in transactions that are brief and tried again. The functions
 * come first, together with the note that the rows are to be looked at: whatever ends us in the
 * middle, the next one finds what is missing.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "core/config.h"
#include "stores/relational/postgresql.h"

enum { START_US = 60000000, TIDY_US = 10000000 };

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
static const char sql_stale[] = "WITH wanted AS (SELECT name, " POLY_POSTGRESQL_NAMED(
    "rel") " AS rel"
           " FROM unnest($1::text[], $2::text[]) AS e(name, rel))"
           "SELECT DISTINCT format('DROP TRIGGER IF EXISTS %I ON %s', t.tgname, "
           "t.tgrelid::regclass),"
           " t.tgrelid::regclass::text"
           " FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_class c ON c.oid = "
           "t.tgrelid"
           " WHERE p.pronamespace = 'poly'::regnamespace AND c.relnamespace <> 'poly'::regnamespace"
           " AND NOT t.tgisinternal AND NOT EXISTS (SELECT 1 FROM wanted AS e WHERE t.tgname = "
           "e.name"
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

/* --- triggers --- */

struct attaching {
    const struct poly_postgresql_table *self;
    const char *relation;
    bool known;
};

/* One daemon at a time. */
static enum poly_status prepare(struct poly_pg *pg, void *arg, struct poly_error *err)
{
    const struct attaching *a = arg;
    enum poly_status status = poly_pg_exec(pg, "SELECT pg_advisory_xact_lock(1886350460, 1)", err);

    if (status == POLY_OK)
        status = poly_postgresql_unchanged(pg, a->self, err);
    if (status == POLY_OK)
        status = poly_postgresql_fill_note(pg, a->self, a->known, err);
    return status == POLY_OK ? poly_postgresql_functions(pg, a->self, err) : status;
}

static enum poly_status attach_one(struct poly_pg *pg, void *arg, struct poly_error *err)
{
    const struct attaching *a = arg;

    return poly_postgresql_attach(pg, a->self, a->relation, err);
}

/* effort NULL: in the open transaction. */
static enum poly_status attach(struct poly_pg *pg, struct attaching *a,
                               struct poly_postgresql_effort *effort, struct poly_error *err)
{
    enum poly_status status =
        effort == NULL ? prepare(pg, a, err)
                       : poly_postgresql_insist(pg, prepare, a, NULL, false, effort, err);
    PGresult *rows;

    if (status == POLY_OK)
        status = poly_postgresql_relations(pg, a->self, &rows, err);
    if (status != POLY_OK)
        return status;
    for (int row = 0; row < PQntuples(rows) && status == POLY_OK; row++) {
        a->relation = poly_pg_text(rows, row, 0).data;
        status = effort == NULL
                     ? attach_one(pg, a, err)
                     : poly_postgresql_insist(pg, attach_one, a, a->relation, false, effort, err);
    }
    PQclear(rows);
    return status;
}

/* What stands in the database of a table's triggers and records. */
struct standing {
    bool fit, known, noted; /* noted: not all rows were looked at */
    int present;            /* triggers */
};

static enum poly_status look(struct poly_pg *pg, const struct poly_postgresql_table *self,
                             struct standing *standing, struct poly_error *err)
{
    enum poly_status status = fits(pg, self, &standing->fit, &standing->present, err);

    if (status == POLY_OK)
        status = poly_postgresql_fill_noted(pg, self, &standing->noted, err);
    return status == POLY_OK ? is_known(pg, self, &standing->known, err) : status;
}

static enum poly_status put_right(struct poly_pg *pg, const struct poly_postgresql_table *self,
                                  const struct standing *standing,
                                  struct poly_postgresql_effort *effort, struct poly_error *err)
{
    struct attaching a = {.self = self, .known = standing->known};
    bool alone = !poly_pg_in_transaction(pg);
    enum poly_status status = POLY_OK;

    if (!standing->fit)
        status = attach(pg, &a, alone ? effort : NULL, err);
    if (status == POLY_OK && (!standing->fit || standing->noted))
        status = poly_postgresql_fill(pg, self, effort, err);
    return status;
}

enum poly_status poly_postgresql_follow(struct poly_pg *pg, struct poly_table *table,
                                        struct poly_postgresql_effort *effort,
                                        struct poly_error *err)
{
    const struct poly_postgresql_table *self = poly_postgresql_table(table);
    struct standing standing = {.fit = false};
    enum poly_status status = look(pg, self, &standing, err);

    if (status == POLY_OK)
        status = put_right(pg, self, &standing, effort, err);
    if (status == POLY_OK)
        status = poly_postgresql_wall_table(pg, self, effort, err);
    return status == POLY_OK ? POLY_OK : explain(pg, self, status, err);
}

/* --- at start, and in a migration --- */

static enum poly_status note_repair(struct poly_table *table, int present, int64_t written,
                                    struct poly_error *err)
{
    table->problem = poly_arena_printf(
        table->arena,
        "the triggers %s table '%s'; they were made anew, and %lld changes that the log had missed "
        "were written to it",
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

enum poly_status poly_postgresql_repair(struct poly_db *db, struct poly_table *table, bool start,
                                        struct poly_error *err)
{
    const struct poly_postgresql_table *self = poly_postgresql_table(table);
    struct poly_pg *pg = poly_pg_of(db);
    struct poly_postgresql_effort effort = {.until = poly_clock_monotonic() + START_US};
    struct standing standing = {.fit = false};
    enum poly_status status = look(pg, self, &standing, err);

    if (status != POLY_OK)
        return status;
    status = put_right(pg, self, &standing, &effort, err);
    if (status != POLY_OK)
        return start ? note_failure(pg, table, status, err) : explain(pg, self, status, err);
    if (start && !standing.fit && (standing.present > 0 || standing.known))
        status = note_repair(table, standing.present, effort.written, err);
    effort = (struct poly_postgresql_effort){.until = 0};
    if (status == POLY_OK && start) {
        struct poly_error ignored;

        (void)poly_postgresql_wall_table(pg, self, &effort,
                                         &ignored); /* noticed before it counts */
        return poly_pg_lost(pg) ? poly_fail(err, ignored.status, "%s", ignored.message) : POLY_OK;
    }
    return status == POLY_OK ? poly_postgresql_wall_table(pg, self, NULL, err) : status;
}

/* --- tables that no domain names any more --- */

static enum poly_status drop_one(struct poly_pg *pg, void *arg, struct poly_error *err)
{
    return poly_pg_exec(pg, arg, err);
}

static enum poly_status drop_all(struct poly_pg *pg, const PGresult *rows, struct poly_error *err)
{
    struct poly_postgresql_effort effort = {.until = poly_clock_monotonic() + TIDY_US};
    bool alone = !poly_pg_in_transaction(pg);
    enum poly_status status = POLY_OK;

    for (int row = 0; row < PQntuples(rows) && status == POLY_OK; row++) {
        char *sql = PQgetvalue(rows, row, 0);

        status = alone ? poly_postgresql_insist(pg, drop_one, sql, poly_pg_text(rows, row, 1).data,
                                                true, &effort, err)
                       : drop_one(pg, sql, err);
    }
    return status;
}

enum poly_status poly_postgresql_tidy(struct poly_relational *relational, struct poly_db *db,
                                      struct poly_error *err)
{
    const struct poly_config *config = relational->config;
    size_t room = poly_config_domains(config) * POLY_TRIGGER_EVENTS;
    struct poly_arena *arena = poly_arena_new(16 * 1024 * 1024);
    struct poly_text *names =
        arena == NULL ? NULL : poly_arena_array(arena, room * 2 + 1, sizeof(*names));
    struct poly_text *tables = names + room;
    struct poly_pg_params params;
    enum poly_status status = names == NULL ? poly_no_memory(err) : POLY_OK;
    int count = 0;
    PGresult *rows;

    for (size_t i = 0; i < room && status == POLY_OK; i++) {
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
