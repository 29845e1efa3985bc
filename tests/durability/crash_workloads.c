/* What is killed. Each step's first operation is its event in "step-1": crash.h says why. */
#include <pthread.h>
#include <string.h>

#include "owners/embedded/embedded.h"
#include "core/inside.h"
#include "crash.h"
#include "crash_more.h"

/* --- helpers --- */

static const char indexed[] = "domains:\n"
                              "  step: {stream: step, search: {fields: [text]}}\n"
                              "  other: {stream: other, search: {fields: [text]}}\n";
static const char followed[] = "stores: {search: {driver: embedded, placement: follower}}\n"
                               "domains:\n"
                               "  step: {stream: step, search: {fields: [text]}}\n"
                               "  other: {stream: other, search: {fields: [text]}}\n";

static struct poly_txn *begin(struct crash_run *run, const struct poly_txn_options *options)
{
    struct poly_txn *txn = NULL;

    if (poly_txn_begin(run->session, options, &txn, &run->err) != POLY_OK)
        return NULL;
    return txn;
}

enum poly_status crash_add(struct crash_run *run, struct poly_txn *txn, const char *stream,
                           unsigned step, unsigned count)
{
    static char padding[12000];
    char data[12200];
    struct poly_event event = {.type = "Counted"};
    size_t size = step % 4 == 0 ? 10000 : 20;
    enum poly_status status = POLY_OK;

    memset(padding, 'x', sizeof(padding) - 1);
    for (unsigned i = 0; i < count && status == POLY_OK; i++) {
        snprintf(data, sizeof(data), "{\"n\": %u, \"text\": \"all counted %u\", \"pad\": \"%.*s\"}",
                 step, step, (int)size, padding);
        event.data = poly_json(data);
        status = poly_append(txn, stream, POLY_ANY, &event, 1, &run->err);
    }
    return status;
}

static enum poly_status finish(struct crash_run *run, struct poly_txn *txn, enum poly_status status)
{
    if (status == POLY_OK)
        return poly_txn_commit(txn, NULL, &run->err);
    poly_txn_abort(txn);
    return status;
}

bool crash_stream_is(struct crash_run *run, const char *stream, uint64_t wanted)
{
    uint64_t version = lab_stream_version(run->session, stream);

    if (version == wanted)
        return true;
    return crash_wrong(run, "stream '%s' has version %llu, not %llu", stream,
                       (unsigned long long)version, (unsigned long long)wanted);
}

/* --- single events --- */

static enum poly_status single_step(struct crash_run *run, unsigned number)
{
    struct poly_txn *txn = begin(run, NULL);

    return txn == NULL ? run->err.status
                       : finish(run, txn, crash_add(run, txn, "step-1", number, 1));
}

/* --- several streams in one transaction --- */

static enum poly_status streams_step(struct crash_run *run, unsigned number)
{
    struct poly_txn *txn = begin(run, NULL);
    enum poly_status status;
    char stream[32];

    if (txn == NULL)
        return run->err.status;
    status = crash_add(run, txn, "step-1", number, 1);
    for (unsigned i = 0; i < 3 && status == POLY_OK; i++) {
        snprintf(stream, sizeof(stream), "other-%u", i);
        status = crash_add(run, txn, stream, number, i + 1);
    }
    return finish(run, txn, status);
}

static bool streams_check(struct crash_run *run, uint64_t done)
{
    return crash_stream_is(run, "other-0", done) && crash_stream_is(run, "other-1", done * 2) &&
           crash_stream_is(run, "other-2", done * 3);
}

/* --- interactive --- */

static enum poly_status interactive_step(struct crash_run *run, unsigned number)
{
    struct poly_txn_options options = {.interactive = true};
    struct poly_txn *txn = begin(run, &options);
    enum poly_status status;

    if (txn == NULL)
        return run->err.status;
    status = crash_add(run, txn, "step-1", number, 1);
    if (status == POLY_OK)
        status = crash_add(run, txn, "other-1", number, 2);
    return finish(run, txn, status);
}

