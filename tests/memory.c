/* The linker's --wrap sends our calls here and gives the real ones another name: nothing of the C
 * library or the sanitizer is replaced. */
#include "memory.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
char *__wrap_strdup(const char *text);

static unsigned long left; /* allocations until one fails; 0: none does */
static bool stays, failed;

void memory_fail_at(unsigned long nth, bool persistent)
{
    json_set_alloc_funcs(__wrap_malloc, free);
    left = nth;
    stays = persistent;
    failed = false;
}

bool memory_failed(void)
{
    return failed;
}

bool memory_next(struct memory_walk *walk)
{
    bool again = walk->nth == 0 || failed;

    memory_fail_at(again ? ++walk->nth : 0, false);
    return again;
}

static bool hit(void)
{
    if (stays && failed)
        return true;
    if (left == 0 || --left > 0)
        return false;
    failed = true;
    return true;
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
