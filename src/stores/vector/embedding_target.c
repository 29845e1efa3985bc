/*
 * What vectors are made by which model may be changed while the threads run: by this process, or by
 * another one on the same log. A thread looks before each turn. What it had under way then fails,
 * for each of its transactions asks whether it is still wanted.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "core/config.h"
#include "core/model.h"
#include "stores/vector/embedding_inside.h"
#include "stores/vector/embedding_text.h"

enum { PAUSE_MAX = 10000000 /* microseconds: somebody's clock is wrong */ };

static enum poly_status aim_at(struct poly_embedding *self, const struct poly_domain_vector *vector,
                               struct poly_error *err)
{
    const struct poly_config *config = poly_instance_config(self->all->instance);
    enum poly_status status = poly_embeddings_embedder(self->all, vector, &self->embedder, err);
    float *vectors;

    if (status != POLY_OK)
        return status;
    self->batch = poly_config_embedder(config, vector->embedder)->batch;
    vectors = calloc(self->batch * vector->dimensions, sizeof(*vectors));
    if (vectors == NULL)
        return poly_no_memory(err);
    free(self->vectors);
    self->vectors = vectors;
    poly_embedding_shape(vector, self->shape);
    self->vector = vector;
    self->begun = false;
    self->again = 0;
    return POLY_OK;
}

static char *put_text(char **room, const char *text)
{
    size_t size = strlen(text) + 1;
    char *at = *room;

    memcpy(at, text, size);
    *room += size;
    return at;
}

/* The shape that the filling says, with its texts behind it. */
static struct poly_domain_vector *make_shape(struct poly_embedding *self,
                                             const struct poly_filling *filling)
{
    size_t size = strlen(filling->model) + strlen(filling->embedder) + strlen(filling->field) + 3;
    struct poly_domain_vector *made = malloc(sizeof(*made) + size);
    char *room = (char *)(made + 1);

    if (made == NULL)
        return NULL;
    *made = *self->declared;
    made->model = put_text(&room, filling->model);
    made->embedder = put_text(&room, filling->embedder);
    self->column = put_text(&room, filling->field);
    made->dimensions = filling->dimensions;
    return made;
}

static bool is_made(const struct poly_embedding *self, const struct poly_filling *filling)
{
    return self->vector != NULL && self->vector->dimensions == filling->dimensions &&
           strcmp(self->vector->model, filling->model) == 0 &&
           strcmp(self->vector->embedder, filling->embedder) == 0 &&
           strcmp(self->column, filling->field) == 0;
}

static enum poly_status read_filling(struct poly_embedding *self, struct poly_filling *filling,
                                     bool *wanted, struct poly_error *err)
{
    struct poly_owner *owner = poly_instance_owner(self->all->instance);
    struct poly_db *db = owner->driver->take(owner, err);
    bool known = false;
    enum poly_status status;

    if (db == NULL)
        return err->status;
    poly_arena_reset(self->scratch);
    status = poly_filling_get(db, self->domain->name, self->declared->name, self->scratch, filling,
                              &known, err);
    owner->driver->give(owner, db);
    *wanted = known && filling->runs;
    return status;
}

static enum poly_status aim_at_next(struct poly_embedding *self, struct poly_error *err)
{
    struct poly_filling filling;
    struct poly_domain_vector *made;
    bool wanted = false;
    enum poly_status status = read_filling(self, &filling, &wanted, err);

    if (status != POLY_OK)
        return status;
    if (!wanted) {
        self->vector = NULL;
        self->begun = false;
        return POLY_OK;
    }
    if (is_made(self, &filling))
        return POLY_OK;
    self->vector = NULL;
    self->begun = false;
    made = make_shape(self, &filling);
    if (made == NULL)
        return poly_no_memory(err);
    free(self->target);
    self->target = made;
    return aim_at(self, made, err);
}

enum poly_status poly_embedding_aim(struct poly_embedding *self, struct poly_error *err)
{
    const struct poly_domain_vector *now = poly_vector_now(self->declared);

    if (self->serving != NULL)
        return aim_at_next(self, err);
    return now == self->vector ? POLY_OK : aim_at(self, now, err);
}

bool poly_embedding_has_next(struct poly_embedding *self, int64_t *pause)
{
    struct poly_filling filling;
    struct poly_error ignored;
    bool wanted = false;

    if (read_filling(self, &filling, &wanted, &ignored) != POLY_OK || !wanted)
        return false;
    *pause = filling.pause - poly_clock_wall();
    if (*pause < 0 || *pause > PAUSE_MAX)
        *pause = 0;
    return true;
}

enum poly_status poly_filling_check(struct poly_instance *instance,
                                    const struct poly_domain_vector *vector, struct poly_error *err)
{
    struct poly_embedder *embedder;

    return poly_embeddings_embedder(poly_instance_embeddings(instance), vector, &embedder, err);
}
