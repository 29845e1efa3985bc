/* What others see of the embeddings and ask of them: the status, what was refused, trying again,
 * vectors of texts that are looked for. All of the status but a few counts is in the log's
 * database, so that every daemon says the same. */
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "core/session.h"
#include "core/vector.h"
#include "polystore/vector.h"
#include "stores/vector/driver.h"
#include "stores/vector/embedding_inside.h"

enum { ASK_ATTEMPTS = 3 };

/* --- the status --- */

/* How far it is as of the snapshot, which has state: further than is written there only where what
 * came since was of no interest. */
static uint64_t position_of(struct poly_embedding *self, const struct poly_embedding_state *state)
{
    uint64_t looked = atomic_load(&self->looked), saved = atomic_load(&self->saved); /* in order */

    return atomic_load(&self->leads) && saved == state->position && looked > saved
               ? looked
               : state->position;
}

static enum poly_status report_db(struct poly_embedding *self, struct poly_db *db,
                                  struct poly_arena *arena, struct poly_embedding_status *out,
                                  struct poly_error *err)
{
    uint64_t head = atomic_load(&poly_instance_head(self->all->instance)->value);
    struct poly_embedding_state state = {.position = 0, .error = {"", 0}};
    struct poly_embedding_counts counts;
    bool known;
    enum poly_status status = poly_embedding_state_get(db, &self->name, arena, &state, &known, err);

    if (status == POLY_OK)
        status = poly_embedding_count(db, &self->name, &counts, err);
    if (status != POLY_OK)
        return status;
    /* How far it was with another text: that is begun again, but perhaps not yet. */
    if (known && memcmp(state.shape, self->shape, sizeof(state.shape)) != 0)
        state.position = 0;
    out->position = position_of(self, &state);
    out->lag_records = poly_lag(head, out->position);
    out->waiting = counts.waiting;
    out->refused = counts.refused;
    out->behind_us = counts.oldest == 0 ? 0 : poly_clock_wall() - counts.oldest;
    out->error = state.error;
    out->error_time = state.time;
    if (out->behind_us < 0)
        out->behind_us = 0;
    if (state.error.size > 0)
        out->state = POLY_STATE_RETRYING;
    else if (counts.waiting > 0)
        out->state = POLY_STATE_BEHIND;
    return POLY_OK;
}

enum poly_status poly_embeddings_report(struct poly_embeddings *embeddings, struct poly_db *db,
                                        struct poly_arena *arena,
                                        const struct poly_embedding_status **list, size_t *count,
                                        struct poly_error *err)
{
    size_t room = embeddings == NULL ? 0 : embeddings->count;
    struct poly_embedding_status *made = poly_arena_array(arena, room + 1, sizeof(*made));
    enum poly_status status = made == NULL ? poly_no_memory(err) : POLY_OK;

    for (size_t i = 0; i < room && status == POLY_OK; i++) {
        struct poly_embedding *self = &embeddings->list[i];

        made[i].domain = self->name.domain;
        made[i].name = self->name.name;
        made[i].embedder = poly_text(self->vector->embedder);
        made[i].model = poly_text(self->vector->model);
        made[i].made = atomic_load(&self->made);
        made[i].failures = atomic_load(&self->failures);
        made[i].leads = atomic_load(&self->leads);
        if (db != NULL)
            status = report_db(self, db, arena, &made[i], err);
    }
    if (status != POLY_OK)
        return status;
    *list = made;
    *count = room;
    return POLY_OK;
}

/* --- texts that are looked for --- */

static struct poly_embedding *find(struct poly_embeddings *embeddings,
                                   const struct poly_domain *domain,
                                   const struct poly_domain_vector *vector)
{
    for (size_t i = 0; embeddings != NULL && i < embeddings->count; i++)
        if (strcmp(embeddings->list[i].domain->name, domain->name) == 0 &&
            strcmp(embeddings->list[i].vector->name, vector->name) == 0)
            return &embeddings->list[i];
    return NULL;
}

