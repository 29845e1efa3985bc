/* Searching by text: what makes the vectors that are looked at makes that of the text, too. All
 * texts of a batch that one embedder has to do with are one request, or as few as it takes. */
#include <string.h>

#include "stores/vector/embedding.h"
#include "stores/vector/store.h"

static bool same_maker(const struct poly_domain_vector *a, const struct poly_domain_vector *b)
{
    return a->embedder != NULL && b->embedder != NULL && strcmp(a->embedder, b->embedder) == 0 &&
           strcmp(a->model, b->model) == 0;
}

enum poly_status poly_vector_check_text(const struct poly_vector_lookup *l)
{
    for (size_t i = 0; i < l->count; i++) {
        const struct poly_vector_scope *scope = &l->scopes[i];

        if (scope->vector->embedder == NULL)
            return poly_fail(l->err, POLY_INVALID,
                             "domain '%s': its vectors are not made by an embedder, so a search "
                             "gives a vector and no text",
                             scope->domain->name);
        if (!same_maker(scope->vector, l->scopes[0].vector))
            return poly_fail(l->err, POLY_INVALID,
                             "domain '%s': the model of its vectors is not that of '%s'; a text "
                             "has one vector for both, or none",
                             scope->domain->name, l->scopes[0].domain->name);
    }
    return POLY_OK;
}

/* Of the lookups from first on, those whose texts it makes together with that of first. */
static size_t gather(const struct poly_vector_lookup *lookups, size_t count, size_t first,
                     struct poly_text *texts, size_t *which)
{
    const struct poly_vector_scope *scope = &lookups[first].scopes[0];
    size_t found = 0;

    for (size_t i = first; i < count; i++) {
        const struct poly_vector_lookup *l = &lookups[i];

        if (l->query->text == NULL || l->vector != NULL ||
            l->scopes[0].vector->dimensions != scope->vector->dimensions ||
            !same_maker(l->scopes[0].vector, scope->vector))
            continue;
        texts[found] = poly_text(l->query->text);
        which[found++] = i;
    }
    return found;
}

enum poly_status poly_vector_embed(struct poly_vector_lookup *lookups, size_t count, size_t *failed)
{
    struct poly_arena *arena = lookups[0].arena;
    struct poly_text *texts = poly_arena_array(arena, count, sizeof(*texts));
    size_t *which = poly_arena_array(arena, count, sizeof(*which)), found;

    if (texts == NULL || which == NULL)
        return poly_no_memory(lookups[0].err);
    for (size_t i = 0; i < count; i++) {
        struct poly_vector_lookup *l = &lookups[i];
        const struct poly_vector_scope *scope = &l->scopes[0];
        enum poly_status status;
        float *vectors;

        if (l->query->text == NULL || l->vector != NULL)
            continue;
        found = gather(lookups, count, i, texts, which);
        vectors = poly_arena_array(arena, found * scope->vector->dimensions, sizeof(*vectors));
        if (vectors == NULL)
            return poly_no_memory(l->err);
        *failed = i;
        status = poly_embeddings_ask(poly_instance_embeddings(poly_session_instance(l->session)),
                                     scope, texts, found, l->deadline, vectors, l->err);
        if (status != POLY_OK)
            return poly_fail_in(l->err, status, "domain '%s'", scope->domain->name);
        for (size_t k = 0; k < found; k++)
            lookups[which[k]].vector = vectors + k * scope->vector->dimensions;
    }
    return POLY_OK;
}
