/*
 * Which slots fit. The slots to look at are those of the owner, or all; what fits of them is kept
 * as a list while it is short and as bits from one slot in thirty-two on, which is where bits are
 * the smaller form. An answer that nobody holds grows in place; one that somebody holds is copied
 * first: what a reader was given never changes.
 */
#include <sodium.h>
#include <string.h>

#include "base/status.h"
#include "stores/vector/engine/catalog_inside.h"

enum { SPARSE = 32 /* one of so many: a number takes as much as so many bits */ };

static const uint32_t nothing[1];

/* What is being asked. */
struct asking {
    struct poly_catalog *catalog;
    const struct poly_where *where;
    struct poly_kept_set *set;
    struct poly_condition *condition;
    uint32_t end;
    uint32_t count;       /* of the set, as it grows */
    const uint32_t *gaps; /* slots that are none, ascending */
    uint32_t gap_count;
    struct poly_error *err;
};

/* --- the digest --- */

static void digest_bytes(crypto_generichash_state *state, const void *data, size_t size)
{
    uint64_t length = size; /* so that no two rows of texts are the same bytes */

    crypto_generichash_update(state, (const unsigned char *)&length, sizeof(length));
    if (size > 0)
        crypto_generichash_update(state, data, size);
}

static void digest_filter(crypto_generichash_state *state, const struct poly_filter *filter)
{
    const uint64_t head[] = {(uint64_t)filter->compare, filter->path != NULL, filter->value_count};

    digest_bytes(state, head, sizeof(head));
    digest_bytes(state, filter->column, strlen(filter->column));
    digest_bytes(state, filter->path, filter->path == NULL ? 0 : strlen(filter->path));
    for (size_t i = 0; i < filter->value_count; i++) {
        struct poly_cell cell;

        poly_cell_of(&filter->values[i], &cell);
        digest_bytes(state, &cell.type, sizeof(cell.type));
        if (cell.type == POLY_TEXT || cell.type == POLY_BYTES || cell.type == POLY_JSON ||
            cell.type == POLY_UUID)
            digest_bytes(state, cell.text, cell.size);
        else
            digest_bytes(state, &cell.integer, sizeof(cell.integer));
    }
}

static void digest_where(crypto_generichash_state *state, const struct poly_where *where)
{
    const uint64_t head[] = {(uint64_t)where->kind, where->part_count};

    if (where->kind == POLY_WHERE_COMPARE) {
        digest_bytes(state, head, sizeof(head[0]));
        digest_filter(state, where->compare);
        return;
    }
    digest_bytes(state, head, sizeof(head));
    for (size_t i = 0; i < where->part_count; i++)
        digest_where(state, where->parts[i]);
}

static void make_key(const struct poly_where *where, uint32_t owner, struct poly_kept_key *key)
{
    crypto_generichash_state state;

    memset(key, 0, sizeof(*key));
    key->owner = owner;
    if (where == NULL)
        return;
    crypto_generichash_init(&state, NULL, 0, sizeof(key->digest));
    digest_where(&state, where);
    crypto_generichash_final(&state, key->digest, sizeof(key->digest));
}

/* --- growing an answer --- */

static size_t element(const struct poly_kept_set *set)
{
    return set->is_bits ? sizeof(uint64_t) : sizeof(uint32_t);
}

/* Room for so many slots or words, in memory that nobody else looks at; used: of them, now. */
static enum poly_status make_room(struct poly_kept_set *set, size_t used, size_t wanted,
                                  struct poly_error *err)
{
    struct poly_shared *old = set->shared, *more;
    size_t room = wanted + wanted / 4 + 16;

    if (old != NULL && old->capacity >= wanted &&
        atomic_load_explicit(&old->holders, memory_order_acquire) == 1)
        return POLY_OK;
    more = poly_shared_new(room * element(set));
    if (more == NULL)
        return poly_no_memory(err);
    more->capacity = (uint32_t)room;
    memset(more->words, 0, room * element(set));
    if (used > 0)
        memcpy(more->words, old->words, used * element(set));
    poly_shared_release(old);
    set->shared = more;
    return POLY_OK;
}

static size_t words_of(uint32_t bits)
{
    return ((size_t)bits + 63) / 64;
}

static void set_bit(struct poly_shared *shared, uint32_t slot)
{
    shared->words[slot / 64] |= UINT64_C(1) << (slot % 64);
}

static enum poly_status become_bits(struct asking *a)
{
    struct poly_kept_set *set = a->set;
    struct poly_shared *list = set->shared;
    enum poly_status status;

    set->shared = NULL;
    set->is_bits = true;
    status = make_room(set, 0, words_of(a->end), a->err);
    if (status != POLY_OK) {
        set->shared = list;
        set->is_bits = false;
        return status;
    }
    for (uint32_t i = 0; i < a->count; i++)
        set_bit(set->shared, list->slots[i]);
    poly_shared_release(list);
    return POLY_OK;
}

