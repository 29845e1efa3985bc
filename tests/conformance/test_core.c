/* Transactions, versions, tokens, idempotency keys: what every store on the log rests on. */
#include "core_place.h"

#include <unistd.h>

#include "base/clock.h"

static enum poly_status append(struct poly_txn *txn, const char *stream, int64_t expected,
                               const char *json)
{
    struct poly_event event = {.type = "Placed", .data = poly_json(json)};

    return poly_append(txn, stream, expected, &event, 1, &err);
}

static struct poly_txn *begin(struct poly_session *session)
{
    struct poly_txn *txn = NULL;

    assert_ok(poly_txn_begin(session, NULL, &txn, &err));
    return txn;
}

static struct poly_txn *begin_keyed(struct poly_session *session, const char *key)
{
    struct poly_txn_options options = {.idempotency_key = key};
    struct poly_txn *txn = NULL;

    assert_ok(poly_txn_begin(session, &options, &txn, &err));
    return txn;
}

static struct poly_txn *begin_interactive(struct poly_session *session, uint32_t deadline_ms)
{
    struct poly_txn_options options = {.interactive = true, .deadline_ms = deadline_ms};
    struct poly_txn *txn = NULL;

    assert_ok(poly_txn_begin(session, &options, &txn, &err));
    return txn;
}

/* --- expected versions (S2-10) --- */

static void expected_versions_hold(void **state)
{
    struct place *p = *state;

    assert_fails(lab_append(p->session, "order-1", 1, 1, NULL, &err), POLY_CONFLICT);
    assert_message("order-1");
    assert_ok(lab_append(p->session, "order-1", POLY_NONE, 1, NULL, &err));
    assert_fails(lab_append(p->session, "order-1", POLY_NONE, 1, NULL, &err), POLY_CONFLICT);
    assert_message("its version is 1");
    assert_ok(lab_append(p->session, "order-1", 1, 2, NULL, &err));
    assert_ok(lab_append(p->session, "order-1", POLY_ANY, 3, NULL, &err));
    assert_fails(lab_append(p->session, "order-1", 2, 4, NULL, &err), POLY_CONFLICT);
    assert_fails(lab_append(p->session, "order-1", 4, 4, NULL, &err), POLY_CONFLICT);
    assert_fails(lab_append(p->session, "order-1", -2, 4, NULL, &err), POLY_INVALID);
    assert_int_equal(lab_stream_version(p->session, "order-1"), 3);
    place_reopen(p);
    assert_fails(lab_append(p->session, "order-1", 2, 4, NULL, &err), POLY_CONFLICT);
    assert_ok(lab_append(p->session, "order-1", 3, 4, NULL, &err));
}

/* S2-09 */
static void several_streams_in_one_transaction(void **state)
{
    struct place *p = *state;
    struct poly_txn *txn = begin(p->session);
    struct poly_commit commit;

    assert_ok(append(txn, "order-1", POLY_NONE, "{\"a\": 1}"));
    assert_ok(append(txn, "stock-9", POLY_NONE, "{\"b\": 1}"));
    assert_ok(append(txn, "order-1", 1, "{\"a\": 2}"));
    assert_ok(poly_txn_commit(txn, &commit, &err));
    assert_int_equal(commit.count, 3);
    assert_string_equal(commit.results[1].key.data, "stock-9");
    assert_int_equal(commit.results[2].version, 2);
    assert_int_equal(commit.position, 3);

    /* The third fails: none of them is there. */
    txn = begin(p->session);
    assert_ok(append(txn, "order-1", 2, "{\"a\": 3}"));
    assert_ok(append(txn, "order-2", POLY_NONE, "{}"));
    assert_ok(append(txn, "stock-9", 7, "{}"));
    assert_fails(poly_txn_commit(txn, NULL, &err), POLY_CONFLICT);
    assert_message("operation 3 of 3");
    assert_int_equal(lab_stream_version(p->session, "order-1"), 2);
    assert_int_equal(lab_stream_version(p->session, "order-2"), 0);
    assert_int_equal(lab_stream_version(p->session, "stock-9"), 1);
    assert_int_equal(fixture_head(&p->f), 3);
    assert_ok(lab_append(p->session, "order-1", 2, 3, &commit, &err));
    if (fixture_differs(&p->f, "positions-have-gaps"))
        assert_true(commit.position > 4);
    else
        assert_int_equal(commit.position, 4);
}

