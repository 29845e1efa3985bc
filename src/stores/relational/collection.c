/*
 * Domains that are made while running. The definition of one is a row of poly_collection:
 * collection_define.c.
 *
 * Making one is a migration that we write ourselves: its table, its row here and the table's
 * triggers are one transaction. Whoever reads the schema (at the start, in a migration, because
 * another daemon has told of a change) first reads which collections there are, and with the schema
 * that has its table a collection goes live.
 *
 * What the log has under the name is the collection's from the end that the log had when it was
 * made: a name may be used again. Stores keep what they have of it under its name and that end, so
 * no two of a name have the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/limits.h"
#include "core/config.h"
#include "core/projection.h"
#include "stores/relational/collection.h"
#include "stores/relational/driver.h"

static const char sql_all[] = "SELECT name, since, definition FROM poly_collection ORDER BY since,"
                              " name";
static const char sql_names[] = "SELECT name, since FROM poly_collection";
static const char sql_mark[] = "SELECT count(*), coalesce(max(since), 0)"
                               " FROM poly_collection";
static const char sql_one[] = "SELECT definition FROM poly_collection WHERE name = ?1";
static const char sql_insert[] =
    "INSERT INTO poly_collection(name, since, definition) VALUES (?1, ?2, ?3)";
static const char sql_delete[] = "DELETE FROM poly_collection WHERE name = ?1";
/* Changes of its models, of all that had the name. */
static const char *const sql_models[] = {"DELETE FROM poly_model WHERE domain = ?1",
                                         "DELETE FROM poly_model_next WHERE domain = ?1",
                                         "DELETE FROM poly_model_vector WHERE domain = ?1"};
/* The log tells streams from records by their names only. */
static const char sql_events[] = "SELECT count(*) FROM (SELECT 1 FROM poly_log WHERE domain = ?1"
                                 " AND version IS NOT NULL LIMIT 1) AS one";

/* --- which there are --- */

static enum poly_status is_there(const struct poly_relational *relational, struct poly_db *db,
                                 bool *there, struct poly_error *err)
{
    int64_t number = 0;
    enum poly_status status = poly_db_number(db, relational->driver->has_collections, &number, err);

    *there = number != 0;
    return status;
}

/* A domain of that name in the configuration goes before it. */
static enum poly_status take_row(struct poly_relational *relational, struct poly_stmt *row,
                                 bool *standing, struct poly_error *err)
{
    struct poly_config *config = (struct poly_config *)relational->config;
    const char *name = poly_stmt_get_text(row, 0).data;
    const struct poly_domain *domain = NULL;
    enum poly_status status;

    for (size_t i = 0; i < config->domain_count; i++)
        if (strcmp(config->domains[i].name, name) == 0)
            return POLY_OK;
    pthread_mutex_lock(&relational->lock);
    status = poly_config_make(config, name, (uint64_t)poly_stmt_get_int(row, 1),
                              poly_stmt_get_text(row, 2).data, &domain, err);
    pthread_mutex_unlock(&relational->lock);
    if (status == POLY_OK)
        standing[(size_t)(domain - config->domains) - config->domain_count] = true;
    return status;
}

enum poly_status poly_collections_read(struct poly_relational *relational, struct poly_db *db,
                                       bool standing[POLY_MAX_COLLECTIONS_MADE],
                                       struct poly_error *err)
{
    struct poly_stmt rows;
    bool there = false, row = true;
    enum poly_status status = is_there(relational, db, &there, err);

    if (status != POLY_OK || !there)
        return status;
    status = poly_stmt_open(&rows, db, sql_all, err);
    if (status != POLY_OK)
        return status;
    while (status == POLY_OK && row) {
        status = poly_stmt_row(&rows, &row, err);
        if (status == POLY_OK && row)
            status = take_row(relational, &rows, standing, err);
    }
    poly_stmt_close(&rows);
    return status;
}

enum poly_status poly_collections_mark(const struct poly_relational *relational, struct poly_db *db,
                                       char mark[POLY_COLLECTIONS_MARK], struct poly_error *err)
{
    struct poly_stmt get;
    bool there = false, row = false;
    enum poly_status status = is_there(relational, db, &there, err);

    mark[0] = '\0';
    if (status == POLY_OK && there)
        status = poly_stmt_open(&get, db, sql_mark, err);
    if (status != POLY_OK || !there)
        return status;
    status = poly_stmt_row(&get, &row, err);
    if (status == POLY_OK && row)
        snprintf(mark, POLY_COLLECTIONS_MARK, "%lld %lld", (long long)poly_stmt_get_int(&get, 0),
                 (long long)poly_stmt_get_int(&get, 1));
    poly_stmt_close(&get);
    return status;
}

