/*
 * Codes: plain loops that the compiler turns into vector instructions. This file is compiled once
 * for each variant, with POLY_LOOPS its name; nothing here may be called before the processor has
 * been asked. Integers are summed in any order; what is made of the sums is computed step by step
 * as it is written (no fused multiplication either), so that a code's distance is the same float on
 * every machine, alone or among others.
 *
 * The product of unsigned and signed bytes is written so that gcc makes VNNI's vpdpbusd of it,
 * which multiplies 64 pairs at a time. Rows are read to their end, the query being zero there: no
 * tail needs a loop of its own.
 */
#include "stores/vector/engine/kernel_loops.h"

#include <math.h>
#include <string.h>

#define BLOCK 64         /* rows whose distances are finished together */
#define AHEAD_BYTES 4096 /* of rows that are asked for before they are needed: … */
#define AHEAD_LEAST 4    /* … at least so many rows, … */
#define AHEAD_MOST 20    /* … at most so many, more than that stand in each other's way */
#define LINE 64          /* bytes of a cache line */
#define LINES_AHEAD 16   /* of one row; the processor itself fetches what follows */

/* What a few float operations may be wrong by, relative to what goes into them. */
#define SLACK (32 * 0x1p-24F)
/* More than what is lost where squares or products are too small for a float. */
#define LEAST 1e-18F

static inline int32_t dot_row(const uint8_t *restrict code, const int8_t *restrict query,
                              size_t count)
{
    int32_t sum = 0;

    count &= ~(size_t)31;
    for (size_t i = 0; i < count; i++)
        sum += code[i] * query[i];
    return sum;
}

static int32_t dot_codes(const uint8_t *code, const int8_t *query, size_t count)
{
    return dot_row(code, query, count);
}

/* Of a row of sketches: the bytes' low halves with the first count of the query, the high ones with
 * those that follow. Put side by side they are summed up in one go. */
static inline int32_t dot_sketch(const uint8_t *restrict sketch, const int8_t *restrict query)
{
    uint8_t halves[2 * LINE];

    for (size_t i = 0; i < LINE; i++)
        halves[i] = sketch[i] & 15;
    for (size_t i = 0; i < LINE; i++)
        halves[LINE + i] = sketch[i] >> 4;
    return dot_row(halves, query, 2 * LINE);
}

/* The same of a short code, whose halves are too many for that. */
static inline int32_t dot_short(const uint8_t *restrict code, const int8_t *restrict query,
                                size_t count)
{
    int32_t low = 0, high = 0;

    count &= ~(size_t)31;
    for (size_t i = 0; i < count; i++) {
        const uint8_t one = code[i] & 15, two = code[i] >> 4;

        low += one * query[i];
        high += two * query[count + i];
    }
    return low + high;
}

/* The sign of a place in a round, as a float's: as good as chance. */
static inline uint32_t random_sign(uint32_t place, uint32_t round)
{
    uint32_t word = (place + round * POLY_SHORT_MOST) * 0x9e3779b1;

    word = (word ^ word >> 15) * 0x85ebca77;
    return (word ^ word >> 13) & 0x80000000;
}

static inline void turn_once(const float *restrict from, float *restrict to, uint32_t half,
                             uint32_t round)
{
    for (uint32_t i = 0; i < half; i++) {
        union {
            float value;
            uint32_t bits;
        } other = {from[half + i]};

        other.bits ^= random_sign(i, round);
        to[2 * i] = from[i] + other.value;
        to[2 * i + 1] = from[i] - other.value;
    }
}

/*
 * A rotation as good as a random one, the same everywhere. Each round adds and subtracts values
 * that are half the vector apart, one of them with a random sign, and lays what comes out side by
 * side. After as many rounds as the dimensions' number has bits, each has gone into all; some more
 * make up for a number that is no power of two.
 */
static void turn(float *restrict vector, uint32_t count)
{
    const uint32_t rounds = poly_turn_rounds(count), half = count / 2;
    float other[POLY_SHORT_MOST], scale = 1;

    for (uint32_t round = 0; round < rounds; round += 2) {
        turn_once(vector, other, half, round);
        turn_once(other, vector, half, round + 1);
        scale /= 2; /* each round has made it longer by the square root of two */
    }
    for (uint32_t i = 0; i < count; i++)
        vector[i] *= scale;
}

