/*
 * Tables, not code: a member of a JSON object stands here once, with its type,
 * bounds and meaning. What checks requests, prints OpenAPI and prints
 * docs/http.md reads them.
 */
#include "api/schemas_inside.h"
#include "api/server.h"
#include "base/limits.h"

#define OP(word) MEMBER("op", API_CHOICE, "what to do", REQUIRED, .choices = word)
#define DOMAIN                                                                                     \
    MEMBER("domain", API_TEXT, "name of the domain in polystore.yaml", REQUIRED, .min = 1,         \
           .max = POLY_MAX_NAME, .example = "\"documents\"")
#define KEY                                                                                        \
    MEMBER("key", API_TEXT, "key of the record, as text", REQUIRED, .min = 1, .max = POLY_MAX_KEY, \
           .example = "\"42\"")
#define ROW(m)                                                                                     \
    MEMBER("row", API_MAP, m, REQUIRED, .example = "{\"title\": \"The log\", \"year\": 2026}")
#define IF_VERSION                                                                                 \
    MEMBER("if_version", API_EXPECTED, "only if the record has this version",                      \
           .fallback = "\"any\"", .example = "17")
#define EXPECTED                                                                                   \
    MEMBER("expected", API_EXPECTED,                                                               \
           "only if the stream has this version; \"none\": only if it does not exist yet",         \
           .fallback = "\"any\"", .example = "\"none\"")
#define EVENTS                                                                                     \
    MEMBER("events", API_LIST, "what happened, in order", REQUIRED, .schema = &api_schema_event,   \
           .min = 1, .max = POLY_MAX_OPERATIONS)
#define STREAM                                                                                     \
    MEMBER("stream", API_TEXT, "name of the stream: \"category-id\"", REQUIRED, .min = 1,          \
           .max = POLY_MAX_KEY, .example = "\"order-42\"")
#define SQL                                                                                        \
    MEMBER("sql", API_TEXT, "one statement; parameters are ?1, ?2, …", REQUIRED, .min = 1,         \
           .max = POLY_MAX_SQL, .example = "\"SELECT count(*) AS n FROM documents\"")
#define VALUES                                                                                     \
    MEMBER("values", API_VALUES, "values of ?1, ?2, …", .max = POLY_MAX_SQL_VALUES, .example = "[]")
#define TRACE                                                                                      \
    MEMBER("correlation", API_TEXT, "kept with each record: what this belongs to", .min = 1,       \
           .max = POLY_MAX_KEY, .example = "\"checkout-7\""),                                      \
        MEMBER("causation", API_TEXT, "kept with each record: what led to this", .min = 1,         \
               .max = POLY_MAX_KEY)

/* --- requests --- */

const struct api_schema api_schema_row = {
    .name = "Row",
    .meaning = "columns and their values",
    .open = true,
    .example = "{\"title\": \"The log\", \"year\": 2026}",
};

const struct api_schema api_schema_put = {
    .name = "PutOperation",
    .meaning = "replaces the whole record or makes it",
    .fields = FIELDS(OP("put"), DOMAIN,
                     MEMBER("key", API_TEXT,
                            "key of the record; without it, the row holds it or it is made",
                            .min = 1, .max = POLY_MAX_KEY, .example = "\"42\""),
                     ROW("the columns; one that is left out becomes its default"), IF_VERSION),
};

const struct api_schema api_schema_patch = {
    .name = "PatchOperation",
    .meaning = "changes the given columns of a record that is there",
    .fields = FIELDS(OP("patch"), DOMAIN, KEY, ROW("the columns to change"), IF_VERSION),
};

const struct api_schema api_schema_delete = {
    .name = "DeleteOperation",
    .meaning = "deletes a record that is there",
    .fields = FIELDS(OP("delete"), DOMAIN, KEY, IF_VERSION),
};

const struct api_schema api_schema_check = {
    .name = "CheckOperation",
    .meaning = "a precondition without a change",
    .fields = FIELDS(OP("check"), DOMAIN, KEY,
                     MEMBER("if_version", API_EXPECTED,
                            "version that the record must have; \"none\": it must not exist",
                            REQUIRED, .example = "17")),
};

const struct api_schema api_schema_append_operation = {
    .name = "AppendOperation",
    .meaning = "adds events to a stream",
    .fields = FIELDS(OP("append"), STREAM, EXPECTED, EVENTS),
};

const struct api_schema api_schema_sql_operation = {
    .name = "SqlOperation",
    .meaning = "SQL that writes; needs the right sql, and no tenant",
    .fields = FIELDS(OP("sql"),
                     MEMBER("sql", API_TEXT, "one statement; parameters are ?1, ?2, …", REQUIRED,
                            .min = 1, .max = POLY_MAX_SQL,
                            .example = "\"UPDATE documents SET year = ?1\""),
                     MEMBER("values", API_VALUES, "values of ?1, ?2, …", .max = POLY_MAX_SQL_VALUES,
                            .example = "[2026]")),
};

