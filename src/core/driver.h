/*
 * What every store that follows the log does. The write road (core/projector)
 * knows stores only through this header; the reads differ from store to store
 * and stand in stores/NAME/driver.h.
 *
 * A store's data is either co-located (in the log's database: apply() runs on
 * the writer's connection, inside its transaction) or follows (in its own
 * file or server: apply() runs on the projector's thread and is a transaction
 * of its own). The driver is the same; struct poly_store_open tells it which.
 *
 * A store may keep its data in memory, with copies on disk that it makes now and then: the log is
 * its journal. Such a driver has settle() and saved(). At the next start it says with applied()
 * what its copy has, the projector gives it what came after that, and a read without a token waits
 * for that, so that nothing that was seen before is gone.
 *
 * A store keeps one or more generations side by side, each with its own data
 * and its own applied position. Rebuild fills a new one while the old serves.
 */
#ifndef POLY_CORE_DRIVER_H
#define POLY_CORE_DRIVER_H

#include "base/sql.h"
#include "core/capability.h"
#include "core/domain.h"
#include "polystore/log.h"

struct poly_driver;
struct poly_instance;
struct poly_pool_status;
struct poly_projection;

/* An open store. A driver embeds it in its own struct. */
struct poly_store {
    const struct poly_driver *driver;
};

struct poly_store_open {
    const struct poly_config *config;
    const struct poly_store_config *store;
    struct poly_instance *instance;
    struct poly_projection *projection; /* for poly_projection_stir() */
    bool follower;     /* else co-located: its data is in the database of the log */
    const char *data;  /* following: folder for its own file */
    const uint8_t *id; /* 16 bytes: the instance's, for a store that is kept elsewhere */
};

/* A generation whose data the store reads from its disk by itself. */
enum poly_opening {
    POLY_OPEN,    /* it is there */
    POLY_OPENING, /* it is being read */
    POLY_LOST     /* it is damaged, or gone */
};

/* One batch for apply(): records in log order, all beyond the applied position. */
struct poly_batch {
    const struct poly_record *records;
    size_t count;    /* 0: nothing of interest, only the position moves */
    uint64_t after;  /* the store has said that it has applied up to here, or 0 */
    uint64_t last;   /* everything up to here is in this batch or is not of interest */
    uint64_t failed; /* out: position of the record that could not be applied; 0: not one record */
    bool temporary;  /* out: worth another try, unchanged */
};

/* Takes a text of the configuration; NULL counts as empty. */
typedef void poly_shape_fn(void *arg, const char *text);

struct poly_driver {
    const char *store; /* "search" */
    const char *name;  /* as in the configuration: "embedded" */
    const struct poly_capability *capabilities;
    bool can_colocate;
    bool models; /* what it holds depends on core/model.h */

    enum poly_status (*open)(const struct poly_store_open *how, struct poly_store **store,
                             struct poly_error *err);
    void (*close)(struct poly_store *store); /* NULL is accepted */

    /*
     * A store that several daemons share has one that applies at a time; NULL: it is this
     * instance's alone. Asked again and again, on the projector's thread; costs nothing most of the
     * time. *leads false: another daemon applies, and this one only looks how far that is. wanted:
     * it is to be this one, and the other is to stop. When it fails, nobody knows. What one that is
     * not the leader any more tries to apply fails, with batch->temporary.
     */
    enum poly_status (*lead)(struct poly_store *store, bool wanted, bool *leads,
                             struct poly_error *err);

    /* Gives add all of the configuration that shapes what a generation holds, in a fixed order:
     * under another one, all is built anew. false: no domain uses the store. */
    bool (*shape)(const struct poly_config *config, poly_shape_fn *add, void *arg);

    /* Does this store want records of that domain? Records of others are not even decoded. Asked on
     * any thread, also while apply() runs on another. */
    bool (*wants)(struct poly_store *store, struct poly_text domain);

