/*
 * Reading the log: pages of a keyset, for what lies below the horizon does not
 * change any more, so no snapshot has to be kept for it. One text for each kind of
 * filter that has an index of its own.
 */
#include <string.h>

#include "owners/postgresql/inside.h"
#include "owners/postgresql/postgresql.h"

enum { PAGE = 2000 };

enum { DATA = 8, META, SALT = POLY_RECORD_SALT, BYTES };

/* $1 after/before, $2 upto, $3 limit, $4 tenant or NULL, $5 domains, $6 types, $7 key */
#define RANGE_FORWARDS "position > $1 AND position <= $2"
#define RANGE_BACKWARDS "position < $1 AND position <= $2"
#define TENANT " AND ($4::text IS NULL OR tenant = $4 OR tenant = '')"
#define UNUSED " AND ($5::text[] IS NULL OR true) AND ($6::text[] IS NULL OR true)"
#define TYPES " AND ($6::text[] IS NULL OR type = ANY($6))"
#define ONE_DOMAIN " AND domain = ($5::text[])[1]"
#define NO_KEY " AND $7::text IS NULL"
#define ORDER_FORWARDS " ORDER BY position LIMIT $3"
#define ORDER_BACKWARDS " ORDER BY position DESC LIMIT $3"
#define SELECT "SELECT " POLY_POSTGRESQL_COLUMNS " FROM poly.log WHERE "
#define OF_KEY(range)                                                                              \
    "SELECT * FROM (" SELECT range " AND key = $7" ONE_DOMAIN " AND version IS NULL" TENANT TYPES  \
    " UNION ALL " SELECT range " AND key = $7" ONE_DOMAIN " AND version IS NOT NULL" TENANT TYPES  \
    ") AS l"
#define BOTH(rest)                                                                                 \
    {                                                                                              \
        SELECT RANGE_FORWARDS TENANT rest NO_KEY ORDER_FORWARDS,                                   \
            SELECT RANGE_BACKWARDS TENANT rest NO_KEY ORDER_BACKWARDS                              \
    }

static const char *const statements[POLY_BY_COUNT][2] = {
    [POLY_BY_ALL] = BOTH(UNUSED),
    [POLY_BY_DOMAIN] = BOTH(ONE_DOMAIN " AND ($6::text[] IS NULL OR true)"),
    [POLY_BY_TYPE] = BOTH(" AND type = ($6::text[])[1] AND ($5::text[] IS NULL OR true)"),
    [POLY_BY_LISTS] = BOTH(" AND ($5::text[] IS NULL OR domain = ANY($5))" TYPES),
    [POLY_BY_KEY] = {OF_KEY(RANGE_FORWARDS) ORDER_FORWARDS,
                     OF_KEY(RANGE_BACKWARDS) ORDER_BACKWARDS},
};

const char poly_postgresql_records[] =
    "SELECT " POLY_POSTGRESQL_COLUMNS
    " FROM poly.log WHERE position BETWEEN ?1 AND ?2 ORDER BY position LIMIT ?3";

void poly_postgresql_row(const PGresult *rows, int row, struct poly_record *record)
{
    record->position = (uint64_t)poly_pg_int(rows, row, 0);
    record->txn = (uint64_t)poly_pg_int(rows, row, 1);
    record->tenant = poly_pg_text(rows, row, 2);
    record->domain = poly_pg_text(rows, row, 3);
    record->key = poly_pg_text(rows, row, 4);
    record->version =
        poly_pg_null(rows, row, 5) ? record->position : (uint64_t)poly_pg_int(rows, row, 5);
    record->type = poly_pg_text(rows, row, 6);
    record->time = poly_pg_int(rows, row, 7);
    record->meta = poly_pg_text(rows, row, META);
    record->data = poly_null();
    if (!poly_pg_null(rows, row, DATA)) {
        record->data.type = POLY_JSON;
        record->data.text = poly_pg_text(rows, row, DATA);
    } else if (!poly_pg_null(rows, row, BYTES)) {
        record->data.type = POLY_BYTES;
        record->data.text = poly_pg_bytes(rows, row, BYTES);
    }
}

