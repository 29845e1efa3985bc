/*
 * A search in the embedded engine.
 *
 * Every domain is scanned once; a heap keeps the best offset + limit, so the
 * matches are counted on the way and nothing is sorted that nobody sees.
 *
 * Scores of several domains stand in one list, so they must mean the same: a
 * word's rarity is counted over all domains that are asked, as if they were one
 * collection; a document's length is compared with its own domain's. Both over
 * the tenant's documents only.
 *
 * The rarity of a word must be known before the first document is scored, which
 * takes a scan of its own for each word. A query of one word needs none: its
 * rarity is the number of matches, and only scales the scores.
 */
#include <string.h>

#include "base/clock.h"
#include "stores/search/embedded_filter.h"
#include "stores/search/embedded_rank.h"

enum { PROGRESS_STEPS = 2000, SNIPPET_WORDS = 24, SNIPPET_TRIGRAMS = 64 };

struct candidate {
    double score;
    int64_t document;
    const struct scope *scope;
    bool loaded; /* key is looked up only where scores are equal, and for the page */
    char *key;
    size_t key_size, room;
    uint64_t version;
};

/* One domain of the request. */
struct scope {
    const struct poly_search_index *index;
    int64_t first, last;       /* its documents of the tenant */
    uint64_t documents, words; /* how many, and how long together */
    int *columns;              /* where each term may match */
    const char *expression;    /* NULL: nothing can match */
    struct poly_rank rank;
};

struct find {
    struct poly_embedded *self;
    const struct poly_search_generation *generation;
    struct poly_db *db;
    const struct poly_search_request *request;
    struct poly_arena *arena;
    struct poly_error *err;
    struct scope *scopes;
    size_t scope_count;
    double idf[POLY_MAX_QUERY_TERMS];
    bool scale;             /* one word: its idf comes afterwards */
    struct candidate *heap; /* the worst on top */
    size_t heap_count, heap_max;
    struct candidate spare;  /* not in the heap; its key's memory is used again */
    enum poly_status status; /* of comparisons */
    uint64_t total;
};

/* --- what to look for, and where --- */

static enum poly_status tenant_number(struct find *f, struct poly_text tenant, int64_t *number)
{
    sqlite3_stmt *statement = poly_db_prepare(f->db, f->generation->find_tenant, f->err);
    bool row = false;
    enum poly_status status;

    if (statement == NULL)
        return poly_embedded_why(f->err);
    poly_bind_text(statement, 1, tenant);
    status = poly_db_row(f->db, statement, &row, f->err);
    /* -1: nothing of this tenant has ever been indexed. Never 0, which is "no tenant". */
    *number = row ? sqlite3_column_int64(statement, 0) : -1;
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return status;
}

static enum poly_status read_stats(struct find *f, struct scope *scope, int64_t tenant)
{
    sqlite3_stmt *statement = poly_db_prepare(f->db, f->generation->stats, f->err);
    bool row = false;
    enum poly_status status;

    if (statement == NULL)
        return poly_embedded_why(f->err);
    sqlite3_bind_int64(statement, 1, scope->index->number);
    sqlite3_bind_int64(statement, 2, tenant);
    status = poly_db_row(f->db, statement, &row, f->err);
    if (row) {
        scope->documents = (uint64_t)sqlite3_column_int64(statement, 0);
        scope->words = (uint64_t)sqlite3_column_int64(statement, 1);
    }
    sqlite3_reset(statement);
    return status;
}

static enum poly_status open_scope(struct find *f, const struct poly_search_scope *asked,
                                   struct scope *scope)
{
    int64_t tenant = 0;
    enum poly_status status = POLY_OK;

    if (asked->domain->made != NULL)
        status = poly_generation_made(f->self, f->generation, f->db, asked->domain, &scope->index,
                                      f->err);
    else
        scope->index = poly_generation_index(f->generation, asked->domain->name);
    if (status != POLY_OK)
        return status;
    if (scope->index == NULL)
        return poly_fail(f->err, POLY_UNAVAILABLE,
                         "domain '%s': the search index was built without it; run 'polystore "
                         "rebuild search'",
                         asked->domain->name);
    if (scope->index->tenants != (asked->tenant.size > 0))
        return poly_fail(f->err, POLY_UNAVAILABLE,
                         "domain '%s': the search index was built %s tenants; run 'polystore "
                         "rebuild search'",
                         asked->domain->name, scope->index->tenants ? "with" : "without");
    if (scope->index->tenants)
        status = tenant_number(f, asked->tenant, &tenant);
    if (status != POLY_OK)
        return status;
    scope->first = tenant < 0 ? 0 : tenant << POLY_DOCUMENT_BITS;
    scope->last = tenant < 0 ? -1 : scope->first + ((INT64_C(1) << POLY_DOCUMENT_BITS) - 1);
    scope->columns = poly_arena_array(f->arena, f->request->query->term_count, sizeof(int));
    if (scope->columns == NULL)
        return poly_no_memory(f->err);
    return tenant < 0 ? POLY_OK : read_stats(f, scope, tenant);
}

