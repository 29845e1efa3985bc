/* An open Polystore: one data folder (or server), its stores, its threads. */
#ifndef POLYSTORE_INSTANCE_H
#define POLYSTORE_INSTANCE_H

#include "polystore/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct poly_instance;

/*
 * Where to open. Zero-initialise, then set what you need. The configuration
 * comes from a file, or from text in the same form, or from neither (defaults).
 */
struct poly_options {
    const char *config_file; /* path of a polystore.yaml; NULL: none */
    const char *config_text; /* YAML; NULL: none. Not together with config_file */
    const char *data;        /* data folder; overrides the configuration; made when missing */
    uint32_t lock_wait_ms;   /* how long to wait for another process to leave the folder */
    const char *lock_note;   /* told to whoever finds the folder taken: "daemon 127.0.0.1:7430" */
};

/*
 * Opens, recovers, and starts the projections. One process at a time has the
 * data folder. Thread-safe.
 * POLY_INVALID: the configuration, with file and line.
 * POLY_UNAVAILABLE: the folder belongs to another process, or the disk is full.
 * POLY_CORRUPT: the database is damaged, or of a newer version.
 */
POLY_API enum poly_status poly_open(const struct poly_options *options,
                                    struct poly_instance **instance,
                                    struct poly_error *err) POLY_MUST_USE;

/*
 * Stops the threads, finishes what was accepted, closes. All sessions and
 * subscriptions of the instance must be closed before. NULL is accepted.
 */
POLY_API void poly_close(struct poly_instance *instance);

/*
 * Can the database that keeps the log be reached, as far as is known at this moment? Asks nobody.
 * Where it is embedded: true. Thread-safe.
 */
POLY_API bool poly_reachable(struct poly_instance *instance);

/* May other processes have the same database open? Where it is embedded: false. Thread-safe. */
POLY_API bool poly_is_shared(struct poly_instance *instance);

/* How much was used of something that all processes on one database may use so much of together. */
struct poly_usage {
    const char *name; /* of the caller's choice, at most POLY_MAX_USAGE_NAME bytes */
    uint64_t used;    /* by this process since it last said so */
    uint64_t total;   /* out: by all of them. Begins anew when the server has crashed */
};

enum { POLY_MAX_USAGES = 64, POLY_MAX_USAGE_NAME = 160 };

/*
 * Adds what this process has used, and reads what all have: all or nothing. It is counted in the
 * database, but not in the log. Give the names in order, each once. Thread-safe.
 * POLY_INVALID: the database is not shared, or too many, or a name that is too long.
 * POLY_UNAVAILABLE: the server does not answer; with err->unknown it may have been added.
 */
POLY_API enum poly_status poly_usage_add(struct poly_instance *instance, struct poly_usage *usages,
                                         size_t count, struct poly_error *err);

#ifdef __cplusplus
}
#endif
#endif
