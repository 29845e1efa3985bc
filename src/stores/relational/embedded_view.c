/*
 * A materialised view in SQLite: a table of the log's file. What the query
 * gives is read on a connection and snapshot of its own, as long as that takes,
 * and compared with the table there; only the difference goes to the writer, in
 * one transaction, with the position of the snapshot. Readers see the one or the
 * other, and writers wait for what has changed only.
 *
 * The fresh rows stand in a temporary table of the same shape, whose primary key is the
 * view's: that no two rows have the same key, and no key is null, SQLite sees to itself.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "core/config.h"
#include "owners/embedded/embedded.h"
#include "stores/relational/embedded.h"
#include "stores/relational/view.h"

enum { SQL_MAX = 4 * 1024 * 1024 };

static const char sql_open[] = "PRAGMA query_only=OFF; PRAGMA temp_store=FILE;"
                               "PRAGMA cache_size=-16384;";
static const char sql_position[] = "SELECT coalesce((SELECT seq FROM main.sqlite_sequence"
                                   " WHERE name = 'poly_log'), 0)";
static const char sql_stands[] =
    "SELECT type FROM main.sqlite_schema WHERE lower(name) = lower(?1)";
static const char sql_forget[] = "DELETE FROM poly_view WHERE name = ?1";

static const char sql_names[] = "SELECT name, type = 'view' FROM main.sqlite_schema"
                                " WHERE type IN ('table', 'view') ORDER BY 2 DESC, 1";

/* One look at what the query gives. */
struct viewing {
    struct poly_view_job *job;
    struct poly_db *db;            /* its own */
    struct poly_arena *arena;      /* names */
    const char **names;            /* of everything in the file: views of SQL first … */
    size_t name_count, view_count; /* … so many; the query may use those */
    bool guarded;                  /* the query is being prepared: the authorizer looks */
    struct poly_error refused;
    sqlite3_stmt *query;
    const char **columns;
    int column_count;
    struct poly_buffer shape; /* "day" "DATE", "n", PRIMARY KEY ("day") */
    uint64_t position;        /* of the snapshot */
    bool stands;              /* there is something of that name */
    bool ours;
    sqlite3_stmt *gone, *fresh; /* keys to delete, rows to put; NULL: none */
    int before, after;          /* number of the schema, around building it */
};

/* --- what the query may do --- */

static int refuse(struct viewing *v, const char *format, const char *what)
    __attribute__((format(printf, 2, 0)));

static int refuse(struct viewing *v, const char *format, const char *what)
{
    if (v->refused.message[0] == '\0') {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        poly_fail(&v->refused, POLY_INVALID, format, what == NULL ? "" : what);
#pragma GCC diagnostic pop
    }
    return SQLITE_DENY;
}

static bool is_among(const char *name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcasecmp(names[i], name) == 0)
            return true;
    }
    return false;
}

/*
 * May it be read without a look at the log? Views of SQL are seen through: what they read is asked
 * for, too. Without a database a name stands alone, no column of it is read: it may be one of the
 * query's own.
 */
static bool harmless(const struct viewing *v, const char *name, const char *database)
{
    if (strcasecmp(name, "json_each") == 0 || strcasecmp(name, "json_tree") == 0 ||
        is_among(name, v->names, v->view_count))
        return true;
    return database == NULL && !is_among(name, v->names, v->name_count) &&
           strncasecmp(name, "sqlite_", 7) != 0 && strncasecmp(name, "pragma_", 7) != 0;
}

static int read_table(struct viewing *v, const char *table, const char *database)
{
    const struct poly_config *config = v->job->relational->config;
    struct poly_error err;

    for (size_t i = 0; i < poly_config_domains(config); i++) {
        const char *name = config->domains[i].table;

        if (name == NULL || strcasecmp(name, table) != 0)
            continue;
        if (config->domains[i].made != NULL) {
            poly_view_none(table, true, &err);
            return refuse(v, "%s", err.message);
        }
        return poly_view_reads(v->job, i, &err) == POLY_OK ? SQLITE_OK
                                                           : refuse(v, "%s", err.message);
    }
    if (harmless(v, table, database))
        return SQLITE_OK;
    poly_view_none(table, false, &err);
    return refuse(v, "%s", err.message);
}

