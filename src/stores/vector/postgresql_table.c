/*
 * The records' own tables as the catalog has them. They are the application's: a migration, or
 * anybody, may change them at any time. So they are looked at when the store is opened, now and
 * then, and after a search that did not fit; what is known of them is replaced whole, in the shape
 * of a generation, and lives on for those who are still reading.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/limits.h"
#include "core/config.h"
#include "owners/postgresql/postgresql.h"
#include "stores/vector/postgresql.h"
#include "stores/vector/record.h"

enum { TABLES_MAX = 16 * 1024 * 1024 };

/* A text that is not compared byte for byte has no type here: as jsonb it is. */
static const char sql_columns[] =
    "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), quote_ident(n.nspname),"
    " c.oid::bigint, c.relkind = 'p', a.attname::text, quote_ident(a.attname), a.attnum::int,"
    " CASE WHEN coalesce(co.collisdeterministic, true) THEN coalesce(b.typname, t.typname)::text"
    "  ELSE 'other' END, format_type(a.atttypid, -1), format_type(a.atttypid, a.atttypmod),"
    " coalesce(a.attnum = ANY (k.indkey::int2[]), false), a.atttypmod"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
    " JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type b ON b.oid = t.typbasetype"
    " LEFT JOIN pg_collation co ON co.oid = a.attcollation"
    " LEFT JOIN pg_index k ON k.indrelid = c.oid AND k.indisprimary"
    " WHERE c.relkind IN ('r', 'p') AND c.oid = " POLY_POSTGRESQL_NAMED("$1") " ORDER BY a.attnum";

enum column {
    RELATION,
    SCHEMA,
    OID,
    PARTITIONED,
    NAME,
    QUOTED,
    NUMBER,
    TYPE,
    CAST,
    WHOLE_TYPE,
    IN_KEY,
    TYPMOD,
    COLUMNS
};

struct tables {
    struct poly_follower_generation base; /* first; number 0 */
    struct poly_text signature;           /* equal: nothing has changed */
};

struct loading {
    const struct poly_config *config;
    struct tables *tables;
    struct poly_arena *arena;
    const struct poly_domain *domain;
    const PGresult *rows; /* of its table */
    struct poly_error *err;
};

static const char *text_of(const struct loading *l, int row, enum column column)
{
    struct poly_text text = poly_pg_text(l->rows, row, (int)column);

    return poly_arena_copy(l->arena, text.data, text.size);
}

static bool is(const struct loading *l, int row, enum column column, const char *text)
{
    return strcmp(poly_pg_text(l->rows, row, (int)column).data, text) == 0;
}

static int row_of(const struct loading *l, const char *name)
{
    int row = PQntuples(l->rows) - 1;

    while (row >= 0 && !is(l, row, NAME, name))
        row--;
    return row;
}

static const char *d(const struct loading *l, int row)
{
    return poly_arena_printf(l->arena, "d.%s", poly_pg_text(l->rows, row, QUOTED).data);
}

/* --- columns --- */

/* The value as the log has it, as jsonb; x stands between the two texts. */
static const char *operand_of(const struct loading *l, const char *sql, const char *type)
{
    static const char real[] = "(SELECT CASE WHEN x = 'Infinity' THEN to_jsonb(1e400)"
                               " WHEN x = '-Infinity' THEN to_jsonb(-1e400)"
                               " WHEN x <> 'NaN' THEN to_jsonb(x) END FROM (SELECT ";
    static const char time[] = "(SELECT CASE WHEN isfinite(x) THEN"
                               " to_jsonb((extract(epoch FROM x) * 1000000)::bigint)"
                               " ELSE to_jsonb(x::text) END FROM (SELECT ";
    static const struct {
        const char *type, *before, *after;
    } known[] = {
        {"bool", "to_jsonb(", "::int)"},
        {"int2", "to_jsonb(", ")"},
        {"int4", "to_jsonb(", ")"},
        {"int8", "to_jsonb(", ")"},
        {"float4", real, "::float8 AS x) AS f)"},
        {"float8", real, " AS x) AS f)"},
        {"bytea", "jsonb_build_object('$bytes', encode(", ", 'hex'))"},
        {"json", "(", ")::jsonb"},
        {"jsonb", "(", ")"},
        {"timestamp", time, " AS x) AS f)"},
        {"timestamptz", time, " AS x) AS f)"},
        {"", "to_jsonb(", "::text)"},
    };
    size_t i = 0;

    while (*known[i].type != '\0' && strcmp(known[i].type, type) != 0)
        i++;
    return poly_arena_printf(l->arena, "%s%s%s", known[i].before, sql, known[i].after);
}

