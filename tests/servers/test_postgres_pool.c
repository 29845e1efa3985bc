/*
 * The pool against a real server, and what happens to it: never more than max, first come first
 * served, idle ones closed, the server killed and back (S3-66 to S3-70).
 */
#include "test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "base/clock.h"
#include "base/postgres_pool.h"
#include "base/postgres_share.h"
#include "control.h"

static const char count_ours[] =
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pool'";

static struct poly_error err;
static const char *url;

static struct poly_pg_pool *open_pool(struct poly_pg_pool_options options)
{
    struct poly_pg_options where = {.url = url, .application_name = "pool"};
    struct poly_pg_pool *pool;

    assert_ok(poly_pg_pool_open(&where, &options, NULL, NULL, &pool, &err));
    return pool;
}

static struct poly_pg *take(struct poly_pg_pool *pool)
{
    struct poly_pg *pg;

    assert_ok(poly_pg_pool_take(pool, -1, &pg, &err));
    return pg;
}

static int64_t ask(struct poly_pg *pg, const char *sql)
{
    PGresult *result;
    int64_t value;

    assert_ok(poly_pg_run(pg, sql, NULL, &result, &err));
    value = poly_pg_int(result, 0, 0);
    PQclear(result);
    return value;
}

static struct poly_pg_pool_numbers numbers_of(struct poly_pg_pool *pool)
{
    struct poly_pg_pool_numbers numbers;

    poly_pg_pool_numbers(pool, &numbers);
    return numbers;
}

/* Not for what must be so at once, only for what another thread is about to do. */
static void pause_briefly(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

enum { THREADS = 200, ROUNDS = 20 };

struct crowd {
    struct poly_pg_pool *pool;
    atomic_int out, most, wrong;
};

static void *use(void *arg)
{
    struct crowd *crowd = arg;

    for (int i = 0; i < ROUNDS; i++) {
        struct poly_pg *pg;
        PGresult *result;
        int out;

        if (poly_pg_pool_take(crowd->pool, -1, &pg, NULL) != POLY_OK) {
            atomic_fetch_add(&crowd->wrong, 1);
            continue;
        }
        out = atomic_fetch_add(&crowd->out, 1) + 1;
        for (int most = atomic_load(&crowd->most); out > most;)
            if (atomic_compare_exchange_weak(&crowd->most, &most, out))
                break;
        if (poly_pg_run(pg, count_ours, NULL, &result, NULL) == POLY_OK) {
            if (poly_pg_int(result, 0, 0) > 20)
                atomic_fetch_add(&crowd->wrong, 1);
            PQclear(result);
        } else {
            atomic_fetch_add(&crowd->wrong, 1);
        }
        atomic_fetch_sub(&crowd->out, 1);
        poly_pg_pool_give(crowd->pool, pg);
    }
    return NULL;
}

static void never_more_than_max(void **state)
{
    struct crowd crowd = {.pool = open_pool((struct poly_pg_pool_options){0})};
    struct poly_pg_pool_numbers numbers;
    static pthread_t threads[THREADS];

    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use, &crowd), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(crowd.wrong, 0);
    assert_in_range(crowd.most, 2, 20);
    numbers = numbers_of(crowd.pool);
    assert_int_equal(numbers.taken, THREADS * ROUNDS);
    assert_in_range(numbers.open, 2, 20);
    assert_int_equal(numbers.in_use, 0);
    assert_int_equal(numbers.waiting, 0);
    assert_true(numbers.connects <= 20 && numbers.broken == 0 && numbers.timeouts == 0);
    assert_true(numbers.waited > 0 && numbers.wait_us >= numbers.wait_us_max);
    poly_pg_pool_close(crowd.pool);
}

struct turn {
    struct poly_pg_pool *pool;
    atomic_int *served;
    int place; /* when it was served */
    pthread_t thread;
};

static void *wait_turn(void *arg)
{
    struct turn *turn = arg;
    struct poly_pg *pg;

    if (poly_pg_pool_take(turn->pool, -1, &pg, NULL) != POLY_OK)
        return NULL;
    turn->place = atomic_fetch_add(turn->served, 1);
    poly_pg_pool_give(turn->pool, pg);
    return NULL;
}

static void first_come_first_served(void **state)
{
    struct poly_pg_pool *pool = open_pool((struct poly_pg_pool_options){.max = 1});
    struct poly_pg *pg = take(pool);
    struct turn turns[10];
    atomic_int served = 0;

    (void)state;
    for (int i = 0; i < 10; i++) {
        turns[i] = (struct turn){.pool = pool, .served = &served, .place = -1};
        assert_int_equal(pthread_create(&turns[i].thread, NULL, wait_turn, &turns[i]), 0);
        while (numbers_of(pool).waiting < i + 1)
            pause_briefly();
    }
    poly_pg_pool_give(pool, pg);
    for (int i = 0; i < 10; i++) {
        pthread_join(turns[i].thread, NULL);
        assert_int_equal(turns[i].place, i);
    }
    assert_true(numbers_of(pool).waited >= 10);
    poly_pg_pool_close(pool);
}

