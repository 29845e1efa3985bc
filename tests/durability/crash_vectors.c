/*
 * Vectors: their index lives in memory, and what is saved of it is beside the database. After every
 * crash it has all that the log has, and is as one that is built from the log alone. The worker
 * saves at every look here, so that most crashes find something to go on with.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crash_more.h"
#include "stores/vector/embedded.h"

#define DOMAINS                                                                                    \
    "domains:\n"                                                                                   \
    "  step: {stream: step, vector: {field: at, dimensions: 2, filters: [n]}}\n"                   \
    "  other: {stream: other, vector: {field: at, dimensions: 2, metric: l2}}\n"

static const char together[] = DOMAINS;
static const char following[] = "stores: {vector: {placement: follower}}\n" DOMAINS;

static const float corner[] = {1, 1};
static const char *const names[] = {"step", "other", NULL};

static enum poly_status add(struct crash_run *run, struct poly_txn *txn, const char *stream,
                            unsigned number, unsigned count)
{
    enum poly_status status = POLY_OK;
    char data[100];

    for (unsigned i = 0; i < count && status == POLY_OK; i++) {
        struct poly_event event = {.type = "Counted"};

        snprintf(data, sizeof(data), "{\"n\": %u, \"at\": [%u, %u]}", number, number, i + 1);
        event.data = poly_json(data);
        status = poly_append(txn, stream, POLY_ANY, &event, 1, &run->err);
    }
    return status;
}

static enum poly_status step(struct crash_run *run, unsigned number)
{
    struct poly_txn *txn = NULL;
    enum poly_status status;

    poly_control_hurry = true;
    status = poly_txn_begin(run->session, NULL, &txn, &run->err);
    if (status == POLY_OK)
        status = add(run, txn, "step-1", number, 1);
    if (status == POLY_OK)
        status = add(run, txn, "other-1", number, 2);
    if (status == POLY_OK)
        status = poly_txn_commit(txn, NULL, &run->err);
    else if (txn != NULL)
        poly_txn_abort(txn);
    usleep(number % 3 * 3000); /* to no end but that the worker gets its turn now and then */
    return status;
}

static enum poly_status fill(struct crash_run *run)
{
    enum poly_status status = POLY_OK;

    for (unsigned i = 1; i <= 4 && status == POLY_OK; i++) {
        struct poly_txn *txn = NULL;

        status = poly_txn_begin(run->session, NULL, &txn, &run->err);
        if (status == POLY_OK)
            status = add(run, txn, "other-2", i, 2);
        if (status == POLY_OK)
            status = poly_txn_commit(txn, NULL, &run->err);
    }
    return status;
}

static enum poly_status rebuild_step(struct crash_run *run, unsigned number)
{
    enum poly_status status = step(run, number);

    return status == POLY_OK ? poly_rebuild(run->session, "vector", NULL, &run->err) : status;
}

/* A collection with several vectors and text: every second one. */
static bool is_wide(const char *domain)
{
    return *domain == 'c' && strtoul(domain + 1, NULL, 10) % 2 == 0;
}

/* Everything in the index, nearest first; the caller frees it. */
static char *all(struct crash_run *run, const char *domain, size_t *count)
{
    const char *const only[] = {domain, NULL};
    struct poly_vector_query query = {.domains = only,
                                      .name = is_wide(domain) ? "near" : NULL,
                                      .vector = corner,
                                      .dimensions = 2,
                                      .exact = true,
                                      .limit = 1000};
    struct poly_matches matches;
    char *text;

    if (poly_vector_search(run->session, &query, &matches, &run->err) != POLY_OK) {
        (void)crash_wrong(run, "vectors: %s", run->err.message);
        return NULL;
    }
    text = calloc(matches.count + 1, 80);
    for (size_t i = 0; text != NULL && i < matches.count; i++)
        snprintf(text + strlen(text), 80, "%.40s %.6g;", matches.matches[i].key.data,
                 matches.matches[i].distance);
    *count = matches.count;
    return text;
}

static bool as_built_anew(struct crash_run *run, const char *domain, uint64_t wanted)
{
    size_t count = 0, again = 0;
    char *before = all(run, domain, &count), *after = NULL;
    bool good = before != NULL;

    if (good && count != wanted)
        good = crash_wrong(run, "domain '%s' has %zu vectors, not %llu", domain, count,
                           (unsigned long long)wanted);
    if (good && poly_rebuild(run->session, "vector", NULL, &run->err) != POLY_OK)
        good = crash_wrong(run, "rebuild: %s", run->err.message);
    if (good)
        after = all(run, domain, &again);
    if (good && (after == NULL || strcmp(before, after) != 0))
        good = crash_wrong(run, "domain '%s' has %.200s, and built anew %.200s", domain, before,
                           after == NULL ? "" : after);
    free(before);
    free(after);
    return good;
}

static bool check(struct crash_run *run, uint64_t done)
{
    return as_built_anew(run, names[0], done) && as_built_anew(run, names[1], done * 2);
}

static bool check_filled(struct crash_run *run, uint64_t done)
{
    return as_built_anew(run, names[0], done) && as_built_anew(run, names[1], done * 2 + 8);
}

/* --- collections: made and dropped while running --- */

static const char nothing_declared[] = "domains:\n  step: {stream: step}\n";

static void name_of(unsigned number, char name[16])
{
    snprintf(name, 16, "c%u", number);
}

