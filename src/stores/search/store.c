/*
 * poly_search(): who may look where. The query is parsed before anything else,
 * the tenant of every domain comes from the wall, and only then is the fence
 * passed and the driver asked.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "core/config.h"
#include "core/instance.h"
#include "core/meaning.h"
#include "followers/where.h"
#include "stores/search/driver.h"

static const char store_name[] = "search";
static const uint32_t default_limit = 10;

struct lookup {
    struct poly_session *session;
    struct poly_arena *arena;
    struct poly_search_scope *scopes;
    size_t count, room;
    struct poly_error *err;
};

static enum poly_status check_bounds(const struct poly_search_query *query, struct poly_error *err)
{
    if (query->query == NULL)
        return poly_fail_at(err, POLY_INVALID, 0, "query: missing; write a word to find");
    if (query->limit > POLY_MAX_HITS)
        return poly_fail(err, POLY_LIMIT, "search: limit %u is more than %d", query->limit,
                         POLY_MAX_HITS);
    if (query->offset > POLY_MAX_HITS_OFFSET)
        return poly_fail(err, POLY_LIMIT, "search: offset %u is more than %d; narrow the query",
                         query->offset, POLY_MAX_HITS_OFFSET);
    if (query->filter_count > POLY_MAX_FILTERS)
        return poly_fail(err, POLY_LIMIT, "search: %zu filters are more than %d",
                         query->filter_count, POLY_MAX_FILTERS);
    return POLY_OK;
}

/* --- domains --- */

static bool is_listed(const struct lookup *l, const struct poly_domain *domain)
{
    for (size_t i = 0; i < l->count; i++)
        if (l->scopes[i].domain == domain)
            return true;
    return false;
}

static enum poly_status add_scope(struct lookup *l, const struct poly_domain *domain)
{
    struct poly_text tenant = {"", 0};
    enum poly_status status = poly_session_wall(l->session, domain, &tenant, l->err);

    if (status == POLY_OK && !is_listed(l, domain) && l->count < l->room)
        l->scopes[l->count++] = (struct poly_search_scope){domain, tenant};
    return status;
}

static enum poly_status add_named(struct lookup *l, const char *const *names)
{
    struct poly_instance *instance = poly_session_instance(l->session);

    for (size_t i = 0; names[i] != NULL; i++) {
        const struct poly_domain *domain = poly_instance_domain(instance, names[i], l->err);
        enum poly_status status;

        if (domain == NULL)
            return l->err->status;
        if (domain->search.field_count == 0)
            return poly_fail(l->err, POLY_INVALID,
                             domain->made == NULL
                                 ? "domain '%s': not searchable; give it 'search: {fields: "
                                   "[...]}' in polystore.yaml"
                                 : "collection '%s': not searchable; it was made without 'text'",
                             domain->name);
        status = add_scope(l, domain);
        if (status != POLY_OK)
            return status;
    }
    return l->count > 0 ? POLY_OK
                        : poly_fail(l->err, POLY_INVALID, "search: the list of domains is empty");
}

/* All that this session may see: without a tenant, those that have none. */
static enum poly_status add_visible(struct lookup *l)
{
    const struct poly_config *config = poly_instance_config(poly_session_instance(l->session));
    bool searchable = false;

    for (size_t i = 0; i < poly_config_domains(config); i++) {
        enum poly_status status;

        if (config->domains[i].search.field_count == 0 || !poly_domain_is_live(&config->domains[i]))
            continue;
        searchable = true;
        status = add_scope(l, &config->domains[i]);
        if (status != POLY_OK && status != POLY_DENIED)
            return status;
    }
    if (l->count > 0)
        return POLY_OK;
    return searchable ? poly_fail(l->err, POLY_DENIED,
                                  "search: every searchable domain has tenants, and the session "
                                  "has none")
                      : poly_fail(l->err, POLY_INVALID,
                                  "search: no domain is searchable; give one 'search: {fields: "
                                  "[...]}' in polystore.yaml");
}

