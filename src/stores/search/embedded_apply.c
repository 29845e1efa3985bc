/*
 * From records to documents, in three passes over a batch:
 *
 *  1. look at every record: is its data JSON? A bad one is found before anything is written.
 *  2. find or make each record's document, in the order of the log. A document that
 *     has seen this position or a later one drops the change.
 *  3. write the text, sorted by document, and only the last change of each: FTS5
 *     gathers in memory what comes in ascending order, and starts a new segment on
 *     disk at every step back, which with many tenants would be at every record.
 *
 * Then the tenants' counts and the position, in the same transaction.
 */
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "followers/document.h"
#include "stores/search/embedded.h"

struct change {
    const struct poly_search_index *index;
    const struct poly_record *record;
    int64_t document;
    size_t sequence;
    bool live; /* the document's text was in the index before the batch */
    bool put;
};

/* What a batch does to the counts of one tenant in one domain. */
struct delta {
    const struct poly_search_index *index;
    int64_t tenant;
    int64_t documents, words;
    int64_t first, last; /* documents that were put in a row, and are not counted yet; 0: none */
};

struct work {
    struct poly_embedded *self;
    struct poly_db *db;
    const struct poly_search_generation *generation;
    struct poly_batch *batch;
    struct poly_arena *arena;
    const struct poly_search_index **indexes; /* that may have changes */
    size_t index_count;
    struct change *changes;
    size_t count;
    /* the last tenant that was looked up: records of one come in a row */
    struct poly_text tenant_name;
    int64_t tenant;
    /* the last document made in that tenant's range */
    int64_t last_tenant, last_document;
    struct delta delta;
    struct poly_error *err;
};

/* --- pass 1: which records, and are they sound? --- */

static bool concerns(const struct poly_search_index *index, const struct poly_record *record)
{
    return poly_document_concerns(index->source, index->stream, record) &&
           (!index->is_made || poly_domain_has(index->made, record->position));
}

/* Those of the declared domains, and of the made ones those that the batch has records of. */
static enum poly_status list_indexes(struct work *w)
{
    const struct poly_search_generation *g = w->generation;
    struct poly_search_met met;
    enum poly_status status = poly_generation_meet(w->self, g, w->db, w->batch, &met, w->err);

    w->indexes = poly_arena_array(w->arena, POLY_MAX_DOMAINS + met.count, sizeof(*w->indexes));
    if (status != POLY_OK || w->indexes == NULL)
        return status != POLY_OK ? status : poly_no_memory(w->err);
    for (size_t i = 0; i < g->index_count; i++)
        if (!g->indexes[i]->is_made)
            w->indexes[w->index_count++] = g->indexes[i];
    for (size_t i = 0; i < met.count; i++)
        w->indexes[w->index_count++] = met.list[i];
    return POLY_OK;
}

static enum poly_status collect(struct work *w, uint64_t applied)
{
    size_t room = 0;

    for (size_t i = 0; i < w->batch->count; i++)
        for (size_t j = 0; j < w->index_count; j++)
            room += w->batch->records[i].position > applied &&
                    concerns(w->indexes[j], &w->batch->records[i]);
    w->changes = poly_arena_array(w->arena, room + 1, sizeof(*w->changes));
    if (w->changes == NULL)
        return poly_no_memory(w->err);
    for (size_t i = 0; i < w->batch->count && w->count < room; i++) {
        const struct poly_record *record = &w->batch->records[i];
        size_t before = w->count;
        enum poly_status status = POLY_OK;

        if (record->position <= applied)
            continue;
        for (size_t j = 0; j < w->index_count; j++)
            if (concerns(w->indexes[j], record))
                w->changes[w->count++] = (struct change){.index = w->indexes[j], .record = record};
        if (w->count > before)
            status = poly_document_check("search", w->batch, record, w->err);
        if (status != POLY_OK)
            return status;
    }
    return POLY_OK;
}

/* --- pass 2: documents --- */

