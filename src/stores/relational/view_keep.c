/*
 * When a view is refreshed: when the log has a change of what it reads that the
 * view has not, and half of the time has passed that it may be old. What
 * comes meanwhile comes along, so that many changes cost one refresh each half bound, and the other
 * half is left for the refresh itself. Where nothing has changed, or only what no view
 * reads, nothing runs: the log is asked, never the clock.
 *
 * One thread looks after all views of the instance. What it works with is its own;
 * what others see or ask for stands under the lock, or is atomic. Of several daemons on one server
 * each has such a thread, and a lock on the server says who refreshes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "core/config.h"
#include "core/owner.h"
#include "stores/relational/view_inside.h"

enum {                       /* microseconds */
       LOOK_FIRST = 10000,   /* between two looks at the log: a tenth of the smallest bound … */
       LOOK_MAX = 1000000,   /* … within these */
       BUSY_AGAIN = 100000,  /* another daemon refreshes */
       RETRY_FIRST = 500000, /* after a failure, then twice as long each time … */
       RETRY_MAX = 60000000,
       STOP_EVERY_NS = 20000000 /* while a close waits for a query to be interrupted */
};

static const char sql_names[] = "SELECT name FROM poly_view ORDER BY name";

/* --- one view: the thread's work --- */

static bool is_open(const struct poly_view *view)
{
    const struct poly_config *config = view->job.relational->config;

    for (size_t i = 0; i < config->domain_count; i++) {
        if (view->job.reads[i] && config->domains[i].tenant != NULL)
            return false;
    }
    return true;
}

/* What the driver has found out, for others. */
static void publish(struct poly_view *view, bool standing)
{
    bool open = is_open(view);

    pthread_mutex_lock(&view->all->lock);
    memcpy(view->reads, view->job.reads, sizeof(view->reads));
    pthread_mutex_unlock(&view->all->lock);
    if (atomic_load(&view->open) == open && atomic_load(&view->standing) == standing)
        return;
    atomic_store(&view->open, open);
    atomic_store(&view->standing, standing);
    atomic_fetch_add(&view->all->version, 1);
}

static enum poly_status refuse_foreign(struct poly_error *err)
{
    return poly_fail(err, POLY_CONFLICT,
                     "another daemon has another definition of it in its configuration");
}

static enum poly_status check(struct poly_view *view, struct poly_error *err)
{
    enum poly_status status = view->job.relational->driver->view->check(&view->job, err);

    view->checked = status == POLY_OK;
    if (status != POLY_OK)
        return status;
    publish(view, view->job.fits);
    /* Who starts, or migrates, has the last word; or two daemons would build it in turns. */
    if (view->settled && view->job.foreign)
        status = refuse_foreign(err);
    view->settled = view->settled || view->job.fits;
    return status;
}

static void remember(struct poly_view *view, enum poly_status status, const struct poly_error *err)
{
    pthread_mutex_lock(&view->all->lock);
    view->failing = status != POLY_OK;
    if (status != POLY_OK) {
        snprintf(view->error, sizeof(view->error), "%s", err->message);
        view->error_time = poly_clock_wall();
    }
    pthread_mutex_unlock(&view->all->lock);
}

/* After a failure everything is looked at anew: what made it fail may have gone. */
static void failed(struct poly_view *view, enum poly_status status, const struct poly_error *err)
{
    if (atomic_load(&view->all->closing))
        return;
    view->checked = false;
    view->again = poly_clock_monotonic() + view->pause;
    view->pause = view->pause * 2 > RETRY_MAX ? RETRY_MAX : view->pause * 2;
    remember(view, status, err);
}

static void forget_error(struct poly_view *view)
{
    pthread_mutex_lock(&view->all->lock);
    view->error[0] = '\0';
    view->error_time = 0;
    pthread_mutex_unlock(&view->all->lock);
}

static void succeeded(struct poly_view *view)
{
    view->again = 0;
    view->pause = RETRY_FIRST;
    remember(view, POLY_OK, NULL);
}

