/*
 * One daemon, or several on one database: each client writes a record through
 * one of them, and reads it with that write's token through the next. A read that
 * shows anything else than what was written is a wrong answer.
 *
 *   bench-daemons CLIENTS SECONDS KEY PORT...     requests a second; wrong answers
 *
 * KEY: of the API. The records are new ones of a table items(id, stock): what a run before has left
 * in flight may still be written.
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common.h"
#include "http_client.h"

enum { PORTS_MAX = 8 };

struct client {
    unsigned number, turn; /* turn: which daemon is asked next */
    unsigned long value;
    bool reads; /* what is in flight */
    unsigned long answers, wrong;
    struct bench_connection at[PORTS_MAX];
};

static const char *key;
static unsigned long run_number;
static unsigned port_count;

static void ask(struct client *client, const char *request, int size)
{
    bench_http_send(&client->at[client->turn], request, (size_t)size);
}

static void send_write(struct client *client)
{
    char request[600], body[64];
    int size = snprintf(body, sizeof(body), "{\"stock\": %lu}", ++client->value);

    client->reads = false;
    size = snprintf(request, sizeof(request),
                    "PUT /v1/records/items/run-%lu-%u HTTP/1.1\r\nHost: localhost\r\n"
                    "Authorization: Bearer %s\r\nContent-Type: application/json\r\n"
                    "Content-Length: %d\r\n\r\n%s",
                    run_number, client->number, key, size, body);
    ask(client, request, size);
}

static void send_read(struct client *client, const char *token, int token_size)
{
    char request[600];
    int size = snprintf(request, sizeof(request),
                        "GET /v1/records/items/run-%lu-%u HTTP/1.1\r\nHost: localhost\r\n"
                        "Authorization: Bearer %s\r\nPolystore-Token: %.*s\r\n\r\n",
                        run_number, client->number, key, token_size, token);

    client->reads = true;
    ask(client, request, size);
}

static void check_read(struct client *client)
{
    const char *answer = client->at[client->turn].answer, *stock = strstr(answer, "\"stock\":");

    client->wrong += stock == NULL || strtoul(stock + 8, NULL, 10) != client->value;
}

/* A whole answer is there: on to the next request, at the next daemon. */
static void answered(struct client *client)
{
    static const char name[] = "\r\nPolystore-Token:";
    const char *token = NULL;

    client->answers++;
    if (client->reads) {
        check_read(client);
    } else {
        token = strcasestr(client->at[client->turn].answer, name);
        if (token == NULL)
            BENCH_DIE("no token: %s", client->at[client->turn].answer);
        token += sizeof(name) - 1;
        token += strspn(token, " ");
    }
    client->turn = (client->turn + 1) % port_count;
    if (token == NULL)
        send_write(client);
    else
        send_read(client, token, (int)strcspn(token, "\r"));
}

static double measure(struct client *clients, unsigned count, double seconds)
{
    struct epoll_event events[256];
    int poll = epoll_create1(0);
    double begin = bench_now(), now = begin;
    unsigned long answers = 0;

    for (unsigned i = 0; i < count; i++) {
        for (unsigned port = 0; port < port_count; port++) {
            struct epoll_event event = {.events = EPOLLIN, .data.u32 = i * PORTS_MAX + port};

            if (epoll_ctl(poll, EPOLL_CTL_ADD, clients[i].at[port].socket, &event) != 0)
                BENCH_DIE("epoll: %s", strerror(errno));
        }
        send_write(&clients[i]);
    }
    while (now - begin < seconds) {
        int ready = epoll_wait(poll, events, 256, 1000);

        for (int i = 0; i < ready; i++) {
            struct client *client = &clients[events[i].data.u32 / PORTS_MAX];

            if (bench_http_receive(&client->at[events[i].data.u32 % PORTS_MAX]))
                answered(client);
        }
        now = bench_now();
    }
    close(poll);
    for (unsigned i = 0; i < count; i++)
        answers += clients[i].answers;
    return (double)answers / (now - begin);
}

int main(int argc, char **argv)
{
    unsigned count = argc > 4 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
    unsigned long wrong = 0;
    struct client *clients;
    double rate;

    port_count = (unsigned)(argc - 4);
    if (count == 0 || port_count > PORTS_MAX)
        BENCH_DIE("bench-daemons CLIENTS SECONDS KEY PORT...");
    key = argv[3];
    run_number = (unsigned long)time(NULL);
    clients = calloc(count, sizeof(*clients));
    if (clients == NULL)
        BENCH_DIE("out of memory");
    for (unsigned i = 0; i < count; i++) {
        clients[i].number = i;
        clients[i].turn = i % port_count;
        for (unsigned port = 0; port < port_count; port++)
            bench_http_open(&clients[i].at[port], (uint16_t)strtoul(argv[4 + port], NULL, 10));
    }
    rate = measure(clients, count, strtod(argv[2], NULL));
    for (unsigned i = 0; i < count; i++) {
        wrong += clients[i].wrong;
        for (unsigned port = 0; port < port_count; port++)
            close(clients[i].at[port].socket);
    }
    printf("%.0f %lu\n", rate, wrong);
    free(clients);
    return 0;
}
