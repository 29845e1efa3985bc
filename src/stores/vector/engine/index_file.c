/*
 * An index on disk: a file of sections (section.h) that are the arrays as they lie in memory, and
 * the file of originals, which is appended to only and needs nothing but to be made durable.
 *
 * Loading copies the arrays out of the file, which was read anyway to be checked: so they lie on
 * huge pages, can grow, and nobody is killed because a file got shorter. Then every number is
 * looked at: what a link, a level, a place of a row says must be there, whatever wrote the file.
 *
 * Originals are checked by checksums of their blocks, too. A full block never changes, so each is
 * computed once in the life of an index.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "stores/vector/engine/index_inside.h"
#include "stores/vector/engine/section.h"

enum {
    KIND = 0x58444e49, /* INDX */
    LOOK = 1 << 14,    /* slots between two looks whether to go on */
    BLOCK = 1 << 20,   /* bytes of originals that have one checksum */
    PART = 4096,       /* slots that are written at a time */
    READER_STACK = 128 * 1024
};
static const size_t copy_part = 16 << 20; /* bytes, the same */

enum section { HEAD = 1, CODES, LINKS, UPPER_OF, UPPER, DEAD_FROM, SUMS };

struct head {
    uint32_t element, metric, dimensions, m, ef_construction, stride;
    uint32_t end, linked, upper_words, dead;
    uint64_t entry;
    uint64_t original_size;
};

static size_t block_count(const struct poly_index *index, uint32_t end)
{
    return ((size_t)end * index->original_size + BLOCK - 1) / BLOCK;
}

/* --- saving --- */

struct saving {
    struct poly_index *index;
    struct poly_section_writer *writer;
    struct head head;
    uint32_t *words; /* PART rows of links */
};

/* Words of upper that the slots below end have. */
static uint32_t upper_below(const struct poly_index *index, uint32_t end)
{
    const uint32_t *upper_of = (const uint32_t *)index->upper_of.base;

    while (end > 0 && upper_of[end - 1] == 0)
        end--;
    return end == 0 ? 1
                    : upper_of[end - 1] + 1 + poly_node_level(index, end - 1) * index->options.m;
}

/* The entry, or, when that is not among the slots below end, their highest that is linked. */
static uint64_t entry_below(const struct poly_index *index, uint32_t linked)
{
    const uint64_t entry = atomic_load_explicit(&index->graph.entry, memory_order_acquire);
    uint64_t best = ENTRY_NONE;

    if (linked == 0 || entry == ENTRY_NONE || (uint32_t)entry < linked)
        return linked == 0 ? ENTRY_NONE : entry;
    for (uint32_t slot = 0; slot < linked; slot++) {
        const uint64_t level = poly_node_level(index, slot);

        if (best == ENTRY_NONE || level > best >> 32)
            best = level << 32 | slot;
    }
    return best;
}

static void fill_head(struct saving *saving, uint32_t end)
{
    const struct poly_index *index = saving->index;
    const uint32_t linked = atomic_load_explicit(&index->graph.linked, memory_order_acquire);
    struct head *head = &saving->head;

    *head = (struct head){
        .element = index->options.element,
        .metric = index->options.metric,
        .dimensions = index->options.dimensions,
        .m = index->options.m,
        .ef_construction = index->options.ef_construction,
        .stride = index->coder.stride,
        .end = end,
        .linked = linked < end ? linked : end,
        .upper_words = upper_below(index, end),
        .original_size = index->original_size,
    };
    head->entry = entry_below(index, head->linked);
}

static enum poly_status write_section(const struct saving *saving, enum section number,
                                      const void *data, size_t size, struct poly_error *err)
{
    const enum poly_status status = poly_section_begin(saving->writer, number, err);

    return status != POLY_OK ? status : poly_section_write(saving->writer, data, size, err);
}

