/*
 * What vectors are by now is read from the database whenever it may have changed, and never
 * guessed from what is about to be committed: a transaction may still be rolled back, together with
 * others, and positions are then used again.
 */
#include "core/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/config.h"
#include "core/projector.h"

static const char all[] =
    "SELECT m.domain, m.name, m.change, m.model, m.dimensions, m.since, m.upto, e.embedder"
    " FROM poly_model AS m LEFT JOIN poly_model_embedder AS e"
    " ON e.domain = m.domain AND e.name = m.name AND e.change = m.change"
    " ORDER BY m.domain, m.name, m.change";
#define ADD                                                                                        \
    "INSERT INTO poly_model(domain, name, change, model, dimensions, since, upto)"                 \
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"
static const char add_before[] = ADD " ON CONFLICT (domain, name, change) DO NOTHING";
static const char add[] = ADD; /* fails where another has been quicker */
static const char add_embedder[] =
    "INSERT INTO poly_model_embedder(domain, name, change, embedder) VALUES (?1, ?2, ?3, ?4)"
    " ON CONFLICT (domain, name, change) DO NOTHING";
static const char last[] = "SELECT max(position) FROM poly_log";

/* Searches that have begun may hold one, so each is kept until the end. */
struct shape {
    struct shape *next;
    struct poly_domain_vector vector;
    char texts[]; /* model and embedder */
};

struct poly_models {
    pthread_mutex_t lock; /* one looks at a time */
    struct shape *shapes;
    uint64_t looks;
    _Atomic bool pending; /* the writer's group has a change, and has not ended */
    _Atomic bool unknown; /* it has, and what came of it could not be read */
};

uint64_t poly_models_of(const struct poly_domain *domain)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < domain->vector_count; i++)
        sum += poly_vector_now(&domain->vectors[i])->change;
    return sum;
}

/* --- the table --- */

static enum poly_status add_shape(struct poly_db *db, const char *sql, const char *domain,
                                  const struct poly_domain_vector *shape, struct poly_error *err)
{
    struct poly_stmt put;
    enum poly_status status = poly_stmt_open(&put, db, sql, err);

    if (status != POLY_OK)
        return status;
    poly_stmt_text(&put, 1, poly_text(domain));
    poly_stmt_text(&put, 2, poly_text(shape->name));
    poly_stmt_int(&put, 3, shape->change);
    poly_stmt_text(&put, 4, poly_text(shape->model == NULL ? "" : shape->model));
    poly_stmt_int(&put, 5, shape->dimensions);
    poly_stmt_int(&put, 6, (int64_t)shape->since);
    poly_stmt_int(&put, 7, (int64_t)shape->upto);
    status = poly_stmt_done(&put, err);
    if (status != POLY_OK || shape->embedder == NULL)
        return status;
    status = poly_stmt_open(&put, db, add_embedder, err);
    if (status != POLY_OK)
        return status;
    poly_stmt_text(&put, 1, poly_text(domain));
    poly_stmt_text(&put, 2, poly_text(shape->name));
    poly_stmt_int(&put, 3, shape->change);
    poly_stmt_text(&put, 4, poly_text(shape->embedder));
    return poly_stmt_done(&put, err);
}

enum poly_status poly_models_add(struct poly_db *db, const char *domain,
                                 const struct poly_domain_vector *before,
                                 const struct poly_domain_vector *after, struct poly_error *err)
{
    enum poly_status status = add_shape(db, add_before, domain, before, err);

    return status == POLY_OK ? add_shape(db, add, domain, after, err) : status;
}

/* --- one row --- */

static bool is_text(struct poly_text text, const char *other)
{
    return strlen(other) == text.size && memcmp(other, text.data, text.size) == 0;
}

/* Rows of a made domain go with it; until that is known here, its name may be another's. */
static bool may_be_of(const struct poly_domain *domain, uint64_t since)
{
    return domain->made == NULL || (atomic_load(&domain->made->state) != POLY_MADE_DROPPED &&
                                    (since == 0 || poly_domain_has(domain, since)));
}

/* As the configuration, or its definition, has it. */
static const struct poly_domain_vector *declared(const struct poly_instance *instance,
                                                 const struct poly_stmt *row)
{
    struct poly_text domain = poly_stmt_get_text((struct poly_stmt *)row, 0);
    struct poly_text name = poly_stmt_get_text((struct poly_stmt *)row, 1);
    uint64_t since = (uint64_t)poly_stmt_get_int((struct poly_stmt *)row, 5);

    for (size_t i = 0; i < poly_config_domains(instance->config); i++) {
        const struct poly_domain *d = &instance->config->domains[i];

        if (!is_text(domain, d->name) || !may_be_of(d, since))
            continue;
        for (size_t v = 0; v < d->vector_count; v++)
            if (is_text(name, d->vectors[v].name))
                return &d->vectors[v];
    }
    return NULL;
}

