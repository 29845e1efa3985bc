/*
 * Events in SQLite: rows of poly_log, found by the index over domain, tenant,
 * key and version. The unique index is the last word on versions: what is
 * decided from memory can at worst fail there.
 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "owners/embedded/embedded.h"
#include "core/instance.h"
#include "core/log.h"
#include "stores/events/driver.h"

#define WHERE " WHERE domain = ?1 AND tenant = ?2 AND key = ?3"
/* Another program may have written what is no JSON: that must not fail the others. */
#define PATH                                                                                       \
    " AND (?6 IS NULL OR CASE WHEN typeof(data) = 'text' AND json_valid(data)"                     \
    " THEN json_extract(data, ?6) IS ?7 END)"

static const char forwards[] = "SELECT " POLY_LOG_COLUMNS " FROM poly_log" WHERE
                               " AND version >= ?4" PATH " ORDER BY version LIMIT ?5";
static const char backwards[] = "SELECT " POLY_LOG_COLUMNS " FROM poly_log" WHERE
                                " AND version <= ?4" PATH " ORDER BY version DESC LIMIT ?5";
static const char newest[] = "SELECT max(version) FROM poly_log" WHERE;

static enum poly_status check_version(const struct poly_append *append, uint64_t version,
                                      struct poly_error *err)
{
    if (append->expected == POLY_ANY || (uint64_t)append->expected == version)
        return POLY_OK;
    return poly_fail(err, POLY_CONFLICT, "stream '%.200s': its version is %llu, expected %lld",
                     append->stream.name.data, (unsigned long long)version,
                     (long long)append->expected);
}

static enum poly_status embedded_append(struct poly_append *append, struct poly_write *write,
                                        struct poly_error *err)
{
    struct poly_log *log = poly_instance_embedded(write->instance)->log;
    const struct poly_stream *stream = &append->stream;
    uint64_t version, position;
    enum poly_status status = poly_log_stream_version(log, write->db, append->tenant,
                                                      stream->category, stream->id, &version, err);

    if (status == POLY_OK)
        status = check_version(append, version, err);
    for (size_t i = 0; i < append->count && status == POLY_OK; i++) {
        const struct poly_event *event = &append->events[i];
        struct poly_log_entry entry = {.txn = write->txn,
                                       .version = version + 1,
                                       .tenant = append->tenant,
                                       .domain = stream->category,
                                       .key = stream->id,
                                       .type = poly_text(event->type),
                                       .data = &event->data};

        status = poly_event_meta(write, event->meta, &entry.meta, err);
        if (status == POLY_OK)
            status = poly_log_append(log, write->db, &entry, &position, err);
        version += status == POLY_OK;
    }
    if (status != POLY_OK) {
        poly_log_stream_forget(log, append->tenant, stream->category, stream->id);
        return status;
    }
    poly_log_stream_set(log, append->tenant, stream->category, stream->id, version);
    append->base.result = (struct poly_result){
        .key = stream->name, .version = version, .count = (int64_t)append->count};
    return POLY_OK;
}

static sqlite3_stmt *bind_stream(struct poly_db *db, const char *sql,
                                 const struct poly_stream *stream, struct poly_text tenant,
                                 struct poly_error *err)
{
    sqlite3_stmt *get = poly_db_prepare(db, sql, err);

    if (get != NULL) {
        poly_bind_text(get, 1, stream->category);
        poly_bind_text(get, 2, tenant);
        poly_bind_text(get, 3, stream->id);
    }
    return get;
}

static enum poly_status read_version(struct poly_db *db, const struct poly_stream *stream,
                                     struct poly_text tenant, uint64_t *version,
                                     struct poly_error *err)
{
    sqlite3_stmt *get = bind_stream(db, newest, stream, tenant, err);
    enum poly_status status;
    bool row;

    if (get == NULL)
        return err->status;
    status = poly_db_row(db, get, &row, err);
    if (status == POLY_OK && row) {
        *version = (uint64_t)sqlite3_column_int64(get, 0);
        sqlite3_reset(get);
    }
    return status;
}

static void bind_query(sqlite3_stmt *get, const struct poly_stream_query *query)
{
    uint64_t from = query->backwards && query->from == 0 ? INT64_MAX : query->from;

    sqlite3_bind_int64(get, 4, from > INT64_MAX ? INT64_MAX : (int64_t)from);
    sqlite3_bind_int64(get, 5, query->limit);
    if (query->path != NULL) {
        poly_bind_text(get, 6, poly_text(query->path));
        poly_bind_value(get, 7, &query->equal);
    }
}

static enum poly_status embedded_read(struct poly_db *db, struct poly_stream_read *read,
                                      struct poly_error *err)
{
    const char *sql = read->query.backwards ? backwards : forwards;
    sqlite3_stmt *get = bind_stream(db, sql, &read->stream, read->tenant, err);
    struct poly_record record;
    enum poly_status status = POLY_OK;
    bool row = true, large;

    if (get == NULL)
        return err->status;
    bind_query(get, &read->query);
    while ((status = poly_db_row(db, get, &row, err)) == POLY_OK && row) {
        poly_log_row(get, &record, &large);
        if (!read->visit(read->arg, &record))
            break;
    }
    sqlite3_reset(get);
    sqlite3_clear_bindings(get);
    read->version = 0;
    return status == POLY_OK ? read_version(db, &read->stream, read->tenant, &read->version, err)
                             : status;
}

const struct poly_events_driver poly_events_embedded = {
    .name = "embedded", .append = embedded_append, .read = embedded_read};
