/*
 * Adopting and releasing an SQLite file. The log lives in the file with the tables, which a
 * data folder has under the name polystore.db: a file of another name is moved there first, because
 * that is where its other users will have to find it, too.
 *
 * SQLite has one writer: putting triggers in is one transaction, and others wait for it.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "core/config.h"
#include "stores/relational/adopt.h"
#include "stores/relational/embedded.h"

static const char file_name[] = "polystore.db";

/* Materialised views are tables, and their names are the application's choice. */
static const char sql_has_views[] =
    "SELECT count(*) FROM main.sqlite_schema WHERE type = 'table' AND name = 'poly_view'";

#define TABLES(except)                                                                             \
    "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'virtual')"    \
    " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE 'poly\\_%' ESCAPE '\\'" except  \
    " ORDER BY name"

static const char sql_tables[] = TABLES("");
static const char sql_tables_but_views[] =
    TABLES(" AND name NOT IN (SELECT name FROM main.poly_view WHERE definition IS NOT NULL)");

static const char sql_reserved[] =
    "SELECT name FROM main.sqlite_schema WHERE type IN ('table', 'view') AND name LIKE 'poly\\_%'"
    " ESCAPE '\\' AND NOT EXISTS (SELECT 1 FROM main.sqlite_schema WHERE name = 'poly_meta')";

/* --- looking --- */

static enum poly_status adopt_open(const struct poly_adopt_options *options, struct poly_db **db,
                                   struct poly_error *err)
{
    const char *slash = strrchr(options->place, '/');

    if (strcmp(slash == NULL ? options->place : slash + 1, file_name) != 0)
        return poly_fail(err, POLY_INVALID,
                         "'%.200s': tables in SQLite are kept in the file %s of a data folder: "
                         "rename it, or give the url of a server, postgresql://…",
                         options->place, file_name);
    if (access(options->place, F_OK) != 0)
        return poly_fail(err, POLY_NOT_FOUND, "'%.200s': %m", options->place);
    return poly_db_open(options->place, POLY_DB_READ, db, err);
}

static enum poly_status adopt_list(struct poly_db *db, struct poly_adopt_survey *survey,
                                   struct poly_error *err)
{
    struct poly_stmt stmt;
    int64_t views = 0;
    bool row = true;
    enum poly_status status = poly_db_number(db, sql_has_views, &views, err);

    if (status == POLY_OK)
        status = poly_stmt_open(&stmt, db, views > 0 ? sql_tables_but_views : sql_tables, err);
    while (status == POLY_OK && row) {
        status = poly_stmt_row(&stmt, &row, err);
        if (status != POLY_OK || !row)
            continue;

        struct poly_adopt_found *found =
            poly_adopt_add(survey, NULL, poly_stmt_get_text(&stmt, 0).data);

        if (found == NULL) {
            poly_stmt_close(&stmt);
            return poly_no_memory(err);
        }
        found->plain = true;
    }
    row = false;
    if (status == POLY_OK)
        status = poly_stmt_open(&stmt, db, sql_reserved, err);
    if (status == POLY_OK)
        status = poly_stmt_row(&stmt, &row, err);
    if (status == POLY_OK && row) {
        survey->note = poly_arena_printf(survey->arena,
                                         "'%s' begins with 'poly_', as Polystore's own tables do: "
                                         "rename it first",
                                         poly_stmt_get_text(&stmt, 0).data);
        poly_stmt_close(&stmt);
    }
    return status;
}

static enum poly_status where(const struct poly_adopt_options *options, struct poly_buffer *yaml,
                              struct poly_error *err)
{
    const char *slash = strrchr(options->place, '/');
    bool root = slash == NULL || slash == options->place;

    (void)err;
    poly_buffer_text(yaml, "data: ");
    poly_adopt_quote(yaml, slash == NULL ? "." : options->place,
                     root ? 1 : (size_t)(slash - options->place));
    poly_buffer_text(yaml, "\n");
    return POLY_OK;
}

/* --- putting in: what a start does --- */

static enum poly_status apply(struct poly_adopt_job *job, struct poly_error *err)
{
    struct poly_instance *instance;
    enum poly_status status = poly_open(job->options, &instance, err);

    if (status != POLY_OK)
        return status;

    const struct poly_config *config = poly_instance_config(instance);

    for (size_t i = 0; i < config->domain_count && status == POLY_OK; i++) {
        const struct poly_domain *domain = &config->domains[i];
        const struct poly_table *table =
            poly_relational_table(poly_instance_relational(instance), domain);
        struct poly_adopt_item *item;

        if (domain->table == NULL)
            continue;
        item = poly_adopt_item(job, domain->name, domain->table);
        if (item == NULL || table == NULL)
            status = poly_no_memory(err);
        else
            poly_adopt_done(job, item, table->status, table->problem);
    }
    poly_close(instance);
    return status;
}

/* --- taking out --- */

/* Triggers on tables of others; then tables of ours, virtual ones before those that they
 * own. */
static const char sql_triggers[] =
    "SELECT 'TRIGGER', name, tbl_name FROM main.sqlite_schema WHERE type = 'trigger'"
    " AND name LIKE 'poly\\_%' ESCAPE '\\' AND tbl_name NOT LIKE 'poly\\_%' ESCAPE '\\'"
    " ORDER BY tbl_name, name";

static const char sql_views[] =
    "SELECT 'TABLE', s.name FROM main.poly_view AS v JOIN main.sqlite_schema AS s"
    " ON s.name = v.name AND s.type = 'table' WHERE v.definition IS NOT NULL";

