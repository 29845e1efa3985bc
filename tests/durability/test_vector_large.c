/*
 * More vectors than memory: a process that may have less memory of its own than the originals take
 * puts, replaces, searches, compacts, saves and opens them, and every answer is right. What it
 * keeps in memory is codes, links and catalog; originals stay in their file. The control is a
 * collection without a folder, which runs out of memory under the same limit.
 */
#include "test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lab.h"
#include "vector_model.h"

enum {
    KEYS = 14000,
    DIMENSIONS = 1024, /* 57 MB of originals */
    LIMIT = 54 << 20   /* … in that much memory, on top of what the process has */
};

static struct poly_error err;
static char why[400];

static const struct model_shape shape = {.element = POLY_F32,
                                         .metric = POLY_L2,
                                         .dimensions = DIMENSIONS,
                                         .keys = KEYS,
                                         .owners = 7,
                                         .graph_from = KEYS * 2, /* linking is another test's */
                                         .whole = true};

/* Private memory that can be written to, as RLIMIT_DATA counts it. */
static bool limit_memory(void)
{
    struct rlimit limit;
    unsigned long data = 0;
    char line[256];
    FILE *file = fopen("/proc/self/status", "re");

    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, "VmData:", 7) == 0)
            data = strtoul(line + 7, NULL, 10) * 1024;
    }
    if (file == NULL || fclose(file) != 0 || data == 0)
        return false;
    limit.rlim_cur = limit.rlim_max = data + LIMIT;
    return setrlimit(RLIMIT_DATA, &limit) == 0;
}

static bool said(enum poly_status status, const char *what)
{
    if (status != POLY_OK)
        fprintf(stderr, "%s: %s\n", what, err.message);
    return status == POLY_OK;
}

static bool agrees(struct model *m, const char *what)
{
    if (model_agrees(m, 6, why, sizeof(why)))
        return true;
    fprintf(stderr, "%s: %s\n", what, why);
    return false;
}

/* Puts all that are not there; POLY_NO_MEMORY, perhaps. */
static enum poly_status fill(struct model *m, uint32_t from, uint32_t to)
{
    enum poly_status status = POLY_OK;

    for (uint32_t key = from; key < to && status == POLY_OK; key++) {
        status = model_put(m, key, &err);
        if (status == POLY_OK && key % 500 == 499)
            model_publish(m);
    }
    return status;
}

static bool live_with(struct model *m, const char *folder)
{
    struct poly_collection_numbers numbers;
    uint64_t position;
    bool damaged, more = true;

    if (!said(fill(m, 0, KEYS), "fill") || !agrees(m, "filled") ||
        !said(fill(m, 0, KEYS / 3), "replace"))
        return false;
    model_publish(m);
    while (more) {
        if (!said(poly_collection_work(m->collection, 1, NULL, &more, &err), "work"))
            return false;
    }
    poly_collection_measure(m->collection, &numbers);
    if (!agrees(m, "compacted") || numbers.index.dead > 0 ||
        !said(poly_collection_save(m->collection, &err), "save"))
        return false;
    poly_collection_close(m->collection);
    m->collection = NULL;
    return said(model_reopen(m, folder, &position, &damaged, &err), "open") && !damaged &&
           position == m->position && agrees(m, "opened again");
}

/* In a process that ends with what the function says. */
static int in_little_memory(bool (*function)(const char *folder), const char *folder)
{
    pid_t child = fork();
    int status;

    if (child == 0)
        _exit(!limit_memory() ? 2 : function(folder) ? 0 : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static bool on_disk(const char *folder)
{
    struct model m;
    bool good;

    model_open(&m, &shape, folder);
    good = live_with(&m, folder);
    model_close(&m);
    return good;
}

/* What was put before memory ended is still there. */
static bool in_memory(const char *folder)
{
    struct model m;
    bool full;

    (void)folder;
    model_open(&m, &shape, NULL);
    full = fill(&m, 0, KEYS) == POLY_NO_MEMORY;
    model_revert(&m);
    full = full && agrees(&m, "full");
    model_close(&m);
    return full;
}

static void more_vectors_than_memory(void **state)
{
    char folder[LAB_PATH];

    (void)state;
    lab_folder_make(folder);
    assert_int_equal(in_little_memory(on_disk, folder), 0);
    lab_folder_remove(folder);
    assert_int_equal(in_little_memory(in_memory, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(more_vectors_than_memory)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
