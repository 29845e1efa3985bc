/*
 * The part that all sides of the vector measurement share.
 *
 * Sides that work in this process are measured in cpu time of one thread: other programs on the
 * machine then take nothing from either. What they find is judged after the clock has stopped.
 */
#include "vector_side.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LEAST_SEARCHES = 100 };
#define LEAST_SECONDS 0.5
#define MOST_SECONDS 2.0

static void need(bool well, const char *what)
{
    if (!well) {
        perror(what);
        exit(1);
    }
}

const void *vector_map(const char *folder, const char *name, size_t *bytes)
{
    char path[4096];
    struct stat about;
    void *at;
    int file;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = open(path, O_RDONLY | O_CLOEXEC);
    need(file >= 0 && fstat(file, &about) == 0, path);
    *bytes = (size_t)about.st_size;
    at = mmap(NULL, *bytes, PROT_READ, MAP_SHARED | MAP_POPULATE, file, 0);
    need(at != MAP_FAILED, path);
    close(file);
    return at;
}

void vector_truth_name(char *name, size_t size, uint32_t count, uint32_t permille)
{
    snprintf(name, size, "truth-%u-%u.u32", count, permille);
}

static double seconds(const struct vector_side *side)
{
    struct timespec now;

    clock_gettime(side->remote ? CLOCK_MONOTONIC : CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static size_t in_common(const uint32_t *found, const uint32_t *truth)
{
    size_t same = 0;

    for (size_t i = 0; i < VECTOR_K; i++)
        for (size_t j = 0; j < VECTOR_K; j++)
            same += truth[i] != UINT32_MAX && found[j] == truth[i];
    return same;
}

static double recall(const uint32_t *found, const uint32_t *truth, size_t searches)
{
    size_t same = 0, wanted = 0;

    for (size_t i = 0; i < searches; i++) {
        same += in_common(found + i * VECTOR_K, truth + i * VECTOR_K);
        for (size_t j = 0; j < VECTOR_K; j++)
            wanted += truth[i * VECTOR_K + j] != UINT32_MAX;
    }
    return (double)same / (double)wanted;
}

/* Round and round over the queries until there is enough, or the first round takes too long. */
static void measure(const struct vector_side *side, const struct vector_set *set, uint32_t ef,
                    uint32_t permille, const uint32_t *truth)
{
    uint32_t *found = malloc(sizeof(*found) * set->query_count * VECTOR_K);
    uint64_t visited = 0, searches = 0;
    double begin, taken;

    need(found != NULL, "memory");
    memset(found, 0xff, sizeof(*found) * set->query_count * VECTOR_K);
    begin = seconds(side);
    do {
        size_t i = searches++ % set->query_count;

        visited +=
            side->search(set->queries + i * set->dimensions, ef, permille, found + i * VECTOR_K);
        taken = seconds(side) - begin;
    } while (searches < LEAST_SEARCHES || taken < LEAST_SECONDS ||
             (searches < set->query_count && taken < MOST_SECONDS));
    printf("%.6g %.6f %.6g\n", (double)searches / taken,
           recall(found, truth, searches < set->query_count ? searches : set->query_count),
           (double)visited / (double)searches);
    fflush(stdout);
    free(found);
}

int vector_main(int argc, char **argv, const struct vector_side *side)
{
    struct vector_set set;
    size_t bytes;
    uint32_t ef, permille;
    double begin;

    if (argc < 4) {
        fprintf(stderr, "%s FOLDER DIMENSIONS COUNT [SCRATCH]\n", argv[0]);
        return 2;
    }
    set.dimensions = (uint32_t)strtoul(argv[2], NULL, 10);
    set.count = (uint32_t)strtoul(argv[3], NULL, 10);
    set.scratch = argc > 4 ? argv[4] : NULL;
    set.base = vector_map(argv[1], "base.f32", &bytes);
    need(bytes >= sizeof(float) * set.dimensions * set.count, "too few vectors");
    set.queries = vector_map(argv[1], "queries.f32", &bytes);
    set.query_count = (uint32_t)(bytes / sizeof(float) / set.dimensions);
    begin = seconds(side);
    side->build(&set);
    printf("%.6g ", seconds(side) - begin);
    printf("%llu\n", (unsigned long long)side->bytes());
    fflush(stdout);
    while (scanf("%u %u", &ef, &permille) == 2) {
        char name[64];

        vector_truth_name(name, sizeof(name), set.count, permille);
        measure(side, &set, ef, permille, vector_map(argv[1], name, &bytes));
    }
    return 0;
}
