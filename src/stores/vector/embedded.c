/*
 * The embedded vector driver: opening, generations, the transaction's end, answers. Its data is in
 * memory, with copies on disk; the log is the journal. Co-located and following differ in one
 * place: when what was applied is to be seen.
 */
#include "stores/vector/embedded.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/status.h"
#include "core/vector.h"
#include "stores/vector/record.h"

enum { APPLY_MEMORY = 512 * 1024 * 1024 };

_Static_assert((int64_t)POLY_MAX_VECTOR_LENGTH <= (int64_t)POLY_VECTOR_LENGTH_MAX,
               "the engine takes what we do");

atomic_bool poly_control_settle = true;

/* --- open and close --- */

/* Whoever publishes does not wait for ever new searches. */
static void init_turn(pthread_rwlock_t *turn)
{
    pthread_rwlockattr_t attributes;

    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(turn, &attributes);
    pthread_rwlockattr_destroy(&attributes);
}

static void leave_all(struct poly_vectors *self, struct poly_vector_generation *generation)
{
    for (struct poly_vector_generation *next; generation != NULL; generation = next) {
        next = generation->next;
        poly_vectors_leave(self, generation);
    }
}

static void close_store(struct poly_store *store)
{
    struct poly_vectors *self = poly_vectors_of(store);

    if (self == NULL)
        return;
    poly_vectors_stop(self);
    leave_all(self, self->generations);
    leave_all(self, self->graves); /* where the worker never began */
    poly_arena_free(self->arena);
    poly_arena_free(self->sample.arena);
    pthread_mutex_destroy(&self->lock);
    pthread_rwlock_destroy(&self->turn);
    free(self->folder);
    free(self);
}

static enum poly_status open_store(const struct poly_store_open *how, struct poly_store **store,
                                   struct poly_error *err)
{
    struct poly_vectors *self = calloc(1, sizeof(*self));
    enum poly_status status = POLY_OK;

    if (self == NULL)
        return poly_no_memory(err);
    self->store.driver = &poly_vector_embedded.base;
    self->config = how->config;
    self->projection = how->projection;
    self->follower = how->follower;
    pthread_mutex_init(&self->lock, NULL);
    init_turn(&self->turn);
    self->arena = poly_arena_new(APPLY_MEMORY);
    if (asprintf(&self->folder, "%s/vector", how->data) < 0)
        self->folder = NULL;
    if (self->arena == NULL || self->folder == NULL)
        status = poly_no_memory(err);
    if (status == POLY_OK)
        status = poly_vectors_scan(self, how->id, err);
    if (status == POLY_OK)
        status = poly_vectors_start(self, err);
    if (status != POLY_OK) {
        close_store(&self->store);
        return status;
    }
    *store = &self->store;
    return POLY_OK;
}

static bool wants(struct poly_store *store, struct poly_text domain)
{
    return poly_vector_wants(poly_vectors_of(store)->config, domain);
}

/* --- generations --- */

static enum poly_status drop(struct poly_store *store, struct poly_db *db, uint64_t number,
                             struct poly_error *err)
{
    struct poly_vectors *self = poly_vectors_of(store);
    struct poly_vector_generation *generation = poly_vectors_find(self, number);
    enum poly_status status;

    (void)db;
    if (generation == NULL)
        return POLY_OK;
    status = poly_vectors_mark(generation, true, err);
    if (status != POLY_OK)
        return status;
    pthread_mutex_lock(&self->lock);
    generation->dropping = true;
    atomic_store(&generation->loading.stop, true);
    pthread_mutex_unlock(&self->lock);
    if (self->follower)
        poly_vectors_forget(self, generation);
    return POLY_OK;
}

static enum poly_status prepare(struct poly_store *store, struct poly_db *db, uint64_t number,
                                struct poly_error *err)
{
    struct poly_vectors *self = poly_vectors_of(store);
    struct poly_vector_generation *generation = poly_vectors_find(self, number);
    enum poly_status status = POLY_NOT_FOUND;

    if (generation != NULL)
        status = poly_vectors_ask(self, generation, err);
    if (status != POLY_NOT_FOUND)
        return status;
    if (generation != NULL)
        status = drop(store, db, number, err);
    return status == POLY_OK || status == POLY_NOT_FOUND
               ? poly_vectors_make(self, number, &generation, err)
               : status;
}

static enum poly_status none(uint64_t number, struct poly_error *err)
{
    return poly_fail(err, POLY_NOT_FOUND, "vector: generation %llu is not there",
                     (unsigned long long)number);
}

