/*
 * From the queue to the records: one batch of texts to the embedder, and what comes back into the
 * records, each with its row of the queue in the same transaction, and only if the record still is
 * what was read. One that has changed meanwhile stays in the queue: its newer change is in the log.
 *
 * A text that cannot be embedded, or whose vector the table does not take, is written down with the
 * reason and holds up nothing. Where nobody can say which text is to blame (an answer of a wrong
 * shape, a key that is not accepted), all of them wait, the next request has one text alone, and
 * those that were part of a failure come after the others.
 */
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "core/operation.h"
#include "core/vector.h"
#include "followers/document.h"
#include "polystore/relational.h"
#include "stores/vector/embedding_inside.h"
#include "stores/vector/embedding_text.h"

/* What becomes of a row of the queue. */
enum outcome { OPEN, GONE, DELETED, READY, REFUSED };

struct item {
    struct poly_embedding_row row;
    struct poly_embedding_image image;
    uint64_t version; /* of the record that the text is of */
    enum outcome outcome;
    const float *numbers; /* READY; NULL: the record is to have none */
    const char *error;    /* REFUSED */
};

struct making {
    struct poly_embedding *self;
    struct item *items;
    size_t count;
    size_t done; /* of them: made, or refused */
    bool staged; /* the last transaction could be built: what failed was its commit */
    struct poly_error *err;
};

/* --- texts --- */

struct finding {
    const struct making *making;
    struct item *item;
    enum poly_status status;
};

