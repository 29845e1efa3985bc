/*
 * base/postgres when something is wrong between it and the server: packets that vanish, answers
 * that are cut off, a primary that is gone (S3-69, S3-17). Each ends in time, says what is known,
 * and leaves nothing that does not heal.
 */
#include "test.h"

#include <time.h>

#include "base/clock.h"
#include "base/postgres_pool.h"
#include "control.h"

static struct poly_error err;

static void order(const char *text)
{
    char said[1000];

    if (!control_order(said, sizeof(said), "%s", text))
        fail_msg("%s: %s", text, said);
}

static int teardown(void **state)
{
    (void)state;
    order("postgresql-proxy passes");
    return 0;
}

/* --- connecting --- */

/* "HOST:PORT" of an address in the environment. */
static void where(const char *name, char *to, size_t size)
{
    const char *url = strrchr(control_url(name), '@') + 1;

    snprintf(to, size, "%.*s", (int)strcspn(url, "/"), url);
}

/* The address of several servers at once, in that order. */
static void list(const char *first, const char *second, const char *attrs, char *to, size_t size)
{
    const char *url = control_url("POSTGRESQL_URL");
    char one[100], other[100];

    where(first, one, sizeof(one));
    where(second, other, sizeof(other));
    snprintf(to, size, "%.*s%s,%s/app%s%s", (int)(strrchr(url, '@') + 1 - url), url, one, other,
             attrs == NULL ? "" : "?target_session_attrs=", attrs == NULL ? "" : attrs);
}

static enum poly_status open_at(const char *url, int connect_ms, struct poly_pg **pg)
{
    struct poly_pg_options options = {.url = url, .connect_ms = connect_ms};
    struct poly_pg_target *target;
    enum poly_status status;

    assert_ok(poly_pg_target_new(&options, &target, &err));
    status = poly_pg_open(target, -1, pg, &err);
    poly_pg_target_free(target);
    return status;
}

static struct poly_pg *through_proxy(void)
{
    struct poly_pg *pg;

    assert_ok(open_at(control_url("POSTGRESQL_PROXY_URL"), 0, &pg));
    return pg;
}

static void finds_the_server_that_fits(void **state)
{
    static const struct {
        const char *attrs, *wanted;
    } cases[] = {
        {"primary", "POSTGRESQL_URL"},
        {"read-write", "POSTGRESQL_URL"},
        {"standby", "POSTGRESQL_STANDBY_URL"},
        {"read-only", "POSTGRESQL_STANDBY_URL"},
        {"prefer-standby", "POSTGRESQL_STANDBY_URL"},
    };
    char url[400], wanted[100];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        for (int turned = 0; turned < 2; turned++) {
            struct poly_pg *pg;

            list(turned ? "POSTGRESQL_URL" : "POSTGRESQL_STANDBY_URL",
                 turned ? "POSTGRESQL_STANDBY_URL" : "POSTGRESQL_URL", cases[i].attrs, url,
                 sizeof(url));
            assert_ok(open_at(url, 0, &pg));
            where(cases[i].wanted, wanted, sizeof(wanted));
            assert_string_equal(poly_pg_where(pg), wanted);
            assert_int_equal(poly_pg_standby(pg), strstr(cases[i].wanted, "STANDBY") != NULL);
            poly_pg_close(pg);
        }
    }
    /* Nobody fits: both are named. */
    struct poly_pg *pg;

    list("POSTGRESQL_STANDBY_URL", "POSTGRESQL_STANDBY_URL", "primary", url, sizeof(url));
    assert_fails(open_at(url, 0, &pg), POLY_UNAVAILABLE);
    /* A standby that is preferred, and not there. */
    list("POSTGRESQL_URL", "POSTGRESQL_PROXY_URL", "prefer-standby", url, sizeof(url));
    assert_ok(open_at(url, 0, &pg));
    assert_false(poly_pg_standby(pg));
    poly_pg_close(pg);
}

static void a_black_hole_is_left_in_time(void **state)
{
    char url[400], wanted[100];
    struct poly_pg *pg;

    (void)state;
    order("postgresql-proxy black-hole");
    assert_fails(open_at(control_url("POSTGRESQL_PROXY_URL"), 100, &pg), POLY_UNAVAILABLE);
    assert_message("no answer within the time");
    list("POSTGRESQL_PROXY_URL", "POSTGRESQL_URL", NULL, url, sizeof(url));
    assert_ok(open_at(url, 100, &pg));
    where("POSTGRESQL_URL", wanted, sizeof(wanted));
    assert_string_equal(poly_pg_where(pg), wanted);
    poly_pg_close(pg);
    order("postgresql-proxy passes");
    order("postgresql-proxy silent");
    assert_fails(open_at(control_url("POSTGRESQL_PROXY_URL"), 100, &pg), POLY_UNAVAILABLE);
    assert_message("no answer within the time");
}

