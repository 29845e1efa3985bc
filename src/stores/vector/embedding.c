/*
 * The threads. Each looks after one vector of one domain, so that an embedder that is slow or away
 * holds up nothing but what it makes itself.
 *
 * A request that failed is made again after a while that doubles, for ever; what is new is written
 * down meanwhile. Nothing is given up but what the server refuses for good.
 *
 * Among daemons the lease of a name says who does it, as with subscriptions. It is renewed by a
 * thread of its own, for a request may take longer than the lease. Were it lost in the middle of
 * one, two would ask for the same texts: each writes only into the record that it has read, so that
 * the second finds nothing to do.
 */
#include "stores/vector/embedding.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/limits.h"
#include "core/config.h"
#include "core/model.h"
#include "core/vector.h"
#include "stores/vector/embedding_inside.h"
#include "stores/vector/embedding_text.h"

enum {                         /* microseconds */
       LOOK_EVERY = 10000,     /* between two looks at the log, under load */
       SHARED_EVERY = 3000000, /* what another daemon was asked for */
       RETRY_FIRST = 250000,   /* after a failure, then twice as long each time … */
       RETRY_MAX = 60000000,
       RENEW_EVERY = POLY_LEASE_MS * 1000 / 5
};

struct poly_embedder_open {
    struct poly_embedder_open *following;
    const struct poly_embedder_config *config;
    struct poly_embedder *embedder;
    uint32_t dimensions;
    char model[];
};

static const size_t arena_max = (size_t)256 * 1024 * 1024;

enum poly_status poly_embedding_write(struct poly_embedding *self, poly_write_fn *fn, void *arg,
                                      struct poly_error *err)
{
    struct poly_owner *owner = poly_instance_owner(self->all->instance);
    struct poly_request request = {.run = fn, .arg = arg, .repeatable = true};

    return owner->driver->run(owner, &request, err);
}

/* --- who is asked --- */

static struct poly_embedder_open *find_open(struct poly_embeddings *all,
                                            const struct poly_embedder_config *config,
                                            const struct poly_domain_vector *vector)
{
    struct poly_embedder_open *one = all->opened;

    while (one != NULL && (one->config != config || one->dimensions != vector->dimensions ||
                           strcmp(one->model, vector->model) != 0))
        one = one->following;
    return one;
}

static enum poly_status open_embedder(struct poly_embeddings *all,
                                      const struct poly_embedder_config *config,
                                      const struct poly_domain_vector *vector,
                                      struct poly_embedder_open **opened, struct poly_error *err)
{
    const struct poly_embedder_options options = {.url = config->url,
                                                  .model = vector->model,
                                                  .key_env = config->key_env,
                                                  .key_file = config->key_file,
                                                  .ca_file = config->ca_file,
                                                  .dimensions = (int)vector->dimensions,
                                                  .shorten = config->shorten,
                                                  .base64 = config->base64,
                                                  .batch_texts = (int)config->batch,
                                                  .requests_per_minute =
                                                      (int)config->requests_per_minute,
                                                  .texts_per_minute = (int)config->texts_per_minute,
                                                  .connect_ms = (int)config->connect_ms,
                                                  .request_ms = (int)config->timeout_ms};
    size_t size = strlen(vector->model) + 1;
    struct poly_embedder_open *made = calloc(1, sizeof(*made) + size);
    enum poly_status status;

    if (made == NULL)
        return poly_no_memory(err);
    made->config = config;
    made->dimensions = vector->dimensions;
    memcpy(made->model, vector->model, size);
    status = poly_embedder_open(&options, &made->embedder, err);
    if (status != POLY_OK) {
        free(made);
        return poly_fail_in(err, status, "embedders.%s", config->name);
    }
    made->following = all->opened;
    all->opened = *opened = made;
    return POLY_OK;
}

