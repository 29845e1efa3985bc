/*
 * The status, filled in one place. Whatever prints it (text, JSON, metrics,
 * exit code, HTTP) prints this structure, so they cannot disagree.
 *
 * Where a server keeps the log, the status is asked for most when that is away.
 * Nothing waits then: what this process knows is reported, and of the rest what was
 * known last. Before anybody has noticed, the server is waited for a moment only.
 */
#include <sodium.h>
#include <string.h>

#include "base/clock.h"
#include "core/projector.h"

enum { ANSWER_MS = 1000 }; /* for what a server has to say */

static const char sealed[] = "SELECT max(last) FROM poly_seal";
static const char oldest[] =
    "SELECT time FROM poly_log WHERE position > ?1 ORDER BY position LIMIT 1";

const char *poly_state_name(enum poly_state state)
{
    static const char *const names[] = {[POLY_STATE_OK] = "ok",
                                        [POLY_STATE_BEHIND] = "behind",
                                        [POLY_STATE_OPENING] = "opening",
                                        [POLY_STATE_FILLING] = "filling",
                                        [POLY_STATE_RETRYING] = "retrying",
                                        [POLY_STATE_STOPPED] = "stopped",
                                        [POLY_STATE_UNREACHABLE] = "unreachable",
                                        [POLY_STATE_FAILED] = "failed"};

    return (unsigned)state < sizeof(names) / sizeof(names[0]) ? names[state] : "unknown";
}

static enum poly_status copy(struct poly_arena *arena, const char *text, struct poly_text *out,
                             struct poly_error *err)
{
    out->size = strlen(text);
    out->data = poly_arena_copy(arena, text, out->size);
    return out->data == NULL ? poly_no_memory(err) : POLY_OK;
}

/* --- projections --- */

static enum poly_state judge(const struct poly_progress *live, bool retrying, bool opening,
                             uint64_t head)
{
    if (live->stopped || (live->active.number == 0 && live->building_stopped))
        return POLY_STATE_STOPPED;
    if (retrying)
        return POLY_STATE_RETRYING;
    if (live->active.number == 0)
        return POLY_STATE_FILLING;
    if (opening)
        return POLY_STATE_OPENING;
    return live->active.applied < head ? POLY_STATE_BEHIND : POLY_STATE_OK;
}

static enum poly_status lag_time(struct poly_db *db, uint64_t applied, int64_t *lag,
                                 struct poly_error *err)
{
    struct poly_stmt get;
    enum poly_status status = poly_stmt_open(&get, db, oldest, err);
    bool row;

    if (status != POLY_OK)
        return status;
    poly_stmt_int(&get, 1, (int64_t)applied);
    status = poly_stmt_row(&get, &row, err);
    if (status == POLY_OK && row) {
        int64_t age = poly_clock_wall() - poly_stmt_get_int(&get, 0);

        *lag = age > 0 ? age : 1;
        poly_stmt_close(&get);
    }
    return status;
}

/*
 * On a connection of its own: the snapshot of the report may be from before a swap, and so without
 * the generation that serves now. That one cannot go: it has been entered.
 */
static enum poly_status count_documents(struct poly_projection *projection, uint64_t number,
                                        uint64_t *documents, struct poly_error *err)
{
    struct poly_owner *owner = projection->instance->owner;
    struct poly_db *db = projection->follower ? NULL : owner->driver->take(owner, err);
    enum poly_status status;

    if (db == NULL && !projection->follower)
        return err->status;
    status = projection->driver->count(projection->store, db, number, documents, err);
    owner->driver->give(owner, db);
    return status;
}

/* A store whose server is away keeps the number that it had. */
static enum poly_status report_documents(struct poly_projection *projection, uint64_t number,
                                         bool ask, uint64_t *documents, struct poly_error *err)
{
    enum poly_status status = POLY_OK;

    *documents = atomic_load(&projection->documents);
    if (ask)
        status = count_documents(projection, number, documents, err);
    if (status == POLY_OK)
        atomic_store(&projection->documents, *documents);
    return projection->driver->pool != NULL ? POLY_OK : status;
}

/* What the store does beside the projector. */
static enum poly_status report_trouble(struct poly_projection *projection, struct poly_arena *arena,
                                       struct poly_projection_status *out, struct poly_error *err)
{
    char text[256] = "";

    if (projection->driver->trouble == NULL || out->state >= POLY_STATE_RETRYING)
        return POLY_OK;
    projection->driver->trouble(projection->store, text, &out->error_time);
    if (text[0] == '\0')
        return POLY_OK;
    out->state = POLY_STATE_RETRYING;
    return copy(arena, text, &out->error, err);
}

