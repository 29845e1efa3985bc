/* Many at a time: groups that share a sync, subscriptions beside writers, other programs. Run under
 * ThreadSanitizer too. */
#include "core_place.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "base/status.h"

enum { WRITERS = 8, EACH = 50 };

struct worker {
    struct place *place;
    unsigned number;
    pthread_t thread;
    enum poly_status status;
    struct poly_error err;
    unsigned done, conflicts;
};

static void start(struct worker *workers, size_t count, struct place *p, void *(*run)(void *))
{
    for (size_t i = 0; i < count; i++) {
        workers[i] = (struct worker){.place = p, .number = (unsigned)i};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, run, &workers[i]), 0);
    }
}

static void finish(struct worker *workers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        pthread_join(workers[i].thread, NULL);
    for (size_t i = 0; i < count; i++) {
        if (workers[i].status != POLY_OK)
            fail_msg("thread %zu: %s: %s", i, poly_status_name(workers[i].status),
                     workers[i].err.message);
    }
}

static void *write_events(void *arg)
{
    struct worker *worker = arg;
    struct poly_session *session = lab_session(worker->place->instance, NULL);
    char stream[32];

    snprintf(stream, sizeof(stream), "order-%u", worker->number);
    for (unsigned i = 0; i < EACH && worker->status == POLY_OK; i++) {
        worker->status = lab_append(session, stream, i, i, NULL, &worker->err);
        poly_session_reset(session);
    }
    poly_session_close(session);
    return NULL;
}

/* --- groups --- */

/* All write to one stream and expect its version, each with that version as its number. In the
 * first round all of them have seen it empty. */
static pthread_barrier_t all_have_looked;

static void *race(void *arg)
{
    struct worker *worker = arg;
    struct poly_session *session = lab_session(worker->place->instance, NULL);
    bool first = true;

    while (worker->status == POLY_OK && worker->done < EACH) {
        int64_t version = (int64_t)lab_stream_version(session, "order-race");

        if (first)
            pthread_barrier_wait(&all_have_looked);
        first = false;
        worker->status = lab_append(session, "order-race", version, version, NULL, &worker->err);
        if (worker->status == POLY_OK) {
            worker->done++;
        } else if (worker->status == POLY_CONFLICT) {
            worker->conflicts++;
            worker->status = POLY_OK;
        }
        poly_session_reset(session);
    }
    poly_session_close(session);
    return NULL;
}

static bool follows_what_was_seen(void *arg, const struct poly_record *record)
{
    uint64_t *last = arg;
    char data[64];

    assert_int_equal(record->version, *last + 1);
    snprintf(data, sizeof(data), "{\"n\": %llu,", (unsigned long long)*last);
    if (strncmp(record->data.text.data, data, strlen(data)) != 0)
        fail_msg("version %llu was not written by one who had seen the last: %.*s",
                 (unsigned long long)record->version, (int)record->data.text.size,
                 record->data.text.data);
    *last = record->version;
    return true;
}

/* S2-10, S3-13: exactly one of each round gets through. Without the check of versions all of the
 * first round would. */
static void racing_writers_never_overwrite(void **state)
{
    struct place *p = *state;
    struct worker workers[WRITERS];
    unsigned conflicts = 0;
    uint64_t last = 0;

    assert_int_equal(pthread_barrier_init(&all_have_looked, NULL, WRITERS), 0);
    start(workers, WRITERS, p, race);
    finish(workers, WRITERS);
    pthread_barrier_destroy(&all_have_looked);
    for (size_t i = 0; i < WRITERS; i++)
        conflicts += workers[i].conflicts;
    assert_true(conflicts >= WRITERS - 1);
    fixture_head(&p->f);
    assert_ok(poly_log_read(p->session, &(struct poly_log_query){0}, follows_what_was_seen, &last,
                            NULL, &err));
    assert_int_equal(last, WRITERS * EACH);
    assert_int_equal(lab_stream_version(p->session, "order-race"), WRITERS * EACH);
    if (fixture_differs(&p->f, "positions-have-gaps"))
        assert_true(fixture_head(&p->f) > WRITERS * EACH);
    else
        assert_int_equal(poly_log_head(p->instance), WRITERS * EACH);
}

