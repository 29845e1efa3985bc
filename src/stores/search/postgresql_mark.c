/*
 * Marks and snippets. ts_headline would split the text by the server's own
 * rules, which are not the index's; here the words come from where the index's
 * came from, with their places in the text.
 */
#include <stdlib.h>
#include <string.h>

#include "stores/search/postgresql.h"

enum { SNIPPET_WORDS = 24, SNIPPET_TRIGRAMS = 64 };

struct token {
    struct poly_text word;
    size_t start, end;
};

/* A match: tokens from first to last. */
struct match {
    size_t first, last, term;
};

struct marking {
    const struct poly_ts_marking *in;
    struct poly_arena *scratch;
    struct poly_text text; /* of the field */
    struct token *tokens;
    size_t token_count, token_room;
    struct match *matches;
    size_t match_count, match_room;
    bool failed;
};

static void *grow(struct poly_arena *arena, void *list, size_t count, size_t *room, size_t size)
{
    size_t more = 2 * *room + 16;
    void *copy = poly_arena_array(arena, more, size);

    if (copy != NULL && count > 0)
        memcpy(copy, list, count * size);
    *room = copy == NULL ? *room : more;
    return copy;
}

static bool add_token(void *arg, struct poly_text word, size_t start, size_t end)
{
    struct marking *m = arg;
    char *copy = poly_arena_copy(m->scratch, word.data, word.size);

    if (m->token_count == m->token_room) {
        void *more =
            grow(m->scratch, m->tokens, m->token_count, &m->token_room, sizeof(*m->tokens));

        m->failed = m->failed || more == NULL;
        if (more != NULL)
            m->tokens = more;
    }
    m->failed = m->failed || copy == NULL;
    if (!m->failed)
        m->tokens[m->token_count++] = (struct token){{copy, word.size}, start, end};
    return !m->failed;
}

/* --- where the terms match --- */

static bool fits(const struct poly_text *word, const struct poly_text *asked, bool prefix)
{
    return (prefix ? word->size >= asked->size : word->size == asked->size) &&
           memcmp(word->data, asked->data, asked->size) == 0;
}

static bool matches_at(const struct marking *m, const struct poly_lexemes *lexemes, bool prefix,
                       size_t at)
{
    if (lexemes->count == 0 || at + lexemes->count > m->token_count)
        return false;
    for (size_t i = 0; i < lexemes->count; i++)
        if (!fits(&m->tokens[at + i].word, &lexemes->list[i], prefix && i + 1 == lexemes->count))
            return false;
    return true;
}

static void add_match(struct marking *m, size_t first, size_t last, size_t term)
{
    if (m->match_count == m->match_room) {
        void *more =
            grow(m->scratch, m->matches, m->match_count, &m->match_room, sizeof(*m->matches));

        m->failed = m->failed || more == NULL;
        if (more != NULL)
            m->matches = more;
    }
    if (!m->failed)
        m->matches[m->match_count++] = (struct match){first, last, term};
}

static void find_matches(struct marking *m, int field)
{
    const struct poly_query *query = m->in->request->query;

    m->match_count = 0;
    for (size_t at = 0; at < m->token_count; at++) {
        for (size_t i = 0; i < query->term_count && !m->failed; i++) {
            bool here = m->in->columns[i] == POLY_QUERY_ANY || m->in->columns[i] == field;

            if (here && !query->terms[i]->excluded &&
                matches_at(m, &m->in->terms[i], query->terms[i]->prefix, at))
                add_match(m, at, at + m->in->terms[i].count - 1, i);
        }
    }
}

/* --- printing --- */

static void add_text(struct poly_buffer *out, struct poly_text text)
{
    poly_buffer_add(out, text.data, text.size);
}

/* The text from byte start to byte end, with marks; overlapping matches are one. */
static void print_marked(const struct marking *m, size_t start, size_t end, struct poly_buffer *out)
{
    size_t at = start;

    for (size_t i = 0; i < m->match_count;) {
        size_t first = m->matches[i].first, last = m->matches[i].last;

        for (i++; i < m->match_count && m->matches[i].first <= last; i++)
            last = m->matches[i].last > last ? m->matches[i].last : last;
        if (m->tokens[first].start < at || m->tokens[last].end > end)
            continue;
        poly_buffer_add(out, m->text.data + at, m->tokens[first].start - at);
        add_text(out, m->in->request->mark_open);
        poly_buffer_add(out, m->text.data + m->tokens[first].start,
                        m->tokens[last].end - m->tokens[first].start);
        add_text(out, m->in->request->mark_close);
        at = m->tokens[last].end;
    }
    poly_buffer_add(out, m->text.data + at, end - at);
}

static bool keep(struct poly_buffer *out, struct poly_arena *arena, struct poly_text *text)
{
    text->data = poly_buffer_ok(out)
                     ? poly_arena_copy(arena, out->data == NULL ? "" : out->data, out->size)
                     : NULL;
    text->size = out->size;
    poly_buffer_clear(out);
    return text->data != NULL;
}