const struct api_schema api_schema_operation = {
    .name = "Operation",
    .meaning = "one step of a transaction",
    .variants =
        (const struct api_schema *const[]){&api_schema_put, &api_schema_patch, &api_schema_delete,
                                           &api_schema_check, &api_schema_append_operation,
                                           &api_schema_sql_operation, NULL},
};

const struct api_schema api_schema_transaction = {
    .name = "Transaction",
    .meaning = "operations that take effect together or not at all",
    .fields = FIELDS(MEMBER("operations", API_LIST, "the steps, in order", REQUIRED,
                            .schema = &api_schema_operation, .min = 1, .max = POLY_MAX_OPERATIONS),
                     MEMBER("model", API_TEXT,
                            "that made the vectors in it; refused when a domain names another",
                            .min = 1, .max = POLY_MAX_NAME),
                     TRACE),
    .example = "{\"operations\": [{\"op\": \"put\", \"domain\": \"documents\", \"key\": \"42\", "
               "\"row\": {\"title\": \"The log\"}}, {\"op\": \"append\", \"stream\": \"audit-42\", "
               "\"expected\": \"any\", \"events\": [{\"type\": \"Written\", "
               "\"data\": {\"by\": \"ada\"}}]}]}",
};

const struct api_schema api_schema_event = {
    .name = "Event",
    .meaning = "a fact",
    .fields = FIELDS(
        MEMBER("type", API_TEXT, "what happened; does not begin with '$'", REQUIRED, .min = 1,
               .max = POLY_MAX_NAME, .example = "\"OrderPlaced\""),
        MEMBER("data", API_VALUE, "the payload", .fallback = "null",
               .example = "{\"city\": \"Paris\", \"total\": 1299}"),
        MEMBER("meta", API_MAP, "about the event, not of it", .example = "{\"source\": \"web\"}")),
};

const struct api_schema api_schema_append = {
    .name = "Append",
    .meaning = "events for one stream",
    .fields = FIELDS(EXPECTED, EVENTS, TRACE),
    .example = "{\"expected\": \"none\", \"events\": [{\"type\": \"OrderPlaced\", "
               "\"data\": {\"city\": \"Paris\", \"total\": 1299}}]}",
};

const struct api_schema api_schema_sql = {
    .name = "Sql",
    .meaning = "one statement that reads",
    .fields = FIELDS(SQL, VALUES),
};

const struct api_schema api_schema_filter = {
    .name = "Filter",
    .meaning = "a condition on one column",
    .fields = FIELDS(MEMBER("column", API_TEXT, "name of the column", REQUIRED, .min = 1,
                            .max = POLY_MAX_NAME, .example = "\"section\""),
                     MEMBER("path", API_TEXT, "JSON path inside the column: \"$.a.b\"", .min = 1,
                            .max = POLY_MAX_KEY),
                     MEMBER("compare", API_CHOICE, "how", .choices = API_COMPARISONS,
                            .fallback = "\"eq\"", .example = "\"in\""),
                     MEMBER("values", API_VALUES,
                            "with what: one value; in: any number; is_null and not_null: none",
                            .max = POLY_MAX_IN, .example = "[\"net\", \"web\"]")),
};

const struct api_schema api_schema_hybrid = {
    .name = "Hybrid",
    .meaning = "full text beside the vector",
    .fields = FIELDS(
        MEMBER("query", API_TEXT, "words, as for GET /v1/search", REQUIRED, .min = 1,
               .max = POLY_MAX_QUERY, .example = "\"network -wireless\""),
        MEMBER("fusion", API_CHOICE,
               "how the two orders become one: by ranks (the sum of weight / (60 + rank)), or by "
               "scores, each scaled to 0..1 over the candidates",
               .choices = API_FUSIONS, .fallback = "\"rank\""),
        MEMBER("weight", API_NUMBER, "of the vector's side, above 0 to 1; the text has the rest",
               .fallback = "0.5")),
};

