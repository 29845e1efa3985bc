/*
 * A bucket that is full again is the same as one that never was, so full ones
 * may be forgotten when the table is at its maximum: no tenant gains by it.
 *
 * Where other daemons may stand on the same database, a request waits for none of them: each
 * daemon counts for itself, and says every SHARE_MS what it has let through. What the others have
 * is then taken from its own buckets, which may so come to owe up to a second's worth. All together
 * let through what one would, but for what comes at several within SHARE_MS.
 */
#include "server/rate.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/status.h"
#include "server/log.h"

enum { HEADS = 1024, SHARE_MS = 100 };

/* Of the names that the daemons share. */
#define PREFIX "rate "

struct bucket {
    struct bucket *next;
    double tokens;
    /* The same, but never full: what the others took in a time in which it would have been refilled
     * is no debt. At most full after each exchange, and never less than tokens. */
    double credit;
    int64_t at;
    uint64_t used;  /* since the last exchange */
    uint64_t total; /* of all daemons, at the last exchange; UINT64_MAX: there was none */
    char tenant[POLY_MAX_NAME + 1];
};

struct server_rate {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool shares; /* the thread is there */
    bool stopping;
    bool used; /* by a bucket, since the last exchange */
    bool failed;
    struct poly_instance *instance;
    struct server_log *log;
    double per_second;
    size_t count;
    struct bucket *heads[HEADS];
};

static void forget(struct server_rate *rate,
                   bool (*unneeded)(struct server_rate *rate, struct bucket *b, int64_t now),
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
    if (rate->shares) {
        pthread_mutex_lock(&rate->lock);
        rate->stopping = true;
        pthread_cond_signal(&rate->wake);
        pthread_mutex_unlock(&rate->lock);
        pthread_join(rate->thread, NULL);
    }
    forget(rate, NULL, 0);
    pthread_cond_destroy(&rate->wake);
    pthread_mutex_destroy(&rate->lock);
    free(rate);
}

static void refill(struct server_rate *rate, struct bucket *b, int64_t now)
{
    if (now > b->at) {
        double more = (double)(now - b->at) * rate->per_second / 1e6;
        b->tokens += more;
        b->credit += more;
        b->at = now;
    }
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

static struct bucket *find(struct server_rate *rate, const char *tenant)
{
    struct bucket *b = rate->heads[hash(tenant)];
    while (b != NULL && strcmp(b->tenant, tenant) != 0)
        b = b->next;
    return b;
}

static struct bucket *make(struct server_rate *rate, const char *tenant, int64_t now)
{
    if (rate->count >= POLY_MAX_RATED)
        forget(rate, is_full, now);
    if (rate->count >= POLY_MAX_RATED)
        return NULL;
    struct bucket *b = calloc(1, sizeof(*b));
    if (b == NULL)
        return NULL;
    memcpy(b->tenant, tenant, strnlen(tenant, POLY_MAX_NAME));
    b->tokens = b->credit = rate->per_second;
    b->total = UINT64_MAX;
    b->at = now;
    struct bucket **head = &rate->heads[hash(tenant)];
    b->next = *head;
    *head = b;
    rate->count++;
    return b;
}

/* Seconds until there is one to take, at least 1. */
static uint32_t wait_of(struct server_rate *rate, struct bucket *b)
{
    double seconds = b == NULL ? 0 : (1 - b->tokens) / rate->per_second;
    return seconds <= 1 ? 1 : (uint32_t)seconds + 1;
}

static void take(struct server_rate *rate, struct bucket *b)
{
    b->tokens -= 1;
    b->credit -= 1;
    b->used++;
    if (rate->shares && !rate->used) {
        rate->used = true;
        pthread_cond_signal(&rate->wake);
    }
}

enum poly_status server_rate_take(struct server_rate *rate, const char *tenant, int64_t now,
                                  uint32_t *retry_s, struct poly_error *err)
{
    enum poly_status status = POLY_OK;

    if (rate->per_second <= 0)
        return POLY_OK;
    pthread_mutex_lock(&rate->lock);
    struct bucket *b = find(rate, tenant);
    if (b == NULL)
        b = make(rate, tenant, now);
    if (b != NULL)
        refill(rate, b, now);
    if (b != NULL && b->tokens >= 1) {
        take(rate, b);
    } else {
        *retry_s = wait_of(rate, b);
        status = poly_fail(err, POLY_LIMIT,
                           "tenant '%s': more than %.0f requests a second "
                           "(limits.rate_per_tenant); try again in %u s",
                           tenant, rate->per_second, (unsigned)*retry_s);
    }
    pthread_mutex_unlock(&rate->lock);
    return status;
}

/* --- with the other daemons --- */

struct exchange {
    struct poly_usage usages[POLY_MAX_USAGES];
    char names[POLY_MAX_USAGES][sizeof(PREFIX) + POLY_MAX_NAME];
    size_t count;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct poly_usage *)a)->name, ((const struct poly_usage *)b)->name);
}

