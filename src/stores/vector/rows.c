/* The records themselves: rows of a table, or the data of an event. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "polystore/events.h"
#include "stores/vector/store.h"

static enum poly_status gone(const struct poly_domain *domain, struct poly_text key,
                             struct poly_error *err)
{
    return poly_fail(err, POLY_NOT_FOUND, "domain '%s' has no record '%.*s'", domain->name,
                     (int)(key.size > 200 ? 200 : key.size), key.data);
}

/* "order-42@7": the seventh event of that stream. */
static enum poly_status event_row(struct poly_session *session, const struct poly_domain *domain,
                                  const char *key, struct poly_row *row, struct poly_error *err)
{
    const char *at = strrchr(key, '@');
    struct poly_stream_query query = {.limit = 1};
    struct poly_records records;
    json_t *json;
    enum poly_status status;

    if (at == NULL)
        return gone(domain, poly_text(key), err);
    query.stream = poly_arena_copy(poly_session_arena(session), key, (size_t)(at - key));
    query.from = strtoull(at + 1, NULL, 10);
    if (query.stream == NULL)
        return poly_no_memory(err);
    status = poly_stream_read(session, &query, &records, err);
    if (status != POLY_OK)
        return status;
    if (records.count == 0 || records.records[0].version != query.from)
        return gone(domain, poly_text(key), err);
    if (records.records[0].data.type != POLY_JSON)
        return POLY_OK;
    status = poly_json_parse(records.records[0].data.text.data, records.records[0].data.text.size,
                             &json, err);
    if (status != POLY_OK)
        return status;
    status = json_is_object(json) ? poly_json_to_row(json, poly_session_arena(session), row, err)
                                  : POLY_OK;
    json_decref(json);
    return status;
}

enum poly_status poly_vector_row(struct poly_session *session, const struct poly_domain *domain,
                                 struct poly_text key, struct poly_row *row, struct poly_error *err)
{
    const char *text = poly_arena_copy(poly_session_arena(session), key.data, key.size);
    struct poly_document document;
    enum poly_status status;

    if (text == NULL)
        return poly_no_memory(err);
    if (domain->stream != NULL)
        return event_row(session, domain, text, row, err);
    status = poly_get(session, domain->name, text, &document, err);
    if (status == POLY_OK)
        *row = document.row;
    return status;
}
