/*
 * The texts name the table and its columns; the rest is the same on both engines. On one with types
 * a vector is kept as the text of its column's type.
 */
#include "stores/relational/model_sql.h"

#include <stdio.h>
#include <string.h>

enum { SQL_MEMORY = 1024 * 1024 };

/* 'd."x"' for each of them. */
struct names {
    char key[2 * POLY_MAX_NAME + 32], tenant[2 * POLY_MAX_NAME + 32];
    char column[2 * POLY_MAX_NAME + 8], bare[2 * POLY_MAX_NAME + 8];
    const char *table, *type; /* type NULL: none */
};

static bool print_name(char *out, size_t size, const char *before, const char *name,
                       const char *after)
{
    struct poly_buffer b;
    bool fits;

    poly_buffer_init(&b, size);
    poly_buffer_text(&b, before);
    poly_sql_name(&b, name);
    poly_buffer_text(&b, after);
    fits = poly_buffer_ok(&b) && b.size < size;
    if (fits)
        memcpy(out, b.data, b.size + 1);
    poly_buffer_release(&b);
    return fits;
}

static const char *table_name(const struct poly_relational_driver *driver,
                              const struct poly_table *table, struct poly_arena *arena)
{
    char name[2 * POLY_MAX_NAME + 8];

    if (driver->sql_name != NULL)
        return driver->sql_name(table, arena);
    return print_name(name, sizeof(name), "main.", table->domain->table, "")
               ? poly_arena_copy(arena, name, strlen(name))
               : NULL;
}

static bool fill_names(struct names *n, const struct poly_relational_driver *driver,
                       const struct poly_table *table, size_t column, struct poly_arena *arena)
{
    const char *name = table->columns[column].name, *tenant = table->domain->tenant;

    n->table = table_name(driver, table, arena);
    n->type = driver->sql_type == NULL ? NULL : driver->sql_type(table, column, arena);
    snprintf(n->tenant, sizeof(n->tenant), "''");
    return n->table != NULL &&
           print_name(n->key, sizeof(n->key), "CAST(d.", table->columns[table->key].name,
                      " AS TEXT)") &&
           print_name(n->column, sizeof(n->column), "d.", name, "") &&
           print_name(n->bare, sizeof(n->bare), "", name, "") &&
           (tenant == NULL ||
            print_name(n->tenant, sizeof(n->tenant), "CAST(d.", tenant, " AS TEXT)"));
}

#define KEPT(name) name ".domain = ?1 AND " name ".field = ?2 AND " name ".old = 0"

/* The records whose new vector is missing, or is of another version than they have. */
static const char *wrong_rows(struct poly_arena *arena, const struct names *n)
{
    return poly_arena_printf(
        arena,
        "SELECT CASE WHEN n.key IS NULL THEN 0 ELSE 1 END AS other, %s AS tenant, %s AS key"
        " FROM %s AS d LEFT JOIN poly_model_vector AS n ON " KEPT(
            "n") " AND n.tenant = %s"
                 " AND n.key = %s WHERE (%s IS NOT NULL OR n.key IS NOT NULL) AND (n.key IS NULL "
                 "OR n.of <>"
                 " (SELECT l.position FROM poly_log AS l WHERE l.domain = ?1 AND l.tenant = %s"
                 "  AND l.key = %s AND l.version IS NULL ORDER BY l.position DESC LIMIT 1))",
        n->tenant, n->key, n->table, n->tenant, n->key, n->column, n->tenant, n->key);
}

/* The records that have a vector and none of the next model: an embedder has not made it yet, or
 * refused to. One of a text before the present one is as good as any: its record waits, then as
 * now. */
static const char *lacking_rows(struct poly_arena *arena, const struct names *n)
{
    return poly_arena_printf(
        arena,
        "SELECT %s AS tenant, %s AS key, CASE WHEN e.key IS NULL THEN 0 ELSE 1 END AS refused"
        " FROM %s AS d LEFT JOIN poly_embedding AS e ON e.domain = ?1 AND e.name = ?3"
        " AND e.tenant = %s AND e.key = %s AND e.state = 2"
        " WHERE %s IS NOT NULL AND NOT EXISTS (SELECT 1 FROM poly_model_vector AS n WHERE " KEPT(
            "n") " AND n.tenant = %s AND n.key = %s)",
        n->tenant, n->key, n->table, n->tenant, n->key, n->column, n->tenant, n->key);
}

