/*
 * Recursive descent over checked JSON; what may nest is bounded by POLY_MAX_QUERY_DEPTH, so the
 * stack is too. An object of one name is that name's condition and nothing around it: the tree has
 * as many levels as the text means, and what is printed reads back as the same tree.
 */
#include "followers/where.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/json_walk.h"
#include "base/limits.h"
#include "core/session.h"

struct reader {
    const char *text;
    struct poly_json_cursor c;
    struct poly_arena *arena;
    unsigned comparisons, parts; /* so far */
    struct poly_error *err;
};

/* Conditions that come together. */
struct group {
    const struct poly_where *parts[POLY_MAX_FILTERS];
    size_t count;
};

/* What is compared. */
struct subject {
    const char *column, *path;
    const char *at; /* in the text */
};

static const struct comparison {
    const char *name;
    enum poly_compare compare;
} operators[] = {
    {"=", POLY_EQ},  {"<>", POLY_NE},         {"<", POLY_LT},
    {"<=", POLY_LE}, {">", POLY_GT},          {">=", POLY_GE},
    {"in", POLY_IN}, {"prefix", POLY_PREFIX}, {"null", POLY_IS_NULL},
};

enum { OPERATORS = sizeof(operators) / sizeof(operators[0]) };

static enum poly_status read_condition(struct reader *r, unsigned depth,
                                       const struct poly_where **where);

static int offset(const struct reader *r, const char *at)
{
    return (int)(at - r->text);
}

/* "condition: WHAT at 12; HINT" */
static enum poly_status wrong(const struct reader *r, const char *at, const char *what,
                              const char *hint)
{
    return poly_fail_at(r->err, POLY_INVALID, offset(r, at), "condition: %s at %d%s%s", what,
                        offset(r, at), hint[0] == '\0' ? "" : "; ", hint);
}

static bool same(struct poly_text text, const char *other)
{
    return strlen(other) == text.size && memcmp(text.data, other, text.size) == 0;
}

/* At a quote. Behind it: the string, in the arena. */
static enum poly_status read_string(struct reader *r, struct poly_text *text)
{
    bool escaped;
    struct poly_text raw = poly_json_take_string(&r->c, &escaped);
    char *copy = poly_arena_copy(r->arena, raw.data, raw.size);

    if (copy == NULL)
        return poly_no_memory(r->err);
    if (escaped)
        raw.size = (size_t)(poly_json_unescape(raw, copy) - copy);
    copy[raw.size] = '\0';
    *text = (struct poly_text){copy, raw.size};
    return POLY_OK;
}

/* At the next name of an object: the name, the cursor at its value. *more: there is one; else the
 * cursor is behind the object. first: it stands at the brace. */
static enum poly_status next_name(struct reader *r, bool first, struct poly_text *name,
                                  const char **at, bool *more)
{
    enum poly_status status;

    if (first)
        r->c.at++;
    poly_json_skip_space(&r->c);
    if (!first && poly_json_look(&r->c) == ',')
        r->c.at++;
    poly_json_skip_space(&r->c);
    *more = poly_json_look(&r->c) == '"';
    *at = r->c.at;
    if (!*more) {
        r->c.at++;
        return POLY_OK;
    }
    status = read_string(r, name);
    poly_json_skip_space(&r->c);
    r->c.at++; /* ':' */
    poly_json_skip_space(&r->c);
    return status;
}

/* Names of the object at the cursor. */
static size_t count_names(const struct reader *r)
{
    struct poly_json_cursor c = r->c;
    struct poly_text name, value;
    bool escaped;
    size_t count = 0;

    c.at++;
    poly_json_skip_space(&c);
    while (poly_json_take_member(&c, &name, &escaped, &value))
        count++;
    return count;
}

/* --- nodes --- */

static enum poly_status check_node(struct reader *r, const char *at, unsigned depth)
{
    if (depth > POLY_MAX_QUERY_DEPTH)
        return poly_fail_at(r->err, POLY_INVALID, offset(r, at),
                            "condition: more than %d levels at %d", POLY_MAX_QUERY_DEPTH,
                            offset(r, at));
    if (++r->parts > POLY_MAX_WHERE_PARTS)
        return poly_fail_at(r->err, POLY_INVALID, offset(r, at),
                            "condition: more than %d parts at %d", POLY_MAX_WHERE_PARTS,
                            offset(r, at));
    return POLY_OK;
}