static enum poly_status add_tenant(struct work *w, struct poly_text name, int64_t *number)
{
    sqlite3_stmt *statement = poly_db_prepare(w->db, w->generation->add_tenant, w->err);
    bool row = false;
    enum poly_status status;

    if (statement == NULL)
        return poly_embedded_why(w->err);
    poly_bind_text(statement, 1, name);
    status = poly_db_row(w->db, statement, &row, w->err);
    if (status == POLY_OK && row) {
        *number = sqlite3_column_int64(statement, 0);
        status = poly_db_done(w->db, statement, w->err);
    }
    if (status == POLY_OK && *number >= POLY_MAX_TENANT_NUMBER)
        status = poly_fail(w->err, POLY_LIMIT, "search: more than %lld tenants",
                           (long long)POLY_MAX_TENANT_NUMBER);
    return status;
}

/* 0: no tenant. Numbers are given out in the order in which tenants turn up. */
static enum poly_status tenant_number(struct work *w, struct poly_text name, int64_t *number)
{
    sqlite3_stmt *statement;
    bool row = false;
    enum poly_status status;

    *number = 0;
    if (name.size == 0)
        return POLY_OK;
    if (w->tenant_name.size == name.size &&
        memcmp(w->tenant_name.data, name.data, name.size) == 0) {
        *number = w->tenant;
        return POLY_OK;
    }
    statement = poly_db_prepare(w->db, w->generation->find_tenant, w->err);
    if (statement == NULL)
        return poly_embedded_why(w->err);
    poly_bind_text(statement, 1, name);
    status = poly_db_row(w->db, statement, &row, w->err);
    if (status == POLY_OK && row)
        *number = sqlite3_column_int64(statement, 0);
    sqlite3_reset(statement);
    if (status == POLY_OK && !row)
        status = add_tenant(w, name, number);
    w->tenant_name = name;
    w->tenant = *number;
    return status;
}

/* The number for a tenant's next document. */
static enum poly_status next_document(struct work *w, int64_t tenant, int64_t *document)
{
    int64_t first = tenant << POLY_DOCUMENT_BITS;
    int64_t last = first + ((INT64_C(1) << POLY_DOCUMENT_BITS) - 1);
    sqlite3_stmt *statement;
    bool row = false;
    enum poly_status status = POLY_OK;

    if (w->last_tenant != tenant) {
        statement = poly_db_prepare(w->db, w->generation->last_document, w->err);
        if (statement == NULL)
            return poly_embedded_why(w->err);
        sqlite3_bind_int64(statement, 1, first);
        sqlite3_bind_int64(statement, 2, last);
        status = poly_db_row(w->db, statement, &row, w->err);
        w->last_document = row && sqlite3_column_type(statement, 0) != SQLITE_NULL
                               ? sqlite3_column_int64(statement, 0)
                               : first;
        w->last_tenant = tenant;
        sqlite3_reset(statement);
    }
    if (status == POLY_OK && w->last_document == last)
        return poly_fail(w->err, POLY_LIMIT, "search: a tenant has too many documents");
    *document = w->last_document + 1;
    return status;
}

/* The columns of a document's row, as parameters beyond so many others. */
static void bind_document(sqlite3_stmt *statement, int others, const struct change *change,
                          int64_t tenant, struct poly_text key)
{
    sqlite3_bind_int64(statement, others + 1, change->document);
    sqlite3_bind_int64(statement, others + 2, change->index->number);
    sqlite3_bind_int64(statement, others + 3, tenant);
    poly_bind_text(statement, others + 4, key);
    sqlite3_bind_int64(statement, others + 5, (sqlite3_int64)change->record->position);
    sqlite3_bind_int64(statement, others + 6, (sqlite3_int64)change->record->version);
    sqlite3_bind_int(statement, others + 7, !change->put);
}

static enum poly_status add_document(struct work *w, struct change *change, int64_t tenant,
                                     struct poly_text key, bool *added)
{
    sqlite3_stmt *statement;
    enum poly_status status = next_document(w, tenant, &change->document);

