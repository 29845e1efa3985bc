/*
 * Catching up and following live are one loop: read beyond the position; when
 * there is nothing, wait until the head of the log moves. There is no seam
 * between the two, so there is no gap.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "core/inside.h"

enum { RENEW_US = POLY_LEASE_MS * 1000 / 5, RETRY_US = 200000 };

struct poly_subscription {
    struct poly_subscription *next; /* in the instance's list, under its lock */
    struct poly_instance *instance;
    char tenant[POLY_MAX_NAME + 1];
    char name[POLY_MAX_NAME + 1]; /* empty: not kept */
    bool all_tenants;
    struct poly_arena *options, *records, *scratch;
    struct poly_log_query query;
    uint32_t batch;
    uint64_t position; /* looked at */
    struct poly_record *out;
    size_t count;
    bool no_memory;
    _Atomic bool woken;
    int64_t renew; /* monotonic: when the lease of the name is due; 0: there is none */
};

static const char position_get[] =
    "SELECT position FROM poly_subscription WHERE tenant = ?1 AND name = ?2";
static const char position_new[] =
    "INSERT INTO poly_subscription(tenant, name, position)"
    " SELECT CAST(?1 AS text), CAST(?2 AS text), CAST(?3 AS bigint)"
    " WHERE (SELECT count(*) FROM poly_subscription WHERE tenant = ?1) < ?4"
    " ON CONFLICT (tenant, name) DO NOTHING";
static const char position_put[] = "UPDATE poly_subscription SET position ="
                                   " CASE WHEN position < ?3 THEN ?3 ELSE position END"
                                   " WHERE tenant = ?1 AND name = ?2";
static const char position_drop[] = "DELETE FROM poly_subscription WHERE tenant = ?1 AND name = ?2";
static const char all[] = "SELECT tenant, name, position FROM poly_subscription"
                          " WHERE CAST(?1 AS text) IS NULL OR tenant = ?1"
                          " ORDER BY tenant, name LIMIT 10000";

struct place {
    struct poly_text tenant, name;
    uint64_t position;
    bool known;
    struct poly_instance *instance; /* to be asked whether it is open */
};

static enum poly_status bind_place(struct poly_db *db, const char *sql, const struct place *place,
                                   struct poly_stmt *stmt, struct poly_error *err)
{
    enum poly_status status = poly_stmt_open(stmt, db, sql, err);

    if (status != POLY_OK)
        return status;
    poly_stmt_text(stmt, 1, place->tenant);
    poly_stmt_text(stmt, 2, place->name);
    if (sql == position_new || sql == position_put)
        poly_stmt_int(stmt, 3, (int64_t)place->position);
    return POLY_OK;
}

static enum poly_status get_place(struct poly_db *db, struct place *place, struct poly_error *err)
{
    struct poly_stmt get;
    enum poly_status status = bind_place(db, position_get, place, &get, err);

    if (status == POLY_OK)
        status = poly_stmt_row(&get, &place->known, err);
    if (status == POLY_OK && place->known) {
        place->position = (uint64_t)poly_stmt_get_int(&get, 0);
        poly_stmt_close(&get);
    }
    return status;
}

/* On the writer: the name's position, made when it is new. Not known: there is no room for it. */
static enum poly_status open_place(struct poly_db *db, void *arg, struct poly_error *err)
{
    struct place *place = arg;
    struct poly_stmt put;
    enum poly_status status = bind_place(db, position_new, place, &put, err);

    if (status == POLY_OK) {
        poly_stmt_int(&put, 4, POLY_MAX_NAMED);
        status = poly_stmt_done(&put, err);
    }
    return status == POLY_OK ? get_place(db, place, err) : status;
}

static enum poly_status move_place(struct poly_db *db, void *arg, struct poly_error *err)
{
    struct place *place = arg;
    struct poly_stmt put;
    int64_t changes = 0;
    enum poly_status status = bind_place(db, position_put, place, &put, err);

    if (status == POLY_OK)
        status = poly_stmt_changes(&put, &changes, err);
    place->known = changes > 0;
    return status;
}

/* --- opening --- */

