/* Reading the log, whoever owns it. */
#ifndef POLY_CORE_LOG_H
#define POLY_CORE_LOG_H

#include "base/sql.h"
#include "polystore/log.h"

struct poly_instance;

/*
 * A standby that takes over may not have received all that the primary had acknowledged. So that no
 * position ever stands for two records, each time positions begin anew, far above: what is over
 * POLY_ERA_BITS is the era, and what a position of an era before stands for is there as it was, or
 * is lost.
 */
enum { POLY_ERA_BITS = 40 };

static inline uint64_t poly_era(uint64_t position)
{
    return position >> POLY_ERA_BITS;
}

/* How many records head is beyond, as far as can be known: the jump to an era is none. */
static inline uint64_t poly_lag(uint64_t head, uint64_t position)
{
    if (head <= position)
        return 0;
    return poly_era(head) == poly_era(position) ? head - position
                                                : head & ((UINT64_C(1) << POLY_ERA_BITS) - 1);
}

struct poly_scan {
    struct poly_instance *instance;
    const struct poly_log_query *query; /* checked */
    bool all_tenants;
    struct poly_text tenant; /* else: this one's records, and those of no tenant */
    uint64_t upto;           /* no record beyond; 0: no bound */
    uint32_t limit;
    uint32_t enough;          /* where the visitor is likely to stop; 0: it is not known */
    struct poly_arena *arena; /* for large images; rewound after each record */
    poly_record_fn *wants;    /* asked before a large image is fetched; NULL: all are wanted */
    poly_record_fn *visit;
    void *arg;
    uint64_t last;   /* out: last position looked at; untouched when there was none */
    bool more;       /* out: stopped at the limit */
    bool stopped;    /* out: the visitor wanted no further one */
    uint64_t failed; /* out: position of the record whose data cannot be had; 0: none */
};
/* The owner's scan. In the order of the query. POLY_NOT_FOUND and others with failed: that record's
 * data is not kept any more; what came before it was visited. */
enum poly_status poly_log_scan(struct poly_db *db, struct poly_scan *scan, struct poly_error *err);

/* Which of the log's indexes a query is read by: how its filters are to be asked for. */
enum poly_log_by {
    POLY_BY_ALL,
    POLY_BY_DOMAIN,
    POLY_BY_TYPE,
    POLY_BY_KEY,
    POLY_BY_LISTS,
    POLY_BY_COUNT
};
enum poly_log_by poly_log_filter(const struct poly_log_query *query);
size_t poly_names_count(const char *const *names); /* up to the NULL; of NULL: 0 */

/* With all that it points to, into the arena. false: out of memory. */
bool poly_record_copy(struct poly_arena *arena, const struct poly_record *from,
                      struct poly_record *to);

/* Could reading succeed another time, unchanged? Else what was to be read is not there. */
bool poly_log_temporary(enum poly_status status);

#endif
