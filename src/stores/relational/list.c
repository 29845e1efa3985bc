/*
 * A page of records: one SELECT whose text is made of column names that the
 * schema knows and of parameters; nothing that a caller says becomes SQL.
 *
 * Pages go on by key ("after this value and key"), not by offset: a page costs
 * the same however far it is, and rows that come and go in between are neither
 * shown twice nor missed. The cursor carries the last row's order value and
 * key, and a digest of the query's shape, so that it is not taken for a page of
 * another query.
 */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "stores/relational/driver.h"

enum {
    LIMIT_DEFAULT = 100,
    STEPS = 4000, /* of SQLite's machine between two looks at the clock */
    PATH_MAX_BYTES = 256,
    DIGEST = 8,
    CURSOR_VALUE_MAX = 1024, /* bytes of an order value that a cursor carries */
    CURSOR_MAX = DIGEST + 1 + 4 + CURSOR_VALUE_MAX + POLY_MAX_KEY
};

struct cursor {
    struct poly_value order; /* as stored */
    struct poly_text key;
};

struct listing {
    const struct poly_list_query *query;
    const struct poly_table *table;
    struct poly_text tenant;
    struct poly_arena *arena;
    size_t order; /* column */
    uint32_t limit;
    int64_t deadline; /* monotonic, microseconds */
    unsigned char digest[DIGEST];
    struct cursor after;
    bool has_after;
    struct poly_buffer sql;
    struct poly_value *parameters; /* ?1, ?2 … */
    int parameter_count, parameter_room;
};

/* --- texts --- */

/* The number of a new parameter with that value. */
static int bind(struct listing *l, const struct poly_value *value)
{
    if (l->parameter_count == l->parameter_room) {
        l->sql.failed = true;
        return 0;
    }
    l->parameters[l->parameter_count++] = *value;
    return l->parameter_count;
}

static enum poly_status wrong(const struct listing *l, const char *column, const char *why,
                              struct poly_error *err)
{
    return poly_fail(err, POLY_INVALID, "domain '%s': filter on '%.64s' %s", l->query->domain,
                     column, why);
}

/* $.name  $."any name"  [3]  [#-1] */
static bool valid_path(const char *path)
{
    size_t size = strlen(path);
    const char *p = path + 1;

    if (size > PATH_MAX_BYTES || path[0] != '$')
        return false;
    while (*p != '\0') {
        size_t span;

        if (p[0] == '.' && p[1] == '"') {
            span = strcspn(p + 2, "\"");
            if (span == 0 || p[2 + span] != '"')
                return false;
            p += span + 3;
        } else if (p[0] == '.') {
            span = strcspn(p + 1, ".[\"");
            if (span == 0)
                return false;
            p += span + 1;
        } else if (p[0] == '[') {
            const char *digits = strncmp(p + 1, "#-", 2) == 0 ? p + 3 : p + 1;

            span = strspn(digits, "0123456789");
            if (span == 0 || span > 9 || digits[span] != ']')
                return false;
            p = digits + span + 1;
        } else {
            return false;
        }
    }
    return true;
}

/* What a filter compares: the column, or what stands at the path in it. */
static void add_operand(struct listing *l, const struct poly_filter *filter, int path)
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

/* A value as it stands in the column; inside JSON as json_extract gives it. */
static enum poly_status stored(struct listing *l, const struct poly_filter *filter,
                               const struct poly_value *value, struct poly_value *out,
                               struct poly_error *err)
{
    struct poly_column any = {.name = filter->column, .type = POLY_NULL};
    const struct poly_column *column =
        &l->table->columns[poly_table_find(l->table, filter->column)];

    if (value->type == POLY_NULL)
        return wrong(l, filter->column, "compares with null; use IS_NULL or NOT_NULL", err);
    if (filter->path != NULL)
        column = &any;
    return poly_column_store(l->table, column, value, l->arena, out, err);
}

/* Numbers sort before texts: '>' of a number must not find texts where any type may stand. */
static void add_class(struct listing *l, const struct poly_filter *filter, int path,
                      const struct poly_value *value)
{
    bool number = value->type == POLY_INT || value->type == POLY_FLOAT;

    poly_buffer_text(&l->sql, " AND typeof(");
    add_operand(l, filter, path);
    poly_buffer_text(&l->sql, number                      ? ") IN ('integer', 'real')"
                              : value->type == POLY_BYTES ? ") = 'blob'"
                                                          : ") = 'text'");
}

