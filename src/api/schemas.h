/* The JSON objects of the API, each once. Requests are checked by them; answers are described. */
#ifndef POLY_API_SCHEMAS_H
#define POLY_API_SCHEMAS_H

#include "api/operations.h"

/* X(C name, name in OpenAPI) */
#define API_SCHEMAS(X)                                                                             \
    X(problem, "Problem")                                                                          \
    X(row, "Row")                                                                                  \
    X(put, "PutOperation")                                                                         \
    X(patch, "PatchOperation")                                                                     \
    X(delete, "DeleteOperation")                                                                   \
    X(check, "CheckOperation")                                                                     \
    X(append_operation, "AppendOperation")                                                         \
    X(sql_operation, "SqlOperation")                                                               \
    X(operation, "Operation")                                                                      \
    X(transaction, "Transaction")                                                                  \
    X(event, "Event")                                                                              \
    X(append, "Append")                                                                            \
    X(sql, "Sql")                                                                                  \
    X(filter, "Filter")                                                                            \
    X(result, "Result")                                                                            \
    X(commit, "Commit")                                                                            \
    X(document, "Document")                                                                        \
    X(page, "Page")                                                                                \
    X(rows, "Rows")                                                                                \
    X(record, "LogRecord")                                                                         \
    X(records, "LogRecords")                                                                       \
    X(stream, "StreamRecords")                                                                     \
    X(verification, "Verification")                                                                \
    X(import_line, "ImportLine")                                                                   \
    X(imported, "Imported")                                                                        \
    X(acknowledgement, "Acknowledgement")                                                          \
    X(hit, "Hit")                                                                                  \
    X(hits, "Hits")                                                                                \
    X(hybrid, "Hybrid")                                                                            \
    X(vector_search, "VectorSearch")                                                               \
    X(vector_batch, "VectorBatch")                                                                 \
    X(match, "Match")                                                                              \
    X(matches, "Matches")                                                                          \
    X(match_lists, "MatchLists")                                                                   \
    X(embedding, "Embedding")                                                                      \
    X(embedding_refusal, "EmbeddingRefusal")                                                       \
    X(embedding_refusals, "EmbeddingRefusals")                                                     \
    X(embedding_retry, "EmbeddingRetry")                                                           \
    X(vector_index, "VectorIndex")                                                                 \
    X(vector_indexes, "VectorIndexes")                                                             \
    X(model_begin, "ModelBegin")                                                                   \
    X(model_vector, "ModelVector")                                                                 \
    X(model_vectors, "ModelVectors")                                                               \
    X(model_swap, "ModelSwap")                                                                     \
    X(model, "Model")                                                                              \
    X(models, "Models")                                                                            \
    X(model_added, "ModelAdded")                                                                   \
    X(model_swapped, "ModelSwapped")                                                               \
    X(collection_vector, "CollectionVector")                                                       \
    X(collection_request, "CollectionRequest")                                                     \
    X(collection, "Collection")                                                                    \
    X(made_collection, "MadeCollection")                                                           \
    X(collections, "Collections")                                                                  \
    X(pool, "PoolStatus")                                                                          \
    X(server, "ServerStatus")                                                                      \
    X(projection, "Projection")                                                                    \
    X(subscription, "Subscription")                                                                \
    X(domain, "Domain")                                                                            \
    X(view, "View")                                                                                \
    X(status, "Status")                                                                            \
    X(live, "Live")                                                                                \
    X(ready, "Ready")                                                                              \
    X(skip, "Skip")                                                                                \
    X(progress, "Progress")                                                                        \
    X(key_request, "KeyRequest")                                                                   \
    X(key, "Key")                                                                                  \
    X(keys, "Keys")                                                                                \
    X(created_key, "CreatedKey")                                                                   \
    X(migration, "Migration")                                                                      \
    X(migrations, "Migrations")

#define API_SCHEMA_DECLARE(symbol, name) extern const struct api_schema api_schema_##symbol;
API_SCHEMAS(API_SCHEMA_DECLARE)
#undef API_SCHEMA_DECLARE

/* All of them, NULL-terminated, in the order above. */
extern const struct api_schema *const api_schemas[];

/* Texts that are used in more than one table. */
#define API_STATES "ok|behind|opening|filling|retrying|stopped|unreachable|failed"
#define API_COMPARISONS "eq|ne|lt|le|gt|ge|in|prefix|is_null|not_null"
#define API_RIGHTS "read|write|sql|admin"
#define API_FUSIONS "rank|weighted"                  /* in the order of enum poly_fusion */
#define API_METRIC_NAMES "cosine|inner|l2|hamming"   /* in the order of enum poly_metric */
#define API_ELEMENTS "f32|f16|int8|binary"

#endif
