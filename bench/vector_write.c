/*
 * Writing records that hold a vector, each of them durable when it is acknowledged.
 *
 *   bench-vector-write single THREADS SECONDS SET    a record a transaction: prints records a
 * second bench-vector-write bulk SECONDS SET              1,000 records a transaction until COUNT
 * are there, then until all are linked: prints records a second of both; SECONDS bounds the second
 *   bench-vector-write beside RATE SECONDS SET       searches of one thread with COUNT vectors
 * there, first alone, then beside one writer at that rate: prints p50 and p99 of both in
 *       microseconds, and the rate that was reached
 *
 * SET is FOLDER VECTORS DIMENSIONS COUNT: where to put data, and a set of bench/vector_data.c.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#include "common.h"
#include "polystore.h"
#include "vector_side.h"

enum { BULK = 1000, SAMPLES = 4000000, LINKED_LOOK_MS = 20 };

static const char config[] =
    "domains:\n"
    "  items:\n"
    "    table: items\n"
    "    tenant: none\n"
    "    vector: {field: v, dimensions: %u, m: 16, ef_construction: 200}\n";
static const char table[] = "CREATE TABLE items(id INTEGER PRIMARY KEY, v BLOB);\n";

static struct {
    struct poly_instance *instance;
    const float *base, *queries;
    unsigned dimensions, count, available, query_count;
} set;

static struct {
    pthread_t thread;
    unsigned number, step; /* of the first record, and from one to the next */
    double pause;          /* between two of them; 0: none */
    unsigned long done;
} writers[256];

static atomic_bool over;

static struct poly_session *session_open(void)
{
    static const struct poly_session_options all = {.rights = POLY_RIGHTS_ALL};
    struct poly_session *session;
    struct poly_error err;

    BENCH_OK(poly_session_open(set.instance, &all, &session, &err));
    return session;
}

static void put(struct poly_txn *txn, unsigned number)
{
    const float *vector = set.base + (size_t)(number % set.available) * set.dimensions;
    struct poly_field field = {
        "v",
        {.type = POLY_BYTES, .text = {(const char *)vector, set.dimensions * sizeof(*vector)}}};
    struct poly_row row = {&field, 1};
    struct poly_error err;
    char key[16];

    snprintf(key, sizeof(key), "%u", number);
    BENCH_OK(poly_put(txn, "items", key, &row, POLY_ANY, &err));
}

/* One transaction with the records first, first + 1, … */
static void write_records(struct poly_session *session, unsigned first, unsigned count)
{
    struct poly_error err;
    struct poly_txn *txn;

    BENCH_OK(poly_txn_begin(session, NULL, &txn, &err));
    for (unsigned i = 0; i < count; i++)
        put(txn, first + i);
    BENCH_OK(poly_txn_commit(txn, NULL, &err));
    poly_session_reset(session);
}

static void *write_on(void *arg)
{
    unsigned me = *(unsigned *)arg;
    struct poly_session *session = session_open();
    double next = bench_now();

    while (!atomic_load_explicit(&over, memory_order_relaxed)) {
        write_records(session, writers[me].number, 1);
        writers[me].number += writers[me].step;
        writers[me].done++;
        next += writers[me].pause;
        if (writers[me].pause > 0)
            bench_sleep_until(next);
    }
    poly_session_close(session);
    return NULL;
}

/* So many threads from record `first` on, until `wait` has returned. Records a second. */
static double write_beside(unsigned threads, unsigned first, double rate, void (*wait)(double),
                           double seconds)
{
    unsigned numbers[256];
    unsigned long done = 0;
    double begin;

    atomic_store(&over, false);
    begin = bench_now();
    for (unsigned i = 0; i < threads; i++) {
        numbers[i] = i;
        writers[i].number = first + i;
        writers[i].step = threads;
        writers[i].pause = rate > 0 ? threads / rate : 0;
        writers[i].done = 0;
        if (pthread_create(&writers[i].thread, NULL, write_on, &numbers[i]) != 0)
            BENCH_DIE("no thread");
    }
    wait(seconds);
    atomic_store(&over, true);
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(writers[i].thread, NULL);
        done += writers[i].done;
    }
    return (double)done / (bench_now() - begin);
}

static void wait_for(double seconds)
{
    bench_sleep_until(bench_now() + seconds);
}

static void single(unsigned threads, double seconds)
{
    if (threads == 0 || threads > 256)
        BENCH_DIE("1 to 256 threads");
    printf("%.0f\n", write_beside(threads, 0, 0, wait_for, seconds));
}

static void fill(void)
{
    struct poly_session *session = session_open();

    for (unsigned first = 0; first < set.count; first += BULK)
        write_records(session, first, set.count - first < BULK ? set.count - first : BULK);
    poly_session_close(session);
}