/* From the head *next on; what is taken is the exchange's to say. */
static void gather(struct server_rate *rate, struct exchange *exchange, size_t *next)
{
    exchange->count = 0;
    for (; *next < HEADS; (*next)++) {
        for (struct bucket *b = rate->heads[*next]; b != NULL; b = b->next) {
            size_t n = exchange->count;
            if (b->used == 0)
                continue;
            if (n == POLY_MAX_USAGES)
                return;
            snprintf(exchange->names[n], sizeof(exchange->names[n]), PREFIX "%s", b->tenant);
            exchange->usages[n] = (struct poly_usage){exchange->names[n], b->used, 0};
            exchange->count++;
            b->used = 0;
        }
    }
}

static void settle(struct server_rate *rate, const struct poly_usage *usage, int64_t now)
{
    struct bucket *b = find(rate, usage->name + strlen(PREFIX));

    if (b == NULL)
        return; /* forgotten: it was full */
    refill(rate, b, now);
    /* Less than before: the server has crashed, and counts anew. */
    if (b->total != UINT64_MAX && usage->total > b->total + usage->used)
        b->credit -= (double)(usage->total - b->total - usage->used);
    b->total = usage->total;
    if (b->credit > rate->per_second)
        b->credit = rate->per_second;
    if (b->credit < -rate->per_second)
        b->credit = -rate->per_second;
    if (b->tokens > b->credit)
        b->tokens = b->credit;
}

/* Without the lock. What could not be said is said the next time, unless it may have been heard. */
static void share(struct server_rate *rate, struct exchange *exchange)
{
    struct poly_error err = {0};
    enum poly_status status;

    qsort(exchange->usages, exchange->count, sizeof(exchange->usages[0]), by_name);
    status = poly_usage_add(rate->instance, exchange->usages, exchange->count, &err);
    if (status != POLY_OK && !rate->failed)
        server_log_say(rate->log, SERVER_WARN, "rate_alone",
                       "limits.rate_per_tenant counts this daemon's requests only: %s",
                       err.message);
    if (status == POLY_OK && rate->failed)
        server_log_say(rate->log, SERVER_INFO, "rate_shared",
                       "limits.rate_per_tenant counts the requests of all daemons again");
    rate->failed = status != POLY_OK;
    pthread_mutex_lock(&rate->lock);
    for (size_t i = 0; i < exchange->count; i++) {
        const struct poly_usage *usage = &exchange->usages[i];
        struct bucket *b = find(rate, usage->name + strlen(PREFIX));
        if (status == POLY_OK)
            settle(rate, usage, poly_clock_monotonic());
        else if (b != NULL && !err.unknown)
            b->used += usage->used, rate->used = true;
    }
    pthread_mutex_unlock(&rate->lock);
}

/* Sleeps while no tenant asks for anything. */
static void *share_all(void *arg)
{
    struct server_rate *rate = arg;
    struct exchange exchange;

    pthread_mutex_lock(&rate->lock);
    while (!rate->stopping) {
        struct timespec until;
        if (!rate->used) {
            pthread_cond_wait(&rate->wake, &rate->lock);
            continue;
        }
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += (rate->failed ? 10 : 1) * SHARE_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        while (!rate->stopping &&
               pthread_cond_timedwait(&rate->wake, &rate->lock, &until) != ETIMEDOUT)
            ;
        rate->used = false;
        size_t next = 0;
        do {
            gather(rate, &exchange, &next);
            pthread_mutex_unlock(&rate->lock);
            if (exchange.count > 0)
                share(rate, &exchange);
            pthread_mutex_lock(&rate->lock);
        } while (next < HEADS && !rate->failed && !rate->stopping);
    }
    pthread_mutex_unlock(&rate->lock);
    return NULL;
}

struct server_rate *server_rate_new(uint32_t per_second, struct poly_instance *instance,
                                    struct server_log *log)
{
    struct server_rate *rate = calloc(1, sizeof(*rate));
    pthread_condattr_t clock;

    if (rate == NULL)
        return NULL;
    pthread_mutex_init(&rate->lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&rate->wake, &clock);
    pthread_condattr_destroy(&clock);
    rate->per_second = per_second;
    rate->instance = instance;
    rate->log = log;
    if (per_second == 0 || !poly_is_shared(instance))
        return rate;
    rate->shares = true; /* before the thread is there: nobody asks yet */
    if (pthread_create(&rate->thread, NULL, share_all, rate) == 0)
        return rate;
    rate->shares = false;
    server_rate_free(rate);
    return NULL;
}
