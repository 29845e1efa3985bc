/*
 * A generation is a set of tables whose names begin with poly_search_NUMBER_.
 * It says itself what it indexes (…_domain, …_column), so that an index always
 * fits its own words, whatever polystore.yaml says by now. A domain's tables
 * bear a number, not its name: FTS5 makes tables of its own beside each
 * (…_data, …_idx), and no name that a user picks may run into one.
 *
 * The SQL of a generation is built once and kept until the store is closed,
 * because connections cache statements by the address of their text.
 *
 * In the templates '@' is the generation, '#' the domain's number, '~' a list of columns.
 */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "stores/search/embedded.h"

enum { ARENA_MAX = 64 * 1024 * 1024 };
/* What a name in …_column is: of what is searched, filtered by; of what holds both. */
enum column { FIELD, FILTER, IN };

static const char sql_exists[] = "SELECT 1 FROM sqlite_master WHERE type='table' AND name=?1";

static const char sql_make[] =
    "CREATE TABLE poly_search_@_state(id INTEGER PRIMARY KEY CHECK(id=1),"
    " applied INTEGER NOT NULL);"
    "INSERT INTO poly_search_@_state VALUES(1,0);"
    "CREATE TABLE poly_search_@_domain(number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,"
    " source TEXT NOT NULL, stream INTEGER NOT NULL, tenants INTEGER NOT NULL,"
    " tokenizer TEXT NOT NULL, language TEXT NOT NULL);"
    "CREATE TABLE poly_search_@_column(domain INTEGER NOT NULL, filter INTEGER NOT NULL,"
    " place INTEGER NOT NULL, name TEXT NOT NULL, PRIMARY KEY(domain,filter,place)) WITHOUT ROWID;"
    "CREATE TABLE poly_search_@_tenant(number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);"
    /* deleted: the row stays, so that a late change finds it and stops. */
    "CREATE TABLE poly_search_@_document(id INTEGER PRIMARY KEY, domain INTEGER NOT NULL,"
    " tenant INTEGER NOT NULL, key TEXT NOT NULL, position INTEGER NOT NULL,"
    " version INTEGER NOT NULL, deleted INTEGER NOT NULL, UNIQUE(domain,tenant,key));"
    "CREATE TABLE poly_search_@_stats(domain INTEGER NOT NULL, tenant INTEGER NOT NULL,"
    " documents INTEGER NOT NULL, words INTEGER NOT NULL, PRIMARY KEY(domain,tenant))"
    " WITHOUT ROWID;";
static const char sql_make_text[] =
    "CREATE VIRTUAL TABLE poly_search_@_text_# USING fts5(~, tokenize='";
static const char sql_make_filter[] =
    "CREATE TABLE poly_search_@_filter_#(id INTEGER PRIMARY KEY~)";
static const char sql_add_domain[] =
    "INSERT INTO poly_search_@_domain VALUES(?1,?2,?3,?4,?5,?6,?7)";
static const char sql_add_column[] = "INSERT INTO poly_search_@_column VALUES(?1,?2,?3,?4)";
static const char sql_find_domain[] = "SELECT number FROM poly_search_@_domain WHERE name=?1";
static const char sql_next_number[] = "SELECT coalesce(max(number),0)+1 FROM poly_search_@_domain";
static const char sql_remove_domain[] =
    "DELETE FROM poly_search_@_domain WHERE number=?1 AND name=?2";
static const char sql_forget_domain[] = "DELETE FROM poly_search_@_domain WHERE number=#";
static const char sql_take_out[] =
    "DELETE FROM poly_search_@_document WHERE domain=#; DELETE FROM poly_search_@_stats"
    " WHERE domain=#; DELETE FROM poly_search_@_column WHERE domain=#;";
static const char sql_domains[] = "SELECT number,name,source,stream,tenants,tokenizer"
                                  " FROM poly_search_@_domain ORDER BY number";
static const char sql_columns[] =
    "SELECT name FROM poly_search_@_column WHERE domain=?1 AND filter=?2 ORDER BY place";
static const char sql_drop_index[] =
    "DROP TABLE poly_search_@_text_#; DROP TABLE IF EXISTS poly_search_@_filter_#;";
