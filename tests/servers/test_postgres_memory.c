/*
 * base/postgres when there is no memory: at every allocation of ours, the call says so or goes
 * well, and under AddressSanitizer nothing is lost. libpq's own allocations are not hit.
 */
#include "test.h"

#include "base/postgres_pool.h"
#include "control.h"
#include "memory.h"

static struct poly_error err;
static const char *url;

static const char insert[] = "INSERT INTO scarce SELECT * FROM unnest($1::bigint[], $2::jsonb[])";
static const char count[] = "SELECT count(*) FROM scarce";
static const char all[] = "SELECT a, b, ARRAY[a] FROM scarce";

static enum poly_status fill(struct poly_pg *pg)
{
    static const int64_t numbers[] = {1, 2};
    const struct poly_value documents[] = {poly_json("[1]"), poly_null()};
    struct poly_pg_params params;

    poly_pg_params(&params);
    poly_pg_add_ints(&params, numbers, 2);
    poly_pg_add_array(&params, documents, 2);
    return poly_pg_done(pg, insert, &params, NULL, &err);
}

static enum poly_status pipe_some(struct poly_pg *pg)
{
    enum poly_status status = poly_pg_queue(pg, count, NULL, &err);
    PGresult *result;

    if (status == POLY_OK)
        status = poly_pg_queue(pg, all, NULL, &err);
    if (status == POLY_OK)
        status = poly_pg_queue(pg, count, NULL, &err);
    for (int i = 0; i < 3 && status == POLY_OK; i++) {
        status = poly_pg_next(pg, &result, &err);
        if (status == POLY_OK)
            PQclear(result);
    }
    return status;
}

static enum poly_status read_all(struct poly_pg *pg)
{
    struct poly_arena *arena = poly_arena_new(1 << 16);
    struct poly_pg_stream *stream = NULL;
    const PGresult *row = NULL;
    enum poly_status status = arena == NULL ? POLY_NO_MEMORY : POLY_OK;
    struct poly_value value;

    if (status == POLY_OK)
        status = poly_pg_stream_open(pg, all, NULL, &stream, &err);
    while (status == POLY_OK) {
        status = poly_pg_stream_next(stream, &row, &err);
        if (status != POLY_OK || row == NULL)
            break;
        for (int i = 0; i < PQnfields(row) && status == POLY_OK; i++)
            status = poly_pg_value(row, 0, i, arena, &value, &err);
    }
    poly_pg_stream_close(stream);
    poly_arena_free(arena);
    return status;
}

static enum poly_status work(struct poly_pg *pg)
{
    enum poly_status status =
        poly_pg_exec(pg, "CREATE TEMP TABLE IF NOT EXISTS scarce(a bigint, b jsonb)", &err);

    if (status == POLY_OK)
        status = poly_pg_begin(pg, POLY_PG_COMMITTED, false, &err);
    if (status == POLY_OK)
        status = fill(pg);
    if (status == POLY_OK)
        status = pipe_some(pg);
    if (status == POLY_OK)
        status = read_all(pg);
    if (status == POLY_OK)
        status = poly_pg_commit(pg, &err);
    return status;
}

static void a_connection_without_memory(void **state)
{
    struct poly_pg_options options = {.url = url, .search_path = "public", .password_file = NULL};
    struct memory_walk walk = {0};
    int hits = 0;

    (void)state;
    while (memory_next(&walk)) {
        struct poly_pg_target *target = NULL;
        struct poly_pg *pg = NULL;
        enum poly_status status = poly_pg_target_new(&options, &target, &err);
        bool failed;

        if (status == POLY_OK)
            status = poly_pg_open(target, -1, &pg, &err);
        if (status == POLY_OK)
            status = work(pg);
        failed = memory_failed();
        assert_true(status == POLY_OK || failed);
        assert_true(status == POLY_OK || status == POLY_NO_MEMORY || status == POLY_UNAVAILABLE);
        hits += status != POLY_OK;
        /* A host that there was no memory for is not the one that no host stands for. */
        assert_true(status == POLY_OK || strstr(err.message, "localhost") == NULL);
        /* Then there is memory again: what is not lost works. */
        if (pg != NULL && failed) {
            poly_pg_roll_back(pg);
            if (!poly_pg_lost(pg))
                assert_ok(work(pg));
        }
        poly_pg_close(pg);
        poly_pg_target_free(target);
    }
    assert_true(hits > 10);
}

static void a_pool_without_memory(void **state)
{
    struct poly_pg_options options = {.url = url};
    struct memory_walk walk = {0};

    (void)state;
    while (memory_next(&walk)) {
        struct poly_pg_pool *pool = NULL;
        struct poly_pg *pg = NULL;
        enum poly_status status = poly_pg_pool_open(&options, NULL, NULL, NULL, &pool, &err);

        if (status == POLY_OK)
            status = poly_pg_pool_take(pool, -1, &pg, &err);
        assert_true(status == POLY_OK || memory_failed());
        if (pool != NULL && pg == NULL)
            assert_ok(poly_pg_pool_take(pool, -1, &pg, &err));
        if (pg != NULL && memory_failed())
            assert_ok(work(pg));
        poly_pg_pool_give(pool, pg);
        poly_pg_pool_close(pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_without_memory),
        cmocka_unit_test(a_pool_without_memory),
    };

    url = control_url("POSTGRESQL_URL");
    if (url == NULL) {
        printf("skipped: postgresql (POLY_TEST_POSTGRESQL_URL names no server)\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
