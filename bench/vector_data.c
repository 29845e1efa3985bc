/*
 * Vectors to measure with, and the truth about them.
 *
 *   clusters FOLDER DIMENSIONS COUNT QUERIES   writes base.f32 and queries.f32
 *   truth FOLDER DIMENSIONS COUNT PERMILLE     writes the ten nearest of each query, by all
 *                                              distances
 *   row BYTES SIZE                             prints the nanoseconds of one row of SIZE bytes out
 *                                              of so many, its place being known long before
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

enum { LINE = 64, AHEAD = 16 /* rows that are asked for before they are needed */ };

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

/* Asks for the row, and reads the one that was asked for a while ago: a word of each line. */
static uint64_t read_row(const uint8_t *next, const uint8_t *now, size_t size)
{
    uint64_t sum = now[size - 1];

    for (size_t at = 0; at < size; at += LINE)
        __builtin_prefetch(next + at);
    __builtin_prefetch(next + size - 1);
    for (size_t at = 0; at < size; at += LINE)
        sum += now[at];
    return sum;
}

static int row(char **words)
{
    const size_t size = strtoul(words[1], NULL, 10), rows = strtoul(words[0], NULL, 10) / size;
    const size_t rounds = (1UL << 30) / size;
    uint8_t *base =
        mmap(NULL, rows * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const uint8_t *asked[AHEAD];
    struct timespec begin, end;
    uint64_t sum = 0;

    if (base == MAP_FAILED || madvise(base, rows * size, MADV_HUGEPAGE) != 0) {
        perror("memory");
        return 1;
    }
    memset(base, 1, rows * size);
    for (size_t i = 0; i < AHEAD; i++)
        asked[i] = base;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
    for (size_t i = 0; i < rounds; i++) {
        const uint8_t *next = base + ((vector_made_random() >> 32) * rows >> 32) * size;

        sum += read_row(next, asked[i % AHEAD], size);
        asked[i % AHEAD] = next;
    }
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
    if (argc == 4 && strcmp(argv[1], "row") == 0)
        return row(argv + 2);
    fprintf(stderr, "see the top of bench/vector_data.c\n");
    return 2;
}
