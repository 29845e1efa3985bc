#include "http_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common.h"

void bench_http_open(struct bench_connection *connection, uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        BENCH_DIE("port %u: %s", port, strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    connection->socket = fd;
}

void bench_http_send(struct bench_connection *connection, const char *request, size_t size)
{
    size_t sent = 0;

    connection->size = 0;
    while (sent < size) {
        ssize_t part = write(connection->socket, request + sent, size - sent);

        if (part <= 0)
            BENCH_DIE("write: %s", strerror(errno));
        sent += (size_t)part;
    }
}

/* Is the whole answer there? Either its length is said, or it comes in chunks. */
static bool complete(struct bench_connection *connection)
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

bool bench_http_receive(struct bench_connection *connection)
{
    ssize_t part = read(connection->socket, connection->answer + connection->size,
                        BENCH_ANSWER_MAX - 1 - connection->size);

    if (part <= 0)
        BENCH_DIE("the server closed: %s", part < 0 ? strerror(errno) : connection->answer);
    connection->size += (size_t)part;
    if (connection->size == BENCH_ANSWER_MAX - 1)
        BENCH_DIE("an answer is larger than %d bytes", BENCH_ANSWER_MAX);
    return complete(connection);
}
