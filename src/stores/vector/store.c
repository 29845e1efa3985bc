/*
 * poly_vector_search() and its like: who may look where. Everything is checked first; the tenant
 * of every domain comes from the wall; then the fence is passed once, and the driver is asked for
 * all of a batch on one state. Several domains are asked one by one and their answers merged.
 */
#include "stores/vector/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "core/config.h"
#include "core/instance.h"
#include "core/model.h"
#include "stores/vector/record.h"

static const char store_name[] = "vector";

enum { TRIES = 3 /* of a search by text, over changes of model */ };

/* --- asking --- */

/* A batch: the requests of all lookups, one after the other. */
struct batch {
    struct poly_session *session;
    struct poly_arena *arena;
    struct poly_vector_lookup *lookups;
    size_t count;
    struct poly_vector_request *requests;
    struct poly_matches *answers;
    size_t request_count;
    uint64_t generation;
    struct poly_error *err;
};

/* Which of several it is about. */
static enum poly_status failed_at(const struct batch *b, size_t lookup, enum poly_status status)
{
    return b->count == 1 ? status : poly_fail_in(b->err, status, "query %zu of %zu", lookup + 1,
                                                       b->count);
}

/* Rounded so that what lies exactly there is an answer. */
static double farthest(const struct poly_vector_query *query,
                       const struct poly_domain_vector *vector)
{
    double least = query->threshold, distance = 1 - least;

    if (!query->has_threshold)
        return INFINITY;
    switch (poly_vector_metric(vector)) {
    case POLY_INNER:
        distance = -least;
        break;
    case POLY_L2:
        distance = least > 0 ? 1 / least - 1 : (double)INFINITY;
        break;
    case POLY_HAMMING:
        distance = (1 - least) * vector->dimensions;
        break;
    case POLY_COSINE:
        break;
    }
    return (double)nextafterf((float)distance, INFINITY);
}

static struct poly_vector_request request_of(const struct poly_vector_lookup *l, size_t scope)
{
    const struct poly_vector_query *query = l->query;
    const struct poly_domain_vector *vector = l->scopes[scope].vector;
    bool hybrid = poly_vector_is_hybrid(query), several = l->count > 1;
    bool like = query->like != NULL && scope == 0;
    struct poly_vector_request request = {.scope = l->scopes[scope],
                                          .vector = like ? NULL : l->vector,
                                          .like = poly_text(like ? query->like : NULL),
                                          .where = l->wheres[scope],
                                          .limit = l->limit,
                                          .offset = query->offset,
                                          .farthest = farthest(query, vector),
                                          .ef = query->ef == 0 ? vector->ef : query->ef,
                                          .exact = query->exact,
                                          .vectors = query->vectors,
                                          .group = query->group,
                                          .group_limit =
                                              query->group_limit == 0 ? 1 : query->group_limit,
                                          .deadline = l->deadline};

    if (hybrid || several) {
        request.limit = hybrid ? poly_vector_depth(l) : query->offset + l->limit;
        request.offset = 0;
    }
    return request;
}

static enum poly_status make_requests(struct batch *b)
{
    size_t room = 0, at = 0;

    for (size_t i = 0; i < b->count; i++)
        room += b->lookups[i].count;
    b->requests = poly_arena_array(b->arena, room, sizeof(*b->requests));
    b->answers = poly_arena_array(b->arena, room, sizeof(*b->answers));
    if (b->requests == NULL || b->answers == NULL)
        return poly_no_memory(b->err);
    for (size_t i = 0; i < b->count; i++)
        for (size_t s = 0; s < b->lookups[i].count; s++)
            b->requests[at++] = request_of(&b->lookups[i], s);
    b->request_count = room;
    return POLY_OK;
}

/* The lookup that a request is of. */
static size_t lookup_of(const struct batch *b, size_t request)
{
    size_t lookup = 0;

    while (request >= b->lookups[lookup].count)
        request -= b->lookups[lookup++].count;
    return lookup;
}

static enum poly_status ask_all(const struct batch *b, const struct poly_projected *projected,
                                size_t *failed)
{
    const struct poly_vector_driver *driver =
        (const struct poly_vector_driver *)projected->store->driver;
    enum poly_status status = POLY_OK;

    *failed = 0;
    if (driver->search_all != NULL && b->request_count > 1)
        return driver->search_all(projected, b->requests, b->request_count, b->arena, b->answers,
                                  failed, b->err);
    for (size_t i = 0; i < b->request_count && status == POLY_OK; i++) {
        *failed = i;
        status = driver->search(projected, &b->requests[i], b->arena, &b->answers[i], b->err);
    }
    return status;
}

