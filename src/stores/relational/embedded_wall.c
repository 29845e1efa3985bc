/*
 * SQL of a session that may not see everything, without editing its text.
 *
 * A connection of its own, read-only, has a view for each table, named like the
 * table, in the temp schema, where unqualified names are looked for first. The
 * obvious construction lets the authorizer allow reads of a table when they
 * come through that view, and has a hole: a common table expression of the same
 * name passes for the view. So there are two layers: the view reads another
 * one whose name has 128 random bits, new for each connection, and only reads
 * through that one are allowed. The name cannot be guessed, and what could print
 * it is refused (EXPLAIN, sqlite_temp_schema) or cleaned (error messages).
 *
 * Everything that is not allowed is refused: the authorizer is a list of what
 * may be done.
 *
 * Setting an authorizer makes SQLite forget its prepared statements, and one
 * connection has one: that is why these are not the readers of everybody else.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/random.h"
#include "owners/embedded/embedded.h"
#include "stores/relational/embedded.h"
#include "stores/relational/embedded_function.h"
#include "stores/relational/view.h"

_Atomic bool poly_control_wall = true;

enum { IDLE_MAX = 8, STEPS = 50 /* of SQLite's machine between two looks at the clock */ };

static const char sql_open[] = "PRAGMA query_only=OFF; PRAGMA temp_store=FILE;"
                               "PRAGMA cache_size=-2048;";
static const char sql_touch[] = "SELECT count(*) FROM json_each('[]'); "
                                "SELECT count(*) FROM json_tree('[]');";
static const char sql_names[] = "SELECT lower(name) FROM main.sqlite_schema"
                                " UNION SELECT lower(name) FROM pragma_module_list"
                                " WHERE name NOT IN ('json_each', 'json_tree') ORDER BY 1";

/* --- what may be done --- */

static int refuse(struct poly_wall *wall, const char *what, const char *name)
{
    if (wall->refused[0] == '\0')
        snprintf(wall->refused, sizeof(wall->refused), "%s%s%.100s%s", what,
                 name == NULL ? "" : " '", name == NULL ? "" : name, name == NULL ? "" : "'");
    return SQLITE_DENY;
}

static bool same(const char *a, const char *b)
{
    return a != NULL && b != NULL && strcasecmp(a, b) == 0;
}

static const struct poly_view_config *shown_view(const struct poly_wall *wall, const char *name)
{
    return poly_view_find(wall->relational, name,
                          wall->kind == POLY_WALL_TENANT ? POLY_VIEW_TENANT : POLY_VIEW_OPEN);
}

/* The table behind the view, with its tenant's column (NULL: no tenants). NULL: there is no view.
 */
static const struct poly_table *shown_table(const struct poly_wall *wall, const char *name)
{
    const struct poly_table *found = NULL;

    for (size_t i = 0; i < wall->schema->count; i++) {
        const struct poly_table *table = wall->schema->tables[i];

        if (table == NULL || !same(table->domain->table, name))
            continue;
        if (table->status != POLY_OK)
            return NULL;
        if (found == NULL || table->domain->tenant != NULL)
            found = table;
    }
    if (found != NULL && found->domain->tenant != NULL && wall->kind == POLY_WALL_OPEN)
        return NULL;
    return found;
}

static bool shown(const struct poly_wall *wall, const char *name)
{
    return shown_table(wall, name) != NULL || shown_view(wall, name) != NULL;
}

/* poly_<random>_name → name; NULL: it is no inner view's name. */
static const char *inner(const struct poly_wall *wall, const char *name)
{
    size_t size = strlen(wall->prefix);

    return name != NULL && strncasecmp(name, wall->prefix, size) == 0 ? name + size : NULL;
}

static int by_name(const void *a, const void *b)
{
    return strcasecmp(*(const char *const *)a, *(const char *const *)b);
}

/*
 * A name without database and without columns: count(*) of a view, or of a
 * common table expression, whose names are anybody's; but not of a table.
 */
static bool nameless(const struct poly_wall *wall, const char *name)
{
    if (shown(wall, name))
        return true;
    if (strncasecmp(name, "sqlite_", 7) == 0 || strncasecmp(name, "pragma_", 7) == 0 ||
        strncasecmp(name, "poly_", 5) == 0)
        return false;
    return wall->name_count == 0 ||
           bsearch(&name, wall->names, wall->name_count, sizeof(*wall->names), by_name) == NULL;
}

