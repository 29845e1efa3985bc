/*
 * FTS5 lends its tokenizers to whoever asks: a connection to no file is all
 * that takes. They keep no state of a connection, so that one table of them
 * serves all threads; what has state is made for each text.
 */
#include "stores/search/postgresql_words.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"

enum {
    WORD_MAX = 2000,          /* bytes: a lexeme has less than 2,048 */
    VECTOR_MAX = 1000 * 1000, /* bytes: a tsvector has less than 1,048,576 */
    POSITION_MAX = 16383,
    WORD_COST = 8, /* bytes beside the word itself: its entry and one place */
};

/* The last places are one for each field, for all words behind: never neighbours. */
static const uint32_t position_last = POSITION_MAX - 2 * POLY_MAX_SEARCH_FIELDS;

struct poly_words {
    sqlite3 *db;
    struct {
        fts5_tokenizer calls;
        void *context;
        const char *const *arguments;
        int argument_count;
    } kinds[POLY_WORDS_KINDS];
    pthread_mutex_t lock; /* of making one */
};

static const char *const plain_arguments[] = {"remove_diacritics", "2"};
static const char *const english_arguments[] = {"unicode61", "remove_diacritics", "2"};

static enum poly_status no_fts5(struct poly_error *err)
{
    return poly_fail(err, POLY_UNSUPPORTED, "search: this SQLite was built without FTS5");
}

static enum poly_status find_tokenizers(struct poly_words *self, struct poly_error *err)
{
    static const char *const names[] = {"unicode61", "porter", "trigram"};
    fts5_api *api = NULL;
    sqlite3_stmt *statement = NULL;

    if (sqlite3_prepare_v2(self->db, "SELECT fts5(?1)", -1, &statement, NULL) != SQLITE_OK)
        return no_fts5(err);
    sqlite3_bind_pointer(statement, 1, (void *)&api, "fts5_api_ptr", NULL);
    sqlite3_step(statement);
    sqlite3_finalize(statement);
    if (api == NULL)
        return no_fts5(err);
    for (int i = 0; i < POLY_WORDS_KINDS; i++)
        if (api->xFindTokenizer(api, names[i], &self->kinds[i].context, &self->kinds[i].calls) !=
            SQLITE_OK)
            return no_fts5(err);
    self->kinds[POLY_WORDS_PLAIN].arguments = plain_arguments;
    self->kinds[POLY_WORDS_PLAIN].argument_count = 2;
    self->kinds[POLY_WORDS_ENGLISH].arguments = english_arguments;
    self->kinds[POLY_WORDS_ENGLISH].argument_count = 3;
    return POLY_OK;
}

enum poly_status poly_words_open(struct poly_words **words, struct poly_error *err)
{
    struct poly_words *self = calloc(1, sizeof(*self));
    enum poly_status status;

    if (self == NULL)
        return poly_no_memory(err);
    pthread_mutex_init(&self->lock, NULL);
    status = sqlite3_open(":memory:", &self->db) == SQLITE_OK ? find_tokenizers(self, err)
                                                              : poly_no_memory(err);
    if (status == POLY_OK)
        *words = self;
    else
        poly_words_close(self);
    return status;
}

void poly_words_close(struct poly_words *words)
{
    if (words == NULL)
        return;
    sqlite3_close(words->db);
    pthread_mutex_destroy(&words->lock);
    free(words);
}

/* --- splitting --- */

struct split {
    poly_word_fn *visit;
    void *arg;
    bool ended;
};

static int take_word(void *arg, int flags, const char *word, int size, int start, int end)
{
    struct split *split = arg;
    struct poly_text text = {word, (size_t)size};

    (void)flags;
    if (text.size > WORD_MAX) { /* at the beginning of a character */
        text.size = WORD_MAX;
        while (text.size > 0 && (text.data[text.size] & 0xC0) == 0x80)
            text.size--;
    }
    if (split->visit(split->arg, text, (size_t)start, (size_t)end))
        return SQLITE_OK;
    split->ended = true;
    return SQLITE_DONE;
}

