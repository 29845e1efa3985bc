/*
 * Reading the log. A few fixed statements serve every filter: the common ones
 * have an index of their own, the rest walk positions and filter.
 */
#include <string.h>

#include "base/buffer.h"
#include "base/json.h"
#include "base/limits.h"
#include "core/inside.h"
#include "core/instance.h"
#include "core/owner.h"
#include "owners/embedded/log.h"

/* ?1 after/before, ?2 tenant or NULL, ?3 limit, ?4 upto, ?5 domain(s), ?6 type(s), ?7 key */
#define TENANT " AND (?2 IS NULL OR tenant = ?2 OR tenant = '')"
#define FORWARDS " AND position > ?1 AND position <= ?4" TENANT " ORDER BY position LIMIT ?3"
#define BACKWARDS " AND position < ?1 AND position <= ?4" TENANT " ORDER BY position DESC LIMIT ?3"
#define LIST(column, parameter)                                                                    \
    "(" parameter " IS NULL OR " column " IN (SELECT value FROM json_each(" parameter ")))"

static const char *const statements[POLY_BY_COUNT][2] = {
    [POLY_BY_ALL] = {"SELECT " POLY_LOG_COLUMNS " FROM poly_log WHERE 1" FORWARDS,
                     "SELECT " POLY_LOG_COLUMNS " FROM poly_log WHERE 1" BACKWARDS},
    [POLY_BY_DOMAIN] = {"SELECT " POLY_LOG_COLUMNS " FROM poly_log INDEXED BY poly_log_domain"
                        " WHERE domain = ?5" FORWARDS,
                        "SELECT " POLY_LOG_COLUMNS " FROM poly_log INDEXED BY poly_log_domain"
                        " WHERE domain = ?5" BACKWARDS},
    [POLY_BY_TYPE] = {"SELECT " POLY_LOG_COLUMNS " FROM poly_log INDEXED BY poly_log_type"
                      " WHERE type = ?6" FORWARDS,
                      "SELECT " POLY_LOG_COLUMNS " FROM poly_log INDEXED BY poly_log_type"
                      " WHERE type = ?6" BACKWARDS},
    [POLY_BY_KEY] = {"SELECT " POLY_LOG_COLUMNS " FROM poly_log INDEXED BY poly_log_key"
                     " WHERE domain = ?5 AND key = ?7 AND " LIST("type", "?6") FORWARDS,
                     "SELECT " POLY_LOG_COLUMNS " FROM poly_log INDEXED BY poly_log_key"
                     " WHERE domain = ?5 AND key = ?7 AND " LIST("type", "?6") BACKWARDS},
    [POLY_BY_LISTS] = {"SELECT " POLY_LOG_COLUMNS " FROM poly_log"
                       " WHERE " LIST("domain", "?5") " AND " LIST("type", "?6") FORWARDS,
                       "SELECT " POLY_LOG_COLUMNS " FROM poly_log"
                       " WHERE " LIST("domain", "?5") " AND " LIST("type", "?6") BACKWARDS},
};

void poly_log_row(sqlite3_stmt *statement, struct poly_record *record, bool *large)
{
    record->position = (uint64_t)sqlite3_column_int64(statement, 0);
    record->txn = (uint64_t)sqlite3_column_int64(statement, 1);
    record->tenant = poly_column_text(statement, 2);
    record->domain = poly_column_text(statement, 3);
    record->key = poly_column_text(statement, 4);
    record->version = (uint64_t)sqlite3_column_int64(statement, 5);
    if (record->version == 0)
        record->version = record->position;
    record->type = poly_column_text(statement, 6);
    record->time = sqlite3_column_int64(statement, 7);
    record->data = poly_column_value(statement, 8);
    record->meta = poly_column_text(statement, 9);
    if (record->data.type == POLY_TEXT)
        record->data.type = POLY_JSON;
    *large = record->data.type == POLY_INT;
    if (record->data.type == POLY_INT || record->data.type == POLY_FLOAT)
        record->data = poly_null();
}

void poly_log_record(struct poly_stmt *stmt, struct poly_record *record, bool *large)
{
    poly_log_row(stmt->statement, record, large);
}

