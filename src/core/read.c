/* Reading the log from outside. */
#include <string.h>

#include "base/clock.h"
#include "core/inside.h"

enum poly_status poly_log_scan(struct poly_db *db, struct poly_scan *scan, struct poly_error *err)
{
    return scan->instance->owner->driver->scan(db, scan, err);
}

bool poly_log_temporary(enum poly_status status)
{
    return status == POLY_NO_MEMORY || status == POLY_UNAVAILABLE || status == POLY_TIMEOUT;
}

static bool copy_text(struct poly_arena *arena, struct poly_text *text)
{
    text->data = poly_arena_copy(arena, text->data, text->size);
    return text->data != NULL;
}

bool poly_record_copy(struct poly_arena *arena, const struct poly_record *from,
                      struct poly_record *to)
{
    *to = *from;
    return copy_text(arena, &to->tenant) && copy_text(arena, &to->domain) &&
           copy_text(arena, &to->key) && copy_text(arena, &to->type) &&
           copy_text(arena, &to->meta) &&
           (to->data.type == POLY_NULL || copy_text(arena, &to->data.text));
}

size_t poly_names_count(const char *const *names)
{
    size_t count = 0;

    while (names != NULL && names[count] != NULL)
        count++;
    return count;
}

enum poly_log_by poly_log_filter(const struct poly_log_query *query)
{
    size_t domains = poly_names_count(query->domains), types = poly_names_count(query->types);

    if (domains == 1 && query->key != NULL)
        return POLY_BY_KEY;
    if (domains == 0 && types == 0)
        return POLY_BY_ALL;
    if (domains == 1 && types == 0)
        return POLY_BY_DOMAIN;
    return domains == 0 && types == 1 ? POLY_BY_TYPE : POLY_BY_LISTS;
}

uint64_t poly_log_head(struct poly_instance *instance)
{
    return atomic_load(&instance->head.value);
}

static enum poly_status check_names(const char *const *names, const char *what,
                                    struct poly_error *err)
{
    for (size_t i = 0; names != NULL && names[i] != NULL; i++) {
        if (i == POLY_MAX_IN)
            return poly_fail(err, POLY_LIMIT, "at most %d %ss", POLY_MAX_IN, what);
        if (names[i][0] == '\0' || strlen(names[i]) > POLY_MAX_NAME)
            return poly_fail(err, POLY_INVALID, "a %s has 1 to %d bytes", what, POLY_MAX_NAME);
    }
    return POLY_OK;
}

enum poly_status poly_log_check(const struct poly_log_query *query, struct poly_error *err)
{
    enum poly_status status = check_names(query->domains, "domain", err);

    if (status == POLY_OK)
        status = check_names(query->types, "type", err);
    if (status != POLY_OK)
        return status;
    if (query->limit > POLY_MAX_PAGE)
        return poly_fail(err, POLY_LIMIT, "limit: at most %d records", POLY_MAX_PAGE);
    if (query->key == NULL)
        return POLY_OK;
    if (query->domains == NULL || query->domains[0] == NULL || query->domains[1] != NULL)
        return poly_fail(err, POLY_INVALID, "a key is looked for in exactly one domain");
    if (strlen(query->key) > POLY_MAX_KEY)
        return poly_fail(err, POLY_INVALID, "a key has at most %d bytes", POLY_MAX_KEY);
    return POLY_OK;
}

void poly_log_scope(struct poly_session *session, struct poly_scan *scan)
{
    scan->instance = session->instance;
    scan->tenant = poly_session_tenant(session);
    scan->all_tenants = scan->tenant.size == 0 && (session->rights & POLY_RIGHT_ADMIN) != 0;
}

/* Where many write at a time, a write may be known before all is in place that comes before it. */
static enum poly_status wait_for_token(struct poly_session *session, struct poly_error *err)
{
    struct poly_signal *head = &session->instance->head;
    int64_t deadline = poly_clock_monotonic() + (int64_t)session->deadline_ms * 1000;

    if (session->consistency == POLY_STALE || atomic_load(&head->value) >= session->after)
        return POLY_OK;
    if (session->consistency == POLY_FAIL)
        return poly_fail(err, POLY_UNAVAILABLE, "log: complete up to %llu, the token asks for %llu",
                         (unsigned long long)atomic_load(&head->value),
                         (unsigned long long)session->after);
    poly_owner_await(session->instance->owner, session->after);
    do {
        if (poly_signal_wait(head, session->after, deadline, poly_signal_seen(head)))
            return POLY_OK;
    } while (poly_clock_monotonic() < deadline);
    return poly_fail(err, POLY_TIMEOUT, "log: complete up to %llu, the token asks for %llu",
                     (unsigned long long)atomic_load(&head->value),
                     (unsigned long long)session->after);
}

enum poly_status poly_log_read(struct poly_session *session, const struct poly_log_query *query,
                               poly_record_fn *visit, void *arg, uint64_t *last,
                               struct poly_error *err)
{
    struct poly_scan scan = {
        .query = query, .arena = session->arena, .visit = visit, .arg = arg, .last = query->after};
    struct poly_error local;
    struct poly_db *db;
    enum poly_status status;

    err = err == NULL ? &local : err;
    status = poly_log_check(query, err);
    if (status == POLY_OK)
        status = wait_for_token(session, err);
    if (status == POLY_OK)
        status = poly_session_read_log(session, &db, err);
    if (status != POLY_OK)
        return status;
    poly_log_scope(session, &scan);
    scan.limit = query->limit == 0 ? 1000 : query->limit;
    status = poly_log_scan(db, &scan, err);
    /* To the end: what was not of interest has been looked at too. */
    if (status == POLY_OK && !scan.more && !query->backwards &&
        session->freshness.applied > scan.last && !scan.stopped)
        scan.last = session->freshness.applied;
    poly_session_read_end(session);
    if (status == POLY_OK && last != NULL)
        *last = scan.last;
    return status;
}
