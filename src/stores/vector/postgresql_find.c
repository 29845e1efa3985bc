/*
 * A search is one statement, ordered by the operator, ascending, so that the index gives its rows
 * in that order (a similarity, descending, would be computed for all). Where the index ends before
 * so many are found as were asked for, because a filter or tenant lets too few of its candidates
 * through, the same is asked once more without it: so many come back whenever so many match.
 *
 * An order by the operator plus 0 is one that no index has: this is how an exact search is asked
 * for.
 */
#include <math.h>
#include <string.h>

#include "base/limits.h"
#include "followers/filter.h"
#include "followers/postgresql_filter.h"
#include "followers/where.h"
#include "stores/vector/postgresql.h"

enum { EF_MAX = 1000, PARAMS_MAX = 8 + 2 * POLY_MAX_FILTERS };

/* One round trip with the search, when the connection has it otherwise. */
static const char set_ef[] = "SELECT set_config('hnsw.ef_search', $1, false)";
static const char set_iterative[] = "SELECT set_config('hnsw.ef_search', $1, false),"
                                    " set_config('hnsw.iterative_scan', 'strict_order', false)";

struct find {
    struct poly_pgv *self;
    const struct poly_follower_generation *generation;
    const struct poly_pgv_collection *collection;
    struct poly_pg *pg;
    const struct poly_vector_request *request;
    struct poly_arena *arena;
    struct poly_text vector; /* as it is sent */
    struct poly_matches *matches;
    struct poly_error *err;
};

/* --- may it be asked? --- */

static enum poly_status check_compare(void *arg, const struct poly_filter *filter)
{
    const struct find *f = arg;
    enum poly_status status = poly_follower_filter_check("vector", filter, f->err);

    if (status != POLY_OK)
        return status;
    return poly_filter_place(f->collection->names, f->collection->shape.filter_count,
                             filter->column) >= 0
               ? POLY_OK
               : poly_fail(f->err, POLY_INVALID,
                           "filter on '%.60s': domain '%s' does not list it under vector: filters",
                           filter->column, f->collection->base.name);
}

static enum poly_status check_group(const struct find *f)
{
    const char *group = f->request->group;

    if (group == NULL ||
        poly_filter_place(f->collection->names, f->collection->shape.filter_count, group) >= 0)
        return POLY_OK;
    return poly_fail(f->err, POLY_INVALID,
                     "group by '%.60s': domain '%s' does not list it under vector: filters", group,
                     f->collection->base.name);
}

/* --- whose vector --- */

static enum poly_status find_like(struct find *f)
{
    const struct poly_vector_request *r = f->request;
    struct poly_pg_params params;
    PGresult *rows;
    bool found;
    enum poly_status status;

    poly_pg_params(&params);
    poly_pg_add_text(&params, r->scope.tenant);
    poly_pg_add_text(&params, r->like);
    status = poly_pg_run(f->pg, f->collection->like, &params, &rows, f->err);
    if (status != POLY_OK)
        return status;
    found = PQntuples(rows) > 0;
    if (found) {
        struct poly_text bytes = poly_pg_bytes(rows, 0, 0);

        f->vector.size = bytes.size;
        f->vector.data = poly_arena_copy(f->arena, bytes.data, bytes.size);
    }
    PQclear(rows);
    if (!found)
        return poly_fail(f->err, POLY_NOT_FOUND, "domain '%s': no record '%.*s' with a vector",
                         f->collection->base.name, (int)(r->like.size > 64 ? 64 : r->like.size),
                         r->like.data);
    return f->vector.data == NULL ? poly_no_memory(f->err) : POLY_OK;
}

/* --- the statement --- */

struct print {
    struct find *f;
    struct poly_buffer *out;
    struct poly_pg_params *params;
};

static enum poly_status print_where(struct print *p, const struct poly_where *where)
{
    const struct poly_pgv_collection *c = p->f->collection;
    struct poly_follower_filtering filtering = {.names = c->names,
                                                .name_count = c->shape.filter_count,
                                                .time_as_number = p->f->self->base.time_as_number &&
                                                                  !c->base.stream,
                                                .arena = p->f->arena,
                                                .params = p->params};

    return poly_follower_where_print(&filtering, where, p->out, p->f->err);
}

static enum poly_status print_conditions(struct print *p)
{
    const struct poly_vector_request *r = p->f->request;

    poly_buffer_printf(
        p->out, " FROM poly_vector.entries_%llu_%lld AS d WHERE d.embedding IS NOT NULL",
        (unsigned long long)p->f->generation->number, (long long)p->f->collection->base.number);
    if (!r->scope.all_tenants) {
        poly_pg_add_text(p->params, r->scope.tenant);
        poly_buffer_printf(p->out, " AND d.tenant = $%d", p->params->count);
    }
    if (r->like.data != NULL) {
        poly_pg_add_text(p->params, r->like);
        poly_buffer_printf(p->out, " AND d.key <> $%d", p->params->count);
    }
    if (r->where == NULL)
        return POLY_OK;
    poly_buffer_text(p->out, " AND ");
    return print_where(p, r->where);
}

