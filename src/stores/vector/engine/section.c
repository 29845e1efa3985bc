/*
 * Sections are written one after the other through one buffer of whole pages, so that a file of
 * gigabytes costs a quarter of a megabyte of memory. The first page, with places, sizes and
 * checksums, is written last: a file that was cut short has none, and is refused at once.
 *
 * Opening reads with read() before it maps: a disk that fails then is an error that can be said,
 * where touching a map would be a signal. Numbers are little-endian, as the machines are that
 * Polystore runs on; on another the first page does not fit, and the file is made again.
 */
#include "stores/vector/engine/section.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/assert.h"
#include "base/status.h"

_Atomic uint64_t poly_control_loading = UINT64_MAX;

enum { HELD_US = 1000 };

enum { PAGE = POLY_SECTION_PAGE, BUFFER = 64 * PAGE, VERSION = 1 };

static const char magic[8] = "polysect";

struct place {
    uint32_t number, zero;
    uint64_t offset, size; /* size: without the zeros up to the page's end */
    uint64_t checksum;     /* with them */
};

struct head {
    char magic[8];
    uint32_t version, kind;
    uint64_t file_size;
    uint32_t count, zero;
    struct place places[POLY_SECTIONS_MAX];
    char zeros[PAGE - 32 - POLY_SECTIONS_MAX * sizeof(struct place) - 8];
    uint64_t checksum; /* of what is before it */
};

_Static_assert(sizeof(struct head) == PAGE, "the first page");

static uint64_t head_checksum(const struct head *head)
{
    return XXH3_64bits(head, offsetof(struct head, checksum));
}

static uint64_t padded(uint64_t size)
{
    return (size + PAGE - 1) & ~(uint64_t)(PAGE - 1);
}

static enum poly_status unavailable(const char *path, struct poly_error *err)
{
    return errno == ENOMEM
               ? poly_no_memory(err)
               : poly_fail(err, POLY_UNAVAILABLE, "'%.300s': %s", path, strerror(errno));
}

/* --- writing --- */

struct poly_section_writer {
    int fd;
    char *path;
    struct head head;
    uint64_t offset; /* in the file, of what comes next */
    size_t used;     /* of buffer */
    XXH3_state_t *state;
    unsigned char buffer[BUFFER];
};

static void writer_free(struct poly_section_writer *w)
{
    if (w->fd >= 0)
        close(w->fd);
    XXH3_freeState(w->state);
    free(w->path);
    free(w);
}

void poly_section_abandon(struct poly_section_writer *w)
{
    if (w == NULL)
        return;
    unlink(w->path);
    writer_free(w);
}

enum poly_status poly_section_create(const char *path, uint32_t kind,
                                     struct poly_section_writer **writer, struct poly_error *err)
{
    struct poly_section_writer *w = calloc(1, sizeof(*w));
    enum poly_status status = POLY_OK;

    if (w == NULL)
        return poly_no_memory(err);
    w->fd = -1;
    w->path = strdup(path);
    w->state = XXH3_createState(); /* aligned as it wants to be */
    w->offset = PAGE;
    memcpy(w->head.magic, magic, sizeof(magic));
    w->head.version = VERSION;
    w->head.kind = kind;
    if (w->path == NULL || w->state == NULL)
        status = poly_no_memory(err);
    if (status == POLY_OK) {
        w->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (w->fd < 0)
            status = unavailable(path, err);
    }
    if (status == POLY_OK)
        *writer = w;
    else
        writer_free(w);
    return status;
}

static enum poly_status put(struct poly_section_writer *w, const void *data, size_t size,
                            uint64_t offset, struct poly_error *err)
{
    const unsigned char *at = data;

    while (size > 0) {
        ssize_t n = pwrite(w->fd, at, size, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n == 0 ? ENOSPC : errno;
            return unavailable(w->path, err);
        }
        at += n;
        offset += (uint64_t)n;
        size -= (size_t)n;
    }
    return POLY_OK;
}

static enum poly_status flush(struct poly_section_writer *w, struct poly_error *err)
{
    enum poly_status status = put(w, w->buffer, w->used, w->offset, err);

    XXH3_64bits_update(w->state, w->buffer, w->used);
    w->offset += w->used;
    w->used = 0;
    return status;
}

/* Ends the section that was begun last. */
static enum poly_status end(struct poly_section_writer *w, struct poly_error *err)
{
    struct place *place = w->head.count == 0 ? NULL : &w->head.places[w->head.count - 1];
    size_t whole = (size_t)padded(w->used);
    enum poly_status status;

    if (place == NULL)
        return POLY_OK;
    memset(w->buffer + w->used, 0, whole - w->used);
    w->used = whole;
    status = flush(w, err);
    place->checksum = XXH3_64bits_digest(w->state);
    return status;
}

enum poly_status poly_section_begin(struct poly_section_writer *w, uint32_t number,
                                    struct poly_error *err)
{
    enum poly_status status = end(w, err);

