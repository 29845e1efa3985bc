/*
 * Writes of a record with its record in the log, each a transaction of its own:
 * us, and the two inserts of it by hand over libpq, into tables with the same
 * columns and indexes. By hand they go in one round trip ("pipeline"), or one at
 * a time, as most programs do it ("hand").
 *
 *   bench-postgresql-write ours|pipeline|hand CLIENTS SECONDS FOLDER URL     writes a second
 */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "stranger.h"

static const char prepare_text[] =
    "SET client_min_messages = warning;"
    "CREATE TABLE IF NOT EXISTS items(id text PRIMARY KEY, name text, price double precision,"
    " stock bigint, note text);"
    "CREATE TABLE IF NOT EXISTS hand_items(LIKE items INCLUDING ALL);"
    "CREATE TABLE IF NOT EXISTS hand_log("
    " position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    " txn bigint NOT NULL DEFAULT (pg_current_xact_id()::text::bigint),"
    " tenant text COLLATE \"C\" NOT NULL, domain text COLLATE \"C\" NOT NULL,"
    " key text COLLATE \"C\" NOT NULL, version bigint, type text COLLATE \"C\" NOT NULL,"
    " time bigint NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,"
    " data json, bytes bytea, meta text,"
    " salt bytea NOT NULL DEFAULT uuid_send(gen_random_uuid()));"
    "CREATE UNIQUE INDEX IF NOT EXISTS hand_stream ON hand_log(key, domain, tenant, version)"
    " WHERE version IS NOT NULL;"
    "CREATE INDEX IF NOT EXISTS hand_record ON hand_log(key, domain, tenant, position)"
    " WHERE version IS NULL;"
    "CREATE INDEX IF NOT EXISTS hand_domain ON hand_log(domain, position);"
    "CREATE INDEX IF NOT EXISTS hand_type ON hand_log(type, position);";
static const char insert_item[] =
    "INSERT INTO hand_items(id, name, price, stock, note) VALUES ($1, $2, $3, $4, $5)";
static const char insert_log[] =
    "INSERT INTO hand_log(tenant, domain, key, type, data) VALUES ('', 'items', $1, '$put', $2)"
    " RETURNING position";
static const char note[] = "kept beside the window, away from the light of the sun";

static atomic_bool over;
static unsigned long run_number; /* keys of each run are new ones */

struct client {
    unsigned number;
    unsigned long done;
    struct poly_session *session;
    PGconn *conn;
    bool pipeline;
};

static void make_key(const struct client *client, char key[48])
{
    snprintf(key, 48, "item-%lu-%u-%lu", run_number, client->number, client->done);
}

static void write_ours(struct client *client)
{
    struct poly_commit commit;
    struct poly_error err;
    struct poly_txn *txn;
    char key[48];

    make_key(client, key);
    struct poly_field fields[] = {{"name", poly_str("Item number one")},
                                  {"price", poly_float((double)client->done * 0.25)},
                                  {"stock", poly_int((int64_t)(client->done % 1000))},
                                  {"note", poly_str(note)}};
    struct poly_row row = {fields, 4};

    BENCH_OK(poly_txn_begin(client->session, NULL, &txn, &err));
    BENCH_OK(poly_put(txn, "items", key, &row, POLY_ANY, &err));
    BENCH_OK(poly_txn_commit(txn, &commit, &err));
    poly_session_reset(client->session);
}

/* --- by hand --- */

static void send(struct client *client, const char *name, int count, const char *const *values)
{
    must(client->conn, PQsendQueryPrepared(client->conn, name, count, values, NULL, NULL, 0));
}

/* The results of so many statements, each followed by NULL. */
static void receive(struct client *client, int statements)
{
    for (int i = 0; i < statements; i++) {
        PGresult *result;

        while ((result = PQgetResult(client->conn)) != NULL) {
            ExecStatusType status = PQresultStatus(result);

            PQclear(result);
            must(client->conn, status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK);
        }
    }
}

static void step(struct client *client, const char *name, int count, const char *const *values)
{
    send(client, name, count, values);
    if (!client->pipeline)
        receive(client, 1);
}

