/* Random bytes from the system (libsodium), in blocks: one system call serves many records. */
#ifndef POLY_BASE_RANDOM_H
#define POLY_BASE_RANDOM_H

#include <stddef.h>

void poly_random(void *bytes, size_t size); /* thread-safe */

#endif
