/*
 * Prepared statements, cached by the pointer of their text as base/sqlite.c
 * does. The first use of a text costs a round trip more: PREPARE and DESCRIBE
 * go out together, and the answer says which types the parameters have and
 * whether the result can come in binary.
 *
 * A prepared statement can go bad behind our back: DISCARD, or a table that changed under
 * "SELECT *". Both show as an error of the next use, before anything has happened; without a
 * transaction around it the statement is prepared anew and run again.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/postgres_inside.h"

/* Statements used among the last CACHE_RECENT are never given up. Each costs the server some ten
 * kilobytes. */
enum { CACHE_FIRST = 64, CACHE_MAX = 2048, CACHE_RECENT = 512 };

enum poly_status poly_pg_begin_call(struct poly_pg *pg, struct poly_error *err)
{
    pg->state[0] = '\0';
    pg->unknown = pg->temporary = pg->cancelled = pg->deciding = pg->unsynced = false;
    if (pg->each > 0)
        pg->deadline = poly_clock_monotonic() + pg->each;
    if (pg->lost)
        return poly_pg_lose(pg, POLY_UNAVAILABLE, "it was lost before", err);
    if (poly_pg_left(pg->deadline) == 0)
        return poly_fail(err, POLY_TIMEOUT, "the deadline passed");
    pg->deciding = PQtransactionStatus(pg->conn) == PQTRANS_IDLE;
    return POLY_OK;
}

/* --- the cache --- */

static struct poly_pg_statement *find(struct poly_pg_statement *cache, size_t size, const char *sql)
{
    size_t i = ((uintptr_t)sql * 0x9e3779b97f4a7c15ULL >> 32) & (size - 1);

    while (cache[i].sql != NULL && cache[i].sql != sql)
        i = (i + 1) & (size - 1);
    return &cache[i];
}

static void give_up(struct poly_pg *pg, struct poly_pg_statement *statement)
{
    /* Over its maximum the buffer takes no more, and the server keeps what is not named in it. */
    if (statement->name[0] != '\0')
        poly_buffer_printf(&pg->doomed, "DEALLOCATE %s;", statement->name);
    statement->name[0] = '\0';
    free(statement->types);
    statement->types = NULL;
}

void poly_pg_forget_all(struct poly_pg *pg)
{
    for (size_t i = 0; i < pg->cache_size; i++)
        free(pg->cache[i].types);
    if (pg->cache_size > 0)
        memset(pg->cache, 0, pg->cache_size * sizeof(*pg->cache));
    pg->cache_used = 0;
    poly_buffer_clear(&pg->doomed);
}

/* Doubles the table; at its maximum, gives up what was not used lately. */
static bool cache_grow(struct poly_pg *pg)
{
    bool full = pg->cache_size == CACHE_MAX;
    size_t size = full ? CACHE_MAX : pg->cache_size == 0 ? CACHE_FIRST : pg->cache_size * 2;
    struct poly_pg_statement *cache = calloc(size, sizeof(*cache));
    size_t kept = 0;

    if (cache == NULL)
        return false;
    for (size_t i = 0; i < pg->cache_size; i++) {
        struct poly_pg_statement *one = &pg->cache[i];

        if (one->sql == NULL)
            continue;
        if (one->name[0] == '\0' || (full && pg->tick - one->used > CACHE_RECENT)) {
            give_up(pg, one);
            continue;
        }
        *find(cache, size, one->sql) = *one;
        kept++;
    }
    poly_assert(kept * 2 < size);
    free(pg->cache);
    pg->cache = cache;
    pg->cache_size = size;
    pg->cache_used = kept;
    return true;
}

/* Each on its own: one that the server has forgotten already must not keep the others. */
static void bury(struct poly_pg *pg)
{
    char text[40], *next = pg->doomed.data;

    while (next != NULL && *next != '\0' && PQtransactionStatus(pg->conn) == PQTRANS_IDLE) {
        size_t size = strcspn(next, ";") + 1;

        snprintf(text, sizeof(text), "%.*s", (int)size, next);
        next += size;
        if (poly_pg_exec(pg, text, NULL) != POLY_OK && pg->lost)
            return;
    }
    if (next == NULL || *next == '\0')
        poly_buffer_clear(&pg->doomed);
}

