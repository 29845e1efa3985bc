/*
 * Migrations that are no transaction: indexes built while others write, and the
 * like. Statement by statement, each of which can run again, so that a file whose
 * runner was killed begins anew; a build that was interrupted has left an index that is
 * not valid, and is never used, which IF NOT EXISTS would take for the real one: it is dropped
 * first. Nothing but what is listed here: the log would not hear of it.
 *
 * Building such an index waits for everybody who has an older snapshot. Who waits
 * for the turn must have none, or the two would wait for each other: the lock
 * is asked for again and again, not waited for in a statement.
 */
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/limits.h"
#include "base/postgres_pool.h"
#include "stores/relational/postgresql.h"
#include "stores/relational/postgresql_word.h"

enum { PAUSE_NS = 50000000 };

_Atomic bool poly_control_turn = true;

static const char turn_try[] = "SELECT pg_try_advisory_lock(1886350460, 2)";
static const char turn_wait[] = "SELECT pg_advisory_lock(1886350460, 2)::text IS NOT NULL";

/* $1 the index that is to be built anew, or the table; $2 the name of the one that is to be built,
 * NULL: what REINDEX left. */
static const char leftovers[] =
    "WITH r AS (SELECT coalesce((SELECT indrelid::oid FROM pg_index"
    "  WHERE indexrelid = to_regclass($1)), to_regclass($1)) AS oid)"
    "SELECT format('DROP INDEX CONCURRENTLY IF EXISTS %s', i.indexrelid::regclass),"
    " format('LOCK TABLE %s IN SHARE UPDATE EXCLUSIVE MODE', i.indrelid::regclass)"
    " FROM r, pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
    " WHERE NOT i.indisvalid AND c.relkind = 'i' AND (i.indrelid = r.oid OR i.indrelid IN"
    "  (SELECT relid FROM pg_partition_tree(r.oid))) AND CASE WHEN $2::text IS NULL"
    "  THEN c.relname ~ '_cc(new|old)[0-9]*$' ELSE c.relname = (parse_ident($2))[1]::name END";

struct step {
    const char *text; /* of the file */
    const char *at;   /* the statement in it */
    size_t size;
    struct poly_word word;           /* that comes next */
    struct poly_text builds, inside; /* the names, as they stand there; empty: none */
    bool rebuilds;
};

/* --- what it says --- */

static bool accept(struct step *s, const char *word)
{
    if (!poly_word_is(&s->word, word))
        return false;
    poly_word_next(&s->word);
    return true;
}

static bool accept_sign(struct step *s, char sign)
{
    if (s->word.kind != POLY_WORD_SIGN || *s->word.at != sign)
        return false;
    poly_word_next(&s->word);
    return true;
}

/* a or "a"."b" */
static bool accept_name(struct step *s, struct poly_text *name)
{
    name->data = s->word.at;
    do {
        if (s->word.kind != POLY_WORD_PLAIN && s->word.kind != POLY_WORD_NAME)
            return false;
        name->size = (size_t)(s->word.at + s->word.size - name->data);
        poly_word_next(&s->word);
    } while (accept_sign(s, '.'));
    return true;
}

static bool is_create(struct step *s)
{
    if (!accept(s, "CREATE"))
        return false;
    (void)accept(s, "UNIQUE");
    if (!accept(s, "INDEX") || !accept(s, "CONCURRENTLY") || !accept(s, "IF") ||
        !accept(s, "NOT") || !accept(s, "EXISTS") || !accept_name(s, &s->builds) ||
        !accept(s, "ON"))
        return false;
    (void)accept(s, "ONLY");
    return accept_name(s, &s->inside);
}

static bool is_drop(struct step *s)
{
    return accept(s, "DROP") && accept(s, "INDEX") && accept(s, "CONCURRENTLY") &&
           accept(s, "IF") && accept(s, "EXISTS");
}

static bool is_reindex(struct step *s)
{
    if (!accept(s, "REINDEX"))
        return false;
    s->rebuilds = true;
    return (accept(s, "INDEX") || accept(s, "TABLE")) && accept(s, "CONCURRENTLY") &&
           accept_name(s, &s->inside);
}

static bool is_value(struct step *s)
{
    struct poly_text name;

    return accept(s, "ALTER") && accept(s, "TYPE") && accept_name(s, &name) && accept(s, "ADD") &&
           accept(s, "VALUE") && accept(s, "IF") && accept(s, "NOT") && accept(s, "EXISTS");
}

static bool is_setting(struct step *s)
{
    static const char *const names[] = {"lock_timeout", "statement_timeout", "maintenance_work_mem",
                                        "max_parallel_maintenance_workers"};

    if (!accept(s, "SET"))
        return false;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (poly_word_is(&s->word, names[i]))
            return true;
    }
    return false;
}

static bool is_upkeep(struct step *s)
{
    return accept(s, "VACUUM") || accept(s, "ANALYZE");
}

static enum poly_status judge(struct step *s, struct poly_error *err)
{
    static bool (*const known[])(struct step * s) = {is_create, is_drop,    is_reindex,
                                                     is_value,  is_setting, is_upkeep};

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        struct step read = *s;

