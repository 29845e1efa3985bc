/*
 * A disk that is full, and one that fails: the log refuses clearly, goes on
 * reading, and loses nothing that it acknowledged. A full disk passes; after a
 * failed sync nobody can know what is on the disk, so the log stops for good.
 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lab.h"
#include "vfs_fault.h"

static struct poly_error err;

static const char colocated[] = "domains: {step: {stream: step, search: {fields: [text]}}}\n";
static const char follower[] =
    "stores: {search: {driver: embedded, placement: follower}}\n"
    "domains: {step: {stream: step, search: {fields: [text]}}}\n";
static const char *const configs[] = {NULL, colocated, follower};

struct place {
    char data[LAB_PATH];
    const char *config;
    struct poly_instance *instance;
    struct poly_session *session;
    int64_t acked; /* events in step-1 that must be there; their number is their version */
};

static void open_place(struct place *p, const char *config)
{
    p->config = config;
    p->instance = lab_open(p->data, config);
    p->session = lab_session(p->instance, NULL);
}

static void begin_place(struct place *p, const char *config)
{
    fault_disarm();
    memset(p, 0, sizeof(*p));
    lab_folder_make(p->data);
    open_place(p, config);
}

static void close_place(struct place *p)
{
    poly_session_close(p->session);
    poly_close(p->instance);
}

static void end_place(struct place *p)
{
    close_place(p);
    lab_folder_remove(p->data);
}

static enum poly_status write_one(struct place *p)
{
    enum poly_status status =
        lab_append(p->session, "step-1", p->acked, p->acked + 1, NULL, &err);

    p->acked += status == POLY_OK;
    poly_session_reset(p->session);
    return status;
}

/* Reads give exactly what was acknowledged. */
static void reads_go_on(struct place *p)
{
    struct poly_stream_query query = {.stream = "step-1", .limit = 10000};
    struct poly_records records;

    assert_ok(poly_stream_read(p->session, &query, &records, &err));
    assert_int_equal(records.version, p->acked);
    assert_int_equal(records.count, p->acked);
    poly_session_reset(p->session);
}

static void all_is_well(struct place *p)
{
    char why[300];

    reads_go_on(p);
    if (lab_verify(p->session, why, sizeof(why)) != 0 ||
        !lab_settled(p->session, why, sizeof(why)))
        fail_msg("%s", why);
}

/* --- full --- */

static void assert_refusing(struct place *p, bool refusing)
{
    struct poly_status_report report;

    assert_ok(poly_status_read(p->session, &report, &err));
    assert_int_equal(report.writes_refused, refusing);
    if (refusing)
        assert_int_equal(report.state, POLY_STATE_RETRYING);
    poly_session_reset(p->session);
}

static void full_at(const char *config, uint64_t at, bool once)
{
    struct place p;
    unsigned refused = 0;

    begin_place(&p, config);
    for (int i = 0; i < 3; i++)
        assert_ok(write_one(&p));
    fault_arm(&(struct fault_plan){.fault = FAULT_FULL, .at = at, .once = once});
    for (int i = 0; i < 12; i++) {
        enum poly_status status = write_one(&p);

        if (status != POLY_OK) {
            refused++;
            assert_int_equal(status, POLY_UNAVAILABLE);
            assert_message("disk is full");
        }
        assert_refusing(&p, status != POLY_OK);
        reads_go_on(&p);
    }
    if (!once)
        assert_true(refused > 0);
    fault_disarm();
    assert_ok(write_one(&p));
    assert_refusing(&p, false);
    all_is_well(&p);
    close_place(&p);
    open_place(&p, config);
    all_is_well(&p);
    end_place(&p);
}

static void a_full_disk_is_refused_and_passes(void **state)
{
    (void)state;
    for (size_t c = 0; c < 3; c++) {
        for (uint64_t at = 1; at <= 12; at++) {
            full_at(configs[c], at, true);
            full_at(configs[c], at, false);
        }
    }
}

/* A transaction larger than SQLite's cache meets the full disk before its commit. */
static void a_large_transaction_meets_a_full_disk(void **state)
{
    static char data[9 << 20];
    struct poly_event event = {.type = "Large"};
    struct poly_txn *txn;
    struct place p;

    (void)state;
    memset(data, 'x', sizeof(data) - 1);
    data[0] = data[sizeof(data) - 2] = '"';
    event.data = poly_json(data);
    begin_place(&p, colocated);
    assert_ok(write_one(&p));
    for (uint64_t at = 1; at < 200; at += 60) {
        fault_arm(&(struct fault_plan){.fault = FAULT_FULL, .at = at});
        assert_ok(poly_txn_begin(p.session, NULL, &txn, &err));
        for (int i = 0; i < 3; i++)
            assert_ok(poly_append(txn, "other-1", POLY_ANY, &event, 1, &err));
        assert_fails(poly_txn_commit(txn, NULL, &err), POLY_UNAVAILABLE);
        assert_message("disk is full");
        reads_go_on(&p);
        fault_disarm();
        assert_ok(write_one(&p));
        assert_int_equal(lab_stream_version(p.session, "other-1"), 0);
    }
    all_is_well(&p);
    end_place(&p);
}

