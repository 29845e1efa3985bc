/*
 * Opening a projection decides which generation may serve. What shapes the
 * store (fields, weights, tokenizer) has a digest beside the generation: under
 * another one the old index would lie, so a new one is filled. The same when
 * a follower's file was thrown away, or stands beyond the end of the log.
 */
#include "core/projection.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "core/projector.h"

/* Between two looks at a projection that is to serve. */
enum { AWAIT_US = 20000 };

/* A batch stops long before, but for one record. */
static const size_t records_max = 2 * POLY_MAX_IMAGE;

static const char load[] = "SELECT generation, previous, building, stopped, position, reason, time,"
                           " setup FROM poly_projection WHERE store = ?1";
static const char load_skips[] = "SELECT position FROM poly_skip WHERE store = ?1";

/* --- opening --- */

static void add_text(void *state, const char *text)
{
    crypto_generichash_update(state, (const uint8_t *)(text == NULL ? "" : text),
                              text == NULL ? 1 : strlen(text) + 1);
}

static void digest_setup(struct poly_projection *projection)
{
    crypto_generichash_state state;

    crypto_generichash_init(&state, NULL, 0, sizeof(projection->setup));
    add_text(&state, projection->driver->name);
    add_text(&state, projection->follower ? "follower" : "colocated");
    (void)projection->driver->shape(projection->instance->config, add_text, &state);
    crypto_generichash_final(&state, projection->setup, sizeof(projection->setup));
}

static enum poly_status load_row(struct poly_projection *projection, struct poly_db *db, bool *fits,
                                 struct poly_error *err)
{
    struct poly_progress *work = &projection->work;
    struct poly_stmt get;
    enum poly_status status = poly_stmt_open(&get, db, load, err);
    const void *setup;
    size_t size;
    bool row;

    if (status != POLY_OK)
        return status;
    *work = (struct poly_progress){.stopped = false};
    poly_stmt_text(&get, 1, poly_text(projection->name));
    status = poly_stmt_row(&get, &row, err);
    *fits = false;
    if (status != POLY_OK || !row)
        return status;
    work->active.number = (uint64_t)poly_stmt_get_int(&get, 0);
    work->previous.number = (uint64_t)poly_stmt_get_int(&get, 1);
    work->building.number = (uint64_t)poly_stmt_get_int(&get, 2);
    work->stopped = poly_stmt_get_int(&get, 3) != 0;
    work->position = (uint64_t)poly_stmt_get_int(&get, 4);
    struct poly_text reason = poly_stmt_get_text(&get, 5);

    snprintf(work->error, sizeof(work->error), "%.*s", (int)reason.size, reason.data);
    work->error_time = poly_stmt_get_int(&get, 6);
    setup = poly_stmt_get_bytes(&get, 7, &size);
    *fits = size == sizeof(projection->setup) && memcmp(setup, projection->setup, size) == 0;
    poly_stmt_close(&get);
    return POLY_OK;
}

static enum poly_status load_skip_list(struct poly_projection *projection, struct poly_db *db,
                                       struct poly_error *err)
{
    struct poly_stmt get;
    enum poly_status status = poly_stmt_open(&get, db, load_skips, err);
    bool row = true;

    if (status != POLY_OK)
        return status;
    projection->work.skipped = 0;
    poly_stmt_text(&get, 1, poly_text(projection->name));
    while ((status = poly_stmt_row(&get, &row, err)) == POLY_OK && row) {
        uint64_t *more = realloc(projection->skips, (projection->work.skipped + 1) * sizeof(*more));

        if (more == NULL) {
            poly_stmt_close(&get);
            return poly_no_memory(err);
        }
        projection->skips = more;
        more[projection->work.skipped++] = (uint64_t)poly_stmt_get_int(&get, 0);
    }
    return status;
}

static enum poly_status load_applied(struct poly_projection *projection, struct poly_db *db,
                                     struct poly_generation *generation, struct poly_error *err)
{
    enum poly_status status;

