/*
 * A library that only writes down how it was called and answers what a test
 * has put there: so that the handlers of src/api are tested alone, and with
 * failures that the real stores do not show on demand.
 */
#ifndef FAKE_POLYSTORE_H
#define FAKE_POLYSTORE_H

#include "polystore.h"

struct fake {
    char calls[16384]; /* "begin key=k;put d/k v=-1 {a=1};commit;" */
    unsigned rights;
    /* The call whose name begins so fails with this. */
    const char *fail_at;
    enum poly_status fail_with;
    uint64_t rows;      /* that SQL answers */
    uint64_t records;   /* that are in the log */
    uint64_t broken_at; /* row or record after which a read fails; 0: none */
    size_t row_bytes;
    enum poly_state state;
    struct poly_freshness freshness;
    unsigned open_subscriptions, open_transactions;
};
extern struct fake fake;

void fake_reset(void);
struct poly_session *fake_session(void);

#endif
