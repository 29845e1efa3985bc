/*
 * Faults under load (S0-28, S2-09..12, S3-17): writers, subscriptions and an embedded search
 * follower go on while the server, its backends or the network between fail. After each fault:
 * every acknowledged write is there once, a write that failed is not, and every follower has had
 * every record once and in order. Built once for each set of servers (FAULTS); a few rounds, fifty
 * with POLY_TEST_LONG.
 */
#include "test.h"

#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/clock.h"
#include "control.h"
#include "owners/postgresql/postgresql.h"
#include "polystore.h"

enum { WRITERS = 6, FOLLOWERS = 2, MOST = 400000, SECOND = 1000000 };

static char folder[] = "/tmp/polystore-test-XXXXXX";
static char url[1000];
static struct poly_instance *instance;
static bool thorough;

static bool try_order(const char *text)
{
    char said[2000];

    return control_order(said, sizeof(said), "%s", text);
}

static void order(const char *text)
{
    char said[2000];

    if (!control_order(said, sizeof(said), "%s", text))
        fail_msg("%s: %s", text, said);
}

static struct poly_session *session_of(uint32_t deadline_ms)
{
    struct poly_session_options options = {.rights = POLY_RIGHTS_ALL, .deadline_ms = deadline_ms};
    struct poly_session *session;
    struct poly_error err;

    assert_ok(poly_session_open(instance, &options, &session, &err));
    return session;
}

/* --- writers --- */

enum fate { NONE, FAILED, UNKNOWN, ACKNOWLEDGED };

struct writer {
    pthread_t thread;
    int number;
    struct poly_session *session;
    _Atomic unsigned count; /* of writes that were begun */
    _Atomic unsigned acknowledged;
    uint8_t *fate; /* of each write */
    bool wrong;
    char what[600];
};

static struct writer writers[WRITERS];
static _Atomic unsigned refused; /* writes that failed, and are tried again */
static _Atomic bool stop;

static enum poly_status append(struct writer *w, unsigned n, const char *key,
                               struct poly_error *err)
{
    struct poly_txn_options options = {.idempotency_key = key};
    struct poly_event event = {.type = "Happened"};
    char json[100], stream[40];
    struct poly_commit commit;
    struct poly_txn *txn;
    enum poly_status status;

    snprintf(stream, sizeof(stream), "order-w%d", w->number);
    snprintf(json, sizeof(json), "{\"n\":%u,\"text\":\"word number%u\"}", n, n);
    event.data = poly_json(json);
    poly_session_reset(w->session);
    status = poly_txn_begin(w->session, &options, &txn, err);
    if (status == POLY_OK)
        status = poly_append(txn, stream, POLY_ANY, &event, 1, err);
    return status == POLY_OK ? poly_txn_commit(txn, &commit, err) : status;
}

/* With a key as often as it takes; without one until it is done, or nobody knows. */
static enum fate write_one(struct writer *w, unsigned n)
{
    bool keyed = n % 2 == 0;
    char key[40];

    snprintf(key, sizeof(key), "w%d-%u", w->number, n);
    for (;;) {
        struct poly_error err = {.position = -1};
        enum poly_status status = append(w, n, keyed ? key : NULL, &err);

        if (status == POLY_OK)
            return ACKNOWLEDGED;
        if (status != POLY_UNAVAILABLE && status != POLY_TIMEOUT) {
            w->wrong = true;
            snprintf(w->what, sizeof(w->what), "%s: %s", poly_status_name(status), err.message);
            return FAILED;
        }
        if (!keyed && err.unknown)
            return UNKNOWN;
        if (!keyed && atomic_load(&stop))
            return FAILED;
        atomic_fetch_add(&refused, 1);
        usleep(20000);
    }
}

static void *write_on(void *arg)
{
    struct writer *w = arg;

    while (!atomic_load(&stop) && !w->wrong && atomic_load(&w->count) < MOST) {
        unsigned n = atomic_fetch_add(&w->count, 1);

        w->fate[n] = (uint8_t)write_one(w, n);
        if (w->fate[n] == ACKNOWLEDGED)
            atomic_fetch_add(&w->acknowledged, 1);
        usleep(1000);
    }
    return NULL;
}

/* --- followers --- */

struct follower {
    pthread_t thread;
    struct poly_subscription *subscription;
    struct poly_session *session;
    _Atomic unsigned count;
    uint64_t *positions;
    _Atomic bool stop;
};

