/*
 * Pipelines: what one request sends goes out together, and is answered
 * together. libpq keeps the order; what is kept here is how many results are
 * still to come, so that a failure can say which statement it was and leave
 * the connection clean, whatever the caller does next.
 *
 * A statement that is new to the connection must be described before it can be
 * sent (its types are not known), in the middle of a pipeline too. What is under way
 * is then received first, and kept until the caller asks for it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/postgres_inside.h"

static const char commit_text[] = "COMMIT";
static const char begin_word[] = "BEGIN";

static void clear_early(struct poly_pg_pipeline *pipe)
{
    for (int i = 0; i < pipe->early_count; i++)
        PQclear(pipe->early[pipe->early_first + i]);
    pipe->early_first = pipe->early_count = 0;
}

/*
 * Everything that is still to come up to the end of the pipeline is thrown away, but for a failure
 * there (err not NULL): a pipeline without a transaction around it commits at its end, after the
 * last statement was answered.
 */
static enum poly_status finish(struct poly_pg *pg, struct poly_error *err)
{
    enum poly_status status = POLY_OK;
    struct poly_pg_pipeline *pipe = &pg->pipe;
    int failed_at = pipe->failed_at;
    bool over = pg->lost;
    PGresult *result;

    clear_early(pipe);
    if (!over && !pipe->sent && !PQpipelineSync(pg->conn))
        pg->lost = over = true;
    for (int nothing = 0; !over;) {
        status = poly_pg_ready(pg, err);
        if (status != POLY_OK)
            break;
        result = PQgetResult(pg->conn);
        if (err != NULL && PQresultStatus(result) == PGRES_FATAL_ERROR)
            status = poly_pg_fail(pg, result, NULL, err);
        /* One NULL ends each statement; two of them, and nothing is to come. */
        nothing = result == NULL ? nothing + 1 : 0;
        over = PQresultStatus(result) == PGRES_PIPELINE_SYNC || nothing > 1;
        pg->lost = pg->lost || nothing > 1;
        PQclear(result);
    }
    if (pg->lost || !PQexitPipelineMode(pg->conn))
        pg->lost = true;
    *pipe = (struct poly_pg_pipeline){.early = pipe->early,
                                      .early_room = pipe->early_room,
                                      .texts = pipe->texts,
                                      .texts_room = pipe->texts_room,
                                      .failed_at = failed_at,
                                      .commit_at = -1};
    if (err != NULL && status == POLY_OK && pg->lost)
        status = poly_pg_lose(pg, POLY_UNAVAILABLE, "it broke off", err);
    if (err != NULL && status == POLY_OK)
        status = poly_pg_confirmed(pg, err);
    return err == NULL ? POLY_OK : status;
}

/* Ends the pipeline after the statement at index has failed. */
static enum poly_status abort_at(struct poly_pg *pg, int index, enum poly_status status)
{
    bool unknown = pg->unknown, temporary = pg->temporary;
    char state[6];

    memcpy(state, pg->state, sizeof(state));
    pg->pipe.failed_at = index;
    (void)finish(pg, NULL);
    /* What the draining met is no news. */
    memcpy(pg->state, state, sizeof(state));
    pg->unknown = unknown;
    pg->temporary = temporary;
    return status;
}

static enum poly_status open_pipeline(struct poly_pg *pg, struct poly_error *err)
{
    enum poly_status status = poly_pg_begin_call(pg, err);

    if (status != POLY_OK)
        return status;
    if (!PQenterPipelineMode(pg->conn))
        return poly_pg_fail(pg, NULL, NULL, err);
    pg->pipe.open = true;
    pg->pipe.failed_at = pg->pipe.commit_at = -1;
    return POLY_OK;
}

static bool keep_early(struct poly_pg_pipeline *pipe, PGresult *result)
{
    if (pipe->early_first + pipe->early_count == pipe->early_room) {
        int room = pipe->early_room == 0 ? 16 : pipe->early_room * 2;
        PGresult **early = realloc(pipe->early, (size_t)room * sizeof(PGresult *));

        if (early == NULL)
            return false;
        pipe->early = early;
        pipe->early_room = room;
    }
    pipe->early[pipe->early_first + pipe->early_count++] = result;
    return true;
}

