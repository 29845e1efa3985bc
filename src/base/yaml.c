/*
 * libyaml's events, put together by hand: its own document reader follows
 * aliases, keeps duplicates and forgets lines. The stack is an array, so
 * depth is bounded before anything recursive sees the tree.
 */
#include "base/yaml.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/utf8.h"

struct level {
    struct poly_yaml *node;
    struct poly_yaml **tail;
    const char *name; /* the name whose value comes next */
    int name_line, count;
};

struct reader {
    const char *file;
    struct poly_text text;
    struct poly_arena *arena;
    struct poly_error *err;
    struct poly_yaml *root;
    struct level levels[POLY_MAX_CONFIG_DEPTH];
    int depth, documents;
};

__attribute__((format(printf, 3, 4))) static enum poly_status
refuse(struct reader *reader, int line, const char *format, ...)
{
    char problem[300];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(problem, sizeof(problem), format, arguments);
    va_end(arguments);
    return poly_fail(reader->err, POLY_INVALID, "%s:%d: %s", reader->file, line, problem);
}

static int line_of(const struct reader *reader, size_t offset)
{
    int line = 1;

    for (size_t i = 0; i < offset && i < reader->text.size; i++)
        line += reader->text.data[i] == '\n';
    return line;
}

/* libyaml could not go on. */
static enum poly_status broken(struct reader *reader, const yaml_parser_t *parser)
{
    size_t index = parser->problem_mark.index; /* in characters: exact while all are ASCII */
    int line = (int)parser->problem_mark.line + 1, last = line_of(reader, reader->text.size);
    bool tab = index < reader->text.size && reader->text.data[index] == '\t';

    if (parser->error == YAML_MEMORY_ERROR)
        return poly_no_memory(reader->err);
    if (parser->error == YAML_READER_ERROR)
        return refuse(reader, line_of(reader, parser->problem_offset), "%s",
                      parser->problem != NULL ? parser->problem : "unreadable character");
    if (tab)
        return refuse(reader, line, "a tab stands here; indent with spaces");
    return refuse(reader, line < last ? line : last, "malformed YAML: %s%s%s",
                  parser->problem != NULL ? parser->problem : "it cannot be read",
                  parser->context != NULL ? " " : "",
                  parser->context != NULL ? parser->context : "");
}

/* Takes the name of an entry, at most once each. */
static enum poly_status take_name(struct reader *reader, const char *name, int line)
{
    struct level *level = &reader->levels[reader->depth - 1];

    for (const struct poly_yaml *other = level->node->child; other != NULL; other = other->next) {
        if (strcmp(other->name, name) == 0)
            return refuse(reader, line, "'%.100s' stands here a second time; first in line %d",
                          name, other->line);
    }
    level->name = name;
    level->name_line = line;
    return POLY_OK;
}

/* Puts a node where the levels say it belongs. */
static enum poly_status place(struct reader *reader, struct poly_yaml *node)
{
    if (reader->depth == 0) {
        reader->root = node;
        return POLY_OK;
    }

    struct level *level = &reader->levels[reader->depth - 1];

    if (++level->count > POLY_MAX_CONFIG_ENTRIES)
        return refuse(reader, node->line, "more than %d entries", POLY_MAX_CONFIG_ENTRIES);
    if (level->node->kind == POLY_YAML_MAPPING) {
        node->name = level->name;
        node->line = level->name_line;
        level->name = NULL;
    }
    *level->tail = node;
    level->tail = &node->next;
    return POLY_OK;
}

static bool wants_name(const struct reader *reader)
{
    const struct level *level = &reader->levels[reader->depth > 0 ? reader->depth - 1 : 0];

    return reader->depth > 0 && level->node->kind == POLY_YAML_MAPPING && level->name == NULL;
}

static enum poly_status scalar(struct reader *reader, const yaml_event_t *event)
{
    int line = (int)event->start_mark.line + 1;
    const char *data = (const char *)event->data.scalar.value;
    size_t size = event->data.scalar.length;

    if (event->data.scalar.anchor != NULL)
        return refuse(reader, line, "anchors are not supported");
    if (event->data.scalar.tag != NULL)
        return refuse(reader, line, "tags are not supported");
    if (memchr(data, '\0', size) != NULL)
        return refuse(reader, line, "NUL is not allowed in a text");

    char *text = poly_arena_copy(reader->arena, data, size);

    if (text == NULL)
        return poly_no_memory(reader->err);
    if (wants_name(reader))
        return take_name(reader, text, line);

