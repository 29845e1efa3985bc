/* A sink into memory, and calls as the daemon makes them: from method, path and query. */
#ifndef API_HELP_H
#define API_HELP_H

#include "api/api.h"
#include "base/buffer.h"

struct memory_sink {
    struct api_sink sink;
    struct api_head head;
    struct poly_buffer out;
    unsigned begins, writes;
    size_t largest; /* bytes of one write */
    size_t room;    /* bytes after which the reader goes away; 0: never */
};

struct call {
    const char *method, *target; /* "/v1/log?after=3" */
    const char *body;
    struct api_request request; /* what else the request has */
};

void memory_sink_init(struct memory_sink *sink);
void memory_sink_release(struct memory_sink *sink);

/* Routes, takes the query, calls. POLY_UNSUPPORTED with a message: no such route. */
enum poly_status api_run(struct poly_session *session, const struct call *call,
                         struct memory_sink *sink, struct poly_error *err);

#endif
