/*
 * A start does not wait for vectors: what was saved of them is read while everything else goes on,
 * and until then the log has what comes. Reading is held here, at the first byte or further on, and
 * let go again (S0-05, S0-49, S3-15).
 */
#include "test.h"

#include <pthread.h>

#include "core/inside.h"
#include "lab.h"
#include "vfs_fault.h"

#include "vector_place.h"

#include "base/clock.h"
#include "stores/vector/embedded.h"

static const float east[] = {1, 0, 0, 0};
static const float turned[] = {1, 0, 0, 0, 0, 0};

static void hold_reading(uint64_t bytes)
{
    atomic_store(&poly_control_loading, bytes);
}

static void go_on(void)
{
    atomic_store(&poly_control_loading, UINT64_MAX);
}

static int setup_held_colocated(void **state)
{
    go_on();
    return setup_colocated(state);
}

static int setup_held_follower(void **state)
{
    go_on();
    return setup_follower(state);
}

static int teardown_held(void **state)
{
    go_on();
    atomic_store(&poly_control_hurry, false);
    return teardown_place(state);
}

/* Closed, and open again with the reading held. */
static void open_held(struct place *p, uint64_t bytes)
{
    close_place(p);
    hold_reading(bytes);
    open_with(p, vector_domains);
}

static enum poly_status search_with(struct place *p, enum poly_consistency consistency,
                                    uint32_t deadline_ms)
{
    struct poly_session_options options = {.deadline_ms = deadline_ms};
    struct poly_vector_query query = query_of(items, east);
    struct poly_session *session = NULL;
    struct poly_matches matches;
    enum poly_status status;

    assert_ok(poly_session_open(p->fixture.instance, &options, &session, &err));
    assert_ok(poly_session_after(session, NULL, consistency, &err));
    status = poly_vector_search(session, &query, &matches, &err);
    poly_session_close(session);
    return status;
}

/* A search in a thread of its own. */
struct asking {
    struct place *p;
    pthread_t thread;
    enum poly_status status;
    struct poly_error err;
    char found[200];
    _Atomic bool done;
};

static void *ask(void *arg)
{
    struct asking *asking = arg;
    struct poly_vector_query query = query_of(items, east);
    struct poly_session *session = NULL;
    struct poly_matches matches = {.count = 0};
    size_t size = 0;

    asking->status = poly_session_open(asking->p->fixture.instance, NULL, &session, &asking->err);
    if (asking->status == POLY_OK)
        asking->status = poly_vector_search(session, &query, &matches, &asking->err);
    for (size_t i = 0; i < matches.count; i++)
        size += (size_t)snprintf(asking->found + size, sizeof(asking->found) - size, "%s ",
                                 matches.matches[i].key.data);
    poly_session_close(session);
    atomic_store(&asking->done, true);
    return NULL;
}

/* --- the tests --- */

static void says_opening(void)
{
    if (strstr(err.message, "vector: the saved index is being read (") == NULL)
        fail_msg("%s", err.message);
}

