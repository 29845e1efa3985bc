/*
 * One way into the log: triggers on the table, so that every change is recorded
 * in its own transaction, whoever makes it. They fire once for each statement and
 * write the records of all its rows with one INSERT … SELECT. Triggers for each
 * row were measured beside them: one row costs the same, a thousand more than twice as
 * much. Their functions belong to us and run with our rights, so that a writer
 * needs none on schema poly; who and why stands in the setting poly.meta of the writer's
 * transaction, where ours put it.
 *
 * A transition table has the rows as the statement left them. Triggers of others
 * (row by row, or earlier in the alphabet) may have changed them again by then, and
 * that was logged first; where there are such triggers, the row is read again, so
 * that the last record is the last state.
 *
 * A transition table has no statistics, and its plan is kept: without the
 * setting, the first update of one row would settle for a nested loop, and a later one
 * of 100,000 rows would run for hours.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/limits.h"
#include "stores/relational/postgresql.h"

enum { INSERT, UPDATE, DELETE, TRUNCATE };

enum { PLAIN_MAX = 45 /* of a domain's name that still fits with what stands around it */ };

static const char *const events[POLY_TRIGGER_EVENTS] = {"insert", "update", "delete", "truncate"};

static const char sql_relations[] =
    "SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.relkind = 'p'"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)"
    " OR c.oid IN (SELECT relid FROM pg_partition_tree(to_regclass($1))) ORDER BY c.oid";

/* --- names --- */

/* <prefix><domain>_<event>; a long domain by its beginning and a number of the whole. */
void poly_postgresql_trigger(char name[POLY_TRIGGER_BYTES], const char *prefix, const char *domain,
                             int event)
{
    uint32_t hash = 2166136261u;

    for (const char *c = domain; *c != '\0'; c++)
        hash = (hash ^ (unsigned char)*c) * 16777619u;
    if (strlen(domain) <= PLAIN_MAX)
        snprintf(name, POLY_TRIGGER_BYTES, "%s%s_%s", prefix, domain, events[event]);
    else
        snprintf(name, POLY_TRIGGER_BYTES, "%s%.36s_%08" PRIx32 "_%s", prefix, domain, hash,
                 events[event]);
}

static void add_function(struct poly_buffer *b, const struct poly_table *table, int event)
{
    char name[POLY_TRIGGER_BYTES];

    poly_postgresql_trigger(name, "", table->domain->name, event);
    poly_buffer_text(b, "poly.");
    poly_sql_name(b, name);
}

/* --- texts --- */

static void add_column(struct poly_buffer *b, const char *row, const char *name)
{
    poly_buffer_printf(b, "%s.", row);
    poly_sql_name(b, name);
}

static void add_float(struct poly_buffer *b, const char *x)
{
    poly_buffer_printf(b,
                       "CASE WHEN %s = 'NaN' THEN NULL"
                       " WHEN %s = 'Infinity' THEN '{\"$float\":\"Infinity\"}'::json"
                       " WHEN %s = '-Infinity' THEN '{\"$float\":\"-Infinity\"}'::json"
                       " WHEN %s = trunc(%s) AND abs(%s) < 1e15 THEN (%s::text || '.0')::json"
                       " ELSE to_json(%s) END",
                       x, x, x, x, x, x, x, x);
}

/* As the triggers on SQLite make it of the same value. */
static void add_image_value(struct poly_buffer *b, const struct poly_postgresql_table *self,
                            const char *row, size_t column)
{
    struct poly_buffer x;

    poly_buffer_init(&x, 4096);
    poly_postgresql_column(&x, self, row, column);
    if (!poly_buffer_ok(&x))
        b->failed = true;
    else if (self->base.columns[column].type == POLY_FLOAT)
        add_float(b, x.data);
    else if (self->base.columns[column].type == POLY_BYTES)
        poly_buffer_printf(b, "('{\"$bytes\":\"' || encode(%s, 'hex') || '\"}')::json", x.data);
    else if (self->base.columns[column].type == POLY_TIME)
        poly_buffer_printf(b,
                           "CASE WHEN isfinite(%s) THEN"
                           " to_json((extract(epoch FROM %s) * 1000000)::bigint)"
                           " ELSE to_json(%s::text) END",
                           x.data, x.data, x.data);
    else
        poly_buffer_text(b, x.data);
    poly_buffer_release(&x);
}

