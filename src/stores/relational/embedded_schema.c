/*
 * The table is read from the database and never declared twice: teams have
 * their migrations already, and a second description would drift from them.
 *
 * Every text is built here, once for each table, so that a read or a write only
 * binds and steps. Columns that a put leaves out take their default by
 * expression (CASE WHEN given THEN value ELSE default END), so that one
 * statement serves every subset of columns and none has to be prepared anew.
 */
#include "stores/relational/embedded.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/limits.h"
#include "core/vector.h"

static const char sql_table[] = "SELECT type, wr, name FROM pragma_table_list"
                                " WHERE schema = 'main' AND name = ?1 COLLATE NOCASE";

static const char sql_columns[] =
    "SELECT name, type, \"notnull\", dflt_value, pk, hidden FROM pragma_table_xinfo(?1)";

static const char sql_version[] = "PRAGMA main.schema_version";

enum { TEXT_MAX = 4 * 1024 * 1024, TABLE_MAX = 16 * 1024 * 1024 };

static bool same(const char *a, const char *b)
{
    return strcasecmp(a, b) == 0;
}

enum poly_type poly_type_declared(const char *declared)
{
    static const struct {
        const char *name;
        enum poly_type type;
    } known[] = {
        {"INTEGER", POLY_INT},    {"INT", POLY_INT},
        {"BIGINT", POLY_INT},     {"SMALLINT", POLY_INT},
        {"TINYINT", POLY_INT},    {"MEDIUMINT", POLY_INT},
        {"INT8", POLY_INT},       {"INT4", POLY_INT},
        {"INT2", POLY_INT},       {"REAL", POLY_FLOAT},
        {"DOUBLE", POLY_FLOAT},   {"DOUBLE PRECISION", POLY_FLOAT},
        {"FLOAT", POLY_FLOAT},    {"BOOLEAN", POLY_BOOL},
        {"BOOL", POLY_BOOL},      {"TEXT", POLY_TEXT},
        {"VARCHAR", POLY_TEXT},   {"CHAR", POLY_TEXT},
        {"NVARCHAR", POLY_TEXT},  {"CHARACTER VARYING", POLY_TEXT},
        {"CHARACTER", POLY_TEXT}, {"CLOB", POLY_TEXT},
        {"BLOB", POLY_BYTES},     {"BYTEA", POLY_BYTES},
        {"JSON", POLY_JSON},      {"JSONB", POLY_JSON},
        {"TIMESTAMP", POLY_TIME}, {"TIMESTAMPTZ", POLY_TIME},
        {"DATETIME", POLY_TIME},  {"TIMESTAMP WITH TIME ZONE", POLY_TIME},
        {"UUID", POLY_UUID},
    };
    char name[32];
    size_t size;

    if (declared == NULL)
        return POLY_NULL;
    size = strcspn(declared, "(");
    while (size > 0 && isspace((unsigned char)declared[size - 1]))
        size--;
    if (size == 0 || size >= sizeof(name))
        return POLY_NULL;
    memcpy(name, declared, size);
    name[size] = '\0';
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (same(name, known[i].name))
            return known[i].type;
    }
    return POLY_NULL;
}

enum poly_status poly_schema_version(struct poly_db *db, int *version, struct poly_error *err)
{
    sqlite3_stmt *statement = poly_db_prepare(db, sql_version, err);
    bool row = false;
    enum poly_status status;

    if (statement == NULL)
        return err == NULL ? POLY_INTERNAL : err->status;
    status = poly_db_row(db, statement, &row, err);
    if (status == POLY_OK)
        *version = row ? sqlite3_column_int(statement, 0) : 0;
    sqlite3_reset(statement);
    return status;
}

/* --- reading the database --- */

struct reading {
    struct poly_db *db;
    struct poly_table *table;
    struct poly_buffer signature;
    size_t keys;    /* columns of the primary key, without the tenant's */
    size_t primary; /* all columns of the primary key */
    bool without_rowid;
    bool tenant_found;
    bool tenant_binary;
    const char *key_declared;
};

