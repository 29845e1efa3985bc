/*
 * From the log to the queue. What a record asks for depends on nothing but its text, its vector
 * and what was written down when its vector was made; so it does not matter how often, or how late,
 * it is looked at. A record older than what is known is left alone.
 *
 * The log is the source also of records that were there before: the last change of each stays in
 * it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "core/model.h"
#include "followers/document.h"
#include "stores/vector/embedding_inside.h"
#include "stores/vector/embedding_text.h"

enum {
    PAGE = 256,   /* records in a transaction */
    STRIDE = 1000 /* positions of no interest that need not be written down */
};

enum change { LEAVE, KEEP, DROP };

/* A record, and what becomes of its row. */
struct seen {
    struct poly_embedding_row row;
    bool removed, text, vector;
    bool beside;  /* its vector is not this one's: that lies beside it, or did before the swap */
    bool swapped; /* the swap has put there what lay beside it */
    enum change change;
};

struct page {
    struct poly_embedding *self;
    struct seen list[PAGE];
    size_t count;
    bool changes;
    uint64_t last;
    enum poly_status status;
    struct poly_error *err;
};

/* --- reading --- */

static bool copy_text(struct poly_arena *arena, struct poly_text from, struct poly_text *to)
{
    to->size = from.size;
    to->data = poly_arena_copy(arena, from.size == 0 ? "" : from.data, from.size);
    return to->data != NULL;
}

/* While it ran nobody else wrote to the table. */
static bool is_of_swap(const struct poly_embedding *self, uint64_t position)
{
    return self->serving == NULL && position >= self->vector->since &&
           position <= self->vector->upto;
}

static bool look(void *arg, const struct poly_record *record)
{
    struct page *page = arg;
    struct poly_embedding *self = page->self;
    struct seen *seen = &page->list[page->count];
    struct poly_embedding_image image = {.text = {"", 0}};
    struct poly_arena_mark mark = poly_arena_mark(self->arena);

    if (!poly_document_concerns(self->domain->name, false, record))
        return true;
    *seen = (struct seen){.removed = poly_document_removes(record),
                          .beside = self->serving != NULL || record->position < self->vector->since,
                          .swapped = is_of_swap(self, record->position)};
    if (!seen->removed)
        page->status = poly_embedding_image(self->vector, seen->beside, record, self->arena, &image,
                                            page->err);
    poly_arena_rewind(self->arena, mark); /* of the text its size is enough */
    if (page->status == POLY_OK && (!copy_text(self->arena, record->tenant, &seen->row.tenant) ||
                                    !copy_text(self->arena, record->key, &seen->row.key)))
        page->status = poly_no_memory(page->err);
    if (page->status != POLY_OK)
        return false;
    seen->text = image.text.size > 0;
    seen->vector = image.vector;
    seen->row.kind = POLY_EMBEDDING_WAITS;
    seen->row.position = record->position;
    seen->row.since = record->time;
    memcpy(seen->row.hash, image.hash, sizeof(image.hash));
    memcpy(seen->row.text, image.of_text, sizeof(image.of_text));
    page->count++;
    return page->count < PAGE;
}

static enum poly_status scan(struct page *page, struct poly_db *db, uint64_t head)
{
    struct poly_embedding *self = page->self;
    const char *const domains[] = {self->domain->name, NULL};
    const struct poly_log_query query = {.after = self->position, .domains = domains};
    struct poly_scan scan = {.instance = self->all->instance,
                             .query = &query,
                             .all_tenants = true,
                             .upto = head,
                             .limit = PAGE,
                             .arena = self->scratch,
                             .visit = look,
                             .arg = page,
                             .last = self->position};
    enum poly_status status = poly_log_scan(db, &scan, page->err);

    if (page->status != POLY_OK)
        return page->status;
    page->last = scan.more || scan.stopped ? scan.last : head;
    /* Its data is not kept any more, for there is a later change of it. */
    if (status == POLY_NOT_FOUND && scan.failed > 0) {
        page->last = scan.failed;
        return POLY_OK;
    }
    return status;
}

/* --- deciding --- */

static bool is_same_text(const struct seen *seen, const struct poly_embedding_row *known)
{
    return memcmp(known->text, seen->row.text, sizeof(known->text)) == 0;
}

