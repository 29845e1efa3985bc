/*
 * What the embedded vector engine does beside the log, and nobody waits for: saving, and linking
 * (S0-05, S3-15). What fails there is seen, and tried again; what a restart has interrupted goes
 * on.
 */
#include "test.h"

#include <sys/sendfile.h>

#include "core/inside.h"

#include "vector_place.h"

#include "file_fault.h"
#include "lab.h"
#include "stores/vector/embedded.h"

static const float east[] = {1, 0, 0, 0};

/* From so many on this shape has a graph: fewer are scanned. */
enum { LINKED = 36000, PART = 2000 };

static const struct poly_vector_stats *stats_of_items(struct place *p)
{
    const struct poly_vector_stats *stats;
    size_t count;

    poly_session_reset(p->admin);
    assert_ok(poly_vector_stats(p->admin, &stats, &count, &err));
    assert_string_equal(stats[0].domain.data, "items");
    return stats;
}

/* The save before stays, the status says what it is, answers go on; and it works later. */
static void a_save_that_cannot_be_synced_is_seen_and_tried_again(void **state)
{
    struct place *p = *state;
    struct file_plan plan = {.fault = FILE_SYNCS, .at = 1};
    struct poly_projection_status now;
    char folder[500], items_folder[520], *before;
    uint64_t saved;

    put_item(p->nobody, "a", "", "", 0, "[1,0,0,0]");
    gives(p->nobody, query_of(items, east), "items/a");
    reopen(p); /* closing has saved it */
    find_folder(p, folder);
    snprintf(items_folder, sizeof(items_folder), "%s/items", folder);
    plan.folder = items_folder;
    saved = stats_of_items(p)->saved_position;
    assert_true(saved > 0);
    file_fault_arm(&plan);
    poly_control_hurry = true;
    put_item(p->nobody, "b", "", "", 0, "[1,1,0,0]");
    now = wait_for_state(p, POLY_STATE_RETRYING);
    assert_non_null(strstr(now.error.data, "domain 'items'"));
    assert_non_null(strstr(now.error.data, "cannot be made durable"));
    assert_true(now.error_time > 0);
    assert_int_equal(stats_of_items(p)->saved_position, saved);
    gives(p->nobody, query_of(items, east), "items/a items/b");
    before = everything(p);
    file_fault_disarm();
    wait_for_state(p, POLY_STATE_OK);
    poly_control_hurry = false;
    assert_true(stats_of_items(p)->saved_position > saved);
    reopen(p);
    same_as_before(p, before);
    free(before);
}

/* A save waits while it is CLOSED, and says so. */
enum { FREE, CLOSED, WAITING };
static _Atomic int gate;

enum poly_status __real_poly_collection_save(struct poly_collection *c, struct poly_error *e);
enum poly_status __wrap_poly_collection_save(struct poly_collection *c, struct poly_error *e);

enum poly_status __wrap_poly_collection_save(struct poly_collection *c, struct poly_error *e)
{
    int closed = CLOSED;

    if (atomic_compare_exchange_strong(&gate, &closed, WAITING))
        while (atomic_load(&gate) == WAITING)
            usleep(1000);
    return __real_poly_collection_save(c, e);
}

static void wait_for_gate(void)
{
    for (int i = 0; i < PATIENCE && atomic_load(&gate) != WAITING; i++)
        usleep(10000);
    assert_int_equal(atomic_load(&gate), WAITING);
}

/* The model is changed while what was before is being saved, with as many vectors in each: those of
 * the new one are not taken for saved, and the log is kept for them. */