static const char sql_drop[] = "DROP TABLE poly_search_@_state; DROP TABLE poly_search_@_domain;"
                               "DROP TABLE poly_search_@_column; DROP TABLE poly_search_@_tenant;"
                               "DROP TABLE poly_search_@_document; DROP TABLE poly_search_@_stats;";

static const char sql_applied[] = "SELECT applied FROM poly_search_@_state";
static const char sql_set_applied[] = "UPDATE poly_search_@_state SET applied=?1";
static const char sql_find_tenant[] = "SELECT number FROM poly_search_@_tenant WHERE name=?1";
static const char sql_add_tenant[] =
    "INSERT INTO poly_search_@_tenant(name) VALUES(?1) RETURNING number";
static const char sql_last_document[] =
    "SELECT max(id) FROM poly_search_@_document WHERE id BETWEEN ?1 AND ?2";
/* '~': one row of parameters, or several */
static const char sql_add_document[] =
    "INSERT INTO poly_search_@_document(id,domain,tenant,key,position,version,deleted)"
    " VALUES~ ON CONFLICT(domain,tenant,key) DO NOTHING";
static const char sql_find_document[] = "SELECT id,position,deleted FROM poly_search_@_document"
                                        " WHERE domain=?1 AND tenant=?2 AND key=?3";
static const char sql_change_document[] =
    "UPDATE poly_search_@_document SET position=?2,version=?3,deleted=?4 WHERE id=?1";
static const char sql_document[] = "SELECT key,version FROM poly_search_@_document WHERE id=?1";
static const char sql_stats[] =
    "SELECT documents,words FROM poly_search_@_stats WHERE domain=?1 AND tenant=?2";
static const char sql_add_stats[] =
    "INSERT INTO poly_search_@_stats VALUES(?1,?2,?3,?4) ON CONFLICT(domain,tenant)"
    " DO UPDATE SET documents=documents+excluded.documents, words=words+excluded.words";
static const char sql_positions[] = "SELECT DISTINCT position FROM poly_search_@_document"
                                    " WHERE position>?1 ORDER BY position LIMIT ?2";
static const char sql_total[] = "SELECT coalesce(sum(documents),0) FROM poly_search_@_stats";

static const char sql_insert[] = "INSERT INTO poly_search_@_text_#(rowid~";
static const char sql_remove[] = "DELETE FROM poly_search_@_text_# WHERE rowid=?1";
static const char sql_texts[] = "SELECT * FROM poly_search_@_text_# WHERE rowid=?1";
static const char sql_lengths[] =
    "SELECT sz FROM poly_search_@_text_#_docsize WHERE id BETWEEN ?1 AND ?2";
static const char sql_put_filters[] = "REPLACE INTO poly_search_@_filter_#(id~";
static const char sql_remove_filters[] = "DELETE FROM poly_search_@_filter_# WHERE id=?1";
static const char sql_rank[] =
    "SELECT rowid, poly_search_rank(poly_search_@_text_#, ?4) FROM poly_search_@_text_#"
    " WHERE poly_search_@_text_# MATCH ?1 AND rowid BETWEEN ?2 AND ?3";
/* CROSS: the text is matched first, whatever the planner thinks of the filters. */
static const char sql_rank_filtered[] =
    "SELECT poly_search_@_text_#.rowid, poly_search_rank(poly_search_@_text_#, ?4)"
    " FROM poly_search_@_text_# CROSS JOIN poly_search_@_filter_# AS f"
    " ON f.id = poly_search_@_text_#.rowid"
    " WHERE poly_search_@_text_# MATCH ?1 AND poly_search_@_text_#.rowid BETWEEN ?2 AND ?3";
static const char sql_count[] = "SELECT count(*) FROM poly_search_@_text_#"
                                " WHERE poly_search_@_text_# MATCH ?1 AND rowid BETWEEN ?2 AND ?3";
static const char sql_mark[] =
    "SELECT snippet(poly_search_@_text_#, -1, ?3, ?4, '…', ?5)~ FROM poly_search_@_text_#"
    " WHERE poly_search_@_text_# MATCH ?1 AND rowid = ?2";

/* --- SQL from templates --- */