static inline uint32_t differ_row(const uint8_t *restrict a, const uint8_t *restrict b,
                                  size_t count)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < count / 8; i++) {
        uint64_t one, two;

        memcpy(&one, a + 8 * i, 8);
        memcpy(&two, b + 8 * i, 8);
        sum += (uint32_t)__builtin_popcountll(one ^ two);
    }
    for (size_t i = count / 8 * 8; i < count; i++)
        sum += (uint32_t)__builtin_popcount(a[i] ^ b[i]);
    return sum;
}

static uint32_t differ(const uint8_t *a, const uint8_t *b, size_t count)
{
    return differ_row(a, b, count);
}

static inline const uint8_t *row_at(const struct poly_code_rows *rows, size_t i)
{
    return rows->base + (rows->slots != NULL ? rows->slots[i] : i) * rows->stride;
}

/* How many rows before it is needed a row is asked for. */
static inline size_t rows_ahead(size_t stride)
{
    size_t rows = AHEAD_BYTES / stride;

    return rows < AHEAD_LEAST ? AHEAD_LEAST : rows > AHEAD_MOST ? AHEAD_MOST : rows;
}

static inline void fetch(const uint8_t *row, size_t stride)
{
    size_t lines = stride < LINES_AHEAD * LINE ? stride : LINES_AHEAD * LINE;

    for (size_t at = 0; at < lines; at += LINE)
        __builtin_prefetch(row + at, 0, 3);
    /* The row may end in one line more than it fills. */
    __builtin_prefetch(row + lines - 1, 0, 3);
}

/* What is read of BLOCK rows, side by side, so that the arithmetic on it is done for many at once.
 */
struct block {
    int32_t product[BLOCK];
    float step[BLOCK], square[BLOCK], residual[BLOCK];
};

/* Of a scan: which of the rows are read next, and how many there are. */
struct part {
    size_t from, end, count;
};

static inline void read_row(const int8_t *restrict query, const uint8_t *restrict row,
                            size_t stride, bool halves, struct block *restrict block, size_t at)
{
    const uint8_t *tail = row + stride - sizeof(struct poly_code_tail);

    block->product[at] = !halves          ? dot_row(row, query, stride)
                         : stride == LINE ? dot_sketch(row, query)
                                          : dot_short(row, query, stride);
    memcpy(&block->step[at], tail + offsetof(struct poly_code_tail, step), sizeof(float));
    memcpy(&block->square[at], tail + offsetof(struct poly_code_tail, square), sizeof(float));
    memcpy(&block->residual[at], tail + offsetof(struct poly_code_tail, residual), sizeof(float));
}

static inline __attribute__((always_inline)) void
read_rows(const int8_t *query, const struct poly_code_rows *rows, size_t stride, bool halves,
          const struct part *part, struct block *restrict block)
{
    const uint8_t *base = rows->base;
    const uint32_t *slots = rows->slots;
    size_t from = part->from, count = part->end - from;
    /* The processor sees by itself where rows go on that follow each other. */
    size_t ahead = rows_ahead(stride), left = part->count - from;
    size_t fetched = left < ahead ? 0 : left - ahead;

    if (slots == NULL) {
        for (size_t i = 0; i < count; i++)
            read_row(query, base + (from + i) * stride, stride, halves, block, i);
        return;
    }
    slots += from;
    for (size_t i = 0; i < count; i++) {
        if (i < fetched)
            fetch(base + slots[i + ahead] * stride, stride);
        read_row(query, base + slots[i] * stride, stride, halves, block, i);
    }
}

static void read_block(const struct poly_code_query *query, const struct poly_code_rows *rows,
                       const struct part *part, struct block *block)
{
    /* The strides of 100 dimensions, or a few more or less: a loop of known length is faster. */
    if (rows->halves && rows->stride == LINE)
        read_rows(query->values, rows, LINE, true, part, block);
    else if (rows->halves)
        read_rows(query->values, rows, rows->stride, true, part, block);
    else if (rows->stride == 128)
        read_rows(query->values, rows, 128, false, part, block);
    else
        read_rows(query->values, rows, rows->stride, false, part, block);
}

/* Of a few there is nothing to do until they come. */
static void fetch_first(const struct poly_code_rows *rows, size_t count)
{
    size_t ahead = rows_ahead(rows->stride), first = count < ahead ? 0 : ahead;

    for (size_t i = 0; i < first && rows->slots != NULL; i++)
        fetch(row_at(rows, i), rows->stride);
}

