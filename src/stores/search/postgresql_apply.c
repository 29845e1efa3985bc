/*
 * A batch becomes one statement: lists of documents, which the server joins
 * with what it has.
 *
 * Only the last change of a document in a batch is sent: what comes before it
 * would be seen by nobody.
 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "followers/document.h"
#include "followers/postgresql_filter.h"
#include "stores/search/postgresql.h"

enum { VECTORS_MAX = 1 << 30 };

/* What is sent of a document; the texts are offsets into .text until all are there. */
struct piece {
    size_t words, words_size, filters, filters_size, fields, fields_size;
};

struct work {
    struct poly_ts *self;
    const struct poly_ts_generation *generation;
    struct poly_pg *pg;
    struct poly_batch *batch;
    struct poly_arena *arena;
    struct poly_follower_change *changes;
    size_t count;
    struct poly_buffer text;
    struct poly_error *err;
};

/* --- what is sent of them --- */

/* {"a","b",NULL}: PostgreSQL's text of an array. */
static void print_fields(struct poly_buffer *out, const struct poly_text *texts, size_t count)
{
    poly_buffer_char(out, '{');
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            poly_buffer_char(out, ',');
        if (texts[i].data == NULL) {
            poly_buffer_text(out, "NULL");
            continue;
        }
        poly_buffer_char(out, '"');
        for (size_t from = 0, at = 0; at <= texts[i].size; at++) {
            bool special =
                at < texts[i].size && (texts[i].data[at] == '"' || texts[i].data[at] == '\\');

            if (at < texts[i].size && !special)
                continue;
            poly_buffer_add(out, texts[i].data + from, at - from);
            if (special)
                poly_buffer_char(out, '\\');
            from = at;
        }
        poly_buffer_char(out, '"');
    }
    poly_buffer_char(out, '}');
}

static enum poly_status print_words(struct work *w, const struct poly_follower_change *change,
                                    const struct poly_text *texts, uint32_t *length)
{
    const struct poly_ts_index *index = (const struct poly_ts_index *)change->source;
    struct poly_vector vector = {.splitter = w->self->words, .kind = index->kind, .out = &w->text};
    enum poly_status status = POLY_OK;

    poly_vector_scope(&vector, index->base.number, change->tenant);
    for (size_t i = 0; i < index->names.field_count && status == POLY_OK; i++)
        if (texts[i].data != NULL)
            status = poly_vector_add(&vector, (unsigned)i, index->letters[i], index->shared[i],
                                     texts[i], w->err);
    *length = vector.words;
    return status;
}

static enum poly_status print_document(struct work *w, const struct poly_follower_change *change,
                                       struct piece *piece, int64_t *length)
{
    const struct poly_ts_index *index = (const struct poly_ts_index *)change->source;
    struct poly_text json =
        poly_document_has_json(change->record) ? change->record->data.text : poly_text("");
    struct poly_text texts[POLY_MAX_SEARCH_FIELDS];
    struct poly_value filters[POLY_MAX_COLUMNS];
    struct poly_buffer *out = &w->text;
    uint32_t words = 0;
    enum poly_status status = poly_extract(json, &index->names, w->arena, texts, filters, w->err);

    if (status != POLY_OK)
        return poly_document_poison("search", w->batch, change->record, status, w->err);
    piece->words = out->size;
    status = print_words(w, change, texts, &words);
    piece->words_size = out->size - piece->words;
    *length = words;
    piece->filters = out->size;
    poly_follower_print_values(out, filters, index->names.filter_count);
    piece->filters_size = out->size - piece->filters;
    piece->fields = out->size;
    print_fields(out, texts, index->names.field_count);
    piece->fields_size = out->size - piece->fields;
    if (status == POLY_OK && !poly_buffer_ok(out))
        return poly_no_memory(w->err);
    return status;
}

/* --- sending --- */

struct lists {
    int64_t *domains, *positions, *versions, *deleted, *lengths;
    struct poly_text *tenants, *keys, *words, *filters, *fields;
    struct piece *pieces;
};

