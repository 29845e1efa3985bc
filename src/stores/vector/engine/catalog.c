/*
 * Entries are written once and never move (array.h, pool.h), so readers need no lock for them: they
 * look at slots below what was published. Two things do change under readers, the key's slot and
 * the slots of an owner; both are changed by publish() only, under a lock that is held for one of
 * them at a time. What publish() needs was reserved when the entry came, so it cannot fail; and
 * revert() has nothing to put back there.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/status.h"
#include "stores/vector/engine/catalog_inside.h"

/* --- slots that are shared --- */

struct poly_shared *poly_shared_new(size_t bytes)
{
    struct poly_shared *shared = malloc(sizeof(*shared) + bytes);

    if (shared != NULL) {
        atomic_init(&shared->holders, 1);
        shared->capacity = 0;
    }
    return shared;
}

void poly_shared_hold(struct poly_shared *shared)
{
    atomic_fetch_add_explicit(&shared->holders, 1, memory_order_relaxed);
}

void poly_shared_release(struct poly_shared *shared)
{
    if (shared != NULL && atomic_fetch_sub_explicit(&shared->holders, 1, memory_order_acq_rel) == 1)
        free(shared);
}

/* --- life --- */

static enum poly_status add_columns(struct poly_catalog *c, const char *const *columns,
                                    size_t count, struct poly_error *err)
{
    const struct poly_value null = poly_null();
    enum poly_status status = POLY_OK;

    c->columns = calloc(count + 1, sizeof(*c->columns));
    if (c->columns == NULL)
        return poly_no_memory(err);
    c->column_count = count;
    for (size_t i = 0; i < count && status == POLY_OK; i++) {
        struct poly_catalog_column *column = &c->columns[i];

        column->codes.width = sizeof(uint32_t);
        column->name = strdup(columns[i]);
        status = column->name == NULL ? poly_no_memory(err)
                                      : poly_dictionary_init(&column->values, &null, &c->pool, err);
    }
    return status;
}

enum poly_status poly_catalog_new(const char *const *columns, size_t column_count,
                                  struct poly_catalog **catalog, struct poly_error *err)
{
    const struct poly_value none = poly_str(""), gap = poly_null();
    struct poly_catalog *c = calloc(1, sizeof(*c));
    enum poly_status status = POLY_OK;
    uint32_t number;

    if (c == NULL)
        return poly_no_memory(err);
    pthread_mutex_init(&c->lock, NULL);
    c->rows.width = sizeof(struct poly_catalog_row);
    c->owner_slots.width = sizeof(struct poly_catalog_owner);
    c->kept = poly_kept_new();
    if (c->kept == NULL || !poly_array_reserve(&c->owner_slots, 2))
        status = poly_no_memory(err);
    if (status == POLY_OK)
        status = poly_dictionary_init(&c->owners, &none, &c->pool, err);
    if (status == POLY_OK) /* POLY_NO_OWNER; no text is the same as it */
        status = poly_dictionary_add(&c->owners, &gap, &c->pool, &number, err);
    poly_dictionary_publish(&c->owners);
    if (status == POLY_OK)
        status = add_columns(c, columns, column_count, err);
    c->mark = c->pool;
    if (status == POLY_OK)
        *catalog = c;
    else
        poly_catalog_free(c);
    return status;
}

void poly_catalog_free(struct poly_catalog *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->column_count; i++) {
        free(c->columns[i].name);
        poly_array_release(&c->columns[i].codes);
        poly_dictionary_release(&c->columns[i].values);
    }
    free(c->columns);
    for (uint32_t i = 0; i < c->owners.count; i++)
        poly_shared_release(poly_catalog_owner(c, i)->slots);
    poly_dictionary_release(&c->owners);
    poly_array_release(&c->owner_slots);
    poly_array_release(&c->rows);
    poly_pool_release(&c->pool);
    free(c->moves);
    poly_hashes_release(&c->move_hashes);
    poly_hashes_release(&c->keys);
    poly_kept_free(c->kept);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

/* --- keys --- */

uint32_t poly_catalog_hash(uint32_t owner, struct poly_text key)
{
    return poly_hash_bytes(key.data, key.size, owner);
}

static bool has_key(const struct poly_catalog *c, uint32_t slot, uint32_t owner,
                    struct poly_text key)
{
    const struct poly_catalog_row *row = poly_catalog_row(c, slot);

