/*
 * Between a worker that makes an answer and the connection that sends it: a
 * ring of bytes. A worker that is faster waits; a connection that is faster
 * is suspended, and resumed when there is more. Constant memory, whatever the
 * length of the answer.
 */
#ifndef POLY_SERVER_STREAM_H
#define POLY_SERVER_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct MHD_Connection;
struct server_stream;

/* NULL: out of memory. */
struct server_stream *server_stream_new(struct MHD_Connection *connection);
void server_stream_free(struct server_stream *stream); /* both sides are done; NULL is accepted */

/* --- the worker --- */

/* False: the client is gone, or has read nothing for POLY_STALL_TIMEOUT_MS. */
bool server_stream_write(struct server_stream *stream, const void *bytes, size_t size);
bool server_stream_gone(struct server_stream *stream);
/* whole false: the answer breaks off, and the client is to see that. */
void server_stream_end(struct server_stream *stream, bool whole);

/* --- the connection --- */

/* Content reader of libmicrohttpd; suspends the connection when there is nothing to send. */
ssize_t server_stream_read(void *stream, uint64_t position, char *bytes, size_t max);
/* The client is gone. */
void server_stream_abandon(struct server_stream *stream);

#endif
