/*
 * What is known of each slot beside its vector: whose it is, under which key and version, and the
 * values that a search may filter by. Columns in flat arrays, values as numbers of a dictionary, so
 * that a condition is decided once for each different value and then looked up for each slot. A
 * slot's entry never changes, so the set of slots that fit a condition only grows with the slots,
 * and is kept for the next search that asks the same.
 *
 * Threads: as for the index (index.h): one writer, any number of readers.
 */
#ifndef POLY_STORES_VECTOR_ENGINE_CATALOG_H
#define POLY_STORES_VECTOR_ENGINE_CATALOG_H

#include "base/arena.h"
#include "stores/vector/engine/index.h"

struct poly_catalog;

struct poly_catalog_entry {
    struct poly_text owner; /* a tenant; empty: none */
    struct poly_text key;   /* unique among the live slots of an owner */
    uint64_t version;
    uint64_t position;               /* that has changed it last */
    const struct poly_value *values; /* of each column; NULL where it was made without columns */
};

/* columns: names of what one may filter by. A value is kept as it is (JSON, too, for paths). */
enum poly_status poly_catalog_new(const char *const *columns, size_t column_count,
                                  struct poly_catalog **catalog, struct poly_error *err);
void poly_catalog_free(struct poly_catalog *catalog);

/* Of a new slot. slot: as the index has given it: ascending, with gaps where it has used up a slot
 * itself. A gap has no entry, fits no condition, and is asked for nothing; the end of a state may
 * lie behind one. */
enum poly_status poly_catalog_append(struct poly_catalog *catalog, uint32_t slot,
                                     const struct poly_catalog_entry *entry,
                                     struct poly_error *err);
/* The live slot of a key, changes that are not published included; POLY_NO_SLOT: none. Appending a
 * key that has one gives the key to the new slot. Any thread. */
uint32_t poly_catalog_slot(const struct poly_catalog *catalog, struct poly_text owner,
                           struct poly_text key);
/* The key has no slot any more. */
enum poly_status poly_catalog_remove(struct poly_catalog *catalog, struct poly_text owner,
                                     struct poly_text key, struct poly_error *err);
void poly_catalog_publish(struct poly_catalog *catalog);
void poly_catalog_revert(struct poly_catalog *catalog);

/* Of a slot that the index has said is alive, or has been; texts live as long as the catalog.
 * .values is NULL. */
void poly_catalog_entry(const struct poly_catalog *catalog, uint32_t slot,
                        struct poly_catalog_entry *entry);
/* Value of a column, for grouping. */
void poly_catalog_value(const struct poly_catalog *catalog, uint32_t slot, size_t column,
                        struct poly_value *value);

/*
 * Slots below end of an owner (NULL: of all) that fit a condition (NULL: all). Costs a look at the
 * slots that have come since the same was asked last. slots, and what it points to, is good until
 * poly_catalog_release(). POLY_INVALID: a column that is none, a comparison that cannot be. Dead
 * slots may be among them.
 */
enum poly_status poly_catalog_select(struct poly_catalog *catalog, const struct poly_text *owner,
                                     const struct poly_where *where, uint32_t end,
                                     struct poly_slots *slots, struct poly_error *err);
void poly_catalog_release(struct poly_catalog *catalog, struct poly_slots *slots);

/* The entries of the slots that map (of poly_index_copy(), end entries) gives a new one, appended
 * to an empty catalog of the same columns. *stop, NULL: as there. */
enum poly_status poly_catalog_copy(const struct poly_catalog *catalog, const uint32_t *map,
                                   uint32_t end, struct poly_catalog *to, const atomic_bool *stop,
                                   struct poly_error *err);

uint64_t poly_catalog_memory(const struct poly_catalog *catalog);

/* Slots below end, as in index.h. Loading asks alive() which of them have their key. */
enum poly_status poly_catalog_save(struct poly_catalog *catalog, uint32_t end, const char *path,
                                   struct poly_error *err);
struct poly_catalog_file {
    const char *path;
    const char *const *columns;
    size_t column_count;
    struct poly_loading *watch; /* NULL: nobody looks */
};
/* Looks in a moment at its first page and its length. *bytes: that loading reads. */
enum poly_status poly_catalog_peek(const char *path, uint64_t *bytes, struct poly_error *err);
enum poly_status poly_catalog_load(const struct poly_catalog_file *file,
                                   const struct poly_index *index, struct poly_catalog **catalog,
                                   struct poly_error *err);

#endif
