/*
 * Large reads through a cursor, a batch a FETCH. While the caller works on one batch the server
 * makes the next: the request for it is sent as soon as this one is whole, so memory holds two at
 * most. libpq's single-row mode needs no cursor, but makes a result of its own of each row.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "base/postgres_inside.h"

struct poly_pg_stream {
    struct poly_pg *pg;
    PGresult *rows;
    int batch;
    bool binary, asked, over;
    char fetch[64];
};

/* All rows are wanted, not the first ones soon. */
static const char plan_for_all[] = "SET LOCAL cursor_tuple_fraction = 1";
static const char declare[] = "DECLARE poly_stream NO SCROLL CURSOR FOR ";
static const char cursor[] = "poly_stream";
static const char close_cursor[] = "CLOSE poly_stream";

static enum poly_status declare_cursor(struct poly_pg *pg, const char *sql,
                                       const struct poly_pg_params *params, struct poly_error *err)
{
    struct poly_buffer text;
    PGresult *result;
    enum poly_status status;

    poly_buffer_init(&text, POLY_MAX_SQL + sizeof(declare));
    poly_buffer_text(&text, declare);
    poly_buffer_text(&text, sql);
    status = poly_buffer_ok(&text) ? poly_pg_run_once(pg, text.data, params, &result, err)
                                   : poly_no_memory(err);
    poly_buffer_release(&text);
    if (status == POLY_OK)
        PQclear(result);
    return status;
}

static enum poly_status describe(struct poly_pg *pg, bool *binary, struct poly_error *err)
{
    PGresult *result;
    enum poly_status status;

    if (!PQsendDescribePortal(pg->conn, cursor))
        return poly_pg_fail(pg, NULL, NULL, err);
    status = poly_pg_answer(pg, &result, err);
    if (status == POLY_OK)
        status = poly_pg_check(pg, result, NULL, err);
    if (status != POLY_OK)
        return status;
    *binary = poly_pg_all_readable(result);
    PQclear(result);
    return POLY_OK;
}

static enum poly_status ask(struct poly_pg_stream *stream, struct poly_error *err)
{
    if (!PQsendQueryParams(stream->pg->conn, stream->fetch, 0, NULL, NULL, NULL, NULL,
                           stream->binary))
        return poly_pg_fail(stream->pg, NULL, NULL, err);
    stream->asked = true;
    return POLY_OK;
}

enum poly_status poly_pg_stream_open(struct poly_pg *pg, const char *sql,
                                     const struct poly_pg_params *params, int batch,
                                     struct poly_pg_stream **stream, struct poly_error *err)
{
    struct poly_pg_stream *self;
    enum poly_status status;

    if (PQtransactionStatus(pg->conn) != PQTRANS_INTRANS)
        return poly_fail(err, POLY_INVALID, "a stream needs an open transaction");
    self = calloc(1, sizeof(*self));
    if (self == NULL)
        return poly_no_memory(err);
    self->pg = pg;
    self->batch = batch;
    snprintf(self->fetch, sizeof(self->fetch), "FETCH FORWARD %d FROM %s", batch, cursor);
    status = poly_pg_done(pg, plan_for_all, NULL, NULL, err);
    if (status == POLY_OK)
        status = declare_cursor(pg, sql, params, err);
    if (status == POLY_OK)
        status = describe(pg, &self->binary, err);
    if (status == POLY_OK)
        status = ask(self, err);
    if (status != POLY_OK) {
        free(self);
        return status;
    }
    *stream = self;
    return POLY_OK;
}

static enum poly_status receive(struct poly_pg_stream *stream, struct poly_error *err)
{
    PGresult *rows;
    enum poly_status status;

    stream->asked = false;
    status = poly_pg_answer(stream->pg, &rows, err);
    if (status == POLY_OK)
        status = poly_pg_check(stream->pg, rows, NULL, err);
    if (status != POLY_OK) {
        stream->over = true;
        return status;
    }
    PQclear(stream->rows);
    stream->rows = rows;
    stream->over = PQntuples(rows) < stream->batch;
    return stream->over ? POLY_OK : ask(stream, err);
}

enum poly_status poly_pg_stream_next(struct poly_pg_stream *stream, const PGresult **rows,
                                     struct poly_error *err)
{
    enum poly_status status = POLY_OK;

    if (stream->asked) {
        status = receive(stream, err);
    } else {
        PQclear(stream->rows);
        stream->rows = PQmakeEmptyPGresult(stream->pg->conn, PGRES_TUPLES_OK);
        if (stream->rows == NULL)
            status = poly_no_memory(err);
    }
    if (status == POLY_OK)
        *rows = stream->rows;
    return status;
}

void poly_pg_stream_close(struct poly_pg_stream *stream)
{
    PGresult *rest;

    if (stream == NULL)
        return;
    if (stream->asked && !stream->pg->lost && poly_pg_answer(stream->pg, &rest, NULL) == POLY_OK)
        PQclear(rest);
    PQclear(stream->rows);
    if (PQtransactionStatus(stream->pg->conn) == PQTRANS_INTRANS && !stream->pg->lost)
        (void)poly_pg_exec(stream->pg, close_cursor, NULL);
    free(stream);
}
