/*
 * What of a materialised view can be seen in the file alone: that it has all it
 * needs, that its query is one statement that reads, and that nobody else has
 * its name. Whether the query runs says the database (stores/relational/view.h).
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "core/config_options.h"

/* The end of a quoted text, quoted name or comment that begins at s; s itself: none does. */
static const char *skip(const char *s)
{
    const char *end;

    if (s[0] == '-' && s[1] == '-')
        return s + strcspn(s, "\n");
    if (s[0] == '/' && s[1] == '*')
        end = strstr(s + 2, "*/") == NULL ? NULL : strstr(s + 2, "*/") + 1;
    else if (*s == '\'' || *s == '"' || *s == '`')
        end = strchr(s + 1, *s);
    else
        return s;
    return end == NULL ? s + strlen(s) : end + 1;
}

/* Where the text goes on after blanks and comments. */
static const char *next_word(const char *s)
{
    for (;;) {
        const char *after = *s == '-' || *s == '/' ? skip(s) : s;

        after += strspn(after, " \t\r\n\f");
        if (after == s)
            return s;
        s = after;
    }
}

static bool has_word(const char *s, const char *word)
{
    size_t size = strlen(word);

    return strncasecmp(s, word, size) == 0 && !isalnum((unsigned char)s[size]) && s[size] != '_';
}

static enum poly_status check_query(struct poly_config_reader *reader, const char *query, int line)
{
    const char *first = next_word(query);

    if (!has_word(first, "SELECT") && !has_word(first, "WITH"))
        return poly_config_fail(reader, line,
                                "the query is to begin with SELECT or WITH, not "
                                "with '%.30s'",
                                first);
    for (const char *s = first; *s != '\0';) {
        const char *after = skip(s);

        if (*s == ';' && *next_word(s + 1) != '\0')
            return poly_config_fail(reader, line,
                                    "the query is to be one statement; there is "
                                    "more after ';'");
        s = after == s ? s + 1 : after;
    }
    return POLY_OK;
}

enum poly_status poly_config_check_view(struct poly_config_reader *reader, int line)
{
    struct poly_view_config *view = &reader->view;
    enum poly_status status = POLY_OK;

    if (view->query == NULL && view->query_postgresql == NULL)
        return poly_config_fail(reader, line, "needs 'query': the SELECT whose rows it has");
    if (view->key_count == 0)
        return poly_config_fail(reader, line,
                                "needs 'key': the columns that tell its rows apart, "
                                "like [tenant, day]");
    if (strncmp(view->name, "poly_", 5) == 0 || strncmp(view->name, "sqlite_", 7) == 0 ||
        strncmp(view->name, "pg_", 3) == 0)
        return poly_config_fail(reader, line,
                                "names with 'poly_', 'sqlite_' and 'pg_' in front "
                                "are reserved");
    if (view->tenant != NULL && strcmp(view->tenant, "none") == 0)
        view->tenant = NULL;
    if (view->query != NULL)
        status = check_query(reader, view->query, line);
    return status == POLY_OK && view->query_postgresql != NULL
               ? check_query(reader, view->query_postgresql, line)
               : status;
}

/* A view is read by its name, as a table is. */
static bool has_name(const struct poly_domain *domain, const char *name)
{
    const char *dot = domain->table == NULL ? NULL : strrchr(domain->table, '.');
    const char *table = dot == NULL ? domain->table : dot + 1;

    return strcmp(domain->name, name) == 0 || (table != NULL && strcasecmp(table, name) == 0);
}

enum poly_status poly_config_check_views(struct poly_config_reader *reader)
{
    const struct poly_config *config = &reader->config;
    bool server = strcmp(reader->stores[CONFIG_RELATIONAL].driver, "embedded") != 0;

    for (size_t i = 0; i < config->view_count; i++) {
        const struct poly_view_config *view = &config->views[i];

        snprintf(reader->path, sizeof(reader->path), "views.%s", view->name);
        for (size_t d = 0; d < config->domain_count; d++) {
            if (has_name(&config->domains[d], view->name))
                return poly_config_fail(reader, reader->view_lines[i],
                                        "the domain '%s' has that name, or its table; a view is "
                                        "read by its name, so take another one",
                                        config->domains[d].name);
        }
        if (view->query == NULL && !server)
            return poly_config_fail(reader, reader->view_lines[i],
                                    "needs 'query': 'query_postgresql' is for PostgreSQL only, and "
                                    "the records are not there");
    }
    return POLY_OK;
}
