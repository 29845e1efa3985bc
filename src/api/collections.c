/* Collections: what is wrong with a definition, the library says; the table only knows the kinds.
 */
#include "api/handlers.h"

#include <string.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/status.h"

/* --- what is asked for --- */

static uint32_t number(const json_t *body, const char *name)
{
    return (uint32_t)json_integer_value(json_object_get(body, name));
}

static struct poly_collection_vector read_vector(const json_t *json)
{
    return (struct poly_collection_vector){
        .name = api_member(json, "name"),
        .dimensions = number(json, "dimensions"),
        .metric = api_member(json, "metric"),
        .element = api_member(json, "element"),
        .m = number(json, "m"),
        .ef_construction = number(json, "ef_construction"),
        .ef = number(json, "ef"),
        .model = api_member(json, "model"),
    };
}

static enum poly_status read_filters(struct api_context *context,
                                     struct poly_vector_collection *collection,
                                     struct poly_error *err)
{
    const json_t *list = json_object_get(context->body, "filters");
    const char **names =
        poly_arena_array(context->arena, json_array_size(list) + 1, sizeof(*names));

    if (names == NULL)
        return poly_no_memory(err);
    for (size_t i = 0; i < json_array_size(list); i++)
        names[i] = json_string_value(json_array_get(list, i));
    collection->filters = names;
    collection->filter_count = json_array_size(list);
    return POLY_OK;
}

static enum poly_status read_vectors(struct api_context *context,
                                     struct poly_vector_collection *collection,
                                     struct poly_error *err)
{
    const json_t *list = json_object_get(context->body, "vectors");
    struct poly_collection_vector *vectors;

    if (list == NULL)
        return POLY_OK;
    vectors = poly_arena_array(context->arena, json_array_size(list) + 1, sizeof(*vectors));
    if (vectors == NULL)
        return poly_no_memory(err);
    for (size_t i = 0; i < json_array_size(list); i++)
        vectors[i] = read_vector(json_array_get(list, i));
    collection->vectors = vectors;
    collection->vector_count = json_array_size(list);
    return POLY_OK;
}

/* 'weights' is of fields that 'text' names. */
static enum poly_status check_weights(const json_t *weights,
                                      const struct poly_vector_collection *collection,
                                      struct poly_error *err)
{
    void *at = json_object_iter((json_t *)weights);

    for (; at != NULL; at = json_object_iter_next((json_t *)weights, at)) {
        const char *name = json_object_iter_key(at);
        bool found = false;

        for (size_t i = 0; i < collection->text_count; i++)
            found = found || strcmp(collection->texts[i].field, name) == 0;
        if (!found)
            return poly_fail(err, POLY_INVALID, "'weights': '%.64s' is no field of 'text'", name);
        if (!json_is_number(json_object_iter_value(at)) ||
            !(json_number_value(json_object_iter_value(at)) > 0))
            return poly_fail(err, POLY_INVALID, "'weights': that of '%.64s' is no number above 0",
                             name);
    }
    return POLY_OK;
}

static enum poly_status read_text(struct api_context *context,
                                  struct poly_vector_collection *collection, struct poly_error *err)
{
    const json_t *list = json_object_get(context->body, "text");
    const json_t *weights = json_object_get(context->body, "weights");
    struct poly_collection_text *texts =
        poly_arena_array(context->arena, json_array_size(list) + 1, sizeof(*texts));

    if (texts == NULL)
        return poly_no_memory(err);
    for (size_t i = 0; i < json_array_size(list); i++) {
        texts[i].field = json_string_value(json_array_get(list, i));
        texts[i].weight = json_number_value(json_object_get(weights, texts[i].field));
    }
    collection->texts = texts;
    collection->text_count = json_array_size(list);
    return check_weights(weights, collection, err);
}

static enum poly_status read_collection(struct api_context *context,
                                        struct poly_vector_collection *collection,
                                        struct poly_error *err)
{
    const json_t *body = context->body;
    struct poly_collection_vector only = read_vector(body);
    enum poly_status status;

    *collection = (struct poly_vector_collection){
        .name = api_member(body, "name"),
        .dimensions = only.dimensions,
        .metric = only.metric,
        .element = only.element,
        .m = only.m,
        .ef_construction = only.ef_construction,
        .ef = only.ef,
        .model = only.model,
        .tenants = json_is_true(json_object_get(body, "tenants")),
        .tokenizer = api_member(body, "tokenizer"),
        .language = api_member(body, "language"),
    };
    status = read_filters(context, collection, err);
    if (status == POLY_OK)
        status = read_vectors(context, collection, err);
    return status == POLY_OK ? read_text(context, collection, err) : status;
}

/* --- what there is --- */

static void print_vector(struct poly_buffer *out, const struct poly_collection_vector *vector)
{
    api_put_integer(out, "dimensions", vector->dimensions);
    api_put_text(out, "metric", poly_text(vector->metric));
    api_put_text(out, "element", poly_text(vector->element));
    api_put_integer(out, "m", vector->m);
    api_put_integer(out, "ef_construction", vector->ef_construction);
    api_put_integer(out, "ef", vector->ef);
    api_put_some(out, "model", poly_text(vector->model == NULL ? "" : vector->model));
}