/* --- while it is open --- */

static void an_open_connection_that_hangs_ends(void **state)
{
    struct poly_pg *pg = through_proxy();
    PGresult *result;

    (void)state;
    assert_ok(poly_pg_exec(pg, "SELECT 1", &err));
    order("postgresql-proxy black-hole");
    poly_pg_deadline(pg, poly_clock_monotonic() + 100000);
    assert_fails(poly_pg_run(pg, "SELECT 1", NULL, &result, &err), POLY_TIMEOUT);
    assert_true(poly_pg_lost(pg));
    assert_true(poly_pg_unknown(pg));
    assert_fails(poly_pg_run(pg, "SELECT 1", NULL, &result, &err), POLY_UNAVAILABLE);
    poly_pg_close(pg);
}

static void what_only_pauses_goes_on(void **state)
{
    static const char seven[] = "SELECT 7::bigint";
    struct poly_pg *pg = through_proxy();
    PGresult *result;

    (void)state;
    assert_ok(poly_pg_done(pg, seven, NULL, NULL, &err));
    order("postgresql-proxy stall both");
    assert_ok(poly_pg_queue(pg, seven, NULL, &err));
    assert_ok(poly_pg_send(pg, &err));
    order("postgresql-proxy passes");
    assert_ok(poly_pg_next(pg, &result, &err));
    assert_int_equal(poly_pg_int(result, 0, 0), 7);
    PQclear(result);
    poly_pg_close(pg);
}

static void answers_are_cut_off(void **state)
{
    char text[80];

    (void)state;
    for (int bytes = 1; bytes < 60; bytes += 7) {
        struct poly_pg *pg = through_proxy();
        PGresult *result;

        assert_ok(poly_pg_run(pg, "SELECT 'some text', 12345", NULL, &result, &err));
        PQclear(result);
        snprintf(text, sizeof(text), "postgresql-proxy cut %d to_client %s", bytes,
                 bytes % 2 == 0 ? "reset" : "close");
        order(text);
        poly_pg_deadline(pg, poly_clock_monotonic() + 10000000);
        assert_fails(poly_pg_run(pg, "SELECT 'some text', 12345", NULL, &result, &err),
                     POLY_UNAVAILABLE);
        assert_true(poly_pg_lost(pg));
        poly_pg_close(pg);
        order("postgresql-proxy passes");
    }
}

/* It was committed, but nobody said so. */
static void an_unanswered_commit_is_unknown(void **state)
{
    static const char insert[] = "INSERT INTO unknown_end VALUES (1)";

    (void)state;
    for (int piped = 0; piped < 2; piped++) {
        struct poly_pg *pg = through_proxy();
        enum poly_status status;
        PGresult *result;

        assert_ok(poly_pg_exec(pg, "CREATE TABLE IF NOT EXISTS unknown_end(a int)", &err));
        assert_ok(poly_pg_begin(pg, POLY_PG_COMMITTED, false, &err));
        assert_ok(poly_pg_done(pg, insert, NULL, NULL, &err));
        if (piped) {
            assert_ok(poly_pg_queue(pg, insert, NULL, &err));
            assert_ok(poly_pg_next(pg, &result, &err));
            PQclear(result);
        }
        order("postgresql-proxy swallow to_client");
        poly_pg_deadline(pg, poly_clock_monotonic() + 300000);
        status = poly_pg_commit(pg, &err);
        assert_int_equal(status, POLY_TIMEOUT);
        assert_true(poly_pg_unknown(pg));
        assert_message("whether it was committed is not known");
        assert_true(poly_pg_lost(pg));
        poly_pg_close(pg);
        order("postgresql-proxy passes");
        pg = through_proxy();
        assert_ok(poly_pg_run(pg, "SELECT count(*) FROM unknown_end", NULL, &result, &err));
        assert_int_equal(poly_pg_int(result, 0, 0), piped ? 3 : 1);
        PQclear(result);
        poly_pg_close(pg);
    }
}

