/*
 * A disk that fails while vectors are made durable (S0-05): what the system may have dropped then,
 * although the next sync goes well, is written again before it; and when it is gone already, that
 * is said, and nothing is answered from what is left.
 */
#include "test.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file_fault.h"
#include "lab.h"
#include "vector_model.h"

enum { SAVED = 5, LATER = 7, CHANGES = 40, CALLS = 2000 };

static struct poly_error err;
static char why[400];

static const struct model_shape shape = {
    .element = POLY_F32, .metric = POLY_L2, .dimensions = 16, .keys = 3000, .owners = 3};

struct place {
    char folder[LAB_PATH];
    struct model model;
    uint64_t saved; /* position */
};

static void work(struct place *p, int steps)
{
    for (int i = 0; i < steps; i++)
        assert_ok(model_step(&p->model, CHANGES, &err));
}

/* Something is saved, something more is not. */
static int setup(void **state)
{
    struct place *p = calloc(1, sizeof(*p));

    assert_non_null(p);
    lab_folder_make(p->folder);
    model_open(&p->model, &shape, p->folder);
    work(p, SAVED);
    assert_ok(poly_collection_save(p->model.collection, &err));
    p->saved = p->model.position;
    work(p, LATER);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;

    file_fault_disarm();
    model_close(&p->model);
    lab_folder_remove(p->folder);
    free(p);
    return 0;
}

/* Saves under a plan; writes: those before the first sync. */
static enum poly_status save(struct place *p, enum file_fault fault, uint32_t *writes)
{
    static uint8_t kinds[CALLS];
    struct file_plan plan = {
        .fault = fault, .at = 1, .folder = p->folder, .kinds = kinds, .kind_room = CALLS};
    enum poly_status status;

    memset(kinds, 0, sizeof(kinds));
    file_fault_arm(&plan);
    status = poly_collection_save(p->model.collection, &err);
    file_fault_disarm();
    for (*writes = 0; kinds[*writes] == FILE_WRITE; (*writes)++)
        ;
    return status;
}

static void reopened_it_agrees(struct place *p)
{
    uint64_t position;
    bool damaged;

    poly_collection_close(p->model.collection);
    p->model.collection = NULL;
    assert_ok(model_reopen(&p->model, p->folder, &position, &damaged, &err));
    assert_false(damaged);
    assert_int_equal(position, p->model.position);
    if (!model_agrees(&p->model, 5, why, sizeof(why)))
        fail_msg("%s", why);
}

static void is_written_again(void **state)
{
    struct place *p = *state;
    struct poly_collection_numbers numbers;
    uint32_t writes;

    poly_collection_measure(p->model.collection, &numbers);
    assert_int_equal(numbers.saved, p->saved);
    assert_int_equal(save(p, FILE_SYNCS, &writes), POLY_UNAVAILABLE);
    assert_message("cannot be made durable");
    assert_int_equal(writes, 0);
    assert_int_equal(poly_collection_saved(p->model.collection), p->saved);
    assert_int_equal(save(p, FILE_SYNCS, &writes), POLY_UNAVAILABLE);
    assert_true(writes > LATER * CHANGES / 4);
    assert_ok(save(p, FILE_COUNT, &writes));
    assert_true(writes > LATER * CHANGES / 4);
    assert_int_equal(poly_collection_saved(p->model.collection), p->model.position);
    /* The control: where no sync has failed, nothing is. */
    work(p, 1);
    assert_ok(save(p, FILE_COUNT, &writes));
    assert_int_equal(writes, 0);
    reopened_it_agrees(p);
}

/* What a page is like that was dropped, and is read from the disk again. */
static void forget_the_last(const struct place *p)
{
    char path[LAB_PATH * 2];
    uint8_t nothing[64] = {0};
    struct stat st;
    int fd;

    snprintf(path, sizeof(path), "%s/originals.1", p->folder);
    fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    for (off_t at = st.st_size / 2 / 64 * 64; at + 64 <= st.st_size; at += 64)
        assert_int_equal(pwrite(fd, nothing, 64, at), 64);
    close(fd);
}

static void is_missed(void **state)
{
    struct place *p = *state;
    struct poly_arena *arena = poly_arena_new(1 << 20);
    float zeros[16] = {0};
    const struct poly_find find = {.vector = zeros, .limit = 1, .farthest = INFINITY};
    struct poly_finding finding;
    uint64_t position;
    uint32_t writes;
    bool damaged;

    assert_int_equal(save(p, FILE_SYNCS, &writes), POLY_UNAVAILABLE);
    forget_the_last(p);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(save(p, FILE_COUNT, &writes), POLY_UNAVAILABLE);
        assert_message("has lost vectors");
        assert_fails(poly_collection_find(p->model.collection, &find, arena, &finding, &err),
                     POLY_UNAVAILABLE);
    }
    poly_arena_free(arena);
    poly_collection_close(p->model.collection);
    p->model.collection = NULL;
    assert_ok(model_reopen(&p->model, p->folder, &position, &damaged, &err));
    assert_false(damaged);
    assert_int_equal(position, p->saved);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(is_written_again, setup, teardown),
        cmocka_unit_test_setup_teardown(is_missed, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
