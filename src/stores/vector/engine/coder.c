/*
 * Codes of a byte a dimension (short ones: coder_short.c). A vector's own step, its largest value /
 * 127, bounds what rounding takes from it without looking at any other vector: an index needs no
 * training, and an outlier costs itself precision only. The row says how much was lost, so a search
 * can tell which originals it need not look at (Cauchy, Schwarz, and the triangle inequality).
 *
 * The distance of two codes is that of the points that they stand for (not the inner product of
 * these), also under cosine: its error shrinks with the distance, and the nearest count most.
 */
#include "stores/vector/engine/kernel.h"

#include <math.h>
#include <string.h>

#include "base/assert.h"
#include "stores/vector/engine/kernel_inside.h"
#include "stores/vector/engine/kernel_loops.h"

#define STEPS 127         /* on either side of zero */
#define ZERO 128          /* as a code */
#define ROW 32            /* rows are a multiple of this */
#define ALIGNED 64        /* of a query */
#define TO_WHOLE 0x1.8p52 /* a double beside it has no bits below one */
#define PART 256          /* values that are unpacked at a time */
#define CODED_MAX 16384   /* bytes of a row, at most */
#define LINE 64           /* bytes of a cache line */
#define SHORT_LEAST 512   /* dimensions from which on codes are short */

static uint32_t row_of(size_t bytes)
{
    return (uint32_t)((bytes + ROW - 1) / ROW * ROW);
}

/* A row of short codes: two dimensions a byte, both halves as long. */
static void shorten(struct poly_coder *coder)
{
    coder->turned = (coder->dimensions + 1) / 2 * 2;
    coder->stride = row_of(coder->turned / 2 + sizeof(struct poly_code_tail));
}

/* Bytes of a sketch: the first dimensions in their low halves, the others in the high ones. */
static uint32_t low_halves(const struct poly_coder *coder)
{
    return (coder->dimensions + 1) / 2;
}

void poly_coder_init(struct poly_coder *coder, enum poly_element element, enum poly_metric metric,
                     uint32_t dimensions)
{
    const size_t tail = sizeof(struct poly_code_tail);
    const bool bits = element == POLY_BINARY;

    *coder = (struct poly_coder){
        .element = element,
        .metric = metric,
        .dimensions = dimensions,
        .stride = row_of(bits ? poly_element_size(element, dimensions) : dimensions + tail)};
    if (!bits && coder->stride > LINE && low_halves(coder) + tail <= LINE)
        coder->sketch = LINE;
    if ((element == POLY_F32 || element == POLY_F16) && dimensions >= SHORT_LEAST &&
        dimensions <= POLY_SHORT_MOST)
        shorten(coder);
    poly_assert(dimensions > 0 && coder->stride <= CODED_MAX);
}

/* A float, as it is kept: what is lost is measured against that. */
static float step_of(const struct poly_vector_source *source, size_t dimensions)
{
    float part[PART], most = 0;

    for (size_t from = 0; from < dimensions; from += PART) {
        size_t count = dimensions - from < PART ? dimensions - from : PART;

        poly_vector_part(source, from, count, part);
        for (size_t i = 0; i < count; i++)
            most = fabsf(part[i]) > most ? fabsf(part[i]) : most;
    }
    return most / STEPS;
}

static void round_part(const float *part, size_t count, struct poly_rounding *rounding,
                       int8_t *values)
{
    double inverse = rounding->step > 0 ? 1 / rounding->step : 0;

    for (size_t i = 0; i < count; i++) {
        double value = part[i] * inverse, lost;

        value = value < -STEPS ? -STEPS : value > STEPS ? STEPS : value;
        value = value + TO_WHOLE - TO_WHOLE; /* as rint(), in line */
        lost = part[i] - value * rounding->step;

        values[i] = (int8_t)value;
        rounding->sum += (int32_t)value;
        rounding->square += value * value;
        rounding->lost += lost * lost;
        rounding->whole += (double)part[i] * part[i];
    }
}

static struct poly_rounding round_by(float step, const struct poly_vector_source *source,
                                     size_t dimensions, int8_t *values)
{
    struct poly_rounding rounding = {.step = step};
    float part[PART];

    for (size_t from = 0; from < dimensions; from += PART) {
        size_t count = dimensions - from < PART ? dimensions - from : PART;

        poly_vector_part(source, from, count, part);
        round_part(part, count, &rounding, values + from);
    }
    return rounding;
}