static int authorize(void *arg, int action, const char *a, const char *b, const char *database,
                     const char *accessor)
{
    struct viewing *v = arg;

    (void)accessor;
    if (!v->guarded)
        return SQLITE_OK;
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_RECURSIVE:
        return SQLITE_OK;
    case SQLITE_READ:
        return a == NULL ? SQLITE_DENY : read_table(v, a, database);
    case SQLITE_FUNCTION:
        return b != NULL && poly_guard_function(b)
                   ? SQLITE_OK
                   : refuse(v, "function '%.100s' is not for SQL", b);
    default:
        return refuse(v, "its query may only read%s", "");
    }
}

/* --- looking at the query --- */

static void close_viewing(struct viewing *v)
{
    poly_view_running(v->job, NULL);
    sqlite3_finalize(v->query);
    sqlite3_finalize(v->gone);
    sqlite3_finalize(v->fresh);
    poly_db_close(v->db);
    poly_buffer_release(&v->shape);
    poly_arena_free(v->arena);
}

static enum poly_status fail(struct viewing *v, int code, struct poly_error *err)
{
    return poly_db_fail(v->db, code, "its query", err);
}

static enum poly_status read_names(struct viewing *v, struct poly_error *err)
{
    sqlite3_stmt *statement = poly_db_prepare(v->db, sql_names, err);
    size_t room = 0;
    enum poly_status status = statement == NULL ? poly_failed(err) : POLY_OK;
    bool row = true;

    while (status == POLY_OK && row) {
        status = poly_db_row(v->db, statement, &row, err);
        if (status != POLY_OK || !row)
            break;
        if (v->name_count == room) {
            const char **more = poly_arena_array(v->arena, room * 2 + 16, sizeof(*more));

            if (more == NULL)
                return poly_no_memory(err);
            if (room > 0)
                memcpy(more, v->names, room * sizeof(*more));
            v->names = more;
            room = room * 2 + 16;
        }
        struct poly_text name = poly_column_text(statement, 0);

        v->names[v->name_count] = poly_arena_copy(v->arena, name.data, name.size);
        if (v->names[v->name_count++] == NULL)
            status = poly_no_memory(err);
        v->view_count += sqlite3_column_int(statement, 1) != 0;
    }
    return status;
}

static enum poly_status prepare_query(struct viewing *v, struct poly_error *err)
{
    sqlite3 *handle = poly_db_handle(v->db);
    const char *sql = v->job->query, *tail = "";
    enum poly_status status = poly_guard_text(sql, false, err);
    int code;

    if (status != POLY_OK)
        return status;
    v->guarded = true;
    code = sqlite3_prepare_v2(handle, sql, -1, &v->query, &tail);
    v->guarded = false;
    if (v->refused.message[0] != '\0')
        return poly_fail(err, v->refused.status, "%s", v->refused.message);
    if ((code & 0xff) == SQLITE_ERROR)
        return poly_fail(err, POLY_INVALID, "its query: %s", sqlite3_errmsg(handle));
    if (code != SQLITE_OK)
        return fail(v, code, err);
    if (v->query == NULL || tail[strspn(tail, " \t\r\n\f;")] != '\0' ||
        sqlite3_stmt_isexplain(v->query) != 0 || !sqlite3_stmt_readonly(v->query))
        return poly_fail(err, POLY_INVALID, "its query is to be one SELECT");
    if (sqlite3_bind_parameter_count(v->query) > 0)
        return poly_fail(err, POLY_INVALID, "its query cannot have parameters");
    return POLY_OK;
}

static void add_names(struct poly_buffer *out, const char *before, const char *const *names,
                      size_t count)
{
    for (size_t i = 0; i < count; i++) {
        poly_buffer_text(out, i == 0 ? before : ", ");
        poly_sql_name(out, names[i]);
    }
}

/* The table's columns with the types that they were declared with: values come out as they would
 * from where they were read. */
static enum poly_status describe(struct viewing *v, struct poly_error *err)
{
    const struct poly_view_config *config = v->job->config;
    int count = sqlite3_column_count(v->query);
    enum poly_status status;

    v->column_count = count;
    v->columns = poly_arena_array(v->arena, (size_t)count + 1, sizeof(*v->columns));
    if (v->columns == NULL)
        return poly_no_memory(err);
    for (int i = 0; i < count; i++) {
        const char *name = sqlite3_column_name(v->query, i);
        const char *type = sqlite3_column_decltype(v->query, i);

        v->columns[i] = name == NULL ? NULL : poly_arena_copy(v->arena, name, strlen(name));
        if (v->columns[i] == NULL)
            return poly_no_memory(err);
        poly_sql_name(&v->shape, v->columns[i]);
        poly_buffer_text(&v->shape, " ");
        if (type != NULL && *type != '\0')
            poly_sql_name(&v->shape, type);
        poly_buffer_text(&v->shape, ", ");
    }
    status = poly_view_columns(v->job, v->columns, (size_t)count, err);
    add_names(&v->shape, "PRIMARY KEY (", config->key, config->key_count);
    poly_buffer_text(&v->shape, ")");
    if (status == POLY_OK && !poly_buffer_ok(&v->shape))
        status = poly_no_memory(err);
    if (status == POLY_OK)
        poly_view_define(v->job, v->shape.data);
    return status;
}