/* Where the configuration names this very model, it says what makes it. */
static bool is_declared(const struct poly_domain_vector *vector, struct poly_text model,
                        int64_t dimensions)
{
    return vector->model != NULL && strlen(vector->model) == model.size &&
           memcmp(vector->model, model.data, model.size) == 0 && vector->dimensions == dimensions;
}

/* The shape that a row says, made once. NULL: no memory. */
static const struct poly_domain_vector *
shape_of(struct poly_models *models, const struct poly_domain_vector *vector, struct poly_stmt *row)
{
    struct poly_text model = poly_stmt_get_text(row, 3), by = poly_stmt_get_text(row, 7);
    uint32_t change = (uint32_t)poly_stmt_get_int(row, 2);
    uint64_t since = (uint64_t)poly_stmt_get_int(row, 5);
    struct shape *shape = models->shapes;

    while (shape != NULL && (shape->vector.family != vector->family ||
                             shape->vector.change != change || shape->vector.since != since))
        shape = shape->next;
    if (shape != NULL)
        return &shape->vector;
    shape = calloc(1, sizeof(*shape) + model.size + by.size + 2);
    if (shape == NULL)
        return NULL;
    memcpy(shape->texts, model.data, model.size);
    if (by.size > 0)
        memcpy(shape->texts + model.size + 1, by.data, by.size);
    shape->vector = *vector;
    shape->vector.change = change;
    shape->vector.model = model.size == 0 ? NULL : shape->texts;
    if (vector->embedder != NULL && by.size > 0 &&
        !is_declared(vector, model, poly_stmt_get_int(row, 4)))
        shape->vector.embedder = shape->texts + model.size + 1;
    shape->vector.dimensions = (uint32_t)poly_stmt_get_int(row, 4);
    shape->vector.since = since;
    shape->vector.upto = (uint64_t)poly_stmt_get_int(row, 6);
    shape->next = models->shapes;
    models->shapes = shape;
    return &shape->vector;
}

/* Those who search know it from here on; what they then look into must have come as far. */
static void install(struct poly_instance *instance, const struct poly_domain_vector *vector,
                    const struct poly_domain_vector *shape)
{
    if (shape->change == 0)
        atomic_store(&vector->family->first, shape);
    if (atomic_load(&vector->family->now) == shape)
        return;
    poly_projections_reach(instance, shape->upto);
    atomic_store(&vector->family->now, shape);
}

/* What has no row any more: a log that was put back has lost the change. */
static void forget_unseen(struct poly_instance *instance)
{
    for (size_t i = 0; i < poly_config_domains(instance->config); i++) {
        const struct poly_domain *domain = &instance->config->domains[i];

        for (size_t v = 0; v < domain->vector_count; v++) {
            struct poly_vector_family *family = domain->vectors[v].family;

            if (family != NULL && family->seen != instance->models->looks)
                atomic_store(&family->now, NULL);
        }
    }
}

static enum poly_status look(struct poly_instance *instance, struct poly_db *db,
                             struct poly_error *err)
{
    const struct poly_domain_vector *vector = NULL, *shape = NULL, *next, *of;
    struct poly_stmt get;
    enum poly_status status = poly_stmt_open(&get, db, all, err);
    bool row = true;

    if (status != POLY_OK)
        return status;
    instance->models->looks++;
    /* Of each vector the last row is what it is now. */
    while ((status = poly_stmt_row(&get, &row, err)) == POLY_OK && row) {
        of = declared(instance, &get);
        if (of == NULL || of->family == NULL)
            continue;
        next = shape_of(instance->models, of, &get);
        if (next == NULL) {
            poly_stmt_close(&get);
            return poly_no_memory(err);
        }
        of->family->seen = instance->models->looks;
        if (next->change == 0)
            atomic_store(&of->family->first, next);
        if (vector != NULL && of != vector)
            install(instance, vector, shape);
        vector = of;
        shape = next;
    }
    if (status == POLY_OK && vector != NULL)
        install(instance, vector, shape);
    if (status == POLY_OK)
        forget_unseen(instance);
    return status;
}

static enum poly_status look_through(struct poly_instance *instance, bool settles,
                                     struct poly_error *err)
{
    struct poly_owner *owner = instance->owner;
    struct poly_db *db = owner->driver->take(owner, err);
    int64_t position = 0;
    enum poly_status status;

