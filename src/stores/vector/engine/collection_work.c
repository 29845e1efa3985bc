/*
 * What is done in the background: linking, and writing the live slots into a new part.
 *
 * A compaction takes the slots that live at one moment, and while they are linked the old part
 * goes on serving and changing. What has changed is not noted anywhere: it is what one sees by
 * comparing the two, slot by slot, so nothing can be forgotten and nothing grows. Each turn carries
 * over what is different; when little is left, the last turn is taken between two publishes, with
 * the writer waiting for it, and the new part serves. When the writer is busy just then, its
 * next publish() takes that turn itself.
 *
 * Nothing is written anew for the order of its slots alone: of 150,000 vectors in the order of
 * their neighbours searches were 6 % faster, for as much work as building all of it had been.
 *
 * Memory while it runs: codes and links of both parts, the catalogs of both, and 4 bytes for each
 * old slot. On disk: the originals of both, and until the next save is done.
 */
#include "stores/vector/engine/collection_inside.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/status.h"

enum {
    SLICE = 200000,    /* microseconds of one call, about */
    AGAIN = 60000000,  /* microseconds until a failed compaction is tried again */
    LINK_STEP = 16,    /* slots between two looks at the clock */
    CARRY_STEP = 4096, /* slots carried over in one turn */
    CARRY_LAST = 1024, /* … in the last one, with the writer waiting */
    DEAD_LEAST = 256,  /* fewer are not worth a new part */
    DEAD_SHARE = 5,    /* one of so many */
    MAX_LINKERS = 64
};

/* --- linking --- */

struct linker {
    struct poly_index *index;
    const atomic_bool *stop;
    int64_t until;
    bool all; /* nothing is left */
    enum poly_status status;
    struct poly_error err;
};

static void *link_run(void *arg)
{
    struct linker *linker = arg;
    uint32_t linked;

    do {
        linked = 0;
        linker->status =
            poly_index_link(linker->index, LINK_STEP, linker->stop, &linked, &linker->err);
    } while (linker->status == POLY_OK && linked > 0 && !poly_is_stopped(linker->stop) &&
             poly_clock_monotonic() < linker->until);
    linker->all = linker->status == POLY_OK && linked == 0 && !poly_is_stopped(linker->stop);
    return NULL;
}

/* With as many threads as can be had. *all: nothing is left to link. */
static enum poly_status link_slots(const struct linker *what, unsigned threads, bool *all,
                                   struct poly_error *err)
{
    struct linker linkers[MAX_LINKERS];
    pthread_t ids[MAX_LINKERS];
    unsigned count = threads < 1 ? 1 : threads > MAX_LINKERS ? MAX_LINKERS : threads, began = 1;
    enum poly_status status = POLY_OK;

    for (unsigned i = 0; i < count; i++)
        linkers[i] = *what;
    while (began < count && pthread_create(&ids[began], NULL, link_run, &linkers[began]) == 0)
        began++;
    link_run(&linkers[0]);
    *all = linkers[0].all;
    for (unsigned i = 1; i < began; i++) {
        pthread_join(ids[i], NULL);
        *all = *all && linkers[i].all;
    }
    for (unsigned i = 0; i < began && status == POLY_OK; i++) {
        status = linkers[i].status;
        if (status != POLY_OK && err != NULL)
            *err = linkers[i].err;
    }
    return status;
}

/* --- compaction --- */

static bool due(const struct poly_collection *c)
{
    struct poly_index_numbers numbers;

    poly_index_measure(c->part->index, &numbers);
    return numbers.dead >= DEAD_LEAST && numbers.dead > numbers.slots / DEAD_SHARE &&
           poly_clock_monotonic() >= c->compaction.again;
}

/* The new part comes to nothing. */
static void drop(struct poly_collection *c)
{
    struct poly_part *next;
    struct poly_index_options shape;
    char path[PATH_MAX];

    pthread_mutex_lock(&c->state);
    next = c->next;
    c->next = NULL;
    pthread_mutex_unlock(&c->state);
    if (next != NULL && next->originals != 0 &&
        poly_collection_shape(c, next->originals, path, &shape, NULL) == POLY_OK)
        unlink(path);
    poly_part_release(c, next);
    free(c->compaction.map);
    c->compaction.map = NULL;
    c->compaction.carried = c->compaction.room = 0;
    c->compaction.failed = false;
    c->compaction.again = poly_clock_monotonic() + AGAIN;
}

