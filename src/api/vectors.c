/*
 * Vector search. A query's vector never becomes a tree of JSON values (json_floats.h), and those of
 * an answer are printed from where they lie: the numbers are most of what is sent either way.
 */
#include <endian.h>
#include <inttypes.h>
#include <math.h>

#include "api/handlers.h"
#include "api/schemas.h"
#include "base/limits.h"

/* --- the query --- */

/* A member that is left out is 0 for the library: its default. */
static uint32_t number(const json_t *json, const char *name)
{
    return (uint32_t)json_integer_value(json_object_get(json, name));
}

static bool truth(const json_t *json, const char *name)
{
    return json_is_true(json_object_get(json, name));
}

static enum poly_status read_domains(const struct api_context *context, const json_t *json,
                                     struct poly_vector_query *query, struct poly_error *err)
{
    const json_t *domains = json_object_get(json, "domains");
    const char *domain = api_member(json, "domain");
    size_t count = domains == NULL ? 1 : json_array_size(domains);
    const char **names;

    if ((domain == NULL) == (domains == NULL))
        return poly_fail(err, POLY_INVALID, "exactly one of 'domain' and 'domains' is wanted");
    names = poly_arena_array(context->arena, count + 1, sizeof(*names));
    if (names == NULL)
        return poly_no_memory(err);
    for (size_t i = 0; i < count; i++)
        names[i] = domains == NULL ? domain : json_string_value(json_array_get(domains, i));
    query->domains = names;
    return POLY_OK;
}

/* Into bytes; how many there are, 0: it is no base64. libsodium's decoder takes as long for the
 * same text whatever it says, which is for secrets, and many times as long as this. */
static size_t decode_base64(const char *text, size_t length, unsigned char *bytes)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t padding = length > 2 ? (size_t)(text[length - 1] == '=') + (text[length - 2] == '=') : 0;
    unsigned char *out = bytes;
    int8_t values[256];

    if (length % 4 != 0 || (padding == 2 && text[length - 1] != '='))
        return 0;
    memset(values, -1, sizeof(values));
    for (int i = 0; i < 64; i++)
        values[(unsigned char)letters[i]] = (int8_t)i;
    for (size_t i = 0; i < length; i += 4) {
        uint32_t word = 0;

        for (size_t k = i; k < i + 4; k++) {
            int value = k < length - padding ? values[(unsigned char)text[k]] : 0;

            if (value < 0)
                return 0;
            word = word << 6 | (uint32_t)value;
        }
        *out++ = (unsigned char)(word >> 16);
        *out++ = (unsigned char)(word >> 8);
        *out++ = (unsigned char)word;
    }
    return (size_t)(out - bytes) - padding;
}

static enum poly_status read_base64(const struct api_context *context, const char *text,
                                    struct poly_floats *floats, struct poly_error *err)
{
    size_t length = strlen(text), size;
    unsigned char *bytes = poly_arena_alloc(context->arena, length / 4 * 3 + 3);
    float *numbers = poly_arena_array(context->arena, length / 4 + 1, sizeof(*numbers));

    if (bytes == NULL || numbers == NULL)
        return poly_no_memory(err);
    size = decode_base64(text, length, bytes);
    if (size == 0 || size % sizeof(uint32_t) != 0)
        return poly_fail(err, POLY_INVALID,
                         "'vector_base64' must be little-endian 32-bit floats in base64");
    size /= sizeof(uint32_t);
    if (size > POLY_MAX_DIMENSIONS)
        return poly_fail(err, POLY_LIMIT, "'vector_base64' has %zu numbers; at most %d are allowed",
                         size, POLY_MAX_DIMENSIONS);
    for (size_t i = 0; i < size; i++) {
        uint32_t bits;

        memcpy(&bits, bytes + i * sizeof(bits), sizeof(bits));
        bits = le32toh(bits);
        memcpy(&numbers[i], &bits, sizeof(bits));
    }
    *floats = (struct poly_floats){numbers, size};
    return POLY_OK;
}

enum poly_status api_vector_given(const struct api_context *context, const json_t *json,
                                  struct poly_floats *floats, struct poly_error *err)
{
    const json_t *vector = json_object_get(json, "vector");
    const char *base64 = api_member(json, "vector_base64");

