#include "vector_made.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { CENTRES = 1000, DIRECTIONS = 32 };

static uint64_t seed = 20240229;
static float *centres, *directions;
static size_t dimensions;

uint64_t vector_made_random(void)
{
    uint64_t z = seed += 0x9e3779b97f4a7c15U;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    return z ^ z >> 31;
}

static double uniform(void)
{
    return ((double)(vector_made_random() >> 11) + 0.5) * 0x1p-53;
}

static float normal(void)
{
    return (float)(sqrt(-2 * log(uniform())) * cos(6.283185307179586 * uniform()));
}

static float *normals(size_t count, float scale)
{
    float *numbers = malloc(count * sizeof(float));

    if (numbers == NULL) {
        perror("memory");
        exit(1);
    }
    for (size_t i = 0; i < count; i++)
        numbers[i] = scale * normal();
    return numbers;
}

void vector_made_begin(size_t wanted)
{
    dimensions = wanted;
    centres = normals(CENTRES * dimensions, 0.5F);
    directions = normals(DIRECTIONS * dimensions, 1);
}

void vector_made_next(float *point)
{
    size_t centre = (size_t)(CENTRES * pow(uniform(), 2));
    double square = 0;

    for (size_t j = 0; j < dimensions; j++)
        point[j] = centres[centre * dimensions + j] + 0.25F * normal();
    for (size_t d = 0; d < DIRECTIONS; d++) {
        float along = 0.15F * normal();

        for (size_t j = 0; j < dimensions; j++)
            point[j] += along * directions[d * dimensions + j];
    }
    for (size_t j = 0; j < dimensions; j++)
        square += (double)point[j] * point[j];
    for (size_t j = 0; j < dimensions; j++)
        point[j] = (float)(point[j] / sqrt(square));
}