static enum poly_status all_known(const struct poly_relational *relational, struct poly_db *db,
                                  bool *known, struct poly_error *err)
{
    struct poly_stmt rows;
    bool row = true;
    enum poly_status status = is_there(relational, db, &row, err);

    *known = true;
    if (status == POLY_OK && row)
        status = poly_stmt_open(&rows, db, sql_names, err);
    if (status != POLY_OK || !row)
        return status;
    while (status == POLY_OK && row && *known) {
        const struct poly_domain *domain;

        status = poly_stmt_row(&rows, &row, err);
        if (status != POLY_OK || !row)
            break;
        domain = poly_config_domain(relational->config, poly_stmt_get_text(&rows, 0).data);
        *known = domain != NULL && (domain->made == NULL ||
                                    domain->made->since == (uint64_t)poly_stmt_get_int(&rows, 1));
    }
    poly_stmt_close(&rows);
    return status;
}

enum poly_status poly_collections_known(struct poly_relational *relational, struct poly_db *db,
                                        bool *known, struct poly_error *err)
{
    bool now = true;
    enum poly_status status;

    *known = true;
    if (relational->driver->refresh == NULL)
        return POLY_OK;
    status = all_known(relational, db, known, err);
    if (status != POLY_OK || *known)
        return status;
    relational->driver->refresh(relational);
    status = all_known(relational, db, &now, err);
    return status == POLY_OK && !now
               ? poly_fail(err, POLY_UNAVAILABLE, "a new collection is not known here yet")
               : status;
}

/* --- may it be? --- */

/* Has the configuration something of that name? */
static enum poly_status check_declared(const struct poly_config *config, const char *name,
                                       struct poly_error *err)
{
    for (size_t i = 0; i < config->domain_count; i++) {
        const struct poly_domain *domain = &config->domains[i];

        if (strcmp(domain->name, name) == 0)
            return poly_fail(err, POLY_CONFLICT, "'%s' is a domain of the configuration", name);
        if (strcmp(domain->table != NULL ? domain->table : domain->stream, name) == 0)
            return poly_fail(err, POLY_CONFLICT,
                             "'%s' is the %s of the domain '%s' of the configuration", name,
                             domain->table != NULL ? "table" : "stream", domain->name);
    }
    return POLY_OK;
}

/* Asks the stores, too, which are opened where nothing has used them so far. */
static enum poly_status define(struct poly_relational *relational,
                               const struct poly_vector_collection *given, struct poly_arena *arena,
                               const char **definition, struct poly_error *err)
{
    struct poly_config *config = NULL;
    enum poly_status status = poly_collection_define(given, arena, definition, &config, err);

    if (status == POLY_OK)
        status = check_declared(relational->config, given->name, err);
    if (status == POLY_OK)
        status = poly_instance_accepts(relational->instance, "vector", &config->domains[0], err);
    if (status == POLY_OK && given->text_count > 0)
        status = poly_instance_accepts(relational->instance, "search", &config->domains[0], err);
    poly_config_free(config);
    return status;
}

/* --- making and dropping --- */

struct changing {
    struct poly_relational *relational;
    struct poly_arena *arena;
    const char *name;
    const char *definition;
    const struct poly_vector_collection *options;
    struct poly_schema *schema;
    bool done_before; /* it is there already */
};

static enum poly_status begin(struct changing *c, struct poly_db *db, const char *what,
                              struct poly_error *err)
{
    struct poly_buffer meta;
    enum poly_status status;

    poly_relational_drop(c->relational, c->schema);
    c->schema = NULL;
    c->done_before = false;
    poly_buffer_init(&meta, POLY_MAX_META);
    poly_buffer_printf(&meta, "{\"%s\":", what);
    poly_json_string(&meta, c->name, strlen(c->name));
    poly_buffer_text(&meta, "}");
    status = poly_buffer_ok(&meta) ? c->relational->driver->migrate_begin(
                                         db, (struct poly_text){meta.data, meta.size}, err)
                                   : poly_no_memory(err);
    poly_buffer_release(&meta);
    return status;
}

