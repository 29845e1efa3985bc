/*
 * A domain's table as PostgreSQL's catalog has it, and the texts for one record
 * of it, built once.
 *
 * What has no type of ours is a text, as PostgreSQL prints it: numeric (no digit
 * is lost), date, interval, enumerations, arrays, ranges. Every parameter is cast
 * to the column's type, so that the server converts (or refuses) as it would
 * for anybody.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/limits.h"
#include "core/vector.h"
#include "stores/relational/postgresql.h"

enum { TEXT_MAX = 4 * 1024 * 1024, TABLE_MAX = 32 * 1024 * 1024 };

/* Triggers that are not ours and run after a statement may change the rows again before ours see
 * them. */
static const char sql_table[] =
    "SELECT c.relkind::text, n.nspname::text, quote_ident(n.nspname) || '.' || "
    "quote_ident(c.relname),"
    " EXISTS (SELECT 1 FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid"
    "  WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgtype & 66 = 0"
    "  AND p.pronamespace IS DISTINCT FROM to_regnamespace('poly')), c.relpersistence::text"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.oid = " POLY_POSTGRESQL_NAMED("$1");

static const char sql_columns[] =
    "SELECT a.attname::text, format_type(a.atttypid, -1), coalesce(b.typname, t.typname)::text,"
    " a.attnotnull, pg_get_expr(d.adbin, d.adrelid), a.attgenerated <> '', a.attidentity::text,"
    " array_position(i.indkey::int2[], a.attnum), coalesce(co.collisdeterministic, true),"
    " coalesce(i.indimmediate, true), pg_get_serial_sequence($1, a.attname)"
    " FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid"
    " LEFT JOIN pg_type b ON b.oid = t.typbasetype"
    " LEFT JOIN pg_collation co ON co.oid = a.attcollation"
    " LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum"
    " LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary"
    " WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";

struct reading {
    struct poly_pg *pg;
    struct poly_postgresql_table *self;
    struct poly_table *table; /* its base */
    struct poly_buffer signature;
    size_t keys;               /* columns of the primary key, without the tenant's */
    int64_t key_at, tenant_at; /* places in it */
    bool tenant_found, tenant_exact, key_exact, key_declared, immediate;
    const char *key_type;
};

const char *poly_postgresql_keep(struct poly_postgresql_table *table, struct poly_buffer *text,
                                 bool *failed)
{
    const char *copy = NULL;

    if (poly_buffer_ok(text))
        copy = poly_arena_copy(table->base.arena, text->data == NULL ? "" : text->data, text->size);
    if (copy == NULL)
        *failed = true;
    poly_buffer_clear(text);
    return copy;
}

/* --- what the catalog says --- */

static const char *kind_name(char kind)
{
    switch (kind) {
    case 'v':
        return "view";
    case 'm':
        return "materialized view";
    case 'f':
        return "foreign table";
    default:
        return "thing";
    }
}

static enum poly_status read_table(struct reading *r, struct poly_error *err)
{
    struct poly_table *table = r->table;
    const char *name = table->domain->table;
    struct poly_pg_params params;
    PGresult *rows;
    enum poly_status status;

    poly_pg_params(&params);
    poly_pg_add_text(&params, poly_text(name));
    status = poly_pg_run(r->pg, sql_table, &params, &rows, err);
    if (status != POLY_OK)
        return status;
    table->exists = PQntuples(rows) == 1;
    if (!table->exists) {
        poly_table_problem(
            table, POLY_UNAVAILABLE,
            poly_arena_printf(table->arena, "table '%s' does not exist; run 'polystore migrate up'",
                              name));
        PQclear(rows);
        return POLY_OK;
    }

    char kind = poly_pg_text(rows, 0, 0).data[0];
    const char *schema = poly_pg_text(rows, 0, 1).data;
    struct poly_text full = poly_pg_text(rows, 0, 2);

