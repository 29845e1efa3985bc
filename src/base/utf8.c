/*
 * Nearly all text is long runs of ASCII: those are looked at eight bytes at a
 * time, and everything else character by character.
 */
#include "base/utf8.h"

#include <stdint.h>
#include <string.h>

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

size_t poly_utf8_character(const char *data, size_t size)
{
    static const unsigned char low[5] = {0, 0, 0x80, 0xa0, 0x90}; /* else it is overlong */
    const unsigned char *s = (const unsigned char *)data;
    size_t length;

    if (size == 0)
        return 0;
    if (s[0] < 0x80)
        return 1;
    length = s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;
    if (length == 0 || length > size)
        return 0;
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    }
    if ((s[0] == 0xe0 || s[0] == 0xf0) && s[1] < low[length])
        return 0;
    if ((s[0] == 0xed && s[1] >= 0xa0) || (s[0] == 0xf4 && s[1] >= 0x90))
        return 0;
    return length;
}

/* The high bit of each byte that is below 0x20, or a quote, a backslash, or no ASCII. Bits above
 * the first one that is set may be wrong, which only ends a fast run a little early. */
static uint64_t special(uint64_t word)
{
    uint64_t quote = word ^ EACH('"'), backslash = word ^ EACH('\\');

    return ((word - EACH(0x20)) | (quote - EACH(1)) | (backslash - EACH(1)) | word) & EACH(0x80);
}

static bool plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

size_t poly_utf8_plain(const char *data, size_t size)
{
    size_t i = 0;

    for (uint64_t word; size - i >= sizeof(word); i += sizeof(word)) {
        memcpy(&word, data + i, sizeof(word));
        if (special(word) != 0)
            break;
    }
    while (i < size && plain((unsigned char)data[i]))
        i++;
    return i;
}

bool poly_utf8_valid(const char *data, size_t size)
{
    size_t i = 0;

    while (i < size) {
        size_t length = poly_utf8_plain(data + i, size - i);

        if (length == 0)
            length = poly_utf8_character(data + i, size - i);
        if (length == 0 || data[i] == '\0')
            return false;
        i += length;
    }
    return true;
}