struct seen {
    uint64_t positions[64], txns[64];
    size_t count;
};

static bool see(void *arg, const struct poly_record *record)
{
    struct seen *seen = arg;

    seen->positions[seen->count] = record->position;
    seen->txns[seen->count++] = record->txn;
    return seen->count < 64;
}

/* S2-09, S2-12: one order over all streams, each transaction in one piece, both ways. */
static void the_log_is_one_order(void **state)
{
    struct place *p = *state;
    struct poly_log_query query = {.after = 0};
    struct seen forwards = {.count = 0}, backwards = {.count = 0};
    uint64_t last = 0;

    for (int i = 0; i < 10; i++) {
        struct poly_txn *txn = begin(p->session);

        assert_ok(append(txn, i % 2 == 0 ? "order-1" : "order-2", POLY_ANY, "{}"));
        assert_ok(append(txn, "all", POLY_ANY, "{}"));
        assert_ok(poly_txn_commit(txn, NULL, &err));
    }
    assert_ok(poly_log_read(p->session, &query, see, &forwards, &last, &err));
    assert_int_equal(forwards.count, 20);
    assert_int_equal(last, fixture_head(&p->f));
    query.backwards = true;
    assert_ok(poly_log_read(p->session, &query, see, &backwards, NULL, &err));
    for (size_t i = 0; i < 20; i++) {
        assert_int_equal(forwards.positions[i], i + 1);
        assert_int_equal(backwards.positions[i], 20 - i);
        assert_int_equal(forwards.txns[i], forwards.txns[i / 2 * 2]);
        assert_true(i < 2 || forwards.txns[i] > forwards.txns[i - 2]);
        if (!fixture_differs(&p->f, "transaction-number"))
            assert_int_equal(forwards.txns[i], i / 2 * 2 + 1);
    }
}

static void a_query_filters_and_resumes(void **state)
{
    struct place *p = *state;
    static const char *const domains[] = {"order", NULL}, *const types[] = {"Nothing", NULL};
    struct poly_log_query query = {.domains = domains, .limit = 3};
    struct seen seen = {.count = 0};
    uint64_t last = 0;

    for (int i = 0; i < 5; i++) {
        assert_ok(lab_append(p->session, "order-1", POLY_ANY, i, NULL, &err));
        assert_ok(lab_append(p->session, "stock-1", POLY_ANY, i, NULL, &err));
    }
    assert_ok(poly_log_read(p->session, &query, see, &seen, &last, &err));
    assert_int_equal(seen.count, 3);
    assert_int_equal(seen.positions[2], 5);
    query.after = last;
    assert_ok(poly_log_read(p->session, &query, see, &seen, &last, &err));
    assert_int_equal(seen.count, 5);
    assert_int_equal(seen.positions[4], 9);
    assert_int_equal(last, 10);
    query = (struct poly_log_query){.types = types};
    seen.count = 0;
    assert_ok(poly_log_read(p->session, &query, see, &seen, &last, &err));
    assert_int_equal(seen.count, 0);
    assert_int_equal(last, 10);
}

static void tenants_have_streams_of_their_own(void **state)
{
    struct place *p = *state;
    struct poly_session *other = lab_session(p->instance, "other");
    struct poly_session_options plain = {.rights = POLY_RIGHT_READ};
    struct poly_session *reader;

    assert_fails(lab_append(p->session, "visit-1", POLY_NONE, 1, NULL, &err), POLY_DENIED);
    assert_ok(lab_append(p->acme, "visit-1", POLY_NONE, 1, NULL, &err));
    assert_ok(lab_append(other, "visit-1", POLY_NONE, 1, NULL, &err));
    assert_ok(lab_append(other, "visit-1", 1, 2, NULL, &err));
    assert_int_equal(lab_stream_version(p->acme, "visit-1"), 1);
    assert_int_equal(lab_stream_version(other, "visit-1"), 2);
    poly_session_close(other);

    assert_ok(poly_session_open(p->instance, &plain, &reader, &err));
    struct poly_txn *txn;

    assert_fails(poly_txn_begin(reader, NULL, &txn, &err), POLY_DENIED);
    assert_message("write");
    poly_session_close(reader);
}