/* As it should be; or it would be refused again. Where the vector is not in the record, the text
 * says so alone. */
static bool is_same(const struct seen *seen, const struct poly_embedding_row *known)
{
    return seen->beside ? is_same_text(seen, known)
                        : memcmp(known->hash, seen->row.hash, sizeof(known->hash)) == 0;
}

/* The vector of that text is there by our own write, or by the swap. */
static bool is_ours(const struct seen *seen, const struct poly_embedding_row *known)
{
    return (known->position == seen->row.position && !seen->beside) ||
           (seen->swapped && seen->vector && is_same_text(seen, known));
}

static enum change decide(struct seen *seen, const struct poly_embedding_row *known)
{
    if (known != NULL && known->position > seen->row.position)
        return LEAVE;
    if (seen->removed || (!seen->text && !seen->vector))
        return known == NULL ? LEAVE : DROP;
    if (known == NULL || known->kind == POLY_EMBEDDING_WAITS)
        return KEEP;
    if (is_same(seen, known))
        return LEAVE;
    if (is_ours(seen, known)) /* what the column made of the vector is right */
        seen->row.kind = known->kind;
    return KEEP;
}

static bool same(struct poly_text a, struct poly_text b)
{
    return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

/* Is there a later change of the same record in the page? Then that alone counts: what is decided
 * of both would be decided by what was known before either. */
static bool is_changed_again(const struct page *page, size_t at)
{
    const struct poly_embedding_row *row = &page->list[at].row;

    for (size_t i = at + 1; i < page->count; i++)
        if (same(page->list[i].row.key, row->key) && same(page->list[i].row.tenant, row->tenant))
            return true;
    return false;
}

static enum poly_status decide_all(struct page *page, struct poly_db *db)
{
    enum poly_status status = POLY_OK;

    for (size_t i = 0; i < page->count && status == POLY_OK; i++) {
        struct seen *seen = &page->list[i];
        struct poly_embedding_row known = seen->row;
        bool is_known;

        if (is_changed_again(page, i))
            continue; /* it is left */

        status = poly_embedding_get(db, &page->self->name, &known, &is_known, page->err);
        if (status != POLY_OK)
            break;
        seen->change = decide(seen, is_known ? &known : NULL);
        page->changes = page->changes || seen->change != LEAVE;
    }
    return status;
}

/* --- writing --- */

static enum poly_status keep(struct poly_db *db, void *arg, struct poly_error *err)
{
    struct page *page = arg;
    const struct poly_embedding *self = page->self;
    const struct poly_embedding_name *name = &self->name;
    enum poly_status status = poly_embedding_hold(db, name, self->shape, err);

    for (size_t i = 0; i < page->count && status == POLY_OK; i++) {
        const struct seen *seen = &page->list[i];

        if (seen->change == KEEP)
            status = poly_embedding_put(db, name, &seen->row, err);
        else if (seen->change == DROP)
            status = poly_embedding_remove(self, db, &seen->row, err);
    }
    return status == POLY_OK ? poly_embedding_move(db, name, page->last, err) : status;
}

enum poly_status poly_embedding_remove(const struct poly_embedding *self, struct poly_db *db,
                                       const struct poly_embedding_row *row, struct poly_error *err)
{
    const struct poly_filling_vector kept = {
        .tenant = row->tenant, .key = row->key, .version = row->position};
    enum poly_status status = poly_embedding_drop(db, &self->name, row, err);

    return status == POLY_OK && self->serving != NULL
               ? poly_filling_remove(db, self->domain->name, self->column, &kept, err)
               : status;
}

static enum poly_status save(struct poly_db *db, void *arg, struct poly_error *err)
{
    const struct poly_embedding *self = arg;
    enum poly_status status = poly_embedding_hold(db, &self->name, self->shape, err);

    return status == POLY_OK ? poly_embedding_move(db, &self->name, self->position, err) : status;
}

enum poly_status poly_embedding_save(struct poly_embedding *self, struct poly_error *err)
{
    enum poly_status status;

    if (self->position == atomic_load(&self->saved))
        return POLY_OK;
    status = poly_embedding_write(self, save, self, err);
    if (status == POLY_OK)
        atomic_store(&self->saved, self->position);
    return status;
}

static enum poly_status read_page(struct page *page, uint64_t head)
{
    struct poly_owner *owner = poly_instance_owner(page->self->all->instance);
    struct poly_db *db = owner->driver->take(owner, page->err);
    enum poly_status status;

    if (db == NULL)
        return page->err->status;
    status = scan(page, db, head);
    if (status == POLY_OK)
        status = decide_all(page, db);
    owner->driver->give(owner, db);
    return status;
}

static enum poly_status follow_page(struct page *page, uint64_t head)
{
    struct poly_embedding *self = page->self;
    enum poly_status status;

    poly_arena_reset(self->arena);
    poly_arena_reset(self->scratch);
    page->count = 0;
    page->changes = false;
    page->status = POLY_OK;
    status = read_page(page, head);
    if (status == POLY_OK && page->changes)
        status = poly_embedding_write(self, keep, page, page->err);
    if (status != POLY_OK)
        return status;
    self->position = page->last;
    if (page->changes)
        atomic_store(&self->saved, page->last);
    atomic_store(&self->looked, page->last);
    return self->position - atomic_load(&self->saved) > STRIDE
               ? poly_embedding_save(self, page->err)
               : POLY_OK;
}

enum poly_status poly_embedding_follow(struct poly_embedding *self, struct poly_error *err)
{
    struct poly_signal *signal = poly_instance_head(self->all->instance);
    struct page *page;
    uint64_t head = atomic_load(&signal->value);
    enum poly_status status = POLY_OK;

    if (self->position >= head)
        return POLY_OK;
    page = malloc(sizeof(*page));
    if (page == NULL)
        return poly_no_memory(err);
    page->self = self;
    page->err = err;
    while (status == POLY_OK && self->position < head && !atomic_load(&self->all->closing))
        status = follow_page(page, head);
    free(page);
    return status;
}

/* --- beginning --- */

/* Is this vector still to come? */
static enum poly_status is_wanted(const struct poly_embedding *self, struct poly_db *db,
                                  bool *wanted, struct poly_error *err)
{
    struct poly_filling filling;
    enum poly_status status = poly_filling_get(db, self->domain->name, self->declared->name,
                                               self->arena, &filling, wanted, err);

    if (status == POLY_OK && *wanted)
        *wanted = filling.runs && strcmp(filling.model, self->vector->model) == 0 &&
                  filling.dimensions == self->vector->dimensions;
    return status;
}

static enum poly_status begin(struct poly_db *db, void *arg, struct poly_error *err)
{
    const struct poly_embedding *self = arg;
    bool held = false;
    enum poly_status status =
        poly_filling_hold(db, self->domain->name, poly_vector_now(self->declared), &held, err);

    if (status == POLY_OK && held && self->serving != NULL)
        status = is_wanted(self, db, &held, err);
    if (status == POLY_OK && !held)
        return poly_fail(err, POLY_CONFLICT, "domain '%s': its model was changed meanwhile",
                         self->domain->name);
    return status == POLY_OK ? poly_embedding_begin(db, &self->name, self->shape, self->vector, err)
                             : status;
}

enum poly_status poly_embedding_resume(struct poly_embedding *self, struct poly_error *err)
{
    struct poly_owner *owner = poly_instance_owner(self->all->instance);
    struct poly_db *db = owner->driver->take(owner, err);
    struct poly_embedding_state state = {.position = 0, .error = {"", 0}};
    enum poly_status status;
    bool known;

    if (db == NULL)
        return err->status;
    poly_arena_reset(self->arena);
    status = poly_embedding_state_get(db, &self->name, self->arena, &state, &known, err);
    owner->driver->give(owner, db);
    if (status == POLY_OK &&
        (!known || memcmp(state.shape, self->shape, sizeof(state.shape)) != 0)) {
        status = poly_embedding_write(self, begin, self, err);
        state = (struct poly_embedding_state){.error = {"", 0}};
    }
    if (status != POLY_OK)
        return status;
    self->position = state.position;
    atomic_store(&self->saved, state.position);
    atomic_store(&self->looked, state.position);
    snprintf(self->error, sizeof(self->error), "%s", state.error.data);
    self->begun = true;
    return POLY_OK;
}
