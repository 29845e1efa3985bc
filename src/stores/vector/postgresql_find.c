/*
 * A search is one statement, ordered by the operator, ascending, so that the index gives its rows
 * in that order (a similarity, descending, would be computed for all). Where the index ends before
 * so many are found as were asked for, because a filter or tenant lets too few of its candidates
 * through, the same is asked once more without it: so many come back whenever so many match.
 *
 * An order by the operator plus 0 is one that no index has: this is how an exact search is asked
 * for. Among equal distances the key decides, which the index does not know: before PostgreSQL 17
 * an order by both takes no index at all. So the index gives all that are as far as the last one,
 * and these are put in order after it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "followers/filter.h"
#include "stores/vector/postgresql.h"

enum {
    EF_MAX = 1000,
    PARAMS_MAX = 11 + 2 * POLY_MAX_FILTERS,
    WRITTEN_LEAST = 16, /* of written_out() */
    WRITTEN_MOST = 512,
    PLANNED_ONCE = 1 << 30 /* of note_of() */
};

/* One round trip with the search, when the connection has it otherwise. */
static const char set_width[] = "SELECT set_config('hnsw.ef_search', $1, false),"
                                " set_config('ivfflat.probes', $2, false),"
                                " set_config('plan_cache_mode', $3, false)";
/* Lists are known in an order of their own only: what is found is put in order after it. */
static const char set_iterative[] = "SELECT set_config('hnsw.ef_search', $1, false),"
                                    " set_config('ivfflat.probes', $2, false),"
                                    " set_config('plan_cache_mode', $3, false),"
                                    " set_config('hnsw.iterative_scan', 'strict_order', false),"
                                    " set_config('ivfflat.iterative_scan', 'relaxed_order', false)";

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

/* A text that the column it is compared with cannot hold: no UUID, no number. */
static bool is_no_such_value(const struct find *f)
{
    const char *state = poly_pg_state(f->pg);

    return f->collection->table != NULL &&
           (strcmp(state, "22P02") == 0 || strcmp(state, "22003") == 0);
}

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
    if (status != POLY_OK && !is_no_such_value(f))
        return status;
    found = status == POLY_OK && PQntuples(rows) > 0;
    if (found) {
        struct poly_text bytes = poly_pg_bytes(rows, 0, 0);

        f->vector.size = bytes.size;
        f->vector.data = poly_arena_copy(f->arena, bytes.data, bytes.size);
    }
    if (status == POLY_OK)
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
    struct poly_buffer *out; /* NULL: the text is known, and wants its parameters only */
    struct poly_pg_params *params;
};

__attribute__((format(printf, 2, 3))) static void say(struct print *p, const char *format, ...)
{
    va_list arguments;

    if (p->out == NULL)
        return;
    va_start(arguments, format);
    poly_buffer_vprintf(p->out, format, arguments);
    va_end(arguments);
}

static bool is_walled(const struct find *f)
{
    return f->collection->base.tenants && !f->request->scope.all_tenants;
}

static void print_tenant(struct print *p)
{
    const struct poly_pgv_table *table = p->f->collection->table;

    poly_pg_add_text(p->params, p->f->request->scope.tenant);
    if (table == NULL)
        say(p, " AND d.tenant = $%d", p->params->count);
    else
        say(p, " AND %s = $%d::%s", table->tenant, p->params->count, table->tenant_type);
}

/* In the records' own table a swap may have been committed since the vector was taken for one of
 * the present model: then the very statement finds nothing. See poly_vector_search(). */
static void print_model(struct print *p)
{
    const struct poly_vector_scope *scope = &p->f->request->scope;

    poly_pg_add_text(p->params, poly_text(scope->domain->name));
    poly_pg_add_text(p->params, poly_text(scope->vector->name));
    poly_pg_add_int(p->params, scope->vector->change);
    say(p,
        " AND coalesce((SELECT max(m.change) FROM poly.model AS m WHERE m.domain ="
        " $%d::text AND m.name = $%d::text), 0) = $%d::bigint",
        p->params->count - 2, p->params->count - 1, p->params->count);
}

static enum poly_status print_conditions(struct print *p)
{
    const struct poly_vector_request *r = p->f->request;
    const struct poly_pgv_collection *c = p->f->collection;
    const struct poly_follower_filtering filtering = {
        .names = c->names,
        .name_count = c->shape.filter_count,
        .time_as_number = p->f->self->base.time_as_number && !c->base.stream,
        .arena = p->f->arena,
        .params = p->params};