/* A field of a column with JSON, as a filter of a record's would be kept. */
static const char *field_of(const struct loading *l, const char *object, const char *name)
{
    struct poly_buffer text;
    const char *sql = NULL;

    poly_buffer_init(&text, POLY_MAX_SQL);
    poly_buffer_printf(
        &text,
        "(SELECT CASE WHEN jsonb_typeof(x) = 'boolean' THEN to_jsonb(x::boolean::int)"
        " ELSE x END FROM (SELECT %s -> '",
        object);
    for (const char *c = name; *c != '\0'; c++) {
        if (*c == '\'')
            poly_buffer_char(&text, '\'');
        poly_buffer_char(&text, *c);
    }
    poly_buffer_text(&text, "' AS x) AS f)");
    if (poly_buffer_ok(&text))
        sql = poly_arena_copy(l->arena, text.data, text.size);
    poly_buffer_release(&text);
    return sql;
}

static enum poly_status load_fields(const struct loading *l, const struct poly_pgv_collection *c,
                                    struct poly_pgv_column *columns, const char **operands)
{
    int row = row_of(l, c->shape.filters_in);
    const char *column = row < 0 ? NULL : d(l, row);
    const char *object = column == NULL
                             ? "NULL::jsonb"
                             : operand_of(l, column, poly_pg_text(l->rows, row, TYPE).data);

    if (object == NULL)
        return poly_no_memory(l->err);
    for (size_t i = 0; i < c->shape.filter_count; i++) {
        columns[i] = (struct poly_pgv_column){.sql = "NULL::text", .type = ""};
        operands[i] = field_of(l, object, c->names[i]);
        if (operands[i] == NULL)
            return poly_no_memory(l->err);
    }
    return POLY_OK;
}

static enum poly_status load_filters(const struct loading *l, struct poly_pgv_collection *c,
                                     struct poly_pgv_table *table)
{
    size_t count = c->shape.filter_count;
    struct poly_pgv_column *columns = poly_arena_array(l->arena, count + 1, sizeof(*columns));
    const char **operands = poly_arena_array(l->arena, count + 1, sizeof(*operands));

    if (columns == NULL || operands == NULL)
        return poly_no_memory(l->err);
    table->columns = columns;
    table->operands = operands;
    if (c->shape.filters_in != NULL)
        return load_fields(l, c, columns, operands);
    for (size_t i = 0; i < count; i++) {
        int row = row_of(l, c->names[i]);

        /* what a record does not have is null */
        columns[i].sql = row < 0 ? "NULL::text" : d(l, row);
        columns[i].type = row < 0 ? "" : text_of(l, row, TYPE);
        operands[i] = columns[i].sql == NULL || columns[i].type == NULL
                          ? NULL
                          : operand_of(l, columns[i].sql, columns[i].type);
        if (operands[i] == NULL)
            return poly_no_memory(l->err);
    }
    return POLY_OK;
}

/* --- does it fit? --- */

static enum poly_status unfit(const struct loading *l, struct poly_pgv_table *table,
                              enum poly_status status, const char *text)
{
    table->status = status;
    table->problem = text;
    return text == NULL ? poly_no_memory(l->err) : POLY_OK;
}