static bool same_text(struct poly_text a, struct poly_text b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static bool take_record(void *arg, const struct poly_record *record)
{
    struct finding *finding = arg;
    struct poly_embedding *self = finding->making->self;
    struct item *item = finding->item;

    if (!same_text(record->tenant, item->row.tenant) ||
        !poly_document_concerns(self->domain->name, false, record))
        return true;
    if (poly_document_removes(record)) {
        if (record->position <= self->position)
            item->outcome = DELETED;
        return false;
    }
    finding->status = poly_embedding_image(self->vector, self->serving != NULL, record, self->arena,
                                           &item->image, finding->making->err);
    item->version = record->position;
    item->outcome = OPEN;
    return false;
}

/* Its last change. Not there: it was deleted, and that is still to be looked at. */
static enum poly_status read_item(const struct making *m, struct poly_db *db, struct item *item)
{
    const char *const domains[] = {m->self->domain->name, NULL};
    const struct poly_log_query query = {
        .backwards = true, .domains = domains, .key = item->row.key.data};
    struct finding finding = {m, item, POLY_OK};
    struct poly_scan scan = {.instance = m->self->all->instance,
                             .query = &query,
                             .tenant = item->row.tenant,
                             .upto = INT64_MAX,
                             .limit = 16,
                             .enough = 1,
                             .arena = m->self->scratch,
                             .visit = take_record,
                             .arg = &finding};
    enum poly_status status;

    item->outcome = GONE;
    poly_arena_reset(m->self->scratch);
    status = poly_log_scan(db, &scan, m->err);
    if (finding.status != POLY_OK)
        return finding.status;
    return status == POLY_NOT_FOUND && scan.failed > 0 ? POLY_OK : status;
}

static enum poly_status read_rows(struct making *m, struct poly_db *db)
{
    struct poly_embedding *self = m->self;
    struct poly_embedding_list list = {.kind = POLY_EMBEDDING_WAITS,
                                       .max = self->alone ? 1 : self->batch};
    enum poly_status status = poly_embedding_read(db, &self->name, self->arena, &list, m->err);

    if (status != POLY_OK)
        return status;
    m->count = list.count;
    m->items = poly_arena_array(self->arena, m->count + 1, sizeof(*m->items));
    if (m->items == NULL)
        return poly_no_memory(m->err);
    for (size_t i = 0; i < m->count && status == POLY_OK; i++) {
        m->items[i].row = list.rows[i];
        status = read_item(m, db, &m->items[i]);
        if (m->items[i].outcome == OPEN && m->items[i].image.text.size == 0)
            m->items[i].outcome = READY; /* without text, without vector */
    }
    return status;
}

static enum poly_status read_items(struct making *m)
{
    struct poly_owner *owner = poly_instance_owner(m->self->all->instance);
    struct poly_db *db = owner->driver->take(owner, m->err);
    enum poly_status status;

    if (db == NULL)
        return m->err->status;
    poly_arena_reset(m->self->arena);
    status = read_rows(m, db);
    owner->driver->give(owner, db);
    return status;
}

/* --- vectors --- */

static void refuse(struct making *m, struct item *item, const char *why)
{
    item->error = poly_arena_copy(m->self->arena, why, strnlen(why, POLY_EMBEDDING_ERROR - 1));
    item->outcome = item->error == NULL ? OPEN : REFUSED;
    atomic_fetch_add(&m->self->failures, 1);
}

static void take_vector(struct making *m, struct item *item, float *numbers)
{
    const struct poly_embedding *self = m->self;
    struct poly_error why = {.position = -1};

    for (uint32_t i = 0; i < self->vector->dimensions; i++)
        numbers[i] += 0.0F; /* not every column keeps the sign of a zero */
    item->numbers = numbers;
    item->outcome = READY;
    /* an embedder's field is no other vector's */
    if (poly_vector_check(self->vector, numbers, self->vector->dimensions, &why) != POLY_OK)
        refuse(m, item, why.message);
}

static enum poly_status ask(struct making *m)
{
    const struct poly_embedder_patience once = {-1, 1};
    struct poly_embedding *self = m->self;
    struct poly_text *texts = poly_arena_array(self->arena, m->count + 1, sizeof(*texts));
    struct item **asked = poly_arena_array(self->arena, m->count + 1, sizeof(struct item *));
    size_t count = 0, done = 0;
    enum poly_status status;

    if (texts == NULL || asked == NULL)
        return poly_no_memory(m->err);
    for (size_t i = 0; i < m->count; i++)
        if (m->items[i].outcome == OPEN) {
            texts[count] = m->items[i].image.text;
            asked[count++] = &m->items[i];
        }
    if (count == 0)
        return POLY_OK;
    status = poly_embedder_try(self->embedder, &once, texts, count, self->vectors, &done, m->err);
    for (size_t i = 0; i < done; i++)
        take_vector(m, asked[i], self->vectors + i * self->vector->dimensions);
    if (status == POLY_INVALID) {
        refuse(m, asked[done], m->err->message);
        return POLY_OK;
    }
    if (status != POLY_OK)
        atomic_fetch_add(&self->failures, 1);
    return status;
}

/* --- into the records --- */

/* After the patch, in its transaction: the row says what the vector was made of. */
struct sealing {
    struct poly_operation base;
    struct poly_embedding *self;
    const struct item *item;
    const struct poly_operation *patch;
};

/* patched NULL: the vector lies beside the record. What the column made of it is read again, when
 * the log has it; where the log has nothing new, it was read already. */
static enum poly_status put_made(const struct poly_embedding *self, const struct item *item,
                                 struct poly_db *db, const struct poly_result *patched,
                                 struct poly_error *err)
{
    struct poly_embedding_row row = item->row;

    row.kind = POLY_EMBEDDING_MADE;
    row.position = patched == NULL ? item->version : patched->version;
    row.attempts = row.since = 0;
    if (item->numbers == NULL)
        return poly_embedding_remove(self, db, &row, err);
    if (patched != NULL && patched->count == 0)
        memcpy(row.hash, item->image.hash, sizeof(row.hash));
    else
        poly_embedding_hash(item->image.text, item->numbers, self->vector->dimensions, row.hash);
    memcpy(row.text, item->image.of_text, sizeof(row.text));
    return poly_embedding_put(db, &self->name, &row, err);
}

static enum poly_status seal(struct poly_operation *operation, struct poly_write *write,
                             struct poly_error *err)
{
    const struct sealing *sealing = (const struct sealing *)operation;

    return put_made(sealing->self, sealing->item, write->db, &sealing->patch->result, err);
}

/* After all of them, for the records come before the queue also where a model is swapped. */
static enum poly_status hold(struct poly_operation *operation, struct poly_write *write,
                             struct poly_error *err)
{
    const struct sealing *sealing = (const struct sealing *)operation;
    const struct poly_embedding *self = sealing->self;

    return poly_embedding_hold(write->db, &self->name, self->shape, err);
}

static const struct poly_operation_type seal_type = {.name = "embedding", .run = seal};
static const struct poly_operation_type hold_type = {.name = "embedding", .run = hold};

static enum poly_status add_operation(struct making *m, struct poly_txn *txn,
                                      const struct poly_operation_type *type,
                                      const struct item *item)
{
    struct sealing *sealing = poly_arena_alloc(poly_txn_arena(txn), sizeof(*sealing));

    if (sealing == NULL)
        return poly_no_memory(m->err);
    *sealing = (struct sealing){
        .base.type = type, .self = m->self, .item = item, .patch = poly_txn_last(txn)};
    return poly_txn_add(txn, &sealing->base, m->err);
}

static enum poly_status stage(struct making *m, struct poly_txn *txn, const struct item *item)
{
    const struct poly_embedding *self = m->self;
    size_t count = item->numbers == NULL ? 0 : self->vector->dimensions;
    uint32_t *bytes = poly_arena_array(poly_txn_arena(txn), count + 1, sizeof(*bytes));
    struct poly_field field = {self->vector->field, poly_null()};
    const struct poly_row row = {&field, 1};
    enum poly_status status;

    if (bytes == NULL)
        return poly_no_memory(m->err);
    for (size_t i = 0; i < count; i++) {
        memcpy(&bytes[i], &item->numbers[i], sizeof(*bytes));
        bytes[i] = htole32(bytes[i]);
    }
    if (count > 0)
        field.value = poly_bytes(bytes, count * sizeof(*bytes));
    status = poly_patch(txn, self->domain->name, item->row.key.data, &row, (int64_t)item->version,
                        m->err);
    return status == POLY_OK ? add_operation(m, txn, &seal_type, item) : status;
}

/* Of a vector to come: beside the records, which do not change. */
struct keeping {
    struct poly_embedding *self;
    struct item *const *items;
    size_t count;
    const size_t *which; /* of them have a vector */
};

static enum poly_status was_kept(void *arg, struct poly_db *db, size_t which,
                                 struct poly_error *err)
{
    const struct keeping *k = arg;

    return put_made(k->self, k->items[k->which[which]], db, NULL, err);
}

/* And those that are to have none. */
static enum poly_status keep_end(void *arg, struct poly_db *db, struct poly_error *err)
{
    const struct keeping *k = arg;
    enum poly_status status = poly_embedding_hold(db, &k->self->name, k->self->shape, err);

    for (size_t i = 0; i < k->count && status == POLY_OK; i++)
        if (k->items[i]->numbers == NULL)
            status = put_made(k->self, k->items[i], db, NULL, err);
    return status;
}

static enum poly_status keep_beside(struct making *m, struct item *const *items, size_t count)
{
    struct poly_embedding *self = m->self;
    struct poly_arena_mark mark = poly_arena_mark(self->arena);
    struct poly_filling_vector *list = poly_arena_array(self->arena, count + 1, sizeof(*list));
    size_t *which = poly_arena_array(self->arena, count + 1, sizeof(*which));
    struct keeping k = {self, items, count, which};
    struct poly_filling_batch batch = {.domain = self->domain,
                                       .vector = self->vector,
                                       .list = list,
                                       .kept = was_kept,
                                       .done = keep_end,
                                       .arg = &k};
    enum poly_status status;

    if (list == NULL || which == NULL)
        return poly_no_memory(m->err);
    for (size_t i = 0; i < count; i++) {
        if (items[i]->numbers == NULL)
            continue;
        list[batch.count] = (struct poly_filling_vector){.tenant = items[i]->row.tenant,
                                                         .key = items[i]->row.key,
                                                         .version = items[i]->version,
                                                         .numbers = items[i]->numbers};
        which[batch.count++] = i;
    }
    status = poly_filling_keep(self->all->instance, self->arena, &batch, m->err);
    m->staged = batch.fits;
    poly_arena_rewind(self->arena, mark);
    return status;
}

static enum poly_status commit(struct making *m, struct poly_session *session,
                               struct item *const *items, size_t count)
{
    const struct poly_txn_options options = {.model = m->self->vector->model};
    struct poly_txn *txn;
    enum poly_status status;

    if (m->self->serving != NULL)
        return keep_beside(m, items, count);
    status = poly_txn_begin(session, &options, &txn, m->err);
    for (size_t i = 0; i < count && status == POLY_OK; i++)
        status = stage(m, txn, items[i]);
    if (status == POLY_OK)
        status = add_operation(m, txn, &hold_type, NULL);
    m->staged = status == POLY_OK;
    if (status == POLY_OK)
        status = poly_txn_commit(txn, NULL, m->err);
    poly_session_reset(session);
    return status;
}

/* Not that of a record: the table is not as it should be, the disk is full. */
static bool is_everybodys(const struct making *m, enum poly_status status)
{
    return !m->staged || poly_log_temporary(status) || status == POLY_LIMIT ||
           status == POLY_INTERNAL || status == POLY_CORRUPT;
}

/* Together; where that fails, one by one, to find out whose fault it is. */
static enum poly_status write_all(struct making *m, struct poly_session *session,
                                  struct item **items, size_t count)
{
    enum poly_status status = commit(m, session, items, count);

    if (status == POLY_OK) {
        m->done += count;
        atomic_fetch_add(&m->self->made, count);
        return POLY_OK;
    }
    if (is_everybodys(m, status))
        return status;
    if (count == 1 && status != POLY_CONFLICT && status != POLY_NOT_FOUND)
        refuse(m, items[0], m->err->message);
    else if (count == 1)
        items[0]->outcome = GONE; /* it is another one by now */
    status = POLY_OK;
    for (size_t i = 0; i < count && count > 1 && status == POLY_OK; i++)
        status = write_all(m, session, &items[i], 1);
    return status;
}

static int by_tenant(const void *left, const void *right)
{
    const struct item *const *a = left, *const *b = right;

    return strcmp((*a)->row.tenant.data, (*b)->row.tenant.data);
}

static enum poly_status write_tenant(struct making *m, struct item **items, size_t count)
{
    const char *tenant = items[0]->row.tenant.data;
    const struct poly_session_options options = {.tenant = *tenant == '\0' ? NULL : tenant,
                                                 .rights = POLY_RIGHT_READ | POLY_RIGHT_WRITE,
                                                 .principal = "embedder"};
    struct poly_session *session;
    enum poly_status status = poly_session_open(m->self->all->instance, &options, &session, m->err);

    if (status != POLY_OK)
        return status;
    status = write_all(m, session, items, count);
    poly_session_close(session);
    return status;
}

static enum poly_status write_ready(struct making *m)
{
    struct item **ready = poly_arena_array(m->self->arena, m->count + 1, sizeof(struct item *));
    enum poly_status status = POLY_OK;
    size_t count = 0, next;

    if (ready == NULL)
        return poly_no_memory(m->err);
    for (size_t i = 0; i < m->count; i++)
        if (m->items[i].outcome == READY)
            ready[count++] = &m->items[i];
    if (count > 1)
        qsort(ready, count, sizeof(struct item *), by_tenant);
    for (size_t i = 0; i < count && status == POLY_OK; i = next) {
        for (next = i + 1; next < count && by_tenant(&ready[i], &ready[next]) == 0;)
            next++;
        status = write_tenant(m, ready + i, next - i);
    }
    return status;
}

/* --- what did not come to a vector --- */

/* One to come is missing then for everybody to see, also when there was one of another text. */
static enum poly_status put_refused(const struct poly_embedding *self, const struct item *item,
                                    struct poly_db *db, struct poly_error *err)
{
    struct poly_embedding_row row = item->row;
    enum poly_status status = POLY_OK;

    row.kind = POLY_EMBEDDING_REFUSED;
    row.position = item->version;
    row.attempts++;
    row.since = poly_clock_wall();
    row.error = poly_text(item->error);
    memcpy(row.hash, item->image.hash, sizeof(row.hash));
    memcpy(row.text, item->image.of_text, sizeof(row.text));
    if (self->serving != NULL)
        status = poly_embedding_remove(self, db, &row, err);
    return status == POLY_OK ? poly_embedding_put(db, &self->name, &row, err) : status;
}

static enum poly_status keep_others(struct poly_db *db, void *arg, struct poly_error *err)
{
    const struct making *m = arg;
    const struct poly_embedding *self = m->self;
    enum poly_status status = poly_embedding_hold(db, &self->name, self->shape, err);

    for (size_t i = 0; i < m->count && status == POLY_OK; i++) {
        const struct item *item = &m->items[i];
        struct poly_embedding_row row = item->row;

        if (item->outcome == REFUSED) {
            status = put_refused(self, item, db, err);
        } else if (item->outcome == DELETED) {
            row.position = self->position;
            status = poly_embedding_remove(self, db, &row, err);
        } else if (item->outcome != READY) {
            status = poly_embedding_tried(db, &m->self->name, &row, err);
        }
    }
    return status;
}

static enum poly_status write_others(struct making *m, bool tried)
{
    size_t refused = 0, others = 0;
    enum poly_status status = POLY_OK;

    for (size_t i = 0; i < m->count; i++) {
        refused += m->items[i].outcome == REFUSED;
        others += m->items[i].outcome == GONE || m->items[i].outcome == DELETED ||
                  (tried && m->items[i].outcome == OPEN);
    }
    if (refused + others > 0)
        status = poly_embedding_write(m->self, keep_others, m, m->err);
    if (status == POLY_OK)
        m->done += refused;
    return status;
}

static enum poly_status write_back(struct making *m, bool tried)
{
    enum poly_status status = write_ready(m);
    enum poly_status other = write_others(m, tried);

    return status == POLY_OK ? other : status;
}

enum poly_status poly_embedding_make(struct poly_embedding *self, bool *worked,
                                     struct poly_error *err)
{
    struct making m = {.self = self, .err = err};
    struct poly_error why = {.position = -1};
    enum poly_status status = read_items(&m), asked;

    if (status != POLY_OK || m.count == 0)
        return status;
    m.err = &why;
    asked = ask(&m);
    m.err = err;
    status = write_back(&m, asked != POLY_OK && !poly_embedder_passes(asked));
    *worked = status == POLY_OK && m.done > 0;
    if (status == POLY_OK && asked != POLY_OK) {
        *err = why;
        status = asked;
    }
    return status;
}