/* What stands in the database, and is it ours? */
static enum poly_status compare(struct viewing *v, struct poly_error *err)
{
    struct poly_view_row row;
    struct poly_stmt get;
    enum poly_status status = poly_view_load(v->db, v->job, &row, err);

    if (status == POLY_OK)
        status = poly_stmt_open(&get, v->db, sql_stands, err);
    if (status != POLY_OK)
        return status;
    poly_stmt_text(&get, 1, poly_text(v->job->config->name));
    status = poly_stmt_row(&get, &v->stands, err);
    if (status != POLY_OK)
        return status;
    if (v->stands)
        poly_stmt_close(&get);
    v->ours = row.there;
    v->job->fits = row.there && row.same && v->stands;
    if (v->stands && !row.there)
        return poly_fail(err, POLY_EXISTS,
                         "the database has something named '%s' already, which Polystore has not "
                         "made: drop it, or name the view otherwise",
                         v->job->config->name);
    return POLY_OK;
}

/* With a snapshot. Close it whatever happens. */
static enum poly_status open_viewing(struct viewing *v, struct poly_view_job *job,
                                     struct poly_error *err)
{
    const char *path = poly_sqlite_path(poly_instance_embedded(job->relational->instance)->file);
    int64_t position = 0;
    enum poly_status status;

    *v = (struct viewing){.job = job, .arena = poly_arena_new(SQL_MAX)};
    poly_buffer_init(&v->shape, SQL_MAX);
    memset(job->reads, 0, sizeof(job->reads));
    if (v->arena == NULL)
        return poly_no_memory(err);
    status = poly_db_open(path, POLY_DB_READ, &v->db, err);
    if (status != POLY_OK)
        return status;
    poly_view_running(job, v->db);
    status = poly_db_exec(v->db, sql_open, err);
    if (status == POLY_OK)
        status = poly_db_exec(v->db, "BEGIN", err);
    if (status == POLY_OK)
        status = poly_db_number(v->db, sql_position, &position, err);
    v->position = (uint64_t)position;
    if (status == POLY_OK)
        status = read_names(v, err);
    sqlite3_set_authorizer(poly_db_handle(v->db), authorize, v);
    if (status == POLY_OK)
        status = prepare_query(v, err);
    if (status == POLY_OK)
        status = describe(v, err);
    return status == POLY_OK ? compare(v, err) : status;
}

static enum poly_status check(struct poly_view_job *job, struct poly_error *err)
{
    struct viewing v;
    enum poly_status status = open_viewing(&v, job, err);

    close_viewing(&v);
    return status;
}

/* --- the difference --- */

/* A statement of one text, made from names; the buffer is empty after it. */
static enum poly_status prepare(struct poly_db *db, struct poly_buffer *sql,
                                sqlite3_stmt **statement, struct poly_error *err)
{
    int code = poly_buffer_ok(sql)
                   ? sqlite3_prepare_v2(poly_db_handle(db), sql->data, -1, statement, NULL)
                   : SQLITE_NOMEM;

    poly_buffer_clear(sql);
    return code == SQLITE_OK ? POLY_OK : poly_db_fail(db, code, "view", err);
}

static void add_places(struct poly_buffer *sql, int count)
{
    poly_buffer_text(sql, " VALUES (?");
    for (int i = 1; i < count; i++)
        poly_buffer_text(sql, ", ?");
    poly_buffer_text(sql, ")");
}

/* What the query gives, into a table of the same shape. */
static enum poly_status read_fresh(struct viewing *v, struct poly_buffer *sql,
                                   struct poly_error *err)
{
    sqlite3_stmt *put = NULL;
    enum poly_status status;
    int code = SQLITE_OK;