static const char sql_own_tables[] =
    "SELECT 'TABLE', name FROM main.sqlite_schema AS s WHERE type = 'table' AND (name IN"
    " ('poly_meta', 'poly_log', 'poly_seal', 'poly_writing', 'poly_history', 'poly_idempotency',"
    "  'poly_subscription', 'poly_projection', 'poly_skip', 'poly_key', 'poly_migration',"
    "  'poly_view', 'poly_model', 'poly_model_next', 'poly_model_vector', 'poly_embedding',"
    "  'poly_embedding_state', 'poly_collection', 'poly_model_filling', 'poly_model_embedder')"
    " OR name GLOB 'poly_search_[0-9]*') AND NOT EXISTS (SELECT 1 FROM main.sqlite_schema AS v"
    "  WHERE v.sql LIKE 'CREATE VIRTUAL TABLE%' AND v.name <> s.name"
    "  AND substr(s.name, 1, length(v.name) + 1) = v.name || '_')"
    " ORDER BY sql LIKE 'CREATE VIRTUAL TABLE%' DESC, name";

static const char sql_left[] = "SELECT name FROM main.sqlite_schema WHERE name LIKE 'poly\\_%'"
                               " ESCAPE '\\' AND type IN ('table', 'view')";

static enum poly_status drop_listed(struct poly_adopt_job *job, struct poly_db *db,
                                    const char *list, struct poly_error *err)
{
    sqlite3_stmt *statement = poly_db_prepare(db, list, err);
    struct poly_adopt_item *item = NULL;
    struct poly_buffer sql;
    enum poly_status status = statement == NULL ? poly_failed(err) : POLY_OK;
    bool row = true;

    poly_buffer_init(&sql, 4 * 1024 * 1024);
    while (status == POLY_OK && row) {
        status = poly_db_row(db, statement, &row, err);
        if (status != POLY_OK || !row)
            break;
        poly_buffer_printf(&sql, "DROP %s main.", poly_column_text(statement, 0).data);
        poly_sql_name(&sql, poly_column_text(statement, 1).data);
        poly_buffer_text(&sql, ";");
        if (sqlite3_column_count(statement) < 3)
            continue;

        const char *table = poly_column_text(statement, 2).data;

        if (item != NULL && strcmp(item->table.data, table) == 0)
            continue;
        item = poly_adopt_item(job, NULL, table);
        if (item == NULL)
            status = poly_no_memory(err);
        else
            poly_adopt_done(job, item, POLY_OK, NULL);
    }
    if (statement != NULL)
        sqlite3_reset(statement);
    if (status == POLY_OK && !poly_buffer_ok(&sql))
        status = poly_no_memory(err);
    if (status == POLY_OK && sql.size > 0)
        status = poly_db_exec(db, sql.data, err);
    poly_buffer_release(&sql);
    return status;
}

static enum poly_status note_left(struct poly_adopt_job *job, struct poly_db *db,
                                  struct poly_error *err)
{
    sqlite3_stmt *statement = poly_db_prepare(db, sql_left, err);
    enum poly_status status = statement == NULL ? poly_failed(err) : POLY_OK;
    bool row = true;

    while (status == POLY_OK && row) {
        status = poly_db_row(db, statement, &row, err);
        if (status == POLY_OK && row)
            poly_adopt_note(job, "'%.128s' is not known to be Polystore's, and stays",
                            poly_column_text(statement, 0).data);
    }
    if (statement != NULL)
        sqlite3_reset(statement);
    return status;
}

static enum poly_status take_out(struct poly_adopt_job *job, struct poly_db *db,
                                 struct poly_error *err)
{
    enum poly_status status = poly_db_exec(db, "BEGIN IMMEDIATE", err);
    int64_t views = 0;

    if (status == POLY_OK)
        status = drop_listed(job, db, sql_triggers, err);
    if (status == POLY_OK)
        status = poly_db_number(db, sql_has_views, &views, err);
    if (status == POLY_OK && views > 0)
        status = drop_listed(job, db, sql_views, err);
    if (status == POLY_OK)
        status = drop_listed(job, db, sql_own_tables, err);
    if (status == POLY_OK)
        status = note_left(job, db, err);
    if (status == POLY_OK)
        status = poly_db_exec(db, "COMMIT", err);
    if (status != POLY_OK)
        poly_db_roll_back(db);
    return status == POLY_OK ? poly_db_exec(db, "PRAGMA wal_checkpoint(TRUNCATE)", err) : status;
}

static enum poly_status release(struct poly_adopt_job *job, struct poly_error *err)
{
    const char *data = job->options->data != NULL ? job->options->data : job->config->data;
    char *path = poly_arena_printf(job->arena, "%s/%s", data, file_name);
    struct poly_db *db;
    enum poly_status status;

    if (path == NULL)
        return poly_no_memory(err);
    if (access(path, F_OK) != 0)
        return poly_fail(err, POLY_NOT_FOUND, "'%.200s': %m", path);
    status = poly_db_open(path, POLY_DB_WRITE, &db, err);
    if (status != POLY_OK)
        return status;
    status = take_out(job, db, err);
    poly_db_close(db);
    return status;
}

const struct poly_adopt_driver poly_adopt_embedded = {
    .driver = &poly_relational_embedded,
    .open = adopt_open,
    .close = poly_db_close,
    .list = adopt_list,
    .where = where,
    .apply = apply,
    .release = release,
};
