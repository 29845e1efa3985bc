/*
 * Materialised views: what both drivers need of them, and what others ask: who may
 * read which, how fresh they are. When they are refreshed is in view_keep.c.
 */
#include "stores/relational/view.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "core/config.h"
#include "core/session.h"
#include "polystore/admin.h"
#include "stores/relational/view_inside.h"

static const char sql_load[] =
    "SELECT definition, position, refreshes, time, duration FROM poly_view WHERE name = ?1";
static const char sql_note[] =
    "INSERT INTO poly_view AS v(name, definition, position, refreshes, time, duration)"
    " VALUES (?1, ?2, ?3, 1, ?4, ?5) ON CONFLICT (name) DO UPDATE SET"
    " definition = excluded.definition, position = excluded.position,"
    " refreshes = v.refreshes + 1, time = excluded.time, duration = excluded.duration";
static const char sql_changed[] =
    "SELECT position, time FROM poly_log WHERE domain = ?1 AND position > ?2 AND position <= ?3"
    " ORDER BY position LIMIT 1";
/* --- what the drivers share --- */

enum poly_status poly_view_load(struct poly_db *db, const struct poly_view_job *job,
                                struct poly_view_row *row, struct poly_error *err)
{
    struct poly_stmt get;
    enum poly_status status = poly_stmt_open(&get, db, sql_load, err);
    const void *definition;
    size_t size;

    *row = (struct poly_view_row){.there = false};
    if (status != POLY_OK)
        return status;
    poly_stmt_text(&get, 1, poly_text(job->config->name));
    status = poly_stmt_row(&get, &row->there, err);
    if (status != POLY_OK || !row->there)
        return status;
    definition = poly_stmt_get_bytes(&get, 0, &size);
    row->none = size == 0;
    row->same = size == sizeof(job->definition) && memcmp(definition, job->definition, size) == 0;
    row->position = (uint64_t)poly_stmt_get_int(&get, 1);
    row->refreshes = (uint64_t)poly_stmt_get_int(&get, 2);
    row->time = poly_stmt_get_int(&get, 3);
    row->duration = poly_stmt_get_int(&get, 4);
    poly_stmt_close(&get);
    return POLY_OK;
}

enum poly_status poly_view_note(struct poly_db *db, const struct poly_view_job *job,
                                uint64_t position, struct poly_error *err)
{
    struct poly_stmt put;
    enum poly_status status = poly_stmt_open(&put, db, sql_note, err);

    if (status != POLY_OK)
        return status;
    poly_stmt_text(&put, 1, poly_text(job->config->name));
    poly_stmt_bytes(&put, 2, job->definition, sizeof(job->definition));
    poly_stmt_int(&put, 3, (int64_t)position);
    poly_stmt_int(&put, 4, poly_clock_wall());
    poly_stmt_int(&put, 5, poly_clock_monotonic() - job->started);
    return poly_stmt_done(&put, err);
}

/* In one domain; what was found is only ever made earlier. */
static enum poly_status changed_in(struct poly_db *db, const char *domain,
                                   struct poly_view_change *change, struct poly_error *err)
{
    struct poly_stmt get;
    enum poly_status status = poly_stmt_open(&get, db, sql_changed, err);
    bool row;

    if (status != POLY_OK)
        return status;
    poly_stmt_text(&get, 1, poly_text(domain));
    poly_stmt_int(&get, 2, (int64_t)change->after);
    poly_stmt_int(&get, 3, (int64_t)change->upto);
    status = poly_stmt_row(&get, &row, err);
    if (status != POLY_OK || !row)
        return status;
    uint64_t at = (uint64_t)poly_stmt_get_int(&get, 0);

    if (change->position == 0 || at < change->position) {
        change->position = at;
        change->time = poly_stmt_get_int(&get, 1);
    }
    poly_stmt_close(&get);
    return POLY_OK;
}

enum poly_status poly_view_changed(struct poly_db *db, const struct poly_config *config,
                                   const bool *reads, struct poly_view_change *change,
                                   struct poly_error *err)
{
    enum poly_status status = POLY_OK;

    change->position = 0;
    for (size_t i = 0; i < config->domain_count && status == POLY_OK; i++) {
        if (reads[i])
            status = changed_in(db, config->domains[i].name, change, err);
    }
    return status;
}

static void add_text(crypto_generichash_state *state, const char *text)
{
    crypto_generichash_update(state, (const uint8_t *)(text == NULL ? "" : text),
                              text == NULL ? 1 : strlen(text) + 1);
}

void poly_view_define(struct poly_view_job *job, const char *more)
{
    crypto_generichash_state state;

    crypto_generichash_init(&state, NULL, 0, sizeof(job->definition));
    add_text(&state, job->query);
    add_text(&state, job->config->tenant);
    for (size_t i = 0; i < job->config->key_count; i++)
        add_text(&state, job->config->key[i]);
    add_text(&state, "");
    add_text(&state, more);
    crypto_generichash_final(&state, job->definition, sizeof(job->definition));
}

