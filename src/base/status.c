#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

static const struct {
    const char *name;
    const char *meaning;
    int http;
    int exit;
} table[POLY_STATUS_COUNT] = {
#define ROW(name, http, code, meaning) [POLY_##name] = {#name, meaning, http, code},
    POLY_STATUS_MAP(ROW)
#undef ROW
};

const char *poly_status_name(enum poly_status status)
{
    return (unsigned)status < POLY_STATUS_COUNT ? table[status].name : "UNKNOWN";
}

const char *poly_status_meaning(enum poly_status status)
{
    return (unsigned)status < POLY_STATUS_COUNT ? table[status].meaning : "unknown status";
}

int poly_status_http(enum poly_status status)
{
    return (unsigned)status < POLY_STATUS_COUNT ? table[status].http : 500;
}

int poly_status_exit(enum poly_status status)
{
    return (unsigned)status < POLY_STATUS_COUNT ? table[status].exit : 1;
}

const char *poly_version(void)
{
    return POLY_VERSION;
}

__attribute__((format(printf, 4, 0))) static void fill(struct poly_error *err,
                                                       enum poly_status status, int position,
                                                       const char *format, va_list arguments)
{
    if (err == NULL)
        return;
    err->status = status;
    err->position = position;
    err->unknown = false;
    vsnprintf(err->message, sizeof(err->message), format, arguments);
}

enum poly_status poly_fail(struct poly_error *err, enum poly_status status, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    fill(err, status, -1, format, arguments);
    va_end(arguments);
    return status;
}

enum poly_status poly_fail_at(struct poly_error *err, enum poly_status status, int position,
                              const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    fill(err, status, position, format, arguments);
    va_end(arguments);
    return status;
}

enum poly_status poly_fail_in(struct poly_error *err, enum poly_status status, const char *format,
                              ...)
{
    va_list arguments;
    char before[sizeof(((struct poly_error *)0)->message)];
    bool unknown;
    int position;

    if (err == NULL)
        return status;
    unknown = err->unknown;
    memcpy(before, err->message, sizeof(before));
    position = err->position;
    va_start(arguments, format);
    fill(err, status, position, format, arguments);
    va_end(arguments);
    err->unknown = unknown;

    size_t used = strlen(err->message);

    snprintf(err->message + used, sizeof(err->message) - used, ": %.*s", (int)(sizeof(before) - 1),
             before);
    return status;
}

enum poly_status poly_no_memory(struct poly_error *err)
{
    return poly_fail(err, POLY_NO_MEMORY, "out of memory");
}

void poly_assert_failed(const char *what, const char *file, int line)
{
    fprintf(stderr, "polystore: bug: %s does not hold at %s:%d\n", what, file, line);
    abort();
}
