/*
 * The slots of an index: making, appending, killing, and what a search sees of that.
 *
 * One number says what is published: the end. A slot knows from which end on it is dead, so a
 * search that has read the end once sees one state of everything, however long it takes, and nobody
 * waits for anybody. The writer changes nothing below the end but these words.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/assert.h"
#include "stores/vector/engine/index_inside.h"

enum { LEAST_CAPACITY = 1 << 16 };

static const uint64_t level_seed = 0x706f6c7973746f72; /* levels are the same in every run */

static enum poly_status check_options(const struct poly_index_options *options,
                                      struct poly_error *err)
{
    if (options->dimensions < 1 || options->dimensions > 16000)
        return poly_fail(err, POLY_INVALID, "an index of %u dimensions; 1 to 16000 are possible",
                         options->dimensions);
    if (options->m < 2 || options->m > INDEX_MAX_M)
        return poly_fail(err, POLY_INVALID, "m is %u; 2 to %d are possible", options->m,
                         INDEX_MAX_M);
    if (options->ef_construction < 4 || options->ef_construction > 1000)
        return poly_fail(err, POLY_INVALID, "ef_construction is %u; 4 to 1000 are possible",
                         options->ef_construction);
    return POLY_OK;
}

/* --- arrays --- */

/* Words of upper that a slot takes on average, and a quarter more. */
static size_t upper_room(const struct poly_index *index, uint32_t slots)
{
    const size_t m = index->options.m;

    return 65536 + (size_t)slots * 5 / 4 / (m - 1) * (m + 1);
}

static enum poly_status reserve_all(struct poly_index *index, struct poly_error *err)
{
    const size_t slots = index->capacity;
    enum poly_status status = poly_room_reserve(&index->codes, slots * index->coder.stride, err);

    if (status == POLY_OK)
        status = poly_room_reserve(&index->sketches, slots * index->coder.sketch, err);
    if (status == POLY_OK)
        status = poly_room_reserve(&index->links, slots * 2 * index->options.m * 4, err);
    if (status == POLY_OK)
        status = poly_room_reserve(&index->upper_of, slots * 4, err);
    if (status == POLY_OK)
        status = poly_room_reserve(&index->upper, upper_room(index, index->capacity) * 4, err);
    if (status == POLY_OK)
        status = poly_room_reserve(&index->dead_from, slots * 4, err);
    if (status == POLY_OK)
        status = poly_room_reserve(&index->dead_bits, slots / 8 + 8, err);
    if (status == POLY_OK && index->fd < 0)
        status = poly_room_reserve(&index->originals, slots * index->original_size, err);
    if (status == POLY_OK && index->fd >= 0) {
        const size_t size = slots * index->original_size;
        void *base = mmap(NULL, size, PROT_READ, MAP_SHARED, index->fd, 0);

        if (base == MAP_FAILED)
            return poly_no_memory(err);
        (void)madvise(base, size, MADV_RANDOM);
        index->originals = (struct poly_room){.base = base, .reserved = size};
    }
    return status;
}

static void release_all(struct poly_index *index)
{
    poly_room_release(&index->codes);
    poly_room_release(&index->sketches);
    poly_room_release(&index->links);
    poly_room_release(&index->upper_of);
    poly_room_release(&index->upper);
    poly_room_release(&index->dead_from);
    poly_room_release(&index->dead_bits);
    poly_room_release(&index->originals);
}

/* Address space for as many slots as the machine has memory for; for fewer where it is short. */
static enum poly_status reserve(struct poly_index *index, struct poly_error *err)
{
    const size_t memory = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
    const size_t row = index->coder.stride + index->coder.sketch + 2 * index->options.m * 4 + 16 +
                       (index->fd < 0 ? index->original_size : 0);
    size_t slots = memory / row + LEAST_CAPACITY;
    enum poly_status status;

    if (slots > INDEX_MAX_SLOTS)
        slots = INDEX_MAX_SLOTS;
    do {
        index->capacity = (uint32_t)slots;
        status = reserve_all(index, err);
        if (status != POLY_OK)
            release_all(index);
        slots /= 2;
    } while (status != POLY_OK && slots >= LEAST_CAPACITY);
    return status;
}

enum poly_status poly_index_commit(struct poly_index *index, uint32_t slots, size_t upper_words,
                                   struct poly_error *err)
{
    const size_t count = slots;
    enum poly_status status = poly_room_commit(&index->codes, count * index->coder.stride, err);

    if (status == POLY_OK)
        status = poly_room_commit(&index->sketches, count * index->coder.sketch, err);
    if (status == POLY_OK)
        status = poly_room_commit(&index->links, count * 2 * index->options.m * 4, err);
    if (status == POLY_OK)
        status = poly_room_commit(&index->upper_of, count * 4, err);
    if (status == POLY_OK)
        status = poly_room_commit(&index->upper, upper_words * 4, err);
    if (status == POLY_OK)
        status = poly_room_commit(&index->dead_from, count * 4, err);
    if (status == POLY_OK)
        status = poly_room_commit(&index->dead_bits, (count + 63) / 64 * 8, err);
    if (status == POLY_OK && index->fd < 0)
        status = poly_room_commit(&index->originals, count * index->original_size, err);
    return status;
}

