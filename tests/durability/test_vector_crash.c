/*
 * What is left of a collection of vectors when the process ends, the power goes or the disk fails,
 * at every call that changes a file: always one of the saves, whole, and never an older one than
 * was acknowledged. What came after its position is given again, and then all is as if nothing had
 * been. S0-05 on the ground of the log: the index is a copy that may be behind, but not wrong.
 */
#include "test.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "file_fault.h"
#include "lab.h"
#include "vector_model.h"

enum {
    BASE = 14,     /* steps before anything happens */
    STEPS = 10,    /* … and while it does */
    CHANGES = 100, /* of a step */
    SAVE_EACH = 2, /* steps */
    MOST_CALLS = 100000
};

static struct poly_error err;
static char why[400];

static const struct model_shape shape = {.element = POLY_F32,
                                         .metric = POLY_L2,
                                         .dimensions = 8,
                                         .keys = 600,
                                         .owners = 3,
                                         .clusters = 9};

/* What a process says before it ends. */
struct said {
    uint64_t saving, saved; /* positions */
    uint32_t calls;
    bool bad;
    uint8_t kinds[MOST_CALLS];
};
static struct said *said;

/* The collection as it is at the beginning: its files, and its model. */
static char base[LAB_PATH];
static struct model start;

static int make_base(void **state)
{
    (void)state;
    said = mmap(NULL, sizeof(*said), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (said == MAP_FAILED)
        return -1;
    lab_folder_make(base);
    model_open(&start, &shape, base);
    for (int i = 0; i < BASE; i++) {
        if (model_step(&start, CHANGES, &err) != POLY_OK)
            return -1;
    }
    if (poly_collection_save(start.collection, &err) != POLY_OK)
        return -1;
    poly_collection_close(start.collection);
    start.collection = NULL;
    return 0;
}

static int remove_base(void **state)
{
    (void)state;
    model_close(&start);
    lab_folder_remove(base);
    return munmap(said, sizeof(*said));
}

/* --- the work --- */

static enum poly_status work(struct model *m)
{
    enum poly_status status = POLY_OK;
    bool more = true;

    while (status == POLY_OK && more)
        status = poly_collection_work(m->collection, 1, NULL, &more, &err);
    return status;
}

static enum poly_status save(struct model *m)
{
    enum poly_status status;

    said->saving = m->position;
    status = poly_collection_save(m->collection, &err);
    if (status == POLY_OK)
        said->saved = m->position;
    return status;
}

/* A step, and now and then what is done in the background. */
static enum poly_status go_on(struct model *m)
{
    enum poly_status status = model_step(m, CHANGES, &err);

    if (status == POLY_OK && m->position % SAVE_EACH == 0) {
        status = work(m);
        if (status == POLY_OK)
            status = save(m);
    }
    return status;
}

/* In a process of its own, which the plan ends, or which ends by itself. */
static int run_child(const char *folder, const struct file_plan *plan)
{
    pid_t child;
    int status;

    *said = (struct said){.saving = BASE, .saved = BASE};
    child = fork();
    if (child == 0) {
        struct model m;
        uint64_t position;
        bool damaged;

        model_copy(&m, &start);
        file_fault_arm(plan);
        said->bad = model_reopen(&m, folder, &position, &damaged, &err) != POLY_OK || damaged;
        while (!said->bad && m.position < BASE + STEPS)
            said->bad = go_on(&m) != POLY_OK;
        said->calls = file_fault_count();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_false(said->bad);
    return WEXITSTATUS(status);
}

/* --- what is left --- */

static void count_file(const char *path, void *arg)
{
    (void)path;
    ++*(unsigned *)arg;
}

/* A save between these positions. false: something is wrong, and why says what. */
static bool is_good(const char *folder, uint64_t least, uint64_t most, const char *what)
{
    struct model m;
    uint64_t position = 0;
    unsigned files = 0;
    bool damaged = false, good;

    model_copy(&m, &start);
    snprintf(why, sizeof(why), "%s: does not open, or is damaged", what);
    good = model_reopen(&m, folder, &position, &damaged, &err) == POLY_OK && !damaged;
    if (good && (position < least || position > most)) {
        snprintf(why, sizeof(why), "%s: position %u, not %u to %u", what, (unsigned)position,
                 (unsigned)least, (unsigned)most);
        good = false;
    }
    if (good) {
        struct poly_collection *collection = m.collection;

        m.collection = NULL;
        while (m.position < position)
            assert_ok(model_step(&m, CHANGES, &err));
        m.collection = collection;
        good = model_agrees(&m, 5, why, sizeof(why));
    }
    for (int i = 0; i < 3 && good; i++)
        assert_ok(go_on(&m));
    good = good && model_agrees(&m, 5, why, sizeof(why));
    if (good) {
        assert_ok(poly_collection_save(m.collection, &err));
        lab_folder_each(folder, count_file, &files); /* head, index, catalog, originals */
        good = files == 4;
        if (!good)
            snprintf(why, sizeof(why), "%s: %u files", what, files);
    }
    model_close(&m);
    return good;
}

struct images {
    char folder[LAB_PATH], synced[LAB_PATH], named[LAB_PATH];
};

static void make_images(struct images *images)
{
    lab_folder_make(images->folder);
    lab_folder_make(images->synced);
    lab_folder_make(images->named);
    lab_folder_copy(base, images->folder);
}

static void remove_images(const struct images *images)
{
    lab_folder_remove(images->folder);
    lab_folder_remove(images->synced);
    lab_folder_remove(images->named);
}

/* Ends the process at a call; false: one of the three that may be left is not good. */
static bool survives(enum file_fault fault, uint32_t at, bool swallow_syncs, bool *ended)
{
    struct images images;
    uint64_t least, most;
    char what[64];
    bool good = true;

    make_images(&images);
    *ended = run_child(images.folder, &(struct file_plan){.fault = fault,
                                                          .at = at,
                                                          .folder = images.folder,
                                                          .synced = images.synced,
                                                          .named = images.named,
                                                          .swallow_syncs = swallow_syncs}) ==
             FILE_FAULT_EXIT;
    least = said->saved;
    most = said->saving;
    if (*ended) {
        snprintf(what, sizeof(what), "call %u: process", at);
        good = is_good(images.folder, least, most, what);
        snprintf(what, sizeof(what), "call %u: power, synced", at);
        good = good && is_good(images.synced, least, most, what);
        snprintf(what, sizeof(what), "call %u: power, named", at);
        good = good && is_good(images.named, least, most, what);
    }
    remove_images(&images);
    return good;
}

/* Which calls there are. */
static uint32_t count_calls(void)
{
    struct images images;

    make_images(&images);
    assert_int_equal(run_child(images.folder, &(struct file_plan){.fault = FILE_COUNT,
                                                                  .folder = images.folder,
                                                                  .kinds = said->kinds,
                                                                  .kind_room = MOST_CALLS}),
                     0);
    remove_images(&images);
    assert_in_range(said->calls, 100, MOST_CALLS);
    return said->calls;
}

/* Most are writes of single vectors: the others count, and a share of these. */
static bool chosen(const uint8_t *kinds, uint32_t at)
{
    return kinds[at - 1] != FILE_WRITE || at % (lab_long() ? 7 : 97) == 0 ||
           kinds[at] != FILE_WRITE;
}

static void a_crash_leaves_a_save(void **state)
{
    static uint8_t kinds[MOST_CALLS];
    uint32_t calls = count_calls(), points = 0;

    (void)state;
    memcpy(kinds, said->kinds, sizeof(kinds));
    for (uint32_t at = 1; at <= calls; at++) {
        bool ended;

        if (!chosen(kinds, at))
            continue;
        if (!survives(at % 2 == 0 ? FILE_KILL : FILE_TORN, at, false, &ended))
            fail_msg("%s", why);
        assert_true(ended);
        points++;
    }
    assert_true(points > 50);
}

/* The control: without syncs a power cut leaves what is no save, and that is found out. */
static void without_syncs_it_would_not(void **state)
{
    uint32_t calls = count_calls();
    unsigned bad = 0;

    (void)state;
    for (uint32_t at = calls / 2; at < calls; at += calls / 20) {
        bool ended;

        bad += !survives(FILE_KILL, at, true, &ended);
    }
    assert_true(bad > 3);
}

/* --- a disk that fails --- */

/* What is there when something has just failed is a save, too. */
static void is_saved(const char *folder, uint32_t at)
{
    uint64_t saved = said->saved, saving = said->saving;
    char copy[LAB_PATH], what[64];

    lab_folder_make(copy);
    lab_folder_copy(folder, copy);
    snprintf(what, sizeof(what), "call %u, has failed", at);
    if (!is_good(copy, saved, saving, what))
        fail_msg("%s", why);
    said->saved = saved; /* the copy has gone on */
    said->saving = saving;
    lab_folder_remove(copy);
}

/* What fails is said, changes nothing, and works later. */
static void fails_at(enum file_fault fault, uint32_t at)
{
    char folder[LAB_PATH];
    struct model m;
    uint64_t position;
    bool damaged, open;

    lab_folder_make(folder);
    lab_folder_copy(base, folder);
    model_copy(&m, &start);
    *said = (struct said){.saving = BASE, .saved = BASE};
    file_fault_arm(&(struct file_plan){.fault = fault, .at = at, .folder = folder});
    open = model_reopen(&m, folder, &position, &damaged, &err) == POLY_OK;
    for (bool again = open; again && m.position < BASE + STEPS;) {
        enum poly_status status = go_on(&m);

        if (status == POLY_OK)
            continue;
        assert_int_equal(status, POLY_UNAVAILABLE);
        assert_true(err.message[0] != '\0');
        if (fault == FILE_FULL)
            assert_true(strstr(err.message, "full") != NULL ||
                        strstr(err.message, "space") != NULL);
        model_revert(&m);
        if (fault == FILE_FAIL)
            is_saved(folder, at);
        again = fault != FILE_FULL;
    }
    file_fault_disarm();
    if (!open)
        assert_ok(model_reopen(&m, folder, &position, &damaged, &err));
    if (!model_agrees(&m, 5, why, sizeof(why)))
        fail_msg("call %u: %s", at, why);
    while (m.position < BASE + STEPS)
        assert_ok(go_on(&m));
    assert_ok(save(&m));
    assert_false(poly_collection_unsaved(m.collection));
    poly_collection_close(m.collection);
    assert_ok(model_reopen(&m, folder, &position, &damaged, &err));
    assert_int_equal(position, BASE + STEPS);
    assert_false(damaged);
    if (!model_agrees(&m, 5, why, sizeof(why)))
        fail_msg("call %u, opened again: %s", at, why);
    model_close(&m);
    lab_folder_remove(folder);
}

static void a_failing_disk_changes_nothing(void **state)
{
    static uint8_t kinds[MOST_CALLS];
    uint32_t calls = count_calls();

    (void)state;
    memcpy(kinds, said->kinds, sizeof(kinds));
    for (uint32_t at = 1; at <= calls; at++) {
        if (!chosen(kinds, at))
            continue;
        fails_at(FILE_FAIL, at);
        fails_at(FILE_FULL, at);
    }
}

/* --- kill -9, with threads --- */

static void *work_and_save(void *arg)
{
    struct model *m = arg;
    struct poly_error mine;
    bool more;

    for (;;) {
        if (poly_collection_work(m->collection, 2, NULL, &more, &mine) != POLY_OK ||
            poly_collection_save(m->collection, &mine) != POLY_OK)
            __atomic_store_n(&said->bad, true, __ATOMIC_SEQ_CST);
        __atomic_store_n(&said->saved, poly_collection_saved(m->collection), __ATOMIC_SEQ_CST);
    }
    return NULL;
}

/* Writes until it is killed. */
static void write_on(const char *folder)
{
    struct model m;
    uint64_t position;
    pthread_t thread;
    bool damaged;

    model_copy(&m, &start);
    said->bad = model_reopen(&m, folder, &position, &damaged, &err) != POLY_OK || damaged ||
                pthread_create(&thread, NULL, work_and_save, &m) != 0;
    while (!said->bad && m.position < BASE + 400) {
        __atomic_store_n(&said->saving, m.position + 1, __ATOMIC_SEQ_CST);
        if (model_step(&m, CHANGES, &err) != POLY_OK)
            said->bad = true;
    }
    for (;;)
        pause();
}

static void killed_after(uint64_t steps)
{
    char folder[LAB_PATH];
    pid_t child;

    lab_folder_make(folder);
    lab_folder_copy(base, folder);
    *said = (struct said){.saving = BASE, .saved = BASE};
    child = fork();
    if (child == 0)
        write_on(folder);
    while (__atomic_load_n(&said->saving, __ATOMIC_SEQ_CST) < BASE + steps &&
           !__atomic_load_n(&said->bad, __ATOMIC_SEQ_CST))
        sched_yield();
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_false(said->bad);
    if (!is_good(folder, said->saved, said->saving, "killed"))
        fail_msg("after %u steps: %s", (unsigned)steps, why);
    lab_folder_remove(folder);
}

static void a_killed_process_leaves_a_save(void **state)
{
    unsigned rounds = lab_long() ? 200 : 25;

    (void)state;
    for (unsigned i = 0; i < rounds; i++)
        killed_after(2 + i * 7919 % 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_crash_leaves_a_save),
        cmocka_unit_test(without_syncs_it_would_not),
        cmocka_unit_test(a_failing_disk_changes_nothing),
        cmocka_unit_test(a_killed_process_leaves_a_save),
    };

    return cmocka_run_group_tests(tests, make_base, remove_base);
}
