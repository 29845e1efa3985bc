/*
 * One search: the part and the state to look at, the slots that may be answered, the nearest of
 * them, and what the index knows nothing of: order among equal distances, pages, groups.
 *
 * The index gives a number of nearest slots; which of several that are equally far comes last
 * is chance. So one more is asked for than is needed, and when the last one is as far as the last
 * that is needed, more again: then all that are equally far are known, keys decide, and pages fit
 * together. Groups ask for more in the same way, because nobody knows how many of the nearest
 * belong to the same group. When the most that may be asked for is not enough, the groups that are
 * full are taken out of what may be answered, and the rest is asked for again: so there are as many
 * answers as there can be.
 */
#include "stores/vector/engine/collection_inside.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/assert.h"
#include "base/status.h"

enum {
    ASK_MAX = 11000,
    EF_LEAST = 100,
    EF_MOST = 500 /* of the default */
};

struct group {
    struct poly_value value;
    uint32_t count; /* answers of it; 0: a free place */
};

/* What a search is about, as it goes on. */
struct finder {
    const struct poly_find *find;
    struct poly_part *part;
    struct poly_arena *arena;
    const struct poly_slots *slots; /* NULL: all */
    struct poly_slots narrowed;     /* without full groups, in .bits */
    uint64_t *bits;
    size_t group;  /* column */
    uint32_t self; /* slot of like; POLY_NO_SLOT: none */
    uint32_t need; /* answers, with those before the page */
    struct poly_index_search search;
    struct poly_near *near; /* what was found, in order … */
    uint32_t room, count;
    uint32_t good;  /* … as far as others cannot come between */
    bool exhausted; /* nothing else matches */
    uint64_t visited;

    struct group *groups; /* a hash table */
    size_t group_mask;
    struct poly_near *taken; /* answers; without groups: .near */
    uint32_t taken_count;
};

/* --- what is looked for --- */