static enum poly_status make_node(struct reader *r, enum poly_where_kind kind,
                                  const struct group *group, const struct poly_where **where)
{
    struct poly_where *node = poly_arena_alloc(r->arena, sizeof(*node));
    const struct poly_where **parts =
        poly_arena_array(r->arena, group->count + 1, sizeof(struct poly_where *));

    if (node == NULL || parts == NULL)
        return poly_no_memory(r->err);
    for (size_t i = 0; i < group->count; i++)
        parts[i] = group->parts[i];
    *node = (struct poly_where){.kind = kind, .parts = parts, .part_count = group->count};
    *where = node;
    return POLY_OK;
}

static enum poly_status check_room(struct reader *r, const struct group *group, const char *at)
{
    if (group->count < POLY_MAX_FILTERS)
        return POLY_OK;
    return poly_fail_at(r->err, POLY_INVALID, offset(r, at),
                        "condition: more than %d together at %d", POLY_MAX_FILTERS, offset(r, at));
}

/* One alone stands for itself. */
static enum poly_status make_all(struct reader *r, const struct group *group,
                                 const struct poly_where **where)
{
    if (group->count != 1)
        return make_node(r, POLY_WHERE_AND, group, where);
    *where = group->parts[0];
    return POLY_OK;
}

/* --- values --- */

static const char value_hint[] =
    "a value is text, a number, true, false, {\"$bytes\": \"…\"} or {\"$float\": \"Infinity\"}";

/* {"$bytes"}, {"$float"} and nothing else begins so: no operator does. */
static bool at_marked(const struct reader *r)
{
    struct poly_json_cursor c = r->c;

    if (poly_json_look(&c) != '{')
        return false;
    c.at++;
    poly_json_skip_space(&c);
    return poly_json_look(&c) == '"' && c.at + 1 < c.end && c.at[1] == '$';
}

static enum poly_status read_marked(struct reader *r, struct poly_value *value)
{
    const char *at = r->c.at;
    struct poly_text text = poly_json_take_value(&r->c);
    json_t *json;
    enum poly_status status = poly_json_parse(text.data, text.size, &json, r->err);

    if (status == POLY_OK) {
        status = poly_json_to_value(json, r->arena, value, r->err);
        json_decref(json);
    }
    if (status == POLY_NO_MEMORY)
        return status;
    if (status != POLY_OK || value->type == POLY_JSON)
        return wrong(r, at, "this object is no value", value_hint);
    return POLY_OK;
}

static enum poly_status read_number(struct reader *r, struct poly_value *value)
{
    struct poly_text text = poly_json_take_value(&r->c);
    int64_t integer;
    char *copy;

    if (poly_json_to_integer(text, &integer)) {
        *value = poly_int(integer);
        return POLY_OK;
    }
    copy = poly_arena_copy(r->arena, text.data, text.size);
    if (copy == NULL)
        return poly_no_memory(r->err);
    *value = poly_float(strtod(copy, NULL));
    return POLY_OK;
}

static enum poly_status read_value(struct reader *r, struct poly_value *value)
{
    char first = poly_json_look(&r->c);

    if (first == '"') {
        *value = poly_str("");
        return read_string(r, &value->text);
    }
    if (first == 't' || first == 'f') {
        *value = poly_bool(first == 't');
        poly_json_take_value(&r->c);
        return POLY_OK;
    }
    if (first == 'n')
        return wrong(r, r->c.at, "null equals nothing", "write {\"null\": true}");
    if (first == '[')
        return wrong(r, r->c.at, "a list is no value", "write {\"in\": […]}");
    if (first == '{')
        return at_marked(r) ? read_marked(r, value)
                            : wrong(r, r->c.at, "this object is no value", value_hint);
    return read_number(r, value);
}

/* --- comparisons --- */

static enum poly_status make_compare(struct reader *r, const struct subject *subject,
                                     enum poly_compare compare, const struct poly_value *values,
                                     size_t count, const struct poly_where **where)
{
    struct poly_filter *filter = poly_arena_alloc(r->arena, sizeof(*filter));
    struct poly_where *node = poly_arena_alloc(r->arena, sizeof(*node));

    if (filter == NULL || node == NULL)
        return poly_no_memory(r->err);
    *filter = (struct poly_filter){subject->column, subject->path, compare, values, count};
    *node = (struct poly_where){.kind = POLY_WHERE_COMPARE, .compare = filter};
    *where = node;
    return POLY_OK;
}

