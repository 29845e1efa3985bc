/*
 * Conditions: out of JSON, for which docs/vectors.md has the grammar, and into an engine's SQL. The
 * parser walks over the text, so that whatever is wrong is named with its place, and memory goes
 * into the condition only.
 */
#ifndef POLY_FOLLOWERS_WHERE_H
#define POLY_FOLLOWERS_WHERE_H

#include "base/arena.h"
#include "base/buffer.h"
#include "base/status.h"
#include "polystore/relational.h"

/* Everything is in the arena; json may go. POLY_INVALID: err->position is the byte offset of what
 * is wrong, and the message says it in words; over a maximum, too. */
enum poly_status poly_where_read(struct poly_text json, struct poly_arena *arena,
                                 const struct poly_where **where, struct poly_error *err);

/* What poly_where_read() makes the same condition of: of one that it has made, exactly. Times and
 * UUIDs become text. */
void poly_where_print(const struct poly_where *where, struct poly_buffer *out);

typedef enum poly_status poly_compare_fn(void *arg, const struct poly_filter *filter);

/* Gives see each comparison, in order, until it fails. where NULL: there are none. POLY_LIMIT: more
 * than POLY_MAX_FILTERS, or too deep; POLY_INVALID: no condition at all. */
enum poly_status poly_where_each(const struct poly_where *where, poly_compare_fn *see, void *arg,
                                 struct poly_error *err);

/* The condition and filters beside it, all of which must hold. where NULL: there is none; *all
 * NULL: there is nothing at all. POLY_LIMIT: more than POLY_MAX_FILTERS. */
enum poly_status poly_where_beside(const struct poly_where *where,
                                   const struct poly_filter *filters, size_t count,
                                   struct poly_arena *arena, const struct poly_where **all,
                                   struct poly_error *err);

/* As SQL, in brackets; each comparison is printed by print, in the order of poly_where_each(). The
 * condition has passed that. What print adds is SQL's null where the field is. */
enum poly_status poly_where_sql(const struct poly_where *where, poly_compare_fn *print, void *arg,
                                struct poly_buffer *out);

/* Can it hold where only the fields are that has() knows? */
bool poly_where_can_hold(const struct poly_where *where,
                         bool (*has)(const void *arg, const char *column), const void *arg);

#endif
