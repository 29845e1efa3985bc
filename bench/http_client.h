/* A kept-alive connection to a daemon on loopback, with one request in flight. */
#ifndef POLY_BENCH_HTTP_CLIENT_H
#define POLY_BENCH_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BENCH_ANSWER_MAX = 65536 };

struct bench_connection {
    int socket;
    char answer[BENCH_ANSWER_MAX]; /* ends with NUL */
    size_t size;
};

void bench_http_open(struct bench_connection *connection, uint16_t port);
void bench_http_send(struct bench_connection *connection, const char *request, size_t size);
/* Reads what is there. Is the whole answer there? Any but 2xx ends the program. */
bool bench_http_receive(struct bench_connection *connection);

#endif
