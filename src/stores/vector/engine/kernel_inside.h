/* What the files of the kernel share: an original read in parts, as floats. */
#ifndef POLY_STORES_VECTOR_ENGINE_KERNEL_INSIDE_H
#define POLY_STORES_VECTOR_ENGINE_KERNEL_INSIDE_H

#include "stores/vector/engine/kernel.h"

struct poly_vector_source {
    enum poly_element element;
    const void *original;
    double factor; /* that gives it the length 1, where its element cannot keep that */
};

void poly_vector_source(struct poly_vector_source *source, enum poly_element element,
                        enum poly_metric metric, const void *original, size_t dimensions);
/* count values from that place on, as poly_vector_unpack() gives them. */
void poly_vector_part(const struct poly_vector_source *source, size_t from, size_t count,
                      float *part);

#endif