    return row->owner == owner && row->key_size == key.size &&
           (key.size == 0 || memcmp(row->key, key.data, key.size) == 0);
}

uint32_t poly_catalog_published(const struct poly_catalog *c, uint32_t owner, struct poly_text key,
                                uint32_t hash)
{
    size_t cursor = hash;
    uint32_t slot;

    while ((slot = poly_hashes_next(&c->keys, hash, &cursor)) != POLY_NO_NUMBER)
        if (has_key(c, slot, owner, key))
            break;
    return slot;
}

static struct poly_catalog_move *find_move(const struct poly_catalog *c, uint32_t owner,
                                           struct poly_text key, uint32_t hash)
{
    size_t cursor = hash;
    uint32_t number;

    while ((number = poly_hashes_next(&c->move_hashes, hash, &cursor)) != POLY_NO_NUMBER)
        if (has_key(c, c->moves[number].named, owner, key))
            return &c->moves[number];
    return NULL;
}

uint32_t poly_catalog_slot(const struct poly_catalog *catalog, struct poly_text owner,
                           struct poly_text key)
{
    struct poly_catalog *c = (struct poly_catalog *)(uintptr_t)catalog; /* for its locks */
    const struct poly_value name = {.type = POLY_TEXT, .text = owner};
    uint32_t number = poly_dictionary_find(&c->owners, &name), hash, slot;
    const struct poly_catalog_move *move;

    if (number == POLY_NO_NUMBER)
        return POLY_NO_SLOT;
    hash = poly_catalog_hash(number, key);
    pthread_mutex_lock(&c->lock);
    move = find_move(c, number, key, hash);
    slot = move != NULL ? move->slot : poly_catalog_published(c, number, key, hash);
    pthread_mutex_unlock(&c->lock);
    return slot;
}

/* Readers look into the old table until the larger one is there. */
static enum poly_status reserve_hashes(struct poly_catalog *c, struct poly_hashes *hashes,
                                       size_t count, struct poly_error *err)
{
    struct poly_hashes old = *hashes, grown;

    if (poly_hashes_fits(&old, count))
        return POLY_OK;
    if (!poly_hashes_grown(&old, count, &grown))
        return poly_no_memory(err);
    pthread_mutex_lock(&c->lock);
    *hashes = grown;
    pthread_mutex_unlock(&c->lock);
    poly_hashes_release(&old);
    return POLY_OK;
}

static enum poly_status reserve_moves(struct poly_catalog *c, struct poly_error *err)
{
    size_t room = c->move_room == 0 ? 64 : c->move_room * 2;
    struct poly_catalog_move *old = c->moves, *more;

    if (c->move_count < c->move_room)
        return POLY_OK;
    more = malloc(room * sizeof(*more));
    if (more == NULL)
        return poly_no_memory(err);
    if (c->move_count > 0)
        memcpy(more, old, c->move_count * sizeof(*more));
    pthread_mutex_lock(&c->lock);
    c->moves = more;
    pthread_mutex_unlock(&c->lock);
    c->move_room = room;
    free(old);
    return POLY_OK;
}

/* Room for one more move, and for what it adds to .keys when it is published. */
static enum poly_status reserve_move(struct poly_catalog *c, struct poly_error *err)
{
    enum poly_status status = reserve_moves(c, err);

    if (status == POLY_OK)
        status = reserve_hashes(c, &c->move_hashes, c->move_count + 1, err);
    if (status == POLY_OK)
        status = reserve_hashes(c, &c->keys, c->keys.count + c->move_count + 1, err);
    return status;
}

/* There is room. */
static void move_key(struct poly_catalog *c, uint32_t named, uint32_t slot)
{
    const struct poly_catalog_row *row = poly_catalog_row(c, named);
    const struct poly_text key = {row->key, row->key_size};
    uint32_t hash = poly_catalog_hash(row->owner, key);
    struct poly_catalog_move *move;

    pthread_mutex_lock(&c->lock);
    move = find_move(c, row->owner, key, hash);
    if (move == NULL) {
        move = &c->moves[c->move_count];
        poly_hashes_add(&c->move_hashes, hash, (uint32_t)c->move_count++);
    }
    *move = (struct poly_catalog_move){.hash = hash, .named = named, .slot = slot};
    pthread_mutex_unlock(&c->lock);
}

enum poly_status poly_catalog_remove(struct poly_catalog *c, struct poly_text owner,
                                     struct poly_text key, struct poly_error *err)
{
    uint32_t slot = poly_catalog_slot(c, owner, key);
    enum poly_status status;

