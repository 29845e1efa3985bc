/*
 * The catalog as a file of sections: the columns as they are, each dictionary as its values in the
 * order of their numbers. What can be made from that (hashes, slots of owners, keys) is made when
 * it is loaded, which also finds what cannot be: a value that stands there twice, a number that no
 * value has, two live slots with one key.
 *
 * Checksums say that the bytes are those that were written; every size and number is checked all
 * the same before it is used.
 */
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/status.h"
#include "stores/vector/engine/catalog_inside.h"
#include "stores/vector/engine/section.h"

enum {
    KIND = 0x746163, /* "cat" */
    LOOK = 1 << 14   /* slots between two looks whether to go on */
};
enum section { SHAPE = 1, OWNERS, ROWS, KEYS, CODES, VALUES };

struct shape {
    uint32_t slots, columns, owners, zero;
};

struct column_shape {
    uint32_t values, name_size; /* and the name */
};

struct saved_row {
    uint64_t version, position;
    uint32_t owner, key_size;
};

struct saved_value {
    uint32_t type, size; /* and size bytes; of a number 8 */
};

static bool has_text(uint32_t type)
{
    return type == POLY_TEXT || type == POLY_BYTES || type == POLY_JSON || type == POLY_UUID;
}

/* --- writing --- */

/* What is saved: all published slots below .end. */
struct saving {
    const struct poly_catalog *catalog;
    struct poly_section_writer *writer;
    uint32_t end;
    struct poly_error *err;
};

static enum poly_status put(struct saving *s, const void *data, size_t size)
{
    return poly_section_write(s->writer, data, size, s->err);
}

static uint32_t published(const struct poly_dictionary *d)
{
    return atomic_load_explicit(&d->published, memory_order_acquire);
}

/* counts: of values, as .. they were when the save began. */
static enum poly_status put_shape(struct saving *s, const uint32_t *counts, uint32_t owners)
{
    const struct poly_catalog *c = s->catalog;
    const struct shape shape = {s->end, (uint32_t)c->column_count, owners, 0};
    enum poly_status status = poly_section_begin(s->writer, SHAPE, s->err);

    if (status == POLY_OK)
        status = put(s, &shape, sizeof(shape));
    for (size_t i = 0; i < c->column_count && status == POLY_OK; i++) {
        const struct column_shape column = {counts[i], (uint32_t)strlen(c->columns[i].name)};

        status = put(s, &column, sizeof(column));
        if (status == POLY_OK)
            status = put(s, c->columns[i].name, column.name_size);
    }
    return status;
}

static enum poly_status put_dictionary(struct saving *s, const struct poly_dictionary *d,
                                       uint32_t count)
{
    enum poly_status status = POLY_OK;

    for (uint32_t i = 0; i < count && status == POLY_OK; i++) {
        const struct poly_cell *cell = poly_dictionary_at(d, i);
        bool text = has_text(cell->type);
        const struct saved_value value = {cell->type, text ? cell->size : sizeof(cell->integer)};

        status = put(s, &value, sizeof(value));
        if (status == POLY_OK)
            status = put(s, text ? (const void *)cell->text : &cell->integer, value.size);
    }
    return status;
}

static enum poly_status put_rows(struct saving *s)
{
    enum poly_status status = poly_section_begin(s->writer, ROWS, s->err);

    for (uint32_t i = 0; i < s->end && status == POLY_OK; i++) {
        const struct poly_catalog_row *row = poly_catalog_row(s->catalog, i);
        const struct saved_row saved = {row->version, row->position, row->owner, row->key_size};

        status = put(s, &saved, sizeof(saved));
    }
    if (status == POLY_OK)
        status = poly_section_begin(s->writer, KEYS, s->err);
    for (uint32_t i = 0; i < s->end && status == POLY_OK; i++) {
        const struct poly_catalog_row *row = poly_catalog_row(s->catalog, i);

        status = put(s, row->key, row->key_size);
    }
    return status;
}

static enum poly_status put_codes(struct saving *s)
{
    const struct poly_catalog *c = s->catalog;
    enum poly_status status = poly_section_begin(s->writer, CODES, s->err);

    for (size_t i = 0; i < c->column_count; i++)
        for (uint32_t at = 0, run; at < s->end && status == POLY_OK; at += run) {
            run = poly_array_run(at, s->end);
            status = put(s, poly_catalog_code(c, i, at), run * sizeof(uint32_t));
        }
    return status;
}

static enum poly_status put_all(struct saving *s, const uint32_t *counts)
{
    const struct poly_catalog *c = s->catalog;
    uint32_t owners = published(&c->owners);
    enum poly_status status = put_shape(s, counts, owners);