/* A row i of what the log has of a row. The planner makes one expression of it, where it is joined
 * and not a subquery of its own. */
static void add_image(struct poly_buffer *b, const struct poly_postgresql_table *self,
                      const char *row)
{
    poly_buffer_text(b, "(SELECT ");
    for (size_t i = 0; i < self->base.column_count; i++) {
        poly_buffer_text(b, i == 0 ? "" : ", ");
        add_image_value(b, self, row, i);
        poly_buffer_text(b, " AS ");
        poly_sql_name(b, self->base.columns[i].name);
    }
    poly_buffer_text(b, ") AS i");
}

/* No tenant is no place in the log: NULL is refused there, '' would be everybody's. */
static void add_tenant(struct poly_buffer *b, const struct poly_postgresql_table *self,
                       const char *row)
{
    if (self->tenant_sql == NULL) {
        poly_buffer_text(b, "''");
        return;
    }
    poly_buffer_text(b, "nullif(");
    add_column(b, row, self->tenant_name);
    poly_buffer_text(b, "::text, '')");
}

static void add_key(struct poly_buffer *b, const struct poly_postgresql_table *self,
                    const char *row)
{
    add_column(b, row, self->base.columns[self->base.key].name);
    poly_buffer_text(b, "::text");
}

/* The two rows are of one record. */
static void add_same(struct poly_buffer *b, const struct poly_postgresql_table *self, const char *x,
                     const char *y)
{
    const char *key = self->base.columns[self->base.key].name;

    add_column(b, x, key);
    poly_buffer_text(b, " = ");
    add_column(b, y, key);
    if (self->tenant_sql == NULL)
        return;
    poly_buffer_text(b, " AND ");
    add_column(b, x, self->tenant_name);
    poly_buffer_text(b, " = ");
    add_column(b, y, self->tenant_name);
}

static void add_head(struct poly_buffer *b, const struct poly_postgresql_table *self)
{
    poly_buffer_text(b, "INSERT INTO poly.log(domain, meta, tenant, key, type, data) SELECT ");
    poly_sql_text(b, self->base.domain->name);
    poly_buffer_text(b, ", nullif(current_setting('poly.meta', true), ''), ");
}

static void add_put(struct poly_buffer *b, const struct poly_postgresql_table *self)
{
    add_head(b, self);
    add_tenant(b, self, "n");
    poly_buffer_text(b, ", ");
    add_key(b, self, "n");
    poly_buffer_text(b, ", '$put', row_to_json(i.*) FROM new_rows AS ");
    if (self->rewritten) {
        poly_buffer_printf(b, "k CROSS JOIN LATERAL (SELECT * FROM %s AS n WHERE ", self->name);
        add_same(b, self, "n", "k");
        poly_buffer_text(b, " LIMIT 1) AS ");
    }
    poly_buffer_text(b, "n CROSS JOIN LATERAL ");
    add_image(b, self, "n");
}

static void add_delete(struct poly_buffer *b, const struct poly_postgresql_table *self)
{
    add_head(b, self);
    add_tenant(b, self, "o");
    poly_buffer_text(b, ", ");
    add_key(b, self, "o");
    poly_buffer_text(b, ", '$delete', NULL FROM old_rows AS o");
}

static void add_insert_body(struct poly_buffer *b, const struct poly_postgresql_table *self)
{
    poly_buffer_text(b, "BEGIN IF EXISTS (SELECT 1 FROM new_rows) THEN ");
    add_put(b, self);
    poly_buffer_text(b, "; END IF; RETURN NULL; END");
}

/* A key that is no longer there was deleted; a row that is byte for byte what it was has not
 * changed. */
