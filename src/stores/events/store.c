/*
 * What the application calls for events. Everything is checked here, before
 * anything is staged; the driver may rely on it.
 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/limits.h"
#include "core/config.h"
#include "core/instance.h"
#include "core/log.h"
#include "core/session.h"
#include "core/vector.h"
#include "followers/extract.h"
#include "owners/embedded/embedded.h"
#include "stores/events/driver.h"

struct poly_stream poly_stream_split(const char *name)
{
    const char *dash = strchr(name, '-');
    struct poly_stream stream = {
        .name = poly_text(name), .category = poly_text(name), .id = poly_text("")};

    if (dash != NULL) {
        stream.category.size = (size_t)(dash - name);
        stream.id = poly_text(dash + 1);
    }
    return stream;
}

static const struct poly_domain *domain_of(const struct poly_config *config,
                                           struct poly_text category)
{
    for (size_t i = 0; i < poly_config_domains(config); i++) {
        const struct poly_domain *domain = &config->domains[i];
        const char *name = domain->stream != NULL ? domain->stream : domain->name;

        if (poly_domain_is_live(domain) && strlen(name) == category.size &&
            memcmp(name, category.data, category.size) == 0)
            return domain;
    }
    return NULL;
}

/* Checks the name, and says which tenant's stream it is. */
static enum poly_status open_stream(struct poly_session *session, const char *name,
                                    struct poly_stream *stream, struct poly_text *tenant,
                                    struct poly_error *err)
{
    const struct poly_domain *domain;

    if (name == NULL || name[0] == '\0' || strlen(name) > POLY_MAX_KEY)
        return poly_fail(err, POLY_INVALID, "stream: its name must have 1 to %d bytes",
                         POLY_MAX_KEY);
    *stream = poly_stream_split(name);
    if (stream->category.size == 0 || stream->category.size > POLY_MAX_NAME)
        return poly_fail(err, POLY_INVALID,
                         "stream '%.64s': its category (before '-') must have 1 to %d bytes", name,
                         POLY_MAX_NAME);
    domain = domain_of(poly_instance_config(poly_session_instance(session)), stream->category);
    if (domain != NULL && domain->table != NULL)
        return poly_fail(err, POLY_INVALID,
                         "stream '%.64s': '%s' is a domain of records, owned by table '%s'", name,
                         domain->name, domain->table);
    if (domain != NULL)
        return poly_session_wall(session, domain, tenant, err);
    *tenant = poly_session_tenant(session);
    return POLY_OK;
}

/* --- appending --- */

enum poly_status poly_event_meta(struct poly_write *write, const char *own, struct poly_text *meta,
                                 struct poly_error *err)
{
    json_t *base = NULL, *over = NULL;
    enum poly_status status;
    char *text = NULL;

    if (own == NULL || write->meta.size == 0) {
        *meta = own == NULL ? write->meta : poly_text(own);
        return POLY_OK;
    }
    status = poly_json_parse(write->meta.data, write->meta.size, &base, err);
    if (status == POLY_OK)
        status = poly_json_parse(own, strlen(own), &over, err);
    if (status == POLY_OK && json_object_update(base, over) == 0)
        text = json_dumps(base, JSON_COMPACT);
    if (status == POLY_OK && text == NULL)
        status = poly_no_memory(err);
    if (status == POLY_OK) {
        meta->size = strlen(text);
        meta->data = poly_arena_copy(write->arena, text, meta->size);
        status = meta->data == NULL ? poly_no_memory(err) : POLY_OK;
    }
    free(text);
    json_decref(base);
    json_decref(over);
    return status;
}

static const struct poly_events_driver *driver_of(struct poly_instance *instance)
{
    return poly_instance_embedded(instance) != NULL ? &poly_events_embedded
                                                    : &poly_events_postgresql;
}

static enum poly_status run(struct poly_operation *operation, struct poly_write *write,
                            struct poly_error *err)
{
    return driver_of(write->instance)->append((struct poly_append *)operation, write, err);
}

static enum poly_status queue(struct poly_operation *operation, struct poly_write *write,
                              struct poly_error *err)
{
    return driver_of(write->instance)->queue((struct poly_append *)operation, write, err);
}

static enum poly_status take(struct poly_operation *operation, struct poly_write *write,
                             struct poly_error *err)
{
    return driver_of(write->instance)->take((struct poly_append *)operation, write, err);
}

static const struct poly_operation_type append_one = {
    .name = "append", .single = true, .run = run, .queue = queue, .take = take};
static const struct poly_operation_type append_many = {
    .name = "append", .run = run, .queue = queue, .take = take};

static enum poly_status check_meta(const char *meta, struct poly_error *err)
{
    enum poly_status status;

    if (meta == NULL)
        return POLY_OK;
    if (strlen(meta) > POLY_MAX_META)
        return poly_fail(err, POLY_LIMIT, "metadata: at most %d bytes", POLY_MAX_META);
    status = poly_json_check(meta, strlen(meta), err);
    if (status != POLY_OK)
        return poly_fail_in(err, status, "metadata");
    if (meta[strspn(meta, " \t\r\n")] != '{')
        return poly_fail(err, POLY_INVALID, "metadata must be a JSON object");
    return POLY_OK;
}