enum poly_status poly_view_reads(struct poly_view_job *job, size_t domain, struct poly_error *err)
{
    const struct poly_domain *one = &job->relational->config->domains[domain];
    const struct poly_table *table = poly_relational_table(job->relational, one);

    if (table == NULL || table->status != POLY_OK)
        return poly_fail(err, POLY_UNAVAILABLE, "it reads the domain '%s', which has a problem: %s",
                         one->name, table == NULL ? "it has no table" : table->problem);
    job->reads[domain] = true;
    return POLY_OK;
}

bool poly_view_in_key(const struct poly_view_config *config, const char *column)
{
    for (size_t i = 0; i < config->key_count; i++) {
        if (strcasecmp(config->key[i], column) == 0)
            return true;
    }
    return false;
}

static bool is_column(const char *name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcasecmp(names[i], name) == 0)
            return true;
    }
    return false;
}

enum poly_status poly_view_columns(const struct poly_view_job *job, const char *const *names,
                                   size_t count, struct poly_error *err)
{
    const struct poly_view_config *config = job->config;

    if (count > POLY_MAX_COLUMNS)
        return poly_fail(err, POLY_LIMIT, "its query has %zu columns; %d are the most", count,
                         POLY_MAX_COLUMNS);
    for (size_t i = 0; i < count; i++) {
        if (is_column(names[i], names, i))
            return poly_fail(err, POLY_INVALID,
                             "two columns of its query are named '%.128s': give one another name "
                             "with AS",
                             names[i]);
    }
    for (size_t i = 0; i < config->key_count; i++) {
        if (!is_column(config->key[i], names, count))
            return poly_fail(err, POLY_INVALID, "its query has no column '%s', which 'key' names",
                             config->key[i]);
    }
    if (config->tenant != NULL && !is_column(config->tenant, names, count))
        return poly_fail(err, POLY_INVALID, "its query has no column '%s', which 'tenant' names",
                         config->tenant);
    return POLY_OK;
}

enum poly_status poly_view_none(const char *table, bool collection, struct poly_error *err)
{
    if (collection)
        return poly_fail(err, POLY_INVALID,
                         "it reads '%.128s', which is a collection: those come and go while all "
                         "runs, and a view reads what polystore.yaml declares",
                         table);
    return poly_fail(err, POLY_INVALID,
                     "it reads '%.128s', which is no domain's table: what changes there is not in "
                     "the log, and would not be noticed",
                     table);
}

void poly_view_running(struct poly_view_job *job, struct poly_db *db)
{
    struct poly_views *all = job->relational->views;

    pthread_mutex_lock(&all->lock);
    all->running = db;
    pthread_mutex_unlock(&all->lock);
}

bool poly_view_closing(const struct poly_view_job *job)
{
    return atomic_load(&job->relational->views->closing);
}

/* --- what others ask --- */

static struct poly_view *find(struct poly_views *self, const char *name)
{
    for (size_t i = 0; self != NULL && i < self->count; i++) {
        if (strcasecmp(self->views[i].job.config->name, name) == 0)
            return &self->views[i];
    }
    return NULL;
}

/* With the lock. Wakes the thread, and returns what it is to answer. */
static uint64_t ask(struct poly_view *view)
{
    uint64_t ticket = ++view->asked;

    pthread_cond_broadcast(&view->all->woken);
    return ticket;
}

/* With the lock. */
static bool wait_for(struct poly_view *view, uint64_t ticket, int64_t deadline)
{
    struct timespec at = {deadline / 1000000, deadline % 1000000 * 1000};
    int code = 0;

    while (view->answered < ticket && code != ETIMEDOUT && !atomic_load(&view->all->closing))
        code = pthread_cond_timedwait(&view->all->answered, &view->all->lock, &at);
    return view->answered >= ticket;
}

/* The thread may sleep on the log. */
static void wake(struct poly_views *self)
{
    poly_signal_poke(poly_instance_head(self->relational->instance));
}

enum poly_status poly_view_refresh(struct poly_session *session, const char *name,
                                   struct poly_error *err)
{
    struct poly_instance *instance = poly_session_instance(session);
    struct poly_views *self = poly_instance_relational(instance)->views;
    struct poly_view *view = find(self, name);
    int64_t deadline = poly_clock_monotonic() + (int64_t)poly_session_deadline_ms(session) * 1000;
    struct poly_error local;
    enum poly_status status;
    uint64_t ticket;