static void add_update_body(struct poly_buffer *b, const struct poly_postgresql_table *self)
{
    const char *after = self->rewritten ? "k" : "n";

    poly_buffer_text(b, "BEGIN IF EXISTS (SELECT 1 FROM old_rows) THEN"
                        " IF EXISTS (SELECT 1 FROM old_rows AS o WHERE NOT EXISTS"
                        " (SELECT 1 FROM new_rows AS n WHERE ");
    add_same(b, self, "n", "o");
    poly_buffer_text(b, ")) THEN ");
    add_delete(b, self);
    poly_buffer_text(b, " WHERE NOT EXISTS (SELECT 1 FROM new_rows AS n WHERE ");
    add_same(b, self, "n", "o");
    poly_buffer_text(b, "); END IF; ");
    add_put(b, self);
    poly_buffer_text(b, " WHERE NOT EXISTS (SELECT 1 FROM old_rows AS o WHERE ");
    add_same(b, self, "o", after);
    poly_buffer_printf(b, " AND o.* OPERATOR(pg_catalog.*=) %s.*); END IF; RETURN NULL; END",
                       after);
}

static void add_delete_body(struct poly_buffer *b, const struct poly_postgresql_table *self)
{
    poly_buffer_text(b, "BEGIN IF EXISTS (SELECT 1 FROM old_rows) THEN ");
    add_delete(b, self);
    poly_buffer_text(b, "; END IF; RETURN NULL; END");
}

/* The rows of a partitioned table are logged by its partitions, each of which is truncated. */
static void add_truncate_body(struct poly_buffer *b, const struct poly_postgresql_table *self)
{
    struct poly_buffer inner;

    poly_buffer_init(&inner, 65536);
    add_head(&inner, self);
    add_tenant(&inner, self, "o");
    poly_buffer_text(&inner, ", ");
    add_key(&inner, self, "o");
    poly_buffer_text(&inner, ", '$delete', NULL FROM ONLY ");
    poly_buffer_text(b, "BEGIN EXECUTE ");
    if (poly_buffer_ok(&inner))
        poly_sql_text(b, inner.data);
    else
        b->failed = true;
    poly_buffer_text(b, " || TG_RELID::regclass || ' AS o'; RETURN NULL; END");
    poly_buffer_release(&inner);
}

/* What the primary key's index is ordered by, of row t; ends: after each of them. */
static void add_order(struct poly_buffer *b, const struct poly_postgresql_table *self,
                      const char *row, const char *end)
{
    const char *key = self->base.columns[self->base.key].name;
    bool both = self->base.tenant_in_key;

    add_column(b, row, both && !self->key_first ? self->tenant_name : key);
    poly_buffer_text(b, end);
    if (!both)
        return;
    poly_buffer_text(b, ", ");
    add_column(b, row, self->key_first ? self->tenant_name : key);
    poly_buffer_text(b, end);
}

/* Is row t > (or <=) the place that parameters have as texts, in the order of the primary key? */
static void add_compare(struct poly_buffer *b, const struct poly_postgresql_table *self,
                        const char *sign, int parameter)
{
    const char *key = self->columns[self->base.key].type;
    bool both = self->base.tenant_in_key;
    bool key_first = !both || self->key_first;

    poly_buffer_text(b, "(");
    add_order(b, self, "t", "");
    poly_buffer_printf(b, ") %s ($%d::text::%s", sign, parameter,
                       key_first ? key : self->tenant_sql);
    if (both)
        poly_buffer_printf(b, ", $%d::text::%s)", parameter + 1,
                           key_first ? self->tenant_sql : key);
    else
        poly_buffer_printf(b, ") AND $%d::text IS NULL", parameter + 1);
}

/* Locks the rows behind $1 and $2 (null: all), $3 of them, against changes: how many these are, and
 * the place of the last. */
static void add_lock_rows(struct poly_buffer *b, const struct poly_postgresql_table *self)
{
    poly_buffer_text(b, "SELECT row_number() OVER () AS number, ");
    add_order(b, self, "t", "::text");
    poly_buffer_printf(b, "%s FROM (SELECT * FROM %s AS t WHERE $1::text IS NULL OR (",
                       self->base.tenant_in_key ? "" : ", NULL", self->name);
    add_compare(b, self, ">", 1);
    poly_buffer_text(b, ") ORDER BY ");
    add_order(b, self, "t", "");
    poly_buffer_text(b, " LIMIT $3 FOR SHARE OF t) AS t ORDER BY number DESC LIMIT 1");
}