    r->self->name = poly_arena_copy(table->arena, full.data, full.size);
    r->self->partitioned = kind == 'p';
    r->self->rewritten = poly_pg_bool(rows, 0, 3);
    if (kind != 'r' && kind != 'p')
        poly_table_problem(
            table, POLY_UNSUPPORTED,
            poly_arena_printf(table->arena,
                              "'%s' is a %s: triggers that see every change can stand on an "
                              "ordinary table only",
                              name, kind_name(kind)));
    else if (strcmp(schema, "poly") == 0 || strncmp(schema, "pg_", 3) == 0 ||
             strcmp(schema, "information_schema") == 0)
        poly_table_problem(
            table, POLY_UNSUPPORTED,
            poly_arena_printf(table->arena, "'%s' is not one of the application's tables", name));
    else if (poly_pg_text(rows, 0, 4).data[0] == 'u')
        poly_table_problem(
            table, POLY_UNSUPPORTED,
            poly_arena_printf(table->arena,
                              "table '%s' is UNLOGGED: after a crash it is empty, and the log is "
                              "not",
                              name));
    PQclear(rows);
    return r->self->name == NULL ? poly_no_memory(err) : POLY_OK;
}

static enum poly_type type_of(const char *name, struct poly_postgresql_column *own)
{
    static const struct {
        const char *name;
        enum poly_type type;
        bool as_text, wide;
    } known[] = {
        {"bool", POLY_BOOL, false, false},        {"int2", POLY_INT, false, false},
        {"int4", POLY_INT, false, false},         {"int8", POLY_INT, false, false},
        {"float4", POLY_FLOAT, false, true},      {"float8", POLY_FLOAT, false, false},
        {"text", POLY_TEXT, false, false},        {"varchar", POLY_TEXT, false, false},
        {"bytea", POLY_BYTES, false, false},      {"json", POLY_JSON, false, false},
        {"jsonb", POLY_JSON, false, false},       {"timestamp", POLY_TIME, false, false},
        {"timestamptz", POLY_TIME, false, false}, {"uuid", POLY_UUID, false, false},
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(known[i].name, name) == 0) {
            own->as_text = known[i].as_text;
            own->wide = known[i].wide;
            return known[i].type;
        }
    }
    own->as_text = true;
    return POLY_TEXT;
}

static const char *copy(struct poly_table *table, struct poly_text text)
{
    return poly_arena_copy(table->arena, text.data, text.size);
}

/* Compared byte for byte, and equal to its text: what keys and tenants must be. */
static bool is_exact(const PGresult *rows, int row, const struct poly_postgresql_column *own)
{
    return poly_pg_bool(rows, row, 8) && !own->as_text;
}

static bool read_tenant(struct reading *r, const PGresult *rows, int row)
{
    struct poly_postgresql_column own = {.type = NULL};

    r->tenant_found = true;
    r->table->tenant_type = type_of(poly_pg_text(rows, row, 2).data, &own);
    r->tenant_exact = is_exact(rows, row, &own);
    r->table->tenant_in_key = !poly_pg_null(rows, row, 7);
    r->tenant_at = poly_pg_int(rows, row, 7);
    r->self->tenant_sql = copy(r->table, poly_pg_text(rows, row, 1));
    r->self->tenant_name = copy(r->table, poly_pg_text(rows, row, 0));
    return r->self->tenant_sql != NULL && r->self->tenant_name != NULL;
}

/* What stands for a column that is not given. NULL: null. *failed: out of memory. */
static const char *default_of(struct poly_table *table, const PGresult *rows, int row, bool *failed)
{
    const char *text = NULL;

    if (poly_pg_text(rows, row, 6).size > 0)
        text = poly_arena_printf(table->arena, "nextval('%s')", poly_pg_text(rows, row, 10).data);
    else if (!poly_pg_null(rows, row, 4))
        text = copy(table, poly_pg_text(rows, row, 4));
    else
        return NULL;
    *failed = *failed || text == NULL;
    return text;
}

static void read_key(struct reading *r, const PGresult *rows, int row)
{
    struct poly_table *table = r->table;

    if (poly_pg_null(rows, row, 7))
        return;
    r->keys++;
    table->key = table->column_count;
    r->key_at = poly_pg_int(rows, row, 7);
    r->key_exact = is_exact(rows, row, &r->self->columns[table->key]);
    r->key_type = copy(table, poly_pg_text(rows, row, 1));
    r->immediate = poly_pg_bool(rows, row, 9);
}