    if (generation->number == 0)
        return POLY_OK;
    status = projection->driver->applied(projection->store, db, generation->number,
                                         &generation->applied, err);
    generation->stored = generation->applied;
    return status;
}

static enum poly_status make(struct poly_projection *projection, struct poly_db *db,
                             struct poly_generation *generation, struct poly_error *err)
{
    enum poly_status status;

    if (generation->number == 0)
        return POLY_OK;
    status = projection->driver->prepare(projection->store, db, generation->number, err);
    return status == POLY_OK ? load_applied(projection, db, generation, err) : status;
}

/*
 * lost: the one that serves is not there any more. It is not made again, for an empty one at
 * position 0 is one that serves and has not come to anything yet.
 */
static enum poly_status load_all(struct poly_projection *projection, struct poly_db *db, bool *lost,
                                 struct poly_error *err)
{
    struct poly_progress *work = &projection->work;
    enum poly_status status = load_applied(projection, db, &work->active, err);

    *lost = status == POLY_NOT_FOUND;
    if (status == POLY_OK || *lost)
        status = make(projection, db, &work->previous, err);
    return status == POLY_OK ? make(projection, db, &work->building, err) : status;
}

enum poly_status poly_projection_begin(struct poly_projection *projection, struct poly_db *db,
                                       uint64_t number, struct poly_error *err)
{
    enum poly_status status = projection->driver->drop(projection->store, db, number, err);

    return status == POLY_OK ? projection->driver->prepare(projection->store, db, number, err)
                             : status;
}

uint64_t poly_projection_next(const struct poly_progress *work)
{
    uint64_t number = work->active.number;

    number = work->previous.number > number ? work->previous.number : number;
    return (work->building.number > number ? work->building.number : number) + 1;
}

/* All generations go; the first of the new kind is filled. That is made first: where it cannot be,
 * nothing has gone. */
enum poly_status poly_projection_start_over(struct poly_projection *projection, struct poly_db *db,
                                            struct poly_error *err)
{
    struct poly_progress *work = &projection->work;
    struct poly_generation *old[] = {&work->active, &work->previous, &work->building};
    uint64_t number = poly_projection_next(work);
    enum poly_status status = poly_projection_begin(projection, db, number, err);

    for (size_t i = 0; i < 3 && status == POLY_OK; i++) {
        if (old[i]->number != 0)
            status = projection->driver->drop(projection->store, db, old[i]->number, err);
        if (status == POLY_OK)
            *old[i] = (struct poly_generation){0};
    }
    work->stopped = work->previous_stopped = work->building_stopped = false;
    work->building.number = number;
    return status;
}

/* Not against the head: where many write at a time, that may stand lower than it did before. */
static bool reached(const struct poly_projection *projection,
                    const struct poly_generation *generation)
{
    struct poly_owner *owner = projection->instance->owner;

    return owner->driver->reached(owner, generation->applied);
}

static enum poly_status recover(struct poly_db *db, void *arg, struct poly_error *err)
{
    struct poly_projection *projection = arg;
    struct poly_progress *work = &projection->work;
    struct poly_db *on = projection->follower ? NULL : db;
    uint64_t head = atomic_load(&projection->instance->owner->durable);
    bool fits = false, lost = false;
    enum poly_status status = load_row(projection, db, &fits, err);

    if (status == POLY_OK)
        status = load_skip_list(projection, db, err);
    if (status == POLY_OK && fits)
        status = load_all(projection, on, &lost, err);
    if (status != POLY_OK)
        return status;
    bool beyond = !reached(projection, &work->active) || !reached(projection, &work->building) ||
                  !reached(projection, &work->previous);

    if (lost) { /* why it is filled again */
        work->error_time = poly_clock_wall();
        snprintf(work->error, sizeof(work->error), "%.250s", err->message);
    }
    if (!fits || lost || beyond || projection->lost != 0)
        status = poly_projection_start_over(projection, on, err);
    if (status == POLY_OK && work->building.number != 0 && head == 0) {
        work->active = work->building;
        work->building = (struct poly_generation){0};
    }
    return status == POLY_OK ? poly_projector_save(projection, db, err) : status;
}