static struct follower followers[FOLLOWERS];

static void *follow(void *arg)
{
    struct follower *f = arg;

    while (!atomic_load(&f->stop)) {
        const struct poly_record *records;
        struct poly_error err;
        size_t count = 0;

        if (poly_subscription_next(f->subscription, 200, &records, &count, &err) != POLY_OK) {
            usleep(20000); /* the server is away: it is asked again from the same place */
            continue;
        }
        for (size_t i = 0; i < count; i++)
            f->positions[atomic_load(&f->count) + i] = records[i].position;
        atomic_fetch_add(&f->count, (unsigned)count);
    }
    return NULL;
}

/* --- what must hold --- */

static PGresult *select_all(const char *sql)
{
    const char *where = control_url(strcmp(FAULTS, "failover") == 0 ? "POSTGRESQL_STANDBY_URL"
                                                                    : "POSTGRESQL_URL");
    int64_t end = poly_clock_monotonic() + 60 * INT64_C(1000000);
    PGconn *conn = PQconnectdb(where);
    PGresult *result;

    while (PQstatus(conn) != CONNECTION_OK && poly_clock_monotonic() < end) {
        usleep(20000); /* it may still recover */
        PQreset(conn);
    }
    result = PQexec(conn, sql);

    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(conn));
    PQfinish(conn);
    return result;
}

static void check_writer(const struct writer *w)
{
    unsigned count = atomic_load(&w->count), lost = 0, doubled = 0, false_failures = 0;
    uint8_t *seen = calloc(count + 1, 1);
    char sql[200];
    PGresult *rows;

    if (w->wrong)
        fail_msg("writer %d: %s", w->number, w->what);
    snprintf(sql, sizeof(sql), "SELECT data->>'n' FROM poly.log WHERE key = 'w%d'", w->number);
    rows = select_all(sql);
    for (int i = 0; i < PQntuples(rows); i++)
        seen[strtoul(PQgetvalue(rows, i, 0), NULL, 10)]++;
    PQclear(rows);
    for (unsigned n = 0; n < count; n++) {
        lost += w->fate[n] == ACKNOWLEDGED && seen[n] == 0;
        doubled += seen[n] > 1;
        false_failures += w->fate[n] == FAILED && seen[n] > 0;
    }
    free(seen);
    if (lost + doubled + false_failures > 0)
        fail_msg("writer %d: of %u writes %u are lost, %u are there twice, %u were said to have "
                 "failed",
                 w->number, count, lost, doubled, false_failures);
}

static void check_followers(void)
{
    PGresult *rows = select_all("SELECT position FROM poly.log ORDER BY position");
    unsigned wanted = (unsigned)PQntuples(rows);

    for (int f = 0; f < FOLLOWERS; f++) {
        int64_t end = poly_clock_monotonic() + 60 * INT64_C(1000000);

        while (atomic_load(&followers[f].count) < wanted && poly_clock_monotonic() < end)
            usleep(10000);
        assert_int_equal(atomic_load(&followers[f].count), wanted);
        for (unsigned i = 0; i < wanted; i++)
            if (followers[f].positions[i] != strtoull(PQgetvalue(rows, (int)i, 0), NULL, 10))
                fail_msg("follower %d: record %u is %s, not %llu", f, i,
                         PQgetvalue(rows, (int)i, 0),
                         (unsigned long long)followers[f].positions[i]);
    }
    PQclear(rows);
}

/* One document for each event; a doubled one would be an error of its own, or one more. */
static void check_search(void)
{
    PGresult *rows = select_all("SELECT count(*) FROM poly.log");
    uint64_t wanted = strtoull(PQgetvalue(rows, 0, 0), NULL, 10);
    int64_t end = poly_clock_monotonic() + 60 * INT64_C(1000000);
    struct poly_session *session = session_of(20000);
    struct poly_status_report report;
    struct poly_error err;

    PQclear(rows);
    do {
        poly_session_reset(session);
        assert_ok(poly_status_read(session, &report, &err));
        assert_int_equal(report.projection_count, 1);
    } while (report.projections[0].documents < wanted && poly_clock_monotonic() < end &&
             usleep(20000) == 0);
    assert_int_equal(report.projections[0].documents, wanted);
    assert_int_equal(report.projections[0].skipped, 0);
    if (report.projections[0].state != POLY_STATE_OK &&
        report.projections[0].state != POLY_STATE_BEHIND)
        fail_msg("search is %s: %s", poly_state_name(report.projections[0].state),
                 report.projections[0].error.data);
    poly_session_close(session);
}

