/* The linker's --wrap sends our calls here and gives the real ones another name: nothing of the C
 * library or the sanitizer is replaced. */
#include "memory.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset);
int __real_mprotect(void *address, size_t size, int protection);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
char *__wrap_strdup(const char *text);
void *__wrap_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset);
int __wrap_mprotect(void *address, size_t size, int protection);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned long left; /* allocations until one fails; 0: none does */
static bool stays, failed;

void memory_fail_at(unsigned long nth, bool persistent)
{
    json_set_alloc_funcs(__wrap_malloc, free);
    pthread_mutex_lock(&lock);
    left = nth;
    stays = persistent;
    failed = false;
    pthread_mutex_unlock(&lock);
}

bool memory_failed(void)
{
    pthread_mutex_lock(&lock);
    bool now = failed;

    pthread_mutex_unlock(&lock);
    return now;
}

bool memory_next(struct memory_walk *walk)
{
    bool again = walk->nth == 0 || memory_failed();

    memory_fail_at(again ? ++walk->nth : 0, false);
    return again;
}

static bool hit(void)
{
    bool now;

    pthread_mutex_lock(&lock);
    now = (stays && failed) || (left > 0 && --left == 0);
    failed |= now;
    pthread_mutex_unlock(&lock);
    return now;
}

void *__wrap_malloc(size_t size)
{
    return hit() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return hit() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return hit() ? NULL : __real_realloc(memory, size);
}

char *__wrap_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = __wrap_malloc(size);

    return copy == NULL ? NULL : memcpy(copy, text, size);
}

void *__wrap_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
    if (!hit())
        return __real_mmap(address, size, protection, flags, fd, offset);
    errno = ENOMEM;
    return MAP_FAILED;
}

int __wrap_mprotect(void *address, size_t size, int protection)
{
    if (!hit())
        return __real_mprotect(address, size, protection);
    errno = ENOMEM;
    return -1;
}

/* --- SQLite --- */

static sqlite3_mem_methods original;

static void *sqlite_malloc(int size)
{
    return hit() ? NULL : original.xMalloc(size);
}

static void *sqlite_realloc(void *memory, int size)
{
    return hit() ? NULL : original.xRealloc(memory, size);
}

void memory_include_sqlite(void)
{
    sqlite3_mem_methods ours;

    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &original);
    ours = original;
    ours.xMalloc = sqlite_malloc;
    ours.xRealloc = sqlite_realloc;
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &ours) != SQLITE_OK)
        abort();
}