static int compare_texts(struct poly_text a, struct poly_text b)
{
    size_t size = a.size < b.size ? a.size : b.size;
    int order = size == 0 ? 0 : memcmp(a.data, b.data, size);

    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static bool is_key(const struct poly_catalog *catalog, uint32_t slot, struct poly_text owner,
                   struct poly_text key)
{
    struct poly_catalog_entry entry;

    poly_catalog_entry(catalog, slot, &entry);
    return compare_texts(entry.owner, owner) == 0 && compare_texts(entry.key, key) == 0;
}

/* Under state: the slot that has the key in what is published. The catalog knows what will be; what
 * that replaces is noted. */
static uint32_t published_slot(const struct poly_collection *c, struct poly_text owner,
                               struct poly_text key)
{
    uint32_t slot = poly_catalog_slot(c->part->catalog, owner, key);

    if (slot < c->end)
        return slot;
    for (size_t i = 0; i < c->replaced_count; i++) {
        if (c->replaced[i] < c->end && is_key(c->part->catalog, c->replaced[i], owner, key))
            return c->replaced[i];
    }
    return POLY_NO_SLOT;
}

/* In a state that is not the last one any more: nobody has noted what has the key there, and this
 * is seldom. */
static uint32_t former_slot(const struct finder *f, struct poly_text owner, struct poly_text key)
{
    for (uint32_t slot = f->search.end; slot-- > 0;) {
        if (poly_index_alive(f->part->index, slot, f->search.end) &&
            is_key(f->part->catalog, slot, owner, key))
            return slot;
    }
    return POLY_NO_SLOT;
}

/* Holds the part, the state, and the slot of like, all of one moment. */
static enum poly_status begin(struct poly_collection *c, struct finder *f, struct poly_error *err)
{
    const struct poly_find *find = f->find;
    struct poly_text nobody = {"", 0}, owner = find->owner == NULL ? nobody : *find->owner;
    bool last = true;

    f->self = POLY_NO_SLOT;
    pthread_mutex_lock(&c->state);
    f->part = find->state == NULL ? c->part : find->state->part;
    f->part->held++;
    f->search.end = find->state == NULL ? c->end : find->state->end;
    last = f->part == c->part && f->search.end == c->end;
    if (find->vector == NULL && last)
        f->self = published_slot(c, owner, find->like);
    pthread_mutex_unlock(&c->state);
    if (find->vector == NULL && !last)
        f->self = former_slot(f, owner, find->like);
    if (find->vector == NULL && f->self == POLY_NO_SLOT)
        return poly_fail(err, POLY_NOT_FOUND, "no record '%.*s' with a vector",
                         (int)find->like.size, find->like.data);
    return POLY_OK;
}

static enum poly_status prepare_query(const struct poly_collection *c, struct finder *f,
                                      struct poly_error *err)
{
    const struct poly_index_options *shape = &c->shape;
    void *packed = poly_arena_alloc(f->arena, poly_element_size(shape->element, shape->dimensions));
    float *query = poly_arena_array(f->arena, shape->dimensions, sizeof(*query));
    const void *original = packed;
    enum poly_status status = POLY_OK;

    if (packed == NULL || query == NULL)
        return poly_no_memory(err);
    if (f->self != POLY_NO_SLOT)
        original = poly_index_original(f->part->index, f->self);
    else
        status = poly_vector_pack(shape->element, shape->metric, f->find->vector, shape->dimensions,
                                  packed, err);
    if (status == POLY_OK)
        poly_vector_unpack(shape->element, shape->metric, original, shape->dimensions, query);
    f->search.query = query;
    return status;
}

static enum poly_status prepare_group(const struct poly_collection *c, struct finder *f,
                                      struct poly_error *err)
{
    size_t places = 16;

    if (f->find->group == NULL)
        return POLY_OK;
    while (f->group < c->column_count && strcmp(c->columns[f->group], f->find->group) != 0)
        f->group++;
    if (f->group == c->column_count)
        return poly_fail(err, POLY_INVALID, "group: '%s' is no column that one may filter by",
                         f->find->group);
    while (places < (size_t)f->need * 2)
        places *= 2;
    f->group_mask = places - 1;
    f->groups = poly_arena_array(f->arena, places, sizeof(*f->groups));
    f->taken = poly_arena_array(f->arena, f->need, sizeof(*f->taken));
    return f->groups == NULL || f->taken == NULL ? poly_no_memory(err) : POLY_OK;
}

/* --- order --- */

static int compare_near(const void *a, const void *b, void *arg)
{
    const struct poly_near *x = a, *y = b;
    const struct poly_catalog *catalog = arg;
    struct poly_catalog_entry one, other;
    int order;

    if (x->distance != y->distance)
        return x->distance < y->distance ? -1 : 1;
    poly_catalog_entry(catalog, x->slot, &one);
    poly_catalog_entry(catalog, y->slot, &other);
    order = compare_texts(one.key, other.key);
    return order != 0 ? order : compare_texts(one.owner, other.owner);
}

static void sort_near(struct finder *f)
{
    qsort_r(f->near, f->count, sizeof(*f->near), compare_near, f->part->catalog);
}

/* --- asking --- */

static void leave_out_self(struct finder *f)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < f->count; i++) {
        if (f->near[i].slot != f->self)
            f->near[kept++] = f->near[i];
    }
    f->count = kept;
}

/* The nearest that may be answered, in order. spare: room for so many more in .near. */
static enum poly_status ask(struct finder *f, struct poly_index *index, uint32_t most,
                            uint32_t spare, struct poly_error *err)
{
    enum poly_status status;
    float last;

    if (most + spare > f->room) {
        f->near = poly_arena_array(f->arena, most + spare, sizeof(*f->near));
        if (f->near == NULL)
            return poly_no_memory(err);
        f->room = most + spare;
    }
    f->search.k = most;
    f->search.slots = f->slots;
    status = poly_index_find(index, &f->search, f->near, &f->count, err);
    if (status != POLY_OK)
        return status;
    f->visited += f->search.visited;
    f->exhausted = f->count < most;
    last = f->count == 0 ? 0 : f->near[f->count - 1].distance;
    leave_out_self(f);
    sort_near(f);
    f->good = f->count;
    while (!f->exhausted && most < ASK_MAX && f->good > 0 && f->near[f->good - 1].distance >= last)
        f->good--;
    return POLY_OK;
}

/* --- groups --- */

static uint64_t hash_value(const struct poly_value *value)
{
    switch (value->type) {
    case POLY_TEXT:
    case POLY_BYTES:
    case POLY_JSON:
        return XXH3_64bits(value->text.data, value->text.size);
    case POLY_UUID:
        return XXH3_64bits(value->uuid, sizeof(value->uuid));
    case POLY_NULL:
        return 0;
    case POLY_BOOL:
        return value->boolean;
    default:
        return XXH3_64bits(&value->integer, sizeof(value->integer));
    }
}