enum poly_status poly_projection_recover(struct poly_projection *projection, struct poly_error *err)
{
    struct poly_progress before = projection->work;
    enum poly_status status = poly_owner_run(projection->instance, recover, projection, false, err);

    if (!projection->follower && projection->driver->settle != NULL)
        projection->driver->settle(projection->store, status == POLY_OK);
    if (status == POLY_OK)
        projection->reload = false;
    else
        projection->work = before;
    return status;
}

/* --- looking on, while another daemon applies --- */

static enum poly_status look_at(struct poly_projection *projection,
                                struct poly_generation *generation, struct poly_error *err)
{
    enum poly_status status = load_applied(projection, NULL, generation, err);

    if (status == POLY_NOT_FOUND) /* just dropped, or not yet made */
        *generation = (struct poly_generation){0};
    return status == POLY_NOT_FOUND ? POLY_OK : status;
}

static enum poly_status look(struct poly_projection *projection, struct poly_db *db,
                             struct poly_error *err)
{
    struct poly_progress *work = &projection->work;
    bool fits = false;
    enum poly_status status = load_row(projection, db, &fits, err);

    if (status == POLY_OK)
        status = load_skip_list(projection, db, err);
    if (status != POLY_OK)
        return status;
    if (!fits) {
        bool made = work->active.number != 0 || work->building.number != 0;

        *work = (struct poly_progress){.building_stopped = made};
        snprintf(work->error, sizeof(work->error),
                 "another daemon applies, with another configuration of %s",
                 projection->driver->store);
        return POLY_OK;
    }
    status = look_at(projection, &work->active, err);
    if (status == POLY_OK)
        status = look_at(projection, &work->previous, err);
    return status == POLY_OK ? look_at(projection, &work->building, err) : status;
}

enum poly_status poly_projection_observe(struct poly_projection *projection, struct poly_error *err)
{
    struct poly_owner *owner = projection->instance->owner;
    struct poly_progress before = projection->work;
    struct poly_db *reader = owner->driver->take(owner, err);
    enum poly_status status;

    if (reader == NULL)
        return err->status;
    status = look(projection, reader, err);
    owner->driver->give(owner, reader);
    if (status != POLY_OK)
        projection->work = before;
    return status;
}

static void projection_free(struct poly_projection *projection)
{
    if (projection == NULL)
        return;
    if (projection->store != NULL)
        projection->driver->close(projection->store);
    poly_arena_free(projection->records);
    poly_arena_free(projection->scratch);
    poly_arena_free(projection->next);
    poly_signal_destroy(&projection->applied);
    pthread_cond_destroy(&projection->commanded);
    pthread_mutex_destroy(&projection->lock);
    free(projection->skips);
    free(projection);
}

static struct poly_projection *projection_new(struct poly_instance *instance,
                                              const struct poly_driver *driver,
                                              const struct poly_store_config *config)
{
    struct poly_projection *self = calloc(1, sizeof(*self));

    if (self == NULL)
        return NULL;
    self->instance = instance;
    self->driver = driver;
    /* On a server the log is everybody's, and an embedded follower its daemon's alone. */
    snprintf(self->name, sizeof(self->name), "%s%s%s", driver->store,
             *instance->node == '\0' || driver->lead != NULL ? "" : "@",
             driver->lead != NULL ? "" : instance->node);
    self->config = config;
    self->follower = config->follower;
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->commanded, NULL);
    poly_signal_init(&self->applied);
    self->records = poly_arena_new(records_max);
    self->scratch = poly_arena_new(records_max);
    self->next = poly_arena_new(records_max);
    if (self->records == NULL || self->scratch == NULL || self->next == NULL) {
        projection_free(self);
        return NULL;
    }
    digest_setup(self);
    return self;
}