/* --- a round --- */

static unsigned acknowledged(void)
{
    unsigned sum = 0;

    for (int i = 0; i < WRITERS; i++)
        sum += atomic_load(&writers[i].acknowledged);
    return sum;
}

/* So many more acknowledged writes within the time. */
static void await_writes(unsigned more, int64_t time)
{
    unsigned wanted = acknowledged() + more;
    int64_t end = poly_clock_monotonic() + time;

    while (acknowledged() < wanted) {
        for (int i = 0; i < WRITERS; i++)
            if (writers[i].wrong)
                fail_msg("writer %d: %s", i, writers[i].what);
        if (poly_clock_monotonic() > end)
            fail_msg("writes do not go on: %u of %u", more - (wanted - acknowledged()), more);
        usleep(2000);
    }
}

static void start_writers(void)
{
    atomic_store(&stop, false);
    for (int i = 0; i < WRITERS; i++) {
        writers[i].session = session_of(5000);
        pthread_create(&writers[i].thread, NULL, write_on, &writers[i]);
    }
}

static void stop_writers(void)
{
    atomic_store(&stop, true);
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(writers[i].thread, NULL);
        poly_session_close(writers[i].session);
    }
}

/* --- conditions --- */

static int64_t broken_before;
static unsigned refused_before;

static bool unreachable(void)
{
    return !poly_reachable(instance);
}

static int64_t broken(void)
{
    struct poly_session *session = session_of(5000);
    struct poly_status_report report;
    struct poly_error err;
    int64_t count;

    assert_ok(poly_status_read(session, &report, &err));
    count = report.server->pool.broken;
    poly_session_close(session);
    return count;
}

static bool connections_broke(void)
{
    return broken() > broken_before;
}

static bool writes_were_refused(void)
{
    return atomic_load(&refused) > refused_before;
}

static void await(bool (*met)(void))
{
    int64_t end = poly_clock_monotonic() + 60 * INT64_C(1000000);

    while (!met()) {
        if (poly_clock_monotonic() > end)
            fail_msg("the fault is not noticed");
        usleep(5000);
    }
}

typedef void fault_fn(void);

static void rounds(int count, fault_fn *fault)
{
    start_writers();
    for (int i = 0; i < count; i++) {
        await_writes(WRITERS * 5, 60 * INT64_C(1000000));
        fault();
        await_writes(WRITERS * 5, 60 * INT64_C(1000000));
    }
    stop_writers();
    for (int i = 0; i < WRITERS; i++)
        check_writer(&writers[i]);
    check_followers();
    check_search();
}

/* --- faults --- */

static void kill_server(void)
{
    order("postgresql kill");
    order("postgresql start");
}

static void kill_backend(void)
{
    char text[200], pid[40];

    if (!control_order(pid, sizeof(pid), "postgresql sql %s",
                       "SELECT coalesce(max(pid), 0) FROM pg_stat_activity"
                       " WHERE application_name = 'polystore' AND query LIKE '%poly.append%'"))
        return; /* the last one has not recovered yet */
    snprintf(text, sizeof(text), "postgresql kill-backend %ld", strtol(pid, NULL, 10));
    (void)try_order(text); /* it may have ended by itself */
}

static void end_backends(void)
{
    (void)try_order("postgresql sql SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'polystore'");
}

static void pause_server(void)
{
    order("postgresql pause");
    await(unreachable);
    if (thorough)
        sleep(30);
    order("postgresql resume");
}

static void reset_connections(void)
{
    order("postgresql-proxy reset");
}

static void half_open(void)
{
    order("postgresql-proxy half-open server");
}

static void half_open_client(void)
{
    broken_before = broken();
    order("postgresql-proxy half-open client");
    await(connections_broke);
    order("postgresql-proxy close-all");
}

static void cut_answers(void)
{
    broken_before = broken();
    order("postgresql-proxy cut 3000 to_client");
    await(connections_broke);
    order("postgresql-proxy passes");
}

static void cut_requests(void)
{
    broken_before = broken();
    order("postgresql-proxy cut 3000 to_server");
    await(connections_broke);
    order("postgresql-proxy passes");
}

static void black_hole(void)
{
    order("postgresql-proxy black-hole");
    await(unreachable);
    order("postgresql-proxy passes");
}