const struct api_schema api_schema_vector_search = {
    .name = "VectorSearch",
    .meaning = "what is looked for; one of vector, vector_base64, like and text says near "
               "what, and one of domain and domains where",
    .fields = FIELDS(
        MEMBER("domain", API_TEXT, "name of the domain in polystore.yaml", .min = 1,
               .max = POLY_MAX_NAME, .example = "\"documents\""),
        MEMBER("domains", API_TEXTS, "several, whose vectors are of one kind; one order comes back",
               .min = 1, .max = POLY_MAX_DOMAINS),
        MEMBER("name", API_TEXT, "which of a record's vectors; without it, its only one", .min = 1,
               .max = POLY_MAX_NAME),
        MEMBER("vector", API_FLOATS, "as many numbers as the domain's vectors have", .min = 1,
               .max = POLY_MAX_DIMENSIONS, .example = "[0.1, -0.2, 0.97]"),
        MEMBER("vector_base64", API_TEXT,
               "the same as bytes: little-endian 32-bit floats, in base64", .min = 1,
               .max = POLY_MAX_DIMENSIONS * 6),
        MEMBER("like", API_TEXT,
               "key of a record of the first domain, near whose vector; it is left out itself",
               .min = 1, .max = POLY_MAX_KEY),
        MEMBER("text", API_TEXT, "near its vector, made by the domain's embedder", .min = 1,
               .max = POLY_MAX_SEARCH_TEXT, .example = "\"how to undo a merge\""),
        MEMBER("model", API_TEXT, "that made the vector; refused when the domain names another",
               .min = 1, .max = POLY_MAX_NAME),
        MEMBER("where", API_MAP, "a condition on the domain's vector filters: see docs/vectors.md",
               .example = "{\"state\": \"open\", \"severity\": {\">=\": 3}}"),
        MEMBER("limit", API_INTEGER, "how many at most", .min = 1, .max = POLY_MAX_MATCHES,
               .fallback = "10"),
        MEMBER("offset", API_INTEGER, "how many to leave out", .min = 0,
               .max = POLY_MAX_MATCHES_OFFSET, .fallback = "0"),
        MEMBER("threshold", API_NUMBER, "least similarity of a match", .example = "0.7"),
        MEMBER("ef", API_INTEGER, "candidates kept while searching; without it, the domain's",
               .min = 1, .max = POLY_MAX_CANDIDATES),
        MEMBER("exact", API_BOOLEAN, "look at every vector that fits the condition",
               .fallback = "false"),
        MEMBER("vectors", API_BOOLEAN, "give back the vectors", .fallback = "false"),
        MEMBER("rows", API_BOOLEAN, "give back the records", .fallback = "false"),
        MEMBER("group", API_TEXT, "a filter column, of whose every value some at most come back",
               .min = 1, .max = POLY_MAX_NAME),
        MEMBER("group_limit", API_INTEGER, "how many of each", .min = 1, .max = POLY_MAX_MATCHES,
               .fallback = "1"),
        MEMBER("hybrid", API_OBJECT, "with full text", .schema = &api_schema_hybrid),
        MEMBER("explain", API_BOOLEAN, "also say how it was found", .fallback = "false")),
    .example = "{\"domain\": \"documents\", \"like\": \"42\", \"limit\": 3}",
};

const struct api_schema api_schema_vector_batch = {
    .name = "VectorBatch",
    .meaning = "several vector searches",
    .fields =
        FIELDS(MEMBER("searches", API_LIST, "in order", REQUIRED,
                      .schema = &api_schema_vector_search, .min = 1, .max = POLY_MAX_SEARCHES)),
};

#define WHICH                                                                                      \
    MEMBER("name", API_TEXT, "which of its vectors; without it, its only one", .min = 1,           \
           .max = POLY_MAX_NAME)

const struct api_schema api_schema_model_begin = {
    .name = "ModelBegin",
    .meaning = "the model that is to take the place of the present one",
    .fields = FIELDS(WHICH,
                     MEMBER("model", API_TEXT, "its name; not with back", .min = 1,
                            .max = POLY_MAX_NAME, .example = "\"large-2\""),
                     MEMBER("dimensions", API_INTEGER, "numbers of its vectors; not with back",
                            .min = 1, .max = POLY_MAX_DIMENSIONS, .example = "1024"),
                     MEMBER("embedder", API_TEXT,
                            "that makes them, of those in polystore.yaml; without it, the one that "
                            "makes the present ones, or else they are given",
                            .min = 1, .max = POLY_MAX_NAME),
                     MEMBER("back", API_BOOLEAN,
                            "instead: what is kept to go back to gets from its embedder what came "
                            "since",
                            .fallback = "false")),
    .example = "{\"model\": \"large-2\", \"dimensions\": 1024}",
};

const struct api_schema api_schema_model_vector = {
    .name = "ModelVector",
    .meaning = "the vector of one record; one of vector and vector_base64",
    .fields = FIELDS(KEY,
                     MEMBER("tenant", API_TEXT, "whose record; without it, the session's", .min = 1,
                            .max = POLY_MAX_NAME),
                     MEMBER("version", API_INTEGER,
                            "of the record that it was made of; without it, as the record is now",
                            .min = 1, .max = INT64_MAX),
                     MEMBER("vector", API_FLOATS, "as many numbers as the new model has", .min = 1,
                            .max = POLY_MAX_DIMENSIONS, .example = "[0.1, -0.2, 0.97]"),
                     MEMBER("vector_base64", API_TEXT,
                            "the same as bytes: little-endian 32-bit floats, in base64", .min = 1,
                            .max = POLY_MAX_DIMENSIONS * 6)),
};