/* --- the snippet --- */

static size_t window_of(const struct marking *m)
{
    return m->in->index->kind == POLY_WORDS_TRIGRAM ? SNIPPET_TRIGRAMS : SNIPPET_WORDS;
}

/* How good is the window that begins at a match: different terms first, then matches. */
static size_t worth(const struct marking *m, size_t from)
{
    size_t first = m->matches[from].first, terms = 0, count = 0;
    uint64_t seen = 0;

    for (size_t i = from; i < m->match_count; i++) {
        uint64_t bit = UINT64_C(1) << m->matches[i].term;

        if (m->matches[i].first - first >= window_of(m))
            break;
        if (m->matches[i].last - first >= window_of(m))
            continue;
        terms += (seen & bit) == 0;
        seen |= bit;
        count++;
    }
    return terms * 1000 + (count > 999 ? 999 : count);
}

static size_t best_match(const struct marking *m, size_t *best)
{
    size_t most = 0;

    *best = 0;
    for (size_t i = 0; i < m->match_count; i++) {
        size_t value = worth(m, i);

        if (value > most) {
            most = value;
            *best = i;
        }
    }
    return most;
}

static void print_snippet(const struct marking *m, size_t best, struct poly_buffer *out)
{
    size_t window = window_of(m), first = 0, last;

    poly_buffer_clear(out);
    if (m->token_count > window && m->match_count > 0) {
        size_t reach = m->matches[best].first, end = reach;

        for (size_t i = best; i < m->match_count && m->matches[i].last - reach < window; i++)
            end = m->matches[i].last > end ? m->matches[i].last : end;
        size_t spare = window - (end - reach + 1 > window ? window : end - reach + 1);

        first = reach > spare / 2 ? reach - spare / 2 : 0;
        if (first + window > m->token_count)
            first = m->token_count - window;
    }
    last = first + window < m->token_count ? first + window - 1 : m->token_count - 1;
    if (first > 0)
        poly_buffer_text(out, "…");
    if (m->token_count == 0)
        return;
    print_marked(m, first == 0 ? 0 : m->tokens[first].start,
                 last + 1 == m->token_count ? m->text.size : m->tokens[last].end, out);
    if (last + 1 < m->token_count)
        poly_buffer_text(out, "…");
}

/* --- all fields --- */

struct result {
    struct poly_field *fields;
    size_t count, worth;
    bool snippet;
    struct poly_buffer text;
};

static enum poly_status mark_field(struct marking *m, size_t place, struct result *r,
                                   struct poly_hit *hit, struct poly_error *err)
{
    size_t best, value;
    enum poly_status status;

    m->token_count = 0;
    status = poly_words_split(m->in->words, m->in->index->kind, true, m->text, add_token, m, err);
    if (status != POLY_OK)
        return status;
    find_matches(m, (int)place);
    if (m->failed)
        return poly_no_memory(err);
    value = best_match(m, &best);
    if (!r->snippet || value > r->worth) {
        print_snippet(m, best, &r->text);
        if (!keep(&r->text, m->in->arena, &hit->snippet))
            return poly_no_memory(err);
        r->worth = value;
        r->snippet = m->token_count > 0;
    }
    if (m->match_count == 0)
        return POLY_OK;

    struct poly_field *field = &r->fields[r->count++];

    print_marked(m, 0, m->text.size, &r->text);
    field->name = m->in->index->names.fields[place];
    field->name = poly_arena_copy(m->in->arena, field->name, strlen(field->name));
    field->value.type = POLY_TEXT;
    return field->name != NULL && keep(&r->text, m->in->arena, &field->value.text)
               ? POLY_OK
               : poly_no_memory(err);
}

enum poly_status poly_ts_mark(const struct poly_ts_marking *how, const struct poly_text *fields,
                              struct poly_hit *hit, struct poly_error *err)
{
    size_t count = how->index->names.field_count;
    struct marking m = {.in = how, .scratch = poly_arena_new(POLY_MAX_SESSION_MEMORY)};
    struct result r = {.fields = poly_arena_array(how->arena, count + 1, sizeof(*r.fields))};
    enum poly_status status = POLY_OK;

    if (m.scratch == NULL || r.fields == NULL) {
        poly_arena_free(m.scratch);
        return poly_no_memory(err);
    }
    poly_buffer_init(&r.text, POLY_MAX_SESSION_MEMORY);
    hit->snippet = poly_text("");
    for (size_t i = 0; i < count && status == POLY_OK; i++) {
        m.text = fields[i];
        if (fields[i].data != NULL)
            status = mark_field(&m, i, &r, hit, err);
    }
    poly_buffer_release(&r.text);
    poly_arena_free(m.scratch);
    hit->highlights = (struct poly_row){r.fields, r.count};
    return status;
}