enum poly_status poly_embeddings_embedder(struct poly_embeddings *all,
                                          const struct poly_domain_vector *vector,
                                          struct poly_embedder **embedder, struct poly_error *err)
{
    const struct poly_embedder_config *config =
        poly_config_embedder(poly_instance_config(all->instance), vector->embedder);
    struct poly_embedder_open *opened;
    enum poly_status status = POLY_OK;

    if (config == NULL)
        return poly_fail(err, POLY_INVALID,
                         "there is no embedder '%.128s'; give it a url under 'embedders' in "
                         "polystore.yaml",
                         vector->embedder);
    pthread_mutex_lock(&all->lock);
    opened = find_open(all, config, vector);
    if (opened == NULL && atomic_load(&all->closing)) /* nobody would stop it */
        status = poly_fail(err, POLY_UNAVAILABLE, "the request was stopped");
    else if (opened == NULL)
        status = open_embedder(all, config, vector, &opened, err);
    pthread_mutex_unlock(&all->lock);
    if (status == POLY_OK)
        *embedder = opened->embedder;
    return status;
}

/* --- what holds it up, for everybody to see --- */

struct trouble {
    struct poly_embedding *self;
    const char *error;
};

static enum poly_status put_trouble(struct poly_db *db, void *arg, struct poly_error *err)
{
    const struct trouble *trouble = arg;

    return poly_embedding_trouble(db, &trouble->self->name, trouble->error,
                                  *trouble->error == '\0' ? 0 : poly_clock_wall(), err);
}

/* Written once for each reason. Where that cannot be written the log itself is away, and says so.
 */
static void say(struct poly_embedding *self, const char *message)
{
    char error[POLY_EMBEDDING_ERROR];
    struct trouble trouble = {self, error};
    struct poly_error ignored;

    snprintf(error, sizeof(error), "%s", message);
    if (self->begun && strcmp(error, self->error) == 0)
        return;
    if (poly_embedding_write(self, put_trouble, &trouble, &ignored) == POLY_OK)
        memcpy(self->error, error, sizeof(error));
}

static void failed(struct poly_embedding *self, const struct poly_error *err)
{
    if (atomic_load(&self->all->closing))
        return;
    self->again = poly_clock_monotonic() + self->pause;
    self->pause = self->pause * 2 > RETRY_MAX ? RETRY_MAX : self->pause * 2;
    self->alone = true;
    say(self, err->message);
}

static void succeeded(struct poly_embedding *self)
{
    self->again = 0;
    self->pause = RETRY_FIRST;
    self->alone = false;
    say(self, "");
}

/* --- one vector --- */

static bool may_try(struct poly_embedding *self)
{
    if (atomic_exchange(&self->nudged, false))
        self->again = 0;
    return poly_clock_monotonic() >= self->again;
}

static void *look_after(void *arg);

static void begin_thread(struct poly_embedding *self)
{
    self->runs = pthread_create(&self->thread, NULL, look_after, self) == 0;
    if (self->runs)
        pthread_setname_np(self->thread, "poly-embedder");
}

/* The next one gets its thread; where a swap waits for it, this one makes nothing for a while. */
static bool lets_next_pass(struct poly_embedding *self)
{
    int64_t pause = 0;

    if (self->next == NULL || !poly_embedding_has_next(self, &pause))
        return false;
    if (!self->next->runs)
        begin_thread(self->next);
    if (pause > 0)
        self->again = poly_clock_monotonic() + pause; /* nothing wakes it before */
    return pause > 0;
}

static void ended(struct poly_embedding *self, enum poly_status status, bool tried,
                  const struct poly_error *err)
{
    struct poly_error ignored;

    if (status == POLY_CONFLICT) { /* it is another model's by now */
        self->begun = false;
        self->again = poly_clock_monotonic() + LOOK_EVERY;
        (void)!poly_models_look(self->all->instance, &ignored);
    } else if (status != POLY_OK) {
        failed(self, err);
    } else if (tried) {
        succeeded(self);
    }
}

