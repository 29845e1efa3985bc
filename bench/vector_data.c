/*
 * Vectors to measure with, and the truth about them.
 *
 *   clusters FOLDER DIMENSIONS COUNT QUERIES   writes base.f32 and queries.f32
 *   truth FOLDER DIMENSIONS COUNT PERMILLE     writes the ten nearest of each query, by all
 * distances line BYTES                                 prints the nanoseconds of one cache line out
 * of so many bytes, its place being known long before
 *
 * The clusters are what embeddings of text look like, as far as that can be made up: centres whose
 * frequencies fall off, points around them that differ in few directions much and in all a little.
 */
#include "vector_side.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { CENTRES = 1000, DIRECTIONS = 32, LANES = 32, LINE = 64 };

static uint64_t seed = 20240229;

static uint64_t next(void)
{
    uint64_t z = seed += 0x9e3779b97f4a7c15U;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    return z ^ z >> 31;
}

static double uniform(void)
{
    return ((double)(next() >> 11) + 0.5) * 0x1p-53;
}

static float normal(void)
{
    return (float)(sqrt(-2 * log(uniform())) * cos(6.283185307179586 * uniform()));
}

static void *room(size_t bytes)
{
    void *at = aligned_alloc(LINE, (bytes + LINE - 1) / LINE * LINE);

    if (at == NULL) {
        perror("memory");
        exit(1);
    }
    return at;
}

static FILE *create(const char *folder, const char *name)
{
    char path[4096];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "we");
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    return file;
}

static void finish(FILE *file)
{
    if (ferror(file) != 0 || fclose(file) != 0) {
        perror("write");
        exit(1);
    }
}

static float *normals(size_t count, float scale)
{
    float *numbers = room(count * sizeof(float));

    for (size_t i = 0; i < count; i++)
        numbers[i] = scale * normal();
    return numbers;
}

static void write_points(FILE *file, size_t count, size_t dimensions, const float *centres,
                         const float *directions)
{
    float *point = room(dimensions * sizeof(float));

    for (size_t i = 0; i < count; i++) {
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
        fwrite(point, sizeof(float), dimensions, file);
    }
    free(point);
}

static int clusters(char **words)
{
    size_t dimensions = strtoul(words[1], NULL, 10);
    float *centres = normals(CENTRES * dimensions, 0.5F);
    float *directions = normals(DIRECTIONS * dimensions, 1);
    FILE *base = create(words[0], "base.f32"), *queries = create(words[0], "queries.f32");

    write_points(base, strtoul(words[2], NULL, 10), dimensions, centres, directions);
    write_points(queries, strtoul(words[3], NULL, 10), dimensions, centres, directions);
    finish(base);
    finish(queries);
    free(centres);
    free(directions);
    return 0;
}

/* Lanes of their own, so that it need not be told that the order of a sum does not matter. */
static float product(const float *a, const float *b, size_t count)
{
    float lanes[LANES] = {0}, sum = 0;
    size_t i = 0;

    for (; i + LANES <= count; i += LANES)
        for (size_t j = 0; j < LANES; j++)
            lanes[j] += a[i + j] * b[i + j];
    for (; i < count; i++)
        sum += a[i] * b[i];
    for (size_t j = 0; j < LANES; j++)
        sum += lanes[j];
    return sum;
}

static void nearest(const float *query, const float *base, const uint32_t range[2],
                    size_t dimensions, uint32_t *ids)
{
    float best[VECTOR_K];

    for (size_t i = 0; i < VECTOR_K; i++) {
        best[i] = -INFINITY;
        ids[i] = UINT32_MAX;
    }
    for (uint32_t id = 0; id < range[0]; id++) {
        float near;
        size_t at = VECTOR_K;

        if (!vector_fits(id, range[1]))
            continue;
        near = product(query, base + id * dimensions, dimensions);
        for (; at > 0 && near > best[at - 1]; at--)
            if (at < VECTOR_K) {
                best[at] = best[at - 1];
                ids[at] = ids[at - 1];
            }
        if (at < VECTOR_K) {
            best[at] = near;
            ids[at] = id;
        }
    }
}

static int truth(char **words)
{
    size_t dimensions = strtoul(words[1], NULL, 10), bytes;
    const uint32_t range[2] = {(uint32_t)strtoul(words[2], NULL, 10),
                               (uint32_t)strtoul(words[3], NULL, 10)};
    const float *base = vector_map(words[0], "base.f32", &bytes);
    const float *queries = vector_map(words[0], "queries.f32", &bytes);
    char name[64];
    FILE *file;

    vector_truth_name(name, sizeof(name), range[0], range[1]);
    file = create(words[0], name);
    for (size_t i = 0; i < bytes / sizeof(float) / dimensions; i++) {
        uint32_t ids[VECTOR_K];

        nearest(queries + i * dimensions, base, range, dimensions, ids);
        fwrite(ids, sizeof(ids), 1, file);
    }
    finish(file);
    return 0;
}

static int line(char **words)
{
    size_t lines = strtoul(words[0], NULL, 10) / LINE, rounds = 1 << 24;
    uint64_t *at = mmap(NULL, lines * LINE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                        0),
             sum = 0;
    struct timespec begin, end;

    if (at == MAP_FAILED || madvise(at, lines * LINE, MADV_HUGEPAGE) != 0) {
        perror("memory");
        return 1;
    }
    memset(at, 1, lines * LINE);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
    for (size_t i = 0; i < rounds; i++)
        sum += at[(next() >> 32) * lines >> 32 << 3];
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    printf("%.4g\n",
           ((double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec)) /
               (double)(sum != 0 ? rounds : 1));
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 6 && strcmp(argv[1], "clusters") == 0)
        return clusters(argv + 2);
    if (argc == 6 && strcmp(argv[1], "truth") == 0)
        return truth(argv + 2);
    if (argc == 3 && strcmp(argv[1], "line") == 0)
        return line(argv + 2);
    fprintf(stderr, "see the top of bench/vector_data.c\n");
    return 2;
}
