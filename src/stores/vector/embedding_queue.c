/* SQL, the same for both owners. What waits or was refused is in a partial index, so that it is
 * found and counted whatever the number of records that have their vectors. */
#include "stores/vector/embedding_queue.h"

#include <string.h>

#include "base/clock.h"

enum { HASHES = 2 * POLY_EMBEDDING_HASH };

#define THIS " WHERE domain = ?1 AND name = ?2"
#define RECORD THIS " AND tenant = ?3 AND key = ?4"

static const char state_get[] =
    "SELECT shape, position, error, time, model, dimensions FROM poly_embedding_state" THIS;
static const char state_put[] =
    "INSERT INTO poly_embedding_state(domain, name, shape, position, error, time, model,"
    " dimensions) VALUES (?1, ?2, ?3, 0, '', 0, ?4, ?5) ON CONFLICT (domain, name) DO UPDATE SET"
    " shape = excluded.shape, position = 0, error = '', time = 0, model = excluded.model,"
    " dimensions = excluded.dimensions";
static const char state_move[] =
    "UPDATE poly_embedding_state SET position = ?3" THIS " AND position < ?3";
static const char state_hold[] =
    "UPDATE poly_embedding_state SET position = position" THIS " AND shape = ?3";
/* Also of one that could not even begin. */
static const char state_trouble[] =
    "INSERT INTO poly_embedding_state(domain, name, shape, position, error, time, model,"
    " dimensions) VALUES (?1, ?2, ?5, 0, ?3, ?4, '', 0) ON CONFLICT (domain, name) DO UPDATE SET"
    " error = excluded.error, time = excluded.time";

static const char row_get[] = "SELECT state, position, hash FROM poly_embedding" RECORD;
static const char row_put[] =
    "INSERT INTO poly_embedding AS e(domain, name, tenant, key, state, position, hash, attempts,"
    " since, error) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
    " ON CONFLICT (domain, name, tenant, key) DO UPDATE SET state = excluded.state,"
    " position = excluded.position, hash = excluded.hash, attempts = excluded.attempts,"
    " since = CASE WHEN e.state = excluded.state THEN e.since ELSE excluded.since END,"
    " error = excluded.error WHERE e.position <= excluded.position";
static const char row_drop[] = "DELETE FROM poly_embedding" RECORD " AND position <= ?5";
static const char row_tried[] =
    "UPDATE poly_embedding SET attempts = attempts + 1" RECORD " AND position = ?5";
static const char all_drop[] = "DELETE FROM poly_embedding" THIS;
static const char all_again[] = "UPDATE poly_embedding SET state = 1, attempts = 0, error = '',"
                                " since = ?3" THIS " AND state = 2";
static const char list_get[] =
    "SELECT tenant, key, position, hash, attempts, since, error FROM poly_embedding" THIS
    " AND state > 0 AND state = ?3 ORDER BY attempts, position LIMIT ?4";
static const char page_get[] =
    "SELECT tenant, key, position, hash, attempts, since, error FROM poly_embedding" THIS
    " AND state > 0 AND state = ?3 AND (tenant > ?5 OR (tenant = ?5 AND key > ?6))"
    " ORDER BY tenant, key LIMIT ?4";
static const char count_get[] =
    "SELECT state, count(*), CAST(min(since) AS bigint) FROM poly_embedding" THIS
    " AND state > 0 GROUP BY state";

static enum poly_status open(struct poly_stmt *stmt, struct poly_db *db, const char *sql,
                             const struct poly_embedding_name *name, struct poly_error *err)
{
    enum poly_status status = poly_stmt_open(stmt, db, sql, err);

    if (status != POLY_OK)
        return status;
    poly_stmt_text(stmt, 1, name->domain);
    poly_stmt_text(stmt, 2, name->name);
    return POLY_OK;
}

static enum poly_status open_row(struct poly_stmt *stmt, struct poly_db *db, const char *sql,
                                 const struct poly_embedding_name *name,
                                 const struct poly_embedding_row *row, struct poly_error *err)
{
    enum poly_status status = open(stmt, db, sql, name, err);

    if (status != POLY_OK)
        return status;
    poly_stmt_text(stmt, 3, row->tenant);
    poly_stmt_text(stmt, 4, row->key);
    return POLY_OK;
}

/* Of another length: something that no text has. text NULL: there is none. Rows of before changes
 * of model do not have it. */
static void get_hash(struct poly_stmt *stmt, int column, uint8_t *hash, uint8_t *text)
{
    size_t size;
    const uint8_t *bytes = poly_stmt_get_bytes(stmt, column, &size);

    memset(hash, 0, POLY_EMBEDDING_HASH);
    if (size == POLY_EMBEDDING_HASH || size == HASHES)
        memcpy(hash, bytes, POLY_EMBEDDING_HASH);
    if (text == NULL)
        return;
    memset(text, 0, POLY_EMBEDDING_HASH);
    if (size == HASHES)
        memcpy(text, bytes + POLY_EMBEDDING_HASH, POLY_EMBEDDING_HASH);
}

