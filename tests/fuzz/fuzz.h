/* What libFuzzer, and replay.c, call with each input. Returns 0. */
#ifndef POLY_TEST_FUZZ_H
#define POLY_TEST_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
