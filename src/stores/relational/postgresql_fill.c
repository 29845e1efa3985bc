/*
 * Bringing the log up to the rows of a table that is in use. Its triggers stand already, so
 * what is still to be done is what was there before them: records whose rows are
 * gone get a '$delete', rows that the log has not, or not as they are, a '$put'.
 *
 * It is done a page at a time, in brief transactions. A page of rows is locked against
 * changes first, and then logged by a statement that sees what the writers who came before have
 * logged themselves. That a row is gone is found without a lock; where one is, the table
 * is locked for the moment of writing it, because a row of that key that somebody is just
 * inserting cannot be seen.
 *
 * How far it is stands in poly.meta, changed with each page: whoever goes on after a crash,
 * or works beside another one, takes the next page.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "stores/relational/postgresql.h"

enum { PAGE = 500 /* rows */ };
enum { GONE, ROWS }; /* in this order */

static const char note_put[] =
    "INSERT INTO poly.meta(name, number) VALUES ('fill ' || $1, $2)"
    " ON CONFLICT (name) DO UPDATE SET number = excluded.number, value = NULL";
static const char note_is[] = "SELECT EXISTS (SELECT 1 FROM poly.meta WHERE name = 'fill ' || $1)";
static const char note_get[] =
    "SELECT number, value FROM poly.meta WHERE name = 'fill ' || $1 FOR UPDATE";
static const char note_move[] =
    "UPDATE poly.meta SET number = $2, value = $3 WHERE name = 'fill ' || $1";
static const char note_end[] = "DELETE FROM poly.meta WHERE name = 'fill ' || $1";

/* With the place as a parameter that is not known, an index would be read from its beginning. */
static const char plans[] = "SET LOCAL plan_cache_mode = 'force_custom_plan';"
                            "SET LOCAL row_security = off";

/* Of about how many rows. */
static const char estimate[] =
    "SELECT coalesce(sum(greatest(reltuples, 0)), 0)::bigint FROM pg_class"
    " WHERE oid = to_regclass($1) OR oid IN (SELECT relid FROM pg_partition_tree(to_regclass($1)))";

/* --- what is noted --- */

static void name_of(struct poly_pg_params *params, const struct poly_postgresql_table *self)
{
    poly_pg_params(params);
    poly_pg_add_text(params, poly_text(self->base.domain->name));
}

enum poly_status poly_postgresql_fill_note(struct poly_pg *pg,
                                           const struct poly_postgresql_table *self, bool known,
                                           struct poly_error *err)
{
    struct poly_pg_params params;

    name_of(&params, self);
    poly_pg_add_int(&params, known ? GONE : ROWS);
    return poly_pg_done(pg, note_put, &params, NULL, err);
}

enum poly_status poly_postgresql_fill_noted(struct poly_pg *pg,
                                            const struct poly_postgresql_table *self, bool *noted,
                                            struct poly_error *err)
{
    struct poly_pg_params params;
    PGresult *rows;
    enum poly_status status;

    name_of(&params, self);
    status = poly_pg_run(pg, note_is, &params, &rows, err);
    if (status != POLY_OK)
        return status;
    *noted = poly_pg_bool(rows, 0, 0);
    PQclear(rows);
    return POLY_OK;
}

/* --- a page --- */

struct filling {
    const struct poly_postgresql_table *self;
    int64_t phase, page;      /* rows of it */
    struct poly_buffer place; /* where the one before ended: a text, NUL, a text; or empty */
    bool placed, over;
    int64_t rows, written; /* of this page */
    int64_t total;
};

/* FOR UPDATE: of two who fill one table, the other waits, and goes on behind us. */
static enum poly_status look(struct poly_pg *pg, struct filling *f, struct poly_error *err)
{
    struct poly_pg_params params;
    PGresult *rows;
    enum poly_status status;

    name_of(&params, f->self);
    status = poly_pg_run(pg, note_get, &params, &rows, err);
    if (status != POLY_OK)
        return status;
    f->over = PQntuples(rows) == 0;
    poly_buffer_clear(&f->place);
    f->placed = !f->over && !poly_pg_null(rows, 0, 1);
    if (!f->over)
        f->phase = poly_pg_int(rows, 0, 0);
    if (f->placed) {
        struct poly_text place = poly_pg_bytes(rows, 0, 1);

        poly_buffer_add(&f->place, place.data, place.size);
    }
    PQclear(rows);
    return poly_buffer_ok(&f->place) ? POLY_OK : poly_no_memory(err);
}

