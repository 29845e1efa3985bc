/*
 * Tokens as they come from a caller: "tenant", a line break, the text. Only
 * what this instance made for this tenant is taken, in one spelling only; what
 * it did make is taken again, and nobody else's is.
 */
#include <string.h>

#include "base/assert.h"
#include "core/inside.h"
#include "fuzz.h"

enum { EPOCH = 3, HEAD = 100000 };

static bool reached(struct poly_owner *owner, uint64_t position)
{
    return position <= atomic_load(&owner->durable);
}

static const struct poly_owner_driver driver = {.reached = reached};
static struct poly_owner written = {.driver = &driver,
                                    .epoch = EPOCH,
                                    .secret = "a secret of the fuzz target",
                                    .durable = HEAD};
static const struct poly_instance instance = {.owner = &written};

static enum poly_status take(struct poly_text tenant, const char *text, uint64_t *position)
{
    struct poly_error err = {.message = ""};
    enum poly_status status = poly_token_read(&instance, tenant, text, position, &err);

    poly_assert(status == POLY_OK || (status == POLY_INVALID && err.message[0] != '\0'));
    return status;
}

/* Whatever is taken is, letter for letter, what would be given. */
static void check_taken(struct poly_text tenant, const char *text)
{
    uint64_t position = UINT64_MAX;
    struct poly_token token;

    if (take(tenant, text, &position) != POLY_OK) {
        poly_assert(position == UINT64_MAX);
        return;
    }
    poly_assert(position <= HEAD);
    poly_token_make(&instance, tenant, position, &token);
    poly_assert(strcmp(token.text, text) == 0);
}

static void refuse(struct poly_text tenant, const char *text)
{
    uint64_t position;

    poly_assert(take(tenant, text, &position) != POLY_OK);
}

/* S2-29: a token of ours is good for its tenant, unchanged, in its epoch, up to the head. */
static void check_given(struct poly_text tenant, uint64_t seed)
{
    struct poly_token token, changed;
    uint64_t position;
    size_t at;

    poly_token_make(&instance, tenant, seed % (HEAD + 1), &token);
    poly_assert(take(tenant, token.text, &position) == POLY_OK && position == seed % (HEAD + 1));
    refuse(tenant.size > 0 ? poly_text("") : poly_text("another"), token.text);

    changed = token;
    at = seed % strlen(token.text);
    changed.text[at] = changed.text[at] == 'A' ? 'B' : 'A';
    refuse(tenant, changed.text);

    written.epoch++;
    refuse(tenant, token.text);
    written.epoch--;
    poly_token_make(&instance, tenant, HEAD + 1 + seed % 1000, &token);
    refuse(tenant, token.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[200];
    size_t kept = size < sizeof(text) - 1 ? size : sizeof(text) - 1, name;
    uint64_t seed = size;

    memcpy(text, data, kept);
    text[kept] = '\0';
    name = strcspn(text, "\n");
    name = name < POLY_MAX_NAME ? name : POLY_MAX_NAME;
    for (size_t i = 0; i < kept; i++)
        seed = seed * 31 + data[i];

    struct poly_text tenant = {text, name};

    check_taken(tenant, text[name] == '\n' ? text + name + 1 : text + name);
    check_given(tenant, seed);
    return 0;
}