    if (status != POLY_OK)
        return status;
    statement = poly_db_prepare(w->db, w->generation->add_document, w->err);
    if (statement == NULL)
        return poly_embedded_why(w->err);
    bind_document(statement, 0, change, tenant, key);
    status = poly_db_done(w->db, statement, w->err);
    *added = status == POLY_OK && sqlite3_changes64(poly_db_handle(w->db)) > 0;
    if (*added)
        w->last_document = change->document;
    return status;
}

/* *late: the document has seen this change, or a later one. */
static enum poly_status find_document(struct work *w, struct change *change, int64_t tenant,
                                      struct poly_text key, bool *late)
{
    sqlite3_stmt *statement = poly_db_prepare(w->db, w->generation->find_document, w->err);
    bool row = false;
    enum poly_status status;

    if (statement == NULL)
        return poly_embedded_why(w->err);
    sqlite3_bind_int64(statement, 1, change->index->number);
    sqlite3_bind_int64(statement, 2, tenant);
    poly_bind_text(statement, 3, key);
    status = poly_db_row(w->db, statement, &row, w->err);
    if (status == POLY_OK && !row)
        return poly_fail(w->err, POLY_CORRUPT, "search: a document is there and is not");
    if (status == POLY_OK) {
        change->document = sqlite3_column_int64(statement, 0);
        *late = (uint64_t)sqlite3_column_int64(statement, 1) >= change->record->position;
        change->live = sqlite3_column_int(statement, 2) == 0;
    }
    sqlite3_reset(statement);
    return status;
}

static enum poly_status change_document(struct work *w, const struct change *change)
{
    sqlite3_stmt *statement = poly_db_prepare(w->db, w->generation->change_document, w->err);

    if (statement == NULL)
        return poly_embedded_why(w->err);
    sqlite3_bind_int64(statement, 1, change->document);
    sqlite3_bind_int64(statement, 2, (sqlite3_int64)change->record->position);
    sqlite3_bind_int64(statement, 3, (sqlite3_int64)change->record->version);
    sqlite3_bind_int(statement, 4, !change->put);
    return poly_db_done(w->db, statement, w->err);
}

/* Of a change: whose document, under which key. */
static enum poly_status name_document(struct work *w, struct change *change, int64_t *tenant,
                                      struct poly_text *key)
{
    enum poly_status status = POLY_OK;

    *tenant = 0;
    change->put = !poly_document_removes(change->record);
    if (change->index->tenants)
        status = tenant_number(w, change->record->tenant, tenant);
    if (status == POLY_OK)
        status = poly_document_key(change->record, change->index->stream, w->arena, key, w->err);
    return status;
}

/* added: a row may have been made for this change; if not, one is made. */
static enum poly_status resolve(struct work *w, struct change *change, bool added, bool *late)
{
    int64_t tenant, number = change->document;
    struct poly_text key;
    bool made = false;
    enum poly_status status = name_document(w, change, &tenant, &key);

    *late = false;
    if (status == POLY_OK && !added)
        status = add_document(w, change, tenant, key, &made);
    if (status != POLY_OK || made)
        return status;
    status = find_document(w, change, tenant, key, late);
    if (status == POLY_OK && added && change->document == number)
        *late = change->live = false; /* what was found is its own row */
    else if (status == POLY_OK && !*late)
        status = change_document(w, change);
    return status;
}

/* Changes of one tenant, enough for one statement? */
static bool in_a_row(const struct work *w, size_t first)
{
    const struct change *changes = w->changes + first;

    if (w->count - first < POLY_SEARCH_ROWS)
        return false;
    for (size_t i = 1; i < POLY_SEARCH_ROWS; i++) {
        struct poly_text tenant = changes[0].record->tenant, other = changes[i].record->tenant;

        if (changes[i].index->tenants != changes[0].index->tenants || other.size != tenant.size ||
            memcmp(other.data, tenant.data, tenant.size) != 0)
            return false;
    }
    return true;
}

/*
 * All of a row as new documents, by one statement, which costs two thirds of one each. *all: they
 * were new. Else some have no row of their own, and their numbers are not given again.
 */
