/*
 * A generation is a few tables, and what it says of itself: which domains it
 * holds, and how. So what it holds always fits its own words, whatever
 * polystore.yaml says by now.
 */
#include <string.h>

#include "base/json.h"
#include "base/limits.h"
#include "followers/postgresql.h"

enum { ARENA_MAX = 64 * 1024 * 1024 };

/* '~': the number of the lock for upgrades; '^': of who applies. */
static const char *const templates[POLY_FOLLOWER_SQL_COUNT] = {
    [POLY_FOLLOWER_TABLES] =
        "SELECT pg_advisory_xact_lock(~, 0);"
        "CREATE SCHEMA IF NOT EXISTS #;"
        /* one row: who applies, and since which of those who did */
        "CREATE TABLE IF NOT EXISTS #.store(one bool PRIMARY KEY DEFAULT true CHECK (one),"
        " format int NOT NULL, instance bytea NOT NULL, fence bigint NOT NULL DEFAULT 0,"
        " holder text NOT NULL DEFAULT '', backend int NOT NULL DEFAULT 0,"
        " seen timestamptz NOT NULL DEFAULT now(), wanted text NOT NULL DEFAULT '',"
        " wanted_at timestamptz NOT NULL DEFAULT now());"
        "CREATE TABLE IF NOT EXISTS #.generation(number bigint PRIMARY KEY,"
        " applied bigint NOT NULL);",
    [POLY_FOLLOWER_CLAIM] = "INSERT INTO #.store(format, instance) VALUES ($1, $2)"
                            " ON CONFLICT DO NOTHING",
    [POLY_FOLLOWER_WHOSE] =
        "SELECT format, instance, current_setting('server_encoding') FROM #.store",
    [POLY_FOLLOWER_ADD] = "INSERT INTO #.generation VALUES ($1, 0)",
    [POLY_FOLLOWER_REMOVE] = "DELETE FROM #.generation WHERE number = $1",
    [POLY_FOLLOWER_REMOVE_DOMAINS] = "DELETE FROM #.domain WHERE generation = $1",
    /* and each of its tables is there: see make_texts() */
    [POLY_FOLLOWER_APPLIED] = "SELECT applied FROM #.generation WHERE number = $1",
    [POLY_FOLLOWER_HOLD] = "SELECT fence FROM #.store FOR SHARE",
    [POLY_FOLLOWER_HOLD_POSITION] = "SELECT applied FROM #.generation WHERE number = $1 FOR UPDATE",
    [POLY_FOLLOWER_SET_APPLIED] = "UPDATE #.generation SET applied = $2 WHERE number = $1",
    /* the lock; else, whether the holder has not been heard of, and another one is waiting */
    [POLY_FOLLOWER_TRY] = "SELECT pg_try_advisory_lock(^, 0) FROM #.store"
                          " WHERE wanted IN ('', $1) OR wanted_at < now() - interval '5 s'",
    [POLY_FOLLOWER_TAKE] =
        "UPDATE #.store SET fence = fence + 1, holder = $1, backend = pg_backend_pid(),"
        " seen = clock_timestamp(), wanted = '' RETURNING fence",
    [POLY_FOLLOWER_STILL] = "UPDATE #.store SET seen = clock_timestamp() WHERE fence = $1 RETURNING"
                            " wanted NOT IN ('', $2) AND wanted_at > now() - interval '5 s'",
    [POLY_FOLLOWER_WANT] = "UPDATE #.store SET wanted = $1, wanted_at = clock_timestamp()",
    [POLY_FOLLOWER_NEXT_NUMBER] =
        "SELECT coalesce(max(number), 0)::bigint + 1 FROM #.domain WHERE generation = $1",
    [POLY_FOLLOWER_MARK] =
        "SELECT coalesce(sum(number + since), 0)::bigint FROM #.domain WHERE generation = $1",
    [POLY_FOLLOWER_END_LOST] =
        "SELECT pg_terminate_backend(l.pid) FROM #.store AS s JOIN pg_locks AS l"
        " ON l.locktype = 'advisory' AND l.classid = ^ AND l.objid = 0 AND l.objsubid = 2"
        " AND l.granted AND l.database = (SELECT oid FROM pg_database WHERE datname ="
        " current_database()) WHERE s.seen < clock_timestamp() - interval '5 s'",
};

