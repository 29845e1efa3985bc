/*
 * Vectors in JSON. Thousands of numbers as a tree of values cost more than the search that they are
 * for, so arrays of numbers are read straight into singles, and the tree is made of the rest.
 */
#ifndef POLY_BASE_JSON_FLOATS_H
#define POLY_BASE_JSON_FLOATS_H

#include "base/arena.h"
#include "base/buffer.h"
#include "base/status.h"

/* The number at *at, as JSON writes it, rounded once to the nearest single; *at moves behind it.
 * False: no number stands there, or it is larger than any single. */
bool poly_json_read_float(const char **at, const char *end, float *number);

/* The shortest digits that read back as this very single: "0.1", "1e-12". At most nine of them, and
 * always nine of what is very large or small (some 1e22, 1e-12). NaN and infinities, which JSON has
 * not: null. */
void poly_json_float(struct poly_buffer *buffer, float number);

/* "[0.1,-2]" */
void poly_json_floats(struct poly_buffer *buffer, const float *numbers, size_t count);

struct poly_floats {
    const float *numbers;
    size_t count;
};

/* Which arrays to take: the values of a member. */
struct poly_floats_place {
    const char *name;
    int depth;  /* of the objects that have it: 1 is the outermost, 3 one of a list in it */
    size_t max; /* numbers; a longer array stays */
};

struct poly_floats_taken {
    struct poly_text text;            /* JSON: [17] stands where the array arrays[17] stood */
    const struct poly_floats *arrays; /* NULL: none was taken, and text is what was given */
    size_t count;
};

/*
 * Copies a JSON text but for such arrays. What is no array of numbers, or holds one that is no
 * single, stays as it is: whoever makes the tree of the text says what is wrong. An array of one
 * integer in the new text is always one that was taken, unless none was. The text is not checked
 * otherwise. POLY_NO_MEMORY: the arena is at its end.
 */
enum poly_status poly_json_take_floats(struct poly_text text, const struct poly_floats_place *place,
                                       struct poly_arena *arena, struct poly_floats_taken *taken,
                                       struct poly_error *err);

#endif
