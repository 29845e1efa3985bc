/*
 * Doubling, so that adding costs the same however long the text gets. The
 * first bytes are taken on first use: a buffer that stays empty costs nothing.
 */
#include "base/buffer.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST = 256 };

void poly_buffer_init(struct poly_buffer *buffer, size_t max)
{
    *buffer = (struct poly_buffer){.max = max};
}

void poly_buffer_release(struct poly_buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct poly_buffer){.failed = true};
}

void poly_buffer_clear(struct poly_buffer *buffer)
{
    buffer->size = 0;
    buffer->failed = buffer->over = false;
    if (buffer->data != NULL)
        buffer->data[0] = '\0';
}

/* Room for size more bytes and the NUL. */
static bool grow(struct poly_buffer *buffer, size_t size)
{
    size_t needed, capacity = buffer->capacity == 0 ? FIRST : buffer->capacity;

    if (buffer->failed)
        return false;
    buffer->over = __builtin_add_overflow(buffer->size, size, &needed) || needed > buffer->max ||
                   needed == SIZE_MAX;
    if (buffer->over)
        goto fail;
    needed++;
    while (capacity < needed)
        capacity = capacity > SIZE_MAX / 2 ? needed : capacity * 2;

    char *data = realloc(buffer->data, capacity);

    if (data == NULL)
        goto fail;
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
fail:
    buffer->failed = true;
    return false;
}

static bool reserve(struct poly_buffer *buffer, size_t size)
{
    bool fits = !buffer->failed && size < buffer->capacity - buffer->size &&
                size <= buffer->max - buffer->size;

    return fits || grow(buffer, size);
}

void poly_buffer_add_slow(struct poly_buffer *buffer, const void *data, size_t size)
{
    if (!reserve(buffer, size))
        return;
    if (size > 0)
        memcpy(buffer->data + buffer->size, data, size);
    buffer->size += size;
    buffer->data[buffer->size] = '\0';
}

void poly_buffer_text(struct poly_buffer *buffer, const char *text)
{
    poly_buffer_add(buffer, text, strlen(text));
}

void poly_buffer_printf(struct poly_buffer *buffer, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    poly_buffer_vprintf(buffer, format, arguments);
    va_end(arguments);
}

void poly_buffer_vprintf(struct poly_buffer *buffer, const char *format, va_list arguments)
{
    va_list again;
    size_t room = buffer->failed ? 0 : buffer->capacity - buffer->size;

    va_copy(again, arguments);
    int size = vsnprintf(room == 0 ? NULL : buffer->data + buffer->size, room, format, arguments);

    bool fits = size >= 0 && reserve(buffer, (size_t)size);

    if (fits && (size_t)size >= room)
        vsnprintf(buffer->data + buffer->size, (size_t)size + 1, format, again);
    va_end(again);
    if (fits)
        buffer->size += (size_t)size;
    else
        buffer->failed = true;
    if (buffer->data != NULL)
        buffer->data[buffer->size] = '\0';
}