static enum poly_status add_comparison(struct listing *l, const struct poly_filter *filter,
                                       int path, struct poly_error *err)
{
    static const char *const operators[] = {" = ", " <> ", " < ", " <= ", " > ", " >= "};
    struct poly_value value;
    enum poly_status status;

    if (filter->value_count != 1 || filter->values == NULL)
        return wrong(l, filter->column, "needs one value", err);
    status = stored(l, filter, &filter->values[0], &value, err);
    if (status != POLY_OK)
        return status;
    add_operand(l, filter, path);
    poly_buffer_printf(&l->sql, "%s?%d", operators[filter->compare], bind(l, &value));
    if (filter->compare >= POLY_LT)
        add_class(l, filter, path, &value);
    return POLY_OK;
}

static enum poly_status add_in(struct listing *l, const struct poly_filter *filter, int path,
                               struct poly_error *err)
{
    if (filter->value_count > POLY_MAX_IN)
        return poly_fail(err, POLY_LIMIT,
                         "domain '%s': filter on '%s' has %zu values, the limit is "
                         "%d",
                         l->query->domain, filter->column, filter->value_count, POLY_MAX_IN);
    add_operand(l, filter, path);
    poly_buffer_text(&l->sql, " IN (");
    for (size_t i = 0; i < filter->value_count; i++) {
        struct poly_value value;
        enum poly_status status = stored(l, filter, &filter->values[i], &value, err);

        if (status != POLY_OK)
            return status;
        poly_buffer_printf(&l->sql, "%s?%d", i == 0 ? "" : ", ", bind(l, &value));
    }
    poly_buffer_text(&l->sql, ")");
    return POLY_OK;
}

/* From the prefix up to, but without, the next text that does not begin with it. */
static enum poly_status add_prefix(struct listing *l, const struct poly_filter *filter, int path,
                                   struct poly_error *err)
{
    const struct poly_value *value = filter->values;
    struct poly_value low = poly_str(""), high = poly_str("");
    char *next;

    if (filter->value_count != 1 || value == NULL || value->type != POLY_TEXT)
        return wrong(l, filter->column, "by prefix needs one text", err);
    if (poly_text_problem(value->text) != NULL)
        return wrong(l, filter->column, poly_text_problem(value->text), err);
    low.text.data = poly_arena_copy(l->arena, value->text.data, value->text.size);
    next = poly_arena_copy(l->arena, value->text.data, value->text.size);
    if (low.text.data == NULL || next == NULL)
        return poly_no_memory(err);
    low.text.size = high.text.size = value->text.size;
    high.text.data = next;
    add_operand(l, filter, path);
    poly_buffer_printf(&l->sql, " COLLATE BINARY >= ?%d", bind(l, &low));
    if (low.text.size > 0) {
        next[low.text.size - 1]++; /* no byte of UTF-8 is 0xff */
        poly_buffer_text(&l->sql, " AND ");
        add_operand(l, filter, path);
        poly_buffer_printf(&l->sql, " COLLATE BINARY < ?%d", bind(l, &high));
    }
    add_class(l, filter, path, &low);
    return POLY_OK;
}

static enum poly_status add_filter(struct listing *l, const struct poly_filter *filter,
                                   struct poly_error *err)
{
    int path = 0;
    size_t column;

    if (filter->column == NULL)
        return wrong(l, "", "names no column", err);
    column = poly_table_find(l->table, filter->column);
    if (column == l->table->column_count) {
        char known[300];

        poly_table_columns(l->table, known, sizeof(known));
        return poly_fail(err, POLY_INVALID, "domain '%s' has no column '%.64s'; it has %s",
                         l->query->domain, filter->column, known);
    }
    if (filter->path != NULL) {
        enum poly_type type = l->table->columns[column].type;
        struct poly_value text = poly_str(filter->path);

        if (type != POLY_JSON && type != POLY_TEXT && type != POLY_NULL)
            return wrong(l, filter->column, "has a path, but the column holds no JSON", err);
        if (!valid_path(filter->path))
            return wrong(l, filter->column, "has a path that is not like $.name[0].\"a b\"", err);
        path = bind(l, &text);
    }
    poly_buffer_text(&l->sql, " AND (");

    enum poly_status status = POLY_OK;

    if (filter->compare <= POLY_GE) {
        status = add_comparison(l, filter, path, err);
    } else if (filter->compare == POLY_IN) {
        status = add_in(l, filter, path, err);
    } else if (filter->compare == POLY_PREFIX) {
        status = add_prefix(l, filter, path, err);
    } else if (filter->compare == POLY_IS_NULL || filter->compare == POLY_NOT_NULL) {
        add_operand(l, filter, path);
        poly_buffer_text(&l->sql, filter->compare == POLY_IS_NULL ? " IS NULL" : " IS NOT NULL");
    } else {
        status = wrong(l, filter->column, "has a comparison that does not exist", err);
    }
    poly_buffer_text(&l->sql, ")");
    return status;
}

