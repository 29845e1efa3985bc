/*
 * One way into the log: triggers on the table, so that every change is
 * recorded in its own transaction, whoever makes it. Another program's
 * connection has none of our functions, so a trigger is SQL that any SQLite
 * from 3.38 on runs; what it cannot know (who, why) it finds in poly_writing,
 * where our writer puts it and nobody else does.
 *
 * The image of a row is computed once: the subquery with LIMIT under a WHERE is
 * one that SQLite does not flatten, otherwise the expression would run for the
 * length and again for the value. Printing 15 digits loses the last bits of
 * some doubles; those take 17.
 *
 * A row image over POLY_LARGE_VALUE is kept once. The log says 1, the row has
 * it, and when the row changes or its columns do, the old image goes to
 * poly_history first ("freeze").
 *
 * After triggers were absent (a table adopted, rebuilt by a migration, or
 * altered by somebody else) the log is brought up to the rows by comparing
 * them, so that changes and records agree again whatever happened between.
 */
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "stores/relational/embedded.h"

enum { OBJECT_COLUMNS = 60 /* a function takes 127 arguments */ };

static const char image_begin[] = "/*image*/";
static const char image_end[] = "/*end*/";

/* And does one of the application's stand behind it? SQLite runs the last one first. */
static const char sql_trigger[] =
    "SELECT sql, EXISTS (SELECT 1 FROM main.sqlite_schema AS other WHERE other.type = 'trigger'"
    " AND other.tbl_name = own.tbl_name COLLATE NOCASE AND other.rowid > own.rowid"
    " AND substr(other.name, 1, 5) <> 'poly_')"
    " FROM main.sqlite_schema AS own WHERE type = 'trigger' AND name = ?1";

/* --- texts --- */

/* NEW."name", or with another row name. */
static void add_column(struct poly_buffer *b, const char *row, const char *name)
{
    poly_buffer_text(b, row);
    poly_buffer_char(b, '.');
    poly_sql_name(b, name);
}

static void add_real(struct poly_buffer *b, const char *x)
{
    poly_buffer_printf(b,
                       " WHEN 'real' THEN CASE"
                       " WHEN %s = 9e999 THEN json_object('$float', 'Infinity')"
                       " WHEN %s = -9e999 THEN json_object('$float', '-Infinity')"
                       " WHEN CAST(printf('%%!.15g', %s) AS REAL) = %s THEN %s"
                       " ELSE json(printf('%%!.17g', %s)) END",
                       x, x, x, x, x, x);
}

/* The column's value as JSON. A value may have any storage class, whatever the column's type. */
static void add_image_value(struct poly_buffer *b, const char *row,
                            const struct poly_column *column)
{
    struct poly_buffer name;
    const char *x;

    poly_buffer_init(&name, 4096);
    add_column(&name, row, column->name);
    x = name.data;
    if (!poly_buffer_ok(&name)) {
        b->failed = true;
        poly_buffer_release(&name);
        return;
    }
    poly_buffer_printf(b, "CASE typeof(%s) WHEN 'blob' THEN json_object('$bytes', lower(hex(%s)))",
                       x, x);
    if (column->type != POLY_TEXT)
        add_real(b, x);
    if (column->type == POLY_JSON)
        poly_buffer_printf(
            b, " WHEN 'text' THEN CASE WHEN json_valid(%s) THEN json(%s) ELSE %s END", x, x, x);
    if (column->type == POLY_BOOL)
        poly_buffer_printf(b,
                           " WHEN 'integer' THEN CASE %s WHEN 0 THEN json('false')"
                           " WHEN 1 THEN json('true') ELSE %s END",
                           x, x);
    poly_buffer_printf(b, " ELSE %s END", x);
    poly_buffer_release(&name);
}

/* 'name', and its value. */
static void add_members(struct poly_buffer *b, const struct poly_table *table, const char *row,
                        size_t first)
{
    for (size_t i = first; i < first + OBJECT_COLUMNS && i < table->column_count; i++) {
        const char *name = table->columns[i].name;

        if (i > first)
            poly_buffer_text(b, ", ");
        poly_sql_text(b, name);
        poly_buffer_text(b, ", ");
        add_image_value(b, row, &table->columns[i]);
    }
}