static void expand(struct poly_buffer *out, const char *template, uint64_t generation,
                   int64_t index, const char *list)
{
    for (const char *s = template; *s != '\0'; s++) {
        if (*s == '@')
            poly_buffer_printf(out, "%llu", (unsigned long long)generation);
        else if (*s == '#')
            poly_buffer_printf(out, "%lld", (long long)index);
        else if (*s == '~')
            poly_buffer_text(out, list);
        else
            poly_buffer_char(out, *s);
    }
}

/* NULL when out of memory; then *failed is set too. */
static const char *build(struct poly_search_generation *g, const char *template, int64_t index,
                         const char *list, bool *failed)
{
    struct poly_buffer out;
    const char *sql = NULL;

    poly_buffer_init(&out, POLY_MAX_SQL);
    expand(&out, template, g->number, index, list);
    if (poly_buffer_ok(&out))
        sql = poly_arena_copy(g->arena, out.data, out.size);
    poly_buffer_release(&out);
    *failed = *failed || sql == NULL;
    return sql;
}

static enum poly_status exec(struct poly_db *db, uint64_t generation, const char *template,
                             int64_t index, struct poly_error *err)
{
    struct poly_buffer out;
    enum poly_status status;

    poly_buffer_init(&out, POLY_MAX_SQL);
    expand(&out, template, generation, index, "");
    status = poly_buffer_ok(&out) ? poly_db_exec(db, out.data, err) : poly_no_memory(err);
    poly_buffer_release(&out);
    return status;
}

/* A statement that is used once: not cached, its text may go. Finalize it; NULL on failure. */
static enum poly_status prepare(struct poly_db *db, uint64_t generation, const char *template,
                                sqlite3_stmt **statement, struct poly_error *err)
{
    struct poly_buffer out;
    int code = SQLITE_NOMEM;

    *statement = NULL;
    poly_buffer_init(&out, POLY_MAX_SQL);
    expand(&out, template, generation, 0, "");
    if (poly_buffer_ok(&out))
        code = sqlite3_prepare_v2(poly_db_handle(db), out.data, -1, statement, NULL);
    poly_buffer_release(&out);
    return code == SQLITE_OK ? POLY_OK : poly_db_fail(db, code, "search: index", err);
}

/* --- making and dropping --- */

static enum poly_status exists(struct poly_db *db, uint64_t generation, bool *there,
                               struct poly_error *err)
{
    sqlite3_stmt *statement = poly_db_prepare(db, sql_exists, err);
    char name[64];
    enum poly_status status;

    if (statement == NULL)
        return poly_embedded_why(err);
    snprintf(name, sizeof(name), "poly_search_%llu_state", (unsigned long long)generation);
    sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC);
    status = poly_db_row(db, statement, there, err);
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return status;
}

static enum poly_status add_name(struct poly_db *db, sqlite3_stmt *statement, int64_t number,
                                 enum column column, size_t place, const char *name,
                                 struct poly_error *err)
{
    sqlite3_bind_int64(statement, 1, number);
    sqlite3_bind_int(statement, 2, (int)column);
    sqlite3_bind_int64(statement, 3, (sqlite3_int64)place);
    poly_bind_text(statement, 4, poly_text(name));
    return poly_db_done(db, statement, err);
}

static enum poly_status add_names(struct poly_db *db, uint64_t generation, int64_t number,
                                  const struct poly_domain_search *search, struct poly_error *err)
{
    sqlite3_stmt *statement;
    enum poly_status status = prepare(db, generation, sql_add_column, &statement, err);

    for (size_t i = 0; i < search->field_count && status == POLY_OK; i++)
        status = add_name(db, statement, number, FIELD, i, search->fields[i].name, err);
    for (size_t i = 0; i < search->filter_count && status == POLY_OK; i++)
        status = add_name(db, statement, number, FILTER, i, search->filters[i], err);
    if (status == POLY_OK && search->in != NULL)
        status = add_name(db, statement, number, IN, 0, search->in, err);
    sqlite3_finalize(statement);
    return status;
}

static enum poly_status add_domain(struct poly_db *db, uint64_t generation, int64_t number,
                                   const struct poly_domain *domain, const char *name,
                                   struct poly_error *err)
{
    sqlite3_stmt *statement;
    enum poly_status status = prepare(db, generation, sql_add_domain, &statement, err);

