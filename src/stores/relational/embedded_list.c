/* The SELECT of a list in SQLite's dialect. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "stores/relational/embedded.h"

enum { STEPS = 4000 /* of SQLite's machine between two looks at the clock */ };

/* What a filter compares: the column, or what stands at the path in it. */
static void add_operand(struct poly_listing *l, const struct poly_filter *filter, int path)
{
    struct poly_buffer *b = &l->sql;

    if (path == 0) {
        poly_sql_name(b, filter->column);
        return;
    }
    poly_buffer_text(b, "CASE WHEN json_valid(");
    poly_sql_name(b, filter->column);
    poly_buffer_text(b, ") THEN json_extract(");
    poly_sql_name(b, filter->column);
    poly_buffer_printf(b, ", ?%d) END", path);
}

/* Numbers sort before texts: '>' of a number must not find texts where any type may stand. */
static void add_class(struct poly_listing *l, const struct poly_filter *filter, int path,
                      const struct poly_value *value)
{
    bool number = value->type == POLY_INT || value->type == POLY_FLOAT;

    poly_buffer_text(&l->sql, " AND typeof(");
    add_operand(l, filter, path);
    poly_buffer_text(&l->sql, number                      ? ") IN ('integer', 'real')"
                              : value->type == POLY_BYTES ? ") = 'blob'"
                                                          : ") = 'text'");
}

static enum poly_status add_comparison(struct poly_listing *l, const struct poly_filter *filter,
                                       int path, struct poly_error *err)
{
    static const char *const operators[] = {" = ", " <> ", " < ", " <= ", " > ", " >= "};
    struct poly_value value;
    enum poly_status status;

    status = poly_list_stored(l, filter, &filter->values[0], &value, err);
    if (status != POLY_OK)
        return status;
    add_operand(l, filter, path);
    poly_buffer_printf(&l->sql, "%s?%d", operators[filter->compare], poly_list_bind(l, &value));
    if (filter->compare >= POLY_LT)
        add_class(l, filter, path, &value);
    return POLY_OK;
}

static enum poly_status add_in(struct poly_listing *l, const struct poly_filter *filter, int path,
                               struct poly_error *err)
{
    add_operand(l, filter, path);
    poly_buffer_text(&l->sql, " IN (");
    for (size_t i = 0; i < filter->value_count; i++) {
        struct poly_value value;
        enum poly_status status = poly_list_stored(l, filter, &filter->values[i], &value, err);

        if (status != POLY_OK)
            return status;
        poly_buffer_printf(&l->sql, "%s?%d", i == 0 ? "" : ", ", poly_list_bind(l, &value));
    }
    poly_buffer_text(&l->sql, ")");
    return POLY_OK;
}

/* From the prefix up to, but without, the next text that does not begin with it. */
static enum poly_status add_prefix(struct poly_listing *l, const struct poly_filter *filter,
                                   int path, struct poly_error *err)
{
    const struct poly_value *value = filter->values;
    struct poly_value low = poly_str(""), high = poly_str("");
    char *next;

    low.text.data = poly_arena_copy(l->arena, value->text.data, value->text.size);
    next = poly_arena_copy(l->arena, value->text.data, value->text.size);
    if (low.text.data == NULL || next == NULL)
        return poly_no_memory(err);
    low.text.size = high.text.size = value->text.size;
    high.text.data = next;
    add_operand(l, filter, path);
    poly_buffer_printf(&l->sql, " COLLATE BINARY >= ?%d", poly_list_bind(l, &low));
    if (low.text.size > 0) {
        next[low.text.size - 1]++; /* no byte of UTF-8 is 0xff */
        poly_buffer_text(&l->sql, " AND ");
        add_operand(l, filter, path);
        poly_buffer_printf(&l->sql, " COLLATE BINARY < ?%d", poly_list_bind(l, &high));
    }
    add_class(l, filter, path, &low);
    return POLY_OK;
}

static enum poly_status add_filter(struct poly_listing *l, const struct poly_filter *filter,
                                   struct poly_error *err)
{
    enum poly_status status = POLY_OK;
    int path = 0;

