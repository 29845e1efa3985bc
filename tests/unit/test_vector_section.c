/* Files of checked sections: what was written comes back, and nothing else is taken for it. */
#include "test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory.h"
#include "stores/vector/engine/section.h"
#include "vector_data.h"

enum { KIND = 7, BIG = 300 * 1000 };

static char folder[64];
static char path[96];
static unsigned char big[BIG];

static int make_folder(void **state)
{
    (void)state;
    if (!data_folder(folder, sizeof(folder)))
        return -1;
    snprintf(path, sizeof(path), "%s/file", folder);
    for (size_t i = 0; i < BIG; i++)
        big[i] = (unsigned char)(i * 31 >> 3);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static enum poly_status fill(struct poly_section_writer *w)
{
    enum poly_status status = poly_section_begin(w, 1, &err);

    if (status == POLY_OK)
        status = poly_section_write(w, "hello", 5, &err);
    if (status == POLY_OK)
        status = poly_section_begin(w, 9, &err);
    if (status == POLY_OK)
        status = poly_section_begin(w, 4, &err);
    for (size_t i = 0; i < BIG && status == POLY_OK; i += 1000)
        status = poly_section_write(w, big + i, 1000, &err);
    return status;
}

static enum poly_status save(void)
{
    struct poly_section_writer *w;
    enum poly_status status = poly_section_create(path, KIND, &w, &err);

    if (status != POLY_OK)
        return status;
    status = fill(w);
    if (status == POLY_OK)
        return poly_section_finish(w, &err);
    poly_section_abandon(w);
    return status;
}

static void check_content(const struct poly_sections *s)
{
    void *data;
    size_t size;

    assert_ok(poly_sections_get(s, 1, &data, &size, &err));
    assert_int_equal(size, 5);
    assert_memory_equal(data, "hello", 5);
    assert_ok(poly_sections_get(s, 9, &data, &size, &err));
    assert_int_equal(size, 0);
    assert_ok(poly_sections_get(s, 4, &data, &size, &err));
    assert_int_equal(size, BIG);
    assert_memory_equal(data, big, BIG);
    assert_int_equal((uintptr_t)data % POLY_SECTION_PAGE, 0);
    assert_fails(poly_sections_get(s, 2, &data, &size, &err), POLY_CORRUPT);
}

static void comes_back(void **state)
{
    struct poly_sections *s;

    (void)state;
    assert_ok(save());
    assert_ok(poly_sections_open(path, KIND, NULL, &s, &err));
    check_content(s);
    poly_sections_close(s);
    assert_fails(poly_sections_open(path, KIND + 1, NULL, &s, &err), POLY_CORRUPT);
    poly_sections_close(NULL);
}

/* A change to the map is nobody else's. */
static void changes_stay_in_memory(void **state)
{
    struct poly_sections *one, *other;
    void *data;
    size_t size;

    (void)state;
    assert_ok(save());
    assert_ok(poly_sections_open(path, KIND, NULL, &one, &err));
    assert_ok(poly_sections_get(one, 4, &data, &size, &err));
    memset(data, 0xee, size);
    assert_ok(poly_sections_open(path, KIND, NULL, &other, &err));
    check_content(other);
    poly_sections_close(one);
    poly_sections_close(other);
}

static void other_files(void **state)
{
    struct poly_sections *s;
    struct poly_section_writer *w;

    (void)state;
    unlink(path);
    assert_fails(poly_sections_open(path, KIND, NULL, &s, &err), POLY_NOT_FOUND);
    assert_fails(poly_sections_open(folder, KIND, NULL, &s, &err), POLY_UNAVAILABLE);
    assert_fails(poly_section_create("/dev/null/x", KIND, &w, &err), POLY_UNAVAILABLE);
    assert_ok(poly_section_create(path, KIND, &w, &err));
    assert_ok(fill(w));
    poly_section_abandon(w);
    assert_int_equal(access(path, F_OK), -1);
    assert_ok(poly_section_create(path, KIND, &w, &err));
    for (uint32_t i = 0; i < POLY_SECTIONS_MAX; i++)
        assert_ok(poly_section_begin(w, i, &err));
    assert_fails(poly_section_begin(w, 1000, &err), POLY_LIMIT);
    poly_section_abandon(w);
}

/* What the disk says is said on, and no file is left. */
static void full_disk(void **state)
{
    const struct rlimit small = {200 * 1000, RLIM_INFINITY}, none = {RLIM_INFINITY, RLIM_INFINITY};

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_fails(save(), POLY_UNAVAILABLE);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    assert_int_equal(access(path, F_OK), -1);
    assert_ok(save());
}

static void flip(int fd, off_t at, unsigned bit)
{
    unsigned char byte;

    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte = (unsigned char)(byte ^ 1u << bit);
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
}

static void every_byte_counts(void **state)
{
    struct poly_sections *s = NULL;
    struct stat st;
    int fd;

    (void)state;
    assert_ok(save());
    fd = open(path, O_RDWR);
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    for (off_t at = 0; at < st.st_size; at += at < 2 * POLY_SECTION_PAGE ? 1 : 97) {
        flip(fd, at, (unsigned)at % 8);
        assert_fails(poly_sections_open(path, KIND, NULL, &s, &err), POLY_CORRUPT);
        flip(fd, at, (unsigned)at % 8);
    }
    assert_ok(poly_sections_open(path, KIND, NULL, &s, &err));
    poly_sections_close(s);
    assert_int_equal(ftruncate(fd, st.st_size + 1), 0);
    assert_fails(poly_sections_open(path, KIND, NULL, &s, &err), POLY_CORRUPT);
    for (off_t size = st.st_size - 1; size >= 0; size -= 211) {
        assert_int_equal(ftruncate(fd, size), 0);
        assert_fails(poly_sections_open(path, KIND, NULL, &s, &err), POLY_CORRUPT);
    }
    close(fd);
}

static void out_of_memory(void **state)
{
    struct memory_walk walk = {0};

    (void)state;
    assert_ok(save());
    while (memory_next(&walk)) {
        struct poly_sections *s = NULL;
        enum poly_status status = save();

        if (status == POLY_OK)
            status = poly_sections_open(path, KIND, NULL, &s, &err);
        assert_int_equal(status, memory_failed() ? POLY_NO_MEMORY : POLY_OK);
        poly_sections_close(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back),        cmocka_unit_test(changes_stay_in_memory),
        cmocka_unit_test(other_files),       cmocka_unit_test(full_disk),
        cmocka_unit_test(every_byte_counts), cmocka_unit_test(out_of_memory),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
