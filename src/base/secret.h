/* A password or key that the configuration names and never holds: an environment variable, or a
 * file. It is read each time that it is wanted, so that it can be changed. */
#ifndef POLY_BASE_SECRET_H
#define POLY_BASE_SECRET_H

#include "base/arena.h"
#include "base/status.h"

struct poly_secret {
    const char *env;  /* name of the environment variable */
    const char *file; /* … or a file whose first line it is; it comes before env */
    const char *what; /* "password", for messages */
    const char *whom; /* for whom it is: "PostgreSQL" */
};

/*
 * Into the arena, ending in NUL; explicit_bzero() is the caller's. One of env and file is given.
 * POLY_INVALID: the variable is not set, or the file is empty, or it is longer than
 * POLY_MAX_SECRET. POLY_UNAVAILABLE: the file cannot be read. POLY_NO_MEMORY.
 */
enum poly_status poly_secret_read(const struct poly_secret *secret, struct poly_arena *arena,
                                  char **text, struct poly_error *err);

#endif