static bool get_text(struct poly_stmt *stmt, int column, struct poly_arena *arena,
                     struct poly_text *text)
{
    *text = poly_stmt_get_text(stmt, column);
    text->data = poly_arena_copy(arena, text->size == 0 ? "" : text->data, text->size);
    return text->data != NULL;
}

/* --- reading --- */

enum poly_status poly_embedding_state_get(struct poly_db *db,
                                          const struct poly_embedding_name *name,
                                          struct poly_arena *arena,
                                          struct poly_embedding_state *state, bool *known,
                                          struct poly_error *err)
{
    struct poly_stmt get;
    enum poly_status status = open(&get, db, state_get, name, err);

    if (status == POLY_OK)
        status = poly_stmt_row(&get, known, err);
    if (status != POLY_OK || !*known)
        return status;
    get_hash(&get, 0, state->shape, NULL);
    state->position = (uint64_t)poly_stmt_get_int(&get, 1);
    state->time = poly_stmt_get_int(&get, 3);
    state->dimensions = (uint32_t)poly_stmt_get_int(&get, 5);
    if (!get_text(&get, 2, arena, &state->error) || !get_text(&get, 4, arena, &state->model))
        status = poly_no_memory(err);
    poly_stmt_close(&get);
    return status;
}

enum poly_status poly_embedding_get(struct poly_db *db, const struct poly_embedding_name *name,
                                    struct poly_embedding_row *row, bool *known,
                                    struct poly_error *err)
{
    struct poly_stmt get;
    enum poly_status status = open_row(&get, db, row_get, name, row, err);

    if (status == POLY_OK)
        status = poly_stmt_row(&get, known, err);
    if (status != POLY_OK || !*known)
        return status;
    row->kind = (enum poly_embedding_kind)poly_stmt_get_int(&get, 0);
    row->position = (uint64_t)poly_stmt_get_int(&get, 1);
    get_hash(&get, 2, row->hash, row->text);
    poly_stmt_close(&get);
    return POLY_OK;
}

static enum poly_status take_rows(struct poly_stmt *get, struct poly_arena *arena,
                                  struct poly_embedding_list *list, struct poly_error *err)
{
    enum poly_status status = POLY_OK;
    bool more = true;

    while (list->count < list->max) {
        struct poly_embedding_row *row = &list->rows[list->count];

        status = poly_stmt_row(get, &more, err);
        if (status != POLY_OK || !more)
            return status;
        row->kind = list->kind;
        row->position = (uint64_t)poly_stmt_get_int(get, 2);
        get_hash(get, 3, row->hash, row->text);
        row->attempts = poly_stmt_get_int(get, 4);
        row->since = poly_stmt_get_int(get, 5);
        if (!get_text(get, 0, arena, &row->tenant) || !get_text(get, 1, arena, &row->key) ||
            !get_text(get, 6, arena, &row->error)) {
            status = poly_no_memory(err);
            break;
        }
        list->count++;
    }
    poly_stmt_close(get);
    return status;
}

static enum poly_status read_list(struct poly_db *db, const char *sql,
                                  const struct poly_embedding_name *name, struct poly_arena *arena,
                                  struct poly_embedding_list *list, struct poly_error *err)
{
    struct poly_stmt get;
    enum poly_status status;

    list->rows = poly_arena_array(arena, list->max, sizeof(*list->rows));
    list->count = 0;
    if (list->rows == NULL)
        return poly_no_memory(err);
    status = open(&get, db, sql, name, err);
    if (status != POLY_OK)
        return status;
    poly_stmt_int(&get, 3, list->kind);
    poly_stmt_int(&get, 4, (int64_t)list->max);
    if (sql == page_get) {
        poly_stmt_text(&get, 5,
                       list->after_tenant.data == NULL ? poly_text("") : list->after_tenant);
        poly_stmt_text(&get, 6, list->after_key.data == NULL ? poly_text("") : list->after_key);
    }
    return take_rows(&get, arena, list, err);
}

enum poly_status poly_embedding_read(struct poly_db *db, const struct poly_embedding_name *name,
                                     struct poly_arena *arena, struct poly_embedding_list *list,
                                     struct poly_error *err)
{
    return read_list(db, list_get, name, arena, list, err);
}

enum poly_status poly_embedding_page(struct poly_db *db, const struct poly_embedding_name *name,
                                     struct poly_arena *arena, struct poly_embedding_list *list,
                                     struct poly_error *err)
{
    return read_list(db, page_get, name, arena, list, err);
}

enum poly_status poly_embedding_count(struct poly_db *db, const struct poly_embedding_name *name,
                                      struct poly_embedding_counts *counts, struct poly_error *err)
{
    struct poly_embedding_counts found = {0, 0, 0};
    struct poly_stmt get;
    bool row = true;
    enum poly_status status = open(&get, db, count_get, name, err);

    while (status == POLY_OK && (status = poly_stmt_row(&get, &row, err)) == POLY_OK && row) {
        uint64_t count = (uint64_t)poly_stmt_get_int(&get, 1);

        if (poly_stmt_get_int(&get, 0) == POLY_EMBEDDING_REFUSED) {
            found.refused = count;
        } else {
            found.waiting = count;
            found.oldest = poly_stmt_get_int(&get, 2);
        }
    }
    if (status == POLY_OK)
        *counts = found;
    return status;
}

