/* See fake_polystore.h. */
#include "fake_polystore.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/status.h"

struct fake fake;

void fake_reset(void)
{
    memset(&fake, 0, sizeof(fake));
    fake.rights = POLY_RIGHTS_ALL;
}

struct poly_session *fake_session(void)
{
    static char session;

    return (struct poly_session *)&session;
}

static void __attribute__((format(printf, 1, 2))) note(const char *format, ...)
{
    size_t used = strlen(fake.calls);
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(fake.calls + used, sizeof(fake.calls) - used, format, arguments);
    va_end(arguments);
}

static enum poly_status answer(const char *name, struct poly_error *err)
{
    if (fake.fail_at != NULL && strncmp(name, fake.fail_at, strlen(fake.fail_at)) == 0)
        return poly_fail(err, fake.fail_with, "the fake was told to fail at '%s'", name);
    return POLY_OK;
}

static void note_value(const struct poly_value *v)
{
    switch (v->type) {
    case POLY_NULL:
        note("null");
        break;
    case POLY_BOOL:
        note("%s", v->boolean ? "true" : "false");
        break;
    case POLY_INT:
        note("%" PRId64, v->integer);
        break;
    case POLY_FLOAT:
        note("%g", v->real);
        break;
    case POLY_JSON:
        note("json:%.*s", (int)v->text.size, v->text.data);
        break;
    case POLY_BYTES:
        note("bytes:%zu", v->text.size);
        break;
    default:
        note("'%.*s'", (int)v->text.size, v->text.data);
    }
}

static void note_row(const struct poly_row *row)
{
    note(" {");
    for (size_t i = 0; i < row->count; i++) {
        note("%s%s=", i == 0 ? "" : ",", row->fields[i].name);
        note_value(&row->fields[i].value);
    }
    note("};");
}

/* --- sessions --- */

unsigned poly_session_rights(const struct poly_session *session)
{
    (void)session;
    return fake.rights;
}

void poly_session_reset(struct poly_session *session)
{
    (void)session;
}

enum poly_status poly_session_after(struct poly_session *session, const char *token,
                                    enum poly_consistency consistency, struct poly_error *err)
{
    (void)session;
    if (token != NULL)
        note("after %s %d;", token, (int)consistency);
    return answer("after", err);
}

struct poly_freshness poly_session_freshness(const struct poly_session *session)
{
    (void)session;
    return fake.freshness;
}

/* --- transactions --- */

enum poly_status poly_txn_begin(struct poly_session *session,
                                const struct poly_txn_options *options, struct poly_txn **txn,
                                struct poly_error *err)
{
    enum poly_status status = answer("begin", err);

    if (status != POLY_OK)
        return status;
    note("begin");
    if (options->idempotency_key != NULL)
        note(" key=%s", options->idempotency_key);
    if (options->correlation != NULL)
        note(" correlation=%s", options->correlation);
    if (options->model != NULL)
        note(" model=%s", options->model);
    note(";");
    fake.open_transactions++;
    *txn = (struct poly_txn *)(void *)session;
    return POLY_OK;
}

enum poly_status poly_txn_commit(struct poly_txn *txn, struct poly_commit *commit,
                                 struct poly_error *err)
{
    static const struct poly_result result = {.key = {"k", 1}, .version = 17, .count = 1};
    enum poly_status status = answer("commit", err);

    (void)txn;
    fake.open_transactions--;
    if (status != POLY_OK)
        return status;
    note("commit;");
    *commit = (struct poly_commit){.position = 17, .results = &result, .count = 1};
    memcpy(commit->token.text, "t17", 4);
    return POLY_OK;
}

void poly_txn_abort(struct poly_txn *txn)
{
    if (txn == NULL)
        return;
    fake.open_transactions--;
    note("abort;");
}

enum poly_status poly_put(struct poly_txn *txn, const char *domain, const char *key,
                          const struct poly_row *row, int64_t if_version, struct poly_error *err)
{
    (void)txn;
    note("put %s/%s v=%" PRId64, domain, key == NULL ? "(none)" : key, if_version);
    note_row(row);
    return answer("put", err);
}

enum poly_status poly_patch(struct poly_txn *txn, const char *domain, const char *key,
                            const struct poly_row *row, int64_t if_version, struct poly_error *err)
{
    (void)txn;
    note("patch %s/%s v=%" PRId64, domain, key, if_version);
    note_row(row);
    return answer("patch", err);
}

