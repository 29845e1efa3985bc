/* What the files of the catalog share. */
#ifndef POLY_STORES_VECTOR_ENGINE_CATALOG_INSIDE_H
#define POLY_STORES_VECTOR_ENGINE_CATALOG_INSIDE_H

#include "stores/vector/engine/array.h"
#include "stores/vector/engine/catalog.h"
#include "stores/vector/engine/dictionary.h"
#include "stores/vector/engine/hashes.h"
#include "stores/vector/engine/pool.h"

/* Slots or bits that readers were given: freed when the last of them, and the catalog, let go. */
struct poly_shared {
    _Atomic uint32_t holders;
    uint32_t capacity; /* slots, or words of bits */
    union {
        uint32_t slots[0];
        uint64_t words[0];
    };
};

/* bytes of content, not zeroed. NULL: out of memory. */
struct poly_shared *poly_shared_new(size_t bytes);
void poly_shared_hold(struct poly_shared *shared);
void poly_shared_release(struct poly_shared *shared); /* NULL is accepted */

/* One slot. */
struct poly_catalog_row {
    const char *key;
    uint64_t version, position;
    uint32_t owner; /* number in .owners */
    uint32_t key_size;
};

/* Slots of an owner, ascending. */
struct poly_catalog_owner {
    struct poly_shared *slots;
    uint32_t count;   /* published */
    uint32_t written; /* with what is not */
};

struct poly_catalog_column {
    char *name;
    struct poly_array codes; /* uint32_t: a number of .values */
    struct poly_dictionary values;
};

/* A key whose slot changes with the next publish. */
struct poly_catalog_move {
    uint32_t hash;
    uint32_t named; /* a slot that has this owner and key */
    uint32_t slot;  /* that gets the key; POLY_NO_SLOT: none */
};

struct poly_catalog {
    struct poly_catalog_column *columns;
    size_t column_count;

    struct poly_array rows;
    uint32_t count; /* of slots, published or not */
    _Atomic uint32_t published;
    struct poly_dictionary owners; /* texts; number 0: none */
    struct poly_array owner_slots; /* struct poly_catalog_owner, by number */
    struct poly_pool pool, mark;   /* texts; mark: as it was at the last publish */
    size_t owner_list_bytes;
    _Atomic size_t bytes; /* as of the last publish, without what is kept */

    /* Changes under .lock, for microseconds; so do .slots and .count of owners. */
    pthread_mutex_t lock;
    struct poly_catalog_move *moves; /* what the next publish does to keys */
    size_t move_count, move_room;
    struct poly_hashes move_hashes; /* numbers of moves */

    struct poly_hashes keys; /* published: slots by owner and key */

    struct poly_kept *kept; /* answers of select() */
};

static inline struct poly_catalog_row *poly_catalog_row(const struct poly_catalog *c, uint32_t slot)
{
    return (struct poly_catalog_row *)poly_array_at(&c->rows, slot);
}

static inline struct poly_catalog_owner *poly_catalog_owner(const struct poly_catalog *c,
                                                            uint32_t number)
{
    return (struct poly_catalog_owner *)poly_array_at(&c->owner_slots, number);
}

/* Of an owner (a number), up to end, held. NULL: it has none. */
struct poly_shared *poly_catalog_owner_hold(struct poly_catalog *catalog, uint32_t owner,
                                            uint32_t end, uint32_t *count);

/* --- for loading: what append() is made of --- */

/* Memory for a slot, without what its owner's list takes. */
enum poly_status poly_catalog_reserve(struct poly_catalog *catalog, uint32_t slot,
                                      struct poly_error *err);
uint32_t *poly_catalog_code(const struct poly_catalog *catalog, size_t column, uint32_t slot);
/* The slot, all of whose memory is filled, becomes the owner's and the last one. */
enum poly_status poly_catalog_add_slot(struct poly_catalog *catalog, uint32_t slot, uint32_t owner,
                                       struct poly_error *err);
uint32_t poly_catalog_hash(uint32_t owner, struct poly_text key);
/* In .keys, without the lock; POLY_NO_SLOT: none. */
uint32_t poly_catalog_published(const struct poly_catalog *catalog, uint32_t owner,
                                struct poly_text key, uint32_t hash);

/* poly_catalog_load(), asking anybody which slots are alive. */
typedef bool poly_alive_fn(const void *arg, uint32_t slot);
enum poly_status poly_catalog_read(const struct poly_catalog_file *file, poly_alive_fn *alive,
                                   const void *arg, struct poly_catalog **catalog,
                                   struct poly_error *err);

/* --- a condition, made ready for these columns --- */

struct poly_condition;

/* Can it be asked of this catalog? POLY_INVALID, POLY_LIMIT. NULL is a condition, too: all. */
enum poly_status poly_condition_check(const struct poly_catalog *catalog,
                                      const struct poly_where *where, struct poly_error *err);
/* Of a condition that was checked; slots: about how many will be looked at. */
enum poly_status poly_condition_new(const struct poly_catalog *catalog,
                                    const struct poly_where *where, uint32_t slots,
                                    struct poly_condition **condition, struct poly_error *err);
void poly_condition_free(struct poly_condition *condition); /* NULL is accepted */

enum { POLY_BLOCK = 4096, POLY_BLOCK_WORDS = POLY_BLOCK / 64 };

/* Up to POLY_BLOCK slots: list[0 .. count), or first .. first + count - 1 (list NULL). Bit i: the
 * i-th fits; those from count on are 0. */
struct poly_block {
    const uint32_t *list;
    uint32_t first, count;
};
void poly_condition_block(struct poly_condition *condition, const struct poly_block *block,
                          uint64_t bits[POLY_BLOCK_WORDS]);
/* Was there memory for everything? */
bool poly_condition_failed(const struct poly_condition *condition);

/* --- answers that are kept --- */

#define POLY_ALL_OWNERS UINT32_MAX
#define POLY_NO_OWNER 1 /* whose slots are gaps: those of the index itself */

struct poly_kept *poly_kept_new(void);
void poly_kept_free(struct poly_kept *kept); /* NULL is accepted */
size_t poly_kept_bytes(struct poly_kept *kept);

enum { POLY_DIGEST_BYTES = 32 };

struct poly_kept_key {
    unsigned char digest[POLY_DIGEST_BYTES]; /* of the condition */
    uint32_t owner;
};

/* An answer: what fits of the slots below .done. */
struct poly_kept_set {
    struct poly_kept_key key;
    struct poly_kept_set *before, *after; /* by time of use */
    uint32_t users;                       /* under the lock of all */
    size_t bytes;

    pthread_mutex_t turn; /* what follows */
    struct poly_shared *shared;
    bool is_bits;
    uint32_t done;
    uint32_t count; /* of slots that fit */
};

/* The set of that key, a new one if need be; nobody takes it away until it is put back. */
enum poly_status poly_kept_take(struct poly_kept *kept, const struct poly_kept_key *key,
                                struct poly_kept_set **set, struct poly_error *err);
/* bytes: what it has now. */
void poly_kept_put_back(struct poly_kept *kept, struct poly_kept_set *set, size_t bytes);

#endif
