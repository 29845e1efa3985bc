/*
 * Many long vectors in little memory: short codes and links in memory, the vectors themselves
 * in the index's file and nowhere else. They are made up as they go in (bench/vector_made.h), and
 * so is the truth about the queries, which are made first.
 *
 *   bench-vector-million SCRATCH DIMENSIONS COUNT QUERIES THREADS
 *
 * Prints the seconds that linking took with so many threads, the bytes of memory of the index, and
 * the MiB that this process has of its own; then for each EF on standard input: searches a second
 * of one thread, recall@10, and distances computed for one search.
 */
#include <pthread.h>
#include <string.h>

#include "base/status.h"
#include "common.h"
#include "stores/vector/engine/index.h"
#include "vector_made.h"
#include "vector_nearest.h"

/* As in a schema that many have (pgvector's defaults): ef_construction 64. */
enum { M = 16, EF_CONSTRUCTION = 64, THREADS_MOST = 64, STEP = 64 };

static struct {
    uint32_t dimensions, count, query_count;
    float *queries;
    struct vector_nearest *truth;
    struct poly_index *index;
} set;

static void *room(size_t bytes)
{
    void *at = aligned_alloc(64, (bytes + 63) / 64 * 64);

    if (at == NULL)
        BENCH_DIE("out of memory");
    return at;
}

static void open_index(const char *scratch)
{
    char originals[4096];
    struct poly_index_options options = {.element = POLY_F32,
                                         .metric = POLY_COSINE,
                                         .dimensions = set.dimensions,
                                         .m = M,
                                         .ef_construction = EF_CONSTRUCTION,
                                         .originals = originals};
    struct poly_error err;

    snprintf(originals, sizeof(originals), "%s/originals-million", scratch);
    BENCH_OK(poly_index_new(&options, &set.index, &err));
}

static void make_queries(void)
{
    set.queries = room(sizeof(float) * set.dimensions * set.query_count);
    set.truth = room(sizeof(*set.truth) * set.query_count);
    for (uint32_t i = 0; i < set.query_count; i++) {
        vector_made_next(set.queries + (size_t)i * set.dimensions);
        vector_nearest_begin(&set.truth[i]);
    }
}

static void fill(void)
{
    float *point = room(sizeof(float) * set.dimensions);
    void *original = room(poly_element_size(POLY_F32, set.dimensions));
    struct poly_error err;
    uint32_t slot;

    for (uint32_t id = 0; id < set.count; id++) {
        vector_made_next(point);
        for (uint32_t i = 0; i < set.query_count; i++)
            vector_nearest_add(&set.truth[i], set.queries + (size_t)i * set.dimensions, point,
                               set.dimensions, id);
        BENCH_OK(poly_vector_pack(POLY_F32, POLY_COSINE, point, set.dimensions, original, &err));
        BENCH_OK(poly_index_append(set.index, original, &slot, &err));
    }
    poly_index_publish(set.index);
    free(original);
    free(point);
}

static void *link_some(void *arg)
{
    struct poly_error err;
    uint32_t linked;

    (void)arg;
    do
        BENCH_OK(poly_index_link(set.index, STEP, NULL, &linked, &err));
    while (linked > 0);
    return NULL;
}

static double link_all(unsigned threads)
{
    pthread_t others[THREADS_MOST];
    double begin = bench_now();

    for (unsigned i = 1; i < threads; i++)
        if (pthread_create(&others[i], NULL, link_some, NULL) != 0)
            BENCH_DIE("no thread");
    link_some(NULL);
    for (unsigned i = 1; i < threads; i++)
        pthread_join(others[i], NULL);
    return bench_now() - begin;
}

/* Without what is mapped from files. */
static double own_mib(void)
{
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    double kib = 0;

    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, "RssAnon:", 8) == 0)
            kib = strtod(line + 8, NULL);
    if (file != NULL)
        fclose(file);
    return kib / 1024;
}

static void measure(uint32_t ef)
{
    uint64_t visited = 0;
    size_t same = 0;
    double begin, end;

    for (int warm = 1; warm >= 0; warm--) { /* the second round counts */
        same = visited = 0;
        begin = bench_now();
        for (uint32_t i = 0; i < set.query_count; i++) {
            struct poly_index_search search = {.query = set.queries + (size_t)i * set.dimensions,
                                               .end = poly_index_end(set.index),
                                               .k = VECTOR_K,
                                               .ef = ef,
                                               .farthest = INFINITY};
            struct poly_near near[VECTOR_K];
            struct poly_error err;
            uint32_t count;

            BENCH_OK(poly_index_find(set.index, &search, near, &count, &err));
            visited += search.visited;
            for (uint32_t j = 0; j < count; j++)
                for (uint32_t k = 0; k < VECTOR_K; k++)
                    same += near[j].slot == set.truth[i].ids[k];
        }
        end = bench_now();
    }
    printf("%.6g %.6f %.6g\n", set.query_count / (end - begin),
           (double)same / set.query_count / VECTOR_K, (double)visited / set.query_count);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct poly_index_numbers numbers;
    unsigned threads;
    uint32_t ef;
    double seconds;

    if (argc != 6)
        BENCH_DIE("see the top of bench/vector_million.c");
    set.dimensions = (uint32_t)strtoul(argv[2], NULL, 10);
    set.count = (uint32_t)strtoul(argv[3], NULL, 10);
    set.query_count = (uint32_t)strtoul(argv[4], NULL, 10);
    threads = (unsigned)strtoul(argv[5], NULL, 10);
    if (set.query_count == 0 || threads == 0 || threads > THREADS_MOST)
        BENCH_DIE("see the top of bench/vector_million.c");
    vector_made_begin(set.dimensions);
    make_queries();
    open_index(argv[1]);
    fill();
    seconds = link_all(threads);
    poly_index_measure(set.index, &numbers);
    printf("%.6g %llu %.6g\n", seconds, (unsigned long long)numbers.memory_bytes, own_mib());
    fflush(stdout);
    while (scanf("%u", &ef) == 1)
        measure(ef);
    return 0;
}
