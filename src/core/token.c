/*
 * 29 bytes as base64url: version, epoch and position in clear (little endian),
 * then a BLAKE2b-128 MAC, keyed with the instance's secret, over them and the
 * tenant. The tenant is not in the token: another tenant's MAC does not match.
 */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "core/inside.h"

enum { VERSION = 1, CLEAR = 13, MAC = 16, SIZE = CLEAR + MAC };

static void put(uint8_t *bytes, uint64_t number, int size)
{
    for (int i = 0; i < size; i++)
        bytes[i] = (uint8_t)(number >> (8 * i));
}

static uint64_t get(const uint8_t *bytes, int size)
{
    uint64_t number = 0;

    for (int i = 0; i < size; i++)
        number |= (uint64_t)bytes[i] << (8 * i);
    return number;
}

static void sign(const struct poly_owner *owner, struct poly_text tenant, const uint8_t *clear,
                 uint8_t mac[MAC])
{
    uint8_t form[CLEAR + 16 + POLY_MAX_NAME];
    size_t size = CLEAR + sizeof(owner->id);

    memcpy(form, clear, CLEAR);
    memcpy(form + CLEAR, owner->id, sizeof(owner->id));
    memcpy(form + size, tenant.data, tenant.size);
    size += tenant.size;
    crypto_generichash(mac, MAC, form, size, owner->secret, sizeof(owner->secret));
}

static void print(const uint8_t bytes[SIZE], struct poly_token *token)
{
    sodium_bin2base64(token->text, sizeof(token->text), bytes, SIZE,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

void poly_token_make(const struct poly_instance *instance, struct poly_text tenant,
                     uint64_t position, struct poly_token *token)
{
    uint8_t bytes[SIZE];

    bytes[0] = VERSION;
    put(bytes + 1, instance->owner->epoch, 4);
    put(bytes + 5, position, 8);
    sign(instance->owner, tenant, bytes, bytes + CLEAR);
    print(bytes, token);
}

/* libsodium takes some bytes beyond ASCII for letters: only what we would print is a token. */
static bool scan(const char *text, uint8_t bytes[SIZE])
{
    struct poly_token printed;
    size_t size = 0;

    if (strlen(text) >= sizeof(printed.text) ||
        sodium_base642bin(bytes, SIZE, text, strlen(text), NULL, &size, NULL,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
        size != SIZE || bytes[0] != VERSION)
        return false;
    print(bytes, &printed);
    return strcmp(printed.text, text) == 0;
}

enum poly_status poly_token_read(const struct poly_instance *instance, struct poly_text tenant,
                                 const char *text, uint64_t *position, struct poly_error *err)
{
    uint8_t bytes[SIZE], mac[MAC];

    if (!scan(text, bytes))
        return poly_fail(err, POLY_INVALID, "token: this is no token of Polystore");
    sign(instance->owner, tenant, bytes, mac);
    if (sodium_memcmp(mac, bytes + CLEAR, MAC) != 0)
        return poly_fail(err, POLY_INVALID,
                         "token: it was not made by this instance for this tenant");
    if (get(bytes + 1, 4) != instance->owner->epoch)
        return poly_fail(err, POLY_INVALID,
                         "token: it is from before a restore (epoch %llu, now %u); read again "
                         "without it",
                         (unsigned long long)get(bytes + 1, 4), instance->owner->epoch);
    if (!instance->owner->driver->reached(instance->owner, get(bytes + 5, 8)))
        return poly_fail(err, POLY_INVALID, "token: it is of a position that is not in the log");
    *position = get(bytes + 5, 8);
    return poly_token_kept(instance->owner, *position, err);
}

enum poly_status poly_token_kept(struct poly_owner *owner, uint64_t position,
                                 struct poly_error *err)
{
    uint64_t lost = 0;
    enum poly_status status;

    if (owner->driver->lost == NULL || position == 0 ||
        poly_era(position) >= atomic_load(&owner->era))
        return POLY_OK;
    status = owner->driver->lost(owner, &position, 1, &lost, err);
    return status == POLY_OK && lost != 0 ? poly_token_lost(err) : status;
}

enum poly_status poly_token_lost(struct poly_error *err)
{
    return poly_fail(err, POLY_CONFLICT,
                     "token: its write is lost: a standby has taken over that had not received it; "
                     "read again without it, and decide again");
}