static enum poly_status projection_open(struct poly_instance *instance,
                                        const struct poly_driver *driver,
                                        const struct poly_store_config *config,
                                        struct poly_error *err)
{
    struct poly_projection *self = projection_new(instance, driver, config);
    struct poly_store_open how = {.config = instance->config,
                                  .store = config,
                                  .instance = instance,
                                  .projection = self,
                                  .follower = config->follower,
                                  .data = instance->data,
                                  .id = instance->owner->id};
    enum poly_status status;

    if (self == NULL)
        return poly_no_memory(err);
    status = driver->open(&how, &self->store, err);
    self->leads = true;
    if (status == POLY_OK && driver->lead != NULL)
        status = driver->lead(self->store, false, &self->leads, err);
    if (status == POLY_OK)
        status =
            self->leads ? poly_projection_recover(self, err) : poly_projection_observe(self, err);
    if (status != POLY_OK) {
        projection_free(self);
        return status;
    }
    self->live = self->work;
    if (driver->saved != NULL)
        atomic_store(&self->least, atomic_load(&instance->owner->durable));
    atomic_store(&self->applied.value, self->work.active.applied);
    instance->projections[instance->projection_count] = self;
    atomic_fetch_add(&instance->projection_count, 1);
    if (self->follower) {
        if (pthread_create(&self->thread, NULL, poly_projector_thread, self) != 0)
            return poly_fail(err, POLY_UNAVAILABLE, "%s: cannot start its thread", driver->store);
        self->thread_runs = true;
        pthread_setname_np(self->thread, "poly-projector");
    }
    return POLY_OK;
}

static void add_nothing(void *arg, const char *text)
{
    (void)arg;
    (void)text;
}

enum poly_status poly_projections_open(struct poly_instance *instance, struct poly_error *err)
{
    enum poly_status status = POLY_OK;
    size_t count = 0;

    while (poly_drivers[count] != NULL)
        count++;
    instance->projections = calloc(count + 1, sizeof(struct poly_projection *));
    if (instance->projections == NULL)
        return poly_no_memory(err);
    for (size_t i = 0; i < count && status == POLY_OK; i++) {
        const struct poly_store_config *config =
            poly_config_store(instance->config, poly_drivers[i]->store);

        if (config != NULL && strcmp(config->driver, poly_drivers[i]->name) == 0 &&
            poly_drivers[i]->shape(instance->config, add_nothing, NULL))
            status = projection_open(instance, poly_drivers[i], config, err);
    }
    poly_models_reach(instance);
    instance->owner->driver->kick(instance->owner);
    return status;
}

enum poly_status poly_instance_use(struct poly_instance *instance, const char *store,
                                   struct poly_error *err)
{
    const struct poly_store_config *config = poly_config_store(instance->config, store);
    enum poly_status status = POLY_OK;

    if (instance->projections == NULL)
        return POLY_OK;
    pthread_mutex_lock(&instance->opening);
    if (atomic_load(&instance->closing))
        status = poly_fail(err, POLY_UNAVAILABLE, "the instance is being closed");
    for (size_t i = 0; status == POLY_OK && poly_drivers[i] != NULL; i++) {
        if (poly_instance_projection(instance, store) == NULL &&
            strcmp(poly_drivers[i]->store, store) == 0 &&
            strcmp(poly_drivers[i]->name, config->driver) == 0)
            status = projection_open(instance, poly_drivers[i], config, err);
    }
    pthread_mutex_unlock(&instance->opening);
    if (status == POLY_OK)
        instance->owner->driver->kick(instance->owner);
    return status;
}

enum poly_status poly_instance_accepts(struct poly_instance *instance, const char *store,
                                       const struct poly_domain *domain, struct poly_error *err)
{
    const struct poly_projection *projection;
    enum poly_status status = poly_instance_use(instance, store, err);

    if (status != POLY_OK || instance->projections == NULL)
        return status;
    projection = poly_instance_projection(instance, store);
    return projection == NULL || projection->driver->accepts == NULL
               ? POLY_OK
               : projection->driver->accepts(projection->store, domain, err);
}

