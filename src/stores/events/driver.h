/*
 * The contract between the events store and its drivers. Events are records of
 * the log, so the driver lives in the log's own database: append runs on the
 * writer, read on a snapshot. store.c alone calls it, with arguments checked.
 */
#ifndef POLY_STORES_EVENTS_DRIVER_H
#define POLY_STORES_EVENTS_DRIVER_H

#include "core/operation.h"
#include "polystore/events.h"

/* "category-id", taken apart. */
struct poly_stream {
    struct poly_text name, category, id;
};
struct poly_stream poly_stream_split(const char *name);

struct poly_append {
    struct poly_operation base;
    struct poly_stream stream;
    struct poly_text tenant;
    int64_t expected;
    const struct poly_event *events; /* copies in the transaction's arena; meta checked */
    size_t count;
};

struct poly_stream_read {
    struct poly_stream stream;
    struct poly_text tenant;
    struct poly_stream_query query; /* with its limit */
    poly_record_fn *visit;
    void *arg;
    struct poly_arena *arena;
    uint64_t version; /* out: of the stream now; 0: there is none */
};

struct poly_events_driver {
    const char *name;
    /* Checks the expected version, adds the events, fills the operation's result. */
    enum poly_status (*append)(struct poly_append *append, struct poly_write *write,
                               struct poly_error *err);
    /* The same in two parts, on a server: see struct poly_operation_type. */
    enum poly_status (*queue)(struct poly_append *append, struct poly_write *write,
                              struct poly_error *err);
    enum poly_status (*take)(struct poly_append *append, struct poly_write *write,
                             struct poly_error *err);
    /* Visits the events in the order of the query. */
    enum poly_status (*read)(struct poly_db *db, struct poly_stream_read *read,
                             struct poly_error *err);
};

/* The event's own metadata over the transaction's: its names win. In the transaction's arena. */
enum poly_status poly_event_meta(struct poly_write *write, const char *own, struct poly_text *meta,
                                 struct poly_error *err);

extern const struct poly_events_driver poly_events_embedded, poly_events_postgresql;

#endif