/* The definition that the name has; NULL: none. */
static enum poly_status read_one(struct changing *c, struct poly_db *db, const char **definition,
                                 struct poly_error *err)
{
    struct poly_stmt get;
    bool row = false;
    enum poly_status status = poly_stmt_open(&get, db, sql_one, err);

    *definition = NULL;
    if (status != POLY_OK)
        return status;
    poly_stmt_text(&get, 1, poly_text(c->name));
    status = poly_stmt_row(&get, &row, err);
    if (status != POLY_OK || !row)
        return status;

    struct poly_text text = poly_stmt_get_text(&get, 0);

    *definition = poly_arena_copy(c->arena, text.data, text.size);
    poly_stmt_close(&get);
    return *definition == NULL ? poly_no_memory(err) : POLY_OK;
}

/* sql: ?1 is its name. */
static enum poly_status run_for(const struct changing *c, struct poly_db *db, const char *sql,
                                struct poly_error *err)
{
    struct poly_stmt stmt;
    enum poly_status status = poly_stmt_open(&stmt, db, sql, err);

    if (status != POLY_OK)
        return status;
    poly_stmt_text(&stmt, 1, poly_text(c->name));
    return poly_stmt_done(&stmt, err);
}

static enum poly_status forget_models(const struct changing *c, struct poly_db *db,
                                      struct poly_error *err)
{
    enum poly_status status = POLY_OK;

    for (size_t i = 0; i < sizeof(sql_models) / sizeof(sql_models[0]) && status == POLY_OK; i++)
        status = run_for(c, db, sql_models[i], err);
    return status;
}

static enum poly_status check_events(const struct changing *c, struct poly_db *db,
                                     struct poly_error *err)
{
    struct poly_stmt get;
    bool row = false;
    int64_t events = 0;
    enum poly_status status = poly_stmt_open(&get, db, sql_events, err);

    if (status != POLY_OK)
        return status;
    poly_stmt_text(&get, 1, poly_text(c->name));
    status = poly_stmt_row(&get, &row, err);
    if (status == POLY_OK && row)
        events = poly_stmt_get_int(&get, 0);
    if (status == POLY_OK && row)
        poly_stmt_close(&get);
    if (status == POLY_OK && events > 0)
        return poly_fail(err, POLY_CONFLICT,
                         "the log has events of a stream '%s', and could not tell the records of a "
                         "collection of that name from them",
                         c->name);
    return status;
}

/* After a change of model it is there with either, as a domain of polystore.yaml is. */
static enum poly_status compare(struct changing *c, const char *definition, struct poly_error *err)
{
    const struct poly_domain *domain = poly_config_domain(c->relational->config, c->name);
    const char *now = NULL;
    enum poly_status status = POLY_OK;

    c->done_before = strcmp(definition, c->definition) == 0;
    if (!c->done_before && domain != NULL && domain->made != NULL &&
        strcmp(domain->made->definition, definition) == 0)
        status = poly_collection_redefine(domain, c->arena, &now, err);
    c->done_before = c->done_before || (now != NULL && strcmp(now, c->definition) == 0);
    if (status == POLY_OK && !c->done_before)
        return poly_fail(err, POLY_CONFLICT,
                         "collection '%s' is there with another definition; drop it first",
                         c->name);
    return status;
}

/* Is it still to be made, and may it be? */
static enum poly_status check_again(struct changing *c, struct poly_db *db, struct poly_error *err)
{
    const char *definition = NULL;
    int64_t count = 0;
    enum poly_status status = poly_db_exec(db, c->relational->driver->create_collections, err);

    if (status == POLY_OK)
        status = read_one(c, db, &definition, err);
    if (status == POLY_OK && definition != NULL)
        status = compare(c, definition, err);
    if (status != POLY_OK || c->done_before)
        return status;
    if (status == POLY_OK)
        status = poly_db_number(db, "SELECT count(*) FROM poly_collection", &count, err);
    if (status == POLY_OK && count >= POLY_MAX_COLLECTIONS)
        return poly_fail(err, POLY_LIMIT, "there are %d collections, which are the most",
                         POLY_MAX_COLLECTIONS);
    return status == POLY_OK ? check_events(c, db, err) : status;
}