static bool make_lists(struct work *w, struct lists *l)
{
    int64_t *numbers = poly_arena_array(w->arena, 5 * w->count + 1, sizeof(*numbers));
    struct poly_text *texts = poly_arena_array(w->arena, 5 * w->count + 1, sizeof(*texts));

    l->pieces = poly_arena_array(w->arena, w->count + 1, sizeof(*l->pieces));
    if (numbers == NULL || texts == NULL || l->pieces == NULL)
        return false;
    l->domains = numbers;
    l->positions = numbers + w->count;
    l->versions = numbers + 2 * w->count;
    l->deleted = numbers + 3 * w->count;
    l->lengths = numbers + 4 * w->count;
    l->tenants = texts;
    l->keys = texts + w->count;
    l->words = texts + 2 * w->count;
    l->filters = texts + 3 * w->count;
    l->fields = texts + 4 * w->count;
    return true;
}

static enum poly_status fill_lists(struct work *w, struct lists *l)
{
    enum poly_status status = POLY_OK;

    for (size_t i = 0; i < w->count && status == POLY_OK; i++) {
        const struct poly_follower_change *change = &w->changes[i];

        l->domains[i] = change->source->number;
        l->tenants[i] = change->tenant;
        l->keys[i] = change->key;
        l->positions[i] = (int64_t)change->record->position;
        l->versions[i] = (int64_t)change->record->version;
        l->deleted[i] = poly_document_removes(change->record);
        if (l->deleted[i] == 0)
            status = print_document(w, change, &l->pieces[i], &l->lengths[i]);
    }
    for (size_t i = 0; i < w->count && status == POLY_OK; i++) {
        const struct piece *piece = &l->pieces[i];

        l->words[i] = (struct poly_text){w->text.data + piece->words, piece->words_size};
        l->filters[i] = (struct poly_text){w->text.data + piece->filters, piece->filters_size};
        l->fields[i] = (struct poly_text){w->text.data + piece->fields, piece->fields_size};
        if (w->text.data == NULL || piece->words_size == 0)
            l->words[i] = l->filters[i] = l->fields[i] = poly_text("");
    }
    return status;
}

static enum poly_status queue_documents(struct work *w, const struct lists *l)
{
    struct poly_pg_params params;
    int count = (int)w->count;

    if (count == 0)
        return POLY_OK;
    poly_pg_params(&params);
    poly_pg_add_ints(&params, l->domains, count);
    poly_pg_add_texts(&params, l->tenants, count);
    poly_pg_add_texts(&params, l->keys, count);
    poly_pg_add_ints(&params, l->positions, count);
    poly_pg_add_ints(&params, l->versions, count);
    poly_pg_add_ints(&params, l->deleted, count);
    poly_pg_add_ints(&params, l->lengths, count);
    poly_pg_add_texts(&params, l->words, count);
    poly_pg_add_texts(&params, l->filters, count);
    poly_pg_add_texts(&params, l->fields, count);
    return poly_pg_queue(w->pg, w->generation->put, &params, w->err);
}

/* Effects, position and COMMIT in one round trip. */
static enum poly_status write_all(struct work *w)
{
    struct lists lists;
    enum poly_status status;

    if (!make_lists(w, &lists))
        return poly_no_memory(w->err);
    status = fill_lists(w, &lists);
    if (status == POLY_OK)
        status = queue_documents(w, &lists);
    return status == POLY_OK ? poly_follower_finish(&w->self->base, w->pg,
                                                    w->generation->base.number, w->batch, w->err)
                             : status;
}

/* --- all of it --- */

enum poly_status poly_ts_apply(struct poly_follower *self,
                               const struct poly_follower_generation *generation,
                               struct poly_pg *pg, struct poly_batch *batch, struct poly_error *err)
{
    struct poly_error own;
    struct work w = {.self = (struct poly_ts *)self,
                     .generation = (const struct poly_ts_generation *)generation,
                     .pg = pg,
                     .batch = batch,
                     .arena = self->arena,
                     .err = err == NULL ? &own : err};
    uint64_t applied = 0;
    enum poly_status status =
        poly_follower_begin(self, pg, generation->number, batch, &applied, w.err);

    if (status != POLY_OK || batch->last <= applied)
        return status;
    poly_buffer_init(&w.text, VECTORS_MAX);
    status = poly_follower_changes(self, generation, batch, applied, &w.changes, &w.count, w.err);
    if (status == POLY_OK)
        status = write_all(&w);
    poly_buffer_release(&w.text);
    return status;
}
