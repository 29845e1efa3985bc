/*
 * Requests a second over HTTP: CONNECTIONS kept-alive ones, one request in
 * flight on each, from one thread. Any answer but 2xx ends the run.
 *
 *   bench-http CONNECTIONS SECONDS PORT REQUEST-FILE
 *
 * In the request, "####" becomes the connection's number in four digits.
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common.h"
#include "http_client.h"

enum { REQUEST_MAX = 16384 };

struct connection {
    struct bench_connection http;
    char *request;
    size_t request_size;
};

static void send_request(struct connection *connection)
{
    bench_http_send(&connection->http, connection->request, connection->request_size);
}

static char *read_request(const char *path, size_t *size)
{
    char *text = malloc(REQUEST_MAX);
    FILE *file = fopen(path, "rb");

    if (text == NULL || file == NULL)
        BENCH_DIE("%s: cannot be read", path);
    *size = fread(text, 1, REQUEST_MAX, file);
    fclose(file);
    return text;
}

static void number_request(struct connection *connection, const char *request, unsigned number)
{
    char digits[5];

    connection->request = malloc(connection->request_size);
    if (connection->request == NULL)
        BENCH_DIE("out of memory");
    memcpy(connection->request, request, connection->request_size);
    snprintf(digits, sizeof(digits), "%04u", number % 10000);
    for (;;) {
        char *mark = memmem(connection->request, connection->request_size, "####", 4);

        if (mark == NULL)
            return;
        memcpy(mark, digits, 4);
    }
}

static double measure(struct connection *connections, unsigned count, double seconds)
{
    struct epoll_event events[256];
    int poll = epoll_create1(0);
    unsigned long answers = 0;
    double begin, now;

    for (unsigned i = 0; i < count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};

        if (epoll_ctl(poll, EPOLL_CTL_ADD, connections[i].http.socket, &event) != 0)
            BENCH_DIE("epoll: %s", strerror(errno));
        send_request(&connections[i]);
    }
    begin = now = bench_now();
    while (now - begin < seconds) {
        int ready = epoll_wait(poll, events, 256, 1000);

        for (int i = 0; i < ready; i++) {
            struct connection *connection = &connections[events[i].data.u32];

            if (bench_http_receive(&connection->http)) {
                answers++;
                send_request(connection);
            }
        }
        now = bench_now();
    }
    close(poll);
    return (double)answers / (now - begin);
}

int main(int argc, char **argv)
{
    struct connection *connections;
    unsigned count;
    char *request;
    size_t size;

    if (argc != 5)
        BENCH_DIE("bench-http CONNECTIONS SECONDS PORT REQUEST-FILE");
    count = (unsigned)strtoul(argv[1], NULL, 10);
    request = read_request(argv[4], &size);
    connections = calloc(count, sizeof(*connections));
    if (connections == NULL)
        BENCH_DIE("out of memory");
    for (unsigned i = 0; i < count; i++) {
        connections[i].request_size = size;
        number_request(&connections[i], request, i);
        bench_http_open(&connections[i].http, (uint16_t)strtoul(argv[3], NULL, 10));
    }
    printf("%.0f\n", measure(connections, count, strtod(argv[2], NULL)));
    for (unsigned i = 0; i < count; i++) {
        close(connections[i].http.socket);
        free(connections[i].request);
    }
    free(connections);
    free(request);
    return 0;
}
