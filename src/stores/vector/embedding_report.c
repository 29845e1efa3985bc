/* What others see of the embeddings and ask of them: the status, what was refused, trying again,
 * vectors of texts that are looked for. All of the status but a few counts is in the log's
 * database, so that every daemon says the same. */
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "core/model.h"
#include "core/session.h"
#include "core/vector.h"
#include "polystore/vector.h"
#include "stores/vector/driver.h"
#include "stores/vector/embedding_inside.h"
#include "stores/vector/embedding_text.h"

enum { ASK_ATTEMPTS = 3 };

/* --- the status --- */

/* How far it is as of the snapshot, which has state: further than is written there only where what
 * came since was of no interest. */
static uint64_t position_of(struct poly_embedding *self, const struct poly_embedding_state *state)
{
    uint64_t looked = atomic_load(&self->looked), saved = atomic_load(&self->saved); /* in order */

    return poly_embedding_leads(self) && saved == state->position && looked > saved
               ? looked
               : state->position;
}

static enum poly_status report_db(struct poly_embedding *self,
                                  const struct poly_domain_vector *vector, struct poly_db *db,
                                  struct poly_arena *arena, struct poly_embedding_status *out,
                                  struct poly_error *err)
{
    uint64_t head = atomic_load(&poly_instance_head(self->all->instance)->value);
    struct poly_embedding_state state = {.position = 0, .error = {"", 0}};
    struct poly_embedding_counts counts;
    uint8_t shape[POLY_EMBEDDING_HASH];
    bool known;
    enum poly_status status = poly_embedding_state_get(db, &self->name, arena, &state, &known, err);

    if (status == POLY_OK)
        status = poly_embedding_count(db, &self->name, &counts, err);
    if (status != POLY_OK)
        return status;
    /* How far it was with another text: that is begun again, but perhaps not yet. */
    poly_embedding_shape(vector, shape);
    if (known && memcmp(state.shape, shape, sizeof(shape)) != 0)
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

static enum poly_status report_one(struct poly_embedding *self,
                                   const struct poly_domain_vector *vector, struct poly_db *db,
                                   struct poly_arena *arena, struct poly_embedding_status *out,
                                   struct poly_error *err)
{
    *out = (struct poly_embedding_status){.domain = self->name.domain,
                                          .name = poly_text(self->declared->name),
                                          .next = self->serving != NULL,
                                          .embedder = poly_text(vector->embedder),
                                          .model = poly_text(vector->model),
                                          .made = atomic_load(&self->made),
                                          .failures = atomic_load(&self->failures),
                                          .leads = poly_embedding_leads(self),
                                          .error = {"", 0}};
    return db == NULL ? POLY_OK : report_db(self, vector, db, arena, out, err);
}

/* Of a vector to come: as the database says, for another daemon may make it. */
static enum poly_status report_next(struct poly_embedding *self, struct poly_db *db,
                                    struct poly_arena *arena, struct poly_embedding_status *out,
                                    size_t *count, struct poly_error *err)
{
    struct poly_domain_vector vector = *self->declared;
    struct poly_filling filling;
    bool known;
    enum poly_status status;

    if (db == NULL)
        return POLY_OK;
    status = poly_filling_get(db, self->domain->name, vector.name, arena, &filling, &known, err);
    if (status != POLY_OK || !known || !filling.runs)
        return status;
    vector.model = filling.model;
    vector.embedder = filling.embedder;
    vector.dimensions = filling.dimensions;
    ++*count;
    return report_one(self, &vector, db, arena, out, err);
}

enum poly_status poly_embeddings_report(struct poly_embeddings *embeddings, struct poly_db *db,
                                        struct poly_arena *arena,
                                        const struct poly_embedding_status **list, size_t *count,
                                        struct poly_error *err)
{
    size_t all = embeddings == NULL ? 0 : embeddings->count, made = 0;
    struct poly_embedding_status *out = poly_arena_array(arena, 2 * all + 1, sizeof(*out));
    enum poly_status status = out == NULL ? poly_no_memory(err) : POLY_OK;

    for (size_t i = 0; i < all && status == POLY_OK; i++) {
        struct poly_embedding *self = &embeddings->list[i];

        status = report_one(self, poly_vector_now(self->declared), db, arena, &out[made++], err);
        if (status == POLY_OK)
            status = report_next(self->next, db, arena, &out[made], &made, err);
    }
    if (status != POLY_OK)
        return status;
    *list = out;
    *count = made;
    return POLY_OK;
}

/* --- texts that are looked for --- */

enum poly_status poly_embeddings_ask(struct poly_embeddings *embeddings,
                                     const struct poly_vector_scope *scope,
                                     const struct poly_text *texts, size_t count, int64_t deadline,
                                     float *vectors, struct poly_error *err)
{
    const struct poly_embedder_patience patience = {deadline, ASK_ATTEMPTS};
    const struct poly_domain_vector *vector = scope->vector;
    struct poly_embedder *embedder;
    enum poly_status status;
    size_t done = 0;

    if (embeddings == NULL || vector->embedder == NULL)
        return poly_fail(err, POLY_INVALID,
                         "domain '%s': its vectors are not made by an embedder; give the vector",
                         scope->domain->name);
    status = poly_embeddings_embedder(embeddings, vector, &embedder, err);
    if (status == POLY_OK)
        status = poly_embedder_try(embedder, &patience, texts, count, vectors, &done, err);
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
