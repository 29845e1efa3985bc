/*
 * The swap: all that it does is in one transaction of the owner, in which nobody else writes to the
 * table.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "core/instance.h"
#include "core/model.h"
#include "stores/relational/model.h"

enum { KEYS = 5 /* that a refusal names */, KEYS_SIZE = 400 };
enum { FEW = 1000, PAUSE = 6000000 /* microseconds */ };

#define LATEST                                                                                     \
    "(SELECT l.position FROM poly_log AS l WHERE l.domain = n.domain AND l.tenant = n.tenant"      \
    " AND l.key = n.key AND l.version IS NULL ORDER BY l.position DESC LIMIT 1)"
static const char drop_used[] =
    "DELETE FROM poly_model_vector WHERE domain = ?1 AND field = ?2 AND old = 0";
static const char drop_stale[] = "DELETE FROM poly_model_vector AS n WHERE domain = ?1"
                                 " AND field = ?2 AND old = 0 AND of <> " LATEST;
static const char keep_old[] = "UPDATE poly_model_vector AS n SET old = 0, of = " LATEST
                               " WHERE domain = ?1 AND field = ?2 AND old = 1";
static const char last[] = "SELECT coalesce(max(position), 0) FROM poly_log";

struct swapping {
    struct poly_model_change c;
    const struct poly_model_swap *how;
    const struct poly_model_sql *sql;
    struct poly_text meta;
    uint64_t waiting; /* for an embedder */
    struct poly_model_swapped swapped;
};

/* Of each row; closes it. */
static enum poly_status print_keys(struct poly_stmt *stmt, char *keys, size_t size,
                                   struct poly_error *err)
{
    size_t used = 0;
    bool row = true;
    enum poly_status status;

    while ((status = poly_stmt_row(stmt, &row, err)) == POLY_OK && row) {
        struct poly_text key = poly_stmt_get_text(stmt, 0);

        used += (size_t)snprintf(keys + used, size - used, "%s'%.*s'", used == 0 ? "" : ", ",
                                 (int)(key.size > 60 ? 60 : key.size), key.data);
    }
    return status;
}

static enum poly_status refuse(const struct swapping *s, struct poly_db *db, uint64_t wrong,
                               uint64_t stale)
{
    const struct poly_model_change *c = &s->c;
    struct poly_stmt stmt;
    char keys[KEYS_SIZE] = "";
    enum poly_status status = poly_model_open(c, db, s->sql->which, &stmt);

    if (status != POLY_OK)
        return status;
    poly_stmt_int(&stmt, 3, KEYS);
    status = print_keys(&stmt, keys, sizeof(keys), c->err);
    if (status != POLY_OK)
        return status;
    return poly_fail(
        c->err, POLY_CONFLICT,
        "domain '%s': %llu records have no vector of the model '%.100s', and %llu were "
        "changed since theirs was given: %s%s; give them one, or let them have none "
        "(drop_missing)",
        c->domain->name, (unsigned long long)(wrong - stale), c->model, (unsigned long long)stale,
        keys, wrong > KEYS ? " …" : "");
}

/* The first keys of those that lack a vector. */
static enum poly_status print_lacking(const struct swapping *s, struct poly_db *db, bool refused,
                                      char *keys, size_t size)
{
    const struct poly_model_change *c = &s->c;
    char queue[POLY_FILLING_NAME];
    struct poly_stmt stmt;
    enum poly_status status = poly_model_open(c, db, s->sql->lack, &stmt);

    if (status != POLY_OK)
        return status;
    poly_filling_name(c->declared, queue);
    poly_stmt_text(&stmt, 3, poly_text(queue));
    poly_stmt_int(&stmt, 4, refused);
    poly_stmt_int(&stmt, 5, KEYS);
    return print_keys(&stmt, keys, size, c->err);
}

/* What an embedder makes is waited for; what it never will, somebody has to decide about. */
static enum poly_status check_made(struct swapping *s, struct poly_db *db)
{
    const struct poly_model_change *c = &s->c;
    uint64_t lacking = 0, refused = 0;
    char keys[KEYS_SIZE] = "";
    enum poly_status status = poly_model_lacking(c, db, s->sql, &lacking, &refused);

    s->swapped.dropped = lacking;
    s->waiting = lacking - refused;
    if (status != POLY_OK || s->how->drop_missing)
        return status;
    if (lacking > refused) {
        status = print_lacking(s, db, false, keys, sizeof(keys));
        return status != POLY_OK
                   ? status
                   : poly_fail(c->err, POLY_UNAVAILABLE,
                               "domain '%s': %llu records wait for their vector of the model "
                               "'%.100s': %s%s%s",
                               c->domain->name, (unsigned long long)(lacking - refused), c->model,
                               keys, lacking - refused > KEYS ? " …" : "",
                               c->filling.runs ? "" : "; have the embedder make them first");
    }
    if (refused == 0 || s->how->skip_refused)
        return POLY_OK;
    status = print_lacking(s, db, true, keys, sizeof(keys));
    return status != POLY_OK
               ? status
               : poly_fail(c->err, POLY_CONFLICT,
                           "domain '%s': the embedder '%.60s' refuses the texts of %llu records: "
                           "%s%s; change them, have them tried again (retry), or let them have no "
                           "vector (skip_refused)",
                           c->domain->name, c->filling.embedder, (unsigned long long)refused, keys,
                           refused > KEYS ? " …" : "");
}