/* One row of the catalog into the next free column. false: out of memory. */
static bool read_column(struct reading *r, const PGresult *rows, int row)
{
    struct poly_table *table = r->table;
    struct poly_column *column = &table->columns[table->column_count];
    struct poly_postgresql_column *own = &r->self->columns[table->column_count];
    const char *tenant = table->domain->tenant;
    bool failed = false;

    for (int i = 0; i < 11; i++) {
        struct poly_value value = poly_null();
        struct poly_error ignored;

        (void)poly_pg_value(rows, row, i, table->arena, &value, &ignored);
        poly_buffer_printf(&r->signature, "%s%lld\t",
                           value.type == POLY_TEXT ? value.text.data : "",
                           value.type == POLY_INT    ? (long long)value.integer
                           : value.type == POLY_BOOL ? (long long)value.boolean
                                                     : -1LL);
    }
    if (tenant != NULL && strcasecmp(poly_pg_text(rows, row, 0).data, tenant) == 0)
        return read_tenant(r, rows, row);
    column->name = copy(table, poly_pg_text(rows, row, 0));
    own->type = copy(table, poly_pg_text(rows, row, 1));
    column->type = type_of(poly_pg_text(rows, row, 2).data, own);
    column->not_null = poly_pg_bool(rows, row, 3);
    column->generated = poly_pg_bool(rows, row, 5);
    column->binary = is_exact(rows, row, own);
    column->array = strchr(poly_pg_text(rows, row, 1).data, '[') != NULL;
    own->always = poly_pg_text(rows, row, 6).data[0] == 'a';
    if (!column->generated)
        column->default_sql = default_of(table, rows, row, &failed);
    read_key(r, rows, row);
    table->column_count++;
    return column->name != NULL && own->type != NULL && !failed;
}

static enum poly_status read_columns(struct reading *r, struct poly_error *err)
{
    struct poly_table *table = r->table;
    struct poly_pg_params params;
    enum poly_status status;
    PGresult *rows;

    table->columns = poly_arena_array(table->arena, POLY_MAX_COLUMNS, sizeof(*table->columns));
    r->self->columns = poly_arena_array(table->arena, POLY_MAX_COLUMNS, sizeof(*r->self->columns));
    if (table->columns == NULL || r->self->columns == NULL)
        return poly_no_memory(err);
    poly_pg_params(&params);
    poly_pg_add_text(&params, poly_text(r->self->name));
    status = poly_pg_run(r->pg, sql_columns, &params, &rows, err);
    if (status != POLY_OK)
        return status;
    for (int row = 0; row < PQntuples(rows) && status == POLY_OK; row++) {
        if (!poly_table_check_columns(table))
            break;
        if (!read_column(r, rows, row))
            status = poly_no_memory(err);
    }
    PQclear(rows);
    return status;
}

/* --- does it fit? --- */

static void check_key(struct reading *r)
{
    struct poly_table *table = r->table;
    const struct poly_column *key = &table->columns[table->key];
    const char *name = table->domain->table;
    struct poly_arena *arena = table->arena;

    if (!poly_table_check_keys(table, r->keys))
        return;
    if (key->type != POLY_INT && key->type != POLY_UUID &&
        (key->type != POLY_TEXT || !r->key_exact))
        poly_table_problem(
            table, POLY_UNSUPPORTED,
            poly_arena_printf(arena,
                              "key '%s' of table '%s' is declared '%s'; a key is INTEGER, TEXT "
                              "or UUID, compared byte for byte",
                              key->name, name, r->key_type));
    else if (key->generated)
        poly_table_problem(table, POLY_UNSUPPORTED,
                           poly_arena_printf(arena, "key '%s' of table '%s' is a generated column",
                                             key->name, name));
    else if (!r->immediate)
        poly_table_problem(
            table, POLY_UNSUPPORTED,
            poly_arena_printf(arena,
                              "the primary key of table '%s' is DEFERRABLE: a put cannot rest "
                              "on it",
                              name));
}

/* --- the texts --- */

void poly_postgresql_column(struct poly_buffer *b, const struct poly_postgresql_table *table,
                            const char *row, size_t column)
{
    poly_buffer_printf(b, "%s.", row);
    poly_sql_name(b, table->base.columns[column].name);
    if (table->columns[column].as_text)
        poly_buffer_text(b, "::text");
    else if (table->columns[column].wide)
        poly_buffer_text(b, "::float8");
}

enum poly_status poly_postgresql_value(const PGresult *rows, int row, int column,
                                       struct poly_arena *arena, struct poly_value *value,
                                       struct poly_error *err)
{
    enum poly_status status = poly_pg_value(rows, row, column, arena, value, err);

    if (status != POLY_OK ||
        (value->type != POLY_TEXT && value->type != POLY_BYTES && value->type != POLY_JSON))
        return status;
    value->text.data = poly_arena_copy(arena, value->text.data, value->text.size);
    return value->text.data == NULL ? poly_no_memory(err) : POLY_OK;
}