enum poly_status poly_embeddings_ask(struct poly_embeddings *embeddings,
                                     const struct poly_vector_scope *scope,
                                     const struct poly_text *texts, size_t count, int64_t deadline,
                                     float *vectors, struct poly_error *err)
{
    const struct poly_embedding *self = find(embeddings, scope->domain, scope->vector);
    const struct poly_embedder_patience patience = {deadline, ASK_ATTEMPTS};
    const struct poly_domain_vector *vector = scope->vector;
    enum poly_status status;
    size_t done = 0;

    if (self == NULL)
        return poly_fail(err, POLY_INVALID,
                         "domain '%s': its vectors are not made by an embedder; give the vector",
                         scope->domain->name);
    status = poly_embedder_try(self->embedder, &patience, texts, count, vectors, &done, err);
    for (size_t i = 0; i < count && status == POLY_OK; i++) {
        status =
            poly_vector_check(vector, vectors + i * vector->dimensions, vector->dimensions, err);
        if (status != POLY_OK)
            return poly_fail_in(err, POLY_INVALID, "the text's vector");
    }
    if (status == POLY_OK)
        return POLY_OK;
    if (status != POLY_INVALID && status != POLY_TIMEOUT && status != POLY_NO_MEMORY)
        status = POLY_UNAVAILABLE;
    return poly_fail_in(err, status, "the text has no vector");
}

/* --- what was refused --- */

static enum poly_status find_named(struct poly_session *session, const char *domain,
                                   const char *name, struct poly_embedding **self,
                                   struct poly_error *err)
{
    struct poly_embeddings *all = poly_instance_embeddings(poly_session_instance(session));
    enum poly_status status =
        poly_session_require(session, POLY_RIGHT_ADMIN, "operating an embedder", err);

    if (status != POLY_OK)
        return status;
    for (size_t i = 0; all != NULL && i < all->count; i++)
        if (strcmp(all->list[i].domain->name, domain) == 0 &&
            (name == NULL || strcmp(all->list[i].vector->name, name) == 0)) {
            *self = &all->list[i];
            return POLY_OK;
        }
    return poly_fail(err, POLY_NOT_FOUND,
                     "domain '%.128s' has no vector%s%.60s%s that an embedder "
                     "makes",
                     domain, name == NULL ? "" : " '", name == NULL ? "" : name,
                     name == NULL ? "" : "'");
}

enum poly_status poly_vector_refused(struct poly_session *session, const char *domain,
                                     const char *name, const struct poly_vector_refusal **list,
                                     size_t *count, struct poly_error *err)
{
    struct poly_arena *arena = poly_session_arena(session);
    struct poly_vector_refusal *made;
    struct poly_embedding_list found = {.kind = POLY_EMBEDDING_REFUSED, .max = POLY_MAX_FAILURES};
    struct poly_embedding *self;
    struct poly_error local;
    struct poly_db *db;
    enum poly_status status;

    err = err == NULL ? &local : err;
    status = find_named(session, domain, name, &self, err);
    if (status == POLY_OK)
        status = poly_session_read_log(session, &db, err);
    if (status != POLY_OK)
        return status;
    status = poly_embedding_read(db, &self->name, arena, &found, err);
    poly_session_read_end(session);
    made = poly_arena_array(arena, found.count + 1, sizeof(*made));
    if (status == POLY_OK && made == NULL)
        status = poly_no_memory(err);
    if (status != POLY_OK)
        return status;
    for (size_t i = 0; i < found.count; i++)
        made[i] = (struct poly_vector_refusal){.tenant = found.rows[i].tenant,
                                               .key = found.rows[i].key,
                                               .version = found.rows[i].position,
                                               .time = found.rows[i].since,
                                               .error = found.rows[i].error};
    *list = made;
    *count = found.count;
    return POLY_OK;
}

struct again {
    struct poly_embedding *self;
    int64_t count;
};

static enum poly_status put_again(struct poly_db *db, void *arg, struct poly_error *err)
{
    struct again *again = arg;

    return poly_embedding_again(db, &again->self->name, &again->count, err);
}

enum poly_status poly_vector_retry(struct poly_session *session, const char *domain,
                                   const char *name, uint64_t *count, struct poly_error *err)
{
    struct again again = {NULL, 0};
    struct poly_error local;
    enum poly_status status;

    err = err == NULL ? &local : err;
    status = find_named(session, domain, name, &again.self, err);
    if (status == POLY_OK)
        status = poly_embedding_write(again.self, put_again, &again, err);
    if (status != POLY_OK)
        return status;
    *count = (uint64_t)again.count;
    atomic_store(&again.self->nudged, true);
    poly_signal_poke(poly_instance_head(poly_session_instance(session)));
    return POLY_OK;
}
