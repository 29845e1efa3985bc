/*
 * What every side of the vector measurement is: a program that makes an index of the first COUNT
 * vectors of a folder (bench/vector_data.c) and then answers. One file for each side fills the
 * table; vector_side.c has the rest: the same vectors, questions, clock and judgement for all.
 *
 * NAME FOLDER DIMENSIONS COUNT [SCRATCH], then on standard input lines of EF PERMILLE. It prints
 * the seconds that building took and the index's bytes, then for each line: searches a second,
 * recall@10, and distances computed for one search (0: not said).
 */
#ifndef POLY_BENCH_VECTOR_SIDE_H
#define POLY_BENCH_VECTOR_SIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { VECTOR_K = 10, VECTOR_M = 16, VECTOR_EF_CONSTRUCTION = 200, VECTOR_ALL = 1000 };

struct vector_set {
    uint32_t dimensions, count, query_count;
    const float *base, *queries; /* of length 1 */
    const char *scratch;         /* a folder for files, or NULL */
};

struct vector_side {
    bool remote; /* another process works for it: the clock on the wall counts, not our cpu time */
    void (*build)(const struct vector_set *set);
    uint64_t (*bytes)(void); /* of the index, without the vectors where they are not part of it */
    /* permille: of the vectors that vector_fits(); VECTOR_ALL: no filter. ids has room for
     * VECTOR_K; unused places are UINT32_MAX. Returns distances computed, or 0. */
    uint64_t (*search)(const float *query, uint32_t ef, uint32_t permille, uint32_t *ids);
};

/* A filter that lets about so many of a thousand through. */
static inline bool vector_fits(uint32_t id, uint32_t permille)
{
    return (uint64_t)(id * 2654435761U) * 1000 >> 32 < permille;
}

int vector_main(int argc, char **argv, const struct vector_side *side);
/* Contents of FOLDER/NAME, mapped; *bytes its size. Ends the program when it is not there. */
const void *vector_map(const char *folder, const char *name, size_t *bytes);
/* FOLDER/truth-COUNT-PERMILLE.u32 */
void vector_truth_name(char *name, size_t size, uint32_t count, uint32_t permille);

#ifdef __cplusplus
}
#endif
#endif