    if (status != POLY_OK)
        return status;
    sqlite3_bind_int64(statement, 1, number);
    poly_bind_text(statement, 2, poly_text(name));
    poly_bind_text(statement, 3, poly_text(domain->stream == NULL ? domain->name : domain->stream));
    sqlite3_bind_int(statement, 4, domain->stream != NULL);
    sqlite3_bind_int(statement, 5, domain->tenant != NULL);
    poly_bind_text(statement, 6, poly_text(domain->search.tokenizer));
    poly_bind_text(statement, 7, poly_text(domain->search.language));
    status = poly_db_done(db, statement, err);
    sqlite3_finalize(statement);
    return status == POLY_OK ? add_names(db, generation, number, &domain->search, err) : status;
}

static const char *tokenizer_of(const struct poly_domain_search *search)
{
    if (strcmp(search->tokenizer, "trigram") == 0)
        return "trigram";
    return strcmp(search->language, "english") == 0 ? "porter unicode61 remove_diacritics 2"
                                                    : "unicode61 remove_diacritics 2";
}

static void list_columns(struct poly_buffer *out, const char *prefix, size_t count)
{
    for (size_t i = 0; i < count; i++)
        poly_buffer_printf(out, "%s%s%zu", i == 0 && prefix[0] == 'c' ? "" : ", ", prefix, i);
}

/* The statements that make a domain's tables. */
static void print_index(struct poly_buffer *sql, uint64_t generation, int64_t number,
                        const struct poly_domain_search *search)
{
    struct poly_buffer fields, filters;

    poly_buffer_init(&fields, POLY_MAX_SQL);
    poly_buffer_init(&filters, POLY_MAX_SQL);
    list_columns(&fields, "c", search->field_count);
    list_columns(&filters, "f", search->filter_count);
    if (poly_buffer_ok(&fields) && poly_buffer_ok(&filters)) {
        expand(sql, sql_make_text, generation, number, fields.data);
        poly_buffer_printf(sql, "%s');", tokenizer_of(search));
        if (search->filter_count > 0)
            expand(sql, sql_make_filter, generation, number, filters.data);
    } else {
        sql->failed = true;
    }
    poly_buffer_release(&fields);
    poly_buffer_release(&filters);
}

static enum poly_status make_index(struct poly_db *db, uint64_t generation, int64_t number,
                                   const struct poly_domain *domain, const char *name,
                                   struct poly_error *err)
{
    struct poly_buffer sql;
    enum poly_status status;

    poly_assert(domain->search.field_count <= POLY_MAX_SEARCH_FIELDS);
    poly_buffer_init(&sql, POLY_MAX_SQL);
    print_index(&sql, generation, number, &domain->search);
    status = poly_buffer_ok(&sql) ? poly_db_exec(db, sql.data, err) : poly_no_memory(err);
    poly_buffer_release(&sql);
    return status == POLY_OK ? add_domain(db, generation, number, domain, name, err) : status;
}

/* Forgets what is known of a generation, without giving its texts back. */
static void retire(struct poly_embedded *self, uint64_t number)
{
    pthread_mutex_lock(&self->lock);
    for (struct poly_search_generation *g = self->generations; g != NULL; g = g->next)
        g->dropped = g->dropped || g->number == number;
    pthread_mutex_unlock(&self->lock);
}

enum poly_status poly_generation_make(struct poly_embedded *self, struct poly_db *db,
                                      uint64_t number, struct poly_error *err)
{
    const struct poly_config *config = self->config;
    bool there = false;
    enum poly_status status = exists(db, number, &there, err);

    if (status != POLY_OK || there)
        return status;
    retire(self, number);
    status = exec(db, number, sql_make, 0, err);
    for (size_t i = 0; i < config->domain_count && status == POLY_OK; i++)
        if (config->domains[i].search.field_count > 0)
            status = make_index(db, number, (int64_t)i + 1, &config->domains[i],
                                config->domains[i].name, err);
    return status;
}

static enum poly_status next_number(struct poly_db *db, uint64_t generation, int64_t *number,
                                    struct poly_error *err)
{
    sqlite3_stmt *statement;
    bool row = false;
    enum poly_status status = prepare(db, generation, sql_next_number, &statement, err);

    if (status != POLY_OK)
        return status;
    status = poly_db_row(db, statement, &row, err);
    if (row)
        *number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return status;
}

