/*
 * The side of Weaviate: a collection without properties. Vectors go in and are asked for through
 * gRPC, on one connection, as bytes; its REST interface makes the collection and sets ef. The few
 * messages are written here by hand, so that no library of a client costs it anything. The server
 * is of tests/servers/with. It works in another process, so the clock on the wall counts.
 */
#include "vector_side.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <string.h>

#include "common.h"

enum { BULK = 500, ROOM = 4 << 20, OBJECT = 128, GRPC_HEAD = 5 };

/* Numbers of fields in its .proto files. */
enum {
    SEARCH_COLLECTION = 1,
    SEARCH_METADATA = 21,
    SEARCH_LIMIT = 30,
    SEARCH_NEAR_VECTOR = 43,
    SEARCH_USES_127 = 102,
    METADATA_UUID = 1,
    NEAR_VECTOR_BYTES = 4,
    REPLY_RESULTS = 2,
    RESULT_METADATA = 2,
    METADATA_ID = 1,
    BATCH_OBJECTS = 1,
    BATCH_REPLY_ERRORS = 2,
    OBJECT_UUID = 1,
    OBJECT_COLLECTION = 4,
    OBJECT_VECTOR_BYTES = 6
};
enum { VARINT = 0, BYTES = 2 };

struct message {
    uint8_t data[ROOM];
    size_t size;
};

static struct message request, answer;
static CURL *calls, *rest;
static struct curl_slist *call_headers, *rest_headers;
static size_t vector_bytes;
static uint32_t width;

/* --- messages --- */

static void put(struct message *m, const void *bytes, size_t size)
{
    if (m->size + size > ROOM)
        BENCH_DIE("weaviate: a message is too long");
    memcpy(m->data + m->size, bytes, size);
    m->size += size;
}

static void put_varint(struct message *m, uint64_t number)
{
    uint8_t byte;

    for (; number > 127; number >>= 7) {
        byte = (uint8_t)(number | 128);
        put(m, &byte, 1);
    }
    byte = (uint8_t)number;
    put(m, &byte, 1);
}

static void put_number(struct message *m, unsigned field, uint64_t number)
{
    put_varint(m, field << 3 | VARINT);
    put_varint(m, number);
}

static void put_bytes(struct message *m, unsigned field, const void *bytes, size_t size)
{
    put_varint(m, field << 3 | BYTES);
    put_varint(m, size);
    put(m, bytes, size);
}

static uint64_t take_varint(const uint8_t **at, const uint8_t *end)
{
    uint64_t number = 0;

    for (unsigned shift = 0; *at < end; shift += 7) {
        uint8_t byte = *(*at)++;

        number |= (uint64_t)(byte & 127) << shift;
        if (byte < 128)
            break;
    }
    return number;
}

/* The next field of that number, which holds bytes; *at is behind it then. false: there is none. */
static bool take(const uint8_t **at, const uint8_t *end, unsigned wanted, const uint8_t **bytes,
                 size_t *size)
{
    while (*at < end) {
        uint64_t key = take_varint(at, end);

        *size = 0;
        if ((key & 7) == VARINT)
            take_varint(at, end);
        else
            *size = (key & 7) == BYTES ? take_varint(at, end) : (key & 7) == 1 ? 8 : 4;
        *bytes = *at;
        *at += *size;
        if (key >> 3 == wanted && (key & 7) == BYTES)
            return true;
    }
    return false;
}

/* --- transport --- */

static size_t receive(char *bytes, size_t one, size_t count, void *arg)
{
    put(arg, bytes, one * count);
    return one * count;
}

static size_t look(char *text, size_t one, size_t count, void *arg)
{
    static const char name[] = "grpc-status:";
    size_t size = one * count;

    (void)arg;
    if (size > sizeof(name) && strncasecmp(text, name, sizeof(name) - 1) == 0 &&
        strtol(text + sizeof(name) - 1, NULL, 10) != 0)
        BENCH_DIE("weaviate: %.*s", (int)size, text);
    return size;
}

static CURL *handle(struct curl_slist *headers)
{
    CURL *made = curl_easy_init();

    curl_easy_setopt(made, CURLOPT_WRITEFUNCTION, receive);
    curl_easy_setopt(made, CURLOPT_WRITEDATA, &answer);
    curl_easy_setopt(made, CURLOPT_HTTPHEADER, headers);
    return made;
}

static void perform(CURL *made, const char *what)
{
    CURLcode code;
    long status = 0;

    answer.size = 0;
    code = curl_easy_perform(made);
    curl_easy_getinfo(made, CURLINFO_RESPONSE_CODE, &status);
    if (code != CURLE_OK || status != 200)
        BENCH_DIE("weaviate: %s: %s, status %ld: %.*s", what, curl_easy_strerror(code), status,
                  (int)answer.size, (const char *)answer.data);
}

/* The request behind room for its head; the answer is behind its own. */
static void call(const char *method)
{
    char url[256];
    uint32_t size = htonl((uint32_t)(request.size - GRPC_HEAD));

    request.data[0] = 0;
    memcpy(request.data + 1, &size, sizeof(size));
    snprintf(url, sizeof(url), "%s/weaviate.v1.Weaviate/%s", getenv("POLY_TEST_WEAVIATE_GRPC"),
             method);
    curl_easy_setopt(calls, CURLOPT_URL, url);
    curl_easy_setopt(calls, CURLOPT_POSTFIELDS, request.data);
    curl_easy_setopt(calls, CURLOPT_POSTFIELDSIZE, (long)request.size);
    perform(calls, method);
    /* The connection is one of HTTP/2 by now, and libcurl 7.88 fails when it is told so again. */
    curl_easy_setopt(calls, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2_0);
}

