/*
 * Events: facts, appended to streams, never changed.
 *
 * A stream is named "category-id" ("order-42"): the category is what stands
 * before the first '-', or the whole name, and is the event's domain in the
 * log. Versions of a stream count 1, 2, 3. Event types do not begin with '$'.
 */
#ifndef POLYSTORE_EVENTS_H
#define POLYSTORE_EVENTS_H

#include "polystore/log.h"
#include "polystore/txn.h"

#ifdef __cplusplus
extern "C" {
#endif

struct poly_event {
    const char *type;
    struct poly_value data; /* JSON, BYTES, TEXT (kept as a JSON string) or NULL */
    const char *meta;       /* JSON object, or NULL; "correlation" and "causation" default to the
                               transaction's */
};

/* Expected version of a stream. Any other number: exactly that. */
#define POLY_ANY (-1)
#define POLY_NONE 0

/*
 * Adds events to a stream. In a batch, checks happen at commit. POLY_CONFLICT:
 * the stream's version is another. POLY_INVALID: names, JSON. POLY_LIMIT.
 */
POLY_API enum poly_status poly_append(struct poly_txn *txn, const char *stream, int64_t expected,
                                      const struct poly_event *events, size_t count,
                                      struct poly_error *err) POLY_MUST_USE;

struct poly_stream_query {
    const char *stream;
    uint64_t from; /* first version; 0: the beginning (backwards: the end) */
    bool backwards;
    uint32_t limit;         /* 0: 1,000 */
    const char *path;       /* JSON path in the data ("$.city"); NULL: no filter */
    struct poly_value equal; /* … whose value equals this */
};

struct poly_records {
    const struct poly_record *records;
    size_t count;
    bool more;        /* there are more beyond the limit */
    uint64_t version; /* of the stream now; 0: there is no such stream */
};

POLY_API enum poly_status poly_stream_read(struct poly_session *session,
                                           const struct poly_stream_query *query,
                                           struct poly_records *records,
                                           struct poly_error *err) POLY_MUST_USE;

#ifdef __cplusplus
}
#endif
#endif
