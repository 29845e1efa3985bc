/* The handlers, by file. Each does what its operation in operations.c says. */
#ifndef POLY_API_HANDLERS_H
#define POLY_API_HANDLERS_H

#include "api/context.h"

#define RUN(name) enum poly_status api_##name(struct api_context *context, struct poly_error *err)
#define STAGE(name)                                                                                \
    enum poly_status api_stage_##name(struct api_context *context, struct poly_txn *txn,           \
                                      struct poly_error *err)

/* transactions.c */
STAGE(transaction);

/* records.c */
RUN(record_get);
RUN(record_list);
STAGE(record_put);
STAGE(record_patch);
STAGE(record_delete);
STAGE(record_create);

/* sql.c */
RUN(sql_read);

/* events.c */
RUN(stream_read);
STAGE(append);
/* The members "expected" and "events" of a body, onto a stream. */
enum poly_status api_append_events(struct api_context *context, struct poly_txn *txn,
                                   const char *stream, const json_t *body, struct poly_error *err);
/* An event out of {type, data, meta}. */
enum poly_status api_make_event(const struct api_context *context, const json_t *json,
                                struct poly_event *event, struct poly_error *err);

/* log.c */
RUN(log_read);
RUN(log_export);
RUN(log_import);
RUN(log_verify);

/* subscriptions.c */
RUN(subscription_events);
RUN(subscription_ack);
RUN(subscription_delete);

/* search.c */
RUN(search);

/* vectors.c */
RUN(vector_search);
RUN(vector_batch);
RUN(vector_stats);
/* What /metrics says of the indexes; nothing where the session may not know. */
enum poly_status api_vector_metrics(struct poly_session *session, struct poly_buffer *out,
                                    struct poly_error *err);

/* collections.c */
RUN(collection_create);
RUN(collection_list);
RUN(collection_drop);
/* embeddings.c */
RUN(embedding_refused);
RUN(embedding_retry);
/* A member of the status, and what /metrics says. */
void api_embeddings_print(struct poly_buffer *out, const struct poly_status_report *report);
void api_embeddings_metrics(struct poly_buffer *out, const struct poly_status_report *report);

/* status.c */
RUN(status);
RUN(live);
RUN(ready);
RUN(metrics_text);
RUN(openapi_json);

/* models.c */
RUN(model_list);
RUN(model_begin);
RUN(model_add);
RUN(model_swap);
RUN(model_abandon);
struct poly_floats;
/* vectors.c: exactly one of the members 'vector' and 'vector_base64' of an object. */
enum poly_status api_vector_given(const struct api_context *context, const json_t *json,
                                  struct poly_floats *floats, struct poly_error *err);

/* admin.c */
RUN(projection_retry);
RUN(projection_skip);
RUN(projection_rebuild);
RUN(projection_back);
RUN(view_refresh);
RUN(key_list);
RUN(key_create);
RUN(key_revoke);
RUN(migration_list);
RUN(migration_up);

/* progress.c: lines of Progress while something long runs */
struct api_progress {
    struct api_context *context;
    int64_t next; /* monotonic: no line before */
    uint64_t done, total;
    bool print;
};
void api_progress_open(struct api_progress *progress, struct api_context *context, bool print);
/* A poly_progress_fn; arg is the struct api_progress. */
bool api_progress_tell(void *arg, uint64_t done, uint64_t total);

void api_progress_line(const struct api_progress *progress, bool finished);

#undef RUN
#undef STAGE

#endif
