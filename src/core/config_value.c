/*
 * From the text of an option to its value. Everything here is strict: a value
 * that is not exactly understood is refused with what would be right.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/assert.h"
#include "base/limits.h"
#include "core/config_options.h"

enum poly_status poly_config_fail(struct poly_config_reader *reader, int line, const char *format,
                                  ...)
{
    char problem[380], place[12] = "";
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(problem, sizeof(problem), format, arguments);
    va_end(arguments);
    if (line == 0) /* the environment */
        return poly_fail(reader->err, POLY_INVALID, "%s: %s", reader->path, problem);
    snprintf(place, sizeof(place), ":%d", line);
    return poly_fail(reader->err, POLY_INVALID, "%.200s%s: %s: %s", reader->file, place,
                     reader->path, problem);
}

bool poly_config_is_name(const char *text)
{
    size_t size = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");

    return size > 0 && size <= POLY_MAX_NAME && text[size] == '\0' &&
           !(*text >= '0' && *text <= '9');
}

struct unit {
    const char *name;
    int64_t factor;
};

/* Milliseconds, for durations; bytes, for sizes; the number, for counts. */
static const struct unit durations[] = {{"ms", 1},      {"s", 1000},     {"m", 60000},
                                        {"h", 3600000}, {"d", 86400000}, {NULL, 0}};
static const struct unit sizes[] = {
    {"B", 1}, {"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824}, {NULL, 0}};
static const struct unit counts[] = {{"", 1}, {NULL, 0}};

/* A whole number and its unit. */
static bool parse_quantity(const char *text, const struct unit *units, int64_t *value)
{
    size_t digits = strspn(text, "0123456789");
    int64_t number = 0;

    if (digits == 0)
        return false;
    for (size_t i = 0; i < digits; i++) {
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, text[i] - '0', &number))
            return false;
    }
    for (; units->name != NULL; units++) {
        if (strcmp(text + digits, units->name) == 0)
            return !__builtin_mul_overflow(number, units->factor, value);
    }
    return false;
}

/* What the last part of the option's path says: "driver". */
static const char *noun(const struct poly_config_option *option)
{
    return strrchr(option->path, '.') == NULL ? option->path : strrchr(option->path, '.') + 1;
}

static enum poly_status set_quantity(struct poly_config_reader *reader,
                                     const struct poly_config_option *option,
                                     const struct poly_yaml *value)
{
    static const char *const forms[] = {
        [CONFIG_COUNT] = "a whole number",
        [CONFIG_SIZE] = "a size like 512KiB or 16MiB",
        [CONFIG_SECONDS] = "a duration like 30s, 5m, 24h or 30d",
        [CONFIG_MILLISECONDS] = "a duration like 500ms, 30s or 5m",
    };
    const struct unit *units = option->kind == CONFIG_COUNT  ? counts
                               : option->kind == CONFIG_SIZE ? sizes
                                                             : durations;
    void *place = (char *)reader + option->offset;
    int64_t number, bound;
    bool endless = option->kind == CONFIG_SECONDS && option->max == NULL;

    if (endless && strcmp(value->text, "forever") == 0) {
        *(int64_t *)place = 0;
        return POLY_OK;
    }
    if (!parse_quantity(value->text, units, &number))
        return poly_config_fail(reader, value->line, "'%.60s' is not %s%s", value->text,
                                forms[option->kind], endless ? ", or forever" : "");
    if (option->min != NULL && parse_quantity(option->min, units, &bound) && number < bound)
        return poly_config_fail(reader, value->line, "%.60s is too little; at least %s",
                                value->text, option->min);
    if (option->max != NULL && parse_quantity(option->max, units, &bound) && number > bound)
        return poly_config_fail(reader, value->line, "%.60s is too much; at most %s", value->text,
                                option->max);
    if (option->kind == CONFIG_SECONDS)
        *(int64_t *)place = number / 1000;
    else
        *(uint32_t *)place = (uint32_t)(option->kind == CONFIG_SIZE ? number / 1024 : number);
    return POLY_OK;
}