    say(p, " FROM %s WHERE %s IS NOT NULL", c->from, c->embedding);
    if (is_walled(p->f))
        print_tenant(p);
    if (c->table != NULL)
        print_model(p);
    if (r->like.data != NULL) {
        poly_pg_add_text(p->params, r->like);
        say(p, " AND %s <> $%d", c->key, p->params->count);
    }
    if (r->where == NULL)
        return POLY_OK;
    say(p, " AND ");
    return poly_pgv_where_print(c, r->where, &filtering, p->out, p->f->err);
}

static void print_bounds(struct print *p)
{
    poly_pg_add_int(p->params, p->f->request->limit);
    say(p, " LIMIT $%d::bigint", p->params->count);
    poly_pg_add_int(p->params, p->f->request->offset);
    say(p, " OFFSET $%d::bigint", p->params->count);
}

static void print_columns(struct print *p)
{
    const struct poly_pgv_collection *c = p->f->collection;
    const struct poly_pgv_table *table = c->table;

    say(p, "SELECT %s AS key, ", c->key);
    if (table == NULL)
        say(p, "d.version");
    else
        say(p, "%s::text AS tenant", table->tenant == NULL ? "''" : table->tenant);
    say(p, ", (%s %s $1)::float8 AS distance", c->embedding, c->operator);
    if (p->f->request->vectors)
        say(p, ", %s(%s) AS vector", c->send, c->embedding);
}

/* Of what print_columns() names, out of a statement that follows. */
static void print_outer(struct print *p)
{
    say(p, "SELECT key, %s, distance%s FROM (",
        p->f->collection->table == NULL ? "version" : "tenant",
        p->f->request->vectors ? ", vector" : "");
}

/* The nearest of each value of a column: the server numbers them. */
static enum poly_status print_grouped(struct print *p)
{
    const struct poly_vector_request *r = p->f->request;
    const struct poly_pgv_collection *c = p->f->collection;
    int place = poly_filter_place(c->names, c->shape.filter_count, r->group);
    const char *value = c->table != NULL ? c->table->operands[place]
                                         : poly_arena_printf(p->f->arena, "d.filters->%d", place);
    enum poly_status status;

    if (value == NULL)
        return poly_no_memory(p->f->err);
    print_outer(p);
    print_columns(p);
    say(p,
        ", row_number() OVER (PARTITION BY coalesce(%s, 'null')"
        " ORDER BY %s %s $1, %s) AS place",
        value, c->embedding, c->operator, c->key);
    status = print_conditions(p);
    poly_pg_add_int(p->params, r->group_limit);
    say(p, ") AS g WHERE place <= $%d::bigint ORDER BY distance, key", p->params->count);
    print_bounds(p);
    return status;
}

static enum poly_status print_exact(struct print *p)
{
    const struct poly_pgv_collection *c = p->f->collection;
    enum poly_status status;

    print_columns(p);
    status = print_conditions(p);
    say(p, " ORDER BY (%s %s $1) + 0, %s", c->embedding, c->operator, c->key);
    print_bounds(p);
    return status;
}

static bool is_filtered(const struct find *f)
{
    return f->request->where != NULL || is_walled(f);
}

/*
 * So many are asked of the index. Where conditions have values to plan by, each search is planned
 * for its own, and the number is a parameter: 0. Where there are none that would be most of the
 * work but for the search itself: the number, without which the server would plan for a tenth of
 * the table, is written out, rounded up so that there are few such statements.
 */
static uint32_t written_out(const struct find *f)
{
    uint64_t wanted = (uint64_t)f->request->limit + f->request->offset;
    uint32_t number = WRITTEN_LEAST;

    if (wanted > WRITTEN_MOST || is_filtered(f))
        return 0;
    while (number < wanted)
        number *= 2;
    return number;
}

static enum poly_status print_indexed(struct print *p)
{
    const struct poly_vector_request *r = p->f->request;
    const struct poly_pgv_collection *c = p->f->collection;
    const uint32_t number = written_out(p->f);
    enum poly_status status;

