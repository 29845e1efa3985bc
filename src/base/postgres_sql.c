/*
 * A statement of base/sql.h is a set of parameters, then a result that is
 * walked row by row. Those that are closed wait on the connection for the next
 * one, so that a statement allocates nothing of ours.
 */
#include "base/postgres_sql.h"

#include <ctype.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/buffer.h"

/* --- texts --- */

enum { BUCKETS = 512, TEXT_MAX = 1 << 20 };

struct text {
    struct text *next;
    const char *from;
    char *to;
};

struct poly_pg_texts {
    pthread_rwlock_t lock;
    struct text *buckets[BUCKETS];
};

struct poly_pg_texts *poly_pg_texts_new(void)
{
    struct poly_pg_texts *self = calloc(1, sizeof(*self));

    if (self != NULL)
        pthread_rwlock_init(&self->lock, NULL);
    return self;
}

void poly_pg_texts_free(struct poly_pg_texts *texts)
{
    if (texts == NULL)
        return;
    for (size_t i = 0; i < BUCKETS; i++) {
        struct text *next;

        for (struct text *t = texts->buckets[i]; t != NULL; t = next) {
            next = t->next;
            free(t->to);
            free(t);
        }
    }
    pthread_rwlock_destroy(&texts->lock);
    free(texts);
}

static bool in_name(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '.' || c == '"';
}

/* NULL: out of memory. */
static char *translate(const char *sql)
{
    struct poly_buffer out;
    bool quoted = false;
    char *text;

    poly_buffer_init(&out, TEXT_MAX);
    for (const char *c = sql; *c != '\0'; c++) {
        if (*c == '\'')
            quoted = !quoted;
        if (!quoted && c[0] == '?' && isdigit((unsigned char)c[1])) {
            poly_buffer_char(&out, '$');
        } else if (!quoted && strncmp(c, "poly_", 5) == 0 && (c == sql || !in_name(c[-1]))) {
            poly_buffer_text(&out, "poly.");
            c += 4;
        } else {
            poly_buffer_char(&out, *c);
        }
    }
    text = poly_buffer_ok(&out) ? strndup(out.data, out.size) : NULL;
    poly_buffer_release(&out);
    return text;
}

static const char *find(const struct text *t, const char *sql)
{
    while (t != NULL && t->from != sql)
        t = t->next;
    return t == NULL ? NULL : t->to;
}

const char *poly_pg_text_of(struct poly_pg_texts *texts, const char *sql)
{
    struct text **bucket =
        &texts->buckets[((uintptr_t)sql * 0x9e3779b97f4a7c15ULL >> 32) % BUCKETS];
    const char *found;
    struct text *made;

    pthread_rwlock_rdlock(&texts->lock);
    found = find(*bucket, sql);
    pthread_rwlock_unlock(&texts->lock);
    if (found != NULL)
        return found;
    made = calloc(1, sizeof(*made));
    if (made == NULL || (made->to = translate(sql)) == NULL) {
        free(made);
        return NULL;
    }
    pthread_rwlock_wrlock(&texts->lock);
    found = find(*bucket, sql);
    if (found == NULL) {
        made->from = sql;
        made->next = *bucket;
        *bucket = made;
        found = made->to;
    } else { /* another thread was faster */
        free(made->to);
        free(made);
    }
    pthread_rwlock_unlock(&texts->lock);
    return found;
}

/* --- a connection --- */

struct run {
    struct run *next; /* of those that are closed */
    const char *sql;
    struct poly_pg_params params;
    PGresult *result; /* NULL: not run yet */
    int row;          /* the next is this one */
};

struct pg_db {
    struct poly_db base;
    struct poly_pg *pg;
    struct poly_pg_texts *texts;
    struct poly_pg_pool *pool;
    struct run *idle;
};

static const struct poly_sql_engine engine;

static struct pg_db *of(const struct poly_db *db)
{
    poly_assert(db->engine == &engine);
    return (struct pg_db *)(uintptr_t)db;
}

struct poly_pg_pool *poly_pg_db_pool(const struct poly_db *db)
{
    return of(db)->pool;
}

struct poly_db *poly_pg_db_new(struct poly_pg *pg, struct poly_pg_texts *texts,
                               struct poly_pg_pool *pool)
{
    struct pg_db *self = calloc(1, sizeof(*self));

    if (self == NULL)
        return NULL;
    self->base.engine = &engine;
    self->pg = pg;
    self->texts = texts;
    self->pool = pool;
    return &self->base;
}

