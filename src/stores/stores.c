/* The stores as the core knows them: every driver of those that follow the log, in one table, and
 * the relational store and the embeddings, which are asked by name. */
#include <string.h>

#include "core/driver.h"
#include "core/instance.h"
#include "core/model.h"
#include "stores/relational/driver.h"
#include "stores/relational/view.h"
#include "stores/search/driver.h"
#include "stores/vector/driver.h"
#include "stores/vector/embedding.h"

const struct poly_driver *const poly_drivers[] = {
    &poly_search_embedded.base,
    &poly_search_postgresql.base,
    &poly_vector_embedded.base,
    &poly_vector_postgresql.base,
    NULL,
};

enum poly_status poly_stores_start(struct poly_instance *instance, struct poly_error *err)
{
    struct poly_relational *relational = NULL;
    struct poly_embeddings *embeddings = NULL;
    enum poly_status status = poly_relational_open(instance, &relational, err);

    poly_instance_set_relational(instance, relational);
    if (status == POLY_OK)
        status = poly_embeddings_open(instance, &embeddings, err);
    poly_instance_set_embeddings(instance, embeddings);
    return status;
}

enum poly_status poly_stores_run(struct poly_instance *instance, struct poly_error *err)
{
    return poly_embeddings_start(poly_instance_embeddings(instance), err);
}

void poly_stores_halt(struct poly_instance *instance)
{
    poly_embeddings_stop(poly_instance_embeddings(instance));
    poly_views_stop(poly_instance_relational(instance));
}

void poly_stores_stop(struct poly_instance *instance)
{
    poly_embeddings_close(poly_instance_embeddings(instance));
    poly_instance_set_embeddings(instance, NULL);
    poly_relational_close(poly_instance_relational(instance));
    poly_instance_set_relational(instance, NULL);
}

enum poly_status poly_stores_problem(struct poly_instance *instance,
                                     const struct poly_domain *domain, struct poly_arena *arena,
                                     struct poly_text *problem, struct poly_error *err)
{
    struct poly_relational *relational = poly_instance_relational(instance);
    const struct poly_table *table =
        relational == NULL ? NULL : poly_relational_table(relational, domain);
    const char *text = table == NULL || table->problem == NULL ? "" : table->problem;
    const char *copy = poly_arena_copy(arena, text, strlen(text));

    if (copy == NULL)
        return poly_no_memory(err);
    *problem = poly_text(copy);
    return POLY_OK;
}

enum poly_status poly_stores_known(struct poly_instance *instance, struct poly_db *db, bool *known,
                                   struct poly_error *err)
{
    enum poly_status status =
        poly_collections_known(poly_instance_relational(instance), db, known, err);

    /* What is new may be of another model already. */
    return status == POLY_OK && !*known ? poly_models_look(instance, err) : status;
}

enum poly_status poly_stores_views(struct poly_instance *instance, struct poly_db *db,
                                   struct poly_arena *arena, const struct poly_view_status **views,
                                   size_t *count, struct poly_error *err)
{
    return poly_views_report(poly_instance_relational(instance), db, arena, views, count, err);
}

enum poly_status poly_stores_embeddings(struct poly_instance *instance, struct poly_db *db,
                                        struct poly_arena *arena,
                                        const struct poly_embedding_status **embeddings,
                                        size_t *count, struct poly_error *err)
{
    return poly_embeddings_report(poly_instance_embeddings(instance), db, arena, embeddings, count,
                                  err);
}