/* Links to slots that are not saved are left out. */
static uint32_t copy_row(const struct poly_index *index, uint32_t slot, uint32_t level,
                         uint32_t end, uint32_t *words)
{
    const uint32_t most = level == 0 ? 2 * index->options.m : index->options.m;
    atomic_uint *row = poly_link_row(index, slot, level);
    uint32_t count = 0;

    for (uint32_t i = 0; i < most; i++) {
        const uint32_t link = atomic_load_explicit(&row[i], memory_order_relaxed);

        if (link < end)
            words[count++] = link;
    }
    for (uint32_t i = count; i < most; i++)
        words[i] = POLY_NO_SLOT;
    return most;
}

static enum poly_status write_links(const struct saving *saving, struct poly_error *err)
{
    const uint32_t end = saving->head.end;
    enum poly_status status = poly_section_begin(saving->writer, LINKS, err);

    for (uint32_t slot = 0; slot < end && status == POLY_OK;) {
        size_t count = 0;

        for (uint32_t i = 0; i < PART && slot < end; i++, slot++)
            count += copy_row(saving->index, slot, 0, end, saving->words + count);
        status = poly_section_write(saving->writer, saving->words, count * 4, err);
    }
    return status;
}

static enum poly_status write_upper(const struct saving *saving, struct poly_error *err)
{
    const uint32_t *upper_of = (const uint32_t *)saving->index->upper_of.base;
    static const uint32_t none = 0; /* the first word is nobody's */
    uint32_t *words = saving->words;
    enum poly_status status = write_section(saving, UPPER, &none, sizeof(none), err);

    for (uint32_t slot = 0; slot < saving->head.end && status == POLY_OK; slot++) {
        size_t count = 1;

        if (upper_of[slot] == 0)
            continue;
        words[0] = poly_node_level(saving->index, slot);
        for (uint32_t level = 1; level <= words[0]; level++)
            count += copy_row(saving->index, slot, level, saving->head.end, words + count);
        status = poly_section_write(saving->writer, words, count * 4, err);
    }
    return status;
}

static enum poly_status write_dead(struct saving *saving, struct poly_error *err)
{
    const uint32_t end = saving->head.end;
    enum poly_status status = poly_section_begin(saving->writer, DEAD_FROM, err);

    for (uint32_t slot = 0; slot < end && status == POLY_OK;) {
        uint32_t count = 0;

        for (; count < PART && slot < end; count++, slot++) {
            saving->words[count] = poly_slot_alive(saving->index, slot, end) ? UINT32_MAX : 0;
            saving->head.dead += saving->words[count] == 0;
        }
        status = poly_section_write(saving->writer, saving->words, count * sizeof(uint32_t), err);
    }
    return status;
}

/* Checksums of the originals' blocks from .. count, of so many bytes in all. Read with pread(): a
 * disk that fails then is an error that can be said, where touching the map would be a signal. */
struct blocks {
    size_t from, count, bytes;
    struct poly_loading *watch; /* NULL: nobody looks */
};

static enum poly_status sum_blocks(const struct poly_index *index, const struct blocks *blocks,
                                   uint64_t *sums, struct poly_error *err)
{
    const size_t bytes = blocks->bytes;
    uint8_t *buffer = malloc(BLOCK);
    enum poly_status status = buffer == NULL ? poly_no_memory(err) : POLY_OK;

    for (size_t i = blocks->from; i < blocks->count && status == POLY_OK; i++) {
        const size_t size = bytes - i * BLOCK < BLOCK ? bytes - i * BLOCK : BLOCK;

        for (size_t done = 0; done < size && status == POLY_OK;) {
            const ssize_t n =
                pread(index->fd, buffer + done, size - done, (off_t)(i * BLOCK + done));

            if (n > 0)
                done += (size_t)n;
            else if (n == 0 || errno != EINTR)
                status = poly_fail(err, POLY_UNAVAILABLE, "originals cannot be read: %s",
                                   n == 0 ? "they end early" : strerror(errno));
        }
        if (status == POLY_OK)
            sums[i] = XXH3_64bits(buffer, size);
        if (status == POLY_OK && !poly_loading_step(blocks->watch, size))
            status = poly_loading_stopped("originals", err);
    }
    free(buffer);
    return status;
}