static bool interactive_check(struct crash_run *run, uint64_t done)
{
    return crash_stream_is(run, "other-1", done * 2);
}

/* --- idempotency keys --- */

static enum poly_status keyed(struct crash_run *run, unsigned number, bool *replayed)
{
    char key[32];
    struct poly_txn_options options = {.idempotency_key = key};
    struct poly_commit commit = {.position = 0};
    struct poly_txn *txn;
    enum poly_status status;

    snprintf(key, sizeof(key), "key-%u", number);
    txn = begin(run, &options);
    if (txn == NULL)
        return run->err.status;
    status = crash_add(run, txn, "step-1", number, 1);
    if (status != POLY_OK) {
        poly_txn_abort(txn);
        return status;
    }
    status = poly_txn_commit(txn, &commit, &run->err);
    if (status == POLY_OK && (commit.count != 1 || commit.results[0].version != number))
        return poly_fail(&run->err, POLY_INTERNAL, "key %u gave another result", number);
    *replayed = commit.replayed;
    return status;
}

static enum poly_status keyed_step(struct crash_run *run, unsigned number)
{
    bool replayed;

    return keyed(run, number, &replayed);
}

static bool keyed_check(struct crash_run *run, uint64_t done)
{
    bool replayed;

    for (unsigned i = 1; i <= done; i++) {
        if (keyed(run, i, &replayed) != POLY_OK)
            return crash_wrong(run, "replay: %s", run->err.message);
        if (!replayed)
            return crash_wrong(run, "key %u was forgotten, its event is there", i);
    }
    return crash_stream_is(run, "step-1", done);
}

/* --- acknowledgements of a subscription --- */

enum { ACKS = 1 };

static enum poly_status acks_work(struct crash_run *run)
{
    struct poly_subscription_options options = {.name = "reader"};
    struct poly_subscription *subscription;
    enum poly_status status = poly_subscribe(run->session, &options, &subscription, &run->err);

    for (unsigned i = 1; i <= 10 && status == POLY_OK; i++) {
        const struct poly_record *records;
        size_t count = 0;

        status = lab_append(run->session, "step-1", POLY_ANY, i, NULL, &run->err);
        if (status == POLY_OK)
            status = poly_subscription_next(subscription, 5000, &records, &count, &run->err);
        if (status != POLY_OK || count == 0)
            break;
        uint64_t position = records[count - 1].position;

        atomic_store(&run->page->begun[ACKS], position);
        status = poly_subscription_ack(subscription, position, &run->err);
        if (status == POLY_OK)
            atomic_store(&run->page->acked[ACKS], position);
    }
    return status;
}

static bool acks_check(struct crash_run *run, uint64_t done)
{
    int64_t kept = lab_foreign_number(
        run->data,
        "SELECT coalesce(max(position), 0) FROM poly_subscription WHERE name = 'reader'");
    uint64_t position = (uint64_t)kept;

    (void)done;
    if (position < atomic_load(&run->page->acked[ACKS]) ||
        position > atomic_load(&run->page->begun[ACKS]))
        return crash_wrong(run, "position %llu, acknowledged %llu, begun %llu",
                           (unsigned long long)position,
                           (unsigned long long)atomic_load(&run->page->acked[ACKS]),
                           (unsigned long long)atomic_load(&run->page->begun[ACKS]));
    if (position > poly_log_head(run->instance))
        return crash_wrong(run, "acknowledged %llu, beyond the end of the log",
                           (unsigned long long)position);
    return true;
}

/* --- a group of writers --- */

enum { WRITERS = 4, WRITES = 6 };

struct writer {
    struct crash_run *run;
    unsigned number;
    enum poly_status status;
    struct poly_error err;
};

static void *write_some(void *arg)
{
    struct writer *writer = arg;
    struct poly_session *session = lab_session(writer->run->instance, NULL);
    char stream[32];

    snprintf(stream, sizeof(stream), "other-%u", writer->number);
    for (unsigned i = 1; i <= WRITES && writer->status == POLY_OK; i++) {
        atomic_store(&writer->run->page->begun[writer->number], i);
        writer->status = lab_append(session, stream, i - 1, i, NULL, &writer->err);
        if (writer->status == POLY_OK)
            atomic_store(&writer->run->page->acked[writer->number], i);
    }
    poly_session_close(session);
    return NULL;
}