/* Those rows, up to $3 and $4, as far as the log has them not, or not as they are. In a statement
 * of its own: what it sees of the log is as new as the rows. */
static void add_log_rows(struct poly_buffer *b, const struct poly_postgresql_table *self)
{
    add_head(b, self);
    poly_buffer_text(b, "p.tenant, p.key, '$put', p.image FROM (SELECT ");
    add_tenant(b, self, "t");
    poly_buffer_text(b, " AS tenant, ");
    add_key(b, self, "t");
    poly_buffer_text(b, " AS key, row_to_json(i.*) AS image, row_number() OVER (ORDER BY ");
    add_order(b, self, "t", "");
    poly_buffer_printf(b, ") AS number FROM %s AS t CROSS JOIN LATERAL ", self->name);
    add_image(b, self, "t");
    poly_buffer_text(b, " WHERE ($1::text IS NULL OR (");
    add_compare(b, self, ">", 1);
    poly_buffer_text(b, ")) AND ");
    add_compare(b, self, "<=", 3);
    /* A column that was added and is null everywhere is no change. */
    poly_buffer_text(b, ") AS p LEFT JOIN LATERAL (SELECT l.type, l.data FROM poly.log AS l"
                        " WHERE l.key = p.key COLLATE \"C\" AND l.tenant = p.tenant COLLATE \"C\""
                        " AND l.version IS NULL AND l.domain = ");
    poly_sql_text(b, self->base.domain->name);
    poly_buffer_text(
        b, " ORDER BY l.position DESC LIMIT 1) AS l ON true WHERE l.type IS NULL"
           " OR l.type = '$delete' OR (l.data::text IS DISTINCT FROM p.image::text AND"
           " jsonb_strip_nulls(l.data::jsonb) IS DISTINCT FROM jsonb_strip_nulls(p.image::jsonb))"
           " ORDER BY p.number");
}

/* A text of the log as the column's type, so that the column's index is asked; null: it never was
 * one. The log's texts have a collation; on a way that has none they take the column's. */
static void add_typed(struct poly_buffer *b, enum poly_type type, const char *text)
{
    if (type == POLY_INT)
        poly_buffer_printf(b,
                           "CASE WHEN %s ~ '^-?[0-9]{1,19}$' THEN CASE WHEN %s::numeric BETWEEN"
                           " -9223372036854775808 AND 9223372036854775807 THEN %s::int8 END END",
                           text, text, text);
    else if (type == POLY_UUID)
        poly_buffer_printf(b,
                           "CASE WHEN %s ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'"
                           " THEN %s::uuid END",
                           text, text);
    else
        poly_buffer_printf(b, "(to_json(%s) #>> '{}')", text);
}

/* t has that text in the column. */
static void add_equal(struct poly_buffer *b, const char *column, enum poly_type type,
                      const char *text)
{
    add_column(b, "t", column);
    poly_buffer_text(b, " = ");
    add_typed(b, type, text);
    if (type == POLY_TEXT)
        return;
    poly_buffer_text(b, " AND "); /* '007' is no number's text */
    add_column(b, "t", column);
    poly_buffer_printf(b, "::text = %s", text);
}

/* Records that the log has and the table has not: l, of a page in the order of key and tenant. $1
 * and $2 are where the one before ended, $3 is how many records it has. */
static void add_gone_page(struct poly_buffer *b, const struct poly_postgresql_table *self)
{
    poly_buffer_text(b, "FROM (SELECT DISTINCT ON (key, tenant) key, tenant, type FROM poly.log"
                        " WHERE version IS NULL AND domain = ");
    poly_sql_text(b, self->base.domain->name);
    poly_buffer_text(b, " AND ($1::text IS NULL OR (key, tenant) > ($1::text, $2::text))"
                        " ORDER BY key, tenant, position DESC LIMIT $3) AS l");
}

static void add_is_gone(struct poly_buffer *b, const struct poly_postgresql_table *self)
{
    const struct poly_column *key = &self->base.columns[self->base.key];

    poly_buffer_printf(b, "l.type = '$put' AND NOT EXISTS (SELECT 1 FROM %s AS t WHERE ",
                       self->name);
    add_equal(b, key->name, key->type, "l.key");
    if (self->tenant_sql != NULL) {
        poly_buffer_text(b, " AND ");
        add_equal(b, self->tenant_name, self->base.tenant_type, "l.tenant");
    }
    poly_buffer_text(b, ")");
}

