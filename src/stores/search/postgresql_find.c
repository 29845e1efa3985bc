/*
 * A search is one statement: for each domain the documents that match, found by
 * its GIN index and ranked where they are; then the number of all, and the page.
 *
 * The tree of the query becomes a tsquery text of our own, in which every word
 * stands quoted, and which goes as a parameter. A word of the domain and the
 * tenant is asked for in each: the index does not touch what others have.
 *
 * Rank is ts_rank with the fields' weights, against how long the document is
 * compared with the tenant's others in the domain. Both are of the tenant's
 * documents alone.
 */
#include <string.h>

#include "base/json.h"
#include "base/limits.h"
#include "followers/filter.h"
#include "followers/postgresql_filter.h"
#include "followers/where.h"
#include "stores/search/postgresql.h"

/* One domain of the request. */
struct scope {
    const struct poly_ts_index *index;
    struct poly_text tenant;
    struct poly_lexemes *terms;   /* of the query, in the index's kind */
    int *columns;                 /* where each may match */
    struct poly_text match, rank; /* tsqueries; match empty: nothing can match */
};

struct find {
    struct poly_ts *self;
    const struct poly_ts_generation *generation;
    struct poly_pg *pg;
    const struct poly_search_request *request;
    struct poly_arena *arena;
    struct poly_error *err;
    struct scope *scopes;
    size_t scope_count;
    size_t comparisons; /* of the condition */
    double heaviest;
    struct poly_lexemes *terms[POLY_WORDS_KINDS];
};

/* --- what to look for, and where --- */

static enum poly_status terms_of(struct find *f, enum poly_words_kind kind,
                                 struct poly_lexemes **terms)
{
    const struct poly_query *query = f->request->query;
    enum poly_status status = POLY_OK;

    if (f->terms[kind] == NULL) {
        f->terms[kind] = poly_arena_array(f->arena, query->term_count, sizeof(**terms));
        if (f->terms[kind] == NULL)
            return poly_no_memory(f->err);
        for (size_t i = 0; i < query->term_count && status == POLY_OK; i++)
            status = poly_words_query(f->self->words, kind, query->terms[i]->text, f->arena,
                                      &f->terms[kind][i], f->err);
    }
    *terms = f->terms[kind];
    return status;
}

static enum poly_status open_scope(struct find *f, const struct poly_search_scope *asked,
                                   struct scope *scope)
{
    const struct poly_ts_index *index;
    enum poly_status status = poly_ts_index(f->generation, asked->domain, f->arena, &index, f->err);

    if (status != POLY_OK)
        return status;
    scope->index = index;
    scope->tenant = asked->tenant;
    if (index->base.tenants != (asked->tenant.size > 0))
        return poly_fail(f->err, POLY_UNAVAILABLE,
                         "domain '%s': the search index was built %s tenants; run 'polystore "
                         "rebuild search'",
                         asked->domain->name, index->base.tenants ? "with" : "without");
    for (int i = 0; i < 4; i++)
        if (index->weights[i] > f->heaviest)
            f->heaviest = index->weights[i];
    scope->columns = poly_arena_array(f->arena, f->request->query->term_count, sizeof(int));
    if (scope->columns == NULL)
        return poly_no_memory(f->err);
    return terms_of(f, index->kind, &scope->terms);
}

static enum poly_status open_scopes(struct find *f)
{
    enum poly_status status = POLY_OK;

    f->scopes = poly_arena_array(f->arena, f->request->scope_count, sizeof(*f->scopes));
    if (f->scopes == NULL)
        return poly_no_memory(f->err);
    for (size_t i = 0; i < f->request->scope_count && status == POLY_OK; i++)
        status = open_scope(f, &f->request->scopes[i], &f->scopes[f->scope_count++]);
    return status;
}

/* A term that one domain cannot have matches nothing there; one that none can have is a mistake. */
static enum poly_status place_term(struct find *f, const struct poly_query_node *term)
{
    bool field = false, word = false, trigram = false;

    for (size_t i = 0; i < f->scope_count; i++) {
        struct scope *scope = &f->scopes[i];
        int column = poly_query_column(&scope->index->names, term->field);
        bool fits = scope->terms[term->index].count > 0;

        trigram = trigram || (scope->index->kind == POLY_WORDS_TRIGRAM && !fits);
        field = field || column != POLY_QUERY_NOWHERE;
        word = word || fits;
        scope->columns[term->index] = fits ? column : POLY_QUERY_NOWHERE;
    }
    if (!field)
        return poly_query_no_field(term, f->scopes[0].index->base.name, f->scope_count > 1, f->err);
    return word ? POLY_OK : poly_query_no_word(term, trigram, f->err);
}

static bool has(const void *index, const char *column)
{
    const struct poly_ts_index *in = index;

    return poly_filter_place(in->names.filters, in->names.filter_count, column) >= 0;
}