static enum poly_status open_scopes(struct find *f)
{
    enum poly_status status = POLY_OK;

    f->scopes = poly_arena_array(f->arena, f->request->scope_count, sizeof(*f->scopes));
    if (f->scopes == NULL)
        return poly_no_memory(f->err);
    for (size_t i = 0; i < f->request->scope_count && status == POLY_OK; i++)
        status = open_scope(f, &f->request->scopes[i], &f->scopes[f->scope_count++]);
    return status;
}

/* --- where each term may match --- */

static enum poly_status fits_words(struct find *f, struct poly_text text, bool *fits)
{
    *fits = true;
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
            return POLY_OK;
    }
    return poly_rank_has_words(f->db, text, fits, f->err);
}

static bool fits_trigrams(struct poly_text text)
{
    int characters = 0;

    for (size_t i = 0; i < text.size; i++)
        characters += (text.data[i] & 0xC0) != 0x80;
    return characters >= 3;
}

/* A term that one domain cannot have matches nothing there; one that none can have is a mistake. */
static enum poly_status place_term(struct find *f, const struct poly_query_node *term)
{
    bool field = false, word = false, trigram = false;

    for (size_t i = 0; i < f->scope_count; i++) {
        struct scope *scope = &f->scopes[i];
        int column = poly_query_column(&scope->index->names, term->field);
        bool fits = false;
        enum poly_status status = POLY_OK;

        if (scope->index->trigram)
            fits = fits_trigrams(term->text);
        else
            status = fits_words(f, term->text, &fits);
        if (status != POLY_OK)
            return status;
        trigram = trigram || (scope->index->trigram && !fits);
        field = field || column != POLY_QUERY_NOWHERE;
        word = word || fits;
        scope->columns[term->index] = fits ? column : POLY_QUERY_NOWHERE;
    }
    if (!field)
        return poly_query_no_field(term, f->scopes[0].index->name, f->scope_count > 1, f->err);
    return word ? POLY_OK : poly_query_no_word(term, trigram, f->err);
}

static enum poly_status place_terms(struct find *f)
{
    enum poly_status status = POLY_OK;

    for (size_t i = 0; i < f->request->query->term_count && status == POLY_OK; i++)
        status = place_term(f, f->request->query->terms[i]);
    return status;
}

static enum poly_status place_filter(void *arg, const struct poly_filter *filter)
{
    struct find *f = arg;

    for (size_t i = 0; i < f->scope_count; i++)
        if (poly_filter_has(f->scopes[i].index, filter->column))
            return POLY_OK;
    return poly_fail(f->err, POLY_INVALID,
                     "filter on '%s': no domain asked lists it under search: filters",
                     filter->column);
}

static enum poly_status place_filters(struct find *f)
{
    enum poly_status status = poly_filter_check(f->db, f->request->where, f->err);

    return status == POLY_OK ? poly_where_each(f->request->where, place_filter, f, f->err) : status;
}

/* --- how rare each word is --- */

static enum poly_status count_matching(struct find *f, const struct scope *scope,
                                       const struct poly_query_node *term, uint64_t *count)
{
    struct poly_buffer out;
    sqlite3_stmt *statement = poly_db_prepare(f->db, scope->index->count, f->err);
    bool row = false;
    enum poly_status status;

    if (statement == NULL)
        return poly_embedded_why(f->err);
    poly_buffer_init(&out, 4 * POLY_MAX_QUERY);
    poly_query_print_term(term, scope->columns[term->index], &out);
    if (!poly_buffer_ok(&out)) {
        poly_buffer_release(&out);
        return poly_no_memory(f->err);
    }
    sqlite3_bind_text(statement, 1, out.data, (int)out.size, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 2, scope->first);
    sqlite3_bind_int64(statement, 3, scope->last);
    status = poly_db_row(f->db, statement, &row, f->err);
    if (row)
        *count += (uint64_t)sqlite3_column_int64(statement, 0);
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    poly_buffer_release(&out);
    return status;
}

static uint64_t all_documents(const struct find *f)
{
    uint64_t documents = 0;

    for (size_t i = 0; i < f->scope_count; i++)
        documents += f->scopes[i].documents;
    return documents;
}