    if (status == POLY_OK)
        status = poly_section_begin(s->writer, OWNERS, s->err);
    if (status == POLY_OK)
        status = put_dictionary(s, &c->owners, owners);
    if (status == POLY_OK)
        status = put_rows(s);
    if (status == POLY_OK)
        status = put_codes(s);
    if (status == POLY_OK)
        status = poly_section_begin(s->writer, VALUES, s->err);
    for (size_t i = 0; i < c->column_count && status == POLY_OK; i++)
        status = put_dictionary(s, &c->columns[i].values, counts[i]);
    return status;
}

enum poly_status poly_catalog_save(struct poly_catalog *c, uint32_t end, const char *path,
                                   struct poly_error *err)
{
    uint32_t count = atomic_load_explicit(&c->published, memory_order_acquire);
    struct saving s = {.catalog = c, .end = end < count ? end : count, .err = err};
    uint32_t *counts = calloc(c->column_count + 1, sizeof(*counts));
    enum poly_status status;

    if (counts == NULL)
        return poly_no_memory(err);
    for (size_t i = 0; i < c->column_count; i++)
        counts[i] = published(&c->columns[i].values);
    status = poly_section_create(path, KIND, &s.writer, err);
    if (status == POLY_OK) {
        status = put_all(&s, counts);
        if (status == POLY_OK)
            status = poly_section_finish(s.writer, err);
        else
            poly_section_abandon(s.writer);
    }
    free(counts);
    return status;
}

/* --- reading --- */

struct bytes {
    const char *at;
    size_t left;
};

struct loading {
    const struct poly_catalog_file *file;
    struct poly_sections *sections;
    struct poly_catalog *catalog;
    struct shape shape;
    struct bytes columns; /* of the shape, behind its head */
    poly_alive_fn *alive;
    const void *arg;
    struct poly_error *err;
};

static enum poly_status corrupt(const struct loading *l, const char *why)
{
    return poly_fail(l->err, POLY_CORRUPT, "'%.300s' is damaged: %s", l->file->path, why);
}

/* Looks now and then. */
static enum poly_status go_on(const struct loading *l, uint32_t slot)
{
    return slot % LOOK != 0 || poly_loading_step(l->file->watch, 0)
               ? POLY_OK
               : poly_loading_stopped(l->file->path, l->err);
}

/* NULL: there are not so many. */
static const char *take(struct bytes *bytes, size_t size)
{
    const char *at = bytes->at;

    if (bytes->left < size)
        return NULL;
    bytes->at += size;
    bytes->left -= size;
    return at;
}

static bool take_into(struct bytes *bytes, void *to, size_t size)
{
    const char *at = take(bytes, size);

    if (at != NULL)
        memcpy(to, at, size);
    return at != NULL;
}

static enum poly_status section(const struct loading *l, enum section number, struct bytes *bytes)
{
    void *data;
    enum poly_status status = poly_sections_get(l->sections, number, &data, &bytes->left, l->err);

    if (status == POLY_OK)
        bytes->at = data;
    return status;
}

static enum poly_status read_shape(struct loading *l)
{
    const char *const *columns = l->file->columns;
    size_t count = l->file->column_count;
    struct bytes bytes;
    enum poly_status status = section(l, SHAPE, &bytes);

    if (status != POLY_OK)
        return status;
    if (!take_into(&bytes, &l->shape, sizeof(l->shape)) || l->shape.columns != count ||
        l->shape.slots == UINT32_MAX)
        return corrupt(l, "it is of other columns");
    l->columns = bytes;
    for (size_t i = 0; i < count; i++) {
        struct column_shape column;
        const char *name;

        if (!take_into(&bytes, &column, sizeof(column)) || column.values == 0)
            return corrupt(l, "a column is cut off");
        name = take(&bytes, column.name_size);
        if (name == NULL || strlen(columns[i]) != column.name_size ||
            memcmp(name, columns[i], column.name_size) != 0)
            return corrupt(l, "it is of other columns");
    }
    return bytes.left == 0 ? POLY_OK : corrupt(l, "its columns go on");
}

static bool take_value(struct bytes *bytes, struct poly_value *value)
{
    struct saved_value saved;
    struct poly_cell cell = {0};
    const char *data;

    if (!take_into(bytes, &saved, sizeof(saved)) || saved.type > POLY_UUID)
        return false;
    data = take(bytes, saved.size);
    if (data == NULL || saved.size > POLY_MAX_VALUE)
        return false;
    cell.type = saved.type;
    if (has_text(saved.type)) {
        cell.text = data;
        cell.size = saved.size;
    } else if (saved.size == sizeof(cell.integer)) {
        memcpy(&cell.integer, data, sizeof(cell.integer));
    } else {
        return false;
    }
    if (saved.type == POLY_UUID && saved.size != sizeof(value->uuid))
        return false;
    poly_cell_value(&cell, value);
    return true;
}