/* Receives what was queued before; a bad result stays among them until the caller asks for it. */
static enum poly_status receive_early(struct poly_pg *pg, struct poly_error *err)
{
    struct poly_pg_pipeline *pipe = &pg->pipe;
    enum poly_status status = POLY_OK;
    PGresult *result;

    while (status == POLY_OK && pipe->taken + pipe->early_count < pipe->queued) {
        status = poly_pg_answer(pg, &result, err);
        if (status == POLY_OK && !keep_early(pipe, result)) {
            PQclear(result);
            pg->lost = true;
            status = poly_no_memory(err);
        }
    }
    return status;
}

static enum poly_status receive_described(struct poly_pg *pg, const char *sql, PGresult **described,
                                          struct poly_error *err)
{
    PGresult *result;
    enum poly_status status = poly_pg_answer(pg, &result, err);

    if (status == POLY_OK)
        status = poly_pg_check(pg, result, sql, err);
    if (status != POLY_OK)
        return status;
    PQclear(result);
    status = poly_pg_answer(pg, &result, err);
    if (status == POLY_OK)
        status = poly_pg_check(pg, result, sql, err);
    if (status == POLY_OK)
        *described = result;
    return status;
}

/* The first of those received early that has failed. */
static enum poly_status check_early(struct poly_pg *pg, int *index, struct poly_error *err)
{
    struct poly_pg_pipeline *pipe = &pg->pipe;

    for (int i = 0; i < pipe->early_count; i++) {
        PGresult *result = pipe->early[pipe->early_first + i];
        ExecStatusType is = PQresultStatus(result);

        if (is == PGRES_COMMAND_OK || is == PGRES_TUPLES_OK || is == PGRES_EMPTY_QUERY)
            continue;
        *index = pipe->taken + i;
        return poly_pg_fail(pg, result, NULL, err);
    }
    return POLY_OK;
}

enum poly_status poly_pg_pipeline_prepare(struct poly_pg *pg, const char *name, const char *sql,
                                          PGresult **described, struct poly_error *err)
{
    int index = pg->pipe.queued;
    enum poly_status status;

    if (!PQsendPrepare(pg->conn, name, sql, 0, NULL) || !PQsendDescribePrepared(pg->conn, name) ||
        !PQsendFlushRequest(pg->conn))
        return poly_pg_fail(pg, NULL, NULL, err);
    status = receive_early(pg, err);
    if (status == POLY_OK)
        status = check_early(pg, &index, err);
    if (status == POLY_OK)
        status = receive_described(pg, sql, described, err);
    pg->pipe.failed_at = status == POLY_OK ? -1 : index;
    return status;
}

/* For what is to be said when it fails. */
static bool keep_text(struct poly_pg_pipeline *pipe, const char *sql)
{
    if (pipe->queued == pipe->texts_room) {
        int room = pipe->texts_room == 0 ? 16 : pipe->texts_room * 2;
        const char **texts = realloc(pipe->texts, (size_t)room * sizeof(char *));

        if (texts == NULL)
            return false;
        pipe->texts = texts;
        pipe->texts_room = room;
    }
    pipe->texts[pipe->queued] = sql;
    return true;
}

enum poly_status poly_pg_queue(struct poly_pg *pg, const char *sql,
                               const struct poly_pg_params *params, struct poly_error *err)
{
    struct poly_pg_statement *statement;
    enum poly_status status;

    poly_assert(!pg->pipe.sent);
    if (!pg->pipe.open && (status = open_pipeline(pg, err)) != POLY_OK)
        return status;
    status =
        keep_text(&pg->pipe, sql) ? poly_pg_prepare(pg, sql, &statement, err) : poly_no_memory(err);
    if (status == POLY_OK)
        status = poly_pg_send_statement(pg, statement, params, err);
    /* What the server has refused ends the transaction that the pipeline is. What we refuse does
     * not: its end would commit what was queued before. */
    if (status != POLY_OK && pg->state[0] == '\0' && pg->deciding && pg->pipe.queued > 0)
        pg->lost = true;
    if (status != POLY_OK)
        return abort_at(pg, pg->pipe.failed_at < 0 ? pg->pipe.queued : pg->pipe.failed_at, status);
    pg->pipe.queued++;
    if (strncmp(sql, begin_word, strlen(begin_word)) == 0)
        pg->deciding = false;
    return POLY_OK;
}

