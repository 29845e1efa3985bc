#include "cli/source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/limits.h"

enum { PIECE = 256 * 1024 };

enum poly_status cli_source_open(struct cli_source *source, const char *path,
                                 struct poly_error *err)
{
    bool standard = strcmp(path, "-") == 0;
    struct stat about;

    *source = (struct cli_source){.name = standard ? "standard input" : path};
    source->file = standard ? stdin : fopen(path, "re");
    if (source->file == NULL)
        return poly_fail(err, POLY_NOT_FOUND, "'%s': %s", path, strerror(errno));
    if (fstat(fileno(source->file), &about) == 0 && S_ISREG(about.st_mode))
        source->total = (uint64_t)about.st_size;
    source->piece = malloc(PIECE);
    poly_buffer_init(&source->line, POLY_MAX_VALUE);
    if (source->piece != NULL)
        return POLY_OK;
    cli_source_close(source);
    return poly_no_memory(err);
}

void cli_source_close(struct cli_source *source)
{
    if (source->file != NULL && source->file != stdin)
        fclose(source->file);
    free(source->piece);
    if (source->file != NULL)
        poly_buffer_release(&source->line);
    *source = (struct cli_source){.name = NULL};
}

static bool refill(struct cli_source *source)
{
    source->at = 0;
    source->size = fread(source->piece, 1, PIECE, source->file);
    source->done += source->size;
    return source->size > 0;
}

static enum poly_status check(const struct cli_source *source, struct poly_error *err)
{
    if (ferror(source->file) != 0)
        return poly_fail(err, POLY_INVALID, "%s cannot be read: %m", source->name);
    if (!poly_buffer_ok(&source->line))
        return poly_fail(err, POLY_LIMIT, "%s:%llu: the line is longer than %d bytes", source->name,
                         (unsigned long long)source->number, POLY_MAX_VALUE);
    if (source->line.size > 0 && memchr(source->line.data, '\0', source->line.size) != NULL)
        return poly_fail(err, POLY_INVALID, "%s:%llu: a NUL byte: this is not a text file",
                         source->name, (unsigned long long)source->number);
    return POLY_OK;
}

enum poly_status cli_source_line(struct cli_source *source, bool *more, struct poly_error *err)
{
    bool any = false;

    poly_buffer_clear(&source->line);
    while (source->at < source->size || refill(source)) {
        const char *start = source->piece + source->at;
        const char *stop = memchr(start, '\n', source->size - source->at);
        size_t size = stop == NULL ? source->size - source->at : (size_t)(stop - start);

        any = true;
        poly_buffer_add(&source->line, start, size);
        source->at += size + (stop == NULL ? 0 : 1);
        if (stop != NULL || !poly_buffer_ok(&source->line))
            break;
    }
    if (any)
        source->number++;
    if (source->line.size > 0 && source->line.data[source->line.size - 1] == '\r')
        source->line.data[--source->line.size] = '\0';
    *more = any;
    return check(source, err);
}

enum poly_status cli_source_bytes(struct cli_source *source, void *bytes, size_t size, size_t *got,
                                  struct poly_error *err)
{
    size_t have = 0;

    while (have < size && (source->at < source->size || refill(source))) {
        size_t left = source->size - source->at, part = size - have < left ? size - have : left;

        memcpy((char *)bytes + have, source->piece + source->at, part);
        source->at += part;
        have += part;
    }
    *got = have;
    if (ferror(source->file) != 0)
        return poly_fail(err, POLY_INVALID, "%s cannot be read: %m", source->name);
    return POLY_OK;
}