static uint64_t linked(struct poly_session *session)
{
    const struct poly_vector_stats *stats;
    struct poly_error err;
    size_t count;
    uint64_t number;

    BENCH_OK(poly_vector_stats(session, &stats, &count, &err));
    number = stats->linked;
    poly_session_reset(session);
    return number;
}

static void wait_linked(double seconds)
{
    struct poly_session *session = session_open();
    double end = bench_now() + seconds;

    while (linked(session) < set.count) {
        if (bench_now() > end)
            BENCH_DIE("only %llu vectors are linked", (unsigned long long)linked(session));
        bench_sleep_until(bench_now() + LINKED_LOOK_MS / 1e3);
    }
    poly_session_close(session);
}

static void bulk(double seconds)
{
    double begin = bench_now(), filled;

    fill();
    filled = bench_now() - begin;
    wait_linked(seconds);
    printf("%.0f %.0f\n", set.count / filled, set.count / (bench_now() - begin));
}

static double samples[SAMPLES];

/* Searches for so long; *p50 and *p99 of what they took, in microseconds. */
static void search(double seconds, double *p50, double *p99)
{
    static const char *const domains[] = {"items", NULL};
    struct poly_vector_query query = {.domains = domains, .dimensions = set.dimensions};
    struct poly_session *session = session_open();
    struct poly_matches matches;
    struct poly_error err;
    double end = bench_now() + seconds;
    size_t count = 0;

    while (bench_now() < end && count < SAMPLES) {
        double begin = bench_now();

        query.vector = set.queries + count % set.query_count * set.dimensions;
        BENCH_OK(poly_vector_search(session, &query, &matches, &err));
        samples[count++] = bench_now() - begin;
        poly_session_reset(session);
    }
    poly_session_close(session);
    qsort(samples, count, sizeof(*samples), bench_compare);
    *p50 = samples[count / 2] * 1e6;
    *p99 = samples[count * 99 / 100] * 1e6;
}

static double besides[2];

static void search_beside(double seconds)
{
    search(seconds, &besides[0], &besides[1]);
}

static void beside(double rate, double seconds)
{
    double p50, p99, reached;

    fill();
    wait_linked(600);
    search(1, &p50, &p99);
    search(seconds, &p50, &p99);
    reached = write_beside(1, set.count, rate, search_beside, seconds);
    printf("%.1f %.1f %.1f %.1f %.0f\n", p50, p99, besides[0], besides[1], reached);
}

static void open_instance(const char *folder)
{
    char data[4096], path[4200], text[512];
    struct poly_options options = {.config_text = text, .data = data};
    struct poly_migrations migrations;
    struct poly_session *session;
    struct poly_error err;
    FILE *file;

    snprintf(text, sizeof(text), config, set.dimensions);
    snprintf(data, sizeof(data), "%s/data", folder);
    mkdir(folder, 0755);
    BENCH_OK(poly_open(&options, &set.instance, &err));
    snprintf(data, sizeof(data), "%s/migrations", folder);
    mkdir(data, 0755);
    snprintf(path, sizeof(path), "%s/0001_items.sql", data);
    file = fopen(path, "w");
    if (file == NULL || fputs(table, file) < 0 || fclose(file) != 0)
        BENCH_DIE("%s: cannot be written", path);
    session = session_open();
    BENCH_OK(poly_migrate_up(session, data, &migrations, &err));
    poly_session_close(session);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int words;
    } modes[] = {{"single", 8}, {"bulk", 7}, {"beside", 8}};
    int mode = 0;
    size_t bytes;

    while (mode < 3 && (argc < 2 || strcmp(argv[1], modes[mode].name) != 0))
        mode++;
    if (mode == 3 || argc != modes[mode].words)
        BENCH_DIE("see the top of bench/vector_write.c");
    set.dimensions = (unsigned)strtoul(argv[argc - 2], NULL, 10);
    set.count = (unsigned)strtoul(argv[argc - 1], NULL, 10);
    set.base = vector_map(argv[argc - 3], "base.f32", &bytes);
    set.available = (unsigned)(bytes / sizeof(float) / set.dimensions);
    set.queries = vector_map(argv[argc - 3], "queries.f32", &bytes);
    set.query_count = (unsigned)(bytes / sizeof(float) / set.dimensions);
    open_instance(argv[argc - 4]);
    if (mode == 0)
        single((unsigned)strtoul(argv[2], NULL, 10), strtod(argv[3], NULL));
    else if (mode == 1)
        bulk(strtod(argv[2], NULL));
    else
        beside(strtod(argv[2], NULL), strtod(argv[3], NULL));
    poly_close(set.instance);
    return 0;
}