/* --- making --- */

static enum poly_status open_originals(struct poly_index *index, bool fresh, struct poly_error *err)
{
    const char *path = index->options.originals;

    index->fd = -1;
    if (path == NULL)
        return POLY_OK;
    index->fd = open(path, O_RDWR | O_CLOEXEC | (fresh ? O_CREAT | O_TRUNC : 0), 0600);
    if (index->fd < 0 && errno == ENOENT && !fresh)
        return poly_fail(err, POLY_NOT_FOUND, "originals '%s' are not there", path);
    if (index->fd < 0)
        return poly_fail(err, POLY_UNAVAILABLE, "originals '%s' cannot be opened: %s", path,
                         strerror(errno));
    return POLY_OK;
}

enum poly_status poly_index_make(const struct poly_index_options *options, bool fresh,
                                 struct poly_index **made, struct poly_error *err)
{
    struct poly_index *index;
    enum poly_status status = check_options(options, err);

    if (status != POLY_OK)
        return status;
    index = calloc(1, sizeof(*index));
    if (index == NULL)
        return poly_no_memory(err);
    index->options = *options;
    index->original_size = poly_element_size(options->element, options->dimensions);
    index->upper_words = 1; /* 0 says: none */
    atomic_init(&index->upper_published, 1);
    poly_coder_init(&index->coder, options->element, options->metric, options->dimensions);
    pthread_mutex_init(&index->context_lock, NULL);
    poly_graph_init(&index->graph);
    poly_costs_init(index);
    index->graph_from =
        options->graph_from > 0 ? options->graph_from : poly_costs_graph_from(index);
    status = open_originals(index, fresh, err);
    if (status == POLY_OK)
        status = reserve(index, err);
    if (status != POLY_OK) {
        poly_index_free(index);
        return status;
    }
    index->options.originals = NULL; /* the caller's text; not needed any more */
    *made = index;
    return POLY_OK;
}

enum poly_status poly_index_new(const struct poly_index_options *options, struct poly_index **index,
                                struct poly_error *err)
{
    return poly_index_make(options, true, index, err);
}

void poly_index_free(struct poly_index *index)
{
    struct poly_context *next;

    if (index == NULL)
        return;
    for (struct poly_context *context = index->contexts; context != NULL; context = next) {
        next = context->next;
        poly_context_free(context);
    }
    release_all(index);
    if (index->fd >= 0)
        close(index->fd);
    poly_graph_close(&index->graph);
    pthread_mutex_destroy(&index->context_lock);
    free(index->kills);
    free(index->sums);
    free(index);
}

/* --- writing --- */

static uint32_t level_of(const struct poly_index *index, uint32_t slot)
{
    uint64_t x = (slot + level_seed) * 0x9e3779b97f4a7c15;

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    x ^= x >> 31;

    const double uniform = ((double)(x >> 11) + 1) * 0x1p-53;
    const double level = -log(uniform) / log((double)index->options.m);

    return level < INDEX_MAX_LEVEL ? (uint32_t)level : INDEX_MAX_LEVEL;
}

enum poly_status poly_original_write(const struct poly_index *index, uint32_t slot,
                                     const void *original, struct poly_error *err)
{
    const size_t size = index->original_size;
    const off_t at = (off_t)slot * (off_t)size;

    if (index->fd < 0) {
        memcpy(index->originals.base + at, original, size);
        return POLY_OK;
    }
    for (size_t done = 0; done < size;) {
        const ssize_t wrote =
            pwrite(index->fd, (const uint8_t *)original + done, size - done, at + (off_t)done);

        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return poly_fail(err, POLY_UNAVAILABLE, "a vector cannot be written: %s",
                             strerror(wrote < 0 ? errno : ENOSPC));
        done += (size_t)wrote;
    }
    return POLY_OK;
}

/* The slot lives, and has no links on any level: rows are read to their end while the first link
 * comes. */
static void begin_slot(struct poly_index *index, uint32_t slot, uint32_t level)
{
    const uint32_t m = index->options.m;
    uint32_t *upper_of = (uint32_t *)index->upper_of.base;

    upper_of[slot] = 0;
    if (level > 0) {
        upper_of[slot] = index->upper_words;
        ((uint32_t *)index->upper.base)[index->upper_words] = level;
        index->upper_words += 1 + level * m;
    }
    for (uint32_t i = 0; i < 2 * m; i++)
        atomic_store_explicit(&poly_link_row(index, slot, 0)[i], POLY_NO_SLOT,
                              memory_order_relaxed);
    for (uint32_t i = 0; i < level * m; i++)
        atomic_store_explicit(&poly_link_row(index, slot, 1)[i], POLY_NO_SLOT,
                              memory_order_relaxed);
    atomic_store_explicit(&((atomic_uint *)index->dead_from.base)[slot], UINT32_MAX,
                          memory_order_relaxed);
}