/* Half of them fail in their last operation, in the same groups as the others. */
static void *fail_or_write(void *arg)
{
    struct worker *worker = arg;
    struct poly_session *session = lab_session(worker->place->instance, NULL);
    struct poly_event event = {.type = "Placed", .data = poly_json("{}")};
    bool fails = worker->number % 2 == 1;
    char stream[32];

    snprintf(stream, sizeof(stream), "order-%u", worker->number);
    for (unsigned i = 0; i < EACH && worker->status == POLY_OK; i++) {
        struct poly_txn *txn;
        struct poly_error *e = &worker->err;

        worker->status = poly_txn_begin(session, NULL, &txn, e);
        if (worker->status != POLY_OK)
            break;
        for (int n = 0; n < 3 && worker->status == POLY_OK; n++)
            worker->status = poly_append(txn, stream, (int64_t)i * 3 + n, &event, 1, e);
        if (worker->status == POLY_OK && fails)
            worker->status = poly_append(txn, stream, 77777, &event, 1, e);
        if (worker->status == POLY_OK)
            worker->status = poly_txn_commit(txn, NULL, e);
        else
            poly_txn_abort(txn);
        if (fails && worker->status == POLY_CONFLICT) {
            worker->conflicts++;
            worker->status = POLY_OK;
            i--; /* its stream is as it was */
            if (worker->conflicts == EACH)
                break;
        }
        poly_session_reset(session);
    }
    poly_session_close(session);
    return NULL;
}

static void a_failing_request_does_not_take_the_group_with_it(void **state)
{
    struct place *p = *state;
    struct worker workers[WRITERS];
    char why[300];

    start(workers, WRITERS, p, fail_or_write);
    finish(workers, WRITERS);
    for (unsigned i = 0; i < WRITERS; i++) {
        char stream[32];

        snprintf(stream, sizeof(stream), "order-%u", i);
        assert_int_equal(lab_stream_version(p->session, stream), i % 2 == 1 ? 0 : EACH * 3);
        assert_int_equal(workers[i].conflicts, i % 2 == 1 ? EACH : 0);
    }
    assert_int_equal(lab_verify(p->session, why, sizeof(why)), 0);
}

/* --- submitted without waiting --- */

enum { SUBMITTED = 200 };
static _Atomic unsigned submitted_done, submitted_failed;

static void count_done(void *arg, enum poly_status status, const struct poly_commit *commit,
                       const struct poly_error *error)
{
    (void)arg;
    (void)commit;
    (void)error;
    if (status != POLY_OK)
        atomic_fetch_add(&submitted_failed, 1);
    atomic_fetch_add(&submitted_done, 1);
}

static void pause_a_little(void)
{
    nanosleep(&(struct timespec){0, 1000000}, NULL);
}

static void submitted_ones_all_end(void **state)
{
    struct place *p = *state;
    static struct poly_session *sessions[SUBMITTED];

    submitted_done = submitted_failed = 0;
    for (unsigned i = 0; i < SUBMITTED; i++) {
        struct poly_event event = {.type = "Placed", .data = poly_json("{}")};
        struct poly_txn *txn;

        sessions[i] = lab_session(p->instance, NULL);
        assert_ok(poly_txn_begin(sessions[i], NULL, &txn, &err));
        assert_ok(poly_append(txn, "order-1", i % 10 == 9 ? 99999 : POLY_ANY, &event, 1, &err));
        assert_ok(poly_txn_submit(txn, count_done, NULL, &err));
    }
    for (int i = 0; i < 10000 && atomic_load(&submitted_done) < SUBMITTED; i++)
        pause_a_little();
    assert_int_equal(atomic_load(&submitted_done), SUBMITTED);
    assert_int_equal(atomic_load(&submitted_failed), SUBMITTED / 10);
    for (unsigned i = 0; i < SUBMITTED; i++)
        poly_session_close(sessions[i]);
    assert_int_equal(lab_stream_version(p->session, "order-1"), SUBMITTED - SUBMITTED / 10);
}

/* --- subscriptions (S4-46, S4-47) --- */

static struct poly_subscription *subscribe(struct poly_session *session, const char *name,
                                           uint64_t after)
{
    struct poly_subscription_options options = {.name = name, .after = after, .batch = 7};
    struct poly_subscription *subscription = NULL;

    assert_ok(poly_subscribe(session, &options, &subscription, &err));
    return subscription;
}

/* The next records, every position once and in order, until head. */
static uint64_t follow(struct poly_subscription *subscription, uint64_t from, uint64_t until)
{
    while (from < until) {
        const struct poly_record *records;
        size_t count;

        assert_ok(poly_subscription_next(subscription, 10000, &records, &count, &err));
        assert_true(count > 0);
        for (size_t i = 0; i < count; i++)
            assert_int_equal(records[i].position, ++from);
    }
    return from;
}