    struct poly_yaml *node = poly_arena_alloc(reader->arena, sizeof(*node));

    if (node == NULL)
        return poly_no_memory(reader->err);
    *node = (struct poly_yaml){
        .line = line, .text = text, .quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE};
    return place(reader, node);
}

static enum poly_status begin(struct reader *reader, const yaml_event_t *event)
{
    bool mapping = event->type == YAML_MAPPING_START_EVENT;
    int line = (int)event->start_mark.line + 1;

    if (mapping ? event->data.mapping_start.anchor != NULL
                : event->data.sequence_start.anchor != NULL)
        return refuse(reader, line, "anchors are not supported");
    if (mapping ? event->data.mapping_start.tag != NULL : event->data.sequence_start.tag != NULL)
        return refuse(reader, line, "tags are not supported");
    if (wants_name(reader))
        return refuse(reader, line, "a name must be a plain text");
    if (reader->depth == POLY_MAX_CONFIG_DEPTH)
        return refuse(reader, line, "nested deeper than %d levels", POLY_MAX_CONFIG_DEPTH);

    struct poly_yaml *node = poly_arena_alloc(reader->arena, sizeof(*node));

    if (node == NULL)
        return poly_no_memory(reader->err);
    *node = (struct poly_yaml){.kind = mapping ? POLY_YAML_MAPPING : POLY_YAML_LIST, .line = line};

    enum poly_status status = place(reader, node);

    if (status == POLY_OK)
        reader->levels[reader->depth++] = (struct level){.node = node, .tail = &node->child};
    return status;
}

static enum poly_status take(struct reader *reader, const yaml_event_t *event)
{
    int line = (int)event->start_mark.line + 1;

    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return scalar(reader, event);
    case YAML_MAPPING_START_EVENT:
    case YAML_SEQUENCE_START_EVENT:
        return begin(reader, event);
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        poly_assert(reader->depth > 0);
        reader->depth--;
        return POLY_OK;
    case YAML_ALIAS_EVENT:
        return refuse(reader, line, "aliases are not supported");
    case YAML_DOCUMENT_START_EVENT:
        return ++reader->documents > 1 ? refuse(reader, line, "a second document begins here")
                                       : POLY_OK;
    default:
        return POLY_OK;
    }
}

static enum poly_status read_events(struct reader *reader, yaml_parser_t *parser)
{
    enum poly_status status = POLY_OK;
    bool end = false;

    while (status == POLY_OK && !end) {
        yaml_event_t event;

        if (!yaml_parser_parse(parser, &event))
            return broken(reader, parser);
        end = event.type == YAML_STREAM_END_EVENT;
        status = take(reader, &event);
        yaml_event_delete(&event);
    }
    return status;
}

/* Nothing, or a lone "null", is an empty mapping. */
static enum poly_status finish(struct reader *reader, struct poly_yaml **root)
{
    struct poly_yaml *node = reader->root;

    if (node == NULL || (node->kind == POLY_YAML_SCALAR && !node->quoted && *node->text == '\0')) {
        node = poly_arena_alloc(reader->arena, sizeof(*node));
        if (node == NULL)
            return poly_no_memory(reader->err);
        *node = (struct poly_yaml){.kind = POLY_YAML_MAPPING, .line = 1};
    }
    if (node->kind != POLY_YAML_MAPPING)
        return refuse(reader, node->line, "a mapping is expected, like 'data: ./data'");
    *root = node;
    return POLY_OK;
}

static enum poly_status check_utf8(struct reader *reader)
{
    for (size_t i = 0, length; i < reader->text.size; i += length) {
        length = poly_utf8_character(reader->text.data + i, reader->text.size - i);
        if (length == 0 || reader->text.data[i] == '\0')
            return refuse(reader, line_of(reader, i), "bytes that are not UTF-8 text");
    }
    return POLY_OK;
}

enum poly_status poly_yaml_read(const char *file, struct poly_text text, struct poly_arena *arena,
                                struct poly_yaml **root, struct poly_error *err)
{
    struct reader reader = {
        .file = file, .text = text.size == 0 ? poly_text("") : text, .arena = arena, .err = err};
    enum poly_status status = check_utf8(&reader);
    yaml_parser_t parser;

    if (status != POLY_OK)
        return status;
    if (!yaml_parser_initialize(&parser))
        return poly_no_memory(err);
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)reader.text.data,
                                 reader.text.size);
    status = read_events(&reader, &parser);
    yaml_parser_delete(&parser);
    return status == POLY_OK ? finish(&reader, root) : status;
}
