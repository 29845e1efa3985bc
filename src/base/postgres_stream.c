/*
 * Large reads by libpq's single-row mode. A cursor with FETCH was measured
 * beside it: rows in batches of a thousand cost a third more CPU here (their
 * memory is cold when it is read) and reach two thirds of the rate, and a
 * cursor is planned for its first rows and never in parallel. TCP holds the
 * server back while the caller works.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/postgres_inside.h"

enum { LOOK = 64 }; /* rows between two looks at the clock */

struct poly_pg_stream {
    struct poly_pg *pg;
    const char *sql;
    PGresult *row;
    unsigned rows;
    bool first, over; /* first: row has not been handed out yet */
};

static enum poly_status begin(struct poly_pg_stream *stream, const struct poly_pg_params *params,
                              struct poly_error *err)
{
    struct poly_pg *pg = stream->pg;
    struct poly_pg_statement *statement;
    enum poly_status status = poly_pg_begin_call(pg, err);

    if (status == POLY_OK)
        status = poly_pg_prepare(pg, stream->sql, &statement, err);
    if (status == POLY_OK)
        status = poly_pg_send_statement(pg, statement, params, err);
    if (status == POLY_OK && !PQsetSingleRowMode(pg->conn))
        status = poly_pg_fail(pg, NULL, NULL, err);
    return status;
}

/* Rows that keep coming are never waited for, so nobody else sees the deadline pass. */
static bool passed(struct poly_pg_stream *stream)
{
    if (++stream->rows % LOOK != 0 || poly_pg_left(stream->pg->deadline) != 0)
        return false;
    poly_pg_stop(stream->pg);
    stream->over = true;
    return true;
}

/* The next result: a row, or (NULL) the end. */
static enum poly_status receive(struct poly_pg_stream *stream, struct poly_error *err)
{
    struct poly_pg *pg = stream->pg;
    enum poly_status status = POLY_OK;
    PGresult *end;

    if (pg->each > 0)
        pg->deadline = poly_clock_monotonic() + pg->each;
    if (passed(stream))
        return poly_fail(err, POLY_TIMEOUT, "the deadline passed");
    if (PQisBusy(pg->conn))
        status = poly_pg_ready(pg, err);
    if (status != POLY_OK)
        return status;
    stream->row = PQgetResult(pg->conn);
    if (PQresultStatus(stream->row) == PGRES_SINGLE_TUPLE)
        return POLY_OK;
    /* What stands at the end says how it went. */
    end = stream->row;
    stream->row = NULL;
    stream->over = true;
    status = poly_pg_check(pg, end, stream->sql, err);
    if (status == POLY_OK)
        PQclear(end);
    while (!pg->lost && poly_pg_ready(pg, NULL) == POLY_OK && (end = PQgetResult(pg->conn)) != NULL)
        PQclear(end);
    return status;
}

/* The first row is waited for at once: what is wrong with the statement shows here. */
static enum poly_status start(struct poly_pg_stream *stream, const struct poly_pg_params *params,
                              struct poly_error *err)
{
    struct poly_pg *pg = stream->pg;
    bool alone = PQtransactionStatus(pg->conn) == PQTRANS_IDLE;
    enum poly_status status = begin(stream, params, err);

    if (status == POLY_OK)
        status = receive(stream, err);
    if (status == POLY_OK || pg->lost || !poly_pg_stale(pg, stream->sql, pg->state))
        return status;
    if (!alone) {
        pg->temporary = true;
        return poly_fail_in(err, POLY_UNAVAILABLE, "a prepared statement has expired; try again");
    }
    stream->over = false;
    status = begin(stream, params, err);
    return status == POLY_OK ? receive(stream, err) : status;
}

enum poly_status poly_pg_stream_open(struct poly_pg *pg, const char *sql,
                                     const struct poly_pg_params *params,
                                     struct poly_pg_stream **stream, struct poly_error *err)
{
    struct poly_pg_stream *self = calloc(1, sizeof(*self));
    enum poly_status status;

    if (self == NULL)
        return poly_no_memory(err);
    self->pg = pg;
    self->sql = sql;
    status = start(self, params, err);
    if (status != POLY_OK) {
        free(self);
        return status;
    }
    self->first = true;
    *stream = self;
    return POLY_OK;
}

enum poly_status poly_pg_stream_next(struct poly_pg_stream *stream, const PGresult **row,
                                     struct poly_error *err)
{
    enum poly_status status = POLY_OK;

    if (stream->first) {
        stream->first = false;
    } else {
        PQclear(stream->row);
        stream->row = NULL;
        if (!stream->over)
            status = receive(stream, err);
    }
    if (status == POLY_OK)
        *row = stream->row;
    else
        stream->over = true;
    return status;
}

void poly_pg_stream_close(struct poly_pg_stream *stream)
{
    if (stream == NULL)
        return;
    PQclear(stream->row);
    if (!stream->over)
        poly_pg_stop(stream->pg);
    free(stream);
}