enum poly_status poly_words_split(struct poly_words *words, enum poly_words_kind kind,
                                  bool document, struct poly_text text, poly_word_fn *visit,
                                  void *arg, struct poly_error *err)
{
    struct split split = {visit, arg, false};
    fts5_tokenizer *calls = &words->kinds[kind].calls;
    Fts5Tokenizer *tokenizer = NULL;
    int code;

    pthread_mutex_lock(&words->lock);
    code = calls->xCreate(words->kinds[kind].context, (const char **)words->kinds[kind].arguments,
                          words->kinds[kind].argument_count, &tokenizer);
    pthread_mutex_unlock(&words->lock);
    if (code == SQLITE_OK)
        code = calls->xTokenize(tokenizer, &split,
                                document ? FTS5_TOKENIZE_DOCUMENT : FTS5_TOKENIZE_QUERY, text.data,
                                (int)text.size, take_word);
    if (tokenizer != NULL)
        calls->xDelete(tokenizer);
    return code == SQLITE_OK || split.ended ? POLY_OK : poly_no_memory(err);
}

/* --- quoting --- */

static void add_quoted(struct poly_buffer *out, struct poly_text word)
{
    for (size_t i = 0; i < word.size; i++) {
        if (word.data[i] == '\'' || word.data[i] == '\\')
            poly_buffer_char(out, word.data[i]);
        poly_buffer_char(out, word.data[i]);
    }
}

void poly_words_quote(struct poly_buffer *out, int place, struct poly_text word)
{
    poly_buffer_char(out, '\'');
    if (place >= 0)
        poly_buffer_printf(out, "#%d:", place);
    add_quoted(out, word);
    poly_buffer_char(out, '\'');
}

void poly_words_quote_scope(struct poly_buffer *out, int64_t domain, struct poly_text tenant)
{
    poly_buffer_printf(out, "'@%lld/", (long long)domain);
    add_quoted(out, tenant);
    poly_buffer_char(out, '\'');
}

/* --- documents --- */

void poly_vector_scope(struct poly_vector *vector, int64_t domain, struct poly_text tenant)
{
    poly_words_quote_scope(vector->out, domain, tenant);
}

static void add_place(struct poly_vector *vector, int place, struct poly_text word,
                      uint32_t position)
{
    vector->bytes += word.size + WORD_COST;
    if (vector->bytes > VECTOR_MAX)
        return;
    poly_buffer_char(vector->out, ' ');
    poly_words_quote(vector->out, place, word);
    poly_buffer_printf(vector->out, ":%u%c", position, vector->letter);
}

static bool add_word(void *arg, struct poly_text word, size_t start, size_t end)
{
    struct poly_vector *vector = arg;
    uint32_t position = ++vector->position;

    (void)start;
    (void)end;
    vector->words++;
    if (position > position_last)
        position = POSITION_MAX - 2 * vector->place;
    if (vector->bytes <= VECTOR_MAX)
        add_place(vector, -1, word, position);
    if (vector->shared && vector->bytes <= VECTOR_MAX)
        add_place(vector, (int)vector->place, word, position);
    return true;
}

enum poly_status poly_vector_add(struct poly_vector *vector, unsigned place, char letter,
                                 bool shared, struct poly_text text, struct poly_error *err)
{
    vector->place = place;
    vector->letter = letter;
    vector->shared = shared;
    vector->position++; /* no phrase goes over from one field to the next */
    return poly_words_split(vector->splitter, vector->kind, true, text, add_word, vector, err);
}

/* --- queries --- */

struct gather {
    struct poly_arena *arena;
    struct poly_text *list;
    size_t count, room;
    bool failed;
};

static bool gather_word(void *arg, struct poly_text word, size_t start, size_t end)
{
    struct gather *g = arg;
    char *copy = poly_arena_copy(g->arena, word.data, word.size);

    (void)start;
    (void)end;
    if (g->count == g->room) {
        struct poly_text *more = poly_arena_array(g->arena, 2 * g->room + 8, sizeof(*more));

        g->failed = more == NULL;
        if (more == NULL)
            return false;
        if (g->count > 0)
            memcpy(more, g->list, g->count * sizeof(*more));
        g->list = more;
        g->room = 2 * g->room + 8;
    }
    g->failed = copy == NULL;
    if (copy != NULL)
        g->list[g->count++] = (struct poly_text){copy, word.size};
    return copy != NULL;
}

enum poly_status poly_words_query(struct poly_words *words, enum poly_words_kind kind,
                                  struct poly_text text, struct poly_arena *arena,
                                  struct poly_lexemes *lexemes, struct poly_error *err)
{
    struct gather g = {.arena = arena};
    enum poly_status status = poly_words_split(words, kind, false, text, gather_word, &g, err);

    if (status == POLY_OK && g.failed)
        return poly_no_memory(err);
    if (status == POLY_OK)
        *lexemes = (struct poly_lexemes){g.list, g.count};
    return status;
}