static void print_vectors(struct poly_buffer *out, const struct poly_vector_collection *collection)
{
    struct poly_collection_vector only = {.dimensions = collection->dimensions,
                                          .metric = collection->metric,
                                          .element = collection->element,
                                          .m = collection->m,
                                          .ef_construction = collection->ef_construction,
                                          .ef = collection->ef,
                                          .model = collection->model};

    if (collection->vectors == NULL) {
        print_vector(out, &only);
        return;
    }
    api_name(out, "vectors");
    for (size_t i = 0; i < collection->vector_count; i++) {
        poly_buffer_text(out, i == 0 ? "[{" : ",{");
        api_put_text(out, "name", poly_text(collection->vectors[i].name));
        print_vector(out, &collection->vectors[i]);
        poly_buffer_char(out, '}');
    }
    poly_buffer_char(out, ']');
}

static void print_text(struct poly_buffer *out, const struct poly_vector_collection *collection)
{
    const char *between = "";

    if (collection->text_count == 0)
        return;
    api_name(out, "text");
    for (size_t i = 0; i < collection->text_count; i++) {
        poly_buffer_char(out, i == 0 ? '[' : ',');
        poly_json_string(out, collection->texts[i].field, strlen(collection->texts[i].field));
    }
    poly_buffer_char(out, ']');
    api_name(out, "weights");
    poly_buffer_char(out, '{');
    for (size_t i = 0; i < collection->text_count; i++) {
        const struct poly_collection_text *text = &collection->texts[i];

        if (text->weight == 1)
            continue;
        poly_buffer_text(out, between);
        poly_json_string(out, text->field, strlen(text->field));
        poly_buffer_printf(out, ":%.9g", text->weight);
        between = ",";
    }
    poly_buffer_char(out, '}');
    api_put_text(out, "tokenizer", poly_text(collection->tokenizer));
    api_put_text(out, "language", poly_text(collection->language));
}

static void print(struct poly_buffer *out, const struct poly_vector_collection *collection)
{
    api_put_text(out, "name", poly_text(collection->name));
    print_vectors(out, collection);
    api_name(out, "filters");
    poly_buffer_char(out, '[');
    for (size_t i = 0; i < collection->filter_count; i++) {
        poly_buffer_text(out, i == 0 ? "" : ",");
        poly_json_string(out, collection->filters[i], strlen(collection->filters[i]));
    }
    poly_buffer_char(out, ']');
    api_put_bool(out, "tenants", collection->tenants);
    print_text(out, collection);
    poly_buffer_char(out, '}');
}

/* The one of that name, with all that it was given or not; NULL: somebody has dropped it since. */
static enum poly_status find(struct api_context *context, const char *name,
                             const struct poly_vector_collection **found, struct poly_error *err)
{
    const struct poly_vector_collection *list;
    size_t count;
    enum poly_status status = poly_vector_collections(context->session, &list, &count, err);

    *found = NULL;
    for (size_t i = 0; status == POLY_OK && i < count; i++)
        if (strcmp(list[i].name, name) == 0)
            *found = &list[i];
    return status;
}

/* --- the operations --- */

enum poly_status api_collection_create(struct api_context *context, struct poly_error *err)
{
    struct poly_vector_collection collection;
    const struct poly_vector_collection *now = NULL;
    bool made;
    enum poly_status status = read_collection(context, &collection, err);

    if (status == POLY_OK)
        status = poly_vector_create(context->session, &collection, &made, err);
    if (status == POLY_OK)
        status = find(context, collection.name, &now, err);
    if (status == POLY_OK && now == NULL)
        status = poly_fail(err, POLY_NOT_FOUND, "collection '%s' was dropped", collection.name);
    if (status != POLY_OK)
        return status;
    if (!made)
        context->head.http = 200;
    poly_buffer_char(&context->out, '{');
    api_put_bool(&context->out, "made", made);
    print(&context->out, now);
    poly_buffer_char(&context->out, '\n');
    return api_answer_finish(context, err);
}

enum poly_status api_collection_list(struct api_context *context, struct poly_error *err)
{
    const struct poly_vector_collection *list;
    size_t count;
    enum poly_status status = poly_vector_collections(context->session, &list, &count, err);

    if (status != POLY_OK)
        return status;
    poly_buffer_text(&context->out, "{\"collections\":[");
    for (size_t i = 0; i < count; i++) {
        poly_buffer_text(&context->out, i == 0 ? "{" : ",{");
        print(&context->out, &list[i]);
    }
    poly_buffer_text(&context->out, "]}\n");
    return api_answer_finish(context, err);
}

enum poly_status api_collection_drop(struct api_context *context, struct poly_error *err)
{
    enum poly_status status = poly_vector_drop(context->session, api_text(context, "name"), err);

    return status == POLY_OK ? api_answer_finish(context, err) : status;
}