/*
 * Wide tables: one object for each 60 columns, put together as text, because a JSON path cannot
 * spell every name. A negative length takes what stands before the last character.
 */
static void add_image(struct poly_buffer *b, const struct poly_table *table, const char *row)
{
    size_t last = (table->column_count - 1) / OBJECT_COLUMNS * OBJECT_COLUMNS;

    poly_buffer_text(b, image_begin);
    for (size_t first = 0; first < table->column_count; first += OBJECT_COLUMNS) {
        if (first > 0)
            poly_buffer_text(b, " || ',' || ");
        poly_buffer_text(b, first < last ? "substr(" : "");
        poly_buffer_text(b, first > 0 ? "substr(" : "");
        poly_buffer_text(b, "json_object(");
        add_members(b, table, row, first);
        poly_buffer_text(b, ")");
        poly_buffer_text(b, first > 0 ? ", 2)" : "");
        poly_buffer_text(b, first < last ? ", -1, -2000000000)" : "");
    }
    poly_buffer_text(b, image_end);
}

static void add_tenant(struct poly_buffer *b, const struct poly_table *table, const char *row)
{
    if (table->domain->tenant == NULL) {
        poly_buffer_text(b, "''");
        return;
    }
    poly_buffer_text(b, "CAST(");
    add_column(b, row, table->domain->tenant);
    poly_buffer_text(b, " AS TEXT)");
}

static void add_key(struct poly_buffer *b, const struct poly_table *table, const char *row)
{
    poly_buffer_text(b, "CAST(");
    add_column(b, row, table->columns[table->key].name);
    poly_buffer_text(b, " AS TEXT)");
}

/* Position of the record's last change. */
static void add_latest(struct poly_buffer *b, const struct poly_table *table, const char *row)
{
    poly_buffer_text(b, "(SELECT position FROM poly_log WHERE domain = ");
    poly_sql_text(b, table->domain->name);
    poly_buffer_text(b, " AND tenant = ");
    add_tenant(b, table, row);
    poly_buffer_text(b, " AND key = ");
    add_key(b, table, row);
    poly_buffer_text(b, " AND version IS NULL ORDER BY position DESC LIMIT 1)");
}

static void add_head(struct poly_buffer *b)
{
    poly_buffer_text(b,
                     "INSERT INTO poly_log(domain, txn, meta, time, salt, tenant, key, type, data)"
                     " SELECT ");
}

/* domain, txn, meta, time, salt: what all records have. */
static void add_common(struct poly_buffer *b, const struct poly_table *table)
{
    poly_sql_text(b, table->domain->name);
    poly_buffer_printf(b,
                       ", coalesce((SELECT txn FROM poly_writing WHERE id = 1), 0),"
                       " (SELECT meta FROM poly_writing WHERE id = 1), %s, randomblob(16), ",
                       POLY_EMBEDDED_NOW);
}

static void add_data(struct poly_buffer *b)
{
    poly_buffer_printf(b, "CASE WHEN length(CAST(image AS BLOB)) > %d THEN 1 ELSE image END",
                       POLY_LARGE_VALUE);
}

/* A row without tenant or key has no place in the log: it is refused, and says why. */
static void add_guard(struct poly_buffer *b, const struct poly_table *table)
{
    const char *key = table->columns[table->key].name;

    poly_buffer_printf(b, "SELECT RAISE(ABORT, 'key must not be null') WHERE ");
    add_column(b, "NEW", key);
    poly_buffer_text(b, " IS NULL;\n");
    if (table->domain->tenant == NULL)
        return;
    poly_buffer_text(b, "SELECT RAISE(ABORT, 'tenant must not be empty') WHERE coalesce(");
    add_column(b, "NEW", table->domain->tenant);
    poly_buffer_text(b, ", '') = '';\n");
}

static void add_put(struct poly_buffer *b, const struct poly_table *table)
{
    add_head(b);
    add_common(b, table);
    add_tenant(b, table, "NEW");
    poly_buffer_text(b, ", ");
    add_key(b, table, "NEW");
    poly_buffer_text(b, ", '$put', ");
    add_data(b);
    poly_buffer_text(b, " FROM (SELECT ");
    add_image(b, table, "NEW");
    poly_buffer_text(b, " AS image LIMIT 1) WHERE image IS NOT NULL;\n");
}