static enum poly_status copy_live(struct poly_collection *c, uint32_t end, const atomic_bool *stop,
                                  struct poly_error *err)
{
    struct poly_compaction *compaction = &c->compaction;
    enum poly_status status;

    compaction->map = malloc(((size_t)end + 1) * sizeof(*compaction->map));
    if (compaction->map == NULL)
        return poly_no_memory(err);
    compaction->room = end;
    status = poly_index_copy(c->part->index, end, c->next->index, compaction->map, stop, err);
    if (status == POLY_OK)
        status =
            poly_catalog_copy(c->part->catalog, compaction->map, end, c->next->catalog, stop, err);
    if (status != POLY_OK)
        return status;
    compaction->carried = end;
    poly_catalog_publish(c->next->catalog);
    poly_index_publish(c->next->index);
    return POLY_OK;
}

static uint32_t published_end(struct poly_collection *c)
{
    uint32_t end;

    pthread_mutex_lock(&c->state);
    end = c->end;
    pthread_mutex_unlock(&c->state);
    return end;
}

/* Stopped in the middle, it is begun anew another time. */
static enum poly_status begin(struct poly_collection *c, const atomic_bool *stop,
                              struct poly_error *err)
{
    struct poly_part *next;
    enum poly_status status = poly_part_new(c, &next, err);

    if (status != POLY_OK) {
        c->compaction.again = poly_clock_monotonic() + AGAIN;
        return status;
    }
    pthread_mutex_lock(&c->state);
    c->next = next;
    pthread_mutex_unlock(&c->state);
    status = copy_live(c, published_end(c), stop, err);
    if (status != POLY_OK)
        drop(c);
    return poly_is_stopped(stop) ? POLY_OK : status;
}

/* What the new part has, and has died in the old one. */
static enum poly_status carry_deaths(struct poly_collection *c, uint32_t end,
                                     struct poly_error *err)
{
    struct poly_part *next = c->next;
    uint32_t *map = c->compaction.map;
    struct poly_catalog_entry entry;
    enum poly_status status = POLY_OK;

    for (uint32_t slot = 0; slot < c->compaction.carried && status == POLY_OK; slot++) {
        if (map[slot] == POLY_NO_SLOT || poly_index_alive(c->part->index, slot, end))
            continue;
        poly_catalog_entry(c->part->catalog, slot, &entry);
        status = poly_index_kill(next->index, map[slot], err);
        if (status == POLY_OK &&
            poly_catalog_slot(next->catalog, entry.owner, entry.key) == map[slot])
            status = poly_catalog_remove(next->catalog, entry.owner, entry.key, err);
        map[slot] = POLY_NO_SLOT;
    }
    return status;
}

static enum poly_status carry_slot(struct poly_collection *c, uint32_t slot, struct poly_error *err)
{
    const struct poly_part *part = c->part, *next = c->next;
    struct poly_catalog_entry entry;
    enum poly_status status;

    poly_catalog_entry(part->catalog, slot, &entry);
    for (size_t i = 0; i < c->column_count; i++)
        poly_catalog_value(part->catalog, slot, i, &c->values[i]);
    entry.values = c->column_count == 0 ? NULL : c->values;
    status = poly_index_append(next->index, poly_index_original(part->index, slot),
                               &c->compaction.map[slot], err);
    return status != POLY_OK
               ? status
               : poly_catalog_append(next->catalog, c->compaction.map[slot], &entry, err);
}

static enum poly_status grow_map(struct poly_compaction *compaction, uint32_t end,
                                 struct poly_error *err)
{
    uint32_t *map;

    if (end <= compaction->room)
        return POLY_OK;
    map = realloc(compaction->map, (size_t)end * sizeof(*map));
    if (map == NULL)
        return poly_no_memory(err);
    compaction->map = map;
    compaction->room = end;
    return POLY_OK;
}

/*
 * Makes the new part like the old one at end, but for slots that more than most others stand
 * before. Deaths first: a slot that has come since may have the key of one that died.
 */
static enum poly_status carry(struct poly_collection *c, uint32_t end, uint32_t most,
                              struct poly_error *err)
{
    struct poly_compaction *compaction = &c->compaction;
    uint32_t last = end - compaction->carried > most ? compaction->carried + most : end;
    enum poly_status status = carry_deaths(c, end, err);

