/*
 * Each thread keeps a block of random bytes, so that an id costs a copy and
 * no system call and no lock. A byte is wiped as it is handed out: what was
 * given cannot be read again from here.
 */
#include "base/random.h"

#include <sodium.h>
#include <string.h>

#include "base/assert.h"

enum { BLOCK = 4096 };

static _Thread_local struct {
    unsigned char bytes[BLOCK];
    size_t left; /* at the end of bytes */
} block;

static void system_random(void *bytes, size_t size)
{
    poly_assert(sodium_init() >= 0);
    randombytes_buf(bytes, size);
}

void poly_random(void *bytes, size_t size)
{
    if (size > BLOCK / 4) {
        system_random(bytes, size);
        return;
    }
    if (block.left < size) {
        system_random(block.bytes, BLOCK);
        block.left = BLOCK;
    }

    unsigned char *from = block.bytes + BLOCK - block.left;

    memcpy(bytes, from, size);
    memset(from, 0, size);
    block.left -= size;
}