enum poly_status poly_delete(struct poly_txn *txn, const char *domain, const char *key,
                             int64_t if_version, struct poly_error *err)
{
    (void)txn;
    note("delete %s/%s v=%" PRId64 ";", domain, key, if_version);
    return answer("delete", err);
}

enum poly_status poly_check(struct poly_txn *txn, const char *domain, const char *key,
                            int64_t if_version, struct poly_error *err)
{
    (void)txn;
    note("check %s/%s v=%" PRId64 ";", domain, key, if_version);
    return answer("check", err);
}

enum poly_status poly_append(struct poly_txn *txn, const char *stream, int64_t expected,
                             const struct poly_event *events, size_t count, struct poly_error *err)
{
    (void)txn;
    note("append %s v=%" PRId64, stream, expected);
    for (size_t i = 0; i < count; i++) {
        note(" %s:", events[i].type);
        note_value(&events[i].data);
        if (events[i].meta != NULL)
            note(" meta=%s", events[i].meta);
    }
    note(";");
    return answer("append", err);
}

enum poly_status poly_txn_sql(struct poly_txn *txn, const char *sql,
                              const struct poly_value *values, size_t value_count,
                              poly_row_fn *visit, void *arg, struct poly_error *err)
{
    (void)txn, (void)visit, (void)arg;
    note("sql %s", sql);
    for (size_t i = 0; i < value_count; i++) {
        note(" ");
        note_value(&values[i]);
    }
    note(";");
    return answer("sql", err);
}

/* --- reads --- */

enum poly_status poly_get(struct poly_session *session, const char *domain, const char *key,
                          struct poly_document *document, struct poly_error *err)
{
    static const struct poly_field field = {.name = "a", .value = {.type = POLY_INT, .integer = 1}};

    (void)session;
    note("get %s/%s;", domain, key);
    *document = (struct poly_document){.key = poly_text(key), .version = 17, .row = {&field, 1}};
    return answer("get", err);
}

enum poly_status poly_list(struct poly_session *session, const struct poly_list_query *query,
                           struct poly_page *page, struct poly_error *err)
{
    (void)session;
    note("list %s limit=%u", query->domain, query->limit);
    for (size_t i = 0; i < query->filter_count; i++) {
        note(" %s#%d#%zu", query->filters[i].column, (int)query->filters[i].compare,
             query->filters[i].value_count);
        for (size_t j = 0; j < query->filters[i].value_count; j++) {
            note(":");
            note_value(&query->filters[i].values[j]);
        }
    }
    note(";");
    *page = (struct poly_page){.cursor = "more"};
    return answer("list", err);
}

enum poly_status poly_sql_read(struct poly_session *session, const char *sql,
                               const struct poly_value *values, size_t value_count,
                               poly_row_fn *visit, void *arg, struct poly_error *err)
{
    char *text = malloc(fake.row_bytes + 1);
    struct poly_field field = {.name = "t"};
    struct poly_row row = {&field, 1};

    (void)session, (void)values;
    note("sql_read %s %zu;", sql, value_count);
    memset(text, 'x', fake.row_bytes);
    text[fake.row_bytes] = '\0';
    field.value = poly_str(text);
    for (uint64_t i = 1; i <= fake.rows && visit(arg, &row); i++)
        if (i == fake.broken_at) {
            free(text);
            return poly_fail(err, POLY_CORRUPT, "row %" PRIu64 " is \"broken\"", i);
        }
    free(text);
    return answer("sql_read", err);
}

static struct poly_record record_at(uint64_t position)
{
    struct poly_record record = {
        .position = position,
        .txn = position,
        .version = 1,
        .domain = {"order", 5},
        .key = {"42", 2},
        .type = {"Placed", 6},
        .data = poly_json("{\"a\":\n1}"),
        .meta = {"{\"by\":\"x\"}", 10},
    };
    return record;
}

enum poly_status poly_log_read(struct poly_session *session, const struct poly_log_query *query,
                               poly_record_fn *visit, void *arg, uint64_t *last,
                               struct poly_error *err)
{
    uint64_t limit = query->limit == 0 ? 1000 : query->limit, at = query->after;