static enum poly_status report_pool(struct poly_projection *projection, struct poly_arena *arena,
                                    struct poly_projection_status *out, struct poly_error *err)
{
    struct poly_pool_status *pool;

    if (projection->driver->pool == NULL)
        return POLY_OK;
    pool = poly_arena_alloc(arena, sizeof(*pool));
    if (pool == NULL)
        return poly_no_memory(err);
    projection->driver->pool(projection->store, pool);
    out->pool = pool;
    return POLY_OK;
}

/* db NULL: the log cannot be asked. */
static enum poly_status report_projection(struct poly_session *session, struct poly_db *db,
                                          struct poly_projection *projection,
                                          struct poly_projection_status *out,
                                          struct poly_error *err)
{
    uint64_t head = atomic_load(&projection->instance->head.value);
    struct poly_progress live;
    enum poly_status status;
    bool retrying, entered, opening;

    pthread_mutex_lock(&projection->lock);
    live = projection->live;

    uint64_t counted = live.active.number != 0 ? live.active.number : live.building.number;

    out->opened = 1;
    opening = poly_projection_opens(projection, &out->opened);
    entered = counted != 0 && poly_projection_opening(projection, counted) == POLY_OPEN &&
              poly_projector_enter(projection, counted);
    retrying = projection->retrying;
    out->checked = projection->checked;
    pthread_mutex_unlock(&projection->lock);

    out->store = poly_text(projection->driver->store);
    out->driver = poly_text(projection->driver->name);
    out->follower = projection->follower && !projection->config->in_tables;
    out->state = judge(&live, retrying, opening, head);
    out->generation = live.active.number;
    out->previous = live.previous_stopped ? 0 : live.previous.number;
    out->building = live.building.number;
    out->applied = live.active.applied;
    out->building_applied = live.building.applied;
    out->lag_records = poly_lag(head, out->applied);
    out->error_position = live.position;
    out->error_time = live.error_time;
    out->skipped = live.skipped;
    status = copy(session->arena, live.error, &out->error, err);
    if (status == POLY_OK)
        status = report_trouble(projection, session->arena, out, err);
    if (status == POLY_OK)
        status = report_pool(projection, session->arena, out, err);
    if (status == POLY_OK && out->lag_records > 0 && db != NULL)
        status = lag_time(db, out->applied, &out->lag_us, err);
    if (!entered)
        return status;
    if (status == POLY_OK)
        status =
            report_documents(projection, counted, projection->driver->pool == NULL || !retrying,
                             &out->documents, err);
    pthread_mutex_lock(&projection->lock);
    poly_projector_leave(projection, counted);
    pthread_mutex_unlock(&projection->lock);
    return status;
}

static enum poly_status report_projections(struct poly_session *session, struct poly_db *db,
                                           struct poly_status_report *report,
                                           struct poly_error *err)
{
    struct poly_instance *instance = session->instance;
    size_t count = instance->projection_count; /* once: it may grow meanwhile */
    struct poly_projection_status *list =
        poly_arena_array(session->arena, count + 1, sizeof(*list));
    enum poly_status status = list == NULL ? poly_no_memory(err) : POLY_OK;

    for (size_t i = 0; i < count && status == POLY_OK; i++) {
        status = report_projection(session, db, instance->projections[i], &list[i], err);
    }
    report->projections = list;
    report->projection_count = count;
    return status;
}

/* Materialised views, and vectors that embedders make. db NULL: the server does not answer. */
static enum poly_status report_others(struct poly_session *session, struct poly_db *db,
                                      struct poly_status_report *report, struct poly_error *err)
{
    enum poly_status status = poly_stores_views(session->instance, db, session->arena,
                                                &report->views, &report->view_count, err);

    if (status != POLY_OK)
        return status;
    return poly_stores_embeddings(session->instance, db, session->arena, &report->embeddings,
                                  &report->embedding_count, err);
}

/* --- domains --- */

static enum poly_status report_domains(struct poly_session *session,
                                       struct poly_status_report *report, struct poly_error *err)
{
    const struct poly_config *config = session->instance->config;
    size_t all = poly_config_domains(config);
    struct poly_domain_status *list = poly_arena_array(session->arena, all + 1, sizeof(*list));
    size_t count = 0;
    enum poly_status status = list == NULL ? poly_no_memory(err) : POLY_OK;

    for (size_t i = 0; i < all && status == POLY_OK; i++) {
        const struct poly_domain *domain = &config->domains[i];
        struct poly_domain_status *one = &list[count];

        if (!poly_domain_is_live(domain))
            continue;
        count++;
        one->name = poly_text(domain->name);
        one->owner = poly_text(domain->table != NULL ? "relational" : "events");
        one->source = poly_text(domain->table != NULL ? domain->table : domain->stream);
        one->tenant = poly_text(domain->tenant == NULL ? "" : domain->tenant);
        one->search = domain->search.field_count > 0;
        one->vectors = domain->vector_count;
        status = poly_stores_problem(session->instance, domain, session->arena, &one->problem, err);
    }
    report->domains = list;
    report->domain_count = count;
    return status;
}