static enum poly_status place_filter(void *arg, const struct poly_filter *filter)
{
    struct find *f = arg;
    enum poly_status status = poly_follower_filter_check("search", filter, f->err);

    f->comparisons++;
    if (status != POLY_OK)
        return status;
    for (size_t i = 0; i < f->scope_count; i++)
        if (has(f->scopes[i].index, filter->column))
            return POLY_OK;
    return poly_fail(f->err, POLY_INVALID,
                     "filter on '%s': no domain asked lists it under search: filters",
                     filter->column);
}

static enum poly_status place_all(struct find *f)
{
    const struct poly_search_request *r = f->request;
    enum poly_status status = POLY_OK;

    for (size_t i = 0; i < r->query->term_count && status == POLY_OK; i++)
        status = place_term(f, r->query->terms[i]);
    return status == POLY_OK ? poly_where_each(r->where, place_filter, f, f->err) : status;
}

/* --- tsqueries --- */

/* A field that has a letter to itself is asked for by the letter, another by its place. */
static void print_lexeme(const struct scope *scope, const struct poly_query_node *term, size_t i,
                         bool ranking, struct poly_buffer *out)
{
    const struct poly_lexemes *lexemes = &scope->terms[term->index];
    int column = scope->columns[term->index];
    bool prefix = term->prefix && i + 1 == lexemes->count;
    bool shared = column >= 0 && scope->index->shared[column];

    poly_words_quote(out, shared ? column : -1, lexemes->list[i]);
    if (!prefix && (column < 0 || shared || ranking))
        return;
    poly_buffer_text(out, prefix ? ":*" : ":");
    if (column >= 0 && !shared && !ranking)
        poly_buffer_char(out, scope->index->letters[column]);
}

static void print_term(const struct scope *scope, const struct poly_query_node *term,
                       struct poly_buffer *out)
{
    poly_buffer_char(out, '(');
    for (size_t i = 0; i < scope->terms[term->index].count; i++) {
        poly_buffer_text(out, i == 0 ? "" : " <-> ");
        print_lexeme(scope, term, i, false, out);
    }
    poly_buffer_char(out, ')');
}

static void print_node(const struct scope *scope, const struct poly_query_node *node,
                       struct poly_buffer *out)
{
    const char *between = "";

    if (node->type == POLY_QUERY_TERM) {
        print_term(scope, node, out);
        return;
    }
    poly_buffer_char(out, '(');
    for (const struct poly_query_node *child = node->children; child != NULL; child = child->next) {
        if (!poly_query_alive(child, scope->columns))
            continue;
        poly_buffer_text(out, between);
        poly_buffer_text(out, child->negated ? "!" : "");
        print_node(scope, child, out);
        between = node->type == POLY_QUERY_OR ? " | " : " & ";
    }
    poly_buffer_char(out, ')');
}

/* Any of the words that count for the rank. */
static void print_rank(const struct find *f, const struct scope *scope, struct poly_buffer *out)
{
    const struct poly_query *query = f->request->query;

    for (size_t i = 0; i < query->term_count; i++) {
        const struct poly_query_node *term = query->terms[i];

        if (term->excluded || scope->columns[i] == POLY_QUERY_NOWHERE)
            continue;
        for (size_t j = 0; j < scope->terms[i].count; j++) {
            poly_buffer_text(out, out->size == 0 ? "" : " | ");
            print_lexeme(scope, term, j, true, out);
        }
    }
}

static bool keep(struct find *f, struct poly_buffer *out, struct poly_text *text)
{
    text->data = poly_buffer_ok(out) && out->size > 0
                     ? poly_arena_copy(f->arena, out->data, out->size)
                     : NULL;
    text->size = out->size;
    poly_buffer_clear(out);
    return text->data != NULL;
}

static enum poly_status print_queries(struct find *f, struct scope *scope)
{
    const struct poly_search_request *r = f->request;
    struct poly_buffer out;
    bool kept;

    if (!poly_query_alive(r->query->root, scope->columns) ||
        !poly_where_can_hold(r->where, has, scope->index))
        return POLY_OK;
    poly_buffer_init(&out, POLY_MAX_SQL);
    poly_words_quote_scope(&out, scope->index->base.number, scope->tenant);
    poly_buffer_text(&out, " & ");
    print_node(scope, r->query->root, &out);
    kept = keep(f, &out, &scope->match);
    print_rank(f, scope, &out);
    kept = keep(f, &out, &scope->rank) && kept;
    poly_buffer_release(&out);
    return kept ? POLY_OK : poly_no_memory(f->err);
}

/* --- the statement --- */