static void catch_up_and_live_have_no_gap(void **state)
{
    struct place *p = *state;
    struct poly_subscription *early, *late;
    struct worker workers[WRITERS];
    const struct poly_record *records;
    size_t count = 1;

    for (int i = 0; i < 100; i++)
        assert_ok(lab_append(p->session, "order-before", i, i, NULL, &err));
    early = subscribe(p->session, NULL, 0);
    start(workers, WRITERS, p, write_events);
    follow(early, 0, 150);
    late = subscribe(p->session, NULL, 120);
    follow(late, 120, 100 + WRITERS * EACH);
    finish(workers, WRITERS);
    assert_ok(poly_subscription_next(late, 0, &records, &count, &err));
    assert_int_equal(count, 0);
    poly_subscription_close(early);
    poly_subscription_close(late);
}

static void a_name_keeps_its_position(void **state)
{
    struct place *p = *state;
    struct poly_subscription *subscription = subscribe(p->session, "mail", 0), *second;
    struct poly_subscription_options same = {.name = "mail"};
    const struct poly_record *records;
    size_t count;

    for (int i = 0; i < 20; i++)
        assert_ok(lab_append(p->session, "order-1", i, i, NULL, &err));
    assert_int_equal(fixture_head(&p->f), 20);
    assert_fails(poly_subscribe(p->session, &same, &second, &err), POLY_EXISTS);
    assert_ok(poly_subscription_next(subscription, 1000, &records, &count, &err));
    assert_int_equal(records[count - 1].position, 7);
    assert_ok(poly_subscription_next(subscription, 1000, &records, &count, &err));
    assert_ok(poly_subscription_ack(subscription, 9, &err));
    assert_ok(poly_subscription_ack(subscription, 3, &err)); /* never goes back */
    assert_fails(poly_subscription_ack(subscription, 21, &err), POLY_INVALID);
    poly_subscription_close(subscription);
    place_reopen(p);
    subscription = subscribe(p->session, "mail", 0);
    assert_ok(poly_subscription_next(subscription, 1000, &records, &count, &err));
    assert_int_equal(records[0].position, 10);
    assert_ok(poly_acknowledge(p->session, "mail", 15, &err));
    assert_fails(poly_acknowledge(p->session, "nobody", 15, &err), POLY_NOT_FOUND);
    poly_subscription_close(subscription);
    subscription = subscribe(p->acme, "mail", 18); /* another tenant's is another one */
    assert_ok(poly_subscription_next(subscription, 1000, &records, &count, &err));
    assert_int_equal(records[0].position, 19);
    poly_subscription_close(subscription);
}

/* Not while it is open, not another tenant's, and it is new afterwards. */
static void a_name_is_forgotten(void **state)
{
    struct place *p = *state;
    struct poly_subscription *subscription = subscribe(p->session, "mail", 0);
    const struct poly_record *records;
    size_t count;

    for (int i = 0; i < 3; i++)
        assert_ok(lab_append(p->session, "order-1", i, i, NULL, &err));
    assert_int_equal(fixture_head(&p->f), 3);
    poly_subscription_close(subscribe(p->acme, "mail", 0));
    assert_ok(poly_acknowledge(p->acme, "mail", 2, &err));
    assert_ok(poly_subscription_ack(subscription, 3, &err));
    assert_fails(poly_subscription_delete(p->session, "mail", &err), POLY_CONFLICT);
    assert_message("is open");
    poly_subscription_close(subscription);
    assert_ok(poly_subscription_delete(p->session, "mail", &err));
    assert_fails(poly_subscription_delete(p->session, "mail", &err), POLY_NOT_FOUND);
    assert_fails(poly_acknowledge(p->session, "mail", 3, &err), POLY_NOT_FOUND);
    subscription = subscribe(p->session, "mail", 0);
    assert_ok(poly_subscription_next(subscription, 1000, &records, &count, &err));
    assert_int_equal(records[0].position, 1);
    poly_subscription_close(subscription);
    subscription = subscribe(p->acme, "mail", 0);
    assert_ok(poly_subscription_next(subscription, 1000, &records, &count, &err));
    assert_int_equal(records[0].position, 3);
    poly_subscription_close(subscription);
}

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* S4-47: a promise of the contract, with a wide margin for a busy machine. */
static void another_program_reaches_a_subscription(void **state)
{
    struct place *p = *state;
    struct poly_subscription *subscription = subscribe(p->session, NULL, 0);
    const struct poly_record *records;
    size_t count = 0;
    char why[200];

    for (int i = 1; i <= 3; i++) {
        int64_t before = now_ms();

        fixture_foreign(&p->f, "INSERT INTO poly_log(domain, key, type, time, data)"
                               " VALUES ('order', '7', 'Foreign', 1, '{\"x\": 1}')");
        assert_ok(poly_subscription_next(subscription, 5000, &records, &count, &err));
        assert_int_equal(count, 1);
        assert_int_equal(records[0].position, i);
        if (fixture_differs(&p->f, "transaction-number"))
            assert_int_not_equal(records[0].txn, 0);
        else
            assert_int_equal(records[0].txn, 0);
        assert_string_equal(records[0].type.data, "Foreign");
        assert_true(now_ms() - before < 1000);
    }
    poly_subscription_close(subscription);
    assert_int_equal(lab_verify(p->session, why, sizeof(why)), 0);
}

