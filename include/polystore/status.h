/*
 * What a call answers. Every function that can fail returns an enum
 * poly_status and explains itself in a struct poly_error, its last argument
 * (NULL: the caller does not want to know). Outputs are untouched unless the
 * status is POLY_OK.
 */
#ifndef POLYSTORE_STATUS_H
#define POLYSTORE_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define POLY_API __attribute__((visibility("default")))
#define POLY_MUST_USE __attribute__((warn_unused_result))

/* X(name, HTTP status, exit code of the command line, meaning) */
#define POLY_STATUS_MAP(X)                                                                         \
    X(OK, 200, 0, "done")                                                                          \
    X(NOT_FOUND, 404, 3, "there is no such thing, or it is not yours")                             \
    X(EXISTS, 409, 4, "it is there already")                                                       \
    X(CONFLICT, 412, 5, "a precondition did not hold: the thing has changed")                      \
    X(INVALID, 400, 2, "the request is wrong")                                                     \
    X(DENIED, 403, 6, "not allowed")                                                               \
    X(LIMIT, 429, 7, "a named limit was reached")                                                  \
    X(TIMEOUT, 504, 8, "the deadline passed")                                                      \
    X(UNAVAILABLE, 503, 9, "it cannot answer now; try again later")                                \
    X(UNSUPPORTED, 501, 10, "this driver cannot do that")                                          \
    X(NO_MEMORY, 507, 11, "out of memory")                                                         \
    X(CORRUPT, 500, 12, "stored data is damaged")                                                  \
    X(INTERNAL, 500, 1, "a bug in Polystore")

enum poly_status {
#define POLY_STATUS_ENUM(name, http, code, meaning) POLY_##name,
    POLY_STATUS_MAP(POLY_STATUS_ENUM)
#undef POLY_STATUS_ENUM
        POLY_STATUS_COUNT
};

/* Why a call failed. Fixed size: the error path allocates nothing. */
struct poly_error {
    enum poly_status status;
    int position;      /* offset in the caller's text where it went wrong (queries); -1: none */
    char message[496]; /* names the subject, what is wrong, what would be right; no full stop */
    bool unknown; /* the write may have taken effect, or not: the server's answer was lost */
};

/* "NOT_FOUND", and so on; "UNKNOWN" for a number that is no status. */
POLY_API const char *poly_status_name(enum poly_status status);
POLY_API const char *poly_status_meaning(enum poly_status status);
POLY_API int poly_status_http(enum poly_status status);
POLY_API int poly_status_exit(enum poly_status status);

/* "MAJOR.MINOR.PATCH" of the library. */
POLY_API const char *poly_version(void);

#ifdef __cplusplus
}
#endif
#endif