struct poly_rounding poly_code_round(const struct poly_vector_source *source, size_t dimensions,
                                     int8_t *values)
{
    return round_by(step_of(source, dimensions), source, dimensions, values);
}

static struct poly_rounding round_vector(const struct poly_coder *coder,
                                         const struct poly_vector_source *source, int8_t *values)
{
    if (coder->element == POLY_INT8 && coder->metric != POLY_COSINE)
        return round_by(1, source, coder->dimensions, values);
    return poly_code_round(source, coder->dimensions, values);
}

float poly_code_upwards(double value)
{
    return value > 0 ? nextafterf((float)value, INFINITY) : 0;
}

static float square_of(const struct poly_rounding *rounding)
{
    return (float)(rounding->square * rounding->step * rounding->step);
}

void poly_coder_encode(const struct poly_coder *coder, const void *original, uint8_t *code)
{
    struct poly_vector_source source;
    struct poly_code_tail tail;
    struct poly_rounding rounding;

    if (coder->element == POLY_BINARY) {
        size_t bytes = poly_element_size(POLY_BINARY, coder->dimensions);

        memcpy(code, original, bytes);
        memset(code + bytes, 0, coder->stride - bytes);
        return;
    }
    poly_vector_source(&source, coder->element, coder->metric, original, coder->dimensions);
    if (coder->turned > 0) {
        poly_short_encode(coder, &source, code);
        return;
    }
    rounding = round_vector(coder, &source, (int8_t *)code);
    memset(code + coder->dimensions, 0, coder->stride - coder->dimensions);
    for (size_t i = 0; i < coder->dimensions; i++)
        code[i] ^= ZERO; /* two's complement plus 128 */
    tail = (struct poly_code_tail){.step = (float)rounding.step,
                                   .square = square_of(&rounding),
                                   .residual = poly_code_upwards(sqrt(rounding.lost))};
    memcpy(code + coder->stride - sizeof(tail), &tail, sizeof(tail));
}

size_t poly_coder_query_size(const struct poly_coder *coder)
{
    size_t values = coder->turned > 0 ? (size_t)2 * coder->stride : coder->stride;
    size_t bytes = sizeof(struct poly_code_query) + values;

    return (bytes + ALIGNED - 1) / ALIGNED * ALIGNED;
}

static void weigh(const struct poly_coder *coder, struct poly_code_query *coded)
{
    /* Cosine is half the square of the distance between vectors of length 1. */
    float part = coder->metric == POLY_L2 ? 1 : 0.5F;

    coded->metric = coder->metric;
    coded->rounding = (float)(coder->dimensions + 8) * 0x1p-24F;
    coded->by_product = -coded->step;
    if (coder->metric == POLY_INNER)
        return;
    coded->base = part * coded->square;
    coded->by_product = -2 * part * coded->step;
    coded->by_square = part;
}

static void query_bits(const struct poly_coder *coder, const float *query, uint8_t *bits)
{
    for (size_t i = 0; i < coder->dimensions; i++)
        if (query[i] != 0)
            bits[i / 8] |= (uint8_t)(1U << i % 8);
}

void poly_coder_query(const struct poly_coder *coder, const float *query, void *buffer)
{
    struct poly_code_query *coded = buffer;
    struct poly_vector_source source = {POLY_F32, query, 1};
    struct poly_rounding rounding;

    memset(buffer, 0, poly_coder_query_size(coder));
    if (coder->element == POLY_BINARY) {
        query_bits(coder, query, (uint8_t *)coded->values);
        return;
    }
    if (coder->turned > 0) {
        poly_short_query(coder, query, coded);
        weigh(coder, coded);
        return;
    }
    rounding = round_vector(coder, &source, coded->values);
    coded->unit = 1;
    coded->shift = ZERO * rounding.sum;
    coded->step = (float)rounding.step;
    coded->square = square_of(&rounding);
    coded->length = poly_code_upwards(sqrt(rounding.whole));
    coded->residual = poly_code_upwards(sqrt(rounding.lost));
    weigh(coder, coded);
}