static enum poly_status applied(struct poly_store *store, struct poly_db *db, uint64_t number,
                                uint64_t *position, struct poly_error *err)
{
    struct poly_vectors *self = poly_vectors_of(store);
    struct poly_vector_generation *generation = poly_vectors_find(self, number);
    enum poly_status status;

    (void)db;
    if (generation == NULL)
        return none(number, err);
    status = poly_vectors_ask(self, generation, err);
    if (status == POLY_OK)
        *position = generation->applied;
    return status;
}

static enum poly_status apply(struct poly_store *store, struct poly_db *db, uint64_t number,
                              struct poly_batch *batch, struct poly_error *err)
{
    struct poly_vectors *self = poly_vectors_of(store);
    struct poly_vector_generation *generation = poly_vectors_find(self, number);
    enum poly_status status;

    (void)db;
    if (generation == NULL)
        return none(number, err);
    status = poly_vectors_apply(self, generation, batch, err);
    if (status == POLY_OK && (self->follower || !poly_control_settle))
        poly_vectors_publish(self, generation);
    else if (status != POLY_OK && self->follower)
        poly_vectors_revert(generation);
    return status;
}

static void settle(struct poly_store *store, bool committed)
{
    struct poly_vectors *self = poly_vectors_of(store);
    struct poly_vector_generation *generation = self->generations, *next;
    struct poly_error ignored;

    for (; generation != NULL; generation = next) {
        next = generation->next;
        if (committed)
            poly_vectors_publish(self, generation);
        else
            poly_vectors_revert(generation);
        if (!generation->dropping)
            continue;
        if (committed) {
            poly_vectors_forget(self, generation);
            continue;
        }
        (void)poly_vectors_mark(generation, false, &ignored);
        pthread_mutex_lock(&self->lock);
        generation->dropping = false;
        pthread_mutex_unlock(&self->lock);
        poly_vectors_stir(self);
    }
}

static uint64_t saved(struct poly_store *store, uint64_t number)
{
    struct poly_vectors *self = poly_vectors_of(store);
    struct poly_vector_generation *generation;
    uint64_t least = UINT64_MAX;

    pthread_mutex_lock(&self->lock);
    for (generation = self->generations; generation != NULL; generation = generation->next) {
        if (generation->number != number || generation->dropping || !generation->loaded)
            continue;
        for (size_t i = 0; i < generation->set_count; i++) {
            uint64_t one = poly_vectors_saved(self, generation, &generation->sets[i]);

            least = one < least ? one : least;
        }
    }
    pthread_mutex_unlock(&self->lock);
    return least;
}

static void trouble(struct poly_store *store, char text[256], int64_t *since)
{
    struct poly_vectors *self = poly_vectors_of(store);

    pthread_mutex_lock(&self->lock);
    if (self->trouble[0] != '\0') {
        snprintf(text, 256, "%s", self->trouble);
        *since = self->trouble_at;
    }
    pthread_mutex_unlock(&self->lock);
}

static enum poly_status count(struct poly_store *store, struct poly_db *db, uint64_t number,
                              uint64_t *vectors, struct poly_error *err)
{
    struct poly_vectors *self = poly_vectors_of(store);
    struct poly_vector_generation *generation = poly_vectors_find(self, number);

    (void)db;
    if (generation == NULL || !generation->loaded)
        return none(number, err);
    *vectors = 0;
    for (size_t i = 0; i < generation->set_count; i++) {
        struct poly_collection_numbers numbers;
        const struct poly_domain_vector *ignored;
        struct poly_vector_body *body = poly_vectors_hold(self, &generation->sets[i], &ignored);

        poly_collection_measure(body->collection, &numbers);
        poly_vectors_let(body);
        *vectors += numbers.live;
    }
    return POLY_OK;
}

/* --- answers --- */

static struct poly_vector_set *set_of(struct poly_vector_generation *generation,
                                      const struct poly_vector_scope *scope)
{
    for (size_t i = 0; i < generation->set_count; i++)
        if (generation->sets[i].declared->family == scope->vector->family)
            return &generation->sets[i];
    return NULL;
}

static enum poly_status find_set(const struct poly_projected *projected,
                                 const struct poly_vector_scope *scope,
                                 struct poly_vector_generation **generation,
                                 struct poly_vector_set **set, struct poly_error *err)
{
    enum poly_status status;