static void add_delete(struct poly_buffer *b, const struct poly_table *table)
{
    add_head(b);
    add_common(b, table);
    add_tenant(b, table, "OLD");
    poly_buffer_text(b, ", ");
    add_key(b, table, "OLD");
    poly_buffer_text(b, ", '$delete', NULL");
}

static void add_history(struct poly_buffer *b, const struct poly_table *table)
{
    poly_buffer_text(b, "INSERT INTO poly_history(position, data) SELECT l.position, ");
    add_image(b, table, "OLD");
    poly_buffer_text(b, " FROM poly_log AS l WHERE l.position = ");
    add_latest(b, table, "OLD");
    poly_buffer_text(b, " AND typeof(l.data) = 'integer' AND NOT EXISTS"
                        " (SELECT 1 FROM poly_history AS h WHERE h.position = l.position);\n");
}

static void add_trigger(struct poly_buffer *b, const struct poly_table *table, const char *event)
{
    char name[POLY_TRIGGER_NAME];

    snprintf(name, sizeof(name), "poly_%s_%s", table->domain->name, event);
    poly_buffer_text(b, "CREATE TRIGGER ");
    poly_sql_name(b, name);
    poly_buffer_printf(b, " AFTER %s ON ",
                       event[0] == 'i'   ? "INSERT"
                       : event[0] == 'u' ? "UPDATE"
                                         : "DELETE");
    poly_sql_name(b, table->domain->table);
}

/* OLD.name IS NOT NEW.name, byte for byte: a collation may call different texts equal. */
static void add_differs(struct poly_buffer *b, const char *name, enum poly_type type)
{
    add_column(b, "OLD", name);
    poly_buffer_text(b, " COLLATE BINARY IS NOT ");
    add_column(b, "NEW", name);
    if (type != POLY_NULL)
        return;
    poly_buffer_text(b, " OR typeof(");
    add_column(b, "OLD", name);
    poly_buffer_text(b, ") <> typeof(");
    add_column(b, "NEW", name);
    poly_buffer_text(b, ")");
}

static void add_changed(struct poly_buffer *b, const struct poly_table *table, bool identity)
{
    const char * or = "";

    for (size_t i = 0; i < table->column_count; i++) {
        if (identity && i != table->key)
            continue;
        poly_buffer_text(b, or);
        add_differs(b, table->columns[i].name, table->columns[i].type);
        or = " OR ";
    }
    if (table->domain->tenant != NULL) {
        poly_buffer_text(b, " OR ");
        add_differs(b, table->domain->tenant, POLY_TEXT);
    }
}

static void add_update(struct poly_buffer *b, const struct poly_table *table)
{
    add_trigger(b, table, "update");
    poly_buffer_text(b, " WHEN ");
    add_changed(b, table, false);
    poly_buffer_text(b, " BEGIN\n");
    add_guard(b, table);
    add_history(b, table);
    add_delete(b, table);
    poly_buffer_text(b, " WHERE ");
    add_changed(b, table, true);
    poly_buffer_text(b, ";\n");
    add_put(b, table);
    poly_buffer_text(b, "END");
}

/* The image of every row, beside the last record that the log has of it. */
static void add_rows(struct poly_buffer *b, const struct poly_table *table)
{
    add_head(b);
    add_common(b, table);
    poly_buffer_text(b, "r.tenant, r.key, '$put', ");
    add_data(b);
    poly_buffer_text(b, " FROM (SELECT ");
    /* No tenant is no place in the log: NULL fails there, '' would be everybody's. */
    if (table->domain->tenant != NULL)
        poly_buffer_text(b, "nullif(");
    add_tenant(b, table, "t");
    poly_buffer_text(b, table->domain->tenant != NULL ? ", '') AS tenant, " : " AS tenant, ");
    add_key(b, table, "t");
    poly_buffer_text(b, " AS key, ");
    add_image(b, table, "t");
    poly_buffer_text(b, " AS image, ");
    add_latest(b, table, "t");
    poly_buffer_text(b, " AS latest FROM main.");
    poly_sql_name(b, table->domain->table);
    poly_buffer_text(b, " AS t ORDER BY ");
    add_column(b, "t", table->columns[table->key].name);
    /* A column that was added and is null everywhere is no change. */
    poly_buffer_text(b, " LIMIT -1) AS r LEFT JOIN main.poly_log AS l ON l.position = r.latest"
                        " LEFT JOIN main.poly_history AS h ON h.position = r.latest"
                        " WHERE r.latest IS NULL OR l.type = '$delete' OR (r.image IS NOT"
                        " CASE typeof(l.data) WHEN 'integer' THEN h.data ELSE l.data END"
                        " AND json_patch('{}', r.image) IS NOT json_patch('{}',"
                        " CASE typeof(l.data) WHEN 'integer' THEN h.data ELSE l.data END))");
}