static void answer(struct poly_view *view, uint64_t ticket, enum poly_status status,
                   const struct poly_error *err)
{
    pthread_mutex_lock(&view->all->lock);
    if (ticket > view->answered) {
        view->answered = ticket;
        view->answer = status;
        if (status != POLY_OK)
            view->answer_error = *err;
        pthread_cond_broadcast(&view->all->answered);
    }
    pthread_mutex_unlock(&view->all->lock);
}

/* When is the next refresh due? -1: there is nothing that the view has not. */
static enum poly_status look_on(struct poly_view *view, struct poly_db *db, uint64_t head,
                                int64_t *due, struct poly_error *err)
{
    const int64_t half = (int64_t)view->job.config->staleness_ms * 500;
    const bool first = !view->seen;
    struct poly_view_row row;
    struct poly_view_change change;
    enum poly_status status = poly_view_load(db, &view->job, &row, err);

    *due = -1;
    if (status != POLY_OK)
        return status;
    if (!row.there || row.none) { /* it has been taken down */
        view->job.fits = false;
        *due = 0;
        return POLY_OK;
    }
    if (!row.same)
        return refuse_foreign(err);
    /* It was refreshed; or a standby took over that had not got the last refresh. */
    if (first || row.position != view->based) {
        view->looked = view->based = row.position;
        view->noticed = 0;
    }
    change = (struct poly_view_change){.after = view->looked, .upto = head};
    status = poly_view_changed(db, view->job.relational->config, view->job.reads, &change, err);
    if (status != POLY_OK)
        return status;
    if (change.position == 0) {
        view->looked = head > view->looked ? head : view->looked;
        view->noticed = 0;
        view->seen = true;
        return POLY_OK;
    }
    /* What the start finds has waited long enough. */
    if (view->noticed == 0)
        view->noticed = poly_clock_monotonic() - (first ? half : 0);
    view->looked = change.position - 1;
    view->seen = true;
    *due = view->noticed + half;
    return POLY_OK;
}

static enum poly_status look(struct poly_view *view, uint64_t head, int64_t *due,
                             struct poly_error *err)
{
    struct poly_owner *owner = poly_instance_owner(view->job.relational->instance);
    struct poly_db *db = owner->driver->take(owner, err);
    enum poly_status status;

    if (db == NULL)
        return poly_failed(err);
    status = look_on(view, db, head, due, err);
    owner->driver->give(owner, db);
    return status;
}

static enum poly_status refresh(struct poly_view *view, struct poly_error *err)
{
    struct poly_view_job *job = &view->job;
    enum poly_status status;

    job->busy = false;
    job->started = poly_clock_monotonic();
    status = job->relational->driver->view->run(job, err);
    if (status != POLY_OK)
        return poly_fail_in(err, status, "view '%s'", job->config->name);
    if (!job->busy) {
        if (!job->fits)
            forget_error(view); /* of what it was before */
        job->fits = view->settled = true;
        job->force = false;
        publish(view, true);
    }
    view->noticed = 0;
    view->again = job->busy ? poly_clock_monotonic() + BUSY_AGAIN : 0;
    return POLY_OK;
}

/* What others ask of it. */
static uint64_t take_ticket(struct poly_view *view)
{
    uint64_t ticket;

    pthread_mutex_lock(&view->all->lock);
    ticket = view->asked == view->answered ? 0 : view->asked;
    if (view->migrated) {
        view->migrated = view->checked = view->settled = false;
        view->job.force = true;
        view->again = 0;
    }
    pthread_mutex_unlock(&view->all->lock);
    return ticket;
}

/* Looks after one view; when is that to be done again? -1: when the log has more. */
static int64_t attend(struct poly_view *view, uint64_t head)
{
    struct poly_error err = {.position = -1};
    uint64_t ticket = take_ticket(view);
    int64_t due = 0;
    enum poly_status status = POLY_OK;

    if (ticket == 0 && poly_clock_monotonic() < view->again)
        return view->again;
    view->job.force = view->job.force || ticket != 0;
    if (!view->checked)
        status = check(view, &err);
    if (status == POLY_OK && view->job.fits && !view->job.force)
        status = look(view, head, &due, &err);
    if (status == POLY_OK && (due < 0 || poly_clock_monotonic() < due)) {
        succeeded(view);
        return due;
    }
    if (status == POLY_OK)
        status = refresh(view, &err);
    if (status != POLY_OK)
        failed(view, status, &err);
    else if (!view->job.busy)
        succeeded(view);
    if (status != POLY_OK || !view->job.busy)
        answer(view, ticket, status, &err);
    return status == POLY_OK && !view->job.busy ? 0 : view->again;
}