static void add_version(struct poly_buffer *b, const struct poly_table *table)
{
    poly_buffer_text(b, "(SELECT position FROM poly.log WHERE domain = ");
    poly_sql_text(b, table->domain->name);
    poly_buffer_text(b, " AND tenant = $2 AND key = $3 AND version IS NULL"
                        " ORDER BY position DESC LIMIT 1)");
}

/* Of the record: key and tenant are parameters with these numbers. */
static void add_where(struct poly_buffer *b, const struct poly_postgresql_table *self, int key,
                      int tenant)
{
    const struct poly_table *table = &self->base;

    poly_buffer_text(b, " WHERE t.");
    poly_sql_name(b, table->columns[table->key].name);
    poly_buffer_printf(b, " = $%d::%s", key, self->columns[table->key].type);
    if (self->tenant_sql == NULL)
        return;
    poly_buffer_text(b, " AND t.");
    poly_sql_name(b, self->tenant_name);
    poly_buffer_printf(b, " = $%d::%s", tenant, self->tenant_sql);
}

void poly_postgresql_same_shape(struct poly_buffer *b, const struct poly_postgresql_table *self)
{
    size_t count = self->base.column_count + (self->tenant_sql != NULL);

    poly_buffer_text(b, "CASE WHEN false THEN ROW(NULL");
    for (size_t i = 1; i < count; i++)
        poly_buffer_text(b, ",NULL");
    poly_buffer_printf(b, ")::%s IS NULL ELSE true END", self->name);
}

static void add_get(struct poly_buffer *b, const struct poly_postgresql_table *self)
{
    poly_buffer_text(b, "SELECT ");
    add_version(b, &self->base);
    for (size_t i = 0; i < self->base.column_count; i++) {
        poly_buffer_text(b, ", ");
        poly_postgresql_column(b, self, "t", i);
    }
    poly_buffer_printf(b, " FROM %s AS t", self->name);
    add_where(b, self, 1, 4);
    poly_buffer_text(b, " AND ");
    poly_postgresql_same_shape(b, self);
}

/* The version, when it is the expected one; raises PL001 when not. */
static void add_expect(struct poly_buffer *b, const struct poly_postgresql_table *self)
{
    poly_buffer_printf(b, "SELECT poly.expect(EXISTS (SELECT 1 FROM %s AS t", self->name);
    add_where(b, self, 1, 4);
    poly_buffer_text(b, "), ");
    add_version(b, &self->base);
    poly_buffer_printf(b, ", $%d::bigint)", self->tenant_sql == NULL ? 4 : 5);
}

static void add_lock(struct poly_buffer *b, const struct poly_postgresql_table *self,
                     const char *strength)
{
    poly_buffer_printf(b, "SELECT 1 FROM %s AS t", self->name);
    add_where(b, self, 1, 2);
    poly_buffer_printf(b, " FOR %s", strength);
}

static void add_names(struct poly_buffer *b, const struct poly_postgresql_table *self)
{
    const char *comma = "";

    if (self->tenant_sql != NULL) {
        poly_sql_name(b, self->tenant_name);
        comma = ", ";
    }
    for (size_t i = 0; i < self->base.column_count; i++) {
        if (self->base.columns[i].generated)
            continue;
        poly_buffer_text(b, comma);
        poly_sql_name(b, self->base.columns[i].name);
        comma = ", ";
    }
}

/* $1 may a row be replaced; the tenant; then for each column (some: whether it is given, and) its
 * value. */
static void add_values(struct poly_buffer *b, const struct poly_postgresql_table *self, bool some)
{
    const struct poly_table *table = &self->base;
    const char *comma = "";
    int number = 1;

    if (self->tenant_sql != NULL) {
        poly_buffer_printf(b, "$%d::%s", ++number, self->tenant_sql);
        comma = ", ";
    }
    for (size_t i = 0; i < table->column_count; i++) {
        const char *type = self->columns[i].type, *standard = table->columns[i].default_sql;

        if (table->columns[i].generated)
            continue;
        poly_buffer_text(b, comma);
        comma = ", ";
        if (i == table->key && table->key_made) {
            poly_buffer_printf(b, "coalesce($%d::%s, %s)", ++number, type, standard);
        } else if (i == table->key || !some) {
            poly_buffer_printf(b, "$%d::%s", ++number, type);
        } else {
            poly_buffer_printf(b, "CASE WHEN $%d THEN $%d::%s ELSE (%s) END", number + 1,
                               number + 2, type, standard == NULL ? "NULL" : standard);
            number += 2;
        }
    }
}

