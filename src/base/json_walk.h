/*
 * Walking over JSON text without a tree: for whoever wants a few values of a text that
 * poly_json_check() has found well-formed. Every step looks at the end all the same: whatever the
 * text is, nothing here runs over it.
 */
#ifndef POLY_BASE_JSON_WALK_H
#define POLY_BASE_JSON_WALK_H

#include <stdbool.h>

#include "polystore/value.h"

struct poly_json_cursor {
    const char *at, *end;
};

static inline struct poly_json_cursor poly_json_begin(struct poly_text text)
{
    return (struct poly_json_cursor){text.data, text.data + text.size};
}

static inline bool poly_json_done(const struct poly_json_cursor *c)
{
    return c->at >= c->end;
}

/* NUL: the end. */
static inline char poly_json_look(const struct poly_json_cursor *c)
{
    return poly_json_done(c) ? '\0' : *c->at;
}

void poly_json_skip_space(struct poly_json_cursor *c);
/* Can it be a part of a number, true, false, null? */
bool poly_json_in_scalar(char c);

/* From the opening quote to behind the closing one. The text between, escapes and all. */
struct poly_text poly_json_take_string(struct poly_json_cursor *c, bool *escaped);
/* One value, whole. */
struct poly_text poly_json_take_value(struct poly_json_cursor *c);
/* In an object, at a name: the name (raw) and the value behind it; false: there is no name. At its
 * end the cursor is at the next name, or at what ends the object. */
bool poly_json_take_member(struct poly_json_cursor *c, struct poly_text *name, bool *escaped,
                           struct poly_text *value);

/* What a string means: room for as many bytes as it has is enough. Returns the end. */
char *poly_json_unescape(struct poly_text text, char *out);

/* Two hexadecimal digits for each byte; out has room for half of them. false: it is something else,
 * and what is in out means nothing. */
bool poly_json_unhex(struct poly_text hex, char *out);
bool poly_json_is_number(struct poly_text value);
/* Is it a whole number of 64 bits? */
bool poly_json_to_integer(struct poly_text value, int64_t *integer);

/* --- paths: $  $.name  $."any name"  $[3]  $[#-1] (the last), one after the other --- */

/* At most POLY_MAX_PATH bytes. */
bool poly_json_path_valid(const char *path);
/* The value at a valid path, raw; false: nothing is there. */
bool poly_json_path_find(struct poly_text json, const char *path, struct poly_text *value);

#endif