static void add_place(struct poly_pg_params *params, const struct filling *f)
{
    const char *end = f->placed ? memchr(f->place.data, '\0', f->place.size) : NULL;
    size_t first = end == NULL ? f->place.size : (size_t)(end - f->place.data);

    poly_pg_params(params);
    if (!f->placed)
        poly_pg_add_null(params);
    else
        poly_pg_add_text(params, (struct poly_text){f->place.data, first});
    if (end == NULL)
        poly_pg_add_null(params);
    else
        poly_pg_add_text(params, (struct poly_text){end + 1, f->place.size - first - 1});
}

/* The two columns of a result. The second is null where the primary key has one column. */
static void move(struct filling *f, const PGresult *rows, int column)
{
    struct poly_text first = poly_pg_text(rows, 0, column),
                     second = poly_pg_text(rows, 0, column + 1);

    poly_buffer_clear(&f->place);
    f->placed = true;
    poly_buffer_add(&f->place, first.data, first.size);
    if (poly_pg_null(rows, 0, column + 1))
        return;
    poly_buffer_char(&f->place, '\0');
    poly_buffer_add(&f->place, second.data, second.size);
}

/* The next page begins behind this one, or with the rows, or there is none. */
static enum poly_status keep(struct poly_pg *pg, struct filling *f, struct poly_error *err)
{
    struct poly_pg_params params;

    if (!poly_buffer_ok(&f->place))
        return poly_no_memory(err);
    name_of(&params, f->self);
    f->over = f->rows < f->page && f->phase == ROWS;
    if (f->over)
        return poly_pg_done(pg, note_end, &params, NULL, err);
    if (f->rows < f->page) {
        f->phase = ROWS;
        f->placed = false;
    }
    poly_pg_add_int(&params, f->phase);
    if (f->placed)
        poly_pg_add_bytes(&params, f->place.data == NULL ? "" : f->place.data, f->place.size);
    else
        poly_pg_add_null(&params);
    return poly_pg_done(pg, note_move, &params, NULL, err);
}

static enum poly_status lock_table(struct poly_pg *pg, const struct poly_postgresql_table *self,
                                   struct poly_error *err)
{
    struct poly_buffer sql;
    enum poly_status status;

    poly_buffer_init(&sql, 4096);
    poly_buffer_printf(&sql, "LOCK TABLE %s IN SHARE MODE", self->name);
    status = poly_buffer_ok(&sql) ? poly_pg_exec(pg, sql.data, err) : poly_no_memory(err);
    poly_buffer_release(&sql);
    return status;
}

static enum poly_status log_gone(struct poly_pg *pg, struct filling *f, struct poly_error *err)
{
    struct poly_pg_params params;
    int64_t gone;
    PGresult *rows;
    enum poly_status status;

    add_place(&params, f);
    poly_pg_add_int(&params, f->page);
    status = poly_pg_run(pg, f->self->find_gone, &params, &rows, err);
    if (status != POLY_OK)
        return status;
    gone = poly_pg_int(rows, 0, 0);
    f->rows = poly_pg_int(rows, 0, 1);
    if (gone > 0)
        status = lock_table(pg, f->self, err);
    if (status == POLY_OK && gone > 0)
        status = poly_pg_done(pg, f->self->log_gone, &params, &f->written, err);
    if (status == POLY_OK && f->rows > 0)
        move(f, rows, 2);
    PQclear(rows);
    return status;
}

static enum poly_status log_rows(struct poly_pg *pg, struct filling *f, struct poly_error *err)
{
    struct poly_pg_params params;
    PGresult *last;
    enum poly_status status;

    add_place(&params, f);
    poly_pg_add_int(&params, f->page);
    status = poly_pg_run(pg, f->self->lock_rows, &params, &last, err);
    if (status != POLY_OK)
        return status;
    if (PQntuples(last) == 1) {
        f->rows = poly_pg_int(last, 0, 0);
        add_place(&params, f);
        for (int column = 1; column <= 2; column++) {
            if (poly_pg_null(last, 0, column))
                poly_pg_add_null(&params);
            else
                poly_pg_add_text(&params, poly_pg_text(last, 0, column));
        }
        status = poly_pg_done(pg, f->self->log_rows, &params, &f->written, err);
        move(f, last, 1);
    }
    PQclear(last);
    return status;
}

static enum poly_status fill_page(struct poly_pg *pg, void *arg, struct poly_error *err)
{
    struct filling *f = arg;
    enum poly_status status = poly_pg_exec(pg, plans, err);

    f->rows = f->written = 0;
    if (status == POLY_OK)
        status = look(pg, f, err);
    if (status != POLY_OK || f->over)
        return status;
    status = f->phase == GONE ? log_gone(pg, f, err) : log_rows(pg, f, err);
    return status == POLY_OK ? keep(pg, f, err) : status;
}

/* --- page by page --- */

