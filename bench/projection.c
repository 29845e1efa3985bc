/*
 * How long after its commit a write can be found in a store that follows:
 * microseconds, median and 99th of a hundred.
 *
 *   bench-projection WRITES_A_SECOND SECONDS FOLDER
 *
 * Writers commit events at an even pace. A reader takes the newest token, searches with it, and so
 * waits for the follower as an application would; what it measures includes the search itself.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#include "common.h"
#include "polystore.h"

enum { WRITERS = 16, SAMPLES = 1000000 };

static const char config[] = "stores:\n"
                             "  search: {placement: follower}\n"
                             "domains:\n"
                             "  bench:\n"
                             "    stream: bench\n"
                             "    search: {fields: [text]}\n";

static struct {
    pthread_mutex_t lock;
    struct poly_token token;
    double committed;
} newest = {.lock = PTHREAD_MUTEX_INITIALIZER};

static atomic_bool over;
static atomic_ulong written;
static struct poly_instance *instance;
static double pause_each;
static double samples[SAMPLES];
static size_t sample_count;

static void publish(const struct poly_commit *commit)
{
    pthread_mutex_lock(&newest.lock);
    newest.token = commit->token;
    newest.committed = bench_now();
    pthread_mutex_unlock(&newest.lock);
}

static void *write_events(void *arg)
{
    unsigned number = *(unsigned *)arg;
    struct poly_session *session;
    struct poly_error err;
    char stream[32], text[BENCH_EVENT];

    snprintf(stream, sizeof(stream), "bench-%u", number);
    BENCH_OK(poly_session_open(instance, NULL, &session, &err));
    double next = bench_now() + pause_each * number / WRITERS;

    for (unsigned long i = 0; !atomic_load(&over); i++) {
        struct poly_event event = {.type = "Measured", .data = poly_json(text)};
        struct poly_commit commit;
        struct poly_txn *txn;

        bench_sleep_until(next);
        next += pause_each;
        bench_event(text, number, i);
        event.data = poly_json(text);
        BENCH_OK(poly_txn_begin(session, NULL, &txn, &err));
        BENCH_OK(poly_append(txn, stream, POLY_ANY, &event, 1, &err));
        BENCH_OK(poly_txn_commit(txn, &commit, &err));
        publish(&commit);
        atomic_fetch_add(&written, 1);
        poly_session_reset(session);
    }
    poly_session_close(session);
    return NULL;
}

static void *read_events(void *arg)
{
    struct poly_search_query query = {.query = "seldom", .limit = 1};
    struct poly_session *session;
    struct poly_error err;
    struct poly_hits hits;
    struct poly_token token;
    double committed;

    (void)arg;
    BENCH_OK(poly_session_open(instance, NULL, &session, &err));
    while (!atomic_load(&over) && sample_count < SAMPLES) {
        pthread_mutex_lock(&newest.lock);
        token = newest.token;
        committed = newest.committed;
        pthread_mutex_unlock(&newest.lock);
        if (token.text[0] != '\0') {
            BENCH_OK(poly_session_after(session, token.text, POLY_WAIT, &err));
            BENCH_OK(poly_search(session, &query, &hits, &err));
            samples[sample_count++] = bench_now() - committed;
            poly_session_reset(session);
        }
        bench_sleep_until(bench_now() + 0.001);
    }
    poly_session_close(session);
    return NULL;
}

static void measure(unsigned seconds)
{
    pthread_t writers[WRITERS], reader;
    unsigned numbers[WRITERS];
    double begin = bench_now();

    for (unsigned i = 0; i < WRITERS; i++) {
        numbers[i] = i;
        if (pthread_create(&writers[i], NULL, write_events, &numbers[i]) != 0)
            BENCH_DIE("no thread");
    }
    if (pthread_create(&reader, NULL, read_events, NULL) != 0)
        BENCH_DIE("no thread");
    bench_sleep_until(begin + seconds);
    atomic_store(&over, true);
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_join(writers[i], NULL);
    double rate = (double)atomic_load(&written) / (bench_now() - begin);

    pthread_join(reader, NULL);
    bench_print_samples(rate, samples, sample_count);
}

int main(int argc, char **argv)
{
    char data[4096];
    struct poly_options options = {.config_text = config, .data = data};
    struct poly_error err;

    if (argc != 4)
        BENCH_DIE("bench-projection WRITES_A_SECOND SECONDS FOLDER");
    pause_each = WRITERS / strtod(argv[1], NULL);
    mkdir(argv[3], 0755);
    snprintf(data, sizeof(data), "%s/data", argv[3]);
    BENCH_OK(poly_open(&options, &instance, &err));
    measure((unsigned)strtoul(argv[2], NULL, 10));
    poly_close(instance);
    return 0;
}