/* host:port, with an IPv6 address in brackets. */
static bool is_address(const char *text)
{
    const char *colon = strrchr(text, ':');
    int64_t port;

    if (colon == NULL || colon == text || colon - text > 255)
        return false;
    if (!parse_quantity(colon + 1, counts, &port) || port > 65535)
        return false;
    if (*text == '[')
        return colon[-1] == ']' && colon - text > 3;
    return strcspn(text, ": []/") == (size_t)(colon - text);
}

static enum poly_status set_path(struct poly_config_reader *reader, const struct poly_yaml *value,
                                 const char **path)
{
    const char *text = value->text;

    while (text[0] == '.' && text[1] == '/' && text[2] != '\0' && text[2] != '/')
        text += 2;

    bool absolute = *text == '/' || *reader->folder == '\0' || value->line == 0;

    *path =
        absolute ? value->text : poly_arena_printf(reader->arena, "%s/%s", reader->folder, text);
    return *path == NULL ? poly_no_memory(reader->err) : POLY_OK;
}

/* Is it one of "words, trigram"? */
static bool is_choice(const char *text, const char *choices)
{
    size_t size = strcspn(text, ", ") == strlen(text) ? strlen(text) : 0;

    for (const char *at = choices; size > 0 && (at = strstr(at, text)) != NULL; at += size) {
        bool start = at == choices || at[-1] == ' ';

        if (start && (at[size] == ',' || at[size] == '\0'))
            return true;
    }
    return false;
}

/* schema.table, where the database has schemas */
static bool is_qualified(const char *name)
{
    const char *dot = strchr(name, '.');
    char schema[POLY_MAX_NAME + 1];

    if (dot == NULL || dot - name > POLY_MAX_NAME)
        return false;
    snprintf(schema, sizeof(schema), "%.*s", (int)(dot - name), name);
    return poly_config_is_name(schema) && poly_config_is_name(dot + 1);
}

static enum poly_status check_name(struct poly_config_reader *reader, const char *what,
                                   const char *name, int line)
{
    if (poly_config_is_name(name) || (strcmp(what, "table") == 0 && is_qualified(name)))
        return POLY_OK;
    return poly_config_fail(reader, line,
                            "'%.60s' is no name of a %s: up to %d letters, digits and '_', "
                            "not a digit first",
                            name, what, POLY_MAX_NAME);
}

static enum poly_status set_scalar(struct poly_config_reader *reader,
                                   const struct poly_config_option *option,
                                   const struct poly_yaml *value)
{
    void *place = (char *)reader + option->offset;
    const char **text = place;

    switch (option->kind) {
    case CONFIG_PATH:
        return set_path(reader, value, text);
    case CONFIG_ADDRESS:
        if (!is_address(value->text))
            return poly_config_fail(reader, value->line,
                                    "'%.60s' is no address; it looks like 127.0.0.1:7430 or "
                                    "[::1]:7430",
                                    value->text);
        *text = value->text;
        return POLY_OK;
    case CONFIG_SWITCH:
        if (!is_choice(value->text, "true, false"))
            return poly_config_fail(reader, value->line, "'%.60s' is neither true nor false",
                                    value->text);
        *(bool *)place = *value->text == 't';
        return POLY_OK;
    case CONFIG_CHOICE:
        if (!is_choice(value->text, option->choices))
            return poly_config_fail(reader, value->line, "unknown %s '%.60s'; known: %s",
                                    noun(option), value->text, option->choices);
        *text = value->text;
        return POLY_OK;
    case CONFIG_TEXT:
        *text = value->text;
        return POLY_OK;
    case CONFIG_NAME:
        *text = value->text;
        return check_name(reader, noun(option), value->text, value->line);
    default:
        return set_quantity(reader, option, value);
    }
}