static enum poly_status add_row(struct work *w, struct change *changes, bool *all)
{
    sqlite3_stmt *statement = poly_db_prepare(w->db, w->generation->add_documents, w->err);
    enum poly_status status = POLY_OK;

    if (statement == NULL)
        return poly_embedded_why(w->err);
    for (int i = 0; i < POLY_SEARCH_ROWS && status == POLY_OK; i++) {
        struct poly_text key;
        int64_t tenant;

        status = name_document(w, &changes[i], &tenant, &key);
        if (status == POLY_OK)
            status = next_document(w, tenant, &changes[i].document);
        if (status != POLY_OK)
            return status;
        w->last_document = changes[i].document;
        bind_document(statement, i * POLY_SEARCH_COLUMNS, &changes[i], tenant, key);
    }
    status = poly_db_done(w->db, statement, w->err);
    *all = sqlite3_changes64(poly_db_handle(w->db)) == POLY_SEARCH_ROWS;
    return status;
}

/* What remains is what is to be done. */
static enum poly_status resolve_all(struct work *w)
{
    size_t kept = 0, rows = 0; /* rows: up to here one may have been made */
    bool all = false;          /* … and has been, for each */

    for (size_t i = 0; i < w->count; i++) {
        enum poly_status status = POLY_OK;
        bool late = false;

        if (i >= rows && in_a_row(w, i)) {
            status = add_row(w, &w->changes[i], &all);
            rows = i + POLY_SEARCH_ROWS;
        }
        if (status == POLY_OK && (i >= rows || !all))
            status = resolve(w, &w->changes[i], i < rows, &late);
        if (status != POLY_OK)
            return status;
        w->changes[i].sequence = i;
        if (!late)
            w->changes[kept++] = w->changes[i];
    }
    w->count = kept;
    return POLY_OK;
}

/* --- pass 3: text --- */

/* FTS5 keeps a document's words for each column, as its varints (seven bits a byte, high first). */
static int64_t sum_lengths(const unsigned char *bytes, int size)
{
    int64_t sum = 0, value = 0;

    for (int i = 0; i < size; i++) {
        value = value << 7 | (bytes[i] & 0x7f);
        if ((bytes[i] & 0x80) == 0) {
            sum += value;
            value = 0;
        }
    }
    return sum;
}

/* Of the documents from first to last, all of which are of the delta's. */
static enum poly_status count_words(struct work *w, int64_t first, int64_t last, int sign)
{
    sqlite3_stmt *statement = poly_db_prepare(w->db, w->delta.index->lengths, w->err);
    bool row = true;
    enum poly_status status;

    if (statement == NULL)
        return poly_embedded_why(w->err);
    sqlite3_bind_int64(statement, 1, first);
    sqlite3_bind_int64(statement, 2, last);
    while ((status = poly_db_row(w->db, statement, &row, w->err)) == POLY_OK && row) {
        int64_t words =
            sum_lengths(sqlite3_column_blob(statement, 0), sqlite3_column_bytes(statement, 0));

        w->delta.words += sign * words;
        w->delta.documents += sign;
    }
    return status;
}

/* New documents have numbers in a row, and one look at all of them costs a fraction of one each. */
static enum poly_status count_put(struct work *w)
{
    struct delta *d = &w->delta;
    enum poly_status status = d->first == 0 ? POLY_OK : count_words(w, d->first, d->last, 1);

    d->first = d->last = 0;
    return status;
}

static enum poly_status count_later(struct work *w, int64_t document)
{
    struct delta *d = &w->delta;
    enum poly_status status = POLY_OK;

    if (d->first == 0 || document != d->last + 1) {
        status = count_put(w);
        d->first = document;
    }
    d->last = document;
    return status;
}

static enum poly_status flush_delta(struct work *w)
{
    struct delta *d = &w->delta;
    sqlite3_stmt *statement;
    enum poly_status status = count_put(w);

