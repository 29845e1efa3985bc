/*
 * The road of a request: rights, parameters, token, body, then the handler.
 * Cheap checks come first, and nothing is decoded for those who may not ask.
 */
#include <stdlib.h>

#include "api/handlers.h"
#include "base/limits.h"
#include "base/status.h"

static enum poly_status check_rights(const struct poly_session *session,
                                     const struct api_operation *operation, struct poly_error *err)
{
    unsigned rights = poly_session_rights(session), missing = operation->rights & ~rights;

    if (missing == 0 || (rights & POLY_RIGHT_ADMIN) != 0)
        return POLY_OK;
    for (unsigned i = 0; api_right_names[i] != NULL; i++)
        if ((missing & 1U << i) != 0)
            return poly_fail(err, POLY_DENIED, "'%s' needs the right '%s', which this key lacks",
                             operation->name, api_right_names[i]);
    return poly_fail(err, POLY_DENIED, "'%s' is not allowed", operation->name);
}

static enum poly_status parse_consistency(const char *word, enum poly_consistency *consistency,
                                          struct poly_error *err)
{
    if (word == NULL || strcmp(word, "wait") == 0)
        *consistency = POLY_WAIT;
    else if (strcmp(word, "fail") == 0)
        *consistency = POLY_FAIL;
    else if (strcmp(word, "stale") == 0)
        *consistency = POLY_STALE;
    else
        return poly_fail(err, POLY_INVALID, "consistency '%.32s' is none of wait, fail, stale",
                         word);
    return POLY_OK;
}

/* A request sees what its own token says, not what the session did before. */
static enum poly_status apply_token(struct poly_session *session, const struct api_request *request,
                                    struct poly_error *err)
{
    enum poly_consistency consistency = POLY_WAIT;
    enum poly_status status = parse_consistency(request->consistency, &consistency, err);

    if (status != POLY_OK)
        return status;
    if (request->token == NULL && (request->operation->flags & API_READS) == 0)
        return POLY_OK;
    return poly_session_after(session, request->token, consistency, err);
}

static enum poly_status check_headers(const struct api_request *request, struct poly_error *err)
{
    const struct api_operation *operation = request->operation;
    const char *key = request->idempotency_key;

    if (key != NULL && (operation->flags & API_IDEMPOTENT) == 0)
        return poly_fail(err, POLY_INVALID, "'%s' takes no Idempotency-Key", operation->name);
    if (key != NULL && (key[0] == '\0' || strlen(key) > POLY_MAX_KEY))
        return poly_fail(err, POLY_INVALID, "Idempotency-Key must have 1 to %d bytes",
                         POLY_MAX_KEY);
    if ((request->if_match != NULL || request->if_none_match != NULL) &&
        (operation->flags & API_CONDITIONAL) == 0)
        return poly_fail(err, POLY_INVALID, "'%s' takes neither If-Match nor If-None-Match",
                         operation->name);
    return POLY_OK;
}

/* Where a schema has numbers by the thousand: in itself, or in what it has a list of. */
static bool find_floats(const struct api_schema *schema, struct poly_floats_place *place, int depth)
{
    for (const struct api_field *f = schema->fields; f != NULL && f->name != NULL; f++) {
        if (f->kind == API_FLOATS) {
            *place = (struct poly_floats_place){f->name, depth, (size_t)f->max};
            return true;
        }
        if (f->kind == API_LIST && depth == 1 && find_floats(f->schema, place, depth + 2))
            return true;
    }
    return false;
}

/* Without the numbers where there are many; whole again to say what is wrong, and where. */
static enum poly_status parse_json(struct api_context *context, struct poly_error *err)
{
    const struct api_request *request = context->request;
    struct poly_text text = {request->body, request->body_size};
    struct poly_floats_place place;
    enum poly_status status;

    if (!find_floats(request->operation->body, &place, 1))
        return poly_json_parse(text.data, text.size, &context->body, err);
    status = poly_json_take_floats(text, &place, context->arena, &context->taken, err);
    if (status != POLY_OK)
        return status;

    const struct poly_text rest = context->taken.text;

    status = poly_json_parse(rest.data, rest.size, &context->body, err);
    if (status == POLY_OK || context->taken.arrays == NULL)
        return status;
    context->taken = (struct poly_floats_taken){.text = text};
    return poly_json_parse(text.data, text.size, &context->body, err);
}

static enum poly_status parse_body(struct api_context *context, struct poly_error *err)
{
    const struct api_request *request = context->request;
    const struct api_operation *operation = request->operation;
    enum poly_status status;

    if (operation->body == NULL)
        return request->body_size == 0
                   ? POLY_OK
                   : poly_fail(err, POLY_INVALID, "'%s' takes no body", operation->name);
    if ((operation->flags & API_LINES) != 0)
        return POLY_OK;
    if (request->body_size == 0)
        return poly_fail(err, POLY_INVALID, "'%s' needs a JSON body (%s)", operation->name,
                         operation->body->name);
    status = parse_json(context, err);
    if (status == POLY_OK)
        status = api_check_object(context->body, operation->body, err);
    return status == POLY_OK ? status : poly_fail_in(err, status, "body");
}

static enum poly_status open_context(struct api_context *context, struct poly_error *err)
{
    enum poly_status status = check_rights(context->session, context->request->operation, err);