/* A follower without space stays behind, says so, and the log goes on. */
static void a_follower_waits_for_space(void **state)
{
    struct poly_status_report report;
    struct place p;
    bool retrying = false;

    (void)state;
    begin_place(&p, follower);
    assert_ok(write_one(&p));
    all_is_well(&p);
    fault_arm(&(struct fault_plan){.fault = FAULT_FULL, .at = 1, .only = "search"});
    for (int i = 0; i < 5; i++)
        assert_ok(write_one(&p));
    for (int i = 0; i < 2000 && !retrying; i++) {
        assert_ok(poly_status_read(p.session, &report, &err));
        assert_int_equal(report.projection_count, 1);
        retrying = report.projections[0].state == POLY_STATE_RETRYING;
        assert_int_not_equal(report.projections[0].state, POLY_STATE_OK);
        assert_int_not_equal(report.projections[0].state, POLY_STATE_STOPPED);
        if (retrying)
            assert_non_null(strstr(report.projections[0].error.data, "disk is full"));
        poly_session_reset(p.session);
        usleep(1000);
    }
    assert_true(retrying);
    fault_disarm();
    all_is_well(&p);
    end_place(&p);
}

/* --- a follower's position --- */

/* The generation that serves, and where it is. */
static uint64_t generation(struct place *p)
{
    struct poly_status_report report;
    uint64_t number;

    assert_ok(poly_status_read(p->session, &report, &err));
    assert_int_equal(report.projection_count, 1);
    number = report.projections[0].generation;
    poly_session_reset(p->session);
    return number;
}

/* One that could keep nothing, not even a position, is behind, and goes on from the beginning. */
static void at_the_beginning(const char *stream)
{
    struct place p;

    begin_place(&p, follower);
    assert_int_equal(generation(&p), 1);
    fault_arm(&(struct fault_plan){.fault = FAULT_FULL, .at = 1, .only = "search"});
    for (int i = 0; i < 3; i++)
        assert_ok(lab_append(p.session, stream, i, i, NULL, &err));
    close_place(&p);
    fault_disarm();
    open_place(&p, follower);
    assert_int_equal(generation(&p), 1);
    p.acked = (int64_t)lab_stream_version(p.session, "step-1");
    all_is_well(&p);
    assert_int_equal(generation(&p), 1);
    end_place(&p);
}

static void a_follower_at_the_beginning_is_not_lost(void **state)
{
    (void)state;
    at_the_beginning("step-1");
    at_the_beginning("other-1"); /* nothing of interest */
}

/* The control: one whose file was thrown away must not serve what is left, which is nothing. */
static void a_follower_whose_file_is_gone_is_filled_anew(void **state)
{
    static const char *const files[] = {"search.db", "search.db-wal", "search.db-shm"};
    char path[LAB_PATH + 32], why[300];
    struct place p;

    (void)state;
    begin_place(&p, follower);
    for (int i = 0; i < 3; i++)
        assert_ok(write_one(&p));
    all_is_well(&p);
    close_place(&p);
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s/%s", p.data, files[i]);
        assert_true(unlink(path) == 0 || i > 0);
    }
    open_place(&p, follower);
    assert_int_not_equal(generation(&p), 1);
    assert_true(lab_settled(p.session, why, sizeof(why)));
    assert_int_equal(generation(&p), 2);
    end_place(&p);
}

/* --- failing --- */

static void fail_at(const char *config, enum fault fault, uint64_t at, bool once)
{
    struct poly_status_report report;
    struct place p;
    bool failed = false;

    begin_place(&p, config);
    for (int i = 0; i < 3; i++)
        assert_ok(write_one(&p));
    fault_arm(&(struct fault_plan){
        .fault = fault, .at = at, .once = once, .only = "polystore.db-wal"});
    for (int i = 0; i < 12; i++) {
        enum poly_status status = write_one(&p);

        assert_true(status == POLY_OK || status == POLY_UNAVAILABLE);
        if (failed) { /* nothing is tried again, though the disk would do it */
            assert_int_equal(status, POLY_UNAVAILABLE);
            assert_message("cannot be written any more");
            assert_message("restart");
        }
        failed |= status != POLY_OK;
        reads_go_on(&p);
    }
    /* Writing zeros ahead of the log may fail without harm. */
    assert_true(failed || (once && fault == FAULT_WRITE));
    if (!failed) {
        fault_disarm();
        end_place(&p);
        return;
    }
    assert_ok(poly_status_read(p.session, &report, &err));
    assert_int_equal(report.state, POLY_STATE_FAILED);
    assert_true(report.last_error.size > 0);
    fault_disarm();
    assert_fails(write_one(&p), POLY_UNAVAILABLE);
    close_place(&p);

    /* What was not acknowledged may be there or not: whole either way. */
    open_place(&p, config);
    uint64_t version = lab_stream_version(p.session, "step-1");

    assert_in_range(version, (uint64_t)p.acked, (uint64_t)p.acked + 1);
    p.acked = (int64_t)version;
    assert_ok(write_one(&p));
    all_is_well(&p);
    end_place(&p);
}