    if (status != POLY_OK || (d->documents == 0 && d->words == 0))
        return status;
    statement = poly_db_prepare(w->db, w->generation->add_stats, w->err);
    if (statement == NULL)
        return poly_embedded_why(w->err);
    sqlite3_bind_int64(statement, 1, d->index->number);
    sqlite3_bind_int64(statement, 2, d->tenant);
    sqlite3_bind_int64(statement, 3, d->documents);
    sqlite3_bind_int64(statement, 4, d->words);
    return poly_db_done(w->db, statement, w->err);
}

static enum poly_status run_on(struct work *w, const char *sql, int64_t document)
{
    sqlite3_stmt *statement = poly_db_prepare(w->db, sql, w->err);

    if (statement == NULL)
        return poly_embedded_why(w->err);
    sqlite3_bind_int64(statement, 1, document);
    return poly_db_done(w->db, statement, w->err);
}

static enum poly_status remove_text(struct work *w, const struct change *change, bool for_good)
{
    enum poly_status status = count_words(w, change->document, change->document, -1);

    if (status == POLY_OK)
        status = run_on(w, change->index->remove, change->document);
    if (status == POLY_OK && for_good && change->index->names.filter_count > 0)
        status = run_on(w, change->index->remove_filters, change->document);
    return status;
}

static enum poly_status put_filters(struct work *w, const struct change *change,
                                    const struct poly_value *filters)
{
    sqlite3_stmt *statement;

    if (change->index->names.filter_count == 0)
        return POLY_OK;
    statement = poly_db_prepare(w->db, change->index->put_filters, w->err);
    if (statement == NULL)
        return poly_embedded_why(w->err);
    sqlite3_bind_int64(statement, 1, change->document);
    for (size_t i = 0; i < change->index->names.filter_count; i++)
        poly_bind_value(statement, (int)i + 2, &filters[i]);
    return poly_db_done(w->db, statement, w->err);
}

/* What is to be indexed of a record. */
struct content {
    struct poly_text texts[POLY_MAX_SEARCH_FIELDS];
    struct poly_value filters[POLY_MAX_COLUMNS];
};

static enum poly_status extract(struct work *w, const struct change *change,
                                struct content *content)
{
    struct poly_text json =
        poly_document_has_json(change->record) ? change->record->data.text : poly_text("");

    return poly_extract(json, &change->index->names, w->arena, content->texts, content->filters,
                        w->err);
}

/* A change of other columns leaves the text as it is, and to index it again is most of the work. */
static enum poly_status compare_text(struct work *w, const struct change *change,
                                     const struct content *content, bool *same)
{
    sqlite3_stmt *statement = poly_db_prepare(w->db, change->index->texts, w->err);
    bool row = false;
    enum poly_status status;

    if (statement == NULL)
        return poly_embedded_why(w->err);
    sqlite3_bind_int64(statement, 1, change->document);
    status = poly_db_row(w->db, statement, &row, w->err);
    *same = status == POLY_OK && row;
    for (size_t i = 0; *same && i < change->index->names.field_count; i++) {
        struct poly_text new = content->texts[i], old = poly_column_text(statement, (int)i);
        bool none = sqlite3_column_type(statement, (int)i) == SQLITE_NULL;

        *same = none ? new.data == NULL
                     : new.data != NULL &&new.size == old.size &&
                           (old.size == 0 || memcmp(new.data, old.data, old.size) == 0);
    }
    sqlite3_reset(statement);
    return status;
}

static enum poly_status put_text(struct work *w, const struct change *change,
                                 const struct content *content)
{
    const struct poly_search_index *index = change->index;
    sqlite3_stmt *statement = poly_db_prepare(w->db, index->insert, w->err);
    enum poly_status status;

    if (statement == NULL)
        return poly_embedded_why(w->err);
    sqlite3_bind_int64(statement, 1, change->document);
    for (size_t i = 0; i < index->names.field_count; i++)
        if (content->texts[i].data != NULL)
            poly_bind_text(statement, (int)i + 2, content->texts[i]);
    status = poly_db_done(w->db, statement, w->err);
    return status == POLY_OK ? count_later(w, change->document) : status;
}

