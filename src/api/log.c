/*
 * The log: read, export, import, verify. Reading and exporting print record by
 * record in constant memory. An import commits up to 1,000 events at a time;
 * with an idempotency key each of these transactions gets a key of its own
 * ("key/1", "key/2" …), so that an import that broke off can be sent again.
 */
#include "api/handlers.h"

#include "base/limits.h"
#include "base/status.h"

enum { IMPORT_EVENTS = 1000, IMPORT_BYTES = 8 * 1024 * 1024 };

/* --- reading --- */

struct printer {
    struct api_context *context;
    uint64_t count;
    bool lines;
};

static bool print_record(void *arg, const struct poly_record *record)
{
    struct printer *printer = arg;
    struct poly_buffer *out = &printer->context->out;

    if (printer->count++ == 0)
        api_answer_fresh(printer->context);
    else if (!printer->lines)
        poly_buffer_char(out, ',');
    api_put_record(out, record);
    if (printer->lines)
        poly_buffer_char(out, '\n');
    return api_answer_flush(printer->context, false);
}

static enum poly_status log_query(const struct api_context *context, struct poly_log_query *query,
                                  struct poly_error *err)
{
    enum poly_status status;

    *query = (struct poly_log_query){
        .after = (uint64_t)api_integer(context, "after", 0),
        .backwards = api_true(context, "backwards"),
        .key = api_text(context, "key"),
        .limit = (uint32_t)api_integer(context, "limit", 0),
    };
    status = api_texts(context, "domain", &query->domains, err);
    if (status == POLY_OK)
        status = api_texts(context, "type", &query->types, err);
    if (status == POLY_OK && query->key != NULL &&
        (query->domains == NULL || query->domains[1] != NULL))
        return poly_fail(err, POLY_INVALID, "parameter 'key' needs exactly one 'domain'");
    return status;
}

enum poly_status api_log_read(struct api_context *context, struct poly_error *err)
{
    const char *format = api_text(context, "format");
    struct printer printer = {.context = context, .lines = format != NULL && format[0] == 'n'};
    struct poly_log_query query;
    uint64_t last = 0;
    enum poly_status status = log_query(context, &query, err);

    if (status != POLY_OK)
        return status;
    if (printer.lines)
        context->head.content_type = "application/x-ndjson";
    else
        poly_buffer_text(&context->out, "{\"records\":[");
    status = poly_log_read(context->session, &query, print_record, &printer, &last, err);
    if (status != POLY_OK)
        return api_answer_fail(context, printer.lines ? NULL : "]", err);
    if (!printer.lines) {
        poly_buffer_char(&context->out, ']');
        api_put_integer(&context->out, "last", last);
        poly_buffer_text(&context->out, "}\n");
    }
    return api_answer_finish(context, err);
}

/* Up to the head at the start, or an export of a busy log would never end. */
enum poly_status api_log_export(struct api_context *context, struct poly_error *err)
{
    struct printer printer = {.context = context, .lines = true};
    struct poly_status_report report;
    struct poly_log_query query;
    enum poly_status status = log_query(context, &query, err);

    if (status == POLY_OK)
        status = poly_status_read(context->session, &report, err);
    if (status != POLY_OK)
        return status;

    uint64_t head = report.head;

    query.limit = POLY_MAX_PAGE;
    while (query.after < head && !context->stopped) {
        uint64_t last = query.after;

        status = poly_log_read(context->session, &query, print_record, &printer, &last, err);
        if (status != POLY_OK)
            return api_answer_fail(context, NULL, err);
        if (last <= query.after)
            break;
        query.after = last;
        poly_session_reset(context->session);
    }
    return api_answer_finish(context, err);
}

/* --- importing --- */

struct import {
    struct api_context *context;
    struct poly_txn *txn; /* NULL: none begun */
    size_t pending, pending_bytes;
    uint64_t events, skipped, transactions, position;
    uint64_t line, committed_line;
    struct poly_token token;
};

static enum poly_status import_begin(struct import *import, struct poly_error *err)
{
    const char *key = import->context->request->idempotency_key;
    struct poly_txn_options options = {.idempotency_key = key};

    if (key != NULL) {
        options.idempotency_key = poly_arena_printf(import->context->arena, "%s/%llu", key,
                                                    (unsigned long long)import->transactions + 1);
        if (options.idempotency_key == NULL)
            return poly_no_memory(err);
    }
    return poly_txn_begin(import->context->session, &options, &import->txn, err);
}

static enum poly_status import_commit(struct import *import, struct poly_error *err)
{
    struct poly_commit commit;
    struct poly_txn *txn = import->txn;
    enum poly_status status;

    if (txn == NULL)
        return POLY_OK;
    import->txn = NULL;
    status = poly_txn_commit(txn, &commit, err);
    if (status != POLY_OK)
        return status;
    import->events += import->pending;
    import->transactions++;
    import->position = commit.position;
    import->token = commit.token;
    import->committed_line = import->line;
    import->pending = import->pending_bytes = 0;
    poly_session_reset(import->context->session);
    return POLY_OK;
}