static enum poly_status check_given(struct swapping *s, struct poly_db *db)
{
    uint64_t wrong = 0, stale = 0;
    enum poly_status status = poly_model_read(&s->c, db, s->sql->wrong, &wrong, &stale);

    s->swapped.dropped = wrong;
    return status == POLY_OK && wrong > 0 && !s->how->drop_missing ? refuse(s, db, wrong, stale)
                                                                   : status;
}

static enum poly_status check_swap(const struct swapping *s)
{
    const struct poly_model_change *c = &s->c;

    if (c->any && !c->embedded && c->now->embedder != NULL)
        return poly_fail(c->err, POLY_UNSUPPORTED,
                         "domain '%s': its vectors are made by the embedder '%.60s' by now, and "
                         "those that are kept beside them were given; abandon them",
                         c->domain->name, c->now->embedder);

    if (c->any && c->back == s->how->back)
        return POLY_OK;
    if (s->how->back)
        return poly_fail(c->err, POLY_NOT_FOUND, "domain '%s': there is no model to go back to",
                         c->domain->name);
    return poly_fail(c->err, POLY_NOT_FOUND,
                     "domain '%s': no vectors of another model have been collected",
                     c->domain->name);
}

/* Of all vectors that are made of the column. */
static enum poly_status note(struct swapping *s, struct poly_db *db, uint64_t since)
{
    const struct poly_model_change *c = &s->c;
    enum poly_status status = POLY_OK;

    for (size_t i = 0; i < c->domain->vector_count && status == POLY_OK; i++) {
        const struct poly_domain_vector *now = poly_vector_now(&c->domain->vectors[i]);

        struct poly_domain_vector after = *now;

        if (strcasecmp(now->field, c->declared->field) != 0)
            continue;
        after.change++;
        after.model = c->model;
        after.dimensions = c->dimensions;
        if (c->embedded)
            after.embedder = c->filling.embedder;
        after.since = since;
        after.upto = s->swapped.position;
        status = poly_models_add(db, c->domain->name, now, &after, c->err);
    }
    return status;
}

static enum poly_status exchange(struct swapping *s, struct poly_db *db)
{
    struct poly_model_change *c = &s->c;
    const char *const steps[] = {drop_stale, s->sql->stash, s->sql->same};
    uint64_t taken = 0;
    enum poly_status status = POLY_OK;

    /* That of a text before is what a record has until its embedder has made the next. */
    for (size_t i = c->embedded ? 1 : 0; i < sizeof(steps) / sizeof(steps[0]) && status == POLY_OK;
         i++)
        status = poly_model_run(c, db, steps[i], NULL);
    if (status == POLY_OK)
        status = poly_model_run(c, db, s->sql->take, &taken);
    if (status == POLY_OK)
        status = poly_model_run(c, db, drop_used, &s->swapped.changed);
    if (c->embedded) /* what was deleted meanwhile may have had one still */
        s->swapped.changed = taken - s->swapped.dropped;
    if (status == POLY_OK)
        status = poly_model_run(c, db, keep_old, NULL);
    return status;
}

/* What was made goes on being made; what made the vectors until now rests, unless it is wanted. */
static enum poly_status exchange_embedders(struct swapping *s, struct poly_db *db)
{
    struct poly_model_change *c = &s->c;
    const struct poly_domain_vector *before = c->now;
    const struct poly_filling filling = {.embedder = before->embedder,
                                         .model = before->model,
                                         .field = c->filling.field,
                                         .dimensions = before->dimensions};
    enum poly_status status = poly_filling_exchange(db, c->domain->name, c->declared, c->err);

    if (status != POLY_OK)
        return status;
    return before->embedder == NULL
               ? poly_filling_drop(db, c->domain->name, c->declared, c->err)
               : poly_filling_put(db, c->domain->name, c->declared->name, &filling, c->err);
}

static enum poly_status swap_all(struct swapping *s, struct poly_db *db, struct poly_error *err)
{
    struct poly_model_change *c = &s->c;
    int64_t since = 0, upto = 0;
    enum poly_status status = poly_model_hold_next(c, db, err);