    *generation = poly_vectors_find(poly_vectors_of(projected->store), projected->generation);
    *set = *generation == NULL || !(*generation)->loaded ? NULL : set_of(*generation, scope);
    if (*set == NULL && *generation != NULL && scope->domain->made != NULL) { /* it is new */
        status = poly_vectors_grow(poly_vectors_of(projected->store), *generation, err);
        if (status != POLY_OK)
            return status;
        *set = set_of(*generation, scope);
    }
    return *set == NULL ? poly_fail(err, POLY_UNAVAILABLE, "vector: generation %llu is not there",
                                    (unsigned long long)projected->generation)
                        : POLY_OK;
}

static enum poly_status fill(const struct poly_finding *finding, struct poly_arena *arena,
                             struct poly_matches *matches, struct poly_error *err)
{
    static const char *const plans[] = {[POLY_PLAN_EXACT] = "exact",
                                        [POLY_PLAN_GRAPH] = "graph",
                                        [POLY_PLAN_FILTERED_EXACT] = "filtered exact",
                                        [POLY_PLAN_FILTERED_GRAPH] = "filtered graph"};
    struct poly_match *list = poly_arena_array(arena, finding->count + 1, sizeof(*list));

    if (list == NULL)
        return poly_fail(err, POLY_LIMIT, "the answer is larger than the session's memory");
    for (size_t i = 0; i < finding->count; i++) {
        list[i].key = finding->found[i].key;
        list[i].version = finding->found[i].version;
        list[i].distance = (double)finding->found[i].distance;
        list[i].vector = finding->found[i].vector;
    }
    matches->matches = list;
    matches->count = finding->count;
    matches->plan = plans[finding->plan];
    matches->candidates = finding->candidates;
    matches->visited = finding->visited;
    return POLY_OK;
}

/* One of a batch, with the state that all of its set have. */
struct asked {
    struct poly_vector_generation *generation;
    struct poly_vector_set *set;
    const struct poly_domain_vector *vector; /* that the request means */
    struct poly_vector_body *body;
    struct poly_collection_state state;
    size_t first; /* the request that has taken hold of it */
};

/* Is what the set holds of the model that is asked for, and all of it there? */
static enum poly_status fits(const struct asked *asked, struct poly_error *err)
{
    const struct poly_domain_vector *now = asked->set->vector;

    if (now == asked->vector && atomic_load(&asked->generation->published) >= now->upto)
        return POLY_OK;
    if (asked->vector->change < now->change)
        return poly_fail(err, POLY_INVALID,
                         "the model of its vectors has just been changed to '%.100s' with %u "
                         "dimensions",
                         now->model == NULL ? "" : now->model, now->dimensions);
    return poly_fail(
        err, POLY_UNAVAILABLE, "domain '%s': its vectors of the model '%.100s' are being taken in",
        asked->set->domain->name, asked->vector->model == NULL ? "" : asked->vector->model);
}

/* One state of all sets that are asked. */
static enum poly_status take_hold(struct poly_vectors *self, struct asked *asked, size_t count,
                                  size_t *failed, struct poly_error *err)
{
    enum poly_status status = POLY_OK;

    pthread_rwlock_rdlock(&self->turn);
    for (size_t i = 0; i < count && status == POLY_OK; i++) {
        *failed = i;
        status = fits(&asked[i], err);
    }
    for (size_t i = 0; i < count && status == POLY_OK; i++) {
        asked[i].first = 0;
        while (asked[asked[i].first].set != asked[i].set)
            asked[i].first++;
        asked[i].body = asked[i].set->body;
        if (asked[i].first == i) {
            atomic_fetch_add(&asked[i].body->users, 1);
            poly_collection_hold(asked[i].body->collection, &asked[i].state);
        } else {
            asked[i].state = asked[asked[i].first].state;
        }
    }
    pthread_rwlock_unlock(&self->turn);
    return status;
}

static void let_go(struct asked *asked, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (asked[i].first != i)
            continue;
        poly_collection_release(asked[i].body->collection, &asked[i].state);
        poly_vectors_let(asked[i].body);
    }
}

static enum poly_status search_one(struct poly_vectors *self, const struct asked *asked,
                                   const struct poly_vector_request *request,
                                   struct poly_arena *arena, struct poly_matches *matches,
                                   struct poly_error *err)
{
    bool walled = request->scope.domain->tenant != NULL && !request->scope.all_tenants;
    const struct poly_find find = {.state = &asked->state,
                                   .vector = request->vector,
                                   .like = request->like,
                                   .owner = walled ? &request->scope.tenant : NULL,
                                   .where = request->where,
                                   .limit = request->limit,
                                   .offset = request->offset,
                                   .farthest = (float)request->farthest,
                                   .ef = request->ef,
                                   .exact = request->exact,
                                   .vectors = request->vectors,
                                   .group = request->group,
                                   .group_limit = request->group_limit,
                                   .deadline = request->deadline};
    struct poly_finding finding;
    enum poly_status status =
        poly_collection_find(asked->body->collection, &find, arena, &finding, err);