bool poly_pg_stale(struct poly_pg *pg, const char *sql, const char *state)
{
    if (strcmp(state, "26000") == 0) { /* no such prepared statement */
        poly_pg_forget_all(pg);
        return true;
    }
    if (strcmp(state, "0A000") == 0 && pg->cache_size > 0) { /* its result has another type now */
        struct poly_pg_statement *slot = find(pg->cache, pg->cache_size, sql);
        bool known = slot->name[0] != '\0';

        give_up(pg, slot);
        return known;
    }
    return false;
}

uint64_t poly_pg_cached_text(const struct poly_pg *pg, const char *sql)
{
    return pg->cache_size == 0 ? 0 : find(pg->cache, pg->cache_size, sql)->text;
}

/* --- preparing --- */

/* Outside of a pipeline: one of its own, for one round trip. */
static enum poly_status prepare_alone(struct poly_pg *pg, const char *name, const char *sql,
                                      PGresult **described, struct poly_error *err)
{
    PGresult *prepared = NULL, *told = NULL, *end = NULL;
    enum poly_status status, ended;

    if (!PQenterPipelineMode(pg->conn))
        return poly_pg_fail(pg, NULL, NULL, err);
    if (!PQsendPrepare(pg->conn, name, sql, 0, NULL) || !PQsendDescribePrepared(pg->conn, name) ||
        !PQpipelineSync(pg->conn))
        return poly_pg_fail(pg, NULL, NULL, err);
    status = poly_pg_answer(pg, &prepared, err);
    if (status == POLY_OK && (status = poly_pg_check(pg, prepared, sql, err)) == POLY_OK)
        PQclear(prepared);
    ended = pg->lost ? POLY_UNAVAILABLE : poly_pg_answer(pg, &told, status == POLY_OK ? err : NULL);
    if (status == POLY_OK)
        status = ended;
    if (status == POLY_OK)
        status = poly_pg_check(pg, told, sql, err);
    else if (ended == POLY_OK)
        PQclear(told);
    if (ended == POLY_OK && !pg->lost) {
        ended = poly_pg_answer(pg, &end, status == POLY_OK ? err : NULL);
        PQclear(end);
    }
    if (ended != POLY_OK || !PQexitPipelineMode(pg->conn))
        pg->lost = true;
    if (status == POLY_OK && ended == POLY_OK)
        *described = told;
    else if (status == POLY_OK)
        PQclear(told);
    return status == POLY_OK ? ended : status;
}

static enum poly_status remember(struct poly_pg_statement *statement, const PGresult *described,
                                 struct poly_error *err)
{
    int count = PQnparams(described);
    Oid *types = calloc((size_t)count + 1, sizeof(*types));

    if (types == NULL)
        return poly_no_memory(err);
    for (int i = 0; i < count; i++)
        types[i] = PQparamtype(described, i);
    statement->types = types;
    statement->count = count;
    statement->binary = poly_pg_all_readable(described);
    return POLY_OK;
}

/* Prepares under the statement's name. */
static enum poly_status prepare(struct poly_pg *pg, const char *sql,
                                struct poly_pg_statement *statement, struct poly_error *err)
{
    PGresult *described;
    enum poly_status status =
        pg->pipe.open ? poly_pg_pipeline_prepare(pg, statement->name, sql, &described, err)
                      : prepare_alone(pg, statement->name, sql, &described, err);

    if (status != POLY_OK)
        return status;
    status = remember(statement, described, err);
    PQclear(described);
    return status;
}

enum poly_status poly_pg_prepare(struct poly_pg *pg, const char *sql,
                                 struct poly_pg_statement **statement, struct poly_error *err)
{
    struct poly_pg_statement *slot, made = {.sql = sql};
    enum poly_status status;

    if (pg->cache_size > 0) {
        slot = find(pg->cache, pg->cache_size, sql);
        if (slot->name[0] != '\0') {
            slot->used = ++pg->tick;
            *statement = slot;
            return POLY_OK;
        }
    }
    if (!pg->pipe.open && pg->doomed.size > 0)
        bury(pg);
    if (pg->cache_used * 2 >= pg->cache_size && !cache_grow(pg))
        return poly_no_memory(err);
    snprintf(made.name, sizeof(made.name), "poly%u", ++pg->numbers);
    made.text = poly_pg_text_hash(sql);
    status = prepare(pg, sql, &made, err);
    if (status != POLY_OK)
        return status;
    made.used = ++pg->tick;
    slot = find(pg->cache, pg->cache_size, sql);
    if (slot->sql == NULL)
        pg->cache_used++;
    *slot = made;
    *statement = slot;
    return POLY_OK;
}