/* --- the whole --- */

static enum poly_status report_owner(struct poly_session *session,
                                     struct poly_status_report *report, struct poly_error *err)
{
    struct poly_instance *instance = session->instance;
    char hex[33];
    enum poly_status status;

    report->replays = atomic_load(&instance->replays);
    sodium_bin2hex(hex, sizeof(hex), instance->owner->id, sizeof(instance->owner->id));
    status = copy(session->arena, hex, &report->instance, err);
    if (status != POLY_OK)
        return status;
    return instance->owner->driver->report(instance->owner, session->arena, report, err);
}

/* What only the log knows. */
static enum poly_status report_log(struct poly_session *session, struct poly_status_report *report,
                                   struct poly_error *err)
{
    struct poly_instance *instance = session->instance;
    struct poly_db *db;
    int64_t last = 0;
    enum poly_status status = poly_session_read_log(session, &db, err);

    if (status != POLY_OK)
        return status;
    status = poly_db_number(db, sealed, &last, err);
    if (status == POLY_OK) {
        report->sealed = (uint64_t)last;
        atomic_store(&instance->sealed, report->sealed);
        status = report_projections(session, db, report, err);
    }
    if (status == POLY_OK)
        status = report_others(session, db, report, err);
    if (status == POLY_OK)
        status = poly_subscriptions_report(session, report, err);
    poly_session_read_end(session);
    return status;
}

/* The server is away: err says why, unless that is known in the report already. */
static enum poly_status report_without(struct poly_session *session,
                                       struct poly_status_report *report, enum poly_status why,
                                       struct poly_error *err)
{
    enum poly_status status = POLY_OK;

    report->server->answers = false;
    if (why == POLY_UNAVAILABLE && report->server->up) {
        report->server->up = false;
        report->server->unreachable_since = report->now;
        report->state = POLY_STATE_UNREACHABLE;
        report->writes_refused = true;
        status = copy(session->arena, err->message, &report->last_error, err);
    }
    report->subscriptions = NULL;
    report->subscription_count = 0;
    if (status == POLY_OK)
        status = report_projections(session, NULL, report, err);
    return status == POLY_OK ? report_others(session, NULL, report, err) : status;
}

static enum poly_status report_server_log(struct poly_session *session,
                                          struct poly_status_report *report, struct poly_error *err)
{
    uint32_t patience = session->deadline_ms;
    enum poly_status status = POLY_TIMEOUT;

    if (patience > ANSWER_MS)
        session->deadline_ms = ANSWER_MS;
    if (report->server->up)
        status = report_log(session, report, err);
    if (status == POLY_UNAVAILABLE || status == POLY_TIMEOUT)
        status = report_without(session, report, status, err);
    session->deadline_ms = patience;
    return status;
}

enum poly_status poly_status_read(struct poly_session *session, struct poly_status_report *report,
                                  struct poly_error *err)
{
    struct poly_instance *instance = session->instance;
    struct poly_status_report out = {.state = POLY_STATE_OK};
    struct poly_error local;
    enum poly_status status;

    err = err == NULL ? &local : err;
    status = poly_session_require(session, POLY_RIGHT_READ, "reading", err);
    if (status != POLY_OK)
        return status;
    out.version = poly_text(poly_version());
    out.data = poly_text(instance->data);
    out.epoch = instance->owner->epoch;
    out.head = atomic_load(&instance->head.value);
    out.sealed = atomic_load(&instance->sealed);
    out.started = instance->started;
    out.now = poly_clock_wall();
    status = report_owner(session, &out, err);
    if (status == POLY_OK)
        status = out.server != NULL ? report_server_log(session, &out, err)
                                    : report_log(session, &out, err);
    if (status == POLY_OK)
        status = report_domains(session, &out, err);
    for (size_t i = 0; i < out.projection_count && status == POLY_OK; i++)
        if (out.projections[i].state > out.state)
            out.state = out.projections[i].state;
    for (size_t i = 0; i < out.view_count && status == POLY_OK; i++)
        if (out.views[i].state > out.state)
            out.state = out.views[i].state;
    for (size_t i = 0; i < out.embedding_count && status == POLY_OK; i++)
        if (out.embeddings[i].state > out.state)
            out.state = out.embeddings[i].state;
    if (status == POLY_OK)
        *report = out;
    return status;
}
