/*
 * What SQL may do on the writer's connection, by SQLite's authorizer: it sees
 * what a statement means, after parsing, where an inspection of the text can
 * be fooled. Two things it does not see are looked for in the text, token by
 * token: ROLLBACK (a conflict clause that would undo the whole group of
 * transactions), and names that begin with "poly_" in the SQL of a session
 * that is no administrator's (a common table expression of that name would
 * pass for one of our triggers).
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "stores/relational/embedded.h"
#include "stores/relational/view.h"

/* Sorted. What computes and cannot reach outside of its arguments. */
static const char *const functions[] = {
    "abs",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "avg",
    "ceil",
    "ceiling",
    "char",
    "coalesce",
    "cos",
    "cosh",
    "count",
    "cume_dist",
    "current_date",
    "current_time",
    "current_timestamp",
    "date",
    "datetime",
    "degrees",
    "dense_rank",
    "exp",
    "first_value",
    "floor",
    "format",
    "glob",
    "group_concat",
    "hex",
    "ifnull",
    "iif",
    "instr",
    "json",
    "json_array",
    "json_array_length",
    "json_extract",
    "json_group_array",
    "json_group_object",
    "json_insert",
    "json_object",
    "json_quote",
    "json_remove",
    "json_replace",
    "json_set",
    "json_type",
    "json_valid",
    "julianday",
    "lag",
    "last_value",
    "lead",
    "length",
    "like",
    "likelihood",
    "likely",
    "ln",
    "log",
    "log10",
    "log2",
    "lower",
    "ltrim",
    "max",
    "min",
    "mod",
    "nth_value",
    "ntile",
    "nullif",
    "percent_rank",
    "pi",
    "pow",
    "power",
    "printf",
    "quote",
    "radians",
    "random",
    "randomblob",
    "rank",
    "replace",
    "round",
    "row_number",
    "rtrim",
    "sign",
    "sin",
    "sinh",
    "sqrt",
    "strftime",
    "substr",
    "substring",
    "sum",
    "tan",
    "tanh",
    "time",
    "total",
    "trim",
    "trunc",
    "typeof",
    "unicode",
    "unixepoch",
    "unlikely",
    "upper",
    "zeroblob",
};

static int compare(const void *a, const void *b)
{
    return strcasecmp(a, *(const char *const *)b);
}

bool poly_guard_function(const char *name)
{
    if (strcmp(name, "->") == 0 || strcmp(name, "->>") == 0)
        return true;
    return bsearch(name, functions, sizeof(functions) / sizeof(functions[0]), sizeof(functions[0]),
                   compare) != NULL;
}

static bool begins(const char *name, const char *prefix)
{
    return name != NULL && strncasecmp(name, prefix, strlen(prefix)) == 0;
}

bool poly_guard_secret(const char *table)
{
    return begins(table, "poly_key") || begins(table, "poly_meta") ||
           begins(table, "sqlite_dbpage") || begins(table, "sqlite_dbdata") ||
           begins(table, "sqlite_dbptr") || begins(table, "sqlite_stmt") ||
           begins(table, "pragma_") || begins(table, "bytecode") || begins(table, "tables_used");
}

static int refuse(struct poly_guard *guard, const char *format, const char *what)
    __attribute__((format(printf, 2, 0)));

static int refuse(struct poly_guard *guard, const char *format, const char *what)
{
    if (guard->refused[0] == '\0') {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(guard->refused, sizeof(guard->refused), format, what == NULL ? "" : what);
#pragma GCC diagnostic pop
    }
    return SQLITE_DENY;
}

/* Without ADMIN: tables of domains without tenants. */
static bool open_table(const struct poly_guard *guard, const char *table)
{
    bool found = poly_view_find(guard->relational, table, POLY_VIEW_OPEN) != NULL;

    for (size_t i = 0; i < guard->schema->count; i++) {
        const struct poly_table *t = guard->schema->tables[i];

        if (t == NULL || table == NULL || strcasecmp(t->domain->table, table) != 0)
            continue;
        if (t->domain->tenant != NULL)
            return false;
        found = t->status == POLY_OK;
    }
    return found;
}

static int read_table(struct poly_guard *guard, const char *table, const char *accessor)
{
    if (poly_guard_secret(table))
        return refuse(guard, "table '%s' is not for SQL", table);
    if (guard->admin || open_table(guard, table) ||
        (begins(table, "poly_") && begins(accessor, "poly_")) || begins(table, "json_each") ||
        begins(table, "json_tree"))
        return SQLITE_OK;
    return refuse(guard,
                  "table '%s' is none of a domain without tenants, and the session has no "
                  "ADMIN",
                  table);
}

static int write_table(struct poly_guard *guard, int action, const char *table,
                       const char *accessor)
{
    bool schema = begins(table, "sqlite_");

    if (poly_view_named(guard->relational, table))
        return refuse(guard, "'%s' is a materialised view, and Polystore's to write", table);
    if (begins(table, "poly_")) {
        if (action == SQLITE_INSERT && begins(accessor, "poly_"))
            return SQLITE_OK;
        return refuse(guard, "table '%s' is Polystore's own", table);
    }
    if (schema)
        return guard->level == GUARD_MIGRATION ? SQLITE_OK
                                               : refuse(guard, "table '%s' is SQLite's own", table);
    if (guard->admin || open_table(guard, table))
        return SQLITE_OK;
    return refuse(guard,
                  "table '%s' is none of a domain without tenants, and the session has no "
                  "ADMIN",
                  table);
}