static void print_bounds(struct print *p)
{
    poly_pg_add_int(p->params, p->f->request->limit);
    poly_buffer_printf(p->out, " LIMIT $%d::bigint", p->params->count);
    poly_pg_add_int(p->params, p->f->request->offset);
    poly_buffer_printf(p->out, " OFFSET $%d::bigint", p->params->count);
}

static void print_columns(struct print *p)
{
    const struct poly_pgv_collection *c = p->f->collection;

    poly_buffer_printf(p->out, "SELECT d.key, d.version, (d.embedding %s $1)::float8 AS distance",
                       c->operator);
    if (p->f->request->vectors)
        poly_buffer_printf(p->out, ", %s(d.embedding) AS vector", c->send);
}

/* The nearest of each value of a column: the server numbers them. */
static enum poly_status print_grouped(struct print *p)
{
    const struct poly_vector_request *r = p->f->request;
    const struct poly_pgv_collection *c = p->f->collection;
    int place = poly_filter_place(c->names, c->shape.filter_count, r->group);
    enum poly_status status;

    poly_buffer_printf(p->out, "SELECT key, version, distance%s FROM (",
                       r->vectors ? ", vector" : "");
    print_columns(p);
    poly_buffer_printf(p->out,
                       ", row_number() OVER (PARTITION BY coalesce(d.filters->%d, 'null')"
                       " ORDER BY d.embedding %s $1, d.key) AS place",
                       place, c->operator);
    status = print_conditions(p);
    poly_pg_add_int(p->params, r->group_limit);
    poly_buffer_printf(p->out, ") AS g WHERE place <= $%d::bigint ORDER BY distance, key",
                       p->params->count);
    print_bounds(p);
    return status;
}

static enum poly_status print_search(struct print *p, bool exact)
{
    enum poly_status status;

    if (p->f->request->group != NULL)
        return print_grouped(p);
    print_columns(p);
    status = print_conditions(p);
    poly_buffer_printf(p->out, " ORDER BY %sd.embedding %s $1%s, d.key", exact ? "(" : "",
                       p->f->collection->operator, exact ? ") + 0" : "");
    print_bounds(p);
    return status;
}

/* --- asking --- */

static enum poly_status send_ef(struct find *f, int ef)
{
    struct poly_pg_params params;
    char text[16];
    int size = snprintf(text, sizeof(text), "%d", ef);

    poly_pg_params(&params);
    poly_pg_add_text(&params, (struct poly_text){text, (size_t)size});
    return poly_pg_queue(f->pg, f->self->iterative ? set_iterative : set_ef, &params, f->err);
}

static enum poly_status take_both(struct find *f, PGresult **rows)
{
    PGresult *set = NULL;
    enum poly_status status = poly_pg_next(f->pg, &set, f->err);

    PQclear(set);
    if (status == POLY_OK)
        status = poly_pg_next(f->pg, rows, f->err);
    if (status != POLY_OK && poly_pg_queued(f->pg) > 0)
        poly_pg_drop(f->pg);
    return status;
}

static int ef_of(const struct find *f)
{
    uint64_t wanted = (uint64_t)f->request->limit + f->request->offset;

    wanted = wanted < f->request->ef ? f->request->ef : wanted;
    return wanted < EF_MAX ? (int)wanted : EF_MAX;
}

static enum poly_status run(struct find *f, const char *sql, const struct poly_pg_params *params,
                            bool exact, PGresult **rows)
{
    const char *form = poly_follower_form(&f->self->base, f->generation, sql);
    int ef = ef_of(f);
    enum poly_status status;

    if (form == NULL && (exact || poly_pg_note(f->pg) == ef))
        return poly_pg_run_once(f->pg, sql, params, rows, f->err);
    if (exact || poly_pg_note(f->pg) == ef)
        return poly_pg_run(f->pg, form, params, rows, f->err);
    poly_pg_set_note(f->pg, 0);
    status = send_ef(f, ef);
    if (status == POLY_OK && form != NULL)
        status = poly_pg_queue(f->pg, form, params, f->err);
    if (status == POLY_OK && form != NULL)
        status = take_both(f, rows);
    else if (status == POLY_OK) {
        poly_pg_drop(f->pg);
        status = poly_pg_run_once(f->pg, sql, params, rows, f->err);
    }
    if (status == POLY_OK)
        poly_pg_set_note(f->pg, ef);
    return status;
}

static enum poly_status ask(struct find *f, bool exact, PGresult **rows)
{
    struct poly_pg_param memory[PARAMS_MAX];
    struct poly_pg_params params;
    struct poly_buffer sql;
    struct print p = {f, &sql, &params};
    enum poly_status status;

    poly_pg_params_in(&params, memory, PARAMS_MAX);
    poly_buffer_init(&sql, POLY_MAX_SQL);
    poly_pg_add_binary(&params, f->vector.data, f->vector.size);
    status = print_search(&p, exact);
    if (status == POLY_OK && !poly_buffer_ok(&sql))
        status = poly_no_memory(f->err);
    if (status == POLY_OK)
        status = poly_follower_gone(&f->self->base, f->pg, f->generation->number,
                                    run(f, sql.data, &params, exact, rows), f->err);
    poly_buffer_release(&sql);
    return status;
}