static size_t count_of(const struct poly_yaml *value)
{
    size_t count = 0;

    for (const struct poly_yaml *entry = value->child; entry != NULL; entry = entry->next)
        count++;
    return count;
}

/* "4.0": written by a human, so digits and a point are enough. Thousandths, to depend on no
 * locale. */
static bool parse_weight(const char *text, double *weight)
{
    size_t whole = strspn(text, "0123456789"), part = 0, used = whole;
    int64_t thousandths = 0;

    if (text[whole] == '.') {
        part = strspn(text + whole + 1, "0123456789");
        used = part > 0 ? whole + 1 + part : 0;
    }
    if (whole == 0 || whole > 4 || part > 3 || text[used] != '\0')
        return false;
    for (size_t i = 0; i < whole; i++)
        thousandths = thousandths * 10 + (text[i] - '0');
    for (size_t i = 0; i < 3; i++)
        thousandths = thousandths * 10 + (i < part ? text[whole + 1 + i] - '0' : 0);
    *weight = (double)thousandths / 1000;
    return thousandths > 0 && thousandths <= 1000000;
}

static enum poly_status set_field(struct poly_config_reader *reader, const struct poly_yaml *entry,
                                  struct poly_search_field *field)
{
    field->weight = 1;
    field->name = entry->name != NULL ? entry->name : entry->text;
    if (field->name == NULL || (entry->name != NULL && entry->kind != POLY_YAML_SCALAR))
        return poly_config_fail(reader, entry->line,
                                "wants names, [title, body], or names with weights, {title: 4.0}");
    if (entry->name != NULL && !parse_weight(entry->text, &field->weight))
        return poly_config_fail(reader, entry->line,
                                "'%.60s' is no weight of '%.60s': a number from 0.001 to 1000",
                                entry->text, field->name);
    return check_name(reader, "field", field->name, entry->line);
}

static enum poly_status set_fields(struct poly_config_reader *reader, const struct poly_yaml *value)
{
    size_t count = count_of(value), i = 0;
    struct poly_search_field *fields = poly_arena_array(reader->arena, count, sizeof(*fields));
    enum poly_status status = fields == NULL ? poly_no_memory(reader->err) : POLY_OK;

    if (count == 0 || count > POLY_MAX_SEARCH_FIELDS)
        return poly_config_fail(reader, value->line, "%zu fields; 1 to %d are possible", count,
                                POLY_MAX_SEARCH_FIELDS);
    for (const struct poly_yaml *entry = value->child; status == POLY_OK && entry != NULL;
         entry = entry->next, i++) {
        status = set_field(reader, entry, &fields[i]);
        for (size_t j = 0; status == POLY_OK && j < i; j++) {
            if (strcasecmp(fields[j].name, fields[i].name) == 0)
                status = poly_config_fail(reader, entry->line, "'%.60s' stands here twice",
                                          fields[i].name);
        }
    }
    reader->domain.search.fields = fields;
    reader->domain.search.field_count = count;
    return status;
}

/* A list of names, none twice. */
static enum poly_status set_names(struct poly_config_reader *reader,
                                  const struct poly_config_option *option,
                                  const struct poly_yaml *value, const char *const **list,
                                  size_t *list_count)
{
    bool key = option->kind == CONFIG_KEY, texts = option->kind == CONFIG_COLUMNS;
    const char *what = key || texts ? "column" : "filter";
    size_t most = key ? POLY_MAX_VIEW_KEY : POLY_MAX_FILTERS, count = count_of(value), i = 0;
    const char **names = poly_arena_array(reader->arena, count, sizeof(*names));
    enum poly_status status = names == NULL ? poly_no_memory(reader->err) : POLY_OK;

    if (value->kind != POLY_YAML_LIST)
        return poly_config_fail(reader, value->line, "wants a list of names, like %s",
                                key     ? "[tenant, day]"
                                : texts ? "[title, body]"
                                        : "[state, author]");
    if (count > most)
        return poly_config_fail(reader, value->line, "%zu %ss; %zu are the most", count, what,
                                most);
    for (const struct poly_yaml *entry = value->child; status == POLY_OK && entry != NULL;
         entry = entry->next, i++) {
        if (entry->kind != POLY_YAML_SCALAR)
            return poly_config_fail(reader, entry->line, "wants a list of names");
        names[i] = entry->text;
        status = check_name(reader, what, names[i], entry->line);
        for (size_t j = 0; status == POLY_OK && j < i; j++) {
            if (strcasecmp(names[j], names[i]) == 0)
                status =
                    poly_config_fail(reader, entry->line, "'%.60s' stands here twice", names[i]);
        }
    }
    *list = names;
    *list_count = count;
    return status;
}