static const char *const *copy_list(struct poly_arena *arena, const char *const *names, bool *ok)
{
    const char **copy;
    size_t count = 0;

    if (names == NULL)
        return NULL;
    while (names[count] != NULL)
        count++;
    copy = poly_arena_array(arena, count + 1, sizeof(*copy));
    for (size_t i = 0; i < count && copy != NULL; i++) {
        copy[i] = poly_arena_copy(arena, names[i], strlen(names[i]));
        *ok = *ok && copy[i] != NULL;
    }
    *ok = *ok && copy != NULL;
    return copy;
}

static void subscription_free(struct poly_subscription *subscription)
{
    poly_arena_free(subscription->options);
    poly_arena_free(subscription->records);
    poly_arena_free(subscription->scratch);
    free(subscription);
}

static struct poly_subscription *subscription_new(struct poly_session *session,
                                                  const struct poly_subscription_options *options)
{
    struct poly_subscription *self = calloc(1, sizeof(*self));
    bool ok = true;

    if (self == NULL)
        return NULL;
    self->instance = session->instance;
    self->batch = options->batch == 0 ? 256 : options->batch;
    self->position = options->after;
    self->options = poly_arena_new(POLY_MAX_IN * POLY_MAX_NAME * 4);
    self->records = poly_arena_new(2 * POLY_MAX_IMAGE); /* take() stops long before, but for one */
    self->scratch = poly_arena_new(2 * POLY_MAX_IMAGE);
    memcpy(self->tenant, session->tenant, sizeof(self->tenant));
    self->all_tenants = session->tenant[0] == '\0' && (session->rights & POLY_RIGHT_ADMIN) != 0;
    if (options->name != NULL)
        memcpy(self->name, options->name, strlen(options->name) + 1);
    if (self->options != NULL) {
        self->query.domains = copy_list(self->options, options->domains, &ok);
        self->query.types = copy_list(self->options, options->types, &ok);
    }
    if (self->options == NULL || self->records == NULL || self->scratch == NULL || !ok) {
        subscription_free(self);
        return NULL;
    }
    return self;
}

static bool reached(struct poly_instance *instance, uint64_t position)
{
    return instance->owner->driver->reached(instance->owner, position);
}

static enum poly_status check(struct poly_session *session,
                              const struct poly_subscription_options *options,
                              struct poly_error *err)
{
    struct poly_log_query query = {.domains = options->domains, .types = options->types};
    enum poly_status status = poly_session_require(session, POLY_RIGHT_READ, "a subscription", err);

    if (status == POLY_OK)
        status = poly_log_check(&query, err);
    if (status != POLY_OK)
        return status;
    if (options->name != NULL &&
        (options->name[0] == '\0' || strlen(options->name) > POLY_MAX_NAME))
        return poly_fail(err, POLY_INVALID, "a subscription's name has 1 to %d bytes",
                         POLY_MAX_NAME);
    if (!reached(session->instance, options->after))
        return poly_fail(err, POLY_INVALID, "position %llu is beyond the end of the log",
                         (unsigned long long)options->after);
    if (options->batch > POLY_MAX_PAGE)
        return poly_fail(err, POLY_LIMIT, "batch: at most %d records", POLY_MAX_PAGE);
    return POLY_OK;
}

/* Of the name, among the instances on one log. A server that is away is asked again next time. */
static enum poly_status renew(struct poly_subscription *self, struct poly_error *err)
{
    struct poly_owner *owner = self->instance->owner;
    int64_t now = poly_clock_monotonic();
    enum poly_status status;

    if (owner->driver->lease == NULL || self->name[0] == '\0' || now < self->renew)
        return POLY_OK;
    status = owner->driver->lease(owner, poly_text(self->tenant), poly_text(self->name), true, err);
    if (self->renew == 0 && status != POLY_OK)
        return status;
    self->renew = now + (status == POLY_OK ? RENEW_US : RETRY_US);
    return status == POLY_EXISTS ? status : POLY_OK;
}

/* Into the instance's list, unless the name is open already. */
static enum poly_status enlist(struct poly_subscription *self, struct poly_error *err)
{
    struct poly_instance *instance = self->instance;
    enum poly_status status = POLY_OK;

