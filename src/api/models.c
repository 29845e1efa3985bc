/* Change of model: what is collected beside a domain's vectors, and exchanged for them. */
#include "api/handlers.h"

#include "base/status.h"

static void print_model(struct poly_buffer *out, const struct poly_model_status *one)
{
    poly_buffer_char(out, '{');
    api_put_text(out, "domain", one->domain);
    api_put_text(out, "name", one->name);
    api_put_some(out, "model", one->model);
    api_put_integer(out, "dimensions", one->dimensions);
    api_put_some(out, "embedder", one->embedder);
    api_put_integer(out, "changes", one->changes);
    api_put_some(out, "named", one->named);
    api_put_integer(out, "named_dimensions", one->named_dimensions);
    if (one->next.size > 0 || one->next_dimensions > 0) {
        api_put_text(out, "next", one->next);
        api_put_integer(out, "next_dimensions", one->next_dimensions);
        api_put_bool(out, "back", one->back);
        api_put_some(out, "next_embedder", one->next_embedder);
        if (one->next_embedder.size > 0)
            api_put_bool(out, "fills", one->fills);
    }
    if (one->counted) {
        api_put_integer(out, "filled", one->filled);
        api_put_integer(out, "missing", one->missing);
        api_put_integer(out, "stale", one->stale);
        api_put_integer(out, "refused", one->refused);
    }
    poly_buffer_char(out, '}');
}

enum poly_status api_model_list(struct api_context *context, struct poly_error *err)
{
    const struct poly_model_status *list;
    size_t count;
    enum poly_status status =
        poly_model_status(context->session, api_text(context, "domain"), &list, &count, err);

    if (status != POLY_OK)
        return status;
    api_answer_fresh(context);
    poly_buffer_text(&context->out, "{\"models\":[");
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            poly_buffer_char(&context->out, ',');
        print_model(&context->out, &list[i]);
    }
    poly_buffer_text(&context->out, "]}\n");
    return api_answer_finish(context, err);
}

enum poly_status api_model_begin(struct api_context *context, struct poly_error *err)
{
    const struct poly_model_plan plan = {
        .model = api_member(context->body, "model"),
        .dimensions = (size_t)json_integer_value(json_object_get(context->body, "dimensions")),
        .embedder = api_member(context->body, "embedder"),
        .back = json_is_true(json_object_get(context->body, "back"))};
    enum poly_status status = poly_model_plan(context->session, api_text(context, "domain"),
                                              api_member(context->body, "name"), &plan, err);

    return status == POLY_OK ? api_answer_finish(context, err) : status;
}

static enum poly_status read_one(const struct api_context *context, const json_t *item,
                                 struct poly_model_vector *one, struct poly_error *err)
{
    struct poly_floats floats;
    enum poly_status status = api_vector_given(context, item, &floats, err);

    if (status != POLY_OK)
        return status;
    *one = (struct poly_model_vector){
        .tenant = api_member(item, "tenant"),
        .key = api_member(item, "key"),
        .version = (uint64_t)json_integer_value(json_object_get(item, "version")),
        .vector = floats.numbers,
        .dimensions = floats.count,
    };
    return POLY_OK;
}

enum poly_status api_model_add(struct api_context *context, struct poly_error *err)
{
    const json_t *list = json_object_get(context->body, "vectors");
    size_t count = json_array_size(list);
    struct poly_model_vector *vectors =
        poly_arena_array(context->arena, count + 1, sizeof(*vectors));
    struct poly_model_batch batch = {
        .model = api_member(context->body, "model"), .vectors = vectors, .count = count};
    struct poly_model_added added;
    enum poly_status status = vectors == NULL ? poly_no_memory(err) : POLY_OK;

    for (size_t i = 0; i < count && status == POLY_OK; i++) {
        status = read_one(context, json_array_get(list, i), &vectors[i], err);
        if (status != POLY_OK)
            return poly_fail_in(err, status, "vectors[%zu]", i);
    }
    if (status == POLY_OK)
        status = poly_model_add(context->session, api_text(context, "domain"),
                                api_member(context->body, "name"), &batch, &added, err);
    if (status != POLY_OK)
        return status;
    poly_buffer_char(&context->out, '{');
    api_put_integer(&context->out, "taken", added.taken);
    api_put_integer(&context->out, "unknown", added.unknown);
    api_put_integer(&context->out, "stale", added.stale);
    poly_buffer_text(&context->out, "}\n");
    return api_answer_finish(context, err);
}

enum poly_status api_model_swap(struct api_context *context, struct poly_error *err)
{
    const struct poly_model_swap how = {
        .back = json_is_true(json_object_get(context->body, "back")),
        .drop_missing = json_is_true(json_object_get(context->body, "drop_missing")),
        .skip_refused = json_is_true(json_object_get(context->body, "skip_refused"))};
    struct poly_model_swapped swapped;
    enum poly_status status =
        poly_model_swap(context->session, api_text(context, "domain"),
                        api_member(context->body, "name"), &how, &swapped, err);

    if (status != POLY_OK)
        return status;
    poly_buffer_char(&context->out, '{');
    api_put_some(&context->out, "model", swapped.model);
    api_put_integer(&context->out, "dimensions", swapped.dimensions);
    api_put_integer(&context->out, "changed", swapped.changed);
    api_put_integer(&context->out, "dropped", swapped.dropped);
    api_put_integer(&context->out, "position", swapped.position);
    poly_buffer_text(&context->out, "}\n");
    return api_answer_finish(context, err);
}

enum poly_status api_model_abandon(struct api_context *context, struct poly_error *err)
{
    enum poly_status status = poly_model_abandon(context->session, api_text(context, "domain"),
                                                 api_text(context, "name"), err);

    return status == POLY_OK ? api_answer_finish(context, err) : status;
}