    (void)session;
    note("log %" PRIu64 " %s %s;", query->after, query->domains == NULL ? "" : query->domains[0],
         query->types == NULL ? "" : query->types[0]);
    while (at < fake.records && limit-- > 0) {
        struct poly_record record = record_at(++at);

        if (!visit(arg, &record))
            break;
        if (at == fake.broken_at)
            return poly_fail(err, POLY_CORRUPT, "record %" PRIu64 " is broken", at);
    }
    *last = at;
    return answer("log", err);
}

enum poly_status poly_stream_read(struct poly_session *session,
                                  const struct poly_stream_query *query,
                                  struct poly_records *records, struct poly_error *err)
{
    static struct poly_record one;

    (void)session;
    one = record_at(1);
    note("stream %s from=%" PRIu64 " ", query->stream, query->from);
    note_value(&query->equal);
    note(";");
    *records = (struct poly_records){.records = &one, .count = 1, .version = 1};
    return answer("stream", err);
}

enum poly_status poly_log_verify(struct poly_session *session, poly_progress_fn *progress,
                                 void *arg, struct poly_verification *verification,
                                 struct poly_error *err)
{
    (void)session;
    (void)progress(arg, 1, 2);
    memset(verification, 0, sizeof(*verification));
    verification->records = 2;
    return answer("verify", err);
}

enum poly_status poly_search(struct poly_session *session, const struct poly_search_query *query,
                             struct poly_hits *hits, struct poly_error *err)
{
    static const struct poly_hit hit = {.domain = {"d", 1},
                                        .key = {"k", 1},
                                        .version = 3,
                                        .score = 1.5,
                                        .snippet = {"<b>a</b>", 8}};

    (void)session;
    note("search %s", query->query);
    for (size_t i = 0; query->domains != NULL && query->domains[i] != NULL; i++)
        note(" %s", query->domains[i]);
    note(";");
    *hits = (struct poly_hits){.hits = &hit, .count = 1, .total = 1, .generation = 1};
    if (strcmp(query->query, "\"") == 0)
        return poly_fail_at(err, POLY_INVALID, 0, "the quote is not closed");
    return answer("search", err);
}

/* --- vectors --- */

enum poly_status poly_where_parse(struct poly_session *session, struct poly_text json,
                                  const struct poly_where **where, struct poly_error *err)
{
    static const struct poly_where condition;

    (void)session;
    note("where %.*s;", (int)json.size, json.data);
    *where = &condition;
    return answer("where", err);
}

static void note_query(const struct poly_vector_query *query)
{
    for (size_t i = 0; query->domains[i] != NULL; i++)
        note(" %s", query->domains[i]);
    if (query->like != NULL)
        note(" like=%s", query->like);
    if (query->text != NULL)
        note(" text=%s", query->text);
    for (size_t i = 0; i < query->dimensions && i < 8; i++)
        note("%s%.9g", i == 0 ? " [" : ",", (double)query->vector[i]);
    if (query->dimensions > 0)
        note("]#%zu", query->dimensions);
    if (query->has_threshold)
        note(" threshold=%g", query->threshold);
    if (query->group != NULL)
        note(" group=%s/%u", query->group, query->group_limit);
    if (query->hybrid.query != NULL)
        note(" hybrid=%s/%d/%g", query->hybrid.query, (int)query->hybrid.fusion,
             query->hybrid.weight);
    note(" name=%s model=%s limit=%u offset=%u ef=%u%s%s%s%s;",
         query->name == NULL ? "" : query->name, query->model == NULL ? "" : query->model,
         query->limit, query->offset, query->ef, query->exact ? " exact" : "",
         query->vectors ? " vectors" : "", query->rows ? " rows" : "",
         query->where != NULL ? " where" : "");
}

/* The second one was found by its text only. */
static void fake_matches(struct poly_matches *matches)
{
    static const struct poly_field field = {.name = "a", .value = {.type = POLY_INT, .integer = 1}};
    static const float vector[] = {0.1F, -1};
    static struct poly_match found[] = {
        {.domain = {"d", 1},
         .key = {"k", 1},
         .version = 3,
         .distance = 0.25,
         .similarity = 0.75,
         .score = 0.75,
         .vector = vector,
         .row = {&field, 1}},
        {.domain = {"d", 1}, .key = {"text", 4}, .version = 4, .score = 0.5},
    };

    found[1].distance = found[1].similarity = NAN;
    *matches = (struct poly_matches){.matches = found,
                                     .count = 2,
                                     .generation = 1,
                                     .dimensions = 2,
                                     .plan = "graph",
                                     .candidates = 9,
                                     .visited = 7};
}