/* One turn. *worked: there may be more to do. */
static void turn(struct poly_embedding *self, bool *worked)
{
    struct poly_error err = {.position = -1};
    bool waits = lets_next_pass(self);
    enum poly_status status = poly_embedding_aim(self, &err); /* what is new is tried at once */
    bool try = !waits && may_try(self);

    *worked = false;
    if (!try && (status != POLY_OK || !self->begun))
        return;
    if (status == POLY_OK && self->vector == NULL)
        return;
    if (status == POLY_OK && !self->begun)
        status = poly_embedding_resume(self, &err);
    if (status == POLY_OK)
        status = poly_embedding_follow(self, &err);
    if (status == POLY_OK && try)
        status = poly_embedding_make(self, worked, &err);
    ended(self, status, try, &err);
    *worked = *worked && status == POLY_OK;
}

static void nap(struct poly_embeddings *all, int64_t until)
{
    struct timespec at = {until / 1000000, until % 1000000 * 1000};
    int code = 0;

    pthread_mutex_lock(&all->lock);
    while (!atomic_load(&all->closing) && code != ETIMEDOUT)
        code = pthread_cond_timedwait(&all->woken, &all->lock, &at);
    pthread_mutex_unlock(&all->lock);
}

/* Other daemons say how far it is, as the database knows it. */
static void tell_others(struct poly_embedding *self, int64_t now)
{
    struct poly_error ignored;

    if (!self->all->keeper_runs || !self->begun || !poly_embedding_leads(self) ||
        now < self->save_again)
        return;
    self->save_again = now + SHARED_EVERY;
    (void)poly_embedding_save(self, &ignored);
}

/* Until the log has more, or it is time to try again, or somebody asks. */
static void rest(struct poly_embedding *self, unsigned seen)
{
    struct poly_signal *signal = poly_instance_head(self->all->instance);
    int64_t now = poly_clock_monotonic(), until = self->again > now ? self->again : -1;

    if (self->all->keeper_runs)
        until = poly_clock_sooner(until, now + SHARED_EVERY);
    tell_others(self, now);
    nap(self->all, now + LOOK_EVERY);
    poly_signal_wait(signal, self->begun ? self->position + 1 : UINT64_MAX, until, seen);
}

static void *look_after(void *arg)
{
    struct poly_embedding *self = arg;
    struct poly_signal *signal = poly_instance_head(self->all->instance);

    for (;;) {
        unsigned seen = poly_signal_seen(signal);
        bool worked = false;

        if (atomic_load(&self->all->closing)) /* after seen: closing pokes */
            return NULL;
        if (poly_embedding_leads(self))
            turn(self, &worked);
        else
            self->begun = false;
        if (!worked)
            rest(self, seen);
    }
}

/* --- among daemons --- */

static void lease(struct poly_embedding *self, bool keep)
{
    struct poly_owner *owner = poly_instance_owner(self->all->instance);
    int64_t now = poly_clock_monotonic();
    char name[2 * POLY_MAX_NAME + 32];
    struct poly_error ignored;
    enum poly_status status;
    bool leads;

    snprintf(name, sizeof(name), "$embedding.%s.%s", self->domain->name, self->declared->name);
    if (!keep && !atomic_load(&self->leads))
        return;
    status = owner->driver->lease(owner, poly_text(""), poly_text(name), keep, &ignored);
    if (!keep)
        return;
    if (status == POLY_OK)
        self->leased = now;
    /* Nobody answers: it is ours for as long as it was given. */
    leads = status == POLY_OK || (status != POLY_EXISTS && atomic_load(&self->leads) &&
                                  now - self->leased < (int64_t)POLY_LEASE_MS * 1000 * 4 / 5);
    if (atomic_exchange(&self->leads, leads) != leads)
        poly_signal_poke(poly_instance_head(self->all->instance));
}