const struct api_schema api_schema_model_vectors = {
    .name = "ModelVectors",
    .meaning = "vectors of the new model",
    .fields =
        FIELDS(WHICH,
               MEMBER("model", API_TEXT,
                      "that they are of; refused when another's are "
                      "collected",
                      .min = 1, .max = POLY_MAX_NAME),
               MEMBER("vectors", API_LIST, "one for each record", REQUIRED,
                      .schema = &api_schema_model_vector, .min = 1, .max = POLY_MAX_OPERATIONS)),
};

const struct api_schema api_schema_model_swap = {
    .name = "ModelSwap",
    .meaning = "how",
    .fields = FIELDS(
        WHICH,
        MEMBER("back", API_BOOLEAN, "to the vectors of before the last swap", .fallback = "false"),
        MEMBER("drop_missing", API_BOOLEAN,
               "records without a vector, or with one of another version, have none then",
               .fallback = "false"),
        MEMBER("skip_refused", API_BOOLEAN,
               "records without a vector because the embedder refuses their text have none then",
               .fallback = "false")),
    .example = "{\"drop_missing\": true}",
};

const struct api_schema api_schema_import_line = {
    .name = "ImportLine",
    .meaning = "one event, as GET /v1/log/export prints it; what is not named here as used is "
               "given anew",
    .fields = FIELDS(
        MEMBER("stream", API_TEXT, "name of the stream, instead of domain and key", .min = 1,
               .max = POLY_MAX_KEY),
        MEMBER("domain", API_TEXT, "category of the stream", .min = 1, .max = POLY_MAX_NAME,
               .example = "\"order\""),
        MEMBER("key", API_TEXT, "id of the stream", .max = POLY_MAX_KEY, .example = "\"42\""),
        MEMBER("type", API_TEXT, "event type; \"$put\" and \"$delete\" are skipped and counted",
               REQUIRED, .min = 1, .max = POLY_MAX_NAME, .example = "\"OrderPlaced\""),
        MEMBER("data", API_VALUE, "the payload", .fallback = "null"),
        MEMBER("meta", API_MAP, "about the event"),
        MEMBER("position", API_INTEGER, "not used", POSITION),
        MEMBER("txn", API_INTEGER, "not used", POSITION),
        MEMBER("version", API_INTEGER, "not used", POSITION), MEMBER("time", API_TEXT, "not used"),
        MEMBER("tenant", API_TEXT, "not used")),
};

const struct api_schema api_schema_acknowledgement = {
    .name = "Acknowledgement",
    .meaning = "how far a subscriber is done",
    .fields = FIELDS(MEMBER("position", API_INTEGER, "everything up to here is done with", REQUIRED,
                            POSITION, .example = "17")),
};

const struct api_schema api_schema_skip = {
    .name = "Skip",
    .meaning = "why a record is left out",
    .fields = FIELDS(MEMBER("reason", API_TEXT, "kept with the projection", REQUIRED, .min = 1,
                            .max = POLY_MAX_KEY, .example = "\"bad import of 3 May\"")),
};

const struct api_schema api_schema_key_request = {
    .name = "KeyRequest",
    .meaning = "an API key to be made",
    .fields = FIELDS(MEMBER("label", API_TEXT, "what it is for", .min = 1, .max = POLY_MAX_NAME,
                            .example = "\"shop\""),
                     MEMBER("tenant", API_TEXT, "its tenant; without it: none", .min = 1,
                            .max = POLY_MAX_NAME, .example = "\"acme\""),
                     MEMBER("rights", API_TEXTS, "what it may do", REQUIRED, .choices = API_RIGHTS,
                            .min = 1, .max = 4, .example = "[\"read\", \"write\"]"),
                     MEMBER("expires", API_TIME, "when it ends; without it: never",
                            .example = "\"2030-01-01T00:00:00Z\"")),
};

/* --- answers --- */

const struct api_schema api_schema_problem = {
    .name = "Problem",
    .meaning = "an error (RFC 9457)",
    .fields =
        FIELDS(MEMBER("type", API_TEXT, "which error: \"urn:polystore:error:not-found\"", REQUIRED,
                      .example = "\"urn:polystore:error:not-found\""),
               STRING("title", "what the error means in general"),
               MEMBER("status", API_INTEGER, "HTTP status", REQUIRED, .min = 400, .max = 599,
                      .example = "404"),
               STRING("detail", "the subject, what is wrong, what would be right"),
               MEMBER("instance", API_TEXT, "path that was asked for"),
               MEMBER("position", API_INTEGER, "byte of the text where it went wrong", POSITION),
               MEMBER("outcome", API_TEXT,
                      "\"unknown\": the write may have taken effect; a server's answer was lost")),
    .open = true,
};

const struct api_schema api_schema_result = {
    .name = "Result",
    .meaning = "what one operation did",
    .fields = FIELDS(STRING("key", "key of the record, or name of the stream"),
                     COUNT("version", "of the record or stream afterwards; 0: a delete, or SQL"),
                     COUNT("count", "events appended, records changed, rows of SQL")),
};