static bool is_binary(struct poly_db *db, const char *table, const char *column)
{
    const char *collation = NULL;

    sqlite3_table_column_metadata(poly_db_handle(db), "main", table, column, NULL, &collation, NULL,
                                  NULL, NULL);
    return collation == NULL || strcasecmp(collation, "BINARY") == 0;
}

static enum poly_status read_kind(struct reading *r, struct poly_error *err)
{
    const struct poly_domain *domain = r->table->domain;
    struct poly_arena *arena = r->table->arena;
    sqlite3_stmt *statement = poly_db_prepare(r->db, sql_table, err);
    bool row = false;
    enum poly_status status;

    if (statement == NULL)
        return err == NULL ? POLY_INTERNAL : err->status;
    poly_bind_text(statement, 1, poly_text(domain->table));
    status = poly_db_row(r->db, statement, &row, err);
    if (status != POLY_OK)
        return status;
    if (!row) {
        poly_table_problem(
            r->table, POLY_UNAVAILABLE,
            poly_arena_printf(arena, "table '%s' does not exist; run 'polystore migrate up'",
                              domain->table));
        return POLY_OK;
    }

    const char *kind = (const char *)sqlite3_column_text(statement, 0);

    r->table->exists = true;
    r->without_rowid = sqlite3_column_int(statement, 1) != 0;
    if (kind == NULL || strcmp(kind, "table") != 0)
        poly_table_problem(
            r->table, POLY_UNSUPPORTED,
            poly_arena_printf(arena,
                              "'%s' is a %s: triggers that see every change can stand on an "
                              "ordinary table only",
                              domain->table, kind == NULL ? "thing" : kind));
    else if (strncasecmp(domain->table, "poly_", 5) == 0)
        poly_table_problem(
            r->table, POLY_UNSUPPORTED,
            poly_arena_printf(arena, "'%s' is one of Polystore's own tables", domain->table));
    sqlite3_reset(statement);
    return POLY_OK;
}

/* One row of table_xinfo into the next free column. */
static bool read_column(struct reading *r, sqlite3_stmt *statement)
{
    struct poly_table *table = r->table;
    struct poly_column *column = &table->columns[table->column_count];
    const char *name = (const char *)sqlite3_column_text(statement, 0);
    const char *declared = (const char *)sqlite3_column_text(statement, 1);
    const char *standard = (const char *)sqlite3_column_text(statement, 3);
    bool primary = sqlite3_column_int(statement, 4) > 0;
    const char *tenant = table->domain->tenant;

    if (name == NULL)
        return false;
    poly_buffer_printf(&r->signature, "%s\t%s\t%d\t%s\t%d\t%d\n", name,
                       declared == NULL ? "" : declared, sqlite3_column_int(statement, 2),
                       standard == NULL ? "" : standard, sqlite3_column_int(statement, 4),
                       sqlite3_column_int(statement, 5));
    r->primary += primary;
    if (tenant != NULL && same(name, tenant)) {
        r->tenant_found = true;
        r->tenant_binary = is_binary(r->db, table->domain->table, name);
        table->tenant_type = poly_type_declared(declared);
        table->tenant_in_key = primary;
        return true;
    }
    if (primary) {
        r->keys++;
        table->key = table->column_count;
        r->key_declared =
            poly_arena_copy(table->arena, declared, declared == NULL ? 0 : strlen(declared));
    }
    column->name = poly_arena_copy(table->arena, name, strlen(name));
    column->type = poly_type_declared(declared);
    column->not_null = sqlite3_column_int(statement, 2) != 0;
    column->generated = sqlite3_column_int(statement, 5) != 0;
    column->binary = is_binary(r->db, table->domain->table, name);
    if (standard != NULL)
        column->default_sql = poly_arena_copy(table->arena, standard, strlen(standard));
    table->column_count++;
    return column->name != NULL && (standard == NULL || column->default_sql != NULL);
}

