/* HTTP/1.1 and TLS, by libmicrohttpd. */
#ifndef POLY_SERVER_HTTP_H
#define POLY_SERVER_HTTP_H

#include "server/server.h"

/* Serves what connects to socket, which listens, or POLY_UNAVAILABLE. */
enum poly_status server_http_start(struct server *server, int socket, struct poly_error *err);
/* Takes no new connections; those that are there go on. */
void server_http_quiesce(struct server *server);
/* Closes all connections. Nothing may be in flight. */
void server_http_stop(struct server *server);

#endif