const struct api_schema api_schema_commit = {
    .name = "Commit",
    .meaning = "a transaction that is on disk",
    .fields = FIELDS(STRING("token", "send it with a read to see at least this write"),
                     COUNT("position", "of the last record; 0: nothing was written"),
                     FLAG("replayed", "the idempotency key was known: this is the first result"),
                     ITEMS("results", result, "one for each operation, in order")),
};

const struct api_schema api_schema_document = {
    .name = "Document",
    .meaning = "a record",
    .fields = FIELDS(STRING("key", "its key, as text"),
                     COUNT("version", "position of its last change: also the ETag"),
                     MEMBER("row", API_MAP, "its columns", REQUIRED)),
};

const struct api_schema api_schema_page = {
    .name = "Page",
    .meaning = "some records",
    .fields = FIELDS(ITEMS("documents", document, "in the order asked for"),
                     MEMBER("cursor", API_TEXT, "for the next page; missing: this was the last")),
};

const struct api_schema api_schema_rows = {
    .name = "Rows",
    .meaning = "the answer of a statement",
    .fields = FIELDS(ITEMS("rows", row, "one object for each row"),
                     MEMBER("error", API_OBJECT, "it failed after the answer had begun",
                            .schema = &api_schema_problem)),
};

const struct api_schema api_schema_record = {
    .name = "LogRecord",
    .meaning = "one record of the log",
    .fields = FIELDS(COUNT("position", "in the log"),
                     COUNT("txn", "position of the transaction's first record; 0: foreign writer"),
                     COUNT("version", "of the stream, or of the record"),
                     MEMBER("time", API_TIME, "when it was written", REQUIRED),
                     MEMBER("tenant", API_TEXT, "whose it is; missing: nobody's"),
                     STRING("domain", "domain of the record, category of the stream"),
                     STRING("key", "key of the record, id of the stream"),
                     STRING("type", "event type, \"$put\" or \"$delete\""),
                     MEMBER("data", API_VALUE, "payload of the event, row of the record", REQUIRED),
                     MEMBER("meta", API_MAP, "about it")),
};

const struct api_schema api_schema_records = {
    .name = "LogRecords",
    .meaning = "a part of the log",
    .fields = FIELDS(ITEMS("records", record, "in order"),
                     COUNT("last", "last position looked at: go on after it"),
                     MEMBER("error", API_OBJECT, "it failed after the answer had begun",
                            .schema = &api_schema_problem)),
};

const struct api_schema api_schema_stream = {
    .name = "StreamRecords",
    .meaning = "a part of a stream",
    .fields = FIELDS(ITEMS("records", record, "in order"),
                     FLAG("more", "there are more beyond the limit"),
                     COUNT("version", "of the stream now; 0: there is no such stream")),
};

const struct api_schema api_schema_verification = {
    .name = "Verification",
    .meaning = "what walking the hash chain found",
    .fields = FIELDS(
        FLAG("ok", "nothing was changed underneath"), COUNT("records", "looked at"),
        COUNT("seals", "looked at"), COUNT("sealed", "the chain covers everything up to here"),
        STRING("hash", "head of the chain, hex"),
        COUNT("bad_position", "first one that is bad; 0: none"), STRING("reason", "why it is bad")),
};

const struct api_schema api_schema_imported = {
    .name = "Imported",
    .meaning = "what an import did",
    .fields =
        FIELDS(COUNT("events", "that are in the log now"),
               COUNT("skipped", "lines that were changes of records"),
               COUNT("transactions", "of up to 1,000 events each"),
               STRING("token", "of the last transaction"), COUNT("position", "of the last record")),
};

const struct api_schema api_schema_hit = {
    .name = "Hit",
    .meaning = "a document that matches",
    .fields = FIELDS(STRING("domain", "where it is"), STRING("key", "its key"),
                     COUNT("version", "that was indexed"),
                     MEMBER("score", API_NUMBER, "BM25: higher is better", REQUIRED),
                     MEMBER("snippet", API_TEXT, "words around the best place, marked"),
                     MEMBER("highlights", API_MAP, "the matching fields, marked")),
};

const struct api_schema api_schema_hits = {
    .name = "Hits",
    .meaning = "the answer of a search",
    .fields =
        FIELDS(ITEMS("hits", hit, "the best first"),
               MEMBER("total", API_INTEGER, "all that match, when count was asked for", POSITION),
               COUNT("generation", "of the index that answered")),
};

const struct api_schema api_schema_match = {
    .name = "Match",
    .meaning = "a record that is near",
    .fields = FIELDS(
        STRING("domain", "where it is"), STRING("key", "its key"),
        COUNT("version", "of the record whose vector it is"),
        MEMBER("similarity", API_NUMBER, "higher is nearer; missing: found by its text only"),
        MEMBER("distance", API_NUMBER, "of the domain's metric; missing: as similarity"),
        MEMBER("score", API_NUMBER, "what the answer is ordered by: the similarity, or of hybrid",
               REQUIRED),
        MEMBER("vector", API_FLOATS, "when it was asked for; of cosine: of length 1"),
        MEMBER("row", API_MAP, "its columns, when asked for; missing: it has gone since")),
};

