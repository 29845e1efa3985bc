/*
 * Many events at once, and reading them all again: events a second.
 *
 *   bench-log append|read polystore|sqlite EVENTS FOLDER
 *
 * append writes EVENTS in batches of 1,024, each batch one durable transaction.
 * read follows the log from its beginning to its end, and looks at every field.
 */
#include <sqlite3.h>
#include <string.h>

#include "peer.h"
#include "polystore.h"

enum { BATCH = 1024 };

static char texts[BATCH][BENCH_EVENT];

static const char all[] = "SELECT position, txn, tenant, domain, key, version, type, time, data,"
                          " meta FROM poly_log ORDER BY position";

static void fill(unsigned long first)
{
    for (unsigned i = 0; i < BATCH; i++)
        bench_event(texts[i], 0, first + i);
}

static void append_polystore(struct poly_session *session)
{
    static struct poly_event events[BATCH];
    struct poly_error err;
    struct poly_txn *txn;

    for (unsigned i = 0; i < BATCH; i++)
        events[i] = (struct poly_event){.type = "Measured", .data = poly_json(texts[i])};
    BENCH_OK(poly_txn_begin(session, NULL, &txn, &err));
    BENCH_OK(poly_append(txn, "bench-log", POLY_ANY, events, BATCH, &err));
    BENCH_OK(poly_txn_commit(txn, NULL, &err));
    poly_session_reset(session);
}

static void append_sqlite(struct bench_peer *peer, unsigned long first)
{
    bench_peer_begin(peer);
    for (unsigned i = 0; i < BATCH; i++)
        bench_peer_insert(peer, "log", (long)(first + i + 1), texts[i]);
    bench_peer_commit(peer);
}

static double append(struct poly_session *session, struct bench_peer *peer, unsigned long events)
{
    double spent = 0;

    for (unsigned long first = 0; first < events; first += BATCH) {
        fill(first);
        double begin = bench_now();

        if (peer == NULL)
            append_polystore(session);
        else
            append_sqlite(peer, first);
        spent += bench_now() - begin;
    }
    return (double)((events + BATCH - 1) / BATCH * BATCH) / spent;
}

struct sum {
    unsigned long records, bytes;
    uint64_t numbers;
};

static bool add(void *arg, const struct poly_record *record)
{
    struct sum *sum = arg;

    sum->records++;
    sum->numbers += record->position + record->txn + record->version + (uint64_t)record->time;
    sum->bytes += record->tenant.size + record->domain.size + record->key.size +
                  record->type.size + record->data.text.size + record->meta.size;
    return true;
}

static void read_polystore(struct poly_session *session, uint64_t head, struct sum *sum)
{
    struct poly_log_query query = {.limit = 10000};
    struct poly_error err;

    while (query.after < head) {
        BENCH_OK(poly_log_read(session, &query, add, sum, &query.after, &err));
        poly_session_reset(session);
    }
}

static struct poly_text column(sqlite3_stmt *row, int number)
{
    struct poly_text text = {(const char *)sqlite3_column_text(row, number),
                             (size_t)sqlite3_column_bytes(row, number)};
    return text;
}

static void read_sqlite(struct bench_peer *peer, struct sum *sum)
{
    struct poly_record record;
    sqlite3_stmt *row;

    if (sqlite3_prepare_v2(bench_peer_handle(peer), all, -1, &row, NULL) != SQLITE_OK)
        BENCH_DIE("plain SQLite: %s", sqlite3_errmsg(bench_peer_handle(peer)));
    while (sqlite3_step(row) == SQLITE_ROW) {
        record.position = (uint64_t)sqlite3_column_int64(row, 0);
        record.txn = (uint64_t)sqlite3_column_int64(row, 1);
        record.tenant = column(row, 2);
        record.domain = column(row, 3);
        record.key = column(row, 4);
        record.version = (uint64_t)sqlite3_column_int64(row, 5);
        record.type = column(row, 6);
        record.time = sqlite3_column_int64(row, 7);
        record.data.text = column(row, 8);
        record.meta = column(row, 9);
        add(sum, &record);
    }
    sqlite3_finalize(row);
}

static double read_all(struct poly_instance *instance, struct poly_session *session,
                       struct bench_peer *peer, unsigned long events)
{
    struct sum sum = {0};
    double begin = bench_now();

    if (peer == NULL)
        read_polystore(session, poly_log_head(instance), &sum);
    else
        read_sqlite(peer, &sum);
    double spent = bench_now() - begin;

    if (sum.records < events)
        BENCH_DIE("%lu records of %lu were read", sum.records, events);
    return (double)sum.records / spent;
}

int main(int argc, char **argv)
{
    struct poly_session_options admin = {.rights = POLY_RIGHTS_ALL};
    struct poly_instance *instance;
    struct poly_session *session;
    struct bench_peer *peer = NULL;
    struct poly_error err;
    unsigned long events;
    double rate;

    if (argc != 5)
        BENCH_DIE("bench-log append|read polystore|sqlite EVENTS FOLDER");
    events = strtoul(argv[3], NULL, 10);
    instance = bench_open(argv[4]);
    BENCH_OK(poly_session_open(instance, &admin, &session, &err));
    if (strcmp(argv[2], "sqlite") == 0)
        peer = bench_peer_open(argv[4]);
    rate = strcmp(argv[1], "append") == 0 ? append(session, peer, events)
                                          : read_all(instance, session, peer, events);
    printf("%.0f\n", rate);
    bench_peer_close(peer);
    poly_session_close(session);
    poly_close(instance);
    return 0;
}