enum poly_status poly_generation_take_up(const struct poly_search_generation *generation,
                                         struct poly_db *db, const struct poly_domain *domain,
                                         const char *name, int64_t *number, struct poly_error *err)
{
    enum poly_status status = next_number(db, generation->number, number, err);

    return status == POLY_OK ? make_index(db, generation->number, *number, domain, name, err)
                             : status;
}

enum poly_status poly_generation_take_out(const struct poly_search_generation *generation,
                                          struct poly_db *db, const struct poly_search_index *index,
                                          struct poly_error *err)
{
    uint64_t number = generation->number;
    sqlite3_stmt *statement;
    bool there = false;
    enum poly_status status = prepare(db, number, sql_remove_domain, &statement, err);

    if (status != POLY_OK)
        return status;
    sqlite3_bind_int64(statement, 1, index->number);
    poly_bind_text(statement, 2, poly_text(index->label));
    status = poly_db_done(db, statement, err);
    there = status == POLY_OK && sqlite3_changes64(poly_db_handle(db)) > 0;
    sqlite3_finalize(statement);
    if (there)
        status = exec(db, number, sql_take_out, index->number, err);
    return there && status == POLY_OK ? exec(db, number, sql_drop_index, index->number, err)
                                      : status;
}

/* All that the database has: what is in memory may be of a transaction that was rolled back. */
static enum poly_status drop_indexes(const struct poly_search_generation *g, struct poly_db *db,
                                     struct poly_error *err)
{
    int64_t numbers[POLY_MAX_DOMAINS + POLY_MAX_COLLECTIONS];
    size_t count = 0, room = sizeof(numbers) / sizeof(numbers[0]);
    sqlite3_stmt *statement;
    bool row = true;
    enum poly_status status;

    do {
        count = 0;
        status = prepare(db, g->number, sql_domains, &statement, err);
        while (status == POLY_OK && count < room &&
               (status = poly_db_row(db, statement, &row, err)) == POLY_OK && row)
            numbers[count++] = sqlite3_column_int64(statement, 0);
        sqlite3_finalize(statement);
        for (size_t i = 0; i < count && status == POLY_OK; i++) {
            status = exec(db, g->number, sql_drop_index, numbers[i], err);
            if (status == POLY_OK)
                status = exec(db, g->number, sql_forget_domain, numbers[i], err);
        }
    } while (status == POLY_OK && count == room);
    return status;
}

enum poly_status poly_generation_drop(struct poly_embedded *self, struct poly_db *db,
                                      uint64_t number, struct poly_error *err)
{
    const struct poly_search_generation *g;
    bool there = false;
    enum poly_status status = exists(db, number, &there, err);

    if (status != POLY_OK || !there)
        return status;
    status = poly_generation_find(self, db, number, &g, err);
    status = status == POLY_OK ? drop_indexes(g, db, err) : status;
    if (status == POLY_OK)
        status = exec(db, number, sql_drop, 0, err);
    if (status == POLY_OK)
        retire(self, number);
    return status;
}

/* --- loading --- */

static enum poly_status load_names(struct poly_search_generation *g, struct poly_db *db,
                                   int64_t index, enum column column,
                                   struct poly_extract_names *names, struct poly_error *err)
{
    const char *list[POLY_MAX_COLUMNS];
    size_t count = 0;
    bool row = true;
    sqlite3_stmt *statement;
    const char **copy;
    enum poly_status status = prepare(db, g->number, sql_columns, &statement, err);

    if (status != POLY_OK)
        return status;
    sqlite3_bind_int64(statement, 1, index);
    sqlite3_bind_int(statement, 2, (int)column);
    while ((status = poly_db_row(db, statement, &row, err)) == POLY_OK && row &&
           count < (column == FILTER ? POLY_MAX_COLUMNS : POLY_MAX_SEARCH_FIELDS)) {
        struct poly_text name = poly_column_text(statement, 0);

        list[count] = poly_arena_copy(g->arena, name.data, name.size);
        if (list[count++] == NULL)
            status = poly_no_memory(err);
    }
    sqlite3_finalize(statement);
    copy = poly_arena_array(g->arena, count + 1, sizeof(*copy));
    if (status != POLY_OK || copy == NULL)
        return status != POLY_OK ? status : poly_no_memory(err);
    if (count > 0)
        memcpy(copy, list, count * sizeof(*copy));
    if (column == IN) {
        names->in = count > 0 ? list[0] : NULL;
        return POLY_OK;
    }
    *(column == FILTER ? &names->filters : &names->fields) = copy;
    *(column == FILTER ? &names->filter_count : &names->field_count) = count;
    return POLY_OK;
}

