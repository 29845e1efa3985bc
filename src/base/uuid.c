/*
 * UUID version 7 (RFC 9562): 48 bits of milliseconds, 12 bits of counter, 62
 * random bits. Milliseconds and counter are one number that only grows, so
 * ids of one process sort as they were made, over all threads, also within a
 * millisecond and when the clock goes back.
 */
#include <stdatomic.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/random.h"
#include "base/status.h"
#include "polystore/value.h"

/* milliseconds << 12 | counter */
static _Atomic uint64_t last;

/* The counter starts in the lower half, so that it seldom runs into the next millisecond. */
static uint64_t next(uint16_t random)
{
    uint64_t now = (uint64_t)(poly_clock_wall() / 1000) << 12 | (random & 0x7ff);
    uint64_t old = atomic_load_explicit(&last, memory_order_relaxed), new;

    do
        new = now > old ? now : old + 1;
    while (!atomic_compare_exchange_weak_explicit(&last, &old, new, memory_order_relaxed,
                                                  memory_order_relaxed));
    return new;
}

struct poly_value poly_uuid_new(void)
{
    struct poly_value value = poly_null();
    uint8_t *uuid = value.uuid;
    uint16_t random;

    poly_random(uuid + 8, 8);
    poly_random(&random, sizeof(random));

    uint64_t time = next(random);

    for (int i = 0; i < 6; i++)
        uuid[i] = (uint8_t)(time >> (52 - 8 * i));
    uuid[6] = (uint8_t)(0x70 | (time >> 8 & 0x0f));
    uuid[7] = (uint8_t)time;
    uuid[8] = (uint8_t)(0x80 | (uuid[8] & 0x3f));
    value.type = POLY_UUID;
    return value;
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool parse(const char *text, uint8_t uuid[16])
{
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            if (*text++ != '-')
                return false;
        }

        int high = digit(text[0]), low = high < 0 ? -1 : digit(text[1]);

        if (low < 0)
            return false;
        uuid[i] = (uint8_t)(high << 4 | low);
        text += 2;
    }
    return *text == '\0';
}

enum poly_status poly_uuid_parse(const char *text, struct poly_value *uuid, struct poly_error *err)
{
    struct poly_value value = poly_null();

    value.type = POLY_UUID;
    if (text == NULL || !parse(text, value.uuid))
        return poly_fail(err, POLY_INVALID,
                         "'%.64s' is no UUID; it looks like 01890a5d-ac96-774b-bcce-b302099a8057",
                         text == NULL ? "" : text);
    *uuid = value;
    return POLY_OK;
}

void poly_uuid_format(const uint8_t uuid[16], char text[37])
{
    static const char hex[] = "0123456789abcdef";

    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *text++ = '-';
        *text++ = hex[uuid[i] >> 4];
        *text++ = hex[uuid[i] & 15];
    }
    *text = '\0';
}