static enum poly_status read_columns(struct reading *r, struct poly_error *err)
{
    struct poly_table *table = r->table;
    sqlite3_stmt *statement = poly_db_prepare(r->db, sql_columns, err);
    enum poly_status status = POLY_OK;
    bool row = true;

    table->columns = poly_arena_array(table->arena, POLY_MAX_COLUMNS, sizeof(*table->columns));
    if (table->columns == NULL)
        return poly_no_memory(err);
    if (statement == NULL)
        return err == NULL ? POLY_INTERNAL : err->status;
    poly_bind_text(statement, 1, poly_text(table->domain->table));
    while (status == POLY_OK && row) {
        status = poly_db_row(r->db, statement, &row, err);
        if (status != POLY_OK || !row)
            break;
        if (!poly_table_check_columns(table))
            break;
        if (!read_column(r, statement))
            status = poly_no_memory(err);
    }
    sqlite3_reset(statement);
    return status;
}

/* --- does it fit? --- */

static void check_key(struct reading *r)
{
    struct poly_table *table = r->table;
    const struct poly_column *key = &table->columns[table->key];
    const char *name = table->domain->table;

    if (!poly_table_check_keys(table, r->keys))
        return;
    if (key->type != POLY_INT && key->type != POLY_TEXT && key->type != POLY_UUID)
        poly_table_problem(
            table, POLY_UNSUPPORTED,
            poly_arena_printf(table->arena,
                              "key '%s' of table '%s' is declared '%s'; a key is INTEGER, TEXT "
                              "or UUID",
                              key->name, name, r->key_declared));
    else if (!key->binary)
        poly_table_problem(
            table, POLY_UNSUPPORTED,
            poly_arena_printf(table->arena,
                              "key '%s' of table '%s' has a collation of its own; a key is "
                              "compared byte for byte (COLLATE BINARY)",
                              key->name, name));
    else if (key->generated)
        poly_table_problem(table, POLY_UNSUPPORTED,
                           poly_arena_printf(table->arena,
                                             "key '%s' of table '%s' is a generated column",
                                             key->name, name));
}

/* --- the texts --- */

static const char *keep(struct poly_table *table, struct poly_buffer *text, bool *failed)
{
    const char *copy = NULL;

    if (poly_buffer_ok(text))
        copy = poly_arena_copy(table->arena, text->data, text->size);
    if (copy == NULL)
        *failed = true;
    poly_buffer_clear(text);
    return copy;
}

static void add_where(struct poly_buffer *b, const struct poly_table *table)
{
    poly_buffer_text(b, " WHERE ");
    poly_sql_name(b, table->columns[table->key].name);
    poly_buffer_text(b, " = ?2");
    if (table->domain->tenant != NULL) {
        poly_buffer_text(b, " AND ");
        poly_sql_name(b, table->domain->tenant);
        poly_buffer_text(b, " = ?1");
    }
}

static void add_version(struct poly_buffer *b, const struct poly_table *table)
{
    poly_buffer_text(b, "SELECT position FROM main.poly_log WHERE domain = ");
    poly_sql_text(b, table->domain->name);
    poly_buffer_printf(b,
                       " AND tenant = %s AND key = ?3 AND version IS NULL"
                       " ORDER BY position DESC LIMIT 1",
                       table->domain->tenant == NULL ? "''" : "?1");
}

static void add_get(struct poly_buffer *b, const struct poly_table *table)
{
    poly_buffer_text(b, "SELECT (");
    add_version(b, table);
    poly_buffer_text(b, ")");
    for (size_t i = 0; i < table->column_count; i++) {
        poly_buffer_text(b, ", ");
        poly_sql_name(b, table->columns[i].name);
    }
    poly_buffer_text(b, " FROM main.");
    poly_sql_name(b, table->domain->table);
    add_where(b, table);
}