/* ts_rank wants weights of D, C, B, A, up to 1. */
static void print_weights(const struct find *f, const struct scope *scope, struct poly_buffer *sql)
{
    poly_buffer_text(sql, "ARRAY[");
    for (int letter = 3; letter >= 0; letter--)
        poly_buffer_printf(sql, "%.9g%s", scope->index->weights[letter] / f->heaviest,
                           letter > 0 ? "," : "]::real[]");
}

/*
 * BM25's saturation over what ts_rank says, with its usual k1 = 1.2 and b = 0.75. Domain and tenant
 * are written so that no index serves them: a planner without numbers of its own would rather read
 * all documents of the tenant by the primary key than ask for the words.
 */
static enum poly_status print_scope(struct find *f, size_t place, struct poly_buffer *sql,
                                    struct poly_pg_params *params)
{
    const struct poly_search_request *r = f->request;
    const struct scope *scope = &f->scopes[place];
    unsigned long long number = (unsigned long long)f->generation->base.number;
    int first = params->count + 1;

    poly_pg_add_text(params, scope->match);
    poly_pg_add_text(params, scope->rank);
    poly_pg_add_text(params, scope->tenant);
    poly_buffer_printf(
        sql,
        "SELECT %zu AS scope, d.key, d.ctid AS place, r.rank * 2.2 / (r.rank + 1.2 * (0.25 +"
        " 0.75 * d.length / greatest(s.mean, 1))) AS score"
        " FROM poly_search.documents_%llu AS d"
        " CROSS JOIN LATERAL (SELECT ts_rank(",
        place, number);
    print_weights(f, scope, sql);
    poly_buffer_printf(sql,
                       ", d.words, $%d::text::tsquery)::float8 AS rank) AS r"
                       " CROSS JOIN (SELECT coalesce((SELECT words::float8 / documents"
                       " FROM poly_search.stats_%llu WHERE domain = %lld AND tenant = $%d"
                       " AND documents > 0), 1) AS mean) AS s"
                       " WHERE d.words @@ $%d::text::tsquery AND d.domain + 0 = %lld"
                       " AND d.tenant || '' = $%d AND NOT d.deleted",
                       first + 1, number, (long long)scope->index->base.number, first + 2, first,
                       (long long)scope->index->base.number, first + 2);

    struct poly_follower_filtering filtering = {.names = scope->index->names.filters,
                                                .name_count = scope->index->names.filter_count,
                                                .time_as_number = f->self->base.time_as_number &&
                                                                  !scope->index->base.stream,
                                                .arena = f->arena,
                                                .params = params};
    if (r->where == NULL)
        return POLY_OK;
    poly_buffer_text(sql, " AND ");
    return poly_follower_where_print(&filtering, r->where, sql, f->err);
}

/* The page is looked up by the rows' places, which stay as long as the statement's snapshot. */
static void print_page(struct find *f, struct poly_buffer *sql, struct poly_pg_params *params)
{
    const struct poly_search_request *r = f->request;

    poly_pg_add_int(params, r->limit);
    poly_pg_add_int(params, r->offset);
    poly_buffer_printf(sql,
                       "), page AS (SELECT * FROM hits ORDER BY score DESC, scope, key LIMIT $%d"
                       " OFFSET $%d), document AS (SELECT page.scope, page.score, d.key, d.version,"
                       " %s AS fields FROM page JOIN poly_search.documents_%llu AS d"
                       " ON d.ctid = page.place) SELECT every.total, document.* FROM"
                       " (SELECT count(*) AS total FROM hits) AS every"
                       " LEFT JOIN document ON true ORDER BY score DESC, scope, key",
                       params->count - 1, params->count,
                       r->highlight ? "array_to_json(d.fields)::text" : "NULL::text",
                       (unsigned long long)f->generation->base.number);
}

static enum poly_status print_all(struct find *f, struct poly_buffer *sql,
                                  struct poly_pg_params *params)
{
    enum poly_status status = POLY_OK;
    const char *between = "WITH hits AS MATERIALIZED (";

    for (size_t i = 0; i < f->scope_count && status == POLY_OK; i++) {
        if (f->scopes[i].match.size == 0)
            continue;
        poly_buffer_text(sql, between);
        status = print_scope(f, i, sql, params);
        between = " UNION ALL ";
    }
    print_page(f, sql, params);
    if (status == POLY_OK && !poly_buffer_ok(sql))
        return poly_no_memory(f->err);
    return status;
}

/* --- the page --- */

static enum poly_status copy_text(struct find *f, struct poly_text text, struct poly_text *copy)
{
    copy->data = poly_arena_copy(f->arena, text.data, text.size);
    copy->size = text.size;
    return copy->data == NULL ? poly_no_memory(f->err) : POLY_OK;
}