static enum poly_status check_type(const struct loading *l, const struct poly_pgv_collection *c,
                                   int row, struct poly_pgv_table *table)
{
    size_t size = strcspn(c->type, "(");
    struct poly_text type = poly_pg_text(l->rows, row, TYPE);

    if (type.size == size && memcmp(type.data, c->type, size) == 0 &&
        poly_pg_int(l->rows, row, TYPMOD) == c->shape.dimensions)
        return POLY_OK;
    return unfit(l, table, POLY_UNSUPPORTED,
                 poly_arena_printf(l->arena,
                                   "domain '%s': column '%s' of table '%s' is %s; where vectors "
                                   "are co-located it has to be %s",
                                   l->domain->name, c->shape.field, l->domain->table,
                                   poly_pg_text(l->rows, row, WHOLE_TYPE).data, c->type));
}

static void load_keys(const struct loading *l, struct poly_pgv_table *table)
{
    const char *tenant = l->domain->tenant;

    for (int row = 0; row < PQntuples(l->rows); row++) {
        if (tenant != NULL && strcasecmp(poly_pg_text(l->rows, row, NAME).data, tenant) == 0) {
            table->tenant = d(l, row);
            table->tenant_type = text_of(l, row, CAST);
        } else if (poly_pg_bool(l->rows, row, IN_KEY)) {
            table->key = d(l, row);
            table->key_type = text_of(l, row, CAST);
        }
    }
}

/* --- SQL --- */

static enum poly_status load_sql(const struct loading *l, struct poly_pgv_collection *c, int row,
                                 const struct poly_pgv_table *table)
{
    struct poly_arena *arena = l->arena;
    struct poly_pgv_place place = {
        .relation = text_of(l, row, RELATION),
        .column = text_of(l, row, QUOTED),
        .oid = poly_arena_printf(arena, "%lld", (long long)poly_pg_int(l->rows, row, OID)),
        .attribute = poly_arena_printf(arena, "%d", (int)poly_pg_int(l->rows, row, NUMBER)),
        .schema = text_of(l, row, SCHEMA)};
    enum poly_status status;

    if (place.relation == NULL || place.column == NULL || place.oid == NULL ||
        place.attribute == NULL || place.schema == NULL)
        return poly_no_memory(l->err);
    place.prefix = poly_arena_printf(arena, "poly_vector_%s_%s", place.oid, place.attribute);
    c->from = poly_arena_printf(arena, "%s AS d", place.relation);
    c->key = poly_arena_printf(arena, "%s::text COLLATE \"C\"", table->key);
    c->embedding = d(l, row);
    if (place.prefix == NULL || c->from == NULL || c->key == NULL || c->embedding == NULL)
        return poly_no_memory(l->err);
    c->like =
        table->tenant == NULL
            ? poly_arena_printf(arena,
                                "SELECT %s(%s) FROM %s WHERE $1::text IS NOT NULL"
                                " AND %s = $2::%s AND %s IS NOT NULL",
                                c->send, c->embedding, c->from, table->key, table->key_type,
                                c->embedding)
            : poly_arena_printf(arena,
                                "SELECT %s(%s) FROM %s WHERE %s = $1::%s AND %s = $2::%s"
                                " AND %s IS NOT NULL",
                                c->send, c->embedding, c->from, table->tenant, table->tenant_type,
                                table->key, table->key_type, c->embedding);
    status = poly_pgv_index_sql(arena, c, &place, l->err);
    if (poly_pg_bool(l->rows, row, PARTITIONED))
        c->add_index = NULL; /* that cannot be done beside everything else */
    if (status != POLY_OK || c->like == NULL)
        return status == POLY_OK ? poly_no_memory(l->err) : status;
    c->measure = poly_arena_printf(
        arena,
        "SELECT (%s), (SELECT coalesce(sum(pg_relation_size(x.oid)), 0)::bigint%s),"
        " pg_stat_get_dead_tuples(%s)",
        c->count, c->indexes, place.oid);
    return c->measure == NULL ? poly_no_memory(l->err) : POLY_OK;
}

/* --- a collection --- */

static enum poly_status load_shape(const struct loading *l, const struct poly_domain_vector *vector,
                                   struct poly_pgv_collection *c)
{
    const char **names = poly_arena_array(l->arena, vector->filter_count + 1, sizeof(*names));