/* --- tokens (S4-57, S4-58) --- */

static struct poly_token token_of(struct poly_session *session, const char *stream)
{
    struct poly_commit commit;

    assert_ok(lab_append(session, stream, POLY_ANY, 1, &commit, &err));
    return commit.token;
}

static void a_token_is_of_one_tenant(void **state)
{
    struct place *p = *state;
    struct poly_token token = token_of(p->acme, "visit-1");
    struct poly_session *other = lab_session(p->instance, "other");

    assert_ok(poly_session_after(p->acme, token.text, POLY_WAIT, &err));
    assert_int_equal(lab_stream_version(p->acme, "visit-1"), 1);
    assert_int_equal(poly_session_freshness(p->acme).wanted, 1);
    assert_true(poly_session_freshness(p->acme).applied >= 1);
    assert_fails(poly_session_after(other, token.text, POLY_WAIT, &err), POLY_INVALID);
    assert_message("tenant");
    assert_fails(poly_session_after(p->session, token.text, POLY_WAIT, &err), POLY_INVALID);
    assert_ok(poly_session_after(p->acme, NULL, POLY_WAIT, &err));
    assert_ok(poly_session_after(p->acme, "", POLY_WAIT, &err));
    poly_session_close(other);
}

static void a_forged_token_is_refused(void **state)
{
    struct place *p = *state;
    struct poly_token token = token_of(p->acme, "visit-1");

    for (size_t i = 0; token.text[i] != '\0'; i++) {
        struct poly_token forged = token;

        forged.text[i] = forged.text[i] == 'A' ? 'Z' : 'A';
        assert_fails(poly_session_after(p->acme, forged.text, POLY_WAIT, &err), POLY_INVALID);
        forged = token;
        forged.text[i] = '\0';
        if (i > 0)
            assert_fails(poly_session_after(p->acme, forged.text, POLY_WAIT, &err), POLY_INVALID);
    }
    assert_fails(poly_session_after(p->acme, "not a token", POLY_WAIT, &err), POLY_INVALID);
    assert_fails(poly_session_after(p->acme,
                                    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                                    POLY_WAIT, &err),
                 POLY_INVALID);
}

/* The database goes back to an older copy of itself: what was written since has no position. */
static void a_token_of_the_future_is_refused(void **state)
{
    struct place *p = *state;
    struct poly_token token;

    (void)token_of(p->acme, "visit-1");
    place_close(p);
    fixture_keep(&p->f);
    place_open(p);
    token = token_of(p->acme, "visit-1");
    place_close(p);
    fixture_go_back(&p->f);
    place_open(p);
    assert_fails(poly_session_after(p->acme, token.text, POLY_WAIT, &err), POLY_INVALID);
    assert_message("not in the log");
}

static void a_token_from_before_a_restore_is_refused(void **state)
{
    struct place *p = *state;
    struct poly_token token = token_of(p->acme, "visit-1");

    fixture_foreign_dialects(&p->f, "UPDATE poly_meta SET value = x'02000000' WHERE name = 'epoch'",
                             "UPDATE poly_meta SET value = '\\x02000000' WHERE name = 'epoch'");
    place_reopen(p);
    assert_fails(poly_session_after(p->acme, token.text, POLY_WAIT, &err), POLY_INVALID);
    assert_message("before a restore");
    token = token_of(p->acme, "visit-1");
    assert_ok(poly_session_after(p->acme, token.text, POLY_WAIT, &err));
}

static void another_instance_refuses_it(void **state)
{
    struct place *p = *state, other = {.instance = NULL};
    struct poly_token token = token_of(p->acme, "visit-1");

    fixture_make(&other.f);
    place_open(&other);
    (void)token_of(other.acme, "visit-1");
    assert_fails(poly_session_after(other.acme, token.text, POLY_WAIT, &err), POLY_INVALID);
    assert_message("not made by this instance");
    place_close(&other);
    fixture_remove(&other.f);
}

/* --- idempotency keys (S4-55) --- */