/* --- running --- */

enum poly_status poly_pg_timed_answer(struct poly_pg *pg, uint64_t text, PGresult **result,
                                      struct poly_error *err)
{
    int64_t begun = pg->times == NULL ? 0 : poly_clock_monotonic();
    enum poly_status status = poly_pg_answer(pg, result, err);

    if (pg->times != NULL)
        poly_pg_times_add(pg->times, text, poly_clock_monotonic() - begun);
    return status;
}

enum poly_status poly_pg_send_statement(struct poly_pg *pg,
                                        const struct poly_pg_statement *statement,
                                        const struct poly_pg_params *params, struct poly_error *err)
{
    struct poly_pg_encoded *encoded = &pg->encoded;
    enum poly_status status =
        poly_pg_encode(encoded, params, statement->types, statement->count, err);

    if (status != POLY_OK)
        return status;
    if (PQsendQueryPrepared(pg->conn, statement->name, statement->count, encoded->values,
                            encoded->lengths, encoded->formats, statement->binary))
        return POLY_OK;
    return poly_pg_fail(pg, NULL, NULL, err);
}

static enum poly_status run(struct poly_pg *pg, const struct poly_pg_statement *statement,
                            const char *sql, const struct poly_pg_params *params, PGresult **result,
                            struct poly_error *err)
{
    PGresult *one;
    enum poly_status status = poly_pg_send_statement(pg, statement, params, err);

    if (status == POLY_OK)
        status = poly_pg_timed_answer(pg, statement->text, &one, err);
    if (status == POLY_OK)
        status = poly_pg_check(pg, one, sql, err);
    if (status == POLY_OK)
        *result = one;
    return status;
}

/* Whether the call may be made at all. */
static enum poly_status begin(struct poly_pg *pg, struct poly_error *err)
{
    poly_assert(!pg->pipe.open);
    return poly_pg_begin_call(pg, err);
}

enum poly_status poly_pg_run(struct poly_pg *pg, const char *sql,
                             const struct poly_pg_params *params, PGresult **result,
                             struct poly_error *err)
{
    struct poly_pg_statement *statement;
    enum poly_status status = begin(pg, err);

    for (int attempt = 0; status == POLY_OK; attempt++) {
        status = poly_pg_prepare(pg, sql, &statement, err);
        if (status != POLY_OK)
            break;
        status = run(pg, statement, sql, params, result, err);
        if (status == POLY_OK || pg->lost || !poly_pg_stale(pg, sql, pg->state))
            break;
        if (pg->deciding && attempt == 0) { /* no transaction is open */
            status = POLY_OK;
            continue;
        }
        pg->temporary = true;
        status = poly_fail_in(err, POLY_UNAVAILABLE, "a prepared statement has expired; try again");
        break;
    }
    return status;
}

enum poly_status poly_pg_run_once(struct poly_pg *pg, const char *sql,
                                  const struct poly_pg_params *params, PGresult **result,
                                  struct poly_error *err)
{
    struct poly_pg_statement statement = {.sql = sql, .text = poly_pg_text_hash(sql)};
    enum poly_status status = begin(pg, err);

    if (status == POLY_OK)
        status = prepare(pg, sql, &statement, err);
    if (status == POLY_OK)
        status = run(pg, &statement, sql, params, result, err);
    free(statement.types);
    return status;
}

enum poly_status poly_pg_done(struct poly_pg *pg, const char *sql,
                              const struct poly_pg_params *params, int64_t *changed,
                              struct poly_error *err)
{
    PGresult *result;
    enum poly_status status = poly_pg_run(pg, sql, params, &result, err);

    if (status != POLY_OK)
        return status;
    if (changed != NULL)
        *changed = poly_pg_changed(result);
    PQclear(result);
    return POLY_OK;
}

enum poly_status poly_pg_exec(struct poly_pg *pg, const char *sql, struct poly_error *err)
{
    PGresult *result;
    enum poly_status status = begin(pg, err);

    if (status != POLY_OK)
        return status;
    if (!PQsendQuery(pg->conn, sql))
        return poly_pg_fail(pg, NULL, NULL, err);
    status = poly_pg_answer(pg, &result, err);
    if (status == POLY_OK)
        status = poly_pg_check(pg, result, sql, err);
    if (status == POLY_OK)
        PQclear(result);
    return status;
}