/* A stale answer is wanted, and what a change of model has written is not all there. */
static enum poly_status check_reached(const struct batch *b, size_t *failed)
{
    uint64_t applied = poly_session_freshness(b->session).applied;

    for (*failed = 0; *failed < b->request_count; ++*failed)
        if (b->requests[*failed].scope.vector->upto > applied)
            return poly_fail(b->err, POLY_UNAVAILABLE,
                             "domain '%s': its vectors of another model are being taken in",
                             b->requests[*failed].scope.domain->name);
    return POLY_OK;
}

/* In the records' own table nothing is found by a vector of a model before. Nothing may be an
 * answer, too. */
static enum poly_status check_swapped(const struct batch *b, size_t *failed)
{
    struct poly_instance *instance = poly_session_instance(b->session);
    bool looked = false;

    for (*failed = 0; *failed < b->request_count; ++*failed) {
        const struct poly_vector_scope *scope = &b->requests[*failed].scope;

        if (b->answers[*failed].count > 0 ||
            !poly_config_in_table(poly_instance_config(instance), scope->domain, scope->vector))
            continue;
        if (!looked && poly_models_look(instance, b->err) != POLY_OK)
            return b->err->status;
        looked = true;
        if (poly_vector_now(scope->vector) != scope->vector)
            return poly_fail(b->err, POLY_INVALID,
                             "the model of its vectors has just been changed to '%.100s'",
                             poly_vector_now(scope->vector)->model);
    }
    return POLY_OK;
}

/* In the records' own tables only: there is nothing that follows, and nothing to wait for. */
static bool is_direct(const struct batch *b)
{
    const struct poly_config *config = poly_instance_config(poly_session_instance(b->session));
    size_t direct = 0;

    while (direct < b->request_count &&
           poly_config_in_table(config, b->requests[direct].scope.domain,
                                b->requests[direct].scope.vector))
        direct++;
    return direct == b->request_count;
}

static enum poly_status ask(struct batch *b)
{
    bool direct = is_direct(b);
    struct poly_projected projected;
    enum poly_status status =
        direct ? poly_projection_direct(b->session, store_name, &projected, b->err)
               : poly_projection_read(b->session, store_name, &projected, b->err);
    size_t failed;

    if (status != POLY_OK)
        return status;
    b->generation = projected.generation;
    status = direct ? POLY_OK : check_reached(b, &failed);
    if (status == POLY_OK)
        status = ask_all(b, &projected, &failed);
    if (!direct)
        poly_projection_read_end(b->session, &projected);
    if (status == POLY_OK)
        status = check_swapped(b, &failed);
    if (status == POLY_OK || status == POLY_UNAVAILABLE)
        return status;
    poly_fail_in(b->err, status, "domain '%s'", b->requests[failed].scope.domain->name);
    return failed_at(b, lookup_of(b, failed), status);
}

/* --- the answer --- */