    if (slot == POLY_NO_SLOT)
        return POLY_OK;
    status = reserve_move(c, err);
    if (status == POLY_OK)
        move_key(c, slot, POLY_NO_SLOT);
    return status;
}

/* --- slots of owners --- */

struct poly_shared *poly_catalog_owner_hold(struct poly_catalog *c, uint32_t owner, uint32_t end,
                                            uint32_t *count)
{
    const struct poly_catalog_owner *o = poly_catalog_owner(c, owner);
    struct poly_shared *shared;
    uint32_t low = 0, high;

    pthread_mutex_lock(&c->lock);
    shared = o->slots;
    high = o->count;
    if (shared != NULL)
        poly_shared_hold(shared);
    pthread_mutex_unlock(&c->lock);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (shared->slots[middle] < end)
            low = middle + 1;
        else
            high = middle;
    }
    *count = low;
    return shared;
}

/* Readers keep the old slots as long as they hold them. */
static enum poly_status reserve_owner(struct poly_catalog *c, uint32_t number,
                                      struct poly_error *err)
{
    struct poly_catalog_owner *owner = poly_catalog_owner(c, number);
    struct poly_shared *old = owner->slots, *more;
    uint32_t room = old == NULL                      ? 4
                    : old->capacity > UINT32_MAX / 2 ? UINT32_MAX
                                                     : old->capacity * 2;

    if (old != NULL && owner->written < old->capacity)
        return POLY_OK;
    more = poly_shared_new((size_t)room * sizeof(uint32_t));
    if (more == NULL)
        return poly_no_memory(err);
    more->capacity = room;
    if (old != NULL)
        memcpy(more->slots, old->slots, owner->written * sizeof(uint32_t));
    pthread_mutex_lock(&c->lock);
    owner->slots = more;
    pthread_mutex_unlock(&c->lock);
    c->owner_list_bytes += ((size_t)room - (old == NULL ? 0 : old->capacity)) * sizeof(uint32_t);
    poly_shared_release(old);
    return POLY_OK;
}

/* --- writing --- */

enum poly_status poly_catalog_reserve(struct poly_catalog *c, uint32_t slot, struct poly_error *err)
{
    bool room = poly_array_reserve(&c->rows, slot + 1) &&
                poly_array_reserve(&c->owner_slots, c->owners.count + 1);

    for (size_t i = 0; i < c->column_count && room; i++)
        room = poly_array_reserve(&c->columns[i].codes, slot + 1);
    return room ? reserve_move(c, err) : poly_no_memory(err);
}

uint32_t *poly_catalog_code(const struct poly_catalog *c, size_t column, uint32_t slot)
{
    return (uint32_t *)poly_array_at(&c->columns[column].codes, slot);
}

static enum poly_status add_values(struct poly_catalog *c, uint32_t slot,
                                   const struct poly_value *values, struct poly_error *err)
{
    enum poly_status status = POLY_OK;

    for (size_t i = 0; i < c->column_count && status == POLY_OK; i++) {
        uint32_t code = 0;

        if (values != NULL)
            status = poly_dictionary_add(&c->columns[i].values, &values[i], &c->pool, &code, err);
        if (status != POLY_OK)
            return poly_fail_in(err, status, "filter column '%.64s'", c->columns[i].name);
        *poly_catalog_code(c, i, slot) = code;
    }
    return status;
}

enum poly_status poly_catalog_add_slot(struct poly_catalog *c, uint32_t slot, uint32_t number,
                                       struct poly_error *err)
{
    struct poly_catalog_owner *owner = poly_catalog_owner(c, number);
    enum poly_status status = reserve_owner(c, number, err);

    if (status != POLY_OK)
        return status;
    poly_catalog_row(c, slot)->owner = number;
    owner->slots->slots[owner->written++] = slot;
    c->count = slot + 1;
    return POLY_OK;
}

static enum poly_status add_gap(struct poly_catalog *c, uint32_t slot, struct poly_error *err)
{
    *poly_catalog_row(c, slot) = (struct poly_catalog_row){.key = ""};
    for (size_t i = 0; i < c->column_count; i++)
        *poly_catalog_code(c, i, slot) = 0;
    return poly_catalog_add_slot(c, slot, POLY_NO_OWNER, err);
}

