/* An index that is saved and loaded again, and what is not taken for one (S0-05). */
#include "index_place.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "stores/vector/engine/section.h"

enum { COUNT = 400, WIDE = 512, KIND = 0x58444e49, HEAD = 1, CODES, LINKS, SUMS = 7 };

static char other[96], spare[96]; /* beside them in the folder */
static struct poly_index_options options = {.element = POLY_F32,
                                            .metric = POLY_COSINE,
                                            .dimensions = 20,
                                            .m = 4,
                                            .ef_construction = 40,
                                            .graph_from = 1,
                                            .originals = originals};
static const float query[WIDE] = {1, 0.5F, -1};

static int make_place(void **state)
{
    if (make_folder(state) != 0)
        return -1;
    snprintf(other, sizeof(other), "%s/other", folder);
    snprintf(spare, sizeof(spare), "%s/spare", folder);
    return 0;
}

/* Some dead, some not linked; saved. */
static struct poly_index *build_as(const struct poly_index_options *as)
{
    struct poly_index *index = NULL;
    uint64_t random = 1;

    assert_ok(poly_index_new(as, &index, &err));
    data_fill(index, as, &random, COUNT);
    data_link(index);
    data_fill(index, as, &random, 50);
    for (uint32_t slot = 0; slot < COUNT; slot += 7)
        assert_ok(poly_index_kill(index, slot, &err));
    poly_index_publish(index);
    assert_ok(poly_index_save(index, poly_index_end(index), path, &err));
    return index;
}

static struct poly_index *build(void)
{
    return build_as(&options);
}

static struct poly_index *load(void)
{
    struct poly_index *index = NULL;

    assert_ok(poly_index_load(&options, path, NULL, &index, &err));
    return index;
}

static void same_answers(struct poly_index *a, struct poly_index *b)
{
    uint64_t random = 3;
    float vector[20];

    for (uint32_t i = 0; i < 90; i++) {
        struct poly_near here[10], there[10];
        uint32_t count = 0, count_there = 0;
        struct poly_index_search search = {.query = vector,
                                           .end = poly_index_end(a),
                                           .k = 10,
                                           .ef = 30,
                                           .farthest = INFINITY,
                                           .way = i % 3 == 0 ? POLY_WAY_SCAN : POLY_WAY_GRAPH};

        data_query(&options, &random, -1, vector);
        assert_ok(poly_index_find(a, &search, here, &count, &err));
        search.end = poly_index_end(b);
        assert_ok(poly_index_find(b, &search, there, &count_there, &err));
        assert_int_equal(count, 10);
        assert_int_equal(count_there, 10);
        for (uint32_t j = 0; j < 10; j++) {
            assert_int_equal(here[j].slot, there[j].slot);
            assert_true(here[j].distance == there[j].distance);
        }
    }
}

static size_t file_size(const char *name)
{
    struct stat st;

    assert_int_equal(stat(name, &st), 0);
    return (size_t)st.st_size;
}

static void copy_file(const char *from, const char *to, size_t size)
{
    const size_t whole = file_size(from);
    char *bytes = malloc(whole);
    int fd = open(from, O_RDONLY);

    assert_non_null(bytes);
    assert_int_equal(read(fd, bytes, whole), whole);
    close(fd);
    fd = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(write(fd, bytes, size), size);
    close(fd);
    free(bytes);
}

/* Loaded as it was saved; what came later is not there, and can come again. */
static void comes_back(void **state)
{
    struct poly_index *index = build(), *again;
    const uint32_t end = poly_index_end(index);
    const size_t size = file_size(originals);
    uint64_t random = 8;

    (void)state;
    assert_int_equal(size, end * 80);
    again = load();
    data_same_numbers(index, again);
    same_answers(index, again);
    poly_index_free(again);

    /* more of everything, beyond the save */
    data_fill(index, &options, &random, 60);
    data_link(index);
    assert_ok(poly_index_kill(index, 1, &err));
    poly_index_publish(index);
    assert_true(file_size(originals) > size);
    poly_index_free(index);
    again = load();
    assert_int_equal(poly_index_end(again), end);
    assert_true(poly_index_alive(again, 1, end));
    assert_int_equal(file_size(originals), size);

    /* goes on as the first did, and is saved in its turn */
    random = 8;
    data_fill(again, &options, &random, 60);
    data_link(again);
    assert_ok(poly_index_save(again, poly_index_end(again), path, &err));
    index = load();
    same_answers(again, index);
    poly_index_free(index);
    poly_index_free(again);
}

