/*
 * Readers that trust nothing: a header says how much there is, but memory is taken for one vector
 * only, of at most POLY_MAX_DIMENSIONS numbers, and where the size of the file is known a header
 * that does not fit it is refused before the first row is sent. Numbers of other widths become
 * singles; one that is no number ends the import, with the number of its vector.
 */
#include "cli/vector_files.h"

#include <ctype.h>
#include <endian.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/json_floats.h"
#include "base/limits.h"

enum { HEADER_MAX = 64 * 1024, WIDTH_MAX = 8 };

struct cli_vector_file {
    bool begun;
    size_t dimensions; /* 0: not known yet */
    unsigned width;    /* bytes of a number */
    uint64_t count;    /* that the header promises */
    uint64_t next;     /* number of the next vector */
    float numbers[POLY_MAX_DIMENSIONS];
    unsigned char raw[POLY_MAX_DIMENSIONS * WIDTH_MAX];
};

const struct cli_format *const cli_vector_formats[] = {
    &cli_format_fvecs, &cli_format_npy, &cli_format_vector_lines, &cli_format_copy, NULL};

void cli_vector_file_free(struct cli_vector_file *file)
{
    free(file);
}

void cli_put_vector(struct poly_buffer *out, const struct cli_vector_options *options,
                    const float *numbers, size_t count)
{
    static const char hex[] = "0123456789abcdef";
    const char *name = options->as == NULL ? options->field : options->as;

    if (out->size > 0 && out->data[out->size - 1] != '{')
        poly_buffer_char(out, ',');
    poly_json_string(out, name, strlen(name));
    poly_buffer_char(out, ':');
    if (!options->bytes) {
        poly_json_floats(out, numbers, count);
        return;
    }
    poly_buffer_text(out, "{\"$bytes\":\"");
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;

        memcpy(&bits, &numbers[i], sizeof(bits));
        for (int byte = 0; byte < 4; byte++, bits >>= 8) {
            poly_buffer_char(out, hex[bits >> 4 & 15]);
            poly_buffer_char(out, hex[bits & 15]);
        }
    }
    poly_buffer_text(out, "\"}");
}

static enum poly_status __attribute__((format(printf, 3, 4)))
bad(const struct cli_import *import, struct poly_error *err, const char *format, ...)
{
    char text[300];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    return cli_import_fail(import, import->line, err, text);
}

/* --- files of numbers --- */

static enum poly_status open_file(struct cli_import *import, struct poly_error *err)
{
    if (import->file == NULL)
        import->file = calloc(1, sizeof(*import->file));
    return import->file == NULL ? poly_no_memory(err) : POLY_OK;
}

static enum poly_status read_key(struct cli_import *import, struct poly_error *err)
{
    const struct cli_vector_options *options = import->vectors;
    bool more = true;
    enum poly_status status = POLY_OK;

    poly_buffer_clear(&import->key);
    if (options->prefix != NULL)
        poly_buffer_text(&import->key, options->prefix);
    if (options->keys == NULL) {
        poly_buffer_printf(&import->key, "%" PRIu64, import->file->next);
        return POLY_OK;
    }
    status = cli_source_line(options->keys, &more, err);
    if (status != POLY_OK)
        return status;
    if (!more || options->keys->line.size == 0)
        return bad(import, err, "'%s' has no key for it: its line %" PRIu64 " is %s",
                   options->keys->name, import->file->next + 1, more ? "empty" : "not there");
    poly_buffer_add(&import->key, options->keys->line.data, options->keys->line.size);
    if (!poly_buffer_ok(&import->key) || import->key.size > POLY_MAX_KEY)
        return bad(import, err, "its key is longer than %d bytes", POLY_MAX_KEY);
    return POLY_OK;
}

/* The last vector was read: are there keys that belong to none? */
static enum poly_status check_keys(struct cli_import *import, struct poly_error *err)
{
    struct cli_source *keys = import->vectors->keys;
    bool more = false;
    enum poly_status status = keys == NULL ? POLY_OK : cli_source_line(keys, &more, err);