/* --- the thread --- */

static bool asked(const struct poly_views *self)
{
    bool yes = atomic_load(&self->closing);

    for (size_t i = 0; i < self->count && !yes; i++)
        yes = self->views[i].asked != self->views[i].answered || self->views[i].migrated;
    return yes;
}

/* Until then, or until somebody asks. */
static void nap(struct poly_views *self, int64_t until)
{
    struct timespec at = {until / 1000000, until % 1000000 * 1000};
    int code = 0;

    pthread_mutex_lock(&self->lock);
    while (!asked(self) && code != ETIMEDOUT)
        code = pthread_cond_timedwait(&self->woken, &self->lock, &at);
    pthread_mutex_unlock(&self->lock);
}

/*
 * Under load the log is looked at now and then, and its writers have nobody to wake. Where there
 * is nothing to do it is waited for.
 */
static void rest(struct poly_views *self, uint64_t head, unsigned seen, int64_t next)
{
    struct poly_signal *signal = poly_instance_head(self->relational->instance);
    int64_t soon = poly_clock_monotonic() + self->look_every;

    nap(self, poly_clock_sooner(soon, next));
    if (next < 0 || next > soon)
        poly_signal_wait(signal, head + 1, next, seen);
}

static void *look_after(void *arg)
{
    struct poly_views *self = arg;
    struct poly_signal *signal = poly_instance_head(self->relational->instance);

    for (;;) {
        unsigned seen = poly_signal_seen(signal);
        uint64_t head = atomic_load(&signal->value);
        int64_t next = -1;

        if (atomic_load(&self->closing)) /* after seen: closing pokes */
            return NULL;
        for (size_t i = 0; i < self->count; i++)
            next = poly_clock_sooner(next, attend(&self->views[i], head));
        rest(self, head, seen, next);
    }
}

/* --- start and stop --- */

static bool declared(const struct poly_config *config, struct poly_text name)
{
    for (size_t i = 0; i < config->view_count; i++) {
        if (strlen(config->views[i].name) == name.size &&
            memcmp(config->views[i].name, name.data, name.size) == 0)
            return true;
    }
    return false;
}

struct dropping {
    const struct poly_config *config;
    const struct poly_view_driver *driver;
    char names[16][POLY_MAX_VIEW_NAME + 1]; /* so many at a time */
    size_t count;
};

static enum poly_status find_stale(struct dropping *d, struct poly_db *db, struct poly_error *err)
{
    struct poly_stmt get;
    enum poly_status status = poly_stmt_open(&get, db, sql_names, err);
    bool row = true;

    d->count = 0;
    while (status == POLY_OK && row && d->count < 16) {
        status = poly_stmt_row(&get, &row, err);
        if (status != POLY_OK || !row)
            break;
        struct poly_text name = poly_stmt_get_text(&get, 0);

        if (name.size <= POLY_MAX_VIEW_NAME && !declared(d->config, name))
            snprintf(d->names[d->count++], sizeof(d->names[0]), "%.*s", (int)name.size, name.data);
    }
    poly_stmt_close(&get);
    return status;
}

static enum poly_status drop_stale(struct poly_db *db, void *arg, struct poly_error *err)
{
    struct dropping *d = arg;
    enum poly_status status = find_stale(d, db, err);

    for (size_t i = 0; i < d->count && status == POLY_OK; i++) {
        status = d->driver->drop(db, d->names[i], err);
        if (status != POLY_OK)
            poly_fail_in(err, status, "view '%s', which is not declared any more", d->names[i]);
    }
    return status;
}