    if (filter->path != NULL) {
        struct poly_value text = poly_str(filter->path);

        path = poly_list_bind(l, &text);
    }
    poly_buffer_text(&l->sql, " AND (");
    if (filter->compare <= POLY_GE) {
        status = add_comparison(l, filter, path, err);
    } else if (filter->compare == POLY_IN) {
        status = add_in(l, filter, path, err);
    } else if (filter->compare == POLY_PREFIX) {
        status = add_prefix(l, filter, path, err);
    } else {
        add_operand(l, filter, path);
        poly_buffer_text(&l->sql, filter->compare == POLY_IS_NULL ? " IS NULL" : " IS NOT NULL");
    }
    poly_buffer_text(&l->sql, ")");
    return status;
}

/* Rows after the cursor. NULL sorts first; nothing compares with it. */
static void add_after(struct poly_listing *l)
{
    const struct poly_column *column = &l->table->columns[l->order];
    const char *name = l->table->columns[l->table->key].name;
    const char *beyond = l->query->descending ? "<" : ">";
    struct poly_buffer *b = &l->sql;
    /* As it stands in the row, which another program may have written: not as we would. */
    struct poly_value key = {.type = POLY_TEXT, .text = l->after.key};
    int k = poly_list_bind(l, &key);

    poly_buffer_text(b, " AND (");
    if (l->order == l->table->key) {
        poly_sql_name(b, name);
        poly_buffer_printf(b, " %s ?%d)", beyond, k);
        return;
    }
    if (l->after.order.type == POLY_NULL) {
        poly_sql_name(b, column->name);
        poly_buffer_text(b, " IS NULL AND ");
        poly_sql_name(b, name);
        poly_buffer_printf(b, " %s ?%d", beyond, k);
        if (!l->query->descending) {
            poly_buffer_text(b, " OR ");
            poly_sql_name(b, column->name);
            poly_buffer_text(b, " IS NOT NULL");
        }
        poly_buffer_text(b, ")");
        return;
    }

    int v = poly_list_bind(l, &l->after.order);

    /* The first condition is what an index can seek by. */
    poly_sql_name(b, column->name);
    poly_buffer_printf(b, " %s= ?%d AND (", beyond, v);
    poly_sql_name(b, column->name);
    poly_buffer_printf(b, " %s ?%d OR ", beyond, v);
    poly_sql_name(b, name);
    poly_buffer_printf(b, " %s ?%d)", beyond, k);
    if (l->query->descending && !column->not_null) {
        poly_buffer_text(b, " OR ");
        poly_sql_name(b, column->name);
        poly_buffer_text(b, " IS NULL");
    }
    poly_buffer_text(b, ")");
}

static void add_head(struct poly_listing *l)
{
    const struct poly_table *table = l->table;
    struct poly_buffer *b = &l->sql;
    const char *key = table->columns[table->key].name;

    poly_buffer_text(b, "SELECT (SELECT position FROM main.poly_log WHERE domain = ");
    poly_sql_text(b, table->domain->name);
    poly_buffer_printf(b, " AND tenant = %s AND key = CAST(t.",
                       table->domain->tenant == NULL ? "''" : "?1");
    poly_sql_name(b, key);
    poly_buffer_text(b, " AS TEXT) AND version IS NULL ORDER BY position DESC LIMIT 1)");
    for (size_t i = 0; i < table->column_count; i++) {
        poly_buffer_text(b, ", t.");
        poly_sql_name(b, table->columns[i].name);
    }
    poly_buffer_text(b, ", CAST(t.");
    poly_sql_name(b, key);
    poly_buffer_text(b, " AS TEXT) FROM main.");
    poly_sql_name(b, table->domain->table);
    poly_buffer_text(b, " AS t WHERE ");
    if (table->domain->tenant == NULL) {
        poly_buffer_text(b, "1");
        return;
    }
    poly_sql_name(b, table->domain->tenant);
    poly_buffer_text(b, " = ?1");
}

static enum poly_status build(struct poly_listing *l, struct poly_error *err)
{
    const char *direction = l->query->descending ? " DESC" : "";
    enum poly_status status;
    struct poly_value tenant = poly_str("");