/* Checksums of the originals' blocks: the full ones are kept for the next save. */
static enum poly_status write_sums(struct saving *saving, struct poly_error *err)
{
    struct poly_index *index = saving->index;
    const size_t bytes = (size_t)saving->head.end * index->original_size;
    const size_t count = block_count(index, saving->head.end), full = bytes / BLOCK;
    uint64_t *sums = realloc(index->sums, count * sizeof(*sums) + 1);
    enum poly_status status;

    if (sums == NULL)
        return poly_no_memory(err);
    index->sums = sums;
    /* an older state may end within a block that has been full */
    const struct blocks blocks = {
        .from = index->sum_count < full ? index->sum_count : full, .count = count, .bytes = bytes};

    status = sum_blocks(index, &blocks, sums, err);
    if (status != POLY_OK)
        return status;
    index->sum_count = full;
    return write_section(saving, SUMS, sums, count * sizeof(*sums), err);
}

static enum poly_status write_all(struct saving *saving, struct poly_error *err)
{
    const struct poly_index *index = saving->index;
    const struct head *head = &saving->head;
    enum poly_status status = write_section(saving, CODES, index->codes.base,
                                            (size_t)head->end * index->coder.stride, err);

    if (status == POLY_OK)
        status = write_links(saving, err);
    if (status == POLY_OK)
        status = write_section(saving, UPPER_OF, index->upper_of.base, (size_t)head->end * 4, err);
    if (status == POLY_OK)
        status = write_upper(saving, err);
    if (status == POLY_OK)
        status = write_dead(saving, err);
    if (status == POLY_OK)
        status = write_sums(saving, err);
    if (status == POLY_OK)
        status = write_section(saving, HEAD, head, sizeof(*head), err);
    return status;
}

/* Linking waits: rows shall be those of the slots that .linked says. */
static enum poly_status save(struct saving *saving, uint32_t end, const char *path,
                             struct poly_error *err)
{
    struct poly_index *index = saving->index;
    enum poly_status status = poly_section_create(path, KIND, &saving->writer, err);

    if (status != POLY_OK)
        return status;
    pthread_rwlock_wrlock(&index->graph.gate);
    fill_head(saving, end);
    status = write_all(saving, err);
    pthread_rwlock_unlock(&index->graph.gate);
    if (status == POLY_OK)
        return poly_section_finish(saving->writer, err);
    poly_section_abandon(saving->writer);
    return status;
}

enum poly_status poly_index_save(struct poly_index *index, uint32_t end, const char *path,
                                 struct poly_error *err)
{
    const size_t row = (2 + INDEX_MAX_LEVEL) * index->options.m + 1;
    struct saving saving = {.index = index};
    enum poly_status status;

    if (index->fd < 0)
        return poly_fail(err, POLY_INVALID, "an index whose originals are in memory is not saved");
    saving.words = malloc(PART * row * sizeof(*saving.words));
    if (saving.words == NULL)
        return poly_no_memory(err);
    status = poly_originals_sync(index, end, err);
    if (status == POLY_OK)
        status = save(&saving, end, path, err);
    free(saving.words);
    return status;
}

/* --- loading --- */

struct loading {
    struct poly_index *index;
    const char *path;
    struct poly_sections *sections;
    struct poly_loading *watch;
    struct head head;
};

static bool goes_on(const struct loading *loading, uint32_t slot)
{
    return slot % LOOK != 0 || poly_loading_step(loading->watch, 0);
}

static enum poly_status corrupt(const struct loading *loading, const char *what,
                                struct poly_error *err)
{
    return poly_fail(err, POLY_CORRUPT, "index '%.300s' is damaged: %s", loading->path, what);
}

static enum poly_status find_section(const struct loading *loading, enum section number,
                                     size_t size, void **data, struct poly_error *err)
{
    size_t there;
    const enum poly_status status = poly_sections_get(loading->sections, number, data, &there, err);

    if (status == POLY_OK && there != size)
        return corrupt(loading, "a section has another size than it should", err);
    return status;
}