    if (status == POLY_OK && w->head.count == POLY_SECTIONS_MAX)
        status = poly_fail(err, POLY_LIMIT, "'%.300s': more than %d sections", w->path,
                           POLY_SECTIONS_MAX);
    if (status != POLY_OK)
        return status;
    XXH3_64bits_reset(w->state);
    w->head.places[w->head.count++] = (struct place){.number = number, .offset = w->offset};
    return POLY_OK;
}

enum poly_status poly_section_write(struct poly_section_writer *w, const void *data, size_t size,
                                    struct poly_error *err)
{
    const unsigned char *at = data;
    enum poly_status status = POLY_OK;

    poly_assert(w->head.count > 0);
    w->head.places[w->head.count - 1].size += size;
    while (size > 0 && status == POLY_OK) {
        size_t part = BUFFER - w->used < size ? BUFFER - w->used : size;

        memcpy(w->buffer + w->used, at, part);
        w->used += part;
        at += part;
        size -= part;
        if (w->used == BUFFER)
            status = flush(w, err);
    }
    return status;
}

/* A new file is lost with its name unless its folder is synced, too. */
static enum poly_status sync_folder(const char *path, struct poly_error *err)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash == NULL ? strdup(".") : strndup(path, (size_t)(slash - path) + 1);
    enum poly_status status = POLY_OK;
    int fd;

    if (folder == NULL)
        return poly_no_memory(err);
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0)
        status = unavailable(folder, err);
    if (fd >= 0)
        close(fd);
    free(folder);
    return status;
}

enum poly_status poly_section_finish(struct poly_section_writer *w, struct poly_error *err)
{
    enum poly_status status = end(w, err);

    w->head.file_size = w->offset;
    w->head.checksum = head_checksum(&w->head);
    if (status == POLY_OK)
        status = put(w, &w->head, sizeof(w->head), 0, err);
    if (status == POLY_OK && fsync(w->fd) != 0)
        status = unavailable(w->path, err);
    if (status == POLY_OK)
        status = sync_folder(w->path, err);
    if (status == POLY_OK)
        writer_free(w);
    else
        poly_section_abandon(w);
    return status;
}

/* --- reading --- */

bool poly_loading_step(struct poly_loading *watch, uint64_t bytes)
{
    if (watch == NULL)
        return true;
    if (bytes > 0)
        atomic_fetch_add_explicit(&watch->done, bytes, memory_order_relaxed);
    while (atomic_load(&watch->done) > atomic_load(&poly_control_loading) &&
           !atomic_load(&watch->stop))
        usleep(HELD_US);
    return !atomic_load_explicit(&watch->stop, memory_order_relaxed);
}

enum poly_status poly_loading_stopped(const char *path, struct poly_error *err)
{
    return poly_fail(err, POLY_UNAVAILABLE, "'%.300s': reading it was stopped", path);
}

struct poly_sections {
    int fd;
    struct poly_loading *watch;
    const char *path; /* of the caller's, while it opens */
    struct head head;
    unsigned char *map; /* the whole file */
};

static enum poly_status corrupt(const struct poly_sections *s, const char *why,
                                struct poly_error *err)
{
    return poly_fail(err, POLY_CORRUPT, "'%.300s' is damaged: %s", s->path, why);
}