static enum poly_status set_filters(struct poly_config_reader *reader,
                                    const struct poly_config_option *option,
                                    const struct poly_yaml *value)
{
    if (option->offset == offsetof(struct poly_config_reader, vector.filters))
        return set_names(reader, option, value, &reader->vector.filters,
                         &reader->vector.filter_count);
    return set_names(reader, option, value, &reader->domain.search.filters,
                     &reader->domain.search.filter_count);
}

static enum poly_status set_replicas(struct poly_config_reader *reader,
                                     const struct poly_config_option *option,
                                     const struct poly_yaml *value)
{
    struct poly_server *server = (void *)((char *)reader + option->offset);
    size_t count = count_of(value), i = 0;
    const char **urls = poly_arena_array(reader->arena, count + 1, sizeof(*urls));

    if (urls == NULL)
        return poly_no_memory(reader->err);
    if (value->kind != POLY_YAML_LIST || count > POLY_MAX_REPLICAS)
        return poly_config_fail(reader, value->line, "wants a list of up to %d urls",
                                POLY_MAX_REPLICAS);
    for (const struct poly_yaml *entry = value->child; entry != NULL; entry = entry->next, i++) {
        if (entry->kind != POLY_YAML_SCALAR || *entry->text == '\0')
            return poly_config_fail(reader, entry->line, "wants urls");
        urls[i] = entry->text;
    }
    server->replicas = urls;
    server->replica_count = count;
    return POLY_OK;
}

enum poly_status poly_config_set(struct poly_config_reader *reader,
                                 const struct poly_config_option *option,
                                 const struct poly_yaml *value)
{
    bool scalar = value->kind == POLY_YAML_SCALAR;

    if (scalar && !value->quoted && *value->text == '\0')
        return poly_config_fail(reader, value->line, "has no value; leave the line out");
    if (scalar && *value->text == '\0')
        return poly_config_fail(reader, value->line, "is empty");
    if (option->kind == CONFIG_FIELDS && !scalar)
        return set_fields(reader, value);
    if (scalar && (option->kind == CONFIG_FILTERS || option->kind == CONFIG_FIELDS ||
                   option->kind == CONFIG_KEY || option->kind == CONFIG_COLUMNS))
        return poly_config_fail(reader, value->line, "wants a list of names, like [%.60s]",
                                value->text);
    if (option->kind == CONFIG_VECTORS)
        return poly_config_fail(reader, value->line,
                                "wants names, each with its options: "
                                "{title: {field: …, dimensions: …}}");
    if (option->kind == CONFIG_FILTERS)
        return set_filters(reader, option, value);
    if (option->kind == CONFIG_KEY)
        return set_names(reader, option, value, &reader->view.key, &reader->view.key_count);
    if (option->kind == CONFIG_COLUMNS)
        return set_names(reader, option, value, &reader->vector.texts, &reader->vector.text_count);
    if (option->kind == CONFIG_REPLICAS)
        return set_replicas(reader, option, value);
    if (!scalar)
        return poly_config_fail(reader, value->line, "wants one value, not a %s",
                                value->kind == POLY_YAML_LIST ? "list" : "mapping");
    return set_scalar(reader, option, value);
}