/* --- SQL from templates --- */

static void expand(const struct poly_follower *self, struct poly_buffer *out, const char *template,
                   uint64_t number)
{
    for (const char *s = template; *s != '\0'; s++) {
        if (*s == '@')
            poly_buffer_printf(out, "%llu", (unsigned long long)number);
        else if (*s == '#')
            poly_buffer_text(out, self->kind->schema);
        else if (*s == '~' || *s == '^')
            poly_buffer_printf(out, "%d", self->kind->lock + (*s == '^'));
        else
            poly_buffer_char(out, *s);
    }
}

static const char *keep(struct poly_arena *arena, struct poly_buffer *text)
{
    const char *sql = poly_buffer_ok(text) ? poly_arena_copy(arena, text->data, text->size) : NULL;

    poly_buffer_release(text);
    return sql;
}

const char *poly_follower_text(const struct poly_follower *self, struct poly_arena *arena,
                               uint64_t number, const char *template)
{
    struct poly_buffer out;

    poly_buffer_init(&out, POLY_MAX_SQL);
    expand(self, &out, template, number);
    return keep(arena, &out);
}

static enum poly_status make_texts(struct poly_follower *self, struct poly_error *err)
{
    for (int i = 0; i < POLY_FOLLOWER_SQL_COUNT; i++) {
        struct poly_buffer out;

        poly_buffer_init(&out, POLY_MAX_SQL);
        expand(self, &out, templates[i], 0);
        for (const char *const *part = self->kind->parts;
             i == POLY_FOLLOWER_APPLIED && *part != NULL; part++)
            poly_buffer_printf(&out, " AND to_regclass('%s.%s_' || number) IS NOT NULL",
                               self->kind->schema, *part);
        if (i == POLY_FOLLOWER_TABLES)
            expand(self, &out, self->kind->tables, 0);
        self->sql[i] = keep(self->texts, &out);
        if (self->sql[i] == NULL)
            return poly_no_memory(err);
    }
    return POLY_OK;
}

static enum poly_status exec(struct poly_follower *self, struct poly_pg *pg, const char *template,
                             uint64_t number, struct poly_error *err)
{
    struct poly_buffer sql;
    enum poly_status status;

    poly_buffer_init(&sql, POLY_MAX_SQL);
    expand(self, &sql, template, number);
    status = poly_buffer_ok(&sql) ? poly_pg_exec(pg, sql.data, err) : poly_no_memory(err);
    poly_buffer_release(&sql);
    return status;
}

/* --- the schema --- */

static enum poly_status check_schema(const struct poly_follower *self, const PGresult *row,
                                     struct poly_error *err)
{
    const char *store = self->kind->driver->store, *schema = self->kind->schema;
    struct poly_text id = poly_pg_bytes(row, 0, 1);

    if (strcmp(poly_pg_text(row, 0, 2).data, "UTF8") != 0)
        return poly_fail(err, POLY_UNSUPPORTED,
                         "%s: the database has the encoding %.40s; it must be UTF8", store,
                         poly_pg_text(row, 0, 2).data);
    if (poly_pg_int(row, 0, 0) != self->kind->format)
        return poly_fail(err, POLY_CORRUPT, "%s: schema %s has format %lld, this version knows %d",
                         store, schema, (long long)poly_pg_int(row, 0, 0), self->kind->format);
    if (id.size != sizeof(self->instance) || memcmp(id.data, self->instance, id.size) != 0)
        return poly_fail(err, POLY_CONFLICT,
                         "%s: schema %s of this database is another instance's; name a database "
                         "of its own in stores.%s.url, or drop the schema",
                         store, schema, store);
    return POLY_OK;
}

