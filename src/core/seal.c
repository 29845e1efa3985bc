/*
 * The hash chain. A leaf stands for one record: BLAKE2b-128 over a canonical
 * form that holds a salted digest of the data, never the data. When a payload
 * and its salt are erased later, the salt column takes the 32-byte digest and
 * the chain still verifies, while nobody can guess short payloads from it.
 *
 * hash(n) = BLAKE2b-256(hash(n-1), first, last, leaves): leaves are kept, so an
 * edit underneath is pinned to its position and not only to its batch. A seal
 * without leaves says that there is no record between first and last: somebody
 * has left out more positions than are worth a leaf each.
 *
 * Canonical form: numbers as 8 bytes little endian, texts with their length
 * before them, in the order of the columns.
 */
#include <sodium.h>
#include <string.h>

#include "core/chain.h"

static void put_number(crypto_generichash_state *state, uint64_t number)
{
    uint8_t bytes[8];

    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(number >> (8 * i));
    crypto_generichash_update(state, bytes, sizeof(bytes));
}

static void digest_data(const struct poly_record *record, const uint8_t *salt, size_t salt_size,
                        uint8_t digest[POLY_HASH])
{
    crypto_generichash_state state;
    uint8_t kind = (uint8_t)record->data.type;

    if (salt_size == POLY_HASH) { /* erased: the digest is what was left */
        memcpy(digest, salt, POLY_HASH);
        return;
    }
    crypto_generichash_init(&state, NULL, 0, POLY_HASH);
    crypto_generichash_update(&state, salt, salt_size);
    crypto_generichash_update(&state, &kind, 1);
    if (record->data.type != POLY_NULL)
        crypto_generichash_update(&state, (const uint8_t *)record->data.text.data,
                                  record->data.text.size);
    crypto_generichash_final(&state, digest, POLY_HASH);
}

/* Small forms are gathered and hashed in one go: it is the hot path of every append. */
struct form {
    uint8_t bytes[512];
    size_t size;
    bool flushed;
    crypto_generichash_state state;
};

static void form_add(struct form *form, const void *bytes, size_t size)
{
    if (!form->flushed && size <= sizeof(form->bytes) - form->size) {
        memcpy(form->bytes + form->size, bytes, size);
        form->size += size;
        return;
    }
    if (!form->flushed) {
        crypto_generichash_init(&form->state, NULL, 0, POLY_LEAF);
        crypto_generichash_update(&form->state, form->bytes, form->size);
        form->flushed = true;
    }
    crypto_generichash_update(&form->state, bytes, size);
}

static void form_number(struct form *form, uint64_t number)
{
    uint8_t bytes[8];

    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(number >> (8 * i));
    form_add(form, bytes, sizeof(bytes));
}

static void form_text(struct form *form, struct poly_text text)
{
    form_number(form, text.size);
    if (text.size > 0)
        form_add(form, text.data, text.size);
}

void poly_seal_leaf(const struct poly_record *record, const uint8_t *salt, size_t salt_size,
                    uint8_t leaf[POLY_LEAF])
{
    struct form form;
    uint8_t digest[POLY_HASH];

    form.size = 0;
    form.flushed = false;
    digest_data(record, salt, salt_size, digest);
    form_add(&form, digest, sizeof(digest));
    form_number(&form, record->position);
    form_number(&form, record->txn);
    form_number(&form, record->version);
    form_number(&form, (uint64_t)record->time);
    form_text(&form, record->tenant);
    form_text(&form, record->domain);
    form_text(&form, record->key);
    form_text(&form, record->type);
    form_text(&form, record->meta);
    if (form.flushed)
        crypto_generichash_final(&form.state, leaf, POLY_LEAF);
    else
        crypto_generichash(leaf, POLY_LEAF, form.bytes, form.size, NULL, 0);
}

void poly_seal_next(uint8_t hash[POLY_HASH], uint64_t first, uint64_t last, const uint8_t *leaves,
                    size_t size)
{
    crypto_generichash_state state;

    crypto_generichash_init(&state, NULL, 0, POLY_HASH);
    crypto_generichash_update(&state, hash, POLY_HASH);
    put_number(&state, first);
    put_number(&state, last);
    crypto_generichash_update(&state, leaves, size);
    crypto_generichash_final(&state, hash, POLY_HASH);
}