/* --- writing --- */

enum poly_status poly_embedding_hold(struct poly_db *db, const struct poly_embedding_name *name,
                                     const uint8_t *shape, struct poly_error *err)
{
    struct poly_stmt stmt;
    int64_t held = 0;
    enum poly_status status = open(&stmt, db, state_hold, name, err);

    if (status != POLY_OK)
        return status;
    poly_stmt_bytes(&stmt, 3, shape, POLY_EMBEDDING_HASH);
    status = poly_stmt_changes(&stmt, &held, err);
    if (status == POLY_OK && held == 0)
        return poly_fail(err, POLY_CONFLICT,
                         "domain '%s': the model of its vectors was changed meanwhile",
                         name->domain.data);
    return status;
}

enum poly_status poly_embedding_begin(struct poly_db *db, const struct poly_embedding_name *name,
                                      const uint8_t *shape, const struct poly_domain_vector *vector,
                                      struct poly_error *err)
{
    struct poly_stmt stmt;
    enum poly_status status = open(&stmt, db, all_drop, name, err);

    if (status == POLY_OK)
        status = poly_stmt_done(&stmt, err);
    if (status == POLY_OK)
        status = open(&stmt, db, state_put, name, err);
    if (status != POLY_OK)
        return status;
    poly_stmt_bytes(&stmt, 3, shape, POLY_EMBEDDING_HASH);
    poly_stmt_text(&stmt, 4, poly_text(vector->model));
    poly_stmt_int(&stmt, 5, vector->dimensions);
    return poly_stmt_done(&stmt, err);
}

enum poly_status poly_embedding_move(struct poly_db *db, const struct poly_embedding_name *name,
                                     uint64_t position, struct poly_error *err)
{
    struct poly_stmt stmt;
    enum poly_status status = open(&stmt, db, state_move, name, err);

    if (status != POLY_OK)
        return status;
    poly_stmt_int(&stmt, 3, (int64_t)position);
    return poly_stmt_done(&stmt, err);
}

enum poly_status poly_embedding_trouble(struct poly_db *db, const struct poly_embedding_name *name,
                                        const char *error, int64_t time, struct poly_error *err)
{
    struct poly_stmt stmt;
    enum poly_status status = open(&stmt, db, state_trouble, name, err);

    if (status != POLY_OK)
        return status;
    poly_stmt_text(&stmt, 3, poly_text(error));
    poly_stmt_int(&stmt, 4, time);
    poly_stmt_bytes(&stmt, 5, "", 0);
    return poly_stmt_done(&stmt, err);
}

enum poly_status poly_embedding_put(struct poly_db *db, const struct poly_embedding_name *name,
                                    const struct poly_embedding_row *row, struct poly_error *err)
{
    uint8_t hashes[HASHES];
    struct poly_stmt stmt;
    enum poly_status status = open_row(&stmt, db, row_put, name, row, err);

    if (status != POLY_OK)
        return status;
    poly_stmt_int(&stmt, 5, row->kind);
    poly_stmt_int(&stmt, 6, (int64_t)row->position);
    memcpy(hashes, row->hash, sizeof(row->hash));
    memcpy(hashes + sizeof(row->hash), row->text, sizeof(row->text));
    poly_stmt_bytes(&stmt, 7, hashes, sizeof(hashes));
    poly_stmt_int(&stmt, 8, row->attempts);
    poly_stmt_int(&stmt, 9, row->since);
    poly_stmt_text(&stmt, 10, row->error.data == NULL ? poly_text("") : row->error);
    return poly_stmt_done(&stmt, err);
}

static enum poly_status change_row(struct poly_db *db, const char *sql,
                                   const struct poly_embedding_name *name,
                                   const struct poly_embedding_row *row, struct poly_error *err)
{
    struct poly_stmt stmt;
    enum poly_status status = open_row(&stmt, db, sql, name, row, err);

    if (status != POLY_OK)
        return status;
    poly_stmt_int(&stmt, 5, (int64_t)row->position);
    return poly_stmt_done(&stmt, err);
}

enum poly_status poly_embedding_drop(struct poly_db *db, const struct poly_embedding_name *name,
                                     const struct poly_embedding_row *row, struct poly_error *err)
{
    return change_row(db, row_drop, name, row, err);
}

enum poly_status poly_embedding_tried(struct poly_db *db, const struct poly_embedding_name *name,
                                      const struct poly_embedding_row *row, struct poly_error *err)
{
    return change_row(db, row_tried, name, row, err);
}

enum poly_status poly_embedding_again(struct poly_db *db, const struct poly_embedding_name *name,
                                      int64_t *count, struct poly_error *err)
{
    struct poly_stmt stmt;
    enum poly_status status = open(&stmt, db, all_again, name, err);

    if (status != POLY_OK)
        return status;
    poly_stmt_int(&stmt, 3, poly_clock_wall());
    return poly_stmt_changes(&stmt, count, err);
}