enum poly_status poly_catalog_append(struct poly_catalog *c, uint32_t slot,
                                     const struct poly_catalog_entry *entry, struct poly_error *err)
{
    const struct poly_value name = {.type = POLY_TEXT, .text = entry->owner};
    struct poly_catalog_row *row;
    uint32_t owner = 0;
    enum poly_status status;

    poly_assert(slot >= c->count && slot != POLY_NO_SLOT);
    if (entry->key.size > POLY_MAX_VALUE)
        return poly_fail(err, POLY_LIMIT, "a key of %zu bytes", entry->key.size);
    status = poly_catalog_reserve(c, slot, err);
    while (status == POLY_OK && c->count < slot)
        status = add_gap(c, c->count, err);
    if (status == POLY_OK)
        status = poly_dictionary_add(&c->owners, &name, &c->pool, &owner, err);
    if (status == POLY_OK)
        status = add_values(c, slot, entry->values, err);
    if (status != POLY_OK)
        return status;
    row = poly_catalog_row(c, slot);
    row->key = poly_pool_add(&c->pool, entry->key.data, entry->key.size);
    if (row->key == NULL)
        return poly_no_memory(err);
    row->key_size = (uint32_t)entry->key.size;
    row->version = entry->version;
    row->position = entry->position;
    status = poly_catalog_add_slot(c, slot, owner, err);
    if (status == POLY_OK)
        move_key(c, slot, slot);
    return status;
}

static void publish_move(struct poly_catalog *c, const struct poly_catalog_move *move)
{
    const struct poly_catalog_row *row = poly_catalog_row(c, move->named);
    uint32_t before = poly_catalog_published(
        c, row->owner, (struct poly_text){row->key, row->key_size}, move->hash);

    pthread_mutex_lock(&c->lock);
    if (before != POLY_NO_NUMBER)
        poly_hashes_change(&c->keys, move->hash, before, move->slot);
    else if (move->slot != POLY_NO_SLOT)
        poly_hashes_add(&c->keys, move->hash, move->slot);
    pthread_mutex_unlock(&c->lock);
}

static void forget_moves(struct poly_catalog *c)
{
    enum { KEEP = 16384 };
    struct poly_hashes hashes = {0};
    struct poly_catalog_move *moves = NULL;

    pthread_mutex_lock(&c->lock);
    c->move_count = 0;
    if (c->move_room > KEEP) { /* a large batch was an exception */
        moves = c->moves;
        hashes = c->move_hashes;
        c->moves = NULL;
        c->move_room = 0;
        c->move_hashes = (struct poly_hashes){0};
    } else {
        poly_hashes_clear(&c->move_hashes);
    }
    pthread_mutex_unlock(&c->lock);
    free(moves);
    poly_hashes_release(&hashes);
}

static size_t dictionary_bytes(const struct poly_dictionary *d)
{
    return d->count * sizeof(struct poly_cell) +
           (d->hashes.places == NULL ? 0 : d->hashes.mask + 1) * sizeof(struct poly_hash_place);
}

static void measure(struct poly_catalog *c)
{
    size_t bytes = sizeof(*c) + c->pool.bytes + c->owner_list_bytes + dictionary_bytes(&c->owners);

    bytes += c->owners.count * sizeof(struct poly_catalog_owner);
    bytes += c->count * (sizeof(struct poly_catalog_row) + c->column_count * sizeof(uint32_t));
    bytes += (c->keys.places == NULL ? 0 : c->keys.mask + 1) * sizeof(struct poly_hash_place);
    for (size_t i = 0; i < c->column_count; i++)
        bytes += dictionary_bytes(&c->columns[i].values);
    atomic_store_explicit(&c->bytes, bytes, memory_order_relaxed);
}

void poly_catalog_publish(struct poly_catalog *c)
{
    uint32_t from = atomic_load_explicit(&c->published, memory_order_relaxed);

    for (uint32_t slot = from; slot < c->count; slot++) {
        struct poly_catalog_owner *owner = poly_catalog_owner(c, poly_catalog_row(c, slot)->owner);

        if (owner->count == owner->written)
            continue; /* all of its new slots at once */
        pthread_mutex_lock(&c->lock);
        owner->count = owner->written;
        pthread_mutex_unlock(&c->lock);
    }
    for (size_t i = 0; i < c->column_count; i++)
        poly_dictionary_publish(&c->columns[i].values);
    poly_dictionary_publish(&c->owners);
    atomic_store_explicit(&c->published, c->count, memory_order_release);
    for (size_t i = 0; i < c->move_count; i++)
        publish_move(c, &c->moves[i]);
    forget_moves(c);
    c->mark = c->pool;
    measure(c);
}