static bool same_value(const struct poly_value *a, const struct poly_value *b)
{
    if (a->type != b->type)
        return false;
    switch (a->type) {
    case POLY_TEXT:
    case POLY_BYTES:
    case POLY_JSON:
        return compare_texts(a->text, b->text) == 0;
    case POLY_UUID:
        return memcmp(a->uuid, b->uuid, sizeof(a->uuid)) == 0;
    case POLY_NULL:
        return true;
    case POLY_BOOL:
        return a->boolean == b->boolean;
    default:
        return a->integer == b->integer;
    }
}

/* The group of a slot, or the free place for it. */
static struct group *group_of(const struct finder *f, uint32_t slot, struct poly_value *value)
{
    size_t at;

    poly_catalog_value(f->part->catalog, slot, f->group, value);
    at = hash_value(value) & f->group_mask;
    while (f->groups[at].count > 0 && !same_value(&f->groups[at].value, value))
        at = (at + 1) & f->group_mask;
    return &f->groups[at];
}

/* Takes the nearest of what was found, of each group as many as may be. */
static void take(struct finder *f)
{
    struct poly_value value;

    if (f->groups == NULL) {
        f->taken = f->near;
        f->taken_count = f->good < f->need ? f->good : f->need;
        return;
    }
    memset(f->groups, 0, (f->group_mask + 1) * sizeof(*f->groups));
    f->taken_count = 0;
    for (uint32_t i = 0; i < f->good && f->taken_count < f->need; i++) {
        struct group *group = group_of(f, f->near[i].slot, &value);

        if (group->count >= f->find->group_limit)
            continue;
        group->value = value;
        group->count++;
        f->taken[f->taken_count++] = f->near[i];
    }
}

static bool enough(const struct finder *f)
{
    return f->exhausted || f->taken_count == f->need;
}

/* --- when the most that may be asked for is not enough --- */

static bool is_full(const struct finder *f, uint32_t slot)
{
    struct poly_value value;

    return f->groups != NULL && group_of(f, slot, &value)->count >= f->find->group_limit;
}

/* From here on without the slot itself, and without the groups that have all they may. */
static enum poly_status narrow(struct finder *f, struct poly_error *err)
{
    const struct poly_slots *from = f->slots;
    const uint32_t *list = from == NULL ? NULL : from->list;
    const uint64_t *old = from == NULL ? NULL : from->bits; /* of the last time, it may be */
    uint32_t count = list != NULL ? from->count : old != NULL ? from->bit_count : f->search.end;
    struct poly_slots to = {.bit_count = f->search.end};

    if (f->bits == NULL)
        f->bits = poly_arena_array(f->arena, (size_t)f->search.end / 64 + 1, sizeof(*f->bits));
    if (f->bits == NULL)
        return poly_no_memory(err);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t slot = list != NULL ? list[i] : i;
        uint64_t bit = (uint64_t)1 << (slot % 64);

        if (slot >= f->search.end || (old != NULL && (old[slot / 64] & bit) == 0))
            continue;
        f->bits[slot / 64] &= ~bit;
        if (slot == f->self || !poly_index_alive(f->part->index, slot, f->search.end) ||
            is_full(f, slot))
            continue;
        f->bits[slot / 64] |= bit;
        to.count++;
    }
    to.bits = f->bits;
    f->narrowed = to;
    f->slots = &f->narrowed;
    return POLY_OK;
}

/* What full groups have stays; the rest is found again, among fewer. */
static enum poly_status take_rest(struct finder *f, struct poly_error *err)
{
    struct poly_near *kept = poly_arena_array(f->arena, f->need, sizeof(*kept));
    enum poly_status status;
    uint32_t count = 0;

    if (kept == NULL)
        return poly_no_memory(err);
    for (uint32_t i = 0; i < f->taken_count; i++) {
        if (is_full(f, f->taken[i].slot))
            kept[count++] = f->taken[i];
    }
    status = narrow(f, err);
    if (status == POLY_OK)
        status = ask(f, f->part->index, ASK_MAX, f->need, err);
    if (status != POLY_OK)
        return status;
    memcpy(f->near + f->count, kept, count * sizeof(*kept));
    f->count += count;
    f->good = f->count;
    sort_near(f);
    take(f);
    return POLY_OK;
}

static enum poly_status find_near(struct finder *f, struct poly_error *err)
{
    uint32_t most = f->need + 1 + (f->self != POLY_NO_SLOT);
    enum poly_status status = POLY_OK;

    if (most > ASK_MAX && f->self != POLY_NO_SLOT)
        status = narrow(f, err);
    for (bool again = true; status == POLY_OK && again; most *= 4) {
        most = most > ASK_MAX ? ASK_MAX : most;
        status = ask(f, f->part->index, most, 0, err);
        if (status == POLY_OK)
            take(f);
        again = !enough(f) && most < ASK_MAX;
    }
    while (status == POLY_OK && f->groups != NULL && !enough(f))
        status = take_rest(f, err);
    return status;
}