static const char *json_list(struct poly_arena *arena, const char *const *names)
{
    struct poly_buffer buffer;
    const char *list;

    if (names == NULL || names[0] == NULL)
        return NULL;
    poly_buffer_init(&buffer, (size_t)POLY_MAX_NAME * 8 * (POLY_MAX_IN + 1));
    for (size_t i = 0; names[i] != NULL; i++) {
        poly_buffer_char(&buffer, i == 0 ? '[' : ',');
        poly_json_string(&buffer, names[i], strlen(names[i]));
    }
    poly_buffer_char(&buffer, ']');
    list = poly_buffer_ok(&buffer) ? poly_arena_copy(arena, buffer.data, buffer.size) : NULL;
    poly_buffer_release(&buffer);
    return list;
}

static enum poly_status bind_filter(sqlite3_stmt *get, const struct poly_scan *scan,
                                    enum poly_log_by filter, struct poly_error *err)
{
    const struct poly_log_query *query = scan->query;
    const char *domains, *types;

    if (filter == POLY_BY_ALL)
        return POLY_OK;
    domains = filter == POLY_BY_LISTS                ? json_list(scan->arena, query->domains)
              : poly_names_count(query->domains) > 0 ? query->domains[0]
                                                     : NULL;
    types = filter == POLY_BY_LISTS || filter == POLY_BY_KEY ? json_list(scan->arena, query->types)
            : poly_names_count(query->types) > 0             ? query->types[0]
                                                             : NULL;
    if ((domains == NULL && poly_names_count(query->domains) > 0) ||
        (types == NULL && poly_names_count(query->types) > 0))
        return poly_no_memory(err);
    if (domains != NULL)
        poly_bind_text(get, 5, poly_text(domains));
    if (types != NULL)
        poly_bind_text(get, 6, poly_text(types));
    if (filter == POLY_BY_KEY)
        poly_bind_text(get, 7, poly_text(query->key));
    return POLY_OK;
}

static void bind_range(sqlite3_stmt *get, const struct poly_scan *scan)
{
    uint64_t start = scan->query->after;

    if (scan->query->backwards && start == 0)
        start = INT64_MAX;
    sqlite3_bind_int64(get, 1, start > INT64_MAX ? INT64_MAX : (int64_t)start);
    if (!scan->all_tenants)
        poly_bind_text(get, 2, scan->tenant);
    sqlite3_bind_int64(get, 3, (int64_t)scan->limit + 1);
    sqlite3_bind_int64(get, 4, scan->upto == 0 ? INT64_MAX : (int64_t)scan->upto);
}

/* One record to the visitor. */
static enum poly_status give(struct poly_db *db, sqlite3_stmt *get, struct poly_scan *scan,
                             struct poly_error *err)
{
    struct poly_arena_mark mark;
    struct poly_record record;
    enum poly_status status = POLY_OK;
    bool large;

    poly_log_row(get, &record, &large);
    if (large && scan->wants != NULL && !scan->wants(scan->arg, &record)) {
        scan->last = record.position;
        return POLY_OK;
    }
    if (!large) {
        scan->stopped = !scan->visit(scan->arg, &record);
        scan->last = record.position;
        return POLY_OK;
    }
    mark = poly_arena_mark(scan->arena);
    status = poly_stores_large(scan->instance, db, &record, scan->arena, &record.data.text, err);
    if (status == POLY_OK) {
        record.data.type = POLY_JSON;
        scan->stopped = !scan->visit(scan->arg, &record);
        scan->last = record.position;
    } else if (!poly_log_temporary(status)) {
        scan->failed = record.position;
    }
    poly_arena_rewind(scan->arena, mark);
    return status;
}

enum poly_status poly_log_scan_embedded(struct poly_db *db, struct poly_scan *scan,
                                        struct poly_error *err)
{
    enum poly_log_by filter = poly_log_filter(scan->query);
    sqlite3_stmt *get = poly_db_prepare(db, statements[filter][scan->query->backwards], err);
    enum poly_status status;
    uint32_t given = 0;
    bool row;

    if (get == NULL)
        return err->status;
    bind_range(get, scan);
    status = bind_filter(get, scan, filter, err);
    scan->more = scan->stopped = false;
    scan->failed = 0;
    while (status == POLY_OK && !scan->stopped) {
        status = poly_db_row(db, get, &row, err);
        if (status != POLY_OK || !row)
            break;
        if (given++ == scan->limit) {
            scan->more = true;
            break;
        }
        status = give(db, get, scan, err);
    }
    sqlite3_reset(get);
    sqlite3_clear_bindings(get);
    return status;
}