static void all_but_searches_goes_on(void **state)
{
    struct place *p = *state;
    struct poly_projection_status now;
    struct asking asking = {.p = p};
    struct poly_hits hits;
    const struct poly_search_query words = {.domains = items, .query = "word"};

    put_item(p->nobody, "a", "a word", "", 0, "[1,0,0,0]");
    put_item(p->nobody, "b", "a word", "", 0, "[1,1,0,0]");
    put_item(p->nobody, "z", "a word", "", 0, "[1,2,0,0]");
    wait_for_index(p); /* there is something to be read, also of one that follows */
    open_held(p, 0);
    now = status_of(p, "vector");
    assert_int_equal(now.state, POLY_STATE_OPENING);
    assert_true(now.opened >= 0 && now.opened < 1);
    wait_for_store(p, "search");
    assert_int_equal(status_of(p, "search").state, POLY_STATE_OK);
    /* records and vectors are written, each with its token; and read */
    put_item(p->nobody, "c", "a word", "", 0, "[0,1,0,0]");
    put_item(p->nobody, "b", "a word", "", 0, "[1,0.5,0,0]");
    assert_ok(remove_row(p->nobody, "items", "z", POLY_ANY, &err));
    assert_fails(put_row(p->nobody, "items", "d", ROW({"embedding", poly_json("[1,0]")}), POLY_ANY,
                         NULL, &err),
                 POLY_INVALID);
    assert_int_equal(fixture_number(&p->fixture, "SELECT count(*) FROM items"), 3);
    assert_ok(poly_search(p->nobody, &words, &hits, &err));
    assert_int_equal(hits.count, 3);
    poly_session_reset(p->nobody);
    /* a search says what it waits for, or waits: whoever takes an older answer, too, gets none that
     * lacks nearly all */
    assert_fails(search_with(p, POLY_FAIL, 0), POLY_UNAVAILABLE);
    says_opening();
    assert_fails(search_with(p, POLY_WAIT, 50), POLY_TIMEOUT);
    says_opening();
    assert_fails(search_with(p, POLY_STALE, 50), POLY_TIMEOUT);
    assert_int_equal(pthread_create(&asking.thread, NULL, ask, &asking), 0);
    usleep(100000);
    assert_false(atomic_load(&asking.done));
    assert_int_equal(status_of(p, "vector").state, POLY_STATE_OPENING);
    go_on();
    pthread_join(asking.thread, NULL);
    assert_int_equal(asking.status, POLY_OK);
    if (!p->follower) /* one that follows, and was not given a token, may be a little older */
        assert_string_equal(asking.found, "a b c ");
    assert_true(strncmp(asking.found, "a ", 2) == 0);
    gives(p->nobody, query_of(items, east), "items/a items/b items/c");
    now = wait_for_state(p, POLY_STATE_OK);
    assert_true(now.opened >= 1);
    assert_int_equal(now.documents, 3);
}

/* Held in the middle of the files, the status says how far it is. */
static void its_progress_is_seen(void **state)
{
    struct place *p = *state;
    double opened = 0;

    put_many(p, 0, 3000);
    wait_for_index(p);
    open_held(p, 40000);
    for (int i = 0; i < PATIENCE && opened < 0.05; i++) {
        usleep(10000);
        poly_session_reset(p->admin);
        opened = status_of(p, "vector").opened;
    }
    assert_true(opened >= 0.05 && opened < 1);
    go_on();
    wait_for_state(p, POLY_STATE_OK);
}

/* Much more than one group takes in. Whoever has been told that a write is done sees it, without a
 * token, while all of that is taken in. */
static void what_is_written_meanwhile_is_not_missed(void **state)
{
    struct place *p = *state;
    struct poly_vector_query query = query_of(items, (const float[]){0, 0, 0, -1});
    char *before;

    put_many(p, 0, 50);
    wait_for_index(p);
    open_held(p, 0);
    for (int i = 0; i < 40000; i += 2000)
        put_many(p, i, 2000);
    go_on();
    query.limit = 1;
    for (int i = 0; i < 200; i++) {
        char key[24], expected[40];

        snprintf(key, sizeof(key), "last%d", i);
        snprintf(expected, sizeof(expected), "items/%s", key);
        put_item(p->nobody, key, "", "", 0, "[0,0,0,-1]");
        /* co-located: in a session that has written nothing */
        gives(p->follower ? p->nobody : p->admin, query, expected);
        assert_ok(remove_row(p->nobody, "items", key, POLY_ANY, &err));
    }
    assert_int_equal(wait_for_state(p, POLY_STATE_OK).documents, 40000);
    before = everything(p);
    assert_ok(poly_rebuild(p->admin, "vector", NULL, &err));
    same_as_before(p, before);
    free(before);
}