    if ((vector == NULL) == (base64 == NULL))
        return poly_fail(err, POLY_INVALID,
                         "exactly one of 'vector' and 'vector_base64' is wanted");
    return vector != NULL ? api_floats(context, vector, floats, err)
                          : read_base64(context, base64, floats, err);
}

static enum poly_status read_vector(const struct api_context *context, const json_t *json,
                                    struct poly_vector_query *query, struct poly_error *err)
{
    const json_t *vector = json_object_get(json, "vector");
    const char *base64 = api_member(json, "vector_base64");
    struct poly_floats floats = {NULL, 0};
    enum poly_status status = POLY_OK;

    query->like = api_member(json, "like");
    query->text = api_member(json, "text");
    if ((vector != NULL) + (base64 != NULL) + (query->like != NULL) + (query->text != NULL) != 1)
        return poly_fail(err, POLY_INVALID,
                         "exactly one of 'vector', 'vector_base64', 'like' and 'text' is wanted");
    if (vector != NULL)
        status = api_floats(context, vector, &floats, err);
    else if (base64 != NULL)
        status = read_base64(context, base64, &floats, err);
    query->vector = floats.numbers;
    query->dimensions = floats.count;
    return status;
}

static enum poly_status read_where(const struct api_context *context, const json_t *json,
                                   struct poly_vector_query *query, struct poly_error *err)
{
    const json_t *where = json_object_get(json, "where");
    const char *text;
    enum poly_status status;

    if (where == NULL)
        return POLY_OK;
    text = api_dump(context, where);
    if (text == NULL)
        return poly_no_memory(err);
    status = poly_where_parse(context->session, poly_text(text), &query->where, err);
    if (status == POLY_OK)
        return status;
    status = poly_fail_in(err, status, "'where'");
    if (err != NULL)
        err->position = -1; /* it is of the text as it was printed again */
    return status;
}

static enum poly_status read_hybrid(const json_t *json, struct poly_hybrid *hybrid,
                                    struct poly_error *err)
{
    const char *fusion = api_member(json, "fusion");
    const json_t *weight = json_object_get(json, "weight");

    if (json == NULL)
        return POLY_OK;
    *hybrid = (struct poly_hybrid){
        .query = api_member(json, "query"),
        .fusion = fusion != NULL && strcmp(fusion, "weighted") == 0 ? POLY_FUSION_WEIGHTED
                                                                    : POLY_FUSION_RANK,
        .weight = weight == NULL ? 0.5 : json_number_value(weight),
    };
    if (!(hybrid->weight > 0 && hybrid->weight <= 1))
        return poly_fail(err, POLY_INVALID, "hybrid: 'weight' must be above 0 and at most 1");
    return POLY_OK;
}

/* What it points to is the body's or the arena's. */
static enum poly_status read_query(const struct api_context *context, const json_t *json,
                                   struct poly_vector_query *query, struct poly_error *err)
{
    const json_t *threshold = json_object_get(json, "threshold");
    enum poly_status status;

    *query = (struct poly_vector_query){
        .name = api_member(json, "name"),
        .model = api_member(json, "model"),
        .limit = number(json, "limit"),
        .offset = number(json, "offset"),
        .has_threshold = threshold != NULL,
        .threshold = json_number_value(threshold),
        .ef = number(json, "ef"),
        .exact = truth(json, "exact"),
        .vectors = truth(json, "vectors"),
        .rows = truth(json, "rows"),
        .group = api_member(json, "group"),
        .group_limit = number(json, "group_limit"),
    };
    if (query->group == NULL && query->group_limit != 0)
        return poly_fail(err, POLY_INVALID, "'group_limit' needs 'group'");
    status = read_domains(context, json, query, err);
    if (status == POLY_OK)
        status = read_vector(context, json, query, err);
    if (status == POLY_OK)
        status = read_hybrid(json_object_get(json, "hybrid"), &query->hybrid, err);
    if (status == POLY_OK)
        status = read_where(context, json, query, err);
    return status;
}

/* --- the answer --- */

/* They come of singles: more digits would say nothing. */
static void put_single(struct poly_buffer *out, const char *name, double number)
{
    api_name(out, name);
    poly_json_float(out, (float)number);
}

