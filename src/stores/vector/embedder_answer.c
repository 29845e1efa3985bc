/*
 * The text is checked once, as JSON, and then walked: a vector's numbers go from the text straight
 * to where the caller wants them. An index that was there already is known without a list of them:
 * every vector's first number is NaN until it was read, and what is read is never NaN.
 */
#include "stores/vector/embedder_answer.h"

#include <endian.h>
#include <math.h>
#include <sodium.h>
#include <string.h>

#include "base/json.h"
#include "base/json_floats.h"
#include "base/json_walk.h"
#include "base/utf8.h"

enum { SECRET_PIECE = 6 }; /* bytes of a secret in a row that are too many to show */

/* One of "data". */
struct item {
    size_t place; /* in the list, for messages */
    struct poly_text index, embedding;
    bool doubled;
};

static bool is(struct poly_text name, bool escaped, const char *text)
{
    return !escaped && name.size == strlen(text) && memcmp(name.data, text, name.size) == 0;
}

static struct poly_json_cursor inside(struct poly_text value)
{
    return (struct poly_json_cursor){value.data + 1, value.data + value.size};
}

/* To the next member or item: false: there is none. */
static bool next(struct poly_json_cursor *c)
{
    poly_json_skip_space(c);
    if (poly_json_look(c) == ',') {
        c->at++;
        poly_json_skip_space(c);
    }
    return poly_json_look(c) != '\0' && poly_json_look(c) != '}' && poly_json_look(c) != ']';
}

static void take_once(struct item *item, struct poly_text *place, struct poly_text value)
{
    item->doubled = item->doubled || place->data != NULL;
    *place = value;
}

static struct item read_item(struct poly_text object, size_t place)
{
    struct item item = {.place = place};
    struct poly_json_cursor c = inside(object);
    struct poly_text name, value;
    bool escaped;

    while (next(&c) && poly_json_take_member(&c, &name, &escaped, &value)) {
        if (is(name, escaped, "index"))
            take_once(&item, &item.index, value);
        else if (is(name, escaped, "embedding"))
            take_once(&item, &item.embedding, value);
    }
    return item;
}

static enum poly_status wrong_length(const struct item *item, size_t count, size_t wanted,
                                     struct poly_error *err)
{
    return poly_fail(err, POLY_UNSUPPORTED,
                     "data[%zu]: 'embedding' has %zu numbers; the collection's vectors have %zu",
                     item->place, count, wanted);
}

static size_t count_rest(struct poly_json_cursor *c)
{
    size_t count = 0;

    for (; next(c) && !poly_json_done(c); count++)
        poly_json_take_value(c);
    return count;
}

static enum poly_status read_numbers(const struct item *item, float *vector, size_t dimensions,
                                     struct poly_error *err)
{
    struct poly_json_cursor c = inside(item->embedding);
    size_t count = 0;

    for (; count < dimensions && next(&c); count++)
        if (!poly_json_read_float(&c.at, c.end, &vector[count]))
            return poly_fail(err, POLY_UNSUPPORTED,
                             "data[%zu]: number %zu of 'embedding' is no number that fits",
                             item->place, count);
    count += count_rest(&c);
    return count == dimensions ? POLY_OK : wrong_length(item, count, dimensions, err);
}

static enum poly_status read_base64(const struct item *item, float *vector, size_t dimensions,
                                    struct poly_error *err)
{
    const char *text = item->embedding.data + 1, *end;
    size_t size = item->embedding.size - 2, wanted = dimensions * sizeof(*vector), length;
    /* \/ is how some write a slash */
    int code = sodium_base642bin((unsigned char *)vector, wanted, text, size, "\\", &length, &end,
                                 sodium_base64_VARIANT_ORIGINAL);

    if (code == 0 && end == text + size && length != wanted)
        return wrong_length(item, length / sizeof(*vector), dimensions, err);
    if (code != 0 || end != text + size)
        return poly_fail(err, POLY_UNSUPPORTED,
                         "data[%zu]: 'embedding' is no base64 of %zu numbers", item->place,
                         dimensions);
    for (size_t i = 0; i < dimensions; i++) {
        uint32_t bits;

        memcpy(&bits, &vector[i], sizeof(bits));
        bits = le32toh(bits);
        memcpy(&vector[i], &bits, sizeof(bits));
        if (!isfinite(vector[i]))
            return poly_fail(err, POLY_UNSUPPORTED,
                             "data[%zu]: number %zu of 'embedding' is not finite", item->place, i);
    }
    return POLY_OK;
}

static enum poly_status take_item(const struct item *item, const struct poly_embeddings *room,
                                  struct poly_error *err)
{
    int64_t index;
    float *vector;

    if (item->doubled || item->index.data == NULL || item->embedding.data == NULL)
        return poly_fail(err, POLY_UNSUPPORTED,
                         "data[%zu] does not have one 'index' and one 'embedding'", item->place);
    if (!poly_json_to_integer(item->index, &index) || index < 0 || (uint64_t)index >= room->count)
        return poly_fail(err, POLY_UNSUPPORTED, "data[%zu]: 'index' is %.*s, of %zu texts",
                         item->place, item->index.size > 24 ? 24 : (int)item->index.size,
                         item->index.data, room->count);
    vector = room->vectors + (size_t)index * room->dimensions;
    if (!isnan(vector[0]))
        return poly_fail(err, POLY_UNSUPPORTED, "data[%zu]: 'index' %lld was there already",
                         item->place, (long long)index);
    if (*item->embedding.data == '[')
        return read_numbers(item, vector, room->dimensions, err);
    if (*item->embedding.data == '"')
        return read_base64(item, vector, room->dimensions, err);
    return poly_fail(err, POLY_UNSUPPORTED, "data[%zu]: 'embedding' is no list of numbers",
                     item->place);
}

