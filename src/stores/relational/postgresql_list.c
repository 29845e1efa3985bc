/*
 * The SELECT of a list in PostgreSQL's dialect. Texts are compared and ordered by
 * the collation of their column (so that its indexes serve), prefixes byte
 * for byte. NULL comes first, as on SQLite; where a column cannot be null, that is not said, and
 * the index has the order already. NaN, which has no place among our values, is NULL here too.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "stores/relational/postgresql.h"

/* --- texts --- */

static const struct poly_column *column_of(const struct poly_listing *l, size_t column)
{
    return &l->table->columns[column];
}

static const char *type_of(const struct poly_listing *l, size_t column)
{
    return poly_postgresql_table(l->table)->columns[column].type;
}

/* json, unlike jsonb, cannot be compared but as text. */
static bool bare_json(const struct poly_listing *l, size_t column)
{
    return strcmp(type_of(l, column), "json") == 0;
}

/* What is compared and ordered. */
static void add_column(struct poly_listing *l, size_t column)
{
    bool real = column_of(l, column)->type == POLY_FLOAT;

    poly_buffer_text(&l->sql, real ? "nullif(t." : "t.");
    poly_sql_name(&l->sql, column_of(l, column)->name);
    if (real)
        poly_buffer_text(&l->sql, ", 'NaN')");
    else if (bare_json(l, column))
        poly_buffer_text(&l->sql, "::text COLLATE \"C\"");
}

static void add_value(struct poly_listing *l, size_t column, const struct poly_value *value)
{
    poly_buffer_printf(&l->sql, "$%d::%s", poly_list_bind(l, value),
                       bare_json(l, column) ? "text" : type_of(l, column));
}

/* --- filters on columns --- */

static const char *const operators[] = {" = ", " <> ", " < ", " <= ", " > ", " >= "};

static enum poly_status add_in(struct poly_listing *l, const struct poly_filter *filter,
                               size_t column, struct poly_error *err)
{
    if (filter->value_count == 0) {
        poly_buffer_text(&l->sql, "false");
        return POLY_OK;
    }
    add_column(l, column);
    poly_buffer_text(&l->sql, " IN (");
    for (size_t i = 0; i < filter->value_count; i++) {
        struct poly_value value;
        enum poly_status status = poly_list_stored(l, filter, &filter->values[i], &value, err);

        if (status != POLY_OK)
            return status;
        poly_buffer_text(&l->sql, i == 0 ? "" : ", ");
        add_value(l, column, &value);
    }
    poly_buffer_text(&l->sql, ")");
    return POLY_OK;
}

static enum poly_status add_on_column(struct poly_listing *l, const struct poly_filter *filter,
                                      size_t column, struct poly_error *err)
{
    struct poly_value value;
    enum poly_status status;

    switch (filter->compare) {
    case POLY_IN:
        return add_in(l, filter, column, err);
    case POLY_PREFIX:
        poly_buffer_text(&l->sql, "starts_with(t.");
        poly_sql_name(&l->sql, filter->column);
        poly_buffer_printf(&l->sql, "::text COLLATE \"C\", $%d::text)",
                           poly_list_bind(l, filter->values));
        return POLY_OK;
    case POLY_IS_NULL:
    case POLY_NOT_NULL:
        add_column(l, column);
        poly_buffer_text(&l->sql, filter->compare == POLY_IS_NULL ? " IS NULL" : " IS NOT NULL");
        return POLY_OK;
    default:
        status = poly_list_stored(l, filter, &filter->values[0], &value, err);
        if (status != POLY_OK)
            return status;
        add_column(l, column);
        poly_buffer_text(&l->sql, operators[filter->compare]);
        add_value(l, column, &value);
        return POLY_OK;
    }
}

/* --- filters inside JSON --- */

/* $.a."b c"[0][#-1] as jsonpath: strict $."a"."b c"[0][last - 0] */
static enum poly_status path_of(struct poly_listing *l, const char *path, struct poly_value *value,
                                struct poly_error *err)
{
    struct poly_buffer text;
    const char *p = path + 1;