    print_outer(p);
    print_columns(p);
    status = print_conditions(p);
    say(p, " ORDER BY %s %s $1 FETCH FIRST ", c->embedding, c->operator);
    if (number > 0) {
        say(p, "%u", number);
    } else {
        poly_pg_add_int(p->params, (int64_t)r->limit + r->offset);
        say(p, "($%d::bigint)", p->params->count);
    }
    say(p, " ROWS WITH TIES) AS n ORDER BY distance, key");
    print_bounds(p);
    return status;
}

static enum poly_status print_nearest(struct print *p, bool exact)
{
    return p->f->request->group != NULL ? print_grouped(p)
           : exact                      ? print_exact(p)
                                        : print_indexed(p);
}

/* The version of a row is the position of its last record, looked up for those that are answers. */
static enum poly_status print_search(struct print *p, bool exact)
{
    const struct poly_pgv_collection *c = p->f->collection;
    const char *vector = p->f->request->vectors ? ", vector" : "";
    enum poly_status status;

    if (c->table == NULL)
        return print_nearest(p, exact);
    poly_pg_add_text(p->params, poly_text(c->base.name));
    say(p,
        "SELECT key, (SELECT l.position FROM poly.log l WHERE l.domain = $%d::text"
        " AND l.tenant = a.tenant AND l.key = a.key AND l.version IS NULL"
        " ORDER BY l.position DESC LIMIT 1), distance%s FROM (",
        p->params->count, vector);
    status = print_nearest(p, exact);
    say(p, ") AS a");
    return status;
}

/* --- asking --- */

/* How widely an index is searched, whichever it is, and whether its searches are planned once. */
struct width {
    int ef, probes;
    bool once;
};

/* As one number that a connection can keep. */
static int note_of(struct width width)
{
    return (width.once ? PLANNED_ONCE : 0) | width.ef << 16 | width.probes;
}

static enum poly_status send_width(struct find *f, struct width width)
{
    struct poly_pg_params params;
    char ef[16], probes[16];

    snprintf(ef, sizeof(ef), "%d", width.ef);
    snprintf(probes, sizeof(probes), "%d", width.probes);
    poly_pg_params(&params);
    poly_pg_add_text(&params, poly_text(ef));
    poly_pg_add_text(&params, poly_text(probes));
    poly_pg_add_text(&params, poly_text(width.once ? "force_generic_plan" : "force_custom_plan"));
    return poly_pg_queue(f->pg, f->self->iterative ? set_iterative : set_width, &params, f->err);
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

/* For an exact search it does not matter how wide. */
static struct width width_of(const struct find *f, bool exact)
{
    uint64_t wanted = (uint64_t)f->request->limit + f->request->offset;
    uint32_t probes = f->collection->shape.probes, number = written_out(f);

    wanted = wanted < number ? number : wanted;
    wanted = wanted < f->request->ef ? f->request->ef : wanted;
    return (struct width){wanted < EF_MAX ? (int)wanted : EF_MAX, probes == 0 ? 1 : (int)probes,
                          number > 0 && !exact};
}

/* Is the connection set so? One that nobody has set plans each search for its own. */
static bool is_set(const struct find *f, struct width width, bool exact)
{
    const int note = poly_pg_note(f->pg);

    return exact ? (note & PLANNED_ONCE) == 0 : note == note_of(width);
}

/* form: NULL where there are too many. */
static enum poly_status run(struct find *f, const char *form, const char *sql,
                            const struct poly_pg_params *params, bool exact, PGresult **rows)
{
    struct width width = width_of(f, exact);
    enum poly_status status;

    if (is_set(f, width, exact))
        return form == NULL ? poly_pg_run_once(f->pg, sql, params, rows, f->err)
                            : poly_pg_run(f->pg, form, params, rows, f->err);
    poly_pg_set_note(f->pg, 0);
    status = send_width(f, width);
    if (status == POLY_OK && form != NULL)
        status = poly_pg_queue(f->pg, form, params, f->err);
    if (status == POLY_OK && form != NULL)
        status = take_both(f, rows);
    else if (status == POLY_OK) {
        poly_pg_drop(f->pg);
        status = poly_pg_run_once(f->pg, sql, params, rows, f->err);
    }
    if (status == POLY_OK)
        poly_pg_set_note(f->pg, note_of(width));
    return status;
}

/* Where the text of a search is kept that has nothing but what is counted here; NULL: it has. */
static const char *_Atomic *place_of(const struct find *f, bool exact)
{
    const struct poly_vector_request *r = f->request;
    unsigned place = (exact ? 1 : 0) | (r->vectors ? 2 : 0) | (r->like.data != NULL ? 4 : 0) |
                     (is_walled(f) ? 8 : 0);

    _Static_assert(WRITTEN_MOST == WRITTEN_LEAST << 5 && 6 * 16 + 15 < POLY_PGV_FORMS,
                   "each has its own: with no number, or one of six");
    if (r->where != NULL || r->group != NULL)
        return NULL;
    for (uint32_t n = exact ? 0 : written_out(f); n >= WRITTEN_LEAST; n /= 2)
        place += 16;
    return &f->collection->forms[place];
}

static enum poly_status ask(struct find *f, bool exact, PGresult **rows)
{
    const char *_Atomic *place = place_of(f, exact);
    const char *form = place == NULL ? NULL : atomic_load(place);
    struct poly_pg_param memory[PARAMS_MAX];
    struct poly_pg_params params;
    struct poly_buffer sql;
    struct print p = {f, form == NULL ? &sql : NULL, &params};
    enum poly_status status;