    if (status == POLY_OK)
        status = api_check_parameters(context->request, err);
    if (status == POLY_OK)
        status = check_headers(context->request, err);
    if (status == POLY_OK)
        status = apply_token(context->session, context->request, err);
    if (status != POLY_OK)
        return status;
    context->arena = poly_arena_new(POLY_MAX_SESSION_MEMORY);
    if (context->arena == NULL)
        return poly_no_memory(err);
    return parse_body(context, err);
}

static void close_context(struct api_context *context)
{
    json_decref(context->body);
    poly_arena_free(context->arena);
    poly_buffer_release(&context->out);
}

/* Correlation, causation and model stand in the body where the table has them. */
static const char *trace(const struct api_context *context, const char *name)
{
    const struct api_schema *schema = context->request->operation->body;

    for (const struct api_field *f = schema == NULL ? NULL : schema->fields;
         f != NULL && f->name != NULL; f++)
        if (strcmp(f->name, name) == 0)
            return api_member(context->body, name);
    return NULL;
}

static enum poly_status stage(struct api_context *context, struct poly_txn **txn,
                              struct poly_error *err)
{
    const char *correlation = trace(context, "correlation");
    const char *model = trace(context, "model");
    struct poly_txn_options options = {
        .model = model == NULL ? api_text(context, "model") : model,
        .idempotency_key = context->request->idempotency_key,
        .correlation = correlation == NULL ? context->request->correlation : correlation,
        .causation = trace(context, "causation"),
    };
    struct poly_txn *begun;
    enum poly_status status = poly_txn_begin(context->session, &options, &begun, err);

    if (status != POLY_OK)
        return status;
    status = context->request->operation->stage(context, begun, err);
    if (status == POLY_OK)
        *txn = begun;
    else
        poly_txn_abort(begun);
    return status;
}

/* Every path below needs a reason to look at, wanted or not. */
static struct poly_error *some_error(struct poly_error *err, struct poly_error *own)
{
    *own = (struct poly_error){.status = POLY_OK, .position = -1};
    return err == NULL ? own : err;
}

enum poly_status api_stage(struct poly_session *session, const struct api_request *request,
                           struct poly_txn **txn, struct poly_error *err)
{
    struct api_context context = {.session = session, .request = request};
    struct poly_error own;
    enum poly_status status;

    err = some_error(err, &own);
    poly_buffer_init(&context.out, 0);
    status = open_context(&context, err);
    if (status == POLY_OK)
        status = stage(&context, txn, err);
    close_context(&context);
    return status;
}

static enum poly_status call_staged(struct poly_session *session, const struct api_request *request,
                                    struct api_sink *sink, struct poly_error *err)
{
    struct poly_txn *txn;
    struct poly_commit commit;
    enum poly_status status = api_stage(session, request, &txn, err);

    if (status == POLY_OK)
        status = poly_txn_commit(txn, &commit, err);
    if (status == POLY_OK)
        status = api_commit_reply(request->operation, sink, &commit, err);
    return status;
}

enum poly_status api_call(struct poly_session *session, const struct api_request *request,
                          struct api_sink *sink, struct poly_error *err)
{
    struct api_context context = {.session = session, .request = request, .sink = sink};
    struct poly_error own;
    enum poly_status status;

    err = some_error(err, &own);
    if (request->operation->stage != NULL)
        return call_staged(session, request, sink, err);
    poly_buffer_init(&context.out, POLY_MAX_ANSWER);
    context.head.http = request->operation->success;
    context.head.content_type = request->operation->answer_type == NULL
                                    ? "application/json"
                                    : request->operation->answer_type;
    context.head.streams = (request->operation->flags & API_STREAMS) != 0;
    status = open_context(&context, err);
    if (status == POLY_OK)
        status = request->operation->run(&context, err);
    close_context(&context);
    return status;
}

static void print_commit(struct poly_buffer *out, const struct poly_commit *commit)
{
    poly_buffer_char(out, '{');
    api_put_text(out, "token", poly_text(commit->token.text));
    api_put_integer(out, "position", commit->position);
    api_put_bool(out, "replayed", commit->replayed);
    api_name(out, "results");
    poly_buffer_char(out, '[');
    for (size_t i = 0; i < commit->count; i++) {
        const struct poly_result *result = &commit->results[i];

        poly_buffer_text(out, i == 0 ? "{" : ",{");
        api_put_text(out, "key", result->key);
        api_put_integer(out, "version", result->version);
        api_put_integer(out, "count", (uint64_t)result->count);
        poly_buffer_char(out, '}');
    }
    poly_buffer_text(out, "]}\n");
}

enum poly_status api_commit_reply(const struct api_operation *operation, struct api_sink *sink,
                                  const struct poly_commit *commit, struct poly_error *err)
{
    struct api_context context = {.sink = sink};
    enum poly_status status;

    poly_buffer_init(&context.out, POLY_MAX_ANSWER);
    context.head.http = operation->success;
    context.head.content_type = "application/json";
    memcpy(context.head.token, commit->token.text, sizeof(context.head.token));
    if ((operation->flags & API_CONDITIONAL) != 0 && commit->count > 0)
        context.head.version = commit->results[0].version;
    print_commit(&context.out, commit);
    status = api_answer_finish(&context, err);
    poly_buffer_release(&context.out);
    return status;
}
