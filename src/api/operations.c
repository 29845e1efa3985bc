/* The table of operations. To add one: an entry here, a handler, and its schemas in schemas.c. */
#include "api/operations.h"

#include "api/handlers.h"
#include "api/schemas_inside.h"
#include "base/limits.h"

#define IN_PATH .flags = API_IN_PATH | API_REQUIRED
#define NAME .min = 1, .max = POLY_MAX_NAME
#define KEY_SIZE .min = 1, .max = POLY_MAX_KEY

/* Parameters that several operations have. */
#define PATH_DOMAIN                                                                                \
    {                                                                                              \
        .name = "domain", .kind = API_TEXT, IN_PATH, NAME, .example = "\"documents\"",             \
        .meaning = "name of the domain in polystore.yaml"                                          \
    }
#define PATH_KEY                                                                                   \
    {                                                                                              \
        .name = "key", .kind = API_TEXT, IN_PATH, KEY_SIZE, .example = "\"42\"",                   \
        .meaning = "key of the record, as text; a slash in it is sent as %2F"                      \
    }
#define PATH_STREAM                                                                                \
    {                                                                                              \
        .name = "stream", .kind = API_TEXT, IN_PATH, KEY_SIZE, .example = "\"order-42\"",          \
        .meaning = "name of the stream: \"category-id\""                                           \
    }
#define PATH_SUBSCRIPTION                                                                          \
    {                                                                                              \
        .name = "name", .kind = API_TEXT, IN_PATH, NAME, .example = "\"mailer\"",                  \
        .meaning = "name of the subscription"                                                      \
    }
#define PATH_STORE                                                                                 \
    {                                                                                              \
        .name = "store", .kind = API_TEXT, IN_PATH, NAME, .example = "\"search\"",                 \
        .meaning = "the store that follows the log"                                                \
    }
#define PATH_VIEW                                                                                  \
    {                                                                                              \
        .name = "view", .kind = API_TEXT, IN_PATH, NAME, .example = "\"sections\"",           \
        .meaning = "name of the materialised view"                                                 \
    }
#define MODEL                                                                                      \
    {                                                                                              \
        .name = "model", .kind = API_TEXT, NAME,                                                   \
        .meaning = "that made its vectors; refused when the domain names another"                  \
    }
#define FILTER                                                                                     \
    {                                                                                              \
        .name = "filter", .kind = API_LIST, .flags = API_AS_JSON, .schema = &api_schema_filter,    \
        .max = POLY_MAX_FILTERS, .meaning = "conditions that must all hold, as JSON",              \
        .example = "[{\"column\": \"section\", \"compare\": \"in\", \"values\": [\"net\"]}]"       \
    }
#define VECTOR_NAME                                                                                \
    {                                                                                              \
        .name = "name", .kind = API_TEXT, NAME, .example = "\"body\"",                             \
        .meaning = "which of its vectors; without it, the first that an embedder makes"            \
    }
#define CURSOR                                                                                     \
    {                                                                                              \
        .name = "cursor", .kind = API_TEXT, .min = 1, .max = 4 * POLY_MAX_KEY,                     \
        .meaning = "from the page before"                                                          \
    }
#define LIMIT(most, otherwise)                                                                     \
    {                                                                                              \
        .name = "limit", .kind = API_INTEGER, .min = 1, .max = most, .fallback = otherwise,        \
        .example = "10", .meaning = "how many at most"                                             \
    }
#define BACKWARDS                                                                                  \
    {                                                                                              \
        .name = "backwards", .kind = API_BOOLEAN, .fallback = "false",                             \
        .meaning = "the newest first"                                                              \
    }
#define AFTER(m)                                                                                   \
    {                                                                                              \
        .name = "after", .kind = API_INTEGER, .min = 0, .max = INT64_MAX, .fallback = "0",         \
        .example = "17", .meaning = m                                                              \
    }
#define DOMAINS                                                                                    \
    {                                                                                              \
        .name = "domain", .kind = API_TEXTS, .flags = API_REPEATED, .example = "[\"order\"]",      \
        .meaning = "of these domains or categories only; may be repeated or hold a comma list"     \
    }
#define TYPES                                                                                      \
    {                                                                                              \
        .name = "type", .kind = API_TEXTS, .flags = API_REPEATED, .example = "[\"OrderPlaced\"]",  \
        .meaning = "of these event types only (\"$put\", \"$delete\": changes of records)"         \
    }