static enum poly_status make_schema(struct poly_follower *self, struct poly_pg *pg,
                                    struct poly_error *err)
{
    struct poly_pg_params params;
    PGresult *row = NULL;
    enum poly_status status = poly_pg_exec(pg, self->sql[POLY_FOLLOWER_TABLES], err);

    poly_pg_params(&params);
    poly_pg_add_int(&params, self->kind->format);
    poly_pg_add_bytes(&params, self->instance, sizeof(self->instance));
    if (status == POLY_OK)
        status = poly_pg_done(pg, self->sql[POLY_FOLLOWER_CLAIM], &params, NULL, err);
    if (status == POLY_OK)
        status = poly_pg_run(pg, self->sql[POLY_FOLLOWER_WHOSE], NULL, &row, err);
    if (status == POLY_OK)
        status = check_schema(self, row, err);
    PQclear(row);
    return status;
}

enum poly_status poly_follower_schema(struct poly_follower *self, struct poly_pg *pg,
                                      struct poly_error *err)
{
    enum poly_status status = make_texts(self, err);

    if (status == POLY_OK)
        status = poly_pg_begin(pg, POLY_PG_COMMITTED, false, err);
    if (status == POLY_OK)
        status = make_schema(self, pg, err);
    if (status == POLY_OK)
        return poly_pg_commit(pg, err);
    poly_pg_roll_back(pg);
    return status;
}

/* --- making and dropping --- */

static enum poly_status is_there(const struct poly_follower *self, struct poly_pg *pg,
                                 uint64_t number, bool *there, struct poly_error *err)
{
    struct poly_pg_params params;
    PGresult *rows;
    enum poly_status status;

    poly_pg_params(&params);
    poly_pg_add_int(&params, (int64_t)number);
    status = poly_pg_run(pg, self->sql[POLY_FOLLOWER_APPLIED], &params, &rows, err);
    if (status != POLY_OK)
        return status;
    *there = PQntuples(rows) > 0;
    PQclear(rows);
    return POLY_OK;
}

static enum poly_status on_number(struct poly_pg *pg, const char *sql, uint64_t number,
                                  struct poly_error *err)
{
    struct poly_pg_params params;

    poly_pg_params(&params);
    poly_pg_add_int(&params, (int64_t)number);
    return poly_pg_done(pg, sql, &params, NULL, err);
}

enum poly_status poly_follower_make(struct poly_follower *self, struct poly_pg *pg, uint64_t number,
                                    struct poly_error *err)
{
    bool there = false;
    enum poly_status status = is_there(self, pg, number, &there, err);

    if (status != POLY_OK || there)
        return status;
    status = poly_follower_remove(self, pg, number, err); /* what somebody has left of it */
    if (status == POLY_OK)
        status = exec(self, pg, self->kind->make, number, err);
    if (status == POLY_OK)
        status = on_number(pg, self->sql[POLY_FOLLOWER_ADD], number, err);
    return status == POLY_OK ? poly_follower_describe(self, pg, number, err) : status;
}

void poly_follower_forget(struct poly_follower *self, uint64_t number)
{
    pthread_mutex_lock(&self->lock);
    for (struct poly_follower_generation *g = self->generations; g != NULL; g = g->next)
        g->dropped = g->dropped || g->number == number;
    pthread_mutex_unlock(&self->lock);
}

static enum poly_status remove_tables(struct poly_follower *self, struct poly_pg *pg,
                                      uint64_t number, struct poly_error *err)
{
    struct poly_buffer sql;
    enum poly_status status;

    poly_buffer_init(&sql, POLY_MAX_SQL);
    for (const char *const *part = self->kind->parts; *part != NULL; part++)
        poly_buffer_printf(&sql, "DROP TABLE IF EXISTS %s.%s_%llu CASCADE;", self->kind->schema,
                           *part, (unsigned long long)number);
    status = poly_buffer_ok(&sql) ? poly_pg_exec(pg, sql.data, err) : poly_no_memory(err);
    poly_buffer_release(&sql);
    return status;
}