    poly_pg_params_in(&params, memory, PARAMS_MAX);
    poly_buffer_init(&sql, POLY_MAX_SQL);
    poly_pg_add_binary(&params, f->vector.data, f->vector.size);
    status = print_search(&p, exact);
    if (status == POLY_OK && !poly_buffer_ok(&sql))
        status = poly_no_memory(f->err);
    if (status == POLY_OK && form == NULL) {
        form = poly_follower_form(&f->self->base, f->generation, sql.data);
        if (place != NULL)
            atomic_store(place, form);
    }
    if (status == POLY_OK)
        status = run(f, form, sql.data, &params, exact, rows);
    poly_buffer_release(&sql);
    if (f->collection->table == NULL)
        return poly_follower_gone(&f->self->base, f->pg, f->generation->number, status, f->err);
    if (status != POLY_OK && is_no_such_value(f))
        return poly_fail(f->err, POLY_DENIED, "domain '%s': no row can be of this tenant",
                         f->collection->base.name);
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

/* Where what is near was known in no order, it is put into one here. */
static int by_distance(const void *left, const void *right)
{
    const struct poly_match *a = left, *b = right;
    size_t size = a->key.size < b->key.size ? a->key.size : b->key.size;
    int order = memcmp(a->key.data, b->key.data, size);

    if (a->distance != b->distance)
        return a->distance < b->distance ? -1 : 1;
    return order != 0 ? order : (a->key.size > b->key.size) - (a->key.size < b->key.size);
}

/* A vector of zeros, which another program may have put into a table, has no distance. */
static enum poly_status take_matches(struct find *f, const PGresult *rows)
{
    int count = PQntuples(rows);
    struct poly_match *list = poly_arena_array(f->arena, (size_t)count + 1, sizeof(*list));
    enum poly_status status = list == NULL ? poly_no_memory(f->err) : POLY_OK;

    f->matches->matches = list;
    for (int i = 0; i < count && status == POLY_OK; i++) {
        double distance = poly_pg_float(rows, i, 2);

        if (!(distance <= f->request->farthest))
            continue;
        status = take_match(f, rows, i, &list[f->matches->count]);
        f->matches->count++;
    }
    if (status == POLY_OK)
        qsort(list, f->matches->count, sizeof(*list), by_distance);
    return status;
}

static enum poly_status search(struct find *f)
{
    const struct poly_vector_request *r = f->request;
    bool filtered = is_filtered(f);
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
    atomic_fetch_add(f->collection->searches, 1);
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
    if (f.collection->table != NULL && f.collection->table->problem != NULL)
        return poly_fail(f.err, f.collection->table->status, "%s", f.collection->table->problem);
    if (f.collection->table == NULL && f.collection->shape.change > request->scope.vector->change)
        return poly_fail(f.err, POLY_INVALID,
                         "the model of its vectors has just been changed; they have %u dimensions",
                         f.collection->shape.dimensions);
    if (f.collection->table == NULL && f.collection->shape.change < request->scope.vector->change)
        return poly_fail(f.err, POLY_UNAVAILABLE,
                         "domain '%s': its vectors of another model are being taken in",
                         request->scope.domain->name);
    found.dimensions = f.collection->shape.dimensions;
    status = poly_pgv_where_check(f.collection, request->where, f.err);
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