static enum poly_status group_work(struct crash_run *run)
{
    struct writer writers[WRITERS + 1] = {{.run = run}};
    pthread_t threads[WRITERS + 1];
    enum poly_status status = POLY_OK;

    for (unsigned i = 1; i <= WRITERS; i++) {
        writers[i] = (struct writer){.run = run, .number = i};
        if (pthread_create(&threads[i], NULL, write_some, &writers[i]) != 0)
            return poly_fail(&run->err, POLY_INTERNAL, "no thread");
    }
    for (unsigned i = 1; i <= WRITERS; i++) {
        pthread_join(threads[i], NULL);
        if (writers[i].status != POLY_OK) {
            status = writers[i].status;
            run->err = writers[i].err;
        }
    }
    return status;
}

static bool group_check(struct crash_run *run, uint64_t done)
{
    char stream[32];

    (void)done;
    for (unsigned i = 1; i <= WRITERS; i++) {
        uint64_t acked = atomic_load(&run->page->acked[i]);
        uint64_t begun = atomic_load(&run->page->begun[i]), version;

        snprintf(stream, sizeof(stream), "other-%u", i);
        version = lab_stream_version(run->session, stream);
        if (version < acked || version > begun)
            return crash_wrong(run, "writer %u: %llu events, %llu acknowledged, %llu begun", i,
                               (unsigned long long)version, (unsigned long long)acked,
                               (unsigned long long)begun);
    }
    return true;
}

/* --- rebuild --- */

static enum poly_status fill(struct crash_run *run)
{
    enum poly_status status = POLY_OK;
    char stream[32];

    for (unsigned i = 0; i < 40 && status == POLY_OK; i++) {
        snprintf(stream, sizeof(stream), "other-%u", i % 15);
        status = lab_append(run->session, stream, POLY_ANY, i, NULL, &run->err);
    }
    return status;
}

static enum poly_status rebuild_step(struct crash_run *run, unsigned number)
{
    struct poly_rebuild_options start = {.start_only = number % 2 == 1};
    enum poly_status status = single_step(run, number);

    if (status == POLY_OK)
        status = poly_rebuild(run->session, "search", &start, &run->err);
    return status;
}

/* --- retention of change records --- */

static const char retaining[] = "log: {change_retention: 1h}\n"
                                "domains:\n"
                                "  step: {stream: step, search: {fields: [text]}}\n";

static enum poly_status retention_seed(struct crash_run *run)
{
    char why[200];
    int code = lab_foreign_sql(
        run->data,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)"
        " INSERT INTO poly_log(domain, key, type, time, data)"
        " SELECT 'gone', 'k' || (i % 5), '$put', i, '{\"i\": ' || i || '}' FROM n",
        why, sizeof(why));

    return code == 0 ? POLY_OK : poly_fail(&run->err, POLY_INTERNAL, "%s", why);
}

static enum poly_status retention_step(struct crash_run *run, unsigned number)
{
    enum poly_status status = single_step(run, number);

    if (status == POLY_OK && number % 2 == 0)
        poly_embedded_retain(run->instance->owner);
    return status;
}

/* All or none of what was to go: the last one of each key stays. And the gate is shut again. */
static bool retention_check(struct crash_run *run, uint64_t done)
{
    char why[200];
    int64_t left = lab_foreign_number(run->data,
                                      "SELECT count(*) FROM poly_log WHERE domain = 'gone'");

    if (left != 60 && left != 5)
        return crash_wrong(run, "%lld change records are left", (long long)left);
    if (done > 2 && left != 5)
        return crash_wrong(run, "retention has run, and %lld records are left", (long long)left);
    if (lab_foreign_sql(run->data, "DELETE FROM poly_log", why, sizeof(why)) == 0)
        return crash_wrong(run, "the log can be deleted from");
    return true;
}