    if (status == POLY_OK)
        status = fill(&finding, arena, matches, err);
    if (status != POLY_OK)
        return status;
    atomic_fetch_add(&asked->set->searches, 1);
    atomic_fetch_add(&asked->set->visited, finding.visited);
    poly_vectors_sample(self, asked->generation, asked->set, asked->vector, &find, &finding);
    return POLY_OK;
}

static enum poly_status search_all(const struct poly_projected *projected,
                                   const struct poly_vector_request *requests, size_t count,
                                   struct poly_arena *arena, struct poly_matches *matches,
                                   size_t *failed, struct poly_error *err)
{
    struct poly_vectors *self = poly_vectors_of(projected->store);
    struct asked *asked = poly_arena_array(arena, count, sizeof(*asked));
    enum poly_status status = asked == NULL ? poly_no_memory(err) : POLY_OK;

    *failed = 0;
    for (size_t i = 0; i < count && status == POLY_OK; i++) {
        status = find_set(projected, &requests[i].scope, &asked[i].generation, &asked[i].set, err);
        asked[i].vector = requests[i].scope.vector;
    }
    if (status == POLY_OK)
        status = take_hold(self, asked, count, failed, err);
    if (status != POLY_OK)
        return status;
    for (size_t i = 0; i < count && status == POLY_OK; i++) {
        *failed = i;
        status = search_one(self, &asked[i], &requests[i], arena, &matches[i], err);
    }
    let_go(asked, count);
    return status;
}

static enum poly_status search(const struct poly_projected *projected,
                               const struct poly_vector_request *request, struct poly_arena *arena,
                               struct poly_matches *matches, struct poly_error *err)
{
    size_t failed;

    return search_all(projected, request, 1, arena, matches, &failed, err);
}

static enum poly_status stats(const struct poly_projected *projected,
                              const struct poly_vector_scope *scope,
                              struct poly_vector_stats *stats, struct poly_error *err)
{
    struct poly_vectors *self = poly_vectors_of(projected->store);
    struct poly_collection_numbers numbers;
    struct poly_vector_generation *generation;
    const struct poly_domain_vector *ignored;
    struct poly_vector_body *body;
    struct poly_vector_set *set;
    enum poly_status status = find_set(projected, scope, &generation, &set, err);

    if (status != POLY_OK)
        return status;
    body = poly_vectors_hold(self, set, &ignored);
    poly_collection_measure(body->collection, &numbers);
    stats->vectors = numbers.live;
    stats->dead = numbers.index.dead;
    stats->linked = numbers.index.linked;
    stats->unlinked = numbers.index.unlinked;
    stats->memory_bytes = numbers.index.memory_bytes + numbers.catalog_bytes;
    stats->file_bytes = numbers.file_bytes;
    stats->saved_position = poly_collection_saved(body->collection);
    poly_vectors_let(body);
    stats->searches = atomic_load(&set->searches);
    stats->visited = atomic_load(&set->visited);
    pthread_mutex_lock(&self->lock);
    stats->samples = set->samples;
    stats->recall = set->samples == 0 ? __builtin_nan("") : set->recall;
    pthread_mutex_unlock(&self->lock);
    return POLY_OK;
}

static const struct poly_capability capabilities[] = {
    {"co-located", true, "seen with the commit; or it follows the log on a thread of its own"},
    {"large-dimensions", true, "as any others"},
    {"sampled", true, "one search in a thousand is compared with an exact one"},
    {"visited", true, "how many distances were computed"},
    {NULL, false, NULL},
};

const struct poly_vector_driver poly_vector_embedded = {
    .base = {.store = "vector",
             .name = "embedded",
             .capabilities = capabilities,
             .can_colocate = true,
             .models = true,
             .open = open_store,
             .close = close_store,
             .shape = poly_vector_shape,
             .wants = wants,
             .prepare = prepare,
             .drop = drop,
             .applied = applied,
             .opening = poly_vectors_opening,
             .apply = apply,
             .settle = settle,
             .saved = saved,
             .trouble = trouble,
             .count = count},
    .search = search,
    .search_all = search_all,
    .stats = stats,
};