static enum poly_status take(const struct poly_sections *s, void *data, size_t size,
                             uint64_t offset, struct poly_error *err)
{
    unsigned char *at = data;

    while (size > 0) {
        ssize_t n = pread(s->fd, at, size, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return unavailable(s->path, err);
        if (n == 0)
            return corrupt(s, "it ends early", err);
        at += n;
        offset += (uint64_t)n;
        size -= (size_t)n;
    }
    return POLY_OK;
}

/* Places follow each other without a gap: no byte is outside of a checksum. */
static bool well_placed(const struct head *head)
{
    uint64_t next = PAGE;

    if (head->count > POLY_SECTIONS_MAX)
        return false;
    for (uint32_t i = 0; i < head->count; i++) {
        const struct place *place = &head->places[i];

        if (place->offset != next || place->size > head->file_size ||
            padded(place->size) > head->file_size - next)
            return false;
        next += padded(place->size);
    }
    return next == head->file_size;
}

static enum poly_status read_head(struct poly_sections *s, uint32_t kind, struct poly_error *err)
{
    struct stat st;
    enum poly_status status;

    if (fstat(s->fd, &st) != 0)
        return unavailable(s->path, err);
    status = take(s, &s->head, sizeof(s->head), 0, err);
    if (status != POLY_OK)
        return status;
    if (memcmp(s->head.magic, magic, sizeof(magic)) != 0 ||
        s->head.checksum != head_checksum(&s->head))
        return corrupt(s, "its first page is not one of ours", err);
    if (s->head.version != VERSION || s->head.kind != kind)
        return corrupt(s, "it is of another kind or version", err);
    if (s->head.file_size != (uint64_t)st.st_size || !well_placed(&s->head))
        return corrupt(s, "its size is not what its first page says", err);
    return POLY_OK;
}

static enum poly_status check_section(const struct poly_sections *s, const struct place *place,
                                      unsigned char *buffer, XXH3_state_t *state,
                                      struct poly_error *err)
{
    uint64_t left = padded(place->size), offset = place->offset;
    enum poly_status status = POLY_OK;

    XXH3_64bits_reset(state);
    while (left > 0 && status == POLY_OK) {
        size_t part = left < BUFFER ? (size_t)left : BUFFER;

        status = take(s, buffer, part, offset, err);
        if (status == POLY_OK)
            XXH3_64bits_update(state, buffer, part);
        if (status == POLY_OK && !poly_loading_step(s->watch, part))
            status = poly_loading_stopped(s->path, err);
        left -= part;
        offset += part;
    }
    if (status == POLY_OK && XXH3_64bits_digest(state) != place->checksum)
        status = corrupt(s, "a checksum does not fit", err);
    return status;
}

static enum poly_status check_all(const struct poly_sections *s, struct poly_error *err)
{
    unsigned char *buffer = malloc(BUFFER);
    XXH3_state_t *state = XXH3_createState(); /* aligned as it wants to be */
    enum poly_status status = POLY_OK;

    if (buffer == NULL || state == NULL)
        status = poly_no_memory(err);
    for (uint32_t i = 0; i < s->head.count && status == POLY_OK; i++)
        status = check_section(s, &s->head.places[i], buffer, state, err);
    XXH3_freeState(state);
    free(buffer);
    return status;
}

static enum poly_status map_all(struct poly_sections *s, struct poly_error *err)
{
    void *map =
        mmap(NULL, (size_t)s->head.file_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, s->fd, 0);

    if (map == MAP_FAILED)
        return unavailable(s->path, err);
    s->map = map;
    return POLY_OK;
}

/* With .fd open. */
static enum poly_status open_file(struct poly_sections *s, const char *path, uint32_t kind,
                                  struct poly_error *err)
{
    s->path = path;
    s->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (s->fd >= 0)
        return read_head(s, kind, err);
    return errno == ENOENT ? poly_fail(err, POLY_NOT_FOUND, "'%.300s' is not there", path)
                           : unavailable(path, err);
}

enum poly_status poly_sections_open(const char *path, uint32_t kind, struct poly_loading *watch,
                                    struct poly_sections **sections, struct poly_error *err)
{
    struct poly_sections *s = calloc(1, sizeof(*s));
    enum poly_status status;

    if (s == NULL)
        return poly_no_memory(err);
    s->watch = watch;
    status = open_file(s, path, kind, err);
    if (status == POLY_OK)
        status = check_all(s, err);
    if (status == POLY_OK)
        status = map_all(s, err);
    if (s->fd >= 0)
        close(s->fd);
    if (status == POLY_OK)
        *sections = s;
    else
        free(s);
    return status;
}

static const struct place *find_place(const struct poly_sections *s, uint32_t number)
{
    for (uint32_t i = 0; i < s->head.count; i++)
        if (s->head.places[i].number == number)
            return &s->head.places[i];
    return NULL;
}

/* What is read is small: data goes through a page. */
static enum poly_status peek_section(const struct poly_sections *s, uint32_t number, void *data,
                                     size_t size, struct poly_error *err)
{
    const struct place *place = find_place(s, number);
    unsigned char page[PAGE];
    enum poly_status status;

    if (place == NULL || place->size != size || size > PAGE)
        return corrupt(s, "a section is missing, or has another size than it should", err);
    status = take(s, page, (size_t)padded(size), place->offset, err);
    if (status == POLY_OK && XXH3_64bits(page, (size_t)padded(size)) != place->checksum)
        status = corrupt(s, "a checksum does not fit", err);
    if (status == POLY_OK)
        memcpy(data, page, size);
    return status;
}

enum poly_status poly_sections_peek(const char *path, uint32_t kind, uint32_t number, void *data,
                                    size_t size, uint64_t *bytes, struct poly_error *err)
{
    struct poly_sections s = {.fd = -1};
    enum poly_status status = open_file(&s, path, kind, err);

    if (status == POLY_OK && number > 0)
        status = peek_section(&s, number, data, size, err);
    if (status == POLY_OK)
        *bytes = s.head.file_size;
    if (s.fd >= 0)
        close(s.fd);
    return status;
}

enum poly_status poly_sections_get(const struct poly_sections *s, uint32_t number, void **data,
                                   size_t *size, struct poly_error *err)
{
    const struct place *place = find_place(s, number);

    if (place == NULL)
        return poly_fail(err, POLY_CORRUPT, "a saved index lacks section %u", number);
    *data = s->map + place->offset;
    *size = (size_t)place->size;
    return POLY_OK;
}

void poly_sections_close(struct poly_sections *s)
{
    if (s == NULL)
        return;
    munmap(s->map, (size_t)s->head.file_size);
    free(s);
}