/* Positions that moved without effect are worth keeping: the next start is shorter. */
static enum poly_status keep_position(struct poly_db *db, void *arg, struct poly_error *err)
{
    struct poly_projection *projection = arg;
    struct poly_generation *generation = &projection->work.active;
    struct poly_batch batch = {.after = generation->stored, .last = generation->applied};

    if (!projection->leads || generation->number == 0 || generation->stored == generation->applied)
        return POLY_OK;
    return projection->driver->apply(projection->store, projection->follower ? NULL : db,
                                     generation->number, &batch, err);
}

void poly_projections_close(struct poly_instance *instance)
{
    struct poly_error ignored;

    pthread_mutex_lock(&instance->opening); /* until one that is being opened is */
    pthread_mutex_unlock(&instance->opening);
    poly_signal_poke(&instance->head);
    for (size_t i = 0; i < instance->projection_count; i++) {
        struct poly_projection *projection = instance->projections[i];

        if (projection->thread_runs)
            pthread_join(projection->thread, NULL);
        (void)poly_owner_run(instance, keep_position, projection, false, &ignored);
        pthread_mutex_lock(&projection->lock);
        projection->closing = true;
        pthread_mutex_unlock(&projection->lock);
    }
}

void poly_projections_free(struct poly_instance *instance)
{
    for (size_t i = 0; i < instance->projection_count; i++)
        projection_free(instance->projections[i]);
    free(instance->projections);
}

/* --- the writer's hooks --- */

enum poly_status poly_projections_apply(struct poly_instance *instance, struct poly_db *db,
                                        uint64_t head, bool *behind, struct poly_error *err)
{
    enum poly_status status = POLY_OK;

    for (size_t i = 0; i < instance->projection_count && status == POLY_OK; i++) {
        if (!instance->projections[i]->follower)
            status = poly_projector_group(instance->projections[i], db, head, behind, err);
    }
    return status;
}

void poly_projections_published(struct poly_instance *instance, bool committed)
{
    poly_models_settle(instance);
    for (size_t i = 0; i < instance->projection_count; i++) {
        if (!instance->projections[i]->follower)
            poly_projector_publish(instance->projections[i], committed);
    }
}

/* A generation needs the log from there on. */
static uint64_t generation_floor(const struct poly_projection *projection,
                                 const struct poly_generation *generation)
{
    const struct poly_driver *driver = projection->driver;
    uint64_t saved =
        driver->saved == NULL ? UINT64_MAX : driver->saved(projection->store, generation->number);

    return saved < generation->applied ? saved : generation->applied;
}

uint64_t poly_projections_floor(struct poly_instance *instance)
{
    uint64_t floor = atomic_load(&instance->head.value);

    for (size_t i = 0; i < instance->projection_count; i++) {
        struct poly_projection *projection = instance->projections[i];

        pthread_mutex_lock(&projection->lock);
        const struct poly_generation *all[] = {&projection->live.active, &projection->live.previous,
                                               &projection->live.building};

        for (size_t g = 0; g < 3; g++) {
            uint64_t needed;

            if (all[g]->number == 0 ||
                (all[g] == &projection->live.previous && projection->live.previous_stopped))
                continue;
            needed = generation_floor(projection, all[g]);
            floor = needed < floor ? needed : floor;
        }
        pthread_mutex_unlock(&projection->lock);
    }
    return floor;
}

struct poly_projection *poly_instance_projection(struct poly_instance *instance, const char *store)
{
    for (size_t i = 0; i < instance->projection_count; i++) {
        if (strcmp(instance->projections[i]->driver->store, store) == 0)
            return instance->projections[i];
    }
    return NULL;
}

/* --- the fence --- */

