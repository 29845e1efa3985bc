/* SQL, the same for both owners. */
#include "core/filling.h"

#include <stdio.h>
#include <string.h>

#define NAME " WHERE domain = ?1 AND name = ?2"

static const char get[] =
    "SELECT model, dimensions, embedder, runs, field, pause FROM poly_model_filling" NAME;
static const char put[] =
    "INSERT INTO poly_model_filling(domain, name, field, embedder, model, dimensions, runs,"
    " pause) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0) ON CONFLICT (domain, name) DO UPDATE"
    " SET field = ?3, embedder = ?4, model = ?5, dimensions = ?6, runs = ?7, pause = 0";
static const char pause_put[] = "UPDATE poly_model_filling SET pause = ?3" NAME;
static const char drop[] = "DELETE FROM poly_model_filling" NAME;
static const char touch[] = "UPDATE poly_model_next SET time = time WHERE domain = ?1";
static const char change_get[] = "SELECT coalesce(max(change), 0) FROM poly_model" NAME;
static const char queue_drop[] = "DELETE FROM poly_embedding" NAME;
static const char state_drop[] = "DELETE FROM poly_embedding_state" NAME;
static const char queue_name[] = "UPDATE poly_embedding SET name = ?3" NAME;
static const char state_name[] = "UPDATE poly_embedding_state SET name = ?3" NAME;
static const char vector_drop[] = "DELETE FROM poly_model_vector WHERE domain = ?1 AND field = ?2"
                                  " AND old = 0 AND tenant = ?3 AND key = ?4 AND of <= ?5";

static enum poly_status open(struct poly_stmt *stmt, struct poly_db *db, const char *sql,
                             const char *domain, const char *of, struct poly_error *err)
{
    enum poly_status status = poly_stmt_open(stmt, db, sql, err);

    if (status != POLY_OK)
        return status;
    poly_stmt_text(stmt, 1, poly_text(domain));
    poly_stmt_text(stmt, 2, poly_text(of));
    return POLY_OK;
}

static enum poly_status run(struct poly_db *db, const char *sql, const char *domain, const char *of,
                            struct poly_error *err)
{
    struct poly_stmt stmt;
    enum poly_status status = open(&stmt, db, sql, domain, of, err);

    return status == POLY_OK ? poly_stmt_done(&stmt, err) : status;
}

void poly_filling_name(const struct poly_domain_vector *vector, char name[POLY_FILLING_NAME])
{
    snprintf(name, POLY_FILLING_NAME, "%s$next", vector->name); /* no vector is called so */
}

static const char *copy(struct poly_arena *arena, struct poly_text text)
{
    return poly_arena_copy(arena, text.size == 0 ? "" : text.data, text.size);
}

enum poly_status poly_filling_get(struct poly_db *db, const char *domain, const char *name,
                                  struct poly_arena *arena, struct poly_filling *filling,
                                  bool *known, struct poly_error *err)
{
    struct poly_stmt stmt;
    bool row = false;
    enum poly_status status = open(&stmt, db, get, domain, name, err);

    if (status == POLY_OK)
        status = poly_stmt_row(&stmt, &row, err);
    if (status != POLY_OK)
        return status;
    *known = row;
    if (!row)
        return POLY_OK;
    *filling = (struct poly_filling){.model = copy(arena, poly_stmt_get_text(&stmt, 0)),
                                     .embedder = copy(arena, poly_stmt_get_text(&stmt, 2)),
                                     .field = copy(arena, poly_stmt_get_text(&stmt, 4)),
                                     .dimensions = (uint32_t)poly_stmt_get_int(&stmt, 1),
                                     .runs = poly_stmt_get_int(&stmt, 3) != 0,
                                     .pause = poly_stmt_get_int(&stmt, 5)};
    poly_stmt_close(&stmt);
    return filling->model == NULL || filling->embedder == NULL || filling->field == NULL
               ? poly_no_memory(err)
               : POLY_OK;
}

enum poly_status poly_filling_hold(struct poly_db *db, const char *domain,
                                   const struct poly_domain_vector *shape, bool *held,
                                   struct poly_error *err)
{
    struct poly_stmt stmt;
    bool row = false;
    enum poly_status status = poly_stmt_open(&stmt, db, touch, err);

