/*
 * The side of Redis 8: a vector set (8-bit codes, as it makes them by itself), over one connection
 * in its own protocol, vectors as bytes. The server is of tests/servers/with. It works in another
 * process, so the clock on the wall counts.
 */
#include "vector_side.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common.h"
#include "http_client.h"

enum { AHEAD = 64 }; /* commands sent before the first answer is read */

static struct {
    struct bench_connection net; /* its socket and room only */
    char *at, *end;              /* what was read and not yet looked at */
    char out[AHEAD << 12];
    size_t size;
} redis;
static size_t vector_bytes;

static void put(const char *bytes, size_t size)
{
    if (redis.size + size > sizeof(redis.out))
        BENCH_DIE("redis: a command is too long");
    memcpy(redis.out + redis.size, bytes, size);
    redis.size += size;
}

/* So many words; a vector is the one that is NULL. */
static void command(const float *vector, unsigned count, ...)
{
    char head[32];
    va_list words;

    put(head, (size_t)snprintf(head, sizeof(head), "*%u\r\n", count));
    va_start(words, count);
    for (unsigned i = 0; i < count; i++) {
        const char *word = va_arg(words, const char *);
        size_t size = word == NULL ? vector_bytes : strlen(word);

        put(head, (size_t)snprintf(head, sizeof(head), "$%zu\r\n", size));
        put(word == NULL ? (const char *)vector : word, size);
        put("\r\n", 2);
    }
    va_end(words);
}

static void flush(void)
{
    bench_http_send(&redis.net, redis.out, redis.size);
    redis.size = 0;
}

/* A line without its end; it lives until the next call. */
static char *line(void)
{
    char *end;

    while (redis.at == NULL ||
           (end = memchr(redis.at, '\n', (size_t)(redis.end - redis.at))) == NULL) {
        size_t left = redis.at == NULL ? 0 : (size_t)(redis.end - redis.at);
        ssize_t part;

        if (left > 0)
            memmove(redis.net.answer, redis.at, left);
        redis.at = redis.net.answer;
        part = read(redis.net.socket, redis.net.answer + left, BENCH_ANSWER_MAX - left);
        if (part <= 0)
            BENCH_DIE("redis: it closed");
        redis.end = redis.at + left + part;
    }
    char *text = redis.at;

    redis.at = end + 1;
    end[-1] = '\0';
    if (text[0] == '-')
        BENCH_DIE("redis: %s", text);
    return text;
}

static void build(const struct vector_set *set)
{
    const char *url = getenv("POLY_TEST_REDIS_URL"); /* redis://:PASSWORD@127.0.0.1:PORT */
    char password[128], number[16], construction[16], links[16];
    unsigned port;

    vector_bytes = set->dimensions * sizeof(float);
    if (url == NULL || sscanf(url, "redis://:%127[^@]@127.0.0.1:%u", password, &port) != 2)
        BENCH_DIE("POLY_TEST_REDIS_URL names no server");
    bench_http_open(&redis.net, (uint16_t)port);
    command(NULL, 2, "AUTH", password);
    flush();
    line();
    snprintf(construction, sizeof(construction), "%d", VECTOR_EF_CONSTRUCTION);
    snprintf(links, sizeof(links), "%d", VECTOR_M);
    for (uint32_t i = 0; i < set->count; i++) {
        snprintf(number, sizeof(number), "%u", i);
        command(set->base + (size_t)i * set->dimensions, 9, "VADD", "v", "FP32", (char *)NULL,
                number, "EF", construction, "M", links);
        if (i % AHEAD != AHEAD - 1 && i + 1 < set->count)
            continue;
        flush();
        for (uint32_t j = i - i % AHEAD; j <= i; j++)
            line();
    }
}

static uint64_t bytes(void)
{
    command(NULL, 5, "MEMORY", "USAGE", "v", "SAMPLES", "0");
    flush();
    return strtoull(line() + 1, NULL, 10);
}

/* Without filters. */
static uint64_t search(const float *query, uint32_t ef, uint32_t permille, uint32_t *ids)
{
    char count[16], width[16];
    uint32_t found;

    (void)permille;
    snprintf(count, sizeof(count), "%d", VECTOR_K);
    snprintf(width, sizeof(width), "%u", ef);
    command(query, 9, "VSIM", "v", "FP32", (char *)NULL, "COUNT", count, "EF", width, "NOTHREAD");
    flush();
    found = (uint32_t)strtoul(line() + 1, NULL, 10);
    for (uint32_t i = 0; i < found; i++) {
        line();
        uint32_t id = (uint32_t)strtoul(line(), NULL, 10);

        if (i < VECTOR_K)
            ids[i] = id;
    }
    for (uint32_t i = found; i < VECTOR_K; i++)
        ids[i] = UINT32_MAX;
    return 0;
}

int main(int argc, char **argv)
{
    static const struct vector_side side = {
        .remote = true, .build = build, .bytes = bytes, .search = search};

    return vector_main(argc, argv, &side);
}