static enum poly_status mark(struct find *f, const struct scope *scope, struct poly_text json,
                             struct poly_hit *hit)
{
    struct poly_text fields[POLY_MAX_SEARCH_FIELDS] = {{NULL, 0}};
    size_t count = scope->index->names.field_count;
    struct poly_ts_marking how = {.words = f->self->words,
                                  .index = scope->index,
                                  .request = f->request,
                                  .terms = scope->terms,
                                  .columns = scope->columns,
                                  .arena = f->arena};
    json_t *array;
    enum poly_status status = poly_json_parse(json.data, json.size, &array, f->err);

    if (status != POLY_OK)
        return status;
    for (size_t i = 0; i < count; i++) {
        json_t *field = json_array_get(array, i);

        if (json_is_string(field))
            fields[i] = (struct poly_text){json_string_value(field), json_string_length(field)};
    }
    status = poly_ts_mark(&how, fields, hit, f->err);
    json_decref(array);
    return status;
}

/* Columns: total, scope, score, key, version, fields. */
static enum poly_status fill_hit(struct find *f, const PGresult *rows, int row,
                                 struct poly_hit *hit)
{
    const struct scope *scope = &f->scopes[poly_pg_int(rows, row, 1)];
    enum poly_status status = copy_text(f, poly_text(scope->index->base.name), &hit->domain);

    if (status == POLY_OK)
        status = copy_text(f, poly_pg_text(rows, row, 3), &hit->key);
    hit->version = (uint64_t)poly_pg_int(rows, row, 4);
    hit->score = poly_pg_float(rows, row, 2);
    if (status == POLY_OK && f->request->highlight && !poly_pg_null(rows, row, 5))
        status = mark(f, scope, poly_pg_text(rows, row, 5), hit);
    return status;
}

static enum poly_status fill_page(struct find *f, const PGresult *rows, struct poly_hits *hits)
{
    size_t count = PQntuples(rows) == 0 || poly_pg_null(rows, 0, 1) ? 0 : (size_t)PQntuples(rows);
    struct poly_hit *list = poly_arena_array(f->arena, count + 1, sizeof(*list));
    enum poly_status status = POLY_OK;

    if (list == NULL)
        return poly_no_memory(f->err);
    for (size_t i = 0; i < count && status == POLY_OK; i++)
        status = fill_hit(f, rows, (int)i, &list[i]);
    if (status == POLY_OK)
        *hits = (struct poly_hits){list, count, (uint64_t)poly_pg_int(rows, 0, 0),
                                   f->generation->base.number};
    return status;
}

/* --- all of it --- */

static enum poly_status run(struct find *f, const char *sql, const struct poly_pg_params *params,
                            PGresult **rows)
{
    const char *form = poly_follower_form(&f->self->base, &f->generation->base, sql);

    return form == NULL ? poly_pg_run_once(f->pg, sql, params, rows, f->err)
                        : poly_pg_run(f->pg, form, params, rows, f->err);
}

static enum poly_status ask(struct find *f, struct poly_hits *hits)
{
    int max = (int)(f->scope_count * (3 + 2 * f->comparisons) + 2);
    struct poly_pg_param *memory = poly_arena_array(f->arena, (size_t)max, sizeof(*memory));
    struct poly_pg_params params;
    struct poly_buffer sql;
    PGresult *rows = NULL;
    enum poly_status status;

    if (memory == NULL)
        return poly_no_memory(f->err);
    poly_pg_params_in(&params, memory, max);
    poly_buffer_init(&sql, POLY_MAX_SQL);
    status = print_all(f, &sql, &params);
    if (status == POLY_OK)
        status = poly_follower_gone(&f->self->base, f->pg, f->generation->base.number,
                                    run(f, sql.data, &params, &rows), f->err);
    poly_buffer_release(&sql);
    if (status == POLY_OK)
        status = fill_page(f, rows, hits);
    PQclear(rows);
    return status;
}

enum poly_status poly_ts_find(struct poly_ts *self, const struct poly_ts_generation *generation,
                              struct poly_pg *pg, const struct poly_search_request *request,
                              struct poly_arena *arena, struct poly_hits *hits,
                              struct poly_error *err)
{
    struct poly_error own;
    struct find f = {.self = self,
                     .generation = generation,
                     .pg = pg,
                     .request = request,
                     .arena = arena,
                     .err = err == NULL ? &own : err};
    bool any = false;
    enum poly_status status = open_scopes(&f);

    if (status == POLY_OK)
        status = place_all(&f);
    for (size_t i = 0; i < f.scope_count && status == POLY_OK; i++) {
        status = print_queries(&f, &f.scopes[i]);
        any = any || f.scopes[i].match.size > 0;
    }
    if (status != POLY_OK)
        return status;
    if (any)
        return ask(&f, hits);
    *hits = (struct poly_hits){.generation = generation->base.number};
    return POLY_OK;
}
