/*
 * Files of a collection of vectors that are not as they were written: found out at the start,
 * thrown away as a whole, and said; never a crash, never another answer (S0-05: what is wrong is
 * built anew).
 */
#include "test.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lab.h"
#include "vector_model.h"

static struct poly_error err;
static char why[400];

static const struct model_shape shape = {.element = POLY_F32,
                                         .metric = POLY_COSINE,
                                         .dimensions = 12,
                                         .keys = 500,
                                         .owners = 3,
                                         .clusters = 9};

static char whole[LAB_PATH], folder[LAB_PATH];
static struct model model; /* of what is saved in whole; without a collection */
static unsigned found_by_look;

static int make_whole(void **state)
{
    (void)state;
    lab_folder_make(whole);
    lab_folder_make(folder);
    model_open(&model, &shape, whole);
    for (int i = 0; i < 8; i++) {
        if (model_step(&model, 100, &err) != POLY_OK)
            return -1;
    }
    if (poly_collection_save(model.collection, &err) != POLY_OK)
        return -1;
    poly_collection_close(model.collection);
    model.collection = NULL;
    return 0;
}

static int remove_whole(void **state)
{
    (void)state;
    model_close(&model);
    lab_folder_remove(whole);
    lab_folder_remove(folder);
    return 0;
}

/* A look, before anything is read: it may miss what opening finds, and finds nothing else. */
static struct poly_collection_saved look(const struct model *m)
{
    const struct poly_collection_options options = model_options(m, folder);
    struct poly_collection_saved saved = {.position = 99};

    assert_ok(poly_collection_peek(&options, &saved, &err));
    assert_int_equal(saved.position, saved.damaged ? 0 : model.position);
    assert_true(saved.damaged == (saved.bytes == 0));
    return saved;
}

/* Opens what is in the folder. true: it is empty and says that it was damaged. */
static bool thrown_away(void)
{
    struct model m;
    uint64_t position = 99;
    bool damaged = false, seen;

    model_copy(&m, &model);
    seen = look(&m).damaged;
    found_by_look += seen;
    assert_ok(model_reopen(&m, folder, &position, &damaged, &err));
    assert_true(damaged || !seen);
    if (damaged) {
        struct poly_collection_numbers numbers;

        assert_int_equal(position, 0);
        poly_collection_measure(m.collection, &numbers);
        assert_int_equal(numbers.index.slots, 0);
        /* and it can be filled again */
        memset(m.records, 0, shape.keys * sizeof(*m.records));
        m.position = 0;
        assert_ok(model_step(&m, 5, &err));
        if (!model_agrees(&m, 1, why, sizeof(why)))
            fail_msg("%s", why);
    } else if (!model_agrees(&m, 2, why, sizeof(why))) {
        fail_msg("%s", why);
    }
    model_close(&m);
    return damaged;
}

