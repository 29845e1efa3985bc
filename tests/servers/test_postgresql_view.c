/*
 * Materialised views on PostgreSQL, where they are another program's to grant, and several daemons'
 * to refresh. S4-50, S4-51. Run by `with`.
 */
#include "views.h"

/* What somebody has opened beside us, and what puts it right. */
static const char *const holes[][2] = {
    {"GRANT SELECT ON totals TO poly_tenant", "REVOKE ALL ON totals FROM poly_tenant"},
    {"GRANT SELECT ON totals TO PUBLIC", "REVOKE ALL ON totals FROM PUBLIC"},
    {"GRANT SELECT ON poly.view_per_day TO poly_tenant",
     "REVOKE ALL ON poly.view_per_day FROM poly_tenant"},
    {"CREATE OR REPLACE VIEW per_day AS SELECT * FROM poly.view_per_day", NULL},
};

static void holes_are_noticed(void **state)
{
    struct fixture *f = *state;
    struct poly_session *session;

    fixture_open(f, config);
    fixture_migrate(f);
    session = fixture_session(f, "a", POLY_RIGHT_READ | POLY_RIGHT_SQL);
    for (size_t i = 0; i < sizeof(holes) / sizeof(holes[0]); i++) {
        fixture_foreign(f, holes[i][0]);
        assert_non_null(strstr(query(session, per_day), "poly_tenant may read"));
        if (holes[i][1] != NULL) {
            fixture_foreign(f, holes[i][1]);
            assert_string_equal(query(session, per_day), "a mon 2 y | ");
        }
    }
    poly_session_close(session);
}

/* Several daemons: one of them refreshes, and none has another's definition. */
static void two_daemons(void **state)
{
    struct fixture *f = *state;
    struct fixture g = *f;
    struct poly_error err;
    uint64_t before;

    fixture_open(f, config);
    fixture_migrate(f);
    snprintf(g.data, sizeof(g.data), "%.60s/second", f->folder);
    fixture_open(&g, config);
    for (int i = 0; i < 10; i++) {
        settled(f, "per_day");
        before = look(f, "per_day").refreshes;
        put(i % 2 == 0 ? f : &g, "a", i, "sat", "two");
        settled(f, "per_day");
        settled(&g, "per_day");
        assert_int_equal(look(&g, "per_day").refreshes, before + 1);
        assert_int_equal(look(f, "per_day").state, POLY_STATE_OK);
    }
    assert_exact(f);
    fixture_close(&g);
    fixture_open(&g, DOMAINS "views:\n"
                             "  per_day: {query: 'SELECT tenant, 1 AS n FROM messages GROUP BY"
                             " tenant', key: [tenant], staleness: 10ms}\n");
    assert_ok(poly_view_refresh(g.admin, "per_day", &err));
    put(f, "a", 20, "sun", "other");
    while (look(f, "per_day").state != POLY_STATE_RETRYING)
        usleep(2000);
    assert_non_null(strstr(look(f, "per_day").error.data, "another daemon has another definition"));
    /* It does not take it back: its next try has failed, too. */
    int64_t failed = look(f, "per_day").error_time;

    while (look(f, "per_day").error_time == failed)
        usleep(2000);
    assert_int_equal(settled(&g, "per_day").state, POLY_STATE_OK);
    assert_string_equal(query(g.admin, "SELECT count(DISTINCT n) AS n FROM per_day"), "1 | ");
    fixture_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(holes_are_noticed, setup, teardown),
        cmocka_unit_test_setup_teardown(two_daemons, setup, teardown),
    };

    if (!fixture_on_server()) {
        printf("skipped: PostgreSQL (POLY_TEST_OWNER is not postgresql)\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