/* Of add_values(): the parameter that says whether the column is given, of those that may not be.
 */
static int given_number(const struct poly_postgresql_table *self, size_t column)
{
    int number = self->tenant_sql != NULL ? 2 : 1;

    for (size_t i = 0; i < column; i++)
        if (!self->base.columns[i].generated)
            number += i == self->base.key ? 1 : 2;
    return number + 1;
}

/* What an embedder makes, and was not given, stays as it is until that comes to it. */
static void add_replacement(struct poly_buffer *b, const struct poly_postgresql_table *self,
                            size_t column, bool some)
{
    const char *name = self->base.columns[column].name;
    bool stays = some && poly_vector_made(self->base.domain, name);

    poly_sql_name(b, name);
    poly_buffer_text(b, " = ");
    if (stays)
        poly_buffer_printf(b, "CASE WHEN $%d THEN ", given_number(self, column));
    poly_buffer_text(b, "excluded.");
    poly_sql_name(b, name);
    if (!stays)
        return;
    poly_buffer_text(b, " ELSE t.");
    poly_sql_name(b, name);
    poly_buffer_text(b, " END");
}

static void add_conflict(struct poly_buffer *b, const struct poly_postgresql_table *self, bool some)
{
    const struct poly_table *table = &self->base;
    const char *key = table->columns[table->key].name, *comma = "";

    poly_buffer_text(b, " ON CONFLICT (");
    if (table->tenant_in_key) {
        poly_sql_name(b, self->tenant_name);
        poly_buffer_text(b, ", ");
    }
    poly_sql_name(b, key);
    poly_buffer_text(b, ") DO UPDATE SET ");
    for (size_t i = 0; i < table->column_count; i++) {
        if (i == table->key || table->columns[i].generated || self->columns[i].always)
            continue;
        poly_buffer_text(b, comma);
        add_replacement(b, self, i, some);
        comma = ", ";
    }
    if (*comma == '\0') {
        poly_sql_name(b, key);
        poly_buffer_text(b, " = excluded.");
        poly_sql_name(b, key);
    }
    poly_buffer_text(b, " WHERE $1::boolean");
    if (self->tenant_sql == NULL)
        return;
    poly_buffer_text(b, " AND t.");
    poly_sql_name(b, self->tenant_name);
    poly_buffer_printf(b, " = $2::%s", self->tenant_sql);
}

/* The key of the row that was written, or PL003. */
static void add_written(struct poly_buffer *b, const struct poly_postgresql_table *self)
{
    const struct poly_table *table = &self->base;

    poly_buffer_text(b, " RETURNING t.");
    poly_sql_name(b, table->columns[table->key].name);
    poly_buffer_text(b, "::text AS k) SELECT poly.written((SELECT k FROM w)) WHERE ");
    poly_postgresql_same_shape(b, self);
}

static void add_put(struct poly_buffer *b, const struct poly_postgresql_table *self, bool some)
{
    bool always = false;

    for (size_t i = 0; i < self->base.column_count; i++)
        always = always || self->columns[i].always;
    poly_buffer_printf(b, "WITH w AS (INSERT INTO %s AS t(", self->name);
    add_names(b, self);
    poly_buffer_printf(b, ") %sVALUES (", always ? "OVERRIDING SYSTEM VALUE " : "");
    add_values(b, self, some);
    poly_buffer_text(b, ")");
    add_conflict(b, self, some);
    add_written(b, self);
}

/* $1 the key; $2 the tenant, where there is one; then whether it is given and its value. */
static void add_patch(struct poly_buffer *b, const struct poly_postgresql_table *self)
{
    const struct poly_table *table = &self->base;
    int number = self->tenant_sql == NULL ? 1 : 2;
    const char *comma = "", *key = table->columns[table->key].name;

    poly_buffer_printf(b, "WITH w AS (UPDATE %s AS t SET ", self->name);
    for (size_t i = 0; i < table->column_count; i++) {
        if (i == table->key || table->columns[i].generated || self->columns[i].always)
            continue;
        poly_buffer_text(b, comma);
        poly_sql_name(b, table->columns[i].name);
        poly_buffer_printf(b, " = CASE WHEN $%d THEN $%d::%s ELSE t.", number + 1, number + 2,
                           self->columns[i].type);
        poly_sql_name(b, table->columns[i].name);
        poly_buffer_text(b, " END");
        number += 2;
        comma = ", ";
    }
    if (*comma == '\0') {
        poly_sql_name(b, key);
        poly_buffer_text(b, " = t.");
        poly_sql_name(b, key);
    }
    add_where(b, self, 1, 2);
    add_written(b, self);
}