    err = err == NULL ? &local : err;
    status = poly_session_require(session, POLY_RIGHT_ADMIN, "refreshing a view", err);
    if (status != POLY_OK)
        return status;
    if (view == NULL)
        return poly_fail(err, POLY_NOT_FOUND, "there is no view '%.128s' in the configuration",
                         name);
    pthread_mutex_lock(&self->lock);
    ticket = ask(view);
    pthread_mutex_unlock(&self->lock);
    wake(self);
    pthread_mutex_lock(&self->lock);
    if (wait_for(view, ticket, deadline)) {
        status = view->answer;
        if (status != POLY_OK)
            *err = view->answer_error;
    } else {
        status = poly_fail(err, POLY_TIMEOUT, "view '%s': it is not refreshed yet, and goes on",
                           view->job.config->name);
    }
    pthread_mutex_unlock(&self->lock);
    return status;
}

void poly_views_migrated(struct poly_relational *relational, int64_t deadline)
{
    struct poly_views *self = relational->views;
    uint64_t tickets[POLY_MAX_VIEWS];

    if (self == NULL)
        return;
    pthread_mutex_lock(&self->lock);
    for (size_t i = 0; i < self->count; i++) {
        self->views[i].migrated = true;
        tickets[i] = ask(&self->views[i]);
    }
    pthread_mutex_unlock(&self->lock);
    wake(self);
    pthread_mutex_lock(&self->lock);
    for (size_t i = 0; i < self->count; i++)
        wait_for(&self->views[i], tickets[i], deadline);
    pthread_mutex_unlock(&self->lock);
}

bool poly_view_named(const struct poly_relational *relational, const char *name)
{
    return name != NULL && find(relational->views, name) != NULL;
}

const struct poly_view_config *poly_view_find(struct poly_relational *relational, const char *name,
                                              enum poly_view_reader reader)
{
    const struct poly_view *view = name == NULL ? NULL : find(relational->views, name);
    bool may;

    if (view == NULL || !atomic_load(&view->standing))
        return NULL;
    if (reader == POLY_VIEW_TENANT)
        may = view->job.config->tenant != NULL;
    else
        may = reader == POLY_VIEW_ADMIN ||
              (view->job.config->tenant == NULL && atomic_load(&view->open));
    return may ? view->job.config : NULL;
}

unsigned poly_view_version(struct poly_relational *relational)
{
    return relational->views == NULL ? 0 : atomic_load(&relational->views->version);
}

/* --- the status --- */

static enum poly_state judge(const struct poly_view_status *out, bool failing, bool known)
{
    if (failing)
        return POLY_STATE_RETRYING;
    if (known && out->refreshed == 0)
        return POLY_STATE_FILLING;
    return out->within ? POLY_STATE_OK : POLY_STATE_BEHIND;
}

static enum poly_status report(struct poly_view *view, struct poly_db *db, struct poly_arena *arena,
                               struct poly_view_status *out, struct poly_error *err)
{
    struct poly_relational *relational = view->job.relational;
    uint64_t head = atomic_load(&poly_instance_head(relational->instance)->value);
    bool reads[POLY_MAX_DOMAINS], failing;
    struct poly_view_row row = {.there = false};
    struct poly_view_change change = {.upto = INT64_MAX};
    enum poly_status status = db == NULL ? POLY_OK : poly_view_load(db, &view->job, &row, err);
    char error[sizeof(view->error)];

    pthread_mutex_lock(&view->all->lock);
    memcpy(reads, view->reads, sizeof(reads));
    memcpy(error, view->error, sizeof(error));
    failing = view->failing;
    out->error_time = view->error_time;
    pthread_mutex_unlock(&view->all->lock);
    change.after = row.position;
    if (status == POLY_OK && row.there)
        status = poly_view_changed(db, relational->config, reads, &change, err);
    if (status != POLY_OK)
        return status;
    out->name = poly_text(view->job.config->name);
    out->staleness_us = (int64_t)view->job.config->staleness_ms * 1000;
    out->refreshes = row.refreshes;
    out->refreshed = row.none ? 0 : row.time;
    out->duration_us = row.duration;
    out->position =
        db == NULL || change.position != 0 || failing || head < row.position ? row.position : head;
    if (change.position != 0)
        out->behind_us = poly_clock_wall() > change.time ? poly_clock_wall() - change.time : 1;
    out->within = db != NULL && atomic_load(&view->standing) && !failing &&
                  out->behind_us <= out->staleness_us;
    out->state = judge(out, failing, db != NULL);
    out->error = poly_text(poly_arena_copy(arena, error, strlen(error)));
    return out->error.data == NULL ? poly_no_memory(err) : POLY_OK;
}

enum poly_status poly_views_report(struct poly_relational *relational, struct poly_db *db,
                                   struct poly_arena *arena, const struct poly_view_status **list,
                                   size_t *count, struct poly_error *err)
{
    struct poly_views *self = relational->views;
    struct poly_view_status *all =
        poly_arena_array(arena, (self == NULL ? 0 : self->count) + 1, sizeof(*all));
    enum poly_status status = all == NULL ? poly_no_memory(err) : POLY_OK;

    *count = self == NULL ? 0 : self->count;
    for (size_t i = 0; i < *count && status == POLY_OK; i++)
        status = report(&self->views[i], db, arena, &all[i], err);
    *list = all;
    return status;
}