static uint32_t slot_of(const struct poly_block *block, uint32_t i)
{
    return block->list != NULL ? block->list[i] : block->first + i;
}

static enum poly_status add_to_list(struct asking *a, const struct poly_block *block,
                                    const uint64_t *bits, uint32_t count)
{
    enum poly_status status = make_room(a->set, a->count, (size_t)a->count + count, a->err);

    if (status != POLY_OK)
        return status;
    for (uint32_t w = 0; w < POLY_BLOCK_WORDS; w++)
        for (uint64_t left = bits[w]; left != 0; left &= left - 1)
            a->set->shared->slots[a->count++] =
                slot_of(block, w * 64 + (uint32_t)__builtin_ctzll(left));
    return POLY_OK;
}

static void add_to_bits(struct asking *a, const struct poly_block *block, const uint64_t *bits,
                        uint32_t count)
{
    struct poly_shared *shared = a->set->shared;

    a->count += count;
    if (block->list == NULL) { /* begins on a word */
        for (uint32_t w = 0; w * 64 < block->count; w++)
            shared->words[block->first / 64 + w] |= bits[w];
        return;
    }
    for (uint32_t w = 0; w < POLY_BLOCK_WORDS; w++)
        for (uint64_t left = bits[w]; left != 0; left &= left - 1)
            set_bit(shared, slot_of(block, w * 64 + (uint32_t)__builtin_ctzll(left)));
}

static void clear_gaps(struct asking *a, const struct poly_block *block, uint64_t *bits)
{
    for (; a->gap_count > 0 && a->gaps[0] - block->first < block->count; a->gap_count--) {
        uint32_t at = *a->gaps++ - block->first;

        bits[at / 64] &= ~(UINT64_C(1) << (at % 64));
    }
}

/* One block; slots before .done are in already. */
static enum poly_status add_block(struct asking *a, const struct poly_block *block)
{
    uint64_t bits[POLY_BLOCK_WORDS];
    uint32_t count = 0;
    enum poly_status status = POLY_OK;

    poly_condition_block(a->condition, block, bits);
    if (block->list == NULL && block->first < a->set->done)
        bits[0] &= ~UINT64_C(0) << (a->set->done - block->first);
    if (block->list == NULL)
        clear_gaps(a, block, bits);
    for (uint32_t w = 0; w < POLY_BLOCK_WORDS; w++)
        count += (uint32_t)__builtin_popcountll(bits[w]);
    if (poly_condition_failed(a->condition))
        return poly_no_memory(a->err);
    if (!a->set->is_bits && (uint64_t)(a->count + count) * SPARSE > a->end)
        status = become_bits(a);
    if (status != POLY_OK)
        return status;
    if (!a->set->is_bits)
        return add_to_list(a, block, bits, count);
    add_to_bits(a, block, bits, count);
    return POLY_OK;
}

static enum poly_status add_all(struct asking *a)
{
    enum poly_status status = POLY_OK;
    struct poly_block block = {.first = a->set->done & ~UINT32_C(63)};

    while (block.first < a->end && status == POLY_OK) {
        block.count = a->end - block.first < POLY_BLOCK ? a->end - block.first : POLY_BLOCK;
        status = add_block(a, &block);
        block.first += block.count;
    }
    return status;
}