static int compare_text(struct poly_text a, struct poly_text b)
{
    size_t size = a.size < b.size ? a.size : b.size;
    int order = size == 0 ? 0 : memcmp(a.data, b.data, size);

    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static int by_distance(const void *left, const void *right)
{
    const struct poly_match *a = left, *b = right;
    int order = compare_text(a->domain, b->domain);

    if (a->distance != b->distance)
        return a->distance < b->distance ? -1 : 1;
    return order != 0 ? order : compare_text(a->key, b->key);
}

static void complete(const struct poly_vector_scope *scope, const struct poly_matches *answer,
                     struct poly_match *list)
{
    for (size_t i = 0; i < answer->count; i++) {
        list[i] = answer->matches[i];
        list[i].domain = poly_text(scope->domain->name);
        list[i].similarity = poly_vector_similarity(scope->vector, list[i].distance);
        list[i].score = list[i].similarity;
    }
}

/* One domain's answer is the page already; of several, the page is cut out here. */
static void cut(const struct poly_vector_lookup *l, struct poly_match *list,
                struct poly_matches *out)
{
    size_t first = l->query->offset;

    if (l->count > 1 && !poly_vector_is_hybrid(l->query)) {
        qsort(list, out->count, sizeof(*list), by_distance);
        first = first > out->count ? out->count : first;
        list += first;
        out->count = out->count - first > l->limit ? l->limit : out->count - first;
    } else if (l->count > 1) {
        qsort(list, out->count, sizeof(*list), by_distance);
    }
    out->matches = list;
}

static enum poly_status merge(const struct batch *b, const struct poly_vector_lookup *l,
                              const struct poly_matches *answers, struct poly_matches *out)
{
    struct poly_match *list;
    size_t room = 0;

    *out = (struct poly_matches){.generation = b->generation,
                                 .dimensions = l->scopes[0].vector->dimensions,
                                 .plan = answers[0].plan};
    for (size_t i = 0; i < l->count; i++)
        room += answers[i].count;
    list = poly_arena_array(b->arena, room + 1, sizeof(*list));
    if (list == NULL)
        return poly_no_memory(b->err);
    for (size_t i = 0; i < l->count; i++) {
        complete(&l->scopes[i], &answers[i], list + out->count);
        out->count += answers[i].count;
        out->candidates += answers[i].candidates;
        out->visited += answers[i].visited;
        if (strcmp(out->plan, answers[i].plan) != 0)
            out->plan = "mixed";
    }
    cut(l, list, out);
    return POLY_OK;
}

static enum poly_status add_rows(struct poly_vector_lookup *l, struct poly_matches *out)
{
    struct poly_match *list = poly_arena_array(l->arena, out->count + 1, sizeof(*list));
    struct poly_instance *instance = poly_session_instance(l->session);

    if (list == NULL)
        return poly_no_memory(l->err);
    for (size_t i = 0; i < out->count; i++) {
        const struct poly_domain *domain;
        enum poly_status status;

        list[i] = out->matches[i];
        domain = poly_instance_domain(instance, list[i].domain.data, l->err);
        if (domain == NULL)
            return l->err->status;
        status = poly_vector_row(l->session, domain, list[i].key, &list[i].row, l->err);
        if (status != POLY_OK && status != POLY_NOT_FOUND)
            return status;
    }
    out->matches = list;
    return POLY_OK;
}

static enum poly_status finish(struct batch *b, struct poly_matches *matches)
{
    const struct poly_matches *answers = b->answers;

    for (size_t i = 0; i < b->count; i++) {
        struct poly_vector_lookup *l = &b->lookups[i];
        enum poly_status status = merge(b, l, answers, &matches[i]);

        answers += l->count;
        if (status == POLY_OK && poly_vector_is_hybrid(l->query))
            status = poly_vector_fuse(l, &matches[i]);
        if (status == POLY_OK && l->query->rows)
            status = add_rows(l, &matches[i]);
        if (status != POLY_OK)
            return failed_at(b, i, status);
    }
    return POLY_OK;
}

/* What the token saw may have been a change of model, which another daemon has made: it is known
 * when the store has come as far. */
static enum poly_status examine(struct poly_vector_lookup *l)
{
    const struct poly_vector_lookup fresh = *l;
    struct poly_projected projected;
    struct poly_error ignored;
    enum poly_status status = poly_vector_examine(l);

    if (status != POLY_INVALID || poly_session_wanted(l->session) == 0 ||
        poly_projection_read(l->session, store_name, &projected, &ignored) != POLY_OK)
        return status;
    poly_projection_read_end(l->session, &projected);
    *l = fresh;
    return poly_vector_examine(l);
}

/* Was a text's vector made by a model that does not serve any more? Another daemon may know. */
static bool is_overtaken(const struct batch *b)
{
    struct poly_error ignored;

    for (size_t i = 0; b->lookups != NULL && i < b->count; i++) {
        const struct poly_vector_lookup *l = &b->lookups[i];

        if (l->query == NULL || l->query->text == NULL || l->count == 0)
            continue;
        (void)!poly_models_look(poly_session_instance(b->session), &ignored);
        for (size_t s = 0; s < l->count; s++)
            if (poly_vector_now(l->scopes[s].vector) != l->scopes[s].vector)
                return true;
    }
    return false;
}

static enum poly_status search_once(struct batch *b, const struct poly_vector_query *queries,
                                    struct poly_matches *matches)
{
    struct poly_matches *found = poly_arena_array(b->arena, b->count, sizeof(*found));
    enum poly_status status = POLY_OK;
    size_t failed = 0;

    b->lookups = poly_arena_array(b->arena, b->count, sizeof(*b->lookups));
    if (found == NULL || b->lookups == NULL)
        return poly_no_memory(b->err);
    for (size_t i = 0; i < b->count && status == POLY_OK; i++) {
        b->lookups[i] = (struct poly_vector_lookup){
            .session = b->session, .arena = b->arena, .query = &queries[i], .err = b->err};
        status = examine(&b->lookups[i]);
        if (status != POLY_OK)
            return failed_at(b, i, status);
    }
    status = poly_vector_embed(b->lookups, b->count, &failed);
    if (status != POLY_OK)
        return failed_at(b, failed, status);
    status = make_requests(b);
    if (status == POLY_OK)
        status = ask(b);
    if (status == POLY_OK)
        status = finish(b, found);
    if (status == POLY_OK)
        memcpy(matches, found, b->count * sizeof(*found));
    return status;
}

/* A swap may come between the making of a text's vector and the search, which refuses it then: the
 * text has another one, of the new model. */
static enum poly_status search(struct batch *b, const struct poly_vector_query *queries,
                               struct poly_matches *matches)
{
    enum poly_status status = search_once(b, queries, matches);

    for (int i = 1;
         i < TRIES && (status == POLY_INVALID || status == POLY_UNAVAILABLE) && is_overtaken(b);
         i++)
        status = search_once(b, queries, matches);
    return status;
}

enum poly_status poly_vector_search_all(struct poly_session *session,
                                        const struct poly_vector_query *queries, size_t count,
                                        struct poly_matches *matches, struct poly_error *err)
{
    struct poly_error own = {.position = -1};
    struct batch b = {.session = session,
                      .arena = poly_session_arena(session),
                      .count = count,
                      .err = err == NULL ? &own : err};
    enum poly_status status =
        poly_session_require(session, POLY_RIGHT_READ, "vector search", b.err);

    if (status != POLY_OK)
        return status;
    if (count > POLY_MAX_VECTOR_SEARCHES)
        return poly_fail(b.err, POLY_LIMIT, "vector search: %zu queries are more than %d", count,
                         POLY_MAX_VECTOR_SEARCHES);
    return count == 0 ? POLY_OK : search(&b, queries, matches);
}

enum poly_status poly_vector_search(struct poly_session *session,
                                    const struct poly_vector_query *query,
                                    struct poly_matches *matches, struct poly_error *err)
{
    return poly_vector_search_all(session, query, 1, matches, err);
}

/* --- stats --- */

/* The counts are of all tenants. */
static enum poly_status may_see(struct poly_session *session, struct poly_error *err)
{
    enum poly_status status =
        poly_session_require(session, POLY_RIGHT_READ, "vector statistics", err);

    if (status == POLY_OK && poly_session_tenant(session).size > 0)
        status = poly_session_require(session, POLY_RIGHT_ADMIN,
                                      "statistics of all tenants' vectors", err);
    return status;
}

static bool sees(struct poly_session *session, const struct poly_domain *domain)
{
    struct poly_error ignored;
    struct poly_text tenant;

    return domain->vector_count > 0 && poly_domain_is_live(domain) &&
           (poly_session_require(session, POLY_RIGHT_ADMIN, "all", &ignored) == POLY_OK ||
            poly_session_wall(session, domain, &tenant, &ignored) == POLY_OK);
}

static enum poly_status add_stats(struct poly_session *session,
                                  const struct poly_projected *projected,
                                  const struct poly_domain *domain, struct poly_vector_stats *list,
                                  size_t *count, struct poly_error *err)
{
    const struct poly_vector_driver *driver =
        (const struct poly_vector_driver *)projected->store->driver;
    enum poly_status status = POLY_OK;

    if (!sees(session, domain))
        return POLY_OK;
    for (size_t v = 0; v < domain->vector_count && status == POLY_OK; v++) {
        const struct poly_domain_vector *vector = poly_vector_now(&domain->vectors[v]);
        const struct poly_vector_scope scope = {
            .domain = domain, .vector = vector, .all_tenants = true};
        struct poly_vector_stats *one = &list[(*count)++];

        one->domain = poly_text(domain->name);
        one->name = poly_text(vector->name);
        one->model = poly_text(vector->model == NULL ? "" : vector->model);
        one->dimensions = vector->dimensions;
        one->metric = poly_vector_metric(vector);
        one->element = vector->element;
        one->m = vector->m;
        one->ef_construction = vector->ef_construction;
        one->ef = vector->ef;
        status = driver->stats(projected, &scope, one, err);
    }
    return status;
}

enum poly_status poly_vector_stats(struct poly_session *session,
                                   const struct poly_vector_stats **stats, size_t *count,
                                   struct poly_error *err)
{
    const struct poly_config *config = poly_instance_config(poly_session_instance(session));
    struct poly_vector_stats *list;
    struct poly_projected projected;
    size_t all = poly_config_domains(config), room = 0, filled = 0;
    enum poly_status status = may_see(session, err);

    for (size_t i = 0; i < all; i++)
        room += config->domains[i].vector_count;
    list = poly_arena_array(poly_session_arena(session), room + 1, sizeof(*list));
    if (status == POLY_OK && list == NULL)
        status = poly_no_memory(err);
    if (status == POLY_OK && room > 0) {
        status = poly_projection_read(session, store_name, &projected, err);
        if (status != POLY_OK)
            return status;
        for (size_t i = 0; i < all && status == POLY_OK; i++)
            status = add_stats(session, &projected, &config->domains[i], list, &filled, err);
        poly_projection_read_end(session, &projected);
    }
    if (status != POLY_OK)
        return status;
    *stats = list;
    *count = filled;
    return POLY_OK;
}
