/* Conditions as JSON: what is refused says where; what is accepted reads back as it is printed, and
 * can be asked of a catalog, before and after. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "fuzz.h"
#include "stores/vector/engine/catalog.h"
#include "followers/where.h"

static const char *const columns[] = {"a", "b", "meta", "status", "and"};
enum { COLUMNS = 5, SLOTS = 24 };

static struct poly_catalog *catalog(void)
{
    static struct poly_catalog *made;
    struct poly_value values[COLUMNS];

    if (made != NULL)
        return made;
    poly_assert(poly_catalog_new(columns, COLUMNS, &made, NULL) == POLY_OK);
    for (uint32_t i = 0; i < SLOTS; i++) {
        const struct poly_catalog_entry entry = {.key = {(const char *)&i, sizeof(i)},
                                                 .values = values};

        values[0] = i % 5 == 0 ? poly_null() : poly_int(i % 7);
        values[1] = i % 3 == 0 ? poly_float(i / 2.0) : poly_str(i % 2 == 0 ? "open" : "b");
        values[2] = poly_json("{\"a\":{\"b\":[1,\"x\",null]},\"c d\":true}");
        values[3] = i % 2 == 0 ? poly_str("open") : poly_bytes("\xff", 1);
        values[4] = poly_time(i);
        poly_assert(poly_catalog_append(made, i, &entry, NULL) == POLY_OK);
    }
    poly_catalog_publish(made);
    return made;
}

static void check_error(enum poly_status status, const struct poly_error *err, size_t size)
{
    poly_assert(status == POLY_INVALID);
    poly_assert(err->position >= 0 && (size_t)err->position <= size);
    poly_assert(strncmp(err->message, "condition: ", 11) == 0);
}

/* How many fit; UINT32_MAX: it is of other columns. */
static uint32_t ask(const struct poly_where *where)
{
    struct poly_slots slots;
    struct poly_error err;
    enum poly_status status = poly_catalog_select(catalog(), NULL, where, SLOTS, &slots, &err);
    uint32_t count;

    poly_assert(status == POLY_OK || status == POLY_INVALID);
    if (status != POLY_OK)
        return UINT32_MAX;
    count = slots.count;
    poly_assert(count <= SLOTS);
    poly_catalog_release(catalog(), &slots);
    return count;
}

static void check_printed(const struct poly_where *where, struct poly_arena *arena)
{
    const struct poly_where *again;
    struct poly_buffer one, other;
    struct poly_error err;

    poly_buffer_init(&one, 1 << 26);
    poly_buffer_init(&other, 1 << 26);
    poly_where_print(where, &one);
    poly_assert(poly_buffer_ok(&one));
    if (one.size <= POLY_MAX_WHERE) {
        poly_assert(poly_where_read((struct poly_text){one.data, one.size}, arena, &again, &err) ==
                    POLY_OK);
        poly_where_print(again, &other);
        poly_assert(poly_buffer_ok(&other) && other.size == one.size);
        poly_assert(memcmp(one.data, other.data, one.size) == 0);
        poly_assert(ask(where) == ask(again));
    }
    poly_buffer_release(&one);
    poly_buffer_release(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct poly_arena *arena = poly_arena_new(1 << 28);
    struct poly_error err = {.position = -2};
    const struct poly_where *where = NULL;
    enum poly_status status;

    poly_assert(arena != NULL);
    status = poly_where_read((struct poly_text){(const char *)data, size}, arena, &where, &err);
    if (status == POLY_OK)
        check_printed(where, arena);
    else
        check_error(status, &err, size);
    poly_arena_free(arena);
    return 0;
}
