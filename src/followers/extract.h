/* Fields of a JSON object, without a tree: what an index takes of a document. */
#ifndef POLY_FOLLOWERS_EXTRACT_H
#define POLY_FOLLOWERS_EXTRACT_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/status.h"

struct poly_extract_names {
    const char *in; /* they are those of this field, an object; NULL: of the document */
    const char *const *fields;
    size_t field_count;
    const char *const *filters;
    size_t filter_count;
};

/*
 * json: one well-formed text (poly_json_check). texts[i] becomes what is to be
 * indexed of fields[i] (data NULL: nothing), filters[i] the value of
 * names->filters[i] (NULL when absent). Views into json where they can be,
 * else in the arena.
 *
 * Text and numbers are indexed as they stand, truth values and null not. Of an
 * array or object: every text and number in it, with ", " between. Bytes are not.
 * A filter's array or object is kept as JSON. A json that is no object has no fields.
 */
enum poly_status poly_extract(struct poly_text json, const struct poly_extract_names *names,
                              struct poly_arena *arena, struct poly_text *texts,
                              struct poly_value *filters, struct poly_error *err);

/* One field as it stands: text as TEXT, {"$bytes"} as BYTES, all else as JSON; null and absent:
 * NULL. */
enum poly_status poly_extract_one(struct poly_text json, const char *name, struct poly_arena *arena,
                                  struct poly_value *value, struct poly_error *err);

#endif