static enum poly_status weigh_terms(struct find *f)
{
    const struct poly_query *query = f->request->query;

    f->scale = query->term_count == 1 && f->request->where == NULL;
    for (size_t i = 0; i < query->term_count; i++) {
        uint64_t matching = 0;
        enum poly_status status = POLY_OK;

        f->idf[i] = f->scale ? 1 : 0;
        if (f->scale || query->terms[i]->excluded)
            continue;
        for (size_t j = 0; j < f->scope_count && status == POLY_OK; j++)
            if (f->scopes[j].columns[i] != POLY_QUERY_NOWHERE && f->scopes[j].documents > 0)
                status = count_matching(f, &f->scopes[j], query->terms[i], &matching);
        if (status != POLY_OK)
            return status;
        f->idf[i] = poly_rank_idf(all_documents(f), matching);
    }
    return POLY_OK;
}

static enum poly_status ready_scope(struct find *f, struct scope *scope)
{
    const struct poly_search_request *r = f->request;
    struct poly_buffer out;
    size_t order[POLY_MAX_QUERY_TERMS];

    if (scope->documents == 0 || !poly_where_can_hold(r->where, poly_filter_has, scope->index))
        return POLY_OK;
    poly_buffer_init(&out, 16 * POLY_MAX_QUERY);
    scope->rank.phrase_count = poly_query_print(r->query, scope->columns, &out, order);
    if (scope->rank.phrase_count > 0 && poly_buffer_ok(&out))
        scope->expression = poly_arena_copy(f->arena, out.data, out.size);
    if (!poly_buffer_ok(&out) || (scope->rank.phrase_count > 0 && scope->expression == NULL)) {
        poly_buffer_release(&out);
        return poly_no_memory(f->err);
    }
    poly_buffer_release(&out);
    for (size_t i = 0; i < scope->rank.phrase_count; i++)
        scope->rank.idf[i] = f->idf[order[i]];
    memcpy(scope->rank.weights, scope->index->weights,
           scope->index->names.field_count * sizeof(double));
    scope->rank.average = scope->words == 0 ? 1 : (double)scope->words / (double)scope->documents;
    return POLY_OK;
}

/* --- the best --- */

static bool key_room(struct find *f, struct candidate *c, size_t size)
{
    if (size <= c->room)
        return true;
    c->room = 2 * size + 32; /* doubling: many replaced keys take no more than twice the longest */
    c->key = poly_arena_alloc(f->arena, c->room);
    return c->key != NULL;
}

static enum poly_status load_key(struct find *f, struct candidate *c)
{
    sqlite3_stmt *statement;
    struct poly_text key;
    bool row = false;
    enum poly_status status;

    if (c->loaded)
        return POLY_OK;
    statement = poly_db_prepare(f->db, f->generation->document, f->err);
    if (statement == NULL)
        return poly_embedded_why(f->err);
    sqlite3_bind_int64(statement, 1, c->document);
    status = poly_db_row(f->db, statement, &row, f->err);
    if (status == POLY_OK && !row)
        return poly_fail(f->err, POLY_CORRUPT, "search: an indexed document is missing");
    if (status != POLY_OK)
        return status;
    key = poly_column_text(statement, 0);
    if (key_room(f, c, key.size + 1)) {
        memcpy(c->key, key.data, key.size);
        c->key[key.size] = '\0';
        c->key_size = key.size;
        c->version = (uint64_t)sqlite3_column_int64(statement, 1);
        c->loaded = true;
    } else {
        status = poly_no_memory(f->err);
    }
    sqlite3_reset(statement);
    return status;
}

/* By score, then domain (scopes are in that order), then key. */
static bool better(struct find *f, struct candidate *a, struct candidate *b)
{
    int order;

    if (a->score != b->score)
        return a->score > b->score;
    if (a->scope != b->scope)
        return a->scope < b->scope;
    if (f->status == POLY_OK)
        f->status = load_key(f, a);
    if (f->status == POLY_OK)
        f->status = load_key(f, b);
    if (f->status != POLY_OK)
        return false;
    order = memcmp(a->key, b->key, a->key_size < b->key_size ? a->key_size : b->key_size);
    return order != 0 ? order < 0 : a->key_size < b->key_size;
}

static void swap(struct candidate *a, struct candidate *b)
{
    struct candidate c = *a;

    *a = *b;
    *b = c;
}

static void sift_up(struct find *f, size_t i)
{
    while (i > 0 && better(f, &f->heap[(i - 1) / 2], &f->heap[i])) {
        swap(&f->heap[(i - 1) / 2], &f->heap[i]);
        i = (i - 1) / 2;
    }
}

