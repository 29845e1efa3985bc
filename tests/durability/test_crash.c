/*
 * A process that dies at any call that changes a file leaves nothing behind
 * that was not whole, and loses nothing that it acknowledged.
 */
#include "test.h"

#include "crash.h"

static uint64_t all_points;

/* Points for one workload with one fault. */
static uint64_t share(void)
{
    return lab_long() ? 300 : 10;
}

static void sweep_all(enum fault fault, struct crash_tally *tally)
{
    const char *only = getenv("POLY_TEST_WORKLOAD"); /* while looking into one */

    for (size_t i = 0; crash_workloads[i] != NULL; i++) {
        struct fault_plan plan = {.fault = fault, .seed = i * 7 + (uint64_t)fault};

        if (only != NULL && strstr(crash_workloads[i]->name, only) == NULL)
            continue;
        crash_sweep(crash_workloads[i], &plan, share(), tally);
    }
}

static void survives(enum fault fault, const char *what)
{
    struct crash_tally tally = {.points = 0};

    sweep_all(fault, &tally);
    print_message("%s: %llu points of %llu calls, %llu bad\n", what,
                  (unsigned long long)tally.points, (unsigned long long)tally.calls,
                  (unsigned long long)tally.bad);
    all_points += tally.points;
    if (tally.bad > 0)
        fail_msg("%s", tally.first);
    assert_true(tally.points > 0);
}

/* S2-29: killed before each call */
static void a_kill_loses_nothing(void **state)
{
    (void)state;
    survives(FAULT_KILL, "kill");
}

static void a_torn_write_loses_nothing(void **state)
{
    (void)state;
    survives(FAULT_TORN, "torn write");
}

static void a_power_cut_loses_nothing(void **state)
{
    (void)state;
    survives(FAULT_POWER, "power cut, unsynced writes lost");
}

static void a_power_cut_that_keeps_some_loses_nothing(void **state)
{
    (void)state;
    survives(FAULT_SHUFFLED, "power cut, some unsynced sectors kept");
}

/* --- the control: what the same checks say of a disk whose syncs do nothing --- */

static void without_syncs_it_is_noticed(void **state)
{
    struct crash_tally tally = {.points = 0};

    (void)state;
    for (size_t i = 1; i < 5; i++) {
        struct fault_plan plan = {.fault = FAULT_POWER, .swallow_syncs = true};

        crash_sweep(crash_workloads[i], &plan, 8, &tally);
    }
    print_message("control, syncs swallowed: %llu of %llu points lose something: %s\n",
                  (unsigned long long)tally.bad, (unsigned long long)tally.points, tally.first);
    assert_true(tally.bad > 0);
}

static void there_were_enough_points(void **state)
{
    uint64_t wanted = lab_long() ? 5000 : 500;

    (void)state;
    print_message("crash points: %llu\n", (unsigned long long)all_points);
    if (getenv("POLY_TEST_WORKLOAD") == NULL)
        assert_true(all_points >= wanted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kill_loses_nothing),
        cmocka_unit_test(a_torn_write_loses_nothing),
        cmocka_unit_test(a_power_cut_loses_nothing),
        cmocka_unit_test(a_power_cut_that_keeps_some_loses_nothing),
        cmocka_unit_test(without_syncs_it_is_noticed),
        cmocka_unit_test(there_were_enough_points),
    };

    fault_install();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
