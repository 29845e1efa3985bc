/* Records by key. ETags are versions: If-Match and If-None-Match become if_version. */
#include "api/handlers.h"

#include <stdlib.h>

#include "base/status.h"

/* "17" with or without quotes. */
static bool parse_etag(const char *etag, uint64_t *version)
{
    size_t size = strlen(etag);
    char digits[24];
    char *end;

    if (size >= 2 && etag[0] == '"' && etag[size - 1] == '"') {
        etag++;
        size -= 2;
    }
    if (size == 0 || size > 19 || etag[0] < '0' || etag[0] > '9')
        return false;
    memcpy(digits, etag, size);
    digits[size] = '\0';
    *version = strtoull(digits, &end, 10);
    return *end == '\0' && *version > 0 && *version <= INT64_MAX;
}

static enum poly_status if_version(const struct api_request *request, bool puts, int64_t *version,
                                   struct poly_error *err)
{
    const char *match = request->if_match, *none = request->if_none_match;
    uint64_t number;

    *version = POLY_ANY;
    if (match != NULL && none != NULL)
        return poly_fail(err, POLY_INVALID, "If-Match and If-None-Match exclude each other");
    if (none != NULL) {
        if (strcmp(none, "*") != 0 || !puts)
            return poly_fail(err, POLY_INVALID,
                             "If-None-Match takes '*' only, and only with put: no such record yet");
        *version = POLY_NONE;
    }
    if (match == NULL || (strcmp(match, "*") == 0 && !puts))
        return POLY_OK;
    if (!parse_etag(match, &number))
        return poly_fail(err, POLY_INVALID,
                         "If-Match '%.64s' is not the ETag of a record, such as \"17\"", match);
    *version = (int64_t)number;
    return POLY_OK;
}

static enum poly_status row_of(struct api_context *context, bool puts, struct poly_row *row,
                               int64_t *version, struct poly_error *err)
{
    enum poly_status status = if_version(context->request, puts, version, err);

    return status == POLY_OK ? poly_json_to_row(context->body, context->arena, row, err) : status;
}

enum poly_status api_stage_record_put(struct api_context *context, struct poly_txn *txn,
                                      struct poly_error *err)
{
    struct poly_row row;
    int64_t version;
    enum poly_status status = row_of(context, true, &row, &version, err);

    if (status != POLY_OK)
        return status;
    return poly_put(txn, api_text(context, "domain"), api_text(context, "key"), &row, version, err);
}

enum poly_status api_stage_record_create(struct api_context *context, struct poly_txn *txn,
                                         struct poly_error *err)
{
    struct poly_row row;
    enum poly_status status = poly_json_to_row(context->body, context->arena, &row, err);

    if (status != POLY_OK)
        return status;
    return poly_put(txn, api_text(context, "domain"), NULL, &row, POLY_NONE, err);
}

enum poly_status api_stage_record_patch(struct api_context *context, struct poly_txn *txn,
                                        struct poly_error *err)
{
    struct poly_row row;
    int64_t version;
    enum poly_status status = row_of(context, false, &row, &version, err);

    if (status != POLY_OK)
        return status;
    return poly_patch(txn, api_text(context, "domain"), api_text(context, "key"), &row, version,
                      err);
}

enum poly_status api_stage_record_delete(struct api_context *context, struct poly_txn *txn,
                                         struct poly_error *err)
{
    int64_t version;
    enum poly_status status = if_version(context->request, false, &version, err);

    if (status != POLY_OK)
        return status;
    return poly_delete(txn, api_text(context, "domain"), api_text(context, "key"), version, err);
}

/* Does the caller have this version already? */
static bool unchanged(const struct api_request *request, uint64_t version)
{
    uint64_t known;

    return request->if_none_match != NULL && parse_etag(request->if_none_match, &known) &&
           known == version;
}

/* Is it the version that the caller wants? */
static bool still(const struct api_request *request, uint64_t version)
{
    uint64_t wanted;

    return request->if_match == NULL || strcmp(request->if_match, "*") == 0 ||
           (parse_etag(request->if_match, &wanted) && wanted == version);
}

enum poly_status api_record_get(struct api_context *context, struct poly_error *err)
{
    struct poly_document document;
    enum poly_status status = poly_get(context->session, api_text(context, "domain"),
                                       api_text(context, "key"), &document, err);

    if (status != POLY_OK)
        return status;
    if (!still(context->request, document.version))
        return poly_fail(err, POLY_CONFLICT,
                         "record '%s/%s' has version %llu, not that of If-Match",
                         api_text(context, "domain"), api_text(context, "key"),
                         (unsigned long long)document.version);
    api_answer_fresh(context);
    context->head.version = document.version;
    if (unchanged(context->request, document.version)) {
        context->head.http = 304;
        return api_answer_finish(context, err);
    }
    api_put_document(&context->out, &document);
    poly_buffer_char(&context->out, '\n');
    return api_answer_finish(context, err);
}

static enum poly_status print_page(struct api_context *context, const struct poly_page *page,
                                   struct poly_error *err)
{
    poly_buffer_text(&context->out, "{\"documents\":[");
    for (size_t i = 0; i < page->count; i++) {
        if (i > 0)
            poly_buffer_char(&context->out, ',');
        api_put_document(&context->out, &page->documents[i]);
        if (!api_answer_flush(context, false))
            break;
    }
    poly_buffer_char(&context->out, ']');
    if (page->cursor != NULL)
        api_put_text(&context->out, "cursor", poly_text(page->cursor));
    poly_buffer_text(&context->out, "}\n");
    return api_answer_finish(context, err);
}

enum poly_status api_record_list(struct api_context *context, struct poly_error *err)
{
    struct poly_list_query query = {
        .domain = api_text(context, "domain"),
        .order = api_text(context, "order"),
        .descending = api_true(context, "descending"),
        .limit = (uint32_t)api_integer(context, "limit", 0),
        .cursor = api_text(context, "cursor"),
    };
    struct poly_page page;
    enum poly_status status = api_filters(context, &query.filters, &query.filter_count, err);

    if (status == POLY_OK)
        status = poly_list(context->session, &query, &page, err);
    if (status != POLY_OK)
        return status;
    api_answer_fresh(context);
    return print_page(context, &page, err);
}