/* The names are such: small letters, digits, '_'. */
static const char *table_sql(const struct changing *c)
{
    const struct poly_relational_driver *driver = c->relational->driver;
    const struct poly_vector_collection *o = c->options;
    struct poly_buffer sql;
    const char *copy;

    poly_buffer_init(&sql, POLY_MAX_SQL);
    poly_buffer_printf(&sql, "CREATE TABLE \"%s\"(%s%s%s", c->name,
                       o->tenants ? driver->collection_tenant : "", o->tenants ? ", " : "",
                       driver->collection_columns);
    if (o->vectors == NULL)
        poly_buffer_printf(&sql, ", embedding %s", driver->collection_vector);
    for (size_t i = 0; i < o->vector_count; i++)
        poly_buffer_printf(&sql, ", \"%s\" %s", o->vectors[i].name, driver->collection_vector);
    poly_buffer_printf(&sql, ", PRIMARY KEY (%sid))", o->tenants ? "tenant, " : "");
    copy = poly_buffer_ok(&sql) ? poly_arena_copy(c->arena, sql.data, sql.size) : NULL;
    poly_buffer_release(&sql);
    return copy;
}

static enum poly_status make_table(const struct changing *c, struct poly_db *db,
                                   struct poly_error *err)
{
    const char *sql = table_sql(c);
    enum poly_status status = sql == NULL
                                  ? poly_no_memory(err)
                                  : c->relational->driver->migrate_run(c->relational, db, sql, err);

    if (status == POLY_INVALID)
        return poly_fail(err, POLY_CONFLICT,
                         "a table '%s' cannot be made: there is another one; a collection is a "
                         "table of its name",
                         c->name);
    return status;
}

static enum poly_status keep(const struct changing *c, struct poly_db *db, struct poly_error *err)
{
    struct poly_stmt put;
    int64_t since = 0;
    enum poly_status status = poly_db_number(db, c->relational->driver->log_end, &since, err);

    if (status == POLY_OK)
        status = poly_stmt_open(&put, db, sql_insert, err);
    if (status != POLY_OK)
        return status;
    poly_stmt_text(&put, 1, poly_text(c->name));
    poly_stmt_int(&put, 2, since);
    poly_stmt_text(&put, 3, poly_text(c->definition));
    return poly_stmt_done(&put, err);
}

/* May run again from its beginning. */
static enum poly_status make(struct poly_db *db, void *arg, struct poly_error *err)
{
    struct changing *c = arg;
    const struct poly_relational_driver *driver = c->relational->driver;
    enum poly_status status = begin(c, db, "collection", err);

    if (status == POLY_OK)
        status = check_again(c, db, err);
    if (status == POLY_OK && !c->done_before)
        status = forget_models(c, db, err);
    if (status == POLY_OK && !c->done_before)
        status = make_table(c, db, err);
    if (status == POLY_OK && !c->done_before)
        status = keep(c, db, err);
    if (status == POLY_OK)
        status =
            poly_relational_sync(c->relational, db, POLY_SYNC_MIGRATION, NULL, &c->schema, err);
    return status == POLY_OK ? driver->migrate_end(db, err) : status;
}

/* The schema is to be without it from now on; its row goes last, for with that the table would be
 * nobody's, and the log would not hear what has gone. */
static enum poly_status forget(struct changing *c, struct poly_db *db, struct poly_error *err)
{
    enum poly_status status = run_for(c, db, sql_delete, err);

    for (size_t i = c->relational->config->domain_count; i < c->schema->count && status == POLY_OK;
         i++) {
        struct poly_table *table = c->schema->tables[i];

        if (table == NULL || strcmp(table->domain->name, c->name) != 0)
            continue;
        if (!table->published)
            poly_table_free(table);
        c->schema->tables[i] = NULL;
    }
    return status;
}

static enum poly_status drop(struct poly_db *db, void *arg, struct poly_error *err)
{
    struct changing *c = arg;
    const struct poly_relational_driver *driver = c->relational->driver;
    const char *definition = NULL, *sql;
    enum poly_status status = begin(c, db, "dropped", err);