enum poly_status poly_follower_remove(struct poly_follower *self, struct poly_pg *pg,
                                      uint64_t number, struct poly_error *err)
{
    enum poly_status status = remove_tables(self, pg, number, err);

    if (status == POLY_OK)
        status = on_number(pg, self->sql[POLY_FOLLOWER_REMOVE_DOMAINS], number, err);
    if (status == POLY_OK)
        status = on_number(pg, self->sql[POLY_FOLLOWER_REMOVE], number, err);
    if (status == POLY_OK)
        poly_follower_forget(self, number);
    return status;
}

/* --- loading --- */

enum poly_status poly_follower_names(struct poly_arena *arena, struct poly_text json,
                                     const char *const **names, size_t *size,
                                     struct poly_error *err)
{
    json_t *array;
    const char **list;
    enum poly_status status = poly_json_parse(json.data, json.size, &array, err);

    if (status != POLY_OK)
        return status;
    list = poly_arena_array(arena, json_array_size(array) + 1, sizeof(*list));
    for (size_t i = 0; list != NULL && i < json_array_size(array) && status == POLY_OK; i++) {
        json_t *name = json_array_get(array, i);

        list[i] = poly_arena_copy(arena, json_string_value(name), json_string_length(name));
        if (list[i] == NULL)
            status = poly_no_memory(err);
    }
    *names = list;
    *size = json_array_size(array);
    json_decref(array);
    return list == NULL ? poly_no_memory(err) : status;
}

static enum poly_status none(const struct poly_follower *self, uint64_t number,
                             struct poly_error *err)
{
    return poly_fail(err, POLY_NOT_FOUND, "%s: there is no generation %llu",
                     self->kind->driver->store, (unsigned long long)number);
}

static enum poly_status load_source(struct poly_follower *self, struct poly_follower_generation *g,
                                    const PGresult *rows, int row, struct poly_error *err)
{
    struct poly_text name = poly_pg_text(rows, row, 1), from = poly_pg_text(rows, row, 2);
    struct poly_follower_source *source = poly_arena_alloc(g->arena, self->kind->source_size);

    if (source == NULL)
        return poly_no_memory(err);
    g->sources[row] = source;
    source->number = poly_pg_int(rows, row, 0);
    source->name = poly_arena_copy(g->arena, name.data, name.size);
    source->source = poly_arena_copy(g->arena, from.data, from.size);
    source->stream = poly_pg_bool(rows, row, 3);
    source->tenants = poly_pg_bool(rows, row, 4);
    source->since = 0;
    source->until = UINT64_MAX;
    if (source->name == NULL || source->source == NULL)
        return poly_no_memory(err);
    return self->kind->load_source(self, g, source, rows, row, err);
}

/* One ends where the next of its name begins. */
static void set_ends(struct poly_follower_generation *g)
{
    for (size_t i = 0; i < g->source_count; i++) {
        struct poly_follower_source *a = g->sources[i];

        for (size_t j = 0; j < g->source_count; j++) {
            const struct poly_follower_source *b = g->sources[j];

            if (b->since > a->since && b->since < a->until && strcmp(a->name, b->name) == 0)
                a->until = b->since;
        }
    }
}

static enum poly_status load_sources(struct poly_follower *self, struct poly_pg *pg,
                                     struct poly_follower_generation *g, struct poly_error *err)
{
    struct poly_pg_params params;
    PGresult *rows;
    enum poly_status status;