    poly_buffer_printf(sql, "CREATE TEMP TABLE poly_fresh(%s) WITHOUT ROWID", v->shape.data);
    status = poly_buffer_ok(sql) ? poly_db_exec(v->db, sql->data, err) : poly_no_memory(err);
    poly_buffer_clear(sql);
    poly_buffer_text(sql, "INSERT INTO temp.poly_fresh");
    add_places(sql, v->column_count);
    if (status == POLY_OK)
        status = prepare(v->db, sql, &put, err);
    while (status == POLY_OK && (code = sqlite3_step(v->query)) == SQLITE_ROW) {
        for (int i = 0; i < v->column_count; i++)
            sqlite3_bind_value(put, i + 1, sqlite3_column_value(v->query, i));
        code = sqlite3_step(put);
        if (code != SQLITE_DONE)
            break;
        sqlite3_reset(put);
    }
    if (status == POLY_OK && code != SQLITE_DONE) {
        code = sqlite3_extended_errcode(poly_db_handle(v->db));
        if (code == SQLITE_CONSTRAINT_NOTNULL)
            status = poly_fail(err, POLY_INVALID,
                               "a row of its query has null in a column of its key: leave such "
                               "rows out, or use coalesce()");
        else if ((code & 0xff) == SQLITE_CONSTRAINT)
            status = poly_fail(err, POLY_INVALID,
                               "two rows of its query have the same key: name more columns under "
                               "'key'");
        else
            status = fail(v, code, err);
    }
    sqlite3_finalize(put);
    return status;
}

/* f."day" IS o."day" AND …; all: of every column, its kind of value included. */
static void add_same(struct viewing *v, struct poly_buffer *sql, bool all)
{
    const char *before = " WHERE ";

    for (int i = 0; i < v->column_count; i++) {
        bool key = poly_view_in_key(v->job->config, v->columns[i]);

        if (!key && !all)
            continue;
        poly_buffer_printf(sql, "%sf.", before);
        poly_sql_name(sql, v->columns[i]);
        poly_buffer_text(sql, key ? " = o." : " IS o.");
        poly_sql_name(sql, v->columns[i]);
        before = " AND ";
        if (key)
            continue;
        poly_buffer_text(sql, " AND typeof(f.");
        poly_sql_name(sql, v->columns[i]);
        poly_buffer_text(sql, ") = typeof(o.");
        poly_sql_name(sql, v->columns[i]);
        poly_buffer_text(sql, ")");
    }
}

static enum poly_status find_difference(struct viewing *v, struct poly_buffer *sql,
                                        struct poly_error *err)
{
    const struct poly_view_config *config = v->job->config;
    enum poly_status status;

    poly_buffer_text(sql, "SELECT * FROM temp.poly_fresh AS f");
    if (!v->job->fits)
        return prepare(v->db, sql, &v->fresh, err);
    poly_buffer_text(sql, " WHERE NOT EXISTS (SELECT 1 FROM main.");
    poly_sql_name(sql, config->name);
    poly_buffer_text(sql, " AS o");
    add_same(v, sql, true);
    poly_buffer_text(sql, ")");
    status = prepare(v->db, sql, &v->fresh, err);
    add_names(sql, "SELECT ", config->key, config->key_count);
    poly_buffer_text(sql, " FROM main.");
    poly_sql_name(sql, config->name);
    poly_buffer_text(sql, " AS o WHERE NOT EXISTS (SELECT 1 FROM temp.poly_fresh AS f");
    add_same(v, sql, false);
    poly_buffer_text(sql, ")");
    return status == POLY_OK ? prepare(v->db, sql, &v->gone, err) : status;
}

/* --- on the writer --- */

/* Runs change once for each row of the difference. */
static enum poly_status change_rows(struct viewing *v, struct poly_db *db, sqlite3_stmt *rows,
                                    sqlite3_stmt *change, struct poly_error *err)
{
    int code;

    sqlite3_reset(rows); /* it may have run before */
    while ((code = sqlite3_step(rows)) == SQLITE_ROW) {
        if (poly_view_closing(v->job))
            return poly_fail(err, POLY_UNAVAILABLE, "the instance is being closed");
        for (int i = 0; i < sqlite3_column_count(rows); i++)
            sqlite3_bind_value(change, i + 1, sqlite3_column_value(rows, i));
        code = sqlite3_step(change);
        if (code != SQLITE_DONE)
            return poly_db_fail(db, code, "view", err);
        sqlite3_reset(change);
    }
    return code == SQLITE_DONE ? POLY_OK : fail(v, code, err);
}

static enum poly_status delete_gone(struct viewing *v, struct poly_db *db, struct poly_buffer *sql,
                                    struct poly_error *err)
{
    const struct poly_view_config *config = v->job->config;
    sqlite3_stmt *change = NULL;
    enum poly_status status;