/* *exists: there still is a table to look into. */
static void add_gone(struct poly_buffer *b, const struct poly_table *table, bool exists)
{
    add_head(b);
    add_common(b, table);
    poly_buffer_text(b, "l.tenant, l.key, '$delete', NULL FROM (SELECT max(position) AS latest"
                        " FROM main.poly_log WHERE version IS NULL AND domain = ");
    poly_sql_text(b, table->domain->name);
    poly_buffer_text(b, " GROUP BY tenant, key) AS r JOIN main.poly_log AS l"
                        " ON l.position = r.latest WHERE l.type = '$put'");
    if (!exists)
        return;
    poly_buffer_text(b, " AND NOT EXISTS (SELECT 1 FROM main.");
    poly_sql_name(b, table->domain->table);
    poly_buffer_text(b, " AS t WHERE ");
    add_column(b, "t", table->columns[table->key].name);
    poly_buffer_text(b, " = l.key AND ");
    add_tenant(b, table, "t");
    poly_buffer_text(b, " = l.tenant)");
}

static void add_freeze(struct poly_buffer *b, const struct poly_table *table, const char *image,
                       size_t size)
{
    poly_buffer_text(b, "INSERT INTO main.poly_history(position, data) SELECT l.position, ");
    poly_buffer_add(b, image, size);
    poly_buffer_text(b, " FROM main.");
    poly_sql_name(b, table->domain->table);
    poly_buffer_text(b, " AS t JOIN main.poly_log AS l ON l.position = ");
    add_latest(b, table, "t");
    poly_buffer_text(b, " WHERE typeof(l.data) = 'integer' AND NOT EXISTS"
                        " (SELECT 1 FROM main.poly_history AS h WHERE h.position = l.position)");
}

static void keep(struct poly_table *table, const char **text, struct poly_buffer *b, bool *failed)
{
    if (poly_buffer_ok(b))
        *text = poly_arena_copy(table->arena, b->data, b->size);
    if (*text == NULL)
        *failed = true;
    poly_buffer_clear(b);
}

static struct poly_table_sql *texts(struct poly_table *table)
{
    return &((struct poly_embedded_table *)table)->sql;
}

static void keep_triggers(struct poly_table *table, struct poly_buffer *b, bool *failed)
{
    struct poly_table_sql *sql = texts(table);

    add_trigger(b, table, "insert");
    poly_buffer_text(b, " BEGIN\n");
    add_guard(b, table);
    add_put(b, table);
    poly_buffer_text(b, "END");
    keep(table, &sql->insert_trigger, b, failed);
    add_update(b, table);
    keep(table, &sql->update_trigger, b, failed);
    add_trigger(b, table, "delete");
    poly_buffer_text(b, " BEGIN\n");
    add_history(b, table);
    add_delete(b, table);
    poly_buffer_text(b, ";\nEND");
    keep(table, &sql->delete_trigger, b, failed);
}

/* The row with key ?1 of tenant ?2. */
static void add_image_source(struct poly_buffer *b, const struct poly_table *table)
{
    poly_buffer_text(b, " FROM main.");
    poly_sql_name(b, table->domain->table);
    poly_buffer_text(b, " AS t WHERE ");
    add_column(b, "t", table->columns[table->key].name);
    poly_buffer_text(b, " = ?1 AND ");
    add_tenant(b, table, "t");
    poly_buffer_text(b, " = ?2");
}

void poly_table_log_sql(struct poly_table *table, struct poly_buffer *scratch, bool *failed)
{
    struct poly_table_sql *sql = texts(table);
    struct poly_buffer *b = scratch;

    keep_triggers(table, b, failed);
    add_rows(b, table);
    keep(table, &sql->log_rows, b, failed);
    add_gone(b, table, true);
    keep(table, &sql->log_gone, b, failed);
    poly_buffer_text(b, "SELECT ");
    add_image(b, table, "t");
    add_image_source(b, table);
    keep(table, &sql->image, b, failed);
}