/* Fields of a column with JSON have no type of their own: where they are asked together with
 * columns, it is the columns' that counts. */
static enum poly_status take_where(const struct lookup *l, const struct poly_search_query *query,
                                   const struct poly_where **where)
{
    const struct poly_domain **domains =
        poly_arena_array(l->arena, l->count + 1, sizeof(struct poly_domain *));
    enum poly_status status = domains == NULL
                                  ? poly_no_memory(l->err)
                                  : poly_where_beside(query->where, query->filters,
                                                      query->filter_count, l->arena, where, l->err);

    size_t count = 0;

    for (size_t i = 0; status == POLY_OK && i < l->count; i++)
        if (l->scopes[i].domain->search.in == NULL)
            domains[count++] = l->scopes[i].domain;
    return status == POLY_OK ? poly_meaning_of(l->session, domains, count, *where, where, l->err)
                             : status;
}

static int by_name(const void *left, const void *right)
{
    const struct poly_search_scope *a = left, *b = right;

    return strcmp(a->domain->name, b->domain->name);
}

static enum poly_status find_scopes(struct lookup *l, const char *const *names)
{
    enum poly_status status;

    l->room = poly_config_domains(poly_instance_config(poly_session_instance(l->session)));
    l->scopes = poly_arena_array(l->arena, l->room + 1, sizeof(*l->scopes));
    if (l->scopes == NULL)
        return poly_no_memory(l->err);
    status = names == NULL ? add_visible(l) : add_named(l, names);
    if (status == POLY_OK)
        qsort(l->scopes, l->count, sizeof(*l->scopes), by_name);
    return status;
}

/* --- asking --- */

static enum poly_status ask(struct lookup *l, const struct poly_search_request *request,
                            struct poly_hits *hits)
{
    struct poly_projected projected;
    const struct poly_search_driver *driver;
    enum poly_status status = poly_projection_read(l->session, store_name, &projected, l->err);

    if (status != POLY_OK)
        return status;
    driver = (const struct poly_search_driver *)projected.store->driver;
    status = driver->search(&projected, request, l->arena, hits, l->err);
    poly_projection_read_end(l->session, &projected);
    return status;
}

static enum poly_status search(struct lookup *l, const struct poly_search_query *query,
                               struct poly_hits *hits)
{
    int64_t started = poly_clock_monotonic();
    const struct poly_where *where;
    struct poly_query *parsed;
    struct poly_hits found;
    enum poly_status status = poly_query_parse(query->query, l->arena, &parsed, l->err);

    if (status == POLY_OK)
        status = find_scopes(l, query->domains);
    if (status == POLY_OK)
        status = take_where(l, query, &where);
    if (status != POLY_OK)
        return status;

    struct poly_search_request request = {
        .query = parsed,
        .scopes = l->scopes,
        .scope_count = l->count,
        .where = where,
        .limit = query->limit == 0 ? default_limit : query->limit,
        .offset = query->offset,
        .highlight = query->highlight,
        .mark_open = poly_text(query->mark_open == NULL ? "<b>" : query->mark_open),
        .mark_close = poly_text(query->mark_close == NULL ? "</b>" : query->mark_close),
        .deadline = started + (int64_t)poly_session_deadline_ms(l->session) * 1000};

    status = ask(l, &request, &found);
    if (status != POLY_OK)
        return status;
    if (!query->count)
        found.total = 0;
    *hits = found;
    return POLY_OK;
}

enum poly_status poly_search(struct poly_session *session, const struct poly_search_query *query,
                             struct poly_hits *hits, struct poly_error *err)
{
    struct poly_error own;
    struct lookup l = {
        .session = session, .arena = poly_session_arena(session), .err = err == NULL ? &own : err};
    enum poly_status status = poly_session_require(session, POLY_RIGHT_READ, "search", l.err);

    if (status == POLY_OK)
        status = check_bounds(query, l.err);
    return status == POLY_OK ? search(&l, query, hits) : status;
}