/* How many of the page are gone, how many it has, and where it ends. */
static void add_find_gone(struct poly_buffer *b, const struct poly_postgresql_table *self)
{
    poly_buffer_text(b, "SELECT count(*) FILTER (WHERE ");
    add_is_gone(b, self);
    poly_buffer_text(b, "), count(*), (array_agg(l.key ORDER BY l.key DESC, l.tenant DESC))[1],"
                        " (array_agg(l.tenant ORDER BY l.key DESC, l.tenant DESC))[1] ");
    add_gone_page(b, self);
}

static void add_log_gone(struct poly_buffer *b, const struct poly_postgresql_table *self)
{
    add_head(b, self);
    poly_buffer_text(b, "l.tenant, l.key, '$delete', NULL ");
    add_gone_page(b, self);
    poly_buffer_text(b, " WHERE ");
    add_is_gone(b, self);
}

void poly_postgresql_triggers(struct poly_postgresql_table *table, struct poly_buffer *scratch,
                              bool *failed)
{
    static void (*const add[POLY_TRIGGER_EVENTS])(struct poly_buffer * b,
                                                  const struct poly_postgresql_table *self) = {
        add_insert_body, add_update_body, add_delete_body, add_truncate_body};

    for (int event = 0; event < POLY_TRIGGER_EVENTS; event++) {
        add[event](scratch, table);
        table->bodies[event] = poly_postgresql_keep(table, scratch, failed);
    }
    add_lock_rows(scratch, table);
    table->lock_rows = poly_postgresql_keep(table, scratch, failed);
    add_log_rows(scratch, table);
    table->log_rows = poly_postgresql_keep(table, scratch, failed);
    add_find_gone(scratch, table);
    table->find_gone = poly_postgresql_keep(table, scratch, failed);
    add_log_gone(scratch, table);
    table->log_gone = poly_postgresql_keep(table, scratch, failed);
}

/* --- making them --- */

/* Settings of the writer's session that would change how a value is printed are set aside. */
static void add_create_function(struct poly_buffer *b, const struct poly_postgresql_table *self,
                                int event)
{
    bool floats = false, texts = false;

    for (size_t i = 0; i < self->base.column_count; i++) {
        floats = floats || self->base.columns[i].type == POLY_FLOAT;
        texts = texts || self->columns[i].as_text;
    }
    poly_buffer_text(b, "CREATE OR REPLACE FUNCTION ");
    add_function(b, &self->base, event);
    poly_buffer_text(b, "() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"
                        " SET search_path = pg_catalog, pg_temp");
    if (event == UPDATE)
        poly_buffer_text(b, " SET enable_nestloop = off");
    if (event <= UPDATE && (floats || texts))
        poly_buffer_text(b, " SET extra_float_digits = 1");
    if (event <= UPDATE && texts)
        poly_buffer_text(b, " SET DateStyle = 'ISO' SET IntervalStyle = 'postgres'"
                            " SET TimeZone = 'UTC' SET bytea_output = 'hex'");
    poly_buffer_text(b, " AS ");
    poly_sql_text(b, self->bodies[event]);
    poly_buffer_text(b, ";\nREVOKE ALL ON FUNCTION ");
    add_function(b, &self->base, event);
    poly_buffer_text(b, "() FROM PUBLIC;\n");
}

static void add_create_trigger(struct poly_buffer *b, const struct poly_postgresql_table *self,
                               const char *relation, int event)
{
    static const char *const when[POLY_TRIGGER_EVENTS] = {"AFTER INSERT", "AFTER UPDATE",
                                                          "AFTER DELETE", "BEFORE TRUNCATE"};
    static const char *const rows[POLY_TRIGGER_EVENTS] = {
        " REFERENCING NEW TABLE AS new_rows",
        " REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows",
        " REFERENCING OLD TABLE AS old_rows", ""};
    char name[POLY_TRIGGER_BYTES];

    poly_postgresql_trigger(name, "poly_", self->base.domain->name, event);
    poly_buffer_text(b, "CREATE OR REPLACE TRIGGER ");
    poly_sql_name(b, name);
    poly_buffer_printf(b, " %s ON %s%s FOR EACH STATEMENT EXECUTE FUNCTION ", when[event], relation,
                       rows[event]);
    add_function(b, &self->base, event);
    poly_buffer_printf(b, "();\nALTER TABLE %s ENABLE ALWAYS TRIGGER ", relation);
    poly_sql_name(b, name);
    poly_buffer_text(b, ";\n");
}