static void the_pool_heals_by_itself(void **state)
{
    struct poly_pg_options options = {.url = control_url("POSTGRESQL_PROXY_URL"),
                                      .connect_ms = 500};
    struct poly_pg_pool_numbers numbers;
    struct poly_pg_pool *pool;
    struct poly_pg *all[4], *pg;

    (void)state;
    assert_ok(poly_pg_pool_open(&options, NULL, NULL, NULL, &pool, &err));
    for (int i = 0; i < 4; i++)
        assert_ok(poly_pg_pool_take(pool, -1, &all[i], &err));
    order("postgresql-proxy reset");
    order("postgresql-proxy refuse");
    for (int i = 0; i < 4; i++) {
        assert_fails(poly_pg_exec(all[i], "SELECT 1", &err), POLY_UNAVAILABLE);
        poly_pg_pool_give(pool, all[i]);
    }
    assert_fails(poly_pg_pool_take(pool, -1, &pg, &err), POLY_UNAVAILABLE);
    order("postgresql-proxy passes");
    assert_ok(poly_pg_pool_take(pool, -1, &pg, &err));
    assert_ok(poly_pg_exec(pg, "SELECT 1", &err));
    poly_pg_pool_give(pool, pg);
    poly_pg_pool_numbers(pool, &numbers);
    assert_true(numbers.failures > 0 && numbers.broken >= 4 && numbers.in_use == 0);
    poly_pg_pool_close(pool);
}

/* --- a standby --- */

static void a_standby_says_where_it_is(void **state)
{
    uint64_t written, replayed = 0;
    struct poly_pg *primary, *standby;
    bool is_standby;

    (void)state;
    assert_ok(open_at(control_url("POSTGRESQL_URL"), 0, &primary));
    assert_ok(open_at(control_url("POSTGRESQL_STANDBY_URL"), 0, &standby));
    assert_ok(poly_pg_exec(primary, "CREATE TABLE IF NOT EXISTS replayed(a int)", &err));
    assert_ok(poly_pg_position(primary, &is_standby, &written, &err));
    assert_false(is_standby);
    while (replayed < written) {
        assert_ok(poly_pg_position(standby, &is_standby, &replayed, &err));
        assert_true(is_standby);
    }
    assert_ok(poly_pg_exec(standby, "SELECT * FROM replayed", &err));
    assert_fails(poly_pg_exec(standby, "INSERT INTO replayed VALUES (1)", &err), POLY_UNAVAILABLE);
    assert_true(poly_pg_temporary(standby));
    poly_pg_close(primary);
    poly_pg_close(standby);
}

/* The last one: the primary does not come back. */
static void the_pool_follows_a_promotion(void **state)
{
    struct poly_pg_pool *pool;
    struct poly_pg *pg;
    char url[400];

    (void)state;
    list("POSTGRESQL_URL", "POSTGRESQL_STANDBY_URL", "primary", url, sizeof(url));
    assert_ok(
        poly_pg_pool_open(&(struct poly_pg_options){.url = url}, NULL, NULL, NULL, &pool, &err));
    assert_ok(poly_pg_pool_take(pool, -1, &pg, &err));
    order("postgresql kill");
    assert_fails(poly_pg_exec(pg, "SELECT 1", &err), POLY_UNAVAILABLE);
    poly_pg_pool_give(pool, pg);
    assert_fails(poly_pg_pool_take(pool, -1, &pg, &err), POLY_UNAVAILABLE);
    order("postgresql-standby promote");
    assert_ok(poly_pg_pool_take(pool, -1, &pg, &err));
    assert_false(poly_pg_standby(pg));
    assert_ok(poly_pg_exec(pg, "INSERT INTO replayed VALUES (1)", &err));
    poly_pg_pool_give(pool, pg);
    poly_pg_pool_close(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(finds_the_server_that_fits, teardown),
        cmocka_unit_test_teardown(a_black_hole_is_left_in_time, teardown),
        cmocka_unit_test_teardown(an_open_connection_that_hangs_ends, teardown),
        cmocka_unit_test_teardown(what_only_pauses_goes_on, teardown),
        cmocka_unit_test_teardown(answers_are_cut_off, teardown),
        cmocka_unit_test_teardown(an_unanswered_commit_is_unknown, teardown),
        cmocka_unit_test_teardown(the_pool_heals_by_itself, teardown),
        cmocka_unit_test_teardown(a_standby_says_where_it_is, teardown),
        cmocka_unit_test(the_pool_follows_a_promotion),
    };

    if (control_url("POSTGRESQL_STANDBY_URL") == NULL ||
        control_url("POSTGRESQL_PROXY_URL") == NULL) {
        printf("skipped: postgresql (no server with a standby and a proxy)\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