    poly_pg_params(&params);
    poly_pg_add_int(&params, (int64_t)g->number);
    status = poly_pg_run(pg, self->kind->sources, &params, &rows, err);
    if (status != POLY_OK)
        return status;
    g->source_count = (size_t)PQntuples(rows);
    g->sources = poly_arena_array(g->arena, g->source_count + 1, sizeof(*g->sources));
    if (g->sources == NULL)
        status = poly_no_memory(err);
    for (int i = 0; i < PQntuples(rows) && status == POLY_OK; i++)
        status = load_source(self, g, rows, i, err);
    if (status == POLY_OK)
        set_ends(g);
    PQclear(rows);
    return status;
}

/* The generation's own memory holds the generation too: one free gives all back. */
static enum poly_status load(struct poly_follower *self, struct poly_pg *pg, uint64_t number,
                             struct poly_follower_generation **generation, struct poly_error *err)
{
    struct poly_arena *arena = poly_arena_new(ARENA_MAX);
    struct poly_follower_generation *g =
        arena == NULL ? NULL : poly_arena_alloc(arena, self->kind->size);
    bool there = false;
    enum poly_status status;

    if (g == NULL) {
        poly_arena_free(arena);
        return poly_no_memory(err);
    }
    g->arena = arena;
    g->number = number;
    g->forms = poly_arena_alloc(arena, sizeof(*g->forms));
    g->count = poly_follower_text(self, arena, number, self->kind->count);
    g->positions = poly_follower_text(self, arena, number, self->kind->positions);
    if (g->forms == NULL || g->count == NULL || g->positions == NULL) {
        poly_arena_free(arena);
        return poly_no_memory(err);
    }
    status = is_there(self, pg, number, &there, err);
    if (status == POLY_OK && !there)
        status = none(self, number, err);
    if (status == POLY_OK)
        status = load_sources(self, pg, g, err);
    if (status == POLY_OK)
        status = self->kind->load(self, pg, g, err);
    if (status == POLY_OK)
        *generation = g;
    else
        poly_arena_free(arena);
    return status;
}

enum poly_status poly_follower_find(struct poly_follower *self, struct poly_pg *pg, uint64_t number,
                                    const struct poly_follower_generation **generation,
                                    struct poly_error *err)
{
    struct poly_follower_generation *g;
    enum poly_status status = POLY_OK;

    pthread_mutex_lock(&self->lock);
    g = self->generations;
    while (g != NULL && (g->number != number || g->dropped))
        g = g->next;
    if (g == NULL) {
        status = load(self, pg, number, &g, err);
        if (status == POLY_OK) {
            g->next = self->generations;
            self->generations = g;
        }
    }
    pthread_mutex_unlock(&self->lock);
    if (status == POLY_OK)
        *generation = g;
    return status;
}

enum poly_status poly_follower_again(struct poly_follower *self, struct poly_pg *pg,
                                     const struct poly_follower_generation **generation,
                                     struct poly_error *err)
{
    uint64_t number = (*generation)->number;

    poly_follower_forget(self, number);
    return poly_follower_find(self, pg, number, generation, err);
}

const char *poly_follower_form(struct poly_follower *self,
                               const struct poly_follower_generation *generation, const char *sql)
{
    struct poly_follower_forms *forms = generation->forms;
    const char *text = NULL;

    pthread_mutex_lock(&self->lock);
    for (size_t i = 0; i < forms->count && text == NULL; i++)
        if (strcmp(forms->texts[i], sql) == 0)
            text = forms->texts[i];
    if (text == NULL && forms->count < POLY_FOLLOWER_FORMS) {
        text = poly_arena_copy(generation->arena, sql, strlen(sql));
        if (text != NULL)
            forms->texts[forms->count++] = text;
    }
    pthread_mutex_unlock(&self->lock);
    return text;
}

enum poly_status poly_follower_gone(const struct poly_follower *self, const struct poly_pg *pg,
                                    uint64_t number, enum poly_status status,
                                    struct poly_error *err)
{
    if (status == POLY_OK || strcmp(poly_pg_state(pg), "42P01") != 0)
        return status;
    return none(self, number, err);
}