    tenant.text = l->tenant;
    poly_list_bind(l, &tenant);
    add_head(l);
    status = poly_list_filters(l, add_filter, err);
    if (status == POLY_OK && l->has_after)
        add_after(l);
    poly_buffer_text(&l->sql, " ORDER BY ");
    if (l->order != l->table->key) {
        poly_sql_name(&l->sql, l->table->columns[l->order].name);
        poly_buffer_printf(&l->sql, "%s, ", direction);
    }
    poly_sql_name(&l->sql, l->table->columns[l->table->key].name);
    poly_buffer_printf(&l->sql, "%s LIMIT %u", direction, l->limit + 1);
    return status == POLY_OK ? poly_list_built(l, err) : status;
}

/* --- running --- */

static enum poly_status read_document(struct poly_listing *l, sqlite3_stmt *statement,
                                      struct poly_document *document, struct poly_error *err)
{
    const struct poly_table *table = l->table;
    struct poly_field *fields = poly_arena_array(l->arena, table->column_count, sizeof(*fields));

    if (fields == NULL)
        return poly_list_too_large(l, err);
    for (size_t i = 0; i < table->column_count; i++) {
        fields[i].name = table->columns[i].name;
        if (poly_column_restore(table->columns[i].type, statement, (int)i + 1, l->arena,
                                &fields[i].value, err) != POLY_OK ||
            poly_column_show(table, i, l->arena, &fields[i].value, err) != POLY_OK)
            return poly_list_too_large(l, err);
    }
    document->version = (uint64_t)sqlite3_column_int64(statement, 0);
    document->row = (struct poly_row){fields, table->column_count};
    document->key = poly_column_text(statement, (int)table->column_count + 1);
    document->key.data = poly_arena_copy(l->arena, document->key.data, document->key.size);
    return document->key.data == NULL ? poly_list_too_large(l, err) : POLY_OK;
}

/* Of the row on which the statement stands. */
static enum poly_status remember(struct poly_listing *l, sqlite3_stmt *statement,
                                 struct poly_error *err)
{
    struct poly_value order =
        l->order == l->table->key ? poly_null() : poly_column_value(statement, (int)l->order + 1);

    return poly_list_remember(l, order, err);
}

static enum poly_status step_all(struct poly_listing *l, sqlite3_stmt *statement,
                                 struct poly_db *db, struct poly_page *page, struct poly_error *err)
{
    const char *cursor = NULL;
    enum poly_status status = POLY_OK;
    bool row = true;

    while (status == POLY_OK) {
        struct poly_document *document;

        status = poly_db_row(db, statement, &row, err);
        if (status != POLY_OK || !row)
            break;
        if (l->count == l->limit) { /* one more than asked for: there is another page */
            status = poly_list_more(l, &cursor, err);
            break;
        }
        document = poly_list_next(l);
        if (document == NULL)
            return poly_list_too_large(l, err);
        status = read_document(l, statement, document, err);
        if (status == POLY_OK && l->count == l->limit)
            status = remember(l, statement, err);
    }
    if (status == POLY_OK)
        *page = (struct poly_page){l->documents, l->count, cursor};
    return status;
}

static int expired(void *arg)
{
    const struct poly_listing *l = arg;

    return poly_clock_monotonic() > l->deadline;
}

static enum poly_status run(struct poly_listing *l, struct poly_db *db, struct poly_page *page,
                            struct poly_error *err)
{
    sqlite3_stmt *statement;
    int code =
        sqlite3_prepare_v2(poly_db_handle(db), l->sql.data, (int)l->sql.size, &statement, NULL);
    enum poly_status status;

    if (code != SQLITE_OK)
        return poly_db_fail(db, code, "cannot list", err);
    for (int i = 0; i < l->parameter_count; i++)
        poly_bind_value(statement, i + 1, &l->parameters[i]);
    /* A filter that no index serves may look at every row of the table. */
    sqlite3_progress_handler(poly_db_handle(db), STEPS, expired, l);
    status = step_all(l, statement, db, page, err);
    sqlite3_progress_handler(poly_db_handle(db), 0, NULL, NULL);
    sqlite3_finalize(statement);
    if (status == POLY_TIMEOUT)
        return poly_fail(
            err, POLY_TIMEOUT,
            "domain '%s': the list ran beyond the deadline; filter by a column with an "
            "index",
            l->query->domain);
    return status;
}

enum poly_status poly_embedded_list(struct poly_listing *l, struct poly_db *db,
                                    struct poly_page *page, struct poly_error *err)
{
    enum poly_status status = build(l, err);

    return status == POLY_OK ? run(l, db, page, err) : status;
}
