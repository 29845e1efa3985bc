/* Adoption and release: what the drivers do of it, and what adopt.c does for both. */
#ifndef POLY_STORES_RELATIONAL_ADOPT_H
#define POLY_STORES_RELATIONAL_ADOPT_H

#include "base/buffer.h"
#include "polystore/adopt.h"
#include "stores/relational/driver.h"

/* --- looking --- */

/* A table that the database has. */
struct poly_adopt_found {
    struct poly_adopt_found *next;
    const char *schema; /* NULL: there are none */
    const char *name;
    bool plain;         /* the name alone means this table */
    const char *reason; /* why it can be no domain, whatever its columns are; NULL */
    int64_t rows;       /* about; -1 */
};

struct poly_adopt_survey {
    const struct poly_adopt_options *options;
    struct poly_arena *arena;
    struct poly_adopt_found *first, **end;
    const char *note; /* what else is in the way; NULL */
};

/* NULL: out of memory. Texts are copied. */
struct poly_adopt_found *poly_adopt_add(struct poly_adopt_survey *survey, const char *schema,
                                        const char *name);

/* "text" for YAML. */
void poly_adopt_quote(struct poly_buffer *yaml, const char *text, size_t size);

/* --- doing --- */

struct poly_adopt_job {
    const struct poly_options *options;
    const struct poly_adopt_run *run;
    const struct poly_config *config;
    struct poly_arena *arena; /* of the report */
    struct poly_adopt_item *items;
    size_t count, room;
    struct poly_text *notes;
    size_t note_count;
};

enum { POLY_ADOPT_NOTES = 16 };

/* A table that is to be done; domain NULL: none. NULL: out of memory. */
struct poly_adopt_item *poly_adopt_item(struct poly_adopt_job *job, const char *domain,
                                        const char *table);
void poly_adopt_note(struct poly_adopt_job *job, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* What became of it. */
void poly_adopt_done(struct poly_adopt_job *job, struct poly_adopt_item *item,
                     enum poly_status status, const char *problem);
/* Tells how far a table is; false: stop. */
bool poly_adopt_tell(const struct poly_adopt_job *job, const struct poly_adopt_item *item,
                     uint64_t done, uint64_t total);

struct poly_adopt_driver {
    const struct poly_relational_driver *driver;
    /* A connection on which driver->load() works. */
    enum poly_status (*open)(const struct poly_adopt_options *options, struct poly_db **db,
                             struct poly_error *err);
    void (*close)(struct poly_db *db);
    enum poly_status (*list)(struct poly_db *db, struct poly_adopt_survey *survey,
                             struct poly_error *err);
    /* The lines of the configuration that say where it is. */
    enum poly_status (*where)(const struct poly_adopt_options *options, struct poly_buffer *yaml,
                              struct poly_error *err);
    enum poly_status (*apply)(struct poly_adopt_job *job, struct poly_error *err);
    enum poly_status (*release)(struct poly_adopt_job *job, struct poly_error *err);
};

extern const struct poly_adopt_driver poly_adopt_embedded, poly_adopt_postgresql;

#endif