static enum poly_status keyed(struct poly_session *session, const char *key, const char *json,
                              struct poly_commit *commit)
{
    struct poly_txn *txn = begin_keyed(session, key);

    assert_ok(append(txn, "order-1", POLY_ANY, json));
    assert_ok(append(txn, "order-2", POLY_ANY, json));
    return poly_txn_commit(txn, commit, &err);
}

static void a_key_replays_its_first_result(void **state)
{
    struct place *p = *state;
    struct poly_commit first, again;
    struct poly_status_report report;

    assert_ok(keyed(p->session, "k1", "{\"a\": 1}", &first));
    assert_false(first.replayed);
    assert_ok(lab_append(p->session, "order-1", POLY_ANY, 1, NULL, &err));
    assert_ok(keyed(p->session, "k1", "{\"a\": 1}", &again));
    assert_true(again.replayed);
    assert_int_equal(again.position, first.position);
    assert_int_equal(again.count, 2);
    assert_int_equal(again.results[0].version, 1);
    assert_string_equal(again.results[1].key.data, "order-2");
    assert_string_equal(again.token.text, first.token.text);
    assert_int_equal(lab_stream_version(p->session, "order-2"), 1);
    place_reopen(p);
    assert_ok(keyed(p->session, "k1", "{\"a\": 1}", &again));
    assert_true(again.replayed);
    assert_ok(poly_status_read(p->session, &report, &err));
    assert_int_equal(report.replays, 1);
}

static void a_key_with_another_body_is_refused(void **state)
{
    struct place *p = *state;

    assert_ok(keyed(p->session, "k1", "{\"a\": 1}", NULL));
    assert_fails(keyed(p->session, "k1", "{\"a\": 2}", NULL), POLY_CONFLICT);
    assert_message("another request");
    assert_int_equal(lab_stream_version(p->session, "order-1"), 1);
    assert_ok(keyed(p->acme, "k1", "{\"a\": 2}", NULL)); /* another tenant's is another key */
    assert_fails(poly_txn_begin(p->session, &(struct poly_txn_options){.idempotency_key = ""},
                                &(struct poly_txn *){NULL}, &err),
                 POLY_INVALID);
}

static void a_key_of_a_failed_request_is_free(void **state)
{
    struct place *p = *state;
    struct poly_commit commit;
    struct poly_txn *txn = begin_keyed(p->session, "k1");

    assert_ok(append(txn, "order-1", 5, "{}"));
    assert_fails(poly_txn_commit(txn, NULL, &err), POLY_CONFLICT);
    assert_ok(keyed(p->session, "k1", "{}", &commit));
    assert_false(commit.replayed);
}

static void a_key_expires(void **state)
{
    struct place *p = *state;
    struct poly_commit commit;

    assert_ok(keyed(p->session, "k1", "{}", NULL));
    poly_clock_shift(INT64_C(86390) * 1000000);
    assert_ok(keyed(p->session, "k1", "{}", &commit));
    assert_true(commit.replayed);
    poly_clock_shift(INT64_C(86410) * 1000000);
    assert_ok(keyed(p->session, "k1", "{\"other\": 1}", &commit));
    assert_false(commit.replayed);
    poly_clock_shift(0);
    assert_int_equal(lab_stream_version(p->session, "order-1"), 2);
}

/* --- interactive transactions (S3-13) --- */

static void interactive_sees_and_holds(void **state)
{
    struct place *p = *state;
    struct poly_txn *txn = begin_interactive(p->session, 0), *second;
    struct poly_txn_options interactive = {.interactive = true};
    struct poly_session_options impatient = {.deadline_ms = 50};
    struct poly_session *waiting;
    struct poly_status_report report;
    struct poly_commit commit;

    assert_ok(append(txn, "order-1", POLY_NONE, "{}"));
    assert_fails(append(txn, "order-1", POLY_NONE, "{}"), POLY_CONFLICT);
    assert_ok(append(txn, "order-1", 1, "{}"));
    assert_int_equal(lab_stream_version(p->acme, "order-1"), 0);
    assert_ok(poly_status_read(p->acme, &report, &err));
    assert_true(report.writer_held);
    assert_ok(poly_session_open(p->instance, &impatient, &waiting, &err));
    if (fixture_differs(&p->f, "interactive-transactions")) {
        assert_ok(poly_txn_begin(waiting, &interactive, &second, &err));
        poly_txn_abort(second);
    } else {
        assert_fails(poly_txn_begin(waiting, &interactive, &second, &err), POLY_TIMEOUT);
    }
    poly_session_close(waiting);
    assert_ok(poly_txn_commit(txn, &commit, &err));
    assert_int_equal(commit.count, 2);
    assert_int_equal(lab_stream_version(p->session, "order-1"), 2);
}

