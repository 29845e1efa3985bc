/* How near is near: the metrics of the configuration. */
#include <string.h>

#include "stores/vector/driver.h"

enum poly_metric poly_vector_metric(const struct poly_domain_vector *vector)
{
    static const char *const names[] = {[POLY_COSINE] = "cosine",
                                        [POLY_INNER] = "inner",
                                        [POLY_L2] = "l2",
                                        [POLY_HAMMING] = "hamming"};
    size_t i = 0;

    while (i < POLY_HAMMING && strcmp(names[i], vector->metric) != 0)
        i++;
    return (enum poly_metric)i;
}

double poly_vector_similarity(const struct poly_domain_vector *vector, double distance)
{
    switch (poly_vector_metric(vector)) {
    case POLY_INNER:
        return -distance;
    case POLY_L2:
        return 1 / (1 + distance);
    case POLY_HAMMING:
        return 1 - distance / vector->dimensions;
    case POLY_COSINE:
        break;
    }
    return 1 - distance;
}
