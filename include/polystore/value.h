/*
 * Values that go into every store and come out again.
 *
 * Values point, they do not own. What a caller passes in must live until the
 * call returns; what a call hands out lives in the session's arena, until
 * poly_session_reset() or poly_session_close().
 *
 * As JSON: integers and floats are numbers (an infinity is {"$float":
 * "Infinity"}), bytes are {"$bytes": "<hex>"}, times are RFC 3339 text in UTC
 * with microseconds, UUIDs are text.
 */
#ifndef POLYSTORE_VALUE_H
#define POLYSTORE_VALUE_H

#include <stdbool.h>
#include <string.h>

#include "polystore/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum poly_type {
    POLY_NULL,
    POLY_BOOL,
    POLY_INT,   /* 64-bit signed */
    POLY_FLOAT, /* IEEE 754 double, no NaN */
    POLY_TEXT,  /* UTF-8 without NUL */
    POLY_BYTES,
    POLY_JSON, /* JSON text */
    POLY_TIME, /* microseconds since 1970-01-01 UTC, in .integer */
    POLY_UUID  /* 16 bytes, in .bytes */
};

/* Bytes with their length. A text handed out by the library also ends in NUL. */
struct poly_text {
    const char *data;
    size_t size;
};

struct poly_value {
    enum poly_type type;
    union {
        bool boolean;
        int64_t integer;
        double real;
        struct poly_text text; /* TEXT, BYTES, JSON */
        uint8_t uuid[16];
    };
};

struct poly_field {
    const char *name;
    struct poly_value value;
};

struct poly_row {
    const struct poly_field *fields;
    size_t count;
};

static inline struct poly_text poly_text(const char *s)
{
    struct poly_text t = {s, s == NULL ? 0 : strlen(s)};
    return t;
}

static inline struct poly_value poly_null(void)
{
    struct poly_value v;
    memset(&v, 0, sizeof(v));
    return v;
}

static inline struct poly_value poly_bool(bool b)
{
    struct poly_value v = poly_null();
    v.type = POLY_BOOL;
    v.boolean = b;
    return v;
}

static inline struct poly_value poly_int(int64_t i)
{
    struct poly_value v = poly_null();
    v.type = POLY_INT;
    v.integer = i;
    return v;
}

static inline struct poly_value poly_float(double d)
{
    struct poly_value v = poly_null();
    v.type = POLY_FLOAT;
    v.real = d;
    return v;
}

static inline struct poly_value poly_time(int64_t microseconds)
{
    struct poly_value v = poly_null();
    v.type = POLY_TIME;
    v.integer = microseconds;
    return v;
}

static inline struct poly_value poly_str(const char *s)
{
    struct poly_value v = poly_null();
    v.type = POLY_TEXT;
    v.text = poly_text(s);
    return v;
}

static inline struct poly_value poly_json(const char *s)
{
    struct poly_value v = poly_null();
    v.type = POLY_JSON;
    v.text = poly_text(s);
    return v;
}

static inline struct poly_value poly_bytes(const void *data, size_t size)
{
    struct poly_value v = poly_null();
    v.type = POLY_BYTES;
    v.text.data = (const char *)data;
    v.text.size = size;
    return v;
}

/* A new UUID, version 7 (RFC 9562): it sorts by the time it was made. */
POLY_API struct poly_value poly_uuid_new(void);
/* From its 36 characters; POLY_INVALID when they are no UUID. */
POLY_API enum poly_status poly_uuid_parse(const char *text, struct poly_value *uuid,
                                          struct poly_error *err) POLY_MUST_USE;
/* Into 37 bytes. */
POLY_API void poly_uuid_format(const uint8_t uuid[16], char text[37]);

#ifdef __cplusplus
}
#endif
#endif
