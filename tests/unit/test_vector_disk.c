/*
 * Originals that are not in memory (S3-82): all that a search will look at are asked for before it
 * looks at the first, so that it waits for one read and not for one after the other. Seen from the
 * faults that had to wait, which the system counts.
 */
#include "test.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "stores/vector/engine/index_inside.h"
#include "vector_data.h"

enum { COUNT = 4000, DIMENSIONS = 256, K = 20, CANDIDATES = K + K / 4 + 10 };

static const struct poly_index_options shape = {.element = POLY_F32,
                                                .metric = POLY_L2,
                                                .dimensions = DIMENSIONS,
                                                .m = 8,
                                                .ef_construction = 16,
                                                .graph_from = 1};

static struct poly_index *index_on_disk;
static float query[DATA_MAX_DIMENSIONS];

/* Not in memory as other tests' folders are: it is the disk that is looked at. */
static int make(void **state)
{
    char path[] = "/var/tmp/polystore-test-vector-XXXXXX";
    struct poly_index_options options = shape;
    uint64_t random = 7;
    int fd = mkstemp(path);

    (void)state;
    if (fd < 0)
        return -1;
    close(fd);
    options.originals = path;
    assert_ok(poly_index_new(&options, &index_on_disk, &err));
    assert_int_equal(unlink(path), 0);
    data_fill(index_on_disk, &options, &random, COUNT);
    data_link(index_on_disk);
    data_query(&options, &random, -1, query);
    return 0;
}

static int drop(void **state)
{
    (void)state;
    poly_index_free(index_on_disk);
    return 0;
}

/* false: this file system keeps what it was told to let go. */
static bool forget_originals(void)
{
    const size_t bytes = COUNT * index_on_disk->original_size;
    unsigned char there[COUNT * DIMENSIONS * sizeof(float) / 4096 + 1];
    uint8_t *base = index_on_disk->originals.base;

    assert_int_equal(fdatasync(index_on_disk->fd), 0);
    assert_int_equal(madvise(base, bytes, MADV_DONTNEED), 0);
    assert_int_equal(posix_fadvise(index_on_disk->fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    assert_int_equal(mincore(base, bytes, there), 0);
    for (size_t i = 0; i < bytes / 4096; i++)
        if (there[i] & 1)
            return false;
    return true;
}

/* Faults that waited for the disk in one search. */
static long search(enum poly_index_way way, struct poly_near *near)
{
    struct poly_index_search search = {.query = query,
                                       .end = poly_index_end(index_on_disk),
                                       .k = K,
                                       .ef = 64,
                                       .farthest = INFINITY,
                                       .way = way};
    struct rusage before, after;
    uint32_t count;

    getrusage(RUSAGE_THREAD, &before);
    assert_ok(poly_index_find(index_on_disk, &search, near, &count, &err));
    getrusage(RUSAGE_THREAD, &after);
    assert_int_equal(count, K);
    return after.ru_majflt - before.ru_majflt;
}

static void expect_speed(bool slow)
{
    atomic_store(&index_on_disk->costs.original, slow ? 1e9F : 0.0F);
    assert_int_equal(poly_originals_slow(index_on_disk), slow);
}

static void asks_for_all_before_it_looks_at_one(void **state)
{
    struct poly_near one[K], other[K];
    long waits;

    (void)state;
    if (!forget_originals()) {
        print_message("skipped: originals on a disk (the file system keeps them in memory)\n");
        skip();
    }
    expect_speed(false);
    waits = search(POLY_WAY_GRAPH, one);
    assert_true(waits > CANDIDATES / 2); /* the control: one after the other */
    assert_true(forget_originals());
    expect_speed(true);
    waits = search(POLY_WAY_GRAPH, other);
    assert_true(waits < CANDIDATES / 4);
    assert_memory_equal(one, other, sizeof(one));
}

static void answers_are_the_same(void **state)
{
    struct poly_near one[K], other[K];

    (void)state;
    for (int i = 0; i < 2; i++) {
        expect_speed(i == 1);
        (void)forget_originals();
        search(POLY_WAY_SCAN, i == 0 ? one : other);
    }
    assert_memory_equal(one, other, sizeof(one));
}

/* Once all is in memory, nobody is asked any more. */
static void sees_when_the_disk_is_not_needed(void **state)
{
    struct poly_near near[K];

    (void)state;
    expect_speed(true);
    for (int i = 0; i < 100000 && poly_originals_slow(index_on_disk); i++)
        search(POLY_WAY_GRAPH, near);
    assert_false(poly_originals_slow(index_on_disk));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asks_for_all_before_it_looks_at_one),
        cmocka_unit_test(answers_are_the_same),
        cmocka_unit_test(sees_when_the_disk_is_not_needed),
    };

    return cmocka_run_group_tests(tests, make, drop);
}