static const struct poly_domain *configured(const struct poly_config *config, const char *name)
{
    for (size_t i = 0; i < config->domain_count; i++)
        if (strcmp(config->domains[i].name, name) == 0)
            return &config->domains[i];
    return NULL;
}

static enum poly_status load_weights(struct poly_search_generation *g,
                                     const struct poly_domain *domain,
                                     struct poly_search_index *index, struct poly_error *err)
{
    double *weights = poly_arena_array(g->arena, index->names.field_count + 1, sizeof(double));

    if (weights == NULL)
        return poly_no_memory(err);
    for (size_t i = 0; i < index->names.field_count; i++) {
        weights[i] = 1;
        for (size_t j = 0; domain != NULL && j < domain->search.field_count; j++)
            if (strcmp(domain->search.fields[j].name, index->names.fields[i]) == 0)
                weights[i] = domain->search.fields[j].weight;
    }
    index->weights = weights;
    return POLY_OK;
}

/* ", c0, c1) VALUES(?1, ?2, ?3)" */
static void list_values(struct poly_buffer *list, const char *prefix, size_t count)
{
    for (size_t i = 0; i < count; i++)
        poly_buffer_printf(list, ",%s%zu", prefix, i);
    poly_buffer_text(list, ") VALUES(?1");
    for (size_t i = 0; i < count; i++)
        poly_buffer_printf(list, ",?%zu", i + 2);
    poly_buffer_char(list, ')');
}

static void list_marks(const struct poly_search_generation *g,
                       const struct poly_search_index *index, struct poly_buffer *list)
{
    for (size_t i = 0; i < index->names.field_count; i++)
        poly_buffer_printf(list,
                           ", iif(poly_search_columns(poly_search_%llu_text_%lld) & %llu,"
                           " highlight(poly_search_%llu_text_%lld, %zu, ?3, ?4), NULL)",
                           (unsigned long long)g->number, (long long)index->number, 1ULL << i,
                           (unsigned long long)g->number, (long long)index->number, i);
}

/* With a list that was printed into the buffer, which is then empty again. */
static const char *build_with(struct poly_search_generation *g, const char *template, int64_t index,
                              struct poly_buffer *list, bool *failed)
{
    const char *sql = NULL;

    if (poly_buffer_ok(list))
        sql = build(g, template, index, list->data, failed);
    *failed = *failed || sql == NULL;
    poly_buffer_clear(list);
    return sql;
}

static enum poly_status build_index(struct poly_search_generation *g,
                                    struct poly_search_index *index, struct poly_error *err)
{
    struct poly_buffer list;
    bool failed = false;

    poly_buffer_init(&list, POLY_MAX_SQL);
    list_values(&list, "c", index->names.field_count);
    index->insert = build_with(g, sql_insert, index->number, &list, &failed);
    list_values(&list, "f", index->names.filter_count);
    index->put_filters = build_with(g, sql_put_filters, index->number, &list, &failed);
    list_marks(g, index, &list);
    index->mark = build_with(g, sql_mark, index->number, &list, &failed);
    index->remove = build(g, sql_remove, index->number, "", &failed);
    index->texts = build(g, sql_texts, index->number, "", &failed);
    index->lengths = build(g, sql_lengths, index->number, "", &failed);
    index->remove_filters = build(g, sql_remove_filters, index->number, "", &failed);
    index->rank = build(g, sql_rank, index->number, "", &failed);
    index->rank_filtered = build(g, sql_rank_filtered, index->number, "", &failed);
    index->count = build(g, sql_count, index->number, "", &failed);
    poly_buffer_release(&list);
    return failed ? poly_no_memory(err) : POLY_OK;
}

