/*
 * A recursive-descent parser without a separate lexer: the language is small,
 * and what a character means depends on where it stands ('-' before a word
 * negates, inside a word it is part of it). Depth is bounded by
 * POLY_MAX_QUERY_DEPTH, so the stack is too.
 *
 * FTS5 has a query language of its own, with errors of its own. It never sees
 * the user's: only quoted strings, our column names and our operators.
 */
#include "stores/search/query.h"

#include <string.h>

#include "base/limits.h"
#include "base/utf8.h"

/* Lists in lists: so many take at most 64 places of the engine's stack, in any order. */
enum { DEEP = 16 };

struct parser {
    const char *text;
    size_t at, size;
    int depth;
    const char *field; /* of the group around; NULL: none */
    int field_position;
    bool excluded; /* below a negation */
    struct poly_arena *arena;
    struct poly_query_node *terms[POLY_MAX_QUERY_TERMS];
    size_t term_count;
    struct poly_error *err;
};

static enum poly_status parse_or(struct parser *p, struct poly_query_node **node);

/* --- characters --- */

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_high(char c)
{
    return ((unsigned char)c & 0x80) != 0;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_high(c);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* What ends a word. */
static bool is_special(char c)
{
    return c == '\0' || is_space(c) || c == '"' || c == '(' || c == ')';
}

static char look(const struct parser *p)
{
    return p->text[p->at];
}

static void skip_space(struct parser *p)
{
    while (is_space(look(p)))
        p->at++;
}

static enum poly_status check_bytes(const char *text, size_t *size, struct poly_error *err)
{
    size_t length = strnlen(text, POLY_MAX_QUERY + 1);
    size_t step = 0;

    if (length > POLY_MAX_QUERY)
        return poly_fail_at(err, POLY_INVALID, POLY_MAX_QUERY,
                            "query: longer than %d bytes; make it shorter", POLY_MAX_QUERY);
    for (size_t i = 0; i < length; i += step) {
        step = poly_utf8_character(text + i, length - i);
        if (step == 0)
            return poly_fail_at(err, POLY_INVALID, (int)i, "query: not UTF-8 at %zu", i);
    }
    *size = length;
    return POLY_OK;
}

/* --- nodes --- */

static struct poly_query_node *node_new(struct parser *p, enum poly_query_type type, size_t at)
{
    struct poly_query_node *node = poly_arena_alloc(p->arena, sizeof(*node));

    if (node == NULL)
        return NULL;
    node->type = type;
    node->position = (int)at;
    return node;
}

static enum poly_status fail(struct parser *p, size_t at, const char *what)
{
    return poly_fail_at(p->err, POLY_INVALID, (int)at, "query: %s at %zu", what, at);
}

/* Could this hold a letter or a digit? The index's own tokenizer has the last word. */
static bool indexable(struct poly_text text)
{
    for (size_t i = 0; i < text.size; i++)
        if (is_letter(text.data[i]) || is_digit(text.data[i]))
            return true;
    return false;
}

static enum poly_status add_term(struct parser *p, size_t start, struct poly_text text, bool prefix,
                                 struct poly_query_node **node)
{
    struct poly_query_node *term;

    if (!indexable(text))
        return poly_fail_at(p->err, POLY_INVALID, (int)start,
                            "query: '%.*s' at %zu has no letter or digit to search for",
                            (int)(text.size > 64 ? 64 : text.size), text.data, start);
    if (p->term_count == POLY_MAX_QUERY_TERMS)
        return poly_fail_at(p->err, POLY_INVALID, (int)start,
                            "query: more than %d words and phrases at %zu", POLY_MAX_QUERY_TERMS,
                            start);
    term = node_new(p, POLY_QUERY_TERM, start);
    if (term == NULL)
        return poly_no_memory(p->err);
    term->text.data = poly_arena_copy(p->arena, text.data, text.size);
    if (term->text.data == NULL)
        return poly_no_memory(p->err);
    term->text.size = text.size;
    term->prefix = prefix;
    term->field = p->field;
    term->field_position = p->field_position;
    term->excluded = p->excluded;
    term->index = p->term_count;
    p->terms[p->term_count++] = term;
    *node = term;
    return POLY_OK;
}

/* --- words, phrases, groups --- */

static enum poly_status parse_phrase(struct parser *p, struct poly_query_node **node)
{
    size_t start = p->at;
    const char *open = p->text + start + 1;
    const char *close = strchr(open, '"');
    struct poly_text text = {open, 0};
    bool prefix;

    if (close == NULL)
        return fail(p, start, "unclosed quote");
    text.size = (size_t)(close - open);
    p->at = (size_t)(close - p->text) + 1;
    if (text.size == 0)
        return fail(p, start, "empty phrase");
    prefix = look(p) == '*';
    if (prefix)
        p->at++;
    return add_term(p, start, text, prefix, node);
}

static bool is_operator(struct poly_text word, const char *name)
{
    return word.size == strlen(name) && memcmp(word.data, name, word.size) == 0;
}

/* The word at the parser's place, which stays: is it an operator? */
static bool at_operator(const struct parser *p, const char *name)
{
    struct poly_text word = {p->text + p->at, 0};

    while (!is_special(word.data[word.size]))
        word.size++;
    return is_operator(word, name);
}

static enum poly_status parse_word(struct parser *p, struct poly_query_node **node)
{
    size_t start = p->at;
    struct poly_text text = {p->text + start, 0};
    bool prefix = false;

    if (at_operator(p, "OR") || at_operator(p, "AND"))
        return fail(p, start, "operator without a word before it");
    if (at_operator(p, "NOT"))
        return fail(p, start, "NOT is no operator, write -word (or \"NOT\" to search for it)");
    while (!is_special(look(p)) && look(p) != '*') {
        p->at++;
        text.size++;
    }
    if (look(p) == '*') {
        if (text.size == 0)
            return fail(p, start, "'*' without a word before it");
        if (!is_special(p->text[p->at + 1]) || p->text[p->at + 1] == '"')
            return fail(p, p->at, "'*' stands only at the end of a word");
        prefix = true;
        p->at++;
    }
    return add_term(p, start, text, prefix, node);
}

static enum poly_status parse_group(struct parser *p, struct poly_query_node **node)
{
    size_t start = p->at++;
    enum poly_status status;

    if (++p->depth > POLY_MAX_QUERY_DEPTH)
        return poly_fail_at(p->err, POLY_INVALID, (int)start, "query: groups deeper than %d at %zu",
                            POLY_MAX_QUERY_DEPTH, start);
    skip_space(p);
    if (look(p) == ')')
        return fail(p, start, "empty group");
    status = parse_or(p, node);
    if (status != POLY_OK)
        return status;
    if (look(p) != ')')
        return fail(p, start, "unclosed '('");
    p->at++;
    p->depth--;
    return POLY_OK;
}

/* Length of a field's name with a ':' behind it; 0: there is none. */
static size_t field_size(const struct parser *p)
{
    const char *s = p->text + p->at;
    size_t size = 0;

    if (!is_letter(s[0]) && s[0] != '_')
        return 0;
    while (is_letter(s[size]) || is_digit(s[size]) || s[size] == '_' || s[size] == '-' ||
           s[size] == '.')
        size++;
    return s[size] == ':' ? size : 0;
}

static enum poly_status parse_target(struct parser *p, struct poly_query_node **node)
{
    if (look(p) == '(')
        return parse_group(p, node);
    if (look(p) == '"')
        return parse_phrase(p, node);
    return parse_word(p, node);
}

static enum poly_status parse_field(struct parser *p, size_t size, struct poly_query_node **node)
{
    size_t start = p->at;
    enum poly_status status;

    if (p->field != NULL)
        return fail(p, start, "a field inside a group that has a field");
    p->at += size + 1;
    if (look(p) == '\0' || is_space(look(p)) || look(p) == ')')
        return poly_fail_at(p->err, POLY_INVALID, (int)start,
                            "query: nothing after '%.*s:' at %zu; write %.*s:word, without a space",
                            (int)(size > 64 ? 64 : size), p->text + start, start,
                            (int)(size > 64 ? 64 : size), p->text + start);
    p->field = poly_arena_copy(p->arena, p->text + start, size);
    if (p->field == NULL)
        return poly_no_memory(p->err);
    p->field_position = (int)start;
    status = parse_target(p, node);
    p->field = NULL;
    return status;
}

static enum poly_status parse_item(struct parser *p, struct poly_query_node **node)
{
    size_t start = p->at;
    bool negated = look(p) == '-';
    bool outer = p->excluded;
    size_t size;
    enum poly_status status;

    if (negated) {
        p->at++;
        if (look(p) == '\0' || is_space(look(p)) || look(p) == ')')
            return fail(p, start, "'-' without a word after it");
        if (look(p) == '-')
            return fail(p, start, "'-' twice");
        p->excluded = true;
    }
    size = field_size(p);
    status = size > 0 ? parse_field(p, size, node) : parse_target(p, node);
    p->excluded = outer;
    if (status == POLY_OK && negated) {
        (*node)->negated = true;
        (*node)->position = (int)start;
    }
    return status;
}

/* --- lists --- */

/* Is there another item of the list, after an AND or none? */
static enum poly_status more_items(struct parser *p, bool *more)
{
    size_t start;

    *more = false;
    skip_space(p);
    start = p->at;
    if (look(p) == '\0' || look(p) == ')' || at_operator(p, "OR"))
        return POLY_OK;
    *more = true;
    if (!at_operator(p, "AND"))
        return POLY_OK;
    p->at += strlen("AND");
    skip_space(p);
    if (look(p) == '\0' || look(p) == ')' || at_operator(p, "OR") || at_operator(p, "AND"))
        return fail(p, start, "AND without a word after it");
    return POLY_OK;
}

static enum poly_status parse_and(struct parser *p, struct poly_query_node **node)
{
    struct poly_query_node *list = node_new(p, POLY_QUERY_AND, p->at);
    struct poly_query_node **tail;
    bool more = true, positive = false;

    if (list == NULL)
        return poly_no_memory(p->err);
    tail = &list->children;
    while (more) {
        enum poly_status status = parse_item(p, tail);

        if (status != POLY_OK)
            return status;
        positive = positive || !(*tail)->negated;
        tail = &(*tail)->next;
        status = more_items(p, &more);
        if (status != POLY_OK)
            return status;
    }
    if (!positive)
        return poly_fail_at(p->err, POLY_INVALID, list->children->position,
                            "query: only says what not to find at %d; add a word to find",
                            list->children->position);
    *node = list->children->next == NULL ? list->children : list;
    return POLY_OK;
}

static enum poly_status parse_or(struct parser *p, struct poly_query_node **node)
{
    struct poly_query_node *list = node_new(p, POLY_QUERY_OR, p->at);
    struct poly_query_node **tail;

    if (list == NULL)
        return poly_no_memory(p->err);
    tail = &list->children;
    for (;;) {
        size_t start;
        enum poly_status status = parse_and(p, tail);

        if (status != POLY_OK)
            return status;
        tail = &(*tail)->next;
        if (!at_operator(p, "OR"))
            break;
        start = p->at;
        p->at += strlen("OR");
        skip_space(p);
        if (look(p) == '\0' || look(p) == ')' || at_operator(p, "OR") || at_operator(p, "AND"))
            return fail(p, start, "OR without a word after it");
    }
    *node = list->children->next == NULL ? list->children : list;
    return POLY_OK;
}

static enum poly_status finish(struct parser *p, struct poly_query_node *root,
                               struct poly_query **query)
{
    struct poly_query *q = poly_arena_alloc(p->arena, sizeof(*q));
    const struct poly_query_node **terms =
        poly_arena_array(p->arena, p->term_count, sizeof(struct poly_query_node *));

    if (q == NULL || terms == NULL)
        return poly_no_memory(p->err);
    for (size_t i = 0; i < p->term_count; i++)
        terms[i] = p->terms[i];
    q->root = root;
    q->terms = terms;
    q->term_count = p->term_count;
    *query = q;
    return POLY_OK;
}

enum poly_status poly_query_parse(const char *text, struct poly_arena *arena,
                                  struct poly_query **query, struct poly_error *err)
{
    struct parser p = {.text = text, .arena = arena, .err = err};
    struct poly_query_node *root = NULL;
    enum poly_status status = check_bytes(text, &p.size, err);

    if (status != POLY_OK)
        return status;
    skip_space(&p);
    if (p.at == p.size)
        return poly_fail_at(err, POLY_INVALID, 0, "query: empty; write a word to find");
    status = parse_or(&p, &root);
    if (status != POLY_OK)
        return status;
    if (p.at != p.size)
        return fail(&p, p.at, "')' without a '('");
    return finish(&p, root, query);
}

/* --- what no index can have --- */

enum poly_status poly_query_no_field(const struct poly_query_node *term, const char *domain,
                                     bool several, struct poly_error *err)
{
    return poly_fail_at(err, POLY_INVALID, term->field_position,
                        "query: no field '%.64s' in %s'%s' at %d; put the text in quotes to "
                        "search for a colon",
                        term->field, several ? "any domain asked, like " : "", domain,
                        term->field_position);
}

enum poly_status poly_query_no_word(const struct poly_query_node *term, bool trigram,
                                    struct poly_error *err)
{
    int size = (int)(term->text.size > 64 ? 64 : term->text.size);

    if (trigram)
        return poly_fail_at(err, POLY_INVALID, term->position,
                            "query: '%.*s' at %d is too short for a trigram index; write three "
                            "characters or more",
                            size, term->text.data, term->position);
    return poly_fail_at(err, POLY_INVALID, term->position,
                        "query: '%.*s' at %d has no letter or digit to search for", size,
                        term->text.data, term->position);
}

/* --- printing --- */

struct printer {
    const int *columns;
    struct poly_buffer *out;
    size_t *order;
    size_t count;
    bool deep;
};

bool poly_query_alive(const struct poly_query_node *node, const int *columns)
{
    bool any = false;

    if (node->type == POLY_QUERY_TERM)
        return columns[node->index] != POLY_QUERY_NOWHERE;
    for (const struct poly_query_node *child = node->children; child != NULL; child = child->next) {
        bool lives = poly_query_alive(child, columns);

        if (node->type == POLY_QUERY_AND && !child->negated && !lives)
            return false;
        any = any || (lives && !child->negated);
    }
    return any;
}

void poly_query_print_term(const struct poly_query_node *term, int column, struct poly_buffer *out)
{
    if (column >= 0)
        poly_buffer_printf(out, "c%d : ", column);
    poly_buffer_char(out, '"');
    for (size_t i = 0; i < term->text.size; i++) {
        if (term->text.data[i] == '"')
            poly_buffer_char(out, '"');
        poly_buffer_char(out, term->text.data[i]);
    }
    poly_buffer_text(out, term->prefix ? "\" *" : "\"");
}

static void print_node(struct printer *p, const struct poly_query_node *node);

static int depth(const struct poly_query_node *node)
{
    int deepest = 0;

    if (node->type == POLY_QUERY_TERM)
        return 0;
    for (const struct poly_query_node *child = node->children; child != NULL; child = child->next) {
        int below = depth(child);

        deepest = below > deepest ? below : deepest;
    }
    return deepest + 1;
}

static bool printed(const struct printer *p, const struct poly_query_node *child, bool negated)
{
    return child->negated == negated && poly_query_alive(child, p->columns);
}

/*
 * The living children of one sign. In a deep query the deepest first: the engine's parser has a
 * stack of a hundred, and keeps on it what stands before an open group.
 */
static bool print_children(struct printer *p, const struct poly_query_node *node, bool negated,
                           const char *before, const char *between)
{
    const struct poly_query_node *deepest = NULL;

    for (const struct poly_query_node *child = node->children; child != NULL; child = child->next) {
        if (printed(p, child, negated) &&
            (deepest == NULL || (p->deep && depth(child) > depth(deepest))))
            deepest = child;
    }
    if (deepest == NULL)
        return false;
    poly_buffer_text(p->out, before);
    print_node(p, deepest);
    for (const struct poly_query_node *child = node->children; child != NULL; child = child->next) {
        if (child == deepest || !printed(p, child, negated))
            continue;
        poly_buffer_text(p->out, between);
        print_node(p, child);
    }
    return true;
}

static void print_node(struct printer *p, const struct poly_query_node *node)
{
    if (node->type == POLY_QUERY_TERM) {
        poly_query_print_term(node, p->columns[node->index], p->out);
        p->order[p->count++] = node->index;
        return;
    }
    poly_buffer_char(p->out, '(');
    if (node->type == POLY_QUERY_OR) {
        print_children(p, node, false, "", " OR ");
    } else {
        print_children(p, node, false, "(", " AND ");
        poly_buffer_char(p->out, ')');
        if (print_children(p, node, true, " NOT (", " OR "))
            poly_buffer_char(p->out, ')');
    }
    poly_buffer_char(p->out, ')');
}

size_t poly_query_print(const struct poly_query *query, const int *columns, struct poly_buffer *out,
                        size_t *order)
{
    struct printer p = {
        .columns = columns, .out = out, .order = order, .deep = depth(query->root) > DEEP};

    if (!poly_query_alive(query->root, columns))
        return 0;
    print_node(&p, query->root);
    return p.count;
}

int poly_query_column(const struct poly_extract_names *names, const char *field)
{
    if (field == NULL)
        return POLY_QUERY_ANY;
    for (size_t i = 0; i < names->field_count; i++) {
        if (strcmp(names->fields[i], field) == 0)
            return (int)i;
    }
    return POLY_QUERY_NOWHERE;
}
