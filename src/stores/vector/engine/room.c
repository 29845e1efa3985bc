/*
 * Arrays that searches read while the writer makes them longer. They must not move, and an array of
 * pieces would cost every distance another look-up: so address space is reserved once, which costs
 * nothing, and made usable as the array grows. Growing is mprotect(), not page faults alone, so
 * that a system that keeps count of its memory refuses here, with an error, and does not kill the
 * process later.
 *
 * From a few megabytes on the array asks for huge pages: a search jumps about in it, and misses the
 * address cache with small pages at every jump.
 */
#include <sys/mman.h>

#include "stores/vector/engine/index_inside.h"

enum { STEP = 64 * 1024, HUGE = 2 * 1024 * 1024, HUGE_FROM = 2 * HUGE };

static size_t round_up(size_t bytes, size_t step)
{
    return (bytes + step - 1) / step * step;
}

enum poly_status poly_room_reserve(struct poly_room *room, size_t bytes, struct poly_error *err)
{
    const size_t reserved = round_up(bytes, HUGE);
    /* one huge page more, to begin at the border of one */
    uint8_t *base =
        mmap(NULL, reserved + HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (base == MAP_FAILED)
        return poly_no_memory(err);

    const size_t before = (HUGE - (uintptr_t)base % HUGE) % HUGE;

    if (before > 0)
        munmap(base, before);
    munmap(base + before + reserved, HUGE - before);
    *room = (struct poly_room){.base = base + before, .reserved = reserved};
    return POLY_OK;
}

enum poly_status poly_room_commit(struct poly_room *room, size_t bytes, struct poly_error *err)
{
    if (bytes <= room->committed)
        return POLY_OK;
    if (bytes > room->reserved)
        return poly_no_memory(err);

    /* an eighth more than is needed, so that growing is rare */
    size_t wanted = bytes + bytes / 8;

    wanted = round_up(wanted, wanted < HUGE_FROM ? STEP : HUGE);
    if (wanted > room->reserved)
        wanted = room->reserved;
    if (mprotect(room->base + room->committed, wanted - room->committed, PROT_READ | PROT_WRITE) !=
        0)
        return poly_no_memory(err);
    room->committed = wanted;
    if (wanted >= HUGE_FROM)
        (void)madvise(room->base, wanted, MADV_HUGEPAGE); /* a wish: it works without */
    return POLY_OK;
}

void poly_room_release(struct poly_room *room)
{
    if (room->base != NULL)
        munmap(room->base, room->reserved);
    *room = (struct poly_room){0};
}