    poly_buffer_init(&text, 4096);
    poly_buffer_text(&text, "strict $");
    while (*p != '\0') {
        size_t span;

        if (p[0] == '.') {
            bool quoted = p[1] == '"';

            p += quoted ? 2 : 1;
            span = strcspn(p, quoted ? "\"" : ".[\"");
            poly_buffer_text(&text, ".\"");
            for (size_t i = 0; i < span; i++) {
                if (p[i] == '\\')
                    poly_buffer_char(&text, '\\');
                poly_buffer_char(&text, p[i]);
            }
            poly_buffer_char(&text, '"');
            p += span + quoted;
        } else {
            bool back = p[1] == '#';
            int number = (int)strtol(p + (back ? 3 : 1), NULL, 10);

            /* [#-0] is beyond the end */
            poly_buffer_printf(&text, back ? "[last - %d]" : "[%d]", back ? number - 1 : number);
            p = strchr(p, ']') + 1;
        }
    }
    *value = poly_str("");
    value->text.size = text.size;
    value->text.data =
        poly_buffer_ok(&text) ? poly_arena_copy(l->arena, text.data, text.size) : NULL;
    poly_buffer_release(&text);
    return value->text.data == NULL ? poly_no_memory(err) : POLY_OK;
}

/* What stands at the path; NULL where nothing does, or null. */
static void add_place(struct poly_listing *l, const struct poly_filter *filter, int path)
{
    poly_buffer_text(&l->sql, "nullif(jsonb_path_query_first(t.");
    poly_sql_name(&l->sql, filter->column);
    poly_buffer_printf(&l->sql, "::jsonb, $%d::jsonpath, '{}', true), 'null')", path);
}

/* The place as a value of one class; NULL where it is of another. */
static void add_class(struct poly_listing *l, const struct poly_filter *filter, int path,
                      const struct poly_value *value)
{
    const char *type = value->type == POLY_FLOAT ? "float8" : "numeric";

    poly_buffer_text(&l->sql, "CASE jsonb_typeof(");
    add_place(l, filter, path);
    if (value->type != POLY_INT && value->type != POLY_FLOAT) {
        poly_buffer_text(&l->sql, ") WHEN 'string' THEN ");
        add_place(l, filter, path);
        poly_buffer_text(&l->sql, " #>> '{}' WHEN 'object' THEN ");
        add_place(l, filter, path);
        poly_buffer_text(&l->sql, "::text WHEN 'array' THEN ");
        add_place(l, filter, path);
        poly_buffer_text(&l->sql, "::text END COLLATE \"C\"");
        return;
    }
    poly_buffer_text(&l->sql, ") WHEN 'number' THEN (");
    add_place(l, filter, path);
    poly_buffer_printf(&l->sql, " #>> '{}')::%s WHEN 'boolean' THEN (", type);
    add_place(l, filter, path);
    poly_buffer_printf(&l->sql, " #>> '{}')::boolean::int::%s END", type);
}

static enum poly_status add_compared(struct poly_listing *l, const struct poly_filter *filter,
                                     int path, const struct poly_value *given, const char *operator,
                                     struct poly_error * err)
{
    struct poly_value value;
    enum poly_status status = poly_list_stored(l, filter, given, &value, err);

    if (status != POLY_OK)
        return status;
    add_class(l, filter, path, &value);
    poly_buffer_printf(&l->sql, "%s$%d::%s", operator, poly_list_bind(l, &value),
                       value.type == POLY_INT     ? "numeric"
                       : value.type == POLY_FLOAT ? "float8"
                                                  : "text");
    return POLY_OK;
}

static enum poly_status add_in_json(struct poly_listing *l, const struct poly_filter *filter,
                                    int path, struct poly_error *err)
{
    struct poly_value text = poly_str("");
    enum poly_status status = POLY_OK;

    switch (filter->compare) {
    case POLY_IS_NULL:
    case POLY_NOT_NULL:
        add_place(l, filter, path);
        poly_buffer_text(&l->sql, filter->compare == POLY_IS_NULL ? " IS NULL" : " IS NOT NULL");
        return POLY_OK;
    case POLY_PREFIX:
        poly_buffer_text(&l->sql, "starts_with(");
        add_class(l, filter, path, &text);
        poly_buffer_printf(&l->sql, ", $%d::text)", poly_list_bind(l, filter->values));
        return POLY_OK;
    case POLY_IN:
        poly_buffer_text(&l->sql, "false");
        for (size_t i = 0; i < filter->value_count && status == POLY_OK; i++) {
            poly_buffer_text(&l->sql, " OR ");
            status = add_compared(l, filter, path, &filter->values[i], " = ", err);
        }
        return status;
    case POLY_NE: /* of another class is another, too */
        add_place(l, filter, path);
        poly_buffer_text(&l->sql, " IS NOT NULL AND (");
        status = add_compared(l, filter, path, filter->values, " = ", err);
        poly_buffer_text(&l->sql, ") IS NOT TRUE");
        return status;
    default:
        return add_compared(l, filter, path, filter->values, operators[filter->compare], err);
    }
}

