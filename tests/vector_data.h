/* Vectors for tests: crowds around centres, the same from the same seed; and the answer that a
 * search is measured by, each distance computed. */
#ifndef POLY_TEST_VECTOR_DATA_H
#define POLY_TEST_VECTOR_DATA_H

#include "test.h"

#include <math.h>
#include <unistd.h>

#include "stores/vector/engine/index.h"

enum { DATA_CENTRES = 40, DATA_MAX_DIMENSIONS = 1024 };

static struct poly_error err;

static inline uint64_t data_random(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15;

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

static inline uint32_t data_below(uint64_t *state, uint32_t bound)
{
    return (uint32_t)(data_random(state) % bound);
}

/* About a normal distribution. */
static inline float data_normal(uint64_t *state)
{
    float sum = -6;

    for (int i = 0; i < 12; i++)
        sum += (float)(data_random(state) >> 40) * 0x1p-24F;
    return sum;
}

/* A vector near one of the centres; crowd: which, or -1. Fits every element but binary, which gets
 * zeros and ones. */
static inline void data_vector(const struct poly_index_options *options, uint64_t *state, int crowd,
                               float *vector)
{
    uint64_t centre = crowd >= 0 ? (uint64_t)crowd : data_random(state) % DATA_CENTRES;

    centre *= 1000003;
    for (uint32_t i = 0; i < options->dimensions; i++) {
        const float value = data_normal(&centre) + 0.6F * data_normal(state);

        vector[i] = options->element == POLY_BINARY ? (float)(value > 0)
                    : options->element == POLY_INT8 ? roundf(value * 20)
                                                    : value;
    }
}

static inline void data_pack(const struct poly_index_options *options, const float *vector,
                             void *original)
{
    assert_ok(poly_vector_pack(options->element, options->metric, vector, options->dimensions,
                               original, &err));
}

/* As a search wants it. */
static inline void data_query(const struct poly_index_options *options, uint64_t *state, int crowd,
                              float *query)
{
    float vector[DATA_MAX_DIMENSIONS], original[DATA_MAX_DIMENSIONS];

    data_vector(options, state, crowd, vector);
    data_pack(options, vector, original);
    poly_vector_unpack(options->element, options->metric, original, options->dimensions, query);
}

static inline uint32_t data_append(struct poly_index *index,
                                   const struct poly_index_options *options, uint64_t *state,
                                   int crowd)
{
    float vector[DATA_MAX_DIMENSIONS], original[DATA_MAX_DIMENSIONS];
    uint32_t slot;

    data_vector(options, state, crowd, vector);
    data_pack(options, vector, original);
    assert_ok(poly_index_append(index, original, &slot, &err));
    return slot;
}

static inline void data_fill(struct poly_index *index, const struct poly_index_options *options,
                             uint64_t *state, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        data_append(index, options, state, -1);
    poly_index_publish(index);
}

static inline void data_link(struct poly_index *index)
{
    uint32_t linked;

    do
        assert_ok(poly_index_link(index, 1000, NULL, &linked, &err));
    while (linked > 0);
}

static inline bool data_fits(const struct poly_slots *slots, uint32_t slot)
{
    if (slots == NULL || (slots->bits == NULL && slots->list == NULL))
        return true;
    if (slots->bits != NULL)
        return slot < slots->bit_count && (slots->bits[slot / 64] >> (slot % 64) & 1) != 0;
    uint32_t low = 0, high = slots->count;

    while (low < high) {
        const uint32_t middle = (low + high) / 2;

        if (slots->list[middle] < slot)
            low = middle + 1;
        else
            high = middle;
    }
    return low < slots->count && slots->list[low] == slot;
}

/* In a new folder, in memory where the machine has that: saving syncs, and tests save often. */
static inline bool data_folder(char *folder, size_t size)
{
    snprintf(folder, size, "%s/polystore-test-vector-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    return mkdtemp(folder) != NULL;
}

static inline int data_compare(const void *a, const void *b)
{
    const struct poly_near *left = a, *right = b;

    if (left->distance != right->distance)
        return left->distance < right->distance ? -1 : 1;
    return left->slot < right->slot ? -1 : left->slot > right->slot;
}

static inline void data_same_numbers(const struct poly_index *a, const struct poly_index *b)
{
    struct poly_index_numbers left, right;

    poly_index_measure(a, &left);
    poly_index_measure(b, &right);
    assert_int_equal(left.slots, right.slots);
    assert_int_equal(left.dead, right.dead);
    assert_int_equal(left.linked, right.linked);
    assert_int_equal(left.memory_bytes, right.memory_bytes);
    assert_int_equal(left.original_bytes, right.original_bytes);
}

/* The k nearest of a search, by force; how many. */
static inline uint32_t data_nearest(const struct poly_index *index,
                                    const struct poly_index_options *options,
                                    const struct poly_index_search *search, struct poly_near *near)
{
    struct poly_near *all = malloc((search->end + 1) * sizeof(*all));
    uint32_t count = 0;

    assert_non_null(all);
    for (uint32_t slot = 0; slot < search->end; slot++) {
        if (!poly_index_alive(index, slot, search->end) || !data_fits(search->slots, slot))
            continue;
        all[count] = (struct poly_near){
            slot, poly_vector_distance(options->element, options->metric, search->query,
                                       poly_index_original(index, slot), options->dimensions)};
        count += all[count].distance <= search->farthest;
    }
    qsort(all, count, sizeof(*all), data_compare);
    count = count < search->k ? count : search->k;
    memcpy(near, all, count * sizeof(*near));
    free(all);
    return count;
}

/* Of the right answer, the part that was found. What is given back must be in order, alive, fit and
 * have its true distance. */
static inline double data_recall(struct poly_index *index, const struct poly_index_options *options,
                                 struct poly_index_search *search)
{
    struct poly_near near[200], right[200];
    uint32_t count = 0, found = 0, wanted;

    assert_true(search->k <= 200);
    assert_ok(poly_index_find(index, search, near, &count, &err));
    wanted = data_nearest(index, options, search, right);
    assert_int_equal(count, wanted); /* k whenever k match */
    for (uint32_t i = 0; i < count; i++) {
        assert_true(poly_index_alive(index, near[i].slot, search->end));
        assert_true(data_fits(search->slots, near[i].slot));
        assert_true(near[i].distance ==
                    poly_vector_distance(options->element, options->metric, search->query,
                                         poly_index_original(index, near[i].slot),
                                         options->dimensions));
        assert_true(i == 0 || data_compare(&near[i - 1], &near[i]) < 0);
        for (uint32_t j = 0; j < wanted; j++)
            found += near[i].slot == right[j].slot;
    }
    return wanted == 0 ? 1 : (double)found / wanted;
}

#endif