/* --- what stands in the database --- */

static const char *const events[] = {"insert", "update", "delete"};

static const char *wanted(const struct poly_table *table, int event)
{
    return event == 0   ? poly_embedded_sql(table)->insert_trigger
           : event == 1 ? poly_embedded_sql(table)->update_trigger
                        : poly_embedded_sql(table)->delete_trigger;
}

/* The trigger's text, copied into the buffer; empty: there is none. *outrun: one of others runs
 * before it, and what that does to the row would be logged first. */
static enum poly_status stored(struct poly_db *db, const struct poly_table *table, int event,
                               struct poly_buffer *text, bool *outrun, struct poly_error *err)
{
    sqlite3_stmt *statement = poly_db_prepare(db, sql_trigger, err);
    char name[POLY_TRIGGER_NAME];
    bool row = false;
    enum poly_status status;

    poly_buffer_clear(text);
    if (statement == NULL)
        return err == NULL ? POLY_INTERNAL : err->status;
    snprintf(name, sizeof(name), "poly_%s_%s", table->domain->name, events[event]);
    poly_bind_text(statement, 1, poly_text(name));
    status = poly_db_row(db, statement, &row, err);
    if (status == POLY_OK && row) {
        struct poly_text sql = poly_column_text(statement, 0);

        poly_buffer_add(text, sql.data, sql.size);
        *outrun = sqlite3_column_int(statement, 1) != 0;
    }
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    if (status == POLY_OK && !poly_buffer_ok(text))
        return poly_no_memory(err);
    return status;
}

enum poly_status poly_table_triggers_fit(struct poly_db *db, const struct poly_table *table,
                                         bool *fit, int *present, struct poly_error *err)
{
    struct poly_buffer text;
    enum poly_status status = POLY_OK;
    bool all = true;
    int found = 0;

    poly_buffer_init(&text, 4 * 1024 * 1024);
    for (int i = 0; i < 3 && status == POLY_OK; i++) {
        bool outrun = false;

        status = stored(db, table, i, &text, &outrun, err);
        found += text.size > 0;
        all = all && !outrun && text.size > 0 && strcmp(text.data, wanted(table, i)) == 0;
    }
    poly_buffer_release(&text);
    if (status == POLY_OK) {
        *fit = all;
        *present = found;
    }
    return status;
}

/* Where the next token of the SQL begins: what is in quotes is one, all else a character. */
static const char *token(const char *sql)
{
    const char *close = *sql == '\'' || *sql == '"' ? strchr(sql + 1, *sql) : NULL;

    return close == NULL ? sql + 1 : close + 1;
}

/* The mark in the SQL, outside of quotes: a column may have any name. NULL: there is none. */
static const char *find_mark(const char *sql, const char *mark)
{
    while (*sql != '\0' && strncmp(sql, mark, strlen(mark)) != 0)
        sql = token(sql);
    return *sql == '\0' ? NULL : sql;
}

/* NEW."x" becomes t."x" in the image that the insert trigger was made with. */
static void add_old_image(struct poly_buffer *b, const char *from, const char *to)
{
    while (from < to) {
        const char *next = token(from);

        if (strncmp(from, "NEW.\"", 5) == 0) {
            poly_buffer_text(b, "t.");
            next = from + 4;
        } else {
            poly_buffer_add(b, from, (size_t)(next - from));
        }
        from = next;
    }
}

/* The image as the triggers in the database make it, of a row t; empty: there are none. */
static enum poly_status old_image(struct poly_db *db, const struct poly_table *table,
                                  struct poly_buffer *image, struct poly_error *err)
{
    struct poly_buffer text;
    enum poly_status status;
    bool outrun;

    poly_buffer_init(&text, 4 * 1024 * 1024);
    status = stored(db, table, 0, &text, &outrun, err);
    if (status == POLY_OK && text.size > 0) {
        const char *from = find_mark(text.data, image_begin);
        const char *to = from == NULL ? NULL : find_mark(from, image_end);

        if (to != NULL)
            add_old_image(image, from, to);
        if (!poly_buffer_ok(image))
            status = poly_no_memory(err);
    }
    poly_buffer_release(&text);
    return status;
}

