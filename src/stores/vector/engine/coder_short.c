/*
 * Short codes: four bits a dimension, of vectors so wide that a random rotation spreads whatever is
 * in them evenly over all dimensions. Each is then distributed normally, about; sixteen levels of a
 * step that is looked for, for each vector, lose a tenth of its length, in a direction that has
 * nothing to do with any query: of a distance that is a few thousandths, the wider the less.
 *
 * What is rounded is scaled so that what is lost is at right angles to the vector. Then the product
 * of the code with a query is neither too great nor too small on average, and its error shrinks
 * with the distance of the two.
 *
 * Source: Gao, Long: RaBitQ: quantizing high-dimensional vectors with a theoretical error bound for
 * approximate nearest neighbor search (2024); Gao, Gou, Xu, Yang, Long, Wong: Practical and
 * asymptotically optimal quantization of high-dimensional vectors in Euclidean space for
 * approximate nearest neighbor search (2024).
 */
#include <math.h>
#include <string.h>

#include "stores/vector/engine/kernel_inside.h"
#include "stores/vector/engine/kernel_loops.h"

#define LEVELS 16

/* Steps that are tried, in parts of what a dimension has on average: for sixteen levels and a
 * normal distribution the best is 0.335. */
static const float steps[] = {0.30F, 0.32F, 0.335F, 0.35F, 0.38F};

/* The vector, turned; returns its length then. */
static double turn(const struct poly_coder *coder, const struct poly_vector_source *source,
                   float *turned)
{
    double square = 0;

    poly_vector_part(source, 0, coder->dimensions, turned);
    memset(turned + coder->dimensions, 0, (coder->turned - coder->dimensions) * sizeof(*turned));
    poly_loops_now()->turn(turned, coder->turned);
    for (uint32_t i = 0; i < coder->turned; i++)
        square += (double)turned[i] * turned[i];
    return sqrt(square);
}

/* What turning in single precision may have changed: each round adds half a unit in the last
 * place, of the length; here twice that. */
static double turning(const struct poly_coder *coder, double length)
{
    return length * poly_turn_rounds(coder->turned) * 0x1p-23;
}

static inline int level(float value, float inverse)
{
    const float at = value * inverse + LEVELS / 2;

    return at < 0 ? 0 : at < LEVELS ? (int)at : LEVELS - 1;
}

/* What the levels of a step stand for, in halves of it: their product with the vector, and their
 * square. */
static double product_of(const float *turned, uint32_t count, float inverse, double *square)
{
    double product = 0;
    int32_t whole = 0;

    for (uint32_t i = 0; i < count; i++) {
        const int half = 2 * level(turned[i], inverse) - (LEVELS - 1);

        product += (double)turned[i] * half;
        whole += half * half;
    }
    *square = whole;
    return product;
}

/* The step whose levels have the least angle to the vector, as its inverse; 0: it is zero. */
static float inverse_of(const float *turned, uint32_t count, double length)
{
    const double usual = length / sqrt(count);
    double best = -1;
    float found = 0;

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        const float inverse = (float)(1 / (usual * steps[i]));
        double product, square;

        if (!isfinite(inverse))
            return 0;
        product = product_of(turned, count, inverse, &square);
        if (product / sqrt(square) > best) {
            best = product / sqrt(square);
            found = inverse;
        }
    }
    return found;
}

void poly_short_encode(const struct poly_coder *coder, const struct poly_vector_source *source,
                       uint8_t *code)
{
    const uint32_t count = coder->turned, low = count / 2;
    float turned[POLY_SHORT_MOST];
    const double length = turn(coder, source, turned);
    const float inverse = inverse_of(turned, count, length);
    struct poly_code_tail tail = {.square = (float)(length * length)};
    double lost = 0, product, square;

    product = product_of(turned, count, inverse, &square);
    if (inverse > 0 && product > 0)
        tail.step = (float)(length * length / product);
    memset(code, 0, coder->stride);
    for (uint32_t i = 0; i < count; i++) {
        const int at = level(turned[i], inverse);
        const double value = (double)tail.step * (2 * at - (LEVELS - 1)) - turned[i];

        lost += value * value;
        code[i < low ? i : i - low] |= (uint8_t)(i < low ? at : at << 4);
    }
    tail.residual = poly_code_upwards(sqrt(lost) + turning(coder, length));
    memcpy(code + coder->stride - sizeof(tail), &tail, sizeof(tail));
}

float poly_code_error(const struct poly_coder *coder, const void *query, const uint8_t *code,
                      float distance)
{
    const struct poly_code_query *coded = query;
    struct poly_code_tail tail;
    float apart = coded->length; /* of the two; what has been lost has any direction, … */

    if (coder->turned == 0)
        return 0;
    memcpy(&tail, code + coder->stride - sizeof(tail), sizeof(tail));
    if (coder->metric != POLY_INNER) /* … and is multiplied with what the query has lost, too */
        apart =
            2 * coded->by_square * (sqrtf(fmaxf(distance, 0) / coded->by_square) + coded->residual);
    return apart * tail.residual / sqrtf((float)coder->turned);
}

/* A product with 2 * level - 15, in which a code is kept as its level. */
static void weigh_levels(struct poly_code_query *coded, int32_t sum)
{
    coded->unit = 2;
    coded->shift = (LEVELS - 1) * sum;
}

/* The second half of the values, which the high halves of a row are multiplied with, begins where
 * the row would end. */
static void part_values(const struct poly_coder *coder, struct poly_code_query *coded)
{
    const uint32_t low = coder->turned / 2;

    memmove(coded->values + coder->stride, coded->values + low, low);
    memset(coded->values + low, 0, coder->stride - low);
    memset(coded->values + coder->stride + low, 0, coder->stride - low);
}

void poly_short_query(const struct poly_coder *coder, const float *query,
                      struct poly_code_query *coded)
{
    const struct poly_vector_source source = {POLY_F32, query, 1};
    float turned[POLY_SHORT_MOST];
    const double length = turn(coder, &source, turned);
    const struct poly_vector_source whole = {POLY_F32, turned, 1};
    struct poly_rounding rounding = poly_code_round(&whole, coder->turned, coded->values);

    weigh_levels(coded, rounding.sum);
    coded->step = (float)rounding.step;
    coded->square = (float)(rounding.square * rounding.step * rounding.step);
    coded->length = poly_code_upwards(length);
    coded->residual = poly_code_upwards(sqrt(rounding.lost) + turning(coder, length));
    part_values(coder, coded);
}

void poly_short_query_code(const struct poly_coder *coder, const uint8_t *code,
                           struct poly_code_query *coded)
{
    const uint32_t low = coder->turned / 2;
    struct poly_code_tail tail;
    int32_t sum = 0;

    memcpy(&tail, code + coder->stride - sizeof(tail), sizeof(tail));
    for (uint32_t i = 0; i < low; i++) {
        coded->values[i] = (int8_t)(2 * (code[i] & 15) - (LEVELS - 1));
        coded->values[low + i] = (int8_t)(2 * (code[i] >> 4) - (LEVELS - 1));
        sum += coded->values[i] + coded->values[low + i];
    }
    weigh_levels(coded, sum);
    coded->step = tail.step;
    coded->square = tail.square;
    part_values(coder, coded);
}