static uint32_t below(const uint32_t *list, uint32_t count, uint32_t end)
{
    uint32_t low = 0, high = count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (list[middle] < end)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static enum poly_status add_listed(struct asking *a, const struct poly_shared *list, uint32_t at,
                                   uint32_t count)
{
    enum poly_status status = POLY_OK;

    while (at < count && status == POLY_OK) {
        struct poly_block block = {.list = list->slots + at,
                                   .count = count - at < POLY_BLOCK ? count - at : POLY_BLOCK};

        status = add_block(a, &block);
        at += block.count;
    }
    return status;
}

/* The slots from .done to .end of an owner's, or all. */
static enum poly_status add_slots(struct asking *a, const struct poly_shared *list, uint32_t from,
                                  uint32_t count)
{
    if (a->set->key.owner == POLY_ALL_OWNERS)
        return add_all(a);
    return add_listed(a, list, from, count);
}

/* Looks at the slots that have come since. */
static enum poly_status extend(struct asking *a)
{
    struct poly_kept_set *set = a->set;
    bool all = set->key.owner == POLY_ALL_OWNERS;
    /* all: without those that are nobody's */
    uint32_t owner = all ? POLY_NO_OWNER : set->key.owner, listed;
    struct poly_shared *list = poly_catalog_owner_hold(a->catalog, owner, a->end, &listed);
    uint32_t from = list == NULL ? 0 : below(list->slots, listed, set->done);
    enum poly_status status = poly_condition_new(
        a->catalog, a->where, all ? a->end - set->done : listed - from, &a->condition, a->err);

    a->count = set->count;
    a->gaps = list == NULL ? nothing : list->slots + from;
    a->gap_count = all ? listed - from : 0;
    if (status == POLY_OK && set->is_bits)
        status = make_room(set, words_of(set->done), words_of(a->end), a->err);
    if (status == POLY_OK)
        status = add_slots(a, list, from, listed);
    if (status == POLY_OK) {
        set->done = a->end;
        set->count = a->count;
    }
    poly_condition_free(a->condition);
    poly_shared_release(list);
    return status;
}

/* --- handing it out --- */

/* Bits that are set from one place to another. */
static uint32_t count_bits(const uint64_t *words, uint32_t from, uint32_t to)
{
    uint32_t count = 0;

    for (uint32_t w = from / 64; w < words_of(to); w++) {
        uint64_t word = words[w];

        if (w == from / 64)
            word &= ~UINT64_C(0) << (from % 64);
        if (w == to / 64)
            word &= (UINT64_C(1) << (to % 64)) - 1;
        count += (uint32_t)__builtin_popcountll(word);
    }
    return count;
}

static void hand_out(const struct poly_kept_set *set, uint32_t end, struct poly_slots *slots)
{
    *slots = (struct poly_slots){.list = nothing};
    if (set->shared == NULL)
        return;
    poly_shared_hold(set->shared);
    if (set->is_bits)
        *slots = (struct poly_slots){.bits = set->shared->words,
                                     .bit_count = end,
                                     .count = set->count -
                                              count_bits(set->shared->words, end, set->done)};
    else
        *slots = (struct poly_slots){.list = set->shared->slots,
                                     .count = below(set->shared->slots, set->count, end)};
}

static enum poly_status from_kept(struct poly_catalog *c, uint32_t owner,
                                  const struct poly_where *where, uint32_t end,
                                  struct poly_slots *slots, struct poly_error *err)
{
    struct asking a = {.catalog = c, .where = where, .end = end, .err = err};
    struct poly_kept_key key;
    enum poly_status status;
    size_t bytes;

    make_key(where, owner, &key);
    status = poly_kept_take(c->kept, &key, &a.set, err);
    if (status != POLY_OK)
        return status;
    pthread_mutex_lock(&a.set->turn);
    if (a.set->done < end)
        status = extend(&a);
    if (status == POLY_OK)
        hand_out(a.set, end, slots);
    bytes = a.set->shared == NULL ? 0 : a.set->shared->capacity * element(a.set);
    pthread_mutex_unlock(&a.set->turn);
    poly_kept_put_back(c->kept, a.set, bytes);
    return status;
}

/* All slots of an owner, when they are few: its list as it is. */
static bool from_owner(struct poly_catalog *c, uint32_t owner, uint32_t end,
                       struct poly_slots *slots)
{
    uint32_t count;
    struct poly_shared *list = poly_catalog_owner_hold(c, owner, end, &count);

    if ((uint64_t)count * SPARSE > end) {
        poly_shared_release(list);
        return false;
    }
    *slots = (struct poly_slots){.list = list == NULL ? nothing : list->slots, .count = count};
    return true;
}

enum poly_status poly_catalog_select(struct poly_catalog *c, const struct poly_text *owner,
                                     const struct poly_where *where, uint32_t end,
                                     struct poly_slots *slots, struct poly_error *err)
{
    const struct poly_value name = {.type = POLY_TEXT,
                                    .text = owner == NULL ? poly_text("") : *owner};
    uint32_t published = atomic_load_explicit(&c->published, memory_order_acquire);
    uint32_t number = POLY_ALL_OWNERS;
    enum poly_status status = poly_condition_check(c, where, err);

    end = end < published ? end : published;
    if (status != POLY_OK)
        return status;
    if (owner == NULL && where == NULL) {
        *slots = (struct poly_slots){.count = end};
        return POLY_OK;
    }
    if (owner != NULL) {
        number = poly_dictionary_find(&c->owners, &name);
        if (number == POLY_NO_NUMBER) {
            *slots = (struct poly_slots){.list = nothing};
            return POLY_OK;
        }
        if (where == NULL && from_owner(c, number, end, slots))
            return POLY_OK;
    }
    return from_kept(c, number, where, end, slots, err);
}

void poly_catalog_release(struct poly_catalog *c, struct poly_slots *slots)
{
    const char *data = slots->bits != NULL ? (const char *)slots->bits : (const char *)slots->list;

    (void)c;
    if (data != NULL && data != (const char *)nothing)
        poly_shared_release(
            (struct poly_shared *)(uintptr_t)(data - offsetof(struct poly_shared, words)));
    *slots = (struct poly_slots){.list = nothing};
}