    pthread_mutex_lock(&instance->lock);
    if (instance->subscription_count >= POLY_MAX_SUBSCRIPTIONS)
        status = poly_fail(err, POLY_LIMIT, "at most %d subscriptions are open at a time",
                           POLY_MAX_SUBSCRIPTIONS);
    for (struct poly_subscription *s = instance->subscriptions;
         s != NULL && status == POLY_OK && self->name[0] != '\0'; s = s->next) {
        if (strcmp(s->name, self->name) == 0 && strcmp(s->tenant, self->tenant) == 0)
            status = poly_fail(err, POLY_EXISTS, "subscription '%s' is open already", self->name);
    }
    if (status == POLY_OK) {
        self->next = instance->subscriptions;
        instance->subscriptions = self;
        instance->subscription_count++;
    }
    pthread_mutex_unlock(&instance->lock);
    return status;
}

enum poly_status poly_subscribe(struct poly_session *session,
                                const struct poly_subscription_options *options,
                                struct poly_subscription **subscription, struct poly_error *err)
{
    struct poly_subscription *self;
    struct poly_error local;
    enum poly_status status;

    err = err == NULL ? &local : err;
    status = check(session, options, err);
    if (status != POLY_OK)
        return status;
    self = subscription_new(session, options);
    if (self == NULL)
        return poly_no_memory(err);
    status = enlist(self, err);
    if (status != POLY_OK) {
        subscription_free(self);
        return status;
    }
    status = renew(self, err);
    if (status == POLY_OK && self->name[0] != '\0') {
        struct place place = {poly_text(self->tenant), poly_text(self->name), options->after, false,
                              self->instance};

        status = poly_owner_run(self->instance, open_place, &place, false, err);
        self->position = place.position;
        if (status == POLY_OK && !place.known)
            status = poly_fail(err, POLY_LIMIT, "a tenant has at most %d named subscriptions",
                               POLY_MAX_NAMED);
    }
    if (status != POLY_OK)
        poly_subscription_close(self);
    else
        *subscription = self;
    return status;
}

void poly_subscription_close(struct poly_subscription *subscription)
{
    struct poly_instance *instance;

    if (subscription == NULL)
        return;
    instance = subscription->instance;
    if (subscription->renew != 0) {
        struct poly_error ignored;

        (void)instance->owner->driver->lease(instance->owner, poly_text(subscription->tenant),
                                             poly_text(subscription->name), false, &ignored);
    }
    pthread_mutex_lock(&instance->lock);
    for (struct poly_subscription **s = &instance->subscriptions; *s != NULL; s = &(*s)->next) {
        if (*s == subscription) {
            *s = subscription->next;
            instance->subscription_count--;
            break;
        }
    }
    pthread_mutex_unlock(&instance->lock);
    subscription_free(subscription);
}

/* --- reading --- */

static bool copy_text(struct poly_arena *arena, struct poly_text *text)
{
    text->data = poly_arena_copy(arena, text->data, text->size);
    return text->data != NULL;
}

static bool take(void *arg, const struct poly_record *record)
{
    struct poly_subscription *self = arg;

    if (!poly_record_copy(self->records, record, &self->out[self->count])) {
        self->no_memory = self->count == 0; /* else: what fits now, the rest next time */
        return false;
    }
    self->count++;
    return poly_arena_used(self->records) < POLY_MAX_VALUE;
}

static enum poly_status read_batch(struct poly_subscription *self, uint64_t head,
                                   struct poly_error *err)
{
    struct poly_scan scan = {.instance = self->instance,
                             .query = &self->query,
                             .all_tenants = self->all_tenants,
                             .tenant = poly_text(self->tenant),
                             .upto = head,
                             .limit = self->batch,
                             .arena = self->scratch,
                             .visit = take,
                             .arg = self};
    struct poly_owner *owner = self->instance->owner;
    struct poly_db *reader = owner->driver->take(owner, err);
    enum poly_status status;

