/*
 * Saying why: fills the caller's error and returns the status, so that a line can end with it.
 * Cold: the compiler puts what leads here out of the way of what goes well.
 */
#ifndef POLY_BASE_STATUS_H
#define POLY_BASE_STATUS_H

#include "polystore/status.h"

/* err may be NULL. The text is cut, never overrun; position becomes -1. */
enum poly_status poly_fail(struct poly_error *err, enum poly_status status, const char *format, ...)
    __attribute__((cold, format(printf, 3, 4)));

/* The same, with the offset in the caller's text. */
enum poly_status poly_fail_at(struct poly_error *err, enum poly_status status, int position,
                              const char *format, ...) __attribute__((cold, format(printf, 4, 5)));

/* Puts "prefix: " before the message that is there already; returns err's status. */
enum poly_status poly_fail_in(struct poly_error *err, enum poly_status status, const char *format,
                              ...) __attribute__((cold, format(printf, 3, 4)));

/* The one message for a failed allocation. */
enum poly_status poly_no_memory(struct poly_error *err) __attribute__((cold));

#endif
