/* Fields may be split over pieces anywhere: a line is looked at when it is whole. */
#include "cli/events.h"

#include <string.h>

#include "base/limits.h"

static const size_t event_max = (size_t)8 * POLY_MAX_VALUE;

void cli_events_open(struct cli_events *events, cli_event_fn *fn, void *arg)
{
    *events = (struct cli_events){.fn = fn, .arg = arg};
    poly_buffer_init(&events->line, event_max);
    poly_buffer_init(&events->data, event_max);
}

void cli_events_close(struct cli_events *events)
{
    poly_buffer_release(&events->line);
    poly_buffer_release(&events->data);
}

static void dispatch(struct cli_events *events)
{
    const char *name = events->event[0] == '\0' ? "message" : events->event;

    if (events->data.size > 0 &&
        !events->fn(events->arg, name, events->data.data, events->data.size))
        events->stopped = true;
    poly_buffer_clear(&events->data);
    events->event[0] = '\0';
}

static const char *value_of(const struct poly_buffer *line, const char *name, size_t *size)
{
    size_t length = strlen(name);

    if (line->size < length || memcmp(line->data, name, length) != 0)
        return NULL;
    if (line->size > length && line->data[length] == ' ')
        length++;
    *size = line->size - length;
    return line->data + length;
}

static void take_line(struct cli_events *events)
{
    const char *value;
    size_t size;

    if (events->line.size == 0) {
        dispatch(events);
        return;
    }
    value = value_of(&events->line, "data:", &size);
    if (value != NULL) {
        if (events->data.size > 0)
            poly_buffer_char(&events->data, '\n');
        poly_buffer_add(&events->data, value, size);
    }
    value = value_of(&events->line, "event:", &size);
    if (value != NULL && size < sizeof(events->event)) {
        memcpy(events->event, value, size);
        events->event[size] = '\0';
    }
    poly_buffer_clear(&events->line);
}

bool cli_events_feed(void *arg, const void *bytes, size_t size)
{
    struct cli_events *events = arg;
    const char *at = bytes, *end = at + size;

    while (at < end && !events->stopped) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));

        if (stop == NULL) {
            poly_buffer_add(&events->line, at, (size_t)(end - at));
            break;
        }
        poly_buffer_add(&events->line, at, (size_t)(stop - at));
        if (events->line.size > 0 && events->line.data[events->line.size - 1] == '\r')
            events->line.data[--events->line.size] = '\0';
        take_line(events);
        at = stop + 1;
    }
    return !events->stopped && poly_buffer_ok(&events->line) && poly_buffer_ok(&events->data);
}
