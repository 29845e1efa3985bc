/* What is the same of a table whichever database it stands in. */
#include <stdio.h>
#include <strings.h>

#include "stores/relational/table.h"

const char *poly_type_name(enum poly_type type)
{
    static const char *const names[] = {"null",  "a boolean", "an integer", "a float", "text",
                                        "bytes", "JSON",      "a time",     "a UUID"};

    return names[type];
}

static void quoted(struct poly_buffer *out, const char *text, char quote)
{
    poly_buffer_char(out, quote);
    for (; *text != '\0'; text++) {
        if (*text == quote)
            poly_buffer_char(out, quote);
        poly_buffer_char(out, *text);
    }
    poly_buffer_char(out, quote);
}

void poly_sql_name(struct poly_buffer *out, const char *name)
{
    quoted(out, name, '"');
}

void poly_sql_text(struct poly_buffer *out, const char *text)
{
    quoted(out, text, '\'');
}

size_t poly_table_find(const struct poly_table *table, const char *name)
{
    size_t i = 0;

    while (i < table->column_count && strcasecmp(table->columns[i].name, name) != 0)
        i++;
    return i;
}

void poly_table_columns(const struct poly_table *table, char *text, size_t size)
{
    size_t used = 0;

    text[0] = '\0';
    for (size_t i = 0; i < table->column_count && used < size; i++) {
        int more =
            snprintf(text + used, size - used, "%s%s", i == 0 ? "" : ", ", table->columns[i].name);

        used += more < 0 ? size : (size_t)more;
    }
}

void poly_table_free(struct poly_table *table)
{
    if (table != NULL)
        poly_arena_free(table->arena);
}

/* --- does it fit? --- */

void poly_table_problem(struct poly_table *table, enum poly_status status, const char *text)
{
    if (table->problem != NULL)
        return;
    table->status = status;
    table->problem = text == NULL ? "out of memory" : text;
}

bool poly_table_check_columns(struct poly_table *table)
{
    if (table->column_count < POLY_MAX_COLUMNS)
        return true;
    poly_table_problem(table, POLY_UNSUPPORTED,
                       poly_arena_printf(table->arena, "table '%s' has more than %d columns",
                                         table->domain->table, POLY_MAX_COLUMNS));
    return false;
}

bool poly_table_check_keys(struct poly_table *table, size_t keys)
{
    const char *name = table->domain->table;

    if (keys == 0)
        poly_table_problem(
            table, POLY_UNSUPPORTED,
            poly_arena_printf(table->arena,
                              "table '%s' has no primary key%s: a record is found by "
                              "it",
                              name, table->tenant_in_key ? " beside the tenant's column" : ""));
    else if (keys > 1)
        poly_table_problem(
            table, POLY_UNSUPPORTED,
            poly_arena_printf(table->arena,
                              "table '%s' has a primary key of %zu columns; a domain "
                              "needs one (a tenant's column beside it does not "
                              "count)",
                              name, keys));
    return keys == 1;
}

void poly_table_check_tenant(struct poly_table *table, bool found, bool exact)
{
    const struct poly_domain *domain = table->domain;
    enum poly_type type = table->tenant_type;

    if (domain->tenant == NULL)
        return;
    if (!found)
        poly_table_problem(
            table, POLY_UNAVAILABLE,
            poly_arena_printf(table->arena,
                              "table '%s' has no column '%s', which the domain names "
                              "as its tenant",
                              domain->table, domain->tenant));
    else if (type != POLY_INT && type != POLY_TEXT && type != POLY_UUID)
        poly_table_problem(
            table, POLY_UNSUPPORTED,
            poly_arena_printf(table->arena,
                              "tenant column '%s' of table '%s' must be TEXT, INTEGER "
                              "or UUID",
                              domain->tenant, domain->table));
    else if (!exact)
        poly_table_problem(
            table, POLY_UNSUPPORTED,
            poly_arena_printf(table->arena,
                              "tenant column '%s' of table '%s' has a collation of its "
                              "own; tenants are compared byte for byte",
                              domain->tenant, domain->table));
}