static void build(struct poly_postgresql_table *self, bool *failed)
{
    struct poly_buffer b;

    poly_buffer_init(&b, TEXT_MAX);
    add_get(&b, self);
    self->get = poly_postgresql_keep(self, &b, failed);
    add_expect(&b, self);
    self->expect = poly_postgresql_keep(self, &b, failed);
    add_lock(&b, self, "UPDATE");
    self->lock = poly_postgresql_keep(self, &b, failed);
    add_lock(&b, self, "SHARE");
    self->share = poly_postgresql_keep(self, &b, failed);
    add_put(&b, self, false);
    self->put_all = poly_postgresql_keep(self, &b, failed);
    add_put(&b, self, true);
    self->put_some = poly_postgresql_keep(self, &b, failed);
    add_patch(&b, self);
    self->patch = poly_postgresql_keep(self, &b, failed);
    poly_buffer_printf(&b, "WITH w AS (DELETE FROM %s AS t", self->name);
    add_where(&b, self, 1, 2);
    add_written(&b, self);
    self->remove = poly_postgresql_keep(self, &b, failed);
    poly_postgresql_triggers(self, &b, failed);
    poly_buffer_release(&b);
}

static enum poly_status load(struct reading *r, struct poly_error *err)
{
    struct poly_table *table = r->table;
    enum poly_status status = read_table(r, err);
    bool failed = false;

    if (status == POLY_OK && table->exists && table->problem == NULL)
        status = read_columns(r, err);
    if (status != POLY_OK)
        return status;
    if (table->problem == NULL)
        check_key(r);
    if (table->problem == NULL)
        poly_table_check_tenant(table, r->tenant_found,
                                r->tenant_exact || table->tenant_type != POLY_TEXT);
    if (table->problem == NULL) {
        const struct poly_column *key = &table->columns[table->key];

        table->key_made = key->type == POLY_INT && key->default_sql != NULL &&
                          strncmp(key->default_sql, "nextval(", 8) == 0;
        r->self->key_first = r->key_at < r->tenant_at;
        build(r->self, &failed);
    }
    poly_buffer_printf(&r->signature, "%s %s %d %d", table->problem == NULL ? "" : table->problem,
                       r->self->name == NULL ? "" : r->self->name, r->self->partitioned,
                       r->self->rewritten);
    table->signature = poly_postgresql_keep(r->self, &r->signature, &failed);
    return failed ? poly_no_memory(err) : POLY_OK;
}

static enum poly_status load_table(struct poly_pg *pg, const struct poly_domain *domain,
                                   struct poly_table **table, struct poly_error *err)
{
    struct poly_arena *arena = poly_arena_new(TABLE_MAX);
    struct poly_postgresql_table *self =
        arena == NULL ? NULL : poly_arena_alloc(arena, sizeof(*self));
    struct reading r = {.pg = pg, .self = self};
    enum poly_status status;

    if (self == NULL) {
        poly_arena_free(arena);
        return poly_no_memory(err);
    }
    r.table = &self->base;
    self->base.arena = arena;
    self->base.domain = domain;
    self->base.typed = true;
    poly_buffer_init(&r.signature, TEXT_MAX);
    status = load(&r, err);
    poly_buffer_release(&r.signature);
    if (status != POLY_OK) {
        poly_arena_free(arena);
        return poly_fail_in(err, status, "domain '%s'", domain->name);
    }
    *table = &self->base;
    return POLY_OK;
}

enum poly_status poly_postgresql_load(struct poly_db *db, const struct poly_domain *domain,
                                      struct poly_table **table, struct poly_error *err)
{
    return load_table(poly_pg_of(db), domain, table, err);
}

enum poly_status poly_postgresql_unchanged(struct poly_pg *pg,
                                           const struct poly_postgresql_table *self,
                                           struct poly_error *err)
{
    struct poly_table *now;
    enum poly_status status = load_table(pg, self->base.domain, &now, err);

    if (status != POLY_OK)
        return status;
    if (strcmp(now->signature, self->base.signature) != 0)
        status = poly_fail(err, POLY_CONFLICT, "it was changed meanwhile");
    poly_table_free(now);
    return status;
}