/* A dictionary that has been made, but for what it begins with. */
static enum poly_status read_dictionary(struct loading *l, struct bytes *bytes, uint32_t count,
                                        struct poly_dictionary *d)
{
    for (uint32_t i = 0; i < count; i++) {
        struct poly_value value;
        uint32_t number;
        enum poly_status status;

        if (!take_value(bytes, &value))
            return corrupt(l, "a value is none");
        status = poly_dictionary_add(d, &value, &l->catalog->pool, &number, l->err);
        if (status == POLY_OK)
            status = go_on(l, i);
        if (status != POLY_OK)
            return status;
        if (number != i)
            return corrupt(l, "a value stands there twice");
    }
    return POLY_OK;
}

static enum poly_status read_owners(struct loading *l)
{
    struct poly_catalog *c = l->catalog;
    struct bytes bytes;
    enum poly_status status = section(l, OWNERS, &bytes);

    if (status == POLY_OK)
        status = read_dictionary(l, &bytes, l->shape.owners, &c->owners);
    if (status == POLY_OK && bytes.left > 0)
        status = corrupt(l, "its owners go on");
    for (uint32_t i = 0; i < c->owners.count && status == POLY_OK; i++)
        if (i != POLY_NO_OWNER && poly_dictionary_at(&c->owners, i)->type != POLY_TEXT)
            status = corrupt(l, "an owner has no name");
    if (status == POLY_OK && !poly_array_reserve(&c->owner_slots, c->owners.count))
        status = poly_no_memory(l->err);
    return status;
}

static enum poly_status read_values(struct loading *l)
{
    struct bytes bytes, columns = l->columns;
    enum poly_status status = section(l, VALUES, &bytes);

    for (size_t i = 0; i < l->shape.columns && status == POLY_OK; i++) {
        struct column_shape column;

        if (!take_into(&columns, &column, sizeof(column)) || !take(&columns, column.name_size))
            return corrupt(l, "a column is cut off");
        status = read_dictionary(l, &bytes, column.values, &l->catalog->columns[i].values);
    }
    return status == POLY_OK && bytes.left > 0 ? corrupt(l, "its values go on") : status;
}

static enum poly_status read_codes(struct loading *l)
{
    struct poly_catalog *c = l->catalog;
    struct bytes bytes;
    enum poly_status status = section(l, CODES, &bytes);

    if (status != POLY_OK)
        return status;
    if (bytes.left != (uint64_t)l->shape.slots * l->shape.columns * sizeof(uint32_t))
        return corrupt(l, "its columns are of another length");
    for (size_t i = 0; i < c->column_count; i++)
        for (uint32_t slot = 0; slot < l->shape.slots; slot++) {
            uint32_t *code = poly_catalog_code(c, i, slot);

            if (!take_into(&bytes, code, sizeof(*code)) || *code >= c->columns[i].values.count)
                return corrupt(l, "a value has no such number");
            status = go_on(l, slot);
            if (status != POLY_OK)
                return status;
        }
    return POLY_OK;
}

/* A live slot has its key. */
static enum poly_status add_key(struct loading *l, uint32_t slot, uint32_t hash)
{
    struct poly_catalog *c = l->catalog;
    const struct poly_catalog_row *row = poly_catalog_row(c, slot);
    const struct poly_text key = {row->key, row->key_size};

    if (row->owner == POLY_NO_OWNER)
        return corrupt(l, "a slot of nobody is alive");
    if (poly_catalog_published(c, row->owner, key, hash) != POLY_NO_SLOT)
        return corrupt(l, "two slots have one key");
    poly_hashes_add(&c->keys, hash, slot);
    return POLY_OK;
}

/* The places of a few keys are asked for before they are looked at: each is somewhere else in
 * memory, and waiting for it was a third of all loading. */
static enum poly_status add_keys(struct loading *l)
{
    enum { AHEAD = 32 };
    struct poly_catalog *c = l->catalog;
    uint32_t hashes[AHEAD];
    enum poly_status status = POLY_OK;

    for (uint32_t from = 0, end; from < l->shape.slots && status == POLY_OK; from = end) {
        status = go_on(l, from);
        end = l->shape.slots - from < AHEAD ? l->shape.slots : from + AHEAD;
        for (uint32_t slot = from; slot < end; slot++) {
            const struct poly_catalog_row *row = poly_catalog_row(c, slot);
            const struct poly_text key = {row->key, row->key_size};

            hashes[slot - from] = poly_catalog_hash(row->owner, key);
            poly_hashes_fetch(&c->keys, hashes[slot - from]);
        }
        for (uint32_t slot = from; slot < end && status == POLY_OK; slot++)
            if (l->alive(l->arg, slot))
                status = add_key(l, slot, hashes[slot - from]);
    }
    return status;
}