/* --- a checkpoint: the WAL grows beyond what the writer lets it --- */

static enum poly_status large_step(struct crash_run *run, unsigned number)
{
    static char data[3 << 20];
    struct poly_event event = {.type = "Large"};
    struct poly_txn *txn = begin(run, NULL);
    enum poly_status status;

    if (txn == NULL)
        return run->err.status;
    memset(data, 'x', sizeof(data) - 1);
    data[0] = data[sizeof(data) - 2] = '"';
    event.data = poly_json(data);
    status = crash_add(run, txn, "step-1", number, 1);
    if (status == POLY_OK)
        status = poly_append(txn, "large-1", POLY_ANY, &event, 1, &run->err);
    return finish(run, txn, status);
}

static bool large_check(struct crash_run *run, uint64_t done)
{
    return crash_stream_is(run, "large-1", done);
}

/* --- the list --- */

static const struct crash_workload fresh = {
    .name = "fresh folder", .steps = 3, .from_open = true, .step = single_step};
static const struct crash_workload single = {
    .name = "single events", .steps = 12, .step = single_step};
static const struct crash_workload streams = {
    .name = "several streams", .steps = 8, .step = streams_step, .check = streams_check};
static const struct crash_workload interactive = {
    .name = "interactive", .steps = 8, .step = interactive_step, .check = interactive_check};
static const struct crash_workload keys = {
    .name = "idempotency keys", .steps = 8, .step = keyed_step, .check = keyed_check};
static const struct crash_workload acks = {
    .name = "acknowledgements", .work = acks_work, .check = acks_check};
static const struct crash_workload group = {
    .name = "group of writers", .config = indexed, .work = group_work, .check = group_check};
static const struct crash_workload colocated = {.name = "co-located search",
                                                .config = indexed,
                                                .steps = 8,
                                                .step = streams_step,
                                                .check = streams_check};
static const struct crash_workload follower = {.name = "follower search",
                                               .config = followed,
                                               .steps = 8,
                                               .step = streams_step,
                                               .check = streams_check};
static const struct crash_workload rebuild = {
    .name = "rebuild", .config = indexed, .steps = 4, .seed = fill, .step = rebuild_step};
static const struct crash_workload rebuild_follower = {
    .name = "rebuild of a follower", .config = followed, .steps = 4, .seed = fill,
    .step = rebuild_step};
static const struct crash_workload retention = {.name = "retention",
                                                .config = retaining,
                                                .steps = 4,
                                                .seed = retention_seed,
                                                .step = retention_step,
                                                .check = retention_check};
static const struct crash_workload recovery = {.name = "recovery itself",
                                               .config = indexed,
                                               .steps = 8,
                                               .from_open = true,
                                               .unclean = true,
                                               .step = streams_step,
                                               .check = streams_check};
static const struct crash_workload recovery_follower = {.name = "recovery of a follower",
                                                        .config = followed,
                                                        .steps = 8,
                                                        .from_open = true,
                                                        .unclean = true,
                                                        .step = streams_step,
                                                        .check = streams_check};

static const struct crash_workload checkpoint = {
    .name = "checkpoint", .steps = 7, .step = large_step, .check = large_check};

const struct crash_workload *const crash_workloads[] = {&fresh,
                                                        &single,
                                                        &streams,
                                                        &interactive,
                                                        &keys,
                                                        &acks,
                                                        &group,
                                                        &colocated,
                                                        &follower,
                                                        &rebuild,
                                                        &rebuild_follower,
                                                        &retention,
                                                        &recovery,
                                                        &recovery_follower,
                                                        &checkpoint,
                                                        &crash_records,
                                                        &crash_records_followed,
                                                        &crash_records_recovery,
                                                        &crash_retention,
                                                        &crash_retention_followed,
                                                        &crash_migrations,
                                                        &crash_vectors,
                                                        &crash_vectors_followed,
                                                        &crash_vectors_rebuilt,
                                                        &crash_vectors_recovery,
                                                        &crash_collections,
                                                        &crash_models,
                                                        &crash_models_followed,
                                                        NULL};