static void *keep_leases(void *arg)
{
    struct poly_embeddings *all = arg;

    while (!atomic_load(&all->closing)) {
        for (size_t i = 0; i < all->count && !atomic_load(&all->closing); i++)
            lease(&all->list[i], true);
        nap(all, poly_clock_monotonic() + RENEW_EVERY);
    }
    return NULL;
}

/* --- opening --- */

static void open_one(struct poly_embedding *self)
{
    if (self->serving == NULL)
        snprintf(self->queue, sizeof(self->queue), "%s", self->declared->name);
    else
        poly_filling_name(self->declared, self->queue);
    self->name.domain = poly_text(self->domain->name);
    self->name.name = poly_text(self->queue);
    self->pause = RETRY_FIRST;
    self->arena = poly_arena_new(arena_max);
    self->scratch = poly_arena_new(2 * POLY_MAX_IMAGE);
}

/* Of one that serves its embedder has to be there from the start. */
static enum poly_status open_pair(struct poly_embeddings *all, size_t at, struct poly_error *err)
{
    struct poly_embedding *self = &all->list[at], *next = &all->list[all->count + at];
    struct poly_embedder *embedder;

    *next = (struct poly_embedding){
        .all = all, .domain = self->domain, .declared = self->declared, .serving = self};
    self->next = next;
    open_one(self);
    open_one(next);
    if (self->arena == NULL || self->scratch == NULL || next->arena == NULL ||
        next->scratch == NULL)
        return poly_no_memory(err);
    return poly_embeddings_embedder(all, poly_vector_now(self->declared), &embedder, err);
}

static size_t count_all(const struct poly_config *config)
{
    size_t count = 0;

    for (size_t i = 0; i < config->domain_count; i++)
        for (size_t v = 0; v < config->domains[i].vector_count; v++)
            count += config->domains[i].vectors[v].embedder != NULL;
    return count;
}

static void list_all(struct poly_embeddings *self, const struct poly_config *config)
{
    for (size_t i = 0; i < config->domain_count; i++)
        for (size_t v = 0; v < config->domains[i].vector_count; v++)
            if (config->domains[i].vectors[v].embedder != NULL) {
                self->list[self->count].all = self;
                self->list[self->count].domain = &config->domains[i];
                self->list[self->count++].declared = &config->domains[i].vectors[v];
            }
}

enum poly_status poly_embeddings_open(struct poly_instance *instance,
                                      struct poly_embeddings **embeddings, struct poly_error *err)
{
    const struct poly_config *config = poly_instance_config(instance);
    size_t count = count_all(config);
    struct poly_embeddings *self;
    enum poly_status status = POLY_OK;
    pthread_condattr_t monotonic;

    *embeddings = NULL;
    if (count == 0)
        return POLY_OK;
    self = calloc(1, sizeof(*self) + 2 * count * sizeof(self->list[0]));
    if (self == NULL)
        return poly_no_memory(err);
    self->instance = instance;
    pthread_mutex_init(&self->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&self->woken, &monotonic);
    pthread_condattr_destroy(&monotonic);
    list_all(self, config);
    for (size_t i = 0; i < self->count && status == POLY_OK; i++)
        status = open_pair(self, i, err);
    if (status != POLY_OK)
        poly_embeddings_close(self);
    else
        *embeddings = self;
    return status;
}

/* Vectors of two models would stand side by side until all of them were made again. */
static enum poly_status check_model(struct poly_embedding *self, struct poly_db *db,
                                    struct poly_error *err)
{
    const struct poly_domain_vector *vector = poly_vector_now(self->declared);
    struct poly_embedding_state state;
    bool known;
    enum poly_status status;