static void waiting_ends(void **state)
{
    struct poly_pg_pool *pool =
        open_pool((struct poly_pg_pool_options){.max = 1, .min = -1, .acquire_ms = 20});
    struct poly_pg *pg = take(pool), *other;

    (void)state;
    assert_fails(poly_pg_pool_take(pool, -1, &other, &err), POLY_TIMEOUT);
    assert_message("1 connections");
    assert_fails(poly_pg_pool_take(pool, poly_clock_monotonic(), &other, &err), POLY_TIMEOUT);
    assert_int_equal(numbers_of(pool).timeouts, 2);
    poly_pg_pool_give(pool, pg);
    pg = take(pool);
    assert_int_equal(ask(pg, "SELECT 1"), 1);
    poly_pg_pool_give(pool, pg);
    poly_pg_pool_close(pool);
}

static void idle_ones_are_closed(void **state)
{
    struct poly_pg_pool *pool = open_pool((struct poly_pg_pool_options){.idle_ms = 20, .max = 8});
    struct poly_pg *all[8];

    (void)state;
    for (int i = 0; i < 8; i++)
        all[i] = take(pool);
    assert_int_equal(numbers_of(pool).open, 8);
    for (int i = 0; i < 8; i++)
        poly_pg_pool_give(pool, all[i]);
    while (numbers_of(pool).open > 2)
        pause_briefly();
    assert_int_equal(numbers_of(pool).idle, 2);
    poly_pg_pool_close(pool);

    /* min stand there without being asked for. */
    pool = open_pool((struct poly_pg_pool_options){.min = 3});
    while (numbers_of(pool).idle < 3)
        pause_briefly();
    poly_pg_pool_close(pool);
    pool = open_pool((struct poly_pg_pool_options){.min = -1, .idle_ms = 20});
    poly_pg_pool_give(pool, take(pool));
    while (numbers_of(pool).open > 0)
        pause_briefly();
    poly_pg_pool_close(pool);
}

static void nothing_is_left_for_the_next(void **state)
{
    struct poly_pg_pool *pool = open_pool((struct poly_pg_pool_options){.max = 1});
    struct poly_pg *pg = take(pool);

    (void)state;
    assert_ok(poly_pg_begin(pg, POLY_PG_COMMITTED, false, &err));
    assert_ok(poly_pg_exec(pg, "CREATE TABLE half_done(a int)", &err));
    poly_pg_pool_give(pool, pg);
    pg = take(pool);
    assert_false(poly_pg_in_transaction(pg));
    assert_int_equal(ask(pg, "SELECT (to_regclass('half_done') IS NULL)::int"), 1);
    assert_ok(poly_pg_exec(pg, "SET search_path = nowhere", &err));
    poly_pg_taint(pg);
    poly_pg_pool_give(pool, pg);
    pg = take(pool);
    assert_int_equal(ask(pg, "SELECT (current_setting('search_path') = 'nowhere')::int"), 0);
    /* Results that nobody took. */
    assert_ok(poly_pg_queue(pg, count_ours, NULL, &err));
    assert_ok(poly_pg_send(pg, &err));
    poly_pg_pool_give(pool, pg);
    pg = take(pool);
    assert_int_equal(ask(pg, "SELECT 7"), 7);
    poly_pg_pool_give(pool, pg);
    assert_int_equal(numbers_of(pool).broken, 0);
    assert_int_equal(numbers_of(pool).connects, 1);
    poly_pg_pool_close(pool);
}

static void broken_ones_are_replaced(void **state)
{
    struct poly_pg_pool *pool = open_pool((struct poly_pg_pool_options){.max = 4, .min = -1});
    struct poly_pg *all[4], *pg;
    struct poly_pg_pool *killers = open_pool((struct poly_pg_pool_options){.max = 1});
    PGresult *result;
    char text[80];

    (void)state;
    for (int i = 0; i < 4; i++)
        all[i] = take(pool);
    pg = take(killers);
    for (int i = 0; i < 4; i++) {
        snprintf(text, sizeof(text), "SELECT pg_terminate_backend(%d, 10000)",
                 PQbackendPID(poly_pg_handle(all[i])));
        assert_ok(poly_pg_run_once(pg, text, NULL, &result, &err));
        PQclear(result);
    }
    poly_pg_pool_give(killers, pg);
    poly_pg_pool_close(killers);
    /* Two are known to be broken; two have not been looked at. */
    for (int i = 0; i < 2; i++)
        assert_fails(poly_pg_run(all[i], count_ours, NULL, &result, &err), POLY_UNAVAILABLE);
    for (int i = 0; i < 4; i++)
        poly_pg_pool_give(pool, all[i]);
    nanosleep(&(struct timespec){.tv_nsec = 110000000}, NULL);
    for (int i = 0; i < 4; i++) {
        all[i] = take(pool);
        assert_int_equal(ask(all[i], "SELECT 1"), 1);
    }
    for (int i = 0; i < 4; i++)
        poly_pg_pool_give(pool, all[i]);
    assert_int_equal(numbers_of(pool).broken, 4);
    assert_int_equal(numbers_of(pool).open, 4);
    poly_pg_pool_close(pool);
}