    if (status != POLY_OK)
        return status;
    poly_stmt_text(&stmt, 1, poly_text(domain));
    status = poly_stmt_done(&stmt, err);
    if (status == POLY_OK)
        status = open(&stmt, db, change_get, domain, shape->name, err);
    if (status == POLY_OK)
        status = poly_stmt_row(&stmt, &row, err);
    if (status != POLY_OK || !row)
        return status;
    *held = poly_stmt_get_int(&stmt, 0) == shape->change;
    poly_stmt_close(&stmt);
    return POLY_OK;
}

enum poly_status poly_filling_put(struct poly_db *db, const char *domain, const char *name,
                                  const struct poly_filling *filling, struct poly_error *err)
{
    struct poly_stmt stmt;
    enum poly_status status = open(&stmt, db, put, domain, name, err);

    if (status != POLY_OK)
        return status;
    poly_stmt_text(&stmt, 3, poly_text(filling->field));
    poly_stmt_text(&stmt, 4, poly_text(filling->embedder));
    poly_stmt_text(&stmt, 5, poly_text(filling->model));
    poly_stmt_int(&stmt, 6, filling->dimensions);
    poly_stmt_int(&stmt, 7, filling->runs);
    return poly_stmt_done(&stmt, err);
}

enum poly_status poly_filling_pause(struct poly_db *db, const char *domain, const char *name,
                                    int64_t until, struct poly_error *err)
{
    struct poly_stmt stmt;
    enum poly_status status = open(&stmt, db, pause_put, domain, name, err);

    if (status != POLY_OK)
        return status;
    poly_stmt_int(&stmt, 3, until);
    return poly_stmt_done(&stmt, err);
}

enum poly_status poly_filling_drop(struct poly_db *db, const char *domain,
                                   const struct poly_domain_vector *vector, struct poly_error *err)
{
    char next[POLY_FILLING_NAME];
    enum poly_status status = run(db, drop, domain, vector->name, err);

    poly_filling_name(vector, next);
    if (status == POLY_OK)
        status = run(db, state_drop, domain, next, err);
    return status == POLY_OK ? run(db, queue_drop, domain, next, err) : status;
}

static enum poly_status rename_queue(struct poly_db *db, const char *domain, const char *from,
                                     const char *to, struct poly_error *err)
{
    const char *const steps[] = {state_name, queue_name};
    enum poly_status status = POLY_OK;

    for (size_t i = 0; i < 2 && status == POLY_OK; i++) {
        struct poly_stmt stmt;

        status = open(&stmt, db, steps[i], domain, from, err);
        if (status != POLY_OK)
            return status;
        poly_stmt_text(&stmt, 3, poly_text(to));
        status = poly_stmt_done(&stmt, err);
    }
    return status;
}

enum poly_status poly_filling_exchange(struct poly_db *db, const char *domain,
                                       const struct poly_domain_vector *vector,
                                       struct poly_error *err)
{
    static const char aside[] = "$aside";
    char next[POLY_FILLING_NAME];
    enum poly_status status = rename_queue(db, domain, vector->name, aside, err);

    poly_filling_name(vector, next);
    if (status == POLY_OK)
        status = rename_queue(db, domain, next, vector->name, err);
    return status == POLY_OK ? rename_queue(db, domain, aside, next, err) : status;
}

enum poly_status poly_filling_remove(struct poly_db *db, const char *domain, const char *field,
                                     const struct poly_filling_vector *vector,
                                     struct poly_error *err)
{
    struct poly_stmt stmt;
    enum poly_status status = open(&stmt, db, vector_drop, domain, field, err);

    if (status != POLY_OK)
        return status;
    poly_stmt_text(&stmt, 3, vector->tenant.data == NULL ? poly_text("") : vector->tenant);
    poly_stmt_text(&stmt, 4, vector->key);
    poly_stmt_int(&stmt, 5, (int64_t)vector->version);
    return poly_stmt_done(&stmt, err);
}