enum poly_status poly_pg_queue_commit(struct poly_pg *pg, struct poly_error *err)
{
    enum poly_status status = poly_pg_queue(pg, commit_text, NULL, err);

    if (status != POLY_OK)
        return status;
    pg->pipe.commit_at = pg->pipe.queued - 1;
    pg->deciding = true;
    return POLY_OK;
}

enum poly_status poly_pg_send(struct poly_pg *pg, struct poly_error *err)
{
    if (!pg->pipe.open || pg->pipe.sent)
        return POLY_OK;
    if (!PQpipelineSync(pg->conn))
        return abort_at(pg, pg->pipe.taken, poly_pg_fail(pg, NULL, NULL, err));
    pg->pipe.sent = true;
    return POLY_OK;
}

/* COMMIT of a transaction that had failed is answered with success, and another word. */
enum poly_status poly_pg_check_commit(PGresult *result, struct poly_error *err)
{
    if (strcmp(PQcmdStatus(result), commit_text) == 0)
        return POLY_OK;
    PQclear(result);
    return poly_fail(err, POLY_CONFLICT,
                     "the transaction was rolled back, because a statement in it had failed");
}

static enum poly_status check(struct poly_pg *pg, PGresult *result, struct poly_error *err)
{
    const char *sql = pg->pipe.texts[pg->pipe.taken];
    enum poly_status status = poly_pg_check(pg, result, sql, err);

    if (status == POLY_OK || pg->lost || !poly_pg_stale(pg, sql, pg->state))
        return status;
    pg->temporary = true;
    return poly_fail_in(err, POLY_UNAVAILABLE, "a prepared statement has expired; try again");
}

static enum poly_status next(struct poly_pg *pg, PGresult **result, struct poly_error *err)
{
    struct poly_pg_pipeline *pipe = &pg->pipe;
    PGresult *one;
    enum poly_status status = POLY_OK;

    if (pipe->early_count > 0) {
        one = pipe->early[pipe->early_first++];
        if (--pipe->early_count == 0)
            pipe->early_first = 0;
    } else {
        status =
            poly_pg_timed_answer(pg, poly_pg_cached_text(pg, pipe->texts[pipe->taken]), &one, err);
    }
    if (status == POLY_OK)
        status = check(pg, one, err);
    if (status == POLY_OK && pipe->taken == pipe->commit_at)
        status = poly_pg_check_commit(one, err);
    if (status == POLY_OK)
        *result = one;
    return status;
}

enum poly_status poly_pg_next(struct poly_pg *pg, PGresult **result, struct poly_error *err)
{
    enum poly_status status = poly_pg_send(pg, err);

    poly_assert(poly_pg_queued(pg) > 0 || status != POLY_OK);
    if (status != POLY_OK)
        return status;
    status = next(pg, result, err);
    if (status != POLY_OK)
        return abort_at(pg, pg->pipe.taken, status);
    pg->pipe.taken++;
    if (pg->pipe.taken < pg->pipe.queued)
        return POLY_OK;
    status = finish(pg, err);
    if (status != POLY_OK)
        PQclear(*result);
    return status;
}

int poly_pg_queued(const struct poly_pg *pg)
{
    return pg->pipe.queued - pg->pipe.taken;
}

int poly_pg_failed_at(const struct poly_pg *pg)
{
    return pg->pipe.failed_at;
}

void poly_pg_drop(struct poly_pg *pg)
{
    if (pg->pipe.open)
        (void)finish(pg, NULL);
}

void poly_pg_forsake(struct poly_pg *pg)
{
    if (!pg->pipe.open)
        return;
    pg->lost = pg->lost || (pg->deciding && !pg->pipe.sent && pg->pipe.queued > 0);
    (void)finish(pg, NULL);
}