/* At a list: its values, one or more. */
static enum poly_status read_values(struct reader *r, struct poly_value **values, size_t *count)
{
    const char *at = r->c.at;
    size_t most = (size_t)(r->c.end - at) / 2; /* a value and what follows it */
    enum poly_status status = POLY_OK;

    if (poly_json_look(&r->c) != '[')
        return wrong(r, at, "'in' takes a list", "");
    *values =
        poly_arena_array(r->arena, most < POLY_MAX_IN ? most + 1 : POLY_MAX_IN, sizeof(**values));
    if (*values == NULL)
        return poly_no_memory(r->err);
    r->c.at++;
    poly_json_skip_space(&r->c);
    for (*count = 0; status == POLY_OK && poly_json_look(&r->c) != ']'; (*count)++) {
        if (*count == POLY_MAX_IN)
            return poly_fail_at(r->err, POLY_INVALID, offset(r, r->c.at),
                                "condition: more than %d values at %d", POLY_MAX_IN,
                                offset(r, r->c.at));
        status = read_value(r, &(*values)[*count]);
        poly_json_skip_space(&r->c);
        if (poly_json_look(&r->c) == ',')
            r->c.at++;
        poly_json_skip_space(&r->c);
    }
    r->c.at++;
    return status == POLY_OK && *count == 0 ? wrong(r, at, "'in' of an empty list", "") : status;
}

static enum poly_status read_null(struct reader *r, enum poly_compare *compare)
{
    char first = poly_json_look(&r->c);

    if (first != 't' && first != 'f')
        return wrong(r, r->c.at, "'null' takes true or false", "");
    poly_json_take_value(&r->c);
    *compare = first == 't' ? POLY_IS_NULL : POLY_NOT_NULL;
    return POLY_OK;
}

/* At what an operator compares with. */
static enum poly_status read_compare(struct reader *r, const struct subject *subject,
                                     enum poly_compare compare, const struct poly_where **where)
{
    struct poly_value *values = NULL;
    size_t count = 0;
    const char *at = r->c.at;
    enum poly_status status;

    if (++r->comparisons > POLY_MAX_FILTERS)
        return poly_fail_at(r->err, POLY_INVALID, offset(r, subject->at),
                            "condition: more than %d comparisons at %d", POLY_MAX_FILTERS,
                            offset(r, subject->at));
    if (compare == POLY_IN) {
        status = read_values(r, &values, &count);
    } else if (compare == POLY_IS_NULL) {
        status = read_null(r, &compare);
    } else {
        values = poly_arena_alloc(r->arena, sizeof(*values));
        count = 1;
        status = values == NULL ? poly_no_memory(r->err) : read_value(r, values);
        if (status == POLY_OK && compare == POLY_PREFIX && values->type != POLY_TEXT)
            status = wrong(r, at, "a prefix is text", "");
    }
    return status == POLY_OK ? make_compare(r, subject, compare, values, count, where) : status;
}

static enum poly_status find_operator(struct reader *r, struct poly_text name, const char *at,
                                      enum poly_compare *compare)
{
    for (size_t i = 0; i < OPERATORS; i++)
        if (same(name, operators[i].name)) {
            *compare = operators[i].compare;
            return POLY_OK;
        }
    return poly_fail_at(r->err, POLY_INVALID, offset(r, at),
                        "condition: '%.64s' at %d is no operator; one of = <> < <= > >= in prefix "
                        "null is",
                        name.data, offset(r, at));
}

/* At {"<": 3, …} or at a value. */
static enum poly_status read_test(struct reader *r, const struct subject *subject, unsigned depth,
                                  const struct poly_where **where)
{
    struct group group = {.count = 0};
    const char *at = r->c.at;
    bool object = poly_json_look(&r->c) == '{' && !at_marked(r), more = true;
    size_t names = object ? count_names(r) : 1;
    enum poly_status status = check_node(r, at, depth);

    if (status == POLY_OK && !object)
        return read_compare(r, subject, POLY_EQ, where);
    if (status == POLY_OK && names == 0)
        return wrong(r, at, "an object without an operator", "write {\"=\": …}");
    while (status == POLY_OK) {
        enum poly_compare compare = POLY_EQ;
        struct poly_text name;

        status = next_name(r, group.count == 0, &name, &at, &more);
        if (status != POLY_OK || !more)
            break;
        status = check_room(r, &group, at);
        if (status == POLY_OK && names > 1)
            status = check_node(r, at, depth + 1);
        if (status == POLY_OK)
            status = find_operator(r, name, at, &compare);
        if (status == POLY_OK)
            status = read_compare(r, subject, compare, &group.parts[group.count]);
        group.count++;
    }
    return status == POLY_OK ? make_all(r, &group, where) : status;
}