void poly_catalog_revert(struct poly_catalog *c)
{
    uint32_t from = atomic_load_explicit(&c->published, memory_order_relaxed);
    uint32_t known = atomic_load_explicit(&c->owners.published, memory_order_relaxed);

    for (uint32_t slot = from; slot < c->count; slot++) {
        struct poly_catalog_owner *owner = poly_catalog_owner(c, poly_catalog_row(c, slot)->owner);

        owner->written = owner->count;
    }
    for (uint32_t i = known; i < c->owners.count; i++) {
        struct poly_catalog_owner *owner = poly_catalog_owner(c, i);
        struct poly_shared *slots = owner->slots;

        pthread_mutex_lock(&c->lock); /* a reader may have found its name */
        *owner = (struct poly_catalog_owner){.slots = NULL};
        pthread_mutex_unlock(&c->lock);
        c->owner_list_bytes -= slots == NULL ? 0 : slots->capacity * sizeof(uint32_t);
        poly_shared_release(slots);
    }
    for (size_t i = 0; i < c->column_count; i++)
        poly_dictionary_revert(&c->columns[i].values);
    poly_dictionary_revert(&c->owners);
    c->count = from;
    forget_moves(c);
    poly_pool_rewind(&c->pool, &c->mark);
}

/* --- reading --- */

void poly_catalog_entry(const struct poly_catalog *c, uint32_t slot,
                        struct poly_catalog_entry *entry)
{
    const struct poly_catalog_row *row = poly_catalog_row(c, slot);
    const struct poly_cell *owner = poly_dictionary_at(&c->owners, row->owner);

    *entry = (struct poly_catalog_entry){
        .owner = {owner->text, owner->size},
        .key = {row->key, row->key_size},
        .version = row->version,
        .position = row->position,
    };
}

void poly_catalog_value(const struct poly_catalog *c, uint32_t slot, size_t column,
                        struct poly_value *value)
{
    const struct poly_catalog_column *of = &c->columns[column];
    uint32_t code = *(const uint32_t *)poly_array_at(&of->codes, slot);

    poly_cell_value(poly_dictionary_at(&of->values, code), value);
}

uint64_t poly_catalog_memory(const struct poly_catalog *c)
{
    return atomic_load_explicit(&c->bytes, memory_order_relaxed) + poly_kept_bytes(c->kept);
}

/* --- the live ones, in another order --- */

static enum poly_status copy_slot(const struct poly_catalog *c, uint32_t slot,
                                  struct poly_catalog *to, uint32_t as, struct poly_value *values,
                                  struct poly_error *err)
{
    struct poly_catalog_entry entry;

    poly_catalog_entry(c, slot, &entry);
    for (size_t i = 0; i < c->column_count; i++)
        poly_catalog_value(c, slot, i, &values[i]);
    entry.values = values;
    return poly_catalog_append(to, as, &entry, err);
}

enum poly_status poly_catalog_copy(const struct poly_catalog *c, const uint32_t *map, uint32_t end,
                                   struct poly_catalog *to, const atomic_bool *stop,
                                   struct poly_error *err)
{
    struct poly_value *values = calloc(c->column_count + 1, sizeof(*values));
    uint32_t *from, count = 0;
    enum poly_status status = POLY_OK;

    poly_assert(to->count == 0 && to->column_count == c->column_count);
    for (uint32_t i = 0; i < end; i++)
        count = map[i] != POLY_NO_SLOT && map[i] >= count ? map[i] + 1 : count;
    from = malloc(((size_t)count + 1) * sizeof(*from));
    if (values == NULL || from == NULL)
        status = poly_no_memory(err);
    else
        memset(from, 0xff, count * sizeof(*from));
    for (uint32_t i = 0; i < end && status == POLY_OK; i++)
        if (map[i] != POLY_NO_SLOT)
            from[map[i]] = i;
    for (uint32_t i = 0; i < count && status == POLY_OK; i++)
        if (poly_is_stopped(stop))
            status = poly_fail(err, POLY_UNAVAILABLE, "it was stopped");
        else if (from[i] != POLY_NO_SLOT)
            status = copy_slot(c, from[i], to, i, values, err);
    free(values);
    free(from);
    return status;
}