static const char *stream_of(const struct api_context *context, const json_t *json,
                             struct poly_error *err)
{
    const char *stream = api_member(json, "stream"), *domain = api_member(json, "domain");
    const char *key = api_member(json, "key");

    if (stream == NULL && domain == NULL) {
        poly_fail(err, POLY_INVALID, "neither 'stream' nor 'domain' is given");
        return NULL;
    }
    if (stream != NULL)
        return stream;
    stream = poly_arena_printf(context->arena, "%s%s%s", domain,
                               key == NULL || key[0] == '\0' ? "" : "-", key == NULL ? "" : key);
    if (stream == NULL)
        poly_no_memory(err);
    return stream;
}

static enum poly_status import_event(struct import *import, const json_t *json,
                                     struct poly_error *err)
{
    struct poly_event event = {.type = NULL};
    const char *stream = stream_of(import->context, json, err);
    enum poly_status status;

    if (stream == NULL)
        return err->status;
    status = api_make_event(import->context, json, &event, err);
    if (status == POLY_OK && import->txn == NULL)
        status = import_begin(import, err);
    if (status == POLY_OK)
        status = poly_append(import->txn, stream, POLY_ANY, &event, 1, err);
    if (status == POLY_OK)
        import->pending++;
    return status;
}

static enum poly_status import_line(struct import *import, const char *line, size_t size,
                                    struct poly_error *err)
{
    struct poly_arena_mark mark = poly_arena_mark(import->context->arena);
    json_t *json;
    enum poly_status status = poly_json_parse(line, size, &json, err);

    if (status != POLY_OK)
        return status;
    status = api_check_object(json, import->context->request->operation->body, err);
    if (status == POLY_OK && api_member(json, "type")[0] == '$')
        import->skipped++;
    else if (status == POLY_OK)
        status = import_event(import, json, err);
    json_decref(json);
    poly_arena_rewind(import->context->arena, mark);
    import->pending_bytes += size;
    return status;
}

static bool is_blank(const char *line, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r')
            return false;
    return true;
}

static enum poly_status import_lines(struct import *import, struct poly_error *err)
{
    const struct api_request *request = import->context->request;
    const char *line = request->body == NULL ? "" : request->body;
    const char *end = line + request->body_size;
    enum poly_status status = POLY_OK;

    while (status == POLY_OK && line < end) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        size_t size = (size_t)((stop == NULL ? end : stop) - line);

        import->line++;
        if (!is_blank(line, size))
            status = import_line(import, line, size, err);
        if (status == POLY_OK &&
            (import->pending >= IMPORT_EVENTS || import->pending_bytes >= IMPORT_BYTES))
            status = import_commit(import, err);
        line += size + 1;
    }
    return status == POLY_OK ? import_commit(import, err) : status;
}

enum poly_status api_log_import(struct api_context *context, struct poly_error *err)
{
    struct import import = {.context = context};
    enum poly_status status = import_lines(&import, err);

    poly_txn_abort(import.txn);
    if (status != POLY_OK)
        return poly_fail_in(err, status, "line %llu (the events of lines 1 to %llu are imported)",
                            (unsigned long long)import.line,
                            (unsigned long long)import.committed_line);
    memcpy(context->head.token, import.token.text, sizeof(context->head.token));
    poly_buffer_char(&context->out, '{');
    api_put_integer(&context->out, "events", import.events);
    api_put_integer(&context->out, "skipped", import.skipped);
    api_put_integer(&context->out, "transactions", import.transactions);
    api_put_text(&context->out, "token", poly_text(import.token.text));
    api_put_integer(&context->out, "position", import.position);
    poly_buffer_text(&context->out, "}\n");
    return api_answer_finish(context, err);
}

/* --- verifying --- */

enum poly_status api_log_verify(struct api_context *context, struct poly_error *err)
{
    struct poly_verification found;
    struct api_progress progress;
    enum poly_status status;

    api_progress_open(&progress, context, api_true(context, "progress"));
    status = poly_log_verify(context->session, api_progress_tell, &progress, &found, err);
    if (status != POLY_OK)
        return api_answer_fail(context, NULL, err);
    poly_buffer_char(&context->out, '{');
    api_put_bool(&context->out, "ok", found.bad_position == 0);
    api_put_integer(&context->out, "records", found.records);
    api_put_integer(&context->out, "seals", found.seals);
    api_put_integer(&context->out, "sealed", found.sealed);
    api_put_text(&context->out, "hash", poly_text(found.hash));
    api_put_integer(&context->out, "bad_position", found.bad_position);
    api_put_text(&context->out, "reason", poly_text(found.reason));
    poly_buffer_text(&context->out, "}\n");
    return api_answer_finish(context, err);
}