static void sift_down(struct find *f, size_t count)
{
    size_t i = 0;

    for (;;) {
        size_t worst = i;

        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < count; child++)
            if (better(f, &f->heap[worst], &f->heap[child]))
                worst = child;
        if (worst == i)
            return;
        swap(&f->heap[i], &f->heap[worst]);
        i = worst;
    }
}

static void offer(struct find *f, const struct scope *scope, int64_t document, double score)
{
    struct candidate *spare = &f->spare;

    spare->scope = scope;
    spare->document = document;
    spare->score = score;
    spare->loaded = false;
    if (f->heap_count < f->heap_max) {
        f->heap[f->heap_count++] = *spare;
        *spare = (struct candidate){0};
        sift_up(f, f->heap_count - 1);
    } else if (better(f, spare, &f->heap[0])) {
        swap(spare, &f->heap[0]);
        sift_down(f, f->heap_count);
    }
}

/* Best first: the worst of the heap goes to the end of the list, again and again. */
static void sort_heap(struct find *f)
{
    for (size_t count = f->heap_count; count > 1; count--) {
        swap(&f->heap[0], &f->heap[count - 1]);
        sift_down(f, count - 1);
    }
}

/* --- one domain --- */

/* With filters the text of the statement differs from query to query. */
static enum poly_status prepare_rank(struct find *f, const struct scope *scope,
                                     sqlite3_stmt **statement)
{
    const struct poly_search_request *r = f->request;
    struct poly_buffer sql;
    int code = SQLITE_NOMEM;

    if (r->where == NULL) {
        *statement = poly_db_prepare(f->db, scope->index->rank, f->err);
        return *statement == NULL ? poly_embedded_why(f->err) : POLY_OK;
    }
    poly_buffer_init(&sql, POLY_MAX_SQL);
    poly_buffer_text(&sql, scope->index->rank_filtered);
    poly_buffer_text(&sql, " AND ");
    poly_filter_print(scope->index, r->where, 5, &sql);
    if (poly_buffer_ok(&sql))
        code = sqlite3_prepare_v2(poly_db_handle(f->db), sql.data, -1, statement, NULL);
    poly_buffer_release(&sql);
    if (code != SQLITE_OK)
        return poly_db_fail(f->db, code, "search: filters", f->err);
    if (poly_filter_bind(scope->index, r->where, 5, *statement, f->arena) != POLY_OK) {
        sqlite3_finalize(*statement);
        return poly_no_memory(f->err);
    }
    return POLY_OK;
}

static enum poly_status scan(struct find *f, struct scope *scope)
{
    sqlite3_stmt *statement;
    bool row = true;
    enum poly_status status = prepare_rank(f, scope, &statement);

    if (status != POLY_OK)
        return status;
    sqlite3_bind_text(statement, 1, scope->expression, -1, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 2, scope->first);
    sqlite3_bind_int64(statement, 3, scope->last);
    poly_rank_bind(statement, 4, &scope->rank);
    for (;;) {
        double score;

        scope->rank.floor = f->heap_count < f->heap_max ? 0 : f->heap[0].score;
        status = poly_db_row(f->db, statement, &row, f->err);
        if (status != POLY_OK || !row)
            break;
        f->total++;
        score = sqlite3_column_double(statement, 1);
        if (score >= scope->rank.floor)
            offer(f, scope, sqlite3_column_int64(statement, 0), score);
        if (f->status != POLY_OK) {
            status = f->status;
            break;
        }
    }
    if (f->request->where != NULL) {
        sqlite3_finalize(statement);
    } else {
        sqlite3_reset(statement);
        sqlite3_clear_bindings(statement);
    }
    return status;
}

/* --- the page --- */

static enum poly_status copy_text(struct find *f, struct poly_text text, struct poly_text *copy)
{
    copy->data = poly_arena_copy(f->arena, text.data, text.size);
    copy->size = text.size;
    return copy->data == NULL ? poly_no_memory(f->err) : POLY_OK;
}

static enum poly_status copy_marks(struct find *f, const struct poly_search_index *index,
                                   sqlite3_stmt *statement, struct poly_hit *hit)
{
    struct poly_field *fields =
        poly_arena_array(f->arena, index->names.field_count, sizeof(*fields));
    size_t count = 0;
    enum poly_status status;

    if (fields == NULL)
        return poly_no_memory(f->err);
    status = copy_text(f, poly_column_text(statement, 0), &hit->snippet);
    for (size_t i = 0; i < index->names.field_count && status == POLY_OK; i++) {
        const char *name = index->names.fields[i];

        if (sqlite3_column_type(statement, (int)i + 1) == SQLITE_NULL)
            continue;
        fields[count].name = poly_arena_copy(f->arena, name, strlen(name));
        fields[count].value.type = POLY_TEXT;
        status = copy_text(f, poly_column_text(statement, (int)i + 1), &fields[count].value.text);
        if (status == POLY_OK && fields[count].name == NULL)
            status = poly_no_memory(f->err);
        count++;
    }
    hit->highlights = (struct poly_row){fields, count};
    return status;
}

