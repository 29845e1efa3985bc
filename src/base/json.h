/*
 * JSON at the edges: a printer straight into a buffer, and a reader (jansson)
 * into rows of values. The forms are those of polystore/value.h.
 */
#ifndef POLY_BASE_JSON_H
#define POLY_BASE_JSON_H

#include <jansson.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/status.h"
#include "polystore/value.h"

/* --- printing: strings are escaped, invalid UTF-8 becomes U+FFFD --- */

void poly_json_string(struct poly_buffer *buffer, const char *data, size_t size);
/* The shortest text that reads back as this very double: "1.0", "0.1", "1e+300". NaN: null. */
void poly_json_number(struct poly_buffer *buffer, double number);
void poly_json_value(struct poly_buffer *buffer, const struct poly_value *value);
/* {"name": value, …} */
void poly_json_row(struct poly_buffer *buffer, const struct poly_row *row);
/* What poly_json_parse() gave, on one line. Recursive: not for trees of other depth. */
void poly_json_tree(struct poly_buffer *buffer, const json_t *json);

/* RFC 3339, UTC, microseconds: "2026-11-21T03:20:00.123456Z", into 28 bytes. Before the year 0
 * and after 9999: the nearest that can be written. */
void poly_json_time(int64_t microseconds, char text[28]);
/* Also offsets and less or more digits of a second ("2026-11-21 04:20+01:00" lacks the seconds:
 * POLY_INVALID). What is finer than a microsecond is dropped. */
enum poly_status poly_json_parse_time(const char *text, int64_t *microseconds,
                                      struct poly_error *err);

/* --- reading --- */

/*
 * One JSON text, whole: depth up to POLY_MAX_JSON_DEPTH, no duplicate names,
 * no NUL in strings, no bytes after it. POLY_INVALID with line and column in
 * the message and the byte offset in err->position. POLY_LIMIT: it would take more memory than
 * POLY_MAX_JSON_TREE. Give back with json_decref().
 */
enum poly_status poly_json_parse(const char *text, size_t size, json_t **json,
                                 struct poly_error *err);
/* Is it one well-formed text, within the same bounds? Allocates nothing. Duplicate names are the
 * one thing that only poly_json_parse() finds. Numbers that 64-bit integers or doubles cannot hold
 * are POLY_INVALID in both. */
enum poly_status poly_json_check(const char *text, size_t size, struct poly_error *err);
/* The same, and how many bytes the tree of poly_json_parse() takes, about. */
enum poly_status poly_json_measure(const char *text, size_t size, size_t *tree,
                                   struct poly_error *err);
/* POLY_INVALID: "JSON, line 2, column 7: problem", for a problem at that offset. */
enum poly_status poly_json_fail(struct poly_error *err, const char *text, size_t offset,
                                const char *problem);

/* Scalars become scalars, {"$bytes"} and {"$float"} what they say, other objects and arrays
 * POLY_JSON. Everything is copied into the arena. */
enum poly_status poly_json_to_value(const json_t *json, struct poly_arena *arena,
                                    struct poly_value *value, struct poly_error *err);
/* An object into a row, names in the order of the text. POLY_INVALID when it is none. */
enum poly_status poly_json_to_row(const json_t *json, struct poly_arena *arena,
                                  struct poly_row *row, struct poly_error *err);

#endif