static void closing_does_not_wait(void **state)
{
    struct place *p = *state;
    char *before;

    put_many(p, 0, 3000);
    before = everything(p);
    for (uint64_t held = 0; held < 200000; held += 25000) {
        open_held(p, held);
        usleep(20000);
    }
    close_place(p); /* held until here */
    go_on();
    open_with(p, vector_domains);
    same_as_before(p, before);
    free(before);
}

/* --- damage --- */

/* Until it was found out and all is built anew, there is an error or all of the answer. */
static void damage_is_found_while_all_goes_on(void **state)
{
    static const char *const kinds[] = {"index", "catalog", "originals"};
    struct place *p = *state;
    struct poly_projection_status now;
    char generation[500], *before;

    put_many(p, 0, 3000);
    for (int i = 0; i < 3; i++) {
        put_item(p->nobody, "before", "", "", i, "[1,0,0,0]");
        before = everything(p);
        close_place(p);
        find_folder(p, generation);
        damage(generation, kinds[i]);
        hold_reading(0);
        open_with(p, vector_domains);
        assert_int_equal(status_of(p, "vector").state, POLY_STATE_OPENING);
        put_item(p->nobody, "meanwhile", "", "", i, "[0,0,1,0]");
        assert_ok(remove_row(p->nobody, "items", "meanwhile", POLY_ANY, &err));
        go_on();
        for (int tries = 0; search_with(p, POLY_WAIT, 0) != POLY_OK; tries++) {
            assert_int_equal(err.status, POLY_UNAVAILABLE);
            assert_non_null(strstr(err.message, "the index is being filled"));
            assert_true(tries < PATIENCE);
            usleep(5000);
        }
        same_as_before(p, before);
        free(before);
        now = wait_for_state(p, POLY_STATE_OK);
        assert_non_null(strstr(now.error.data, "was damaged"));
        assert_true(now.error_time > 0);
        find_folder(p, generation);
    }
}

/* What was built beside it, and has stopped, goes too: the new one is filled as far as it can
 * be. */
static void damage_is_no_end_of_what_is_built(void **state)
{
    struct place *p = *state;
    struct poly_projection_status now = {.building_applied = 0};
    char generation[500];
    uint64_t head;

    put_many(p, 0, 3000);
    wait_for_index(p);
    close_place(p);
    find_folder(p, generation);
    damage(generation, "index");
    hold_reading(0);
    open_with(p, vector_domains);
    head = fixture_head(&p->fixture);
    fixture_foreign(&p->fixture, "INSERT INTO poly_log(domain, key, type, time, data)"
                                 " VALUES ('items', 'nowhere', '$put', 1, 1)");
    for (int i = 0; i < PATIENCE && status_of(p, "vector").lag_records == 0; i++) {
        usleep(10000);
        poly_session_reset(p->admin);
    }
    assert_fails(poly_rebuild(p->admin, "vector", NULL, &err), POLY_CONFLICT);
    assert_int_equal(status_of(p, "vector").building, 2);
    go_on();
    for (int i = 0; i < PATIENCE && now.building_applied < head; i++) {
        usleep(10000);
        poly_session_reset(p->admin);
        now = status_of(p, "vector");
        if (now.building == 2)
            now.building_applied = 0;
    }
    assert_int_equal(now.building, 3);
    assert_int_equal(now.building_applied, head);
    assert_ok(poly_projection_skip(p->admin, "vector", "somebody's mistake", &err));
    assert_int_equal(wait_for_state(p, POLY_STATE_OK).documents, 3000);
}

/* The generation that one could go back to is given up, and the one that serves goes on. */
static void damage_of_the_one_before_does_not_matter(void **state)
{
    struct place *p = *state;
    char generation[500];

    put_many(p, 0, 3000);
    close_place(p);
    find_folder(p, generation);
    open_with(p, vector_domains);
    assert_ok(poly_rebuild(p->admin, "vector", NULL, &err));
    assert_true(status_of(p, "vector").previous > 0);
    close_place(p);
    damage(generation, "index");
    open_with(p, vector_domains);
    for (int i = 0; i < PATIENCE && status_of(p, "vector").previous != 0; i++) {
        usleep(10000);
        poly_session_reset(p->admin);
    }
    assert_int_equal(status_of(p, "vector").previous, 0);
    put_item(p->nobody, "a", "", "", 0, "[1,0,0,0]");
    assert_int_equal(search_with(p, POLY_FAIL, 0), POLY_OK);
    assert_fails(poly_rebuild_back(p->admin, "vector", &err), POLY_NOT_FOUND);
}