static enum poly_status read_row(struct loading *l, uint32_t slot, struct bytes *rows,
                                 struct bytes *keys)
{
    struct poly_catalog *c = l->catalog;
    struct poly_catalog_row *row = poly_catalog_row(c, slot);
    struct saved_row saved;
    const char *key;

    if (!take_into(rows, &saved, sizeof(saved)) || saved.owner >= c->owners.count)
        return corrupt(l, "a slot has no such owner");
    key = take(keys, saved.key_size);
    if (key == NULL || saved.key_size > POLY_MAX_VALUE)
        return corrupt(l, "a key is cut off");
    row->key = poly_pool_add(&c->pool, key, saved.key_size);
    if (row->key == NULL)
        return poly_no_memory(l->err);
    row->key_size = saved.key_size;
    row->version = saved.version;
    row->position = saved.position;
    return poly_catalog_add_slot(c, slot, saved.owner, l->err);
}

static enum poly_status reserve_keys(struct loading *l)
{
    struct poly_hashes old = l->catalog->keys;

    if (!poly_hashes_grown(&old, l->shape.slots, &l->catalog->keys)) {
        l->catalog->keys = old;
        return poly_no_memory(l->err);
    }
    poly_hashes_release(&old);
    return POLY_OK;
}

static enum poly_status read_rows(struct loading *l)
{
    struct poly_catalog *c = l->catalog;
    struct bytes rows = {0}, keys = {0};
    enum poly_status status = section(l, ROWS, &rows);

    if (status == POLY_OK)
        status = section(l, KEYS, &keys);
    if (status == POLY_OK && rows.left != (uint64_t)l->shape.slots * sizeof(struct saved_row))
        status = corrupt(l, "it has another number of slots");
    if (status == POLY_OK && l->shape.slots > 0)
        status = poly_catalog_reserve(c, l->shape.slots - 1, l->err);
    if (status == POLY_OK)
        status = reserve_keys(l);
    for (uint32_t i = 0; i < l->shape.slots && status == POLY_OK; i++) {
        status = read_row(l, i, &rows, &keys);
        if (status == POLY_OK)
            status = go_on(l, i);
    }
    if (status == POLY_OK && keys.left > 0)
        status = corrupt(l, "its keys go on");
    return status == POLY_OK ? add_keys(l) : status;
}

static enum poly_status read_all(struct loading *l)
{
    enum poly_status status = read_shape(l);

    if (status == POLY_OK)
        status = poly_catalog_new(l->file->columns, l->file->column_count, &l->catalog, l->err);
    if (status == POLY_OK)
        status = read_owners(l);
    if (status == POLY_OK)
        status = read_values(l);
    if (status == POLY_OK)
        status = read_rows(l);
    return status == POLY_OK ? read_codes(l) : status;
}

enum poly_status poly_catalog_read(const struct poly_catalog_file *file, poly_alive_fn *alive,
                                   const void *arg, struct poly_catalog **catalog,
                                   struct poly_error *err)
{
    struct loading l = {.file = file, .alive = alive, .arg = arg, .err = err};
    enum poly_status status = poly_sections_open(file->path, KIND, file->watch, &l.sections, err);

    if (status != POLY_OK)
        return status;
    status = read_all(&l);
    poly_sections_close(l.sections);
    if (status != POLY_OK) {
        poly_catalog_free(l.catalog);
        return status;
    }
    poly_catalog_publish(l.catalog);
    *catalog = l.catalog;
    return POLY_OK;
}

enum poly_status poly_catalog_peek(const char *path, uint64_t *bytes, struct poly_error *err)
{
    return poly_sections_peek(path, KIND, 0, NULL, 0, bytes, err);
}

static bool alive_in_index(const void *arg, uint32_t slot)
{
    const struct poly_index *index = arg;
    uint32_t end = poly_index_end(index);

    return slot < end && poly_index_alive(index, slot, end);
}

enum poly_status poly_catalog_load(const struct poly_catalog_file *file,
                                   const struct poly_index *index, struct poly_catalog **catalog,
                                   struct poly_error *err)
{
    struct poly_catalog *c;
    enum poly_status status = poly_catalog_read(file, alive_in_index, index, &c, err);

    if (status != POLY_OK)
        return status;
    if (c->count > poly_index_end(index)) {
        poly_catalog_free(c);
        return poly_fail(err, POLY_CORRUPT, "'%.300s' is damaged: it has more slots than its index",
                         file->path);
    }
    *catalog = c;
    return POLY_OK;
}
