/* The listening socket: bound before the data is opened, so that the data's lock can name it. */
#ifndef POLY_SERVER_LISTEN_H
#define POLY_SERVER_LISTEN_H

#include <stdbool.h>
#include <sys/socket.h>

#include "polystore.h"

struct server_address {
    struct sockaddr_storage address;
    socklen_t size;
    bool loopback;
    char text[80]; /* "127.0.0.1:7430", "[::1]:7430" */
};

/* "ADDRESS:PORT", the address numeric or a name, IPv6 in brackets. POLY_INVALID. */
enum poly_status server_address_parse(const char *text, struct server_address *address,
                                      struct poly_error *err);
/* Binds; a port of 0 becomes a free one, and address says which. POLY_UNAVAILABLE: it is taken. */
enum poly_status server_address_bind(struct server_address *address, int *socket,
                                     struct poly_error *err);
/* From here on clients are let in. */
enum poly_status server_address_listen(const struct server_address *address, int socket,
                                       struct poly_error *err);

#endif