    if (status == POLY_OK)
        status = grow_map(compaction, last, err);
    for (; status == POLY_OK && compaction->carried < last; compaction->carried++) {
        compaction->map[compaction->carried] = POLY_NO_SLOT;
        if (poly_index_alive(c->part->index, compaction->carried, end))
            status = carry_slot(c, compaction->carried, err);
    }
    if (status != POLY_OK)
        return status;
    poly_catalog_publish(c->next->catalog);
    poly_index_publish(c->next->index);
    return POLY_OK;
}

void poly_collection_swap(struct poly_collection *c)
{
    c->compaction.ready = false;
    if (carry(c, c->end, UINT32_MAX, &c->compaction.err) != POLY_OK) {
        c->compaction.failed = true;
        return;
    }
    pthread_mutex_lock(&c->state);
    poly_assert(c->retired == NULL);
    c->retired = c->part;
    c->part = c->next;
    c->next = NULL;
    c->end = poly_index_end(c->part->index);
    pthread_mutex_unlock(&c->state);
}

/* Lets the new part serve, now or with the next publish, unless too much has come since. true: the
 * next publish it is, and there is nothing to do until then. */
static bool offer(struct poly_collection *c)
{
    bool ready = false;

    pthread_mutex_lock(&c->gate);
    if (c->end - c->compaction.carried <= CARRY_LAST) {
        ready = c->compaction.ready = c->dirty;
        if (!c->dirty)
            poly_collection_swap(c);
    }
    pthread_mutex_unlock(&c->gate);
    return ready;
}

/* Half of the time is for the part that serves: what is put meanwhile would be scanned. *done: as
 * far as can be. */
static enum poly_status compact(struct poly_collection *c, unsigned threads,
                                const struct linker *slice, bool *done, struct poly_error *err)
{
    struct linker linker = *slice;
    enum poly_status status;
    uint32_t end;
    bool all = false;

    linker.index = c->part->index;
    linker.until = poly_clock_monotonic() + SLICE / 2;
    status = link_slots(&linker, threads, &all, err);
    linker = *slice;
    linker.index = c->next->index;
    all = false;
    while (status == POLY_OK && !poly_is_stopped(slice->stop)) {
        end = published_end(c);
        status = carry(c, end, CARRY_STEP, err);
        if (status == POLY_OK)
            status = link_slots(&linker, threads, &all, err);
        if (poly_clock_monotonic() >= slice->until || (all && c->compaction.carried == end))
            break;
    }
    if (status != POLY_OK)
        drop(c);
    *done = status == POLY_OK && all && offer(c);
    return status;
}

/* From here on publish() does not swap, and .part and .next stay what they are. */
static enum poly_status take_turn(struct poly_collection *c, struct poly_error *err)
{
    struct poly_part *retired;
    enum poly_status status = POLY_OK;

    pthread_mutex_lock(&c->gate);
    c->compaction.ready = false;
    if (c->compaction.failed) {
        status = c->compaction.err.status;
        if (err != NULL)
            *err = c->compaction.err;
    }
    pthread_mutex_unlock(&c->gate);
    pthread_mutex_lock(&c->state);
    retired = c->retired;
    c->retired = NULL;
    pthread_mutex_unlock(&c->state);
    poly_part_release(c, retired);
    if (retired != NULL) {
        free(c->compaction.map);
        c->compaction.map = NULL;
        c->compaction.carried = c->compaction.room = 0;
    }
    if (status != POLY_OK)
        drop(c);
    return status;
}

enum poly_status poly_collection_work(struct poly_collection *c, unsigned threads,
                                      const atomic_bool *stop, bool *more, struct poly_error *err)
{
    struct linker slice = {.stop = stop, .until = poly_clock_monotonic() + SLICE};
    enum poly_status status = take_turn(c, err);
    bool all = false;

    if (status == POLY_OK && c->next == NULL && due(c) && !poly_is_stopped(stop))
        status = begin(c, stop, err);
    if (status != POLY_OK)
        return status;
    if (c->next != NULL) { /* afterwards publish() may have swapped: nothing is looked at here */
        status = compact(c, threads, &slice, &all, err);
    } else {
        slice.index = c->part->index;
        status = link_slots(&slice, threads, &all, err);
        all = all && !due(c);
    }
    if (status == POLY_OK)
        *more = !all;
    return status;
}
