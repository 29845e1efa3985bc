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
