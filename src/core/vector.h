/* A vector as a record holds it, whichever store looks at it: bytes, JSON, or text. */
#ifndef POLY_CORE_VECTOR_H
#define POLY_CORE_VECTOR_H

#include "base/arena.h"
#include "base/buffer.h"
#include "core/domain.h"
#include "polystore/value.h"

/* The domain's vector of that field as it is now, the first one of several; NULL: it holds none. */
const struct poly_domain_vector *poly_vector_of(const struct poly_domain *domain,
                                                const char *field);

/* Is it made by an embedder? Then a record that is put without it keeps the one that it has. */
bool poly_vector_made(const struct poly_domain *domain, const char *field);

/*
 * Bytes are little-endian IEEE 754 singles; JSON is an array of numbers, and so is text, which may
 * also be PostgreSQL's array {1,2}. *numbers has the shape's dimensions, in the arena; NULL: the
 * value is null. POLY_INVALID: another length, no numbers, and what poly_vector_check() says.
 */
enum poly_status poly_vector_read(const struct poly_domain_vector *shape,
                                  const struct poly_value *value, struct poly_arena *arena,
                                  const float **numbers, struct poly_error *err);

/* Longer ones have distances that no single can hold. */
#define POLY_MAX_VECTOR_LENGTH 1e18

/* POLY_INVALID: NaN or infinity, and what metric and element cannot have: all zero under cosine, a
 * length over POLY_MAX_VECTOR_LENGTH under another metric, over 65,504 in f16, no whole number of
 * -127 to 127 in int8 (both but under cosine), others than 0 and 1 in binary. The message names the
 * place, from 1. */
enum poly_status poly_vector_check(const struct poly_domain_vector *shape, const float *numbers,
                                   size_t count, struct poly_error *err);
/* The same of a field that several of a domain's vectors may be made of: all of them. */
enum poly_status poly_vector_check_all(const struct poly_domain *domain, const char *field,
                                       const float *numbers, size_t count, struct poly_error *err);

/* "[0.25,1,-2]", each with the digits that give this very number back. */
void poly_vector_print(struct poly_buffer *buffer, const float *numbers, size_t count, char open,
                       char close);

#endif