/*
 * Large images into history, by the expression that the trigger has: the
 * columns may be others by now. When it no longer runs (a column is gone) the
 * old images cannot be told any more, and the log says so when asked.
 */
static enum poly_status freeze(struct poly_db *db, const struct poly_table *table,
                               struct poly_error *err)
{
    struct poly_buffer image, sql;
    enum poly_status status;

    poly_buffer_init(&image, 4 * 1024 * 1024);
    poly_buffer_init(&sql, 8 * 1024 * 1024);
    status = old_image(db, table, &image, err);
    if (status == POLY_OK && image.size > 0) {
        add_freeze(&sql, table, image.data, image.size);
        status = poly_buffer_ok(&sql) ? poly_db_exec(db, sql.data, err) : poly_no_memory(err);
        if (status == POLY_INVALID)
            status = POLY_OK;
    }
    poly_buffer_release(&sql);
    poly_buffer_release(&image);
    return status;
}

enum poly_status poly_table_image_sql(struct poly_db *db, const struct poly_table *table,
                                      struct poly_buffer *sql, struct poly_error *err)
{
    struct poly_buffer image;
    enum poly_status status;

    poly_buffer_init(&image, 4 * 1024 * 1024);
    status = old_image(db, table, &image, err);
    if (status == POLY_OK) {
        poly_buffer_text(sql, "SELECT ");
        if (image.size > 0)
            poly_buffer_add(sql, image.data, image.size);
        else
            add_image(sql, table, "t");
        add_image_source(sql, table);
        if (!poly_buffer_ok(sql))
            status = poly_no_memory(err);
    }
    poly_buffer_release(&image);
    return status;
}

enum poly_status poly_table_detach(struct poly_db *db, const struct poly_table *table,
                                   struct poly_error *err)
{
    enum poly_status status =
        poly_embedded_sql(table)->image == NULL ? POLY_OK : freeze(db, table, err);
    struct poly_buffer sql;
    char name[POLY_TRIGGER_NAME];

    poly_buffer_init(&sql, 4096);
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof(name), "poly_%s_%s", table->domain->name, events[i]);
        poly_buffer_text(&sql, "DROP TRIGGER IF EXISTS main.");
        poly_sql_name(&sql, name);
        poly_buffer_text(&sql, ";");
    }
    if (status == POLY_OK)
        status = poly_buffer_ok(&sql) ? poly_db_exec(db, sql.data, err) : poly_no_memory(err);
    poly_buffer_release(&sql);
    return status;
}

enum poly_status poly_table_attach(struct poly_db *db, const struct poly_table *table,
                                   int64_t *written, struct poly_error *err)
{
    enum poly_status status = POLY_OK;
    int64_t count;

    for (int i = 0; i < 3 && status == POLY_OK; i++)
        status = poly_db_exec(db, wanted(table, i), err);
    if (status == POLY_OK)
        status = poly_db_exec(db, poly_embedded_sql(table)->log_rows, err);
    count = status == POLY_OK ? sqlite3_changes64(poly_db_handle(db)) : 0;
    if (status == POLY_OK)
        status = poly_db_exec(db, poly_embedded_sql(table)->log_gone, err);
    if (status != POLY_OK && strstr(sqlite3_errmsg(poly_db_handle(db)), "poly_log.tenant") != NULL)
        return poly_fail(
            err, POLY_INVALID,
            "table '%s' has rows whose '%s' is empty: give each its tenant, then start "
            "again",
            table->domain->table, table->domain->tenant);
    if (status != POLY_OK)
        return poly_fail_in(err, status, "domain '%s': triggers of table '%s'", table->domain->name,
                            table->domain->table);
    *written = count + sqlite3_changes64(poly_db_handle(db));
    return POLY_OK;
}

enum poly_status poly_table_gone(struct poly_db *db, const struct poly_table *table,
                                 struct poly_error *err)
{
    struct poly_buffer sql;
    enum poly_status status;

    poly_buffer_init(&sql, 4096);
    add_gone(&sql, table, false);
    status = poly_buffer_ok(&sql) ? poly_db_exec(db, sql.data, err) : poly_no_memory(err);
    poly_buffer_release(&sql);
    return status;
}