/* The last change of a document, which was in the index before or not. */
static enum poly_status put_document(struct work *w, const struct change *change, bool live)
{
    struct content content;
    bool same = false;
    enum poly_status status = extract(w, change, &content);

    if (status == POLY_OK && live)
        status = compare_text(w, change, &content, &same);
    if (status == POLY_OK && live && !same)
        status = remove_text(w, change, false);
    if (status == POLY_OK && !same)
        status = put_text(w, change, &content);
    return status == POLY_OK ? put_filters(w, change, content.filters) : status;
}

/* first to last: the changes of one document. */
static enum poly_status write_document(struct work *w, const struct change *first,
                                       const struct change *last)
{
    int64_t tenant = first->document >> POLY_DOCUMENT_BITS;
    struct poly_arena_mark mark = poly_arena_mark(w->arena);
    enum poly_status status = POLY_OK;

    if (w->delta.index != first->index || w->delta.tenant != tenant) {
        status = flush_delta(w);
        w->delta = (struct delta){.index = first->index, .tenant = tenant};
    }
    if (status == POLY_OK && last->put)
        status = put_document(w, last, first->live);
    else if (status == POLY_OK && first->live)
        status = remove_text(w, first, true);
    poly_arena_rewind(w->arena, mark);
    if (status == POLY_INVALID || status == POLY_LIMIT)
        return poly_document_poison("search", w->batch, last->record, status, w->err);
    return status;
}

static int by_document(const void *left, const void *right)
{
    const struct change *a = left, *b = right;

    if (a->index->number != b->index->number)
        return a->index->number < b->index->number ? -1 : 1;
    if (a->document != b->document)
        return a->document < b->document ? -1 : 1;
    return a->sequence < b->sequence ? -1 : 1;
}

static enum poly_status write_all(struct work *w)
{
    enum poly_status status = POLY_OK;
    size_t next;

    qsort(w->changes, w->count, sizeof(*w->changes), by_document);
    for (size_t i = 0; i < w->count && status == POLY_OK; i = next) {
        for (next = i + 1; next < w->count; next++)
            if (w->changes[next].document != w->changes[i].document ||
                w->changes[next].index != w->changes[i].index)
                break;
        status = write_document(w, &w->changes[i], &w->changes[next - 1]);
    }
    return status == POLY_OK ? flush_delta(w) : status;
}

/* --- all of it --- */

static enum poly_status read_applied(struct work *w, uint64_t *applied)
{
    sqlite3_stmt *statement = poly_db_prepare(w->db, w->generation->applied, w->err);
    bool row = false;
    enum poly_status status;

    if (statement == NULL)
        return poly_embedded_why(w->err);
    status = poly_db_row(w->db, statement, &row, w->err);
    if (status == POLY_OK && !row)
        return poly_fail(w->err, POLY_CORRUPT, "search: the index has lost its position");
    if (status == POLY_OK)
        *applied = (uint64_t)sqlite3_column_int64(statement, 0);
    sqlite3_reset(statement);
    return status;
}

enum poly_status poly_embedded_apply(struct poly_embedded *self, struct poly_db *db,
                                     const struct poly_search_generation *generation,
                                     struct poly_batch *batch, struct poly_error *err)
{
    struct poly_error own;
    struct work w = {.self = self,
                     .db = db,
                     .generation = generation,
                     .batch = batch,
                     .arena = self->arena,
                     .last_tenant = -1,
                     .err = err == NULL ? &own : err};
    uint64_t applied = 0;
    enum poly_status status = read_applied(&w, &applied);

    if (status != POLY_OK || batch->last <= applied)
        return status;
    status = list_indexes(&w);
    if (status == POLY_OK)
        status = collect(&w, applied);
    if (status == POLY_OK)
        status = resolve_all(&w);
    if (status == POLY_OK)
        status = write_all(&w);
    if (status == POLY_OK)
        status = run_on(&w, generation->set_applied, (int64_t)batch->last);
    return status;
}