static enum poly_status mark(struct find *f, const struct candidate *c, struct poly_hit *hit)
{
    const struct poly_search_index *index = c->scope->index;
    sqlite3_stmt *statement = poly_db_prepare(f->db, index->mark, f->err);
    bool row = false;
    enum poly_status status;

    if (statement == NULL)
        return poly_embedded_why(f->err);
    sqlite3_bind_text(statement, 1, c->scope->expression, -1, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 2, c->document);
    poly_bind_text(statement, 3, f->request->mark_open);
    poly_bind_text(statement, 4, f->request->mark_close);
    sqlite3_bind_int(statement, 5, index->trigram ? SNIPPET_TRIGRAMS : SNIPPET_WORDS);
    status = poly_db_row(f->db, statement, &row, f->err);
    if (status == POLY_OK && row)
        status = copy_marks(f, index, statement, hit);
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return status;
}

static enum poly_status fill_hit(struct find *f, struct candidate *c, struct poly_hit *hit)
{
    struct poly_text name = poly_text(c->scope->index->name);
    enum poly_status status = load_key(f, c);

    if (status == POLY_OK)
        status = copy_text(f, name, &hit->domain);
    if (status != POLY_OK)
        return status;
    hit->key = (struct poly_text){c->key, c->key_size};
    hit->version = c->version;
    hit->score = f->scale ? c->score * poly_rank_idf(all_documents(f), f->total) : c->score;
    return f->request->highlight ? mark(f, c, hit) : POLY_OK;
}

static enum poly_status fill_page(struct find *f, struct poly_hits *hits)
{
    size_t offset = f->request->offset;
    size_t count = f->heap_count > offset ? f->heap_count - offset : 0;
    struct poly_hit *list = poly_arena_array(f->arena, count + 1, sizeof(*list));
    enum poly_status status = POLY_OK;

    if (list == NULL)
        return poly_no_memory(f->err);
    for (size_t i = 0; i < count && status == POLY_OK; i++)
        status = fill_hit(f, &f->heap[offset + i], &list[i]);
    if (status == POLY_OK)
        *hits = (struct poly_hits){list, count, f->total, f->generation->number};
    return status;
}

/* --- all of it --- */

static enum poly_status find(struct find *f, struct poly_hits *hits)
{
    enum poly_status status = open_scopes(f);

    if (status == POLY_OK)
        status = place_terms(f);
    if (status == POLY_OK)
        status = place_filters(f);
    if (status == POLY_OK)
        status = weigh_terms(f);
    for (size_t i = 0; i < f->scope_count && status == POLY_OK; i++) {
        status = ready_scope(f, &f->scopes[i]);
        if (status == POLY_OK && f->scopes[i].expression != NULL)
            status = scan(f, &f->scopes[i]);
    }
    if (status != POLY_OK)
        return status;
    sort_heap(f);
    return f->status == POLY_OK ? fill_page(f, hits) : f->status;
}

static int too_late(void *deadline)
{
    return poly_clock_monotonic() > *(int64_t *)deadline;
}

enum poly_status poly_embedded_find(struct poly_embedded *self,
                                    const struct poly_search_generation *generation,
                                    struct poly_db *db, const struct poly_search_request *request,
                                    struct poly_arena *arena, struct poly_hits *hits,
                                    struct poly_error *err)
{
    struct poly_error own;
    struct find f = {.self = self,
                     .generation = generation,
                     .db = db,
                     .request = request,
                     .arena = arena,
                     .err = err == NULL ? &own : err,
                     .heap_max = (size_t)request->offset + request->limit};
    int64_t deadline = request->deadline;
    enum poly_status status;

    f.heap = poly_arena_array(arena, f.heap_max, sizeof(*f.heap));
    if (f.heap == NULL)
        return poly_no_memory(err);
    sqlite3_progress_handler(poly_db_handle(db), PROGRESS_STEPS, too_late, &deadline);
    status = find(&f, hits);
    sqlite3_progress_handler(poly_db_handle(db), 0, NULL, NULL);
    if (status == POLY_TIMEOUT)
        return poly_fail(err, POLY_TIMEOUT, "search: the deadline passed");
    return status;
}
