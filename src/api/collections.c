/* Collections: what is wrong with a definition, the library says; the table only knows the kinds.
 */
#include "api/handlers.h"

#include <string.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/json.h"
#include "base/status.h"

static uint32_t number(const json_t *body, const char *name)
{
    return (uint32_t)json_integer_value(json_object_get(body, name));
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

static void print(struct poly_buffer *out, const struct poly_vector_collection *collection)
{
    api_put_text(out, "name", poly_text(collection->name));
    api_put_integer(out, "dimensions", collection->dimensions);
    api_put_text(out, "metric", poly_text(collection->metric));
    api_put_text(out, "element", poly_text(collection->element));
    api_put_integer(out, "m", collection->m);
    api_put_integer(out, "ef_construction", collection->ef_construction);
    api_put_integer(out, "ef", collection->ef);
    api_put_some(out, "model", poly_text(collection->model == NULL ? "" : collection->model));
    api_name(out, "filters");
    poly_buffer_char(out, '[');
    for (size_t i = 0; i < collection->filter_count; i++) {
        poly_buffer_text(out, i == 0 ? "" : ",");
        poly_json_string(out, collection->filters[i], strlen(collection->filters[i]));
    }
    poly_buffer_char(out, ']');
    api_put_bool(out, "tenants", collection->tenants);
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

enum poly_status api_collection_create(struct api_context *context, struct poly_error *err)
{
    const json_t *body = context->body;
    struct poly_vector_collection collection = {
        .name = api_member(body, "name"),
        .dimensions = number(body, "dimensions"),
        .metric = api_member(body, "metric"),
        .element = api_member(body, "element"),
        .m = number(body, "m"),
        .ef_construction = number(body, "ef_construction"),
        .ef = number(body, "ef"),
        .model = api_member(body, "model"),
        .tenants = json_is_true(json_object_get(body, "tenants")),
    };
    const struct poly_vector_collection *now = NULL;
    bool made;
    enum poly_status status = read_filters(context, &collection, err);

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
