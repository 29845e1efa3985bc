/*
 * Why not FTS5's bm25(): it takes the number of documents, their length and
 * the frequency of a word from the whole table, so other tenants' documents
 * would move a tenant's scores, and could be guessed from them. Here these come
 * from outside, counted for the tenant alone.
 *
 * BM25 as in Robertson and Zaragoza, "The Probabilistic Relevance Framework:
 * BM25 and Beyond" (2009), with k1 = 1.2, b = 0.75; a match in a field counts
 * as often as the field's weight says.
 *
 * A document's length costs a look-up. Most matches of a common word cannot
 * reach the page that was asked for; that shows before the length is known,
 * because a document is at least as long as what matched in it.
 */
#include "stores/search/embedded_rank.h"

#include <math.h>

static const char sql_api[] = "SELECT fts5(?1)";

static const char pointer_type[] = "poly_search_rank";
/* FTS5 keeps a list of tokenizers for each connection: a name of ours in it says that this one
 * has been set up. */
static const char marker[] = "poly_search_setup";

static const double k1 = 1.2, b = 0.75;

static int count_matches(const struct poly_rank *rank, const Fts5ExtensionApi *api,
                         Fts5Context *context, double *weighted)
{
    for (size_t i = 0; i < rank->phrase_count; i++) {
        Fts5PhraseIter iterator;
        int column, offset, code;

        weighted[i] = 0;
        if (rank->idf[i] == 0)
            continue;
        code = api->xPhraseFirst(context, (int)i, &iterator, &column, &offset);
        if (code != SQLITE_OK)
            return code;
        for (; column >= 0; api->xPhraseNext(context, &iterator, &column, &offset))
            weighted[i] += column < POLY_MAX_SEARCH_FIELDS ? rank->weights[column] : 0;
    }
    return SQLITE_OK;
}

static double score(const struct poly_rank *rank, const double *weighted, double length)
{
    double norm = k1 * (1 - b + b * length / rank->average);
    double sum = 0;

    for (size_t i = 0; i < rank->phrase_count; i++)
        if (weighted[i] > 0)
            sum += rank->idf[i] * weighted[i] * (k1 + 1) / (weighted[i] + norm);
    return sum;
}

static void run_rank(const Fts5ExtensionApi *api, Fts5Context *context, sqlite3_context *result,
                     int count, sqlite3_value **values)
{
    const struct poly_rank *rank =
        count == 1 ? sqlite3_value_pointer(values[0], pointer_type) : NULL;
    double weighted[POLY_MAX_QUERY_TERMS]; /* matches of each phrase */
    int length, code;

    if (rank == NULL || api->xPhraseCount(context) != (int)rank->phrase_count) {
        sqlite3_result_error(result, "poly_search_rank is for searches only", -1);
        return;
    }
    code = count_matches(rank, api, context, weighted);
    if (code == SQLITE_OK && rank->floor > 0 && score(rank, weighted, 1) < rank->floor) {
        sqlite3_result_double(result, -1);
        return;
    }
    if (code == SQLITE_OK)
        code = api->xColumnSize(context, -1, &length);
    if (code == SQLITE_OK)
        sqlite3_result_double(result, score(rank, weighted, length));
    else
        sqlite3_result_error_code(result, code);
}

static void run_columns(const Fts5ExtensionApi *api, Fts5Context *context, sqlite3_context *result,
                        int count, sqlite3_value **values)
{
    int instances, code = api->xInstCount(context, &instances);
    sqlite3_int64 bits = 0;

    (void)count;
    (void)values;
    for (int i = 0; i < instances && code == SQLITE_OK; i++) {
        int phrase, column, offset;

        code = api->xInst(context, i, &phrase, &column, &offset);
        if (code == SQLITE_OK)
            bits |= (sqlite3_int64)1 << column;
    }
    if (code == SQLITE_OK)
        sqlite3_result_int64(result, bits);
    else
        sqlite3_result_error_code(result, code);
}

static enum poly_status find_api(struct poly_db *db, fts5_api **api, struct poly_error *err)
{
    sqlite3_stmt *statement = poly_db_prepare(db, sql_api, err);

    if (statement == NULL && err != NULL && err->status == POLY_NO_MEMORY)
        return POLY_NO_MEMORY;
    if (statement == NULL)
        return poly_fail(err, POLY_UNSUPPORTED, "search: this SQLite was built without FTS5");
    *api = NULL;
    sqlite3_bind_pointer(statement, 1, api, "fts5_api_ptr", NULL);
    sqlite3_step(statement);
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    if (*api == NULL)
        return poly_fail(err, POLY_UNSUPPORTED, "search: this SQLite was built without FTS5");
    return POLY_OK;
}

enum poly_status poly_rank_setup(struct poly_db *db, struct poly_error *err)
{
    fts5_api *api;
    fts5_tokenizer words;
    void *context;
    int code;
    enum poly_status status = find_api(db, &api, err);

    if (status != POLY_OK)
        return status;
    if (api->xFindTokenizer(api, marker, &context, &words) == SQLITE_OK && words.xCreate != NULL)
        return POLY_OK;
    code = api->xCreateFunction(api, "poly_search_rank", NULL, run_rank, NULL);
    if (code == SQLITE_OK)
        code = api->xCreateFunction(api, "poly_search_columns", NULL, run_columns, NULL);
    if (code == SQLITE_OK)
        code = api->xFindTokenizer(api, "unicode61", &context, &words);
    if (code == SQLITE_OK)
        code = api->xCreateTokenizer(api, marker, context, &words, NULL);
    return code == SQLITE_OK ? POLY_OK : poly_db_fail(db, code, "search: cannot set up FTS5", err);
}

void poly_rank_bind(sqlite3_stmt *statement, int index, struct poly_rank *rank)
{
    sqlite3_bind_pointer(statement, index, rank, pointer_type, NULL);
}

double poly_rank_idf(uint64_t documents, uint64_t matching)
{
    double all = (double)(documents > matching ? documents : matching);

    return log1p((all - (double)matching + 0.5) / ((double)matching + 0.5));
}

static int count_word(void *count, int flags, const char *word, int size, int start, int end)
{
    (void)flags;
    (void)word;
    (void)size;
    (void)start;
    (void)end;
    ++*(int *)count;
    return SQLITE_OK;
}

enum poly_status poly_rank_has_words(struct poly_db *db, struct poly_text text, bool *has,
                                     struct poly_error *err)
{
    const char *arguments[] = {"remove_diacritics", "2"};
    fts5_api *api;
    fts5_tokenizer words;
    Fts5Tokenizer *tokenizer = NULL;
    void *context;
    int code, count = 0;
    enum poly_status status = find_api(db, &api, err);

    if (status != POLY_OK)
        return status;
    code = api->xFindTokenizer(api, "unicode61", &context, &words);
    if (code == SQLITE_OK)
        code = words.xCreate(context, arguments, 2, &tokenizer);
    if (code == SQLITE_OK)
        code = words.xTokenize(tokenizer, &count, FTS5_TOKENIZE_QUERY, text.data, (int)text.size,
                               count_word);
    if (tokenizer != NULL)
        words.xDelete(tokenizer);
    if (code != SQLITE_OK)
        return poly_db_fail(db, code, "search: cannot split words", err);
    *has = count > 0;
    return POLY_OK;
}