static enum poly_status check_data(const struct poly_value *data, struct poly_error *err)
{
    enum poly_status status;

    switch (data->type) {
    case POLY_NULL:
        return POLY_OK;
    case POLY_JSON:
    case POLY_BYTES:
    case POLY_TEXT:
        break;
    default:
        return poly_fail(err, POLY_INVALID, "data must be JSON, text, bytes or null");
    }
    if (data->text.size > POLY_MAX_VALUE)
        return poly_fail(err, POLY_LIMIT, "data: at most %d bytes", POLY_MAX_VALUE);
    if (data->type != POLY_JSON)
        return POLY_OK;
    status = poly_json_check(data->text.data, data->text.size, err);
    return status == POLY_OK ? status : poly_fail_in(err, status, "data");
}

static enum poly_status check_event(const struct poly_event *event, struct poly_error *err)
{
    enum poly_status status;

    if (event->type == NULL || event->type[0] == '\0' || strlen(event->type) > POLY_MAX_NAME)
        return poly_fail(err, POLY_INVALID, "type: its length must be 1 to %d bytes",
                         POLY_MAX_NAME);
    if (event->type[0] == '$')
        return poly_fail(err, POLY_INVALID,
                         "type '%.64s': names that begin with '$' are Polystore's own",
                         event->type);
    status = check_data(&event->data, err);
    return status == POLY_OK ? check_meta(event->meta, err) : status;
}

/* A vector that cannot be one would stop the store that is to take it in. */
static enum poly_status check_vectors(const struct poly_domain *domain,
                                      const struct poly_event *event, struct poly_arena *arena,
                                      struct poly_error *err)
{
    struct poly_arena_mark mark = poly_arena_mark(arena);
    enum poly_status status = POLY_OK;

    if (domain == NULL || event->data.type != POLY_JSON)
        return POLY_OK;
    for (size_t i = 0; i < domain->vector_count && status == POLY_OK; i++) {
        const struct poly_domain_vector *shape = &domain->vectors[i];
        struct poly_value value;
        const float *numbers;

        status = poly_extract_one(event->data.text, shape->field, arena, &value, err);
        if (status == POLY_OK)
            status = poly_vector_read(shape, &value, arena, &numbers, err);
        poly_arena_rewind(arena, mark);
    }
    return status == POLY_OK ? POLY_OK : poly_fail_in(err, status, "domain '%s'", domain->name);
}

static enum poly_status text_as_json(struct poly_arena *arena, struct poly_value *data,
                                     struct poly_error *err)
{
    struct poly_buffer buffer;
    const char *copy = NULL;

    bool over;

    poly_buffer_init(&buffer, POLY_MAX_VALUE);
    poly_json_string(&buffer, data->text.data, data->text.size);
    if (poly_buffer_ok(&buffer))
        copy = poly_arena_copy(arena, buffer.data, buffer.size);
    data->type = POLY_JSON;
    data->text = (struct poly_text){copy, buffer.size};
    over = buffer.over;
    poly_buffer_release(&buffer);
    if (over)
        return poly_fail(err, POLY_LIMIT, "data: the text has over %d bytes as JSON",
                         POLY_MAX_VALUE);
    return copy == NULL ? poly_no_memory(err) : POLY_OK;
}

static enum poly_status copy_event(struct poly_arena *arena, const struct poly_event *from,
                                   struct poly_event *to, struct poly_error *err)
{
    *to = *from;
    to->type = poly_arena_copy(arena, from->type, strlen(from->type));
    if (from->meta != NULL)
        to->meta = poly_arena_copy(arena, from->meta, strlen(from->meta));
    if (to->type == NULL || (from->meta != NULL && to->meta == NULL))
        return poly_no_memory(err);
    if (from->data.type == POLY_TEXT)
        return text_as_json(arena, &to->data, err);
    if (from->data.type == POLY_NULL)
        return POLY_OK;
    to->data.text.data = poly_arena_copy(arena, from->data.text.data, from->data.text.size);
    return to->data.text.data == NULL ? poly_no_memory(err) : POLY_OK;
}

static void digest_event(struct poly_txn *txn, const struct poly_event *event)
{
    poly_txn_digest(txn, event->type, strlen(event->type));
    poly_txn_digest_value(txn, &event->data);
    poly_txn_digest(txn, event->meta, event->meta == NULL ? 0 : strlen(event->meta));
}

static enum poly_status take_events(struct poly_txn *txn, struct poly_append *append,
                                    const struct poly_event *events, size_t count,
                                    struct poly_error *err)
{
    struct poly_instance *instance = poly_session_instance(poly_txn_session(txn));
    const struct poly_domain *domain =
        domain_of(poly_instance_config(instance), append->stream.category);
    struct poly_event *copies = poly_arena_array(poly_txn_arena(txn), count, sizeof(*copies));
    enum poly_status status = POLY_OK;