/* As whoever serves many does it; the writer's thread may have something to do now and then. */
static enum poly_status commit_by_trying(struct poly_txn *txn, struct poly_commit *commit)
{
    bool tried = false;
    enum poly_status status = POLY_OK;

    for (int i = 0; i < 5000 && !tried; i++) {
        status = poly_txn_try_commit(txn, &tried, commit, &err);
        if (!tried)
            usleep(1000);
    }
    assert_true(tried);
    return status;
}

/* Where it is not supported, it says so at once, and nothing is lost. */
static enum poly_status commit_after_trying(struct poly_txn *txn, struct poly_commit *commit)
{
    bool tried = true;

    assert_ok(poly_txn_try_commit(txn, &tried, commit, &err));
    assert_false(tried);
    return poly_txn_commit(txn, commit, &err);
}

/* Whoever serves many must not wait for one that holds the writer. */
static void trying_never_waits(void **state)
{
    struct place *p = *state;
    struct poly_txn *holder = begin_interactive(p->session, 0), *txn = begin(p->acme);
    struct poly_commit commit;
    bool tried = true, supported = fixture_supports(&p->f, "commit-that-never-waits");

    assert_ok(append(holder, "order-1", POLY_NONE, "{}"));
    assert_ok(append(txn, "visit-1", POLY_NONE, "{}"));
    assert_ok(poly_txn_try_commit(txn, &tried, &commit, &err));
    assert_false(tried);
    assert_ok(poly_txn_commit(holder, NULL, &err));
    assert_int_equal(lab_stream_version(p->acme, "visit-1"), 0);
    if (supported)
        assert_ok(commit_by_trying(txn, &commit));
    else
        assert_ok(commit_after_trying(txn, &commit));
    assert_int_equal(commit.count, 1);
    assert_int_equal(lab_stream_version(p->acme, "visit-1"), 1);

    txn = begin(p->acme);
    assert_ok(append(txn, "visit-1", POLY_NONE, "{}"));
    assert_fails(supported ? commit_by_trying(txn, NULL) : commit_after_trying(txn, NULL),
                 POLY_CONFLICT);
    holder = begin_interactive(p->session, 0);
    assert_ok(append(holder, "order-1", 1, "{}"));
    assert_ok(poly_txn_try_commit(holder, &tried, NULL, &err));
    assert_true(tried);
    assert_int_equal(lab_stream_version(p->session, "order-1"), 2);
}

static void an_aborted_one_leaves_nothing(void **state)
{
    struct place *p = *state;
    struct poly_txn *txn = begin_interactive(p->session, 0);

    assert_ok(append(txn, "order-1", POLY_NONE, "{}"));
    poly_txn_abort(txn);
    assert_int_equal(lab_stream_version(p->session, "order-1"), 0);
    assert_ok(lab_append(p->session, "order-1", POLY_NONE, 1, NULL, &err));
    poly_txn_abort(begin(p->session));
    poly_txn_abort(NULL);
}

static void one_past_its_deadline_is_rolled_back_and_says_so(void **state)
{
    struct place *p = *state;
    struct poly_txn *txn = begin_interactive(p->session, 1000);
    enum poly_status status = POLY_OK;

    assert_ok(append(txn, "order-1", POLY_NONE, "{}"));
    /* Others wait no longer than the deadline, where they wait at all. */
    assert_ok(lab_append(p->acme, "visit-1", POLY_NONE, 1, NULL, &err));
    for (int i = 0; i < 3000 && status == POLY_OK; i++) {
        usleep(10000);
        status = append(txn, "order-1", POLY_ANY, "{}");
    }
    assert_int_equal(status, POLY_TIMEOUT);
    assert_message("rolled back");
    assert_fails(poly_txn_commit(txn, NULL, &err), POLY_TIMEOUT);
    assert_message("rolled back");
    assert_int_equal(lab_stream_version(p->session, "order-1"), 0);
    assert_ok(lab_append(p->session, "order-1", POLY_NONE, 1, NULL, &err));
    txn = begin_interactive(p->session, 0);
    assert_ok(append(txn, "order-1", 1, "{}"));
    assert_ok(poly_txn_commit(txn, NULL, &err));
}