static void a_save_of_the_model_before_saves_nothing_else(void **state)
{
    static const float turned[] = {1, 0, 0, 0, 0, 0};
    struct place *p = *state;
    const struct poly_model_vector next[] = {{.key = "a", .vector = turned, .dimensions = 6},
                                             {.key = "b", .vector = turned, .dimensions = 6}};
    struct poly_model_batch batch = {.model = "large-2", .vectors = next, .count = 2};
    const struct poly_model_swap how = {.back = false};
    char folder[500], positions[520];
    struct poly_model_swapped swapped;
    struct poly_model_added added;

    find_folder(p, folder);
    snprintf(positions, sizeof(positions), "%s/positions", folder);
    put_item(p->nobody, "a", "", "", 0, "[1,0,0,0]");
    put_item(p->nobody, "b", "", "", 0, "[1,1,0,0]");
    wait_for_index(p);
    atomic_store(&gate, CLOSED);
    poly_control_hurry = true;
    wait_for_gate();
    poly_control_hurry = false;
    assert_ok(poly_model_begin(p->admin, "items", NULL, "large-2", 6, &err));
    assert_ok(poly_model_add(p->admin, "items", NULL, &batch, &added, &err));
    assert_ok(poly_model_swap(p->admin, "items", NULL, &how, &swapped, &err));
    wait_for_index(p);
    assert_int_not_equal(access(positions, F_OK), 0);
    atomic_store(&gate, FREE);
    for (int i = 0; i < PATIENCE && access(positions, F_OK) != 0; i++) /* the save has ended */
        usleep(10000);
    assert_int_equal(access(positions, F_OK), 0);
    assert_true(poly_projections_floor(p->fixture.instance) < fixture_head(&p->fixture));
}

/* A power cut may leave parts of two. */
static void a_line_of_positions_that_nobody_wrote_is_not_believed(void **state)
{
    char folder[500], command[200], killed[LAB_PATH];
    struct place *p = *state;

    put_item(p->nobody, "a", "", "", 0, "[1,0,0,0]");
    reopen(p); /* closing has saved it */
    put_item(p->nobody, "b", "", "", 0, "[1,1,0,0]");
    wait_for_index(p);
    find_folder(p, folder);
    lab_folder_make(killed);
    lab_folder_copy(p->fixture.data, killed); /* as a kill would leave it */
    snprintf(command, sizeof(command),
             "cd $D && grep -q ^items.@0 positions &&"
             " awk '{ $3 = %llu; print }' positions > other && mv other positions",
             (unsigned long long)fixture_head(&p->fixture));
    close_place(p);
    lab_folder_copy(killed, p->fixture.data);
    lab_folder_remove(killed);
    shell(command, folder);
    open_with(p, vector_domains);
    gives(p->nobody, query_of(items, east), "items/a items/b");
}

/* For want of space, say: there still is one to go back to. */
static void a_rebuild_that_cannot_begin_takes_nothing_away(void **state)
{
    struct place *p = *state;
    char folder[200];
    struct file_plan plan = {.fault = FILE_FULL, .at = 2, .folder = folder};

    put_item(p->nobody, "a", "", "", 0, "[1,0,0,0]");
    assert_ok(poly_rebuild(p->admin, "vector", NULL, &err));
    assert_int_equal(status_of(p, "vector").previous, 1);
    snprintf(folder, sizeof(folder), "%s/vector", p->fixture.data);
    file_fault_arm(&plan);
    assert_fails(poly_rebuild(p->admin, "vector", NULL, &err), POLY_UNAVAILABLE);
    assert_true(file_fault_hit());
    file_fault_disarm();
    put_item(p->nobody, "b", "", "", 0, "[1,1,0,0]");
    wait_for_index(p);
    assert_int_equal(status_of(p, "vector").previous, 1);
    assert_ok(poly_rebuild_back(p->admin, "vector", &err));
    gives(p->nobody, query_of(items, east), "items/a items/b");
    reopen(p);
    gives(p->nobody, query_of(items, east), "items/a items/b");
    assert_ok(poly_rebuild(p->admin, "vector", NULL, &err));
    gives(p->nobody, query_of(items, east), "items/a items/b");
}

/* What serves is damaged, and to replace it the one before has to go, too, which fails for a while.
 * Until then none has gone; it is tried again, although nobody writes. */
