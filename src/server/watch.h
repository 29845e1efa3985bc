/*
 * The clocks of connections. A client must finish its headers, then its body,
 * read its answer, and ask again, each within a time of its own; trickling
 * bytes buys none. A thread looks once a second while there are connections,
 * and sleeps when there are none. Thread-safe.
 */
#ifndef POLY_SERVER_WATCH_H
#define POLY_SERVER_WATCH_H

#include <stdatomic.h>
#include <stdint.h>

struct server_watch;

/* Embedded in a connection. */
struct server_watched {
    struct server_watched *next, **at;
    int socket;
    atomic_llong deadline; /* monotonic microseconds; 0: none. Then the socket is shut down */
    atomic_bool asleep;    /* nobody reads the socket: look whether the client has left */
    atomic_bool left;      /* it has */
    atomic_bool idle;      /* between two requests: when the client has left, end it */
};

struct server_watch *server_watch_new(void); /* NULL: out of memory, or no thread */
void server_watch_free(struct server_watch *watch); /* NULL is accepted */

/* The socket must stay open until server_watch_remove(). */
void server_watch_add(struct server_watch *watch, struct server_watched *watched);
void server_watch_remove(struct server_watch *watch, struct server_watched *watched);

/* deadline = now + ms. */
void server_watch_within(struct server_watched *watched, int64_t ms);

#endif
