/*
 * pgvector's binary forms: a vector is two 16-bit numbers (how many dimensions, and 0) and a single
 * for each; a halfvec the same with halves; bits are a 32-bit number (how many) and bytes, the
 * first bit the highest. All big-endian.
 *
 * What is sent went through poly_vector_pack() first, so that the server compares what every
 * engine compares.
 */
#include <string.h>

#include "stores/vector/postgresql.h"

static void put16(unsigned char *to, uint16_t number)
{
    to[0] = (unsigned char)(number >> 8);
    to[1] = (unsigned char)number;
}

static uint16_t get16(const unsigned char *from)
{
    return (uint16_t)(from[0] << 8 | from[1]);
}

static void put32(unsigned char *to, uint32_t number)
{
    put16(to, (uint16_t)(number >> 16));
    put16(to + 2, (uint16_t)number);
}

static uint32_t get32(const unsigned char *from)
{
    return (uint32_t)get16(from) << 16 | get16(from + 2);
}

static size_t bytes_of(const struct poly_pgv_collection *c)
{
    size_t dimensions = c->shape.dimensions;

    return 4 + (c->element == POLY_BINARY ? (dimensions + 7) / 8
                : c->element == POLY_F16  ? 2 * dimensions
                                          : 4 * dimensions);
}

/* What int8 keeps goes as singles: pgvector has no such type. */
static void write_elements(const struct poly_pgv_collection *c, const void *packed,
                           const float *numbers, unsigned char *to)
{
    uint32_t bits;

    for (size_t i = 0; i < c->shape.dimensions; i++) {
        switch (c->element) {
        case POLY_F16:
            put16(to + 2 * i, ((const uint16_t *)packed)[i]);
            break;
        case POLY_BINARY:
            to[i / 8] |= (unsigned char)((numbers[i] != 0) << (7 - i % 8));
            break;
        case POLY_F32:
        case POLY_INT8:
            memcpy(&bits, &numbers[i], sizeof(bits));
            put32(to + 4 * i, bits);
            break;
        }
    }
}

enum poly_status poly_pgv_encode(const struct poly_pgv_collection *collection, const float *numbers,
                                 struct poly_arena *arena, struct poly_text *bytes,
                                 struct poly_error *err)
{
    size_t dimensions = collection->shape.dimensions, size = bytes_of(collection);
    void *packed = poly_arena_alloc(arena, poly_element_size(collection->element, dimensions));
    float *kept = poly_arena_array(arena, dimensions, sizeof(*kept));
    unsigned char *out = poly_arena_alloc(arena, size);
    enum poly_status status;

    if (packed == NULL || kept == NULL || out == NULL)
        return poly_no_memory(err);
    status =
        poly_vector_pack(collection->element, collection->metric, numbers, dimensions, packed, err);
    if (status != POLY_OK)
        return status;
    poly_vector_unpack(collection->element, collection->metric, packed, dimensions, kept);
    if (collection->element == POLY_BINARY)
        put32(out, (uint32_t)dimensions);
    else
        put16(out, (uint16_t)dimensions);
    write_elements(collection, packed, kept, out + 4);
    *bytes = (struct poly_text){(const char *)out, size};
    return POLY_OK;
}

/* A record's own column has what was written, and ours what is compared. */
static const float *as_compared(const struct poly_pgv_collection *c, float *numbers,
                                struct poly_arena *arena)
{
    size_t dimensions = c->shape.dimensions;
    void *packed;
    struct poly_error ignored;

    if (c->table == NULL)
        return numbers;
    packed = poly_arena_alloc(arena, poly_element_size(c->element, dimensions));
    if (packed == NULL ||
        poly_vector_pack(c->element, c->metric, numbers, dimensions, packed, &ignored) != POLY_OK)
        return NULL;
    poly_vector_unpack(c->element, c->metric, packed, dimensions, numbers);
    return numbers;
}

const float *poly_pgv_decode(const struct poly_pgv_collection *collection, struct poly_text bytes,
                             struct poly_arena *arena)
{
    const unsigned char *from = (const unsigned char *)bytes.data;
    size_t dimensions = collection->shape.dimensions;
    float *numbers = poly_arena_array(arena, dimensions, sizeof(*numbers));
    uint16_t *halves = NULL;
    uint32_t bits;

    if (numbers == NULL || bytes.size != bytes_of(collection))
        return NULL;
    from += 4;
    if (collection->element == POLY_F16) {
        halves = poly_arena_array(arena, dimensions, sizeof(*halves));
        if (halves == NULL)
            return NULL;
        for (size_t i = 0; i < dimensions; i++)
            halves[i] = get16(from + 2 * i);
        poly_vector_unpack(POLY_F16, collection->metric, halves, dimensions, numbers);
        return as_compared(collection, numbers, arena);
    }
    for (size_t i = 0; i < dimensions; i++) {
        if (collection->element == POLY_BINARY) {
            numbers[i] = (float)(from[i / 8] >> (7 - i % 8) & 1);
            continue;
        }
        bits = get32(from + 4 * i);
        memcpy(&numbers[i], &bits, sizeof(bits));
    }
    return as_compared(collection, numbers, arena);
}
