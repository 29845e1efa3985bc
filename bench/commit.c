/*
 * Durable commits a second: CLIENTS threads, each of which appends one event of
 * 200 bytes in a transaction of its own, again and again.
 *
 *   bench-commit polystore|sqlite CLIENTS SECONDS FOLDER
 *
 * The plain SQLite peer has the log's table and indexes, WAL and synchronous
 * FULL, as ours. Its threads share one connection behind a mutex: that is
 * faster than a connection each, which would wait for each other in sleeps.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "peer.h"
#include "polystore.h"

struct client {
    unsigned number;
    struct poly_instance *instance;
    struct bench_peer *peer;
    unsigned long done;
};

static atomic_bool over;
static pthread_barrier_t start;
static pthread_mutex_t peer_lock = PTHREAD_MUTEX_INITIALIZER;

static void append_one(struct poly_session *session, const char *stream, const char *text)
{
    struct poly_event event = {.type = "Measured", .data = poly_json(text)};
    struct poly_error err;
    struct poly_txn *txn;

    BENCH_OK(poly_txn_begin(session, NULL, &txn, &err));
    BENCH_OK(poly_append(txn, stream, POLY_ANY, &event, 1, &err));
    BENCH_OK(poly_txn_commit(txn, NULL, &err));
    poly_session_reset(session);
}

static void *run_polystore(void *arg)
{
    struct client *client = arg;
    struct poly_session *session;
    struct poly_error err;
    char stream[32], text[BENCH_EVENT];

    snprintf(stream, sizeof(stream), "bench-%u", client->number);
    BENCH_OK(poly_session_open(client->instance, NULL, &session, &err));
    pthread_barrier_wait(&start);
    while (!atomic_load_explicit(&over, memory_order_relaxed)) {
        bench_event(text, client->number, client->done);
        append_one(session, stream, text);
        client->done++;
    }
    poly_session_close(session);
    return NULL;
}

static void *run_sqlite(void *arg)
{
    struct client *client = arg;
    char key[16], text[BENCH_EVENT];

    snprintf(key, sizeof(key), "%u", client->number);
    pthread_barrier_wait(&start);
    while (!atomic_load_explicit(&over, memory_order_relaxed)) {
        bench_event(text, client->number, client->done);
        client->done++;
        pthread_mutex_lock(&peer_lock);
        bench_peer_insert(client->peer, key, (long)client->done, text);
        pthread_mutex_unlock(&peer_lock);
    }
    return NULL;
}

static double measure(struct client *clients, unsigned count, unsigned seconds,
                      void *(*run)(void *))
{
    pthread_t *threads = calloc(count, sizeof(*threads));
    struct timespec length = {.tv_sec = seconds};
    unsigned long done = 0;
    double begin, end;

    if (threads == NULL)
        BENCH_DIE("out of memory");
    pthread_barrier_init(&start, NULL, count + 1);
    for (unsigned i = 0; i < count; i++)
        if (pthread_create(&threads[i], NULL, run, &clients[i]) != 0)
            BENCH_DIE("no thread");
    pthread_barrier_wait(&start);
    begin = bench_now();
    nanosleep(&length, NULL);
    atomic_store(&over, true);
    for (unsigned i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
        done += clients[i].done;
    }
    end = bench_now();
    free(threads);
    return (double)done / (end - begin);
}

int main(int argc, char **argv)
{
    bool ours = argc == 5 && strcmp(argv[1], "polystore") == 0;
    unsigned count = argc == 5 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
    unsigned seconds = argc == 5 ? (unsigned)strtoul(argv[3], NULL, 10) : 0;
    struct client *clients = calloc(count + 1, sizeof(*clients));
    struct poly_instance *instance;
    struct bench_peer *peer = NULL;

    if (count == 0 || seconds == 0 || clients == NULL)
        BENCH_DIE("bench-commit polystore|sqlite CLIENTS SECONDS FOLDER");
    instance = bench_open(argv[4]);
    if (!ours)
        peer = bench_peer_open(argv[4]);
    for (unsigned i = 0; i < count; i++)
        clients[i] = (struct client){.number = i, .instance = instance, .peer = peer};
    printf("%.0f\n", measure(clients, count, seconds, ours ? run_polystore : run_sqlite));
    bench_peer_close(peer);
    poly_close(instance);
    free(clients);
    return 0;
}