/* The one before begins anew, and the other one has all: nobody writes any more, and it catches up
 * all the same. Until then it keeps the log. */
static void the_one_before_catches_up_when_nobody_writes(void **state)
{
    struct place *p = *state;
    char generation[500];
    uint64_t head;

    put_many(p, 0, 10000);
    put_many(p, 10000, 10000);
    close_place(p);
    find_folder(p, generation);
    open_with(p, vector_domains);
    assert_ok(poly_rebuild(p->admin, "vector", NULL, &err));
    close_place(p);
    lab_folder_remove(generation);
    atomic_store(&poly_control_hurry, true);
    open_with(p, vector_domains);
    head = fixture_head(&p->fixture);
    for (int i = 0; i < PATIENCE && poly_projections_floor(p->fixture.instance) < head; i++)
        usleep(10000);
    assert_int_equal(poly_projections_floor(p->fixture.instance), head);
    assert_ok(poly_rebuild_back(p->admin, "vector", &err));
    assert_int_equal(status_of(p, "vector").documents, 20000);
}

/* --- what else can happen meanwhile --- */

/* Many, and open again with nothing of them read; everything, which the caller frees. */
static char *open_filled(struct place *p)
{
    char *before;

    put_many(p, 0, 3000);
    before = everything(p);
    open_held(p, 0);
    return before;
}

/* A generation that is built meanwhile serves as soon as it has all; the old one is let go. */
static void a_rebuild_does_not_wait_for_it(void **state)
{
    struct place *p = *state;
    char *before = open_filled(p);

    assert_ok(poly_rebuild(p->admin, "vector", NULL, &err));
    same_as_before(p, before);
    assert_fails(poly_rebuild_back(p->admin, "vector", &err), POLY_UNAVAILABLE);
    assert_ok(poly_rebuild(p->admin, "vector", NULL, &err)); /* drops what is still held */
    same_as_before(p, before);
    go_on();
    put_item(p->nobody, "a", "", "", 0, "[1,0,0,0]");
    reopen(p);
    put_item(p->nobody, "b", "", "", 0, "[1,0,0,0]");
    assert_int_equal(search_with(p, POLY_WAIT, 0), POLY_OK);
    free(before);
}

/* What is being read is dropped, and the transaction rolled back: it is read all the same, and
 * nothing is said of it. */
static void a_drop_that_is_rolled_back_changes_nothing(void **state)
{
    struct place *p = *state;
    char *before = open_filled(p);

    assert_ok(poly_rebuild(p->admin, "vector", NULL, &err));
    for (int i = 0; i < 100; i++) {
        fault_arm(&(struct fault_plan){.fault = FAULT_FULL, .at = 1, .only = "polystore.db-wal"});
        assert_fails(poly_rebuild(p->admin, "vector", NULL, &err), POLY_UNAVAILABLE);
        fault_disarm();
        assert_int_equal(status_of(p, "vector").error.size, 0);
        poly_session_reset(p->admin);
    }
    go_on();
    for (int i = 0; i < PATIENCE && poly_rebuild_back(p->admin, "vector", &err) != POLY_OK; i++) {
        assert_int_equal(err.status, POLY_UNAVAILABLE);
        usleep(10000);
    }
    assert_int_equal(status_of(p, "vector").generation, 1);
    same_as_before(p, before);
    free(before);
}