    if (copies == NULL)
        return poly_no_memory(err);
    for (size_t i = 0; i < count && status == POLY_OK; i++) {
        status = check_event(&events[i], err);
        if (status == POLY_OK)
            status = check_vectors(domain, &events[i], poly_txn_arena(txn), err);
        if (status == POLY_OK)
            status = copy_event(poly_txn_arena(txn), &events[i], &copies[i], err);
        else if (count > 1)
            poly_fail_in(err, status, "event %zu", i + 1);
        if (status == POLY_OK)
            digest_event(txn, &copies[i]);
    }
    append->events = copies;
    append->count = count;
    return status;
}

enum poly_status poly_append(struct poly_txn *txn, const char *stream, int64_t expected,
                             const struct poly_event *events, size_t count, struct poly_error *err)
{
    struct poly_arena *arena = poly_txn_arena(txn);
    struct poly_append *append = poly_arena_alloc(arena, sizeof(*append));
    const char *name;
    struct poly_error local;
    enum poly_status status;

    err = err == NULL ? &local : err;
    if (append == NULL)
        return poly_no_memory(err);
    if (count == 0 || count > POLY_MAX_OPERATIONS)
        return poly_fail(err, count == 0 ? POLY_INVALID : POLY_LIMIT,
                         "an append has 1 to %d events", POLY_MAX_OPERATIONS);
    if (expected < POLY_ANY)
        return poly_fail(err, POLY_INVALID, "expected version: any, none or a number > 0");
    status = open_stream(poly_txn_session(txn), stream, &append->stream, &append->tenant, err);
    if (status != POLY_OK)
        return status;
    name = poly_arena_copy(arena, stream, strlen(stream));
    if (name == NULL)
        return poly_no_memory(err);
    append->stream = poly_stream_split(name);
    append->expected = expected;
    append->base.type = count == 1 ? &append_one : &append_many;
    poly_txn_digest(txn, "append", 6);
    poly_txn_digest(txn, name, strlen(name));
    poly_txn_digest(txn, &expected, sizeof(expected));
    status = take_events(txn, append, events, count, err);
    return status == POLY_OK ? poly_txn_add(txn, &append->base, err) : status;
}

/* --- reading --- */

struct gather {
    struct poly_arena *arena;
    struct poly_record *records;
    size_t count, capacity, limit;
    bool more, no_memory;
};

static bool reserve(struct gather *gather)
{
    size_t capacity = gather->capacity == 0 ? 16 : gather->capacity * 2;
    struct poly_record *grown;

    if (gather->count < gather->capacity)
        return true;
    grown = poly_arena_array(gather->arena, capacity, sizeof(*grown));
    if (grown == NULL)
        return false;
    if (gather->count > 0)
        memcpy(grown, gather->records, gather->count * sizeof(*grown));
    gather->records = grown;
    gather->capacity = capacity;
    return true;
}

static bool gather_one(void *arg, const struct poly_record *record)
{
    struct gather *gather = arg;

    if (gather->count == gather->limit) {
        gather->more = true;
        return false;
    }
    gather->no_memory = !reserve(gather) ||
                        !poly_record_copy(gather->arena, record, &gather->records[gather->count]);
    gather->count += !gather->no_memory;
    return !gather->no_memory;
}

static enum poly_status check_query(const struct poly_stream_query *query, struct poly_error *err)
{
    if (query->limit > POLY_MAX_PAGE)
        return poly_fail(err, POLY_LIMIT, "limit: at most %d events", POLY_MAX_PAGE);
    if (query->path != NULL &&
        (query->path[0] != '$' ||
         (query->path[1] != '\0' && query->path[1] != '.' && query->path[1] != '[')))
        return poly_fail(err, POLY_INVALID, "path '%.64s': a JSON path looks like \"$.city\"",
                         query->path);
    return POLY_OK;
}

enum poly_status poly_stream_read(struct poly_session *session,
                                  const struct poly_stream_query *query,
                                  struct poly_records *records, struct poly_error *err)
{
    struct gather gather = {.arena = poly_session_arena(session)};
    struct poly_stream_read read = {
        .query = *query, .visit = gather_one, .arg = &gather, .arena = gather.arena};
    struct poly_error local;
    struct poly_db *db;
    enum poly_status status;

    err = err == NULL ? &local : err;
    status = check_query(query, err);
    if (status == POLY_OK)
        status = open_stream(session, query->stream, &read.stream, &read.tenant, err);
    if (status == POLY_OK)
        status = poly_session_read(session, &db, err);
    if (status != POLY_OK)
        return status;
    gather.limit = query->limit == 0 ? 1000 : query->limit;
    read.query.limit = (uint32_t)gather.limit + 1;
    status = driver_of(poly_session_instance(session))->read(db, &read, err);
    poly_session_read_end(session);
    if (status == POLY_OK && gather.no_memory)
        status = poly_fail(err, POLY_LIMIT, "the answer is larger than the session's memory");
    if (status != POLY_OK)
        return status;
    *records = (struct poly_records){gather.records, gather.count, gather.more, read.version};
    return POLY_OK;
}
