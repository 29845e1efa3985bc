/* The index against the log: both as a sorted list of "domain/key/version". */
#include <stdlib.h>
#include <string.h>

#include "crash.h"

enum { DOCUMENTS = 512, LINE = 128 };

struct list {
    char lines[DOCUMENTS][LINE];
    size_t count;
};

/* Domains of the workloads' configurations that can be searched. */
static const char *searchable(struct poly_text domain)
{
    static const char *const names[] = {"step", "note", "other"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strlen(names[i]) == domain.size && memcmp(names[i], domain.data, domain.size) == 0)
            return names[i];
    }
    return NULL;
}

static size_t find(const struct list *list, const char *prefix)
{
    size_t i = 0;

    while (i < list->count && strncmp(list->lines[i], prefix, strlen(prefix)) != 0)
        i++;
    return i;
}

static void add_event(struct list *list, const char *domain, const struct poly_record *record)
{
    if (list->count == DOCUMENTS)
        abort();
    snprintf(list->lines[list->count++], LINE, "%s/%s-%.40s@%llu/%llu", domain, domain,
             record->key.data, (unsigned long long)record->version,
             (unsigned long long)record->version);
}

/* Each event is a document; of a record the last change counts. */
static bool take_record(void *arg, const struct poly_record *record)
{
    struct list *list = arg;
    const char *domain = searchable(record->domain);
    char prefix[LINE - 24];
    size_t at;

    if (domain == NULL)
        return true;
    if (record->type.data[0] != '$') {
        add_event(list, domain, record);
        return true;
    }
    snprintf(prefix, sizeof(prefix), "%s/%.64s/", domain, record->key.data);
    at = find(list, prefix);
    if (record->type.size == 7 && memcmp(record->type.data, "$delete", 7) == 0) {
        if (at < list->count)
            memmove(list->lines[at], list->lines[--list->count], LINE);
        return true;
    }
    if (at == DOCUMENTS)
        abort();
    list->count += at == list->count;
    snprintf(list->lines[at], LINE, "%s%llu", prefix, (unsigned long long)record->version);
    return true;
}

static bool read_log(struct crash_run *run, struct list *list)
{
    struct poly_log_query query = {.limit = 10000};

    return poly_log_read(run->session, &query, take_record, list, NULL, &run->err) == POLY_OK;
}

/* Every text of the workloads has the word "all". */
static bool read_index(struct crash_run *run, struct list *list)
{
    struct poly_search_query query = {.query = "all", .limit = 1000, .count = true};
    struct poly_hits hits;

    if (poly_search(run->session, &query, &hits, &run->err) != POLY_OK)
        return false;
    for (size_t i = 0; i < hits.count && i < DOCUMENTS; i++)
        snprintf(list->lines[list->count++], LINE, "%.20s/%.64s/%llu", hits.hits[i].domain.data,
                 hits.hits[i].key.data, (unsigned long long)hits.hits[i].version);
    return hits.total == hits.count;
}

static int compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

static bool lists_match(struct crash_run *run, struct list *log, struct list *index)
{
    qsort(log->lines, log->count, LINE, compare);
    qsort(index->lines, index->count, LINE, compare);
    for (size_t i = 0; i < log->count || i < index->count; i++) {
        const char *wanted = i < log->count ? log->lines[i] : "nothing";
        const char *is = i < index->count ? index->lines[i] : "nothing";

        if (strcmp(wanted, is) != 0)
            return crash_wrong(run, "the log says %s, the index %s (%zu and %zu documents)",
                               wanted, is, log->count, index->count);
    }
    return true;
}

bool crash_documents_match(struct crash_run *run)
{
    struct list *log, *index;
    bool match;

    if (run->workload->config == NULL || strstr(run->workload->config, "search:") == NULL)
        return true;
    log = calloc(1, sizeof(*log));
    index = calloc(1, sizeof(*index));
    if (log == NULL || index == NULL)
        abort();
    if (!read_log(run, log) || !read_index(run, index))
        match = crash_wrong(run, "cannot compare: %s", run->err.message);
    else
        match = lists_match(run, log, index);
    free(log);
    free(index);
    poly_session_reset(run->session);
    return match;
}
