/* From a record of the log to an entry of a collection: what every vector engine does alike. */
#ifndef POLY_STORES_VECTOR_RECORD_H
#define POLY_STORES_VECTOR_RECORD_H

#include "base/arena.h"
#include "core/driver.h"

/* For the drivers' shape() and wants(). */
bool poly_vector_shape(const struct poly_config *config, poly_shape_fn *add, void *arg);
bool poly_vector_wants(const struct poly_config *config, struct poly_text name);

/* What is taken of a record. */
struct poly_vector_entry {
    struct poly_value *values; /* of the shape's filters, then of its field */
    const float *numbers;      /* of the shape's dimensions, checked; NULL: it has no vector */
};

/*
 * names: the shape's filters, then its field. All of the entry is in the arena, or a view into the
 * record. POLY_INVALID: what is in the field is no such vector; the batch stops at this record.
 */
enum poly_status poly_vector_take(const struct poly_domain_vector *shape, const char *const *names,
                                  struct poly_batch *batch, const struct poly_record *record,
                                  struct poly_arena *arena, struct poly_vector_entry *entry,
                                  struct poly_error *err);

#endif