static enum poly_status read_section(const struct loading *loading, enum section number, void *to,
                                     size_t size, struct poly_error *err)
{
    void *data;
    const enum poly_status status = find_section(loading, number, size, &data, err);

    if (status != POLY_OK)
        return status;
    for (size_t at = 0, part; at < size; at += part) {
        part = size - at < copy_part ? size - at : copy_part;
        memcpy((char *)to + at, (const char *)data + at, part);
        if (!poly_loading_step(loading->watch, 0))
            return poly_loading_stopped(loading->path, err);
    }
    return POLY_OK;
}

static bool is_of(const struct head *head, const struct poly_index_options *options)
{
    return head->element == options->element && head->metric == options->metric &&
           head->dimensions == options->dimensions && head->m == options->m &&
           head->ef_construction == options->ef_construction &&
           head->original_size == poly_element_size(options->element, options->dimensions);
}

static enum poly_status read_head(struct loading *loading, struct poly_error *err)
{
    const struct poly_index *index = loading->index;
    const struct head *head = &loading->head;
    const enum poly_status status = read_section(loading, HEAD, &loading->head, sizeof(*head), err);

    if (status != POLY_OK)
        return status;
    if (!is_of(head, &index->options) || head->stride != index->coder.stride)
        return corrupt(loading, "it is of another shape", err);
    if (head->linked > head->end || head->upper_words < 1)
        return corrupt(loading, "its numbers do not fit", err);
    return POLY_OK;
}

/* Memory for what the sections are seen to hold. */
static enum poly_status make_room(const struct loading *loading, struct poly_error *err)
{
    const struct head *head = &loading->head;
    void *data;
    enum poly_status status =
        find_section(loading, CODES, (size_t)head->end * head->stride, &data, err);

    if (status == POLY_OK)
        status = find_section(loading, UPPER, (size_t)head->upper_words * 4, &data, err);
    if (status == POLY_OK && head->end >= loading->index->capacity)
        status = poly_no_memory(err);
    if (status == POLY_OK)
        status = poly_index_commit(loading->index, head->end + 1, head->upper_words, err);
    return status;
}

static enum poly_status read_arrays(const struct loading *loading, struct poly_error *err)
{
    struct poly_index *index = loading->index;
    const struct head *head = &loading->head;
    const size_t end = head->end;
    enum poly_status status = make_room(loading, err);

    if (status == POLY_OK)
        status = read_section(loading, CODES, index->codes.base, end * head->stride, err);
    for (uint32_t slot = 0;
         status == POLY_OK && index->coder.sketch > 0 && slot < end && goes_on(loading, slot);
         slot++)
        poly_sketch_encode(&index->coder, poly_code_row(index, slot), poly_sketch_row(index, slot));
    if (status == POLY_OK)
        status = read_section(loading, LINKS, index->links.base, end * 2 * head->m * 4, err);
    if (status == POLY_OK)
        status = read_section(loading, UPPER_OF, index->upper_of.base, end * 4, err);
    if (status == POLY_OK)
        status =
            read_section(loading, UPPER, index->upper.base, (size_t)head->upper_words * 4, err);
    if (status == POLY_OK)
        status = read_section(loading, DEAD_FROM, index->dead_from.base, end * 4, err);
    return status;
}

/* Higher levels follow each other in upper as their slots do. */
static bool levels_fit(const struct loading *loading)
{
    const struct poly_index *index = loading->index;
    const uint32_t *upper_of = (const uint32_t *)index->upper_of.base;
    const uint32_t *upper = (const uint32_t *)index->upper.base;
    const uint32_t words = loading->head.upper_words;
    uint64_t next = 1;

    for (uint32_t slot = 0; slot < loading->head.end; slot++) {
        if (upper_of[slot] == 0)
            continue;
        if (upper_of[slot] != next || next >= words || upper[next] < 1 ||
            upper[next] > INDEX_MAX_LEVEL)
            return false;
        next += 1 + upper[next] * index->options.m;
        if (next > words)
            return false;
    }
    return next == words;
}