static void a_change_of_model_goes_through(void **state)
{
    struct place *p = *state;
    const struct poly_model_vector next = {.key = "a", .vector = turned, .dimensions = 6};
    struct poly_model_batch batch = {.model = "large-2", .vectors = &next, .count = 1};
    const struct poly_model_swap how = {.drop_missing = true};
    struct poly_vector_query query = query_of(items, turned);
    struct poly_model_swapped swapped;
    struct poly_model_added added;

    put_item(p->nobody, "a", "", "", 0, "[1,0,0,0]");
    put_item(p->nobody, "b", "", "", 0, "[1,1,0,0]");
    wait_for_index(p);
    open_held(p, 0);
    assert_ok(poly_model_begin(p->admin, "items", NULL, "large-2", 6, &err));
    assert_ok(poly_model_add(p->admin, "items", NULL, &batch, &added, &err));
    assert_ok(poly_model_swap(p->admin, "items", NULL, &how, &swapped, &err));
    assert_fails(search_with(p, POLY_WAIT, 50), POLY_INVALID); /* of four numbers */
    go_on();
    query.dimensions = 6;
    gives(p->nobody, query, "items/a");
    reopen(p);
    gives(p->nobody, query, "items/a");
}

static void collections_come_and_go(void **state)
{
    static const char *const old[] = {"old", NULL}, *const fresh[] = {"fresh", NULL};
    struct place *p = *state;
    struct poly_vector_collection collection = {.name = "old", .dimensions = 4};
    const struct poly_row *row = ROW({"embedding", poly_json("[1,0,0,0]")});

    assert_ok(poly_vector_create(p->admin, &collection, NULL, &err));
    assert_ok(put_row(p->nobody, "old", "a", row, POLY_ANY, NULL, &err));
    gives(p->nobody, query_of(old, east), "old/a");
    open_held(p, 0);
    assert_ok(poly_vector_drop(p->admin, "old", &err));
    collection.name = "fresh";
    assert_ok(poly_vector_create(p->admin, &collection, NULL, &err));
    assert_ok(put_row(p->nobody, "fresh", "b", row, POLY_ANY, NULL, &err));
    go_on();
    gives(p->nobody, query_of(fresh, east), "fresh/b");
    refuses(p->nobody, query_of(old, east), POLY_NOT_FOUND,
            "there is no domain 'old' in the configuration");
    collection.name = "old"; /* of the first one of that name nothing is found */
    assert_ok(poly_vector_create(p->admin, &collection, NULL, &err));
    gives(p->nobody, query_of(old, east), "");
    reopen(p);
    gives(p->nobody, query_of(fresh, east), "fresh/b");
    gives(p->nobody, query_of(old, east), "");
}

/* What was saved is not read from the log again, nor is there anything else to wait for. */
static void only_the_rest_is_read_from_the_log(void **state)
{
    static const char nothing_declared[] = "domains:\n  logs: {stream: log}\n";
    static const char *const made[] = {"made", NULL};
    struct place *p = *state;
    struct poly_vector_collection collection = {.name = "made", .dimensions = 4};
    const struct poly_row *row = ROW({"embedding", poly_json("[1,0,0,0]")});
    struct poly_projection_status now;

    for (int i = 0; i < 2; i++) {
        if (i == 1) {
            close_place(p);
            open_with(p, nothing_declared);
            assert_ok(poly_vector_create(p->admin, &collection, NULL, &err));
            assert_ok(put_row(p->nobody, "made", "a", row, POLY_ANY, NULL, &err));
            gives(p->nobody, query_of(made, east), "made/a");
        } else {
            put_many(p, 0, 100);
        }
        wait_for_index(p);
        close_place(p);
        hold_reading(0);
        open_with(p, i == 0 ? vector_domains : nothing_declared);
        now = status_of(p, "vector");
        assert_int_equal(now.state, POLY_STATE_OPENING);
        assert_int_equal(now.lag_records, 0);
        assert_int_equal(now.applied, fixture_head(&p->fixture));
        go_on();
    }
    gives(p->nobody, query_of(made, east), "made/a");
}

/* --- all together --- */

struct crowd {
    struct place *p;
    atomic_bool stop;
    int number;
};