/* S2-29 */
static void a_failed_sync_stops_the_log(void **state)
{
    (void)state;
    for (size_t c = 0; c < 3; c++) {
        for (uint64_t at = 1; at <= 6; at++) {
            fail_at(configs[c], FAULT_SYNC, at, true);
            fail_at(configs[c], FAULT_SYNC, at, false);
        }
    }
}

static void a_failed_write_stops_the_log(void **state)
{
    (void)state;
    for (size_t c = 0; c < 3; c++) {
        for (uint64_t at = 1; at <= 8; at++) {
            fail_at(configs[c], FAULT_WRITE, at, true);
            fail_at(configs[c], FAULT_WRITE, at, false);
        }
    }
}

/* Opening on a disk that fails says so, and leaves a folder that opens. */
static void opening_on_a_bad_disk_says_so(void **state)
{
    static const enum fault faults[] = {FAULT_FULL, FAULT_WRITE, FAULT_SYNC};
    unsigned refused = 0;

    (void)state;
    for (size_t f = 0; f < 3; f++) {
        for (uint64_t at = 1; at <= 30; at++) {
            struct place p = {.acked = 0};
            struct poly_instance *instance = NULL;
            enum poly_status status;

            lab_folder_make(p.data);
            fault_arm(&(struct fault_plan){.fault = faults[f], .at = at});
            status = lab_try_open(p.data, colocated, &instance, &err);
            if (status != POLY_OK) {
                refused++;
                assert_int_equal(status, POLY_UNAVAILABLE);
                assert_true(err.message[0] != '\0');
            }
            poly_close(instance);
            fault_disarm();
            open_place(&p, colocated);
            assert_ok(write_one(&p));
            all_is_well(&p);
            end_place(&p);
        }
    }
    assert_true(refused > 10);
}

/* --- a real one --- */

/* Takes all that is left of it. */
static void fill_up(const char *path)
{
    static char bytes[4096];
    int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    while (write(file, bytes, sizeof(bytes)) > 0) {
    }
    close(file);
}

static void a_real_full_disk(void **state)
{
    char folder[LAB_PATH], filler[LAB_PATH + 16];
    struct place p = {.acked = 0};
    unsigned refused = 0;

    (void)state;
    lab_folder_make(folder);
    if (mount("tmpfs", folder, "tmpfs", 0, "size=4m") != 0) {
        print_message("skipped: tmpfs (%s)\n", strerror(errno));
        rmdir(folder);
        skip();
    }
    snprintf(p.data, sizeof(p.data), "%.240s/data", folder);
    snprintf(filler, sizeof(filler), "%s/filler", folder);
    open_place(&p, colocated);
    for (int i = 0; i < 3; i++)
        assert_ok(write_one(&p));
    fill_up(filler);
    for (int i = 0; i < 200; i++) {
        enum poly_status status = write_one(&p);

        if (status != POLY_OK) {
            refused++;
            assert_int_equal(status, POLY_UNAVAILABLE);
            assert_message("disk is full");
        }
    }
    assert_true(refused > 0);
    reads_go_on(&p);
    assert_int_equal(unlink(filler), 0);
    assert_ok(write_one(&p));
    all_is_well(&p);
    close_place(&p);
    assert_int_equal(umount(folder), 0);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_disk_is_refused_and_passes),
        cmocka_unit_test(a_large_transaction_meets_a_full_disk),
        cmocka_unit_test(a_follower_waits_for_space),
        cmocka_unit_test(a_follower_at_the_beginning_is_not_lost),
        cmocka_unit_test(a_follower_whose_file_is_gone_is_filled_anew),
        cmocka_unit_test(a_failed_sync_stops_the_log),
        cmocka_unit_test(a_failed_write_stops_the_log),
        cmocka_unit_test(opening_on_a_bad_disk_says_so),
        cmocka_unit_test(a_real_full_disk),
    };

    fault_install();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