enum poly_status poly_vector_search(struct poly_session *session,
                                    const struct poly_vector_query *query,
                                    struct poly_matches *matches, struct poly_error *err)
{
    (void)session;
    note("nearest");
    note_query(query);
    fake_matches(matches);
    return answer("nearest", err);
}

enum poly_status poly_vector_search_all(struct poly_session *session,
                                        const struct poly_vector_query *queries, size_t count,
                                        struct poly_matches *matches, struct poly_error *err)
{
    (void)session;
    note("all");
    for (size_t i = 0; i < count; i++) {
        note_query(&queries[i]);
        fake_matches(&matches[i]);
    }
    return answer("all", err);
}

enum poly_status poly_vector_create(struct poly_session *session,
                                    const struct poly_vector_collection *collection, bool *made,
                                    struct poly_error *err)
{
    (void)session;
    note("create %s %u %s %s m=%u/%u ef=%u model=%s%s", collection->name, collection->dimensions,
         collection->metric == NULL ? "-" : collection->metric,
         collection->element == NULL ? "-" : collection->element, collection->m,
         collection->ef_construction, collection->ef,
         collection->model == NULL ? "" : collection->model, collection->tenants ? " tenants" : "");
    for (size_t i = 0; i < collection->filter_count; i++)
        note(" +%s", collection->filters[i]);
    for (size_t i = 0; i < collection->vector_count; i++)
        note(" %s:%u m=%u model=%s", collection->vectors[i].name, collection->vectors[i].dimensions,
             collection->vectors[i].m,
             collection->vectors[i].model == NULL ? "" : collection->vectors[i].model);
    for (size_t i = 0; i < collection->text_count; i++)
        note(" '%s'*%g", collection->texts[i].field, collection->texts[i].weight);
    if (collection->tokenizer != NULL)
        note(" %s/%s", collection->tokenizer, collection->language);
    note(";");
    *made = strcmp(collection->name, "there") != 0;
    return answer("vector_create", err);
}

enum poly_status poly_vector_drop(struct poly_session *session, const char *name,
                                  struct poly_error *err)
{
    (void)session;
    note("drop %s;", name);
    return answer("vector_drop", err);
}

enum poly_status poly_vector_collections(struct poly_session *session,
                                         const struct poly_vector_collection **list, size_t *count,
                                         struct poly_error *err)
{
    static const char *const filters[] = {"a", "b"};
    static const struct poly_collection_text texts[] = {{"title", 4}, {"body", 1}};
    static const struct poly_collection_vector vectors[] = {
        {"near", 3, "cosine", "f32", 16, 64, 64, NULL}, {"far", 2, "l2", "f16", 8, 32, 16, "m-2"}};
    static const struct poly_vector_collection some[] = {
        {.name = "notes",
         .dimensions = 3,
         .metric = "cosine",
         .element = "f32",
         .m = 16,
         .ef_construction = 64,
         .ef = 64,
         .filters = filters,
         .filter_count = 2,
         .tenants = true},
        {.name = "there",
         .dimensions = 8,
         .metric = "hamming",
         .element = "binary",
         .m = 8,
         .ef_construction = 32,
         .ef = 16,
         .model = "m1"},
        {.name = "wide",
         .vectors = vectors,
         .vector_count = 2,
         .texts = texts,
         .text_count = 2,
         .tokenizer = "words",
         .language = "english"},
    };

    (void)session;
    *list = some;
    *count = 3;
    return answer("vector_collections", err);
}

#include "fake_vectors.h"

/* --- models --- */

enum poly_status poly_model_status(struct poly_session *session, const char *domain,
                                   const struct poly_model_status **list, size_t *count,
                                   struct poly_error *err)
{
    static const struct poly_model_status some[] = {{.domain = {"d", 1},
                                                     .name = {"", 0},
                                                     .model = {"old", 3},
                                                     .dimensions = 2,
                                                     .changes = 1,
                                                     .named = {"old", 3},
                                                     .named_dimensions = 2,
                                                     .next = {"new", 3},
                                                     .next_dimensions = 3,
                                                     .counted = true,
                                                     .filled = 4,
                                                     .missing = 5,
                                                     .stale = 6},
                                                    {.domain = {"e", 1},
                                                     .name = {"v", 1},
                                                     .model = {"", 0},
                                                     .named = {"", 0},
                                                     .next = {"", 0}}};