/* --- shared connections --- */

enum { ASKERS = 32, QUESTIONS = 300 };

struct asker {
    struct poly_pg_share *share;
    int number, wrong, refused, late;
    pthread_t thread;
};

static bool ask_shared(struct asker *asker, int64_t wanted)
{
    static const char sql[] = "SELECT $1::bigint * 2";
    struct poly_pg_params params;
    PGresult *result;
    bool right;

    poly_pg_params(&params);
    poly_pg_add_int(&params, wanted);
    if (poly_pg_share_run(asker->share, sql, &params, -1, &result, NULL) != POLY_OK)
        return false;
    right = poly_pg_int(result, 0, 0) == wanted * 2;
    PQclear(result);
    return right;
}

static void *ask_much(void *arg)
{
    static const char divide[] = "SELECT 1 / $1::bigint", wrong[] = "SELECT nonsense";
    static const char slow[] = "SELECT pg_sleep(10)";
    struct asker *asker = arg;
    struct poly_pg_params zero;
    struct poly_error why;
    PGresult *result;

    poly_pg_params(&zero);
    poly_pg_add_int(&zero, 0);
    for (int i = 0; i < QUESTIONS; i++) {
        asker->wrong += !ask_shared(asker, asker->number * 1000000 + i);
        if (asker->number % 8 == 1 && i % 10 == 0)
            asker->refused +=
                poly_pg_share_run(asker->share, i % 20 == 0 ? divide : wrong,
                                  i % 20 == 0 ? &zero : NULL, -1, &result, &why) == POLY_INVALID &&
                strstr(why.message, i % 20 == 0 ? "division" : "nonsense") != NULL;
        if (asker->number == 2 && i % 100 == 0)
            asker->late +=
                poly_pg_share_run(asker->share, slow, NULL, poly_clock_monotonic() + 20000, &result,
                                  &why) == POLY_TIMEOUT;
    }
    return NULL;
}

/* Each gets its own answer, its own error and its own deadline, and never a neighbour's. */
static void neighbours_do_not_meet(void **state)
{
    struct poly_pg_pool *pool = open_pool((struct poly_pg_pool_options){0});
    struct asker askers[ASKERS];
    struct poly_pg_share *share;

    (void)state;
    assert_ok(poly_pg_share_new(pool, 0, &share, &err));
    for (int i = 0; i < ASKERS; i++) {
        askers[i] = (struct asker){.share = share, .number = i};
        assert_int_equal(pthread_create(&askers[i].thread, NULL, ask_much, &askers[i]), 0);
    }
    for (int i = 0; i < ASKERS; i++) {
        pthread_join(askers[i].thread, NULL);
        assert_int_equal(askers[i].wrong, 0);
        assert_int_equal(askers[i].refused, i % 8 == 1 ? QUESTIONS / 10 : 0);
        assert_int_equal(askers[i].late, i == 2 ? QUESTIONS / 100 : 0);
    }
    poly_pg_share_free(share);
    poly_pg_share_free(NULL);
    assert_int_equal(numbers_of(pool).in_use, 0);
    poly_pg_pool_close(pool);
}

static bool order(const char *text)
{
    char said[256];
    bool done = control_order(said, sizeof(said), "%s", text);

    if (!done && strncmp(said, "skipped ", 8) == 0)
        skip();
    if (!done)
        fail_msg("%s: %s", text, said);
    return done;
}

static void heals_when_the_server_is_back(void **state)
{
    struct poly_pg_pool *pool;
    struct poly_pg *all[5], *pg;

    (void)state;
    if (getenv("POLY_TEST_CONTROL") == NULL)
        skip();
    pool = open_pool((struct poly_pg_pool_options){0});
    for (int i = 0; i < 5; i++)
        all[i] = take(pool);
    order("postgresql kill");
    assert_fails(poly_pg_exec(all[0], "SELECT 1", &err), POLY_UNAVAILABLE);
    for (int i = 0; i < 5; i++)
        poly_pg_pool_give(pool, all[i]);
    assert_fails(poly_pg_pool_take(pool, -1, &pg, &err), POLY_UNAVAILABLE);
    order("postgresql start");
    pg = take(pool);
    assert_int_equal(ask(pg, "SELECT 1"), 1);
    poly_pg_pool_give(pool, pg);
    while (numbers_of(pool).open < 2) /* the keeper makes the rest of min */
        pause_briefly();
    poly_pg_pool_close(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(never_more_than_max),
        cmocka_unit_test(first_come_first_served),
        cmocka_unit_test(waiting_ends),
        cmocka_unit_test(idle_ones_are_closed),
        cmocka_unit_test(nothing_is_left_for_the_next),
        cmocka_unit_test(broken_ones_are_replaced),
        cmocka_unit_test(neighbours_do_not_meet),
        cmocka_unit_test(heals_when_the_server_is_back),
    };

    url = control_url("POSTGRESQL_URL");
    if (url == NULL) {
        printf("skipped: postgresql (POLY_TEST_POSTGRESQL_URL names no server)\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