static int read_column(struct poly_wall *wall, const char *table, const char *database,
                       const char *accessor)
{
    const char *behind = inner(wall, table);
    bool allowed = false;

    if (same(table, "json_each") || same(table, "json_tree"))
        return SQLITE_OK;
    if (database == NULL)
        allowed = nameless(wall, table);
    else if (same(database, "temp") && behind != NULL)
        allowed = same(behind, accessor);
    else if (same(database, "temp"))
        allowed = shown(wall, table);
    else if (same(database, "main"))
        allowed = shown(wall, table) && same(inner(wall, accessor), table);
    return allowed ? SQLITE_OK : refuse(wall, "there is no table for you that is called", table);
}

static int authorize_admin(struct poly_wall *wall, int action, const char *a, const char *b)
{
    if (action == SQLITE_SELECT || action == SQLITE_RECURSIVE)
        return SQLITE_OK;
    if (action == SQLITE_READ)
        return poly_guard_secret(a) ? refuse(wall, "not for SQL: table", a) : SQLITE_OK;
    if (action == SQLITE_PRAGMA && same(a, "data_version")) /* FTS5 asks for it */
        return SQLITE_OK;
    if (action == SQLITE_FUNCTION &&
        (poly_guard_function(b) || same(b, "bm25") || same(b, "highlight") || same(b, "snippet") ||
         same(b, "match")))
        return SQLITE_OK;
    return refuse(wall,
                  action == SQLITE_FUNCTION ? "not for SQL: function"
                                            : "SQL outside of a transaction only reads",
                  action == SQLITE_FUNCTION ? b : NULL);
}

int poly_wall_authorize(void *arg, int action, const char *a, const char *b, const char *database,
                        const char *accessor)
{
    struct poly_wall *wall = arg;

    if (!wall->closed)
        return SQLITE_OK;
    if (wall->kind == POLY_WALL_ADMIN)
        return authorize_admin(wall, action, a, b);
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_RECURSIVE:
        return SQLITE_OK;
    case SQLITE_READ:
        return a == NULL ? SQLITE_DENY : read_column(wall, a, database, accessor);
    case SQLITE_FUNCTION:
        if (b != NULL &&
            (poly_guard_function(b) || (same(b, "poly_tenant") && inner(wall, accessor) != NULL)))
            return SQLITE_OK;
        return refuse(wall, "not for SQL: function", b);
    default:
        return refuse(wall, "SQL here only reads", NULL);
    }
}

void poly_wall_clean(const struct poly_wall *wall, struct poly_error *err)
{
    size_t size = strlen(wall->prefix);

    for (char *s = strstr(err->message, wall->prefix); size > 0 && s != NULL;
         s = strstr(err->message, wall->prefix))
        memmove(s, s + size, strlen(s + size) + 1);
}

/* --- a connection --- */

static int expired(void *arg)
{
    const struct poly_wall *wall = arg;

    return poly_clock_monotonic() > wall->deadline;
}

static void limits(sqlite3 *db)
{
    sqlite3_limit(db, SQLITE_LIMIT_LENGTH, POLY_MAX_VALUE + 64 * 1024);
    sqlite3_limit(db, SQLITE_LIMIT_SQL_LENGTH, POLY_MAX_SQL);
    sqlite3_limit(db, SQLITE_LIMIT_COLUMN, 2 * POLY_MAX_COLUMNS);
    sqlite3_limit(db, SQLITE_LIMIT_EXPR_DEPTH, 200);
    sqlite3_limit(db, SQLITE_LIMIT_COMPOUND_SELECT, 100);
    sqlite3_limit(db, SQLITE_LIMIT_VDBE_OP, 50000);
    sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, 0);
    sqlite3_limit(db, SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 200);
    sqlite3_limit(db, SQLITE_LIMIT_VARIABLE_NUMBER, POLY_MAX_SQL_VALUES);
    sqlite3_limit(db, SQLITE_LIMIT_WORKER_THREADS, 0);
}

static enum poly_status read_names(struct poly_wall *wall, struct poly_error *err)
{
    sqlite3_stmt *statement = poly_db_prepare(wall->db, sql_names, err);
    enum poly_status status = POLY_OK;
    bool row = true;