/* Rows after the cursor. NULL sorts first; nothing compares with it. */
static void add_after(struct listing *l)
{
    const struct poly_column *column = &l->table->columns[l->order];
    const char *name = l->table->columns[l->table->key].name;
    const char *beyond = l->query->descending ? "<" : ">";
    struct poly_buffer *b = &l->sql;
    /* As it stands in the row, which another program may have written: not as we would. */
    struct poly_value key = {.type = POLY_TEXT, .text = l->after.key};
    int k = bind(l, &key);

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

    int v = bind(l, &l->after.order);

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

static void add_head(struct listing *l)
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

static enum poly_status build(struct listing *l, struct poly_error *err)
{
    const char *direction = l->query->descending ? " DESC" : "";
    enum poly_status status = POLY_OK;
    struct poly_value tenant = poly_str("");

    tenant.text = l->tenant;
    bind(l, &tenant);
    add_head(l);
    for (size_t i = 0; i < l->query->filter_count && status == POLY_OK; i++)
        status = add_filter(l, &l->query->filters[i], err);
    if (status == POLY_OK && l->has_after)
        add_after(l);
    poly_buffer_text(&l->sql, " ORDER BY ");
    if (l->order != l->table->key) {
        poly_sql_name(&l->sql, l->table->columns[l->order].name);
        poly_buffer_printf(&l->sql, "%s, ", direction);
    }
    poly_sql_name(&l->sql, l->table->columns[l->table->key].name);
    poly_buffer_printf(&l->sql, "%s LIMIT %u", direction, l->limit + 1);
    if (status == POLY_OK && l->sql.failed && !l->sql.over)
        return poly_no_memory(err);
    if (status == POLY_OK && !poly_buffer_ok(&l->sql))
        return poly_fail(err, POLY_LIMIT, "domain '%s': the filters have too many values",
                         l->query->domain);
    return status;
}

/* --- the cursor --- */

static void digest_text(crypto_generichash_state *state, const char *text)
{
    if (text == NULL)
        text = "\xff";
    crypto_generichash_update(state, (const unsigned char *)text, strlen(text) + 1);
}

static void digest_value(crypto_generichash_state *state, const struct poly_value *value)
{
    unsigned char tag = (unsigned char)value->type;

    crypto_generichash_update(state, &tag, 1);
    if (value->type == POLY_TEXT || value->type == POLY_BYTES || value->type == POLY_JSON)
        crypto_generichash_update(state, (const unsigned char *)value->text.data, value->text.size);
    else if (value->type == POLY_UUID)
        crypto_generichash_update(state, value->uuid, sizeof(value->uuid));
    else if (value->type == POLY_BOOL)
        crypto_generichash_update(state, (const unsigned char *)(value->boolean ? "t" : "f"), 1);
    else if (value->type != POLY_NULL)
        crypto_generichash_update(state, (const unsigned char *)&value->integer,
                                  sizeof(value->integer));
}

/* What makes it another query, the limit apart. */
static void digest(struct listing *l)
{
    const struct poly_list_query *query = l->query;
    crypto_generichash_state state;
    unsigned char hash[crypto_generichash_BYTES_MIN];

    crypto_generichash_init(&state, NULL, 0, sizeof(hash));
    digest_text(&state, query->domain);
    digest_text(&state, query->order);
    digest_text(&state, query->descending ? "down" : "up");
    crypto_generichash_update(&state, (const unsigned char *)l->tenant.data, l->tenant.size);
    for (size_t i = 0; i < query->filter_count; i++) {
        const struct poly_filter *filter = &query->filters[i];
        unsigned char compare = (unsigned char)filter->compare;

        digest_text(&state, filter->column);
        digest_text(&state, filter->path);
        crypto_generichash_update(&state, &compare, 1);
        for (size_t v = 0; v < filter->value_count; v++)
            digest_value(&state, &filter->values[v]);
    }
    crypto_generichash_final(&state, hash, sizeof(hash));
    memcpy(l->digest, hash, DIGEST);
}

static enum poly_status bad_cursor(const struct listing *l, struct poly_error *err)
{
    return poly_fail(err, POLY_INVALID,
                     "domain '%s': the cursor is not one of this query; take it from the page "
                     "before, with the same filters and order",
                     l->query->domain);
}

/* digest, type, and for a text its size (4 bytes), the value, the key */
static enum poly_status read_cursor(struct listing *l, struct poly_error *err)
{
    unsigned char *bytes = poly_arena_alloc(l->arena, CURSOR_MAX + 1);
    size_t size, used = DIGEST + 1;
    uint32_t text;

    if (bytes == NULL)
        return poly_no_memory(err);
    if (sodium_base642bin(bytes, CURSOR_MAX, l->query->cursor, strlen(l->query->cursor), NULL,
                          &size, NULL, sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
        size < used || memcmp(bytes, l->digest, DIGEST) != 0)
        return bad_cursor(l, err);
    l->after.order = poly_null();
    l->after.order.type = (enum poly_type)bytes[DIGEST];
    if (l->after.order.type == POLY_INT || l->after.order.type == POLY_FLOAT) {
        if (size - used < sizeof(int64_t))
            return bad_cursor(l, err);
        memcpy(&l->after.order.integer, bytes + used, sizeof(int64_t));
        used += sizeof(int64_t);
    } else if (l->after.order.type == POLY_TEXT || l->after.order.type == POLY_BYTES) {
        if (size - used < sizeof(text))
            return bad_cursor(l, err);
        memcpy(&text, bytes + used, sizeof(text));
        used += sizeof(text);
        if (size - used < text)
            return bad_cursor(l, err);
        l->after.order.text = (struct poly_text){(const char *)bytes + used, text};
        used += text;
    } else if (l->after.order.type != POLY_NULL) {
        return bad_cursor(l, err);
    }
    l->after.key = (struct poly_text){(const char *)bytes + used, size - used};
    l->has_after = true;
    return POLY_OK;
}

/* Of the row on which the statement stands. */
static enum poly_status remember(struct listing *l, sqlite3_stmt *statement, struct poly_error *err)
{
    struct poly_value order =
        l->order == l->table->key ? poly_null() : poly_column_value(statement, (int)l->order + 1);

    if (order.type == POLY_TEXT || order.type == POLY_BYTES) {
        if (order.text.size > CURSOR_VALUE_MAX)
            return poly_fail(err, POLY_LIMIT,
                             "domain '%s': values of column '%s' are too long to page by (%d bytes "
                             "at most); order by another column",
                             l->query->domain, l->table->columns[l->order].name, CURSOR_VALUE_MAX);
        order.text.data = poly_arena_copy(l->arena, order.text.data, order.text.size);
        if (order.text.data == NULL)
            return poly_no_memory(err);
    }
    l->after.order = order;
    return POLY_OK;
}

static enum poly_status write_cursor(struct listing *l, const struct poly_document *last,
                                     const char **cursor, struct poly_error *err)
{
    unsigned char bytes[CURSOR_MAX];
    const struct poly_value *order = &l->after.order;
    size_t used = DIGEST + 1, size;
    char *text;

    memcpy(bytes, l->digest, DIGEST);
    bytes[DIGEST] = (unsigned char)order->type;
    if (order->type == POLY_INT || order->type == POLY_FLOAT) {
        memcpy(bytes + used, &order->integer, sizeof(int64_t));
        used += sizeof(int64_t);
    } else if (order->type == POLY_TEXT || order->type == POLY_BYTES) {
        uint32_t length = (uint32_t)order->text.size;

        memcpy(bytes + used, &length, sizeof(length));
        memcpy(bytes + used + sizeof(length), order->text.data, length);
        used += sizeof(length) + length;
    }
    if (last->key.size > POLY_MAX_KEY)
        return poly_fail(err, POLY_LIMIT, "domain '%s': the key of a record is over %d bytes",
                         l->query->domain, POLY_MAX_KEY);
    memcpy(bytes + used, last->key.data, last->key.size);
    used += last->key.size;
    size = sodium_base64_ENCODED_LEN(used, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    text = poly_arena_alloc(l->arena, size);
    if (text == NULL)
        return poly_no_memory(err);
    *cursor = sodium_bin2base64(text, size, bytes, used, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    return POLY_OK;
}

/* --- running --- */

static enum poly_status too_large(const struct listing *l, struct poly_error *err)
{
    return poly_fail(err, POLY_LIMIT,
                     "domain '%s': the page is over the session's memory; ask for fewer records",
                     l->query->domain);
}

static enum poly_status read_document(struct listing *l, sqlite3_stmt *statement,
                                      struct poly_document *document, struct poly_error *err)
{
    const struct poly_table *table = l->table;
    struct poly_field *fields = poly_arena_array(l->arena, table->column_count, sizeof(*fields));

    if (fields == NULL)
        return too_large(l, err);
    for (size_t i = 0; i < table->column_count; i++) {
        fields[i].name = table->columns[i].name;
        if (poly_column_restore(table->columns[i].type, statement, (int)i + 1, l->arena,
                                &fields[i].value, err) != POLY_OK)
            return too_large(l, err);
    }
    document->version = (uint64_t)sqlite3_column_int64(statement, 0);
    document->row = (struct poly_row){fields, table->column_count};
    document->key = poly_column_text(statement, (int)table->column_count + 1);
    document->key.data = poly_arena_copy(l->arena, document->key.data, document->key.size);
    return document->key.data == NULL ? too_large(l, err) : POLY_OK;
}

static enum poly_status step_all(struct listing *l, sqlite3_stmt *statement, struct poly_db *db,
                                 struct poly_page *page, struct poly_error *err)
{
    struct poly_document *documents = NULL;
    size_t count = 0, room = 0;
    const char *cursor = NULL;
    enum poly_status status = POLY_OK;
    bool row = true;

    while (status == POLY_OK) {
        status = poly_db_row(db, statement, &row, err);
        if (status != POLY_OK || !row)
            break;
        if (count == l->limit) { /* one more than asked for: there is another page */
            status = write_cursor(l, &documents[count - 1], &cursor, err);
            break;
        }
        if (count == room) {
            size_t next = room == 0 ? 16 : room * 2;
            struct poly_document *more = poly_arena_array(l->arena, next, sizeof(*more));

            if (more == NULL)
                return too_large(l, err);
            if (count > 0)
                memcpy(more, documents, count * sizeof(*more));
            documents = more;
            room = next;
        }
        status = read_document(l, statement, &documents[count], err);
        count++;
        if (status == POLY_OK && count == l->limit)
            status = remember(l, statement, err);
    }
    if (status == POLY_OK)
        *page = (struct poly_page){documents, count, cursor};
    return status;
}

static int expired(void *arg)
{
    const struct listing *l = arg;

    return poly_clock_monotonic() > l->deadline;
}

static enum poly_status run(struct listing *l, struct poly_db *db, struct poly_page *page,
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

static enum poly_status check(struct listing *l, struct poly_error *err)
{
    const struct poly_list_query *query = l->query;

    if (query->filter_count > POLY_MAX_FILTERS)
        return poly_fail(err, POLY_LIMIT, "domain '%s': %zu filters, the limit is %d",
                         query->domain, query->filter_count, POLY_MAX_FILTERS);
    if (query->limit > POLY_MAX_PAGE)
        return poly_fail(err, POLY_LIMIT, "domain '%s': a page of %u records, the limit is %d",
                         query->domain, query->limit, POLY_MAX_PAGE);
    l->limit = query->limit == 0 ? LIMIT_DEFAULT : query->limit;
    l->order = query->order == NULL ? l->table->key : poly_table_find(l->table, query->order);
    if (l->order == l->table->column_count) {
        char known[300];

        poly_table_columns(l->table, known, sizeof(known));
        return poly_fail(err, POLY_INVALID,
                         "domain '%s' has no column '%.64s' to order by; it has %s", query->domain,
                         query->order, known);
    }
    digest(l);
    l->parameter_room = 4; /* tenant, and three of the cursor */
    for (size_t i = 0; i < query->filter_count; i++)
        l->parameter_room +=
            3 +
            (int)(query->filters[i].value_count > POLY_MAX_IN ? 0 : query->filters[i].value_count);
    l->parameters = poly_arena_array(l->arena, (size_t)l->parameter_room, sizeof(*l->parameters));
    if (l->parameters == NULL)
        return poly_no_memory(err);
    return query->cursor == NULL ? POLY_OK : read_cursor(l, err);
}

enum poly_status poly_list(struct poly_session *session, const struct poly_list_query *query,
                           struct poly_page *page, struct poly_error *err)
{
    struct listing l = {.query = query, .arena = poly_session_arena(session)};
    struct poly_error local;
    struct poly_db *db;
    enum poly_status status;

    err = err == NULL ? &local : err;
    status = poly_session_require(session, POLY_RIGHT_READ, "listing", err);
    if (status == POLY_OK)
        status = poly_relational_find(session, query->domain, &l.table, &l.tenant, err);
    if (status == POLY_OK)
        status = check(&l, err);
    if (status != POLY_OK)
        return status;
    l.deadline = poly_clock_monotonic() + (int64_t)poly_session_deadline_ms(session) * 1000;
    poly_buffer_init(&l.sql, POLY_MAX_SQL);
    status = build(&l, err);
    if (status == POLY_OK)
        status = poly_session_read(session, &db, err);
    if (status == POLY_OK) {
        status = run(&l, db, page, err);
        poly_session_read_end(session);
    }
    poly_buffer_release(&l.sql);
    return status;
}
