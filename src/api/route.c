/*
 * From method and path to an operation: a walk over the table. A path is
 * matched segment by segment while still encoded and decoded afterwards, so
 * that an encoded slash belongs to its key. "." and ".." and empty segments
 * match nothing: whoever stands in between might have taken them away.
 */
#include <string.h>

#include "api/operations.h"
#include "base/status.h"
#include "base/utf8.h"

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* In place. False: a broken escape, a NUL, no UTF-8. */
static bool decode(char *text, bool plus)
{
    char *to = text;

    for (const char *from = text; *from != '\0'; from++) {
        char c = *from;

        if (c == '%') {
            int high = hex(from[1]), low = high < 0 ? -1 : hex(from[2]);

            if (low < 0 || (high == 0 && low == 0))
                return false;
            c = (char)(high * 16 + low);
            from += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        *to++ = c;
    }
    *to = '\0';
    return poly_utf8_valid(text, (size_t)(to - text));
}

/* May an encoded segment be a parameter? Any but "", "." and "..". */
static bool fits(const char *segment, size_t size)
{
    return size > 0 && !(size == 1 && segment[0] == '.') &&
           !(size == 2 && segment[0] == '.' && segment[1] == '.');
}

/* What follows the "/v1/" that most paths share: most rows of the table part from a path there. */
static char word_of(const char *path)
{
    return strnlen(path, API_SHARED) < API_SHARED ? '\0' : path[API_SHARED];
}

static bool matches(const char *template, const char *path, char word)
{
    if (template[API_SHARED] != word)
        return false;
    while (*template != '\0') {
        size_t size = 0;

        if (*template != '{') {
            if (*template ++ != *path++)
                return false;
            continue;
        }
        while (path[size] != '/' && path[size] != '\0')
            size++;
        if (!fits(path, size))
            return false;
        while (*template != '/' && *template != '\0')
            template ++;
        path += size;
    }
    return *path == '\0';
}

/* The name of a path parameter, from the table's own list: it outlives the request. */
static const char *parameter_name(const struct api_operation *operation, const char *name,
                                  size_t size)
{
    for (const struct api_field *field = operation->parameters; field->name != NULL; field++)
        if (strlen(field->name) == size && memcmp(field->name, name, size) == 0)
            return field->name;
    return NULL;
}

/* Cuts the path into its segments and decodes those that are parameters. */
static bool take(const struct api_operation *operation, char *path,
                 struct api_parameter *parameters, size_t max, size_t *count)
{
    const char *template = operation->path;
    size_t taken = 0;

    for (bool last = false; !last;) {
        size_t template_size = strcspn(++template, "/"), size = strcspn(++path, "/");

        last = path[size] == '\0';
        path[size] = '\0';
        if (template[0] == '{') {
            if (taken == max || !decode(path, false))
                return false;
            parameters[taken].name = parameter_name(operation, template + 1, template_size - 2);
            parameters[taken++].value = path;
        }
        template += template_size;
        path += size;
    }
    *count = taken;
    return true;
}

/* Words of the path come before parameters, so "/streams/verify" could still mean a word. */
static bool more_literal(const struct api_operation *one, const struct api_operation *other)
{
    return strcspn(one->path, "{") > strcspn(other->path, "{");
}

const struct api_operation *api_route(const char *method, char *path,
                                      struct api_parameter *parameters, size_t max, size_t *count,
                                      bool *other_method)
{
    const struct api_operation *found = NULL;
    char word = word_of(path);

    *other_method = false;
    for (const struct api_operation *o = api_operations; o->name != NULL; o++)
        if (strcmp(o->method, method) == 0 && matches(o->path, path, word) &&
            (found == NULL || more_literal(o, found)))
            found = o;
    for (const struct api_operation *o = api_operations; o->name != NULL && found == NULL; o++)
        *other_method |= matches(o->path, path, word);
    if (found == NULL)
        return NULL;
    return take(found, path, parameters, max, count) ? found : NULL;
}

void api_allowed(const char *path, char *methods, size_t size)
{
    char word = word_of(path);
    size_t used = 0;

    methods[0] = '\0';
    for (const struct api_operation *o = api_operations; o->name != NULL; o++) {
        if (!matches(o->path, path, word) || used >= size)
            continue;
        used +=
            (size_t)snprintf(methods + used, size - used, "%s%s", used == 0 ? "" : ", ", o->method);
    }
}

const struct api_operation *api_find(const char *name)
{
    for (const struct api_operation *o = api_operations; o->name != NULL; o++)
        if (strcmp(o->name, name) == 0)
            return o;
    return NULL;
}

enum poly_status api_query(char *query, struct api_parameter *parameters, size_t max, size_t *count,
                           struct poly_error *err)
{
    size_t taken = *count;

    while (*query != '\0') {
        size_t size = strcspn(query, "&");
        bool last = query[size] == '\0';

        query[size] = '\0';
        if (size > 0) {
            char *equals = strchr(query, '=');
            char *value = equals == NULL ? query + size : equals + 1;

            if (equals != NULL)
                *equals = '\0';
            if (taken == max)
                return poly_fail(err, POLY_LIMIT, "query: more than %zu parameters", max);
            if (!decode(query, true) || !decode(value, true))
                return poly_fail(err, POLY_INVALID,
                                 "query: parameter %zu is not percent-encoded UTF-8 without NUL",
                                 taken + 1);
            parameters[taken].name = query;
            parameters[taken++].value = value;
        }
        query += last ? size : size + 1;
    }
    *count = taken;
    return POLY_OK;
}