    if (statement == NULL)
        return poly_failed(err);
    while (status == POLY_OK && row) {
        status = poly_db_row(wall->db, statement, &row, err);
        if (status != POLY_OK || !row)
            break;

        char **more = realloc(wall->names, (wall->name_count + 1) * sizeof(*more));

        if (more == NULL) {
            status = poly_no_memory(err);
            break;
        }
        wall->names = more;
        more[wall->name_count] = strdup(poly_column_text(statement, 0).data);
        if (more[wall->name_count] == NULL)
            status = poly_no_memory(err);
        else
            wall->name_count++;
    }
    sqlite3_reset(statement);
    if (wall->name_count > 0)
        qsort(wall->names, wall->name_count, sizeof(*wall->names), by_name);
    return status;
}

/* The two views of a table; computed: a materialised view's, whose columns may have any type and
 * collation, and are compared as what they are. */
static void add_views(struct poly_buffer *sql, const struct poly_wall *wall, const char *name,
                      const char *tenant, bool computed)
{
    struct poly_buffer hidden;

    poly_buffer_init(&hidden, 1024);
    poly_buffer_printf(&hidden, "%s%s", wall->prefix, name);
    if (!poly_buffer_ok(&hidden)) {
        sql->failed = true;
        return;
    }
    poly_buffer_text(sql, "CREATE TEMP VIEW ");
    poly_sql_name(sql, hidden.data);
    poly_buffer_text(sql, " AS SELECT * FROM main.");
    poly_sql_name(sql, name);
    if (tenant != NULL) {
        poly_buffer_text(sql, computed ? " WHERE CAST(" : " WHERE ");
        poly_sql_name(sql, tenant);
        poly_buffer_text(sql, computed ? " AS TEXT) = poly_tenant()" : " = poly_tenant()");
    }
    poly_buffer_text(sql, ";CREATE TEMP VIEW ");
    poly_sql_name(sql, name);
    poly_buffer_text(sql, " AS SELECT * FROM temp.");
    poly_sql_name(sql, hidden.data);
    poly_buffer_text(sql, ";");
    poly_buffer_release(&hidden);
}

static enum poly_status make_views(struct poly_wall *wall, struct poly_error *err)
{
    const struct poly_schema *schema = wall->schema;
    const struct poly_config *config = wall->relational->config;
    struct poly_buffer sql;
    enum poly_status status;

    poly_buffer_init(&sql, 1024 * 1024);
    for (size_t i = 0; i < schema->count; i++) {
        bool again = false;

        const struct poly_table *table =
            schema->tables[i] == NULL ? NULL
                                      : shown_table(wall, schema->tables[i]->domain->table);

        if (table == NULL)
            continue;
        for (size_t j = 0; j < i && !again; j++)
            again = schema->tables[j] != NULL &&
                    same(schema->tables[j]->domain->table, schema->tables[i]->domain->table);
        if (!again)
            add_views(&sql, wall, table->domain->table, table->domain->tenant, false);
    }
    for (size_t i = 0; i < config->view_count; i++) {
        const struct poly_view_config *view = shown_view(wall, config->views[i].name);

        if (view != NULL)
            add_views(&sql, wall, view->name, view->tenant, true);
    }
    status = !poly_buffer_ok(&sql) ? poly_no_memory(err)
             : sql.size == 0       ? POLY_OK
                                   : poly_db_exec(wall->db, sql.data, err);
    poly_buffer_release(&sql);
    return status;
}

static enum poly_status build(struct poly_wall *wall, struct poly_error *err)
{
    sqlite3 *db = poly_db_handle(wall->db);
    unsigned char random[16];
    char hex[33];
    enum poly_status status;

    poly_random(random, sizeof(random));
    sodium_bin2hex(hex, sizeof(hex), random, sizeof(random));
    snprintf(wall->prefix, sizeof(wall->prefix), "poly_%s_", hex);
    limits(db);
    status = poly_function_register(wall, err);
    /* First, so that a change while the rest is read is noticed at the next begin. */
    if (status == POLY_OK)
        status = poly_schema_version(wall->db, &wall->version, err);
    if (status == POLY_OK)
        status = poly_db_exec(wall->db, sql_open, err);
    if (status == POLY_OK)
        status = poly_db_exec(wall->db, sql_touch, err);
    if (status == POLY_OK)
        status = read_names(wall, err);
    if (status == POLY_OK && wall->kind != POLY_WALL_ADMIN)
        status = make_views(wall, err);
    if (status == POLY_OK)
        status = poly_db_exec(wall->db, "PRAGMA query_only=ON", err);
    if (status == POLY_OK)
        sqlite3_set_authorizer(db, poly_wall_authorize, wall);
    return status;
}