    if (names == NULL)
        return poly_no_memory(l->err);
    c->base.name = c->base.source = l->domain->name;
    c->base.tenants = l->domain->tenant != NULL;
    c->shape = *vector;
    for (size_t i = 0; i < vector->filter_count; i++)
        names[i] = vector->filters[i];
    names[vector->filter_count] = vector->field;
    c->names = names;
    return poly_pgv_describe(l->arena, c, l->err);
}

static enum poly_status load_table(const struct loading *l, struct poly_pgv_collection *c,
                                   struct poly_pgv_table *table)
{
    int row = row_of(l, c->shape.field);
    enum poly_status status;

    if (PQntuples(l->rows) == 0)
        return unfit(l, table, POLY_UNAVAILABLE,
                     poly_arena_printf(l->arena,
                                       "domain '%s': table '%s' does not exist; run 'polystore "
                                       "migrate up'",
                                       l->domain->name, l->domain->table));
    load_keys(l, table);
    if (row < 0 || table->key == NULL || (l->domain->tenant != NULL && table->tenant == NULL))
        return unfit(l, table, POLY_UNSUPPORTED,
                     poly_arena_printf(l->arena, "domain '%s': table '%s' has no %s",
                                       l->domain->name, l->domain->table,
                                       row < 0              ? "column for its vectors"
                                       : table->key == NULL ? "primary key"
                                                            : "column for its tenants"));
    status = check_type(l, c, row, table);
    if (status == POLY_OK && table->problem == NULL)
        status = load_filters(l, c, table);
    return status == POLY_OK && table->problem == NULL ? load_sql(l, c, row, table) : status;
}

static enum poly_status load_domain(struct loading *l)
{
    struct poly_follower_generation *g = &l->tables->base;
    enum poly_status status = POLY_OK;

    for (size_t i = 0; i < l->domain->vector_count && status == POLY_OK; i++) {
        struct poly_pgv_collection *c = poly_arena_alloc(l->arena, sizeof(*c));
        struct poly_pgv_table *table = poly_arena_alloc(l->arena, sizeof(*table));

        if (!poly_config_in_table(l->config, l->domain, &l->domain->vectors[i]))
            continue;
        if (c == NULL || table == NULL)
            return poly_no_memory(l->err);
        c->table = table;
        g->sources[g->source_count++] = &c->base;
        status = load_shape(l, &l->domain->vectors[i], c);
        if (status == POLY_OK)
            status = load_table(l, c, table);
    }
    return status;
}

/* --- all of them --- */

static bool sign(struct poly_buffer *out, const PGresult *rows)
{
    poly_buffer_printf(out, "%d\n", PQntuples(rows));
    for (int row = 0; row < PQntuples(rows); row++)
        for (int column = 0; column < COLUMNS; column++)
            poly_buffer_add(out, PQgetvalue(rows, row, column),
                            (size_t)PQgetlength(rows, row, column) + 1);
    return poly_buffer_ok(out);
}

static enum poly_status read_domain(struct loading *l, struct poly_pg *pg,
                                    struct poly_buffer *signature)
{
    struct poly_pg_params params;
    PGresult *rows;
    enum poly_status status;

    poly_pg_params(&params);
    poly_pg_add_text(&params, poly_text(l->domain->table));
    status = poly_pg_run(pg, sql_columns, &params, &rows, l->err);
    if (status != POLY_OK)
        return status;
    l->rows = rows;
    status = sign(signature, rows) ? load_domain(l) : poly_no_memory(l->err);
    PQclear(rows);
    return status;
}

static enum poly_status load_all(struct poly_pgv *self, struct poly_pg *pg, struct tables *tables,
                                 struct poly_error *err)
{
    const struct poly_config *config = self->base.config;
    struct poly_arena *arena = tables->base.arena;
    struct loading l = {.config = config, .tables = tables, .arena = arena, .err = err};
    struct poly_buffer signature;
    size_t room = 0;
    enum poly_status status = POLY_OK;

