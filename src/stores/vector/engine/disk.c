/*
 * Originals and their disk.
 *
 * Those that are not in memory: looked at one after the other, each costs a search the time of
 * one read: so where that is slow, all that will be looked at are asked for first, and the disk
 * reads them side by side. Asking is a call of the system for each; where originals are in memory
 * it would cost more than they do. Which it is, is seen from the time that they took.
 *
 * Making them durable: a system that could not write a page takes it for written all the same, and
 * says so once. It may forget the page, and the next sync goes well without it. So what was not
 * known to be on disk when a sync failed is written again before the next; and as it is read for
 * that from where it may have been forgotten, its code, which is in memory, says whether it is
 * still what it was.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "stores/vector/engine/index_inside.h"

enum {
    PAGE = 4096,
    SLOW = 2000,      /* nanoseconds for one: no memory is as slow as that … */
    SLOW_BYTES = 4,   /* … with one more for so many bytes */
    FIRST_GUESS = 100 /* nanoseconds */
};

/* --- looking at them --- */

int64_t poly_costs_now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000L + time.tv_nsec;
}

void poly_originals_init(struct poly_index *index)
{
    atomic_init(&index->costs.original, FIRST_GUESS);
}

bool poly_originals_slow(const struct poly_index *index)
{
    return index->fd >= 0 && atomic_load_explicit(&index->costs.original, memory_order_relaxed) >
                                 SLOW + (float)index->original_size / SLOW_BYTES;
}

void poly_originals_ask(const struct poly_index *index, uint32_t slot)
{
    const uintptr_t row = (uintptr_t)poly_original_row(index, slot);
    const uintptr_t from = row / PAGE * PAGE;

    (void)madvise((void *)from, row + index->original_size - from, MADV_WILLNEED); /* a wish */
}

void poly_originals_seen(struct poly_index *index, uint32_t count, int64_t start)
{
    if (index->fd >= 0 && count > 0)
        poly_costs_learn(&index->costs.original, (float)(poly_costs_now() - start) / (float)count);
}

/* --- making them durable --- */

static bool read_original(const struct poly_index *index, uint32_t slot, uint8_t *original)
{
    const size_t size = index->original_size;
    ssize_t n = 1;

    for (size_t done = 0; done < size && n > 0; done += (size_t)n) {
        do
            n = pread(index->fd, original + done, size - done,
                      (off_t)slot * (off_t)size + (off_t)done);
        while (n < 0 && errno == EINTR);
        if (n <= 0)
            return false;
    }
    return true;
}

/* One that no sync has taken. Its code is in memory, and says whether it is what it was. */
static enum poly_status write_one(struct poly_index *index, uint32_t slot, uint8_t *original,
                                  uint8_t *code, struct poly_error *err)
{
    if (!read_original(index, slot, original))
        return poly_fail(err, POLY_UNAVAILABLE, "originals cannot be read: %s", strerror(errno));
    poly_coder_encode(&index->coder, original, code);
    if (memcmp(code, poly_code_row(index, slot), index->coder.stride) == 0)
        return poly_original_write(index, slot, original, err);
    atomic_store(&index->lost, true);
    return poly_originals_lost(err);
}

static enum poly_status write_again(struct poly_index *index, uint32_t end, struct poly_error *err)
{
    uint8_t *original = malloc(index->original_size), *code = malloc(index->coder.stride);
    enum poly_status status = original == NULL || code == NULL ? poly_no_memory(err) : POLY_OK;

    for (uint32_t slot = index->synced; slot < end && status == POLY_OK; slot++)
        if (poly_slot_alive(index, slot, end))
            status = write_one(index, slot, original, code, err);
    free(original);
    free(code);
    return status;
}

enum poly_status poly_originals_lost(struct poly_error *err)
{
    return poly_fail(err, POLY_UNAVAILABLE,
                     "a failed disk has lost vectors: restart, and they are read from the log");
}

/* Makes the file as long as the state, too, for its last slot may be one without. */
static enum poly_status sync_file(const struct poly_index *index, uint32_t end,
                                  struct poly_error *err)
{
    const off_t bytes = (off_t)end * (off_t)index->original_size;
    struct stat st;

    if (fstat(index->fd, &st) != 0 || (st.st_size < bytes && ftruncate(index->fd, bytes) != 0) ||
        fdatasync(index->fd) != 0)
        return poly_fail(err, POLY_UNAVAILABLE, "originals cannot be made durable: %s",
                         strerror(errno));
    return POLY_OK;
}

enum poly_status poly_originals_sync(struct poly_index *index, uint32_t end, struct poly_error *err)
{
    enum poly_status status = POLY_OK;
    struct poly_error ignored;

    if (atomic_load(&index->lost))
        return poly_originals_lost(err);
    if (index->doubtful)
        status = write_again(index, end, err);
    if (status == POLY_OK)
        status = sync_file(index, end, err);
    if (status == POLY_OK) {
        index->synced = end;
        index->doubtful = false;
    } else if (!index->doubtful) { /* at once: they are likely to be in memory still */
        index->doubtful = true;
        (void)!write_again(index, end, &ignored);
    }
    return status;
}