static bool next_part(struct part *part)
{
    part->from = part->end;
    part->end = part->count - part->from < BLOCK ? part->count : part->from + BLOCK;
    return part->from < part->count;
}

static inline float distance_at(const struct poly_code_query *query, const struct block *block,
                                size_t i)
{
    return query->base +
           query->by_product * block->step[i] *
               (float)(query->unit * block->product[i] - query->shift) +
           query->by_square * block->square[i];
}

static void scan_codes(const struct poly_code_query *query, const struct poly_code_rows *rows,
                       size_t count, float *restrict distances)
{
    struct part part = {.count = count};
    struct block block;

    fetch_first(rows, count);
    while (next_part(&part)) {
        read_block(query, rows, &part, &block);
        for (size_t i = 0; i < part.end - part.from; i++)
            distances[part.from + i] = distance_at(query, &block, i);
    }
}

static inline float at_least(float value, float least)
{
    return value > least ? value : least;
}

/* |q . x - q' . x'| <= |q - q'| |x'| + |q| |x - x'|, and what floats are wrong by. */
static inline float bound_product(const struct poly_code_query *query, const struct block *block,
                                  size_t i)
{
    float length = sqrtf(block->square[i]) + LEAST;
    float lost = query->residual * length + query->length * block->residual[i];
    float most = (query->length + query->residual) * (length + block->residual[i]);

    return distance_at(query, block, i) - lost - most * (query->rounding + SLACK) - LEAST;
}

/* |q - x| >= |q' - x'| - |q - q'| - |x - x'| */
static inline float bound_apart(const struct poly_code_query *query, const struct block *block,
                                float square, size_t i)
{
    float slack = SLACK * (query->square + block->square[i]);
    float apart = sqrtf(at_least(square - slack, 0)) * (1 - SLACK);

    return at_least(apart - (query->residual + block->residual[i]) - LEAST, 0);
}

static void bound_block(const struct poly_code_query *query, const struct block *block,
                        size_t count, float *restrict bounds)
{
    if (query->metric == POLY_INNER)
        for (size_t i = 0; i < count; i++)
            bounds[i] = bound_product(query, block, i);
    else if (query->metric == POLY_L2)
        for (size_t i = 0; i < count; i++)
            bounds[i] =
                bound_apart(query, block, distance_at(query, block, i), i) * (1 - query->rounding);
    else
        for (size_t i = 0; i < count; i++) {
            float apart = bound_apart(query, block, 2 * distance_at(query, block, i), i);

            bounds[i] = at_least(apart * apart / 2 - 2 * query->rounding, 0);
        }
}

static void scan_bounds(const struct poly_code_query *query, const struct poly_code_rows *rows,
                        size_t count, float *restrict bounds)
{
    struct part part = {.count = count};
    struct block block;

    fetch_first(rows, count);
    while (next_part(&part)) {
        read_block(query, rows, &part, &block);
        /* A short code's square is of its vector, at right angles to what has been lost. */
        for (size_t i = 0; rows->halves && i < part.end - part.from; i++)
            block.square[i] += block.residual[i] * block.residual[i];
        bound_block(query, &block, part.end - part.from, bounds + part.from);
    }
}

static void scan_bits(const struct poly_code_query *query, const struct poly_code_rows *rows,
                      size_t count, float *restrict distances)
{
    size_t ahead = rows_ahead(rows->stride);

    fetch_first(rows, count);
    for (size_t i = 0; i < count; i++) {
        if (rows->slots != NULL && i + ahead < count)
            fetch(row_at(rows, i + ahead), rows->stride);
        distances[i] =
            (float)differ_row(row_at(rows, i), (const uint8_t *)query->values, rows->stride);
    }
}

#define NAME_OF(name) #name
#define NAME(name) NAME_OF(name)

extern const struct poly_sums POLY_SUMS;
extern const struct poly_loops POLY_LOOPS;
const struct poly_loops POLY_LOOPS = {
    .name = NAME(POLY_LOOPS),
    .sums = &POLY_SUMS,
    .turn = turn,
    .dot_codes = dot_codes,
    .differ = differ,
    .scan_codes = scan_codes,
    .scan_bounds = scan_bounds,
    .scan_bits = scan_bits,
};