    if (status == POLY_OK)
        status = check_swap(s);
    if (status == POLY_OK && s->sql->lock != NULL)
        status = poly_db_exec(db, s->sql->lock, err);
    if (status == POLY_OK)
        status = c->embedded ? check_made(s, db) : check_given(s, db);
    if (status == POLY_OK)
        status = poly_db_number(db, last, &since, err);
    if (status == POLY_OK)
        status = exchange(s, db);
    if (status == POLY_OK)
        status = poly_db_number(db, last, &upto, err);
    s->swapped.position = (uint64_t)upto;
    s->swapped.model = poly_text(c->model);
    s->swapped.dimensions = c->dimensions;
    if (status == POLY_OK)
        status = note(s, db, (uint64_t)since + 1);
    if (status == POLY_OK && c->embedded)
        status = exchange_embedders(s, db);
    return status == POLY_OK
               ? poly_model_put_next(c, db, c->now->model == NULL ? "" : c->now->model,
                                     c->now->dimensions, true)
               : status;
}

static enum poly_status swap(struct poly_db *db, void *arg, struct poly_error *err)
{
    struct swapping *s = arg;
    const struct poly_relational_driver *driver = poly_instance_relational(s->c.instance)->driver;
    enum poly_status status = driver->migrate_begin(db, s->meta, err);

    if (status == POLY_OK)
        status = swap_all(s, db, err);
    if (status == POLY_OK)
        status = driver->migrate_end(db, err);
    if (status == POLY_OK && poly_db_engine(db) == POLY_SQLITE)
        poly_models_begin(s->c.instance);
    return status;
}

static enum poly_status make_meta(struct swapping *s, const char *model)
{
    struct poly_buffer meta;

    poly_buffer_init(&meta, POLY_MAX_META);
    poly_buffer_text(&meta, "{\"model\":");
    poly_json_string(&meta, model, strlen(model));
    poly_buffer_text(&meta, "}");
    s->meta.size = meta.size;
    s->meta.data = poly_buffer_ok(&meta) ? poly_arena_copy(s->c.arena, meta.data, meta.size) : NULL;
    poly_buffer_release(&meta);
    return s->meta.data == NULL ? poly_no_memory(s->c.err) : POLY_OK;
}

/* What it is now is known before the answer; where others write too, it has to be looked at. */
static enum poly_status look_before(struct poly_model_change *c, const char *domain,
                                    const char *name)
{
    enum poly_status status = poly_models_look(c->instance, c->err);
    struct poly_db *db;

    if (status == POLY_OK)
        status = poly_model_find(c, c->session, domain, name, c->err);
    if (status != POLY_OK)
        return status;
    status = poly_session_read_log(c->session, &db, c->err);
    if (status != POLY_OK)
        return status;
    status = poly_model_next(c, db);
    poly_session_read_end(c->session);
    return status;
}

/* All rows are looked at, and often for nothing: first without keeping others from writing. */
static enum poly_status check_made_before(struct swapping *s)
{
    struct poly_db *db;
    enum poly_status status;

    if (!s->c.embedded)
        return POLY_OK;
    status = poly_session_read_log(s->c.session, &db, s->c.err);
    if (status != POLY_OK)
        return status;
    status = check_made(s, db);
    poly_session_read_end(s->c.session);
    return status;
}

static enum poly_status pause(struct poly_db *db, void *arg, struct poly_error *err)
{
    const struct poly_model_change *c = arg;

    return poly_filling_pause(db, c->domain->name, c->declared->name, poly_clock_wall() + PAUSE,
                              err);
}

/* Few are missing: while no more of the old model are made the next has all of them, and somebody
 * who tries again soon finds it so. Without him it goes on as before. */
static void pause_present(struct swapping *s)
{
    struct poly_error ignored;

    if (s->c.embedded && s->c.filling.runs && s->waiting <= FEW)
        (void)!poly_instance_write(s->c.instance, pause, &s->c, &ignored);
}

enum poly_status poly_model_swap(struct poly_session *session, const char *domain, const char *name,
                                 const struct poly_model_swap *how,
                                 struct poly_model_swapped *swapped, struct poly_error *err)
{
    static const struct poly_model_swap defaults;
    struct poly_error local, ignored;
    struct swapping s = {.how = how == NULL ? &defaults : how};
    enum poly_status status;

    err = err == NULL ? &local : err;
    status = poly_model_find(&s.c, session, domain, name, err);
    if (status == POLY_OK)
        status = look_before(&s.c, domain, name);
    if (status == POLY_OK)
        status = check_swap(&s);
    if (status == POLY_OK)
        status = make_meta(&s, s.c.model);
    if (status == POLY_OK)
        status = poly_model_sql(poly_instance_relational(s.c.instance), s.c.table, s.c.column,
                                &s.sql, err);
    if (status == POLY_OK)
        status = check_made_before(&s);
    if (status == POLY_OK)
        status = poly_instance_write(s.c.instance, swap, &s, err);
    if (status == POLY_UNAVAILABLE)
        pause_present(&s);
    if (status != POLY_OK)
        return poly_fail_in(err, status, "change of model");
    *swapped = s.swapped;
    poly_signal_poke(poly_instance_head(s.c.instance));
    (void)!poly_models_look(s.c.instance, &ignored); /* else whoever follows the log does */
    return POLY_OK;
}