static bool fill_lacking(struct poly_model_sql *sql, const struct names *n)
{
    const char *lacking = lacking_rows(sql->arena, n);

    if (lacking == NULL)
        return false;
    sql->lacking = poly_arena_printf(
        sql->arena, "SELECT count(*), coalesce(sum(w.refused), 0) FROM (%s) AS w", lacking);
    sql->lack = poly_arena_printf(sql->arena,
                                  "SELECT w.key FROM (%s) AS w WHERE w.refused = ?4"
                                  " ORDER BY w.tenant, w.key LIMIT ?5",
                                  lacking);
    return sql->lacking != NULL && sql->lack != NULL;
}

static bool fill(struct poly_model_sql *sql, const struct names *n)
{
    struct poly_arena *arena = sql->arena;
    const char *wrong = wrong_rows(arena, n);
    const char *kept = poly_arena_printf(arena,
                                         "(SELECT n.vector FROM poly_model_vector AS n WHERE " KEPT(
                                             "n") " AND n.tenant = %s AND n.key = %s)",
                                         n->tenant, n->key);
    const char *as_text =
        n->type == NULL ? n->column : poly_arena_printf(arena, "CAST(%s AS text)", n->column);
    const char *as_column =
        n->type == NULL ? kept : poly_arena_printf(arena, "CAST(%s AS %s)", kept, n->type);

    sql->lock =
        n->type == NULL
            ? NULL
            : poly_arena_printf(arena, "LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE", n->table);
    sql->wrong = poly_arena_printf(
        arena, "SELECT count(*), coalesce(sum(w.other), 0) FROM (%s) AS w", wrong);
    sql->which = poly_arena_printf(
        arena, "SELECT w.key FROM (%s) AS w ORDER BY w.tenant, w.key LIMIT ?3", wrong);
    sql->stash = poly_arena_printf(
        arena,
        "INSERT INTO poly_model_vector(domain, field, old, tenant, key, of, vector)"
        " SELECT ?1, ?2, 1, %s, %s, 0, %s FROM %s AS d WHERE %s IS NOT NULL",
        n->tenant, n->key, as_text, n->table, n->column);
    sql->same = poly_arena_printf(arena, "UPDATE %s AS d SET %s = NULL WHERE %s = %s", n->table,
                                  n->bare, as_text, kept);
    sql->take = poly_arena_printf(
        arena,
        "UPDATE %s AS d SET %s = %s WHERE %s IS NOT NULL OR EXISTS (SELECT 1 FROM"
        " poly_model_vector AS n WHERE " KEPT("n") " AND n.tenant = %s AND n.key = %s)",
        n->table, n->bare, as_column, n->column, n->tenant, n->key);
    return wrong != NULL && kept != NULL && as_text != NULL && as_column != NULL &&
           (sql->lock != NULL || n->type == NULL) && sql->wrong != NULL && sql->which != NULL &&
           sql->stash != NULL && sql->same != NULL && sql->take != NULL;
}

static struct poly_model_sql *make(const struct poly_relational *relational,
                                   const struct poly_table *table, size_t column)
{
    struct poly_arena *arena = poly_arena_new(SQL_MEMORY);
    struct poly_model_sql *sql = arena == NULL ? NULL : poly_arena_alloc(arena, sizeof(*sql));
    struct names n;

    if (sql == NULL) {
        poly_arena_free(arena);
        return NULL;
    }
    sql->arena = arena;
    sql->table = table;
    sql->column = column;
    if (fill_names(&n, relational->driver, table, column, arena) && fill(sql, &n) &&
        fill_lacking(sql, &n))
        return sql;
    poly_arena_free(arena);
    return NULL;
}

enum poly_status poly_model_sql(struct poly_relational *relational, const struct poly_table *table,
                                size_t column, const struct poly_model_sql **sql,
                                struct poly_error *err)
{
    struct poly_model_sql *found;

    pthread_mutex_lock(&relational->lock);
    found = relational->changes;
    while (found != NULL && (found->table != table || found->column != column))
        found = found->next;
    if (found == NULL && (found = make(relational, table, column)) != NULL) {
        found->next = relational->changes;
        relational->changes = found;
    }
    pthread_mutex_unlock(&relational->lock);
    if (found == NULL)
        return poly_no_memory(err);
    *sql = found;
    return POLY_OK;
}

void poly_model_sql_free(struct poly_relational *relational)
{
    while (relational->changes != NULL) {
        struct poly_model_sql *next = relational->changes->next;

        poly_arena_free(relational->changes->arena);
        relational->changes = next;
    }
}
