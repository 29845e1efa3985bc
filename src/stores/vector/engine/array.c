/* Doubling segments: at most half of what is reserved is not used yet, and the system does not give
 * memory for the pages of a large segment before they are written. */
#include "stores/vector/engine/array.h"

#include <stdlib.h>

bool poly_array_reserve(struct poly_array *array, uint32_t count)
{
    unsigned last = count == 0 ? 0 : poly_array_segment(count - 1);

    for (unsigned s = 0; count > 0 && s <= last; s++) {
        size_t length = s == 0 ? (size_t)1 << POLY_ARRAY_FIRST_BITS : poly_array_begin(s);

        if (array->segments[s] != NULL)
            continue;
        array->segments[s] = calloc(length, array->width);
        if (array->segments[s] == NULL)
            return false;
    }
    return true;
}

void poly_array_release(struct poly_array *array)
{
    for (unsigned s = 0; s < POLY_ARRAY_SEGMENTS; s++) {
        free(array->segments[s]);
        array->segments[s] = NULL;
    }
}