/*
 * INSERT INTO t(columns). OR ABORT: a schema that resolves conflicts by itself (UNIQUE ON CONFLICT
 * REPLACE, ROLLBACK …) would remove another tenant's row, or undo what others have written.
 */
static void add_insert(struct poly_buffer *b, const struct poly_table *table)
{
    const char *comma = "";

    poly_buffer_text(b, "INSERT OR ABORT INTO main.");
    poly_sql_name(b, table->domain->table);
    poly_buffer_text(b, "(");
    if (table->domain->tenant != NULL) {
        poly_sql_name(b, table->domain->tenant);
        comma = ", ";
    }
    for (size_t i = 0; i < table->column_count; i++) {
        if (table->columns[i].generated)
            continue;
        poly_buffer_text(b, comma);
        poly_sql_name(b, table->columns[i].name);
        comma = ", ";
    }
    poly_buffer_text(b, ") VALUES(");
}

static void add_values(struct poly_buffer *b, const struct poly_table *table, int step)
{
    const char *comma = "";

    if (table->domain->tenant != NULL) {
        poly_buffer_text(b, "?1");
        comma = ", ";
    }
    for (size_t i = 0; i < table->column_count; i++) {
        const char *standard = table->columns[i].default_sql;
        int parameter = poly_table_parameter(i, step);

        if (table->columns[i].generated)
            continue;
        poly_buffer_text(b, comma);
        if (step == 1)
            poly_buffer_printf(b, "?%d", parameter);
        else
            poly_buffer_printf(b, "CASE WHEN ?%d THEN ?%d ELSE (%s) END", parameter - 1, parameter,
                               standard == NULL ? "NULL" : standard);
        comma = ", ";
    }
    poly_buffer_text(b, ")");
}

/* What an embedder makes, and was not given, stays as it is until that comes to it. */
static void add_replacement(struct poly_buffer *b, const struct poly_table *table, size_t column,
                            int step)
{
    const char *name = table->columns[column].name;
    bool stays = step == 2 && poly_vector_made(table->domain, name);

    poly_sql_name(b, name);
    poly_buffer_text(b, " = ");
    if (stays)
        poly_buffer_printf(b, "CASE WHEN ?%d THEN ", poly_table_parameter(column, step) - 1);
    poly_buffer_text(b, "excluded.");
    poly_sql_name(b, name);
    if (!stays)
        return;
    poly_buffer_text(b, " ELSE ");
    poly_sql_name(b, table->domain->table);
    poly_buffer_char(b, '.');
    poly_sql_name(b, name);
    poly_buffer_text(b, " END");
}

/* The row of another tenant with the same key stays as it is: nothing is changed, and the caller
 * sees that by the count. */
static void add_conflict(struct poly_buffer *b, const struct poly_table *table, int step)
{
    const char *tenant = table->domain->tenant;
    const char *key = table->columns[table->key].name;

    poly_buffer_text(b, " ON CONFLICT(");
    if (table->tenant_in_key) {
        poly_sql_name(b, tenant);
        poly_buffer_text(b, ", ");
    }
    poly_sql_name(b, key);
    poly_buffer_text(b, ") DO UPDATE SET ");
    poly_sql_name(b, key);
    poly_buffer_text(b, " = excluded.");
    poly_sql_name(b, key);
    for (size_t i = 0; i < table->column_count; i++) {
        if (i == table->key || table->columns[i].generated)
            continue;
        poly_buffer_text(b, ", ");
        add_replacement(b, table, i, step);
    }
    if (tenant != NULL) {
        poly_buffer_text(b, " WHERE ");
        poly_sql_name(b, table->domain->table);
        poly_buffer_text(b, ".");
        poly_sql_name(b, tenant);
        poly_buffer_text(b, " = ?1");
    }
}

