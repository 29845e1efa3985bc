/*
 * Bytes that grow, up to a maximum that is named at birth. After the first
 * failed call every later one does nothing, so that a printer checks once, at
 * the end: poly_buffer_ok().
 */
#ifndef POLY_BASE_BUFFER_H
#define POLY_BASE_BUFFER_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct poly_buffer {
    char *data; /* ends in NUL when not NULL */
    size_t size, capacity, max;
    bool failed; /* over max, or out of memory … */
    bool over;   /* … and which: it was max */
};

void poly_buffer_init(struct poly_buffer *buffer, size_t max);
void poly_buffer_release(struct poly_buffer *buffer); /* frees; may be used again after init */
void poly_buffer_clear(struct poly_buffer *buffer);   /* keeps the memory, forgets a failure */

/* Where there is room already: inline, every printer lives by it. */
void poly_buffer_add_slow(struct poly_buffer *buffer, const void *data, size_t size);
static inline void poly_buffer_add(struct poly_buffer *buffer, const void *data, size_t size)
{
    if (buffer->failed || size == 0 || size >= buffer->capacity - buffer->size ||
        size > buffer->max - buffer->size) {
        poly_buffer_add_slow(buffer, data, size);
        return;
    }
    memcpy(buffer->data + buffer->size, data, size);
    buffer->size += size;
    buffer->data[buffer->size] = '\0';
}
static inline void poly_buffer_char(struct poly_buffer *buffer, char c)
{
    poly_buffer_add(buffer, &c, 1);
}
void poly_buffer_text(struct poly_buffer *buffer, const char *text);
void poly_buffer_printf(struct poly_buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void poly_buffer_vprintf(struct poly_buffer *buffer, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

static inline bool poly_buffer_ok(const struct poly_buffer *buffer)
{
    return !buffer->failed;
}

#endif
