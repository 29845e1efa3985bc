/*
 * Texts into vectors, by a server of the shape that OpenAI gave to POST {url}/embeddings.
 *
 * Any number of threads may call at a time. A failure says what to do: poly_embedder_passes() tells
 * one that time mends (try the same texts later) from one that somebody has to mend.
 */
#ifndef POLY_STORES_VECTOR_EMBEDDER_H
#define POLY_STORES_VECTOR_EMBEDDER_H

#include "base/status.h"
#include "polystore/value.h"

struct poly_embedder;

/* 0 and NULL: what is said in brackets. */
struct poly_embedder_options {
    const char *url;      /* what comes before "/embeddings": "https://host/v1"; no query in it */
    const char *model;    /* as the server calls it */
    const char *key_env;  /* environment variable with the key [no Authorization is sent] */
    const char *key_file; /* … or a file whose first line it is; it comes before key_env */
    const char *ca_file;  /* PEM [the authorities that the system trusts] */
    int dimensions;       /* that every vector has, 1 to 16,000 */
    bool shorten;         /* ask for that many: for models that can give shorter vectors */
    bool base64;          /* ask for vectors in base64, a fourth of the bytes */
    int batch_texts;      /* in one request, at most 2,048 [64] */
    size_t batch_bytes;   /* of texts in one request; a longer text goes alone [256 KiB] */
    int requests_per_minute; /* [any number] */
    int texts_per_minute;    /* [any number] */
    int connect_ms;          /* to connect [2,000] */
    int request_ms;          /* for one request and its answer [30,000] */
    int retry_ms;            /* before the second attempt; it doubles, up to 30 s [250] */
};

/* Copies the options; reads the key to see that it is there. Nothing is sent. POLY_INVALID: an
 * option. POLY_UNAVAILABLE: the key's file cannot be read. POLY_NO_MEMORY. */
enum poly_status poly_embedder_open(const struct poly_embedder_options *options,
                                    struct poly_embedder **embedder, struct poly_error *err);
/* No thread is in a call any more. NULL is accepted. */
void poly_embedder_close(struct poly_embedder *embedder);

/* From any thread: what is under way ends at once with POLY_UNAVAILABLE, and so does every later
 * call. */
void poly_embedder_stop(struct poly_embedder *embedder);

/*
 * The vector of texts[i] at vectors + i * dimensions: room for count of them. What a server refuses
 * for now (429, 5xx), does not answer in time, or lets fall, is tried again until the deadline
 * (poly_clock_monotonic(); -1: until it is stopped), after the time that it asked for.
 *
 * *done: so many of the texts, from the first, have their vectors, also when the rest fails; the
 * other vectors then mean nothing. Failures:
 *
 * POLY_INVALID      the server refuses texts[*done], and just that one: too long, empty …
 * POLY_DENIED       there is no key any more, or it is not accepted; nor is its certificate
 * POLY_NOT_FOUND    it knows no such model or address
 * POLY_UNSUPPORTED  it answers something else than these vectors: another length, no JSON, a
 * redirect POLY_LIMIT        its answer is larger than these vectors can be POLY_UNAVAILABLE,
 * POLY_TIMEOUT, POLY_NO_MEMORY    it may work later
 */
enum poly_status poly_embedder_embed(struct poly_embedder *embedder, const struct poly_text *texts,
                                     size_t count, int64_t deadline, float *vectors, size_t *done,
                                     struct poly_error *err);

struct poly_embedder_patience {
    int64_t deadline; /* as above */
    int attempts;     /* for one request, at most; 0: until the deadline */
};
/* The same. */
enum poly_status poly_embedder_try(struct poly_embedder *embedder,
                                   const struct poly_embedder_patience *patience,
                                   const struct poly_text *texts, size_t count, float *vectors,
                                   size_t *done, struct poly_error *err);

static inline bool poly_embedder_passes(enum poly_status status)
{
    return status == POLY_UNAVAILABLE || status == POLY_TIMEOUT || status == POLY_NO_MEMORY;
}

#endif