static void add_patch(struct poly_buffer *b, const struct poly_table *table)
{
    const char *comma = "";
    const char *key = table->columns[table->key].name;

    poly_buffer_text(b, "UPDATE OR ABORT main.");
    poly_sql_name(b, table->domain->table);
    poly_buffer_text(b, " SET ");
    for (size_t i = 0; i < table->column_count; i++) {
        int parameter = poly_table_parameter(i, 2);

        if (i == table->key || table->columns[i].generated)
            continue;
        poly_buffer_text(b, comma);
        poly_sql_name(b, table->columns[i].name);
        poly_buffer_printf(b, " = CASE WHEN ?%d THEN ?%d ELSE ", parameter - 1, parameter);
        poly_sql_name(b, table->columns[i].name);
        poly_buffer_text(b, " END");
        comma = ", ";
    }
    if (*comma == '\0') {
        poly_sql_name(b, key);
        poly_buffer_text(b, " = ");
        poly_sql_name(b, key);
    }
    add_where(b, table);
}

static void build(struct poly_table *table, bool *failed)
{
    struct poly_table_sql *sql = &((struct poly_embedded_table *)table)->sql;
    struct poly_buffer b;

    poly_buffer_init(&b, TEXT_MAX);
    add_get(&b, table);
    sql->get = keep(table, &b, failed);
    add_version(&b, table);
    sql->version = keep(table, &b, failed);
    add_insert(&b, table);
    add_values(&b, table, 1);
    add_conflict(&b, table, 1);
    sql->put_all = keep(table, &b, failed);
    add_insert(&b, table);
    add_values(&b, table, 2);
    add_conflict(&b, table, 2);
    sql->put_some = keep(table, &b, failed);
    add_patch(&b, table);
    sql->patch = keep(table, &b, failed);
    poly_buffer_text(&b, "DELETE FROM main.");
    poly_sql_name(&b, table->domain->table);
    add_where(&b, table);
    sql->remove = keep(table, &b, failed);
    poly_table_log_sql(table, &b, failed);
    poly_buffer_release(&b);
}

static enum poly_status load(struct reading *r, struct poly_error *err)
{
    struct poly_table *table = r->table;
    enum poly_status status = read_kind(r, err);
    bool failed = false;

    if (status == POLY_OK && table->exists)
        status = read_columns(r, err);
    if (status != POLY_OK)
        return status;
    if (table->problem == NULL)
        check_key(r);
    if (table->problem == NULL)
        poly_table_check_tenant(table, r->tenant_found, r->tenant_binary);
    if (table->problem == NULL) {
        table->key_made = r->primary == 1 && !r->without_rowid && same(r->key_declared, "INTEGER");
        build(table, &failed);
    }
    poly_buffer_printf(&r->signature, "%s", table->problem == NULL ? "" : table->problem);
    table->signature = keep(table, &r->signature, &failed);
    return failed ? poly_no_memory(err) : POLY_OK;
}

enum poly_status poly_table_load(struct poly_db *db, const struct poly_domain *domain,
                                 struct poly_table **table, struct poly_error *err)
{
    struct poly_arena *arena = poly_arena_new(TABLE_MAX);
    struct poly_embedded_table *made =
        arena == NULL ? NULL : poly_arena_alloc(arena, sizeof(*made));
    struct poly_table *self = made == NULL ? NULL : &made->base;
    struct reading r = {.db = db, .table = self};
    enum poly_status status;

    if (self == NULL) {
        poly_arena_free(arena);
        return poly_no_memory(err);
    }
    self->arena = arena;
    self->domain = domain;
    poly_buffer_init(&r.signature, TEXT_MAX);
    status = load(&r, err);
    poly_buffer_release(&r.signature);
    if (status != POLY_OK) {
        poly_arena_free(arena);
        return poly_fail_in(err, status, "domain '%s'", domain->name);
    }
    *table = self;
    return POLY_OK;
}