/* A state that is not the newest: slots that have died later live, links lead to no later slot. */
static void an_older_state(void **state)
{
    struct poly_index *index = build(), *again;
    const uint32_t end = poly_index_end(index);
    struct poly_index_numbers numbers;
    uint64_t random = 9;
    uint32_t dead = 0;

    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        data_fill(index, &options, &random, 700);
        data_link(index);
        assert_ok(poly_index_kill(index, 1 + i, &err));
        poly_index_publish(index);
    }
    assert_ok(poly_index_save(index, end, path, &err));
    again = load();
    assert_int_equal(poly_index_end(again), end);
    for (uint32_t slot = 0; slot < end; slot++) {
        assert_int_equal(poly_index_alive(again, slot, end), poly_index_alive(index, slot, end));
        dead += !poly_index_alive(index, slot, end);
    }
    poly_index_measure(again, &numbers);
    assert_int_equal(numbers.dead, dead);
    for (uint32_t i = 0; i < 20; i++) {
        float vector[20];
        struct poly_index_search search = {.query = vector,
                                           .end = end,
                                           .k = 5,
                                           .ef = 40,
                                           .farthest = INFINITY,
                                           .way = POLY_WAY_GRAPH};

        data_query(&options, &random, -1, vector);
        assert_true(data_recall(again, &options, &search) >= 0.2);
    }
    poly_index_free(again);
    poly_index_free(index);
}

/* More originals than one checksum has: saved newer, older, newer again. */
static void many_originals(void **state)
{
    enum { MANY = 3000 };
    const struct poly_index_options wide = {.element = POLY_F32,
                                            .metric = POLY_COSINE,
                                            .dimensions = 200,
                                            .m = 4,
                                            .ef_construction = 10,
                                            .graph_from = 100000,
                                            .originals = originals};
    static const uint32_t ends[] = {MANY, 600, 2900, 1, MANY};
    struct poly_index *index = NULL, *again;
    uint64_t random = 21;

    (void)state;
    assert_ok(poly_index_new(&wide, &index, &err));
    data_fill(index, &wide, &random, MANY);
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        assert_ok(poly_index_save(index, ends[i], path, &err));
        again = NULL;
        copy_file(originals, spare, (size_t)ends[i] * 800);

        struct poly_index_options as = wide;

        as.originals = spare;
        assert_ok(poly_index_load(&as, path, NULL, &again, &err));
        assert_int_equal(poly_index_end(again), ends[i]);
        assert_memory_equal(poly_index_original(again, ends[i] - 1),
                            poly_index_original(index, ends[i] - 1), 800);
        poly_index_free(again);
    }
    poly_index_free(index);
}

static void an_empty_one(void **state)
{
    struct poly_index *index = NULL, *again;

    (void)state;
    assert_ok(poly_index_new(&options, &index, &err));
    assert_ok(poly_index_save(index, 0, path, &err));
    again = load();
    assert_int_equal(poly_index_end(again), 0);
    poly_index_free(again);
    poly_index_free(index);
}

/* --- what is refused --- */

static void refused(const struct poly_index_options *as, enum poly_status wanted)
{
    struct poly_index *index = NULL;

    assert_fails(poly_index_load(as, path, NULL, &index, &err), wanted);
    assert_null(index);
}

static void missing_or_of_another_shape(void **state)
{
    struct poly_index_options as = options;
    struct poly_index *index = build();

    (void)state;
    poly_index_free(index);
    as.metric = POLY_L2;
    refused(&as, POLY_CORRUPT);
    as = options;
    as.m = 5;
    refused(&as, POLY_CORRUPT);
    as = options;
    as.dimensions = 21;
    refused(&as, POLY_CORRUPT);
    assert_message("another shape");
    as = options;
    as.originals = other;
    refused(&as, POLY_NOT_FOUND);
    assert_int_equal(unlink(path), 0);
    refused(&options, POLY_NOT_FOUND);

    as = options;
    as.originals = NULL;
    assert_ok(poly_index_new(&as, &index, &err));
    assert_fails(poly_index_save(index, 0, path, &err), POLY_INVALID);
    poly_index_free(index);
    index = build();
    assert_fails(poly_index_save(index, 1, "/dev/null/no", &err), POLY_UNAVAILABLE);
    poly_index_free(index);
}

static void flip(const char *name, size_t at)
{
    const int fd = open(name, O_RDWR);
    uint8_t byte;

    assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
    byte ^= (uint8_t)(1U << at % 8);
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
    close(fd);
}

/* Every byte of the first page, and a thousand others. */
static void one_bit_is_wrong(void **state)
{
    uint64_t random = 11;

    (void)state;
    poly_index_free(build());
    for (uint32_t i = 0; i < 4096 + 1000; i++) {
        const char *name = i < 4096 || i % 4 != 0 ? path : originals;
        const size_t at = i < 4096 ? i : data_below(&random, (uint32_t)file_size(name));

        flip(name, at);
        refused(&options, POLY_CORRUPT);
        flip(name, at);
    }
    poly_index_free(load());
}