const struct api_schema api_schema_matches = {
    .name = "Matches",
    .meaning = "the answer of a vector search",
    .fields = FIELDS(ITEMS("matches", match, "the nearest first, equal ones by domain and key"),
                     COUNT("generation", "of the index that answered"),
                     MEMBER("plan", API_TEXT,
                            "with explain: exact, graph, filtered exact, filtered graph, mixed"),
                     MEMBER("candidates", API_INTEGER,
                            "with explain: records that condition and tenant let through; 0: not "
                            "counted",
                            POSITION),
                     MEMBER("visited", API_INTEGER, "with explain: distances computed", POSITION)),
};

const struct api_schema api_schema_match_lists = {
    .name = "MatchLists",
    .meaning = "the answer of several vector searches",
    .fields = FIELDS(ITEMS("answers", matches, "one for each search, in order")),
};

const struct api_schema api_schema_vector_index = {
    .name = "VectorIndex",
    .meaning = "one vector of a domain",
    .fields = FIELDS(
        STRING("domain", "its domain"),
        STRING("name", "which of its vectors; empty: it has one, without a name"),
        MEMBER("model", API_TEXT, "that makes the vectors; missing: not said"),
        COUNT("dimensions", "numbers of each"),
        MEMBER("metric", API_CHOICE, "how near two are", REQUIRED, .choices = API_METRIC_NAMES),
        MEMBER("element", API_CHOICE, "how they are kept", REQUIRED, .choices = API_ELEMENTS),
        COUNT("m", "neighbours of each"), COUNT("ef_construction", "candidates while linking"),
        COUNT("ef", "candidates while searching"), COUNT("vectors", "that can be found"),
        COUNT("dead", "replaced or deleted, not yet given back"),
        COUNT("linked", "in the graph; none where so few are as quickly scanned"),
        COUNT("unlinked", "wait to be linked, and are scanned until then"),
        COUNT("memory_bytes", "in memory"), COUNT("file_bytes", "on disk"),
        COUNT("saved_position", "of the log: what is on disk; 0: nothing"),
        COUNT("searches", "since the start"), COUNT("visited", "distances computed for them"),
        MEMBER("recall", API_NUMBER, "of live searches against exact ones; missing: none yet"),
        COUNT("samples", "so many of them")),
};

const struct api_schema api_schema_vector_indexes = {
    .name = "VectorIndexes",
    .meaning = "every vector of every domain",
    .fields = FIELDS(ITEMS("indexes", vector_index, "in the order of the configuration")),
};

const struct api_schema api_schema_model = {
    .name = "Model",
    .meaning = "one vector of a domain, and what is collected beside it",
    .fields = FIELDS(
        STRING("domain", "its domain"),
        STRING("name", "which of its vectors; empty: it has one, without a name"),
        MEMBER("model", API_TEXT, "that its vectors are of; missing: not said"),
        COUNT("dimensions", "numbers of each"),
        MEMBER("embedder", API_TEXT, "that makes them; missing: they are given"),
        COUNT("changes", "of model, ever"),
        MEMBER("named", API_TEXT, "the model that polystore.yaml names"),
        COUNT("named_dimensions", "… and its dimensions"),
        MEMBER("next", API_TEXT, "the model whose vectors are kept beside; missing: none are"),
        MEMBER("next_dimensions", API_INTEGER, "numbers of each", POSITION),
        MEMBER("back", API_BOOLEAN, "they are those of before the last swap"),
        MEMBER("next_embedder", API_TEXT, "that makes them; missing: they are given"),
        MEMBER("fills", API_BOOLEAN, "… and does so now; the status has how far it is"),
        MEMBER("filled", API_INTEGER, "so many of them; with domain only", POSITION),
        MEMBER("missing", API_INTEGER,
               "with domain: records with a vector that have none of the next", POSITION),
        MEMBER("stale", API_INTEGER,
               "with domain: records that were changed since theirs was given", POSITION),
        MEMBER("refused", API_INTEGER,
               "with domain: those missing whose text the next embedder refuses", POSITION)),
};

const struct api_schema api_schema_models = {
    .name = "Models",
    .meaning = "every vector of every domain",
    .fields = FIELDS(ITEMS("models", model, "in the order of the configuration")),
};

const struct api_schema api_schema_model_added = {
    .name = "ModelAdded",
    .meaning = "what became of the vectors",
    .fields = FIELDS(COUNT("taken", "kept"), COUNT("unknown", "of no record; left out"),
                     COUNT("stale", "of another version of their record; left out")),
};