void poly_coder_query_code(const struct poly_coder *coder, const uint8_t *code, void *buffer)
{
    struct poly_code_query *coded = buffer;
    struct poly_code_tail tail;
    int32_t sum = 0;

    memset(coded, 0, sizeof(*coded));
    if (coder->element == POLY_BINARY) {
        memcpy(coded->values, code, coder->stride);
        return;
    }
    if (coder->turned > 0) {
        poly_short_query_code(coder, code, coded);
        weigh(coder, coded);
        return;
    }
    memset(coded->values + coder->dimensions, 0, coder->stride - coder->dimensions);
    for (size_t i = 0; i < coder->dimensions; i++) {
        coded->values[i] = (int8_t)(code[i] ^ ZERO);
        sum += coded->values[i];
    }
    memcpy(&tail, code + coder->stride - sizeof(tail), sizeof(tail));
    coded->unit = 1;
    coded->shift = ZERO * sum;
    coded->step = tail.step;
    coded->square = tail.square;
    weigh(coder, coded);
}

float poly_code_distance(const struct poly_coder *coder, const void *query, const uint8_t *code)
{
    float distance;

    poly_code_distances(coder, query, code, NULL, 1, &distance);
    return distance;
}

void poly_code_distances(const struct poly_coder *coder, const void *query, const uint8_t *base,
                         const uint32_t *slots, size_t count, float *distances)
{
    const struct poly_loops *loops = poly_loops_now();
    const struct poly_code_rows rows = {base, slots, coder->stride, coder->turned > 0};

    if (coder->element == POLY_BINARY)
        loops->scan_bits(query, &rows, count, distances);
    else
        loops->scan_codes(query, &rows, count, distances);
}

void poly_code_bounds(const struct poly_coder *coder, const void *query, const uint8_t *base,
                      const uint32_t *slots, size_t count, float *bounds)
{
    const struct poly_loops *loops = poly_loops_now();
    const struct poly_code_rows rows = {base, slots, coder->stride, coder->turned > 0};

    if (coder->element == POLY_BINARY)
        loops->scan_bits(query, &rows, count, bounds);
    else
        loops->scan_bounds(query, &rows, count, bounds);
}

/* --- sketches --- */

void poly_sketch_encode(const struct poly_coder *coder, const uint8_t *code, uint8_t *sketch)
{
    const uint32_t low = low_halves(coder);
    struct poly_code_tail tail;
    int32_t square = 0; /* in half steps */

    for (uint32_t i = 0; i < coder->dimensions; i++) {
        const int32_t kept = POLY_SKETCH_STEP * (code[i] >> 4) - POLY_SKETCH_ZERO;

        square += kept * kept;
    }
    memset(sketch, 0, coder->sketch);
    for (uint32_t i = 0; i < low; i++)
        sketch[i] = code[i] >> 4;
    for (uint32_t i = low; i < coder->dimensions; i++)
        sketch[i - low] |= code[i] & 0xf0;
    memcpy(&tail, code + coder->stride - sizeof(tail), sizeof(tail));
    tail.square = (float)(square / 4.0 * tail.step * tail.step);
    tail.residual = INFINITY; /* nobody makes bounds of sketches */
    memcpy(sketch + coder->sketch - sizeof(tail), &tail, sizeof(tail));
}

size_t poly_sketch_query_size(const struct poly_coder *coder)
{
    const size_t bytes = sizeof(struct poly_code_query) + (size_t)2 * coder->sketch;

    return (bytes + ALIGNED - 1) / ALIGNED * ALIGNED;
}

void poly_sketch_query(const struct poly_coder *coder, const void *query, void *buffer)
{
    const struct poly_code_query *coded = query;
    struct poly_code_query *halves = buffer;
    const uint32_t low = low_halves(coder);

    memset(buffer, 0, poly_sketch_query_size(coder));
    memcpy(halves, coded, sizeof(*coded));
    halves->unit = POLY_SKETCH_STEP;
    halves->shift = coded->shift / ZERO * POLY_SKETCH_ZERO;
    halves->by_product *= 0.5F;
    memcpy(halves->values, coded->values, low);
    memcpy(halves->values + coder->sketch, coded->values + low, coder->dimensions - low);
}

void poly_sketch_distances(const struct poly_coder *coder, const void *query, const uint8_t *base,
                           const uint32_t *slots, size_t count, float *distances)
{
    const struct poly_code_rows rows = {base, slots, coder->sketch, true};

    poly_loops_now()->scan_codes(query, &rows, count, distances);
}