static int call_function(struct poly_guard *guard, const char *name)
{
    if (guard->level == GUARD_MIGRATION
            ? !begins(name, "load_extension") && !begins(name, "fts3_tokenizer")
            : poly_guard_function(name))
        return SQLITE_OK;
    return refuse(guard, "function '%s' is not for SQL", name);
}

static int change_schema(struct poly_guard *guard, int action, const char *a, const char *b)
{
    if (guard->level != GUARD_MIGRATION)
        return refuse(guard, "the schema is changed by migrations ('polystore migrate up')%s", "");
    if (poly_view_named(guard->relational, a) || poly_view_named(guard->relational, b))
        return refuse(guard, "'%s' is a materialised view: it is changed in the configuration",
                      poly_view_named(guard->relational, a) ? a : b);
    /* Dropping a table drops its triggers, ours too. */
    if (action == SQLITE_DROP_TRIGGER && begins(a, "poly_"))
        return SQLITE_OK;
    if (begins(a, "poly_") || (begins(b, "poly_") && action != SQLITE_CREATE_VTABLE))
        return refuse(guard, "names that begin with 'poly_' are Polystore's own ('%s')",
                      begins(a, "poly_") ? a : b);
    return SQLITE_OK;
}

static int authorize(void *arg, int action, const char *a, const char *b, const char *database,
                     const char *accessor)
{
    struct poly_guard *guard = arg;

    (void)database;
    if (guard->level == GUARD_OFF)
        return SQLITE_OK;
    switch (action) {
    case SQLITE_SELECT:
    case SQLITE_RECURSIVE:
        return SQLITE_OK;
    case SQLITE_READ:
        return read_table(guard, a, accessor);
    case SQLITE_INSERT:
    case SQLITE_UPDATE:
    case SQLITE_DELETE:
        return write_table(guard, action, a, accessor);
    case SQLITE_FUNCTION:
        return call_function(guard, b);
    case SQLITE_TRANSACTION:
    case SQLITE_SAVEPOINT:
        return refuse(guard, "BEGIN, COMMIT, ROLLBACK and savepoints are Polystore's%s", "");
    case SQLITE_ATTACH:
    case SQLITE_DETACH:
        return refuse(guard, "ATTACH and DETACH are not allowed%s", "");
    case SQLITE_PRAGMA:
        if (begins(a, "data_version")) /* FTS5 asks for it */
            return SQLITE_OK;
        return refuse(guard, "PRAGMA %s is not allowed", a);
    case SQLITE_CREATE_INDEX:
    case SQLITE_CREATE_TABLE:
    case SQLITE_CREATE_TRIGGER:
    case SQLITE_CREATE_VIEW:
    case SQLITE_CREATE_VTABLE:
    case SQLITE_DROP_INDEX:
    case SQLITE_DROP_TABLE:
    case SQLITE_DROP_TRIGGER:
    case SQLITE_DROP_VIEW:
    case SQLITE_DROP_VTABLE:
    case SQLITE_ALTER_TABLE:
    case SQLITE_REINDEX:
    case SQLITE_ANALYZE:
        return change_schema(guard, action, a, b);
    default:
        return refuse(guard, "this statement is not allowed%s", "");
    }
}

void poly_guard_install(struct poly_guard *guard, struct poly_db *writer)
{
    sqlite3_set_authorizer(poly_db_handle(writer), authorize, guard);
}

/* --- the text --- */

/* The end of a string, quoted name or comment that begins at s; s itself: none does. */
static const char *skip(const char *s)
{
    const char *end;
    char close = *s == '[' ? ']' : *s;

    if (s[0] == '-' && s[1] == '-')
        return s + strcspn(s, "\n");
    if (s[0] == '/' && s[1] == '*') {
        end = strstr(s + 2, "*/");
        return end == NULL ? s + strlen(s) : end + 2;
    }
    if (*s != '\'' && *s != '"' && *s != '`' && *s != '[')
        return s;
    end = strchr(s + 1, close);
    return end == NULL ? s + strlen(s) : end + 1;
}

static bool in_name(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '$' || (c & 0x80) != 0;
}

static bool has_word(const char *sql, const char *word)
{
    size_t size = strlen(word);

    while (*sql != '\0') {
        const char *after = skip(sql);

        if (after != sql) {
            sql = after;
        } else if (in_name(*sql)) {
            const char *start = sql;

            while (in_name(*sql))
                sql++;
            if ((size_t)(sql - start) == size && strncasecmp(start, word, size) == 0)
                return true;
        } else {
            sql++;
        }
    }
    return false;
}

/* Anywhere, in strings and comments too: that is on the safe side. */
static bool has_poly_name(const char *sql)
{
    for (const char *s = strcasestr(sql, "poly_"); s != NULL; s = strcasestr(s + 1, "poly_")) {
        if (s == sql || !in_name(s[-1]))
            return true;
    }
    return false;
}

enum poly_status poly_guard_text(const char *sql, bool admin, struct poly_error *err)
{
    if (has_word(sql, "ROLLBACK"))
        return poly_fail(err, POLY_DENIED,
                         "SQL: ROLLBACK is not allowed, also not as a conflict clause: it would "
                         "undo what others have written; use ABORT");
    if (!admin && has_poly_name(sql))
        return poly_fail(err, POLY_DENIED,
                         "SQL: names that begin with 'poly_' are not allowed here; bind texts as "
                         "parameters");
    return POLY_OK;
}
