/*
 * Events in PostgreSQL. An append is one call of a function of ours, so that the
 * version is looked up, checked and used in one round trip; what a batch
 * appends is sent together (queue), and the answers are taken in order (take).
 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/limits.h"
#include "core/instance.h"
#include "owners/postgresql/postgresql.h"
#include "stores/events/driver.h"

#define WHERE " WHERE domain = $1 AND tenant = $2 AND key = $3 AND version IS NOT NULL"
/* What is no JSON of the wanted kind is not equal to anything. */
#define PATH                                                                                       \
    " AND ($6::text IS NULL OR jsonb_path_query_first(data::jsonb, $6::jsonpath)"                  \
    " IS NOT DISTINCT FROM $7::jsonb)"

static const char append_sql[] = "SELECT o_position, o_version"
                                 " FROM poly.append($1, $2, $3, $4, $5, $6, $7, $8)";
static const char forwards[] = "SELECT " POLY_POSTGRESQL_COLUMNS " FROM poly.log" WHERE
                               " AND version >= $4" PATH " ORDER BY version LIMIT $5";
static const char backwards[] = "SELECT " POLY_POSTGRESQL_COLUMNS " FROM poly.log" WHERE
                                " AND version <= $4" PATH " ORDER BY version DESC LIMIT $5";
static const char newest[] = "SELECT max(version) FROM poly.log" WHERE;

/* --- appending --- */

static enum poly_status postgresql_queue(struct poly_append *append, struct poly_write *write,
                                         struct poly_error *err)
{
    size_t count = append->count;
    struct poly_value *columns = poly_arena_array(write->arena, count * 4, sizeof(*columns));
    struct poly_pg_params params;

    if (columns == NULL)
        return poly_no_memory(err);
    for (size_t i = 0; i < count; i++) {
        const struct poly_event *event = &append->events[i];
        struct poly_text meta;
        enum poly_status status = poly_event_meta(write, event->meta, &meta, err);

        if (status != POLY_OK)
            return status;
        columns[i] = poly_str(event->type);
        columns[count + i] = columns[2 * count + i] = columns[3 * count + i] = poly_null();
        if (event->data.type == POLY_JSON)
            columns[count + i] = (struct poly_value){.type = POLY_TEXT, .text = event->data.text};
        else if (event->data.type == POLY_BYTES)
            columns[2 * count + i] = event->data;
        if (meta.size > 0)
            columns[3 * count + i] = (struct poly_value){.type = POLY_TEXT, .text = meta};
    }
    poly_pg_params(&params);
    poly_pg_add_text(&params, append->tenant);
    poly_pg_add_text(&params, append->stream.category);
    poly_pg_add_text(&params, append->stream.id);
    poly_pg_add_int(&params, append->expected);
    for (size_t i = 0; i < 4; i++)
        poly_pg_add_array(&params, columns + i * count, (int)count);
    return poly_pg_queue(poly_pg_of(write->db), append_sql, &params, err);
}

/* In our words: the version, whether the function or the index has found it to be another. */
static enum poly_status explain(const struct poly_append *append, const struct poly_pg *pg,
                                enum poly_status status, struct poly_error *err)
{
    const char *state = poly_pg_state(pg);

    if (strcmp(state, "PL001") == 0)
        return poly_fail(err, POLY_CONFLICT, "stream '%.200s': its version is %s, expected %lld",
                         append->stream.name.data, poly_pg_detail(pg), (long long)append->expected);
    if (strcmp(state, "23505") == 0)
        return poly_fail(err, POLY_CONFLICT,
                         "stream '%.200s': somebody has appended at the same time",
                         append->stream.name.data);
    return status;
}

static enum poly_status postgresql_take(struct poly_append *append, struct poly_write *write,
                                        struct poly_error *err)
{
    struct poly_pg *pg = poly_pg_of(write->db);
    PGresult *result;
    enum poly_status status = poly_pg_next(pg, &result, err);

    if (status != POLY_OK)
        return explain(append, pg, status, err);
    write->position = (uint64_t)poly_pg_int(result, 0, 0);
    append->base.result = (struct poly_result){.key = append->stream.name,
                                               .version = (uint64_t)poly_pg_int(result, 0, 1),
                                               .count = (int64_t)append->count};
    PQclear(result);
    return POLY_OK;
}

static enum poly_status postgresql_append(struct poly_append *append, struct poly_write *write,
                                          struct poly_error *err)
{
    enum poly_status status = postgresql_queue(append, write, err);

    return status == POLY_OK ? postgresql_take(append, write, err) : status;
}

/* --- reading --- */

static void add_stream(struct poly_pg_params *params, const struct poly_stream_read *read)
{
    poly_pg_params(params);
    poly_pg_add_text(params, read->stream.category);
    poly_pg_add_text(params, read->tenant);
    poly_pg_add_text(params, read->stream.id);
}

/* The value that the path is to have, as JSON. */
static enum poly_status add_equal(struct poly_pg_params *params,
                                  const struct poly_stream_query *query, struct poly_arena *arena,
                                  struct poly_error *err)
{
    struct poly_buffer buffer;
    const char *text;

    poly_buffer_init(&buffer, POLY_MAX_VALUE);
    poly_json_value(&buffer, &query->equal);
    text = poly_buffer_ok(&buffer) ? poly_arena_copy(arena, buffer.data, buffer.size) : NULL;
    poly_pg_add_text(params, (struct poly_text){text, buffer.size});
    poly_buffer_release(&buffer);
    return text == NULL ? poly_no_memory(err) : POLY_OK;
}

static enum poly_status read_version(struct poly_pg *pg, struct poly_stream_read *read,
                                     struct poly_error *err)
{
    struct poly_pg_params params;
    PGresult *result;
    enum poly_status status;

    add_stream(&params, read);
    status = poly_pg_run(pg, newest, &params, &result, err);
    if (status != POLY_OK)
        return status;
    read->version = (uint64_t)poly_pg_int(result, 0, 0);
    PQclear(result);
    return POLY_OK;
}

static enum poly_status postgresql_read(struct poly_db *db, struct poly_stream_read *read,
                                        struct poly_error *err)
{
    const struct poly_stream_query *query = &read->query;
    uint64_t from = query->backwards && query->from == 0 ? INT64_MAX : query->from;
    struct poly_pg_params params;
    PGresult *rows;
    enum poly_status status = POLY_OK;
    bool more = true;

    add_stream(&params, read);
    poly_pg_add_int(&params, from > INT64_MAX ? INT64_MAX : (int64_t)from);
    poly_pg_add_int(&params, query->limit);
    if (query->path != NULL) {
        poly_pg_add_text(&params, poly_text(query->path));
        status = add_equal(&params, query, read->arena, err);
    } else {
        poly_pg_add_null(&params);
        poly_pg_add_null(&params);
    }
    if (status == POLY_OK)
        status = poly_pg_run(poly_pg_of(db), query->backwards ? backwards : forwards, &params,
                             &rows, err);
    if (status != POLY_OK)
        return status;
    for (int row = 0; more && row < PQntuples(rows); row++) {
        struct poly_record record;

        poly_postgresql_row(rows, row, &record);
        more = read->visit(read->arg, &record);
    }
    PQclear(rows);
    return read_version(poly_pg_of(db), read, err);
}

const struct poly_events_driver poly_events_postgresql = {.name = "postgresql",
                                                          .append = postgresql_append,
                                                          .queue = postgresql_queue,
                                                          .take = postgresql_take,
                                                          .read = postgresql_read};