    for (size_t i = 0; i < config->domain_count; i++)
        room += config->domains[i].vector_count;
    tables->base.forms = poly_arena_alloc(arena, sizeof(*tables->base.forms));
    tables->base.sources = poly_arena_array(arena, room + 1, sizeof(*tables->base.sources));
    if (tables->base.forms == NULL || tables->base.sources == NULL)
        return poly_no_memory(err);
    poly_buffer_init(&signature, TABLES_MAX);
    for (size_t i = 0; i < config->domain_count && status == POLY_OK; i++) {
        l.domain = &config->domains[i];
        if (l.domain->table != NULL && l.domain->vector_count > 0)
            status = read_domain(&l, pg, &signature);
    }
    tables->signature.size = signature.size;
    tables->signature.data =
        signature.size == 0 ? "" : poly_arena_copy(arena, signature.data, signature.size);
    poly_buffer_release(&signature);
    return status == POLY_OK && tables->signature.data == NULL ? poly_no_memory(err) : status;
}

static enum poly_status ask_for_indexes(struct poly_pg *pg, const struct tables *tables,
                                        struct poly_error *err)
{
    enum poly_status status = POLY_OK;

    for (size_t i = 0; i < tables->base.source_count && status == POLY_OK; i++) {
        const struct poly_pgv_collection *c =
            (const struct poly_pgv_collection *)tables->base.sources[i];
        uint64_t valid = 0;

        if (c->table->problem != NULL)
            continue;
        status = poly_follower_number(pg, c->is_indexed, &valid, err);
        atomic_store(c->indexed, valid != 0);
    }
    return status;
}

static enum poly_status load(struct poly_pgv *self, struct poly_pg *pg, struct tables **tables,
                             struct poly_error *err)
{
    struct poly_arena *arena = poly_arena_new(TABLES_MAX);
    enum poly_status status;

    *tables = arena == NULL ? NULL : poly_arena_alloc(arena, sizeof(**tables));
    if (*tables == NULL) {
        poly_arena_free(arena);
        return poly_no_memory(err);
    }
    (*tables)->base.arena = arena;
    status = load_all(self, pg, *tables, err);
    if (status != POLY_OK)
        poly_arena_free(arena);
    return status;
}

static bool same(const struct tables *a, const struct tables *b)
{
    return a->signature.size == b->signature.size &&
           memcmp(a->signature.data, b->signature.data, a->signature.size) == 0;
}

/* The new one, unless it says what is known already. */
static const struct poly_follower_generation *publish(struct poly_pgv *self, struct tables *tables)
{
    const struct poly_follower_generation *g = &tables->base;

    pthread_mutex_lock(&self->base.lock);
    if (self->tables != NULL && same((const struct tables *)self->tables, tables)) {
        g = self->tables;
    } else {
        tables->base.next = self->tables;
        self->tables = &tables->base;
    }
    pthread_mutex_unlock(&self->base.lock);
    if (g != &tables->base)
        poly_arena_free(tables->base.arena);
    return g;
}

enum poly_status poly_pgv_tables(struct poly_pgv *self, struct poly_pg *pg, bool look,
                                 const struct poly_follower_generation **tables,
                                 struct poly_error *err)
{
    struct tables *now;
    enum poly_status status;

    pthread_mutex_lock(&self->base.lock);
    *tables = self->tables;
    pthread_mutex_unlock(&self->base.lock);
    if (*tables != NULL && !look)
        return POLY_OK;
    status = load(self, pg, &now, err);
    if (status != POLY_OK)
        return status;
    *tables = publish(self, now);
    /* only now: what a connection has prepared must never be freed */
    return *tables == &now->base ? ask_for_indexes(pg, now, err) : POLY_OK;
}

void poly_pgv_tables_free(struct poly_pgv *self)
{
    while (self->tables != NULL) {
        struct poly_follower_generation *next = self->tables->next;

        poly_arena_free(self->tables->arena);
        self->tables = next;
    }
}