static bool row_fits(const struct loading *loading, uint32_t slot, uint32_t level)
{
    const struct poly_index *index = loading->index;
    const uint32_t most = level == 0 ? 2 * index->options.m : index->options.m;
    const uint32_t *row = (const uint32_t *)poly_link_row(index, slot, level);

    for (uint32_t i = 0; i < most; i++)
        if (row[i] != POLY_NO_SLOT &&
            (row[i] >= loading->head.end || (level > 0 && poly_node_level(index, row[i]) < level)))
            return false;
    return true;
}

/* After levels_fit(). What is stopped fails anyway. */
static bool links_fit(const struct loading *loading)
{
    const struct poly_index *index = loading->index;
    const struct head *head = &loading->head;

    for (uint32_t slot = 0; slot < head->end && goes_on(loading, slot); slot++)
        for (uint32_t level = 0; level <= poly_node_level(index, slot); level++)
            if (!row_fits(loading, slot, level))
                return false;
    if (head->entry == ENTRY_NONE) /* all of the graph has died before it was linked */
        return true;
    return (uint32_t)head->entry < head->linked &&
           head->entry >> 32 == poly_node_level(index, (uint32_t)head->entry);
}

static bool deaths_fit(const struct loading *loading)
{
    const uint32_t *dead_from = (const uint32_t *)loading->index->dead_from.base;
    uint64_t *bits = (uint64_t *)loading->index->dead_bits.base;
    uint32_t dead = 0;

    for (uint32_t slot = 0; slot < loading->head.end; slot++) {
        if (dead_from[slot] == UINT32_MAX)
            continue;
        if (dead_from[slot] != 0)
            return false;
        bits[slot / 64] |= 1UL << (slot % 64);
        dead++;
    }
    return dead == loading->head.dead;
}

static enum poly_status sum_originals(const struct loading *loading, struct poly_error *err)
{
    struct poly_index *index = loading->index;
    const size_t bytes = (size_t)loading->head.end * index->original_size;
    const size_t count = block_count(index, loading->head.end);

    index->sums = malloc(count * sizeof(*index->sums) + 1);
    if (index->sums == NULL)
        return poly_no_memory(err);
    (void)posix_fadvise(index->fd, 0, (off_t)bytes, POSIX_FADV_SEQUENTIAL); /* a wish */
    index->sum_count = bytes / BLOCK;
    return sum_blocks(index, &(struct blocks){0, count, bytes, loading->watch}, index->sums, err);
}

/* Are the originals those that were saved? What came after the save is cut off. */
static enum poly_status take_originals(const struct loading *loading, struct poly_error *err)
{
    struct poly_index *index = loading->index;
    const size_t bytes = (size_t)loading->head.end * index->original_size;
    const size_t size = block_count(index, loading->head.end) * sizeof(*index->sums);
    void *saved;
    struct stat st;
    enum poly_status status = find_section(loading, SUMS, size, &saved, err);

    if (status == POLY_OK && size > 0 && memcmp(index->sums, saved, size) != 0)
        status = corrupt(loading, "a checksum of its originals does not fit", err);
    if (status != POLY_OK)
        return status;
    if (fstat(index->fd, &st) != 0)
        return poly_fail(err, POLY_UNAVAILABLE, "originals: %s", strerror(errno));
    if ((size_t)st.st_size > bytes && ftruncate(index->fd, (off_t)bytes) != 0)
        return poly_fail(err, POLY_UNAVAILABLE, "originals cannot be cut: %s", strerror(errno));
    return POLY_OK;
}

/* The originals are most of what is read: a thread of their own reads them, while the arrays are
 * copied and looked at. */
struct beside {
    const struct loading *loading;
    enum poly_status status;
    struct poly_error err;
};

static void *read_originals(void *arg)
{
    struct beside *beside = arg;

    beside->status = sum_originals(beside->loading, &beside->err);
    return NULL;
}

static bool begin_reading(struct beside *beside, pthread_t *thread)
{
    pthread_attr_t attributes;
    bool begun;

    if (pthread_attr_init(&attributes) != 0)
        return false;
    begun = pthread_attr_setstacksize(&attributes, READER_STACK) == 0 &&
            pthread_create(thread, &attributes, read_originals, beside) == 0;
    pthread_attr_destroy(&attributes);
    return begun;
}

