/* Server-sent events out of the bytes of an answer. */
#ifndef POLY_CLI_EVENTS_H
#define POLY_CLI_EVENTS_H

#include <stdbool.h>

#include "base/buffer.h"

/* false: stop. event: "message" or what it is named; data as it came. */
typedef bool cli_event_fn(void *arg, const char *event, const char *data, size_t size);

struct cli_events {
    cli_event_fn *fn;
    void *arg;
    struct poly_buffer line, data;
    char event[32];
    bool stopped;
};

void cli_events_open(struct cli_events *events, cli_event_fn *fn, void *arg);
void cli_events_close(struct cli_events *events);
/* A cli_bytes_fn; arg: the struct cli_events. */
bool cli_events_feed(void *arg, const void *bytes, size_t size);

#endif
