/*
 * The daemon's log: one line of logfmt for each request and event, to stderr.
 *
 * Lines are gathered and written by a thread of their own within some 20 ms
 * (at once for warnings and errors), so that a request never waits for a slow
 * terminal. When more than POLY_MAX_LOG_BUFFER bytes wait, lines are dropped,
 * and a line says how many. Thread-safe.
 */
#ifndef POLY_SERVER_LOG_H
#define POLY_SERVER_LOG_H

#include <stddef.h>
#include <stdint.h>

#include "base/limits.h"
#include "polystore.h"

enum server_level { SERVER_INFO, SERVER_WARN, SERVER_ERROR };

struct server_log;

enum poly_status server_log_open(int fd, struct server_log **log, struct poly_error *err);
void server_log_close(struct server_log *log); /* writes what waits; NULL is accepted */
uint64_t server_log_dropped(struct server_log *log);

/* A line under construction; pieces that do not fit are cut. */
struct server_line {
    enum server_level level;
    size_t size;
    char text[POLY_MAX_LOG_LINE];
};

void server_line_start(struct server_line *line, enum server_level level, const char *event);
/* The value is quoted and escaped where it needs to be: nothing in it can end the line. */
void server_line_text(struct server_line *line, const char *name, const char *value);
void server_line_number(struct server_line *line, const char *name, uint64_t value);
void server_log_add(struct server_log *log, struct server_line *line);

/* A whole line: event, and a message. */
void server_log_say(struct server_log *log, enum server_level level, const char *event,
                    const char *format, ...) __attribute__((format(printf, 4, 5)));

#endif