    if (status == POLY_OK)
        status = read_one(c, db, &definition, err);
    if (status == POLY_OK && definition == NULL)
        return poly_fail(err, POLY_NOT_FOUND, "there is no collection '%s'", c->name);
    sql = poly_arena_printf(c->arena, "DROP TABLE IF EXISTS \"%s\"", c->name);
    if (status == POLY_OK && sql == NULL)
        status = poly_no_memory(err);
    if (status == POLY_OK)
        status = driver->migrate_run(c->relational, db, sql, err);
    if (status == POLY_OK)
        status =
            poly_relational_sync(c->relational, db, POLY_SYNC_MIGRATION, NULL, &c->schema, err);
    if (status == POLY_OK)
        status = forget_models(c, db, err);
    if (status == POLY_OK && driver->log_dropped != NULL)
        status = run_for(c, db, driver->log_dropped, err);
    if (status == POLY_OK)
        status = forget(c, db, err);
    return status == POLY_OK ? driver->migrate_end(db, err) : status;
}

static enum poly_status run(struct changing *c,
                            enum poly_status (*fn)(struct poly_db *db, void *arg,
                                                   struct poly_error *err),
                            struct poly_error *err)
{
    enum poly_status status = poly_instance_write(c->relational->instance, fn, c, err);

    if (status != POLY_OK) {
        poly_relational_drop(c->relational, c->schema);
        return status;
    }
    poly_relational_swap(c->relational, c->schema);
    if (c->relational->driver->refresh != NULL)
        c->relational->driver->refresh(c->relational);
    return POLY_OK;
}

/* --- public --- */

static enum poly_status start(struct poly_session *session, const char *what, const char *name,
                              struct changing *c, struct poly_error *err)
{
    struct poly_instance *instance = poly_session_instance(session);
    enum poly_status status = poly_session_require(session, POLY_RIGHT_ADMIN, what, err);

    *c = (struct changing){.relational = poly_instance_relational(instance),
                           .arena = poly_session_arena(session),
                           .name = name};
    return status;
}

enum poly_status poly_vector_create(struct poly_session *session,
                                    const struct poly_vector_collection *options, bool *made,
                                    struct poly_error *err)
{
    struct poly_error local;
    struct changing c;
    enum poly_status status;

    err = err == NULL ? &local : err;
    status = start(session, "making a collection", options->name, &c, err);
    c.options = options;
    if (status == POLY_OK)
        status = define(c.relational, options, c.arena, &c.definition, err);
    if (status == POLY_OK)
        status = run(&c, make, err);
    if (status == POLY_OK)
        poly_projection_await(session, "vector");
    if (status == POLY_OK && options->text_count > 0)
        poly_projection_await(session, "search");
    if (status == POLY_OK && made != NULL)
        *made = !c.done_before;
    return status;
}

enum poly_status poly_vector_drop(struct poly_session *session, const char *name,
                                  struct poly_error *err)
{
    struct poly_error local;
    struct changing c;
    enum poly_status status;

    err = err == NULL ? &local : err;
    status = start(session, "dropping a collection", name, &c, err);
    if (status == POLY_OK && name == NULL)
        status = poly_fail(err, POLY_INVALID, "no collection was named");
    if (status == POLY_OK)
        status = check_declared(c.relational->config, name, err);
    if (status == POLY_OK && poly_config_domain(c.relational->config, name) == NULL &&
        c.relational->driver->refresh != NULL)
        c.relational->driver->refresh(c.relational);
    if (status == POLY_OK && poly_config_domain(c.relational->config, name) == NULL)
        status = poly_fail(err, POLY_NOT_FOUND, "there is no collection '%.64s'", name);
    return status == POLY_OK ? run(&c, drop, err) : status;
}

enum poly_status poly_vector_collections(struct poly_session *session,
                                         const struct poly_vector_collection **list, size_t *count,
                                         struct poly_error *err)
{
    const struct poly_config *config = poly_instance_config(poly_session_instance(session));
    size_t all = poly_config_domains(config), filled = 0;
    struct poly_vector_collection *options;
    enum poly_status status = poly_session_require(session, POLY_RIGHT_READ, "reading", err);

    if (status != POLY_OK)
        return status;
    options = poly_arena_array(poly_session_arena(session), all - config->domain_count + 1,
                               sizeof(*options));
    if (options == NULL)
        return poly_no_memory(err);
    for (size_t i = config->domain_count; i < all && status == POLY_OK; i++)
        if (poly_domain_is_live(&config->domains[i]))
            status = poly_collection_describe(&config->domains[i], poly_session_arena(session),
                                              &options[filled++], err);
    if (status != POLY_OK)
        return status;
    *list = options;
    *count = filled;
    return POLY_OK;
}