static void set_up(const char *method, const char *path, uint32_t ef)
{
    char url[256], body[512];

    snprintf(url, sizeof(url), "%s%s", getenv("POLY_TEST_WEAVIATE_URL"), path);
    snprintf(body, sizeof(body),
             "{\"class\": \"V\", \"vectorizer\": \"none\", \"vectorIndexType\": \"hnsw\","
             " \"vectorIndexConfig\": {\"distance\": \"dot\", \"maxConnections\": %d,"
             " \"efConstruction\": %d, \"ef\": %u}}",
             VECTOR_M, VECTOR_EF_CONSTRUCTION, ef);
    curl_easy_setopt(rest, CURLOPT_URL, url);
    curl_easy_setopt(rest, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(rest, CURLOPT_POSTFIELDS, body);
    perform(rest, method);
    width = ef;
}

static void connect_to(void)
{
    char key[256];

    if (getenv("POLY_TEST_WEAVIATE_GRPC") == NULL || getenv("POLY_TEST_WEAVIATE_KEY") == NULL)
        BENCH_DIE("POLY_TEST_WEAVIATE_GRPC names no server");
    snprintf(key, sizeof(key), "authorization: Bearer %s", getenv("POLY_TEST_WEAVIATE_KEY"));
    call_headers = curl_slist_append(curl_slist_append(NULL, key), "te: trailers");
    call_headers = curl_slist_append(call_headers, "content-type: application/grpc");
    rest_headers =
        curl_slist_append(curl_slist_append(NULL, key), "content-type: application/json");
    calls = handle(call_headers);
    rest = handle(rest_headers);
    curl_easy_setopt(calls, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE);
    curl_easy_setopt(calls, CURLOPT_HEADERFUNCTION, look);
}

/* --- the side --- */

static void add(const float *vector, uint32_t id)
{
    static struct message object;
    char uuid[40];

    object.size = 0;
    snprintf(uuid, sizeof(uuid), "00000000-0000-4000-8000-%012x", id);
    put_bytes(&object, OBJECT_UUID, uuid, 36);
    put_bytes(&object, OBJECT_COLLECTION, "V", 1);
    put_bytes(&object, OBJECT_VECTOR_BYTES, vector, vector_bytes);
    put_bytes(&request, BATCH_OBJECTS, object.data, object.size);
}

static void send_batch(void)
{
    const uint8_t *at, *bytes;
    size_t size;

    call("BatchObjects");
    at = answer.data + GRPC_HEAD;
    if (take(&at, answer.data + answer.size, BATCH_REPLY_ERRORS, &bytes, &size))
        BENCH_DIE("weaviate: an object was refused: %.*s", (int)size, (const char *)bytes);
    request.size = GRPC_HEAD;
}

static void build(const struct vector_set *set)
{
    uint32_t in_a_batch = BULK;

    vector_bytes = set->dimensions * sizeof(float);
    if (in_a_batch * (vector_bytes + OBJECT) > ROOM)
        in_a_batch = (uint32_t)(ROOM / (vector_bytes + OBJECT));
    connect_to();
    set_up("POST", "/v1/schema", 64);
    request.size = GRPC_HEAD;
    for (uint32_t i = 0; i < set->count; i++) {
        add(set->base + (size_t)i * set->dimensions, i);
        if (i % in_a_batch == in_a_batch - 1 || i + 1 == set->count)
            send_batch();
    }
}

static uint64_t bytes(void)
{
    return 0; /* it does not say */
}

/* Without filters. */
static uint64_t search(const float *query, uint32_t ef, uint32_t permille, uint32_t *ids)
{
    static struct message part;
    const uint8_t *at, *end, *result, *meta, *id;
    size_t size, count = 0;

    (void)permille;
    if (ef != width)
        set_up("PUT", "/v1/schema/V", ef);
    request.size = GRPC_HEAD;
    put_bytes(&request, SEARCH_COLLECTION, "V", 1);
    part.size = 0;
    put_number(&part, METADATA_UUID, 1);
    put_bytes(&request, SEARCH_METADATA, part.data, part.size);
    put_number(&request, SEARCH_LIMIT, VECTOR_K);
    part.size = 0;
    put_bytes(&part, NEAR_VECTOR_BYTES, query, vector_bytes);
    put_bytes(&request, SEARCH_NEAR_VECTOR, part.data, part.size);
    put_number(&request, SEARCH_USES_127, 1);
    call("Search");
    at = answer.data + GRPC_HEAD;
    end = answer.data + answer.size;
    while (count < VECTOR_K && take(&at, end, REPLY_RESULTS, &result, &size)) {
        const uint8_t *behind = result + size;

        if (take(&result, behind, RESULT_METADATA, &meta, &size) &&
            (behind = meta + size, take(&meta, behind, METADATA_ID, &id, &size)) && size == 36) {
            char digits[13] = {0};

            memcpy(digits, id + 24, 12);
            ids[count++] = (uint32_t)strtoul(digits, NULL, 16);
        }
    }
    while (count < VECTOR_K)
        ids[count++] = UINT32_MAX;
    return 0;
}

int main(int argc, char **argv)
{
    static const struct vector_side side = {
        .remote = true, .build = build, .bytes = bytes, .search = search};

    return vector_main(argc, argv, &side);
}