    if (status == POLY_OK && more)
        return poly_fail(err, POLY_INVALID, "'%s' has more lines than %s has vectors: %" PRIu64,
                         keys->name, import->source->name, import->file->next);
    return status;
}

static float half(uint16_t bits)
{
    int exponent = bits >> 10 & 31;
    float value = (float)(bits & 1023);

    if (exponent == 31)
        value = value > 0 ? NAN : INFINITY;
    else
        value = ldexpf(exponent == 0 ? value : value + 1024, exponent == 0 ? -24 : exponent - 25);
    return (bits & 0x8000) != 0 ? -value : value;
}

static float number_at(const struct cli_vector_file *file, size_t i)
{
    const unsigned char *at = file->raw + i * file->width;
    uint64_t bits = 0;
    uint32_t word;
    double wide;
    float number;

    for (unsigned byte = file->width; byte > 0; byte--)
        bits = bits << 8 | at[byte - 1];
    if (file->width == 2)
        return half((uint16_t)bits);
    if (file->width == 8) {
        memcpy(&wide, &bits, sizeof(wide));
        return (float)wide;
    }
    word = (uint32_t)bits;
    memcpy(&number, &word, sizeof(number));
    return number;
}

/* The numbers of a vector whose beginning was announced, as a row. */
static enum poly_status read_numbers(struct cli_import *import, struct poly_error *err)
{
    struct cli_vector_file *file = import->file;
    size_t size = file->dimensions * file->width, got;
    enum poly_status status = cli_source_bytes(import->source, file->raw, size, &got, err);

    if (status == POLY_OK && got < size)
        return bad(import, err, "the file ends in it, after %zu of %zu bytes", got, size);
    for (size_t i = 0; i < file->dimensions && status == POLY_OK; i++) {
        file->numbers[i] = number_at(file, i);
        if (!isfinite(file->numbers[i]))
            status = bad(import, err, "number %zu is not finite, or larger than a single", i);
    }
    if (status == POLY_OK)
        status = read_key(import, err);
    if (status != POLY_OK)
        return status;
    file->next++;
    poly_buffer_clear(&import->row);
    poly_buffer_char(&import->row, '{');
    cli_put_vector(&import->row, import->vectors, file->numbers, file->dimensions);
    poly_buffer_char(&import->row, '}');
    return poly_buffer_ok(&import->row) ? POLY_OK : poly_no_memory(err);
}

/* --- .fvecs: of each vector its length as an int32, and its numbers --- */

static enum poly_status next_fvecs(struct cli_import *import, bool *more, struct poly_error *err)
{
    uint32_t length;
    size_t got;
    enum poly_status status = open_file(import, err);

    if (status == POLY_OK)
        status = cli_source_bytes(import->source, &length, sizeof(length), &got, err);
    if (status != POLY_OK)
        return status;

    struct cli_vector_file *file = import->file;

    import->line = file->next;
    file->width = sizeof(float);
    *more = got > 0;
    if (!*more)
        return check_keys(import, err);
    if (got < sizeof(length))
        return bad(import, err, "the file ends in its length");
    length = le32toh(length);
    if (length == 0 || length > POLY_MAX_DIMENSIONS)
        return bad(import, err, "its length is %" PRIu32 "; 1 to %d is allowed: is it .fvecs?",
                   length, POLY_MAX_DIMENSIONS);
    if (file->dimensions != 0 && file->dimensions != length)
        return bad(import, err, "it has %" PRIu32 " numbers, those before have %zu", length,
                   file->dimensions);
    file->dimensions = length;
    return read_numbers(import, err);
}

const struct cli_format cli_format_fvecs = {
    .name = "fvecs",
    .endings = ".fvecs",
    .unit = "vector",
    .next = next_fvecs,
};

/* --- .npy --- */

/* {'descr': '<f4', 'fortran_order': False, 'shape': (3, 100), } */
struct npy {
    const char *at; /* NUL-terminated */
    char descr[16];
    bool fortran, has_descr, has_order, has_shape;
    uint64_t shape[2];
    size_t axes;
};

