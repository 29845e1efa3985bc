/* No stdio: its buffers would keep a copy. */
#include "base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"

static enum poly_status read_file(const struct poly_secret *secret, char *text, size_t size,
                                  struct poly_error *err)
{
    int file = open(secret->file, O_RDONLY | O_CLOEXEC);
    ssize_t count = file < 0 ? -1 : read(file, text, size);
    int code = errno;
    size_t length;

    if (file >= 0)
        close(file);
    if (count < 0)
        return poly_fail(err, POLY_UNAVAILABLE, "cannot read the %s file '%s': %s", secret->what,
                         secret->file, strerror(code));
    length = strcspn(text, "\r\n"); /* the arena's memory is zeroed, and one byte longer */
    if (length > POLY_MAX_SECRET)
        return poly_fail(err, POLY_INVALID, "the %s file '%s' has a line longer than %d bytes",
                         secret->what, secret->file, POLY_MAX_SECRET);
    text[length] = '\0';
    if (length == 0)
        return poly_fail(err, POLY_INVALID, "the %s file '%s' is empty", secret->what,
                         secret->file);
    return POLY_OK;
}

enum poly_status poly_secret_read(const struct poly_secret *secret, struct poly_arena *arena,
                                  char **text, struct poly_error *err)
{
    enum poly_status status;
    const char *value;
    char *copy;

    if (secret->file != NULL) {
        copy = poly_arena_alloc(arena, POLY_MAX_SECRET + 3); /* with a line end and a NUL */
        if (copy == NULL)
            return poly_no_memory(err);
        status = read_file(secret, copy, POLY_MAX_SECRET + 2, err);
        if (status != POLY_OK)
            explicit_bzero(copy, POLY_MAX_SECRET + 2);
        else
            *text = copy;
        return status;
    }
    value = getenv(secret->env);
    if (value == NULL || *value == '\0')
        return poly_fail(err, POLY_INVALID,
                         "the environment variable '%s', which should hold the %s for %s, is not "
                         "set",
                         secret->env, secret->what, secret->whom);
    if (strlen(value) > POLY_MAX_SECRET)
        return poly_fail(err, POLY_INVALID,
                         "the %s in the environment variable '%s' is longer "
                         "than %d bytes",
                         secret->what, secret->env, POLY_MAX_SECRET);
    copy = poly_arena_copy(arena, value, strlen(value));
    if (copy == NULL)
        return poly_no_memory(err);
    *text = copy;
    return POLY_OK;
}
