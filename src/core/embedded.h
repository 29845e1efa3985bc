/* The embedded owner: SQLite. For its own files, and for the stores' embedded drivers, which share
 * its file and its writer. */
#ifndef POLY_CORE_EMBEDDED_H
#define POLY_CORE_EMBEDDED_H

#include "base/sqlite.h"
#include "core/owner.h"
#include "core/writer.h"

struct poly_embedded {
    struct poly_owner base;
    struct poly_sqlite *file;
    struct poly_log *log;
    struct poly_writer *writer;
};

/* NULL: another database is the owner. */
struct poly_embedded *poly_instance_embedded(struct poly_instance *instance);

/* retention.c */
void poly_embedded_retain(struct poly_owner *owner);

#endif