/* --- the answer --- */

static enum poly_status copy_found(const struct poly_collection *c, const struct finder *f,
                                   const struct poly_near *near, struct poly_found *found,
                                   struct poly_error *err)
{
    struct poly_catalog_entry entry;
    float *vector;

    poly_catalog_entry(f->part->catalog, near->slot, &entry);
    found->owner.size = entry.owner.size;
    found->owner.data = poly_arena_copy(f->arena, entry.owner.data, entry.owner.size);
    found->key.size = entry.key.size;
    found->key.data = poly_arena_copy(f->arena, entry.key.data, entry.key.size);
    found->version = entry.version;
    found->distance = near->distance;
    if (found->owner.data == NULL || found->key.data == NULL)
        return poly_no_memory(err);
    if (!f->find->vectors)
        return POLY_OK;
    vector = poly_arena_array(f->arena, c->shape.dimensions, sizeof(*vector));
    if (vector == NULL)
        return poly_no_memory(err);
    poly_vector_unpack(c->shape.element, c->shape.metric,
                       poly_index_original(f->part->index, near->slot), c->shape.dimensions,
                       vector);
    found->vector = vector;
    return POLY_OK;
}

static enum poly_status answer(const struct poly_collection *c, const struct finder *f,
                               struct poly_finding *finding, struct poly_error *err)
{
    uint32_t offset = f->find->offset;
    uint32_t count = f->taken_count < offset ? 0 : f->taken_count - offset;
    struct poly_found *found = poly_arena_array(f->arena, count + 1, sizeof(*found));

    if (found == NULL)
        return poly_no_memory(err);
    for (uint32_t i = 0; i < count; i++) {
        enum poly_status status = copy_found(c, f, &f->taken[offset + i], &found[i], err);

        if (status != POLY_OK)
            return status;
    }
    *finding = (struct poly_finding){
        .found = found, .count = count, .plan = f->search.plan, .visited = f->visited};
    return POLY_OK;
}

static uint64_t candidates(const struct finder *f, const struct poly_slots *slots)
{
    struct poly_index_numbers numbers;

    if (slots != NULL)
        return slots->count;
    poly_index_measure(f->part->index, &numbers);
    return numbers.slots - numbers.dead;
}

static enum poly_status run(struct poly_collection *c, struct finder *f,
                            struct poly_finding *finding, struct poly_error *err)
{
    const struct poly_find *find = f->find;
    bool all = find->owner == NULL && find->where == NULL;
    struct poly_slots slots;
    enum poly_status status = prepare_query(c, f, err);

    if (status == POLY_OK)
        status = prepare_group(c, f, err);
    if (status == POLY_OK && !all)
        status = poly_catalog_select(f->part->catalog, find->owner, find->where, f->search.end,
                                     &slots, err);
    if (status != POLY_OK)
        return status;
    f->slots = all ? NULL : &slots;
    status = find_near(f, err);
    if (status == POLY_OK)
        status = answer(c, f, finding, err);
    if (status == POLY_OK)
        finding->candidates = candidates(f, all ? NULL : &slots);
    if (!all)
        poly_catalog_release(f->part->catalog, &slots);
    return status;
}

/* Candidates that are kept while searching: enough for a recall of 0.95 and more at the k. */
static uint32_t default_ef(uint32_t k)
{
    uint32_t ef = k * 4;

    return ef < EF_LEAST ? EF_LEAST : ef > EF_MOST ? EF_MOST : ef;
}

enum poly_status poly_collection_find(struct poly_collection *c, const struct poly_find *find,
                                      struct poly_arena *arena, struct poly_finding *finding,
                                      struct poly_error *err)
{
    struct finder f = {.find = find, .arena = arena, .need = find->offset + find->limit};
    enum poly_status status;

    poly_assert(find->limit > 0 && find->limit <= ASK_MAX && find->offset <= ASK_MAX - find->limit);
    poly_assert(find->group == NULL || find->group_limit > 0);
    f.search.ef = find->ef == 0 ? default_ef(f.need) : find->ef;
    f.search.farthest = find->farthest;
    f.search.exact = find->exact;
    f.search.way = find->way;
    f.search.deadline = find->deadline;
    status = begin(c, &f, err);
    if (status == POLY_OK)
        status = run(c, &f, finding, err);
    poly_part_release(c, f.part);
    return status;
}