const struct api_schema api_schema_model_swapped = {
    .name = "ModelSwapped",
    .meaning = "what the swap has done",
    .fields = FIELDS(MEMBER("model", API_TEXT, "that the vectors are of now; missing: not said"),
                     COUNT("dimensions", "numbers of each"),
                     COUNT("changed", "records that have a vector of it"),
                     COUNT("dropped", "records that have none any more"),
                     COUNT("position", "of the last record of the log")),
};

#define ONE(member, kind, meaning) COUNT(#member, meaning),
#define TIME(member, kind, meaning) MEMBER(#member "_seconds", API_NUMBER, meaning, REQUIRED),

const struct api_schema api_schema_pool = {
    .name = "PoolStatus",
    .meaning = "connections of this daemon to one server",
    .fields =
        (const struct api_field[]){API_POOL_COUNTS(ONE) API_POOL_TIMES(TIME){.name = NULL}},
};

#undef ONE
#undef TIME

const struct api_schema api_schema_projection = {
    .name = "Projection",
    .meaning = "a store that follows the log",
    .fields =
        FIELDS(STRING("store", "which"), STRING("driver", "by which engine"),
               FLAG("follower", "false: in the log's own database"),
               MEMBER("state", API_CHOICE, "how it is", REQUIRED, .choices = API_STATES),
               COUNT("generation", "that serves"), COUNT("previous", "that can be swapped back to"),
               COUNT("building", "that is being built beside; 0: none"),
               COUNT("applied", "everything up to here is applied"),
               COUNT("building_applied", "the same of the one that is being built"),
               COUNT("lag_records", "not applied yet"),
               MEMBER("lag_seconds", API_NUMBER, "age of the oldest that is not applied", REQUIRED),
               COUNT("documents", "in it"),
               MEMBER("opened", API_NUMBER,
                      "share of its saved index that has been read; missing: all"),
               COUNT("skipped", "records an operator has left out"),
               MEMBER("checked", API_TIME, "when it last applied or looked; missing: never"),
               MEMBER("error", API_TEXT, "the last one"), MEMBER("error_time", API_TIME, "when"),
               MEMBER("error_position", API_INTEGER, "where", POSITION),
               MEMBER("pool", API_OBJECT, "to its server", .schema = &api_schema_pool)),
};

const struct api_schema api_schema_subscription = {
    .name = "Subscription",
    .meaning = "a named subscription",
    .fields = FIELDS(STRING("name", "its name"), MEMBER("tenant", API_TEXT, "whose it is"),
                     COUNT("acknowledged", "everything up to here is done with"),
                     COUNT("lag_records", "not acknowledged"), FLAG("open", "somebody reads it")),
};

const struct api_schema api_schema_domain = {
    .name = "Domain",
    .meaning = "a domain of polystore.yaml",
    .fields = FIELDS(STRING("name", "its name"),
                     MEMBER("owner", API_CHOICE, "the store that owns it", REQUIRED,
                            .choices = "relational|events"),
                     STRING("source", "table, or category of streams"),
                     MEMBER("tenant", API_TEXT, "tenant column; missing: no tenants"),
                     FLAG("search", "it can be searched for words"),
                     COUNT("vectors", "how many a record has"),
                     MEMBER("problem", API_TEXT, "what is wrong with it")),
};

const struct api_schema api_schema_view = {
    .name = "View",
    .meaning = "a materialised view of polystore.yaml",
    .fields = FIELDS(
        STRING("name", "its name"),
        MEMBER("state", API_CHOICE, "behind: older than it may be; filling: not built yet",
               REQUIRED, .choices = API_STATES),
        COUNT("position", "it has every change up to here"),
        MEMBER("behind_seconds", API_NUMBER, "age of the oldest change that it has not", REQUIRED),
        MEMBER("staleness_seconds", API_NUMBER, "how old it may be", REQUIRED),
        FLAG("within", "it stands, and is not older than that"),
        COUNT("refreshes", "ever, its building included"),
        MEMBER("refreshed", API_TIME, "when, the last time; missing: never"),
        MEMBER("duration_seconds", API_NUMBER, "how long that took", REQUIRED),
        MEMBER("error", API_TEXT, "the last one"), MEMBER("error_time", API_TIME, "when")),
};

#define ONE(member, kind, meaning) COUNT(#member, meaning),
#define TIME(member, kind, meaning) MEMBER(#member "_seconds", API_NUMBER, meaning, REQUIRED),

const struct api_schema api_schema_server = {
    .name = "ServerStatus",
    .meaning = "the server that keeps the log",
    .fields = FIELDS(FLAG("up", "it can be reached"),
                     MEMBER("unreachable_since", API_TIME, "missing: it is up"),
                     FLAG("answers", "it has said its numbers now; else they are of 'sampled'"),
                     MEMBER("sampled", API_TIME, "when it said its numbers; missing: never"),
                     MEMBER("pool", API_OBJECT, "to it", REQUIRED, .schema = &api_schema_pool),
                     API_SERVER_COUNTS(ONE) API_SERVER_TIMES(TIME)
                         MEMBER("slow_source", API_CHOICE,
                                "who has measured slow_statements: everybody's, or this daemon's "
                                "since its start",
                                REQUIRED, .choices = API_SLOW_SOURCES),
                     MEMBER("hit_ratio", API_NUMBER,
                            "of its buffers; missing: nothing was read yet"),
                     MEMBER("warnings", API_TEXT, "pools or memory that do not fit")),
};