static void print_match(struct poly_buffer *out, const struct poly_match *match, size_t dimensions,
                        bool rows)
{
    poly_buffer_char(out, '{');
    api_put_text(out, "domain", match->domain);
    api_put_text(out, "key", match->key);
    api_put_integer(out, "version", match->version);
    if (!isnan(match->distance)) {
        put_single(out, "similarity", match->similarity);
        put_single(out, "distance", match->distance);
    }
    put_single(out, "score", match->score);
    if (match->vector != NULL) {
        api_name(out, "vector");
        poly_json_floats(out, match->vector, dimensions);
    }
    if (rows && match->row.count > 0) {
        api_name(out, "row");
        poly_json_row(out, &match->row);
    }
    poly_buffer_char(out, '}');
}

/* False: the reader has gone. */
static bool print_matches(struct api_context *context, const struct poly_vector_query *query,
                          const struct poly_matches *matches, bool explain)
{
    struct poly_buffer *out = &context->out;

    poly_buffer_char(out, '{');
    api_put_integer(out, "generation", matches->generation);
    if (explain) {
        api_put_text(out, "plan", poly_text(matches->plan));
        api_put_integer(out, "candidates", matches->candidates);
        api_put_integer(out, "visited", matches->visited);
    }
    api_name(out, "matches");
    poly_buffer_char(out, '[');
    for (size_t i = 0; i < matches->count; i++) {
        if (i > 0)
            poly_buffer_char(out, ',');
        print_match(out, &matches->matches[i], matches->dimensions, query->rows);
        if (!api_answer_flush(context, false))
            return false;
    }
    poly_buffer_text(out, "]}");
    return true;
}

enum poly_status api_vector_search(struct api_context *context, struct poly_error *err)
{
    struct poly_vector_query query;
    struct poly_matches matches;
    enum poly_status status = read_query(context, context->body, &query, err);

    if (status == POLY_OK)
        status = poly_vector_search(context->session, &query, &matches, err);
    if (status != POLY_OK)
        return status;
    api_answer_fresh(context);
    if (print_matches(context, &query, &matches, truth(context->body, "explain")))
        poly_buffer_char(&context->out, '\n');
    return api_answer_finish(context, err);
}

static enum poly_status print_lists(struct api_context *context,
                                    const struct poly_vector_query *queries,
                                    const struct poly_matches *lists, struct poly_error *err)
{
    const json_t *searches = json_object_get(context->body, "searches");
    bool listens = true;

    poly_buffer_text(&context->out, "{\"answers\":[");
    for (size_t i = 0; i < json_array_size(searches) && listens; i++) {
        if (i > 0)
            poly_buffer_char(&context->out, ',');
        listens = print_matches(context, &queries[i], &lists[i],
                                truth(json_array_get(searches, i), "explain"));
    }
    if (listens)
        poly_buffer_text(&context->out, "]}\n");
    return api_answer_finish(context, err);
}

enum poly_status api_vector_batch(struct api_context *context, struct poly_error *err)
{
    const json_t *searches = json_object_get(context->body, "searches");
    size_t count = json_array_size(searches);
    struct poly_vector_query *queries = poly_arena_array(context->arena, count, sizeof(*queries));
    struct poly_matches *lists = poly_arena_array(context->arena, count, sizeof(*lists));
    enum poly_status status = POLY_OK;

    if (queries == NULL || lists == NULL)
        return poly_no_memory(err);
    for (size_t i = 0; i < count; i++) {
        status = read_query(context, json_array_get(searches, i), &queries[i], err);
        if (status != POLY_OK)
            return poly_fail_in(err, status, "searches[%zu]", i);
    }
    status = poly_vector_search_all(context->session, queries, count, lists, err);
    if (status != POLY_OK)
        return status;
    api_answer_fresh(context);
    return print_lists(context, queries, lists, err);
}

/* --- the indexes --- */

static const char *metric_name(enum poly_metric metric)
{
    static const char *const names[] = {"cosine", "inner", "l2", "hamming"};

    return names[metric];
}

#define SHAPE(X) X(m) X(ef_construction) X(ef)
#define COUNTS(X)                                                                                  \
    X(vectors)                                                                                     \
    X(dead) X(linked) X(unlinked) X(memory_bytes) X(file_bytes) X(saved_position) X(searches)      \
    X(visited)