/* The member of an object, of which there is one; false: there is none, or two. */
static bool find(struct poly_text object, const char *wanted, struct poly_text *found)
{
    struct poly_json_cursor c;
    struct poly_text name, value;
    bool escaped;
    int count = 0;

    if (object.size == 0 || *object.data != '{')
        return false;
    for (c = inside(object); next(&c) && poly_json_take_member(&c, &name, &escaped, &value);)
        if (is(name, escaped, wanted)) {
            *found = value;
            count++;
        }
    return count == 1;
}

static struct poly_text trim(struct poly_text text)
{
    struct poly_json_cursor c = poly_json_begin(text);

    poly_json_skip_space(&c);
    return (struct poly_text){c.at, (size_t)(c.end - c.at)};
}

enum poly_status poly_embeddings_read(struct poly_text json, const struct poly_embeddings *room,
                                      struct poly_error *err)
{
    enum poly_status status = poly_json_check(json.data, json.size, err);
    struct poly_json_cursor c;
    struct poly_text data;
    size_t count = 0;

    if (status != POLY_OK)
        return poly_fail_in(err, POLY_UNSUPPORTED, "the answer cannot be read");
    if (!find(trim(json), "data", &data) || *data.data != '[')
        return poly_fail(err, POLY_UNSUPPORTED, "the answer has no list 'data'");
    for (size_t i = 0; i < room->count; i++)
        room->vectors[i * room->dimensions] = NAN;
    for (c = inside(data); next(&c) && status == POLY_OK; count++) {
        struct poly_text value = poly_json_take_value(&c);

        if (count >= room->count)
            continue; /* how many there are is what is wrong */
        if (*value.data != '{')
            return poly_fail(err, POLY_UNSUPPORTED, "data[%zu] is no object", count);

        struct item item = read_item(value, count);

        status = take_item(&item, room, err);
    }
    if (status == POLY_OK && count != room->count)
        return poly_fail(err, POLY_UNSUPPORTED, "%zu vectors came for %zu texts", count,
                         room->count);
    return status;
}

/* --- what it says with an error --- */

/* A string's text, or nothing. */
static bool find_string(struct poly_text object, const char *name, struct poly_text *found)
{
    struct poly_text value;

    if (!find(object, name, &value) || *value.data != '"')
        return false;
    *found = (struct poly_text){value.data + 1, value.size - 2};
    return true;
}

/* How many bytes at the start are also somewhere in the secret; 0: too few to matter. */
static size_t secret_size(const char *at, const char *end, const char *secret)
{
    size_t longest = 0, all = secret == NULL ? 0 : strlen(secret);

    for (size_t from = 0; from < all; from++) {
        size_t same = 0;

        while (at + same < end && from + same < all && at[same] == secret[from + same])
            same++;
        longest = same > longest ? same : longest;
    }
    return longest >= SECRET_PIECE || (all > 0 && longest == all) ? longest : 0;
}

static void print_problem(const char *at, const char *end, const char *secret, char *problem)
{
    size_t size = 0;

    while (at < end && size + 5 <= POLY_EMBEDDER_PROBLEM) {
        size_t hidden = secret_size(at, end, secret);
        size_t character = poly_utf8_character(at, (size_t)(end - at));

        if (hidden > 0) {
            memcpy(problem + size, "***", 3);
            size += 3;
            at += hidden;
            continue;
        }
        if (character == 0 || (unsigned char)*at < ' ' || *at == 127)
            problem[size++] = character == 0 ? '?' : ' ';
        for (size_t i = 0; i < character && (unsigned char)*at >= ' ' && *at != 127; i++)
            problem[size++] = at[i];
        at += character == 0 ? 1 : character;
    }
    while (size > 0 && problem[size - 1] == ' ')
        size--;
    problem[size] = '\0';
}

void poly_embedder_problem(struct poly_text body, const char *secret,
                           char problem[POLY_EMBEDDER_PROBLEM])
{
    char text[4 * POLY_EMBEDDER_PROBLEM];
    struct poly_text found = {NULL, 0}, error;
    const char *end;

    problem[0] = '\0';
    body = trim(body);
    if (body.size > 0 && poly_json_check(body.data, body.size, NULL) == POLY_OK) {
        if (!find(body, "error", &error) || !find_string(error, "message", &found))
            if (!find_string(body, "error", &found) && !find_string(body, "message", &found))
                find_string(body, "detail", &found);
    }
    if (found.data == NULL)
        found = body;
    if (found.size > sizeof(text)) /* an escape that is cut means nothing; there is enough before */
        found.size = sizeof(text);
    if (found.data == body.data) {
        print_problem(body.data, body.data + found.size, secret, problem);
        return;
    }
    end = poly_json_unescape(found, text);
    print_problem(text, end, secret, problem);
}