/* --- two programs (S0-28) --- */

static void two_instances_in_one_folder_are_refused(void **state)
{
    struct place *p = *state;
    struct poly_instance *second = NULL;
    char pid[32];

    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    assert_fails(lab_try_open(p->f.data, NULL, &second, &err), POLY_UNAVAILABLE);
    assert_message(pid);
    assert_null(second);
    assert_ok(lab_append(p->session, "order-1", POLY_NONE, 1, NULL, &err));
}

static void another_program_decides_versions_too(void **state)
{
    struct place *p = *state;
    char why[200];

    assert_ok(lab_append(p->session, "order-1", POLY_NONE, 1, NULL, &err));
    fixture_foreign(&p->f, "INSERT INTO poly_log(domain, key, version, type, time, data)"
                           " VALUES ('order', '1', 2, 'Foreign', 1, '{}')");
    assert_fails(lab_append(p->session, "order-1", 1, 2, NULL, &err), POLY_CONFLICT);
    assert_ok(lab_append(p->session, "order-1", 2, 3, NULL, &err));
    assert_int_equal(lab_stream_version(p->session, "order-1"), 3);
    assert_int_equal(lab_verify(p->session, why, sizeof(why)), 0);
}

/* A server's processes know what all of them have used (S0-22); alone there is nobody to ask. */
static void what_is_used_together_is_one_sum(void **state)
{
    struct place *p = *state;
    char name[POLY_MAX_USAGE_NAME + 2];
    struct poly_usage two[] = {{"a", 3, 0}, {"b", 1, 0}};
    struct poly_usage many[POLY_MAX_USAGES + 1] = {{0}};

    if (!poly_is_shared(p->instance)) {
        assert_fails(poly_usage_add(p->instance, two, 2, &err), POLY_INVALID);
        return;
    }
    assert_ok(poly_usage_add(p->instance, two, 2, &err));
    assert_ok(poly_usage_add(p->instance, two, 1, &err));
    assert_int_equal(two[0].total, 6);
    assert_int_equal(two[1].total, 1);
    for (size_t i = 0; i <= POLY_MAX_USAGES; i++)
        many[i].name = "a";
    assert_fails(poly_usage_add(p->instance, many, POLY_MAX_USAGES + 1, &err), POLY_INVALID);
    memset(name, 'x', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    two[1].name = name;
    assert_fails(poly_usage_add(p->instance, two, 2, &err), POLY_INVALID);
    two[0].used = 0;
    assert_ok(poly_usage_add(p->instance, two, 1, &err));
    assert_int_equal(two[0].total, 6); /* of what was refused nothing was added */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACED(expected_versions_hold),
        PLACED(several_streams_in_one_transaction),
        PLACED(the_log_is_one_order),
        PLACED(a_query_filters_and_resumes),
        PLACED(tenants_have_streams_of_their_own),
        PLACED(a_token_is_of_one_tenant),
        PLACED(a_forged_token_is_refused),
        PLACED(a_token_of_the_future_is_refused),
        PLACED(a_token_from_before_a_restore_is_refused),
        PLACED(another_instance_refuses_it),
        PLACED(a_key_replays_its_first_result),
        PLACED(a_key_with_another_body_is_refused),
        PLACED(a_key_of_a_failed_request_is_free),
        PLACED(a_key_expires),
        PLACED(interactive_sees_and_holds),
        PLACED(trying_never_waits),
        PLACED(an_aborted_one_leaves_nothing),
        PLACED(one_past_its_deadline_is_rolled_back_and_says_so),
        PLACED(two_instances_in_one_folder_are_refused),
        PLACED(another_program_decides_versions_too),
        PLACED(what_is_used_together_is_one_sum),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