enum poly_status poly_index_append(struct poly_index *index, const void *original, uint32_t *slot,
                                   struct poly_error *err)
{
    const uint32_t next = index->appended;
    const uint32_t level = level_of(index, next);
    const size_t words = (size_t)index->upper_words + 1 + (size_t)level * index->options.m;
    enum poly_status status;

    if (next + 1 >= index->capacity || words > UINT32_MAX)
        return poly_fail(err, POLY_LIMIT, "the index is full: %u vectors, dead ones included",
                         next);
    status = poly_index_commit(index, next + 2, words, err); /* and the slot of a publish */
    if (status == POLY_OK)
        status = poly_original_write(index, next, original, err);
    if (status != POLY_OK)
        return status;
    poly_coder_encode(&index->coder, original, poly_code_row(index, next));
    if (index->coder.sketch > 0)
        poly_sketch_encode(&index->coder, poly_code_row(index, next), poly_sketch_row(index, next));
    begin_slot(index, next, level);
    index->appended++;
    *slot = next;
    return POLY_OK;
}

enum poly_status poly_index_kill(struct poly_index *index, uint32_t slot, struct poly_error *err)
{
    poly_assert(slot < index->appended);
    if (!poly_slot_alive(index, slot, UINT32_MAX - 1))
        return POLY_OK;
    if (index->appended + 1 >= index->capacity)
        return poly_fail(err, POLY_LIMIT, "the index is full: %u vectors, dead ones included",
                         index->appended);

    const enum poly_status status =
        poly_index_commit(index, index->appended + 1, index->upper_words, err);

    if (status != POLY_OK)
        return status;
    if (index->kill_count == index->kill_room) {
        const uint32_t room = index->kill_room == 0 ? 64 : index->kill_room * 2;
        uint32_t *kills = realloc(index->kills, (size_t)room * sizeof(*kills));

        if (kills == NULL)
            return poly_no_memory(err);
        index->kills = kills;
        index->kill_room = room;
    }
    index->kills[index->kill_count++] = slot;
    return POLY_OK;
}

static void die(struct poly_index *index, uint32_t slot, uint32_t end)
{
    _Atomic uint64_t *bits = (_Atomic uint64_t *)index->dead_bits.base;

    atomic_store_explicit(&((atomic_uint *)index->dead_from.base)[slot], end, memory_order_relaxed);
    atomic_fetch_or_explicit(&bits[slot / 64], 1UL << (slot % 64), memory_order_relaxed);
    atomic_fetch_add_explicit(&index->dead, 1, memory_order_relaxed);
}

void poly_index_publish(struct poly_index *index)
{
    if (index->kill_count > 0 && index->appended == poly_index_end(index)) {
        memset(poly_code_row(index, index->appended), 0, index->coder.stride);
        memset(poly_sketch_row(index, index->appended), 0, index->coder.sketch);
        begin_slot(index, index->appended, 0);
        die(index, index->appended++, 0);
    }
    for (uint32_t i = 0; i < index->kill_count; i++)
        if (poly_slot_alive(index, index->kills[i], UINT32_MAX - 1))
            die(index, index->kills[i], index->appended);
    index->kill_count = 0;
    atomic_store_explicit(&index->upper_published, index->upper_words, memory_order_relaxed);
    atomic_store_explicit(&index->end, index->appended, memory_order_release);
}

void poly_index_revert(struct poly_index *index)
{
    index->kill_count = 0;
    index->appended = poly_index_end(index);
    index->upper_words = atomic_load_explicit(&index->upper_published, memory_order_relaxed);
}

/* --- looking --- */

uint32_t poly_index_end(const struct poly_index *index)
{
    return atomic_load_explicit(&index->end, memory_order_acquire);
}

bool poly_index_alive(const struct poly_index *index, uint32_t slot, uint32_t end)
{
    return slot < end && poly_slot_alive(index, slot, end);
}

const void *poly_index_original(const struct poly_index *index, uint32_t slot)
{
    return poly_original_row(index, slot);
}

void poly_index_measure(const struct poly_index *index, struct poly_index_numbers *numbers)
{
    const uint32_t slots = poly_index_end(index);
    const size_t row = index->coder.stride + index->coder.sketch + 2 * index->options.m * 4 + 8;
    const size_t upper = atomic_load_explicit(&index->upper_published, memory_order_relaxed);
    const size_t bytes = slots * index->original_size;
    const uint32_t linked = atomic_load_explicit(&index->graph.linked, memory_order_relaxed);
    const bool scanned = linked == 0 && slots < index->graph_from;

    *numbers = (struct poly_index_numbers){
        .slots = slots,
        .dead = atomic_load_explicit(&index->dead, memory_order_relaxed),
        .linked = linked,
        .unlinked = scanned || linked > slots ? 0 : slots - linked,
        .memory_bytes = slots * row + slots / 8 + upper * 4 + (index->fd < 0 ? bytes : 0),
        .original_bytes = bytes,
    };
}
