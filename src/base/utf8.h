/* UTF-8, as RFC 3629 has it: no surrogates, no overlong forms, up to U+10FFFF. */
#ifndef POLY_BASE_UTF8_H
#define POLY_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes of the character that data starts with, 1 to 4; 0: it starts with none. */
size_t poly_utf8_character(const char *data, size_t size);
/* Whole, and without NUL. */
bool poly_utf8_valid(const char *data, size_t size);
/* Bytes up to the first that a JSON string does not hold as it is, or that is no ASCII. */
size_t poly_utf8_plain(const char *data, size_t size);

#endif