    (void)session;
    note("models %s;", domain == NULL ? "" : domain);
    *list = some;
    *count = 2;
    return answer("model_status", err);
}

enum poly_status poly_model_plan(struct poly_session *session, const char *domain,
                                 const char *name, const struct poly_model_plan *plan,
                                 struct poly_error *err)
{
    (void)session;
    note("model_plan %s %s %s %zu %s %d;", domain, name == NULL ? "" : name,
         plan->model == NULL ? "" : plan->model, plan->dimensions,
         plan->embedder == NULL ? "" : plan->embedder, plan->back);
    return answer("model_plan", err);
}

enum poly_status poly_model_add(struct poly_session *session, const char *domain, const char *name,
                                const struct poly_model_batch *batch,
                                struct poly_model_added *added, struct poly_error *err)
{
    (void)session;
    note("model_add %s %s %s", domain, name == NULL ? "" : name,
         batch->model == NULL ? "" : batch->model);
    for (size_t i = 0; i < batch->count; i++)
        note(" %s/%s@%llu#%zu[%.9g]",
             batch->vectors[i].tenant == NULL ? "" : batch->vectors[i].tenant,
             batch->vectors[i].key, (unsigned long long)batch->vectors[i].version,
             batch->vectors[i].dimensions, (double)batch->vectors[i].vector[0]);
    note(";");
    *added = (struct poly_model_added){batch->count, 1, 2};
    return answer("model_add", err);
}

enum poly_status poly_model_swap(struct poly_session *session, const char *domain, const char *name,
                                 const struct poly_model_swap *how,
                                 struct poly_model_swapped *swapped, struct poly_error *err)
{
    (void)session;
    note("model_swap %s %s%s%s;", domain, name == NULL ? "" : name, how->back ? " back" : "",
         how->drop_missing ? " drop" : "");
    *swapped = (struct poly_model_swapped){
        .model = {"new", 3}, .dimensions = 3, .changed = 4, .dropped = 1, .position = 17};
    return answer("model_swap", err);
}

enum poly_status poly_model_abandon(struct poly_session *session, const char *domain,
                                    const char *name, struct poly_error *err)
{
    (void)session;
    note("model_abandon %s %s;", domain, name == NULL ? "" : name);
    return answer("model_abandon", err);
}

/* --- subscriptions --- */

struct poly_subscription {
    uint64_t after;
};

enum poly_status poly_subscribe(struct poly_session *session,
                                const struct poly_subscription_options *options,
                                struct poly_subscription **subscription, struct poly_error *err)
{
    enum poly_status status = answer("subscribe", err);

    (void)session;
    note("subscribe %s after=%" PRIu64 ";", options->name == NULL ? "(none)" : options->name,
         options->after);
    if (status != POLY_OK)
        return status;
    *subscription = calloc(1, sizeof(**subscription));
    (*subscription)->after = options->after;
    fake.open_subscriptions++;
    return POLY_OK;
}

/* One record at a time; beyond the last one: woken. */
enum poly_status poly_subscription_next(struct poly_subscription *subscription, uint32_t wait_ms,
                                        const struct poly_record **records, size_t *count,
                                        struct poly_error *err)
{
    static struct poly_record one;

    (void)wait_ms;
    *count = 0;
    if (fake.broken_at != 0 && subscription->after == fake.broken_at)
        return poly_fail(err, POLY_CORRUPT, "record %" PRIu64 " is broken", subscription->after);
    if (subscription->after >= fake.records)
        return POLY_OK;
    one = record_at(++subscription->after);
    *records = &one;
    *count = 1;
    return POLY_OK;
}

void poly_subscription_close(struct poly_subscription *subscription)
{
    fake.open_subscriptions--;
    free(subscription);
}

enum poly_status poly_acknowledge(struct poly_session *session, const char *name, uint64_t position,
                                  struct poly_error *err)
{
    (void)session;
    note("ack %s %" PRIu64 ";", name, position);
    return answer("ack", err);
}

enum poly_status poly_subscription_delete(struct poly_session *session, const char *name,
                                          struct poly_error *err)
{
    (void)session;
    note("forget %s;", name);
    return answer("forget", err);
}

/* --- running it --- */