static bool take_char(struct npy *npy, char c)
{
    while (*npy->at == ' ' || *npy->at == '\n')
        npy->at++;
    if (*npy->at != c)
        return false;
    npy->at++;
    return true;
}

static bool take_text(struct npy *npy, char *text, size_t size)
{
    size_t length;

    if (!take_char(npy, '\''))
        return false;
    length = strcspn(npy->at, "'");
    if (npy->at[length] == '\0' || length >= size)
        return false;
    memcpy(text, npy->at, length);
    text[length] = '\0';
    npy->at += length + 1;
    return true;
}

static bool take_word(struct npy *npy, const char *word)
{
    size_t size = strlen(word);

    take_char(npy, ' ');
    if (strncmp(npy->at, word, size) != 0)
        return false;
    npy->at += size;
    return true;
}

static bool take_axis(struct npy *npy, uint64_t *axis)
{
    *axis = 0;
    take_char(npy, ' ');
    if (!isdigit((unsigned char)*npy->at))
        return false;
    for (; isdigit((unsigned char)*npy->at); npy->at++)
        if (__builtin_mul_overflow(*axis, 10, axis) ||
            __builtin_add_overflow(*axis, (uint64_t)(*npy->at - '0'), axis))
            return false;
    return true;
}

/* Axes beyond the second are counted only. */
static bool take_shape(struct npy *npy)
{
    uint64_t axis;

    if (!take_char(npy, '('))
        return false;
    while (!take_char(npy, ')')) {
        if (!take_axis(npy, &axis))
            return false;
        if (npy->axes < 2)
            npy->shape[npy->axes] = axis;
        npy->axes++;
        if (!take_char(npy, ',') && (take_char(npy, ' '), *npy->at != ')'))
            return false;
    }
    return true;
}

static bool take_entry(struct npy *npy)
{
    char name[16];

    if (!take_text(npy, name, sizeof(name)) || !take_char(npy, ':'))
        return false;
    if (strcmp(name, "descr") == 0)
        return npy->has_descr = take_text(npy, npy->descr, sizeof(npy->descr));
    if (strcmp(name, "shape") == 0)
        return npy->has_shape = take_shape(npy);
    npy->fortran = take_word(npy, "True");
    npy->has_order = true;
    return strcmp(name, "fortran_order") == 0 && (npy->fortran || take_word(npy, "False"));
}

static bool parse_npy(struct npy *npy)
{
    if (!take_char(npy, '{'))
        return false;
    while (!take_char(npy, '}')) {
        if (!take_entry(npy))
            return false;
        if (!take_char(npy, ',') && (take_char(npy, ' '), *npy->at != '}'))
            return false;
    }
    take_char(npy, '\n');
    return *npy->at == '\0' && npy->has_descr && npy->has_order && npy->has_shape;
}

static enum poly_status __attribute__((format(printf, 3, 4)))
bad_npy(const struct cli_import *import, struct poly_error *err, const char *format, ...)
{
    char text[300];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    return poly_fail(err, POLY_INVALID, "%s: %s", import->source->name, text);
}

static enum poly_status use_header(struct cli_import *import, const struct npy *npy,
                                   struct poly_error *err)
{
    struct cli_vector_file *file = import->file;
    uint64_t dimensions = npy->axes == 1 ? npy->shape[0] : npy->shape[1];

    if (strcmp(npy->descr, "<f4") != 0 && strcmp(npy->descr, "<f8") != 0 &&
        strcmp(npy->descr, "<f2") != 0)
        return bad_npy(import, err, "its numbers are '%s'; <f4, <f8 and <f2 can be read",
                       npy->descr);
    if (npy->axes != 1 && npy->axes != 2)
        return bad_npy(import, err, "it has %zu axes; one is a vector, two are a list of them",
                       npy->axes);
    if (npy->fortran && npy->axes == 2)
        return bad_npy(import, err,
                       "its numbers lie column by column (fortran_order); save it "
                       "with numpy.ascontiguousarray()");
    if (dimensions == 0 || dimensions > POLY_MAX_DIMENSIONS)
        return bad_npy(import, err, "its vectors have %" PRIu64 " numbers; 1 to %d are allowed",
                       dimensions, POLY_MAX_DIMENSIONS);
    file->dimensions = (size_t)dimensions;
    file->width = (unsigned)(npy->descr[2] - '0');
    file->count = npy->axes == 1 ? 1 : npy->shape[0];
    return POLY_OK;
}

