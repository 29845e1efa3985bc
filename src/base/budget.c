/*
 * A layer over SQLite's allocator that counts for the thread that has a
 * budget, and costs the others one look at a variable of their own.
 */
#include "base/budget.h"

#include <malloc.h>
#include <sqlite3.h>

#include "base/clock.h"

enum { LARGE = 64 * 1024 /* bytes whose making takes longer than a look at the clock */ };

static sqlite3_mem_methods below;
static _Thread_local struct {
    bool on;
    enum poly_status why;
    size_t used, max;
    int64_t deadline;
} budget;

static bool fits(size_t more)
{
    if (!budget.on)
        return true;
    if (more > budget.max || budget.used > budget.max - more)
        budget.why = POLY_LIMIT;
    else if (more >= LARGE && poly_clock_monotonic() > budget.deadline)
        budget.why = POLY_TIMEOUT;
    else
        return true;
    return false;
}

static void give_back(size_t bytes)
{
    budget.used -= bytes < budget.used ? bytes : budget.used;
}

static void *take(int size)
{
    void *p = fits((size_t)size) ? below.xMalloc(size) : NULL;

    if (budget.on && p != NULL)
        budget.used += (size_t)below.xSize(p);
    return p;
}

static void release(void *p)
{
    if (budget.on)
        give_back((size_t)below.xSize(p));
    below.xFree(p);
}

static void *resize(void *p, int size)
{
    size_t before = budget.on ? (size_t)below.xSize(p) : 0;
    void *moved;

    if (budget.on && (size_t)size > before && !fits((size_t)size - before))
        return NULL;
    moved = below.xRealloc(p, size);
    if (budget.on && moved != NULL) {
        give_back(before);
        budget.used += (size_t)below.xSize(moved);
    }
    return moved;
}

bool poly_budget_install(void)
{
    sqlite3_mem_methods counted;

    if (below.xMalloc != NULL)
        return true;
    if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &below) != SQLITE_OK)
        return false;
    counted = below;
    counted.xMalloc = take;
    counted.xFree = release;
    counted.xRealloc = resize;
    /* SQLite's own count is of the whole process, with a lock around every allocation. */
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &counted) == SQLITE_OK)
        return true;
    below.xMalloc = NULL;
    return false;
}

void poly_budget_begin(size_t bytes, int64_t deadline)
{
    budget.on = below.xMalloc != NULL;
    budget.why = POLY_OK;
    budget.used = 0;
    budget.max = bytes;
    budget.deadline = deadline;
}

enum poly_status poly_budget_end(void)
{
    enum poly_status why = budget.on ? budget.why : POLY_OK;

    budget.on = false;
    if (why == POLY_LIMIT)
        (void)malloc_trim(0);
    return why;
}
