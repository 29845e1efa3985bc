/*
 * Vectors to measure with, and the truth about them.
 *
 *   clusters FOLDER DIMENSIONS COUNT QUERIES   writes base.f32 and queries.f32
 *   truth FOLDER DIMENSIONS COUNT PERMILLE     writes the ten nearest of each query, by all
 *                                              distances
 *   line BYTES                                 prints the nanoseconds of one cache line out of so
 *                                              many bytes, its place being known long before
 *
 * The clusters are those of bench/vector_made.h.
 */
#include "vector_made.h"
#include "vector_nearest.h"
#include "vector_side.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { LINE = 64 };

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

static void write_points(const char *folder, const char *name, size_t count, size_t dimensions)
{
    float *point = room(dimensions * sizeof(float));
    FILE *file = create(folder, name);

    for (size_t i = 0; i < count; i++) {
        vector_made_next(point);
        fwrite(point, sizeof(float), dimensions, file);
    }
    finish(file);
    free(point);
}

static int clusters(char **words)
{
    size_t dimensions = strtoul(words[1], NULL, 10);

    vector_made_begin(dimensions);
    write_points(words[0], "base.f32", strtoul(words[2], NULL, 10), dimensions);
    write_points(words[0], "queries.f32", strtoul(words[3], NULL, 10), dimensions);
    return 0;
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
        struct vector_nearest nearest;

        vector_nearest_begin(&nearest);
        for (uint32_t id = 0; id < range[0]; id++)
            if (vector_fits(id, range[1]))
                vector_nearest_add(&nearest, queries + i * dimensions, base + id * dimensions,
                                   dimensions, id);
        fwrite(nearest.ids, sizeof(nearest.ids), 1, file);
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
        sum += at[(vector_made_random() >> 32) * lines >> 32 << 3];
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