    /* Can it hold a domain that is to be made while running? POLY_UNSUPPORTED says why not. NULL:
     * whatever a configuration can say. Any thread. */
    enum poly_status (*accepts)(struct poly_store *store, const struct poly_domain *domain,
                                struct poly_error *err);

    /*
     * generation is a number > 0. prepare makes its empty tables (no effect when
     * there); drop removes them. db: the connection to use, as for apply().
     */
    enum poly_status (*prepare)(struct poly_store *store, struct poly_db *db, uint64_t generation,
                                struct poly_error *err);
    enum poly_status (*drop)(struct poly_store *store, struct poly_db *db, uint64_t generation,
                             struct poly_error *err);

    /* Position up to which a generation has applied everything; 0 for a new one. POLY_NOT_FOUND:
     * its tables are not there (never made, or somebody has thrown them away). */
    enum poly_status (*applied)(struct poly_store *store, struct poly_db *db, uint64_t generation,
                                uint64_t *position, struct poly_error *err);

    /*
     * What applied() has looked at briefly is read while everything else goes on. Until that is
     * done the generation is given nothing, and asked for nothing but applied(), saved() and
     * drop(); what comes meanwhile is in the log, from where it catches up. One that is lost is
     * built anew. The store says poly_projection_stir() when this changes. share, 0 to 1, and why
     * it is lost: NULL is accepted. Any thread; must not wait. NULL: whatever is prepared is there.
     */
    enum poly_opening (*opening)(struct poly_store *store, uint64_t generation, double *share,
                                 struct poly_error *why);

    /*
     * The effect of the batch and its last position, together or not at all.
     * Records at or below applied() are skipped, so redelivery is harmless; an
     * effect never replaces one of a later position. A server that has lost what
     * it had (applied() is below batch->after) fails, with batch->temporary.
     * Co-located: db is the
     * writer's connection with a transaction open, and apply() neither begins
     * nor commits. Following: db is NULL, and apply() is its own transaction.
     */
    enum poly_status (*apply)(struct poly_store *store, struct poly_db *db, uint64_t generation,
                              struct poly_batch *batch, struct poly_error *err);

    /*
     * Co-located, and its data is not in the log's database: what prepare(), drop() and apply()
     * have done since the last call is now committed, and may be seen; or was rolled back. Must not
     * fail, nor wait. Also called when nothing was done. When apply() itself fails with
     * batch->temporary the transaction is rolled back; with a bad record it must have done nothing.
     * NULL: its data goes with the transaction.
     */
    void (*settle)(struct poly_store *store, bool committed);
    /* Position up to which a generation's data is on disk; records beyond it are kept in the log.
     * Any thread; UINT64_MAX: no such generation. NULL: what is applied is on disk. */
    uint64_t (*saved)(struct poly_store *store, uint64_t generation);
    /* What the store does by itself fails: why, and since when (wall clock); it tries again. An
     * empty text: all is well. Must not wait. NULL: it does nothing by itself. */
    void (*trouble)(struct poly_store *store, char text[256], int64_t *since);

    /* Number of documents, vectors, nodes … in a generation. db: a reader when co-located. */
    enum poly_status (*count)(struct poly_store *store, struct poly_db *db, uint64_t generation,
                              uint64_t *count, struct poly_error *err);

    /* Positions of the records that made what a generation holds (deleted ones, too), in order,
     * from beyond after, at most max. NULL: it does not know, and is built anew whenever a standby
     * took over that may lack some of them. */
    enum poly_status (*positions)(struct poly_store *store, uint64_t generation, uint64_t after,
                                  uint64_t *positions, size_t max, size_t *count,
                                  struct poly_error *err);

    /* Connections to its server. Must not wait. NULL: it has none. */
    void (*pool)(struct poly_store *store, struct poly_pool_status *status);
};

/* All drivers of all following stores, NULL-terminated; defined in stores/stores.c. */
extern const struct poly_driver *const poly_drivers[];

#endif