static enum poly_status estimate_rows(struct poly_pg *pg, struct filling *f, struct poly_error *err)
{
    struct poly_pg_params params;
    PGresult *rows;
    enum poly_status status;

    poly_pg_params(&params);
    poly_pg_add_text(&params, poly_text(f->self->name));
    status = poly_pg_run(pg, estimate, &params, &rows, err);
    if (status != POLY_OK)
        return status;
    f->total = poly_pg_int(rows, 0, 0);
    PQclear(rows);
    return POLY_OK;
}

static enum poly_status told(const struct filling *f, struct poly_postgresql_effort *effort,
                             struct poly_error *err)
{
    effort->rows += f->phase == ROWS ? f->rows : 0;
    effort->written += f->written;
    if (effort->tell == NULL ||
        effort->tell(effort->arg, (uint64_t)effort->rows, (uint64_t)f->total))
        return POLY_OK;
    return poly_fail(err, POLY_TIMEOUT,
                     "stopped; what was done is kept, and goes on the next time");
}

static enum poly_status give_up(const char *relation, const struct poly_postgresql_effort *effort,
                                bool clash, struct poly_error *err)
{
    char why[sizeof(err->message)];

    snprintf(why, sizeof(why), "%s", err->message);
    if (clash)
        return poly_fail(err, POLY_TIMEOUT, "%s", why);
    if (relation == NULL)
        return poly_fail(err, POLY_TIMEOUT,
                         "another process is making triggers, or migrating; it was waited for");
    return poly_fail(err, POLY_TIMEOUT, "%s is held by %s", relation,
                     effort->holder[0] == '\0' ? "another transaction" : effort->holder);
}

enum poly_status poly_postgresql_insist(struct poly_pg *pg, poly_pg_work *work, void *arg,
                                        const char *relation, bool exclusive,
                                        struct poly_postgresql_effort *effort,
                                        struct poly_error *err)
{
    enum poly_status status;
    bool clash;

    for (;;) {
        status = poly_pg_brief(pg, work, arg, err);
        if (status == POLY_OK || !poly_pg_delayed(pg, status))
            return status;
        clash = strcmp(poly_pg_state(pg), "XX000") == 0;
        if (relation != NULL)
            (void)poly_pg_holder(pg, relation, exclusive, effort->holder, sizeof(effort->holder));
        if (effort->tell != NULL && !effort->tell(effort->arg, (uint64_t)effort->rows, 0))
            return poly_fail(err, POLY_TIMEOUT, "stopped");
        if (poly_clock_monotonic() >= effort->until)
            return give_up(relation, effort, clash, err);
        poly_pg_pause();
    }
}

/* A single row takes the time that it takes: nothing else is locked. */
static enum poly_status fill_row(struct poly_pg *pg, struct filling *f, struct poly_error *err)
{
    enum poly_status status = poly_pg_begin(pg, POLY_PG_COMMITTED, false, err);

    if (status == POLY_OK)
        status = fill_page(pg, f, err);
    if (status == POLY_OK)
        status = poly_pg_commit(pg, err);
    if (status != POLY_OK)
        poly_pg_roll_back(pg);
    return status;
}

/* A page that cannot be done in time is halved. */
static enum poly_status fill_brief(struct poly_pg *pg, struct filling *f,
                                   struct poly_postgresql_effort *effort, struct poly_error *err)
{
    enum poly_status status = poly_pg_brief(pg, fill_page, f, err);

    while (status == POLY_TIMEOUT && poly_pg_delayed(pg, status) && f->page > 1) {
        f->page /= 2;
        status = poly_pg_brief(pg, fill_page, f, err);
    }
    if (status == POLY_TIMEOUT && f->page == 1)
        return fill_row(pg, f, err);
    if (status == POLY_OK && f->page < PAGE)
        f->page *= 2;
    if (status == POLY_OK || !poly_pg_delayed(pg, status))
        return status;
    return poly_postgresql_insist(pg, fill_page, f, f->self->name, false, effort, err);
}

enum poly_status poly_postgresql_fill(struct poly_pg *pg, const struct poly_postgresql_table *self,
                                      struct poly_postgresql_effort *effort, struct poly_error *err)
{
    struct filling f = {.self = self, .page = PAGE};
    bool alone = !poly_pg_in_transaction(pg);
    enum poly_status status = estimate_rows(pg, &f, err);

    poly_buffer_init(&f.place, 2 * POLY_MAX_VALUE);
    while (status == POLY_OK && !f.over) {
        status = alone ? fill_brief(pg, &f, effort, err) : fill_page(pg, &f, err);
        if (status == POLY_OK)
            status = told(&f, effort, err);
    }
    poly_buffer_release(&f.place);
    return status;
}
