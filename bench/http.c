/*
 * Requests a second over HTTP: CONNECTIONS kept-alive ones, one request in
 * flight on each, from one thread. Any answer but 2xx ends the run.
 *
 *   bench-http CONNECTIONS SECONDS PORT REQUEST-FILE
 *
 * In the request, "####" becomes the connection's number in four digits.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common.h"

enum { ANSWER_MAX = 65536, REQUEST_MAX = 16384 };

struct connection {
    int socket;
    char *request;
    size_t request_size;
    char answer[ANSWER_MAX];
    size_t size;
};

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

static int open_socket(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        BENCH_DIE("port %u: %s", port, strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return fd;
}

static void send_request(struct connection *connection)
{
    size_t sent = 0;

    connection->size = 0;
    while (sent < connection->request_size) {
        ssize_t part = write(connection->socket, connection->request + sent,
                             connection->request_size - sent);

        if (part <= 0)
            BENCH_DIE("write: %s", strerror(errno));
        sent += (size_t)part;
    }
}

/* Is the whole answer there? Either its length is said, or it comes in chunks. */
static bool complete(struct connection *connection)
{
    char *end, *length;

    connection->answer[connection->size] = '\0';
    end = strstr(connection->answer, "\r\n\r\n");
    if (end == NULL)
        return false;
    if (connection->answer[9] != '2')
        BENCH_DIE("answer: %s", connection->answer);
    length = strcasestr(connection->answer, "\r\nContent-Length:");
    if (length != NULL && length < end) {
        size_t body = strtoul(length + 17, NULL, 10);

        return connection->size >= (size_t)(end + 4 - connection->answer) + body;
    }
    if (memcmp(connection->answer + 9, "204", 3) == 0)
        return true;
    return memcmp(connection->answer + connection->size - 5, "0\r\n\r\n", 5) == 0;
}

static bool receive(struct connection *connection)
{
    ssize_t part = read(connection->socket, connection->answer + connection->size,
                        ANSWER_MAX - 1 - connection->size);

    if (part <= 0)
        BENCH_DIE("the server closed: %s", part < 0 ? strerror(errno) : connection->answer);
    connection->size += (size_t)part;
    if (connection->size == ANSWER_MAX - 1)
        BENCH_DIE("an answer is larger than %d bytes", ANSWER_MAX);
    return complete(connection);
}

static double measure(struct connection *connections, unsigned count, double seconds)
{
    struct epoll_event events[256];
    int poll = epoll_create1(0);
    unsigned long answers = 0;
    double begin, now;

    for (unsigned i = 0; i < count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};

        if (epoll_ctl(poll, EPOLL_CTL_ADD, connections[i].socket, &event) != 0)
            BENCH_DIE("epoll: %s", strerror(errno));
        send_request(&connections[i]);
    }
    begin = now = bench_now();
    while (now - begin < seconds) {
        int ready = epoll_wait(poll, events, 256, 1000);

        for (int i = 0; i < ready; i++) {
            struct connection *connection = &connections[events[i].data.u32];

            if (receive(connection)) {
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
        connections[i].socket = open_socket((uint16_t)strtoul(argv[3], NULL, 10));
    }
    printf("%.0f\n", measure(connections, count, strtod(argv[2], NULL)));
    for (unsigned i = 0; i < count; i++) {
        close(connections[i].socket);
        free(connections[i].request);
    }
    free(connections);
    free(request);
    return 0;
}
