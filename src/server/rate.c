/*
 * A bucket that is full again is the same as one that never was, so full ones
 * may be forgotten when the table is at its maximum: no tenant gains by it.
 */
#include "server/rate.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/status.h"

enum { HEADS = 1024 };

struct bucket {
    struct bucket *next;
    double tokens;
    int64_t at;
    char tenant[POLY_MAX_NAME + 1];
};

struct server_rate {
    pthread_mutex_t lock;
    double per_second;
    size_t count;
    struct bucket *heads[HEADS];
};

struct server_rate *server_rate_new(uint32_t per_second)
{
    struct server_rate *rate = calloc(1, sizeof(*rate));
    if (rate == NULL)
        return NULL;
    pthread_mutex_init(&rate->lock, NULL);
    rate->per_second = per_second;
    return rate;
}

static void forget(struct server_rate *rate, bool (*unneeded)(struct server_rate *rate,
                                                              struct bucket *b, int64_t now),
                   int64_t now)
{
    for (size_t i = 0; i < HEADS; i++) {
        struct bucket **at = &rate->heads[i];
        while (*at != NULL) {
            struct bucket *b = *at;
            if (unneeded != NULL && !unneeded(rate, b, now)) {
                at = &b->next;
                continue;
            }
            *at = b->next;
            free(b);
            rate->count--;
        }
    }
}

void server_rate_free(struct server_rate *rate)
{
    if (rate == NULL)
        return;
    forget(rate, NULL, 0);
    pthread_mutex_destroy(&rate->lock);
    free(rate);
}

static void refill(struct server_rate *rate, struct bucket *b, int64_t now)
{
    if (now > b->at)
        b->tokens += (double)(now - b->at) * rate->per_second / 1e6;
    b->at = now;
    if (b->tokens > rate->per_second)
        b->tokens = rate->per_second;
}

static bool is_full(struct server_rate *rate, struct bucket *b, int64_t now)
{
    refill(rate, b, now);
    return b->tokens >= rate->per_second;
}

/* FNV-1a: tenants are named by an administrator, not by an attacker. */
static size_t hash(const char *text)
{
    uint64_t h = 14695981039346656037u;
    for (; *text != '\0'; text++)
        h = (h ^ (unsigned char)*text) * 1099511628211u;
    return (size_t)(h % HEADS);
}

static struct bucket *find(struct server_rate *rate, const char *tenant, int64_t now)
{
    struct bucket **head = &rate->heads[hash(tenant)];
    for (struct bucket *b = *head; b != NULL; b = b->next)
        if (strcmp(b->tenant, tenant) == 0)
            return b;
    if (rate->count >= POLY_MAX_RATED)
        forget(rate, is_full, now);
    if (rate->count >= POLY_MAX_RATED)
        return NULL;
    struct bucket *b = calloc(1, sizeof(*b));
    if (b == NULL)
        return NULL;
    memcpy(b->tenant, tenant, strnlen(tenant, POLY_MAX_NAME));
    b->tokens = rate->per_second;
    b->at = now;
    b->next = *head;
    *head = b;
    rate->count++;
    return b;
}

enum poly_status server_rate_take(struct server_rate *rate, const char *tenant, int64_t now,
                                  uint32_t *retry_s, struct poly_error *err)
{
    enum poly_status status = POLY_OK;

    if (rate->per_second <= 0)
        return POLY_OK;
    pthread_mutex_lock(&rate->lock);
    struct bucket *b = find(rate, tenant, now);
    if (b != NULL)
        refill(rate, b, now);
    if (b != NULL && b->tokens >= 1) {
        b->tokens -= 1;
    } else {
        *retry_s = 1;
        status = poly_fail(err, POLY_LIMIT, "tenant '%s': more than %.0f requests a second "
                           "(limits.rate_per_tenant); try again in 1 s", tenant, rate->per_second);
    }
    pthread_mutex_unlock(&rate->lock);
    return status;
}
