/* What a query may be: which vectors of which domains, whose, and everything that stands in it. */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "core/config.h"
#include "core/instance.h"
#include "core/meaning.h"
#include "core/model.h"
#include "core/vector.h"
#include "followers/where.h"
#include "stores/vector/store.h"

enum { DEFAULT_LIMIT = 10 };

/* --- bounds --- */

static enum poly_status too_many(const struct poly_vector_lookup *l, const char *what,
                                 uint32_t given, int most)
{
    return poly_fail(l->err, POLY_LIMIT, "vector search: %s %u is more than %d", what, given, most);
}

static enum poly_status check_bounds(const struct poly_vector_lookup *l)
{
    const struct poly_vector_query *query = l->query;

    if (query->limit > POLY_MAX_MATCHES)
        return too_many(l, "limit", query->limit, POLY_MAX_MATCHES);
    if (query->offset > POLY_MAX_MATCHES_OFFSET)
        return too_many(l, "offset", query->offset, POLY_MAX_MATCHES_OFFSET);
    if (query->ef > POLY_MAX_EF)
        return too_many(l, "ef", query->ef, POLY_MAX_EF);
    if (query->group_limit > POLY_MAX_MATCHES)
        return too_many(l, "group_limit", query->group_limit, POLY_MAX_MATCHES);
    if (query->domains == NULL || query->domains[0] == NULL)
        return poly_fail(l->err, POLY_INVALID, "vector search: name a domain to look in");
    if ((query->vector != NULL) + (query->like != NULL) + (query->text != NULL) != 1)
        return poly_fail(l->err, POLY_INVALID,
                         "vector search: give either a vector, or a text, or the key of a record "
                         "that is like what is wanted");
    if (query->text != NULL && (*query->text == '\0' || strlen(query->text) > POLY_MAX_SEARCH_TEXT))
        return poly_fail(l->err, POLY_INVALID, "vector search: a text has 1 to %d bytes",
                         POLY_MAX_SEARCH_TEXT);
    if (query->has_threshold && isnan(query->threshold))
        return poly_fail(l->err, POLY_INVALID, "vector search: the threshold is no number");
    if (query->group != NULL && query->domains[1] != NULL)
        return poly_fail(l->err, POLY_INVALID,
                         "vector search: answers are grouped within one domain; %s and more were "
                         "named",
                         query->domains[0]);
    if (query->like != NULL && (*query->like == '\0' || strlen(query->like) > POLY_MAX_KEY))
        return poly_fail(l->err, POLY_INVALID, "vector search: 'like' is no key of 1 to %d bytes",
                         POLY_MAX_KEY);
    return POLY_OK;
}

/* --- which vectors --- */

static enum poly_status no_vector(const struct poly_vector_lookup *l,
                                  const struct poly_domain *domain)
{
    char names[200] = "";
    size_t used = 0;

    if (domain->vector_count == 0)
        return poly_fail(l->err, POLY_INVALID,
                         "domain '%s': has no vectors; give it 'vector: {field: …, dimensions: …}' "
                         "in polystore.yaml",
                         domain->name);
    for (size_t i = 0; i < domain->vector_count && used < sizeof(names); i++)
        used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%s", i == 0 ? "" : ", ",
                                 domain->vectors[i].name);
    if (l->query->name == NULL)
        return poly_fail(l->err, POLY_INVALID,
                         "domain '%s': has several vectors; name one of them: %s", domain->name,
                         names);
    return poly_fail(l->err, POLY_INVALID, "domain '%s': has no vector '%.60s'%s%s", domain->name,
                     l->query->name, *names == '\0' ? "; its only one has no name" : "; it has ",
                     names);
}

static const struct poly_domain_vector *vector_of(const struct poly_vector_lookup *l,
                                                  const struct poly_domain *domain)
{
    if (l->query->name == NULL)
        return domain->vector_count == 1 ? poly_vector_now(&domain->vectors[0]) : NULL;
    for (size_t i = 0; i < domain->vector_count; i++)
        if (*l->query->name != '\0' && strcmp(domain->vectors[i].name, l->query->name) == 0)
            return poly_vector_now(&domain->vectors[i]);
    return NULL;
}

static bool is_listed(const struct poly_vector_lookup *l, const struct poly_domain *domain)
{
    for (size_t i = 0; i < l->count; i++)
        if (l->scopes[i].domain == domain)
            return true;
    return false;
}

/* All have to measure alike, or nothing says which of two answers is nearer. */
static enum poly_status check_alike(const struct poly_vector_lookup *l,
                                    const struct poly_vector_scope *scope)
{
    const struct poly_vector_scope *first = &l->scopes[0];

    if (scope->vector->dimensions != first->vector->dimensions)
        return poly_fail(l->err, POLY_INVALID,
                         "domain '%s': its vector has %u dimensions, that of '%s' has %u",
                         scope->domain->name, scope->vector->dimensions, first->domain->name,
                         first->vector->dimensions);
    if (strcmp(scope->vector->metric, first->vector->metric) != 0)
        return poly_fail(l->err, POLY_INVALID,
                         "domain '%s': its metric is '%s', that of '%s' is '%s'; their distances "
                         "cannot be compared",
                         scope->domain->name, scope->vector->metric, first->domain->name,
                         first->vector->metric);
    return POLY_OK;
}

