/*
 * Made-up vectors: what embeddings of text look like, as far as that can be made up. Centres whose
 * frequencies fall off, points around them that differ in few directions much and in all a little,
 * all of length 1. The same ones in the same order at each call of a program.
 */
#ifndef POLY_BENCH_VECTOR_MADE_H
#define POLY_BENCH_VECTOR_MADE_H

#include <stddef.h>
#include <stdint.h>

/* A number that looks random. */
uint64_t vector_made_random(void);
/* Once, before the first vector. */
void vector_made_begin(size_t dimensions);
/* The next vector. */
void vector_made_next(float *point);

#endif