static void *write_some(void *arg)
{
    struct crowd *crowd = arg;
    struct poly_session *session = NULL;
    struct poly_error own;

    if (poly_session_open(crowd->p->fixture.instance, NULL, &session, &own) != POLY_OK)
        return NULL;
    for (int i = 0; !atomic_load(&crowd->stop); i++) {
        char key[24], vector[48];

        snprintf(key, sizeof(key), "w%d-%d", crowd->number, i % 50);
        snprintf(vector, sizeof(vector), "[%d,1,%d,1]", i % 7, i % 3);
        if (i % 5 == 4)
            (void)remove_row(session, "items", key, POLY_ANY, &own);
        else
            (void)!put_row(session, "items", key, ROW({"embedding", poly_json(vector)}), POLY_ANY,
                           NULL, &own);
    }
    poly_session_close(session);
    return NULL;
}

static void *search_some(void *arg)
{
    struct crowd *crowd = arg;
    struct poly_session *session = NULL;
    struct poly_error own;

    if (poly_session_open(crowd->p->fixture.instance, NULL, &session, &own) != POLY_OK)
        return (void *)"session";
    while (!atomic_load(&crowd->stop)) {
        struct poly_vector_query query = query_of(items, east);
        struct poly_matches matches;

        if (poly_vector_search(session, &query, &matches, &own) != POLY_OK) {
            poly_session_close(session);
            return (void *)"search";
        }
        poly_session_reset(session);
    }
    poly_session_close(session);
    return NULL;
}

/* Writing, deleting, searching, saving and loading at a time; closed at any moment of it. */
static void all_at_a_time(void **state)
{
    struct place *p = *state;
    char *before;

    atomic_store(&poly_control_hurry, true);
    put_many(p, 0, 2000);
    for (int round = 0; round < 6; round++) {
        struct crowd writer = {.p = p}, other = {.p = p, .number = 1}, reader = {.p = p};
        pthread_t threads[3];
        void *failed = NULL;

        open_held(p, (uint64_t)round * 15000);
        assert_int_equal(pthread_create(&threads[0], NULL, write_some, &writer), 0);
        assert_int_equal(pthread_create(&threads[1], NULL, write_some, &other), 0);
        assert_int_equal(pthread_create(&threads[2], NULL, search_some, &reader), 0);
        usleep(30000);
        go_on();
        usleep(150000);
        atomic_store(&writer.stop, true);
        atomic_store(&other.stop, true);
        atomic_store(&reader.stop, true);
        pthread_join(threads[0], NULL);
        pthread_join(threads[1], NULL);
        pthread_join(threads[2], &failed);
        assert_null(failed);
    }
    wait_for_index(p);
    before = everything(p);
    assert_ok(poly_rebuild(p->admin, "vector", NULL, &err));
    same_as_before(p, before);
    free(before);
}

#define HELD(test)                                                                                 \
    {#test, test, setup_held_colocated, teardown_held, NULL},                                      \
    {                                                                                              \
#test " (follower)", test, setup_held_follower, teardown_held, NULL                        \
    }

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        HELD(all_but_searches_goes_on),
        HELD(its_progress_is_seen),
        HELD(what_is_written_meanwhile_is_not_missed),
        HELD(closing_does_not_wait),
        HELD(damage_is_found_while_all_goes_on),
        HELD(damage_is_no_end_of_what_is_built),
        HELD(damage_of_the_one_before_does_not_matter),
        HELD(the_one_before_catches_up_when_nobody_writes),
        HELD(a_rebuild_does_not_wait_for_it),
        {"a_drop_that_is_rolled_back_changes_nothing", a_drop_that_is_rolled_back_changes_nothing,
         setup_held_colocated, teardown_held, NULL},
        HELD(a_change_of_model_goes_through),
        HELD(collections_come_and_go),
        HELD(only_the_rest_is_read_from_the_log),
        HELD(all_at_a_time),
    };

    fault_install();
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