static enum poly_status add_filter(struct poly_listing *l, const struct poly_filter *filter,
                                   struct poly_error *err)
{
    size_t column = poly_table_find(l->table, filter->column);
    struct poly_value path;
    enum poly_status status;

    poly_buffer_text(&l->sql, " AND (");
    if (filter->path == NULL) {
        status = add_on_column(l, filter, column, err);
    } else if (column_of(l, column)->type != POLY_JSON) {
        return poly_list_wrong(l, filter->column, "has a path, but the column holds no JSON", err);
    } else {
        status = path_of(l, filter->path, &path, err);
        if (status == POLY_OK)
            status = add_in_json(l, filter, poly_list_bind(l, &path), err);
    }
    poly_buffer_text(&l->sql, ")");
    return status;
}

/* --- order --- */

/* Rows after the cursor. */
static void add_after(struct poly_listing *l)
{
    const char *beyond = l->query->descending ? " < " : " > ";
    struct poly_value key = {.type = POLY_TEXT, .text = l->after.key}, order = l->after.order;
    bool first = order.type == POLY_NULL;

    poly_buffer_text(&l->sql, " AND (");
    if (l->order != l->table->key && first) {
        add_column(l, l->order);
        poly_buffer_text(&l->sql, l->query->descending ? " IS NULL AND " : " IS NOT NULL OR ");
    } else if (l->order != l->table->key) {
        if (column_of(l, l->order)->type == POLY_TIME && order.type == POLY_INT)
            order.type = POLY_TIME;
        add_column(l, l->order);
        poly_buffer_text(&l->sql, beyond);
        add_value(l, l->order, &order);
        if (l->query->descending && !column_of(l, l->order)->not_null) {
            poly_buffer_text(&l->sql, " OR ");
            add_column(l, l->order);
            poly_buffer_text(&l->sql, " IS NULL");
        }
        poly_buffer_text(&l->sql, " OR ");
        add_column(l, l->order);
        poly_buffer_text(&l->sql, " = ");
        add_value(l, l->order, &order);
        poly_buffer_text(&l->sql, " AND ");
    }
    add_column(l, l->table->key);
    poly_buffer_text(&l->sql, beyond);
    add_value(l, l->table->key, &key);
    poly_buffer_text(&l->sql, ")");
}

static void add_order(struct poly_listing *l)
{
    const char *direction = l->query->descending ? " DESC" : "";

    poly_buffer_text(&l->sql, " ORDER BY ");
    if (l->order != l->table->key) {
        add_column(l, l->order);
        poly_buffer_text(&l->sql, direction);
        if (!column_of(l, l->order)->not_null || column_of(l, l->order)->type == POLY_FLOAT)
            poly_buffer_text(&l->sql, l->query->descending ? " NULLS LAST" : " NULLS FIRST");
        poly_buffer_text(&l->sql, ", ");
    }
    add_column(l, l->table->key);
    poly_buffer_printf(&l->sql, "%s LIMIT %u", direction, l->limit + 1);
}

static void add_head(struct poly_listing *l)
{
    const struct poly_postgresql_table *self = poly_postgresql_table(l->table);
    const char *key = l->table->columns[l->table->key].name;
    struct poly_value tenant = {.type = POLY_TEXT, .text = l->tenant};

    if (self->tenant_sql == NULL)
        tenant = poly_str("");
    poly_list_bind(l, &tenant);
    poly_buffer_text(&l->sql, "SELECT (SELECT position FROM poly.log WHERE domain = ");
    poly_sql_text(&l->sql, l->table->domain->name);
    poly_buffer_text(&l->sql, " AND tenant = $1::text AND key = t.");
    poly_sql_name(&l->sql, key);
    poly_buffer_text(&l->sql, "::text AND version IS NULL ORDER BY position DESC LIMIT 1)");
    for (size_t i = 0; i < l->table->column_count; i++) {
        poly_buffer_text(&l->sql, ", ");
        poly_postgresql_column(&l->sql, self, "t", i);
    }
    poly_buffer_text(&l->sql, ", t.");
    poly_sql_name(&l->sql, key);
    poly_buffer_printf(&l->sql, "::text FROM %s AS t WHERE ", self->name);
    poly_postgresql_same_shape(&l->sql, self);
    if (self->tenant_sql == NULL)
        return;
    poly_buffer_text(&l->sql, " AND t.");
    poly_sql_name(&l->sql, self->tenant_name);
    poly_buffer_printf(&l->sql, " = $%d::%s", poly_list_bind(l, &tenant), self->tenant_sql);
}

