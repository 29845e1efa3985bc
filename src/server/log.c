/*
 * Lines go into a fixed buffer under a mutex; a thread swaps it for an empty
 * one and writes. The first line in an empty buffer wakes the thread, which
 * then waits a moment for company: a busy daemon makes some 50 writes a
 * second, an idle one none.
 */
#include "server/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/status.h"

struct server_log {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    int fd;
    bool stopping, urgent;
    uint64_t dropped, told;
    size_t size;
    char *filling, *writing;
};

static const char *const level_names[] = {"info", "warn", "error"};

static void write_all(int fd, const char *text, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, text, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; /* nobody reads the log: serving goes on */
        text += n;
        size -= (size_t)n;
    }
}

static void gather(struct server_log *log)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 20 * 1000 * 1000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    while (!log->urgent && !log->stopping && log->size < POLY_MAX_LOG_BUFFER / 2)
        if (pthread_cond_timedwait(&log->wake, &log->lock, &until) == ETIMEDOUT)
            return;
}

static void tell_dropped(struct server_log *log, uint64_t dropped)
{
    struct server_line line;
    if (dropped == log->told)
        return;
    server_line_start(&line, SERVER_WARN, "log_dropped");
    server_line_number(&line, "lines", dropped - log->told);
    line.text[line.size++] = '\n';
    write_all(log->fd, line.text, line.size);
    log->told = dropped;
}

static void *write_lines(void *arg)
{
    struct server_log *log = arg;

    pthread_mutex_lock(&log->lock);
    for (;;) {
        while (log->size == 0 && !log->stopping)
            pthread_cond_wait(&log->wake, &log->lock);
        if (log->size == 0)
            break;
        gather(log);
        char *text = log->filling;
        size_t size = log->size;
        uint64_t dropped = log->dropped;
        log->filling = log->writing;
        log->writing = text;
        log->size = 0;
        log->urgent = false;
        pthread_mutex_unlock(&log->lock);
        write_all(log->fd, text, size);
        tell_dropped(log, dropped);
        pthread_mutex_lock(&log->lock);
    }
    pthread_mutex_unlock(&log->lock);
    return NULL;
}

enum poly_status server_log_open(int fd, struct server_log **log, struct poly_error *err)
{
    struct server_log *l = calloc(1, sizeof(*l));
    if (l == NULL)
        return poly_no_memory(err);
    l->fd = fd;
    l->filling = malloc(POLY_MAX_LOG_BUFFER);
    l->writing = malloc(POLY_MAX_LOG_BUFFER);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->wake, NULL);
    if (l->filling == NULL || l->writing == NULL ||
        pthread_create(&l->thread, NULL, write_lines, l) != 0) {
        free(l->filling);
        free(l->writing);
        free(l);
        return poly_no_memory(err);
    }
    *log = l;
    return POLY_OK;
}

void server_log_close(struct server_log *log)
{
    if (log == NULL)
        return;
    pthread_mutex_lock(&log->lock);
    log->stopping = true;
    pthread_cond_signal(&log->wake);
    pthread_mutex_unlock(&log->lock);
    pthread_join(log->thread, NULL);
    pthread_cond_destroy(&log->wake);
    pthread_mutex_destroy(&log->lock);
    free(log->filling);
    free(log->writing);
    free(log);
}

uint64_t server_log_dropped(struct server_log *log)
{
    pthread_mutex_lock(&log->lock);
    uint64_t dropped = log->dropped;
    pthread_mutex_unlock(&log->lock);
    return dropped;
}

/* One byte stays free for the end of the line. */
static void add_bytes(struct server_line *line, const char *bytes, size_t size)
{
    size_t room = sizeof(line->text) - 1 - line->size;
    if (size > room)
        size = room;
    memcpy(line->text + line->size, bytes, size);
    line->size += size;
}

static void add_name(struct server_line *line, const char *name)
{
    char *at = line->text + line->size;
    size_t size = strlen(name);

    if (size + 2 > sizeof(line->text) - 1 - line->size) {
        line->size = sizeof(line->text) - 1; /* nothing of the value either */
        memset(at, ' ', sizeof(line->text) - 1 - (size_t)(at - line->text));
        return;
    }
    *at = ' ';
    memcpy(at + 1, name, size);
    at[size + 1] = '=';
    line->size += size + 2;
}

/* Lines come many to a second: what differs within it are six digits. */
static void add_time(struct server_line *line)
{
    static _Thread_local int64_t second = -1;
    static _Thread_local char text[28];
    int64_t now = poly_clock_wall(), micro = now % 1000000;

    if (now / 1000000 != second || now < 0) {
        poly_json_time(now, text);
        second = now / 1000000;
    } else {
        for (int i = 25; i >= 20; i--, micro /= 10)
            text[i] = (char)('0' + micro % 10);
    }
    add_bytes(line, text, sizeof(text) - 1);
}

void server_line_start(struct server_line *line, enum server_level level, const char *event)
{
    line->level = level;
    line->size = 0;
    add_bytes(line, "time=", 5);
    add_time(line);
    add_name(line, "level");
    add_bytes(line, level_names[level], strlen(level_names[level]));
    add_name(line, "event");
    add_bytes(line, event, strlen(event));
}

/* Bytes up to the first that needs quotes, or the end. */
static size_t plain(const char *value)
{
    static const bool quoted[256] = {
        [0 ... ' '] = true, ['"'] = true, ['='] = true, ['\\'] = true, [127 ... 255] = true};
    size_t size = 0;

    while (!quoted[(unsigned char)value[size]])
        size++;
    return size;
}

static void add_escaped(struct server_line *line, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    char text[4] = {'\\', 'x', hex[c >> 4], hex[c & 15]};
    if (c == '"' || c == '\\') {
        text[1] = (char)c;
        add_bytes(line, text, 2);
    } else if (c < ' ' || c >= 127) {
        add_bytes(line, text, 4);
    } else {
        add_bytes(line, (const char *)&c, 1);
    }
}

void server_line_text(struct server_line *line, const char *name, const char *value)
{
    size_t size = plain(value);

    add_name(line, name);
    if (size > 0 && value[size] == '\0') {
        add_bytes(line, value, size);
        return;
    }
    add_bytes(line, "\"", 1);
    for (; *value != '\0' && line->size < sizeof(line->text) - 8; value++)
        add_escaped(line, (unsigned char)*value);
    add_bytes(line, "\"", 1);
}

void server_line_number(struct server_line *line, const char *name, uint64_t value)
{
    char digits[20];
    size_t n = sizeof(digits);
    do {
        digits[--n] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    add_name(line, name);
    add_bytes(line, digits + n, sizeof(digits) - n);
}

void server_log_add(struct server_log *log, struct server_line *line)
{
    line->text[line->size++] = '\n';
    pthread_mutex_lock(&log->lock);
    if (log->size + line->size > POLY_MAX_LOG_BUFFER) {
        log->dropped++;
    } else {
        bool first = log->size == 0;
        memcpy(log->filling + log->size, line->text, line->size);
        log->size += line->size;
        if (line->level != SERVER_INFO)
            log->urgent = true;
        if (first || log->urgent)
            pthread_cond_signal(&log->wake);
    }
    pthread_mutex_unlock(&log->lock);
}

void server_log_say(struct server_log *log, enum server_level level, const char *event,
                    const char *format, ...)
{
    char text[POLY_MAX_LOG_LINE / 2];
    struct server_line line;
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    server_line_start(&line, level, event);
    server_line_text(&line, "message", text);
    server_log_add(log, &line);
}