static void write_by_hand(struct client *client)
{
    char key[48], price[32], stock[32], data[400];

    make_key(client, key);
    snprintf(price, sizeof(price), "%g", (double)client->done * 0.25);
    snprintf(stock, sizeof(stock), "%lu", client->done % 1000);
    snprintf(data, sizeof(data),
             "{\"id\":\"%s\",\"name\":\"Item number one\",\"price\":%s,\"stock\":%s,"
             "\"note\":\"%s\"}",
             key, price, stock, note);
    step(client, "begin", 0, NULL);
    step(client, "item", 5, (const char *const[]){key, "Item number one", price, stock, note});
    step(client, "log", 2, (const char *const[]){key, data});
    step(client, "commit", 0, NULL);
    if (client->pipeline) {
        PGresult *end;

        must(client->conn, PQpipelineSync(client->conn));
        receive(client, 4);
        end = PQgetResult(client->conn);
        must(client->conn, PQresultStatus(end) == PGRES_PIPELINE_SYNC);
        PQclear(end);
    }
}

static void open_by_hand(struct client *client, const char *url)
{
    static const char *const texts[][2] = {
        {"begin", "BEGIN"}, {"item", insert_item}, {"log", insert_log}, {"commit", "COMMIT"}};

    client->conn = connect_bare(url);
    for (int i = 0; i < 4; i++)
        PQclear(PQprepare(client->conn, texts[i][0], texts[i][1], 0, NULL));
    if (client->pipeline)
        must(client->conn, PQenterPipelineMode(client->conn));
}

/* --- the run --- */

static void *run(void *arg)
{
    struct client *client = arg;

    while (!atomic_load_explicit(&over, memory_order_relaxed)) {
        if (client->conn != NULL)
            write_by_hand(client);
        else
            write_ours(client);
        client->done++;
    }
    return NULL;
}

static double measure(struct client *clients, unsigned count, unsigned seconds)
{
    struct timespec length = {.tv_sec = seconds};
    pthread_t *threads = calloc(count, sizeof(*threads));
    unsigned long done = 0;
    double begun = bench_now();

    if (threads == NULL)
        BENCH_DIE("out of memory");
    for (unsigned i = 0; i < count; i++)
        if (pthread_create(&threads[i], NULL, run, &clients[i]) != 0)
            BENCH_DIE("no thread");
    nanosleep(&length, NULL);
    atomic_store(&over, true);
    for (unsigned i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
        done += clients[i].done;
    }
    free(threads);
    return (double)done / (bench_now() - begun);
}

static void prepare(const char *url)
{
    PGconn *conn = connect_bare(url);

    finish(conn, PQexec(conn, prepare_text));
    PQfinish(conn);
}

int main(int argc, char **argv)
{
    bool ours = argc == 6 && strcmp(argv[1], "ours") == 0;
    unsigned count = argc == 6 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
    struct poly_instance *instance = NULL;
    struct client *clients;
    struct poly_error err;

    if (count == 0)
        BENCH_DIE("bench-postgresql-write ours|pipeline|hand CLIENTS SECONDS FOLDER URL");
    run_number = (unsigned long)time(NULL);
    prepare(argv[5]);
    if (ours)
        instance = open_instance(argv[4], argv[5], "items: {table: items, tenant: none}");
    clients = calloc(count, sizeof(*clients));
    if (clients == NULL)
        BENCH_DIE("out of memory");
    for (unsigned i = 0; i < count; i++) {
        clients[i] = (struct client){.number = i, .pipeline = strcmp(argv[1], "pipeline") == 0};
        if (ours)
            BENCH_OK(poly_session_open(instance, NULL, &clients[i].session, &err));
        else
            open_by_hand(&clients[i], argv[5]);
    }
    printf("%.0f\n", measure(clients, count, (unsigned)strtoul(argv[3], NULL, 10)));
    for (unsigned i = 0; i < count; i++) {
        poly_session_close(clients[i].session);
        PQfinish(clients[i].conn);
    }
    poly_close(instance);
    free(clients);
    return 0;
}