static enum poly_status load_index(const struct poly_embedded *self,
                                   struct poly_search_generation *g, struct poly_db *db,
                                   struct poly_search_index *index, struct poly_error *err)
{
    const struct poly_domain *domain =
        index->is_made ? index->made : configured(self->config, index->name);
    enum poly_status status = load_names(g, db, index->number, FIELD, &index->names, err);

    if (status == POLY_OK)
        status = load_names(g, db, index->number, FILTER, &index->names, err);
    if (status == POLY_OK)
        status = load_names(g, db, index->number, IN, &index->names, err);
    if (status == POLY_OK)
        status = load_weights(g, domain, index, err);
    if (status == POLY_OK)
        status = build_index(g, index, err);
    return status;
}

static enum poly_status read_index(const struct poly_embedded *self,
                                   struct poly_search_generation *g, sqlite3_stmt *statement,
                                   struct poly_error *err)
{
    struct poly_search_index *index = poly_arena_alloc(g->arena, sizeof(*index));
    struct poly_text name = poly_column_text(statement, 1);
    struct poly_text source = poly_column_text(statement, 2);

    if (index == NULL)
        return poly_no_memory(err);
    index->number = sqlite3_column_int64(statement, 0);
    index->label = poly_arena_copy(g->arena, name.data, name.size);
    source = poly_column_text(statement, 2);
    index->source = poly_arena_copy(g->arena, source.data, source.size);
    index->stream = sqlite3_column_int(statement, 3) != 0;
    index->tenants = sqlite3_column_int(statement, 4) != 0;
    index->trigram = strcmp(poly_column_text(statement, 5).data, "trigram") == 0;
    if (index->label == NULL || index->source == NULL)
        return poly_no_memory(err);
    index->is_made = poly_generation_is_made(index->label, self->config, &index->made);
    index->name = index->is_made ? index->source : index->label;
    g->indexes[g->index_count++] = index;
    return POLY_OK;
}

static enum poly_status load_indexes(const struct poly_embedded *self,
                                     struct poly_search_generation *g, struct poly_db *db,
                                     struct poly_error *err)
{
    sqlite3_stmt *statement;
    bool row = true;
    enum poly_status status = prepare(db, g->number, sql_domains, &statement, err);

    if (status != POLY_OK)
        return status;
    while (status == POLY_OK && (status = poly_db_row(db, statement, &row, err)) == POLY_OK &&
           row && g->index_count < POLY_MAX_DOMAINS + POLY_MAX_COLLECTIONS_MADE)
        status = read_index(self, g, statement, err);
    sqlite3_finalize(statement);
    for (size_t i = 0; i < g->index_count && status == POLY_OK; i++)
        status = load_index(self, g, db, g->indexes[i], err);
    return status;
}

/* What it is indexed by is its definition's: that never changes. */
static bool take_names(struct poly_search_generation *g, const struct poly_domain_search *search,
                       struct poly_extract_names *names)
{
    const char **fields = poly_arena_array(g->arena, search->field_count, sizeof(*fields));

    if (fields == NULL)
        return false;
    for (size_t i = 0; i < search->field_count; i++)
        fields[i] = search->fields[i].name;
    *names = (struct poly_extract_names){.in = search->in,
                                         .fields = fields,
                                         .field_count = search->field_count,
                                         .filters = search->filters,
                                         .filter_count = search->filter_count};
    return true;
}

enum poly_status poly_generation_add(struct poly_search_generation *generation,
                                     const struct poly_domain *domain, int64_t number,
                                     const struct poly_search_index **index, struct poly_error *err)
{
    struct poly_search_index *made = poly_arena_alloc(generation->arena, sizeof(*made));
    char *label = poly_arena_printf(generation->arena, "%s+%llu", domain->name,
                                    (unsigned long long)domain->made->since);
    enum poly_status status;

    if (generation->index_count == sizeof(generation->indexes) / sizeof(generation->indexes[0]))
        return poly_fail(err, POLY_LIMIT, "search: too many collections were made since the start");
    if (made == NULL || label == NULL || !take_names(generation, &domain->search, &made->names))
        return poly_no_memory(err);
    made->number = number;
    made->is_made = true;
    made->made = domain;
    made->label = label;
    made->name = made->source = domain->name;
    made->tenants = domain->tenant != NULL;
    made->trigram = strcmp(domain->search.tokenizer, "trigram") == 0;
    status = load_weights(generation, domain, made, err);
    if (status == POLY_OK)
        status = build_index(generation, made, err);
    if (status != POLY_OK)
        return status;
    generation->indexes[generation->index_count] = made;
    atomic_fetch_add(&generation->index_count, 1);
    *index = made;
    return POLY_OK;
}

