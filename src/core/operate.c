/* What an operator does to projections: retry, skip, rebuild, go back. */
#include <string.h>

#include "base/clock.h"
#include "core/projector.h"

static enum poly_status find(struct poly_session *session, const char *store,
                             struct poly_projection **projection, struct poly_error *err)
{
    enum poly_status status =
        poly_session_require(session, POLY_RIGHT_ADMIN, "operating a projection", err);

    if (status != POLY_OK)
        return status;
    *projection = poly_instance_projection(session->instance, store);
    if (*projection == NULL)
        return poly_fail(err, POLY_NOT_FOUND, "there is no projection '%.64s'", store);
    return POLY_OK;
}

enum poly_status poly_projection_retry(struct poly_session *session, const char *store,
                                       struct poly_error *err)
{
    struct poly_projection *projection;
    struct poly_error local;
    enum poly_status status;

    err = err == NULL ? &local : err;
    status = find(session, store, &projection, err);
    if (status != POLY_OK)
        return status;
    return poly_projector_command(projection, POLY_COMMAND_RETRY, "", session->principal, err);
}

enum poly_status poly_projection_skip(struct poly_session *session, const char *store,
                                      const char *reason, struct poly_error *err)
{
    struct poly_projection *projection;
    struct poly_error local;
    enum poly_status status;

    err = err == NULL ? &local : err;
    status = find(session, store, &projection, err);
    if (status != POLY_OK)
        return status;
    if (reason == NULL || reason[0] == '\0' || strlen(reason) > POLY_MAX_KEY)
        return poly_fail(err, POLY_INVALID, "a skip needs a reason of 1 to %d bytes", POLY_MAX_KEY);
    return poly_projector_command(projection, POLY_COMMAND_SKIP, reason, session->principal, err);
}

/* Until the generation that is being built serves, or has stopped. */
static enum poly_status watch(struct poly_projection *projection,
                              const struct poly_rebuild_options *options, uint64_t number,
                              struct poly_error *err)
{
    struct poly_instance *instance = projection->instance;

    for (;;) {
        struct poly_progress live;

        pthread_mutex_lock(&projection->lock);
        live = projection->live;
        pthread_mutex_unlock(&projection->lock);
        if (live.building.number != number)
            return POLY_OK;
        if (live.building_stopped)
            return poly_fail(err, POLY_CONFLICT,
                             "%s: the new generation stopped at record %llu: %.200s; the old one "
                             "serves on",
                             projection->driver->store, (unsigned long long)live.position,
                             live.error);
        if (options->progress != NULL && !options->progress(options->arg, live.building.applied,
                                                            atomic_load(&instance->head.value)))
            return poly_fail(err, POLY_TIMEOUT, "%s: no longer waited for; the rebuild goes on",
                             projection->driver->store);
        if (atomic_load(&instance->closing))
            return poly_fail(err, POLY_UNAVAILABLE, "the instance is being closed");
        if (instance->owner->driver->usable(instance->owner, err) != POLY_OK)
            return poly_fail_in(err, err->status, "%s: the rebuild cannot go on",
                                projection->driver->store);
        poly_signal_wait(&projection->applied, UINT64_MAX, poly_clock_monotonic() + 20000,
                         poly_signal_seen(&projection->applied));
    }
}

enum poly_status poly_rebuild(struct poly_session *session, const char *store,
                              const struct poly_rebuild_options *options, struct poly_error *err)
{
    static const struct poly_rebuild_options defaults;
    struct poly_projection *projection;
    struct poly_error local;
    uint64_t number, serving;
    enum poly_status status;

    err = err == NULL ? &local : err;
    options = options == NULL ? &defaults : options;
    status = find(session, store, &projection, err);
    if (status != POLY_OK)
        return status;
    pthread_mutex_lock(&projection->lock);
    serving = projection->live.active.number;
    pthread_mutex_unlock(&projection->lock);
    status = poly_projector_command(projection, POLY_COMMAND_REBUILD, "", session->principal, err);
    if (status != POLY_OK || options->start_only)
        return status;
    pthread_mutex_lock(&projection->lock);
    number = projection->live.building.number;
    pthread_mutex_unlock(&projection->lock);
    if (number == 0 || number == serving)
        return POLY_OK; /* there was so little that it is done */
    return watch(projection, options, number, err);
}

enum poly_status poly_rebuild_back(struct poly_session *session, const char *store,
                                   struct poly_error *err)
{
    struct poly_projection *projection;
    struct poly_error local;
    enum poly_status status;

    err = err == NULL ? &local : err;
    status = find(session, store, &projection, err);
    if (status != POLY_OK)
        return status;
    return poly_projector_command(projection, POLY_COMMAND_BACK, "", session->principal, err);
}
