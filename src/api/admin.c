/* What an administrator does: projections, views, API keys, migrations. */
#include "api/handlers.h"

#include "base/status.h"

/* --- projections --- */

enum poly_status api_projection_retry(struct api_context *context, struct poly_error *err)
{
    enum poly_status status =
        poly_projection_retry(context->session, api_text(context, "store"), err);

    return status == POLY_OK ? api_answer_finish(context, err) : status;
}

enum poly_status api_projection_skip(struct api_context *context, struct poly_error *err)
{
    enum poly_status status = poly_projection_skip(context->session, api_text(context, "store"),
                                                   api_member(context->body, "reason"), err);

    return status == POLY_OK ? api_answer_finish(context, err) : status;
}

enum poly_status api_projection_back(struct api_context *context, struct poly_error *err)
{
    enum poly_status status = poly_rebuild_back(context->session, api_text(context, "store"), err);

    return status == POLY_OK ? api_answer_finish(context, err) : status;
}

enum poly_status api_projection_rebuild(struct api_context *context, struct poly_error *err)
{
    struct api_progress progress;
    struct poly_rebuild_options options = {
        .progress = api_progress_tell,
        .arg = &progress,
        .start_only = !api_true(context, "wait"),
    };
    enum poly_status status;

    api_progress_open(&progress, context, !options.start_only);
    status = poly_rebuild(context->session, api_text(context, "store"), &options, err);
    if (status != POLY_OK)
        return api_answer_fail(context, NULL, err);
    if (options.start_only)
        context->head.http = 202;
    else
        api_progress_line(&progress, true);
    return api_answer_finish(context, err);
}

/* --- materialised views --- */

enum poly_status api_view_refresh(struct api_context *context, struct poly_error *err)
{
    enum poly_status status = poly_view_refresh(context->session, api_text(context, "view"), err);

    return status == POLY_OK ? api_answer_finish(context, err) : status;
}

/* --- API keys --- */

static void put_key(struct poly_buffer *out, const struct poly_key *key)
{
    api_put_text(out, "id", key->id);
    api_put_some(out, "label", key->label);
    api_put_some(out, "tenant", key->tenant);
    api_put_rights(out, "rights", key->rights);
    api_put_time(out, "expires", key->expires);
}

enum poly_status api_key_list(struct api_context *context, struct poly_error *err)
{
    const struct poly_key *keys;
    size_t count;
    enum poly_status status = poly_key_list(context->session, &keys, &count, err);

    if (status != POLY_OK)
        return status;
    poly_buffer_text(&context->out, "{\"keys\":[");
    for (size_t i = 0; i < count; i++) {
        poly_buffer_text(&context->out, i == 0 ? "{" : ",{");
        put_key(&context->out, &keys[i]);
        api_put_time(&context->out, "created", keys[i].created);
        api_put_time(&context->out, "revoked", keys[i].revoked);
        poly_buffer_char(&context->out, '}');
        if (!api_answer_flush(context, false))
            break;
    }
    poly_buffer_text(&context->out, "]}\n");
    return api_answer_finish(context, err);
}

static unsigned parse_rights(const json_t *list)
{
    unsigned rights = 0;

    for (size_t i = 0; i < json_array_size(list); i++)
        for (unsigned right = 0; api_right_names[right] != NULL; right++)
            if (strcmp(api_right_names[right], json_string_value(json_array_get(list, i))) == 0)
                rights |= 1U << right;
    return rights;
}

/* "pk_<id>_<secret>" */
static struct poly_text id_of(const char *secret)
{
    const char *start = strchr(secret, '_');
    struct poly_text id = {"", 0};

    if (start != NULL) {
        id.data = start + 1;
        id.size = strcspn(id.data, "_");
    }
    return id;
}

enum poly_status api_key_create(struct api_context *context, struct poly_error *err)
{
    struct poly_key_options options = {
        .label = api_member(context->body, "label"),
        .tenant = api_member(context->body, "tenant"),
        .rights = parse_rights(json_object_get(context->body, "rights")),
    };
    const char *expires = api_member(context->body, "expires");
    char secret[80];
    enum poly_status status = POLY_OK;

    if (expires != NULL)
        status = poly_json_parse_time(expires, &options.expires, err);
    if (status == POLY_OK)
        status = poly_key_create(context->session, &options, secret, err);
    if (status != POLY_OK)
        return status;

    struct poly_key key = {
        .id = id_of(secret),
        .label = poly_text(options.label),
        .tenant = poly_text(options.tenant),
        .rights = options.rights,
        .expires = options.expires,
    };

    poly_buffer_char(&context->out, '{');
    put_key(&context->out, &key);
    api_put_text(&context->out, "secret", poly_text(secret));
    poly_buffer_text(&context->out, "}\n");
    return api_answer_finish(context, err);
}

enum poly_status api_key_revoke(struct api_context *context, struct poly_error *err)
{
    enum poly_status status = poly_key_revoke(context->session, api_text(context, "id"), err);

    return status == POLY_OK ? api_answer_finish(context, err) : status;
}

/* --- migrations --- */

static enum poly_status print_migrations(struct api_context *context,
                                         const struct poly_migrations *list, struct poly_error *err)
{
    struct poly_buffer *out = &context->out;

    poly_buffer_char(out, '{');
    api_put_integer(out, "pending", list->pending);
    api_put_integer(out, "problems", list->problems);
    api_name(out, "migrations");
    poly_buffer_char(out, '[');
    for (size_t i = 0; i < list->count; i++) {
        poly_buffer_text(out, i == 0 ? "{" : ",{");
        api_put_text(out, "name", list->migrations[i].name);
        api_put_bool(out, "applied", list->migrations[i].applied);
        api_put_time(out, "time", list->migrations[i].time);
        api_put_some(out, "problem", list->migrations[i].problem);
        poly_buffer_char(out, '}');
    }
    poly_buffer_text(out, "]}\n");
    return api_answer_finish(context, err);
}

enum poly_status api_migration_list(struct api_context *context, struct poly_error *err)
{
    struct poly_migrations list;
    enum poly_status status =
        poly_migrate_status(context->session, api_text(context, "folder"), &list, err);

    return status == POLY_OK ? print_migrations(context, &list, err) : status;
}

enum poly_status api_migration_up(struct api_context *context, struct poly_error *err)
{
    struct poly_migrations list;
    enum poly_status status =
        poly_migrate_up(context->session, api_text(context, "folder"), &list, err);

    return status == POLY_OK ? print_migrations(context, &list, err) : status;
}