/* --- the answer --- */

static enum poly_status take_match(struct find *f, const PGresult *rows, int row,
                                   struct poly_match *match)
{
    struct poly_text key = poly_pg_text(rows, row, 0);

    match->key.data = poly_arena_copy(f->arena, key.data, key.size);
    match->key.size = key.size;
    match->version = (uint64_t)poly_pg_int(rows, row, 1);
    match->distance = poly_pg_float(rows, row, 2);
    if (match->key.data == NULL)
        return poly_no_memory(f->err);
    if (!f->request->vectors)
        return POLY_OK;
    match->vector = poly_pgv_decode(f->collection, poly_pg_bytes(rows, row, 3), f->arena);
    return match->vector != NULL
               ? POLY_OK
               : poly_fail(f->err, POLY_CORRUPT, "vector: the server gave no vector of %u",
                           f->collection->shape.dimensions);
}

static enum poly_status take_matches(struct find *f, const PGresult *rows)
{
    int count = PQntuples(rows);
    struct poly_match *list = poly_arena_array(f->arena, (size_t)count + 1, sizeof(*list));
    enum poly_status status = list == NULL ? poly_no_memory(f->err) : POLY_OK;

    f->matches->matches = list;
    for (int i = 0; i < count && status == POLY_OK; i++) {
        if (poly_pg_float(rows, i, 2) > f->request->farthest)
            break;
        status = take_match(f, rows, i, &list[i]);
        f->matches->count = (size_t)i + 1;
    }
    return status;
}

static enum poly_status search(struct find *f)
{
    const struct poly_vector_request *r = f->request;
    bool filtered = r->where != NULL || (f->collection->base.tenants && !r->scope.all_tenants);
    bool exact = r->exact || r->group != NULL || !atomic_load(f->collection->indexed);
    PGresult *rows;
    enum poly_status status = ask(f, exact, &rows);

    if (status == POLY_OK && !exact && PQntuples(rows) < (int)r->limit) {
        PQclear(rows);
        exact = true;
        status = ask(f, exact, &rows);
    }
    if (status != POLY_OK)
        return status;
    f->matches->plan =
        exact ? (filtered ? "filtered exact" : "exact") : (filtered ? "filtered graph" : "graph");
    status = take_matches(f, rows);
    PQclear(rows);
    return status;
}

/* A collection of which nothing has been written. */
static enum poly_status find_nothing(struct find *f, struct poly_matches *matches)
{
    const struct poly_vector_request *r = f->request;

    if (r->vector == NULL)
        return poly_fail(f->err, POLY_NOT_FOUND, "domain '%s': record '%.*s' has no vector",
                         r->scope.domain->name, (int)(r->like.size > 64 ? 64 : r->like.size),
                         r->like.data);
    *matches =
        (struct poly_matches){.matches = poly_arena_alloc(f->arena, sizeof(struct poly_match)),
                              .generation = f->generation->number,
                              .dimensions = r->scope.vector->dimensions,
                              .plan = "exact"};
    return matches->matches == NULL ? poly_no_memory(f->err) : POLY_OK;
}

enum poly_status poly_pgv_find(struct poly_pgv *self,
                               const struct poly_follower_generation *generation,
                               struct poly_pg *pg, const struct poly_vector_request *request,
                               struct poly_arena *arena, struct poly_matches *matches,
                               struct poly_error *err)
{
    struct poly_error own;
    struct poly_matches found = {.generation = generation->number};
    struct find f = {.self = self,
                     .generation = generation,
                     .pg = pg,
                     .request = request,
                     .arena = arena,
                     .matches = &found,
                     .err = err == NULL ? &own : err};
    enum poly_status status;

    status = poly_pgv_look(self, pg, &request->scope, &f.generation, &f.collection, f.err);
    if (status != POLY_OK)
        return status;
    if (f.collection == NULL && request->scope.domain->made != NULL)
        return find_nothing(&f, matches);
    if (f.collection == NULL)
        return poly_fail(f.err, POLY_UNAVAILABLE,
                         "vector: generation %llu was built without domain '%s'",
                         (unsigned long long)generation->number, request->scope.domain->name);
    if (f.collection->shape.change > request->scope.vector->change)
        return poly_fail(f.err, POLY_INVALID,
                         "the model of its vectors has just been changed; they have %u dimensions",
                         f.collection->shape.dimensions);
    if (f.collection->shape.change < request->scope.vector->change)
        return poly_fail(f.err, POLY_UNAVAILABLE,
                         "domain '%s': its vectors of another model are being taken in",
                         request->scope.domain->name);
    found.dimensions = f.collection->shape.dimensions;
    status = poly_where_each(request->where, check_compare, &f, err);
    if (status == POLY_OK)
        status = check_group(&f);
    if (status == POLY_OK)
        status = request->vector == NULL
                     ? find_like(&f)
                     : poly_pgv_encode(f.collection, request->vector, arena, &f.vector, f.err);
    if (status == POLY_OK)
        status = search(&f);
    if (status == POLY_OK)
        *matches = found;
    return status;
}