bool poly_projector_reads(struct poly_projection *projection, uint64_t number)
{
    for (size_t i = 0; i < 4; i++) {
        if (projection->readers[i].number == number && projection->readers[i].count > 0)
            return true;
    }
    return false;
}

bool poly_projector_enter(struct poly_projection *projection, uint64_t number)
{
    size_t free_slot = 4;

    for (size_t i = 0; i < 4; i++) {
        if (projection->readers[i].count > 0 && projection->readers[i].number == number) {
            projection->readers[i].count++;
            return true;
        }
        if (projection->readers[i].count == 0)
            free_slot = i;
    }
    if (free_slot == 4)
        return false;
    projection->readers[free_slot].number = number;
    projection->readers[free_slot].count = 1;
    return true;
}

void poly_projector_leave(struct poly_projection *projection, uint64_t number)
{
    for (size_t i = 0; i < 4; i++) {
        if (projection->readers[i].count > 0 && projection->readers[i].number == number)
            projection->readers[i].count--;
    }
}

void poly_projections_reach(struct poly_instance *instance, uint64_t position)
{
    for (size_t i = 0; i < instance->projection_count; i++) {
        if (instance->projections[i]->driver->models)
            poly_projection_least(instance->projections[i], position);
    }
}

/* What the session's token asks for, and what could be seen before the last start. */
static uint64_t wanted(const struct poly_projection *projection, const struct poly_session *session)
{
    uint64_t least = atomic_load(&projection->least);

    return session->after > least ? session->after : least;
}

/* May this generation answer what the session asks? POLY_TIMEOUT stands for "not yet". */
static enum poly_status may_answer(struct poly_projection *projection,
                                   const struct poly_session *session, bool *opening,
                                   struct poly_error *err)
{
    const struct poly_progress *live = &projection->live;
    const char *store = projection->driver->store;
    double share = 0;

    *opening = poly_projection_opens(projection, &share);
    if (*opening)
        return poly_projection_say_opening(projection, share, err);
    if (live->active.number == 0)
        return poly_fail(err, live->building_stopped ? POLY_UNAVAILABLE : POLY_TIMEOUT,
                         "%s: the index is being filled (%llu of %llu)%s%.200s", store,
                         (unsigned long long)live->building.applied,
                         (unsigned long long)atomic_load(&projection->instance->head.value),
                         live->building_stopped ? "; stopped: " : "",
                         live->building_stopped ? live->error : "");
    if (session->consistency == POLY_STALE)
        return POLY_OK;
    if (live->stopped)
        return poly_fail(err, POLY_UNAVAILABLE, "%s: the projection stopped at record %llu: %.200s",
                         store, (unsigned long long)live->position, live->error);
    if (live->active.applied >= wanted(projection, session))
        return POLY_OK;
    if (live->active.applied >= session->after)
        return poly_fail(err, POLY_TIMEOUT,
                         "%s: applied up to %llu, and has to reach %llu after a start or a change "
                         "of model",
                         store, (unsigned long long)live->active.applied,
                         (unsigned long long)atomic_load(&projection->least));
    return poly_fail(err, POLY_TIMEOUT, "%s: applied up to %llu, the token asks for %llu", store,
                     (unsigned long long)live->active.applied, (unsigned long long)session->after);
}

/* Returns with the lock when POLY_OK. */
static enum poly_status pass_fence(struct poly_projection *projection, struct poly_session *session,
                                   struct poly_error *err)
{
    int64_t deadline = poly_clock_monotonic() + (int64_t)session->deadline_ms * 1000;

    for (;;) {
        unsigned seen = poly_signal_seen(&projection->applied);
        enum poly_status status;
        bool opening;

        pthread_mutex_lock(&projection->lock);
        status = may_answer(projection, session, &opening, err);
        if (status == POLY_OK)
            return POLY_OK;
        bool filling = projection->live.active.number == 0;

        pthread_mutex_unlock(&projection->lock);
        if (status == POLY_TIMEOUT && (filling || session->consistency == POLY_FAIL)) {
            err->status = POLY_UNAVAILABLE;
            return POLY_UNAVAILABLE;
        }
        if (status != POLY_TIMEOUT || poly_clock_monotonic() >= deadline)
            return status;
        poly_owner_await(session->instance->owner, session->after);
        poly_signal_wait(&projection->applied, opening ? UINT64_MAX : wanted(projection, session),
                         deadline, seen);
    }
}

