/* Which records make documents, under which key, and which of them cannot be read. */
#include "followers/document.h"

#include <string.h>

#include "base/json.h"

static bool is_type(struct poly_text type, const char *name)
{
    return type.size == strlen(name) && memcmp(type.data, name, type.size) == 0;
}

bool poly_document_of(const struct poly_domain *domain, struct poly_text name)
{
    const char *source = domain->stream == NULL ? domain->name : domain->stream;

    return strlen(source) == name.size && memcmp(source, name.data, name.size) == 0;
}

bool poly_document_concerns(const char *source, bool stream, const struct poly_record *record)
{
    bool event = record->type.size == 0 || record->type.data[0] != '$';

    if (strlen(source) != record->domain.size ||
        memcmp(source, record->domain.data, record->domain.size) != 0 || stream != event)
        return false;
    return event || is_type(record->type, "$put") || is_type(record->type, "$delete");
}

bool poly_document_removes(const struct poly_record *record)
{
    return is_type(record->type, "$delete");
}

bool poly_document_has_json(const struct poly_record *record)
{
    return record->data.type == POLY_JSON && !poly_document_removes(record);
}

enum poly_status poly_document_key(const struct poly_record *record, bool stream,
                                   struct poly_arena *arena, struct poly_text *key,
                                   struct poly_error *err)
{
    char *text;

    *key = record->key;
    if (!stream)
        return POLY_OK;
    text = poly_arena_printf(arena, "%.*s%s%.*s@%llu", (int)record->domain.size,
                             record->domain.data, record->key.size > 0 ? "-" : "",
                             (int)record->key.size, record->key.size > 0 ? record->key.data : "",
                             (unsigned long long)record->version);
    if (text == NULL)
        return poly_no_memory(err);
    *key = poly_text(text);
    return POLY_OK;
}

enum poly_status poly_document_poison(const char *store, struct poly_batch *batch,
                                      const struct poly_record *record, enum poly_status status,
                                      struct poly_error *err)
{
    batch->failed = record->position;
    return poly_fail_in(err, status, "%s: record %llu of '%.*s', key '%.*s'", store,
                        (unsigned long long)record->position,
                        (int)(record->domain.size > 64 ? 64 : record->domain.size),
                        record->domain.data, (int)(record->key.size > 64 ? 64 : record->key.size),
                        record->key.data);
}

enum poly_status poly_document_check(const char *store, struct poly_batch *batch,
                                     const struct poly_record *record, struct poly_error *err)
{
    enum poly_status status = POLY_OK;

    if (poly_document_has_json(record))
        status = poly_json_check(record->data.text.data, record->data.text.size, err);
    if (status == POLY_OK)
        return POLY_OK;
    return poly_document_poison(store, batch, record, status == POLY_LIMIT ? POLY_INVALID : status,
                                err);
}
