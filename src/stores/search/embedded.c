/*
 * The embedded search driver: opening, generations, positions. One and the
 * same in the log's own database and in a file beside it; the difference is
 * who opens the transaction, and stands in this file only.
 */
#include "stores/search/embedded.h"
#include "stores/search/document.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stores/search/embedded_rank.h"

enum { APPLY_MEMORY = 256 * 1024 * 1024 };

static const char sql_begin_write[] = "BEGIN IMMEDIATE";
static const char sql_begin_read[] = "BEGIN";
static const char sql_commit[] = "COMMIT";

static struct poly_embedded *embedded(struct poly_store *store)
{
    return (struct poly_embedded *)store;
}

/* --- open and close --- */

static void close_store(struct poly_store *store)
{
    struct poly_embedded *self = embedded(store);

    if (self == NULL)
        return;
    poly_sqlite_close(self->file);
    while (self->generations != NULL) {
        struct poly_search_generation *next = self->generations->next;

        poly_arena_free(self->generations->arena); /* holds the generation itself */
        self->generations = next;
    }
    poly_arena_free(self->arena);
    pthread_mutex_destroy(&self->writing);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

/* All that is in it can be had from the log again, so a damaged file stops nobody. It is kept for
 * whoever wants to know why. */
static enum poly_status set_aside(struct poly_embedded *self, const char *path,
                                  struct poly_error *err)
{
    char *other = poly_arena_printf(self->arena, "%s.damaged", path);
    char *wal = poly_arena_printf(self->arena, "%s-wal", path);
    char *shm = poly_arena_printf(self->arena, "%s-shm", path);

    if (other == NULL || wal == NULL || shm == NULL)
        return poly_no_memory(err);
    if (rename(path, other) != 0)
        return poly_fail_in(err, POLY_CORRUPT, "the search index is damaged, and cannot be moved");
    unlink(wal);
    unlink(shm);
    return POLY_OK;
}

static enum poly_status open_file(struct poly_embedded *self, const char *data,
                                  struct poly_error *err)
{
    char *path = poly_arena_printf(self->arena, "%s/search.db", data);
    enum poly_status status;

    if (path == NULL)
        return poly_no_memory(err);
    status = poly_sqlite_open(path, POLY_DB_DERIVED, NULL, NULL, &self->file, err);
    if (status == POLY_CORRUPT) {
        status = set_aside(self, path, err);
        if (status == POLY_OK)
            status = poly_sqlite_open(path, POLY_DB_DERIVED, NULL, NULL, &self->file, err);
    }
    poly_arena_reset(self->arena);
    return status;
}

static enum poly_status open_store(const struct poly_store_open *how, struct poly_store **store,
                                   struct poly_error *err)
{
    struct poly_embedded *self = calloc(1, sizeof(*self));
    enum poly_status status = POLY_OK;

    if (self == NULL)
        return poly_no_memory(err);
    self->store.driver = &poly_search_embedded.base;
    self->config = how->config;
    pthread_mutex_init(&self->writing, NULL);
    pthread_mutex_init(&self->lock, NULL);
    self->arena = poly_arena_new(APPLY_MEMORY);
    if (self->arena == NULL)
        status = poly_no_memory(err);
    else if (how->follower)
        status = open_file(self, how->data, err);
    if (status != POLY_OK) {
        close_store(&self->store);
        return status;
    }
    *store = &self->store;
    return POLY_OK;
}

static bool wants(struct poly_store *store, struct poly_text domain)
{
    return poly_document_wants(embedded(store)->config, domain);
}

/* --- transactions --- */

struct job {
    enum poly_status (*run)(struct poly_embedded *self, struct poly_db *db, struct job *job,
                            struct poly_error *err);
    uint64_t generation;
    struct poly_batch *batch;
    uint64_t after; /* numbers beyond it, at most *count */
    uint64_t *number;
    size_t *count;
    const struct poly_search_request *request;
    struct poly_arena *arena;
    struct poly_hits *hits;
};

static enum poly_status run(struct poly_db *db, const char *sql, struct poly_error *err)
{
    sqlite3_stmt *statement = poly_db_prepare(db, sql, err);

    return statement == NULL ? poly_embedded_why(err) : poly_db_done(db, statement, err);
}

/* Ends what BEGIN began. A failed COMMIT may have rolled back by itself. */
static enum poly_status end(struct poly_db *db, enum poly_status status, struct poly_error *err)
{
    if (status == POLY_OK)
        status = run(db, sql_commit, err);
    if (status != POLY_OK)
        poly_db_roll_back(db);
    return status;
}

/* Co-located: in the caller's transaction. Following: in one of our own. */
static enum poly_status write_job(struct poly_embedded *self, struct poly_db *db, struct job *job,
                                  struct poly_error *err)
{
    enum poly_status status;

    pthread_mutex_lock(&self->writing);
    if (self->file == NULL) {
        status = job->run(self, db, job, err);
    } else {
        db = poly_sqlite_writer(self->file);
        poly_db_roll_back(db); /* what the last one had no memory to roll back */
        status = run(db, sql_begin_write, err);
        if (status == POLY_OK)
            status = end(db, job->run(self, db, job, err), err);
    }
    poly_arena_reset(self->arena);
    pthread_mutex_unlock(&self->writing);
    return status;
}

static enum poly_status read_job(struct poly_embedded *self, struct poly_db *db, struct job *job,
                                 struct poly_error *err)
{
    enum poly_status status;

    if (self->file == NULL)
        return job->run(self, db, job, err);
    db = poly_sqlite_take(self->file, err);
    if (db == NULL)
        return poly_embedded_why(err);
    status = run(db, sql_begin_read, err);
    if (status == POLY_OK)
        status = end(db, job->run(self, db, job, err), err);
    poly_sqlite_give(self->file, db);
    return status;
}

/* --- the calls --- */

static enum poly_status run_prepare(struct poly_embedded *self, struct poly_db *db, struct job *job,
                                    struct poly_error *err)
{
    return poly_generation_make(self, db, job->generation, err);
}

static enum poly_status run_drop(struct poly_embedded *self, struct poly_db *db, struct job *job,
                                 struct poly_error *err)
{
    return poly_generation_drop(self, db, job->generation, err);
}

static enum poly_status run_apply(struct poly_embedded *self, struct poly_db *db, struct job *job,
                                  struct poly_error *err)
{
    const struct poly_search_generation *generation;
    enum poly_status status = poly_generation_find(self, db, job->generation, &generation, err);

    return status == POLY_OK ? poly_embedded_apply(self, db, generation, job->batch, err) : status;
}

/* One number that a statement without parameters gives. */
static enum poly_status read_number(struct poly_db *db, const char *sql, uint64_t *number,
                                    struct poly_error *err)
{
    sqlite3_stmt *statement = poly_db_prepare(db, sql, err);
    bool row = false;
    enum poly_status status;

    if (statement == NULL)
        return poly_embedded_why(err);
    status = poly_db_row(db, statement, &row, err);
    if (status == POLY_OK && !row)
        return poly_fail(err, POLY_CORRUPT, "search: the index has lost its position");
    if (status == POLY_OK)
        *number = (uint64_t)sqlite3_column_int64(statement, 0);
    sqlite3_reset(statement);
    return status;
}

static enum poly_status run_applied(struct poly_embedded *self, struct poly_db *db, struct job *job,
                                    struct poly_error *err)
{
    const struct poly_search_generation *generation;
    enum poly_status status = poly_generation_find(self, db, job->generation, &generation, err);

    return status == POLY_OK ? read_number(db, generation->applied, job->number, err) : status;
}

static enum poly_status run_count(struct poly_embedded *self, struct poly_db *db, struct job *job,
                                  struct poly_error *err)
{
    const struct poly_search_generation *generation;
    enum poly_status status = poly_generation_find(self, db, job->generation, &generation, err);

    return status == POLY_OK ? read_number(db, generation->total, job->number, err) : status;
}

static enum poly_status run_positions(struct poly_embedded *self, struct poly_db *db,
                                      struct job *job, struct poly_error *err)
{
    const struct poly_search_generation *generation;
    enum poly_status status = poly_generation_find(self, db, job->generation, &generation, err);
    size_t max = *job->count;
    sqlite3_stmt *statement;
    bool row = true;

    if (status != POLY_OK)
        return status;
    statement = poly_db_prepare(db, generation->positions, err);
    if (statement == NULL)
        return poly_embedded_why(err);
    sqlite3_bind_int64(statement, 1, (sqlite3_int64)job->after);
    sqlite3_bind_int64(statement, 2, (sqlite3_int64)max);
    *job->count = 0;
    while ((status = poly_db_row(db, statement, &row, err)) == POLY_OK && row)
        job->number[(*job->count)++] = (uint64_t)sqlite3_column_int64(statement, 0);
    sqlite3_reset(statement);
    return status;
}

static enum poly_status run_find(struct poly_embedded *self, struct poly_db *db, struct job *job,
                                 struct poly_error *err)
{
    const struct poly_search_generation *generation;
    enum poly_status status = poly_rank_setup(db, err);

    if (status == POLY_OK)
        status = poly_generation_find(self, db, job->generation, &generation, err);
    if (status != POLY_OK)
        return status;
    return poly_embedded_find(self, generation, db, job->request, job->arena, job->hits, err);
}

static enum poly_status prepare(struct poly_store *store, struct poly_db *db, uint64_t generation,
                                struct poly_error *err)
{
    struct job job = {.run = run_prepare, .generation = generation};

    return write_job(embedded(store), db, &job, err);
}

static enum poly_status drop(struct poly_store *store, struct poly_db *db, uint64_t generation,
                             struct poly_error *err)
{
    struct job job = {.run = run_drop, .generation = generation};

    return write_job(embedded(store), db, &job, err);
}

static enum poly_status apply(struct poly_store *store, struct poly_db *db, uint64_t generation,
                              struct poly_batch *batch, struct poly_error *err)
{
    struct job job = {.run = run_apply, .generation = generation, .batch = batch};
    enum poly_status status;

    batch->failed = 0;
    batch->temporary = false;
    status = write_job(embedded(store), db, &job, err);
    if (batch->failed == 0)
        batch->temporary =
            status == POLY_UNAVAILABLE || status == POLY_NO_MEMORY || status == POLY_TIMEOUT;
    return status;
}

static enum poly_status applied(struct poly_store *store, struct poly_db *db, uint64_t generation,
                                uint64_t *position, struct poly_error *err)
{
    struct job job = {.run = run_applied, .generation = generation, .number = position};

    return read_job(embedded(store), db, &job, err);
}

static enum poly_status count(struct poly_store *store, struct poly_db *db, uint64_t generation,
                              uint64_t *documents, struct poly_error *err)
{
    struct job job = {.run = run_count, .generation = generation, .number = documents};

    return read_job(embedded(store), db, &job, err);
}

static enum poly_status positions(struct poly_store *store, uint64_t generation, uint64_t after,
                                  uint64_t *list, size_t max, size_t *count, struct poly_error *err)
{
    struct job job = {.run = run_positions,
                      .generation = generation,
                      .after = after,
                      .number = list,
                      .count = count};

    *count = max;
    return read_job(embedded(store), NULL, &job, err);
}

static enum poly_status search(const struct poly_projected *projected,
                               const struct poly_search_request *request, struct poly_arena *arena,
                               struct poly_hits *hits, struct poly_error *err)
{
    struct job job = {.run = run_find,
                      .generation = projected->generation,
                      .request = request,
                      .arena = arena,
                      .hits = hits};

    return read_job(embedded(projected->store), projected->db, &job, err);
}

static const struct poly_capability capabilities[] = {
    {"co-located", true, "in the log's own database, or in a file of its own"},
    {"rank", true, "BM25"},
    {"long-documents", true, "every word, every phrase"},
    {"snippet", true, "FTS5: also beginnings of sentences"},
    {"paths-of-filters", true, "also counted from the end (`[#-1]`)"},
    {NULL, false, NULL},
};

const struct poly_search_driver poly_search_embedded = {
    .base = {.store = "search",
             .name = "embedded",
             .capabilities = capabilities,
             .can_colocate = true,
             .open = open_store,
             .close = close_store,
             .shape = poly_document_shape,
             .wants = wants,
             .prepare = prepare,
             .drop = drop,
             .applied = applied,
             .apply = apply,
             .count = count,
             .positions = positions},
    .search = search,
};