        if (known[i](&read)) {
            *s = read;
            return POLY_OK;
        }
    }
    return poly_fail(err, POLY_DENIED,
                     "line %d: in a file that is no transaction there may only be CREATE INDEX "
                     "CONCURRENTLY IF NOT EXISTS name, DROP INDEX CONCURRENTLY IF EXISTS, REINDEX "
                     "INDEX or TABLE CONCURRENTLY, ALTER TYPE … ADD VALUE IF NOT EXISTS, VACUUM, "
                     "ANALYZE, and SET of timeouts and memory",
                     poly_migrate_line(s->text, s->at));
}

/* The next statement behind this one; *found false: there is none. */
static enum poly_status next(struct step *s, bool *found, struct poly_error *err)
{
    const char *text = s->text, *end;
    struct poly_word word;

    poly_word_first(&word, s->at + s->size);
    while (word.kind == POLY_WORD_SIGN && *word.at == ';')
        poly_word_next(&word);
    *s = (struct step){.text = text, .at = word.at, .word = word};
    *found = word.kind != POLY_WORD_END;
    for (end = word.at; word.kind != POLY_WORD_END; poly_word_next(&word)) {
        if (word.kind == POLY_WORD_BROKEN)
            return poly_fail(err, POLY_INVALID, "line %d: a quote or comment has no end",
                             poly_migrate_line(text, word.at));
        if (word.kind == POLY_WORD_SIGN && *word.at == ';')
            break;
        end = word.at + word.size;
    }
    s->size = (size_t)(end - s->at);
    return *found ? judge(s, err) : POLY_OK;
}

/* --- what an interrupted build has left --- */

static enum poly_status find(struct poly_pg *pg, const struct step *s, PGresult **rows,
                             struct poly_error *err)
{
    struct poly_pg_params params;

    poly_pg_params(&params);
    poly_pg_add_text(&params, s->inside);
    if (s->rebuilds)
        poly_pg_add_null(&params);
    else
        poly_pg_add_text(&params, s->builds);
    return poly_pg_run(pg, leftovers, &params, rows, err);
}

/* Who has the table locked is not building: what is not valid now will never be. */
static enum poly_status find_locked(struct poly_pg *pg, const struct step *s, const char *lock,
                                    PGresult **rows, struct poly_error *err)
{
    enum poly_status status = poly_pg_begin(pg, POLY_PG_COMMITTED, false, err);

    if (status == POLY_OK)
        status = poly_pg_exec(pg, lock, err);
    if (status == POLY_OK)
        status = find(pg, s, rows, err);
    if (status == POLY_OK) {
        status = poly_pg_commit(pg, err);
        if (status != POLY_OK)
            PQclear(*rows);
    }
    return status;
}

static enum poly_status clear(struct poly_pg *pg, const struct step *s, struct poly_error *err)
{
    PGresult *seen, *left = NULL;
    enum poly_status status = find(pg, s, &seen, err);

    if (status != POLY_OK)
        return status;
    if (PQntuples(seen) > 0)
        status = find_locked(pg, s, poly_pg_text(seen, 0, 1).data, &left, err);
    PQclear(seen);
    if (left == NULL || status != POLY_OK)
        return status;
    for (int row = 0; row < PQntuples(left) && status == POLY_OK; row++)
        status = poly_pg_exec(pg, poly_pg_text(left, row, 0).data, err);
    PQclear(left);
    return status;
}

/* --- running --- */

static enum poly_status run(struct poly_pg *pg, const struct step *s, struct poly_error *err)
{
    struct poly_buffer sql;
    enum poly_status status = s->inside.size > 0 ? clear(pg, s, err) : POLY_OK;
    int line = poly_migrate_line(s->text, s->at);

    poly_buffer_init(&sql, POLY_MAX_MIGRATION + 1);
    poly_buffer_add(&sql, s->at, s->size);
    if (status == POLY_OK)
        status = poly_buffer_ok(&sql) ? poly_pg_exec(pg, sql.data, err) : poly_no_memory(err);
    poly_buffer_release(&sql);
    if (status == POLY_EXISTS)
        status = POLY_INVALID;
    return status == POLY_OK ? POLY_OK : poly_fail_in(err, status, "line %d", line);
}

enum poly_status poly_postgresql_migrate_alone(struct poly_db *db, const char *text,
                                               struct poly_error *err)
{
    struct step s = {.text = text, .at = text};
    enum poly_status status = POLY_OK;
    bool found = true;

    while (status == POLY_OK && found)
        status = next(&s, &found, err);
    for (s = (struct step){.text = text, .at = text}; status == POLY_OK;) {
        status = next(&s, &found, err);
        if (status != POLY_OK || !found)
            break;
        status = run(poly_pg_of(db), &s, err);
    }
    return status;
}

enum poly_status poly_postgresql_migrate_turn(struct poly_db *db, struct poly_error *err)
{
    const struct timespec pause = {0, PAUSE_NS};
    struct poly_pg *pg = poly_pg_of(db);
    enum poly_status status = poly_pg_exec(pg, "SET client_min_messages = warning", err);
    bool ours = false;

    poly_pg_taint(pg); /* what ends its settings ends the lock */
    while (status == POLY_OK && !ours) {
        PGresult *rows;

        status = poly_pg_run(pg, atomic_load(&poly_control_turn) ? turn_try : turn_wait, NULL,
                             &rows, err);
        if (status != POLY_OK)
            break;
        ours = poly_pg_bool(rows, 0, 0);
        PQclear(rows);
        if (!ours)
            nanosleep(&pause, NULL);
    }
    return status;
}