static enum poly_status add_scope(struct poly_vector_lookup *l, const char *name)
{
    const struct poly_domain *domain =
        poly_instance_domain(poly_session_instance(l->session), name, l->err);
    struct poly_vector_scope scope = {.domain = domain, .tenant = {"", 0}};
    enum poly_status status;

    if (domain == NULL)
        return l->err->status;
    status = poly_session_wall(l->session, domain, &scope.tenant, l->err);
    if (status != POLY_OK || is_listed(l, domain))
        return status;
    scope.vector = vector_of(l, domain);
    if (scope.vector == NULL)
        return no_vector(l, domain);
    l->scopes[l->count++] = scope;
    return check_alike(l, &scope);
}

/* --- what is asked of each --- */

static bool is_filter(const struct poly_domain_vector *vector, const char *column)
{
    for (size_t i = 0; i < vector->filter_count; i++)
        if (strcmp(vector->filters[i], column) == 0)
            return true;
    return false;
}

static enum poly_status check_column(const struct poly_vector_lookup *l,
                                     const struct poly_vector_scope *scope, const char *column)
{
    if (column != NULL && is_filter(scope->vector, column))
        return POLY_OK;
    return poly_fail(l->err, POLY_INVALID,
                     "domain '%s': '%.60s' is none of its vector's filters; list it under "
                     "'filters' in polystore.yaml",
                     scope->domain->name, column == NULL ? "" : column);
}

struct scope_check {
    const struct poly_vector_lookup *l;
    const struct poly_vector_scope *scope;
};

static enum poly_status check_filter(void *arg, const struct poly_filter *filter)
{
    const struct scope_check *check = arg;

    return check_column(check->l, check->scope, filter->column);
}

static enum poly_status check_scope(const struct poly_vector_lookup *l,
                                    const struct poly_vector_scope *scope)
{
    const struct poly_vector_query *query = l->query;
    const struct poly_domain_vector *vector = scope->vector;
    struct scope_check check = {l, scope};
    enum poly_status status = POLY_OK;

    if (query->model != NULL && vector->model != NULL && strcmp(query->model, vector->model) != 0)
        return poly_fail(l->err, POLY_INVALID,
                         "domain '%s': its vectors are of the model '%.100s', the query's is of "
                         "'%.100s'",
                         scope->domain->name, vector->model, query->model);
    if (query->vector != NULL)
        status = poly_vector_check(vector, query->vector, query->dimensions, l->err);
    if (status != POLY_OK)
        return poly_fail_in(l->err, status, "domain '%s'", scope->domain->name);
    if (query->group != NULL)
        status = check_column(l, scope, query->group);
    if (status == POLY_OK)
        status = poly_where_each(query->where, check_filter, &check, l->err);
    return status;
}

/* Fields of a column with JSON have no type of their own. */
static enum poly_status take_where(struct poly_vector_lookup *l, size_t scope)
{
    const struct poly_vector_scope *s = &l->scopes[scope];

    l->wheres[scope] = l->query->where;
    return s->vector->filters_in != NULL
               ? POLY_OK
               : poly_meaning_of(l->session, &s->domain, 1, l->query->where, &l->wheres[scope],
                                 l->err);
}

/* In the first domain the index knows the record; the others have to be given its vector. */
static enum poly_status take_like(struct poly_vector_lookup *l)
{
    const struct poly_vector_scope *scope = &l->scopes[0];
    struct poly_row row = {NULL, 0};
    enum poly_status status;

    l->vector = l->query->vector;
    if (l->query->like == NULL || l->count == 1)
        return POLY_OK;
    status = poly_vector_row(l->session, scope->domain, poly_text(l->query->like), &row, l->err);
    for (size_t i = 0; i < row.count && status == POLY_OK; i++)
        if (strcasecmp(row.fields[i].name, scope->vector->field) == 0)
            status =
                poly_vector_read(scope->vector, &row.fields[i].value, l->arena, &l->vector, l->err);
    if (status == POLY_OK && l->vector == NULL)
        return poly_fail(l->err, POLY_NOT_FOUND, "domain '%s': record '%.200s' has no vector",
                         scope->domain->name, l->query->like);
    return status;
}

enum poly_status poly_vector_examine(struct poly_vector_lookup *l)
{
    size_t room = poly_config_domains(poly_instance_config(poly_session_instance(l->session)));
    enum poly_status status = check_bounds(l);

    if (status != POLY_OK)
        return status;
    l->limit = l->query->limit == 0 ? DEFAULT_LIMIT : l->query->limit;
    l->deadline = poly_clock_monotonic() + (int64_t)poly_session_deadline_ms(l->session) * 1000;
    l->scopes = poly_arena_array(l->arena, room + 1, sizeof(*l->scopes));
    l->wheres = poly_arena_array(l->arena, room + 1, sizeof(struct poly_where *));
    if (l->scopes == NULL || l->wheres == NULL)
        return poly_no_memory(l->err);
    for (size_t i = 0; l->query->domains[i] != NULL && status == POLY_OK; i++)
        status = add_scope(l, l->query->domains[i]);
    for (size_t i = 0; i < l->count && status == POLY_OK; i++)
        status = check_scope(l, &l->scopes[i]);
    for (size_t i = 0; i < l->count && status == POLY_OK; i++)
        status = take_where(l, i);
    if (status == POLY_OK && l->query->text != NULL)
        status = poly_vector_check_text(l);
    if (status == POLY_OK && poly_vector_is_hybrid(l->query))
        status = poly_vector_check_hybrid(l);
    return status == POLY_OK ? take_like(l) : status;
}
