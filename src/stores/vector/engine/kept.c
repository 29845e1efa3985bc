/*
 * Answers that are kept for whoever asks the same again. Under one lock only the list of them, in
 * the order of their last use; each set has a lock of its own, so that two who ask the same wait
 * for one evaluation, and nobody else for them. The writer knows nothing of all this.
 */
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/status.h"
#include "stores/vector/engine/catalog_inside.h"

struct poly_kept {
    pthread_mutex_t lock;
    struct poly_kept_set *first, *last; /* last: unused for longest */
    size_t count, bytes;
};

struct poly_kept *poly_kept_new(void)
{
    struct poly_kept *kept = calloc(1, sizeof(*kept));

    if (kept != NULL)
        pthread_mutex_init(&kept->lock, NULL);
    return kept;
}

static void unlink_set(struct poly_kept *kept, struct poly_kept_set *set)
{
    *(set->before != NULL ? &set->before->after : &kept->first) = set->after;
    *(set->after != NULL ? &set->after->before : &kept->last) = set->before;
}

static void link_first(struct poly_kept *kept, struct poly_kept_set *set)
{
    set->before = NULL;
    set->after = kept->first;
    *(kept->first != NULL ? &kept->first->before : &kept->last) = set;
    kept->first = set;
}

static void drop(struct poly_kept *kept, struct poly_kept_set *set)
{
    unlink_set(kept, set);
    kept->count--;
    kept->bytes -= set->bytes;
    poly_shared_release(set->shared);
    pthread_mutex_destroy(&set->turn);
    free(set);
}

void poly_kept_free(struct poly_kept *kept)
{
    if (kept == NULL)
        return;
    while (kept->first != NULL)
        drop(kept, kept->first);
    pthread_mutex_destroy(&kept->lock);
    free(kept);
}

size_t poly_kept_bytes(struct poly_kept *kept)
{
    size_t bytes;

    pthread_mutex_lock(&kept->lock);
    bytes = kept->bytes;
    pthread_mutex_unlock(&kept->lock);
    return bytes;
}

/* Those unused for longest go, but none that somebody works on. */
static void shrink(struct poly_kept *kept)
{
    struct poly_kept_set *set = kept->last;

    while (set != NULL &&
           (kept->count > POLY_MAX_KEPT_FILTERS || kept->bytes > POLY_MAX_KEPT_FILTER_BYTES)) {
        struct poly_kept_set *before = set->before;

        if (set->users == 0)
            drop(kept, set);
        set = before;
    }
}

static struct poly_kept_set *find(struct poly_kept *kept, const struct poly_kept_key *key)
{
    for (struct poly_kept_set *set = kept->first; set != NULL; set = set->after)
        if (set->key.owner == key->owner &&
            memcmp(set->key.digest, key->digest, POLY_DIGEST_BYTES) == 0)
            return set;
    return NULL;
}

enum poly_status poly_kept_take(struct poly_kept *kept, const struct poly_kept_key *key,
                                struct poly_kept_set **set, struct poly_error *err)
{
    struct poly_kept_set *found;

    pthread_mutex_lock(&kept->lock);
    found = find(kept, key);
    if (found != NULL) {
        unlink_set(kept, found);
    } else {
        found = calloc(1, sizeof(*found));
        if (found == NULL) {
            pthread_mutex_unlock(&kept->lock);
            return poly_no_memory(err);
        }
        found->key = *key;
        found->bytes = sizeof(*found);
        pthread_mutex_init(&found->turn, NULL);
        kept->count++;
        kept->bytes += found->bytes;
    }
    link_first(kept, found);
    found->users++;
    shrink(kept);
    pthread_mutex_unlock(&kept->lock);
    *set = found;
    return POLY_OK;
}

void poly_kept_put_back(struct poly_kept *kept, struct poly_kept_set *set, size_t bytes)
{
    pthread_mutex_lock(&kept->lock);
    kept->bytes += sizeof(*set) + bytes - set->bytes;
    set->bytes = sizeof(*set) + bytes;
    set->users--;
    shrink(kept);
    pthread_mutex_unlock(&kept->lock);
}