static void print_index(struct poly_buffer *out, const struct poly_vector_stats *index)
{
    poly_buffer_char(out, '{');
    api_put_text(out, "domain", index->domain);
    api_put_text(out, "name", index->name);
    api_put_some(out, "model", index->model);
    api_put_integer(out, "dimensions", index->dimensions);
    api_put_text(out, "metric", poly_text(metric_name(index->metric)));
    api_put_text(out, "element", poly_text(index->element));
#define ONE(member) api_put_integer(out, #member, index->member);
    SHAPE(ONE)
    COUNTS(ONE)
#undef ONE
    if (!isnan(index->recall))
        api_put_number(out, "recall", index->recall);
    api_put_integer(out, "samples", index->samples);
    poly_buffer_char(out, '}');
}

enum poly_status api_vector_stats(struct api_context *context, struct poly_error *err)
{
    const struct poly_vector_stats *indexes;
    size_t count;
    enum poly_status status = poly_vector_stats(context->session, &indexes, &count, err);

    if (status != POLY_OK)
        return status;
    api_answer_fresh(context);
    poly_buffer_text(&context->out, "{\"indexes\":[");
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            poly_buffer_char(&context->out, ',');
        print_index(&context->out, &indexes[i]);
    }
    poly_buffer_text(&context->out, "]}\n");
    return api_answer_finish(context, err);
}

/* --- metrics --- */

typedef double index_value_fn(const struct poly_vector_stats *index);

#define VALUE(member)                                                                              \
    static double value_##member(const struct poly_vector_stats *index)                            \
    {                                                                                              \
        return (double)index->member;                                                              \
    }
COUNTS(VALUE)
VALUE(recall)
VALUE(samples)
#undef VALUE

    static const struct {
    const char *name, *type, *help;
    index_value_fn *get; /* NaN: no line */
} metrics[] = {
    {"vectors", "gauge", "Vectors that can be found.", value_vectors},
    {"dead", "gauge", "Replaced or deleted vectors, not yet given back.", value_dead},
    {"linked", "gauge", "Vectors in the graph; none where so few are scanned.", value_linked},
    {"unlinked", "gauge", "Vectors that wait to be linked, scanned until then.", value_unlinked},
    {"memory_bytes", "gauge", "Memory of the index.", value_memory_bytes},
    {"file_bytes", "gauge", "Files of the index.", value_file_bytes},
    {"saved_position", "gauge", "What its files hold, as a position of the log.",
     value_saved_position},
    {"searches_total", "counter", "Searches in it.", value_searches},
    {"visited_total", "counter", "Distances computed for them.", value_visited},
    {"recall", "gauge", "Recall of live searches against exact ones.", value_recall},
    {"recall_samples", "gauge", "Live searches that this stands on.", value_samples},
};

static void print_line(struct poly_buffer *out, const char *name,
                       const struct poly_vector_stats *index, double value)
{
    poly_buffer_printf(out, "polystore_vector_%s{", name);
    api_put_label(out, "domain", index->domain);
    poly_buffer_char(out, ',');
    api_put_label(out, "name", index->name);
    poly_buffer_text(out, "} ");
    poly_json_number(out, value);
    poly_buffer_char(out, '\n');
}

enum poly_status api_vector_metrics(struct poly_session *session, struct poly_buffer *out,
                                    struct poly_error *err)
{
    const struct poly_vector_stats *indexes;
    size_t count;
    enum poly_status status = poly_session_after(session, NULL, POLY_FAIL, err);

    if (status == POLY_OK)
        status = poly_vector_stats(session, &indexes, &count, err);
    (void)!poly_session_after(session, NULL, POLY_WAIT, NULL);
    /* Nobody waits for an index here. Whatever else keeps them from answering, the other metrics
     * tell of. */
    if (status != POLY_OK)
        return status == POLY_NO_MEMORY ? status : POLY_OK;
    for (size_t m = 0; m < sizeof(metrics) / sizeof(metrics[0]) && count > 0; m++) {
        poly_buffer_printf(out, "# HELP polystore_vector_%s %s\n# TYPE polystore_vector_%s %s\n",
                           metrics[m].name, metrics[m].help, metrics[m].name, metrics[m].type);
        for (size_t i = 0; i < count; i++) {
            double value = metrics[m].get(&indexes[i]);

            if (!isnan(value))
                print_line(out, metrics[m].name, &indexes[i], value);
        }
    }
    return POLY_OK;
}
