/*
 * Conditions as JSON: docs/vectors.md has the grammar. The parser walks over the text, so that
 * whatever is wrong is named with its place, and memory goes into the condition only.
 */
#ifndef POLY_STORES_VECTOR_WHERE_H
#define POLY_STORES_VECTOR_WHERE_H

#include "base/arena.h"
#include "base/buffer.h"
#include "base/status.h"
#include "polystore/vector.h"

/* Everything is in the arena; json may go. POLY_INVALID: err->position is the byte offset of what
 * is wrong, and the message says it in words; over a maximum, too. */
enum poly_status poly_where_read(struct poly_text json, struct poly_arena *arena,
                                 const struct poly_where **where, struct poly_error *err);

/* What poly_where_read() makes the same condition of: of one that it has made, exactly. Times and
 * UUIDs become text. */
void poly_where_print(const struct poly_where *where, struct poly_buffer *out);

#endif