static enum poly_status build(struct poly_listing *l, struct poly_error *err)
{
    enum poly_status status;

    add_head(l);
    status = poly_list_filters(l, add_filter, err);
    if (status == POLY_OK && l->has_after)
        add_after(l);
    add_order(l);
    return status == POLY_OK ? poly_list_built(l, err) : status;
}

/* --- running --- */

static enum poly_status read_document(struct poly_listing *l, const PGresult *rows, int row,
                                      struct poly_document *document, struct poly_error *err)
{
    const struct poly_table *table = l->table;
    struct poly_field *fields = poly_arena_array(l->arena, table->column_count, sizeof(*fields));

    if (fields == NULL)
        return poly_list_too_large(l, err);
    for (size_t i = 0; i < table->column_count; i++) {
        fields[i].name = table->columns[i].name;
        if (poly_postgresql_value(rows, row, (int)i + 1, l->arena, &fields[i].value, err) !=
                POLY_OK ||
            poly_column_show(table, i, l->arena, &fields[i].value, err) != POLY_OK)
            return poly_list_too_large(l, err);
    }
    document->version = (uint64_t)poly_pg_int(rows, row, 0);
    document->row = (struct poly_row){fields, table->column_count};
    document->key = poly_pg_text(rows, row, (int)table->column_count + 1);
    document->key.data = poly_arena_copy(l->arena, document->key.data, document->key.size);
    return document->key.data == NULL ? poly_list_too_large(l, err) : POLY_OK;
}

/* As a cursor carries it. */
static enum poly_status remember(struct poly_listing *l, const struct poly_document *document,
                                 struct poly_error *err)
{
    struct poly_value order =
        l->order == l->table->key ? poly_null() : document->row.fields[l->order].value;
    char text[37];

    if (order.type == POLY_BOOL) {
        order = poly_int(order.boolean);
    } else if (order.type == POLY_TIME) {
        order.type = POLY_INT;
    } else if (order.type == POLY_JSON) {
        order.type = POLY_TEXT;
    } else if (order.type == POLY_UUID) {
        poly_uuid_format(order.uuid, text);
        order = poly_str(text);
    }
    return poly_list_remember(l, order, err);
}

static enum poly_status take_rows(struct poly_listing *l, const PGresult *rows,
                                  struct poly_page *page, struct poly_error *err)
{
    const char *cursor = NULL;
    enum poly_status status = POLY_OK;

    for (int row = 0; row < PQntuples(rows) && status == POLY_OK; row++) {
        struct poly_document *document;

        if (l->count == l->limit) { /* one more than asked for: there is another page */
            status = poly_list_more(l, &cursor, err);
            break;
        }
        document = poly_list_next(l);
        if (document == NULL)
            return poly_list_too_large(l, err);
        status = read_document(l, rows, row, document, err);
        if (status == POLY_OK && l->count == l->limit)
            status = remember(l, document, err);
    }
    if (status == POLY_OK)
        *page = (struct poly_page){l->documents, l->count, cursor};
    return status;
}

static enum poly_status run(struct poly_listing *l, struct poly_pg *pg, PGresult **rows,
                            struct poly_error *err)
{
    struct poly_pg_param *memory =
        poly_arena_array(l->arena, (size_t)l->parameter_count + 1, sizeof(*memory));
    struct poly_pg_params params;
    enum poly_status status;

    if (memory == NULL)
        return poly_no_memory(err);
    poly_pg_params_in(&params, memory, l->parameter_count);
    for (int i = 0; i < l->parameter_count; i++)
        poly_pg_add(&params, &l->parameters[i]);
    poly_pg_deadline(pg, l->deadline);
    status = poly_pg_run_once(pg, l->sql.data, &params, rows, err);
    poly_pg_deadline(pg, -1);
    if (status == POLY_TIMEOUT)
        return poly_fail(
            err, POLY_TIMEOUT,
            "domain '%s': the list ran beyond the deadline; filter by a column with an "
            "index",
            l->query->domain);
    return status == POLY_OK ? status : poly_fail_in(err, status, "domain '%s'", l->query->domain);
}

enum poly_status poly_postgresql_list(struct poly_listing *l, struct poly_db *db,
                                      struct poly_page *page, struct poly_error *err)
{
    PGresult *rows;
    enum poly_status status = build(l, err);

    if (status == POLY_OK)
        status = run(l, poly_pg_of(db), &rows, err);
    if (status != POLY_OK)
        return status;
    status = take_rows(l, rows, page, err);
    PQclear(rows);
    return status;
}