    if (reader == NULL)
        return err->status;
    poly_arena_reset(self->records);
    poly_arena_reset(self->scratch);
    self->query.after = self->position;
    self->count = 0;
    self->no_memory = false;
    self->out = poly_arena_array(self->records, self->batch, sizeof(*self->out));
    status = self->out == NULL ? poly_no_memory(err) : poly_log_scan(reader, &scan, err);
    owner->driver->give(owner, reader);
    if (status == POLY_OK && self->no_memory)
        status = poly_no_memory(err);
    if (self->count > 0) { /* what came before a record that cannot be had is given first */
        self->position = self->out[self->count - 1].position;
        return POLY_OK;
    }
    if (status == POLY_OK)
        self->position = head;
    return status;
}

enum poly_status poly_subscription_next(struct poly_subscription *subscription, uint32_t wait_ms,
                                        const struct poly_record **records, size_t *count,
                                        struct poly_error *err)
{
    struct poly_signal *signal = &subscription->instance->head;
    int64_t deadline = poly_clock_monotonic() + (int64_t)wait_ms * 1000;
    struct poly_error local;
    enum poly_status status = POLY_OK;

    err = err == NULL ? &local : err;
    subscription->count = 0;
    while (status == POLY_OK && subscription->count == 0 && !atomic_load(&subscription->woken)) {
        unsigned seen = poly_signal_seen(signal);
        uint64_t head = atomic_load(&signal->value);

        if (atomic_load(&subscription->woken))
            break;
        status = renew(subscription, err);
        if (status != POLY_OK)
            break;
        if (head > subscription->position) {
            status = read_batch(subscription, head, err);
            continue;
        }
        if (poly_clock_monotonic() >= deadline)
            break;
        poly_signal_wait(signal, subscription->position + 1,
                         subscription->renew != 0 && subscription->renew < deadline
                             ? subscription->renew
                             : deadline,
                         seen);
    }
    if (status == POLY_OK) {
        *records = subscription->out;
        *count = subscription->count;
    }
    return status;
}

void poly_subscription_wake(struct poly_subscription *subscription)
{
    atomic_store(&subscription->woken, true);
    poly_signal_poke(&subscription->instance->head);
}

/* --- acknowledging --- */

static enum poly_status acknowledge(struct poly_instance *instance, struct place *place,
                                    struct poly_error *err)
{
    enum poly_status status;

    if (!reached(instance, place->position))
        return poly_fail(err, POLY_INVALID, "position %llu is beyond the end of the log",
                         (unsigned long long)place->position);
    status = poly_owner_run(instance, move_place, place, true, err);
    if (status == POLY_OK && !place->known)
        status =
            poly_fail(err, POLY_NOT_FOUND, "there is no subscription '%.128s'", place->name.data);
    return status;
}

enum poly_status poly_subscription_ack(struct poly_subscription *subscription, uint64_t position,
                                       struct poly_error *err)
{
    struct place place = {poly_text(subscription->tenant), poly_text(subscription->name), position,
                          false, subscription->instance};
    struct poly_error local;

    err = err == NULL ? &local : err;
    if (subscription->name[0] == '\0')
        return poly_fail(err, POLY_INVALID,
                         "a subscription without a name keeps no position: give it one");
    return acknowledge(subscription->instance, &place, err);
}

enum poly_status poly_acknowledge(struct poly_session *session, const char *name, uint64_t position,
                                  struct poly_error *err)
{
    struct place place = {poly_session_tenant(session), poly_text(name), position, false,
                          session->instance};
    struct poly_error local;
    enum poly_status status;

    err = err == NULL ? &local : err;
    status = poly_session_require(session, POLY_RIGHT_READ, "acknowledging", err);
    return status == POLY_OK ? acknowledge(session->instance, &place, err) : status;
}

/* --- forgetting --- */

static bool is_open_here(struct poly_instance *instance, struct poly_text tenant,
                         struct poly_text name)
{
    bool open = false;

    pthread_mutex_lock(&instance->lock);
    for (struct poly_subscription *s = instance->subscriptions; s != NULL && !open; s = s->next)
        open = strcmp(s->name, name.data) == 0 && strcmp(s->tenant, tenant.data) == 0;
    pthread_mutex_unlock(&instance->lock);
    return open;
}