    poly_arena_reset(self->arena);
    status = poly_embedding_state_get(db, &self->name, self->arena, &state, &known, err);
    if (status != POLY_OK || !known || state.model.size == 0 ||
        (strcmp(state.model.data, vector->model) == 0 && state.dimensions == vector->dimensions))
        return status;
    return poly_fail(err, POLY_INVALID,
                     "domain '%s': the vectors in '%s' were made by the model '%.100s' with %u "
                     "dimensions, not by '%.100s' with %u; write the former, start, and change "
                     "the model while it serves: 'polystore rebuild vector %s --model %.100s "
                     "--dimensions %u'",
                     self->domain->name, vector->field, state.model.data, state.dimensions,
                     vector->model, vector->dimensions, self->domain->name, vector->model,
                     vector->dimensions);
}

static enum poly_status check_models(struct poly_embeddings *embeddings, struct poly_error *err)
{
    struct poly_owner *owner = poly_instance_owner(embeddings->instance);
    struct poly_db *db = owner->driver->take(owner, err);
    enum poly_status status = db == NULL ? err->status : POLY_OK;

    for (size_t i = 0; i < embeddings->count && status == POLY_OK; i++)
        status = check_model(&embeddings->list[i], db, err);
    owner->driver->give(owner, db);
    return status;
}

enum poly_status poly_embeddings_start(struct poly_embeddings *embeddings, struct poly_error *err)
{
    const struct poly_owner *owner;
    enum poly_status status;

    if (embeddings == NULL)
        return POLY_OK;
    status = check_models(embeddings, err);
    if (status != POLY_OK)
        return status;
    owner = poly_instance_owner(embeddings->instance);
    embeddings->keeper_runs =
        owner->driver->lease != NULL &&
        pthread_create(&embeddings->keeper, NULL, keep_leases, embeddings) == 0;
    if (owner->driver->lease != NULL && !embeddings->keeper_runs)
        return poly_fail(err, POLY_UNAVAILABLE, "embedders: cannot start a thread");
    for (size_t i = 0; i < embeddings->count; i++) {
        struct poly_embedding *self = &embeddings->list[i];

        if (owner->driver->lease == NULL)
            atomic_store(&self->leads, true);
        begin_thread(self);
        if (!self->runs)
            return poly_fail(err, POLY_UNAVAILABLE, "embedders: cannot start a thread");
    }
    return POLY_OK;
}

void poly_embeddings_stop(struct poly_embeddings *embeddings)
{
    if (embeddings == NULL)
        return;
    pthread_mutex_lock(&embeddings->lock);
    atomic_store(&embeddings->closing, true);
    pthread_cond_broadcast(&embeddings->woken);
    for (struct poly_embedder_open *one = embeddings->opened; one != NULL; one = one->following)
        poly_embedder_stop(one->embedder);
    pthread_mutex_unlock(&embeddings->lock);
    poly_signal_poke(poly_instance_head(embeddings->instance));
    for (size_t i = 0; i < 2 * embeddings->count; i++) { /* those that begin others first */
        if (embeddings->list[i].runs)
            pthread_join(embeddings->list[i].thread, NULL);
        embeddings->list[i].runs = false;
    }
    if (embeddings->keeper_runs)
        pthread_join(embeddings->keeper, NULL);
    for (size_t i = 0; i < embeddings->count && embeddings->keeper_runs; i++)
        lease(&embeddings->list[i], false);
    embeddings->keeper_runs = false;
}

void poly_embeddings_close(struct poly_embeddings *embeddings)
{
    if (embeddings == NULL)
        return;
    poly_embeddings_stop(embeddings);
    for (size_t i = 0; i < 2 * embeddings->count; i++) {
        struct poly_embedding *self = &embeddings->list[i];

        poly_arena_free(self->arena);
        poly_arena_free(self->scratch);
        free(self->vectors);
        free(self->target);
    }
    while (embeddings->opened != NULL) {
        struct poly_embedder_open *following = embeddings->opened->following;

        poly_embedder_close(embeddings->opened->embedder);
        free(embeddings->opened);
        embeddings->opened = following;
    }
    pthread_cond_destroy(&embeddings->woken);
    pthread_mutex_destroy(&embeddings->lock);
    free(embeddings);
}