static enum poly_status open_wall(struct poly_relational *relational, enum poly_wall_kind kind,
                                  struct poly_wall **wall, struct poly_error *err)
{
    struct poly_wall *self = calloc(1, sizeof(*self));
    const char *path = poly_sqlite_path(poly_instance_embedded(relational->instance)->file);
    enum poly_status status;

    if (self == NULL)
        return poly_no_memory(err);
    self->kind = kind;
    self->relational = relational;
    self->views = poly_view_version(relational);
    self->schema = atomic_load_explicit(&relational->schema, memory_order_acquire);
    status = poly_db_open(path, POLY_DB_READ, &self->db, err);
    if (status == POLY_OK && poly_control_wall)
        status = build(self, err);
    if (status != POLY_OK) {
        poly_wall_free(self);
        return status;
    }
    *wall = self;
    return POLY_OK;
}

void poly_wall_free(struct poly_wall *wall)
{
    if (wall == NULL)
        return;
    wall->closed = false;
    poly_db_close(wall->db);
    for (size_t i = 0; i < wall->name_count; i++)
        free(wall->names[i]);
    free(wall->names);
    free(wall);
}

/* --- the pool --- */

static struct poly_wall *idle(struct poly_relational *relational, enum poly_wall_kind kind)
{
    struct poly_wall **link, *found = NULL;

    pthread_mutex_lock(&relational->lock);
    for (link = &poly_embedded_relational(relational)->idle; *link != NULL; link = &(*link)->next) {
        if ((*link)->kind != kind)
            continue;
        found = *link;
        *link = found->next;
        poly_embedded_relational(relational)->idle_count--;
        break;
    }
    pthread_mutex_unlock(&relational->lock);
    return found;
}

/* Opens a snapshot. *fits: the schema is still the one that the views were made for. */
static enum poly_status begin(struct poly_relational *relational, struct poly_wall *wall,
                              bool *fits, struct poly_error *err)
{
    enum poly_status status = poly_db_exec(wall->db, "BEGIN", err);
    int version = 0;

    if (status == POLY_OK)
        status = poly_schema_version(wall->db, &version, err);
    if (status == POLY_OK)
        *fits = wall->prefix[0] == '\0' ||
                (wall->version == version && wall->views == poly_view_version(relational) &&
                 wall->schema == atomic_load_explicit(&relational->schema, memory_order_acquire));
    return status;
}

enum poly_status poly_wall_take(struct poly_relational *relational, enum poly_wall_kind kind,
                                struct poly_text tenant, struct poly_wall **wall,
                                struct poly_error *err)
{
    struct poly_wall *self;
    enum poly_status status = POLY_OK;
    bool fits = false;

    while (!fits) {
        self = poly_control_wall ? idle(relational, kind) : NULL;
        if (self == NULL)
            status = open_wall(relational, kind, &self, err);
        if (status != POLY_OK)
            return status;
        status = begin(relational, self, &fits, err);
        if (status != POLY_OK || !fits)
            poly_wall_free(self);
        if (status != POLY_OK)
            return status;
    }
    self->tenant = tenant;
    self->refused[0] = '\0';
    self->closed = poly_control_wall;
    if (poly_control_wall)
        sqlite3_progress_handler(poly_db_handle(self->db), STEPS, expired, self);
    *wall = self;
    return POLY_OK;
}

void poly_wall_give(struct poly_relational *relational, struct poly_wall *wall)
{
    bool keep = poly_control_wall;

    if (wall == NULL)
        return;
    wall->closed = false;
    wall->tenant = (struct poly_text){"", 0};
    sqlite3_progress_handler(poly_db_handle(wall->db), 0, NULL, NULL);
    keep = keep && poly_db_exec(wall->db, "COMMIT", NULL) == POLY_OK;
    pthread_mutex_lock(&relational->lock);
    keep = keep && poly_embedded_relational(relational)->idle_count < IDLE_MAX;
    if (keep) {
        wall->next = poly_embedded_relational(relational)->idle;
        poly_embedded_relational(relational)->idle = wall;
        poly_embedded_relational(relational)->idle_count++;
    }
    pthread_mutex_unlock(&relational->lock);
    if (!keep)
        poly_wall_free(wall);
}