static enum poly_status run_all(struct poly_pg *pg, struct poly_buffer *sql, struct poly_error *err)
{
    enum poly_status status =
        poly_buffer_ok(sql) ? poly_pg_exec(pg, sql->data, err) : poly_no_memory(err);

    poly_buffer_release(sql);
    return status;
}

enum poly_status poly_postgresql_relations(struct poly_pg *pg,
                                           const struct poly_postgresql_table *self,
                                           PGresult **rows, struct poly_error *err)
{
    struct poly_pg_params params;

    poly_pg_params(&params);
    poly_pg_add_text(&params, poly_text(self->name));
    return poly_pg_run(pg, sql_relations, &params, rows, err);
}

enum poly_status poly_postgresql_functions(struct poly_pg *pg,
                                           const struct poly_postgresql_table *self,
                                           struct poly_error *err)
{
    struct poly_buffer sql;

    poly_buffer_init(&sql, 16 * 1024 * 1024);
    for (int event = 0; event < POLY_TRIGGER_EVENTS; event++)
        add_create_function(&sql, self, event);
    return run_all(pg, &sql, err);
}

enum poly_status poly_postgresql_attach(struct poly_pg *pg,
                                        const struct poly_postgresql_table *self,
                                        const char *relation, struct poly_error *err)
{
    struct poly_buffer sql;

    poly_buffer_init(&sql, 16 * 1024 * 1024);
    for (int event = 0; event < POLY_TRIGGER_EVENTS; event++)
        add_create_trigger(&sql, self, relation, event);
    return run_all(pg, &sql, err);
}

enum poly_status poly_postgresql_detach(struct poly_pg *pg,
                                        const struct poly_postgresql_table *self,
                                        struct poly_error *err)
{
    struct poly_buffer b;
    PGresult *rows;
    enum poly_status status = poly_postgresql_relations(pg, self, &rows, err);

    if (status != POLY_OK)
        return status;
    poly_buffer_init(&b, 16 * 1024 * 1024);
    if (PQntuples(rows) > 0 && self->tenant_sql != NULL)
        poly_buffer_printf(&b, "DROP POLICY IF EXISTS poly_wall ON %s;\n", self->name);
    for (int i = 0; i < PQntuples(rows) * POLY_TRIGGER_EVENTS; i++) {
        char name[POLY_TRIGGER_BYTES];

        poly_postgresql_trigger(name, "poly_", self->base.domain->name, i % POLY_TRIGGER_EVENTS);
        poly_buffer_text(&b, "DROP TRIGGER IF EXISTS ");
        poly_sql_name(&b, name);
        poly_buffer_printf(&b, " ON %s;\n", poly_pg_text(rows, i / POLY_TRIGGER_EVENTS, 0).data);
    }
    PQclear(rows);
    return run_all(pg, &b, err);
}

/* There is no table any more to look into. */
enum poly_status poly_postgresql_gone(struct poly_db *db, const struct poly_table *table,
                                      struct poly_error *err)
{
    struct poly_buffer sql;

    poly_buffer_init(&sql, 65536);
    add_head(&sql, poly_postgresql_table(table));
    poly_buffer_text(&sql, "l.tenant, l.key, '$delete', NULL FROM (SELECT DISTINCT ON (tenant, key)"
                           " tenant, key, type FROM poly.log WHERE version IS NULL AND domain = ");
    poly_sql_text(&sql, table->domain->name);
    poly_buffer_text(&sql, " ORDER BY tenant, key, position DESC) AS l WHERE l.type = '$put'");
    return run_all(poly_pg_of(db), &sql, err);
}