static void cut_short(void **state)
{
    struct poly_index_options as = options;
    uint64_t random = 12;
    char *whole;

    (void)state;
    poly_index_free(build());
    assert_int_equal(rename(path, other), 0);
    for (uint32_t i = 0; i < 200; i++) {
        const uint32_t size = (uint32_t)file_size(other);

        copy_file(other, path, i < 2 ? i * (size - 1) : data_below(&random, size));
        refused(&options, POLY_CORRUPT);
    }
    assert_int_equal(rename(other, path), 0);
    as.originals = spare;
    whole = spare;
    for (uint32_t i = 0; i < 100; i++) {
        const uint32_t size = (uint32_t)file_size(originals);

        copy_file(originals, whole, i < 2 ? i * (size - 1) : data_below(&random, size));
        refused(&as, POLY_CORRUPT);
    }
    poly_index_free(load());
}

/* --- right checksums, wrong numbers --- */

/* Some words of a section become others; of codes many, for few are the numbers at a row's end. */
static void spoil(uint32_t section, uint32_t *words, size_t count, uint64_t *random)
{
    static const uint32_t lively[] = {0,   1,   2,   5,      13,         399,        400,
                                      450, 451, 452, 100000, 0x7fc00000, 0x7f800000, 0xff800000};
    uint32_t times = section == CODES ? 1 + data_below(random, 100) : 1;

    for (; times > 0; times--)
        words[data_below(random, (uint32_t)count)] =
            data_below(random, 3) == 0
                ? (uint32_t)data_random(random)
                : lively[data_below(random, sizeof(lively) / sizeof(lively[0]))];
}

/* The saved file with another section. */
static void write_nonsense(const struct poly_sections *from, uint32_t section, uint64_t *random)
{
    struct poly_section_writer *writer = NULL;

    assert_ok(poly_section_create(path, KIND, &writer, &err));
    for (uint32_t number = HEAD; number <= SUMS; number++) {
        void *data;
        size_t size;

        assert_ok(poly_sections_get(from, number, &data, &size, &err));
        assert_ok(poly_section_begin(writer, number, &err));
        if (number == section && data_below(random, 10) == 0) {
            assert_ok(poly_section_write(writer, data, data_below(random, (uint32_t)size), &err));
        } else if (number == section) {
            uint32_t *words = malloc(size);

            assert_non_null(words);
            memcpy(words, data, size);
            spoil(section, words, size / 4, random);
            assert_ok(poly_section_write(writer, words, size, &err));
            free(words);
        } else {
            assert_ok(poly_section_write(writer, data, size, &err));
        }
    }
    assert_ok(poly_section_finish(writer, &err));
}

/* What a broken program might write is refused, or does no harm. */
static void write_much_nonsense(uint32_t dimensions, uint32_t rounds)
{
    struct poly_index_options as = options;
    struct poly_sections *from = NULL;
    struct poly_index_search search = {.query = query, .k = 20, .ef = 50, .farthest = INFINITY};
    struct poly_near near[20];
    uint64_t random = 13;
    uint32_t corrupt = 0, count;

    as.dimensions = dimensions;
    poly_index_free(build_as(&as));
    assert_int_equal(rename(path, other), 0);
    assert_ok(poly_sections_open(other, KIND, NULL, &from, &err));
    for (uint32_t i = 0; i < rounds; i++) {
        struct poly_index *index = NULL;
        enum poly_status status;

        write_nonsense(from, HEAD + i % SUMS, &random);
        status = poly_index_load(&as, path, NULL, &index, &err);
        assert_true(status == POLY_OK || status == POLY_CORRUPT);
        corrupt += status == POLY_CORRUPT;
        if (status != POLY_OK)
            continue;
        search.end = poly_index_end(index);
        for (search.way = POLY_WAY_PLANNED; search.way <= POLY_WAY_GRAPH; search.way++)
            assert_ok(poly_index_find(index, &search, near, &count, &err));
        data_fill(index, &as, &random, 3);
        data_link(index);
        poly_index_free(index);
        assert_int_equal(truncate(originals, (off_t)(COUNT + 51) * dimensions * 4), 0);
    }
    assert_true(corrupt * 14 > rounds * 5);
    poly_sections_close(from);
}

/* Also where codes have sketches, and where they are short (S3-83). */
static void nonsense_is_harmless(void **state)
{
    (void)state;
    write_much_nonsense(20, 1400);
    write_much_nonsense(100, 350);
    write_much_nonsense(WIDE, 350);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back),
        cmocka_unit_test(an_older_state),
        cmocka_unit_test(many_originals),
        cmocka_unit_test(an_empty_one),
        cmocka_unit_test(missing_or_of_another_shape),
        cmocka_unit_test(one_bit_is_wrong),
        cmocka_unit_test(cut_short),
        cmocka_unit_test(nonsense_is_harmless),
    };

    return cmocka_run_group_tests(tests, make_place, remove_folder);
}