void poly_projection_await(struct poly_session *session, const char *store)
{
    struct poly_projection *projection = poly_instance_projection(session->instance, store);
    int64_t deadline = poly_clock_monotonic() + (int64_t)session->deadline_ms * 1000;
    bool serves = projection == NULL;

    while (!serves && poly_clock_monotonic() < deadline) {
        unsigned seen = poly_signal_seen(&projection->applied);
        int64_t until = poly_clock_monotonic() + AWAIT_US;

        pthread_mutex_lock(&projection->lock);
        serves = projection->live.active.number != 0 || projection->live.building_stopped;
        pthread_mutex_unlock(&projection->lock);
        if (!serves)
            poly_signal_wait(&projection->applied, UINT64_MAX, until < deadline ? until : deadline,
                             seen);
    }
}

static enum poly_status find(struct poly_session *session, const char *store,
                             struct poly_projection **projection, struct poly_error *err)
{
    enum poly_status status = poly_session_require(session, POLY_RIGHT_READ, "reading", err);

    *projection = poly_instance_projection(session->instance, store);
    if (status == POLY_OK && *projection == NULL)
        return poly_fail(err, POLY_INVALID, "%s: no domain of the configuration uses it", store);
    return status;
}

enum poly_status poly_projection_direct(struct poly_session *session, const char *store,
                                        struct poly_projected *projected, struct poly_error *err)
{
    struct poly_projection *projection;
    enum poly_status status = find(session, store, &projection, err);

    if (status != POLY_OK)
        return status;
    pthread_mutex_lock(&projection->lock);
    *projected = (struct poly_projected){.store = projection->store,
                                         .generation = projection->live.active.number};
    pthread_mutex_unlock(&projection->lock);
    session->freshness =
        (struct poly_freshness){.wanted = session->after, .applied = session->after};
    return POLY_OK;
}

enum poly_status poly_projection_read(struct poly_session *session, const char *store,
                                      struct poly_projected *projected, struct poly_error *err)
{
    struct poly_freshness freshness = {.wanted = session->after};
    struct poly_projection *projection;
    enum poly_status status = find(session, store, &projection, err);
    bool in;

    if (status != POLY_OK)
        return status;
    status = pass_fence(projection, session, err);
    if (status != POLY_OK)
        return status;
    *projected = (struct poly_projected){.store = projection->store,
                                         .generation = projection->live.active.number};
    freshness.applied = projection->live.active.applied;
    freshness.stale = freshness.applied < wanted(projection, session) || projection->live.stopped;
    in = poly_projector_enter(projection, projected->generation);
    pthread_mutex_unlock(&projection->lock);
    if (!in)
        return poly_fail(err, POLY_UNAVAILABLE, "%s: too many generations are read", store);
    if (!projection->follower) {
        status = poly_session_read(session, &projected->db, err);
        if (status != POLY_OK) {
            projected->db = NULL;
            poly_projection_read_end(session, projected);
            return status;
        }
    }
    session->freshness = freshness;
    return POLY_OK;
}

void poly_projection_read_end(struct poly_session *session, struct poly_projected *projected)
{
    struct poly_instance *instance = session->instance;

    if (projected->db != NULL)
        poly_session_read_end(session);
    for (size_t p = 0; p < instance->projection_count; p++) {
        struct poly_projection *projection = instance->projections[p];

        if (projection->store != projected->store)
            continue;
        pthread_mutex_lock(&projection->lock);
        poly_projector_leave(projection, projected->generation);
        pthread_mutex_unlock(&projection->lock);
    }
}