/* Does the file have what its header promises? Only where its size is known. */
static enum poly_status check_size(const struct cli_import *import, size_t header,
                                   struct poly_error *err)
{
    const struct cli_vector_file *file = import->file;
    uint64_t size = (uint64_t)file->dimensions * file->width, rest;

    if (__builtin_mul_overflow(size, file->count, &size))
        size = UINT64_MAX;
    rest = import->source->total - header;
    if (import->source->total == 0 || rest == size)
        return POLY_OK;
    return bad_npy(import, err,
                   "its header promises %" PRIu64 " vectors of %zu numbers, %" PRIu64
                   " bytes, and %" PRIu64 " follow",
                   file->count, file->dimensions, size, rest);
}

static enum poly_status read_header(struct cli_import *import, char *text, struct poly_error *err)
{
    static const char magic[] = "\x93NUMPY";
    unsigned char head[12] = {0};
    size_t got, fixed, length;
    struct npy npy = {.at = text};
    enum poly_status status = cli_source_bytes(import->source, head, 10, &got, err);

    if (status != POLY_OK)
        return status;
    if (got < 10 || memcmp(head, magic, 6) != 0 || head[6] < 1 || head[6] > 3)
        return bad_npy(import, err, "this is no .npy of version 1, 2 or 3");
    fixed = head[6] == 1 ? 10 : 12;
    if (fixed == 12)
        status = cli_source_bytes(import->source, head + 10, 2, &got, err);
    length =
        (size_t)head[8] | (size_t)head[9] << 8 | (size_t)head[10] << 16 | (size_t)head[11] << 24;
    if (status == POLY_OK && length > HEADER_MAX)
        return bad_npy(import, err, "its header is longer than %d bytes", HEADER_MAX);
    if (status == POLY_OK)
        status = cli_source_bytes(import->source, text, length, &got, err);
    if (status != POLY_OK)
        return status;
    text[got] = '\0';
    if (got < length || strlen(text) < got || !parse_npy(&npy))
        return bad_npy(import, err,
                       "its header is none: {'descr': '<f4', 'fortran_order': False, 'shape': "
                       "(3, 100)} is one");
    status = use_header(import, &npy, err);
    return status == POLY_OK ? check_size(import, fixed + length, err) : status;
}

static enum poly_status begin_npy(struct cli_import *import, struct poly_error *err)
{
    enum poly_status status = open_file(import, err);
    char *text;

    if (status != POLY_OK || import->file->begun)
        return status;
    text = malloc(HEADER_MAX + 1);
    if (text == NULL)
        return poly_no_memory(err);
    status = read_header(import, text, err);
    import->file->begun = true;
    free(text);
    return status;
}

static enum poly_status next_npy(struct cli_import *import, bool *more, struct poly_error *err)
{
    enum poly_status status = begin_npy(import, err);
    char byte;
    size_t got;

    if (status != POLY_OK)
        return status;
    import->line = import->file->next;
    *more = import->file->next < import->file->count;
    if (*more)
        return read_numbers(import, err);
    status = cli_source_bytes(import->source, &byte, 1, &got, err);
    if (status == POLY_OK && got > 0)
        return bad_npy(import, err, "more follows the %" PRIu64 " vectors of its header",
                       import->file->count);
    return status == POLY_OK ? check_keys(import, err) : status;
}

const struct cli_format cli_format_npy = {
    .name = "npy",
    .endings = ".npy",
    .unit = "vector",
    .next = next_npy,
};