#undef ONE
#undef TIME

const struct api_schema api_schema_status = {
    .name = "Status",
    .meaning = "how everything is",
    .fields = FIELDS(
        MEMBER("state", API_CHOICE, "the worst of what follows", REQUIRED, .choices = API_STATES),
        STRING("instance", "which Polystore"), STRING("version", "of the program"),
        STRING("data", "folder"), COUNT("epoch", "changes with every restore"),
        COUNT("head", "position of the last record"), COUNT("sealed", "position of the last seal"),
        MEMBER("started", API_TIME, "when", REQUIRED), MEMBER("now", API_TIME, "when", REQUIRED),
        COUNT("database_bytes", "size of the database"), COUNT("wal_bytes", "of its log file"),
        COUNT("commits", "syncs since the start"), COUNT("requests", "transactions since then"),
        COUNT("replays", "answered from an idempotency key"),
        FLAG("writer_held", "by an interactive transaction"),
        MEMBER("writer_held_seconds", API_NUMBER, "for so long", REQUIRED),
        FLAG("writes_refused", "the last ones were: disk full, log failed, or server away"),
        MEMBER("last_error", API_TEXT, "of the log"),
        MEMBER("server", API_OBJECT, "that keeps the log", .schema = &api_schema_server),
        ITEMS("projections", projection, "followers"),
        ITEMS("subscriptions", subscription, "named ones"), ITEMS("domains", domain, "all"),
        ITEMS("views", view, "materialised ones"),
        ITEMS("embeddings", embedding, "vectors that embedders make")),
};

const struct api_schema api_schema_live = {
    .name = "Live",
    .meaning = "the process answers",
    .fields = FIELDS(FLAG("live", "always true")),
};

const struct api_schema api_schema_ready = {
    .name = "Ready",
    .meaning = "whether requests may be sent here",
    .fields =
        FIELDS(FLAG("ready", "reads are answered, from stores that are ok, behind or opening"),
               FLAG("writes_refused", "as in the status; the next one may be taken"),
               MEMBER("state", API_CHOICE, "as in the status", REQUIRED, .choices = API_STATES),
               MEMBER("reason", API_TEXT, "why not")),
};

const struct api_schema api_schema_progress = {
    .name = "Progress",
    .meaning = "how far a long work is",
    .fields = FIELDS(COUNT("done", "records"), COUNT("total", "records"),
                     FLAG("finished", "this is the last line"),
                     MEMBER("error", API_OBJECT, "it failed", .schema = &api_schema_problem)),
};

#define KEY_FIELDS                                                                                 \
    STRING("id", "names the key; no secret"), MEMBER("label", API_TEXT, "what it is for"),         \
        MEMBER("tenant", API_TEXT, "its tenant; missing: none"),                                   \
        MEMBER("rights", API_TEXTS, "what it may do", REQUIRED, .choices = API_RIGHTS),            \
        MEMBER("expires", API_TIME, "missing: never")

const struct api_schema api_schema_key = {
    .name = "Key",
    .meaning = "an API key, without its secret",
    .fields = FIELDS(KEY_FIELDS, MEMBER("created", API_TIME, "when", REQUIRED),
                     MEMBER("revoked", API_TIME, "when; missing: it is not")),
};

const struct api_schema api_schema_keys = {
    .name = "Keys",
    .meaning = "all API keys",
    .fields = FIELDS(ITEMS("keys", key, "the newest last")),
};

const struct api_schema api_schema_created_key = {
    .name = "CreatedKey",
    .meaning = "a new API key",
    .fields = FIELDS(KEY_FIELDS, STRING("secret", "the whole key, shown this once")),
};

const struct api_schema api_schema_migration = {
    .name = "Migration",
    .meaning = "a file of SQL",
    .fields = FIELDS(STRING("name", "of the file"), FLAG("applied", "it is in the database"),
                     MEMBER("time", API_TIME, "when; missing: not yet"),
                     MEMBER("problem", API_TEXT, "what is wrong with it")),
};

const struct api_schema api_schema_migrations = {
    .name = "Migrations",
    .meaning = "all files, in order",
    .fields = FIELDS(ITEMS("migrations", migration, "in order"), COUNT("pending", "to be applied"),
                     COUNT("problems", "to be looked at first")),
};

#define ENTRY(symbol, name) &api_schema_##symbol,
const struct api_schema *const api_schemas[] = {API_SCHEMAS(ENTRY) NULL};
