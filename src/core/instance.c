/*
 * Opening in the order of what rests on what: folder, database, log, writer,
 * stores, projections, keeper. Closing is the way back, and serves a
 * half-opened instance too.
 */
#include "core/instance.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/random.h"
#include "core/inside.h"
#include "core/lock.h"

/* What keeps the records has the log, too. */
static const struct poly_owner_driver *owner_driver(const struct poly_instance *self)
{
    const char *name = poly_config_store(self->config, "relational")->driver;
    size_t i = 0;

    while (poly_owners[i] != NULL && strcmp(poly_owners[i]->name, name) != 0)
        i++;
    poly_assert(poly_owners[i] != NULL); /* the configuration allows these only */
    return poly_owners[i];
}

/* Random, made once: the name under which this data folder's followers stand in the log. */
static enum poly_status read_node(struct poly_instance *self, struct poly_error *err)
{
    uint8_t random[16];
    char path[4096];
    ssize_t size;
    int fd;

    snprintf(path, sizeof(path), "%s/node", self->data);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    size = fd < 0 ? -1 : read(fd, self->node, sizeof(self->node) - 1);
    if (size == 0) {
        poly_random(random, sizeof(random));
        sodium_bin2hex(self->node, sizeof(self->node), random, sizeof(random));
        size = write(fd, self->node, sizeof(self->node) - 1);
        if (size > 0 && fsync(fd) != 0)
            size = -1;
    }
    if (fd >= 0)
        close(fd);
    if (size == sizeof(self->node) - 1 && strspn(self->node, "0123456789abcdef") == (size_t)size)
        return POLY_OK;
    if (size >= 0)
        return poly_fail(err, POLY_CORRUPT,
                         "'node' is damaged: remove it, and the followers here "
                         "are filled anew");
    return poly_fail(err, POLY_UNAVAILABLE, "'node': %s", strerror(errno));
}

static enum poly_status open_rest(struct poly_instance *self, struct poly_error *err)
{
    const struct poly_owner_driver *driver = owner_driver(self);
    enum poly_status status = driver == &poly_owner_embedded ? POLY_OK : read_node(self, err);

    if (status == POLY_OK)
        status = driver->open(self, &self->owner, err);
    if (status == POLY_OK) {
        atomic_store(&self->head.value, atomic_load(&self->owner->durable));
        status = poly_models_open(self, err);
    }
    if (status == POLY_OK)
        status = poly_stores_start(self, err);
    if (status == POLY_OK) /* with the collections that there are */
        status = poly_models_look(self, err);
    if (status == POLY_OK)
        status = poly_projections_open(self, err);
    if (status == POLY_OK)
        status = poly_keeper_start(self, err);
    if (status == POLY_OK)
        status = poly_stores_run(self, err);
    return status;
}

static enum poly_status open_all(struct poly_instance *self, const struct poly_options *options,
                                 struct poly_error *err)
{
    enum poly_status status =
        poly_config_load(options->config_file, options->config_text, &self->config, err);

    if (status == POLY_OK)
        status = poly_config_room(self->config, err);
    if (status != POLY_OK)
        return status;
    self->data = strdup(options->data != NULL ? options->data : self->config->data);
    if (self->data == NULL)
        return poly_no_memory(err);
    status =
        poly_lock_take(self->data, options->lock_note, options->lock_wait_ms, &self->lock_fd, err);
    if (status != POLY_OK)
        return status;
    status = open_rest(self, err);
    return status == POLY_OK ? POLY_OK : poly_fail_in(err, status, "data folder '%s'", self->data);
}

enum poly_status poly_open(const struct poly_options *options, struct poly_instance **instance,
                           struct poly_error *err)
{
    static const struct poly_options defaults;
    struct poly_instance *self;
    struct poly_error local;
    enum poly_status status;

    err = err == NULL ? &local : err;
    if (sodium_init() < 0)
        return poly_fail(err, POLY_INTERNAL, "libsodium cannot be used here");
    self = calloc(1, sizeof(*self));
    if (self == NULL)
        return poly_no_memory(err);
    self->lock_fd = self->keeper_wake = -1;
    self->started = poly_clock_wall();
    pthread_mutex_init(&self->lock, NULL);
    pthread_mutex_init(&self->opening, NULL);
    poly_signal_init(&self->head);
    status = open_all(self, options == NULL ? &defaults : options, err);
    if (status != POLY_OK) {
        poly_close(self);
        return status;
    }
    *instance = self;
    return POLY_OK;
}