    poly_buffer_text(sql, "DELETE FROM main.");
    poly_sql_name(sql, config->name);
    for (size_t i = 0; i < config->key_count; i++) {
        poly_buffer_text(sql, i == 0 ? " WHERE " : " AND ");
        poly_sql_name(sql, config->key[i]);
        poly_buffer_text(sql, " = ?");
    }
    status = prepare(db, sql, &change, err);
    if (status == POLY_OK)
        status = change_rows(v, db, v->gone, change, err);
    sqlite3_finalize(change);
    return status;
}

static enum poly_status put_fresh(struct viewing *v, struct poly_db *db, struct poly_buffer *sql,
                                  struct poly_error *err)
{
    sqlite3_stmt *change = NULL;
    enum poly_status status;

    poly_buffer_text(sql, "INSERT OR REPLACE INTO main.");
    poly_sql_name(sql, v->job->config->name);
    add_places(sql, v->column_count);
    status = prepare(db, sql, &change, err);
    if (status == POLY_OK)
        status = change_rows(v, db, v->fresh, change, err);
    sqlite3_finalize(change);
    return status;
}

static enum poly_status make_table(struct viewing *v, struct poly_db *db, struct poly_buffer *sql,
                                   struct poly_error *err)
{
    enum poly_status status = poly_schema_version(db, &v->before, err);

    if (v->ours) {
        poly_buffer_text(sql, "DROP TABLE IF EXISTS main.");
        poly_sql_name(sql, v->job->config->name);
        poly_buffer_text(sql, ";");
    }
    poly_buffer_text(sql, "CREATE TABLE main.");
    poly_sql_name(sql, v->job->config->name);
    poly_buffer_printf(sql, "(%s) WITHOUT ROWID", v->shape.data);
    if (status == POLY_OK)
        status = poly_buffer_ok(sql) ? poly_db_exec(db, sql->data, err) : poly_no_memory(err);
    poly_buffer_clear(sql);
    return status == POLY_OK ? poly_schema_version(db, &v->after, err) : status;
}

/* May run again from its beginning. */
static enum poly_status apply(struct poly_db *db, void *arg, struct poly_error *err)
{
    struct viewing *v = arg;
    struct poly_buffer sql;
    enum poly_status status = POLY_OK;

    poly_buffer_init(&sql, SQL_MAX);
    if (!v->job->fits)
        status = make_table(v, db, &sql, err);
    if (status == POLY_OK && v->gone != NULL)
        status = delete_gone(v, db, &sql, err);
    if (status == POLY_OK)
        status = put_fresh(v, db, &sql, err);
    if (status == POLY_OK)
        status = poly_view_note(db, v->job, v->position, err);
    poly_buffer_release(&sql);
    return status;
}

static enum poly_status refresh(struct viewing *v, struct poly_error *err)
{
    struct poly_relational *relational = v->job->relational;
    struct poly_schema *schema;
    struct poly_buffer sql;
    enum poly_status status;

    poly_buffer_init(&sql, SQL_MAX);
    status = read_fresh(v, &sql, err);
    if (status == POLY_OK)
        status = find_difference(v, &sql, err);
    poly_buffer_release(&sql);
    if (status == POLY_OK)
        status = poly_instance_write(relational->instance, apply, v, err);
    if (status != POLY_OK || v->job->fits)
        return status;
    /* No domain's table has changed: what is known of them still holds. */
    schema = atomic_load(&relational->schema);
    atomic_compare_exchange_strong(&schema->version, &v->before, v->after);
    return POLY_OK;
}

static enum poly_status run(struct poly_view_job *job, struct poly_error *err)
{
    struct viewing v;
    enum poly_status status = open_viewing(&v, job, err);

    if (status == POLY_OK)
        status = refresh(&v, err);
    close_viewing(&v);
    return status;
}

static enum poly_status drop(struct poly_db *db, const char *name, struct poly_error *err)
{
    struct poly_buffer sql;
    struct poly_stmt forget;
    enum poly_status status;

    poly_buffer_init(&sql, SQL_MAX);
    poly_buffer_text(&sql, "DROP TABLE IF EXISTS main.");
    poly_sql_name(&sql, name);
    status = poly_buffer_ok(&sql) ? poly_db_exec(db, sql.data, err) : poly_no_memory(err);
    poly_buffer_release(&sql);
    if (status == POLY_OK)
        status = poly_stmt_open(&forget, db, sql_forget, err);
    if (status != POLY_OK)
        return status;
    poly_stmt_text(&forget, 1, poly_text(name));
    return poly_stmt_done(&forget, err);
}

const struct poly_view_driver poly_view_embedded = {.check = check, .run = run, .drop = drop};
