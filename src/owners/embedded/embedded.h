/* The embedded owner: SQLite. For its own files, and for the stores' embedded drivers, which share
 * its file and its writer. */
#ifndef POLY_OWNERS_EMBEDDED_EMBEDDED_H
#define POLY_OWNERS_EMBEDDED_EMBEDDED_H

#include "base/sqlite.h"
#include "core/owner.h"
#include "owners/embedded/log.h"
#include "owners/embedded/writer.h"

struct poly_embedded {
    struct poly_owner base;
    struct poly_sqlite *file;
    struct poly_log *log;
    struct poly_writer *writer;
    struct poly_embedded_watch *watch; /* the keeper's */
    _Atomic bool snapshots;            /* waiting readers may have kept some */
};

/* NULL: another database is the owner. */
struct poly_embedded *poly_instance_embedded(struct poly_instance *instance);

/* watch.c: what the keeper does for it. */
enum poly_status poly_embedded_watch(struct poly_embedded *self, struct poly_error *err);
void poly_embedded_unwatch(struct poly_embedded *self);
void poly_embedded_tend(struct poly_owner *owner, bool readable, struct poly_tending *next);

/* retention.c */
void poly_embedded_retain(struct poly_owner *owner);

#endif