/* Is the file as long as it must be? Nothing else is worth while otherwise. */
static enum poly_status find_originals(const struct loading *loading, struct poly_error *err)
{
    const struct poly_index *index = loading->index;
    struct stat st;

    if (fstat(index->fd, &st) != 0)
        return poly_fail(err, POLY_UNAVAILABLE, "originals: %s", strerror(errno));
    if ((size_t)st.st_size < (size_t)loading->head.end * index->original_size)
        return corrupt(loading, "originals are missing", err);
    return POLY_OK;
}

static void take_over(const struct loading *loading)
{
    struct poly_index *index = loading->index;
    const struct head *head = &loading->head;

    index->appended = index->synced = head->end;
    index->upper_words = head->upper_words;
    atomic_init(&index->upper_published, head->upper_words);
    atomic_init(&index->dead, head->dead);
    atomic_init(&index->end, head->end);
    index->graph.next = head->linked;
    atomic_init(&index->graph.linked, head->linked);
    atomic_init(&index->graph.entry, head->entry);
}

static enum poly_status load(struct loading *loading, struct poly_error *err)
{
    struct beside beside = {.loading = loading};
    pthread_t thread;
    bool begun = false;
    enum poly_status status = read_head(loading, err);

    if (status == POLY_OK)
        status = find_originals(loading, err);
    if (status == POLY_OK)
        begun = begin_reading(&beside, &thread);
    if (status == POLY_OK)
        status = read_arrays(loading, err);
    if (status == POLY_OK && (!levels_fit(loading) || !links_fit(loading) || !deaths_fit(loading)))
        status = corrupt(loading, "a link, a level or a death in it cannot be", err);
    if (begun)
        pthread_join(thread, NULL);
    else if (status == POLY_OK)
        read_originals(&beside);
    if (status == POLY_OK && beside.status != POLY_OK) {
        status = beside.status;
        if (err != NULL)
            *err = beside.err;
    }
    if (status == POLY_OK && !poly_loading_step(loading->watch, 0))
        status = poly_loading_stopped(loading->path, err);
    if (status == POLY_OK)
        status = take_originals(loading, err);
    if (status == POLY_OK)
        take_over(loading);
    return status;
}

enum poly_status poly_index_peek(const struct poly_index_options *options, const char *path,
                                 uint64_t *bytes, struct poly_error *err)
{
    struct head head;
    struct stat st;
    uint64_t size, originals;
    enum poly_status status = poly_sections_peek(path, KIND, HEAD, &head, sizeof(head), &size, err);

    if (status != POLY_OK)
        return status;
    if (!is_of(&head, options))
        return poly_fail(err, POLY_CORRUPT, "index '%.300s' is damaged: it is of another shape",
                         path);
    originals = (uint64_t)head.end * head.original_size;
    if (stat(options->originals, &st) != 0) {
        if (errno != ENOENT)
            return poly_fail(err, POLY_UNAVAILABLE, "'%.300s': %s", options->originals,
                             strerror(errno));
        st.st_size = -1;
    }
    if (st.st_size < (off_t)originals)
        return poly_fail(err, POLY_CORRUPT, "index '%.300s' is damaged: originals are missing",
                         path);
    *bytes = size + originals;
    return POLY_OK;
}

enum poly_status poly_index_load(const struct poly_index_options *options, const char *path,
                                 struct poly_loading *watch, struct poly_index **index,
                                 struct poly_error *err)
{
    struct loading loading = {.path = path, .watch = watch};
    enum poly_status status = poly_sections_open(path, KIND, watch, &loading.sections, err);

    if (status != POLY_OK)
        return status;
    status = poly_index_make(options, false, &loading.index, err);
    if (status == POLY_OK)
        status = load(&loading, err);
    poly_sections_close(loading.sections);
    if (status == POLY_OK)
        *index = loading.index;
    else
        poly_index_free(loading.index);
    return status;
}