static void *wake_soon(void *arg)
{
    pause_a_little();
    pause_a_little();
    poly_subscription_wake(arg);
    return NULL;
}

static void a_waiting_one_can_be_woken(void **state)
{
    struct place *p = *state;
    struct poly_subscription *subscription = subscribe(p->session, NULL, 0);
    const struct poly_record *records;
    pthread_t thread;
    size_t count = 9;

    assert_int_equal(pthread_create(&thread, NULL, wake_soon, subscription), 0);
    assert_ok(poly_subscription_next(subscription, 60000, &records, &count, &err));
    assert_int_equal(count, 0);
    pthread_join(thread, NULL);
    assert_ok(poly_subscription_next(subscription, 60000, &records, &count, &err));
    assert_int_equal(count, 0);
    poly_subscription_close(subscription);
}

/* --- readers and verification beside writers --- */

static _Atomic bool writing;

static void *read_own_writes(void *arg)
{
    struct worker *worker = arg;
    struct poly_session *session = lab_session(worker->place->instance, NULL);
    char why[300];

    while (atomic_load(&writing) && worker->status == POLY_OK) {
        uint64_t head = poly_log_head(worker->place->instance);
        uint64_t before = lab_stream_version(session, "order-0");

        if (lab_verify(session, why, sizeof(why)) != 0)
            worker->status = poly_fail(&worker->err, POLY_CORRUPT, "%s", why);
        if (lab_stream_version(session, "order-0") < before ||
            poly_log_head(worker->place->instance) < head)
            worker->status = poly_fail(&worker->err, POLY_CORRUPT, "the log went back");
        poly_session_reset(session);
    }
    poly_session_close(session);
    return NULL;
}

static void readers_run_beside_writers(void **state)
{
    struct place *p = *state;
    struct worker workers[WRITERS], readers[2];

    atomic_store(&writing, true);
    start(readers, 2, p, read_own_writes);
    start(workers, WRITERS, p, write_events);
    finish(workers, WRITERS);
    atomic_store(&writing, false);
    finish(readers, 2);
    assert_int_equal(fixture_head(&p->f), WRITERS * EACH);
}

static bool beside; /* interactive transactions run beside others */

/* Short ones that hold the writer, among batches. */
static void *hold_and_write(void *arg)
{
    struct worker *worker = arg;
    struct poly_session *session = lab_session(worker->place->instance, NULL);
    struct poly_txn_options options = {.interactive = true};
    struct poly_event event = {.type = "Placed", .data = poly_json("{}")};

    for (unsigned i = 0; i < 10 && worker->status == POLY_OK; i++) {
        struct poly_txn *txn;

        worker->status = poly_txn_begin(session, &options, &txn, &worker->err);
        if (worker->status != POLY_OK)
            break;
        worker->status = poly_append(txn, "held-1", POLY_ANY, &event, 1, &worker->err);
        if (i % 3 == 2 || worker->status != POLY_OK)
            poly_txn_abort(txn);
        else
            worker->status = poly_txn_commit(txn, NULL, &worker->err);
        if (worker->status == POLY_CONFLICT && beside) { /* told to begin again */
            worker->status = POLY_OK;
            i--;
        }
        poly_session_reset(session);
    }
    poly_session_close(session);
    return NULL;
}

static void holders_and_groups_take_turns(void **state)
{
    struct place *p = *state;
    struct worker workers[4], holders[2];
    char why[300];

    beside = fixture_differs(&p->f, "interactive-transactions");
    start(workers, 4, p, write_events);
    start(holders, 2, p, hold_and_write);
    finish(holders, 2);
    finish(workers, 4);
    assert_int_equal(lab_stream_version(p->session, "held-1"), 14);
    assert_int_equal(fixture_number(&p->f, "SELECT count(*) FROM poly_log"), 4 * EACH + 14);
    assert_int_equal(lab_verify(p->session, why, sizeof(why)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACED(racing_writers_never_overwrite),
        PLACED(a_failing_request_does_not_take_the_group_with_it),
        PLACED(submitted_ones_all_end),
        PLACED(catch_up_and_live_have_no_gap),
        PLACED(a_name_keeps_its_position),
        PLACED(a_name_is_forgotten),
        PLACED(another_program_reaches_a_subscription),
        PLACED(a_waiting_one_can_be_woken),
        PLACED(readers_run_beside_writers),
        PLACED(holders_and_groups_take_turns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