static void what_is_lost_is_replaced_as_a_whole(void **state)
{
    struct place *p = *state;
    char generation[500], mark[520], *before;

    put_many(p, 0, 3000);
    before = everything(p);
    close_place(p);
    find_folder(p, generation);
    snprintf(mark, sizeof(mark), "%s/dropped", generation);
    open_with(p, vector_domains);
    assert_ok(poly_rebuild(p->admin, "vector", NULL, &err));
    close_place(p);
    find_folder(p, generation);
    damage(generation, "index");
    poly_control_hurry = true;
    atomic_store(&poly_control_loading, 0);
    open_with(p, vector_domains);
    assert_int_equal(symlink("no/where", mark), 0); /* no file can be made of that name */
    atomic_store(&poly_control_loading, UINT64_MAX);
    for (int i = 0; i < PATIENCE && strstr(status_of(p, "vector").error.data, mark) == NULL; i++) {
        usleep(10000);
        poly_session_reset(p->admin);
    }
    assert_non_null(strstr(status_of(p, "vector").error.data, mark));
    assert_int_equal(access(generation, F_OK), 0);
    assert_int_equal(unlink(mark), 0);
    wait_for_state(p, POLY_STATE_OK);
    assert_non_null(strstr(status_of(p, "vector").error.data, "was damaged"));
    poly_control_hurry = false;
    same_as_before(p, before);
    free(before);
}

/* Closed before much of it was linked; nobody writes, or searches, afterwards. */
static void linking_goes_on_after_a_restart(void **state)
{
    struct place *p = *state;
    const struct poly_vector_stats *stats = NULL;

    for (int i = 0; i < LINKED; i += PART)
        put_many(p, i, PART);
    reopen(p);
    for (int i = 0; i < PATIENCE; i++) {
        stats = stats_of_items(p);
        if (stats->linked == LINKED)
            break;
        usleep(10000);
    }
    assert_int_equal(stats->vectors, LINKED);
    assert_int_equal(stats->linked, LINKED);
}

static int open_in(struct place *p, const char *name, int how)
{
    char path[600];
    int file;

    snprintf(path, sizeof(path), "%s/%s", p->fixture.data, name);
    file = open(path, how | O_CLOEXEC, 0600);
    assert_true(file >= 0);
    return file;
}

static void copy_database(struct place *p, const char *from, const char *to)
{
    int in = open_in(p, from, O_RDONLY), out = open_in(p, to, O_WRONLY | O_CREAT | O_TRUNC);
    ssize_t size;

    while ((size = sendfile(out, in, NULL, 1 << 20)) > 0)
        ;
    assert_int_equal(size, 0);
    close(in);
    close(out);
}

/* A copy of the database is put back beside what was saved later: of the history that is lost
 * nothing is found, neither at once nor in a generation that is made then. */
static void what_was_put_back_finds_nothing_later(void **state)
{
    struct place *p = *state;

    put_item(p->nobody, "a", "", "", 0, "[1,0,0,0]");
    close_place(p);
    copy_database(p, "polystore.db", "copy");
    open_with(p, vector_domains);
    put_item(p->nobody, "lost", "", "", 0, "[1,0,0,0]");
    put_item(p->nobody, "a", "", "", 0, "[1,0,0,0]");
    assert_ok(poly_rebuild(p->admin, "vector", NULL, &err));
    gives(p->nobody, query_of(items, east), "items/a items/lost");
    close_place(p);
    copy_database(p, "copy", "polystore.db");
    open_with(p, vector_domains);
    wait_for_index(p);
    gives(p->nobody, query_of(items, east), "items/a");
    put_item(p->nobody, "b", "", "", 0, "[1,1,0,0]");
    put_item(p->nobody, "c", "", "", 0, "[0,1,0,0]");
    assert_ok(poly_rebuild(p->admin, "vector", NULL, &err));
    gives(p->nobody, query_of(items, east), "items/a items/b items/c");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        EACH(a_save_that_cannot_be_synced_is_seen_and_tried_again),
        EACH(what_was_put_back_finds_nothing_later),
        EACH(a_save_of_the_model_before_saves_nothing_else),
        EACH(a_line_of_positions_that_nobody_wrote_is_not_believed),
        EACH(a_rebuild_that_cannot_begin_takes_nothing_away),
        cmocka_unit_test_setup_teardown(what_is_lost_is_replaced_as_a_whole, setup_colocated,
                                        teardown_place),
        cmocka_unit_test_setup_teardown(linking_goes_on_after_a_restart, setup_colocated,
                                        teardown_place),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