/* --- conditions --- */

/* A column, or with a path ("meta.$.a.b"); exact: a column, whatever its name is. */
static enum poly_status read_subject(struct reader *r, struct poly_text name, const char *at,
                                     bool exact, struct subject *subject)
{
    char *column = (char *)(uintptr_t)name.data; /* in our arena */
    char *dot = exact ? NULL : strstr(column, ".$");

    *subject = (struct subject){.column = column, .at = at};
    if (dot != NULL) {
        *dot = '\0';
        subject->path = dot + 1;
        if (!poly_json_path_valid(subject->path))
            return poly_fail_at(r->err, POLY_INVALID, offset(r, at),
                                "condition: '%.64s' at %d is no JSON path, '$.a.b' is; a column of "
                                "such a name is written {\"field\": {…}}",
                                subject->path, offset(r, at));
    }
    return column[0] == '\0' ? wrong(r, at, "an empty name", "") : POLY_OK;
}

/* At the list of "and" or "or". */
static enum poly_status read_list(struct reader *r, enum poly_where_kind kind, unsigned depth,
                                  const struct poly_where **where)
{
    struct group group = {.count = 0};
    enum poly_status status = check_node(r, r->c.at, depth);

    if (status == POLY_OK && poly_json_look(&r->c) != '[')
        return wrong(r, r->c.at, "'and' and 'or' take a list of conditions",
                     "a field of that name is written {\"field\": {…}}");
    r->c.at++;
    poly_json_skip_space(&r->c);
    while (status == POLY_OK && poly_json_look(&r->c) != ']') {
        status = check_room(r, &group, r->c.at);
        if (status == POLY_OK)
            status = read_condition(r, depth + 1, &group.parts[group.count++]);
        poly_json_skip_space(&r->c);
        if (poly_json_look(&r->c) == ',')
            r->c.at++;
        poly_json_skip_space(&r->c);
    }
    r->c.at++;
    return status == POLY_OK ? make_node(r, kind, &group, where) : status;
}

static enum poly_status read_not(struct reader *r, unsigned depth, const struct poly_where **where)
{
    struct group group = {.count = 1};
    enum poly_status status = check_node(r, r->c.at, depth);

    if (status == POLY_OK)
        status = read_condition(r, depth + 1, &group.parts[0]);
    return status == POLY_OK ? make_node(r, POLY_WHERE_NOT, &group, where) : status;
}

static enum poly_status read_names(struct reader *r, bool exact, unsigned depth,
                                   const struct poly_where **where);

/* At the value of a name. */
static enum poly_status read_named(struct reader *r, struct poly_text name, const char *at,
                                   unsigned depth, const struct poly_where **where)
{
    struct subject subject;
    enum poly_status status;

    if (same(name, "and") || same(name, "or"))
        return read_list(r, same(name, "and") ? POLY_WHERE_AND : POLY_WHERE_OR, depth, where);
    if (same(name, "not"))
        return read_not(r, depth, where);
    if (same(name, "field") && poly_json_look(&r->c) == '{')
        return read_names(r, true, depth, where);
    if (same(name, "field"))
        return wrong(r, r->c.at, "'field' takes an object",
                     "a field of that name is written {\"field\": {\"field\": …}}");
    status = read_subject(r, name, at, false, &subject);
    return status == POLY_OK ? read_test(r, &subject, depth, where) : status;
}

/* At an object; exact: its names are columns. */
static enum poly_status read_names(struct reader *r, bool exact, unsigned depth,
                                   const struct poly_where **where)
{
    struct group group = {.count = 0};
    const char *at = r->c.at;
    size_t names = count_names(r);
    enum poly_status status = names == 1 ? POLY_OK : check_node(r, at, depth);

    depth += names == 1 ? 0 : 1;
    for (bool first = true, more = true; status == POLY_OK; first = false) {
        struct poly_text name;
        struct subject subject;

        status = next_name(r, first, &name, &at, &more);
        if (status != POLY_OK || !more)
            break;
        status = check_room(r, &group, at);
        if (status != POLY_OK)
            break;
        if (exact) {
            status = read_subject(r, name, at, true, &subject);
            if (status == POLY_OK)
                status = read_test(r, &subject, depth, &group.parts[group.count]);
        } else {
            status = read_named(r, name, at, depth, &group.parts[group.count]);
        }
        group.count++;
    }
    return status == POLY_OK ? make_all(r, &group, where) : status;
}