/* "(?1,?2,?3,?4,?5,?6,?7),(?8, …" */
static const char *build_rows(struct poly_search_generation *g, int rows, bool *failed)
{
    struct poly_buffer list;
    const char *sql;

    poly_buffer_init(&list, POLY_MAX_SQL);
    for (int i = 1; i <= rows * POLY_SEARCH_COLUMNS; i++) {
        bool first = i % POLY_SEARCH_COLUMNS == 1, last = i % POLY_SEARCH_COLUMNS == 0;

        poly_buffer_printf(&list, "%s?%d%s", !first ? "," : i == 1 ? "(" : ",(", i,
                           last ? ")" : "");
    }
    sql = build_with(g, sql_add_document, 0, &list, failed);
    poly_buffer_release(&list);
    return sql;
}

static enum poly_status build_generation(struct poly_search_generation *g, struct poly_error *err)
{
    bool failed = false;

    g->applied = build(g, sql_applied, 0, "", &failed);
    g->set_applied = build(g, sql_set_applied, 0, "", &failed);
    g->find_tenant = build(g, sql_find_tenant, 0, "", &failed);
    g->add_tenant = build(g, sql_add_tenant, 0, "", &failed);
    g->last_document = build(g, sql_last_document, 0, "", &failed);
    g->add_document = build_rows(g, 1, &failed);
    g->add_documents = build_rows(g, POLY_SEARCH_ROWS, &failed);
    g->find_document = build(g, sql_find_document, 0, "", &failed);
    g->change_document = build(g, sql_change_document, 0, "", &failed);
    g->document = build(g, sql_document, 0, "", &failed);
    g->stats = build(g, sql_stats, 0, "", &failed);
    g->add_stats = build(g, sql_add_stats, 0, "", &failed);
    g->total = build(g, sql_total, 0, "", &failed);
    g->positions = build(g, sql_positions, 0, "", &failed);
    g->find_domain = build(g, sql_find_domain, 0, "", &failed);
    return failed ? poly_no_memory(err) : POLY_OK;
}

/* The generation's own memory holds the generation too: one free gives all back. */
static enum poly_status load(const struct poly_embedded *self, struct poly_db *db, uint64_t number,
                             struct poly_search_generation **generation, struct poly_error *err)
{
    struct poly_arena *arena = poly_arena_new(ARENA_MAX);
    struct poly_search_generation *g = arena == NULL ? NULL : poly_arena_alloc(arena, sizeof(*g));
    bool there = false;
    enum poly_status status;

    if (g == NULL) {
        poly_arena_free(arena);
        return poly_no_memory(err);
    }
    g->arena = arena;
    g->number = number;
    status = exists(db, number, &there, err);
    if (status == POLY_OK && !there)
        status = poly_fail(err, POLY_NOT_FOUND, "search: there is no generation %llu",
                           (unsigned long long)number);
    if (status == POLY_OK)
        status = build_generation(g, err);
    if (status == POLY_OK)
        status = load_indexes(self, g, db, err);
    if (status != POLY_OK) {
        poly_arena_free(arena);
        return status;
    }
    *generation = g;
    return POLY_OK;
}

enum poly_status poly_generation_find(struct poly_embedded *self, struct poly_db *db,
                                      uint64_t number,
                                      const struct poly_search_generation **generation,
                                      struct poly_error *err)
{
    struct poly_search_generation *g;
    enum poly_status status = POLY_OK;

    pthread_mutex_lock(&self->lock);
    for (g = self->generations; g != NULL; g = g->next)
        if (g->number == number && !g->dropped)
            break;
    if (g == NULL) {
        status = load(self, db, number, &g, err);
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

const struct poly_search_index *
poly_generation_index(const struct poly_search_generation *generation, const char *domain)
{
    for (size_t i = 0; i < generation->index_count; i++)
        if (!generation->indexes[i]->is_made && strcmp(generation->indexes[i]->name, domain) == 0)
            return generation->indexes[i];
    return NULL;
}
