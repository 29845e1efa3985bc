/* The embedded search driver when memory runs out, at each of its allocations in turn. */
#include "search_place.h"

#include "memory.h"

static const char long_text[] =
    "{\"name\":\"a\\u00e9 lamp\",\"summary\":[\"deep\",{\"x\":\"lamp\"}],\"section\":\"net\","
    "\"size\":1.5,\"tags\":[1,2]}";

/* Opens, fills and asks. What fails must be memory, and nothing may be half done. */
static enum poly_status run(struct place *p, uint64_t generation, uint64_t *total)
{
    const struct poly_record records[] = {
        record(1, "", "packages", "a", long_text),
        record(2, "t", "incidents", "b", "{\"title\":\"lamp\",\"status\":\"open\"}"),
        event(3, "order", "7", 1, "{\"note\":\"lamp lamp\"}"),
    };
    struct poly_value value = poly_str("net");
    struct poly_filter filter = {"section", NULL, POLY_EQ, &value, 1};
    struct ask plain = {.query = "lamp OR \"deep x\" -gone",
                        .tenant = "t",
                        .domains = {"incidents", "orders", "packages"},
                        .generation = generation,
                        .highlight = true};
    struct ask filtered = {.query = "lamp",
                           .domains = {"packages"},
                           .filters = &filter,
                           .filter_count = 1,
                           .generation = generation};
    struct poly_hits hits = {0};
    struct poly_db *db = begin(p);
    enum poly_status status = driver->prepare(p->store, db, generation, &err);

    end(p, status == POLY_OK ? "COMMIT" : "ROLLBACK");
    if (status == POLY_OK)
        status = apply_to(p, generation, records, 3, 3);
    if (status == POLY_OK)
        status = ask(p, &plain, &hits);
    *total = hits.total;
    if (status == POLY_OK)
        status = ask(p, &filtered, &hits);
    *total += hits.total;
    return status;
}

/* All or nothing: applied and counted agree, and the same again works. */
static void check_whole(struct place *p, uint64_t generation)
{
    uint64_t total = 0;

    assert_ok(run(p, generation, &total));
    assert_int_equal(total, 4);
    assert_int_equal(applied(p, generation), 3);
    assert_int_equal(count(p, generation), 3);
}

static void every_allocation(void **state)
{
    struct place *p = *state;
    uint64_t generation = 2, total;
    unsigned long nth = 0;
    bool failed = true;

    check_whole(p, generation); /* now there is a reader in the pool, which is not ours to test */
    while (failed) {
        enum poly_status status;

        memory_fail_at(++nth, false);
        status = run(p, ++generation, &total);
        failed = memory_failed();
        memory_fail_at(0, false);
        if (status != (failed ? POLY_NO_MEMORY : POLY_OK))
            fail_msg("allocation %lu: %s: %s", nth, poly_status_name(status), err.message);
        check_whole(p, generation);

        struct poly_db *db = begin(p);

        assert_ok(driver->drop(p->store, db, generation, &err));
        end(p, "COMMIT");
    }
    assert_true(nth > 20);
}

static void opening(void **state)
{
    struct place *p = *state;
    struct memory_walk walk = {0};
    struct poly_store_open how = {.config = &config, .data = p->folder};

    while (memory_next(&walk)) {
        struct poly_store *store = NULL;
        enum poly_status status;

        how.follower = p->follower;
        status = driver->open(&how, &store, &err);
        if (memory_failed())
            assert_int_equal(status, POLY_NO_MEMORY);
        else
            assert_int_equal(status, POLY_OK);
        driver->close(store);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(every_allocation),
        BOTH(opening),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