#define FORMAT                                                                                     \
    {                                                                                              \
        .name = "format", .kind = API_CHOICE, .choices = "json|ndjson", .fallback = "\"json\"",    \
        .meaning = "one JSON object, or one JSON object for each line"                             \
    }
#define FOLDER                                                                                     \
    {                                                                                              \
        .name = "folder", .kind = API_TEXT, .flags = API_LOCAL, KEY_SIZE,                          \
        .meaning = "folder of the files; without it, the configured one"                           \
    }
#define SUBSCRIPTION_QUERY                                                                         \
    AFTER("position to start after, the first time"), DOMAINS, TYPES,                              \
    {                                                                                              \
        .name = "limit", .kind = API_INTEGER, .min = 1, .max = INT64_MAX, .example = "10",         \
        .meaning = "end after so many records; without it, never"                                  \
    }

#define IF(status) (1U << POLY_##status)
#define MAY_WRITE (IF(NOT_FOUND) | IF(CONFLICT) | IF(EXISTS))

const struct api_operation api_operations[] = {
    {
        .name = "transactions.commit",
        .method = "POST",
        .path = "/v1/transactions",
        .summary = "Do several things together or not at all",
        .description =
            "A batch over any stores: put, patch, delete and check records, append events, run "
            "SQL. It takes effect whole, in order, or not at all; it is on disk when the answer "
            "comes. A precondition that does not hold answers 412 and names the operation.",
        .rights = POLY_RIGHT_WRITE,
        .flags = API_STAGED | API_IDEMPOTENT,
        .success = 200,
        .errors = MAY_WRITE,
        .body = &api_schema_transaction,
        .answer = &api_schema_commit,
        .stage = api_stage_transaction,
    },
    {
        .name = "records.get",
        .method = "GET",
        .path = "/v1/records/{domain}/{key}",
        .summary = "Read a record",
        .description = "The ETag is its version; with If-None-Match of that version: 304.",
        .rights = POLY_RIGHT_READ,
        .flags = API_READS | API_CONDITIONAL,
        .success = 200,
        .errors = IF(NOT_FOUND) | IF(CONFLICT),
        .parameters = FIELDS(PATH_DOMAIN, PATH_KEY),
        .answer = &api_schema_document,
        .run = api_record_get,
    },
    {
        .name = "records.put",
        .method = "PUT",
        .path = "/v1/records/{domain}/{key}",
        .summary = "Replace a record or make it",
        .description = "The body is the row. If-Match: only if it has that version. "
                       "If-None-Match: * only if it does not exist.",
        .rights = POLY_RIGHT_WRITE,
        .flags = API_STAGED | API_IDEMPOTENT | API_CONDITIONAL,
        .success = 200,
        .errors = MAY_WRITE,
        .parameters = FIELDS(PATH_DOMAIN, PATH_KEY, MODEL),
        .body = &api_schema_row,
        .answer = &api_schema_commit,
        .stage = api_stage_record_put,
    },
    {
        .name = "records.patch",
        .method = "PATCH",
        .path = "/v1/records/{domain}/{key}",
        .summary = "Change some columns of a record",
        .description = "The body has the columns to change. If-Match: only if it has that version.",
        .rights = POLY_RIGHT_WRITE,
        .flags = API_STAGED | API_IDEMPOTENT | API_CONDITIONAL,
        .success = 200,
        .errors = MAY_WRITE,
        .parameters = FIELDS(PATH_DOMAIN, PATH_KEY, MODEL),
        .body = &api_schema_row,
        .answer = &api_schema_commit,
        .stage = api_stage_record_patch,
    },
    {
        .name = "records.delete",
        .method = "DELETE",
        .path = "/v1/records/{domain}/{key}",
        .summary = "Delete a record",
        .description = "If-Match: only if it has that version.",
        .rights = POLY_RIGHT_WRITE,
        .flags = API_STAGED | API_IDEMPOTENT | API_CONDITIONAL,
        .success = 200,
        .errors = MAY_WRITE,
        .parameters = FIELDS(PATH_DOMAIN, PATH_KEY),
        .answer = &api_schema_commit,
        .stage = api_stage_record_delete,
    },
    {
        .name = "records.create",
        .method = "POST",
        .path = "/v1/records/{domain}",
        .summary = "Make a record; its key is in the row, or is made",
        .description = "The key is in the answer's results. A record of that key: 412 or 409.",
        .rights = POLY_RIGHT_WRITE,
        .flags = API_STAGED | API_IDEMPOTENT,
        .success = 201,
        .errors = MAY_WRITE,
        .parameters = FIELDS(PATH_DOMAIN, MODEL),
        .body = &api_schema_row,
        .answer = &api_schema_commit,
        .stage = api_stage_record_create,
    },
    {
        .name = "records.list",
        .method = "GET",
        .path = "/v1/records/{domain}",
        .summary = "List records",
        .description = "By the key, or by a column. The cursor of a page asks for the next one; "
                       "pages stay right while others write.",
        .rights = POLY_RIGHT_READ,
        .flags = API_READS | API_WIDE,
        .success = 200,
        .errors = IF(NOT_FOUND),
        .parameters = FIELDS(
            PATH_DOMAIN, FILTER,
            {.name = "order", .kind = API_TEXT, NAME, .meaning = "column; without it, the key"},
            {.name = "descending",
             .kind = API_BOOLEAN,
             .fallback = "false",
             .meaning = "the largest first"},
            LIMIT(POLY_MAX_PAGE, "100"), CURSOR),
        .answer = &api_schema_page,
        .run = api_record_list,
    },
    {
        .name = "sql.read",
        .method = "POST",
        .path = "/v1/sql",
        .summary = "Run SQL that reads",
        .description =
            "One statement, on a snapshot, rows as they come. A tenant's key sees its own rows of "
            "the domains' tables and nothing else. SQL that writes goes into a transaction.",
        .rights = POLY_RIGHT_READ | POLY_RIGHT_SQL,
        .flags = API_READS | API_STREAMS,
        .success = 200,
        .parameters = FIELDS(FORMAT),
        .body = &api_schema_sql,
        .answer = &api_schema_rows,
        .run = api_sql_read,
    },
    {
        .name = "events.append",
        .method = "POST",
        .path = "/v1/streams/{stream}",
        .summary = "Add events to a stream",
        .description = "expected says which version the stream must have; otherwise 412.",
        .rights = POLY_RIGHT_WRITE,
        .flags = API_STAGED | API_IDEMPOTENT,
        .success = 200,
        .errors = IF(NOT_FOUND) | IF(CONFLICT),
        .parameters = FIELDS(PATH_STREAM),
        .body = &api_schema_append,
        .answer = &api_schema_commit,
        .stage = api_stage_append,
    },
    {
        .name = "events.read",
        .method = "GET",
        .path = "/v1/streams/{stream}",
        .summary = "Read a stream",
        .description = "Forwards from a version, or backwards. A stream without events has "
                       "version 0. path and equal keep the events whose data has that value there.",
        .rights = POLY_RIGHT_READ,
        .flags = API_READS,
        .success = 200,
        .errors = IF(NOT_FOUND),
        .parameters = FIELDS(PATH_STREAM,
                             {.name = "from",
                              .kind = API_INTEGER,
                              .min = 0,
                              .max = INT64_MAX,
                              .fallback = "0",
                              .example = "1",
                              .meaning = "first version; 0: the beginning (backwards: the end)"},
                             BACKWARDS, LIMIT(POLY_MAX_PAGE, "1000"),
                             {.name = "path",
                              .kind = API_TEXT,
                              KEY_SIZE,
                              .meaning = "JSON path in the data: \"$.city\"; together with equal"},
                             {.name = "equal",
                              .kind = API_VALUE,
                              .flags = API_AS_JSON,
                              .meaning = "the value there, as JSON: 42, \"Paris\""}),
        .answer = &api_schema_stream,
        .run = api_stream_read,
    },
    {
        .name = "log.read",
        .method = "GET",
        .path = "/v1/log",
        .summary = "Read the log",
        .description = "Every change of every store, in order. last is the last position looked "
                       "at: go on after it, even when the filter matched nothing.",
        .rights = POLY_RIGHT_READ,
        .flags = API_READS | API_STREAMS,
        .success = 200,
        .parameters = FIELDS(AFTER("records beyond this position (backwards: before it)"),
                             BACKWARDS, DOMAINS, TYPES,
                             {.name = "key",
                              .kind = API_TEXT,
                              KEY_SIZE,
                              .meaning = "of this record or stream id only; needs one domain"},
                             LIMIT(POLY_MAX_PAGE, "1000"), FORMAT),
        .answer = &api_schema_records,
        .run = api_log_read,
    },
    {
        .name = "log.verify",
        .method = "POST",
        .path = "/v1/log/verify",
        .summary = "Walk the hash chain of the log",
        .description = "Finds the first record that was changed underneath. Beside the writers.",
        .rights = POLY_RIGHT_ADMIN,
        .flags = API_READS | API_LONG | API_STREAMS,
        .success = 200,
        .parameters = FIELDS({.name = "progress",
                              .kind = API_BOOLEAN,
                              .fallback = "false",
                              .meaning = "JSON lines of progress before the answer"}),
        .answer = &api_schema_verification,
        .run = api_log_verify,
    },
    {
        .name = "log.export",
        .method = "GET",
        .path = "/v1/log/export",
        .summary = "The log as JSON lines",
        .description = "Everything up to the head at the start, one record for each line.",
        .rights = POLY_RIGHT_READ,
        .flags = API_READS | API_STREAMS | API_LONG,
        .success = 200,
        .parameters = FIELDS(AFTER("records beyond this position"), DOMAINS, TYPES),
        .answer = &api_schema_record,
        .answer_type = "application/x-ndjson",
        .run = api_log_export,
    },
    {
        .name = "log.import",
        .method = "POST",
        .path = "/v1/log/import",
        .summary = "Append events from JSON lines",
        .description =
            "Lines as the export prints them, in transactions of up to 1,000 events. Changes of "
            "records are skipped and counted: they come back with their tables. With an "
            "idempotency key, sending the same lines again after a failure appends none twice.",
        .rights = POLY_RIGHT_WRITE,
        .flags = API_IDEMPOTENT | API_LONG | API_LINES,
        .success = 200,
        .errors = IF(NOT_FOUND) | IF(CONFLICT),
        .body = &api_schema_import_line,
        .answer = &api_schema_imported,
        .run = api_log_import,
    },
    {
        .name = "subscriptions.events",
        .method = "GET",
        .path = "/v1/subscriptions/{name}/events",
        .summary = "Follow the log under a name",
        .description =
            "Server-sent events: first what is there, then what comes, without a gap. id is the "
            "position, data the record. It goes on after the last acknowledged record, so one "
            "that was not acknowledged comes again; Last-Event-ID counts the first time only. One "
            "reader for each name. A comment every 15 s keeps the connection alive.",
        .rights = POLY_RIGHT_READ,
        .flags = API_STREAMS | API_LONG | API_EVENTS,
        .success = 200,
        .errors = IF(CONFLICT) | IF(EXISTS),
        .parameters = FIELDS(PATH_SUBSCRIPTION, SUBSCRIPTION_QUERY),
        .answer = &api_schema_record,
        .answer_type = "text/event-stream",
        .run = api_subscription_events,
    },
    {
        .name = "subscriptions.ack",
        .method = "POST",
        .path = "/v1/subscriptions/{name}/ack",
        .summary = "Say that everything up to a position is done with",
        .description = "On disk when the answer comes.",
        .rights = POLY_RIGHT_READ,
        .success = 204,
        .errors = IF(NOT_FOUND),
        .parameters = FIELDS(PATH_SUBSCRIPTION),
        .body = &api_schema_acknowledgement,
        .run = api_subscription_ack,
    },
    {
        .name = "subscriptions.delete",
        .method = "DELETE",
        .path = "/v1/subscriptions/{name}",
        .summary = "Forget a subscription and its position",
        .description = "Followed again under that name it is new. 412: it is being followed.",
        .rights = POLY_RIGHT_READ,
        .success = 204,
        .errors = IF(NOT_FOUND) | IF(CONFLICT),
        .parameters = FIELDS(PATH_SUBSCRIPTION),
        .run = api_subscription_delete,
    },
    {
        .name = "subscriptions.follow",
        .method = "GET",
        .path = "/v1/subscribe",
        .summary = "Follow the log without a name",
        .description = "As under a name, but the position is the caller's: Last-Event-ID or after.",
        .rights = POLY_RIGHT_READ,
        .flags = API_STREAMS | API_LONG | API_EVENTS,
        .success = 200,
        .parameters = FIELDS(SUBSCRIPTION_QUERY),
        .answer = &api_schema_record,
        .answer_type = "text/event-stream",
        .run = api_subscription_events,
    },
    {
        .name = "search.query",
        .method = "GET",
        .path = "/v1/search",
        .summary = "Search for words",
        .description =
            "Words (all must match), \"a phrase\", prefix*, -not, OR, AND, (groups), field:word. "
            "Several domains give one ranked answer. A query that cannot be read answers 400 with "
            "the place in position.",
        .rights = POLY_RIGHT_READ,
        .flags = API_READS | API_WIDE,
        .success = 200,
        .errors = IF(NOT_FOUND),
        .parameters =
            FIELDS({.name = "q",
                    .kind = API_TEXT,
                    .flags = API_REQUIRED,
                    .min = 1,
                    .max = POLY_MAX_QUERY,
                    .example = "\"network -wireless\"",
                    .meaning = "the query"},
                   DOMAINS, FILTER,
                   {.name = "where",
                    .kind = API_TEXT,
                    .min = 2,
                    .max = POLY_MAX_QUERY,
                    .example = "{\"or\": [{\"section\": \"net\"}, {\"size\": {\"<\": 100}}]}",
                    .meaning = "a condition on the same fields, as JSON: see docs/vectors.md"},
                   LIMIT(POLY_MAX_HITS, "10"),
                   {.name = "offset",
                    .kind = API_INTEGER,
                    .min = 0,
                    .max = POLY_MAX_HITS_OFFSET,
                    .fallback = "0",
                    .meaning = "how many to leave out"},
                   {.name = "count",
                    .kind = API_BOOLEAN,
                    .fallback = "false",
                    .meaning = "also count all that match"},
                   {.name = "highlight",
                    .kind = API_BOOLEAN,
                    .fallback = "false",
                    .meaning = "mark the words in snippets and fields"},
                   {.name = "mark_open",
                    .kind = API_TEXT,
                    .min = 0,
                    .max = 64,
                    .fallback = "\"<b>\"",
                    .meaning = "before a word that matches; the text itself is not escaped"},
                   {.name = "mark_close",
                    .kind = API_TEXT,
                    .min = 0,
                    .max = 64,
                    .fallback = "\"</b>\"",
                    .meaning = "after it"}),
        .answer = &api_schema_hits,
        .run = api_search,
    },
#include "api/operations_vectors.h"
    {
        .name = "status.read",
        .method = "GET",
        .path = "/v1/status",
        .summary = "How everything is",
        .description = "The log, each projection with its lag and last error, subscriptions, "
                       "domains. Answers although the server that keeps the log is away.",
        .rights = POLY_RIGHT_READ,
        .flags = API_STATUS,
        .success = 200,
        .answer = &api_schema_status,
        .run = api_status,
    },
    {
        .name = "status.live",
        .method = "GET",
        .path = "/live",
        .summary = "Is the process alive?",
        .description = "For a supervisor: restart what does not answer.",
        .flags = API_OPEN,
        .success = 200,
        .answer = &api_schema_live,
        .run = api_live,
    },
    {
        .name = "status.ready",
        .method = "GET",
        .path = "/ready",
        .summary = "Can requests be sent here?",
        .description = "503, with the reason, unless each store is ok, behind or opening and "
                       "the log can be reached. For a load balancer. On a full disk it is 200, "
                       "because reads go on; writes_refused says so.",
        .flags = API_OPEN | API_READY,
        .success = 200,
        .answer = &api_schema_ready,
        .run = api_ready,
    },
    {
        .name = "status.metrics",
        .method = "GET",
        .path = "/metrics",
        .summary = "Metrics for Prometheus",
        .description = "From the same report as the status.",
        .rights = POLY_RIGHT_READ,
        .flags = API_METRICS | API_STATUS,
        .success = 200,
        .answer_type = "text/plain; version=0.0.4; charset=utf-8",
        .run = api_metrics_text,
    },
    {
        .name = "status.openapi",
        .method = "GET",
        .path = "/openapi.json",
        .summary = "This API, as OpenAPI 3.0",
        .description = "From the table that serves.",
        .flags = API_OPEN,
        .success = 200,
        .answer_type = "application/json",
        .run = api_openapi_json,
    },
    {
        .name = "projections.retry",
        .method = "POST",
        .path = "/v1/projections/{store}/retry",
        .summary = "Try again where a projection has stopped",
        .description = "412: it is not stopped.",
        .rights = POLY_RIGHT_ADMIN,
        .success = 204,
        .errors = IF(NOT_FOUND) | IF(CONFLICT),
        .parameters = FIELDS(PATH_STORE),
        .run = api_projection_retry,
    },
    {
        .name = "projections.skip",
        .method = "POST",
        .path = "/v1/projections/{store}/skip",
        .summary = "Leave out the record at which a projection has stopped",
        .description = "The reason is kept. 412: it is not stopped.",
        .rights = POLY_RIGHT_ADMIN,
        .success = 204,
        .errors = IF(NOT_FOUND) | IF(CONFLICT),
        .parameters = FIELDS(PATH_STORE),
        .body = &api_schema_skip,
        .run = api_projection_skip,
    },
    {
        .name = "projections.rebuild",
        .method = "POST",
        .path = "/v1/projections/{store}/rebuild",
        .summary = "Build a new generation beside the one that serves",
        .description = "Then the two are swapped. It goes on in the background (202), or, with "
                       "wait, the answer is JSON lines of progress.",
        .rights = POLY_RIGHT_ADMIN,
        .flags = API_LONG | API_STREAMS,
        .success = 200,
        .errors = IF(NOT_FOUND) | IF(CONFLICT),
        .parameters = FIELDS(PATH_STORE, {.name = "wait",
                                          .kind = API_BOOLEAN,
                                          .fallback = "false",
                                          .meaning = "answer at the end, with progress before"}),
        .answer = &api_schema_progress,
        .answer_type = "application/x-ndjson",
        .run = api_projection_rebuild,
    },
    {
        .name = "projections.back",
        .method = "POST",
        .path = "/v1/projections/{store}/back",
        .summary = "Swap back to the generation before",
        .description = "It was kept up to date. 404: there is none.",
        .rights = POLY_RIGHT_ADMIN,
        .success = 204,
        .errors = IF(NOT_FOUND) | IF(CONFLICT),
        .parameters = FIELDS(PATH_STORE),
        .run = api_projection_back,
    },
    {
        .name = "views.refresh",
        .method = "POST",
        .path = "/v1/views/{view}/refresh",
        .summary = "Refresh a materialised view now",
        .description = "Whether something has changed or not. After it, what was committed before "
                       "is in the view. 504: not within the time of the request, and it goes on.",
        .rights = POLY_RIGHT_ADMIN,
        .flags = API_LONG,
        .success = 204,
        .errors = IF(NOT_FOUND) | IF(EXISTS),
        .parameters = FIELDS(PATH_VIEW),
        .run = api_view_refresh,
    },
    {
        .name = "keys.list",
        .method = "GET",
        .path = "/v1/keys",
        .summary = "List the API keys",
        .description = "Without their secrets: only hashes are stored.",
        .rights = POLY_RIGHT_ADMIN,
        .success = 200,
        .answer = &api_schema_keys,
        .run = api_key_list,
    },
    {
        .name = "keys.create",
        .method = "POST",
        .path = "/v1/keys",
        .summary = "Make an API key",
        .description = "The secret is shown this once.",
        .rights = POLY_RIGHT_ADMIN,
        .success = 201,
        .body = &api_schema_key_request,
        .answer = &api_schema_created_key,
        .run = api_key_create,
    },
    {
        .name = "keys.revoke",
        .method = "DELETE",
        .path = "/v1/keys/{id}",
        .summary = "Revoke an API key",
        .description = "From now on it is refused.",
        .rights = POLY_RIGHT_ADMIN,
        .flags = API_REVOKES,
        .success = 204,
        .errors = IF(NOT_FOUND),
        .parameters = FIELDS({.name = "id",
                              .kind = API_TEXT,
                              IN_PATH,
                              NAME,
                              .example = "\"a1b2\"",
                              .meaning = "what stands between \"pk_\" and the next \"_\""}),
        .run = api_key_revoke,
    },
    {
        .name = "migrations.list",
        .method = "GET",
        .path = "/v1/migrations",
        .summary = "List the migrations",
        .description = "Applied and pending ones, and what is wrong with them.",
        .rights = POLY_RIGHT_ADMIN,
        .success = 200,
        .errors = IF(NOT_FOUND),
        .parameters = FIELDS(FOLDER),
        .answer = &api_schema_migrations,
        .run = api_migration_list,
    },
    {
        .name = "migrations.up",
        .method = "POST",
        .path = "/v1/migrations",
        .summary = "Apply the pending migrations",
        .description = "Each file in a transaction of its own. 412: an applied file was edited or "
                       "is missing; nothing was done.",
        .rights = POLY_RIGHT_ADMIN,
        .flags = API_LONG,
        .success = 200,
        .errors = IF(NOT_FOUND) | IF(CONFLICT),
        .parameters = FIELDS(FOLDER),
        .answer = &api_schema_migrations,
        .run = api_migration_up,
    },
    {.name = NULL},
};