const char *poly_state_name(enum poly_state state)
{
    static const char *const names[] = {"ok",       "behind",  "opening",     "filling",
                                        "retrying", "stopped", "unreachable", "failed"};

    return names[state];
}

enum poly_status poly_status_read(struct poly_session *session, struct poly_status_report *report,
                                  struct poly_error *err)
{
    static const struct poly_projection_status projection = {.opened = 1,
        .store = {"search", 6}, .driver = {"embedded", 8}, .lag_us = 1500000, .lag_records = 3};
    static const struct poly_subscription_status subscription = {.name = {"a\"b\\c\n", 6},
                                                                 .lag_records = 2};
    static const struct poly_view_status view = {
        .name = {"totals", 6}, .behind_us = 250000, .staleness_us = 1000000, .within = true};
    static const struct poly_embedding_status embedding = {.domain = {"d", 1},
                                                           .name = {"", 0},
                                                           .embedder = {"local", 5},
                                                           .model = {"m", 1},
                                                           .state = POLY_STATE_RETRYING,
                                                           .waiting = 4,
                                                           .refused = 2,
                                                           .behind_us = 1500000,
                                                           .error = {"HTTP 503", 8}};

    (void)session;
    *report = (struct poly_status_report){
        .state = fake.state,
        .writes_refused = fake.state == POLY_STATE_RETRYING,
        .version = {"0", 1},
        .head = fake.records,
        .started = 1,
        .now = 2,
        .projections = &projection,
        .projection_count = 1,
        .subscriptions = &subscription,
        .subscription_count = 1,
        .views = &view,
        .view_count = 1,
        .embeddings = &embedding,
        .embedding_count = 1,
    };
    return answer("status", err);
}

enum poly_status poly_projection_retry(struct poly_session *session, const char *store,
                                       struct poly_error *err)
{
    (void)session;
    note("retry %s;", store);
    return answer("retry", err);
}

enum poly_status poly_view_refresh(struct poly_session *session, const char *name,
                                   struct poly_error *err)
{
    (void)session;
    note("refresh %s;", name);
    return answer("refresh", err);
}

enum poly_status poly_projection_skip(struct poly_session *session, const char *store,
                                      const char *reason, struct poly_error *err)
{
    (void)session;
    note("skip %s %s;", store, reason);
    return answer("skip", err);
}

enum poly_status poly_rebuild(struct poly_session *session, const char *store,
                              const struct poly_rebuild_options *options, struct poly_error *err)
{
    (void)session;
    note("rebuild %s %d;", store, options->start_only);
    if (!options->start_only)
        (void)options->progress(options->arg, 5, 10);
    return answer("rebuild", err);
}

enum poly_status poly_rebuild_back(struct poly_session *session, const char *store,
                                   struct poly_error *err)
{
    (void)session;
    note("back %s;", store);
    return answer("back", err);
}

enum poly_status poly_key_create(struct poly_session *session,
                                 const struct poly_key_options *options, char secret[80],
                                 struct poly_error *err)
{
    (void)session;
    note("key_create %s %s %u;", options->label, options->tenant, options->rights);
    (void)snprintf(secret, 80, "pk_id1_secret");
    return answer("key_create", err);
}

enum poly_status poly_key_list(struct poly_session *session, const struct poly_key **keys,
                               size_t *count, struct poly_error *err)
{
    static const struct poly_key key = {.id = {"id1", 3}, .rights = 3, .created = 1};

    (void)session;
    *keys = &key;
    *count = 1;
    return answer("key_list", err);
}

enum poly_status poly_key_revoke(struct poly_session *session, const char *id,
                                 struct poly_error *err)
{
    (void)session;
    note("revoke %s;", id);
    return answer("revoke", err);
}

enum poly_status poly_migrate_status(struct poly_session *session, const char *folder,
                                     struct poly_migrations *migrations, struct poly_error *err)
{
    static const struct poly_migration one = {.name = {"0001_init.sql", 13}};

    (void)session;
    note("migrate_status %s;", folder == NULL ? "(configured)" : folder);
    *migrations = (struct poly_migrations){.migrations = &one, .count = 1, .pending = 1};
    return answer("migrate_status", err);
}

enum poly_status poly_migrate_up(struct poly_session *session, const char *folder,
                                 struct poly_migrations *migrations, struct poly_error *err)
{
    note("up;");
    return poly_migrate_status(session, folder, migrations, err);
}
