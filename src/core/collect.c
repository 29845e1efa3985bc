/*
 * Batches of the log for a projection. A follower that has much to catch up with
 * reads the next batch while the present one is applied: reading waits for the log's
 * database, applying for the store's, and each has a processor of its own to do.
 *
 * The thread that reads ahead lives for one batch. It is joined before anything else
 * happens, so it shares only what does not change meanwhile, and needs no lock, no
 * signal and no way to be stopped; beside a batch of thousands it costs nothing.
 *
 * What was read ahead is a guess at what will be asked for next. Whoever asks for
 * something else reads it himself, and so does whoever finds that reading ahead has
 * failed: what went wrong is then found again, by the one who knows what to do.
 */
#include "core/projector.h"

#include <string.h>

enum {
    FIRST_RECORDS = 64,   /* room for so many at first: most batches are small */
    GROUP_RECORDS = 512,  /* co-located: writers wait for it */
    BATCH_RECORDS = 4000, /* followers: fewer commits and fewer segments of FTS5 to merge */
    BATCH_BYTES = 4 * 1024 * 1024,
    BATCH_LOOKED = 50000 /* records looked at for one batch */
};

struct collector {
    struct poly_projection *projection;
    struct poly_arena *arena;
    struct poly_record *records;
    size_t count, room, enough;
    bool no_memory;
    bool strangers; /* there may have been records of somebody whom we do not know */
};

static bool make_room(struct collector *collector)
{
    size_t room = collector->room == 0 ? FIRST_RECORDS : collector->room * 2;
    struct poly_record *records = poly_arena_array(collector->arena, room, sizeof(*records));

    if (records == NULL)
        return false;
    if (collector->count > 0)
        memcpy(records, collector->records, collector->count * sizeof(*records));
    collector->records = records;
    collector->room = room;
    return true;
}

static bool skipped(const struct poly_projection *projection, uint64_t position)
{
    for (size_t i = 0; i < projection->work.skipped; i++) {
        if (projection->skips[i] == position)
            return true;
    }
    return false;
}

static bool is_delete(const struct poly_record *record)
{
    static const char type[] = "$delete";

    return record->type.size == sizeof(type) - 1 &&
           memcmp(record->type.data, type, sizeof(type) - 1) == 0;
}

static bool wanted(void *arg, const struct poly_record *record)
{
    struct collector *collector = arg;
    const struct poly_projection *projection = collector->projection;
    bool sure;
    enum poly_record_owner owner =
        poly_config_owner(projection->instance->config, record->domain, record->position, &sure);

    collector->strangers |= !sure;
    return owner != POLY_RECORD_NOBODY && (owner == POLY_RECORD_NOW || is_delete(record)) &&
           projection->driver->wants(projection->store, record->domain) &&
           !skipped(projection, record->position);
}

static bool collect_one(void *arg, const struct poly_record *record)
{
    struct collector *collector = arg;

    if (!wanted(arg, record))
        return true;
    if ((collector->count == collector->room && !make_room(collector)) ||
        !poly_record_copy(collector->arena, record, &collector->records[collector->count])) {
        collector->no_memory = true;
        return false;
    }
    collector->count++;
    return collector->count < collector->enough && poly_arena_used(collector->arena) < BATCH_BYTES;
}

/* Into the arena, which begins anew. */
static enum poly_status read_once(struct poly_projection *projection, struct poly_db *db,
                                  uint64_t upto, struct poly_arena *arena, struct poly_batch *batch,
                                  bool *strangers, struct poly_error *err)
{
    uint64_t after = batch->after;
    struct poly_log_query query = {.after = after};
    struct collector collector = {.projection = projection,
                                  .arena = arena,
                                  .enough = projection->follower ? BATCH_RECORDS : GROUP_RECORDS};
    struct poly_scan scan = {.instance = projection->instance,
                             .query = &query,
                             .all_tenants = true,
                             .upto = upto,
                             .limit = BATCH_LOOKED,
                             .enough = (uint32_t)collector.enough,
                             .arena = projection->scratch,
                             .visit = collect_one,
                             .wants = wanted,
                             .arg = &collector,
                             .last = after};
    enum poly_status status;

    *batch = (struct poly_batch){.records = NULL};
    poly_arena_reset(arena);
    poly_arena_reset(projection->scratch);
    status = poly_log_scan(db, &scan, err);
    *strangers = collector.strangers;
    if (status == POLY_OK && collector.no_memory)
        status = poly_no_memory(err);
    if (status != POLY_OK && (scan.failed == 0 || collector.count == 0)) {
        batch->failed = scan.failed;
        return status;
    }
    if (status != POLY_OK) /* the next batch begins with it */
        scan.last = scan.failed - 1;
    else if (!scan.more && !scan.stopped) /* nothing more below upto, holes included */
        scan.last = upto;
    *batch = (struct poly_batch){
        .records = collector.records, .count = collector.count, .last = scan.last};
    return POLY_OK;
}