static int open_file(const char *path)
{
    char to[LAB_PATH * 2];
    int fd;

    lab_folder_copy(whole, folder);
    snprintf(to, sizeof(to), "%s/%s", folder, strrchr(path, '/') + 1);
    fd = open(to, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static off_t size_of(const char *path)
{
    struct stat info;

    assert_int_equal(stat(path, &info), 0);
    return info.st_size;
}

static off_t place(off_t size, unsigned i, unsigned count)
{
    off_t step = size / (off_t)count;

    return i < 32 ? i : i < 64 ? size - 1 - (i - 32) : step * i + i * 7919 % (step + 1);
}

static void flip(const char *path, void *arg)
{
    off_t size = size_of(path);
    unsigned count = size < 1000 ? (unsigned)size : 1000;

    (void)arg;
    for (unsigned i = 0; i < count; i++) {
        off_t at = count < 1000 ? (off_t)i : place(size, i, count);
        unsigned char byte;
        int fd;

        if (at >= size)
            continue;
        fd = open_file(path);
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte ^= (unsigned char)(1 << i % 8);
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        close(fd);
        if (!thrown_away())
            fail_msg("%s: byte %ld of %ld is another, and nobody says so", path, (long)at,
                     (long)size);
    }
}

static void cut(const char *path, void *arg)
{
    off_t size = size_of(path);
    unsigned count = size < 1000 ? (unsigned)size : 1000;

    (void)arg;
    for (unsigned i = 0; i < count; i++) {
        off_t at = count < 1000 ? (off_t)i : place(size, i, count);
        int fd;

        if (at >= size)
            continue;
        fd = open_file(path);
        assert_int_equal(ftruncate(fd, at), 0);
        close(fd);
        found_by_look = 0;
        if (!thrown_away())
            fail_msg("%s: cut from %ld to %ld, and nobody says so", path, (long)size, (long)at);
        if (found_by_look == 0) /* what is cut short is found at once */
            fail_msg("%s: cut from %ld to %ld, and a look misses it", path, (long)size, (long)at);
    }
}

static void a_flipped_bit_is_found(void **state)
{
    (void)state;
    lab_folder_each(whole, flip, NULL);
}

static void a_cut_file_is_found(void **state)
{
    (void)state;
    lab_folder_each(whole, cut, NULL);
}

static void leave_out(const char *path, void *arg)
{
    char to[LAB_PATH * 2];

    (void)arg;
    lab_folder_copy(whole, folder);
    snprintf(to, sizeof(to), "%s/%s", folder, strrchr(path, '/') + 1);
    assert_int_equal(unlink(to), 0);
    if (strcmp(strrchr(path, '/'), "/head") != 0)
        assert_true(thrown_away());
}

/* Without a head there is no save: that is a new folder, not a damaged one. */
static void a_missing_file_is_found(void **state)
{
    struct model m;
    uint64_t position = 99;
    bool damaged = true;

    (void)state;
    lab_folder_each(whole, leave_out, NULL);
    lab_folder_copy(whole, folder);
    snprintf(why, sizeof(why), "%s/head", folder);
    assert_int_equal(unlink(why), 0);
    model_copy(&m, &model);
    assert_ok(model_reopen(&m, folder, &position, &damaged, &err));
    assert_int_equal(position, 0);
    assert_false(damaged);
    model_close(&m);
}

static void add_byte(const char *path, void *arg)
{
    int fd = open_file(path);

    (void)arg;
    assert_int_equal(pwrite(fd, "", 1, size_of(path)), 1);
    close(fd);
    /* originals may have been written ahead of the save: what is behind its end is nobody's */
    assert_int_equal(thrown_away(), strstr(path, "/originals.") == NULL);
}

static void a_longer_file_is_found(void **state)
{
    (void)state;
    lab_folder_each(whole, add_byte, NULL);
}

/* Each file is whole, but they are of different saves. */
static void files_of_two_saves_are_not_mixed(void **state)
{
    static const char *const kinds[] = {"index", "catalog"};
    char later[LAB_PATH], from[LAB_PATH * 2], to[LAB_PATH * 2];
    struct model m;
    uint64_t position;
    bool damaged;

    (void)state;
    lab_folder_make(later);
    lab_folder_copy(whole, later);
    model_copy(&m, &model);
    assert_ok(model_reopen(&m, later, &position, &damaged, &err));
    assert_ok(model_step(&m, 1, &err));
    assert_ok(poly_collection_save(m.collection, &err));
    model_close(&m);
    for (int i = 0; i < 2; i++) {
        lab_folder_copy(later, folder);
        snprintf(from, sizeof(from), "%s/%s.1", whole, kinds[i]);
        snprintf(to, sizeof(to), "%s/%s.2", folder, kinds[i]);
        assert_int_equal(unlink(to), 0);
        assert_int_equal(link(from, to), 0);
        if (!thrown_away())
            fail_msg("the %s of another save is taken", kinds[i]);
    }
    lab_folder_remove(later);
}

/* A thread that opens what is in the folder. */
struct opening {
    struct poly_loading loading;
    enum poly_status status;
    struct poly_error err;
};

static void *open_watched(void *arg)
{
    struct opening *opening = arg;
    struct poly_collection_options options = model_options(&model, folder);
    struct poly_collection *collection = NULL;
    uint64_t position;
    bool damaged;

    options.watch = &opening->loading;
    opening->status =
        poly_collection_open(&options, &collection, &position, &damaged, &opening->err);
    if (opening->status == POLY_OK)
        poly_collection_close(collection);
    return NULL;
}

/* Wherever reading is told to stop, it does, and changes nothing. */
static void reading_can_be_stopped(void **state)
{
    uint64_t bytes, stops = 0; /* bytes: a little more than what is compared */

    (void)state;
    lab_folder_copy(whole, folder);
    bytes = look(&model).bytes;
    assert_true(bytes > 0);
    for (uint64_t at = 0; at < bytes - bytes / 10; at += bytes / 30 + 1) {
        struct opening opening = {.status = POLY_INTERNAL};
        pthread_t thread;

        atomic_store(&poly_control_loading, at);
        assert_int_equal(pthread_create(&thread, NULL, open_watched, &opening), 0);
        while (atomic_load(&opening.loading.done) <= at)
            usleep(100);
        atomic_store(&opening.loading.stop, true);
        pthread_join(thread, NULL);
        assert_int_equal(opening.status, POLY_UNAVAILABLE);
        assert_non_null(strstr(opening.err.message, "was stopped"));
        stops++;
    }
    atomic_store(&poly_control_loading, UINT64_MAX);
    assert_true(stops >= 20);
    assert_false(thrown_away());
}

/* What is whole, but of another shape, is not what was asked for. */
static void another_shape_is_not_taken(void **state)
{
    struct model m;
    uint64_t position = 99;
    bool damaged;

    (void)state;
    for (int i = 0; i < 5; i++) {
        lab_folder_copy(whole, folder);
        model_copy(&m, &model);
        m.shape.dimensions = i == 0 ? 8 : shape.dimensions;
        m.shape.metric = i == 1 ? POLY_L2 : shape.metric;
        m.shape.element = i == 2 ? POLY_F16 : shape.element;
        m.shape.m = i == 3 ? 8 : 0;
        assert_ok(model_reopen(&m, folder, &position, &damaged, &err));
        assert_int_equal(damaged, i < 4);
        assert_int_equal(position, i < 4 ? 0 : model.position);
        model_close(&m);
    }
}

/* What a crash left behind, and what is not ours. */
static void leftovers_go_and_others_stay(void **state)
{
    static const char *const ours[] = {"head.new", "index.77", "catalog.78", "originals.79"};
    static const char *const others[] = {"notes", "index", "index.x", "index.01",
                                         "originals.1.bak"};
    char path[LAB_PATH * 2];
    struct model m;
    uint64_t position;
    bool damaged;

    (void)state;
    lab_folder_copy(whole, folder);
    for (size_t i = 0; i < 4; i++)
        lab_file_write(folder, ours[i], "left behind");
    for (size_t i = 0; i < 5; i++)
        lab_file_write(folder, others[i], "not ours");
    model_copy(&m, &model);
    assert_ok(model_reopen(&m, folder, &position, &damaged, &err));
    assert_false(damaged);
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, ours[i]);
        assert_int_not_equal(access(path, F_OK), 0);
    }
    model_close(&m);
    assert_fails(poly_collection_destroy(folder, &err), POLY_UNAVAILABLE);
    for (size_t i = 0; i < 5; i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, others[i]);
        assert_int_equal(unlink(path), 0);
    }
    assert_ok(poly_collection_destroy(folder, &err));
    assert_int_not_equal(access(folder, F_OK), 0);
    assert_ok(poly_collection_destroy(folder, &err)); /* it is not there */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flipped_bit_is_found),
        cmocka_unit_test(a_cut_file_is_found),
        cmocka_unit_test(a_missing_file_is_found),
        cmocka_unit_test(a_longer_file_is_found),
        cmocka_unit_test(files_of_two_saves_are_not_mixed),
        cmocka_unit_test(reading_can_be_stopped),
        cmocka_unit_test(another_shape_is_not_taken),
        cmocka_unit_test(leftovers_go_and_others_stay),
    };

    return cmocka_run_group_tests(tests, make_whole, remove_whole);
}