void poly_postgresql_record(struct poly_stmt *stmt, struct poly_record *record, bool *large)
{
    int row;
    const PGresult *rows = poly_pg_stmt_result(stmt, &row);

    poly_postgresql_row(rows, row, record);
    *large = false;
}

/* --- scanning --- */

/* false: out of memory. */
static bool add_names(struct poly_pg_params *params, struct poly_arena *arena,
                      const char *const *names)
{
    int count = (int)poly_names_count(names);
    struct poly_text *texts;

    if (count == 0) {
        poly_pg_add_null(params);
        return true;
    }
    texts = poly_arena_array(arena, (size_t)count, sizeof(*texts));
    if (texts == NULL)
        return false;
    for (int i = 0; i < count; i++)
        texts[i] = poly_text(names[i]);
    poly_pg_add_texts(params, texts, count);
    return true;
}

static int64_t bounded(uint64_t number)
{
    return number > INT64_MAX ? INT64_MAX : (int64_t)number;
}

static enum poly_status read_page(struct poly_pg *pg, const struct poly_scan *scan, uint64_t from,
                                  uint32_t limit, PGresult **rows, struct poly_error *err)
{
    const struct poly_log_query *query = scan->query;
    uint64_t safe = atomic_load(&scan->instance->owner->durable);
    struct poly_pg_params params;

    poly_pg_params(&params);
    poly_pg_add_int(&params, bounded(from));
    poly_pg_add_int(&params, bounded(scan->upto == 0 || scan->upto > safe ? safe : scan->upto));
    poly_pg_add_int(&params, limit);
    if (scan->all_tenants)
        poly_pg_add_null(&params);
    else
        poly_pg_add_text(&params, scan->tenant);
    if (!add_names(&params, scan->arena, query->domains) ||
        !add_names(&params, scan->arena, query->types))
        return poly_no_memory(err);
    if (query->key == NULL)
        poly_pg_add_null(&params);
    else
        poly_pg_add_text(&params, poly_text(query->key));
    return poly_pg_run(pg, statements[poly_log_filter(query)][query->backwards], &params, rows,
                       err);
}

/* Rows that nobody visits have cost as much as the others. */
static uint32_t page_size(const struct poly_scan *scan, uint32_t given)
{
    uint32_t page = scan->limit + 1 - given;

    if (page > PAGE)
        page = PAGE;
    if (scan->enough > given && page > scan->enough - given)
        page = scan->enough - given;
    return page;
}

/* One page to the visitor. */
static void give(const PGresult *rows, struct poly_scan *scan, uint32_t *given)
{
    for (int row = 0; row < PQntuples(rows) && !scan->stopped; row++) {
        struct poly_record record;

        if ((*given)++ == scan->limit) {
            scan->more = true;
            return;
        }
        poly_postgresql_row(rows, row, &record);
        scan->stopped = !scan->visit(scan->arg, &record);
        scan->last = record.position;
    }
}

enum poly_status poly_postgresql_scan(struct poly_db *db, struct poly_scan *scan,
                                      struct poly_error *err)
{
    struct poly_arena_mark mark = poly_arena_mark(scan->arena);
    uint64_t from =
        scan->query->backwards && scan->query->after == 0 ? INT64_MAX : scan->query->after;
    enum poly_status status = POLY_OK;
    uint32_t given = 0;
    bool end = false;

    scan->more = scan->stopped = false;
    scan->failed = 0;
    while (status == POLY_OK && !end && !scan->more && !scan->stopped) {
        uint32_t page = page_size(scan, given);
        PGresult *rows;

        status = read_page(poly_pg_of(db), scan, from, page, &rows, err);
        poly_arena_rewind(scan->arena, mark);
        if (status != POLY_OK)
            break;
        end = (uint32_t)PQntuples(rows) < page;
        give(rows, scan, &given);
        from = scan->last;
        PQclear(rows);
    }
    return status;
}