void poly_pg_db_free(struct poly_db *db)
{
    struct run *next;

    if (db == NULL)
        return;
    for (struct run *run = of(db)->idle; run != NULL; run = next) {
        next = run->next;
        free(run);
    }
    free(of(db));
}

struct poly_pg *poly_pg_of(const struct poly_db *db)
{
    return of(db)->pg;
}

/* --- base/sql.h --- */

/* Without parameters and tables of ours: BEGIN, SAVEPOINT and the like. */
static enum poly_status pg_exec(struct poly_db *db, const char *sql, struct poly_error *err)
{
    return poly_pg_exec(of(db)->pg, sql, err);
}

static void pg_roll_back(struct poly_db *db)
{
    poly_pg_roll_back(of(db)->pg);
}

static bool pg_in_transaction(const struct poly_db *db)
{
    return !poly_pg_lost(of(db)->pg) && poly_pg_in_transaction(of(db)->pg);
}

/* The connection has its deadline, which ends what runs. */
static void pg_interrupt(struct poly_db *db)
{
    (void)db;
}

static enum poly_status pg_open(struct poly_stmt *stmt, const char *sql, struct poly_error *err)
{
    struct pg_db *self = of(stmt->db);
    const char *text = poly_pg_text_of(self->texts, sql);
    struct run *run = self->idle;

    if (run != NULL)
        self->idle = run->next;
    else
        run = calloc(1, sizeof(*run));
    if (run == NULL)
        return poly_no_memory(err);
    run->sql = text;
    run->result = NULL;
    run->row = 0;
    poly_pg_params(&run->params);
    stmt->statement = run;
    if (text != NULL)
        return POLY_OK;
    poly_stmt_close(stmt);
    return poly_no_memory(err);
}

static void pg_bind(struct poly_stmt *stmt, int index, const struct poly_value *value)
{
    struct run *run = stmt->statement;

    poly_assert(index >= 1 && index <= POLY_PG_PARAMS);
    while (run->params.count < index)
        poly_pg_add_null(&run->params);
    run->params.all[index - 1].value = *value;
}

/* Those at the end that were not given are null. */
static enum poly_status start(struct poly_stmt *stmt, struct poly_error *err)
{
    struct run *run = stmt->statement;
    long wanted = 0;

    for (const char *c = strchr(run->sql, '$'); c != NULL; c = strchr(c + 1, '$')) {
        long number = strtol(c + 1, NULL, 10);

        wanted = number > wanted ? number : wanted;
    }
    while (run->params.count < wanted)
        poly_pg_add_null(&run->params);
    return poly_pg_run(of(stmt->db)->pg, run->sql, &run->params, &run->result, err);
}

static enum poly_status pg_row(struct poly_stmt *stmt, bool *row, struct poly_error *err)
{
    struct run *run = stmt->statement;

    if (run->result == NULL) {
        enum poly_status status = start(stmt, err);

        if (status != POLY_OK)
            return status;
    }
    *row = run->row < PQntuples(run->result);
    run->row += *row;
    return POLY_OK;
}

static int64_t pg_changes(struct poly_stmt *stmt)
{
    struct run *run = stmt->statement;

    return poly_pg_changed(run->result);
}

static struct poly_value pg_column(struct poly_stmt *stmt, int column)
{
    struct run *run = stmt->statement;
    struct poly_value value;
    struct poly_error ignored;

    if (poly_pg_value(run->result, run->row - 1, column, NULL, &value, &ignored) != POLY_OK)
        return poly_null();
    return value;
}

static void pg_close(struct poly_stmt *stmt)
{
    struct pg_db *self = of(stmt->db);
    struct run *run = stmt->statement;

    PQclear(run->result);
    run->result = NULL;
    run->next = self->idle;
    self->idle = run;
}

static const struct poly_sql_engine engine = {.kind = POLY_POSTGRESQL,
                                              .exec = pg_exec,
                                              .roll_back = pg_roll_back,
                                              .in_transaction = pg_in_transaction,
                                              .interrupt = pg_interrupt,
                                              .open = pg_open,
                                              .bind = pg_bind,
                                              .row = pg_row,
                                              .changes = pg_changes,
                                              .column = pg_column,
                                              .close = pg_close};

const PGresult *poly_pg_stmt_result(const struct poly_stmt *stmt, int *row)
{
    const struct run *run = stmt->statement;

    *row = run->row - 1;
    return run->result;
}
