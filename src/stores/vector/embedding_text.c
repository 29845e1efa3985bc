/*
 * A record is as it should be when its text and its vector are those that were written together.
 * One hash over both says so: a text that was changed, a vector that somebody took away or
 * replaced, each makes another one.
 */
#include "stores/vector/embedding_text.h"

#include <sodium.h>
#include <string.h>

#include "base/json.h"
#include "core/vector.h"
#include "followers/document.h"
#include "followers/extract.h"

enum { NO_VECTOR, A_VECTOR, NO_SUCH_VECTOR };

struct digest {
    crypto_generichash_state state;
};

static void add(struct digest *digest, const void *bytes, size_t size)
{
    if (size > 0)
        crypto_generichash_update(&digest->state, bytes, size);
}

static void add_text(struct digest *digest, struct poly_text text)
{
    uint64_t size = text.size;

    add(digest, &size, sizeof(size));
    add(digest, text.data, text.size);
}

static void hash_all(struct poly_text text, unsigned char kind, const float *numbers, size_t count,
                     uint8_t *hash)
{
    struct digest digest;

    crypto_generichash_init(&digest.state, NULL, 0, POLY_EMBEDDING_HASH);
    add_text(&digest, text);
    add(&digest, &kind, 1);
    add(&digest, numbers, count * sizeof(*numbers));
    crypto_generichash_final(&digest.state, hash, POLY_EMBEDDING_HASH);
}

void poly_embedding_hash(struct poly_text text, const float *numbers, size_t count,
                         uint8_t hash[POLY_EMBEDDING_HASH])
{
    hash_all(text, A_VECTOR, numbers, count, hash);
}

void poly_embedding_shape(const struct poly_domain_vector *vector,
                          uint8_t shape[POLY_EMBEDDING_HASH])
{
    struct digest digest;

    crypto_generichash_init(&digest.state, NULL, 0, POLY_EMBEDDING_HASH);
    add_text(&digest, poly_text(vector->model));
    add_text(&digest, poly_text(vector->field));
    add(&digest, &vector->dimensions, sizeof(vector->dimensions));
    for (size_t i = 0; i < vector->text_count; i++)
        add_text(&digest, poly_text(vector->texts[i]));
    crypto_generichash_final(&digest.state, shape, POLY_EMBEDDING_HASH);
}

static bool is_blank(struct poly_text text)
{
    for (size_t i = 0; i < text.size; i++)
        if (strchr(" \t\r\n", text.data[i]) == NULL || text.data[i] == '\0')
            return false;
    return true;
}

/* Those of the columns that hold something, a line each. */
static bool join(const struct poly_text *texts, size_t count, struct poly_arena *arena,
                 struct poly_text *joined)
{
    size_t size = 0;
    char *out;

    for (size_t i = 0; i < count; i++)
        size += texts[i].size + 1;
    out = poly_arena_alloc(arena, size + 1);
    if (out == NULL)
        return false;
    *joined = (struct poly_text){out, 0};
    for (size_t i = 0; i < count; i++) {
        if (texts[i].data == NULL || is_blank(texts[i]))
            continue;
        if (joined->size > 0)
            out[joined->size++] = '\n';
        memcpy(out + joined->size, texts[i].data, texts[i].size);
        joined->size += texts[i].size;
    }
    return true;
}

static enum poly_status read_text(const struct poly_domain_vector *vector, struct poly_text json,
                                  struct poly_arena *arena, struct poly_text *text,
                                  struct poly_error *err)
{
    const struct poly_extract_names names = {.fields = vector->texts,
                                             .field_count = vector->text_count};
    struct poly_text *texts = poly_arena_array(arena, vector->text_count, sizeof(*texts));
    enum poly_status status;

    if (texts == NULL)
        return poly_no_memory(err);
    status = poly_extract(json, &names, arena, texts, NULL, err);
    if (status == POLY_OK && !join(texts, vector->text_count, arena, text))
        status = poly_no_memory(err);
    return status;
}

static enum poly_status read_vector(const struct poly_domain_vector *vector, struct poly_text json,
                                    struct poly_arena *arena, const float **numbers, bool *there,
                                    struct poly_error *err)
{
    struct poly_error ignored;
    struct poly_value value;
    enum poly_status status = poly_extract_one(json, vector->field, arena, &value, err);

    *numbers = NULL;
    if (status != POLY_OK)
        return status;
    *there = value.type != POLY_NULL;
    /* One that cannot be is as good as another's. */
    status = poly_vector_read(vector, &value, arena, numbers, &ignored);
    return status == POLY_NO_MEMORY ? poly_no_memory(err) : POLY_OK;
}

enum poly_status poly_embedding_image(const struct poly_domain_vector *vector, bool next,
                                      const struct poly_record *record, struct poly_arena *arena,
                                      struct poly_embedding_image *image, struct poly_error *err)
{
    struct poly_text json = record->data.text;
    const float *numbers = NULL;
    struct poly_error ignored;
    enum poly_status status;

    *image = (struct poly_embedding_image){.text = {"", 0}};
    if (poly_document_has_json(record) &&
        poly_json_check(json.data, json.size, &ignored) == POLY_OK) {
        status = read_text(vector, json, arena, &image->text, err);
        if (status == POLY_OK && !next)
            status = read_vector(vector, json, arena, &numbers, &image->vector, err);
        if (status != POLY_OK)
            return status;
    }
    hash_all(image->text, NO_VECTOR, NULL, 0, image->of_text);
    hash_all(image->text,
             numbers != NULL ? A_VECTOR
             : image->vector ? NO_SUCH_VECTOR
                             : NO_VECTOR,
             numbers, numbers == NULL ? 0 : vector->dimensions, image->hash);
    return POLY_OK;
}