/* What nobody seems to own, or the last that had the name, may be of a collection that is new: its
 * definition is there before its first record. */
static enum poly_status read_log(struct poly_projection *projection, struct poly_db *db,
                                 uint64_t after, uint64_t upto, struct poly_arena *arena,
                                 struct poly_batch *batch, struct poly_error *err)
{
    bool strangers, known = true;
    enum poly_status status;

    batch->after = after;
    status = read_once(projection, db, upto, arena, batch, &strangers, err);
    if (status == POLY_OK && strangers)
        status = poly_stores_known(projection->instance, db, &known, err);
    if (status != POLY_OK || known)
        return status;
    batch->after = after;
    return read_once(projection, db, upto, arena, batch, &strangers, err);
}

/* Is it what is asked for now, and of the log as we know it? */
static bool take_ahead(struct poly_projection *projection, uint64_t after, uint64_t upto,
                       struct poly_batch *batch)
{
    struct poly_ahead *ahead = &projection->ahead;
    struct poly_arena *records = projection->records;

    if (!ahead->ready || ahead->after != after || ahead->upto > upto ||
        ahead->era != projection->era)
        return false;
    projection->records = projection->next;
    projection->next = records;
    poly_arena_reset(projection->next); /* it may be the last for long */
    *batch = ahead->batch;
    ahead->ready = false;
    return true;
}

enum poly_status poly_collect(struct poly_projection *projection, struct poly_db *db,
                              uint64_t after, uint64_t upto, struct poly_batch *batch,
                              struct poly_error *err)
{
    if (take_ahead(projection, after, upto, batch))
        return POLY_OK;
    return read_log(projection, db, after, upto, projection->records, batch, err);
}

static void *read_ahead(void *arg)
{
    struct poly_projection *projection = arg;
    struct poly_ahead *ahead = &projection->ahead;
    struct poly_error ignored;

    ahead->status = read_log(projection, ahead->db, ahead->after, ahead->upto, projection->next,
                             &ahead->batch, &ignored);
    return NULL;
}

void poly_collect_ahead(struct poly_projection *projection, struct poly_db *db,
                        const struct poly_batch *batch, uint64_t upto)
{
    struct poly_ahead *ahead = &projection->ahead;

    /* What is ready is another generation's. */
    if (ahead->ready || batch->count == 0 || batch->last >= upto)
        return;
    *ahead =
        (struct poly_ahead){.db = db, .after = batch->last, .upto = upto, .era = projection->era};
    ahead->runs = pthread_create(&ahead->thread, NULL, read_ahead, projection) == 0;
    if (ahead->runs)
        pthread_setname_np(ahead->thread, "poly-ahead");
}

void poly_collect_join(struct poly_projection *projection, enum poly_status applied)
{
    struct poly_ahead *ahead = &projection->ahead;

    if (!ahead->runs)
        return;
    pthread_join(ahead->thread, NULL);
    ahead->runs = false;
    ahead->ready = ahead->status == POLY_OK && applied == POLY_OK;
}

void poly_collect_forget(struct poly_projection *projection)
{
    projection->ahead.ready = false;
    poly_arena_reset(projection->next);
}

void poly_collect_turn(struct poly_projection *projection)
{
    if (projection->ahead.ready && projection->ahead.turns++ > 0)
        poly_collect_forget(projection);
}