static enum poly_status is_open(struct poly_instance *instance, struct poly_db *db,
                                struct poly_text tenant, struct poly_text name, bool *open,
                                struct poly_error *err)
{
    const struct poly_owner_driver *driver = instance->owner->driver;

    *open = is_open_here(instance, tenant, name);
    if (*open || driver->leased == NULL)
        return POLY_OK;
    return driver->leased(instance->owner, db, tenant, name, open, err);
}

/* Asked on the writer: who opens enters the list first and comes to the writer then. */
static enum poly_status drop_place(struct poly_db *db, void *arg, struct poly_error *err)
{
    struct place *place = arg;
    struct poly_stmt drop;
    int64_t changes = 0;
    bool open = false;
    enum poly_status status =
        is_open(place->instance, db, place->tenant, place->name, &open, err);

    if (status != POLY_OK)
        return status;
    if (open)
        return poly_fail(err, POLY_CONFLICT, "subscription '%.128s' is open", place->name.data);
    status = bind_place(db, position_drop, place, &drop, err);
    if (status == POLY_OK)
        status = poly_stmt_changes(&drop, &changes, err);
    if (status == POLY_OK && changes == 0)
        status =
            poly_fail(err, POLY_NOT_FOUND, "there is no subscription '%.128s'", place->name.data);
    return status;
}

enum poly_status poly_subscription_delete(struct poly_session *session, const char *name,
                                          struct poly_error *err)
{
    struct place place = {poly_session_tenant(session), poly_text(name), 0, false,
                          session->instance};
    struct poly_error local;
    enum poly_status status;

    err = err == NULL ? &local : err;
    status = poly_session_require(session, POLY_RIGHT_READ, "deleting a subscription", err);
    return status == POLY_OK ? poly_owner_run(session->instance, drop_place, &place, false, err)
                             : status;
}

/* --- status --- */

static enum poly_status report_one(struct poly_session *session, struct poly_stmt *get,
                                   struct poly_subscription_status *status, struct poly_error *err)
{
    uint64_t head = atomic_load(&session->instance->head.value);

    status->tenant = poly_stmt_get_text(get, 0);
    status->name = poly_stmt_get_text(get, 1);
    if (!copy_text(session->arena, &status->tenant) || !copy_text(session->arena, &status->name))
        return poly_no_memory(err);
    status->acknowledged = (uint64_t)poly_stmt_get_int(get, 2);
    status->lag_records = poly_lag(head, status->acknowledged);
    return is_open(session->instance, session->reader, status->tenant, status->name,
                   &status->open, err);
}

enum poly_status poly_subscriptions_report(struct poly_session *session,
                                           struct poly_status_report *report,
                                           struct poly_error *err)
{
    enum { FIRST = 16 };
    struct poly_subscription_status *list = NULL;
    size_t capacity = 0, count = 0;
    struct poly_db *db;
    enum poly_status status = poly_session_read_log(session, &db, err);
    struct poly_stmt get;
    bool row = true;

    if (status != POLY_OK)
        return status;
    status = poly_stmt_open(&get, db, all, err);
    if (status == POLY_OK && (session->rights & POLY_RIGHT_ADMIN) == 0)
        poly_stmt_text(&get, 1, poly_session_tenant(session));
    while (status == POLY_OK && (status = poly_stmt_row(&get, &row, err)) == POLY_OK && row) {
        if (count == capacity) {
            size_t more = capacity == 0 ? FIRST : capacity * 2;
            struct poly_subscription_status *grown =
                poly_arena_array(session->arena, more, sizeof(*grown));

            if (grown == NULL) {
                status = poly_no_memory(err);
                break;
            }
            if (count > 0)
                memcpy(grown, list, count * sizeof(*list));
            list = grown;
            capacity = more;
        }
        status = report_one(session, &get, &list[count++], err);
    }
    poly_stmt_close(&get);
    poly_session_read_end(session);
    report->subscriptions = list;
    report->subscription_count = count;
    return status;
}