/* Only when there is one: a start that finds all as it should be writes nothing. */
enum poly_status poly_views_tidy(struct poly_relational *relational, struct poly_error *err)
{
    struct poly_owner *owner = poly_instance_owner(relational->instance);
    struct dropping d = {.config = relational->config, .driver = relational->driver->view};
    struct poly_db *db = owner->driver->take(owner, err);
    enum poly_status status;

    if (db == NULL)
        return poly_failed(err);
    status = find_stale(&d, db, err);
    owner->driver->give(owner, db);
    while (status == POLY_OK && d.count > 0) {
        status = poly_instance_write(relational->instance, drop_stale, &d, err);
        if (status == POLY_OK && d.count < 16)
            break;
    }
    return status;
}

static struct poly_views *views_new(struct poly_relational *relational)
{
    const struct poly_config *config = relational->config;
    bool server = strcmp(relational->driver->name, "postgresql") == 0;
    struct poly_views *self =
        calloc(1, sizeof(*self) + config->view_count * sizeof(struct poly_view));
    int64_t smallest = LOOK_MAX * 10;
    pthread_condattr_t monotonic;

    if (self == NULL)
        return NULL;
    self->relational = relational;
    self->count = config->view_count;
    pthread_mutex_init(&self->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&self->woken, &monotonic);
    pthread_cond_init(&self->answered, &monotonic);
    pthread_condattr_destroy(&monotonic);
    for (size_t i = 0; i < self->count; i++) {
        struct poly_view *view = &self->views[i];
        const struct poly_view_config *one = &config->views[i];

        view->all = self;
        view->pause = RETRY_FIRST;
        view->job.relational = relational;
        view->job.config = one;
        view->job.query =
            server && one->query_postgresql != NULL ? one->query_postgresql : one->query;
        if ((int64_t)one->staleness_ms * 1000 < smallest)
            smallest = (int64_t)one->staleness_ms * 1000;
    }
    self->look_every = smallest / 10 < LOOK_FIRST ? LOOK_FIRST : smallest / 10;
    return self;
}

enum poly_status poly_views_open(struct poly_relational *relational, struct poly_error *err)
{
    struct poly_views *self;
    enum poly_status status;

    if (relational->config->view_count == 0)
        return POLY_OK;
    self = relational->views = views_new(relational);
    if (self == NULL)
        return poly_no_memory(err);
    /* Who may read which, before anybody does. A view that cannot run is no failure of the start:
     * its state says so. */
    for (size_t i = 0; i < self->count; i++) {
        struct poly_error why = {.position = -1};

        status = check(&self->views[i], &why);
        if (status != POLY_OK)
            failed(&self->views[i], status, &why);
    }
    if (pthread_create(&self->thread, NULL, look_after, self) != 0)
        return poly_fail(err, POLY_UNAVAILABLE, "views: cannot start their thread");
    self->thread_runs = true;
    pthread_setname_np(self->thread, "poly-views");
    return POLY_OK;
}

void poly_views_stop(struct poly_relational *relational)
{
    const struct timespec moment = {0, STOP_EVERY_NS};
    struct poly_views *self = relational == NULL ? NULL : relational->views;

    if (self == NULL || !self->thread_runs)
        return;
    pthread_mutex_lock(&self->lock);
    atomic_store(&self->closing, true);
    pthread_cond_broadcast(&self->woken);
    pthread_cond_broadcast(&self->answered);
    pthread_mutex_unlock(&self->lock);
    poly_signal_poke(poly_instance_head(relational->instance));
    /* One statement may follow another. */
    while (pthread_tryjoin_np(self->thread, NULL) == EBUSY) {
        pthread_mutex_lock(&self->lock);
        if (self->running != NULL)
            poly_db_interrupt(self->running);
        pthread_mutex_unlock(&self->lock);
        nanosleep(&moment, NULL);
    }
    self->thread_runs = false;
}

void poly_views_free(struct poly_relational *relational)
{
    struct poly_views *self = relational->views;

    if (self == NULL)
        return;
    poly_views_stop(relational);
    pthread_cond_destroy(&self->woken);
    pthread_cond_destroy(&self->answered);
    pthread_mutex_destroy(&self->lock);
    free(self);
    relational->views = NULL;
}