    if (db == NULL)
        return err->status;
    pthread_mutex_lock(&instance->models->lock);
    status = settles ? poly_db_number(db, last, &position, err) : POLY_OK;
    if (status == POLY_OK)
        status = look(instance, db, err);
    pthread_mutex_unlock(&instance->models->lock);
    owner->driver->give(owner, db);
    if (status == POLY_OK && settles)
        poly_projections_reach(instance, (uint64_t)position);
    return status;
}

enum poly_status poly_models_look(struct poly_instance *instance, struct poly_error *err)
{
    return look_through(instance, false, err);
}

/* --- of the only writer --- */

void poly_models_begin(struct poly_instance *instance)
{
    atomic_store(&instance->models->pending, true);
}

bool poly_models_pending(struct poly_instance *instance)
{
    return atomic_load(&instance->models->pending) || !poly_models_known(instance);
}

bool poly_models_known(struct poly_instance *instance)
{
    struct poly_error ignored;

    if (atomic_load(&instance->models->unknown) &&
        look_through(instance, true, &ignored) == POLY_OK)
        atomic_store(&instance->models->unknown, false);
    return !atomic_load(&instance->models->unknown);
}

void poly_models_settle(struct poly_instance *instance)
{
    if (!atomic_load(&instance->models->pending))
        return;
    atomic_store(&instance->models->unknown, true);
    (void)poly_models_known(instance);
    atomic_store(&instance->models->pending, false);
}

/* --- at the start --- */

void poly_models_reach(struct poly_instance *instance)
{
    for (size_t i = 0; i < poly_config_domains(instance->config); i++)
        for (size_t v = 0; v < instance->config->domains[i].vector_count; v++)
            poly_projections_reach(instance,
                                   poly_vector_now(&instance->config->domains[i].vectors[v])->upto);
}

static bool was(const struct poly_models *models, const struct poly_domain_vector *vector)
{
    for (const struct shape *s = models->shapes; s != NULL; s = s->next)
        if (s->vector.family == vector->family && s->vector.dimensions == vector->dimensions &&
            (vector->model == NULL ||
             strcmp(vector->model, s->vector.model == NULL ? "" : s->vector.model) == 0))
            return true;
    return false;
}

static enum poly_status check_embedder(const struct poly_instance *instance,
                                       const struct poly_domain *domain,
                                       const struct poly_domain_vector *now, struct poly_error *err)
{
    if (now->embedder == NULL || poly_config_embedder(instance->config, now->embedder) != NULL)
        return POLY_OK;
    return poly_fail(err, POLY_INVALID,
                     "domain '%s': its vectors are of the model '%.100s' with %u dimensions by "
                     "now, which the embedder '%.100s' makes, and polystore.yaml has none of that "
                     "name; give it a url under 'embedders', or let the vector name the model, "
                     "its dimensions, and the embedder that makes it now",
                     domain->name, now->model, now->dimensions, now->embedder);
}

/* The definition of a collection is what it began with. */
static enum poly_status check(const struct poly_instance *instance, struct poly_error *err)
{
    for (size_t i = 0; i < instance->config->domain_count; i++) {
        const struct poly_domain *domain = &instance->config->domains[i];

        for (size_t v = 0; v < domain->vector_count; v++) {
            const struct poly_domain_vector *vector = &domain->vectors[v];
            const struct poly_domain_vector *now = poly_vector_now(vector);

            if (now != vector && !was(instance->models, vector))
                return poly_fail(err, POLY_INVALID,
                                 "domain '%s': its vectors are of the model '%.100s' with %u "
                                 "dimensions by now, and never were of '%.100s' with %u, as "
                                 "polystore.yaml says; write the former, and change the model "
                                 "with 'polystore rebuild vector %s --model …'",
                                 domain->name, now->model == NULL ? "" : now->model,
                                 now->dimensions, vector->model == NULL ? "" : vector->model,
                                 vector->dimensions, domain->name);
            if (check_embedder(instance, domain, now, err) != POLY_OK)
                return err->status;
        }
    }
    return POLY_OK;
}

enum poly_status poly_models_open(struct poly_instance *instance, struct poly_error *err)
{
    enum poly_status status;

    instance->models = calloc(1, sizeof(*instance->models));
    if (instance->models == NULL)
        return poly_no_memory(err);
    pthread_mutex_init(&instance->models->lock, NULL);
    status = poly_models_look(instance, err);
    return status == POLY_OK ? check(instance, err) : status;
}

void poly_models_close(struct poly_instance *instance)
{
    struct poly_models *models = instance->models;

    if (models == NULL)
        return;
    while (models->shapes != NULL) {
        struct shape *next = models->shapes->next;

        free(models->shapes);
        models->shapes = next;
    }
    pthread_mutex_destroy(&models->lock);
    free(models);
    instance->models = NULL;
}