static enum poly_status make_one(struct crash_run *run, const char *name)
{
    static const struct poly_collection_vector vectors[] = {{.name = "near", .dimensions = 2},
                                                            {.name = "far", .dimensions = 3}};
    static const struct poly_collection_text texts[] = {{"title", 1}};
    const struct poly_vector_collection narrow = {.name = name, .dimensions = 2};
    const struct poly_vector_collection wide = {
        .name = name, .vectors = vectors, .vector_count = 2, .texts = texts, .text_count = 1};

    return poly_vector_create(run->session, is_wide(name) ? &wide : &narrow, NULL, &run->err);
}

static enum poly_status put_one(struct crash_run *run, struct poly_txn *txn, unsigned number)
{
    const struct poly_field fields[] = {
        {number % 2 == 0 ? "near" : "embedding", poly_json("[1, 1]")},
        {"metadata", poly_json("{\"title\": \"words\"}")}};
    const struct poly_row row = {fields, 2};
    char name[16];

    name_of(number, name);
    return poly_put(txn, name, "k", &row, POLY_ANY, &run->err);
}

/* Makes one, writes into it, and drops the one before the last. */
static enum poly_status collection_step(struct crash_run *run, unsigned number)
{
    char name[16], old[16];
    struct poly_txn *txn = NULL;
    enum poly_status status;

    poly_control_hurry = true;
    name_of(number, name);
    name_of(number - 2, old);
    status = make_one(run, name);
    if (status == POLY_OK && number > 2)
        status = poly_vector_drop(run->session, old, &run->err);
    if (status == POLY_NOT_FOUND) /* by the step that was killed */
        status = POLY_OK;
    if (status == POLY_OK)
        status = poly_txn_begin(run->session, NULL, &txn, &run->err);
    if (status == POLY_OK)
        status = crash_add(run, txn, "step-1", number, 1);
    if (status == POLY_OK)
        status = put_one(run, txn, number);
    if (status == POLY_OK)
        status = poly_txn_commit(txn, NULL, &run->err);
    else if (txn != NULL)
        poly_txn_abort(txn);
    return status;
}

static bool has_collection(struct crash_run *run, uint64_t number)
{
    const struct poly_vector_collection *list;
    char name[16];
    size_t count;

    name_of((unsigned)number, name);
    if (poly_vector_collections(run->session, &list, &count, &run->err) != POLY_OK)
        return crash_wrong(run, "collections: %s", run->err.message);
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i].name, name) == 0)
            return true;
    return false;
}

static bool has_words(struct crash_run *run, const char *name)
{
    const char *const only[] = {name, NULL};
    const struct poly_search_query query = {.query = "words", .domains = only};
    struct poly_hits hits;

    if (!is_wide(name))
        return true;
    if (poly_search(run->session, &query, &hits, &run->err) != POLY_OK)
        return crash_wrong(run, "search: %s", run->err.message);
    return hits.count == 1 || crash_wrong(run, "'%s' has %zu texts, not one", name, hits.count);
}

/* Of a step that was not acknowledged, none, some or all may be there; but whole: one that is
 * there can be made again without effect, be written, searched and dropped. */
static bool next_works(struct crash_run *run, uint64_t done)
{
    struct poly_txn *txn = NULL;
    char name[16];
    size_t count = 0;
    enum poly_status status;

    name_of((unsigned)done + 1, name);
    status = make_one(run, name);
    if (status == POLY_OK)
        status = poly_txn_begin(run->session, NULL, &txn, &run->err);
    if (status == POLY_OK)
        status = put_one(run, txn, (unsigned)done + 1);
    if (status == POLY_OK)
        status = poly_txn_commit(txn, NULL, &run->err);
    if (status != POLY_OK)
        return crash_wrong(run, "the collection after the last: %s", run->err.message);
    free(all(run, name, &count));
    if (count != 1)
        return crash_wrong(run, "the collection after the last has %zu vectors", count);
    if (!has_words(run, name))
        return false;
    status = poly_vector_drop(run->session, name, &run->err);
    return status == POLY_OK || crash_wrong(run, "drop: %s", run->err.message);
}

static bool check_collections(struct crash_run *run, uint64_t done)
{
    char name[16];
    uint64_t first = done < 2 ? 1 : done - 1;

    for (uint64_t n = 1; n < first - (first > 1); n++)
        if (has_collection(run, n))
            return crash_wrong(run, "collection c%llu was dropped", (unsigned long long)n);
    for (uint64_t n = first; n <= done; n++) {
        name_of((unsigned)n, name);
        /* the step that was killed may have dropped the first of them */
        if (n == done || has_collection(run, n)) {
            if (!as_built_anew(run, name, 1) || !has_words(run, name))
                return false;
        }
    }
    return next_works(run, done);
}

const struct crash_workload crash_collections = {.name = "collections",
                                                 .config = nothing_declared,
                                                 .steps = 5,
                                                 .step = collection_step,
                                                 .check = check_collections};

const struct crash_workload crash_vectors = {
    .name = "vectors", .config = together, .steps = 8, .step = step, .check = check};
const struct crash_workload crash_vectors_followed = {
    .name = "vectors that follow", .config = following, .steps = 8, .step = step, .check = check};
const struct crash_workload crash_vectors_rebuilt = {.name = "rebuild of vectors",
                                                     .config = together,
                                                     .steps = 4,
                                                     .seed = fill,
                                                     .step = rebuild_step,
                                                     .check = check_filled};
const struct crash_workload crash_vectors_recovery = {.name = "recovery of vectors",
                                                      .config = together,
                                                      .steps = 8,
                                                      .from_open = true,
                                                      .unclean = true,
                                                      .step = step,
                                                      .check = check};
