/*
 * Our side of the vector measurement through the daemon: one kept-alive connection. Records go in
 * by transactions, and count when they are linked; a search has its vector in base64.
 * POLY_BENCH_DAEMON is "PORT KEY" of a daemon with the empty domain `items`. The clock on the wall
 * counts.
 */
#include "vector_side.h"

#include <string.h>
#include <unistd.h>

#include "common.h"
#include "http_client.h"

enum { BULK = 500, LOOK_MS = 20, STALLED_S = 10, IDLE_S = 5, HEAD = 1024 };

static struct bench_connection connection;
static const struct vector_set *vectors;
static char key[128], *body, *request;
static unsigned port;
static double asked; /* the last time; 0: never */

static void *room(size_t bytes)
{
    void *at = malloc(bytes);

    if (at == NULL)
        BENCH_DIE("out of memory");
    return at;
}

/* The answer is in connection.answer. */
static const char *ask(const char *method, const char *path, size_t size)
{
    int head = snprintf(request, HEAD,
                        "%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\n"
                        "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                        method, path, key, size);

    memcpy(request + head, body, size);
    /* The daemon closes what is idle for long, as while others are measured. */
    if (bench_now() - asked > IDLE_S) {
        if (asked > 0)
            close(connection.socket);
        bench_http_open(&connection, (uint16_t)port);
    }
    bench_http_send(&connection, request, (size_t)head + size);
    while (!bench_http_receive(&connection))
        ;
    asked = bench_now();
    return connection.answer;
}

static char *put_hex(char *at, const void *bytes, size_t size)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < size; i++) {
        uint8_t byte = ((const uint8_t *)bytes)[i];

        *at++ = digits[byte >> 4];
        *at++ = digits[byte & 15];
    }
    return at;
}

static char *put_base64(char *at, const void *bytes, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *in = bytes;

    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t three = (uint32_t)in[i] << 16 | (left > 1 ? (uint32_t)in[i + 1] << 8 : 0) |
                         (left > 2 ? in[i + 2] : 0);

        *at++ = digits[three >> 18];
        *at++ = digits[three >> 12 & 63];
        *at++ = left > 1 ? digits[three >> 6 & 63] : '=';
        *at++ = left > 2 ? digits[three & 63] : '=';
    }
    return at;
}

static void put_records(uint32_t first, uint32_t count)
{
    size_t bytes = vectors->dimensions * sizeof(float);
    char *at = stpcpy(body, "{\"operations\":[");

    for (uint32_t i = first; i < first + count; i++) {
        at += snprintf(at, HEAD,
                       "%s{\"op\":\"put\",\"domain\":\"items\",\"key\":\"%u\",\"row\":{\"v\":"
                       "{\"$bytes\":\"",
                       i == first ? "" : ",", i);
        at = stpcpy(put_hex(at, vectors->base + (size_t)i * vectors->dimensions, bytes), "\"}}}");
    }
    at = stpcpy(at, "]}");
    ask("POST", "/v1/transactions", (size_t)(at - body));
}

static uint64_t number(const char *name)
{
    const char *at = strstr(ask("GET", "/v1/vectors", 0), name);

    if (at == NULL)
        BENCH_DIE("no %s in %s", name, connection.answer);
    return strtoull(at + strlen(name), NULL, 10);
}

static void build(const struct vector_set *set)
{
    const char *daemon = getenv("POLY_BENCH_DAEMON");
    uint32_t in_a_batch = BULK * 100 / set->dimensions + 1;

    vectors = set;
    if (daemon == NULL || sscanf(daemon, "%u %127s", &port, key) != 2)
        BENCH_DIE("POLY_BENCH_DAEMON names no daemon");
    body = room(in_a_batch * (set->dimensions * 2 * sizeof(float) + 256) + HEAD);
    request = room(in_a_batch * (set->dimensions * 2 * sizeof(float) + 256) + 2 * HEAD);
    for (uint32_t i = 0; i < set->count; i += in_a_batch)
        put_records(i, set->count - i < in_a_batch ? set->count - i : in_a_batch);
    for (uint64_t linked = 0, before = 0; linked < set->count; before = linked) {
        double end = bench_now() + STALLED_S;

        while ((linked = number("\"linked\":")) == before) {
            if (bench_now() > end)
                BENCH_DIE("no vector is linked any more: so few need no graph, maybe");
            bench_sleep_until(bench_now() + LOOK_MS / 1e3);
        }
    }
}

static uint64_t bytes(void)
{
    return number("\"memory_bytes\":");
}

/* Without filters. */
static uint64_t search(const float *query, uint32_t ef, uint32_t permille, uint32_t *ids)
{
    static const char mark[] = "\"key\":\"";
    char *at = stpcpy(body, "{\"domain\":\"items\",\"vector_base64\":\"");
    const char *found;

    (void)permille;
    at = put_base64(at, query, vectors->dimensions * sizeof(*query));
    at += snprintf(at, HEAD, "\",\"limit\":%d,\"ef\":%u}", VECTOR_K, ef);
    found = ask("POST", "/v1/vectors/search", (size_t)(at - body));
    for (uint32_t i = 0; i < VECTOR_K; i++) {
        found = found == NULL ? NULL : strstr(found, mark);
        ids[i] = UINT32_MAX;
        if (found == NULL)
            continue;
        found += sizeof(mark) - 1;
        ids[i] = (uint32_t)strtoul(found, NULL, 10);
    }
    return 0;
}

int main(int argc, char **argv)
{
    static const struct vector_side side = {
        .remote = true, .build = build, .bytes = bytes, .search = search};

    return vector_main(argc, argv, &side);
}
