/* Texts that embedders refuse: which they are, page by page, and trying them again. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "core/session.h"
#include "polystore/vector.h"
#include "stores/vector/embedding_inside.h"

enum { REFUSED_DEFAULT = 100, CURSOR_MAX = POLY_MAX_NAME + 1 + POLY_MAX_KEY };

static enum poly_status find_named(struct poly_session *session, const char *domain,
                                   const char *name, struct poly_embedding **self,
                                   struct poly_error *err)
{
    struct poly_embeddings *all = poly_instance_embeddings(poly_session_instance(session));
    enum poly_status status =
        poly_session_require(session, POLY_RIGHT_ADMIN, "operating an embedder", err);

    if (status != POLY_OK)
        return status;
    for (size_t i = 0; all != NULL && i < all->count; i++)
        if (strcmp(all->list[i].domain->name, domain) == 0 &&
            (name == NULL || strcmp(all->list[i].declared->name, name) == 0)) {
            *self = &all->list[i];
            return POLY_OK;
        }
    return poly_fail(err, POLY_NOT_FOUND,
                     "domain '%.128s' has no vector%s%.60s%s that an embedder "
                     "makes",
                     domain, name == NULL ? "" : " '", name == NULL ? "" : name,
                     name == NULL ? "" : "'");
}

/* --- pages --- */

static enum poly_status bad_cursor(struct poly_error *err)
{
    return poly_fail(err, POLY_INVALID,
                     "the cursor is not one of this list; take it from the page before");
}

/* A cursor is the last record of its page: tenant, 0, key. */
static enum poly_status read_cursor(const char *cursor, struct poly_arena *arena,
                                    struct poly_embedding_list *list, struct poly_error *err)
{
    char *bytes = poly_arena_alloc(arena, CURSOR_MAX + 1);
    size_t size, tenant;

    if (bytes == NULL)
        return poly_no_memory(err);
    if (sodium_base642bin((unsigned char *)bytes, CURSOR_MAX, cursor, strlen(cursor), NULL, &size,
                          NULL, sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0)
        return bad_cursor(err);
    bytes[size] = '\0';
    tenant = strlen(bytes);
    if (tenant >= size || strlen(bytes + tenant + 1) != size - tenant - 1)
        return bad_cursor(err);
    list->after_tenant = (struct poly_text){bytes, tenant};
    list->after_key = (struct poly_text){bytes + tenant + 1, size - tenant - 1};
    return POLY_OK;
}

static const char *print_cursor(const struct poly_embedding_row *row, struct poly_arena *arena)
{
    size_t size = row->tenant.size + 1 + row->key.size;
    size_t room = sodium_base64_ENCODED_LEN(size, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    char *bytes = poly_arena_alloc(arena, size), *text = poly_arena_alloc(arena, room);

    if (bytes == NULL || text == NULL)
        return NULL;
    memcpy(bytes, row->tenant.data, row->tenant.size);
    bytes[row->tenant.size] = '\0';
    memcpy(bytes + row->tenant.size + 1, row->key.data, row->key.size);
    return sodium_bin2base64(text, room, (const unsigned char *)bytes, size,
                             sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

static enum poly_status make_page(const struct poly_embedding_list *list, uint32_t limit,
                                  struct poly_arena *arena, struct poly_refused_page *page,
                                  struct poly_error *err)
{
    size_t count = list->count > limit ? limit : list->count;
    struct poly_vector_refusal *made = poly_arena_array(arena, count + 1, sizeof(*made));
    const char *cursor = list->count > limit ? print_cursor(&list->rows[count - 1], arena) : NULL;

    if (made == NULL || (list->count > limit && cursor == NULL))
        return poly_no_memory(err);
    for (size_t i = 0; i < count; i++)
        made[i] = (struct poly_vector_refusal){.tenant = list->rows[i].tenant,
                                               .key = list->rows[i].key,
                                               .version = list->rows[i].position,
                                               .time = list->rows[i].since,
                                               .error = list->rows[i].error};
    *page = (struct poly_refused_page){made, count, cursor};
    return POLY_OK;
}

enum poly_status poly_vector_refused(struct poly_session *session,
                                     const struct poly_refused_query *query,
                                     struct poly_refused_page *page, struct poly_error *err)
{
    struct poly_arena *arena = poly_session_arena(session);
    uint32_t limit = query->limit == 0 ? REFUSED_DEFAULT : query->limit;
    struct poly_embedding_list found = {.kind = POLY_EMBEDDING_REFUSED, .max = (size_t)limit + 1};
    struct poly_embedding *self;
    struct poly_error local;
    struct poly_db *db;
    enum poly_status status;

    err = err == NULL ? &local : err;
    status = find_named(session, query->domain, query->name, &self, err);
    if (status == POLY_OK && limit > POLY_MAX_FAILURES)
        status = poly_fail(err, POLY_INVALID, "a page has %d refused texts at most, not %u",
                           POLY_MAX_FAILURES, limit);
    if (status == POLY_OK && query->cursor != NULL)
        status = read_cursor(query->cursor, arena, &found, err);
    if (status == POLY_OK)
        status = poly_session_read_log(session, &db, err);
    if (status != POLY_OK)
        return status;
    self = query->next ? self->next : self;
    status = poly_embedding_page(db, &self->name, arena, &found, err);
    poly_session_read_end(session);
    return status == POLY_OK ? make_page(&found, limit, arena, page, err) : status;
}

/* --- again --- */

struct again {
    struct poly_embedding *self;
    int64_t count;
};

static enum poly_status put_again(struct poly_db *db, void *arg, struct poly_error *err)
{
    struct again *again = arg;

    int64_t next = 0;
    enum poly_status status = poly_embedding_again(db, &again->self->name, &again->count, err);

    if (status == POLY_OK)
        status = poly_embedding_again(db, &again->self->next->name, &next, err);
    again->count += next;
    return status;
}

enum poly_status poly_vector_retry(struct poly_session *session, const char *domain,
                                   const char *name, uint64_t *count, struct poly_error *err)
{
    struct again again = {NULL, 0};
    struct poly_error local;
    enum poly_status status;

    err = err == NULL ? &local : err;
    status = find_named(session, domain, name, &again.self, err);
    if (status == POLY_OK)
        status = poly_embedding_write(again.self, put_again, &again, err);
    if (status != POLY_OK)
        return status;
    *count = (uint64_t)again.count;
    atomic_store(&again.self->nudged, true);
    atomic_store(&again.self->next->nudged, true);
    poly_signal_poke(poly_instance_head(poly_session_instance(session)));
    return POLY_OK;
}