void poly_close(struct poly_instance *instance)
{
    if (instance == NULL)
        return;
    atomic_store(&instance->closing, true);
    poly_keeper_stop(instance);
    poly_stores_halt(instance);
    if (instance->owner != NULL) {
        poly_txn_expire(instance, INT64_MAX); /* one that somebody forgot must not hold us up */
        poly_projections_close(instance);
        instance->owner->driver->stop(instance->owner);
    }
    poly_projections_free(instance);
    poly_stores_stop(instance);
    if (instance->owner != NULL)
        instance->owner->driver->close(instance->owner);
    poly_models_close(instance);
    poly_lock_give(instance->lock_fd);
    poly_config_free(instance->config);
    poly_signal_destroy(&instance->head);
    pthread_mutex_destroy(&instance->lock);
    pthread_mutex_destroy(&instance->opening);
    free(instance->data);
    free(instance);
}

bool poly_reachable(struct poly_instance *instance)
{
    struct poly_owner *owner = instance->owner;

    return owner->driver->reachable == NULL || owner->driver->reachable(owner);
}

bool poly_is_shared(struct poly_instance *instance)
{
    return instance->owner->driver->use != NULL;
}

enum poly_status poly_usage_add(struct poly_instance *instance, struct poly_usage *usages,
                                size_t count, struct poly_error *err)
{
    struct poly_error local;

    err = err == NULL ? &local : err;
    if (!poly_is_shared(instance))
        return poly_fail(err, POLY_INVALID, "no other process can have this database open");
    if (count > POLY_MAX_USAGES)
        return poly_fail(err, POLY_INVALID, "at most %d usages at a time", POLY_MAX_USAGES);
    for (size_t i = 0; i < count; i++)
        if (strlen(usages[i].name) > POLY_MAX_USAGE_NAME)
            return poly_fail(err, POLY_INVALID, "a usage's name has at most %d bytes",
                             POLY_MAX_USAGE_NAME);
    return instance->owner->driver->use(instance->owner, usages, count, err);
}

/* --- for stores --- */

const struct poly_config *poly_instance_config(const struct poly_instance *instance)
{
    return instance->config;
}

const struct poly_domain *poly_instance_domain(const struct poly_instance *instance,
                                               const char *name, struct poly_error *err)
{
    const struct poly_domain *domain = poly_config_domain(instance->config, name);

    if (domain == NULL)
        poly_fail(err, POLY_NOT_FOUND, "there is no domain '%.128s' in the configuration", name);
    return domain;
}

struct poly_owner *poly_instance_owner(struct poly_instance *instance)
{
    return instance->owner;
}

struct poly_signal *poly_instance_head(struct poly_instance *instance)
{
    return &instance->head;
}

struct poly_relational *poly_instance_relational(struct poly_instance *instance)
{
    return instance->relational;
}

void poly_instance_set_relational(struct poly_instance *instance,
                                  struct poly_relational *relational)
{
    instance->relational = relational;
}

struct poly_embeddings *poly_instance_embeddings(struct poly_instance *instance)
{
    return instance->embeddings;
}

void poly_instance_set_embeddings(struct poly_instance *instance,
                                  struct poly_embeddings *embeddings)
{
    instance->embeddings = embeddings;
}

struct writing {
    struct poly_instance *instance;
    enum poly_status (*fn)(struct poly_db *db, void *arg, struct poly_error *err);
    void *arg;
};

/* What fn did may have written records, by triggers. */
static enum poly_status write_and_look(struct poly_db *db, void *arg, struct poly_error *err)
{
    struct writing *writing = arg;
    struct poly_write write = {.instance = writing->instance, .db = db, .marked = true};
    enum poly_status status = writing->fn(db, writing->arg, err);

    return status == POLY_OK ? writing->instance->owner->driver->wrote(&write, err) : status;
}

enum poly_status poly_instance_write(struct poly_instance *instance,
                                     enum poly_status (*fn)(struct poly_db *db, void *arg,
                                                            struct poly_error *err),
                                     void *arg, struct poly_error *err)
{
    struct writing writing = {instance, fn, arg};
    /* A migration takes the time that it takes. */
    struct poly_request request = {.run = write_and_look, .arg = &writing, .deadline = -1};

    return instance->owner->driver->run(instance->owner, &request, err);
}

enum poly_status poly_instance_write_alone(struct poly_instance *instance,
                                           enum poly_status (*fn)(struct poly_db *db, void *arg,
                                                                  struct poly_error *err),
                                           void *arg, struct poly_error *err)
{
    struct poly_request request = {
        .run = fn, .arg = arg, .single = true, .repeatable = true, .deadline = -1};

    return instance->owner->driver->run(instance->owner, &request, err);
}