static void fill_disk(void)
{
    refused_before = atomic_load(&refused);
    order("postgresql fill-disk");
    await(writes_were_refused);
    order("postgresql free-disk");
}

/* The primary is gone for good; from the promotion on there are ten seconds. */
static void fail_over(void)
{
    order("postgresql kill");
    await(unreachable);
    order("postgresql-standby promote");
    await_writes(1, 10 * INT64_C(1000000));
}

/* --- the tests --- */

static void server_is_killed(void **state)
{
    (void)state;
    rounds(thorough ? 50 : 3, kill_server);
}

static void backend_is_killed(void **state)
{
    (void)state;
    rounds(thorough ? 50 : 3, kill_backend);
}

static void backends_are_ended(void **state)
{
    (void)state;
    rounds(thorough ? 50 : 5, end_backends);
}

static void server_is_paused(void **state)
{
    (void)state;
    rounds(thorough ? 3 : 1, pause_server);
}

static void network_fails(void **state)
{
    static fault_fn *const faults[] = {reset_connections, half_open,    half_open_client,
                                       cut_answers,       cut_requests, black_hole};

    (void)state;
    for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++)
        rounds(thorough ? 20 : 2, faults[i]);
}

static void disk_is_full(void **state)
{
    (void)state;
    rounds(thorough ? 10 : 2, fill_disk);
}

static void standby_is_promoted(void **state)
{
    (void)state;
    rounds(1, fail_over);
}

static int setup(void **state)
{
    char config[2000], data[100];
    struct poly_options options = {.data = data, .config_text = config};
    struct poly_error err;

    (void)state;
    atomic_store(&poly_control_patience, 2 * SECOND);
    snprintf(data, sizeof(data), "%s/data", folder);
    snprintf(config, sizeof(config),
             "stores: {relational: {driver: postgresql, url: '%s'}}\n"
             "domains:\n  orders: {stream: order, search: {fields: [text]}}\n",
             url);
    assert_ok(poly_open(&options, &instance, &err));
    for (int i = 0; i < WRITERS; i++) {
        writers[i].number = i;
        writers[i].fate = calloc(MOST, 1);
    }
    for (int i = 0; i < FOLLOWERS; i++) {
        struct poly_subscription_options from_start = {.after = 0};
        struct follower *f = &followers[i];

        f->positions = calloc((size_t)MOST * WRITERS, sizeof(*f->positions));
        f->session = session_of(20000);
        assert_ok(poly_subscribe(f->session, &from_start, &f->subscription, &err));
        pthread_create(&f->thread, NULL, follow, f);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < FOLLOWERS; i++) {
        atomic_store(&followers[i].stop, true);
        pthread_join(followers[i].thread, NULL);
        poly_subscription_close(followers[i].subscription);
        poly_session_close(followers[i].session);
        free(followers[i].positions);
    }
    for (int i = 0; i < WRITERS; i++)
        free(writers[i].fate);
    poly_close(instance);
    return 0;
}

int main(void)
{
    const struct CMUnitTest faults[] = {
        cmocka_unit_test(server_is_killed), cmocka_unit_test(backend_is_killed),
        cmocka_unit_test(backends_are_ended), cmocka_unit_test(server_is_paused),
        cmocka_unit_test(network_fails)};
    const struct CMUnitTest disk[] = {cmocka_unit_test(disk_is_full)};
    const struct CMUnitTest failover[] = {cmocka_unit_test(standby_is_promoted)};
    const char *name = strcmp(FAULTS, "faults") == 0 ? "POSTGRESQL_PROXY_URL"
                       : strcmp(FAULTS, "disk") == 0 ? "POSTGRESQL_URL"
                                                     : "POSTGRESQL_HOSTS_URL";

    thorough = getenv("POLY_TEST_LONG") != NULL;
    if (control_url(name) == NULL || mkdtemp(folder) == NULL) {
        printf("skipped: PostgreSQL (POLY_TEST_%s is not set)\n", name);
        return 77;
    }
    snprintf(url, sizeof(url), "%s%s", control_url(name),
             strcmp(FAULTS, "failover") == 0 ? "?target_session_attrs=read-write" : "");
    if (strcmp(FAULTS, "faults") == 0)
        return cmocka_run_group_tests(faults, setup, teardown);
    if (strcmp(FAULTS, "disk") == 0)
        return cmocka_run_group_tests(disk, setup, teardown);
    return cmocka_run_group_tests(failover, setup, teardown);
}