static enum poly_status read_condition(struct reader *r, unsigned depth,
                                       const struct poly_where **where)
{
    if (poly_json_look(&r->c) != '{')
        return wrong(r, r->c.at, "no object", "a condition is one, like {\"status\": \"open\"}");
    return read_names(r, false, depth, where);
}

enum poly_status poly_where_read(struct poly_text json, struct poly_arena *arena,
                                 const struct poly_where **where, struct poly_error *err)
{
    struct poly_error local;
    struct reader r = {.text = json.data,
                       .c = poly_json_begin(json),
                       .arena = arena,
                       .err = err == NULL ? &local : err};
    const struct poly_where *read;
    enum poly_status status;

    if (json.size > POLY_MAX_WHERE)
        return poly_fail_at(err, POLY_INVALID, POLY_MAX_WHERE, "condition: longer than %d bytes",
                            POLY_MAX_WHERE);
    status = poly_json_check(json.data, json.size, r.err);
    if (status != POLY_OK)
        return poly_fail_in(r.err, status, "condition");
    poly_json_skip_space(&r.c);
    status = read_condition(&r, 0, &read);
    if (status == POLY_OK)
        *where = read;
    return status;
}

/* --- printing --- */

static void print_values(const struct poly_filter *filter, struct poly_buffer *out)
{
    if (filter->compare == POLY_IN)
        poly_buffer_char(out, '[');
    for (size_t i = 0; i < filter->value_count; i++) {
        if (i > 0)
            poly_buffer_text(out, ", ");
        poly_json_value(out, &filter->values[i]);
    }
    if (filter->compare == POLY_IN)
        poly_buffer_char(out, ']');
    if (filter->compare >= POLY_IS_NULL)
        poly_buffer_text(out, filter->compare == POLY_IS_NULL ? "true" : "false");
}

static bool is_reserved(const char *name)
{
    return strcmp(name, "and") == 0 || strcmp(name, "or") == 0 || strcmp(name, "not") == 0 ||
           strcmp(name, "field") == 0 || strstr(name, ".$") != NULL;
}

static void print_compare(const struct poly_filter *filter, struct poly_buffer *out)
{
    bool reserved = filter->path == NULL && is_reserved(filter->column);
    const char *name_of = "null";
    struct poly_buffer name;

    for (size_t i = 0; i < OPERATORS; i++)
        if (operators[i].compare == filter->compare)
            name_of = operators[i].name;
    poly_buffer_init(&name, POLY_MAX_WHERE);
    poly_buffer_text(&name, filter->column);
    if (filter->path != NULL)
        poly_buffer_char(&name, '.');
    poly_buffer_text(&name, filter->path == NULL ? "" : filter->path);
    poly_buffer_text(out, reserved ? "{\"field\": {" : "{");
    poly_json_string(out, name.data, name.size);
    poly_buffer_printf(out, ": {\"%s\": ", name_of);
    print_values(filter, out);
    poly_buffer_text(out, reserved ? "}}}" : "}}");
    out->failed |= name.failed;
    poly_buffer_release(&name);
}

void poly_where_print(const struct poly_where *where, struct poly_buffer *out)
{
    bool list = where->kind == POLY_WHERE_AND || where->kind == POLY_WHERE_OR;

    if (where->kind == POLY_WHERE_COMPARE) {
        print_compare(where->compare, out);
        return;
    }
    poly_buffer_text(out, where->kind == POLY_WHERE_AND  ? "{\"and\": ["
                          : where->kind == POLY_WHERE_OR ? "{\"or\": ["
                                                         : "{\"not\": ");
    for (size_t i = 0; i < where->part_count; i++) {
        if (i > 0)
            poly_buffer_text(out, ", ");
        poly_where_print(where->parts[i], out);
    }
    poly_buffer_text(out, list ? "]}" : "}");
}

enum poly_status poly_where_parse(struct poly_session *session, struct poly_text json,
                                  const struct poly_where **where, struct poly_error *err)
{
    return poly_where_read(json, poly_session_arena(session), where, err);
}
